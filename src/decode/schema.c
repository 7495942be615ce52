/*
 * schema.c
 *		Connect schemas in JSON: see schema.h.
 *
 * The schema's own JSON is walked recursively, as deep as Connect types nest; the depth was
 * limited when the walk's grammar check passed over it.
 */
#include "postgres.h"

#include "decode/schema.h"
#include "utils/memutils.h"

#define LEAD	"{\"payload\":"
#define LEAD_LEN	((int) sizeof(LEAD) - 1)

/* what a semantic type's name makes of a field */
typedef struct Semantic
{
	const char *name;
	EdwEncoding encoding;
	int64		per_second;
} Semantic;

static const Semantic semantics[] = {
	{"org.apache.kafka.connect.data.Decimal", EDW_ENC_DECIMAL, 0},
	{"org.apache.kafka.connect.data.Date", EDW_ENC_DATE, 1},
	{"org.apache.kafka.connect.data.Time", EDW_ENC_TIME, 1000},
	{"org.apache.kafka.connect.data.Timestamp", EDW_ENC_TIMESTAMP, 1000},
	{"io.debezium.data.VariableScaleDecimal", EDW_ENC_DECIMAL_ANY, 0},
	{"io.debezium.time.Date", EDW_ENC_DATE, 1},
	{"io.debezium.time.IsoDate", EDW_ENC_DATE, 0},
	{"io.debezium.time.Time", EDW_ENC_TIME, 1000},
	{"io.debezium.time.MicroTime", EDW_ENC_TIME, 1000000},
	{"io.debezium.time.NanoTime", EDW_ENC_TIME, INT64CONST(1000000000)},
	{"io.debezium.time.IsoTime", EDW_ENC_TIME, 0},
	{"io.debezium.time.Timestamp", EDW_ENC_TIMESTAMP, 1000},
	{"io.debezium.time.MicroTimestamp", EDW_ENC_TIMESTAMP, 1000000},
	{"io.debezium.time.NanoTimestamp", EDW_ENC_TIMESTAMP, INT64CONST(1000000000)},
	{"io.debezium.time.IsoTimestamp", EDW_ENC_TIMESTAMP, 0},
	{"io.debezium.time.ZonedTimestamp", EDW_ENC_TIMESTAMPTZ, 0},
	{"io.debezium.time.ZonedTime", EDW_ENC_TIMETZ, 0},
	{"io.debezium.time.MicroDuration", EDW_ENC_INTERVAL, 1000000},
	{"io.debezium.time.NanoDuration", EDW_ENC_INTERVAL, INT64CONST(1000000000)},
	{"io.debezium.time.Interval", EDW_ENC_INTERVAL, 0},
	{"io.debezium.data.Bits", EDW_ENC_BITS, 0},
	{"io.debezium.data.Json", EDW_ENC_JSON, 0},
	{"io.debezium.data.Uuid", EDW_ENC_UUID, 0},
	{"io.debezium.data.geometry.Point", EDW_ENC_GEOMETRY, 0},
	{"io.debezium.data.geometry.Geometry", EDW_ENC_GEOMETRY, 0},
	{"io.debezium.data.geometry.Geography", EDW_ENC_GEOMETRY, 0}
};

/* a schema's node, while it is read */
typedef struct SchemaNode
{
	EdwFieldType *type;
	char	   *name;			/* semantic name, "" without */
	char	   *field;			/* its name as a field of a struct */
	bool		is_struct;
	EdwJsonToken fields;		/* of a struct; NO_TOKEN without */
} SchemaNode;

EdwSchemaCache *
EdwSchemaCacheMake(void)
{
	EdwSchemaCache *cache = palloc0(sizeof(EdwSchemaCache));

	cache->context = CurrentMemoryContext;
	return cache;
}

static bool
key_is(const EdwJson *json, EdwJsonToken key, const char *name)
{
	const char *text;
	size_t		len = EdwJsonStringRaw(json, key, &text);

	return len == strlen(name) && memcmp(text, name, len) == 0;
}

