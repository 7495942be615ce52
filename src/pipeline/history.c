/*
 * history.c
 *		What became of the messages: edw_stream.batch, table_stat, skip_stat, counters.
 *
 * The tables are written in the data transaction, so that they say exactly what
 * was committed (rule H1); the shared-memory counters after it. Pruning (rule H3) has small
 * transactions of its own. Of batches a stream keeps BATCHES_KEPT, however young: one that commits
 * hundreds of times a second would fill gigabytes within its retention.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "edw_stream.h"
#include "pipeline/catalog_sql.h"
#include "pipeline/internal.h"
#include "stats/histogram.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "worker/slots.h"

#define PRUNE_INTERVAL_MS	60000
#define PRUNE_LIMIT			10000
#define BATCHES_KEPT		100000	/* about one a second for a day */

typedef struct EdwSkipCount
{
	const char *topic;
	const char *reason;
	int64		messages;
} EdwSkipCount;

typedef struct EdwDeadCount
{
	int32		mapping_id;
	int64		dead;
	int64		held;
} EdwDeadCount;

static EdwStatement add_batch = {
	"INSERT INTO edw_stream.batch (batch_id, stream, worker, committed_at, messages, bytes, changed_rows,"
	" dead, decode_us, apply_us, incomplete_transactions)"
	" VALUES (coalesce($10, nextval('edw_stream.batch_batch_id_seq')),"
	" $1, $2, pg_catalog.clock_timestamp(), $3, $4, $5, $6, $7, $8, $9)",
	10, {TEXTOID, INT4OID, INT4OID, INT8OID, INT4OID, INT4OID, INT8OID, INT8OID, TEXTARRAYOID, INT8OID}, NULL
};

static EdwStatement draw_batch_id = {
	"SELECT nextval('edw_stream.batch_batch_id_seq')", 0, {0}, NULL
};

static EdwStatement add_table = {
	"INSERT INTO edw_stream.table_stat AS t (mapping_id, worker, inserted, updated, deleted,"
	" truncated, duplicates, stale, unchanged, folded, filtered, dead, held, moved, last_change)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14,"
	" CASE WHEN $3 + $4 + $5 + $6 > 0 THEN now() END)"
	" ON CONFLICT (mapping_id, worker) DO UPDATE SET"
	" inserted = t.inserted + excluded.inserted, updated = t.updated + excluded.updated,"
	" deleted = t.deleted + excluded.deleted, truncated = t.truncated + excluded.truncated,"
	" duplicates = t.duplicates + excluded.duplicates, stale = t.stale + excluded.stale,"
	" unchanged = t.unchanged + excluded.unchanged, folded = t.folded + excluded.folded,"
	" filtered = t.filtered + excluded.filtered, dead = t.dead + excluded.dead,"
	" held = t.held + excluded.held, moved = t.moved + excluded.moved,"
	" last_change = coalesce(excluded.last_change, t.last_change)",
	14, {INT4OID, INT4OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID,
	INT8OID, INT8OID, INT8OID, INT8OID, INT8OID}, NULL
};

static EdwStatement add_skip = {
	"INSERT INTO edw_stream.skip_stat AS s (stream, topic, worker, reason, messages)"
	" VALUES ($1, $2, $3, $4, $5)"
	" ON CONFLICT (stream, topic, worker, reason) DO UPDATE SET messages = s.messages + excluded.messages",
	5, {TEXTOID, TEXTOID, INT4OID, TEXTOID, INT8OID}, NULL
};

static EdwStatement prune_batches = {
	"DELETE FROM edw_stream.batch WHERE batch_id IN"
	" (SELECT batch_id FROM edw_stream.batch"
	" WHERE committed_at < now() - pg_catalog.make_interval(secs => $1) LIMIT $2)",
	2, {FLOAT8OID, INT8OID}, NULL
};

static EdwStatement prune_many_batches = {
	"DELETE FROM edw_stream.batch WHERE batch_id IN"
	" (SELECT batch_id FROM edw_stream.batch WHERE stream = $1"
	" ORDER BY batch_id DESC OFFSET $2 LIMIT $3)",
	3, {TEXTOID, INT8OID, INT8OID}, NULL
};

