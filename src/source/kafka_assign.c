/*
 * kafka_assign.c
 *		Which partitions the consumer reads, and from where.
 *
 * Owns the table of partitions that were ever assigned: an assignment replaces the former
 * one as a whole, from explicit offsets, and what was still to be told about that is forgotten.
 */
#include "postgres.h"

#include "source/kafka_internal.h"

/* twice what stopping a fetcher needs, see settle() */
#define SETTLE_PASSES		4

void
EdwKafkaInitPartitions(EdwKafkaSource *source)
{
	HASHCTL		ctl = {0};

	ctl.keysize = sizeof(EdwPartitionKey);
	ctl.entrysize = sizeof(EdwKafkaPartition);
	ctl.hcxt = source->context;
	source->partitions = hash_create("edw_stream kafka partitions", 64, &ctl,
									 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

EdwKafkaPartition *
EdwKafkaPartitionOf(EdwKafkaSource *source, const char *topic, int32 partition, bool create)
{
	EdwPartitionKey key;
	EdwKafkaPartition *p;
	bool		found;

	memset(&key, 0, sizeof(key));
	strlcpy(key.topic, topic, sizeof(key.topic));
	key.partition = partition;
	p = hash_search(source->partitions, &key, create ? HASH_ENTER : HASH_FIND, &found);
	if (create && !found)
	{
		p->assigned = false;
		p->next = EDW_OFFSET_UNKNOWN;
		p->lost = false;
		p->wanted = EDW_OFFSET_UNKNOWN;
		p->end_notice = NULL;
		p->end = p->high = EDW_OFFSET_UNKNOWN;
	}
	return p;
}

/* Forget what was to be told about the former assignment. */
static void
forget_assignment(EdwKafkaSource *source)
{
	HASH_SEQ_STATUS scan;
	EdwKafkaPartition *p;

	hash_seq_init(&scan, source->partitions);
	while ((p = hash_seq_search(&scan)) != NULL)
	{
		p->assigned = false;
		p->lost = false;
		if (p->end_notice)
		{
			dlist_delete(&p->end_notice->node);
			pfree(p->end_notice);
			p->end_notice = NULL;
		}
	}
	source->lost_pending = 0;
	source->last_rkt = NULL;
	source->last = NULL;
}

/*
 * Wait until librdkafka's main thread has let go of the former assignment. A partition
 * that is assigned again while its fetcher is still being stopped is stopped twice,
 * and the second time is an assertion of librdkafka 2.0.2: abort(), and the server restarts.
 * Stopping needs two passes of that thread, none of them over the network. Each of these
 * calls is answered by that thread in order, in microseconds.
 */
static void
settle(EdwKafkaSource *source)
{
	for (int i = 0; i < SETTLE_PASSES; i++)
	{
		rd_kafka_topic_partition_list_t *list = NULL;

		if (rd_kafka_assignment(source->rk, &list) == RD_KAFKA_RESP_ERR_NO_ERROR && list)
			rd_kafka_topic_partition_list_destroy(list);
	}
}

EdwSourceResult
EdwKafkaAssign(EdwSource *base, const EdwPartitionPosition *positions, int n,
			   EdwSourceError *error)
{
	EdwKafkaSource *source = (EdwKafkaSource *) base;
	rd_kafka_topic_partition_list_t *list;
	rd_kafka_resp_err_t err;

	forget_assignment(source);
	source->has_assignment = true;
	for (int i = 0; i < n; i++)
	{
		EdwKafkaPartition *p = EdwKafkaPartitionOf(source, positions[i].topic,
												   positions[i].partition, true);

		p->assigned = true;
		p->next = positions[i].offset;
		p->end = p->high = EDW_OFFSET_UNKNOWN;
	}
	list = rd_kafka_topic_partition_list_new(n);
	for (int i = 0; i < n; i++)
		rd_kafka_topic_partition_list_add(list, positions[i].topic,
										  positions[i].partition)->offset = positions[i].offset;
	EdwKafkaLookupAssigning(source->lookup);
	err = rd_kafka_assign(source->rk, list);
	settle(source);
	rd_kafka_topic_partition_list_destroy(list);
	if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
		return EDW_SOURCE_OK;
	EdwKafkaFillError(source, err, rd_kafka_err2str(err), error);
	return EDW_SOURCE_FAILED;
}