/* A string's text in the current context; "" if it is none. */
static char *
copy_string(const EdwJson *json, EdwJsonToken token)
{
	const char *text;
	size_t		len;
	char	   *copy;
	size_t		copy_len = 0;

	if (EdwJsonChar(json, token) != '"')
		return pstrdup("");
	len = EdwJsonStringRaw(json, token, &text);
	copy = palloc(len + 1);
	if (EdwJsonUnescape(text, len, copy, &copy_len) != EDW_JSON_OK)
		copy_len = 0;
	copy[copy_len] = '\0';
	return copy;
}

/* parameters: {"scale": "2", "length": "8", …} */
static void
read_parameters(const EdwJson *json, EdwJsonToken token, EdwFieldType *type)
{
	EdwJsonToken key;
	EdwJsonToken after;
	EdwJsonError error = EDW_JSON_OK;
	bool		more;

	for (more = EdwJsonObjectFirst(json, token, &key, &after, &error); more;
		 more = EdwJsonObjectNext(json, after, &key, &after, &error))
	{
		char	   *value = copy_string(json, key + 2);
		int64		number;

		if (EdwParseInt64(value, (int) strlen(value), &number) &&
			number >= PG_INT32_MIN && number <= PG_INT32_MAX)
		{
			if (key_is(json, key, "scale"))
				type->scale = (int) number;
			else if (key_is(json, key, "length"))
				type->length = (int) number;
		}
		after = EdwJsonSkip(json, key + 2, &error);
		if (after == EDW_JSON_NO_TOKEN)
			break;
	}
}

static void
apply_base_type(EdwFieldType *type, const char *base)
{
	if (strcmp(base, "float") == 0)
		type->encoding = EDW_ENC_FLOAT4;
	else if (strcmp(base, "double") == 0)
		type->encoding = EDW_ENC_FLOAT8;
	else if (strcmp(base, "bytes") == 0)
		type->encoding = EDW_ENC_BYTES;
	else if (strcmp(base, "array") == 0)
		type->encoding = EDW_ENC_ARRAY;
	else if (strcmp(base, "map") == 0)
		type->encoding = EDW_ENC_MAP;
	else
		type->encoding = EDW_ENC_NATURAL;
}

static void
apply_semantic(EdwFieldType *type, const char *name)
{
	for (int i = 0; i < (int) lengthof(semantics); i++)
		if (strcmp(name, semantics[i].name) == 0)
		{
			type->encoding = semantics[i].encoding;
			type->per_second = semantics[i].per_second;
			return;
		}
}

/* Read the node at token; false if it is none. */
static bool
read_node(const EdwJson *json, EdwJsonToken token, SchemaNode *node)
{
	EdwJsonToken key;
	EdwJsonToken after;
	EdwJsonError error = EDW_JSON_OK;
	bool		more;
	char	   *base = "";

	memset(node, 0, sizeof(SchemaNode));
	node->type = palloc0(sizeof(EdwFieldType));
	node->type->binary = EDW_BINARY_BASE64;
	node->name = "";
	node->field = "";
	node->fields = EDW_JSON_NO_TOKEN;
	if (EdwJsonChar(json, token) != '{')
		return false;

	for (more = EdwJsonObjectFirst(json, token, &key, &after, &error); more;
		 more = EdwJsonObjectNext(json, after, &key, &after, &error))
	{
		if (key_is(json, key, "type"))
			base = copy_string(json, key + 2);
		else if (key_is(json, key, "name"))
			node->name = copy_string(json, key + 2);
		else if (key_is(json, key, "field"))
			node->field = copy_string(json, key + 2);
		else if (key_is(json, key, "fields") && EdwJsonChar(json, key + 2) == '[')
			node->fields = key + 2;
		else if (key_is(json, key, "parameters") && EdwJsonChar(json, key + 2) == '{')
			read_parameters(json, key + 2, node->type);
		else if (key_is(json, key, "items"))
		{
			SchemaNode		item;

			if (!read_node(json, key + 2, &item))
				return false;
			node->type->element = item.type;
		}
		after = EdwJsonSkip(json, key + 2, &error);
		if (after == EDW_JSON_NO_TOKEN)
			break;
	}
	node->is_struct = strcmp(base, "struct") == 0;
	apply_base_type(node->type, base);
	apply_semantic(node->type, node->name);
	return error == EDW_JSON_OK;
}

