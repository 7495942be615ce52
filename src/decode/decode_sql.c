/*
 * decode_sql.c
 *		decode_message(): what would a stream make of this message?
 *
 * For people who look into a stream that does not do what they expect, and for the
 * tests. It opens a decoder for one message and shows the outcome; nothing is stored.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "decode/decoder.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "parser/parse_type.h"
#include "portability/instr_time.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(edw_stream_decode_message);
PG_FUNCTION_INFO_V1(edw_stream_decode_transaction_mark);
PG_FUNCTION_INFO_V1(edw_stream_decode_messages);
PG_FUNCTION_INFO_V1(edw_stream_decode_benchmark);

/* a source that has nothing but the headers of the message at hand */
typedef struct SqlSource
{
	EdwSource	base;
	int			nheaders;
	EdwHeader  *headers;
} SqlSource;

static int
sql_headers(const EdwMessage *message, EdwHeader *headers, int max)
{
	SqlSource  *source = message->native;

	memcpy(headers, source->headers, sizeof(EdwHeader) * Min(max, source->nheaders));
	return source->nheaders;
}

static const EdwSourceOps sql_source_ops = {.name = "sql", .headers = sql_headers};

static char *
value_text(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvBool:
			return pstrdup(value->val.boolean ? "true" : "false");
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out,
													   NumericGetDatum(value->val.numeric)));
		case jbvBinary:
			return JsonbToCString(NULL, value->val.binary.data, value->val.binary.len);
		default:
			return NULL;
	}
}

/* A member of an object as text, NULL when it is not there. */
static char *
member_text(JsonbContainer *object, const char *name)
{
	JsonbValue *value = getKeyJsonValueFromContainer(object, name, strlen(name), NULL);

	return value ? value_text(value) : NULL;
}

static void
check_object(Jsonb *jb, const char *what)
{
	if (!JB_ROOT_IS_OBJECT(jb))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be a JSON object", what)));
}

static void
parse_type(const char *text, Oid *type, int32 *typmod)
{
	parseTypeString(text, type, typmod, false);
	if (get_typtype(*type) == TYPTYPE_PSEUDO)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("type \"%s\" cannot be that of a column", text)));
}

/* One column: "type", or {"type": …, "key": …, "source_type": …, "name": …}. */
static void
read_column(EdwInputColumn *column, char **label, const JsonbValue *key,
			const JsonbValue *value)
{
	char	   *type = NULL;
	char	   *text;

	*label = pnstrdup(key->val.string.val, key->val.string.len);
	column->name = *label;
	if (value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data))
	{
		JsonbContainer *object = value->val.binary.data;

		type = member_text(object, "type");
		text = member_text(object, "key");
		column->is_key = text && strcmp(text, "true") == 0;
		text = member_text(object, "name");
		if (text)
			column->name = text;
		text = member_text(object, "source_type");
		if (text)
		{
			parse_type(text, &column->source_type, &column->source_typmod);
			column->source_declared = true;
		}
	}
	else if (value->type == jbvString)
		type = value_text(value);
	if (type == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"%s\" has no type", *label),
				 errhint("Give a type, or an object with type and, if wanted, key, source_type and name.")));
	parse_type(type, &column->type, &column->typmod);
	if (!column->source_declared)
	{
		column->source_type = column->type;
		column->source_typmod = column->typmod;
	}
}

static EdwInputDesc *
read_columns(Jsonb *columns, char ***labels)
{
	EdwInputDesc *desc = palloc0(sizeof(EdwInputDesc));
	JsonbIterator *it = JsonbIteratorInit(&columns->root);
	JsonbValue	key;
	JsonbValue	value;
	int			n = JB_ROOT_COUNT(columns);

	check_object(columns, "columns");
	desc->columns = palloc0(sizeof(EdwInputColumn) * Max(n, 1));
	*labels = palloc0(sizeof(char *) * Max(n, 1));
	(void) JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		(void) JsonbIteratorNext(&it, &value, true);
		read_column(&desc->columns[desc->ncolumns], &(*labels)[desc->ncolumns], &key, &value);
		desc->ncolumns++;
	}
	return desc;
}

