/*
 * types_number.c
 *		Integers, numerics and floating point, exactly or not at all (rule T1).
 *
 * A decimal that fits goes through an int64 and its scale straight into a
 * numeric; anything longer through its digits as text, after its size was checked
 * against the column: numeric_in would round what has too many fraction digits.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "common/int.h"
#include "decode/digits.h"
#include "decode/types.h"
#include "utils/builtins.h"
#include "utils/cash.h"
#include "utils/numeric.h"

static const int64 powers_of_ten[] = {
	INT64CONST(1), INT64CONST(10), INT64CONST(100), INT64CONST(1000),
	INT64CONST(10000), INT64CONST(100000), INT64CONST(1000000),
	INT64CONST(10000000), INT64CONST(100000000), INT64CONST(1000000000),
	INT64CONST(10000000000), INT64CONST(100000000000),
	INT64CONST(1000000000000), INT64CONST(10000000000000),
	INT64CONST(100000000000000), INT64CONST(1000000000000000),
	INT64CONST(10000000000000000), INT64CONST(100000000000000000),
	INT64CONST(1000000000000000000)
};

#define MAX_POWER	18

/* a number's shape: how many digits stand where, without useless zeros */
typedef struct Shape
{
	bool		is_zero;
	bool		negative;
	int64		integer_digits; /* may be negative: 0.001 has -2 */
	int64		fraction_digits;
} Shape;

/* "at most" excerpt of a value for messages */
#define EXCERPT(s)	Min((s)->len, 40), (s)->text

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* A plain integer: optional sign, digits, nothing else. */
bool
EdwParseInt64(const char *text, int len, int64 *result)
{
	const char *p = text;
	const char *end = text + len;
	bool		negative = false;
	uint64		value = 0;

	if (p < end && *p == '-')
	{
		negative = true;
		p++;
	}
	if (p == end || end - p > 19)
		return false;
	if (EdwReadDigits(p, end, &value) != end)
		return false;
	if (value > (uint64) PG_INT64_MAX + (negative ? 1 : 0))
		return false;
	*result = negative ? (int64) (0 - value) : (int64) value;
	return true;
}

/* [-]digits[.digits] of at most 18 digits in all: false for anything else. */
static bool
parse_small_decimal(const char *text, int len, int64 *unscaled, int *scale)
{
	int			i = 0;
	int			digits = 0;
	bool		negative = false;
	bool		point = false;
	int64		value = 0;

	*scale = 0;
	if (i < len && text[i] == '-')
	{
		negative = true;
		i++;
	}
	for (; i < len; i++)
	{
		if (text[i] == '.' && !point)
		{
			point = true;
			continue;
		}
		if (!is_digit(text[i]) || ++digits > MAX_POWER)
			return false;
		value = value * 10 + (text[i] - '0');
		if (point)
			(*scale)++;
	}
	*unscaled = negative ? -value : value;
	return digits > 0;
}

/* The shape of [+-]digits[.digits][e[+-]digits]; false when it is no number. */
static bool
parse_shape(const char *text, int len, Shape *shape)
{
	int			i = 0;
	int64		position = 0;	/* of the next digit, left of the point positive */
	int64		exponent = 0;
	int64		first = 0;
	int64		last = 0;
	int			ndigits = 0;
	bool		point = false;

	memset(shape, 0, sizeof(Shape));
	shape->is_zero = true;
	if (i < len && (text[i] == '-' || text[i] == '+'))
		shape->negative = text[i++] == '-';
	/* positions count down from 0; the point's place is known later */
	for (; i < len && text[i] != 'e' && text[i] != 'E'; i++)
	{
		if (text[i] == '.' && !point)
		{
			point = true;
			exponent = -position;
			continue;
		}
		if (!is_digit(text[i]))
			return false;
		ndigits++;
		if (text[i] != '0')
		{
			if (shape->is_zero)
				first = position;
			last = position;
			shape->is_zero = false;
		}
		position--;
	}
	if (ndigits == 0)
		return false;
	if (!point)
		exponent = -position;
	if (i < len)
	{
		int64		e;

		i++;
		if (i < len && text[i] == '+')
			i++;
		if (len - i > 9 || !EdwParseInt64(text + i, len - i, &e))
			return false;
		exponent += e;
	}
	if (!shape->is_zero)
	{
		shape->integer_digits = exponent + first;
		shape->fraction_digits = Max(1 - (exponent + last), 0);
	}
	return true;
}

