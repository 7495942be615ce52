/*
 * members.c
 *		The members of a dimension that a batch refers to: each is asked for once (see lookup.h).
 *
 * Where a member was found last is looked at first (member_cache.c). The others of a lookup are asked for by one query,
 * sorted by key, so that neighbours share an index page. Members that are made are inserted in the order of their keys.
 * Of a dimension with versions the caller keeps other writers out; of one without, its unique index settles who makes a
 * member.
 *
 * All memory is the batch's.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "apply/member_cache.h"
#include "apply/store.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "utils/datum.h"
#include "utils/memutils.h"

/* told to the planner, which then probes the dimension's index for each (see rows.c) */
#define PLANNED_ROWS	10

typedef struct MemberSlot
{
	EdwMember  *member;
	uint32		hash;
	char		status;
} MemberSlot;

#define SH_PREFIX		edw_members
#define SH_ELEMENT_TYPE	MemberSlot
#define SH_KEY_TYPE		EdwMember *
#define SH_KEY			member
#define SH_HASH_KEY(tb, key)	((key)->hash)
#define SH_EQUAL(tb, a, b)	((a)->key_len == (b)->key_len && memcmp((a)->key, (b)->key, (a)->key_len) == 0)
#define SH_STORE_HASH
#define SH_GET_HASH(tb, slot)	((slot)->hash)
#define SH_SCOPE		static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

EdwMembers *
EdwMembersCreate(EdwBatch *batch, const EdwTarget *target, const EdwLookup *lookup, int guess)
{
	EdwMembers *members = EdwBatchAlloc(batch, sizeof(EdwMembers));

	members->batch = batch;
	members->target = target;
	members->lookup = lookup;
	members->hash = edw_members_create(batch->context, Max(guess, 16), NULL);
	members->nmembers = 0;
	members->sorted = false;
	members->size = Max(guess, 16);
	members->members = EdwBatchAlloc(batch, members->size * sizeof(EdwMember *));
	return members;
}

/* Append a column's bytes to the batch's scratch key; false: it is null. */
static bool
append_key(EdwMembers *members, const EdwFoldChange *c, int column, EdwKeyKind kind)
{
	if (c->nulls[column])
		return false;
	EdwKeyAppend(&members->batch->key, kind, c->values[column]);
	return true;
}

static EdwMember *
add_member(EdwMembers *members, const EdwFoldChange *c, const EdwMember *probe)
{
	EdwBatch   *batch = members->batch;
	const EdwLookup *lookup = members->lookup;
	EdwMember  *member = EdwBatchAlloc(batch, sizeof(EdwMember));

	*member = *probe;
	member->key = memcpy(EdwBatchAlloc(batch, probe->key_len), probe->key, probe->key_len);
	member->match = EdwBatchAlloc(batch, lookup->nmatch * sizeof(Datum));
	for (int i = 0; i < lookup->nmatch; i++)
		member->match[i] = c->values[lookup->match[i]];
	if (lookup->as_of >= 0)
		member->as_of = c->values[lookup->as_of];
	if (members->nmembers == members->size)
	{
		EdwMember **more = EdwBatchAlloc(batch, 2 * members->size * sizeof(EdwMember *));

		members->members = memcpy(more, members->members, members->size * sizeof(EdwMember *));
		members->size *= 2;
	}
	members->members[members->nmembers++] = member;
	return member;
}

EdwMember *
EdwMembersFind(EdwMembers *members, const EdwFoldChange *c)
{
	const EdwLookup *lookup = members->lookup;
	const EdwTargetColumn *columns = members->target->columns;
	StringInfo	key = &members->batch->key;
	EdwMember	probe = {0};
	MemberSlot *slot;
	bool		found;

	resetStringInfo(key);
	for (int i = 0; i < lookup->nmatch; i++)
		if (!append_key(members, c, lookup->match[i], columns[lookup->match[i]].key_kind))
			return NULL;
	probe.natural_len = key->len;
	probe.natural_hash = hash_bytes((const uint8 *) key->data, key->len);
	if (lookup->as_of >= 0 && !append_key(members, c, lookup->as_of, columns[lookup->as_of].key_kind))
		return NULL;
	probe.key = (const uint8 *) key->data;
	probe.key_len = key->len;
	probe.hash = probe.natural_hash;
	if (probe.key_len > probe.natural_len)
		probe.hash = hash_combine(probe.hash, hash_bytes(probe.key + probe.natural_len,
														 probe.key_len - probe.natural_len));
	slot = edw_members_insert_hash(members->hash, &probe, probe.hash, &found);
	if (!found)
		slot->member = add_member(members, c, &probe);
	return slot->member;
}

/*
 * Asking
 */

