/*
 * pending.c
 *		edw_stream.view_pending: partitions of deferred views that are to be refreshed.
 *
 * A partition is stored as texts, made by its types' output functions under settings that lose nothing, so
 * that rows outlive a change of the session's or the view's settings, and a dump. A text that
 * its type does not read any more (a renamed enum label) costs a refresh of the whole view, not a change.
 *
 * Why nothing is stranded (G3): a writer's rows of this table become visible with the change that they are about. The
 * refresher deletes what one snapshot shows and computes those partitions with the same snapshot, which therefore
 * holds the changes; both commit at once, or neither. Refreshes of one view exclude each other by the refresh
 * lock, taken before the snapshot, so a later one never writes what an earlier snapshot says.
 */
#include "postgres.h"

#include "view/pending.h"

#include "access/xact.h"
#include "catalog/pg_type_d.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "pipeline/catalog_sql.h"
#include "portability/instr_time.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "view/execute.h"
#include "view/stat.h"
#include "view/state.h"
#include "worker/slots.h"

/* the class of the refresh lock; its fourth field is that of advisory locks with two keys */
#define LOCK_CLASS_REFRESH	0x4557
#define LOCK_TWO_KEYS		2

/* past so many partitions the whole view is refreshed */
#define MAX_KEYS		100000

/* where no refresher comes: merge after so many rows, and past so many partitions into one row for all */
#define MERGE_EVERY		4096
#define MAX_UNATTENDED	10000

/* a text[] per partition, as text; null: all */
static EdwStatement add_rows = {
	"WITH added AS (INSERT INTO edw_stream.view_pending (view, keys)"
	" SELECT $1, k::pg_catalog.text[] FROM pg_catalog.unnest($2) k RETURNING id)"
	" SELECT max(id), count(*), (SELECT NOT " EDW_VIEW_IS_REFRESHABLE
	" FROM edw_stream.view v WHERE v.view = $1) FROM added",
	2, {OIDOID, TEXTARRAYOID}, NULL
};

static EdwStatement merge_rows = {
	"WITH gone AS (DELETE FROM edw_stream.view_pending WHERE view = $1 RETURNING keys, noted_at),"
	" merged AS (SELECT keys, min(noted_at) AS noted_at FROM gone GROUP BY keys),"
	" total AS (SELECT count(*) > $2 OR bool_or(keys IS NULL) AS whole, min(noted_at) AS noted_at"
	" FROM merged)"
	" INSERT INTO edw_stream.view_pending (view, keys, noted_at)"
	" SELECT $1, m.keys, m.noted_at FROM merged m, total t WHERE NOT t.whole"
	" UNION ALL SELECT $1, NULL, t.noted_at FROM total t WHERE t.whole",
	2, {OIDOID, INT8OID}, NULL
};

static EdwStatement take_rows = {
	"WITH taken AS (DELETE FROM edw_stream.view_pending WHERE view = $1 RETURNING keys)"
	" SELECT DISTINCT keys FROM taken LIMIT $2",
	2, {OIDOID, INT8OID}, NULL
};

static EdwStatement list_views = {
	"SELECT v.view::pg_catalog.oid, p.noted_at,"
	" pg_catalog.date_part('epoch', (v.options ->> 'max_staleness')::pg_catalog.interval), s.last_us"
	" FROM edw_stream.view v"
	" CROSS JOIN LATERAL (SELECT noted_at FROM edw_stream.view_pending WHERE view = v.view"
	" ORDER BY id LIMIT 1) p"
	" LEFT JOIN edw_stream.view_stat s ON s.view = v.view"
	" WHERE " EDW_VIEW_IS_REFRESHABLE,
	0, {0}, NULL
};

static EdwStatement set_failed = {
	"UPDATE edw_stream.view SET reason = $2, message = $3, hint = $4 WHERE view = $1"
	" AND (reason IS NULL OR reason IN ('" EDW_VIEW_RETRYING "', '" EDW_VIEW_REFRESH_FAILED "'))"
	" AND (reason, message, hint) IS DISTINCT FROM ($2, $3, $4)",
	4, {OIDOID, TEXTOID, TEXTOID, TEXTOID}, NULL
};

static EdwStatement clear_failed = {
	"UPDATE edw_stream.view SET reason = NULL, message = NULL, hint = NULL WHERE view = $1"
	" AND reason IN ('" EDW_VIEW_RETRYING "', '" EDW_VIEW_REFRESH_FAILED "')",
	1, {OIDOID}, NULL
};

