/*
 * derive_relax.c
 *		A query relaxed, level by level (derive_relax.h).
 *
 * At each level grouping, DISTINCT, ORDER BY and LIMIT fall away; what is left is a join. Which
 * columns are known decides what fell away. Pure but for the catalogs.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "compat.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/parse_agg.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "view/derive.h"
#include "view/derive_build.h"
#include "view/derive_relax.h"

/* Expressions by which rows are put together; restrict: a row depends on all that agree in them. */
typedef struct Grouping
{
	List	   *exprs;
	bool		restricts;		/* columns must be made from them */
	const char *why;
} Grouping;

typedef struct Level
{
	EdwRelaxing *relaxing;
	Query	   *query;			/* flattened copy */
	bool		changed;		/* towards an occurrence in it */
	int			target;			/* the item that holds it, 0: none */
	EdwItem    *items;			/* by range table index */
	List	   *groupings;		/* Grouping * */
	const Bitmapset *wanted;
} Level;

static bool
has_occurrence(Node *node, int *number)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, has_occurrence, number, QTW_EXAMINE_RTES_BEFORE);
	if (IsA(node, RangeTblEntry))
		return ((RangeTblEntry *) node)->rtekind == RTE_RELATION &&
			EdwOccurrence((RangeTblEntry *) node) == (Index) *number;
	return expression_tree_walker(node, has_occurrence, number);
}

bool
EdwHasOccurrence(Node *node, int number)
{
	return number > 0 && has_occurrence(node, &number);
}

/* Column numbers (not offset) of an item that expressions of this level use; NULL: all may be. */
static Bitmapset *
columns_used(const Level *level, int rti)
{
	Bitmapset  *offset = NULL;
	Bitmapset  *used = NULL;
	int			i = 0;
	ListCell   *lc;

	foreach(lc, level->query->rtable)
	{
		if (lfirst_node(RangeTblEntry, lc)->lateral)
			return NULL;
	}
	foreach(lc, level->query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);

		if (level->wanted == NULL || entry->resjunk || bms_is_member(++i, level->wanted))
			pull_varattnos((Node *) entry->expr, rti, &offset);
	}
	pull_varattnos((Node *) level->query->jointree, rti, &offset);
	used = bms_make_singleton(0);
	i = -1;
	while ((i = bms_next_member(offset, i)) >= 0)
	{
		if (i + FirstLowInvalidHeapAttributeNumber <= 0)
			return NULL;
		used = bms_add_member(used, i + FirstLowInvalidHeapAttributeNumber);
	}
	return used;
}

/* the table itself, what it is and was, or its captured rows */
static void
relax_relation(Level *level, RangeTblEntry *rte, EdwItem *item)
{
	EdwRelaxing *relaxing = level->relaxing;
	int			number = EdwOccurrence(rte);
	RangeTblEntry *copy = copyObject(rte);

	EdwOccurrence(copy) = 0;
	if (number == relaxing->target)
	{
		item->rte = EdwMakeCapturedRte(rte);
		item->target = true;
	}
	else if (relaxing->target > 0 && relaxing->rank[number] < relaxing->rank[relaxing->target])
		item->rte = EdwMakeSubqueryRte(EdwSelectBeforeAndNow(copy, EdwQueryPermInfos(level->query),
															 EdwRteSelectedCols(level->query, rte)),
									   rte->eref->aliasname, false);
	else
		item->rte = copy;
}

/* The entry with what it refers to; marks what is not known there. */
static RangeTblEntry *
substitute_rte(Level *level, RangeTblEntry *rte)
{
	RangeTblEntry *copy = copyObject(rte);

#define SUBSTITUTE(field, depth) \
	((field) = (void *) EdwSubstitute(level->relaxing, level->items, NULL, (Node *) (field), (depth)))
	if (rte->subquery != NULL)
		SUBSTITUTE(copy->subquery, 1);
	SUBSTITUTE(copy->functions, 0);
	SUBSTITUTE(copy->tablefunc, 0);
	SUBSTITUTE(copy->values_lists, 0);
#undef SUBSTITUTE
	return copy;
}

