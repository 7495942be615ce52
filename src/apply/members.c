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
#include "apply/feed.h"
#include "apply/member_cache.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "utils/datum.h"
#include "utils/memutils.h"

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
	members->nmembers = members->nmissing = 0;
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
	EdwMember  *member = EdwBatchAlloc(batch, sizeof(EdwMember) + lookup->nmatch * sizeof(Datum) + probe->key_len);

	/* what it is compared by next to it */
	*member = *probe;
	member->match = (Datum *) (member + 1);
	member->key = memcpy(member->match + lookup->nmatch, probe->key, probe->key_len);
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

/* members as a relation */
typedef struct Asked
{
	EdwFeed		feed;
	const EdwMembers *members;
	int		   *numbers;		/* of the members */
} Asked;

typedef struct AskedScan
{
	const Asked *asked;
	const AttrNumber *columns;
	int			ncolumns;
} AskedScan;

static TupleDesc
asked_type(const EdwMembers *members)
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
	return desc;
}

static void *
begin_scan(const EdwFeed *feed, const AttrNumber *columns, int ncolumns)
{
	AskedScan  *scan = palloc(sizeof(AskedScan));

	*scan = (AskedScan) {(const Asked *) feed, columns, ncolumns};
	return scan;
}

static void
show_member(void *arg, int row, Datum *values, bool *nulls)
{
	const AskedScan *scan = arg;
	const EdwMembers *members = scan->asked->members;
	int			number = scan->asked->numbers[row];
	const EdwMember *member = members->members[number];

	for (int i = 0; i < scan->ncolumns; i++)
	{
		AttrNumber	column = scan->columns[i];

		nulls[i] = false;
		if (column == 1)
			values[i] = Int32GetDatum(number);
		else if (column > 1)
			values[i] = column - 2 < members->lookup->nmatch ? member->match[column - 2] : member->as_of;
	}
}

static void
begin_asking(EdwMembers *members, Asked *asked)
{
	EdwFeedBegin(&asked->feed, EDW_MEMBERS_RELATION, asked_type(members), 0);
	asked->feed.begin = begin_scan;
	asked->feed.show = show_member;
	asked->members = members;
	asked->numbers = EdwBatchAlloc(members->batch, Max(members->nmembers, 1) * sizeof(int));
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
	Asked		asked;

	begin_asking(members, &asked);
	for (int i = 0; i < members->nmembers; i++)
		if (!members->members[i]->found)
			asked.numbers[asked.feed.nrows++] = i;
	if (asked.feed.nrows == 0)
		return;
	EdwFeedExecute(&asked.feed, EdwLookupSql(members->target, members->lookup, first), 0, NULL, NULL);
	note_found(members);
}

static int
compare_members(const void *a, const void *b)
{
	const EdwMember *left = *(EdwMember *const *) a;
	const EdwMember *right = *(EdwMember *const *) b;
	int			cmp = memcmp(left->key, right->key, Min(left->key_len, right->key_len));

	return cmp != 0 ? cmp : left->key_len - right->key_len;
}

/* Those that were not found come first, sorted. */
static void
sort_missing(EdwMembers *members)
{
	int			n = 0;

	if (members->sorted)
		return;
	for (int i = 0; i < members->nmembers; i++)
	{
		EdwMember  *member = members->members[i];

		if (member->found)
			continue;
		members->members[i] = members->members[n];
		members->members[n++] = member;
	}
	qsort(members->members, n, sizeof(EdwMember *), compare_members);
	members->sorted = true;
}

static int
count_missing(const EdwMembers *members)
{
	int			n = 0;

	for (int i = 0; i < members->nmembers; i++)
		n += !members->members[i]->found;
	return n;
}

void
EdwMembersLookUp(EdwMembers *members)
{
	if (members->lookup->cache)
		EdwMemberCacheFind(members->lookup->cache, members);
	members->nmissing = count_missing(members);
	if (members->nmissing == 0)
		return;
	sort_missing(members);
	SPI_connect();
	ask(members, false);
	if (members->lookup->as_of >= 0)
		ask(members, true);
	SPI_finish();
	members->nmissing = count_missing(members);
}

/*
 * Inferring
 */

static bool
same_natural_key(const EdwMember *a, const EdwMember *b)
{
	return a->natural_len == b->natural_len && memcmp(a->key, b->key, a->natural_len) == 0;
}

/* Each natural key once, with its earliest time: they are sorted. */
static void
insert_missing(EdwMembers *members)
{
	const EdwMember *last = NULL;
	Asked		asked;

	begin_asking(members, &asked);
	for (int i = 0; i < members->nmembers; i++)
	{
		const EdwMember *member = members->members[i];

		if (member->found || !member->wanted || (last != NULL && same_natural_key(last, member)))
			continue;
		asked.numbers[asked.feed.nrows++] = i;
		last = member;
	}
	EdwFeedExecute(&asked.feed, EdwInferSql(members->lookup), 0, NULL, NULL);
}

void
EdwMembersInfer(EdwMembers *members)
{
	sort_missing(members);
	SPI_connect();
	insert_missing(members);
	SPI_finish();
	EdwMembersLookUp(members);
	for (int i = 0; i < members->nmembers && members->nmissing > 0; i++)
		if (!members->members[i]->found && members->members[i]->wanted)
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("members of dimension %s vanished while a batch was applied",
							members->lookup->relation),
					 errdetail("Another transaction has deleted them, or a trigger or policy hides what was inserted.")));
}
