/*
 * stream_worker.c
 *		The process of one worker: a loop around the pipeline.
 *
 * Connected as the stream's owner (rule G6). Begins no transaction but to find out, after
 * an ERROR, whether the extension is still there; the pipeline begins and ends all
 * others. It sleeps only in WaitLatchOrSocket, outside of any transaction and with no lock
 * held, so that it is in nobody's way: DROP EXTENSION gets its locks, and the barriers of
 * DROP DATABASE are passed at once.
 *
 * How it ends: asked to (EdwSlot.stop), terminated, or with nothing to do (the pipeline says
 * stalled or gone): quietly; by an ERROR: reported, and started again with backoff.
 */
#include "postgres.h"

#include <malloc.h>
#include <signal.h>

#include "edw_stream.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "pipeline/pipeline.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/sinval.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker/processes.h"
#include "worker/session.h"
#include "worker/shared.h"

#define MIN_RETRY_DELAY_MS 100

/* what glibc may keep of what was freed while there is work to do */
#define KEEP_MALLOCED	(64 * 1024 * 1024)
#define KEEP_MAPPED		(8 * 1024 * 1024)

/* a batch of so many messages leaves memory behind that an idle worker gives back */
#define LARGE_BATCH		1000

static EdwAssignment assignment;
static EdwPipeline *pipeline = NULL;
static uint64 batches_seen;		/* of the slot's counters, which outlive a process */
static uint64 messages_seen;
static bool memory_kept = false;

/* Runs after the transaction was aborted: registered before the connection was made. */
static void
leave(int code, Datum arg)
{
	EdwPipeline *mine = pipeline;

	(void) code;
	(void) arg;
	pipeline = NULL;
	if (mine)
		EdwPipelineClose(mine);
	EdwSlotDetach();
}

static void
end_quietly(EdwWorkerState state)
{
	EdwSetMyState(state);
	EdwMySlot()->exit = EDW_EXIT_ENDED;
	proc_exit(0);
}

static void
set_up_session(void)
{
	char		application_name[EDW_STREAM_NAME_MAX + 64];

	snprintf(application_name, sizeof(application_name), EDW_WORKER_TYPE " %s/%d",
			 assignment.stream, assignment.worker);
	EdwSessionSetUp(application_name, assignment.synchronous_commit);
}

static EdwStepResult
step(void)
{
	volatile EdwStepResult result = EDW_STEP_GONE;

	PG_TRY();
	{
		if (!pipeline)
			pipeline = EdwPipelineOpen(assignment.stream, assignment.worker,
									   EDW_PIPELINE_WORKER);
		result = EdwPipelineStep(pipeline);
	}
	PG_CATCH();
	{
		if (!EdwSessionExtensionIsGone())
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();
	return result;
}

/* Has somebody asked for something since the last step? */
static bool
is_called(void)
{
	EdwSlot    *slot = EdwMySlot();

	return pg_atomic_read_u32(&slot->stop) || pg_atomic_read_u32(&slot->reload) ||
		pg_atomic_read_u32(&slot->wake) || ConfigReloadPending;
}

static void
handle_calls(void)
{
	EdwSlot    *slot = EdwMySlot();

	CHECK_FOR_INTERRUPTS();
	if (pg_atomic_read_u32(&slot->stop))
		proc_exit(0);
	if (catchupInterruptPending)
		ProcessCatchupInterrupt();
	(void) pg_atomic_exchange_u32(&slot->wake, 0);
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		if (pipeline)
			EdwPipelineReload(pipeline);
	}
	if (pg_atomic_exchange_u32(&slot->reload, 0) && pipeline)
		EdwPipelineReload(pipeline);
}

