/*
 * ddl.c
 *		What DDL does to registered views: edw_stream.view_ddl(), the function of the
 *		extension's event triggers.
 *
 *	ddl_command_end:
 *		table attached, detached, INHERIT, NO INHERIT	triggers put on or off; its rows count as changed
 *		new partition or child							triggers put on
 *		our triggers disabled or enabled				views marked trigger_disabled, and mended
 *		a base made unlogged, or filled by a subscription	ERROR
 *		row security on a base							ERROR if it applies to the view's owner
 *		a view, function … underneath replaced			derived anew and computed anew; ERROR if it cannot be
 *		a view's column renamed							its registration follows
 *		REFRESH by hand									see refreshed()
 *	table_rewrite:
 *		of a base										all of it counts as changed
 *	sql_drop:
 *		a registered view								its registration and the triggers for it go
 *		a partition or child							all of its parents counts as changed
 *		one of our triggers								ERROR
 *
 * What a schema change costs that concerns no registered view is one look at edw_stream.view.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "edw_stream.h"
#include "fmgr.h"
#include "nodes/parsenodes.h"
#include "optimizer/optimizer.h"
#include "pipeline/catalog_sql.h"
#include "tcop/deparse_utility.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "view/capture.h"
#include "view/ddl_table.h"
#include "view/definition.h"
#include "view/execute.h"
#include "view/flush.h"
#include "view/state.h"
#include "view/trigger.h"

PG_FUNCTION_INFO_V1(edw_stream_view_ddl);

static EdwStatement get_commands = {
	"SELECT command FROM pg_catalog.pg_event_trigger_ddl_commands()", 0, {0}, NULL
};

static EdwStatement get_rewritten = {
	"SELECT pg_catalog.pg_event_trigger_table_rewrite_oid()", 0, {0}, NULL
};

static EdwStatement get_dropped_tables = {
	"SELECT objid FROM pg_catalog.pg_event_trigger_dropped_objects()"
	" WHERE classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND objsubid = 0"
	" AND object_type IN ('table', 'foreign table', 'materialized view')", 0, {0}, NULL
};

static EdwStatement get_dropped_triggers = {
	"SELECT address_names[1], address_names[2], address_names[3]"
	" FROM pg_catalog.pg_event_trigger_dropped_objects() WHERE object_type = 'trigger'", 0, {0}, NULL
};

/* registered views whose query depends on an object, also through other views */
static EdwStatement get_dependents = {
	"WITH RECURSIVE d (rel) AS ("
	" SELECT r.ev_class FROM pg_depend p JOIN pg_rewrite r ON r.oid = p.objid"
	" WHERE p.classid = 'pg_rewrite'::regclass AND p.refclassid = $1 AND p.refobjid = $2"
	" UNION SELECT r.ev_class FROM d JOIN pg_depend p ON p.refclassid = 'pg_class'::regclass"
	" AND p.refobjid = d.rel AND p.classid = 'pg_rewrite'::regclass"
	" JOIN pg_rewrite r ON r.oid = p.objid)"
	" SELECT v.view FROM edw_stream.view v JOIN d ON d.rel = v.view ORDER BY 1",
	2, {OIDOID, OIDOID}, NULL
};

static EdwStatement get_subscribed = {
	"SELECT srrelid FROM pg_catalog.pg_subscription_rel", 0, {0}, NULL
};

static EdwStatement get_refreshes = {
	"SELECT refreshes FROM edw_stream.view_stat WHERE view = $1", 1, {OIDOID}, NULL
};

/* Something that views may be made of is another one now. */
static void
object_replaced(Oid classid, Oid objid)
{
	Datum		args[] = {ObjectIdGetDatum(classid), ObjectIdGetDatum(objid)};
	List	   *views = EdwSqlFetchOids(&get_dependents, args, NULL);
	ListCell   *lc;

	foreach(lc, views)
	{
		EdwViewRecheck(lfirst_oid(lc));
		EdwCaptureView(lfirst_oid(lc));
	}
}

/* How often a view was brought up to date, as a snapshot sees it. */
static int64
count_refreshes(Oid view, Snapshot snapshot)
{
	Datum		args[1] = {ObjectIdGetDatum(view)};
	EdwSql		sql;
	int64		count = 0;
	bool		isnull;

	EdwSqlStart(&sql);
	if (EdwSqlRunUnder(&get_refreshes, args, snapshot) > 0)
		count = DatumGetInt64(EdwSqlGet(0, 1, &isnull));
	EdwSqlFinish(&sql);
	return count;
}

