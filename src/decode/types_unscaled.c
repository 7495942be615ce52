/*
 * types_unscaled.c
 *		Decimals that come as bytes (rule T1): big-endian, two's complement, any length.
 *
 * Up to eight bytes become an int64 with its scale. Longer ones become decimal text, by
 * dividing the magnitude by 10^9 until nothing is left: the length was limited before to
 * what numeric can hold.
 */
#include "postgres.h"

#include "decode/types.h"

/* bytes of an unscaled value that could still be a numeric */
#define MAX_UNSCALED_BYTES	54500

/*
 * The magnitude as words of 32 bits, the least significant first. One word more than the
 * bytes need, because the complement may carry. *nwords counts all of them.
 */
static uint32 *
magnitude_of(const uint8 *bytes, int nbytes, bool negative, int *nwords)
{
	uint32	   *words;

	*nwords = (nbytes + 3) / 4 + 1;
	words = palloc0(sizeof(uint32) * *nwords);
	for (int i = 0; i < nbytes; i++)
	{
		int			from_end = nbytes - 1 - i;
		uint8		byte = negative ? (uint8) ~bytes[i] : bytes[i];

		words[from_end / 4] |= (uint32) byte << (from_end % 4 * 8);
	}
	if (negative)
		for (int i = 0; ++words[i] == 0; i++)
			;
	return words;
}

/* The digits of a magnitude, the last one first, at least one. Destroys words. */
static void
append_digits_reversed(StringInfo digits, uint32 *words, int nwords)
{
	while (nwords > 0 && words[nwords - 1] == 0)
		nwords--;
	while (nwords > 0)
	{
		uint64		rest = 0;

		for (int i = nwords - 1; i >= 0; i--)
		{
			rest = rest << 32 | words[i];
			words[i] = (uint32) (rest / 1000000000);
			rest %= 1000000000;
		}
		for (int i = 0; i < 9; i++)
		{
			appendStringInfoChar(digits, (char) ('0' + rest % 10));
			rest /= 10;
		}
		while (nwords > 0 && words[nwords - 1] == 0)
			nwords--;
	}
	while (digits->len > 1 && digits->data[digits->len - 1] == '0')
		digits->len--;
	if (digits->len == 0)
		appendStringInfoChar(digits, '0');
}

/* Digits in reverse with a scale, which may be below zero, as decimal text. */
static void
append_decimal(StringInfo out, const StringInfoData *digits, bool negative, int scale)
{
	if (negative)
		appendStringInfoChar(out, '-');
	if (digits->len <= scale)
	{
		appendStringInfoString(out, "0.");
		for (int i = scale; i > digits->len; i--)
			appendStringInfoChar(out, '0');
	}
	for (int i = digits->len - 1; i >= 0; i--)
	{
		appendStringInfoChar(out, digits->data[i]);
		if (i == scale && i > 0)
			appendStringInfoChar(out, '.');
	}
	if (digits->len > 1 || digits->data[0] != '0')
		for (int i = scale; i < 0; i++)
			appendStringInfoChar(out, '0');
}

/*
 * An unscaled value: number and scale if it fits, else decimal text in r->scratch2.
 */
EdwDecodeResult
EdwScalarFromUnscaled(EdwReader *r, const uint8 *bytes, int nbytes, int scale,
					  EdwScalar *s)
{
	bool		negative;
	int			nwords;
	uint32	   *words;
	StringInfoData digits;

	if (nbytes == 0)
		return EdwBadValue(r, "bad_decimal", ERRCODE_INVALID_TEXT_REPRESENTATION,
						   "the bytes of a decimal are empty");
	negative = (bytes[0] & 0x80) != 0;
	/* bytes that only repeat the sign */
	while (nbytes > 1 && bytes[0] == (negative ? 0xFF : 0) &&
		   ((bytes[1] & 0x80) != 0) == negative)
	{
		bytes++;
		nbytes--;
	}
	if (nbytes <= 8 && scale >= 0)
	{
		uint64		value = negative ? ~UINT64CONST(0) : 0;

		for (int i = 0; i < nbytes; i++)
			value = value << 8 | bytes[i];
		s->kind = EDW_SCALAR_INT_DECIMAL;
		s->number = (int64) value;
		s->scale = scale;
		return EDW_EVENT;
	}
	if (nbytes > MAX_UNSCALED_BYTES || scale > EDW_NUMERIC_FRACTION_DIGITS ||
		scale < -EDW_NUMERIC_INTEGER_DIGITS)
		return EdwBadValue(r, "numeric_overflow", ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
						   "a decimal of %d bytes and scale %d does not fit into numeric",
						   nbytes, scale);

	initStringInfo(&digits);
	words = magnitude_of(bytes, nbytes, negative, &nwords);
	append_digits_reversed(&digits, words, nwords);
	resetStringInfo(&r->scratch2);
	append_decimal(&r->scratch2, &digits, negative, scale);
	pfree(digits.data);
	pfree(words);

	s->kind = EDW_SCALAR_NUMBER;
	s->text = r->scratch2.data;
	s->len = r->scratch2.len;
	return EDW_EVENT;
}
