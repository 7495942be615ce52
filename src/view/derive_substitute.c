/*
 * derive_substitute.c
 *		Expressions of a query carried over to its relaxed form.
 *
 * What is not known (an aggregate, a column that an aggregate made) becomes a marker: a parameter that no
 * plan ever sees, as clauses that hold one are dropped and columns that hold one are null. Pure.
 */
#include "postgres.h"

#include "compat.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "utils/lsyscache.h"
#include "view/derive_relax.h"

typedef struct SubstituteContext
{
	EdwRelaxing *relaxing;
	const EdwItem *items;
	const Bitmapset *nulled;
	int			depth;
} SubstituteContext;

static Node *
make_marker(EdwRelaxing *relaxing, Node *in_place_of, const char *why)
{
	Param	   *param = makeNode(Param);

	relaxing->reasons = lappend(relaxing->reasons, unconstify(char *, why != NULL ? why : "It is not wanted."));
	param->paramkind = PARAM_EXEC;
	param->paramid = -list_length(relaxing->reasons);
	param->paramtype = exprType(in_place_of);
	param->paramtypmod = exprTypmod(in_place_of);
	param->paramcollid = exprCollation(in_place_of);
	param->location = -1;
	return (Node *) param;
}

static bool
find_marker(Node *node, int *id)
{
	if (node == NULL)
		return false;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXEC && ((Param *) node)->paramid < 0)
	{
		*id = -((Param *) node)->paramid;
		return true;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, find_marker, id, 0);
	return expression_tree_walker(node, find_marker, id);
}

const char *
EdwFindMarker(const EdwRelaxing *relaxing, Node *node)
{
	int			id;

	return find_marker(node, &id) ? list_nth(relaxing->reasons, id - 1) : NULL;
}

/* what is known of the column that a Var of this level stands for */
static EdwColumn
column_of(const EdwItem *items, const Var *var)
{
	const EdwItem *item = &items[var->varno];
	EdwColumn	column = {EDW_KNOWN_EXACT, NULL};

	if (item->rte == NULL)
	{
		column.known = EDW_UNKNOWN;
		column.why = item->why;
	}
	else if (var->varattno <= 0)
	{
		column.known = EDW_UNKNOWN;
		column.why = var->varattno == 0 ? "It is made from a whole row." : "It is made from a system column.";
	}
	else if (item->columns != NULL)
		column = item->columns[var->varattno - 1];
	return column;
}

static Node *
substitute_var(SubstituteContext *context, Var *var, bool equal_will_do)
{
	EdwColumn	column;

	if (bms_is_member(var->varno, context->nulled))
		return (Node *) makeNullConst(var->vartype, var->vartypmod, var->varcollid);
	column = column_of(context->items, var);
	if (column.known == EDW_UNKNOWN)
		return make_marker(context->relaxing, (Node *) var, column.why);
	if (column.known == EDW_KNOWN_EQUAL && !equal_will_do)
		return make_marker(context->relaxing, (Node *) var,
						   "It is computed from a grouping column whose equal values may look different.");
	var = copyObject(var);
	EdwVarForgetNulling(var);
	return (Node *) var;
}

static Node *
substitute_mutator(Node *node, SubstituteContext *context)
{
	Index		depth = context->depth;

	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		if (((Var *) node)->varlevelsup == depth)
			return substitute_var(context, (Var *) node, false);
		return copyObject(node);
	}
	if (IsA(node, Aggref) && ((Aggref *) node)->agglevelsup == depth)
		return make_marker(context->relaxing, node, "It is computed by an aggregate.");
	if (IsA(node, GroupingFunc) && ((GroupingFunc *) node)->agglevelsup == depth)
		return make_marker(context->relaxing, node, "It is computed by GROUPING.");
	if (IsA(node, WindowFunc) && depth == 0)
		return make_marker(context->relaxing, node, "It is computed by a window function.");
	if (IsA(node, SubLink) && depth == 0)
		return make_marker(context->relaxing, node, "It is computed by a subquery.");
	if (IsA(node, Query))
	{
		Query	   *result;

		context->depth++;
		result = query_tree_mutator((Query *) node, substitute_mutator, context, 0);
		context->depth--;
		return (Node *) result;
	}
	return expression_tree_mutator(node, substitute_mutator, context);
}

Node *
EdwSubstitute(EdwRelaxing *relaxing, const EdwItem *items, const Bitmapset *nulled, Node *node, int depth)
{
	SubstituteContext context = {relaxing, items, nulled, depth};

	/* a bare column is itself, if only up to equality */
	if (node != NULL && IsA(node, Var) && ((Var *) node)->varlevelsup == (Index) depth)
		return substitute_var(&context, (Var *) node, true);
	/* a Query that is handed in is itself a level */
	if (node != NULL && IsA(node, Query))
		context.depth--;
	return substitute_mutator(node, &context);
}

/* Does the operator compare by the equality that GROUP BY uses? */
static bool
is_plain_equality(const OpExpr *op)
{
	Node	   *left;
	Node	   *right;

	if (list_length(op->args) != 2)
		return false;
	left = linitial(op->args);
	right = lsecond(op->args);
	return exprType(left) == exprType(right) && op_mergejoinable(op->opno, exprType(left)) &&
		(!OidIsValid(op->inputcollid) ||
		 (exprCollation(left) == op->inputcollid && exprCollation(right) == op->inputcollid));
}

Node *
EdwSubstituteClause(EdwRelaxing *relaxing, const EdwItem *items, const Bitmapset *nulled, Node *clause)
{
	Node	   *result;

	if (IsA(clause, OpExpr) && is_plain_equality((OpExpr *) clause))
	{
		OpExpr	   *op = makeNode(OpExpr);

		*op = *(OpExpr *) clause;
		op->args = list_make2(EdwSubstitute(relaxing, items, nulled, linitial(op->args), 0),
							  EdwSubstitute(relaxing, items, nulled, lsecond(op->args), 0));
		result = (Node *) op;
	}
	else
	{
		SubstituteContext context = {relaxing, items, nulled, 0};

		/* equal values will not do: not even for a bare boolean column */
		result = substitute_mutator(clause, &context);
	}
	return EdwFindMarker(relaxing, result) != NULL ? NULL : result;
}
