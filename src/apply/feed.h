/*
 * feed.h
 *		Rows that a statement reads by a name, straight from the caller's own structures.
 *
 * Where store.h copies each row, a feed is asked for the columns that the statement reads, row by row, and
 * hands out values that stay the caller's. It also knows where a row of the statement's target is: see tid.
 */
#ifndef EDW_APPLY_FEED_H
#define EDW_APPLY_FEED_H

#include "access/attnum.h"
#include "access/tupdesc.h"
#include "utils/queryenvironment.h"

typedef struct EdwFeed
{
	EphemeralNamedRelationData enr;
	int			nrows;

	/*
	 * Columns that are ctid and tableoid of a row of the target of UPDATE or DELETE; 0: none. Joined by both, that row is neither
	 * looked for nor read by a scan, but goes straight to the write. If somebody has changed it, it is passed over.
	 */
	AttrNumber	tid;
	AttrNumber	tableoid;

	/* A scan of some columns, which outlive it: what the function below gets; in the executor's context. */
	void	   *(*begin) (const struct EdwFeed *feed, const AttrNumber *columns, int ncolumns);

	/*
	 * Those columns of a row; what they point at stays until the next call, and of columns that a statement joins by as long as the feed.
	 * What a column 0 is set to does not matter.
	 */
	void		(*show) (void *scan, int row, Datum *values, bool *nulls);
	struct EdwFeed *outer;		/* a trigger that drains another stream */
} EdwFeed;

/* Set what is above by hand; name must outlive the feed. */
extern void EdwFeedBegin(EdwFeed *feed, char *name, TupleDesc desc, int nrows);

/*
 * Run a one-shot statement that reads the feed, in the caller's SPI connection. Returns SPI_processed; what the
 * statement returns is in SPI_tuptable.
 */
extern uint64 EdwFeedExecute(EdwFeed *feed, const char *sql, int nargs, Oid *types, Datum *values);

/* _PG_init: the hooks that let the planner read feeds. */
extern void EdwFeedInit(void);

#endif							/* EDW_APPLY_FEED_H */
