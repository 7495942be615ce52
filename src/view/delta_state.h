/*
 * delta_state.h
 *		edw_stream.view_group: what is known of a view's groups besides what the view shows.
 *
 * A row is only meant with the view's stored row of that group: without it, it means nothing and is
 * written over. Its first element tells what the others are, so that a view whose needs
 * changed (a column lost its NOT NULL) does not take one count for another.
 */
#ifndef EDW_VIEW_DELTA_STATE_H
#define EDW_VIEW_DELTA_STATE_H

#include "utils/snapshot.h"
#include "view/delta_plan.h"

typedef struct EdwDeltaState EdwDeltaState;

/* In the current context. The snapshot is in use until Close. */
extern EdwDeltaState *EdwDeltaStateOpen(const EdwDelta *delta, Snapshot snapshot);

/*
 * Set those of a group's items that are in its state; false: it has none that is of use. Put and Delete
 * are for the group that was looked for last.
 */
extern bool EdwDeltaStateFind(EdwDeltaState *state, const NullableDatum *groups,
							  NullableDatum *items);
extern void EdwDeltaStatePut(EdwDeltaState *state, const NullableDatum *items);
extern void EdwDeltaStateDelete(EdwDeltaState *state);

extern void EdwDeltaStateClose(EdwDeltaState *state);

/* Forget all groups of a view; cheap if there are none. */
extern void EdwDeltaStateClear(Oid view, Snapshot snapshot);

#endif							/* EDW_VIEW_DELTA_STATE_H */
