/*
 * resolve.c
 *		Replaying the changes of a key against what is stored.
 *
 * What these entries have in common is that folding alone cannot tell the result:
 *	- a change without a position, which takes effect in Kafka's order (O5, O9);
 *	- changes of which a newer one lacks columns that an older one gives: the older
 *	  one counts only if it is newer than the stored row (P5, P6);
 *	- keys that move within one source transaction, where a delete may concern the row
 *	  that was displaced, not the one that arrived (P3);
 *	- a group's columns of a row (option group), which may be there without them: then
 *	  their tombstone tells. A delete sets them to null, and the row stays.
 * So their rows' positions are read by one query, and then each change does to a picture
 * of the row exactly what it would have done alone. The result is one row for MERGE,
 * whose guard verifies that the stored row still is what was read here.
 */
#include "postgres.h"

#include "apply/resolve.h"
#include "apply/rows.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"

/* in a PostgreSQL position, after the epoch: phase, kind, and the last commit's lsn */
#define POSTGRESQL_TRANSACTION_BYTES	(EDW_EPOCH_BYTES + 2 + 8)

/* the row as the changes make it */
typedef struct Picture
{
	bool		exists;
	bool		replaced;		/* what was stored is gone, columns and all */
	bool		dirty;			/* MERGE has something to do */
	bool		beside;			/* of a group: position is the tombstone's, and no row shows it */
	EdwPositionBytes position;	/* of the row, or of its tombstone; len 0: none */
	const char *txid;			/* of the change that wrote position, NULL unknown */
	uint64		identity;
	EdwFoldChange *acted;		/* the last change that did something */
	EdwFoldChange row;			/* values, nulls, presence */
} Picture;

typedef struct Replay
{
	EdwBatch   *batch;
	EdwBatchTarget *bt;
	EdwEntry   *entry;
	Picture		now;
} Replay;

/*
 * Reading what is stored
 */

static void
note_stored(EdwBatch *batch, EdwEntry **waiting, uint64 n)
{
	for (uint64 i = 0; i < n; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;
		EdwEntry   *entry = waiting[DatumGetInt32(SPI_getbinval(tuple, desc, 1, &isnull))];
		Datum		seq;

		/* the third column is there if deletes are soft */
		entry->expect_deleted = desc->natts > 2 &&
			DatumGetBool(SPI_getbinval(tuple, desc, 3, &isnull)) && !isnull;
		seq = SPI_getbinval(tuple, desc, 2, &isnull);
		entry->expect_row = true;
		if (!isnull)
		{
			struct varlena *bytes = PG_DETOAST_DATUM_PACKED(seq);

			entry->expect.len = VARSIZE_ANY_EXHDR(bytes);
			entry->expect.bytes = memcpy(EdwBatchAlloc(batch, entry->expect.len),
										 VARDATA_ANY(bytes), entry->expect.len);
		}
	}
}

static void
read_stored(EdwBatch *batch, EdwBatchTarget *bt, EdwEntry **waiting, int n)
{
	EdwShape   *shape = EdwShapeMake(bt->target);
	EdwFoldChange **changes = EdwBatchAlloc(batch, n * sizeof(EdwFoldChange *));
	EdwRows		rows;
	Oid		   *types;
	Datum	   *values;

	for (int i = 0; i < bt->target->ncolumns; i++)
		shape->written[i] = bt->target->columns[i].is_key;
	for (int i = 0; i < n; i++)
		changes[i] = &waiting[i]->live;
	EdwRowsBounds(bt->target, changes, n, &types, &values);
	SPI_connect();
	EdwRowsBegin(&rows, shape, changes, n);
	EdwFeedExecute(&rows.feed, EdwStoredSql(bt->target), 2 * bt->target->nbounds, types, values);
	note_stored(batch, waiting, SPI_processed);
	SPI_finish();
}

/*
 * Replaying
 */

