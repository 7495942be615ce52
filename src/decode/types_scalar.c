/*
 * types_scalar.c
 *		Encodings: what a JSON value means at the source.
 *
 * Text and bytes that come out of here live in the reader's scratch buffer or in the JSON
 * document: until the next value is read.
 */
#include "postgres.h"

#include "decode/types.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"

/* 0 to 63, or -1 */
static int
base64_value(char c, bool url_safe)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == (url_safe ? '-' : '+'))
		return 62;
	if (c == (url_safe ? '_' : '/'))
		return 63;
	return -1;
}

static bool
decode_base64(const char *text, int len, bool url_safe, StringInfo out)
{
	uint32		group = 0;
	int			n = 0;

	while (len > 0 && text[len - 1] == '=')
		len--;
	if (len % 4 == 1)
		return false;
	enlargeStringInfo(out, len / 4 * 3 + 3);
	for (int i = 0; i < len; i++)
	{
		int			six = base64_value(text[i], url_safe);

		if (six < 0)
			return false;
		group = group << 6 | (uint32) six;
		if (++n == 4)
		{
			out->data[out->len++] = (char) (group >> 16);
			out->data[out->len++] = (char) (group >> 8);
			out->data[out->len++] = (char) group;
			group = 0;
			n = 0;
		}
	}
	if (n >= 2)
		out->data[out->len++] = (char) (group >> (n == 2 ? 4 : 10));
	if (n == 3)
		out->data[out->len++] = (char) (group >> 2);
	return true;
}

static bool
decode_hex(const char *text, int len, StringInfo out)
{
	if (len % 2 != 0)
		return false;
	enlargeStringInfo(out, len / 2);
	for (int i = 0; i < len; i += 2)
	{
		int			byte = 0;

		for (int j = i; j < i + 2; j++)
		{
			char		c = text[j];

			byte <<= 4;
			if (c >= '0' && c <= '9')
				byte |= c - '0';
			else if (c >= 'a' && c <= 'f')
				byte |= c - 'a' + 10;
			else if (c >= 'A' && c <= 'F')
				byte |= c - 'A' + 10;
			else
				return false;
		}
		out->data[out->len++] = (char) byte;
	}
	return true;
}

/* Append the bytes that text stands for; false if it stands for none. */
bool
EdwDecodeBinary(EdwBinaryMode mode, const char *text, int len, StringInfo out)
{
	switch (mode)
	{
		case EDW_BINARY_HEX:
			return decode_hex(text, len, out);
		case EDW_BINARY_BASE64_URL_SAFE:
			return decode_base64(text, len, true, out);
		default:
			return decode_base64(text, len, false, out);
	}
}

/*
 * A string's text, unescaped and in the server's encoding: in the document itself if
 * nothing had to be done, else in scratch. Conversion to another encoding may raise
 * 22P05 for a character that it lacks.
 */
EdwDecodeResult
EdwReadText(EdwReader *r, EdwJsonToken token, StringInfo scratch,
			const char **text, int *len)
{
	size_t		raw_len = EdwJsonStringRaw(r->json, token, text);
	size_t		out_len;
	EdwJsonError error;
	char	   *converted;

	if (raw_len >= MaxAllocSize - 64)
		return EdwBadJson(r->reason, EDW_JSON_TOO_LARGE, "a string");
	*len = (int) raw_len;
	if (memchr(*text, '\\', raw_len) != NULL)
	{
		resetStringInfo(scratch);
		enlargeStringInfo(scratch, (int) raw_len);
		error = EdwJsonUnescape(*text, raw_len, scratch->data, &out_len);
		if (error != EDW_JSON_OK)
		{
			EdwReason	why;

			EdwBadJson(&why, error, "the text");
			return EdwBadValue(r, why.code, why.sqlerrcode, "%s", why.detail);
		}
		scratch->len = (int) out_len;
		*text = scratch->data;
		*len = scratch->len;
	}
	if (!r->server_is_utf8)
	{
		converted = pg_any_to_server(*text, *len, PG_UTF8);
		if (converted != *text)
		{
			resetStringInfo(scratch);
			appendStringInfoString(scratch, converted);
			pfree(converted);
			*text = scratch->data;
			*len = scratch->len;
		}
	}
	return EDW_EVENT;
}

static EdwDecodeResult
unexpected(EdwReader *r, EdwJsonToken token, const char *wanted)
{
	char		c = EdwJsonChar(r->json, token);

	return EdwBadValue(r, "type_mismatch", ERRCODE_DATATYPE_MISMATCH,
					   "%s where %s is expected",
					   c == '{' ? "a JSON object" : c == '[' ? "a JSON array" :
					   c == '"' ? "a JSON string" : c == 't' || c == 'f' ? "a JSON boolean" :
					   "a JSON number", wanted);
}

