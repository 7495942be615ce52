/*
 * probe.c
 *		Rows by a unique index, many keys at a time (see probe.h).
 *
 * A window is looked up in steps, so that memory or disk is asked for all of its rows while the first is not looked at yet:
 *
 *	1. the index (index_walk.c): the row versions of all keys. If the last window's keys were on many leaf pages, all leaves are asked for before.
 *	2. the table: which buffers hold these versions, or where they do not, a request to the kernel to read them. What will be
 *	   read of a page is asked for from memory: its header and line pointer, then the version, and all of a page that is to be pruned.
 *	3. each page is pruned if that pays, and the version that the snapshot sees is noted.
 *
 * As in an index scan with an MVCC snapshot, no leaf page is held while its rows are read: a row
 * that has meanwhile been replaced by another one is newer than the snapshot. What the caller's own
 * statement writes between two windows, or between a window and its use, is invisible to it, too.
 *
 * What is asked for is not pinned: if another page takes its place just now, that was for nothing, and that is all.
 *
 * Locks: what the caller says on the index; pages as said. At most one page of the table is pinned, and none between two
 * calls. All memory is of the context of EdwProbeBegin; comparing keys leaves nothing behind.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "apply/index_walk.h"
#include "apply/probe.h"
#include "edw_stream.h"
#include "pgstat.h"
#include "prefetch.h"
#include "storage/bufmgr.h"

/* what of a leaf page holds line pointers, when its keys are short */
#define LEAF_POINTER_BYTES	1664

struct EdwProbe
{
	EdwIndexWalk walk;
	Size		scarce_space;	/* a page with less is pruned, if there is anything to be pruned */
	bool		sparse;			/* were the last window's keys on many leaf pages? */

	/* of the window's keys */
	Datum	   *values;
	bool	   *nulls;
	BlockNumber leaves[EDW_PROBE_WINDOW];
	int			first[EDW_PROBE_WINDOW + 1];	/* of its versions in walk.tids */
	ItemPointerData found[EDW_PROBE_WINDOW];

	/* where each version was a moment ago, or invalid */
	Buffer	   *buffers;
	int			max_buffers;
};

bool
EdwProbeCan(Oid relid)
{
	Relation	table = table_open(relid, NoLock);
	bool		is_heap = table->rd_tableam == GetHeapamTableAmRoutine();

	table_close(table, NoLock);
	return is_heap;
}

EdwProbe *
EdwProbeBegin(Relation table, Oid index, LOCKMODE lockmode, Snapshot snapshot)
{
	EdwProbe   *probe = palloc0(sizeof(EdwProbe));
	int			ncolumns;

	Assert(!IsolationIsSerializable());
	EdwIndexWalkBegin(&probe->walk, table, index_open(index, lockmode), snapshot);
	probe->scarce_space = Max(RelationGetTargetPageFreeSpace(table, HEAP_DEFAULT_FILLFACTOR), BLCKSZ / 10);
	ncolumns = EDW_PROBE_WINDOW * EdwProbeKeyColumns(probe);
	probe->values = palloc(ncolumns * sizeof(Datum));
	probe->nulls = palloc(ncolumns * sizeof(bool));
	probe->max_buffers = probe->walk.max_tids;
	probe->buffers = palloc(probe->max_buffers * sizeof(Buffer));
	return probe;
}

void
EdwProbeEnd(EdwProbe *probe)
{
	index_close(probe->walk.index, NoLock);
}

int
EdwProbeKeyColumns(const EdwProbe *probe)
{
	return EdwIndexWalkColumns(&probe->walk);
}

void
EdwProbeKey(EdwProbe *probe, int at, Datum **values, bool **nulls)
{
	*values = &probe->values[at * EdwProbeKeyColumns(probe)];
	*nulls = &probe->nulls[at * EdwProbeKeyColumns(probe)];
}

static bool
set_key(EdwProbe *probe, int at)
{
	Datum	   *values;
	bool	   *nulls;

	EdwProbeKey(probe, at, &values, &nulls);
	return EdwIndexWalkSetKey(&probe->walk, values, nulls);
}

/*
 * The index
 */

/* Ask for what a search reads of the leaf pages on its way. Their parents are few, and in the processor's cache. */
static void
request_leaves(EdwProbe *probe, int nkeys)
{
	for (int i = 0; i < nkeys; i++)
		probe->leaves[i] = set_key(probe, i) ? EdwIndexWalkFindLeaf(&probe->walk) : InvalidBlockNumber;
	EdwIndexWalkRest(&probe->walk);
	for (int i = 0; i < nkeys; i++)
	{
		Buffer		leaf;

		if (!BlockNumberIsValid(probe->leaves[i]) || (i > 0 && probe->leaves[i] == probe->leaves[i - 1]))
			continue;
		leaf = PrefetchBuffer(probe->walk.index, MAIN_FORKNUM, probe->leaves[i]).recent_buffer;
		if (BufferIsValid(leaf))
			EdwPrefetch(BufferGetPage(leaf), LEAF_POINTER_BYTES);
	}
}

