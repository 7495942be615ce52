/*
 * source_block.c
 *		What an event says about where it comes from: see source_block.h.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "decode/digits.h"
#include "decode/source_block.h"
#include "decode/types.h"

static const char *const field_names[EDW_SRC_FIELDS] = {
	"connector", "name", "db", "table", "snapshot", "ts_ms", "ts_us", "ts_ns", "txId",
	"sequence", "lsn", "server_id", "gtid", "file", "pos", "row",
	"commit_lsn", "change_lsn", "event_serial_no", "commit_scn", "scn", "rs_id", "ssn",
	"ord", "rs"
};

const char *
EdwSourceFieldName(int code)
{
	return field_names[code];
}

EdwSourceBlock *
EdwSourceBlockMake(void)
{
	EdwSourceBlock *block = palloc0(sizeof(EdwSourceBlock));

	block->fields = EdwFieldSetMake();
	for (int i = 0; i < EDW_SRC_FIELDS; i++)
		EdwFieldAdd(block->fields, field_names[i], (int) strlen(field_names[i]), i);
	EdwSourceBlockClear(block);
	return block;
}

void
EdwSourceBlockClear(EdwSourceBlock *block)
{
	memset(block->tokens, 0xFF, sizeof(block->tokens));
	StaticAssertStmt(EDW_JSON_NO_TOKEN == 0xFFFFFFFF, "NO_TOKEN is all ones");
}

EdwJsonToken
EdwSourceBlockRead(EdwSourceBlock *block, const EdwJson *json, EdwJsonToken token,
				   EdwJsonError *error)
{
	EdwJsonToken key;
	EdwJsonToken after = EDW_JSON_NO_TOKEN;
	EdwField   *field = NULL;
	bool		more;

	for (more = EdwJsonObjectFirst(json, token, &key, &after, error); more;
		 more = EdwJsonObjectNext(json, after, &key, &after, error))
	{
		EdwField   *found = EdwFieldLookup(block->fields, json, key, field);

		/* a name that does not count is learnt, too: the guess must not stumble over it */
		if (found == NULL)
		{
			const char *name;
			size_t		len = EdwJsonStringRaw(json, key, &name);

			if (len < 128)
				found = EdwFieldAdd(block->fields, name, (int) len, -1);
		}
		if (found != NULL)
		{
			field = found;
			if (found->id >= 0)
				block->tokens[found->id] = key + 2;
		}
		after = EdwJsonSkip(json, key + 2, error);
		if (after == EDW_JSON_NO_TOKEN)
			break;
	}
	return *error == EDW_JSON_OK ? after : EDW_JSON_NO_TOKEN;
}

int
EdwTokenText(const EdwJson *json, EdwJsonToken token, const char **text)
{
	char		c;

	*text = "";
	if (token == EDW_JSON_NO_TOKEN)
		return 0;
	c = EdwJsonChar(json, token);
	if (c == '"')
		return (int) EdwJsonStringRaw(json, token, text);
	if (c == '-' || (c >= '0' && c <= '9') || c == 't' || c == 'f')
		return (int) EdwJsonScalar(json, token, text);
	return 0;
}

int64
EdwTokenInt(const EdwJson *json, EdwJsonToken token, int64 dflt)
{
	const char *text;
	int			len = EdwTokenText(json, token, &text);
	int64		number;

	return EdwParseInt64(text, len, &number) ? number : dflt;
}

int64
EdwTokenTime(const EdwJson *json, EdwJsonToken us, EdwJsonToken ns, EdwJsonToken ms)
{
	int64		t = EdwTokenInt(json, us, 0);

	if (t == 0)
		t = EdwTokenInt(json, ns, 0) / 1000;
	if (t == 0)
	{
		t = EdwTokenInt(json, ms, 0);
		t = t > PG_INT64_MAX / 1000 || t < PG_INT64_MIN / 1000 ? 0 : t * 1000;
	}
	return t;
}

/*
 * BEGIN and END of one PostgreSQL transaction have ids that differ after the colon (rule P7).
 * Other connectors' ids have other shapes, a GTID's uuid:number among them, and count
 * as a whole.
 */
