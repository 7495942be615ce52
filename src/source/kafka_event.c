/*
 * kafka_event.c
 *		What librdkafka reports besides messages, told as notices.
 *
 * An outage is told once (TRANSIENT) when all brokers are away, and its end once
 * (RECOVERED) when the cluster answers again: librdkafka goes on trying by itself, and
 * the helper thread asks every second meanwhile. What does not heal by itself is FATAL, once.
 * Log lines wait in a small buffer until poll may write them. All text goes
 * through EdwKafkaSanitize.
 */
#include "postgres.h"

#include <syslog.h>

#include "miscadmin.h"
#include "source/kafka_internal.h"
#include "utils/memutils.h"

/*
 * A cluster that took our credentials before may refuse them for a moment while it
 * restarts: so often it may do so before we believe it.
 */
#define AUTH_FAILURES_BELIEVED	3

/* Queue a notice; about a partition, or NULL. The caller fills in the rest. */
EdwSourceNotice *
EdwKafkaAddNotice(EdwKafkaSource *source, EdwNoticeKind kind, const EdwKafkaPartition *partition)
{
	EdwQueuedNotice *q = MemoryContextAllocZero(source->context, sizeof(EdwQueuedNotice));

	q->notice.kind = kind;
	q->notice.wanted = q->notice.low = q->notice.high = EDW_OFFSET_UNKNOWN;
	if (partition)
	{
		q->notice.topic = partition->key.topic;
		q->notice.partition = partition->key.partition;
	}
	dlist_push_tail(&source->notices, &q->node);
	return &q->notice;
}

/* The SQLSTATE and hint of an error of librdkafka's. */
static int
classify(EdwKafkaSource *source, rd_kafka_resp_err_t err, char *hint, Size size)
{
	switch (err)
	{
		case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
			strlcpy(hint, "Grant the Kafka user READ and DESCRIBE on the topic.", size);
			return ERRCODE_INSUFFICIENT_PRIVILEGE;
		case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
			snprintf(hint, size, "Grant the Kafka user READ on the group \"%s\".", source->group_id);
			return ERRCODE_INSUFFICIENT_PRIVILEGE;
		case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
			strlcpy(hint, "Grant the Kafka user the right.", size);
			return ERRCODE_INSUFFICIENT_PRIVILEGE;
		case RD_KAFKA_RESP_ERR__AUTHENTICATION:
		case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
		case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM:
		case RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE:
			strlcpy(hint, "Check the server's sasl.mechanism and security.protocol and the user mapping.", size);
			return ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION;
		case RD_KAFKA_RESP_ERR__SSL:
			strlcpy(hint, "Check the server's security.protocol and ssl options.", size);
			return ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION;
		case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
		case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
		case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
			strlcpy(hint, "Create the topic, or correct the topics of the stream.", size);
			return ERRCODE_UNDEFINED_OBJECT;
		case RD_KAFKA_RESP_ERR__BAD_MSG:
		case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
		case RD_KAFKA_RESP_ERR_INVALID_MSG:
		case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
			strlcpy(hint, "Find out what damaged the log, then seek() past it.", size);
			return ERRCODE_DATA_CORRUPTED;
		case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
			strlcpy(hint, "Raise the server's option \"receive.message.max.bytes\".", size);
			return ERRCODE_PROGRAM_LIMIT_EXCEEDED;
		case RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED:
		case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
			hint[0] = '\0';
			return ERRCODE_FEATURE_NOT_SUPPORTED;
		default:
			hint[0] = '\0';
			return ERRCODE_CONNECTION_FAILURE;
	}
}

void
EdwKafkaFillError(EdwKafkaSource *source, rd_kafka_resp_err_t err, const char *text,
				  EdwSourceError *error)
{
	const char *prefix = "Kafka: ";

	error->sqlerrcode = classify(source, err, error->hint, sizeof(error->hint));
	strlcpy(error->message, prefix, sizeof(error->message));
	EdwKafkaSanitize(source->config, text, error->message + strlen(prefix),
					 sizeof(error->message) - strlen(prefix));
}

/* The cluster answered: an outage is over. */
void
EdwKafkaClusterAnswered(EdwKafkaSource *source)
{
	source->connected = true;
	source->auth_failures = 0;
	if (!source->outage)
		return;
	source->outage = false;
	source->broker_error[0] = '\0';
	EdwKafkaLookupWatch(source->lookup, false);
	EdwKafkaAddNotice(source, EDW_NOTICE_RECOVERED, NULL);
}

