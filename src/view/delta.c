/*
 * delta.c
 *		Captured changes applied to the groups of a view (see delta.h, delta_plan.h).
 *
 * First the change of all groups is computed, then each group's stored row is looked up and
 * written anew. Groups of which the change does not tell what they are now are gathered
 * and computed from the base tables, just these. The caller holds the view's lock (flush.h), so
 * that what is stored is what the base tables were before this transaction and nothing else.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "compat.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "view/capture.h"
#include "view/definition.h"
#include "view/delta_group.h"
#include "view/delta_net.h"
#include "view/delta_query.h"
#include "view/delta_state.h"
#include "view/delta_stored.h"
#include "view/execute.h"
#include "view/image.h"
#include "view/refresh.h"
#include "view/writer.h"

/* groups to be computed from the base tables whose null columns are the same */
typedef struct Wanted
{
	Bitmapset  *nulls;
	Tuplestorestate *groups;
	int64		count;
} Wanted;

typedef struct Applying
{
	const EdwViewDef *def;
	const EdwDelta *delta;
	EdwViewCounts *counts;
	MemoryContext group_context;	/* reset for each group */
	Relation	view;
	EdwDeltaStored *stored;
	EdwDeltaState *state;		/* NULL: the view shows all */
	EdwViewWriter *writer;
	EdwDeltaArithmetic *arithmetic;
	TupleTableSlot *row;		/* the view's new row */
	NullableDatum *groups;		/* of the group at hand */
	NullableDatum *before;
	NullableDatum *after;
	TupleDesc	wanted_desc;
	List	   *wanted;			/* Wanted * */
	int64		impossible;
} Applying;

/*
 * Queries run below with the view's owner as the current user, over the tables that plain views read
 * and no longer over these: check what the view's own query needs, those views too.
 */
static bool
check_permissions(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		EdwCheckPermissions((Query *) node);
		return query_tree_walker((Query *) node, check_permissions, context, 0);
	}
	return expression_tree_walker(node, check_permissions, context);
}

/* Relations of the join of which rows are captured; false: of one, everything may differ. */
static bool
find_changed(const EdwDelta *delta, List **changed)
{
	ListCell   *lc;

	*changed = NIL;
	foreach(lc, delta->join.rels)
	{
		Oid			relid = lfirst_node(RangeTblEntry, lc)->relid;
		const EdwCaptured *captured = EdwCaptureFind(relid);

		if (captured == NULL)
			continue;
		if (captured->all)
			return false;
		*changed = list_append_unique_oid(*changed, relid);
	}
	return true;
}

static void
begin(Applying *a, const EdwViewDef *def, Relation view, Oid index, EdwViewCounts *counts)
{
	memset(a, 0, sizeof(Applying));
	a->def = def;
	a->delta = def->delta;
	a->counts = counts;
	a->view = view;
	a->group_context = AllocSetContextCreate(CurrentMemoryContext, "edw_stream group",
											 ALLOCSET_DEFAULT_SIZES);
	a->stored = EdwDeltaStoredOpen(a->delta, view, index, GetActiveSnapshot());
	if (a->delta->nstates > 0)
		a->state = EdwDeltaStateOpen(a->delta, GetActiveSnapshot());
	a->writer = EdwViewWriterOpen(view, GetActiveSnapshot());
	a->arithmetic = EdwDeltaArithmeticCreate(a->delta);
	a->row = MakeSingleTupleTableSlot(RelationGetDescr(view), &TTSOpsVirtual);
	a->groups = palloc_array(NullableDatum, a->delta->ngroups);
	a->before = palloc_array(NullableDatum, a->delta->nitems);
	a->after = palloc_array(NullableDatum, a->delta->nitems);
	a->wanted_desc = EdwDeltaWantedDesc(a->delta);
}

static void
end(Applying *a)
{
	ExecDropSingleTupleTableSlot(a->row);
	EdwDeltaArithmeticFree(a->arithmetic);
	EdwDeltaStoredClose(a->stored);
	if (a->state)
		EdwDeltaStateClose(a->state);
	EdwViewWriterClose(a->writer);
}

