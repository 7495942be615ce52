/*
 * kafka_properties.c
 *		Which of librdkafka's properties a user may set where: the validator of edw_kafka.
 *
 * The table names every consumer property of librdkafka 2.0.2. Values are judged by
 * librdkafka itself, on a configuration that is thrown away. Pure but for that: no
 * catalog access, no locks. What the validator lets pass is read again, and applied, by
 * kafka_config.c.
 *
 * A statement that carries a secret is kept out of the server's log when the validator
 * refuses it (errhidestmt); one that succeeds is the business of log_statement.
 */
#include "postgres.h"

#include "edw_stream.h"

#include <librdkafka/rdkafka.h>

#include "access/reloptions.h"
#include "catalog/connection.h"
#include "catalog/options.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "source/kafka_properties.h"

#define OFFSETS_HERE	"Offsets are kept in the database and committed with the rows."
#define NO_GROUP		"The stream assigns partitions itself and is no member of a consumer group."
#define MEMORY_HERE		"The memory of a source is bounded by edw_stream.fetch_memory."
#define EVENTS_HERE		"The server takes librdkafka's events itself."
#define RUNS_CODE		"It would load code into the database server."
#define RUNS_COMMAND	"It would have the database server run a command; keep the ticket cache fresh from outside."
#define CALLBACK		"It is a pointer of librdkafka's C interface, not a setting."
#define NO_EFFECT		"librdkafka has no use for it any more."