static void
relax_subquery(Level *level, int rti, RangeTblEntry *rte, EdwItem *item)
{
	EdwRelaxed *relaxed;

	item->target = EdwHasOccurrence((Node *) rte->subquery, level->relaxing->target);
	relaxed = EdwRelax(level->relaxing, rte->subquery, columns_used(level, rti));
	item->rte = rte;
	item->rte->subquery = relaxed->query;
	item->columns = relaxed->columns;
	item->apart = relaxed->apart;
}

static Bitmapset *
lateral_references(RangeTblEntry *rte)
{
	if (!rte->lateral)
		return NULL;
	if (rte->rtekind == RTE_SUBQUERY)
		return pull_varnos_of_level(NULL, (Node *) rte->subquery, 1);
	return bms_union(pull_varnos_of_level(NULL, (Node *) rte->functions, 0),
					 bms_union(pull_varnos_of_level(NULL, (Node *) rte->tablefunc, 0),
							   pull_varnos_of_level(NULL, (Node *) rte->values_lists, 0)));
}

static void
relax_item(Level *level, int rti)
{
	EdwItem    *item = &level->items[rti];
	RangeTblEntry *rte = rt_fetch(rti, level->query->rtable);

	if (rte->rtekind == RTE_RELATION)
	{
		relax_relation(level, rte, item);
		return;
	}
	rte = substitute_rte(level, rte);
	if (rte->rtekind == RTE_SUBQUERY)
		relax_subquery(level, rti, rte, item);
	else
	{
		item->why = EdwFindMarker(level->relaxing, (Node *) list_make3(rte->functions, rte->tablefunc, rte->values_lists));
		if (item->why != NULL)
			return;
		item->rte = rte;
	}
	item->refers = lateral_references(item->rte);
}

/*
 * Items in their order, as lateral references go backwards. Such references to an item whose columns may
 * become null are given up: they would have to be null in one variant and not in another.
 */
static void
relax_items(Level *level)
{
	Bitmapset  *used = EdwJointreeItems((Node *) level->query->jointree);
	Bitmapset  *nullable = EdwNullableItems((Node *) level->query->jointree);
	int			n = list_length(level->query->rtable);
	int			rti = -1;
	EdwItem    *known = level->items = palloc0(sizeof(EdwItem) * (n + 1));
	EdwItem    *referable = palloc0(sizeof(EdwItem) * (n + 1));

	for (int i = 0; i <= n; i++)
		known[i].why = referable[i].why = "It refers to the nullable side of an outer join from within a lateral item.";
	while ((rti = bms_next_member(used, rti)) >= 0)
	{
		level->items = referable;
		relax_item(level, rti);
		known[rti] = referable[rti];
		if (bms_is_member(rti, nullable))
			referable[rti].rte = NULL;
		if (known[rti].target)
			level->target = rti;
	}
	level->items = known;
}

static void
add_grouping(Level *level, List *exprs, bool restricts, const char *why)
{
	Grouping   *grouping = palloc(sizeof(Grouping));

	grouping->exprs = exprs;
	grouping->restricts = restricts;
	grouping->why = why;
	level->groupings = lappend(level->groupings, grouping);
}

/* expressions that are in all grouping sets */
static List *
common_grouping_exprs(Query *query)
{
	List	   *sets = expand_grouping_sets(query->groupingSets, query->groupDistinct, -1);
	List	   *refs = NIL;
	List	   *exprs = NIL;
	ListCell   *lc;

	foreach(lc, sets)
		refs = foreach_current_index(lc) == 0 ? list_copy(lfirst(lc)) :
			list_intersection_int(refs, lfirst(lc));
	foreach(lc, refs)
		exprs = lappend(exprs, get_sortgroupref_tle(lfirst_int(lc), query->targetList)->expr);
	return exprs;
}

