/*
 * mapping_unknown.h
 *		map_table's option "unknown_member": the row of a dimension that facts without a member refer to.
 */
#ifndef EDW_CATALOG_MAPPING_UNKNOWN_H
#define EDW_CATALOG_MAPPING_UNKNOWN_H

#include "catalog/mapping.h"
#include "utils/relcache.h"

#define EDW_UNKNOWN_OPTION	"unknown_member"

/* The option as it is stored, a list of EdwColumnExpression * whose expressions are values; NIL: not given. */
extern List *EdwUnknownMemberParse(Jsonb *options);

/*
 * The option as given, a key or an object of values, made whole: each column that must have a value
 * gets one. Returns the options to be stored.
 */
extern Jsonb *EdwUnknownMemberComplete(Jsonb *options, Relation rel, List *keys, EdwApplyMode apply);

/* Insert the row, unless its surrogate key is there. As the caller, once the table has all its columns. */
extern void EdwUnknownMemberInsert(Relation rel, List *member);

#endif							/* EDW_CATALOG_MAPPING_UNKNOWN_H */
