/*
 * types_text.c
 *		Text, booleans, bytes and bits; the text form of everything; and the types that
 *		are made by their own input function.
 *
 * The text form is PostgreSQL's own for the source's value, in ISO style and for a
 * timestamp with time zone in UTC, whatever the session's settings.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "decode/types.h"
#include "edw_stream.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"
#include "utils/varbit.h"

static void
append_date(StringInfo out, int64 days)
{
	struct pg_tm tm;
	char		buffer[MAXDATELEN + 1];

	if (days == DATEVAL_NOBEGIN || days == DATEVAL_NOEND)
		EncodeSpecialDate((DateADT) days, buffer);
	else
	{
		memset(&tm, 0, sizeof(tm));
		j2date((int) days + POSTGRES_EPOCH_JDATE, &tm.tm_year, &tm.tm_mon, &tm.tm_mday);
		EncodeDateOnly(&tm, USE_ISO_DATES, buffer);
	}
	appendStringInfoString(out, buffer);
}

static void
append_timestamp(StringInfo out, int64 timestamp, bool with_zone)
{
	struct pg_tm tm;
	fsec_t		fsec;
	char		buffer[MAXDATELEN + 1];

	if (TIMESTAMP_NOT_FINITE(timestamp))
		EncodeSpecialTimestamp(timestamp, buffer);
	else if (timestamp2tm(timestamp, NULL, &tm, &fsec, NULL, NULL) != 0)
		elog(ERROR, "timestamp out of range");
	else
	{
		/* as a timestamp with time zone, it is in UTC */
		tm.tm_isdst = 0;
		EncodeDateTime(&tm, fsec, with_zone, 0, NULL, USE_ISO_DATES, buffer);
	}
	appendStringInfoString(out, buffer);
}

static void
append_time(StringInfo out, int64 us, bool with_zone, int32 zone)
{
	struct pg_tm tm;
	fsec_t		fsec;
	char		buffer[MAXDATELEN + 1];

	memset(&tm, 0, sizeof(tm));
	time2tm(us, &tm, &fsec);
	EncodeTimeOnly(&tm, fsec, with_zone, zone, USE_ISO_DATES, buffer);
	appendStringInfoString(out, buffer);
}

static void
append_interval(StringInfo out, int64 us)
{
	Interval	interval = {.time = us};
	struct pg_itm itm;
	char		buffer[MAXDATELEN + 1];

	interval2itm(interval, &itm);
	EncodeInterval(&itm, INTSTYLE_POSTGRES, buffer);
	appendStringInfoString(out, buffer);
}

static void
append_decimal(StringInfo out, int64 unscaled, int scale)
{
	uint64		magnitude = unscaled < 0 ? 0 - (uint64) unscaled : (uint64) unscaled;
	char		digits[32];
	int			n;

	if (unscaled < 0)
		appendStringInfoChar(out, '-');
	n = snprintf(digits, sizeof(digits), UINT64_FORMAT, magnitude);
	if (n <= scale)
	{
		appendStringInfoString(out, "0.");
		for (int i = scale; i > n; i--)
			appendStringInfoChar(out, '0');
		appendBinaryStringInfo(out, digits, n);
		return;
	}
	appendBinaryStringInfo(out, digits, n - scale);
	if (scale > 0)
	{
		appendStringInfoChar(out, '.');
		appendBinaryStringInfo(out, digits + n - scale, scale);
	}
}

static void
append_float(StringInfo out, const EdwScalar *s)
{
	char		buffer[DOUBLE_SHORTEST_DECIMAL_LEN];

	if (s->is_float4)
		float_to_shortest_decimal_buf((float) s->real, buffer);
	else
		double_to_shortest_decimal_buf(s->real, buffer);
	appendStringInfoString(out, buffer);
}

/*
 * The text form of a scalar: its own text, or made in r->scratch2. JSON comes as
 * it is.
 */
