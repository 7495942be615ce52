/*
 * state.c
 *		Rows of edw_stream.view (see state.h).
 *
 * A trigger on that table makes all processes load definitions anew (definition.c).
 */
#include "postgres.h"

#include "view/state.h"

#include "catalog/pg_type.h"
#include "pipeline/catalog_sql.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "worker/slots.h"

static EdwStatement any_view = {"SELECT FROM edw_stream.view LIMIT 1", 0, {0}, NULL};

static EdwStatement views_among = {
	"SELECT view FROM edw_stream.view WHERE view = ANY ($1)", 1, {OIDARRAYOID}, NULL
};

static EdwStatement bases_of = {
	"SELECT base FROM edw_stream.view_base WHERE view = $1", 1, {OIDOID}, NULL
};

static EdwStatement mark = {
	"UPDATE edw_stream.view SET reason = $2, message = $3, hint = $4 WHERE view = $1",
	4, {OIDOID, TEXTOID, TEXTOID, TEXTOID}, NULL
};

static EdwStatement unmark = {
	"UPDATE edw_stream.view SET reason = NULL, message = NULL, hint = NULL"
	" WHERE view = $1 AND reason = $2", 2, {OIDOID, TEXTOID}, NULL
};

static EdwStatement rename_column = {
	"UPDATE edw_stream.view SET partition_by = pg_catalog.array_replace(partition_by, $2::name, $3::name)"
	" WHERE view = $1 AND $2::name = ANY (partition_by)", 3, {OIDOID, TEXTOID, TEXTOID}, NULL
};

static EdwStatement forget_pending = {
	"DELETE FROM edw_stream.view_pending WHERE view = $1", 1, {OIDOID}, NULL
};

static EdwStatement forget_groups = {
	"DELETE FROM edw_stream.view_group WHERE view = $1", 1, {OIDOID}, NULL
};

static EdwStatement forget_bases = {
	"DELETE FROM edw_stream.view_base WHERE view = $1", 1, {OIDOID}, NULL
};

static EdwStatement forget_stat = {
	"DELETE FROM edw_stream.view_stat WHERE view = $1", 1, {OIDOID}, NULL
};

static EdwStatement forget_view = {
	"DELETE FROM edw_stream.view WHERE view = $1", 1, {OIDOID}, NULL
};

static bool
run(EdwStatement *statement, Datum *args)
{
	EdwSql		sql;
	bool		found;

	EdwSqlStart(&sql);
	found = EdwSqlRun(statement, args, NULL) > 0;
	EdwSqlFinish(&sql);
	return found;
}

bool
EdwViewsExist(void)
{
	EdwSql		sql;
	bool		found;

	EdwSqlStart(&sql);
	found = EdwSqlRunUnder(&any_view, NULL, GetLatestSnapshot()) > 0;
	EdwSqlFinish(&sql);
	return found;
}

Datum
EdwOidArray(List *oids)
{
	Datum	   *values = palloc(sizeof(Datum) * (list_length(oids) + 1));
	ListCell   *lc;

	foreach(lc, oids)
		values[foreach_current_index(lc)] = ObjectIdGetDatum(lfirst_oid(lc));
	return PointerGetDatum(construct_array(values, list_length(oids), OIDOID, sizeof(Oid), true,
										   TYPALIGN_INT));
}

List *
EdwViewsAmong(List *relids)
{
	Datum		args[1] = {EdwOidArray(relids)};

	return EdwSqlFetchOids(&views_among, args, GetLatestSnapshot());
}

bool
EdwViewIsRegistered(Oid view)
{
	return EdwViewsAmong(list_make1_oid(view)) != NIL;
}

List *
EdwViewBasesRecorded(Oid view)
{
	Datum		args[1] = {ObjectIdGetDatum(view)};

	return EdwSqlFetchOids(&bases_of, args, GetLatestSnapshot());
}

void
EdwViewMark(Oid view, const char *reason, const char *message, const char *hint)
{
	Datum		args[] = {
		ObjectIdGetDatum(view),
		CStringGetTextDatum(reason),
		CStringGetTextDatum(message),
		CStringGetTextDatum(hint)
	};

	(void) run(&mark, args);
}

bool
EdwViewUnmark(Oid view, const char *reason)
{
	Datum		args[] = {ObjectIdGetDatum(view), CStringGetTextDatum(reason)};
	bool		found = run(&unmark, args);

	if (found)
		EdwWakeRefresherAtCommit();
	return found;
}

void
EdwViewColumnRenamed(Oid view, const char *old, const char *new)
{
	Datum		args[] = {ObjectIdGetDatum(view), CStringGetTextDatum(old), CStringGetTextDatum(new)};

	(void) run(&rename_column, args);
}

void
EdwViewForget(Oid view)
{
	Datum		args[1] = {ObjectIdGetDatum(view)};

	(void) run(&forget_pending, args);
	(void) run(&forget_groups, args);
	(void) run(&forget_bases, args);
	(void) run(&forget_stat, args);
	(void) run(&forget_view, args);
}