/* Which of the choices does an option name? */
static int
choice(Jsonb *modes, const char *name, const char *const *choices, int n)
{
	char	   *text = modes ? member_text(&modes->root, name) : NULL;

	if (text == NULL)
		return 0;
	for (int i = 0; i < n; i++)
		if (strcmp(text, choices[i]) == 0)
			return i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for \"%s\": \"%s\"", name, text)));
}

static void
read_modes(Jsonb *modes, EdwDecoderConfig *config)
{
	static const char *const known[] = {
		"decimal.handling.mode", "time.precision.mode", "binary.handling.mode",
		"interval.handling.mode", "unavailable.value.placeholder", "sequence", "want_old_key"
	};
	static const char *const decimal[] = {"precise", "string", "double"};
	static const char *const time[] = {"adaptive", "adaptive_time_microseconds", "connect",
	"isostring", "microseconds", "nanoseconds"};
	static const char *const binary[] = {"bytes", "base64", "base64-url-safe", "hex"};
	static const char *const interval[] = {"numeric", "string"};
	char	   *text;

	if (modes != NULL)
	{
		JsonbIterator *it = JsonbIteratorInit(&modes->root);
		JsonbValue	v;

		check_object(modes, "modes");
		(void) JsonbIteratorNext(&it, &v, true);
		while (JsonbIteratorNext(&it, &v, true) == WJB_KEY)
		{
			char	   *name = pnstrdup(v.val.string.val, v.val.string.len);
			bool		found = false;

			for (int i = 0; i < (int) lengthof(known); i++)
				found |= strcmp(name, known[i]) == 0;
			if (!found)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("unknown mode \"%s\"", name)));
			(void) JsonbIteratorNext(&it, &v, true);
		}
	}
	config->modes.decimal = choice(modes, "decimal.handling.mode", decimal, lengthof(decimal));
	config->modes.time = choice(modes, "time.precision.mode", time, lengthof(time));
	config->modes.binary = choice(modes, "binary.handling.mode", binary, lengthof(binary));
	config->modes.interval = choice(modes, "interval.handling.mode", interval, lengthof(interval));
	if (modes == NULL)
		return;
	config->modes.unavailable = member_text(&modes->root, "unavailable.value.placeholder");
	config->sequence = member_text(&modes->root, "sequence");
	text = member_text(&modes->root, "want_old_key");
	config->desc->want_old_key = text && strcmp(text, "true") == 0;
}

/* Headers out of {"name": "value"}. */
static void
read_headers(Jsonb *headers, SqlSource *source)
{
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	value;

	source->base.ops = &sql_source_ops;
	if (headers == NULL)
		return;
	check_object(headers, "headers");
	source->headers = palloc0(sizeof(EdwHeader) * Max(JB_ROOT_COUNT(headers), 1));
	it = JsonbIteratorInit(&headers->root);
	(void) JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		EdwHeader  *header = &source->headers[source->nheaders++];
		char	   *text;

		(void) JsonbIteratorNext(&it, &value, true);
		header->name = pnstrdup(key.val.string.val, key.val.string.len);
		text = value_text(&value);
		header->value = text;
		header->value_len = text ? (int) strlen(text) : -1;
	}
}

/* The bytes of a text or bytea argument, in UTF-8 if it is text; NULL for null. */
static const char *
message_bytes(FunctionCallInfo fcinfo, int arg, int *len)
{
	struct varlena *value;
	char	   *bytes;

	*len = -1;
	if (PG_ARGISNULL(arg))
		return NULL;
	value = PG_GETARG_VARLENA_PP(arg);
	*len = (int) VARSIZE_ANY_EXHDR(value);
	if (get_fn_expr_argtype(fcinfo->flinfo, arg) == BYTEAOID)
		return VARDATA_ANY(value);
	bytes = pnstrdup(VARDATA_ANY(value), *len);
	bytes = pg_server_to_any(bytes, *len, PG_UTF8);
	*len = (int) strlen(bytes);
	return bytes;
}

/* Append "name": and a string. */
static void
add_text(StringInfo out, const char *name, const char *text)
{
	appendStringInfoString(out, out->data[out->len - 1] == '{' ? "" : ", ");
	escape_json(out, name);
	appendStringInfoString(out, ": ");
	if (text)
		escape_json(out, text);
	else
		appendStringInfoString(out, "null");
}

