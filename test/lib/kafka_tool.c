/*
 * kafka_tool.c
 *		What tests, demo and benchmark do to a Kafka broker besides reading: a
 *		small program over librdkafka, which starts in milliseconds.
 *
 *	kafka_tool ADDRESS ping
 *	kafka_tool ADDRESS create TOPIC PARTITIONS [name=value …]
 *	kafka_tool ADDRESS delete TOPIC
 *	kafka_tool ADDRESS partitions TOPIC TOTAL
 *	kafka_tool ADDRESS config TOPIC name=value …
 *	kafka_tool ADDRESS delete-records TOPIC PARTITION BEFORE_OFFSET
 *	kafka_tool ADDRESS offsets TOPIC		prints "partition low end" (read_committed)
 *	kafka_tool ADDRESS committed GROUP TOPIC	prints "partition offset"
 *	kafka_tool ADDRESS commit GROUP TOPIC PARTITION OFFSET
 *	kafka_tool ADDRESS read TOPIC		prints "partition offset value_length" of all there is
 *	kafka_tool ADDRESS produce TOPIC [plain | commit ID | abort ID | open ID] [name=value …]
 *
 * produce reads messages from standard input, each a line
 *		partition key_length value_length headers timestamp_ms
 * followed by the key's and the value's bytes, and then for each header a line
 *		name_length value_length
 * followed by its name's and value's bytes. A length of -1 is null, a partition of -1
 * leaves the choice to the key's hash, a timestamp of 0 means now. Bytes are sent as they
 * are. With commit, abort or open all messages are one transaction of the
 * transactional id ID, which is ended that way. With open, a line "flush" ends the
 * messages, and then a line "commit" or "abort" ends the transaction; at the end of
 * input the program dies and leaves it open. It prints how many messages were
 * acknowledged.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <librdkafka/rdkafka.h>

#define TIMEOUT_MS	60000

/* tries, a tenth of a second each */
#define PATIENCE	300

static long acknowledged;
static bool failed;

static void die(const char *format,...) __attribute__((noreturn, format(printf, 1, 2)));

