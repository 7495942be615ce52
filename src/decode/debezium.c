/*
 * debezium.c
 *		Messages in JSON: Debezium's envelope, its flattened form, and plain rows.
 *
 * One decoder for both formats. What a message is, is decided by its first field and,
 * where that leaves doubt, by which fields it has (envelope.c); a schema envelope around it
 * was taken off before (schema.c). Rules P1, P2, P3, P5, P6, O3, O5, O9.
 */
#include "postgres.h"

#include "decode/envelope.h"

typedef struct JsonDecoder
{
	EdwDecoder	base;
	const char *topic;
	EdwConnectorModes modes;
	const char *sequence;		/* NULL: auto */
	const char *sequence_header;	/* of "header:name", else NULL */
	bool		plain;			/* the format "json" */
	EdwJson    *json;
	EdwJson    *document;		/* MongoDB's rows, which come as text */
	EdwRowReader *row;
	EdwSourceBlock *source;
	EdwEnvelope *envelope;
	MemoryContextCallback callback;
} JsonDecoder;

static void
free_documents(void *arg)
{
	JsonDecoder *d = arg;

	EdwJsonDestroy(d->json);
	EdwJsonDestroy(d->document);
	if (d->row)
		EdwJsonDestroy(d->row->reader->inner);
}

static EdwDecoder *
open_json(const EdwDecoderConfig *config, const EdwDecoderOps *ops, bool plain)
{
	JsonDecoder *d = palloc0(sizeof(JsonDecoder));

	d->base.ops = ops;
	d->topic = pstrdup(config->topic);
	d->modes = config->modes;
	if (d->modes.unavailable)
		d->modes.unavailable = pstrdup(d->modes.unavailable);
	d->sequence = config->sequence ? pstrdup(config->sequence) : NULL;
	if (d->sequence && strncmp(d->sequence, "header:", 7) == 0)
		d->sequence_header = d->sequence + 7;
	d->plain = plain;

	d->callback.func = free_documents;
	d->callback.arg = d;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &d->callback);
	d->json = EdwJsonCreate();
	d->document = EdwJsonCreate();
	if (d->json == NULL || d->document == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));

	d->source = EdwSourceBlockMake();
	d->row = EdwRowReaderMake(&d->base, config, &d->modes, plain, d->source);
	d->envelope = EdwEnvelopeMake(d->json, d->document, d->row, d->source);
	return &d->base;
}

static EdwDecoder *
open_debezium(const EdwDecoderConfig *config)
{
	return open_json(config, &EdwDebeziumJsonOps, false);
}

static EdwDecoder *
open_plain(const EdwDecoderConfig *config)
{
	return open_json(config, &EdwPlainJsonOps, true);
}

/* Everything that a message sets but its row. */
static void
reset_change(JsonDecoder *d, EdwChange *change)
{
	change->op = EDW_OP_CREATE;
	change->position.len = 0;
	change->snapshot = EDW_NOT_SNAPSHOT;
	change->identity = 0;
	change->source_ts_us = 0;
	change->event_ts_us = 0;
	change->key_departs = false;
	change->key_arrives = false;
	change->txid[0] = '\0';
	change->in_transaction_block = false;
	change->total_order = -1;
	change->has_old = false;
	EdwSourceBlockClear(d->source);
}

/* The value of a header, NULL when it is not there; *len -1 for a null one. */
static const char *
find_header(EdwSource *source, const EdwMessage *message, const char *name, int *len)
{
	EdwHeader	headers[64];
	int			n;

	if (source == NULL)
		return NULL;
	n = Min(source->ops->headers(message, headers, lengthof(headers)), (int) lengthof(headers));
	for (int i = 0; i < n; i++)
		if (strcmp(headers[i].name, name) == 0)
		{
			*len = headers[i].value ? headers[i].value_len : -1;
			return headers[i].value ? headers[i].value : "";
		}
	return NULL;
}

/* Rule P3: is this one half of a key's update? */
static void
note_key_update(EdwSource *source, const EdwMessage *message, EdwChange *change)
{
	int			len;

	if (change->op == EDW_OP_DELETE)
		change->key_departs = find_header(source, message, "__debezium.newkey", &len) != NULL;
	else if (change->op == EDW_OP_CREATE)
		change->key_arrives = find_header(source, message, "__debezium.oldkey", &len) != NULL;
}

/*
 * Rule O3: the position that the user chose. Truncates and tombstones have none, and a
 * delete whose row image lacks it (P2) is a delete in Kafka order, as a tombstone is (O9).
 */