/* The group at hand is to be computed from the base tables. */
static void
want(Applying *a)
{
	int			ngroups = a->delta->ngroups;
	Datum	   *values = palloc_array(Datum, ngroups);
	bool	   *nulls = palloc_array(bool, ngroups);
	Bitmapset  *which = NULL;
	Wanted	   *wanted = NULL;
	ListCell   *lc;

	for (int g = 0; g < ngroups; g++)
	{
		values[g] = a->groups[g].value;
		nulls[g] = a->groups[g].isnull;
		if (nulls[g])
			which = bms_add_member(which, g);
	}
	foreach(lc, a->wanted)
		if (bms_equal(((Wanted *) lfirst(lc))->nulls, which))
			wanted = lfirst(lc);
	if (wanted == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(MemoryContextGetParent(a->group_context));

		wanted = palloc0(sizeof(Wanted));
		wanted->nulls = bms_copy(which);
		wanted->groups = tuplestore_begin_heap(true, false, work_mem);
		a->wanted = lappend(a->wanted, wanted);
		MemoryContextSwitchTo(old);
	}
	tuplestore_putvalues(wanted->groups, a->wanted_desc, values, nulls);
	wanted->count++;
}

static bool
rows_equal(TupleTableSlot *stored, TupleTableSlot *row)
{
	TupleDesc	desc = row->tts_tupleDescriptor;

	slot_getallattrs(stored);
	for (int i = 0; i < desc->natts; i++)
		if (!EdwImageEqual(stored->tts_values[i], stored->tts_isnull[i], row->tts_values[i],
						   row->tts_isnull[i], TupleDescAttr(desc, i)))
			return false;
	return true;
}

/* The group's row becomes what its items say; stored NULL: it has none yet. */
static void
write_group(Applying *a, TupleTableSlot *stored)
{
	bool		exists = DatumGetInt64(a->after[0].value) > 0;

	if (exists)
		EdwDeltaRow(a->arithmetic, a->groups, a->after, a->row);
	if (stored && exists && !rows_equal(stored, a->row))
	{
		EdwViewWriterUpdate(a->writer, &stored->tts_tid, stored, a->row);
		a->counts->updated++;
	}
	else if (stored && !exists)
	{
		EdwViewWriterDelete(a->writer, &stored->tts_tid, stored);
		a->counts->deleted++;
	}
	else if (!stored && exists)
	{
		EdwViewWriterInsert(a->writer, a->row);
		a->counts->inserted++;
	}
	if (a->state && exists)
		EdwDeltaStatePut(a->state, a->after);
	else if (a->state)
		EdwDeltaStateDelete(a->state);
}

/*
 * Rows left a group that is not stored, and some remain: it came into being and was changed again in this
 * transaction, or its row is missing.
 */
static bool
lost(const Applying *a, TupleTableSlot *change)
{
	int			left = EDW_DELTA_LEFT(a->delta, 0);

	return DatumGetInt64(change->tts_values[left]) > 0 && DatumGetInt64(a->after[0].value) > 0;
}

/* One row of the change query, or of groups computed from the base tables (scratch). */
static void
apply_group(Applying *a, TupleTableSlot *change, bool scratch)
{
	const EdwDelta *delta = a->delta;
	EdwDeltaOutcome outcome = EDW_DELTA_KNOWN;
	TupleTableSlot *stored;

	slot_getallattrs(change);
	for (int g = 0; g < delta->ngroups; g++)
	{
		a->groups[g].value = change->tts_values[g];
		a->groups[g].isnull = change->tts_isnull[g];
	}
	stored = EdwDeltaStoredFind(a->stored, a->groups);
	a->counts->compared++;
	if (a->state && !EdwDeltaStateFind(a->state, a->groups, a->before) && stored)
		outcome = EDW_DELTA_UNKNOWN;
	if (stored == NULL || scratch)
		EdwDeltaNothing(delta, a->before);
	else if (outcome == EDW_DELTA_KNOWN)
		EdwDeltaShown(delta, stored, a->before);
	if (outcome == EDW_DELTA_KNOWN || scratch)
		outcome = EdwDeltaAfter(a->arithmetic, a->before, change, a->after);
	if (outcome == EDW_DELTA_KNOWN && stored == NULL && lost(a, change))
		outcome = EDW_DELTA_UNKNOWN;
	if (outcome == EDW_DELTA_KNOWN)
		write_group(a, stored);
	else
		want(a);
	if (outcome == EDW_DELTA_IMPOSSIBLE)
		a->impossible++;
}

