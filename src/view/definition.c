/*
 * definition.c
 *		Registered views as this process knows them: read from edw_stream.view and from their own
 *		queries, kept until something that they were made from changes.
 *
 * Invalidations come at any time, so the callbacks only set flags. A definition is looked at only after the
 * relations in it have been locked (for reading, to the end of the transaction): then all invalidations of
 * them have come, and nobody changes them any more. One that has become stale lives on in the transaction's
 * memory, as callers may hold it.
 *
 * Tables are read with the newest snapshot, whatever the transaction's isolation level: a registration
 * holds for all who write after it.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "edw_stream.h"
#include "storage/lmgr.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "view/capture.h"
#include "view/definition.h"
#include "view/derive.h"

PG_FUNCTION_INFO_V1(edw_stream_registry_changed);

/* columns of edw_stream.view and view_base */
enum
{
	VIEW_VIEW = 1, VIEW_NAME, VIEW_PARTITION_BY, VIEW_REFRESH, VIEW_OPTIONS, VIEW_SETTINGS
};
enum
{
	BASE_VIEW = 1, BASE_BASE
};

typedef struct CachedView
{
	Oid			view;			/* hash key */
	bool		stale;
	EdwViewDef *def;			/* NULL: being made */
	MemoryContext context;
	int			nrelations;
	Oid		   *relations;		/* that it was made from, itself among them */
} CachedView;

typedef struct Readers
{
	Oid			base;			/* hash key */
	List	   *views;			/* Oid */
} Readers;

static HTAB *cached_views = NULL;
static HTAB *readers = NULL;	/* from view_base; of relations that are read */
static MemoryContext readers_context = NULL;
static bool readers_stale = true;
static Oid	view_table = InvalidOid;

static void
relation_changed(Datum arg pg_attribute_unused(), Oid relid)
{
	HASH_SEQ_STATUS scan;
	CachedView *cached;
	bool		all = relid == InvalidOid || relid == view_table;

	if (all)
		readers_stale = true;
	hash_seq_init(&scan, cached_views);
	while ((cached = hash_seq_search(&scan)) != NULL)
	{
		for (int i = 0; !all && !cached->stale && i < cached->nrelations; i++)
			cached->stale = cached->relations[i] == relid;
		if (all)
			cached->stale = true;
	}
}

static void
start_cache(void)
{
	HASHCTL		control = {0};

	if (cached_views != NULL)
		return;
	control.keysize = sizeof(Oid);
	control.entrysize = sizeof(CachedView);
	cached_views = hash_create("edw_stream views", 16, &control, HASH_ELEM | HASH_BLOBS);
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
}

/* Trigger on the two tables: whoever changes them (a restore, a cascade), all processes hear of it. */
Datum
edw_stream_registry_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" must be called by a trigger", "edw_stream.registry_changed")));
	CacheInvalidateRelcacheByRelid(get_relname_relid("view", get_namespace_oid(EDW_SCHEMA, false)));
	return PointerGetDatum(NULL);
}

/* One of the extension's tables; NULL: the extension is not installed here. */
static Relation
open_table(const char *name)
{
	Oid			schema = get_namespace_oid(EDW_SCHEMA, true);
	Oid			relid = OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;

	return OidIsValid(relid) ? table_open(relid, AccessShareLock) : NULL;
}

static void
read_readers(Relation rel)
{
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);
	MemoryContext old = MemoryContextSwitchTo(readers_context);
	HeapTuple	tuple;

	while ((tuple = systable_getnext(scan)) != NULL)
	{
		bool		isnull;
		bool		found;
		Oid			base = DatumGetObjectId(heap_getattr(tuple, BASE_BASE, RelationGetDescr(rel), &isnull));
		Oid			view = DatumGetObjectId(heap_getattr(tuple, BASE_VIEW, RelationGetDescr(rel), &isnull));
		Readers    *entry = hash_search(readers, &base, HASH_ENTER, &found);

		entry->views = lappend_oid(found ? entry->views : NIL, view);
	}
	MemoryContextSwitchTo(old);
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
}