static void
collect_groupings(Level *level)
{
	Query	   *query = level->query;
	ListCell   *lc;

	/* the columns that are not in a set are null in its rows, before and after a change */
	if (query->groupingSets != NIL)
		add_grouping(level, common_grouping_exprs(query), true, "It is not in all grouping sets.");
	if (!level->changed)
		return;
	if (query->groupClause != NIL && query->groupingSets == NIL)
		add_grouping(level, get_sortgrouplist_exprs(query->groupClause, query->targetList), false, NULL);
	if (query->distinctClause != NIL)
		add_grouping(level, get_sortgrouplist_exprs(query->distinctClause, query->targetList),
					 query->hasDistinctOn, "DISTINCT ON chooses among rows that differ in it.");
	if (query->hasWindowFuncs)
	{
		foreach(lc, query->windowClause)
			add_grouping(level, get_sortgrouplist_exprs(lfirst_node(WindowClause, lc)->partitionClause, query->targetList),
						 true, "A window function looks at rows that differ in it: it is not in every PARTITION BY.");
	}
	if (query->limitCount != NULL || query->limitOffset != NULL)
		add_grouping(level, NIL, true, "LIMIT or OFFSET chooses among rows that differ in it.");
}

/* Is the expression made from those in the list and from constants alone? */
static bool
outside_of(Node *node, List *exprs)
{
	if (node == NULL || list_member(exprs, node))
		return false;
	if ((IsA(node, Var) && ((Var *) node)->varlevelsup == 0) || IsA(node, Aggref) || IsA(node, WindowFunc) || IsA(node, GroupingFunc))
		return true;
	return expression_tree_walker(node, outside_of, exprs);
}

static bool
contains_expr(Node *node, Node *expr)
{
	if (node == NULL)
		return false;
	if (equal(node, expr))
		return true;
	return expression_tree_walker(node, contains_expr, expr);
}

static EdwColumn
unknown(const char *why)
{
	EdwColumn	column = {EDW_UNKNOWN, why};

	return column;
}

/* What grouping leaves known of a column that is a function of the level's rows. */
static EdwColumn
known_after_grouping(const Grouping *grouping, Node *expr, EdwColumn column)
{
	ListCell   *lc;

	if (grouping->restricts && outside_of(expr, grouping->exprs))
		return unknown(grouping->why);
	foreach(lc, grouping->exprs)
	{
		Node	   *by = lfirst(lc);

		if (EdwTypeIsExact(exprType(by), exprCollation(by)))
			continue;
		if (equal(by, expr))
			column.known = EDW_KNOWN_EQUAL;
		else if (contains_expr(expr, by))
			return unknown("It is computed from a grouping column whose equal values may look different.");
	}
	return column;
}

static int
count_set_returning(const Query *query)
{
	int			n = 0;
	ListCell   *lc;

	foreach(lc, query->targetList)
		n += expression_returns_set((Node *) lfirst_node(TargetEntry, lc)->expr);
	return n;
}

static EdwColumn
known_of(Level *level, Node *expr)
{
	EdwColumn	column = {EDW_KNOWN_EXACT, NULL};
	const char *why = EdwFindMarker(level->relaxing,
									EdwSubstitute(level->relaxing, level->items, NULL, expr, 0));
	ListCell   *lc;

	if (why != NULL)
		return unknown(why);
	if (IsA(expr, Var) && ((Var *) expr)->varlevelsup == 0 && level->items[((Var *) expr)->varno].columns != NULL)
		column = level->items[((Var *) expr)->varno].columns[((Var *) expr)->varattno - 1];
	if (expression_returns_set(expr) && count_set_returning(level->query) > 1)
		return unknown("It is one of several set-returning functions, of which the longest one decides.");
	foreach(lc, level->groupings)
	{
		column = known_after_grouping(lfirst(lc), expr, column);
		if (column.known == EDW_UNKNOWN)
			break;
	}
	return column;
}