static const EdwKafkaProperty properties[] = {
	{"api.version.fallback.ms", EDW_PROPERTY_SERVER, NULL},
	{"api.version.request", EDW_PROPERTY_SERVER, NULL},
	{"api.version.request.timeout.ms", EDW_PROPERTY_SERVER, NULL},
	{"bootstrap.servers", EDW_PROPERTY_SERVER, NULL},
	{"broker.address.family", EDW_PROPERTY_SERVER, NULL},
	{"broker.address.ttl", EDW_PROPERTY_SERVER, NULL},
	{"broker.version.fallback", EDW_PROPERTY_SERVER, NULL},
	{"check.crcs", EDW_PROPERTY_SERVER, NULL},
	{"client.id", EDW_PROPERTY_SERVER, NULL},
	{"client.rack", EDW_PROPERTY_SERVER, NULL},
	{"connections.max.idle.ms", EDW_PROPERTY_SERVER, NULL},
	{"coordinator.query.interval.ms", EDW_PROPERTY_SERVER, NULL},
	{"debug", EDW_PROPERTY_SERVER, NULL},
	{"enable.sasl.oauthbearer.unsecure.jwt", EDW_PROPERTY_SERVER, NULL},
	{"enable.ssl.certificate.verification", EDW_PROPERTY_SERVER, NULL},
	{"fetch.error.backoff.ms", EDW_PROPERTY_SERVER, NULL},
	{"fetch.min.bytes", EDW_PROPERTY_SERVER, NULL},
	{"fetch.wait.max.ms", EDW_PROPERTY_SERVER, NULL},
	{"isolation.level", EDW_PROPERTY_SERVER, NULL},
	{"log.connection.close", EDW_PROPERTY_SERVER, NULL},
	{"log_level", EDW_PROPERTY_SERVER, NULL},
	{"metadata.max.age.ms", EDW_PROPERTY_SERVER, NULL},
	{"receive.message.max.bytes", EDW_PROPERTY_SERVER, NULL},
	{"reconnect.backoff.max.ms", EDW_PROPERTY_SERVER, NULL},
	{"reconnect.backoff.ms", EDW_PROPERTY_SERVER, NULL},
	{"sasl.kerberos.service.name", EDW_PROPERTY_SERVER, NULL},
	{"sasl.mechanism", EDW_PROPERTY_SERVER, NULL},
	{"sasl.mechanisms", EDW_PROPERTY_SERVER, NULL},
	{"sasl.oauthbearer.method", EDW_PROPERTY_SERVER, NULL},
	{"sasl.oauthbearer.token.endpoint.url", EDW_PROPERTY_SERVER, NULL},
	{"security.protocol", EDW_PROPERTY_SERVER, NULL},
	{"socket.connection.setup.timeout.ms", EDW_PROPERTY_SERVER, NULL},
	{"socket.keepalive.enable", EDW_PROPERTY_SERVER, NULL},
	{"socket.max.fails", EDW_PROPERTY_SERVER, NULL},
	{"socket.nagle.disable", EDW_PROPERTY_SERVER, NULL},
	{"socket.receive.buffer.bytes", EDW_PROPERTY_SERVER, NULL},
	{"socket.send.buffer.bytes", EDW_PROPERTY_SERVER, NULL},
	{"socket.timeout.ms", EDW_PROPERTY_SERVER, NULL},
	{"ssl.ca.pem", EDW_PROPERTY_SERVER, NULL},
	{"ssl.cipher.suites", EDW_PROPERTY_SERVER, NULL},
	{"ssl.curves.list", EDW_PROPERTY_SERVER, NULL},
	{"ssl.endpoint.identification.algorithm", EDW_PROPERTY_SERVER, NULL},
	{"ssl.sigalgs.list", EDW_PROPERTY_SERVER, NULL},
	{"topic.metadata.propagation.max.ms", EDW_PROPERTY_SERVER, NULL},
	{"topic.metadata.refresh.fast.interval.ms", EDW_PROPERTY_SERVER, NULL},
	{"topic.metadata.refresh.interval.ms", EDW_PROPERTY_SERVER, NULL},

	{"ssl.ca.location", EDW_PROPERTY_SERVER_FILE, NULL},
	{"ssl.crl.location", EDW_PROPERTY_SERVER_FILE, NULL},

	{"sasl.oauthbearer.client.id", EDW_PROPERTY_MAPPING, NULL},
	{"sasl.oauthbearer.client.secret", EDW_PROPERTY_MAPPING, NULL},
	{"sasl.oauthbearer.config", EDW_PROPERTY_MAPPING, NULL},
	{"sasl.oauthbearer.extensions", EDW_PROPERTY_MAPPING, NULL},
	{"sasl.oauthbearer.scope", EDW_PROPERTY_MAPPING, NULL},
	{"sasl.password", EDW_PROPERTY_MAPPING, NULL},
	{"sasl.username", EDW_PROPERTY_MAPPING, NULL},
	{"ssl.certificate.pem", EDW_PROPERTY_MAPPING, NULL},
	{"ssl.key.password", EDW_PROPERTY_MAPPING, NULL},
	{"ssl.key.pem", EDW_PROPERTY_MAPPING, NULL},
	{"ssl.keystore.password", EDW_PROPERTY_MAPPING, NULL},

	{"ssl.certificate.location", EDW_PROPERTY_MAPPING_FILE, NULL},
	{"ssl.key.location", EDW_PROPERTY_MAPPING_FILE, NULL},
	{"ssl.keystore.location", EDW_PROPERTY_MAPPING_FILE, NULL},

	{"allow.auto.create.topics", EDW_PROPERTY_REFUSED, "A topic that does not exist is reported, not created."},
	{"auto.commit.enable", EDW_PROPERTY_REFUSED, OFFSETS_HERE},
	{"auto.commit.interval.ms", EDW_PROPERTY_REFUSED, OFFSETS_HERE},
	{"auto.offset.reset", EDW_PROPERTY_REFUSED, "A lost offset stalls the stream; its option on_offset_lost says otherwise."},
	{"background_event_cb", EDW_PROPERTY_REFUSED, CALLBACK},
	{"builtin.features", EDW_PROPERTY_REFUSED, "It only describes how librdkafka was built."},
	{"closesocket_cb", EDW_PROPERTY_REFUSED, CALLBACK},
	{"connect_cb", EDW_PROPERTY_REFUSED, CALLBACK},
	{"consume.callback.max.messages", EDW_PROPERTY_REFUSED, EVENTS_HERE},
	{"consume_cb", EDW_PROPERTY_REFUSED, CALLBACK},
	{"default_topic_conf", EDW_PROPERTY_REFUSED, CALLBACK},
	{"enable.auto.commit", EDW_PROPERTY_REFUSED, OFFSETS_HERE},
	{"enable.auto.offset.store", EDW_PROPERTY_REFUSED, OFFSETS_HERE},
	{"enable.partition.eof", EDW_PROPERTY_REFUSED, EVENTS_HERE},
	{"enable.random.seed", EDW_PROPERTY_REFUSED, "It concerns the whole server process."},
	{"enabled_events", EDW_PROPERTY_REFUSED, EVENTS_HERE},
	{"error_cb", EDW_PROPERTY_REFUSED, CALLBACK},
	{"fetch.max.bytes", EDW_PROPERTY_REFUSED, MEMORY_HERE},
	{"fetch.message.max.bytes", EDW_PROPERTY_REFUSED, MEMORY_HERE},
	{"fetch.queue.backoff.ms", EDW_PROPERTY_REFUSED, MEMORY_HERE},
	{"group.id", EDW_PROPERTY_REFUSED, "Each stream commits to a group of its own."},
	{"group.instance.id", EDW_PROPERTY_REFUSED, NO_GROUP},
	{"group.protocol", EDW_PROPERTY_REFUSED, NO_GROUP},
	{"group.protocol.type", EDW_PROPERTY_REFUSED, NO_GROUP},
	{"heartbeat.interval.ms", EDW_PROPERTY_REFUSED, NO_GROUP},
	{"interceptors", EDW_PROPERTY_REFUSED, CALLBACK},
	{"internal.termination.signal", EDW_PROPERTY_REFUSED, "It would send signals within the database server."},
	{"log.queue", EDW_PROPERTY_REFUSED, EVENTS_HERE},
	{"log.thread.name", EDW_PROPERTY_REFUSED, EVENTS_HERE},
	{"log_cb", EDW_PROPERTY_REFUSED, CALLBACK},
	{"max.in.flight", EDW_PROPERTY_REFUSED, MEMORY_HERE},
	{"max.in.flight.requests.per.connection", EDW_PROPERTY_REFUSED, MEMORY_HERE},
	{"max.partition.fetch.bytes", EDW_PROPERTY_REFUSED, MEMORY_HERE},
	{"max.poll.interval.ms", EDW_PROPERTY_REFUSED, NO_GROUP},
	{"message.copy.max.bytes", EDW_PROPERTY_REFUSED, MEMORY_HERE},
	{"message.max.bytes", EDW_PROPERTY_REFUSED, MEMORY_HERE},
	{"metadata.broker.list", EDW_PROPERTY_REFUSED, "Use its other name, \"bootstrap.servers\"."},
	{"oauthbearer_token_refresh_cb", EDW_PROPERTY_REFUSED, CALLBACK},
	{"offset.store.method", EDW_PROPERTY_REFUSED, OFFSETS_HERE},
	{"offset.store.path", EDW_PROPERTY_REFUSED, OFFSETS_HERE},
	{"offset.store.sync.interval.ms", EDW_PROPERTY_REFUSED, OFFSETS_HERE},
	{"offset_commit_cb", EDW_PROPERTY_REFUSED, CALLBACK},
	{"opaque", EDW_PROPERTY_REFUSED, CALLBACK},
	{"open_cb", EDW_PROPERTY_REFUSED, CALLBACK},
	{"partition.assignment.strategy", EDW_PROPERTY_REFUSED, NO_GROUP},
	{"plugin.library.paths", EDW_PROPERTY_REFUSED, RUNS_CODE},
	{"queued.max.messages.kbytes", EDW_PROPERTY_REFUSED, MEMORY_HERE},
	{"queued.min.messages", EDW_PROPERTY_REFUSED, MEMORY_HERE},
	{"rebalance_cb", EDW_PROPERTY_REFUSED, CALLBACK},
	{"reconnect.backoff.jitter.ms", EDW_PROPERTY_REFUSED, NO_EFFECT},
	{"resolve_cb", EDW_PROPERTY_REFUSED, CALLBACK},
	{"sasl.kerberos.keytab", EDW_PROPERTY_REFUSED, RUNS_COMMAND},
	{"sasl.kerberos.kinit.cmd", EDW_PROPERTY_REFUSED, RUNS_COMMAND},
	{"sasl.kerberos.min.time.before.relogin", EDW_PROPERTY_REFUSED, RUNS_COMMAND},
	{"sasl.kerberos.principal", EDW_PROPERTY_REFUSED, RUNS_COMMAND},
	{"session.timeout.ms", EDW_PROPERTY_REFUSED, NO_GROUP},
	{"socket.blocking.max.ms", EDW_PROPERTY_REFUSED, NO_EFFECT},
	{"socket_cb", EDW_PROPERTY_REFUSED, CALLBACK},
	{"ssl.ca.certificate.stores", EDW_PROPERTY_REFUSED, "It exists on Windows only."},
	{"ssl.certificate.verify_cb", EDW_PROPERTY_REFUSED, CALLBACK},
	{"ssl.engine.id", EDW_PROPERTY_REFUSED, RUNS_CODE},
	{"ssl.engine.location", EDW_PROPERTY_REFUSED, RUNS_CODE},
	{"ssl.providers", EDW_PROPERTY_REFUSED, RUNS_CODE},
	{"ssl_ca", EDW_PROPERTY_REFUSED, CALLBACK},
	{"ssl_certificate", EDW_PROPERTY_REFUSED, CALLBACK},
	{"ssl_engine_callback_data", EDW_PROPERTY_REFUSED, CALLBACK},
	{"ssl_key", EDW_PROPERTY_REFUSED, CALLBACK},
	{"statistics.interval.ms", EDW_PROPERTY_REFUSED, EVENTS_HERE},
	{"stats_cb", EDW_PROPERTY_REFUSED, CALLBACK},
	{"throttle_cb", EDW_PROPERTY_REFUSED, CALLBACK},
	{"topic.blacklist", EDW_PROPERTY_REFUSED, "The topics are listed in the stream."},
	{"topic.metadata.refresh.fast.cnt", EDW_PROPERTY_REFUSED, NO_EFFECT},
	{"topic.metadata.refresh.sparse", EDW_PROPERTY_REFUSED, "The server asks for what the stream needs."},
};

