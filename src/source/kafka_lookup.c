/*
 * kafka_lookup.c
 *		The helper thread of a Kafka source.
 *
 * Owns: the thread, the source's librdkafka handle, its queue and its eventfd.
 * Lock: one mutex per source, never held during a library call that may block.
 * The thread has all signals blocked, and runs nothing of PostgreSQL: postgres.h
 * must not be included here (its printf family and strerror are not for threads).
 *
 * Life: LookupOpen → thread → LookupClose tells the thread to end. The thread destroys
 * the handle, and Close waits for that, but not for long: the thread may be inside a call
 * that blocks, and rd_kafka_destroy itself can hang when a topic was deleted under
 * the consumer (librdkafka's issue 4362). Such a thread is left alone: an orphan.
 * A process waits a moment for its orphans before exit(), so that librdkafka's threads do
 * not outlive what exit() tears down.
 */
#include "source/kafka_lookup.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "source/kafka_pace.h"

#define RETRY_MS			1000	/* between attempts while the cluster is away */
#define COMMIT_MS			1000	/* between commits to the group */
#define UNKNOWN_TOPIC_TRIES	4		/* a new topic takes a moment to be known everywhere */
#define UNKNOWN_TOPIC_MS	250
#define LAST_COMMIT_MS		50		/* the last commit to the group may take so long */
#define CLOSE_MS			90		/* Close waits so long for the thread */

/* how long each attempt waits for the broker: short first, so that Close finds it idle */
static const int attempt_ms[] = {1000, 2000, 4000};

#define ATTEMPTS			((int) (sizeof(attempt_ms) / sizeof(attempt_ms[0])))

typedef struct Question
{
	EdwLookupState state;
	rd_kafka_topic_partition_list_t *list;
	EdwLookupError error;
} Question;

struct EdwKafkaLookup
{
	rd_kafka_t *rk;
	rd_kafka_queue_t *queue;
	int			wake_fd;
	bool		all;
	int			refresh_ms;
	int			ntopics;
	rd_kafka_topic_t **topics;	/* handles: metadata asks for the local ones */

	pthread_mutex_t mutex;
	pthread_cond_t cond;

	/* under the mutex */
	bool		closing;
	bool		outage;
	Question	questions[EDW_LOOKUP_KINDS];
	rd_kafka_topic_partition_list_t *commit;
	int64_t		next_commit;	/* ms */
	int64_t		last_commit;
	int64_t		next_refresh;
	EdwKafkaPace pace;
	uint64_t	wanted;			/* the last ticket given out */
	bool		has_listing;
	EdwKafkaListing listing;
};

/* threads of the process; the mutex and condition are for their ends */
static pthread_mutex_t threads_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t threads_cond = PTHREAD_COND_INITIALIZER;
static int	threads = 0;
static uint64_t ended = 0;		/* so many have ended so far */

static int64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* make the source's descriptor readable */
static void
wake(EdwKafkaLookup *l)
{
	uint64_t	one = 1;
	ssize_t		rc;

	rc = write(l->wake_fd, &one, sizeof(one));
	(void) rc;					/* full means readable already */
}

/* wait on the condition until a time of now_ms(); the mutex is held */
static void
wait_until(EdwKafkaLookup *l, int64_t when)
{
	struct timespec ts;

	ts.tv_sec = when / 1000;
	ts.tv_nsec = (when % 1000) * 1000000;
	pthread_cond_timedwait(&l->cond, &l->mutex, &ts);
}

static void
set_error(EdwLookupError *error, rd_kafka_resp_err_t err)
{
	error->err = err;
	strncpy(error->text, rd_kafka_err2str(err), sizeof(error->text) - 1);
	error->text[sizeof(error->text) - 1] = '\0';
}

static bool
worth_another_attempt(rd_kafka_resp_err_t err)
{
	switch (err)
	{
		case RD_KAFKA_RESP_ERR__TIMED_OUT:
		case RD_KAFKA_RESP_ERR__TRANSPORT:
		case RD_KAFKA_RESP_ERR__WAIT_COORD:
		case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
		case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
			return true;
		default:
			return false;
	}
}

static bool
list_has_retriable(const rd_kafka_topic_partition_list_t *list)
{
	for (int i = 0; i < list->cnt; i++)
	{
		if (worth_another_attempt(list->elems[i].err))
			return true;
	}
	return false;
}

