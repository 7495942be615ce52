/*
 * position_describe.c
 *		A stored position in words, for people.
 *
 * The inverse of position.c, as far as reading goes. It trusts nothing: bytes that are
 * no position are described as such.
 */
#include "postgres.h"

#include "access/xlogdefs.h"
#include "decode/position.h"

/* where reading stands, and where the words go */
typedef struct Reader
{
	const uint8 *p;
	const uint8 *end;
	bool		bad;
	char	   *out;
	int			room;			/* including the terminating NUL */
} Reader;

static void say(Reader *r, const char *format,...) pg_attribute_printf(2, 3);

static void
say(Reader *r, const char *format,...)
{
	va_list		args;
	int			n;

	va_start(args, format);
	n = vsnprintf(r->out, r->room, format, args);
	va_end(args);
	if (n >= r->room)
		n = r->room - 1;
	r->out += n;
	r->room -= n;
}

static uint64
get_uint(Reader *r, int nbytes)
{
	uint64		value = 0;

	if (r->end - r->p < nbytes)
	{
		r->bad = true;
		return 0;
	}
	while (nbytes-- > 0)
		value = value << 8 | *r->p++;
	return value;
}

static void
say_lsn(Reader *r)
{
	uint64		lsn = get_uint(r, 8);

	if (lsn == 0)
		say(r, " null");
	else
		say(r, " %X/%X", LSN_FORMAT_ARGS(lsn));
}

static void
say_sqlserver_lsn(Reader *r)
{
	uint64		high = get_uint(r, 4);
	uint64		middle = get_uint(r, 4);

	say(r, " %08X:%08X:%04X", (uint32) high, (uint32) middle, (uint32) get_uint(r, 2));
}

static void
say_long_number(Reader *r, int ndigits)
{
	if (ndigits == 0)
		say(r, "0");
	if (ndigits % 2 == 1)
	{
		say(r, "%X", (uint32) get_uint(r, 1));
		ndigits--;
	}
	for (; ndigits > 0 && !r->bad; ndigits -= 2)
		say(r, "%02X", (uint32) get_uint(r, 1));
}

static void
say_oracle(Reader *r)
{
	uint64		count;
	const char *separator = " rs_id ";

	for (int i = 0; i < 2; i++)
	{
		say(r, i == 0 ? " commit_scn " : " scn ");
		say_long_number(r, (int) get_uint(r, 1));
	}
	while ((count = get_uint(r, 1)) > 0)
	{
		say(r, "%s", separator);
		say_long_number(r, (int) count - 1);
		separator = ".";
	}
	say(r, " ssn " UINT64_FORMAT, get_uint(r, 8));
}

static void
say_decimal(Reader *r)
{
	uint64		sign = get_uint(r, 1);
	uint64		flip = sign < 0x80 ? 0xFF : 0;
	int64		point;
	uint64		pair;

	if (sign == 0x80)
	{
		say(r, " 0");
		return;
	}
	point = (int64) (get_uint(r, 5) ^ (flip ? UINT64CONST(0xFFFFFFFFFF) : 0)) - INT64CONST(0x8000000000);
	say(r, flip ? " -0." : " 0.");
	while (!r->bad && (pair = get_uint(r, 1) ^ flip) != 0)
		say(r, "%02u", (uint32) (pair - 1));
	say(r, "e" INT64_FORMAT, point);
}

static void
say_text(Reader *r)
{
	const uint8 *text = r->p;

	while (r->p < r->end && *r->p != 0)
		r->p++;
	if (r->p == r->end)
	{
		r->bad = true;
		return;
	}
	say(r, " \"%s\"", (const char *) text);
	r->p++;
}

/* What stands between the kind and the half. */
static void
say_payload(Reader *r, EdwPositionKind kind)
{
	bool		has_offset = false;
	uint64		first;

	switch (kind)
	{
		case EDW_POSITION_NONE:
			say(r, "none");
			break;
		case EDW_POSITION_POSTGRESQL:
			say(r, "postgresql");
			say_lsn(r);
			say_lsn(r);
			break;
		case EDW_POSITION_MYSQL:
			first = get_uint(r, 8);
			say(r, "mysql file " UINT64_FORMAT, first);
			first = get_uint(r, 8);
			say(r, " pos " UINT64_FORMAT " row " UINT64_FORMAT, first, get_uint(r, 8));
			break;
		case EDW_POSITION_SQLSERVER:
			say(r, "sqlserver");
			say_sqlserver_lsn(r);
			say_sqlserver_lsn(r);
			say(r, " serial " UINT64_FORMAT, get_uint(r, 8));
			break;
		case EDW_POSITION_ORACLE:
			say(r, "oracle");
			say_oracle(r);
			break;
		case EDW_POSITION_MONGODB:
			first = get_uint(r, 8);
			say(r, "mongodb " UINT64_FORMAT "." UINT64_FORMAT, first, get_uint(r, 8));
			has_offset = true;
			break;
		case EDW_POSITION_NUMBER:
			say(r, "number");
			say_decimal(r);
			has_offset = true;
			break;
		case EDW_POSITION_TEXT:
			say(r, "text");
			say_text(r);
			has_offset = true;
			break;
		case EDW_POSITION_OFFSET:
			has_offset = true;
			break;
		default:
			r->bad = true;
			break;
	}
	if (has_offset)
		say(r, "%soffset " INT64_FORMAT, kind == EDW_POSITION_OFFSET ? "" : " ",
			(int64) get_uint(r, 8));
}

void
EdwPositionDescribe(const uint8 *stored, int len, char *out, int out_size)
{
	Reader		r = {stored, stored + len, false, out, out_size};
	uint64		phase;
	uint64		half;

	say(&r, "epoch %u, ", (uint32) get_uint(&r, EDW_EPOCH_BYTES));
	phase = get_uint(&r, 1);
	say(&r, phase == 0 ? "snapshot, " : "streamed, ");
	say_payload(&r, (EdwPositionKind) get_uint(&r, 1));
	half = get_uint(&r, 1);
	if (half == 0)
		say(&r, ", delete");
	else if (half == 2)
		say(&r, ", displaced another row of its key");
	if (r.bad || phase > 1 || half > 2 || r.p != r.end)
		snprintf(out, out_size, "not a position (%d bytes)", len);
}