/*
 * Does what REFRESH computed just now lack something? It takes its snapshot before it has its lock; meanwhile others
 * may have brought the view up to date. Or its session's settings give other results than the view's own.
 */
static bool
is_refreshed_wrong(Oid view)
{
	EdwViewDef *def = EdwViewLoad(view);

	return EdwDeltaRefreshedWrong(def) ||
		count_refreshes(view, GetActiveSnapshot()) != count_refreshes(view, GetLatestSnapshot()) ||
		(strcmp(def->settings, EdwViewCurrentSettings()) != 0 &&
		 contain_mutable_functions((Node *) def->query));
}

static void
view_emptied(Oid view)
{
	if (EdwViewsReading(view) != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("cannot empty materialized view \"%s\": registered views read it",
						get_rel_name(view)),
				 errhint("Unregister them first with edw_stream.unregister_view().")));
	if (EdwViewIsRegistered(view))
		EdwViewMark(view, EDW_VIEW_NOT_POPULATED, "it was refreshed WITH NO DATA",
					"Use REFRESH MATERIALIZED VIEW: it is kept fresh from then on.");
}

/*
 * REFRESH MATERIALIZED VIEW by hand; also what follows a restore of some tables or of data alone, so look at
 * the triggers.
 */
static void
registered_view_refreshed(Oid view)
{
	List	   *bases = EdwViewBasesRecorded(view);
	ListCell   *lc;

	foreach(lc, bases)
		if (get_rel_relkind(lfirst_oid(lc)) != RELKIND_MATVIEW)
			EdwViewTriggersComplete(lfirst_oid(lc));
	if (EdwViewUnmark(view, EDW_VIEW_NOT_POPULATED) || is_refreshed_wrong(view))
		EdwCaptureView(view);
}

static void
view_refreshed(Oid view, const RefreshMatViewStmt *stmt)
{
	if (stmt->skipData)
	{
		view_emptied(view);
		return;
	}
	if (EdwViewsReading(view) != NIL)
		EdwCaptureAll(view);
	if (EdwViewIsRegistered(view))
		registered_view_refreshed(view);
}

static void
refuse_trigger(const char *name, Oid relid)
{
	ereport(ERROR,
			(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
			 errmsg("trigger \"%s\" of table \"%s\" is needed by registered views",
					name, get_rel_name(relid)),
			 errhint("It goes when they do: edw_stream.unregister_view().")));
}

static void
object_renamed(const ObjectAddress *address, const RenameStmt *stmt)
{
	if (stmt->renameType == OBJECT_COLUMN)
		EdwViewColumnRenamed(address->objectId, stmt->subname, stmt->newname);
	else if (stmt->renameType == OBJECT_TRIGGER && EdwViewTriggerIsOurs(stmt->subname))
	{
		Oid			relid = RangeVarGetRelid(stmt->relation, NoLock, false);

		if (EdwViewTriggersNeeded(relid))
			refuse_trigger(stmt->subname, relid);
	}
}

/* CREATE OR REPLACE TRIGGER could put something else in the place of ours. */
static void
trigger_created(Oid trigger, const CreateTrigStmt *stmt)
{
	Oid			relid;

	if (!stmt->replace || !EdwViewTriggerIsOurs(stmt->trigname))
		return;
	relid = RangeVarGetRelid(stmt->relation, NoLock, false);
	if (OidIsValid(trigger) && EdwViewTriggersNeeded(relid))
		refuse_trigger(stmt->trigname, relid);
}

/* Is a table that a view reads to be filled by a subscription now? */
static void
check_subscriptions(void)
{
	List	   *tables = EdwSqlFetchOids(&get_subscribed, NULL, NULL);
	ListCell   *lc;

	foreach(lc, tables)
		if (EdwViewTriggersNeeded(lfirst_oid(lc)))
			EdwViewTriggersCheck(lfirst_oid(lc));
}

