/*
 * types_nested.c
 *		Values with a structure: arrays, hstore, geometries, VariableScaleDecimal, and
 *		the placeholder for unchanged TOAST in its many shapes (rule P5).
 */
#include "postgres.h"

#include "decode/types.h"
#include "mb/pg_wchar.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

/* {"scale": 9, "value": base64}: a decimal that tells its scale (T1). */
EdwDecodeResult
EdwReadVariableDecimal(EdwReader *r, EdwJsonToken token, EdwScalar *s)
{
	EdwJsonToken key;
	EdwJsonToken after;
	EdwJsonToken bytes = EDW_JSON_NO_TOKEN;
	EdwJsonError error = EDW_JSON_OK;
	int64		scale = PG_INT64_MAX;
	bool		more;
	const char *text;
	size_t		len;

	for (more = EdwJsonObjectFirst(r->json, token, &key, &after, &error); more;
		 more = EdwJsonObjectNext(r->json, after, &key, &after, &error))
	{
		len = EdwJsonStringRaw(r->json, key, &text);
		if (len == 5 && memcmp(text, "scale", 5) == 0)
		{
			len = EdwJsonScalar(r->json, key + 2, &text);
			if (!EdwParseInt64(text, (int) len, &scale))
				scale = PG_INT64_MAX;
		}
		else if (len == 5 && memcmp(text, "value", 5) == 0 && EdwJsonChar(r->json, key + 2) == '"')
			bytes = key + 2;
		after = EdwJsonSkip(r->json, key + 2, &error);
		if (after == EDW_JSON_NO_TOKEN)
			break;
	}
	if (error != EDW_JSON_OK)
		return EdwBadJson(r->reason, error, "the message");
	if (bytes == EDW_JSON_NO_TOKEN || scale > 100000 || scale < -200000)
		return EdwBadValue(r, "type_mismatch", ERRCODE_DATATYPE_MISMATCH,
						   "the object is not a decimal with scale and value");
	len = EdwJsonStringRaw(r->json, bytes, &text);
	resetStringInfo(&r->scratch);
	if (!EdwDecodeBinary(EDW_BINARY_BASE64, text, (int) len, &r->scratch))
		return EdwBadValue(r, "bad_binary", ERRCODE_INVALID_TEXT_REPRESENTATION,
						   "the value of a decimal is not base64");
	return EdwScalarFromUnscaled(r, (uint8 *) r->scratch.data, r->scratch.len, (int) scale, s);
}

/* A JSON array as an array of one dimension. */
EdwDecodeResult
EdwReadArray(EdwReader *r, const EdwFieldType *type, EdwCodec *codec,
			 EdwJsonToken token, Datum *value, bool *isnull, uint8 *presence)
{
	EdwCodec   *element = codec->element;
	EdwFieldType natural = {.encoding = EDW_ENC_NATURAL, .binary = r->modes->binary};
	const EdwFieldType *element_type = type->element ? type->element : &natural;
	EdwJsonToken at;
	EdwJsonToken after = token + 1;
	EdwJsonError error = EDW_JSON_OK;
	Datum	   *datums = NULL;
	bool	   *nulls = NULL;
	int			n = 0;
	int			room = 0;
	bool		more;
	int			dims[1];
	int			lbs[1] = {1};

	for (more = EdwJsonArrayFirst(r->json, token, &at, &after); more;
		 more = EdwJsonArrayNext(r->json, after, &at, &after, &error))
	{
		EdwDecodeResult result;
		uint8		element_presence;

		after = EdwJsonSkip(r->json, at, &error);
		if (after == EDW_JSON_NO_TOKEN)
			break;
		if (EdwJsonChar(r->json, at) == '[' && element->target != EDW_TO_JSON)
			return EdwBadValue(r, "array_dimensions", ERRCODE_DATATYPE_MISMATCH,
							   "arrays of arrays have no rule: their lower bounds and dimensions are not in the message");
		if (n == room)
		{
			room = room == 0 ? 16 : room * 2;
			datums = datums ? repalloc(datums, sizeof(Datum) * room) : palloc(sizeof(Datum) * room);
			nulls = nulls ? repalloc(nulls, room) : palloc(room);
		}
		/* an input function may raise: the flag is set again before each message */
		r->inside_value = true;
		result = EdwReadValue(r, element_type, element, at, &datums[n], &nulls[n], &element_presence);
		r->inside_value = false;
		if (result != EDW_EVENT)
			return result;
		n++;
	}
	if (error != EDW_JSON_OK)
		return EdwBadJson(r->reason, error, "the message");

	*isnull = false;
	*presence = EDW_PRESENT;
	dims[0] = n;
	if (n == 0)
		*value = PointerGetDatum(construct_empty_array(element->domain ? element->domain : element->type));
	else
		*value = PointerGetDatum(construct_md_array(datums, nulls, 1, dims, lbs,
													element->domain ? element->domain : element->type,
													codec->typlen, codec->typbyval,
													codec->typalign));
	return EDW_EVENT;
}

