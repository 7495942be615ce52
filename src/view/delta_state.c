/*
 * delta_state.c
 *		edw_stream.view_group (see delta_state.h).
 *
 * Read and written below the executor, whoever the current user is. All writers hold the
 * lock of the view (flush.h), so that rows never conflict.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "edw_stream.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "view/delta_state.h"

#define ATT_VIEW	1
#define ATT_KEY		2
#define ATT_STATE	3
#define NATTS		3

struct EdwDeltaState
{
	MemoryContext context;		/* of everything here: a scan keeps what it allocates */
	const EdwDelta *delta;
	Relation	heap;
	Relation	index;
	CatalogIndexState indexes;
	IndexScanDesc scan;
	TupleTableSlot *slot;
	StringInfoData key;			/* of the group that was looked for, as bytea */
	bool		found;			/* the slot holds its row */
	Datum	   *elements;		/* scratch */
};

static Relation
open_table(void)
{
	return table_open(get_relname_relid("view_group", get_namespace_oid(EDW_SCHEMA, false)),
					  RowExclusiveLock);
}

static Relation
open_index(void)
{
	return index_open(get_relname_relid("view_group_pkey", get_namespace_oid(EDW_SCHEMA, false)),
					  AccessShareLock);
}

EdwDeltaState *
EdwDeltaStateOpen(const EdwDelta *delta, Snapshot snapshot)
{
	EdwDeltaState *state = palloc0(sizeof(EdwDeltaState));

	state->context = CurrentMemoryContext;
	state->delta = delta;
	state->heap = open_table();
	state->index = open_index();
	state->indexes = CatalogOpenIndexes(state->heap);
	state->slot = table_slot_create(state->heap, NULL);
	state->scan = EdwIndexBeginScan(state->heap, state->index, snapshot, 2);
	state->elements = palloc_array(Datum, delta->nstates + 1);
	initStringInfo(&state->key);
	return state;
}

void
EdwDeltaStateClose(EdwDeltaState *state)
{
	ExecDropSingleTupleTableSlot(state->slot);
	index_endscan(state->scan);
	index_close(state->index, NoLock);
	CatalogCloseIndexes(state->indexes);
	table_close(state->heap, NoLock);
}

/* Nulls are marked by a byte before each column. */
static void
set_key(EdwDeltaState *state, const NullableDatum *groups)
{
	resetStringInfo(&state->key);
	appendStringInfoSpaces(&state->key, VARHDRSZ);
	for (int g = 0; g < state->delta->ngroups; g++)
	{
		appendStringInfoChar(&state->key, groups[g].isnull ? '\0' : '\1');
		if (!groups[g].isnull)
			EdwKeyAppend(&state->key, state->delta->groups[g].key_kind, groups[g].value);
	}
	SET_VARSIZE(state->key.data, state->key.len);
}

/* Take the items out of a stored array; false: it holds something else. */
static bool
read_elements(EdwDeltaState *state, Datum stored, NullableDatum *items)
{
	const EdwDelta *delta = state->delta;
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(stored), NUMERICOID, -1, false, TYPALIGN_INT, &elements,
					  &nulls, &n);
	if (n != delta->nstates + 1)
		return false;
	for (int i = 0; i < n; i++)
		if (nulls[i])
			return false;
	if (!DatumGetBool(DirectFunctionCall2(numeric_eq, elements[0],
										  NumericGetDatum(int64_to_numeric(delta->signature)))))
		return false;
	for (int i = 0; i < delta->nitems; i++)
	{
		const EdwDeltaItem *item = &delta->items[i];

		if (item->state < 0)
			continue;
		items[i].isnull = false;
		items[i].value = elements[item->state + 1];
		if (item->kind == EDW_ITEM_COUNT)
			items[i].value = DirectFunctionCall1(numeric_int8, items[i].value);
	}
	return true;
}

bool
EdwDeltaStateFind(EdwDeltaState *state, const NullableDatum *groups, NullableDatum *items)
{
	MemoryContext old;
	ScanKeyData keys[2];
	bool		isnull;

	set_key(state, groups);
	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(state->delta->view));
	ScanKeyInit(&keys[1], 2, BTEqualStrategyNumber, F_BYTEAEQ, PointerGetDatum(state->key.data));
	old = MemoryContextSwitchTo(state->context);
	index_rescan(state->scan, keys, 2, NULL, 0);
	state->found = index_getnext_slot(state->scan, ForwardScanDirection, state->slot);
	MemoryContextSwitchTo(old);
	return state->found &&
		read_elements(state, slot_getattr(state->slot, ATT_STATE, &isnull), items);
}

void
EdwDeltaStatePut(EdwDeltaState *state, const NullableDatum *items)
{
	const EdwDelta *delta = state->delta;
	Datum		values[NATTS];
	bool		nulls[NATTS] = {false};
	HeapTuple	tuple;

	state->elements[0] = NumericGetDatum(int64_to_numeric(delta->signature));
	for (int i = 0; i < delta->nitems; i++)
	{
		const EdwDeltaItem *item = &delta->items[i];

		if (item->state >= 0)
			state->elements[item->state + 1] = item->kind != EDW_ITEM_COUNT ? items[i].value
				: NumericGetDatum(int64_to_numeric(DatumGetInt64(items[i].value)));
	}
	values[ATT_VIEW - 1] = ObjectIdGetDatum(delta->view);
	values[ATT_KEY - 1] = PointerGetDatum(state->key.data);
	values[ATT_STATE - 1] = PointerGetDatum(construct_array(state->elements, delta->nstates + 1,
															NUMERICOID, -1, false, TYPALIGN_INT));
	tuple = heap_form_tuple(RelationGetDescr(state->heap), values, nulls);
	if (state->found)
		CatalogTupleUpdateWithInfo(state->heap, &state->slot->tts_tid, tuple, state->indexes);
	else
		CatalogTupleInsertWithInfo(state->heap, tuple, state->indexes);
	heap_freetuple(tuple);
}

void
EdwDeltaStateDelete(EdwDeltaState *state)
{
	if (state->found)
		CatalogTupleDelete(state->heap, &state->slot->tts_tid);
}

void
EdwDeltaStateClear(Oid view, Snapshot snapshot)
{
	Relation	heap = open_table();
	Relation	index = open_index();
	TupleTableSlot *slot = table_slot_create(heap, NULL);
	IndexScanDesc scan = EdwIndexBeginScan(heap, index, snapshot, 1);
	ScanKeyData key;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(view));
	index_rescan(scan, &key, 1, NULL, 0);
	while (index_getnext_slot(scan, ForwardScanDirection, slot))
		CatalogTupleDelete(heap, &slot->tts_tid);
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	index_close(index, NoLock);
	table_close(heap, NoLock);
}
