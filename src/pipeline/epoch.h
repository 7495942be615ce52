/*
 * epoch.h
 *		The number in front of every position: how often the source started over (O4).
 *
 * Pure: works on the state that it is given and raises nothing. The state of a
 * partition is a part of its row in edw_stream.partition_offset.
 */
#ifndef EDW_PIPELINE_EPOCH_H
#define EDW_PIPELINE_EPOCH_H

#include "apply/batch.h"

typedef struct EdwEpochState
{
	int32		epoch;
	bool		streaming;		/* a streamed change was seen in this epoch */
	uint64		identity;		/* of the source server; 0: none seen yet */
	int64		max_source_ts;	/* the latest source time ever seen, Unix µs; 0: none */
	EdwPosition max_position;	/* highest streamed position of this epoch; len 0: none */
} EdwEpochState;

/* source time that may run backwards without meaning anything */
#define EDW_EPOCH_SLACK_US	INT64CONST(60000000)

typedef enum EdwEpochVerdict
{
	EDW_EPOCH_SAME,
	EDW_EPOCH_ROSE,
	EDW_EPOCH_JUMPED_BACK,		/* without a reason to: stall */
	EDW_EPOCH_EXHAUSTED			/* the number does not fit any more: stall */
} EdwEpochVerdict;

/*
 * See the next change of a partition: move the state on, and give the change its full
 * position and epoch. On JUMPED_BACK and EXHAUSTED nothing is changed.
 */
extern EdwEpochVerdict EdwEpochAdvance(EdwEpochState *state, const EdwChange *change,
									   int32 *epoch, EdwFullPosition *position);

/*
 * Where epochs began in a partition, by Kafka offset: a message that is read again after
 * a seek() belongs to the epoch that it belonged to the first time.
 */
#define EDW_EPOCH_STARTS	32

typedef struct EdwEpochStarts
{
	int			n;				/* 0: there was one epoch only */
	struct EdwEpochStart
	{
		int32		epoch;
		int64		offset;
		uint64		identity;
	}			starts[EDW_EPOCH_STARTS];
} EdwEpochStarts;

/* Note that the epoch of `after` begins at an offset, where it was that of `before` until now. */
extern void EdwEpochStartsAdd(EdwEpochStarts *starts, const EdwEpochState *before,
							  const EdwEpochState *after, int64 offset);

/* The epoch of a change that was read before, when the partition is in `present` now. */
extern int32 EdwEpochStartsFind(const EdwEpochStarts *starts, const EdwEpochState *present,
								const EdwChange *change, int64 offset);

/* Put an epoch in front of a position; one of length 0 stays so. */
extern void EdwEpochSetPosition(EdwFullPosition *full, const EdwPosition *position,
								int32 epoch);

#endif							/* EDW_PIPELINE_EPOCH_H */
