/*
 * assembler.c
 *		Which source transactions the held messages belong to, and which are complete.
 *
 * A transaction is complete when its END was read and as many of its events are held as
 * END counts in the collections that some mapping takes. Events are told apart by
 * total_order, so that a stretch that is delivered twice does not count twice. Offsets are
 * only committed between transactions, so an END whose BEGIN was not read is a redelivery's, or the
 * first thing that the stream reads: there is nothing to wait for.
 * Transactions that were committed or given up are remembered for a while: what comes
 * of them later is a redelivery, and free to go.
 */
#include "postgres.h"

#include "pipeline/assembler.h"

#include "common/hashfn.h"
#include "edw_stream.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

/* finished transactions that are remembered */
#define FINISHED_MAX	4096

/* a total_order above this is not remembered one by one */
#define MAX_ORDER		(INT64CONST(8) * 16 * 1024 * 1024)

typedef struct Transaction
{
	bool		used;
	char		txid[EDW_TXID_MAX];
	uint64		hash;
	bool		began;			/* BEGIN was read */
	int64		required;		/* events, by END; -1: not read yet */
	int64		present;
	uint8	   *orders;			/* bitmap of the total_orders that were counted */
	int64		orders_size;	/* in bytes */
	TimestampTz first_seen;
	bool		given_up;
	bool		incomplete;		/* … and not because it was committed before */
	int			held;			/* messages */
} Transaction;

typedef struct Slot
{
	uint64		hash;
	int			index;			/* of the transaction; -1: finished */
} Slot;

struct EdwAssembler
{
	MemoryContext context;
	HTAB	   *slots;
	int			ntransactions;
	int			size;
	Transaction *transactions;
	uint64		finished[FINISHED_MAX];
	int			next_finished;
};

uint64
EdwTransactionHash(const char *txid)
{
	uint64		hash = hash_bytes_extended((const unsigned char *) txid, strlen(txid), 0);

	return hash <= 1 ? hash + 2 : hash;
}

