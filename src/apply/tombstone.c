/*
 * tombstone.c
 *		Tombstones of deleted rows (rule O8; see tombstone.h).
 *
 * Within the caller's transaction. Reading needs no rights of the current user; writing goes
 * through EdwCatalogBegin or straight to the table. A greater position stays.
 *
 * Nobody else writes tombstones of the batch's keys meanwhile (claim.h), so that one snapshot does
 * for all, and a look for one key also tells up to which key there is none. Keys are asked for in
 * order, so most questions need no look at the index: new rows mostly have keys greater than all
 * that was deleted.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "apply/apply.h"
#include "apply/store.h"
#include "apply/tombstone.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_type.h"
#include "catalog/stream.h"
#include "edw_stream.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "pipeline/catalog_sql.h"
#include "utils/fmgroids.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define ATT_MAPPING		1
#define ATT_KEY			2
#define ATT_POSITION	3
#define ATT_DELETED_AT	4
#define NATTS			4

/* dead index entries that a look for the next tombstone may walk over */
#define MAX_DEAD_ENTRIES	100

/* so many looks for the next tombstone are tried before it is judged whether they pay */
#define TRIED_LOOKS		8
#define WORTH_A_LOOK	4

/* most tombstones that are inserted together: about a page's */
#define MAX_INSERTED	100

struct EdwTombstones
{
	MemoryContext context;		/* of everything here */
	int32		mapping_id;
	bool		single;			/* looking for the next one does not pay */
	Relation	heap;
	Relation	index;
	Snapshot	snapshot;
	IndexScanDesc scan;
	TupleTableSlot *slot;
	bytea	   *key;			/* scratch */
	int			key_size;

	/* there are none from gap_from up to, not including, gap_to */
	bool		gap;
	bool		gap_endless;	/* gap_to is infinite */
	int			gap_looks;		/* how often one was looked for */
	int			gap_answers;	/* how many looks that saved */
	StringInfoData gap_from;
	StringInfoData gap_to;
	uint8		found[EDW_EPOCH_BYTES + EDW_POSITION_MAX];
};

static void
begin_scan(EdwTombstones *ts)
{
	ts->snapshot = RegisterSnapshot(GetLatestSnapshot());
	ts->scan = EdwIndexBeginScan(ts->heap, ts->index, ts->snapshot, 2);
}

static void
end_scan(EdwTombstones *ts)
{
	ExecClearTuple(ts->slot);
	index_endscan(ts->scan);
	UnregisterSnapshot(ts->snapshot);
	ts->scan = NULL;
}

EdwTombstones *
EdwTombstonesOpen(int32 mapping_id)
{
	EdwTombstones *ts = palloc0(sizeof(EdwTombstones));
	Oid			schema = get_namespace_oid(EDW_SCHEMA, false);

	ts->context = CurrentMemoryContext;
	ts->mapping_id = mapping_id;
	ts->heap = table_open(get_relname_relid("tombstone", schema), AccessShareLock);
	ts->index = index_open(get_relname_relid("tombstone_pkey", schema), AccessShareLock);
	ts->slot = table_slot_create(ts->heap, NULL);
	initStringInfo(&ts->gap_from);
	initStringInfo(&ts->gap_to);
	begin_scan(ts);
	return ts;
}

void
EdwTombstonesClose(EdwTombstones *ts)
{
	if (ts->scan)
		end_scan(ts);
	ExecDropSingleTupleTableSlot(ts->slot);
	index_close(ts->index, NoLock);
	table_close(ts->heap, NoLock);
}

static Datum
key_datum(EdwTombstones *ts, const uint8 *key, int len)
{
	if (ts->key == NULL || ts->key_size < len)
	{
		ts->key_size = Max(256, len * 2);
		ts->key = ts->key == NULL ? palloc(VARHDRSZ + ts->key_size)
			: repalloc(ts->key, VARHDRSZ + ts->key_size);
	}
	SET_VARSIZE(ts->key, VARHDRSZ + len);
	memcpy(VARDATA(ts->key), key, len);
	return PointerGetDatum(ts->key);
}

