/*
 * key.c
 *		Canonical key bytes (see key.h).
 *
 * Touches no table; enums look at the catalog's cache. Fixed-width types are
 * big-endian with the sign flipped; strings end in a zero byte, and bytea escapes the
 * zero bytes that it holds, so that no key is another one's prefix.
 */
#include "postgres.h"

#include "apply/key.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "common/int128.h"
#include "edw_stream.h"
#include "fmgr.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/cash.h"
#include "utils/date.h"
#include "utils/fmgrprotos.h"
#include "utils/inet.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/pg_locale.h"
#include "utils/pg_lsn.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

static const struct
{
	Oid			type;
	EdwKeyKind	kind;
}			key_kinds[] =
{
	{INT8OID, EDW_KEY_INT8},
	{INT4OID, EDW_KEY_INT4},
	{TEXTOID, EDW_KEY_TEXT},
	{VARCHAROID, EDW_KEY_TEXT},
	{UUIDOID, EDW_KEY_UUID},
	{INT2OID, EDW_KEY_INT2},
	{NUMERICOID, EDW_KEY_NUMERIC},
	{DATEOID, EDW_KEY_INT4},
	{TIMESTAMPOID, EDW_KEY_INT8},
	{TIMESTAMPTZOID, EDW_KEY_INT8},
	{TIMEOID, EDW_KEY_INT8},
	{TIMETZOID, EDW_KEY_TIMETZ},
	{INTERVALOID, EDW_KEY_INTERVAL},
	{BPCHAROID, EDW_KEY_BPCHAR},
	{CHAROID, EDW_KEY_CHAR},
	{NAMEOID, EDW_KEY_NAME},
	{BOOLOID, EDW_KEY_BOOL},
	{BYTEAOID, EDW_KEY_BYTEA},
	{INETOID, EDW_KEY_BYTEA},
	{CIDROID, EDW_KEY_BYTEA},
	{MACADDROID, EDW_KEY_MACADDR},
	{FLOAT4OID, EDW_KEY_FLOAT4},
	{FLOAT8OID, EDW_KEY_FLOAT8},
	{OIDOID, EDW_KEY_OID},
	{LSNOID, EDW_KEY_UINT8},
	{CASHOID, EDW_KEY_INT8},
};

EdwKeyKind
EdwKeyKindOf(Oid type)
{
	Oid			base = getBaseType(type);

	for (int i = 0; i < (int) lengthof(key_kinds); i++)
		if (key_kinds[i].type == base)
			return key_kinds[i].kind;
	if (get_typtype(base) == TYPTYPE_ENUM)
		return EDW_KEY_ENUM;
	return EDW_KEY_UNSUPPORTED;
}

void
EdwKeyTypeCheck(Oid type, Oid collation, const char *column)
{
	if (EdwKeyKindOf(type) == EDW_KEY_UNSUPPORTED)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("column \"%s\" of type %s cannot be part of a key",
						column, format_type_be(type)),
				 errhint("Keys can be of integer, numeric, floating-point, character, date and time, "
						 "boolean, uuid, bytea, network and enum types.")));

	/* equal strings must be equal bytes */
	if (OidIsValid(collation) && !get_collation_isdeterministic(collation))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("column \"%s\" with a nondeterministic collation cannot be part of a key",
						column)));
}

static inline void
append_uint16(StringInfo out, uint16 value)
{
	value = pg_hton16(value);
	appendBinaryStringInfo(out, (char *) &value, sizeof(value));
}

static inline void
append_uint32(StringInfo out, uint32 value)
{
	value = pg_hton32(value);
	appendBinaryStringInfo(out, (char *) &value, sizeof(value));
}

static inline void
append_uint64(StringInfo out, uint64 value)
{
	value = pg_hton64(value);
	appendBinaryStringInfo(out, (char *) &value, sizeof(value));
}

static void
append_string(StringInfo out, const char *bytes, int len)
{
	appendBinaryStringInfo(out, bytes, len);
	appendStringInfoCharMacro(out, '\0');
}

/* zero bytes become 00 FF, the end is 00 00 */
static void
append_escaped(StringInfo out, const char *bytes, int len)
{
	for (int i = 0; i < len; i++)
	{
		appendStringInfoCharMacro(out, bytes[i]);
		if (bytes[i] == '\0')
			appendStringInfoCharMacro(out, '\xFF');
	}
	append_uint16(out, 0);
}

