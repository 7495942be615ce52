/*
 * image.h
 *		Values told apart by their bytes, as REFRESH MATERIALIZED VIEW CONCURRENTLY does: 1.0 is not 1.00,
 *		whatever the type's own equality says. How a value is stored (compressed, out of line) is no difference.
 */
#ifndef EDW_VIEW_IMAGE_H
#define EDW_VIEW_IMAGE_H

#include "access/tupdesc.h"

/* A 64-bit hash of a value and a seed. Chained over the columns of a row: its result is the next seed. */
extern uint64 EdwImageHash(Datum value, bool isnull, const FormData_pg_attribute *attr, uint64 seed);

extern bool EdwImageEqual(Datum a, bool a_isnull, Datum b, bool b_isnull,
						  const FormData_pg_attribute *attr);

#endif							/* EDW_VIEW_IMAGE_H */