void
EdwScalarText(EdwReader *r, const EdwScalar *s, const char **text, int *len)
{
	StringInfo	out = &r->scratch2;

	switch (s->kind)
	{
		case EDW_SCALAR_NUMBER:
		case EDW_SCALAR_TEXT:
		case EDW_SCALAR_BITS:
		case EDW_SCALAR_JSON:
			*text = s->text;
			*len = s->len;
			return;
		default:
			break;
	}
	resetStringInfo(out);
	switch (s->kind)
	{
		case EDW_SCALAR_BOOL:
			appendStringInfoString(out, s->number ? "true" : "false");
			break;
		case EDW_SCALAR_FLOAT:
			append_float(out, s);
			break;
		case EDW_SCALAR_INT_DECIMAL:
			append_decimal(out, s->number, s->scale);
			break;
		case EDW_SCALAR_DATE:
			append_date(out, s->number);
			break;
		case EDW_SCALAR_TIME:
			if (s->number >= 0 && s->number <= USECS_PER_DAY)
				append_time(out, s->number, false, 0);
			else
				append_interval(out, s->number);
			break;
		case EDW_SCALAR_TIMETZ:
			append_time(out, s->number, true, s->zone);
			break;
		case EDW_SCALAR_TIMESTAMP:
		case EDW_SCALAR_TIMESTAMPTZ:
			append_timestamp(out, s->number, s->kind == EDW_SCALAR_TIMESTAMPTZ);
			break;
		case EDW_SCALAR_INTERVAL:
			append_interval(out, s->number);
			break;
		case EDW_SCALAR_BYTES:
			appendStringInfoString(out, "\\x");
			enlargeStringInfo(out, s->len * 2);
			out->len += (int) hex_encode(s->text, s->len, out->data + out->len);
			out->data[out->len] = '\0';
			break;
		default:
			elog(ERROR, "unexpected kind of scalar %d", s->kind);
	}
	*text = out->data;
	*len = out->len;
}

static Datum
make_varlena(const char *bytes, int len)
{
	struct varlena *result = palloc(VARHDRSZ + len);

	SET_VARSIZE(result, VARHDRSZ + len);
	memcpy(VARDATA(result), bytes, len);
	return PointerGetDatum(result);
}

static EdwDecodeResult
too_long(EdwReader *r, const EdwCodec *codec, int nchars)
{
	return EdwBadValue(r, "string_too_long", ERRCODE_STRING_DATA_RIGHT_TRUNCATION,
					   "%d characters do not fit into %s(%d)", nchars,
					   codec->target == EDW_TO_VARCHAR ? "varchar" : "char",
					   codec->typmod - (int) VARHDRSZ);
}

/* text, varchar and char: never cut, but for the blanks that char pads with */
static EdwDecodeResult
to_text(EdwReader *r, const EdwCodec *codec, const char *text, int len, Datum *value)
{
	int			limit = codec->target == EDW_TO_TEXT ? -1 : codec->typmod - (int) VARHDRSZ;
	int			nchars;

	if (limit >= 0 && len > limit)
	{
		if (codec->target == EDW_TO_BPCHAR)
			while (len > 0 && text[len - 1] == ' ')
				len--;
		nchars = pg_mbstrlen_with_len(text, len);
		if (nchars > limit)
			return too_long(r, codec, nchars);
	}
	*value = make_varlena(text, len);
	if (codec->target == EDW_TO_BPCHAR && limit >= 0)
		*value = DirectFunctionCall3(bpchar, *value, Int32GetDatum(codec->typmod),
									 BoolGetDatum(false));
	return EDW_EVENT;
}

static EdwDecodeResult
to_bool(EdwReader *r, const EdwScalar *s, Datum *value)
{
	bool		result;

	if (s->kind == EDW_SCALAR_BOOL)
		result = s->number != 0;
	else if ((s->kind == EDW_SCALAR_NUMBER || s->kind == EDW_SCALAR_BITS) && s->len == 1 &&
			 (s->text[0] == '0' || s->text[0] == '1'))
		result = s->text[0] == '1';
	else if (s->kind != EDW_SCALAR_TEXT || !parse_bool_with_len(s->text, s->len, &result))
		return EdwBadValue(r, "type_mismatch", ERRCODE_DATATYPE_MISMATCH,
						   "the source's value is not a boolean");
	*value = BoolGetDatum(result);
	return EDW_EVENT;
}

static EdwDecodeResult
to_bytea(EdwReader *r, const EdwScalar *s, Datum *value)
{
	if (s->kind == EDW_SCALAR_TEXT)
	{
		resetStringInfo(&r->scratch2);
		if (!EdwDecodeBinary(r->modes->binary, s->text, s->len, &r->scratch2))
			return EdwBadValue(r, "bad_binary", ERRCODE_INVALID_TEXT_REPRESENTATION,
							   "the text is not what binary.handling.mode says");
		*value = make_varlena(r->scratch2.data, r->scratch2.len);
		return EDW_EVENT;
	}
	if (s->kind != EDW_SCALAR_BYTES)
		return EdwBadValue(r, "type_mismatch", ERRCODE_DATATYPE_MISMATCH,
						   "the source's value is not bytes");
	*value = make_varlena(s->text, s->len);
	return EDW_EVENT;
}

