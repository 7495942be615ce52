/*
 * notify.c
 *		Telling launcher and workers what a transaction changed, when it commits.
 *
 * Remembers per transaction, with the nesting level, so that what a rolled back
 * subtransaction asked for is forgotten with it. Nothing is told before the commit is
 * visible, its cache invalidations are sent and its locks released: that is why it is
 * told when resources are released, not at XACT_EVENT_COMMIT. So who wakes up sees the
 * change and need not wait. All told is a hint: a worker or scout reads the tables.
 *
 * A prepared transaction commits elsewhere and later. PREPARE leaves a flag, from
 * which on each COMMIT PREPARED counts as a change of its database (database.c). A
 * restart forgets the flag; then the scout that comes every minute finds the change.
 */
#include "postgres.h"

#include "access/xact.h"
#include "edw_stream.h"
#include "miscadmin.h"
#include "utils/resowner.h"
#include "worker/database.h"
#include "worker/shared.h"

/* a stream whose workers are to be woken */
typedef struct Wake
{
	char		stream[EDW_STREAM_NAME_MAX + 1];
	int			level;			/* of the outermost subtransaction that asked */
} Wake;

/* past this many the workers of all streams are woken */
#define MAX_WAKES 16

/* levels of the outermost subtransaction that asked, 0: nobody did */
static int	streams_changed_level = 0;
static int	databases_changed_level = 0;
static int	wake_all_level = 0;
static int	refresher_level = 0;
static Wake wakes[MAX_WAKES];
static int	nwakes = 0;

static void
note_level(int *level)
{
	int			mine = GetCurrentTransactionNestLevel();

	if (*level == 0 || *level > mine)
		*level = mine;
}

void
EdwSignalStreamsChanged(void)
{
	if (EdwSharedState)
		note_level(&streams_changed_level);
}

void
EdwSignalDatabasesChanged(void)
{
	if (EdwSharedState)
		note_level(&databases_changed_level);
}

void
EdwWakeStreamAtCommit(const char *stream)
{
	if (!EdwSharedState || wake_all_level == 1)
		return;
	for (int i = 0; i < nwakes; i++)
	{
		if (strcmp(wakes[i].stream, stream) == 0)
		{
			note_level(&wakes[i].level);
			return;
		}
	}
	if (nwakes == MAX_WAKES)
	{
		note_level(&wake_all_level);
		return;
	}
	strlcpy(wakes[nwakes].stream, stream, sizeof(wakes[nwakes].stream));
	wakes[nwakes].level = GetCurrentTransactionNestLevel();
	nwakes++;
}

void
EdwWakeRefresherAtCommit(void)
{
	if (EdwSharedState)
		note_level(&refresher_level);
}

static void
forget_all(void)
{
	streams_changed_level = databases_changed_level = wake_all_level = refresher_level = 0;
	nwakes = 0;
}

static bool
is_to_be_woken(const EdwSlot *slot)
{
	if (streams_changed_level)
		return true;
	if (EdwIsRefresher(&slot->assignment))
		return refresher_level != 0;
	if (wake_all_level)
		return true;
	for (int i = 0; i < nwakes; i++)
	{
		if (strcmp(slot->assignment.stream, wakes[i].stream) == 0)
			return true;
	}
	return false;
}

static void
wake_workers(void)
{
	for (int i = 0; i < EdwSharedState->nslots; i++)
	{
		EdwSlot    *slot = &EdwSharedState->slots[i];

		if (!slot->in_use || slot->database != MyDatabaseId || !slot->latch ||
			!is_to_be_woken(slot))
			continue;
		if (streams_changed_level)
			pg_atomic_write_u32(&slot->reload, 1);
		/* a refresher that was woken is in no hurry: spare each commit the signal */
		if (pg_atomic_exchange_u32(&slot->wake, 1) == 0 || !EdwIsRefresher(&slot->assignment))
			SetLatch(slot->latch);
	}
}

/* Is there a refresher that will look once more before it ends, or be started anyway? */
static bool
refresher_is_there(void)
{
	for (int i = 0; i < EdwSharedState->nslots; i++)
	{
		EdwSlot    *slot = &EdwSharedState->slots[i];

		if (slot->in_use && slot->wanted && !slot->ended && slot->database == MyDatabaseId &&
			EdwIsRefresher(&slot->assignment))
			return true;
	}
	return false;
}

static bool
refresher_is_missing(void)
{
	bool		missing;

	if (refresher_level == 0)
		return false;
	LWLockAcquire(EdwSharedState->lock, LW_SHARED);
	missing = !refresher_is_there();
	LWLockRelease(EdwSharedState->lock);
	return missing;
}

static void
tell(void)
{
	bool		look_here = streams_changed_level || refresher_is_missing();
	bool		wake_launcher = look_here || databases_changed_level;

	LWLockAcquire(EdwSharedState->lock, wake_launcher ? LW_EXCLUSIVE : LW_SHARED);
	wake_workers();
	if (look_here)
		EdwMarkChanged(MyDatabaseId);
	if (databases_changed_level)
		EdwSharedState->databases_changed = true;
	LWLockRelease(EdwSharedState->lock);
	if (wake_launcher)
		EdwWakeLauncher();
}

static bool
anything_to_tell(void)
{
	return streams_changed_level || databases_changed_level || wake_all_level ||
		refresher_level || nwakes > 0;
}

/* A commit goes on until at_release; nothing else leaves anything to tell. */
static void
at_transaction_end(XactEvent event, void *arg)
{
	(void) arg;
	if (event == XACT_EVENT_PREPARE && anything_to_tell())
		pg_atomic_write_u32(&EdwSharedState->prepared, 1);
	if (event == XACT_EVENT_PREPARE || event == XACT_EVENT_ABORT)
		forget_all();
}

static void
at_release(ResourceReleasePhase phase, bool committed, bool top_level, void *arg)
{
	(void) arg;
	if (phase != RESOURCE_RELEASE_AFTER_LOCKS || !top_level)
		return;
	if (committed && anything_to_tell())
		tell();
	forget_all();
	EdwDatabaseUnblockMine();
}

static void
end_level(int *level, int ended, bool committed)
{
	if (*level >= ended)
		*level = committed ? ended - 1 : 0;
}

static void
at_subtransaction_end(SubXactEvent event, SubTransactionId mine, SubTransactionId parent,
					  void *arg)
{
	int			ended = GetCurrentTransactionNestLevel();
	bool		committed = event == SUBXACT_EVENT_COMMIT_SUB;
	int			kept = 0;

	(void) mine;
	(void) parent;
	(void) arg;
	if (!committed && event != SUBXACT_EVENT_ABORT_SUB)
		return;
	end_level(&streams_changed_level, ended, committed);
	end_level(&databases_changed_level, ended, committed);
	end_level(&wake_all_level, ended, committed);
	end_level(&refresher_level, ended, committed);
	for (int i = 0; i < nwakes; i++)
	{
		end_level(&wakes[i].level, ended, committed);
		if (wakes[i].level > 0)
			wakes[kept++] = wakes[i];
	}
	nwakes = kept;
}

void
EdwNotifyInit(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterResourceReleaseCallback(at_release, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
}
