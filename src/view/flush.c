/*
 * flush.c
 *		Captured changes into registered views (see flush.h).
 *
 * A view is worked on when its bases are done: what was written to a base that is a view was
 * captured by then. The snapshot is taken once, when all locks are held; its command id is brought up to date
 * for each query, so that a view sees what was written to the views it reads.
 */
#include "postgres.h"

#include "view/flush.h"

#include "access/xact.h"
#include "catalog/options.h"
#include "compat.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "view/capture.h"
#include "view/definition.h"
#include "view/execute.h"
#include "view/keys.h"
#include "view/pending.h"
#include "view/refresh.h"
#include "view/stat.h"

/* the class of the change lock; its fourth field is that of advisory locks with two keys */
#define LOCK_CLASS_CHANGE	0x4556
#define LOCK_TWO_KEYS		2

static Oid	current = InvalidOid;
static bool flushing = false;

Oid
EdwFlushCurrent(void)
{
	return current;
}

void
EdwFlushRefuseChanges(void)
{
	if (flushing)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the query of a registered view must not change tables"),
				 errhint("Functions that it calls must be as IMMUTABLE as they are said to be.")));
}

static void
add_context(void *arg)
{
	const EdwViewDef *def = arg;

	errcontext("refresh of registered materialized view %s", def->name);
}

/* Registered views that what is captured concerns, directly or through views that will be written. */
static List *
concerned_views(void)
{
	List	   *views = list_copy(EdwCaptureViews());
	List	   *relations = EdwCaptureRelations();
	ListCell   *cell;

	foreach(cell, relations)
		views = list_concat_unique_oid(views, EdwViewsReading(lfirst_oid(cell)));
	foreach(cell, views)		/* grows while we go */
	{
		EdwViewDef *def = EdwViewLoad(lfirst_oid(cell));

		if (def != NULL && def->refresh == EDW_REFRESH_COMMIT)
			views = list_concat_unique_oid(views, EdwViewsReading(def->relid));
	}
	list_sort(views, list_oid_cmp);
	return views;
}

/* Take a view's change lock: nobody else changes it or notes changes of it until the transaction ends. */
static void
lock_changes(Oid view)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, LOCK_CLASS_CHANGE, view, LOCK_TWO_KEYS);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

/*
 * Find the views and lock them. All relations before all change locks: whoever holds a relation (REFRESH by hand) and
 * comes here then waits for nobody that waits for him. Waiting may show us other definitions: look again.
 */
static List *
lock_views(void)
{
	List	   *locked = NIL;
	List	   *views;
	ListCell   *cell;

	while ((views = list_difference_oid(concerned_views(), locked)) != NIL)
	{
		foreach(cell, views)
		{
			EdwViewDef *def = EdwViewLoad(lfirst_oid(cell));

			if (def != NULL && def->refresh == EDW_REFRESH_COMMIT)
				LockRelationOid(def->relid, RowExclusiveLock);
		}
		foreach(cell, views)
			lock_changes(lfirst_oid(cell));
		AcceptInvalidationMessages();
		locked = list_concat(locked, views);
	}
	return locked;
}

/* Append a view to the order, after those of the views that it reads. */
static List *
add_after_bases(List *order, Oid view, const List *views)
{
	EdwViewDef *def;
	ListCell   *cell;

	if (!list_member_oid(views, view) || list_member_oid(order, view))
		return order;
	def = EdwViewLoad(view);
	if (def == NULL)			/* dropped while we waited */
		return order;
	foreach(cell, def->bases)
	{
		EdwViewBase *base = lfirst(cell);

		if (base->is_matview)
			order = add_after_bases(order, base->relid, views);
	}
	return lappend_oid(order, view);
}

/* What pg_class knows of a relation: how many rows it has, negative if unknown. False: it is a view without data. */
static bool
look_up_rows(Oid relid, double *rows)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Form_pg_class form;
	bool		populated;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	form = (Form_pg_class) GETSTRUCT(tuple);
	populated = form->relispopulated;
	*rows = form->reltuples;
	ReleaseSysCache(tuple);
	return populated;
}

/* The partitions that one base's changes concern, into keys. */
static void
add_affected(const EdwViewBase *base, const EdwCaptured *captured, QueryEnvironment *environment,
			 Snapshot snapshot, EdwViewKeys *keys)
{
	double		told = EdwViewToldRows(captured->relid, captured->old_rows + captured->new_rows);
	ListCell   *cell;

	foreach(cell, base->affected)
		(void) EdwViewRun(copyObject(lfirst_node(Query, cell)), environment, snapshot, told,
						  EdwViewKeysReceiver(keys));
}

static QueryEnvironment *
captured_rows(const EdwViewDef *def)
{
	List	   *relids = NIL;
	ListCell   *cell;

	foreach(cell, def->bases)
		relids = lappend_oid(relids, ((EdwViewBase *) lfirst(cell))->relid);
	return EdwCaptureEnvironment(relids);
}

/* Is all of a view concerned? Else *touched tells whether anything in it may be. */
static bool
concerns_all(const EdwViewDef *def, bool *touched)
{
	bool		all = list_member_oid(EdwCaptureViews(), def->relid);
	ListCell   *cell;

	*touched = all;
	foreach(cell, def->bases)
	{
		EdwViewBase *base = lfirst(cell);
		const EdwCaptured *captured = EdwCaptureFind(base->relid);

		if (captured == NULL)
			continue;
		*touched = true;
		if (captured->all || base->all)
			all = true;
	}
	return all || (*touched && def->method == EDW_VIEW_FULL);
}

