/*
 * inbox.c
 *		The embedded source: topics in the table edw_stream.inbox, filled by push().
 *
 * Reads through SPI within the caller's transaction, as the extension's owner. It has no
 * connection and no descriptor: push() sets the workers' latch. Offsets of a partition
 * become visible in their order, because push() holds the row of
 * edw_stream.inbox_partition until its commit; next_offset there is the partition's end.
 *
 * Messages are copied out of the table, since they outlive the transaction; their memory
 * is given back when all that were polled are released.
 */
#include "postgres.h"

#include "edw_stream.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "catalog/stream.h"
#include "executor/spi.h"
#include "regex/regex.h"
#include "source/inbox_headers.h"
#include "source/source.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* rows that one query reads: their large values are still in TOAST then */
#define ROWS_PER_QUERY	500

/* what is known of an assigned partition */
typedef struct InboxPartition
{
	const char *topic;			/* of topic_names */
	int32		partition;
	int64		next;			/* the next offset to read */
	int64		end;			/* as of the last look */
	int64		told_end;		/* REACHED_END was told for it */
	bool		checked;		/* next was compared with what is there (K3) */
	bool		lost;
} InboxPartition;

typedef struct InboxSource
{
	EdwSource	base;
	MemoryContext context;
	MemoryContext message_context;
	int			borrowed;		/* messages not released yet */
	char	   *stream;
	List	   *topics;			/* char *: the stream's */
	List	   *topic_names;	/* char *: messages point to them, so they stay */
	InboxPartition *parts;
	int			nparts;
	int			turn;			/* which partition poll begins with */
	int			known;			/* partitions that list_partitions returned last */
	List	   *notices;		/* EdwSourceNotice * */
	EdwSourceNotice *told;
} InboxSource;

static SPIPlanPtr ends_plan = NULL;
static SPIPlanPtr read_plan = NULL;
static SPIPlanPtr low_plan = NULL;
static SPIPlanPtr time_plan = NULL;

#define ENDS_QUERY \
	"SELECT topic, partition, next_offset FROM edw_stream.inbox_partition" \
	" WHERE stream OPERATOR(pg_catalog.=) $1"
#define READ_QUERY \
	"SELECT kafka_offset, pushed_at, key, value, headers FROM edw_stream.inbox" \
	" WHERE stream OPERATOR(pg_catalog.=) $1 AND topic OPERATOR(pg_catalog.=) $2" \
	" AND partition OPERATOR(pg_catalog.=) $3 AND kafka_offset OPERATOR(pg_catalog.>=) $4" \
	" AND kafka_offset OPERATOR(pg_catalog.<) $5 ORDER BY kafka_offset LIMIT $6"
#define LOW_QUERY \
	"SELECT kafka_offset FROM edw_stream.inbox" \
	" WHERE stream OPERATOR(pg_catalog.=) $1 AND topic OPERATOR(pg_catalog.=) $2" \
	" AND partition OPERATOR(pg_catalog.=) $3 ORDER BY kafka_offset LIMIT 1"
#define TIME_QUERY \
	"SELECT pg_catalog.min(kafka_offset) FROM edw_stream.inbox" \
	" WHERE stream OPERATOR(pg_catalog.=) $1 AND topic OPERATOR(pg_catalog.=) $2" \
	" AND partition OPERATOR(pg_catalog.=) $3 AND pushed_at OPERATOR(pg_catalog.>=) $4"

/* Begin and end reading as the extension's owner. */
static void
begin_read(EdwCatalogAccess *access)
{
	EdwCatalogBegin(access);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

static void
end_read(EdwCatalogAccess *access)
{
	SPI_finish();
	EdwCatalogEnd(access);
}

/* Run a plan that is prepared at its first use and kept; not read-only: a fresh snapshot. */
static void
run(SPIPlanPtr *plan, const char *query, int nargs, Oid *types, Datum *values)
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

static Datum
column(uint64 row, int number, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, number, isnull);
}

/* All partitions that push() has made for the stream, into SPI_tuptable. */
static void
select_ends(InboxSource *source)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1] = {CStringGetTextDatum(source->stream)};

	run(&ends_plan, ENDS_QUERY, 1, types, values);
}

/* The end of a partition by the present SPI_tuptable; 0 when nothing was pushed yet. */
static int64
find_end(const char *topic, int32 partition)
{
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		bool		isnull;

		if (DatumGetInt32(column(row, 2, &isnull)) == partition &&
			strcmp(TextDatumGetCString(column(row, 1, &isnull)), topic) == 0)
			return DatumGetInt64(column(row, 3, &isnull));
	}
	return 0;
}