/* Begin the relation with the members' columns. */
static void
begin_relation(EdwMembers *members, EdwStore *store)
{
	const EdwLookup *lookup = members->lookup;
	TupleDesc	desc = CreateTemplateTupleDesc(lookup->nmatch + 1 + (lookup->as_of >= 0));

	TupleDescInitEntry(desc, 1, "_edw_row", INT4OID, -1, 0);
	for (int i = 0; i < lookup->nmatch; i++)
	{
		const EdwTargetColumn *column = &members->target->columns[lookup->match[i]];
		char		name[NAMEDATALEN];

		snprintf(name, sizeof(name), "m%d", i);
		TupleDescInitEntry(desc, i + 2, name, column->type, column->typmod, 0);
		TupleDescInitEntryCollation(desc, i + 2, column->collation);
	}
	if (lookup->as_of >= 0)
		TupleDescInitEntry(desc, lookup->nmatch + 2, "_edw_as_of", lookup->time_type, -1, 0);
	EdwStoreBegin(store, EDW_MEMBERS_RELATION, desc, PLANNED_ROWS);
}

static void
put_member(EdwMembers *members, EdwStore *store, int number)
{
	const EdwMember *member = members->members[number];
	int			nmatch = members->lookup->nmatch;
	Datum		values[INDEX_MAX_KEYS + 2];
	bool		nulls[INDEX_MAX_KEYS + 2] = {false};

	values[0] = Int32GetDatum(number);
	memcpy(values + 1, member->match, nmatch * sizeof(Datum));
	values[nmatch + 1] = member->as_of;
	EdwStorePut(store, values, nulls);
}

static void
note_found(EdwMembers *members)
{
	const EdwTargetColumn *column = &members->target->columns[members->lookup->column];
	MemoryContext old = MemoryContextSwitchTo(members->batch->context);

	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Datum		values[3];
		bool		nulls[3];
		EdwMember  *member;

		heap_deform_tuple(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, values, nulls);
		member = members->members[DatumGetInt32(values[0])];
		member->found = true;
		member->isnull = nulls[1];
		if (!nulls[1])
			member->surrogate = datumCopy(values[1], column->typbyval, column->typlen);
		if (members->lookup->cache)
			EdwMemberCacheNote(members->lookup->cache, member, (ItemPointer) DatumGetPointer(values[2]));
	}
	MemoryContextSwitchTo(old);
	SPI_freetuptable(SPI_tuptable);
}

/* Ask for what was not found yet. */
static void
ask(EdwMembers *members, bool first)
{
	EdwStore	store;

	begin_relation(members, &store);
	for (int i = 0; i < members->nmembers; i++)
		if (!members->members[i]->found)
			put_member(members, &store, i);
	if (store.count > 0)
	{
		SPI_execute(EdwLookupSql(members->target, members->lookup, first), false, 0);
		note_found(members);
	}
	EdwStoreEnd(&store);
}

static int
compare_members(const void *a, const void *b)
{
	const EdwMember *left = *(EdwMember *const *) a;
	const EdwMember *right = *(EdwMember *const *) b;
	int			cmp = memcmp(left->key, right->key, Min(left->key_len, right->key_len));

	return cmp != 0 ? cmp : left->key_len - right->key_len;
}

/* Look where they were last; false: not all of them are there. */
static bool
find_cached(EdwMembers *members)
{
	EdwMemberCache *cache = members->lookup->cache;
	bool		all = true;

	if (cache == NULL || !EdwMemberCacheBegin(cache))
		return false;
	for (int i = 0; i < members->nmembers; i++)
		if (!members->members[i]->found &&
			!EdwMemberCacheFind(cache, members->target, members->members[i], members->batch))
			all = false;
	EdwMemberCacheEnd(cache);
	return all;
}

static void
sort_members(EdwMembers *members)
{
	if (!members->sorted)
		qsort(members->members, members->nmembers, sizeof(EdwMember *), compare_members);
	members->sorted = true;
}

void
EdwMembersLookUp(EdwMembers *members)
{
	if (find_cached(members))
		return;
	sort_members(members);
	SPI_connect();
	ask(members, false);
	if (members->lookup->as_of >= 0)
		ask(members, true);
	SPI_finish();
}

/*
 * Inferring
 */

static bool
same_natural_key(const EdwMember *a, const EdwMember *b)
{
	return a->natural_len == b->natural_len && memcmp(a->key, b->key, a->natural_len) == 0;
}

/* Each natural key once, with its earliest time: members are sorted. */
static void
insert_missing(EdwMembers *members)
{
	const EdwMember *last = NULL;
	EdwStore	store;

	begin_relation(members, &store);
	for (int i = 0; i < members->nmembers; i++)
	{
		const EdwMember *member = members->members[i];

		if (member->found || !member->wanted || (last != NULL && same_natural_key(last, member)))
			continue;
		put_member(members, &store, i);
		last = member;
	}
	SPI_execute(EdwInferSql(members->lookup), false, 0);
	EdwStoreEnd(&store);
}

void
EdwMembersInfer(EdwMembers *members)
{
	sort_members(members);
	SPI_connect();
	insert_missing(members);
	SPI_finish();
	EdwMembersLookUp(members);
	for (int i = 0; i < members->nmembers; i++)
		if (!members->members[i]->found && members->members[i]->wanted)
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("members of dimension %s vanished while a batch was applied",
							members->lookup->relation),
					 errdetail("Another transaction has deleted them, or a trigger or policy hides what was inserted.")));
}
