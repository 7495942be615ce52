/*
 * apply.c
 *		A batch into its tables (see apply.h).
 *
 * Everything happens in the caller's transaction and is undone with it. Targets are taken in
 * the order of their mappings' ids, dimensions before what looks them up, and rows in the order of their keys, so that two workers
 * that meet wait and do not deadlock.
 *
 * Locks, all held to the end of the transaction: ROW EXCLUSIVE on each target; if the
 * stream has several workers, before that a lock on each mapping and on those of the dimensions that are looked up,
 * shared, so that a worker that needs the mapping for itself (exclusive) waits for the others and they for it. It needs that
 * for a truncate, to infer a member of a dimension with versions, and for a delete that met nothing in a dimension whose
 * members are inferred. Of a dimension whose members events wait for, what brings members is exclusive too: it has to see
 * who waits. A table with groups is locked after the mappings. Who shares claims its keys besides (claim.h), so that no key
 * is in two open transactions.
 *
 * User code (triggers, expressions, RLS) runs as the current user; edw_stream's own
 * tables are written between EdwCatalogBegin and EdwCatalogEnd.
 */
#include "postgres.h"

#include "apply/apply.h"
#include "apply/claim.h"
#include "apply/guard.h"
#include "apply/images.h"
#include "apply/lookup.h"
#include "apply/resolve.h"
#include "apply/rows.h"
#include "apply/scd2.h"
#include "catalog/pg_type.h"
#include "catalog/stream.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pipeline/catalog_sql.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/* advisory locks of SQL functions have 1 or 2 here */
#define LOCK_CLASS_MAPPING	0x4544
#define LOCK_CLASS_TABLE	0x4545

typedef struct Apply
{
	EdwBatch   *batch;
	EdwBatchTarget *bt;
	int			workers;
	bool		exclusive;
	bool		need_exclusive;
	EdwTombstones *tombstones;
	EdwEntry  **rows;			/* what MERGE gets, by number */
	EdwFoldChange **changes;	/* … their final ones */
	int			nrows;
	uint64		processed;		/* rows that the statement wrote */
} Apply;

typedef struct MappingLock
{
	int32		mapping_id;
	bool		exclusive;
} MappingLock;

static int32 current_mapping = 0;

/*
 * Sorting by key
 */

static inline int
compare_keys(const EdwEntry *a, const EdwEntry *b)
{
	int			cmp;

	if (likely(a->prefix != b->prefix))
		return a->prefix < b->prefix ? -1 : 1;
	cmp = memcmp(a->key, b->key, Min(a->key_len, b->key_len));
	return cmp != 0 ? cmp : a->key_len - b->key_len;
}

typedef EdwEntry *EntryPointer;

#define ST_SORT			sort_entries
#define ST_ELEMENT_TYPE	EntryPointer
#define ST_COMPARE(a, b)	compare_keys(*(a), *(b))
#define ST_SCOPE		static
#define ST_DECLARE
#define ST_DEFINE
#include "lib/sort_template.h"

void
EdwSortEntries(EdwBatchTarget *bt)
{
	sort_entries(bt->entries, bt->nentries);
}

/*
 * Locks and the barrier
 */

static void
lock_id(uint32 id, uint16 class, bool exclusive)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, id, class);
	(void) LockAcquire(&tag, exclusive ? ExclusiveLock : ShareLock, false, false);
}

/* The barrier as it is stored now: the route's may be older than the last truncate. */
static EdwPositionBytes
read_barrier(EdwBatch *batch, int32 mapping_id)
{
	EdwCatalogAccess access;
	Oid			types[1] = {INT4OID};
	Datum		values[1] = {Int32GetDatum(mapping_id)};
	EdwPositionBytes barrier = {NULL, 0};

	SPI_connect();
	EdwCatalogBegin(&access);
	SPI_execute_with_args("SELECT barrier FROM edw_stream.mapping WHERE mapping_id = $1 AND barrier IS NOT NULL",
						  1, types, values, NULL, false, 0);
	if (SPI_processed > 0)
	{
		bool		isnull;
		Datum		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
		struct varlena *bytes = PG_DETOAST_DATUM_PACKED(value);

		barrier.len = VARSIZE_ANY_EXHDR(bytes);
		barrier.bytes = memcpy(EdwBatchAlloc(batch, barrier.len), VARDATA_ANY(bytes), barrier.len);
	}
	EdwCatalogEnd(&access);
	SPI_finish();
	return barrier;
}

