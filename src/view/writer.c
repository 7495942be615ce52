/*
 * writer.c
 *		Rows of a materialized view inserted, updated and deleted (see writer.h).
 *
 * A unique index must not see a new row before the old one that it replaces is gone, whichever order the
 * caller finds them in, and two rows may swap their values. So where there is one, deletes happen at once,
 * inserts wait for Close in a tuplestore, and an update that changes a column of a unique index is a delete and an
 * insert.
 *
 * Conflicts with other transactions cannot be: the locks of flush.h keep them out. Rows written carry
 * the command id of Open.
 */
#include "postgres.h"

#include "view/writer.h"

#include "access/tableam.h"
#include "access/xact.h"
#include "compat.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "optimizer/optimizer.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"
#include "view/capture.h"
#include "view/definition.h"

#define BATCH_ROWS	256
#define BATCH_BYTES	65536

struct EdwViewWriter
{
	MemoryContext context;
	Relation	view;
	Snapshot	snapshot;
	CommandId	cid;
	EState	   *estate;
	ResultRelInfo *result;
	bool		captured;		/* registered views read this one */
	bool		has_unique;		/* there is a unique index … */
	Bitmapset  *unique;			/* … and these columns make it differ */
	Bitmapset  *row_key;		/* columns of a plain one */
	Tuplestorestate *waiting;	/* inserts, where there is one; NULL until the first */
	TupleTableSlot *updated;	/* the new version of a row */
	TupleTableSlot **batch;		/* inserts, to be written together */
	int			nbatch;
	int			nslots;
	Size		batch_bytes;
};

/* Columns of an index, those of its expressions and predicate included. */
static Bitmapset *
index_columns(const IndexInfo *info, int natts)
{
	Bitmapset  *columns = NULL;
	Bitmapset  *used = NULL;

	for (int i = 0; i < info->ii_NumIndexKeyAttrs; i++)
		if (info->ii_IndexAttrNumbers[i] > 0)
			columns = bms_add_member(columns, info->ii_IndexAttrNumbers[i]);
	pull_varattnos((Node *) info->ii_Expressions, 1, &used);
	pull_varattnos((Node *) info->ii_Predicate, 1, &used);
	for (int i = 1; i <= natts; i++)
		if (bms_is_member(i - FirstLowInvalidHeapAttributeNumber, used) ||
			bms_is_member(0 - FirstLowInvalidHeapAttributeNumber, used))	/* whole row */
			columns = bms_add_member(columns, i);
	bms_free(used);
	return columns;
}

static void
find_unique(EdwViewWriter *writer)
{
	for (int i = 0; i < writer->result->ri_NumIndices; i++)
	{
		IndexInfo  *info = writer->result->ri_IndexRelationInfo[i];
		Bitmapset  *columns;

		if (!info->ii_Unique)
			continue;
		columns = index_columns(info, RelationGetNumberOfAttributes(writer->view));
		writer->has_unique = true;
		writer->unique = bms_add_members(writer->unique, columns);
		if (writer->row_key == NULL && info->ii_Expressions == NIL && info->ii_Predicate == NIL)
			writer->row_key = columns;
	}
}

EdwViewWriter *
EdwViewWriterOpen(Relation view, Snapshot snapshot)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "edw_stream view writer",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	EdwViewWriter *writer = palloc0(sizeof(EdwViewWriter));

	writer->context = context;
	writer->view = view;
	writer->snapshot = snapshot;
	writer->cid = GetCurrentCommandId(true);
	writer->estate = CreateExecutorState();
	writer->result = makeNode(ResultRelInfo);
	InitResultRelInfo(writer->result, view, 0, NULL, 0);
	ExecOpenIndices(writer->result, false);
	writer->captured = EdwViewsReading(RelationGetRelid(view)) != NIL;
	find_unique(writer);
	writer->updated = table_slot_create(view, NULL);
	writer->batch = palloc0(BATCH_ROWS * sizeof(TupleTableSlot *));
	MemoryContextSwitchTo(old);
	return writer;
}

const Bitmapset *
EdwViewWriterRowKey(const EdwViewWriter *writer)
{
	return writer->row_key;
}

/* Write the rows that are held. */
static void
write_batch(EdwViewWriter *writer)
{
	MemoryContext old;

	if (writer->nbatch == 0)
		return;
	old = MemoryContextSwitchTo(GetPerTupleMemoryContext(writer->estate));
	table_multi_insert(writer->view, writer->batch, writer->nbatch, writer->cid, 0, NULL);
	MemoryContextSwitchTo(writer->context);
	for (int i = 0; i < writer->nbatch; i++)
	{
		if (writer->result->ri_NumIndices > 0)
			list_free(EdwIndexInsert(writer->result, writer->batch[i], writer->estate));
		if (writer->captured)
			EdwCaptureRow(writer->view, writer->batch[i], 1);
		ExecClearTuple(writer->batch[i]);
		ResetPerTupleExprContext(writer->estate);
	}
	ResetPerTupleExprContext(writer->estate);
	MemoryContextSwitchTo(old);
	writer->nbatch = 0;
	writer->batch_bytes = 0;
}

