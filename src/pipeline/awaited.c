/*
 * awaited.c
 *		Messages that wait for a member of a dimension (lookups, missing => wait).
 *
 * They are kept as dead letters are, with status 'waiting', and are applied in the very transaction that brings
 * their member: all together in one subtransaction; if that fails one by one, so that the one which is at
 * fault is told from the others. None of it is laid to the batch that brought the member. What has waited longer than its
 * limit becomes a dead letter.
 *
 * That nobody waits unseen for a member that another worker brings meanwhile is the mapping's lock's business (apply.c).
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "pipeline/letters.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

static EdwStatement expire = {
	"UPDATE edw_stream.dead_letter d SET status = 'open', last_seen = now()"
	" WHERE d.stream = $1 AND d.status = 'waiting' AND (d.wait_until <= now() OR d.waits_for IS NULL"
	" AND NOT EXISTS (SELECT FROM edw_stream.dead_letter f WHERE f.stream = d.stream AND f.status = 'waiting'"
	" AND f.mapping_id = d.mapping_id AND f.row_key = d.row_key AND f.wait_until > now()))",
	1, {TEXTOID}, NULL
};

/* those that wait for these members, and those that wait behind them */
static EdwStatement select_arrived = {
	"SELECT " EDW_LETTER_COLUMNS
	" WHERE d.stream = $1 AND d.status = 'waiting' AND (d.waits_for = $2 AND d.member = ANY ($3)"
	" OR d.waits_for IS NULL AND EXISTS (SELECT FROM edw_stream.dead_letter f WHERE f.stream = $1"
	" AND f.status = 'waiting' AND f.mapping_id = d.mapping_id AND f.row_key = d.row_key"
	" AND f.waits_for = $2 AND f.member = ANY ($3)))" EDW_LETTER_ORDER,
	3, {TEXTOID, OIDOID, BYTEAARRAYOID}, NULL
};

static EdwStatement find_waiting = {
	"SELECT 1 FROM edw_stream.dead_letter WHERE stream = $1 AND status = 'waiting' LIMIT 1",
	1, {TEXTOID}, NULL
};

/* what together came to */
typedef enum Together
{
	TOGETHER_DONE,
	TOGETHER_FAILED,			/* one by one, then */
	TOGETHER_EXCLUSIVE			/* the batch is to be run again, alone */
} Together;

/* Does the stream know waiting at all? */
static bool
is_any_awaited(EdwPipeline *pipeline)
{
	ListCell   *lc;

	foreach(lc, pipeline->mappings)
		if (((EdwMappingDef *) lfirst(lc))->awaited)
			return true;
	return false;
}

void
EdwAwaitedExpire(EdwPipeline *pipeline)
{
	EdwSql		sql;
	Datum		args[1];

	if (!is_any_awaited(pipeline))
		return;
	EdwSqlStart(&sql);
	args[0] = CStringGetTextDatum(pipeline->stream);
	if (EdwSqlRun(&expire, args, NULL) > 0)
		EdwWaitingForget(pipeline->waiting);
	EdwSqlFinish(&sql);
}

static bool
is_any_waiting(EdwPipeline *pipeline)
{
	EdwSql		sql;
	Datum		args[1];
	bool		found;

	EdwSqlStart(&sql);
	args[0] = CStringGetTextDatum(pipeline->stream);
	found = EdwSqlRun(&find_waiting, args, NULL) > 0;
	EdwSqlFinish(&sql);
	return found;
}

/*
 * Together
 */

/* Decode a letter and hand it to the batch; false: it needs a look of its own. */
static bool
add_letter(EdwPipeline *pipeline, EdwBatch *batch, EdwLetter *letters, int index)
{
	EdwLetter  *letter = &letters[index];
	EdwPartition partition = {0};
	EdwFullPosition position;
	EdwReason	reason;
	EdwTopic   *topic;

	partition.topic_name = unconstify(char *, letter->message.topic);
	partition.number = letter->message.partition;
	topic = EdwTopicPrepare(pipeline, &partition);
	pipeline->messages = &letter->message;

	/* a letter is applied to all of its tables or to none, which only a try of its own can do */
	if (topic->decoder == NULL || topic->route->ntargets != 1 ||
		EdwRunDecode(pipeline, 0, topic, &reason) != EDW_EVENT)
		return false;
	EdwLetterPlace(pipeline, topic, letter, &position);
	EdwBatchAdd(batch, topic->route, index, letter->message.partition, &topic->change, &position,
				letter->epoch, false);
	return true;
}