static EdwStatement prune_letters = {
	"DELETE FROM edw_stream.dead_letter WHERE id IN"
	" (SELECT id FROM edw_stream.dead_letter WHERE stream = $1 AND status <> 'open'"
	" AND last_seen < now() - pg_catalog.make_interval(secs => $2) LIMIT $3)",
	3, {TEXTOID, FLOAT8OID, INT8OID}, NULL
};

static EdwStatement prune_inbox = {
	"DELETE FROM edw_stream.inbox WHERE ctid IN"
	" (SELECT i.ctid FROM edw_stream.inbox i JOIN edw_stream.partition_offset p"
	" USING (stream, topic, partition)"
	" WHERE i.stream = $1 AND i.kafka_offset < p.next_offset"
	" AND i.pushed_at < now() - pg_catalog.make_interval(secs => $2) LIMIT $3)",
	3, {TEXTOID, FLOAT8OID, INT8OID}, NULL
};

/* Begin counting for a batch. */
void
EdwHistoryStart(EdwPipeline *pipeline)
{
	memset(&pipeline->stats, 0, sizeof(pipeline->stats));
}

/* The number that the batch will have in edw_stream.batch: drawn when it is first asked for. */
int64
EdwHistoryBatchId(EdwPipeline *pipeline)
{
	if (pipeline->batch_id == 0)
	{
		EdwSql		sql;
		bool		isnull;

		EdwSqlStart(&sql);
		(void) EdwSqlRun(&draw_batch_id, NULL, NULL);
		pipeline->batch_id = DatumGetInt64(EdwSqlGet(0, 1, &isnull));
		EdwSqlFinish(&sql);
	}
	return pipeline->batch_id;
}

/* Count messages that are skipped on purpose. */
void
EdwHistorySkip(EdwPipeline *pipeline, const char *topic, const char *reason, int64 n)
{
	ListCell   *lc;
	EdwSkipCount *count;

	foreach(lc, pipeline->stats.skips)
	{
		count = lfirst(lc);
		if (strcmp(count->reason, reason) == 0 && strcmp(count->topic, topic) == 0)
		{
			count->messages += n;
			return;
		}
	}
	count = palloc(sizeof(EdwSkipCount));
	count->topic = topic;
	count->reason = reason;
	count->messages = n;
	pipeline->stats.skips = lappend(pipeline->stats.skips, count);
}

static EdwDeadCount *
find_dead_count(EdwPipeline *pipeline, int32 mapping_id)
{
	ListCell   *lc;
	EdwDeadCount *count;

	foreach(lc, pipeline->stats.dead_counts)
	{
		count = lfirst(lc);
		if (count->mapping_id == mapping_id)
			return count;
	}
	count = palloc0(sizeof(EdwDeadCount));
	count->mapping_id = mapping_id;
	pipeline->stats.dead_counts = lappend(pipeline->stats.dead_counts, count);
	return count;
}

static void
count_dead(EdwPipeline *pipeline, int32 mapping_id, bool held)
{
	EdwDeadCount *count = find_dead_count(pipeline, mapping_id);

	if (held)
		count->held++;
	else
		count->dead++;
}

/* Count a dead letter, or what is held: for its mapping, or for all that would have taken it. */
void
EdwHistoryDead(EdwPipeline *pipeline, EdwTopic *topic, const EdwDeadMark *mark)
{
	if (!mark->waits)
		pipeline->stats.dead++;
	if (mark->mapping_id != 0)
		count_dead(pipeline, mark->mapping_id, mark->waits);
	else if (topic != NULL && topic->route != NULL)
		for (int i = 0; i < topic->route->ntargets; i++)
			count_dead(pipeline, topic->route->targets[i]->def->mapping_id, mark->waits);
}

