/*
 * timeline.c
 *		The versions of one key, computed anew from all that is known of it (see timeline.h).
 *
 * Pure. Events are sorted, those that count are found, each gets the time at which it
 * takes effect, and the state is followed from time to time; then versions are matched
 * with stored rows, so that surrogate keys stay what they are.
 */
#include "apply/timeline.h"

/* the key's state while events are followed */
typedef struct State
{
	bool		exists;
	Datum	   *values;			/* of tracked columns */
	bool	   *nulls;
	int			displaced;		/* rows that took this key within the transaction (P3) */
	uint64		transaction;
} State;

/*
 * Order
 */

static int
compare_positions(const EdwTimelineEvent *a, const EdwTimelineEvent *b)
{
	int			cmp = memcmp(a->position, b->position, Min(a->position_len, b->position_len));

	return cmp != 0 ? cmp : a->position_len - b->position_len;
}

static int
compare_events(const EdwTimeline *timeline, const EdwTimelineEvent *a, const EdwTimelineEvent *b)
{
	int			by_time = (a->at > b->at) - (a->at < b->at);
	int			by_position = compare_positions(a, b);

	if (timeline->by_time && by_time != 0)
		return by_time;
	if (by_position != 0)
		return by_position;
	if (by_time != 0 && a->position_len == 0)
		return by_time;

	/* what is stored comes before what is the same, and an implied end after all */
	return ((a->incoming >= 0) + 2 * a->implied) - ((b->incoming >= 0) + 2 * b->implied);
}

/* Merge two sorted neighbours of from into to. */
static void
merge_runs(const EdwTimeline *timeline, const EdwTimelineEvent *from, EdwTimelineEvent *to,
		   int low, int middle, int high)
{
	int			left = low;
	int			right = middle;

	for (int i = low; i < high; i++)
		if (left < middle &&
			(right >= high || compare_events(timeline, &from[left], &from[right]) <= 0))
			to[i] = from[left++];
		else
			to[i] = from[right++];
}

/* Events that arrive in the order of the source, which is the rule. */
static bool
is_sorted(const EdwTimeline *timeline)
{
	for (int i = 1; i < timeline->nevents; i++)
		if (compare_events(timeline, &timeline->events[i - 1], &timeline->events[i]) > 0)
			return false;
	return true;
}

/* A stable merge sort. */
static void
sort_events(EdwTimeline *timeline)
{
	int			n = timeline->nevents;
	EdwTimelineEvent *from = timeline->events;
	EdwTimelineEvent *to;

	if (is_sorted(timeline))
		return;
	to = timeline->alloc(timeline->arg, sizeof(EdwTimelineEvent) * n);
	for (int width = 1; width < n; width *= 2)
	{
		EdwTimelineEvent *swap = from;

		for (int low = 0; low < n; low += 2 * width)
			merge_runs(timeline, from, to, low, Min(low + width, n), Min(low + 2 * width, n));
		from = to;
		to = swap;
	}
	if (from != timeline->events)
		memcpy(timeline->events, from, sizeof(EdwTimelineEvent) * n);
}

/*
 * What stored events say
 */

static void
add_implied_end(EdwTimeline *timeline, const EdwTimelineEvent *after, int64 at)
{
	EdwTimelineEvent *end = &timeline->events[timeline->nevents++];

	memset(end, 0, sizeof(EdwTimelineEvent));
	end->position = after->position;
	end->position_len = after->position_len;
	end->at = at;
	end->ends = true;
	end->implied = true;
	end->version = end->incoming = -1;
}

static bool
is_opening(const EdwTimeline *timeline, int c)
{
	return timeline->opening != NULL && timeline->opening[c];
}

/* Values and nulls of a row, next to each other. */
static void
alloc_row(const EdwTimeline *timeline, Datum **values, bool **nulls)
{
	*values = timeline->alloc(timeline->arg, (sizeof(Datum) + sizeof(bool)) * Max(timeline->ncolumns, 1));
	*nulls = (bool *) (*values + timeline->ncolumns);
}