/* IEEE bits in the order of the numbers; -0 is 0, all NaNs are one and the greatest */
static void
append_float8(StringInfo out, double number)
{
	uint64		bits;

	if (isnan(number))
	{
		append_uint64(out, PG_UINT64_MAX);
		return;
	}
	if (number == 0)
		number = 0;
	memcpy(&bits, &number, sizeof(bits));
	if (bits >> 63)
		bits = ~bits;
	else
		bits |= UINT64CONST(1) << 63;
	append_uint64(out, bits);
}

/* what interval's equality goes by: 30 days a month, 24 hours a day */
static void
append_interval(StringInfo out, const Interval *interval)
{
	INT128		span = int64_to_int128(interval->time);
	int64		days = (int64) interval->month * INT64CONST(30) + interval->day;

	int128_add_int64_mul_int64(&span, days, USECS_PER_DAY);
#if USE_NATIVE_INT128
	append_uint64(out, (uint64) (span >> 64) ^ (UINT64CONST(1) << 63));
	append_uint64(out, (uint64) span);
#else
	append_uint64(out, (uint64) span.hi ^ (UINT64CONST(1) << 63));
	append_uint64(out, span.lo);
#endif
}

/* types that are stored as a varlena */
static void
append_varlena(StringInfo out, EdwKeyKind kind, Datum value)
{
	struct varlena *packed = PG_DETOAST_DATUM_PACKED(value);
	const char *bytes = VARDATA_ANY(packed);
	int			len = VARSIZE_ANY_EXHDR(packed);

	switch (kind)
	{
		case EDW_KEY_TEXT:
			append_string(out, bytes, len);
			break;
		case EDW_KEY_BPCHAR:
			append_string(out, bytes, bpchartruelen(unconstify(char *, bytes), len));
			break;
		default:
			append_escaped(out, bytes, len);
			break;
	}
	if ((Pointer) packed != DatumGetPointer(value))
		pfree(packed);
}

static void
append_text_of(StringInfo out, char *text)
{
	append_string(out, text, strlen(text));
	pfree(text);
}

void
EdwKeyAppend(StringInfo out, EdwKeyKind kind, Datum value)
{
	switch (kind)
	{
		case EDW_KEY_BOOL:
		case EDW_KEY_CHAR:
			appendStringInfoChar(out, DatumGetChar(value));
			break;
		case EDW_KEY_INT2:
			append_uint16(out, (uint16) DatumGetInt16(value) ^ 0x8000);
			break;
		case EDW_KEY_INT4:
			append_uint32(out, (uint32) DatumGetInt32(value) ^ 0x80000000);
			break;
		case EDW_KEY_INT8:
			append_uint64(out, (uint64) DatumGetInt64(value) ^ (UINT64CONST(1) << 63));
			break;
		case EDW_KEY_OID:
			append_uint32(out, DatumGetObjectId(value));
			break;
		case EDW_KEY_UINT8:
			append_uint64(out, DatumGetUInt64(value));
			break;
		case EDW_KEY_FLOAT4:
			append_float8(out, DatumGetFloat4(value));
			break;
		case EDW_KEY_FLOAT8:
			append_float8(out, DatumGetFloat8(value));
			break;
		case EDW_KEY_TIMETZ:
			{
				TimeTzADT  *time = DatumGetTimeTzADTP(value);

				/* equal only when the zones are: see timetz_cmp_internal */
				append_uint64(out, (uint64) (time->time + time->zone * USECS_PER_SEC) ^ (UINT64CONST(1) << 63));
				append_uint32(out, (uint32) time->zone ^ 0x80000000);
				break;
			}
		case EDW_KEY_INTERVAL:
			append_interval(out, DatumGetIntervalP(value));
			break;
		case EDW_KEY_NUMERIC:
			append_text_of(out, numeric_normalize(DatumGetNumeric(value)));
			break;
		case EDW_KEY_TEXT:
		case EDW_KEY_BPCHAR:
		case EDW_KEY_BYTEA:
			append_varlena(out, kind, value);
			break;
		case EDW_KEY_NAME:
			append_string(out, NameStr(*DatumGetName(value)), strlen(NameStr(*DatumGetName(value))));
			break;
		case EDW_KEY_UUID:
			appendBinaryStringInfo(out, (char *) DatumGetUUIDP(value)->data, UUID_LEN);
			break;
		case EDW_KEY_MACADDR:
			appendBinaryStringInfo(out, (char *) DatumGetMacaddrP(value), sizeof(macaddr));
			break;
		case EDW_KEY_ENUM:
			append_text_of(out, DatumGetCString(DirectFunctionCall1(enum_out, value)));
			break;
		case EDW_KEY_UNSUPPORTED:
			elog(ERROR, "key column of a type that cannot be a key");
	}
}
