/*
 * errors.c
 *		What an ERROR means: dead letter, stall, or another try (rules K6, K7, H2).
 *
 * Called after the failed transaction was aborted. Data errors are traced to the message that
 * caused them: at once when it was being decoded or mapped, else by shrinking
 * the batch and then by search.c. The culprit is only marked; the next run of the
 * batch puts it to the dead letters in the commit that applies the rest.
 */
#include "postgres.h"

#include "access/xact.h"
#include "edw_stream.h"
#include "miscadmin.h"
#include "pipeline/internal.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "view/flush.h"
#include "worker/database.h"
#include "worker/slots.h"

/* a batch larger than this is cut down before its culprit is searched */
#define SEARCH_LIMIT		256

/* dead letters that say nothing yet about their share */
#define BREAKER_MINIMUM		20

#define FIRST_RETRY_MS		100

typedef enum EdwErrorClass
{
	EDW_ERROR_DATA,				/* of a message: to the dead letters */
	EDW_ERROR_PASSING,			/* heals by itself: retry with backoff */
	EDW_ERROR_ENVIRONMENT		/* somebody has to act: stall */
} EdwErrorClass;

static const struct
{
	int			code;
	const char *reason;
}			data_reasons[] = {
	{ERRCODE_CHECK_VIOLATION, "check_violation"},
	{ERRCODE_NOT_NULL_VIOLATION, "not_null_violation"},
	{ERRCODE_FOREIGN_KEY_VIOLATION, "foreign_key_violation"},
	{ERRCODE_UNIQUE_VIOLATION, "unique_violation"},
	{ERRCODE_EXCLUSION_VIOLATION, "exclusion_violation"},
	{ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE, "out_of_range"},
	{ERRCODE_STRING_DATA_RIGHT_TRUNCATION, "too_long"},
	{ERRCODE_INVALID_TEXT_REPRESENTATION, "bad_value"},
	{ERRCODE_DIVISION_BY_ZERO, "division_by_zero"},
	{ERRCODE_RAISE_EXCEPTION, "raised"},
};

/* The short reason of a dead letter by SQLSTATE. */
const char *
EdwErrorsDataReason(int code)
{
	for (int i = 0; i < (int) lengthof(data_reasons); i++)
		if (data_reasons[i].code == code)
			return data_reasons[i].reason;
	return "data_error";
}

static EdwErrorClass
classify(int code)
{
	switch (code)
	{
		case ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE:
			return EDW_ERROR_ENVIRONMENT;
		case ERRCODE_UNIQUE_VIOLATION:
			return EDW_ERROR_DATA;
		default:
			break;
	}
	switch (ERRCODE_TO_CATEGORY(code))
	{
		case MAKE_SQLSTATE('0', '8', '0', '0', '0'):
		case MAKE_SQLSTATE('4', '0', '0', '0', '0'):
		case MAKE_SQLSTATE('5', '3', '0', '0', '0'):
		case MAKE_SQLSTATE('5', '5', '0', '0', '0'):
		case MAKE_SQLSTATE('5', '7', '0', '0', '0'):
		case MAKE_SQLSTATE('5', '8', '0', '0', '0'):
			return EDW_ERROR_PASSING;
		case MAKE_SQLSTATE('2', '1', '0', '0', '0'):
		case MAKE_SQLSTATE('2', '2', '0', '0', '0'):
		case MAKE_SQLSTATE('2', '3', '0', '0', '0'):
		case MAKE_SQLSTATE('2', '7', '0', '0', '0'):
		case MAKE_SQLSTATE('3', '8', '0', '0', '0'):
		case MAKE_SQLSTATE('3', '9', '0', '0', '0'):
		case MAKE_SQLSTATE('4', '4', '0', '0', '0'):
		case MAKE_SQLSTATE('5', '4', '0', '0', '0'):
		case MAKE_SQLSTATE('P', '0', '0', '0', '0'):
			return EDW_ERROR_DATA;
		default:
			return EDW_ERROR_ENVIRONMENT;
	}
}

/* Is a single message to blame for such an ERROR? */
bool
EdwErrorsAreOfData(int code)
{
	return classify(code) == EDW_ERROR_DATA;
}