/*
 * bit(n) and bit varying(n). How many bits a source's bit varying had is not in the
 * message, so such a column is refused rather than guessed.
 */
static EdwDecodeResult
to_bit(EdwReader *r, EdwCodec *codec, const EdwScalar *s, Datum *value)
{
	EdwScalar	bits = *s;

	if (s->kind == EDW_SCALAR_BOOL)
	{
		bits.kind = EDW_SCALAR_BITS;
		bits.text = s->number ? "1" : "0";
		bits.len = 1;
	}
	if (bits.kind != EDW_SCALAR_BITS && bits.kind != EDW_SCALAR_TEXT)
		return EdwBadValue(r, "type_mismatch", ERRCODE_DATATYPE_MISMATCH,
						   "the source's value is not a string of bits");
	for (int i = 0; i < bits.len; i++)
		if (bits.text[i] != '0' && bits.text[i] != '1')
			return EdwBadValue(r, "type_mismatch", ERRCODE_INVALID_TEXT_REPRESENTATION,
							   "the source's value is not a string of bits");
	if (codec->type == BITOID ? bits.len != Max(codec->typmod, 1) :
		codec->typmod >= 0 && bits.len > codec->typmod)
		return EdwBadValue(r, "bit_length", ERRCODE_STRING_DATA_LENGTH_MISMATCH,
						   "%d bits do not fit the column", bits.len);
	bits.kind = EDW_SCALAR_TEXT;
	return EdwScalarByInput(r, codec, &bits, value);
}

EdwDecodeResult
EdwScalarToText(EdwReader *r, const EdwCodec *codec, const EdwScalar *s, Datum *value)
{
	const char *text;
	int			len;

	switch (codec->target)
	{
		case EDW_TO_BOOL:
			return to_bool(r, s, value);
		case EDW_TO_BYTEA:
			return to_bytea(r, s, value);
		case EDW_TO_BIT:
			return to_bit(r, unconstify(EdwCodec *, codec), s, value);
		default:
			break;
	}
	if (s->kind == EDW_SCALAR_JSON && !r->server_is_utf8)
	{
		text = pg_any_to_server(s->text, s->len, PG_UTF8);
		len = text == s->text ? s->len : (int) strlen(text);
	}
	else
		EdwScalarText(r, s, &text, &len);
	return to_text(r, codec, text, len, value);
}

/*
 * By the type's own input function, from the text form. May raise errors of class 22
 * (the caller's contract allows that). JSON inside of JSON is checked first,
 * because it is common.
 */
EdwDecodeResult
EdwScalarByInput(EdwReader *r, EdwCodec *codec, const EdwScalar *s, Datum *value)
{
	const char *text;
	int			len;
	char	   *cstr;

	if (codec->target == EDW_TO_JSON && s->kind != EDW_SCALAR_JSON &&
		s->kind != EDW_SCALAR_TEXT && s->kind != EDW_SCALAR_NUMBER &&
		s->kind != EDW_SCALAR_BOOL)
		return EdwBadValue(r, "type_mismatch", ERRCODE_DATATYPE_MISMATCH,
						   "the source's value is not JSON");
	EdwScalarText(r, s, &text, &len);
	if (codec->target == EDW_TO_JSON && s->kind == EDW_SCALAR_TEXT && r->server_is_utf8)
	{
		EdwJsonError error;

		if (r->inner == NULL)
			r->inner = EdwJsonCreate();
		if (r->inner == NULL)
			return EdwBadJson(r->reason, EDW_JSON_NO_MEMORY, "the value");
		error = EdwJsonLoad(r->inner, "", 0, text, len);
		if (error == EDW_JSON_OK && EdwJsonSkip(r->inner, 0, &error) != r->inner->ntokens &&
			error == EDW_JSON_OK)
			error = EDW_JSON_BAD_SYNTAX;
		if (error != EDW_JSON_OK)
			return EdwBadValue(r, error == EDW_JSON_TOO_DEEP ? "json_depth" : "bad_json",
							   ERRCODE_INVALID_TEXT_REPRESENTATION,
							   error == EDW_JSON_TOO_DEEP ? "the text's JSON is nested too deeply" :
							   "the text is not valid JSON");
	}
	cstr = pnstrdup(text, len);
	if (s->kind == EDW_SCALAR_JSON && !r->server_is_utf8)
		cstr = pg_any_to_server(cstr, len, PG_UTF8);
	*value = InputFunctionCall(&codec->input, cstr, codec->typioparam, codec->typmod);
	pfree(cstr);
	return EDW_EVENT;
}
