/*
 * rows.c
 *		A batch's rows as a relation that a statement can read (see rows.h).
 *
 * To the parser it is an ephemeral named relation, as a trigger's transition table is. The planner
 * is given a custom scan for it, which hands out the batch's own values where a
 * tuplestore would want each row formed, stored and taken apart again.
 *
 * The planner is told of few rows whatever the batch holds: it then probes the target's
 * index for each, where the true number would make it hash the whole target (see
 * README.md for what was measured).
 *
 * When a row was changed by somebody else meanwhile, PostgreSQL evaluates the join again for
 * that row (EvalPlanQual), and wants the batch's row of it from the junk column "whole row",
 * which it keeps for every relation that it cannot read again. That column is
 * only ever read here, so it holds the row's number in place of a copy of the row.
 *
 * State: one pointer to the rows that are being read, restored by EdwRowsLeave. All memory is the
 * caller's or the executor's.
 */
#include "postgres.h"

#include "apply/rows.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "nodes/extensible.h"
#include "optimizer/optimizer.h"
#include "optimizer/paths.h"
#include "optimizer/restrictinfo.h"
#include "optimizer/tlist.h"
#include "utils/typcache.h"

#define PLANNED_ROWS	10

/* how far ahead of the row at hand memory is asked for */
#define PREFETCH_ROWS	12
#define PREFETCH_BYTES	384

/* what a column of the scan shows, when it is none of the target's */
enum
{
	SHOW_WHOLE = -1,
	SHOW_ROW = -2,
	SHOW_OP = -3,
	SHOW_SEQ = -4,
	SHOW_DELETED = -5
};

typedef struct Shown
{
	int			what;			/* one of the above, or an index into the target's columns */
	bool		keep;			/* of that column: does the row leave it as it is? */
} Shown;

/* in place of a whole row; a varlena, for whoever copies it */
typedef struct RowNumber
{
	int32		vl_len_;
	int32		number;
} RowNumber;

typedef struct RowsState
{
	CustomScanState css;
	const EdwRows *rows;
	int			next;
	int			nshown;
	Shown	   *shown;
	int			npointers;		/* columns whose values are elsewhere */
	int		   *pointers;
	RowNumber	whole;			/* of the row at hand, as seq is */
	bytea	   *seq;
} RowsState;

static EdwRows *current_rows = NULL;
static set_rel_pathlist_hook_type previous_hook = NULL;

/*
 * The relation
 */

static TupleDesc
row_type(const EdwShape *shape)
{
	const EdwTarget *target = shape->target;
	TupleDesc	desc;
	int			natts = target->deleted_attnum != 0 ? 4 : 3;

	for (int i = 0; i < target->ncolumns; i++)
		natts += shape->written[i] + shape->kept[i];
	desc = CreateTemplateTupleDesc(natts);
	TupleDescInitEntry(desc, 1, EDW_BATCH_ROW, INT4OID, -1, 0);
	TupleDescInitEntry(desc, 2, EDW_BATCH_OP, CHAROID, -1, 0);
	TupleDescInitEntry(desc, 3, EDW_BATCH_SEQ, BYTEAOID, -1, 0);
	natts = 3;
	if (target->deleted_attnum != 0)
		TupleDescInitEntry(desc, ++natts, EDW_BATCH_DELETED, BOOLOID, -1, 0);
	for (int i = 0; i < target->ncolumns; i++)
	{
		const EdwTargetColumn *column = &target->columns[i];

		if (!shape->written[i])
			continue;
		TupleDescInitEntry(desc, ++natts, column->name, column->type, column->typmod, 0);
		TupleDescInitEntryCollation(desc, natts, column->collation);
	}
	for (int i = 0; i < target->ncolumns; i++)
	{
		char		name[NAMEDATALEN];

		if (!shape->kept[i])
			continue;
		snprintf(name, sizeof(name), EDW_BATCH_KEEP "%d", i);
		TupleDescInitEntry(desc, ++natts, name, BOOLOID, -1, 0);
	}
	return desc;
}

/* What the relation's column attno is: row_type's counterpart. */
static Shown
shown_by(const EdwShape *shape, int attno)
{
	const EdwTarget *target = shape->target;
	int			n = 3;

	if (attno == 0)
		return (Shown) {SHOW_WHOLE, false};
	if (attno <= 3)
		return (Shown) {attno == 1 ? SHOW_ROW : attno == 2 ? SHOW_OP : SHOW_SEQ, false};
	if (target->deleted_attnum != 0 && attno == ++n)
		return (Shown) {SHOW_DELETED, false};
	for (int i = 0; i < target->ncolumns; i++)
		if (shape->written[i] && attno == ++n)
			return (Shown) {i, false};
	for (int i = 0; i < target->ncolumns; i++)
		if (shape->kept[i] && attno == ++n)
			return (Shown) {i, true};
	elog(ERROR, "the batch has no column %d", attno);
}

