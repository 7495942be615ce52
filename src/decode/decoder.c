/*
 * decoder.c
 *		The list of formats, changes, and the marks of Debezium's transaction topic.
 */
#include "postgres.h"

#include "decode/row.h"
#include "utils/memutils.h"

static const EdwDecoderOps *const formats[] = {&EdwDebeziumJsonOps, &EdwPlainJsonOps};

const EdwDecoderOps *
EdwFindDecoder(const char *format, const char **names)
{
	StaticAssertStmt(lengthof(formats) < EDW_FORMATS_MAX, "names has room");
	if (names != NULL)
	{
		for (int i = 0; i < (int) lengthof(formats); i++)
			names[i] = formats[i]->format;
		names[lengthof(formats)] = NULL;
	}
	for (int i = 0; i < (int) lengthof(formats); i++)
		if (strcmp(format, formats[i]->format) == 0)
			return formats[i];
	return NULL;
}

void
EdwChangeInit(EdwChange *change, const EdwInputDesc *desc)
{
	int			n = Max(desc->ncolumns, 1);

	memset(change, 0, sizeof(EdwChange));
	change->values = palloc0(sizeof(Datum) * n);
	change->nulls = palloc0(sizeof(bool) * n);
	change->presence = palloc0(sizeof(uint8) * n);
	change->old_values = palloc0(sizeof(Datum) * n);
	change->old_nulls = palloc0(sizeof(bool) * n);
	change->total_order = -1;
}

/* the fields of a mark, and of one of its collections */
typedef enum MarkField
{
	MARK_STATUS,
	MARK_ID,
	MARK_EVENT_COUNT,
	MARK_DATA_COLLECTIONS,
	MARK_DATA_COLLECTION,
	MARK_FIELDS
} MarkField;

static const char *const mark_names[MARK_FIELDS] = {
	"status", "id", "event_count", "data_collections", "data_collection"
};

/* what reading marks needs; made once in a process */
typedef struct MarkReader
{
	EdwJson    *json;
	EdwSchemaCache *schemas;
	EdwFieldSet *fields;
} MarkReader;

static MarkReader *
mark_reader(void)
{
	static MarkReader reader;

	if (reader.fields == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
		EdwFieldSet *fields = EdwFieldSetMake();

		if (reader.json == NULL)
			reader.json = EdwJsonCreate();
		if (reader.json == NULL)
			ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
		for (int i = 0; i < MARK_FIELDS; i++)
			EdwFieldAdd(fields, mark_names[i], (int) strlen(mark_names[i]), i);
		reader.schemas = EdwSchemaCacheMake();
		reader.fields = fields;
		MemoryContextSwitchTo(old);
	}
	return &reader;
}

/* Where the fields of the object at token are; returns the token after it. */
static EdwJsonToken
find_fields(MarkReader *r, EdwJsonToken token, EdwJsonToken *found, EdwJsonError *error)
{
	EdwJsonToken key;
	EdwJsonToken after = EDW_JSON_NO_TOKEN;
	EdwField   *previous = NULL;
	bool		more;

	memset(found, 0xFF, sizeof(EdwJsonToken) * MARK_FIELDS);
	if (EdwJsonChar(r->json, token) != '{')
	{
		*error = EDW_JSON_BAD_SYNTAX;
		return EDW_JSON_NO_TOKEN;
	}
	for (more = EdwJsonObjectFirst(r->json, token, &key, &after, error); more;
		 more = EdwJsonObjectNext(r->json, after, &key, &after, error))
	{
		EdwField   *field = EdwFieldLookup(r->fields, r->json, key, previous);

		if (field != NULL)
		{
			previous = field;
			found[field->id] = key + 2;
		}
		after = EdwJsonSkip(r->json, key + 2, error);
		if (after == EDW_JSON_NO_TOKEN)
			break;
	}
	return *error == EDW_JSON_OK ? after : EDW_JSON_NO_TOKEN;
}

/* The data_collections of an END. */
static EdwJsonError
read_collections(MarkReader *r, EdwJsonToken token, EdwTransactionMark *mark)
{
	EdwJsonToken at;
	EdwJsonToken after;
	EdwJsonError error = EDW_JSON_OK;
	int			room = 0;
	bool		more;

	for (more = EdwJsonArrayFirst(r->json, token, &at, &after); more;
		 more = EdwJsonArrayNext(r->json, after, &at, &after, &error))
	{
		EdwJsonToken found[MARK_FIELDS];
		const char *name;
		int			len;

		after = find_fields(r, at, found, &error);
		if (after == EDW_JSON_NO_TOKEN)
			break;
		if (mark->ncollections == room)
		{
			Size		size;

			room = room == 0 ? 8 : room * 2;
			size = sizeof(mark->collections[0]) * room;
			mark->collections = mark->collections ? repalloc(mark->collections, size) : palloc(size);
		}
		len = EdwTokenText(r->json, found[MARK_DATA_COLLECTION], &name);
		mark->collections[mark->ncollections].collection = pnstrdup(name, len);
		mark->collections[mark->ncollections].count = EdwTokenInt(r->json, found[MARK_EVENT_COUNT], 0);
		mark->ncollections++;
	}
	return error;
}

EdwDecodeResult
EdwDecodeTransactionMark(const EdwMessage *message, EdwTransactionMark *mark,
						 EdwReason *reason)
{
	MarkReader *r = mark_reader();
	EdwJsonToken root;
	EdwJsonToken end;
	EdwJsonToken found[MARK_FIELDS];
	EdwSchema  *schema;
	EdwJsonError error;
	const char *text;
	int			len;

	memset(mark, 0, sizeof(EdwTransactionMark));
	memset(reason, 0, sizeof(EdwReason));
	if (message->value == NULL)
		return EdwSkipMessage(reason, "tombstone_without_key", "a null value");
	error = EdwSchemaLoad(r->schemas, r->json, message->value, message->value_len,
						  true, &root, &end, &schema);
	if (error == EDW_JSON_OK && find_fields(r, root, found, &error) != end &&
		error == EDW_JSON_OK)
		error = EDW_JSON_BAD_SYNTAX;
	if (error != EDW_JSON_OK)
		return EdwBadJson(reason, error, "the message");

	len = EdwTokenText(r->json, found[MARK_STATUS], &text);
	mark->is_end = len == 3 && memcmp(text, "END", 3) == 0;
	if (!mark->is_end && !(len == 5 && memcmp(text, "BEGIN", 5) == 0))
		return EdwBadMessage(reason, "bad_transaction_mark", ERRCODE_DATA_EXCEPTION,
							 "the message is neither BEGIN nor END of a transaction");
	len = EdwTokenText(r->json, found[MARK_ID], &text);
	if (len == 0)
		return EdwBadMessage(reason, "bad_transaction_mark", ERRCODE_DATA_EXCEPTION,
							 "the transaction has no id");
	EdwSetTransactionId(mark->txid, text, len);
	mark->event_count = EdwTokenInt(r->json, found[MARK_EVENT_COUNT], 0);
	if (found[MARK_DATA_COLLECTIONS] != EDW_JSON_NO_TOKEN &&
		EdwJsonChar(r->json, found[MARK_DATA_COLLECTIONS]) == '[')
		error = read_collections(r, found[MARK_DATA_COLLECTIONS], mark);
	return error == EDW_JSON_OK ? EDW_EVENT : EdwBadJson(reason, error, "the message");
}
