/*
 * digits.h
 *		Decimal digits, eight at a time.
 *
 * Numbers in events are long: times in ns, positions in a log. No PostgreSQL headers, as in json.h.
 */
#ifndef EDW_DIGITS_H
#define EDW_DIGITS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* The eight bytes at p, the first one lowest. */
static inline uint64_t
EdwEightBytes(const char *p)
{
	uint64_t	bytes;

	memcpy(&bytes, p, sizeof(bytes));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	bytes = __builtin_bswap64(bytes);
#endif
	return bytes;
}

/* Are all eight bytes digits? Their high halves are 3, and are still if 6 is added. */
static inline bool
EdwAreDigits(uint64_t bytes)
{
	const uint64_t high = UINT64_C(0xF0F0F0F0F0F0F0F0);
	const uint64_t threes = UINT64_C(0x3030303030303030);

	return (bytes & high) == threes &&
		((bytes + UINT64_C(0x0606060606060606)) & high) == threes;
}

/* The number that eight digits are: pairs, then fours, then both halves together. */
static inline uint32_t
EdwDigitsValue(uint64_t bytes)
{
	bytes = (bytes & UINT64_C(0x0F0F0F0F0F0F0F0F)) * (10 * 256 + 1) >> 8;
	bytes = (bytes & UINT64_C(0x00FF00FF00FF00FF)) * (100 * 65536 + 1) >> 16;
	return (uint32_t) ((bytes & UINT64_C(0x0000FFFF0000FFFF)) * (UINT64_C(10000) * 4294967296 + 1) >> 32);
}

/* Add the digits at p, up to end or something else, to *value; returns where they end. */
static inline const char *
EdwReadDigits(const char *p, const char *end, uint64_t *value)
{
	for (; end - p >= 8; p += 8)
	{
		uint64_t	bytes = EdwEightBytes(p);

		if (!EdwAreDigits(bytes))
			break;
		*value = *value * 100000000 + EdwDigitsValue(bytes);
	}
	for (; p < end && *p >= '0' && *p <= '9'; p++)
		*value = *value * 10 + (uint64_t) (*p - '0');
	return p;
}

#endif							/* EDW_DIGITS_H */
