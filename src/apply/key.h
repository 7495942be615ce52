/*
 * key.h
 *		A row's key as canonical bytes: equal keys, equal bytes.
 *
 * The bytes are what a batch folds by (O10), sorts by (so that two workers lock rows
 * in one order), what tombstones are kept under (O8) and what a dead letter says
 * its row is. They are stored, so they never change their meaning: an enum is its label,
 * not its OID. Integers, dates and times, floats and text of the C collation sort as
 * their type does; the others merely sort the same way everywhere.
 */
#ifndef EDW_APPLY_KEY_H
#define EDW_APPLY_KEY_H

#include "lib/stringinfo.h"

typedef enum EdwKeyKind
{
	EDW_KEY_UNSUPPORTED = 0,
	EDW_KEY_BOOL,
	EDW_KEY_CHAR,
	EDW_KEY_INT2,
	EDW_KEY_INT4,				/* and date */
	EDW_KEY_INT8,				/* and time, timestamp, timestamptz, money */
	EDW_KEY_OID,
	EDW_KEY_UINT8,				/* pg_lsn */
	EDW_KEY_FLOAT4,
	EDW_KEY_FLOAT8,
	EDW_KEY_TIMETZ,
	EDW_KEY_INTERVAL,
	EDW_KEY_NUMERIC,
	EDW_KEY_TEXT,				/* and varchar */
	EDW_KEY_BPCHAR,
	EDW_KEY_NAME,
	EDW_KEY_BYTEA,				/* and inet, cidr */
	EDW_KEY_UUID,
	EDW_KEY_MACADDR,
	EDW_KEY_ENUM
} EdwKeyKind;

/* How a type is written; type may be a domain. UNSUPPORTED for those that cannot be keys. */
extern EdwKeyKind EdwKeyKindOf(Oid type);

/* ERROR feature_not_supported unless a column of this type and collation can be in a key. */
extern void EdwKeyTypeCheck(Oid type, Oid collation, const char *column);

/* Append one column's bytes. value is not null. */
extern void EdwKeyAppend(StringInfo out, EdwKeyKind kind, Datum value);

#endif							/* EDW_APPLY_KEY_H */
