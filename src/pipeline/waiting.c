/*
 * waiting.c
 *		Keys that wait for a dead letter (rule K6).
 *
 * The set is kept by hashes of (mapping, key): it is only looked at while there are dead
 * letters, and holds as many entries as there are.
 */
#include "postgres.h"

#include "pipeline/waiting.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "pipeline/catalog_sql.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

/* a key that waits; the hash comes first */
typedef struct WaitingKey
{
	uint64		hash;
	bool		held;			/* no letter of it is dead: it waits for a member */
} WaitingKey;

struct EdwWaiting
{
	MemoryContext context;
	const char *stream;
	bool		loaded;
	HTAB	   *keys;			/* of WaitingKey; NULL: none */
};

static EdwStatement load_keys = {
	"SELECT mapping_id, row_key, status = 'waiting' FROM edw_stream.dead_letter"
	" WHERE stream = $1 AND status IN ('open', 'waiting') AND mapping_id IS NOT NULL AND row_key IS NOT NULL",
	1, {TEXTOID}, NULL
};

static EdwStatement supersede = {
	"UPDATE edw_stream.dead_letter SET status = 'superseded', last_seen = now()"
	" WHERE stream = $1 AND status IN ('open', 'waiting') AND mapping_id = $2 AND row_key = $3",
	3, {TEXTOID, INT4OID, BYTEAOID}, NULL
};

EdwWaiting *
EdwWaitingCreate(MemoryContext parent, const char *stream)
{
	EdwWaiting *waiting = MemoryContextAllocZero(parent, sizeof(EdwWaiting));

	waiting->context = AllocSetContextCreate(parent, "edw_stream waiting keys",
											 ALLOCSET_SMALL_SIZES);
	waiting->stream = stream;
	return waiting;
}

void
EdwWaitingForget(EdwWaiting *waiting)
{
	MemoryContextReset(waiting->context);
	waiting->keys = NULL;
	waiting->loaded = false;
}

static uint64
key_hash(int32 mapping_id, const char *key, int len)
{
	return hash_bytes_extended((const unsigned char *) key, len, (uint64) mapping_id);
}

void
EdwWaitingAdd(EdwWaiting *waiting, int32 mapping_id, const char *key, int len, bool held)
{
	uint64		hash = key_hash(mapping_id, key, len);
	WaitingKey *entry;
	bool		found;

	if (waiting->keys == NULL)
	{
		HASHCTL		control = {
			.keysize = sizeof(uint64),
			.entrysize = sizeof(WaitingKey),
			.hcxt = waiting->context,
		};

		waiting->keys = hash_create("edw_stream waiting keys", 64, &control,
									HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	entry = hash_search(waiting->keys, &hash, HASH_ENTER, &found);
	entry->held = held && (!found || entry->held);
}

bool
EdwWaitingAny(const EdwWaiting *waiting)
{
	return waiting->keys != NULL && hash_get_num_entries(waiting->keys) > 0;
}

void
EdwWaitingRefresh(EdwWaiting *waiting)
{
	EdwSql		sql;
	Datum		args[1];
	uint64		n;

	if (waiting->loaded)
		return;
	EdwWaitingForget(waiting);
	EdwSqlStart(&sql);
	args[0] = CStringGetTextDatum(waiting->stream);
	n = EdwSqlRun(&load_keys, args, NULL);
	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;
		int32		mapping_id = DatumGetInt32(EdwSqlGet(i, 1, &isnull));
		bytea	   *key = DatumGetByteaPP(EdwSqlGet(i, 2, &isnull));

		bool		held = DatumGetBool(EdwSqlGet(i, 3, &isnull));

		EdwWaitingAdd(waiting, mapping_id, VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key), held);
	}
	EdwSqlFinish(&sql);
	waiting->loaded = true;
}

/* Evaluate a key column that is an expression over the event; false: an input is missing. */
static bool
key_expression(EdwRoute *route, const EdwTargetColumn *column, const EdwChange *change,
			   Datum *value, bool *isnull)
{
	TupleTableSlot *slot;
	int			i = -1;

	while ((i = bms_next_member(column->inputs, i)) >= 0)
		if (change->presence[i] != EDW_PRESENT)
			return false;
	EdwRoutePrepare(route);		/* this batch may not have used it yet; seldom enough */
	slot = route->slot;
	ResetExprContext(route->econtext);
	slot->tts_values = change->values;
	slot->tts_isnull = change->nulls;
	slot->tts_nvalid = route->input.ncolumns;
	slot->tts_flags &= ~TTS_FLAG_EMPTY;
	route->econtext->ecxt_scantuple = slot;
	*value = ExecEvalExprSwitchContext(column->expression, route->econtext, isnull);
	return true;
}