PG_FUNCTION_INFO_V1(edw_stream_kafka_validator);

const EdwKafkaProperty *
EdwKafkaPropertyFind(const char *name)
{
	for (size_t i = 0; i < lengthof(properties); i++)
	{
		if (strcmp(properties[i].name, name) == 0)
			return &properties[i];
	}
	return NULL;
}

static bool
allowed_at(const EdwKafkaProperty *property, Oid catalog)
{
	switch (property->place)
	{
		case EDW_PROPERTY_SERVER:
		case EDW_PROPERTY_SERVER_FILE:
			return catalog == ForeignServerRelationId;
		case EDW_PROPERTY_MAPPING:
		case EDW_PROPERTY_MAPPING_FILE:
			return catalog == UserMappingRelationId;
		case EDW_PROPERTY_REFUSED:
			break;
	}
	return false;
}

/* ERROR for a name that is no property, with the nearest of those that could stand here */
static EDW_NORETURN void
refuse_unknown(const char *name, Oid catalog)
{
	const char *names[lengthof(properties)];
	int			n = 0;
	const char *nearest;

	for (size_t i = 0; i < lengthof(properties); i++)
	{
		if (allowed_at(&properties[i], catalog))
			names[n++] = properties[i].name;
	}
	nearest = EdwNearestName(name, names, n);
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
			 errmsg("unknown option \"%s\"", name),
			 errhidestmt(true),
			 nearest ? errhint("Perhaps you meant the option \"%s\".", nearest) :
			 n > 0 ? errhint("The options are librdkafka's properties for consumers.") :
			 errhint("Options belong to servers and user mappings of this wrapper.")));
}