static bool
same_transaction(const Picture *now, const EdwFoldChange *c)
{
	if (now->txid && c->txid && now->txid[0] != '\0')
		return now->identity == c->identity && strcmp(now->txid, c->txid) == 0;

	/* written by an earlier batch: only PostgreSQL's positions tell */
	return now->position.len > POSTGRESQL_TRANSACTION_BYTES &&
		c->position.len > POSTGRESQL_TRANSACTION_BYTES &&
		c->position.bytes[EDW_EPOCH_BYTES + 1] == EDW_POSITION_POSTGRESQL &&
		memcmp(now->position.bytes, c->position.bytes, POSTGRESQL_TRANSACTION_BYTES) == 0;
}

/* how many rows of this key the row has displaced, within c's transaction */
static int
displaced(const Picture *now, const EdwFoldChange *c)
{
	int			half;

	if (now->position.len == 0 || !same_transaction(now, c))
		return 0;
	half = now->position.bytes[now->position.len - 1];
	return half > 1 ? half - 1 : 0;
}

static void
take_position(Replay *replay, const EdwFoldChange *c, int half)
{
	Picture    *now = &replay->now;
	EdwPositionBytes position = c->position;

	if (position.len == 0)
		return;
	if (half >= 0 && position.bytes[position.len - 1] != half)
	{
		uint8	   *copy = EdwBatchAlloc(replay->batch, position.len);

		memcpy(copy, position.bytes, position.len);
		copy[position.len - 1] = half;
		position.bytes = copy;
	}
	now->position = position;
	now->txid = c->txid;
	now->identity = c->identity;
}

/* What deletes a group's columns has their position; so what comes back without one goes just above it. */
static void
step_after(Replay *replay)
{
	EdwPositionBytes position = replay->now.position;
	uint8	   *copy = EdwBatchAlloc(replay->batch, position.len);

	memcpy(copy, position.bytes, position.len);
	copy[position.len - 1]++;
	replay->now.position.bytes = copy;
}

/*
 * A lone tombstone deletes in Kafka's order whatever is there (O9). When the very change that it
 * deleted comes again after it, Kafka says that the row is back: only what is older than
 * that change stays out.
 */
static void
step_before(Replay *replay)
{
	EdwPositionBytes position = replay->now.position;
	uint8	   *copy;

	if (position.len == 0)
		return;
	copy = EdwBatchAlloc(replay->batch, position.len);
	memcpy(copy, position.bytes, position.len);
	copy[position.len - 1] = 0;
	replay->now.position.bytes = copy;
}

/* for a row that comes into being without a position: lower than all streamed ones */
static EdwPositionBytes
no_position(EdwBatch *batch, int32 epoch)
{
	uint8	   *bytes = EdwBatchAlloc(batch, EDW_EPOCH_BYTES + 3);

	for (int i = 0; i < EDW_EPOCH_BYTES; i++)
		bytes[i] = (uint32) epoch >> (8 * (EDW_EPOCH_BYTES - 1 - i));
	bytes[EDW_EPOCH_BYTES] = 0;
	bytes[EDW_EPOCH_BYTES + 1] = EDW_POSITION_NONE;
	bytes[EDW_EPOCH_BYTES + 2] = 1;
	return (EdwPositionBytes) {bytes, EDW_EPOCH_BYTES + 3};
}

static void
act(Replay *replay, EdwFoldChange *c)
{
	Picture    *now = &replay->now;

	if (now->acted)
		EdwCountOutcome(replay->bt, now->acted,
						now->acted->filtered ? EDW_OUTCOME_FILTERED : EDW_OUTCOME_FOLDED);
	now->acted = c;
	now->dirty = true;
}

static void
reject_unavailable(Replay *replay, EdwFoldChange *c)
{
	const EdwTarget *target = replay->bt->target;
	int			i = 0;

	while (c->presence[i] != EDW_UNAVAILABLE)
		i++;
	EdwCountOutcome(replay->bt, c, EDW_OUTCOME_REJECTED);
	EdwBatchRejectUnavailable(replay->batch, replay->bt, replay->entry, c->message,
							  target->columns[i].name);
}

