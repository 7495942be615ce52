/*
 * delta_plan.c
 *		Can a view be kept fresh by delta, and what does that take (see delta_plan.h)?
 *
 * Reads the system catalogs only. All sentences of why_not are about the view: "It …".
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_aggregate.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "compat.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "parser/parse_oper.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"
#include "view/delta_plan.h"
#include "view/delta_scale.h"
#include "view/delta_stable.h"

typedef struct Planning
{
	EdwDelta   *delta;
	const Query *query;
	char	   *why_not;		/* the first reason */
} Planning;

static void plan_groups(Planning *p);
static void plan_outputs(Planning *p);
static void plan_state(Planning *p);
static void find_columns(EdwDelta *delta);

static void pg_attribute_printf(2, 3)
refuse(Planning *p, const char *format,...)
{
	StringInfoData why;
	int			needed;

	if (p->why_not)
		return;
	initStringInfo(&why);
	for (;;)
	{
		va_list		args;

		va_start(args, format);
		needed = appendStringInfoVA(&why, format, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&why, needed);
	}
	p->why_not = why.data;
}

EdwDelta *
EdwDeltaPlan(Oid view, const Query *query, char **why_not)
{
	EdwDelta   *delta = palloc0(sizeof(EdwDelta));
	Planning	p = {.delta = delta,.query = query};

	delta->view = view;
	if (query->groupClause == NIL && query->hasAggs)
		refuse(&p, "It has no GROUP BY.");
	else if (query->groupClause == NIL)
		refuse(&p, "It does not aggregate.");
	else if (query->groupingSets)
		refuse(&p, "It has GROUPING SETS, CUBE or ROLLUP.");
	else if (query->havingQual)
		refuse(&p, "It has HAVING.");
	else if (EdwFlattenJoin(query, &delta->join, &p.why_not))
	{
		if (!EdwIsRepeatable((Node *) delta->join.quals) ||
			!EdwIsRepeatable((Node *) delta->join.targets))
			refuse(&p, "It calls functions that are not immutable.");
		else
		{
			plan_groups(&p);
			plan_outputs(&p);
			plan_state(&p);
		}
	}
	*why_not = p.why_not;
	if (p.why_not)
		return NULL;
	find_columns(delta);
	return delta;
}

/*
 * Groups
 */

/*
 * Are two values that are equal the same bytes? A group's values are written once, and min
 * and max may return either of two that are equal.
 */
static bool
equal_is_same(Oid opfamily, Oid opcintype, Oid type, int32 typmod, Oid collation)
{
	Oid			proc = get_opfamily_proc(opfamily, opcintype, opcintype, BTEQUALIMAGE_PROC);
	Oid			base = getBaseTypeAndTypmod(type, &typmod);

	if (base == NUMERICOID)
		return typmod >= (int32) VARHDRSZ;
	if (base == BPCHAROID && typmod < (int32) VARHDRSZ)
		return false;
	return OidIsValid(proc) &&
		DatumGetBool(OidFunctionCall1Coll(proc, collation, ObjectIdGetDatum(opcintype)));
}

/* Can no row of the flat join have a null here? */
static bool
never_null(const EdwDelta *delta, const Expr *expr)
{
	const Var  *var = (const Var *) expr;
	const RangeTblEntry *rte;
	Relation	rel;
	bool		result;

	if (IsA(expr, Const))
		return !((const Const *) expr)->constisnull;
	if (IsA(expr, RelabelType))
		return never_null(delta, ((const RelabelType *) expr)->arg);
	if (!IsA(expr, Var))
		return false;
	rte = rt_fetch(var->varno, delta->join.rels);
	/* a materialized view's columns have no constraints; an inheritance child's may lack them */
	if (rte->relkind == RELKIND_RELATION && has_subclass(rte->relid))
		return false;
	rel = table_open(rte->relid, AccessShareLock);
	result = EdwColumnNotNull(RelationGetDescr(rel), var->varattno);
	table_close(rel, NoLock);
	return result;
}

