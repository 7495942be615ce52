/*
 * capture.c
 *		What this transaction changed in relations that registered views read, until it
 *		is flushed.
 *
 * An entry per relation, and in it a segment per subtransaction that changed it: one that aborts
 * drops its segments, one that commits gives them to its parent. A segment that is
 * flushed within a subtransaction is kept beside until it is known how that ends: if it aborts, what it
 * wrote into the views is gone, and the changes of its parents wait for a flush again.
 *
 * Memory and temporary files belong to the top transaction. Rows hold TOAST pointers as they
 * are; a table that was rewritten or got columns meanwhile counts as changed all over instead.
 *
 * Callbacks are registered at the first capture of a process: one that writes to no base of
 * a registered view pays nothing at commit.
 */
#include "postgres.h"

#include "view/capture.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/tuplestore.h"
#include "view/definition.h"
#include "view/flush.h"

/* what one subtransaction did to a relation */
typedef struct Segment
{
	SubTransactionId subid;
	SubTransactionId flushed;	/* it is in the views, if this one commits; Invalid: not yet */
	bool		all;
	bool		itself;			/* a registered view that is to be computed anew */
	int64		old_rows;
	int64		new_rows;
	Tuplestorestate *store;		/* NULL: no rows */
	struct Segment *next;		/* an older one */
} Segment;

typedef struct Entry
{
	EdwCaptured captured;		/* as last asked for */
	Segment    *segments;		/* newest first */
	Tuplestorestate *combined;	/* rows of several segments, made when asked for */

	/* the shape of its rows, from the first one */
	Oid			relfilenode;	/* TOAST pointers lead nowhere when it changes */
	int			natts;
	TupleDesc	desc;
	int			nread;
	AttrNumber *read;			/* columns that are kept, ascending */
	Datum	   *values;
	bool	   *nulls;

	/* equal rows count once: the last old and the last new one, as values */
	bool		skips_repeats;
	Segment    *last_segment;	/* they are in it; NULL: there are none */
	bool		has_last[2];
	Datum	   *last_values[2];
	bool	   *last_nulls[2];
} Entry;

static MemoryContext context;	/* of this transaction, NULL: nothing was captured */
static List *entries;			/* Entry * */
static Entry *last_used;

static void on_xact_event(XactEvent event, void *arg);
static void on_subxact_event(SubXactEvent event, SubTransactionId subid,
							 SubTransactionId parent, void *arg);

static Entry *
find_entry(Oid relid)
{
	ListCell   *lc;

	if (last_used != NULL && last_used->captured.relid == relid)
		return last_used;
	foreach(lc, entries)
	{
		Entry	   *entry = lfirst(lc);

		if (entry->captured.relid == relid)
			return last_used = entry;
	}
	return NULL;
}

