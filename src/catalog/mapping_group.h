/*
 * mapping_group.h
 *		map_table's option "group": columns of a row that are guarded by a position of their own.
 *
 * Several topics may fill one row, each its columns (an accumulating snapshot). Their positions do not
 * compare, so each group of mappings keeps its own in the row.
 */
#ifndef EDW_CATALOG_MAPPING_GROUP_H
#define EDW_CATALOG_MAPPING_GROUP_H

#include "access/tupdesc.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

/* The group's name, checked; NULL: none. */
extern char *EdwGroupOptionParse(Jsonb *options);

/* The column that holds the position of a group's events, of those without a group for NULL. */
extern char *EdwGroupSeqColumn(const char *group);

/* The next column behind attnum (0: the first) that holds the position of a group; 0: there is none. */
extern AttrNumber EdwGroupNextColumn(TupleDesc desc, AttrNumber attnum);

/* ERROR if mappings (EdwMappingDef *) of the target that are not of one group write the same column. */
extern void EdwGroupCheckColumns(Oid target, List *mappings);

#endif							/* EDW_CATALOG_MAPPING_GROUP_H */