static void
die(const char *format,...)
{
	va_list		args;

	va_start(args, format);
	fputs("kafka_tool: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static void
set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
	char		error[512];

	if (rd_kafka_conf_set(conf, name, value, error, sizeof(error)) != RD_KAFKA_CONF_OK)
		die("%s", error);
}

static void
delivered(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
	(void) rk;
	(void) opaque;
	if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
		acknowledged++;
	else
	{
		fprintf(stderr, "kafka_tool: not delivered: %s\n", rd_kafka_err2str(message->err));
		failed = true;
	}
}

/* open a handle; extra are name=value settings */
static rd_kafka_t *
open_handle(const char *address, rd_kafka_type_t type, char **extra, int nextra)
{
	char		error[512];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_t *rk;
	int			i;

	set(conf, "bootstrap.servers", address);
	/* what it would log of a broker that is not up yet is told by the result */
	set(conf, "log_level", "0");
	for (i = 0; i < nextra; i++)
	{
		char	   *equals = strchr(extra[i], '=');

		if (equals == NULL)
			die("not a setting: %s", extra[i]);
		*equals = '\0';
		set(conf, extra[i], equals + 1);
	}
	if (type == RD_KAFKA_PRODUCER)
		rd_kafka_conf_set_dr_msg_cb(conf, delivered);
	rk = rd_kafka_new(type, conf, error, sizeof(error));
	if (rk == NULL)
		die("%s", error);
	return rk;
}

/* wait for an admin operation's result, check it, and return it */
static rd_kafka_event_t *
wait_result(rd_kafka_queue_t *queue)
{
	rd_kafka_event_t *event = rd_kafka_queue_poll(queue, TIMEOUT_MS);

	if (event == NULL)
		die("no answer in %d ms", TIMEOUT_MS);
	if (rd_kafka_event_error(event))
		die("%s", rd_kafka_event_error_string(event));
	return event;
}

static void
check_topics(const rd_kafka_topic_result_t **results, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (rd_kafka_topic_result_error(results[i]))
			die("%s: %s", rd_kafka_topic_result_name(results[i]),
				rd_kafka_topic_result_error_string(results[i]) ?
				rd_kafka_topic_result_error_string(results[i]) :
				rd_kafka_err2str(rd_kafka_topic_result_error(results[i])));
}

/* how many partitions the topic has, once each of them has a leader */
static int
partition_count(rd_kafka_t *rk, const char *topic, int tries)
{
	rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, topic, NULL);
	int			n = 0;

	for (; tries > 0 && n == 0; tries--)
	{
		const struct rd_kafka_metadata *metadata;

		if (rd_kafka_metadata(rk, 0, rkt, &metadata, TIMEOUT_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
			continue;
		if (metadata->topic_cnt == 1 && !metadata->topics[0].err)
			n = metadata->topics[0].partition_cnt;
		for (int i = 0; i < n; i++)
			if (metadata->topics[0].partitions[i].leader < 0)
			{
				n = 0;
				break;
			}
		rd_kafka_metadata_destroy(metadata);
		if (n == 0)
			rd_kafka_poll(rk, 100);
	}
	rd_kafka_topic_destroy(rkt);
	if (n == 0)
		die("no such topic: %s", topic);
	return n;
}

static void
create_topic(rd_kafka_t *rk, rd_kafka_queue_t *queue, const char *topic, int partitions,
			 char **settings, int nsettings)
{
	char		error[512];
	rd_kafka_NewTopic_t *new = rd_kafka_NewTopic_new(topic, partitions, 1, error, sizeof(error));
	rd_kafka_event_t *event;
	const rd_kafka_topic_result_t **results;
	size_t		n;

	if (new == NULL)
		die("%s", error);
	for (int i = 0; i < nsettings; i++)
	{
		char	   *equals = strchr(settings[i], '=');

		if (equals == NULL)
			die("not a setting: %s", settings[i]);
		*equals = '\0';
		rd_kafka_NewTopic_set_config(new, settings[i], equals + 1);
	}
	rd_kafka_CreateTopics(rk, &new, 1, NULL, queue);
	event = wait_result(queue);
	results = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n);
	check_topics(results, n);
	rd_kafka_event_destroy(event);
	rd_kafka_NewTopic_destroy(new);
	(void) partition_count(rk, topic, PATIENCE);
}

static void
delete_topic(rd_kafka_t *rk, rd_kafka_queue_t *queue, const char *topic)
{
	rd_kafka_DeleteTopic_t *delete = rd_kafka_DeleteTopic_new(topic);
	rd_kafka_event_t *event;
	const rd_kafka_topic_result_t **results;
	size_t		n;

	rd_kafka_DeleteTopics(rk, &delete, 1, NULL, queue);
	event = wait_result(queue);
	results = rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &n);
	check_topics(results, n);
	rd_kafka_event_destroy(event);
	rd_kafka_DeleteTopic_destroy(delete);
}

static void
grow_topic(rd_kafka_t *rk, rd_kafka_queue_t *queue, const char *topic, int total)
{
	char		error[512];
	rd_kafka_NewPartitions_t *new = rd_kafka_NewPartitions_new(topic, total, error, sizeof(error));
	rd_kafka_event_t *event;
	const rd_kafka_topic_result_t **results;
	size_t		n;

	if (new == NULL)
		die("%s", error);
	rd_kafka_CreatePartitions(rk, &new, 1, NULL, queue);
	event = wait_result(queue);
	results = rd_kafka_CreatePartitions_result_topics(rd_kafka_event_CreatePartitions_result(event), &n);
	check_topics(results, n);
	rd_kafka_event_destroy(event);
	rd_kafka_NewPartitions_destroy(new);
	while (partition_count(rk, topic, PATIENCE) < total)
		rd_kafka_poll(rk, 100);
}

static void
configure_topic(rd_kafka_t *rk, rd_kafka_queue_t *queue, const char *topic,
				char **settings, int nsettings)
{
	rd_kafka_ConfigResource_t *resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
	const rd_kafka_ConfigResource_t **results;
	rd_kafka_event_t *event;
	size_t		n;

	for (int i = 0; i < nsettings; i++)
	{
		char	   *equals = strchr(settings[i], '=');

		if (equals == NULL)
			die("not a setting: %s", settings[i]);
		*equals = '\0';
		rd_kafka_ConfigResource_set_config(resource, settings[i], equals + 1);
	}
	rd_kafka_AlterConfigs(rk, &resource, 1, NULL, queue);
	event = wait_result(queue);
	results = rd_kafka_AlterConfigs_result_resources(rd_kafka_event_AlterConfigs_result(event), &n);
	for (size_t i = 0; i < n; i++)
		if (rd_kafka_ConfigResource_error(results[i]))
			die("%s", rd_kafka_ConfigResource_error_string(results[i]));
	rd_kafka_event_destroy(event);
	rd_kafka_ConfigResource_destroy(resource);
}

