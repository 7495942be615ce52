/*
 * pending.h
 *		edw_stream.view_pending: partitions of deferred views that are to be refreshed.
 *
 * Append-only for writers, so that none waits for another. The refresher deletes what it sees and refreshes just
 * that, in one transaction with one snapshot: what is committed later stays for the next time (G3).
 */
#ifndef EDW_VIEW_PENDING_H
#define EDW_VIEW_PENDING_H

#include "datatype/timestamp.h"
#include "view/definition.h"
#include "view/refresh.h"

/* Note partitions (keys as in EdwViewQueryForKeys, NULL: all) for the refresher. */
extern void EdwPendingAdd(const EdwViewDef *def, List *const *keys);

/*
 * Refresh what is pending for a view (whole: all of it), within the caller's transaction. False: nothing
 * was. Takes the view's refresh lock (advisory lock space, class 0x4557, the view's OID) exclusive and ROW
 * EXCLUSIVE on the view, and only then a snapshot, with which it reads the pending partitions and computes
 * them. It does not take the change lock of flush.h: what commits meanwhile has pending rows of its own. A
 * failure that was recorded is cleared. Counts go to edw_stream.view_stat.
 */
extern bool EdwPendingWorkOff(Oid view, bool whole);

/* a deferred view with something pending, as the refresher sees it */
typedef struct EdwPendingView
{
	Oid			view;
	TimestampTz noted_at;		/* the oldest of what is pending */
	int64		max_staleness_ms;
	int64		last_us;		/* what the last refresh took; 0: there was none */
} EdwPendingView;

/* All of them, palloc'd, but those that wait for somebody to act (EdwPendingSetFailed). */
extern EdwPendingView *EdwPendingList(int *n);

/*
 * Record in edw_stream.view that a view's refresh failed: passing: it is tried again by itself (reason
 * retrying), else it is left alone until refresh_view() or DDL mend it (reason refresh_failed).
 */
extern void EdwPendingSetFailed(Oid view, bool passing, const char *message, const char *hint);

/* Forget what is pending for views that are not deferred, or not registered, any more. */
extern void EdwPendingForgetOthers(void);

#endif							/* EDW_VIEW_PENDING_H */