/* A quoted string in hstore's syntax. */
static void
append_hstore_string(StringInfo out, const char *text, int len)
{
	appendStringInfoChar(out, '"');
	for (int i = 0; i < len; i++)
	{
		if (text[i] == '"' || text[i] == '\\')
			appendStringInfoChar(out, '\\');
		appendStringInfoChar(out, text[i]);
	}
	appendStringInfoChar(out, '"');
}

static EdwDecodeResult
read_map(EdwReader *r, EdwJsonToken token, StringInfo out)
{
	EdwJsonToken key;
	EdwJsonToken after;
	EdwJsonError error = EDW_JSON_OK;
	bool		more;
	const char *text;
	int			len;
	EdwDecodeResult result;

	for (more = EdwJsonObjectFirst(r->json, token, &key, &after, &error); more;
		 more = EdwJsonObjectNext(r->json, key + 3, &key, &after, &error))
	{
		if (out->len > 0)
			appendStringInfoString(out, ", ");
		result = EdwReadText(r, key, &r->scratch, &text, &len);
		if (result != EDW_EVENT)
			return result;
		append_hstore_string(out, text, len);
		appendStringInfoString(out, "=>");
		if (EdwJsonIsNull(r->json, key + 2))
			appendStringInfoString(out, "NULL");
		else if (EdwJsonChar(r->json, key + 2) == '"')
		{
			result = EdwReadText(r, key + 2, &r->scratch, &text, &len);
			if (result != EDW_EVENT)
				return result;
			append_hstore_string(out, text, len);
		}
		else
			return EdwBadValue(r, "type_mismatch", ERRCODE_DATATYPE_MISMATCH,
							   "an hstore has a value that is neither text nor null");
	}
	if (error != EDW_JSON_OK)
		return EdwBadJson(r->reason, error, "the value");
	return EDW_EVENT;
}

/* An hstore: a JSON object (hstore.handling.mode=map), or one in a string (json). */
EdwDecodeResult
EdwReadMap(EdwReader *r, const EdwFieldType *type, EdwCodec *codec, EdwJsonToken token,
		   Datum *value)
{
	const EdwJson *outer = r->json;
	StringInfoData out;
	EdwScalar	s = {.kind = EDW_SCALAR_TEXT};
	EdwDecodeResult result = EDW_EVENT;
	EdwJsonError error;

	(void) type;
	initStringInfo(&out);
	if (EdwJsonChar(outer, token) == '"')
	{
		const char *text;
		int			len;

		result = EdwReadText(r, token, &r->scratch, &text, &len);
		if (result != EDW_EVENT)
			return result;
		if (r->inner == NULL && (r->inner = EdwJsonCreate()) == NULL)
			return EdwBadJson(r->reason, EDW_JSON_NO_MEMORY, "the value");
		error = EdwJsonLoad(r->inner, "", 0, text, len);
		if (error != EDW_JSON_OK)
			return EdwBadJson(r->reason, error, "an hstore");
		r->json = r->inner;
		token = 0;
	}
	if (EdwJsonChar(r->json, token) == '{')
		result = read_map(r, token, &out);
	else
		result = EdwBadValue(r, "type_mismatch", ERRCODE_DATATYPE_MISMATCH,
							 "the source's value is not an hstore");
	r->json = outer;
	if (result != EDW_EVENT)
		return result;
	s.text = out.data;
	s.len = out.len;
	result = EdwScalarByInput(r, codec, &s, value);
	pfree(out.data);
	return result;
}

