/*
 * refresh.c
 *		Partitions computed anew and compared with what is stored (see refresh.h).
 *
 * Both sides are sorted by a hash of what identifies a row and then merged: of the grouping columns, if
 * there are any, or those of a unique index, so that what changed is updated where it is; else of the whole
 * row. Two rows that meet with one hash and differ are an update, whether they have one key or, with a
 * probability of 2^-64, a
 * collision: the view holds the right rows either way. Rows that do not meet are inserts and deletes. Duplicates
 * pair off one by one, as in a multiset. So a merge needs one row of each side at a time, however many there are.
 */
#include "postgres.h"

#include "view/refresh.h"

#include "access/table.h"
#include "catalog/pg_operator_d.h"
#include "catalog/pg_type_d.h"
#include "common/pg_prng.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplesort.h"
#include "view/delta.h"
#include "view/execute.h"
#include "view/image.h"
#include "view/writer.h"

/* so many partitions in one query: planning time grows with them, and a scan may serve them all */
#define KEYS_PER_QUERY	10000

/* columns of sorted rows before the view's */
#define SORTED_HASH		0
#define SORTED_TID		1
#define SORTED_FIRST	2

/* the rows of one side */
typedef struct Side
{
	DestReceiver receiver;		/* first: a pointer to it points to the side */
	struct Comparison *comparison;
	int			tid_columns;	/* 1: rows begin with their ctid */
	Tuplesortstate *sort;
	TupleTableSlot *sorted;		/* the row at hand, hash and ctid before it */
	TupleTableSlot *row;		/* the same, as the view has it */
	bool		done;
} Side;

typedef struct Comparison
{
	const EdwViewDef *def;
	Relation	view;
	TupleDesc	desc;			/* the view's */
	TupleDesc	sorted_desc;
	bool	   *identifies;		/* per column: does it identify a row? */
	bool		nulls_differ;	/* … not if it is null */
	uint64		seed;
	EdwViewWriter *writer;
	EdwViewCounts *counts;
	Side		computed;
	Side		stored;
} Comparison;

static uint64
hash_row(const Comparison *comparison, const Datum *values, const bool *nulls)
{
	uint64		hash = comparison->seed;
	bool		whole = false;

	for (int i = 0; comparison->nulls_differ && i < comparison->desc->natts; i++)
		whole |= comparison->identifies[i] && nulls[i];
	for (int i = 0; i < comparison->desc->natts; i++)
		if (whole || comparison->identifies[i])
			hash = EdwImageHash(values[i], nulls[i], TupleDescAttr(comparison->desc, i), hash);
	return hash;
}

/* A row of a query into the sort. */
static bool
receive_row(TupleTableSlot *slot, DestReceiver *receiver)
{
	Side	   *side = (Side *) receiver;
	const Comparison *comparison = side->comparison;
	TupleTableSlot *sorted = side->sorted;
	int			natts = comparison->desc->natts;

	slot_getallattrs(slot);
	ExecClearTuple(sorted);
	memcpy(sorted->tts_values + SORTED_FIRST, slot->tts_values + side->tid_columns,
		   natts * sizeof(Datum));
	memcpy(sorted->tts_isnull + SORTED_FIRST, slot->tts_isnull + side->tid_columns,
		   natts * sizeof(bool));
	sorted->tts_values[SORTED_HASH] =
		Int64GetDatum((int64) hash_row(comparison, sorted->tts_values + SORTED_FIRST,
									   sorted->tts_isnull + SORTED_FIRST));
	sorted->tts_isnull[SORTED_HASH] = false;
	sorted->tts_values[SORTED_TID] = slot->tts_values[0];
	sorted->tts_isnull[SORTED_TID] = side->tid_columns == 0;
	ExecStoreVirtualTuple(sorted);
	tuplesort_puttupleslot(side->sort, sorted);
	return true;
}

static void
start_receiving(DestReceiver *receiver, int operation, TupleDesc desc)
{
	Side	   *side = (Side *) receiver;
	int			natts = side->comparison->desc->natts + side->tid_columns;

	(void) operation;
	if (desc->natts != natts)
		elog(ERROR, "query for rows of a view has %d columns, not %d", desc->natts, natts);
}

