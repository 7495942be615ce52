/*
 * session.c
 *		CALL drain() and wait_for(): a stream from a session's point of view.
 *
 * drain() is a worker for as long as it takes: it opens a pipeline over all
 * partitions and steps until the ends that the topics had when it was called are
 * committed. Beside a running worker each message is still applied once, because
 * both lock the same offsets. wait_for() only looks.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "pipeline/catalog_sql.h"
#include "pipeline/internal.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "worker/slots.h"

PG_FUNCTION_INFO_V1(edw_stream_drain);
PG_FUNCTION_INFO_V1(edw_stream_wait_for);

/* failures in a row after which drain gives up: about a minute */
#define DRAIN_MAX_FAILURES	9

#define LOOK_FIRST_MS		5
#define LOOK_LAST_MS		50

static EdwStatement find_mapping = {
	"SELECT 1 FROM edw_stream.mapping WHERE stream = $1 LIMIT 1",
	1, {TEXTOID}, NULL
};

/* the ends to be reached */
typedef struct EdwEnds
{
	int			n;
	EdwPartitionPosition *positions;
} EdwEnds;

static void
close_pipeline(int code, Datum arg)
{
	(void) code;
	EdwPipelineClose((EdwPipeline *) DatumGetPointer(arg));
}

/* Wait for the latch, the descriptor, or the time. */
static void
wait_a_while(int fd, long timeout)
{
	int			events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;

	if (timeout >= 0)
		events |= WL_TIMEOUT;
	if (fd >= 0)
		events |= WL_SOCKET_READABLE;
	(void) WaitLatchOrSocket(MyLatch, events, fd >= 0 ? fd : PGINVALID_SOCKET, timeout,
							 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

static void
report_stall(const EdwPipeline *pipeline, const EdwStall *stall)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 pipeline->preview != NULL ? errmsg("stream \"%s\" would stall: %s", pipeline->stream, stall->message)
			 : errmsg("stream \"%s\" has stalled: %s", pipeline->stream, stall->message),
			 errdetail("The reason is \"%s\".", stall->reason),
			 stall->hint != NULL ? errhint("%s", stall->hint) : 0));
}

/* Ask where the assigned partitions end now; false: not known yet. */
static bool
capture_ends(EdwPipeline *pipeline, EdwEnds *ends)
{
	EdwSourceError error = {0};
	EdwSourceResult answer;

	if (ends->positions == NULL)
		ends->positions = MemoryContextAllocZero(pipeline->context,
												 sizeof(EdwPartitionPosition) * (pipeline->npartitions + 1));
	else
		ends->positions = repalloc(ends->positions,
								   sizeof(EdwPartitionPosition) * (pipeline->npartitions + 1));
	for (int i = 0; i < pipeline->npartitions; i++)
	{
		EdwPartitionPosition *position = &ends->positions[i];

		position->topic = MemoryContextStrdup(pipeline->context, pipeline->partitions[i].topic_name);
		position->partition = pipeline->partitions[i].number;
		position->offset = EDW_OFFSET_UNKNOWN;
	}
	EdwSourceEnter(pipeline);
	answer = pipeline->source->ops->end_offsets(pipeline->source, ends->positions,
												pipeline->npartitions, &error);
	EdwSourceLeave(pipeline);
	if (answer == EDW_SOURCE_OK)
	{
		ends->n = pipeline->npartitions;
		return true;
	}
	if (answer == EDW_SOURCE_FAILED)
		ereport(ERROR,
				(errcode(error.sqlerrcode), errmsg("%s", error.message),
				 error.hint[0] != '\0' ? errhint("%s", error.hint) : 0));
	if (answer == EDW_SOURCE_RETRY)
		(void) EdwErrorsRetry(pipeline, error.message);
	return false;
}

/* Is everything up to the ends committed? */
static bool
ends_reached(EdwPipeline *pipeline, const EdwEnds *ends)
{
	if (!pipeline->assigned)
		return false;
	for (int i = 0; i < ends->n; i++)
	{
		EdwPartition *partition = EdwPartitionFind(pipeline, ends->positions[i].topic,
												   ends->positions[i].partition);

		if (partition != NULL && partition->expected < ends->positions[i].offset)
			return false;
	}
	return true;
}

/*
 * Is everything up to the ends read, and what is not committed of it held because its
 * source transaction is not complete (P7)? Then there is nothing left to do now.
 */
static bool
rest_is_incomplete(EdwPipeline *pipeline, const EdwEnds *ends)
{
	if (!pipeline->assigned || pipeline->assembler == NULL || pipeline->nheld == 0 || !pipeline->dry)
		return false;
	for (int i = 0; i < ends->n; i++)
	{
		EdwPartition *partition = EdwPartitionFind(pipeline, ends->positions[i].topic,
												   ends->positions[i].partition);

		if (partition != NULL &&
			Max(partition->fetched, partition->reached) < ends->positions[i].offset)
			return false;
	}
	return true;
}

