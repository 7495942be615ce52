/*
 * ddl_table.c
 *		DDL on tables that registered views read (see ddl.c).
 *
 * A table that comes to or goes from one that is read brings or takes its rows: they are captured as if
 * they had been inserted or deleted. The command holds it locked, so that nobody else changes it
 * meanwhile; who writes to its siblings is told apart by the flush's locks as ever.
 */
#include "postgres.h"

#include "view/ddl_table.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/tupconvert.h"
#include "catalog/namespace.h"
#include "catalog/pg_inherits.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/deparse_utility.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "view/capture.h"
#include "view/definition.h"
#include "view/state.h"
#include "view/trigger.h"

/* All rows of a table as rows of one above it. */
static void
capture_table(Relation table, Relation above, int sign)
{
	TupleConversionMap *map = convert_tuples_by_name(RelationGetDescr(table), RelationGetDescr(above));
	TupleTableSlot *slot = table_slot_create(table, NULL);
	TupleTableSlot *mapped = MakeSingleTupleTableSlot(RelationGetDescr(above), &TTSOpsVirtual);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan = table_beginscan(table, snapshot, 0, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		EdwCaptureSlot(RelationGetRelid(above),
					   map == NULL ? slot : execute_attr_map_slot(map->attrMap, slot, mapped), sign);
	}
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	ExecDropSingleTupleTableSlot(mapped);
	ExecDropSingleTupleTableSlot(slot);
}

static void
capture_tree(Oid relid, Oid above, int sign)
{
	Relation	to = table_open(above, AccessShareLock);
	List	   *tables = find_all_inheritors(relid, AccessShareLock, NULL);
	ListCell   *lc;

	foreach(lc, tables)
	{
		Relation	table = table_open(lfirst_oid(lc), NoLock);

		if (RELKIND_HAS_TABLE_AM(table->rd_rel->relkind))
			capture_table(table, to, sign);
		table_close(table, NoLock);
	}
	table_close(to, NoLock);
}

static List *
with_above(Oid relid)
{
	return lcons_oid(relid, EdwViewTablesAbove(relid));
}

/* A table came to another one (sign 1), or left it (-1). */
static void
table_moved(Oid relid, Oid parent, int sign)
{
	List	   *above = with_above(parent);
	ListCell   *lc;

	if (sign < 0)
		EdwViewTriggersDrop(relid);
	else if (EdwViewTriggersNeeded(relid))
		EdwViewTriggersComplete(relid);
	foreach(lc, above)
		if (EdwViewsReading(lfirst_oid(lc)) != NIL)
			capture_tree(relid, lfirst_oid(lc), sign);
}

/* Registered views (Oid) that read a table or one around it. */
static List *
views_around(Oid relid)
{
	List	   *tables = list_concat(with_above(relid), find_all_inheritors(relid, NoLock, NULL));
	List	   *views = NIL;
	ListCell   *lc;

	foreach(lc, tables)
		views = list_concat_unique_oid(views, EdwViewsReading(lfirst_oid(lc)));
	return views;
}

/* Which of a view's triggers is disabled; NULL: none. */
static char *
find_disabled(Oid view)
{
	List	   *bases = EdwViewBasesRecorded(view);
	ListCell   *lc;

	foreach(lc, bases)
	{
		char	   *message;

		if (EdwViewTriggersState(lfirst_oid(lc), &message) == EDW_TRIGGERS_DISABLED)
			return message;
	}
	return NULL;
}

/* Triggers of a table were enabled or disabled. */
static void
triggers_altered(Oid relid)
{
	List	   *views = views_around(relid);
	ListCell   *lc;

	if (views != NIL)
		EdwViewTriggersEnable(relid);
	foreach(lc, views)
	{
		Oid			view = lfirst_oid(lc);
		char	   *disabled = find_disabled(view);

		if (disabled != NULL)
			EdwViewMark(view, EDW_VIEW_TRIGGER_DISABLED, disabled,
						psprintf("Use ALTER TABLE … ENABLE ALWAYS TRIGGER: the view is then computed anew. Or use edw_stream.unregister_view(%s).",
								 quote_literal_cstr(get_rel_name(view))));
		else if (EdwViewUnmark(view, EDW_VIEW_TRIGGER_DISABLED))
			EdwCaptureView(view);
	}
}

/* Other rows of a table are to be seen by some: can the views that read it bear that? */
static void
visibility_altered(Oid relid)
{
	List	   *views = EdwViewsReading(relid);
	ListCell   *lc;

	foreach(lc, views)
	{
		EdwViewRecheck(lfirst_oid(lc));
		EdwCaptureView(lfirst_oid(lc));
	}
}

static Oid
partition_of(const AlterTableCmd *command)
{
	return RangeVarGetRelid(castNode(PartitionCmd, command->def)->name, NoLock, false);
}

static Oid
parent_of(const AlterTableCmd *command)
{
	return RangeVarGetRelid(castNode(RangeVar, command->def), NoLock, false);
}

static void
run_subcommand(Oid relid, const AlterTableCmd *command)
{
	switch (command->subtype)
	{
		case AT_AttachPartition:
			table_moved(partition_of(command), relid, 1);
			break;
		case AT_DetachPartition:
		case AT_DetachPartitionFinalize:
			table_moved(partition_of(command), relid, -1);
			break;
		case AT_AddInherit:
			table_moved(relid, parent_of(command), 1);
			break;
		case AT_DropInherit:
			table_moved(relid, parent_of(command), -1);
			break;
		case AT_EnableTrig:
		case AT_EnableAlwaysTrig:
		case AT_EnableReplicaTrig:
		case AT_DisableTrig:
		case AT_EnableTrigAll:
		case AT_DisableTrigAll:
		case AT_EnableTrigUser:
		case AT_DisableTrigUser:
			triggers_altered(relid);
			break;
		case AT_SetUnLogged:
			if (EdwViewTriggersNeeded(relid))
				EdwViewTriggersCheck(relid);
			break;
		case AT_EnableRowSecurity:
		case AT_DisableRowSecurity:
		case AT_ForceRowSecurity:
		case AT_NoForceRowSecurity:
			visibility_altered(relid);
			break;
		default:
			break;
	}
}

void
EdwDdlTableAltered(Oid relid, List *subcommands)
{
	ListCell   *lc;

	foreach(lc, subcommands)
	{
		const CollectedATSubcmd *subcommand = lfirst(lc);

		run_subcommand(relid, castNode(AlterTableCmd, subcommand->parsetree));
	}
}

void
EdwDdlTableCreated(Oid relid)
{
	if (EdwViewTablesAbove(relid) != NIL && EdwViewTriggersNeeded(relid))
		EdwViewTriggersComplete(relid);
}

void
EdwDdlTableRewritten(Oid relid)
{
	List	   *tables = with_above(relid);
	ListCell   *lc;

	foreach(lc, tables)
		if (EdwViewsReading(lfirst_oid(lc)) != NIL)
			EdwCaptureAll(lfirst_oid(lc));
}

void
EdwDdlTableDropped(Oid relid)
{
	List	   *tables = EdwViewTablesAboveDropped(relid);
	ListCell   *lc;

	foreach(lc, tables)
		if (EdwViewsReading(lfirst_oid(lc)) != NIL)
			EdwCaptureAll(lfirst_oid(lc));
}
