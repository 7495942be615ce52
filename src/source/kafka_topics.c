/*
 * kafka_topics.c
 *		Which topics and partitions a stream has, and where they begin and end.
 *
 * The helper thread (kafka_lookup.c) asks the cluster; what it brings is reduced here
 * to the stream's topics: those listed by name, and those that a pattern matches, without
 * Kafka's internal ones. A listing that differs from the one before is told as
 * PARTITIONS_CHANGED (K4).
 *
 * Ends are asked for with the source's isolation level: with read_committed that is the last
 * stable offset, below which no open transaction holds anything back (K2, K5).
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "common/hashfn.h"
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

static int
compare_positions(const ListCell *a, const ListCell *b)
{
	const EdwPartitionPosition *x = lfirst(a);
	const EdwPartitionPosition *y = lfirst(b);
	int			cmp = strcmp(x->topic, y->topic);

	return cmp != 0 ? cmp : (x->partition > y->partition) - (x->partition < y->partition);
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
	list_sort(list->positions, compare_positions);

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
		if (compare_positions(x, y) != 0)
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

/* Ask for the low and high offsets of partitions whose offset is lost. */
static void
ask_lost(EdwKafkaSource *source)
{
	rd_kafka_topic_partition_list_t *low = rd_kafka_topic_partition_list_new(source->lost_pending);
	rd_kafka_topic_partition_list_t *high;
	HASH_SEQ_STATUS scan;
	EdwKafkaPartition *p;

	hash_seq_init(&scan, source->partitions);
	while ((p = hash_seq_search(&scan)) != NULL)
	{
		if (p->lost)
			rd_kafka_topic_partition_list_add(low, p->key.topic, p->key.partition)->offset =
				RD_KAFKA_OFFSET_BEGINNING;
	}
	high = rd_kafka_topic_partition_list_copy(low);
	for (int i = 0; i < high->cnt; i++)
		high->elems[i].offset = RD_KAFKA_OFFSET_END;
	EdwKafkaLookupAskOffsets(source->lookup, EDW_LOOKUP_LOW, low);
	EdwKafkaLookupAskOffsets(source->lookup, EDW_LOOKUP_HIGH, high);
	source->low_asked = true;
}

/* Both answers are there: tell which ranges are lost (K3). */
static void
tell_lost(EdwKafkaSource *source)
{
	for (int i = 0; i < source->low->cnt; i++)
	{
		rd_kafka_topic_partition_t *low = &source->low->elems[i];
		rd_kafka_topic_partition_t *high =
			rd_kafka_topic_partition_list_find(source->high, low->topic, low->partition);
		EdwKafkaPartition *p = EdwKafkaPartitionOf(source, low->topic, low->partition, false);
		EdwSourceNotice *notice;

		if (p == NULL || !p->lost || high == NULL || low->err || high->err)
			continue;
		p->lost = false;
		source->lost_pending--;
		notice = EdwKafkaAddNotice(source, EDW_NOTICE_OFFSET_LOST, p);
		notice->wanted = p->wanted;
		notice->low = low->offset;
		notice->high = high->offset;
		notice->error.sqlerrcode = ERRCODE_NO_DATA;
		if (p->wanted < low->offset)
			snprintf(notice->error.message, sizeof(notice->error.message),
					 "messages " INT64_FORMAT " to " INT64_FORMAT
					 " of topic \"%s\" partition %d are gone from Kafka before they were read",
					 p->wanted, low->offset - 1, p->key.topic, p->key.partition);
		else
			snprintf(notice->error.message, sizeof(notice->error.message),
					 "topic \"%s\" partition %d ends at offset " INT64_FORMAT
					 ", but was read up to " INT64_FORMAT
					 ": it was created again or its end was lost",
					 p->key.topic, p->key.partition, high->offset, p->wanted);
	}
}

static void
free_answers(EdwKafkaSource *source)
{
	if (source->low)
		rd_kafka_topic_partition_list_destroy(source->low);
	if (source->high)
		rd_kafka_topic_partition_list_destroy(source->high);
	source->low = source->high = NULL;
	source->low_asked = false;
}

/* One step towards telling what is lost; never waits. */
static void
follow_lost(EdwKafkaSource *source)
{
	EdwLookupError error;
	EdwLookupState low_state;
	EdwLookupState high_state;

	if (!source->low_asked)
	{
		if (source->lost_pending > 0)
			ask_lost(source);
		return;
	}
	low_state = EdwKafkaLookupTakeOffsets(source->lookup, EDW_LOOKUP_LOW, &source->low, &error);
	high_state = EdwKafkaLookupTakeOffsets(source->lookup, EDW_LOOKUP_HIGH, &source->high, &error);
	if (low_state == EDW_LOOKUP_BUSY || high_state == EDW_LOOKUP_BUSY)
		return;
	if (source->low && source->high)
		tell_lost(source);
	free_answers(source);		/* what stays lost is asked for again */
}

