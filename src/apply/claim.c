/*
 * claim.c
 *		The keys that the batches under way are about to change (see claim.h).
 *
 * Owns the claims in shared memory, each of one transaction, guarded by one LWLock. A key is its
 * hash: two that have the same only wait for nothing. A claim also has a heavyweight lock of its own, held
 * from before it is seen until the transaction's end, which is what others wait for: so a
 * deadlock is noticed, and a claim is never waited for that has ended. Claims are numbered as they are made known, and
 * who comes later waits for who came earlier, never the other way round.
 *
 * A claim is withdrawn when the transaction is over for everybody: what it wrote is seen by
 * then, as the waiting ones read with new snapshots.
 */
#include "postgres.h"

#include "access/xact.h"
#include "apply/claim.h"
#include "common/hashfn.h"
#include "edw_stream.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "port/pg_bitutils.h"
#include "storage/ipc.h"
#include "storage/lock.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

/* claims at a time; whoever finds none free goes without */
#define MAX_CLAIMS		64

/* keys of a claim; one of more keys claims them all. A page that is never used takes no memory. */
#define MAX_KEYS		32768

/* besides those of SQL functions and of apply.c */
#define LOCK_CLASS_CLAIM	0x4546

#define CLAIMS_NAME		EDW_EXTENSION_NAME " claims"

typedef struct Claim
{
	uint64		number;			/* 0: free */
	uint64		ticket;			/* names its lock */
	Oid			database;
	bool		all;			/* every key */
	int			nkeys;
	uint32		keys[MAX_KEYS];
} Claim;

typedef struct Claims
{
	LWLock	   *lock;
	uint64		last_number;
	pg_atomic_uint64 last_ticket;
	Claim		claims[MAX_CLAIMS];
} Claims;

/* the keys of a batch, found by open addressing; 0 stands for an empty place */
typedef struct KeySet
{
	uint32	   *places;
	uint32		mask;
	uint32	   *keys;			/* the same in a row */
	int			nkeys;
} KeySet;

static Claims *claims = NULL;
static Claim *my_claim = NULL;

static shmem_request_hook_type previous_shmem_request_hook;
static shmem_startup_hook_type previous_shmem_startup_hook;

static void
request_shared_memory(void)
{
	if (previous_shmem_request_hook)
		previous_shmem_request_hook();
	RequestAddinShmemSpace(sizeof(Claims));
	RequestNamedLWLockTranche(CLAIMS_NAME, 1);
}

static void
create_shared_memory(void)
{
	bool		found;

	if (previous_shmem_startup_hook)
		previous_shmem_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	claims = ShmemInitStruct(CLAIMS_NAME, sizeof(Claims), &found);
	if (!found)
	{
		claims->lock = &GetNamedLWLockTranche(CLAIMS_NAME)->lock;
		claims->last_number = 0;
		pg_atomic_init_u64(&claims->last_ticket, 0);
		for (int i = 0; i < MAX_CLAIMS; i++)
			claims->claims[i].number = 0;
	}
	LWLockRelease(AddinShmemInitLock);
}

/* Runs when others see what the transaction did, and before its locks are released. */
static void
at_xact_end(XactEvent event, void *arg)
{
	(void) arg;
	if (my_claim == NULL || (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT))
		return;
	LWLockAcquire(claims->lock, LW_EXCLUSIVE);
	my_claim->number = 0;
	LWLockRelease(claims->lock);
	my_claim = NULL;
}

void
EdwClaimsInit(void)
{
	RegisterXactCallback(at_xact_end, NULL);
	if (!process_shared_preload_libraries_in_progress)
		return;
	previous_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_shared_memory;
	previous_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = create_shared_memory;
}

bool
EdwClaimsAvailable(void)
{
	return claims != NULL;
}

static bool
has_key(const KeySet *set, uint32 key)
{
	uint32		place = key & set->mask;

	while (set->places[place] != 0 && set->places[place] != key)
		place = (place + 1) & set->mask;
	return set->places[place] == key;
}

/* Entries of append targets have no key. */
static bool
has_keys(const EdwBatchTarget *bt)
{
	return bt->target->def->apply != EDW_APPLY_APPEND;
}