static Entry *
add_entry(Oid relid)
{
	static bool registered = false;
	MemoryContext old;
	Entry	   *entry;

	if (!registered)
	{
		RegisterXactCallback(on_xact_event, NULL);
		RegisterSubXactCallback(on_subxact_event, NULL);
		registered = true;
	}
	if (context == NULL)
		context = AllocSetContextCreate(TopTransactionContext, "edw_stream captured changes",
										ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	entry = palloc0(sizeof(Entry));
	entry->captured.relid = relid;
	entries = lappend(entries, entry);
	MemoryContextSwitchTo(old);
	return last_used = entry;
}

/* The segment that the running subtransaction's changes go to. */
static Segment *
current_segment(Entry *entry)
{
	SubTransactionId subid = GetCurrentSubTransactionId();
	Segment    *segment = entry->segments;

	if (segment != NULL && segment->subid == subid && segment->flushed == InvalidSubTransactionId)
		return segment;
	segment = MemoryContextAllocZero(context, sizeof(Segment));
	segment->subid = subid;
	segment->next = entry->segments;
	entry->segments = segment;
	return segment;
}

static Segment *
segment_of(Oid relid)
{
	Entry	   *entry = find_entry(relid);

	return current_segment(entry != NULL ? entry : add_entry(relid));
}

static bool
is_live(const Segment *segment)
{
	return segment->flushed == InvalidSubTransactionId;
}

/* May everything in it have changed? Then rows need not be kept. */
static bool
is_all(const Entry *entry)
{
	for (const Segment *s = entry->segments; s != NULL; s = s->next)
		if (is_live(s) && s->all)
			return true;
	return false;
}

static void
drop_combined(Entry *entry)
{
	if (entry->combined != NULL)
		tuplestore_end(entry->combined);
	entry->combined = NULL;
}

static void
drop_rows(Segment *segment)
{
	if (segment->store != NULL)
		tuplestore_end(segment->store);
	segment->store = NULL;
	segment->old_rows = segment->new_rows = 0;
}

/* A store that lives as long as the top transaction, whatever subtransaction runs. */
static Tuplestorestate *
make_store(void)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	ResourceOwner owner = CurrentResourceOwner;
	Tuplestorestate *store;

	CurrentResourceOwner = TopTransactionResourceOwner;
	store = tuplestore_begin_heap(true, false, work_mem);
	CurrentResourceOwner = owner;
	MemoryContextSwitchTo(old);
	return store;
}

static TupleDesc
make_desc(TupleDesc shape)
{
	TupleDesc	desc = CreateTemplateTupleDesc(shape->natts + 1);

	for (int i = 1; i <= shape->natts; i++)
		TupleDescCopyEntry(desc, i, shape, i);
	TupleDescInitEntry(desc, shape->natts + 1, "_edw_sign", INT2OID, -1, 0);
	return desc;
}

/* Of the relation as it is now; false: it is gone. */
static bool
look_up_shape(Oid relid, int *natts, Oid *relfilenode)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));

	if (!HeapTupleIsValid(tuple))
		return false;
	*natts = ((Form_pg_class) GETSTRUCT(tuple))->relnatts;
	*relfilenode = ((Form_pg_class) GETSTRUCT(tuple))->relfilenode;
	ReleaseSysCache(tuple);
	return true;
}

static void
set_shape(Entry *entry, TupleDesc shape)
{
	bool		each;
	Bitmapset  *columns = EdwColumnsKept(entry->captured.relid, &each);
	MemoryContext old = MemoryContextSwitchTo(context);
	int			natts;
	int			attnum = -1;

	(void) look_up_shape(entry->captured.relid, &natts, &entry->relfilenode);
	entry->natts = shape->natts;
	entry->desc = make_desc(shape);
	entry->read = palloc(sizeof(AttrNumber) * (shape->natts + 1));
	while ((attnum = bms_next_member(columns, attnum)) >= 0)
		if (attnum > 0 && attnum <= shape->natts && !TupleDescAttr(shape, attnum - 1)->attisdropped)
			entry->read[entry->nread++] = attnum;
	entry->skips_repeats = !each;
	for (int i = 0; i < entry->nread; i++)
		entry->skips_repeats &= TupleDescAttr(shape, entry->read[i] - 1)->attbyval;
	for (int i = 0; i < 2; i++)
	{
		entry->last_values[i] = palloc(sizeof(Datum) * (entry->nread + 1));
		entry->last_nulls[i] = palloc(sizeof(bool) * (entry->nread + 1));
	}
	entry->values = palloc0(sizeof(Datum) * (shape->natts + 1));
	entry->nulls = palloc(sizeof(bool) * (shape->natts + 1));
	memset(entry->nulls, true, sizeof(bool) * (shape->natts + 1));
	entry->nulls[shape->natts] = false;
	MemoryContextSwitchTo(old);
}