static EdwStatement forget_others = {
	"DELETE FROM edw_stream.view_pending p WHERE NOT EXISTS (SELECT FROM edw_stream.view v"
	" WHERE v.view = p.view AND v.refresh = 'deferred')",
	0, {0}, NULL
};

/* Output that input functions read back as the same value, whatever the view is pinned to. */
static void
pin_texts(void)
{
	static const char *const settings[][2] = {
		{"datestyle", "ISO, YMD"},
		{"intervalstyle", "postgres"},
		{"extra_float_digits", "1"},
		{"timezone", "UTC"}
	};

	for (size_t i = 0; i < lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
}

/* The tuples, each as the text of a text[]. */
static Datum
keys_as_texts(const EdwViewDef *def, List *const *keys)
{
	int			n = list_length(keys[0]);
	Datum	   *texts = palloc(sizeof(Datum) * n);
	FmgrInfo   *output = palloc(sizeof(FmgrInfo) * def->nkeys);
	Datum	   *values = palloc(sizeof(Datum) * def->nkeys);
	bool	   *nulls = palloc(sizeof(bool) * def->nkeys);
	int			dims[1] = {def->nkeys};
	int			bounds[1] = {1};

	for (int c = 0; c < def->nkeys; c++)
	{
		Oid			function;
		bool		is_varlena;

		getTypeOutputInfo(linitial_node(Const, keys[c])->consttype, &function, &is_varlena);
		fmgr_info(function, &output[c]);
	}
	for (int i = 0; i < n; i++)
	{
		ArrayType  *tuple;

		for (int c = 0; c < def->nkeys; c++)
		{
			Const	   *key = list_nth_node(Const, keys[c], i);

			nulls[c] = key->constisnull;
			if (!nulls[c])
				values[c] = CStringGetTextDatum(OutputFunctionCall(&output[c], key->constvalue));
		}
		tuple = construct_md_array(values, nulls, 1, dims, bounds, TEXTOID, -1, false, TYPALIGN_INT);
		texts[i] = CStringGetTextDatum(OidOutputFunctionCall(F_ARRAY_OUT, PointerGetDatum(tuple)));
	}
	return PointerGetDatum(construct_array(texts, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/* An array of one null: all partitions. */
static Datum
all_as_text(void)
{
	Datum		value = 0;
	bool		isnull = true;
	int			dims[1] = {1};
	int			bounds[1] = {1};

	return PointerGetDatum(construct_md_array(&value, &isnull, 1, dims, bounds, TEXTOID, -1, false,
											  TYPALIGN_INT));
}

static bool
lock_refreshes(Oid view, bool wait)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, LOCK_CLASS_REFRESH, view, LOCK_TWO_KEYS);
	return LockAcquire(&tag, ExclusiveLock, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

/*
 * Each partition once, or all as one, so that what nobody works off does not grow for ever. As a writer, who
 * holds the change lock; the refresh lock, if it is free, keeps everybody else away who deletes rows.
 */
static void
merge_pending(Oid view)
{
	EdwSql		sql;
	Datum		args[2] = {ObjectIdGetDatum(view), Int64GetDatum(MAX_UNATTENDED)};

	if (!lock_refreshes(view, false))
		return;
	EdwSqlStart(&sql);
	(void) EdwSqlRunUnder(&merge_rows, args, GetLatestSnapshot());
	EdwSqlFinish(&sql);
}

/* Insert; says whether the view waits for somebody to act, and whether it is time to merge. */
static void
insert_pending(Datum *args, bool *failed, bool *merge)
{
	EdwSql		sql;
	int64		last;
	int64		n;
	bool		isnull;

	EdwSqlStart(&sql);
	(void) EdwSqlRunUnder(&add_rows, args, GetLatestSnapshot());
	last = DatumGetInt64(EdwSqlGet(0, 1, &isnull));
	n = DatumGetInt64(EdwSqlGet(0, 2, &isnull));
	*failed = DatumGetBool(EdwSqlGet(0, 3, &isnull)) && !isnull;
	*merge = last / MERGE_EVERY != (last - n) / MERGE_EVERY;
	EdwSqlFinish(&sql);
}

void
EdwPendingAdd(const EdwViewDef *def, List *const *keys)
{
	EdwViewAccess access;
	Datum		args[2];
	bool		failed;
	bool		merge;

	args[0] = ObjectIdGetDatum(def->relid);
	if (keys == NULL)
		args[1] = all_as_text();
	else if (keys[0] == NIL)
		return;
	else
	{
		EdwViewEnter(def, &access);
		pin_texts();
		args[1] = keys_as_texts(def, keys);
		EdwViewLeave(&access);
	}
	insert_pending(args, &failed, &merge);
	if (!failed)
		EdwWakeRefresherAtCommit();
	if (merge && (failed || !EdwSlotsAvailable()))
		merge_pending(def->relid);
}

/* Delete the pending rows that the snapshot shows; their distinct text[], nulls among them. */
static List *
take_pending(Oid view, Snapshot snapshot, bool *all)
{
	EdwSql		sql;
	Datum		args[2] = {ObjectIdGetDatum(view), Int64GetDatum(MAX_KEYS + 1)};
	List	   *taken = NIL;
	uint64		n;

	EdwSqlStart(&sql);
	n = EdwSqlRunUnder(&take_rows, args, snapshot);
	*all = n > MAX_KEYS;
	for (uint64 i = 0; i < n && !*all; i++)
	{
		MemoryContext spi;
		bool		isnull;
		Datum		keys = EdwSqlGet(i, 1, &isnull);

		*all = isnull;
		if (isnull)
			break;
		spi = MemoryContextSwitchTo(sql.caller);
		taken = lappend(taken, DatumGetArrayTypePCopy(keys));
		MemoryContextSwitchTo(spi);
	}
	EdwSqlFinish(&sql);
	return taken;
}

/* What a column of the key takes to read its texts. */
typedef struct KeyColumn
{
	FmgrInfo	input;
	Oid			ioparam;
	FormData_pg_attribute attr;
} KeyColumn;

static KeyColumn *
key_columns(const EdwViewDef *def)
{
	KeyColumn  *columns = palloc0(sizeof(KeyColumn) * def->nkeys);
	Relation	view = RelationIdGetRelation(def->relid);

	if (!RelationIsValid(view))
		elog(ERROR, "could not open materialized view %s", def->name);
	for (int c = 0; c < def->nkeys; c++)
	{
		Oid			function;

		columns[c].attr = *TupleDescAttr(RelationGetDescr(view), def->keys[c] - 1);
		getTypeInputInfo(columns[c].attr.atttypid, &function, &columns[c].ioparam);
		fmgr_info(function, &columns[c].input);
	}
	RelationClose(view);
	return columns;
}

/* Append a tuple to the lists; false: it is of another number of columns. */
static bool
append_tuple(List **lists, const EdwViewDef *def, KeyColumn *columns, ArrayType *tuple)
{
	Datum	   *texts;
	bool	   *nulls;
	int			n;

	deconstruct_array(tuple, TEXTOID, -1, false, TYPALIGN_INT, &texts, &nulls, &n);
	if (n != def->nkeys)
		return false;
	for (int c = 0; c < n; c++)
	{
		FormData_pg_attribute *attr = &columns[c].attr;
		char	   *string = nulls[c] ? NULL : TextDatumGetCString(texts[c]);
		Datum		value = InputFunctionCall(&columns[c].input, string, columns[c].ioparam, -1);

		lists[c] = lappend(lists[c], makeConst(attr->atttypid, attr->atttypmod, attr->attcollation,
											   attr->attlen, value, nulls[c], attr->attbyval));
	}
	return true;
}

/* The tuples as keys; NULL: one does not fit the view as it is now. */
static List **
parse_tuples(const EdwViewDef *def, List *tuples)
{
	List	  **lists = palloc0(sizeof(List *) * def->nkeys);
	KeyColumn  *columns = key_columns(def);
	ListCell   *lc;

	foreach(lc, tuples)
	{
		if (!append_tuple(lists, def, columns, lfirst(lc)))
			return NULL;
	}
	return lists;
}

/* The same in a subtransaction, since a type may refuse its text: then NULL too. */
static List **
keys_from_texts(const EdwViewDef *def, List *tuples)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	List	  **volatile lists = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		pin_texts();
		lists = parse_tuples(def, tuples);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		int			category = ERRCODE_TO_CATEGORY(geterrcode());

		if (category != ERRCODE_DATA_EXCEPTION &&
			category != ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		lists = NULL;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return lists;
}

/* After REFRESH … WITH NO DATA there is nothing to keep fresh, until the next REFRESH. */
static bool
is_populated(Oid view)
{
	Relation	relation = RelationIdGetRelation(view);
	bool		populated = RelationIsValid(relation) && RelationIsPopulated(relation);

	if (RelationIsValid(relation))
		RelationClose(relation);
	return populated;
}

/* Most of a view is computed at once rather than by its partitions. */
static bool
too_many(const EdwViewDef *def, int n)
{
	Relation	view = RelationIdGetRelation(def->relid);
	double		rows = RelationIsValid(view) ? view->rd_rel->reltuples : 0;

	if (RelationIsValid(view))
		RelationClose(view);
	return rows > 0 && n > rows / 2;
}

/* Refresh the partitions that were taken, with the snapshot that showed them. */
static void
refresh_taken(const EdwViewDef *def, List *taken, bool all, Snapshot snapshot,
			  EdwViewCounts *counts)
{
	EdwViewAccess access;
	List	  **keys = NULL;

	EdwViewEnter(def, &access);
	counts->affected += all ? 1 : list_length(taken);
	if (!all && def->method != EDW_VIEW_FULL && !too_many(def, list_length(taken)))
		keys = keys_from_texts(def, taken);
	EdwViewRefreshKeys(def, keys, snapshot, counts);
	EdwViewLeave(&access);
}

static void
clear_failure(Oid view, Snapshot snapshot)
{
	EdwSql		sql;
	Datum		args[1] = {ObjectIdGetDatum(view)};

	EdwSqlStart(&sql);
	(void) EdwSqlRunUnder(&clear_failed, args, snapshot);
	EdwSqlFinish(&sql);
}

static int64
elapsed_us(instr_time start)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, start);
	return (int64) INSTR_TIME_GET_MICROSEC(now);
}

bool
EdwPendingWorkOff(Oid view, bool whole)
{
	EdwViewCounts counts = {0};
	const EdwViewDef *def;
	Snapshot	snapshot;
	instr_time	start;
	List	   *taken = NIL;
	bool		all = false;
	bool		any;

	(void) lock_refreshes(view, true);
	LockRelationOid(view, RowExclusiveLock);
	INSTR_TIME_SET_CURRENT(start);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	PushActiveSnapshot(snapshot);
	def = EdwViewLoad(view);
	any = def != NULL && is_populated(view);
	if (any)
	{
		taken = take_pending(view, snapshot, &all);
		all |= whole;
		any = all || taken != NIL;
	}
	if (any)
	{
		refresh_taken(def, taken, all, snapshot, &counts);
		clear_failure(view, snapshot);
		EdwViewStatAdd(view, &counts, elapsed_us(start), snapshot);
	}
	PopActiveSnapshot();
	UnregisterSnapshot(snapshot);
	return any;
}

EdwPendingView *
EdwPendingList(int *n)
{
	EdwSql		sql;
	EdwPendingView *views;

	EdwSqlStart(&sql);
	*n = (int) EdwSqlRun(&list_views, NULL, NULL);
	views = MemoryContextAllocZero(sql.caller, sizeof(EdwPendingView) * (*n + 1));
	for (int i = 0; i < *n; i++)
	{
		EdwPendingView *view = &views[i];
		bool		isnull;
		Datum		staleness;

		view->view = DatumGetObjectId(EdwSqlGet(i, 1, &isnull));
		view->noted_at = DatumGetTimestampTz(EdwSqlGet(i, 2, &isnull));
		staleness = EdwSqlGet(i, 3, &isnull);
		view->max_staleness_ms = isnull ? EDW_VIEW_MAX_STALENESS_MS :
			(int64) (DatumGetFloat8(staleness) * 1000);
		view->last_us = DatumGetInt64(EdwSqlGet(i, 4, &isnull));
		if (isnull)
			view->last_us = 0;
	}
	EdwSqlFinish(&sql);
	return views;
}

void
EdwPendingSetFailed(Oid view, bool passing, const char *message, const char *hint)
{
	EdwSql		sql;
	Datum		args[4] = {ObjectIdGetDatum(view)};
	char		nulls[5] = "    ";

	if (hint == NULL)
		hint = passing ? "It is tried again by itself." :
			"Mend the cause, then call edw_stream.refresh_view().";
	EdwSqlStart(&sql);
	EdwSqlSetText(args, nulls, 1, passing ? EDW_VIEW_RETRYING : EDW_VIEW_REFRESH_FAILED);
	EdwSqlSetText(args, nulls, 2, message);
	EdwSqlSetText(args, nulls, 3, hint);
	(void) EdwSqlRun(&set_failed, args, nulls);
	EdwSqlFinish(&sql);
}

void
EdwPendingForgetOthers(void)
{
	EdwSql		sql;

	EdwSqlStart(&sql);
	(void) EdwSqlRun(&forget_others, NULL, NULL);
	EdwSqlFinish(&sql);
}
