/*
 * timeline_test.c
 *		The versions of a key are those of all its events in the source's order, in
 *		whatever order, how often and in what batches they arrive (G4, O1): EdwTimelineMerge over a small
 *		store of rows and points, against a program that looks at the whole history.
 *
 * build: src/apply/timeline.c
 */
#include <stdio.h>
#include <stdlib.h>

#include "apply/timeline.h"

#undef printf					/* the server's is not linked */

#define COLUMNS		4			/* 0 and 1 are tracked, 2 is not, 3 tells which event opened the version */
#define MOST		14			/* events of a history */
#define HISTORIES	60000

static const bool tracked[COLUMNS] = {true, true, false, false};
static const bool opening[COLUMNS] = {false, false, false, true};
static const Datum defaults[COLUMNS] = {0};
static const bool default_nulls[COLUMNS] = {true, true, true, true};

/* the whole history: event e has position e */
typedef struct Event
{
	int64		at;
	bool		ends;
	bool		snapshot;
	int			values[COLUMNS];
	bool		given[COLUMNS];
	bool		arrived;
} Event;

typedef struct Row
{
	int			id;				/* surrogate key */
	uint8		position;
	int64		from;
	int64		to;
	Datum		values[COLUMNS];
	bool		nulls[COLUMNS];
} Row;

typedef struct Point
{
	uint8		position;
	int64		at;
	bool		ends;
	bool		given[COLUMNS];
	bool		has_values;
	bool		has_own;		/* only column 3's */
	Datum		values[COLUMNS];
	bool		nulls[COLUMNS];
} Point;

static Event history[MOST];
static int	nhistory;
static bool by_time;
static Row	rows[MOST];
static int	nrows;
static Point points[MOST];
static int	npoints;
static int	last_id;
static unsigned seed;

/* memory of one merge */
static char arena[1 << 20];
static Size used;

static void *
arena_alloc(void *arg, Size size)
{
	void	   *result = arena + used;

	(void) arg;
	used += MAXALIGN(size);
	if (used > sizeof(arena))
		abort();
	return result;
}

static bool
same_number(void *arg, int column, Datum a, Datum b)
{
	(void) arg;
	(void) column;
	return a == b;
}

static int
roll(int n)
{
	return rand_r(&seed) % n;
}

/*
 * The oracle
 */

typedef struct Wanted
{
	int64		from;
	int64		to;
	int			values[COLUMNS];	/* -1: null */
} Wanted;

static Wanted wanted[MOST];
static int	nwanted;

/* arrived events, in the order of the source */
static int
in_order(int *order)
{
	int			n = 0;

	for (int e = 0; e < nhistory; e++)
		if (history[e].arrived)
			order[n++] = e;
	if (by_time)
		for (int i = 0; i < n; i++)
			for (int j = n - 1; j > i; j--)
				if (history[order[j]].at < history[order[j - 1]].at)
				{
					int			swap = order[j];

					order[j] = order[j - 1];
					order[j - 1] = swap;
				}
	return n;
}

static int64
own_time(const int *order, int n, int i)
{
	const Event *event = &history[order[i]];

	if (by_time || !event->snapshot || i + 1 == n)
		return event->at;
	return Min(event->at, own_time(order, n, i + 1) - 1);
}

static int64
time_of(const int *order, int n, int i)
{
	int64		result = own_time(order, n, i);

	for (int j = 0; j < i; j++)
		result = Max(result, own_time(order, n, j));
	return result;
}

/* the state after all events up to a time; false: there is none */
static bool
state_at(const int *order, int n, int64 when, int *values)
{
	bool		exists = false;

	for (int i = 0; i < n; i++)
	{
		const Event *event = &history[order[i]];

		if (time_of(order, n, i) > when)
			continue;
		for (int c = 0; c < COLUMNS; c++)
			if (!event->ends && (event->given[c] || !exists))
				values[c] = event->given[c] ? event->values[c] : -1;
		exists = !event->ends;
	}
	return exists;
}

