/*
 * retry.c
 *		retry_dead_letters(): stored messages once more, as if they had just come.
 *
 * In the caller's transaction, in the order of topic, partition and offset, each message in
 * a subtransaction of its own: one that fails again stays, with its new error. They go
 * through the same decoder, batch and guard as everything else, with the epoch
 * that they had, so that a newer row is never taken back: such a letter ends as superseded.
 *
 * Locks, before the letters are read: the stream's row and all its offsets, until the caller's
 * transaction ends. A batch beside this may be deleting the very row that a letter would bring
 * back, with a tombstone that nobody else sees yet.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "pipeline/catalog_sql.h"
#include "pipeline/internal.h"
#include "pipeline/letters.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "worker/slots.h"

PG_FUNCTION_INFO_V1(edw_stream_retry_dead_letters);

#define ARGS	5

static EdwStatement select_letters = {
	"SELECT " EDW_LETTER_COLUMNS
	" WHERE d.stream = $1 AND d.status IN ('open', 'waiting') AND ($2 IS NULL OR d.topic = $2)"
	" AND ($3 IS NULL OR d.partition = $3) AND ($4 IS NULL OR d.kafka_offset = $4)"
	" AND ($5 IS NULL OR d.reason = $5)" EDW_LETTER_ORDER,
	ARGS, {TEXTOID, TEXTOID, INT4OID, INT8OID, TEXTOID}, NULL
};

/* an older message about the same row that is still dead */
static EdwStatement find_older = {
	"SELECT 1 FROM edw_stream.dead_letter d, edw_stream.dead_letter mine"
	" WHERE mine.id = $1 AND d.stream = mine.stream AND d.status IN ('open', 'waiting')"
	" AND d.topic = mine.topic AND d.partition = mine.partition"
	" AND d.kafka_offset < mine.kafka_offset"
	" AND d.mapping_id = mine.mapping_id AND d.row_key = mine.row_key LIMIT 1",
	1, {INT8OID}, NULL
};

static EdwStatement end_stall = {
	"UPDATE edw_stream.stream SET stalled = false, reason = NULL, message = NULL, hint = NULL,"
	" stalled_at = NULL WHERE name = $1 AND stalled AND reason = 'too_many_dead_letters'",
	1, {TEXTOID}, NULL
};

static bool
has_older(const EdwLetter *letter)
{
	EdwSql		sql;
	Datum		args[1] = {Int64GetDatum(letter->id)};
	bool		found;

	EdwSqlStart(&sql);
	found = EdwSqlRun(&find_older, args, NULL) > 0;
	EdwSqlFinish(&sql);
	return found;
}

static void
set_mark(EdwLetterOutcome *outcome, const char *stage, const char *reason, int code,
		 const char *message, const char *hint)
{
	outcome->mark.stage = stage;
	outcome->mark.reason = reason;
	outcome->mark.sqlerrcode = code;
	outcome->mark.message = pstrdup(message);
	outcome->mark.hint = hint != NULL && hint[0] != '\0' ? pstrdup(hint) : NULL;
}

static bool
is_partial(const EdwTopic *topic)
{
	for (int i = 0; i < topic->route->input.ncolumns; i++)
		if (topic->change.presence[i] != EDW_PRESENT)
			return topic->change.op != EDW_OP_DELETE && topic->change.op != EDW_OP_TOMBSTONE;
	return false;
}

/* Apply the change that was decoded. */
static void
apply_letter(EdwPipeline *pipeline, EdwTopic *topic, const EdwLetter *letter,
			 const EdwFullPosition *position, EdwLetterOutcome *outcome)
{
	EdwBatch   *batch = EdwBatchCreate();
	EdwApplyResult *applied;
	int64		written = 0;
	int64		stale = 0;

	EdwBatchAdd(batch, topic->route, 0, letter->message.partition, &topic->change, position,
				letter->epoch, false);
	pipeline->phase = EDW_PHASE_APPLY;
	applied = EdwApplyBatch(batch, pipeline->def->workers, pipeline->def->workers > 1);
	if (applied->nrejects > 0)
	{
		const EdwReject *reject = &applied->rejects[0];

		set_mark(outcome, "apply", reject->reason, reject->sqlerrcode, reject->message_text, NULL);
		if (reject->wait != NULL)
			EdwDeadMarkWait(&outcome->mark, reject->wait);
		return;
	}
	AfterTriggerSetState(makeNode(ConstraintsSetStmt));
	for (int i = 0; i < applied->ntargets; i++)
	{
		stale += applied->targets[i].outcomes[EDW_OUTCOME_STALE];
		for (int o = EDW_OUTCOME_INSERTED; o < EDW_OUTCOME_REJECTED; o++)
			if (o != EDW_OUTCOME_STALE)
				written += applied->targets[i].outcomes[o];
	}
	EdwHistoryStart(pipeline);
	pipeline->stats.applied = applied;
	EdwHistoryWriteTables(pipeline);
	outcome->status = written == 0 && stale > 0 ? "superseded" : "resolved";
}

