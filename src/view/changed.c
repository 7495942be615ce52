/*
 * changed.c
 *		What the triggers on bases of registered views do: edw_stream.view_changed().
 *
 * A statement fires the triggers of the table that it names, with the rows of all tables below it in
 * that table's shape. Its views may read it, a table above it, or one below it; the changed rows are
 * captured for each of these in its own shape. Of a partition below, the rows that its constraint admits; of
 * an inheritance child below nobody can tell its rows apart: then all of it counts as changed.
 *
 * Which tables those are is cached per process until any relcache invalidation; the callback only sets a
 * flag. No locks are taken but AccessShareLock on them while that is looked up.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tupconvert.h"
#include "catalog/pg_inherits.h"
#include "commands/trigger.h"
#include "edw_stream.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"
#include "view/capture.h"
#include "view/definition.h"
#include "view/flush.h"
#include "view/moved.h"
#include "view/trigger.h"

PG_FUNCTION_INFO_V1(edw_stream_view_changed);

typedef enum Belonging
{
	BELONGS,					/* each row of the statement does */
	BELONGS_IF_ADMITTED,		/* rows that the partition's constraint admits */
	CANNOT_TELL
} Belonging;

/* a table that views read, for statements on another one (or itself) */
typedef struct Reader
{
	Oid			relid;
	Belonging	belonging;
	TupleDesc	desc;			/* NULL: rows have its shape as they are */
	AttrMap    *map;
	int			nread;			/* its columns that views read, ascending */
	AttrNumber *read;
} Reader;

typedef struct Readers
{
	Oid			relid;			/* hash key: the table that statements name */
	List	   *list;			/* Reader * */
} Readers;

/* transition rows while they are read */
typedef struct Rows
{
	Tuplestorestate *store;
	TupleTableSlot *slot;
	TupleTableSlot *mapped;		/* in the reader's shape; NULL: slot is */
} Rows;

static HTAB *cache;
static MemoryContext cache_context;
static bool cache_valid;

static void
on_relcache_event(Datum arg, Oid relid)
{
	(void) arg;
	(void) relid;
	cache_valid = false;
}

