/*
 * fields.h
 *		Sets of names, with a guess which one comes next.
 *
 * The fields of a JSON object come in the same order in one message after another. So
 * every name remembers which one followed it last time; a lookup compares with
 * that one first, and asks the hash table only when the guess is wrong.
 *
 * A set lives in the memory context in which it was made, and remembers at most
 * EDW_FIELDS_MAX names: what a topic makes up beyond that is not learnt.
 */
#ifndef EDW_FIELDS_H
#define EDW_FIELDS_H

#include "decode/json.h"

#define EDW_FIELDS_MAX		4096
#define EDW_FIELD_BUCKETS	256

struct EdwFieldType;

typedef struct EdwField
{
	char	   *name;			/* as in JSON without escapes, UTF-8 */
	uint32		len;

	/* the name with its closing quote as two words, if it fits into them */
	uint64		words[2];
	uint64		masks[2];		/* both 0 if it does not */

	int			id;				/* the caller's; -1: nobody wants it */
	int			tag;			/* the caller's, too; 0: nothing special */
	const struct EdwFieldType *type;	/* from the message's schema, or NULL */
	struct EdwField *next;		/* what followed it last time */
	struct EdwField *chain;		/* in its bucket */
	struct EdwField *older;		/* the one added before it */
} EdwField;

typedef struct EdwFieldSet
{
	MemoryContext context;
	EdwField   *first;			/* what the last object began with */
	EdwField   *newest;
	int			count;
	EdwField   *buckets[EDW_FIELD_BUCKETS];
} EdwFieldSet;

extern EdwFieldSet *EdwFieldSetMake(void);

/* Add a name that is not in the set. NULL when the set is full. */
extern EdwField *EdwFieldAdd(EdwFieldSet *set, const char *name, int len, int id);

/* NULL when it is not in the set */
extern EdwField *EdwFieldFind(const EdwFieldSet *set, const char *name, int len);

/* The slow way of EdwFieldLookup. */
extern EdwField *EdwFieldLookupSlowly(EdwFieldSet *set, const EdwJson *json,
									  EdwJsonToken key, EdwField *previous);

/*
 * The field that a key names; previous is the one before it in this object, NULL at its
 * beginning. NULL when the name is not in the set.
 */
static inline EdwField *
EdwFieldLookup(EdwFieldSet *set, const EdwJson *json, EdwJsonToken key,
			   EdwField *previous)
{
	EdwField   *guess = previous ? previous->next : set->first;

	if (guess != NULL)
	{
		uint32		begin = json->starts[key] + 1;

		if (guess->masks[0] != 0)
		{
			uint64		words[2];

			/* may read into the padding, never beyond */
			memcpy(words, json->buf + begin, sizeof(words));
			if ((((words[0] ^ guess->words[0]) & guess->masks[0]) |
				 ((words[1] ^ guess->words[1]) & guess->masks[1])) == 0)
				return guess;
		}
		/* one byte for the closing quote */
		else if (begin + guess->len < json->length &&
				 json->buf[begin + guess->len] == '"' &&
				 memcmp(json->buf + begin, guess->name, guess->len) == 0)
			return guess;
	}
	return EdwFieldLookupSlowly(set, json, key, previous);
}

#endif							/* EDW_FIELDS_H */
