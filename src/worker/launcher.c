/*
 * launcher.c
 *		Finding the databases that have streams, and keeping their workers running.
 *
 * The launcher is connected to no database, so that it stands in nobody's way. It reads
 * pg_database (the one transaction it ever begins), sends a scout into each database
 * that could have streams, one at a time, and starts workers for the slots that scouts took.
 * It sleeps on its latch, which is set by whoever changes something: a commit (notify.c), the end
 * of a block (database.c), a worker or scout that leaves, the postmaster.
 *
 * Its own memory holds nothing that matters: a new launcher finds the slots in shared
 * memory, and looks into all databases.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "apply/claim.h"
#include "catalog/pg_database.h"
#include "edw_stream.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "worker/database.h"
#include "worker/launcher.h"
#include "worker/processes.h"
#include "worker/shared.h"
#include "worker/starter.h"

#define SECOND_MS 1000
#define LAUNCHER_RESTART_S 5
/* how often to look when nobody said anything: a net under the signals */
#define LIST_INTERVAL_MS (60 * SECOND_MS)
#define SCAN_INTERVAL_MS (60 * SECOND_MS)
#define EMPTY_SCAN_INTERVAL_MS (600 * SECOND_MS)
/* how long a scout may take */
#define SCOUT_TIMEOUT_MS (30 * SECOND_MS)

/* a database as the launcher knows it */
typedef struct Database
{
	Oid			oid;
	bool		listed;			/* by the reading of pg_database that is going on */
	bool		changed;		/* since the last scout was sent */
	TimestampTz scan_at;
	int			failures;
	int			unplaced;		/* workers that found no slot */
	char		reported_version[64];	/* of an extension that does not fit */
} Database;

static MemoryContext launcher_context;
static List *databases = NIL;
static TimestampTz list_at = 0;
static TimestampTz wake_at;
static TimestampTz scout_since;
static BackgroundWorkerHandle *scout_handle = NULL;

static TimestampTz
later(long ms)
{
	return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms);
}

static void
wake_by(TimestampTz when)
{
	wake_at = Min(wake_at, when);
}

static Database *
find_database(Oid oid)
{
	ListCell   *lc;

	foreach(lc, databases)
	{
		Database   *database = lfirst(lc);

		if (database->oid == oid)
			return database;
	}
	return NULL;
}

static void
list_database(Oid oid)
{
	Database   *database = find_database(oid);

	if (!database)
	{
		MemoryContext old = MemoryContextSwitchTo(launcher_context);

		database = palloc0(sizeof(Database));
		database->oid = oid;
		database->changed = true;
		databases = lappend(databases, database);
		MemoryContextSwitchTo(old);
	}
	database->listed = true;
}

/* Forget the databases that are gone, or may not be connected to any more. */
static void
forget_unlisted(void)
{
	ListCell   *lc;

	foreach(lc, databases)
	{
		Database   *database = lfirst(lc);

		if (database->listed)
			continue;
		(void) EdwSlotsReconcile(database->oid, NULL, 0);
		databases = foreach_delete_current(databases, lc);
		pfree(database);
	}
}

static void
read_databases(void)
{
	Relation	relation;
	TableScanDesc scan;
	HeapTuple	tuple;
	ListCell   *lc;

	foreach(lc, databases)
		((Database *) lfirst(lc))->listed = false;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	relation = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(relation, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		if (form->datallowconn && !form->datistemplate && !EdwDatabaseIsInvalid(form))
			list_database(form->oid);
	}
	table_endscan(scan);
	table_close(relation, AccessShareLock);
	CommitTransactionCommand();

	forget_unlisted();
	list_at = later(LIST_INTERVAL_MS);
}

/* Take note of what others said had changed. */
static void
take_changes(void)
{
	Oid			changed[EDW_MAX_CHANGED];
	int			nchanged;
	bool		all;
	bool		list;
	ListCell   *lc;

	LWLockAcquire(EdwSharedState->lock, LW_EXCLUSIVE);
	nchanged = EdwSharedState->nchanged;
	memcpy(changed, EdwSharedState->changed, sizeof(Oid) * nchanged);
	all = EdwSharedState->all_changed;
	list = EdwSharedState->databases_changed;
	EdwSharedState->nchanged = 0;
	EdwSharedState->all_changed = EdwSharedState->databases_changed = false;
	LWLockRelease(EdwSharedState->lock);

	for (int i = 0; i < nchanged; i++)
	{
		Database   *database = find_database(changed[i]);

		if (database)
			database->changed = true;
		else
			list = true;
	}
	if (list || all || GetCurrentTimestamp() >= list_at)
		read_databases();
	wake_by(list_at);
	foreach(lc, databases)
	{
		if (all)
			((Database *) lfirst(lc))->changed = true;
	}
}