static void
consult_oracle(void)
{
	int			order[MOST];
	int			n = in_order(order);
	int			newest = -1;

	nwanted = 0;
	for (int i = 0; i < n; i++)
	{
		int64		when = time_of(order, n, i);
		Wanted	   *last = nwanted > 0 ? &wanted[nwanted - 1] : NULL;
		int			values[COLUMNS];

		if (i + 1 < n && time_of(order, n, i + 1) == when)
			continue;
		if (last && last->to != EDW_TIMELINE_OPEN)
			last = NULL;
		if (!state_at(order, n, when, values))
		{
			if (last)
				last->to = when;
			continue;
		}
		if (last && last->values[0] == values[0] && last->values[1] == values[1])
			continue;
		if (last)
			last->to = when;
		for (int j = 0; j <= i; j++)
			if (time_of(order, n, j) == when && !history[order[j]].ends)
				values[3] = order[j];
		wanted[nwanted].from = when;
		wanted[nwanted].to = EDW_TIMELINE_OPEN;
		memcpy(wanted[nwanted++].values, values, sizeof(values));
	}
	for (int e = 0; e < nhistory; e++)
		if (history[e].arrived && !history[e].ends && history[e].given[2])
			newest = history[e].values[2];
	for (int w = 0; w < nwanted; w++)
		wanted[w].values[2] = newest;
}

/*
 * The store
 */

static uint8 numbers[MOST];		/* positions' bytes */

static void
load_stored(EdwTimeline *timeline)
{
	for (int r = 0; r < nrows; r++)
	{
		EdwTimelineVersion *version = &timeline->stored[r];
		EdwTimelineEvent *event = &timeline->events[timeline->nevents++];

		version->from = rows[r].from;
		version->to = rows[r].to;
		version->values = rows[r].values;
		version->nulls = rows[r].nulls;
		memset(event, 0, sizeof(*event));
		event->position = &numbers[rows[r].position];
		event->position_len = 1;
		event->at = rows[r].from;
		event->snapshot = history[rows[r].position].snapshot;
		event->version = r;
		event->incoming = -1;
		event->given = arena_alloc(NULL, COLUMNS);
		memset(event->given, true, COLUMNS);
	}
	for (int p = 0; p < npoints; p++)
	{
		EdwTimelineEvent *event = NULL;

		/* a point of an opener tells more of it */
		for (int e = 0; e < timeline->nevents; e++)
			if (*timeline->events[e].position == points[p].position)
				event = &timeline->events[e];
		if (event == NULL)
		{
			event = &timeline->events[timeline->nevents++];
			memset(event, 0, sizeof(*event));
			event->position = &numbers[points[p].position];
			event->position_len = 1;
			event->version = event->incoming = -1;
		}
		event->snapshot = history[points[p].position].snapshot;
		event->at = points[p].at;
		event->ends = points[p].ends;
		event->given = points[p].given;
		event->stored_point = true;
		event->stored_values = points[p].has_values;
		if (points[p].has_values)
		{
			event->values = points[p].values;
			event->nulls = points[p].nulls;
		}
		if (points[p].has_own)
		{
			event->own_values = points[p].values;
			event->own_nulls = points[p].nulls;
		}
	}
}

static void
load_incoming(EdwTimeline *timeline, int e)
{
	EdwTimelineEvent *event = &timeline->events[timeline->nevents++];

	memset(event, 0, sizeof(*event));
	event->position = &numbers[e];
	event->position_len = 1;
	event->at = history[e].at;
	event->ends = history[e].ends;
	event->snapshot = history[e].snapshot;
	event->version = -1;
	event->incoming = e;
	event->values = arena_alloc(NULL, sizeof(Datum) * COLUMNS);
	event->nulls = arena_alloc(NULL, COLUMNS);
	event->given = arena_alloc(NULL, COLUMNS);
	for (int c = 0; c < COLUMNS; c++)
	{
		event->given[c] = history[e].given[c];
		event->nulls[c] = !event->given[c];
		event->values[c] = event->given[c] ? (Datum) history[e].values[c] : 0;
	}
}