/* Decode and apply, within a subtransaction. */
static void
try_letter(EdwPipeline *pipeline, EdwLetter *letter, EdwLetterOutcome *outcome)
{
	EdwPartition partition = {0};
	EdwTopic   *topic;
	EdwReason	reason;
	EdwFullPosition position;

	EdwRoutesStartBatch(pipeline);
	partition.topic_name = unconstify(char *, letter->message.topic);
	partition.number = letter->message.partition;
	topic = EdwTopicPrepare(pipeline, &partition);
	if (topic->decoder == NULL)
	{
		set_mark(outcome, "map", "unmapped", ERRCODE_UNDEFINED_OBJECT,
				 "no mapping takes the topic any more", NULL);
		return;
	}
	pipeline->messages = &letter->message;
	switch (EdwRunDecode(pipeline, 0, topic, &reason))
	{
		case EDW_EVENT:
			break;
		case EDW_SKIP:
			outcome->status = "resolved";
			return;
		case EDW_BAD:
		case EDW_MISCONFIGURED:
			set_mark(outcome, "decode", reason.code, reason.sqlerrcode, reason.detail, reason.hint);
			return;
	}
	EdwLetterPlace(pipeline, topic, letter, &position);
	if (is_partial(topic) && has_older(letter))
	{
		set_mark(outcome, "map", "key_waits", ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
				 "an earlier message about this row is in the dead letters", NULL);
		return;
	}
	apply_letter(pipeline, topic, letter, &position, outcome);
}

/* Run try_letter in a subtransaction that stays only if the letter was resolved. */
void
EdwLetterGuard(EdwPipeline *pipeline, EdwLetter *letter, EdwLetterOutcome *outcome, bool data_only)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool done = false;

	memset(outcome, 0, sizeof(*outcome));
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		try_letter(pipeline, letter, outcome);
		done = outcome->status != NULL;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (EdwErrorsMustRethrow(error->sqlerrcode) ||
			(data_only && !EdwErrorsAreOfData(error->sqlerrcode)))
			PG_RE_THROW();
		FlushErrorState();
		outcome->status = NULL;
		set_mark(outcome, pipeline->phase == EDW_PHASE_MESSAGE ? "map" : "apply",
				 EdwErrorsDataReason(error->sqlerrcode), error->sqlerrcode, error->message,
				 error->hint);
		outcome->mark.detail = error->detail;
	}
	PG_END_TRY();
	if (done)
		ReleaseCurrentSubTransaction();
	else
		RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
}

/* Retry all, as the stream's owner; returns how many were resolved. */
static int64
retry_all(EdwPipeline *pipeline, EdwLetter *letters, int n)
{
	Oid			user;
	int			security;
	int			guc_level = NewGUCNestLevel();
	int64		resolved = 0;

	GetUserIdAndSecContext(&user, &security);
	if (user != pipeline->def->owner)
		SetUserIdAndSecContext(pipeline->def->owner,
							   security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	for (int i = 0; i < n; i++)
	{
		EdwLetterOutcome outcome;

		CHECK_FOR_INTERRUPTS();
		EdwLetterGuard(pipeline, &letters[i], &outcome, false);
		EdwLetterRecord(&letters[i], &outcome);
		resolved += outcome.status != NULL ? 1 : 0;
	}
	AtEOXact_GUC(false, guc_level);
	SetUserIdAndSecContext(user, security);
	return resolved;
}

/* A pipeline that has a definition and no partitions. */
static EdwPipeline *
open_bare(const char *stream)
{
	EdwStreamDef *def = EdwStreamLoadOwned(stream, "FOR NO KEY UPDATE");
	EdwPipeline *pipeline = EdwPipelineOpen(stream, -1, EDW_PIPELINE_SESSION);

	EdwOffsetsLockAll(stream);
	pipeline->def = def;
	pipeline->mappings = EdwMappingLoadAll(stream);
	pipeline->source = &EdwLettersSource;
	EdwRoutesMarkFresh();
	return pipeline;
}

static void
close_bare(EdwPipeline *pipeline)
{
	pipeline->source = NULL;
	EdwPipelineClose(pipeline);
}

static int64
retry_with(EdwPipeline *pipeline, Datum *args, const char *nulls, int *n)
{
	volatile int64 resolved = 0;

	PG_TRY();
	{
		EdwLetter  *letters = EdwLettersLoad(&select_letters, args, nulls, n);

		resolved = retry_all(pipeline, letters, *n);
	}
	PG_CATCH();
	{
		close_bare(pipeline);
		PG_RE_THROW();
	}
	PG_END_TRY();
	close_bare(pipeline);
	return resolved;
}

/* The breaker's reason is gone when nothing is dead any more. */
static void
clear_breaker(const char *stream)
{
	EdwSql		sql;
	Datum		args[1];

	EdwSqlStart(&sql);
	args[0] = CStringGetTextDatum(stream);
	(void) EdwSqlRun(&end_stall, args, NULL);
	EdwSqlFinish(&sql);
}

Datum
edw_stream_retry_dead_letters(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		args[ARGS] = {0};
	char		nulls[ARGS + 1] = "     ";
	Datum		row[3];
	bool		row_nulls[3] = {false, false, false};
	char	   *stream;
	int64		resolved;
	int			n = 0;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("stream must not be null")));
	InitMaterializedSRF(fcinfo, 0);
	stream = text_to_cstring(PG_GETARG_TEXT_PP(0));
	for (int i = 0; i < ARGS; i++)
	{
		if (PG_ARGISNULL(i))
			nulls[i] = 'n';
		else
			args[i] = PG_GETARG_DATUM(i);
	}
	resolved = retry_with(open_bare(stream), args, nulls, &n);
	if (n > 0 && resolved == n)
		clear_breaker(stream);
	EdwSignalStreamsChanged();

	row[0] = Int64GetDatum(n);
	row[1] = Int64GetDatum(resolved);
	row[2] = Int64GetDatum(n - resolved);
	tuplestore_putvalues(result->setResult, result->setDesc, row, row_nulls);
	return (Datum) 0;
}
