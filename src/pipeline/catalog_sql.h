/*
 * catalog_sql.h
 *		Running the pipeline's own statements over edw_stream's tables.
 *
 * Each statement is a static EdwStatement: planned at its first use in this
 * process, kept from then on (the plan cache replans it when the tables change), and run
 * as the extension's owner. The result is SPI's, valid until EdwSqlFinish.
 */
#ifndef EDW_PIPELINE_CATALOG_SQL_H
#define EDW_PIPELINE_CATALOG_SQL_H

#include "catalog/stream.h"
#include "executor/spi.h"

#define EDW_SQL_MAX_ARGS	21

typedef struct EdwStatement
{
	const char *text;
	int			nargs;
	Oid			types[EDW_SQL_MAX_ARGS];
	SPIPlanPtr	plan;			/* NULL until first used */
} EdwStatement;

/* an open access: EdwCatalogBegin and SPI */
typedef struct EdwSql
{
	EdwCatalogAccess access;
	MemoryContext caller;		/* for results that outlive the access */
} EdwSql;

extern void EdwSqlStart(EdwSql *sql);
extern void EdwSqlFinish(EdwSql *sql);

/* Run; nulls may be NULL (none). Returns the number of rows processed. */
extern uint64 EdwSqlRun(EdwStatement *statement, Datum *values, const char *nulls);

/* Run a query under the active snapshot. */
extern uint64 EdwSqlLook(EdwStatement *statement, Datum *values);

/* Run under a snapshot of the caller's: newer than the transaction's own, if that is REPEATABLE READ. */
extern uint64 EdwSqlRunUnder(EdwStatement *statement, Datum *values, Snapshot snapshot);

/*
 * The first column of all rows of a query, as a list of Oid; an access of its own. snapshot: as above, NULL: the
 * transaction's.
 */
extern List *EdwSqlFetchOids(EdwStatement *statement, Datum *values, Snapshot snapshot);

/* Column (from 1) of a row of the last result; SPI's memory. */
extern Datum EdwSqlGet(uint64 row, int column, bool *isnull);

/* The same as text or bytes copied to a context; NULL when null. */
extern char *EdwSqlGetText(EdwSql *sql, uint64 row, int column);
extern char *EdwSqlGetBytes(EdwSql *sql, uint64 row, int column, int *len);

/* Set an argument from a string that may be NULL: then nulls[i] is set. */
extern void EdwSqlSetText(Datum *args, char *nulls, int i, const char *value);

/* bytes as a bytea Datum in the current context */
extern Datum EdwBytesDatum(const void *bytes, int len);

#endif							/* EDW_PIPELINE_CATALOG_SQL_H */
