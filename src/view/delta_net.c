/*
 * delta_net.c
 *		Captured rows without those that cancel each other out (see delta_net.h).
 *
 * Rows are captured with the columns that any view reads, and once for every statement. A dimension's row
 * whose update does not concern this view would otherwise be joined to all its facts, twice. Rows are
 * told apart by their bytes. It is worth it only while they fit into work_mem; beyond that all
 * captured rows are taken, which comes to the same sums.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "common/hashfn.h"
#include "compat.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/tuplestore.h"
#include "view/capture.h"
#include "view/delta_net.h"
#include "view/execute.h"

typedef struct NetRow
{
	MinimalTuple tuple;			/* without the sign */
	uint32		hash;
	char		status;
	int64		weight;
} NetRow;

static uint32
hash_tuple(MinimalTuple tuple)
{
	return hash_bytes((unsigned char *) tuple, tuple->t_len);
}

#define SH_PREFIX netrows
#define SH_ELEMENT_TYPE NetRow
#define SH_KEY_TYPE MinimalTuple
#define SH_KEY tuple
#define SH_STORE_HASH
#define SH_GET_HASH(table, entry) ((entry)->hash)
#define SH_HASH_KEY(table, key) hash_tuple(key)
#define SH_EQUAL(table, a, b) ((a)->t_len == (b)->t_len && memcmp((a), (b), (a)->t_len) == 0)
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* The columns of a relation that the view reads, through whichever of its occurrences. */
static Bitmapset *
columns_read(const EdwDelta *delta, Oid relid)
{
	Bitmapset  *columns = NULL;
	ListCell   *lc;

	foreach(lc, delta->join.rels)
		if (lfirst_node(RangeTblEntry, lc)->relid == relid)
			columns = bms_add_members(columns, delta->columns[foreach_current_index(lc) + 1]);
	return columns;
}

/* Add up the signs of rows that are the same; NULL: they do not fit. */
static struct netrows_hash *
add_up(Tuplestorestate *store, TupleDesc desc, const Bitmapset *columns)
{
	struct netrows_hash *rows = netrows_create(CurrentMemoryContext, 1024, NULL);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	bool	   *nulls = palloc_array(bool, desc->natts);
	bool		fits = true;

	tuplestore_select_read_pointer(store, 0);
	tuplestore_rescan(store);
	while (fits && tuplestore_gettupleslot(store, true, false, slot))
	{
		MinimalTuple tuple;
		NetRow	   *row;
		bool		found;

		slot_getallattrs(slot);
		for (int i = 0; i < desc->natts; i++)
			nulls[i] = slot->tts_isnull[i] || !bms_is_member(i + 1, columns);
		tuple = EdwFormMinimalTuple(desc, slot->tts_values, nulls);
		row = netrows_insert(rows, tuple, &found);
		if (!found)
			row->weight = 0;
		row->weight += DatumGetInt16(slot->tts_values[desc->natts - 1]);
		if (found)
			heap_free_minimal_tuple(tuple);
		fits = MemoryContextMemAllocated(CurrentMemoryContext, true) < work_mem * (Size) 1024;
	}
	ExecDropSingleTupleTableSlot(slot);
	return fits ? rows : NULL;
}

/* What is left of them, into the current context. */
static Tuplestorestate *
remaining(struct netrows_hash *rows, TupleDesc desc)
{
	Tuplestorestate *store = tuplestore_begin_heap(true, false, work_mem);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	netrows_iterator iterator;
	NetRow	   *row;

	netrows_start_iterate(rows, &iterator);
	while ((row = netrows_iterate(rows, &iterator)) != NULL)
	{
		ExecStoreMinimalTuple(row->tuple, slot, false);
		slot_getallattrs(slot);
		slot->tts_values[desc->natts - 1] = Int16GetDatum(row->weight < 0 ? -1 : 1);
		slot->tts_isnull[desc->natts - 1] = false;
		for (int64 n = row->weight; n != 0; n += n < 0 ? 1 : -1)
			tuplestore_putvalues(store, desc, slot->tts_values, slot->tts_isnull);
	}
	ExecDropSingleTupleTableSlot(slot);
	return store;
}

static void
reduce(const EdwDelta *delta, Oid relid, EphemeralNamedRelation enr)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "edw_stream net change",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	struct netrows_hash *rows = add_up(enr->reldata, enr->md.tupdesc, columns_read(delta, relid));

	MemoryContextSwitchTo(old);
	if (rows != NULL)
	{
		enr->reldata = remaining(rows, enr->md.tupdesc);
		enr->md.enrtuples = tuplestore_tuple_count(enr->reldata);
	}
	MemoryContextDelete(context);
}

QueryEnvironment *
EdwDeltaNetChange(const EdwDelta *delta, List **changed, double *told)
{
	QueryEnvironment *environment = EdwCaptureEnvironment(*changed);
	List	   *remain = NIL;
	bool		all = false;
	ListCell   *lc;

	*told = 0;
	foreach(lc, *changed)
	{
		Oid			relid = lfirst_oid(lc);
		const EdwCaptured *captured = EdwCaptureFind(relid);
		EphemeralNamedRelation enr = get_ENR(environment, EdwCaptureEnrName(relid));

		if (captured->old_rows > 0 && captured->new_rows > 0)
			reduce(delta, relid, enr);
		if (enr->md.enrtuples > 0)
		{
			double		one = EdwViewToldRows(relid, enr->md.enrtuples);

			*told = Max(*told, one);
			all |= one == 0;
			remain = lappend_oid(remain, relid);
		}
	}
	if (all)
		*told = 0;
	*changed = remain;
	return environment;
}
