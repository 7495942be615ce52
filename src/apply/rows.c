/*
 * rows.c
 *		A batch's rows as a relation that a statement can read (see rows.h): a feed (feed.h) of the
 *		values that the decoder made.
 *
 * All memory is the caller's or the executor's.
 */
#include "postgres.h"

#include "apply/rows.h"
#include "catalog/pg_type.h"
#include "prefetch.h"
#include "utils/typcache.h"

/* how far ahead of the row at hand memory is asked for */
#define PREFETCH_ROWS	12
#define PREFETCH_BYTES	384

/* what a column of the scan shows, when it is none of the target's */
enum
{
	SHOW_WHOLE = -1,			/* is shown by the feed itself */
	SHOW_ROW = -2,
	SHOW_OP = -3,
	SHOW_SEQ = -4,
	SHOW_DELETED = -5
};

typedef struct Shown
{
	int			what;			/* one of the above, or an index into the target's columns */
	bool		keep;			/* of that column: does the row leave it as it is? */
} Shown;

typedef struct RowsScan
{
	const EdwRows *rows;
	int			nshown;
	Shown	   *shown;
	int			npointers;		/* columns whose values are elsewhere */
	int		   *pointers;
	bytea	   *seq;			/* of the row at hand */
} RowsScan;

/*
 * The relation
 */

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

/* What the relation's column attno is: row_type's counterpart. */
static Shown
shown_by(const EdwShape *shape, int attno)
{
	const EdwTarget *target = shape->target;
	int			n = 3;

	if (attno == 0)
		return (Shown) {SHOW_WHOLE, false};
	if (attno <= 3)
		return (Shown) {attno == 1 ? SHOW_ROW : attno == 2 ? SHOW_OP : SHOW_SEQ, false};
	if (target->deleted_attnum != 0 && attno == ++n)
		return (Shown) {SHOW_DELETED, false};
	for (int i = 0; i < target->ncolumns; i++)
		if (shape->written[i] && attno == ++n)
			return (Shown) {i, false};
	for (int i = 0; i < target->ncolumns; i++)
		if (shape->kept[i] && attno == ++n)
			return (Shown) {i, true};
	elog(ERROR, "the batch has no column %d", attno);
}

void
EdwRowsBounds(const EdwTarget *target, EdwFoldChange **changes, int nrows, Oid **types, Datum **values)
{
	*types = palloc(Max(2 * target->nbounds, 1) * sizeof(Oid));
	*values = palloc(Max(2 * target->nbounds, 1) * sizeof(Datum));
	for (int b = 0; b < target->nbounds; b++)
	{
		const EdwTargetColumn *column = &target->columns[target->bounds[b]];
		TypeCacheEntry *entry = lookup_type_cache(column->type, TYPECACHE_CMP_PROC_FINFO);
		Datum	   *least = &(*values)[2 * b];
		Datum	   *greatest = &(*values)[2 * b + 1];

		(*types)[2 * b] = (*types)[2 * b + 1] = column->type;
		*least = *greatest = changes[0]->values[target->bounds[b]];
		for (int r = 1; r < nrows; r++)
		{
			Datum		value = changes[r]->values[target->bounds[b]];

			if (DatumGetInt32(FunctionCall2Coll(&entry->cmp_proc_finfo, column->collation, value, *least)) < 0)
				*least = value;
			if (DatumGetInt32(FunctionCall2Coll(&entry->cmp_proc_finfo, column->collation, value, *greatest)) > 0)
				*greatest = value;
		}
	}
}

/*
 * Scanning
 */

static inline Datum
seq_datum(RowsScan *scan, EdwPositionBytes position)
{
	SET_VARSIZE(scan->seq, VARHDRSZ + position.len);
	memcpy(VARDATA(scan->seq), position.bytes, position.len);
	return PointerGetDatum(scan->seq);
}

/*
 * Rows stand in the order of their keys, so they are all over the batch's memory; but an entry, its
 * key, values and position were mostly made one after another (fold.c). What the values
 * point at is asked for when they are there.
 */
static pg_attribute_always_inline void
prefetch(const RowsScan *scan, int next)
{
	EdwFoldChange **changes = scan->rows->changes;

	if (next + PREFETCH_ROWS >= scan->rows->feed.nrows)
		return;
	EdwPrefetch(changes[next + PREFETCH_ROWS], PREFETCH_BYTES);
	for (int i = 0; i < scan->npointers; i++)
		__builtin_prefetch(DatumGetPointer(changes[next + PREFETCH_ROWS / 2]->values[scan->pointers[i]]));
}

static void
show_row(void *arg, int number, Datum *values, bool *nulls)
{
	RowsScan   *scan = arg;
	const EdwFoldChange *c = scan->rows->changes[number];

	prefetch(scan, number);
	for (int i = 0; i < scan->nshown; i++)
	{
		int			what = scan->shown[i].what;
		Datum	   *value = &values[i];
		bool	   *isnull = &nulls[i];

		*isnull = false;
		if (what >= 0 && scan->shown[i].keep)
			*value = BoolGetDatum(c->presence[what] != EDW_PRESENT);
		else if (what >= 0)
		{
			*value = c->values[what];
			*isnull = c->presence[what] != EDW_PRESENT || c->nulls[what];
		}
		else if (what == SHOW_ROW)
			*value = Int32GetDatum(number);
		else if (what == SHOW_OP)
			*value = CharGetDatum(c->op);
		else if (what == SHOW_DELETED)
			*value = BoolGetDatum(c->deleted);
		else if (what == SHOW_SEQ)
		{
			*value = seq_datum(scan, c->position);
			*isnull = c->position.len == 0;
		}
	}
}

static void *
begin_scan(const EdwFeed *feed, const AttrNumber *columns, int ncolumns)
{
	RowsScan   *scan = palloc0(sizeof(RowsScan));

	scan->rows = (const EdwRows *) feed;
	scan->nshown = ncolumns;
	scan->shown = palloc(Max(ncolumns, 1) * sizeof(Shown));
	scan->pointers = palloc(Max(ncolumns, 1) * sizeof(int));
	for (int i = 0; i < ncolumns; i++)
	{
		Shown		shown = shown_by(scan->rows->shape, columns[i]);

		scan->shown[i] = shown;
		if (shown.what >= 0 && !shown.keep && !scan->rows->shape->target->columns[shown.what].typbyval)
			scan->pointers[scan->npointers++] = shown.what;
	}
	scan->seq = palloc(VARHDRSZ + EDW_EPOCH_BYTES + EDW_POSITION_MAX);
	return scan;
}

void
EdwRowsBegin(EdwRows *rows, const EdwShape *shape, EdwFoldChange **changes, int nrows)
{
	EdwFeedBegin(&rows->feed, EDW_BATCH_RELATION, row_type(shape), nrows);
	rows->feed.begin = begin_scan;
	rows->feed.show = show_row;
	rows->shape = shape;
	rows->changes = changes;
}
