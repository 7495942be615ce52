/*
 * delta_query.h
 *		The queries of method delta. Each returns a row per group: the groups' values, then two
 *		columns per item: what came (sign 1) and what left (sign -1), aggregated.
 */
#ifndef EDW_VIEW_DELTA_QUERY_H
#define EDW_VIEW_DELTA_QUERY_H

#include "view/delta_plan.h"

/* columns of the queries, from 0 */
#define EDW_DELTA_CAME(delta, i)	((delta)->ngroups + 2 * (i))
#define EDW_DELTA_LEFT(delta, i)	((delta)->ngroups + 2 * (i) + 1)

/* groups that are to be computed from the base tables, as an ephemeral named relation with the groups' columns */
#define EDW_DELTA_WANTED	"edw_groups"

/* The change of the view's groups. changed: OIDs of relations of which rows are captured. */
extern Query *EdwDeltaChangeQuery(const EdwDelta *delta, const List *changed);

/*
 * The groups of EDW_DELTA_WANTED as they are now, in the columns for what came; those that do not exist have
 * counts of 0. nulls: the groups' columns that are null in all of these, the others are null in none.
 */
extern Query *EdwDeltaWantedQuery(const EdwDelta *delta, const Bitmapset *nulls);

/*
 * Likewise groups whose columns have certain values: nkeys lists of Const for the view's columns keys. NULL: all
 * groups. More than those may come.
 */
extern Query *EdwDeltaGroupsQuery(const EdwDelta *delta, int nkeys, const AttrNumber *keys,
								  List *const *values);

/* The shape of EDW_DELTA_WANTED. */
extern TupleDesc EdwDeltaWantedDesc(const EdwDelta *delta);

#endif							/* EDW_VIEW_DELTA_QUERY_H */