static EdwDecodeResult
apply_sequence(JsonDecoder *d, const EdwJson *json, EdwSource *source,
			   const EdwMessage *message, EdwChange *change, EdwReason *reason)
{
	const char *text = "";
	int			len = 0;
	const EdwJson *outer = d->row->reader->json;
	EdwDecodeResult result;

	if (change->op == EDW_OP_TRUNCATE || change->op == EDW_OP_TOMBSTONE)
		return EDW_EVENT;
	if (d->sequence_header)
	{
		text = find_header(source, message, d->sequence_header, &len);
		if (text == NULL)
			len = 0;
	}
	else if (d->row->sequence != EDW_JSON_NO_TOKEN)
	{
		if (EdwJsonChar(json, d->row->sequence) == '"')
		{
			d->row->reader->json = json;
			d->row->reader->reason = reason;
			d->row->reader->column = d->sequence;
			result = EdwReadText(d->row->reader, d->row->sequence,
								 &d->row->reader->scratch, &text, &len);
			d->row->reader->json = outer;
			if (result != EDW_EVENT)
				return result;
		}
		else
			len = EdwTokenText(json, d->row->sequence, &text);
	}
	if (len <= 0 && change->op == EDW_OP_DELETE)
		return EDW_EVENT;
	return EdwSequencePosition(text, Max(len, 0), message->offset, change, reason);
}

static EdwDecodeResult
decode_envelope(JsonDecoder *d, EdwSource *source, const EdwMessage *message,
				EdwChange *change, EdwReason *reason)
{
	EdwEnvelope *e = d->envelope;
	const EdwJson *json = d->json;
	const EdwJson *row_json;
	EdwJsonError error = EDW_JSON_OK;
	EdwDecodeResult result;
	const char *op;
	int			op_len = EdwTokenText(json, e->tokens[ENV_OP], &op);

	if (op_len == 1 && op[0] == 'm')
		return EdwSkipMessage(reason, "logical_message", "a logical decoding message (op m)");
	if (!EdwParseOp(op, op_len, &change->op))
		return EdwBadMessage(reason, "unknown_op", ERRCODE_DATA_EXCEPTION,
							 "the event's op is \"%.*s\", which is none of c, u, d, r, t and m",
							 Min(op_len, 20), op);

	e->expected = true;
	result = EdwEnvelopeReadRow(e, change, &row_json, reason);
	if (result != EDW_EVENT)
		return result;
	if (EdwEnvelopeHasObject(e, ENV_SOURCE) && !e->source_read &&
		EdwSourceBlockRead(d->source, json, e->tokens[ENV_SOURCE], &error) == EDW_JSON_NO_TOKEN)
		return EdwBadJson(reason, error, "the message");
	if (EdwSourceBlockIsSignal(d->source, json))
		return EdwSkipMessage(reason, "signal", "a row of Debezium's signalling table");

	change->event_ts_us = EdwTokenTime(json, e->tokens[ENV_TS_US], e->tokens[ENV_TS_NS],
									   e->tokens[ENV_TS_MS]);
	result = EdwEnvelopeReadTransaction(e, change, reason);
	if (result == EDW_EVENT)
		result = EdwSourceBlockApply(d->source, json, d->sequence == NULL, message->offset,
									 change, reason);
	if (result == EDW_EVENT && d->sequence)
		result = apply_sequence(d, row_json, source, message, change, reason);
	if (result != EDW_EVENT)
		return result;
	note_key_update(source, message, change);
	if (change->op == EDW_OP_TRUNCATE)
	{
		EdwRowStart(d->row, change);
		return EDW_EVENT;
	}
	return EdwRowCheckKey(d->row, message, change, reason);
}

/* The metadata of a flattened record: __deleted, __op, __source_… */
static EdwDecodeResult
apply_flat_metadata(JsonDecoder *d, const EdwMessage *message, EdwChange *change,
					EdwReason *reason)
{
	const EdwJson *json = d->json;
	const char *text;
	int			len = EdwTokenText(json, d->row->op, &text);

	/* an op of another kind than ours is a column of the user's */
	if (len > 0)
		(void) EdwParseOp(text, len, &change->op);
	len = EdwTokenText(json, d->row->deleted, &text);
	if (len == 4 && memcmp(text, "true", 4) == 0)
		change->op = EDW_OP_DELETE;
	change->event_ts_us = EdwTokenTime(json, EDW_JSON_NO_TOKEN, EDW_JSON_NO_TOKEN,
									   d->row->event_time);
	return EdwSourceBlockApply(d->source, json, d->sequence == NULL, message->offset,
							   change, reason);
}

/* A message that is a row: flattened by Debezium, or plain. */
static EdwDecodeResult
decode_flat(JsonDecoder *d, EdwSource *source, const EdwMessage *message,
			EdwJsonToken root, EdwJsonToken end, EdwChange *change, EdwReason *reason)
{
	EdwJsonToken after;
	EdwDecodeResult result = EdwRowRead(d->row, d->json, root, EDW_ROW_ALL, change, &after, reason);

	if (result != EDW_EVENT)
		return result;
	if (after != end)
		return EdwBadJson(reason, EDW_JSON_BAD_SYNTAX, "the message");
	if (!d->plain)
	{
		result = apply_flat_metadata(d, message, change, reason);
		if (result != EDW_EVENT)
			return result;
		note_key_update(source, message, change);
	}
	if (d->sequence)
	{
		result = apply_sequence(d, d->json, source, message, change, reason);
		if (result != EDW_EVENT)
			return result;
	}
	if (change->op == EDW_OP_DELETE)
		EdwRowKeepKeys(d->row, change);
	return EdwRowCheckKey(d->row, message, change, reason);
}

