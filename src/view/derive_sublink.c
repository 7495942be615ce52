/*
 * derive_sublink.c
 *		Subqueries in expressions: EXISTS, IN, ANY, ALL, scalar ones.
 *
 * What such an expression says of a row can only differ if the subquery's result for that row does. So the
 * subquery that holds the changed occurrence is joined, laterally, to the rows that it is asked for. Pure.
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "view/derive_build.h"
#include "view/derive_relax.h"

typedef struct FindContext
{
	int			number;
	SubLink    *found;
} FindContext;

static bool
find_sublink(Node *node, FindContext *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubLink) && EdwHasOccurrence(((SubLink *) node)->subselect, context->number))
	{
		context->found = (SubLink *) node;
		return true;
	}
	/* other levels are not looked into */
	if (IsA(node, Query))
		return false;
	return expression_tree_walker(node, find_sublink, context);
}

/* parameters of a comparison stand for the subquery's columns */
static Node *
params_to_vars(Node *node, const int *item)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_SUBLINK)
	{
		Param	   *param = (Param *) node;

		return (Node *) makeVar(*item, param->paramid, param->paramtype, param->paramtypmod, param->paramcollid, 0);
	}
	return expression_tree_mutator(node, params_to_vars, (void *) item);
}

/* Which of the subquery's rows matter to the expression; NULL: all do. */
static Node *
matters(const SubLink *sublink, int item, bool is_condition)
{
	BooleanTest *test = makeNode(BooleanTest);
	Node	   *comparison;

	if (sublink->subLinkType != ANY_SUBLINK && sublink->subLinkType != ALL_SUBLINK)
		return NULL;
	comparison = params_to_vars(sublink->testexpr, &item);
	if (sublink->subLinkType == ANY_SUBLINK && is_condition)
		return comparison;
	test->arg = (Expr *) comparison;
	test->booltesttype = sublink->subLinkType == ANY_SUBLINK ? IS_NOT_FALSE : IS_NOT_TRUE;
	test->location = -1;
	return (Node *) test;
}

/* A conjunct of WHERE that is nothing but such a subquery. */
static SubLink *
find_condition(const Query *query, int number)
{
	ListCell   *lc;

	foreach(lc, EdwAppendConjuncts(NIL, query->jointree->quals))
	{
		SubLink    *sublink = lfirst(lc);

		if (IsA(sublink, SubLink) && EdwHasOccurrence(sublink->subselect, number))
			return sublink;
	}
	return NULL;
}

bool
EdwJoinSublink(Query *query, int number)
{
	FindContext context = {number, NULL};
	SubLink    *condition = find_condition(query, number);
	RangeTblRef *ref = makeNode(RangeTblRef);
	Query	   *subquery;
	Node	   *clause;

	if (condition != NULL)
		context.found = condition;
	else if (!find_sublink((Node *) query->targetList, &context) &&
			 !find_sublink(query->havingQual, &context) &&
			 !find_sublink(query->jointree->quals, &context))
	{
		/* in ON: whether it concerns pairs alone is known of inner joins only */
		find_sublink((Node *) query->jointree, &context);
		if (context.found == NULL || EdwNullableItems((Node *) query->jointree) != NULL)
			return false;
	}

	subquery = copyObject(castNode(Query, context.found->subselect));
	query->rtable = lappend(query->rtable,
							EdwMakeSubqueryRte(subquery, "subquery", contain_vars_of_level((Node *) subquery, 1)));
	ref->rtindex = list_length(query->rtable);
	query->jointree->fromlist = lappend(query->jointree->fromlist, ref);
	clause = matters(context.found, ref->rtindex, condition != NULL);
	if (clause != NULL)
		query->jointree->quals = (Node *) make_ands_explicit(EdwAppendConjuncts(list_make1(clause),
																				query->jointree->quals));
	return true;
}
