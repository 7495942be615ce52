/*
 * types_time.c
 *		Dates, times, timestamps and intervals (rule T2): integer arithmetic only.
 *
 * A timestamp without time zone that goes into one with is read as UTC, and the other
 * way about written as UTC: TimeZone is never asked. Digits finer than a microsecond, or
 * finer than the column's precision, must be zeros: nothing is rounded.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "decode/types.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#define US_PER_SECOND	INT64CONST(1000000)

/* Unix time of 2000-01-01 */
#define EPOCH_DAYS		(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE)
#define EPOCH_US		((int64) EPOCH_DAYS * USECS_PER_DAY)

/*
 * What Debezium's PostgreSQL connector writes for infinity, and how it comes out in
 * coarser and finer units.
 */
#define DEBEZIUM_PLUS_INFINITY	INT64CONST(9223372036825200000)
#define DEBEZIUM_MINUS_INFINITY	INT64CONST(-9223372036832400000)
#define DEBEZIUM_DATE_PLUS_INFINITY		INT64CONST(-2147472692)
#define DEBEZIUM_DATE_MINUS_INFINITY	INT64CONST(-2147472691)

/* a text that is taken apart from the left */
typedef struct Cursor
{
	const char *p;
	const char *end;
} Cursor;

static bool
take(Cursor *c, char wanted)
{
	if (c->p < c->end && *c->p == wanted)
	{
		c->p++;
		return true;
	}
	return false;
}

/* A number of min to max digits. */
static bool
take_digits(Cursor *c, int min, int max, int *value)
{
	int			n = 0;

	*value = 0;
	while (c->p < c->end && n < max && *c->p >= '0' && *c->p <= '9')
	{
		*value = *value * 10 + (*c->p++ - '0');
		n++;
	}
	return n >= min;
}

static bool
is_text(const char *text, int len, const char *word)
{
	return len == (int) strlen(word) && memcmp(text, word, len) == 0;
}

/* [+-]YYYY…-MM-DD, years as ISO counts them: 0000 is 1 BC. */
static bool
take_date(Cursor *c, int64 *pg_days)
{
	bool		negative = take(c, '-');
	int			year;
	int			month;
	int			day;
	int			last_day;

	if (!negative)
		take(c, '+');
	if (!take_digits(c, 4, 7, &year) || !take(c, '-') ||
		!take_digits(c, 2, 2, &month) || !take(c, '-') ||
		!take_digits(c, 2, 2, &day))
		return false;
	if (negative)
		year = -year;
	if (month < 1 || month > 12 || day < 1 || !IS_VALID_JULIAN(year, month, day))
		return false;
	last_day = day_tab[isleap(year)][month - 1];
	if (day > last_day)
		return false;
	*pg_days = date2j(year, month, day) - POSTGRES_EPOCH_JDATE;
	return true;
}

/* HH:MM[:SS[.fraction]], up to 24:00:00. *inexact: digits below a microsecond. */
static bool
take_time(Cursor *c, int64 *us, bool *inexact)
{
	int			hour;
	int			minute;
	int			second = 0;
	int64		fraction = 0;
	int64		unit = US_PER_SECOND;

	*inexact = false;
	if (!take_digits(c, 2, 2, &hour) || !take(c, ':') || !take_digits(c, 2, 2, &minute))
		return false;
	if (take(c, ':') && !take_digits(c, 2, 2, &second))
		return false;
	if (take(c, '.'))
	{
		if (c->p == c->end || *c->p < '0' || *c->p > '9')
			return false;
		for (; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++)
		{
			unit /= 10;
			if (unit == 0)
				*inexact |= *c->p != '0';
			else
				fraction += unit * (*c->p - '0');
		}
	}
	if (hour > 24 || minute > 59 || second > 59)
		return false;
	*us = ((int64) hour * 3600 + minute * 60 + second) * US_PER_SECOND + fraction;
	return *us <= USECS_PER_DAY;
}

