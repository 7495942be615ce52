/*
 * json.h
 *		JSON messages as a row of tokens, read in place.
 *
 * EdwJsonLoad copies a message into a padded buffer and lets simdjson's first
 * stage find, in one pass with SIMD instructions, where every token begins; the
 * same pass checks that the whole message is UTF-8 and that strings end and
 * hold no control characters. What follows is a walk over those positions, which
 * touches a byte again only where a value is wanted. On-Demand, simdjson's own
 * way to walk, is not used: it does not look at the grammar of what is skipped,
 * and compiles its kernel for the oldest machine instead of choosing one at run
 * time.
 *
 * A token is a number from 0 to ntokens - 1. One past the last token there is a
 * sentinel that reads as a NUL character, so that every check for an expected
 * character fails there by itself and the walk never leaves the array.
 *
 * Nothing here includes a PostgreSQL header, allocates with palloc, raises or
 * longjmps. Nothing longjmps through it either: it calls nothing of ours.
 *
 * Rules: a document is one value and nothing after it; nesting is limited to
 * EDW_JSON_MAX_DEPTH; of duplicate keys the last one counts, as in jsonb (the walk
 * reports them all, in order); \u0000 and unpaired surrogates are errors where
 * the string is read.
 */
#ifndef EDW_JSON_H
#define EDW_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "decode/digits.h"