/* The fields of a struct; with only, that field's node alone goes to *found. */
static List *
read_fields(const EdwJson *json, EdwJsonToken array, const char *only, SchemaNode *found)
{
	EdwJsonToken at;
	EdwJsonToken after;
	EdwJsonError error = EDW_JSON_OK;
	List	   *result = NIL;
	bool		more;

	for (more = EdwJsonArrayFirst(json, array, &at, &after); more;
		 more = EdwJsonArrayNext(json, after, &at, &after, &error))
	{
		SchemaNode		node;

		if (read_node(json, at, &node))
		{
			if (only == NULL)
			{
				EdwSchemaField *field = palloc(sizeof(EdwSchemaField));

				field->name = node.field;
				field->len = (int) strlen(node.field);
				field->type = node.type;
				result = lappend(result, field);
			}
			else if (strcmp(node.field, only) == 0)
				*found = node;
		}
		after = EdwJsonSkip(json, at, &error);
		if (after == EDW_JSON_NO_TOKEN)
			break;
	}
	return result;
}

/* Fill in a schema from its JSON. */
static bool
parse_schema(const EdwJson *json, EdwJsonToken token, EdwSchema *schema)
{
	SchemaNode		root;
	SchemaNode		row = {.fields = EDW_JSON_NO_TOKEN};

	if (!read_node(json, token, &root))
		return false;
	schema->name = root.name;
	if (!root.is_struct || root.fields == EDW_JSON_NO_TOKEN)
	{
		schema->scalar = root.type;
		return true;
	}
	/* an envelope's row is in after; anything else is the row itself */
	read_fields(json, root.fields, "after", &row);
	if (row.is_struct && row.fields != EDW_JSON_NO_TOKEN)
	{
		SchemaNode		op = {0};

		read_fields(json, root.fields, "op", &op);
		if (op.type != NULL)
		{
			schema->fields = read_fields(json, row.fields, NULL, NULL);
			return true;
		}
	}
	schema->fields = read_fields(json, root.fields, NULL, NULL);
	return true;
}

/* Put a schema in front of the cache, in place of what stood at slot. */
static void
move_to_front(EdwSchemaCache *cache, EdwSchema *schema, int slot)
{
	for (; slot > 0; slot--)
		cache->schemas[slot] = cache->schemas[slot - 1];
	cache->schemas[0] = schema;
}

static EdwSchema *
remember(EdwSchemaCache *cache, EdwSchema *schema)
{
	EdwSchema  *last = cache->schemas[EDW_SCHEMAS_KEPT - 1];

	if (last != NULL)
	{
		if (cache->applied == last)
			cache->applied = NULL;
		MemoryContextDelete(last->context);
	}
	move_to_front(cache, schema, EDW_SCHEMAS_KEPT - 1);
	return schema;
}

/*
 * Make the schema at token of a message. The prefix is usable if the payload comes
 * right after the schema, which comes first.
 */
