/*
 * delta_stored.h
 *		A group's stored row, found through an index of the materialized view.
 */
#ifndef EDW_VIEW_DELTA_STORED_H
#define EDW_VIEW_DELTA_STORED_H

#include "executor/tuptable.h"
#include "utils/rel.h"
#include "utils/snapshot.h"
#include "view/delta_plan.h"

typedef struct EdwDeltaStored EdwDeltaStored;

/* The view's index whose first columns are as many of the groups as there are; InvalidOid: none begins with one. */
extern Oid	EdwDeltaIndex(const EdwDelta *delta, Relation view);

/* In the current context. The snapshot is in use until Close. */
extern EdwDeltaStored *EdwDeltaStoredOpen(const EdwDelta *delta, Relation view, Oid index,
										  Snapshot snapshot);

/* The row of a group, valid until the next call; NULL: there is none. Its place is its tts_tid. */
extern TupleTableSlot *EdwDeltaStoredFind(EdwDeltaStored *stored, const NullableDatum *groups);

extern void EdwDeltaStoredClose(EdwDeltaStored *stored);

#endif							/* EDW_VIEW_DELTA_STORED_H */
