/*
 * delta_stored.c
 *		Stored rows of a materialized view by their groups (see delta_stored.h).
 *
 * Straight through an index, without a plan: the cost is that of a few pages per group, however large
 * the view is. Columns that the index lacks are compared, and nulls are searched like values.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/nbtree.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/tableam.h"
#include "catalog/pg_am.h"
#include "compat.h"
#include "utils/lsyscache.h"
#include "view/delta_stored.h"
#include "view/image.h"

struct EdwDeltaStored
{
	MemoryContext context;		/* of everything here: a scan keeps what it allocates */
	const EdwDelta *delta;
	Relation	view;
	Relation	index;
	IndexScanDesc scan;
	TupleTableSlot *slot;
	int			nkeys;
	int		   *group;			/* by key: the group */
	ScanKeyData *keys;
};

static int
group_of_column(const EdwDelta *delta, AttrNumber column)
{
	for (int g = 0; g < delta->ngroups; g++)
		if (delta->groups[g].column == column)
			return g;
	return -1;
}

/* How an index looks up column i; InvalidOid: not by equality. */
static Oid
equality_of(Relation index, int i)
{
	Oid			type = index->rd_opcintype[i];
	Oid			equal = get_opfamily_member(index->rd_opfamily[i], type, type, BTEqualStrategyNumber);

	return OidIsValid(equal) ? get_opcode(equal) : InvalidOid;
}

/* So many of an index's first columns are groups. */
static int
usable_columns(const EdwDelta *delta, Relation index)
{
	Form_pg_index form = index->rd_index;
	int			n = 0;

	if (index->rd_rel->relam != BTREE_AM_OID || !form->indisvalid || !form->indisready ||
		!form->indislive || RelationGetIndexPredicate(index) != NIL)
		return 0;
	while (n < form->indnkeyatts && group_of_column(delta, form->indkey.values[n]) >= 0 &&
		   OidIsValid(equality_of(index, n)))
		n++;
	return n;
}

Oid
EdwDeltaIndex(const EdwDelta *delta, Relation view)
{
	List	   *indexes = RelationGetIndexList(view);
	Oid			best = InvalidOid;
	int			most = 0;
	ListCell   *lc;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		int			n = usable_columns(delta, index);

		if (n > most)
		{
			most = n;
			best = lfirst_oid(lc);
		}
		index_close(index, NoLock);
	}
	list_free(indexes);
	return best;
}

EdwDeltaStored *
EdwDeltaStoredOpen(const EdwDelta *delta, Relation view, Oid index, Snapshot snapshot)
{
	EdwDeltaStored *stored = palloc0(sizeof(EdwDeltaStored));

	stored->context = CurrentMemoryContext;
	stored->delta = delta;
	stored->view = view;
	stored->index = index_open(index, AccessShareLock);
	stored->nkeys = usable_columns(delta, stored->index);
	stored->group = palloc_array(int, stored->nkeys);
	stored->keys = palloc0_array(ScanKeyData, stored->nkeys);
	for (int i = 0; i < stored->nkeys; i++)
	{
		stored->group[i] = group_of_column(delta, stored->index->rd_index->indkey.values[i]);
		ScanKeyEntryInitialize(&stored->keys[i], 0, i + 1, BTEqualStrategyNumber, InvalidOid,
							   stored->index->rd_indcollation[i], equality_of(stored->index, i),
							   (Datum) 0);
	}
	stored->slot = table_slot_create(view, NULL);
	stored->scan = EdwIndexBeginScan(view, stored->index, snapshot, stored->nkeys);
	return stored;
}

static bool
is_of_group(const EdwDeltaStored *stored, const NullableDatum *groups)
{
	for (int g = 0; g < stored->delta->ngroups; g++)
	{
		AttrNumber	column = stored->delta->groups[g].column;
		bool		isnull;
		Datum		value = slot_getattr(stored->slot, column, &isnull);

		if (!EdwImageEqual(value, isnull, groups[g].value, groups[g].isnull,
						   TupleDescAttr(RelationGetDescr(stored->view), column - 1)))
			return false;
	}
	return true;
}

TupleTableSlot *
EdwDeltaStoredFind(EdwDeltaStored *stored, const NullableDatum *groups)
{
	MemoryContext old = MemoryContextSwitchTo(stored->context);
	bool		found;

	for (int i = 0; i < stored->nkeys; i++)
	{
		const NullableDatum *value = &groups[stored->group[i]];

		stored->keys[i].sk_argument = value->isnull ? (Datum) 0 : value->value;
		stored->keys[i].sk_flags = value->isnull ? SK_ISNULL | SK_SEARCHNULL : 0;
	}
	index_rescan(stored->scan, stored->keys, stored->nkeys, NULL, 0);
	do
		found = index_getnext_slot(stored->scan, ForwardScanDirection, stored->slot);
	while (found && !is_of_group(stored, groups));
	MemoryContextSwitchTo(old);
	return found ? stored->slot : NULL;
}

void
EdwDeltaStoredClose(EdwDeltaStored *stored)
{
	ExecDropSingleTupleTableSlot(stored->slot);
	index_endscan(stored->scan);
	index_close(stored->index, NoLock);
}
