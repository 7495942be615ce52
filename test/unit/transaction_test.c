/*
 * transaction_test.c
 *		No source transaction is split, and nothing is held back without need (P7):
 *		EdwTransactionPrefixes against a search of all choices.
 *
 * build: src/pipeline/transaction.c
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/transaction.h"

#define QUEUES		3
#define LENGTH		4
#define TRANSACTIONS 4

static int	transactions[QUEUES][LENGTH];
static int	length[QUEUES];
static bool complete[TRANSACTIONS];

/* May these prefixes be committed together? */
static bool
is_allowed(const int *prefix)
{
	for (int t = 0; t < TRANSACTIONS; t++)
	{
		bool		inside = false;
		bool		outside = !complete[t];

		for (int q = 0; q < QUEUES; q++)
			for (int i = 0; i < length[q]; i++)
				if (transactions[q][i] == t)
				{
					if (i < prefix[q])
						inside = true;
					else
						outside = true;
				}
		if (inside && outside)
			return false;
	}
	return true;
}

/* The largest allowed prefixes; they form a lattice, so the maximum of each queue alone is it. */
static void
search(const int *most, int *best)
{
	int			p[QUEUES];

	memset(best, 0, sizeof(int) * QUEUES);
	for (p[0] = 0; p[0] <= most[0]; p[0]++)
		for (p[1] = 0; p[1] <= most[1]; p[1]++)
			for (p[2] = 0; p[2] <= most[2]; p[2]++)
				if (is_allowed(p))
					for (int q = 0; q < QUEUES; q++)
						best[q] = p[q] > best[q] ? p[q] : best[q];
}

static int
fail(const int *best, const EdwTransactionQueue *queues)
{
	for (int q = 0; q < QUEUES; q++)
	{
		printf("queue %d: expected %d, got %d:", q, best[q], queues[q].prefix);
		for (int i = 0; i < length[q]; i++)
			printf(" %d", transactions[q][i]);
		printf("\n");
	}
	return 1;
}

static int
try_one(void)
{
	EdwTransactionQueue queues[QUEUES];
	bool		blocked[TRANSACTIONS];
	int			most[QUEUES];
	int			best[QUEUES];

	for (int t = 0; t < TRANSACTIONS; t++)
		complete[t] = rand() % 4 != 0;
	for (int q = 0; q < QUEUES; q++)
	{
		length[q] = rand() % (LENGTH + 1);
		for (int i = 0; i < length[q]; i++)
			transactions[q][i] = rand() % (TRANSACTIONS + 1) - 1;
		most[q] = rand() % 3 == 0 ? rand() % (length[q] + 1) : length[q];
		queues[q].n = length[q];
		queues[q].transactions = transactions[q];
		queues[q].prefix = most[q];
	}
	EdwTransactionPrefixes(queues, QUEUES, complete, blocked, TRANSACTIONS);
	search(most, best);
	for (int q = 0; q < QUEUES; q++)
		if (queues[q].prefix != best[q])
			return fail(best, queues);
	return 0;
}

int
main(void)
{
	srand(7);
	for (int i = 0; i < 200000; i++)
		if (try_one() != 0)
			return 1;
	return 0;
}
