/*
 * delta_plan.h
 *		What method delta keeps of a group, and how the view's row follows from it; shared by
 *		the delta files.
 *
 * A group is known by items: counts, sums and extremes. An item's value is read from the view's
 * stored row where a column shows it, else from the group's state in edw_stream.view_group.
 */
#ifndef EDW_VIEW_DELTA_PLAN_H
#define EDW_VIEW_DELTA_PLAN_H

#include "apply/key.h"
#include "fmgr.h"
#include "nodes/parsenodes.h"
#include "view/delta.h"
#include "view/delta_flatten.h"

/* one of the expressions that identify a row of the view */
typedef struct EdwDeltaGroup
{
	Expr	   *expr;			/* over the flat join */
	AttrNumber	column;			/* of the view */
	Oid			type;
	int32		typmod;
	Oid			collation;
	Oid			eq_operator;
	Oid			sort_operator;
	bool		hashable;
	bool		not_null;
	EdwKeyKind	key_kind;
} EdwDeltaGroup;

typedef enum EdwDeltaItemKind
{
	EDW_ITEM_COUNT,				/* int8 */
	EDW_ITEM_SUM,				/* numeric, whatever sum() returns */
	EDW_ITEM_EXTREME			/* min or max */
} EdwDeltaItemKind;

typedef struct EdwDeltaItem
{
	EdwDeltaItemKind kind;
	Aggref	   *aggref;			/* over the flat join */
	AttrNumber	column;			/* the view's column that shows it, or 0 */
	int			state;			/* its place in the group's state, or -1 */

	/* sum: how many inputs are not null is this item; all inputs have one scale */
	int			count;
	bool		fixed_scale;

	/* extreme */
	bool		is_max;
	Oid			compare;		/* btree support function */
} EdwDeltaItem;

typedef enum EdwDeltaResultKind
{
	EDW_RESULT_ITEM,
	EDW_RESULT_AVG				/* of item, a sum */
} EdwDeltaResultKind;

/* an aggregate of the view's query */
typedef struct EdwDeltaResult
{
	EdwDeltaResultKind kind;
	int			item;
	Oid			type;
} EdwDeltaResult;

struct EdwDelta
{
	Oid			view;
	EdwFlatJoin join;
	Bitmapset **columns;		/* by relation of the join: attnums that are used */
	int			ngroups;
	EdwDeltaGroup *groups;
	int			nitems;
	EdwDeltaItem *items;		/* the first one is count(*) */
	int			nresults;
	EdwDeltaResult *results;
	int			nstates;		/* items that the view does not show */
	uint32		signature;		/* of what the state's elements mean */

	/*
	 * The view's columns; var 1 stands for a row of the groups' values and, after them,
	 * the results.
	 */
	List	   *outputs;		/* Expr * */
};

/* row of outputs' inputs: attribute numbers */
#define EDW_DELTA_GROUP_ATT(g)			((g) + 1)
#define EDW_DELTA_RESULT_ATT(delta, r)	((delta)->ngroups + (r) + 1)

#endif							/* EDW_VIEW_DELTA_PLAN_H */