/* The first offset that is there; end when there is none. */
static int64
select_low(InboxSource *source, const char *topic, int32 partition, int64 end)
{
	Oid			types[3] = {TEXTOID, TEXTOID, INT4OID};
	Datum		values[3] = {CStringGetTextDatum(source->stream), CStringGetTextDatum(topic),
	Int32GetDatum(partition)};
	bool		isnull;

	run(&low_plan, LOW_QUERY, 3, types, values);
	return SPI_processed > 0 ? DatumGetInt64(column(0, 1, &isnull)) : end;
}

static EdwSource *
inbox_open(const EdwSourceConfig *config, EdwSourceError *error)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "edw_stream inbox source",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	InboxSource *source = palloc0(sizeof(InboxSource));
	ListCell   *lc;

	memset(error, 0, sizeof(*error));
	source->base.ops = &EdwInboxSourceOps;
	source->context = context;
	source->message_context = AllocSetContextCreate(context, "edw_stream inbox messages",
													ALLOCSET_DEFAULT_SIZES);
	source->stream = pstrdup(config->stream);
	foreach(lc, config->topics)
		source->topics = lappend(source->topics, pstrdup(lfirst(lc)));
	MemoryContextSwitchTo(old);
	return &source->base;
}

static int
inbox_wait_fd(EdwSource *base)
{
	(void) base;
	return -1;
}

/* Is a pushed topic one of the stream's? */
static bool
topic_wanted(InboxSource *source, const char *topic)
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

static int
count_wanted(InboxSource *source)
{
	int			n = 0;

	for (uint64 row = 0; row < SPI_processed; row++)
	{
		bool		isnull;

		if (topic_wanted(source, TextDatumGetCString(column(row, 1, &isnull))))
			n++;
	}
	return n;
}

