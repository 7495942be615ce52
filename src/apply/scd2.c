/*
 * scd2.c
 *		A batch into a table of versions: the timelines of its keys (see scd2.h).
 *
 * For the whole batch the versions of its keys are read by one query, and what is remembered besides by another; each
 * key's timeline is made anew (timeline.c); what differs is written by one statement of a
 * kind. Rows are found again by their ctid, so that a row that somebody changed meanwhile
 * is noticed. Runs in the caller's transaction, as the current user.
 *
 * With several workers the mapping's lock is exclusive (apply.c): a key has one writer at a
 * time, since a version is not only its own row's business.
 */
#include "postgres.h"

#include "apply/apply.h"
#include "apply/repoint.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "utils/date.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/pg_locale.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

/* in a PostgreSQL position, after the epoch: phase, kind, and the last commit's lsn */
#define POSTGRESQL_TRANSACTION_BYTES	(EDW_EPOCH_BYTES + 2 + 8)

/*
 * Values
 */

/* how two values of each column are compared */
typedef struct Comparison
{
	const EdwTarget *target;
	FmgrInfo  **equal;			/* per column, NULL: byte by byte */
} Comparison;

static Comparison *
make_comparison(EdwBatch *batch, const EdwTarget *target)
{
	Comparison *comparison = EdwBatchAlloc(batch, sizeof(Comparison));

	comparison->target = target;
	comparison->equal = EdwBatchAlloc(batch, Max(target->ncolumns, 1) * sizeof(FmgrInfo *));
	for (int i = 0; i < target->ncolumns; i++)
	{
		const EdwTargetColumn *column = &target->columns[i];
		TypeCacheEntry *entry = lookup_type_cache(column->type, TYPECACHE_EQ_OPR_FINFO);
		bool		comparable = OidIsValid(entry->eq_opr_finfo.fn_oid);

		/* equal under such a collation is not the same */
		if (OidIsValid(column->collation) && !get_collation_isdeterministic(column->collation))
			comparable = false;
		comparison->equal[i] = comparable ? &entry->eq_opr_finfo : NULL;
	}
	return comparison;
}

static bool
same_value(void *arg, int column, Datum a, Datum b)
{
	const Comparison *comparison = ((void **) arg)[1];
	const EdwTargetColumn *c = &comparison->target->columns[column];

	if (column == comparison->target->versioned->valid_time)
		return true;			/* it is that of its version */
	if (datumIsEqual(a, b, c->typbyval, c->typlen))
		return true;
	if (comparison->equal[column] != NULL)
		return DatumGetBool(FunctionCall2Coll(comparison->equal[column], c->collation, a, b));
	return datum_image_eq(a, b, c->typbyval, c->typlen);
}

static void *
allocate(void *arg, Size size)
{
	return EdwBatchAlloc(((void **) arg)[0], size);
}

/*
 * Events
 */

/* Have room for n more events. */
static void
reserve_events(EdwScd2 *scd2, EdwHistory *history, int n)
{
	EdwTimeline *timeline = &history->timeline;
	EdwTimelineEvent *events;

	if (timeline->nevents + n <= history->events_size)
		return;
	history->events_size = Max(timeline->nevents + n, 2 * history->events_size);
	events = EdwBatchAlloc(scd2->batch, history->events_size * sizeof(EdwTimelineEvent));
	if (timeline->nevents > 0)
		memcpy(events, timeline->events, timeline->nevents * sizeof(EdwTimelineEvent));
	timeline->events = events;
}

EdwTimelineEvent *
EdwHistoryAddEvent(EdwScd2 *scd2, EdwHistory *history)
{
	EdwTimeline *timeline = &history->timeline;
	EdwTimelineEvent *event;

	reserve_events(scd2, history, 1);
	event = &timeline->events[timeline->nevents++];
	memset(event, 0, sizeof(EdwTimelineEvent));
	event->version = event->incoming = -1;
	return event;
}

/* P3 asks only where positions tell of transactions, since only positions are stored */
static uint64
transaction_of(EdwPositionBytes position)
{
	uint64		hash = 1469598103934665603UL;

	if (position.len <= POSTGRESQL_TRANSACTION_BYTES ||
		position.bytes[EDW_EPOCH_BYTES + 1] != EDW_POSITION_POSTGRESQL)
		return 0;
	for (int i = 0; i < POSTGRESQL_TRANSACTION_BYTES; i++)
		hash = (hash ^ position.bytes[i]) * 1099511628211UL;
	return hash | 1;
}

static bool
is_snapshot(EdwPositionBytes position)
{
	return position.len > EDW_EPOCH_BYTES && position.bytes[EDW_EPOCH_BYTES] == 0;
}

