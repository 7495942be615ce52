/*
 * pipeline.c
 *		One worker's share of a stream, from source to commit: open, step, close.
 *
 * A step goes through these states, each of which it may leave early:
 *
 *		load definition > open source > assign partitions > poll > run a batch
 *
 * No transaction is open between steps in a worker, and none while the broker is
 * waited for. Every ERROR below ends here: it is caught once per step, the transaction is
 * aborted, and errors.c says what it means. Interrupts are checked in each step.
 */
#include "postgres.h"

#include "edw_stream.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "pipeline/assembler.h"
#include "pipeline/internal.h"
#include "pipeline/waiting.h"
#include "portability/instr_time.h"
#include "utils/backend_status.h"
#include "utils/guc.h"
#include "utils/memutils.h"

/* while the broker has not answered yet */
#define ASK_AGAIN_MS		20

#define NO_TIMEOUT			(-1L)

EdwPipeline *
EdwPipelineOpen(const char *stream, int worker, EdwPipelineMode mode)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "edw_stream pipeline",
												  ALLOCSET_DEFAULT_SIZES);
	EdwPipeline *pipeline = MemoryContextAllocZero(context, sizeof(EdwPipeline));

	pipeline->context = context;
	pipeline->definition_context = AllocSetContextCreate(context, "edw_stream definition", ALLOCSET_SMALL_SIZES);
	pipeline->source_context = AllocSetContextCreate(context, "edw_stream source", ALLOCSET_DEFAULT_SIZES);
	pipeline->assignment_context = AllocSetContextCreate(context, "edw_stream assignment", ALLOCSET_SMALL_SIZES);
	pipeline->routes_context = AllocSetContextCreate(context, "edw_stream routes", ALLOCSET_DEFAULT_SIZES);
	pipeline->batch_context = AllocSetContextCreate(context, "edw_stream batch", ALLOCSET_DEFAULT_SIZES);
	pipeline->step_context = AllocSetContextCreate(context, "edw_stream step", ALLOCSET_SMALL_SIZES);
	pipeline->stream = MemoryContextStrdup(context, stream);
	pipeline->worker = worker;
	pipeline->xact.session = mode != EDW_PIPELINE_WORKER;
	pipeline->xact.nested = mode == EDW_PIPELINE_PREVIEW;
	pipeline->waiting = EdwWaitingCreate(context, pipeline->stream);
	pipeline->reload = true;
	pipeline->current = -1;
	return pipeline;
}

/* Remember why the stream stalls; recorded when the step ends. */
void
EdwPipelineSetStall(EdwPipeline *pipeline, const char *reason, const char *hint,
					const char *message,...)
{
	char		text[1024];
	va_list		args;
	EdwStall   *stall = &pipeline->stall;

	va_start(args, message);
	vsnprintf(text, sizeof(text), message, args);
	va_end(args);
	stall->record_fields = false;
	stall->reason = MemoryContextStrdup(pipeline->context, reason);
	stall->message = MemoryContextStrdup(pipeline->context, text);
	stall->hint = hint != NULL && hint[0] != '\0' ? MemoryContextStrdup(pipeline->context, hint) : NULL;
}

/* Write the stall to edw_stream.stream, in a transaction of its own (H2). */
EdwStepResult
EdwPipelineRecordStall(EdwPipeline *pipeline)
{
	const EdwStall *stall = &pipeline->stall;

	if (pipeline->preview != NULL)
		return EDW_STEP_STALLED;	/* told to the caller, and nobody else */
	ereport(LOG,
			(errmsg("stream \"%s\" stalls: %s", pipeline->stream, stall->message),
			 stall->hint != NULL ? errhint("%s", stall->hint) : 0));
	EdwXactBegin(&pipeline->xact);
	EdwStreamSetStalled(pipeline->stream, stall->reason, stall->message, stall->hint);
	if (stall->record_fields)
		EdwFieldsRecordAll(pipeline);
	EdwXactCommit(&pipeline->xact);
	return EDW_STEP_STALLED;
}