/* No broker can be reached. */
void
EdwKafkaClusterAway(EdwKafkaSource *source)
{
	EdwSourceNotice *notice;

	if (source->outage || source->fatal)
		return;
	source->outage = true;
	EdwKafkaLookupWatch(source->lookup, true);
	notice = EdwKafkaAddNotice(source, EDW_NOTICE_TRANSIENT, NULL);
	notice->error.sqlerrcode = ERRCODE_CONNECTION_FAILURE;
	snprintf(notice->error.message, sizeof(notice->error.message),
			 "Kafka cannot be reached%s%s", source->broker_error[0] ? ": " : "",
			 source->broker_error);
	strlcpy(notice->error.hint, "The worker goes on trying.", sizeof(notice->error.hint));
}

static void
tell_fatal(EdwKafkaSource *source, rd_kafka_resp_err_t err, const char *text,
		   const EdwKafkaPartition *partition)
{
	EdwSourceNotice *notice;

	if (source->fatal)
		return;
	source->fatal = true;
	notice = EdwKafkaAddNotice(source, EDW_NOTICE_FATAL, partition);
	EdwKafkaFillError(source, err, text, &notice->error);
	source->fatal_error = notice->error;
}

/* Credentials or certificates were refused. */
static void
authentication_failed(EdwKafkaSource *source, rd_kafka_resp_err_t err, const char *text)
{
	source->auth_failures++;
	if (!source->connected || source->auth_failures >= AUTH_FAILURES_BELIEVED)
		tell_fatal(source, err, text, NULL);
	else
		EdwKafkaClusterAway(source);
}

/* An error of the client or of a broker connection. */
static void
handle_client_error(EdwKafkaSource *source, rd_kafka_resp_err_t err, const char *text)
{
	char		fatal_text[256];

	switch (err)
	{
		case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
			EdwKafkaClusterAway(source);
			break;
		case RD_KAFKA_RESP_ERR__AUTHENTICATION:
		case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
		case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM:
		case RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE:
		case RD_KAFKA_RESP_ERR__SSL:
			authentication_failed(source, err, text);
			break;
		case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
		case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
		case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
			tell_fatal(source, err, text, NULL);
			break;
		case RD_KAFKA_RESP_ERR__FATAL:
			err = rd_kafka_fatal_error(source->rk, fatal_text, sizeof(fatal_text));
			tell_fatal(source, err, fatal_text, NULL);
			break;
		default:
			/* one broker's connection: worth mentioning when all are away */
			EdwKafkaSanitize(source->config, text, source->broker_error,
							 sizeof(source->broker_error));
			break;
	}
}

/* Tell that a partition is read up to p->end: once, with what is known last. */
static void
tell_end(EdwKafkaSource *source, EdwKafkaPartition *p)
{
	if (p->end_notice == NULL)
	{
		EdwSourceNotice *notice = EdwKafkaAddNotice(source, EDW_NOTICE_REACHED_END, p);

		p->end_notice = (EdwQueuedNotice *) ((char *) notice - offsetof(EdwQueuedNotice, notice));
	}
	p->end_notice->notice.wanted = p->end;
	p->end_notice->notice.high = p->high;
}

/* Where the log of a partition ends, as the last answer of its broker said, but not below p->end. */
static int64
log_end(EdwKafkaSource *source, const EdwKafkaPartition *p)
{
	int64		low;
	int64		high;

	if (rd_kafka_get_watermark_offsets(source->rk, p->key.topic, p->key.partition, &low, &high) !=
		RD_KAFKA_RESP_ERR_NO_ERROR)
		return p->end;
	return Max(high, p->end);
}

static void
handle_end(EdwKafkaSource *source, EdwKafkaPartition *p, int64 offset)
{
	EdwKafkaClusterAnswered(source);
	if (p->next < offset)
		p->next = offset;
	p->end = offset;
	p->high = log_end(source, p);
	tell_end(source, p);
}

/*
 * Partitions that are read up to their end: did the log grow behind it, by transactions
 * that are still open? librdkafka tells an end once only, so it is told again (K5).
 */
