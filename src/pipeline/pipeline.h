/*
 * pipeline.h
 *		One worker's share of a stream, from source to commit.
 *
 * The same code runs in a background worker and in CALL edw_stream.drain(). It is
 * called outside of any transaction of its own making: each step begins and ends
 * its transactions itself. A message leaves the pipeline only by a commit that holds
 * its rows (or its dead letter) and its offset.
 */
#ifndef EDW_PIPELINE_H
#define EDW_PIPELINE_H

#include "catalog/stream.h"

typedef struct EdwPipeline EdwPipeline;

typedef enum EdwPipelineMode
{
	EDW_PIPELINE_WORKER,		/* background worker: owns its transactions */
	EDW_PIPELINE_SESSION,		/* CALL drain(): SPI_commit in a non-atomic call */
	EDW_PIPELINE_PREVIEW		/* preview(): subtransactions of one that the caller rolls back */
} EdwPipelineMode;

typedef enum EdwStepResult
{
	EDW_STEP_MORE,				/* something was done: call again at once */
	EDW_STEP_IDLE,				/* nothing to do: wait for the source, the latch or the time-out */
	EDW_STEP_STALLED,			/* recorded in edw_stream.stream; end the worker */
	EDW_STEP_RETRY,				/* a passing fault: wait EdwPipelineRetryDelay, then again */
	EDW_STEP_GONE				/* stream, extension or wanted state is gone: end quietly */
} EdwStepResult;

/*
 * Open worker number `worker` of a stream; SESSION and PREVIEW take all partitions
 * (worker = -1). Nothing is connected before the first step. Lives in a context
 * under TopMemoryContext of its own until EdwPipelineClose.
 */
extern EdwPipeline *EdwPipelineOpen(const char *stream, int worker, EdwPipelineMode mode);

/*
 * Do the next thing: discover partitions, poll, apply one batch, commit; at most
 * one data transaction. Catches errors of the data and of the environment and turns them
 * into dead letters, a stall or a retry (rule K7); raises only for query
 * cancel, termination and errors of its own bookkeeping.
 */
extern EdwStepResult EdwPipelineStep(EdwPipeline *pipeline);

/*
 * After IDLE: is everything applied that there is? False while the source has not answered
 * yet or is away, and while messages are held for the rest of their transaction.
 */
extern bool EdwPipelineIsAtEnd(EdwPipeline *pipeline);

/* After IDLE: has the source said that it is away, and not yet that it is back? */
extern bool EdwPipelineIsCutOff(EdwPipeline *pipeline);

/* what to put into a WaitEventSet: -1 when the latch alone tells */
extern int	EdwPipelineWaitFd(EdwPipeline *pipeline);

/* ms until the next step has something to do even if nothing arrives; -1 never */
extern long EdwPipelineTimeout(EdwPipeline *pipeline);
extern long EdwPipelineRetryDelay(EdwPipeline *pipeline);

/* The stream's definition or mappings changed: read them again at the next step. */
extern void EdwPipelineReload(EdwPipeline *pipeline);

/* Does an ERROR of this code heal by itself (K7)? */
extern bool EdwErrorsArePassing(int code);

/* Within 100 ms; also called from a before_shmem_exit hook. */
extern void EdwPipelineClose(EdwPipeline *pipeline);

#endif							/* EDW_PIPELINE_H */
