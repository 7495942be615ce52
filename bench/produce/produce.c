/*
 * produce.c
 *		The benchmark's events: change events of one table as Debezium's PostgreSQL
 *		connector writes them, into a Kafka topic that exists.
 *
 *	produce ADDRESS TOPIC --events N [OPTION …] [name=value …]
 *
 * ADDRESS - sends nothing; name=value are settings of librdkafka's producer.
 *
 *	--first N			send only the first N of them
 *	--seed N			another history (1)
 *	--rows N			the table has N rows before, ids from 1
 *	--recent N			updates and deletes hit one of the N youngest rows, about
 *	--inserts N			N percent of the events are inserts (40, at most 80), 10 deletes, the rest updates
 *	--schema			with schemas, as schemas.enable=true
 *	--partitions N		spread the keys over so many (1)
 *	--body BYTES		a column body of that size
 *	--rate N			N events a second, each with columns day and sent_us, Unix µs when it is sent
 *	--probes N			besides, each N events an insert of a row -1, -2, …
 *	--oracle FILE		the final rows in COPY's text form: what the warehouse must equal. With --rows
 *						just those that an event touched
 *	--reference FILE	the events in COPY's text form: what a load by hand starts from
 *
 * It prints how many events there were and how long they are, the seconds it took, and the last event's
 * row: id and updated_at.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <librdkafka/rdkafka.h>

#include "event.h"
#include "history.h"

typedef struct Job
{
	const char *topic;
	int			partitions;
	long		rate;
	long		probes;
	EventForm	form;
	FILE	   *oracle;
	FILE	   *reference;
	char	   *value;			/* room for one */
	size_t		value_size;
	long		sent;
	int64_t		bytes;
} Job;

static rd_kafka_t *producer;
static long delivered_count;

void
Die(const char *format,...)
{
	va_list		args;

	va_start(args, format);
	fputs("produce: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static int64_t
micros_of(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t) t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void
delivered(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
	(void) rk;
	(void) opaque;
	if (message->err)
		Die("not delivered: %s", rd_kafka_err2str(message->err));
	delivered_count++;
}

static void
set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
	char		error[512];

	if (rd_kafka_conf_set(conf, name, value, error, sizeof(error)))
		Die("%s", error);
}

static void
open_producer(const char *address, bool steady, char **settings, int nsettings)
{
	char		error[512];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();

	set(conf, "bootstrap.servers", address);
	/* a steady load is to arrive soon, any other to be sent soon */
	set(conf, "linger.ms", steady ? "1" : "20");
	set(conf, "batch.size", "1000000");
	set(conf, "queue.buffering.max.messages", "200000");
	set(conf, "message.max.bytes", "10000000");
	set(conf, "enable.idempotence", "true");
	set(conf, "log_level", "3");
	for (int i = 0; i < nsettings; i++)
	{
		char	   *equals = strchr(settings[i], '=');

		if (equals == NULL)
			Die("not a setting: %s", settings[i]);
		*equals = '\0';
		set(conf, settings[i], equals + 1);
	}
	rd_kafka_conf_set_dr_msg_cb(conf, delivered);
	producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof(error));
	if (producer == NULL)
		Die("%s", error);
}

static void
send_event(Job *job, const History *h, char op, long id)
{
	char		key[512];
	int			key_len = FormatKey(&job->form, id, key, sizeof(key));
	int			value_len;
	rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;

	value_len = FormatEvent(&job->form, h, op, id, micros_of(CLOCK_REALTIME), job->value, job->value_size);
	job->sent++;
	job->bytes += value_len;
	if (producer == NULL)
		return;
	for (;;)
	{
		error = rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(job->topic),
								  RD_KAFKA_V_PARTITION((int32_t) (labs(id) % job->partitions)),
								  RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
								  RD_KAFKA_V_KEY(key, key_len), RD_KAFKA_V_VALUE(job->value, value_len),
								  RD_KAFKA_V_END);
		if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL)
			break;
		rd_kafka_poll(producer, 20);
	}
	if (error)
		Die("%s", rd_kafka_err2str(error));
	rd_kafka_poll(producer, 0);
}

/* wait until event number n is due */
static void
keep_pace(const Job *job, int64_t started, long n)
{
	int64_t		wait = started + n * 1000000 / job->rate - micros_of(CLOCK_MONOTONIC);

	/* a timer is not exact: sleep for a millisecond's events together */
	if (wait > 1000)
		nanosleep(&(struct timespec) {wait / 1000000, wait % 1000000 * 1000}, NULL);
}

