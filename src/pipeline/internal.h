/*
 * internal.h
 *		What the files of the pipeline share. Nobody else includes this.
 *
 * Memory: context (until close) > definition (until reload), assignment (until the partitions
 * are assigned anew), routes (until a target changes), batch (until the next batch).
 * Messages are the source's and are held until they are committed.
 */
#ifndef EDW_PIPELINE_INTERNAL_H
#define EDW_PIPELINE_INTERNAL_H

#include "apply/apply.h"
#include "apply/metadata.h"
#include "pipeline/dead_letter.h"
#include "pipeline/offsets.h"
#include "pipeline/pipeline.h"
#include "pipeline/transaction.h"
#include "pipeline/waiting.h"
#include "pipeline/xact.h"
#include "utils/timestamp.h"

typedef struct EdwAssembler EdwAssembler;
typedef struct EdwPreview EdwPreview;

/* a topic as the mappings want it: route, decoder, and a change to decode into */
typedef struct EdwTopic
{
	char	   *name;
	bool		is_transactions;	/* the topic of transaction metadata (P7) */
	EdwRoute   *route;
	EdwDecoder *decoder;		/* NULL when no mapping takes the topic */
	EdwChange	change;
	int			unmapped_seen;	/* length of decoder->unmapped that was looked at */
	bool		fields_recorded;	/* … at least once */
	bool		locked;			/* targets are locked in this transaction */
} EdwTopic;

/* a partition that this pipeline reads */
typedef struct EdwPartition
{
	char	   *topic_name;
	int32		number;
	EdwTopic   *topic;			/* NULL until first needed after routes were dropped */
	int64		expected;		/* what partition_offset said when last looked at */
	int64		fetched;		/* the next offset that a poll can bring */
	int64		reached;		/* read up to here by the source (K2); UNKNOWN: not told */
	bool		behind_transaction; /* last_error says that an open transaction holds it back */
	int			held;			/* messages of it that are held */
	bool		seen;			/* scratch of held.c */
	bool		searched;		/* scratch of search.c: a prefix cuts it short */

	/* while a batch runs */
	bool		locked;
	int			taken;			/* messages of it in this batch */
	int64		last_taken;		/* offset of the last of them */
	EdwOffsetState state;
} EdwPartition;

/* what goes with a held message, by the same index */
typedef struct EdwHeld
{
	EdwPartition *partition;
	EdwDeadMark *dead;			/* found to be poison: goes to the dead letters */
	bool		taken;			/* in the batch that runs */
	int32		epoch;			/* in the last run of its batch, 0: unknown */

	/* with a transaction topic (P7) */
	bool		known;			/* the fields below are filled in */
	int			transaction;	/* index into the assembler's, -1: of none */
} EdwHeld;

/* what the run of a batch came to */
typedef enum EdwRunResult
{
	EDW_RUN_COMMIT,				/* all is written: commit */
	EDW_RUN_NOTHING,			/* there was nothing to commit yet: wait for more */
	EDW_RUN_EXCLUSIVE,			/* run again, alone */
	EDW_RUN_AGAIN,				/* run again: messages turned out to be dead */
	EDW_RUN_REASSIGN,			/* stored offsets are not what was read from */
	EDW_RUN_STALL				/* pipeline->stall says why */
} EdwRunResult;

/* where an ERROR came from */
typedef enum EdwPhase
{
	EDW_PHASE_OTHER,
	EDW_PHASE_MESSAGE,			/* decoding or mapping the current message */
	EDW_PHASE_APPLY,			/* applying the batch as a whole */
	EDW_PHASE_VIEWS				/* what it changed into registered views */
} EdwPhase;

typedef struct EdwStall
{
	char	   *reason;			/* short code */
	char	   *message;
	char	   *hint;			/* NULL: none */
	bool		record_fields;	/* schema_changed: the new fields are recorded with the stall */
} EdwStall;