static EdwDecodeResult
mismatch(EdwReader *r, const EdwScalar *s, const char *wanted)
{
	static const char *const names[] = {
		"a boolean", "a number", "a floating point number", "a decimal", "text",
		"a date", "a time", "a time with time zone", "a timestamp",
		"a timestamp with time zone", "an interval", "bytes", "bits", "JSON"
	};

	return EdwBadValue(r, "type_mismatch", ERRCODE_DATATYPE_MISMATCH,
					   "%s cannot become %s", names[s->kind], wanted);
}

static EdwDecodeResult
int_overflow(EdwReader *r, const EdwCodec *codec, const char *text, int len)
{
	return EdwBadValue(r, "number_overflow", ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
					   "%.*s does not fit into %s", Min(len, 40), text,
					   codec->int_max == PG_INT16_MAX ? "smallint" :
					   codec->int_max == PG_INT32_MAX ? "integer" : "bigint");
}

static void
set_int(const EdwCodec *codec, int64 number, Datum *value)
{
	if (codec->int_max == PG_INT16_MAX)
		*value = Int16GetDatum((int16) number);
	else if (codec->int_max == PG_INT32_MAX)
		*value = Int32GetDatum((int32) number);
	else
		*value = Int64GetDatum(number);
}

/* An integer from anything with an integral value. */
EdwDecodeResult
EdwScalarToInt(EdwReader *r, const EdwCodec *codec, const EdwScalar *s, Datum *value)
{
	int64		number;
	int			scale = 0;
	Shape		shape;
	char		text[64];

	switch (s->kind)
	{
		case EDW_SCALAR_NUMBER:
		case EDW_SCALAR_TEXT:
			if (EdwParseInt64(s->text, s->len, &number))
				break;
			if (!parse_shape(s->text, s->len, &shape))
				return EdwBadValue(r, "type_mismatch", ERRCODE_INVALID_TEXT_REPRESENTATION,
								   "\"%.*s\" is not an integer", EXCERPT(s));
			if (shape.fraction_digits > 0)
				return EdwBadValue(r, "not_integral", ERRCODE_INVALID_TEXT_REPRESENTATION,
								   "%.*s is not an integer", EXCERPT(s));
			if (shape.integer_digits > 19)
				return int_overflow(r, codec, s->text, s->len);
			/* integral, but written with a point or exponent: numeric reads it */
			{
				char	   *cstr = pnstrdup(s->text, s->len);
				Datum		numeric = DirectFunctionCall3(numeric_in, CStringGetDatum(cstr),
														  ObjectIdGetDatum(InvalidOid),
														  Int32GetDatum(-1));
				bool		overflow = false;
				Datum		limits[2];

				limits[0] = NumericGetDatum(int64_to_numeric(codec->int_min));
				limits[1] = NumericGetDatum(int64_to_numeric(codec->int_max));
				overflow = DatumGetBool(DirectFunctionCall2(numeric_lt, numeric, limits[0])) ||
					DatumGetBool(DirectFunctionCall2(numeric_gt, numeric, limits[1]));
				if (overflow)
					return int_overflow(r, codec, s->text, s->len);
				number = DatumGetInt64(DirectFunctionCall1(numeric_int8, numeric));
			}
			break;
		case EDW_SCALAR_FLOAT:
			if (isnan(s->real) || isinf(s->real) || s->real != floor(s->real))
				return EdwBadValue(r, "not_integral", ERRCODE_INVALID_TEXT_REPRESENTATION,
								   "%.*s is not an integer", EXCERPT(s));
			if (s->real < -9223372036854775808.0 || s->real >= 9223372036854775808.0)
				return int_overflow(r, codec, s->text, s->len);
			number = (int64) s->real;
			break;
		case EDW_SCALAR_INT_DECIMAL:
			number = s->number;
			for (scale = s->scale; scale > 0 && number % 10 == 0; scale--)
				number /= 10;
			if (number != 0 && scale > 0)
				return EdwBadValue(r, "not_integral", ERRCODE_INVALID_TEXT_REPRESENTATION,
								   "a decimal with digits after the point is not an integer");
			break;
		default:
			return mismatch(r, s, "an integer");
	}

	if (number < codec->int_min || number > codec->int_max)
	{
		snprintf(text, sizeof(text), INT64_FORMAT, number);
		return int_overflow(r, codec, text, (int) strlen(text));
	}
	set_int(codec, number, value);
	return EDW_EVENT;
}

static EdwDecodeResult
scale_exceeded(EdwReader *r, const EdwCodec *codec)
{
	return EdwBadValue(r, "numeric_scale", ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
					   "the value has more than the %d fraction digits of numeric(%d,%d); it is never rounded",
					   codec->scale, codec->precision, codec->scale);
}

