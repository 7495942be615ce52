/*
 * mapping_target.h
 *		What map_table demands of a target table, and what it adds to it.
 */
#ifndef EDW_CATALOG_MAPPING_TARGET_H
#define EDW_CATALOG_MAPPING_TARGET_H

#include "catalog/mapping.h"
#include "catalog/stream.h"
#include "utils/rel.h"

#define EDW_SEQ_COLUMN		"_edw_seq"
#define EDW_DELETED_COLUMN	"_edw_deleted"

/*
 * Open a target, locked against other calls of map_table until the transaction ends.
 * ERROR unless it is a permanent plain or partitioned table of the caller's, in which
 * the stream's owner may write.
 */
extern Relation EdwMappingTargetOpen(Oid relid, const EdwStreamDef *stream,
									 bool needs_truncate);

/* Add the extension's own columns as far as they are missing; ERROR if one has another type. */
extern void EdwMappingTargetAddColumns(Oid relid, const char *seq_column, bool soft_delete);

/* The column's number; ERROR with the nearest name when there is none. */
extern AttrNumber EdwRequireColumn(Relation rel, const char *column);

/* Is there a whole, valid unique index over exactly these columns? immediate: one that ON CONFLICT can use. */
extern bool EdwHasUniqueIndex(Relation rel, Bitmapset *attnums, bool immediate);

/* ERROR unless a mapping may write the column; nearest name as a hint */
extern void EdwMappingTargetCheckColumn(Relation rel, const char *column);

/*
 * The key columns: those given, else the primary key's. ERROR unless they exist, are of
 * types that can be keys, and, but for scd2, a unique index is over exactly them. NIL: append without
 * keys, which takes every event.
 */
extern List *EdwMappingTargetKeys(Relation rel, List *given, EdwApplyMode apply);

#endif							/* EDW_CATALOG_MAPPING_TARGET_H */
