/*
 * slots.c
 *		The slots in shared memory: taking, attaching, leaving.
 *
 * Owns EdwShared (worker/shared.h has its rules). Works outside and inside of
 * transactions; begins none. Under the lock nothing is called that could raise an ERROR.
 */
#include "postgres.h"

#include "edw_stream.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"
#include "worker/shared.h"

#define FIRST_RESTART_DELAY_MS 100

EdwShared  *EdwSharedState = NULL;

static EdwSlot *my_slot = NULL;
static uint64 my_generation;
static EdwWorkerCounters private_counters;

static shmem_request_hook_type previous_shmem_request_hook;
static shmem_startup_hook_type previous_shmem_startup_hook;

static Size
shared_size(void)
{
	return add_size(offsetof(EdwShared, slots),
					mul_size(EdwMaxWorkers, sizeof(EdwSlot)));
}

static void
request_shared_memory(void)
{
	if (previous_shmem_request_hook)
		previous_shmem_request_hook();
	RequestAddinShmemSpace(shared_size());
	RequestNamedLWLockTranche(EDW_EXTENSION_NAME, 1);
}

static void
init_counters(EdwWorkerCounters *counters)
{
	memset(counters, 0, sizeof(*counters));
	pg_atomic_init_u32(&counters->state, EDW_WORKER_FREE);
	pg_atomic_init_u64(&counters->messages, 0);
	pg_atomic_init_u64(&counters->bytes, 0);
	pg_atomic_init_u64(&counters->batches, 0);
	pg_atomic_init_u64(&counters->dead, 0);
	pg_atomic_init_u64(&counters->retries, 0);
	pg_atomic_init_u64(&counters->last_commit, 0);
	pg_atomic_init_u64(&counters->decode_us, 0);
	pg_atomic_init_u64(&counters->apply_us, 0);
	pg_atomic_init_u64(&counters->commit_us, 0);
	for (int i = 0; i < EDW_LATENCY_BUCKETS; i++)
	{
		pg_atomic_init_u64(&counters->source_latency[i], 0);
		pg_atomic_init_u64(&counters->kafka_latency[i], 0);
	}
	for (int i = 0; i < EDW_SLOT_PARTITIONS; i++)
	{
		pg_atomic_init_u32(&counters->ends[i].used, 0);
		pg_atomic_init_u64(&counters->ends[i].end_offset, 0);
	}
}

/* also runs when the postmaster starts over after a crash: then all is forgotten */
static void
create_shared_memory(void)
{
	bool		found;

	if (previous_shmem_startup_hook)
		previous_shmem_startup_hook();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	EdwSharedState = ShmemInitStruct(EDW_EXTENSION_NAME, shared_size(), &found);
	if (!found)
	{
		memset(EdwSharedState, 0, shared_size());
		EdwSharedState->lock = &GetNamedLWLockTranche(EDW_EXTENSION_NAME)->lock;
		EdwSharedState->nslots = EdwMaxWorkers;
		pg_atomic_init_u32(&EdwSharedState->no_process, 0);
		pg_atomic_init_u32(&EdwSharedState->prepared, 0);
		for (int i = 0; i < EdwMaxWorkers; i++)
		{
			pg_atomic_init_u32(&EdwSharedState->slots[i].stop, 0);
			pg_atomic_init_u32(&EdwSharedState->slots[i].reload, 0);
			pg_atomic_init_u32(&EdwSharedState->slots[i].wake, 0);
			init_counters(&EdwSharedState->slots[i].counters);
		}
	}
	LWLockRelease(AddinShmemInitLock);
}

void
EdwSlotsInit(void)
{
	init_counters(&private_counters);
	if (!process_shared_preload_libraries_in_progress)
		return;
	previous_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_shared_memory;
	previous_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = create_shared_memory;
}

bool
EdwSlotsAvailable(void)
{
	return EdwSharedState != NULL;
}

EdwSlot *
EdwMySlot(void)
{
	return my_slot;
}

EdwWorkerCounters *
EdwMyCounters(void)
{
	return my_slot ? &my_slot->counters : &private_counters;
}