typedef struct EdwBatchStats
{
	int			messages;
	int64		bytes;
	int			dead;
	int			dead_waiting;	/* of those, only because their key waits (K6) */
	int64		changed_rows;
	int64		decode_us;
	int64		apply_us;
	List	   *incomplete;		/* char *: source transactions that were split */
	List	   *skips;			/* EdwSkipCount *, by topic and reason */
	List	   *dead_counts;	/* EdwDeadCount *, by mapping */
	EdwApplyResult *applied;
	int			ntimes;			/* source and Kafka times of the events, for the latencies */
	int64	   *source_times;	/* Unix µs, 0 unknown */
	int64	   *kafka_times;
} EdwBatchStats;

struct EdwPipeline
{
	char	   *stream;
	int			worker;
	EdwXact		xact;

	MemoryContext context;
	MemoryContext definition_context;
	MemoryContext assignment_context;
	MemoryContext routes_context;
	MemoryContext batch_context;
	MemoryContext step_context;

	/* definition */
	bool		reload;
	EdwStreamDef *def;
	List	   *mappings;
	List	   *topics;			/* EdwTopic *, in routes_context */

	/* source */
	MemoryContext source_context;
	EdwSource  *source;
	bool		assigned;
	bool		cut_off;		/* the source said that it is away */
	int			npartitions;
	EdwPartition *partitions;	/* by topic and number */
	List	   *listed;			/* EdwPartitionPosition *: all partitions, of all workers */

	/* held messages */
	int			nheld;
	int			held_size;
	EdwMessage *messages;
	EdwHeld    *held;
	Size		held_bytes;
	EdwAssembler *assembler;	/* NULL: no transaction topic */

	/* what runs */
	int			limit;			/* most messages of a batch, lower after an error */
	bool		exclusive;
	EdwPhase	phase;
	int			current;		/* the held message that is looked at, -1: none */
	bool		extend;			/* the batch needs more messages to be whole */
	bool		dry;			/* the last poll brought nothing */
	int64		commit_us;
	int64		batch_id;		/* of the batch that runs; 0: none was asked for yet */
	EdwBatchStats stats;
	EdwStall	stall;
	EdwWaiting *waiting;		/* keys that wait for a dead letter (K6) */

	EdwPreview *preview;		/* NULL: it is no preview */

	/* after errors */
	int			failures;		/* in a row */
	int			unique_failures;	/* 23505 in a row (G1) */
	bool		routes_changed; /* a target changed while a batch ran */
	int			changed_underneath; /* … so often in a row */
	long		retry_delay;	/* ms */
	double		window_messages;	/* the breaker's */
	double		window_dead;
	char		last_dead[256]; /* why the last message died */

	TimestampTz next_ends;		/* when to ask for the partitions' ends */
	TimestampTz next_prune;
	TimestampTz next_flush;		/* of reached ends */
};

/* pipeline.c */
extern void EdwPipelineSetStall(EdwPipeline *pipeline, const char *reason, const char *hint,
								const char *message,...) pg_attribute_printf(4, 5);
extern EdwStepResult EdwPipelineRecordStall(EdwPipeline *pipeline);

/* partitions.c: discovery, assignment, notices */
extern EdwStepResult EdwPartitionsAssign(EdwPipeline *pipeline);
extern void EdwPartitionsUnassign(EdwPipeline *pipeline);
extern EdwPartition *EdwPartitionFind(EdwPipeline *pipeline, const char *topic, int32 number);
extern bool EdwPartitionsReadNotices(EdwPipeline *pipeline, EdwStepResult *result);
extern void EdwPartitionsNoteEnds(EdwPipeline *pipeline);
extern bool EdwPartitionsMustFlush(EdwPipeline *pipeline);
extern bool EdwPartitionsFlushReached(EdwPipeline *pipeline);
extern void EdwSourceEnter(EdwPipeline *pipeline);
extern void EdwSourceLeave(EdwPipeline *pipeline);
extern EdwStepResult EdwSourceAnswer(EdwPipeline *pipeline, EdwSourceResult answer,
									 const EdwSourceError *error);

