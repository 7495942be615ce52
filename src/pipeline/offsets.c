/*
 * offsets.c
 *		edw_stream.partition_offset: how far each partition is applied (rule K1).
 *
 * The only writer of that table.
 */
#include "postgres.h"

#include "pipeline/offsets.h"

#include "catalog/pg_type.h"
#include "pipeline/catalog_sql.h"
#include "utils/array.h"
#include "utils/builtins.h"

static EdwStatement load_all = {
	"SELECT topic, partition, next_offset FROM edw_stream.partition_offset"
	" WHERE stream = $1 ORDER BY topic COLLATE \"C\", partition",
	1, {TEXTOID}, NULL
};

static EdwStatement lock_one = {
	"SELECT next_offset, epoch, streaming, identity, max_position, max_source_ts, last_delete,"
	" seen_offset, epoch_starts"
	" FROM edw_stream.partition_offset WHERE stream = $1 AND topic = $2 AND partition = $3"
	" FOR NO KEY UPDATE",
	3, {TEXTOID, TEXTOID, INT4OID}, NULL
};

static EdwStatement lock_all = {
	"SELECT 1 FROM edw_stream.partition_offset WHERE stream = $1"
	" ORDER BY topic COLLATE \"C\", partition FOR NO KEY UPDATE",
	1, {TEXTOID}, NULL
};

static EdwStatement store_one = {
	"UPDATE edw_stream.partition_offset SET next_offset = $4, epoch = $5, streaming = $6,"
	" identity = $7, max_position = $8, max_source_ts = $9, last_delete = $10,"
	" last_change = CASE WHEN $11 THEN now() ELSE last_change END,"
	" seen_offset = greatest(seen_offset, $4), epoch_starts = $12"
	" WHERE stream = $1 AND topic = $2 AND partition = $3",
	12, {TEXTOID, TEXTOID, INT4OID, INT8OID, INT4OID, BOOLOID, INT8OID, BYTEAOID, INT8OID,
	BYTEAOID, BOOLOID, INT8ARRAYOID}, NULL
};

static EdwStatement set_one = {
	"UPDATE edw_stream.partition_offset SET next_offset = $4, last_delete = NULL"
	" WHERE stream = $1 AND topic = $2 AND partition = $3",
	4, {TEXTOID, TEXTOID, INT4OID, INT8OID}, NULL
};

static EdwStatement renew_one = {
	"UPDATE edw_stream.partition_offset SET next_offset = $4, last_delete = NULL,"
	" seen_offset = $4, epoch_starts = NULL"
	" WHERE stream = $1 AND topic = $2 AND partition = $3",
	4, {TEXTOID, TEXTOID, INT4OID, INT8OID}, NULL
};

/*
 * A new partition is in its topic's epoch. Where Kafka's offsets are the order (byte 1 of
 * the position is EDW_POSITION_OFFSET), it begins an epoch of its own: its offsets
 * start at 0, and what it holds came after the partition was added.
 */
static EdwStatement insert_one = {
	"INSERT INTO edw_stream.partition_offset (stream, topic, partition, next_offset, epoch)"
	" SELECT $1, $2, $3, $4, coalesce(pg_catalog.max(epoch +"
	"  CASE WHEN pg_catalog.get_byte(max_position, 1) OPERATOR(pg_catalog.=) 8 THEN 1 ELSE 0 END), 1)"
	" FROM edw_stream.partition_offset WHERE stream = $1 AND topic = $2"
	" ON CONFLICT DO NOTHING",
	4, {TEXTOID, TEXTOID, INT4OID, INT8OID}, NULL
};

static EdwStatement bump_all = {
	"UPDATE edw_stream.partition_offset SET epoch = m.top + 1, streaming = false, max_position = NULL,"
	" seen_offset = next_offset,"
	" epoch_starts = (CASE WHEN pg_catalog.cardinality(epoch_starts) < 3 * 30 THEN epoch_starts"
	" ELSE ARRAY[epoch, 0, coalesce(identity, 0)] END)"
	" || ARRAY[m.top + 1, next_offset, coalesce(identity, 0)]"
	" FROM (SELECT pg_catalog.max(epoch) AS top FROM edw_stream.partition_offset WHERE stream = $1) m"
	" WHERE stream = $1",
	1, {TEXTOID}, NULL
};

