/*
 * types.c
 *		Codecs, encodings derived from types, and the way of one value.
 *
 * EdwReadValue is the hot path: it looks at the token's first character, answers the
 * cases that make up nearly all values at once (null, integers into integer columns,
 * strings into text columns), and hands the rest to types_scalar.c and the files per
 * family of types.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/dependency.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "common/md5.h"
#include "decode/types.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

/* The bytes as text in one of the forms that binary.handling.mode has. */
static char *
encode_bytes(const uint8 *bytes, int len, EdwBinaryMode mode)
{
	static const char alphabets[2][65] = {
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	};
	const char *alphabet = alphabets[mode == EDW_BINARY_BASE64_URL_SAFE ? 1 : 0];
	StringInfoData out;

	initStringInfo(&out);
	if (mode == EDW_BINARY_HEX)
	{
		for (int i = 0; i < len; i++)
			appendStringInfo(&out, "%02x", bytes[i]);
		return out.data;
	}
	for (int i = 0; i < len; i += 3)
	{
		int			left = len - i;
		uint32		group = (uint32) bytes[i] << 16;

		if (left > 1)
			group |= (uint32) bytes[i + 1] << 8;
		if (left > 2)
			group |= bytes[i + 2];
		appendStringInfoChar(&out, alphabet[group >> 18]);
		appendStringInfoChar(&out, alphabet[group >> 12 & 63]);
		appendStringInfoChar(&out, left > 1 ? alphabet[group >> 6 & 63] : '=');
		appendStringInfoChar(&out, left > 2 ? alphabet[group & 63] : '=');
	}
	return out.data;
}

/* The version 3 UUID of the placeholder, which stands for it in uuid columns. */
static char *
placeholder_uuid(const char *text, int len)
{
	uint8		digest[16];
	const char *errstr = NULL;
	char	   *hex;

	if (!pg_md5_binary(text, len, digest, &errstr))
		return NULL;			/* a FIPS build has no MD5; then no uuid matches */
	digest[6] = (digest[6] & 0x0F) | 0x30;
	digest[8] = (digest[8] & 0x3F) | 0x80;
	hex = encode_bytes(digest, 16, EDW_BINARY_HEX);
	return psprintf("%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
}

/* Make a reader in the current context. */
EdwReader *
EdwReaderMake(const EdwConnectorModes *modes)
{
	EdwReader  *r = palloc0(sizeof(EdwReader));
	const char *given = modes->unavailable ? modes->unavailable : "__debezium_unavailable_value";
	char	   *text = (char *) pg_server_to_any(given, (int) strlen(given), PG_UTF8);
	EdwPlaceholder *p = &r->placeholder;

	r->modes = modes;
	r->server_is_utf8 = GetDatabaseEncoding() == PG_UTF8;
	initStringInfo(&r->scratch);
	initStringInfo(&r->scratch2);
	p->text = pstrdup(text);
	p->len = (int) strlen(text);
	p->base64 = encode_bytes((uint8 *) text, p->len, EDW_BINARY_BASE64);
	p->base64url = encode_bytes((uint8 *) text, p->len, EDW_BINARY_BASE64_URL_SAFE);
	p->hex = encode_bytes((uint8 *) text, p->len, EDW_BINARY_HEX);
	p->uuid = placeholder_uuid(text, p->len);
	return r;
}

/* Begin a message. What a huge one left behind is given back. */
void
EdwReaderStart(EdwReader *r)
{
	StringInfo	buffers[2] = {&r->scratch, &r->scratch2};

	r->inside_value = false;
	for (int i = 0; i < 2; i++)
		if (buffers[i]->maxlen > EDW_JSON_KEEP_BYTES)
		{
			buffers[i]->data = repalloc(buffers[i]->data, 1024);
			buffers[i]->maxlen = 1024;
			resetStringInfo(buffers[i]);
		}
}

/* Is this the type that the hstore extension made? */
static bool
is_hstore(Oid type)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	bool		named_so;
	Oid			extension;

	if (!HeapTupleIsValid(tuple))
		return false;
	named_so = strcmp(NameStr(((Form_pg_type) GETSTRUCT(tuple))->typname), "hstore") == 0;
	ReleaseSysCache(tuple);
	if (!named_so)
		return false;
	extension = getExtensionOfObject(TypeRelationId, type);
	return OidIsValid(extension) && extension == get_extension_oid("hstore", true);
}

