/*
 * database.c
 *		Getting out of the way of DROP DATABASE and its like (rule G5).
 *
 * Owns the hooks that see DDL about databases and about the extension, and the list of
 * blocked databases in shared memory. A block belongs to a backend's transaction and
 * ends with it: committed, rolled back or dead. While it stands, neither worker nor scout
 * starts in that database.
 *
 * The cases, and what happens at commit | at rollback:
 *	CREATE EXTENSION					scout looks, streams start | nothing was told
 *	DROP EXTENSION, ALTER EXTENSION		blocked before; scout looks | workers come back
 *	DROP SCHEMA, DROP OWNED … CASCADE	workers wait for the lock, then find themselves gone | go on
 *	DROP DATABASE						blocked before; gone | workers come back
 *	ALTER DATABASE RENAME, SET TABLESPACE	blocked before; workers come back | the same
 *	CREATE DATABASE … TEMPLATE this		blocked before; workers come back, the copy is
 *										paused because its home is another one | the same
 *	COMMIT PREPARED						as the commit of what was prepared
 *
 * Only who may run the statement can make workers stop: the hook checks ownership first,
 * since PostgreSQL does so only after it.
 */
#include "postgres.h"

#include <signal.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "edw_stream.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
#include "worker/database.h"
#include "worker/shared.h"

/* PostgreSQL itself waits as long for other sessions to leave a database */
#define LEAVE_TIMEOUT_MS 5000
/* a worker between two batches leaves by itself within this; then it is terminated */
#define POLITE_MS 200
#define POLL_MS 10

static ProcessUtility_hook_type previous_process_utility;
static object_access_hook_type previous_object_access;

static bool have_block = false;

static void
add_block(Oid database)
{
	LWLockAcquire(EdwSharedState->lock, LW_EXCLUSIVE);
	if (EdwSharedState->nblocks < EDW_MAX_BLOCKS)
	{
		EdwBlock   *block = &EdwSharedState->blocks[EdwSharedState->nblocks++];

		block->database = database;
		block->pid = MyProcPid;
		have_block = true;
	}
	LWLockRelease(EdwSharedState->lock);
}

void
EdwDatabaseUnblockMine(void)
{
	int			kept = 0;

	if (!have_block)
		return;
	have_block = false;
	LWLockAcquire(EdwSharedState->lock, LW_EXCLUSIVE);
	for (int i = 0; i < EdwSharedState->nblocks; i++)
	{
		if (EdwSharedState->blocks[i].pid != MyProcPid)
			EdwSharedState->blocks[kept++] = EdwSharedState->blocks[i];
	}
	EdwSharedState->nblocks = kept;
	LWLockRelease(EdwSharedState->lock);
	EdwWakeLauncher();
}

/*
 * Ask all our processes in the database to end; terminate: whatever they are doing. A
 * pid in shared memory is alive: it takes itself out before it exits. Returns whether there
 * were any.
 */
static bool
ask_to_leave(Oid database, bool terminate)
{
	EdwScout   *scout = &EdwSharedState->scout;
	bool		any = false;

	LWLockAcquire(EdwSharedState->lock, LW_EXCLUSIVE);
	for (int i = 0; i < EdwSharedState->nslots; i++)
	{
		EdwSlot    *slot = &EdwSharedState->slots[i];

		if (slot->pid == 0 || slot->database != database)
			continue;
		any = true;
		EdwSlotStop(slot);
		if (terminate)
			kill(slot->pid, SIGTERM);
	}
	if (scout->pid != 0 && scout->database == database)
	{
		any = true;
		kill(scout->pid, SIGTERM);
	}
	LWLockRelease(EdwSharedState->lock);
	return any;
}

void
EdwDatabaseBlock(Oid database)
{
	TimestampTz start = GetCurrentTimestamp();
	bool		terminated = false;

	if (!EdwSharedState)
		return;
	add_block(database);
	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();
		bool		terminate = !terminated &&
			TimestampDifferenceExceeds(start, now, POLITE_MS);

		if (!ask_to_leave(database, terminate) ||
			TimestampDifferenceExceeds(start, now, LEAVE_TIMEOUT_MS))
			break;
		terminated |= terminate;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 POLL_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

char *
EdwExtensionVersion(void)
{
	Relation	relation = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	char	   *version = NULL;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(EDW_EXTENSION_NAME));
	scan = systable_beginscan(relation, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		value = heap_getattr(tuple, Anum_pg_extension_extversion,
										 RelationGetDescr(relation), &isnull);

		if (!isnull)
			version = TextDatumGetCString(value);
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return version;
}

static bool
drops_our_extension(const DropStmt *stmt)
{
	ListCell   *lc;

	if (stmt->removeType != OBJECT_EXTENSION)
		return false;
	foreach(lc, stmt->objects)
	{
		if (strcmp(strVal(lfirst(lc)), EDW_EXTENSION_NAME) == 0)
			return true;
	}
	return false;
}

/* This database, if it has the extension and the user may drop or alter that. */
static Oid
database_of_own_extension(void)
{
	Oid			extension = get_extension_oid(EDW_EXTENSION_NAME, true);

	if (OidIsValid(extension) && EdwOwnsExtension(extension, GetUserId()))
		return MyDatabaseId;
	return InvalidOid;
}

static Oid
own_database(const char *name)
{
	Oid			database = name ? get_database_oid(name, true) : InvalidOid;

	if (OidIsValid(database) && EdwOwnsDatabase(database, GetUserId()))
		return database;
	return InvalidOid;
}

static DefElem *
find_option(List *options, const char *name)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);

		if (strcmp(option->defname, name) == 0)
			return option;
	}
	return NULL;
}