static void
check_failures(EdwPipeline *pipeline)
{
	if (pipeline->failures < DRAIN_MAX_FAILURES)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_CONNECTION_FAILURE),
			 errmsg("gave up on draining stream \"%s\" after %d failures in a row",
					pipeline->stream, pipeline->failures),
			 errdetail("The last one was: %s", EdwMyCounters()->last_error)));
}

void
EdwSessionDrain(EdwPipeline *pipeline)
{
	EdwEnds		ends = {0};
	bool		captured = false;

	for (;;)
	{
		EdwStepResult result = EdwPipelineStep(pipeline);

		if (result == EDW_STEP_STALLED)
			report_stall(pipeline, &pipeline->stall);
		if (result == EDW_STEP_GONE)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("stream \"%s\" was dropped while it was drained", pipeline->stream)));
		if (pipeline->assigned && !captured)
			captured = capture_ends(pipeline, &ends);
		if ((captured && ends_reached(pipeline, &ends)) || EdwPreviewIsDone(pipeline))
			return;
		if (captured && result == EDW_STEP_IDLE && rest_is_incomplete(pipeline, &ends))
		{
			ereport(NOTICE,
					(errmsg("%d messages of incomplete source transactions are left", pipeline->nheld),
					 errdetail("They are applied when the rest has come, or when they are older than transaction_timeout.")));
			return;
		}
		check_failures(pipeline);
		if (result == EDW_STEP_RETRY)
			wait_a_while(-1, EdwPipelineRetryDelay(pipeline));
		else if (result == EDW_STEP_IDLE)
			wait_a_while(EdwPipelineWaitFd(pipeline),
						 captured && EdwPipelineTimeout(pipeline) < 0 ? 100 :
						 Min(100, Max(1, EdwPipelineTimeout(pipeline))));
	}
}

/*
 * Drain; an error leaves no transaction of the pipeline's open. Its subtransaction is none of
 * the caller's: left to the end of the statement it would break the session.
 */
static void
drain_guarded(EdwPipeline *pipeline)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		EdwSessionDrain(pipeline);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		EdwXactAbort(&pipeline->xact);
		ReThrowError(error);
	}
	PG_END_TRY();
}

/* The caller may drain: it is the owner's stream, and there is somewhere to drain to. */
static void
check_drain(const char *name)
{
	EdwSql		sql;
	Datum		args[1];
	bool		mapped;

	EdwStreamCheckOwner(EdwStreamLoad(name, false));
	EdwSqlStart(&sql);
	args[0] = CStringGetTextDatum(name);
	mapped = EdwSqlRun(&find_mapping, args, NULL) > 0;
	EdwSqlFinish(&sql);
	if (!mapped)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("stream \"%s\" has no mappings", name),
				 errhint("Call edw_stream.map_table() first: messages without a mapping would be skipped.")));
}

Datum
edw_stream_drain(PG_FUNCTION_ARGS)
{
	bool		atomic = !(fcinfo->context != NULL && IsA(fcinfo->context, CallContext) &&
						   !castNode(CallContext, fcinfo->context)->atomic);
	EdwPipeline *pipeline;
	char	   *name;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("stream must not be null")));
	if (atomic)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
				 errmsg("drain() cannot run inside a transaction block"),
				 errhint("It commits batch by batch: CALL it on its own.")));

	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect_ext failed");
	name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	check_drain(name);
	pipeline = EdwPipelineOpen(name, -1, EDW_PIPELINE_SESSION);
	PG_ENSURE_ERROR_CLEANUP(close_pipeline, PointerGetDatum(pipeline));
	{
		drain_guarded(pipeline);
	}
	PG_END_ENSURE_ERROR_CLEANUP(close_pipeline, PointerGetDatum(pipeline));
	EdwPipelineClose(pipeline);
	SPI_finish();
	PG_RETURN_VOID();
}

/*
 * wait_for: the ends as a source of its own sees them.
 */
static void
ask_ends(EdwSource *source, List **partitions, EdwEnds *ends, TimestampTz deadline)
{
	EdwSourceError error = {0};
	ListCell   *lc;

	for (;;)
	{
		EdwSourceResult answer = EDW_SOURCE_OK;

		if (*partitions == NIL)
		{
			answer = source->ops->list_partitions(source, partitions, &error);
			ends->positions = palloc0(sizeof(EdwPartitionPosition) * (list_length(*partitions) + 1));
			ends->n = 0;
			if (answer == EDW_SOURCE_OK)
				foreach(lc, *partitions)
					ends->positions[ends->n++] = *(EdwPartitionPosition *) lfirst(lc);
		}
		if (answer == EDW_SOURCE_OK)
			answer = source->ops->end_offsets(source, ends->positions, ends->n, &error);
		if (answer == EDW_SOURCE_OK)
			return;
		if (answer == EDW_SOURCE_FAILED ||
			(answer == EDW_SOURCE_RETRY && GetCurrentTimestamp() >= deadline))
			ereport(ERROR,
					(errcode(error.sqlerrcode != 0 ? error.sqlerrcode : ERRCODE_CONNECTION_FAILURE),
					 errmsg("%s", error.message),
					 error.hint[0] != '\0' ? errhint("%s", error.hint) : 0));
		if (GetCurrentTimestamp() >= deadline)
		{
			ends->n = -1;
			return;
		}
		wait_a_while(source->ops->wait_fd(source), 20);
	}
}

