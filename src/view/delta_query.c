/*
 * delta_query.c
 *		The queries of method delta (see delta_query.h).
 *
 * The change of a join is the sum over its relations: those before it new, the change, those after it old
 * (view/delta.h). So the change query is an aggregate over UNION ALL of one join per changed
 * relation. Old is what is there now UNION ALL what is captured, with the sign turned.
 * Signs multiply, and sums and counts of what came and of what left are kept apart: the
 * view's own aggregates compute both, so that no product can overflow.
 *
 * Pure, but for the shape of relations, which comes from the relation cache.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "view/delta_query.h"
#include "view/derive_build.h"

/* how a relation of the join stands in a query */
typedef enum Version
{
	CURRENT,
	CHANGE,						/* its captured rows */
	BEFORE						/* as it was before these */
} Version;

typedef struct Inputs
{
	List	   *exprs;			/* what the aggregate reads from the join, then the sign */
	int			nitems;
	int		   *argument;		/* by item: number among exprs, 0: none */
	int		   *filter;
} Inputs;

/*
 * Expressions
 */

static Expr *
int2_const(int16 value)
{
	return (Expr *) makeConst(INT2OID, -1, InvalidOid, sizeof(int16), Int16GetDatum(value), false,
							  true);
}

static Expr *
int2_operator(char *name, Oid result, Expr *left, Expr *right)
{
	Oid			left_type = left ? INT2OID : InvalidOid;
	Oid			operator = OpernameGetOprid(list_make2(makeString("pg_catalog"), makeString(name)),
											left_type, INT2OID);
	OpExpr	   *expr = (OpExpr *) make_opclause(operator, result, false, left, right, InvalidOid,
												InvalidOid);

	if (left == NULL)
		expr->args = list_make1(right);
	expr->opfuncid = get_opcode(operator);
	return (Expr *) expr;
}

static Expr *
equality(const EdwDeltaGroup *group, Expr *left, Expr *right)
{
	OpExpr	   *expr = (OpExpr *) make_opclause(group->eq_operator, BOOLOID, false, left, right,
												InvalidOid, group->collation);

	expr->opfuncid = get_opcode(group->eq_operator);
	return (Expr *) expr;
}

static Expr *
null_test(Expr *arg, NullTestType type)
{
	NullTest   *test = makeNode(NullTest);

	test->arg = arg;
	test->nulltesttype = type;
	test->location = -1;
	return (Expr *) test;
}

static Var *
var_of(Index rel, AttrNumber attno, const Expr *expr)
{
	return makeVar(rel, attno, exprType((const Node *) expr), exprTypmod((const Node *) expr),
				   exprCollation((const Node *) expr), 0);
}

static List *
add_target(List *targets, Expr *expr, const char *name)
{
	return lappend(targets, makeTargetEntry(expr, list_length(targets) + 1, pstrdup(name), false));
}

/*
 * Range table entries
 */

static RangeTblEntry *
enr_entry(char *name, const char *alias, TupleDesc desc)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	List	   *names = NIL;

	rte->rtekind = RTE_NAMEDTUPLESTORE;
	rte->enrname = name;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		names = lappend(names, makeString(att->attisdropped ? "" : pstrdup(NameStr(att->attname))));
		rte->coltypes = lappend_oid(rte->coltypes, att->attisdropped ? InvalidOid : att->atttypid);
		rte->coltypmods = lappend_int(rte->coltypmods, att->attisdropped ? 0 : att->atttypmod);
		rte->colcollations = lappend_oid(rte->colcollations,
										 att->attisdropped ? InvalidOid : att->attcollation);
	}
	rte->eref = makeAlias(alias, names);
	rte->inFromCl = true;
	return rte;
}

static void
add_from(Query *query, RangeTblEntry *rte)
{
	RangeTblRef *ref = makeNode(RangeTblRef);

	query->rtable = lappend(query->rtable, rte);
	ref->rtindex = list_length(query->rtable);
	query->jointree->fromlist = lappend(query->jointree->fromlist, ref);
}

static Query *
make_select(void)
{
	Query	   *query = makeNode(Query);

	query->commandType = CMD_SELECT;
	query->querySource = QSRC_ORIGINAL;
	query->canSetTag = true;
	query->jointree = makeFromExpr(NIL, NULL);
	return query;
}

/*
 * The join
 */

static RangeTblEntry *
base_entry(const EdwDelta *delta, int rel)
{
	return copyObject(list_nth_node(RangeTblEntry, delta->join.rels, rel - 1));
}

