/*
 * evaluate.c
 *		A change as a mapping sees it: the target's columns, its key, its filter.
 *
 * The expressions were made ready by expression.c and run here, over the change's values in
 * the route's slot. What they yield is copied into the batch's memory; what they use meanwhile
 * is the route's per-tuple memory, reset by each EdwShowRow. Absent and unavailable
 * inputs make an expression's result absent or unavailable, too (P5, P6).
 */
#include "postgres.h"

#include "apply/evaluate.h"
#include "apply/lookup.h"
#include "apply/version_time.h"
#include "executor/executor.h"
#include "utils/datum.h"

/* Evaluate over the change that is in the route's slot; the result is the batch's. */
static Datum
evaluate(EdwIncoming *in, ExprState *expression, bool typbyval, int16 typlen, bool *isnull)
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
void
EdwShowRow(EdwRoute *route, Datum *values, bool *nulls)
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

/* When it happened at the source, else when Kafka took it. */
static Datum
source_time(const EdwIncoming *in, const EdwTargetColumn *column)
{
	int64		unix_us = in->change->source_ts_us ? in->change->source_ts_us : in->change->kafka_ts_us;

	return EdwVersionTimeDatum(column->type, EdwVersionTime(column->type, unix_us));
}

static EdwPresence
column_value(EdwIncoming *in, const EdwTargetColumn *column, Datum *values, bool *nulls,
			 const uint8 *presence, Datum *value, bool *isnull)
{
	if (column->input >= 0)
	{
		*value = values[column->input];
		*isnull = nulls[column->input];
		return presence[column->input];
	}
	if (column->text == NULL)
	{
		*isnull = !column->source_time;
		*value = column->source_time ? source_time(in, column) : (Datum) 0;
		return EDW_PRESENT;
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

/* A row with nothing but audit columns, from the row that is shown. */
void
EdwMakeAuditRow(EdwIncoming *in, EdwFoldChange *c)
{
	const EdwTarget *target = in->bt->target;
	const EdwChange *change = in->change;

	EdwAllocRow(in->batch, c, target->ncolumns);
	for (int i = 0; i < target->ncolumns; i++)
		if (target->columns[i].audit)
			c->presence[i] = column_value(in, &target->columns[i], change->values, change->nulls,
										  change->presence, &c->values[i], &c->nulls[i]);
}

/* A 'd' change's row: the key that EdwMakeKey just found, and what a soft delete tells of itself. */
void
EdwMakeKeyRow(EdwIncoming *in, EdwFoldChange *c)
{
	const EdwTarget *target = in->bt->target;

	if (target->deleted_attnum != 0)
		EdwMakeAuditRow(in, c);
	else
		EdwAllocRow(in->batch, c, target->ncolumns);
	for (int k = 0; k < target->nkeys; k++)
	{
		c->values[target->keys[k]] = in->bt->key_values[k];
		c->nulls[target->keys[k]] = false;
		c->presence[target->keys[k]] = EDW_PRESENT;
	}
}

/* A 'u' change's values, in the target's columns. */
void
EdwMakeRow(EdwIncoming *in, EdwFoldChange *c)
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
	if (target->nlookups > 0)
		missing |= EdwLookupsNotePresence(target, c);
	c->complete = missing == EDW_PRESENT;
}

/* Does the mapping's filter want this row? What it cannot see counts as wanted. */
bool
EdwIsWanted(EdwIncoming *in)
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
const char *
EdwMakeKey(EdwIncoming *in, Datum *values, bool *nulls, const uint8 *presence, const char **reason)
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