/* What byteacmp would say. */
static int
compare_keys(const void *a, int a_len, const void *b, int b_len)
{
	int			cmp = memcmp(a, b, Min(a_len, b_len));

	return cmp != 0 ? cmp : a_len - b_len;
}

static bool
in_gap(const EdwTombstones *ts, const uint8 *key, int len)
{
	return ts->gap && compare_keys(key, len, ts->gap_from.data, ts->gap_from.len) >= 0 &&
		(ts->gap_endless || compare_keys(key, len, ts->gap_to.data, ts->gap_to.len) < 0);
}

/* Is there a tombstone of this key (BTEqualStrategyNumber), or the next one, for the slot? */
static bool
look(EdwTombstones *ts, StrategyNumber strategy, const uint8 *key, int len)
{
	ScanKeyData keys[2];
	int			dead = 0;

	ScanKeyInit(&keys[0], ATT_MAPPING, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(ts->mapping_id));
	ScanKeyInit(&keys[1], ATT_KEY, strategy,
				strategy == BTEqualStrategyNumber ? F_BYTEAEQ : F_BYTEAGE, key_datum(ts, key, len));
	index_rescan(ts->scan, keys, 2, NULL, 0);
	while (index_getnext_tid(ts->scan, ForwardScanDirection) != NULL)
	{
		if (index_fetch_heap(ts->scan, ts->slot))
			return true;
		if (strategy != BTEqualStrategyNumber && ++dead > MAX_DEAD_ENTRIES)
		{
			ts->single = true;
			return look(ts, BTEqualStrategyNumber, key, len);
		}
	}
	return false;
}

static struct varlena *
slot_bytes(EdwTombstones *ts, AttrNumber attno)
{
	bool		isnull;

	return PG_DETOAST_DATUM_PACKED(slot_getattr(ts->slot, attno, &isnull));
}

/* Take note of what the slot, or its being empty, says about the keys from this one on. */
static void
note_gap(EdwTombstones *ts, const uint8 *key, int len, bool found)
{
	resetStringInfo(&ts->gap_from);
	appendBinaryStringInfo(&ts->gap_from, (const char *) key, len);
	ts->gap = true;
	ts->gap_endless = !found;
	if (found)
	{
		struct varlena *next = slot_bytes(ts, ATT_KEY);

		resetStringInfo(&ts->gap_to);
		appendBinaryStringInfo(&ts->gap_to, VARDATA_ANY(next), VARSIZE_ANY_EXHDR(next));
	}
}

/*
 * Find the tombstone of a key, and the next one if there is none. That costs the
 * index two or three times as much, so it must save other looks.
 */
static bool
find(EdwTombstones *ts, const uint8 *key, int len)
{
	bool		found;

	if (ts->gap_looks == TRIED_LOOKS && ts->gap_answers < TRIED_LOOKS * WORTH_A_LOOK)
		ts->single = true;
	if (ts->single)
		return look(ts, BTEqualStrategyNumber, key, len);
	ts->gap_looks++;
	found = look(ts, BTGreaterEqualStrategyNumber, key, len);
	if (ts->single)
		return found;
	note_gap(ts, key, len, found);
	return found && !in_gap(ts, key, len);
}

EdwPositionBytes
EdwTombstoneFind(EdwTombstones *ts, const uint8 *key, int key_len)
{
	EdwPositionBytes position = {NULL, 0};
	MemoryContext old;

	if (in_gap(ts, key, key_len))
	{
		ts->gap_answers++;
		return position;
	}

	/* the caller's context may be that of one row of MERGE; a scan keeps what it allocates */
	old = MemoryContextSwitchTo(ts->context);
	if (find(ts, key, key_len))
	{
		struct varlena *stored = slot_bytes(ts, ATT_POSITION);

		position.len = Min(VARSIZE_ANY_EXHDR(stored), sizeof(ts->found));
		position.bytes = memcpy(ts->found, VARDATA_ANY(stored), position.len);
	}
	MemoryContextSwitchTo(old);
	return position;
}

/*
 * Writing
 */

