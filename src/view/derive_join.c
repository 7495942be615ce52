/*
 * derive_join.c
 *		Join trees as sets of inner joins.
 *
 * A row of an outer join comes about in two ways: by a match, or without one. Each way is an inner join;
 * without a match the other side is left out and its columns are null (where it is a table as it is, its
 * having no match is made sure of). If it is the other side that changed, it must stay, as its changed rows
 * tell for which rows the match came or went. A way on which a clause is strict in columns that are null
 * there is none. Pure.
 */
#include "postgres.h"

#include "compat.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "view/derive_build.h"
#include "view/derive_relax.h"

/* more ways than this are not worth planning */
#define MAX_VARIANTS	64

typedef struct JoinContext
{
	EdwRelaxing *relaxing;
	const EdwItem *items;
	List	   *perminfos;
	int			target;
	bool		too_many;
} JoinContext;

static List *variants_of(JoinContext *context, Node *node);

static List *
substitute_clauses(JoinContext *context, Node *clause, const Bitmapset *nulled)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, EdwAppendConjuncts(NIL, clause))
	{
		Node	   *each = EdwSubstituteClause(context->relaxing, context->items, nulled, lfirst(lc));

		if (each != NULL)
			result = lappend(result, each);
	}
	return result;
}

/* both sides, which must match by the clause */
static EdwVariant *
joined(JoinContext *context, const EdwVariant *left, const EdwVariant *right, Node *clause)
{
	EdwVariant *variant = palloc(sizeof(EdwVariant));

	variant->items = bms_union(left->items, right->items);
	variant->nulled = bms_union(left->nulled, right->nulled);
	variant->clauses = list_concat(list_concat_copy(left->clauses, right->clauses),
								   substitute_clauses(context, clause, variant->nulled));
	return variant;
}

/* Is the clause never true of a row in which these items' columns are null? */
static bool
is_never_true(Node *clause, const Bitmapset *nulled)
{
	return clause != NULL && bms_overlap(find_nonnullable_rels(clause), nulled);
}

static bool
can_match(const EdwVariant *left, const EdwVariant *right, Node *clause)
{
	return !is_never_true(clause, left->nulled) && !is_never_true(clause, right->nulled);
}

/* Vars of one item become those of a subquery's only one; the others are of the level above. */
static Node *
lower_vars(Node *node, const int *item)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var		   *var = copyObject((Var *) node);

		if (var->varlevelsup > 0 || var->varno != *item)
			var->varlevelsup++;
		else
			var->varno = var->varnosyn = 1;
		return (Node *) var;
	}
	return expression_tree_mutator(node, lower_vars, (void *) item);
}

/*
 * NOT EXISTS (SELECT FROM item WHERE clause), if the item is a table as it is and all of the clause is known; NULL:
 * whether there is a match cannot be told.
 */
static Node *
no_match(JoinContext *context, Node *other, Node *clause, const Bitmapset *nulled)
{
	int			item = IsA(other, RangeTblRef) ? ((RangeTblRef *) other)->rtindex : 0;
	List	   *clauses = substitute_clauses(context, clause, nulled);
	RangeTblEntry *rte = context->items[item].rte;
	RangeTblRef *ref = makeNode(RangeTblRef);
	Query	   *query = makeNode(Query);
	SubLink    *exists = makeNode(SubLink);

	if (item == 0 || rte == NULL || rte->rtekind != RTE_RELATION ||
		list_length(clauses) < list_length(EdwAppendConjuncts(NIL, clause)))
		return NULL;
	ref->rtindex = 1;
	query->commandType = CMD_SELECT;
	query->canSetTag = true;
	query->rtable = list_make1(copyObject(rte));
	EdwQuerySetPermInfos(query, copyObject(context->perminfos));
	query->jointree = makeFromExpr(list_make1(ref), clauses == NIL ? NULL :
								   lower_vars((Node *) make_ands_explicit(clauses), &item));
	exists->subLinkType = EXISTS_SUBLINK;
	exists->subselect = (Node *) query;
	exists->location = -1;
	return (Node *) makeBoolExpr(NOT_EXPR, list_make1(exists), -1);
}