static EdwDecodeResult
read_float(EdwReader *r, const EdwFieldType *type, EdwJsonToken token, EdwScalar *s)
{
	bool		is_float4 = type->encoding == EDW_ENC_FLOAT4;

	s->kind = EDW_SCALAR_FLOAT;
	s->is_float4 = is_float4;
	if (EdwJsonChar(r->json, token) == '"')
	{
		EdwDecodeResult result = EdwReadText(r, token, &r->scratch, &s->text, &s->len);

		if (result != EDW_EVENT)
			return result;
	}
	else
		s->len = (int) EdwJsonScalar(r->json, token, &s->text);
	if (!EdwParseFloat(s->text, s->len, is_float4, &s->real))
		return EdwBadValue(r, "number_overflow", ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
						   "\"%.*s\" is not a floating point number in range",
						   Min(s->len, 40), s->text);
	return EDW_EVENT;
}

/* Bytes out of a string, into scratch. */
static EdwDecodeResult
read_bytes(EdwReader *r, EdwBinaryMode mode, EdwJsonToken token, EdwScalar *s)
{
	const char *text;
	size_t		len = EdwJsonStringRaw(r->json, token, &text);

	s->kind = EDW_SCALAR_BYTES;
	if (len >= MaxAllocSize - 64)
		return EdwBadJson(r->reason, EDW_JSON_TOO_LARGE, "a string");
	resetStringInfo(&r->scratch);
	/* base64 needs no escapes; the one that may be written escaped is / */
	if (memchr(text, '\\', len) != NULL)
	{
		int			unescaped;
		EdwDecodeResult result = EdwReadText(r, token, &r->scratch2, &text, &unescaped);

		if (result != EDW_EVENT)
			return result;
		len = unescaped;
	}
	if (!EdwDecodeBinary(mode, text, (int) len, &r->scratch))
		return EdwBadValue(r, "bad_binary", ERRCODE_INVALID_TEXT_REPRESENTATION,
						   "\"%.*s\" is not %s", (int) Min(len, 40), text,
						   mode == EDW_BINARY_HEX ? "hexadecimal" : "base64");
	s->text = r->scratch.data;
	s->len = r->scratch.len;
	return EDW_EVENT;
}

/*
 * Bits, the lowest first, into a text of 0 and 1 with the highest first. Without the
 * length the leading zeros are not known.
 */
static EdwDecodeResult
read_bits(EdwReader *r, const EdwFieldType *type, EdwJsonToken token, EdwScalar *s)
{
	EdwDecodeResult result = read_bytes(r, EDW_BINARY_BYTES, token, s);
	int			nbits = type->length;

	if (result != EDW_EVENT)
		return result;
	if (nbits <= 0 || nbits == PG_INT32_MAX)
		return EdwBadValue(r, "bit_length", ERRCODE_DATATYPE_MISMATCH,
						   "the message does not tell how many bits the value has");
	resetStringInfo(&r->scratch2);
	for (int bit = Max(nbits, s->len * 8) - 1; bit >= 0; bit--)
	{
		bool		set = bit / 8 < s->len &&
			((uint8) s->text[bit / 8] >> (bit % 8) & 1) != 0;

		if (bit < nbits)
			appendStringInfoChar(&r->scratch2, set ? '1' : '0');
		else if (set)
			return EdwBadValue(r, "bit_length", ERRCODE_STRING_DATA_LENGTH_MISMATCH,
							   "the value has more than %d bits", nbits);
	}
	s->kind = EDW_SCALAR_BITS;
	s->text = r->scratch2.data;
	s->len = r->scratch2.len;
	return EDW_EVENT;
}

/* Rule T1: base64 of the unscaled value. */
static EdwDecodeResult
read_decimal(EdwReader *r, int scale, EdwJsonToken token, EdwScalar *s)
{
	EdwDecodeResult result = read_bytes(r, EDW_BINARY_BYTES, token, s);

	if (result != EDW_EVENT)
		return result;
	return EdwScalarFromUnscaled(r, (const uint8 *) s->text, s->len, scale, s);
}

