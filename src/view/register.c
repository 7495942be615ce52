/*
 * register.c
 *		SQL functions register_view and unregister_view, and what keeps a registration right.
 *
 * register_view checks all it is given as its caller, who must own the view; then the tables are written as the
 * extension's owner. Locks, to the end of the transaction: ShareRowExclusiveLock on the view (no REFRESH, no
 * flush of another transaction) and on what it reads (no change slips between the rows that the
 * view is computed from and the first trigger). The view itself is captured: it is computed anew when
 * the transaction commits, as rows may have changed since its last REFRESH.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/options.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "catalog/stream.h"
#include "compat.h"
#include "edw_stream.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "view/capture.h"
#include "view/derive.h"
#include "view/execute.h"
#include "view/pending.h"
#include "view/trigger.h"

PG_FUNCTION_INFO_V1(edw_stream_register_view);
PG_FUNCTION_INFO_V1(edw_stream_unregister_view);

/* arguments of register_view */
enum
{
	ARG_VIEW, ARG_PARTITION_BY, ARG_REFRESH, ARG_OPTIONS
};

static const char *const refresh_names[] = {"commit", "deferred"};

static void
check_is_matview(Relation rel)
{
	const char *name = RelationGetRelationName(rel);

	if (rel->rd_rel->relkind != RELKIND_MATVIEW)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a materialized view", name),
				 rel->rd_rel->relkind == RELKIND_VIEW
				 ? errhint("An ordinary view is always fresh. Use CREATE MATERIALIZED VIEW … AS TABLE %s to store its rows.", quote_identifier(name))
				 : errhint("Use CREATE MATERIALIZED VIEW.")));
	if (!EdwOwnsRelation(RelationGetRelid(rel), GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_MATVIEW, name);
}

/* Open a materialized view of the caller's. */
static Relation
open_view(Oid view, LOCKMODE lock)
{
	Relation	rel = try_relation_open(view, lock);

	if (rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("materialized view with OID %u does not exist", view)));
	check_is_matview(rel);
	return rel;
}

static List *
partition_argument(FunctionCallInfo fcinfo)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(ARG_PARTITION_BY);
	List	   *names;

	if (ARR_NDIM(array) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("partition_by must be a one-dimensional array with at least one column"),
				 errhint("Name the columns of the view by whose values its rows are refreshed, for example ARRAY['day'].")));
	names = EdwTextArrayToList(PointerGetDatum(array));
	if (list_member_ptr(names, NULL))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("partition_by must not contain nulls")));
	return names;
}

static Jsonb *
options_argument(FunctionCallInfo fcinfo, EdwViewRefresh refresh)
{
	static const char *const names[] = {"fallback", "max_staleness", "method"};
	Jsonb	   *options = PG_ARGISNULL(ARG_OPTIONS)
		? DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"))) : PG_GETARG_JSONB_P(ARG_OPTIONS);

	EdwCheckOptionNames(options, names, lengthof(names), "view option");
	if (refresh == EDW_REFRESH_COMMIT && EdwOptionText(options, "max_staleness") != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"max_staleness\" needs refresh => 'deferred'"),
				 errdetail("A view that is refreshed at commit is never stale.")));
	return options;
}

static bool
is_registered(Oid view)
{
	Oid			type = OIDOID;
	Datum		arg = ObjectIdGetDatum(view);

	return EdwCatalogExecute("SELECT FROM edw_stream.view WHERE view::pg_catalog.oid OPERATOR(pg_catalog.=) $1",
							 1, &type, &arg, NULL) > 0;
}

/*
 * Not where nothing may be written; nor from a function in a view's query (or an index, or ANALYZE), which would
 * pull the view from under who runs it.
 */
void
EdwPreventViewCommand(const char *command)
{
	PreventCommandIfReadOnly(command);
	if (InSecurityRestrictedOperation())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("cannot execute %s within security-restricted operation", command)));
}

Relation
EdwRegisteredViewOpen(Oid view, LOCKMODE lock)
{
	Relation	rel = open_view(view, lock);

	if (!is_registered(view))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("materialized view \"%s\" is not registered", RelationGetRelationName(rel)),
				 errhint("Use edw_stream.register_view.")));
	return rel;
}

static void
check_can_be_registered(Relation rel)
{
	if (!RelationIsPopulated(rel))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("materialized view \"%s\" has not been populated", RelationGetRelationName(rel)),
				 errhint("Use the REFRESH MATERIALIZED VIEW command.")));
	if (is_registered(RelationGetRelid(rel)))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("materialized view \"%s\" is registered already", RelationGetRelationName(rel)),
				 errhint("To register it differently, use edw_stream.unregister_view first.")));
}

