/*
 * produce.c
 *		The benchmark's events: change events of one table as Debezium's PostgreSQL
 *		connector writes them without schemas, into one partition of a Kafka topic.
 *
 *	produce ADDRESS TOPIC EVENTS SEED ORACLE REFERENCE [name=value …]
 *
 * Of EVENTS events 40 % are inserts (of as many keys), 50 % updates and 10 % deletes of
 * random living rows, at random among each other: a history that a database could
 * have had, in transactions of one to eight events. The same SEED makes the same
 * history.
 *
 * ORACLE becomes the table's final rows in COPY's text form; what the warehouse
 * must equal. REFERENCE becomes the events in COPY's text form (- for no file):
 * what a hand-written load would start from. ADDRESS - sends nothing.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <librdkafka/rdkafka.h>

#define MICROS_2026		INT64_C(1767225600000000)	/* 2026-01-01 UTC */

typedef struct Row
{
	int64_t		customer_id;
	int64_t		product_id;
	int			status;
	int64_t		cents;
	int64_t		updated_at;		/* Unix µs */
	bool		alive;
} Row;

typedef struct History
{
	Row		   *rows;			/* by id - 1 */
	int		   *alive;			/* ids of living rows, in no order */
	int			nalive;
	int			inserts;		/* still to come, as the two below */
	int			updates;
	int			deletes;
	int			next_id;
	int64_t		lsn;
	int64_t		commit_lsn;
	int64_t		txid;
	int			left_in_tx;
	int64_t		now;			/* Unix µs */
	uint64_t	random;
} History;

static const char *const statuses[] = {"NEW", "PAID", "PACKED", "SHIPPED", "DELIVERED", "RETURNED"};

static rd_kafka_t *producer;
static long delivered_count;

static void
die(const char *format,...)
{
	va_list		args;

	va_start(args, format);
	fputs("produce: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

/* xorshift64*: the same everywhere */
static uint64_t
next_random(History *h)
{
	h->random ^= h->random >> 12;
	h->random ^= h->random << 25;
	h->random ^= h->random >> 27;
	return h->random * UINT64_C(2685821657736338717);
}

static int
random_below(History *h, int n)
{
	return (int) ((next_random(h) >> 11) % (uint64_t) n);
}

static void
delivered(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
	(void) rk;
	(void) opaque;
	if (message->err)
		die("not delivered: %s", rd_kafka_err2str(message->err));
	delivered_count++;
}

static void
open_producer(const char *address, char **settings, int nsettings)
{
	char		error[512];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	const char *const defaults[][2] = {
		{"bootstrap.servers", NULL}, {"linger.ms", "20"}, {"batch.size", "1000000"},
		{"queue.buffering.max.messages", "200000"}, {"enable.idempotence", "true"}, {"log_level", "3"}
	};

	for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++)
		if (rd_kafka_conf_set(conf, defaults[i][0], defaults[i][1] ? defaults[i][1] : address,
							  error, sizeof(error)))
			die("%s", error);
	for (int i = 0; i < nsettings; i++)
	{
		char	   *equals = strchr(settings[i], '=');

		if (equals == NULL)
			die("not a setting: %s", settings[i]);
		*equals = '\0';
		if (rd_kafka_conf_set(conf, settings[i], equals + 1, error, sizeof(error)))
			die("%s", error);
	}
	rd_kafka_conf_set_dr_msg_cb(conf, delivered);
	producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof(error));
	if (producer == NULL)
		die("%s", error);
}

static void
send_event(const char *topic, char *key, int key_len, char *value, int value_len)
{
	rd_kafka_resp_err_t error;

	if (producer == NULL)
		return;
	for (;;)
	{
		error = rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(0),
								  RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
								  RD_KAFKA_V_KEY(key, key_len), RD_KAFKA_V_VALUE(value, value_len),
								  RD_KAFKA_V_END);
		if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL)
			break;
		rd_kafka_poll(producer, 20);
	}
	if (error)
		die("%s", rd_kafka_err2str(error));
	rd_kafka_poll(producer, 0);
}

/* 2026-01-02T03:04:05.678901 */
static void
format_time(int64_t micros, char *out, size_t size)
{
	time_t		seconds = micros / 1000000;
	struct tm	tm;
	size_t		n;

	gmtime_r(&seconds, &tm);
	n = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(out + n, size - n, ".%06d", (int) (micros % 1000000));
}