void
EdwSetMyState(EdwWorkerState state)
{
	pg_atomic_write_u32(&EdwMyCounters()->state, state);
}

/* A latch outlives its process (it is in the PGPROC array): a stray SetLatch is harmless. */
void
EdwWakeLauncher(void)
{
	Latch	   *launcher = EdwSharedState->launcher;

	if (launcher)
		SetLatch(launcher);
}

void
EdwMarkChanged(Oid database)
{
	for (int i = 0; i < EdwSharedState->nchanged; i++)
	{
		if (EdwSharedState->changed[i] == database)
			return;
	}
	if (EdwSharedState->nchanged < EDW_MAX_CHANGED)
		EdwSharedState->changed[EdwSharedState->nchanged++] = database;
	else
		EdwSharedState->all_changed = true;
}

bool
EdwDatabaseIsBlocked(Oid database)
{
	for (int i = 0; i < EdwSharedState->nblocks; i++)
	{
		if (EdwSharedState->blocks[i].database == database)
			return true;
	}
	return false;
}

/* 100 ms, doubling up to edw_stream.max_restart_delay */
static long
restart_delay_ms(int failures)
{
	double		delay = FIRST_RESTART_DELAY_MS;

	for (int i = 1; i < failures && delay < EdwMaxRestartDelayMs; i++)
		delay *= 2;
	return (long) Min(delay, (double) EdwMaxRestartDelayMs);
}

/* Count a failure and put the next start off. why may be NULL: keep the last error. */
void
EdwSlotFail(EdwSlot *slot, const char *why)
{
	slot->failures++;
	slot->restart_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												   restart_delay_ms(slot->failures));
	pg_atomic_write_u32(&slot->counters.state, EDW_WORKER_BACKOFF);
	if (why)
		strlcpy(slot->counters.last_error, why, sizeof(slot->counters.last_error));
}

/*
 * Ask the slot's worker to end. One that was launched but has not attached
 * yet is made void instead.
 */
void
EdwSlotStop(EdwSlot *slot)
{
	if (slot->pid == 0)
	{
		slot->generation++;
		slot->launched = false;
		return;
	}
	if (pg_atomic_exchange_u32(&slot->stop, 1) == 0)
		slot->stop_since = GetCurrentTimestamp();
	SetLatch(slot->latch);
}

static void
free_slot(EdwSlot *slot)
{
	slot->in_use = slot->wanted = slot->ended = slot->launched = false;
	slot->generation++;
	pg_atomic_write_u32(&slot->counters.state, EDW_WORKER_FREE);
}

static EdwSlot *
find_slot(Oid database, const char *stream, int worker)
{
	for (int i = 0; i < EdwSharedState->nslots; i++)
	{
		EdwSlot    *slot = &EdwSharedState->slots[i];

		if (slot->in_use && slot->database == database &&
			slot->assignment.worker == worker &&
			strcmp(slot->assignment.stream, stream) == 0)
			return slot;
	}
	return NULL;
}

bool
EdwRefresherIsLaunched(void)
{
	EdwSlot    *slot;
	bool		launched;

	LWLockAcquire(EdwSharedState->lock, LW_SHARED);
	slot = find_slot(MyDatabaseId, "", 0);
	launched = slot && slot->launched;
	LWLockRelease(EdwSharedState->lock);
	return launched;
}

static EdwSlot *
take_slot(Oid database, const EdwAssignment *assignment)
{
	for (int i = 0; i < EdwSharedState->nslots; i++)
	{
		EdwSlot    *slot = &EdwSharedState->slots[i];

		if (slot->in_use)
			continue;
		slot->in_use = true;
		slot->launched = slot->ended = false;
		slot->database = database;
		slot->assignment = *assignment;
		slot->pid = 0;
		slot->latch = NULL;
		slot->failures = 0;
		slot->restart_at = 0;
		init_counters(&slot->counters);
		pg_atomic_write_u32(&slot->counters.state, EDW_WORKER_STARTING);
		return slot;
	}
	return NULL;
}

