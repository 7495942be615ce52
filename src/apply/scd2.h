/*
 * scd2.h
 *		A batch into a table of versions (apply => 'scd2').
 *
 * scd2.c makes each key's timeline (timeline.h) and counts; versions.c reads and writes the rows of
 * the table, points.c edw_stream.scd2_event. This header is what they share, besides
 * EdwScd2Apply. All memory is the batch's.
 */
#ifndef EDW_APPLY_SCD2_H
#define EDW_APPLY_SCD2_H

#include "apply/fold.h"
#include "apply/timeline.h"
#include "apply/version_time.h"
#include "storage/itemptr.h"

/* where a stored version is */
typedef struct EdwRowAddress
{
	ItemPointerData tid;
	Oid			tableoid;
	const Datum *keys;			/* by which the target's referrers know it */
	const bool *key_nulls;
} EdwRowAddress;

/* a key of the batch, with all that is known of it */
typedef struct EdwHistory
{
	EdwEntry   *entry;
	EdwTimeline timeline;
	EdwRowAddress *addresses;	/* of the stored versions, as are … */
	EdwPositionBytes *openers;	/* … the positions that opened them */
	int			stored_size;
	int			events_size;

	/* a row that was made for facts, before any event: no version yet, but its row is one's */
	bool		inferred;
	EdwRowAddress inferred_address;
	int64		inferred_from;
	const EdwTimelineVersion *filled;	/* the version that takes it */
} EdwHistory;

typedef struct EdwScd2
{
	EdwBatch   *batch;
	EdwBatchTarget *bt;
	int			nhistories;
	EdwHistory *histories;		/* in the order of the entries: by key */
} EdwScd2;

/*
 * Apply the target's changes; counts outcomes, adds rejects. In an SPI connection of its own. ERROR serialization_failure if
 * a version was changed by somebody else meanwhile.
 */
extern void EdwScd2Apply(EdwBatch *batch, EdwBatchTarget *bt);

/* What a position says of its event. */
extern void EdwEventSetPosition(EdwTimelineEvent *event, EdwPositionBytes position);

/* Room for one more event. */
extern EdwTimelineEvent *EdwHistoryAddEvent(EdwScd2 *scd2, EdwHistory *history);

/* versions.c */
extern void EdwVersionsRead(EdwScd2 *scd2);
extern void EdwVersionsWrite(EdwScd2 *scd2);
extern void EdwVersionsFindYoung(EdwScd2 *scd2, EdwPositionBytes barrier, int64 at);
extern void EdwVersionsTruncate(EdwScd2 *scd2, EdwPositionBytes barrier, int64 at);
extern char *EdwVersionsExplain(const EdwTarget *target);

/* points.c */
extern void EdwPointsRead(EdwScd2 *scd2);
extern void EdwPointsWrite(EdwScd2 *scd2);

#endif							/* EDW_APPLY_SCD2_H */