static void
start_over(EdwAssembler *assembler)
{
	HASHCTL		control = {
		.keysize = sizeof(uint64),
		.entrysize = sizeof(Slot),
		.hcxt = assembler->context,
	};

	assembler->ntransactions = 0;
	assembler->size = 64;
	assembler->transactions = MemoryContextAllocZero(assembler->context,
													 sizeof(Transaction) * assembler->size);
	assembler->slots = hash_create("edw_stream transactions", 256, &control,
								   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	memset(assembler->finished, 0, sizeof(assembler->finished));
	assembler->next_finished = 0;
}

EdwAssembler *
EdwAssemblerCreate(MemoryContext parent)
{
	EdwAssembler *assembler = MemoryContextAllocZero(parent, sizeof(EdwAssembler));

	assembler->context = AllocSetContextCreate(parent, "edw_stream assembler",
											   ALLOCSET_DEFAULT_SIZES);
	start_over(assembler);
	return assembler;
}

void
EdwAssemblerForget(EdwAssembler *assembler)
{
	MemoryContextReset(assembler->context);
	start_over(assembler);
}

/* Nothing of it is held any more. */
static void
finish(EdwAssembler *assembler, Transaction *transaction)
{
	uint64	   *place = &assembler->finished[assembler->next_finished];
	Slot	   *slot;

	if (*place != 0)
		hash_search(assembler->slots, place, HASH_REMOVE, NULL);
	assembler->next_finished = (assembler->next_finished + 1) % FINISHED_MAX;
	*place = transaction->hash;
	slot = hash_search(assembler->slots, &transaction->hash, HASH_FIND, NULL);
	slot->index = -1;
	if (transaction->orders != NULL)
		pfree(transaction->orders);
	transaction->orders = NULL;
	transaction->used = false;
}

/* Finish the transactions whose messages were all committed. */
static void
finish_committed(EdwPipeline *pipeline)
{
	EdwAssembler *assembler = pipeline->assembler;

	for (int t = 0; t < assembler->ntransactions; t++)
		assembler->transactions[t].held = 0;
	for (int i = 0; i < pipeline->nheld; i++)
		if (pipeline->held[i].transaction >= 0)
			assembler->transactions[pipeline->held[i].transaction].held++;
	for (int t = 0; t < assembler->ntransactions; t++)
		if (assembler->transactions[t].used && assembler->transactions[t].held == 0)
			finish(assembler, &assembler->transactions[t]);
	while (assembler->ntransactions > 0 &&
		   !assembler->transactions[assembler->ntransactions - 1].used)
		assembler->ntransactions--;
}

static int
free_place(EdwAssembler *assembler)
{
	for (int t = 0; t < assembler->ntransactions; t++)
		if (!assembler->transactions[t].used)
			return t;
	if (assembler->ntransactions == assembler->size)
	{
		assembler->size *= 2;
		assembler->transactions = repalloc(assembler->transactions,
										   sizeof(Transaction) * assembler->size);
	}
	return assembler->ntransactions++;
}

/*
 * When a transaction's time began to run: in a worker when its first message was read, in a session,
 * which comes and goes, when that was sent.
 */
static TimestampTz
first_seen(EdwPipeline *pipeline, int index)
{
	int64		sent = pipeline->messages[index].timestamp_ms;

	if (!pipeline->xact.session || sent <= 0)
		return GetCurrentTimestamp();
	return sent * 1000 - (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
}

/* The transaction of that id, -1 when it is finished. The message at index is of it. */
static int
find_transaction(EdwPipeline *pipeline, int index, const char *txid)
{
	EdwAssembler *assembler = pipeline->assembler;
	uint64		hash = EdwTransactionHash(txid);
	bool		found;
	Slot	   *slot = hash_search(assembler->slots, &hash, HASH_ENTER, &found);
	Transaction *transaction;

	if (found)
		return slot->index;
	slot->index = free_place(assembler);
	transaction = &assembler->transactions[slot->index];
	memset(transaction, 0, sizeof(*transaction));
	transaction->used = true;
	strlcpy(transaction->txid, txid, sizeof(transaction->txid));
	transaction->hash = hash;
	transaction->required = -1;
	transaction->first_seen = first_seen(pipeline, index);
	return slot->index;
}

/*
 * Is the event new, or one that was delivered before? That may have been in another
 * partition, when the topic has grown since.
 */
static bool
is_new_event(EdwAssembler *assembler, Transaction *transaction, int64 order)
{
	int64		byte = order / 8;
	uint8		bit = 1 << (order % 8);

	if (order < 0 || order > MAX_ORDER)
		return true;
	if (byte >= transaction->orders_size)
	{
		int64		size = Max(byte + 1, Max(transaction->orders_size * 2, 16));

		if (transaction->orders == NULL)
			transaction->orders = MemoryContextAlloc(assembler->context, size);
		else
			transaction->orders = repalloc(transaction->orders, size);
		memset(transaction->orders + transaction->orders_size, 0,
			   size - transaction->orders_size);
		transaction->orders_size = size;
	}
	if ((transaction->orders[byte] & bit) != 0)
		return false;
	transaction->orders[byte] |= bit;
	return true;
}

/* Does some mapping take the events of "schema.table"? */
static bool
is_carried(EdwPipeline *pipeline, const char *collection)
{
	size_t		len = strlen(collection);
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, pipeline->listed)
	{
		const char *topic = ((EdwPartitionPosition *) lfirst(lc))->topic;
		size_t		topic_len = strlen(topic);

		if (topic_len <= len || topic[topic_len - len - 1] != '.' ||
			strcmp(topic + topic_len - len, collection) != 0)
			continue;
		foreach(lc2, pipeline->mappings)
			if (EdwMappingMatchesTopic(lfirst(lc2), topic))
				return true;
	}
	return false;
}

static int
classify_mark(EdwPipeline *pipeline, int index)
{
	EdwTransactionMark mark;
	EdwReason	reason;
	Transaction *transaction;
	int			t;

	if (pipeline->messages[index].value_len < 0 ||
		EdwDecodeTransactionMark(&pipeline->messages[index], &mark, &reason) != EDW_EVENT)
		return -1;
	t = find_transaction(pipeline, index, mark.txid);
	if (t < 0)
		return -1;
	transaction = &pipeline->assembler->transactions[t];
	if (!mark.is_end)
	{
		transaction->began = true;
		return t;
	}
	transaction->required = 0;
	for (int i = 0; i < mark.ncollections; i++)
		if (is_carried(pipeline, mark.collections[i].collection))
			transaction->required += mark.collections[i].count;
	if (!transaction->began)
		transaction->given_up = true;	/* reading, or a redelivery, began in its middle */
	return t;
}

static int
classify_event(EdwPipeline *pipeline, int index, EdwTopic *topic)
{
	EdwChange  *change = &topic->change;
	EdwReason	reason;
	Transaction *transaction;
	int			t;

	if (topic->decoder == NULL || pipeline->held[index].dead != NULL ||
		pipeline->messages[index].value_len < 0 ||
		EdwRunDecode(pipeline, index, topic, &reason) != EDW_EVENT ||
		!change->in_transaction_block || change->txid[0] == '\0')
		return -1;
	t = find_transaction(pipeline, index, change->txid);
	if (t < 0)
		return -1;
	transaction = &pipeline->assembler->transactions[t];
	if (is_new_event(pipeline->assembler, transaction, change->total_order))
		transaction->present++;
	return t;
}

/* Learn the transactions of messages that came since the last time. */
static void
classify_new(EdwPipeline *pipeline)
{
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "edw_stream peek",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(scratch);

	for (int i = 0; i < pipeline->nheld; i++)
	{
		EdwHeld    *held = &pipeline->held[i];
		EdwTopic   *topic;

		if (held->known)
			continue;
		topic = EdwTopicPrepare(pipeline, held->partition);
		held->transaction = topic->is_transactions ? classify_mark(pipeline, i) :
			classify_event(pipeline, i, topic);
		held->known = true;
		MemoryContextReset(scratch);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
}

static bool
is_complete(const Transaction *transaction)
{
	return transaction->given_up ||
		(transaction->required >= 0 && transaction->present >= transaction->required);
}

static TimestampTz
deadline_of(EdwPipeline *pipeline, const Transaction *transaction)
{
	return TimestampTzPlusMilliseconds(transaction->first_seen,
									   pipeline->def->options.transaction_timeout_ms);
}

static void
give_up_late(EdwPipeline *pipeline)
{
	EdwAssembler *assembler = pipeline->assembler;
	TimestampTz now = GetCurrentTimestamp();

	if (pipeline->xact.session && !pipeline->dry)
		return;					/* the rest may be what is read next */
	for (int t = 0; t < assembler->ntransactions; t++)
	{
		Transaction *transaction = &assembler->transactions[t];

		if (transaction->used && !is_complete(transaction) &&
			deadline_of(pipeline, transaction) <= now)
			transaction->given_up = transaction->incomplete = true;
	}
}

/* Give up the transaction that waits longest; false when none waits. */
static bool
give_up_oldest(EdwAssembler *assembler)
{
	Transaction *oldest = NULL;

	for (int t = 0; t < assembler->ntransactions; t++)
	{
		Transaction *transaction = &assembler->transactions[t];

		if (transaction->used && !is_complete(transaction) &&
			(oldest == NULL || transaction->first_seen < oldest->first_seen))
			oldest = transaction;
	}
	if (oldest != NULL)
		oldest->given_up = oldest->incomplete = true;
	return oldest != NULL;
}

/* Mark what may be committed among the first `limit` messages; returns how many. */
static int
choose_prefixes(EdwPipeline *pipeline, int limit)
{
	EdwAssembler *assembler = pipeline->assembler;
	int			nt = assembler->ntransactions;
	EdwTransactionQueue *queues = palloc0(sizeof(EdwTransactionQueue) * (pipeline->npartitions + 1));
	int		  **lists = palloc(sizeof(int *) * (pipeline->npartitions + 1));
	bool	   *complete = palloc(nt + 1);
	bool	   *blocked = palloc(nt + 1);
	int			total = 0;

	for (int t = 0; t < nt; t++)
		complete[t] = assembler->transactions[t].used && is_complete(&assembler->transactions[t]);
	for (int q = 0; q < pipeline->npartitions; q++)
	{
		lists[q] = palloc(sizeof(int) * (pipeline->partitions[q].held + 1));
		queues[q].transactions = lists[q];
	}
	for (int i = 0; i < pipeline->nheld; i++)
	{
		int			q = pipeline->held[i].partition - pipeline->partitions;

		lists[q][queues[q].n++] = pipeline->held[i].transaction;
		if (i < limit)
			queues[q].prefix = queues[q].n;
	}
	EdwTransactionPrefixes(queues, pipeline->npartitions, complete, blocked, nt);
	for (int i = 0; i < pipeline->nheld; i++)
	{
		EdwTransactionQueue *queue = &queues[pipeline->held[i].partition - pipeline->partitions];

		pipeline->held[i].taken = queue->prefix > 0;
		queue->prefix--;
		total += pipeline->held[i].taken ? 1 : 0;
	}
	return total;
}

/* Name the transactions in the batch that are not whole. */
static void
note_incomplete(EdwPipeline *pipeline)
{
	EdwAssembler *assembler = pipeline->assembler;
	bool	   *seen = palloc0(assembler->ntransactions + 1);

	for (int i = 0; i < pipeline->nheld; i++)
	{
		int			t = pipeline->held[i].transaction;

		if (!pipeline->held[i].taken || t < 0 || seen[t])
			continue;
		seen[t] = true;
		if (assembler->transactions[t].incomplete)
			pipeline->stats.incomplete = lappend(pipeline->stats.incomplete,
												 pstrdup(assembler->transactions[t].txid));
	}
}

EdwRunResult
EdwAssemblerChoose(EdwPipeline *pipeline)
{
	bool		full = pipeline->held_bytes >= (Size) EdwBatchMemoryKB * 1024;
	int			limit = pipeline->limit;
	int			total;

	finish_committed(pipeline);
	classify_new(pipeline);
	give_up_late(pipeline);
	while ((total = choose_prefixes(pipeline, limit)) == 0)
	{
		if (limit < pipeline->nheld)
			limit *= 2;
		else if (!full || !give_up_oldest(pipeline->assembler))
			return EDW_RUN_NOTHING;
	}
	note_incomplete(pipeline);
	return EDW_RUN_COMMIT;
}

long
EdwAssemblerTimeout(EdwPipeline *pipeline)
{
	EdwAssembler *assembler = pipeline->assembler;
	long		timeout = -1;

	for (int t = 0; t < assembler->ntransactions; t++)
	{
		Transaction *transaction = &assembler->transactions[t];
		long		left;

		if (!transaction->used || is_complete(transaction))
			continue;
		left = Max(1, TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
													  deadline_of(pipeline, transaction)));
		timeout = timeout < 0 ? left : Min(timeout, left);
	}
	return timeout;
}
