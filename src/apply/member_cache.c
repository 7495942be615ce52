/*
 * member_cache.c
 *		Where the members that were looked up last are stored (see member_cache.h).
 *
 * Of each natural key the row that was found last. When it holds as many as it may, it is emptied. Its memory is a
 * context of its own below the target's; what is open between begin and end is the caller's.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "apply/member_cache.h"
#include "apply/timeline.h"
#include "apply/version_time.h"
#include "catalog/mapping_target.h"
#include "catalog/pg_am_d.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/acl.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

/* some 5 MB for a lookup */
#define MOST_PLACES	65536

typedef struct Place
{
	const uint8 *key;			/* canonical bytes of the natural key */
	int			key_len;
	uint32		hash;
	ItemPointerData tid;
} Place;

typedef struct PlaceSlot
{
	Place	   *place;
	uint32		hash;
	char		status;
} PlaceSlot;

#define SH_PREFIX		edw_places
#define SH_ELEMENT_TYPE	PlaceSlot
#define SH_KEY_TYPE		Place *
#define SH_KEY			place
#define SH_HASH_KEY(tb, key)	((key)->hash)
#define SH_EQUAL(tb, a, b)	((a)->key_len == (b)->key_len && memcmp((a)->key, (b)->key, (a)->key_len) == 0)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, slot)	((slot)->hash)
#define SH_SCOPE		static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct EdwMemberCache
{
	MemoryContext context;
	const EdwLookup *lookup;
	Oid			relid;
	edw_places_hash *places;	/* NULL: nothing yet */
	TupleDesc	desc;			/* the dimension as it was; the columns below are its */
	AttrNumber *match;
	AttrNumber	key;
	AttrNumber	from;			/* with versions */
	AttrNumber	to;

	/* between begin and end */
	Relation	rel;
	BlockNumber nblocks;
	TupleTableSlot *slot;
};

EdwMemberCache *
EdwMemberCacheCreate(const EdwLookup *lookup, Relation dimension)
{
	EdwMemberCache *cache;
	ListCell   *lc;

	if (dimension->rd_rel->relkind != RELKIND_RELATION || dimension->rd_rel->relam != HEAP_TABLE_AM_OID ||
		dimension->rd_rel->relhassubclass)
		return NULL;
	cache = palloc0(sizeof(EdwMemberCache));
	cache->context = AllocSetContextCreate(CurrentMemoryContext, "edw_stream members", ALLOCSET_DEFAULT_SIZES);
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

bool
EdwMemberCacheBegin(EdwMemberCache *cache)
{
	if (cache->places == NULL ||
		pg_class_aclcheck(cache->relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK ||
		check_enable_rls(cache->relid, InvalidOid, true) != RLS_NONE)
		return false;
	cache->rel = try_table_open(cache->relid, AccessShareLock);
	if (cache->rel == NULL)
		return false;
	if (cache->rel->rd_rel->relam != HEAP_TABLE_AM_OID || cache->rel->rd_rel->relhassubclass ||
		!equalTupleDescs(RelationGetDescr(cache->rel), cache->desc))
	{
		table_close(cache->rel, NoLock);
		return false;
	}
	cache->nblocks = RelationGetNumberOfBlocks(cache->rel);
	cache->slot = table_slot_create(cache->rel, NULL);
	PushActiveSnapshot(GetTransactionSnapshot());
	return true;
}

void
EdwMemberCacheEnd(EdwMemberCache *cache)
{
	PopActiveSnapshot();
	ExecDropSingleTupleTableSlot(cache->slot);
	table_close(cache->rel, NoLock);
	cache->rel = NULL;
}

/* Read the row that was there; false: none is visible. The table may be shorter than it was: truncated, or rewritten. */
static bool
fetch(EdwMemberCache *cache, ItemPointer tid)
{
	return ItemPointerGetBlockNumber(tid) < cache->nblocks &&
		table_tuple_fetch_row_version(cache->rel, tid, GetActiveSnapshot(), cache->slot);
}

/* Is the row in the slot still the member's? Its tuple id may be another row's by now. */
static bool
is_member(EdwMemberCache *cache, const EdwTarget *target, const EdwMember *member, StringInfo key)
{
	resetStringInfo(key);
	for (int i = 0; i < cache->lookup->nmatch; i++)
	{
		bool		isnull;
		Datum		value = slot_getattr(cache->slot, cache->match[i], &isnull);

		if (isnull)
			return false;
		EdwKeyAppend(key, target->columns[cache->lookup->match[i]].key_kind, value);
	}
	return key->len == member->natural_len && memcmp(key->data, member->key, key->len) == 0;
}

/* Is it the version of the member's time? Versions do not overlap, so that then no other one is. */
static bool
is_of_time(EdwMemberCache *cache, const EdwMember *member)
{
	Oid			type = cache->lookup->time_type;
	int64		at;
	Datum		value;
	bool		isnull;

	if (cache->from == InvalidAttrNumber)
		return true;
	at = EdwVersionTimeOf(type, member->as_of);
	value = slot_getattr(cache->slot, cache->from, &isnull);
	if (isnull || EdwVersionTimeOf(type, value) > at)
		return false;
	value = slot_getattr(cache->slot, cache->to, &isnull);
	return isnull || EdwVersionTimeOf(type, value) > at;
}

bool
EdwMemberCacheFind(EdwMemberCache *cache, const EdwTarget *target, EdwMember *member, EdwBatch *batch)
{
	const EdwTargetColumn *column = &target->columns[cache->lookup->column];
	Place		probe = {.key = member->key, .key_len = member->natural_len, .hash = member->natural_hash};
	PlaceSlot  *slot = edw_places_lookup_hash(cache->places, &probe, probe.hash);
	MemoryContext old;
	Datum		value;

	if (slot == NULL || !fetch(cache, &slot->place->tid) ||
		!is_member(cache, target, member, &batch->key) || !is_of_time(cache, member))
		return false;
	value = slot_getattr(cache->slot, cache->key, &member->isnull);
	old = MemoryContextSwitchTo(batch->context);
	member->surrogate = member->isnull ? (Datum) 0 : datumCopy(value, column->typbyval, column->typlen);
	MemoryContextSwitchTo(old);
	member->found = true;
	return true;
}

void
EdwMemberCacheNote(EdwMemberCache *cache, const EdwMember *member, ItemPointer tid)
{
	Place		probe = {.key = member->key, .key_len = member->natural_len, .hash = member->natural_hash};
	PlaceSlot  *slot;
	Place	   *place;
	bool		found;

	if (cache->places != NULL && cache->places->members >= MOST_PLACES)
	{
		MemoryContextReset(cache->context);
		cache->places = NULL;
	}
	if (cache->places == NULL)
		cache->places = edw_places_create(cache->context, 256, NULL);
	slot = edw_places_insert_hash(cache->places, &probe, probe.hash, &found);
	if (!found)
	{
		place = slot->place = MemoryContextAlloc(cache->context, sizeof(Place) + probe.key_len);
		*place = probe;
		place->key = memcpy(place + 1, probe.key, probe.key_len);
	}
	ItemPointerCopy(tid, &slot->place->tid);
}
