/*
 * edw_stream.c
 *		Loading: GUCs, hooks, the static worker, and nothing else.
 *
 * Loaded by shared_preload_libraries the library has everything. Loaded later, by
 * the first call of one of its functions, it has no workers and no shared memory:
 * the SQL functions work, and CALL edw_stream.drain() does a worker's job.
 */
#include "postgres.h"

#include <limits.h>

#include "apply/feed.h"
#include "edw_stream.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "view/moved.h"
#include "worker/launcher.h"

PG_MODULE_MAGIC;

int			EdwMaxWorkers = 64;
int			EdwBatchRows = 40000;
int			EdwBatchMemoryKB = 48 * 1024;
int			EdwFetchMemoryKB = 64 * 1024;
int			EdwTombstoneRetentionS = 7 * 24 * 3600;
int			EdwHistoryRetentionS = 24 * 3600;
int			EdwMaxRestartDelayMs = 60 * 1000;

void		_PG_init(void);

static void
define_limits(void)
{
	/* a variable of the postmaster cannot be made in a running session */
	if (process_shared_preload_libraries_in_progress)
		DefineCustomIntVariable("edw_stream.max_workers",
								"Maximum number of stream workers in all databases together.",
								"Each takes a slot of shared memory and a background worker process "
								"(see max_worker_processes).",
								&EdwMaxWorkers, 64, 1, 1024, PGC_POSTMASTER, 0,
								NULL, NULL, NULL);
	DefineCustomIntVariable("edw_stream.batch_rows",
							"Most messages that one transaction applies.",
							"A source transaction that is larger is still applied whole.",
							&EdwBatchRows, 40000, 1, 1000000, PGC_SIGHUP, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("edw_stream.batch_memory",
							"Most memory that the messages of one transaction take.",
							NULL,
							&EdwBatchMemoryKB, 48 * 1024, 64, MAX_KILOBYTES, PGC_SIGHUP,
							GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("edw_stream.fetch_memory",
							"Most memory that messages fetched ahead of their transaction take, per worker.",
							NULL,
							&EdwFetchMemoryKB, 64 * 1024, 64, MAX_KILOBYTES, PGC_SIGHUP,
							GUC_UNIT_KB, NULL, NULL, NULL);
}

static void
define_retentions(void)
{
	DefineCustomIntVariable("edw_stream.tombstone_retention",
							"How long a delete is remembered, so that a late older event cannot undo it.",
							"An event that arrives later than this after the delete of its row may bring the row back.",
							&EdwTombstoneRetentionS, 7 * 24 * 3600, 0, INT_MAX / 1000, PGC_SIGHUP,
							GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("edw_stream.history_retention",
							"How long edw_stream.batches and consumed inbox messages are kept.",
							NULL,
							&EdwHistoryRetentionS, 24 * 3600, 0, INT_MAX / 1000, PGC_SIGHUP,
							GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("edw_stream.max_restart_delay",
							"Longest delay between attempts after repeated failures.",
							"The delay starts at 100 ms and doubles.",
							&EdwMaxRestartDelayMs, 60 * 1000, 100, INT_MAX, PGC_SIGHUP,
							GUC_UNIT_MS, NULL, NULL, NULL);
}

void
_PG_init(void)
{
	define_limits();
	define_retentions();
	MarkGUCPrefixReserved(EDW_EXTENSION_NAME);
	EdwFeedInit();
	EdwWorkersInit();
	EdwMovedInit();
}
