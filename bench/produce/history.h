/*
 * history.h
 *		The history of one table that a database could have had: inserts, updates
 *		and deletes of random living rows, at random among each other, in
 *		transactions of one to eight. The same seed makes the same history.
 */
#ifndef HISTORY_H
#define HISTORY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct Row
{
	int64_t		cents;
	int64_t		updated_at;		/* Unix µs */
	int			customer_id;
	int			product_id;
	int8_t		status;
	bool		alive;
	bool		touched;		/* by an event */
} Row;

typedef struct History
{
	/* what is asked for */
	long		events;
	long		stop_after;		/* the first of them */
	int			rows_before;	/* rows that are there, ids from 1 */
	int			recent;			/* updates and deletes hit one of so many young rows; 0: any */
	int			insert_percent; /* of the events */

	/* where it stands */
	Row		   *rows;			/* by id - 1 */
	int		   *alive;			/* ids of living rows, the youngest last, about */
	int			nalive;
	long		done;
	long		inserts;		/* still to come, as the two below */
	long		updates;
	long		deletes;
	int			next_id;
	int64_t		lsn;
	int64_t		commit_lsn;
	int64_t		txid;
	int			left_in_tx;
	int64_t		now;			/* Unix µs */
	uint64_t	random;
} History;

extern void StartHistory(History *h, uint64_t seed);
extern char NextChange(History *h, int *id);
extern void PrintRow(FILE *file, const History *h, int id);
extern void PrintChange(FILE *file, const History *h, char op, int id);
extern const char *StatusName(const Row *row);
extern void FormatTime(int64_t micros, char *out, size_t size);
extern void Die(const char *format,...) __attribute__((noreturn, format(printf, 1, 2)));

#endif							/* HISTORY_H */