/* answer one question; called and returns with the mutex held */
static void
ask_offsets(EdwKafkaLookup *l, Question *q)
{
	rd_kafka_topic_partition_list_t *asked = q->list;
	rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR__TIMED_OUT;
	rd_kafka_topic_partition_list_t *answer = NULL;

	q->list = NULL;
	for (int i = 0; i < ATTEMPTS && !l->closing; i++)
	{
		pthread_mutex_unlock(&l->mutex);
		if (answer)
			rd_kafka_topic_partition_list_destroy(answer);
		answer = rd_kafka_topic_partition_list_copy(asked);
		err = rd_kafka_offsets_for_times(l->rk, answer, attempt_ms[i]);
		pthread_mutex_lock(&l->mutex);
		if (err == RD_KAFKA_RESP_ERR_NO_ERROR ? !list_has_retriable(answer) :
			!worth_another_attempt(err))
			break;
		if (!l->closing)
			wait_until(l, now_ms() + 50);
	}
	rd_kafka_topic_partition_list_destroy(asked);
	if (err != RD_KAFKA_RESP_ERR_NO_ERROR && answer)
	{
		rd_kafka_topic_partition_list_destroy(answer);
		answer = NULL;
	}
	set_error(&q->error, err);
	q->list = answer;
	q->state = EDW_LOOKUP_DONE;
	wake(l);
}

/* is a topic that is listed by name not there (yet)? */
static bool
lacks_topic(EdwKafkaLookup *l, const struct rd_kafka_metadata *metadata)
{
	for (int i = 0; i < l->ntopics; i++)
	{
		bool		there = false;

		for (int j = 0; j < metadata->topic_cnt && !there; j++)
			there = metadata->topics[j].err == RD_KAFKA_RESP_ERR_NO_ERROR &&
				strcmp(metadata->topics[j].topic, rd_kafka_topic_name(l->topics[i])) == 0;
		if (!there)
			return true;
	}
	return false;
}

/* ask for the topics; called and returns with the mutex held */
static void
ask_listing(EdwKafkaLookup *l)
{
	uint64_t	ticket = l->wanted;
	const struct rd_kafka_metadata *metadata = NULL;
	rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR__TIMED_OUT;
	int			unknown = 0;

	for (int i = 0; i < ATTEMPTS && !l->closing;)
	{
		if (metadata)
			rd_kafka_metadata_destroy(metadata);
		metadata = NULL;
		pthread_mutex_unlock(&l->mutex);
		err = rd_kafka_metadata(l->rk, l->all, NULL, &metadata, attempt_ms[i]);
		pthread_mutex_lock(&l->mutex);
		if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
		{
			metadata = NULL;
			i++;
			if (!worth_another_attempt(err))
				break;
		}
		else if (!lacks_topic(l, metadata) || ++unknown >= UNKNOWN_TOPIC_TRIES)
			break;
		else if (!l->closing)
			wait_until(l, now_ms() + UNKNOWN_TOPIC_MS);
		/* other questions wait meanwhile, but not for an outage to end */
		if (err != RD_KAFKA_RESP_ERR_NO_ERROR && l->outage)
			break;
	}

	if (l->has_listing && l->listing.metadata)
		rd_kafka_metadata_destroy(l->listing.metadata);
	l->has_listing = true;
	l->listing.ticket = ticket;
	l->listing.metadata = metadata;
	set_error(&l->listing.error, err);
	l->next_refresh = now_ms() +
		(err != RD_KAFKA_RESP_ERR_NO_ERROR || unknown >= UNKNOWN_TOPIC_TRIES ?
		 RETRY_MS : l->refresh_ms);
	wake(l);
}

/* when there is something to do next, if nobody asks for anything; the mutex is held */
static int64_t
next_duty(const EdwKafkaLookup *l)
{
	int64_t		next = l->next_refresh;

	if (l->commit && l->next_commit < next)
		next = l->next_commit;
	if (l->pace.next < next)
		next = l->pace.next;
	return next;
}

static void
send_commit(EdwKafkaLookup *l)
{
	rd_kafka_commit(l->rk, l->commit, 1 /* async */ );
	rd_kafka_topic_partition_list_destroy(l->commit);
	l->commit = NULL;
	l->last_commit = now_ms();
	l->next_commit = l->last_commit + COMMIT_MS;
}

