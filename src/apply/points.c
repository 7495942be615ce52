/*
 * points.c
 *		edw_stream.scd2_event: events that the versions of a key do not show (see timeline.h).
 *
 * Read key by key straight from the index, which needs no rights of the current user, and written as the extension's
 * owner, all of a batch at once. Nobody else writes points of the mapping meanwhile but who prunes them: its lock is exclusive. A point whose event
 * opens a version tells more of it: its own time, or which columns it did not give.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "apply/apply.h"
#include "apply/scd2.h"
#include "apply/store.h"
#include "apply/tombstone.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "catalog/stream.h"
#include "edw_stream.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "pipeline/catalog_sql.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#define POINTS_RELATION	"edw_points"

/* told to the planner, which then probes the index for each (see feed.c) */
#define PLANNED_ROWS	10

/* scd2_event.kind */
#define KIND_SET		's'
#define KIND_ARRIVES	'a'
#define KIND_ENDS		'e'
#define KIND_DEPARTS	'd'
#define KIND_SET_OWN	'c'		/* as SET, with the values of opening columns only */
#define KIND_ARRIVES_OWN	'b'

/* entries to walk over before it is judged that the way from the root is shorter */
#define MAX_STEPS		32

/* After so many keys it is judged whether walking paid: at most one in WORTH_A_WALK may have needed a jump. If not, it is tried again later. */
#define TRIED_LOOKS		32
#define WORTH_A_WALK	2
#define UNTRIED_LOOKS	512

/* edw_stream.scd2_event */
enum
{
	ATT_MAPPING = 1, ATT_KEY, ATT_POSITION, ATT_AT, ATT_KIND, ATT_MISSING, ATT_SHOWN
};

/* the relation of points to write */
enum
{
	POINT_KEY, POINT_POSITION, POINT_AT, POINT_KIND, POINT_MISSING, POINT_VALUES, POINT_COLUMNS
};

static void
points_begin(EdwStore *points)
{
	TupleDesc	desc = CreateTemplateTupleDesc(POINT_COLUMNS);

	TupleDescInitEntry(desc, POINT_KEY + 1, "key", BYTEAOID, -1, 0);
	TupleDescInitEntry(desc, POINT_POSITION + 1, "position", BYTEAOID, -1, 0);
	TupleDescInitEntry(desc, POINT_AT + 1, "at", INT8OID, -1, 0);
	TupleDescInitEntry(desc, POINT_KIND + 1, "kind", CHAROID, -1, 0);
	TupleDescInitEntry(desc, POINT_MISSING + 1, "missing", INT2ARRAYOID, -1, 0);
	TupleDescInitEntry(desc, POINT_VALUES + 1, "shown", TEXTARRAYOID, -1, 0);
	EdwStoreBegin(points, POINTS_RELATION, desc, PLANNED_ROWS);
}

/*
 * Reading
 */

static void
read_missing(EdwScd2 *scd2, EdwTimelineEvent *event, Datum value)
{
	const EdwTarget *target = scd2->bt->target;
	Datum	   *elements;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(value), INT2OID, sizeof(int16), true, TYPALIGN_SHORT,
					  &elements, NULL, &n);
	for (int e = 0; e < n; e++)
		for (int i = 0; i < target->ncolumns; i++)
			if (target->columns[i].attnum == DatumGetInt16(elements[e]))
				event->given[i] = false;
}

/* The values that an event gave, by attnum; a column that came later has none. */
static void
read_values(EdwScd2 *scd2, Datum value, Datum **event_values, bool **event_nulls)
{
	const EdwTarget *target = scd2->bt->target;
	MemoryContext old = MemoryContextSwitchTo(scd2->batch->context);
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	*event_values = palloc0(Max(target->ncolumns, 1) * sizeof(Datum));
	*event_nulls = palloc(Max(target->ncolumns, 1) * sizeof(bool));
	for (int i = 0; i < target->ncolumns; i++)
	{
		const EdwTargetColumn *column = &target->columns[i];
		int			at = column->attnum - 1;
		Oid			input;
		Oid			ioparam;

		(*event_nulls)[i] = at >= n || nulls[at];
		if ((*event_nulls)[i])
			continue;
		getTypeInputInfo(column->type, &input, &ioparam);
		(*event_values)[i] = OidInputFunctionCall(input, TextDatumGetCString(elements[at]),
												  ioparam, column->typmod);
	}
	MemoryContextSwitchTo(old);
}

