/*
 * delta_group.c
 *		The arithmetic of one group (see delta_group.h).
 *
 * What is computed here must be what PostgreSQL's aggregates return, digit for digit. Where
 * that does not follow from the old value and the change, the outcome is UNKNOWN:
 * - NaN or an infinity left a sum;
 * - what left a sum had as many digits after the point as the sum has, which may have fewer now;
 * - what left was equal to the extreme or beyond it, and nothing beyond that came.
 *
 * "Came" and "left" may both hold rows that never were, in equal number: a row that the transaction
 * changed twice, or a new row of one table joined to an old one of the other. Sums do not mind.
 * Of an extreme that came it is only sure to be there if all that left is short of it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "view/delta_group.h"
#include "view/delta_query.h"

struct EdwDeltaArithmetic
{
	const EdwDelta *delta;
	FmgrInfo   *compare;		/* by item */
	EState	   *estate;
	TupleTableSlot *inputs;		/* groups and results */
	List	   *outputs;		/* ExprState */
};

static TupleDesc
inputs_shape(const EdwDelta *delta)
{
	TupleDesc	desc = CreateTemplateTupleDesc(delta->ngroups + delta->nresults);

	for (int g = 0; g < delta->ngroups; g++)
		TupleDescInitEntry(desc, EDW_DELTA_GROUP_ATT(g), NULL, delta->groups[g].type,
						   delta->groups[g].typmod, 0);
	for (int r = 0; r < delta->nresults; r++)
		TupleDescInitEntry(desc, EDW_DELTA_RESULT_ATT(delta, r), NULL, delta->results[r].type, -1, 0);
	return desc;
}

EdwDeltaArithmetic *
EdwDeltaArithmeticCreate(const EdwDelta *delta)
{
	EdwDeltaArithmetic *arithmetic = palloc0(sizeof(EdwDeltaArithmetic));
	MemoryContext old;

	arithmetic->delta = delta;
	arithmetic->compare = palloc0_array(FmgrInfo, delta->nitems);
	for (int i = 0; i < delta->nitems; i++)
		if (delta->items[i].kind == EDW_ITEM_EXTREME)
			fmgr_info(delta->items[i].compare, &arithmetic->compare[i]);
	arithmetic->estate = CreateExecutorState();
	old = MemoryContextSwitchTo(arithmetic->estate->es_query_cxt);
	arithmetic->inputs = MakeSingleTupleTableSlot(inputs_shape(delta), &TTSOpsVirtual);
	GetPerTupleExprContext(arithmetic->estate)->ecxt_scantuple = arithmetic->inputs;
	arithmetic->outputs = ExecPrepareExprList(delta->outputs, arithmetic->estate);
	MemoryContextSwitchTo(old);
	return arithmetic;
}

void
EdwDeltaArithmeticFree(EdwDeltaArithmetic *arithmetic)
{
	ExecDropSingleTupleTableSlot(arithmetic->inputs);
	FreeExecutorState(arithmetic->estate);
}

/*
 * Items
 */

static Datum
numeric_of(int64 value)
{
	return NumericGetDatum(int64_to_numeric(value));
}

/* What sum() returned, which is int8 for small inputs and null for none. */
static Datum
sum_of(const EdwDeltaItem *item, Datum value, bool isnull)
{
	if (isnull)
		return numeric_of(0);
	return item->aggref->aggtype == INT8OID ? numeric_of(DatumGetInt64(value)) : value;
}

void
EdwDeltaNothing(const EdwDelta *delta, NullableDatum *items)
{
	for (int i = 0; i < delta->nitems; i++)
	{
		EdwDeltaItemKind kind = delta->items[i].kind;

		items[i].isnull = kind == EDW_ITEM_EXTREME;
		items[i].value = kind == EDW_ITEM_SUM ? numeric_of(0) : Int64GetDatum(0);
	}
}

void
EdwDeltaShown(const EdwDelta *delta, TupleTableSlot *stored, NullableDatum *items)
{
	for (int i = 0; i < delta->nitems; i++)
	{
		const EdwDeltaItem *item = &delta->items[i];

		if (item->column == 0)
			continue;
		items[i].value = slot_getattr(stored, item->column, &items[i].isnull);
		if (item->kind != EDW_ITEM_SUM)
			continue;
		items[i].value = sum_of(item, items[i].value, items[i].isnull);
		items[i].isnull = false;
	}
}

static bool
is_special(Datum number)
{
	return numeric_is_nan(DatumGetNumeric(number)) || numeric_is_inf(DatumGetNumeric(number));
}

static int
scale_of(Datum number)
{
	return DatumGetInt32(DirectFunctionCall1(numeric_scale, number));
}

/* Does the sum show the same number of digits without what left? */
static bool
scale_stays(Datum before, Datum came, Datum left)
{
	int			scale = scale_of(left);

	return scale == 0 || is_special(before) || is_special(came) ||
		scale < scale_of(before) || scale < scale_of(came);
}

static EdwDeltaOutcome
add_to_sum(const EdwDeltaItem *item, Datum before, Datum came, Datum left, int64 count, Datum *after)
{
	if (count == 0)
	{
		*after = numeric_of(0);
		return EDW_DELTA_KNOWN;
	}
	if (is_special(left) || (!item->fixed_scale && !scale_stays(before, came, left)))
		return EDW_DELTA_UNKNOWN;
	*after = DirectFunctionCall2(numeric_sub, DirectFunctionCall2(numeric_add, before, came), left);
	return EDW_DELTA_KNOWN;
}