/* Hold a row until there are enough of them to be written at once. */
static void
add_to_batch(EdwViewWriter *writer, TupleTableSlot *row)
{
	MemoryContext old = MemoryContextSwitchTo(writer->context);
	TupleTableSlot *slot;
	bool		should_free;
	HeapTuple	tuple;

	if (writer->nbatch == writer->nslots)
		writer->batch[writer->nslots++] = table_slot_create(writer->view, NULL);
	slot = writer->batch[writer->nbatch++];
	ExecCopySlot(slot, row);
	tuple = ExecFetchSlotHeapTuple(slot, false, &should_free);
	writer->batch_bytes += tuple->t_len;
	if (should_free)
		heap_freetuple(tuple);
	if (writer->nbatch == BATCH_ROWS || writer->batch_bytes >= BATCH_BYTES)
		write_batch(writer);
	MemoryContextSwitchTo(old);
}

void
EdwViewWriterInsert(EdwViewWriter *writer, TupleTableSlot *row)
{
	MemoryContext old;

	if (!writer->has_unique)
	{
		add_to_batch(writer, row);
		return;
	}
	old = MemoryContextSwitchTo(writer->context);
	if (writer->waiting == NULL)
		writer->waiting = tuplestore_begin_heap(false, false, work_mem);
	tuplestore_puttupleslot(writer->waiting, row);
	MemoryContextSwitchTo(old);
}

static void
check_result(TM_Result result, const char *what)
{
	if (result == TM_Updated || result == TM_Deleted)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent update")));
	if (result != TM_Ok)
		elog(ERROR, "could not %s a row of a materialized view: result %d", what, (int) result);
}

static void
delete_row(EdwViewWriter *writer, ItemPointer tid)
{
	TM_FailureData failure;

	check_result(table_tuple_delete(writer->view, tid, writer->cid, writer->snapshot,
									InvalidSnapshot, true, &failure, false), "delete");
}

void
EdwViewWriterDelete(EdwViewWriter *writer, ItemPointer tid, TupleTableSlot *old)
{
	delete_row(writer, tid);
	if (writer->captured)
		EdwCaptureRow(writer->view, old, -1);
}

/* Does the new row differ from the old one in what unique indexes look at? */
static bool
unique_changes(EdwViewWriter *writer, TupleTableSlot *old, TupleTableSlot *row)
{
	TupleDesc	desc = RelationGetDescr(writer->view);
	int			column = -1;

	while ((column = bms_next_member(writer->unique, column)) >= 0)
	{
		Form_pg_attribute attr = TupleDescAttr(desc, column - 1);
		bool		old_null;
		bool		new_null;
		Datum		old_value = slot_getattr(old, column, &old_null);
		Datum		new_value = slot_getattr(row, column, &new_null);

		if (old_null != new_null)
			return true;
		if (!old_null && !datum_image_eq(old_value, new_value, attr->attbyval, attr->attlen))
			return true;
	}
	return false;
}

void
EdwViewWriterUpdate(EdwViewWriter *writer, ItemPointer tid, TupleTableSlot *old,
					TupleTableSlot *row)
{
	MemoryContext context;
	TM_FailureData failure;
	LockTupleMode lock_mode;
	EdwUpdateIndexes update_indexes;

	if (unique_changes(writer, old, row))
	{
		EdwViewWriterDelete(writer, tid, old);
		EdwViewWriterInsert(writer, row);
		return;
	}
	context = MemoryContextSwitchTo(GetPerTupleMemoryContext(writer->estate));
	ExecCopySlot(writer->updated, row);
	check_result(table_tuple_update(writer->view, tid, writer->updated, writer->cid,
									writer->snapshot, InvalidSnapshot, true, &failure,
									&lock_mode, &update_indexes), "update");
	if (writer->result->ri_NumIndices > 0)
		(void) EdwIndexUpdate(writer->result, writer->updated, writer->estate, update_indexes);
	MemoryContextSwitchTo(context);
	if (writer->captured)
	{
		EdwCaptureRow(writer->view, old, -1);
		EdwCaptureRow(writer->view, writer->updated, 1);
	}
	ExecClearTuple(writer->updated);
	ResetPerTupleExprContext(writer->estate);
}

static void
write_waiting(EdwViewWriter *writer)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(writer->view),
													&TTSOpsMinimalTuple);

	while (tuplestore_gettupleslot(writer->waiting, true, false, slot))
		add_to_batch(writer, slot);
	ExecDropSingleTupleTableSlot(slot);
	tuplestore_end(writer->waiting);
}

void
EdwViewWriterClose(EdwViewWriter *writer)
{
	if (writer->waiting != NULL)
		write_waiting(writer);
	write_batch(writer);
	for (int i = 0; i < writer->nslots; i++)
		ExecDropSingleTupleTableSlot(writer->batch[i]);
	ExecDropSingleTupleTableSlot(writer->updated);
	ExecCloseIndices(writer->result);
	FreeExecutorState(writer->estate);
	MemoryContextDelete(writer->context);
	CommandCounterIncrement();
}
