/*
 * run.c
 *		One data transaction: from held messages to rows, offsets and history.
 *
 * Runs inside a transaction that the caller began and will end. Locks, in this order: the
 * targets of the topics (ROW EXCLUSIVE), this batch's rows of partition_offset, then what the apply
 * takes. Nothing of the pipeline's own state that outlives the batch is changed
 * before EdwRunCommitted, so that a run can be thrown away.
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "pipeline/internal.h"
#include "pipeline/waiting.h"
#include "portability/instr_time.h"
#include "utils/memutils.h"
#include "view/flush.h"
#include "worker/slots.h"

/* how far ahead of the message that is decoded */
#define PREFETCH_MESSAGES	2

static int64
now_us(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MICROSEC(now);
}

/* Decode a held message into its topic's change; Datums go to the current context. */
EdwDecodeResult
EdwRunDecode(EdwPipeline *pipeline, int index, EdwTopic *topic, EdwReason *reason)
{
	memset(reason, 0, offsetof(EdwReason, detail));
	reason->detail[0] = reason->hint[0] = '\0';
	pipeline->phase = EDW_PHASE_MESSAGE;
	pipeline->current = index;
	topic->change.kafka_ts_us = Max(pipeline->messages[index].timestamp_ms, 0) * 1000;
	return topic->decoder->ops->decode(topic->decoder, pipeline->source,
									   &pipeline->messages[index], &topic->change, reason);
}

/*
 * Lock the offsets of all partitions in the batch and compare them with where the
 * messages were read from.
 */
static EdwRunResult
lock_offsets(EdwPipeline *pipeline)
{
	for (int i = 0; i < pipeline->npartitions; i++)
	{
		pipeline->partitions[i].taken = 0;
		pipeline->partitions[i].locked = false;
	}
	for (int i = 0; i < pipeline->nheld; i++)
		if (pipeline->held[i].taken)
		{
			pipeline->held[i].partition->taken++;
			pipeline->held[i].partition->last_taken = pipeline->messages[i].offset;
		}

	for (int i = 0; i < pipeline->npartitions; i++)
	{
		EdwPartition *partition = &pipeline->partitions[i];

		if (partition->taken == 0)
			continue;
		if (!EdwOffsetLock(pipeline->stream, partition->topic_name, partition->number,
						   &partition->state))
			return EDW_RUN_REASSIGN;
		partition->locked = true;
		if (partition->state.next_offset < partition->expected)
			return EDW_RUN_REASSIGN;	/* somebody went back */
		if (partition->state.next_offset > partition->expected)
			EdwWaitingForget(pipeline->waiting);	/* who was here may have left dead letters */
		partition->expected = partition->state.next_offset;
		if (partition->state.next_offset > Max(partition->fetched, partition->reached))
			return EDW_RUN_REASSIGN;	/* somebody is far ahead */
	}
	return EDW_RUN_COMMIT;
}

/* The epoch that a message is in whose change is unknown. */
static int32
epoch_at(const EdwOffsetState *state, int64 offset)
{
	EdwChange	unknown = {0};

	return offset < state->seen_offset ?
		EdwEpochStartsFind(&state->starts, &state->epoch, &unknown, offset) : state->epoch.epoch;
}

/* Put a message to the dead letters, or hold it; mark says why. */
static void
bury(EdwPipeline *pipeline, int index, EdwTopic *topic, const EdwDeadMark *mark)
{
	EdwDeadLetterStore(pipeline->stream, pipeline->source, &pipeline->messages[index], mark);
	EdwHistoryDead(pipeline, topic, mark);
	EdwPreviewBury(pipeline, index, topic, mark);
	if (!mark->waits)
		strlcpy(pipeline->last_dead, mark->message, sizeof(pipeline->last_dead));
	if (mark->row_key != NULL)
		EdwWaitingAdd(pipeline->waiting, mark->mapping_id, mark->row_key, mark->row_key_len,
					  mark->waits);
}

