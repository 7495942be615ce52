/*
 * letters.c
 *		Dead letters as messages again, and what became of them (see letters.h).
 *
 * Reads and writes edw_stream.dead_letter as the extension's owner, in the caller's transaction.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "pipeline/catalog_sql.h"
#include "pipeline/letters.h"
#include "utils/builtins.h"

static EdwStatement select_headers = {
	"SELECT e.value ->> 0, e.value ->> 1 FROM edw_stream.dead_letter d,"
	" LATERAL pg_catalog.jsonb_array_elements(d.headers) WITH ORDINALITY e (value, n)"
	" WHERE d.id = $1 ORDER BY e.n",
	1, {INT8OID}, NULL
};

static EdwStatement close_letter = {
	"UPDATE edw_stream.dead_letter SET status = $2, attempts = attempts + 1, last_seen = now()"
	" WHERE id = $1",
	2, {INT8OID, TEXTOID}, NULL
};

static EdwStatement keep_letter = {
	"UPDATE edw_stream.dead_letter SET attempts = attempts + 1, last_seen = now(), stage = $2,"
	" reason = $3, sqlstate = $4, message = $5, detail = $6, hint = $7,"
	" waits_for = coalesce($8::pg_catalog.regclass, waits_for), member = coalesce($9, member),"
	" wait_until = coalesce(wait_until, now() + pg_catalog.make_interval(secs => $10)),"
	" status = CASE WHEN $3 IN ('member_missing', 'key_waits') THEN status ELSE 'open' END WHERE id = $1",
	10, {INT8OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, OIDOID, BYTEAOID, FLOAT8OID}, NULL
};

/*
 * A source that has only headers, those of the stored message.
 */
static int
stored_headers(const EdwMessage *message, EdwHeader *headers, int max)
{
	const EdwLetter *letter = message->native;

	for (int i = 0; i < Min(max, letter->nheaders); i++)
		headers[i] = letter->headers[i];
	return letter->nheaders;
}

static const EdwSourceOps stored_ops = {
	.name = "dead letters",
	.headers = stored_headers,
};

EdwSource	EdwLettersSource = {&stored_ops};

/* A header's value as it was stored: text, or \x and hex. */
static void
set_header_value(EdwHeader *header, char *value)
{
	int			len = value == NULL ? 0 : strlen(value);

	header->value = value;
	header->value_len = value == NULL ? -1 : len;
	if (len < 2 || strncmp(value, "\\x", 2) != 0 || len % 2 != 0 ||
		strspn(value + 2, "0123456789abcdef") != (size_t) len - 2)
		return;
	header->value_len = (int) hex_decode(value + 2, len - 2, value);
}

static void
load_headers(EdwSql *sql, EdwLetter *letter)
{
	Datum		args[1] = {Int64GetDatum(letter->id)};

	letter->nheaders = (int) EdwSqlRun(&select_headers, args, NULL);
	letter->headers = MemoryContextAllocZero(sql->caller, sizeof(EdwHeader) * (letter->nheaders + 1));
	for (int i = 0; i < letter->nheaders; i++)
	{
		letter->headers[i].name = EdwSqlGetText(sql, i, 1);
		set_header_value(&letter->headers[i], EdwSqlGetText(sql, i, 2));
	}
}

static void
read_letter(EdwSql *sql, uint64 row, EdwLetter *letter)
{
	EdwMessage *message = &letter->message;
	bool		isnull;
	Datum		time;

	letter->id = DatumGetInt64(EdwSqlGet(row, 1, &isnull));
	message->topic = EdwSqlGetText(sql, row, 2);
	message->partition = DatumGetInt32(EdwSqlGet(row, 3, &isnull));
	message->offset = DatumGetInt64(EdwSqlGet(row, 4, &isnull));
	time = EdwSqlGet(row, 5, &isnull);
	message->timestamp_ms = isnull ? -1 : (int64) rint(DatumGetFloat8(time) * 1000);
	message->key = EdwSqlGetBytes(sql, row, 6, &message->key_len);
	message->value = EdwSqlGetBytes(sql, row, 7, &message->value_len);
	message->native = letter;
	letter->epoch = DatumGetInt32(EdwSqlGet(row, 8, &isnull));
}

EdwLetter *
EdwLettersLoad(EdwStatement *select, Datum *args, const char *nulls, int *n)
{
	EdwSql		sql;
	EdwLetter  *letters;

	EdwSqlStart(&sql);
	*n = (int) EdwSqlRun(select, args, nulls);
	letters = MemoryContextAllocZero(sql.caller, sizeof(EdwLetter) * (*n + 1));
	for (int i = 0; i < *n; i++)
		read_letter(&sql, i, &letters[i]);
	for (int i = 0; i < *n; i++)
		load_headers(&sql, &letters[i]);
	EdwSqlFinish(&sql);
	return letters;
}

void
EdwLetterPlace(EdwPipeline *pipeline, EdwTopic *topic, const EdwLetter *letter, EdwFullPosition *position)
{
	const EdwInputDesc *input = &topic->route->input;
	EdwOrigin	origin = {
		.topic = topic->name,
		.partition = letter->message.partition,
		.offset = letter->message.offset,
		.position = position,
	};

	EdwEpochSetPosition(position, &topic->change.position, letter->epoch);

	/* a session that retries is no batch */
	if (EdwMetadataIsWanted(input, EDW_METADATA_BATCH) && pipeline->assigned)
		origin.batch_id = EdwHistoryBatchId(pipeline);
	EdwMetadataFill(input, &topic->change, &origin);
}

void
EdwLetterRecord(const EdwLetter *letter, const EdwLetterOutcome *outcome)
{
	EdwSql		sql;
	Datum		args[10] = {0};
	char		nulls[11] = "          ";

	EdwSqlStart(&sql);
	args[0] = Int64GetDatum(letter->id);
	if (outcome->status != NULL)
	{
		args[1] = CStringGetTextDatum(outcome->status);
		(void) EdwSqlRun(&close_letter, args, NULL);
	}
	else
	{
		EdwSqlSetText(args, nulls, 1, outcome->mark.stage);
		EdwSqlSetText(args, nulls, 2, outcome->mark.reason);
		EdwSqlSetText(args, nulls, 3, unpack_sql_state(outcome->mark.sqlerrcode));
		EdwSqlSetText(args, nulls, 4, outcome->mark.message);
		EdwSqlSetText(args, nulls, 5, outcome->mark.detail);
		EdwSqlSetText(args, nulls, 6, outcome->mark.hint);
		args[7] = ObjectIdGetDatum(outcome->mark.waits_for);
		if (outcome->mark.waits)
		{
			/* what waited behind another has had no limit of its own */
			args[8] = EdwBytesDatum(outcome->mark.member, outcome->mark.member_len);
			args[9] = Float8GetDatum(outcome->mark.wait_limit_ms / 1000.0);
		}
		else
			nulls[7] = nulls[8] = nulls[9] = 'n';
		(void) EdwSqlRun(&keep_letter, args, nulls);
	}
	EdwSqlFinish(&sql);
}

