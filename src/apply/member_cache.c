/*
 * member_cache.c
 *		Where the members that were looked up last are stored (see member_cache.h).
 *
 * A table of buckets, each a line of the processor's cache, that grows up to 4 MB a lookup (some 300,000 members); then
 * what is noted takes the place of what was noted before in its bucket. A member of which several versions are asked for
 * has as many places. Rows are read page by page. The buckets' memory is that of the target; what is open within a call
 * is the caller's.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "apply/member_cache.h"
#include "apply/timeline.h"
#include "apply/version_time.h"
#include "catalog/mapping_target.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_class.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/predicate.h"
#include "utils/acl.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

/* places in a bucket, which is then 64 bytes */
#define PLACES			6

#define LEAST_BUCKETS	64
#define MOST_BUCKETS	65536

/* how full buckets get, on average, before there are more of them */
#define FULL_BUCKET		3

/* how far ahead of the member at hand memory is asked for */
#define PREFETCH_MEMBERS	8

typedef struct Bucket
{
	uint32		hash[PLACES];
	ItemPointerData tid[PLACES];	/* invalid: there is none, nor behind it */
	uint8		next;			/* the place that goes next, when all are taken */
} Bucket;

StaticAssertDecl(sizeof(Bucket) == 64, "a bucket is a line of the processor's cache");

struct EdwMemberCache
{
	MemoryContext context;
	const EdwLookup *lookup;
	Oid			relid;
	Bucket	   *buckets;		/* NULL: nothing yet */
	uint32		nbuckets;		/* a power of 2 */
	uint32		nplaces;
	TupleDesc	desc;			/* the dimension as it was; the columns below are its */
	AttrNumber *match;
	AttrNumber	key;
	AttrNumber	from;			/* with versions */
	AttrNumber	to;
};

/* a place where a member may be, as a number that orders by page */
typedef struct Candidate
{
	uint64		tid;
	EdwMember  *member;
} Candidate;

/* a page's rows that candidates are at; as long as it is pinned */
typedef struct PageRows
{
	Buffer		buffer;
	int			first;			/* its candidates */
	int			end;
	int			n;
	HeapTupleData rows[MaxHeapTuplesPerPage];	/* those that are visible, in the order of the candidates */
} PageRows;

#define ST_SORT			sort_candidates
#define ST_ELEMENT_TYPE	Candidate
#define ST_COMPARE(a, b)	((a)->tid < (b)->tid ? -1 : (a)->tid > (b)->tid)
#define ST_SCOPE		static
#define ST_DEFINE
#include "lib/sort_template.h"

EdwMemberCache *
EdwMemberCacheCreate(const EdwLookup *lookup, Relation dimension)
{
	EdwMemberCache *cache;
	ListCell   *lc;

	if (dimension->rd_rel->relkind != RELKIND_RELATION || dimension->rd_rel->relam != HEAP_TABLE_AM_OID ||
		dimension->rd_rel->relhassubclass)
		return NULL;
	cache = palloc0(sizeof(EdwMemberCache));
	cache->context = CurrentMemoryContext;
	cache->lookup = lookup;
	cache->relid = RelationGetRelid(dimension);
	cache->desc = CreateTupleDescCopyConstr(RelationGetDescr(dimension));
	cache->key = EdwRequireColumn(dimension, lookup->def->key);
	cache->match = palloc(lookup->nmatch * sizeof(AttrNumber));
	foreach(lc, lookup->def->match)
		cache->match[foreach_current_index(lc)] =
			EdwRequireColumn(dimension, ((EdwColumnExpression *) lfirst(lc))->column);
	if (lookup->as_of >= 0)
	{
		cache->from = EdwRequireColumn(dimension, lookup->dimension->scd2->valid_from);
		cache->to = EdwRequireColumn(dimension, lookup->dimension->scd2->valid_to);
	}
	return cache;
}

/*
 * Places
 */

/* Of a member without versions the new place is instead of the old one. */
static void
note_place(EdwMemberCache *cache, uint32 hash, ItemPointer tid)
{
	Bucket	   *bucket = &cache->buckets[hash & (cache->nbuckets - 1)];
	int			i = 0;

	while (i < PLACES && ItemPointerIsValid(&bucket->tid[i]) &&
		   (bucket->hash[i] != hash || (cache->from != InvalidAttrNumber && !ItemPointerEquals(&bucket->tid[i], tid))))
		i++;
	if (i < PLACES && ItemPointerIsValid(&bucket->tid[i]))
	{
		ItemPointerCopy(tid, &bucket->tid[i]);
		return;
	}
	if (i == PLACES)
	{
		i = bucket->next;
		bucket->next = (bucket->next + 1) % PLACES;
	}
	else
		cache->nplaces++;
	bucket->hash[i] = hash;
	ItemPointerCopy(tid, &bucket->tid[i]);
}

