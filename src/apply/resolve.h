/*
 * resolve.h
 *		Entries whose meaning depends on the stored row, replayed against it.
 */
#ifndef EDW_APPLY_RESOLVE_H
#define EDW_APPLY_RESOLVE_H

#include "apply/tombstone.h"

/*
 * For each entry that has replay set: find the stored row, go through the entry's changes in
 * the order of the source, and leave in final, bury, expect … what is to be done. Counts
 * every change but the final one's.
 */
extern void EdwResolveEntries(EdwBatch *batch, EdwBatchTarget *bt, EdwTombstones *tombstones);

/*
 * Which of these entries, each with one change, the stored row, its tombstone or a truncate has overtaken: what the
 * MERGE's guard will find as well. stale has room for n.
 */
extern void EdwFindStale(EdwBatch *batch, EdwBatchTarget *bt, EdwTombstones *tombstones,
						 EdwEntry **entries, int n, bool *stale);

#endif							/* EDW_APPLY_RESOLVE_H */