static void
add_raw(StringInfo out, const char *name, const char *text)
{
	appendStringInfoString(out, out->data[out->len - 1] == '{' ? "" : ", ");
	escape_json(out, name);
	appendStringInfo(out, ": %s", text);
}

static char *
datum_text(const EdwInputColumn *column, Datum value)
{
	Oid			output;
	bool		varlena;

	getTypeOutputInfo(column->type, &output, &varlena);
	return OidOutputFunctionCall(output, value);
}

static void
add_values(StringInfo out, const EdwInputDesc *desc, char **labels, const EdwChange *change)
{
	StringInfoData values;
	StringInfoData unavailable;
	StringInfoData old;

	initStringInfo(&values);
	initStringInfo(&unavailable);
	initStringInfo(&old);
	appendStringInfoChar(&values, '{');
	appendStringInfoChar(&old, '{');
	for (int i = 0; i < desc->ncolumns; i++)
	{
		if (change->presence[i] == EDW_PRESENT)
			add_text(&values, labels[i], change->nulls[i] ? NULL :
					 datum_text(&desc->columns[i], change->values[i]));
		else if (change->presence[i] == EDW_UNAVAILABLE)
		{
			appendStringInfoString(&unavailable, unavailable.len ? ", " : "");
			escape_json(&unavailable, labels[i]);
		}
		if (change->has_old && desc->columns[i].is_key)
			add_text(&old, labels[i], change->old_nulls[i] ? NULL :
					 datum_text(&desc->columns[i], change->old_values[i]));
	}
	appendStringInfoChar(&values, '}');
	appendStringInfoChar(&old, '}');
	add_raw(out, "values", values.data);
	if (unavailable.len > 0)
		add_raw(out, "unavailable", psprintf("[%s]", unavailable.data));
	if (change->has_old)
		add_raw(out, "old", old.data);
}

static void
add_position(StringInfo out, const EdwChange *change)
{
	uint8		stored[EDW_EPOCH_BYTES + EDW_POSITION_MAX] = {0};
	char		words[1024];
	char	   *epochless;

	if (change->position.len == 0)
		return;
	memcpy(stored + EDW_EPOCH_BYTES, change->position.bytes, change->position.len);
	EdwPositionDescribe(stored, EDW_EPOCH_BYTES + change->position.len, words, sizeof(words));
	/* the epoch is the pipeline's */
	epochless = strstr(words, ", ");
	add_text(out, "position", epochless ? epochless + 2 : words);
}

static void
add_change(StringInfo out, const EdwInputDesc *desc, char **labels, const EdwChange *change)
{
	static const char *const ops[] = {"create", "update", "read", "delete", "tombstone", "truncate"};
	static const char *const snapshots[] = {NULL, "snapshot", "incremental"};

	add_text(out, "op", ops[change->op]);
	add_values(out, desc, labels, change);
	add_position(out, change);
	if (snapshots[change->snapshot])
		add_text(out, "snapshot", snapshots[change->snapshot]);
	if (change->key_departs)
		add_raw(out, "key_departs", "true");
	if (change->key_arrives)
		add_raw(out, "key_arrives", "true");
	if (change->txid[0])
		add_text(out, "txid", change->txid);
	if (change->total_order >= 0)
		add_raw(out, "total_order", psprintf(INT64_FORMAT, change->total_order));
	if (change->source_ts_us)
		add_raw(out, "source_ts_us", psprintf(INT64_FORMAT, change->source_ts_us));
	if (change->event_ts_us)
		add_raw(out, "event_ts_us", psprintf(INT64_FORMAT, change->event_ts_us));
	if (change->identity)
		add_text(out, "identity", psprintf(UINT64_FORMAT, change->identity));
}

static void
add_reason(StringInfo out, const EdwReason *reason)
{
	add_text(out, "reason", reason->code);
	if (reason->sqlerrcode)
		add_text(out, "sqlstate", unpack_sql_state(reason->sqlerrcode));
	add_text(out, "message", reason->detail);
	if (reason->hint[0])
		add_text(out, "hint", reason->hint);
}

