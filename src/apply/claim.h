/*
 * claim.h
 *		The keys that the batches under way are about to change, in shared memory.
 *
 * With several workers a key may be in two workers' partitions (O7). A delete that finds nothing must
 * know whether another worker's open transaction holds an older insert of that very row, which
 * in turn would have to see the tombstone. So before a batch is applied its keys are claimed:
 * whoever claimed one of them earlier is waited for to commit or roll back. Batches
 * without a key in common run side by side.
 */
#ifndef EDW_APPLY_CLAIM_H
#define EDW_APPLY_CLAIM_H

#include "apply/fold.h"

/* To be called from _PG_init. */
extern void EdwClaimsInit(void);

/* Is there shared memory for it? */
extern bool EdwClaimsAvailable(void);

/*
 * Claim the batch's keys to the end of the transaction, and wait for those that claimed one before. Locks of the
 * transaction are kept meanwhile: to be called before anything is written. False if that
 * cannot be: no shared memory, or no room in it.
 */
extern bool EdwClaimKeys(const EdwBatch *batch);

#endif							/* EDW_APPLY_CLAIM_H */