/* An opener's or a confirming point's values are those of its version's row, but for what is its own. */
static void
take_row_values(const EdwTimeline *timeline, EdwTimelineEvent *event, const EdwTimelineVersion *version)
{
	int			n = timeline->ncolumns;

	event->values = version->values;
	event->nulls = version->nulls;
	if (event->own_values == NULL)
		return;
	alloc_row(timeline, &event->values, &event->nulls);
	for (int c = 0; c < n; c++)
	{
		event->values[c] = is_opening(timeline, c) ? event->own_values[c] : version->values[c];
		event->nulls[c] = is_opening(timeline, c) ? event->own_nulls[c] : version->nulls[c];
	}
}

/*
 * Give openers and confirming points the values of their version's row, and ends that nobody remembers
 * (pruned, or of rows that somebody else wrote) an event.
 */
static void
read_stored(EdwTimeline *timeline)
{
	int			n = timeline->nevents;
	EdwTimelineVersion *version = NULL;
	EdwTimelineEvent *last = NULL;
	bool		ended = true;

	for (int i = 0; i < n; i++)
	{
		EdwTimelineEvent *event = &timeline->events[i];

		if (event->incoming >= 0)
			continue;
		if (event->version >= 0)
		{
			EdwTimelineVersion *next = &timeline->stored[event->version];

			if (version && !ended && version->to < next->from)
				add_implied_end(timeline, last, version->to);
			version = next;
			ended = false;
		}
		else if (event->ends)
			ended |= version != NULL && event->at <= version->to;
		else if (!event->stored_values)
			ended = false;
		if (!event->ends && !event->stored_values && version)
			take_row_values(timeline, event, version);

		/* what was superseded, or ended nothing, at a later time is not of this version's */
		if (version == NULL || !(event->stored_values || event->ends) || event->at < version->to)
			last = event;
	}
	if (version && !ended && version->to != EDW_TIMELINE_OPEN)
		add_implied_end(timeline, last, version->to);
	if (timeline->nevents > n)
		sort_events(timeline);
}

/*
 * Following events
 */

/* Does the event do something to the state? Notes whether there is one. */
static bool
step(State *state, const EdwTimelineEvent *event)
{
	bool		same = event->transaction != 0 && event->transaction == state->transaction;
	int			displaced = same ? state->displaced : 0;

	state->transaction = event->transaction;
	if (!event->ends)
	{
		state->displaced = displaced + (event->arrives && state->exists);
		state->exists = true;
		return true;
	}
	if (event->departs && state->exists && displaced > 0)
	{
		/* it is the displaced row that goes, and it went when it was displaced */
		state->displaced = displaced - 1;
		return false;
	}
	state->displaced = 0;
	if (!state->exists)
		return false;
	state->exists = false;
	return true;
}

static bool
counts(const EdwTimelineEvent *event)
{
	return event->effect != EDW_EFFECT_DUPLICATE && event->effect != EDW_EFFECT_REJECTED;
}

/* Mark what was there before, and what lacks a value that nothing before it gives. */
static void
find_void(EdwTimeline *timeline)
{
	State		state = {0};
	const EdwTimelineEvent *before = NULL;

	for (int i = 0; i < timeline->nevents; i++)
	{
		EdwTimelineEvent *event = &timeline->events[i];

		event->effect = EDW_EFFECT_NONE;
		if (event->incoming >= 0 && event->position_len > 0 && before != NULL &&
			compare_positions(before, event) == 0)
		{
			event->effect = EDW_EFFECT_DUPLICATE;
			continue;
		}
		if (event->incoming >= 0 && event->unavailable && !state.exists)
		{
			event->effect = EDW_EFFECT_REJECTED;
			continue;
		}
		step(&state, event);
		if (!event->implied)
			before = event;
	}
}

/* When each event takes effect. */
static void
find_times(EdwTimeline *timeline)
{
	int64		next = EDW_TIMELINE_OPEN;
	int64		latest = PG_INT64_MIN;

	for (int i = timeline->nevents - 1; i >= 0; i--)
	{
		EdwTimelineEvent *event = &timeline->events[i];

		if (!counts(event))
			continue;
		event->effective = event->at;
		if (event->snapshot && !timeline->by_time && next != PG_INT64_MIN)
			event->effective = Min(event->at, next - 1);
		next = event->effective;
	}
	for (int i = 0; i < timeline->nevents; i++)
	{
		EdwTimelineEvent *event = &timeline->events[i];

		if (!counts(event))
			continue;
		event->effective = Max(event->effective, latest);
		latest = event->effective;
	}
}