/* Z or [+-]HH[[:]MM[[:]SS]]; nothing counts as Z. *zone is west of UTC. */
static bool
take_zone(Cursor *c, int32 *zone)
{
	int			hour;
	int			minute = 0;
	int			second = 0;
	bool		east;

	*zone = 0;
	if (c->p == c->end || take(c, 'Z'))
		return true;
	east = take(c, '+');
	if (!east && !take(c, '-'))
		return false;
	if (!take_digits(c, 2, 2, &hour))
		return false;
	if (c->p < c->end)
	{
		take(c, ':');
		if (!take_digits(c, 2, 2, &minute))
			return false;
	}
	if (c->p < c->end)
	{
		take(c, ':');
		if (!take_digits(c, 2, 2, &second))
			return false;
	}
	if (hour > 15 || minute > 59 || second > 59)
		return false;
	*zone = hour * 3600 + minute * 60 + second;
	if (east)
		*zone = -*zone;
	return true;
}

static EdwDecodeResult
bad_text(EdwReader *r, const char *text, int len, const char *what)
{
	if (len >= 10 && memcmp(text, "0000-00-00", 10) == 0)
		return EdwBadValue(r, "zero_date", ERRCODE_DATETIME_FIELD_OVERFLOW,
						   "the source has a zero date, which no PostgreSQL type can hold");
	return EdwBadValue(r, "bad_timestamp", ERRCODE_INVALID_DATETIME_FORMAT,
					   "\"%.*s\" is not %s in ISO form", Min(len, 40), text, what);
}

static EdwDecodeResult
too_precise(EdwReader *r, int digits)
{
	return EdwBadValue(r, "time_precision", ERRCODE_DATETIME_FIELD_OVERFLOW,
					   "the value has more than %d digits of a second; it is never rounded",
					   digits);
}

static EdwDecodeResult
out_of_range(EdwReader *r, const char *what)
{
	return EdwBadValue(r, "time_range", ERRCODE_DATETIME_FIELD_OVERFLOW,
					   "the value is out of range for %s", what);
}

/* ISO date, time and zone; the time may be missing. */
static EdwDecodeResult
read_timestamp_text(EdwReader *r, EdwEncoding encoding, const char *text, int len,
					EdwScalar *s)
{
	bool		is_zoned = encoding == EDW_ENC_TIMESTAMPTZ;
	Cursor		c = {text, text + len};
	int64		days;
	int64		us = 0;
	int32		zone = 0;
	bool		inexact = false;

	/* a time in UTC and one without a zone are the same number */
	s->kind = is_zoned ? EDW_SCALAR_TIMESTAMPTZ : EDW_SCALAR_TIMESTAMP;
	if (is_text(text, len, "infinity") || is_text(text, len, "Infinity"))
	{
		s->number = DT_NOEND;
		return EDW_EVENT;
	}
	if (is_text(text, len, "-infinity") || is_text(text, len, "-Infinity"))
	{
		s->number = DT_NOBEGIN;
		return EDW_EVENT;
	}
	if (!take_date(&c, &days))
		return bad_text(r, text, len, "a timestamp");
	if (c.p < c.end)
	{
		if (!(take(&c, 'T') || take(&c, ' ')) || !take_time(&c, &us, &inexact))
			return bad_text(r, text, len, "a timestamp");
		if (!take_zone(&c, &zone) || c.p < c.end)
			return bad_text(r, text, len, "a timestamp");
	}
	if (inexact)
		return too_precise(r, 6);
	if (pg_mul_s64_overflow(days, USECS_PER_DAY, &s->number) ||
		pg_add_s64_overflow(s->number, us + zone * US_PER_SECOND, &s->number) ||
		!IS_VALID_TIMESTAMP(s->number))
		return out_of_range(r, "timestamp");
	return EDW_EVENT;
}

