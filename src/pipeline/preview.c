/*
 * preview.c
 *		preview(): what the next events would change in a table.
 *
 * The events are run as drain() would run them, from the committed offsets on, but each transaction of the pipeline is a
 * subtransaction of one that is rolled back at the end: rows, offsets, dead letters, counts, all of it; what sequences have
 * given out is gone. Nothing is told to Kafka, to shared memory or to the log, and registered views are left alone.
 *
 * Locks are those of a batch, until the end of the call: a worker of the stream waits for as long.
 *
 * What a run that is thrown away has shown is forgotten; what was shown counts when its batch is "committed".
 */
#include "postgres.h"

#include "access/xact.h"
#include "apply/images.h"
#include "catalog/options.h"
#include "catalog/pg_type.h"
#include "catalog/stream.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pipeline/internal.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(edw_stream_preview);

#define COLUMNS	5

/* a row of the result, in the memory of the run that made it */
typedef struct Shown
{
	const char *change;
	NullableDatum images[3];	/* key, before, after */
	char	   *note;			/* NULL: none */
} Shown;

struct EdwPreview
{
	Oid			target;
	int			left;			/* events to go, as of the last batch that was committed */
	int			left_in_run;
	List	   *shown;			/* Shown *, of the run */
	MemoryContext run_context;
	ReturnSetInfo *result;
	struct EdwWatch watch;
};

/*
 * While the pipeline runs
 */

static void
show(EdwPreview *preview, const Shown *row)
{
	MemoryContext old = MemoryContextSwitchTo(preview->run_context);
	Shown	   *copy = palloc(sizeof(Shown));

	*copy = *row;
	copy->change = pstrdup(row->change);
	for (int i = 0; i < (int) lengthof(copy->images); i++)
		if (!row->images[i].isnull)
			copy->images[i].value = datumCopy(row->images[i].value, false, -1);
	copy->note = row->note ? pstrdup(row->note) : NULL;
	preview->shown = lappend(preview->shown, copy);
	MemoryContextSwitchTo(old);
}

static void
show_change(void *arg, const EdwImageChange *change)
{
	Shown		row = {change->change, {change->key, change->before, change->after}, NULL};

	if (strcmp(change->change, "truncate") == 0)
		row.note = "all rows that are older than the truncate";
	show(arg, &row);
}

void
EdwPreviewStart(EdwPipeline *pipeline, EdwBatch *batch)
{
	EdwPreview *preview = pipeline->preview;

	if (preview == NULL)
		return;
	preview->left_in_run = preview->left;
	preview->shown = NIL;
	preview->run_context = pipeline->batch_context;
	EdwBatchWatch(batch, &preview->watch);
}

static bool
feeds_target(const EdwTopic *topic, Oid target)
{
	for (int i = 0; topic->route != NULL && i < topic->route->ntargets; i++)
		if (topic->route->targets[i]->relid == target)
			return true;
	return false;
}

/* Is a message of this topic still to be run? Counts it. */
bool
EdwPreviewTakes(EdwPipeline *pipeline, EdwTopic *topic)
{
	EdwPreview *preview = pipeline->preview;

	if (preview == NULL)
		return true;
	if (preview->left_in_run == 0)
		return false;
	if (feeds_target(topic, preview->target))
		preview->left_in_run--;
	return true;
}

/* A message that would be a dead letter, or be held. */
void
EdwPreviewBury(EdwPipeline *pipeline, int index, EdwTopic *topic, const EdwDeadMark *mark)
{
	const EdwMessage *message = &pipeline->messages[index];
	Shown		row = {mark->waits ? "held" : "dead", {{0, true}, {0, true}, {0, true}}, NULL};

	if (pipeline->preview == NULL || !feeds_target(topic, pipeline->preview->target))
		return;
	row.note = psprintf("%s: %s (topic \"%s\" partition %d offset " INT64_FORMAT ")", mark->reason, mark->message,
						message->topic, message->partition, message->offset);
	show(pipeline->preview, &row);
}

/* What the run has shown is so. */
void
EdwPreviewCommitted(EdwPipeline *pipeline)
{
	EdwPreview *preview = pipeline->preview;
	ListCell   *lc;

	foreach(lc, preview->shown)
	{
		const Shown *row = lfirst(lc);
		Datum		values[COLUMNS];
		bool		nulls[COLUMNS];

		values[0] = CStringGetTextDatum(row->change);
		nulls[0] = false;
		for (int i = 0; i < (int) lengthof(row->images); i++)
		{
			values[i + 1] = row->images[i].value;
			nulls[i + 1] = row->images[i].isnull;
		}
		nulls[COLUMNS - 1] = row->note == NULL;
		values[COLUMNS - 1] = row->note ? CStringGetTextDatum(row->note) : (Datum) 0;
		tuplestore_putvalues(preview->result->setResult, preview->result->setDesc, values, nulls);
	}
	preview->shown = NIL;
	preview->left = preview->left_in_run;
}

bool
EdwPreviewIsDone(const EdwPipeline *pipeline)
{
	return pipeline->preview != NULL && pipeline->preview->left == 0;
}

/*
 * The call
 */

static void
check_target(const char *stream, Oid target)
{
	char	   *name = get_rel_name(target);

	if (EdwMappingOfTarget(EdwMappingLoadExisting(stream), target) != NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("table \"%s\" is not a target of stream \"%s\"", name ? name : psprintf("%u", target), stream),
			 errhint("The view edw_stream.tables lists the targets.")));
}

/* Run the pipeline in a subtransaction that leaves nothing; an ERROR leaves nothing of ours open, either. */
static void
run(EdwPipeline *pipeline)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		EdwSessionDrain(pipeline);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		EdwXactAbort(&pipeline->xact);
	}
	PG_END_TRY();
	EdwPipelineClose(pipeline);
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (error != NULL)
		ReThrowError(error);
}

/* preview(stream, target, n): change, key, before, after, note */
Datum
edw_stream_preview(PG_FUNCTION_ARGS)
{
	EdwPreview	preview = {0};
	EdwPipeline *pipeline;
	char	   *stream;

	EdwRequireArgument(fcinfo, 0, "stream");
	EdwRequireArgument(fcinfo, 1, "target");
	EdwRequireArgument(fcinfo, 2, "n");
	stream = text_to_cstring(PG_GETARG_TEXT_PP(0));
	preview.target = PG_GETARG_OID(1);
	preview.left = PG_GETARG_INT32(2);
	if (preview.left < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("n must be at least 1")));
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("preview() needs isolation level READ COMMITTED"),
				 errdetail("What stands where is read after locks have been taken.")));
	PreventCommandIfReadOnly("preview()");
	EdwStreamCheckOwner(EdwStreamLoad(stream, false));
	check_target(stream, preview.target);
	InitMaterializedSRF(fcinfo, 0);
	preview.result = (ReturnSetInfo *) fcinfo->resultinfo;
	preview.watch.target = preview.target;
	preview.watch.changed = show_change;
	preview.watch.arg = &preview;
	pipeline = EdwPipelineOpen(stream, -1, EDW_PIPELINE_PREVIEW);
	pipeline->preview = &preview;
	run(pipeline);
	return (Datum) 0;
}
