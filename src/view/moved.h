/*
 * moved.h
 *		Rows that MERGE moves from one partition of a table to another.
 *
 * PostgreSQL counts such a row as deleted and inserted: it is in the transition tables of DELETE and INSERT, yet
 * their triggers fire only if the MERGE has such actions. Without them the change would go unnoticed.
 */
#ifndef EDW_VIEW_MOVED_H
#define EDW_VIEW_MOVED_H

#include "postgres.h"

/* From _PG_init: watch how statements start. */
extern void EdwMovedInit(void);

/* Has a statement started since the library was loaded? If not, the running one was not watched. */
extern bool EdwMovedWatched(void);

#endif							/* EDW_VIEW_MOVED_H */