static Together
apply_letters(EdwPipeline *pipeline, EdwLetter *letters, int n, EdwLetterOutcome *outcomes)
{
	EdwBatch   *batch = EdwBatchCreate();
	EdwApplyResult *applied;

	for (int i = 0; i < n; i++)
		if (!add_letter(pipeline, batch, letters, i))
			return TOGETHER_FAILED;
	pipeline->phase = EDW_PHASE_APPLY;
	applied = EdwApplyBatch(batch, pipeline->def->workers, pipeline->exclusive);
	if (applied->need_exclusive && !pipeline->exclusive)
		return TOGETHER_EXCLUSIVE;
	AfterTriggerSetState(makeNode(ConstraintsSetStmt));
	for (int i = 0; i < n; i++)
		outcomes[i].status = "resolved";
	for (int i = 0; i < applied->nrejects; i++)
	{
		const EdwReject *reject = &applied->rejects[i];
		EdwDeadMark *mark = &outcomes[reject->message].mark;

		if (reject->again)
			return TOGETHER_FAILED;
		outcomes[reject->message].status = NULL;
		mark->stage = "apply";
		mark->reason = reject->reason;
		mark->sqlerrcode = reject->sqlerrcode;
		mark->message = reject->message_text;
		if (reject->wait != NULL)
			EdwDeadMarkWait(mark, reject->wait);
	}
	EdwHistoryStart(pipeline);
	pipeline->stats.applied = applied;
	EdwHistoryWriteTables(pipeline);
	return TOGETHER_DONE;
}

/* In a subtransaction that stays only if all were applied, but for those whose member is still missing. */
static Together
try_together(EdwPipeline *pipeline, EdwLetter *letters, int n, EdwLetterOutcome *outcomes)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile Together result = TOGETHER_FAILED;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		result = apply_letters(pipeline, letters, n, outcomes);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (!EdwErrorsAreOfData(error->sqlerrcode))
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();
	if (result == TOGETHER_DONE)
		ReleaseCurrentSubTransaction();
	else
		RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return result;
}

/*
 * Who has waited long enough
 */

static bool
release(EdwPipeline *pipeline, EdwLetter *letters, int n)
{
	EdwLetterOutcome *outcomes = palloc0(n * sizeof(EdwLetterOutcome));

	switch (try_together(pipeline, letters, n, outcomes))
	{
		case TOGETHER_EXCLUSIVE:
			return false;
		case TOGETHER_FAILED:
			/* each is recorded at once: what waits behind it looks for it */
			for (int i = 0; i < n; i++)
			{
				EdwLetterGuard(pipeline, &letters[i], &outcomes[i], true);
				EdwLetterRecord(&letters[i], &outcomes[i]);
			}
			break;
		case TOGETHER_DONE:
			for (int i = 0; i < n; i++)
				EdwLetterRecord(&letters[i], &outcomes[i]);
			break;
	}
	EdwWaitingForget(pipeline->waiting);
	return true;
}

/* what a pipeline has at hand */
typedef struct AtHand
{
	EdwBatchStats stats;
	EdwSource  *source;
	EdwMessage *messages;
} AtHand;

static void
take_up(EdwPipeline *pipeline, const AtHand *at_hand)
{
	pipeline->stats = at_hand->stats;
	pipeline->source = at_hand->source;
	pipeline->messages = at_hand->messages;
	pipeline->current = -1;
	pipeline->phase = EDW_PHASE_APPLY;
}

/* The pipeline decodes letters in place of its messages meanwhile. */
static bool
release_apart(EdwPipeline *pipeline, EdwLetter *letters, int n)
{
	AtHand		at_hand = {pipeline->stats, pipeline->source, pipeline->messages};
	volatile bool done = false;

	pipeline->source = &EdwLettersSource;
	PG_TRY();
	{
		done = release(pipeline, letters, n);
	}
	PG_CATCH();
	{
		take_up(pipeline, &at_hand);
		PG_RE_THROW();
	}
	PG_END_TRY();
	take_up(pipeline, &at_hand);
	return done;
}

/*
 * After a batch has been applied: apply what waited for the members that it brought. false: the batch has to be run
 * again, alone.
 */
bool
EdwAwaitedRelease(EdwPipeline *pipeline, EdwBatch *batch)
{
	ListCell   *lc;

	if (!is_any_awaited(pipeline))
		return true;
	EdwAwaitedExpire(pipeline);
	if (!is_any_waiting(pipeline))
		return true;
	foreach(lc, EdwApplyArrived(batch))
	{
		const EdwArrived *arrived = lfirst(lc);
		EdwLetter  *letters;
		Datum		args[3];
		int			n;

		args[0] = CStringGetTextDatum(pipeline->stream);
		args[1] = ObjectIdGetDatum(arrived->dimension);
		args[2] = arrived->keys;
		letters = EdwLettersLoad(&select_arrived, args, NULL, &n);
		if (n > 0 && !release_apart(pipeline, letters, n))
			return false;
	}
	return true;
}
