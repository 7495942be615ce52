/*
 * kafka_pace.h
 *		How often librdkafka's threads wake up while there is nothing to do.
 *
 * A broker holds back the answer to a fetch that finds nothing. It tells of a new message at once, but
 * not of partitions that the fetch did not name: those that are being assigned, one after the
 * other, or that had no room in the queue. So fetches are very short at first, short while
 * messages are committed, and long when none were for a while.
 *
 * No PostgreSQL code: what is here runs in librdkafka's threads, or under the mutex of kafka_lookup.c.
 */
#ifndef EDW_SOURCE_KAFKA_PACE_H
#define EDW_SOURCE_KAFKA_PACE_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

/* times in ms, as those of kafka_lookup.c */
typedef struct EdwKafkaPace
{
	bool		ours;			/* the user has not set how long fetches wait */
	int			wait_ms;		/* what is set */
	int64_t		assigned_until; /* very short up to then */
	int64_t		busy_until;		/* short up to then */
	int64_t		next;			/* when PaceFetches has something to do; INT64_MAX: never */
} EdwKafkaPace;

/* Give the threads of a handle that is made of conf lazy timers; false: no memory. */
extern bool EdwKafkaPaceThreads(rd_kafka_conf_t *conf);

extern void EdwKafkaPaceInit(EdwKafkaPace *pace, bool ours, int64_t now);

/* Partitions are about to be assigned. */
extern void EdwKafkaPaceAssigning(EdwKafkaPace *pace, rd_kafka_t *rk, int64_t now);

/* Messages were committed. Has no effect before PaceFetches. */
extern void EdwKafkaPaceBusy(EdwKafkaPace *pace, int64_t now);

/* Set how long the next fetches wait, by what was told last. */
extern void EdwKafkaPaceFetches(EdwKafkaPace *pace, rd_kafka_t *rk, int64_t now);

#endif							/* EDW_SOURCE_KAFKA_PACE_H */
