/*
 * feed_plan.c
 *		How the planner comes to read feeds (see feed.h).
 *
 * A feed is a relation that the planner knows as a tuplestore: its scan is replaced by a custom scan (feed.c). So are two
 * kinds of its joins with the target of the statement:
 *
 *	by address	UPDATE or DELETE that finds its rows by ctid and tableoid needs nothing of them: ModifyTable reads the row
 *				to be changed by its ctid anyway.
 *	by key		MERGE by all columns of a unique index: probe.c finds the rows, a window of the feed's at a time.
 *
 * Where these do not fit (partitions, row security, an index that is checked later …) it is an ordinary join. The planner is told of few rows
 * whatever there are: it then probes the target's index for each, where the true
 * number would make it hash the whole target (see README.md for what was measured).
 *
 * State: the hooks that were there before. All memory is the planner's.
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "access/sysattr.h"
#include "apply/feed_scan.h"
#include "apply/probe.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/restrictinfo.h"
#include "optimizer/tlist.h"
#include "utils/lsyscache.h"

static set_rel_pathlist_hook_type previous_rel_hook = NULL;
static set_join_pathlist_hook_type previous_join_hook = NULL;

/*
 * Paths
 */

static Plan *
plan_scan(PlannerInfo *root pg_attribute_unused(), RelOptInfo *rel, CustomPath *path, List *tlist,
		  List *clauses, List *custom_plans pg_attribute_unused())
{
	CustomScan *scan = makeNode(CustomScan);

	scan->methods = &EdwFeedScanMethods;
	scan->flags = path->flags;
	scan->custom_private = path->custom_private;
	scan->scan.plan.targetlist = tlist;

	/* a join is just that of its clauses, and the scan is its result */
	if (rel->reloptkind != RELOPT_JOINREL)
		scan->scan.plan.qual = extract_actual_clauses(clauses, false);

	/* just what the statement reads: then nothing is left to project */
	scan->custom_scan_tlist = add_to_flat_tlist(NIL, pull_var_clause((Node *) tlist, 0));
	scan->custom_scan_tlist = add_to_flat_tlist(scan->custom_scan_tlist,
												pull_var_clause((Node *) scan->scan.plan.qual, 0));
	return &scan->scan.plan;
}

static const CustomPathMethods path_methods = {
	.CustomName = EDW_FEED_SCAN_NAME,
	.PlanCustomPath = plan_scan
};

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

