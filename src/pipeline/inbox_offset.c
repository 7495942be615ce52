/*
 * inbox_offset.c
 *		Offsets for push(): taken one by one, written once per transaction.
 *
 * A transaction's first push into a partition updates its row of edw_stream.inbox_partition,
 * which locks it. Further ones count in memory, and the row is written once more before
 * the commit: a row that is updated thousands of times in one transaction leaves
 * a chain of versions that each update has to walk again.
 *
 * The lock belongs to the subtransaction that took it. When that is rolled back the count is
 * forgotten with it; when it commits it passes to its parent. Offsets that were taken in a subtransaction
 * which is rolled back inside of the one that holds the lock are left out, which is no
 * matter (rule K2).
 */
#include "postgres.h"

#include "pipeline/inbox_offset.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "pipeline/catalog_sql.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

typedef struct Counter
{
	char	   *stream;
	char	   *topic;
	int32		partition;
	int64		next;
	int64		written;		/* what the row says */
	SubTransactionId holder;	/* took the lock */
} Counter;

/* of this transaction, in TopTransactionContext */
static List *counters = NIL;
static bool registered = false;

static EdwStatement take_first = {
	"INSERT INTO edw_stream.inbox_partition AS p (stream, topic, partition, next_offset)"
	" VALUES ($1, $2, $3, 1)"
	" ON CONFLICT (stream, topic, partition) DO UPDATE SET next_offset = p.next_offset + 1"
	" RETURNING next_offset",
	3, {TEXTOID, TEXTOID, INT4OID}, NULL
};

static EdwStatement write_next = {
	"INSERT INTO edw_stream.inbox_partition (stream, topic, partition, next_offset)"
	" SELECT name, $2, $3, $4 FROM edw_stream.stream WHERE name = $1"
	" ON CONFLICT (stream, topic, partition) DO UPDATE SET next_offset = excluded.next_offset",
	4, {TEXTOID, TEXTOID, INT4OID, INT8OID}, NULL
};

static uint64
run(EdwStatement *statement, const char *stream, const char *topic, int32 partition,
	int64 next, int64 *result)
{
	EdwSql		sql;
	Datum		args[4];
	bool		isnull;
	uint64		n;

	EdwSqlStart(&sql);
	args[0] = CStringGetTextDatum(stream);
	args[1] = CStringGetTextDatum(topic);
	args[2] = Int32GetDatum(partition);
	args[3] = Int64GetDatum(next);
	n = EdwSqlRun(statement, args, NULL);
	if (result != NULL)
		*result = DatumGetInt64(EdwSqlGet(0, 1, &isnull));
	EdwSqlFinish(&sql);
	return n;
}

/* Write what was counted. The stream may have been dropped meanwhile, or dropped and made anew. */
static void
write_counters(void)
{
	ListCell   *lc;

	if (counters == NIL)
		return;
	PushActiveSnapshot(GetTransactionSnapshot());
	foreach(lc, counters)
	{
		Counter    *counter = lfirst(lc);

		if (counter->next != counter->written)
			(void) run(&write_next, counter->stream, counter->topic, counter->partition,
					   counter->next, NULL);
		counter->written = counter->next;
	}
	PopActiveSnapshot();
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	(void) arg;
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			write_counters();
			break;
		default:
			counters = NIL;		/* their memory goes with the transaction */
			break;
	}
}

static void
at_subtransaction_end(SubXactEvent event, SubTransactionId mine, SubTransactionId parent,
					  void *arg)
{
	ListCell   *lc;

	(void) arg;
	foreach(lc, counters)
	{
		Counter    *counter = lfirst(lc);

		if (counter->holder != mine)
			continue;
		if (event == SUBXACT_EVENT_COMMIT_SUB)
			counter->holder = parent;
		else if (event == SUBXACT_EVENT_ABORT_SUB)
			counters = foreach_delete_current(counters, lc);
	}
}

static Counter *
find_counter(const char *stream, const char *topic, int32 partition)
{
	ListCell   *lc;

	foreach(lc, counters)
	{
		Counter    *counter = lfirst(lc);

		if (counter->partition == partition && strcmp(counter->topic, topic) == 0 &&
			strcmp(counter->stream, stream) == 0)
			return counter;
	}
	return NULL;
}

static Counter *
add_counter(const char *stream, const char *topic, int32 partition)
{
	MemoryContext old;
	Counter    *counter;
	int64		next;

	if (!registered)
	{
		RegisterXactCallback(at_transaction_end, NULL);
		RegisterSubXactCallback(at_subtransaction_end, NULL);
		registered = true;
	}
	(void) run(&take_first, stream, topic, partition, 0, &next);
	old = MemoryContextSwitchTo(TopTransactionContext);
	counter = palloc(sizeof(Counter));
	counter->stream = pstrdup(stream);
	counter->topic = pstrdup(topic);
	counter->partition = partition;
	counter->next = counter->written = next;
	counter->holder = GetCurrentSubTransactionId();
	counters = lappend(counters, counter);
	MemoryContextSwitchTo(old);
	return counter;
}

int64
EdwInboxTakeOffset(const char *stream, const char *topic, int32 partition)
{
	Counter    *counter = find_counter(stream, topic, partition);

	if (counter == NULL)
		return add_counter(stream, topic, partition)->next - 1;
	return counter->next++;
}