void
EdwEventSetPosition(EdwTimelineEvent *event, EdwPositionBytes position)
{
	event->position = position.bytes;
	event->position_len = position.len;
	event->snapshot = is_snapshot(position);
	event->transaction = transaction_of(position);
}

/*
 * A change without a position comes after all that is known of its key (O5, O9): it gets one just above
 * the greatest. For a new key it is the lowest of its epoch.
 */
static EdwPositionBytes
position_after(EdwBatch *batch, EdwPositionBytes greatest, int32 epoch)
{
	EdwPositionBytes position;
	uint8	   *bytes;

	if (greatest.len == 0)
	{
		position.len = EDW_EPOCH_BYTES + 3;
		bytes = EdwBatchAlloc(batch, position.len);
		for (int i = 0; i < EDW_EPOCH_BYTES; i++)
			bytes[i] = (uint32) epoch >> (8 * (EDW_EPOCH_BYTES - 1 - i));
		bytes[EDW_EPOCH_BYTES] = 0;
		bytes[EDW_EPOCH_BYTES + 1] = EDW_POSITION_NONE;
		bytes[EDW_EPOCH_BYTES + 2] = 1;
	}
	else
	{
		position.len = greatest.len + 1;
		bytes = EdwBatchAlloc(batch, position.len);
		memcpy(bytes, greatest.bytes, greatest.len);
		bytes[greatest.len] = 1;
	}
	position.bytes = bytes;
	return position;
}

static EdwPositionBytes
greatest_position(const EdwTimeline *timeline)
{
	EdwPositionBytes greatest = {NULL, 0};

	for (int i = 0; i < timeline->nevents; i++)
	{
		EdwPositionBytes position = {timeline->events[i].position, timeline->events[i].position_len};

		if (position.len > 0 && (greatest.len == 0 || EdwPositionOrder(position, greatest) > 0))
			greatest = position;
	}
	return greatest;
}

static void
add_change(EdwScd2 *scd2, EdwHistory *history, EdwFoldChange *c, int number, EdwPositionBytes *greatest)
{
	const EdwTarget *target = scd2->bt->target;
	EdwTimelineEvent *event = EdwHistoryAddEvent(scd2, history);
	EdwPositionBytes position = c->position;

	if (position.len == 0)
	{
		position = position_after(scd2->batch, *greatest, c->epoch);
		event->undated = true;
	}
	if (greatest->len == 0 || EdwPositionOrder(position, *greatest) > 0)
		*greatest = position;
	EdwEventSetPosition(event, position);
	event->at = c->at;
	event->ends = c->op == 'd';
	event->arrives = c->arrives;
	event->departs = c->departs;
	event->incoming = number;
	event->values = c->values;
	event->nulls = c->nulls;
	if (event->ends)
		return;
	event->given = EdwBatchAlloc(scd2->batch, Max(target->ncolumns, 1) * sizeof(bool));
	for (int i = 0; i < target->ncolumns; i++)
	{
		event->given[i] = c->presence[i] == EDW_PRESENT;
		event->unavailable |= c->presence[i] == EDW_UNAVAILABLE;
	}
}

/* The truncates of this batch end all keys' versions; what they do to other keys is EdwVersionsTruncate's. */
static void
add_truncates(EdwScd2 *scd2, EdwHistory *history)
{
	for (EdwTruncate *truncate = scd2->bt->truncated_at; truncate != NULL; truncate = truncate->next)
	{
		EdwTimelineEvent *event = EdwHistoryAddEvent(scd2, history);

		EdwEventSetPosition(event, truncate->position);
		event->at = truncate->at;
		event->ends = true;
		event->undated = true;	/* nothing to remember where nothing ended */
	}
}

static void
set_defaults(EdwScd2 *scd2, Datum *values, bool *nulls)
{
	const EdwTarget *target = scd2->bt->target;
	MemoryContext old = MemoryContextSwitchTo(scd2->batch->context);

	for (int i = 0; i < target->ncolumns; i++)
	{
		const EdwTargetColumn *column = &target->columns[i];

		nulls[i] = true;
		values[i] = (Datum) 0;
		if (column->dflt_expr)
			values[i] = ExecEvalExpr(ExecInitExpr(column->dflt_expr, NULL),
									 scd2->bt->route->econtext, &nulls[i]);
	}
	MemoryContextSwitchTo(old);
}

