/*
 * batch.c
 *		Filling a batch: changes in, at most one thing to do per key out (O10).
 *
 * Owns the batch, its memory and its rejects, and says what each kind of event means to
 * a mapping: upsert, append, delete, a key that moved, truncate. A change becomes a row of
 * the target's columns (evaluate.c) and is folded into its key's entry (fold.c). Touches
 * no table. All memory is the batch's own context.
 */
#include "postgres.h"

#include "apply/apply.h"
#include "apply/evaluate.h"
#include "apply/scd2.h"
#include "utils/memutils.h"

#define ARENA_CHUNK		(64 * 1024)

static uint64 last_serial = 0;

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

void
EdwBatchWatch(EdwBatch *batch, const struct EdwWatch *watch)
{
	batch->watch = watch;
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
	EdwMakeEntries(batch, bt);
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
	reject->wait = NULL;
	reject->again = false;
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
 * Rule O7: count a change whose key another partition of the topic had in this batch. Which of
 * the two is newer is the positions' business.
 */
static void
note_partition(EdwIncoming *in, EdwEntry *entry)
{
	if (likely(entry->partition == in->partition))
		return;
	if (entry->partition == EDW_PARTITION_NONE)
		entry->partition = in->partition;
	else
	{
		entry->partition = EDW_PARTITION_SEVERAL;
		in->bt->moved++;
	}
}

static void
reject_key(EdwIncoming *in, const char *column, const char *reason)
{
	in->bt->outcomes[EDW_OUTCOME_REJECTED]++;
	EdwBatchReject(in->batch, in->bt, NULL, in->message, reason,
				   ERRCODE_NOT_NULL_VIOLATION,
				   psprintf(strcmp(reason, "key_null") == 0
							? "key column \"%s\" of table %s is null"
							: "event gives no value for key column \"%s\" of table %s",
							column, in->bt->target->relation));
}

/*
 * Since when what an event says is so: by the column that was named for that, else by the source's clock. A
 * delete is trusted with its key only (P2).
 */
static int64
version_time(EdwIncoming *in)
{
	const EdwTarget *target = in->bt->target;
	const EdwChange *change = in->change;
	int			input = target->versioned->valid_time_input;
	int64		unix_us = change->source_ts_us ? change->source_ts_us : change->kafka_ts_us;
	bool		has_row = change->op == EDW_OP_CREATE || change->op == EDW_OP_UPDATE ||
		change->op == EDW_OP_READ;

	if (input >= 0 && has_row && change->presence[input] == EDW_PRESENT && !change->nulls[input])
		return EdwVersionTimeOf(target->versioned->time_type, change->values[input]);
	return EdwVersionTime(target->versioned->time_type, unix_us);
}

static void
start_change(EdwIncoming *in, EdwFoldChange *c, char op)
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
	if (in->bt->target->versioned)
		c->at = version_time(in);
}

/* P3 compares transactions only where keys move */
static void
note_transaction(EdwIncoming *in, EdwFoldChange *c)
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
leave_old_key(EdwIncoming *in, EdwEntry *entry, EdwFoldChange *c)
{
	EdwFoldChange gone;
	EdwEntry   *old;
	const char *reason;

	EdwShowRow(in->bt->route, in->change->old_values, in->change->old_nulls);

	/* presence as of the new row: a key is made from columns that every event has */
	if (EdwMakeKey(in, in->change->old_values, in->change->old_nulls,
				 in->change->presence, &reason) != NULL)
		return;
	if (in->batch->key.len == entry->key_len &&
		memcmp(in->batch->key.data, entry->key, entry->key_len) == 0)
		return;

	c->arrives = true;
	start_change(in, &gone, 'd');
	gone.counted = false;
	gone.departs = true;
	EdwMakeKeyRow(in, &gone);
	note_transaction(in, &gone);
	old = EdwFindEntry(in->batch, in->bt);
	EdwFold(in->batch, in->bt, old, &gone);
}

static void
add_delete(EdwIncoming *in, bool pairs_with_delete)
{
	const EdwMappingDef *def = in->bt->target->def;
	const EdwChange *change = in->change;
	EdwFoldChange c;
	EdwEntry   *entry;
	const char *column;
	const char *reason;

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
	column = EdwMakeKey(in, change->values, change->nulls, change->presence, &reason);
	if (column != NULL)
	{
		reject_key(in, column, reason);
		return;
	}
	start_change(in, &c, 'd');
	EdwMakeKeyRow(in, &c);
	note_transaction(in, &c);
	entry = EdwFindEntry(in->batch, in->bt);
	note_partition(in, entry);
	EdwFold(in->batch, in->bt, entry, &c);
}

/*
 * The entry of a row to append, NULL if the event is a duplicate of an earlier one of the batch. Keys say which
 * event it is; without any, each is another one.
 */