static void
search_index(EdwProbe *probe, int nkeys)
{
	if (probe->sparse)
		request_leaves(probe, nkeys);
	probe->walk.ntids = probe->walk.nleaves = 0;
	for (int i = 0; i < nkeys; i++)
	{
		probe->first[i] = probe->walk.ntids;
		if (set_key(probe, i))
			EdwIndexWalkSearch(&probe->walk, probe->sparse ? probe->leaves[i] : InvalidBlockNumber);
	}
	probe->first[nkeys] = probe->walk.ntids;
	EdwIndexWalkRest(&probe->walk);
	probe->sparse = probe->walk.nleaves > EDW_PROBE_WINDOW / 2;
}

/*
 * The table
 */

static inline BlockNumber
block_of(const EdwProbe *probe, int version)
{
	return ItemPointerGetBlockNumber(&probe->walk.tids[version]);
}

static inline bool
is_on_same_page(const EdwProbe *probe, int version)
{
	return version > 0 && block_of(probe, version) == block_of(probe, version - 1);
}

static inline ItemId
line_pointer(const EdwProbe *probe, int version, Page page)
{
	return PageGetItemId(page, ItemPointerGetOffsetNumber(&probe->walk.tids[version]));
}

/* Find or request the pages, and ask for what is read of each first. */
static void
request_pages(EdwProbe *probe)
{
	if (probe->max_buffers < probe->walk.ntids)
	{
		probe->max_buffers = probe->walk.max_tids;
		probe->buffers = repalloc_huge(probe->buffers, probe->max_buffers * sizeof(Buffer));
	}
	for (int i = 0; i < probe->walk.ntids; i++)
	{
		if (is_on_same_page(probe, i))
			probe->buffers[i] = probe->buffers[i - 1];
		else
			probe->buffers[i] = PrefetchBuffer(probe->walk.table, MAIN_FORKNUM, block_of(probe, i)).recent_buffer;
		if (BufferIsValid(probe->buffers[i]))
		{
			Page		page = BufferGetPage(probe->buffers[i]);

			__builtin_prefetch(page);
			__builtin_prefetch(line_pointer(probe, i, page));
		}
	}
}

static pg_attribute_always_inline void
request_versions(const EdwProbe *probe)
{
	for (int i = 0; i < probe->walk.ntids; i++)
		if (BufferIsValid(probe->buffers[i]))
		{
			Page		page = BufferGetPage(probe->buffers[i]);
			ItemId		item = line_pointer(probe, i, page);

			/* it may be of another page by now, and then any number */
			if (ItemIdIsRedirected(item) && ItemIdGetRedirect(item) <= MaxHeapTuplesPerPage)
				item = PageGetItemId(page, ItemIdGetRedirect(item));
			__builtin_prefetch((char *) page + ItemIdGetOffset(item));
		}
}

/* Ask for all of a page that heap_page_prune_opt is going to prune. */
static pg_attribute_always_inline void
request_whole_page(const EdwProbe *probe, int version)
{
	Page		page;

	if (version >= probe->walk.ntids || is_on_same_page(probe, version) || !BufferIsValid(probe->buffers[version]))
		return;
	page = BufferGetPage(probe->buffers[version]);
	if (TransactionIdIsValid(((PageHeader) page)->pd_prune_xid) &&
		(PageIsFull(page) || PageGetExactFreeSpace(page) < probe->scarce_space))
		EdwPrefetch(page, BLCKSZ);
}

static Buffer
pin_page(EdwProbe *probe, int version)
{
	if (BufferIsValid(probe->buffers[version]) &&
		EdwReadRecentBuffer(probe->walk.table, block_of(probe, version), probe->buffers[version]))
		return probe->buffers[version];
	return ReadBuffer(probe->walk.table, block_of(probe, version));
}

/* Does the snapshot see a row there? Then tid becomes that of the version that it sees. */
static bool
look_at_version(EdwProbe *probe, Buffer buffer, ItemPointer tid)
{
	HeapTupleData tuple;
	bool		found;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	found = heap_hot_search_buffer(tid, probe->walk.table, buffer, probe->walk.snapshot, &tuple, NULL, true);
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	if (found)
		pgstat_count_heap_fetch(probe->walk.index);
	return found;
}

/* Note each key's row, of which there is one at most. */
static void
look_at_versions(EdwProbe *probe, int nkeys)
{
	Buffer		buffer = InvalidBuffer;

	for (int key = 0; key < nkeys; key++)
	{
		ItemPointerSetInvalid(&probe->found[key]);
		for (int i = probe->first[key]; i < probe->first[key + 1] && !ItemPointerIsValid(&probe->found[key]); i++)
		{
			request_whole_page(probe, i + 1);
			if (!BufferIsValid(buffer) || BufferGetBlockNumber(buffer) != block_of(probe, i))
			{
				if (BufferIsValid(buffer))
					ReleaseBuffer(buffer);
				buffer = pin_page(probe, i);
				heap_page_prune_opt(probe->walk.table, buffer);
			}
			if (look_at_version(probe, buffer, &probe->walk.tids[i]))
				probe->found[key] = probe->walk.tids[i];
		}
	}
	if (BufferIsValid(buffer))
		ReleaseBuffer(buffer);
}

void
EdwProbeLookUp(EdwProbe *probe, int nkeys)
{
	search_index(probe, nkeys);
	request_pages(probe);
	request_versions(probe);
	look_at_versions(probe, nkeys);
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
	return set_key(probe, at) && EdwIndexWalkMatches(&probe->walk, slot);
}