static void
replay_upsert(Replay *replay, EdwFoldChange *c)
{
	Picture    *now = &replay->now;
	int			ncolumns = replay->bt->target->ncolumns;
	bool		displaces = c->arrives && now->exists && !now->row.deleted;
	bool		starts = !now->exists || (replay->bt->target->grouped && now->row.deleted);
	int			half;

	/* another row than the stored one takes its place: nothing of that is kept */
	if (starts || displaces)
	{
		if (memchr(c->presence, EDW_UNAVAILABLE, ncolumns) != NULL)
		{
			reject_unavailable(replay, c);
			return;
		}
		for (int i = 0; i < ncolumns; i++)
			if (!replay->bt->target->columns[i].is_key)
				now->row.presence[i] = EDW_ABSENT;
		now->replaced = replay->entry->expect_row;
	}
	for (int i = 0; i < ncolumns; i++)
	{
		if (c->presence[i] != EDW_PRESENT)
			continue;
		now->row.values[i] = c->values[i];
		now->row.nulls[i] = c->nulls[i];
		now->row.presence[i] = EDW_PRESENT;
	}
	half = displaced(now, c) + displaces;
	now->exists = true;
	now->beside = false;
	now->row.deleted = false;
	if (c->position.len > 0)
		take_position(replay, c, half > 0 ? Min(1 + half, 255) : -1);
	else if (now->position.len == 0)
		now->position = no_position(replay->batch, c->epoch);
	else if (starts && replay->bt->target->grouped)
		step_after(replay);
	act(replay, c);
}

/* What a soft delete tells of itself. */
static void
take_audit(Replay *replay, const EdwFoldChange *c)
{
	const EdwTarget *target = replay->bt->target;
	EdwFoldChange *row = &replay->now.row;

	for (int i = 0; target->deleted_attnum != 0 && i < target->ncolumns; i++)
		if (target->columns[i].audit)
		{
			row->values[i] = c->values[i];
			row->nulls[i] = c->nulls[i];
			row->presence[i] = c->presence[i];
		}
}

/* A row shows that its group's columns were deleted. */
static void
empty_group(Replay *replay)
{
	const EdwTarget *target = replay->bt->target;
	Picture    *now = &replay->now;

	now->exists = true;
	now->beside = false;
	now->dirty = true;
	now->row.deleted = true;
	for (int i = 0; i < target->ncolumns; i++)
		if (!target->columns[i].is_key)
		{
			now->row.values[i] = (Datum) 0;
			now->row.nulls[i] = true;
			now->row.presence[i] = EDW_PRESENT;
		}
}

static void
replay_delete(Replay *replay, EdwFoldChange *c)
{
	Picture    *now = &replay->now;
	bool		grouped = replay->bt->target->grouped;
	bool		stays = grouped || replay->bt->target->deleted_attnum != 0;
	bool		live = now->exists && !now->row.deleted;
	int			rows = c->departs && live ? displaced(now, c) : 0;

	if (rows > 0)
	{
		/* it is the displaced row that goes, and it went when it was displaced */
		take_position(replay, c, rows);
		now->dirty = true;
		EdwCountOutcome(replay->bt, c, EDW_OUTCOME_UNCHANGED);
		return;
	}
	take_position(replay, c, -1);
	if (live || c->position.len > 0)
		take_audit(replay, c);
	if (live)
	{
		if (c->position.len == 0)
			step_before(replay);
		now->exists = stays;
		now->row.deleted = stays;
		act(replay, c);
	}
	else
	{
		now->dirty |= now->exists;
		EdwCountOutcome(replay->bt, c, c->filtered ? EDW_OUTCOME_FILTERED : EDW_OUTCOME_UNCHANGED);
	}
	if (!(c->filtered && c->first && !replay->entry->expect_row))
		replay->entry->bury = now->position;
	if (grouped && now->exists)
		empty_group(replay);
}

