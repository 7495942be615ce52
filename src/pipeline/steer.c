/*
 * steer.c
 *		push(), seek() and bump_epoch(): what a session may tell a stream.
 *
 * Each works in the caller's transaction; workers hear of it at commit. seek() and
 * bump_epoch() wait for the batch that holds the rows of partition_offset, and clear a stall.
 */
#include "postgres.h"

#include "catalog/mapping.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "pipeline/catalog_sql.h"
#include "pipeline/inbox_offset.h"
#include "pipeline/offsets.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "worker/slots.h"

PG_FUNCTION_INFO_V1(edw_stream_push);
PG_FUNCTION_INFO_V1(edw_stream_seek);
PG_FUNCTION_INFO_V1(edw_stream_bump_epoch);

static EdwStatement add_message = {
	"INSERT INTO edw_stream.inbox (stream, topic, partition, kafka_offset, key, value, headers)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7)",
	7, {TEXTOID, TEXTOID, INT4OID, INT8OID, BYTEAOID, BYTEAOID, JSONBOID}, NULL
};

static EdwStatement clear_stall = {
	"UPDATE edw_stream.stream SET stalled = false, reason = NULL, message = NULL, hint = NULL,"
	" stalled_at = NULL WHERE name = $1 AND stalled",
	1, {TEXTOID}, NULL
};

static EdwStatement find_reach = {
	"SELECT 1 FROM edw_stream.inbox_partition"
	" WHERE stream = $1 AND topic = $2 AND partition = $3 AND next_offset >= $4",
	4, {TEXTOID, TEXTOID, INT4OID, INT8OID}, NULL
};

/* A stream that was stalled may go on. */
static void
clear_stalled(const char *stream)
{
	EdwSql		sql;
	Datum		args[1];

	EdwSqlStart(&sql);
	args[0] = CStringGetTextDatum(stream);
	(void) EdwSqlRun(&clear_stall, args, NULL);
	EdwSqlFinish(&sql);
}

static char *
required_text(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name)));
	return text_to_cstring(PG_GETARG_TEXT_PP(arg));
}

static bool
is_topic_of(const EdwStreamDef *def, const char *topic)
{
	ListCell   *lc;

	foreach(lc, def->topics)
		if (EdwTopicMatches(lfirst(lc), topic))
			return true;
	return def->options.transaction_topic != NULL &&
		strcmp(def->options.transaction_topic, topic) == 0;
}

static void
check_push(const EdwStreamDef *def, const char *topic, int32 partition, Jsonb *headers)
{
	if (def->server != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("stream \"%s\" reads from server \"%s\", not from the inbox",
						def->name, def->server),
				 errhint("push() is for streams that were created with server NULL.")));
	if (!is_topic_of(def, topic))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("topic \"%s\" is not one of stream \"%s\"", topic, def->name)));
	if (partition < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("partition must not be negative")));
	if (headers != NULL && JB_ROOT_IS_SCALAR(headers))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("headers must be an object or an array of pairs"),
				 errhint("For example {\"name\": \"value\"} or [[\"name\", \"value\"]].")));
}

/* A text argument as UTF-8 bytes; NULL stays NULL. */
static void
set_utf8(FunctionCallInfo fcinfo, int arg, Datum *value, char *null)
{
	text	   *given;
	char	   *bytes;
	int			len;

	if (PG_ARGISNULL(arg))
	{
		*null = 'n';
		return;
	}
	given = PG_GETARG_TEXT_PP(arg);
	len = VARSIZE_ANY_EXHDR(given);
	bytes = pg_server_to_any(VARDATA_ANY(given), len, PG_UTF8);
	if (bytes != VARDATA_ANY(given))
		len = strlen(bytes);
	*value = EdwBytesDatum(bytes, len);
}