/* Rule T1: bytes whose scale nobody gave. No message of the topic can be read. */
static EdwDecodeResult
scale_unknown(EdwReader *r)
{
	EdwBadValue(r, "decimal_scale_unknown", ERRCODE_INVALID_PARAMETER_VALUE,
				"its decimals come as bytes (decimal.handling.mode=precise), and messages without a schema do not tell their scale");
	snprintf(r->reason->hint, sizeof(r->reason->hint),
			 "Give the type at the source in the mapping's option source_types, as in {\"source_types\": {\"%.60s\": \"numeric(12,2)\"}}, or set the connector's and the stream's decimal.handling.mode to string.",
			 r->column ? r->column : "amount");
	return EDW_MISCONFIGURED;
}

static void
read_json(EdwReader *r, EdwJsonToken token, EdwScalar *s)
{
	EdwJsonError error = EDW_JSON_OK;
	EdwJsonToken after = EdwJsonSkip(r->json, token, &error);
	const char *begin = r->json->buf + r->json->starts[token];
	const char *end = r->json->buf + r->json->starts[after == EDW_JSON_NO_TOKEN ? token : after];

	/* up to the next token, which is a comma, a bracket or the end */
	while (end > begin && (end[-1] == ' ' || end[-1] == '\n' || end[-1] == '\r' || end[-1] == '\t'))
		end--;
	s->kind = EDW_SCALAR_JSON;
	s->text = begin;
	s->len = (int) (end - begin);
}

/* JSON values that mean what they look like. */
static EdwDecodeResult
read_natural(EdwReader *r, EdwJsonToken token, EdwScalar *s)
{
	switch (EdwJsonChar(r->json, token))
	{
		case '"':
			s->kind = EDW_SCALAR_TEXT;
			return EdwReadText(r, token, &r->scratch, &s->text, &s->len);
		case 't':
		case 'f':
			s->kind = EDW_SCALAR_BOOL;
			s->number = EdwJsonChar(r->json, token) == 't';
			return EDW_EVENT;
		case '{':
		case '[':
			read_json(r, token, s);
			return EDW_EVENT;
		default:
			s->kind = EDW_SCALAR_NUMBER;
			s->len = (int) EdwJsonScalar(r->json, token, &s->text);
			return EDW_EVENT;
	}
}

static EdwDecodeResult
read_temporal(EdwReader *r, const EdwFieldType *type, EdwJsonToken token, EdwScalar *s)
{
	const char *text;
	int			len;
	EdwDecodeResult result;
	char		c = EdwJsonChar(r->json, token);

	if (c == '"')
	{
		result = EdwReadText(r, token, &r->scratch, &text, &len);
		if (result != EDW_EVENT)
			return result;
		return EdwReadTemporal(r, type, text, len, false, s);
	}
	if (c == '{' || c == '[' || c == 't' || c == 'f')
		return unexpected(r, token, "a time");
	len = (int) EdwJsonScalar(r->json, token, &text);
	return EdwReadTemporal(r, type, text, len, true, s);
}

EdwDecodeResult
EdwReadScalar(EdwReader *r, const EdwFieldType *type, EdwJsonToken token, EdwScalar *s)
{
	char		c = EdwJsonChar(r->json, token);

	switch (type->encoding)
	{
		case EDW_ENC_FLOAT4:
		case EDW_ENC_FLOAT8:
			if (c == '{' || c == '[' || c == 't' || c == 'f')
				break;
			return read_float(r, type, token, s);
		case EDW_ENC_DECIMAL:
			if (c == '"')
				return read_decimal(r, type->scale, token, s);
			if (c == '{')
				return EdwReadVariableDecimal(r, token, s);
			break;
		case EDW_ENC_DECIMAL_UNKNOWN:
			if (c == '"')
				return scale_unknown(r);
			if (c == '{')
				return EdwReadVariableDecimal(r, token, s);
			break;
		case EDW_ENC_DECIMAL_ANY:
			if (c == '{')
				return EdwReadVariableDecimal(r, token, s);
			break;
		case EDW_ENC_DATE:
		case EDW_ENC_TIME:
		case EDW_ENC_TIMETZ:
		case EDW_ENC_TIMESTAMP:
		case EDW_ENC_TIMESTAMPTZ:
		case EDW_ENC_INTERVAL:
			return read_temporal(r, type, token, s);
		case EDW_ENC_BYTES:
			if (c == '"')
				return read_bytes(r, type->binary, token, s);
			return unexpected(r, token, "binary text");
		case EDW_ENC_BITS:
			if (c == '"')
				return read_bits(r, type, token, s);
			break;
		case EDW_ENC_JSON:
			if (c != '"')
			{
				read_json(r, token, s);
				return EDW_EVENT;
			}
			break;
		case EDW_ENC_RAW_JSON:
			read_json(r, token, s);
			return EDW_EVENT;
		default:
			break;
	}
	return read_natural(r, token, s);
}