void
EdwSetTransactionId(char *txid, const char *text, int len)
{
	int			digits = 0;
	int			i;

	while (digits < len && text[digits] >= '0' && text[digits] <= '9')
		digits++;
	if (digits > 0 && digits < len && text[digits] == ':')
	{
		for (i = digits + 1; i < len && text[i] >= '0' && text[i] <= '9'; i++)
			;
		if (i == len)
			len = digits;
	}
	len = Min(len, EDW_TXID_MAX - 1);
	memcpy(txid, text, len);
	txid[len] = '\0';
}

static bool
text_is(const EdwJson *json, EdwJsonToken token, const char *wanted)
{
	const char *text;
	int			len = EdwTokenText(json, token, &text);

	return len == (int) strlen(wanted) && memcmp(text, wanted, len) == 0;
}

bool
EdwSourceBlockIsSignal(const EdwSourceBlock *block, const EdwJson *json)
{
	return text_is(json, block->tokens[EDW_SRC_TABLE], "debezium_signal");
}

/* Who sent this; without the name, what its fields are. */
static EdwConnector
connector_of(const EdwSourceBlock *block, const EdwJson *json)
{
	const EdwJsonToken *t = block->tokens;

	if (t[EDW_SRC_CONNECTOR] != EDW_JSON_NO_TOKEN)
	{
		if (text_is(json, t[EDW_SRC_CONNECTOR], "postgresql"))
			return EDW_CONNECTOR_POSTGRESQL;
		if (text_is(json, t[EDW_SRC_CONNECTOR], "mysql") ||
			text_is(json, t[EDW_SRC_CONNECTOR], "mariadb"))
			return EDW_CONNECTOR_MYSQL;
		if (text_is(json, t[EDW_SRC_CONNECTOR], "sqlserver"))
			return EDW_CONNECTOR_SQLSERVER;
		if (text_is(json, t[EDW_SRC_CONNECTOR], "oracle"))
			return EDW_CONNECTOR_ORACLE;
		if (text_is(json, t[EDW_SRC_CONNECTOR], "mongodb"))
			return EDW_CONNECTOR_MONGODB;
		return EDW_CONNECTOR_UNKNOWN;
	}
	if (t[EDW_SRC_SEQUENCE] != EDW_JSON_NO_TOKEN || t[EDW_SRC_LSN] != EDW_JSON_NO_TOKEN)
		return EDW_CONNECTOR_POSTGRESQL;
	if (t[EDW_SRC_FILE] != EDW_JSON_NO_TOKEN && t[EDW_SRC_POS] != EDW_JSON_NO_TOKEN)
		return EDW_CONNECTOR_MYSQL;
	if (t[EDW_SRC_COMMIT_LSN] != EDW_JSON_NO_TOKEN)
		return EDW_CONNECTOR_SQLSERVER;
	if (t[EDW_SRC_SCN] != EDW_JSON_NO_TOKEN)
		return EDW_CONNECTOR_ORACLE;
	if (t[EDW_SRC_ORD] != EDW_JSON_NO_TOKEN)
		return EDW_CONNECTOR_MONGODB;
	return EDW_CONNECTOR_UNKNOWN;
}

/* Append to what the identity is made of, with a zero byte between the parts. */
static int
add_part(char *of, int at, const char *text, int len)
{
	len = Min(len, EDW_IDENTITY_MAX - at - 1);
	memcpy(of + at, text, len);
	of[at + len] = '\0';
	return at + len + 1;
}

/*
 * A hash of what names the source server (rule O4). Positions of MySQL and MongoDB are
 * of the whole server, so that the database does not count there; MySQL's snapshot
 * rows have no server_id yet, and then nothing is known.
 */
