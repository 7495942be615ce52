/*
 * derive_view.c
 *		From a materialized view, its partition_by and options to its definition.
 *
 * Used when a view is registered and whenever its definition is loaded: what has become impossible since
 * raises the same errors.
 */
#include "postgres.h"

#include "catalog/options.h"
#include "nodes/bitmapset.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/typcache.h"
#include "view/derive.h"

static AttrNumber
find_column(Relation view, const char *name)
{
	TupleDesc	desc = RelationGetDescr(view);
	const char **names = palloc(sizeof(char *) * Max(desc->natts, 1));

	for (int i = 0; i < desc->natts; i++)
	{
		names[i] = NameStr(TupleDescAttr(desc, i)->attname);
		if (strcmp(names[i], name) == 0)
			return i + 1;
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" of materialized view \"%s\" does not exist", name, RelationGetRelationName(view)),
			 EdwHintNames(name, names, desc->natts)));
}

/* Partitions are found by equality, in arrays of keys. */
static void
check_key_type(Form_pg_attribute att)
{
	TypeCacheEntry *type = lookup_type_cache(att->atttypid, TYPECACHE_EQ_OPR | TYPECACHE_HASH_PROC);

	if (!OidIsValid(type->eq_opr) || !OidIsValid(type->hash_proc) || !OidIsValid(get_array_type(att->atttypid)))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("column \"%s\" of type %s cannot be a partition column",
						NameStr(att->attname), format_type_be(att->atttypid)),
				 errdetail("Partitions are found by a type's equality, by hashing, and in arrays of keys."),
				 errhint("Choose a column of a plain type, as a date.")));
}

static void
resolve_keys(Relation view, List *names, EdwViewDef *def)
{
	Bitmapset  *seen = NULL;
	ListCell   *lc;

	def->keys = palloc(sizeof(AttrNumber) * list_length(names));
	foreach(lc, names)
	{
		AttrNumber	attnum = find_column(view, lfirst(lc));

		if (bms_is_member(attnum, seen))
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("partition column \"%s\" is listed twice", (char *) lfirst(lc))));
		seen = bms_add_member(seen, attnum);
		check_key_type(TupleDescAttr(RelationGetDescr(view), attnum - 1));
		def->keys[def->nkeys++] = attnum;
	}
}

static void
choose_method(EdwViewDef *def, Jsonb *options, const char *why_not_partition)
{
	static const char *const fallbacks[] = {"full"};
	static const char *const methods[] = {"partition"};
	bool		full = EdwOptionChoice(options, "fallback", fallbacks, lengthof(fallbacks), -1) == 0;
	bool		partition = EdwOptionChoice(options, "method", methods, lengthof(methods), -1) == 0;

	if (why_not_partition != NULL)
	{
		if (!full)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("materialized view %s cannot be kept fresh by partitions", def->name),
					 errdetail("%s", why_not_partition),
					 errhint("Change the view's query, or give options => '{\"fallback\": \"full\"}': "
							 "all of it is then computed anew whenever a table that it reads changes.")));
		def->method = EDW_VIEW_FULL;
		def->why_not_delta = pstrdup(why_not_partition);
		return;
	}
	def->method = EDW_VIEW_PARTITION;
	if (partition)
		def->why_not_delta = pstrdup("Option \"method\" says so.");
	else if (def->refresh == EDW_REFRESH_DEFERRED)
		def->why_not_delta = pstrdup("It is deferred: what is remembered of a change are its partitions.");
	else
		def->delta = EdwDeltaPlan(def->relid, def->query, &def->why_not_delta);
	if (def->delta != NULL)
		def->method = EDW_VIEW_DELTA;
}

/* Deriving leaves much behind, which is not kept. */
static char *
derive_bases(Relation view, EdwViewDef *def, List **relations)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext scratch = AllocSetContextCreate(caller, "edw_stream derivation", ALLOCSET_DEFAULT_SIZES);
	Query	   *query;
	List	   *named;
	List	   *bases;
	char	   *why;
	ListCell   *lc;

	MemoryContextSwitchTo(scratch);
	query = EdwDeriveQuery(view, &named);
	EdwDeriveCheckRelations(query);
	bases = EdwDeriveBases(query, def->nkeys, def->keys, &why);

	MemoryContextSwitchTo(caller);
	foreach(lc, bases)
	{
		EdwViewBase *from = lfirst(lc);
		EdwViewBase *base = palloc(sizeof(EdwViewBase));

		*base = *from;
		base->columns = bms_copy(from->columns);
		base->affected = copyObject(from->affected);
		def->bases = lappend(def->bases, base);
	}
	def->query = copyObject(query);
	*relations = list_copy(named);
	why = why == NULL ? NULL : pstrdup(why);
	MemoryContextDelete(scratch);
	return why;
}

void
EdwViewDerive(Relation view, List *names, Jsonb *options, EdwViewDef *def, List **relations)
{
	char	   *why_not;

	def->relid = RelationGetRelid(view);
	def->name = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(view)),
										   RelationGetRelationName(view));
	def->owner = view->rd_rel->relowner;
	def->max_staleness_ms = EdwOptionIntervalMs(options, "max_staleness", EDW_VIEW_MAX_STALENESS_MS);
	resolve_keys(view, names, def);
	why_not = derive_bases(view, def, relations);
	def->ngroups = EdwDeriveGroups(def->query, &def->groups);
	choose_method(def, options, why_not);
}
