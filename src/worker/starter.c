/*
 * starter.c
 *		Starting processes for the launcher, and seeing that workers end when asked to.
 *
 * Runs in the launcher alone. Owns the handles of what it started and when to ask the
 * postmaster again after it had no process to give (max_worker_processes). A slot is
 * claimed under the lock before its process is registered, and given back if that fails.
 */
#include "postgres.h"

#include <signal.h>

#include "edw_stream.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker/processes.h"
#include "worker/shared.h"
#include "worker/starter.h"

/* how long a worker that was asked to end may take */
#define STOP_TIMEOUT_MS 1000
/* when the postmaster has no process to give */
#define PROCESS_RETRY_MS 1000

static TimestampTz process_at = 0;	/* when to ask the postmaster again */
static BackgroundWorkerHandle **worker_handles = NULL;

bool
EdwProcessesAvailable(TimestampTz *wake_at)
{
	if (GetCurrentTimestamp() >= process_at)
		return true;
	*wake_at = Min(*wake_at, process_at);
	return false;
}

/* The postmaster's answer to a start: remember a refusal, and say it once per shortage. */
static bool
note_registered(bool registered)
{
	if (registered)
	{
		pg_atomic_write_u32(&EdwSharedState->no_process, 0);
		return true;
	}
	process_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), PROCESS_RETRY_MS);
	if (pg_atomic_exchange_u32(&EdwSharedState->no_process, 1) == 0)
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no background worker process is free for edw_stream"),
				 errhint("You might need to increase max_worker_processes.")));
	return false;
}

bool
EdwProcessRegister(BackgroundWorker *process, const char *function, const char *type,
				   uint64 generation, BackgroundWorkerHandle **handle)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	bool		registered;

	process->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	process->bgw_start_time = BgWorkerStart_RecoveryFinished;
	process->bgw_restart_time = BGW_NEVER_RESTART;
	process->bgw_notify_pid = MyProcPid;
	strlcpy(process->bgw_library_name, EDW_EXTENSION_NAME, sizeof(process->bgw_library_name));
	strlcpy(process->bgw_function_name, function, sizeof(process->bgw_function_name));
	strlcpy(process->bgw_type, type, sizeof(process->bgw_type));
	memcpy(process->bgw_extra, &generation, sizeof(generation));
	if (*handle)
		pfree(*handle);
	*handle = NULL;
	registered = note_registered(RegisterDynamicBackgroundWorker(process, handle));
	MemoryContextSwitchTo(old);
	return registered;
}

bool
EdwProcessHasStopped(BackgroundWorkerHandle *handle)
{
	pid_t		pid;

	return !handle || GetBackgroundWorkerPid(handle, &pid) == BGWH_STOPPED;
}

/* A worker that was launched but will never attach. */
static void
bury_unborn(int index)
{
	EdwSlot    *slot = &EdwSharedState->slots[index];

	if (!slot->launched || slot->pid != 0 || !EdwProcessHasStopped(worker_handles[index]))
		return;
	LWLockAcquire(EdwSharedState->lock, LW_EXCLUSIVE);
	if (slot->launched && slot->pid == 0)
	{
		slot->launched = false;
		slot->generation++;
		EdwSlotFail(slot, "the worker's process could not be started");
	}
	LWLockRelease(EdwSharedState->lock);
}

/* Mark a slot as launched if it is to be; copies out what the start needs. */
static bool
claim_start(int index, EdwAssignment *assignment, uint64 *generation, TimestampTz *wake_at)
{
	EdwSlot    *slot = &EdwSharedState->slots[index];
	bool		start;

	LWLockAcquire(EdwSharedState->lock, LW_EXCLUSIVE);
	start = slot->in_use && slot->wanted && !slot->ended && !slot->launched &&
		slot->assignment.held[0] == '\0' && !EdwDatabaseIsBlocked(slot->database);
	if (start && slot->restart_at > GetCurrentTimestamp())
	{
		*wake_at = Min(*wake_at, slot->restart_at);
		start = false;
	}
	if (start)
	{
		slot->launched = true;
		*generation = ++slot->generation;
		*assignment = slot->assignment;
	}
	LWLockRelease(EdwSharedState->lock);
	return start;
}

