/*
 * tombstone.c
 *		Tombstones of deleted rows (rule O8; see tombstone.h).
 *
 * Within the caller's transaction. Reading needs no rights of the current user; writing goes
 * through EdwCatalogBegin. Rows are written in key order, so that two workers of one target
 * wait for each other and never deadlock. A greater position stays.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "apply/apply.h"
#include "apply/tombstone.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "catalog/stream.h"
#include "edw_stream.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#define ATT_MAPPING		1
#define ATT_KEY			2
#define ATT_POSITION	3

struct EdwTombstones
{
	MemoryContext context;		/* of everything here */
	int32		mapping_id;
	bool		alone;
	bool		none;			/* there are none at all */
	Relation	heap;
	Relation	index;
	Snapshot	snapshot;
	IndexScanDesc scan;
	TupleTableSlot *slot;
	bytea	   *key;			/* scratch */
	int			key_size;
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

static bool
has_any(EdwTombstones *ts)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	IndexScanDesc scan = EdwIndexBeginScan(ts->heap, ts->index, snapshot, 1);
	ScanKeyData key;
	bool		found;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(ts->mapping_id));
	index_rescan(scan, &key, 1, NULL, 0);
	found = index_getnext_slot(scan, ForwardScanDirection, ts->slot);
	ExecClearTuple(ts->slot);
	index_endscan(scan);
	UnregisterSnapshot(snapshot);
	return found;
}

EdwTombstones *
EdwTombstonesOpen(int32 mapping_id, bool alone)
{
	EdwTombstones *ts = palloc0(sizeof(EdwTombstones));
	Oid			schema = get_namespace_oid(EDW_SCHEMA, false);

	ts->context = CurrentMemoryContext;
	ts->mapping_id = mapping_id;
	ts->alone = alone;
	ts->heap = table_open(get_relname_relid("tombstone", schema), AccessShareLock);
	ts->index = index_open(get_relname_relid("tombstone_pkey", schema), AccessShareLock);
	ts->slot = table_slot_create(ts->heap, NULL);
	ts->none = alone && !has_any(ts);
	if (alone && !ts->none)
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

EdwPositionBytes
EdwTombstoneFind(EdwTombstones *ts, const uint8 *key, int key_len)
{
	EdwPositionBytes position = {NULL, 0};
	ScanKeyData keys[2];
	MemoryContext old;

	if (ts->none)
		return position;

	/* the caller's context may be that of one row of MERGE; a scan keeps what it allocates */
	old = MemoryContextSwitchTo(ts->context);
	if (!ts->alone)
		begin_scan(ts);
	ScanKeyInit(&keys[0], ATT_MAPPING, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(ts->mapping_id));
	ScanKeyInit(&keys[1], ATT_KEY, BTEqualStrategyNumber, F_BYTEAEQ, key_datum(ts, key, key_len));
	index_rescan(ts->scan, keys, 2, NULL, 0);
	if (index_getnext_slot(ts->scan, ForwardScanDirection, ts->slot))
	{
		bool		isnull;
		struct varlena *stored =
		PG_DETOAST_DATUM_PACKED(slot_getattr(ts->slot, ATT_POSITION, &isnull));

		position.len = Min(VARSIZE_ANY_EXHDR(stored), sizeof(ts->found));
		position.bytes = memcpy(ts->found, VARDATA_ANY(stored), position.len);
	}
	if (!ts->alone)
		end_scan(ts);
	MemoryContextSwitchTo(old);
	return position;
}

/*
 * Writing
 */

static Datum
bytes_datum(const uint8 *bytes, int len)
{
	bytea	   *result = palloc(VARHDRSZ + len);

	SET_VARSIZE(result, VARHDRSZ + len);
	memcpy(VARDATA(result), bytes, len);
	return PointerGetDatum(result);
}

static Tuplestorestate *
store_graves(TupleDesc desc, EdwEntry **entries, int n)
{
	Tuplestorestate *store = tuplestore_begin_heap(false, false, work_mem);

	for (int i = 0; i < n; i++)
	{
		EdwEntry   *entry = entries[i];
		Datum		values[2];
		bool		nulls[2] = {false, false};

		if (entry->bury.len == 0)
			continue;
		values[0] = bytes_datum(entry->key, entry->key_len);
		values[1] = bytes_datum(entry->bury.bytes, entry->bury.len);
		tuplestore_putvalues(store, desc, values, nulls);
		pfree(DatumGetPointer(values[0]));
		pfree(DatumGetPointer(values[1]));
	}
	return store;
}

void
EdwTombstonesWrite(int32 mapping_id, EdwEntry **entries, int n)
{
	EphemeralNamedRelationData enr = {0};
	TupleDesc	desc = CreateTemplateTupleDesc(2);
	EdwCatalogAccess access;
	Oid			types[1] = {INT4OID};
	Datum		values[1] = {Int32GetDatum(mapping_id)};

	if (EdwTombstoneRetentionS == 0)
		return;
	TupleDescInitEntry(desc, 1, "key", BYTEAOID, -1, 0);
	TupleDescInitEntry(desc, 2, "position", BYTEAOID, -1, 0);
	enr.md.name = "edw_deleted";
	enr.md.tupdesc = desc;
	enr.md.enrtype = ENR_NAMED_TUPLESTORE;
	enr.md.enrtuples = n;
	enr.reldata = store_graves(desc, entries, n);
	if (tuplestore_tuple_count(enr.reldata) > 0)
	{
		SPI_connect();
		EdwCatalogBegin(&access);
		SPI_register_relation(&enr);
		SPI_execute_with_args("INSERT INTO edw_stream.tombstone AS t (mapping_id, key, position)"
							  " SELECT $1, d.key, d.position FROM edw_deleted AS d"
							  " ON CONFLICT (mapping_id, key) DO UPDATE"
							  " SET position = excluded.position, deleted_at = excluded.deleted_at"
							  " WHERE t.position < excluded.position",
							  1, types, values, NULL, false, 0);
		EdwCatalogEnd(&access);
		SPI_finish();
	}
	tuplestore_end(enr.reldata);
}

int64
EdwTombstonesPrune(int64 limit)
{
	EdwCatalogAccess access;
	Oid			types[2] = {TIMESTAMPTZOID, INT8OID};
	Datum		values[2];
	int64		pruned;

	values[0] = TimestampTzGetDatum(GetCurrentTimestamp() -
									(TimestampTz) EdwTombstoneRetentionS * USECS_PER_SEC);
	values[1] = Int64GetDatum(limit);
	SPI_connect();
	EdwCatalogBegin(&access);
	SPI_execute_with_args("DELETE FROM edw_stream.tombstone WHERE ctid = ANY (ARRAY("
						  "SELECT ctid FROM edw_stream.tombstone WHERE deleted_at < $1"
						  " LIMIT $2 FOR UPDATE SKIP LOCKED))",
						  2, types, values, NULL, false, 0);
	pruned = SPI_processed;
	EdwCatalogEnd(&access);
	SPI_finish();
	return pruned;
}