static void
set_int_target(EdwCodec *codec, int64 min, int64 max)
{
	codec->target = EDW_TO_INT;
	codec->int_min = min;
	codec->int_max = max;
}

static void
set_numeric_target(EdwCodec *codec)
{
	codec->target = EDW_TO_NUMERIC;
	codec->precision = -1;
	if (codec->typmod >= (int32) VARHDRSZ)
	{
		int32		bits = codec->typmod - VARHDRSZ;

		codec->precision = bits >> 16 & 0xFFFF;
		codec->scale = ((bits & 0x7FF) ^ 1024) - 1024;
	}
}

static EdwTarget
target_of_type(Oid type)
{
	switch (type)
	{
		case BOOLOID:
			return EDW_TO_BOOL;
		case FLOAT4OID:
			return EDW_TO_FLOAT4;
		case FLOAT8OID:
			return EDW_TO_FLOAT8;
		case TEXTOID:
			return EDW_TO_TEXT;
		case VARCHAROID:
			return EDW_TO_VARCHAR;
		case BPCHAROID:
			return EDW_TO_BPCHAR;
		case DATEOID:
			return EDW_TO_DATE;
		case TIMEOID:
			return EDW_TO_TIME;
		case TIMETZOID:
			return EDW_TO_TIMETZ;
		case TIMESTAMPOID:
			return EDW_TO_TIMESTAMP;
		case TIMESTAMPTZOID:
			return EDW_TO_TIMESTAMPTZ;
		case INTERVALOID:
			return EDW_TO_INTERVAL;
		case BYTEAOID:
			return EDW_TO_BYTEA;
		case BITOID:
		case VARBITOID:
			return EDW_TO_BIT;
		case JSONOID:
		case JSONBOID:
			return EDW_TO_JSON;
		case MONEYOID:
			return EDW_TO_MONEY;
		default:
			return is_hstore(type) ? EDW_TO_HSTORE : EDW_TO_OTHER;
	}
}

/* Make a codec in the current context. */
EdwCodec *
EdwCodecMake(Oid type, int32 typmod)
{
	EdwCodec   *codec = palloc0(sizeof(EdwCodec));
	Oid			base = getBaseTypeAndTypmod(type, &typmod);
	Oid			element = get_element_type(base);
	Oid			input;

	codec->context = CurrentMemoryContext;
	codec->type = base;
	codec->typmod = typmod;
	codec->domain = base == type ? InvalidOid : type;
	getTypeInputInfo(base, &input, &codec->typioparam);
	fmgr_info(input, &codec->input);

	if (OidIsValid(element))
	{
		codec->target = EDW_TO_ARRAY;
		codec->element = EdwCodecMake(element, typmod);
		get_typlenbyvalalign(element, &codec->typlen, &codec->typbyval, &codec->typalign);
	}
	else if (base == INT2OID)
		set_int_target(codec, PG_INT16_MIN, PG_INT16_MAX);
	else if (base == INT4OID)
		set_int_target(codec, PG_INT32_MIN, PG_INT32_MAX);
	else if (base == INT8OID)
		set_int_target(codec, PG_INT64_MIN, PG_INT64_MAX);
	else if (base == NUMERICOID)
		set_numeric_target(codec);
	else
		codec->target = target_of_type(base);
	return codec;
}

/* units of time per second as time.precision.mode says for a type with this many digits */
static int64
time_unit(const EdwConnectorModes *modes, int32 digits, bool is_time, bool plain)
{
	switch (modes->time)
	{
		case EDW_TIME_CONNECT:
			return 1000;
		case EDW_TIME_MICROSECONDS:
			return 1000000;
		case EDW_TIME_NANOSECONDS:
			return INT64CONST(1000000000);
		case EDW_TIME_ISOSTRING:
			return 0;
		case EDW_TIME_ADAPTIVE_MICROSECONDS:
			if (is_time)
				return 1000000;
			break;
		case EDW_TIME_ADAPTIVE:
			break;
	}
	if (plain)
		return 0;				/* nobody said what a number means */
	return digits >= 0 && digits <= 3 ? 1000 : 1000000;
}

