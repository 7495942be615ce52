/*
 * refresh.h
 *		Partitions of a view computed anew and compared with what is stored; only rows that
 *		differ are written.
 */
#ifndef EDW_VIEW_REFRESH_H
#define EDW_VIEW_REFRESH_H

#include "view/definition.h"
#include "utils/snapshot.h"

/* added to edw_stream.view_stat */
typedef struct EdwViewCounts
{
	int64		affected;		/* partitions that changes concerned */
	int64		refreshed;		/* partitions computed anew; of delta: groups touched */
	int64		compared;		/* rows */
	int64		inserted;
	int64		updated;
	int64		deleted;
} EdwViewCounts;

/*
 * keys as in EdwViewQueryForKeys, NULL: the whole view. The caller holds the view's lock (flush.h) and is between
 * EdwViewEnter and EdwViewLeave. Memory is bounded by work_mem, however large the partitions are.
 */
extern void EdwViewRefreshKeys(const EdwViewDef *def, List *const *keys, Snapshot snapshot,
						   EdwViewCounts *counts);

#endif							/* EDW_VIEW_REFRESH_H */