static List *
variant_targets(const Level *level, const EdwRelaxed *relaxed, const EdwVariant *variant)
{
	List	   *targets = NIL;
	int			i = 0;
	ListCell   *lc;

	foreach(lc, level->query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);
		Node	   *expr = (Node *) entry->expr;

		if (entry->resjunk)
			continue;
		if (relaxed->columns[i++].known == EDW_UNKNOWN)
			expr = (Node *) makeNullConst(exprType(expr), exprTypmod(expr), exprCollation(expr));
		else
			expr = EdwSubstitute(level->relaxing, level->items, variant->nulled, expr, 0);
		targets = lappend(targets, makeTargetEntry((Expr *) expr, i, entry->resname, false));
	}
	return targets;
}

static Query *
variant_query(const Level *level, const EdwVariant *variant, List *targets)
{
	Query	   *query = makeNode(Query);
	List	   *from = NIL;
	Node	   *quals = NULL;

	query->commandType = CMD_SELECT;
	query->canSetTag = true;
	query->targetList = targets;
	query->hasTargetSRFs = expression_returns_set((Node *) targets);
	EdwQuerySetPermInfos(query, copyObject(EdwQueryPermInfos(level->query)));
	for (int rti = 1; rti <= list_length(level->query->rtable); rti++)
	{
		RangeTblRef *ref = makeNode(RangeTblRef);

		if (!bms_is_member(rti, variant->items))
		{
			query->rtable = lappend(query->rtable, EdwMakeUnusedRte());
			continue;
		}
		query->rtable = lappend(query->rtable, copyObject(level->items[rti].rte));
		ref->rtindex = rti;
		from = lappend(from, ref);
	}
	if (variant->clauses != NIL)
		quals = (Node *) make_ands_explicit(copyObject(variant->clauses));
	query->jointree = makeFromExpr(from, quals);
	query->hasSubLinks = checkExprHasSubLink(quals);
	return query;
}

/* A variant and its columns; a variant is superfluous if another one returns all its rows. */
typedef struct Alternative
{
	EdwVariant *variant;
	List	   *targets;
} Alternative;

static bool
covers(const Alternative *wide, const Alternative *narrow)
{
	return bms_is_subset(wide->variant->items, narrow->variant->items) &&
		list_difference(wide->variant->clauses, narrow->variant->clauses) == NIL &&
		equal(wide->targets, narrow->targets);
}

static List *
add_alternative(List *alternatives, Alternative *candidate)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, alternatives)
	{
		if (covers(lfirst(lc), candidate))
			return alternatives;
		if (!covers(candidate, lfirst(lc)))
			result = lappend(result, lfirst(lc));
	}
	return lappend(result, candidate);
}

static Query *
relax_join(Level *level, EdwRelaxed *relaxed)
{
	List	   *variants = EdwJoinVariants(level->relaxing, level->items, EdwQueryPermInfos(level->query),
										   (Node *) level->query->jointree, level->target);
	List	   *alternatives = NIL;
	List	   *queries = NIL;
	ListCell   *lc;

	if (variants == NIL)
	{
		/* too many: a single one that nobody runs */
		relaxed->apart = true;
		variants = list_make1(palloc0(sizeof(EdwVariant)));
	}
	foreach(lc, variants)
	{
		Alternative *alternative = palloc(sizeof(Alternative));

		alternative->variant = lfirst(lc);
		alternative->targets = variant_targets(level, relaxed, alternative->variant);
		if (!EdwPruneVariant(alternative->variant, level->items,
							 pull_varnos_of_level(NULL, (Node *) alternative->targets, 0), level->target))
			relaxed->apart = true;
		alternatives = add_alternative(alternatives, alternative);
	}
	foreach(lc, alternatives)
		queries = lappend(queries, variant_query(level, ((Alternative *) lfirst(lc))->variant,
												 ((Alternative *) lfirst(lc))->targets));
	return EdwUnionAll(queries);
}