static void
decimal_type(EdwFieldType *t, int32 typmod, bool declared, const EdwConnectorModes *modes)
{
	t->encoding = EDW_ENC_DECIMAL_ANY;
	if (modes->decimal != EDW_DECIMAL_PRECISE)
		return;
	t->encoding = EDW_ENC_DECIMAL_UNKNOWN;
	if (declared && typmod >= (int32) VARHDRSZ)
	{
		t->encoding = EDW_ENC_DECIMAL;
		t->scale = (((typmod - VARHDRSZ) & 0x7FF) ^ 1024) - 1024;
	}
}

/*
 * How a value of this type at the source is written where the message has no
 * schema. plain: not by Debezium. In the current context.
 */
EdwFieldType *
EdwFieldTypeOfSource(Oid source_type, int32 source_typmod, bool declared,
					 const EdwConnectorModes *modes, bool plain)
{
	EdwFieldType *t = palloc0(sizeof(EdwFieldType));
	Oid			base = getBaseTypeAndTypmod(source_type, &source_typmod);
	Oid			element = get_element_type(base);

	t->encoding = EDW_ENC_NATURAL;
	t->binary = modes->binary;
	if (OidIsValid(element))
	{
		t->encoding = EDW_ENC_ARRAY;
		t->element = EdwFieldTypeOfSource(element, source_typmod, declared, modes, plain);
		return t;
	}
	switch (base)
	{
		case FLOAT4OID:
			t->encoding = EDW_ENC_FLOAT4;
			break;
		case FLOAT8OID:
			t->encoding = EDW_ENC_FLOAT8;
			break;
		case NUMERICOID:
			if (plain)
				t->encoding = EDW_ENC_DECIMAL_ANY;
			else
				decimal_type(t, source_typmod, declared, modes);
			break;
		case MONEYOID:
			t->encoding = !plain && modes->decimal == EDW_DECIMAL_PRECISE ? EDW_ENC_DECIMAL : EDW_ENC_DECIMAL_ANY;
			t->scale = 2;
			break;
		case DATEOID:
			t->encoding = EDW_ENC_DATE;
			t->per_second = plain ? 0 : 1;
			break;
		case TIMEOID:
			t->encoding = EDW_ENC_TIME;
			t->per_second = time_unit(modes, source_typmod, true, plain);
			break;
		case TIMETZOID:
			t->encoding = EDW_ENC_TIMETZ;
			break;
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			t->encoding = base == TIMESTAMPOID ? EDW_ENC_TIMESTAMP : EDW_ENC_TIMESTAMPTZ;
			t->per_second = time_unit(modes, source_typmod, false, plain);
			break;
		case INTERVALOID:
			t->encoding = EDW_ENC_INTERVAL;
			t->per_second = plain ? 0 : 1000000;
			break;
		case BYTEAOID:
			t->encoding = EDW_ENC_BYTES;
			break;
		case BITOID:
			t->encoding = plain ? EDW_ENC_NATURAL : EDW_ENC_BITS;
			t->length = Max(source_typmod, 0);
			break;
		case VARBITOID:
			t->encoding = plain ? EDW_ENC_NATURAL : EDW_ENC_BITS;
			break;
		case UUIDOID:
			t->encoding = EDW_ENC_UUID;
			break;
		case JSONOID:
		case JSONBOID:
			t->encoding = plain ? EDW_ENC_RAW_JSON : EDW_ENC_JSON;
			break;
		default:
			if (is_hstore(base))
				t->encoding = EDW_ENC_MAP;
			break;
	}
	return t;
}

/* Give a string to a text column. */
static inline Datum
make_text(const char *text, int len)
{
	struct varlena *result = palloc(VARHDRSZ + len);

	SET_VARSIZE(result, VARHDRSZ + len);
	memcpy(VARDATA(result), text, len);
	return PointerGetDatum(result);
}

