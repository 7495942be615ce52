/*
 * moved.c
 *		Rows that MERGE moves between partitions (see moved.h).
 *
 * A MERGE that updates a partitioned table with our triggers is marked as one that inserts and deletes,
 * too, before it begins. So the statement's triggers for these fire, other ones included, with the rows that
 * moved or none. It does not matter which columns it sets: a row trigger may set others.
 */
#include "postgres.h"

#include "view/moved.h"

#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "nodes/execnodes.h"
#include "utils/rel.h"
#include "view/trigger.h"

static ExecutorStart_hook_type previous_start;
static bool watched;

bool
EdwMovedWatched(void)
{
	return watched;
}

static bool
has_our_triggers(const TriggerDesc *triggers)
{
	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
		if (EdwViewTriggerIsOurs(triggers->triggers[i].tgname))
			return true;
	return false;
}

static void
mark(PlanState *plan)
{
	ModifyTableState *modify;

	if (plan == NULL || !IsA(plan, ModifyTableState))
		return;
	modify = (ModifyTableState *) plan;
	if (modify->operation == CMD_MERGE && (modify->mt_merge_subcommands & MERGE_UPDATE) != 0 &&
		modify->rootResultRelInfo->ri_RelationDesc->rd_rel->relkind == RELKIND_PARTITIONED_TABLE &&
		has_our_triggers(modify->rootResultRelInfo->ri_TrigDesc))
		modify->mt_merge_subcommands |= MERGE_INSERT | MERGE_DELETE;
}

static void
start(QueryDesc *query, int eflags)
{
	ListCell   *cell;

	watched = true;
	(previous_start != NULL ? previous_start : standard_ExecutorStart) (query, eflags);
	mark(query->planstate);
	foreach(cell, query->estate->es_auxmodifytables)
		mark(lfirst(cell));
}

void
EdwMovedInit(void)
{
	previous_start = ExecutorStart_hook;
	ExecutorStart_hook = start;
}