static void
bury_bad(EdwPipeline *pipeline, int index, EdwTopic *topic, const EdwReason *reason)
{
	EdwDeadMark mark = {
		.stage = "decode",
		.reason = reason->code,
		.sqlerrcode = reason->sqlerrcode,
		.message = reason->detail,
		.hint = reason->hint[0] != '\0' ? reason->hint : NULL,
		.epoch = epoch_at(&pipeline->held[index].partition->state, pipeline->messages[index].offset),
	};

	bury(pipeline, index, topic, &mark);
}

static void
note_times(EdwPipeline *pipeline, const EdwMessage *message, const EdwChange *change)
{
	EdwBatchStats *stats = &pipeline->stats;

	stats->source_times[stats->ntimes] = change->source_ts_us;
	stats->kafka_times[stats->ntimes++] = message->timestamp_ms > 0 ?
		message->timestamp_ms * 1000 : 0;
}

static bool
is_own_tombstone(const EdwMessage *message, const EdwOffsetState *state)
{
	return state->last_delete_len >= 0 && message->key_len == state->last_delete_len &&
		memcmp(message->key, state->last_delete, message->key_len) == 0;
}

/* Give the change its epoch and position; false: the stream stalls. */
static bool
assign_epoch(EdwPipeline *pipeline, EdwPartition *partition, const EdwChange *change,
			 int64 offset, int32 *epoch, EdwFullPosition *position)
{
	EdwOffsetState *state = &partition->state;
	EdwEpochState before;

	if (offset < state->seen_offset)
	{
		/* read again after a seek(): as it was the first time */
		*epoch = EdwEpochStartsFind(&state->starts, &state->epoch, change, offset);
		EdwEpochSetPosition(position, &change->position, *epoch);
		return true;
	}
	before.epoch = state->epoch.epoch;
	before.identity = state->epoch.identity;
	switch (EdwEpochAdvance(&state->epoch, change, epoch, position))
	{
		case EDW_EPOCH_SAME:
			return true;
		case EDW_EPOCH_ROSE:
			EdwEpochStartsAdd(&state->starts, &before, &state->epoch, offset);
			ereport(LOG,
					(errmsg("stream \"%s\": the source of topic \"%s\" partition %d started over at offset " INT64_FORMAT ", epoch %d",
							pipeline->stream, partition->topic_name, partition->number,
							offset, *epoch)));
			return true;
		case EDW_EPOCH_JUMPED_BACK:
			EdwPipelineSetStall(pipeline, "position_jumped_back",
								"If the source was restored or replaced, call edw_stream.bump_epoch(); what it sends from then on counts as newer than all before.",
								"the source position of topic \"%s\" partition %d offset " INT64_FORMAT " is before one that was already seen, though the change is younger",
								partition->topic_name, partition->number, offset);
			return false;
		case EDW_EPOCH_EXHAUSTED:
			break;
	}
	EdwPipelineSetStall(pipeline, "epoch_exhausted", NULL,
						"the source of topic \"%s\" partition %d started over too often",
						partition->topic_name, partition->number);
	return false;
}

/* Was nothing newer seen in the partition? */
static bool
is_newest(const EdwOffsetState *state, const EdwChange *change)
{
	const EdwPosition *newest = &state->epoch.max_position;

	return change->position.len == 0 || newest->len == 0 ||
		EdwPositionCompare(change->position.bytes, change->position.len,
						   newest->bytes, newest->len) >= 0;
}

/*
 * Fill in what the mappings want to know of where the event came from; position: NULL as long as its
 * epoch is unknown.
 */
static void
fill_metadata(EdwPipeline *pipeline, int index, EdwTopic *topic, const EdwFullPosition *position)
{
	const EdwInputDesc *input = &topic->route->input;
	const EdwMessage *message = &pipeline->messages[index];
	EdwOrigin	origin = {
		.topic = topic->name,
		.partition = message->partition,
		.offset = message->offset,
		.position = position,
	};

	if (likely(input->metadata == 0))
		return;
	if (EdwMetadataIsWanted(input, EDW_METADATA_BATCH))
		origin.batch_id = EdwHistoryBatchId(pipeline);
	EdwMetadataFill(input, &topic->change, &origin);
}

