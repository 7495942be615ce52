/*
 * row.c
 *		Row images and Kafka keys: see row.h.
 */
#include "postgres.h"

#include "decode/row.h"
#include "mb/pg_wchar.h"
#include "utils/lsyscache.h"

/* the most names of unwanted fields that are kept */
#define UNMAPPED_MAX	1600

/* The fields that mean something in a flattened record: __op, __source_lsn … */
static void
add_metadata_fields(EdwFieldSet *fields)
{
	static const struct
	{
		const char *name;
		int			tag;
	}			own[] = {
		{"__deleted", EDW_TAG_DELETED},
		{"__op", EDW_TAG_OP},
		{"__ts_ms", EDW_TAG_EVENT_TIME}
	};
	static const char *const prefixes[] = {"__source_", "__"};

	for (int i = 0; i < (int) lengthof(own); i++)
	{
		EdwField   *field = EdwFieldAdd(fields, own[i].name, (int) strlen(own[i].name), -1);

		field->tag = own[i].tag;
	}
	for (int p = 0; p < (int) lengthof(prefixes); p++)
		for (int code = 0; code < EDW_SRC_FIELDS; code++)
		{
			char		name[64];
			EdwField   *field;

			snprintf(name, sizeof(name), "%s%s", prefixes[p], EdwSourceFieldName(code));
			if (EdwFieldFind(fields, name, (int) strlen(name)) != NULL)
				continue;
			field = EdwFieldAdd(fields, name, (int) strlen(name), -1);
			field->tag = EDW_TAG_SOURCE + code;
		}
}

/* Find a name's field, or add it. */
static EdwField *
want_field(EdwFieldSet *fields, const char *name)
{
	char	   *utf8 = pg_server_to_any(name, (int) strlen(name), PG_UTF8);
	EdwField   *field = EdwFieldFind(fields, utf8, (int) strlen(utf8));

	return field ? field : EdwFieldAdd(fields, utf8, (int) strlen(utf8), -1);
}

EdwRowReader *
EdwRowReaderMake(EdwDecoder *decoder, const EdwDecoderConfig *config,
				 const EdwConnectorModes *modes, bool plain, EdwSourceBlock *source)
{
	EdwRowReader *row = palloc0(sizeof(EdwRowReader));
	const EdwInputDesc *desc = config->desc;

	row->decoder = decoder;
	row->desc = desc;
	row->context = CurrentMemoryContext;
	row->reader = EdwReaderMake(modes);
	row->source = source;
	row->columns = palloc0(sizeof(EdwRowColumn) * Max(desc->ncolumns, 1));
	row->keys = palloc0(sizeof(int) * Max(desc->ncolumns, 1));
	row->claimed = palloc0(Max(desc->ncolumns, 1));
	row->fields = EdwFieldSetMake();
	row->key_fields = EdwFieldSetMake();
	row->schemas = EdwSchemaCacheMake();
	row->key_schemas = EdwSchemaCacheMake();
	if (!plain)
		add_metadata_fields(row->fields);

	/* from the last to the first, so that a name's columns are chained in order */
	for (int i = desc->ncolumns - 1; i >= 0; i--)
	{
		const EdwInputColumn *column = &desc->columns[i];
		EdwField   *field;

		row->columns[i].next = -1;
		if (column->metadata != 0)
			continue;
		field = want_field(row->fields, column->name);
		row->columns[i].codec = EdwCodecMake(column->type, column->typmod);
		row->columns[i].natural = EdwFieldTypeOfSource(column->source_type, column->source_typmod,
													   column->source_declared, modes, plain);
		row->columns[i].next = field->id;
		field->id = i;
		if (column->is_key)
		{
			field = want_field(row->key_fields, column->name);
			field->id = i;
		}
	}
	for (int i = 0; i < desc->ncolumns; i++)
		if (desc->columns[i].is_key)
			row->keys[row->nkeys++] = i;
	if (config->sequence != NULL && strncmp(config->sequence, "header:", 7) != 0)
		want_field(row->fields, config->sequence)->tag = EDW_TAG_SEQUENCE;
	return row;
}

void
EdwRowStart(EdwRowReader *row, EdwChange *change)
{
	int			n = row->desc->ncolumns;

	if (row->any_claimed)
		memset(row->claimed, 0, n);
	row->any_claimed = false;
	EdwReaderStart(row->reader);
	memset(change->presence, EDW_ABSENT, n);
	memset(change->nulls, true, n);
	row->sequence = row->deleted = row->op = row->event_time = EDW_JSON_NO_TOKEN;
}

