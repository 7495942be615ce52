/*
 * derive_build.c
 *		Query trees put together by hand: what the parser would have made of the text.
 *
 * Pure but for the catalogs: no locks besides those on relations that the caller has locked already.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/sysattr.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_coerce.h"
#include "parser/parse_oper.h"
#include "rewrite/rewriteManip.h"
#include "utils/rel.h"
#include "utils/typcache.h"
#include "view/capture.h"
#include "view/derive_build.h"

#define SIGN_COLUMN	"_edw_sign"

static bool
collect_items(Node *node, Bitmapset **items)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblRef))
	{
		*items = bms_add_member(*items, ((RangeTblRef *) node)->rtindex);
		return false;
	}
	if (IsA(node, FromExpr))
		return collect_items((Node *) ((FromExpr *) node)->fromlist, items);
	if (IsA(node, JoinExpr))
		return collect_items(((JoinExpr *) node)->larg, items) ||
			collect_items(((JoinExpr *) node)->rarg, items);
	return expression_tree_walker(node, collect_items, items);
}

Bitmapset *
EdwJointreeItems(Node *jointree)
{
	Bitmapset  *items = NULL;

	collect_items(jointree, &items);
	return items;
}

RangeTblEntry *
EdwMakeUnusedRte(void)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);

	rte->rtekind = RTE_RESULT;
	rte->eref = makeAlias("unused", NIL);
	return rte;
}

static List *
column_names(const Query *query)
{
	List	   *names = NIL;
	ListCell   *lc;

	foreach(lc, query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);

		if (!entry->resjunk)
			names = lappend(names, makeString(pstrdup(entry->resname ? entry->resname : "?column?")));
	}
	return names;
}

RangeTblEntry *
EdwMakeSubqueryRte(Query *query, const char *name, bool lateral)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);

	rte->rtekind = RTE_SUBQUERY;
	rte->subquery = query;
	rte->alias = makeAlias(name, NIL);
	rte->eref = makeAlias(name, column_names(query));
	rte->lateral = lateral;
	rte->inFromCl = true;
	return rte;
}

RangeTblEntry *
EdwMakeCapturedRte(const RangeTblEntry *relation)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	Relation	rel = relation_open(relation->relid, NoLock);
	TupleDesc	desc = RelationGetDescr(rel);

	rte->rtekind = RTE_NAMEDTUPLESTORE;
	rte->enrname = EdwCaptureEnrName(relation->relid);
	rte->alias = makeAlias(relation->eref->aliasname, NIL);
	rte->eref = makeAlias(relation->eref->aliasname, NIL);
	rte->inFromCl = true;
	for (int i = 0; i <= desc->natts; i++)
	{
		Form_pg_attribute att = i < desc->natts ? TupleDescAttr(desc, i) : NULL;
		bool		dropped = att != NULL && att->attisdropped;
		const char *name = att == NULL ? SIGN_COLUMN : dropped ? "" : NameStr(att->attname);

		rte->eref->colnames = lappend(rte->eref->colnames, makeString(pstrdup(name)));
		rte->coltypes = lappend_oid(rte->coltypes, att == NULL ? INT2OID : dropped ? InvalidOid : att->atttypid);
		rte->coltypmods = lappend_int(rte->coltypmods, att == NULL || dropped ? -1 : att->atttypmod);
		rte->colcollations = lappend_oid(rte->colcollations,
										 att == NULL || dropped ? InvalidOid : att->attcollation);
	}
	relation_close(rel, NoLock);
	return rte;
}

static Query *
new_select(List *rtable, List *perminfos, Node *qual)
{
	Query	   *query = makeNode(Query);
	List	   *from = NIL;

	query->commandType = CMD_SELECT;
	query->canSetTag = true;
	query->rtable = rtable;
	EdwQuerySetPermInfos(query, perminfos);
	for (int i = 1; i <= list_length(rtable); i++)
	{
		RangeTblRef *ref = makeNode(RangeTblRef);

		ref->rtindex = i;
		from = lappend(from, ref);
	}
	query->jointree = makeFromExpr(from, qual);
	return query;
}

/* the columns of a relation or its captured rows by their numbers, dropped ones too */
static void
append_column(Query *query, Form_pg_attribute att, bool wanted)
{
	Expr	   *expr;

	if (att->attisdropped)
		expr = (Expr *) makeNullConst(INT4OID, -1, InvalidOid);
	else if (!wanted)
		expr = (Expr *) makeNullConst(att->atttypid, att->atttypmod, att->attcollation);
	else
		expr = (Expr *) makeVar(1, att->attnum, att->atttypid, att->atttypmod, att->attcollation, 0);
	query->targetList = lappend(query->targetList,
								makeTargetEntry(expr, att->attnum,
												pstrdup(att->attisdropped ? "" : NameStr(att->attname)), false));
}

static Query *
select_columns(RangeTblEntry *from, List *perminfos, Oid relid, const Bitmapset *columns, Node *qual)
{
	Query	   *query = new_select(list_make1(from), perminfos, qual);
	Relation	rel = relation_open(relid, NoLock);
	TupleDesc	desc = RelationGetDescr(rel);
	bool		whole = columns == NULL ||
		bms_is_member(InvalidAttrNumber - FirstLowInvalidHeapAttributeNumber, columns);

	for (int i = 0; i < desc->natts; i++)
		append_column(query, TupleDescAttr(desc, i),
					  whole || bms_is_member(i + 1 - FirstLowInvalidHeapAttributeNumber, columns));
	relation_close(rel, NoLock);
	return query;
}

Query *
EdwSelectFrom(RangeTblEntry *rte, List *perminfos, const Bitmapset *columns, Node *qual)
{
	return select_columns(rte, perminfos, rte->relid, columns, qual);
}