static EdwSchema *
make_schema(EdwSchemaCache *cache, const EdwJson *json, const char *text,
			EdwJsonToken token, EdwJsonToken payload)
{
	MemoryContext context = AllocSetContextCreate(cache->context, "edw_stream schema",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	EdwSchema  *schema = palloc0(sizeof(EdwSchema));
	EdwJsonError error = EDW_JSON_OK;

	schema->context = context;
	if (!parse_schema(json, token, schema))
	{
		MemoryContextSwitchTo(old);
		MemoryContextDelete(context);
		return NULL;
	}
	if (token == 3 && payload == EdwJsonSkip(json, token, &error) + 3)
	{
		schema->prefix_len = (int) json->starts[payload];
		schema->prefix = palloc(schema->prefix_len);
		memcpy(schema->prefix, text, schema->prefix_len);
	}
	MemoryContextSwitchTo(old);
	return remember(cache, schema);
}

/* Find schema and payload among the members of the root; anything else: not an envelope. */
static bool
find_envelope(const EdwJson *json, EdwJsonToken *schema, EdwJsonToken *payload)
{
	EdwJsonToken key;
	EdwJsonToken after;
	EdwJsonError error = EDW_JSON_OK;
	bool		more;

	*schema = *payload = EDW_JSON_NO_TOKEN;
	for (more = EdwJsonObjectFirst(json, 0, &key, &after, &error); more;
		 more = EdwJsonObjectNext(json, after, &key, &after, &error))
	{
		if (key_is(json, key, "schema"))
			*schema = key + 2;
		else if (key_is(json, key, "payload"))
			*payload = key + 2;
		else
			return false;
		after = EdwJsonSkip(json, key + 2, &error);
		if (after == EDW_JSON_NO_TOKEN)
			return false;
	}
	return error == EDW_JSON_OK && after == json->ntokens &&
		*schema != EDW_JSON_NO_TOKEN &&
		*payload != EDW_JSON_NO_TOKEN &&
		(EdwJsonChar(json, *schema) == '{' || EdwJsonIsNull(json, *schema));
}

/* The message after a known prefix: {"payload":…}, and nothing else in it. */
static EdwJsonError
load_payload(EdwJson *json, const char *text, int len, EdwJsonToken *root,
			 EdwJsonToken *end)
{
	EdwJsonError error = EdwJsonLoad(json, LEAD, LEAD_LEN, text, len);

	*root = 3;
	*end = json->ntokens - 1;
	if (error == EDW_JSON_OK && (json->ntokens < 5 || EdwJsonChar(json, *end) != '}'))
		error = EDW_JSON_BAD_SYNTAX;
	return error;
}

EdwJsonError
EdwSchemaLoad(EdwSchemaCache *cache, EdwJson *json, const char *text, int len,
			  bool trust_prefix,
			  EdwJsonToken *root, EdwJsonToken *end, EdwSchema **schema)
{
	EdwJsonToken schema_token;
	EdwJsonToken payload;
	EdwJsonError error;

	cache->knew_prefix = false;
	for (int i = 0; trust_prefix && i < EDW_SCHEMAS_KEPT && cache->schemas[i] != NULL; i++)
	{
		EdwSchema  *known = cache->schemas[i];

		if (known->prefix != NULL && len > known->prefix_len &&
			memcmp(text, known->prefix, known->prefix_len) == 0)
		{
			if (i > 0)
				move_to_front(cache, known, i);
			*schema = known;
			cache->knew_prefix = true;
			return load_payload(json, text + known->prefix_len, len - known->prefix_len,
								root, end);
		}
	}

	*schema = NULL;
	*root = 0;
	error = EdwJsonLoad(json, "", 0, text, len);
	if (error != EDW_JSON_OK)
		return error;
	*end = json->ntokens;
	if (EdwJsonChar(json, 0) != '{' ||
		!(key_is(json, 1, "schema") || key_is(json, 1, "payload")) ||
		!find_envelope(json, &schema_token, &payload))
		return EDW_JSON_OK;
	*root = payload;
	*end = EdwJsonSkip(json, payload, &error);
	if (EdwJsonChar(json, schema_token) == '{')
		*schema = make_schema(cache, json, text, schema_token, payload);
	return EDW_JSON_OK;
}

void
EdwSchemaApply(EdwSchemaCache *cache, EdwSchema *schema, EdwFieldSet *set)
{
	ListCell   *lc;

	if (likely(cache->applied == schema))
		return;
	for (EdwField *field = set->newest; field; field = field->older)
		field->type = NULL;
	if (schema != NULL)
		foreach(lc, schema->fields)
		{
			EdwSchemaField *from = lfirst(lc);
			EdwField   *field = EdwFieldFind(set, from->name, from->len);

			if (field != NULL)
				field->type = from->type;
		}
	cache->applied = schema;
}