void
EdwRowForget(EdwRowReader *row, EdwChange *change)
{
	for (int i = 0; i < row->desc->ncolumns; i++)
		if (!row->claimed[i])
		{
			change->presence[i] = EDW_ABSENT;
			change->nulls[i] = true;
		}
	row->sequence = row->deleted = row->op = row->event_time = EDW_JSON_NO_TOKEN;
}

/* Remember a name that no column wants. NULL when there are too many of them. */
static EdwField *
learn_field(EdwRowReader *row, const EdwJson *json, EdwJsonToken key)
{
	const char *text;
	size_t		len = EdwJsonStringRaw(json, key, &text);
	char	   *name;
	size_t		name_len;
	EdwField   *field = NULL;
	MemoryContext old;

	if (len > PG_INT16_MAX || list_length(row->decoder->unmapped) >= UNMAPPED_MAX)
		return NULL;
	old = MemoryContextSwitchTo(row->context);
	name = palloc(len + 1);
	if (EdwJsonUnescape(text, len, name, &name_len) == EDW_JSON_OK)
		field = EdwFieldAdd(row->fields, name, (int) name_len, -1);
	if (field != NULL)
	{
		char	   *server = pg_any_to_server(field->name, (int) name_len, PG_UTF8);

		row->decoder->unmapped = lappend(row->decoder->unmapped, server);
	}
	pfree(name);
	MemoryContextSwitchTo(old);
	return field;
}

static void
note_tagged(EdwRowReader *row, int tag, EdwJsonToken value)
{
	switch (tag)
	{
		case EDW_TAG_SEQUENCE:
			row->sequence = value;
			break;
		case EDW_TAG_DELETED:
			row->deleted = value;
			break;
		case EDW_TAG_OP:
			row->op = value;
			break;
		case EDW_TAG_EVENT_TIME:
			row->event_time = value;
			break;
		default:
			if (row->source && !row->in_envelope)
				row->source->tokens[tag - EDW_TAG_SOURCE] = value;
			break;
	}
}

/* The columns of one field. */
static EdwDecodeResult
read_columns(EdwRowReader *row, const EdwField *field, EdwJsonToken value,
			 EdwRowMode mode, EdwChange *change)
{
	for (int i = field->id; i >= 0; i = row->columns[i].next)
	{
		EdwRowColumn *column = &row->columns[i];
		const EdwFieldType *type = field->type ? field->type : column->natural;
		EdwDecodeResult result;
		uint8		presence;

		if (mode != EDW_ROW_ALL && !row->desc->columns[i].is_key)
			continue;
		row->reader->column = row->desc->columns[i].name;
		if (mode == EDW_ROW_OLD_KEYS)
		{
			result = EdwReadValue(row->reader, type, column->codec, value,
								  &change->old_values[i], &change->old_nulls[i], &presence);
			if (presence != EDW_PRESENT)
				change->old_nulls[i] = true;
		}
		else if (row->claimed[i])
			continue;
		else
			result = EdwReadValue(row->reader, type, column->codec, value,
								  &change->values[i], &change->nulls[i],
								  &change->presence[i]);
		if (result != EDW_EVENT)
			return result;
	}
	return EDW_EVENT;
}

EdwDecodeResult
EdwRowRead(EdwRowReader *row, const EdwJson *json, EdwJsonToken token, EdwRowMode mode,
		   EdwChange *change, EdwJsonToken *after, EdwReason *reason)
{
	EdwJsonToken key;
	EdwJsonError error = EDW_JSON_OK;
	EdwField   *previous = NULL;
	bool		more;

	row->reader->json = json;
	row->reader->reason = reason;
	for (more = EdwJsonObjectFirst(json, token, &key, after, &error); more;
		 more = EdwJsonObjectNext(json, *after, &key, after, &error))
	{
		EdwField   *field = EdwFieldLookup(row->fields, json, key, previous);

		*after = EdwJsonSkip(json, key + 2, &error);
		if (*after == EDW_JSON_NO_TOKEN)
			break;
		if (unlikely(field == NULL))
			field = learn_field(row, json, key);
		if (field == NULL)
			continue;
		previous = field;
		if (unlikely(field->tag != 0))
			note_tagged(row, field->tag, key + 2);
		if (field->id >= 0)
		{
			EdwDecodeResult result = read_columns(row, field, key + 2, mode, change);

			if (result != EDW_EVENT)
				return result;
		}
	}
	if (error != EDW_JSON_OK)
		return EdwBadJson(reason, error, "the message");
	return EDW_EVENT;
}

