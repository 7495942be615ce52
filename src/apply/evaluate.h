/*
 * evaluate.h
 *		A change as a mapping sees it: the target's columns, its key, its filter.
 */
#ifndef EDW_APPLY_EVALUATE_H
#define EDW_APPLY_EVALUATE_H

#include "apply/fold.h"

/* what is being added, for one target */
typedef struct EdwIncoming
{
	EdwBatch   *batch;
	EdwBatchTarget *bt;
	const EdwChange *change;
	EdwPositionBytes position;	/* the caller's memory */
	int32		epoch;
	int32		partition;
	int			message;
} EdwIncoming;

/* Make a set of values the row that the route's expressions see. */
extern void EdwShowRow(EdwRoute *route, Datum *values, bool *nulls);

/* Does the mapping's filter want the row that is shown? What it cannot see counts as wanted. */
extern bool EdwIsWanted(EdwIncoming *in);

/*
 * The key of the row that is shown, into the batch's scratch buffer. NULL, or the name of the
 * column that is null or not there; *reason then says which.
 */
extern const char *EdwMakeKey(EdwIncoming *in, Datum *values, bool *nulls,
							  const uint8 *presence, const char **reason);

/* A 'u' change's values, in the target's columns. */
extern void EdwMakeRow(EdwIncoming *in, EdwFoldChange *c);

/* A 'd' change's row: the key that EdwMakeKey just found, and what a soft delete tells of itself. */
extern void EdwMakeKeyRow(EdwIncoming *in, EdwFoldChange *c);

/* A row with nothing but audit columns, from the row that is shown. */
extern void EdwMakeAuditRow(EdwIncoming *in, EdwFoldChange *c);

#endif							/* EDW_APPLY_EVALUATE_H */