static void
start_histories(EdwScd2 *scd2)
{
	const EdwTarget *target = scd2->bt->target;
	int			n = Max(target->ncolumns, 1);
	Datum	   *defaults = EdwBatchAlloc(scd2->batch, n * sizeof(Datum));
	bool	   *default_nulls = EdwBatchAlloc(scd2->batch, n * sizeof(bool));
	void	  **arg = EdwBatchAlloc(scd2->batch, 2 * sizeof(void *));

	arg[0] = scd2->batch;
	arg[1] = make_comparison(scd2->batch, target);
	set_defaults(scd2, defaults, default_nulls);
	scd2->nhistories = scd2->bt->nentries;
	scd2->histories = EdwBatchAlloc(scd2->batch, Max(scd2->nhistories, 1) * sizeof(EdwHistory));
	memset(scd2->histories, 0, Max(scd2->nhistories, 1) * sizeof(EdwHistory));
	for (int h = 0; h < scd2->nhistories; h++)
	{
		EdwTimeline *timeline = &scd2->histories[h].timeline;

		scd2->histories[h].entry = scd2->bt->entries[h];
		timeline->ncolumns = target->ncolumns;
		timeline->tracked = target->versioned->tracked;
		timeline->opening = target->versioned->opening;
		timeline->defaults = defaults;
		timeline->default_nulls = default_nulls;
		timeline->by_time = target->def->scd2->valid_time != NULL;
		timeline->same = same_value;
		timeline->alloc = allocate;
		timeline->arg = arg;
	}
}

/* Stored versions as events; points.c says more of some of them. */
static void
add_openers(EdwScd2 *scd2, EdwHistory *history)
{
	EdwTimeline *timeline = &history->timeline;
	int			ncolumns = Max(timeline->ncolumns, 1);

	/* what is stored, an end for each, and an event or two */
	reserve_events(scd2, history, 2 * timeline->nstored + 2);
	for (int v = 0; v < timeline->nstored; v++)
	{
		EdwTimelineEvent *event = EdwHistoryAddEvent(scd2, history);

		EdwEventSetPosition(event, history->openers[v]);
		event->at = timeline->stored[v].from;
		event->version = v;
		event->given = EdwBatchAlloc(scd2->batch, ncolumns * sizeof(bool));
		memset(event->given, true, ncolumns);
	}
}

/*
 * Outcomes
 */

static void
reject(EdwScd2 *scd2, EdwHistory *history, const EdwFoldChange *c)
{
	const EdwTarget *target = scd2->bt->target;
	int			i = 0;

	while (c->presence[i] != EDW_UNAVAILABLE)
		i++;
	EdwCountOutcome(scd2->bt, c, EDW_OUTCOME_REJECTED);
	EdwBatchRejectUnavailable(scd2->batch, scd2->bt, history->entry, c->message,
							  target->columns[i].name);
}

/* Do columns that make no version show other values than before? */
static bool
overwrites(const EdwTimeline *timeline)
{
	for (int v = 0; v < timeline->nversions; v++)
	{
		const EdwTimelineVersion *version = &timeline->versions[v];
		const EdwTimelineVersion *row;

		if (version->stored < 0)
			continue;
		row = &timeline->stored[version->stored];
		for (int c = 0; c < timeline->ncolumns; c++)
			if (!timeline->tracked[c] && !(timeline->opening && timeline->opening[c]) &&
				(row->nulls[c] != version->nulls[c] ||
				 (!row->nulls[c] &&
				  !timeline->same(timeline->arg, c, row->values[c], version->values[c]))))
				return true;
	}
	return false;
}

static EdwOutcome
outcome_of(const EdwTimelineEvent *event, const EdwFoldChange *c)
{
	switch (event->effect)
	{
		case EDW_EFFECT_OPENS:
			return EDW_OUTCOME_INSERTED;
		case EDW_EFFECT_ENDS:
			return c->filtered ? EDW_OUTCOME_FILTERED : EDW_OUTCOME_DELETED;
		case EDW_EFFECT_SUPERSEDED:
			return c->filtered ? EDW_OUTCOME_FILTERED : EDW_OUTCOME_FOLDED;
		case EDW_EFFECT_DUPLICATE:
			return EDW_OUTCOME_DUPLICATE;
		case EDW_EFFECT_NONE:
		case EDW_EFFECT_CONFIRMS:
			return c->filtered ? EDW_OUTCOME_FILTERED : EDW_OUTCOME_UNCHANGED;
		case EDW_EFFECT_REJECTED:
			break;
	}
	return EDW_OUTCOME_REJECTED;
}