static void
write_table(EdwPipeline *pipeline, int32 mapping_id, const EdwTargetCounts *counts,
			const EdwDeadCount *dead)
{
	static const int columns[] = {
		EDW_OUTCOME_INSERTED, EDW_OUTCOME_UPDATED, EDW_OUTCOME_DELETED, -1,
		EDW_OUTCOME_DUPLICATE, EDW_OUTCOME_STALE, EDW_OUTCOME_UNCHANGED,
		EDW_OUTCOME_FOLDED, EDW_OUTCOME_FILTERED
	};
	Datum		args[14];

	args[0] = Int32GetDatum(mapping_id);
	args[1] = Int32GetDatum(pipeline->worker);
	for (int i = 0; i < (int) lengthof(columns); i++)
	{
		int64		n = 0;

		if (counts != NULL)
			n = columns[i] < 0 ? counts->truncates : counts->outcomes[columns[i]];
		args[2 + i] = Int64GetDatum(n);
	}
	args[11] = Int64GetDatum(dead->dead);
	args[12] = Int64GetDatum(dead->held);
	args[13] = Int64GetDatum(counts != NULL ? counts->moved : 0);
	(void) EdwSqlRun(&add_table, args, NULL);
}

/* What was counted for a mapping, which is then nothing. */
static EdwDeadCount
take_dead(EdwPipeline *pipeline, int32 mapping_id)
{
	EdwDeadCount *count = find_dead_count(pipeline, mapping_id);
	EdwDeadCount taken = *count;

	count->dead = count->held = 0;
	return taken;
}

static void
write_tables(EdwPipeline *pipeline)
{
	EdwApplyResult *applied = pipeline->stats.applied;
	ListCell   *lc;

	for (int i = 0; applied != NULL && i < applied->ntargets; i++)
	{
		EdwTargetCounts *counts = &applied->targets[i];
		int32		mapping_id = counts->target->def->mapping_id;

		EdwDeadCount dead = take_dead(pipeline, mapping_id);

		write_table(pipeline, mapping_id, counts, &dead);
		pipeline->stats.changed_rows += counts->outcomes[EDW_OUTCOME_INSERTED] +
			counts->outcomes[EDW_OUTCOME_UPDATED] + counts->outcomes[EDW_OUTCOME_DELETED];
	}
	foreach(lc, pipeline->stats.dead_counts)
	{
		EdwDeadCount *count = lfirst(lc);

		if (count->dead > 0 || count->held > 0)
			write_table(pipeline, count->mapping_id, NULL, count);
	}
}

static void
write_skips(EdwPipeline *pipeline)
{
	ListCell   *lc;

	foreach(lc, pipeline->stats.skips)
	{
		EdwSkipCount *count = lfirst(lc);
		Datum		args[5];

		args[0] = CStringGetTextDatum(pipeline->stream);
		args[1] = CStringGetTextDatum(count->topic);
		args[2] = Int32GetDatum(pipeline->worker);
		args[3] = CStringGetTextDatum(count->reason);
		args[4] = Int64GetDatum(count->messages);
		(void) EdwSqlRun(&add_skip, args, NULL);
	}
}

static Datum
text_array(List *strings)
{
	Datum	   *elements = palloc(sizeof(Datum) * list_length(strings));
	int			n = 0;
	ListCell   *lc;

	foreach(lc, strings)
		elements[n++] = CStringGetTextDatum(lfirst(lc));
	return PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT));
}

static void
write_batch(EdwPipeline *pipeline)
{
	EdwBatchStats *stats = &pipeline->stats;
	Datum		args[10] = {0};
	char		nulls[11] = "          ";

	args[0] = CStringGetTextDatum(pipeline->stream);
	args[1] = Int32GetDatum(pipeline->worker);
	args[2] = Int32GetDatum(stats->messages);
	args[3] = Int64GetDatum(stats->bytes);
	args[4] = Int32GetDatum((int32) stats->changed_rows);
	args[5] = Int32GetDatum(stats->dead);
	args[6] = Int64GetDatum(stats->decode_us);
	args[7] = Int64GetDatum(stats->apply_us);
	if (stats->incomplete != NIL)
		args[8] = text_array(stats->incomplete);
	else
		nulls[8] = 'n';
	args[9] = Int64GetDatum(pipeline->batch_id);
	if (pipeline->batch_id == 0)
		nulls[9] = 'n';
	(void) EdwSqlRun(&add_batch, args, nulls);
}