/* Those that are there already, or may be: the greater position stays. */
static void
upsert_graves(int32 mapping_id, EdwEntry **graves, int n)
{
	TupleDesc	desc = CreateTemplateTupleDesc(2);
	EdwStore	store;
	EdwCatalogAccess access;
	Oid			types[1] = {INT4OID};
	Datum		values[2] = {Int32GetDatum(mapping_id)};

	TupleDescInitEntry(desc, 1, "key", BYTEAOID, -1, 0);
	TupleDescInitEntry(desc, 2, "position", BYTEAOID, -1, 0);
	SPI_connect();
	EdwStoreBegin(&store, "edw_deleted", desc, n);
	for (int i = 0; i < n; i++)
	{
		Datum		row[2];
		bool		nulls[2] = {false, false};

		row[0] = EdwBytesDatum(graves[i]->key, graves[i]->key_len);
		row[1] = EdwBytesDatum(graves[i]->bury.bytes, graves[i]->bury.len);
		EdwStorePut(&store, row, nulls);
		pfree(DatumGetPointer(row[0]));
		pfree(DatumGetPointer(row[1]));
	}
	EdwCatalogBegin(&access);
	SPI_execute_with_args("INSERT INTO edw_stream.tombstone AS t (mapping_id, key, position)"
						  " SELECT $1, d.key, d.position FROM edw_deleted AS d"
						  " ON CONFLICT (mapping_id, key) DO UPDATE"
						  " SET position = excluded.position, deleted_at = excluded.deleted_at"
						  " WHERE t.position < excluded.position",
						  1, types, values, NULL, false, 0);
	EdwCatalogEnd(&access);
	EdwStoreEnd(&store);
	SPI_finish();
}

/* The table's indexes, and what it takes to write to them. */
typedef struct Indexes
{
	int			n;
	Relation   *relations;
	IndexInfo **infos;
} Indexes;

static void
open_indexes(Relation heap, Indexes *indexes)
{
	List	   *oids = RelationGetIndexList(heap);
	ListCell   *lc;

	indexes->n = 0;
	indexes->relations = palloc(list_length(oids) * sizeof(Relation));
	indexes->infos = palloc(list_length(oids) * sizeof(IndexInfo *));
	foreach(lc, oids)
	{
		indexes->relations[indexes->n] = index_open(lfirst_oid(lc), RowExclusiveLock);
		indexes->infos[indexes->n] = BuildIndexInfo(indexes->relations[indexes->n]);
		indexes->n++;
	}
}

static void
close_indexes(Indexes *indexes)
{
	for (int i = 0; i < indexes->n; i++)
	{
		EdwIndexInsertCleanup(indexes->relations[i], indexes->infos[i]);
		index_close(indexes->relations[i], NoLock);
	}
}

/*
 * Write a tombstone's index entries; false if its key has one already, which makes this one void. A
 * block's first row speaks for all of them to BRIN: they carry the same time.
 */
static bool
index_grave(Relation heap, Indexes *indexes, TupleTableSlot *slot, BlockNumber *last_block)
{
	bool		is_first = ItemPointerGetBlockNumber(&slot->tts_tid) != *last_block;
	bool		is_new = true;

	*last_block = ItemPointerGetBlockNumber(&slot->tts_tid);
	for (int i = 0; i < indexes->n; i++)
	{
		Relation	index = indexes->relations[i];
		bool		is_unique = index->rd_index->indisunique;
		Datum		values[INDEX_MAX_KEYS];
		bool		nulls[INDEX_MAX_KEYS];

		if (index->rd_rel->relam == BRIN_AM_OID && !is_first)
			continue;
		FormIndexDatum(indexes->infos[i], slot, NULL, values, nulls);
		if (!index_insert(index, values, nulls, &slot->tts_tid, heap,
						  is_unique ? UNIQUE_CHECK_PARTIAL : UNIQUE_CHECK_NO, false,
						  indexes->infos[i]) && is_unique)
			is_new = false;
	}
	return is_new;
}