static EdwTimelineEvent *
event_at(EdwScd2 *scd2, EdwHistory *history, EdwPositionBytes position)
{
	EdwTimeline *timeline = &history->timeline;
	EdwTimelineEvent *event;
	int			ncolumns = Max(timeline->ncolumns, 1);

	for (int v = 0; v < timeline->nstored; v++)
		if (history->openers[v].len > 0 && EdwPositionOrder(history->openers[v], position) == 0)
			return &timeline->events[v];
	event = EdwHistoryAddEvent(scd2, history);
	EdwEventSetPosition(event, position);
	event->given = EdwBatchAlloc(scd2->batch, ncolumns * sizeof(bool));
	memset(event->given, true, ncolumns);
	return event;
}

static EdwPositionBytes
position_of(EdwScd2 *scd2, TupleTableSlot *slot)
{
	EdwPositionBytes position;
	bool		isnull;
	struct varlena *bytes = PG_DETOAST_DATUM_PACKED(slot_getattr(slot, ATT_POSITION, &isnull));

	position.len = VARSIZE_ANY_EXHDR(bytes);
	position.bytes = memcpy(EdwBatchAlloc(scd2->batch, position.len), VARDATA_ANY(bytes), position.len);
	return position;
}

static void
note_point(EdwScd2 *scd2, EdwHistory *history, TupleTableSlot *slot)
{
	EdwTimelineEvent *event = event_at(scd2, history, position_of(scd2, slot));
	Datum		missing;
	Datum		shown;
	bool		nothing_missing;
	bool		nothing_shown;
	bool		isnull;
	char		kind = DatumGetChar(slot_getattr(slot, ATT_KIND, &isnull));

	event->stored_point = true;
	event->at = DatumGetInt64(slot_getattr(slot, ATT_AT, &isnull));
	event->ends = kind == KIND_ENDS || kind == KIND_DEPARTS;
	event->arrives = kind == KIND_ARRIVES || kind == KIND_ARRIVES_OWN;
	event->departs = kind == KIND_DEPARTS;
	missing = slot_getattr(slot, ATT_MISSING, &nothing_missing);
	if (!nothing_missing)
		read_missing(scd2, event, missing);
	shown = slot_getattr(slot, ATT_SHOWN, &nothing_shown);
	if (nothing_shown)
		return;
	event->stored_values = kind != KIND_SET_OWN && kind != KIND_ARRIVES_OWN;
	if (event->stored_values)
		read_values(scd2, shown, &event->values, &event->nulls);
	else
		read_values(scd2, shown, &event->own_values, &event->own_nulls);
}

/*
 * The index, read for one key after another, which come in order. Where points and keys are dense, the next key's points are a few entries on, and
 * walking there is cheaper than another way down from the root; where they are not, a scan of one key stops sooner.
 */
typedef struct Walk
{
	Relation	heap;
	Relation	index;
	IndexScanDesc scan;
	TupleTableSlot *slot;
	ScanKeyData keys[2];
	bool		begun;
	bool		by_key;			/* it was begun for one key alone */
	bool		ended;			/* there are no more: of that key, or of the mapping */
	int			descents;		/* for so many keys more walking is not tried */
	int			looks;			/* since it was judged, and how many … */
	int			jumps;			/* … of them walking did not answer */
} Walk;

static void
walk_begin(Walk *walk, int32 mapping_id)
{
	Oid			schema = get_namespace_oid(EDW_SCHEMA, false);

	memset(walk, 0, sizeof(Walk));
	walk->heap = table_open(get_relname_relid("scd2_event", schema), AccessShareLock);
	walk->index = index_open(get_relname_relid("scd2_event_pkey", schema), AccessShareLock);
	walk->slot = table_slot_create(walk->heap, NULL);
	walk->scan = EdwIndexBeginScan(walk->heap, walk->index, RegisterSnapshot(GetLatestSnapshot()), 2);
	walk->scan->xs_want_itup = true;
	ScanKeyInit(&walk->keys[0], ATT_MAPPING, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(mapping_id));
}

static void
walk_end(Walk *walk)
{
	Snapshot	snapshot = walk->scan->xs_snapshot;

	ExecDropSingleTupleTableSlot(walk->slot);
	index_endscan(walk->scan);
	UnregisterSnapshot(snapshot);
	index_close(walk->index, NoLock);
	table_close(walk->heap, NoLock);
}

static void
walk_on(Walk *walk)
{
	walk->ended = index_getnext_tid(walk->scan, ForwardScanDirection) == NULL;
}