/* Topics come into being by push(): one that is listed by name has partition 0 in any case. */
static EdwSourceResult
inbox_list_partitions(EdwSource *base, List **partitions, EdwSourceError *error)
{
	InboxSource *source = (InboxSource *) base;
	MemoryContext caller = CurrentMemoryContext;
	EdwCatalogAccess access;
	List	   *list = NIL;
	ListCell   *lc;

	(void) error;
	begin_read(&access);
	select_ends(source);
	source->known = 0;
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		bool		isnull;
		char	   *topic = TextDatumGetCString(column(row, 1, &isnull));

		if (!topic_wanted(source, topic))
			continue;
		source->known++;
		list = add_position(caller, list, topic, DatumGetInt32(column(row, 2, &isnull)));
	}
	end_read(&access);

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
select_by_time(InboxSource *source, const char *topic, int32 partition,
			   int64 timestamp_ms, int64 end)
{
	Oid			types[4] = {TEXTOID, TEXTOID, INT4OID, TIMESTAMPTZOID};
	TimestampTz since = timestamp_ms * 1000 -
	(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	Datum		values[4] = {CStringGetTextDatum(source->stream), CStringGetTextDatum(topic),
	Int32GetDatum(partition), TimestampTzGetDatum(since)};
	bool		isnull;
	Datum		found;

	run(&time_plan, TIME_QUERY, 4, types, values);
	found = column(0, 1, &isnull);
	return isnull ? end : DatumGetInt64(found);
}

static EdwSourceResult
inbox_end_offsets(EdwSource *base, EdwPartitionPosition *positions, int n,
				  EdwSourceError *error)
{
	EdwCatalogAccess access;

	(void) error;
	begin_read(&access);
	select_ends((InboxSource *) base);
	for (int i = 0; i < n; i++)
		positions[i].offset = find_end(positions[i].topic, positions[i].partition);
	end_read(&access);
	return EDW_SOURCE_OK;
}

static EdwSourceResult
inbox_start_offsets(EdwSource *base, EdwStartAt start_at, int64 timestamp_ms,
					EdwPartitionPosition *positions, int n, EdwSourceError *error)
{
	InboxSource *source = (InboxSource *) base;
	EdwCatalogAccess access;

	inbox_end_offsets(base, positions, n, error);
	if (start_at == EDW_START_LATEST)
		return EDW_SOURCE_OK;
	begin_read(&access);
	for (int i = 0; i < n; i++)
	{
		EdwPartitionPosition *p = &positions[i];

		p->offset = start_at == EDW_START_EARLIEST ?
			select_low(source, p->topic, p->partition, p->offset) :
			select_by_time(source, p->topic, p->partition, timestamp_ms, p->offset);
	}
	end_read(&access);
	return EDW_SOURCE_OK;
}

/* A copy of a topic's name that lives as long as the source; in its context. */
static const char *
keep_name(InboxSource *source, const char *topic)
{
	ListCell   *lc;

	foreach(lc, source->topic_names)
	{
		if (strcmp(lfirst(lc), topic) == 0)
			return lfirst(lc);
	}
	source->topic_names = lappend(source->topic_names, pstrdup(topic));
	return llast(source->topic_names);
}

static EdwSourceResult
inbox_assign(EdwSource *base, const EdwPartitionPosition *positions, int n,
			 EdwSourceError *error)
{
	InboxSource *source = (InboxSource *) base;
	MemoryContext old = MemoryContextSwitchTo(source->context);

	(void) error;
	if (source->parts)
		pfree(source->parts);
	list_free_deep(source->notices);
	source->notices = NIL;
	source->parts = palloc0(sizeof(InboxPartition) * Max(n, 1));
	source->nparts = n;
	source->turn = 0;
	for (int i = 0; i < n; i++)
	{
		source->parts[i].topic = keep_name(source, positions[i].topic);
		source->parts[i].partition = positions[i].partition;
		source->parts[i].next = positions[i].offset;
		source->parts[i].told_end = EDW_OFFSET_UNKNOWN;
	}
	MemoryContextSwitchTo(old);
	return EDW_SOURCE_OK;
}

static EdwSourceNotice *
add_notice(InboxSource *source, EdwNoticeKind kind, const InboxPartition *part)
{
	MemoryContext old = MemoryContextSwitchTo(source->context);
	EdwSourceNotice *notice = palloc0(sizeof(EdwSourceNotice));

	notice->kind = kind;
	notice->wanted = notice->low = notice->high = EDW_OFFSET_UNKNOWN;
	if (part)
	{
		notice->topic = part->topic;
		notice->partition = part->partition;
	}
	source->notices = lappend(source->notices, notice);
	MemoryContextSwitchTo(old);
	return notice;
}

/* Is what the stream wants to read next still there? Once per assignment (K3). */
static void
check_lost(InboxSource *source, InboxPartition *part)
{
	int64		low = select_low(source, part->topic, part->partition, part->end);
	EdwSourceNotice *notice;

	part->checked = true;
	if (part->next >= low && part->next <= part->end)
		return;
	part->lost = true;
	notice = add_notice(source, EDW_NOTICE_OFFSET_LOST, part);
	notice->wanted = part->next;
	notice->low = low;
	notice->high = part->end;
	notice->error.sqlerrcode = ERRCODE_NO_DATA;
	if (part->next < low)
		snprintf(notice->error.message, sizeof(notice->error.message),
				 "messages " INT64_FORMAT " to " INT64_FORMAT
				 " of topic \"%s\" partition %d are no longer in the inbox",
				 part->next, low - 1, part->topic, part->partition);
	else
		snprintf(notice->error.message, sizeof(notice->error.message),
				 "topic \"%s\" partition %d of the inbox ends at offset " INT64_FORMAT
				 ", but was read up to " INT64_FORMAT,
				 part->topic, part->partition, part->end, part->next);
}

/* key or value: copied, since the table's row goes with the transaction */
static const char *
copy_bytes(Datum datum, bool isnull, int32 *len)
{
	bytea	   *bytes;

	*len = -1;
	if (isnull)
		return NULL;
	bytes = DatumGetByteaPCopy(datum);
	*len = VARSIZE(bytes) - VARHDRSZ;
	return VARDATA(bytes);
}

static void
copy_message(InboxPartition *part, uint64 row, EdwMessage *message)
{
	bool		isnull;
	Datum		datum;

	message->topic = part->topic;
	message->partition = part->partition;
	message->offset = DatumGetInt64(column(row, 1, &isnull));
	message->timestamp_ms = (DatumGetTimestampTz(column(row, 2, &isnull)) +
							 (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY) / 1000;
	datum = column(row, 3, &isnull);
	message->key = copy_bytes(datum, isnull, &message->key_len);
	datum = column(row, 4, &isnull);
	message->value = copy_bytes(datum, isnull, &message->value_len);
	datum = column(row, 5, &isnull);
	message->native = isnull ? NULL : EdwInboxParseHeaders(DatumGetJsonbP(datum));
}

/* Read one partition from where it stands; returns how many messages were added. */
static int
read_partition(InboxSource *source, InboxPartition *part, EdwMessage *messages,
			   int max_messages, Size max_bytes, Size *bytes, bool first)
{
	Oid			types[6] = {TEXTOID, TEXTOID, INT4OID, INT8OID, INT8OID, INT8OID};
	int			n = 0;

	while (n < max_messages && part->next < part->end)
	{
		int			limit = Min(max_messages - n, ROWS_PER_QUERY);
		Datum		values[6] = {CStringGetTextDatum(source->stream),
			CStringGetTextDatum(part->topic), Int32GetDatum(part->partition),
		Int64GetDatum(part->next), Int64GetDatum(part->end), Int64GetDatum(limit)};
		MemoryContext old;

		run(&read_plan, READ_QUERY, 6, types, values);
		old = MemoryContextSwitchTo(source->message_context);
		for (uint64 row = 0; row < SPI_processed; row++)
		{
			if (*bytes >= max_bytes && !(first && n == 0))
			{
				MemoryContextSwitchTo(old);
				return n;
			}
			copy_message(part, row, &messages[n]);
			*bytes += Max(messages[n].key_len, 0) + Max(messages[n].value_len, 0);
			part->next = messages[n].offset + 1;
			n++;
		}
		MemoryContextSwitchTo(old);
		if (SPI_processed < (uint64) limit)
			part->next = part->end; /* nothing more below the end: the rest is a gap (K2) */
		SPI_freetuptable(SPI_tuptable);
	}
	return n;
}

/* Look where the partitions end now, and whether there are new ones (K4). */
static void
look_at_ends(InboxSource *source)
{
	select_ends(source);
	if (count_wanted(source) > source->known)
	{
		source->known = count_wanted(source);
		add_notice(source, EDW_NOTICE_PARTITIONS_CHANGED, NULL);
	}
	for (int i = 0; i < source->nparts; i++)
		source->parts[i].end = find_end(source->parts[i].topic, source->parts[i].partition);
}

static void
tell_end(InboxSource *source, InboxPartition *part)
{
	EdwSourceNotice *notice;

	if (part->lost || part->next < part->end || part->told_end == part->end)
		return;
	part->told_end = part->end;
	notice = add_notice(source, EDW_NOTICE_REACHED_END, part);
	notice->wanted = part->end;
	notice->high = part->end;
}

static int
inbox_poll(EdwSource *base, EdwMessage *messages, int max_messages, Size max_bytes)
{
	InboxSource *source = (InboxSource *) base;
	EdwCatalogAccess access;
	Size		bytes = 0;
	int			n = 0;

	begin_read(&access);
	look_at_ends(source);
	for (int i = 0; i < source->nparts; i++)
	{
		InboxPartition *part = &source->parts[(source->turn + i) % source->nparts];

		if (!part->checked)
			check_lost(source, part);
		if (part->lost)
			continue;
		if (n < max_messages && (n == 0 || bytes < max_bytes))
			n += read_partition(source, part, messages + n, max_messages - n,
								max_bytes, &bytes, n == 0);
		tell_end(source, part);
	}
	if (source->nparts > 0)
		source->turn = (source->turn + 1) % source->nparts;
	source->borrowed += n;
	end_read(&access);
	return n;
}

static bool
inbox_next_notice(EdwSource *base, EdwSourceNotice *notice)
{
	InboxSource *source = (InboxSource *) base;

	if (source->told)
		pfree(source->told);
	source->told = NULL;
	if (source->notices == NIL)
		return false;
	source->told = linitial(source->notices);
	source->notices = list_delete_first(source->notices);
	*notice = *source->told;
	return true;
}

static void
inbox_release(EdwSource *base, EdwMessage *messages, int n)
{
	InboxSource *source = (InboxSource *) base;

	(void) messages;
	source->borrowed -= n;
	if (source->borrowed == 0)
		MemoryContextReset(source->message_context);
}

/* There is nobody outside to tell. */
static void
inbox_committed(EdwSource *base, const EdwPartitionPosition *positions, int n)
{
	(void) base;
	(void) positions;
	(void) n;
}

static void
inbox_close(EdwSource *base)
{
	MemoryContextDelete(((InboxSource *) base)->context);
}

const EdwSourceOps EdwInboxSourceOps = {
	.name = "inbox",
	.open = inbox_open,
	.wait_fd = inbox_wait_fd,
	.list_partitions = inbox_list_partitions,
	.start_offsets = inbox_start_offsets,
	.end_offsets = inbox_end_offsets,
	.assign = inbox_assign,
	.poll = inbox_poll,
	.next_notice = inbox_next_notice,
	.headers = EdwInboxHeaders,
	.release = inbox_release,
	.committed = inbox_committed,
	.close = inbox_close,
};
