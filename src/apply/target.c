/*
 * target.c
 *		Mappings made executable: a topic's route and its targets.
 *
 * A route is built in two passes: first every mapping says which fields of the
 * event it wants in which type, which gives the decoder's row type; then the expressions
 * are parsed over that. Needs a transaction; each target is locked ROW EXCLUSIVE until
 * its end, so that what is built fits the table for as long.
 *
 * Routes outlive transactions; watch.c tells when they are to be built anew. As
 * invalidations also come from VACUUM, and between building and applying,
 * EdwTargetCheckFresh compares the table itself once it is locked.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tupdesc.h"
#include "apply/lookup.h"
#include "apply/repoint.h"
#include "catalog/partition.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteHandler.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

/*
 * First pass: which fields are wanted.
 */

static const char *
column_expression(const EdwMappingDef *def, const char *column)
{
	ListCell   *lc;

	foreach(lc, def->columns)
	{
		EdwColumnExpression *expression = lfirst(lc);

		if (strcmp(expression->column, column) == 0)
			return expression->expression;
	}
	return NULL;
}

static bool
is_listed(List *columns, const char *column)
{
	ListCell   *lc;

	foreach(lc, columns)
		if (strcmp(lfirst(lc), column) == 0)
			return true;
	return false;
}

/* Columns of a version that the extension or the table itself gives. */
static bool
is_of_version(const EdwMappingDef *def, const List *primary_key, const char *name)
{
	const EdwScd2Def *scd2 = def->scd2;

	return scd2 != NULL &&
		(strcmp(name, scd2->valid_from) == 0 || strcmp(name, scd2->valid_to) == 0 ||
		 (scd2->current != NULL && strcmp(name, scd2->current) == 0) ||
		 (is_listed(unconstify(List *, primary_key), name) && !is_listed(def->keys, name)));
}

/* Which of the mapping's lookups fills the column, -1: none. */
static int
lookup_of(const EdwMappingDef *def, const char *name)
{
	ListCell   *lc;

	foreach(lc, def->lookups)
		if (strcmp(((EdwLookupDef *) lfirst(lc))->column, name) == 0)
			return foreach_current_index(lc);
	return -1;
}

static bool
is_written(const EdwMappingDef *def, const List *primary_key, Form_pg_attribute att)
{
	const char *name = NameStr(att->attname);

	if (att->attisdropped || strncmp(name, "_edw_", 5) == 0)
		return false;
	if (def->inferred && strcmp(name, EDW_INFERRED_COLUMN) == 0)
	{
		if (column_expression(def, name) == NULL)
			return false;
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"%s\" cannot be given by a mapping", name),
				 errdetail("Lookups of the stream make members of the table, and it tells them."),
				 errhint("Leave it out of columns.")));
	}
	if (is_of_version(def, primary_key, name))
	{
		if (column_expression(def, name) == NULL)
			return false;
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"%s\" is part of a version and cannot be given by a mapping", name),
				 errdetail("It is the surrogate key, or tells when the version is valid."),
				 errhint("Leave it out of columns.")));
	}
	if (is_listed(def->keys, name) || column_expression(def, name) != NULL || lookup_of(def, name) >= 0)
	{
		if (att->attgenerated == '\0')
			return true;
		ereport(ERROR,
				(errcode(ERRCODE_GENERATED_ALWAYS),
				 errmsg("generated column \"%s\" cannot be written by a mapping", name)));
	}
	return !def->has_columns && att->attgenerated == '\0' &&
		att->attidentity != ATTRIBUTE_IDENTITY_ALWAYS;
}

static char *
qualified_operator(Oid operator)
{
	HeapTuple	tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(operator));
	Form_pg_operator form;
	char	   *text;

	if (!HeapTupleIsValid(tuple))
		return NULL;
	form = (Form_pg_operator) GETSTRUCT(tuple);
	text = psprintf("OPERATOR(%s.%s)",
					quote_identifier(get_namespace_name(form->oprnamespace)), NameStr(form->oprname));
	ReleaseSysCache(tuple);
	return text;
}

