/*
 * batch.c
 *		Filling a batch: changes in, at most one thing to do per key out (O10).
 *
 * Touches no table. A change becomes a row of the target's columns (expressions
 * evaluated), finds its key's entry, and either replaces what is there, is dropped
 * and counted, or, where only the stored row can tell, waits in line for
 * resolve.c. All memory is the batch's own context.
 */
#include "postgres.h"

#include "apply/apply.h"
#include "apply/fold.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "port/pg_bswap.h"
#include "utils/datum.h"
#include "utils/memutils.h"

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

#define ARENA_CHUNK		(64 * 1024)

static uint64 last_serial = 0;

/* what is being added, for one target */
typedef struct Incoming
{
	EdwBatch   *batch;
	EdwBatchTarget *bt;
	const EdwChange *change;
	EdwPositionBytes position;	/* the caller's memory */
	int32		epoch;
	int			message;
} Incoming;

EdwBatch *
EdwBatchCreate(void)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "edw_stream batch",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	EdwBatch   *batch = palloc0(sizeof(EdwBatch));

	batch->context = context;
	batch->serial = ++last_serial;
	initStringInfo(&batch->key);
	MemoryContextSwitchTo(old);
	return batch;
}

Size
EdwBatchMemory(EdwBatch *batch)
{
	return MemoryContextMemAllocated(batch->context, true);
}

void *
EdwBatchAlloc(EdwBatch *batch, Size size)
{
	char	   *result;

	size = MAXALIGN(size);
	if (unlikely(size > batch->arena_left))
	{
		if (size > ARENA_CHUNK / 8)
			return MemoryContextAllocHuge(batch->context, size);
		batch->arena = MemoryContextAlloc(batch->context, ARENA_CHUNK);
		batch->arena_left = ARENA_CHUNK;
	}
	result = batch->arena;
	batch->arena += size;
	batch->arena_left -= size;
	return result;
}

static EdwPositionBytes
copy_position(EdwBatch *batch, EdwPositionBytes position)
{
	if (position.len > 0)
		position.bytes = memcpy(EdwBatchAlloc(batch, position.len), position.bytes, position.len);
	return position;
}

static EdwBatchTarget *
make_batch_target(EdwBatch *batch, EdwRoute *route, EdwTarget *target)
{
	MemoryContext old = MemoryContextSwitchTo(batch->context);
	EdwBatchTarget *bt = palloc0(sizeof(EdwBatchTarget));

	if (route->run_serial != batch->serial)
		EdwRoutePrepare(route);
	route->run_serial = batch->serial;
	bt->target = target;
	bt->route = route;
	bt->hash = edw_entries_create(batch->context, 1024, NULL);
	bt->entries_size = 1024;
	bt->entries = palloc(bt->entries_size * sizeof(EdwEntry *));
	bt->key_values = palloc(Max(target->nkeys, 1) * sizeof(Datum));
	bt->barrier.bytes = target->def->barrier;
	bt->barrier.len = target->def->barrier_len;
	if (batch->ntargets == batch->targets_size)
	{
		batch->targets_size = Max(8, batch->targets_size * 2);
		batch->targets = batch->targets == NULL ? palloc(batch->targets_size * sizeof(void *))
			: repalloc(batch->targets, batch->targets_size * sizeof(void *));
	}
	batch->targets[batch->ntargets++] = bt;
	target->in_batch = bt;
	target->batch_serial = batch->serial;
	MemoryContextSwitchTo(old);
	return bt;
}

static void
add_entry(EdwBatch *batch, EdwBatchTarget *bt, EdwEntry *entry)
{
	if (bt->nentries == bt->entries_size)
	{
		bt->entries_size *= 2;
		bt->entries = repalloc_huge(bt->entries, bt->entries_size * sizeof(EdwEntry *));
	}
	bt->entries[bt->nentries++] = entry;
	(void) batch;
}

void
EdwBatchReject(EdwBatch *batch, EdwBatchTarget *bt, const EdwEntry *entry,
			   int message, const char *reason, int sqlerrcode, char *message_text)
{
	EdwReject  *reject;

	if (batch->nrejects == batch->rejects_size)
	{
		int			size = Max(16, batch->rejects_size * 2);
		MemoryContext old = MemoryContextSwitchTo(batch->context);

		batch->rejects = batch->rejects == NULL ? palloc(size * sizeof(EdwReject))
			: repalloc(batch->rejects, size * sizeof(EdwReject));
		batch->rejects_size = size;
		MemoryContextSwitchTo(old);
	}
	reject = &batch->rejects[batch->nrejects++];
	reject->message = message;
	reject->target = bt->target;
	reject->reason = reason;
	reject->sqlerrcode = sqlerrcode;
	reject->message_text = MemoryContextStrdup(batch->context, message_text);
	reject->key = entry ? (char *) entry->key : NULL;
	reject->key_len = entry ? entry->key_len : 0;
}

