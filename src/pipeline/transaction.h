/*
 * transaction.h
 *		Which held messages may be committed together without splitting a source
 *		transaction (rule P7).
 *
 * Pure: no PostgreSQL, no allocation. Every partition is a queue of messages; each
 * message belongs to a transaction, or to none. A prefix of every queue may be
 * committed if each transaction that has a message in it is complete and lies in it
 * wholly. EdwTransactionPrefixes finds the largest such prefixes.
 */
#ifndef EDW_PIPELINE_TRANSACTION_H
#define EDW_PIPELINE_TRANSACTION_H

#include <stdbool.h>

/* messages of one partition, in order */
typedef struct EdwTransactionQueue
{
	int			n;
	const int  *transactions;	/* of each message: an index, or -1 for none */
	int			prefix;			/* in: at most so many; out: so many may be committed */
} EdwTransactionQueue;

/*
 * complete[t]: all messages of transaction t are in the queues. Cuts the queues'
 * prefixes down until no transaction is split.
 */
extern void EdwTransactionPrefixes(EdwTransactionQueue *queues, int nqueues,
								   const bool *complete, bool *blocked, int ntransactions);

#endif							/* EDW_PIPELINE_TRANSACTION_H */