/* NULL: all partitions. */
static List **
affected_partitions(const EdwViewDef *def, Snapshot snapshot, EdwViewCounts *counts)
{
	QueryEnvironment *environment = captured_rows(def);
	EdwViewKeys *keys = EdwViewKeysCreate(def);
	double		rows;
	ListCell   *cell;

	foreach(cell, def->bases)
	{
		EdwViewBase *base = lfirst(cell);
		const EdwCaptured *captured = EdwCaptureFind(base->relid);

		if (captured != NULL)
			add_affected(base, captured, environment, snapshot, keys);
	}
	counts->affected += EdwViewKeysCount(keys);

	/* a whole view is computed at once rather than by most of its partitions */
	(void) look_up_rows(def->relid, &rows);
	if (EdwViewKeysOverflowed(keys) || (rows > 0 && EdwViewKeysCount(keys) > rows / 2))
		return NULL;
	return EdwViewKeysLists(keys);
}

/* Bring a view up to date by its partitions. */
static void
refresh_partitions(const EdwViewDef *def, bool all, Snapshot snapshot, EdwViewCounts *counts)
{
	List	  **keys = all ? NULL : affected_partitions(def, snapshot, counts);

	if (keys != NULL && keys[0] == NIL)
		return;
	if (def->refresh == EDW_REFRESH_DEFERRED)
	{
		EdwPendingAdd(def, keys);
		return;
	}
	EdwViewRefreshKeys(def, keys, snapshot, counts);
	EdwDeltaRebuild(def, keys, snapshot);
}

static void
flush_view(const EdwViewDef *def, Snapshot snapshot)
{
	EdwViewCounts counts = {0};
	EdwViewAccess access;
	instr_time	started;
	instr_time	ended;
	double		rows;
	bool		touched;
	bool		all = concerns_all(def, &touched);

	/* REFRESH … WITH NO DATA leaves nothing to be kept fresh, until the next REFRESH */
	if (!touched || !look_up_rows(def->relid, &rows))
		return;
	INSTR_TIME_SET_CURRENT(started);
	EdwViewEnter(def, &access);
	if (def->method != EDW_VIEW_DELTA || !EdwDeltaApply(def, snapshot, &counts))
		refresh_partitions(def, all, snapshot, &counts);
	EdwViewLeave(&access);
	INSTR_TIME_SET_CURRENT(ended);
	INSTR_TIME_SUBTRACT(ended, started);
	/* what is only noted is counted by who refreshes it: neither waits for the other's row */
	if (def->refresh == EDW_REFRESH_COMMIT)
		EdwViewStatAdd(def->relid, &counts, INSTR_TIME_GET_MICROSEC(ended), snapshot);
}

static void
flush_views(const List *order, Snapshot snapshot)
{
	ListCell   *cell;

	foreach(cell, order)
	{
		EdwViewDef *def = EdwViewLoad(lfirst_oid(cell));
		ErrorContextCallback callback = {error_context_stack, add_context, def};

		error_context_stack = &callback;
		current = def->relid;
		flush_view(def, snapshot);
		error_context_stack = callback.previous;
	}
	current = InvalidOid;
}

void
EdwFlush(void)
{
	MemoryContext context;
	MemoryContext old;
	bool		read_only = XactReadOnly;
	List	   *views;
	List	   *order = NIL;
	ListCell   *cell;

	current = InvalidOid;
	if (!EdwCapturePending())
		return;
	context = AllocSetContextCreate(CurTransactionContext, "edw_stream flush",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	XactReadOnly = false;		/* it may have become so after its changes */
	CommandCounterIncrement();	/* the last statement's changes are visible from here on */
	views = lock_views();
	foreach(cell, views)
		order = add_after_bases(order, lfirst_oid(cell), views);
	PushActiveSnapshot(GetLatestSnapshot());
	flushing = true;
	PG_TRY();
	{
		flush_views(order, GetActiveSnapshot());
	}
	PG_FINALLY();
	{
		flushing = false;
	}
	PG_END_TRY();
	PopActiveSnapshot();
	EdwCaptureReset();
	XactReadOnly = read_only;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* Only who may REFRESH it. */
static void
check_owned(Oid view)
{
	if (EdwViewLoad(view) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 get_rel_name(view) == NULL ?
				 errmsg("relation with OID %u does not exist", view) :
				 errmsg("\"%s\" is not a registered materialized view", get_rel_name(view)),
				 errhint("See edw_stream.views, or use edw_stream.register_view.")));
	if (!EdwOwnsRelation(view, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_MATVIEW, get_rel_name(view));
}

PG_FUNCTION_INFO_V1(edw_stream_refresh_view);

Datum
edw_stream_refresh_view(PG_FUNCTION_ARGS)
{
	Oid			view = PG_GETARG_OID(0);

	EdwRequireArgument(fcinfo, 0, "view");
	EdwPreventViewCommand("refresh_view()");
	check_owned(view);
	if (EdwViewLoad(view)->refresh == EDW_REFRESH_DEFERRED)
	{
		EdwFlush();				/* what this transaction has changed is to be seen, too */
		(void) EdwPendingWorkOff(view, true);
	}
	else
		EdwCaptureView(view);
	EdwFlush();
	PG_RETURN_VOID();
}
