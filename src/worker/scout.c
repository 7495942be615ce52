/*
 * scout.c
 *		The short-lived process that looks into one database for the launcher.
 *
 * It is connected as the bootstrap superuser, reads which streams should run and whether views are
 * to be refreshed, and takes and gives up slots accordingly. One transaction, in which it reads and nothing else; it
 * never waits for a lock, so that it is gone within milliseconds and nothing ever waits
 * for it. Owns EdwShared.scout while it is attached.
 */
#include "postgres.h"

#include <signal.h>

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/stream.h"
#include "common/hashfn.h"
#include "edw_stream.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "view/state.h"
#include "worker/database.h"
#include "worker/processes.h"
#include "worker/shared.h"

/* the columns of stream_query */
enum
{
	COLUMN_NAME = 1,
	COLUMN_OWNER,
	COLUMN_WORKERS,
	COLUMN_CREATED_AT,
	COLUMN_SYNCHRONOUS_COMMIT
};

static const char *const stream_query =
"SELECT name, owner::oid, workers, created_at,"
" coalesce((options->>'synchronous_commit')::boolean, false)"
" FROM edw_stream.stream"
" WHERE wanted_running AND NOT stalled AND home = $1"
" ORDER BY name";

/* have deferred views anything to refresh? Those that wait for somebody to act do not count. */
static const char *const pending_query =
"SELECT FROM edw_stream.view v"
" WHERE " EDW_VIEW_IS_REFRESHABLE
" AND EXISTS (SELECT FROM edw_stream.view_pending p WHERE p.view = v.view)";

/* what the queries read */
static const char *const tables[] = {"stream", "view", "view_pending"};

static uint64 my_generation;

static bool
attach(void)
{
	EdwScout   *scout = &EdwSharedState->scout;
	bool		valid;

	LWLockAcquire(EdwSharedState->lock, LW_EXCLUSIVE);
	valid = scout->launched && scout->generation == my_generation &&
		!EdwDatabaseIsBlocked(scout->database);
	if (valid)
		scout->pid = MyProcPid;
	else if (scout->generation == my_generation)
		scout->launched = false;
	LWLockRelease(EdwSharedState->lock);
	return valid;
}

static void
leave(int code, Datum arg)
{
	EdwScout   *scout = &EdwSharedState->scout;

	(void) code;
	(void) arg;
	LWLockAcquire(EdwSharedState->lock, LW_EXCLUSIVE);
	if (scout->generation == my_generation)
	{
		scout->pid = 0;
		scout->launched = false;
	}
	LWLockRelease(EdwSharedState->lock);
	EdwWakeLauncher();
}