bool
EdwErrorsArePassing(int code)
{
	return classify(code) == EDW_ERROR_PASSING;
}

/* true for an ERROR that ends the caller: cancel, termination */
bool
EdwErrorsMustRethrow(int code)
{
	return code == ERRCODE_QUERY_CANCELED || code == ERRCODE_ADMIN_SHUTDOWN ||
		code == ERRCODE_CRASH_SHUTDOWN || code == ERRCODE_DATABASE_DROPPED;
}

/* Remember the last error where the streams view shows it. */
void
EdwErrorsNote(const char *message)
{
	strlcpy(EdwMyCounters()->last_error, message, sizeof(EdwMyCounters()->last_error));
}

/* A passing fault: say so, and set the delay. */
EdwStepResult
EdwErrorsRetry(EdwPipeline *pipeline, const char *message)
{
	long		delay = FIRST_RETRY_MS;

	for (int i = 0; i < pipeline->failures && delay < EdwMaxRestartDelayMs; i++)
		delay *= 2;
	pipeline->retry_delay = Min(delay, EdwMaxRestartDelayMs);
	pipeline->failures++;
	pg_atomic_fetch_add_u64(&EdwMyCounters()->retries, 1);
	EdwErrorsNote(message);
	ereport(LOG,
			(errmsg("stream \"%s\": trying again in %ld ms: %s",
					pipeline->stream, pipeline->retry_delay, message)));
	return EDW_STEP_RETRY;
}

/*
 * Have too many of the last messages died (K6)? Then the stream stalls instead of
 * draining into quarantine. dead and messages are those of the batch that is about to be
 * committed; the window decays with what came before.
 */
bool
EdwErrorsBreakerTrips(EdwPipeline *pipeline, int dead, int messages)
{
	const EdwStreamOptions *options = &pipeline->def->options;
	double		all = pipeline->window_messages + messages;
	double		died = pipeline->window_dead + dead;

	if (dead == 0 || died < BREAKER_MINIMUM || died <= all * options->max_dead_share)
		return false;
	EdwPipelineSetStall(pipeline, "too_many_dead_letters",
						"Mend what is wrong and start() again; or raise the stream's option max_dead_share. Those of earlier batches are in edw_stream.dead_letters.",
						"%.0f of the last %.0f messages could not be applied, the last because: %s",
						died, all, pipeline->last_dead);
	return true;
}

/* A batch was committed. */
void
EdwErrorsBatchCommitted(EdwPipeline *pipeline)
{
	int			window = pipeline->def->options.max_dead_window;

	pipeline->window_messages += pipeline->stats.messages;
	pipeline->window_dead += pipeline->stats.dead - pipeline->stats.dead_waiting;
	if (pipeline->window_messages > window)
	{
		pipeline->window_dead *= window / pipeline->window_messages;
		pipeline->window_messages = window;
	}
	if (pipeline->failures > 0)
		EdwErrorsNote("");
	pipeline->failures = 0;
	pipeline->unique_failures = 0;
	pipeline->changed_underneath = 0;
	/* what this batch needed the next one mostly needs, too: it is not run twice to find out */
	pipeline->exclusive = pipeline->stats.applied->need_exclusive;
	if (pipeline->limit < pipeline->def->options.batch_rows)
		pipeline->limit = Min(pipeline->limit * 2, pipeline->def->options.batch_rows);
}

/* The mapping of a topic whose target a constraint's error names; 0 when it names none. */
int32
EdwErrorsNamedMapping(EdwTopic *topic, const ErrorData *error)
{
	if (topic == NULL || topic->route == NULL)
		return 0;
	for (int i = 0; error->table_name != NULL && i < topic->route->ntargets; i++)
	{
		const EdwTarget *target = topic->route->targets[i];

		if (error->schema_name != NULL &&
			strcmp(quote_qualified_identifier(error->schema_name, error->table_name),
				   target->relation) == 0)
			return target->def->mapping_id;
	}
	return 0;
}

/* The mapping that a message's ERROR is of; 0 when that cannot be told. */
static int32
mapping_of(EdwTopic *topic, const ErrorData *error)
{
	if (topic != NULL && topic->route != NULL && topic->route->ntargets == 1)
		return topic->route->targets[0]->def->mapping_id;
	return EdwErrorsNamedMapping(topic, error);
}

