/*
 * delta_stable.c
 *		Do expressions return the same for an old row now as when it was counted (see delta_stable.h)?
 *
 * PostgreSQL calls functions stable that depend on TimeZone, DateStyle or lc_time, such as the cast of a
 * timestamptz to its date. These settings are pinned.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_language.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "view/delta_stable.h"

static bool
is_time_type(Oid type)
{
	return type == DATEOID || type == TIMESTAMPOID || type == TIMESTAMPTZOID;
}

/* A stable function of a date or time whose other arguments tell only what to do with it. */
static bool
depends_on_settings_alone(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc form;
	bool		times = false;
	bool		others = false;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	form = (Form_pg_proc) GETSTRUCT(tuple);
	for (int i = 0; i < form->pronargs; i++)
	{
		Oid			type = form->proargtypes.values[i];

		if (is_time_type(type))
			times = true;
		else if (type != TEXTOID && type != INTERVALOID && type != TIMEOID && type != INT4OID)
			others = true;
	}
	if (form->pronamespace != PG_CATALOG_NAMESPACE || form->prolang != INTERNALlanguageId ||
		form->provolatile != PROVOLATILE_STABLE || form->proretset)
		times = false;
	ReleaseSysCache(tuple);
	return times && !others;
}

/* The same expression with such calls replaced by their arguments. */
static Node *
without_calls(Node *node, void *context)
{
	Oid			function = InvalidOid;
	List	   *args = NIL;

	if (node == NULL)
		return NULL;
	if (IsA(node, FuncExpr))
	{
		function = ((FuncExpr *) node)->funcid;
		args = ((FuncExpr *) node)->args;
	}
	else if (IsA(node, OpExpr))
	{
		function = get_opcode(((OpExpr *) node)->opno);
		args = ((OpExpr *) node)->args;
	}
	else if (IsA(node, CoerceViaIO))
	{
		Node	   *arg = (Node *) ((CoerceViaIO *) node)->arg;

		/* to text; from text, 'now' would be the time at which it is read */
		if (is_time_type(getBaseType(exprType(arg))) && ((CoerceViaIO *) node)->resulttype == TEXTOID)
			return without_calls(arg, context);
	}
	if (OidIsValid(function) && depends_on_settings_alone(function))
	{
		RowExpr    *row = makeNode(RowExpr);

		row->args = (List *) expression_tree_mutator((Node *) args, without_calls, context);
		row->row_typeid = RECORDOID;
		row->row_format = COERCE_IMPLICIT_CAST;
		row->location = -1;
		return (Node *) row;
	}
	return expression_tree_mutator(node, without_calls, context);
}

bool
EdwIsRepeatable(Node *expr)
{
	return !contain_mutable_functions(without_calls(expr, NULL));
}
