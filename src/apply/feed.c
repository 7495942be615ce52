/*
 * feed.c
 *		Rows of the caller's as a relation that a statement can read (see feed.h).
 *
 * To the parser it is an ephemeral named relation, as a trigger's transition table is. The planner
 * is given a custom scan for it (feed_plan.c), which hands out the caller's own values where a
 * tuplestore would want each row formed, stored and taken apart again. The join with the statement's target is such a scan,
 * too, where the feed knows where the target's rows are, or probe.c finds them.
 *
 * When a row was changed by somebody else meanwhile, PostgreSQL evaluates the plan again for
 * that row (EvalPlanQual), and wants the feed's row of it from the junk column "whole row",
 * which it keeps for every relation that it cannot read again. That column is
 * only ever read here, so it holds the row's number in place of a copy of the row. A row that was found by its address
 * is another one then: there is nothing to evaluate. One that was found by its key is compared with it again.
 *
 * State: one pointer to the feed that is being read, restored by EdwFeedExecute. All memory is the
 * caller's or the executor's.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "apply/feed_scan.h"
#include "apply/probe.h"
#include "edw_stream.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "parser/parsetree.h"

/* what the planner is told, so that it does not hash the target */
#define PLANNED_ROWS	10

/* in place of a whole row; a varlena, for whoever copies it */
typedef struct RowNumber
{
	int32		vl_len_;
	int32		number;
} RowNumber;

typedef struct FeedState
{
	CustomScanState css;
	const EdwFeed *feed;
	void	   *scan;
	int			next;
	int			whole_column;	/* -1: it is not read */
	RowNumber	whole;
	Index		feed_rti;

	/* of a join by key */
	EdwProbe   *probe;			/* NULL: it is none */
	bool		outer;
	void	   *key_scan;		/* the feed's columns that are compared with the index's */
	Index		target_rti;
	Relation	target;
	int			tid_column;		/* -1: it is not read */
	int			tableoid_column;
	int			window;			/* the first row of the window that was looked up */
	int			window_end;
	ItemPointerData tid;		/* of the row at hand */
} FeedState;

static EdwFeed *current_feed = NULL;

void
EdwFeedBegin(EdwFeed *feed, char *name, TupleDesc desc, int nrows)
{
	memset(feed, 0, sizeof(EdwFeed));
	feed->nrows = nrows;
	feed->enr.md.name = name;
	feed->enr.md.tupdesc = desc;
	feed->enr.md.enrtype = ENR_NAMED_TUPLESTORE;
	feed->enr.md.enrtuples = PLANNED_ROWS;
}

uint64
EdwFeedExecute(EdwFeed *feed, const char *sql, int nargs, Oid *types, Datum *values)
{
	feed->outer = current_feed;
	current_feed = feed;
	SPI_register_relation(&feed->enr);
	PG_TRY();
	{
		SPI_execute_with_args(sql, nargs, types, values, NULL, false, 0);
	}
	PG_FINALLY();
	{
		current_feed = feed->outer;
	}
	PG_END_TRY();
	SPI_unregister_relation(feed->enr.md.name);
	return SPI_processed;
}

const EdwFeed *
EdwFeedCurrent(void)
{
	return current_feed;
}

/*
 * Scanning
 */

/* The columns that the feed has, of an empty slot. */
static void
set_row(FeedState *state, int number, TupleTableSlot *slot)
{
	state->feed->show(state->scan, number, slot->tts_values, slot->tts_isnull);
	if (state->whole_column >= 0)
	{
		SET_VARSIZE(&state->whole, sizeof(RowNumber));
		state->whole.number = number;
		slot->tts_values[state->whole_column] = PointerGetDatum(&state->whole);
		slot->tts_isnull[state->whole_column] = false;
	}
}

static TupleTableSlot *
next_row(ScanState *node)
{
	FeedState  *state = (FeedState *) node;
	TupleTableSlot *slot = node->ss_ScanTupleSlot;

	ExecClearTuple(slot);
	if (state->next < state->feed->nrows)
	{
		set_row(state, state->next++, slot);
		ExecStoreVirtualTuple(slot);
	}
	return slot;
}