static uint64
identity_of(EdwSourceBlock *block, const EdwJson *json, EdwConnector connector)
{
	const EdwJsonToken *t = block->tokens;
	EdwJsonToken parts[4] = {t[EDW_SRC_CONNECTOR], t[EDW_SRC_NAME], t[EDW_SRC_DB], t[EDW_SRC_SERVER_ID]};
	char		of[EDW_IDENTITY_MAX];
	int			at = 0;
	const char *text;
	int			len;

	if (connector == EDW_CONNECTOR_MYSQL)
	{
		if (EdwTokenInt(json, t[EDW_SRC_SERVER_ID], 0) == 0)
			return 0;
		parts[2] = EDW_JSON_NO_TOKEN;
	}
	else if (connector == EDW_CONNECTOR_MONGODB)
		parts[2] = t[EDW_SRC_RS];
	if (t[EDW_SRC_NAME] == EDW_JSON_NO_TOKEN)
		return 0;

	for (int i = 0; i < 4 && at < EDW_IDENTITY_MAX - 1; i++)
	{
		len = EdwTokenText(json, parts[i], &text);
		at = add_part(of, at, text, len);
	}
	if (connector == EDW_CONNECTOR_MYSQL && at < EDW_IDENTITY_MAX - 1)
	{
		len = EdwTokenText(json, t[EDW_SRC_FILE], &text);
		while (len > 0 && text[len - 1] >= '0' && text[len - 1] <= '9')
			len--;
		at = add_part(of, at, text, len);
	}
	if (at != block->identity_len || memcmp(of, block->identity_of, at) != 0)
	{
		memcpy(block->identity_of, of, at);
		block->identity_len = at;
		block->identity = hash_bytes_extended((unsigned char *) of, at, 0);
		/* 0 means unknown */
		if (block->identity == 0)
			block->identity = 1;
	}
	return block->identity;
}

/* source.snapshot: true, first, first_in_data_collection, last …, false, incremental */
static EdwSnapshotKind
snapshot_kind(const EdwJson *json, EdwJsonToken token, EdwOp op)
{
	const char *text;
	int			len = EdwTokenText(json, token, &text);

	if (len == 11 && memcmp(text, "incremental", 11) == 0)
		return EDW_SNAPSHOT_INCREMENTAL;
	if (op == EDW_OP_READ)
		return EDW_SNAPSHOT;
	if (len == 0 || (len == 5 && memcmp(text, "false", 5) == 0))
		return EDW_NOT_SNAPSHOT;
	return EDW_SNAPSHOT;
}

/* The next number or null of a sequence's JSON text, whose quotes are escaped. */
static bool
next_in_sequence(const char **p, const char *end, uint64 *number)
{
	const char *digits;

	*number = 0;
	while (*p < end && (**p == '[' || **p == ']' || **p == ',' || **p == '\\' ||
						**p == '"' || **p == ' '))
		(*p)++;
	if (end - *p >= 4 && memcmp(*p, "null", 4) == 0)
	{
		*p += 4;
		return true;
	}
	digits = *p;
	*p = EdwReadDigits(digits, end, number);
	return *p > digits;
}

/* Rule O2. Without a sequence, lsn alone: in order for each row, which has one writer. */
static bool
postgres_position(EdwSourceBlock *block, const EdwJson *json, bool streamed,
				  bool is_delete, EdwPosition *position)
{
	const char *p;
	int			len = EdwTokenText(json, block->tokens[EDW_SRC_SEQUENCE], &p);
	const char *end = p + len;
	uint64		last_commit = 0;
	uint64		lsn = 0;

	if (len > 0 &&
		(!next_in_sequence(&p, end, &last_commit) || !next_in_sequence(&p, end, &lsn)))
		return false;
	if (lsn == 0)
		lsn = (uint64) EdwTokenInt(json, block->tokens[EDW_SRC_LSN], 0);
	if (lsn == 0)
		return true;
	return EdwPositionPostgres(position, streamed, is_delete, last_commit, lsn);
}