static void
destroy_all(EdwKafkaLookup *l)
{
	for (int i = 0; i < l->ntopics; i++)
		rd_kafka_topic_destroy(l->topics[i]);
	free(l->topics);
	for (int i = 0; i < EDW_LOOKUP_KINDS; i++)
	{
		if (l->questions[i].list)
			rd_kafka_topic_partition_list_destroy(l->questions[i].list);
	}
	if (l->commit)
		rd_kafka_topic_partition_list_destroy(l->commit);
	if (l->has_listing && l->listing.metadata)
		rd_kafka_metadata_destroy(l->listing.metadata);
	rd_kafka_queue_io_event_enable(l->queue, -1, NULL, 0);
	rd_kafka_queue_destroy(l->queue);
	rd_kafka_destroy_flags(l->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
	close(l->wake_fd);
	pthread_cond_destroy(&l->cond);
	pthread_mutex_destroy(&l->mutex);
	free(l);
}

static Question *
next_question(EdwKafkaLookup *l)
{
	for (int i = 0; i < EDW_LOOKUP_KINDS; i++)
	{
		Question   *q = &l->questions[i];

		if (q->state == EDW_LOOKUP_BUSY)
			return q;
	}
	return NULL;
}

static void
send_last_commit(EdwKafkaLookup *l)
{
	rd_kafka_queue_t *reply = rd_kafka_queue_new(l->rk);
	rd_kafka_event_t *event;

	rd_kafka_commit_queue(l->rk, l->commit, reply, NULL, NULL);
	event = rd_kafka_queue_poll(reply, LAST_COMMIT_MS);
	if (event)
		rd_kafka_event_destroy(event);
	rd_kafka_queue_destroy(reply);
}

static void *
thread_main(void *arg)
{
	EdwKafkaLookup *l = arg;

	pthread_mutex_lock(&l->mutex);
	while (!l->closing)
	{
		int64_t		now = now_ms();
		Question   *q;
		bool		asked = l->wanted > l->listing.ticket;

		if (l->commit && l->next_commit <= now)
			send_commit(l);
		else if ((q = next_question(l)) != NULL)
			ask_offsets(l, q);
		else if (asked || l->next_refresh <= now)
			ask_listing(l);
		else if (l->pace.next <= now)
			EdwKafkaPaceFetches(&l->pace, l->rk, now);
		else
			wait_until(l, next_duty(l));
	}
	pthread_mutex_unlock(&l->mutex);

	if (l->commit && !l->outage)
		send_last_commit(l);
	destroy_all(l);
	pthread_mutex_lock(&threads_mutex);
	threads--;
	ended++;
	pthread_cond_broadcast(&threads_cond);
	pthread_mutex_unlock(&threads_mutex);
	return NULL;
}

/* Start the thread, detached, with every signal blocked in it. */
static bool
start_thread(EdwKafkaLookup *l)
{
	sigset_t	all;
	sigset_t	saved;
	pthread_t	thread;
	int			rc;

	pthread_mutex_lock(&threads_mutex);
	threads++;
	pthread_mutex_unlock(&threads_mutex);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &saved);
	rc = pthread_create(&thread, NULL, thread_main, l);
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	if (rc == 0)
	{
		pthread_detach(thread);
		return true;
	}
	pthread_mutex_lock(&threads_mutex);
	threads--;
	pthread_mutex_unlock(&threads_mutex);
	return false;
}

EdwKafkaLookup *
EdwKafkaLookupOpen(rd_kafka_t *rk, rd_kafka_queue_t *queue, int wake_fd,
				   const char *const *topics, int ntopics, bool all, int refresh_ms, bool pace)
{
	EdwKafkaLookup *l = calloc(1, sizeof(EdwKafkaLookup));
	pthread_condattr_t attr;

	if (l == NULL)
	{
		rd_kafka_queue_destroy(queue);
		rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
		close(wake_fd);
		return NULL;
	}
	l->rk = rk;
	l->queue = queue;
	l->wake_fd = wake_fd;
	l->all = all;
	l->refresh_ms = refresh_ms;
	EdwKafkaPaceInit(&l->pace, pace, now_ms());
	l->wanted = 1;
	pthread_mutex_init(&l->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&l->cond, &attr);
	pthread_condattr_destroy(&attr);

	l->topics = calloc(ntopics > 0 ? ntopics : 1, sizeof(rd_kafka_topic_t *));
	for (int i = 0; l->topics && i < ntopics; i++)
	{
		l->topics[i] = rd_kafka_topic_new(rk, topics[i], NULL);
		if (l->topics[i] == NULL)
			break;
		l->ntopics++;
	}
	if (l->ntopics < ntopics || l->topics == NULL || !start_thread(l))
	{
		destroy_all(l);
		return NULL;
	}
	return l;
}