static EdwDecodeResult
read_time_text(EdwReader *r, EdwEncoding encoding, const char *text, int len, EdwScalar *s)
{
	Cursor		c = {text, text + len};
	bool		inexact;

	if (!take_time(&c, &s->number, &inexact) || !take_zone(&c, &s->zone) || c.p < c.end)
		return bad_text(r, text, len, "a time");
	s->kind = encoding == EDW_ENC_TIMETZ || s->zone != 0 ? EDW_SCALAR_TIMETZ : EDW_SCALAR_TIME;
	return inexact ? too_precise(r, 6) : EDW_EVENT;
}

static EdwDecodeResult
read_date_text(EdwReader *r, const char *text, int len, EdwScalar *s)
{
	Cursor		c = {text, text + len};

	s->kind = EDW_SCALAR_DATE;
	if (is_text(text, len, "infinity"))
		s->number = DATEVAL_NOEND;
	else if (is_text(text, len, "-infinity"))
		s->number = DATEVAL_NOBEGIN;
	else if (!take_date(&c, &s->number))
		return bad_text(r, text, len, "a date");
	else
	{
		/* ISO dates may carry a zone; it says nothing about a date */
		if (c.p < c.end && !(take(&c, 'Z') && c.p == c.end))
			return read_timestamp_text(r, EDW_ENC_TIMESTAMP, text, len, s);
		if (!IS_VALID_DATE(s->number))
			return out_of_range(r, "date");
	}
	return EDW_EVENT;
}

/* A count of units into microseconds: exact, or an error. */
static EdwDecodeResult
to_microseconds(EdwReader *r, int64 number, int64 per_second, int64 *us)
{
	if (per_second <= US_PER_SECOND)
	{
		if (pg_mul_s64_overflow(number, US_PER_SECOND / per_second, us))
			return out_of_range(r, "timestamp");
		return EDW_EVENT;
	}
	if (number % (per_second / US_PER_SECOND) != 0)
		return too_precise(r, 6);
	*us = number / (per_second / US_PER_SECOND);
	return EDW_EVENT;
}

/* Is this count one of the constants for infinity? */
static bool
is_infinity(int64 number, int64 per_second, int64 constant, int64 limit)
{
	if (per_second > US_PER_SECOND)
		return number == limit;
	return number == constant / (US_PER_SECOND / per_second) ||
		(per_second < US_PER_SECOND && number == constant);
}

static EdwDecodeResult
read_timestamp_number(EdwReader *r, const EdwFieldType *type, int64 number, EdwScalar *s)
{
	EdwDecodeResult result;

	/* with a number, a source that has a zone has sent UTC */
	s->kind = type->encoding == EDW_ENC_TIMESTAMPTZ ? EDW_SCALAR_TIMESTAMPTZ : EDW_SCALAR_TIMESTAMP;
	if (is_infinity(number, type->per_second, DEBEZIUM_PLUS_INFINITY, PG_INT64_MAX))
		s->number = DT_NOEND;
	else if (is_infinity(number, type->per_second, DEBEZIUM_MINUS_INFINITY, PG_INT64_MIN))
		s->number = DT_NOBEGIN;
	else
	{
		result = to_microseconds(r, number, type->per_second, &s->number);
		if (result != EDW_EVENT)
			return result;
		if (pg_sub_s64_overflow(s->number, EPOCH_US, &s->number) ||
			!IS_VALID_TIMESTAMP(s->number))
			return out_of_range(r, "timestamp");
	}
	return EDW_EVENT;
}

/*
 * A value of one of the temporal encodings: text of a JSON string or number, into a
 * scalar.
 */