/* Which row of the feed is looked at again? False: it is not asked for one. */
static bool
rechecked_row(FeedState *state, int *number)
{
	EPQState   *epq = state->css.ss.ps.state->es_epq_active;
	ExecAuxRowMark *mark = epq->relsubs_rowmark[state->feed_rti - 1];
	Datum		whole;
	bool		isnull;

	if (mark == NULL)
		elog(ERROR, "the feed has no row mark");
	whole = ExecGetJunkAttribute(epq->origslot, mark->wholeAttNo, &isnull);
	if (isnull || state->next > 0)
		return false;
	memcpy(number, VARDATA_ANY(DatumGetPointer(whole)), sizeof(*number));
	state->next++;
	return true;
}

/* In place of a scan, when a row is looked at again: that row, once. */
static bool
recheck_row(ScanState *node, TupleTableSlot *slot)
{
	FeedState  *state = (FeedState *) node;
	int			number;

	if (!rechecked_row(state, &number))
		return false;
	ExecClearTuple(slot);
	set_row(state, number, slot);
	ExecStoreVirtualTuple(slot);
	return true;
}

static bool
recheck_nothing(ScanState *node pg_attribute_unused(), TupleTableSlot *slot pg_attribute_unused())
{
	return false;
}

/*
 * Joined by key
 */

static void
fill_key(FeedState *state, int number, int at)
{
	Datum	   *values;
	bool	   *nulls;

	EdwProbeKey(state->probe, at, &values, &nulls);
	state->feed->show(state->key_scan, number, values, nulls);
}

/* tid NULL: there is no such row of the target. */
static void
show_joined(FeedState *state, int number, const ItemPointerData *tid, TupleTableSlot *slot)
{
	set_row(state, number, slot);
	if (state->tid_column >= 0)
	{
		slot->tts_isnull[state->tid_column] = tid == NULL;
		if (tid)
			state->tid = *tid;
		slot->tts_values[state->tid_column] = PointerGetDatum(&state->tid);
	}
	if (state->tableoid_column >= 0)
	{
		slot->tts_isnull[state->tableoid_column] = tid == NULL;
		slot->tts_values[state->tableoid_column] = ObjectIdGetDatum(RelationGetRelid(state->target));
	}
	ExecStoreVirtualTuple(slot);
}

static void
look_up_window(FeedState *state)
{
	state->window = state->next;
	state->window_end = Min(state->next + EDW_PROBE_WINDOW, state->feed->nrows);
	for (int row = state->window; row < state->window_end; row++)
		fill_key(state, row, row - state->window);
	EdwProbeLookUp(state->probe, state->window_end - state->window);
}

static TupleTableSlot *
next_joined(ScanState *node)
{
	FeedState  *state = (FeedState *) node;
	TupleTableSlot *slot = node->ss_ScanTupleSlot;

	ExecClearTuple(slot);
	while (state->next < state->feed->nrows)
	{
		int			row = state->next;
		ItemPointerData tid;
		bool		found;

		if (row >= state->window_end)
			look_up_window(state);
		state->next++;
		found = EdwProbeFound(state->probe, row - state->window, &tid);
		if (found || state->outer)
		{
			show_joined(state, row, found ? &tid : NULL, slot);
			break;
		}
	}
	return slot;
}

/* In place of a look-up, when a row of the target has changed meanwhile: is it still one of the key? */
static bool
recheck_joined(ScanState *node, TupleTableSlot *slot)
{
	FeedState  *state = (FeedState *) node;
	TupleTableSlot *target = node->ps.state->es_epq_active->relsubs_slot[state->target_rti - 1];
	int			number;
	bool		found;

	if (!rechecked_row(state, &number))
		return false;
	fill_key(state, number, 0);
	found = !TupIsNull(target) && EdwProbeMatches(state->probe, 0, target);
	ExecClearTuple(slot);
	if (found || state->outer)
		show_joined(state, number, found ? &target->tts_tid : NULL, slot);
	return found || state->outer;
}

/*
 * The custom scan
 */

static TupleTableSlot *
exec_scan(CustomScanState *node)
{
	FeedState  *state = (FeedState *) node;

	if (state->probe)
		return ExecScan(&node->ss, next_joined, recheck_joined);
	return ExecScan(&node->ss, next_row, state->target_rti == 0 ? recheck_row : recheck_nothing);
}

