/*
 * held.c
 *		Polled messages until they are committed, and which of them make the next batch.
 *
 * A message is held from its poll until the commit of the batch that it was in,
 * so that a batch which failed can be run again in parts. Held messages
 * stand in the order of arrival; within a partition that is the order of
 * their offsets.
 *
 * Without a transaction topic a batch that reached its limit is cut, in each
 * partition, before the last source transaction of which it does not hold the end
 * (rule P7); what was cut off stays held. A stream that has nothing more to
 * read commits what it has.
 */
#include "postgres.h"

#include "edw_stream.h"
#include "pipeline/assembler.h"
#include "pipeline/internal.h"
#include "utils/memutils.h"

/* what a message costs besides its bytes */
#define MESSAGE_OVERHEAD	128

#define RELEASED_TOGETHER	64

static Size
message_size(const EdwMessage *message)
{
	return MESSAGE_OVERHEAD + Max(message->key_len, 0) + Max(message->value_len, 0);
}

static Size
memory_limit(void)
{
	return (Size) EdwBatchMemoryKB * 1024;
}

/* How many messages more may be polled now. */
static int
room(EdwPipeline *pipeline)
{
	int			limit = pipeline->def->options.batch_rows;

	if (pipeline->held_bytes >= memory_limit())
		return 0;
	if (pipeline->extend || pipeline->assembler != NULL)
		return Max(limit, 1000);
	return Max(limit - pipeline->nheld, 0);
}

static void
reserve(EdwPipeline *pipeline, int more)
{
	int			need = pipeline->nheld + more;
	MemoryContext old;

	if (need <= pipeline->held_size)
		return;
	need = Max(need, pipeline->held_size * 2);
	old = MemoryContextSwitchTo(pipeline->context);
	if (pipeline->messages == NULL)
	{
		pipeline->messages = MemoryContextAllocHuge(pipeline->context, need * sizeof(EdwMessage));
		pipeline->held = MemoryContextAllocHuge(pipeline->context, need * sizeof(EdwHeld));
	}
	else
	{
		pipeline->messages = repalloc_huge(pipeline->messages, need * sizeof(EdwMessage));
		pipeline->held = repalloc_huge(pipeline->held, need * sizeof(EdwHeld));
	}
	pipeline->held_size = need;
	MemoryContextSwitchTo(old);
}

/* Take note of the messages from first on. */
static void
note_polled(EdwPipeline *pipeline, int first)
{
	EdwPartition *last = NULL;

	for (int i = first; i < pipeline->nheld; i++)
	{
		EdwMessage *message = &pipeline->messages[i];
		EdwHeld    *held = &pipeline->held[i];

		if (last == NULL || last->number != message->partition ||
			(last->topic_name != message->topic && strcmp(last->topic_name, message->topic) != 0))
			last = EdwPartitionFind(pipeline, message->topic, message->partition);
		if (last == NULL)
			elog(ERROR, "message of a partition that is not assigned");
		memset(held, 0, sizeof(*held));
		held->partition = last;
		held->transaction = -1;
		last->held++;
		last->fetched = message->offset + 1;
		pipeline->held_bytes += message_size(message);
	}
}

/*
 * Poll as much as there is room for; returns how many messages came. Sets
 * `dry` when there was room and nothing came.
 */
int
EdwHeldPoll(EdwPipeline *pipeline)
{
	int			wanted = room(pipeline);
	int			got;

	pipeline->dry = false;
	if (wanted == 0)
		return 0;
	reserve(pipeline, wanted);
	got = pipeline->source->ops->poll(pipeline->source,
									  pipeline->messages + pipeline->nheld, wanted,
									  memory_limit() - pipeline->held_bytes);
	pipeline->nheld += got;
	note_polled(pipeline, pipeline->nheld - got);
	pipeline->dry = got == 0;
	return got;
}

/* Give messages back to the source: all, or only those of the batch that was committed. */
void
EdwHeldRelease(EdwPipeline *pipeline, bool only_taken)
{
	EdwMessage	out[RELEASED_TOGETHER];
	int			nout = 0;
	int			kept = 0;

	for (int i = 0; i < pipeline->nheld; i++)
	{
		EdwHeld    *held = &pipeline->held[i];

		if (only_taken && !held->taken)
		{
			pipeline->messages[kept] = pipeline->messages[i];
			pipeline->held[kept++] = *held;
			continue;
		}
		held->partition->held--;
		pipeline->held_bytes -= message_size(&pipeline->messages[i]);
		if (held->dead != NULL)
			EdwDeadMarkFree(held->dead);
		out[nout++] = pipeline->messages[i];
		if (nout == RELEASED_TOGETHER)
		{
			pipeline->source->ops->release(pipeline->source, out, nout);
			nout = 0;
		}
	}
	pipeline->nheld = kept;
	if (nout > 0)
		pipeline->source->ops->release(pipeline->source, out, nout);
}

