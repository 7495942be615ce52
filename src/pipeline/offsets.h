/*
 * offsets.h
 *		edw_stream.partition_offset: how far each partition is applied (rule K1).
 *
 * A row is locked before the messages of its partition are applied and written in
 * the same transaction: of two processes that hold the same messages, one finds
 * them below next_offset and skips them. Rows are locked in (topic, partition)
 * order, so that no two processes deadlock. All functions need a transaction with a snapshot.
 */
#ifndef EDW_PIPELINE_OFFSETS_H
#define EDW_PIPELINE_OFFSETS_H

#include "pipeline/epoch.h"

typedef struct EdwOffsetState
{
	int64		next_offset;
	int64		seen_offset;	/* next_offset at its highest */
	EdwEpochState epoch;
	EdwEpochStarts starts;

	/* the key of the partition's last message, if that was a delete (O9) */
	char	   *last_delete;
	int			last_delete_len;	/* -1: it was not */
	bool		changed;		/* last_change becomes now() */
} EdwOffsetState;

/* a row, as a list of these says where a stream stands */
typedef struct EdwStoredOffset
{
	char	   *topic;
	int32		partition;
	int64		next_offset;
} EdwStoredOffset;

/* All rows of a stream, by topic and partition (EdwStoredOffset *), in the current context. */
extern List *EdwOffsetsLoad(const char *stream);

/* The same as the active snapshot sees them, instead of a snapshot of its own. */
extern List *EdwOffsetsLoadLatest(const char *stream);

/*
 * Lock a row and read it as it is now; last_delete is allocated in the current context.
 * false: there is none.
 */
extern bool EdwOffsetLock(const char *stream, const char *topic, int32 partition,
						  EdwOffsetState *state);

/* Lock the offsets of all partitions: no batch of the stream runs until the transaction ends. */
extern void EdwOffsetsLockAll(const char *stream);

/* Write a locked row. */
extern void EdwOffsetStore(const char *stream, const char *topic, int32 partition,
						   const EdwOffsetState *state);

/*
 * Move only next_offset, wherever it stands; renewed: the topic was made anew, and what stands
 * there was never seen. Returns false when there is no such row.
 */
extern bool EdwOffsetSet(const char *stream, const char *topic, int32 partition,
						 int64 next_offset, bool renewed);

/*
 * Add a row for a partition seen for the first time; its epoch is the highest of
 * its topic. Nothing happens when there is one.
 */
extern void EdwOffsetInsert(const char *stream, const char *topic, int32 partition,
							int64 next_offset);

/* Start a new epoch in all partitions of a stream; returns how many there are. */
extern int64 EdwOffsetsBumpEpoch(const char *stream);

#endif							/* EDW_PIPELINE_OFFSETS_H */