/* Mark a key column as given by the Kafka key. */
static void
claim(EdwRowReader *row, EdwChange *change, int column)
{
	if (change->presence[column] != EDW_PRESENT || change->nulls[column])
	{
		change->presence[column] = EDW_ABSENT;
		return;
	}
	row->claimed[column] = true;
	row->any_claimed = true;
}

/* Key columns out of an object. The same field may be wanted in several types. */
static EdwDecodeResult
read_key_object(EdwRowReader *row, const EdwJson *json, EdwJsonToken token,
				EdwChange *change, EdwJsonToken *after, EdwReason *reason)
{
	EdwJsonToken key;
	EdwJsonError error = EDW_JSON_OK;
	EdwField   *previous = NULL;
	bool		more;

	for (more = EdwJsonObjectFirst(json, token, &key, after, &error); more;
		 more = EdwJsonObjectNext(json, *after, &key, after, &error))
	{
		EdwField   *field = EdwFieldLookup(row->key_fields, json, key, previous);

		*after = EdwJsonSkip(json, key + 2, &error);
		if (*after == EDW_JSON_NO_TOKEN)
			break;
		if (field == NULL)
			continue;
		previous = field;
		for (int i = field->id; i >= 0; i = row->columns[i].next)
		{
			EdwDecodeResult result;

			row->reader->column = row->desc->columns[i].name;
			result = EdwReadValue(row->reader, field->type ? field->type : row->columns[i].natural,
								  row->columns[i].codec, key + 2, &change->values[i],
								  &change->nulls[i], &change->presence[i]);
			if (result != EDW_EVENT)
				return result;
			claim(row, change, i);
		}
	}
	if (error != EDW_JSON_OK)
	{
		EdwBadJson(reason, error, "the Kafka key");
		reason->code = "bad_key";
		return EDW_BAD;
	}
	return EDW_EVENT;
}

/* A key that is a value: for the only key column there is. */
static EdwDecodeResult
read_key_scalar(EdwRowReader *row, const EdwJson *json, EdwJsonToken token,
				const EdwFieldType *type, EdwChange *change, EdwReason *reason)
{
	int			column = row->keys[0];
	EdwDecodeResult result;

	if (EdwJsonIsNull(json, token))
		return EDW_EVENT;
	if (row->nkeys > 1)
		return EdwBadMessage(reason, "bad_key", ERRCODE_DATA_EXCEPTION,
							 "the Kafka key is a single value, but the mapping has %d key columns",
							 row->nkeys);
	row->reader->column = row->desc->columns[column].name;
	result = EdwReadValue(row->reader, type ? type : row->columns[column].natural,
						  row->columns[column].codec, token, &change->values[column],
						  &change->nulls[column], &change->presence[column]);
	if (result == EDW_EVENT)
		claim(row, change, column);
	return result;
}

/* A key that is no JSON: text as it is, from a StringConverter. */
static EdwDecodeResult
read_key_text(EdwRowReader *row, const EdwMessage *message, EdwChange *change)
{
	EdwScalar	s = {.kind = EDW_SCALAR_TEXT};
	int			column = row->keys[0];
	char	   *copy = pnstrdup(message->key, message->key_len);
	EdwDecodeResult result;

	s.text = pg_any_to_server(copy, message->key_len, PG_UTF8);
	s.len = (int) strlen(s.text);
	row->reader->column = row->desc->columns[column].name;
	result = EdwScalarToDatum(row->reader, row->columns[column].codec, &s,
							  &change->values[column]);
	if (result != EDW_EVENT)
		return result;
	change->nulls[column] = false;
	change->presence[column] = EDW_PRESENT;
	claim(row, change, column);
	return EDW_EVENT;
}

/* Could these bytes be meant as text rather than as broken JSON? */
static bool
key_may_be_text(const EdwMessage *message)
{
	return message->key_len > 0 && message->key[0] != '{' && message->key[0] != '[' &&
		message->key[0] != '"' &&
		pg_encoding_verifymbstr(PG_UTF8, message->key, message->key_len) == message->key_len &&
		memchr(message->key, '\0', message->key_len) == NULL;
}

