/*
 * envelope.c
 *		Debezium's envelope: where its fields are, and what they say.
 *
 * An envelope is walked once, as a whole, because its fields come in any order; only then is
 * clear what the message is (rule P1). After one envelope another is expected, whose row and
 * source are then read on the way, and forgotten if it turns out to be none.
 * Rules P1, P2, P6, P7.
 */
#include "postgres.h"

#include "decode/envelope.h"

static const char *const envelope_names[ENV_FIELDS] = {
	"before", "after", "source", "op", "ts_ms", "ts_us", "ts_ns", "transaction", "message",
	"ddl", "tableChanges", "databaseName", "status", "data_collections"
};

static EdwFieldSet *
set_of_names(const char *const *names, int n)
{
	EdwFieldSet *set = EdwFieldSetMake();

	for (int i = 0; i < n; i++)
		EdwFieldAdd(set, names[i], (int) strlen(names[i]), i);
	return set;
}

/* In the current context. What is given stays the caller's. */
EdwEnvelope *
EdwEnvelopeMake(EdwJson *json, EdwJson *document, EdwRowReader *row, EdwSourceBlock *source)
{
	static const char *const transaction_names[] = {"id", "total_order", "data_collection_order"};
	EdwEnvelope *e = palloc0(sizeof(EdwEnvelope));

	e->json = json;
	e->document = document;
	e->row = row;
	e->source = source;
	e->names = set_of_names(envelope_names, ENV_FIELDS);
	e->transaction_names = set_of_names(transaction_names, lengthof(transaction_names));
	for (int i = 0; i < row->desc->ncolumns; i++)
		if (strcmp(row->desc->columns[i].name, "ts_ms") == 0)
			e->has_ts_ms_column = true;
	return e;
}

/*
 * The row and the source of an envelope, where they are met: the last message was one, so
 * this is one, too, or else what was read is forgotten. A failure to read the row
 * is kept until that is clear. Returns the token after the value.
 */
static EdwJsonToken
read_early(EdwEnvelope *e, EdwEnvelopeField which, EdwJsonToken value, EdwChange *change,
		   EdwReason *reason, EdwJsonError *error)
{
	EdwJsonToken after;

	if (which == ENV_SOURCE)
	{
		e->source_read = true;
		return EdwSourceBlockRead(e->source, e->json, value, error);
	}
	e->row_read = true;
	e->row_result = EdwRowRead(e->row, e->json, value, EDW_ROW_ALL, change, &after, reason);
	return e->row_result == EDW_EVENT ? after : EdwJsonSkip(e->json, value, error);
}

/* Note where the fields of the object at root are. False: it is not well-formed. */
bool
EdwEnvelopeWalk(EdwEnvelope *e, EdwJsonToken root, EdwJsonToken end, EdwChange *change,
			  EdwReason *reason, EdwJsonError *error)
{
	const EdwJson *json = e->json;
	EdwJsonToken key;
	EdwJsonToken after = EDW_JSON_NO_TOKEN;
	EdwField   *field = NULL;
	bool		more;

	memset(e->tokens, 0xFF, sizeof(e->tokens));
	e->nothers = 0;
	e->row_read = e->source_read = false;
	e->row->in_envelope = true;
	for (more = EdwJsonObjectFirst(json, root, &key, &after, error); more;
		 more = EdwJsonObjectNext(json, after, &key, &after, error))
	{
		EdwField   *found = EdwFieldLookup(e->names, json, key, field);

		if (found != NULL)
		{
			field = found;
			e->tokens[found->id] = key + 2;
		}
		else
			e->nothers++;
		/* of duplicates the last one counts */
		if (found != NULL && found->id == ENV_AFTER && e->row_read)
		{
			EdwRowForget(e->row, change);
			e->row_read = false;
		}
		if (found != NULL && e->expected && EdwJsonChar(json, key + 2) == '{' &&
			(found->id == ENV_AFTER || (found->id == ENV_SOURCE && !e->source_read)))
			after = read_early(e, found->id, key + 2, change, reason, error);
		else
			after = EdwJsonSkip(json, key + 2, error);
		if (after == EDW_JSON_NO_TOKEN)
			break;
	}
	if (*error == EDW_JSON_OK && after != end)
		*error = EDW_JSON_BAD_SYNTAX;
	return *error == EDW_JSON_OK;
}

/* transaction: {"id": …, "total_order": …, …} (rule P7) */
EdwDecodeResult
EdwEnvelopeReadTransaction(EdwEnvelope *e, EdwChange *change, EdwReason *reason)
{
	const EdwJson *json = e->json;
	EdwJsonToken key;
	EdwJsonToken after;
	EdwJsonError error = EDW_JSON_OK;
	EdwField   *field = NULL;
	bool		more;
	const char *text;
	int			len;

	if (!EdwEnvelopeHasObject(e, ENV_TRANSACTION))
		return EDW_EVENT;
	change->in_transaction_block = true;
	for (more = EdwJsonObjectFirst(json, e->tokens[ENV_TRANSACTION], &key, &after, &error); more;
		 more = EdwJsonObjectNext(json, after, &key, &after, &error))
	{
		EdwField   *found = EdwFieldLookup(e->transaction_names, json, key, field);

		if (found != NULL)
		{
			field = found;
			if (found->id == 1)
				change->total_order = EdwTokenInt(json, key + 2, -1);
			else if (found->id == 0 && (len = EdwTokenText(json, key + 2, &text)) > 0)
				EdwSetTransactionId(change->txid, text, len);
		}
		after = EdwJsonSkip(json, key + 2, &error);
		if (after == EDW_JSON_NO_TOKEN)
			break;
	}
	return error == EDW_JSON_OK ? EDW_EVENT : EdwBadJson(reason, error, "the message");
}