/* Make the first buckets, or twice as many. */
static void
grow(EdwMemberCache *cache)
{
	Bucket	   *old = cache->buckets;
	uint32		nold = cache->nbuckets;

	cache->nbuckets = old == NULL ? LEAST_BUCKETS : 2 * nold;
	cache->nplaces = 0;
	cache->buckets = MemoryContextAllocZero(cache->context, cache->nbuckets * sizeof(Bucket));
	for (uint32 b = 0; old != NULL && b < nold; b++)
		for (int i = 0; i < PLACES && ItemPointerIsValid(&old[b].tid[i]); i++)
			note_place(cache, old[b].hash[i], &old[b].tid[i]);
	if (old != NULL)
		pfree(old);
}

void
EdwMemberCacheNote(EdwMemberCache *cache, const EdwMember *member, ItemPointer tid)
{
	if (cache->buckets == NULL ||
		(cache->nplaces >= FULL_BUCKET * cache->nbuckets && cache->nbuckets < MOST_BUCKETS))
		grow(cache);
	note_place(cache, member->natural_hash, tid);
}

/* All places where the members may be, page by page; returns how many. */
static int
find_places(const EdwMemberCache *cache, const EdwMembers *members, Candidate **candidates)
{
	int			size = 2 * members->nmembers + PLACES;
	int			n = 0;

	*candidates = palloc(size * sizeof(Candidate));
	for (int m = 0; m < members->nmembers; m++)
	{
		EdwMember  *member = members->members[m];
		const Bucket *bucket = &cache->buckets[member->natural_hash & (cache->nbuckets - 1)];

		if (m + PREFETCH_MEMBERS < members->nmembers)
			__builtin_prefetch(&cache->buckets[members->members[m + PREFETCH_MEMBERS]->natural_hash & (cache->nbuckets - 1)]);
		for (int i = 0; !member->found && i < PLACES && ItemPointerIsValid(&bucket->tid[i]); i++)
			if (bucket->hash[i] == member->natural_hash)
				(*candidates)[n++] = (Candidate) {
					.tid = (uint64) ItemPointerGetBlockNumber(&bucket->tid[i]) << 16 | ItemPointerGetOffsetNumber(&bucket->tid[i]),
					.member = member
				};
		if (n > size - PLACES)
		{
			size *= 2;
			*candidates = repalloc(*candidates, size * sizeof(Candidate));
		}
	}
	sort_candidates(*candidates, n);
	return n;
}

/*
 * Rows
 */

/*
 * Pin the next page that candidates are on, and ask for its item pointers; false: there is none. The table may be
 * shorter than it was: truncated, or rewritten.
 */
static bool
read_page(Relation rel, BlockNumber nblocks, const Candidate *candidates, int n, int first, PageRows *page)
{
	uint64		block;

	if (first >= n || candidates[first].tid >> 16 >= nblocks)
		return false;
	block = candidates[first].tid >> 16;
	page->buffer = ReadBuffer(rel, (BlockNumber) block);
	page->first = first;
	for (page->end = first; page->end < n && candidates[page->end].tid >> 16 == block; page->end++)
		__builtin_prefetch(PageGetItemId(BufferGetPage(page->buffer), candidates[page->end].tid & 0xFFFF));
	return true;
}

/* What is at a candidate's place; false: nothing that could be a row. */
static bool
locate(const PageRows *page, const Candidate *candidate, HeapTuple tuple)
{
	Page		bytes = BufferGetPage(page->buffer);
	OffsetNumber offset = (OffsetNumber) (candidate->tid & 0xFFFF);
	ItemId		item = PageGetItemId(bytes, offset);

	if (offset > PageGetMaxOffsetNumber(bytes) || !ItemIdIsNormal(item))
		return false;
	tuple->t_data = (HeapTupleHeader) PageGetItem(bytes, item);
	tuple->t_len = ItemIdGetLength(item);
	ItemPointerSet(&tuple->t_self, (BlockNumber) (candidate->tid >> 16), offset);
	return true;
}

/* Which rows there are visible? As heap_fetch() does. */
static void
find_visible(Relation rel, Snapshot snapshot, const Candidate *candidates, PageRows *page)
{
	HeapTupleData tuple = {.t_tableOid = RelationGetRelid(rel)};

	page->n = 0;
	LockBuffer(page->buffer, BUFFER_LOCK_SHARE);
	for (int c = page->first; c < page->end; c++)
		if (locate(page, &candidates[c], &tuple))
			__builtin_prefetch(tuple.t_data);
	for (int c = page->first; c < page->end; c++)
	{
		bool		visible;

		if ((c > page->first && candidates[c].tid == candidates[c - 1].tid) || !locate(page, &candidates[c], &tuple))
			continue;
		visible = HeapTupleSatisfiesVisibility(&tuple, snapshot, page->buffer);
		if (visible)
		{
			PredicateLockTID(rel, &tuple.t_self, snapshot, HeapTupleHeaderGetXmin(tuple.t_data));
			page->rows[page->n++] = tuple;
		}
		HeapCheckForSerializableConflictOut(visible, rel, &tuple, page->buffer, snapshot);
	}
	LockBuffer(page->buffer, BUFFER_LOCK_UNLOCK);
}