/* Write only what was skipped, where there is no batch. */
void
EdwHistoryWriteSkips(EdwPipeline *pipeline)
{
	EdwSql		sql;

	EdwSqlStart(&sql);
	write_skips(pipeline);
	EdwSqlFinish(&sql);
}

/* Write only what became of the rows. */
void
EdwHistoryWriteTables(EdwPipeline *pipeline)
{
	EdwSql		sql;

	EdwSqlStart(&sql);
	write_tables(pipeline);
	EdwSqlFinish(&sql);
}

/* Write the batch's history, in its transaction. */
void
EdwHistoryWrite(EdwPipeline *pipeline)
{
	EdwSql		sql;

	if (pipeline->stats.messages == 0)
		return;
	EdwSqlStart(&sql);
	write_tables(pipeline);
	write_skips(pipeline);
	write_batch(pipeline);
	EdwSqlFinish(&sql);
}

static void
count_latencies(EdwWorkerCounters *counters, const EdwBatchStats *stats, TimestampTz committed_at)
{
	int64		now = committed_at +
		(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;

	for (int i = 0; i < stats->ntimes; i++)
	{
		if (stats->source_times[i] > 0)
			EdwHistogramAdd(counters->source_latency, now - stats->source_times[i], 1);
		if (stats->kafka_times[i] > 0)
			EdwHistogramAdd(counters->kafka_latency, now - stats->kafka_times[i], 1);
	}
}

/* Count a committed batch in shared memory. */
void
EdwHistoryCount(EdwPipeline *pipeline, TimestampTz committed_at)
{
	EdwBatchStats *stats = &pipeline->stats;
	EdwWorkerCounters *counters = EdwMyCounters();

	pg_atomic_fetch_add_u64(&counters->messages, stats->messages);
	pg_atomic_fetch_add_u64(&counters->bytes, stats->bytes);
	pg_atomic_fetch_add_u64(&counters->batches, 1);
	pg_atomic_fetch_add_u64(&counters->dead, stats->dead);
	pg_atomic_fetch_add_u64(&counters->decode_us, stats->decode_us);
	pg_atomic_fetch_add_u64(&counters->apply_us, stats->apply_us);
	pg_atomic_fetch_add_u64(&counters->commit_us, pipeline->commit_us);
	pg_atomic_write_u64(&counters->last_commit, (uint64) committed_at);
	count_latencies(counters, stats, committed_at);
}

/*
 * Once a minute: delete what is past its retention, a limited number of rows of each kind.
 * Begins and ends a transaction. True when there may be more.
 */
bool
EdwHistoryPrune(EdwPipeline *pipeline)
{
	TimestampTz now = GetCurrentTimestamp();
	EdwSql		sql;
	Datum		args[3];
	uint64		most;

	if (now < pipeline->next_prune || pipeline->worker > 0)
		return false;
	EdwXactBegin(&pipeline->xact);
	EdwSqlStart(&sql);
	args[0] = Float8GetDatum(EdwHistoryRetentionS);
	args[1] = Int64GetDatum(PRUNE_LIMIT);
	most = EdwSqlRun(&prune_batches, args, NULL);
	args[0] = CStringGetTextDatum(pipeline->stream);
	args[1] = Int64GetDatum(BATCHES_KEPT);
	args[2] = Int64GetDatum(PRUNE_LIMIT);
	most = Max(most, EdwSqlRun(&prune_many_batches, args, NULL));
	args[1] = Float8GetDatum(EdwHistoryRetentionS);
	most = Max(most, EdwSqlRun(&prune_letters, args, NULL));
	EdwAwaitedExpire(pipeline);
	if (pipeline->def->server == NULL)
		most = Max(most, EdwSqlRun(&prune_inbox, args, NULL));
	EdwSqlFinish(&sql);
	most = Max(most, (uint64) EdwTombstonesPrune(PRUNE_LIMIT));
	most = Max(most, (uint64) EdwPointsPrune(PRUNE_LIMIT));
	EdwXactCommit(&pipeline->xact);
	if (most < PRUNE_LIMIT)
		pipeline->next_prune = TimestampTzPlusMilliseconds(now, PRUNE_INTERVAL_MS);
	return most >= PRUNE_LIMIT;
}
