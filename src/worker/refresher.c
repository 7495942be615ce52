/*
 * refresher.c
 *		The process that refreshes a database's deferred views within their max_staleness.
 *
 * One per database, and only while there is something to do: a scout wants it when partitions are
 * pending (view/pending.h), a commit that adds some wakes it, and it ends when nothing was
 * pending for a while. Connected as the bootstrap superuser, in order to become the owner of
 * each view for what that view computes (view/execute.h), and does nothing else as superuser but read and write
 * edw_stream's tables.
 *
 * One view is refreshed per transaction, when it is due: late enough to merge what comes meanwhile, early
 * enough to be done in time. A view that fails does not stop the others: a passing fault is
 * tried again, anything else waits for somebody to act (reason refresh_failed). It sleeps
 * outside of any transaction and with no lock held, and is in nobody's way.
 */
#include "postgres.h"

#include "access/xact.h"
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
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "view/flush.h"
#include "view/pending.h"
#include "worker/processes.h"
#include "worker/session.h"
#include "worker/shared.h"

/* with nothing pending for so long it ends */
#define IDLE_MS			60000
/* commits that come faster are looked at together */
#define LOOK_MS			100
/* a view that somebody has locked is left alone for so long, and the others are refreshed */
#define LOCK_WAIT		"1s"
#define LOCK_RETRY_MS	1000
#define FIRST_RETRY_MS	100

/* a view that failed, until it is refreshed or nothing is pending for it any more */
typedef struct Failure
{
	Oid			view;
	int			failures;		/* in a row */
	TimestampTz retry_at;
	bool		listed;			/* by the look that is going on */
} Failure;

static List *failures = NIL;	/* in TopMemoryContext */

static void
leave(int code, Datum arg)
{
	(void) code;
	(void) arg;
	EdwSlotDetach();
}

/* A transaction with a snapshot, which SPI wants to see. */
static void
begin(void)
{
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
}

static void
commit(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
}

static TimestampTz
later(int64 ms)
{
	return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms);
}

static Failure *
find_failure(Oid view)
{
	ListCell   *lc;

	foreach(lc, failures)
	{
		if (((Failure *) lfirst(lc))->view == view)
			return lfirst(lc);
	}
	return NULL;
}

/* Count a failure, and put the next attempt off. */
static void
note_failure(Oid view, int code)
{
	Failure    *failure = find_failure(view);
	int64		delay = FIRST_RETRY_MS;

	if (!failure)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		failure = palloc0(sizeof(Failure));
		failure->view = view;
		failures = lappend(failures, failure);
		MemoryContextSwitchTo(old);
	}
	if (code == ERRCODE_LOCK_NOT_AVAILABLE)
		delay = LOCK_RETRY_MS;
	else
	{
		for (int i = 0; i < failure->failures && delay < EdwMaxRestartDelayMs; i++)
			delay *= 2;
		failure->failures++;
	}
	failure->retry_at = later(Min(delay, EdwMaxRestartDelayMs));
}

static void
forget_failure(Oid view)
{
	Failure    *failure = find_failure(view);

	if (!failure)
		return;
	failures = list_delete_ptr(failures, failure);
	pfree(failure);
}

static void
forget_failures_not_listed(void)
{
	ListCell   *lc;

	foreach(lc, failures)
	{
		Failure    *failure = lfirst(lc);

		if (failure->listed)
			continue;
		failures = foreach_delete_current(failures, lc);
		pfree(failure);
	}
}

/*
 * When to begin with a view: so that it is done in time even if this refresh takes twice as
 * long as the last one.
 */
static TimestampTz
due(const EdwPendingView *pending)
{
	int64		left = pending->max_staleness_ms - pending->max_staleness_ms / 10 -
		2 * pending->last_us / 1000;
	TimestampTz at = TimestampTzPlusMilliseconds(pending->noted_at, Max(left, 0));
	Failure    *failure = find_failure(pending->view);

	if (!failure)
		return at;
	failure->listed = true;
	return Max(at, failure->retry_at);
}

/* The view that is due next, InvalidOid: nothing is pending. */
static Oid
look(TimestampTz *at)
{
	EdwPendingView *pending;
	Oid			next = InvalidOid;
	ListCell   *lc;
	int			n;

	foreach(lc, failures)
		((Failure *) lfirst(lc))->listed = false;
	begin();
	pending = EdwPendingList(&n);
	for (int i = 0; i < n; i++)
	{
		TimestampTz mine = due(&pending[i]);

		if (OidIsValid(next) && mine >= *at)
			continue;
		next = pending[i].view;
		*at = mine;
	}
	commit();
	forget_failures_not_listed();
	return next;
}