static void
delete_records(rd_kafka_t *rk, rd_kafka_queue_t *queue, const char *topic, int partition, int64_t before)
{
	rd_kafka_topic_partition_list_t *offsets = rd_kafka_topic_partition_list_new(1);
	const rd_kafka_topic_partition_list_t *results;
	rd_kafka_DeleteRecords_t *delete;
	rd_kafka_event_t *event;

	rd_kafka_topic_partition_list_add(offsets, topic, partition)->offset = before;
	delete = rd_kafka_DeleteRecords_new(offsets);
	rd_kafka_DeleteRecords(rk, &delete, 1, NULL, queue);
	event = wait_result(queue);
	results = rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(event));
	for (int i = 0; i < results->cnt; i++)
		if (results->elems[i].err)
			die("%s", rd_kafka_err2str(results->elems[i].err));
	rd_kafka_event_destroy(event);
	rd_kafka_DeleteRecords_destroy(delete);
	rd_kafka_topic_partition_list_destroy(offsets);
}

static void
print_offsets(rd_kafka_t *rk, const char *topic)
{
	int			n = partition_count(rk, topic, 10);

	for (int i = 0; i < n; i++)
	{
		int64_t		low,
					high;
		rd_kafka_resp_err_t error = rd_kafka_query_watermark_offsets(rk, topic, i, &low, &high, TIMEOUT_MS);

		if (error)
			die("%s", rd_kafka_err2str(error));
		printf("%d %ld %ld\n", i, (long) low, (long) high);
	}
}

/* a consumer that is no member of its group */
static rd_kafka_t *
open_consumer(const char *address, const char *group)
{
	char		group_setting[512];
	char		eof_setting[] = "enable.partition.eof=true";
	char		commit_setting[] = "enable.auto.commit=false";
	char	   *settings[] = {group_setting, eof_setting, commit_setting};

	snprintf(group_setting, sizeof(group_setting), "group.id=%s", group);
	return open_handle(address, RD_KAFKA_CONSUMER, settings, 3);
}

/* what the group has committed is another offset from now on */
static void
commit_offset(const char *address, const char *group, const char *topic, int partition, int64_t offset)
{
	rd_kafka_t *rk = open_consumer(address, group);
	rd_kafka_topic_partition_list_t *offsets = rd_kafka_topic_partition_list_new(1);
	rd_kafka_resp_err_t error;

	rd_kafka_topic_partition_list_add(offsets, topic, partition)->offset = offset;
	error = rd_kafka_commit(rk, offsets, 0);
	if (error)
		die("%s", rd_kafka_err2str(error));
	rd_kafka_topic_partition_list_destroy(offsets);
	rd_kafka_destroy(rk);
}

