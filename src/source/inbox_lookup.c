/*
 * inbox_lookup.c
 *		Which topics and partitions the inbox has, and where they begin and end.
 *
 * Owns the reading of the inbox's tables: within the caller's transaction, as the extension's
 * owner, by plans that are prepared at their first use and kept.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "regex/regex.h"
#include "source/inbox_internal.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

static SPIPlanPtr ends_plan = NULL;
static SPIPlanPtr low_plan = NULL;
static SPIPlanPtr time_plan = NULL;

#define ENDS_QUERY \
	"SELECT topic, partition, next_offset FROM edw_stream.inbox_partition" \
	" WHERE stream OPERATOR(pg_catalog.=) $1"
#define LOW_QUERY \
	"SELECT kafka_offset FROM edw_stream.inbox" \
	" WHERE stream OPERATOR(pg_catalog.=) $1 AND topic OPERATOR(pg_catalog.=) $2" \
	" AND partition OPERATOR(pg_catalog.=) $3 ORDER BY kafka_offset LIMIT 1"
#define TIME_QUERY \
	"SELECT pg_catalog.min(kafka_offset) FROM edw_stream.inbox" \
	" WHERE stream OPERATOR(pg_catalog.=) $1 AND topic OPERATOR(pg_catalog.=) $2" \
	" AND partition OPERATOR(pg_catalog.=) $3 AND pushed_at OPERATOR(pg_catalog.>=) $4"

/* Begin and end reading as the extension's owner. */
void
EdwInboxBeginRead(EdwCatalogAccess *access)
{
	EdwCatalogBegin(access);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

void
EdwInboxEndRead(EdwCatalogAccess *access)
{
	SPI_finish();
	EdwCatalogEnd(access);
}

/* Run a plan that is prepared at its first use and kept; not read-only: a fresh snapshot. */
void
EdwInboxRun(SPIPlanPtr *plan, const char *query, int nargs, Oid *types, Datum *values)
{
	int			rc;

	if (*plan == NULL)
	{
		SPIPlanPtr	fresh = SPI_prepare(query, nargs, types);

		if (fresh == NULL || SPI_keepplan(fresh) != 0)
			elog(ERROR, "could not prepare \"%s\": %s", query, SPI_result_code_string(SPI_result));
		*plan = fresh;
	}
	rc = SPI_execute_plan(*plan, values, NULL, false, 0);
	if (rc != SPI_OK_SELECT)
		elog(ERROR, "could not execute \"%s\": %s", query, SPI_result_code_string(rc));
}

Datum
EdwInboxColumn(uint64 row, int number, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, isnull);
}

/* All partitions that push() has made for the stream, into SPI_tuptable. */
void
EdwInboxSelectEnds(EdwInboxSource *source)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(source->stream)};

	EdwInboxRun(&ends_plan, ENDS_QUERY, 1, types, values);
}

/* The end of a partition by the present SPI_tuptable; 0 when nothing was pushed yet. */
int64
EdwInboxFindEnd(const char *topic, int32 partition)
{
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		bool		isnull;

		if (DatumGetInt32(EdwInboxColumn(row, 2, &isnull)) == partition &&
			strcmp(TextDatumGetCString(EdwInboxColumn(row, 1, &isnull)), topic) == 0)
			return DatumGetInt64(EdwInboxColumn(row, 3, &isnull));
	}
	return 0;
}

/* The first offset that is there; end when there is none. */
int64
EdwInboxSelectLow(EdwInboxSource *source, const char *topic, int32 partition, int64 end)
{
	Oid			types[3] = {TEXTOID, TEXTOID, INT4OID};
	Datum		values[3] = {CStringGetTextDatum(source->stream), CStringGetTextDatum(topic),
	Int32GetDatum(partition)};
	bool		isnull;

	EdwInboxRun(&low_plan, LOW_QUERY, 3, types, values);
	return SPI_processed > 0 ? DatumGetInt64(EdwInboxColumn(0, 1, &isnull)) : end;
}

/* Is a pushed topic one of the stream's? */
static bool
topic_wanted(EdwInboxSource *source, const char *topic)
{
	ListCell   *lc;

	foreach(lc, source->topics)
	{
		char	   *wanted = lfirst(lc);

		if (wanted[0] == '^' ?
			RE_compile_and_execute(cstring_to_text(wanted), unconstify(char *, topic), strlen(topic),
								   REG_ADVANCED | REG_NOSUB, C_COLLATION_OID, 0, NULL) :
			strcmp(wanted, topic) == 0)
			return true;
	}
	return false;
}

