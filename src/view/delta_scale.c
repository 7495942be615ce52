/*
 * delta_scale.c
 *		The scale of a numeric expression, where it is the same for all rows (see delta_scale.h).
 *
 * Follows what PostgreSQL's numeric functions do with their arguments' scales. A sum has the
 * greatest scale among its inputs, so only with one scale for all is it known what a sum
 * looks like after some inputs left it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "view/delta_scale.h"

static int
scale_of_const(const Const *constant)
{
	Numeric		value;

	if (constant->constisnull || getBaseType(constant->consttype) != NUMERICOID)
		return -1;
	value = DatumGetNumeric(constant->constvalue);
	if (numeric_is_nan(value) || numeric_is_inf(value))
		return -1;
	return DatumGetInt32(DirectFunctionCall1(numeric_scale, NumericGetDatum(value)));
}

/* numeric(p, s); a negative scale rounds to the left of the point and shows no digit right of it */
static int
scale_of_typmod(int32 typmod)
{
	int			scale;

	if (typmod < (int32) VARHDRSZ)
		return -1;
	scale = (((typmod - VARHDRSZ) & 0x7ff) ^ 1024) - 1024;
	return Max(scale, 0);
}

static int
scale_of_call(Oid function, List *args)
{
	int			first = list_length(args) > 0 ? EdwFixedScale(linitial(args)) : -1;
	int			second = list_length(args) > 1 ? EdwFixedScale(lsecond(args)) : -1;

	switch (function)
	{
		case F_NUMERIC_INT2:
		case F_NUMERIC_INT4:
		case F_NUMERIC_INT8:
		case F_CEIL_NUMERIC:
		case F_CEILING_NUMERIC:
		case F_FLOOR_NUMERIC:
		case F_ROUND_NUMERIC:
		case F_TRUNC_NUMERIC:
			return 0;
		case F_NUMERIC_ABS:
		case F_ABS_NUMERIC:
		case F_NUMERIC_UMINUS:
		case F_NUMERIC_UPLUS:
			return first;
		case F_NUMERIC_ADD:
		case F_NUMERIC_SUB:
			return first < 0 || second < 0 ? -1 : Max(first, second);
		case F_NUMERIC_MUL:
			return first < 0 || second < 0 ? -1 : first + second;
		case F_ROUND_NUMERIC_INT4:
		case F_TRUNC_NUMERIC_INT4:
			{
				const Const *digits = lsecond(args);

				if (!IsA(digits, Const) || digits->constisnull)
					return -1;
				return Max(DatumGetInt32(digits->constvalue), 0);
			}
		default:
			return -1;
	}
}

static int
scale_of_all(List *args)
{
	int			scale = -1;
	ListCell   *lc;

	foreach(lc, args)
	{
		int			one;

		if (IsA(lfirst(lc), Const) && ((Const *) lfirst(lc))->constisnull)
			continue;
		one = EdwFixedScale(lfirst(lc));
		if (one < 0 || (scale >= 0 && one != scale))
			return -1;
		scale = one;
	}
	return scale;
}

static int
scale_of_case(const CaseExpr *expr)
{
	List	   *results = NIL;
	ListCell   *lc;

	foreach(lc, expr->args)
		results = lappend(results, lfirst_node(CaseWhen, lc)->result);
	if (expr->defresult)
		results = lappend(results, expr->defresult);
	return scale_of_all(results);
}

int
EdwFixedScale(Node *expr)
{
	int32		typmod = exprTypmod(expr);

	if (getBaseTypeAndTypmod(exprType(expr), &typmod) != NUMERICOID)
		return -1;
	if (scale_of_typmod(typmod) >= 0 && !IsA(expr, Const))
		return scale_of_typmod(typmod);
	switch (nodeTag(expr))
	{
		case T_Const:
			return scale_of_const((Const *) expr);
		case T_FuncExpr:
			return scale_of_call(((FuncExpr *) expr)->funcid, ((FuncExpr *) expr)->args);
		case T_OpExpr:
			return scale_of_call(get_opcode(((OpExpr *) expr)->opno), ((OpExpr *) expr)->args);
		case T_CoalesceExpr:
			return scale_of_all(((CoalesceExpr *) expr)->args);
		case T_CaseExpr:
			return scale_of_case((CaseExpr *) expr);
		case T_RelabelType:
			return EdwFixedScale((Node *) ((RelabelType *) expr)->arg);
		default:
			return -1;
	}
}