/* Called by every poll. */
void
EdwKafkaTopicsPoll(EdwKafkaSource *source)
{
	take_listing(source);
	if (source->lost_pending > 0 || source->low_asked)
		follow_lost(source);
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

/* what is asked, as a number that is not 0 */
static uint32
question_hash(const EdwPartitionPosition *positions, int n, int64 query)
{
	uint32		hash = hash_bytes((const unsigned char *) &query, sizeof(query));

	for (int i = 0; i < n; i++)
	{
		hash = hash_combine(hash, hash_bytes((const unsigned char *) positions[i].topic,
											 strlen(positions[i].topic)));
		hash = hash_combine(hash, hash_bytes_uint32((uint32) positions[i].partition));
	}
	return hash == 0 ? 1 : hash;
}

/* Copy an answer into positions, whose own topic strings stay. */
static EdwSourceResult
take_answer(EdwKafkaSource *source, const rd_kafka_topic_partition_list_t *list,
			EdwPartitionPosition *positions, int n, EdwSourceError *error)
{
	for (int i = 0; i < n; i++)
	{
		rd_kafka_topic_partition_t *elem = rd_kafka_topic_partition_list_find(
			(rd_kafka_topic_partition_list_t *) list, positions[i].topic, positions[i].partition);

		if (elem == NULL || elem->err != RD_KAFKA_RESP_ERR_NO_ERROR)
		{
			rd_kafka_resp_err_t err = elem ? elem->err : RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
			char		text[400];

			snprintf(text, sizeof(text), "offsets of topic \"%s\" partition %d: %s",
					 positions[i].topic, positions[i].partition, rd_kafka_err2str(err));
			EdwKafkaFillError(source, err, text, error);
			return err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ?
				EDW_SOURCE_FAILED : EDW_SOURCE_RETRY;
		}
	}
	for (int i = 0; i < n; i++)
		positions[i].offset = rd_kafka_topic_partition_list_find(
			(rd_kafka_topic_partition_list_t *) list, positions[i].topic,
			positions[i].partition)->offset;
	return EDW_SOURCE_OK;
}

/* Ask one question through the helper thread, or take its answer. */
static EdwSourceResult
lookup_offsets(EdwKafkaSource *source, EdwLookupKind kind, int64 query,
			   EdwPartitionPosition *positions, int n, EdwSourceError *error)
{
	uint32		hash = question_hash(positions, n, query);
	rd_kafka_topic_partition_list_t *list = NULL;
	EdwLookupError lookup_error;
	EdwLookupState state;
	EdwSourceResult result;

	if (n == 0)
		return EDW_SOURCE_OK;
	EdwKafkaServeUnassigned(source);
	if (source->fatal)
	{
		*error = source->fatal_error;
		return EDW_SOURCE_FAILED;
	}
	state = EdwKafkaLookupTakeOffsets(source->lookup, kind, &list, &lookup_error);
	if (state == EDW_LOOKUP_BUSY)
		return EDW_SOURCE_AGAIN;
	if (state == EDW_LOOKUP_IDLE || source->asked[kind] != hash)
	{
		if (list)
			rd_kafka_topic_partition_list_destroy(list);
		list = rd_kafka_topic_partition_list_new(n);
		for (int i = 0; i < n; i++)
			rd_kafka_topic_partition_list_add(list, positions[i].topic,
											  positions[i].partition)->offset = query;
		source->asked[kind] = hash;
		EdwKafkaLookupAskOffsets(source->lookup, kind, list);
		return EDW_SOURCE_AGAIN;
	}
	if (list == NULL)
	{
		EdwKafkaFillError(source, lookup_error.err,
						  source->broker_error[0] ? source->broker_error : lookup_error.text, error);
		return lookup_error.err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ?
			EDW_SOURCE_FAILED : EDW_SOURCE_RETRY;
	}
	result = take_answer(source, list, positions, n, error);
	rd_kafka_topic_partition_list_destroy(list);
	return result;
}

/*
 * A partition without a message that late starts at its end: at the end as it was
 * before the timestamps were asked for, so that nothing written meanwhile is skipped.
 */
static EdwSourceResult
start_at_timestamp(EdwKafkaSource *source, int64 timestamp_ms,
				   EdwPartitionPosition *positions, int n, EdwSourceError *error)
{
	uint32		hash = question_hash(positions, n, timestamp_ms);
	Size		size = sizeof(EdwPartitionPosition) * n;
	EdwSourceResult result;

	if (source->ends_hash != hash)
	{
		EdwPartitionPosition *ends = MemoryContextAlloc(source->context, Max(size, 1));

		memcpy(ends, positions, size);
		result = lookup_offsets(source, EDW_LOOKUP_START, RD_KAFKA_OFFSET_END, ends, n, error);
		if (result != EDW_SOURCE_OK)
		{
			pfree(ends);
			return result;
		}
		if (source->ends)
			pfree(source->ends);
		source->ends = ends;
		source->ends_hash = hash;
	}
	/* a negative one would be taken for a special offset */
	result = lookup_offsets(source, EDW_LOOKUP_START, Max(timestamp_ms, 0), positions, n, error);
	if (result != EDW_SOURCE_OK)
		return result;
	for (int i = 0; i < n; i++)
	{
		if (positions[i].offset < 0)
			positions[i].offset = source->ends[i].offset;
	}
	source->ends_hash = 0;
	return EDW_SOURCE_OK;
}

EdwSourceResult
EdwKafkaStartOffsets(EdwSource *base, EdwStartAt start_at, int64 timestamp_ms,
					 EdwPartitionPosition *positions, int n, EdwSourceError *error)
{
	EdwKafkaSource *source = (EdwKafkaSource *) base;

	switch (start_at)
	{
		case EDW_START_EARLIEST:
			return lookup_offsets(source, EDW_LOOKUP_START, RD_KAFKA_OFFSET_BEGINNING,
								  positions, n, error);
		case EDW_START_LATEST:
			return lookup_offsets(source, EDW_LOOKUP_START, RD_KAFKA_OFFSET_END,
								  positions, n, error);
		case EDW_START_TIMESTAMP:
			break;
	}
	return start_at_timestamp(source, timestamp_ms, positions, n, error);
}

EdwSourceResult
EdwKafkaEndOffsets(EdwSource *base, EdwPartitionPosition *positions, int n,
				   EdwSourceError *error)
{
	return lookup_offsets((EdwKafkaSource *) base, EDW_LOOKUP_END, RD_KAFKA_OFFSET_END,
						  positions, n, error);
}
