/*
 * probe.c
 *		Rows by a unique index, many keys at a time (see probe.h).
 *
 * A window is looked up in three steps:
 *
 *	1. the index: all row versions of all keys. While the next key is on the leaf page at hand, it is looked for there, without
 *	   coming from the root; the page's lock is held meanwhile, as a scan does to read it.
 *	2. the table: which buffers hold these versions, or where they do not, a request to the kernel to read them. What will be
 *	   read of a page is asked for from memory: its header and line pointer, then the version, or all of a page that is to be pruned.
 *	3. each page is pruned if that pays, and the version that the snapshot sees is noted.
 *
 * As in an index scan with an MVCC snapshot, no leaf page is held while its rows are read: a row
 * that has meanwhile been replaced by another one is newer than the snapshot. What the caller's own
 * statement writes between two windows, or between a window and its use, is invisible to it, too.
 *
 * Entries that are dead are not marked as such, which the next insertion of their key does anyhow. There are no predicate locks,
 * since batches are applied at READ COMMITTED.
 *
 * Locks: what the caller says on the index; pages as said. At most one buffer is pinned, and none between two
 * calls. All memory is of the context of EdwProbeBegin.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/nbtree.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "apply/probe.h"
#include "edw_stream.h"
#include "pgstat.h"
#include "prefetch.h"
#include "storage/bufmgr.h"
#include "utils/memutils.h"

/* a row version that an index entry of the key points at */
typedef struct Candidate
{
	ItemPointerData tid;
	Buffer		buffer;			/* where it was a moment ago, or invalid */
	int			key;			/* the key's place */
} Candidate;

struct EdwProbe
{
	Relation	table;
	Relation	index;
	LOCKMODE	lockmode;
	Snapshot	snapshot;
	MemoryContext context;
	BTScanInsert search;
	Datum	   *values;			/* of the window's keys */
	bool	   *nulls;
	ItemPointerData found[EDW_PROBE_WINDOW];
	Candidate  *candidates;
	int			ncandidates;
	int			max_candidates;

	/* the leaf page at hand, locked; invalid: none */
	Buffer		leaf;
};

bool
EdwProbeCan(Oid relid)
{
	Relation	table = table_open(relid, NoLock);
	bool		is_heap = table->rd_tableam == GetHeapamTableAmRoutine();

	table_close(table, NoLock);
	return is_heap;
}

/* A search for a key that has yet to be filled in. */
static BTScanInsert
make_search(Relation index)
{
	BTScanInsert search = _bt_mkscankey(index, NULL);

	_bt_metaversion(index, &search->heapkeyspace, &search->allequalimage);
	search->keysz = IndexRelationGetNumberOfKeyAttributes(index);
	for (int i = 0; i < search->keysz; i++)
		search->scankeys[i].sk_flags &= ~SK_ISNULL;
	return search;
}

EdwProbe *
EdwProbeBegin(Relation table, Oid index, LOCKMODE lockmode, Snapshot snapshot)
{
	EdwProbe   *probe = palloc0(sizeof(EdwProbe));
	int			ncolumns;

	Assert(!IsolationIsSerializable());
	probe->context = CurrentMemoryContext;
	probe->table = table;
	probe->index = index_open(index, lockmode);
	probe->lockmode = lockmode;
	probe->snapshot = snapshot;
	probe->search = make_search(probe->index);
	ncolumns = EDW_PROBE_WINDOW * EdwProbeKeyColumns(probe);
	probe->values = palloc(ncolumns * sizeof(Datum));
	probe->nulls = palloc(ncolumns * sizeof(bool));
	probe->max_candidates = 2 * EDW_PROBE_WINDOW;
	probe->candidates = palloc(probe->max_candidates * sizeof(Candidate));
	return probe;
}

void
EdwProbeEnd(EdwProbe *probe)
{
	index_close(probe->index, NoLock);
}

int
EdwProbeKeyColumns(const EdwProbe *probe)
{
	return probe->search->keysz;
}

void
EdwProbeKey(EdwProbe *probe, int at, Datum **values, bool **nulls)
{
	*values = &probe->values[at * probe->search->keysz];
	*nulls = &probe->nulls[at * probe->search->keysz];
}

/*
 * The index
 */

/* Search for the key at a place; false: it has a null, which nothing equals. */
static bool
set_search(EdwProbe *probe, int at)
{
	Datum	   *values;
	bool	   *nulls;

	EdwProbeKey(probe, at, &values, &nulls);
	for (int i = 0; i < probe->search->keysz; i++)
	{
		if (nulls[i])
			return false;
		probe->search->scankeys[i].sk_argument = values[i];
	}
	return true;
}