/* Another worker, or an earlier batch of this one, may have truncated meanwhile (P4). */
static void
meet_stored_barrier(Apply *apply)
{
	EdwBatchTarget *bt = apply->bt;
	EdwPositionBytes stored = read_barrier(apply->batch, bt->target->def->mapping_id);
	int			order;

	if (stored.len == 0)
		return;
	order = EdwPositionOrder(bt->barrier, stored);
	if (order > 0)
		return;
	if (bt->truncated || bt->truncated_at)
	{
		bt->outcomes[order == 0 ? EDW_OUTCOME_DUPLICATE : EDW_OUTCOME_STALE] += bt->truncates;
		bt->truncates = 0;
		bt->truncated = false;
		bt->truncated_at = NULL;
	}
	if (order < 0)
	{
		bt->barrier = stored;
		EdwBatchPurge(bt, EDW_OUTCOME_STALE, false);
	}
}

static void
store_barrier(Apply *apply)
{
	Oid			types[2] = {BYTEAOID, INT4OID};
	Datum		values[2];

	values[0] = EdwBytesDatum(apply->bt->barrier.bytes, apply->bt->barrier.len);
	values[1] = Int32GetDatum(apply->bt->target->def->mapping_id);
	EdwCatalogExecute("UPDATE edw_stream.mapping SET barrier = $1 WHERE mapping_id = $2",
					  2, types, values, NULL);
}

/* Rows that are older than the truncate go, and the barrier stays. */
static void
truncate_target(Apply *apply)
{
	EdwBatchTarget *bt = apply->bt;
	const EdwTarget *target = bt->target;
	const EdwFoldChange *row = &bt->truncate_row;
	Oid		   *types = palloc((target->ncolumns + 1) * sizeof(Oid));
	Datum	   *values = palloc((target->ncolumns + 1) * sizeof(Datum));
	char	   *nulls = palloc(target->ncolumns + 1);
	int			n = 0;

	types[n] = BYTEAOID;
	nulls[n] = ' ';
	values[n++] = EdwBytesDatum(bt->barrier.bytes, bt->barrier.len);
	for (int i = 0; target->deleted_attnum != 0 && i < target->ncolumns; i++)
		if (target->columns[i].audit)
		{
			types[n] = target->columns[i].type;
			nulls[n] = row->nulls[i] ? 'n' : ' ';
			values[n++] = row->values[i];
		}
	SPI_connect();
	SPI_execute_with_args(EdwTruncateSql(target), n, types, values, nulls, false, 0);
	SPI_finish();
	store_barrier(apply);
}

/*
 * The statement
 */

/* Which columns the rows give, and which of them not all do. */
static EdwShape *
shape_of_rows(Apply *apply)
{
	const EdwTarget *target = apply->bt->target;
	EdwShape   *shape = EdwShapeMake(target);
	int			n = target->ncolumns;
	bool		incomplete = false;

	shape->upserts = shape->deletes = false;
	for (int r = 0; r < apply->nrows; r++)
	{
		const EdwFoldChange *c = apply->changes[r];

		if (c->op == 'd')
			shape->deletes = true;
		else
		{
			shape->upserts = true;
			incomplete |= !c->complete;
		}
	}
	if (!incomplete)
		return shape;

	for (int i = 0; i < n; i++)
		shape->written[i] = target->columns[i].is_key;
	for (int r = 0; r < apply->nrows; r++)
	{
		const EdwFoldChange *c = apply->changes[r];

		for (int i = 0; i < n; i++)
		{
			if (c->op == 'd')
			{
				/* a soft one writes them, too */
				shape->written[i] |= target->deleted_attnum != 0 && target->columns[i].audit;
				continue;
			}
			shape->written[i] |= c->presence[i] == EDW_PRESENT && target->columns[i].attnum != 0;
			shape->kept[i] |= c->presence[i] != EDW_PRESENT;
		}
	}
	for (int i = 0; i < n; i++)
		shape->kept[i] &= shape->written[i];
	return shape;
}

