/*
 * stat.c
 *		edw_stream.view_stat (see stat.h).
 */
#include "postgres.h"

#include "view/stat.h"

#include "catalog/pg_type_d.h"
#include "pipeline/catalog_sql.h"

static EdwStatement stat_update = {
	"UPDATE edw_stream.view_stat SET refreshes = refreshes + 1,"
	" affected = affected + $2, refreshed = refreshed + $3, compared = compared + $4,"
	" inserted = inserted + $5, updated = updated + $6, deleted = deleted + $7,"
	" last_us = $8, total_us = total_us + $8, last_refresh = pg_catalog.clock_timestamp()"
	" WHERE view OPERATOR(pg_catalog.=) $1", 8,
	{OIDOID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID}, NULL
};

static EdwStatement stat_insert = {
	"INSERT INTO edw_stream.view_stat VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8, $8,"
	" pg_catalog.clock_timestamp())", 8,
	{OIDOID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID}, NULL
};

void
EdwViewStatAdd(Oid view, const EdwViewCounts *counts, int64 elapsed_us, Snapshot snapshot)
{
	EdwSql		sql;
	Datum		args[] = {
		ObjectIdGetDatum(view),
		Int64GetDatum(counts->affected),
		Int64GetDatum(counts->refreshed),
		Int64GetDatum(counts->compared),
		Int64GetDatum(counts->inserted),
		Int64GetDatum(counts->updated),
		Int64GetDatum(counts->deleted),
		Int64GetDatum(elapsed_us)
	};

	EdwSqlStart(&sql);
	if (EdwSqlRunUnder(&stat_update, args, snapshot) == 0)
		(void) EdwSqlRunUnder(&stat_insert, args, snapshot);
	EdwSqlFinish(&sql);
}