/* The database that our processes must leave for a statement, or InvalidOid. */
static Oid
database_to_leave(Node *stmt)
{
	DefElem    *option;

	switch (nodeTag(stmt))
	{
		case T_DropdbStmt:
			return own_database(castNode(DropdbStmt, stmt)->dbname);
		case T_RenameStmt:
			if (castNode(RenameStmt, stmt)->renameType != OBJECT_DATABASE)
				return InvalidOid;
			return own_database(castNode(RenameStmt, stmt)->subname);
		case T_AlterDatabaseStmt:
			if (!find_option(castNode(AlterDatabaseStmt, stmt)->options, "tablespace"))
				return InvalidOid;
			return own_database(castNode(AlterDatabaseStmt, stmt)->dbname);
		case T_CreatedbStmt:
			option = find_option(castNode(CreatedbStmt, stmt)->options, "template");
			return option && option->arg ? own_database(defGetString(option)) : InvalidOid;
		case T_DropStmt:
			if (!drops_our_extension(castNode(DropStmt, stmt)))
				return InvalidOid;
			return database_of_own_extension();
		case T_AlterExtensionStmt:
			if (strcmp(castNode(AlterExtensionStmt, stmt)->extname, EDW_EXTENSION_NAME) != 0)
				return InvalidOid;
			return database_of_own_extension();
		default:
			return InvalidOid;
	}
}

/* what the launcher has to look at when a statement commits */
typedef enum Effect
{
	EFFECT_NONE,
	EFFECT_DATABASES,
	EFFECT_STREAMS
} Effect;

static Effect
statement_effect(Node *stmt)
{
	switch (nodeTag(stmt))
	{
		case T_CreatedbStmt:
		case T_DropdbStmt:
		case T_AlterDatabaseStmt:
			return EFFECT_DATABASES;
		case T_TransactionStmt:
			if (castNode(TransactionStmt, stmt)->kind == TRANS_STMT_COMMIT_PREPARED &&
				pg_atomic_read_u32(&EdwSharedState->prepared))
				return EFFECT_STREAMS;
			return EFFECT_NONE;
		default:
			return EFFECT_NONE;
	}
}

/* The statement may be freed when it has run (ROLLBACK is): it is looked at before. */
static void
process_utility(PlannedStmt *pstmt, const char *query, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *environment, DestReceiver *dest, QueryCompletion *qc)
{
	ProcessUtility_hook_type next =
		previous_process_utility ? previous_process_utility : standard_ProcessUtility;
	Effect		effect = statement_effect(pstmt->utilityStmt);

	/* in a failed transaction only ROLLBACK and the like get this far */
	if (!IsA(pstmt->utilityStmt, TransactionStmt) && IsTransactionState())
	{
		Oid			database = database_to_leave(pstmt->utilityStmt);

		if (OidIsValid(database))
			EdwDatabaseBlock(database);
	}
	next(pstmt, query, read_only_tree, context, params, environment, dest, qc);
	if (effect == EFFECT_DATABASES)
		EdwSignalDatabasesChanged();
	else if (effect == EFFECT_STREAMS)
		EdwSignalStreamsChanged();
}

/* The name is not there yet when the extension was just created. */
static bool
is_our_extension(Oid extension)
{
	char	   *name = get_extension_name(extension);

	return name == NULL || strcmp(name, EDW_EXTENSION_NAME) == 0;
}

static void
object_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *arg)
{
	if (previous_object_access)
		previous_object_access(access, class_id, object_id, sub_id, arg);
	if (class_id != ExtensionRelationId)
		return;
	if (access == OAT_POST_CREATE || access == OAT_DROP || access == OAT_POST_ALTER)
	{
		if (is_our_extension(object_id))
			EdwSignalStreamsChanged();
	}
}

void
EdwDatabaseInit(void)
{
	previous_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
	previous_object_access = object_access_hook;
	object_access_hook = object_access;
}
