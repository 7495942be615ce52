/*
 * apply.h
 *		A batch into its tables, inside the caller's transaction.
 *
 * Per target: truncates and the changes between them in order; one MERGE (append: one
 * INSERT) over an ephemeral named relation; tombstones of deletes (O8); counts.
 * Runs as the current user, who is the stream's owner. Raises what PostgreSQL raises.
 */
#ifndef EDW_APPLY_APPLY_H
#define EDW_APPLY_APPLY_H

#include "apply/batch.h"

/*
 * Raised by EdwBatchAdd when the mapping says so: the stream is to stall with the error's
 * message and hint, and nothing is to be bisected or dead-lettered. Class ED is
 * edw_stream's own.
 */
#define ERRCODE_EDW_DELETE_REFUSED		MAKE_SQLSTATE('E','D','W','0','1')	/* on_delete error */
#define ERRCODE_EDW_TRUNCATE_REFUSED	MAKE_SQLSTATE('E','D','W','0','2')	/* on_truncate error */

typedef struct EdwTargetCounts
{
	const EdwTarget *target;
	int64		outcomes[EDW_NOUTCOMES];
	int64		truncates;
	int64		moved;			/* O7; besides its outcome */
} EdwTargetCounts;

typedef struct EdwApplyResult
{
	int			ntargets;
	EdwTargetCounts *targets;
	int			nrejects;
	EdwReject  *rejects;		/* rows of these messages were not written */
	bool		need_exclusive; /* more workers than one, and what others do has to wait: unless it
								 * was exclusive, run this batch again so (see apply/README.md) */
} EdwApplyResult;

/*
 * exclusive: keep other workers of these targets out until commit; without it they share.
 * The result lives in the current memory context.
 */
extern EdwApplyResult *EdwApplyBatch(EdwBatch *batch, int workers, bool exclusive);

/* of a dimension that events wait for: the natural keys that a batch brought */
typedef struct EdwArrived
{
	Oid			dimension;
	Datum		keys;			/* bytea[] */
} EdwArrived;

/* A list of EdwArrived *, in the current memory context. */
extern List *EdwApplyArrived(const EdwBatch *batch);

/*
 * The mapping whose target is being applied; after an ERROR the one that raised it. 0: none, or
 * all were applied.
 */
extern int32 EdwApplyCurrent(void);

/* Delete tombstones older than the retention, at most limit; returns how many. */
extern int64 EdwTombstonesPrune(int64 limit);

/* The same of what versions do not show of their events (points.c). */
extern int64 EdwPointsPrune(int64 limit);

#endif							/* EDW_APPLY_APPLY_H */