/* the unscaled value as the fewest big-endian two's-complement bytes, in base64 */
static void
format_decimal(int64_t unscaled, char *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned char bytes[8];
	int			n = 1;

	while (n < 8 && (unscaled < -(INT64_C(1) << (8 * n - 1)) || unscaled >= (INT64_C(1) << (8 * n - 1))))
		n++;
	for (int i = 0; i < n; i++)
		bytes[i] = (unsigned char) (unscaled >> (8 * (n - 1 - i)));
	for (int i = 0; i < n; i += 3)
	{
		int			have = n - i < 3 ? n - i : 3;
		uint32_t	group = bytes[i] << 16 | (have > 1 ? bytes[i + 1] << 8 : 0) | (have > 2 ? bytes[i + 2] : 0);

		*out++ = digits[group >> 18];
		*out++ = digits[group >> 12 & 63];
		*out++ = have > 1 ? digits[group >> 6 & 63] : '=';
		*out++ = have > 2 ? digits[group & 63] : '=';
	}
	*out = '\0';
}

static void
randomize_row(History *h, Row *row)
{
	row->customer_id = 1 + random_below(h, 50000);
	row->product_id = 1 + random_below(h, 5000);
	row->status = random_below(h, 6);
	row->cents = random_below(h, 10000000) - 100000;
	row->updated_at = h->now;
}

/* choose the next event among what is still to come and possible */
static char
choose_op(History *h)
{
	for (;;)
	{
		int			pick = random_below(h, h->inserts + h->updates + h->deletes);

		if (pick < h->inserts)
			return 'c';
		/* a row is left for the updates that are still to come */
		if (pick < h->inserts + h->updates ? h->nalive > 0 : h->nalive > 1)
			return pick < h->inserts + h->updates ? 'u' : 'd';
		if (h->inserts == 0 && h->nalive == 1)
			return h->updates > 0 ? 'u' : 'd';
	}
}

/* apply one event to the history and return the row's id */
static int
make_change(History *h, char op)
{
	int			id,
				at;

	if (op == 'c')
	{
		id = h->next_id++;
		h->inserts--;
		h->alive[h->nalive++] = id;
		h->rows[id - 1].alive = true;
		randomize_row(h, &h->rows[id - 1]);
		return id;
	}
	at = random_below(h, h->nalive);
	id = h->alive[at];
	if (op == 'u')
	{
		h->updates--;
		randomize_row(h, &h->rows[id - 1]);
		return id;
	}
	h->deletes--;
	h->alive[at] = h->alive[--h->nalive];
	h->rows[id - 1].alive = false;
	return id;
}

/* the source's clock, log and transactions go on */
static void
advance(History *h)
{
	h->now += 50 + random_below(h, 900);
	if (h->left_in_tx == 0)
	{
		h->commit_lsn = h->lsn;
		h->txid++;
		h->left_in_tx = 1 + random_below(h, 8);
		h->lsn += 56;
	}
	h->left_in_tx--;
	h->lsn += 80 + random_below(h, 200);
}

static int
format_event(const History *h, char op, int id, char *out, size_t size)
{
	const Row  *row = &h->rows[id - 1];
	char		image[256],
				when[40],
				amount[16];
	int64_t		ms = h->now / 1000;

	if (op == 'd')
		snprintf(image, sizeof(image),
				 "{\"before\":{\"id\":%d,\"customer_id\":null,\"product_id\":null,\"status\":null,"
				 "\"amount\":null,\"updated_at\":null},\"after\":null", id);
	else
	{
		format_time(row->updated_at, when, sizeof(when));
		format_decimal(row->cents, amount);
		snprintf(image, sizeof(image),
				 "{\"before\":null,\"after\":{\"id\":%d,\"customer_id\":%" PRId64 ",\"product_id\":%" PRId64
				 ",\"status\":\"%s\",\"amount\":\"%s\",\"updated_at\":\"%sZ\"}",
				 id, row->customer_id, row->product_id, statuses[row->status], amount, when);
	}
	return snprintf(out, size,
					"%s,\"source\":{\"version\":\"3.5.0.Final\",\"connector\":\"postgresql\",\"name\":\"bench\","
					"\"ts_ms\":%" PRId64 ",\"snapshot\":\"false\",\"db\":\"shop\",\"sequence\":\"[\\\"%" PRId64
					"\\\",\\\"%" PRId64 "\\\"]\",\"ts_us\":%" PRId64 ",\"ts_ns\":%" PRId64 ",\"schema\":\"public\",\"table\":\"orders\",\"txId\":%" PRId64
					",\"lsn\":%" PRId64 ",\"xmin\":null,\"origin\":null,\"origin_lsn\":null},\"transaction\":null,\"op\":\"%c\",\"ts_ms\":%" PRId64 "}",
					image, ms, h->commit_lsn, h->lsn, h->now, h->now * 1000, h->txid, h->lsn, op, ms + 3);
}

