/*
 * kafka_mock.c
 *		A cluster of librdkafka's mock brokers, whose answers a test decides.
 *
 *	kafka_mock BROKERS
 *
 * It prints the bootstrap address, then obeys the lines of standard input, answers
 * each with "ok", "ok NUMBER" or "error WHY", and ends with the input:
 *
 *	topic NAME PARTITIONS				creates it, all brokers hold it
 *	topic-error NAME ERROR				what Metadata says of it; NO_ERROR takes it back
 *	leader TOPIC PARTITION BROKER		moves it (BROKER -1: nobody leads)
 *	fail BROKER API ERROR COUNT			the next COUNT requests fail so
 *	delay BROKER API MS COUNT			they are answered, so late
 *	left BROKER API						how many of those have not come yet
 *	down BROKER | up BROKER				-1: all
 *	rtt BROKER MS						every answer takes so long
 *
 * BROKER counts from 1. API is Produce, Fetch, ListOffsets, Metadata, OffsetCommit or
 * FindCoordinator, as far as the mock lets it fail: of Metadata only topic-error does.
 * ERROR is librdkafka's name, NOT_LEADER_FOR_PARTITION or _TRANSPORT (it hangs up).
 *
 * The mock knows no transactions, and its threads do not block signals: it stays in a process
 * of its own and out of any backend.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#define MAX_WORDS	8

typedef struct Api
{
	const char *name;
	int16_t		key;
} Api;

static const Api apis[] = {
	{"Produce", 0},
	{"Fetch", 1},
	{"ListOffsets", 2},
	{"Metadata", 3},
	{"OffsetCommit", 8},
	{"FindCoordinator", 10},
};

static rd_kafka_mock_cluster_t *cluster;

static void
answer(const char *format,...) __attribute__((format(printf, 1, 2)));

static void
answer(const char *format,...)
{
	va_list		args;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
}

/* -1 when there is none of that name */
static int
find_api(const char *name)
{
	for (size_t i = 0; i < sizeof(apis) / sizeof(apis[0]); i++)
		if (strcmp(apis[i].name, name) == 0)
			return apis[i].key;
	return -1;
}

static bool
find_error(const char *name, rd_kafka_resp_err_t *error)
{
	const struct rd_kafka_err_desc *descriptions;
	size_t		n;

	*error = RD_KAFKA_RESP_ERR_NO_ERROR;
	if (strcmp(name, "NO_ERROR") == 0)
		return true;
	rd_kafka_get_err_descs(&descriptions, &n);
	for (size_t i = 0; i < n; i++)
	{
		if (descriptions[i].name == NULL || strcmp(descriptions[i].name, name) != 0)
			continue;
		*error = descriptions[i].code;
		return true;
	}
	return false;
}

/* the next requests of a kind fail, or are late */
static rd_kafka_resp_err_t
push(int broker, int api, rd_kafka_resp_err_t error, int delay_ms, int count)
{
	rd_kafka_resp_err_t result = RD_KAFKA_RESP_ERR_NO_ERROR;

	for (int i = 0; i < count && !result; i++)
		result = rd_kafka_mock_broker_push_request_error_rtts(cluster, broker, api, 1, error, delay_ms);
	return result;
}

static void
answer_result(rd_kafka_resp_err_t result)
{
	if (result)
		answer("error %s", rd_kafka_err2name(result));
	else
		answer("ok");
}

static void
set_topic_error(const char *topic, const char *name)
{
	rd_kafka_resp_err_t error;

	if (!find_error(name, &error))
	{
		answer("error no such error: %s", name);
		return;
	}
	rd_kafka_mock_topic_set_error(cluster, topic, error);
	answer("ok");
}

/* fail, delay, left: what concerns requests of one kind */
static void
obey_about_requests(char **words, int n)
{
	int			broker = atoi(words[1]);
	int			api = find_api(words[2]);
	rd_kafka_resp_err_t error;
	size_t		left;

	if (api < 0)
		answer("error no such API: %s", words[2]);
	else if (strcmp(words[0], "left") == 0 && n == 3)
	{
		error = rd_kafka_mock_broker_error_stack_cnt(cluster, broker, api, &left);
		if (error)
			answer_result(error);
		else
			answer("ok %zu", left);
	}
	else if (strcmp(words[0], "delay") == 0 && n == 5)
		answer_result(push(broker, api, RD_KAFKA_RESP_ERR_NO_ERROR, atoi(words[3]), atoi(words[4])));
	else if (strcmp(words[0], "fail") != 0 || n != 5)
		answer("error not understood");
	else if (!find_error(words[3], &error))
		answer("error no such error: %s", words[3]);
	else
		answer_result(push(broker, api, error, 0, atoi(words[4])));
}

static void
obey(char **words, int n)
{
	const char *what = words[0];

	if (strcmp(what, "topic") == 0 && n == 3)
		answer_result(rd_kafka_mock_topic_create(cluster, words[1], atoi(words[2]), 1));
	else if (strcmp(what, "topic-error") == 0 && n == 3)
		set_topic_error(words[1], words[2]);
	else if (strcmp(what, "leader") == 0 && n == 4)
		answer_result(rd_kafka_mock_partition_set_leader(cluster, words[1], atoi(words[2]), atoi(words[3])));
	else if (strcmp(what, "down") == 0 && n == 2)
		answer_result(rd_kafka_mock_broker_set_down(cluster, atoi(words[1])));
	else if (strcmp(what, "up") == 0 && n == 2)
		answer_result(rd_kafka_mock_broker_set_up(cluster, atoi(words[1])));
	else if (strcmp(what, "rtt") == 0 && n == 3)
		answer_result(rd_kafka_mock_broker_set_rtt(cluster, atoi(words[1]), atoi(words[2])));
	else if (n >= 3)
		obey_about_requests(words, n);
	else
		answer("error not understood");
}

int
main(int argc, char **argv)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char		text[512];
	rd_kafka_t *rk;

	if (argc != 2)
	{
		fputs("usage: kafka_mock BROKERS\n", stderr);
		return 1;
	}
	/* the handle only carries the cluster; it has no broker to complain of */
	rd_kafka_conf_set(conf, "log_level", "0", NULL, 0);
	rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
	cluster = rk ? rd_kafka_mock_cluster_new(rk, atoi(argv[1])) : NULL;
	if (cluster == NULL)
	{
		fputs("kafka_mock: no cluster\n", stderr);
		return 1;
	}
	answer("%s", rd_kafka_mock_cluster_bootstraps(cluster));

	while (fgets(text, sizeof(text), stdin))
	{
		char	   *words[MAX_WORDS];
		int			n = 0;

		for (char *word = strtok(text, " \n"); word && n < MAX_WORDS; word = strtok(NULL, " \n"))
			words[n++] = word;
		if (n > 0)
			obey(words, n);
	}
	rd_kafka_mock_cluster_destroy(cluster);
	rd_kafka_destroy(rk);
	return 0;
}
