/*
 * timeline.h
 *		The versions of one key of an SCD2 dimension, from the events that made them.
 *
 * Pure: no catalog, no tables, no palloc. The caller hands over what is stored (versions, and the
 * events that versions do not show) and what has arrived; out come the versions as they are to be
 * and what has to be remembered. The result does not depend on the order of arrival: it is always that
 * of all distinct events in the order of the source (docs/star-schema.md has the definition).
 *
 * In short: events in order of position; each takes effect at its own time, but not before
 * the event before it (running maximum), and a snapshot's row before the event after it. The state after all events up to a time is the
 * key's state at that time; versions are the longest intervals in which its tracked columns do not
 * change. With by_time the order is (time, position).
 *
 * What is stored of an event: the one that opens a version is the version's row (its
 * position is _edw_seq, its time valid_from). All others are points: events that confirm a version, end one, or
 * are superseded at their very time. A confirming event needs no values, as they are its version's, but those that
 * tell of the event itself: it may open a version later.
 */
#ifndef EDW_APPLY_TIMELINE_H
#define EDW_APPLY_TIMELINE_H

#include "postgres.h"

/* the end of a version that is open */
#define EDW_TIMELINE_OPEN	PG_INT64_MAX

/* what an event does to the timeline */
typedef enum EdwTimelineEffect
{
	EDW_EFFECT_NONE,			/* of a delete: nothing was open */
	EDW_EFFECT_OPENS,			/* a version begins with it */
	EDW_EFFECT_CONFIRMS,		/* tracked columns are as they were */
	EDW_EFFECT_ENDS,			/* a version ends, no other begins */
	EDW_EFFECT_SUPERSEDED,		/* another event of the same time counts */
	EDW_EFFECT_DUPLICATE,		/* incoming: was there before */
	EDW_EFFECT_REJECTED			/* incoming: has an unavailable column and no state to take it from (P5) */
} EdwTimelineEffect;

typedef struct EdwTimelineEvent
{
	const uint8 *position;		/* length 0: a row that no event wrote; older than all */
	int			position_len;
	int64		at;				/* its own time, in the unit of valid_from */
	bool		ends;			/* a delete */
	bool		snapshot;		/* at is when it was read, not when it came about */
	bool		arrives;		/* half of a key's update (P3) … */
	bool		departs;
	uint64		transaction;	/* … in this source transaction; 0: unknown */
	bool		undated;		/* remembered only if it does something: its position was made up, or it is a truncate */

	Datum	   *values;			/* of the columns that it gives */
	bool	   *nulls;
	bool	   *given;
	bool		unavailable;	/* a column that is not given must have a state before */

	/* where it comes from */
	int			version;		/* stored: it opens this version, else -1 */
	bool		stored_point;	/* it is a point */
	int			incoming;		/* the caller's number of it, else -1 */
	bool		stored_values;	/* of a point: its values are stored with it */
	Datum	   *own_values;		/* of a point: what is stored of it is that of the opening columns; NULL: nothing */
	bool	   *own_nulls;
	bool		implied;		/* an end that is known from valid_to alone: nothing is stored of it */

	/* results */
	int64		effective;
	EdwTimelineEffect effect;
	bool		keep_point;		/* it must be (or stay) a point … */
	bool		keep_values;	/* … with its values */
	bool		keep_own;		/* … or with those of the opening columns */
} EdwTimelineEvent;

/* a version, stored (in) or wanted (out) */
typedef struct EdwTimelineVersion
{
	int64		from;
	int64		to;				/* EDW_TIMELINE_OPEN: it is the current one */
	Datum	   *values;
	bool	   *nulls;
	int			opener;			/* index of the event that opens it; in: before sorting, set by the caller to any; out: after */
	int			stored;			/* out: index of the stored version whose row it takes, -1: a new row */
	bool		changed;		/* out: that row has to be written … */
	bool		only_ends;		/* … but for the time until which it is valid is as it was; it is not open */
} EdwTimelineVersion;

typedef struct EdwTimeline
{
	/* in */
	int			ncolumns;
	const bool *tracked;
	const bool *opening;		/* not tracked: each version shows what its opener gives; NULL: none is */
	const Datum *defaults;		/* of columns that an event does not give, if nothing before it does */
	const bool *default_nulls;
	bool		by_time;
	bool		(*same) (void *arg, int column, Datum a, Datum b);	/* of two values that are not null */
	void	   *(*alloc) (void *arg, Size size);
	void	   *arg;
	int			nstored;
	EdwTimelineVersion *stored; /* by from */

	/* in: stored openers and points, and what arrived, in any order; out: in the order of the source */
	int			nevents;
	EdwTimelineEvent *events;	/* with room for nstored more (implied ends) */

	/* out */
	int			nversions;
	EdwTimelineVersion *versions;	/* by from */
	bool	   *dropped;		/* per stored version: nothing takes its row: delete it */
} EdwTimeline;

extern void EdwTimelineMerge(EdwTimeline *timeline);

#endif							/* EDW_APPLY_TIMELINE_H */
