/*
 * kafka.c
 *		The Kafka source: messages of assigned partitions, through librdkafka.
 *
 * Owns one librdkafka consumer per source, assigned statically, from explicit offsets:
 * no subscribe, seek, pause or batch consume, whose losses librdkafka fixed only
 * after 2.0.2 (K1). One queue takes everything: messages, errors, ends of partitions, log
 * lines; an eventfd tells that it has something.
 *
 * librdkafka's threads never run PostgreSQL code: no callback is registered but kafka_pace.c's, and they
 * are created with all signals blocked. Nothing is raised, and no interrupt is served,
 * between taking an event from the queue and putting it where the source's cleanup finds it.
 *
 * Cleanup: the source's memory context has a reset callback, so an ERROR closes the
 * handle; messages still held by the caller are destroyed with it. At process exit,
 * contexts are not reset, so an on_proc_exit hook closes what is open (a
 * before_shmem_exit hook would be in the way of callers that cancel theirs).
 */
#include "postgres.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "miscadmin.h"
#include "prefetch.h"
#include "source/kafka_internal.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* exit() waits so long for helper threads that were inside a call */
#define ORPHAN_WAIT_MS		1200

/* how often fetchers are told to look at the queue again */
#define WAKE_MS				5

static dlist_head open_sources = DLIST_STATIC_INIT(open_sources);
static bool exit_hook_registered = false;

static void
close_source(EdwKafkaSource *source)
{
	dlist_mutable_iter iter;

	if (source->lookup == NULL)
		return;
	dlist_delete(&source->node);
	dlist_foreach_modify(iter, &source->borrowed)
	{
		EdwBorrowed *b = dlist_container(EdwBorrowed, node, iter.cur);

		rd_kafka_event_destroy(b->event);
		dlist_delete(iter.cur);
		dlist_push_head(&source->free_borrowed, iter.cur);
	}
	if (source->low)
		rd_kafka_topic_partition_list_destroy(source->low);
	if (source->high)
		rd_kafka_topic_partition_list_destroy(source->high);
	source->low = source->high = NULL;
	EdwKafkaTopicsFree(source);
	EdwKafkaLookupClose(source->lookup);
	source->lookup = NULL;
	source->rk = NULL;
	source->queue = NULL;
	source->wake_fd = -1;
}

static void
reset_callback(void *arg)
{
	close_source(arg);
}

static void
close_all_at_exit(int code, Datum arg)
{
	(void) code;
	(void) arg;
	while (!dlist_is_empty(&open_sources))
		close_source(dlist_container(EdwKafkaSource, node, dlist_head_node(&open_sources)));
	EdwKafkaLookupAwaitOrphans(ORPHAN_WAIT_MS);
}

/* rd_kafka_new with every signal blocked, for the threads that it starts. */
static rd_kafka_t *
new_handle(EdwKafkaConfig *config, char *errstr, Size size)
{
	sigset_t	all;
	sigset_t	saved;
	rd_kafka_t *rk;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &saved);
	rk = rd_kafka_new(RD_KAFKA_CONSUMER, config->conf, errstr, size);
	if (rk)
	{
		config->conf = NULL;
		if (config->oauthbearer)
		{
			rd_kafka_error_t *error = rd_kafka_sasl_background_callbacks_enable(rk);

			if (error)
				rd_kafka_error_destroy(error);
		}
	}
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	if (rk == NULL)
	{
		rd_kafka_conf_destroy(config->conf);
		config->conf = NULL;
	}
	return rk;
}