static const char *
base_name(const EdwDelta *delta, int rel)
{
	return list_nth_node(RangeTblEntry, delta->join.rels, rel - 1)->eref->aliasname;
}

static Oid
base_relid(const EdwDelta *delta, int rel)
{
	return list_nth_node(RangeTblEntry, delta->join.rels, rel - 1)->relid;
}

/* A relation's captured rows: its columns and the sign. */
static RangeTblEntry *
captured_entry(const EdwDelta *delta, int rel, AttrNumber *sign)
{
	RangeTblEntry *rte = EdwMakeCapturedRte(list_nth_node(RangeTblEntry, delta->join.rels, rel - 1));

	*sign = list_length(rte->eref->colnames);
	return rte;
}

/* SELECT the columns that are used FROM rte, then a sign. */
static Query *
select_columns(const EdwDelta *delta, int rel, RangeTblEntry *rte, Expr *sign)
{
	Query	   *query = make_select();
	Relation	relation = table_open(base_relid(delta, rel), AccessShareLock);
	int			attnum = -1;

	EdwQuerySetPermInfos(query, copyObject(delta->join.perminfos));
	add_from(query, rte);
	while ((attnum = bms_next_member(delta->columns[rel], attnum)) >= 0)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(relation), attnum - 1);

		query->targetList = add_target(query->targetList,
									   (Expr *) makeVar(1, attnum, att->atttypid, att->atttypmod,
														att->attcollation, 0),
									   NameStr(att->attname));
	}
	query->targetList = add_target(query->targetList, sign, "_edw_sign");
	table_close(relation, NoLock);
	return query;
}

/* A relation as it was: SELECT … FROM it UNION ALL SELECT … FROM its captured rows, sign turned. */
static Query *
before(const EdwDelta *delta, int rel)
{
	AttrNumber	sign;
	RangeTblEntry *captured = captured_entry(delta, rel, &sign);
	Expr	   *turned = int2_operator("-", INT2OID, NULL,
									   (Expr *) makeVar(1, sign, INT2OID, -1, InvalidOid, 0));

	return EdwUnionAll(list_make2(select_columns(delta, rel, base_entry(delta, rel), int2_const(1)),
								select_columns(delta, rel, captured, turned)));
}

typedef struct Renumbering
{
	const EdwDelta *delta;
	const Version *versions;
} Renumbering;

/* Relations as they were have only those columns that are used. */
static Node *
renumber(Node *node, const Renumbering *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var		   *var = copyObject((Var *) node);

		if (context->versions[var->varno] == BEFORE)
			var->varattno = var->varattnosyn =
				bms_member_index(context->delta->columns[var->varno], var->varattno) + 1;
		return (Node *) var;
	}
	return expression_tree_mutator(node, renumber, (void *) context);
}

/* SELECT inputs FROM the join WHERE its conditions; versions by relation, from 1. */
static Query *
join_query(const EdwDelta *delta, const Inputs *inputs, const Version *versions)
{
	Query	   *query = make_select();
	Renumbering renumbering = {delta, versions};
	Expr	   *sign = NULL;
	ListCell   *lc;

	EdwQuerySetPermInfos(query, copyObject(delta->join.perminfos));
	for (int rel = 1; rel <= list_length(delta->join.rels); rel++)
	{
		AttrNumber	attnum = 0;
		Expr	   *one;

		if (versions[rel] == CURRENT)
			add_from(query, base_entry(delta, rel));
		else if (versions[rel] == CHANGE)
			add_from(query, captured_entry(delta, rel, &attnum));
		else
		{
			add_from(query, EdwMakeSubqueryRte(before(delta, rel), base_name(delta, rel), false));
			attnum = bms_num_members(delta->columns[rel]) + 1;
		}
		if (attnum == 0)
			continue;
		one = (Expr *) makeVar(rel, attnum, INT2OID, -1, InvalidOid, 0);
		sign = sign ? int2_operator("*", INT2OID, sign, one) : one;
	}
	foreach(lc, inputs->exprs)
		query->targetList = add_target(query->targetList,
									   (Expr *) renumber(lfirst(lc), &renumbering),
									   psprintf("input_%d", foreach_current_index(lc) + 1));
	query->targetList = add_target(query->targetList, sign ? sign : int2_const(1), "sign");
	if (delta->join.quals)
		query->jointree->quals = renumber((Node *) make_ands_explicit(delta->join.quals), &renumbering);
	return query;
}

/*
 * The aggregate over it
 */