/* The operators of the type's default order, which are those of its default index. */
void
EdwFindOperators(EdwTargetColumn *column)
{
	TypeCacheEntry *entry = lookup_type_cache(column->type, TYPECACHE_EQ_OPR | TYPECACHE_BTREE_OPFAMILY);

	column->equality = qualified_operator(entry->eq_opr);
	if (!OidIsValid(entry->btree_opf))
		return;
	column->less_equal =
		qualified_operator(get_opfamily_member(entry->btree_opf, entry->btree_opintype,
											   entry->btree_opintype, BTLessEqualStrategyNumber));
	column->greater_equal =
		qualified_operator(get_opfamily_member(entry->btree_opf, entry->btree_opintype,
											   entry->btree_opintype, BTGreaterEqualStrategyNumber));
}

static void
describe_column(EdwTargetColumn *column, Form_pg_attribute att, const EdwMappingDef *def)
{
	column->name = pstrdup(NameStr(att->attname));
	column->quoted = pstrdup(quote_identifier(column->name));
	column->attnum = att->attnum;
	column->typmod = att->atttypmod;
	column->type = getBaseTypeAndTypmod(att->atttypid, &column->typmod);
	column->text_typmod = column->typmod;
	column->collation = att->attcollation;
	get_typlenbyval(column->type, &column->typlen, &column->typbyval);
	column->always_identity = att->attidentity == ATTRIBUTE_IDENTITY_ALWAYS;
	column->is_key = is_listed(def->keys, column->name);
	if (column->is_key)
	{
		column->key_kind = EdwKeyKindOf(att->atttypid);
		EdwKeyTypeCheck(att->atttypid, att->attcollation, column->name);
		EdwFindOperators(column);
	}
}

/* The default as SQL text for the statement and planned for evaluate.c. */
static void
find_default(EdwTargetColumn *column, Relation rel, List *context)
{
	Node	   *dflt;

	if (column->always_identity)
		return;
	dflt = build_column_default(rel, column->attnum);
	if (dflt == NULL)
		return;
	column->dflt = deparse_expression(dflt, context, false, false);
	column->dflt_expr = expression_planner((Expr *) dflt);
}

/* All columns that the mapping writes, and what they want of the event. */
static void
collect_columns(EdwTarget *target, Relation rel, EdwInputDesc *input)
{
	TupleDesc	desc = RelationGetDescr(rel);
	const EdwMappingDef *def = target->def;
	List	   *context = deparse_context_for(RelationGetRelationName(rel), RelationGetRelid(rel));
	List	   *primary_key = EdwPrimaryKeyColumns(rel);

	target->columns = palloc0((desc->natts + EdwLookupHiddenColumns(def) + 1) * sizeof(EdwTargetColumn));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		EdwTargetColumn *column = &target->columns[target->ncolumns];
		const char *field;

		if (!is_written(def, primary_key, att))
			continue;
		target->ncolumns++;
		describe_column(column, att, def);
		find_default(column, rel, context);
		column->text = column_expression(def, column->name);
		field = EdwRenamedField(def, desc, column->text);
		column->lookup = lookup_of(def, column->name);
		if (column->lookup >= 0)
			column->input = -1;
		else if (column->text == NULL || field != NULL)
		{
			column->input = EdwWantField(input, def, field ? field : column->name,
										 column->type, column->typmod, column->is_key);
			column->text = NULL;
		}
		else
		{
			ListCell   *lc;

			column->input = -1;
			foreach(lc, EdwExpressionInputs(column->text))
				column->inputs = bms_add_member(column->inputs,
												EdwWantExpressionField(input, def, desc, lfirst(lc),
																	   column->is_key));
			column->audit = !column->is_key && EdwInputsAreMetadata(input, column->inputs);
		}
		if (column->type != NUMERICOID)
			column->typmod = -1;
	}
}

