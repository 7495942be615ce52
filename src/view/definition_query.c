/*
 * definition_query.c
 *		The view's query for some of its partitions, and the stored rows of them.
 *
 * The predicate stands around the whole query. It is PostgreSQL's planner that pushes it down: through
 * grouping and DISTINCT by its columns, into arms of UNION ALL, below window functions that partition by
 * them, and into joins. Whatever it does, the result is that of the predicate around the whole.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/sysattr.h"
#include "catalog/pg_class.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_collate.h"
#include "parser/parse_node.h"
#include "parser/parse_oper.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"
#include "view/definition.h"
#include "view/derive_build.h"

/* the qualified name of the type's own equality */
static List *
equality_name(Oid type)
{
	Oid			operator = lookup_type_cache(type, TYPECACHE_EQ_OPR)->eq_opr;
	HeapTuple	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(operator));
	Form_pg_operator form;
	List	   *name;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "no equality of type %s", format_type_be(type));
	form = (Form_pg_operator) GETSTRUCT(tuple);
	name = list_make2(makeString(get_namespace_name(form->oprnamespace)),
					  makeString(pstrdup(NameStr(form->oprname))));
	ReleaseSysCache(tuple);
	return name;
}

/* an array of the keys that are not null; NULL: there is none */
static Const *
key_array(const Var *column, List *keys)
{
	Datum	   *values = palloc(sizeof(Datum) * Max(list_length(keys), 1));
	Oid			array_type = get_array_type(column->vartype);
	int16		len;
	bool		byval;
	char		align;
	int			n = 0;
	ListCell   *lc;

	foreach(lc, keys)
	{
		Const	   *key = lfirst_node(Const, lc);

		if (!key->constisnull)
			values[n++] = key->constvalue;
	}
	if (n == 0)
		return NULL;
	get_typlenbyvalalign(column->vartype, &len, &byval, &align);
	return makeConst(array_type, -1, column->varcollid, -1,
					 PointerGetDatum(construct_array(values, n, column->vartype, len, byval, align)),
					 false, false);
}

static bool
has_null(List *keys)
{
	ListCell   *lc;

	foreach(lc, keys)
		if (lfirst_node(Const, lc)->constisnull)
			return true;
	return false;
}

static Node *
is_null(const Var *column)
{
	NullTest   *test = makeNode(NullTest);

	test->arg = copyObject((Expr *) column);
	test->nulltesttype = IS_NULL;
	test->location = -1;
	return (Node *) test;
}

/* column = ANY (keys), OR column IS NULL if that is a key */
static Node *
column_clause(ParseState *pstate, const Var *column, List *keys)
{
	Const	   *array = key_array(column, keys);
	Node	   *any;

	if (array == NULL)
		return is_null(column);
	any = (Node *) make_scalar_array_op(pstate, equality_name(column->vartype), true,
										copyObject((Node *) column), (Node *) array, -1);
	return has_null(keys) ? (Node *) makeBoolExpr(OR_EXPR, list_make2(any, is_null(column)), -1) : any;
}

/* column = key, or column IS NULL */
static Node *
value_clause(ParseState *pstate, const Var *column, Const *key)
{
	if (key->constisnull)
		return is_null(column);
	return (Node *) make_op(pstate, equality_name(column->vartype), copyObject((Node *) column),
							copyObject((Node *) key), NULL, -1);
}

/* of several columns, the combinations that are keys */
static Node *
combinations_clause(ParseState *pstate, Var *const *columns, int nkeys, List *const *keys)
{
	List	   *combinations = NIL;

	for (int i = 0; i < list_length(keys[0]); i++)
	{
		List	   *values = NIL;

		for (int k = 0; k < nkeys; k++)
			values = lappend(values, value_clause(pstate, columns[k], list_nth_node(Const, keys[k], i)));
		combinations = lappend(combinations, makeBoolExpr(AND_EXPR, values, -1));
	}
	return (Node *) (list_length(combinations) == 1 ? linitial(combinations)
					 : makeBoolExpr(OR_EXPR, combinations, -1));
}

/* Beyond so many combinations the columns are filtered one by one: that may take in partitions more, never fewer. */
#define MAX_COMBINATIONS	100

/* The predicate over range table entry 1, whose columns are the view's. */
static Node *
key_clause(const EdwViewDef *def, TupleDesc desc, List *const *keys)
{
	ParseState *pstate = make_parsestate(NULL);
	Var		  **columns = palloc(sizeof(Var *) * def->nkeys);
	List	   *clauses = NIL;
	Node	   *result;

	for (int k = 0; k < def->nkeys; k++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, def->keys[k] - 1);

		columns[k] = makeVar(1, att->attnum, att->atttypid, att->atttypmod, att->attcollation, 0);
		clauses = lappend(clauses, column_clause(pstate, columns[k], keys[k]));
	}
	if (def->nkeys > 1 && list_length(keys[0]) > 1 && list_length(keys[0]) <= MAX_COMBINATIONS)
		clauses = lappend(clauses, combinations_clause(pstate, columns, def->nkeys, keys));
	result = (Node *) make_ands_explicit(clauses);
	assign_expr_collations(pstate, result);
	free_parsestate(pstate);
	return result;
}

Query *
EdwViewQueryForKeys(const EdwViewDef *def, List *const *keys)
{
	Query	   *query = copyObject(def->query);
	Relation	rel;

	if (keys == NULL)
		return query;
	rel = relation_open(def->relid, AccessShareLock);
	query = EdwSelectAll(query);
	query->jointree->quals = key_clause(def, RelationGetDescr(rel), keys);
	relation_close(rel, NoLock);
	return query;
}

/* The materialized view itself: as its owner reads what is his, privileges are not asked for. */
static RangeTblEntry *
stored_rte(Relation view)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	TupleDesc	desc = RelationGetDescr(view);

	rte->rtekind = RTE_RELATION;
	rte->relid = RelationGetRelid(view);
	rte->relkind = view->rd_rel->relkind;
	rte->rellockmode = AccessShareLock;
	rte->eref = makeAlias(RelationGetRelationName(view), NIL);
	rte->inFromCl = true;
	for (int i = 0; i < desc->natts; i++)
		rte->eref->colnames = lappend(rte->eref->colnames, makeString(pstrdup(NameStr(TupleDescAttr(desc, i)->attname))));
	return rte;
}

Query *
EdwViewStoredForKeys(const EdwViewDef *def, List *const *keys)
{
	Relation	view = relation_open(def->relid, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(view);
	RangeTblEntry *stored = stored_rte(view);
	Query	   *query = EdwSelectFrom(stored, NIL, NULL, keys == NULL ? NULL : key_clause(def, desc, keys));
	ListCell   *lc;

	EdwReadUnchecked(query, stored);
	foreach(lc, query->targetList)
		lfirst_node(TargetEntry, lc)->resno++;
	query->targetList = lcons(makeTargetEntry((Expr *) makeVar(1, SelfItemPointerAttributeNumber, TIDOID, -1,
															   InvalidOid, 0),
											  1, pstrdup("ctid"), false),
							  query->targetList);
	relation_close(view, NoLock);
	return query;
}