/* Create the handle, its queue and the helper thread; false with *error. */
static bool
connect_source(EdwKafkaSource *source, const char *const *names, int nnames,
			   bool all, EdwSourceError *error)
{
	static const uint64 one = 1;
	char		errstr[512];
	int			fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	if (fd < 0)
	{
		rd_kafka_conf_destroy(source->config->conf);
		error->sqlerrcode = ERRCODE_INSUFFICIENT_RESOURCES;
		snprintf(error->message, sizeof(error->message), "could not create an eventfd: %s",
				 strerror(errno));
		error->hint[0] = '\0';
		return false;
	}
	source->rk = new_handle(source->config, errstr, sizeof(errstr));
	if (source->rk == NULL)
	{
		close(fd);
		error->sqlerrcode = ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION;
		strlcpy(error->message, "could not start the Kafka client: ", sizeof(error->message));
		EdwKafkaSanitize(source->config, errstr, error->message + strlen(error->message),
						 sizeof(error->message) - strlen(error->message));
		strlcpy(error->hint, "Correct the options of the server or the user mapping.",
				sizeof(error->hint));
		return false;
	}
	rd_kafka_poll_set_consumer(source->rk);
	source->queue = rd_kafka_queue_get_consumer(source->rk);
	rd_kafka_set_log_queue(source->rk, source->queue);
	rd_kafka_queue_io_event_enable(source->queue, fd, &one, sizeof(one));
	source->wake_fd = fd;

	source->lookup = EdwKafkaLookupOpen(source->rk, source->queue, fd, names, nnames, all,
										source->config->refresh_ms, source->config->pace_fetches);
	if (source->lookup == NULL)
	{
		error->sqlerrcode = ERRCODE_INSUFFICIENT_RESOURCES;
		strlcpy(error->message, "could not start the Kafka client's helper thread",
				sizeof(error->message));
		error->hint[0] = '\0';
		return false;
	}
	dlist_push_tail(&open_sources, &source->node);
	return true;
}

static EdwSource *
kafka_open(const EdwSourceConfig *config, EdwSourceError *error)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "edw_stream kafka source",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	EdwKafkaSource *source = palloc0(sizeof(EdwKafkaSource));
	const char **names;
	int			nnames = 0;
	ListCell   *lc;
	bool		ok;

	memset(error, 0, sizeof(*error));
	if (!exit_hook_registered)
	{
		on_proc_exit(close_all_at_exit, (Datum) 0);
		exit_hook_registered = true;
	}
	source->base.ops = &EdwKafkaSourceOps;
	source->context = context;
	source->wake_fd = -1;
	source->stream = pstrdup(config->stream);
	source->group_id = pstrdup(config->group_id);
	dlist_init(&source->borrowed);
	dlist_init(&source->free_borrowed);
	dlist_init(&source->notices);
	EdwKafkaInitPartitions(source);

	ok = EdwKafkaTopicsInit(source, config->topics, error);
	names = palloc0(sizeof(char *) * (list_length(source->names) + 1));
	foreach(lc, source->names)
		names[nnames++] = lfirst(lc);
	source->on_reset.func = reset_callback;
	source->on_reset.arg = source;
	if (ok)
		source->config = EdwKafkaConfigBuild(config, error);
	ok = ok && source->config != NULL;
	if (ok)
	{
		MemoryContextRegisterResetCallback(context, &source->on_reset);
		ok = connect_source(source, names, nnames, source->patterns != NIL, error);
	}
	MemoryContextSwitchTo(old);
	if (!ok)
	{
		EdwKafkaTopicsFree(source);
		MemoryContextDelete(context);
		return NULL;
	}
	return &source->base;
}

static int
kafka_wait_fd(EdwSource *base)
{
	return ((EdwKafkaSource *) base)->wake_fd;
}

/* The partition of a message, or NULL when it is not to be delivered. */
static EdwKafkaPartition *
partition_of_message(EdwKafkaSource *source, const rd_kafka_message_t *message)
{
	EdwKafkaPartition *p = source->last;

	if (message->rkt != source->last_rkt || message->partition != source->last_partition || p == NULL)
	{
		p = EdwKafkaPartitionOf(source, rd_kafka_topic_name(message->rkt),
								message->partition, false);
		source->last_rkt = message->rkt;
		source->last_partition = message->partition;
		source->last = p;
	}
	if (p == NULL || !p->assigned || message->offset < p->next)
		return NULL;
	return p;
}

static EdwBorrowed *
new_borrowed(EdwKafkaSource *source)
{
	if (!dlist_is_empty(&source->free_borrowed))
		return dlist_container(EdwBorrowed, node, dlist_pop_head_node(&source->free_borrowed));
	return MemoryContextAlloc(source->context, sizeof(EdwBorrowed));
}

