/*
 * kafka_internal.h
 *		What the files of the Kafka source share: kafka*.c but kafka_lookup.c.
 */
#ifndef EDW_SOURCE_KAFKA_INTERNAL_H
#define EDW_SOURCE_KAFKA_INTERNAL_H

#include "edw_stream.h"

#include <librdkafka/rdkafka.h>

#include "datatype/timestamp.h"
#include "lib/ilist.h"
#include "source/kafka_config.h"
#include "source/kafka_lookup.h"
#include "source/source.h"
#include "utils/hsearch.h"

/* Kafka's limit is 249 */
#define EDW_TOPIC_NAME_MAX	256

typedef struct EdwPartitionKey
{
	char		topic[EDW_TOPIC_NAME_MAX];	/* padded with zeros */
	int32		partition;
} EdwPartitionKey;

/* a notice in the queue of those not told yet */
typedef struct EdwQueuedNotice
{
	dlist_node	node;
	EdwSourceNotice notice;
} EdwQueuedNotice;

/* what is known of a partition; entries stay for the source's life */
typedef struct EdwKafkaPartition
{
	EdwPartitionKey key;		/* first, for dynahash */
	bool		assigned;
	int64		next;			/* messages below were delivered already */
	bool		lost;			/* OFFSET_LOST is due, once low and high are known */
	int64		wanted;			/* … for this offset */
	EdwQueuedNotice *end_notice;	/* its queued REACHED_END */
	int64		end;			/* the end that was reached, or UNKNOWN; … */
	int64		high;			/* … what the log was known to hold then (K5) */
} EdwKafkaPartition;

/* a message that the caller holds */
typedef struct EdwBorrowed
{
	dlist_node	node;			/* of source->borrowed, or free list */
	rd_kafka_event_t *event;
	const rd_kafka_message_t *message;
} EdwBorrowed;

/* a log line of librdkafka's, until poll may write it */
typedef struct EdwLogLine
{
	int			level;			/* syslog's */
	char		text[400];
} EdwLogLine;

#define EDW_LOG_LINES		16

/* a listing of the cluster's topics, reduced to the stream's */
typedef struct EdwTopicList
{
	MemoryContext context;		/* of itself */
	List	   *positions;		/* EdwPartitionPosition *, by topic and partition */
	EdwSourceResult result;		/* OK, RETRY, FAILED */
	EdwSourceError error;
} EdwTopicList;

typedef struct EdwKafkaSource
{
	EdwSource	base;
	MemoryContext context;		/* everything below; its reset closes the source */
	MemoryContextCallback on_reset;
	dlist_node	node;			/* in the list of the process's open sources */
	char	   *stream;
	char	   *group_id;
	EdwKafkaConfig *config;

	rd_kafka_t *rk;				/* both owned by lookup */
	rd_kafka_queue_t *queue;
	EdwKafkaLookup *lookup;		/* NULL: closed */
	int			wake_fd;

	HTAB	   *partitions;
	bool		has_assignment; /* assign was called */
	rd_kafka_topic_t *last_rkt; /* of the last message, and its partition */
	int32		last_partition;
	EdwKafkaPartition *last;
	int			lost_pending;	/* partitions with lost set */
	bool		low_asked;
	rd_kafka_topic_partition_list_t *low;	/* answers for the lost ones */
	rd_kafka_topic_partition_list_t *high;
	TimestampTz last_wake;

	dlist_head	borrowed;
	dlist_head	free_borrowed;

	dlist_head	notices;
	EdwQueuedNotice *told;		/* handed out by next_notice */
	bool		outage;			/* TRANSIENT was told */
	bool		connected;		/* the cluster answered at least once */
	int			auth_failures;	/* since it last answered */
	bool		fatal;			/* FATAL was told, with … */
	EdwSourceError fatal_error;
	char		broker_error[400];	/* the last thing a broker connection said */

	List	   *names;			/* char *: topics listed by name */
	List	   *patterns;		/* regex_t *, of topics that begin with ^ */
	EdwTopicList *topics;		/* the latest listing */
	bool		topics_unread;	/* list_partitions may return it at once */
	uint64		ticket;			/* of the listing that list_partitions waits for */
	TimestampTz missing_since;	/* listings lack a topic since then, 0: none */
	uint32		asked[EDW_LOOKUP_KINDS];	/* hash of what is being asked, 0 none */

	EdwPartitionPosition *ends; /* before timestamps were asked for … */
	uint32		ends_hash;		/* … of these positions, 0 none */

	int			nlog;
	int			log_dropped;
	EdwLogLine	log[EDW_LOG_LINES];
} EdwKafkaSource;

/* kafka.c */
extern void EdwKafkaServeUnassigned(EdwKafkaSource *source);

/* kafka_assign.c: partitions that are read */
extern void EdwKafkaInitPartitions(EdwKafkaSource *source);
extern EdwSourceResult EdwKafkaAssign(EdwSource *base, const EdwPartitionPosition *positions,
									  int n, EdwSourceError *error);
extern EdwKafkaPartition *EdwKafkaPartitionOf(EdwKafkaSource *source, const char *topic,
											  int32 partition, bool create);

/* kafka_event.c: what happened, told as notices */
extern void EdwKafkaHandleEvent(EdwKafkaSource *source, rd_kafka_event_t *event);
extern EdwSourceNotice *EdwKafkaAddNotice(EdwKafkaSource *source, EdwNoticeKind kind,
										  const EdwKafkaPartition *partition);
extern void EdwKafkaClusterAnswered(EdwKafkaSource *source);
extern void EdwKafkaClusterAway(EdwKafkaSource *source);
extern void EdwKafkaFillError(EdwKafkaSource *source, rd_kafka_resp_err_t err,
							  const char *text, EdwSourceError *error);
extern void EdwKafkaLookBehindEnds(EdwKafkaSource *source);
extern void EdwKafkaWriteLog(EdwKafkaSource *source);

/* kafka_topics.c: topics and partitions */
extern bool EdwKafkaTopicsInit(EdwKafkaSource *source, List *topics, EdwSourceError *error);
extern void EdwKafkaTopicsFree(EdwKafkaSource *source);
extern void EdwKafkaTopicsPoll(EdwKafkaSource *source);
extern EdwSourceResult EdwKafkaListPartitions(EdwSource *base, List **partitions,
											  EdwSourceError *error);

/* kafka_offsets.c: where they begin and end */
extern void EdwKafkaFollowLost(EdwKafkaSource *source);
extern EdwSourceResult EdwKafkaStartOffsets(EdwSource *base, EdwStartAt start_at,
											int64 timestamp_ms, EdwPartitionPosition *positions,
											int n, EdwSourceError *error);
extern EdwSourceResult EdwKafkaEndOffsets(EdwSource *base, EdwPartitionPosition *positions,
										  int n, EdwSourceError *error);

#endif							/* EDW_SOURCE_KAFKA_INTERNAL_H */
