/*
 * lookup.c
 *		Fills in the lookup columns of a batch's rows (see lookup.h).
 *
 * Runs after folding, when it is known which rows will be written, and after the dimensions have
 * been applied (apply.c), so that a fact sees the members of its own batch.
 */
#include "postgres.h"

#include "apply/lookup.h"
#include "apply/resolve.h"
#include "lib/stringinfo.h"
#include "prefetch.h"
#include "utils/lsyscache.h"

/* how far ahead of the row at hand memory is asked for: a change, its presences, values and nulls were mostly made one after another */
#define PREFETCH_ROWS	8
#define PREFETCH_BYTES	384

uint8
EdwLookupsNotePresence(const EdwTarget *target, EdwFoldChange *c)
{
	uint8		all = EDW_PRESENT;

	for (int l = 0; l < target->nlookups; l++)
	{
		const EdwLookup *lookup = &target->lookups[l];
		uint8		presence = lookup->as_of >= 0 ? c->presence[lookup->as_of] : EDW_PRESENT;

		for (int i = 0; i < lookup->nmatch; i++)
			if (presence != EDW_UNAVAILABLE && c->presence[lookup->match[i]] != EDW_PRESENT)
				presence = c->presence[lookup->match[i]];
		c->presence[lookup->column] = presence;
		all |= presence;
		if (presence == EDW_PRESENT)
			continue;

		/* all of it is an older change's, then: not its natural key with the time of this one */
		for (int i = 0; i < lookup->nmatch; i++)
			c->presence[lookup->match[i]] = presence;
		if (lookup->as_of >= 0)
			c->presence[lookup->as_of] = presence;
	}
	return all;
}

/*
 * Missing members
 */

/* the natural key as text: "customer_id = 7" */
static char *
describe_member(const EdwTarget *target, const EdwLookup *lookup, const EdwMember *member)
{
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < lookup->nmatch; i++)
	{
		Oid			output;
		bool		varlena;

		getTypeOutputInfo(target->columns[lookup->match[i]].type, &output, &varlena);
		appendStringInfo(&text, "%s%s = %s", i == 0 ? "" : ", ", lookup->match_quoted[i],
						 OidOutputFunctionCall(output, member->match[i]));
	}
	return text.data;
}

/* The member as its dimension's events will name it. */
static EdwWait *
make_wait(EdwBatch *batch, const EdwTarget *target, const EdwLookup *lookup, const EdwMember *member)
{
	EdwWait    *wait = EdwBatchAlloc(batch, sizeof(EdwWait));
	StringInfo	key = &batch->key;
	ListCell   *k;
	ListCell   *m;

	resetStringInfo(key);
	foreach(k, lookup->dimension->keys)
		foreach(m, lookup->def->match)
			if (strcmp(((EdwColumnExpression *) lfirst(m))->column, lfirst(k)) == 0)
				EdwKeyAppend(key, target->columns[lookup->match[foreach_current_index(m)]].key_kind,
							 member->match[foreach_current_index(m)]);
	wait->dimension = lookup->def->dimension;
	wait->member_len = key->len;
	wait->member = memcpy(EdwBatchAlloc(batch, key->len), key->data, key->len);
	wait->limit_ms = lookup->def->wait_limit_ms;
	return wait;
}

/*
 * Put a row aside. What came before its newest change in the batch may have a member, or be a delete: then the batch
 * is run again without that change.
 */
static void
reject_row(EdwBatch *batch, EdwBatchTarget *bt, EdwEntry *entry, const EdwLookup *lookup,
		   const EdwMember *member)
{
	EdwReject  *reject;

	if (entry->replay)
		bt->outcomes[entry->final->outcome]--;	/* resolve.c has counted it */
	bt->outcomes[EDW_OUTCOME_REJECTED]++;
	EdwBatchReject(batch, bt, entry->key_len > 0 ? entry : NULL, entry->final->message, "member_missing",
				   ERRCODE_FOREIGN_KEY_VIOLATION,
				   psprintf("dimension %s has no member with %s", lookup->relation,
							describe_member(bt->target, lookup, member)));
	reject = &batch->rejects[batch->nrejects - 1];
	reject->again = entry->several;
	if (lookup->def->missing == EDW_MISSING_WAIT)
		reject->wait = make_wait(batch, bt->target, lookup, member);
}

/* A row whose member is missing, and which gets neither the unknown member nor null. */
static bool
puts_aside(const EdwLookup *lookup)
{
	return lookup->def->missing != EDW_MISSING_UNKNOWN && lookup->def->missing != EDW_MISSING_NULL;
}

/*
 * Filling in
 */

/* A group's delete leaves nothing to look up: its columns become null. */
static bool
is_wanted(const EdwTarget *target, const EdwLookup *lookup, const EdwFoldChange *c)
{
	return c->op == 'u' && c->presence[lookup->column] == EDW_PRESENT && !(target->grouped && c->deleted);
}

/* A lookup of a batch. */
typedef struct Filling
{
	const EdwLookup *lookup;
	EdwMembers *members;
	EdwMember **of_row;			/* NULL: the row refers to none */
} Filling;

static Filling *
start_fillings(EdwBatch *batch, EdwBatchTarget *bt, int nrows)
{
	Filling    *fillings = EdwBatchAlloc(batch, bt->target->nlookups * sizeof(Filling));

	for (int l = 0; l < bt->target->nlookups; l++)
	{
		fillings[l].lookup = &bt->target->lookups[l];
		fillings[l].members = EdwMembersCreate(batch, bt->target, fillings[l].lookup, nrows / 4);
		fillings[l].of_row = EdwBatchAlloc(batch, Max(nrows, 1) * sizeof(EdwMember *));
	}
	return fillings;
}

