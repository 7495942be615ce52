/*
 * state.h
 *		Rows of edw_stream.view: is a view registered, is it kept fresh, and why not.
 */
#ifndef EDW_VIEW_STATE_H
#define EDW_VIEW_STATE_H

#include "nodes/pg_list.h"

/* codes of edw_stream.view.reason */
#define EDW_VIEW_NOT_POPULATED		"not_populated"
#define EDW_VIEW_TRIGGER_DISABLED	"trigger_disabled"
#define EDW_VIEW_RETRYING			"retrying"
#define EDW_VIEW_REFRESH_FAILED		"refresh_failed"

/* in SQL, of a row v: may the refresher have it, or does it wait for somebody to act? */
#define EDW_VIEW_IS_REFRESHABLE \
	"(v.refresh = 'deferred' AND v.reason IS DISTINCT FROM '" EDW_VIEW_REFRESH_FAILED "'" \
	" AND v.reason IS DISTINCT FROM '" EDW_VIEW_NOT_POPULATED "')"

/* OIDs as oid[], in the current context */
extern Datum EdwOidArray(List *oids);

/* Is any view registered in this database? */
extern bool EdwViewsExist(void);
extern bool EdwViewIsRegistered(Oid view);

/* Those of a list of relations (Oid) that are registered views. */
extern List *EdwViewsAmong(List *relids);

/* The relations (Oid) that a registered view reads, as recorded. */
extern List *EdwViewBasesRecorded(Oid view);

/* It is not kept fresh: why, in a sentence, and what to do. */
extern void EdwViewMark(Oid view, const char *reason, const char *message, const char *hint);

/* That reason is over; false: it was not marked with it. */
extern bool EdwViewUnmark(Oid view, const char *reason);

/* One of its columns was renamed. */
extern void EdwViewColumnRenamed(Oid view, const char *old, const char *new);

/* Delete all that is recorded about a view. */
extern void EdwViewForget(Oid view);

#endif							/* EDW_VIEW_STATE_H */