/* Is the row at hand the last one of its kind over again? Else it is the last one from now on. */
static bool
is_repeated(Entry *entry, Segment *segment, int sign)
{
	int			kind = sign > 0;
	bool		repeated = entry->last_segment == segment && entry->has_last[kind];

	if (entry->last_segment != segment)
		entry->has_last[0] = entry->has_last[1] = false;
	for (int i = 0; i < entry->nread; i++)
	{
		int			column = entry->read[i] - 1;
		Datum		value = entry->nulls[column] ? (Datum) 0 : entry->values[column];

		repeated = repeated && entry->last_nulls[kind][i] == entry->nulls[column] &&
			entry->last_values[kind][i] == value;
		entry->last_nulls[kind][i] = entry->nulls[column];
		entry->last_values[kind][i] = value;
	}
	entry->last_segment = segment;
	entry->has_last[kind] = true;
	return repeated;
}

/* Keep a row; slot has the relation's shape. What runs per row begins here. */
void
EdwCaptureSlot(Oid relid, TupleTableSlot *slot, int sign)
{
	Entry	   *entry = find_entry(relid);
	Segment    *segment;

	if (entry == NULL)
		entry = add_entry(relid);
	if (entry->desc == NULL)
		set_shape(entry, slot->tts_tupleDescriptor);
	segment = current_segment(entry);
	if (is_all(entry))
		return;
	if (slot->tts_tupleDescriptor->natts != entry->natts)
	{
		segment->all = true;	/* it got columns since the first row */
		return;
	}
	if (entry->nread > 0)
		slot_getsomeattrs(slot, entry->read[entry->nread - 1]);
	for (int i = 0; i < entry->nread; i++)
	{
		int			column = entry->read[i] - 1;

		entry->values[column] = slot->tts_values[column];
		entry->nulls[column] = slot->tts_isnull[column];
	}
	if (entry->skips_repeats && is_repeated(entry, segment, sign))
		return;
	if (segment->store == NULL)
		segment->store = make_store();
	if (entry->combined != NULL)
		drop_combined(entry);
	entry->values[entry->natts] = Int16GetDatum(sign);
	tuplestore_putvalues(segment->store, entry->desc, entry->values, entry->nulls);
	if (sign < 0)
		segment->old_rows++;
	else
		segment->new_rows++;
}

void
EdwCaptureRow(Relation rel, TupleTableSlot *slot, int sign)
{
	EdwCaptureSlot(RelationGetRelid(rel), slot, sign);
}

void
EdwCaptureAll(Oid relid)
{
	Segment    *segment = segment_of(relid);

	segment->all = true;
	drop_rows(segment);
}

void
EdwCaptureView(Oid view)
{
	segment_of(view)->itself = true;
}

/* Is there something that waits for a flush? Of the relation's changes, or of itself as a view. */
static bool
has_changes(const Entry *entry)
{
	for (const Segment *s = entry->segments; s != NULL; s = s->next)
		if (is_live(s) && (s->all || s->store != NULL))
			return true;
	return false;
}

static bool
has_itself(const Entry *entry)
{
	for (const Segment *s = entry->segments; s != NULL; s = s->next)
		if (is_live(s) && s->itself)
			return true;
	return false;
}

bool
EdwCapturePending(void)
{
	ListCell   *lc;

	foreach(lc, entries)
		if (has_changes(lfirst(lc)) || has_itself(lfirst(lc)))
			return true;
	return false;
}

static List *
entries_that(bool (*wanted) (const Entry *))
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, entries)
	{
		const Entry *entry = lfirst(lc);

		if (wanted(entry))
			result = lappend_oid(result, entry->captured.relid);
	}
	return result;
}

List *
EdwCaptureRelations(void)
{
	return entries_that(has_changes);
}

List *
EdwCaptureViews(void)
{
	return entries_that(has_itself);
}

