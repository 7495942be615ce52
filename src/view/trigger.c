/*
 * trigger.c
 *		The triggers on relations that registered views read: put there, taken away.
 *
 * A view that reads a table is concerned by DML on it, on what is below it (partitions, inheritance
 * children) and on what is above it: a statement fires only the triggers of the table that it names. So all
 * of these have them.
 *
 * Locks: ShareRowExclusiveLock to put triggers on, as CREATE TRIGGER does: it waits for all who
 * write, so that no change slips past. AccessExclusiveLock to take them off, as DROP TRIGGER does, but
 * only if it is to be had at once.
 */
#include "postgres.h"

#include "view/trigger.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_subscription_rel.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "edw_stream.h"
#include "nodes/makefuncs.h"
#include "parser/parse_func.h"
#include "pipeline/catalog_sql.h"
#include "storage/lmgr.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "view/state.h"

static const struct
{
	const char *name;
	int16		event;
	bool		old_table;
	bool		new_table;
}			kinds[] = {
	{"edw_stream_view_insert", TRIGGER_TYPE_INSERT, false, true},
	{"edw_stream_view_update", TRIGGER_TYPE_UPDATE, true, true},
	{"edw_stream_view_delete", TRIGGER_TYPE_DELETE, true, false},
	{"edw_stream_view_truncate", TRIGGER_TYPE_TRUNCATE, false, false},
};

bool
EdwViewTriggerIsOurs(const char *name)
{
	for (int i = 0; i < (int) lengthof(kinds); i++)
		if (strcmp(kinds[i].name, name) == 0)
			return true;
	return false;
}

/*
 * Of which tables a table is a partition or child; of one that is dropped, from what this
 * transaction has deleted.
 */
static List *
parents_of(Relation inherits, Oid relid, bool dropped)
{
	List	   *result = NIL;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	scan = systable_beginscan(inherits, InheritsRelidSeqnoIndexId, true,
							  dropped ? SnapshotAny : NULL, 1, &key);
	while ((tuple = systable_getnext(scan)) != NULL)
		if (!dropped || TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetUpdateXid(tuple->t_data)))
			result = lappend_oid(result, ((Form_pg_inherits) GETSTRUCT(tuple))->inhparent);
	systable_endscan(scan);
	return result;
}

List *
EdwViewTablesAbove(Oid relid)
{
	Relation	inherits = table_open(InheritsRelationId, AccessShareLock);
	List	   *result = parents_of(inherits, relid, false);
	ListCell   *lc;

	foreach(lc, result)			/* grows while we go */
		result = list_concat_unique_oid(result, parents_of(inherits, lfirst_oid(lc), false));
	table_close(inherits, AccessShareLock);
	return result;
}

List *
EdwViewTablesAboveDropped(Oid relid)
{
	Relation	inherits = table_open(InheritsRelationId, AccessShareLock);
	List	   *parents = parents_of(inherits, relid, true);
	List	   *result = list_copy(parents);
	ListCell   *lc;

	table_close(inherits, AccessShareLock);
	foreach(lc, parents)
		result = list_concat_unique_oid(result, EdwViewTablesAbove(lfirst_oid(lc)));
	return result;
}

/* A table, what is below it and what is above it; each locked, unless NoLock. */
static List *
tables_around(Oid relid, LOCKMODE lock)
{
	List	   *result = EdwViewTablesAbove(relid);
	ListCell   *lc;

	foreach(lc, result)
		if (lock != NoLock)
			LockRelationOid(lfirst_oid(lc), lock);
	return list_concat(result, find_all_inheritors(relid, lock, NULL));
}

/*
 * Do registered views read a table, or one above or below it? With the newest snapshot, whatever the
 * transaction's: what another one registered since must not lose its triggers.
 */