/* False: the extension is not installed. */
static bool
refresh_readers(void)
{
	HASHCTL		control = {0};
	Relation	rel;

	start_cache();
	if (!readers_stale)
		return true;
	rel = open_table("view_base");
	if (rel == NULL)
		return false;
	view_table = get_relname_relid("view", RelationGetNamespace(rel));
	if (readers_context == NULL)
		readers_context = AllocSetContextCreate(CacheMemoryContext, "edw_stream readers", ALLOCSET_SMALL_SIZES);
	readers = NULL;
	MemoryContextReset(readers_context);
	control.keysize = sizeof(Oid);
	control.entrysize = sizeof(Readers);
	control.hcxt = readers_context;
	readers = hash_create("edw_stream readers", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	/* what changes from here on makes it stale anew; so does an error */
	readers_stale = false;
	PG_TRY();
	{
		read_readers(rel);
	}
	PG_CATCH();
	{
		readers_stale = true;
		PG_RE_THROW();
	}
	PG_END_TRY();
	table_close(rel, NoLock);
	return true;
}

List *
EdwViewsReading(Oid base)
{
	Readers    *entry;

	if (!refresh_readers())
		return NIL;
	entry = hash_search(readers, &base, HASH_FIND, NULL);
	return entry == NULL ? NIL : list_copy(entry->views);
}

Bitmapset *
EdwColumnsRead(Oid base)
{
	Bitmapset  *columns = NULL;
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, EdwViewsReading(base))
	{
		EdwViewDef *def = EdwViewLoad(lfirst_oid(lc));

		if (def == NULL)
			continue;
		foreach(lc2, def->bases)
		{
			EdwViewBase *read = lfirst(lc2);

			if (read->relid == base)
				columns = bms_add_members(columns, read->columns);
		}
	}
	return columns;
}

/* looking for columns of captured rows in queries */
typedef struct KeptColumns
{
	const char *name;			/* that queries know them by */
	List	   *queries;		/* that enclose the node at hand, innermost first */
	Bitmapset  *columns;
} KeptColumns;

static bool
add_kept_columns(Node *node, KeptColumns *kept)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		kept->queries = lcons(node, kept->queries);
		(void) query_tree_walker((Query *) node, add_kept_columns, kept, 0);
		kept->queries = list_delete_first(kept->queries);
		return false;
	}
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;
		Query	   *query = list_nth_node(Query, kept->queries, var->varlevelsup);
		RangeTblEntry *rte = rt_fetch(var->varno, query->rtable);

		if (rte->rtekind == RTE_NAMEDTUPLESTORE && strcmp(rte->enrname, kept->name) == 0)
			kept->columns = bms_add_member(kept->columns, var->varattno);
		return false;
	}
	return expression_tree_walker(node, add_kept_columns, kept);
}

Bitmapset *
EdwColumnsKept(Oid base, bool *each)
{
	KeptColumns kept = {EdwCaptureEnrName(base), NIL, NULL};
	ListCell   *lc;
	ListCell   *lc2;
	ListCell   *lc3;

	*each = false;
	foreach(lc, EdwViewsReading(base))
	{
		EdwViewDef *def = EdwViewLoad(lfirst_oid(lc));

		*each |= def != NULL && def->method == EDW_VIEW_DELTA;
		if (def == NULL || def->method != EDW_VIEW_PARTITION)
			continue;
		foreach(lc2, def->bases)
			foreach(lc3, ((EdwViewBase *) lfirst(lc2))->affected)
				(void) add_kept_columns(lfirst(lc3), &kept);
	}
	return *each || bms_is_member(0, kept.columns) ? EdwColumnsRead(base) : kept.columns;
}

/* name[] as a list of char * */
static List *
name_list(Datum array)
{
	Datum	   *names;
	int			n;
	List	   *list = NIL;

	deconstruct_array(DatumGetArrayTypeP(array), NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR, &names, NULL, &n);
	for (int i = 0; i < n; i++)
		list = lappend(list, pstrdup(NameStr(*DatumGetName(names[i]))));
	return list;
}