/* Is the row in the slot the member's? Its tuple id may be another row's by now, and another key may have its hash. */
static bool
is_member(EdwMemberCache *cache, TupleTableSlot *slot, const EdwTarget *target, const EdwMember *member, StringInfo key)
{
	resetStringInfo(key);
	for (int i = 0; i < cache->lookup->nmatch; i++)
	{
		bool		isnull;
		Datum		value = slot_getattr(slot, cache->match[i], &isnull);

		if (isnull)
			return false;
		EdwKeyAppend(key, target->columns[cache->lookup->match[i]].key_kind, value);
	}
	return key->len == member->natural_len && memcmp(key->data, member->key, key->len) == 0;
}

/* Is it the version of the member's time? Versions do not overlap, so that then no other one is. */
static bool
is_of_time(EdwMemberCache *cache, TupleTableSlot *slot, const EdwMember *member)
{
	Oid			type = cache->lookup->time_type;
	int64		at;
	Datum		value;
	bool		isnull;

	if (cache->from == InvalidAttrNumber)
		return true;
	at = EdwVersionTimeOf(type, member->as_of);
	value = slot_getattr(slot, cache->from, &isnull);
	if (isnull || EdwVersionTimeOf(type, value) > at)
		return false;
	value = slot_getattr(slot, cache->to, &isnull);
	return isnull || EdwVersionTimeOf(type, value) > at;
}

/* The slot's row, if it is the member's. */
static void
take_row(EdwMemberCache *cache, TupleTableSlot *slot, EdwMembers *members, EdwMember *member)
{
	const EdwTargetColumn *column = &members->target->columns[cache->lookup->column];
	MemoryContext old;
	Datum		value;

	if (member->found || !is_member(cache, slot, members->target, member, &members->batch->key) ||
		!is_of_time(cache, slot, member))
		return;
	value = slot_getattr(slot, cache->key, &member->isnull);
	old = MemoryContextSwitchTo(members->batch->context);
	member->surrogate = member->isnull ? (Datum) 0 : datumCopy(value, column->typbyval, column->typlen);
	MemoryContextSwitchTo(old);
	member->found = true;
}

static void
take_rows(EdwMemberCache *cache, TupleTableSlot *slot, EdwMembers *members, const Candidate *candidates, PageRows *page)
{
	int			c = page->first;

	for (int i = 0; i < page->n; i++)
	{
		OffsetNumber offset = ItemPointerGetOffsetNumber(&page->rows[i].t_self);

		ExecStoreHeapTuple(&page->rows[i], slot, false);
		for (; c < page->end && (candidates[c].tid & 0xFFFF) <= offset; c++)
			if ((candidates[c].tid & 0xFFFF) == offset)
				take_row(cache, slot, members, candidates[c].member);
	}
	ExecClearTuple(slot);
}

/* Page by page, the next one asked for while one is read. */
static void
look(EdwMemberCache *cache, Relation rel, EdwMembers *members)
{
	BlockNumber nblocks = RelationGetNumberOfBlocks(rel);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsHeapTuple);
	Candidate  *candidates;
	int			n = find_places(cache, members, &candidates);
	PageRows   *page = palloc(sizeof(PageRows));
	PageRows   *next = palloc(sizeof(PageRows));
	bool		more = read_page(rel, nblocks, candidates, n, 0, next);

	while (more)
	{
		PageRows   *swap = page;

		page = next;
		next = swap;
		more = read_page(rel, nblocks, candidates, n, page->end, next);
		find_visible(rel, GetActiveSnapshot(), candidates, page);
		take_rows(cache, slot, members, candidates, page);
		ReleaseBuffer(page->buffer);
	}
	ExecDropSingleTupleTableSlot(slot);
	pfree(page);
	pfree(next);
	pfree(candidates);
}

void
EdwMemberCacheFind(EdwMemberCache *cache, EdwMembers *members)
{
	Relation	rel;

	if (cache->buckets == NULL ||
		pg_class_aclcheck(cache->relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK ||
		check_enable_rls(cache->relid, InvalidOid, true) != RLS_NONE)
		return;
	rel = try_table_open(cache->relid, AccessShareLock);
	if (rel == NULL)
		return;
	if (rel->rd_rel->relam == HEAP_TABLE_AM_OID && !rel->rd_rel->relhassubclass &&
		equalTupleDescs(RelationGetDescr(rel), cache->desc))
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		look(cache, rel, members);
		PopActiveSnapshot();
	}
	table_close(rel, NoLock);
}
