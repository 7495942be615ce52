/*
 * kafka_topics.c
 *		Which topics and partitions a stream has.
 *
 * The helper thread (kafka_lookup.c) asks the cluster; what it brings is reduced here
 * to the stream's topics: those listed by name, and those that a pattern matches, without
 * Kafka's internal ones. A listing that differs from the one before is told as
 * PARTITIONS_CHANGED (K4).
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "mb/pg_wchar.h"
#include "regex/regex.h"
#include "source/kafka_internal.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* so long listings must lack a topic before it counts as deleted */
#define MISSING_BELIEVED_MS	3000

static bool
compile_pattern(EdwKafkaSource *source, const char *pattern, EdwSourceError *error)
{
	regex_t    *re = palloc0(sizeof(regex_t));
	pg_wchar   *wide = palloc((strlen(pattern) + 1) * sizeof(pg_wchar));
	int			wide_len = pg_mb2wchar_with_len(pattern, wide, strlen(pattern));
	int			rc = pg_regcomp(re, wide, wide_len, REG_ADVANCED | REG_NOSUB, C_COLLATION_OID);

	pfree(wide);
	if (rc != REG_OKAY)
	{
		char		why[100];

		pg_regerror(rc, re, why, sizeof(why));
		error->sqlerrcode = ERRCODE_INVALID_REGULAR_EXPRESSION;
		snprintf(error->message, sizeof(error->message),
				 "invalid regular expression \"%s\" for topics: %s", pattern, why);
		error->hint[0] = '\0';
		return false;
	}
	source->patterns = lappend(source->patterns, re);
	return true;
}

/* Take over the stream's list of topics. In the source's context. */
bool
EdwKafkaTopicsInit(EdwKafkaSource *source, List *topics, EdwSourceError *error)
{
	ListCell   *lc;

	foreach(lc, topics)
	{
		const char *topic = lfirst(lc);

		if (topic[0] != '^')
			source->names = lappend(source->names, pstrdup(topic));
		else if (!compile_pattern(source, topic, error))
			return false;
	}
	return true;
}

void
EdwKafkaTopicsFree(EdwKafkaSource *source)
{
	ListCell   *lc;

	foreach(lc, source->patterns)
		pg_regfree(lfirst(lc));
	source->patterns = NIL;
}

static bool
matches_pattern(EdwKafkaSource *source, const char *topic)
{
	pg_wchar	wide[EDW_TOPIC_NAME_MAX];
	int			wide_len;
	ListCell   *lc;

	if (source->patterns == NIL || strlen(topic) >= EDW_TOPIC_NAME_MAX)
		return false;
	wide_len = pg_mb2wchar_with_len(topic, wide, strlen(topic));
	foreach(lc, source->patterns)
	{
		if (pg_regexec(lfirst(lc), wide, wide_len, 0, NULL, 0, NULL, 0) == REG_OKAY)
			return true;
	}
	return false;
}

static bool
is_listed(EdwKafkaSource *source, const char *topic)
{
	ListCell   *lc;

	foreach(lc, source->names)
	{
		if (strcmp(lfirst(lc), topic) == 0)
			return true;
	}
	return false;
}

/* Kafka keeps its own state in topics of these names */
static bool
is_internal(const char *topic)
{
	return strncmp(topic, "__", 2) == 0;
}