/* held.c: polled messages until they are committed */
extern int	EdwHeldPoll(EdwPipeline *pipeline);
extern void EdwHeldRelease(EdwPipeline *pipeline, bool only_taken);
extern EdwRunResult EdwHeldChoose(EdwPipeline *pipeline);

/* routes.c: topics made ready to decode */
extern EdwTopic *EdwTopicPrepare(EdwPipeline *pipeline, EdwPartition *partition);
extern void EdwRoutesDrop(EdwPipeline *pipeline);
extern void EdwRoutesStartBatch(EdwPipeline *pipeline);

/* fields.c: on_schema_change */
extern bool EdwFieldsCheck(EdwPipeline *pipeline, EdwTopic *topic);
extern void EdwFieldsRecordAll(EdwPipeline *pipeline);

/* run.c: one data transaction, without its begin and end */
extern EdwRunResult EdwRunBatch(EdwPipeline *pipeline, int prefix);
extern EdwDecodeResult EdwRunDecode(EdwPipeline *pipeline, int index, EdwTopic *topic,
									EdwReason *reason);
extern void EdwRunFindKey(EdwPipeline *pipeline, int index, EdwDeadMark *mark);
extern void EdwRunCommitted(EdwPipeline *pipeline);

/* errors.c */
extern EdwStepResult EdwErrorsHandle(EdwPipeline *pipeline, ErrorData *error);
extern EdwStepResult EdwErrorsRetry(EdwPipeline *pipeline, const char *message);
extern bool EdwErrorsBreakerTrips(EdwPipeline *pipeline, int dead, int messages);
extern void EdwErrorsBatchCommitted(EdwPipeline *pipeline);
extern bool EdwErrorsMustRethrow(int code);
extern bool EdwErrorsAreOfData(int code);
extern const char *EdwErrorsDataReason(int code);
extern EdwStepResult EdwErrorsMarkDead(EdwPipeline *pipeline, int index, const char *stage,
									   const ErrorData *error);
extern int32 EdwErrorsNamedMapping(EdwTopic *topic, const ErrorData *error);
extern void EdwErrorsNote(const char *message);

/* search.c: the poison message of a batch */
extern int	EdwSearchSize(EdwPipeline *pipeline);
extern EdwStepResult EdwSearchCulprit(EdwPipeline *pipeline);

/* awaited.c: messages that wait for a member of a dimension */
extern bool EdwAwaitedRelease(EdwPipeline *pipeline, EdwBatch *batch);
extern void EdwAwaitedExpire(EdwPipeline *pipeline);

/* preview.c; each does nothing where there is no preview */
extern void EdwPreviewStart(EdwPipeline *pipeline, EdwBatch *batch);
extern bool EdwPreviewTakes(EdwPipeline *pipeline, EdwTopic *topic);
extern void EdwPreviewBury(EdwPipeline *pipeline, int index, EdwTopic *topic, const EdwDeadMark *mark);
extern void EdwPreviewCommitted(EdwPipeline *pipeline);
extern bool EdwPreviewIsDone(const EdwPipeline *pipeline);

/* session.c: step until the ends that the topics have now are committed, or a preview is done */
extern void EdwSessionDrain(EdwPipeline *pipeline);

/* history.c */
extern void EdwHistoryStart(EdwPipeline *pipeline);
extern int64 EdwHistoryBatchId(EdwPipeline *pipeline);
extern void EdwHistorySkip(EdwPipeline *pipeline, const char *topic, const char *reason, int64 n);
extern void EdwHistoryDead(EdwPipeline *pipeline, EdwTopic *topic, const EdwDeadMark *mark);
extern void EdwHistoryWrite(EdwPipeline *pipeline);
extern void EdwHistoryWriteSkips(EdwPipeline *pipeline);
extern void EdwHistoryWriteTables(EdwPipeline *pipeline);
extern void EdwHistoryCount(EdwPipeline *pipeline, TimestampTz committed_at);
extern bool EdwHistoryPrune(EdwPipeline *pipeline);

#endif							/* EDW_PIPELINE_INTERNAL_H */
