/*
 * version_rows.c
 *		Keys, versions and rows of a table of versions as a relation (see version_rows.h).
 */
#include "postgres.h"

#include "apply/version_rows.h"
#include "catalog/pg_type.h"

/* how far ahead of the row at hand memory is asked for */
#define PREFETCH_ROWS	4

/* columns of the relation, before those of the target */
enum
{
	ROW_KEY, ROW_TID, ROW_TABLE, ROW_FROM, ROW_TO, ROW_CURRENT, ROW_SEQ, ROW_OWN
};

typedef struct RowsScan
{
	const EdwVersionRows *rows;
	int			ncolumns;
	int		   *columns;		/* from 0 on; below it: not shown here */
	bytea	   *seq;			/* of the row at hand */
} RowsScan;

static TupleDesc
row_type(const EdwTarget *target)
{
	TupleDesc	desc = CreateTemplateTupleDesc(ROW_OWN + target->ncolumns);
	Oid			time_type = target->versioned->time_type;

	TupleDescInitEntry(desc, ROW_KEY + 1, "_edw_row", INT4OID, -1, 0);
	TupleDescInitEntry(desc, ROW_TID + 1, "_edw_tid", TIDOID, -1, 0);
	TupleDescInitEntry(desc, ROW_TABLE + 1, "_edw_table", OIDOID, -1, 0);
	TupleDescInitEntry(desc, ROW_FROM + 1, "_edw_from", time_type, -1, 0);
	TupleDescInitEntry(desc, ROW_TO + 1, "_edw_to", time_type, -1, 0);
	TupleDescInitEntry(desc, ROW_CURRENT + 1, "_edw_current", BOOLOID, -1, 0);
	TupleDescInitEntry(desc, ROW_SEQ + 1, "_edw_seq", BYTEAOID, -1, 0);
	for (int i = 0; i < target->ncolumns; i++)
	{
		const EdwTargetColumn *column = &target->columns[i];

		TupleDescInitEntry(desc, ROW_OWN + i + 1, column->name, column->type, column->typmod, 0);
		TupleDescInitEntryCollation(desc, ROW_OWN + i + 1, column->collation);
	}
	return desc;
}

static Datum
seq_datum(RowsScan *scan, const EdwTimelineEvent *opener)
{
	SET_VARSIZE(scan->seq, VARHDRSZ + opener->position_len);
	if (opener->position_len > 0)
		memcpy(VARDATA(scan->seq), opener->position, opener->position_len);
	return PointerGetDatum(scan->seq);
}

/* A column of the target: a version's, but for the key, which is the same in all of them. */
static void
show_own(const EdwTarget *target, const EdwVersionRow *row, int i, Datum *value, bool *isnull)
{
	if (target->columns[i].is_key)
		*value = row->history->entry->live.values[i];
	else if (row->version == NULL)
		*isnull = true;
	else
	{
		*value = row->version->values[i];
		*isnull = row->version->nulls[i];
	}
}

static void
show_column(RowsScan *scan, int number, int column, Datum *value, bool *isnull)
{
	const EdwTarget *target = scan->rows->scd2->bt->target;
	const EdwVersioned *versioned = target->versioned;
	const EdwVersionRow *row = &scan->rows->rows[number];
	const EdwTimelineVersion *version = row->version;

	*isnull = false;
	if (column >= ROW_OWN)
		show_own(target, row, column - ROW_OWN, value, isnull);
	else if (column == ROW_KEY)
		*value = Int32GetDatum(number);
	else if (column == ROW_TID || column == ROW_TABLE)
	{
		*isnull = row->address == NULL;
		if (row->address != NULL)
			*value = column == ROW_TID ? PointerGetDatum(&row->address->tid) : ObjectIdGetDatum(row->address->tableoid);
	}
	else if (version == NULL)
		*isnull = true;
	else if (column == ROW_FROM)
		*value = EdwVersionTimeDatum(versioned->time_type, version->from);
	else if (column == ROW_TO)
	{
		*value = EdwVersionTimeDatum(versioned->time_type, version->to);
		*isnull = version->to == EDW_TIMELINE_OPEN && versioned->open_null;
	}
	else if (column == ROW_CURRENT)
		*value = BoolGetDatum(version->to == EDW_TIMELINE_OPEN);
	else
	{
		const EdwTimelineEvent *opener = &row->history->timeline.events[version->opener];

		*value = seq_datum(scan, opener);
		*isnull = opener->position_len == 0;
	}
}