static void
check_named_columns(EdwTarget *target)
{
	ListCell   *lc;

	foreach(lc, target->def->columns)
	{
		EdwColumnExpression *expression = lfirst(lc);
		bool		found = false;

		for (int i = 0; i < target->ncolumns && !found; i++)
			found = strcmp(target->columns[i].name, expression->column) == 0;
		if (!found)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" of table %s does not exist or is edw_stream's own",
							expression->column, target->relation)));
	}
}

static void
find_keys(EdwTarget *target)
{
	ListCell   *lc;

	target->keys = palloc(Max(list_length(target->def->keys), 1) * sizeof(int));
	foreach(lc, target->def->keys)
	{
		int			i;

		for (i = 0; i < target->ncolumns; i++)
			if (strcmp(target->columns[i].name, lfirst(lc)) == 0)
				break;
		if (i == target->ncolumns)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("key column \"%s\" of table %s does not exist",
							(char *) lfirst(lc), target->relation)));
		target->keys[target->nkeys++] = i;
	}
	if (target->nkeys == 0 && target->def->apply != EDW_APPLY_APPEND)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("table %s has no key to upsert by", target->relation)));
}

/*
 * Partition key columns that are key columns: a batch's smallest and greatest value of them
 * prune partitions. Of other columns it would be wrong: the stored row may be elsewhere.
 */
static void
find_bounds(EdwTarget *target, Relation rel)
{
	PartitionKey key = RelationGetPartitionKey(rel);

	if (key == NULL || key->strategy == PARTITION_STRATEGY_HASH)
		return;
	target->bounds = palloc(key->partnatts * sizeof(int));
	for (int i = 0; i < key->partnatts; i++)
		for (int k = 0; k < target->nkeys; k++)
			if (target->columns[target->keys[k]].attnum == key->partattrs[i] &&
				target->columns[target->keys[k]].greater_equal != NULL)
				target->bounds[target->nbounds++] = target->keys[k];
}

static AttrNumber
own_column(EdwTarget *target, const char *name)
{
	AttrNumber	attnum = get_attnum(target->relid, name);

	if (attnum == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of table %s does not exist", name, target->relation),
				 errhint("Unmap the table and map it again: edw_stream.map_table adds the column.")));
	return attnum;
}

static int
column_index(const EdwTarget *target, const char *name)
{
	for (int i = 0; i < target->ncolumns; i++)
		if (strcmp(target->columns[i].name, name) == 0)
			return i;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" of table %s is not one that the mapping writes", name, target->relation),
			 errdetail("The options of the mapping name it."),
			 errhint("Give it in columns, or unmap the table and map it again without it.")));
}

/* The field that says since when a version is valid, and the column that shows it if there is one. */
static void
find_valid_time(EdwTarget *target, EdwInputDesc *input)
{
	const char *name = target->def->scd2->valid_time;
	EdwVersioned *versioned = target->versioned;

	versioned->valid_time_input = EdwWantField(input, target->def, name, versioned->time_type, -1, false);
	for (int i = 0; i < target->ncolumns; i++)
		if (strcmp(target->columns[i].name, name) == 0)
			versioned->valid_time = i;
}