static void
stop_receiving(DestReceiver *receiver)
{
	(void) receiver;
}

/* The shape of sorted rows: hash, ctid, the view's columns. */
static TupleDesc
sorted_shape(TupleDesc desc)
{
	TupleDesc	shape = CreateTemplateTupleDesc(desc->natts + SORTED_FIRST);

	TupleDescInitEntry(shape, SORTED_HASH + 1, NULL, INT8OID, -1, 0);
	TupleDescInitEntry(shape, SORTED_TID + 1, NULL, TIDOID, -1, 0);
	for (int i = 0; i < desc->natts; i++)
		TupleDescCopyEntry(shape, SORTED_FIRST + i + 1, desc, i + 1);
	return shape;
}

static void
side_begin(Comparison *comparison, Side *side, int tid_columns)
{
	AttrNumber	column = SORTED_HASH + 1;
	Oid			less = Int8LessOperator;
	Oid			collation = InvalidOid;
	bool		nulls_first = false;

	memset(side, 0, sizeof(Side));
	side->receiver.receiveSlot = receive_row;
	side->receiver.rStartup = start_receiving;
	side->receiver.rShutdown = stop_receiving;
	side->receiver.rDestroy = stop_receiving;
	side->receiver.mydest = DestNone;
	side->comparison = comparison;
	side->tid_columns = tid_columns;
	side->sort = tuplesort_begin_heap(comparison->sorted_desc, 1, &column, &less, &collation,
									  &nulls_first, Max(work_mem / 2, 64), NULL, TUPLESORT_NONE);
	side->sorted = MakeSingleTupleTableSlot(comparison->sorted_desc, &TTSOpsVirtual);
	side->row = MakeSingleTupleTableSlot(comparison->desc, &TTSOpsVirtual);
}

/* All rows are in: now they are read in order. */
static void
side_sort(Side *side)
{
	tuplesort_performsort(side->sort);
	ExecDropSingleTupleTableSlot(side->sorted);
	side->sorted = MakeSingleTupleTableSlot(side->comparison->sorted_desc, &TTSOpsMinimalTuple);
}

/* Go to the next row; the last one's memory goes. */
static void
side_next(Side *side)
{
	int			natts = side->comparison->desc->natts;

	ExecClearTuple(side->row);
	side->done = !tuplesort_gettupleslot(side->sort, true, false, side->sorted, NULL);
	if (side->done)
		return;
	slot_getallattrs(side->sorted);
	memcpy(side->row->tts_values, side->sorted->tts_values + SORTED_FIRST, natts * sizeof(Datum));
	memcpy(side->row->tts_isnull, side->sorted->tts_isnull + SORTED_FIRST, natts * sizeof(bool));
	ExecStoreVirtualTuple(side->row);
}

static void
side_end(Side *side)
{
	ExecDropSingleTupleTableSlot(side->row);
	ExecDropSingleTupleTableSlot(side->sorted);
	tuplesort_end(side->sort);
}

static int64
side_hash(const Side *side)
{
	return DatumGetInt64(side->sorted->tts_values[SORTED_HASH]);
}

static ItemPointer
side_tid(const Side *side)
{
	return (ItemPointer) DatumGetPointer(side->sorted->tts_values[SORTED_TID]);
}

static bool
rows_equal(const Comparison *comparison)
{
	const TupleTableSlot *a = comparison->computed.row;
	const TupleTableSlot *b = comparison->stored.row;

	for (int i = 0; i < comparison->desc->natts; i++)
		if (!EdwImageEqual(a->tts_values[i], a->tts_isnull[i], b->tts_values[i], b->tts_isnull[i],
						   TupleDescAttr(comparison->desc, i)))
			return false;
	return true;
}

