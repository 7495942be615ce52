/*
 * version_time.h
 *		Times of versions: the unit of a dimension's valid_from (timestamptz, timestamp or date) as an int64.
 */
#ifndef EDW_APPLY_VERSION_TIME_H
#define EDW_APPLY_VERSION_TIME_H

#include "postgres.h"

/* A time at the source (Unix µs) in the unit of the type. */
extern int64 EdwVersionTime(Oid type, int64 unix_us);

/* A value of the type in its unit, and back; EDW_TIMELINE_OPEN is infinity. */
extern int64 EdwVersionTimeOf(Oid type, Datum value);
extern Datum EdwVersionTimeDatum(Oid type, int64 at);

#endif							/* EDW_APPLY_VERSION_TIME_H */