/* What stands in edw_stream.view; false: nothing. names: partition_by, char *. */
static bool
read_row(Oid view, EdwViewDef *def, List **names, Jsonb **options)
{
	Relation	rel = open_table("view");
	Snapshot	snapshot;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;
	Datum		values[VIEW_SETTINGS];
	bool		nulls[VIEW_SETTINGS];

	if (rel == NULL)
		return false;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	ScanKeyInit(&key, VIEW_VIEW, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(view));
	scan = systable_beginscan(rel, InvalidOid, false, snapshot, 1, &key);
	tuple = systable_getnext(scan);
	if (tuple != NULL)
	{
		for (int i = 0; i < VIEW_SETTINGS; i++)
			values[i] = heap_getattr(tuple, i + 1, RelationGetDescr(rel), &nulls[i]);
		*names = name_list(values[VIEW_PARTITION_BY - 1]);
		def->refresh = strcmp(TextDatumGetCString(values[VIEW_REFRESH - 1]), "deferred") == 0
			? EDW_REFRESH_DEFERRED : EDW_REFRESH_COMMIT;
		*options = DatumGetJsonbPCopy(values[VIEW_OPTIONS - 1]);
		def->settings = TextDatumGetCString(values[VIEW_SETTINGS - 1]);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, NoLock);
	return tuple != NULL;
}

/* Everything is made in the current context; NULL: it is not registered, or no longer there. */
static EdwViewDef *
make_definition(Oid view, List **relations)
{
	EdwViewDef *def = palloc0(sizeof(EdwViewDef));
	List	   *names = NIL;
	Jsonb	   *options = NULL;
	Relation	rel;

	if (!read_row(view, def, &names, &options))
		return NULL;
	rel = try_relation_open(view, AccessShareLock);
	if (rel == NULL)
		return NULL;
	EdwViewDerive(rel, names, options, def, relations);
	*relations = lappend_oid(*relations, view);
	relation_close(rel, NoLock);
	return def;
}

/* Callers may hold what becomes stale: it goes with the transaction. */
static void
retire(CachedView *cached)
{
	Oid			view = cached->view;

	if (cached->context != NULL)
		MemoryContextSetParent(cached->context, TopTransactionContext);
	hash_search(cached_views, &view, HASH_REMOVE, NULL);
}

static EdwViewDef *
load_anew(Oid view)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "edw_stream view", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	List	   *relations = NIL;
	CachedView *cached;
	EdwViewDef *def;
	ListCell   *lc;

	/* it is there before it is made, so that what changes meanwhile makes it stale */
	cached = hash_search(cached_views, &view, HASH_ENTER, NULL);
	cached->stale = false;
	cached->def = NULL;
	cached->context = NULL;
	cached->nrelations = 0;
	def = make_definition(view, &relations);
	MemoryContextSwitchTo(old);
	if (def == NULL)
	{
		retire(cached);
		MemoryContextDelete(context);
		return NULL;
	}
	cached->relations = MemoryContextAlloc(context, sizeof(Oid) * list_length(relations));
	foreach(lc, relations)
		cached->relations[cached->nrelations++] = lfirst_oid(lc);
	cached->def = def;
	cached->context = context;
	MemoryContextSetParent(context, CacheMemoryContext);
	return def;
}

EdwViewDef *
EdwViewLoad(Oid view)
{
	CachedView *cached;

	/* also tells which table's changes to listen to */
	if (!refresh_readers())
		return NULL;
	cached = hash_search(cached_views, &view, HASH_FIND, NULL);
	if (cached != NULL)
	{
		for (int i = 0; i < cached->nrelations && !cached->stale; i++)
			LockRelationOid(cached->relations[i], AccessShareLock);
		if (!cached->stale && cached->def != NULL)
			return cached->def;
		retire(cached);
	}
	return load_anew(view);
}