/* Undo claim_start, unless the slot was given to another purpose meanwhile. */
static void
unclaim_start(int index, uint64 generation)
{
	EdwSlot    *slot = &EdwSharedState->slots[index];

	LWLockAcquire(EdwSharedState->lock, LW_EXCLUSIVE);
	if (slot->generation == generation)
	{
		slot->launched = false;
		slot->restart_at = process_at;
		strlcpy(slot->counters.last_error, "no background worker process is free: max_worker_processes is too low",
				sizeof(slot->counters.last_error));
		pg_atomic_write_u32(&slot->counters.state, EDW_WORKER_BACKOFF);
	}
	LWLockRelease(EdwSharedState->lock);
}

static bool
register_worker(BackgroundWorker *process, const EdwAssignment *assignment, uint64 generation,
				BackgroundWorkerHandle **handle)
{
	if (EdwIsRefresher(assignment))
	{
		strlcpy(process->bgw_name, EDW_REFRESHER_TYPE, BGW_MAXLEN);
		return EdwProcessRegister(process, EDW_REFRESHER_MAIN, EDW_REFRESHER_TYPE, generation,
								  handle);
	}
	snprintf(process->bgw_name, BGW_MAXLEN, EDW_WORKER_TYPE " %s/%d",
			 assignment->stream, assignment->worker);
	return EdwProcessRegister(process, EDW_WORKER_MAIN, EDW_WORKER_TYPE, generation, handle);
}

/* Start the worker of a slot that is due. Returns false when no more can be started. */
static bool
start_worker(int index, TimestampTz *wake_at)
{
	BackgroundWorker process = {0};
	EdwAssignment assignment;
	uint64		generation;

	if (!claim_start(index, &assignment, &generation, wake_at))
		return true;
	process.bgw_main_arg = Int32GetDatum(index);
	if (register_worker(&process, &assignment, generation, &worker_handles[index]))
		return true;
	unclaim_start(index, generation);
	return false;
}

/* Terminate workers that were asked to end and did not. */
static void
insist_on_stops(TimestampTz *wake_at)
{
	TimestampTz now = GetCurrentTimestamp();

	LWLockAcquire(EdwSharedState->lock, LW_EXCLUSIVE);
	for (int i = 0; i < EdwSharedState->nslots; i++)
	{
		EdwSlot    *slot = &EdwSharedState->slots[i];

		if (slot->pid == 0 || pg_atomic_read_u32(&slot->stop) == 0)
			continue;
		if (TimestampDifferenceExceeds(slot->stop_since, now, STOP_TIMEOUT_MS))
		{
			kill(slot->pid, SIGTERM);
			slot->stop_since = now;
		}
		*wake_at = Min(*wake_at,
					   TimestampTzPlusMilliseconds(slot->stop_since, STOP_TIMEOUT_MS));
	}
	LWLockRelease(EdwSharedState->lock);
}

void
EdwWorkersTend(TimestampTz *wake_at)
{
	if (!worker_handles)
		worker_handles = MemoryContextAllocZero(TopMemoryContext,
												sizeof(*worker_handles) * EdwSharedState->nslots);
	insist_on_stops(wake_at);
	for (int i = 0; i < EdwSharedState->nslots; i++)
		bury_unborn(i);
}

void
EdwWorkersStart(TimestampTz *wake_at)
{
	bool		more = EdwProcessesAvailable(wake_at);

	for (int i = 0; i < EdwSharedState->nslots && more; i++)
		more = start_worker(i, wake_at);
	(void) EdwProcessesAvailable(wake_at);
}