/* a message that says nothing of its transaction, such as a tombstone */
#define TRANSPARENT		UINT64CONST(0)
/* an event outside of any transaction, or one whose transaction is unknown */
#define BOUNDARY		UINT64CONST(1)

/* The transaction of a held message, as a hash. */
static uint64
transaction_of(EdwPipeline *pipeline, int index)
{
	EdwHeld    *held = &pipeline->held[index];
	EdwTopic   *topic;
	EdwReason	reason;
	EdwChange  *change;

	if (held->dead != NULL || pipeline->messages[index].value_len < 0)
		return TRANSPARENT;
	topic = EdwTopicPrepare(pipeline, held->partition);
	if (topic->decoder == NULL)
		return TRANSPARENT;
	switch (EdwRunDecode(pipeline, index, topic, &reason))
	{
		case EDW_EVENT:
			break;
		case EDW_SKIP:
			return TRANSPARENT;
		default:
			return BOUNDARY;
	}
	change = &topic->change;
	if (change->op == EDW_OP_TOMBSTONE)
		return TRANSPARENT;
	if (change->snapshot != EDW_NOT_SNAPSHOT || change->txid[0] == '\0')
		return BOUNDARY;
	return EdwTransactionHash(change->txid);
}

/* The next held message of the same partition before (step -1) or after (1) index; -1: none. */
static int
neighbour(EdwPipeline *pipeline, int index, int step)
{
	EdwPartition *partition = pipeline->held[index].partition;

	for (int i = index + step; i >= 0 && i < pipeline->nheld; i += step)
		if (pipeline->held[i].partition == partition)
			return i;
	return -1;
}

/*
 * Take the messages of a transaction at a partition's end out of the batch. Tombstones
 * and the like before its first message stay: they belong to what is before.
 */
static void
untake(EdwPipeline *pipeline, int last, uint64 cut)
{
	int			first = -1;

	for (int i = last; i >= 0; i = neighbour(pipeline, i, -1))
	{
		uint64		transaction = transaction_of(pipeline, i);

		if (transaction == cut)
			first = i;
		else if (transaction != TRANSPARENT)
			break;
	}
	for (int i = first; i >= 0 && i <= last; i = neighbour(pipeline, i, 1))
		pipeline->held[i].taken = false;
}

/*
 * Take messages of a partition out of the batch, from its last one back, until the end
 * of a source transaction is there or is proved by what follows.
 */
static void
cut_partition(EdwPipeline *pipeline, int last)
{
	uint64		cut = TRANSPARENT;
	int			i = last;

	for (int after = neighbour(pipeline, last, 1); after >= 0;
		 after = neighbour(pipeline, after, 1))
	{
		cut = transaction_of(pipeline, after);
		if (cut != TRANSPARENT)
			break;
	}
	if (cut == BOUNDARY)
		return;
	if (cut == TRANSPARENT)
	{
		/* nothing follows: the last transaction may go on */
		for (i = last; i >= 0; i = neighbour(pipeline, i, -1))
		{
			cut = transaction_of(pipeline, i);
			if (cut != TRANSPARENT)
				break;
		}
		if (i < 0 || cut == BOUNDARY)
			return;
	}

	untake(pipeline, last, cut);
}

/* Take the first n held messages. */
static void
take_first(EdwPipeline *pipeline, int n)
{
	for (int i = 0; i < pipeline->nheld; i++)
		pipeline->held[i].taken = i < n;
}

/* Cut what is taken in each partition; returns how many messages are left. */
static int
cut_all(EdwPipeline *pipeline, int n)
{
	int			left = 0;

	for (int i = 0; i < pipeline->npartitions; i++)
		pipeline->partitions[i].seen = false;
	for (int i = n - 1; i >= 0; i--)
	{
		EdwPartition *partition = pipeline->held[i].partition;

		if (partition->seen)
			continue;
		partition->seen = true;
		cut_partition(pipeline, i);
	}
	for (int i = 0; i < n; i++)
		left += pipeline->held[i].taken ? 1 : 0;
	return left;
}

/*
 * Choose the messages of the next batch among the held ones. NOTHING with
 * `extend` set asks for more messages first: one transaction fills the batch.
 */
EdwRunResult
EdwHeldChoose(EdwPipeline *pipeline)
{
	int			n = Min(pipeline->nheld, pipeline->limit);
	bool		memory_full = pipeline->held_bytes >= memory_limit();

	pipeline->extend = false;
	if (pipeline->assembler != NULL)
		return EdwAssemblerChoose(pipeline);

	for (;;)
	{
		bool		full = n >= pipeline->limit || memory_full;

		take_first(pipeline, n);
		if (!full || pipeline->limit == 1 || cut_all(pipeline, n) > 0)
			return EDW_RUN_COMMIT;
		if (n < pipeline->nheld)
		{
			n = Min(pipeline->nheld, n * 2);
			continue;
		}
		if (!memory_full && !pipeline->dry)
		{
			pipeline->extend = true;
			return EDW_RUN_NOTHING;
		}
		take_first(pipeline, n);
		return EDW_RUN_COMMIT;
	}
}