/* Was the table rewritten, or has it other columns than captured rows have? */
static bool
is_changed_underneath(const Entry *entry)
{
	int			natts;
	Oid			relfilenode;

	return entry->desc != NULL && look_up_shape(entry->captured.relid, &natts, &relfilenode) &&
		(natts != entry->natts || relfilenode != entry->relfilenode);
}

const EdwCaptured *
EdwCaptureFind(Oid relid)
{
	Entry	   *entry = find_entry(relid);
	EdwCaptured *captured;

	if (entry == NULL || !has_changes(entry))
		return NULL;
	captured = &entry->captured;
	captured->all = is_all(entry) || is_changed_underneath(entry);
	captured->old_rows = captured->new_rows = 0;
	for (const Segment *s = entry->segments; s != NULL && !captured->all; s = s->next)
	{
		captured->old_rows += is_live(s) ? s->old_rows : 0;
		captured->new_rows += is_live(s) ? s->new_rows : 0;
	}
	captured->desc = captured->all ? NULL : entry->desc;
	return captured;
}

char *
EdwCaptureEnrName(Oid relid)
{
	return psprintf("edw_captured_%u", relid);
}

static void
append_rows(Tuplestorestate *to, Tuplestorestate *from, TupleDesc desc)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);

	tuplestore_select_read_pointer(from, 0);
	tuplestore_rescan(from);
	while (tuplestore_gettupleslot(from, true, false, slot))
		tuplestore_puttupleslot(to, slot);
	ExecDropSingleTupleTableSlot(slot);
}

/* All rows that wait for a flush: of one segment as they are, of several copied together. */
static Tuplestorestate *
rows_of(Entry *entry)
{
	Segment    *found = NULL;
	int			n = 0;

	if (entry->combined != NULL)
		return entry->combined;
	for (Segment *s = entry->segments; s != NULL; s = s->next)
		if (is_live(s) && s->store != NULL)
		{
			found = s;
			n++;
		}
	if (n == 1)
		return found->store;
	entry->combined = make_store();
	for (Segment *s = entry->segments; s != NULL; s = s->next)
		if (is_live(s) && s->store != NULL)
			append_rows(entry->combined, s->store, entry->desc);
	return entry->combined;
}

static EphemeralNamedRelation
make_enr(Oid relid)
{
	EphemeralNamedRelation enr = palloc0(sizeof(EphemeralNamedRelationData));
	const EdwCaptured *captured = EdwCaptureFind(relid);

	enr->md.name = EdwCaptureEnrName(relid);
	enr->md.enrtype = ENR_NAMED_TUPLESTORE;
	if (captured != NULL && !captured->all)
	{
		enr->md.tupdesc = captured->desc;
		enr->md.enrtuples = captured->old_rows + captured->new_rows;
		enr->reldata = rows_of(find_entry(relid));
	}
	else
	{
		Relation	rel = relation_open(relid, AccessShareLock);

		enr->md.tupdesc = make_desc(RelationGetDescr(rel));
		enr->reldata = tuplestore_begin_heap(true, false, work_mem);
		relation_close(rel, NoLock);
	}
	return enr;
}

QueryEnvironment *
EdwCaptureEnvironment(List *relids)
{
	QueryEnvironment *environment = create_queryEnv();
	ListCell   *lc;

	foreach(lc, relids)
		register_ENR(environment, make_enr(lfirst_oid(lc)));
	return environment;
}

/*
 * All is flushed. What belongs to subtransactions around the running one is kept for the case that this one
 * aborts.
 */
void
EdwCaptureReset(void)
{
	SubTransactionId subid = GetCurrentSubTransactionId();
	ListCell   *lc;

	foreach(lc, entries)
	{
		Entry	   *entry = lfirst(lc);
		Segment   **link = &entry->segments;

		drop_combined(entry);
		entry->last_segment = NULL;
		while (*link != NULL)
		{
			Segment    *segment = *link;

			if (segment->subid == subid)
			{
				*link = segment->next;
				drop_rows(segment);
				pfree(segment);
				continue;
			}
			if (is_live(segment))
				segment->flushed = subid;
			link = &segment->next;
		}
	}
}