/* ERROR for a property at the wrong place */
static EDW_NORETURN void
refuse_place(const EdwKafkaProperty *property, const char *name, Oid catalog)
{
	bool		is_server = property->place == EDW_PROPERTY_SERVER ||
	property->place == EDW_PROPERTY_SERVER_FILE;

	if (catalog == ForeignServerRelationId)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
				 errmsg("option \"%s\" does not belong to a server", name),
				 errdetail("It says who connects, and everybody may read a server's options."),
				 errhint("Give it to CREATE USER MAPPING."),
				 errhidestmt(true)));
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
			 errmsg("option \"%s\" does not belong here", name),
			 is_server ? errhint("Give it to CREATE SERVER.") :
			 errhint("Give it to CREATE USER MAPPING."),
			 errhidestmt(true)));
}

static void
check_may_read_file(const char *name)
{
	if (EdwMayReadServerFiles())
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied to set option \"%s\"", name),
			 errdetail("The option makes the server read a file."),
			 errhint("Only superusers and members of pg_read_server_files may set it."),
			 errhidestmt(true)));
}

/* Have librdkafka judge the value. What it says is shown only where nothing is secret. */
static void
check_value(rd_kafka_conf_t *conf, const char *name, const char *value, bool secret)
{
	char		errstr[512];
	rd_kafka_conf_res_t res = rd_kafka_conf_set(conf, name, value, errstr, sizeof(errstr));

	if (res == RD_KAFKA_CONF_OK)
		return;
	rd_kafka_conf_destroy(conf);
	for (size_t len = strlen(errstr); len > 0 && strchr("\n. ", errstr[len - 1]); len--)
		errstr[len - 1] = '\0';
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
			 errmsg("invalid value for option \"%s\"", name),
			 secret ? errdetail("librdkafka does not accept it.") :
			 errdetail("librdkafka says: %s.", errstr),
			 errhidestmt(true)));
}