static void
reset_cache(void)
{
	HASHCTL		control = {0};

	if (cache_context == NULL)
	{
		cache_context = AllocSetContextCreate(CacheMemoryContext, "edw_stream views' readers",
											  ALLOCSET_SMALL_SIZES);
		CacheRegisterRelcacheCallback(on_relcache_event, 0);
	}
	MemoryContextReset(cache_context);
	control.keysize = sizeof(Oid);
	control.entrysize = sizeof(Readers);
	control.hcxt = cache_context;
	cache = hash_create("edw_stream views' readers", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	cache_valid = true;
}

/* In the current context; NULL if no view reads the table. */
static Reader *
make_reader(Relation rel, Oid relid, Belonging belonging)
{
	Relation	other;
	TupleConversionMap *map;
	Bitmapset  *columns;
	Reader	   *reader;
	int			attnum = -1;

	if (EdwViewsReading(relid) == NIL)
		return NULL;
	other = table_open(relid, AccessShareLock);
	reader = palloc0(sizeof(Reader));
	reader->relid = relid;
	reader->belonging = belonging;
	if (belonging == BELONGS_IF_ADMITTED && !other->rd_rel->relispartition)
		reader->belonging = CANNOT_TELL;
	if (other != rel && reader->belonging != CANNOT_TELL &&
		(map = convert_tuples_by_name(RelationGetDescr(rel), RelationGetDescr(other))) != NULL)
	{
		reader->map = map->attrMap;
		reader->desc = CreateTupleDescCopy(RelationGetDescr(other));
	}
	columns = EdwColumnsRead(relid);
	reader->read = palloc(sizeof(AttrNumber) * (bms_num_members(columns) + 1));
	while ((attnum = bms_next_member(columns, attnum)) >= 0)
		if (attnum > 0 && attnum <= RelationGetNumberOfAttributes(other))
			reader->read[reader->nread++] = attnum;
	table_close(other, AccessShareLock);
	return reader;
}

static void
add_reader(List **list, Reader *reader)
{
	if (reader != NULL)
		*list = lappend(*list, reader);
}

static List *
find_readers(Relation rel)
{
	Oid			relid = RelationGetRelid(rel);
	List	   *list = NIL;
	List	   *others = EdwViewTablesAbove(relid);
	ListCell   *lc;

	add_reader(&list, make_reader(rel, relid, BELONGS));
	foreach(lc, others)
		add_reader(&list, make_reader(rel, lfirst_oid(lc), BELONGS));
	if (!rel->rd_rel->relhassubclass)
		return list;
	others = find_all_inheritors(relid, NoLock, NULL);
	foreach(lc, others)
		if (lfirst_oid(lc) != relid)
			add_reader(&list, make_reader(rel, lfirst_oid(lc), BELONGS_IF_ADMITTED));
	return list;
}

/* Whose views a statement on a table concerns. */
static List *
readers_of(Relation rel)
{
	Oid			relid = RelationGetRelid(rel);
	Readers    *readers;
	List	   *list;
	MemoryContext old;

	if (cache == NULL || !cache_valid)
		reset_cache();
	readers = hash_search(cache, &relid, HASH_FIND, NULL);
	if (readers != NULL)
		return readers->list;
	old = MemoryContextSwitchTo(cache_context);
	list = find_readers(rel);
	MemoryContextSwitchTo(old);
	readers = hash_search(cache, &relid, HASH_ENTER, NULL);
	readers->list = list;
	return list;
}

static void
open_rows(Rows *rows, Tuplestorestate *store, Relation rel, const Reader *reader)
{
	memset(rows, 0, sizeof(*rows));
	if (store == NULL)
		return;
	rows->store = store;
	tuplestore_select_read_pointer(store, tuplestore_alloc_read_pointer(store, EXEC_FLAG_REWIND));
	tuplestore_rescan(store);
	rows->slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsMinimalTuple);
	if (reader->map != NULL)
		rows->mapped = MakeSingleTupleTableSlot(reader->desc, &TTSOpsVirtual);
}

static void
close_rows(Rows *rows)
{
	if (rows->slot != NULL)
		ExecDropSingleTupleTableSlot(rows->slot);
	if (rows->mapped != NULL)
		ExecDropSingleTupleTableSlot(rows->mapped);
}

/* The next row in the reader's shape, NULL at the end. */
static TupleTableSlot *
next_row(Rows *rows, const Reader *reader)
{
	if (!tuplestore_gettupleslot(rows->store, true, false, rows->slot))
		return NULL;
	if (rows->mapped == NULL)
		return rows->slot;
	return execute_attr_map_slot(reader->map, rows->slot, rows->mapped);
}

/* Do two versions of a row differ in a column that views read? Byte by byte, TOAST pointers as they are. */
static bool
is_same(const Reader *reader, TupleTableSlot *old, TupleTableSlot *new)
{
	TupleDesc	desc = old->tts_tupleDescriptor;

	if (reader->nread == 0)
		return true;
	slot_getsomeattrs(old, reader->read[reader->nread - 1]);
	slot_getsomeattrs(new, reader->read[reader->nread - 1]);
	for (int i = 0; i < reader->nread; i++)
	{
		int			column = reader->read[i] - 1;
		Form_pg_attribute attribute = TupleDescAttr(desc, column);

		if (old->tts_isnull[column] != new->tts_isnull[column])
			return false;
		if (!old->tts_isnull[column] &&
			!datumIsEqual(old->tts_values[column], new->tts_values[column],
						  attribute->attbyval, attribute->attlen))
			return false;
	}
	return true;
}

/* a partition that rows are tried against */
typedef struct Gate
{
	EState	   *estate;			/* NULL: all rows pass */
	ResultRelInfo info;
	Relation	partition;
} Gate;