void
EdwBatchRejectUnavailable(EdwBatch *batch, EdwBatchTarget *bt, const EdwEntry *entry,
						  int message, const char *column)
{
	EdwBatchReject(batch, bt, entry, message, "unavailable_value", ERRCODE_NULL_VALUE_NOT_ALLOWED,
				   psprintf("the event leaves out the unchanged value of column \"%s\", and table %s has no row to keep it from",
							column, bt->target->relation));
}

/*
 * Values
 */

/* Evaluate over the change that is in the route's slot; the result is the batch's. */
static Datum
evaluate(Incoming *in, ExprState *expression, bool typbyval, int16 typlen, bool *isnull)
{
	ExprContext *econtext = in->bt->route->econtext;
	Datum		value;

	value = ExecEvalExprSwitchContext(expression, econtext, isnull);
	if (!*isnull && !typbyval)
	{
		MemoryContext old = MemoryContextSwitchTo(in->batch->context);

		value = datumCopy(value, typbyval, typlen);
		MemoryContextSwitchTo(old);
	}
	return value;
}

/* Make a set of values the row that the route's expressions see. */
static void
show_row(EdwRoute *route, Datum *values, bool *nulls)
{
	TupleTableSlot *slot = route->slot;

	ResetExprContext(route->econtext);
	slot->tts_values = values;
	slot->tts_isnull = nulls;
	slot->tts_nvalid = route->input.ncolumns;
	slot->tts_flags &= ~TTS_FLAG_EMPTY;
	route->econtext->ecxt_scantuple = slot;
}

/* what an expression yields whose inputs are not all there */
static EdwPresence
presence_of_inputs(const Bitmapset *inputs, const uint8 *presence)
{
	EdwPresence result = EDW_PRESENT;
	int			i = -1;

	while ((i = bms_next_member(inputs, i)) >= 0)
	{
		if (presence[i] == EDW_UNAVAILABLE)
			return EDW_UNAVAILABLE;
		if (presence[i] == EDW_ABSENT)
			result = EDW_ABSENT;
	}
	return result;
}

static EdwPresence
column_value(Incoming *in, const EdwTargetColumn *column, Datum *values, bool *nulls,
			 const uint8 *presence, Datum *value, bool *isnull)
{
	if (column->input >= 0)
	{
		*value = values[column->input];
		*isnull = nulls[column->input];
		return presence[column->input];
	}
	if (column->inputs != NULL && presence_of_inputs(column->inputs, presence) != EDW_PRESENT)
	{
		*value = (Datum) 0;
		*isnull = true;
		return presence_of_inputs(column->inputs, presence);
	}
	*value = evaluate(in, column->expression, column->typbyval, column->typlen, isnull);
	return EDW_PRESENT;
}

static void
alloc_row(EdwBatch *batch, EdwFoldChange *c, int ncolumns)
{
	c->values = EdwBatchAlloc(batch, ncolumns * (sizeof(Datum) + sizeof(bool) + sizeof(uint8)));
	c->nulls = (bool *) (c->values + ncolumns);
	c->presence = (uint8 *) (c->nulls + ncolumns);
}

void
EdwAllocRow(EdwBatch *batch, EdwFoldChange *c, int ncolumns)
{
	alloc_row(batch, c, ncolumns);
	memset(c->nulls, true, ncolumns);
	memset(c->presence, EDW_ABSENT, ncolumns);
}

/* A 'd' change's row: the key that make_key just found. */
static void
make_key_row(Incoming *in, EdwFoldChange *c)
{
	const EdwTarget *target = in->bt->target;

	EdwAllocRow(in->batch, c, target->ncolumns);
	for (int k = 0; k < target->nkeys; k++)
	{
		c->values[target->keys[k]] = in->bt->key_values[k];
		c->nulls[target->keys[k]] = false;
		c->presence[target->keys[k]] = EDW_PRESENT;
	}
}