static void
set_synchronous_commit(EdwPipeline *pipeline)
{
	if (pipeline->xact.session)
		return;					/* the session's own setting counts */
	SetConfigOption("synchronous_commit",
					pipeline->def->options.synchronous_commit ? "on" : "off",
					PGC_USERSET, PGC_S_SESSION);
}

/* Have stored offsets moved without us, while nothing is held? Then read from there. */
static void
check_offsets(EdwPipeline *pipeline)
{
	List	   *stored;
	ListCell   *lc;
	bool		moved = false;

	if (!pipeline->assigned)
		return;
	EdwXactBegin(&pipeline->xact);
	stored = EdwOffsetsLoad(pipeline->stream);
	EdwXactCommit(&pipeline->xact);
	foreach(lc, stored)
	{
		EdwStoredOffset *row = lfirst(lc);
		EdwPartition *partition = EdwPartitionFind(pipeline, row->topic, row->partition);

		if (partition != NULL && (row->next_offset < partition->expected ||
								  row->next_offset > Max(partition->fetched, partition->reached)))
			moved = true;
	}
	if (moved || stored == NIL)
		EdwPartitionsUnassign(pipeline);
}

/*
 * Read the stream and its mappings again. MORE: go on; anything else ends the step.
 */
static EdwStepResult
load_definition(EdwPipeline *pipeline)
{
	EdwStreamDef *def;
	MemoryContext old;

	EdwRoutesDrop(pipeline);
	EdwWaitingForget(pipeline->waiting);
	pipeline->def = NULL;
	pipeline->mappings = NIL;
	MemoryContextReset(pipeline->definition_context);

	EdwXactBegin(&pipeline->xact);
	old = MemoryContextSwitchTo(pipeline->definition_context);
	def = pipeline->def = EdwStreamLoad(pipeline->stream, true);
	if (def != NULL)
		pipeline->mappings = EdwMappingLoadAll(pipeline->stream);	/* may raise: a stall */
	MemoryContextSwitchTo(old);
	EdwXactCommit(&pipeline->xact);
	if (def == NULL)
		return EDW_STEP_GONE;

	pipeline->reload = false;
	pipeline->xact.owner = pipeline->xact.session ? def->owner : InvalidOid;
	if (def->stalled)
	{
		EdwPipelineSetStall(pipeline, def->reason != NULL ? def->reason : "stalled", def->hint,
							"%s", def->message != NULL ? def->message : "it stalled before");
		return EDW_STEP_STALLED;
	}
	if (!pipeline->xact.session &&
		(!def->wanted_running || def->owner != GetUserId() || pipeline->worker >= def->workers))
		return EDW_STEP_GONE;
	set_synchronous_commit(pipeline);
	if (pipeline->limit == 0 || pipeline->limit > def->options.batch_rows)
		pipeline->limit = def->options.batch_rows;
	if (pipeline->assembler == NULL && def->options.transaction_topic != NULL)
		pipeline->assembler = EdwAssemblerCreate(pipeline->context);
	check_offsets(pipeline);
	return EDW_STEP_MORE;
}

static EdwStepResult
open_source(EdwPipeline *pipeline)
{
	const EdwStreamDef *def = pipeline->def;
	EdwSourceError error = {0};
	MemoryContext old;
	EdwSourceConfig config = {
		.stream = pipeline->stream,
		.owner = def->owner,
		.server = def->server,
		.topics = list_copy(def->topics),
		.worker = Max(pipeline->worker, 0),
		.workers = pipeline->worker < 0 ? 1 : def->workers,
		.fetch_memory = (Size) EdwFetchMemoryKB * 1024,
		.group_id = psprintf("edw_stream-%s", pipeline->stream),
	};
	const EdwSourceOps *ops = def->server == NULL ? &EdwInboxSourceOps : &EdwKafkaSourceOps;

	if (def->options.transaction_topic != NULL)
		config.topics = lappend(config.topics, def->options.transaction_topic);
	EdwXactBegin(&pipeline->xact);
	old = MemoryContextSwitchTo(pipeline->source_context);
	pipeline->source = ops->open(&config, &error);
	MemoryContextSwitchTo(old);
	EdwXactCommit(&pipeline->xact);
	if (pipeline->source != NULL)
		return EDW_STEP_MORE;
	return EdwSourceAnswer(pipeline, EDW_SOURCE_FAILED, &error);
}