/* Why the owner cannot be the worker's user, into the assignment; "" when it can. */
static void
check_owner(EdwAssignment *assignment)
{
	HeapTuple	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(assignment->owner));
	bool		can_login;

	assignment->held[0] = '\0';
	if (!HeapTupleIsValid(tuple))
	{
		snprintf(assignment->held, sizeof(assignment->held),
				 "the stream's owner, role %u, does not exist any more", assignment->owner);
		return;
	}
	can_login = ((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;
	ReleaseSysCache(tuple);
	if (EDW_WORKER_NEEDS_LOGIN && !can_login)
		snprintf(assignment->held, sizeof(assignment->held),
				 "role \"%s\", the stream's owner, has no LOGIN, which its workers need before PostgreSQL 17",
				 GetUserNameFromId(assignment->owner, false));
	else if (EdwDatabaseAclCheck(MyDatabaseId, assignment->owner, ACL_CONNECT) != ACLCHECK_OK)
		snprintf(assignment->held, sizeof(assignment->held),
				 "role \"%s\", the stream's owner, has no CONNECT privilege on the database",
				 GetUserNameFromId(assignment->owner, false));
}

/* A worker must be a new one when any of this has changed. */
static uint64
hash_definition(Oid owner, int workers, TimestampTz created_at, bool synchronous_commit)
{
	int64		parts[4] = {owner, workers, created_at, synchronous_commit};

	return hash_bytes_extended((const unsigned char *) parts, sizeof(parts), 0);
}

/* Append the assignments of the stream in a row of stream_query. */
static int
add_assignments(HeapTuple row, TupleDesc desc, EdwAssignment **wanted, int n)
{
	EdwAssignment assignment;
	bool		isnull;
	char	   *name = TextDatumGetCString(SPI_getbinval(row, desc, COLUMN_NAME, &isnull));
	int			workers = DatumGetInt32(SPI_getbinval(row, desc, COLUMN_WORKERS, &isnull));
	TimestampTz created_at =
		DatumGetTimestampTz(SPI_getbinval(row, desc, COLUMN_CREATED_AT, &isnull));

	memset(&assignment, 0, sizeof(assignment));
	strlcpy(assignment.stream, name, sizeof(assignment.stream));
	assignment.owner = DatumGetObjectId(SPI_getbinval(row, desc, COLUMN_OWNER, &isnull));
	assignment.synchronous_commit =
		DatumGetBool(SPI_getbinval(row, desc, COLUMN_SYNCHRONOUS_COMMIT, &isnull));
	assignment.definition = hash_definition(assignment.owner, workers, created_at,
											assignment.synchronous_commit);
	check_owner(&assignment);
	*wanted = *wanted ? repalloc(*wanted, sizeof(EdwAssignment) * (n + workers)) :
		palloc(sizeof(EdwAssignment) * (n + workers));
	for (int worker = 0; worker < workers; worker++)
	{
		(*wanted)[n] = assignment;
		(*wanted)[n].worker = worker;
		n++;
	}
	return n;
}

static int
read_streams(EdwAssignment **wanted)
{
	Oid			types[1] = {TEXTOID};
	Datum		args[1] = {CStringGetTextDatum(EdwStreamHome())};
	int			n = 0;

	*wanted = NULL;
	if (SPI_execute_with_args(stream_query, 1, types, args, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the streams");
	for (uint64 i = 0; i < SPI_processed; i++)
		n = add_assignments(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, wanted, n);
	return n;
}

/*
 * Append the refresher, if it is wanted. One that runs stays until it says itself that it has nothing
 * to do: only it can know that nothing was committed since it looked.
 */
static int
add_refresher(EdwAssignment **wanted, int n)
{
	if (!EdwRefresherIsLaunched())
	{
		if (SPI_execute(pending_query, true, 1) != SPI_OK_SELECT)
			elog(ERROR, "could not read the deferred views");
		if (SPI_processed == 0)
			return n;
	}
	*wanted = *wanted ? repalloc(*wanted, sizeof(EdwAssignment) * (n + 1)) :
		palloc(sizeof(EdwAssignment));
	memset(&(*wanted)[n], 0, sizeof(EdwAssignment));
	return n + 1;
}

/* Lock what will be read, so that it does not go away. */
static EdwScoutResult
lock_tables(void)
{
	Oid			schema = get_namespace_oid(EDW_SCHEMA, true);

	if (!OidIsValid(schema))
		return EDW_SCOUT_NO_EXTENSION;
	for (int i = 0; i < (int) lengthof(tables); i++)
	{
		Oid			relation = get_relname_relid(tables[i], schema);

		if (!OidIsValid(relation))
			return EDW_SCOUT_NO_EXTENSION;
		if (!ConditionalLockRelationOid(relation, AccessShareLock))
			return EDW_SCOUT_BUSY;
	}
	return EDW_SCOUT_DONE;
}

/* Within a transaction and SPI. */
static EdwScoutResult
look(void)
{
	EdwScout   *scout = &EdwSharedState->scout;
	EdwScoutResult result = lock_tables();
	EdwAssignment *wanted;
	char	   *version;
	int			n;

	if (result != EDW_SCOUT_DONE)
		return result;
	version = EdwExtensionVersion();
	if (!version)
		return EDW_SCOUT_NO_EXTENSION;
	if (strcmp(version, EDW_VERSION) != 0)
	{
		strlcpy(scout->version, version, sizeof(scout->version));
		return EDW_SCOUT_OTHER_VERSION;
	}
	n = read_streams(&wanted);
	n = add_refresher(&wanted, n);
	scout->unplaced = EdwSlotsReconcile(MyDatabaseId, wanted, n);
	return EDW_SCOUT_DONE;
}

void
EdwScoutMain(Datum arg)
{
	EdwScoutResult result;

	(void) arg;
	memcpy(&my_generation, MyBgworkerEntry->bgw_extra, sizeof(my_generation));
	pqsignal(SIGTERM, die);
	if (!attach())
		proc_exit(0);
	before_shmem_exit(leave, (Datum) 0);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(EdwSharedState->scout.database, InvalidOid, 0);
	SetConfigOption("search_path", "", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("row_security", "off", PGC_SUSET, PGC_S_OVERRIDE);

	StartTransactionCommand();
	pgstat_report_activity(STATE_RUNNING, "looking for streams to run");
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	result = look();
	PopActiveSnapshot();
	SPI_finish();
	CommitTransactionCommand();
	EdwSharedState->scout.result = result;
	proc_exit(0);
}
