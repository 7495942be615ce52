/*
 * stat.h
 *		edw_stream.view_stat: what was done for a view.
 */
#ifndef EDW_VIEW_STAT_H
#define EDW_VIEW_STAT_H

#include "utils/snapshot.h"
#include "view/refresh.h"

/*
 * Count one refresh of a view, which took so long. The snapshot must be newer than
 * all refreshes of it that others committed: the caller holds its lock (flush.h, pending.h).
 */
extern void EdwViewStatAdd(Oid view, const EdwViewCounts *counts, int64 elapsed_us,
						   Snapshot snapshot);

#endif							/* EDW_VIEW_STAT_H */