static int
add_input(Inputs *inputs, Expr *expr)
{
	ListCell   *lc;

	if (expr == NULL)
		return 0;
	foreach(lc, inputs->exprs)
		if (equal(lfirst(lc), expr))
			return foreach_current_index(lc) + 1;
	inputs->exprs = lappend(inputs->exprs, expr);
	return list_length(inputs->exprs);
}

static void
find_inputs(const EdwDelta *delta, Inputs *inputs)
{
	inputs->exprs = NIL;
	inputs->argument = palloc0_array(int, delta->nitems);
	inputs->filter = palloc0_array(int, delta->nitems);
	for (int g = 0; g < delta->ngroups; g++)
		inputs->exprs = lappend(inputs->exprs, delta->groups[g].expr);
	for (int i = 0; i < delta->nitems; i++)
	{
		const Aggref *aggref = delta->items[i].aggref;

		if (aggref->args)
			inputs->argument[i] = add_input(inputs, linitial_node(TargetEntry, aggref->args)->expr);
		inputs->filter[i] = add_input(inputs, aggref->aggfilter);
	}
}

static Expr *
input_var(const Inputs *inputs, int number)
{
	return (Expr *) var_of(1, number, list_nth(inputs->exprs, number - 1));
}

/* An item's aggregate over rows whose sign compares so to 0. */
static Expr *
signed_aggregate(const EdwDelta *delta, const Inputs *inputs, int i, char *comparison)
{
	Aggref	   *aggref = copyObject(delta->items[i].aggref);
	Expr	   *sign = (Expr *) makeVar(1, list_length(inputs->exprs) + 1, INT2OID, -1, InvalidOid, 0);
	List	   *filters = NIL;

	if (aggref->args)
		linitial_node(TargetEntry, aggref->args)->expr = input_var(inputs, inputs->argument[i]);
	if (inputs->filter[i])
		filters = list_make1(input_var(inputs, inputs->filter[i]));
	if (comparison)
		filters = lcons(int2_operator(comparison, BOOLOID, sign, int2_const(0)), filters);
	aggref->aggfilter = filters == NIL ? NULL : make_ands_explicit(filters);
	return (Expr *) aggref;
}

static Query *
aggregate_query(const EdwDelta *delta, const Inputs *inputs, Query *join, bool signs)
{
	Query	   *query = make_select();

	add_from(query, EdwMakeSubqueryRte(join, "changed", false));
	for (int g = 0; g < delta->ngroups; g++)
	{
		const EdwDeltaGroup *group = &delta->groups[g];
		SortGroupClause *clause = makeNode(SortGroupClause);

		query->targetList = add_target(query->targetList, input_var(inputs, g + 1),
									   psprintf("group_%d", g + 1));
		llast_node(TargetEntry, query->targetList)->ressortgroupref = g + 1;
		clause->tleSortGroupRef = g + 1;
		clause->eqop = group->eq_operator;
		clause->sortop = group->sort_operator;
		clause->hashable = group->hashable;
		query->groupClause = lappend(query->groupClause, clause);
	}
	for (int i = 0; i < delta->nitems; i++)
	{
		Expr	   *came = signed_aggregate(delta, inputs, i, signs ? ">" : NULL);
		Expr	   *left = signs ? signed_aggregate(delta, inputs, i, "<")
			: (Expr *) makeNullConst(exprType((Node *) came), -1, exprCollation((Node *) came));

		query->targetList = add_target(query->targetList, came, psprintf("came_%d", i + 1));
		query->targetList = add_target(query->targetList, left, psprintf("left_%d", i + 1));
	}
	query->hasAggs = true;
	return query;
}

Query *
EdwDeltaChangeQuery(const EdwDelta *delta, const List *changed)
{
	int			nrels = list_length(delta->join.rels);
	Version    *versions = palloc_array(Version, nrels + 1);
	List	   *joins = NIL;
	Inputs		inputs;

	find_inputs(delta, &inputs);
	for (int rel = 1; rel <= nrels; rel++)
	{
		if (!list_member_oid(changed, base_relid(delta, rel)))
			continue;
		for (int other = 1; other <= nrels; other++)
			versions[other] = other == rel ? CHANGE :
				other > rel && list_member_oid(changed, base_relid(delta, other)) ? BEFORE : CURRENT;
		joins = lappend(joins, join_query(delta, &inputs, versions));
	}
	return aggregate_query(delta, &inputs, EdwUnionAll(joins), true);
}

