/*
 * decode_sql.c
 *		decode_message(): what would a stream make of this message?
 *
 * For people who look into a stream that does not do what they expect, and for the
 * tests. It opens a decoder for one message and shows the outcome; nothing is stored.
 * Owns the arguments of such functions: columns, modes, headers, bytes.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "decode/decode_sql.h"
#include "mb/pg_wchar.h"
#include "parser/parse_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(edw_stream_decode_message);

static int
sql_headers(const EdwMessage *message, EdwHeader *headers, int max)
{
	EdwSqlSource *source = message->native;

	memcpy(headers, source->headers, sizeof(EdwHeader) * Min(max, source->nheaders));
	return source->nheaders;
}

const EdwSourceOps EdwSqlSourceOps = {.name = "sql", .headers = sql_headers};

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

EdwInputDesc *
EdwReadColumnsArg(Jsonb *columns, char ***labels)
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
read_headers(Jsonb *headers, EdwSqlSource *source)
{
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	value;

	source->base.ops = &EdwSqlSourceOps;
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
const char *
EdwMessageBytesArg(FunctionCallInfo fcinfo, int arg, int *len)
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

/* The ops of a format, or an ERROR that names the formats. */
const EdwDecoderOps *
EdwFindFormatArg(const char *format)
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
	EdwSqlSource source = {0};
	EdwChange	change;
	char	  **labels;
	StringInfoData out;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(5))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("format, topic and columns must not be null")));
	ops = EdwFindFormatArg(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	config.topic = text_to_cstring(PG_GETARG_TEXT_PP(1));
	config.desc = EdwReadColumnsArg(PG_GETARG_JSONB_P(5), &labels);
	read_modes(PG_ARGISNULL(6) ? NULL : PG_GETARG_JSONB_P(6), &config);
	read_headers(PG_ARGISNULL(4) ? NULL : PG_GETARG_JSONB_P(4), &source);

	message.topic = config.topic;
	message.timestamp_ms = -1;
	message.key = EdwMessageBytesArg(fcinfo, 2, &message.key_len);
	message.value = EdwMessageBytesArg(fcinfo, 3, &message.value_len);
	message.native = &source;

	EdwChangeInit(&change, config.desc);
	initStringInfo(&out);
	EdwOutcomeAppend(&out, ops->open(&config), &source, &message, &change, config.desc, labels);
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data)));
}

