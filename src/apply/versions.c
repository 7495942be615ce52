/*
 * versions.c
 *		The rows of a table of versions: read for a batch's keys, and written (see scd2.h).
 *
 * What statements read are the keys, and the versions as the timeline made them (version_rows.h).
 *
 * A row that was read is found again by its ctid. If somebody changed it meanwhile, the
 * statement passes over it (PostgreSQL looks at the new row, whose ctid is another), fewer rows are
 * written than were to be, and the batch is retried. Versions that end are written before versions that
 * begin, so that a unique index on the current version holds row by row.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "apply/key.h"
#include "apply/merge_sql.h"
#include "apply/repoint.h"
#include "apply/version_rows.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/guc.h"

/*
 * Reading
 */

/*
 * The statement's columns are row, ctid, tableoid, _edw_seq, valid_from, valid_to, the mapping's. OFFSET 0 keeps the
 * planner from hashing the whole table for a batch: without statistics it takes a natural key, which is not
 * unique here, for that of many rows.
 */
static char *
read_sql(const EdwTarget *target)
{
	const EdwVersioned *versioned = target->versioned;
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT s._edw_row, v.*\nFROM " EDW_VERSIONS_RELATION " AS s CROSS JOIN LATERAL"
					 "\n\t(SELECT t.ctid, t.tableoid, t._edw_seq, t.%s, t.%s",
					 versioned->valid_from, versioned->valid_to);
	for (int i = 0; i < target->ncolumns; i++)
		appendStringInfo(&sql, ", t.%s", target->columns[i].quoted);
	for (int r = 0; r < target->nreferrers; r++)
		appendStringInfo(&sql, ", t.%s", target->referrers[r].key);
	if (target->def->inferred)
		appendStringInfoString(&sql, ", t." EDW_INFERRED_COLUMN);
	appendStringInfo(&sql, "\n\tFROM %s AS t WHERE ", target->relation);
	EdwAppendKeyMatch(&sql, target);
	appendStringInfoString(&sql, " OFFSET 0) AS v");
	return sql.data;
}

/* A row that was made for facts that came before their member. */
static void
note_inferred(const EdwTarget *target, EdwHistory *history, const Datum *values)
{
	history->inferred = true;
	history->inferred_from = EdwVersionTimeOf(target->versioned->time_type, values[4]);
	ItemPointerCopy((ItemPointer) DatumGetPointer(values[1]), &history->inferred_address.tid);
	history->inferred_address.tableoid = DatumGetObjectId(values[2]);
}

static void
note_version(EdwScd2 *scd2, HeapTuple tuple, TupleDesc desc)
{
	const EdwTarget *target = scd2->bt->target;
	int			natts = desc->natts;
	Datum	   *values = EdwBatchAlloc(scd2->batch, natts * (sizeof(Datum) + sizeof(bool)));
	bool	   *nulls = (bool *) (values + natts);
	EdwHistory *history;
	EdwTimelineVersion *version;
	int			v;

	heap_deform_tuple(tuple, desc, values, nulls);
	history = &scd2->histories[DatumGetInt32(values[0])];
	if (nulls[4])
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("a row of table %s has no %s", target->relation, target->versioned->valid_from),
				 errhint("Each version needs a beginning; -infinity is one.")));
	if (target->def->inferred && nulls[3] && !nulls[natts - 1] && DatumGetBool(values[natts - 1]))
	{
		note_inferred(target, history, values);
		return;
	}
	if (history->timeline.nstored == history->stored_size)
	{
		int			size = Max(2, 2 * history->stored_size);
		EdwTimelineVersion *stored = EdwBatchAlloc(scd2->batch, size * sizeof(EdwTimelineVersion));
		EdwRowAddress *addresses = EdwBatchAlloc(scd2->batch, size * sizeof(EdwRowAddress));
		EdwPositionBytes *openers = EdwBatchAlloc(scd2->batch, size * sizeof(EdwPositionBytes));

		if (history->timeline.nstored > 0)
		{
			memcpy(stored, history->timeline.stored, history->timeline.nstored * sizeof(*stored));
			memcpy(addresses, history->addresses, history->timeline.nstored * sizeof(*addresses));
			memcpy(openers, history->openers, history->timeline.nstored * sizeof(*openers));
		}
		history->timeline.stored = stored;
		history->addresses = addresses;
		history->openers = openers;
		history->stored_size = size;
	}
	v = history->timeline.nstored++;
	version = &history->timeline.stored[v];
	memset(version, 0, sizeof(*version));
	version->from = EdwVersionTimeOf(target->versioned->time_type, values[4]);
	version->to = nulls[5] ? EDW_TIMELINE_OPEN : EdwVersionTimeOf(target->versioned->time_type, values[5]);
	version->values = values + 6;
	version->nulls = nulls + 6;
	ItemPointerCopy((ItemPointer) DatumGetPointer(values[1]), &history->addresses[v].tid);
	history->addresses[v].tableoid = DatumGetObjectId(values[2]);
	history->addresses[v].keys = values + 6 + target->ncolumns;
	history->addresses[v].key_nulls = nulls + 6 + target->ncolumns;
	history->openers[v] = (EdwPositionBytes) {NULL, 0};
	if (!nulls[3])
	{
		struct varlena *seq = PG_DETOAST_DATUM_PACKED(values[3]);

		history->openers[v].len = VARSIZE_ANY_EXHDR(seq);
		history->openers[v].bytes = (const uint8 *) VARDATA_ANY(seq);
	}
}