/* the parts of a geometry's struct */
typedef struct GeometryParts
{
	EdwJsonToken x;
	EdwJsonToken y;
	EdwJsonToken wkb;
	EdwJsonToken srid;
} GeometryParts;

static EdwJsonError
find_geometry_parts(const EdwJson *json, EdwJsonToken token, GeometryParts *parts)
{
	EdwJsonToken key;
	EdwJsonToken after;
	EdwJsonError error = EDW_JSON_OK;
	bool		more;

	for (more = EdwJsonObjectFirst(json, token, &key, &after, &error); more;
		 more = EdwJsonObjectNext(json, after, &key, &after, &error))
	{
		const char *text;
		size_t		len = EdwJsonStringRaw(json, key, &text);
		EdwJsonToken value = EdwJsonIsNull(json, key + 2) ? EDW_JSON_NO_TOKEN : key + 2;

		if (len == 1 && text[0] == 'x')
			parts->x = value;
		else if (len == 1 && text[0] == 'y')
			parts->y = value;
		else if (len == 3 && memcmp(text, "wkb", 3) == 0)
			parts->wkb = value;
		else if (len == 4 && memcmp(text, "srid", 4) == 0)
			parts->srid = value;
		after = EdwJsonSkip(json, key + 2, &error);
		if (after == EDW_JSON_NO_TOKEN)
			break;
	}
	return error;
}

/*
 * A geometry: json takes the struct as it is, bytea its WKB, point its coordinates,
 * PostGIS's types (and text) the hexadecimal WKB with the SRID in front.
 */
EdwDecodeResult
EdwReadGeometry(EdwReader *r, EdwCodec *codec, EdwJsonToken token, Datum *value)
{
	GeometryParts parts = {EDW_JSON_NO_TOKEN, EDW_JSON_NO_TOKEN, EDW_JSON_NO_TOKEN, EDW_JSON_NO_TOKEN};
	EdwFieldType raw = {.encoding = EDW_ENC_RAW_JSON};
	EdwScalar	s = {.kind = EDW_SCALAR_TEXT};
	EdwDecodeResult result;
	const char *text;
	size_t		len;
	StringInfoData out;
	EdwJsonError error;

	if (codec->target == EDW_TO_JSON)
	{
		result = EdwReadScalar(r, &raw, token, &s);
		return result == EDW_EVENT ? EdwScalarByInput(r, codec, &s, value) : result;
	}
	error = find_geometry_parts(r->json, token, &parts);
	if (error != EDW_JSON_OK)
		return EdwBadJson(r->reason, error, "the message");

	initStringInfo(&out);
	if (codec->type == POINTOID && parts.x != EDW_JSON_NO_TOKEN && parts.y != EDW_JSON_NO_TOKEN)
	{
		len = EdwJsonScalar(r->json, parts.x, &text);
		appendStringInfo(&out, "(%.*s,", (int) len, text);
		len = EdwJsonScalar(r->json, parts.y, &text);
		appendStringInfo(&out, "%.*s)", (int) len, text);
	}
	else if (parts.wkb != EDW_JSON_NO_TOKEN && EdwJsonChar(r->json, parts.wkb) == '"')
	{
		resetStringInfo(&r->scratch);
		len = EdwJsonStringRaw(r->json, parts.wkb, &text);
		if (!EdwDecodeBinary(EDW_BINARY_BASE64, text, (int) len, &r->scratch))
			return EdwBadValue(r, "bad_binary", ERRCODE_INVALID_TEXT_REPRESENTATION,
							   "the wkb of a geometry is not base64");
		if (codec->target == EDW_TO_BYTEA)
		{
			s.kind = EDW_SCALAR_BYTES;
			s.text = r->scratch.data;
			s.len = r->scratch.len;
			return EdwScalarToText(r, codec, &s, value);
		}
		if (parts.srid != EDW_JSON_NO_TOKEN)
		{
			len = EdwJsonScalar(r->json, parts.srid, &text);
			appendStringInfo(&out, "SRID=%.*s;", (int) len, text);
		}
		for (int i = 0; i < r->scratch.len; i++)
			appendStringInfo(&out, "%02X", (uint8) r->scratch.data[i]);
	}
	else
		return EdwBadValue(r, "type_mismatch", ERRCODE_DATATYPE_MISMATCH,
						   "the geometry has no coordinates that the column can take");
	s.text = out.data;
	s.len = out.len;
	if (codec->target == EDW_TO_TEXT || codec->target == EDW_TO_VARCHAR)
		result = EdwScalarToText(r, codec, &s, value);
	else
		result = EdwScalarByInput(r, codec, &s, value);
	pfree(out.data);
	return result;
}

