/*
 * waiting.h
 *		Keys that wait for a dead letter (rule K6).
 *
 * While a message about a row is in the dead letters, a later one that has only some of the
 * row's columns cannot be applied: it would build on what is missing. It joins
 * the dead letters, reason key_waits. One that replaces the whole row, or
 * deletes it, supersedes them.
 *
 * The set of such keys is read when the definition is, and kept up by the pipeline itself;
 * a session that resolves dead letters makes workers read it again.
 */
#ifndef EDW_PIPELINE_WAITING_H
#define EDW_PIPELINE_WAITING_H

#include "apply/batch.h"
#include "pipeline/dead_letter.h"

typedef struct EdwWaiting EdwWaiting;

/* stream is kept by reference */
extern EdwWaiting *EdwWaitingCreate(MemoryContext parent, const char *stream);

/* What is known may be wrong (a rollback, another session): read it again at the next batch. */
extern void EdwWaitingForget(EdwWaiting *waiting);

/* At the start of a batch; needs a transaction. */
extern void EdwWaitingRefresh(EdwWaiting *waiting);


/* held: the key's letter waits for a member of a dimension; what joins it does so, too */
extern void EdwWaitingAdd(EdwWaiting *waiting, int32 mapping_id, const char *key, int len, bool held);
extern bool EdwWaitingAny(const EdwWaiting *waiting);

/*
 * Must this change wait? Then true, and the mark says so. If it supersedes what its key
 * waits for instead, that is written. newest: its position is not below one that was already seen.
 */
extern bool EdwWaitingMeets(EdwWaiting *waiting, EdwRoute *route, const EdwChange *change,
							bool newest, EdwDeadMark *mark);

/* The canonical key of the change's row in a target, as apply/key.h has it; false: it has none. */
extern bool EdwWaitingRowKey(EdwRoute *route, const EdwTarget *target, const EdwChange *change,
							 StringInfo key);

#endif							/* EDW_PIPELINE_WAITING_H */
