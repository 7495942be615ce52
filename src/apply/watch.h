/*
 * watch.h
 *		Whether what the routes were built from has changed since.
 */
#ifndef EDW_APPLY_WATCH_H
#define EDW_APPLY_WATCH_H

/* Building a route: it is made from this table, from functions. */
extern void EdwWatchRelation(Oid relid);
extern void EdwWatchFunctions(void);

/* true when something a route was built from has changed since */
extern bool EdwRoutesAreStale(void);
extern void EdwRoutesMarkStale(void);

/* Call it before building the routes anew: what changes meanwhile is not missed. */
extern void EdwRoutesMarkFresh(void);

#endif							/* EDW_APPLY_WATCH_H */