static void
store(const EdwTimeline *timeline)
{
	Row			new_rows[MOST];
	Point		new_points[MOST];
	int			n = 0;

	for (int v = 0; v < timeline->nversions; v++)
	{
		const EdwTimelineVersion *version = &timeline->versions[v];
		Row		   *row = &new_rows[v];

		if (version->stored >= 0 && !version->changed)
		{
			*row = rows[version->stored];
			continue;
		}
		row->id = version->stored >= 0 ? rows[version->stored].id : ++last_id;
		row->position = *timeline->events[version->opener].position;
		row->from = version->from;
		row->to = version->to;
		memcpy(row->values, version->values, sizeof(row->values));
		memcpy(row->nulls, version->nulls, sizeof(row->nulls));
	}
	for (int e = 0; e < timeline->nevents; e++)
	{
		const EdwTimelineEvent *event = &timeline->events[e];
		Point	   *point = &new_points[n];

		if (!event->keep_point)
			continue;
		n++;
		memset(point, 0, sizeof(*point));
		point->position = *event->position;
		point->at = event->at;
		point->ends = event->ends;
		if (!event->ends)
			memcpy(point->given, event->given, COLUMNS);
		point->has_values = event->keep_values;
		point->has_own = event->keep_own;
		if (event->keep_values)
		{
			memcpy(point->values, event->values, sizeof(point->values));
			memcpy(point->nulls, event->nulls, sizeof(point->nulls));
		}
		if (event->keep_own)
			point->values[3] = event->values[3];
	}
	memcpy(rows, new_rows, sizeof(Row) * timeline->nversions);
	nrows = timeline->nversions;
	memcpy(points, new_points, sizeof(Point) * n);
	npoints = n;
}

/*
 * The test
 */

static void
fail(int number, const char *what)
{
	printf("history %d, by_time %d: %s\n", number, by_time, what);
	for (int e = 0; e < nhistory; e++)
		printf("  event %d%s at %d %s%s %d %d %d given %d%d%d\n", e, history[e].arrived ? "" : " (not yet)",
			   (int) history[e].at, history[e].ends ? "end" : "set", history[e].snapshot ? " snapshot" : "",
			   history[e].values[0], history[e].values[1], history[e].values[2],
			   history[e].given[0], history[e].given[1], history[e].given[2]);
	for (int w = 0; w < nwanted; w++)
		printf("  wanted [%d, %d) %d %d %d\n", (int) wanted[w].from, (int) Min(wanted[w].to, 999),
			   wanted[w].values[0], wanted[w].values[1], wanted[w].values[2]);
	for (int r = 0; r < nrows; r++)
		printf("  row %d by %d [%d, %d) %d %d %d told by %d\n", rows[r].id, rows[r].position, (int) rows[r].from,
			   (int) Min(rows[r].to, 999), rows[r].nulls[0] ? -1 : (int) rows[r].values[0],
			   rows[r].nulls[1] ? -1 : (int) rows[r].values[1], rows[r].nulls[2] ? -1 : (int) rows[r].values[2], (int) rows[r].values[3]);
	exit(1);
}

static void
check(int number)
{
	consult_oracle();
	if (nwanted != nrows)
		fail(number, "wrong number of versions");
	for (int r = 0; r < nrows; r++)
	{
		if (rows[r].from != wanted[r].from || rows[r].to != wanted[r].to)
			fail(number, "wrong interval");
		for (int c = 0; c < COLUMNS; c++)
			if ((rows[r].nulls[c] ? -1 : (int) rows[r].values[c]) != wanted[r].values[c])
				fail(number, "wrong value");
	}
}