static EdwDecodeResult
precision_exceeded(EdwReader *r, const EdwCodec *codec)
{
	if (codec->precision < 0)
		return EdwBadValue(r, "numeric_overflow", ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
						   "the value does not fit into numeric");
	return EdwBadValue(r, "numeric_overflow", ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
					   "the value does not fit into numeric(%d,%d)",
					   codec->precision, codec->scale);
}

/*
 * The fast way: bring the number to the column's scale in 64 bits. False when
 * it does not fit; then the digits decide.
 */
static bool
small_numeric(const EdwCodec *codec, int64 unscaled, int scale, Datum *value,
			  bool *scale_error)
{
	*scale_error = false;
	if (codec->precision >= 0)
	{
		if (codec->scale < 0 || codec->scale > MAX_POWER)
			return false;
		for (; scale > codec->scale; scale--)
		{
			if (unscaled % 10 != 0)
			{
				*scale_error = true;
				return false;
			}
			unscaled /= 10;
		}
		if (scale < codec->scale)
		{
			if (pg_mul_s64_overflow(unscaled, powers_of_ten[codec->scale - scale], &unscaled))
				return false;
			scale = codec->scale;
		}
		if (codec->precision <= MAX_POWER &&
			(unscaled >= powers_of_ten[codec->precision] ||
			 unscaled <= -powers_of_ten[codec->precision]))
			return false;
	}
	else if (scale > EDW_NUMERIC_FRACTION_DIGITS)
		return false;
	*value = NumericGetDatum(int64_div_fast_to_numeric(unscaled, scale));
	return true;
}

/* Any length: text into numeric, after its shape was found to fit. */
static EdwDecodeResult
numeric_from_text(EdwReader *r, const EdwCodec *codec, const char *text, int len,
				  Datum *value)
{
	Shape		shape;
	char	   *cstr;

	if (!parse_shape(text, len, &shape))
	{
		bool		nan = len == 3 && memcmp(text, "NaN", 3) == 0;
		bool		infinite = (len == 8 && memcmp(text, "Infinity", 8) == 0) ||
			(len == 9 && memcmp(text, "-Infinity", 9) == 0);

		if (!nan && !infinite)
			return EdwBadValue(r, "type_mismatch", ERRCODE_INVALID_TEXT_REPRESENTATION,
							   "\"%.*s\" is not a number", Min(len, 40), text);
		if (infinite && codec->precision >= 0)
			return precision_exceeded(r, codec);
	}
	else if (!shape.is_zero)
	{
		if (shape.integer_digits > EDW_NUMERIC_INTEGER_DIGITS ||
			shape.fraction_digits > EDW_NUMERIC_FRACTION_DIGITS)
			return precision_exceeded(r, codec);
		if (codec->precision >= 0)
		{
			/* a negative scale wants zeros before the point: -2 means hundreds */
			if (shape.fraction_digits > Max(codec->scale, 0))
				return scale_exceeded(r, codec);
			if (shape.integer_digits > codec->precision - codec->scale)
				return precision_exceeded(r, codec);
		}
	}
	else if (len > 64)
	{
		text = "0";
		len = 1;
	}

	cstr = pnstrdup(text, len);
	*value = DirectFunctionCall3(numeric_in, CStringGetDatum(cstr),
								 ObjectIdGetDatum(InvalidOid),
								 Int32GetDatum(codec->target == EDW_TO_NUMERIC ? codec->typmod : -1));
	if (codec->precision >= 0 && codec->scale < 0)
	{
		Datum		exact = DirectFunctionCall3(numeric_in, CStringGetDatum(cstr),
												ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));

		if (!DatumGetBool(DirectFunctionCall2(numeric_eq, exact, *value)))
			return scale_exceeded(r, codec);
	}
	pfree(cstr);
	return EDW_EVENT;
}

/* money counts hundredths (or what lc_monetary has): never rounded either */
static EdwDecodeResult
numeric_to_money(EdwReader *r, Datum numeric, Datum *value)
{
	Datum		back;
	Datum		limit = NumericGetDatum(int64_div_fast_to_numeric(PG_INT64_MAX, 4));
	Datum		magnitude = DirectFunctionCall1(numeric_abs, numeric);

	if (numeric_is_nan(DatumGetNumeric(numeric)) ||
		DatumGetBool(DirectFunctionCall2(numeric_gt, magnitude, limit)))
		return EdwBadValue(r, "numeric_overflow", ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
						   "the value does not fit into money");
	*value = DirectFunctionCall1(numeric_cash, numeric);
	back = DirectFunctionCall1(cash_numeric, *value);
	if (!DatumGetBool(DirectFunctionCall2(numeric_eq, back, numeric)))
		return EdwBadValue(r, "numeric_scale", ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
						   "the value has more fraction digits than money; it is never rounded");
	return EDW_EVENT;
}