EdwDecodeResult
EdwReadTemporal(EdwReader *r, const EdwFieldType *type, const char *text, int len,
				bool is_number, EdwScalar *s)
{
	int64		number;

	if (!is_number)
	{
		switch (type->encoding)
		{
			case EDW_ENC_DATE:
				return read_date_text(r, text, len, s);
			case EDW_ENC_TIME:
			case EDW_ENC_TIMETZ:
				return read_time_text(r, type->encoding, text, len, s);
			case EDW_ENC_INTERVAL:
				s->kind = EDW_SCALAR_TEXT;
				s->text = text;
				s->len = len;
				return EDW_EVENT;
			default:
				return read_timestamp_text(r, type->encoding, text, len, s);
		}
	}

	if (type->per_second == 0)
	{
		EdwBadValue(r, "temporal_number", ERRCODE_DATATYPE_MISMATCH,
					"a number says nothing about a time until its unit is known");
		snprintf(r->reason->hint, sizeof(r->reason->hint),
				 "Set the stream's option \"time.precision.mode\" to connect (milliseconds), microseconds or nanoseconds.");
		return EDW_BAD;
	}
	if (!EdwParseInt64(text, len, &number))
		return EdwBadValue(r, "time_range", ERRCODE_DATETIME_FIELD_OVERFLOW,
						   "%.*s is not a 64-bit integer", Min(len, 40), text);
	switch (type->encoding)
	{
		case EDW_ENC_DATE:
			s->kind = EDW_SCALAR_DATE;
			if (number == DEBEZIUM_DATE_PLUS_INFINITY)
				s->number = DATEVAL_NOEND;
			else if (number == DEBEZIUM_DATE_MINUS_INFINITY)
				s->number = DATEVAL_NOBEGIN;
			else if (number < PG_INT32_MIN || number > PG_INT32_MAX ||
					 !IS_VALID_DATE(number - EPOCH_DAYS))
				return out_of_range(r, "date");
			else
				s->number = number - EPOCH_DAYS;
			return EDW_EVENT;
		case EDW_ENC_TIME:
			s->kind = EDW_SCALAR_TIME;
			return to_microseconds(r, number, type->per_second, &s->number);
		case EDW_ENC_INTERVAL:
			s->kind = EDW_SCALAR_INTERVAL;
			return to_microseconds(r, number, type->per_second, &s->number);
		case EDW_ENC_TIMETZ:
			return EdwBadValue(r, "type_mismatch", ERRCODE_DATATYPE_MISMATCH,
							   "a time with time zone is wanted as text");
		default:
			return read_timestamp_number(r, type, number, s);
	}
}

/* Does a count of µs fit a precision without rounding? */
static bool
fits_precision(int64 us, int32 typmod)
{
	static const int64 units[] = {1000000, 100000, 10000, 1000, 100, 10, 1};

	return typmod < 0 || typmod > 6 || us % units[typmod] == 0;
}

static EdwDecodeResult
mismatch(EdwReader *r, const char *wanted)
{
	return EdwBadValue(r, "type_mismatch", ERRCODE_DATATYPE_MISMATCH,
					   "the source's value cannot become %s without loss", wanted);
}

static EdwDecodeResult
make_timestamp_datum(EdwReader *r, const EdwCodec *codec, const EdwScalar *s, Datum *value)
{
	int64		us;

	switch (s->kind)
	{
		case EDW_SCALAR_TIMESTAMP:
		case EDW_SCALAR_TIMESTAMPTZ:
			us = s->number;
			break;
		case EDW_SCALAR_DATE:
			if (s->number == DATEVAL_NOBEGIN)
				us = DT_NOBEGIN;
			else if (s->number == DATEVAL_NOEND)
				us = DT_NOEND;
			else if (pg_mul_s64_overflow(s->number, USECS_PER_DAY, &us) || !IS_VALID_TIMESTAMP(us))
				return out_of_range(r, "timestamp");
			break;
		default:
			return mismatch(r, "a timestamp");
	}
	if (!TIMESTAMP_NOT_FINITE(us) && !fits_precision(us, codec->typmod))
		return too_precise(r, codec->typmod);
	*value = TimestampGetDatum(us);
	return EDW_EVENT;
}

