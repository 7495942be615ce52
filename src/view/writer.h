/*
 * writer.h
 *		Rows of a materialized view inserted, updated and deleted, below the executor,
 *		which refuses DML on one.
 *
 * Indexes, unique ones included, are kept; statistics are counted; nothing fires, as materialized views have
 * no triggers. Each written row is captured (capture.h) if other registered views read this one.
 */
#ifndef EDW_VIEW_WRITER_H
#define EDW_VIEW_WRITER_H

#include "executor/tuptable.h"
#include "nodes/bitmapset.h"
#include "storage/itemptr.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

typedef struct EdwViewWriter EdwViewWriter;

/* The view is open and locked by the caller (flush.h). snapshot: rows to be updated or deleted are those it sees. */
extern EdwViewWriter *EdwViewWriterOpen(Relation view, Snapshot snapshot);

/*
 * Columns that tell the view's rows apart, where a unique index says so; NULL: none does. Rows with a
 * null among them are not told apart.
 */
extern const Bitmapset *EdwViewWriterRowKey(const EdwViewWriter *writer);

extern void EdwViewWriterInsert(EdwViewWriter *writer, TupleTableSlot *row);
/* old: the stored row; in place (HOT where no indexed column differs) */
extern void EdwViewWriterUpdate(EdwViewWriter *writer, ItemPointer tid, TupleTableSlot *old, TupleTableSlot *row);
extern void EdwViewWriterDelete(EdwViewWriter *writer, ItemPointer tid, TupleTableSlot *old);
/* What was written is visible to queries of this transaction afterwards. */
extern void EdwViewWriterClose(EdwViewWriter *writer);

#endif							/* EDW_VIEW_WRITER_H */
