/*
 * slots.h
 *		Shared memory: which workers there are, what they do, what they counted.
 *
 * One array of EdwMaxWorkers slots, guarded by one LWLock for taking and freeing;
 * counters are written by the slot's worker alone and read without a lock (64-bit
 * atomics). A slot has a generation: who remembers (slot, generation) can tell that the
 * worker it knew is gone. Without shared_preload_libraries there is no shared memory:
 * EdwSlotsAvailable() is false and everything else is a no-op.
 *
 * This is what the other folders may use; the structures behind it are in
 * worker/shared.h.
 */
#ifndef EDW_SLOTS_H
#define EDW_SLOTS_H

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/latch.h"

/* latency histogram: bucket i counts [2^(i/2)) steps of µs, see stats/histogram.h */
#define EDW_LATENCY_BUCKETS 64

/* partitions per worker whose end is kept for the lag; further ones have none */
#define EDW_SLOT_PARTITIONS 64

/* a stream's name is at most this many bytes: it is part of application_name */
#define EDW_STREAM_NAME_MAX 63

/* what a worker is doing, as the streams view says it; comment = legal next */
typedef enum EdwWorkerState
{
	EDW_WORKER_FREE = 0,		/* STARTING */
	EDW_WORKER_STARTING,		/* RUNNING, BACKOFF, STALLED, FREE */
	EDW_WORKER_RUNNING,			/* IDLE, BACKOFF, STALLED, FREE */
	EDW_WORKER_IDLE,			/* RUNNING, BACKOFF, STALLED, FREE: proven: at the end of every partition */
	EDW_WORKER_BACKOFF,			/* STARTING, RUNNING, FREE: waits after a passing fault */
	EDW_WORKER_STALLED			/* FREE: see the stream's reason */
} EdwWorkerState;

/* the end of a partition, as its worker last saw it */
typedef struct EdwPartitionEnd
{
	pg_atomic_uint32 used;		/* 1 once topic_hash and partition are written */
	uint32		topic_hash;
	int32		partition;
	pg_atomic_uint64 end_offset;
} EdwPartitionEnd;

typedef struct EdwWorkerCounters
{
	pg_atomic_uint32 state;		/* EdwWorkerState; set by worker/ alone */
	pg_atomic_uint64 messages;
	pg_atomic_uint64 bytes;
	pg_atomic_uint64 batches;
	pg_atomic_uint64 dead;
	pg_atomic_uint64 retries;
	pg_atomic_uint64 last_commit;	/* TimestampTz */
	pg_atomic_uint64 decode_us;
	pg_atomic_uint64 apply_us;
	pg_atomic_uint64 commit_us;
	/* from the source's time, and from Kafka's, to visible */
	pg_atomic_uint64 source_latency[EDW_LATENCY_BUCKETS];
	pg_atomic_uint64 kafka_latency[EDW_LATENCY_BUCKETS];
	EdwPartitionEnd ends[EDW_SLOT_PARTITIONS];
	char		last_error[256];	/* written by the worker, torn reads are harmless */
} EdwWorkerCounters;

/* a slot as a reader sees it */
typedef struct EdwSlotInfo
{
	char		stream[EDW_STREAM_NAME_MAX + 1];
	int			worker;
	int			pid;			/* 0: no process at the moment */
	EdwWorkerState state;
	int			failures;		/* in a row */
	TimestampTz restart_at;		/* BACKOFF without a process: when it is tried again */
	char		last_error[256];
	const EdwWorkerCounters *counters;	/* stays mapped; may belong to another stream later */
} EdwSlotInfo;

/*
 * The counters of this process: its slot's, or a private dummy in a session that
 * drains or where there is no shared memory. Never NULL.
 */
extern EdwWorkerCounters *EdwMyCounters(void);

extern bool EdwSlotsAvailable(void);

/* The slots of this database's workers, palloc'd; *n is 0 without shared memory. */
extern EdwSlotInfo *EdwSlotsList(int *n);

/*
 * Why a stream that should run here has no slot or no process, as a sentence for the
 * streams view, with a hint; NULL when nothing general stands in the way. Static strings.
 * Needs a transaction.
 */
extern const char *EdwWorkersHeldReason(const char **hint);

/* Note the end of a partition in this process's slot, for the lag. */
extern void EdwCountersSetEnd(const char *topic, int32 partition, int64 end_offset);

/* The end that a worker of this stream noted, -1 when none did. */
extern int64 EdwSlotsPartitionEnd(const char *stream, const char *topic, int32 partition);

/*
 * Tell the launcher, at commit of the current transaction, that the streams of this
 * database changed (created, started, paused, dropped, mapped …), so that workers start,
 * stop or reload. Called by every SQL function that changes a stream.
 */
extern void EdwSignalStreamsChanged(void);

/* Set the latch of this database's workers of a stream, at commit (push). */
extern void EdwWakeStreamAtCommit(const char *stream);

/* Wake or start this database's refresher, at commit: deferred views have something pending. */
extern void EdwWakeRefresherAtCommit(void);

#endif							/* EDW_SLOTS_H */
