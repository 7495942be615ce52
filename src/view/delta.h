/*
 * delta.h
 *		Views that are changed by what changed: SELECT … GROUP BY over inner joins with count,
 *		sum, avg, min and max.
 *
 * The change of a join B1 ⋈ … ⋈ Bn is the sum over i of B1 new … B(i-1) new ⋈ change of Bi ⋈ B(i+1) old … Bn
 * old, with signs; count and sum are linear in it. Exact for integers and numeric; views with sums of
 * floating point are not eligible (docs/views.md).
 */
#ifndef EDW_VIEW_DELTA_H
#define EDW_VIEW_DELTA_H

#include "nodes/parsenodes.h"
#include "utils/snapshot.h"

typedef struct EdwDelta EdwDelta;
struct EdwViewDef;
struct EdwViewCounts;

/*
 * What applying changes to this view takes, in the current memory context; NULL when algebra does not
 * allow it, and *why_not says why. query: the view's own, rewritten.
 */
extern EdwDelta *EdwDeltaPlan(Oid view, const Query *query, char **why_not);

/*
 * Apply what is captured. False: this change cannot be applied (a relation is captured as all …), nothing is
 * written, refresh the affected partitions instead. Otherwise as EdwViewRefreshKeys.
 */
extern bool EdwDeltaApply(const struct EdwViewDef *def, Snapshot snapshot,
						  struct EdwViewCounts *counts);

/*
 * After the view was computed anew (keys as in EdwViewQueryForKeys, NULL: whole): bring its side state
 * (edw_stream.view_group) in line with it. No-op for views that need none.
 */
extern void EdwDeltaRebuild(const struct EdwViewDef *def, List *const *keys, Snapshot snapshot);

/*
 * REFRESH by hand has just computed the view. Must it be computed anew at the end of the transaction all the same?
 * What is captured so far is in it already, and must not be applied to it once more; its side state is from before.
 */
extern bool EdwDeltaRefreshedWrong(const struct EdwViewDef *def);

/* For explain_view: the query for the change of the view's groups when a relation changes alone. */
extern Query *EdwDeltaExplain(const struct EdwViewDef *def, Oid relid);

/* … and how many counts and sums of a group edw_stream.view_group holds. */
extern int	EdwDeltaKept(const struct EdwViewDef *def);

#endif							/* EDW_VIEW_DELTA_H */