static void
run_statement(Apply *apply)
{
	const EdwTarget *target = apply->bt->target;
	EdwShape   *shape = shape_of_rows(apply);
	bool		append = target->def->apply == EDW_APPLY_APPEND;
	EdwRows		rows;
	EdwGuard	guard = {0};
	Oid		   *types;
	Datum	   *values;

	EdwRowsBounds(target, apply->changes, apply->nrows, &types, &values);
	guard.rows = apply->rows;
	guard.nrows = apply->nrows;
	guard.ncolumns = target->ncolumns;
	guard.made_up = target->def->inferred;
	guard.tombstones = apply->tombstones;
	SPI_connect();
	EdwRowsBegin(&rows, shape, apply->changes, apply->nrows);
	EdwGuardEnter(&guard);
	PG_TRY();
	{
		/* one-shot: planned for the table as it is now, with the bounds as constants */
		apply->processed =
			EdwFeedExecute(&rows.feed,
						   append ? EdwImagesAppendSql(apply->batch, target, EdwAppendSql(shape)) : EdwMergeSql(shape),
						   append ? 0 : 2 * target->nbounds, types, values);
		EdwImagesAppended(apply->batch, target);
	}
	PG_FINALLY();
	{
		EdwGuardLeave(&guard);
	}
	PG_END_TRY();
	SPI_finish();
}

/*
 * What became of the rows
 */

/* A delete that met no row: a late one, or one whose row has yet to come. */
static EdwOutcome
settle_missed_delete(Apply *apply, EdwEntry *entry)
{
	EdwFoldChange *c = entry->final;
	EdwPositionBytes dead = EdwTombstoneFind(apply->tombstones, entry->key, entry->key_len);

	if (dead.len > 0)
	{
		int			order = EdwPositionOrder(c->position, dead);

		if (order <= 0)
			return order == 0 ? EDW_OUTCOME_DUPLICATE : EDW_OUTCOME_STALE;
	}

	/* a row that never passed the filter needs no tombstone: nothing older of it exists */
	if (!(c->filtered && c->first))
	{
		entry->bury = c->position;
		entry->blind = true;
	}
	return EDW_OUTCOME_UNCHANGED;
}

static void
reject_entry(Apply *apply, EdwEntry *entry)
{
	const EdwTarget *target = apply->bt->target;
	EdwFoldChange *c = entry->final;
	int			i = 0;

	while (c->presence[i] != EDW_UNAVAILABLE)
		i++;
	for (EdwMessageList *item = entry->folded; item != NULL; item = item->next)
	{
		apply->bt->outcomes[EDW_OUTCOME_FOLDED]--;
		apply->bt->outcomes[EDW_OUTCOME_REJECTED]++;
		EdwBatchRejectUnavailable(apply->batch, apply->bt, entry, item->message,
								  target->columns[i].name);
	}
	EdwBatchRejectUnavailable(apply->batch, apply->bt, entry, c->message, target->columns[i].name);
}

static void
settle_row(Apply *apply, EdwEntry *entry)
{
	EdwFoldChange *c = entry->final;
	EdwOutcome	outcome = c->outcome;

	if (entry->replay)
		return;					/* counted by resolve.c */
	switch (outcome)
	{
		case EDW_OUTCOME_PENDING:
			outcome = c->op == 'd' ? settle_missed_delete(apply, entry) : EDW_OUTCOME_UNCHANGED;
			break;
		case EDW_OUTCOME_DELETED:
			if (apply->bt->target->deleted_attnum == 0)
				entry->bury = c->position;
			break;
		case EDW_OUTCOME_REJECTED:
			reject_entry(apply, entry);
			break;
		default:
			break;
	}
	if (c->filtered && (outcome == EDW_OUTCOME_DELETED || outcome == EDW_OUTCOME_UNCHANGED))
		outcome = EDW_OUTCOME_FILTERED;
	EdwCountOutcome(apply->bt, c, outcome);
}

/*
 * Per target
 */