static void
apply_rows(Applying *a, Query *query, QueryEnvironment *environment, double told, bool scratch)
{
	TupleDesc	desc;
	Tuplestorestate *changes = EdwViewRunToStore(query, environment, GetActiveSnapshot(), told,
												 &desc);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	MemoryContext old = MemoryContextSwitchTo(a->group_context);

	while (tuplestore_gettupleslot(changes, true, false, slot))
	{
		CHECK_FOR_INTERRUPTS();
		apply_group(a, slot, scratch);
		MemoryContextReset(a->group_context);
	}
	MemoryContextSwitchTo(old);
	ExecDropSingleTupleTableSlot(slot);
	tuplestore_end(changes);
}

static void
apply_changes(Applying *a, List *changed)
{
	double		told;
	QueryEnvironment *environment = EdwDeltaNetChange(a->delta, &changed, &told);
	int64		groups = a->counts->compared;

	if (changed == NIL)
		return;
	apply_rows(a, EdwDeltaChangeQuery(a->delta, changed), environment, told, false);
	groups = a->counts->compared - groups;
	a->counts->affected += groups;
	a->counts->refreshed += groups;
}

/* Groups of which the change did not tell what they are. */
static void
apply_wanted(Applying *a)
{
	List	   *all = a->wanted;
	ListCell   *lc;

	a->wanted = NIL;
	foreach(lc, all)
	{
		Wanted	   *wanted = lfirst(lc);
		QueryEnvironment *environment = create_queryEnv();
		EphemeralNamedRelation enr = palloc0(sizeof(EphemeralNamedRelationData));

		enr->md.name = EDW_DELTA_WANTED;
		enr->md.enrtype = ENR_NAMED_TUPLESTORE;
		enr->md.tupdesc = a->wanted_desc;
		enr->md.enrtuples = wanted->count;
		enr->reldata = wanted->groups;
		register_ENR(environment, enr);
		apply_rows(a, EdwDeltaWantedQuery(a->delta, wanted->nulls), environment, 0, true);
		tuplestore_end(wanted->groups);
	}
	if (a->wanted != NIL)
		elog(ERROR, "groups of view %s cannot be computed", a->def->name);
	if (a->impossible > 0)
		ereport(WARNING,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("stored groups of view %s did not agree with what changed", a->def->name),
				 errdetail_plural("%lld group was computed anew.", "%lld groups were computed anew.",
								  (unsigned long) a->impossible, (long long) a->impossible),
				 errhint("Is a function that the view calls marked IMMUTABLE although its result changes? "
						 "SELECT edw_stream.refresh_view('%s') checks all groups.", a->def->name)));
}