static void
take_values(const EdwTimeline *timeline, State *state, const EdwTimelineEvent *event, bool existed)
{
	for (int c = 0; c < timeline->ncolumns; c++)
	{
		if (!timeline->tracked[c] || (existed && !event->given[c]))
			continue;
		state->values[c] = event->given[c] ? event->values[c] : timeline->defaults[c];
		state->nulls[c] = event->given[c] ? event->nulls[c] : timeline->default_nulls[c];
	}
}

static bool
shows(const EdwTimeline *timeline, const EdwTimelineVersion *version, const State *state)
{
	for (int c = 0; c < timeline->ncolumns; c++)
	{
		if (!timeline->tracked[c])
			continue;
		if (version->nulls[c] != state->nulls[c])
			return false;
		if (!version->nulls[c] &&
			!timeline->same(timeline->arg, c, version->values[c], state->values[c]))
			return false;
	}
	return true;
}

static void
open_version(EdwTimeline *timeline, const State *state, int opener)
{
	const EdwTimelineEvent *event = &timeline->events[opener];
	EdwTimelineVersion *version = &timeline->versions[timeline->nversions++];
	int			n = timeline->ncolumns;

	version->from = event->effective;
	version->to = EDW_TIMELINE_OPEN;
	version->opener = opener;
	version->stored = -1;
	version->changed = true;
	alloc_row(timeline, &version->values, &version->nulls);
	for (int c = 0; c < n; c++)
	{
		version->values[c] = timeline->tracked[c] ? state->values[c] : timeline->defaults[c];
		version->nulls[c] = timeline->tracked[c] ? state->nulls[c] : timeline->default_nulls[c];
		if (is_opening(timeline, c) && event->given[c])
		{
			version->values[c] = event->values[c];
			version->nulls[c] = event->nulls[c];
		}
	}
}

/* All events of one time have acted: what does the state make of the versions? */
static void
finish_time(EdwTimeline *timeline, const State *state, int last_set, int last_end)
{
	EdwTimelineVersion *current = timeline->nversions > 0 ?
		&timeline->versions[timeline->nversions - 1] : NULL;
	EdwTimelineEvent *events = timeline->events;

	if (current && current->to != EDW_TIMELINE_OPEN)
		current = NULL;
	if (state->exists && last_set >= 0)
	{
		if (current && shows(timeline, current, state))
		{
			events[last_set].effect = EDW_EFFECT_CONFIRMS;
			return;
		}
		events[last_set].effect = EDW_EFFECT_OPENS;
		if (current)
			current->to = events[last_set].effective;
		open_version(timeline, state, last_set);
	}
	else if (!state->exists && current)
	{
		events[last_end].effect = EDW_EFFECT_ENDS;
		current->to = events[last_end].effective;
	}
}

static void
follow(EdwTimeline *timeline)
{
	State		state = {0};
	int			i = 0;

	alloc_row(timeline, &state.values, &state.nulls);
	while (i < timeline->nevents)
	{
		int64		now;
		int			last_set = -1;
		int			last_end = -1;

		if (!counts(&timeline->events[i]))
		{
			i++;
			continue;
		}
		now = timeline->events[i].effective;
		for (; i < timeline->nevents; i++)
		{
			EdwTimelineEvent *event = &timeline->events[i];
			bool		existed = state.exists;

			if (!counts(event))
				continue;
			if (event->effective != now)
				break;
			if (!step(&state, event))
				continue;
			event->effect = EDW_EFFECT_SUPERSEDED;
			if (event->ends)
				last_end = i;
			else
			{
				take_values(timeline, &state, event, existed);
				last_set = i;
			}
		}
		finish_time(timeline, &state, last_set, last_end);
	}
}

/*
 * Type 1 columns: the newest value that any event gave, in all versions.
 */
static void
overwrite_untracked(EdwTimeline *timeline)
{
	for (int c = 0; c < timeline->ncolumns; c++)
	{
		const EdwTimelineEvent *newest = NULL;

		if (timeline->tracked[c] || is_opening(timeline, c))
			continue;
		for (int i = 0; i < timeline->nevents; i++)
		{
			const EdwTimelineEvent *event = &timeline->events[i];

			if (counts(event) && !event->ends && event->given[c] &&
				(newest == NULL || compare_positions(event, newest) >= 0))
				newest = event;
		}
		for (int v = 0; newest != NULL && v < timeline->nversions; v++)
		{
			timeline->versions[v].values[c] = newest->values[c];
			timeline->versions[v].nulls[c] = newest->nulls[c];
		}
	}
}

