/*
 * guard.c
 *		edw_stream.merge_guard(row, stored): rule O1, inside the MERGE.
 *
 * stored is the row's _edw_seq, NULL for a row that no event ever wrote, and empty when
 * there is no row. The answer is noted as the entry's outcome. PostgreSQL may ask twice for
 * one row, when somebody else changed it meanwhile: the last answer counts.
 *
 * State: one pointer to the apply that is going on, set around the MERGE and restored when it
 * ends, by an error too. No locks, no memory.
 */
#include "postgres.h"

#include "apply/guard.h"
#include "fmgr.h"

static EdwGuard *current_guard = NULL;

void
EdwGuardEnter(EdwGuard *guard)
{
	guard->outer = current_guard;
	current_guard = guard;
}

void
EdwGuardLeave(EdwGuard *guard)
{
	current_guard = guard->outer;
}

static bool
decide(EdwEntry *entry, EdwOutcome outcome, bool act)
{
	entry->final->outcome = outcome;
	return act;
}

/* Replayed against what was stored: it must still be so. */
static bool
verify(EdwEntry *entry, bool matched, EdwPositionBytes stored)
{
	entry->met_row = matched;
	if (matched == entry->expect_row &&
		(!matched || EdwPositionOrder(stored, entry->expect) == 0))
		return true;
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("a row changed while events for it were being applied")));
}

/* Does the change leave out a value that it takes to be stored (P5)? */
static bool
lacks_value(const EdwFoldChange *c)
{
	return !c->complete && memchr(c->presence, EDW_UNAVAILABLE, current_guard->ncolumns) != NULL;
}

static bool
guard_stored(EdwEntry *entry, EdwPositionBytes stored)
{
	EdwFoldChange *c = entry->final;
	int			order = stored.len == 0 ? 1 : EdwPositionOrder(c->position, stored);

	entry->met_row = true;
	if (order == 0)
		return decide(entry, EDW_OUTCOME_DUPLICATE, false);
	if (order < 0)
		return decide(entry, EDW_OUTCOME_STALE, false);
	if (stored.len == 0 && current_guard->made_up && c->op == 'u' && lacks_value(c))
		return decide(entry, EDW_OUTCOME_REJECTED, false);
	return decide(entry, c->op == 'u' ? EDW_OUTCOME_UPDATED : EDW_OUTCOME_DELETED, true);
}

static bool
guard_missing(EdwEntry *entry)
{
	EdwFoldChange *c = entry->final;
	EdwPositionBytes dead = EdwTombstoneFind(current_guard->tombstones,
											 entry->key, entry->key_len);

	entry->met_row = false;
	if (dead.len > 0)
	{
		int			order = EdwPositionOrder(c->position, dead);

		if (order <= 0)
			return decide(entry, order == 0 ? EDW_OUTCOME_DUPLICATE : EDW_OUTCOME_STALE, false);
	}
	if (lacks_value(c))
		return decide(entry, EDW_OUTCOME_REJECTED, false);
	return decide(entry, EDW_OUTCOME_INSERTED, true);
}

PG_FUNCTION_INFO_V1(edw_stream_merge_guard);
Datum
edw_stream_merge_guard(PG_FUNCTION_ARGS)
{
	EdwEntry   *entry;
	EdwPositionBytes stored = {NULL, 0};
	bool		matched = true;
	int32		row;

	if (current_guard == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("edw_stream.merge_guard is only for the statements that edw_stream runs")));
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	row = PG_GETARG_INT32(0);
	if (row < 0 || row >= current_guard->nrows)
		elog(ERROR, "row %d is not in the batch", row);
	entry = current_guard->rows[row];
	if (!PG_ARGISNULL(1))
	{
		struct varlena *bytes = PG_GETARG_VARLENA_PP(1);

		stored.bytes = (const uint8 *) VARDATA_ANY(bytes);
		stored.len = VARSIZE_ANY_EXHDR(bytes);
		matched = stored.len > 0;
	}
	if (entry->replay)
		PG_RETURN_BOOL(verify(entry, matched, stored));
	PG_RETURN_BOOL(matched ? guard_stored(entry, stored)
				   : guard_missing(entry));
}
