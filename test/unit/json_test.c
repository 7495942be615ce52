/*
 * json_test.c
 *		The JSON walk over recorded, cut and damaged messages: it never reads outside
 *		of a document and never takes a damaged one for whole.
 *
 * Run under AddressSanitizer this is where a read past the end would show.
 *
 * build: src/decode/json.c src/decode/json_simdjson.cpp -lsimdjson
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decode/json.h"

#define DAMAGES	20000

static int	failures;

static void
expect(bool condition, const char *what, const char *text)
{
	if (condition)
		return;
	failures++;
	printf("FAILED: %s: %.200s\n", what, text);
}

/* load exactly these bytes, at the end of an allocation, and walk over them */
static EdwJsonError
walk(EdwJson *json, const char *text, size_t len)
{
	EdwJsonError error = EDW_JSON_OK;
	EdwJsonToken end;
	char	   *copy = malloc(len ? len : 1);

	memcpy(copy, text, len);
	error = EdwJsonLoad(json, "", 0, copy, len);
	free(copy);
	if (error != EDW_JSON_OK)
		return error;
	end = EdwJsonSkip(json, 0, &error);
	if (end == EDW_JSON_NO_TOKEN)
		return error == EDW_JSON_OK ? EDW_JSON_BAD_SYNTAX : error;
	return end == json->ntokens ? EDW_JSON_OK : EDW_JSON_BAD_SYNTAX;
}

static void
expect_error(EdwJson *json, const char *text, EdwJsonError wanted)
{
	EdwJsonError got = walk(json, text, strlen(text));

	if (got != wanted)
		printf("wanted error %d, got %d\n", wanted, got);
	expect(got == wanted, "error code", text);
}

/* every beginning of a document that is shorter than it is broken */
static void
cut(EdwJson *json, const char *text, size_t len)
{
	size_t		step = len > 2000 ? len / 500 : 1;

	for (size_t n = 0; n < len; n += step)
		if (walk(json, text, n) == EDW_JSON_OK)
			expect(false, "a cut message counts as whole", text);
}

/* any byte may be wrong: the walk ends, with whatever result */
static void
damage(EdwJson *json, const char *text, size_t len, unsigned *random)
{
	char	   *copy = malloc(len);

	memcpy(copy, text, len);
	for (int i = 0; i < 3; i++)
	{
		*random = *random * 1103515245 + 12345;
		copy[(*random >> 8) % len] = (char) (*random >> 4);
	}
	(void) walk(json, copy, len);
	free(copy);
}

static void
unescape(const char *inside, EdwJsonError wanted, const char *result)
{
	char		out[64];
	size_t		len = 0;
	EdwJsonError got = EdwJsonUnescape(inside, strlen(inside), out, &len);

	expect(got == wanted, "unescape's result", inside);
	if (got == EDW_JSON_OK && result)
		expect(len == strlen(result) && memcmp(out, result, len) == 0, "unescaped text", inside);
}

static void
check_samples(EdwJson *json, const char *path)
{
	FILE	   *file = fopen(path, "r");
	char	   *line = NULL;
	size_t		size = 0;
	ssize_t		len;
	unsigned	random = 1;
	int			lines = 0;

	if (file == NULL)
	{
		expect(false, "cannot open", path);
		return;
	}
	while ((len = getline(&line, &size, file)) > 0)
	{
		if (line[len - 1] == '\n')
			len--;
		expect(walk(json, line, len) == EDW_JSON_OK, "a recorded message is whole", line);
		if (lines++ < 5)
			cut(json, line, len);
		for (int i = 0; len < 5000 && i < DAMAGES / 50; i++)
			damage(json, line, len, &random);
	}
	expect(lines > 0, "no messages", path);
	free(line);
	fclose(file);
}

int
main(void)
{
	EdwJson    *json = EdwJsonCreate();
	char		deep[EDW_JSON_MAX_DEPTH * 2 + 10];

	expect_error(json, "", EDW_JSON_EMPTY);
	expect_error(json, "   ", EDW_JSON_EMPTY);
	expect_error(json, "{\"a\":1}", EDW_JSON_OK);
	expect_error(json, "{\"a\":1} {}", EDW_JSON_BAD_SYNTAX);
	expect_error(json, "{\"a\" 1}", EDW_JSON_BAD_SYNTAX);
	expect_error(json, "{\"a\":01}", EDW_JSON_BAD_SYNTAX);
	expect_error(json, "{\"a\":1,}", EDW_JSON_BAD_SYNTAX);
	expect_error(json, "[1,]", EDW_JSON_BAD_SYNTAX);
	expect_error(json, "[tru]", EDW_JSON_BAD_SYNTAX);
	expect_error(json, "{\"a\":\"\xff\"}", EDW_JSON_BAD_UTF8);

	memset(deep, '[', EDW_JSON_MAX_DEPTH + 1);
	memset(deep + EDW_JSON_MAX_DEPTH + 1, ']', EDW_JSON_MAX_DEPTH + 1);
	deep[2 * EDW_JSON_MAX_DEPTH + 2] = '\0';
	expect_error(json, deep, EDW_JSON_TOO_DEEP);

	unescape("a\\n\\u00e9\\ud83d\\ude00", EDW_JSON_OK, "a\n\xc3\xa9\xf0\x9f\x98\x80");
	unescape("\\u0000", EDW_JSON_NUL, NULL);
	unescape("\\ud83d", EDW_JSON_BAD_ESCAPE, NULL);
	unescape("\\", EDW_JSON_BAD_ESCAPE, NULL);

	check_samples(json, "test/samples/dbzn.public.orders.jsonl");
	check_samples(json, "test/samples/dbzs.public.types.jsonl");
	check_samples(json, "test/samples/dbzn.public.full_ident.jsonl");
	EdwJsonDestroy(json);
	if (failures)
		printf("%d failures\n", failures);
	return failures != 0;
}