static void
replay_change(Replay *replay, EdwFoldChange *c)
{
	EdwPositionBytes have = replay->now.position;

	if (c->position.len > 0 && have.len > 0)
	{
		int			order = EdwPositionOrder(c->position, have);

		if (order <= 0)
		{
			EdwCountOutcome(replay->bt, c, order == 0 ? EDW_OUTCOME_DUPLICATE : EDW_OUTCOME_STALE);

			/* in order, it would have made the row, which the delete would have left */
			if (replay->now.beside && c->op == 'u')
				empty_group(replay);
			return;
		}
	}
	if (c->op == 'u')
		replay_upsert(replay, c);
	else
		replay_delete(replay, c);
}

/*
 * An entry's changes in the order of the source: by position; one without comes after all
 * that arrived before it. An insertion sort, as they mostly are in order.
 */
static int
order_changes(EdwBatch *batch, EdwEntry *entry, EdwFoldChange ***ordered)
{
	int			n = 0;
	int			i = 0;
	EdwFoldChange **changes;
	EdwPositionBytes *as_of;
	EdwPositionBytes greatest = {NULL, 0};

	for (EdwFoldChange *c = &entry->live; c != NULL; c = c->next)
		n++;
	changes = EdwBatchAlloc(batch, n * sizeof(EdwFoldChange *));
	as_of = EdwBatchAlloc(batch, n * sizeof(EdwPositionBytes));
	for (EdwFoldChange *c = &entry->live; c != NULL; c = c->next, i++)
	{
		EdwPositionBytes position = c->position.len > 0 ? c->position : greatest;
		int			at = i;

		if (EdwPositionOrder(position, greatest) > 0)
			greatest = position;
		for (; at > 0 && EdwPositionOrder(as_of[at - 1], position) > 0; at--)
		{
			changes[at] = changes[at - 1];
			as_of[at] = as_of[at - 1];
		}
		changes[at] = c;
		as_of[at] = position;
	}
	*ordered = changes;
	return n;
}

/* Columns that the events left out get their default where the stored ones are gone. */
static void
fill_defaults(Replay *replay)
{
	const EdwTarget *target = replay->bt->target;
	EdwFoldChange *row = &replay->now.row;
	MemoryContext old = MemoryContextSwitchTo(replay->batch->context);

	for (int i = 0; i < target->ncolumns; i++)
	{
		const EdwTargetColumn *column = &target->columns[i];

		if (row->presence[i] == EDW_PRESENT || column->always_identity)
			continue;
		row->presence[i] = EDW_PRESENT;
		row->nulls[i] = true;
		row->values[i] = (Datum) 0;
		if (column->dflt_expr)
			row->values[i] = ExecEvalExpr(ExecInitExpr(column->dflt_expr, NULL),
										  replay->bt->route->econtext, &row->nulls[i]);
	}
	MemoryContextSwitchTo(old);
}

static EdwOutcome
final_outcome(const Replay *replay)
{
	bool		had_row = replay->entry->expect_row;

	if (replay->now.exists && !replay->now.row.deleted)
		return had_row ? EDW_OUTCOME_UPDATED : EDW_OUTCOME_INSERTED;
	if (replay->now.acted->filtered)
		return EDW_OUTCOME_FILTERED;
	return had_row || replay->now.exists ? EDW_OUTCOME_DELETED : EDW_OUTCOME_UNCHANGED;
}

static void
finish(Replay *replay)
{
	EdwEntry   *entry = replay->entry;
	Picture    *now = &replay->now;

	if (now->acted)
	{
		/* noted as well: a lookup may put the row aside yet */
		now->row.outcome = final_outcome(replay);
		now->row.message = now->acted->message;
		EdwCountOutcome(replay->bt, now->acted, now->row.outcome);
	}
	if (now->exists && !(replay->bt->target->grouped && now->row.deleted))
		entry->bury.len = 0;
	entry->blind = entry->bury.len > 0 && !entry->expect_row;
	if (!now->dirty || (!now->exists && !entry->expect_row))
		return;
	if (now->exists && now->replaced)
		fill_defaults(replay);
	entry->final = &now->row;
	now->row.op = now->exists ? 'u' : 'd';
	now->row.position = now->position;
	now->row.complete = memchr(now->row.presence, EDW_ABSENT, replay->bt->target->ncolumns) == NULL;
}