/* Fill in one message from an event; false when it is not to be delivered. */
static bool
take_message(EdwKafkaSource *source, EdwBorrowed *b, rd_kafka_event_t *event, EdwMessage *out)
{
	const rd_kafka_message_t *message = rd_kafka_event_message_next(event);
	EdwKafkaPartition *p;
	rd_kafka_timestamp_type_t type;

	if (message == NULL || message->err != RD_KAFKA_RESP_ERR_NO_ERROR)
		return false;
	p = partition_of_message(source, message);
	if (p == NULL)
		return false;
	p->next = message->offset + 1;
	b->event = event;
	b->message = message;
	out->topic = p->key.topic;
	out->partition = message->partition;
	out->offset = message->offset;
	out->timestamp_ms = rd_kafka_message_timestamp(message, &type);
	out->key = message->key;
	out->key_len = message->key ? (int32) message->key_len : -1;
	out->value = message->payload;
	out->value_len = message->payload ? (int32) message->len : -1;
	out->native = b;
	return true;
}

static void
clear_wake_fd(EdwKafkaSource *source)
{
	uint64		count;
	ssize_t		rc = read(source->wake_fd, &count, sizeof(count));

	(void) rc;					/* nothing to read is fine */
}

static void
set_wake_fd(EdwKafkaSource *source)
{
	static const uint64 one = 1;
	ssize_t		rc = write(source->wake_fd, &one, sizeof(one));

	(void) rc;
}

/* Tell fetchers that sleep over a full queue that it has room again; see kafka_config.h. */
static void
wake_fetchers(EdwKafkaSource *source)
{
	TimestampTz now;

	if (!source->config->wake_fetchers)
		return;
	now = GetCurrentTimestamp();
	if (now < source->last_wake + WAKE_MS * 1000 && now >= source->last_wake)
		return;
	source->last_wake = now;
	rd_kafka_sasl_set_credentials(source->rk, source->config->username,
								  source->config->password);
}

/*
 * Take what there is besides messages, while nothing is assigned yet: so that who
 * asks for topics or offsets without polling learns why there is no answer.
 */
void
EdwKafkaServeUnassigned(EdwKafkaSource *source)
{
	rd_kafka_event_t *event;

	if (source->has_assignment)
		return;
	clear_wake_fd(source);
	while ((event = rd_kafka_queue_poll(source->queue, 0)) != NULL)
	{
		EdwKafkaHandleEvent(source, event);
		rd_kafka_event_destroy(event);
	}
	EdwKafkaWriteLog(source);
}

/*
 * The eventfd stays readable as long as the queue may hold something: it is cleared only
 * when the queue was found empty, and the queue is looked at once more after that.
 */
static int
kafka_poll(EdwSource *base, EdwMessage *messages, int max_messages, Size max_bytes)
{
	EdwKafkaSource *source = (EdwKafkaSource *) base;
	Size		bytes = 0;
	int			n = 0;
	int			events = 0;
	bool		cleared = false;
	bool		drained = false;

	if (source->lookup == NULL)
		return 0;
	EdwKafkaTopicsPoll(source);
	while (n < max_messages && (n == 0 || bytes < max_bytes) &&
		   events < max_messages + 1000)
	{
		EdwBorrowed *b = new_borrowed(source);
		rd_kafka_event_t *event = rd_kafka_queue_poll(source->queue, 0);

		if (event != NULL && rd_kafka_event_type(event) == RD_KAFKA_EVENT_FETCH &&
			take_message(source, b, event, &messages[n]))
		{
			dlist_push_tail(&source->borrowed, &b->node);
			bytes += Max(messages[n].key_len, 0) + Max(messages[n].value_len, 0);
			n++;
			continue;
		}
		dlist_push_head(&source->free_borrowed, &b->node);
		if (event == NULL)
		{
			drained = cleared;
			if (drained)
				break;
			clear_wake_fd(source);
			cleared = true;
			continue;
		}
		events++;
		if (rd_kafka_event_type(event) != RD_KAFKA_EVENT_FETCH)
			EdwKafkaHandleEvent(source, event);
		rd_kafka_event_destroy(event);
	}
	if (cleared && !drained)
		set_wake_fd(source);
	if (n > 0)
	{
		EdwKafkaClusterAnswered(source);
		wake_fetchers(source);
	}
	EdwKafkaWriteLog(source);
	return n;
}

