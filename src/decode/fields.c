/*
 * fields.c
 *		Sets of names: see fields.h.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "decode/fields.h"

EdwFieldSet *
EdwFieldSetMake(void)
{
	EdwFieldSet *set = palloc0(sizeof(EdwFieldSet));

	set->context = CurrentMemoryContext;
	return set;
}

static uint32
bucket_of(const char *name, int len)
{
	return hash_bytes((const unsigned char *) name, len) % EDW_FIELD_BUCKETS;
}

EdwField *
EdwFieldFind(const EdwFieldSet *set, const char *name, int len)
{
	for (EdwField *field = set->buckets[bucket_of(name, len)]; field; field = field->chain)
		if (field->len == (uint32) len && memcmp(field->name, name, len) == 0)
			return field;
	return NULL;
}

EdwField *
EdwFieldAdd(EdwFieldSet *set, const char *name, int len, int id)
{
	uint32		bucket = bucket_of(name, len);
	EdwField   *field;

	if (set->count >= EDW_FIELDS_MAX)
		return NULL;
	field = MemoryContextAllocZero(set->context, sizeof(EdwField));
	field->name = MemoryContextAlloc(set->context, len + 1);
	memcpy(field->name, name, len);
	field->name[len] = '\0';
	field->len = (uint32) len;
	if (len < (int) sizeof(field->words))
	{
		char	   *words = (char *) field->words;

		memcpy(words, name, len);
		words[len] = '"';
		memset(field->masks, 0xFF, len + 1);
	}
	field->id = id;
	field->chain = set->buckets[bucket];
	set->buckets[bucket] = field;
	field->older = set->newest;
	set->newest = field;
	set->count++;
	return field;
}

EdwField *
EdwFieldLookupSlowly(EdwFieldSet *set, const EdwJson *json, EdwJsonToken key,
					 EdwField *previous)
{
	const char *text;
	size_t		len = EdwJsonStringRaw(json, key, &text);
	EdwField   *field;

	if (len > PG_INT16_MAX)
		return NULL;
	if (memchr(text, '\\', len) != NULL)
	{
		char	   *name = palloc(len + 1);
		size_t		name_len;

		if (EdwJsonUnescape(text, len, name, &name_len) != EDW_JSON_OK)
			name_len = 0;		/* a name that none of ours is */
		field = EdwFieldFind(set, name, (int) name_len);
		pfree(name);
		/* its raw form has another length: a guess would never be right */
		return field;
	}
	field = EdwFieldFind(set, text, (int) len);
	if (field != NULL)
	{
		if (previous)
			previous->next = field;
		else
			set->first = field;
	}
	return field;
}
