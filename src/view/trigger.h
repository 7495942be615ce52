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
 * Put the triggers on a table and its partitions and children, where they are missing. The caller must
 * own the table or have TRIGGER on it (checked here). Takes ShareRowExclusiveLock.
 */
extern void EdwViewTriggersCreate(Oid relid);

/* Take them away from a table and all below it that no registered view reads any more. */
extern void EdwViewTriggersDrop(Oid relid);

/* Are all there and enabled? If not, message says which table. */
extern bool EdwViewTriggersIntact(Oid relid, char **message);

/* Is it the name of one of them? */
extern bool EdwViewTriggerIsOurs(const char *name);

/* The tables (Oid) that a table is a partition or inheritance child of, at any distance. */
extern List *EdwViewTablesAbove(Oid relid);

#endif							/* EDW_VIEW_TRIGGER_H */