/* returns the last event's row */
static int
send_history(Job *job, History *h)
{
	int64_t		started = micros_of(CLOCK_MONOTONIC);
	long		probes = 0;
	int			id = 0;

	while (h->done < h->stop_after)
	{
		char		op;

		if (job->rate > 0)
			keep_pace(job, started, h->done);
		op = NextChange(h, &id);
		send_event(job, h, op, id);
		if (job->probes > 0 && h->done % job->probes == 0)
			send_event(job, h, 'c', -++probes);
		if (job->reference)
			PrintChange(job->reference, h, op, id);
	}
	if (producer && (rd_kafka_flush(producer, 300000) || delivered_count != job->sent))
		Die("%ld of %ld events were delivered", delivered_count, job->sent);
	return id;
}

static void
write_oracle(FILE *file, const History *h)
{
	for (int id = 1; id < h->next_id; id++)
		if (h->rows[id - 1].alive && h->rows[id - 1].touched)
		{
			PrintRow(file, h, id);
			fputc('\n', file);
		}
}

static FILE *
open_output(const char *path)
{
	FILE	   *file = fopen(path, "w");

	if (file == NULL)
		Die("could not write %s", path);
	return file;
}

static char *
make_body(long size)
{
	char	   *body = malloc(size + 1);

	if (body == NULL)
		Die("out of memory");
	/* printable, nothing to escape, and not all the same */
	for (long i = 0; i < size; i++)
		body[i] = "abcdefghijklmnopqrstuvwxyz 0123456789"[i * i % 37];
	body[size] = '\0';
	return body;
}

static void
read_options(int argc, char **argv, Job *job, History *h, uint64_t *seed)
{
	static const struct option options[] = {
		{"events", required_argument, NULL, 'e'}, {"first", required_argument, NULL, 'f'},
		{"seed", required_argument, NULL, 's'}, {"rows", required_argument, NULL, 'n'},
		{"recent", required_argument, NULL, 'y'}, {"inserts", required_argument, NULL, 'i'},
		{"schema", no_argument, NULL, 'S'},
		{"partitions", required_argument, NULL, 'p'}, {"body", required_argument, NULL, 'b'},
		{"rate", required_argument, NULL, 'r'}, {"probes", required_argument, NULL, 'P'},
		{"oracle", required_argument, NULL, 'o'}, {"reference", required_argument, NULL, 'R'},
		{NULL, 0, NULL, 0}
	};
	int			c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c)
		{
			case 'e': h->events = atol(optarg); break;
			case 'f': h->stop_after = atol(optarg); break;
			case 's': *seed = strtoull(optarg, NULL, 10); break;
			case 'n': h->rows_before = atoi(optarg); break;
			case 'y': h->recent = atoi(optarg); break;
			case 'i': h->insert_percent = atoi(optarg); break;
			case 'S': job->form.schema = true; break;
			case 'p': job->partitions = atoi(optarg); break;
			case 'b': job->form.body = make_body(atol(optarg)); break;
			case 'r': job->rate = atol(optarg); break;
			case 'P': job->probes = atol(optarg); break;
			case 'o': job->oracle = open_output(optarg); break;
			case 'R': job->reference = open_output(optarg); break;
			default: exit(2);
		}
	if (h->stop_after == 0 || h->stop_after > h->events)
		h->stop_after = h->events;
	if (h->events < 10 || h->insert_percent < 0 || h->insert_percent > 80 || job->partitions < 1 || argc - optind < 2)
		Die("usage: produce ADDRESS TOPIC --events N [OPTION …] [name=value …]");
	job->form.stamped = job->rate > 0;
	if (job->form.schema && (job->form.stamped || job->form.body))
		Die("a schema is of the six columns only");
}

int
main(int argc, char **argv)
{
	History		h = {.insert_percent = 40};
	Job			job = {.partitions = 1};
	uint64_t	seed = 1;
	int64_t		started;
	int			id;
	char		when[40];

	read_options(argc, argv, &job, &h, &seed);
	job.topic = argv[optind + 1];
	job.value_size = EventSize(&job.form);
	job.value = malloc(job.value_size);
	if (job.value == NULL)
		Die("out of memory");
	if (strcmp(argv[optind], "-") != 0)
		open_producer(argv[optind], job.rate > 0, argv + optind + 2, argc - optind - 2);
	StartHistory(&h, seed);
	started = micros_of(CLOCK_MONOTONIC);
	id = send_history(&job, &h);
	if (job.oracle)
		write_oracle(job.oracle, &h);
	if ((job.oracle && fclose(job.oracle)) || (job.reference && fclose(job.reference)))
		Die("could not write the files");
	FormatTime(h.rows[id - 1].updated_at, when, sizeof(when));
	printf("%ld %" PRId64 " %.3f %d %s+00\n", job.sent, job.bytes / job.sent,
		   (micros_of(CLOCK_MONOTONIC) - started) / 1e6, id, when);
	return 0;
}