/* A 'u' change's values, in the target's columns. */
static void
make_row(Incoming *in, EdwFoldChange *c)
{
	const EdwTarget *target = in->bt->target;
	const EdwChange *change = in->change;
	int			n = target->ncolumns;
	uint8		missing = 0;

	alloc_row(in->batch, c, n);
	for (int i = 0; i < n; i++)
	{
		c->presence[i] = column_value(in, &target->columns[i], change->values, change->nulls,
									  change->presence, &c->values[i], &c->nulls[i]);
		missing |= c->presence[i];
	}
	c->complete = missing == EDW_PRESENT;
}

/* Does the mapping's filter want this row? What it cannot see counts as wanted. */
static bool
is_wanted(Incoming *in)
{
	const EdwTarget *target = in->bt->target;
	bool		isnull;
	Datum		wanted;

	if (target->filter == NULL ||
		presence_of_inputs(target->filter_inputs, in->change->presence) != EDW_PRESENT)
		return true;
	wanted = evaluate(in, target->filter, true, 1, &isnull);
	return !isnull && DatumGetBool(wanted);
}

/*
 * The key of a row into the batch's scratch buffer. NULL, or the name of the column that
 * is null or not there; *reason then says which.
 */
static const char *
make_key(Incoming *in, Datum *values, bool *nulls, const uint8 *presence, const char **reason)
{
	const EdwTarget *target = in->bt->target;
	StringInfo	key = &in->batch->key;

	resetStringInfo(key);
	for (int k = 0; k < target->nkeys; k++)
	{
		const EdwTargetColumn *column = &target->columns[target->keys[k]];
		Datum		value;
		bool		isnull;

		if (column_value(in, column, values, nulls, presence, &value, &isnull) != EDW_PRESENT)
		{
			*reason = "key_absent";
			return column->name;
		}
		if (isnull)
		{
			*reason = "key_null";
			return column->name;
		}
		EdwKeyAppend(key, column->key_kind, value);
		in->bt->key_values[k] = value;
	}
	return NULL;
}

/*
 * Folding
 */

static EdwEntry *
find_entry(Incoming *in, bool *found)
{
	EdwBatch   *batch = in->batch;
	EdwEntry	probe;
	EdwEntry   *entry;
	EdwEntrySlot *slot;
	uint64		prefix = 0;

	probe.key = (uint8 *) batch->key.data;
	probe.key_len = batch->key.len;
	probe.hash = hash_bytes(probe.key, probe.key_len);
	slot = edw_entries_insert_hash(in->bt->hash, &probe, probe.hash, found);
	if (*found)
		return slot->entry;

	entry = EdwBatchAlloc(batch, sizeof(EdwEntry));
	memset(entry, 0, sizeof(EdwEntry));
	entry->key = memcpy(EdwBatchAlloc(batch, probe.key_len), probe.key, probe.key_len);
	entry->key_len = probe.key_len;
	entry->hash = probe.hash;
	memcpy(&prefix, probe.key, Min(probe.key_len, (int) sizeof(prefix)));
	entry->prefix = pg_ntoh64(prefix);
	slot->entry = entry;
	add_entry(batch, in->bt, entry);
	return entry;
}