/* Streams that found no slot get another chance when there is one. */
static void
retry_unplaced(void)
{
	bool		any_free = false;
	ListCell   *lc;

	LWLockAcquire(EdwSharedState->lock, LW_SHARED);
	for (int i = 0; i < EdwSharedState->nslots; i++)
		any_free |= !EdwSharedState->slots[i].in_use;
	LWLockRelease(EdwSharedState->lock);
	if (!any_free)
		return;
	foreach(lc, databases)
	{
		Database   *database = lfirst(lc);

		if (database->unplaced > 0)
			database->changed = true;
		database->unplaced = 0;
	}
}

static void
send_scout(Database *database)
{
	EdwScout   *scout = &EdwSharedState->scout;
	BackgroundWorker process = {0};
	uint64		generation;

	LWLockAcquire(EdwSharedState->lock, LW_EXCLUSIVE);
	scout->launched = true;
	scout->database = database->oid;
	scout->pid = 0;
	scout->result = EDW_SCOUT_FAILED;
	scout->unplaced = 0;
	generation = ++scout->generation;
	LWLockRelease(EdwSharedState->lock);

	snprintf(process.bgw_name, BGW_MAXLEN, EDW_SCOUT_TYPE " for database %u", database->oid);
	if (EdwProcessRegister(&process, EDW_SCOUT_MAIN, EDW_SCOUT_TYPE, generation, &scout_handle))
	{
		database->changed = false;
		scout_since = GetCurrentTimestamp();
	}
	else
	{
		scout->launched = false;
		scout->database = InvalidOid;
	}
}

/* Say once that an extension does not fit the library. */
static void
report_version(Database *database, const char *version)
{
	if (strcmp(database->reported_version, version) == 0)
		return;
	strlcpy(database->reported_version, version, sizeof(database->reported_version));
	ereport(LOG,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("streams of database %u do not run: its edw_stream extension is version %s, the library %s",
					database->oid, version, EDW_VERSION),
			 errhint("Install the library that fits and restart the server, or run ALTER EXTENSION edw_stream UPDATE in that database.")));
}

static void
take_result(Database *database, const EdwScout *scout)
{
	long		delay = SCAN_INTERVAL_MS;

	if (scout->result != EDW_SCOUT_FAILED)
		database->failures = 0;
	if (scout->result != EDW_SCOUT_OTHER_VERSION)
		database->reported_version[0] = '\0';
	database->unplaced = scout->unplaced;
	switch (scout->result)
	{
		case EDW_SCOUT_DONE:
			break;
		case EDW_SCOUT_BUSY:
			delay = SECOND_MS;
			break;
		case EDW_SCOUT_FAILED:
			delay = Min(SECOND_MS << Min(database->failures, 6), SCAN_INTERVAL_MS);
			database->failures++;
			break;
		case EDW_SCOUT_NO_EXTENSION:
			(void) EdwSlotsReconcile(database->oid, NULL, 0);
			delay = EMPTY_SCAN_INTERVAL_MS;
			break;
		case EDW_SCOUT_OTHER_VERSION:
			(void) EdwSlotsReconcile(database->oid, NULL, 0);
			report_version(database, scout->version);
			break;
	}
	database->scan_at = later(delay);
}

/* Look after the scout that is out: true when none is. */
static bool
receive_scout(void)
{
	EdwScout	scout;
	Database   *database;
	TimestampTz deadline = TimestampTzPlusMilliseconds(scout_since, SCOUT_TIMEOUT_MS);

	LWLockAcquire(EdwSharedState->lock, LW_SHARED);
	scout = EdwSharedState->scout;
	LWLockRelease(EdwSharedState->lock);

	if (!OidIsValid(scout.database))
		return true;
	if (scout.launched && !(scout.pid == 0 && EdwProcessHasStopped(scout_handle)))
	{
		if (GetCurrentTimestamp() >= deadline)
		{
			TerminateBackgroundWorker(scout_handle);
			scout_since = GetCurrentTimestamp();
			deadline = later(SCOUT_TIMEOUT_MS);
		}
		wake_by(deadline);
		return false;
	}
	LWLockAcquire(EdwSharedState->lock, LW_EXCLUSIVE);
	EdwSharedState->scout.launched = false;
	EdwSharedState->scout.database = InvalidOid;
	EdwSharedState->scout.generation++;
	LWLockRelease(EdwSharedState->lock);
	database = find_database(scout.database);
	if (database)
		take_result(database, &scout);
	return true;
}

