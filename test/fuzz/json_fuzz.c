/*
 * json_fuzz.c
 *		libFuzzer's entry into the JSON reader: any bytes, walked in every way that
 *		the decoders walk them.
 *
 * It asserts what the walk promises: strings end in a quote inside of the document,
 * slices nest, unescaped text is never longer than its source and is UTF-8 without NUL, and
 * a document split at any place into lead and text is the same document. Without
 * libFuzzer (-DEDW_FUZZ_MAIN) it reads the files given as arguments and mutates them.
 *
 * build and run: test/fuzz/run
 */
#include <stdio.h>
#include <stdlib.h>

#include "decode/json.h"

static void
check(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "json_fuzz: %s\n", what);
	abort();
}

/* strict UTF-8 without NUL: PostgreSQL's rule for text */
static bool
is_text(const unsigned char *p, size_t len)
{
	const unsigned char *end = p + len;

	while (p < end)
	{
		int			more = *p < 0x80 ? 0 : *p < 0xC2 ? -1 : *p < 0xE0 ? 1 : *p < 0xF0 ? 2 : *p < 0xF5 ? 3 : -1;

		if (*p == 0 || more < 0 || end - p <= more)
			return false;
		if ((*p == 0xE0 && p[1] < 0xA0) || (*p == 0xED && p[1] > 0x9F) ||
			(*p == 0xF0 && p[1] < 0x90) || (*p == 0xF4 && p[1] > 0x8F))
			return false;
		for (int i = 1; i <= more; i++)
			if ((p[i] & 0xC0) != 0x80)
				return false;
		p += more + 1;
	}
	return true;
}

static void
check_string(const EdwJson *json, EdwJsonToken token)
{
	const char *text;
	size_t		len = EdwJsonStringRaw(json, token, &text);
	size_t		out_len = 0;
	char	   *out;

	check(text >= json->buf + 1 && text + len < json->buf + json->length, "string outside of its document");
	check(text[len] == '"', "string without its closing quote");
	out = malloc(len ? len : 1);
	if (EdwJsonUnescape(text, len, out, &out_len) == EDW_JSON_OK)
	{
		check(out_len <= len, "unescaped text is longer than its source");
		check(is_text((unsigned char *) out, out_len), "unescaped text is no text");
	}
	free(out);
}

/* Walk a value as the decoders do, not by EdwJsonSkip; NO_TOKEN when it is broken. */
static EdwJsonToken
walk(const EdwJson *json, EdwJsonToken token, int depth)
{
	EdwJsonError error = EDW_JSON_OK;
	EdwJsonToken at;
	EdwJsonToken after = EDW_JSON_NO_TOKEN;
	bool		more;
	char		c = EdwJsonChar(json, token);

	if (depth > EDW_JSON_MAX_DEPTH)
		return EDW_JSON_NO_TOKEN;
	if (c == '"')
	{
		check_string(json, token);
		return token + 1;
	}
	if (c == '{')
	{
		for (more = EdwJsonObjectFirst(json, token, &at, &after, &error); more;
			 more = EdwJsonObjectNext(json, after, &at, &after, &error))
		{
			check_string(json, at);
			after = walk(json, at + 2, depth + 1);
			if (after == EDW_JSON_NO_TOKEN)
				return after;
		}
		return error == EDW_JSON_OK ? after : EDW_JSON_NO_TOKEN;
	}
	if (c == '[')
	{
		for (more = EdwJsonArrayFirst(json, token, &at, &after); more;
			 more = EdwJsonArrayNext(json, after, &at, &after, &error))
		{
			after = walk(json, at, depth + 1);
			if (after == EDW_JSON_NO_TOKEN)
				return after;
		}
		return error == EDW_JSON_OK ? after : EDW_JSON_NO_TOKEN;
	}
	(void) EdwJsonIsNull(json, token);
	after = EdwJsonSkip(json, token, &error);
	return error == EDW_JSON_OK ? after : EDW_JSON_NO_TOKEN;
}

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static EdwJson *json;
	static EdwJson *split;
	EdwJsonError error;
	EdwJsonToken end;
	size_t		at = size ? data[size / 2] % (size + 1) : 0;
	char	   *copy = malloc(size ? size : 1);

	if (json == NULL)
	{
		json = EdwJsonCreate();
		split = EdwJsonCreate();
	}
	/* a copy of exactly this size: reading past it would show */
	memcpy(copy, data, size);
	error = EdwJsonLoad(json, "", 0, copy, size);
	check(EdwJsonLoad(split, copy, at, copy + at, size - at) == error, "a split document is another one");
	free(copy);
	if (error != EDW_JSON_OK)
		return 0;

	check(split->ntokens == json->ntokens &&
		  memcmp(split->starts, json->starts, json->ntokens * sizeof(uint32_t)) == 0,
		  "a split document has other tokens");
	end = EdwJsonSkip(json, 0, &error);
	check((end == EDW_JSON_NO_TOKEN) == (error != EDW_JSON_OK), "a failure without an error");
	check(end == EDW_JSON_NO_TOKEN || end <= json->ntokens, "a value ends behind its document");
	check(walk(json, 0, 1) == end, "the two walks do not agree");
	return 0;
}

#ifdef EDW_FUZZ_MAIN
static uint64_t state = 0x9E3779B97F4A7C15;

static uint32_t
next_random(uint32_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t) (state >> 32) % below;
}

/* Damage a document in a few places. */
static size_t
mutate(uint8_t *data, size_t size)
{
	static const char interesting[] = "{}[]:,\"\\u0d8eE+-. \n\t\r/\0\177\200\303\355\360\377ntf0123456789";

	for (uint32_t n = 1 + next_random(4); n > 0 && size > 0; n--)
	{
		uint32_t	at = next_random((uint32_t) size);

		switch (next_random(5))
		{
			case 0:
				data[at] = (uint8_t) interesting[next_random(sizeof(interesting) - 1)];
				break;
			case 1:
				data[at] ^= (uint8_t) (1 << next_random(8));
				break;
			case 2:
				size = at;
				break;
			case 3:
				memmove(data + at, data + at + 1, size - at - 1);
				size--;
				break;
			default:
				{
					uint32_t	len = 1 + next_random((uint32_t) (size - at < 64 ? size - at : 64));
					uint32_t	from = next_random((uint32_t) (size - len + 1));

					memmove(data + at, data + from, len);
				}
		}
	}
	return size;
}

int
main(int argc, char **argv)
{
	long		rounds = argc > 1 ? atol(argv[1]) : 1000;

	for (int f = 2; f < argc; f++)
	{
		static uint8_t original[1 << 20];
		static uint8_t data[1 << 20];
		FILE	   *file = fopen(argv[f], "rb");
		size_t		size = file ? fread(original, 1, sizeof(original), file) : 0;

		if (file)
			fclose(file);
		LLVMFuzzerTestOneInput(original, size);
		for (long i = 0; i < rounds; i++)
		{
			memcpy(data, original, size);
			LLVMFuzzerTestOneInput(data, mutate(data, size));
		}
	}
	printf("%ld mutations of %d documents\n", rounds, argc - 2);
	return 0;
}
#endif
