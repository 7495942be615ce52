/*
 * index_walk.h
 *		A btree index, walked from key to key.
 *
 * An index scan comes from the root for each key. A walk stays in the leaf page where it is while keys are there. It holds that page
 * locked, so the caller ends it (EdwIndexWalkRest) before it does anything else that may take long.
 */
#ifndef EDW_APPLY_INDEX_WALK_H
#define EDW_APPLY_INDEX_WALK_H

#include "access/nbtree.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

typedef struct EdwIndexWalk
{
	Relation	table;
	Relation	index;
	Snapshot	snapshot;
	BTScanInsert key;
	Buffer		leaf;			/* the pages at hand, locked; invalid: none */
	Buffer		parent;

	/* what searches have found, and how many leaf pages they went to, since the caller set these to 0 */
	int			nleaves;
	ItemPointerData *tids;
	int			ntids;
	int			max_tids;
} EdwIndexWalk;

/* Memory is of the current context. The index is not of expressions, and stays open as long as it is walked. */
extern void EdwIndexWalkBegin(EdwIndexWalk *walk, Relation table, Relation index, Snapshot snapshot);

/* How many columns a key has. */
extern int	EdwIndexWalkColumns(const EdwIndexWalk *walk);

/* The key to look for next, as the index's columns are. False: it has a null, which is equal to nothing. */
extern bool EdwIndexWalkSetKey(EdwIndexWalk *walk, const Datum *values, const bool *nulls);

/* Which leaf page the key is on, from those above it alone; InvalidBlockNumber: there are none. A hint, until somebody splits it. */
extern BlockNumber EdwIndexWalkFindLeaf(EdwIndexWalk *walk);

/* Add to tids what the key's entries point at, those that are known to be dead aside. leaf: the hint, or InvalidBlockNumber. */
extern void EdwIndexWalkSearch(EdwIndexWalk *walk, BlockNumber leaf);

/* Let go of all pages. */
extern void EdwIndexWalkRest(EdwIndexWalk *walk);

/* Does the row in the slot have the key? */
extern bool EdwIndexWalkMatches(const EdwIndexWalk *walk, TupleTableSlot *slot);

#endif							/* EDW_APPLY_INDEX_WALK_H */
