/*
 * source.h
 *		Where messages come from: the vtable that every source implements.
 *
 * A source hands out messages of topic partitions, in offset order within a
 * partition, starting where it is told to. It keeps no position of its own
 * that matters: positions live in edw_stream.partition_offset and are committed
 * with the rows (rule K1).
 *
 * Contract of every function below:
 *	- it never raises an ERROR and never longjmps: a failure is returned, with
 *	  an EdwSourceError filled in by the source;
 *	- it never blocks for over 100 ms; a call that needs the broker for longer
 *	  returns EDW_SOURCE_AGAIN and is called again by the pipeline, which
 *	  checks for interrupts in between;
 *	- memory that it hands out says to whom it belongs.
 *
 * The inbox source is the exception to the first rule: it reads a table through
 * SPI, within the caller's transaction, and may raise what SPI raises.
 */
#ifndef EDW_SOURCE_H
#define EDW_SOURCE_H

#include "nodes/pg_list.h"

/* offsets that are not offsets */
#define EDW_OFFSET_UNKNOWN	INT64CONST(-1)

typedef struct EdwSource EdwSource;

/* a header of a message; value is NULL for a null header, and is not NUL-terminated */
typedef struct EdwHeader
{
	const char *name;
	const char *value;
	int			value_len;
} EdwHeader;

/*
 * One message, borrowed from the source until EdwSourceOps.release.
 * key and value are not NUL-terminated; a null one is NULL with length -1
 * (an empty one is non-NULL with length 0).
 */
typedef struct EdwMessage
{
	const char *topic;			/* NUL-terminated; lives as long as the source */
	int32		partition;
	int64		offset;
	int64		timestamp_ms;	/* Kafka's timestamp, -1 when unknown */
	const char *key;
	int32		key_len;
	const char *value;
	int32		value_len;
	void	   *native;			/* the source's own handle */
} EdwMessage;

/* a partition and an offset in it; topic is palloc'd by whoever made the struct */
typedef struct EdwPartitionPosition
{
	char	   *topic;
	int32		partition;
	int64		offset;			/* the next message to read, or
								 * EDW_OFFSET_UNKNOWN */
} EdwPartitionPosition;

typedef enum EdwSourceResult
{
	EDW_SOURCE_OK,
	EDW_SOURCE_AGAIN,			/* not yet known: call again later */
	EDW_SOURCE_RETRY,			/* failed for now (broker down): worth a retry with backoff */
	EDW_SOURCE_FAILED			/* will not heal by itself: stall with the error */
} EdwSourceResult;

/* what went wrong, in the source's words; secrets never get in here */
typedef struct EdwSourceError
{
	int			sqlerrcode;
	char		message[512];	/* primary message */
	char		hint[512];		/* "" when there is none */
} EdwSourceError;

/*
 * What a source has to tell besides messages. Drained with next_notice after
 * every poll.
 */
typedef enum EdwNoticeKind
{
	EDW_NOTICE_REACHED_END,		/* partition is read up to offset (its current
								 * end; gaps before it are gone: rule K2) */
	EDW_NOTICE_OFFSET_LOST,		/* the wanted offset is no longer or not yet there:
								 * [wanted, low) or (high, wanted] is lost (K3) */
	EDW_NOTICE_PARTITIONS_CHANGED,	/* topics or partitions appeared (K4) */
	EDW_NOTICE_TRANSIENT,		/* the broker is away; librdkafka retries by
								 * itself; told once per outage */
	EDW_NOTICE_RECOVERED,		/* the outage is over */
	EDW_NOTICE_FATAL			/* authentication, authorization, unknown topic …: stall */
} EdwNoticeKind;

typedef struct EdwSourceNotice
{
	EdwNoticeKind kind;
	const char *topic;			/* NULL unless about one partition */
	int32		partition;
	int64		wanted;			/* OFFSET_LOST: the offset that was asked for;
								 * REACHED_END: the end offset */
	int64		low;			/* OFFSET_LOST: first offset still there */
	int64		high;			/* OFFSET_LOST: next offset to be written;
								 * REACHED_END: the same, as far as known: if it is higher
								 * than wanted, what is between belongs to transactions
								 * that are still open (rule K5) */
	EdwSourceError error;		/* TRANSIENT, FATAL, OFFSET_LOST */
} EdwSourceNotice;

/* where a partition without a stored offset starts */
typedef enum EdwStartAt
{
	EDW_START_EARLIEST,
	EDW_START_LATEST,
	EDW_START_TIMESTAMP
} EdwStartAt;

