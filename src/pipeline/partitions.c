/*
 * partitions.c
 *		Which partitions there are, where each starts, and what the source tells of them.
 *
 * Partition p of every topic belongs to worker p % workers; a session takes all. Initial
 * positions are resolved once and stored, in a transaction of their own that locks the
 * stream's row, before anything is read: for a new stream where start_at says, for
 * partitions found later at their beginning (rule K4).
 *
 * No function keeps a transaction open while the broker is asked; the inbox, which is a
 * table, is read within one.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "pipeline/assembler.h"
#include "pipeline/catalog_sql.h"
#include "pipeline/internal.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "worker/slots.h"

static EdwStatement lock_stream = {
	"SELECT 1 FROM edw_stream.stream WHERE name = $1 FOR NO KEY UPDATE",
	1, {TEXTOID}, NULL
};

/* at most one small transaction so often for ends that were reached without a message */
#define FLUSH_INTERVAL_MS	200

/* how often the ends are asked for while messages flow */
#define ENDS_INTERVAL_MS	2000

static int
compare_partition(const char *topic, int32 number, const EdwPartition *partition)
{
	int			order = strcmp(topic, partition->topic_name);

	return order != 0 ? order : (number > partition->number) - (number < partition->number);
}

/* The assigned partition of that name, or NULL. */
EdwPartition *
EdwPartitionFind(EdwPipeline *pipeline, const char *topic, int32 number)
{
	int			low = 0;
	int			high = pipeline->npartitions;

	while (low < high)
	{
		int			middle = (low + high) / 2;
		int			order = compare_partition(topic, number, &pipeline->partitions[middle]);

		if (order == 0)
			return &pipeline->partitions[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

/* The inbox is read in a transaction, Kafka outside of one. */
void
EdwSourceEnter(EdwPipeline *pipeline)
{
	if (pipeline->def->server == NULL)
		EdwXactBegin(&pipeline->xact);
}

void
EdwSourceLeave(EdwPipeline *pipeline)
{
	if (pipeline->def->server == NULL)
		EdwXactCommit(&pipeline->xact);
}

/* What a source's answer means for the step; OK is not among them. */
EdwStepResult
EdwSourceAnswer(EdwPipeline *pipeline, EdwSourceResult answer, const EdwSourceError *error)
{
	switch (answer)
	{
		case EDW_SOURCE_AGAIN:
			return EDW_STEP_IDLE;
		case EDW_SOURCE_RETRY:
			return EdwErrorsRetry(pipeline, error->message);
		default:
			EdwPipelineSetStall(pipeline, "source_failed",
								error->hint[0] != '\0' ? error->hint : NULL,
								"%s", error->message);
			return EDW_STEP_STALLED;
	}
}

/* Stop reading: give back what is held and read again from the stored offsets. */
void
EdwPartitionsUnassign(EdwPipeline *pipeline)
{
	EdwHeldRelease(pipeline, false);
	if (pipeline->assembler != NULL)
		EdwAssemblerForget(pipeline->assembler);
	pipeline->assigned = false;
	pipeline->extend = false;
	pipeline->npartitions = 0;
	pipeline->partitions = NULL;
	pipeline->listed = NIL;
	MemoryContextReset(pipeline->assignment_context);
}

static EdwStoredOffset *
find_stored(List *stored, const EdwPartitionPosition *position)
{
	ListCell   *lc;

	foreach(lc, stored)
	{
		EdwStoredOffset *row = lfirst(lc);

		if (row->partition == position->partition && strcmp(row->topic, position->topic) == 0)
			return row;
	}
	return NULL;
}

static List *
load_stored(EdwPipeline *pipeline)
{
	List	   *stored;

	EdwXactBegin(&pipeline->xact);
	stored = EdwOffsetsLoad(pipeline->stream);
	EdwXactCommit(&pipeline->xact);
	return stored;
}

/*
 * Store where new partitions start. MORE: look again, since another worker may have
 * been first.
 */
static EdwStepResult
store_new(EdwPipeline *pipeline, EdwPartitionPosition *positions, int n, bool stream_is_new)
{
	EdwSql		sql;
	Datum		args[1];

	EdwXactBegin(&pipeline->xact);
	EdwSqlStart(&sql);
	args[0] = CStringGetTextDatum(pipeline->stream);
	(void) EdwSqlRun(&lock_stream, args, NULL);
	EdwSqlFinish(&sql);
	if (!stream_is_new || EdwOffsetsLoad(pipeline->stream) == NIL)
		for (int i = 0; i < n; i++)
			EdwOffsetInsert(pipeline->stream, positions[i].topic, positions[i].partition,
							positions[i].offset);
	EdwXactCommit(&pipeline->xact);
	return EDW_STEP_MORE;
}

/* Resolve the start of listed partitions that have no stored offset. */
static EdwStepResult
start_new(EdwPipeline *pipeline, List *stored, int nnew)
{
	EdwPartitionPosition *positions = palloc0(sizeof(EdwPartitionPosition) * nnew);
	EdwSourceError error = {0};
	EdwSourceResult answer;
	bool		stream_is_new = stored == NIL;
	int			n = 0;
	ListCell   *lc;

	foreach(lc, pipeline->listed)
	{
		EdwPartitionPosition *position = lfirst(lc);

		if (find_stored(stored, position) == NULL)
			positions[n++] = *position;
	}
	EdwSourceEnter(pipeline);
	answer = pipeline->source->ops->start_offsets(pipeline->source,
												  stream_is_new ? pipeline->def->start_at : EDW_START_EARLIEST,
												  pipeline->def->start_timestamp_ms,
												  positions, n, &error);
	EdwSourceLeave(pipeline);
	if (answer != EDW_SOURCE_OK)
		return EdwSourceAnswer(pipeline, answer, &error);
	return store_new(pipeline, positions, n, stream_is_new);
}

static bool
is_mine(EdwPipeline *pipeline, const EdwPartitionPosition *position)
{
	return pipeline->worker < 0 ||
		position->partition % pipeline->def->workers == pipeline->worker;
}

/* A topic that lost partitions was made anew: its stored offsets mean nothing any more (K3). */
static bool
lost_partition(EdwPipeline *pipeline, List *stored)
{
	ListCell   *lc;

	foreach(lc, stored)
	{
		EdwStoredOffset *row = lfirst(lc);
		bool		topic_there = false;
		bool		there = false;
		ListCell   *lc2;

		foreach(lc2, pipeline->listed)
		{
			EdwPartitionPosition *position = lfirst(lc2);

			if (strcmp(position->topic, row->topic) != 0)
				continue;
			topic_there = true;
			if (position->partition == row->partition)
				there = true;
		}
		if (topic_there && !there && pipeline->def->options.on_offset_lost == EDW_LOST_ERROR)
		{
			EdwPipelineSetStall(pipeline, "partition_lost",
								"The topic was deleted and created again. Create the stream anew, or seek() the partitions that are left.",
								"topic \"%s\" has no partition %d any more; it was read up to offset " INT64_FORMAT,
								row->topic, row->partition, row->next_offset);
			return true;
		}
	}
	return false;
}

/* Begin to read this worker's partitions where their stored offsets are. */
static EdwStepResult
assign(EdwPipeline *pipeline, List *stored)
{
	int			listed = list_length(pipeline->listed);
	EdwPartitionPosition *positions = palloc(sizeof(EdwPartitionPosition) * (listed + 1));
	EdwSourceError error = {0};
	EdwSourceResult answer;
	int			n = 0;
	ListCell   *lc;

	pipeline->partitions = palloc0(sizeof(EdwPartition) * (listed + 1));
	foreach(lc, stored)			/* in the order of topic and partition */
	{
		EdwStoredOffset *row = lfirst(lc);
		EdwPartitionPosition position = {row->topic, row->partition, row->next_offset};
		EdwPartition *partition = &pipeline->partitions[n];
		ListCell   *lc2;
		bool		found = false;

		foreach(lc2, pipeline->listed)
		{
			EdwPartitionPosition *there = lfirst(lc2);

			if (there->partition == row->partition && strcmp(there->topic, row->topic) == 0)
				found = true;
		}
		if (!found || !is_mine(pipeline, &position))
			continue;
		partition->topic_name = row->topic;
		partition->number = row->partition;
		partition->expected = partition->fetched = row->next_offset;
		partition->reached = EDW_OFFSET_UNKNOWN;
		positions[n++] = position;
	}
	EdwSourceEnter(pipeline);
	answer = pipeline->source->ops->assign(pipeline->source, positions, n, &error);
	EdwSourceLeave(pipeline);
	if (answer != EDW_SOURCE_OK)
		return EdwSourceAnswer(pipeline, answer, &error);
	pipeline->npartitions = n;
	pipeline->assigned = true;
	return EDW_STEP_MORE;
}

/* List partitions, once for each assignment. */
static EdwStepResult
list_partitions(EdwPipeline *pipeline)
{
	EdwSourceError error = {0};
	EdwSourceResult answer;

	EdwSourceEnter(pipeline);
	answer = pipeline->source->ops->list_partitions(pipeline->source, &pipeline->listed, &error);
	EdwSourceLeave(pipeline);
	if (answer == EDW_SOURCE_OK)
		return EDW_STEP_MORE;
	pipeline->listed = NIL;
	return EdwSourceAnswer(pipeline, answer, &error);
}

/*
 * The next step towards an assignment. Begins and ends transactions of its own.
 */
EdwStepResult
EdwPartitionsAssign(EdwPipeline *pipeline)
{
	MemoryContext old = MemoryContextSwitchTo(pipeline->assignment_context);
	EdwStepResult result = EDW_STEP_MORE;
	List	   *stored;
	int			nnew = 0;
	ListCell   *lc;

	if (pipeline->listed == NIL)
		result = list_partitions(pipeline);
	if (pipeline->listed != NIL)
	{
		stored = load_stored(pipeline);
		foreach(lc, pipeline->listed)
			nnew += find_stored(stored, lfirst(lc)) == NULL ? 1 : 0;
		if (lost_partition(pipeline, stored))
			result = EDW_STEP_STALLED;
		else if (nnew > 0)
			result = start_new(pipeline, stored, nnew);
		else
			result = assign(pipeline, stored);
	}
	else if (result == EDW_STEP_MORE)
		result = EDW_STEP_IDLE; /* no topic has a partition yet */
	MemoryContextSwitchTo(old);
	return result;
}

/* Go on behind a range that is lost, as the policy says, and count it (K3). */
static EdwStepResult
skip_lost(EdwPipeline *pipeline, const EdwSourceNotice *notice)
{
	char	   *topic = pstrdup(notice->topic);
	int64		wanted = notice->wanted;
	int64		next = pipeline->def->options.on_offset_lost == EDW_LOST_EARLIEST ?
		notice->low : notice->high;
	int32		partition = notice->partition;
	bool		renewed = wanted > notice->high;

	ereport(LOG,
			(errmsg("stream \"%s\": offset " INT64_FORMAT " of topic \"%s\" partition %d is gone; going on at " INT64_FORMAT,
					pipeline->stream, wanted, topic, partition, next)));
	EdwXactBegin(&pipeline->xact);
	(void) EdwOffsetSet(pipeline->stream, topic, partition, next, renewed);
	EdwHistoryStart(pipeline);
	EdwHistorySkip(pipeline, topic, "offset_lost", Max(next - wanted, wanted - next));
	EdwHistoryWriteSkips(pipeline);
	EdwXactCommit(&pipeline->xact);
	EdwPartitionsUnassign(pipeline);
	return EDW_STEP_MORE;
}

static EdwStepResult
offset_lost(EdwPipeline *pipeline, const EdwSourceNotice *notice)
{
	if (pipeline->def->options.on_offset_lost != EDW_LOST_ERROR)
		return skip_lost(pipeline, notice);
	if (notice->wanted < notice->low)
		EdwPipelineSetStall(pipeline, "offset_lost",
							"Load what is missing by other means, then seek() to the first offset that is there.",
							"offsets " INT64_FORMAT " to " INT64_FORMAT " of topic \"%s\" partition %d are lost: the topic begins at " INT64_FORMAT,
							notice->wanted, notice->low - 1, notice->topic, notice->partition, notice->low);
	else
		EdwPipelineSetStall(pipeline, "offset_lost",
							"The topic was probably deleted and created again. seek() to where to go on.",
							"offsets " INT64_FORMAT " to " INT64_FORMAT " of topic \"%s\" partition %d are lost: the topic ends at " INT64_FORMAT ", before the stored offset",
							notice->high, notice->wanted - 1, notice->topic, notice->partition, notice->high);
	return EDW_STEP_STALLED;
}

static void
reached_end(EdwPipeline *pipeline, const EdwSourceNotice *notice)
{
	EdwPartition *partition = EdwPartitionFind(pipeline, notice->topic, notice->partition);

	if (partition == NULL)
		return;
	partition->reached = Max(partition->reached, notice->wanted);
	EdwCountersSetEnd(partition->topic_name, partition->number, notice->wanted);
	if (notice->high > notice->wanted)
	{
		char		note[256];

		snprintf(note, sizeof(note), "offsets " INT64_FORMAT " to " INT64_FORMAT
				 " of topic \"%s\" partition %d wait for the end of a producer's transaction",
				 notice->wanted, notice->high - 1, notice->topic, notice->partition);
		EdwErrorsNote(note);
		partition->behind_transaction = true;
	}
	else if (partition->behind_transaction)
	{
		EdwErrorsNote("");
		partition->behind_transaction = false;
	}
}

/*
 * Hear what the source has to tell. True: the step ends with *result. Begins and
 * ends transactions of its own.
 */
bool
EdwPartitionsReadNotices(EdwPipeline *pipeline, EdwStepResult *result)
{
	EdwSourceNotice notice;

	while (pipeline->source->ops->next_notice(pipeline->source, &notice))
	{
		switch (notice.kind)
		{
			case EDW_NOTICE_REACHED_END:
				reached_end(pipeline, &notice);
				break;
			case EDW_NOTICE_OFFSET_LOST:
				*result = offset_lost(pipeline, &notice);
				return true;
			case EDW_NOTICE_PARTITIONS_CHANGED:
				EdwPartitionsUnassign(pipeline);
				*result = EDW_STEP_MORE;
				return true;
			case EDW_NOTICE_TRANSIENT:
				pipeline->cut_off = true;
				ereport(LOG, (errmsg("stream \"%s\": %s", pipeline->stream, notice.error.message)));
				EdwErrorsNote(notice.error.message);
				break;
			case EDW_NOTICE_RECOVERED:
				pipeline->cut_off = false;
				ereport(LOG, (errmsg("stream \"%s\": the broker is back", pipeline->stream)));
				EdwErrorsNote("");
				break;
			case EDW_NOTICE_FATAL:
				*result = EdwSourceAnswer(pipeline, EDW_SOURCE_FAILED, &notice.error);
				return true;
		}
	}
	return false;
}

/*
 * Learn now and then where the partitions end, for the lag that others see. Asks Kafka
 * only: the inbox's ends stand in a table.
 */
void
EdwPartitionsNoteEnds(EdwPipeline *pipeline)
{
	TimestampTz now = GetCurrentTimestamp();
	EdwSourceError error = {0};
	EdwPartitionPosition *positions;

	if (pipeline->def->server == NULL || pipeline->xact.session || now < pipeline->next_ends)
		return;
	positions = palloc(sizeof(EdwPartitionPosition) * (pipeline->npartitions + 1));
	for (int i = 0; i < pipeline->npartitions; i++)
	{
		positions[i].topic = pipeline->partitions[i].topic_name;
		positions[i].partition = pipeline->partitions[i].number;
		positions[i].offset = EDW_OFFSET_UNKNOWN;
	}
	switch (pipeline->source->ops->end_offsets(pipeline->source, positions,
											   pipeline->npartitions, &error))
	{
		case EDW_SOURCE_AGAIN:
			return;
		case EDW_SOURCE_OK:
			for (int i = 0; i < pipeline->npartitions; i++)
				EdwCountersSetEnd(positions[i].topic, positions[i].partition, positions[i].offset);
			break;
		default:
			break;				/* polling tells what is wrong */
	}
	pipeline->next_ends = TimestampTzPlusMilliseconds(now, ENDS_INTERVAL_MS);
}

static bool
has_reached(const EdwPartition *partition)
{
	return partition->held == 0 && partition->reached > partition->expected;
}

/* Is an end reached behind a gap that is not stored yet? */
bool
EdwPartitionsMustFlush(EdwPipeline *pipeline)
{
	for (int i = 0; i < pipeline->npartitions; i++)
		if (has_reached(&pipeline->partitions[i]))
			return true;
	return false;
}

/*
 * Store the ends that were reached across gaps (transaction markers, compacted
 * messages: rule K2), when nothing is held of those partitions. A transaction of its
 * own, not too often. True when something was stored.
 */
bool
EdwPartitionsFlushReached(EdwPipeline *pipeline)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		stored = false;
	bool		moved_back = false;
	MemoryContext old;

	if (now < pipeline->next_flush || !EdwPartitionsMustFlush(pipeline))
		return false;
	MemoryContextReset(pipeline->batch_context);
	old = MemoryContextSwitchTo(pipeline->batch_context);
	EdwXactBegin(&pipeline->xact);
	for (int i = 0; i < pipeline->npartitions; i++)
	{
		EdwPartition *partition = &pipeline->partitions[i];

		if (!has_reached(partition))
			continue;
		if (!EdwOffsetLock(pipeline->stream, partition->topic_name, partition->number,
						   &partition->state) ||
			partition->state.next_offset < partition->expected)
		{
			moved_back = true;
			continue;
		}
		if (partition->state.next_offset >= partition->reached)
			continue;
		partition->state.next_offset = partition->reached;
		EdwOffsetStore(pipeline->stream, partition->topic_name, partition->number,
					   &partition->state);
		stored = true;
	}
	EdwXactCommit(&pipeline->xact);
	if (moved_back)
		EdwPartitionsUnassign(pipeline);
	for (int i = 0; i < pipeline->npartitions; i++)
		if (has_reached(&pipeline->partitions[i]))
			pipeline->partitions[i].expected = pipeline->partitions[i].reached;
	pipeline->next_flush = TimestampTzPlusMilliseconds(now, FLUSH_INTERVAL_MS);
	MemoryContextSwitchTo(old);
	return stored || moved_back;
}