static void
open_gate(Gate *gate, const Reader *reader)
{
	memset(gate, 0, sizeof(*gate));
	if (reader->belonging != BELONGS_IF_ADMITTED)
		return;
	gate->estate = CreateExecutorState();
	gate->partition = table_open(reader->relid, AccessShareLock);
	InitResultRelInfo(&gate->info, gate->partition, 0, NULL, 0);
}

static void
close_gate(Gate *gate)
{
	if (gate->estate == NULL)
		return;
	table_close(gate->partition, AccessShareLock);
	FreeExecutorState(gate->estate);
}

static void
capture(Gate *gate, const Reader *reader, TupleTableSlot *row, int sign)
{
	if (gate->estate != NULL)
	{
		bool		admitted = ExecPartitionCheck(&gate->info, row, gate->estate, false);

		ResetPerTupleExprContext(gate->estate);
		if (!admitted)
			return;
	}
	EdwCaptureSlot(reader->relid, row, sign);
}

/*
 * Both tables of an UPDATE hold the versions of a row at the same place, if they hold the same number: only
 * a move to another partition that a trigger there stopped leaves an old row alone.
 */
static void
capture_pairs(Gate *gate, const Reader *reader, Rows *old, Rows *new)
{
	for (;;)
	{
		TupleTableSlot *old_row = next_row(old, reader);
		TupleTableSlot *new_row = next_row(new, reader);

		if (old_row == NULL || new_row == NULL)
			break;
		if (is_same(reader, old_row, new_row))
			continue;
		capture(gate, reader, old_row, -1);
		capture(gate, reader, new_row, 1);
	}
}

static void
capture_all_of(Gate *gate, const Reader *reader, Rows *rows, int sign)
{
	TupleTableSlot *row;

	while (rows->store != NULL && (row = next_row(rows, reader)) != NULL)
		capture(gate, reader, row, sign);
}

static int64
count_rows(Tuplestorestate *store)
{
	return store == NULL ? 0 : tuplestore_tuple_count(store);
}

static void
capture_for(const Reader *reader, const TriggerData *trigger)
{
	int64		nold = count_rows(trigger->tg_oldtable);
	int64		nnew = count_rows(trigger->tg_newtable);
	Rows		old;
	Rows		new;
	Gate		gate;

	if (nold == 0 && nnew == 0)
		return;
	if (reader->belonging == CANNOT_TELL)
	{
		EdwCaptureAll(reader->relid);
		return;
	}
	open_gate(&gate, reader);
	open_rows(&old, trigger->tg_oldtable, trigger->tg_relation, reader);
	open_rows(&new, trigger->tg_newtable, trigger->tg_relation, reader);
	if (nold == nnew)
		capture_pairs(&gate, reader, &old, &new);
	else
	{
		capture_all_of(&gate, reader, &old, -1);
		capture_all_of(&gate, reader, &new, 1);
	}
	close_rows(&new);
	close_rows(&old);
	close_gate(&gate);
}

/* AFTER INSERT, UPDATE, DELETE or TRUNCATE, for each statement. */
Datum
edw_stream_view_changed(PG_FUNCTION_ARGS)
{
	const TriggerData *trigger = (TriggerData *) fcinfo->context;
	List	   *readers;
	ListCell   *lc;

	if (!CALLED_AS_TRIGGER(fcinfo) || !EdwViewTriggerIsOurs(trigger->tg_trigger->tgname))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("edw_stream.view_changed() is for triggers that edw_stream.register_view() makes")));
	EdwFlushRefuseChanges();
	readers = readers_of(trigger->tg_relation);
	foreach(lc, readers)
	{
		const Reader *reader = lfirst(lc);

		if (TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event) || !EdwMovedWatched())
			EdwCaptureAll(reader->relid);
		else
			capture_for(reader, trigger);
	}
	return PointerGetDatum(NULL);
}