/* Rows that are the batch's keys. */
static void
put_keys(EdwVersionRows *rows, const EdwScd2 *scd2)
{
	EdwVersionRowsBegin(rows, scd2, scd2->nhistories);
	for (int h = 0; h < scd2->nhistories; h++)
		EdwVersionRowsPut(rows, &scd2->histories[h], NULL, NULL);
}

/* One index probe per key: a bitmap of one or two rows each costs more to set up than to read. */
void
EdwVersionsRead(EdwScd2 *scd2)
{
	EdwVersionRows rows;
	int			level = NewGUCNestLevel();
	uint64		found;

	(void) set_config_option("enable_bitmapscan", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	put_keys(&rows, scd2);
	found = EdwFeedExecute(&rows.feed, read_sql(scd2->bt->target), 0, NULL, NULL);
	AtEOXact_GUC(true, level);
	for (uint64 i = 0; i < found; i++)
		note_version(scd2, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
}

/*
 * Writing
 */

/* to the row that was read */
#define BY_ADDRESS	"\nFROM " EDW_VERSIONS_RELATION " AS s\n" \
	"WHERE t.ctid OPERATOR(pg_catalog.=) s._edw_tid AND t.tableoid OPERATOR(pg_catalog.=) s._edw_table"

/* Most versions that are written end and stay what they were: no more is read of them, and no index concerned but one over these columns. */
static char *
end_sql(const EdwTarget *target)
{
	const EdwVersioned *versioned = target->versioned;

	return psprintf("UPDATE %s AS t SET %s = s._edw_to%s%s%s" BY_ADDRESS,
					target->relation, versioned->valid_to, versioned->current ? ", " : "",
					versioned->current ? versioned->current : "", versioned->current ? " = s._edw_current" : "");
}

static char *
update_sql(const EdwTarget *target)
{
	const EdwVersioned *versioned = target->versioned;
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE %s AS t SET %s = s._edw_from, %s = s._edw_to, ",
					 target->relation, versioned->valid_from, versioned->valid_to);
	if (versioned->current)
		appendStringInfo(&sql, "%s = s._edw_current, ", versioned->current);
	for (int i = 0; i < target->ncolumns; i++)
		if (!target->columns[i].is_key && !target->columns[i].always_identity)
			appendStringInfo(&sql, "%s = s.%s, ", target->columns[i].quoted, target->columns[i].quoted);
	if (target->def->inferred)
		appendStringInfoString(&sql, EDW_INFERRED_COLUMN " = false, ");
	appendStringInfoString(&sql, "_edw_seq = s._edw_seq" BY_ADDRESS);
	return sql.data;
}

static char *
delete_sql(const EdwTarget *target)
{
	return psprintf("DELETE FROM %s AS t USING " EDW_VERSIONS_RELATION " AS s\n"
					"WHERE t.ctid OPERATOR(pg_catalog.=) s._edw_tid"
					" AND t.tableoid OPERATOR(pg_catalog.=) s._edw_table", target->relation);
}

static char *
insert_sql(const EdwTarget *target)
{
	const EdwVersioned *versioned = target->versioned;
	StringInfoData sql;
	StringInfoData values;
	bool		overriding = false;

	initStringInfo(&sql);
	initStringInfo(&values);
	appendStringInfo(&sql, "INSERT INTO %s (", target->relation);
	for (int i = 0; i < target->ncolumns; i++)
	{
		appendStringInfo(&sql, "%s, ", target->columns[i].quoted);
		appendStringInfo(&values, "s.%s, ", target->columns[i].quoted);
		overriding |= target->columns[i].always_identity;
	}
	appendStringInfo(&sql, "%s, %s, ", versioned->valid_from, versioned->valid_to);
	appendStringInfoString(&values, "s._edw_from, s._edw_to, ");
	if (versioned->current)
	{
		appendStringInfo(&sql, "%s, ", versioned->current);
		appendStringInfoString(&values, "s._edw_current, ");
	}
	if (target->def->inferred)
	{
		appendStringInfoString(&sql, EDW_INFERRED_COLUMN ", ");
		appendStringInfoString(&values, "false, ");
	}
	appendStringInfo(&sql, "_edw_seq)%s\n\tSELECT %ss._edw_seq\n\tFROM " EDW_VERSIONS_RELATION " AS s",
					 overriding ? "\n\tOVERRIDING SYSTEM VALUE" : "", values.data);
	return sql.data;
}

/* The row that a version takes; NULL: a new one. */
static EdwRowAddress *
row_of(EdwHistory *history, const EdwTimelineVersion *version)
{
	if (version == history->filled)
		return &history->inferred_address;
	return version->stored >= 0 ? &history->addresses[version->stored] : NULL;
}

/* Run a statement over the rows; all of them have to be written. */
static void
write_rows(EdwVersionRows *rows, char *sql)
{
	if (rows->feed.nrows > 0 && EdwFeedExecute(&rows->feed, sql, 0, NULL, NULL) != (uint64) rows->feed.nrows)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("versions in table %s changed while a batch was applied",
						rows->scd2->bt->target->relation),
				 errdetail("Another transaction has changed them, or a trigger has left them out.")));
}