static void
store_bases(Oid view, List *bases)
{
	Oid			types[] = {OIDOID, OIDOID};
	Datum		args[2];
	ListCell   *lc;

	args[0] = ObjectIdGetDatum(view);
	EdwCatalogExecute("DELETE FROM edw_stream.view_base WHERE view::pg_catalog.oid OPERATOR(pg_catalog.=) $1",
					  1, types, args, NULL);
	foreach(lc, bases)
	{
		args[1] = ObjectIdGetDatum(((EdwViewBase *) lfirst(lc))->relid);
		EdwCatalogExecute("INSERT INTO edw_stream.view_base (view, base) VALUES ($1, $2)", 2, types, args, NULL);
	}
}

static Datum
name_array(List *names)
{
	Datum	   *values = palloc(sizeof(Datum) * list_length(names));
	int			n = 0;
	ListCell   *lc;

	foreach(lc, names)
		values[n++] = DirectFunctionCall1(namein, CStringGetDatum(lfirst(lc)));
	return PointerGetDatum(construct_array(values, n, NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR));
}

static void
store_view(const EdwViewDef *def, List *names, Jsonb *options)
{
	Oid			types[] = {OIDOID, TEXTOID, NAMEARRAYOID, TEXTOID, JSONBOID, TEXTOID};
	Datum		args[6];

	args[0] = ObjectIdGetDatum(def->relid);
	args[1] = CStringGetTextDatum(def->name);
	args[2] = name_array(names);
	args[3] = CStringGetTextDatum(refresh_names[def->refresh]);
	args[4] = JsonbPGetDatum(options);
	args[5] = CStringGetTextDatum(def->settings);
	EdwCatalogExecute("INSERT INTO edw_stream.view (view, view_name, partition_by, refresh, options, settings)"
					  " VALUES ($1, $2, $3, $4, $5, $6)", lengthof(types), types, args, NULL);
	EdwCatalogExecute("INSERT INTO edw_stream.view_stat (view) VALUES ($1)", 1, types, args, NULL);
	store_bases(def->relid, def->bases);
}

/* Keep whoever writes what the view reads out, until the registration is committed; put the triggers on tables. */
static void
watch_bases(List *bases)
{
	ListCell   *lc;

	foreach(lc, bases)
	{
		EdwViewBase *base = lfirst(lc);

		if (base->is_matview)
			LockRelationOid(base->relid, ShareRowExclusiveLock);
		else
			EdwViewTriggersCreate(base->relid);
	}
}

/* Does a valid index begin with these columns, in any order? */
static bool
index_fits(Oid indexid, Bitmapset *columns)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(indexid));
	Form_pg_index index;
	int			n = bms_num_members(columns);
	bool		fits;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for index %u", indexid);
	index = (Form_pg_index) GETSTRUCT(tuple);
	fits = index->indisvalid && index->indnkeyatts >= n &&
		heap_attisnull(tuple, Anum_pg_index_indpred, NULL);
	for (int i = 0; fits && i < n; i++)
		fits = bms_is_member(index->indkey.values[i], columns);
	ReleaseSysCache(tuple);
	return fits;
}

static bool
has_index(Relation rel, int n, const AttrNumber *columns)
{
	Bitmapset  *wanted = NULL;
	ListCell   *lc;

	for (int i = 0; i < n; i++)
		wanted = bms_add_member(wanted, columns[i]);
	foreach(lc, RelationGetIndexList(rel))
	{
		if (index_fits(lfirst_oid(lc), wanted))
			return true;
	}
	return false;
}

/*
 * The stored rows of a partition, or of a group, must be found without reading the whole view: the columns of an
 * index that is missing for that, as SQL, or NULL.
 */
static char *
missing_index(Relation rel, const EdwViewDef *def)
{
	bool		by_group = def->method == EDW_VIEW_DELTA;
	int			n = by_group ? def->ngroups : def->nkeys;
	const AttrNumber *columns = by_group ? def->groups : def->keys;
	StringInfoData list;

	if (def->method == EDW_VIEW_FULL || n > INDEX_MAX_KEYS || has_index(rel, n, columns))
		return NULL;
	initStringInfo(&list);
	for (int i = 0; i < n; i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "",
						 quote_identifier(NameStr(TupleDescAttr(RelationGetDescr(rel), columns[i] - 1)->attname)));
	return list.data;
}