/* is only the stored row able to tell what this one does, even alone? */
static inline bool
depends_on_stored(const EdwFoldChange *c)
{
	return c->position.len == 0 || c->arrives || c->departs;
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
static void
fold(Incoming *in, EdwEntry *entry, EdwFoldChange *c)
{
	EdwFoldChange *have = &entry->live;
	const EdwTarget *target = in->bt->target;
	int			order;

	c->position = copy_position(in->batch, c->position);
	if (have->op == 0)
	{
		*have = *c;
		entry->last = have;
		entry->replay = depends_on_stored(c);
		return;
	}
	if (entry->replay || depends_on_stored(c))
	{
		wait_in_line(in->batch, entry, c);
		return;
	}

	order = EdwPositionOrder(c->position, have->position);
	if (order == 0)
		EdwCountOutcome(in->bt, c, EDW_OUTCOME_DUPLICATE);
	else if (order > 0 && target->deleted_attnum != 0 && c->op == 'd' && have->op == 'u')
		wait_in_line(in->batch, entry, c);	/* the row stays, with these values */
	else if (order > 0 && (c->op == 'd' || c->complete || same_columns(target, c, have)))
	{
		EdwCountOutcome(in->bt, have, have->filtered ? EDW_OUTCOME_FILTERED : EDW_OUTCOME_FOLDED);
		remember_folded(in->batch, entry, have, c);
		*have = *c;
	}
	else if (order < 0 && (have->op == 'd' || have->complete || same_columns(target, c, have)))
		EdwCountOutcome(in->bt, c, EDW_OUTCOME_STALE);
	else
		wait_in_line(in->batch, entry, c);
}

static void
reject_key(Incoming *in, const char *column, const char *reason)
{
	in->bt->outcomes[EDW_OUTCOME_REJECTED]++;
	EdwBatchReject(in->batch, in->bt, NULL, in->message, reason,
				   ERRCODE_NOT_NULL_VIOLATION,
				   psprintf(strcmp(reason, "key_null") == 0
							? "key column \"%s\" of table %s is null"
							: "event gives no value for key column \"%s\" of table %s",
							column, in->bt->target->relation));
}

static void
start_change(Incoming *in, EdwFoldChange *c, char op)
{
	const EdwChange *change = in->change;

	memset(c, 0, sizeof(EdwFoldChange));
	c->op = op;
	c->position = in->position;
	c->message = in->message;
	c->epoch = in->epoch;
	c->counted = true;
	c->first = change->op == EDW_OP_CREATE || change->op == EDW_OP_READ;
	c->arrives = change->key_arrives && op == 'u';
	c->departs = change->key_departs && op == 'd';
}

/* P3 compares transactions only where keys move */
static void
note_transaction(Incoming *in, EdwFoldChange *c)
{
	if (!c->arrives && !c->departs)
		return;
	c->identity = in->change->identity;
	c->txid = strcpy(EdwBatchAlloc(in->batch, strlen(in->change->txid) + 1), in->change->txid);
}

/*
 * An update that changed the mapping's key without Debezium's knowing that it is one:
 * the row leaves its old key and arrives at the new one. The key in the scratch buffer is
 * the new one, before and after.
 */
static void
leave_old_key(Incoming *in, EdwEntry *entry, EdwFoldChange *c)
{
	EdwFoldChange gone;
	EdwEntry   *old;
	const char *reason;
	bool		found;

	show_row(in->bt->route, in->change->old_values, in->change->old_nulls);

	/* presence as of the new row: a key is made from columns that every event has */
	if (make_key(in, in->change->old_values, in->change->old_nulls,
				 in->change->presence, &reason) != NULL)
		return;
	if (in->batch->key.len == entry->key_len &&
		memcmp(in->batch->key.data, entry->key, entry->key_len) == 0)
		return;

	c->arrives = true;
	start_change(in, &gone, 'd');
	gone.counted = false;
	gone.departs = true;
	make_key_row(in, &gone);
	note_transaction(in, &gone);
	old = find_entry(in, &found);
	fold(in, old, &gone);
}

static void
add_delete(Incoming *in, bool pairs_with_delete)
{
	const EdwMappingDef *def = in->bt->target->def;
	const EdwChange *change = in->change;
	EdwFoldChange c;
	const char *column;
	const char *reason;
	bool		found;

	if (def->apply == EDW_APPLY_APPEND || def->on_delete == EDW_DELETE_IGNORE ||
		(pairs_with_delete && change->op == EDW_OP_TOMBSTONE))
	{
		in->bt->outcomes[EDW_OUTCOME_UNCHANGED]++;
		return;
	}
	if (def->on_delete == EDW_DELETE_ERROR)
		ereport(ERROR,
				(errcode(ERRCODE_EDW_DELETE_REFUSED),
				 errmsg("a delete arrived for table %s, which is mapped with on_delete => 'error'",
						in->bt->target->relation),
				 errhint("Map the table with another on_delete, or seek beyond the event.")));
	column = make_key(in, change->values, change->nulls, change->presence, &reason);
	if (column != NULL)
	{
		reject_key(in, column, reason);
		return;
	}
	start_change(in, &c, 'd');
	make_key_row(in, &c);
	note_transaction(in, &c);
	fold(in, find_entry(in, &found), &c);
}

static void
add_append(Incoming *in)
{
	EdwEntry   *entry;

	if (!is_wanted(in))
	{
		in->bt->outcomes[EDW_OUTCOME_FILTERED]++;
		return;
	}
	entry = EdwBatchAlloc(in->batch, sizeof(EdwEntry));
	memset(entry, 0, sizeof(EdwEntry));
	start_change(in, &entry->live, 'u');
	make_row(in, &entry->live);
	for (int i = 0; i < in->bt->target->ncolumns; i++)
	{
		if (entry->live.presence[i] == EDW_UNAVAILABLE)
		{
			in->bt->outcomes[EDW_OUTCOME_REJECTED]++;
			EdwBatchRejectUnavailable(in->batch, in->bt, NULL, in->message,
									  in->bt->target->columns[i].name);
			return;
		}
	}
	entry->live.position = copy_position(in->batch, in->position);
	add_entry(in->batch, in->bt, entry);
}

static void
add_upsert(Incoming *in)
{
	const EdwChange *change = in->change;
	const EdwMappingDef *def = in->bt->target->def;
	EdwFoldChange c;
	EdwEntry   *entry;
	const char *column;
	const char *reason;
	bool		found;
	bool		wanted;

	if (def->apply == EDW_APPLY_APPEND)
	{
		add_append(in);
		return;
	}
	column = make_key(in, change->values, change->nulls, change->presence, &reason);
	if (column != NULL)
	{
		reject_key(in, column, reason);
		return;
	}
	wanted = is_wanted(in);
	if (!wanted && def->on_delete == EDW_DELETE_IGNORE)
	{
		in->bt->outcomes[EDW_OUTCOME_FILTERED]++;
		return;
	}
	entry = find_entry(in, &found);
	start_change(in, &c, wanted ? 'u' : 'd');
	c.filtered = !wanted;
	if (wanted)
		make_row(in, &c);
	else
		make_key_row(in, &c);
	if (change->has_old)
		leave_old_key(in, entry, &c);
	note_transaction(in, &c);
	fold(in, entry, &c);
}

/* P4. What is older is void at once: what is in the batch here, what is stored in apply.c. */
static void
add_truncate(Incoming *in)
{
	EdwBatchTarget *bt = in->bt;

	switch (bt->target->def->on_truncate)
	{
		case EDW_TRUNCATE_IGNORE:
			bt->outcomes[EDW_OUTCOME_UNCHANGED]++;
			return;
		case EDW_TRUNCATE_ERROR:
			ereport(ERROR,
					(errcode(ERRCODE_EDW_TRUNCATE_REFUSED),
					 errmsg("a truncate arrived for table %s, which is mapped with on_truncate => 'error'",
							bt->target->relation),
					 errhint("Map the table with on_truncate => 'apply' or 'ignore'.")));
			return;
		case EDW_TRUNCATE_APPLY:
			break;
	}
	if (in->position.len == 0)
		ereport(ERROR,
				(errcode(ERRCODE_EDW_TRUNCATE_REFUSED),
				 errmsg("a truncate of table %s has no position in its source", bt->target->relation),
				 errhint("Map the table with on_truncate => 'ignore'.")));
	if (bt->barrier.len > 0 && EdwPositionOrder(in->position, bt->barrier) <= 0)
	{
		bt->outcomes[EdwPositionOrder(in->position, bt->barrier) == 0
					 ? EDW_OUTCOME_DUPLICATE : EDW_OUTCOME_STALE]++;
		return;
	}
	bt->truncates++;
	bt->truncated = true;
	bt->barrier = copy_position(in->batch, in->position);

	/* what has no position arrived before the truncate did, and goes as well */
	EdwBatchPurge(bt, EDW_OUTCOME_FOLDED, true);
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

static void
add_to_target(Incoming *in, bool pairs_with_delete)
{
	EdwBatchTarget *bt = in->bt;

	if (in->change->op == EDW_OP_TRUNCATE)
	{
		add_truncate(in);
		return;
	}
	if (unlikely(bt->barrier.len > 0) && in->position.len > 0 &&
		EdwPositionOrder(in->position, bt->barrier) < 0)
	{
		bt->outcomes[EDW_OUTCOME_STALE]++;
		return;
	}
	show_row(bt->route, in->change->values, in->change->nulls);
	if (in->change->op == EDW_OP_DELETE || in->change->op == EDW_OP_TOMBSTONE)
		add_delete(in, pairs_with_delete);
	else
		add_upsert(in);
}

void
EdwBatchAdd(EdwBatch *batch, EdwRoute *route, int message,
			const EdwChange *change, const EdwFullPosition *position,
			int32 epoch, bool pairs_with_delete)
{
	Incoming	in = {0};

	in.batch = batch;
	in.change = change;
	in.position.bytes = position->bytes;
	in.position.len = position->len;
	in.epoch = epoch;
	in.message = message;
	for (int i = 0; i < route->ntargets; i++)
	{
		EdwTarget  *target = route->targets[i];

		in.bt = likely(target->batch_serial == batch->serial) ? target->in_batch
			: make_batch_target(batch, route, target);
		add_to_target(&in, pairs_with_delete);
	}
}