static void
deliver(int number, const int *events, int n)
{
	EdwTimeline timeline = {0};
	Row			before[MOST];
	int			nbefore = nrows;
	int			last_before = last_id;

	used = 0;
	memcpy(before, rows, sizeof(rows));
	timeline.ncolumns = COLUMNS;
	timeline.tracked = tracked;
	timeline.opening = opening;
	timeline.defaults = defaults;
	timeline.default_nulls = default_nulls;
	timeline.by_time = by_time;
	timeline.same = same_number;
	timeline.alloc = arena_alloc;
	timeline.nstored = nrows;
	timeline.stored = arena_alloc(NULL, sizeof(EdwTimelineVersion) * Max(nrows, 1));
	timeline.events = arena_alloc(NULL, sizeof(EdwTimelineEvent) * (2 * nrows + npoints + n + 1));
	load_stored(&timeline);
	for (int i = 0; i < n; i++)
	{
		load_incoming(&timeline, events[i]);
		history[events[i]].arrived = true;
	}
	EdwTimelineMerge(&timeline);
	for (int e = 0; e < timeline.nevents; e++)
		if (timeline.events[e].effect == EDW_EFFECT_REJECTED || timeline.events[e].implied)
			fail(number, "an event was rejected or made up");
	store(&timeline);
	check(number);

	/* a version keeps its surrogate key as long as the event that opened it does open it */
	for (int b = 0; b < nbefore; b++)
		for (int r = 0; r < nrows; r++)
			if (rows[r].position == before[b].position && rows[r].id != before[b].id)
				fail(number, "a version changed its surrogate key");

	/* and what takes the place of a version takes its surrogate key */
	for (int b = 0; b < nbefore; b++)
	{
		bool		gone = true;

		for (int r = 0; r < nrows; r++)
			gone &= rows[r].id != before[b].id;
		for (int r = 0; r < nrows && gone; r++)
			if (rows[r].from == before[b].from && rows[r].id > last_before)
				fail(number, "a surrogate key was thrown away");
	}
}

static void
make_history(void)
{
	int64		at = 0;
	int			step = 1 + roll(3);
	int			snapshots = roll(3) == 0 ? roll(3) : 0;

	nhistory = 1 + roll(MOST - 1);
	by_time = roll(4) == 0;
	nrows = npoints = 0;
	for (int e = 0; e < nhistory; e++)
	{
		Event	   *event = &history[e];

		memset(event, 0, sizeof(*event));
		at += roll(step + 1);
		event->at = roll(8) == 0 ? roll(12) : at;	/* clocks are not always right */
		event->snapshot = e < snapshots;
		event->ends = !event->snapshot && roll(5) == 0;
		for (int c = 0; c < COLUMNS; c++)
		{
			event->values[c] = roll(c == 2 ? 50 : 2);
			event->given[c] = roll(6) != 0;
		}
		event->values[3] = e;
		event->given[3] = true;
	}
}

int
main(void)
{
	for (int e = 0; e < MOST; e++)
		numbers[e] = e;
	for (int number = 0; number < HISTORIES; number++)
	{
		int			arrivals[2 * MOST];
		int			n = 0;
		int			done = 0;

		seed = number + 1;
		make_history();
		for (int e = 0; e < nhistory; e++)
			for (int copies = 1 + (roll(4) == 0); copies > 0; copies--)
				arrivals[n++] = e;
		if (roll(3) > 0)
			for (int i = n - 1; i > 0; i--)
			{
				int			j = roll(i + 1);
				int			swap = arrivals[i];

				arrivals[i] = arrivals[j];
				arrivals[j] = swap;
			}
		while (done < n)
		{
			int			batch = 1 + roll(5);

			batch = Min(batch, n - done);
			deliver(number, &arrivals[done], batch);
			done += batch;
		}
	}
	printf("%d histories\n", HISTORIES);
	return 0;
}