/* a row of one side without a match, where the columns of the other are null */
static EdwVariant *
unmatched(const EdwVariant *row, const Bitmapset *other_side, Node *condition)
{
	EdwVariant *variant = palloc(sizeof(EdwVariant));

	variant->items = row->items;
	variant->nulled = bms_union(row->nulled, other_side);
	variant->clauses = condition == NULL ? row->clauses
		: lappend(list_copy(row->clauses), condition);
	return variant;
}

static List *
add_variant(JoinContext *context, List *variants, EdwVariant *variant)
{
	if (list_length(variants) >= MAX_VARIANTS)
	{
		context->too_many = true;
		return variants;
	}
	return lappend(variants, variant);
}

/* rows of side, whose match in the other side may be missing */
static List *
add_unmatched(JoinContext *context, List *variants, List *matched, List *side, Node *other, Node *clause)
{
	Bitmapset  *other_items = EdwJointreeItems(other);
	bool		other_changed = bms_is_member(context->target, other_items);
	ListCell   *lc;

	foreach(lc, other_changed ? matched : side)
	{
		EdwVariant *row = lfirst(lc);

		variants = add_variant(context, variants,
							   unmatched(row, other_items, other_changed ? NULL :
										 no_match(context, other, clause, row->nulled)));
	}
	return variants;
}

static List *
join_variants(JoinContext *context, JoinExpr *join)
{
	List	   *left = variants_of(context, join->larg);
	List	   *right = variants_of(context, join->rarg);
	List	   *matched = NIL;
	List	   *variants;
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, left)
	{
		foreach(lc2, right)
		{
			if (can_match(lfirst(lc), lfirst(lc2), join->quals))
				matched = add_variant(context, matched,
									  joined(context, lfirst(lc), lfirst(lc2), join->quals));
		}
	}
	variants = list_copy(matched);
	if (join->jointype == JOIN_LEFT || join->jointype == JOIN_FULL)
		variants = add_unmatched(context, variants, matched, left, join->rarg, join->quals);
	if (join->jointype == JOIN_RIGHT || join->jointype == JOIN_FULL)
		variants = add_unmatched(context, variants, matched, right, join->larg, join->quals);
	return variants;
}

static List *
from_variants(JoinContext *context, FromExpr *from)
{
	EdwVariant *empty = palloc0(sizeof(EdwVariant));
	List	   *variants = list_make1(empty);
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, from->fromlist)
	{
		List	   *next = variants_of(context, lfirst(lc));
		List	   *product = NIL;
		ListCell   *lc2;
		ListCell   *lc3;

		foreach(lc2, variants)
		{
			foreach(lc3, next)
				product = add_variant(context, product,
									  joined(context, lfirst(lc2), lfirst(lc3), NULL));
		}
		variants = product;
	}
	foreach(lc, variants)
	{
		EdwVariant *variant = lfirst(lc);

		if (is_never_true(from->quals, variant->nulled))
			continue;
		variant->clauses = list_concat_copy(variant->clauses,
											substitute_clauses(context, from->quals, variant->nulled));
		result = lappend(result, variant);
	}
	return result;
}

static List *
variants_of(JoinContext *context, Node *node)
{
	EdwVariant *variant;

	if (IsA(node, JoinExpr))
		return join_variants(context, (JoinExpr *) node);
	if (IsA(node, FromExpr))
		return from_variants(context, (FromExpr *) node);

	variant = palloc0(sizeof(EdwVariant));
	if (context->items[castNode(RangeTblRef, node)->rtindex].rte != NULL)
		variant->items = bms_make_singleton(((RangeTblRef *) node)->rtindex);
	return list_make1(variant);
}

List *
EdwJoinVariants(EdwRelaxing *relaxing, const EdwItem *items, List *perminfos, Node *jointree, int target)
{
	JoinContext context = {relaxing, items, perminfos, target, false};
	List	   *variants = variants_of(&context, jointree);

	return context.too_many ? NIL : variants;
}

static bool
collect_nullable(Node *node, Bitmapset **nullable)
{
	if (node == NULL)
		return false;
	if (IsA(node, JoinExpr))
	{
		JoinExpr   *join = (JoinExpr *) node;

		if (join->jointype == JOIN_LEFT || join->jointype == JOIN_FULL)
			*nullable = bms_join(*nullable, EdwJointreeItems(join->rarg));
		if (join->jointype == JOIN_RIGHT || join->jointype == JOIN_FULL)
			*nullable = bms_join(*nullable, EdwJointreeItems(join->larg));
		return collect_nullable(join->larg, nullable) || collect_nullable(join->rarg, nullable);
	}
	if (IsA(node, FromExpr))
		return collect_nullable((Node *) ((FromExpr *) node)->fromlist, nullable);
	if (IsA(node, List))
		return expression_tree_walker(node, collect_nullable, nullable);
	return false;
}

