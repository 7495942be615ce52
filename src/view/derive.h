/*
 * derive.h
 *		A view's query taken apart (docs/views.md): which partitions does a change of a relation
 *		affect, and what cannot be kept right by partitions.
 *
 * Everything works on Query trees in the current memory context and never changes its input.
 */
#ifndef EDW_VIEW_DERIVE_H
#define EDW_VIEW_DERIVE_H

#include "nodes/parsenodes.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"
#include "view/definition.h"

/*
 * A materialized view's query, rewritten: views are expanded and CTEs, unless they are recursive, are
 * subqueries. Locks the relations in it for reading. relations: of those and the views between (Oid).
 */
extern Query *EdwDeriveQuery(Relation view, List **relations);

/*
 * ERROR for what can be kept right in no way: relations whose changes nobody sees, row locks.
 */
extern void EdwDeriveCheckRelations(Query *query);

/* Why it cannot be computed by partitions because of a function, as a sentence; NULL: it can. */
extern char *EdwDeriveUnsafe(Query *query);

/*
 * The relations in the query, as EdwViewBase. *why_not, if not NULL, is a sentence: it cannot be computed by
 * partitions, and each change concerns all of it. keys: columns of its result, from 1.
 */
extern List *EdwDeriveBases(Query *query, int nkeys, const AttrNumber *keys, char **why_not);

/* Do all rows that are equal by their type's equality look the same? (not so: numeric, float, interval …) */
extern bool EdwTypeIsExact(Oid type, Oid collation);

/* The columns of query's result by which it is grouped, so that they tell rows apart; 0: by none. */
extern int	EdwDeriveGroups(const Query *query, AttrNumber **groups);

/*
 * Fill in all of def but refresh and settings. names: partition_by (char *). relations: all that it was made
 * from, but the view. In the current context. ERROR for what register_view refuses.
 */
extern void EdwViewDerive(Relation view, List *names, Jsonb *options, EdwViewDef *def, List **relations);

#endif							/* EDW_VIEW_DERIVE_H */