static void
add_group(Planning *p, Expr *expr, AttrNumber column, Oid eq_operator, Oid sort_operator,
		  bool hashable)
{
	EdwDelta   *delta = p->delta;
	EdwDeltaGroup *group = &delta->groups[delta->ngroups];
	TypeCacheEntry *type = lookup_type_cache(exprType((Node *) expr),
											 TYPECACHE_EQ_OPR | TYPECACHE_BTREE_OPFAMILY);

	group->expr = expr;
	group->column = column;
	group->type = exprType((Node *) expr);
	group->typmod = exprTypmod((Node *) expr);
	group->collation = exprCollation((Node *) expr);
	group->eq_operator = eq_operator;
	group->sort_operator = sort_operator;
	group->hashable = hashable;
	group->not_null = never_null(delta, expr);
	group->key_kind = EdwKeyKindOf(group->type);
	if (!OidIsValid(type->btree_opf) || type->eq_opr != eq_operator ||
		!equal_is_same(type->btree_opf, type->btree_opintype, group->type, group->typmod,
					   group->collation))
		refuse(p, "It groups by values of type %s%s, of which two that are equal may differ.",
			   format_type_with_typemod(group->type, group->typmod),
			   OidIsValid(group->collation) && !get_collation_isdeterministic(group->collation)
			   ? " with a nondeterministic collation" : "");
	delta->ngroups++;
}

static AttrNumber
column_of(const EdwDelta *delta, const Expr *expr)
{
	ListCell   *lc;

	foreach(lc, delta->join.targets)
	{
		TargetEntry *target = lfirst_node(TargetEntry, lc);

		if (!target->resjunk && equal(target->expr, expr))
			return target->resno;
	}
	return 0;
}

static int
group_of(const EdwDelta *delta, const Node *expr)
{
	for (int g = 0; g < delta->ngroups; g++)
		if (equal(delta->groups[g].expr, expr))
			return g;
	return -1;
}

/* Is there a column of the join in it that is not within a group or an aggregate? */
static bool
has_ungrouped(Node *node, const EdwDelta *delta)
{
	if (node == NULL || IsA(node, Aggref) || group_of(delta, node) >= 0)
		return false;
	if (IsA(node, Var))
		return true;
	return expression_tree_walker(node, has_ungrouped, (void *) delta);
}

/*
 * The expressions of GROUP BY, and columns that depend on them functionally: these stand in
 * the view without being grouped by, and grouping by them as well changes nothing.
 */
static void
plan_groups(Planning *p)
{
	EdwDelta   *delta = p->delta;
	ListCell   *lc;

	delta->groups = palloc0_array(EdwDeltaGroup, list_length(p->query->groupClause) +
								  list_length(delta->join.targets));
	foreach(lc, p->query->groupClause)
	{
		SortGroupClause *clause = lfirst_node(SortGroupClause, lc);
		Expr	   *expr = get_sortgroupref_tle(clause->tleSortGroupRef, delta->join.targets)->expr;
		AttrNumber	column = column_of(delta, expr);

		if (column == 0)
			refuse(p, "It does not show all that it groups by.");
		if (group_of(delta, (Node *) expr) < 0)
			add_group(p, expr, column, clause->eqop, clause->sortop, clause->hashable);
	}
	foreach(lc, delta->join.targets)
	{
		TargetEntry *target = lfirst_node(TargetEntry, lc);
		Oid			less;
		Oid			equal;
		bool		hashable;

		if (target->resjunk || !has_ungrouped((Node *) target->expr, delta))
			continue;
		if (contain_agg_clause((Node *) target->expr))
		{
			refuse(p, "It combines aggregates with columns that it does not group by.");
			continue;
		}
		get_sort_group_operators(exprType((Node *) target->expr), false, false, false,
								 &less, &equal, NULL, &hashable);
		if (!OidIsValid(less) || !OidIsValid(equal))
			refuse(p, "It shows a column of type %s that it does not group by.",
				   format_type_be(exprType((Node *) target->expr)));
		else
			add_group(p, target->expr, target->resno, equal, less, hashable);
	}
}

/*
 * Aggregates
 */

/* An aggregate's function with one argument, or none. */
static Aggref *
make_aggref(Oid function, Oid result, Expr *argument, const Expr *filter)
{
	Aggref	   *aggref = makeNode(Aggref);

	aggref->aggfnoid = function;
	aggref->aggtype = result;
	if (argument)
	{
		aggref->aggargtypes = list_make1_oid(exprType((Node *) argument));
		aggref->inputcollid = exprCollation((Node *) argument);
		aggref->args = list_make1(makeTargetEntry(copyObject(argument), 1, NULL, false));
	}
	aggref->aggfilter = (Expr *) copyObjectImpl(filter);
	aggref->aggstar = argument == NULL;
	aggref->aggkind = AGGKIND_NORMAL;
	aggref->aggno = aggref->aggtransno = -1;
	aggref->location = -1;
	return aggref;
}