/* Stand at the first entry of a key (BTEqualStrategyNumber), or from it on. */
static void
jump(Walk *walk, StrategyNumber strategy, const EdwEntry *entry)
{
	bytea	   *key = DatumGetByteaPP(EdwBytesDatum(entry->key, entry->key_len));

	ScanKeyInit(&walk->keys[1], ATT_KEY, strategy, strategy == BTEqualStrategyNumber ? F_BYTEAEQ : F_BYTEAGE,
				PointerGetDatum(key));
	index_rescan(walk->scan, walk->keys, 2, NULL, 0);
	walk_on(walk);
	walk->begun = true;
	walk->by_key = strategy == BTEqualStrategyNumber;
}

/* The key at hand, compared with an entry's. */
static int
compare_key(Walk *walk, const EdwEntry *entry)
{
	bool		isnull;
	struct varlena *key = PG_DETOAST_DATUM_PACKED(index_getattr(walk->scan->xs_itup, ATT_KEY, walk->scan->xs_itupdesc, &isnull));
	int			len = VARSIZE_ANY_EXHDR(key);
	int			cmp = memcmp(VARDATA_ANY(key), entry->key, Min(len, entry->key_len));

	return cmp != 0 ? cmp : len - entry->key_len;
}

/* Walk or jump to an entry's key, if it has points. */
static bool
walk_to(Walk *walk, const EdwEntry *entry)
{
	int			cmp = -1;

	if (walk->descents > 0)
	{
		walk->descents--;
		jump(walk, BTEqualStrategyNumber, entry);
		return !walk->ended;
	}
	if (walk->looks++ == TRIED_LOOKS)
	{
		if (walk->jumps * WORTH_A_WALK > TRIED_LOOKS)
			walk->descents = UNTRIED_LOOKS;
		walk->looks = walk->jumps = 0;
	}
	for (int steps = 0; walk->begun && !walk->by_key && !walk->ended && steps < MAX_STEPS; steps++)
	{
		cmp = compare_key(walk, entry);
		if (cmp >= 0)
			break;
		walk_on(walk);
	}
	if (cmp < 0 && (walk->by_key || !walk->ended))
	{
		walk->jumps++;
		jump(walk, BTGreaterEqualStrategyNumber, entry);
		cmp = walk->ended ? -1 : compare_key(walk, entry);
	}
	return !walk->ended && cmp == 0;
}

void
EdwPointsRead(EdwScd2 *scd2)
{
	Walk		walk;

	walk_begin(&walk, scd2->bt->target->def->mapping_id);
	if (scd2->nhistories < TRIED_LOOKS)
		walk.descents = scd2->nhistories;
	for (int h = 0; h < scd2->nhistories && (!walk.begun || walk.by_key || !walk.ended); h++)
	{
		EdwHistory *history = &scd2->histories[h];

		if (!walk_to(&walk, history->entry))
			continue;
		while (!walk.ended && compare_key(&walk, history->entry) == 0)
		{
			if (index_fetch_heap(walk.scan, walk.slot))
				note_point(scd2, history, walk.slot);
			walk_on(&walk);
		}
	}
	walk_end(&walk);
}

/*
 * Writing
 */

static Datum
missing_columns(EdwScd2 *scd2, const EdwTimelineEvent *event, bool *isnull)
{
	const EdwTarget *target = scd2->bt->target;
	Datum	   *elements = palloc(Max(target->ncolumns, 1) * sizeof(Datum));
	int			n = 0;

	for (int i = 0; i < target->ncolumns; i++)
		if (!event->ends && !event->given[i])
			elements[n++] = Int16GetDatum(target->columns[i].attnum);
	*isnull = n == 0;
	return PointerGetDatum(construct_array(elements, n, INT2OID, sizeof(int16), true, TYPALIGN_SHORT));
}

static Datum
given_values(EdwScd2 *scd2, const EdwTimelineEvent *event)
{
	const EdwTarget *target = scd2->bt->target;
	int			natts = target->rel_desc->natts;
	Datum	   *elements = palloc0(natts * sizeof(Datum));
	bool	   *nulls = palloc(natts * sizeof(bool));
	int			dims[1] = {natts};
	int			lbs[1] = {1};

	memset(nulls, true, natts);
	for (int i = 0; i < target->ncolumns; i++)
	{
		const EdwTargetColumn *column = &target->columns[i];
		Oid			output;
		bool		is_varlena;

		if (!event->given[i] || event->nulls[i] || (event->keep_own && !target->versioned->opening[i]))
			continue;
		getTypeOutputInfo(column->type, &output, &is_varlena);
		elements[column->attnum - 1] =
			CStringGetTextDatum(OidOutputFunctionCall(output, event->values[i]));
		nulls[column->attnum - 1] = false;
	}
	return PointerGetDatum(construct_md_array(elements, nulls, 1, dims, lbs, TEXTOID, -1, false, TYPALIGN_INT));
}