/*
 * Histories, versions, what they point at, and what that points at are all over the batch's memory: each is asked for some rows ahead.
 * Inlined always: gcc takes a function that does nothing else for one that does nothing.
 */
static pg_attribute_always_inline void
prefetch(const EdwVersionRows *rows, int next)
{
	const EdwVersionRow *row;

	if (next + 3 * PREFETCH_ROWS >= rows->feed.nrows)
		return;
	row = &rows->rows[next + 3 * PREFETCH_ROWS];
	__builtin_prefetch(row->history);
	__builtin_prefetch(&row->history->timeline.events);
	__builtin_prefetch(row->version);
	row = &rows->rows[next + 2 * PREFETCH_ROWS];
	__builtin_prefetch(&row->history->entry->live);
	if (row->version == NULL)
		return;
	__builtin_prefetch(row->version->values);
	__builtin_prefetch(row->version->nulls);
	__builtin_prefetch(&row->history->timeline.events[row->version->opener]);
	row = &rows->rows[next + PREFETCH_ROWS];
	__builtin_prefetch(row->history->entry->live.values);
	__builtin_prefetch(row->history->timeline.events[row->version->opener].position);
	for (int i = 0; i < rows->npointers; i++)
		__builtin_prefetch(DatumGetPointer(row->version->values[rows->pointers[i]]));
}

static void
show_row(void *arg, int number, Datum *values, bool *nulls)
{
	RowsScan   *scan = arg;

	prefetch(scan->rows, number);
	for (int i = 0; i < scan->ncolumns; i++)
		if (scan->columns[i] >= 0)
			show_column(scan, number, scan->columns[i], &values[i], &nulls[i]);
}

static void *
begin_scan(const EdwFeed *feed, const AttrNumber *columns, int ncolumns)
{
	RowsScan   *scan = palloc0(sizeof(RowsScan));

	scan->rows = (const EdwVersionRows *) feed;
	scan->ncolumns = ncolumns;
	scan->columns = palloc(Max(ncolumns, 1) * sizeof(int));
	for (int i = 0; i < ncolumns; i++)
		scan->columns[i] = columns[i] - 1;
	scan->seq = palloc(VARHDRSZ + EDW_EPOCH_BYTES + EDW_POSITION_MAX);
	return scan;
}

void
EdwVersionRowsBegin(EdwVersionRows *rows, const EdwScd2 *scd2, int size)
{
	const EdwTarget *target = scd2->bt->target;

	EdwFeedBegin(&rows->feed, EDW_VERSIONS_RELATION, row_type(target), 0);
	rows->feed.begin = begin_scan;
	rows->feed.show = show_row;
	rows->feed.tid = ROW_TID + 1;
	rows->feed.tableoid = ROW_TABLE + 1;
	rows->scd2 = scd2;
	rows->rows = EdwBatchAlloc(scd2->batch, Max(size, 1) * sizeof(EdwVersionRow));
	rows->pointers = EdwBatchAlloc(scd2->batch, Max(target->ncolumns, 1) * sizeof(int));
	rows->npointers = 0;
	for (int i = 0; i < target->ncolumns; i++)
		if (!target->columns[i].typbyval)
			rows->pointers[rows->npointers++] = i;
}

void
EdwVersionRowsPut(EdwVersionRows *rows, const EdwHistory *history, const EdwTimelineVersion *version, EdwRowAddress *address)
{
	rows->rows[rows->feed.nrows++] = (EdwVersionRow) {history, version, address};
}
