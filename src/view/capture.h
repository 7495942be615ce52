/*
 * capture.h
 *		What this transaction changed in relations that registered views read, until it
 *		is flushed.
 *
 * Filled by statement triggers (trigger.c), by the writer for views on views, and by DDL (ddl.c).
 * Rows live in tuplestores that spill at work_mem, in memory of the top transaction. A subtransaction that
 * aborts takes what it captured along.
 *
 * At commit (XACT_EVENT_PRE_COMMIT, PRE_PREPARE: after all deferred triggers) what is captured is
 * flushed (flush.h); the pipeline flushes itself before, so that errors can be told apart.
 */
#ifndef EDW_VIEW_CAPTURE_H
#define EDW_VIEW_CAPTURE_H

#include "executor/tuptable.h"
#include "nodes/pg_list.h"
#include "utils/queryenvironment.h"
#include "utils/relcache.h"

/*
 * Captured rows of one relation. As an ephemeral named relation it has the relation's columns
 * (dropped ones and those that no view reads are null) and after them _edw_sign int2: -1 an old row, 1 a new one.
 */
typedef struct EdwCaptured
{
	Oid			relid;
	bool		all;			/* TRUNCATE, ATTACH …: everything may differ; rows tell nothing */
	int64		old_rows;
	int64		new_rows;
	TupleDesc	desc;			/* NULL when all */
} EdwCaptured;

/* A row that was deleted (sign -1) or inserted (1); an update is both. slot has the relation's shape. */
extern void EdwCaptureRow(Relation rel, TupleTableSlot *slot, int sign);
extern void EdwCaptureSlot(Oid relid, TupleTableSlot *slot, int sign);

/* Everything in the relation may have changed. */
extern void EdwCaptureAll(Oid relid);

/* A registered view itself is to be computed anew, whole (refresh_view, a REFRESH that came too early). */
extern void EdwCaptureView(Oid view);

/* Is there anything to flush? Cheap. */
extern bool EdwCapturePending(void);

/* Of one relation, NULL: nothing. List of all relations and views that were captured. */
extern const EdwCaptured *EdwCaptureFind(Oid relid);
extern List *EdwCaptureRelations(void);	/* Oid */
extern List *EdwCaptureViews(void);	/* Oid */

/* The name that queries know a relation's captured rows by: "edw_captured_<oid>". Palloc'd. */
extern char *EdwCaptureEnrName(Oid relid);

/*
 * All captured rows as ephemeral named relations, for relations of the list (Oid); those of which nothing is
 * captured are empty.
 */
extern QueryEnvironment *EdwCaptureEnvironment(List *relids);

/* Forget all: it is flushed. */
extern void EdwCaptureReset(void);

#endif							/* EDW_VIEW_CAPTURE_H */
