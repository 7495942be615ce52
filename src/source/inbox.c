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

#include "catalog/pg_type.h"
#include "source/inbox_headers.h"
#include "source/inbox_internal.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* rows that one query reads: their large values are still in TOAST then */
#define ROWS_PER_QUERY	500

static SPIPlanPtr read_plan = NULL;

#define READ_QUERY \
	"SELECT kafka_offset, pushed_at, key, value, headers FROM edw_stream.inbox" \
	" WHERE stream OPERATOR(pg_catalog.=) $1 AND topic OPERATOR(pg_catalog.=) $2" \
	" AND partition OPERATOR(pg_catalog.=) $3 AND kafka_offset OPERATOR(pg_catalog.>=) $4" \
	" AND kafka_offset OPERATOR(pg_catalog.<) $5 ORDER BY kafka_offset LIMIT $6"

static EdwSource *
inbox_open(const EdwSourceConfig *config, EdwSourceError *error)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "edw_stream inbox source",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	EdwInboxSource *source = palloc0(sizeof(EdwInboxSource));
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

/* A copy of a topic's name that lives as long as the source; in its context. */
static const char *
keep_name(EdwInboxSource *source, const char *topic)
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
	EdwInboxSource *source = (EdwInboxSource *) base;
	MemoryContext old = MemoryContextSwitchTo(source->context);

	(void) error;
	if (source->parts)
		pfree(source->parts);
	list_free_deep(source->notices);
	source->notices = NIL;
	source->parts = palloc0(sizeof(EdwInboxPartition) * Max(n, 1));
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
add_notice(EdwInboxSource *source, EdwNoticeKind kind, const EdwInboxPartition *part)
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
check_lost(EdwInboxSource *source, EdwInboxPartition *part)
{
	int64		low = EdwInboxSelectLow(source, part->topic, part->partition, part->end);
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
copy_message(EdwInboxPartition *part, uint64 row, EdwMessage *message)
{
	bool		isnull;
	Datum		datum;

	message->topic = part->topic;
	message->partition = part->partition;
	message->offset = DatumGetInt64(EdwInboxColumn(row, 1, &isnull));
	message->timestamp_ms = (DatumGetTimestampTz(EdwInboxColumn(row, 2, &isnull)) +
							 (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY) / 1000;
	datum = EdwInboxColumn(row, 3, &isnull);
	message->key = copy_bytes(datum, isnull, &message->key_len);
	datum = EdwInboxColumn(row, 4, &isnull);
	message->value = copy_bytes(datum, isnull, &message->value_len);
	datum = EdwInboxColumn(row, 5, &isnull);
	message->native = isnull ? NULL : EdwInboxParseHeaders(DatumGetJsonbP(datum));
}

/* Read one partition from where it stands; returns how many messages were added. */
static int
read_partition(EdwInboxSource *source, EdwInboxPartition *part, EdwMessage *messages,
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

		EdwInboxRun(&read_plan, READ_QUERY, 6, types, values);
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
look_at_ends(EdwInboxSource *source)
{
	EdwInboxSelectEnds(source);
	if (EdwInboxCountWanted(source) > source->known)
	{
		source->known = EdwInboxCountWanted(source);
		add_notice(source, EDW_NOTICE_PARTITIONS_CHANGED, NULL);
	}
	for (int i = 0; i < source->nparts; i++)
		source->parts[i].end = EdwInboxFindEnd(source->parts[i].topic, source->parts[i].partition);
}

static void
tell_end(EdwInboxSource *source, EdwInboxPartition *part)
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
	EdwInboxSource *source = (EdwInboxSource *) base;
	EdwCatalogAccess access;
	Size		bytes = 0;
	int			n = 0;

	EdwInboxBeginRead(&access);
	look_at_ends(source);
	for (int i = 0; i < source->nparts; i++)
	{
		EdwInboxPartition *part = &source->parts[(source->turn + i) % source->nparts];

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
	EdwInboxEndRead(&access);
	return n;
}

static bool
inbox_next_notice(EdwSource *base, EdwSourceNotice *notice)
{
	EdwInboxSource *source = (EdwInboxSource *) base;

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
	EdwInboxSource *source = (EdwInboxSource *) base;

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
	MemoryContextDelete(((EdwInboxSource *) base)->context);
}

const EdwSourceOps EdwInboxSourceOps = {
	.name = "inbox",
	.open = inbox_open,
	.wait_fd = inbox_wait_fd,
	.list_partitions = EdwInboxListPartitions,
	.start_offsets = EdwInboxStartOffsets,
	.end_offsets = EdwInboxEndOffsets,
	.assign = inbox_assign,
	.poll = inbox_poll,
	.next_notice = inbox_next_notice,
	.headers = EdwInboxHeaders,
	.release = inbox_release,
	.committed = inbox_committed,
	.close = inbox_close,
};