/* What the options of apply => 'scd2' say of the table. */
static void
describe_versions(EdwTarget *target, Relation rel, EdwInputDesc *input)
{
	const EdwScd2Def *def = target->def->scd2;
	EdwVersioned *versioned = target->versioned = palloc0(sizeof(EdwVersioned));
	AttrNumber	from = own_column(target, def->valid_from);
	ListCell   *lc;

	versioned->time_type = TupleDescAttr(RelationGetDescr(rel), from - 1)->atttypid;
	versioned->valid_from = pstrdup(quote_identifier(def->valid_from));
	(void) own_column(target, def->valid_to);
	versioned->valid_to = pstrdup(quote_identifier(def->valid_to));
	if (def->current != NULL)
	{
		(void) own_column(target, def->current);
		versioned->current = pstrdup(quote_identifier(def->current));
	}
	versioned->open_null = def->open_null;
	versioned->valid_time_input = versioned->valid_time = -1;
	if (def->valid_time)
		find_valid_time(target, input);
	versioned->tracked = palloc0(Max(target->ncolumns, 1) * sizeof(bool));
	for (int i = 0; i < target->ncolumns; i++)
		versioned->tracked[i] = def->track == NIL && !target->columns[i].is_key &&
			!target->columns[i].audit && i != versioned->valid_time;
	foreach(lc, def->track)
		versioned->tracked[column_index(target, lfirst(lc))] = true;
	for (int i = 0; i < target->ncolumns; i++)
	{
		if (!target->columns[i].audit || versioned->tracked[i])
			continue;
		if (versioned->opening == NULL)
			versioned->opening = palloc0(target->ncolumns * sizeof(bool));
		versioned->opening[i] = true;
	}
}

/* What the stream's lookups make of it as a dimension. */
static void
describe_dimension(EdwTarget *target, Relation rel, List *mappings)
{
	const EdwMappingDef *def = target->def;
	ListCell   *lc;

	target->level = EdwLookupLevel(mappings, def);
	foreach(lc, def->unknown_member)
	{
		EdwColumnExpression *value = lfirst(lc);

		if (is_listed(EdwPrimaryKeyColumns(rel), value->column))
			target->unknown_member = psprintf("t.%s::pg_catalog.text OPERATOR(pg_catalog.<>) %s",
											  quote_identifier(value->column),
											  quote_literal_cstr(value->expression));
	}
}

static EdwTarget *
open_target(const EdwMappingDef *def, EdwInputDesc *input, List *mappings)
{
	Relation	rel = try_table_open(def->target, RowExclusiveLock);
	EdwTarget  *target = palloc0(sizeof(EdwTarget));

	if (rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("a table that stream \"%s\" maps topic \"%s\" to does not exist any more",
						def->stream, def->topic),
				 errhint("Create the table again and call edw_stream.map_table, which replaces the mapping, "
						 "or give it up with edw_stream.unmap_table('%s', %u).",
						 def->stream, def->target)));
	EdwWatchRelation(def->target);
	target->def = def;
	target->relid = def->target;
	target->relation = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
												  RelationGetRelationName(rel));
	target->rel_desc = CreateTupleDescCopyConstr(RelationGetDescr(rel));
	collect_columns(target, rel, input);
	describe_dimension(target, rel, mappings);
	EdwLookupsOpen(target, input, mappings);
	check_named_columns(target);
	find_keys(target);
	find_bounds(target, rel);
	target->seq_column = EdwGroupSeqColumn(def->group);
	(void) own_column(target, target->seq_column);
	target->seq_column = pstrdup(quote_identifier(target->seq_column));
	target->grouped = def->group != NULL;
	target->has_groups = target->grouped || EdwGroupNextColumn(target->rel_desc, 0) != 0;
	if (def->on_delete == EDW_DELETE_SOFT)
		target->deleted_attnum = own_column(target, "_edw_deleted");
	if (def->scd2)
	{
		describe_versions(target, rel, input);
		EdwReferrersFind(target, mappings);
	}
	if (def->filter)
	{
		ListCell   *lc;

		foreach(lc, EdwExpressionInputs(def->filter))
			target->filter_inputs =
				bms_add_member(target->filter_inputs,
							   EdwWantExpressionField(input, def, RelationGetDescr(rel), lfirst(lc), false));
	}
	table_close(rel, NoLock);
	return target;
}

/*
 * Second pass: expressions over the row that the decoder will deliver.
 */

/* The inputs as a row type in which only these columns have names. */
static TupleDesc
input_row_type(const EdwInputDesc *input, const Bitmapset *named)
{
	TupleDesc	desc = CreateTemplateTupleDesc(Max(input->ncolumns, 1));

	for (int i = 0; i < input->ncolumns; i++)
		TupleDescInitEntry(desc, i + 1,
						   bms_is_member(i, named) ? input->columns[i].name : "",
						   input->columns[i].type, input->columns[i].typmod, 0);
	if (input->ncolumns == 0)
		TupleDescInitEntry(desc, 1, "", TEXTOID, -1, 0);
	return desc;
}

