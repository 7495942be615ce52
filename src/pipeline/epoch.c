/*
 * epoch.c
 *		The number in front of every position: how often the source started over (O4).
 *
 * Kafka delivers some stretches twice (the connector restarts, a producer
 * retries, somebody seeks). Such a stretch must not look like a new start. What tells them
 * apart is the source's own clock: a new snapshot is younger than all that was seen, a
 * redelivered snapshot row is not. So:
 *
 *	snapshot row after streaming, younger than all seen		new epoch
 *	snapshot row after streaming, not younger				redelivered: stays, and loses (O5)
 *	no last commit after some had one, younger than all seen	new epoch: it is of the first transaction after
 *															a snapshot that put no row into this partition
 *	another identity, not over a minute older				new epoch
 *	another identity, over a minute older					redelivered: counts as the epoch before
 *	smaller position, over a minute younger than all seen	jumped back: stall
 *	smaller position otherwise								redelivered: stays, and loses
 *
 * That is for messages that the topic holds twice. One that is read again, after a seek(), is known
 * by its offset, and so is its epoch.
 */
#include "postgres.h"

#include "pipeline/epoch.h"

/* Is the order of this position the source's own log, which never runs backwards? */
static bool
is_log_position(const EdwPosition *position)
{
	int			kind = position->len >= 2 ? position->bytes[1] : EDW_POSITION_NONE;

	return kind >= EDW_POSITION_POSTGRESQL && kind <= EDW_POSITION_MONGODB;
}

static bool
is_streamed(const EdwChange *change)
{
	return change->snapshot == EDW_NOT_SNAPSHOT && change->position.len > 0 &&
		change->op != EDW_OP_TOMBSTONE;
}

static int
compare_positions(const EdwPosition *a, const EdwPosition *b)
{
	return EdwPositionCompare(a->bytes, a->len, b->bytes, b->len);
}

static bool
jumped_back(const EdwEpochState *state, const EdwChange *change)
{
	return is_streamed(change) && is_log_position(&change->position) &&
		state->max_position.len > 0 &&
		compare_positions(&change->position, &state->max_position) < 0 &&
		change->source_ts_us > state->max_source_ts + EDW_EPOCH_SLACK_US &&
		state->max_source_ts > 0;
}

static bool
is_new_snapshot(const EdwEpochState *state, const EdwChange *change)
{
	return change->snapshot == EDW_SNAPSHOT && state->streaming &&
		(change->source_ts_us == 0 || change->source_ts_us > state->max_source_ts);
}

/* PostgreSQL's first transaction after a snapshot follows no commit that the connector knows. */
static bool
follows_unseen_snapshot(const EdwEpochState *state, const EdwChange *change)
{
	return is_streamed(change) && state->max_position.len > 0 &&
		EdwPositionLacksCommit(&change->position) &&
		!EdwPositionLacksCommit(&state->max_position) &&
		change->source_ts_us > state->max_source_ts;
}

static bool
identity_differs(const EdwEpochState *state, const EdwChange *change)
{
	return change->identity != 0 && state->identity != 0 &&
		change->identity != state->identity;
}

/* Is it so old that it can only be a redelivered one? */
static bool
is_long_past(const EdwEpochState *state, const EdwChange *change)
{
	return change->source_ts_us != 0 &&
		change->source_ts_us < state->max_source_ts - EDW_EPOCH_SLACK_US;
}

void
EdwEpochSetPosition(EdwFullPosition *full, const EdwPosition *position, int32 epoch)
{
	full->len = 0;
	if (position->len == 0)
		return;
	full->bytes[0] = (uint8) ((uint32) epoch >> 24);
	full->bytes[1] = (uint8) ((uint32) epoch >> 16);
	full->bytes[2] = (uint8) ((uint32) epoch >> 8);
	full->bytes[3] = (uint8) epoch;
	memcpy(full->bytes + EDW_EPOCH_BYTES, position->bytes, position->len);
	full->len = EDW_EPOCH_BYTES + position->len;
}

/* Remember what a change of the present epoch tells. */
static void
note_change(EdwEpochState *state, const EdwChange *change)
{
	if (change->identity != 0)
		state->identity = change->identity;
	state->max_source_ts = Max(state->max_source_ts, change->source_ts_us);
	if (!is_streamed(change))
		return;
	state->streaming = true;
	if (compare_positions(&change->position, &state->max_position) > 0)
	{
		state->max_position.len = change->position.len;
		memcpy(state->max_position.bytes, change->position.bytes, change->position.len);
	}
}

EdwEpochVerdict
EdwEpochAdvance(EdwEpochState *state, const EdwChange *change,
				int32 *epoch, EdwFullPosition *position)
{
	bool		rises = is_new_snapshot(state, change) || follows_unseen_snapshot(state, change);
	EdwEpochVerdict verdict = EDW_EPOCH_SAME;

	if (identity_differs(state, change))
	{
		if (is_long_past(state, change))
		{
			*epoch = Max(state->epoch - 1, 0);
			EdwEpochSetPosition(position, &change->position, *epoch);
			return EDW_EPOCH_SAME;
		}
		rises = true;
	}

	if (rises)
	{
		if (state->epoch == PG_INT32_MAX)
			return EDW_EPOCH_EXHAUSTED;
		state->epoch++;
		state->streaming = false;
		state->max_position.len = 0;
		verdict = EDW_EPOCH_ROSE;
	}
	else if (jumped_back(state, change))
		return EDW_EPOCH_JUMPED_BACK;

	note_change(state, change);
	*epoch = state->epoch;
	EdwEpochSetPosition(position, &change->position, *epoch);
	return verdict;
}

static void
set_start(struct EdwEpochStart *start, const EdwEpochState *state, int64 offset)
{
	start->epoch = state->epoch;
	start->identity = state->identity;
	start->offset = offset;
}

void
EdwEpochStartsAdd(EdwEpochStarts *starts, const EdwEpochState *before,
				  const EdwEpochState *after, int64 offset)
{
	if (starts->n == 0)
		set_start(&starts->starts[starts->n++], before, 0);
	else if (starts->n == EDW_EPOCH_STARTS)
	{
		starts->n--;
		memmove(&starts->starts[0], &starts->starts[1],
				sizeof(starts->starts[0]) * starts->n);
	}
	set_start(&starts->starts[starts->n++], after, offset);
}

/*
 * The latest start counts: after a seek() and a bump_epoch() an epoch may begin
 * before the one before it.
 */
int32
EdwEpochStartsFind(const EdwEpochStarts *starts, const EdwEpochState *present,
				   const EdwChange *change, int64 offset)
{
	int32		epoch = present->epoch;
	uint64		identity = present->identity;

	if (starts->n > 0)
	{
		epoch = Max(starts->starts[0].epoch - 1, 0);
		identity = 0;
	}
	for (int i = starts->n - 1; i >= 0; i--)
		if (starts->starts[i].offset <= offset)
		{
			epoch = starts->starts[i].epoch;
			identity = starts->starts[i].identity;
			break;
		}
	if (identity != 0 && change->identity != 0 && identity != change->identity)
		epoch = Max(epoch - 1, 0);
	return epoch;
}