static void
add_unmapped(StringInfo out, const EdwDecoder *decoder)
{
	StringInfoData names;
	ListCell   *lc;

	if (decoder->unmapped == NIL)
		return;
	initStringInfo(&names);
	foreach(lc, decoder->unmapped)
	{
		appendStringInfoString(&names, names.len ? ", " : "[");
		escape_json(&names, lfirst(lc));
	}
	appendStringInfoChar(&names, ']');
	add_raw(out, "unmapped", names.data);
}

/* The ops of a format, or an ERROR that names the formats. */
static const EdwDecoderOps *
find_format(const char *format)
{
	const char *names[EDW_FORMATS_MAX];
	const EdwDecoderOps *ops = EdwFindDecoder(format, names);
	StringInfoData list;

	if (ops != NULL)
		return ops;
	initStringInfo(&list);
	for (int i = 0; names[i] != NULL; i++)
		appendStringInfo(&list, "%s%s", i ? ", " : "", names[i]);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown format \"%s\"", format),
			 errhint("Formats are %s.", list.data)));
}

/* Decode a message and append the outcome as a JSON object. */
static void
add_outcome(StringInfo out, EdwDecoder *decoder, SqlSource *source,
			const EdwMessage *message, EdwChange *change, const EdwInputDesc *desc,
			char **labels)
{
	static const char *const results[] = {"event", "skip", "bad", "misconfigured"};
	EdwReason	reason;
	EdwDecodeResult result = decoder->ops->decode(decoder, &source->base, message,
												  change, &reason);

	appendStringInfoChar(out, '{');
	add_text(out, "result", results[result]);
	if (result == EDW_EVENT)
		add_change(out, desc, labels, change);
	else
		add_reason(out, &reason);
	add_unmapped(out, decoder);
	appendStringInfoChar(out, '}');
}

/*
 * decode_message(format text, topic text, key, value, headers jsonb, columns jsonb,
 * modes jsonb): key and value are both text or both bytea. Not strict.
 */
Datum
edw_stream_decode_message(PG_FUNCTION_ARGS)
{
	const EdwDecoderOps *ops;
	EdwDecoderConfig config = {0};
	EdwMessage	message = {0};
	SqlSource	source = {0};
	EdwChange	change;
	char	  **labels;
	StringInfoData out;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(5))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("format, topic and columns must not be null")));
	ops = find_format(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	config.topic = text_to_cstring(PG_GETARG_TEXT_PP(1));
	config.desc = read_columns(PG_GETARG_JSONB_P(5), &labels);
	read_modes(PG_ARGISNULL(6) ? NULL : PG_GETARG_JSONB_P(6), &config);
	read_headers(PG_ARGISNULL(4) ? NULL : PG_GETARG_JSONB_P(4), &source);

	message.topic = config.topic;
	message.timestamp_ms = -1;
	message.key = message_bytes(fcinfo, 2, &message.key_len);
	message.value = message_bytes(fcinfo, 3, &message.value_len);
	message.native = &source;

	EdwChangeInit(&change, config.desc);
	initStringInfo(&out);
	add_outcome(&out, ops->open(&config), &source, &message, &change, config.desc, labels);
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data)));
}

/* An array of texts, NULL where one is null. */
static char **
text_array(ArrayType *array, int *n)
{
	Datum	   *elements;
	bool	   *nulls;
	char	  **texts;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, n);
	texts = palloc0(sizeof(char *) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
		if (!nulls[i])
			texts[i] = TextDatumGetCString(elements[i]);
	return texts;
}

/* The arguments of the two functions below: format, messages, columns. */
static EdwDecoder *
open_for_test(FunctionCallInfo fcinfo, int columns_arg, EdwDecoderConfig *config,
			  EdwChange *change, char ***labels)
{
	EdwDecoder *decoder;

	config->topic = "test";
	config->desc = read_columns(PG_GETARG_JSONB_P(columns_arg), labels);
	decoder = find_format(text_to_cstring(PG_GETARG_TEXT_PP(0)))->open(config);
	EdwChangeInit(change, config->desc);
	return decoder;
}

/*
 * decode_messages(format text, keys text[], values text[], columns jsonb): all by one
 * decoder, which learns from one for the next; an array of outcomes. For the tests;
 * declared nowhere.
 */