static EdwDecodeResult
make_date_datum(EdwReader *r, const EdwScalar *s, Datum *value)
{
	if (s->kind == EDW_SCALAR_DATE)
	{
		*value = DateADTGetDatum((DateADT) s->number);
		return EDW_EVENT;
	}
	if (s->kind == EDW_SCALAR_TIMESTAMP || s->kind == EDW_SCALAR_TIMESTAMPTZ)
	{
		if (TIMESTAMP_IS_NOBEGIN(s->number))
			*value = DateADTGetDatum(DATEVAL_NOBEGIN);
		else if (TIMESTAMP_IS_NOEND(s->number))
			*value = DateADTGetDatum(DATEVAL_NOEND);
		else if (s->number % USECS_PER_DAY == 0)
			*value = DateADTGetDatum((DateADT) (s->number / USECS_PER_DAY));
		else
			return mismatch(r, "a date");
		return EDW_EVENT;
	}
	return mismatch(r, "a date");
}

static EdwDecodeResult
make_time_datum(EdwReader *r, const EdwCodec *codec, const EdwScalar *s, Datum *value)
{
	TimeTzADT  *timetz;

	if (s->kind != EDW_SCALAR_TIME &&
		!(s->kind == EDW_SCALAR_TIMETZ && (codec->target == EDW_TO_TIMETZ || s->zone == 0)))
		return mismatch(r, "a time");
	if (s->number < 0 || s->number > USECS_PER_DAY)
		return out_of_range(r, "time");
	if (!fits_precision(s->number, codec->typmod))
		return too_precise(r, codec->typmod);
	if (codec->target == EDW_TO_TIME)
	{
		*value = TimeADTGetDatum(s->number);
		return EDW_EVENT;
	}
	timetz = palloc(sizeof(TimeTzADT));
	timetz->time = s->number;
	timetz->zone = s->zone;
	*value = TimeTzADTPGetDatum(timetz);
	return EDW_EVENT;
}

static EdwDecodeResult
make_interval_datum(EdwReader *r, EdwCodec *codec, const EdwScalar *s, Datum *value)
{
	Interval   *interval;

	if (s->kind == EDW_SCALAR_TEXT)
		return EdwScalarByInput(r, codec, s, value);
	/* MySQL's TIME goes from -838 to 838 hours: an interval by nature */
	if (s->kind != EDW_SCALAR_INTERVAL && s->kind != EDW_SCALAR_TIME)
		return mismatch(r, "an interval");
	if (codec->typmod >= 0)
	{
		EdwScalar	text = {.kind = EDW_SCALAR_TEXT};

		EdwScalarText(r, s, &text.text, &text.len);
		return EdwScalarByInput(r, codec, &text, value);
	}
	interval = palloc0(sizeof(Interval));
	interval->time = s->number;
	*value = IntervalPGetDatum(interval);
	return EDW_EVENT;
}

EdwDecodeResult
EdwScalarToTemporal(EdwReader *r, EdwCodec *codec, const EdwScalar *s, Datum *value)
{
	EdwScalar	parsed = {.kind = EDW_SCALAR_TEXT};
	EdwFieldType type = {.encoding = EDW_ENC_TIMESTAMP};
	EdwDecodeResult result;

	/* text whose encoding did not say that it is a time: the column does */
	if (s->kind == EDW_SCALAR_TEXT && codec->target != EDW_TO_INTERVAL)
	{
		if (codec->target == EDW_TO_DATE)
			type.encoding = EDW_ENC_DATE;
		else if (codec->target == EDW_TO_TIME || codec->target == EDW_TO_TIMETZ)
			type.encoding = EDW_ENC_TIME;
		result = EdwReadTemporal(r, &type, s->text, s->len, false, &parsed);
		if (result != EDW_EVENT)
			return result;
		s = &parsed;
	}
	switch (codec->target)
	{
		case EDW_TO_DATE:
			return make_date_datum(r, s, value);
		case EDW_TO_TIME:
		case EDW_TO_TIMETZ:
			return make_time_datum(r, codec, s, value);
		case EDW_TO_INTERVAL:
			return make_interval_datum(r, codec, s, value);
		default:
			return make_timestamp_datum(r, codec, s, value);
	}
}
