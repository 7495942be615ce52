/*
 * version_time.c
 *		Times of versions as numbers (see version_time.h). Pure.
 */
#include "apply/version_time.h"

#include "apply/timeline.h"
#include "catalog/pg_type.h"
#include "utils/date.h"
#include "utils/timestamp.h"

#define EPOCH_DIFFERENCE_US \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

int64
EdwVersionTime(Oid type, int64 unix_us)
{
	int64		at = unix_us - EPOCH_DIFFERENCE_US;

	if (type != DATEOID)
		return at;
	return at >= 0 ? at / USECS_PER_DAY : -((-at + USECS_PER_DAY - 1) / USECS_PER_DAY);
}

int64
EdwVersionTimeOf(Oid type, Datum value)
{
	DateADT		date;

	if (type != DATEOID)
		return DatumGetInt64(value);
	date = DatumGetDateADT(value);
	if (DATE_IS_NOEND(date))
		return EDW_TIMELINE_OPEN;
	return DATE_IS_NOBEGIN(date) ? PG_INT64_MIN : date;
}

Datum
EdwVersionTimeDatum(Oid type, int64 at)
{
	DateADT		date;

	if (type != DATEOID)
		return Int64GetDatum(at);
	if (at == EDW_TIMELINE_OPEN)
		DATE_NOEND(date);
	else if (at == PG_INT64_MIN)
		DATE_NOBEGIN(date);
	else
		date = (DateADT) at;
	return DateADTGetDatum(date);
}
