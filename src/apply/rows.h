/*
 * rows.h
 *		A batch's rows for one target, as a relation that a statement can read.
 */
#ifndef EDW_APPLY_ROWS_H
#define EDW_APPLY_ROWS_H

#include "apply/fold.h"
#include "apply/merge_sql.h"
#include "utils/queryenvironment.h"
#include "utils/tuplestore.h"

typedef struct EdwRows
{
	EphemeralNamedRelationData enr; /* for SPI_register_relation */
	const EdwShape *shape;
	TupleDesc	desc;
	Tuplestorestate *store;
	Datum	   *values;			/* scratch, one row */
	bool	   *nulls;
	bytea	   *seq;
} EdwRows;

/* Bounded by work_mem: what is over goes to disk. */
extern void EdwRowsBegin(EdwRows *rows, const EdwShape *shape);
extern void EdwRowsAdd(EdwRows *rows, int number, const EdwFoldChange *change);
extern void EdwRowsEnd(EdwRows *rows);

#endif							/* EDW_APPLY_ROWS_H */
