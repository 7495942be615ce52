/*
 * execute.h
 *		Running a view's queries as its owner.
 */
#ifndef EDW_VIEW_EXECUTE_H
#define EDW_VIEW_EXECUTE_H

#include "tcop/dest.h"
#include "utils/queryenvironment.h"
#include "utils/snapshot.h"
#include "utils/tuplestore.h"
#include "view/definition.h"

/*
 * Between the two the view's owner is the current user in a security-restricted operation, search_path is
 * pg_catalog and what else influences results (TimeZone, DateStyle, IntervalStyle, extra_float_digits, lc_*) is
 * as it was when the view was registered: all writers must compute the same partitions. They nest; an ERROR
 * restores too.
 */
typedef struct EdwViewAccess
{
	Oid			saved_user;
	int			saved_context;
	int			guc_level;
} EdwViewAccess;

extern void EdwViewEnter(const EdwViewDef *def, EdwViewAccess *access);
extern void EdwViewLeave(EdwViewAccess *access);

/* The settings to store for a view that is registered now: EdwViewDef.settings. */
extern char *EdwViewCurrentSettings(void);

/*
 * Plan a query (which is scribbled on: pass a copy) and run it with the snapshot, its command id brought up
 * to date; rows go to dest. The environment's relations are announced to the planner with at most enr_rows
 * rows (0: their true number). Returns the number of rows. Between EdwViewEnter and EdwViewLeave.
 */
extern uint64 EdwViewRun(Query *query, QueryEnvironment *environment, Snapshot snapshot,
						 double enr_rows, DestReceiver *dest);

/* The same into a tuplestore of the current memory context and resource owner; desc is set. */
extern Tuplestorestate *EdwViewRunToStore(Query *query, QueryEnvironment *environment,
										  Snapshot snapshot, double enr_rows, TupleDesc *desc);

/* Of how many of a relation's captured rows the planner is best told, as enr_rows. */
extern double EdwViewToldRows(Oid relid, double rows);

#endif							/* EDW_VIEW_EXECUTE_H */
