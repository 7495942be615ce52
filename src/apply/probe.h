/*
 * probe.h
 *		Where the rows of a table are: looked up by a unique index, many keys at a time.
 *
 * An index scan looks for one row after the other, and waits for the memory of each. A probe takes a window of
 * keys: it walks the index with all of them, asks for the pages of all their rows, and only then looks at
 * the first. Keys that are sorted as the index is share its leaf pages; any order is right.
 */
#ifndef EDW_APPLY_PROBE_H
#define EDW_APPLY_PROBE_H

#include "executor/tuptable.h"
#include "storage/itemptr.h"
#include "storage/lockdefs.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

/* most keys of a window */
#define EDW_PROBE_WINDOW	32

typedef struct EdwProbe EdwProbe;

/* Can indexes of the table, which is locked, be probed? It may be of another access method. */
extern bool EdwProbeCan(Oid relid);

/*
 * Begin, in the current context. The index is a unique btree without predicate, expressions or deferred checks. The
 * snapshot stays the caller's, and is an MVCC one.
 */
extern EdwProbe *EdwProbeBegin(Relation table, Oid index, LOCKMODE lockmode, Snapshot snapshot);
extern void EdwProbeEnd(EdwProbe *probe);

/* How many columns a key has. */
extern int	EdwProbeKeyColumns(const EdwProbe *probe);

/*
 * The key at a place of the window, to be filled in: of the index's column types, in its order. What values point at must
 * stay while the window is looked up.
 */
extern void EdwProbeKey(EdwProbe *probe, int at, Datum **values, bool **nulls);

/* Look up the first nkeys of the window. */
extern void EdwProbeLookUp(EdwProbe *probe, int nkeys);

/* The row of the key at a place, as the snapshot sees it; false: there is none. */
extern bool EdwProbeFound(const EdwProbe *probe, int at, ItemPointer tid);

/* Is the row in the slot one of the key at a place? */
extern bool EdwProbeMatches(EdwProbe *probe, int at, TupleTableSlot *slot);

#endif							/* EDW_APPLY_PROBE_H */
