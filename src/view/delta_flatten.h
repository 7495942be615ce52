/*
 * delta_flatten.h
 *		A query over inner joins, its subqueries, views and CTEs merged into one flat join.
 */
#ifndef EDW_VIEW_DELTA_FLATTEN_H
#define EDW_VIEW_DELTA_FLATTEN_H

#include "nodes/parsenodes.h"

/*
 * SELECT targets FROM rels WHERE quals. In all expressions varno n is the nth of rels, and there
 * are no other relations: a relation that occurs twice is there twice.
 */
typedef struct EdwFlatJoin
{
	List	   *rels;			/* RangeTblEntry *, with what is checked of them in the view's query */
	List	   *perminfos;		/* for EdwQuerySetPermInfos */
	List	   *quals;			/* Node * */
	List	   *targets;		/* TargetEntry *, those of the query */
} EdwFlatJoin;

/*
 * False if the query is not of this form, and *why_not is a sentence that says why. Its GROUP BY
 * and aggregates stay: targets refer to groups as the query's own did.
 */
extern bool EdwFlattenJoin(const Query *query, EdwFlatJoin *flat, char **why_not);

#endif							/* EDW_VIEW_DELTA_FLATTEN_H */