/* The position of a change, as its connector counts; empty when it says none. */
static bool
make_position(EdwSourceBlock *block, const EdwJson *json, EdwConnector connector,
			  bool streamed, bool is_delete, int64 kafka_offset, EdwPosition *p)
{
	const EdwJsonToken *t = block->tokens;
	const char *a;
	const char *b;
	const char *c;
	int			alen;
	int			blen;
	int			clen;

	switch (connector)
	{
		case EDW_CONNECTOR_POSTGRESQL:
			return postgres_position(block, json, streamed, is_delete, p);
		case EDW_CONNECTOR_MYSQL:
			alen = EdwTokenText(json, t[EDW_SRC_FILE], &a);
			return alen == 0 ||
				EdwPositionMysql(p, streamed, is_delete, a, alen,
								 (uint64) EdwTokenInt(json, t[EDW_SRC_POS], 0),
								 (uint64) EdwTokenInt(json, t[EDW_SRC_ROW], 0));
		case EDW_CONNECTOR_SQLSERVER:
			alen = EdwTokenText(json, t[EDW_SRC_COMMIT_LSN], &a);
			blen = EdwTokenText(json, t[EDW_SRC_CHANGE_LSN], &b);
			return alen == 0 ||
				EdwPositionSqlServer(p, streamed, is_delete, a, alen, b, blen,
									 (uint64) EdwTokenInt(json, t[EDW_SRC_EVENT_SERIAL_NO], 0));
		case EDW_CONNECTOR_ORACLE:
			alen = EdwTokenText(json, t[EDW_SRC_COMMIT_SCN], &a);
			blen = EdwTokenText(json, t[EDW_SRC_SCN], &b);
			clen = EdwTokenText(json, t[EDW_SRC_RS_ID], &c);
			return blen == 0 ||
				EdwPositionOracle(p, streamed, is_delete, a, alen, b, blen, c, clen,
								  (uint64) EdwTokenInt(json, t[EDW_SRC_SSN], 0));
		case EDW_CONNECTOR_MONGODB:
			if (t[EDW_SRC_ORD] == EDW_JSON_NO_TOKEN || t[EDW_SRC_TS_MS] == EDW_JSON_NO_TOKEN)
				return true;
			return EdwPositionMongo(p, streamed, is_delete,
									(uint64) EdwTokenInt(json, t[EDW_SRC_TS_MS], 0) / 1000,
									(uint64) EdwTokenInt(json, t[EDW_SRC_ORD], 0),
									kafka_offset);
		default:
			return true;
	}
}

static void
set_txid(const EdwSourceBlock *block, const EdwJson *json, EdwChange *change)
{
	const char *text;
	int			len = EdwTokenText(json, block->tokens[EDW_SRC_TXID], &text);

	if (len == 0)
		len = EdwTokenText(json, block->tokens[EDW_SRC_GTID], &text);
	if (len > 0)
		EdwSetTransactionId(change->txid, text, len);
}

EdwDecodeResult
EdwSourceBlockApply(EdwSourceBlock *block, const EdwJson *json, bool want_position,
					int64 kafka_offset, EdwChange *change, EdwReason *reason)
{
	const EdwJsonToken *t = block->tokens;
	EdwConnector connector = connector_of(block, json);

	change->snapshot = snapshot_kind(json, t[EDW_SRC_SNAPSHOT], change->op);
	change->identity = identity_of(block, json, connector);
	change->source_ts_us = EdwTokenTime(json, t[EDW_SRC_TS_US], t[EDW_SRC_TS_NS], t[EDW_SRC_TS_MS]);
	if (change->txid[0] == '\0')
		set_txid(block, json, change);

	/* rows of an incremental snapshot have no place in the log (rule O5) */
	if (!want_position || change->snapshot == EDW_SNAPSHOT_INCREMENTAL)
		return EDW_EVENT;
	if (make_position(block, json, connector, change->snapshot == EDW_NOT_SNAPSHOT,
					  change->op == EDW_OP_DELETE, kafka_offset, &change->position))
		return EDW_EVENT;
	reason->code = "bad_position";
	reason->sqlerrcode = ERRCODE_DATA_EXCEPTION;
	snprintf(reason->detail, sizeof(reason->detail),
			 "the event's place in the source's log cannot be read");
	snprintf(reason->hint, sizeof(reason->hint),
			 "Name a column or header to order by in the mapping's \"sequence\" if the connector has another form of positions.");
	return EDW_BAD;
}