/* all that open needs; strings are copied by the source as far as it keeps them */
typedef struct EdwSourceConfig
{
	const char *stream;			/* the stream's name */
	Oid			owner;			/* its owner: whose user mapping is used */
	const char *server;			/* foreign server, NULL for the inbox */
	List	   *topics;			/* list of char *; one that begins with ^ is a regex */
	int			worker;			/* this worker's number … */
	int			workers;		/* … of how many */
	Size		fetch_memory;	/* bytes that may wait inside the source (K8) */
	const char *group_id;		/* the consumer group whose offsets are shown to others */
} EdwSourceConfig;

/*
 * The vtable. A source begins with the struct EdwSource below.
 */
typedef struct EdwSourceOps
{
	const char *name;

	/*
	 * Make a source. Reads the foreign server and user mapping (needs a
	 * transaction), connects in the background. NULL and *error on failure.
	 * The result lives in the current memory context.
	 */
	EdwSource  *(*open) (const EdwSourceConfig *config, EdwSourceError *error);

	/* A file descriptor that becomes readable when poll has something, or -1
	 * when the process latch is set instead. */
	int			(*wait_fd) (EdwSource *source);

	/*
	 * The partitions that the stream's topics have now, of all workers, as a
	 * palloc'd list of EdwPartitionPosition * with offset UNKNOWN, by topic
	 * and partition. A listed topic that does not exist is FAILED.
	 */
	EdwSourceResult (*list_partitions) (EdwSource *source, List **partitions,
										EdwSourceError *error);

	/*
	 * Fill in .offset of each of n positions with where to start.
	 * timestamp_ms counts only for EDW_START_TIMESTAMP; a timestamp after the
	 * last message means the end.
	 */
	EdwSourceResult (*start_offsets) (EdwSource *source, EdwStartAt start_at,
									  int64 timestamp_ms,
									  EdwPartitionPosition *positions, int n,
									  EdwSourceError *error);

	/*
	 * Fill in .offset of each of n positions with the end a read_committed
	 * reader can reach now (the last stable offset).
	 */
	EdwSourceResult (*end_offsets) (EdwSource *source,
									EdwPartitionPosition *positions, int n,
									EdwSourceError *error);

	/*
	 * Read exactly these partitions from exactly these offsets from now on.
	 * Replaces the former assignment; messages of that one that were not
	 * polled yet are not delivered any more.
	 */
	EdwSourceResult (*assign) (EdwSource *source,
							   const EdwPartitionPosition *positions, int n,
							   EdwSourceError *error);

	/*
	 * Take up to max_messages messages or, once one is taken, max_bytes bytes
	 * of key and value. Does not wait. Returns how many were taken.
	 */
	int			(*poll) (EdwSource *source, EdwMessage *messages,
						 int max_messages, Size max_bytes);

	/* The next notice, false when there is none. Its strings are valid until
	 * the next call into the source. */
	bool		(*next_notice) (EdwSource *source, EdwSourceNotice *notice);

	/*
	 * A message's headers: fills at most max, returns how many it has. The
	 * strings are valid until the message is released.
	 */
	int			(*headers) (const EdwMessage *message, EdwHeader *headers, int max);

	/*
	 * The message is read soon: begin to bring what that needs into the
	 * processor's cache. NULL if that is not worth it.
	 */
	void		(*prefetch) (const EdwMessage *message);

	/* Give messages back. */
	void		(*release) (EdwSource *source, EdwMessage *messages, int n);

	/*
	 * Tell the outside that everything below these offsets is committed: best
	 * effort and asynchronous (K1).
	 */
	void		(*committed) (EdwSource *source,
							  const EdwPartitionPosition *positions, int n);

	/* Let go of everything, within 100 ms, broker up or down. */
	void		(*close) (EdwSource *source);
} EdwSourceOps;

struct EdwSource
{
	const EdwSourceOps *ops;
};

/* list_sort's way to order a list of EdwPartitionPosition *: by topic and partition */
static inline int
EdwComparePositions(const ListCell *a, const ListCell *b)
{
	const EdwPartitionPosition *x = lfirst(a);
	const EdwPartitionPosition *y = lfirst(b);
	int			cmp = strcmp(x->topic, y->topic);

	return cmp != 0 ? cmp : (x->partition > y->partition) - (x->partition < y->partition);
}

extern const EdwSourceOps EdwKafkaSourceOps;	/* source/kafka.c */
extern const EdwSourceOps EdwInboxSourceOps;	/* source/inbox.c */

#endif							/* EDW_SOURCE_H */
