/*
 * feed.c
 *		Rows of the caller's as a relation that a statement can read (see feed.h).
 *
 * To the parser it is an ephemeral named relation, as a trigger's transition table is. The planner
 * is given a custom scan for it, which hands out the caller's own values where a
 * tuplestore would want each row formed, stored and taken apart again.
 *
 * The planner is told of few rows whatever there are: it then probes the target's
 * index for each, where the true number would make it hash the whole target (see
 * README.md for what was measured).
 *
 * An UPDATE or DELETE that finds its rows by ctid and tableoid needs nothing of them: ModifyTable reads the row to be
 * changed by its ctid anyway. So the join of feed and target is a scan of the feed as well.
 *
 * When a row was changed by somebody else meanwhile, PostgreSQL evaluates the plan again for
 * that row (EvalPlanQual), and wants the feed's row of it from the junk column "whole row",
 * which it keeps for every relation that it cannot read again. That column is
 * only ever read here, so it holds the row's number in place of a copy of the row. A row that was found by its address
 * is another one then: there is nothing to evaluate.
 *
 * State: one pointer to the feed that is being read, restored by EdwFeedExecute. All memory is the
 * caller's or the executor's.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "apply/feed.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "nodes/extensible.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/restrictinfo.h"
#include "optimizer/tlist.h"

#define SCAN_NAME	"edw_feed"

#define PLANNED_ROWS	10

/* in place of a whole row; a varlena, for whoever copies it */
typedef struct RowNumber
{
	int32		vl_len_;
	int32		number;
} RowNumber;

typedef struct FeedState
{
	CustomScanState css;
	const EdwFeed *feed;
	void	   *scan;
	int			next;
	int			whole_column;	/* -1: it is not read */
	RowNumber	whole;
} FeedState;

static EdwFeed *current_feed = NULL;
static set_rel_pathlist_hook_type previous_rel_hook = NULL;
static set_join_pathlist_hook_type previous_join_hook = NULL;

void
EdwFeedBegin(EdwFeed *feed, char *name, TupleDesc desc, int nrows)
{
	memset(feed, 0, sizeof(EdwFeed));
	feed->nrows = nrows;
	feed->enr.md.name = name;
	feed->enr.md.tupdesc = desc;
	feed->enr.md.enrtype = ENR_NAMED_TUPLESTORE;
	feed->enr.md.enrtuples = PLANNED_ROWS;
}

uint64
EdwFeedExecute(EdwFeed *feed, const char *sql, int nargs, Oid *types, Datum *values)
{
	feed->outer = current_feed;
	current_feed = feed;
	SPI_register_relation(&feed->enr);
	PG_TRY();
	{
		SPI_execute_with_args(sql, nargs, types, values, NULL, false, 0);
	}
	PG_FINALLY();
	{
		current_feed = feed->outer;
	}
	PG_END_TRY();
	SPI_unregister_relation(feed->enr.md.name);
	return SPI_processed;
}

/*
 * Scanning
 */

static void
show_row(FeedState *state, int number, TupleTableSlot *slot)
{
	state->feed->show(state->scan, number, slot->tts_values, slot->tts_isnull);
	if (state->whole_column >= 0)
	{
		SET_VARSIZE(&state->whole, sizeof(RowNumber));
		state->whole.number = number;
		slot->tts_values[state->whole_column] = PointerGetDatum(&state->whole);
		slot->tts_isnull[state->whole_column] = false;
	}
	ExecStoreVirtualTuple(slot);
}

static TupleTableSlot *
next_row(ScanState *node)
{
	FeedState  *state = (FeedState *) node;
	TupleTableSlot *slot = node->ss_ScanTupleSlot;

	ExecClearTuple(slot);
	if (state->next < state->feed->nrows)
		show_row(state, state->next++, slot);
	return slot;
}

/* In place of a scan, when a row is looked at again: that row, once. */
static bool
recheck_row(ScanState *node, TupleTableSlot *slot)
{
	FeedState  *state = (FeedState *) node;
	EPQState   *epq = node->ps.state->es_epq_active;
	int			relid;
	ExecAuxRowMark *mark;
	Datum		whole;
	bool		isnull;
	int32		number;

	if (!bms_get_singleton_member(((CustomScan *) node->ps.plan)->custom_relids, &relid))
		return false;			/* found by its address */
	mark = epq->relsubs_rowmark[relid - 1];
	if (mark == NULL)
		elog(ERROR, "the feed has no row mark");
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
	FeedState  *state = (FeedState *) node;
	CustomScan *scan = (CustomScan *) node->ss.ps.plan;
	int			n = list_length(scan->custom_scan_tlist);
	AttrNumber *columns = palloc(Max(n, 1) * sizeof(AttrNumber));

	if (current_feed == NULL)
		elog(ERROR, "there is no feed to read");
	state->feed = current_feed;
	state->whole_column = -1;
	for (int i = 0; i < n; i++)
	{
		Var		   *var = castNode(Var, list_nth_node(TargetEntry, scan->custom_scan_tlist, i)->expr);

		columns[i] = var->varattno;
		if (var->varattno == SelfItemPointerAttributeNumber)
			columns[i] = current_feed->tid;
		else if (var->varattno == TableOidAttributeNumber)
			columns[i] = current_feed->tableoid;
		else if (var->varattno == InvalidAttrNumber)
			state->whole_column = i;
	}
	state->scan = current_feed->begin(current_feed, columns, n);
}

static void
end_scan(CustomScanState *node pg_attribute_unused())
{
}

static void
rescan(CustomScanState *node)
{
	((FeedState *) node)->next = 0;
	ExecScanReScan(&node->ss);
}

