/*
 * transaction.c
 *		Which held messages may be committed together without splitting a source
 *		transaction (rule P7).
 *
 * A greatest fixpoint. A transaction is blocked when it is not complete or when one of
 * its messages lies behind a cut; a queue is cut before its first message of a blocked
 * transaction, which may block others. Blocks and cuts only grow, so this ends, and what
 * is left is the largest choice there is.
 */
#include "pipeline/transaction.h"

/* Block the transactions of the messages behind the queue's cut; true if any was not. */
static bool
block_behind_cut(const EdwTransactionQueue *queue, bool *blocked)
{
	bool		grew = false;

	for (int i = queue->prefix; i < queue->n; i++)
	{
		int			t = queue->transactions[i];

		if (t >= 0 && !blocked[t])
		{
			blocked[t] = true;
			grew = true;
		}
	}
	return grew;
}

/* Cut the queue before its first message of a blocked transaction. */
static void
cut_at_blocked(EdwTransactionQueue *queue, const bool *blocked)
{
	for (int i = 0; i < queue->prefix; i++)
	{
		int			t = queue->transactions[i];

		if (t >= 0 && blocked[t])
		{
			queue->prefix = i;
			return;
		}
	}
}

void
EdwTransactionPrefixes(EdwTransactionQueue *queues, int nqueues,
					   const bool *complete, bool *blocked, int ntransactions)
{
	bool		grew = true;

	for (int t = 0; t < ntransactions; t++)
		blocked[t] = !complete[t];
	for (int q = 0; q < nqueues; q++)
		(void) block_behind_cut(&queues[q], blocked);

	while (grew)
	{
		grew = false;
		for (int q = 0; q < nqueues; q++)
		{
			cut_at_blocked(&queues[q], blocked);
			if (block_behind_cut(&queues[q], blocked))
				grew = true;
		}
	}
}
