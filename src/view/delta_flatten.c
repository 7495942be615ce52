/*
 * delta_flatten.c
 *		A query over inner joins made flat (see delta_flatten.h).
 *
 * The planner does the same later on, but within its own state and after choices that
 * are of no use here. Pure: reads the system catalogs, writes nothing, takes no locks.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "compat.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "view/delta_flatten.h"

/* what a range table entry of one query level has become */
typedef struct Level
{
	const Query *query;
	struct Level *parent;
	EdwFlatJoin *flat;
	char	  **why_not;
	int		   *rel;			/* by rtindex: the number among flat->rels, 0 if it is none */
	List	  **exprs;			/* by rtindex: a subquery's columns */
} Level;

static bool flatten_level(Level *level, List **columns);
static bool flatten_item(Level *level, Node *item);
static Node *resolve(Node *node, Level *level);

bool
EdwFlattenJoin(const Query *query, EdwFlatJoin *flat, char **why_not)
{
	Level		level = {.query = query,.flat = flat,.why_not = why_not};
	List	   *columns;

	memset(flat, 0, sizeof(EdwFlatJoin));
	*why_not = NULL;
	return flatten_level(&level, &columns) && (flat->targets = columns, true);
}

/* the first reason stays */
static bool
refuse(Level *level, const char *why)
{
	if (*level->why_not == NULL)
		*level->why_not = pstrdup(why);
	return false;
}

static bool
check_clauses(Level *level)
{
	const Query *query = level->query;
	bool		top = level->parent == NULL;

	if (query->commandType != CMD_SELECT || query->hasModifyingCTE)
		return refuse(level, "Its query changes data.");
	if (query->setOperations)
		return refuse(level, "It has UNION, INTERSECT or EXCEPT.");
	if (query->hasSubLinks)
		return refuse(level, "It has a subquery within an expression.");
	if (query->hasWindowFuncs)
		return refuse(level, "It has window functions.");
	if (query->hasTargetSRFs)
		return refuse(level, "It has set-returning functions.");
	if (query->distinctClause)
		return refuse(level, "It has DISTINCT.");
	if (query->limitCount || query->limitOffset)
		return refuse(level, "It has LIMIT or OFFSET.");
	if (query->hasRecursive)
		return refuse(level, "It is recursive.");
	if (query->rowMarks)
		return refuse(level, "It locks rows.");
	if (!top && (query->hasAggs || query->groupClause || query->groupingSets || query->havingQual))
		return refuse(level, "It aggregates in a subquery.");
	return true;
}

/* Merge one query level; columns are its target entries (top level) or their expressions. */
static bool
flatten_level(Level *level, List **columns)
{
	int			nrtes = list_length(level->query->rtable);
	ListCell   *lc;

	if (!check_clauses(level))
		return false;
	level->rel = palloc0_array(int, nrtes + 1);
	level->exprs = palloc0_array(List *, nrtes + 1);
	if (!flatten_item(level, (Node *) level->query->jointree))
		return false;

	*columns = NIL;
	foreach(lc, level->query->targetList)
	{
		TargetEntry *target = lfirst_node(TargetEntry, lc);

		if (level->parent == NULL)
			*columns = lappend(*columns, resolve((Node *) target, level));
		else
			*columns = lappend(*columns, resolve((Node *) target->expr, level));
	}
	return *level->why_not == NULL;
}

static bool
flatten_quals(Level *level, Node *quals)
{
	if (quals)
		level->flat->quals = lappend(level->flat->quals, resolve(quals, level));
	return *level->why_not == NULL;
}

static bool
flatten_relation(Level *level, int rtindex, const RangeTblEntry *rte)
{
	RangeTblEntry *copy;

	if (rte->relkind != RELKIND_RELATION && rte->relkind != RELKIND_PARTITIONED_TABLE &&
		rte->relkind != RELKIND_MATVIEW)
		return refuse(level, "It reads a relation that is neither a table nor a materialized view.");
	if (rte->tablesample)
		return refuse(level, "It has TABLESAMPLE.");
	if (!rte->inh)
		return refuse(level, "It has FROM ONLY.");

	copy = (RangeTblEntry *) copyObjectImpl(rte);
	EdwRteTakePermInfo(level->query, copy, level->flat->perminfos);
	level->flat->rels = lappend(level->flat->rels, copy);
	level->rel[rtindex] = list_length(level->flat->rels);
	return true;
}

static bool
flatten_subquery(Level *level, int rtindex, const Query *query)
{
	Level		inner = {.query = query,.parent = level,.flat = level->flat,.why_not = level->why_not};

	return flatten_level(&inner, &level->exprs[rtindex]);
}

static bool
flatten_entry(Level *level, int rtindex)
{
	const RangeTblEntry *rte = list_nth_node(RangeTblEntry, level->query->rtable, rtindex - 1);

	if (rte->lateral)
		return refuse(level, "It has a LATERAL join.");
	if (rte->security_barrier)
		return refuse(level, "It reads a view with security_barrier.");
	switch (rte->rtekind)
	{
		case RTE_RELATION:
			return flatten_relation(level, rtindex, rte);
		case RTE_SUBQUERY:
			return flatten_subquery(level, rtindex, rte->subquery);
		default:
			return refuse(level, "It reads something else than tables, views and subqueries.");
	}
}

static bool
flatten_item(Level *level, Node *item)
{
	if (IsA(item, RangeTblRef))
		return flatten_entry(level, castNode(RangeTblRef, item)->rtindex);
	if (IsA(item, JoinExpr))
	{
		JoinExpr   *join = castNode(JoinExpr, item);

		if (join->jointype != JOIN_INNER)
			return refuse(level, "It has an outer join.");
		return flatten_item(level, join->larg) && flatten_item(level, join->rarg) &&
			flatten_quals(level, join->quals);
	}
	if (IsA(item, FromExpr))
	{
		FromExpr   *from = castNode(FromExpr, item);
		ListCell   *lc;

		foreach(lc, from->fromlist)
			if (!flatten_item(level, lfirst(lc)))
				return false;
		return flatten_quals(level, from->quals);
	}
	elog(ERROR, "unrecognized node type: %d", (int) nodeTag(item));
}

static Node *
resolve_var(const Var *var, Level *level)
{
	const RangeTblEntry *rte;

	if (var->varlevelsup != 0)
	{
		refuse(level, "A subquery refers to the query around it.");
		return NULL;
	}
	rte = list_nth_node(RangeTblEntry, level->query->rtable, var->varno - 1);
	if (var->varattno <= 0)
	{
		refuse(level, "It uses a whole row or a system column.");
		return NULL;
	}
	if (level->rel[var->varno] != 0)
		return (Node *) makeVar(level->rel[var->varno], var->varattno, var->vartype,
								var->vartypmod, var->varcollid, 0);
	if (level->exprs[var->varno] != NIL)
		return copyObject(list_nth(level->exprs[var->varno], var->varattno - 1));
	if (rte->rtekind == RTE_JOIN)
		return resolve(list_nth(rte->joinaliasvars, var->varattno - 1), level);
	if (EdwGroupExprs(rte) != NIL)
		return resolve(list_nth(EdwGroupExprs(rte), var->varattno - 1), level);
	refuse(level, "It reads something else than tables, views and subqueries.");
	return NULL;
}

/* A copy of an expression of this level in terms of the flat join. */
static Node *
resolve(Node *node, Level *level)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
		return resolve_var((const Var *) node, level);
	return expression_tree_mutator(node, resolve, level);
}