/* _edw_sign < 0 */
static Node *
old_rows_only(const RangeTblEntry *captured)
{
	AttrNumber	sign = list_length(captured->coltypes);
	Const	   *zero = makeConst(INT2OID, -1, InvalidOid, sizeof(int16), Int16GetDatum(0), false, true);

	return (Node *) make_opclause(lookup_type_cache(INT2OID, TYPECACHE_LT_OPR)->lt_opr, BOOLOID, false,
								  (Expr *) makeVar(1, sign, INT2OID, -1, InvalidOid, 0),
								  (Expr *) zero, InvalidOid, InvalidOid);
}

Query *
EdwSelectBeforeAndNow(RangeTblEntry *rte, List *perminfos, const Bitmapset *columns)
{
	RangeTblEntry *captured = EdwMakeCapturedRte(rte);

	return EdwUnionAll(list_make2(select_columns(rte, perminfos, rte->relid, columns, NULL),
								  select_columns(captured, NIL, rte->relid, columns,
												 old_rows_only(captured))));
}

static RangeTblRef *
range_table_ref(int rtindex)
{
	RangeTblRef *ref = makeNode(RangeTblRef);

	ref->rtindex = rtindex;
	return ref;
}

static void
set_column_types(SetOperationStmt *op, const Query *query)
{
	ListCell   *lc;

	foreach(lc, query->targetList)
	{
		Node	   *expr = (Node *) lfirst_node(TargetEntry, lc)->expr;

		op->colTypes = lappend_oid(op->colTypes, exprType(expr));
		op->colTypmods = lappend_int(op->colTypmods, exprTypmod(expr));
		op->colCollations = lappend_oid(op->colCollations, exprCollation(expr));
	}
}

Query *
EdwUnionAll(List *queries)
{
	Query	   *first = linitial_node(Query, queries);
	Query	   *query;
	Node	   *tree = NULL;
	ListCell   *lc;

	if (list_length(queries) == 1)
		return first;

	query = makeNode(Query);
	query->commandType = CMD_SELECT;
	query->canSetTag = true;
	query->jointree = makeFromExpr(NIL, NULL);
	foreach(lc, queries)
	{
		SetOperationStmt *op;
		Node	   *leaf;

		/* it moves down a level */
		IncrementVarSublevelsUp((Node *) lfirst_node(Query, lc), 1, 1);
		query->rtable = lappend(query->rtable, EdwMakeSubqueryRte(lfirst_node(Query, lc), "part", false));
		leaf = (Node *) range_table_ref(list_length(query->rtable));
		if (tree == NULL)
		{
			tree = leaf;
			continue;
		}
		op = makeNode(SetOperationStmt);
		op->op = SETOP_UNION;
		op->all = true;
		op->larg = tree;
		op->rarg = leaf;
		set_column_types(op, first);
		tree = (Node *) op;
	}
	query->setOperations = tree;
	foreach(lc, first->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);

		query->targetList = lappend(query->targetList,
									makeTargetEntry((Expr *) makeVarFromTargetEntry(1, entry),
													entry->resno, entry->resname, false));
	}
	return query;
}

Query *
EdwSelectCoerced(Query *subquery, List *types, List *collations)
{
	Query	   *query = new_select(list_make1(EdwMakeSubqueryRte(subquery, "part", false)), NIL, NULL);
	ListCell   *lc;
	int			i = 0;

	IncrementVarSublevelsUp((Node *) subquery, 1, 1);
	foreach(lc, subquery->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);
		Node	   *expr;
		Oid			type;

		if (entry->resjunk)
			continue;
		expr = (Node *) makeVarFromTargetEntry(1, entry);
		type = list_nth_oid(types, i);
		if (exprType(expr) != type)
			expr = coerce_to_common_type(NULL, expr, type, "UNION/INTERSECT/EXCEPT");
		if (exprCollation(expr) != list_nth_oid(collations, i))
			expr = applyRelabelType(expr, type, exprTypmod(expr), list_nth_oid(collations, i),
									COERCE_IMPLICIT_CAST, -1, false);
		query->targetList = lappend(query->targetList,
									makeTargetEntry((Expr *) expr, ++i, entry->resname, false));
	}
	return query;
}

Query *
EdwSelectAll(Query *subquery)
{
	List	   *types = NIL;
	List	   *collations = NIL;
	ListCell   *lc;

	foreach(lc, subquery->targetList)
	{
		Node	   *expr = (Node *) lfirst_node(TargetEntry, lc)->expr;

		types = lappend_oid(types, exprType(expr));
		collations = lappend_oid(collations, exprCollation(expr));
	}
	return EdwSelectCoerced(subquery, types, collations);
}

void
EdwMakeDistinct(Query *query)
{
	Index		ref = 0;
	ListCell   *lc;

	foreach(lc, query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, lc);
		SortGroupClause *clause = makeNode(SortGroupClause);

		entry->ressortgroupref = clause->tleSortGroupRef = ++ref;
		get_sort_group_operators(exprType((Node *) entry->expr), false, true, false,
								 &clause->sortop, &clause->eqop, NULL, &clause->hashable);
		query->distinctClause = lappend(query->distinctClause, clause);
	}
}

List *
EdwAppendConjuncts(List *clauses, Node *clause)
{
	ListCell   *lc;

	if (clause == NULL)
		return clauses;
	if (IsA(clause, List))
	{
		foreach(lc, (List *) clause)
			clauses = EdwAppendConjuncts(clauses, lfirst(lc));
		return clauses;
	}
	if (!is_andclause(clause))
		return lappend(clauses, clause);
	foreach(lc, ((BoolExpr *) clause)->args)
		clauses = EdwAppendConjuncts(clauses, lfirst(lc));
	return clauses;
}