static void
count_outcomes(EdwScd2 *scd2, EdwHistory *history, EdwFoldChange **changes)
{
	EdwTimeline *timeline = &history->timeline;
	const EdwTimelineEvent *newest = NULL;
	bool		overwritten = overwrites(timeline);

	for (int i = 0; i < timeline->nevents; i++)
	{
		EdwTimelineEvent *event = &timeline->events[i];
		EdwPositionBytes position = {event->position, event->position_len};

		if (event->incoming >= 0 && event->effect == EDW_EFFECT_CONFIRMS &&
			(newest == NULL ||
			 EdwPositionOrder(position, (EdwPositionBytes) {newest->position, newest->position_len}) > 0))
			newest = event;
	}
	for (int i = 0; i < timeline->nevents; i++)
	{
		EdwTimelineEvent *event = &timeline->events[i];
		EdwFoldChange *c;

		if (event->incoming < 0)
			continue;
		c = changes[event->incoming];
		if (event->effect == EDW_EFFECT_REJECTED)
			reject(scd2, history, c);
		else
			EdwCountOutcome(scd2->bt, c, overwritten && event == newest ? EDW_OUTCOME_UPDATED
							: outcome_of(event, c));
	}
}

/* A column that says since when a version is valid says it of its own version. */
static void
show_valid_time(EdwScd2 *scd2, EdwTimeline *timeline)
{
	int			column = scd2->bt->target->versioned->valid_time;

	for (int v = 0; column >= 0 && v < timeline->nversions; v++)
	{
		timeline->versions[v].values[column] =
			EdwVersionTimeDatum(scd2->bt->target->versioned->time_type, timeline->versions[v].from);
		timeline->versions[v].nulls[column] = false;
	}
}

/*
 * The row that was made for facts becomes that of the version which was valid at their time, else of the first:
 * so it keeps its surrogate key.
 */
static void
fill_inferred(EdwHistory *history)
{
	EdwTimeline *timeline = &history->timeline;

	if (!history->inferred || timeline->nversions == 0)
		return;
	history->filled = &timeline->versions[0];
	for (int v = 1; v < timeline->nversions && timeline->versions[v].from <= history->inferred_from; v++)
		history->filled = &timeline->versions[v];
	if (history->filled->stored >= 0)
		history->filled = NULL;
}

/* A key that only a truncate brought in has none. */
static EdwFoldChange *
first_change(EdwHistory *history)
{
	return history->entry->live.op != 0 ? &history->entry->live : NULL;
}

static void
merge_history(EdwScd2 *scd2, EdwHistory *history)
{
	EdwTimeline *timeline = &history->timeline;
	EdwPositionBytes greatest = greatest_position(timeline);
	EdwFoldChange **changes;
	int			n = 0;

	for (EdwFoldChange *c = first_change(history); c != NULL; c = c->next)
		n++;
	changes = EdwBatchAlloc(scd2->batch, n * sizeof(EdwFoldChange *));
	reserve_events(scd2, history, n + timeline->nstored);
	n = 0;
	for (EdwFoldChange *c = first_change(history); c != NULL; c = c->next)
	{
		changes[n] = c;
		add_change(scd2, history, c, n++, &greatest);
	}
	add_truncates(scd2, history);

	/* implied ends need room */
	reserve_events(scd2, history, timeline->nstored);
	EdwTimelineMerge(timeline);
	show_valid_time(scd2, timeline);
	fill_inferred(history);
	count_outcomes(scd2, history, changes);
}

void
EdwScd2Apply(EdwBatch *batch, EdwBatchTarget *bt)
{
	EdwScd2    *scd2 = EdwBatchAlloc(batch, sizeof(EdwScd2));

	memset(scd2, 0, sizeof(EdwScd2));
	scd2->batch = batch;
	scd2->bt = bt;
	SPI_connect();
	for (EdwTruncate *truncate = bt->truncated_at; truncate != NULL; truncate = truncate->next)
		EdwVersionsFindYoung(scd2, truncate->position, truncate->at);
	EdwSortEntries(bt);
	start_histories(scd2);
	if (scd2->nhistories > 0)
	{
		EdwVersionsRead(scd2);
		for (int h = 0; h < scd2->nhistories; h++)
			add_openers(scd2, &scd2->histories[h]);
		EdwPointsRead(scd2);
		for (int h = 0; h < scd2->nhistories; h++)
			merge_history(scd2, &scd2->histories[h]);
		EdwVersionsWrite(scd2);
		EdwRepoint(scd2);
		EdwPointsWrite(scd2);
	}
	for (EdwTruncate *truncate = bt->truncated_at; truncate != NULL; truncate = truncate->next)
		EdwVersionsTruncate(scd2, truncate->position, truncate->at);
	SPI_finish();
}