bool
EdwViewTriggersNeeded(Oid relid)
{
	static EdwStatement find_view = {
		"SELECT FROM edw_stream.view_base WHERE base = ANY ($1) LIMIT 1",
		1, {OIDARRAYOID}, NULL
	};
	Datum		args[1] = {EdwOidArray(tables_around(relid, NoLock))};
	EdwSql		sql;
	bool		found;

	EdwSqlStart(&sql);
	found = EdwSqlRunUnder(&find_view, args, GetLatestSnapshot()) > 0;
	EdwSqlFinish(&sql);
	return found;
}

static TriggerTransition *
make_transition(const char *name, bool is_new)
{
	TriggerTransition *transition = makeNode(TriggerTransition);

	transition->name = unconstify(char *, name);
	transition->isNew = is_new;
	transition->isTable = true;
	return transition;
}

static Oid
trigger_function(void)
{
	return LookupFuncName(list_make2(makeString(EDW_SCHEMA), makeString("view_changed")), 0, NULL,
						  false);
}

/*
 * Is a trigger with one of our names made as we make it? Somebody may have made one before us that calls
 * the same function, but not for all that happens: per row, of some columns, WHEN (false).
 */
static bool
is_as_made(TupleDesc desc, HeapTuple tuple, int kind)
{
	const FormData_pg_trigger *form = (Form_pg_trigger) GETSTRUCT(tuple);
	bool		no_old = heap_attisnull(tuple, Anum_pg_trigger_tgoldtable, desc);
	bool		no_new = heap_attisnull(tuple, Anum_pg_trigger_tgnewtable, desc);

	return form->tgfoid == trigger_function() &&
		form->tgtype == (TRIGGER_TYPE_AFTER | kinds[kind].event) &&	/* not TRIGGER_TYPE_ROW */
		form->tgattr.dim1 == 0 &&
		heap_attisnull(tuple, Anum_pg_trigger_tgqual, desc) &&
		no_old == !kinds[kind].old_table && no_new == !kinds[kind].new_table;
}

/* A trigger of ours on a table; InvalidOid: there is none. */
static Oid
find_trigger(Oid relid, int kind, char *enabled)
{
	const char *name = kinds[kind].name;
	Relation	catalog = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			result = InvalidOid;

	ScanKeyInit(&keys[0], Anum_pg_trigger_tgrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	ScanKeyInit(&keys[1], Anum_pg_trigger_tgname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(name));
	scan = systable_beginscan(catalog, TriggerRelidNameIndexId, true, NULL, 2, keys);
	if ((tuple = systable_getnext(scan)) != NULL)
	{
		const FormData_pg_trigger *form = (Form_pg_trigger) GETSTRUCT(tuple);

		if (!is_as_made(RelationGetDescr(catalog), tuple, kind))
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("trigger \"%s\" of table \"%s\" is not the one of edw_stream",
							name, get_rel_name(relid)),
					 errhint("Drop or rename it.")));
		result = form->oid;
		*enabled = form->tgenabled;
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return result;
}

/* As ALTER TABLE … ENABLE ALWAYS TRIGGER does, also where the trigger is there already. */
static void
enable_always(Oid relid, Oid trigger)
{
	Relation	catalog = table_open(TriggerRelationId, RowExclusiveLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(trigger));
	scan = systable_beginscan(catalog, TriggerOidIndexId, true, NULL, 1, &key);
	if ((tuple = systable_getnext(scan)) != NULL)
	{
		tuple = heap_copytuple(tuple);
		((Form_pg_trigger) GETSTRUCT(tuple))->tgenabled = TRIGGER_FIRES_ALWAYS;
		CatalogTupleUpdate(catalog, &tuple->t_self, tuple);
	}
	systable_endscan(scan);
	table_close(catalog, RowExclusiveLock);
	CacheInvalidateRelcacheByRelid(relid);
}

/*
 * With the extension a trigger goes without CASCADE; a dump says so too (DEPENDS ON EXTENSION). Also where the
 * trigger is there already: somebody may have made it as we do, but for this.
 */