/* Leave out entries that a truncate emptied. */
static void
drop_empty_entries(EdwBatchTarget *bt)
{
	int			live = 0;

	bt->target->last_entries = bt->nentries;
	for (int i = 0; i < bt->nentries; i++)
		if (bt->entries[i]->live.op != 0)
			bt->entries[live++] = bt->entries[i];
	bt->nentries = live;
}

static void
collect_rows(Apply *apply)
{
	EdwBatchTarget *bt = apply->bt;

	drop_empty_entries(bt);
	if (bt->target->nkeys > 0)
		EdwSortEntries(bt);
	if (bt->target->def->apply != EDW_APPLY_APPEND)
		EdwResolveEntries(apply->batch, bt, apply->tombstones);
	apply->rows = palloc_extended(Max(bt->nentries, 1) * sizeof(EdwEntry *), MCXT_ALLOC_HUGE);
	apply->changes = palloc_extended(Max(bt->nentries, 1) * sizeof(EdwFoldChange *), MCXT_ALLOC_HUGE);
	for (int i = 0; i < bt->nentries; i++)
	{
		EdwEntry   *entry = bt->entries[i];

		if (!entry->replay)
			entry->final = &entry->live;
		if (entry->final == NULL)
			continue;
		apply->rows[apply->nrows] = entry;
		apply->changes[apply->nrows++] = entry->final;
	}
	if (bt->target->nlookups > 0)
		apply->nrows = EdwLookupsFill(apply->batch, bt, apply->rows, apply->changes, apply->nrows,
									  apply->tombstones, apply->workers <= 1 || apply->exclusive,
									  &apply->need_exclusive);
}

static void
settle_rows(Apply *apply)
{
	EdwBatchTarget *bt = apply->bt;

	if (bt->target->def->apply == EDW_APPLY_APPEND)
	{
		int64		inserted = bt->target->nkeys > 0 ? (int64) apply->processed : apply->nrows;

		/* the others' keys were there already */
		bt->outcomes[EDW_OUTCOME_INSERTED] += inserted;
		bt->outcomes[EDW_OUTCOME_DUPLICATE] += apply->nrows - inserted;
		return;
	}
	for (int r = 0; r < apply->nrows; r++)
		settle_row(apply, apply->rows[r]);
	/* members that are made up are not among the keys that a batch claims */
	for (int i = 0; bt->target->def->inferred && !bt->target->has_groups && i < bt->nentries; i++)
		if (bt->entries[i]->blind)
			apply->need_exclusive = true;
	EdwTombstonesWrite(apply->tombstones, bt->entries, bt->nentries);
}

/* A table of versions: see scd2.h. Its keys' rows hang together, so that one worker at a time writes them. */
static void
apply_versions(Apply *apply)
{
	drop_empty_entries(apply->bt);
	EdwScd2Apply(apply->batch, apply->bt);
	if (apply->bt->truncated_at)
		store_barrier(apply);
}

static void
apply_to_table(Apply *apply)
{
	EdwBatchTarget *bt = apply->bt;
	const EdwMappingDef *def = bt->target->def;

	EdwTargetCheckFresh(bt->target);
	if (def->on_truncate == EDW_TRUNCATE_APPLY)
		meet_stored_barrier(apply);
	if (bt->target->versioned)
	{
		apply_versions(apply);
		return;
	}
	if (bt->truncated)
	{
		apply->need_exclusive = true;
		truncate_target(apply);
	}
	if (def->apply != EDW_APPLY_APPEND)
		apply->tombstones = EdwTombstonesOpen(def->mapping_id);
	collect_rows(apply);
	if (apply->nrows > 0)
		run_statement(apply);
	settle_rows(apply);
	if (apply->tombstones)
		EdwTombstonesClose(apply->tombstones);
}

static void
apply_target(Apply *apply)
{
	EdwImages  *before = EdwImagesTake(apply->batch, apply->bt);

	apply_to_table(apply);
	EdwImagesCompare(before);
}

static int
compare_targets(const void *a, const void *b)
{
	const EdwBatchTarget *left = *(EdwBatchTarget *const *) a;
	const EdwBatchTarget *right = *(EdwBatchTarget *const *) b;

	if (left->target->level != right->target->level)
		return left->target->level - right->target->level;
	return (left->target->def->mapping_id > right->target->def->mapping_id) -
		(left->target->def->mapping_id < right->target->def->mapping_id);
}

