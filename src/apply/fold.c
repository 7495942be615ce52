/*
 * fold.c
 *		A batch's entries: one per key, and what of its changes still matters (O10).
 *
 * A change finds its key's entry, and either replaces what is there, is dropped and counted,
 * or, where only the stored row can tell, waits in line for resolve.c.
 * All memory is the batch's.
 */
#include "postgres.h"

#include "apply/fold.h"
#include "common/hashfn.h"
#include "port/pg_bswap.h"

typedef struct EdwEntrySlot
{
	uint32		status;
	uint32		hash;
	EdwEntry   *entry;
} EdwEntrySlot;

#define SH_PREFIX		edw_entries
#define SH_ELEMENT_TYPE	EdwEntrySlot
#define SH_KEY_TYPE		const EdwEntry *
#define SH_KEY			entry
#define SH_SCOPE		static inline
#define SH_STORE_HASH
#define SH_GET_HASH(tb, a)	(a)->hash
#define SH_HASH_KEY(tb, key)	(key)->hash
#define SH_EQUAL(tb, a, b)	((a)->key_len == (b)->key_len && \
							 memcmp((a)->key, (b)->key, (a)->key_len) == 0)
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* Make the target's list of entries, which finds them by key, too. */
void
EdwMakeEntries(EdwBatch *batch, EdwBatchTarget *bt)
{
	bt->entries_size = Max(16, bt->target->last_entries);
	bt->hash = edw_entries_create(batch->context, bt->entries_size, NULL);
	bt->entries = MemoryContextAlloc(batch->context, bt->entries_size * sizeof(EdwEntry *));
}

EdwPositionBytes
EdwCopyPosition(EdwBatch *batch, EdwPositionBytes position)
{
	if (position.len > 0)
		position.bytes = memcpy(EdwBatchAlloc(batch, position.len), position.bytes, position.len);
	return position;
}

void
EdwAddEntry(EdwBatchTarget *bt, EdwEntry *entry)
{
	if (bt->nentries == bt->entries_size)
	{
		bt->entries_size *= 2;
		bt->entries = repalloc_huge(bt->entries, bt->entries_size * sizeof(EdwEntry *));
	}
	bt->entries[bt->nentries++] = entry;
}

EdwEntry *
EdwFindEntry(EdwBatch *batch, EdwBatchTarget *bt)
{
	EdwEntry	probe;
	EdwEntry   *entry;
	EdwEntrySlot *slot;
	uint64		prefix = 0;
	bool		found;

	probe.key = (uint8 *) batch->key.data;
	probe.key_len = batch->key.len;
	probe.hash = hash_bytes(probe.key, probe.key_len);
	slot = edw_entries_insert_hash(bt->hash, &probe, probe.hash, &found);
	if (found)
		return slot->entry;

	entry = EdwBatchAlloc(batch, sizeof(EdwEntry));
	memset(entry, 0, sizeof(EdwEntry));
	entry->key = memcpy(EdwBatchAlloc(batch, probe.key_len), probe.key, probe.key_len);
	entry->key_len = probe.key_len;
	entry->hash = probe.hash;
	memcpy(&prefix, probe.key, Min(probe.key_len, (int) sizeof(prefix)));
	entry->prefix = pg_ntoh64(prefix);
	entry->partition = EDW_PARTITION_NONE;
	slot->entry = entry;
	EdwAddEntry(bt, entry);
	return entry;
}

/*
 * Is only the stored row able to tell what this one does, even alone? In a table of versions it
 * may be a version of its own, and all are kept; in a group's columns a row may be there without them.
 */
static inline bool
depends_on_stored(const EdwTarget *target, const EdwFoldChange *c)
{
	return c->position.len == 0 || c->arrives || c->departs || target->versioned != NULL || target->grouped;
}