void
EdwVersionsWrite(EdwScd2 *scd2)
{
	const EdwTarget *target = scd2->bt->target;
	int			nstored = 0;
	int			nversions = 0;
	EdwVersionRows dropped;
	EdwVersionRows ended;
	EdwVersionRows closed;
	EdwVersionRows open;
	EdwVersionRows begun;

	for (int h = 0; h < scd2->nhistories; h++)
	{
		nstored += scd2->histories[h].timeline.nstored;
		nversions += scd2->histories[h].timeline.nversions;
	}
	EdwVersionRowsBegin(&dropped, scd2, nstored);
	EdwVersionRowsBegin(&ended, scd2, nversions);
	EdwVersionRowsBegin(&closed, scd2, nversions);
	EdwVersionRowsBegin(&open, scd2, nversions);
	EdwVersionRowsBegin(&begun, scd2, nversions);
	for (int h = 0; h < scd2->nhistories; h++)
	{
		EdwHistory *history = &scd2->histories[h];
		EdwTimeline *timeline = &history->timeline;

		for (int v = 0; v < timeline->nstored; v++)
			if (timeline->dropped[v])
				EdwVersionRowsPut(&dropped, history, NULL, &history->addresses[v]);
		for (int v = 0; v < timeline->nversions; v++)
		{
			const EdwTimelineVersion *version = &timeline->versions[v];
			EdwRowAddress *address = row_of(history, version);

			if (version->changed)
				EdwVersionRowsPut(address == NULL ? &begun : version->only_ends ? &ended
						 : version->to == EDW_TIMELINE_OPEN ? &open : &closed,
						 history, version, address);
		}
	}
	write_rows(&dropped, delete_sql(target));
	write_rows(&ended, end_sql(target));
	write_rows(&closed, update_sql(target));
	write_rows(&open, update_sql(target));
	write_rows(&begun, insert_sql(target));
}

/*
 * Truncates (P4)
 */

/* open versions older than position $1 */
static void
append_truncated(StringInfo sql, const EdwTarget *target)
{
	appendStringInfo(sql, "(t._edw_seq OPERATOR(pg_catalog.<) $1 OR t._edw_seq IS NULL) AND t.%s %s",
					 target->versioned->valid_to,
					 target->versioned->open_null ? "IS NULL" : "OPERATOR(pg_catalog.=) 'infinity'");
	if (target->unknown_member)
		appendStringInfo(sql, " AND %s", target->unknown_member);
}

/* Over the batch's keys, as all of these statements. */
static uint64
run_truncate(EdwScd2 *scd2, const char *sql, EdwPositionBytes barrier, int64 at)
{
	const EdwTarget *target = scd2->bt->target;
	EdwVersionRows keys;
	Oid			types[2] = {BYTEAOID, target->versioned->time_type};
	Datum		values[2];
	bytea	   *position = EdwBatchAlloc(scd2->batch, VARHDRSZ + barrier.len);

	SET_VARSIZE(position, VARHDRSZ + barrier.len);
	memcpy(VARDATA(position), barrier.bytes, barrier.len);
	values[0] = PointerGetDatum(position);
	values[1] = EdwVersionTimeDatum(target->versioned->time_type, at);
	put_keys(&keys, scd2);
	return EdwFeedExecute(&keys.feed, sql, 2, types, values);
}