static int
compare_locks(const void *a, const void *b)
{
	const MappingLock *left = a;
	const MappingLock *right = b;

	if (left->mapping_id != right->mapping_id)
		return left->mapping_id < right->mapping_id ? -1 : 1;
	return right->exclusive - left->exclusive;
}

/*
 * Several topics insert the rows of one table, each its columns: two workers that do so at the same time would run into the
 * unique index over and over, and into each other's locks.
 */
static void
lock_grouped_tables(EdwBatch *batch)
{
	List	   *tables = NIL;
	ListCell   *lc;

	for (int i = 0; i < batch->ntargets; i++)
		if (batch->targets[i]->target->has_groups)
			tables = list_append_unique_oid(tables, batch->targets[i]->target->relid);
	list_sort(tables, list_oid_cmp);
	foreach(lc, tables)
		lock_id(lfirst_oid(lc), LOCK_CLASS_TABLE, true);
}

/*
 * Lock the mappings of the batch's targets, and of the dimensions that they look up: what is looked up is not to be
 * changed by another worker before this one has committed. All at once and in one order.
 */
static void
lock_mappings(EdwBatch *batch, bool exclusive)
{
	int			n = 0;
	MappingLock *locks;

	for (int i = 0; i < batch->ntargets; i++)
		n += 1 + batch->targets[i]->target->nlookups;
	locks = palloc(Max(n, 1) * sizeof(MappingLock));
	n = 0;
	for (int i = 0; i < batch->ntargets; i++)
	{
		const EdwTarget *target = batch->targets[i]->target;

		locks[n++] = (MappingLock) {target->def->mapping_id, exclusive || target->versioned || target->def->awaited};
		for (int l = 0; l < target->nlookups; l++)
			if (target->lookups[l].dimension)
				locks[n++] = (MappingLock) {target->lookups[l].dimension->mapping_id, exclusive};
	}
	qsort(locks, n, sizeof(MappingLock), compare_locks);
	for (int i = 0; i < n; i++)
		if (i == 0 || locks[i].mapping_id != locks[i - 1].mapping_id)
			lock_id(locks[i].mapping_id, LOCK_CLASS_MAPPING, locks[i].exclusive);
	lock_grouped_tables(batch);
}

static void
copy_counts(EdwTargetCounts *counts, const EdwBatchTarget *bt)
{
	counts->target = bt->target;
	memcpy(counts->outcomes, bt->outcomes, sizeof(bt->outcomes));
	counts->truncates = bt->truncates;
	counts->moved = bt->moved;
}

int32
EdwApplyCurrent(void)
{
	return current_mapping;
}

EdwApplyResult *
EdwApplyBatch(EdwBatch *batch, int workers, bool exclusive)
{
	EdwApplyResult *result = palloc0(sizeof(EdwApplyResult));
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext scratch = AllocSetContextCreate(caller, "edw_stream apply", ALLOCSET_DEFAULT_SIZES);

	result->targets = palloc0(Max(batch->ntargets, 1) * sizeof(EdwTargetCounts));
	qsort(batch->targets, batch->ntargets, sizeof(EdwBatchTarget *), compare_targets);
	if (workers > 1)
	{
		lock_mappings(batch, exclusive);
		result->need_exclusive = exclusive ? !EdwClaimsAvailable() : !EdwClaimKeys(batch);
	}
	for (int i = 0; i < batch->ntargets && (exclusive || !result->need_exclusive); i++)
	{
		Apply		apply = {0};

		apply.batch = batch;
		apply.bt = batch->targets[i];
		apply.workers = workers;
		apply.exclusive = exclusive;
		current_mapping = apply.bt->target->def->mapping_id;
		MemoryContextSwitchTo(scratch);
		apply_target(&apply);
		MemoryContextSwitchTo(caller);
		MemoryContextReset(scratch);
		copy_counts(&result->targets[result->ntargets++], apply.bt);
		result->need_exclusive |= apply.need_exclusive && workers > 1;
	}
	current_mapping = 0;
	MemoryContextDelete(scratch);
	result->nrejects = batch->nrejects;
	result->rejects = batch->rejects;
	return result;
}