/* Rows are all over the batch's memory: ask for one that comes later. */
static pg_attribute_always_inline void
prefetch(EdwFoldChange **changes, int nrows, int r)
{
	if (r + PREFETCH_ROWS < nrows)
		EdwPrefetch(changes[r + PREFETCH_ROWS], PREFETCH_BYTES);
}

/* All lookups of a row together, while it is at hand. */
static void
collect_members(const EdwTarget *target, Filling *fillings, EdwFoldChange **changes, int nrows)
{
	for (int r = 0; r < nrows; r++)
	{
		prefetch(changes, nrows, r);
		for (int l = 0; l < target->nlookups; l++)
			fillings[l].of_row[r] = is_wanted(target, fillings[l].lookup, changes[r])
				? EdwMembersFind(fillings[l].members, changes[r]) : NULL;
	}
}

/*
 * Rows whose member is missing: those that are stale are none, as the guard is going to leave them alone. Marks the
 * members that the others want; false: there are none.
 */
static bool
find_missing(EdwBatch *batch, EdwBatchTarget *bt, EdwEntry **rows, int nrows, EdwMember **of_row,
			 EdwTombstones *tombstones, const bool *rejected)
{
	EdwEntry  **entries = EdwBatchAlloc(batch, Max(nrows, 1) * sizeof(EdwEntry *));
	bool	   *stale = EdwBatchAlloc(batch, Max(nrows, 1) * sizeof(bool));
	bool		any = false;
	int			n = 0;

	/* a replayed entry was compared with what is stored, and an appended one has nothing to be compared with */
	for (int r = 0; r < nrows; r++)
		if (of_row[r] != NULL && !of_row[r]->found && !rejected[r] && !rows[r]->replay && tombstones != NULL)
			entries[n++] = rows[r];
	if (n > 0)
		EdwFindStale(batch, bt, tombstones, entries, n, stale);
	n = 0;
	for (int r = 0; r < nrows; r++)
	{
		if (of_row[r] == NULL || of_row[r]->found || rejected[r])
			continue;
		if (!rows[r]->replay && tombstones != NULL && stale[n++])
			of_row[r] = NULL;
		else
			any = of_row[r]->wanted = true;
	}
	return any;
}

/* Find a lookup's members, make those that are missing, or reject their rows; false: run again alone. */
static bool
find_members(EdwBatch *batch, EdwBatchTarget *bt, Filling *filling, EdwEntry **rows, int nrows,
			 EdwTombstones *tombstones, bool *rejected, bool alone)
{
	const EdwLookup *lookup = filling->lookup;
	EdwMember **of_row = filling->of_row;

	EdwMembersLookUp(filling->members);
	if (filling->members->nmissing == 0 ||
		!find_missing(batch, bt, rows, nrows, of_row, tombstones, rejected))
		return true;
	if (lookup->def->missing == EDW_MISSING_INFER)
	{
		/* without versions the unique index tells who made the member */
		if (lookup->as_of >= 0 && !alone)
			return false;
		EdwMembersInfer(filling->members);
		return true;
	}
	for (int r = 0; r < nrows && puts_aside(lookup); r++)
		if (of_row[r] != NULL && !of_row[r]->found && !rejected[r])
		{
			reject_row(batch, bt, rows[r], lookup, of_row[r]);
			rejected[r] = true;
		}
	return true;
}

static void
fill_row(const EdwTarget *target, const Filling *fillings, EdwFoldChange *c, int r)
{
	for (int l = 0; l < target->nlookups; l++)
	{
		const EdwLookup *lookup = fillings[l].lookup;
		const EdwMember *member = fillings[l].of_row[r];
		bool		found = member != NULL && member->found;

		if (!is_wanted(target, lookup, c))
			continue;
		c->values[lookup->column] = found ? member->surrogate : lookup->unknown;
		c->nulls[lookup->column] = found ? member->isnull : lookup->def->missing != EDW_MISSING_UNKNOWN;
	}
}

int
EdwLookupsFill(EdwBatch *batch, EdwBatchTarget *bt, EdwEntry **rows, EdwFoldChange **changes,
			   int nrows, EdwTombstones *tombstones, bool alone, bool *need_alone)
{
	bool	   *rejected = EdwBatchAlloc(batch, Max(nrows, 1) * sizeof(bool));
	Filling    *fillings = start_fillings(batch, bt, nrows);
	int			left = 0;

	memset(rejected, false, nrows * sizeof(bool));
	collect_members(bt->target, fillings, changes, nrows);

	/* those that infer come last: no member is made for a row that is put aside */
	for (int infers = 0; infers <= 1; infers++)
		for (int l = 0; l < bt->target->nlookups; l++)
			if ((fillings[l].lookup->def->missing == EDW_MISSING_INFER) == infers &&
				!find_members(batch, bt, &fillings[l], rows, nrows, tombstones, rejected, alone))
			{
				*need_alone = true;
				return 0;
			}
	for (int r = 0; r < nrows; r++)
	{
		prefetch(changes, nrows, r);
		if (rejected[r])
			continue;
		fill_row(bt->target, fillings, changes[r], r);
		rows[left] = rows[r];
		changes[left++] = changes[r];
	}
	return left;
}