/* Our own demands, beyond librdkafka's. */
static void
check_meaning(rd_kafka_conf_t *conf, const char *name, const char *value)
{
	if (strcmp(name, "topic.metadata.refresh.interval.ms") == 0 && atoi(value) < 100)
	{
		rd_kafka_conf_destroy(conf);
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				 errmsg("invalid value for option \"%s\"", name),
				 errdetail("New partitions are found by asking this often."),
				 errhint("It must be at least 100.")));
	}
}

/* Check one option without its value; true when the value is to be judged too. */
static bool
check_name(const char *name, Oid catalog)
{
	const EdwKafkaProperty *property = EdwKafkaPropertyFind(name);
	size_t		len = strlen(name);
	size_t		suffix = strlen(EDW_FILE_SUFFIX);
	bool		from_file = false;

	if (property == NULL && len > suffix &&
		strcmp(name + len - suffix, EDW_FILE_SUFFIX) == 0)
	{
		property = EdwKafkaPropertyFind(pnstrdup(name, len - suffix));
		if (property && property->place != EDW_PROPERTY_MAPPING)
			property = NULL;
		from_file = property != NULL;
	}
	if (property == NULL)
		refuse_unknown(name, catalog);
	if (property->place == EDW_PROPERTY_REFUSED)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
				 errmsg("option \"%s\" cannot be set", name),
				 errdetail("%s", property->reason),
				 errhidestmt(true)));
	if (!allowed_at(property, catalog))
		refuse_place(property, name, catalog);
	if (from_file || property->place == EDW_PROPERTY_SERVER_FILE ||
		property->place == EDW_PROPERTY_MAPPING_FILE)
		check_may_read_file(name);
	return !from_file;
}

static void
check_not_twice(List *options, const char *name)
{
	char	   *twin = psprintf("%s%s", name, EDW_FILE_SUFFIX);
	ListCell   *lc;

	foreach(lc, options)
	{
		if (strcmp(lfirst_node(DefElem, lc)->defname, twin) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
					 errmsg("options \"%s\" and \"%s\" exclude each other", name, twin),
					 errhidestmt(true)));
	}
}

Datum
edw_stream_kafka_validator(PG_FUNCTION_ARGS)
{
	List	   *options = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid			catalog = PG_GETARG_OID(1);
	List	   *to_judge = NIL;
	bool		has_bootstrap = false;
	rd_kafka_conf_t *conf;
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *def = lfirst_node(DefElem, lc);

		if (check_name(def->defname, catalog))
			to_judge = lappend(to_judge, def);
		if (strcmp(def->defname, "bootstrap.servers") == 0)
			has_bootstrap = defGetString(def)[0] != '\0';
		check_not_twice(options, def->defname);
	}
	if (catalog == ForeignServerRelationId && !has_bootstrap)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
				 errmsg("option \"bootstrap.servers\" is required"),
				 errhint("Add OPTIONS (\"bootstrap.servers\" 'host:9092').")));

	conf = rd_kafka_conf_new();
	foreach(lc, to_judge)
	{
		DefElem    *def = lfirst_node(DefElem, lc);

		check_value(conf, def->defname, strVal(def->arg), catalog == UserMappingRelationId);
		check_meaning(conf, def->defname, strVal(def->arg));
	}
	rd_kafka_conf_destroy(conf);
	PG_RETURN_VOID();
}