static bool
is_string(const char *text, size_t len, const char *wanted)
{
	return wanted != NULL && len == strlen(wanted) && memcmp(text, wanted, len) == 0;
}

/* A string that is the placeholder, in the form that its encoding has. */
static bool
string_is_placeholder(EdwReader *r, const EdwFieldType *type, const EdwCodec *codec,
					  EdwJsonToken token)
{
	const EdwPlaceholder *p = &r->placeholder;
	const char *text;
	size_t		len = EdwJsonStringRaw(r->json, token, &text);

	if (len == (size_t) p->len && memcmp(text, p->text, len) == 0)
		return true;
	switch (type->encoding)
	{
		case EDW_ENC_BYTES:
			return is_string(text, len, type->binary == EDW_BINARY_HEX ? p->hex :
							 type->binary == EDW_BINARY_BASE64_URL_SAFE ? p->base64url :
							 p->base64);
		case EDW_ENC_BITS:
		case EDW_ENC_DECIMAL:
		case EDW_ENC_DECIMAL_UNKNOWN:
			return is_string(text, len, p->base64);
		case EDW_ENC_UUID:
			return is_string(text, len, p->uuid);
		case EDW_ENC_JSON:
		case EDW_ENC_MAP:
			/* an hstore as JSON text, with its quotes escaped */
			return len == (size_t) p->len * 2 + 11 &&
				memcmp(text, "{\\\"", 3) == 0 &&
				memcmp(text + 3, p->text, p->len) == 0 &&
				memcmp(text + 3 + p->len, "\\\":\\\"", 5) == 0 &&
				memcmp(text + 8 + p->len, p->text, p->len) == 0;
		default:
			return codec->target == EDW_TO_BYTEA && is_string(text, len, p->base64);
	}
}

/* An array of one placeholder, or one that holds the placeholder's bytes as numbers. */
static bool
array_is_placeholder(EdwReader *r, const EdwFieldType *type, const EdwCodec *codec,
					 EdwJsonToken token)
{
	static const EdwFieldType natural = {.encoding = EDW_ENC_NATURAL};
	const EdwPlaceholder *p = &r->placeholder;
	const EdwJson *json = r->json;
	EdwJsonToken at = token + 1;

	if (EdwJsonChar(json, at) == '"')
		return EdwJsonChar(json, at + 1) == ']' &&
			string_is_placeholder(r, type->element ? type->element : &natural,
								  codec->element ? codec->element : codec, at);
	for (int i = 0; i < p->len; i++)
	{
		const char *text;
		size_t		len;
		int64		number;

		if (at >= json->ntokens)
			return false;
		len = EdwJsonScalar(json, at, &text);
		if (!EdwParseInt64(text, (int) len, &number) || number != (signed char) p->text[i])
			return false;
		if (EdwJsonChar(json, at + 1) != (i == p->len - 1 ? ']' : ','))
			return false;
		at += 2;
	}
	return true;
}

/* Is the whole value the placeholder for an unchanged TOAST value? */
bool
EdwIsPlaceholder(EdwReader *r, const EdwFieldType *type, const EdwCodec *codec,
				 EdwJsonToken token)
{
	const EdwJson *json = r->json;

	if (r->inside_value)
		return false;
	switch (EdwJsonChar(json, token))
	{
		case '"':
			return string_is_placeholder(r, type, codec, token);
		case '[':
			return array_is_placeholder(r, type, codec, token);
		case '{':
			return type->encoding == EDW_ENC_MAP &&
				EdwJsonChar(json, token + 1) == '"' &&
				EdwJsonChar(json, token + 2) == ':' &&
				EdwJsonChar(json, token + 3) == '"' &&
				EdwJsonChar(json, token + 4) == '}' &&
				string_is_placeholder(r, type, codec, token + 1) &&
				string_is_placeholder(r, type, codec, token + 3);
		default:
			return false;
	}
}