/*
 * Fill in the key of the row that a message is about, for the mark's mapping. In a
 * transaction of the caller's; raises what decoding raises.
 */
void
EdwRunFindKey(EdwPipeline *pipeline, int index, EdwDeadMark *mark)
{
	MemoryContext old = MemoryContextSwitchTo(pipeline->batch_context);
	EdwPartition *partition = pipeline->held[index].partition;
	EdwTopic   *topic;
	EdwReason	reason;
	EdwFullPosition position;
	StringInfoData key;

	EdwRoutesStartBatch(pipeline);
	topic = EdwTopicPrepare(pipeline, partition);
	initStringInfo(&key);
	if (topic->decoder != NULL &&
		EdwRunDecode(pipeline, index, topic, &reason) == EDW_EVENT)
	{
		EdwEpochSetPosition(&position, &topic->change.position, mark->epoch);
		fill_metadata(pipeline, index, topic, mark->epoch != 0 ? &position : NULL);
		for (int i = 0; i < topic->route->ntargets; i++)
		{
			const EdwTarget *target = topic->route->targets[i];

			if (target->def->mapping_id != mark->mapping_id ||
				!EdwWaitingRowKey(topic->route, target, &topic->change, &key))
				continue;
			mark->row_key_len = key.len;
			mark->row_key = memcpy(MemoryContextAlloc(pipeline->context, key.len + 1),
								   key.data, key.len);
		}
	}
	MemoryContextSwitchTo(old);
}

/*
 * Hand an event to the batch, unless its key waits for a dead letter (K6). One of which it is known that it cannot be applied
 * makes older letters of its row void, too.
 */
static void
add_event(EdwPipeline *pipeline, EdwBatch *batch, int index, EdwTopic *topic,
		  int32 epoch, const EdwFullPosition *position)
{
	EdwPartition *partition = pipeline->held[index].partition;
	EdwMessage *message = &pipeline->messages[index];
	EdwChange  *change = &topic->change;
	bool		pairs = change->op == EDW_OP_TOMBSTONE &&
		is_own_tombstone(message, &partition->state);
	EdwDeadMark mark;

	fill_metadata(pipeline, index, topic, position);
	if (EdwWaitingAny(pipeline->waiting) &&
		EdwWaitingMeets(pipeline->waiting, topic->route, change,
						message->offset >= partition->state.seen_offset &&
						is_newest(&partition->state, change), &mark))
	{
		mark.epoch = epoch;
		if (!mark.waits)
			pipeline->stats.dead_waiting++;
		bury(pipeline, index, topic, &mark);
	}
	else if (pipeline->held[index].dead != NULL)
		bury(pipeline, index, topic, pipeline->held[index].dead);
	else
		EdwBatchAdd(batch, topic->route, index, message->partition, change, position, epoch,
					pairs);

	partition->state.last_delete_len = -1;
	if (change->op == EDW_OP_DELETE && message->key_len >= 0)
	{
		partition->state.last_delete = unconstify(char *, message->key);
		partition->state.last_delete_len = message->key_len;
	}
	partition->state.changed = true;
}

