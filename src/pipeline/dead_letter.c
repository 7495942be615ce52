/*
 * dead_letter.c
 *		edw_stream.dead_letter: messages that could not be applied (rule K6).
 *
 * A message is kept byte for byte, with its headers, so that retry_dead_letters() can
 * decode it again as if it had just come.
 */
#include "postgres.h"

#include "pipeline/dead_letter.h"

#include "apply/batch.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "pipeline/catalog_sql.h"
#include "utils/builtins.h"
#include "utils/json.h"

#define MAX_HEADERS		64

static EdwStatement store_letter = {
	"INSERT INTO edw_stream.dead_letter AS d (stream, topic, partition, kafka_offset, kafka_time,"
	" key, value, headers, mapping_id, epoch, row_key, stage, reason, sqlstate, message, detail, hint,"
	" status, waits_for, member, wait_until)"
	" VALUES ($1, $2, $3, $4, pg_catalog.to_timestamp($5), $6, $7, $8::pg_catalog.jsonb,"
	" $9, $10, $11, $12, $13, $14, $15, $16, $17, CASE WHEN $18 THEN 'waiting' ELSE 'open' END,"
	" $19::pg_catalog.regclass, $20, now() + pg_catalog.make_interval(secs => $21))"
	" ON CONFLICT (stream, topic, partition, kafka_offset) DO UPDATE SET"
	" mapping_id = excluded.mapping_id, epoch = excluded.epoch, row_key = excluded.row_key,"
	" stage = excluded.stage, reason = excluded.reason, sqlstate = excluded.sqlstate,"
	" message = excluded.message, detail = excluded.detail, hint = excluded.hint,"
	" waits_for = excluded.waits_for, member = excluded.member, wait_until = excluded.wait_until,"
	" last_seen = now(), attempts = d.attempts + 1, status = excluded.status",
	21, {TEXTOID, TEXTOID, INT4OID, INT8OID, FLOAT8OID, BYTEAOID, BYTEAOID, TEXTOID, INT4OID,
	INT4OID, BYTEAOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, BOOLOID, OIDOID, BYTEAOID, FLOAT8OID}, NULL
};

static EdwStatement close_letter = {
	"UPDATE edw_stream.dead_letter SET status = 'resolved', last_seen = now()"
	" WHERE stream = $1 AND topic = $2 AND partition = $3 AND kafka_offset = $4 AND status IN ('open', 'waiting')",
	4, {TEXTOID, TEXTOID, INT4OID, INT8OID}, NULL
};

bool
EdwDeadLetterClose(const char *stream, const char *topic, int32 partition, int64 offset)
{
	EdwSql		sql;
	Datum		args[4];
	bool		found;

	EdwSqlStart(&sql);
	args[0] = CStringGetTextDatum(stream);
	args[1] = CStringGetTextDatum(topic);
	args[2] = Int32GetDatum(partition);
	args[3] = Int64GetDatum(offset);
	found = EdwSqlRun(&close_letter, args, NULL) > 0;
	EdwSqlFinish(&sql);
	return found;
}

void
EdwDeadMarkWait(EdwDeadMark *mark, const EdwWait *wait)
{
	mark->waits = true;
	mark->waits_for = wait->dimension;
	mark->member = wait->member;
	mark->member_len = wait->member_len;
	mark->wait_limit_ms = wait->limit_ms;
}

void
EdwDeadMarkFree(EdwDeadMark *mark)
{
	pfree(unconstify(char *, mark->message));
	if (mark->detail != NULL)
		pfree(unconstify(char *, mark->detail));
	if (mark->hint != NULL)
		pfree(unconstify(char *, mark->hint));
	if (mark->row_key != NULL)
		pfree(unconstify(char *, mark->row_key));
	if (mark->member != NULL)
		pfree(unconstify(char *, mark->member));
	pfree(mark);
}

/* Append a header's value as a JSON string; what is not text becomes \x and hex. */
static void
append_header_value(StringInfo out, const EdwHeader *header)
{
	if (header->value == NULL)
		appendStringInfoString(out, "null");
	else if (pg_verify_mbstr(PG_UTF8, header->value, header->value_len, true))
		escape_json(out, pnstrdup(header->value, header->value_len));
	else
	{
		char	   *hex = palloc(2 + header->value_len * 2 + 1);
		uint64		n;

		memcpy(hex, "\\x", 2);
		n = hex_encode(header->value, header->value_len, hex + 2);
		hex[2 + n] = '\0';
		escape_json(out, hex);
	}
}

/* The headers as JSON text, NULL when there are none. */
static char *
headers_json(EdwSource *source, const EdwMessage *message)
{
	EdwHeader	headers[MAX_HEADERS];
	StringInfoData out;
	int			n = source->ops->headers(message, headers, MAX_HEADERS);

	if (n <= 0)
		return NULL;
	initStringInfo(&out);
	appendStringInfoChar(&out, '[');
	for (int i = 0; i < Min(n, MAX_HEADERS); i++)
	{
		appendStringInfoString(&out, i == 0 ? "[" : ", [");
		escape_json(&out, headers[i].name);
		appendStringInfoString(&out, ", ");
		append_header_value(&out, &headers[i]);
		appendStringInfoChar(&out, ']');
	}
	appendStringInfoChar(&out, ']');
	return out.data;
}

static void
set_bytes(Datum *args, char *nulls, int i, const char *bytes, int len)
{
	if (bytes != NULL && len >= 0)
		args[i] = EdwBytesDatum(bytes, len);
	else
		nulls[i] = 'n';
}

void
EdwDeadLetterStore(const char *stream, EdwSource *source, const EdwMessage *message,
				   const EdwDeadMark *mark)
{
	EdwSql		sql;
	Datum		args[21] = {0};
	char		nulls[22] = "                     ";

	EdwSqlStart(&sql);
	args[0] = CStringGetTextDatum(stream);
	args[1] = CStringGetTextDatum(message->topic);
	args[2] = Int32GetDatum(message->partition);
	args[3] = Int64GetDatum(message->offset);
	args[4] = Float8GetDatum(message->timestamp_ms / 1000.0);
	if (message->timestamp_ms < 0)
		nulls[4] = 'n';
	set_bytes(args, nulls, 5, message->key, message->key_len);
	set_bytes(args, nulls, 6, message->value, message->value_len);
	EdwSqlSetText(args, nulls, 7, headers_json(source, message));
	args[8] = Int32GetDatum(mark->mapping_id);
	if (mark->mapping_id == 0)
		nulls[8] = 'n';
	args[9] = Int32GetDatum(mark->epoch);
	if (mark->epoch == 0)
		nulls[9] = 'n';
	set_bytes(args, nulls, 10, mark->row_key, mark->row_key_len);
	args[11] = CStringGetTextDatum(mark->stage);
	args[12] = CStringGetTextDatum(mark->reason);
	args[13] = CStringGetTextDatum(unpack_sql_state(mark->sqlerrcode));
	args[14] = CStringGetTextDatum(mark->message);
	EdwSqlSetText(args, nulls, 15, mark->detail);
	EdwSqlSetText(args, nulls, 16, mark->hint);
	args[17] = BoolGetDatum(mark->waits);
	args[18] = ObjectIdGetDatum(mark->waits_for);
	args[20] = Float8GetDatum(mark->wait_limit_ms / 1000.0);
	if (!OidIsValid(mark->waits_for))
		nulls[18] = nulls[20] = 'n';
	set_bytes(args, nulls, 19, mark->member, mark->member_len);
	(void) EdwSqlRun(&store_letter, args, nulls);
	EdwSqlFinish(&sql);
}
