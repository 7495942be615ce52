/*
 * batch.h
 *		The changes of one transaction, folded per key (rule O10).
 *
 * A batch takes changes in the order of arrival and keeps, per target and key, what is
 * to be done in the end: upsert these values, delete, or nothing. It decides
 * order by position (O1), net existence within one source transaction (P3), and
 * what absent values mean (P5, P6). It touches no table; apply.h does.
 * Everything lives in the memory context that the batch was made in.
 */
#ifndef EDW_APPLY_BATCH_H
#define EDW_APPLY_BATCH_H

#include "apply/target.h"

/* what became of a message's change for one target; counted in edw_stream.table_stat */
typedef enum EdwOutcome
{
	EDW_OUTCOME_PENDING = 0,
	EDW_OUTCOME_INSERTED,
	EDW_OUTCOME_UPDATED,
	EDW_OUTCOME_DELETED,
	EDW_OUTCOME_DUPLICATE,		/* position equal to the stored one */
	EDW_OUTCOME_STALE,			/* position smaller: stored row, tombstone or barrier wins */
	EDW_OUTCOME_UNCHANGED,		/* nothing to do: delete of a row that is not there,
								 * tombstone after its delete, ignored delete or truncate */
	EDW_OUTCOME_FOLDED,			/* a later change of the same key in this batch won */
	EDW_OUTCOME_FILTERED,		/* the mapping's filter does not want it */
	EDW_OUTCOME_REJECTED,		/* to the dead letters, see EdwReject */
	EDW_NOUTCOMES
} EdwOutcome;

typedef struct EdwBatch EdwBatch;

/* what a message is to be held for: a member of a dimension (lookups, missing => wait) */
typedef struct EdwWait
{
	Oid			dimension;
	const char *member;			/* canonical bytes of its natural key, in the order of the dimension's keys */
	int			member_len;
	int64		limit_ms;
} EdwWait;

/* a message that turned out to be inapplicable only when it met the stored rows */
typedef struct EdwReject
{
	int			message;		/* the index given to EdwBatchAdd */
	const EdwTarget *target;
	const char *reason;			/* "unavailable_value", "member_missing" … */
	int			sqlerrcode;
	char	   *message_text;
	char	   *key;			/* canonical key bytes (apply/key.h) */
	int			key_len;
	const EdwWait *wait;		/* NULL: a dead letter */
	bool		again;			/* others were folded into it: run the batch again without it */
} EdwReject;

/* the full position of a change: epoch in front */
typedef struct EdwFullPosition
{
	int			len;			/* 0: none of its own: Kafka order decides (O5, O9) */
	uint8		bytes[EDW_EPOCH_BYTES + EDW_POSITION_MAX];
} EdwFullPosition;

extern EdwBatch *EdwBatchCreate(void);

/* Let somebody see what the batch changes in one table (apply/images.h); watch lives as long as the batch. */
struct EdwWatch;
extern void EdwBatchWatch(EdwBatch *batch, const struct EdwWatch *watch);

/*
 * Add a change. message: the caller's index, for rejects. partition: of the topic, to
 * notice keys that come from several (O7). pairs_with_delete: a tombstone that directly
 * follows its own delete (O9). May raise what the mapping's expressions raise. The
 * change's Datums must live as long as the batch.
 */
extern void EdwBatchAdd(EdwBatch *batch, EdwRoute *route, int message, int32 partition,
						const EdwChange *change, const EdwFullPosition *position,
						int32 epoch, bool pairs_with_delete);

#endif							/* EDW_APPLY_BATCH_H */
