/*
 * index_walk.c
 *		A btree index, walked from key to key (see index_walk.h).
 *
 * Reads pages by the rules of access/nbtree/README: a page is found by its downlink, which may be old, so what is not there any more is
 * to the right of it. Entries of one key are in the order of their tuple ids, possibly on several pages. Those that turn out to be dead are not
 * marked, which the next insertion of their key does anyhow. There are no predicate locks, since batches are applied at READ COMMITTED.
 *
 * Locks: a share lock on the leaf page at hand, and on a page above the leaves, until EdwIndexWalkRest. Key comparisons run
 * under it, as in the index's own scans. All memory is of the context of EdwIndexWalkBegin.
 */
#include "postgres.h"

#include "apply/index_walk.h"
#include "edw_stream.h"
#include "executor/tuptable.h"
#include "pgstat.h"
#include "storage/bufmgr.h"

#define LEAF_LEVEL		0
#define PARENT_LEVEL	1

void
EdwIndexWalkBegin(EdwIndexWalk *walk, Relation table, Relation index, Snapshot snapshot)
{
	memset(walk, 0, sizeof(EdwIndexWalk));
	walk->table = table;
	walk->index = index;
	walk->snapshot = snapshot;
	walk->key = _bt_mkscankey(index, NULL);
	_bt_metaversion(index, &walk->key->heapkeyspace, &walk->key->allequalimage);
	walk->key->keysz = IndexRelationGetNumberOfKeyAttributes(index);
	for (int i = 0; i < walk->key->keysz; i++)
		walk->key->scankeys[i].sk_flags &= ~SK_ISNULL;
	walk->max_tids = 64;
	walk->tids = palloc(walk->max_tids * sizeof(ItemPointerData));
}

int
EdwIndexWalkColumns(const EdwIndexWalk *walk)
{
	return walk->key->keysz;
}

bool
EdwIndexWalkSetKey(EdwIndexWalk *walk, const Datum *values, const bool *nulls)
{
	for (int i = 0; i < walk->key->keysz; i++)
	{
		if (nulls[i])
			return false;
		walk->key->scankeys[i].sk_argument = values[i];
	}
	return true;
}

static void
leave(EdwIndexWalk *walk, Buffer *at)
{
	if (BufferIsValid(*at))
		_bt_relbuf(walk->index, *at);
	*at = InvalidBuffer;
}

void
EdwIndexWalkRest(EdwIndexWalk *walk)
{
	leave(walk, &walk->leaf);
	leave(walk, &walk->parent);
}

/*
 * From page to page
 */