bool
EdwDeltaApply(const EdwViewDef *def, Snapshot snapshot, EdwViewCounts *counts)
{
	MemoryContext context;
	MemoryContext old;
	Relation	view;
	Oid			index;
	List	   *changed;

	if (list_member_oid(EdwCaptureViews(), def->relid) || !find_changed(def->delta, &changed))
		return false;
	if (changed == NIL)
		return true;
	view = table_open(def->relid, NoLock);
	index = EdwDeltaIndex(def->delta, view);
	if (OidIsValid(index))
	{
		Applying	a;

		context = AllocSetContextCreate(CurrentMemoryContext, "edw_stream delta",
										ALLOCSET_DEFAULT_SIZES);
		old = MemoryContextSwitchTo(context);
		(void) check_permissions((Node *) def->query, NULL);
		if (def->delta->nstates == 0)
			EdwDeltaStateClear(def->relid, snapshot);
		PushCopiedSnapshot(snapshot);
		UpdateActiveSnapshotCommandId();
		begin(&a, def, view, index, counts);
		apply_changes(&a, changed);
		apply_wanted(&a);
		end(&a);
		PopActiveSnapshot();
		MemoryContextSwitchTo(old);
		MemoryContextDelete(context);
	}
	table_close(view, NoLock);
	return OidIsValid(index);
}

/*
 * Side state
 */

/* Write the state of groups as they are in the base tables. */
static void
rebuild_state(const EdwViewDef *def, List *const *keys)
{
	const EdwDelta *delta = def->delta;
	EdwDeltaState *state = EdwDeltaStateOpen(delta, GetActiveSnapshot());
	EdwDeltaArithmetic *arithmetic = EdwDeltaArithmeticCreate(delta);
	NullableDatum *groups = palloc_array(NullableDatum, delta->ngroups);
	NullableDatum *before = palloc_array(NullableDatum, delta->nitems);
	NullableDatum *after = palloc_array(NullableDatum, delta->nitems);
	TupleDesc	desc;
	Tuplestorestate *rows = EdwViewRunToStore(EdwDeltaGroupsQuery(delta, def->nkeys, def->keys, keys),
											  NULL, GetActiveSnapshot(), 0, &desc);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	MemoryContext group_context = AllocSetContextCreate(CurrentMemoryContext, "edw_stream group",
														ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(group_context);

	while (tuplestore_gettupleslot(rows, true, false, slot))
	{
		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(slot);
		for (int g = 0; g < delta->ngroups; g++)
		{
			groups[g].value = slot->tts_values[g];
			groups[g].isnull = slot->tts_isnull[g];
		}
		(void) EdwDeltaStateFind(state, groups, before);
		EdwDeltaNothing(delta, before);
		(void) EdwDeltaAfter(arithmetic, before, slot, after);
		EdwDeltaStatePut(state, after);
		MemoryContextReset(group_context);
	}
	MemoryContextSwitchTo(old);
	ExecDropSingleTupleTableSlot(slot);
	tuplestore_end(rows);
	EdwDeltaArithmeticFree(arithmetic);
	EdwDeltaStateClose(state);
}

void
EdwDeltaRebuild(const EdwViewDef *def, List *const *keys, Snapshot snapshot)
{
	bool		needed = def->delta != NULL && def->delta->nstates > 0;

	PushCopiedSnapshot(snapshot);
	UpdateActiveSnapshotCommandId();
	if (keys == NULL || !needed)
		EdwDeltaStateClear(def->relid, GetActiveSnapshot());
	PopActiveSnapshot();
	if (needed)
	{
		MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "edw_stream delta",
													  ALLOCSET_DEFAULT_SIZES);
		MemoryContext old = MemoryContextSwitchTo(context);

		CommandCounterIncrement();
		PushCopiedSnapshot(snapshot);
		UpdateActiveSnapshotCommandId();
		rebuild_state(def, keys);
		PopActiveSnapshot();
		MemoryContextSwitchTo(old);
		MemoryContextDelete(context);
	}
	CommandCounterIncrement();
}

bool
EdwDeltaRefreshedWrong(const EdwViewDef *def)
{
	List	   *changed;

	if (def->delta == NULL)
		return false;
	return def->delta->nstates > 0 || !find_changed(def->delta, &changed) || changed != NIL;
}

Query *
EdwDeltaExplain(const EdwViewDef *def, Oid relid)
{
	return EdwDeltaChangeQuery(def->delta, list_make1_oid(relid));
}

int
EdwDeltaKept(const EdwViewDef *def)
{
	return def->delta->nstates;
}