static void
end_subxact_aborted(Entry *entry, SubTransactionId subid)
{
	Segment   **link = &entry->segments;

	while (*link != NULL)
	{
		Segment    *segment = *link;

		if (segment->subid == subid)
		{
			*link = segment->next;
			drop_rows(segment);
			pfree(segment);
			continue;
		}
		if (segment->flushed == subid)
			segment->flushed = InvalidSubTransactionId;
		link = &segment->next;
	}
}

/* The rows of two segments into one of them, the fewer to the more. */
static void
join_rows(Entry *entry, Segment *to, Segment *from)
{
	if (to->all || from->all)
	{
		drop_rows(to);
		drop_rows(from);
		return;
	}
	if (from->store == NULL)
		return;
	if (to->store == NULL || to->old_rows + to->new_rows < from->old_rows + from->new_rows)
	{
		Tuplestorestate *store = to->store;

		to->store = from->store;
		from->store = store;
	}
	if (from->store != NULL)
	{
		append_rows(to->store, from->store, entry->desc);
		tuplestore_end(from->store);
		from->store = NULL;
	}
	to->old_rows += from->old_rows;
	to->new_rows += from->new_rows;
}

static void
end_subxact_committed(Entry *entry, SubTransactionId subid, SubTransactionId parent)
{
	Segment    *kept = NULL;	/* the live one of the parent */
	Segment   **link = &entry->segments;

	while (*link != NULL)
	{
		Segment    *segment = *link;

		if (segment->subid == subid)
			segment->subid = parent;
		if (segment->flushed == subid)
			segment->flushed = parent;
		if (segment->subid == parent && (segment->flushed == parent || (is_live(segment) && kept != NULL)))
		{
			*link = segment->next;
			if (is_live(segment))
			{
				join_rows(entry, kept, segment);
				kept->all |= segment->all;
				kept->itself |= segment->itself;
			}
			drop_rows(segment);
			pfree(segment);
			continue;
		}
		if (segment->subid == parent && is_live(segment))
			kept = segment;
		link = &segment->next;
	}
}

static void
on_subxact_event(SubXactEvent event, SubTransactionId subid, SubTransactionId parent, void *arg)
{
	ListCell   *lc;

	(void) arg;
	if (event != SUBXACT_EVENT_COMMIT_SUB && event != SUBXACT_EVENT_ABORT_SUB)
		return;
	foreach(lc, entries)
	{
		drop_combined(lfirst(lc));
		((Entry *) lfirst(lc))->last_segment = NULL;
		if (event == SUBXACT_EVENT_COMMIT_SUB)
			end_subxact_committed(lfirst(lc), subid, parent);
		else
			end_subxact_aborted(lfirst(lc), subid);
	}
}

/*
 * The transaction is about to commit, and nothing of it can be captured any more. It has written, so that SET
 * TRANSACTION READ ONLY afterwards must not keep it from finishing that.
 */
static void
flush_before_commit(void)
{
	MemoryContext scratch = AllocSetContextCreate(TopTransactionContext, "edw_stream flush",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(scratch);
	ResourceOwner owner = CurrentResourceOwner;
	bool		read_only = XactReadOnly;

	CurrentResourceOwner = TopTransactionResourceOwner;
	XactReadOnly = false;
	PushActiveSnapshot(GetTransactionSnapshot());
	EdwFlush();
	PopActiveSnapshot();
	XactReadOnly = read_only;
	CurrentResourceOwner = owner;
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
}

static void
on_xact_event(XactEvent event, void *arg)
{
	(void) arg;
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			if (EdwCapturePending())
				flush_before_commit();
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			/* memory and files go with the transaction */
			context = NULL;
			entries = NIL;
			last_used = NULL;
			break;
		default:
			break;
	}
}
