/*
 * search.c
 *		Which message of a batch makes it fail (rule K6).
 *
 * An ERROR of the apply does not say. So prefixes of the batch are tried, each in a transaction
 * that is rolled back, for the smallest one that fails; its last message is the culprit. Begins
 * and ends those transactions; the failed one was aborted before.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pipeline/internal.h"
#include "utils/memutils.h"

/*
 * Search the partitions whose topics go to a mapping's target; 0: all. The others' messages
 * are always there then, so that a row is not blamed for what a shorter batch lacks,
 * such as its parent from another topic.
 */
static void
search_partitions(EdwPipeline *pipeline, int32 mapping_id)
{
	for (int i = 0; i < pipeline->npartitions; i++)
	{
		EdwPartition *partition = &pipeline->partitions[i];
		ListCell   *lc;

		partition->searched = mapping_id == 0;
		foreach(lc, pipeline->mappings)
		{
			const EdwMappingDef *def = lfirst(lc);

			if (def->mapping_id == mapping_id && EdwMappingMatchesTopic(def, partition->topic_name))
				partition->searched = true;
		}
	}
}

/* How many messages the batch has that failed. */
int
EdwSearchSize(EdwPipeline *pipeline)
{
	int			n = 0;

	for (int i = 0; i < pipeline->nheld; i++)
		n += pipeline->held[i].taken ? 1 : 0;
	return n;
}

static bool
is_searched(const EdwHeld *held)
{
	return held->taken && held->partition->searched;
}

static int
count_searched(EdwPipeline *pipeline)
{
	int			n = 0;

	for (int i = 0; i < pipeline->nheld; i++)
		n += is_searched(&pipeline->held[i]) ? 1 : 0;
	return n;
}

/* The held message that is the n-th (from 1) of those searched. */
static int
nth_searched(EdwPipeline *pipeline, int n)
{
	for (int i = 0; i < pipeline->nheld; i++)
		if (is_searched(&pipeline->held[i]) && --n == 0)
			return i;
	return -1;
}

/*
 * Try a prefix of the batch in a transaction that is rolled back; NULL if it can be applied. *step
 * says how far it came: the mapping whose target refused, in their order.
 */
static ErrorData *
try_prefix(EdwPipeline *pipeline, int prefix, int32 *step)
{
	ErrorData  *volatile error = NULL;
	MemoryContext context = CurrentMemoryContext;

	EdwWaitingForget(pipeline->waiting);	/* what the try before noted was rolled back */
	PG_TRY();
	{
		EdwXactBegin(&pipeline->xact);
		(void) EdwRunBatch(pipeline, prefix);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	*step = pipeline->phase != EDW_PHASE_APPLY ? 0 :
		EdwApplyCurrent() == 0 ? PG_INT32_MAX : EdwApplyCurrent();
	EdwXactAbort(&pipeline->xact);
	pipeline->reload = true;	/* what it noted about fields was rolled back */
	return error;
}

/* The mapping whose target an ERROR at the end of the batch names; 0 when it names none. */
static int32
find_named(EdwPipeline *pipeline, const ErrorData *error)
{
	int32		mapping_id = 0;

	for (int i = 0; i < pipeline->npartitions && mapping_id == 0; i++)
		mapping_id = EdwErrorsNamedMapping(pipeline->partitions[i].topic, error);
	return mapping_id;
}

/*
 * Between a prefix that can be applied and one that cannot, find the first message that makes the
 * difference. A try that came further than the batch did failed only for what it lacked.
 */
static EdwStepResult
search_between(EdwPipeline *pipeline, ErrorData *error, int32 reached)
{
	int			good = 0;
	int			bad = count_searched(pipeline);

	while (bad - good > 1)
	{
		int			middle = (good + bad) / 2;
		int32		step;
		ErrorData  *now;

		CHECK_FOR_INTERRUPTS();
		now = try_prefix(pipeline, middle, &step);
		if (now != NULL && !EdwErrorsAreOfData(now->sqlerrcode))
			return EdwErrorsHandle(pipeline, now);
		if (now == NULL || step > reached)
			good = middle;
		else
		{
			bad = middle;
			error = now;
		}
	}
	return EdwErrorsMarkDead(pipeline, nth_searched(pipeline, bad), "apply", error);
}

/* Find the message that makes the batch fail. */
EdwStepResult
EdwSearchCulprit(EdwPipeline *pipeline)
{
	ErrorData  *error;
	ErrorData  *now;
	int32		reached;
	int32		step;
	int32		mapping_id;

	search_partitions(pipeline, 0);
	error = try_prefix(pipeline, EdwSearchSize(pipeline), &reached);
	if (error == NULL)
		return EDW_STEP_MORE;	/* it was not the data after all */
	if (!EdwErrorsAreOfData(error->sqlerrcode))
		return EdwErrorsHandle(pipeline, error);
	mapping_id = reached == PG_INT32_MAX ? find_named(pipeline, error) : reached;
	if (mapping_id != 0)
	{
		/* is it a message of that target at all? */
		search_partitions(pipeline, mapping_id);
		now = try_prefix(pipeline, 0, &step);
		if (now != NULL && !EdwErrorsAreOfData(now->sqlerrcode))
			return EdwErrorsHandle(pipeline, now);
		if (now != NULL && step <= reached)
			search_partitions(pipeline, 0);
	}
	return search_between(pipeline, error, reached);
}