/* A delete's row has its key only, in any change of the entry. */
static void
copy_key(const EdwTarget *target, EdwFoldChange *row, const EdwFoldChange *from)
{
	for (int k = 0; k < target->nkeys; k++)
	{
		int			i = target->keys[k];

		row->values[i] = from->values[i];
		row->nulls[i] = false;
		row->presence[i] = EDW_PRESENT;
	}
}

/*
 * What is known of a row that is not there. Of a group also where its row is: it may have written nothing into that, or be
 * deleted, which its tombstone or the last truncate says by having the row's position.
 */
static void
look_for_tombstone(Replay *replay, EdwTombstones *tombstones)
{
	const EdwEntry *entry = replay->entry;
	Picture    *now = &replay->now;
	EdwPositionBytes barrier = replay->bt->barrier;
	EdwPositionBytes dead = EdwTombstoneFind(tombstones, entry->key, entry->key_len);

	if (replay->bt->target->grouped && entry->expect_row)
		now->row.deleted = now->position.len == 0 ||
			(barrier.len > 0 && EdwPositionOrder(barrier, now->position) == 0) ||
			(dead.len > 0 && EdwPositionOrder(dead, now->position) == 0);
	if (dead.len == 0 || now->position.len > 0)
		return;
	now->position = EdwCopyPosition(replay->batch, dead);
	now->beside = replay->bt->target->grouped;
}

static void
replay_entry(EdwBatch *batch, EdwBatchTarget *bt, EdwEntry *entry, EdwTombstones *tombstones)
{
	Replay	   *replay = EdwBatchAlloc(batch, sizeof(Replay));
	int			n = bt->target->ncolumns;
	EdwFoldChange **changes;
	int			nchanges;

	memset(replay, 0, sizeof(Replay));
	replay->batch = batch;
	replay->bt = bt;
	replay->entry = entry;
	EdwAllocRow(batch, &replay->now.row, n);
	copy_key(bt->target, &replay->now.row, &entry->live);
	replay->now.exists = entry->expect_row;
	replay->now.position = entry->expect;
	replay->now.row.deleted = entry->expect_deleted;
	if (!entry->expect_row || bt->target->grouped)
		look_for_tombstone(replay, tombstones);

	nchanges = order_changes(batch, entry, &changes);
	for (int i = 0; i < nchanges; i++)
		replay_change(replay, changes[i]);
	finish(replay);
}

void
EdwResolveEntries(EdwBatch *batch, EdwBatchTarget *bt, EdwTombstones *tombstones)
{
	EdwEntry  **waiting;
	int			n = 0;

	for (int i = 0; i < bt->nentries; i++)
		n += bt->entries[i]->replay;
	if (n == 0)
		return;
	waiting = EdwBatchAlloc(batch, n * sizeof(EdwEntry *));
	n = 0;
	for (int i = 0; i < bt->nentries; i++)
		if (bt->entries[i]->replay)
			waiting[n++] = bt->entries[i];
	read_stored(batch, bt, waiting, n);
	for (int i = 0; i < n; i++)
		replay_entry(batch, bt, waiting[i], tombstones);
}

void
EdwFindStale(EdwBatch *batch, EdwBatchTarget *bt, EdwTombstones *tombstones, EdwEntry **entries,
			 int n, bool *stale)
{
	read_stored(batch, bt, entries, n);
	for (int i = 0; i < n; i++)
	{
		EdwEntry   *entry = entries[i];
		EdwPositionBytes have = entry->expect_row ? entry->expect
			: EdwTombstoneFind(tombstones, entry->key, entry->key_len);

		stale[i] = have.len > 0 && EdwPositionOrder(entry->live.position, have) <= 0;
	}
}