/* Take one message; false: the stream stalls. */
static bool
add_message(EdwPipeline *pipeline, EdwBatch *batch, int index)
{
	EdwHeld    *held = &pipeline->held[index];
	EdwMessage *message = &pipeline->messages[index];
	EdwTopic   *topic = EdwTopicPrepare(pipeline, held->partition);
	EdwFullPosition position;
	EdwReason	reason;
	int32		epoch;

	if (!EdwPreviewTakes(pipeline, topic))
		return true;
	pipeline->stats.messages++;
	pipeline->stats.bytes += Max(message->key_len, 0) + Max(message->value_len, 0);
	if (held->dead != NULL && !held->dead->decodes)
	{
		held->partition->state.last_delete_len = -1;
		if (held->dead->epoch == 0)
			held->dead->epoch = epoch_at(&held->partition->state, message->offset);
		bury(pipeline, index, topic, held->dead);
		return true;
	}
	if (topic->decoder == NULL)
	{
		EdwHistorySkip(pipeline, topic->name, topic->is_transactions ? "transaction_mark" : "unmapped", 1);
		return true;
	}
	switch (EdwRunDecode(pipeline, index, topic, &reason))
	{
		case EDW_EVENT:
			break;
		case EDW_SKIP:
			EdwHistorySkip(pipeline, topic->name, reason.code, 1);
			return true;
		case EDW_BAD:
			held->partition->state.last_delete_len = -1;
			bury_bad(pipeline, index, topic, &reason);
			return true;
		case EDW_MISCONFIGURED:
			EdwPipelineSetStall(pipeline, reason.code, reason.hint,
								"topic \"%s\" partition %d offset " INT64_FORMAT ": %s",
								topic->name, message->partition, message->offset, reason.detail);
			return false;
	}
	if ((list_length(topic->decoder->unmapped) != topic->unmapped_seen || !topic->fields_recorded) &&
		!EdwFieldsCheck(pipeline, topic))
		return false;
	if (!assign_epoch(pipeline, held->partition, &topic->change, message->offset, &epoch, &position))
		return false;
	held->epoch = epoch;
	note_times(pipeline, message, &topic->change);
	add_event(pipeline, batch, index, topic, epoch, &position);
	return true;
}

/* Decode and fold the batch's messages; false: the stream stalls. */
static bool
add_messages(EdwPipeline *pipeline, EdwBatch *batch, int prefix)
{
	void		(*prefetch) (const EdwMessage *message) = pipeline->source->ops->prefetch;
	int			seen = 0;

	for (int i = 0; i < pipeline->nheld; i++)
	{
		EdwHeld    *held = &pipeline->held[i];

		if (prefetch != NULL && i + PREFETCH_MESSAGES < pipeline->nheld)
			prefetch(&pipeline->messages[i + PREFETCH_MESSAGES]);
		if (!held->taken || (prefix >= 0 && held->partition->searched && seen++ >= prefix))
			continue;
		if ((i & 1023) == 0)
			CHECK_FOR_INTERRUPTS();
		if (pipeline->messages[i].offset < held->partition->state.next_offset)
			continue;			/* fenced: already applied */
		if (!add_message(pipeline, batch, i))
			return false;
	}
	pipeline->current = -1;
	return true;
}

/* Rows that met something in the target that they cannot be applied to. */
static void
bury_rejects(EdwPipeline *pipeline, const EdwApplyResult *applied)
{
	for (int i = 0; i < applied->nrejects; i++)
	{
		const EdwReject *reject = &applied->rejects[i];
		EdwPartition *partition = pipeline->held[reject->message].partition;
		EdwDeadMark mark = {
			.stage = "apply",
			.reason = reject->reason,
			.sqlerrcode = reject->sqlerrcode,
			.message = reject->message_text,
			.mapping_id = reject->target->def->mapping_id,
			.epoch = pipeline->held[reject->message].epoch,
			.row_key = reject->key,
			.row_key_len = reject->key_len,
		};

		if (reject->wait != NULL)
			EdwDeadMarkWait(&mark, reject->wait);
		bury(pipeline, reject->message, partition->topic, &mark);
	}
}

static EdwDeadMark *
keep_reject(EdwPipeline *pipeline, const EdwReject *reject)
{
	EdwDeadMark *mark = MemoryContextAllocZero(pipeline->context, sizeof(EdwDeadMark));

	mark->stage = "apply";
	mark->decodes = true;
	mark->reason = reject->reason;
	mark->sqlerrcode = reject->sqlerrcode;
	mark->message = MemoryContextStrdup(pipeline->context, reject->message_text);
	mark->mapping_id = reject->target->def->mapping_id;
	mark->epoch = pipeline->held[reject->message].epoch;
	if (reject->key != NULL)
	{
		mark->row_key_len = reject->key_len;
		mark->row_key = memcpy(MemoryContextAlloc(pipeline->context, reject->key_len + 1),
							   reject->key, reject->key_len);
	}
	if (reject->wait != NULL)
	{
		EdwDeadMarkWait(mark, reject->wait);
		mark->member = memcpy(MemoryContextAlloc(pipeline->context, mark->member_len + 1),
							  reject->wait->member, mark->member_len);
	}
	return mark;
}