/* The first entry of the page that is not less than the key; one beyond the last one if all are. */
static OffsetNumber
first_not_less(const EdwIndexWalk *walk, Page page)
{
	OffsetNumber low = P_FIRSTDATAKEY(BTPageGetOpaque(page));
	OffsetNumber high = PageGetMaxOffsetNumber(page) + 1;

	while (low < high)
	{
		OffsetNumber middle = low + (high - low) / 2;

		if (_bt_compare(walk->index, walk->key, page, middle) > 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void
step_right(const EdwIndexWalk *walk, Buffer *at)
{
	BTPageOpaque opaque = BTPageGetOpaque(BufferGetPage(*at));

	if (P_RIGHTMOST(opaque))
		elog(ERROR, "index \"%s\" has no page where one is to be", RelationGetRelationName(walk->index));
	*at = _bt_relandgetbuf(walk->index, *at, opaque->btpo_next, BT_READ);
}

/* Is the key greater than all that may be on the page? */
static bool
is_beyond(const EdwIndexWalk *walk, Page page)
{
	return !P_RIGHTMOST(BTPageGetOpaque(page)) && _bt_compare(walk->index, walk->key, page, P_HIKEY) > 0;
}

static void
move_right(const EdwIndexWalk *walk, Buffer *at)
{
	while (P_IGNORE(BTPageGetOpaque(BufferGetPage(*at))) || is_beyond(walk, BufferGetPage(*at)))
		step_right(walk, at);
}

/* The page below where the key's first entry is, if there is one; offset is that of first_not_less. */
static BlockNumber
downlink_before(Page page, OffsetNumber offset)
{
	return BTreeTupleGetDownLink((IndexTuple) PageGetItem(page, PageGetItemId(page, OffsetNumberPrev(offset))));
}

/* From the root to the key's page of this level, or to the root if that is lower. False: the index is empty. */
static bool
descend(EdwIndexWalk *walk, uint32 level, Buffer *at)
{
	leave(walk, at);
	*at = EdwBtGetRoot(walk->index, walk->table);
	if (!BufferIsValid(*at))
		return false;
	for (;;)
	{
		Page		page;

		move_right(walk, at);
		page = BufferGetPage(*at);
		if (BTPageGetOpaque(page)->btpo_level <= level)
			return true;
		*at = _bt_relandgetbuf(walk->index, *at, downlink_before(page, first_not_less(walk, page)), BT_READ);
	}
}

/*
 * Is the key's first entry, or the place where it would be, on the page at hand, and where? Not if it would be the page's
 * first, whose key may begin on the page before; of a page above the leaves, the first downlink stands for that.
 */
static bool
is_here(const EdwIndexWalk *walk, uint32 level, Buffer at, OffsetNumber *offset)
{
	Page		page = BufferGetPage(at);

	if (is_beyond(walk, page))
		return false;
	*offset = first_not_less(walk, page);
	return *offset > P_FIRSTDATAKEY(BTPageGetOpaque(page)) + (level == LEAF_LEVEL ? 0 : 1);
}

BlockNumber
EdwIndexWalkFindLeaf(EdwIndexWalk *walk)
{
	OffsetNumber offset;
	Page		page;

	if (!BufferIsValid(walk->parent) || !is_here(walk, PARENT_LEVEL, walk->parent, &offset))
	{
		if (!descend(walk, PARENT_LEVEL, &walk->parent))
			return InvalidBlockNumber;
		offset = first_not_less(walk, BufferGetPage(walk->parent));
	}
	page = BufferGetPage(walk->parent);
	return P_ISLEAF(BTPageGetOpaque(page)) ? InvalidBlockNumber : downlink_before(page, offset);
}

/* False: the index is empty. */
static bool
go_to_leaf(EdwIndexWalk *walk, BlockNumber hint)
{
	walk->nleaves++;
	if (!BlockNumberIsValid(hint))
		return descend(walk, LEAF_LEVEL, &walk->leaf);
	leave(walk, &walk->leaf);
	walk->leaf = _bt_getbuf(walk->index, hint, BT_READ);
	move_right(walk, &walk->leaf);
	return true;
}

/*
 * Entries
 */

static void
add_tid(EdwIndexWalk *walk, ItemPointer tid)
{
	if (walk->ntids == walk->max_tids)
	{
		walk->max_tids *= 2;
		walk->tids = repalloc_huge(walk->tids, walk->max_tids * sizeof(ItemPointerData));
	}
	walk->tids[walk->ntids++] = *tid;
}

static void
add_entry(EdwIndexWalk *walk, Page page, OffsetNumber offset)
{
	ItemId		item = PageGetItemId(page, offset);
	IndexTuple	entry = (IndexTuple) PageGetItem(page, item);

	if (ItemIdIsDead(item))
		return;
	if (!BTreeTupleIsPosting(entry))
		add_tid(walk, &entry->t_tid);
	else
		for (int i = 0; i < BTreeTupleGetNPosting(entry); i++)
			add_tid(walk, BTreeTupleGetPostingN(entry, i));
}

/* Add the key's entries from here on; do they, or may they, go on to the right of the page? */
static bool
add_entries(EdwIndexWalk *walk, OffsetNumber offset)
{
	Page		page = BufferGetPage(walk->leaf);
	OffsetNumber end = PageGetMaxOffsetNumber(page);

	EdwTestForOldSnapshot(walk->snapshot, walk->index, page);
	while (offset <= end && _bt_compare(walk->index, walk->key, page, offset) == 0)
		add_entry(walk, page, offset++);
	return offset > end && !P_RIGHTMOST(BTPageGetOpaque(page)) &&
		_bt_compare(walk->index, walk->key, page, P_HIKEY) >= 0;
}

void
EdwIndexWalkSearch(EdwIndexWalk *walk, BlockNumber leaf)
{
	OffsetNumber offset;
	int			before = walk->ntids;

	pgstat_count_index_scan(walk->index);
	if (!BufferIsValid(walk->leaf) || !is_here(walk, LEAF_LEVEL, walk->leaf, &offset))
	{
		if (!go_to_leaf(walk, leaf))
			return;
		offset = first_not_less(walk, BufferGetPage(walk->leaf));
	}
	while (add_entries(walk, offset))
	{
		do
			step_right(walk, &walk->leaf);
		while (P_IGNORE(BTPageGetOpaque(BufferGetPage(walk->leaf))));
		offset = P_FIRSTDATAKEY(BTPageGetOpaque(BufferGetPage(walk->leaf)));
	}
	pgstat_count_index_tuples(walk->index, walk->ntids - before);
}

bool
EdwIndexWalkMatches(const EdwIndexWalk *walk, TupleTableSlot *slot)
{
	for (int i = 0; i < walk->key->keysz; i++)
	{
		ScanKey		key = &walk->key->scankeys[i];
		bool		isnull;
		Datum		value = slot_getattr(slot, walk->index->rd_index->indkey.values[i], &isnull);

		if (isnull || DatumGetInt32(FunctionCall2Coll(&key->sk_func, key->sk_collation, value, key->sk_argument)) != 0)
			return false;
	}
	return true;
}