static int
add_item(EdwDelta *delta, EdwDeltaItemKind kind, Aggref *aggref)
{
	EdwDeltaItem *item;

	for (int i = 0; i < delta->nitems; i++)
		if (equal(delta->items[i].aggref, aggref))
			return i;
	delta->items = delta->items ? repalloc(delta->items, (delta->nitems + 1) * sizeof(EdwDeltaItem))
		: palloc(sizeof(EdwDeltaItem));
	item = &delta->items[delta->nitems];
	memset(item, 0, sizeof(EdwDeltaItem));
	item->kind = kind;
	item->aggref = aggref;
	item->state = -1;
	return delta->nitems++;
}

/* How many values are not null; of columns that never are, all rows. */
static int
add_count(EdwDelta *delta, Expr *argument, const Expr *filter)
{
	if (argument == NULL || never_null(delta, argument))
		return add_item(delta, EDW_ITEM_COUNT, make_aggref(F_COUNT_, INT8OID, NULL, filter));
	return add_item(delta, EDW_ITEM_COUNT, make_aggref(F_COUNT_ANY, INT8OID, argument, filter));
}

static int
add_sum(EdwDelta *delta, Oid function, Expr *argument, const Expr *filter)
{
	Oid			result = function == F_SUM_INT2 || function == F_SUM_INT4 ? INT8OID : NUMERICOID;
	int			count = add_count(delta, argument, filter);
	int			sum = add_item(delta, EDW_ITEM_SUM, make_aggref(function, result, argument, filter));

	delta->items[sum].count = count;
	delta->items[sum].fixed_scale = function != F_SUM_NUMERIC || EdwFixedScale((Node *) argument) >= 0;
	return sum;
}

/* min, max and whatever else is declared to be the first by an order; -1: it is none of them */
static int
add_extreme(EdwDelta *delta, const Aggref *aggref)
{
	HeapTuple	tuple = SearchSysCache1(AGGFNOID, ObjectIdGetDatum(aggref->aggfnoid));
	Oid			sort_operator;
	Oid			opfamily;
	Oid			opcintype;
	EdwComparison strategy;
	Oid			compare;
	Aggref	   *plain;
	int			number;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for aggregate %u", aggref->aggfnoid);
	sort_operator = ((Form_pg_aggregate) GETSTRUCT(tuple))->aggsortop;
	ReleaseSysCache(tuple);
	if (!OidIsValid(sort_operator) || list_length(aggref->args) != 1 ||
		!get_ordering_op_properties(sort_operator, &opfamily, &opcintype, &strategy))
		return -1;
	compare = get_opfamily_proc(opfamily, opcintype, opcintype, BTORDER_PROC);
	if (!OidIsValid(compare))
		return -1;
	plain = (Aggref *) copyObjectImpl(aggref);
	plain->location = -1;
	number = add_item(delta, EDW_ITEM_EXTREME, plain);
	delta->items[number].is_max = strategy == EDW_COMPARISON_GREATER;
	delta->items[number].compare = compare;
	return number;
}

static bool
is_float(Oid function)
{
	return function == F_SUM_FLOAT4 || function == F_SUM_FLOAT8 ||
		function == F_AVG_FLOAT4 || function == F_AVG_FLOAT8;
}

static Oid
sum_of_avg(Oid function)
{
	switch (function)
	{
		case F_AVG_INT2:
			return F_SUM_INT2;
		case F_AVG_INT4:
			return F_SUM_INT4;
		case F_AVG_INT8:
			return F_SUM_INT8;
		case F_AVG_NUMERIC:
			return F_SUM_NUMERIC;
		default:
			return InvalidOid;
	}
}

/* The items that an aggregate is computed from; false: there are none. */
static bool
plan_aggregate(Planning *p, const Aggref *aggref, EdwDeltaResult *result)
{
	EdwDelta   *delta = p->delta;
	Oid			function = aggref->aggfnoid;
	Expr	   *argument = list_length(aggref->args) == 1
		? linitial_node(TargetEntry, aggref->args)->expr : NULL;

	result->kind = EDW_RESULT_ITEM;
	result->type = aggref->aggtype;
	if (aggref->aggdistinct || aggref->aggorder || aggref->aggkind != AGGKIND_NORMAL)
		refuse(p, "It has aggregates with DISTINCT or ORDER BY.");
	else if (function == F_COUNT_ || function == F_COUNT_ANY)
		result->item = add_count(delta, argument, aggref->aggfilter);
	else if (function == F_SUM_INT2 || function == F_SUM_INT4 || function == F_SUM_INT8 ||
			 function == F_SUM_NUMERIC)
		result->item = add_sum(delta, function, argument, aggref->aggfilter);
	else if (OidIsValid(sum_of_avg(function)))
	{
		result->kind = EDW_RESULT_AVG;
		result->item = add_sum(delta, sum_of_avg(function), argument, aggref->aggfilter);
	}
	else if (is_float(function))
		refuse(p, "Floating-point sums depend on the order of their inputs.");
	else if ((result->item = add_extreme(delta, aggref)) < 0)
		refuse(p, "The aggregate %s cannot be changed by what changed.",
			   format_procedure(function));
	return p->why_not == NULL;
}