static void
put_event(EdwStore *points, EdwScd2 *scd2, EdwHistory *history, const EdwTimelineEvent *event)
{
	Datum		values[POINT_COLUMNS];
	bool		nulls[POINT_COLUMNS] = {false};

	values[POINT_KEY] = EdwBytesDatum(history->entry->key, history->entry->key_len);
	values[POINT_POSITION] = EdwBytesDatum(event->position, event->position_len);
	values[POINT_AT] = Int64GetDatum(event->at);
	if (event->ends)
		values[POINT_KIND] = CharGetDatum(event->departs ? KIND_DEPARTS : KIND_ENDS);
	else if (event->keep_own)
		values[POINT_KIND] = CharGetDatum(event->arrives ? KIND_ARRIVES_OWN : KIND_SET_OWN);
	else
		values[POINT_KIND] = CharGetDatum(event->arrives ? KIND_ARRIVES : KIND_SET);
	values[POINT_MISSING] = missing_columns(scd2, event, &nulls[POINT_MISSING]);
	nulls[POINT_VALUES] = !event->keep_values && !event->keep_own;
	values[POINT_VALUES] = nulls[POINT_VALUES] ? (Datum) 0 : given_values(scd2, event);
	EdwStorePut(points, values, nulls);
}

/* Is nothing stored of it? */
static bool
must_insert(const EdwTimelineEvent *event)
{
	return event->keep_point && !event->stored_point;
}

/* Is what is stored of it not what is to be? */
static bool
must_update(const EdwTimelineEvent *event)
{
	return event->keep_point && event->stored_point &&
		(event->stored_values != event->keep_values || (event->own_values != NULL) != event->keep_own);
}

static bool
must_delete(const EdwTimelineEvent *event)
{
	return event->stored_point && !event->keep_point;
}

/* Run a statement over some of the events. */
static void
write_events(EdwScd2 *scd2, bool (*wanted) (const EdwTimelineEvent *), const char *sql)
{
	EdwCatalogAccess access;
	Oid			type = INT4OID;
	Datum		mapping_id = Int32GetDatum(scd2->bt->target->def->mapping_id);
	EdwStore	points;

	points_begin(&points);
	for (int h = 0; h < scd2->nhistories; h++)
	{
		EdwHistory *history = &scd2->histories[h];

		for (int e = 0; e < history->timeline.nevents; e++)
			if (wanted(&history->timeline.events[e]))
				put_event(&points, scd2, history, &history->timeline.events[e]);
	}
	if (points.count > 0)
	{
		EdwCatalogBegin(&access);
		SPI_execute_with_args(sql, 1, &type, &mapping_id, NULL, false, 0);
		EdwCatalogEnd(&access);
	}
	EdwStoreEnd(&points);
}

/* What is stored may have been pruned meanwhile; and in the order of a column's time, two events may have one position. */
void
EdwPointsWrite(EdwScd2 *scd2)
{
	static const char insert[] =
		"INSERT INTO edw_stream.scd2_event AS e (mapping_id, key, position, at, kind, missing, shown)"
		" SELECT $1, p.key, p.position, p.at, p.kind, p.missing, p.shown FROM " POINTS_RELATION " p";
	char	   *insert_or_update =
		psprintf("%s ON CONFLICT (mapping_id, key, position) DO UPDATE"
				 " SET at = excluded.at, kind = excluded.kind, missing = excluded.missing, shown = excluded.shown",
				 insert);

	write_events(scd2, must_delete,
				 "DELETE FROM edw_stream.scd2_event e USING " POINTS_RELATION " p"
				 " WHERE e.mapping_id = $1 AND e.key = p.key AND e.position = p.position");
	write_events(scd2, must_update, insert_or_update);
	write_events(scd2, must_insert, scd2->bt->target->def->scd2->valid_time != NULL ? insert_or_update : insert);
}

/*
 * Forget what is older than the retention, as tombstones are; but of each key the newest point stays: else an event
 * older than it could be taken for the newest.
 */
int64
EdwPointsPrune(int64 limit)
{
	return EdwPruneForgotten("DELETE FROM edw_stream.scd2_event WHERE ctid = ANY (ARRAY("
							 "SELECT e.ctid FROM edw_stream.scd2_event e WHERE e.noted_at < $1"
							 " AND EXISTS (SELECT FROM edw_stream.scd2_event n WHERE n.mapping_id = e.mapping_id"
							 " AND n.key = e.key AND n.position > e.position)"
							 " LIMIT $2 FOR UPDATE SKIP LOCKED))", limit);
}