static void
depend_on_extension(Oid trigger)
{
	Oid			extension = get_extension_oid(EDW_EXTENSION_NAME, false);
	ObjectAddress depending;
	ObjectAddress referenced;

	if (list_member_oid(getAutoExtensionsOfObject(TriggerRelationId, trigger), extension))
		return;
	ObjectAddressSet(depending, TriggerRelationId, trigger);
	ObjectAddressSet(referenced, ExtensionRelationId, extension);
	recordDependencyOn(&depending, &referenced, DEPENDENCY_AUTO_EXTENSION);
}

/* Does a subscription fill the table? Its worker fires no triggers for statements. */
static bool
is_subscribed(Oid relid)
{
	Relation	catalog = table_open(SubscriptionRelRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	bool		found;

	ScanKeyInit(&key, Anum_pg_subscription_rel_srrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relid));
	scan = systable_beginscan(catalog, SubscriptionRelSrrelidSrsubidIndexId, true, NULL, 1, &key);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return found;
}

void
EdwViewTriggersCheck(Oid relid)
{
	char		relkind = get_rel_relkind(relid);

	if (relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("changes of \"%s\" cannot be followed", get_rel_name(relid)),
				 errdetail("A registered view reads it, and it is no ordinary table."),
				 errhint("Read a copy of it in the view, or unregister the view with edw_stream.unregister_view().")));
	if (get_rel_persistence(relid) != RELPERSISTENCE_PERMANENT)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("table \"%s\" is not permanent", get_rel_name(relid)),
				 errdetail("An unlogged table that a registered view reads would be emptied by a crash without the view."),
				 errhint("Use ALTER TABLE … SET LOGGED.")));
	if (is_subscribed(relid))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("table \"%s\" is filled by a subscription", get_rel_name(relid)),
				 errdetail("Logical replication fires no triggers for statements, so that a registered view would not see what it does."),
				 errhint("Stream the changes with edw_stream, or take the table out of the subscription.")));
}

static Oid
create_trigger(Oid relid, int kind)
{
	CreateTrigStmt *stmt = makeNode(CreateTrigStmt);

	stmt->trigname = unconstify(char *, kinds[kind].name);
	stmt->relation = makeRangeVar(get_namespace_name(get_rel_namespace(relid)), get_rel_name(relid), -1);
	stmt->funcname = list_make2(makeString(EDW_SCHEMA), makeString("view_changed"));
	stmt->timing = TRIGGER_TYPE_AFTER;
	stmt->events = kinds[kind].event;
	if (kinds[kind].old_table)
		stmt->transitionRels = lappend(stmt->transitionRels, make_transition("edw_old", false));
	if (kinds[kind].new_table)
		stmt->transitionRels = lappend(stmt->transitionRels, make_transition("edw_new", true));
	return CreateTriggerFiringOn(stmt, NULL, relid, InvalidOid, InvalidOid, InvalidOid, InvalidOid,
								 InvalidOid, NULL, false, false, TRIGGER_FIRES_ALWAYS).objectId;
}

static void
create_on_table(Oid relid)
{
	EdwViewTriggersCheck(relid);
	for (int i = 0; i < (int) lengthof(kinds); i++)
	{
		char		enabled = TRIGGER_FIRES_ALWAYS;
		Oid			trigger = find_trigger(relid, i, &enabled);

		if (!OidIsValid(trigger))
			trigger = create_trigger(relid, i);
		else if (enabled != TRIGGER_FIRES_ALWAYS)
			enable_always(relid, trigger);
		depend_on_extension(trigger);
	}
}

void
EdwViewTriggersCreate(Oid relid)
{
	List	   *tables;
	ListCell   *lc;

	if (get_rel_relkind(relid) == RELKIND_MATVIEW)
		return;					/* what the writer does to it is captured there */
	tables = tables_around(relid, ShareRowExclusiveLock);
	foreach(lc, tables)
	{
		create_on_table(lfirst_oid(lc));
		/* whoever wrote to it before has to look again who reads it */
		CacheInvalidateRelcacheByRelid(lfirst_oid(lc));
	}
	CommandCounterIncrement();
}

