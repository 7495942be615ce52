/*
 * ddl_table.h
 *		DDL on tables that registered views read, for ddl.c.
 */
#ifndef EDW_VIEW_DDL_TABLE_H
#define EDW_VIEW_DDL_TABLE_H

#include "nodes/pg_list.h"

/* ALTER TABLE was run; subcommands: CollectedATSubcmd *. */
extern void EdwDdlTableAltered(Oid relid, List *subcommands);

/* A table was created: is it a partition or child of one that is read? */
extern void EdwDdlTableCreated(Oid relid);

/* A table is about to be rewritten. */
extern void EdwDdlTableRewritten(Oid relid);

/* A table is dropped, and with it rows of those above it. */
extern void EdwDdlTableDropped(Oid relid);

#endif							/* EDW_VIEW_DDL_TABLE_H */
