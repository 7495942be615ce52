/*
 * delta_group.h
 *		The arithmetic of one group: its items after a change, and the view's row from them.
 */
#ifndef EDW_VIEW_DELTA_GROUP_H
#define EDW_VIEW_DELTA_GROUP_H

#include "executor/tuptable.h"
#include "view/delta_plan.h"

typedef enum EdwDeltaOutcome
{
	EDW_DELTA_KNOWN,			/* the items are what they would be from scratch */
	EDW_DELTA_UNKNOWN,			/* only the base tables can tell */
	EDW_DELTA_IMPOSSIBLE		/* likewise, and the group was not what it should have been */
} EdwDeltaOutcome;

typedef struct EdwDeltaArithmetic EdwDeltaArithmetic;

/* In the current context, as the view's owner: the functions of outputs are looked up. */
extern EdwDeltaArithmetic *EdwDeltaArithmeticCreate(const EdwDelta *delta);
extern void EdwDeltaArithmeticFree(EdwDeltaArithmetic *arithmetic);

/*
 * Items are int8 counts, numeric sums (0 if there is nothing to sum) and extremes (null if there is
 * none). A group that does not exist has those of EdwDeltaNothing.
 */
extern void EdwDeltaNothing(const EdwDelta *delta, NullableDatum *items);

/* Those that the view's stored row shows. */
extern void EdwDeltaShown(const EdwDelta *delta, TupleTableSlot *stored, NullableDatum *items);

/* change: a row of a query of delta_query.h. after is set if the outcome is KNOWN. */
extern EdwDeltaOutcome EdwDeltaAfter(EdwDeltaArithmetic *arithmetic, const NullableDatum *before,
									 TupleTableSlot *change, NullableDatum *after);

/* The view's row, into an empty virtual slot of its shape. Memory is the current context's. */
extern void EdwDeltaRow(EdwDeltaArithmetic *arithmetic, const NullableDatum *groups,
						const NullableDatum *items, TupleTableSlot *row);

#endif							/* EDW_VIEW_DELTA_GROUP_H */