static EdwViewTriggers
state_of(Oid relid, char **message)
{
	for (int i = 0; i < (int) lengthof(kinds); i++)
	{
		char		enabled = TRIGGER_DISABLED;
		Oid			trigger = find_trigger(relid, i, &enabled);

		if (OidIsValid(trigger) && enabled != TRIGGER_DISABLED && enabled != TRIGGER_FIRES_ON_REPLICA)
			continue;
		*message = psprintf("trigger \"%s\" of table \"%s\" is %s", kinds[i].name,
							get_rel_name(relid), OidIsValid(trigger) ? "disabled" : "missing");
		return OidIsValid(trigger) ? EDW_TRIGGERS_DISABLED : EDW_TRIGGERS_MISSING;
	}
	return EDW_TRIGGERS_INTACT;
}

EdwViewTriggers
EdwViewTriggersState(Oid relid, char **message)
{
	EdwViewTriggers result = EDW_TRIGGERS_INTACT;
	List	   *tables;
	ListCell   *lc;

	if (get_rel_relkind(relid) == RELKIND_MATVIEW)
		return result;
	tables = tables_around(relid, NoLock);
	foreach(lc, tables)
	{
		result = state_of(lfirst_oid(lc), message);
		if (result != EDW_TRIGGERS_INTACT)
			break;
	}
	return result;
}

void
EdwViewTriggersEnable(Oid relid)
{
	for (int i = 0; i < (int) lengthof(kinds); i++)
	{
		char		enabled = TRIGGER_FIRES_ALWAYS;
		Oid			trigger = find_trigger(relid, i, &enabled);

		if (OidIsValid(trigger) && enabled == TRIGGER_FIRES_ON_ORIGIN)
			enable_always(relid, trigger);
	}
	CommandCounterIncrement();
}

void
EdwViewTriggersComplete(Oid relid)
{
	List	   *tables = tables_around(relid, NoLock);
	ListCell   *lc;
	char	   *message;

	foreach(lc, tables)
	{
		EdwViewTriggersEnable(lfirst_oid(lc));
		if (state_of(lfirst_oid(lc), &message) != EDW_TRIGGERS_MISSING)
			continue;
		LockRelationOid(lfirst_oid(lc), ShareRowExclusiveLock);
		create_on_table(lfirst_oid(lc));
	}
	CommandCounterIncrement();
}

static void
drop_from_table(Oid relid)
{
	for (int i = 0; i < (int) lengthof(kinds); i++)
	{
		ObjectAddress address;
		char		enabled;
		Oid			trigger = find_trigger(relid, i, &enabled);

		if (!OidIsValid(trigger))
			continue;
		ObjectAddressSet(address, TriggerRelationId, trigger);
		/* internal: ours may not be dropped by hand (ddl.c), and this is not by hand */
		performDeletion(&address, DROP_RESTRICT, PERFORM_DELETION_INTERNAL);
	}
}

void
EdwViewTriggersDrop(Oid relid)
{
	List	   *tables;
	ListCell   *lc;

	if (get_rel_relkind(relid) != RELKIND_RELATION && get_rel_relkind(relid) != RELKIND_PARTITIONED_TABLE)
		return;
	tables = tables_around(relid, NoLock);
	foreach(lc, tables)
	{
		if (EdwViewTriggersNeeded(lfirst_oid(lc)))
			continue;
		if (!ConditionalLockRelationOid(lfirst_oid(lc), AccessExclusiveLock))
			continue;
		if (!EdwViewTriggersNeeded(lfirst_oid(lc)))	/* nor by what was being registered meanwhile */
			drop_from_table(lfirst_oid(lc));
	}
	CommandCounterIncrement();
}