static bool
same_columns(const EdwTarget *target, const EdwFoldChange *a, const EdwFoldChange *b)
{
	return a->op == 'u' && b->op == 'u' &&
		memcmp(a->presence, b->presence, target->ncolumns) == 0;
}

/* Remember a message whose fate is that of the change which replaced it. */
static void
remember_folded(EdwBatch *batch, EdwEntry *entry, const EdwFoldChange *replaced,
				const EdwFoldChange *by)
{
	EdwMessageList *item;

	if (by->op == 'd' || by->complete)
	{
		entry->folded = NULL;
		return;
	}
	if (!replaced->counted)
		return;
	item = EdwBatchAlloc(batch, sizeof(EdwMessageList));
	item->message = replaced->message;
	item->next = entry->folded;
	entry->folded = item;
}

static void
wait_in_line(EdwBatch *batch, EdwEntry *entry, const EdwFoldChange *c)
{
	EdwFoldChange *item = EdwBatchAlloc(batch, sizeof(EdwFoldChange));

	*item = *c;
	entry->last->next = item;
	entry->last = item;
	entry->replay = true;
}

/*
 * Fold a change into its key's entry. While the entry holds one change that has a position,
 * one of the two mostly makes the other irrelevant, whatever is stored: the newer one does
 * if it is a delete, is complete, or gives the same columns.
 */
void
EdwFold(EdwBatch *batch, EdwBatchTarget *bt, EdwEntry *entry, EdwFoldChange *c)
{
	EdwFoldChange *have = &entry->live;
	const EdwTarget *target = bt->target;
	int			order;

	c->position = EdwCopyPosition(batch, c->position);
	if (have->op == 0)
	{
		*have = *c;
		entry->last = have;
		entry->replay = depends_on_stored(target, c);
		return;
	}
	entry->several = true;
	if (entry->replay || depends_on_stored(target, c))
	{
		wait_in_line(batch, entry, c);
		return;
	}

	order = EdwPositionOrder(c->position, have->position);
	if (order == 0)
		EdwCountOutcome(bt, c, EDW_OUTCOME_DUPLICATE);
	else if (order > 0 && target->deleted_attnum != 0 && c->op == 'd' && have->op == 'u')
		wait_in_line(batch, entry, c);	/* the row stays, with these values */
	else if (order > 0 && (c->op == 'd' || c->complete || same_columns(target, c, have)))
	{
		EdwCountOutcome(bt, have, have->filtered ? EDW_OUTCOME_FILTERED : EDW_OUTCOME_FOLDED);
		remember_folded(batch, entry, have, c);
		*have = *c;
	}
	else if (order < 0 && (have->op == 'd' || have->complete || same_columns(target, c, have)))
		EdwCountOutcome(bt, c, EDW_OUTCOME_STALE);
	else
		wait_in_line(batch, entry, c);
}

void
EdwBatchPurge(EdwBatchTarget *bt, EdwOutcome outcome, bool undated)
{
	for (int i = 0; i < bt->nentries; i++)
	{
		EdwEntry   *entry = bt->entries[i];
		EdwFoldChange *c = entry->live.op == 0 ? NULL : &entry->live;
		EdwFoldChange *kept = NULL;

		for (; c != NULL; c = c->next)
		{
			if (c->position.len == 0 ? undated : EdwPositionOrder(c->position, bt->barrier) < 0)
			{
				EdwCountOutcome(bt, c, outcome);
				continue;
			}
			if (kept == NULL)
			{
				EdwFoldChange *next = c->next;

				/* the first is part of the entry */
				if (c != &entry->live)
					entry->live = *c;
				entry->live.next = next;
				kept = &entry->live;
			}
			else
			{
				kept->next = c;
				kept = c;
			}
		}
		if (kept == NULL)
		{
			entry->live.op = 0;
			entry->live.next = NULL;
			entry->replay = false;
			entry->folded = NULL;
		}
		else
		{
			kept->next = NULL;
			entry->last = kept;
		}
	}
}