/* Wait until one more thread has ended, or none is left; the mutex is held. */
static bool
wait_for_end(int64_t deadline)
{
	struct timespec ts;
	int64_t		left = deadline - now_ms();

	if (left <= 0)
		return false;
	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += left / 1000;
	ts.tv_nsec += (left % 1000) * 1000000;
	if (ts.tv_nsec >= 1000000000)
	{
		ts.tv_sec++;
		ts.tv_nsec -= 1000000000;
	}
	pthread_cond_timedwait(&threads_cond, &threads_mutex, &ts);
	return true;
}

void
EdwKafkaLookupClose(EdwKafkaLookup *l)
{
	int64_t		deadline = now_ms() + CLOSE_MS;
	uint64_t	ended_before;

	pthread_mutex_lock(&threads_mutex);
	ended_before = ended;

	pthread_mutex_lock(&l->mutex);
	l->closing = true;
	pthread_cond_signal(&l->cond);
	pthread_mutex_unlock(&l->mutex);
	/* l is the thread's alone from here on */

	while (ended == ended_before && threads > 0)
	{
		if (!wait_for_end(deadline))
			break;
	}
	pthread_mutex_unlock(&threads_mutex);
}

void
EdwKafkaLookupAwaitOrphans(int timeout_ms)
{
	int64_t		deadline = now_ms() + timeout_ms;

	pthread_mutex_lock(&threads_mutex);
	while (threads > 0)
	{
		if (!wait_for_end(deadline))
			break;
	}
	pthread_mutex_unlock(&threads_mutex);
}

uint64_t
EdwKafkaLookupRefresh(EdwKafkaLookup *l)
{
	uint64_t	ticket;

	pthread_mutex_lock(&l->mutex);
	ticket = ++l->wanted;
	pthread_cond_signal(&l->cond);
	pthread_mutex_unlock(&l->mutex);
	return ticket;
}

bool
EdwKafkaLookupTakeListing(EdwKafkaLookup *l, EdwKafkaListing *listing)
{
	bool		has;

	pthread_mutex_lock(&l->mutex);
	has = l->has_listing;
	if (has)
		*listing = l->listing;
	l->has_listing = false;
	pthread_mutex_unlock(&l->mutex);
	return has;
}

void
EdwKafkaLookupWatch(EdwKafkaLookup *l, bool outage)
{
	pthread_mutex_lock(&l->mutex);
	l->outage = outage;
	if (outage)
		l->next_refresh = now_ms();
	pthread_cond_signal(&l->cond);
	pthread_mutex_unlock(&l->mutex);
}

void
EdwKafkaLookupAskOffsets(EdwKafkaLookup *l, EdwLookupKind kind,
						 rd_kafka_topic_partition_list_t *list)
{
	Question   *q = &l->questions[kind];

	pthread_mutex_lock(&l->mutex);
	if (q->list)
		rd_kafka_topic_partition_list_destroy(q->list);
	q->list = list;
	q->state = EDW_LOOKUP_BUSY;
	pthread_cond_signal(&l->cond);
	pthread_mutex_unlock(&l->mutex);
}

EdwLookupState
EdwKafkaLookupTakeOffsets(EdwKafkaLookup *l, EdwLookupKind kind,
						  rd_kafka_topic_partition_list_t **list, EdwLookupError *error)
{
	Question   *q = &l->questions[kind];
	EdwLookupState state;

	pthread_mutex_lock(&l->mutex);
	state = q->state;
	if (state == EDW_LOOKUP_DONE)
	{
		*list = q->list;
		*error = q->error;
		q->list = NULL;
		q->state = EDW_LOOKUP_IDLE;
	}
	pthread_mutex_unlock(&l->mutex);
	return state;
}

void
EdwKafkaLookupCommit(EdwKafkaLookup *l, const char *topic, int32_t partition, int64_t offset)
{
	rd_kafka_topic_partition_t *elem;

	pthread_mutex_lock(&l->mutex);
	if (l->commit == NULL)
		l->commit = rd_kafka_topic_partition_list_new(4);
	elem = rd_kafka_topic_partition_list_find(l->commit, topic, partition);
	if (elem == NULL)
		elem = rd_kafka_topic_partition_list_add(l->commit, topic, partition);
	elem->offset = offset;
	EdwKafkaPaceBusy(&l->pace, now_ms());
	pthread_cond_signal(&l->cond);
	pthread_mutex_unlock(&l->mutex);
}

void
EdwKafkaLookupAssigning(EdwKafkaLookup *l)
{
	pthread_mutex_lock(&l->mutex);
	EdwKafkaPaceAssigning(&l->pace, l->rk, now_ms());
	pthread_cond_signal(&l->cond);
	pthread_mutex_unlock(&l->mutex);
}