void
EdwRowsEnter(EdwRows *rows, const EdwShape *shape, EdwFoldChange **changes, int nrows)
{
	memset(rows, 0, sizeof(EdwRows));
	rows->shape = shape;
	rows->changes = changes;
	rows->nrows = nrows;
	rows->enr.md.name = EDW_BATCH_RELATION;
	rows->enr.md.tupdesc = row_type(shape);
	rows->enr.md.enrtype = ENR_NAMED_TUPLESTORE;
	rows->enr.md.enrtuples = PLANNED_ROWS;
	rows->outer = current_rows;
	current_rows = rows;
}

void
EdwRowsLeave(EdwRows *rows)
{
	current_rows = rows->outer;
}

void
EdwRowsBounds(const EdwTarget *target, EdwFoldChange **changes, int nrows, Oid **types, Datum **values)
{
	*types = palloc(Max(2 * target->nbounds, 1) * sizeof(Oid));
	*values = palloc(Max(2 * target->nbounds, 1) * sizeof(Datum));
	for (int b = 0; b < target->nbounds; b++)
	{
		const EdwTargetColumn *column = &target->columns[target->bounds[b]];
		TypeCacheEntry *entry = lookup_type_cache(column->type, TYPECACHE_CMP_PROC_FINFO);
		Datum	   *least = &(*values)[2 * b];
		Datum	   *greatest = &(*values)[2 * b + 1];

		(*types)[2 * b] = (*types)[2 * b + 1] = column->type;
		*least = *greatest = changes[0]->values[target->bounds[b]];
		for (int r = 1; r < nrows; r++)
		{
			Datum		value = changes[r]->values[target->bounds[b]];

			if (DatumGetInt32(FunctionCall2Coll(&entry->cmp_proc_finfo, column->collation, value, *least)) < 0)
				*least = value;
			if (DatumGetInt32(FunctionCall2Coll(&entry->cmp_proc_finfo, column->collation, value, *greatest)) > 0)
				*greatest = value;
		}
	}
}

/*
 * Scanning
 */

static inline Datum
whole_datum(RowsState *state, int number)
{
	SET_VARSIZE(&state->whole, sizeof(RowNumber));
	state->whole.number = number;
	return PointerGetDatum(&state->whole);
}

static inline Datum
seq_datum(RowsState *state, EdwPositionBytes position)
{
	SET_VARSIZE(state->seq, VARHDRSZ + position.len);
	memcpy(VARDATA(state->seq), position.bytes, position.len);
	return PointerGetDatum(state->seq);
}

static void
show_row(RowsState *state, int number, TupleTableSlot *slot)
{
	const EdwFoldChange *c = state->rows->changes[number];

	for (int i = 0; i < state->nshown; i++)
	{
		int			what = state->shown[i].what;
		Datum	   *value = &slot->tts_values[i];
		bool	   *isnull = &slot->tts_isnull[i];

		*isnull = false;
		if (what >= 0 && state->shown[i].keep)
			*value = BoolGetDatum(c->presence[what] != EDW_PRESENT);
		else if (what >= 0)
		{
			*value = c->values[what];
			*isnull = c->presence[what] != EDW_PRESENT || c->nulls[what];
		}
		else if (what == SHOW_ROW)
			*value = Int32GetDatum(number);
		else if (what == SHOW_OP)
			*value = CharGetDatum(c->op);
		else if (what == SHOW_DELETED)
			*value = BoolGetDatum(c->deleted);
		else if (what == SHOW_WHOLE)
			*value = whole_datum(state, number);
		else
		{
			*value = seq_datum(state, c->position);
			*isnull = c->position.len == 0;
		}
	}
	ExecStoreVirtualTuple(slot);
}

/*
 * Rows stand in the order of their keys, so they are all over the batch's memory; but an entry, its
 * key, values and position were mostly made one after another (fold.c). What the values
 * point at is asked for when they are there. Inlined always: gcc takes a function that does
 * nothing else for one that does nothing.
 */
static pg_attribute_always_inline void
prefetch(const RowsState *state, int next)
{
	EdwFoldChange **changes = state->rows->changes;
	const char *entry;

	if (next + PREFETCH_ROWS >= state->rows->nrows)
		return;
	entry = (const char *) changes[next + PREFETCH_ROWS];
	for (int i = 0; i < PREFETCH_BYTES; i += 64)
		__builtin_prefetch(entry + i);
	for (int i = 0; i < state->npointers; i++)
		__builtin_prefetch(DatumGetPointer(changes[next + PREFETCH_ROWS / 2]->values[state->pointers[i]]));
}

static TupleTableSlot *
next_row(ScanState *node)
{
	RowsState  *state = (RowsState *) node;
	TupleTableSlot *slot = node->ss_ScanTupleSlot;

	ExecClearTuple(slot);
	if (state->next >= state->rows->nrows)
		return slot;
	prefetch(state, state->next);
	show_row(state, state->next++, slot);
	return slot;
}