static void
fail_list(EdwKafkaSource *source, EdwTopicList *list, rd_kafka_resp_err_t err,
		  const char *topic)
{
	char		text[400];

	if (list->result == EDW_SOURCE_FAILED)
		return;
	if (err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
		snprintf(text, sizeof(text), "topic \"%s\" does not exist", topic);
	else
		snprintf(text, sizeof(text), "topic \"%s\": %s", topic, rd_kafka_err2str(err));
	EdwKafkaFillError(source, err, text, &list->error);
	list->result = err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
		err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
		err == RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION ? EDW_SOURCE_FAILED : EDW_SOURCE_RETRY;
}

static void
add_topic(EdwTopicList *list, const struct rd_kafka_metadata_topic *topic)
{
	for (int i = 0; i < topic->partition_cnt; i++)
	{
		EdwPartitionPosition *position = palloc(sizeof(EdwPartitionPosition));

		position->topic = pstrdup(topic->topic);
		position->partition = topic->partitions[i].id;
		position->offset = EDW_OFFSET_UNKNOWN;
		list->positions = lappend(list->positions, position);
	}
}

/* Reduce what the cluster said to the stream's topics. */
static EdwTopicList *
make_list(EdwKafkaSource *source, const struct rd_kafka_metadata *metadata)
{
	MemoryContext context = AllocSetContextCreate(source->context, "edw_stream kafka topics",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	EdwTopicList *list = palloc0(sizeof(EdwTopicList));
	ListCell   *lc;

	list->context = context;
	list->result = EDW_SOURCE_OK;
	for (int i = 0; i < metadata->topic_cnt; i++)
	{
		const struct rd_kafka_metadata_topic *topic = &metadata->topics[i];
		bool		listed = is_listed(source, topic->topic);

		if (!listed && (is_internal(topic->topic) || !matches_pattern(source, topic->topic)))
			continue;
		if (topic->err == RD_KAFKA_RESP_ERR_NO_ERROR)
			add_topic(list, topic);
		else if (listed)
			fail_list(source, list, topic->err, topic->topic);
	}
	list_sort(list->positions, EdwComparePositions);

	foreach(lc, source->names)
	{
		const char *name = lfirst(lc);
		bool		found = false;

		for (int i = 0; i < metadata->topic_cnt && !found; i++)
			found = strcmp(metadata->topics[i].topic, name) == 0;
		if (!found)
			fail_list(source, list, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, name);
	}
	MemoryContextSwitchTo(old);
	return list;
}

static bool
same_positions(List *a, List *b)
{
	ListCell   *x;
	ListCell   *y;

	if (list_length(a) != list_length(b))
		return false;
	forboth(x, a, y, b)
	{
		if (EdwComparePositions(x, y) != 0)
			return false;
	}
	return true;
}

/* A new listing came while nobody asked for it: does it change anything? */
static void
compare_listing(EdwKafkaSource *source, EdwTopicList *list)
{
	if (list->result == EDW_SOURCE_FAILED)
	{
		EdwSourceNotice *notice;

		if (source->missing_since == 0)
			source->missing_since = GetCurrentTimestamp();
		if (source->fatal || !TimestampDifferenceExceeds(source->missing_since,
														 GetCurrentTimestamp(),
														 MISSING_BELIEVED_MS))
			return;
		source->fatal = true;
		notice = EdwKafkaAddNotice(source, EDW_NOTICE_FATAL, NULL);
		notice->error = list->error;
		source->fatal_error = list->error;
		return;
	}
	source->missing_since = 0;
	if (list->result == EDW_SOURCE_OK && source->topics &&
		source->topics->result == EDW_SOURCE_OK && !source->topics_unread &&
		!same_positions(source->topics->positions, list->positions))
	{
		EdwKafkaAddNotice(source, EDW_NOTICE_PARTITIONS_CHANGED, NULL);
		source->topics_unread = true;
	}
}

/* Take what the helper thread has listed. */
static void
take_listing(EdwKafkaSource *source)
{
	EdwKafkaListing listing;
	EdwTopicList *list;

	if (!EdwKafkaLookupTakeListing(source->lookup, &listing))
		return;
	if (listing.metadata == NULL)
	{
		EdwKafkaClusterAway(source);
		list = MemoryContextAllocZero(source->context, sizeof(EdwTopicList));
		list->result = EDW_SOURCE_RETRY;
		EdwKafkaFillError(source, listing.error.err,
						  source->broker_error[0] ? source->broker_error : listing.error.text,
						  &list->error);
	}
	else
	{
		EdwKafkaClusterAnswered(source);
		list = make_list(source, listing.metadata);
		rd_kafka_metadata_destroy(listing.metadata);
		compare_listing(source, list);
		EdwKafkaLookBehindEnds(source);
	}
	if (source->ticket != 0 && listing.ticket >= source->ticket)
	{
		source->ticket = 0;
		source->topics_unread = true;
	}
	else if (list->result != EDW_SOURCE_OK)
	{
		/* keep the last good one to compare with */
		if (list->context)
			MemoryContextDelete(list->context);
		else
			pfree(list);
		return;
	}
	if (source->topics && source->topics->context)
		MemoryContextDelete(source->topics->context);
	else if (source->topics)
		pfree(source->topics);
	source->topics = list;
}

/* Called by every poll. */
void
EdwKafkaTopicsPoll(EdwKafkaSource *source)
{
	take_listing(source);
	EdwKafkaFollowLost(source);
}

EdwSourceResult
EdwKafkaListPartitions(EdwSource *base, List **partitions, EdwSourceError *error)
{
	EdwKafkaSource *source = (EdwKafkaSource *) base;
	ListCell   *lc;

	EdwKafkaServeUnassigned(source);
	take_listing(source);
	if (source->fatal)
	{
		*error = source->fatal_error;
		return EDW_SOURCE_FAILED;
	}
	if (!source->topics_unread)
	{
		if (source->ticket == 0)
			source->ticket = EdwKafkaLookupRefresh(source->lookup);
		return EDW_SOURCE_AGAIN;
	}
	source->topics_unread = false;
	*partitions = NIL;
	if (source->topics->result != EDW_SOURCE_OK)
	{
		*error = source->topics->error;
		return source->topics->result;
	}
	foreach(lc, source->topics->positions)
	{
		EdwPartitionPosition *from = lfirst(lc);
		EdwPartitionPosition *to = palloc(sizeof(EdwPartitionPosition));

		to->topic = pstrdup(from->topic);
		to->partition = from->partition;
		to->offset = EDW_OFFSET_UNKNOWN;
		*partitions = lappend(*partitions, to);
	}
	return EDW_SOURCE_OK;
}
