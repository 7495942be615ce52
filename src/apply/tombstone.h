/*
 * tombstone.h
 *		What was deleted, so that a late older event does not bring it back (O8).
 *
 * Read row by row while a MERGE runs, straight from the index and as the extension;
 * written once per target and batch, those of keys that have none together.
 */
#ifndef EDW_APPLY_TOMBSTONE_H
#define EDW_APPLY_TOMBSTONE_H

#include "apply/fold.h"

typedef struct EdwTombstones EdwTombstones;

/*
 * Open for one target, for keys that nobody else writes tombstones of meanwhile. A look in the order of keys
 * is free unless a tombstone is near.
 */
extern EdwTombstones *EdwTombstonesOpen(int32 mapping_id);

/* The position under which a key was deleted; len 0: it was not. Valid until the next call. */
extern EdwPositionBytes EdwTombstoneFind(EdwTombstones *tombstones,
										 const uint8 *key, int key_len);

extern void EdwTombstonesClose(EdwTombstones *tombstones);

/* Write the tombstones that entries carry (bury), which are sorted by key. */
extern void EdwTombstonesWrite(EdwTombstones *tombstones, EdwEntry **entries, int n);

/*
 * Delete what is no longer remembered: run a statement of $1, the time before which it is forgotten
 * (edw_stream.tombstone_retention), and $2, the most to delete. Returns how many.
 */
extern int64 EdwPruneForgotten(const char *sql, int64 limit);

#endif							/* EDW_APPLY_TOMBSTONE_H */
