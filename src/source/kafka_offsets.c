/*
 * kafka_offsets.c
 *		Where partitions begin and end, and what of them is lost.
 *
 * The helper thread (kafka_lookup.c) asks; a function here submits a question or takes its
 * answer, and says AGAIN in between.
 *
 * Ends are asked for with the source's isolation level: with read_committed that is the last
 * stable offset, below which no open transaction holds anything back (K2, K5).
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "source/kafka_internal.h"
#include "utils/memutils.h"

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

/* One step towards telling what is lost, if anything is; never waits. */
void
EdwKafkaFollowLost(EdwKafkaSource *source)
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