/*
 * Rows
 */

/* Does the version take over the row that another opener's version had? */
static bool
adopts(const EdwTimeline *timeline, const EdwTimelineVersion *version, int stored, int opener)
{
	const EdwTimelineEvent *event = &timeline->events[opener];

	return timeline->stored[stored].from == version->from ||
		(event->effective >= version->from && event->effective < version->to);
}

static void
match_rows(EdwTimeline *timeline)
{
	int		   *opener = timeline->alloc(timeline->arg, sizeof(int) * Max(timeline->nstored, 1));

	timeline->dropped = timeline->alloc(timeline->arg, sizeof(bool) * Max(timeline->nstored, 1));
	memset(timeline->dropped, true, timeline->nstored);
	for (int i = 0; i < timeline->nevents; i++)
		if (timeline->events[i].version >= 0)
			opener[timeline->events[i].version] = i;
	for (int v = 0; v < timeline->nversions; v++)
	{
		int			stored = timeline->events[timeline->versions[v].opener].version;

		timeline->versions[v].stored = stored;
		if (stored >= 0)
			timeline->dropped[stored] = false;
	}
	for (int v = 0; v < timeline->nversions; v++)
	{
		EdwTimelineVersion *version = &timeline->versions[v];

		for (int s = 0; s < timeline->nstored && version->stored < 0; s++)
			if (timeline->dropped[s] && adopts(timeline, version, s, opener[s]))
			{
				version->stored = s;
				timeline->dropped[s] = false;
			}
	}
}

/* Has the version's row to be written, and is its end all that is new? */
static void
compare_row(const EdwTimeline *timeline, EdwTimelineVersion *version)
{
	const EdwTimelineVersion *row;
	bool		same;

	version->changed = true;
	version->only_ends = false;
	if (version->stored < 0)
		return;
	row = &timeline->stored[version->stored];
	same = row->from == version->from && timeline->events[version->opener].version == version->stored;
	for (int c = 0; same && c < timeline->ncolumns; c++)
		same = row->nulls[c] == version->nulls[c] &&
			(row->nulls[c] || timeline->same(timeline->arg, c, row->values[c], version->values[c]));
	version->changed = !same || row->to != version->to;
	version->only_ends = same && version->to != EDW_TIMELINE_OPEN;
}

/*
 * What must be remembered
 */
static bool
needs_point(const EdwTimeline *timeline, const EdwTimelineEvent *event)
{
	if (!counts(event) || event->implied)
		return false;
	if (event->undated && (event->effect == EDW_EFFECT_NONE || event->effect == EDW_EFFECT_CONFIRMS))
		return false;
	if (event->ends || event->effect != EDW_EFFECT_OPENS)
		return event->position_len > 0;
	if (event->at != event->effective || event->arrives)
		return true;
	for (int c = 0; c < timeline->ncolumns; c++)
		if (!event->given[c])
			return true;
	return false;
}

void
EdwTimelineMerge(EdwTimeline *timeline)
{
	timeline->nversions = 0;
	timeline->versions = timeline->alloc(timeline->arg, sizeof(EdwTimelineVersion) *
										 Max(timeline->nevents, 1));
	sort_events(timeline);
	read_stored(timeline);
	find_void(timeline);
	find_times(timeline);
	follow(timeline);
	overwrite_untracked(timeline);
	match_rows(timeline);
	for (int v = 0; v < timeline->nversions; v++)
		compare_row(timeline, &timeline->versions[v]);
	for (int i = 0; i < timeline->nevents; i++)
	{
		EdwTimelineEvent *event = &timeline->events[i];

		event->keep_point = needs_point(timeline, event);
		event->keep_values = event->keep_point && event->effect == EDW_EFFECT_SUPERSEDED &&
			!event->ends;
		event->keep_own = event->keep_point && event->effect == EDW_EFFECT_CONFIRMS &&
			timeline->opening != NULL;
	}
}