static bool
kafka_next_notice(EdwSource *base, EdwSourceNotice *notice)
{
	EdwKafkaSource *source = (EdwKafkaSource *) base;
	EdwKafkaPartition *p;

	if (source->told)
		pfree(source->told);
	source->told = NULL;
	if (dlist_is_empty(&source->notices))
		return false;
	source->told = dlist_container(EdwQueuedNotice, node, dlist_pop_head_node(&source->notices));
	*notice = source->told->notice;
	if (notice->kind == EDW_NOTICE_REACHED_END)
	{
		p = EdwKafkaPartitionOf(source, notice->topic, notice->partition, false);
		if (p)
			p->end_notice = NULL;
	}
	return true;
}

static int
kafka_headers(const EdwMessage *message, EdwHeader *headers, int max)
{
	const EdwBorrowed *b = message->native;
	rd_kafka_headers_t *list;
	int			n;

	if (rd_kafka_message_headers(b->message, &list) != RD_KAFKA_RESP_ERR_NO_ERROR)
		return 0;
	n = (int) rd_kafka_header_cnt(list);
	for (int i = 0; i < n && i < max; i++)
	{
		const void *value;
		size_t		size;

		if (rd_kafka_header_get_all(list, i, &headers[i].name, &value, &size) !=
			RD_KAFKA_RESP_ERR_NO_ERROR)
			return i;
		headers[i].value = value;
		headers[i].value_len = value ? (int) size : -1;
	}
	return n;
}

/* what librdkafka keeps with a message, headers and all */
#define MESSAGE_BYTES	320

/* of a value that is longer, the processor follows by itself */
#define MAX_PREFETCHED	4096

static void
kafka_prefetch(const EdwMessage *message)
{
	const EdwBorrowed *b = message->native;

	EdwPrefetch(b->message, MESSAGE_BYTES);
	EdwPrefetch(message->key, message->key_len);
	EdwPrefetch(message->value, Min(message->value_len, MAX_PREFETCHED));
}

static void
kafka_release(EdwSource *base, EdwMessage *messages, int n)
{
	EdwKafkaSource *source = (EdwKafkaSource *) base;

	if (source->lookup == NULL)
		return;					/* closed at exit, and the messages with it */
	for (int i = 0; i < n; i++)
	{
		EdwBorrowed *b = messages[i].native;

		rd_kafka_event_destroy(b->event);
		dlist_delete(&b->node);
		dlist_push_head(&source->free_borrowed, &b->node);
		messages[i].native = NULL;
	}
}

static void
kafka_committed(EdwSource *base, const EdwPartitionPosition *positions, int n)
{
	EdwKafkaSource *source = (EdwKafkaSource *) base;

	if (source->lookup == NULL)
		return;
	for (int i = 0; i < n; i++)
		EdwKafkaLookupCommit(source->lookup, positions[i].topic, positions[i].partition,
							 positions[i].offset);
}

static void
kafka_close(EdwSource *base)
{
	EdwKafkaSource *source = (EdwKafkaSource *) base;

	MemoryContextDelete(source->context);
}

const EdwSourceOps EdwKafkaSourceOps = {
	.name = "kafka",
	.open = kafka_open,
	.wait_fd = kafka_wait_fd,
	.list_partitions = EdwKafkaListPartitions,
	.start_offsets = EdwKafkaStartOffsets,
	.end_offsets = EdwKafkaEndOffsets,
	.assign = EdwKafkaAssign,
	.poll = kafka_poll,
	.next_notice = kafka_next_notice,
	.headers = kafka_headers,
	.prefetch = kafka_prefetch,
	.release = kafka_release,
	.committed = kafka_committed,
	.close = kafka_close,
};