/* The view is not open: CREATE INDEX refuses a relation that its own session uses. */
static void
create_index(const EdwViewDef *def, const char *columns)
{
	char	   *sql = psprintf("CREATE INDEX ON %s (%s)", def->name, columns);

	SPI_connect();
	if (SPI_execute(sql, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not execute \"%s\"", sql);
	SPI_finish();
	ereport(NOTICE,
			(errmsg("created an index on (%s) of materialized view \"%s\"", columns, get_rel_name(def->relid)),
			 errdetail("The stored rows of what changes are found by it.")));
}

Datum
edw_stream_register_view(PG_FUNCTION_ARGS)
{
	EdwViewDef	def = {0};
	List	   *names;
	List	   *relations;
	Jsonb	   *options;
	Relation	rel;
	char	   *index;

	EdwRequireArgument(fcinfo, ARG_VIEW, "view");
	EdwRequireArgument(fcinfo, ARG_PARTITION_BY, "partition_by");
	EdwPreventViewCommand("register_view()");
	names = partition_argument(fcinfo);
	if (!PG_ARGISNULL(ARG_REFRESH))
		def.refresh = EdwChoice(text_to_cstring(PG_GETARG_TEXT_PP(ARG_REFRESH)), refresh_names,
								lengthof(refresh_names), "refresh");
	options = options_argument(fcinfo, def.refresh);

	rel = open_view(PG_GETARG_OID(ARG_VIEW), ShareRowExclusiveLock);
	check_can_be_registered(rel);
	def.settings = EdwViewCurrentSettings();
	EdwViewDerive(rel, names, options, &def, &relations);
	store_view(&def, names, options);
	watch_bases(def.bases);
	index = missing_index(rel, &def);
	relation_close(rel, NoLock);
	if (index != NULL)
		create_index(&def, index);
	/* rows may have changed since the last REFRESH */
	if (def.refresh == EDW_REFRESH_DEFERRED)
		(void) EdwPendingWorkOff(def.relid, true);
	else
		EdwCaptureView(def.relid);
	PG_RETURN_VOID();
}

/* Tables that the view reads no more are told so, and lose their triggers if no other view reads them. */
static void
unwatch_bases(List *bases)
{
	ListCell   *lc;

	foreach(lc, bases)
	{
		if (get_rel_relkind(lfirst_oid(lc)) != RELKIND_MATVIEW)
			EdwViewTriggersDrop(lfirst_oid(lc));
	}
}

/* what view_base says of a view */
static List *
stored_bases(Oid view)
{
	MemoryContext caller = CurrentMemoryContext;
	EdwCatalogAccess access;
	Oid			type = OIDOID;
	Datum		arg = ObjectIdGetDatum(view);
	List	   *bases = NIL;

	EdwCatalogBegin(&access);
	SPI_connect();
	if (SPI_execute_with_args("SELECT base::pg_catalog.oid FROM edw_stream.view_base"
							  " WHERE view::pg_catalog.oid OPERATOR(pg_catalog.=) $1 ORDER BY base::pg_catalog.oid",
							  1, &type, &arg, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read edw_stream.view_base");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Oid			base = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
		MemoryContext spi = MemoryContextSwitchTo(caller);

		bases = lappend_oid(bases, base);
		MemoryContextSwitchTo(spi);
	}
	SPI_finish();
	EdwCatalogEnd(&access);
	return bases;
}

static void
delete_from(const char *table, Oid view)
{
	Oid			type = OIDOID;
	Datum		arg = ObjectIdGetDatum(view);

	EdwCatalogExecute(psprintf("DELETE FROM edw_stream.%s WHERE view::pg_catalog.oid OPERATOR(pg_catalog.=) $1", table),
					  1, &type, &arg, NULL);
}

Datum
edw_stream_unregister_view(PG_FUNCTION_ARGS)
{
	List	   *bases;
	Relation	rel;
	Oid			view;

	EdwRequireArgument(fcinfo, 0, "view");
	EdwPreventViewCommand("unregister_view()");
	view = PG_GETARG_OID(0);
	rel = EdwRegisteredViewOpen(view, ShareRowExclusiveLock);
	bases = stored_bases(view);
	delete_from("view_pending", view);
	delete_from("view_group", view);
	delete_from("view_base", view);
	delete_from("view_stat", view);
	delete_from("view", view);
	unwatch_bases(bases);
	relation_close(rel, NoLock);
	PG_RETURN_VOID();
}

static void
store_name(const EdwViewDef *def)
{
	Oid			types[] = {OIDOID, TEXTOID};
	Datum		args[2];

	args[0] = ObjectIdGetDatum(def->relid);
	args[1] = CStringGetTextDatum(def->name);
	EdwCatalogExecute("UPDATE edw_stream.view SET view_name = $2"
					  " WHERE view::pg_catalog.oid OPERATOR(pg_catalog.=) $1"
					  " AND view_name OPERATOR(pg_catalog.<>) $2", 2, types, args, NULL);
}

void
EdwViewRecheck(Oid view)
{
	List	   *before = stored_bases(view);
	List	   *now = NIL;
	EdwViewDef *def = EdwViewLoad(view);
	ListCell   *lc;

	if (def == NULL)
		return;
	store_name(def);
	foreach(lc, def->bases)
		now = lappend_oid(now, ((EdwViewBase *) lfirst(lc))->relid);
	if (list_difference_oid(now, before) == NIL && list_difference_oid(before, now) == NIL)
		return;
	store_bases(view, def->bases);
	watch_bases(def->bases);
	unwatch_bases(list_difference_oid(before, now));
}
