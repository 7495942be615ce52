/*
 * inbox_headers.c
 *		Headers of a pushed message: from jsonb to what a source hands out.
 *
 * Pure: allocates in the current context, reads no table. A value that is no string is
 * given as its JSON text, a JSON null is a null header.
 */
#include "postgres.h"

#include "source/inbox_headers.h"

static char *
jsonb_string(const JsonbValue *v, int *len)
{
	if (v->type == jbvString)
	{
		*len = v->val.string.len;
		return pnstrdup(v->val.string.val, v->val.string.len);
	}
	if (v->type == jbvNull)
	{
		*len = -1;
		return NULL;
	}
	else
	{
		/* numbers, booleans and the like: as JSON */
		Jsonb	   *json = JsonbValueToJsonb(unconstify(JsonbValue *, v));
		char	   *text = JsonbToCString(NULL, &json->root, VARSIZE(json));

		*len = strlen(text);
		return text;
	}
}

static void
add_header(EdwInboxHeaderList *list, int max, const JsonbValue *name, const JsonbValue *value)
{
	int			len;
	EdwHeader  *header;

	if (list->n >= max || name->type != jbvString)
		return;
	header = &list->headers[list->n++];
	header->name = jsonb_string(name, &len);
	header->value = jsonb_string(value, &len);
	header->value_len = len;
}

/* One ["name", "value"] of the list form. */
static void
add_header_pair(EdwInboxHeaderList *list, int max, JsonbContainer *pair)
{
	JsonbValue *name = getIthJsonbValueFromContainer(pair, 0);
	JsonbValue *value = getIthJsonbValueFromContainer(pair, 1);

	if (name && value)
		add_header(list, max, name, value);
}

/* {"name": "value", …} or [["name", "value"], …], into the current context */
EdwInboxHeaderList *
EdwInboxParseHeaders(Jsonb *jsonb)
{
	EdwInboxHeaderList *list = palloc0(sizeof(EdwInboxHeaderList));
	int			max = JB_ROOT_COUNT(jsonb);
	JsonbIterator *it = JsonbIteratorInit(&jsonb->root);
	JsonbValue	v;
	JsonbIteratorToken token;
	JsonbValue	name;

	list->headers = palloc(sizeof(EdwHeader) * Max(max, 1));
	token = JsonbIteratorNext(&it, &v, true);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = v;
		else if (token == WJB_VALUE)
			add_header(list, max, &name, &v);
		else if (token == WJB_ELEM && v.type == jbvBinary &&
				 JsonContainerIsArray(v.val.binary.data))
			add_header_pair(list, max, v.val.binary.data);
	}
	return list;
}

/* EdwSourceOps.headers of the inbox */
int
EdwInboxHeaders(const EdwMessage *message, EdwHeader *headers, int max)
{
	const EdwInboxHeaderList *list = message->native;

	if (list == NULL)
		return 0;
	for (int i = 0; i < list->n && i < max; i++)
		headers[i] = list->headers[i];
	return list->n;
}
