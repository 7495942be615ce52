/*
 * rows.h
 *		A batch's rows for one target, as a relation that a statement can read.
 */
#ifndef EDW_APPLY_ROWS_H
#define EDW_APPLY_ROWS_H

#include "apply/feed.h"
#include "apply/fold.h"
#include "apply/merge_sql.h"

typedef struct EdwRows
{
	EdwFeed		feed;			/* for EdwFeedExecute */
	const EdwShape *shape;
	EdwFoldChange **changes;	/* by _edw_row */
} EdwRows;

extern void EdwRowsBegin(EdwRows *rows, const EdwShape *shape, EdwFoldChange **changes, int nrows);

/*
 * The least and greatest value of each of the target's bounds among the rows, of which there is one at least: parameters
 * of the statement, 2 * nbounds, in the current context.
 */
extern void EdwRowsBounds(const EdwTarget *target, EdwFoldChange **changes, int nrows,
						  Oid **types, Datum **values);

#endif							/* EDW_APPLY_ROWS_H */