/* Insert tombstones together; those whose key had one are taken back and returned in known. */
static int
insert_graves(Relation heap, Indexes *indexes, TupleTableSlot **slots, EdwEntry **graves, int n,
			  EdwEntry **known)
{
	BlockNumber last_block = InvalidBlockNumber;
	int			nknown = 0;

	table_multi_insert(heap, slots, n, GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; i < n; i++)
		if (!index_grave(heap, indexes, slots[i], &last_block))
			known[nknown++] = graves[i];
		else
			ItemPointerSetInvalid(&slots[i]->tts_tid);
	if (nknown == 0)
		return 0;
	CommandCounterIncrement();
	for (int i = 0; i < n; i++)
		if (ItemPointerIsValid(&slots[i]->tts_tid))
			simple_heap_delete(heap, &slots[i]->tts_tid);
	return nknown;
}

static void
fill_slot(EdwTombstones *ts, TupleTableSlot *slot, const EdwEntry *entry)
{
	ExecClearTuple(slot);
	memset(slot->tts_isnull, false, NATTS * sizeof(bool));
	slot->tts_values[ATT_MAPPING - 1] = Int32GetDatum(ts->mapping_id);
	slot->tts_values[ATT_KEY - 1] = EdwBytesDatum(entry->key, entry->key_len);
	slot->tts_values[ATT_POSITION - 1] = EdwBytesDatum(entry->bury.bytes, entry->bury.len);
	slot->tts_values[ATT_DELETED_AT - 1] =
		TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	ExecStoreVirtualTuple(slot);
}

/* Write graves as if there were none of their keys; returns in known those where that was wrong. */
static int
write_new_graves(EdwTombstones *ts, EdwEntry **graves, int n, EdwEntry **known)
{
	Relation	heap = table_open(RelationGetRelid(ts->heap), RowExclusiveLock);
	int			nslots = Min(n, MAX_INSERTED);
	TupleTableSlot **slots = palloc(nslots * sizeof(TupleTableSlot *));
	Indexes		indexes;
	int			nknown = 0;

	if (RelationGetNumberOfAttributes(heap) != NATTS)
		elog(ERROR, "edw_stream.tombstone does not have %d columns", NATTS);
	open_indexes(heap, &indexes);
	for (int i = 0; i < nslots; i++)
		slots[i] = MakeSingleTupleTableSlot(RelationGetDescr(heap), table_slot_callbacks(heap));
	for (int first = 0; first < n; first += nslots)
	{
		int			some = Min(nslots, n - first);

		for (int i = 0; i < some; i++)
			fill_slot(ts, slots[i], graves[first + i]);
		nknown += insert_graves(heap, &indexes, slots, graves + first, some, known + nknown);
	}
	for (int i = 0; i < nslots; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
	close_indexes(&indexes);
	table_close(heap, NoLock);
	CommandCounterIncrement();
	return nknown;
}

void
EdwTombstonesWrite(EdwTombstones *ts, EdwEntry **entries, int n)
{
	EdwEntry  **graves;
	int			ngraves = 0;

	for (int i = 0; i < n; i++)
		ngraves += entries[i]->bury.len > 0;
	if (EdwTombstoneRetentionS == 0 || ngraves == 0)
		return;
	graves = palloc_extended(ngraves * sizeof(EdwEntry *), MCXT_ALLOC_HUGE);
	ngraves = 0;
	for (int i = 0; i < n; i++)
		if (entries[i]->bury.len > 0)
			graves[ngraves++] = entries[i];

	ngraves = write_new_graves(ts, graves, ngraves, graves);
	if (ngraves > 0)
		upsert_graves(ts->mapping_id, graves, ngraves);
}

int64
EdwPruneForgotten(const char *sql, int64 limit)
{
	Oid			types[2] = {TIMESTAMPTZOID, INT8OID};
	Datum		values[2];

	values[0] = TimestampTzGetDatum(GetCurrentTimestamp() -
									(TimestampTz) EdwTombstoneRetentionS * USECS_PER_SEC);
	values[1] = Int64GetDatum(limit);
	return EdwCatalogExecute(sql, 2, types, values, NULL);
}

int64
EdwTombstonesPrune(int64 limit)
{
	return EdwPruneForgotten("DELETE FROM edw_stream.tombstone WHERE ctid = ANY (ARRAY("
							 "SELECT ctid FROM edw_stream.tombstone WHERE deleted_at < $1"
							 " LIMIT $2 FOR UPDATE SKIP LOCKED))", limit);
}