void
EdwKafkaLookBehindEnds(EdwKafkaSource *source)
{
	HASH_SEQ_STATUS scan;
	EdwKafkaPartition *p;

	hash_seq_init(&scan, source->partitions);
	while ((p = hash_seq_search(&scan)) != NULL)
	{
		int64		high;

		if (!p->assigned || p->end == EDW_OFFSET_UNKNOWN || p->next != p->end)
			continue;
		high = log_end(source, p);
		if (high == p->high)
			continue;
		p->high = high;
		tell_end(source, p);
	}
}

/* An error of one partition. */
static void
handle_partition_error(EdwKafkaSource *source, EdwKafkaPartition *p,
					   rd_kafka_resp_err_t err, const char *text, int64 offset)
{
	switch (err)
	{
		case RD_KAFKA_RESP_ERR__PARTITION_EOF:
			handle_end(source, p, offset);
			break;
		case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
		case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
			if (!p->lost)
				source->lost_pending++;
			p->lost = true;
			p->wanted = offset >= 0 ? offset : p->next;
			break;
		case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
		case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
		case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
			/* deleted, or a broker that has not heard of it yet: the next listing tells */
			EdwKafkaLookupRefresh(source->lookup);
			break;
		case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
		case RD_KAFKA_RESP_ERR__BAD_MSG:
		case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
		case RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED:
		case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
		case RD_KAFKA_RESP_ERR_INVALID_MSG:
		case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
		case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
			/* librdkafka would go on behind what it could not read */
			tell_fatal(source, err, text, p);
			break;
		default:
			handle_client_error(source, err, text);
			break;
	}
}

static void
handle_error(EdwKafkaSource *source, rd_kafka_event_t *event)
{
	rd_kafka_resp_err_t err = rd_kafka_event_error(event);
	const char *text = rd_kafka_event_error_string(event);
	rd_kafka_topic_partition_t *where = rd_kafka_event_topic_partition(event);
	EdwKafkaPartition *p = NULL;
	int64		offset = EDW_OFFSET_UNKNOWN;

	if (where)
	{
		p = EdwKafkaPartitionOf(source, where->topic, where->partition, false);
		offset = where->offset;
		rd_kafka_topic_partition_destroy(where);
		if (p == NULL || !p->assigned)
			return;				/* of a former assignment */
		handle_partition_error(source, p, err, text, offset);
	}
	else
		handle_client_error(source, err, text);
}

static void
keep_log_line(EdwKafkaSource *source, rd_kafka_event_t *event)
{
	const char *facility;
	const char *text;
	char		line[512];
	EdwLogLine *slot;
	int			level;

	if (rd_kafka_event_log(event, &facility, &text, &level) != 0)
		return;
	if (source->nlog >= EDW_LOG_LINES)
	{
		source->log_dropped++;
		return;
	}
	slot = &source->log[source->nlog++];
	slot->level = level;
	snprintf(line, sizeof(line), "%s: %s", facility, text);
	EdwKafkaSanitize(source->config, line, slot->text, sizeof(slot->text));
}

void
EdwKafkaHandleEvent(EdwKafkaSource *source, rd_kafka_event_t *event)
{
	switch (rd_kafka_event_type(event))
	{
		case RD_KAFKA_EVENT_ERROR:
			handle_error(source, event);
			break;
		case RD_KAFKA_EVENT_LOG:
			keep_log_line(source, event);
			break;
		default:
			break;
	}
}

/*
 * Write what was kept to the server's log. Interrupts are held: ereport would serve
 * them, and poll must hand out what it has taken. While the cluster is away its
 * failures are one notice, not a line for each attempt.
 */
void
EdwKafkaWriteLog(EdwKafkaSource *source)
{
	HOLD_INTERRUPTS();
	for (int i = 0; i < source->nlog; i++)
	{
		EdwLogLine *line = &source->log[i];
		int			elevel = DEBUG2;

		if (line->level <= LOG_WARNING)
			elevel = source->outage ? DEBUG1 : LOG;
		else if (line->level < LOG_DEBUG)
			elevel = DEBUG1;
		ereport(elevel,
				(errmsg_internal("stream \"%s\": librdkafka: %s", source->stream, line->text),
				 errhidestmt(true), errhidecontext(true)));
	}
	if (source->log_dropped > 0)
		ereport(DEBUG1,
				(errmsg_internal("stream \"%s\": librdkafka: %d more lines",
								 source->stream, source->log_dropped)));
	source->nlog = 0;
	source->log_dropped = 0;
	RESUME_INTERRUPTS();
}