/* Sleep until the source, the latch or the time-out (-1: none) has something to say. */
static void
sleep_on(int fd, long timeout_ms, uint32 wait_event)
{
	int			events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH;

	if (is_called())
		return;
	if (fd >= 0)
		events |= WL_SOCKET_READABLE;
	if (timeout_ms >= 0)
		events |= WL_TIMEOUT;
	if (WaitLatchOrSocket(MyLatch, events, fd, timeout_ms, wait_event) & WL_LATCH_SET)
		ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/*
 * What an idle step means (H2): idle is only who has seen the end of all partitions. A
 * source that is away, or has not answered since the last fault, is still the same fault.
 */
static EdwWorkerState
idle_state(void)
{
	EdwWorkerState now = pg_atomic_read_u32(&EdwMyCounters()->state);

	if (EdwPipelineIsAtEnd(pipeline))
		return EDW_WORKER_IDLE;
	if (EdwPipelineIsCutOff(pipeline) || EdwMySlot()->failures > 0)
		return EDW_WORKER_BACKOFF;
	return now == EDW_WORKER_STARTING ? EDW_WORKER_STARTING : EDW_WORKER_RUNNING;
}

/*
 * What a batch frees the next one wants again. By default glibc would hand it back to the
 * kernel meanwhile, which then has to clear it anew: a twentieth of all time.
 */
static void
keep_memory(void)
{
#ifdef M_TRIM_THRESHOLD
	mallopt(M_TRIM_THRESHOLD, KEEP_MALLOCED);
	mallopt(M_MMAP_THRESHOLD, KEEP_MAPPED);
#endif
}

static void
give_memory_back(void)
{
#ifdef M_TRIM_THRESHOLD
	if (memory_kept)
		malloc_trim(0);
#endif
	memory_kept = false;
}

/* Nothing to do. Statistics that were not yet due are sent before a long sleep. */
static void
idle(uint32 wait_event)
{
	long		timeout_ms = EdwPipelineTimeout(pipeline);
	long		stats_ms = pgstat_report_stat(false);

	EdwSetMyState(idle_state());
	if (EdwPipelineIsAtEnd(pipeline))
	{
		EdwMySlot()->failures = 0;
		give_memory_back();
	}
	pgstat_report_activity(STATE_IDLE, NULL);
	if (stats_ms > 0 && (timeout_ms < 0 || timeout_ms > stats_ms))
		timeout_ms = stats_ms;
	sleep_on(EdwPipelineWaitFd(pipeline), timeout_ms, wait_event);
}

/* A passing fault: wait it out, whatever the source says meanwhile. */
static void
back_off(uint32 wait_event)
{
	EdwSlot    *slot = EdwMySlot();
	long		delay_ms = EdwPipelineRetryDelay(pipeline);

	delay_ms = Max(MIN_RETRY_DELAY_MS, Min(delay_ms, (long) EdwMaxRestartDelayMs));
	EdwSetMyState(EDW_WORKER_BACKOFF);
	pgstat_report_activity(STATE_IDLE, NULL);
	(void) pgstat_report_stat(true);
	slot->failures++;
	slot->restart_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), delay_ms);
	for (;;)
	{
		long		left_ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
															  slot->restart_at);

		if (left_ms <= 0 || pg_atomic_read_u32(&slot->stop) ||
			pg_atomic_read_u32(&slot->reload))
			break;
		pg_atomic_write_u32(&slot->wake, 0);
		if (ConfigReloadPending)
			handle_calls();
		sleep_on(-1, left_ms, wait_event);
	}
}

/*
 * Opening the source and listing partitions are steps too, but no success yet: only
 * messages that were committed are.
 */
static void
note_progress(void)
{
	uint64		batches = pg_atomic_read_u64(&EdwMyCounters()->batches);

	uint64		messages = pg_atomic_read_u64(&EdwMyCounters()->messages);

	if (batches == batches_seen)
		return;
	memory_kept |= messages - messages_seen >= LARGE_BATCH;
	messages_seen = messages;
	batches_seen = batches;
	EdwMySlot()->failures = 0;
	EdwSetMyState(EDW_WORKER_RUNNING);
}

static void
run(void)
{
	uint32		idle_event = EdwWaitEventNew("EdwStreamWorkerMain");
	uint32		backoff_event = EdwWaitEventNew("EdwStreamWorkerBackoff");

	batches_seen = pg_atomic_read_u64(&EdwMyCounters()->batches);
	messages_seen = pg_atomic_read_u64(&EdwMyCounters()->messages);
	keep_memory();
	for (;;)
	{
		EdwStepResult result;

		handle_calls();
		if (pg_atomic_read_u32(&EdwMyCounters()->state) != EDW_WORKER_RUNNING)
			pgstat_report_activity(STATE_RUNNING, "applying the stream");
		result = step();
		switch (result)
		{
			case EDW_STEP_MORE:
				note_progress();
				(void) pgstat_report_stat(false);
				break;
			case EDW_STEP_IDLE:
				idle(idle_event);
				break;
			case EDW_STEP_RETRY:
				back_off(backoff_event);
				break;
			case EDW_STEP_STALLED:
				end_quietly(EDW_WORKER_STALLED);
				break;
			case EDW_STEP_GONE:
				end_quietly(EDW_WORKER_FREE);
				break;
		}
	}
}

void
EdwStreamWorkerMain(Datum arg)
{
	uint64		generation;
	Oid			database;

	memcpy(&generation, MyBgworkerEntry->bgw_extra, sizeof(generation));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	EdwSessionNoteErrors();
	before_shmem_exit(leave, (Datum) 0);
	if (!EdwSlotAttach(DatumGetInt32(arg), generation, &database, &assignment))
		proc_exit(0);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(database, assignment.owner,
											  EDW_WORKER_CONNECT_FLAGS);
	set_up_session();
	run();
}
