/*
 * keys.h
 *		Partition keys gathered from queries, each once.
 */
#ifndef EDW_VIEW_KEYS_H
#define EDW_VIEW_KEYS_H

#include "tcop/dest.h"
#include "view/definition.h"

typedef struct EdwViewKeys EdwViewKeys;

/* In a child of the current context. */
extern EdwViewKeys *EdwViewKeysCreate(const EdwViewDef *def);

/* Hands the rows of a query (a column per column of partition_by) to the set. */
extern DestReceiver *EdwViewKeysReceiver(EdwViewKeys *keys);

extern uint64 EdwViewKeysCount(const EdwViewKeys *keys);

/* Too many to be kept in maintenance_work_mem: the set stopped taking in more. */
extern bool EdwViewKeysOverflowed(const EdwViewKeys *keys);

/* As EdwViewQueryForKeys wants them; in the current context, values in the set's. */
extern List **EdwViewKeysLists(const EdwViewKeys *keys);

#endif							/* EDW_VIEW_KEYS_H */
