/*
 * guard.h
 *		The question that the MERGE asks of every row: shall this be done?
 */
#ifndef EDW_APPLY_GUARD_H
#define EDW_APPLY_GUARD_H

#include "apply/tombstone.h"

/* the batch that a MERGE of this session is applying now */
typedef struct EdwGuard
{
	EdwEntry  **rows;			/* by _edw_row */
	int			nrows;
	int			ncolumns;		/* of the target */
	bool		made_up;		/* a row that no event wrote may be an inferred member: nothing is stored */
	EdwTombstones *tombstones;
	struct EdwGuard *outer;		/* a trigger that drains another stream */
} EdwGuard;

extern void EdwGuardEnter(EdwGuard *guard);
extern void EdwGuardLeave(EdwGuard *guard);

#endif							/* EDW_APPLY_GUARD_H */