static void
make_expressions(EdwRoute *route, EdwTarget *target)
{
	for (int i = 0; i < target->ncolumns; i++)
	{
		EdwTargetColumn *column = &target->columns[i];

		if (column->text == NULL)
			continue;
		EdwWatchFunctions();
		route->has_expressions = true;
		column->planned = EdwExpressionMake(column->text, input_row_type(&route->input, column->inputs),
											column->type, column->text_typmod,
											psprintf("column \"%s\"", column->name),
											&column->inputs);
	}
	if (target->def->filter)
	{
		EdwWatchFunctions();
		route->has_expressions = true;
		target->planned_filter = EdwExpressionMake(target->def->filter,
												   input_row_type(&route->input, target->filter_inputs),
												   BOOLOID, -1, "filter", &target->filter_inputs);
	}
}

void
EdwRoutePrepare(EdwRoute *route)
{
	MemoryContext old;

	MemoryContextReset(route->run_context);
	old = MemoryContextSwitchTo(route->run_context);

	/* made always: defaults are evaluated in it, too */
	route->econtext = CreateStandaloneExprContext();
	route->slot = MakeSingleTupleTableSlot(route->input_desc, &TTSOpsVirtual);
	for (int i = 0; i < route->ntargets && route->has_expressions; i++)
	{
		EdwTarget  *target = route->targets[i];

		for (int k = 0; k < target->ncolumns; k++)
			if (target->columns[k].planned)
				target->columns[k].expression = ExecInitExpr(target->columns[k].planned, NULL);
		target->filter = ExecInitExpr(target->planned_filter, NULL);
	}
	MemoryContextSwitchTo(old);
}

EdwRoute *
EdwRouteBuild(const char *topic, List *mappings)
{
	EdwRoute   *route = palloc0(sizeof(EdwRoute));
	ListCell   *lc;
	int			level = EdwPinSearchPath();

	route->topic = pstrdup(topic);
	route->targets = palloc(Max(list_length(mappings), 1) * sizeof(EdwTarget *));
	foreach(lc, mappings)
	{
		const EdwMappingDef *def = lfirst(lc);

		if (!EdwMappingMatchesTopic(def, topic))
			continue;
		route->targets[route->ntargets++] = open_target(def, &route->input, mappings);

		/* also where the key is the primary key: it need not be the source's */
		route->input.want_old_key |= def->apply != EDW_APPLY_APPEND;
	}
	for (int i = 0; i < route->ntargets; i++)
		make_expressions(route, route->targets[i]);

	route->input_desc = input_row_type(&route->input, NULL);
	route->run_context = AllocSetContextCreate(CurrentMemoryContext, "edw_stream expressions",
											   ALLOCSET_SMALL_SIZES);
	EdwRoutePrepare(route);
	EdwUnpinSearchPath(level);
	return route;
}

EdwTarget *
EdwTargetDescribe(const EdwMappingDef *def, List *mappings)
{
	EdwInputDesc input = {0};
	int			level = EdwPinSearchPath();
	EdwTarget  *target = open_target(def, &input, mappings);

	EdwUnpinSearchPath(level);
	return target;
}

/*
 * DDL may have been committed between the decoding of a batch and its application. The
 * caller retries with routes built anew.
 */
void
EdwTargetCheckFresh(EdwTarget *target)
{
	Relation	rel = try_table_open(target->relid, RowExclusiveLock);

	if (rel != NULL && equalTupleDescs(RelationGetDescr(rel), target->rel_desc))
	{
		table_close(rel, NoLock);
		return;
	}
	EdwRoutesMarkStale();
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("table %s changed while events for it were being read", target->relation)));
}
