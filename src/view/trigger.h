/*
 * trigger.h
 *		The triggers on relations that registered views read.
 *
 * Four per table, of the name edw_stream_view_…: AFTER INSERT, UPDATE, DELETE (with transition tables) and TRUNCATE,
 * FOR EACH STATEMENT, ENABLE ALWAYS. Partitions and inheritance children have them too, since DML may name
 * them. They are ordinary triggers: pg_dump brings them back.
 */
#ifndef EDW_VIEW_TRIGGER_H
#define EDW_VIEW_TRIGGER_H

#include "nodes/pg_list.h"

/*
 * Put the triggers on a table that a view is to read, on its partitions and children, and on what it is a
 * partition or child of, where they are missing. Waits for all who write to them, also where the triggers
 * are there. Not for materialized views. ERROR if a table cannot carry them, or the caller has no TRIGGER
 * privilege on it.
 */
extern void EdwViewTriggersCreate(Oid relid);

/*
 * The same after DDL, which holds the locks that matter: only tables that lack triggers are locked, and what
 * is disabled stays so.
 */
extern void EdwViewTriggersComplete(Oid relid);

/*
 * Take them away from a table and those around it, where no registered view needs them any more. On a table
 * that somebody uses they stay, and do nothing, until this is asked for again: the caller has the view
 * locked, for which that one may wait.
 */
extern void EdwViewTriggersDrop(Oid relid);

/* ERROR for a table that cannot carry them, or could lose rows without them. */
extern void EdwViewTriggersCheck(Oid relid);

/* Does a registered view read the table, or one above or below it? */
extern bool EdwViewTriggersNeeded(Oid relid);

typedef enum EdwViewTriggers
{
	EDW_TRIGGERS_INTACT,
	EDW_TRIGGERS_DISABLED,
	EDW_TRIGGERS_MISSING
} EdwViewTriggers;

/* Of a table and those around it. If not intact, *message says which: a clause without period. */
extern EdwViewTriggers EdwViewTriggersState(Oid relid, char **message);

/* Triggers that ENABLE TRIGGER made ordinary ones fire always again. */
extern void EdwViewTriggersEnable(Oid relid);

/* Is it the name of one of them? */
extern bool EdwViewTriggerIsOurs(const char *name);

/* The tables (Oid) that a table is a partition or inheritance child of, at any distance. */
extern List *EdwViewTablesAbove(Oid relid);

/* The same of a table that this transaction has dropped. */
extern List *EdwViewTablesAboveDropped(Oid relid);

#endif							/* EDW_VIEW_TRIGGER_H */