/* The op of an envelope; false for one that there is not. */
bool
EdwParseOp(const char *text, int len, EdwOp *op)
{
	if (len != 1)
		return false;
	switch (text[0])
	{
		case 'c':
			*op = EDW_OP_CREATE;
			return true;
		case 'u':
			*op = EDW_OP_UPDATE;
			return true;
		case 'r':
			*op = EDW_OP_READ;
			return true;
		case 'd':
			*op = EDW_OP_DELETE;
			return true;
		case 't':
			*op = EDW_OP_TRUNCATE;
			return true;
		default:
			return false;
	}
}

/* A row image: an object, or for MongoDB a text that holds one. */
static EdwDecodeResult
read_image(EdwEnvelope *e, EdwEnvelopeField which, EdwRowMode mode, EdwChange *change,
		   const EdwJson **json, EdwReason *reason)
{
	EdwJsonToken token = e->tokens[which];
	EdwJsonToken after;
	EdwReader  *reader = e->row->reader;
	const char *text;
	int			len;
	EdwJsonError error;
	EdwDecodeResult result;

	*json = e->json;
	if (EdwJsonChar(e->json, token) == '{')
		return EdwRowRead(e->row, e->json, token, mode, change, &after, reason);

	reader->json = e->json;
	reader->reason = reason;
	reader->column = envelope_names[which];
	result = EdwReadText(reader, token, &reader->scratch, &text, &len);
	if (result != EDW_EVENT)
		return result;
	error = EdwJsonLoad(e->document, "", 0, text, len);
	if (error == EDW_JSON_OK && EdwJsonChar(e->document, 0) != '{')
		error = EDW_JSON_BAD_SYNTAX;
	if (error != EDW_JSON_OK)
		return EdwBadJson(reason, error, "the document");
	*json = e->document;
	return EdwRowRead(e->row, e->document, 0, mode, change, &after, reason);
}

static bool
has_image(const EdwEnvelope *e, EdwEnvelopeField field)
{
	char		c;

	if (!EdwEnvelopeHas(e, field))
		return false;
	c = EdwJsonChar(e->json, e->tokens[field]);
	return c == '{' || c == '"';
}

/* The row of an event, by its op (rules P2, P6). *json is what the row was read from. */
EdwDecodeResult
EdwEnvelopeReadRow(EdwEnvelope *e, EdwChange *change, const EdwJson **json, EdwReason *reason)
{
	EdwDecodeResult result;

	*json = e->json;
	if (change->op == EDW_OP_TRUNCATE)
		return EDW_EVENT;
	if (change->op == EDW_OP_DELETE)
	{
		if (e->row_read)
			EdwRowForget(e->row, change);
		return has_image(e, ENV_BEFORE) ?
			read_image(e, ENV_BEFORE, EDW_ROW_KEYS, change, json, reason) : EDW_EVENT;
	}

	if (!has_image(e, ENV_AFTER))
		return EdwBadMessage(reason, "no_row", ERRCODE_DATA_EXCEPTION,
							 "the event has no row: its field \"after\" is missing or null");
	if (change->op == EDW_OP_UPDATE && e->row->desc->want_old_key && EdwEnvelopeHasObject(e, ENV_BEFORE))
	{
		EdwJsonToken sequence = e->row->sequence;

		memset(change->old_nulls, true, e->row->desc->ncolumns);
		result = read_image(e, ENV_BEFORE, EDW_ROW_OLD_KEYS, change, json, reason);
		if (result != EDW_EVENT)
			return result;
		change->has_old = true;
		e->row->sequence = e->row_read ? sequence : EDW_JSON_NO_TOKEN;
	}
	if (e->row_read)
		return e->row_result;
	return read_image(e, ENV_AFTER, EDW_ROW_ALL, change, json, reason);
}

/* Is the message that was walked an envelope? */
bool
EdwIsEnvelope(const EdwEnvelope *e)
{
	return EdwEnvelopeHas(e, ENV_OP) &&
		(EdwEnvelopeHas(e, ENV_SOURCE) || EdwEnvelopeHas(e, ENV_AFTER) || EdwEnvelopeHas(e, ENV_BEFORE));
}

/* Messages of Debezium's that are no rows and no envelopes (rule P1). */
const char *
EdwEnvelopeNotice(const EdwEnvelope *e)
{
	if (EdwEnvelopeHas(e, ENV_DDL) && (EdwEnvelopeHas(e, ENV_TABLE_CHANGES) || EdwEnvelopeHas(e, ENV_DATABASE_NAME)))
		return "schema_change";
	if (EdwEnvelopeHas(e, ENV_STATUS) && EdwEnvelopeHas(e, ENV_DATA_COLLECTIONS))
		return "transaction_mark";
	if (EdwEnvelopeHas(e, ENV_TS_MS) && e->nothers == 0 && !e->has_ts_ms_column &&
		!EdwEnvelopeHas(e, ENV_OP) && !EdwEnvelopeHas(e, ENV_SOURCE) && !EdwEnvelopeHas(e, ENV_BEFORE) && !EdwEnvelopeHas(e, ENV_AFTER))
		return "heartbeat";
	return NULL;
}

/* Does the message begin like something else than a row? Then it is looked at as a whole. */
bool
EdwMayBeEnvelope(EdwEnvelope *e, EdwJsonToken root)
{
	return EdwJsonChar(e->json, root + 1) == '"' &&
		EdwFieldLookup(e->names, e->json, root + 1, NULL) != NULL;
}