/* Replace aggregates and groups by variables of the row that outputs are computed from. */
static Node *
replace_results(Node *node, Planning *p)
{
	EdwDelta   *delta = p->delta;
	int			number;

	if (node == NULL)
		return NULL;
	number = group_of(delta, node);
	if (number >= 0)
	{
		const EdwDeltaGroup *group = &delta->groups[number];

		return (Node *) makeVar(1, EDW_DELTA_GROUP_ATT(number), group->type, group->typmod,
								group->collation, 0);
	}
	if (IsA(node, Aggref))
	{
		const Aggref *aggref = (const Aggref *) node;
		EdwDeltaResult result = {0};

		if (!plan_aggregate(p, aggref, &result))
			return NULL;
		delta->results = delta->results
			? repalloc(delta->results, (delta->nresults + 1) * sizeof(EdwDeltaResult))
			: palloc(sizeof(EdwDeltaResult));
		delta->results[delta->nresults++] = result;
		return (Node *) makeVar(1, EDW_DELTA_RESULT_ATT(delta, delta->nresults - 1),
								aggref->aggtype, -1, aggref->aggcollid, 0);
	}
	return expression_tree_mutator(node, replace_results, p);
}

/* An aggregate that is a column by itself shows an item. */
static void
note_shown(EdwDelta *delta, const Expr *output, AttrNumber column)
{
	int			number;
	const EdwDeltaResult *result;

	if (!IsA(output, Var))
		return;
	number = ((const Var *) output)->varattno - EDW_DELTA_RESULT_ATT(delta, 0);
	if (number < 0)
		return;
	result = &delta->results[number];
	if (result->kind == EDW_RESULT_ITEM && delta->items[result->item].column == 0)
		delta->items[result->item].column = column;
}

static void
plan_outputs(Planning *p)
{
	EdwDelta   *delta = p->delta;
	ListCell   *lc;

	if (p->why_not)
		return;
	add_count(delta, NULL, NULL);
	foreach(lc, delta->join.targets)
	{
		TargetEntry *target = lfirst_node(TargetEntry, lc);
		Node	   *output;

		if (target->resjunk)
			continue;
		output = replace_results((Node *) target->expr, p);
		if (p->why_not)
			return;
		note_shown(delta, (Expr *) output, target->resno);
		delta->outputs = lappend(delta->outputs, output);
	}
}

/*
 * State
 */

static void
plan_state(Planning *p)
{
	EdwDelta   *delta = p->delta;
	StringInfoData meaning;

	if (p->why_not)
		return;
	initStringInfo(&meaning);
	for (int i = 0; i < delta->nitems; i++)
	{
		EdwDeltaItem *item = &delta->items[i];
		char	   *text;

		if (item->column != 0)
			continue;
		if (item->kind == EDW_ITEM_EXTREME)
		{
			refuse(p, "It computes with min or max and does not show these by themselves.");
			return;
		}
		item->state = delta->nstates++;
		text = nodeToString(item->aggref);
		appendStringInfoString(&meaning, text);
		pfree(text);
	}
	delta->signature = DatumGetUInt32(hash_any((unsigned char *) meaning.data, meaning.len));
	pfree(meaning.data);

	for (int g = 0; g < delta->ngroups && delta->nstates > 0; g++)
		if (delta->groups[g].key_kind == EDW_KEY_UNSUPPORTED)
			refuse(p, "It does not show all counts and sums, and edw_stream.view_group cannot "
				   "keep them for groups by type %s.", format_type_be(delta->groups[g].type));
}

/* Which columns of the joined relations are used? */
static void
find_columns(EdwDelta *delta)
{
	int			nrels = list_length(delta->join.rels);

	delta->columns = palloc0_array(Bitmapset *, nrels + 1);
	for (int rel = 1; rel <= nrels; rel++)
	{
		Bitmapset  *offset = NULL;
		int			bit = -1;

		pull_varattnos((Node *) delta->join.quals, rel, &offset);
		pull_varattnos((Node *) delta->join.targets, rel, &offset);
		while ((bit = bms_next_member(offset, bit)) >= 0)
			delta->columns[rel] = bms_add_member(delta->columns[rel],
												 bit + FirstLowInvalidHeapAttributeNumber);
	}
}
