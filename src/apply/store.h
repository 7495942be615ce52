/*
 * store.h
 *		Rows that a statement reads by a name: an ephemeral named relation over a tuplestore that
 *		spills at work_mem.
 *
 * Within an SPI connection of the caller's, in the current memory context. (The rows of the MERGE
 * itself are not copied at all: rows.h.)
 */
#ifndef EDW_APPLY_STORE_H
#define EDW_APPLY_STORE_H

#include "access/tupdesc.h"
#include "utils/queryenvironment.h"
#include "utils/tuplestore.h"

typedef struct EdwStore
{
	EphemeralNamedRelationData enr;
	Tuplestorestate *rows;
	int64		count;
} EdwStore;

/* name, which must outlive it, means these rows from now on; planned: how many the planner is told of. */
extern void EdwStoreBegin(EdwStore *store, char *name, TupleDesc desc, double planned);
extern void EdwStorePut(EdwStore *store, Datum *values, bool *nulls);
extern void EdwStoreEnd(EdwStore *store);

#endif							/* EDW_APPLY_STORE_H */
