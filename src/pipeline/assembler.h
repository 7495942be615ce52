/*
 * assembler.h
 *		Which source transactions the held messages belong to, and which are complete.
 *
 * For streams with a transaction topic (rule P7). Works on the pipeline's held messages;
 * the choice itself is made by the pure algorithm in transaction.h.
 */
#ifndef EDW_PIPELINE_ASSEMBLER_H
#define EDW_PIPELINE_ASSEMBLER_H

#include "pipeline/internal.h"

extern EdwAssembler *EdwAssemblerCreate(MemoryContext parent);

/* All held messages were given back. */
extern void EdwAssemblerForget(EdwAssembler *assembler);

/*
 * Mark the held messages that can be committed without splitting a transaction. One
 * that stays incomplete too long, or fills the memory, is given up: its messages
 * count as free, and it goes to stats.incomplete.
 */
extern EdwRunResult EdwAssemblerChoose(EdwPipeline *pipeline);

/* ms until a transaction is given up; -1: none waits */
extern long EdwAssemblerTimeout(EdwPipeline *pipeline);

/* a transaction's id as a number that is neither 0 nor 1 */
extern uint64 EdwTransactionHash(const char *txid);

#endif							/* EDW_PIPELINE_ASSEMBLER_H */