Datum
edw_stream_decode_messages(PG_FUNCTION_ARGS)
{
	EdwDecoderConfig config = {0};
	SqlSource	source = {.base.ops = &sql_source_ops};
	EdwChange	change;
	char	  **labels;
	EdwDecoder *decoder = open_for_test(fcinfo, 3, &config, &change, &labels);
	StringInfoData out;
	int			n;
	int			nkeys;
	char	  **keys = text_array(PG_GETARG_ARRAYTYPE_P(1), &nkeys);
	char	  **values = text_array(PG_GETARG_ARRAYTYPE_P(2), &n);

	initStringInfo(&out);
	for (int i = 0; i < Min(n, nkeys); i++)
	{
		EdwMessage	message = {.topic = "test", .timestamp_ms = -1, .native = &source};

		message.key = keys[i];
		message.key_len = keys[i] ? (int) strlen(keys[i]) : -1;
		message.value = values[i];
		message.value_len = values[i] ? (int) strlen(values[i]) : -1;
		appendStringInfoString(&out, i ? ", " : "[");
		add_outcome(&out, decoder, &source, &message, &change, config.desc, labels);
	}
	appendStringInfoString(&out, n > 0 ? "]" : "[]");
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data)));
}

/*
 * decode_benchmark(format text, n int, key text, value text, columns jsonb): decode the same
 * message n times; nanoseconds per message. For bench/ and whoever works on the
 * hot path; declared nowhere.
 */
Datum
edw_stream_decode_benchmark(PG_FUNCTION_ARGS)
{
	int			n = PG_GETARG_INT32(1);
	EdwDecoderConfig config = {0};
	SqlSource	source = {.base.ops = &sql_source_ops};
	EdwMessage	message = {.topic = "test", .timestamp_ms = -1, .native = &source};
	EdwChange	change;
	char	  **labels;
	EdwDecoder *decoder = open_for_test(fcinfo, 4, &config, &change, &labels);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "decode benchmark",
												  ALLOCSET_DEFAULT_SIZES);
	EdwReason	reason;
	instr_time	begin;
	instr_time	end;

	message.key = message_bytes(fcinfo, 2, &message.key_len);
	message.value = message_bytes(fcinfo, 3, &message.value_len);
	INSTR_TIME_SET_CURRENT(begin);
	for (int i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		EdwDecodeResult result = decoder->ops->decode(decoder, &source.base, &message,
													  &change, &reason);

		MemoryContextSwitchTo(old);
		if (result != EDW_EVENT)
			elog(ERROR, "message was not decoded: %s", reason.detail);
		if (i % 1000 == 999)
		{
			CHECK_FOR_INTERRUPTS();
			MemoryContextReset(context);
		}
	}
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, begin);
	PG_RETURN_FLOAT8(INSTR_TIME_GET_DOUBLE(end) * 1e9 / Max(n, 1));
}

/* decode_transaction_mark(value text) returns jsonb: for the tests. */
Datum
edw_stream_decode_transaction_mark(PG_FUNCTION_ARGS)
{
	EdwMessage	message = {.timestamp_ms = -1};
	EdwTransactionMark mark;
	EdwReason	reason;
	EdwDecodeResult result;
	StringInfoData out;
	StringInfoData collections;

	message.value = message_bytes(fcinfo, 0, &message.value_len);
	result = EdwDecodeTransactionMark(&message, &mark, &reason);
	initStringInfo(&out);
	initStringInfo(&collections);
	appendStringInfoChar(&out, '{');
	if (result != EDW_EVENT)
		add_reason(&out, &reason);
	else
	{
		add_text(&out, "mark", mark.is_end ? "END" : "BEGIN");
		add_text(&out, "txid", mark.txid);
		add_raw(&out, "event_count", psprintf(INT64_FORMAT, mark.event_count));
		appendStringInfoChar(&collections, '{');
		for (int i = 0; i < mark.ncollections; i++)
			add_raw(&collections, mark.collections[i].collection,
					psprintf(INT64_FORMAT, mark.collections[i].count));
		appendStringInfoChar(&collections, '}');
		add_raw(&out, "collections", collections.data);
	}
	appendStringInfoChar(&out, '}');
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data)));
}
