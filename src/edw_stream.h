/*
 * edw_stream.h
 *		What every file of the extension may rely on.
 *
 * Include "postgres.h" first, then this. It holds the limits that are
 * compiled in, the GUC variables (declared in edw_stream.c), and nothing that
 * belongs to one concept: those have headers of their own.
 */
#ifndef EDW_STREAM_H
#define EDW_STREAM_H

#include "compat.h"

/* the extension's name, and of its schema */
#define EDW_EXTENSION_NAME	"edw_stream"
#define EDW_SCHEMA			"edw_stream"

/* the version of the C side; the SQL side must be the same (worker/database.c) */
#define EDW_VERSION			"0.1"

/* GUCs, defined in edw_stream.c with their documentation */
extern int	EdwMaxWorkers;				/* edw_stream.max_workers */
extern int	EdwBatchRows;				/* edw_stream.batch_rows */
extern int	EdwBatchMemoryKB;			/* edw_stream.batch_memory */
extern int	EdwFetchMemoryKB;			/* edw_stream.fetch_memory */
extern int	EdwTombstoneRetentionS;		/* edw_stream.tombstone_retention */
extern int	EdwHistoryRetentionS;		/* edw_stream.history_retention */
extern int	EdwMaxRestartDelayMs;		/* edw_stream.max_restart_delay */

#endif							/* EDW_STREAM_H */
