/*
 * derive_build.h
 *		Query trees put together by hand.
 */
#ifndef EDW_VIEW_DERIVE_BUILD_H
#define EDW_VIEW_DERIVE_BUILD_H

#include "nodes/parsenodes.h"

/* The range table indexes of the leaves of a join tree. */
extern Bitmapset *EdwJointreeItems(Node *jointree);

/* An entry that nothing refers to; it keeps the numbers of the others. */
extern RangeTblEntry *EdwMakeUnusedRte(void);

/* An entry for a subquery; names are the columns'. */
extern RangeTblEntry *EdwMakeSubqueryRte(Query *query, const char *name, bool lateral);

/* An entry for the captured rows of the relation of rte, with its columns under their numbers. */
extern RangeTblEntry *EdwMakeCapturedRte(const RangeTblEntry *rte);

/* SELECT of an entry's columns; those not in columns (offset as selectedCols; NULL: all) are null. */
extern Query *EdwSelectFrom(RangeTblEntry *rte, List *perminfos, const Bitmapset *columns, Node *qual);

/* Rows as they are and captured old ones, in place of the relation of rte, which is a copy. */
extern Query *EdwSelectBeforeAndNow(RangeTblEntry *rte, List *perminfos, const Bitmapset *columns);

/* UNION ALL of queries with the same columns, which it takes over; the query itself if there is one. */
extern Query *EdwUnionAll(List *queries);

/* SELECT over a subquery, with its columns coerced to the types, as a set operation does it. */
extern Query *EdwSelectCoerced(Query *query, List *types, List *collations);

/* SELECT of all columns of a subquery, which moves down a level. */
extern Query *EdwSelectAll(Query *query);

/* DISTINCT over all columns */
extern void EdwMakeDistinct(Query *query);

/* A clause, AND by AND, appended to a list. */
extern List *EdwAppendConjuncts(List *clauses, Node *clause);

#endif							/* EDW_VIEW_DERIVE_BUILD_H */