static void
leave_leaf(EdwProbe *probe)
{
	if (BufferIsValid(probe->leaf))
		_bt_relbuf(probe->index, probe->leaf);
	probe->leaf = InvalidBuffer;
}

/* The first entry of the leaf page that is not less than the key; one beyond the last one if all are. */
static OffsetNumber
first_not_less(EdwProbe *probe, Page page)
{
	OffsetNumber low = P_FIRSTDATAKEY(BTPageGetOpaque(page));
	OffsetNumber high = PageGetMaxOffsetNumber(page) + 1;

	while (low < high)
	{
		OffsetNumber middle = low + (high - low) / 2;

		if (_bt_compare(probe->index, probe->search, page, middle) > 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* From the root to the leaf page where the key's first entry is, if it has any. False: the index is empty. */
static bool
descend(EdwProbe *probe)
{
	leave_leaf(probe);
	_bt_freestack(EdwBtSearch(probe->index, probe->table, probe->search, &probe->leaf, probe->snapshot));
	return BufferIsValid(probe->leaf);
}

/*
 * Come to the key's first entry, or where it would be, in the leaf page at hand if it is there. Entries of one key may be
 * on several pages, so a page's first one may not be the key's first.
 */
static bool
come_to_key(EdwProbe *probe, OffsetNumber *offset)
{
	if (BufferIsValid(probe->leaf))
	{
		Page		page = BufferGetPage(probe->leaf);
		BTPageOpaque opaque = BTPageGetOpaque(page);

		if (P_RIGHTMOST(opaque) || _bt_compare(probe->index, probe->search, page, P_HIKEY) <= 0)
		{
			*offset = first_not_less(probe, page);
			if (*offset > P_FIRSTDATAKEY(opaque))
				return true;
		}
	}
	if (!descend(probe))
		return false;
	*offset = first_not_less(probe, BufferGetPage(probe->leaf));
	return true;
}

static void
add_candidate(EdwProbe *probe, int key, ItemPointer tid)
{
	Candidate  *candidate;

	if (probe->ncandidates == probe->max_candidates)
	{
		probe->max_candidates *= 2;
		probe->candidates = repalloc_huge(probe->candidates, probe->max_candidates * sizeof(Candidate));
	}
	candidate = &probe->candidates[probe->ncandidates++];
	candidate->tid = *tid;
	candidate->key = key;
}

static void
add_entry(EdwProbe *probe, int key, Page page, OffsetNumber offset)
{
	ItemId		item = PageGetItemId(page, offset);
	IndexTuple	entry = (IndexTuple) PageGetItem(page, item);

	if (ItemIdIsDead(item))
		return;
	if (!BTreeTupleIsPosting(entry))
		add_candidate(probe, key, &entry->t_tid);
	else
		for (int i = 0; i < BTreeTupleGetNPosting(entry); i++)
			add_candidate(probe, key, BTreeTupleGetPostingN(entry, i));
}

/* To the right sibling that is alive; false: there is none. */
static bool
step_right(EdwProbe *probe)
{
	BTPageOpaque opaque = BTPageGetOpaque(BufferGetPage(probe->leaf));

	do
	{
		if (P_RIGHTMOST(opaque))
			return false;
		probe->leaf = _bt_relandgetbuf(probe->index, probe->leaf, opaque->btpo_next, BT_READ);
		opaque = BTPageGetOpaque(BufferGetPage(probe->leaf));
	} while (P_IGNORE(opaque));
	return true;
}

/* All entries of the key: several, where its row has moved, or rows of it have been deleted. */
static void
search_key(EdwProbe *probe, int key)
{
	OffsetNumber offset;

	pgstat_count_index_scan(probe->index);
	if (!come_to_key(probe, &offset))
		return;
	for (;;)
	{
		Page		page = BufferGetPage(probe->leaf);
		OffsetNumber end = PageGetMaxOffsetNumber(page);

		while (offset <= end && _bt_compare(probe->index, probe->search, page, offset) == 0)
			add_entry(probe, key, page, offset++);
		if (offset <= end || P_RIGHTMOST(BTPageGetOpaque(page)) ||
			_bt_compare(probe->index, probe->search, page, P_HIKEY) < 0 || !step_right(probe))
			return;
		offset = P_FIRSTDATAKEY(BTPageGetOpaque(BufferGetPage(probe->leaf)));
	}
}

/*
 * The table
 */

static BlockNumber
block_of(const Candidate *candidate)
{
	return ItemPointerGetBlockNumber(&candidate->tid);
}

/* Find or request the pages, and ask for what is read of each first. */
static void
request_pages(EdwProbe *probe)
{
	for (int i = 0; i < probe->ncandidates; i++)
	{
		Candidate  *candidate = &probe->candidates[i];

		if (i > 0 && block_of(candidate) == block_of(candidate - 1))
			candidate->buffer = candidate[-1].buffer;
		else
			candidate->buffer = PrefetchBuffer(probe->table, MAIN_FORKNUM, block_of(candidate)).recent_buffer;
		if (BufferIsValid(candidate->buffer))
		{
			Page		page = BufferGetPage(candidate->buffer);

			__builtin_prefetch(page);
			__builtin_prefetch(PageGetItemId(page, ItemPointerGetOffsetNumber(&candidate->tid)));
		}
	}
}

/*
 * Ask for the versions. The page is not pinned: if another one takes its place just now, what is asked for is of no
 * use, and that is all.
 */
static pg_attribute_always_inline void
request_versions(const EdwProbe *probe)
{
	for (int i = 0; i < probe->ncandidates; i++)
	{
		const Candidate *candidate = &probe->candidates[i];

		if (BufferIsValid(candidate->buffer))
		{
			Page		page = BufferGetPage(candidate->buffer);
			ItemId		item = PageGetItemId(page, ItemPointerGetOffsetNumber(&candidate->tid));

			if (ItemIdIsRedirected(item))
				item = PageGetItemId(page, ItemIdGetRedirect(item));
			__builtin_prefetch((char *) page + ItemIdGetOffset(item));
		}
	}
}

static Buffer
pin_page(EdwProbe *probe, const Candidate *candidate)
{
	if (BufferIsValid(candidate->buffer) &&
		EdwReadRecentBuffer(probe->table, block_of(candidate), candidate->buffer))
		return candidate->buffer;
	return ReadBuffer(probe->table, block_of(candidate));
}

/* Which of its versions shows the key's row? */
static void
look_at_versions(EdwProbe *probe)
{
	Buffer		buffer = InvalidBuffer;

	for (int i = 0; i < probe->ncandidates; i++)
	{
		Candidate  *candidate = &probe->candidates[i];
		HeapTupleData tuple;

		if (ItemPointerIsValid(&probe->found[candidate->key]))
			continue;
		if (!BufferIsValid(buffer) || BufferGetBlockNumber(buffer) != block_of(candidate))
		{
			if (BufferIsValid(buffer))
				ReleaseBuffer(buffer);
			buffer = pin_page(probe, candidate);
			heap_page_prune_opt(probe->table, buffer);
		}
		LockBuffer(buffer, BUFFER_LOCK_SHARE);
		if (heap_hot_search_buffer(&candidate->tid, probe->table, buffer, probe->snapshot, &tuple, NULL, true))
		{
			probe->found[candidate->key] = candidate->tid;
			pgstat_count_heap_fetch(probe->index);
		}
		LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	}
	if (BufferIsValid(buffer))
		ReleaseBuffer(buffer);
}

void
EdwProbeLookUp(EdwProbe *probe, int nkeys)
{
	MemoryContext old = MemoryContextSwitchTo(probe->context);

	probe->ncandidates = 0;
	for (int i = 0; i < nkeys; i++)
	{
		ItemPointerSetInvalid(&probe->found[i]);
		if (set_search(probe, i))
			search_key(probe, i);
	}
	leave_leaf(probe);
	pgstat_count_index_tuples(probe->index, probe->ncandidates);
	request_pages(probe);
	request_versions(probe);
	look_at_versions(probe);
	MemoryContextSwitchTo(old);
}

bool
EdwProbeFound(const EdwProbe *probe, int at, ItemPointer tid)
{
	*tid = probe->found[at];
	return ItemPointerIsValid(tid);
}

bool
EdwProbeMatches(EdwProbe *probe, int at, TupleTableSlot *slot)
{
	const Form_pg_index form = probe->index->rd_index;

	if (!set_search(probe, at))
		return false;
	for (int i = 0; i < probe->search->keysz; i++)
	{
		ScanKey		key = &probe->search->scankeys[i];
		bool		isnull;
		Datum		value = slot_getattr(slot, form->indkey.values[i], &isnull);

		if (isnull || DatumGetInt32(FunctionCall2Coll(&key->sk_func, key->sk_collation, value, key->sk_argument)) != 0)
			return false;
	}
	return true;
}
