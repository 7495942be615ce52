/*
 * flush.h
 *		Captured changes into registered views, in the transaction that made them.
 *
 * Locks, to the end of the transaction, views in the order of their OIDs: first ROW EXCLUSIVE on all materialized
 * views that are not deferred, which keeps REFRESH out and lets readers and autovacuum in; then all views' change
 * locks (advisory lock space, class 0x4556, the view's OID) exclusive. Then the newest snapshot is
 * taken, whatever the transaction's isolation level: it sees all that earlier holders of the lock committed.
 * So of two transactions that touch one view the later one sees the earlier one's rows, and no change is
 * stranded between them (G3; docs/design.md). The refresher has a lock of its own (pending.h):
 * writers never wait for it.
 */
#ifndef EDW_VIEW_FLUSH_H
#define EDW_VIEW_FLUSH_H

#include "postgres.h"

/*
 * Bring all views up to date with what is captured, those on other views after them; deferred ones get their
 * partitions noted (pending.h). No-op when nothing is captured. Raises what the views' queries raise; EdwFlushCurrent
 * then tells which view it was. Counts go to edw_stream.view_stat.
 */
extern void EdwFlush(void);

/*
 * ERROR when called from what a view's query runs during EdwFlush: what a function there changes would not
 * reach the views, as it is known by then what they are to be brought up to date with.
 */
extern void EdwFlushRefuseChanges(void);

/* The view that is being flushed; after an ERROR the one that raised it; InvalidOid: none. */
extern Oid	EdwFlushCurrent(void);

#endif							/* EDW_VIEW_FLUSH_H */