/* the messages of a topic, up to the end of each partition */
static void
print_messages(const char *address, const char *topic)
{
	rd_kafka_t *rk = open_consumer(address, "kafka_tool");
	rd_kafka_topic_partition_list_t *all;
	int			left = partition_count(rk, topic, PATIENCE);

	all = rd_kafka_topic_partition_list_new(left);
	for (int i = 0; i < left; i++)
		rd_kafka_topic_partition_list_add(all, topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
	if (rd_kafka_assign(rk, all))
		die("could not read topic %s", topic);
	rd_kafka_topic_partition_list_destroy(all);
	while (left > 0)
	{
		rd_kafka_message_t *message = rd_kafka_consumer_poll(rk, TIMEOUT_MS);

		if (message == NULL)
			die("no answer in %d ms", TIMEOUT_MS);
		if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
			left--;
		else if (message->err)
			die("%s", rd_kafka_message_errstr(message));
		else
			printf("%d %ld %ld\n", message->partition, (long) message->offset,
				   message->payload ? (long) message->len : -1L);
		rd_kafka_message_destroy(message);
	}
	rd_kafka_destroy(rk);
}

static void
print_committed(const char *address, const char *group, const char *topic)
{
	rd_kafka_t *rk = open_consumer(address, group);
	rd_kafka_topic_partition_list_t *offsets;
	rd_kafka_resp_err_t error;
	int			n = partition_count(rk, topic, 10);

	offsets = rd_kafka_topic_partition_list_new(n);
	for (int i = 0; i < n; i++)
		rd_kafka_topic_partition_list_add(offsets, topic, i);
	error = rd_kafka_committed(rk, offsets, TIMEOUT_MS);
	if (error)
		die("%s", rd_kafka_err2str(error));
	for (int i = 0; i < n; i++)
		printf("%d %ld\n", offsets->elems[i].partition, (long) offsets->elems[i].offset);
	rd_kafka_topic_partition_list_destroy(offsets);
	rd_kafka_destroy(rk);
}

/* read exactly n bytes; NULL for -1 */
static char *
read_bytes(long n)
{
	char	   *bytes;

	if (n < 0)
		return NULL;
	bytes = malloc(n + 1);
	if (bytes == NULL || fread(bytes, 1, n, stdin) != (size_t) n)
		die("the input ends within a message");
	return bytes;
}

static rd_kafka_headers_t *
read_headers(int n)
{
	rd_kafka_headers_t *headers = rd_kafka_headers_new(n);

	for (int i = 0; i < n; i++)
	{
		long		name_len,
					value_len;
		char	   *name,
				   *value;

		if (scanf("%ld %ld", &name_len, &value_len) != 2 || getchar() != '\n' || name_len < 0)
			die("a header's line was expected");
		name = read_bytes(name_len);
		value = read_bytes(value_len);
		rd_kafka_header_add(headers, name, name_len, value, value_len);
		free(name);
		free(value);
	}
	return headers;
}

/* send one message, waiting for room in the producer's queue */
static void
send_message(rd_kafka_t *rk, const char *topic, int partition, char *key, long key_len,
			 char *value, long value_len, int nheaders, long timestamp)
{
	rd_kafka_headers_t *headers = read_headers(nheaders);
	rd_kafka_resp_err_t error;

	for (;;)
	{
		/* on success librdkafka owns the headers */
		error = rd_kafka_producev(rk,
								  RD_KAFKA_V_TOPIC(topic),
								  RD_KAFKA_V_PARTITION(partition < 0 ? RD_KAFKA_PARTITION_UA : partition),
								  RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
								  RD_KAFKA_V_KEY(key, key ? key_len : 0),
								  RD_KAFKA_V_VALUE(value, value ? value_len : 0),
								  RD_KAFKA_V_HEADERS(headers),
								  RD_KAFKA_V_TIMESTAMP(timestamp),
								  RD_KAFKA_V_END);
		if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL)
			break;
		rd_kafka_poll(rk, 100);
	}
	if (error)
		die("%s", rd_kafka_err2str(error));
	rd_kafka_poll(rk, 0);
}

/* send all messages of the input; a line that is no message ends them */
static long
send_input(rd_kafka_t *rk, const char *topic)
{
	int			partition,
				nheaders;
	long		key_len,
				value_len,
				timestamp,
				n = 0;

	while (scanf("%d %ld %ld %d %ld", &partition, &key_len, &value_len, &nheaders, &timestamp) == 5)
	{
		char	   *key,
				   *value;

		if (getchar() != '\n')
			die("message %ld: its line has more fields", n);
		key = read_bytes(key_len);
		value = read_bytes(value_len);
		send_message(rk, topic, partition, key, key_len, value, value_len, nheaders, timestamp);
		free(key);
		free(value);
		n++;
	}
	if (rd_kafka_flush(rk, TIMEOUT_MS))
		die("not all messages were delivered");
	return n;
}

static void
check_error(rd_kafka_error_t *error)
{
	if (error)
		die("%s", rd_kafka_error_string(error));
}

static void
end_transaction(rd_kafka_t *rk, const char *how)
{
	char		line[16] = "";

	printf("%ld\n", acknowledged);
	fflush(stdout);
	if (strcmp(how, "open") == 0)
	{
		if (scanf(" flush %15s", line) != 1)
			_Exit(0);			/* dies with the transaction open */
		how = line;
	}
	if (strcmp(how, "commit") == 0)
		check_error(rd_kafka_commit_transaction(rk, TIMEOUT_MS));
	else if (strcmp(how, "abort") == 0)
		check_error(rd_kafka_abort_transaction(rk, TIMEOUT_MS));
	else
		die("neither commit nor abort: %s", how);
}

