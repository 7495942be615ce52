/*
 * stream_topics.c
 *		Checks of the topics that create_stream is given.
 *
 * The check against the broker opens a source of its own and closes it before it
 * returns or raises; nothing of it outlives the call.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/stream_topics.h"
#include "edw_stream.h"
#include "miscadmin.h"
#include "regex/regex.h"
#include "source/source.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* Kafka's own limit */
#define TOPIC_MAX_LEN		249

/* how long the broker may take to answer */
#define BROKER_TIMEOUT_MS	15000
#define BROKER_SLICE_MS		50

void
EdwCheckTopicName(const char *topic)
{
	size_t		len = strlen(topic);
	size_t		valid = strspn(topic, "abcdefghijklmnopqrstuvwxyz"
							   "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

	if (len == 0 || len > TOPIC_MAX_LEN || valid != len ||
		strcmp(topic, ".") == 0 || strcmp(topic, "..") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("invalid topic name \"%s\"", topic),
				 errhint("A topic's name has 1 to %d letters, digits, dots, underscores and hyphens; "
						 "a regular expression begins with ^.", TOPIC_MAX_LEN)));
}

static void
check_regex(const char *pattern)
{
	/* raises invalid_regular_expression itself */
	(void) RE_compile_and_cache(cstring_to_text(pattern), REG_ADVANCED, C_COLLATION_OID);
}

void
EdwCheckTopicList(List *topics)
{
	ListCell   *lc;

	if (topics == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a stream needs at least one topic"),
				 errhint("For example ARRAY['shop.public.orders'], or a regular expression like '^shop\\.public\\.'.")));
	foreach(lc, topics)
	{
		char	   *topic = lfirst(lc);

		if (topic == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("topics must not contain nulls")));
		if (topic[0] == '^')
			check_regex(topic);
		else
			EdwCheckTopicName(topic);
		for (int i = 0; i < foreach_current_index(lc); i++)
		{
			if (strcmp(topic, list_nth(topics, i)) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("topic \"%s\" is listed twice", topic)));
		}
	}
}

static void
report_source_error(const EdwSourceError *error)
{
	ereport(ERROR,
			(errcode(error->sqlerrcode ? error->sqlerrcode : ERRCODE_CONNECTION_FAILURE),
			 errmsg("%s", error->message[0] ? error->message : "could not ask the broker for its topics"),
			 error->hint[0] ? errhint("%s", error->hint) : 0));
}

static void
wait_a_slice(void)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 BROKER_SLICE_MS, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

static void
wait_for_topics(EdwSource *source, const char *server)
{
	TimestampTz started = GetCurrentTimestamp();
	EdwSourceError error = {0};
	EdwSourceResult result;
	List	   *partitions;

	for (;;)
	{
		result = source->ops->list_partitions(source, &partitions, &error);
		if (result == EDW_SOURCE_OK)
			return;
		if (result == EDW_SOURCE_FAILED)
			report_source_error(&error);
		if (TimestampDifferenceExceeds(started, GetCurrentTimestamp(), BROKER_TIMEOUT_MS))
			ereport(ERROR,
					(errcode(ERRCODE_CONNECTION_FAILURE),
					 errmsg("server \"%s\" did not say within %d seconds whether the topics exist",
							server, BROKER_TIMEOUT_MS / 1000),
					 error.message[0] ? errdetail("%s", error.message) : 0,
					 errhint("Check option \"bootstrap.servers\" of the server, and that the broker runs and "
							 "its advertised listeners can be reached from here.")));
		wait_a_slice();
	}
}

void
EdwCheckTopicsExist(const char *stream, const char *server, List *topics)
{
	EdwSourceConfig config = {0};
	EdwSourceError error = {0};
	EdwSource  *source;

	config.stream = stream;
	config.owner = GetUserId();
	config.server = server;
	config.topics = topics;
	config.workers = 1;
	config.fetch_memory = 1024 * 1024;
	config.group_id = psprintf("edw_stream.%s.check", stream);

	source = EdwKafkaSourceOps.open(&config, &error);
	if (source == NULL)
		report_source_error(&error);
	PG_TRY();
	{
		wait_for_topics(source, server);
	}
	PG_FINALLY();
	{
		source->ops->close(source);
	}
	PG_END_TRY();
}
