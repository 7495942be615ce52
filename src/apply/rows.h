/*
 * rows.h
 *		A batch's rows for one target, as a relation that a statement can read.
 */
#ifndef EDW_APPLY_ROWS_H
#define EDW_APPLY_ROWS_H

#include "apply/fold.h"
#include "apply/merge_sql.h"
#include "utils/queryenvironment.h"

typedef struct EdwRows
{
	EphemeralNamedRelationData enr; /* for SPI_register_relation */
	const EdwShape *shape;
	EdwFoldChange **changes;	/* by _edw_row */
	int			nrows;
	struct EdwRows *outer;		/* a trigger that drains another stream */
} EdwRows;

/* Make statements that are planned from now until EdwRowsLeave read these rows. */
extern void EdwRowsEnter(EdwRows *rows, const EdwShape *shape, EdwFoldChange **changes, int nrows);

/*
 * The least and greatest value of each of the target's bounds among the rows, of which there is one at least: parameters
 * of the statement, 2 * nbounds, in the current context.
 */
extern void EdwRowsBounds(const EdwTarget *target, EdwFoldChange **changes, int nrows,
						  Oid **types, Datum **values);

/* In PG_FINALLY. */
extern void EdwRowsLeave(EdwRows *rows);

/* _PG_init: the hook that lets the planner read them. */
extern void EdwRowsInit(void);

#endif							/* EDW_APPLY_ROWS_H */