static char *
copy_string(EdwPipeline *pipeline, const char *string)
{
	return string == NULL ? NULL : MemoryContextStrdup(pipeline->context, string);
}

/*
 * Work out the key of the row that a poison message is about, for what comes after it (K6).
 * In a transaction that is rolled back: decoding may be just what fails.
 */
static void
find_row_key(EdwPipeline *pipeline, int index, EdwDeadMark *mark)
{
	MemoryContext context = CurrentMemoryContext;

	if (mark->mapping_id == 0)
		return;
	PG_TRY();
	{
		EdwXactBegin(&pipeline->xact);
		EdwRunFindKey(pipeline, index, mark);
	}
	PG_CATCH();
	{
		int			code = geterrcode();

		if (EdwErrorsMustRethrow(code))
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	EdwXactAbort(&pipeline->xact);
}

/* Mark a held message as poison. */
EdwStepResult
EdwErrorsMarkDead(EdwPipeline *pipeline, int index, const char *stage, const ErrorData *error)
{
	EdwHeld    *held = &pipeline->held[index];
	EdwDeadMark *mark;
	int			marked = 1;

	if (held->dead != NULL)
		return EdwErrorsRetry(pipeline, error->message);	/* it is left out already */
	mark = MemoryContextAllocZero(pipeline->context, sizeof(EdwDeadMark));
	mark->stage = stage;
	mark->decodes = strcmp(stage, "apply") == 0;
	mark->reason = EdwErrorsDataReason(error->sqlerrcode);
	mark->sqlerrcode = error->sqlerrcode;
	mark->message = copy_string(pipeline, error->message);
	mark->detail = copy_string(pipeline, error->detail);
	mark->hint = copy_string(pipeline, error->hint);
	mark->mapping_id = mapping_of(held->partition->topic, error);
	mark->epoch = held->epoch;
	find_row_key(pipeline, index, mark);
	held->dead = mark;
	strlcpy(pipeline->last_dead, mark->message, sizeof(pipeline->last_dead));

	for (int i = 0; i < pipeline->nheld; i++)
		marked += pipeline->held[i].dead != NULL ? 1 : 0;
	if (marked > BREAKER_MINIMUM &&
		EdwErrorsBreakerTrips(pipeline, marked, Min(pipeline->nheld, Max(index + 1, pipeline->limit))))
		return EdwPipelineRecordStall(pipeline);
	return EDW_STEP_MORE;
}

/* What to do about a stall whose error gives no hint of its own (H2). */
static const char *
stall_hint(int code)
{
	switch (code)
	{
		case ERRCODE_INSUFFICIENT_PRIVILEGE:
			return "Grant the stream's owner what it lacks, then use edw_stream.start().";
		case ERRCODE_INTERNAL_ERROR:
		case ERRCODE_DATA_CORRUPTED:
		case ERRCODE_INDEX_CORRUPTED:
			return "The server's log says more. edw_stream.start() tries it again.";
		default:
			return "Mend the cause, then use edw_stream.start().";
	}
}

static EdwStepResult
handle_data_error(EdwPipeline *pipeline, ErrorData *error)
{
	int			current = pipeline->current;

	if (pipeline->phase == EDW_PHASE_MESSAGE && current >= 0)
		return EdwErrorsMarkDead(pipeline, current, "map", error);
	if (pipeline->phase != EDW_PHASE_APPLY)
	{
		EdwPipelineSetStall(pipeline, "internal_error", stall_hint(ERRCODE_INTERNAL_ERROR),
							"%s", error->message);
		return EdwPipelineRecordStall(pipeline);
	}
	if (error->sqlerrcode == ERRCODE_UNIQUE_VIOLATION && pipeline->unique_failures++ == 0)
		return EdwErrorsRetry(pipeline, error->message);	/* G1 */
	if (error->sqlerrcode == ERRCODE_TOO_MANY_COLUMNS && pipeline->limit > 1)
	{
		/* rows that lack different columns take one more for each; alone a row needs none */
		pipeline->limit = 1;
		return EDW_STEP_MORE;
	}
	if (EdwSearchSize(pipeline) > SEARCH_LIMIT && pipeline->limit > SEARCH_LIMIT)
	{
		pipeline->limit = SEARCH_LIMIT;
		return EDW_STEP_MORE;
	}
	return EdwSearchCulprit(pipeline);
}

/* Is there no extension any more, or none of ours? */
static bool
extension_is_gone(EdwPipeline *pipeline)
{
	bool		gone;

	EdwXactBegin(&pipeline->xact);
	gone = EdwExtensionVersion() == NULL;
	EdwXactCommit(&pipeline->xact);
	return gone;
}

/* A registered view that follows could not; no message is to blame. */
static EdwStepResult
stall_for_view(EdwPipeline *pipeline, const ErrorData *error)
{
	Oid			view = EdwFlushCurrent();
	char	   *name;

	EdwXactBegin(&pipeline->xact);
	name = get_rel_name(view) == NULL ? NULL :
		quote_qualified_identifier(get_namespace_name(get_rel_namespace(view)), get_rel_name(view));
	EdwPipelineSetStall(pipeline, "view_failed",
						error->hint != NULL ? error->hint :
						"Mend the view or what it reads, or take it out with edw_stream.unregister_view(); then use edw_stream.start().",
						"registered materialized view%s%s cannot follow: %s (SQLSTATE %s)",
						name != NULL ? " " : "s", name != NULL ? name : "",
						error->message, unpack_sql_state(error->sqlerrcode));
	EdwXactCommit(&pipeline->xact);
	return EdwPipelineRecordStall(pipeline);
}

static const char *
stall_reason(int code)
{
	switch (code)
	{
		case ERRCODE_INSUFFICIENT_PRIVILEGE:
			return "permission_denied";
		case ERRCODE_UNDEFINED_TABLE:
		case ERRCODE_UNDEFINED_SCHEMA:
			return "missing_table";
		case ERRCODE_UNDEFINED_COLUMN:
			return "missing_column";
		case ERRCODE_EDW_DELETE_REFUSED:
			return "delete_refused";
		case ERRCODE_EDW_TRUNCATE_REFUSED:
			return "truncate_refused";
		case ERRCODE_INTERNAL_ERROR:
		case ERRCODE_DATA_CORRUPTED:
		case ERRCODE_INDEX_CORRUPTED:
			return "internal_error";
		default:
			return "environment";
	}
}

/*
 * Turn an ERROR into what happens next. The transaction is aborted already. Begins and
 * ends transactions of its own.
 */
EdwStepResult
EdwErrorsHandle(EdwPipeline *pipeline, ErrorData *error)
{
	pipeline->reload = true;
	if (EdwErrorsMustRethrow(error->sqlerrcode))
		ReThrowError(error);
	if (pipeline->def == NULL)
	{
		if (extension_is_gone(pipeline))
			return EDW_STEP_GONE;
		if (classify(error->sqlerrcode) != EDW_ERROR_PASSING)
			ReThrowError(error);
		return EdwErrorsRetry(pipeline, error->message);
	}
	if (pipeline->routes_changed || EdwRoutesAreStale())
	{
		/* DDL came in between: look at the targets again before judging */
		pipeline->routes_changed = false;
		EdwRoutesDrop(pipeline);
		if (pipeline->changed_underneath++ < 3)
			return EDW_STEP_MORE;
	}
	if (pipeline->phase == EDW_PHASE_VIEWS && classify(error->sqlerrcode) != EDW_ERROR_PASSING &&
		!extension_is_gone(pipeline))
		return stall_for_view(pipeline, error);
	switch (classify(error->sqlerrcode))
	{
		case EDW_ERROR_DATA:
			return handle_data_error(pipeline, error);
		case EDW_ERROR_PASSING:
			return EdwErrorsRetry(pipeline, error->message);
		case EDW_ERROR_ENVIRONMENT:
			break;
	}
	if (extension_is_gone(pipeline))
		return EDW_STEP_GONE;
	EdwPipelineSetStall(pipeline, stall_reason(error->sqlerrcode),
						error->hint != NULL ? error->hint : stall_hint(error->sqlerrcode),
						"%s (SQLSTATE %s)", error->message, unpack_sql_state(error->sqlerrcode));
	return EdwPipelineRecordStall(pipeline);
}