static void
produce(const char *address, const char *topic, char **args, int nargs)
{
	const char *how = nargs > 0 && strchr(args[0], '=') == NULL ? args[0] : "plain";
	bool		transaction = strcmp(how, "plain") != 0;
	int			used = nargs > 0 && how == args[0] ? (transaction ? 2 : 1) : 0;
	char		setting[512];
	char	   *settings[32];
	int			n = 0;
	long		sent;
	rd_kafka_t *rk;

	if (transaction)
	{
		if (nargs < 2)
			die("%s needs a transactional id", how);
		snprintf(setting, sizeof(setting), "transactional.id=%s", args[1]);
		settings[n++] = setting;
	}
	for (int i = used; i < nargs && n < 32; i++)
		settings[n++] = args[i];
	rk = open_handle(address, RD_KAFKA_PRODUCER, settings, n);
	(void) partition_count(rk, topic, PATIENCE);
	if (transaction)
	{
		check_error(rd_kafka_init_transactions(rk, TIMEOUT_MS));
		check_error(rd_kafka_begin_transaction(rk));
	}
	sent = send_input(rk, topic);
	if (failed || acknowledged != sent)
		die("%ld of %ld messages were delivered", acknowledged, sent);
	if (transaction)
		end_transaction(rk, how);
	else
		printf("%ld\n", acknowledged);
	rd_kafka_destroy(rk);
}

static void
ping(rd_kafka_t *rk)
{
	const struct rd_kafka_metadata *metadata;
	rd_kafka_resp_err_t error = rd_kafka_metadata(rk, 0, NULL, &metadata, 2000);

	if (error)
		die("%s", rd_kafka_err2str(error));
	if (metadata->broker_cnt < 1)
		die("no broker yet");
	rd_kafka_metadata_destroy(metadata);
}

static bool
run_admin(rd_kafka_t *rk, const char *action, char **args, int nargs)
{
	rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);

	if (strcmp(action, "ping") == 0)
		ping(rk);
	else if (strcmp(action, "create") == 0 && nargs >= 2)
		create_topic(rk, queue, args[0], atoi(args[1]), args + 2, nargs - 2);
	else if (strcmp(action, "delete") == 0 && nargs == 1)
		delete_topic(rk, queue, args[0]);
	else if (strcmp(action, "partitions") == 0 && nargs == 2)
		grow_topic(rk, queue, args[0], atoi(args[1]));
	else if (strcmp(action, "config") == 0 && nargs >= 2)
		configure_topic(rk, queue, args[0], args + 1, nargs - 1);
	else if (strcmp(action, "delete-records") == 0 && nargs == 3)
		delete_records(rk, queue, args[0], atoi(args[1]), atol(args[2]));
	else if (strcmp(action, "offsets") == 0 && nargs == 1)
		print_offsets(rk, args[0]);
	else
		return false;
	rd_kafka_queue_destroy(queue);
	return true;
}

int
main(int argc, char **argv)
{
	rd_kafka_t *rk;

	if (argc < 3)
		die("usage: kafka_tool ADDRESS ACTION [ARGUMENT …]");
	if (strcmp(argv[2], "produce") == 0 && argc >= 4)
		produce(argv[1], argv[3], argv + 4, argc - 4);
	else if (strcmp(argv[2], "committed") == 0 && argc == 5)
		print_committed(argv[1], argv[3], argv[4]);
	else if (strcmp(argv[2], "commit") == 0 && argc == 7)
		commit_offset(argv[1], argv[3], argv[4], atoi(argv[5]), atol(argv[6]));
	else if (strcmp(argv[2], "read") == 0 && argc == 4)
		print_messages(argv[1], argv[3]);
	else
	{
		rk = open_handle(argv[1], RD_KAFKA_PRODUCER, NULL, 0);
		if (!run_admin(rk, argv[2], argv + 3, argc - 3))
			die("no such action, or wrong arguments: %s", argv[2]);
		rd_kafka_destroy(rk);
	}
	return failed;
}
