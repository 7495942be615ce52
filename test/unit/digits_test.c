/*
 * digits_test.c
 *		Digits that are read eight at a time mean what they mean one by one, and end where they end: at
 *		every length, with every byte behind or in between, never reading past the end.
 *
 * build:
 */
#include <stdio.h>
#include <stdlib.h>

#include "decode/digits.h"

static int	failures;

/* as EdwReadDigits, one by one */
static size_t
slowly(const char *text, size_t len, uint64_t *value)
{
	size_t		i;

	for (i = 0; i < len && text[i] >= '0' && text[i] <= '9'; i++)
		*value = *value * 10 + (uint64_t) (text[i] - '0');
	return i;
}

/* the text at the end of an allocation, so that a sanitizer sees a read behind it */
static void
check(const char *text, size_t len)
{
	char	   *copy = malloc(len ? len : 1);
	uint64_t	wanted = 7;
	uint64_t	got = 7;
	size_t		end = slowly(text, len, &wanted);
	const char *found;

	memcpy(copy, text, len);
	found = EdwReadDigits(copy, copy + len, &got);
	if (found != copy + end || got != wanted)
	{
		failures++;
		printf("FAILED: \"%.*s\": %llu up to %d, wanted %llu up to %d\n", (int) len, text,
			   (unsigned long long) got, (int) (found - copy), (unsigned long long) wanted, (int) end);
	}
	free(copy);
}

int
main(void)
{
	char		text[40];

	srand(1);
	for (size_t len = 0; len <= sizeof(text); len++)
		for (int round = 0; round < 200; round++)
		{
			for (size_t i = 0; i < len; i++)
				text[i] = (char) ('0' + rand() % 10);
			check(text, len);
			if (len == 0)
				continue;
			/* any byte at any place */
			for (int byte = 0; byte < 256; byte++)
			{
				size_t		at = (size_t) rand() % len;
				char		was = text[at];

				text[at] = (char) byte;
				check(text, len);
				text[at] = was;
			}
		}
	if (failures)
		printf("%d failures\n", failures);
	return failures != 0;
}