/* numeric, and money by way of numeric */
EdwDecodeResult
EdwScalarToNumeric(EdwReader *r, const EdwCodec *codec, const EdwScalar *s, Datum *value)
{
	EdwCodec	unconstrained;
	int64		unscaled;
	int			scale;
	bool		scale_error;
	EdwDecodeResult result;
	const char *text;
	int			len;

	if (codec->target == EDW_TO_MONEY)
	{
		Datum		numeric;

		unconstrained = *codec;
		unconstrained.target = EDW_TO_NUMERIC;
		unconstrained.typmod = -1;
		unconstrained.precision = -1;
		result = EdwScalarToNumeric(r, &unconstrained, s, &numeric);
		return result == EDW_EVENT ? numeric_to_money(r, numeric, value) : result;
	}

	switch (s->kind)
	{
		case EDW_SCALAR_INT_DECIMAL:
			unscaled = s->number;
			scale = s->scale;
			break;
		case EDW_SCALAR_NUMBER:
		case EDW_SCALAR_TEXT:
		case EDW_SCALAR_FLOAT:
			/* a floating point number's text is its exact decimal meaning in JSON */
			if (!parse_small_decimal(s->text, s->len, &unscaled, &scale))
				return numeric_from_text(r, codec, s->text, s->len, value);
			break;
		default:
			return mismatch(r, s, "a number");
	}
	if (small_numeric(codec, unscaled, scale, value, &scale_error))
		return EDW_EVENT;
	if (scale_error)
		return scale_exceeded(r, codec);
	EdwScalarText(r, s, &text, &len);
	return numeric_from_text(r, codec, text, len, value);
}

/*
 * The nearest float to a decimal text, or the specials as Debezium and
 * PostgreSQL spell them. False when it is no number or out of range. lc_numeric is
 * always C in a backend.
 */
bool
EdwParseFloat(const char *text, int len, bool is_float4, double *result)
{
	char		buffer[512];
	char	   *end;
	Shape		shape;

	if ((len == 3 && memcmp(text, "NaN", 3) == 0))
		*result = (double) NAN;
	else if ((len == 8 && memcmp(text, "Infinity", 8) == 0))
		*result = (double) INFINITY;
	else if ((len == 9 && memcmp(text, "-Infinity", 9) == 0))
		*result = -(double) INFINITY;
	else
	{
		if (len >= (int) sizeof(buffer) || !parse_shape(text, len, &shape))
			return false;
		memcpy(buffer, text, len);
		buffer[len] = '\0';
		*result = is_float4 ? (double) strtof(buffer, &end) : strtod(buffer, &end);
		if (*end != '\0' || isinf(*result))
			return false;
		/* what became zero but is not was lost */
		if (*result == 0 && !shape.is_zero)
			return false;
	}
	return true;
}

/* float4 and float8. A float8 that float4 cannot hold exactly is refused. */
EdwDecodeResult
EdwScalarToFloat(EdwReader *r, const EdwCodec *codec, const EdwScalar *s, Datum *value)
{
	bool		to_float4 = codec->target == EDW_TO_FLOAT4;
	double		real;
	const char *text;
	int			len;

	switch (s->kind)
	{
		case EDW_SCALAR_FLOAT:
			real = s->real;
			if (to_float4 && !s->is_float4 && !isnan(real) && (double) (float) real != real)
				return EdwBadValue(r, "float_precision", ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
								   "%.*s loses digits in a real; it is never rounded", EXCERPT(s));
			break;
		case EDW_SCALAR_NUMBER:
		case EDW_SCALAR_TEXT:
		case EDW_SCALAR_INT_DECIMAL:
			EdwScalarText(r, s, &text, &len);
			if (!EdwParseFloat(text, len, to_float4, &real))
				return EdwBadValue(r, "number_overflow", ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
								   "\"%.*s\" is not a floating point number in range",
								   Min(len, 40), text);
			break;
		default:
			return mismatch(r, s, "a floating point number");
	}
	if (to_float4)
		*value = Float4GetDatum((float4) real);
	else
		*value = Float8GetDatum(real);
	return EDW_EVENT;
}