bool
EdwWaitingRowKey(EdwRoute *route, const EdwTarget *target, const EdwChange *change,
				 StringInfo key)
{
	resetStringInfo(key);
	if (change->op == EDW_OP_TRUNCATE || target->nkeys == 0)
		return false;
	for (int k = 0; k < target->nkeys; k++)
	{
		const EdwTargetColumn *column = &target->columns[target->keys[k]];
		Datum		value;
		bool		isnull;

		if (column->input >= 0)
		{
			if (change->presence[column->input] != EDW_PRESENT)
				return false;
			value = change->values[column->input];
			isnull = change->nulls[column->input];
		}
		else if (!key_expression(route, column, change, &value, &isnull))
			return false;
		if (isnull)
			return false;
		EdwKeyAppend(key, column->key_kind, value);
	}
	return true;
}

/* Does the change say all there is to say about its row? */
static bool
replaces_row(const EdwRoute *route, const EdwChange *change)
{
	if (change->op == EDW_OP_DELETE || change->op == EDW_OP_TOMBSTONE)
		return true;
	for (int i = 0; i < route->input.ncolumns; i++)
		if (change->presence[i] != EDW_PRESENT)
			return false;
	return true;
}

/*
 * Does the change leave the target alone, or add to it? Then nothing that came before is void, and
 * nothing has to wait for it.
 */
static bool
stands_alone(const EdwTarget *target, const EdwChange *change)
{
	const EdwMappingDef *def = target->def;

	return def->apply == EDW_APPLY_APPEND ||
		(def->on_delete == EDW_DELETE_IGNORE &&
		 (change->op == EDW_OP_DELETE || change->op == EDW_OP_TOMBSTONE));
}

/*
 * May a complete event of its row void a dead letter? Not what it may leave undone, and not a version that
 * is still missing: that finds its place among the others whenever it is retried.
 */
static bool
may_supersede(const EdwRoute *route, const EdwTarget *target)
{
	if (target->filter != NULL && target->def->on_delete == EDW_DELETE_IGNORE)
		return false;
	for (int i = 0; i < route->ntargets; i++)
		if (route->targets[i]->def->apply != EDW_APPLY_UPSERT)
			return false;
	return true;
}

static void
mark_waiting(EdwDeadMark *mark, const EdwTarget *target, StringInfo key, bool held)
{
	memset(mark, 0, sizeof(*mark));
	mark->stage = "map";
	mark->reason = "key_waits";
	mark->sqlerrcode = ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
	mark->message = held ? "an earlier message about this row waits for a member of a dimension"
		: "an earlier message about this row is in the dead letters";
	mark->hint = held ? NULL : "Retry the earlier one first; edw_stream.retry_dead_letters() goes by their order.";
	mark->waits = held;
	mark->mapping_id = target->def->mapping_id;
	mark->row_key = key->data;
	mark->row_key_len = key->len;
}

/*
 * At once, so that of the batch's own messages only those before this one are concerned: this very one may
 * become a letter yet.
 */
static void
supersede_letters(EdwWaiting *waiting, int32 mapping_id, StringInfo key, uint64 hash)
{
	EdwSql		sql;
	Datum		args[3];

	EdwSqlStart(&sql);
	args[0] = CStringGetTextDatum(waiting->stream);
	args[1] = Int32GetDatum(mapping_id);
	args[2] = EdwBytesDatum(key->data, key->len);
	(void) EdwSqlRun(&supersede, args, NULL);
	EdwSqlFinish(&sql);
	(void) hash_search(waiting->keys, &hash, HASH_REMOVE, NULL);
}

bool
EdwWaitingMeets(EdwWaiting *waiting, EdwRoute *route, const EdwChange *change,
				bool newest, EdwDeadMark *mark)
{
	bool		replaces = replaces_row(route, change);
	StringInfoData key;

	initStringInfo(&key);
	for (int i = 0; i < route->ntargets; i++)
	{
		const EdwTarget *target = route->targets[i];
		int32		mapping_id = target->def->mapping_id;
		WaitingKey *waits;
		uint64		hash;

		if (stands_alone(target, change) || !EdwWaitingRowKey(route, target, change, &key))
			continue;
		hash = key_hash(mapping_id, key.data, key.len);
		waits = hash_search(waiting->keys, &hash, HASH_FIND, NULL);
		if (waits == NULL)
			continue;
		if (!replaces)
		{
			mark_waiting(mark, target, &key, waits->held);
			return true;
		}
		if (newest && may_supersede(route, target))
			supersede_letters(waiting, mapping_id, &key, hash);
	}
	return false;
}