Datum
edw_stream_push(PG_FUNCTION_ARGS)
{
	char	   *stream = required_text(fcinfo, 0, "stream");
	char	   *topic = required_text(fcinfo, 1, "topic");
	Jsonb	   *headers = PG_ARGISNULL(4) ? NULL : PG_GETARG_JSONB_P(4);
	int32		partition = PG_ARGISNULL(5) ? 0 : PG_GETARG_INT32(5);
	EdwStreamDef *def = EdwStreamLoad(stream, false);
	EdwSql		sql;
	Datum		args[7] = {0};
	char		nulls[8] = "       ";
	int64		offset;

	EdwStreamCheckOwner(def);
	check_push(def, topic, partition, headers);

	offset = EdwInboxTakeOffset(stream, topic, partition);
	EdwSqlStart(&sql);
	args[0] = CStringGetTextDatum(stream);
	args[1] = CStringGetTextDatum(topic);
	args[2] = Int32GetDatum(partition);
	args[3] = Int64GetDatum(offset);
	set_utf8(fcinfo, 2, &args[4], &nulls[4]);
	set_utf8(fcinfo, 3, &args[5], &nulls[5]);
	if (headers != NULL)
		args[6] = JsonbPGetDatum(headers);
	else
		nulls[6] = 'n';
	(void) EdwSqlRun(&add_message, args, nulls);
	EdwSqlFinish(&sql);
	EdwWakeStreamAtCommit(stream);
	PG_RETURN_INT64(offset);
}

/*
 * An offset behind the inbox's end would swallow what is pushed next. Kafka's end is not known
 * here; there the worker finds the offset out of range and stalls (K3).
 */
static void
check_inbox_reaches(const char *stream, const char *topic, int32 partition, int64 offset)
{
	EdwSql		sql;
	Datum		args[4];
	bool		reaches;

	EdwSqlStart(&sql);
	args[0] = CStringGetTextDatum(stream);
	args[1] = CStringGetTextDatum(topic);
	args[2] = Int32GetDatum(partition);
	args[3] = Int64GetDatum(offset);
	reaches = offset == 0 || EdwSqlRun(&find_reach, args, NULL) > 0;
	EdwSqlFinish(&sql);
	if (!reaches)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("offset %lld lies behind the end of partition %d of topic \"%s\"",
						(long long) offset, partition, topic),
				 errdetail("Messages that are pushed next would be skipped."),
				 errhint("The view edw_stream.partitions shows the end.")));
}

Datum
edw_stream_seek(PG_FUNCTION_ARGS)
{
	char	   *stream = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *topic = text_to_cstring(PG_GETARG_TEXT_PP(1));
	int32		partition = PG_GETARG_INT32(2);
	int64		offset = PG_GETARG_INT64(3);
	EdwStreamDef *def;
	bool		renewed;

	def = EdwStreamLoadOwned(stream, "FOR NO KEY UPDATE");
	if (offset < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("kafka_offset must not be negative")));
	/* after a topic was made anew its offsets mean other messages than before */
	renewed = def->stalled && def->reason != NULL &&
		(strcmp(def->reason, "offset_lost") == 0 || strcmp(def->reason, "partition_lost") == 0);
	if (!EdwOffsetSet(stream, topic, partition, offset, renewed))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("stream \"%s\" has not read from partition %d of topic \"%s\" yet",
						stream, partition, topic),
				 errhint("The view edw_stream.partitions lists what it reads.")));
	if (def->server == NULL)
		check_inbox_reaches(stream, topic, partition, offset);
	clear_stalled(stream);
	EdwSignalStreamsChanged();
	PG_RETURN_VOID();
}

Datum
edw_stream_bump_epoch(PG_FUNCTION_ARGS)
{
	char	   *stream = text_to_cstring(PG_GETARG_TEXT_PP(0));

	(void) EdwStreamLoadOwned(stream, "FOR NO KEY UPDATE");
	(void) EdwOffsetsBumpEpoch(stream);
	clear_stalled(stream);
	EdwSignalStreamsChanged();
	PG_RETURN_VOID();
}
