/*
 * routes.c
 *		Topics made ready to decode: route, decoder, and locks on the targets.
 *
 * A topic is prepared when its first message comes and kept until a target or the
 * stream's definition changes. Targets are locked at their first use in
 * a transaction, before it is asked whether they changed: from then on they
 * cannot.
 */
#include "postgres.h"

#include "pipeline/internal.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"

/* Forget all topics; they are prepared again when needed. */
void
EdwRoutesDrop(EdwPipeline *pipeline)
{
	pipeline->topics = NIL;
	for (int i = 0; i < pipeline->npartitions; i++)
		pipeline->partitions[i].topic = NULL;
	MemoryContextReset(pipeline->routes_context);
}

/* At the start of a data transaction. */
void
EdwRoutesStartBatch(EdwPipeline *pipeline)
{
	ListCell   *lc;

	if (EdwRoutesAreStale())
	{
		EdwRoutesMarkFresh();
		EdwRoutesDrop(pipeline);
	}
	foreach(lc, pipeline->topics)
		((EdwTopic *) lfirst(lc))->locked = false;
}

static bool
is_transaction_topic(EdwPipeline *pipeline, const char *name)
{
	const char *wanted = pipeline->def->options.transaction_topic;

	return wanted != NULL && strcmp(wanted, name) == 0;
}

/* The sequence of a topic's events: the first mapping's that names one (O3). */
static const char *
sequence_of(EdwRoute *route)
{
	for (int i = 0; i < route->ntargets; i++)
		if (route->targets[i]->def->sequence != NULL)
			return route->targets[i]->def->sequence;
	return NULL;
}

static EdwTopic *
make_topic(EdwPipeline *pipeline, const char *name)
{
	MemoryContext old = MemoryContextSwitchTo(pipeline->routes_context);
	EdwTopic   *topic = palloc0(sizeof(EdwTopic));

	topic->name = pstrdup(name);
	topic->is_transactions = is_transaction_topic(pipeline, name);
	if (!topic->is_transactions)
		topic->route = EdwRouteBuild(topic->name, pipeline->mappings);
	if (topic->route != NULL && topic->route->ntargets > 0)
	{
		const EdwDecoderOps *ops = EdwFindDecoder(pipeline->def->format, NULL);
		EdwDecoderConfig config = {
			.topic = topic->name,
			.desc = &topic->route->input,
			.modes = pipeline->def->options.modes,
			.sequence = sequence_of(topic->route),
		};

		if (ops == NULL)
			elog(ERROR, "unknown format \"%s\"", pipeline->def->format);
		topic->decoder = ops->open(&config);
		EdwChangeInit(&topic->change, &topic->route->input);
	}
	pipeline->topics = lappend(pipeline->topics, topic);
	MemoryContextSwitchTo(old);
	return topic;
}

static EdwTopic *
find_topic(EdwPipeline *pipeline, const char *name)
{
	ListCell   *lc;

	foreach(lc, pipeline->topics)
	{
		EdwTopic   *topic = lfirst(lc);

		if (strcmp(topic->name, name) == 0)
			return topic;
	}
	return NULL;
}

static void
lock_targets(EdwTopic *topic)
{
	topic->locked = true;
	if (topic->route == NULL)
		return;
	for (int i = 0; i < topic->route->ntargets; i++)
		LockRelationOid(topic->route->targets[i]->relid, RowExclusiveLock);
}

/*
 * The topic of a partition, ready to decode and its targets locked. When a target
 * changed since this transaction began, ERROR: the batch is run again.
 */
EdwTopic *
EdwTopicPrepare(EdwPipeline *pipeline, EdwPartition *partition)
{
	EdwTopic   *topic = partition->topic;

	pipeline->phase = EDW_PHASE_OTHER;	/* what fails now is no message's fault */
	if (topic == NULL)
	{
		topic = find_topic(pipeline, partition->topic_name);
		if (topic == NULL)
			topic = make_topic(pipeline, partition->topic_name);
		partition->topic = topic;
	}
	if (!topic->locked)
	{
		lock_targets(topic);
		pipeline->routes_changed = EdwRoutesAreStale();
		if (pipeline->routes_changed)
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("a target of topic \"%s\" was changed at the same time", topic->name)));
	}
	return topic;
}