/* The join as it is, without conditions on groups. */
static Query *
current_join(const EdwDelta *delta, Inputs *inputs)
{
	Version    *versions = palloc0_array(Version, list_length(delta->join.rels) + 1);

	find_inputs(delta, inputs);
	return join_query(delta, inputs, versions);
}

static void
add_quals(Query *query, List *quals)
{
	if (query->jointree->quals)
		quals = lcons(query->jointree->quals, quals);
	query->jointree->quals = (Node *) make_ands_explicit(quals);
}

TupleDesc
EdwDeltaWantedDesc(const EdwDelta *delta)
{
	TupleDesc	desc = CreateTemplateTupleDesc(delta->ngroups);

	for (int g = 0; g < delta->ngroups; g++)
	{
		const EdwDeltaGroup *group = &delta->groups[g];

		TupleDescInitEntry(desc, g + 1, psprintf("group_%d", g + 1), group->type, group->typmod, 0);
		TupleDescInitEntryCollation(desc, g + 1, group->collation);
	}
	return desc;
}

/* SELECT the wanted groups, so that those that are gone are in the result too; a sign of 0 counts for nothing. */
static Query *
wanted_groups(const EdwDelta *delta, const Inputs *inputs, RangeTblEntry *wanted)
{
	Query	   *query = make_select();
	ListCell   *lc;

	add_from(query, wanted);
	foreach(lc, inputs->exprs)
	{
		Expr	   *expr = lfirst(lc);
		int			number = foreach_current_index(lc) + 1;

		query->targetList = add_target(query->targetList,
									   number <= delta->ngroups
									   ? (Expr *) var_of(1, number, expr)
									   : (Expr *) makeNullConst(exprType((Node *) expr),
																exprTypmod((Node *) expr),
																exprCollation((Node *) expr)),
									   psprintf("input_%d", number));
	}
	query->targetList = add_target(query->targetList, int2_const(0), "sign");
	return query;
}

Query *
EdwDeltaWantedQuery(const EdwDelta *delta, const Bitmapset *nulls)
{
	Inputs		inputs;
	Query	   *join = current_join(delta, &inputs);
	int			wanted = list_length(join->rtable) + 1;
	RangeTblEntry *entry = enr_entry(EDW_DELTA_WANTED, EDW_DELTA_WANTED, EdwDeltaWantedDesc(delta));
	List	   *quals = NIL;

	add_from(join, entry);
	for (int g = 0; g < delta->ngroups; g++)
	{
		const EdwDeltaGroup *group = &delta->groups[g];
		Expr	   *expr = copyObject(group->expr);

		quals = lappend(quals, bms_is_member(g, nulls) ? null_test(expr, IS_NULL)
						: equality(group, expr, (Expr *) var_of(wanted, g + 1, expr)));
	}
	add_quals(join, quals);
	return aggregate_query(delta, &inputs,
						   EdwUnionAll(list_make2(join, wanted_groups(delta, &inputs, copyObject(entry)))),
						   true);
}

/* expr = ANY (values) [OR expr IS NULL] */
static Expr *
any_of(const EdwDeltaGroup *group, List *values)
{
	ScalarArrayOpExpr *any = makeNode(ScalarArrayOpExpr);
	ArrayExpr  *array = makeNode(ArrayExpr);
	bool		nulls = false;
	ListCell   *lc;

	array->array_typeid = get_array_type(group->type);
	array->array_collid = group->collation;
	array->element_typeid = group->type;
	array->location = -1;
	foreach(lc, values)
	{
		Const	   *value = lfirst_node(Const, lc);

		if (value->constisnull)
			nulls = true;
		else
			array->elements = lappend(array->elements, copyObject(value));
	}
	any->opno = group->eq_operator;
	any->opfuncid = get_opcode(any->opno);
	any->useOr = true;
	any->inputcollid = group->collation;
	any->args = list_make2(copyObject(group->expr), array);
	any->location = -1;
	if (!nulls)
		return (Expr *) any;
	return make_orclause(list_make2(any, null_test(copyObject(group->expr), IS_NULL)));
}

Query *
EdwDeltaGroupsQuery(const EdwDelta *delta, int nkeys, const AttrNumber *keys, List *const *values)
{
	Inputs		inputs;
	Query	   *join = current_join(delta, &inputs);
	List	   *quals = NIL;

	for (int k = 0; values && k < nkeys; k++)
		for (int g = 0; g < delta->ngroups; g++)
			if (delta->groups[g].column == keys[k])
				quals = lappend(quals, any_of(&delta->groups[g], values[k]));
	if (quals)
		add_quals(join, quals);
	return aggregate_query(delta, &inputs, join, false);
}