static void
collect_keys(const EdwBatch *batch, KeySet *set)
{
	int			n = 0;

	for (int i = 0; i < batch->ntargets; i++)
		if (has_keys(batch->targets[i]))
			n += batch->targets[i]->nentries;
	set->mask = pg_nextpower2_32(Max(2 * n, 2)) - 1;
	set->places = palloc_extended(((Size) set->mask + 1) * sizeof(uint32), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	set->keys = palloc_extended(Max(n, 1) * sizeof(uint32), MCXT_ALLOC_HUGE);
	set->nkeys = 0;
	for (int i = 0; i < batch->ntargets; i++)
	{
		const EdwBatchTarget *bt = batch->targets[i];
		uint32		salt = murmurhash32((uint32) bt->target->def->mapping_id);

		for (int e = 0; has_keys(bt) && e < bt->nentries; e++)
		{
			uint32		key = bt->entries[e]->hash ^ salt;
			uint32		place;

			key = key != 0 ? key : 1;
			place = key & set->mask;
			while (set->places[place] != 0 && set->places[place] != key)
				place = (place + 1) & set->mask;
			if (set->places[place] == key)
				continue;
			set->places[place] = key;
			set->keys[set->nkeys++] = key;
		}
	}
}

static void
set_lock_tag(LOCKTAG *tag, Oid database, uint64 ticket)
{
	SET_LOCKTAG_ADVISORY(*tag, database, (uint32) (ticket >> 32), (uint32) ticket, LOCK_CLASS_CLAIM);
}

/* Make the claim known; false if there is no room. The transaction's former claim grows. */
static bool
publish(const KeySet *set, uint64 ticket)
{
	Claim	   *claim = my_claim;

	LWLockAcquire(claims->lock, LW_EXCLUSIVE);
	for (int i = 0; claim == NULL && i < MAX_CLAIMS; i++)
		if (claims->claims[i].number == 0)
		{
			claim = &claims->claims[i];
			claim->database = MyDatabaseId;
			claim->ticket = ticket;
			claim->all = false;
			claim->nkeys = 0;
		}
	if (claim != NULL)
	{
		claim->number = ++claims->last_number;
		if (set->nkeys > MAX_KEYS - claim->nkeys)
			claim->all = true;
		else
		{
			memcpy(claim->keys + claim->nkeys, set->keys, set->nkeys * sizeof(uint32));
			claim->nkeys += set->nkeys;
		}
	}
	LWLockRelease(claims->lock);
	my_claim = claim;
	return claim != NULL;
}

static bool
overlaps(const Claim *claim, const KeySet *set)
{
	if (claim->all || my_claim->all)
		return true;
	for (int i = 0; i < claim->nkeys; i++)
		if (has_key(set, claim->keys[i]))
			return true;
	return false;
}

/* The tickets of earlier claims to one of the keys. Later ones see mine. */
static int
find_earlier(const KeySet *set, uint64 *tickets)
{
	int			n = 0;

	LWLockAcquire(claims->lock, LW_SHARED);
	for (int i = 0; i < MAX_CLAIMS; i++)
	{
		const Claim *claim = &claims->claims[i];

		if (claim != my_claim && claim->number != 0 && claim->number < my_claim->number &&
			claim->database == MyDatabaseId && overlaps(claim, set))
			tickets[n++] = claim->ticket;
	}
	LWLockRelease(claims->lock);
	return n;
}

bool
EdwClaimKeys(const EdwBatch *batch)
{
	LOCKTAG		tag;
	KeySet		set;
	uint64		ticket;
	uint64		tickets[MAX_CLAIMS];
	int			n;

	if (claims == NULL)
		return false;
	if (my_claim != NULL)
		ticket = my_claim->ticket;
	else
	{
		ticket = pg_atomic_add_fetch_u64(&claims->last_ticket, 1);
		set_lock_tag(&tag, MyDatabaseId, ticket);
		(void) LockAcquire(&tag, ExclusiveLock, false, false);
	}
	collect_keys(batch, &set);
	if (!publish(&set, ticket))
		return false;
	n = find_earlier(&set, tickets);
	pfree(set.places);
	pfree(set.keys);
	for (int i = 0; i < n; i++)
	{
		set_lock_tag(&tag, MyDatabaseId, tickets[i]);
		(void) LockAcquire(&tag, ShareLock, false, false);
		LockRelease(&tag, ShareLock, false);
	}
	return true;
}
