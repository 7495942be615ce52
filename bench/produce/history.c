/*
 * history.c
 *		Makes the history, and prints rows and changes in COPY's text form.
 *
 * insert_percent of the events are inserts (of as many keys), 10 % deletes, the rest updates. The last
 * event is an update, so that who waits for the end can wait for its row.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "history.h"

#define MICROS_2026		INT64_C(1767225600000000)	/* 2026-01-01 UTC */

static const char *const statuses[] = {"NEW", "PAID", "PACKED", "SHIPPED", "DELIVERED", "RETURNED"};

void
StartHistory(History *h, uint64_t seed)
{
	size_t		n;

	h->inserts = h->events * h->insert_percent / 100;
	h->deletes = h->events / 10;
	h->updates = h->events - h->inserts - h->deletes;
	n = h->rows_before + h->inserts;
	h->rows = calloc(n, sizeof(Row));
	h->alive = calloc(n, sizeof(int));
	if (h->rows == NULL || h->alive == NULL)
		Die("out of memory");
	for (h->next_id = 1; h->next_id <= h->rows_before; h->next_id++)
	{
		h->alive[h->nalive++] = h->next_id;
		h->rows[h->next_id - 1].alive = true;
	}
	h->lsn = INT64_C(26866992);
	h->txid = 748;
	h->now = MICROS_2026;
	h->random = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
}

/* xorshift64*: the same everywhere */
static uint64_t
next_random(History *h)
{
	h->random ^= h->random >> 12;
	h->random ^= h->random << 25;
	h->random ^= h->random >> 27;
	return h->random * UINT64_C(2685821657736338717);
}

static long
random_below(History *h, long n)
{
	return (long) ((next_random(h) >> 11) % (uint64_t) n);
}

/* the source's clock, log and transactions go on */
static void
advance(History *h)
{
	h->now += 50 + random_below(h, 900);
	if (h->left_in_tx == 0)
	{
		h->commit_lsn = h->lsn;
		h->txid++;
		h->left_in_tx = 1 + random_below(h, 8);
		h->lsn += 56;
	}
	h->left_in_tx--;
	h->lsn += 80 + random_below(h, 200);
}

/* choose the next event among what is still to come and possible */
static char
choose_op(History *h)
{
	/* one update is kept for the end */
	long		updates = h->updates - 1;

	if (h->done == h->stop_after - 1)
		return 'u';
	for (;;)
	{
		long		pick = random_below(h, h->inserts + updates + h->deletes);

		if (pick < h->inserts)
			return 'c';
		/* a row is left for the updates that are still to come */
		if (pick < h->inserts + updates ? h->nalive > 0 : h->nalive > 1)
			return pick < h->inserts + updates ? 'u' : 'd';
	}
}

static void
randomize_row(History *h, Row *row)
{
	row->customer_id = 1 + random_below(h, 50000);
	row->product_id = 1 + random_below(h, 5000);
	row->status = random_below(h, 6);
	row->cents = random_below(h, 10000000) - 100000;
	row->updated_at = h->now;
	row->touched = true;
}

/* make the next change; returns c, u or d, and the row's id */
char
NextChange(History *h, int *id)
{
	char		op = choose_op(h);
	int			at;

	advance(h);
	h->done++;
	if (op == 'c')
	{
		h->inserts--;
		*id = h->next_id++;
		h->alive[h->nalive++] = *id;
		h->rows[*id - 1].alive = true;
		randomize_row(h, &h->rows[*id - 1]);
		return op;
	}
	if (h->recent > 0 && h->recent < h->nalive)
		at = h->nalive - 1 - random_below(h, h->recent);
	else
		at = random_below(h, h->nalive);
	*id = h->alive[at];
	if (op == 'u')
	{
		h->updates--;
		randomize_row(h, &h->rows[*id - 1]);
		return op;
	}
	h->deletes--;
	h->alive[at] = h->alive[--h->nalive];
	h->rows[*id - 1].alive = false;
	h->rows[*id - 1].touched = true;
	return op;
}

const char *
StatusName(const Row *row)
{
	return statuses[row->status];
}

/* 2026-01-02T03:04:05.678901 */
void
FormatTime(int64_t micros, char *out, size_t size)
{
	time_t		seconds = micros / 1000000;
	struct tm	tm;
	size_t		n;

	gmtime_r(&seconds, &tm);
	n = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + n, size - n, ".%06d", (int) (micros % 1000000));
}

/* print the row as it stands, without a line's end */
void
PrintRow(FILE *file, const History *h, int id)
{
	const Row  *row = &h->rows[id - 1];
	char		when[40];

	FormatTime(row->updated_at, when, sizeof(when));
	fprintf(file, "%d\t%d\t%d\t%s\t%s%" PRId64 ".%02" PRId64 "\t%s+00", id, row->customer_id, row->product_id,
			StatusName(row), row->cents < 0 ? "-" : "", (int64_t) llabs(row->cents) / 100,
			(int64_t) llabs(row->cents) % 100, when);
}

/* print the change that was made last: its number, what, the row, the position */
void
PrintChange(FILE *file, const History *h, char op, int id)
{
	fprintf(file, "%ld\t%c\t", h->done, op);
	if (op == 'd')
		fprintf(file, "%d\t\\N\t\\N\t\\N\t\\N\t\\N", id);
	else
		PrintRow(file, h, id);
	fprintf(file, "\t\\\\x%016" PRIx64 "%016" PRIx64 "\n", (uint64_t) h->commit_lsn, (uint64_t) h->lsn);
}