static void
find_relations(FeedState *state, EState *estate, const Bitmapset *relids)
{
	int			rti = -1;

	while ((rti = bms_next_member(relids, rti)) >= 0)
	{
		const RangeTblEntry *rte = rt_fetch(rti, estate->es_range_table);

		if (rte->rtekind == RTE_NAMEDTUPLESTORE)
			state->feed_rti = rti;
		else if (rte->rtekind == RTE_RELATION)
			state->target_rti = rti;
	}
}

/* Which of the feed's columns each column of the scan is; 0: none, it is shown here. */
static AttrNumber *
find_columns(FeedState *state, const List *tlist)
{
	AttrNumber *columns = palloc(Max(list_length(tlist), 1) * sizeof(AttrNumber));
	int			n = 0;
	const ListCell *lc;

	state->whole_column = state->tid_column = state->tableoid_column = -1;
	foreach(lc, tlist)
	{
		const Var  *var = castNode(Var, lfirst_node(TargetEntry, lc)->expr);

		columns[n] = var->varattno;
		if (var->varattno == InvalidAttrNumber)
			state->whole_column = n;
		else if (var->varattno == SelfItemPointerAttributeNumber)
		{
			columns[n] = state->feed->tid;
			state->tid_column = n;
		}
		else if (var->varattno == TableOidAttributeNumber)
		{
			columns[n] = state->feed->tableoid;
			state->tableoid_column = n;
		}
		n++;
	}
	return columns;
}

static void
begin_by_key(FeedState *state, EState *estate, const List *private)
{
	LOCKMODE	lockmode = exec_rt_fetch(state->target_rti, estate)->rellockmode;
	int			n;
	AttrNumber *columns;

	state->target = EdwResultRelation(estate, state->target_rti);
	state->outer = list_nth_int(private, EDW_FEED_OUTER);
	state->probe = EdwProbeBegin(state->target, (Oid) list_nth_int(private, EDW_FEED_INDEX), lockmode,
								 estate->es_snapshot);
	n = EdwProbeKeyColumns(state->probe);
	columns = palloc(n * sizeof(AttrNumber));
	for (int i = 0; i < n; i++)
		columns[i] = list_nth_int(private, EDW_FEED_COLUMNS + i);
	state->key_scan = state->feed->begin(state->feed, columns, n);
}

static void
begin_scan(CustomScanState *node, EState *estate, int eflags pg_attribute_unused())
{
	FeedState  *state = (FeedState *) node;
	CustomScan *scan = (CustomScan *) node->ss.ps.plan;

	if (current_feed == NULL)
		elog(ERROR, "there is no feed to read");
	state->feed = current_feed;
	find_relations(state, estate, scan->custom_relids);
	state->scan = state->feed->begin(state->feed, find_columns(state, scan->custom_scan_tlist),
									 list_length(scan->custom_scan_tlist));
	if (scan->custom_private != NIL)
		begin_by_key(state, estate, scan->custom_private);
}

static void
end_scan(CustomScanState *node)
{
	FeedState  *state = (FeedState *) node;

	if (state->probe)
		EdwProbeEnd(state->probe);
}

static void
rescan(CustomScanState *node)
{
	FeedState  *state = (FeedState *) node;

	state->next = state->window = state->window_end = 0;
	ExecScanReScan(&node->ss);
}

static const CustomExecMethods exec_methods = {
	.CustomName = EDW_FEED_SCAN_NAME,
	.BeginCustomScan = begin_scan,
	.ExecCustomScan = exec_scan,
	.EndCustomScan = end_scan,
	.ReScanCustomScan = rescan
};

static Node *
create_state(CustomScan *scan pg_attribute_unused())
{
	FeedState  *state = palloc0(sizeof(FeedState));

	NodeSetTag(state, T_CustomScanState);
	state->css.methods = &exec_methods;
	return (Node *) state;
}

const CustomScanMethods EdwFeedScanMethods = {
	.CustomName = EDW_FEED_SCAN_NAME,
	.CreateCustomScanState = create_state
};

void
EdwFeedInit(void)
{
	RegisterCustomScanMethods(&EdwFeedScanMethods);
	EdwFeedPlanInit();
}
