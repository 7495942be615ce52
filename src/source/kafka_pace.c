/*
 * kafka_pace.c
 *		How often librdkafka's threads wake up while there is nothing to do (see kafka_pace.h).
 *
 * Owns nothing. postgres.h must not be included: the interceptor runs in librdkafka's threads.
 */
#include "source/kafka_pace.h"

#include <stdio.h>
#include <sys/prctl.h>

#define NAME				"edw_stream"

/*
 * How late the time-outs of a thread may be. What comes from the network or through a queue is not
 * concerned. Of its main thread librdkafka before 2.4 wants it: it sleeps a whole number
 * of milliseconds, rounded down, and spins for the rest, each second; one that is woken late has
 * no rest to spin for. What that thread does by time is periodic, once a second or rarer. A broker's
 * thread also waits for short moments, before it fetches again.
 */
#define MAIN_SLACK_NS		100000000
#define OTHER_SLACK_NS		10000000

/* how long an empty fetch may wait, and for how long that is so */
#define ASSIGNED_WAIT_MS	10
#define ASSIGNED_MS			1000
#define BUSY_WAIT_MS		100
#define BUSY_MS				3000

/*
 * Not longer: whoever asks that broker something else waits behind the fetch, and the first
 * attempts of kafka_lookup.c last a second.
 */
#define IDLE_WAIT_MS		900

static rd_kafka_resp_err_t
be_lazy(rd_kafka_t *rk, rd_kafka_thread_type_t type, const char *thread, void *opaque)
{
	(void) rk;
	(void) thread;
	(void) opaque;
	(void) prctl(PR_SET_TIMERSLACK,
				 type == RD_KAFKA_THREAD_MAIN ? (unsigned long) MAIN_SLACK_NS : (unsigned long) OTHER_SLACK_NS);
	return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t
on_new(rd_kafka_t *rk, const rd_kafka_conf_t *conf, void *opaque, char *errstr, size_t size)
{
	(void) conf;
	(void) opaque;
	(void) errstr;
	(void) size;
	return rd_kafka_interceptor_add_on_thread_start(rk, NAME, be_lazy, NULL);
}

bool
EdwKafkaPaceThreads(rd_kafka_conf_t *conf)
{
	return rd_kafka_conf_interceptor_add_on_new(conf, NAME, on_new, NULL) == RD_KAFKA_RESP_ERR_NO_ERROR;
}

/*
 * librdkafka has no call for that, but reads its configuration, an int, anew for each fetch, and
 * lends it to us: rd_kafka_conf() is the live one. Should a later version take a copy, fetches would
 * stay as short as they were at first.
 */
static void
set_wait(EdwKafkaPace *pace, rd_kafka_t *rk, int wait_ms)
{
	char		value[16];

	snprintf(value, sizeof(value), "%d", wait_ms);
	(void) rd_kafka_conf_set((rd_kafka_conf_t *) rd_kafka_conf(rk), "fetch.wait.max.ms", value, NULL, 0);
	pace->wait_ms = wait_ms;
}

void
EdwKafkaPaceInit(EdwKafkaPace *pace, bool ours, int64_t now)
{
	pace->ours = ours;
	pace->wait_ms = ASSIGNED_WAIT_MS;
	pace->assigned_until = now;
	pace->busy_until = now + BUSY_MS;
	pace->next = ours ? now + ASSIGNED_MS : INT64_MAX;
}

void
EdwKafkaPaceAssigning(EdwKafkaPace *pace, rd_kafka_t *rk, int64_t now)
{
	pace->assigned_until = now + ASSIGNED_MS;
	pace->busy_until = now + BUSY_MS;
	if (pace->ours)
		EdwKafkaPaceFetches(pace, rk, now);
}

void
EdwKafkaPaceBusy(EdwKafkaPace *pace, int64_t now)
{
	pace->busy_until = now + BUSY_MS;
	if (pace->ours && pace->wait_ms > BUSY_WAIT_MS)
		pace->next = now;
}

void
EdwKafkaPaceFetches(EdwKafkaPace *pace, rd_kafka_t *rk, int64_t now)
{
	int			wait_ms = IDLE_WAIT_MS;

	pace->next = INT64_MAX;
	if (now < pace->assigned_until)
	{
		wait_ms = ASSIGNED_WAIT_MS;
		pace->next = pace->assigned_until;
	}
	else if (now < pace->busy_until)
	{
		wait_ms = BUSY_WAIT_MS;
		pace->next = pace->busy_until;
	}
	if (wait_ms != pace->wait_ms)
		set_wait(pace, rk, wait_ms);
}