/*
 * A dead letter is applied to none of the tables that its topic goes to, else a retry would append it
 * twice to one of them. So what one of several rejects is dead for all; true: it was not yet. Likewise a change
 * that others were folded into: they are to be applied without it.
 */
static bool
spread_rejects(EdwPipeline *pipeline, const EdwApplyResult *applied)
{
	bool		found = false;

	for (int i = 0; i < applied->nrejects; i++)
	{
		const EdwReject *reject = &applied->rejects[i];
		EdwHeld    *held = &pipeline->held[reject->message];

		if (held->dead != NULL || (held->partition->topic->route->ntargets < 2 && !reject->again))
			continue;
		held->dead = keep_reject(pipeline, reject);
		found = true;
	}
	return found;
}

static void
store_offsets(EdwPipeline *pipeline)
{
	for (int i = 0; i < pipeline->npartitions; i++)
	{
		EdwPartition *partition = &pipeline->partitions[i];
		int64		next;

		if (!partition->locked)
			continue;
		next = partition->last_taken + 1;
		if (partition->taken == partition->held)
			next = Max(next, partition->reached);
		if (next <= partition->state.next_offset)
			continue;
		partition->state.next_offset = next;
		EdwOffsetStore(pipeline->stream, partition->topic_name, partition->number,
					   &partition->state);
	}
}

/* Deferred constraints and triggers fire now, while their ERROR can still be told apart. */
static void
fire_deferred_triggers(void)
{
	ConstraintsSetStmt *all = makeNode(ConstraintsSetStmt);

	AfterTriggerSetState(all);
}

/* Registered views follow now rather than in the commit, for the same reason. */
static void
flush_views(EdwPipeline *pipeline)
{
	pipeline->phase = EDW_PHASE_VIEWS;
	EdwFlush();
}

static void
start_stats(EdwPipeline *pipeline)
{
	EdwHistoryStart(pipeline);
	pipeline->batch_id = 0;
	pipeline->stats.source_times = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(int64) * (pipeline->nheld + 1));
	pipeline->stats.kafka_times = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(int64) * (pipeline->nheld + 1));
}

/*
 * Dead letters that a seek() brought back end here: what is still wrong with one opens it again, and
 * one that is applied now must not be retried once more.
 */
static void
close_read_again(EdwPipeline *pipeline)
{
	for (int i = 0; i < pipeline->nheld; i++)
	{
		EdwPartition *partition = pipeline->held[i].partition;
		int64		offset = pipeline->messages[i].offset;

		if (!pipeline->held[i].taken || offset < partition->state.next_offset ||
			offset >= partition->state.seen_offset)
			continue;
		if (EdwDeadLetterClose(pipeline->stream, partition->topic_name, partition->number, offset))
			EdwWaitingForget(pipeline->waiting);
	}
}

/* Everything between the choice of messages and the commit. */
static EdwRunResult
apply_chosen(EdwPipeline *pipeline, int prefix)
{
	EdwRunResult result = lock_offsets(pipeline);
	int64		started = now_us();
	EdwBatch   *batch;

	if (result != EDW_RUN_COMMIT)
		return result;
	close_read_again(pipeline);
	EdwWaitingRefresh(pipeline->waiting);
	batch = EdwBatchCreate();
	EdwPreviewStart(pipeline, batch);
	if (!add_messages(pipeline, batch, prefix))
		return EDW_RUN_STALL;
	pipeline->stats.decode_us = now_us() - started;

	started = now_us();
	pipeline->phase = EDW_PHASE_APPLY;
	pipeline->stats.applied = EdwApplyBatch(batch, pipeline->def->workers, pipeline->exclusive);
	if (pipeline->stats.applied->need_exclusive && !pipeline->exclusive)
		return EDW_RUN_EXCLUSIVE;
	if (prefix < 0 && spread_rejects(pipeline, pipeline->stats.applied))
		return EDW_RUN_AGAIN;
	bury_rejects(pipeline, pipeline->stats.applied);
	if (prefix < 0 && !EdwAwaitedRelease(pipeline, batch))
		return EDW_RUN_EXCLUSIVE;
	fire_deferred_triggers();
	if (prefix < 0 && pipeline->preview == NULL)	/* a try is rolled back, and views are to blame no message */
		flush_views(pipeline);
	pipeline->stats.apply_us = now_us() - started;

	pipeline->phase = EDW_PHASE_OTHER;
	if (EdwErrorsBreakerTrips(pipeline, pipeline->stats.dead - pipeline->stats.dead_waiting,
							  pipeline->stats.messages))
		return EDW_RUN_STALL;
	store_offsets(pipeline);
	EdwHistoryWrite(pipeline);
	return EDW_RUN_COMMIT;
}