static void
report_activity(EdwPipeline *pipeline)
{
	char		text[NAMEDATALEN + 64];

	if (pipeline->xact.session)
		return;
	snprintf(text, sizeof(text), "applying %d messages of stream %s", pipeline->nheld, pipeline->stream);
	pgstat_report_activity(STATE_RUNNING, text);
}

static void
commit_batch(EdwPipeline *pipeline)
{
	instr_time	start;
	instr_time	end;

	INSTR_TIME_SET_CURRENT(start);
	EdwXactCommit(&pipeline->xact);
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, start);
	pipeline->commit_us = (int64) INSTR_TIME_GET_MICROSEC(end);
	EdwErrorsBatchCommitted(pipeline);
	EdwRunCommitted(pipeline);
}

/* The data transaction. */
static EdwStepResult
run_batch(EdwPipeline *pipeline)
{
	EdwRunResult result;

	report_activity(pipeline);
	EdwXactBegin(&pipeline->xact);
	result = EdwRunBatch(pipeline, -1);
	if (result == EDW_RUN_COMMIT)
	{
		commit_batch(pipeline);
		return EDW_STEP_MORE;
	}
	EdwXactAbort(&pipeline->xact);
	switch (result)
	{
		case EDW_RUN_NOTHING:
			return pipeline->extend ? EDW_STEP_MORE : EDW_STEP_IDLE;
		case EDW_RUN_EXCLUSIVE:
			pipeline->exclusive = true;
			break;
		case EDW_RUN_REASSIGN:
			EdwPartitionsUnassign(pipeline);
			break;
		case EDW_RUN_STALL:
			return EDW_STEP_STALLED;
		case EDW_RUN_AGAIN:
		case EDW_RUN_COMMIT:
			break;
	}
	pipeline->reload = true;	/* what the run noted about fields was rolled back */
	return EDW_STEP_MORE;
}

/* Nothing came: store ends behind gaps, tidy up. */
static EdwStepResult
idle(EdwPipeline *pipeline)
{
	pipeline->failures = 0;
	if (EdwPartitionsFlushReached(pipeline))
		return EDW_STEP_MORE;
	if (pipeline->worker <= 0 && !pipeline->xact.session)
		return EdwHistoryPrune(pipeline) ? EDW_STEP_MORE : EDW_STEP_IDLE;
	return EDW_STEP_IDLE;
}

static EdwStepResult
step(EdwPipeline *pipeline)
{
	EdwStepResult result = EDW_STEP_MORE;
	int			got;

	CHECK_FOR_INTERRUPTS();
	if (pipeline->reload)
		result = load_definition(pipeline);
	if (result != EDW_STEP_MORE)
		return result;
	if (pipeline->mappings == NIL)
		return EDW_STEP_IDLE;	/* its messages have nowhere to go yet */
	if (pipeline->source == NULL)
		result = open_source(pipeline);
	if (result != EDW_STEP_MORE)
		return result;
	if (!pipeline->assigned)
		return EdwPartitionsAssign(pipeline);

	EdwSourceEnter(pipeline);
	got = EdwHeldPoll(pipeline);
	EdwSourceLeave(pipeline);
	if (EdwPartitionsReadNotices(pipeline, &result))
		return result;
	if (pipeline->worker <= 0 && !pipeline->xact.session)
		(void) EdwHistoryPrune(pipeline);
	if (pipeline->nheld == 0)
		return idle(pipeline);
	EdwPartitionsNoteEnds(pipeline);
	result = run_batch(pipeline);
	if (result == EDW_STEP_IDLE && got > 0)
		result = EDW_STEP_MORE;
	return result;
}