static bool
is_blocked(Oid database)
{
	bool		blocked;

	LWLockAcquire(EdwSharedState->lock, LW_SHARED);
	blocked = EdwDatabaseIsBlocked(database);
	LWLockRelease(EdwSharedState->lock);
	return blocked;
}

/* Send a scout to the database that has waited longest, if one is due. */
static void
send_next_scout(void)
{
	TimestampTz now = GetCurrentTimestamp();
	Database   *next = NULL;
	ListCell   *lc;

	foreach(lc, databases)
	{
		Database   *database = lfirst(lc);
		TimestampTz due = database->changed ? 0 : database->scan_at;

		if (is_blocked(database->oid))
			continue;			/* the end of the block wakes us */
		if (due > now)
			wake_by(due);
		else if (!next || (database->changed && !next->changed))
			next = database;
	}
	if (next)
		send_scout(next);
}

/* All that there is to do now; sets wake_at to when there is more. */
static void
supervise(void)
{
	wake_at = later(LIST_INTERVAL_MS);
	take_changes();
	EdwWorkersTend(&wake_at);
	retry_unplaced();
	/* scouts first: they are short, and stop what is not wanted any more */
	if (receive_scout() && EdwProcessesAvailable(&wake_at))
		send_next_scout();
	EdwWorkersStart(&wake_at);
}

static void
enter(void)
{
	LWLockAcquire(EdwSharedState->lock, LW_EXCLUSIVE);
	EdwSharedState->launcher = MyLatch;
	EdwSharedState->databases_changed = true;
	/* what a former launcher started and did not attach is void */
	for (int i = 0; i < EdwSharedState->nslots; i++)
	{
		EdwSlot    *slot = &EdwSharedState->slots[i];

		if (slot->launched && slot->pid == 0)
		{
			slot->launched = false;
			slot->generation++;
		}
	}
	EdwSharedState->scout.launched = false;
	EdwSharedState->scout.database = InvalidOid;
	EdwSharedState->scout.generation++;
	LWLockRelease(EdwSharedState->lock);
}

static void
leave(int code, Datum arg)
{
	(void) code;
	(void) arg;
	LWLockAcquire(EdwSharedState->lock, LW_EXCLUSIVE);
	EdwSharedState->launcher = NULL;
	LWLockRelease(EdwSharedState->lock);
}

void
EdwLauncherMain(Datum arg)
{
	uint32		wait_event;

	(void) arg;
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	launcher_context = AllocSetContextCreate(TopMemoryContext, EDW_LAUNCHER_TYPE,
											 ALLOCSET_DEFAULT_SIZES);
	wait_event = EdwWaitEventNew("EdwStreamLauncherMain");
	before_shmem_exit(leave, (Datum) 0);
	enter();

	for (;;)
	{
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		supervise();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 TimestampDifferenceMilliseconds(GetCurrentTimestamp(), wake_at),
						 wait_event);
	}
}

void
EdwWorkersInit(void)
{
	BackgroundWorker launcher = {0};

	EdwSlotsInit();
	EdwClaimsInit();
	if (!process_shared_preload_libraries_in_progress)
		return;
	EdwNotifyInit();
	EdwDatabaseInit();
	if (IsBinaryUpgrade)
		return;
	launcher.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	launcher.bgw_start_time = BgWorkerStart_RecoveryFinished;
	launcher.bgw_restart_time = LAUNCHER_RESTART_S;
	strlcpy(launcher.bgw_library_name, EDW_EXTENSION_NAME, sizeof(launcher.bgw_library_name));
	strlcpy(launcher.bgw_function_name, EDW_LAUNCHER_MAIN, sizeof(launcher.bgw_function_name));
	strlcpy(launcher.bgw_name, EDW_LAUNCHER_TYPE, sizeof(launcher.bgw_name));
	strlcpy(launcher.bgw_type, EDW_LAUNCHER_TYPE, sizeof(launcher.bgw_type));
	RegisterBackgroundWorker(&launcher);
}