static void
print_amount(FILE *file, int64_t cents)
{
	fprintf(file, "%s%" PRId64 ".%02" PRId64, cents < 0 ? "-" : "", (int64_t) llabs(cents) / 100, (int64_t) llabs(cents) % 100);
}

static void
print_row(FILE *file, const History *h, int id)
{
	const Row  *row = &h->rows[id - 1];
	char		when[40];

	format_time(row->updated_at, when, sizeof(when));
	fprintf(file, "%d\t%" PRId64 "\t%" PRId64 "\t%s\t", id, row->customer_id, row->product_id, statuses[row->status]);
	print_amount(file, row->cents);
	fprintf(file, "\t%s+00", when);
}

static void
print_reference(FILE *file, const History *h, char op, int id, long n)
{
	fprintf(file, "%ld\t%c\t", n, op);
	if (op == 'd')
		fprintf(file, "%d\t\\N\t\\N\t\\N\t\\N\t\\N", id);
	else
		print_row(file, h, id);
	fprintf(file, "\t\\\\x%016" PRIx64 "%016" PRIx64 "\n", (uint64_t) h->commit_lsn, (uint64_t) h->lsn);
}

static void
start_history(History *h, int events, uint64_t seed)
{
	memset(h, 0, sizeof(*h));
	h->inserts = events * 4 / 10;
	h->deletes = events / 10;
	h->updates = events - h->inserts - h->deletes;
	h->rows = calloc(h->inserts, sizeof(Row));
	h->alive = calloc(h->inserts, sizeof(int));
	if (h->rows == NULL || h->alive == NULL)
		die("out of memory");
	h->next_id = 1;
	h->lsn = INT64_C(26866992);
	h->txid = 748;
	h->now = MICROS_2026;
	h->random = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
}

static FILE *
open_output(const char *path)
{
	FILE	   *file = strcmp(path, "-") == 0 ? NULL : fopen(path, "w");

	if (file == NULL && strcmp(path, "-") != 0)
		die("could not write %s", path);
	return file;
}

int
main(int argc, char **argv)
{
	History		h;
	FILE	   *oracle,
			   *reference;
	int			events;
	long		bytes = 0;

	if (argc < 7)
		die("usage: produce ADDRESS TOPIC EVENTS SEED ORACLE REFERENCE [name=value …]");
	events = atoi(argv[3]);
	if (events < 10)
		die("too few events");
	oracle = open_output(argv[5]);
	reference = open_output(argv[6]);
	if (strcmp(argv[1], "-") != 0)
		open_producer(argv[1], argv + 7, argc - 7);
	start_history(&h, events, strtoull(argv[4], NULL, 10));
	for (long n = 0; n < events; n++)
	{
		char		key[32],
					value[1024];
		char		op = choose_op(&h);
		int			id,
					value_len;

		advance(&h);
		id = make_change(&h, op);
		value_len = format_event(&h, op, id, value, sizeof(value));
		bytes += value_len;
		send_event(argv[2], key, snprintf(key, sizeof(key), "{\"id\":%d}", id), value, value_len);
		if (reference)
			print_reference(reference, &h, op, id, n);
	}
	for (int id = 1; oracle && id < h.next_id; id++)
		if (h.rows[id - 1].alive)
		{
			print_row(oracle, &h, id);
			fputc('\n', oracle);
		}
	if ((oracle && fclose(oracle)) || (reference && fclose(reference)))
		die("could not write the files");
	if (producer && (rd_kafka_flush(producer, 300000) || delivered_count != events))
		die("%ld of %d events were delivered", delivered_count, events);
	printf("%d events, %ld bytes each\n", events, bytes / events);
	return 0;
}