static EdwEntry *
append_entry(EdwIncoming *in)
{
	EdwEntry   *entry;

	if (in->bt->target->nkeys == 0)
	{
		entry = EdwBatchAlloc(in->batch, sizeof(EdwEntry));
		memset(entry, 0, sizeof(EdwEntry));
		EdwAddEntry(in->bt, entry);
		return entry;
	}
	entry = EdwFindEntry(in->batch, in->bt);
	note_partition(in, entry);
	return entry->live.op == 0 ? entry : NULL;
}

static void
add_append(EdwIncoming *in)
{
	const EdwChange *change = in->change;
	EdwFoldChange c;
	EdwEntry   *entry;
	const char *column;
	const char *reason;

	if (!EdwIsWanted(in))
	{
		in->bt->outcomes[EDW_OUTCOME_FILTERED]++;
		return;
	}
	column = EdwMakeKey(in, change->values, change->nulls, change->presence, &reason);
	if (column != NULL)
	{
		reject_key(in, column, reason);
		return;
	}
	start_change(in, &c, 'u');
	EdwMakeRow(in, &c);
	for (int i = 0; i < in->bt->target->ncolumns; i++)
	{
		if (c.presence[i] == EDW_UNAVAILABLE)
		{
			in->bt->outcomes[EDW_OUTCOME_REJECTED]++;
			EdwBatchRejectUnavailable(in->batch, in->bt, NULL, in->message,
									  in->bt->target->columns[i].name);
			return;
		}
	}
	entry = append_entry(in);
	if (entry == NULL)
	{
		in->bt->outcomes[EDW_OUTCOME_DUPLICATE]++;
		return;
	}
	c.position = EdwCopyPosition(in->batch, in->position);
	entry->live = c;
	entry->last = &entry->live;
}

static void
add_upsert(EdwIncoming *in)
{
	const EdwChange *change = in->change;
	const EdwMappingDef *def = in->bt->target->def;
	EdwFoldChange c;
	EdwEntry   *entry;
	const char *column;
	const char *reason;
	bool		wanted;

	if (def->apply == EDW_APPLY_APPEND)
	{
		add_append(in);
		return;
	}
	column = EdwMakeKey(in, change->values, change->nulls, change->presence, &reason);
	if (column != NULL)
	{
		reject_key(in, column, reason);
		return;
	}
	wanted = EdwIsWanted(in);
	if (!wanted && def->on_delete == EDW_DELETE_IGNORE)
	{
		in->bt->outcomes[EDW_OUTCOME_FILTERED]++;
		return;
	}
	entry = EdwFindEntry(in->batch, in->bt);
	note_partition(in, entry);
	start_change(in, &c, wanted ? 'u' : 'd');
	c.filtered = !wanted;
	if (wanted)
		EdwMakeRow(in, &c);
	else
		EdwMakeKeyRow(in, &c);
	if (change->has_old)
		leave_old_key(in, entry, &c);
	note_transaction(in, &c);
	EdwFold(in->batch, in->bt, entry, &c);
}

/* A truncate makes nothing void in a table of versions: it ends those that are open. */
static void
add_version_end(EdwIncoming *in)
{
	EdwTruncate *truncate = EdwBatchAlloc(in->batch, sizeof(EdwTruncate));
	EdwTruncate **end = &in->bt->truncated_at;

	truncate->next = NULL;
	truncate->position = in->bt->barrier;
	truncate->at = version_time(in);
	while (*end != NULL)
		end = &(*end)->next;
	*end = truncate;
}

/* P4. What is older is void at once: what is in the batch here, what is stored in apply.c. */
static void
add_truncate(EdwIncoming *in)
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
	bt->barrier = EdwCopyPosition(in->batch, in->position);
	if (bt->target->versioned)
	{
		add_version_end(in);
		return;
	}
	bt->truncated = true;
	if (bt->target->deleted_attnum != 0)
	{
		EdwShowRow(bt->route, in->change->values, in->change->nulls);
		EdwMakeAuditRow(in, &bt->truncate_row);
	}

	/* what has no position arrived before the truncate did, and goes as well */
	EdwBatchPurge(bt, EDW_OUTCOME_FOLDED, true);
}

static void
add_to_target(EdwIncoming *in, bool pairs_with_delete)
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
	EdwShowRow(bt->route, in->change->values, in->change->nulls);
	if (in->change->op == EDW_OP_DELETE || in->change->op == EDW_OP_TOMBSTONE)
		add_delete(in, pairs_with_delete);
	else
		add_upsert(in);
}

void
EdwBatchAdd(EdwBatch *batch, EdwRoute *route, int message, int32 partition,
			const EdwChange *change, const EdwFullPosition *position,
			int32 epoch, bool pairs_with_delete)
{
	EdwIncoming in = {0};

	in.batch = batch;
	in.change = change;
	in.position.bytes = position->bytes;
	in.position.len = position->len;
	in.epoch = epoch;
	in.message = message;
	in.partition = partition;
	for (int i = 0; i < route->ntargets; i++)
	{
		EdwTarget  *target = route->targets[i];

		in.bt = likely(target->batch_serial == batch->serial) ? target->in_batch
			: make_batch_target(batch, route, target);
		add_to_target(&in, pairs_with_delete);
	}
}
