/*
 * definition.h
 *		A registered materialized view: its row in edw_stream.view, and what was derived
 *		from its query.
 *
 * Loaded within a transaction and cached until something that it was made from changes (relcache
 * invalidation of the view, of a relation in its query, or of edw_stream.view; the callbacks only
 * set a flag). A definition that a caller holds stays valid until the transaction ends.
 */
#ifndef EDW_VIEW_DEFINITION_H
#define EDW_VIEW_DEFINITION_H

#include "datatype/timestamp.h"
#include "nodes/bitmapset.h"
#include "nodes/parsenodes.h"
#include "storage/lockdefs.h"
#include "utils/relcache.h"
#include "view/delta.h"

/* of deferred views without the option */
#define EDW_VIEW_MAX_STALENESS_MS	10000

typedef enum EdwViewRefresh
{
	EDW_REFRESH_COMMIT,			/* in the transaction that made the change */
	EDW_REFRESH_DEFERRED		/* by the refresher, within max_staleness */
} EdwViewRefresh;

/* how the view is brought up to date; chosen by itself */
typedef enum EdwViewMethod
{
	EDW_VIEW_DELTA,				/* the change itself is applied to its groups */
	EDW_VIEW_PARTITION,			/* affected partitions are computed anew and compared */
	EDW_VIEW_FULL				/* all of it is: only with options {"fallback": "full"} */
} EdwViewMethod;

/*
 * A relation in the view's query, through whichever subqueries, CTEs and views; once, however often
 * it occurs. Tables, partitioned tables and materialized views.
 *
 * affected: Queries that together return the partition keys (one column per column of
 * partition_by, in that order, with the types of the view's columns; nulls are keys
 * too) of all rows of the view that a change of this relation can concern, too many at most. In them
 * captured rows stand as ephemeral named relations, see EdwCaptureEnrName.
 */
typedef struct EdwViewBase
{
	Oid			relid;
	bool		is_matview;
	Bitmapset  *columns;		/* attnums that the view's query reads */
	bool		all;			/* any change of it concerns all partitions; affected is NIL */
	List	   *affected;		/* Query * */
} EdwViewBase;

typedef struct EdwViewDef
{
	Oid			relid;
	char	   *name;			/* quoted, qualified */
	Oid			owner;
	int			nkeys;
	AttrNumber *keys;			/* partition_by: the view's columns */
	EdwViewRefresh refresh;
	int64		max_staleness_ms;	/* deferred */
	EdwViewMethod method;
	char	   *why_not_delta;	/* a sentence for explain_view, NULL when method is delta */
	List	   *bases;			/* EdwViewBase * */
	Query	   *query;			/* its own, rewritten: underlying views expanded */
	int			ngroups;		/* GROUP BY at the top: these columns identify a row, 0: nothing does */
	AttrNumber *groups;			/* … the view's columns */
	EdwDelta   *delta;			/* method delta, else NULL */
	char	   *settings;		/* pinned when it was registered, "TimeZone=…", see execute.h */
} EdwViewDef;

/* NULL when the relation is not registered. */
extern EdwViewDef *EdwViewLoad(Oid view);

/*
 * OIDs of the registered views that read a relation directly in their (expanded) query; NIL for
 * most. Cheap: from a cache.
 */
extern List *EdwViewsReading(Oid base);

/* Union over those views of the columns they read. */
extern Bitmapset *EdwColumnsRead(Oid base);

/*
 * Those of them that captured rows have to hold: for views that are refreshed by partition only what
 * tells which partitions. *each: whether every row counts, as it does to method delta; else equal rows are one.
 */
extern Bitmapset *EdwColumnsKept(Oid base, bool *each);

/*
 * The view's query for some of its partitions, with the predicate where the planner pushes it down to the
 * base tables. keys: nkeys lists of Const of one length, tuple i being element i of each; nulls
 * are keys. NIL: all of the view, without predicate. Columns are the view's, in their order.
 */
extern Query *EdwViewQueryForKeys(const EdwViewDef *def, List *const *keys);

/* SELECT ctid and all columns of the stored rows of some partitions, likewise. */
extern Query *EdwViewStoredForKeys(const EdwViewDef *def, List *const *keys);

/*
 * For a SQL call: open a registered view of the caller's; ERROR if it is not a materialized view, not his or
 * not registered.
 */
extern Relation EdwRegisteredViewOpen(Oid view, LOCKMODE lock);

/*
 * ERROR if this SQL call ("refresh_view()") may not write here: a read-only transaction, a standby, a view's
 * own query.
 */
extern void EdwPreventViewCommand(const char *command);

/*
 * Something that the view was made from has changed: derive it anew and put right which relations it reads.
 * ERROR, of the kinds that register_view raises, when it cannot be kept fresh any more. Idempotent; no-op
 * for views that are not registered.
 */
extern void EdwViewRecheck(Oid view);

#endif							/* EDW_VIEW_DEFINITION_H */