static EdwDecodeResult
read_key(EdwRowReader *row, EdwJson *json, const EdwMessage *message, bool trust_prefix,
		 EdwChange *change, EdwReason *reason)
{
	EdwJsonToken root;
	EdwJsonToken end;
	EdwJsonToken after;
	EdwSchema  *schema;
	EdwJsonError error;
	EdwDecodeResult result;

	error = EdwSchemaLoad(row->key_schemas, json, message->key, message->key_len,
						  trust_prefix, &root, &end, &schema);
	if (error == EDW_JSON_OK && EdwJsonChar(json, root) == '{')
	{
		EdwSchemaApply(row->key_schemas, schema, row->key_fields);
		result = read_key_object(row, json, root, change, &after, reason);
		if (result != EDW_EVENT)
			return result;
		if (after != end)
			error = EDW_JSON_BAD_SYNTAX;
	}
	else if (error == EDW_JSON_OK && EdwJsonSkip(json, root, &error) == end)
		return read_key_scalar(row, json, root, schema ? schema->scalar : NULL, change, reason);
	else if (row->nkeys == 1 && key_may_be_text(message))
		return read_key_text(row, message, change);
	else if (error == EDW_JSON_OK)
		error = EDW_JSON_BAD_SYNTAX;
	if (error == EDW_JSON_OK)
		return EDW_EVENT;
	EdwBadJson(reason, error, "the Kafka key");
	reason->code = "bad_key";
	return EDW_BAD;
}

EdwDecodeResult
EdwRowReadKey(EdwRowReader *row, EdwJson *json, const EdwMessage *message,
			  EdwChange *change, EdwReason *reason)
{
	EdwDecodeResult result;

	if (row->nkeys == 0 || message->key == NULL)
		return EDW_EVENT;
	row->reader->json = json;
	row->reader->reason = reason;
	result = read_key(row, json, message, true, change, reason);
	if (result == EDW_BAD && row->key_schemas->knew_prefix)
	{
		EdwRowStart(row, change);
		result = read_key(row, json, message, false, change, reason);
	}
	return result;
}

EdwDecodeResult
EdwRowCheckKey(EdwRowReader *row, const EdwMessage *message, EdwChange *change,
			   EdwReason *reason)
{
	bool		is_delete = change->op == EDW_OP_DELETE || change->op == EDW_OP_TOMBSTONE;

	for (int k = 0; k < row->nkeys; k++)
	{
		int			i = row->keys[k];
		bool		present = change->presence[i] == EDW_PRESENT;

		if (present && !change->nulls[i])
			continue;
		/* a null in the before of a delete says nothing: only the key is trusted (P2) */
		if (message->key == NULL && (is_delete || !present))
			return EdwBadMessage(reason, "no_key", ERRCODE_NOT_NULL_VIOLATION,
								 "the event has no Kafka key and no value for key column \"%.80s\"",
								 row->desc->columns[i].name);
		if (is_delete || !present)
			return EdwBadMessage(reason, "key_column_missing", ERRCODE_NOT_NULL_VIOLATION,
								 "key column \"%.80s\" is neither in the Kafka key nor in the row",
								 row->desc->columns[i].name);
		return EdwBadMessage(reason, "key_column_null", ERRCODE_NOT_NULL_VIOLATION,
							 "key column \"%.80s\" is null", row->desc->columns[i].name);
	}
	return EDW_EVENT;
}

void
EdwRowKeepKeys(EdwRowReader *row, EdwChange *change)
{
	for (int i = 0; i < row->desc->ncolumns; i++)
		if (!row->desc->columns[i].is_key)
		{
			change->presence[i] = EDW_ABSENT;
			change->nulls[i] = true;
		}
}

/* Text that is a number compares as one; the rest as text. */
EdwDecodeResult
EdwSequencePosition(const char *text, int len, int64 kafka_offset, EdwChange *change,
					EdwReason *reason)
{
	bool		streamed = change->snapshot == EDW_NOT_SNAPSHOT;
	bool		is_delete = change->op == EDW_OP_DELETE;

	if (len > 0 &&
		(EdwPositionNumber(&change->position, streamed, is_delete, text, len, kafka_offset) ||
		 EdwPositionText(&change->position, streamed, is_delete, text, len, kafka_offset)))
		return EDW_EVENT;
	return EdwBadMessage(reason, len == 0 ? "sequence_missing" : "bad_position",
						 ERRCODE_DATA_EXCEPTION,
						 len == 0 ? "the event has no value for the mapping's sequence" :
						 "the value of the mapping's sequence is too long");
}
