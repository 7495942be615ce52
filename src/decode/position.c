/*
 * position.c
 *		Source positions as order-preserving bytes (rules O1 to O6).
 *
 * Pure: no allocation, nothing raised. Every encoder below keeps two properties:
 * memcmp orders two results of one kind as the source orders them, and no result is
 * a prefix of another one's, so that what follows in the payload cannot disturb it.
 *
 *	fixed number	8 bytes, big-endian
 *	long number		count of digits, then the digits, two in a byte
 *	hex groups		SQL Server: 4 + 4 + 2 bytes; Oracle's rs_id: every group as a
 *					long number of hex digits plus one, then a zero byte
 *	decimal			sign class, exponent, digits; see put_decimal
 *	text			the bytes, then a zero byte
 *
 * Digits are the only thing looked at: a number's leading zeros, or a fraction's
 * trailing ones, make no difference.
 */
#include "postgres.h"

#include "decode/digits.h"
#include "decode/position.h"

/* digits of a long number or a decimal, at most */
#define MAX_DIGITS		76
#define MAX_DECIMAL_DIGITS	200

/* sign classes of a decimal */
#define DECIMAL_NEGATIVE	0x40
#define DECIMAL_ZERO		0x80
#define DECIMAL_POSITIVE	0xC0

int
EdwPositionCompare(const uint8 *a, int alen, const uint8 *b, int blen)
{
	int			cmp = memcmp(a, b, Min(alen, blen));

	if (cmp != 0)
		return cmp;
	return (alen > blen) - (alen < blen);
}

/*
 * Appending. A position that is full stays full and overflows: finish finds out.
 */
static void
put_byte(EdwPosition *p, uint8 byte)
{
	if (p->len < EDW_POSITION_MAX)
		p->bytes[p->len] = byte;
	p->len++;
}

static void
put_uint(EdwPosition *p, uint64 value, int nbytes)
{
	for (int shift = (nbytes - 1) * 8; shift >= 0; shift -= 8)
		put_byte(p, (uint8) (value >> shift));
}

static void
start(EdwPosition *p, bool streamed, EdwPositionKind kind)
{
	p->len = 0;
	put_byte(p, streamed ? 1 : 0);
	put_byte(p, (uint8) kind);
}

static bool
finish(EdwPosition *p, bool is_delete)
{
	put_byte(p, is_delete ? 0 : 1);
	if (p->len <= EDW_POSITION_MAX)
		return true;
	p->len = 0;
	return false;
}