/* Name what is being worked on in every message of the server's log and of the client. */
static void
describe_context(void *arg)
{
	EdwPipeline *pipeline = arg;

	if (pipeline->phase == EDW_PHASE_MESSAGE && pipeline->current >= 0)
	{
		EdwMessage *message = &pipeline->messages[pipeline->current];

		errcontext("topic \"%s\" partition %d offset " INT64_FORMAT " of stream \"%s\"",
				   message->topic, message->partition, message->offset, pipeline->stream);
	}
	else if (pipeline->phase == EDW_PHASE_APPLY || pipeline->phase == EDW_PHASE_VIEWS)
		errcontext("applying %d messages of stream \"%s\"",
				   pipeline->stats.messages, pipeline->stream);
}

/*
 * Apply the next batch; with prefix >= 0 only the first messages of the partitions that are
 * searched, and all of the others, to see whether they can be applied. The caller commits on COMMIT and aborts on everything else.
 */
EdwRunResult
EdwRunBatch(EdwPipeline *pipeline, int prefix)
{
	MemoryContext old;
	EdwRunResult result;
	ErrorContextCallback context = {
		.previous = error_context_stack,
		.callback = describe_context,
		.arg = pipeline,
	};

	MemoryContextReset(pipeline->batch_context);
	error_context_stack = &context;
	old = MemoryContextSwitchTo(pipeline->batch_context);
	pipeline->phase = EDW_PHASE_OTHER;
	pipeline->current = -1;
	EdwRoutesStartBatch(pipeline);
	start_stats(pipeline);
	result = EdwHeldChoose(pipeline);
	pipeline->phase = EDW_PHASE_OTHER;
	if (result == EDW_RUN_COMMIT)
		result = apply_chosen(pipeline, prefix);
	pipeline->current = -1;
	error_context_stack = context.previous;
	MemoryContextSwitchTo(old);
	return result;
}

/* After the commit: let go of the messages, count, tell Kafka. */
void
EdwRunCommitted(EdwPipeline *pipeline)
{
	EdwPartitionPosition *positions;
	int			n = 0;
	MemoryContext old = MemoryContextSwitchTo(pipeline->batch_context);

	positions = palloc(sizeof(EdwPartitionPosition) * pipeline->npartitions);
	for (int i = 0; i < pipeline->npartitions; i++)
	{
		EdwPartition *partition = &pipeline->partitions[i];

		if (!partition->locked)
			continue;
		partition->locked = false;
		partition->expected = partition->state.next_offset;
		positions[n].topic = partition->topic_name;
		positions[n].partition = partition->number;
		positions[n++].offset = partition->expected;
	}
	EdwHeldRelease(pipeline, true);
	MemoryContextSwitchTo(old);
	if (pipeline->preview != NULL)
	{
		EdwPreviewCommitted(pipeline);
		return;
	}
	MemoryContextSwitchTo(pipeline->batch_context);
	EdwHistoryCount(pipeline, GetCurrentTimestamp());
	if (pipeline->source->ops->committed != NULL)
		pipeline->source->ops->committed(pipeline->source, positions, n);
	MemoryContextSwitchTo(old);
}