/* Join aliases and grouping columns are written out: the entries that they stand for fall away. */
static Query *
flattened(Query *query)
{
	ListCell   *lc;

	query = copyObject(query);
	query->targetList = (List *) EdwFlattenGroups(query, (Node *) query->targetList);
	query->havingQual = EdwFlattenGroups(query, query->havingQual);
	EdwForgetGroupRte(query);
	query->targetList = (List *) EdwFlattenJoinAliases(query, (Node *) query->targetList);
	query->havingQual = EdwFlattenJoinAliases(query, query->havingQual);
	query->jointree = (FromExpr *) EdwFlattenJoinAliases(query, (Node *) query->jointree);
	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (!rte->lateral)
			continue;
		rte->subquery = (Query *) EdwFlattenJoinAliases(query, (Node *) rte->subquery);
		rte->functions = (List *) EdwFlattenJoinAliases(query, (Node *) rte->functions);
		rte->values_lists = (List *) EdwFlattenJoinAliases(query, (Node *) rte->values_lists);
		rte->tablefunc = (TableFunc *) EdwFlattenJoinAliases(query, (Node *) rte->tablefunc);
	}
	return query;
}

static EdwRelaxed *
new_relaxed(const Query *query)
{
	EdwRelaxed *relaxed = palloc0(sizeof(EdwRelaxed));
	ListCell   *lc;

	foreach(lc, query->targetList)
		relaxed->ncolumns += !lfirst_node(TargetEntry, lc)->resjunk;
	relaxed->columns = palloc0(sizeof(EdwColumn) * Max(relaxed->ncolumns, 1));
	return relaxed;
}

static bool
has_occurrence_in_from(const Query *query, int number)
{
	ListCell   *lc;

	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (has_occurrence((Node *) rte, &number) || has_occurrence((Node *) rte->subquery, &number))
			return true;
	}
	return false;
}

/* One group is there even if no row is: an aggregate over nothing. */
static bool
has_group_without_rows(Query *query)
{
	if (query->groupingSets != NIL)
		return common_grouping_exprs(query) == NIL;
	return query->groupClause == NIL && (query->hasAggs || query->havingQual != NULL);
}

static EdwRelaxed *
relax_select(EdwRelaxing *relaxing, Query *query, const Bitmapset *wanted)
{
	EdwRelaxed *relaxed = new_relaxed(query);
	Level		level = {0};
	int			i = 0;
	ListCell   *lc;

	level.relaxing = relaxing;
	level.changed = EdwHasOccurrence((Node *) query, relaxing->target);
	level.query = flattened(query);
	if (level.changed && !has_occurrence_in_from(level.query, relaxing->target))
		relaxed->apart = !EdwJoinSublink(level.query, relaxing->target);
	level.wanted = wanted;
	relax_items(&level);
	collect_groupings(&level);
	foreach(lc, level.query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);

		if (entry->resjunk)
			continue;
		if (wanted == NULL || bms_is_member(i + 1, wanted))
			relaxed->columns[i] = known_of(&level, (Node *) entry->expr);
		i++;
	}
	for (int rti = 1; rti <= list_length(level.query->rtable); rti++)
		relaxed->apart = relaxed->apart || level.items[rti].apart;
	if (!level.changed && has_group_without_rows(level.query))
		level.query->jointree = makeFromExpr(NIL, NULL);
	relaxed->query = relax_join(&level, relaxed);
	return relaxed;
}

static void
merge_columns(EdwRelaxed *relaxed, const EdwRelaxed *other)
{
	relaxed->apart = relaxed->apart || other->apart;
	for (int i = 0; i < relaxed->ncolumns; i++)
		if (other->columns[i].known < relaxed->columns[i].known)
			relaxed->columns[i] = other->columns[i];
}

