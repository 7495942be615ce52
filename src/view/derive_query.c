/*
 * derive_query.c
 *		A materialized view's query, made ready to be taken apart.
 *
 * Views are expanded by the rewriter, with the privileges of their owners, as REFRESH does it. References
 * to CTEs become subqueries of their own: what is pushed into one must not reach the others, and
 * the planner pushes nothing into a CTE that is used twice. Recursive ones stay.
 */
#include "postgres.h"

#include "access/relation.h"
#include "compat.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "rewrite/prs2lock.h"
#include "rewrite/rewriteHandler.h"
#include "rewrite/rewriteManip.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "view/derive.h"
#include "view/derive_build.h"

typedef struct InlineContext
{
	List	   *queries;		/* Query *, innermost first */
} InlineContext;

static CommonTableExpr *
find_cte(const Query *query, const char *name)
{
	ListCell   *lc;

	foreach(lc, query->cteList)
	{
		CommonTableExpr *cte = lfirst_node(CommonTableExpr, lc);

		if (strcmp(cte->ctename, name) == 0)
			return cte;
	}
	elog(ERROR, "no CTE of the name \"%s\"", name);
}

/* A view's rule has entries for OLD and NEW, which nothing refers to. */
static void
forget_rule_entries(Query *query)
{
	Bitmapset  *used = EdwJointreeItems((Node *) query->jointree);
	int			rti = 0;
	ListCell   *lc;

	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		rti++;
		if (rte->rtekind == RTE_RELATION && !bms_is_member(rti, used))
			lfirst(lc) = EdwMakeUnusedRte();
	}
}

static bool inline_in_query(Query *query, InlineContext *context);

static bool
inline_walker(Node *node, InlineContext *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return inline_in_query((Query *) node, context);
	return expression_tree_walker(node, inline_walker, context);
}

/* Its CTEs see each other's inlined form, as they are worked off in their order. */
static bool
inline_in_query(Query *query, InlineContext *context)
{
	ListCell   *lc;

	context->queries = lcons(query, context->queries);
	foreach(lc, query->cteList)
		inline_walker(lfirst_node(CommonTableExpr, lc)->ctequery, context);
	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);
		CommonTableExpr *cte;

		if (rte->rtekind != RTE_CTE)
			continue;
		cte = find_cte(list_nth(context->queries, rte->ctelevelsup), rte->ctename);
		if (cte->cterecursive)
			continue;
		rte->rtekind = RTE_SUBQUERY;
		rte->subquery = copyObject(castNode(Query, cte->ctequery));
		IncrementVarSublevelsUp((Node *) rte->subquery, rte->ctelevelsup, 1);
		rte->ctename = NULL;
		rte->ctelevelsup = 0;
		rte->coltypes = rte->coltypmods = rte->colcollations = NIL;
		rte->inh = false;
		/* inlined already: only what it refers to is one level further away now */
		rte->lateral = contain_vars_of_level((Node *) rte->subquery, 1);
	}
	query_tree_walker(query, inline_walker, context, QTW_IGNORE_CTE_SUBQUERIES);
	context->queries = list_delete_first(context->queries);

	for (int i = list_length(query->cteList) - 1; i >= 0; i--)
	{
		if (!list_nth_node(CommonTableExpr, query->cteList, i)->cterecursive)
			query->cteList = list_delete_nth_cell(query->cteList, i);
	}
	query->hasRecursive = query->cteList != NIL;
	forget_rule_entries(query);
	return false;
}

static Query *
rule_query(Relation view)
{
	RuleLock   *rules = view->rd_rules;

	if (view->rd_rel->relkind != RELKIND_MATVIEW || rules == NULL || rules->numLocks != 1 ||
		list_length(rules->rules[0]->actions) != 1)
		elog(ERROR, "materialized view \"%s\" has no query", RelationGetRelationName(view));
	return copyObject(linitial_node(Query, rules->rules[0]->actions));
}

static bool
collect_relations(Node *node, List **relations)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, collect_relations, relations,
								 QTW_EXAMINE_RTES_BEFORE);
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;

		if (rte->rtekind == RTE_RELATION)
			*relations = list_append_unique_oid(*relations, rte->relid);
		return false;
	}
	return expression_tree_walker(node, collect_relations, relations);
}

/* views that the query names, and those that they name */
static void
collect_views(Node *query, List **relations)
{
	List	   *named = NIL;
	ListCell   *lc;

	collect_relations(query, &named);
	foreach(lc, named)
	{
		Oid			relid = lfirst_oid(lc);
		Relation	rel;

		if (get_rel_relkind(relid) != RELKIND_VIEW || list_member_oid(*relations, relid))
			continue;
		*relations = lappend_oid(*relations, relid);
		rel = relation_open(relid, AccessShareLock);
		if (rel->rd_rules != NULL && rel->rd_rules->numLocks > 0)
			collect_views((Node *) rel->rd_rules->rules[0]->actions, relations);
		relation_close(rel, NoLock);
	}
}

Query *
EdwDeriveQuery(Relation view, List **relations)
{
	Query	   *query = rule_query(view);
	InlineContext context = {NIL};
	List	   *rewritten;

	*relations = NIL;
	AcquireRewriteLocks(query, true, false);
	collect_views((Node *) query, relations);
	rewritten = QueryRewrite(query);
	if (list_length(rewritten) != 1)
		elog(ERROR, "unexpected rewrite result of materialized view \"%s\"",
			 RelationGetRelationName(view));
	query = linitial_node(Query, rewritten);
	collect_relations((Node *) query, relations);
	inline_in_query(query, &context);
	return query;
}