/* In place of a scan, when a row is looked at again: that row, once. */
static bool
recheck_row(ScanState *node, TupleTableSlot *slot)
{
	RowsState  *state = (RowsState *) node;
	EPQState   *epq = node->ps.state->es_epq_active;
	int			relid = bms_singleton_member(((CustomScan *) node->ps.plan)->custom_relids);
	ExecAuxRowMark *mark = epq->relsubs_rowmark[relid - 1];
	Datum		whole;
	bool		isnull;
	int32		number;

	if (mark == NULL)
		elog(ERROR, "the batch has no row mark");
	whole = ExecGetJunkAttribute(epq->origslot, mark->wholeAttNo, &isnull);
	if (isnull || state->next > 0)
		return false;
	memcpy(&number, VARDATA_ANY(DatumGetPointer(whole)), sizeof(number));
	state->next++;
	ExecClearTuple(slot);
	show_row(state, number, slot);
	return true;
}

static TupleTableSlot *
exec_scan(CustomScanState *node)
{
	return ExecScan(&node->ss, next_row, recheck_row);
}

static void
begin_scan(CustomScanState *node, EState *estate pg_attribute_unused(),
		   int eflags pg_attribute_unused())
{
	RowsState  *state = (RowsState *) node;
	CustomScan *scan = (CustomScan *) node->ss.ps.plan;
	ListCell   *lc;

	if (current_rows == NULL)
		elog(ERROR, "there is no batch to read");
	state->rows = current_rows;
	state->shown = palloc(list_length(scan->custom_scan_tlist) * sizeof(Shown));
	state->pointers = palloc(list_length(scan->custom_scan_tlist) * sizeof(int));
	foreach(lc, scan->custom_scan_tlist)
	{
		Var		   *var = castNode(Var, lfirst_node(TargetEntry, lc)->expr);
		Shown		shown = shown_by(current_rows->shape, var->varattno);

		state->shown[state->nshown++] = shown;
		if (shown.what >= 0 && !shown.keep && !current_rows->shape->target->columns[shown.what].typbyval)
			state->pointers[state->npointers++] = shown.what;
	}
	state->seq = palloc(VARHDRSZ + EDW_EPOCH_BYTES + EDW_POSITION_MAX);
}

static void
end_scan(CustomScanState *node pg_attribute_unused())
{
}

static void
rescan(CustomScanState *node)
{
	((RowsState *) node)->next = 0;
	ExecScanReScan(&node->ss);
}

static const CustomExecMethods exec_methods = {
	.CustomName = EDW_BATCH_RELATION,
	.BeginCustomScan = begin_scan,
	.ExecCustomScan = exec_scan,
	.EndCustomScan = end_scan,
	.ReScanCustomScan = rescan
};

/*
 * Planning
 */

static Node *
create_state(CustomScan *scan pg_attribute_unused())
{
	RowsState  *state = palloc0(sizeof(RowsState));

	NodeSetTag(state, T_CustomScanState);
	state->css.methods = &exec_methods;
	return (Node *) state;
}

static const CustomScanMethods scan_methods = {
	.CustomName = EDW_BATCH_RELATION,
	.CreateCustomScanState = create_state
};

static Plan *
plan_scan(PlannerInfo *root pg_attribute_unused(), RelOptInfo *rel pg_attribute_unused(),
		  CustomPath *path, List *tlist, List *clauses, List *custom_plans pg_attribute_unused())
{
	CustomScan *scan = makeNode(CustomScan);

	scan->methods = &scan_methods;
	scan->flags = path->flags;
	scan->scan.plan.targetlist = tlist;
	scan->scan.plan.qual = extract_actual_clauses(clauses, false);

	/* just what the statement reads: then nothing is left to project */
	scan->custom_scan_tlist = add_to_flat_tlist(NIL, pull_var_clause((Node *) tlist, 0));
	scan->custom_scan_tlist = add_to_flat_tlist(scan->custom_scan_tlist,
												pull_var_clause((Node *) scan->scan.plan.qual, 0));
	return &scan->scan.plan;
}

static const CustomPathMethods path_methods = {
	.CustomName = EDW_BATCH_RELATION,
	.PlanCustomPath = plan_scan
};

/* In place of the scan of a tuplestore that is not there. */
static void
set_pathlist(PlannerInfo *root, RelOptInfo *rel, Index rti, RangeTblEntry *rte)
{
	CustomPath *path;

	if (previous_hook)
		previous_hook(root, rel, rti, rte);

	/* transition tables, which may have any name, are of some table */
	if (rte->rtekind != RTE_NAMEDTUPLESTORE || OidIsValid(rte->relid) ||
		strcmp(rte->enrname, EDW_BATCH_RELATION) != 0)
		return;
	path = makeNode(CustomPath);
	path->path = *(Path *) linitial(rel->pathlist);
	path->path.type = T_CustomPath;
	path->path.pathtype = T_CustomScan;
	path->methods = &path_methods;
	rel->pathlist = list_make1(path);
}

void
EdwRowsInit(void)
{
	RegisterCustomScanMethods(&scan_methods);
	previous_hook = set_rel_pathlist_hook;
	set_rel_pathlist_hook = set_pathlist;
}
