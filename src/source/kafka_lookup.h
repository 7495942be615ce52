/*
 * kafka_lookup.h
 *		Questions to a Kafka cluster that take a round trip, off the backend's thread.
 *
 * librdkafka 2.0 asks for metadata and offsets with calls that block, and a call
 * that is cut short forgets the answer that is under way, so asking again every
 * 100 ms would never get one from a broker that is further away than that. One helper
 * thread per source asks instead; the backend's thread submits and collects and never waits.
 *
 * No PostgreSQL code runs in the thread: kafka_lookup.c does not include postgres.h.
 * What crosses is malloc'd, under the struct's mutex. The thread owns the handle,
 * the queue and the wake-up descriptor of the source, and destroys them at the end,
 * because that can take longer than a backend may wait.
 */
#ifndef EDW_SOURCE_KAFKA_LOOKUP_H
#define EDW_SOURCE_KAFKA_LOOKUP_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct EdwKafkaLookup EdwKafkaLookup;

/* one question of each kind can be under way at a time */
typedef enum EdwLookupKind
{
	EDW_LOOKUP_START,			/* where a new partition begins */
	EDW_LOOKUP_END,				/* where partitions end */
	EDW_LOOKUP_LOW,				/* first offset of partitions whose offset is lost … */
	EDW_LOOKUP_HIGH,			/* … and their end */
	EDW_LOOKUP_KINDS
} EdwLookupKind;

typedef enum EdwLookupState
{
	EDW_LOOKUP_IDLE,			/* BUSY */
	EDW_LOOKUP_BUSY,			/* DONE */
	EDW_LOOKUP_DONE				/* IDLE, BUSY */
} EdwLookupState;

/* what became of a question */
typedef struct EdwLookupError
{
	rd_kafka_resp_err_t err;
	char		text[256];		/* librdkafka's words: sanitize before use */
} EdwLookupError;

/* the cluster's topics as last asked; the caller destroys metadata */
typedef struct EdwKafkaListing
{
	uint64_t	ticket;			/* answers all requests up to this one */
	EdwLookupError error;		/* NO_ERROR: metadata is set */
	const struct rd_kafka_metadata *metadata;
} EdwKafkaListing;

/*
 * Start the thread. Takes over rk, queue and wake_fd (an eventfd), also on failure.
 * topics are copied; all asks for every topic of the cluster (for regexes). The
 * first listing is asked for at once, further ones every refresh_ms. pace: the fetches' wait is
 * the thread's to choose.
 * NULL when there is no memory or no thread to be had.
 */
extern EdwKafkaLookup *EdwKafkaLookupOpen(rd_kafka_t *rk, rd_kafka_queue_t *queue,
										  int wake_fd, const char *const *topics,
										  int ntopics, bool all, int refresh_ms, bool pace);

/*
 * Have the thread destroy everything and end; waits for that at most 100 ms. Messages
 * and events must have been destroyed before.
 */
extern void EdwKafkaLookupClose(EdwKafkaLookup *lookup);

/* Wait for threads that have not ended yet, at most so long. Before exit(). */
extern void EdwKafkaLookupAwaitOrphans(int timeout_ms);

/* Ask for a listing soon; returns its ticket. */
extern uint64_t EdwKafkaLookupRefresh(EdwKafkaLookup *lookup);

/* Take a listing that was not taken before; false when there is none. */
extern bool EdwKafkaLookupTakeListing(EdwKafkaLookup *lookup, EdwKafkaListing *listing);

/* While the cluster is away: ask for a listing every second. */
extern void EdwKafkaLookupWatch(EdwKafkaLookup *lookup, bool outage);

/*
 * Ask rd_kafka_offsets_for_times(list); takes over list. Only when the kind is not BUSY.
 */
extern void EdwKafkaLookupAskOffsets(EdwKafkaLookup *lookup, EdwLookupKind kind,
									 rd_kafka_topic_partition_list_t *list);

/*
 * The state of a kind. When DONE, *list is the answer, to be destroyed by the
 * caller, or NULL with *error set; the kind is IDLE afterwards.
 */
extern EdwLookupState EdwKafkaLookupTakeOffsets(EdwKafkaLookup *lookup, EdwLookupKind kind,
												rd_kafka_topic_partition_list_t **list,
												EdwLookupError *error);

/* Partitions are about to be assigned: for a while no fetch is to keep them waiting. */
extern void EdwKafkaLookupAssigning(EdwKafkaLookup *lookup);

/*
 * Have an offset committed to the group, best effort: at once, or a second after
 * the last time together with others that came meanwhile.
 */
extern void EdwKafkaLookupCommit(EdwKafkaLookup *lookup, const char *topic,
								 int32_t partition, int64_t offset);

#endif							/* EDW_SOURCE_KAFKA_LOOKUP_H */