static void
relation_changed(Oid relid)
{
	switch (get_rel_relkind(relid))
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
		case RELKIND_FOREIGN_TABLE:
			EdwDdlTableCreated(relid);
			break;
		case RELKIND_VIEW:
			object_replaced(RelationRelationId, relid);
			break;
		default:
			break;
	}
}

static void
command_ended(const CollectedCommand *command)
{
	const ObjectAddress *address = &command->d.simple.address;

	if (command->type == SCT_AlterTable)
	{
		if (get_rel_relkind(command->d.alterTable.objectId) == RELKIND_VIEW)
			object_replaced(RelationRelationId, command->d.alterTable.objectId);
		else
			EdwDdlTableAltered(command->d.alterTable.objectId, command->d.alterTable.subcmds);
	}
	else if (command->type != SCT_Simple)
		return;
	else if (IsA(command->parsetree, RefreshMatViewStmt))
		view_refreshed(address->objectId, castNode(RefreshMatViewStmt, command->parsetree));
	else if (IsA(command->parsetree, CreateTrigStmt))
		trigger_created(address->objectId, castNode(CreateTrigStmt, command->parsetree));
	else if (IsA(command->parsetree, CreateSubscriptionStmt) || IsA(command->parsetree, AlterSubscriptionStmt))
		check_subscriptions();
	else if (IsA(command->parsetree, RenameStmt))
		object_renamed(address, castNode(RenameStmt, command->parsetree));
	else if (address->classId == RelationRelationId)
		relation_changed(address->objectId);
	else
		object_replaced(address->classId, address->objectId);
}

static void
commands_ended(void)
{
	List	   *commands = NIL;
	ListCell   *lc;
	EdwSql		sql;
	uint64		n;

	EdwSqlStart(&sql);
	n = EdwSqlRun(&get_commands, NULL, NULL);
	for (uint64 i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(sql.caller);
		bool		isnull;

		commands = lappend(commands, DatumGetPointer(EdwSqlGet(i, 1, &isnull)));
		MemoryContextSwitchTo(old);
	}
	EdwSqlFinish(&sql);
	foreach(lc, commands)
		command_ended(lfirst(lc));
}

static void
view_dropped(Oid view)
{
	List	   *bases = EdwViewBasesRecorded(view);
	ListCell   *lc;

	EdwViewForget(view);
	foreach(lc, bases)
		EdwViewTriggersDrop(lfirst_oid(lc));
}

static void
check_dropped_triggers(void)
{
	EdwSql		sql;
	uint64		n;

	EdwSqlStart(&sql);
	n = EdwSqlRun(&get_dropped_triggers, NULL, NULL);
	for (uint64 i = 0; i < n; i++)
	{
		char	   *schema = EdwSqlGetText(&sql, i, 1);
		char	   *table = EdwSqlGetText(&sql, i, 2);
		char	   *name = EdwSqlGetText(&sql, i, 3);
		Oid			namespace = get_namespace_oid(schema, true);
		Oid			relid = OidIsValid(namespace) ? get_relname_relid(table, namespace) : InvalidOid;

		if (OidIsValid(relid) && EdwViewTriggerIsOurs(name) && EdwViewTriggersNeeded(relid))
			refuse_trigger(name, relid);
	}
	EdwSqlFinish(&sql);
}

static void
objects_dropped(void)
{
	List	   *tables = EdwSqlFetchOids(&get_dropped_tables, NULL, NULL);
	List	   *views = tables == NIL ? NIL : EdwViewsAmong(tables);
	ListCell   *lc;

	foreach(lc, views)
		view_dropped(lfirst_oid(lc));
	foreach(lc, tables)
		EdwDdlTableDropped(lfirst_oid(lc));
	check_dropped_triggers();
}

Datum
edw_stream_view_ddl(PG_FUNCTION_ARGS)
{
	const EventTriggerData *data = (EventTriggerData *) fcinfo->context;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("edw_stream.view_ddl() is for the event triggers of edw_stream")));
	EdwFlushRefuseChanges();
	if (!EdwViewsExist())
		PG_RETURN_NULL();
	if (strcmp(data->event, "ddl_command_end") == 0)
		commands_ended();
	else if (strcmp(data->event, "sql_drop") == 0)
		objects_dropped();
	else
		EdwDdlTableRewritten(linitial_oid(EdwSqlFetchOids(&get_rewritten, NULL, NULL)));
	PG_RETURN_NULL();
}