static EdwDecodeResult
decode_value(JsonDecoder *d, EdwSource *source, const EdwMessage *message,
			 bool trust_prefix, EdwChange *change, EdwReason *reason)
{
	EdwJsonToken root;
	EdwJsonToken end;
	EdwSchema  *schema;
	EdwJsonError error;

	error = EdwSchemaLoad(d->row->schemas, d->json, message->value, message->value_len,
						  trust_prefix, &root, &end, &schema);
	if (error != EDW_JSON_OK)
		return EdwBadJson(reason, error, "the message");
	if (EdwJsonChar(d->json, root) != '{')
	{
		if (EdwJsonSkip(d->json, root, &error) != end)
			return EdwBadJson(reason, error ? error : EDW_JSON_BAD_SYNTAX, "the message");
		if (EdwJsonIsNull(d->json, root))
			return EDW_SKIP;	/* the caller knows it for a tombstone */
		return EdwBadMessage(reason, "not_an_object", ERRCODE_DATA_EXCEPTION,
							 "the message is JSON, but not an object");
	}
	if (!d->plain && schema != NULL &&
		strcmp(schema->name, "io.debezium.connector.common.Heartbeat") == 0)
		return EdwSkipMessage(reason, "heartbeat", "a heartbeat");
	EdwSchemaApply(d->row->schemas, schema, d->row->fields);

	if (!d->plain && EdwMayBeEnvelope(d->envelope, root))
	{
		const char *notice;

		if (!EdwEnvelopeWalk(d->envelope, root, end, change, reason, &error))
			return EdwBadJson(reason, error, "the message");
		if (EdwIsEnvelope(d->envelope))
			return decode_envelope(d, source, message, change, reason);
		notice = EdwEnvelopeNotice(d->envelope);
		if (notice != NULL)
			return EdwSkipMessage(reason, notice, "a message of Debezium's own");
		EdwRowForget(d->row, change);
		EdwSourceBlockClear(d->source);
	}
	d->envelope->expected = false;
	d->row->in_envelope = false;
	return decode_flat(d, source, message, root, end, change, reason);
}

/* Rule O9. Without a key there is nothing that it could delete. */
static EdwDecodeResult
decode_tombstone(JsonDecoder *d, const EdwMessage *message, EdwChange *change,
				 EdwReason *reason)
{
	change->op = EDW_OP_TOMBSTONE;
	if (message->key == NULL)
		return EdwSkipMessage(reason, "tombstone_without_key",
							  "a null value without a key");
	return EdwRowCheckKey(d->row, message, change, reason);
}

/*
 * What the source does not order is ordered by Kafka (rule O3), but for what has no place in an
 * order of others: incremental snapshots (O5), lone tombstones of Debezium's (O9), and a
 * delete without the value of the user's own sequence.
 */
static void
order_by_offset(JsonDecoder *d, const EdwMessage *message, EdwChange *change)
{
	if (d->plain && change->op == EDW_OP_TOMBSTONE && d->sequence == NULL)
		change->op = EDW_OP_DELETE;
	if (change->position.len > 0 || d->sequence != NULL ||
		change->op == EDW_OP_TOMBSTONE || change->snapshot == EDW_SNAPSHOT_INCREMENTAL)
		return;
	(void) EdwPositionOffset(&change->position, change->snapshot == EDW_NOT_SNAPSHOT,
							 change->op == EDW_OP_DELETE, message->offset);
}

static EdwDecodeResult
decode_json(EdwDecoder *decoder, EdwSource *source, const EdwMessage *message,
			EdwChange *change, EdwReason *reason)
{
	JsonDecoder *d = (JsonDecoder *) decoder;
	EdwDecodeResult result;

	reason->code = NULL;
	reason->sqlerrcode = 0;
	reason->detail[0] = '\0';
	reason->hint[0] = '\0';
	reset_change(d, change);
	EdwRowStart(d->row, change);
	if (strncmp(d->topic, "__debezium-heartbeat", 20) == 0)
		return EdwSkipMessage(reason, "heartbeat", "a heartbeat");

	result = EdwRowReadKey(d->row, d->json, message, change, reason);
	if (result != EDW_EVENT)
		return result;
	if (message->value != NULL)
		result = decode_value(d, source, message, true, change, reason);
	if (message->value != NULL && result == EDW_BAD && d->row->schemas->knew_prefix)
	{
		/* only its beginning may be that of the messages before */
		EdwRowForget(d->row, change);
		reset_change(d, change);
		result = decode_value(d, source, message, false, change, reason);
	}
	if (message->value == NULL || (result == EDW_SKIP && reason->code == NULL))
		result = decode_tombstone(d, message, change, reason);
	if (result == EDW_EVENT)
		order_by_offset(d, message, change);
	return result;
}

const EdwDecoderOps EdwDebeziumJsonOps = {
	.format = "debezium-json",
	.open = open_debezium,
	.decode = decode_json
};

const EdwDecoderOps EdwPlainJsonOps = {
	.format = "json",
	.open = open_plain,
	.decode = decode_json
};
