/*
 * kafka_config.c
 *		From a server and a user mapping to a librdkafka configuration.
 *
 * What the rules demand is set last and cannot be overridden: own offsets (K1), end of
 * partition told (K2), no silent reset (K3), events instead of callbacks, bounded memory
 * (K8). Needs a transaction, for the catalogs; keeps nothing but its result.
 */
#include "postgres.h"

#include "edw_stream.h"

#include "catalog/connection.h"
#include "source/kafka_config.h"
#include "source/kafka_pace.h"
#include "source/kafka_properties.h"

#define DEFAULT_REFRESH_MS	30000

typedef struct Setting
{
	const char *name;
	const char *value;
} Setting;

/* before the user's options */
static const Setting defaults[] = {
	{"client.id", "edw_stream"},
	{"topic.metadata.refresh.interval.ms", "30000"},
	{"socket.keepalive.enable", "true"},
	/* its default lets a broker be back for ten seconds before it is noticed */
	{"reconnect.backoff.max.ms", "2000"},
	{"log.connection.close", "false"},
	{"isolation.level", "read_committed"},
	/* unless the user sets it, only the first: see kafka_pace.h */
	{"fetch.wait.max.ms", "10"},
};

/* after them */
static const Setting demands[] = {
	{"enable.auto.commit", "false"},
	{"enable.auto.offset.store", "false"},
	{"auto.offset.reset", "error"},
	{"enable.partition.eof", "true"},
	{"allow.auto.create.topics", "false"},
	{"log.queue", "true"},
	{"log.thread.name", "false"},
	{"enable.random.seed", "false"},
	/* its default has a shell run kinit */
	{"sasl.kerberos.kinit.cmd", ""},
};

static bool
set(rd_kafka_conf_t *conf, const char *name, const char *value, EdwSourceError *error)
{
	char		errstr[512];

	if (rd_kafka_conf_set(conf, name, value, errstr, sizeof(errstr)) == RD_KAFKA_CONF_OK)
		return true;
	error->sqlerrcode = ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE;
	snprintf(error->message, sizeof(error->message),
			 "option \"%s\" is not accepted by librdkafka", name);
	strlcpy(error->hint, "Correct the options of the server or the user mapping.",
			sizeof(error->hint));
	return false;
}

static bool
set_number(rd_kafka_conf_t *conf, const char *name, int64 value, EdwSourceError *error)
{
	char		text[32];

	snprintf(text, sizeof(text), INT64_FORMAT, value);
	return set(conf, name, text, error);
}

/*
 * The source's memory (K8). Everything fetched ends in one queue, and a partition is
 * fetched only while that is below its limits, so what can be there is: the queue's
 * limits, plus one fetch per broker. librdkafka needs about 0.6 kB of its own for every
 * queued message: with 1 kB a message both limits are met at once. A fetch is small because it may be
 * compressed: 10:1 is common. A single message that is larger is still
 * delivered.
 */
static bool
set_memory(rd_kafka_conf_t *conf, Size memory, EdwSourceError *error)
{
	int64		kb = Max((int64) (memory / 1024), 64);
	int64		queue = kb * 5 / 8;
	int64		fetch = Min(Max(kb * 1024 / 64, 32 * 1024), 16 * 1024 * 1024);

	return set_number(conf, "queued.max.messages.kbytes", Min(queue, 1024 * 1024), error) &&
		set_number(conf, "queued.min.messages", Min(queue, 10000000), error) &&
		set_number(conf, "message.max.bytes", Min(fetch, 1000000), error) &&
		set_number(conf, "fetch.max.bytes", fetch, error) &&
		set_number(conf, "fetch.message.max.bytes", fetch, error);
}

static const char *
option_value(const EdwConnection *connection, const char *name)
{
	const char *value = NULL;
	ListCell   *lc;

	foreach(lc, connection->options)
	{
		EdwConnectionOption *option = lfirst(lc);

		if (strcmp(option->name, name) == 0)
			value = option->value;
	}
	return value;
}