Bitmapset *
EdwNullableItems(Node *jointree)
{
	Bitmapset  *nullable = NULL;

	collect_nullable(jointree, &nullable);
	return nullable;
}

/* the items that clauses tie to this one; restricted: some clause is about it alone */
static Bitmapset *
neighbours_of(const EdwVariant *variant, const EdwItem *items, int item, bool *restricted)
{
	Bitmapset  *neighbours = bms_intersect(items[item].refers, variant->items);
	ListCell   *lc;

	*restricted = false;
	foreach(lc, variant->clauses)
	{
		Bitmapset  *mentioned = pull_varnos_of_level(NULL, lfirst(lc), 0);

		if (!bms_is_member(item, mentioned))
			continue;
		if (bms_membership(mentioned) == BMS_SINGLETON)
			*restricted = true;
		neighbours = bms_join(neighbours, mentioned);
	}
	return bms_del_member(neighbours, item);
}

static bool
is_referred_to(const EdwVariant *variant, const EdwItem *items, int item)
{
	int			other = -1;

	while ((other = bms_next_member(variant->items, other)) >= 0)
		if (bms_is_member(item, items[other].refers))
			return true;
	return false;
}

static void
remove_item(EdwVariant *variant, int item)
{
	List	   *clauses = NIL;
	ListCell   *lc;

	variant->items = bms_del_member(bms_copy(variant->items), item);
	foreach(lc, variant->clauses)
	{
		if (!bms_is_member(item, pull_varnos_of_level(NULL, lfirst(lc), 0)))
			clauses = lappend(clauses, lfirst(lc));
	}
	variant->clauses = clauses;
}

/* A leaf of the join graph that neither is needed nor restricts anything by itself; 0: none. */
static int
find_superfluous(const EdwVariant *variant, const EdwItem *items, const Bitmapset *keep)
{
	int			item = -1;

	while ((item = bms_next_member(variant->items, item)) >= 0)
	{
		bool		restricted;
		Bitmapset  *neighbours;

		if (bms_is_member(item, keep) || is_referred_to(variant, items, item))
			continue;
		neighbours = neighbours_of(variant, items, item, &restricted);
		if (bms_is_empty(neighbours) || (!restricted && bms_membership(neighbours) == BMS_SINGLETON))
			return item;
	}
	return 0;
}

/* all items that clauses and lateral references tie to this one, in however many steps */
static Bitmapset *
tied_to(const EdwVariant *variant, const EdwItem *items, int item)
{
	Bitmapset  *tied = bms_make_singleton(item);
	int			before;

	do
	{
		int			other = -1;
		ListCell   *lc;

		before = bms_num_members(tied);
		foreach(lc, variant->clauses)
		{
			Bitmapset  *mentioned = pull_varnos_of_level(NULL, lfirst(lc), 0);

			if (bms_overlap(mentioned, tied))
				tied = bms_join(tied, mentioned);
		}
		while ((other = bms_next_member(variant->items, other)) >= 0)
		{
			Bitmapset  *refers = bms_intersect(items[other].refers, variant->items);

			if (bms_is_member(other, tied))
				tied = bms_join(tied, refers);
			else if (bms_overlap(refers, tied))
				tied = bms_add_member(tied, other);
		}
	} while (bms_num_members(tied) > before);
	return tied;
}

bool
EdwPruneVariant(EdwVariant *variant, const EdwItem *items, const Bitmapset *needed, int target)
{
	Bitmapset  *keep = bms_copy(needed);
	Bitmapset  *tied;
	Bitmapset  *apart;
	int			item;

	if (target > 0)
		keep = bms_add_member(keep, target);
	while ((item = find_superfluous(variant, items, keep)) > 0)
		remove_item(variant, item);
	if (target == 0)
		return true;

	tied = tied_to(variant, items, target);
	if (!bms_is_subset(needed, tied))
		return false;
	apart = bms_difference(variant->items, tied);
	item = -1;
	while ((item = bms_next_member(apart, item)) >= 0)
		remove_item(variant, item);
	return true;
}