static List *
load(const char *stream, bool active_snapshot)
{
	EdwSql		sql;
	List	   *result = NIL;
	Datum		args[1];
	uint64		n;

	EdwSqlStart(&sql);
	args[0] = CStringGetTextDatum(stream);
	n = active_snapshot ? EdwSqlLook(&load_all, args) : EdwSqlRun(&load_all, args, NULL);
	for (uint64 i = 0; i < n; i++)
	{
		MemoryContext old;
		EdwStoredOffset *row;
		bool		isnull;

		row = MemoryContextAlloc(sql.caller, sizeof(EdwStoredOffset));
		row->topic = EdwSqlGetText(&sql, i, 1);
		row->partition = DatumGetInt32(EdwSqlGet(i, 2, &isnull));
		row->next_offset = DatumGetInt64(EdwSqlGet(i, 3, &isnull));
		old = MemoryContextSwitchTo(sql.caller);
		result = lappend(result, row);
		MemoryContextSwitchTo(old);
	}
	EdwSqlFinish(&sql);
	return result;
}

List *
EdwOffsetsLoad(const char *stream)
{
	return load(stream, false);
}

List *
EdwOffsetsLoadLatest(const char *stream)
{
	return load(stream, true);
}

static void
read_starts(Datum array, EdwEpochStarts *starts)
{
	Datum	   *elements;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(array), INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
					  TYPALIGN_DOUBLE, &elements, NULL, &n);
	for (int i = 0; i + 2 < n && starts->n < EDW_EPOCH_STARTS; i += 3)
	{
		struct EdwEpochStart *start = &starts->starts[starts->n++];

		start->epoch = (int32) DatumGetInt64(elements[i]);
		start->offset = DatumGetInt64(elements[i + 1]);
		start->identity = (uint64) DatumGetInt64(elements[i + 2]);
	}
}