static void
close_source(int code, Datum arg)
{
	EdwSource  *source = (EdwSource *) DatumGetPointer(arg);

	(void) code;
	source->ops->close(source);
}

/* Where the stream's topics end now; n is -1 when that could not be learnt in time. */
static EdwEnds
find_ends(const EdwStreamDef *def, TimestampTz deadline)
{
	const EdwSourceOps *ops = def->server == NULL ? &EdwInboxSourceOps : &EdwKafkaSourceOps;
	EdwSourceError error = {0};
	EdwEnds		ends = {0};
	List	   *partitions = NIL;
	EdwSource  *source;
	EdwSourceConfig config = {
		.stream = def->name,
		.owner = def->owner,
		.server = def->server,
		.topics = list_copy(def->topics),
		.workers = 1,
		.fetch_memory = 64 * 1024,
		.group_id = psprintf("edw_stream-%s", def->name),
	};

	if (def->options.transaction_topic != NULL)
		config.topics = lappend(config.topics, def->options.transaction_topic);
	source = ops->open(&config, &error);
	if (source == NULL)
		ereport(ERROR,
				(errcode(error.sqlerrcode), errmsg("%s", error.message),
				 error.hint[0] != '\0' ? errhint("%s", error.hint) : 0));
	PG_ENSURE_ERROR_CLEANUP(close_source, PointerGetDatum(source));
	{
		ask_ends(source, &partitions, &ends, deadline);
	}
	PG_END_ENSURE_ERROR_CLEANUP(close_source, PointerGetDatum(source));
	source->ops->close(source);
	return ends;
}

static bool
all_stored(List *stored, const EdwEnds *ends)
{
	for (int i = 0; i < ends->n; i++)
	{
		const EdwPartitionPosition *end = &ends->positions[i];
		ListCell   *lc;
		bool		reached = end->offset == 0;

		foreach(lc, stored)
		{
			EdwStoredOffset *row = lfirst(lc);

			if (row->partition == end->partition && strcmp(row->topic, end->topic) == 0)
				reached = row->next_offset >= end->offset;
		}
		if (!reached)
			return false;
	}
	return true;
}

/* Look at what is committed now, even in a transaction that has one snapshot for all. */
static bool
look(const char *name, const EdwEnds *ends, MemoryContext scratch, bool *paused)
{
	MemoryContext old = MemoryContextSwitchTo(scratch);
	EdwStreamDef *def;
	bool		reached;

	PushActiveSnapshot(GetLatestSnapshot());
	def = EdwStreamLoad(name, false);
	if (def->stalled)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("stream \"%s\" has stalled: %s", name,
						def->message != NULL ? def->message : "no reason is known"),
				 def->reason != NULL ? errdetail("The reason is \"%s\".", def->reason) : 0,
				 def->hint != NULL ? errhint("%s", def->hint) : 0));
	*paused = !def->wanted_running;
	reached = all_stored(EdwOffsetsLoadLatest(name), ends);
	PopActiveSnapshot();
	MemoryContextSwitchTo(old);
	MemoryContextReset(scratch);
	return reached;
}

Datum
edw_stream_wait_for(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz deadline;
	MemoryContext scratch;
	EdwStreamDef *def;
	EdwEnds		ends;
	bool		paused = false;
	long		pause = LOOK_FIRST_MS;

	deadline = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
													   TimestampTzGetDatum(now),
													   PG_GETARG_DATUM(1)));
	def = EdwStreamLoad(name, false);
	EdwStreamCheckOwner(def);
	ends = find_ends(def, deadline);
	scratch = AllocSetContextCreate(CurrentMemoryContext, "edw_stream wait_for", ALLOCSET_DEFAULT_SIZES);
	while (ends.n >= 0)
	{
		long		left;

		if (look(name, &ends, scratch, &paused))
			PG_RETURN_BOOL(true);
		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);
		if (left <= 0)
			break;
		wait_a_while(-1, Min(pause, left));
		pause = Min(pause * 2, LOOK_LAST_MS);
	}
	if (paused)
		ereport(NOTICE,
				(errmsg("stream \"%s\" is paused", name),
				 errhint("Call edw_stream.start(), or edw_stream.drain().")));
	PG_RETURN_BOOL(false);
}