/* Fill in what we ourselves must know about the options. */
static void
note_options(EdwKafkaConfig *config, const EdwConnection *connection)
{
	const char *protocol = option_value(connection, "security.protocol");
	const char *mechanism = option_value(connection, "sasl.mechanisms");
	const char *refresh = option_value(connection, "topic.metadata.refresh.interval.ms");
	const char *isolation = option_value(connection, "isolation.level");
	bool		sasl = protocol && pg_strncasecmp(protocol, "sasl", 4) == 0;
	ListCell   *lc;

	if (mechanism == NULL)
		mechanism = option_value(connection, "sasl.mechanism");
	if (mechanism == NULL)
		mechanism = "GSSAPI";
	config->refresh_ms = refresh ? atoi(refresh) : DEFAULT_REFRESH_MS;
	config->read_committed = isolation == NULL || strcmp(isolation, "read_uncommitted") != 0;
	config->pace_fetches = option_value(connection, "fetch.wait.max.ms") == NULL;
	config->oauthbearer = sasl && strcmp(mechanism, "OAUTHBEARER") == 0;
	config->username = option_value(connection, "sasl.username");
	config->password = option_value(connection, "sasl.password");
	config->wake_fetchers = !(sasl && strcmp(mechanism, "GSSAPI") == 0);
	if (config->username == NULL || config->password == NULL)
		config->username = config->password = "";	/* nobody will ask for them */
	foreach(lc, connection->options)
	{
		EdwConnectionOption *option = lfirst(lc);

		/* a user's name is not shown to others either, but may stand in a message */
		if (option->secret && option->value[0] != '\0' &&
			strcmp(option->name, "sasl.username") != 0)
			config->secrets = lappend(config->secrets, option->value);
	}
}

static bool
apply_options(rd_kafka_conf_t *conf, const EdwConnection *connection, EdwSourceError *error)
{
	ListCell   *lc;

	foreach(lc, connection->options)
	{
		EdwConnectionOption *option = lfirst(lc);
		const EdwKafkaProperty *property = EdwKafkaPropertyFind(option->name);

		/* as the validator would: the catalogs may have been written without it */
		if (property == NULL || property->place == EDW_PROPERTY_REFUSED)
		{
			error->sqlerrcode = ERRCODE_FDW_INVALID_OPTION_NAME;
			snprintf(error->message, sizeof(error->message),
					 "option \"%s\" cannot be set", option->name);
			error->hint[0] = '\0';
			return false;
		}
		if (!set(conf, option->name, option->value, error))
			return false;
	}
	return true;
}

static bool
apply_settings(rd_kafka_conf_t *conf, const Setting *settings, int n, EdwSourceError *error)
{
	for (int i = 0; i < n; i++)
	{
		if (!set(conf, settings[i].name, settings[i].value, error))
			return false;
	}
	return true;
}

EdwKafkaConfig *
EdwKafkaConfigBuild(const EdwSourceConfig *source, EdwSourceError *error)
{
	EdwConnection *connection;
	EdwKafkaConfig *config;
	rd_kafka_conf_t *conf;

	connection = EdwConnectionResolve(source->server, EDW_KAFKA_WRAPPER, source->owner, error);
	if (connection == NULL)
		return NULL;
	config = palloc0(sizeof(EdwKafkaConfig));
	note_options(config, connection);

	/* from here on nothing may raise: conf belongs to nobody yet */
	conf = rd_kafka_conf_new();
	if (!apply_settings(conf, defaults, lengthof(defaults), error) ||
		!apply_options(conf, connection, error) ||
		!apply_settings(conf, demands, lengthof(demands), error) ||
		!set(conf, "group.id", source->group_id, error) ||
		!set_memory(conf, source->fetch_memory, error))
	{
		rd_kafka_conf_destroy(conf);
		return NULL;
	}
	/* since 2.2 librdkafka can be told to look at a full queue again sooner */
	if (rd_kafka_conf_set(conf, "fetch.queue.backoff.ms", "5", NULL, 0) == RD_KAFKA_CONF_OK)
		config->wake_fetchers = false;
	if (!EdwKafkaPaceThreads(conf))
	{
		rd_kafka_conf_destroy(conf);
		error->sqlerrcode = ERRCODE_OUT_OF_MEMORY;
		strlcpy(error->message, "out of memory", sizeof(error->message));
		return NULL;
	}
	rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_FETCH | RD_KAFKA_EVENT_ERROR |
							 RD_KAFKA_EVENT_LOG);
	config->conf = conf;
	return config;
}

void
EdwKafkaSanitize(const EdwKafkaConfig *config, const char *text, char *out, Size out_size)
{
	Size		used = 0;

	while (*text != '\0' && used + 4 < out_size)
	{
		const char *secret = NULL;
		ListCell   *lc;

		foreach(lc, config->secrets)
		{
			const char *candidate = lfirst(lc);

			if (strncmp(text, candidate, strlen(candidate)) == 0 &&
				(secret == NULL || strlen(candidate) > strlen(secret)))
				secret = candidate;
		}
		if (secret)
		{
			memcpy(out + used, "***", 3);
			used += 3;
			text += strlen(secret);
		}
		else
		{
			unsigned char c = (unsigned char) *text++;

			out[used++] = (c < ' ' || c >= 0x7f) ? (c == '\n' || c == '\t' ? ' ' : '?') : c;
		}
	}
	out[used] = '\0';
}