/* Is a further out than b? Null is nowhere. */
static bool
beyond(EdwDeltaArithmetic *arithmetic, int i, NullableDatum a, NullableDatum b)
{
	const EdwDeltaItem *item = &arithmetic->delta->items[i];
	int32		order;

	if (a.isnull || b.isnull)
		return !a.isnull;
	order = DatumGetInt32(FunctionCall2Coll(&arithmetic->compare[i], item->aggref->inputcollid,
											a.value, b.value));
	return item->is_max ? order > 0 : order < 0;
}

static bool
is_same(const EdwDeltaItem *item, NullableDatum a, NullableDatum b)
{
	int16		len;
	bool		byval;

	get_typlenbyval(item->aggref->aggtype, &len, &byval);
	return datum_image_eq(a.value, b.value, byval, len);
}

static EdwDeltaOutcome
add_to_extreme(EdwDeltaArithmetic *arithmetic, int i, NullableDatum before, NullableDatum came,
			   NullableDatum left, NullableDatum *after)
{
	bool		farther = beyond(arithmetic, i, came, before);

	*after = farther ? came : before;
	if (!left.isnull && !beyond(arithmetic, i, *after, left))
		return EDW_DELTA_UNKNOWN;
	/* of two that are equal but look different, either may be what the aggregate returns */
	if (!came.isnull && !farther && !beyond(arithmetic, i, before, came) &&
		!is_same(&arithmetic->delta->items[i], before, came))
		return EDW_DELTA_UNKNOWN;
	return EDW_DELTA_KNOWN;
}

static NullableDatum
attribute(TupleTableSlot *slot, int column)
{
	NullableDatum result;

	result.value = slot->tts_values[column];
	result.isnull = slot->tts_isnull[column];
	return result;
}

EdwDeltaOutcome
EdwDeltaAfter(EdwDeltaArithmetic *arithmetic, const NullableDatum *before, TupleTableSlot *change,
			  NullableDatum *after)
{
	const EdwDelta *delta = arithmetic->delta;
	EdwDeltaOutcome outcome = EDW_DELTA_KNOWN;

	/* counts first: sums want them */
	for (int i = 0; i < delta->nitems; i++)
	{
		NullableDatum came = attribute(change, EDW_DELTA_CAME(delta, i));
		NullableDatum left = attribute(change, EDW_DELTA_LEFT(delta, i));
		int64		count;

		if (delta->items[i].kind != EDW_ITEM_COUNT)
			continue;
		count = DatumGetInt64(before[i].value) + (came.isnull ? 0 : DatumGetInt64(came.value)) -
			(left.isnull ? 0 : DatumGetInt64(left.value));
		if (before[i].isnull || count < 0)
			return EDW_DELTA_IMPOSSIBLE;
		after[i].value = Int64GetDatum(count);
		after[i].isnull = false;
	}
	for (int i = 0; i < delta->nitems && outcome == EDW_DELTA_KNOWN; i++)
	{
		const EdwDeltaItem *item = &delta->items[i];
		NullableDatum came = attribute(change, EDW_DELTA_CAME(delta, i));
		NullableDatum left = attribute(change, EDW_DELTA_LEFT(delta, i));

		if (item->kind == EDW_ITEM_SUM)
		{
			after[i].isnull = false;
			outcome = add_to_sum(item, before[i].value, sum_of(item, came.value, came.isnull),
								 sum_of(item, left.value, left.isnull),
								 DatumGetInt64(after[item->count].value), &after[i].value);
		}
		else if (item->kind == EDW_ITEM_EXTREME)
			outcome = add_to_extreme(arithmetic, i, before[i], came, left, &after[i]);
	}
	return outcome;
}

/*
 * The view's row
 */

static NullableDatum
result_of(const EdwDelta *delta, const EdwDeltaResult *result, const NullableDatum *items)
{
	const EdwDeltaItem *item = &delta->items[result->item];
	NullableDatum value = items[result->item];
	int64		count;

	if (item->kind != EDW_ITEM_SUM)
		return value;
	count = DatumGetInt64(items[item->count].value);
	if (count == 0)
		value.isnull = true;
	else if (result->kind == EDW_RESULT_AVG)
		value.value = DirectFunctionCall2(numeric_div, value.value, numeric_of(count));
	else if (result->type == INT8OID)
		value.value = DirectFunctionCall1(numeric_int8, value.value);
	return value;
}

void
EdwDeltaRow(EdwDeltaArithmetic *arithmetic, const NullableDatum *groups, const NullableDatum *items,
			TupleTableSlot *row)
{
	const EdwDelta *delta = arithmetic->delta;
	ExprContext *econtext = GetPerTupleExprContext(arithmetic->estate);
	TupleTableSlot *inputs = arithmetic->inputs;
	ListCell   *lc;

	ResetExprContext(econtext);
	ExecClearTuple(inputs);
	for (int g = 0; g < delta->ngroups; g++)
	{
		inputs->tts_values[g] = groups[g].value;
		inputs->tts_isnull[g] = groups[g].isnull;
	}
	for (int r = 0; r < delta->nresults; r++)
	{
		NullableDatum value = result_of(delta, &delta->results[r], items);

		inputs->tts_values[delta->ngroups + r] = value.value;
		inputs->tts_isnull[delta->ngroups + r] = value.isnull;
	}
	ExecStoreVirtualTuple(inputs);

	ExecClearTuple(row);
	foreach(lc, arithmetic->outputs)
	{
		int			column = foreach_current_index(lc);

		row->tts_values[column] = ExecEvalExpr(lfirst(lc), econtext, &row->tts_isnull[column]);
	}
	ExecStoreVirtualTuple(row);
}