static EdwRelaxed *
relax_arm(EdwRelaxing *relaxing, Query *query, RangeTblRef *ref, const Bitmapset *wanted)
{
	EdwRelaxed *relaxed = EdwRelax(relaxing, rt_fetch(ref->rtindex, query->rtable)->subquery, wanted);

	/* it moves up a level */
	IncrementVarSublevelsUp((Node *) relaxed->query, -1, 2);
	return relaxed;
}

static bool
operation_has_occurrence(Query *query, Node *node, int number)
{
	if (IsA(node, RangeTblRef))
		return EdwHasOccurrence((Node *) rt_fetch(((RangeTblRef *) node)->rtindex, query->rtable)->subquery, number);
	return operation_has_occurrence(query, castNode(SetOperationStmt, node)->larg, number) ||
		operation_has_occurrence(query, ((SetOperationStmt *) node)->rarg, number);
}

/* Columns that the operation compares, or converts to a common type. */
static void
degrade_columns(EdwRelaxed *relaxed, const SetOperationStmt *op, bool changed)
{
	for (int i = 0; i < relaxed->ncolumns; i++)
	{
		Oid			type = list_nth_oid(op->colTypes, i);
		Oid			collation = list_nth_oid(op->colCollations, i);
		Node	   *expr = (Node *) list_nth_node(TargetEntry, relaxed->query->targetList, i)->expr;
		EdwColumn  *column = &relaxed->columns[i];

		if (column->known == EDW_KNOWN_EQUAL && (exprType(expr) != type || exprCollation(expr) != collation))
			*column = unknown("It is converted from a grouping column whose equal values may look different.");
		else if (column->known == EDW_KNOWN_EXACT && changed && !(op->op == SETOP_UNION && op->all) &&
				 !EdwTypeIsExact(type, collation))
			column->known = EDW_KNOWN_EQUAL;
	}
}

/* Of a changed set operation, the arm that changed: a row of the result differs only if it does in an arm. */
static EdwRelaxed *
relax_operation(EdwRelaxing *relaxing, Query *query, Node *node, const Bitmapset *wanted)
{
	SetOperationStmt *op = (SetOperationStmt *) node;
	List	   *sides = NIL;
	List	   *queries = NIL;
	EdwRelaxed *result = NULL;
	bool		changed;
	ListCell   *lc;

	if (IsA(node, RangeTblRef))
		return relax_arm(relaxing, query, (RangeTblRef *) node, wanted);

	changed = operation_has_occurrence(query, node, relaxing->target);
	if (!changed)
		sides = op->op == SETOP_UNION ? list_make2(op->larg, op->rarg) : list_make1(op->larg);
	else
		sides = list_make1(operation_has_occurrence(query, op->larg, relaxing->target) ? op->larg : op->rarg);
	foreach(lc, sides)
	{
		EdwRelaxed *side = relax_operation(relaxing, query, lfirst(lc), wanted);

		degrade_columns(side, op, changed);
		queries = lappend(queries, EdwSelectCoerced(side->query, op->colTypes, op->colCollations));
		if (result == NULL)
			result = side;
		else
			merge_columns(result, side);
	}
	result->query = EdwUnionAll(queries);
	return result;
}

static EdwRelaxed *
relax_set_operation(EdwRelaxing *relaxing, Query *query, const Bitmapset *wanted)
{
	EdwRelaxed *relaxed = relax_operation(relaxing, query, query->setOperations, wanted);

	if ((query->limitCount != NULL || query->limitOffset != NULL) &&
		EdwHasOccurrence((Node *) query, relaxing->target))
	{
		for (int i = 0; i < relaxed->ncolumns; i++)
			relaxed->columns[i] = unknown("LIMIT or OFFSET chooses among rows that differ in it.");
	}
	return relaxed;
}

EdwRelaxed *
EdwRelax(EdwRelaxing *relaxing, Query *query, const Bitmapset *wanted)
{
	check_stack_depth();
	return query->setOperations != NULL ? relax_set_operation(relaxing, query, wanted)
		: relax_select(relaxing, query, wanted);
}