#ifdef __cplusplus
extern "C"
{
#endif

#define EDW_JSON_MAX_DEPTH	512

/* a document over this size does not keep its memory: see EdwJsonLoad */
#define EDW_JSON_KEEP_BYTES	(256 * 1024)

typedef enum EdwJsonError
{
	EDW_JSON_OK = 0,
	EDW_JSON_EMPTY,				/* no value at all */
	EDW_JSON_BAD_UTF8,
	EDW_JSON_BAD_SYNTAX,
	EDW_JSON_TOO_DEEP,
	EDW_JSON_TOO_LARGE,			/* 4 GB */
	EDW_JSON_BAD_ESCAPE,		/* in a string: also an unpaired surrogate */
	EDW_JSON_NUL,				/* \u0000, which no text type can hold */
	EDW_JSON_NO_MEMORY
} EdwJsonError;

/*
 * A loaded document. Read only, but for json_simdjson.cpp.
 */
typedef struct EdwJson
{
	const char *buf;
	const uint32_t *starts;		/* of each token; [ntokens] = length */
	uint32_t	ntokens;
	uint32_t	length;
	size_t		capacity;		/* bytes that fit without reallocation */
	void	   *impl;
} EdwJson;

typedef uint32_t EdwJsonToken;

/* what a walk returns in place of a token when it fails; the reason is in *error */
#define EDW_JSON_NO_TOKEN	UINT32_MAX

/* NULL when out of memory. No memory is taken for documents yet. */
extern EdwJson *EdwJsonCreate(void);
extern void EdwJsonDestroy(EdwJson *json);

/*
 * Load lead and then text as one document; tokens of the document loaded before
 * are gone. lead is for a caller that knows a message's beginning already and
 * puts something shorter in its place; it may be empty. A document
 * larger than EDW_JSON_KEEP_BYTES grows the buffer, and the next small one shrinks
 * it again.
 */
extern EdwJsonError EdwJsonLoad(EdwJson *json, const char *lead, size_t lead_len,
								const char *text, size_t text_len);

/*
 * The token after the value that begins at token, after checking that the value
 * is well-formed throughout (but for escapes inside of its strings).
 * EDW_JSON_NO_TOKEN and *error if it is not.
 */
extern EdwJsonToken EdwJsonSkipNested(const EdwJson *json, EdwJsonToken token,
									  EdwJsonError *error);

/* Is this text true, false, null or a number by JSON's grammar? */
extern bool EdwJsonIsLiteral(const char *text, size_t len);
extern bool EdwJsonIsNumber(const char *text, size_t len);

/*
 * Resolve the escapes of a string's inside. dst needs len bytes; the result is
 * never longer than the source. dst may not overlap text.
 */
extern EdwJsonError EdwJsonUnescape(const char *text, size_t len, char *dst,
									size_t *dst_len);

/* The first character of a token: one of {}[],:" or a scalar's first; 0 at the end. */
static inline char
EdwJsonChar(const EdwJson *json, EdwJsonToken token)
{
	return json->buf[json->starts[token]];
}

/* A scalar's raw text: up to the next token, less white space. Not for strings. */
static inline size_t
EdwJsonScalar(const EdwJson *json, EdwJsonToken token, const char **text)
{
	const char *begin = json->buf + json->starts[token];
	const char *end = json->buf + json->starts[token + 1];

	while (end > begin && (end[-1] == ' ' || end[-1] == '\n' ||
						   end[-1] == '\r' || end[-1] == '\t'))
		end--;
	*text = begin;
	return (size_t) (end - begin);
}

/*
 * The inside of a string token, escapes and all. Between its closing quote and the
 * next token there is only white space: the first stage makes anything else a
 * token.
 */
static inline size_t
EdwJsonStringRaw(const EdwJson *json, EdwJsonToken token, const char **text)
{
	size_t		len = EdwJsonScalar(json, token, text);

	*text += 1;
	return len - 2;
}

/* Is a scalar one of the common ones: a positive integer, null, true or false? */
static inline bool
EdwJsonIsPlainScalar(const EdwJson *json, EdwJsonToken token)
{
	const char *p = json->buf + json->starts[token];
	const char *end = json->buf + json->starts[token + 1];

	if (*p >= '1' && *p <= '9')
	{
		uint64_t	value = 0;

		return EdwReadDigits(p, end, &value) == end;
	}
	/* the buffer is padded, so that four bytes are always there */
	return (end - p == 4 && (memcmp(p, "null", 4) == 0 || memcmp(p, "true", 4) == 0)) ||
		(end - p == 5 && memcmp(p, "false", 5) == 0);
}

/* The token after the value at token: see EdwJsonSkipNested. */
static inline EdwJsonToken
EdwJsonSkip(const EdwJson *json, EdwJsonToken token, EdwJsonError *error)
{
	char		c = EdwJsonChar(json, token);

	if (c == '"' || (c != '\0' && EdwJsonIsPlainScalar(json, token)))
		return token + 1;
	return EdwJsonSkipNested(json, token, error);
}

static inline bool
EdwJsonIsNull(const EdwJson *json, EdwJsonToken token)
{
	const char *text;

	return EdwJsonChar(json, token) == 'n' &&
		EdwJsonScalar(json, token, &text) == 4 && memcmp(text, "null", 4) == 0;
}

/*
 * Walk over an object. Begin with EdwJsonObjectFirst on the token of its {;
 * a result of false is its end or, with *error set, a failure. After true, key is the
 * string token of a member's name and value = key + 2 its value; go on with
 * EdwJsonObjectNext, giving it the token after that value. Once the walk ended
 * well, *after is the token after the object.
 */
static inline bool
EdwJsonObjectKey(const EdwJson *json, EdwJsonToken key, EdwJsonError *error)
{
	if (EdwJsonChar(json, key) == '"' && EdwJsonChar(json, key + 1) == ':')
		return true;
	*error = EDW_JSON_BAD_SYNTAX;
	return false;
}

static inline bool
EdwJsonObjectFirst(const EdwJson *json, EdwJsonToken object, EdwJsonToken *key,
				   EdwJsonToken *after, EdwJsonError *error)
{
	*key = object + 1;
	if (EdwJsonChar(json, *key) == '}')
	{
		*after = *key + 1;
		return false;
	}
	return EdwJsonObjectKey(json, *key, error);
}

static inline bool
EdwJsonObjectNext(const EdwJson *json, EdwJsonToken after_value, EdwJsonToken *key,
				  EdwJsonToken *after, EdwJsonError *error)
{
	switch (EdwJsonChar(json, after_value))
	{
		case ',':
			*key = after_value + 1;
			return EdwJsonObjectKey(json, *key, error);
		case '}':
			*after = after_value + 1;
			return false;
		default:
			*error = EDW_JSON_BAD_SYNTAX;
			return false;
	}
}

/* The same for an array: *element is the token of an element. */
static inline bool
EdwJsonArrayFirst(const EdwJson *json, EdwJsonToken array, EdwJsonToken *element,
				  EdwJsonToken *after)
{
	*element = array + 1;
	if (EdwJsonChar(json, *element) == ']')
	{
		*after = *element + 1;
		return false;
	}
	return true;
}

static inline bool
EdwJsonArrayNext(const EdwJson *json, EdwJsonToken after_value, EdwJsonToken *element,
				 EdwJsonToken *after, EdwJsonError *error)
{
	switch (EdwJsonChar(json, after_value))
	{
		case ',':
			*element = after_value + 1;
			return true;
		case ']':
			*after = after_value + 1;
			return false;
		default:
			*error = EDW_JSON_BAD_SYNTAX;
			return false;
	}
}

#ifdef __cplusplus
}
#endif

#endif							/* EDW_JSON_H */
