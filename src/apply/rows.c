/*
 * rows.c
 *		A batch's rows as an ephemeral named relation over a tuplestore (see rows.h).
 *
 * The planner is told of few rows whatever the batch holds: it then probes the target's
 * index for each, where the true number would make it hash the whole target (see
 * README.md for what was measured). Lives in the current memory context.
 */
#include "postgres.h"

#include "apply/rows.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"

#define PLANNED_ROWS	10

static TupleDesc
row_type(const EdwShape *shape)
{
	const EdwTarget *target = shape->target;
	TupleDesc	desc;
	int			natts = target->deleted_attnum != 0 ? 4 : 3;

	for (int i = 0; i < target->ncolumns; i++)
		natts += shape->written[i] + shape->kept[i];
	desc = CreateTemplateTupleDesc(natts);
	TupleDescInitEntry(desc, 1, EDW_BATCH_ROW, INT4OID, -1, 0);
	TupleDescInitEntry(desc, 2, EDW_BATCH_OP, CHAROID, -1, 0);
	TupleDescInitEntry(desc, 3, EDW_BATCH_SEQ, BYTEAOID, -1, 0);
	natts = 3;
	if (target->deleted_attnum != 0)
		TupleDescInitEntry(desc, ++natts, EDW_BATCH_DELETED, BOOLOID, -1, 0);
	for (int i = 0; i < target->ncolumns; i++)
	{
		const EdwTargetColumn *column = &target->columns[i];

		if (!shape->written[i])
			continue;
		TupleDescInitEntry(desc, ++natts, column->name, column->type, column->typmod, 0);
		TupleDescInitEntryCollation(desc, natts, column->collation);
	}
	for (int i = 0; i < target->ncolumns; i++)
	{
		char		name[NAMEDATALEN];

		if (!shape->kept[i])
			continue;
		snprintf(name, sizeof(name), EDW_BATCH_KEEP "%d", i);
		TupleDescInitEntry(desc, ++natts, name, BOOLOID, -1, 0);
	}
	return desc;
}

void
EdwRowsBegin(EdwRows *rows, const EdwShape *shape)
{
	memset(rows, 0, sizeof(EdwRows));
	rows->shape = shape;
	rows->desc = row_type(shape);
	rows->store = tuplestore_begin_heap(false, false, work_mem);
	rows->values = palloc(rows->desc->natts * sizeof(Datum));
	rows->nulls = palloc(rows->desc->natts * sizeof(bool));
	rows->seq = palloc(VARHDRSZ + EDW_EPOCH_BYTES + EDW_POSITION_MAX);
	rows->enr.md.name = EDW_BATCH_RELATION;
	rows->enr.md.tupdesc = rows->desc;
	rows->enr.md.enrtype = ENR_NAMED_TUPLESTORE;
	rows->enr.md.enrtuples = PLANNED_ROWS;
	rows->enr.reldata = rows->store;
}

void
EdwRowsAdd(EdwRows *rows, int number, const EdwFoldChange *change)
{
	const EdwShape *shape = rows->shape;
	int			ncolumns = shape->target->ncolumns;
	int			n = 3;

	rows->values[0] = Int32GetDatum(number);
	rows->nulls[0] = false;
	rows->values[1] = CharGetDatum(change->op);
	rows->nulls[1] = false;
	SET_VARSIZE(rows->seq, VARHDRSZ + change->position.len);
	memcpy(VARDATA(rows->seq), change->position.bytes, change->position.len);
	rows->values[2] = PointerGetDatum(rows->seq);
	rows->nulls[2] = change->position.len == 0;
	if (shape->target->deleted_attnum != 0)
	{
		rows->values[n] = BoolGetDatum(change->deleted);
		rows->nulls[n++] = false;
	}
	for (int i = 0; i < ncolumns; i++)
	{
		if (!shape->written[i])
			continue;
		rows->values[n] = change->values[i];
		rows->nulls[n] = change->presence[i] != EDW_PRESENT || change->nulls[i];
		n++;
	}
	for (int i = 0; i < ncolumns; i++)
	{
		if (!shape->kept[i])
			continue;
		rows->values[n] = BoolGetDatum(change->presence[i] != EDW_PRESENT);
		rows->nulls[n] = false;
		n++;
	}
	tuplestore_putvalues(rows->store, rows->desc, rows->values, rows->nulls);
}

void
EdwRowsEnd(EdwRows *rows)
{
	tuplestore_end(rows->store);
	FreeTupleDesc(rows->desc);
}
