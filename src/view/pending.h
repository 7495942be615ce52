/*
 * pending.h
 *		edw_stream.view_pending: partitions of deferred views that are to be refreshed.
 *
 * Append-only for writers, so that none waits for another. The refresher deletes what it sees and refreshes just
 * that, in one transaction with one snapshot: what is committed later stays for the next time (G3).
 */
#ifndef EDW_VIEW_PENDING_H
#define EDW_VIEW_PENDING_H

#include "view/definition.h"
#include "view/refresh.h"

/* Note partitions (keys as in EdwViewQueryForKeys, NULL: all) for the refresher. */
extern void EdwPendingAdd(const EdwViewDef *def, List *const *keys);

/*
 * Refresh what is pending for a view, within the caller's transaction. False: nothing was. Takes the view's
 * refresh lock (advisory lock space, class 0x4557, the view's OID) exclusive and ROW EXCLUSIVE on the view, and only then
 * a snapshot, with which it reads the pending partitions and computes them. It does not take the change lock of
 * flush.h: what commits meanwhile has pending rows of its own.
 */
extern bool EdwPendingWorkOff(Oid view, EdwViewCounts *counts);

#endif							/* EDW_VIEW_PENDING_H */