/* Views that read this one are brought up to date in the same transaction. */
static void
refresh_in_transaction(Oid view)
{
	begin();
	(void) set_config_option("lock_timeout", LOCK_WAIT, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_LOCAL, true, 0, false);
	(void) EdwPendingWorkOff(view, false);
	EdwFlush();
	commit();
}

/* Say of a view that it failed: in the log, and where its owner sees it. */
static void
report_failure(Oid view, const ErrorData *error, Oid flushed)
{
	const char *message = error->message;
	bool		passing = EdwErrorsArePassing(error->sqlerrcode);

	begin();
	if (OidIsValid(flushed) && get_rel_name(flushed))
		message = psprintf("view \"%s\", which reads this one, could not be refreshed: %s",
						   get_rel_name(flushed), error->message);
	ereport(LOG,
			(errcode(error->sqlerrcode),
			 errmsg("materialized view \"%s\" could not be refreshed: %s",
					get_rel_name(view) ? get_rel_name(view) : "?", message),
			 error->context ? errcontext("%s", error->context) : 0));
	EdwPendingSetFailed(view, passing, message, error->hint);
	commit();
}

/* Refresh a view; an ERROR of it is noted, and not ours. */
static void
refresh(Oid view)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorData  *volatile error = NULL;
	volatile Oid flushed = InvalidOid;

	pgstat_report_activity(STATE_RUNNING, "refreshing deferred views");
	PG_TRY();
	{
		refresh_in_transaction(view);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		flushed = EdwFlushCurrent();
		if (EdwSessionExtensionIsGone())
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();

	MemoryContextSwitchTo(context);
	EdwMySlot()->failures = 0;
	if (!error)
	{
		forget_failure(view);
		return;
	}
	note_failure(view, error->sqlerrcode);
	report_failure(view, error, flushed);
	FreeErrorData(error);
}

static bool
is_called(void)
{
	EdwSlot    *slot = EdwMySlot();

	return pg_atomic_read_u32(&slot->stop) || ConfigReloadPending || catchupInterruptPending;
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
	pg_atomic_write_u32(&slot->reload, 0);
	(void) pg_atomic_exchange_u32(&slot->wake, 0);
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
}

/* Sleep until a time, or until shortly after somebody has said that there is more. */
static void
rest(TimestampTz until, uint32 wait_event)
{
	TimestampTz earliest = Min(later(LOOK_MS), until);

	EdwSetMyState(EDW_WORKER_IDLE);
	pgstat_report_activity(STATE_IDLE, NULL);
	(void) pgstat_report_stat(true);
	while (!is_called())
	{
		bool		woken = pg_atomic_read_u32(&EdwMySlot()->wake);
		long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
														   woken ? earliest : until);

		if (left <= 0)
			break;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, left,
						 wait_event);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	EdwSetMyState(EDW_WORKER_RUNNING);
}

static void
end_quietly(void)
{
	EdwSetMyState(EDW_WORKER_FREE);
	EdwMySlot()->exit = EDW_EXIT_ENDED;
	proc_exit(0);
}

static pg_noinline void
run(void)
{
	uint32		wait_event = EdwWaitEventNew("EdwStreamRefresherMain");
	TimestampTz end_at = later(IDLE_MS);

	begin();
	EdwPendingForgetOthers();
	commit();
	for (;;)
	{
		TimestampTz at = 0;
		Oid			view;

		handle_calls();
		view = look(&at);
		if (!OidIsValid(view))
		{
			if (GetCurrentTimestamp() >= end_at)
				end_quietly();
			rest(end_at, wait_event);
			continue;
		}
		end_at = later(IDLE_MS);
		if (at > GetCurrentTimestamp())
			rest(at, wait_event);
		else
			refresh(view);
	}
}

/* Run, and end quietly when the extension is dropped meanwhile. */
static void
run_while_wanted(void)
{
	PG_TRY();
	{
		run();
	}
	PG_CATCH();
	{
		if (!EdwSessionExtensionIsGone())
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();
	end_quietly();
}

void
EdwRefresherMain(Datum arg)
{
	EdwAssignment assignment;
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
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	EdwSessionSetUp(EDW_REFRESHER_TYPE, false);
	run_while_wanted();
}