static List *
add_position(MemoryContext context, List *list, const char *topic, int32 partition)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	EdwPartitionPosition *position = palloc(sizeof(EdwPartitionPosition));

	position->topic = pstrdup(topic);
	position->partition = partition;
	position->offset = EDW_OFFSET_UNKNOWN;
	list = lappend(list, position);
	MemoryContextSwitchTo(old);
	return list;
}

int
EdwInboxCountWanted(EdwInboxSource *source)
{
	int			n = 0;

	for (uint64 row = 0; row < SPI_processed; row++)
	{
		bool		isnull;

		if (topic_wanted(source, TextDatumGetCString(EdwInboxColumn(row, 1, &isnull))))
			n++;
	}
	return n;
}

/* Topics come into being by push(): one that is listed by name has partition 0 in any case. */
EdwSourceResult
EdwInboxListPartitions(EdwSource *base, List **partitions, EdwSourceError *error)
{
	EdwInboxSource *source = (EdwInboxSource *) base;
	MemoryContext caller = CurrentMemoryContext;
	EdwCatalogAccess access;
	List	   *list = NIL;
	ListCell   *lc;

	(void) error;
	EdwInboxBeginRead(&access);
	EdwInboxSelectEnds(source);
	source->known = 0;
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		bool		isnull;
		char	   *topic = TextDatumGetCString(EdwInboxColumn(row, 1, &isnull));

		if (!topic_wanted(source, topic))
			continue;
		source->known++;
		list = add_position(caller, list, topic, DatumGetInt32(EdwInboxColumn(row, 2, &isnull)));
	}
	EdwInboxEndRead(&access);

	foreach(lc, source->topics)
	{
		const char *name = lfirst(lc);
		bool		found = name[0] == '^';
		ListCell   *lp;

		foreach(lp, list)
		{
			EdwPartitionPosition *position = lfirst(lp);

			if (position->partition == 0 && strcmp(position->topic, name) == 0)
				found = true;
		}
		if (!found)
			list = add_position(caller, list, name, 0);
	}
	list_sort(list, EdwComparePositions);
	*partitions = list;
	return EDW_SOURCE_OK;
}

static int64
select_by_time(EdwInboxSource *source, const char *topic, int32 partition,
			   int64 timestamp_ms, int64 end)
{
	Oid			types[4] = {TEXTOID, TEXTOID, INT4OID, TIMESTAMPTZOID};
	TimestampTz since = timestamp_ms * 1000 -
	(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	Datum		values[4] = {CStringGetTextDatum(source->stream), CStringGetTextDatum(topic),
	Int32GetDatum(partition), TimestampTzGetDatum(since)};
	bool		isnull;
	Datum		found;

	EdwInboxRun(&time_plan, TIME_QUERY, 4, types, values);
	found = EdwInboxColumn(0, 1, &isnull);
	return isnull ? end : DatumGetInt64(found);
}

EdwSourceResult
EdwInboxEndOffsets(EdwSource *base, EdwPartitionPosition *positions, int n,
				  EdwSourceError *error)
{
	EdwCatalogAccess access;

	(void) error;
	EdwInboxBeginRead(&access);
	EdwInboxSelectEnds((EdwInboxSource *) base);
	for (int i = 0; i < n; i++)
		positions[i].offset = EdwInboxFindEnd(positions[i].topic, positions[i].partition);
	EdwInboxEndRead(&access);
	return EDW_SOURCE_OK;
}

EdwSourceResult
EdwInboxStartOffsets(EdwSource *base, EdwStartAt start_at, int64 timestamp_ms,
					EdwPartitionPosition *positions, int n, EdwSourceError *error)
{
	EdwInboxSource *source = (EdwInboxSource *) base;
	EdwCatalogAccess access;

	EdwInboxEndOffsets(base, positions, n, error);
	if (start_at == EDW_START_LATEST)
		return EDW_SOURCE_OK;
	EdwInboxBeginRead(&access);
	for (int i = 0; i < n; i++)
	{
		EdwPartitionPosition *p = &positions[i];

		p->offset = start_at == EDW_START_EARLIEST ?
			EdwInboxSelectLow(source, p->topic, p->partition, p->offset) :
			select_by_time(source, p->topic, p->partition, timestamp_ms, p->offset);
	}
	EdwInboxEndRead(&access);
	return EDW_SOURCE_OK;
}