/* Bring a slot that is wanted up to date with what is wanted of it. */
static void
refresh_slot(EdwSlot *slot, const EdwAssignment *assignment)
{
	bool		other = slot->assignment.definition != assignment->definition;

	slot->wanted = true;
	slot->ended = false;
	slot->assignment = *assignment;
	if (assignment->held[0])
	{
		strlcpy(slot->counters.last_error, assignment->held,
				sizeof(slot->counters.last_error));
		pg_atomic_write_u32(&slot->counters.state, EDW_WORKER_BACKOFF);
	}
	if (slot->launched && (other || assignment->held[0]))
		EdwSlotStop(slot);
}

int
EdwSlotsReconcile(Oid database, const EdwAssignment *wanted, int n)
{
	int			unplaced = 0;

	LWLockAcquire(EdwSharedState->lock, LW_EXCLUSIVE);
	for (int i = 0; i < EdwSharedState->nslots; i++)
	{
		if (EdwSharedState->slots[i].database == database)
			EdwSharedState->slots[i].wanted = false;
	}
	for (int i = 0; i < n; i++)
	{
		EdwSlot    *slot = find_slot(database, wanted[i].stream, wanted[i].worker);

		if (slot)
			refresh_slot(slot, &wanted[i]);
	}
	for (int i = 0; i < EdwSharedState->nslots; i++)
	{
		EdwSlot    *slot = &EdwSharedState->slots[i];

		if (!slot->in_use || slot->wanted || slot->database != database)
			continue;
		if (slot->launched)
			EdwSlotStop(slot);
		if (!slot->launched)
			free_slot(slot);
	}
	for (int i = 0; i < n; i++)
	{
		EdwSlot    *slot;

		if (find_slot(database, wanted[i].stream, wanted[i].worker))
			continue;
		slot = take_slot(database, &wanted[i]);
		if (slot)
			refresh_slot(slot, &wanted[i]);
		else
			unplaced++;
	}
	LWLockRelease(EdwSharedState->lock);
	return unplaced;
}

bool
EdwSlotAttach(int index, uint64 generation, Oid *database, EdwAssignment *assignment)
{
	EdwSlot    *slot = &EdwSharedState->slots[index];
	bool		valid;

	LWLockAcquire(EdwSharedState->lock, LW_EXCLUSIVE);
	valid = slot->in_use && slot->wanted && slot->launched && slot->pid == 0 &&
		slot->generation == generation && !EdwDatabaseIsBlocked(slot->database);
	if (valid)
	{
		slot->pid = MyProcPid;
		slot->latch = MyLatch;
		slot->exit = EDW_EXIT_FAILED;
		pg_atomic_write_u32(&slot->stop, 0);
		pg_atomic_write_u32(&slot->reload, 0);
		pg_atomic_write_u32(&slot->counters.state, EDW_WORKER_STARTING);
		*database = slot->database;
		*assignment = slot->assignment;
		my_slot = slot;
		my_generation = generation;
	}
	else if (slot->generation == generation && slot->pid == 0)
		slot->launched = false;
	LWLockRelease(EdwSharedState->lock);
	EdwWakeLauncher();
	return valid;
}

void
EdwSlotDetach(void)
{
	EdwSlot    *slot = my_slot;

	if (!slot)
		return;
	my_slot = NULL;
	LWLockAcquire(EdwSharedState->lock, LW_EXCLUSIVE);
	if (slot->generation == my_generation && slot->pid == MyProcPid)
	{
		slot->pid = 0;
		slot->latch = NULL;
		slot->launched = false;
		if (!slot->wanted)
			free_slot(slot);
		else if (pg_atomic_read_u32(&slot->stop))
		{
			slot->restart_at = 0;
			pg_atomic_write_u32(&slot->counters.state,
								slot->assignment.held[0] ? EDW_WORKER_BACKOFF :
								EDW_WORKER_STARTING);
		}
		else
		{
			uint32		state = pg_atomic_read_u32(&slot->counters.state);

			EdwSlotFail(slot, NULL);
			if (slot->exit == EDW_EXIT_ENDED)
			{
				slot->ended = true;
				pg_atomic_write_u32(&slot->counters.state, state);
				EdwMarkChanged(slot->database);
			}
		}
	}
	LWLockRelease(EdwSharedState->lock);
	EdwWakeLauncher();
}