/* Transition tables, which may have any name, are of some table. */
static bool
is_feed(const RangeTblEntry *rte)
{
	const EdwFeed *feed = EdwFeedCurrent();

	return feed != NULL && rte->rtekind == RTE_NAMEDTUPLESTORE && !OidIsValid(rte->relid) &&
		strcmp(rte->enrname, feed->enr.md.name) == 0;
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

/*
 * Joins
 */

/* Is the target one table, of which the join shows nothing but where its rows are, and which nothing else restricts? */
static bool
shows_addresses(PlannerInfo *root, RelOptInfo *joinrel, Index target)
{
	const RangeTblEntry *rte = root->simple_rte_array[target];
	ListCell   *lc;

	if ((int) target != root->parse->resultRelation || rte->relkind != RELKIND_RELATION || rte->inh ||
		root->simple_rel_array[target]->baserestrictinfo != NIL)
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

/* A column of this relation, 0: it is none. What its type is called does not matter. */
static AttrNumber
column_of(const Node *node, Index relid)
{
	while (IsA(node, RelabelType))
		node = (const Node *) ((const RelabelType *) node)->arg;
	return IsA(node, Var) && (Index) ((const Var *) node)->varno == relid ? ((const Var *) node)->varattno : 0;
}

/* Is the clause "column of one = column of the other" of two relations? */
static bool
is_match(const RestrictInfo *info, Index target, AttrNumber *target_column, Index feed, AttrNumber *feed_column)
{
	const OpExpr *clause = (const OpExpr *) info->clause;

	if (!IsA(clause, OpExpr) || list_length(clause->args) != 2)
		return false;
	for (int side = 0; side < 2; side++)
	{
		*target_column = column_of(list_nth(clause->args, side), target);
		*feed_column = column_of(list_nth(clause->args, 1 - side), feed);
		if (*target_column != 0 && *feed_column != 0)
			return true;
	}
	return false;
}

static bool
is_join_by_address(PlannerInfo *root, Index target, Index feed, List *clauses)
{
	bool		by_tid = false;
	bool		by_table = false;
	ListCell   *lc;

	if ((root->parse->commandType != CMD_UPDATE && root->parse->commandType != CMD_DELETE) ||
		EdwFeedCurrent()->tid == 0 || list_length(clauses) != 2)
		return false;
	foreach(lc, clauses)
	{
		AttrNumber	column;
		AttrNumber	from;

		if (!is_match(lfirst(lc), target, &column, feed, &from))
			return false;
		by_tid |= column == SelfItemPointerAttributeNumber && from == EdwFeedCurrent()->tid;
		by_table |= column == TableOidAttributeNumber && from == EdwFeedCurrent()->tableoid;
	}
	return by_tid && by_table;
}

/* Is the clause's operator the equality of the index's column? */
static bool
is_equality(const IndexOptInfo *index, int column, const OpExpr *clause)
{
	int			strategy;
	Oid			left;
	Oid			right;

	if (!op_in_opfamily(clause->opno, index->opfamily[column]))
		return false;
	get_op_opfamily_properties(clause->opno, index->opfamily[column], false, &strategy, &left, &right);
	return strategy == BTEqualStrategyNumber &&
		left == index->opcintype[column] && right == index->opcintype[column] &&
		(!OidIsValid(index->indexcollations[column]) || index->indexcollations[column] == clause->inputcollid);
}

/* The feed's columns that the index's are compared with; NIL: it is not all of them, or there is more that is compared. */
static List *
feed_columns(const IndexOptInfo *index, Index target, Index feed, List *clauses)
{
	List	   *columns = NIL;
	Bitmapset  *used = NULL;

	for (int i = 0; i < index->nkeycolumns; i++)
	{
		ListCell   *lc;

		foreach(lc, clauses)
		{
			const RestrictInfo *info = lfirst(lc);
			AttrNumber	column;
			AttrNumber	from;

			if (is_match(info, target, &column, feed, &from) && column == index->indexkeys[i] &&
				is_equality(index, i, (const OpExpr *) info->clause))
			{
				columns = lappend_int(columns, from);
				used = bms_add_member(used, foreach_current_index(lc));
				break;
			}
		}
	}
	/* an index may have a column twice */
	return list_length(columns) == index->nkeycolumns && bms_num_members(used) == list_length(clauses) ? columns : NIL;
}

/* What a join by key is for the executor (feed_scan.h); NIL: it is none. */
static List *
join_by_key(PlannerInfo *root, RelOptInfo *target, Index feed, JoinType type, List *clauses)
{
	ListCell   *lc;

	if (root->parse->commandType != CMD_MERGE || !EdwProbeCan(root->simple_rte_array[target->relid]->relid))
		return NIL;
	foreach(lc, target->indexlist)
	{
		const IndexOptInfo *index = lfirst(lc);
		List	   *columns;

		if (index->relam != BTREE_AM_OID || !index->unique || !index->immediate || index->hypothetical ||
			index->indpred != NIL || index->indexprs != NIL)
			continue;
		columns = feed_columns(index, target->relid, feed, clauses);
		if (columns != NIL)
			return list_concat(list_make2_int((int) index->indexoid, type == JOIN_LEFT), columns);
	}
	return NIL;
}

/* In place of a join that looks for each row by its address, or for one after the other by its key. */
static void
set_join_pathlist(PlannerInfo *root, RelOptInfo *joinrel, RelOptInfo *outer, RelOptInfo *inner,
				  JoinType type, JoinPathExtraData *extra)
{
	CustomPath *path;
	List	   *by_key = NIL;

	if (previous_join_hook)
		previous_join_hook(root, joinrel, outer, inner, type, extra);
	if ((type != JOIN_INNER && type != JOIN_LEFT) ||
		outer->reloptkind != RELOPT_BASEREL || inner->reloptkind != RELOPT_BASEREL ||
		!is_feed(root->simple_rte_array[outer->relid]) || outer->baserestrictinfo != NIL || !shows_addresses(root, joinrel, inner->relid))
		return;
	if (type != JOIN_INNER || !is_join_by_address(root, inner->relid, outer->relid, extra->restrictlist))
	{
		by_key = join_by_key(root, inner, outer->relid, type, extra->restrictlist);
		if (by_key == NIL)
			return;
	}
	path = make_path(linitial(outer->pathlist));
	path->path.parent = joinrel;
	path->path.pathtarget = joinrel->reltarget;
	path->path.rows = joinrel->rows;
	path->custom_private = by_key;
	joinrel->pathlist = list_make1(path);
	joinrel->partial_pathlist = NIL;
}

void
EdwFeedPlanInit(void)
{
	previous_rel_hook = set_rel_pathlist_hook;
	set_rel_pathlist_hook = set_rel_pathlist;
	previous_join_hook = set_join_pathlist_hook;
	set_join_pathlist_hook = set_join_pathlist;
}
