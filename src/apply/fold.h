/*
 * fold.h
 *		The inside of a batch, shared by the files that make and use it:
 *		batch.c (fill), evaluate.c, fold.c, resolve.c (against the stored row), apply.c and
 *		guard.c.
 *
 * A batch has one EdwBatchTarget per target, which has one EdwEntry per key. An entry holds
 * the changes that still matter, in order of arrival. Nearly always that is one,
 * because a complete newer change makes the older one irrelevant whatever is
 * stored. Where that is not so, all are kept and resolve.c replays them against
 * the stored row's position (see README.md for the cases).
 */
#ifndef EDW_APPLY_FOLD_H
#define EDW_APPLY_FOLD_H

#include "apply/batch.h"

/* a position with its epoch, in the batch's memory; len 0: none */
typedef struct EdwPositionBytes
{
	const uint8 *bytes;
	int			len;
} EdwPositionBytes;

typedef struct EdwFoldChange
{
	struct EdwFoldChange *next; /* in order of arrival */
	EdwPositionBytes position;
	int32		message;		/* the caller's index */
	int32		epoch;
	char		op;				/* 'u' upsert, 'd' delete */
	bool		complete;		/* 'u': every column is present */
	bool		counted;		/* false: the hidden half of a key's update */
	bool		filtered;		/* a row that the filter does not want */
	bool		first;			/* made from c or r: nothing older of this life of the row */
	bool		deleted;		/* 'u' of a replay: the row ends as a softly deleted one */
	bool		arrives;		/* P3 */
	bool		departs;		/* P3 */
	uint8		outcome;		/* EdwOutcome */
	int64		at;				/* of a versioned target: since when, in the unit of its valid_from */
	const char *txid;			/* for arrives and departs, else NULL */
	uint64		identity;

	/* one block of memory, values first; ncolumns of the target each; 'd': only the key's, and if soft the audit columns' */
	Datum	   *values;
	bool	   *nulls;
	uint8	   *presence;		/* EdwPresence */
} EdwFoldChange;

/* messages whose changes were folded into one that may still be rejected */
typedef struct EdwMessageList
{
	struct EdwMessageList *next;
	int32		message;
} EdwMessageList;

/* an entry's partition, when it is not one */
#define EDW_PARTITION_NONE		(-1)	/* no event yet */
#define EDW_PARTITION_SEVERAL	(-2)

typedef struct EdwEntry
{
	EdwFoldChange live;			/* the first; op 0 when there is none */
	EdwFoldChange *last;		/* of the list that begins with live */
	EdwMessageList *folded;
	const uint8 *key;
	int32		key_len;
	uint32		hash;
	uint64		prefix;			/* the key's first 8 bytes, as a number to sort by */

	/* set by resolve.c, or for the only change by apply.c */
	bool		replay;			/* needs resolve.c */
	bool		several;		/* more than one change came, whatever is left of them */
	bool		expect_row;		/* replayed: what was found, which guard.c verifies */
	bool		expect_deleted; /* … softly */
	int32		partition;		/* of its events so far, or one of the above (O7) */
	EdwPositionBytes expect;
	EdwFoldChange *final;		/* what MERGE is to do; NULL nothing */
	bool		met_row;		/* guard: there was a row */
	EdwPositionBytes bury;		/* tombstone to be written, len 0: none */
	bool		blind;			/* a delete that met neither row nor tombstone */
} EdwEntry;

/* a truncate of a versioned target, which ends all versions of its time */
typedef struct EdwTruncate
{
	struct EdwTruncate *next;
	EdwPositionBytes position;
	int64		at;
} EdwTruncate;

typedef struct EdwBatchTarget
{
	EdwTarget  *target;
	EdwRoute   *route;
	struct edw_entries_hash *hash;		/* upsert */
	EdwEntry  **entries;		/* in order of first sight; append: one per event */
	int			nentries;
	int			entries_size;
	EdwPositionBytes barrier;	/* the greatest truncate: stored, or of this batch (P4) */
	bool		truncated;		/* … of this batch */
	EdwFoldChange truncate_row; /* its audit columns, if deletes are soft */
	EdwTruncate *truncated_at;	/* of a versioned target: each of them, in order */
	int64		outcomes[EDW_NOUTCOMES];
	int64		truncates;
	int64		moved;			/* changes whose key another partition had, too (O7) */
	Datum	   *key_values;		/* scratch */
} EdwBatchTarget;

struct EdwBatch
{
	MemoryContext context;
	uint64		serial;
	int			ntargets;
	int			targets_size;
	EdwBatchTarget **targets;

	/* a bump allocator: nothing is freed before the batch */
	char	   *arena;
	Size		arena_left;
	Size		arena_total;

	StringInfoData key;			/* scratch */
	int			nrejects;
	int			rejects_size;
	EdwReject  *rejects;
	const struct EdwWatch *watch;	/* who wants to see what changes: images.h; NULL nobody */
};

extern void *EdwBatchAlloc(EdwBatch *batch, Size size);
extern void EdwBatchReject(EdwBatch *batch, EdwBatchTarget *bt, const EdwEntry *entry,
						   int message, const char *reason, int sqlerrcode,
						   char *message_text);

/* … because this column of it has no value, in the event or stored (P5) */
extern void EdwBatchRejectUnavailable(EdwBatch *batch, EdwBatchTarget *bt, const EdwEntry *entry,
									  int message, const char *column);

/* Give a change room for its row, nothing present in it. */
extern void EdwAllocRow(EdwBatch *batch, EdwFoldChange *c, int ncolumns);

/* Copy a position into the batch's memory. */
extern EdwPositionBytes EdwCopyPosition(EdwBatch *batch, EdwPositionBytes position);

/* Make the target's list of entries, which finds them by key, too. */
extern void EdwMakeEntries(EdwBatch *batch, EdwBatchTarget *bt);

/* Append an entry to the list; only EdwFindEntry makes one that is found by its key. */
extern void EdwAddEntry(EdwBatchTarget *bt, EdwEntry *entry);

/* The entry of the key in the batch's scratch buffer, made if there is none. */
extern EdwEntry *EdwFindEntry(EdwBatch *batch, EdwBatchTarget *bt);

/* Put the list in the order of keys, as rows are to be locked (apply.c). */
extern void EdwSortEntries(EdwBatchTarget *bt);

/* Fold a change into its key's entry. */
extern void EdwFold(EdwBatch *batch, EdwBatchTarget *bt, EdwEntry *entry, EdwFoldChange *c);

/*
 * Drop what the target's barrier makes void, counted as outcome; undated: also
 * what has no position.
 */
extern void EdwBatchPurge(EdwBatchTarget *bt, EdwOutcome outcome, bool undated);

static inline int
EdwPositionOrder(EdwPositionBytes a, EdwPositionBytes b)
{
	int			cmp = memcmp(a.bytes, b.bytes, Min(a.len, b.len));

	return cmp != 0 ? cmp : (a.len > b.len) - (a.len < b.len);
}

static inline void
EdwCountOutcome(EdwBatchTarget *bt, const EdwFoldChange *change, EdwOutcome outcome)
{
	if (change->counted)
		bt->outcomes[outcome]++;
}

#endif							/* EDW_APPLY_FOLD_H */
