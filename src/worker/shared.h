/*
 * shared.h
 *		The worker folder's shared memory; everybody else uses slots.h.
 *
 * All of EdwShared is guarded by EdwShared.lock but for what is atomic. Nothing that
 * can raise an ERROR is done while the lock is held, so it is never left behind.
 *
 * A slot is an assignment: worker n of a stream of a database should run, or the
 * database's refresher. It outlives the process, so that failures are counted and the last error stays visible. Who does what:
 *	- a scout (scout.c) takes slots for what its database wants, and marks others unwanted;
 *	- the launcher (launcher.c) starts processes for wanted slots that have none, and insists
 *	  when a worker does not end in time;
 *	- the worker (stream_worker.c, refresher.c) attaches, and says when it leaves how it ended;
 *	- who drops or copies a database (database.c) blocks it and asks its workers to end.
 *
 * in_use and wanted, no process  -- launcher: launched, generation + 1 -->
 * launched, pid 0                -- worker: EdwSlotAttach -->
 * launched, pid set              -- worker: EdwSlotDetach -->
 * in_use and wanted, no process  (restart_at says when), or free when no longer wanted
 */
#ifndef EDW_WORKER_SHARED_H
#define EDW_WORKER_SHARED_H

#include "storage/lwlock.h"
#include "worker/slots.h"

/* how many databases may be marked as changed, and blocked, at a time */
#define EDW_MAX_CHANGED 64
#define EDW_MAX_BLOCKS 64

/* how a worker's process ended */
typedef enum EdwExit
{
	EDW_EXIT_FAILED = 0,		/* ERROR, FATAL, or nobody said: restart with backoff */
	EDW_EXIT_ENDED				/* stalled or gone: restart when a scout wants it again */
} EdwExit;

/* what a scout found out */
typedef enum EdwScoutResult
{
	EDW_SCOUT_FAILED = 0,		/* or not yet done */
	EDW_SCOUT_BUSY,				/* somebody holds a lock on edw_stream.stream */
	EDW_SCOUT_NO_EXTENSION,
	EDW_SCOUT_OTHER_VERSION,
	EDW_SCOUT_DONE
} EdwScoutResult;

/* one worker that should run; also what a scout hands to EdwSlotsReconcile */
typedef struct EdwAssignment
{
	char		stream[EDW_STREAM_NAME_MAX + 1];	/* "" the refresher; else no stream has this name */
	int			worker;
	Oid			owner;
	bool		synchronous_commit;
	uint64		definition;		/* changes when the worker must be a new one */
	char		held[256];		/* why it cannot be started at all, "" */
} EdwAssignment;

typedef struct EdwSlot
{
	bool		in_use;
	bool		wanted;
	bool		ended;			/* the worker said that it has nothing to do: a scout decides */
	bool		launched;		/* handed to the postmaster, or running */
	uint64		generation;		/* of the launch */
	Oid			database;
	EdwAssignment assignment;
	int			pid;
	Latch	   *latch;
	EdwExit		exit;
	int			failures;
	TimestampTz restart_at;
	TimestampTz stop_since;		/* when it was asked to end */
	pg_atomic_uint32 stop;		/* please end, at the next opportunity */
	pg_atomic_uint32 reload;	/* the stream's definition changed */
	pg_atomic_uint32 wake;		/* something was pushed */
	EdwWorkerCounters counters;
} EdwSlot;

/* the process that looks into a database, at most one at a time */
typedef struct EdwScout
{
	bool		launched;
	uint64		generation;
	Oid			database;
	int			pid;
	EdwScoutResult result;
	int			unplaced;		/* DONE: wanted workers that found no slot */
	char		version[64];	/* OTHER_VERSION: the extension's */
} EdwScout;

/* nobody of ours may be in this database until that backend's transaction is over */
typedef struct EdwBlock
{
	Oid			database;
	int			pid;
} EdwBlock;

typedef struct EdwShared
{
	LWLock	   *lock;
	Latch	   *launcher;		/* NULL while there is none */
	bool		databases_changed;	/* pg_database is to be read again */
	bool		all_changed;	/* changed[] was too small */
	int			nchanged;
	Oid			changed[EDW_MAX_CHANGED];
	int			nblocks;
	EdwBlock	blocks[EDW_MAX_BLOCKS];
	EdwScout	scout;
	pg_atomic_uint32 no_process;	/* the last start failed for want of a bgworker process */
	pg_atomic_uint32 prepared;	/* a prepared transaction changed streams */
	int			nslots;
	EdwSlot		slots[FLEXIBLE_ARRAY_MEMBER];
} EdwShared;

#define EdwIsRefresher(assignment)	((assignment)->stream[0] == '\0')

/* NULL without shared_preload_libraries */
extern EdwShared *EdwSharedState;

/* slots.c: to be called from _PG_init */
extern void EdwSlotsInit(void);

/*
 * Take, keep and give up slots so that they are those that the database wants. Returns how
 * many found no slot.
 */
extern int	EdwSlotsReconcile(Oid database, const EdwAssignment *wanted, int n);

/* Has this database a refresher that runs or is being started? */
extern bool EdwRefresherIsLaunched(void);

/* Become the process of a slot: false if that launch is void. Copies out the assignment. */
extern bool EdwSlotAttach(int slot, uint64 generation, Oid *database,
						  EdwAssignment *assignment);

/* this process's slot, NULL if it has none */
extern EdwSlot *EdwMySlot(void);

/* Leave the slot; how is taken from EdwSlot.exit. */
extern void EdwSlotDetach(void);

extern void EdwSetMyState(EdwWorkerState state);

/* Helpers for those who hold the lock exclusively. */
extern void EdwSlotFail(EdwSlot *slot, const char *why);
extern void EdwSlotStop(EdwSlot *slot);
extern bool EdwDatabaseIsBlocked(Oid database);
extern void EdwMarkChanged(Oid database);

/* Set the launcher's latch. The lock may be held or not. */
extern void EdwWakeLauncher(void);

/* notify.c */
extern void EdwNotifyInit(void);

/* At commit: pg_database is to be read again (CREATE, ALTER, DROP DATABASE). */
extern void EdwSignalDatabasesChanged(void);

#endif							/* EDW_WORKER_SHARED_H */