/* Make the key of a row that a query returned one of the batch's. */
static void
find_key(EdwScd2 *scd2, HeapTuple tuple, TupleDesc desc)
{
	const EdwTarget *target = scd2->bt->target;
	EdwBatch   *batch = scd2->batch;
	EdwFoldChange row;
	EdwEntry   *entry;

	EdwAllocRow(batch, &row, target->ncolumns);
	resetStringInfo(&batch->key);
	for (int k = 0; k < target->nkeys; k++)
	{
		int			i = target->keys[k];
		const EdwTargetColumn *column = &target->columns[i];
		Datum		value = SPI_getbinval(tuple, desc, k + 1, &row.nulls[i]);

		if (row.nulls[i])
			return;				/* no event has such a key */
		row.values[i] = value;
		EdwKeyAppend(&batch->key, column->key_kind, value);
	}
	entry = EdwFindEntry(batch, scd2->bt);
	if (entry->live.op != 0 || entry->live.values != NULL)
		return;
	entry->live.values = row.values;
	entry->live.nulls = row.nulls;
	entry->live.presence = row.presence;
}

/*
 * Versions that began at the time of a truncate or after it do not just end there: bring their keys into
 * the batch, to be made anew.
 */
void
EdwVersionsFindYoung(EdwScd2 *scd2, EdwPositionBytes barrier, int64 at)
{
	const EdwTarget *target = scd2->bt->target;
	StringInfoData sql;
	uint64		found;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	for (int k = 0; k < target->nkeys; k++)
		appendStringInfo(&sql, "%st.%s", k == 0 ? "" : ", ", target->columns[target->keys[k]].quoted);
	appendStringInfo(&sql, " FROM %s AS t WHERE t.%s OPERATOR(pg_catalog.>=) $2 AND ",
					 target->relation, target->versioned->valid_from);
	append_truncated(&sql, target);
	found = run_truncate(scd2, sql.data, barrier, at);
	for (uint64 i = 0; i < found; i++)
		find_key(scd2, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
}

/*
 * End the open versions of all keys that the batch does not have and that are older than a truncate. One of which
 * something newer than the truncate is remembered ends, too: a truncate must not come late.
 */
void
EdwVersionsTruncate(EdwScd2 *scd2, EdwPositionBytes barrier, int64 at)
{
	const EdwTarget *target = scd2->bt->target;
	const EdwVersioned *versioned = target->versioned;
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE %s AS t SET %s = $2", target->relation, versioned->valid_to);
	if (versioned->current)
		appendStringInfo(&sql, ", %s = false", versioned->current);
	appendStringInfo(&sql, "\nWHERE t.%s OPERATOR(pg_catalog.<) $2 AND ", versioned->valid_from);
	append_truncated(&sql, target);
	appendStringInfoString(&sql, "\n\tAND NOT EXISTS (SELECT FROM " EDW_VERSIONS_RELATION " AS s WHERE ");
	EdwAppendKeyMatch(&sql, target);
	appendStringInfoChar(&sql, ')');
	run_truncate(scd2, sql.data, barrier, at);
}

/* An event that leaves out a column costs a row in scd2_event, even if none ever gives it. */
static void
explain_remembered(StringInfo text, const EdwTarget *target)
{
	int			n = 0;

	for (int i = 0; i < target->ncolumns; i++)
		if (!target->columns[i].is_key && !target->columns[i].audit)
			appendStringInfo(text, "%s%s", n++ == 0 ? "-- events that do not give all of these are remembered in edw_stream.scd2_event"
							 " (name in columns what events give): " : ", ", target->columns[i].quoted);
	if (n > 0)
		appendStringInfoString(text, "\n\n");
}

char *
EdwVersionsExplain(const EdwTarget *target)
{
	StringInfoData text;

	initStringInfo(&text);
	explain_remembered(&text, target);
	appendStringInfo(&text, "-- the versions of a batch's keys:\n%s;\n\n"
					 "-- versions that end:\n%s;\n\n"
					 "-- versions that change, and columns that make no version:\n%s;\n\n"
					 "-- versions that begin:\n%s",
					 read_sql(target), end_sql(target), update_sql(target), insert_sql(target));
	for (int r = 0; r < target->nreferrers; r++)
	{
		const EdwReferrer *referrer = &target->referrers[r];

		appendStringInfo(&text, ";\n\n-- facts in %s of versions that are gone:\n%s",
						 referrer->relation, EdwRepointDroppedSql(target, referrer));
		if (referrer->as_of)
			appendStringInfo(&text, ";\n\n-- facts in %s whose time is now in another version:\n%s",
							 referrer->relation, EdwRepointSql(target, referrer));
	}
	return text.data;
}