static const CustomExecMethods exec_methods = {
	.CustomName = SCAN_NAME,
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
	FeedState  *state = palloc0(sizeof(FeedState));

	NodeSetTag(state, T_CustomScanState);
	state->css.methods = &exec_methods;
	return (Node *) state;
}

static const CustomScanMethods scan_methods = {
	.CustomName = SCAN_NAME,
	.CreateCustomScanState = create_state
};

static Plan *
plan_scan(PlannerInfo *root pg_attribute_unused(), RelOptInfo *rel, CustomPath *path, List *tlist,
		  List *clauses, List *custom_plans pg_attribute_unused())
{
	CustomScan *scan = makeNode(CustomScan);

	scan->methods = &scan_methods;
	scan->flags = path->flags;
	scan->scan.plan.targetlist = tlist;

	/* a join is that by address, and the scan is its result */
	if (rel->reloptkind != RELOPT_JOINREL)
		scan->scan.plan.qual = extract_actual_clauses(clauses, false);

	/* just what the statement reads: then nothing is left to project */
	scan->custom_scan_tlist = add_to_flat_tlist(NIL, pull_var_clause((Node *) tlist, 0));
	scan->custom_scan_tlist = add_to_flat_tlist(scan->custom_scan_tlist,
												pull_var_clause((Node *) scan->scan.plan.qual, 0));
	return &scan->scan.plan;
}

static const CustomPathMethods path_methods = {
	.CustomName = SCAN_NAME,
	.PlanCustomPath = plan_scan
};

/* Transition tables, which may have any name, are of some table. */
static bool
is_feed(const RangeTblEntry *rte)
{
	return current_feed != NULL && rte->rtekind == RTE_NAMEDTUPLESTORE && !OidIsValid(rte->relid) &&
		strcmp(rte->enrname, current_feed->enr.md.name) == 0;
}

static CustomPath *
make_path(const Path *like)
{
	CustomPath *path = makeNode(CustomPath);

	path->path = *like;
	path->path.type = T_CustomPath;
	path->path.pathtype = T_CustomScan;
	path->methods = &path_methods;
	return path;
}

/* In place of the scan of a tuplestore that is not there. */
static void
set_rel_pathlist(PlannerInfo *root, RelOptInfo *rel, Index rti, RangeTblEntry *rte)
{
	if (previous_rel_hook)
		previous_rel_hook(root, rel, rti, rte);
	if (is_feed(rte))
		rel->pathlist = list_make1(make_path(linitial(rel->pathlist)));
}

/* Is the clause target.attno = feed.column? */
static bool
is_match(const RestrictInfo *info, Index target, AttrNumber attno, Index feed, AttrNumber column)
{
	const OpExpr *clause = (const OpExpr *) info->clause;
	const Var  *left;
	const Var  *right;

	if (!IsA(clause, OpExpr) || list_length(clause->args) != 2)
		return false;
	left = linitial(clause->args);
	right = lsecond(clause->args);
	return IsA(left, Var) && IsA(right, Var) && (Index) left->varno == target && left->varattno == attno &&
		(Index) right->varno == feed && right->varattno == column;
}

/* Is the join just that by address, and is nothing but that read of the target? */
static bool
is_join_by_address(PlannerInfo *root, RelOptInfo *joinrel, Index target, Index feed, List *clauses)
{
	const RangeTblEntry *rte = root->simple_rte_array[target];
	bool		by_tid = false;
	bool		by_table = false;
	ListCell   *lc;

	if ((root->parse->commandType != CMD_UPDATE && root->parse->commandType != CMD_DELETE) ||
		(int) target != root->parse->resultRelation || rte->relkind != RELKIND_RELATION || rte->inh ||
		root->simple_rel_array[target]->baserestrictinfo != NIL || list_length(clauses) != 2)
		return false;
	foreach(lc, clauses)
	{
		by_tid |= is_match(lfirst(lc), target, SelfItemPointerAttributeNumber, feed, current_feed->tid);
		by_table |= is_match(lfirst(lc), target, TableOidAttributeNumber, feed, current_feed->tableoid);
	}
	if (!by_tid || !by_table)
		return false;
	foreach(lc, joinrel->reltarget->exprs)
	{
		const Var  *var = lfirst(lc);

		if (!IsA(var, Var) || ((Index) var->varno == target && var->varattno != SelfItemPointerAttributeNumber &&
							   var->varattno != TableOidAttributeNumber))
			return false;
	}
	return true;
}

/* In place of a join that looks for each row by its address. */
static void
set_join_pathlist(PlannerInfo *root, RelOptInfo *joinrel, RelOptInfo *outer, RelOptInfo *inner,
				  JoinType type, JoinPathExtraData *extra)
{
	CustomPath *path;

	if (previous_join_hook)
		previous_join_hook(root, joinrel, outer, inner, type, extra);
	if (type != JOIN_INNER || current_feed == NULL || current_feed->tid == 0 ||
		outer->reloptkind != RELOPT_BASEREL || inner->reloptkind != RELOPT_BASEREL ||
		!is_feed(root->simple_rte_array[outer->relid]) ||
		!is_join_by_address(root, joinrel, inner->relid, outer->relid, extra->restrictlist))
		return;
	path = make_path(linitial(outer->pathlist));
	path->path.parent = joinrel;
	path->path.pathtarget = joinrel->reltarget;
	path->path.rows = joinrel->rows;
	joinrel->pathlist = list_make1(path);
	joinrel->partial_pathlist = NIL;
}

void
EdwFeedInit(void)
{
	RegisterCustomScanMethods(&scan_methods);
	previous_rel_hook = set_rel_pathlist_hook;
	set_rel_pathlist_hook = set_rel_pathlist;
	previous_join_hook = set_join_pathlist_hook;
	set_join_pathlist_hook = set_join_pathlist;
}