/* Both sides are at their first row: write where they differ. */
static void
merge(Comparison *comparison)
{
	Side	   *computed = &comparison->computed;
	Side	   *stored = &comparison->stored;
	EdwViewCounts *counts = comparison->counts;

	while (!computed->done || !stored->done)
	{
		CHECK_FOR_INTERRUPTS();
		counts->compared++;
		if (stored->done || (!computed->done && side_hash(computed) < side_hash(stored)))
		{
			EdwViewWriterInsert(comparison->writer, computed->row);
			counts->inserted++;
			side_next(computed);
		}
		else if (computed->done || side_hash(stored) < side_hash(computed))
		{
			EdwViewWriterDelete(comparison->writer, side_tid(stored), stored->row);
			counts->deleted++;
			side_next(stored);
		}
		else
		{
			if (!rows_equal(comparison))
			{
				EdwViewWriterUpdate(comparison->writer, side_tid(stored), stored->row, computed->row);
				counts->updated++;
			}
			side_next(computed);
			side_next(stored);
		}
	}
}

/* keys: NULL, or few enough for one query */
static void
refresh_some(Comparison *comparison, List *const *keys, Snapshot snapshot)
{
	const EdwViewDef *def = comparison->def;

	side_begin(comparison, &comparison->computed, 0);
	(void) EdwViewRun(EdwViewQueryForKeys(def, keys), NULL, snapshot, 0,
					  &comparison->computed.receiver);
	side_begin(comparison, &comparison->stored, 1);
	(void) EdwViewRun(EdwViewStoredForKeys(def, keys), NULL, snapshot, 0,
					  &comparison->stored.receiver);
	side_sort(&comparison->computed);
	side_sort(&comparison->stored);
	side_next(&comparison->computed);
	side_next(&comparison->stored);
	merge(comparison);
	side_end(&comparison->computed);
	side_end(&comparison->stored);
}

static void
refresh_chunks(Comparison *comparison, List *const *keys, Snapshot snapshot)
{
	int			nkeys = comparison->def->nkeys;
	int			total = list_length(keys[0]);
	List	  **chunk = palloc(nkeys * sizeof(List *));

	for (int from = 0; from < total; from += KEYS_PER_QUERY)
	{
		for (int i = 0; i < nkeys; i++)
		{
			List	   *rest = list_copy_tail(keys[i], from);

			chunk[i] = list_truncate(rest, KEYS_PER_QUERY);
		}
		refresh_some(comparison, chunk, snapshot);
	}
}

/* What do rows of the two sides have in common that belong together? */
static void
find_identity(Comparison *comparison)
{
	const EdwViewDef *def = comparison->def;
	const Bitmapset *row_key = EdwViewWriterRowKey(comparison->writer);
	int			natts = comparison->desc->natts;

	comparison->identifies = palloc0(natts * sizeof(bool));
	comparison->nulls_differ = def->ngroups == 0 && row_key != NULL;
	for (int i = 0; i < def->ngroups; i++)
		comparison->identifies[def->groups[i] - 1] = true;
	for (int i = 0; def->ngroups == 0 && i < natts; i++)
		comparison->identifies[i] = row_key == NULL || bms_is_member(i + 1, row_key);
}

static void
comparison_begin(Comparison *comparison, const EdwViewDef *def, Relation view, Snapshot snapshot,
				 EdwViewCounts *counts)
{
	memset(comparison, 0, sizeof(Comparison));
	comparison->def = def;
	comparison->view = view;
	comparison->desc = RelationGetDescr(view);
	comparison->sorted_desc = sorted_shape(comparison->desc);
	comparison->seed = pg_prng_uint64(&pg_global_prng_state);
	comparison->writer = EdwViewWriterOpen(view, snapshot);
	find_identity(comparison);
	comparison->counts = counts;
}

void
EdwViewRefreshKeys(const EdwViewDef *def, List *const *keys, Snapshot snapshot,
				   EdwViewCounts *counts)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "edw_stream view refresh",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Relation	view = table_open(def->relid, NoLock);
	Comparison	comparison;

	PushActiveSnapshot(snapshot);	/* for values out of line */
	comparison_begin(&comparison, def, view, snapshot, counts);
	if (keys == NULL)
		refresh_some(&comparison, NULL, snapshot);
	else
		refresh_chunks(&comparison, keys, snapshot);
	counts->refreshed += keys == NULL ? 1 : list_length(keys[0]);
	/* one writer for all: a row may leave one chunk and come to another */
	EdwViewWriterClose(comparison.writer);
	PopActiveSnapshot();
	table_close(view, NoLock);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}