/* By the kind of target. */
EdwDecodeResult
EdwScalarToDatum(EdwReader *r, EdwCodec *codec, const EdwScalar *s, Datum *value)
{
	switch (codec->target)
	{
		case EDW_TO_INT:
			return EdwScalarToInt(r, codec, s, value);
		case EDW_TO_NUMERIC:
		case EDW_TO_MONEY:
			return EdwScalarToNumeric(r, codec, s, value);
		case EDW_TO_FLOAT4:
		case EDW_TO_FLOAT8:
			return EdwScalarToFloat(r, codec, s, value);
		case EDW_TO_DATE:
		case EDW_TO_TIME:
		case EDW_TO_TIMETZ:
		case EDW_TO_TIMESTAMP:
		case EDW_TO_TIMESTAMPTZ:
		case EDW_TO_INTERVAL:
			return EdwScalarToTemporal(r, codec, s, value);
		case EDW_TO_BOOL:
		case EDW_TO_TEXT:
		case EDW_TO_VARCHAR:
		case EDW_TO_BPCHAR:
		case EDW_TO_BYTEA:
		case EDW_TO_BIT:
			return EdwScalarToText(r, codec, s, value);
		default:
			return EdwScalarByInput(r, codec, s, value);
	}
}

/* Everything that the fast path does not answer. */
static EdwDecodeResult
read_value_slowly(EdwReader *r, const EdwFieldType *type, EdwCodec *codec,
				  EdwJsonToken token, Datum *value, bool *isnull, uint8 *presence)
{
	char		c = EdwJsonChar(r->json, token);
	EdwScalar	s;
	EdwDecodeResult result;

	if (EdwIsPlaceholder(r, type, codec, token))
	{
		*presence = EDW_UNAVAILABLE;
		*isnull = true;
		*value = (Datum) 0;
		return EDW_EVENT;
	}
	if (codec->target == EDW_TO_ARRAY && c == '[')
		return EdwReadArray(r, type, codec, token, value, isnull, presence);
	if (codec->target == EDW_TO_ARRAY && c != '"')
		return EdwBadValue(r, "type_mismatch", ERRCODE_DATATYPE_MISMATCH,
						   "the value is not a JSON array");
	if (codec->target == EDW_TO_HSTORE &&
		(c == '{' || type->encoding == EDW_ENC_JSON || type->encoding == EDW_ENC_MAP))
		return EdwReadMap(r, type, codec, token, value);
	if (c == '{' && type->encoding == EDW_ENC_GEOMETRY)
		return EdwReadGeometry(r, codec, token, value);

	memset(&s, 0, sizeof(s));
	result = EdwReadScalar(r, type, token, &s);
	if (result != EDW_EVENT)
		return result;
	return EdwScalarToDatum(r, codec, &s, value);
}

/*
 * Read the value at token. *presence becomes EDW_PRESENT or EDW_UNAVAILABLE; the walk is
 * the caller's: this does not move on.
 */
EdwDecodeResult
EdwReadValue(EdwReader *r, const EdwFieldType *type, EdwCodec *codec,
			 EdwJsonToken token, Datum *value, bool *isnull, uint8 *presence)
{
	char		c = EdwJsonChar(r->json, token);
	EdwDecodeResult result;

	*presence = EDW_PRESENT;
	*isnull = false;
	if (c == 'n' && EdwJsonIsNull(r->json, token))
	{
		*isnull = true;
		*value = (Datum) 0;
		result = EDW_EVENT;
	}
	else if (codec->target == EDW_TO_INT && type->encoding == EDW_ENC_NATURAL &&
			 c <= '9' && c != '"')
	{
		EdwScalar	s;

		s.kind = EDW_SCALAR_NUMBER;
		s.len = (int) EdwJsonScalar(r->json, token, &s.text);
		result = EdwScalarToInt(r, codec, &s, value);
	}
	else if (codec->target == EDW_TO_TEXT && type->encoding == EDW_ENC_NATURAL &&
			 c == '"' && r->server_is_utf8)
	{
		const char *text;
		int			len = (int) EdwJsonStringRaw(r->json, token, &text);

		if (memchr(text, '\\', len) == NULL && len != r->placeholder.len)
		{
			*value = make_text(text, len);
			result = EDW_EVENT;
		}
		else
			result = read_value_slowly(r, type, codec, token, value, isnull, presence);
	}
	else
		result = read_value_slowly(r, type, codec, token, value, isnull, presence);

	if (unlikely(OidIsValid(codec->domain)) && result == EDW_EVENT &&
		*presence == EDW_PRESENT)
		domain_check(*value, *isnull, codec->domain, &codec->domain_extra, codec->context);
	return result;
}