static Datum
starts_datum(const EdwEpochStarts *starts)
{
	Datum		elements[EDW_EPOCH_STARTS * 3];

	for (int i = 0; i < starts->n; i++)
	{
		elements[3 * i] = Int64GetDatum(starts->starts[i].epoch);
		elements[3 * i + 1] = Int64GetDatum(starts->starts[i].offset);
		elements[3 * i + 2] = Int64GetDatum((int64) starts->starts[i].identity);
	}
	return PointerGetDatum(construct_array(elements, starts->n * 3, INT8OID, sizeof(int64),
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

static void
read_state(EdwSql *sql, EdwOffsetState *state)
{
	bool		isnull;
	char	   *bytes;
	int			len;
	Datum		starts;

	memset(state, 0, sizeof(*state));
	state->next_offset = DatumGetInt64(EdwSqlGet(0, 1, &isnull));
	state->epoch.epoch = DatumGetInt32(EdwSqlGet(0, 2, &isnull));
	state->epoch.streaming = DatumGetBool(EdwSqlGet(0, 3, &isnull));
	state->epoch.identity = (uint64) DatumGetInt64(EdwSqlGet(0, 4, &isnull));
	if (isnull)
		state->epoch.identity = 0;
	bytes = EdwSqlGetBytes(sql, 0, 5, &len);
	if (len > 0 && len <= EDW_POSITION_MAX)
	{
		state->epoch.max_position.len = len;
		memcpy(state->epoch.max_position.bytes, bytes, len);
	}
	state->epoch.max_source_ts = DatumGetInt64(EdwSqlGet(0, 6, &isnull));
	if (isnull)
		state->epoch.max_source_ts = 0;
	state->last_delete = EdwSqlGetBytes(sql, 0, 7, &state->last_delete_len);
	state->seen_offset = DatumGetInt64(EdwSqlGet(0, 8, &isnull));
	starts = EdwSqlGet(0, 9, &isnull);
	if (!isnull)
		read_starts(starts, &state->starts);
}

bool
EdwOffsetLock(const char *stream, const char *topic, int32 partition,
			  EdwOffsetState *state)
{
	EdwSql		sql;
	Datum		args[3];
	bool		found;

	EdwSqlStart(&sql);
	args[0] = CStringGetTextDatum(stream);
	args[1] = CStringGetTextDatum(topic);
	args[2] = Int32GetDatum(partition);
	found = EdwSqlRun(&lock_one, args, NULL) == 1;
	if (found)
		read_state(&sql, state);
	EdwSqlFinish(&sql);
	return found;
}

void
EdwOffsetsLockAll(const char *stream)
{
	EdwSql		sql;
	Datum		args[1];

	EdwSqlStart(&sql);
	args[0] = CStringGetTextDatum(stream);
	(void) EdwSqlRun(&lock_all, args, NULL);
	EdwSqlFinish(&sql);
}

void
EdwOffsetStore(const char *stream, const char *topic, int32 partition,
			   const EdwOffsetState *state)
{
	EdwSql		sql;
	const EdwEpochState *epoch = &state->epoch;
	Datum		args[12] = {0};
	char		nulls[13] = "            ";

	EdwSqlStart(&sql);
	args[0] = CStringGetTextDatum(stream);
	args[1] = CStringGetTextDatum(topic);
	args[2] = Int32GetDatum(partition);
	args[3] = Int64GetDatum(state->next_offset);
	args[4] = Int32GetDatum(epoch->epoch);
	args[5] = BoolGetDatum(epoch->streaming);
	args[6] = Int64GetDatum((int64) epoch->identity);
	if (epoch->identity == 0)
		nulls[6] = 'n';
	if (epoch->max_position.len > 0)
		args[7] = EdwBytesDatum(epoch->max_position.bytes, epoch->max_position.len);
	else
		nulls[7] = 'n';
	args[8] = Int64GetDatum(epoch->max_source_ts);
	if (epoch->max_source_ts == 0)
		nulls[8] = 'n';
	if (state->last_delete_len >= 0)
		args[9] = EdwBytesDatum(state->last_delete, state->last_delete_len);
	else
		nulls[9] = 'n';
	args[10] = BoolGetDatum(state->changed);
	if (state->starts.n > 0)
		args[11] = starts_datum(&state->starts);
	else
		nulls[11] = 'n';
	if (EdwSqlRun(&store_one, args, nulls) != 1)
		elog(ERROR, "no stored offset for partition %d of topic \"%s\"", partition, topic);
	EdwSqlFinish(&sql);
}

/* Run a statement whose arguments are a partition and an offset. */
static bool
run_with_offset(EdwStatement *statement, const char *stream, const char *topic,
				int32 partition, int64 next_offset)
{
	EdwSql		sql;
	Datum		args[4];
	uint64		n;

	EdwSqlStart(&sql);
	args[0] = CStringGetTextDatum(stream);
	args[1] = CStringGetTextDatum(topic);
	args[2] = Int32GetDatum(partition);
	args[3] = Int64GetDatum(next_offset);
	n = EdwSqlRun(statement, args, NULL);
	EdwSqlFinish(&sql);
	return n > 0;
}

bool
EdwOffsetSet(const char *stream, const char *topic, int32 partition, int64 next_offset,
			 bool renewed)
{
	return run_with_offset(renewed ? &renew_one : &set_one, stream, topic, partition, next_offset);
}

void
EdwOffsetInsert(const char *stream, const char *topic, int32 partition, int64 next_offset)
{
	(void) run_with_offset(&insert_one, stream, topic, partition, next_offset);
}

int64
EdwOffsetsBumpEpoch(const char *stream)
{
	EdwSql		sql;
	Datum		args[1];
	uint64		n;

	EdwSqlStart(&sql);
	args[0] = CStringGetTextDatum(stream);
	n = EdwSqlRun(&bump_all, args, NULL);
	EdwSqlFinish(&sql);
	return (int64) n;
}