static bool
fail(EdwPosition *p)
{
	p->len = 0;
	return false;
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* An unsigned number of up to MAX_DIGITS digits in the given base (10 or 16). */
static bool
put_long_number(EdwPosition *p, const char *digits, int len, int base)
{
	int			i = 0;

	if (len <= 0)
		return false;
	while (i < len && digits[i] == '0')
		i++;
	if (len - i > MAX_DIGITS)
		return false;
	put_byte(p, (uint8) (len - i));
	if ((len - i) % 2 == 1)
	{
		int			low = hex_value(digits[i++]);

		if (low < 0 || low >= base)
			return false;
		put_byte(p, (uint8) low);
	}
	for (; i < len; i += 2)
	{
		int			high = hex_value(digits[i]);
		int			low = hex_value(digits[i + 1]);

		if (high < 0 || high >= base || low < 0 || low >= base)
			return false;
		put_byte(p, (uint8) (high << 4 | low));
	}
	return true;
}

/* Rule O2. A null in source.sequence is given as 0, which no real lsn is. */
bool
EdwPositionPostgres(EdwPosition *p, bool streamed, bool is_delete,
					uint64 last_commit_lsn, uint64 lsn)
{
	start(p, streamed, EDW_POSITION_POSTGRESQL);
	put_uint(p, last_commit_lsn, 8);
	put_uint(p, lsn, 8);
	return finish(p, is_delete);
}

bool
EdwPositionLacksCommit(const EdwPosition *p)
{
	static const uint8 none[8] = {0};

	return p->len > 10 && p->bytes[1] == EDW_POSITION_POSTGRESQL &&
		memcmp(p->bytes + 2, none, sizeof(none)) == 0;
}

/* Rule O3: the suffix of the binlog file's name compares as a number. */
bool
EdwPositionMysql(EdwPosition *p, bool streamed, bool is_delete,
				 const char *file, int file_len, uint64 pos, uint64 row)
{
	int			suffix = file_len;
	uint64		number = 0;

	while (suffix > 0 && file[suffix - 1] >= '0' && file[suffix - 1] <= '9')
		suffix--;
	if (suffix == file_len || file_len - suffix > 18)
		return fail(p);
	(void) EdwReadDigits(file + suffix, file + file_len, &number);

	start(p, streamed, EDW_POSITION_MYSQL);
	put_uint(p, number, 8);
	put_uint(p, pos, 8);
	put_uint(p, row, 8);
	return finish(p, is_delete);
}

/* An LSN as SQL Server writes it, 00000027:00000758:0005; empty and NULL are the lowest. */
static bool
put_sqlserver_lsn(EdwPosition *p, const char *lsn, int len)
{
	static const int group_bytes[] = {4, 4, 2};
	int			i = 0;

	if (len == 0 || (len == 4 && memcmp(lsn, "NULL", 4) == 0))
	{
		put_uint(p, 0, 8);
		put_uint(p, 0, 2);
		return true;
	}
	for (int group = 0; group < 3; group++)
	{
		uint64		value = 0;
		int			first = i;

		for (; i < len && lsn[i] != ':'; i++)
		{
			int			digit = hex_value(lsn[i]);

			if (digit < 0)
				return false;
			value = value << 4 | (uint64) digit;
			if (value >> (group_bytes[group] * 8) != 0)
				return false;
		}
		if (i == first)
			return false;
		put_uint(p, value, group_bytes[group]);
		if (group < 2 && i++ >= len)
			return false;
	}
	return i == len;
}

bool
EdwPositionSqlServer(EdwPosition *p, bool streamed, bool is_delete,
					 const char *commit_lsn, int commit_len,
					 const char *change_lsn, int change_len, uint64 serial)
{
	start(p, streamed, EDW_POSITION_SQLSERVER);
	if (!put_sqlserver_lsn(p, commit_lsn, commit_len) ||
		!put_sqlserver_lsn(p, change_lsn, change_len))
		return fail(p);
	put_uint(p, serial, 8);
	return finish(p, is_delete);
}

/* Oracle's record set id, " 0x000064.00047f4d.0010 ": groups of hex digits. */
static bool
put_rs_id(EdwPosition *p, const char *rs_id, int len)
{
	int			i = 0;

	while (i < len && rs_id[i] == ' ')
		i++;
	while (len > i && rs_id[len - 1] == ' ')
		len--;
	if (len - i >= 2 && rs_id[i] == '0' && (rs_id[i + 1] == 'x' || rs_id[i + 1] == 'X'))
		i += 2;

	while (i < len)
	{
		int			first = i;
		int			count_at = p->len;

		while (i < len && rs_id[i] != '.')
			i++;
		if (i - first > 16 || !put_long_number(p, rs_id + first, i - first, 16))
			return false;
		/* so that the end is lower than any further group */
		if (count_at < EDW_POSITION_MAX)
			p->bytes[count_at]++;
		if (i < len && ++i == len)
			return false;
	}
	put_byte(p, 0);
	return true;
}

bool
EdwPositionOracle(EdwPosition *p, bool streamed, bool is_delete,
				  const char *commit_scn, int commit_len,
				  const char *scn, int scn_len,
				  const char *rs_id, int rs_len, uint64 ssn)
{
	start(p, streamed, EDW_POSITION_ORACLE);

	/* snapshot rows have no commit_scn: then it is the lowest */
	if (commit_len == 0)
		put_byte(p, 0);
	else if (!put_long_number(p, commit_scn, commit_len, 10))
		return fail(p);
	if (!put_long_number(p, scn, scn_len, 10) || !put_rs_id(p, rs_id, rs_len))
		return fail(p);
	put_uint(p, ssn, 8);
	return finish(p, is_delete);
}

bool
EdwPositionMongo(EdwPosition *p, bool streamed, bool is_delete,
				 uint64 ts_sec, uint64 ord, int64 kafka_offset)
{
	start(p, streamed, EDW_POSITION_MONGODB);
	put_uint(p, ts_sec, 8);
	put_uint(p, ord, 8);
	put_uint(p, (uint64) kafka_offset, 8);
	return finish(p, is_delete);
}

/* a decimal number taken apart: 0.d1d2d3… times ten to the power of point */
typedef struct Decimal
{
	bool		negative;
	int64		point;
	int			ndigits;		/* without leading and trailing zeros; 0: zero */
	char		digits[MAX_DECIMAL_DIGITS];
} Decimal;

/* The exponent's digits: at most 9 of them, so that no sum overflows. */
static bool
parse_exponent(const char *text, int len, int64 *exponent)
{
	int			i = 0;
	bool		negative = false;

	*exponent = 0;
	if (i < len && (text[i] == '-' || text[i] == '+'))
		negative = text[i++] == '-';
	if (i == len || len - i > 9)
		return false;
	for (; i < len; i++)
	{
		if (text[i] < '0' || text[i] > '9')
			return false;
		*exponent = *exponent * 10 + (text[i] - '0');
	}
	if (negative)
		*exponent = -*exponent;
	return true;
}

static bool
parse_decimal(const char *text, int len, Decimal *d)
{
	int64		exponent = 0;
	bool		seen_point = false;
	bool		seen_digit = false;
	int			zeros = 0;		/* that count only if a digit follows */
	int			i = 0;

	d->negative = false;
	d->point = 0;
	d->ndigits = 0;
	if (i < len && (text[i] == '-' || text[i] == '+'))
		d->negative = text[i++] == '-';
	for (; i < len && text[i] != 'e' && text[i] != 'E'; i++)
	{
		if (text[i] == '.' && !seen_point)
		{
			seen_point = true;
			continue;
		}
		if (text[i] < '0' || text[i] > '9')
			return false;
		seen_digit = true;
		if (d->ndigits == 0 && text[i] == '0')
		{
			if (seen_point)
				d->point--;
			continue;
		}
		if (!seen_point)
			d->point++;
		if (text[i] == '0')
		{
			zeros++;
			continue;
		}
		if (d->ndigits + zeros + 1 > MAX_DECIMAL_DIGITS)
			return false;
		for (; zeros > 0; zeros--)
			d->digits[d->ndigits++] = 0;
		d->digits[d->ndigits++] = (char) (text[i] - '0');
	}
	if (!seen_digit)
		return false;
	if (i < len && !parse_exponent(text + i + 1, len - i - 1, &exponent))
		return false;
	d->point += exponent;
	return true;
}

/*
 * Sign class, then exponent and digits, each digit pair plus one so that the end (a
 * zero byte) is lower than any further digit. A negative number has all that
 * complemented: the larger magnitude is the smaller number.
 */
static bool
put_decimal(EdwPosition *p, const char *text, int len)
{
	Decimal		d;
	uint8		flip;

	if (!parse_decimal(text, len, &d))
		return false;
	if (d.ndigits == 0)
	{
		put_byte(p, DECIMAL_ZERO);
		return true;
	}
	flip = d.negative ? 0xFF : 0;
	put_byte(p, d.negative ? DECIMAL_NEGATIVE : DECIMAL_POSITIVE);
	for (int shift = 32; shift >= 0; shift -= 8)
		put_byte(p, (uint8) (((uint64) (d.point + INT64CONST(0x8000000000)) >> shift) ^ flip));
	for (int i = 0; i < d.ndigits; i += 2)
	{
		int			low = i + 1 < d.ndigits ? d.digits[i + 1] : 0;

		put_byte(p, (uint8) (d.digits[i] * 10 + low + 1) ^ flip);
	}
	put_byte(p, flip);
	return true;
}

bool
EdwPositionNumber(EdwPosition *p, bool streamed, bool is_delete,
				  const char *digits, int len, int64 kafka_offset)
{
	start(p, streamed, EDW_POSITION_NUMBER);
	if (!put_decimal(p, digits, len))
		return fail(p);
	put_uint(p, (uint64) kafka_offset, 8);
	return finish(p, is_delete);
}

bool
EdwPositionText(EdwPosition *p, bool streamed, bool is_delete,
				const char *text, int len, int64 kafka_offset)
{
	start(p, streamed, EDW_POSITION_TEXT);
	for (int i = 0; i < len; i++)
	{
		if (text[i] == '\0')
			return fail(p);
		put_byte(p, (uint8) text[i]);
	}
	put_byte(p, 0);
	put_uint(p, (uint64) kafka_offset, 8);
	return finish(p, is_delete);
}

bool
EdwPositionOffset(EdwPosition *p, bool streamed, bool is_delete, int64 kafka_offset)
{
	start(p, streamed, EDW_POSITION_OFFSET);
	put_uint(p, (uint64) kafka_offset, 8);
	return finish(p, is_delete);
}