/* Abort, tell what happened, and decide. */
static EdwStepResult
handle_error(EdwPipeline *pipeline)
{
	ErrorData  *error;
	EdwStepResult result;

	HOLD_INTERRUPTS();
	MemoryContextSwitchTo(pipeline->step_context);
	error = CopyErrorData();
	FlushErrorState();
	EdwXactAbort(&pipeline->xact);
	MemoryContextSwitchTo(pipeline->step_context);
	RESUME_INTERRUPTS();
	result = EdwErrorsHandle(pipeline, error);
	return result;
}

EdwStepResult
EdwPipelineStep(EdwPipeline *pipeline)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile EdwStepResult result = EDW_STEP_IDLE;
	volatile bool failed = false;

	MemoryContextReset(pipeline->step_context);
	MemoryContextSwitchTo(pipeline->step_context);
	pipeline->phase = EDW_PHASE_OTHER;	/* an ERROR before the next run is not of the last one's */
	PG_TRY();
	{
		result = step(pipeline);
	}
	PG_CATCH();
	{
		failed = true;
	}
	PG_END_TRY();
	if (failed)
		result = handle_error(pipeline);
	else if (result == EDW_STEP_STALLED && !(pipeline->def != NULL && pipeline->def->stalled))
		result = EdwPipelineRecordStall(pipeline);
	MemoryContextSwitchTo(caller);
	return result;
}

bool
EdwPipelineIsAtEnd(EdwPipeline *pipeline)
{
	if (pipeline->reload || pipeline->def == NULL)
		return false;
	if (pipeline->mappings == NIL)
		return true;
	if (!pipeline->assigned || pipeline->cut_off || pipeline->nheld > 0)
		return false;
	for (int i = 0; i < pipeline->npartitions && pipeline->def->server != NULL; i++)
	{
		const EdwPartition *partition = &pipeline->partitions[i];

		if (partition->reached == EDW_OFFSET_UNKNOWN || partition->reached < partition->expected)
			return false;
	}
	return true;
}

bool
EdwPipelineIsCutOff(EdwPipeline *pipeline)
{
	return pipeline->cut_off;
}

int
EdwPipelineWaitFd(EdwPipeline *pipeline)
{
	return pipeline->source != NULL ? pipeline->source->ops->wait_fd(pipeline->source) : -1;
}

/* Milliseconds from now to a time; at least 1. */
static long
until(TimestampTz when)
{
	return Max(1, TimestampDifferenceMilliseconds(GetCurrentTimestamp(), when));
}

long
EdwPipelineTimeout(EdwPipeline *pipeline)
{
	long		timeout = NO_TIMEOUT;

	if (pipeline->reload || pipeline->def == NULL)
		return 1;
	if (pipeline->mappings == NIL)
		return NO_TIMEOUT;
	if (!pipeline->assigned)
		return pipeline->def->server == NULL ? 1000 : ASK_AGAIN_MS;
	if (EdwPartitionsMustFlush(pipeline))
		return until(pipeline->next_flush);
	if (pipeline->assembler != NULL && pipeline->nheld > 0)
		timeout = EdwAssemblerTimeout(pipeline);
	if (pipeline->worker <= 0 && !pipeline->xact.session)
	{
		long		prune = until(pipeline->next_prune);

		timeout = timeout < 0 ? prune : Min(timeout, prune);
	}
	return timeout;
}

long
EdwPipelineRetryDelay(EdwPipeline *pipeline)
{
	return pipeline->retry_delay;
}

void
EdwPipelineReload(EdwPipeline *pipeline)
{
	pipeline->reload = true;
}

void
EdwPipelineClose(EdwPipeline *pipeline)
{
	MemoryContext context = pipeline->context;

	if (pipeline->source != NULL)
	{
		EdwSource  *source = pipeline->source;

		if (pipeline->nheld > 0)
			source->ops->release(source, pipeline->messages, pipeline->nheld);
		pipeline->nheld = 0;
		pipeline->source = NULL;
		source->ops->close(source);
	}
	MemoryContextDelete(context);
}
