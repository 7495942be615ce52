/*
 * lookup_target.c
 *		Lookups as part of a target (see lookup.h).
 *
 * Runs while a route is built, within a transaction. The dimension is locked ACCESS SHARE until its end,
 * and watched: when it changes, the route is built anew.
 */
#include "postgres.h"

#include "access/relation.h"
#include "apply/member_cache.h"
#include "apply/version_time.h"
#include "catalog/mapping_target.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* the target while its lookups are opened */
typedef struct Opening
{
	EdwTarget  *target;
	EdwInputDesc *input;
	EdwLookup  *lookup;
	Relation	dimension;
} Opening;

int
EdwLookupHiddenColumns(const EdwMappingDef *def)
{
	int			n = 0;
	ListCell   *lc;

	foreach(lc, def->lookups)
		n += list_length(((EdwLookupDef *) lfirst(lc))->match) + 1;
	return n;
}

/* A column that is not the table's, of the type of one of the dimension's. */
static EdwTargetColumn *
add_hidden(EdwTarget *target, Oid type, int32 typmod, Oid collation, const char *name)
{
	EdwTargetColumn *column = &target->columns[target->ncolumns++];

	column->name = pstrdup(name);
	column->quoted = column->name;
	column->typmod = typmod;
	column->type = getBaseTypeAndTypmod(type, &column->typmod);
	column->text_typmod = column->typmod;
	if (column->type != NUMERICOID)
		column->typmod = -1;
	column->collation = collation;
	column->input = column->lookup = -1;
	get_typlenbyval(column->type, &column->typlen, &column->typbyval);
	return column;
}

/*
 * What a hidden column is made from: a bare field is read in the column's own type, as it would be for a
 * column of that name.
 */
static void
set_expression(Opening *opening, EdwTargetColumn *column, const char *text)
{
	const EdwMappingDef *def = opening->target->def;
	char	   *field = EdwExpressionField(text);
	ListCell   *lc;

	if (field != NULL)
	{
		column->input = EdwWantField(opening->input, def, field, column->type, column->text_typmod, false);
		return;
	}
	column->text = text;
	foreach(lc, EdwExpressionInputs(text))
		column->inputs =
			bms_add_member(column->inputs,
						   EdwWantExpressionField(opening->input, def, opening->target->rel_desc,
												  lfirst(lc), false));
}

static void
open_match(Opening *opening)
{
	EdwLookup  *lookup = opening->lookup;
	ListCell   *lc;

	lookup->nmatch = list_length(lookup->def->match);
	lookup->match = palloc(lookup->nmatch * sizeof(int));
	lookup->match_quoted = palloc(lookup->nmatch * sizeof(char *));
	foreach(lc, lookup->def->match)
	{
		EdwColumnExpression *entry = lfirst(lc);
		AttrNumber	attnum = EdwRequireColumn(opening->dimension, entry->column);
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(opening->dimension), attnum - 1);
		EdwTargetColumn *column;

		lookup->match[foreach_current_index(lc)] = opening->target->ncolumns;
		lookup->match_quoted[foreach_current_index(lc)] = pstrdup(quote_identifier(entry->column));
		column = add_hidden(opening->target, att->atttypid, att->atttypmod, att->attcollation,
							psprintf("%s.%s", lookup->def->column, entry->column));
		column->key_kind = EdwKeyKindOf(att->atttypid);
		EdwFindOperators(column);
		set_expression(opening, column, entry->expression);
	}
}

static void
open_as_of(Opening *opening)
{
	EdwLookup  *lookup = opening->lookup;
	const EdwScd2Def *scd2 = lookup->dimension->scd2;
	AttrNumber	attnum = EdwRequireColumn(opening->dimension, scd2->valid_from);
	EdwTargetColumn *column;

	lookup->time_type = TupleDescAttr(RelationGetDescr(opening->dimension), attnum - 1)->atttypid;
	lookup->as_of = opening->target->ncolumns;
	column = add_hidden(opening->target, lookup->time_type, -1, InvalidOid,
						psprintf("%s.as_of", lookup->def->column));
	column->key_kind = EdwKeyKindOf(lookup->time_type);
	if (lookup->def->as_of)
		set_expression(opening, column, lookup->def->as_of);
	else
		column->source_time = true;
}

/* Others may have dropped the index or the dimension's mapping since map_table looked. */
static void
check_unique(Opening *opening)
{
	const EdwLookup *lookup = opening->lookup;
	Bitmapset  *attnums = NULL;
	ListCell   *lc;

	foreach(lc, lookup->def->match)
		attnums = bms_add_member(attnums, EdwRequireColumn(opening->dimension,
														   ((EdwColumnExpression *) lfirst(lc))->column));
	if (!EdwHasUniqueIndex(opening->dimension, attnums, lookup->def->missing == EDW_MISSING_INFER))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("dimension %s has no unique index over the columns that column \"%s\" is matched by",
						lookup->relation, lookup->def->column),
				 errhint("Create the index again, or map the dimension with apply => 'scd2' in this stream.")));
}

static Datum
unknown_key(Opening *opening)
{
	const EdwTargetColumn *column = &opening->target->columns[opening->lookup->column];
	Oid			input;
	Oid			ioparam;

	getTypeInputInfo(column->type, &input, &ioparam);
	return OidInputFunctionCall(input, unconstify(char *, opening->lookup->def->unknown), ioparam, -1);
}

static void
open_lookup(Opening *opening, const EdwLookupDef *def, List *mappings)
{
	EdwLookup  *lookup = opening->lookup;

	if (!OidIsValid(def->dimension) ||
		(opening->dimension = try_relation_open(def->dimension, AccessShareLock)) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("dimension %s does not exist", def->dimension_name)));
	EdwWatchRelation(def->dimension);
	lookup->def = def;
	lookup->relation = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(opening->dimension)),
												  RelationGetRelationName(opening->dimension));
	(void) EdwRequireColumn(opening->dimension, def->key);
	lookup->key = pstrdup(quote_identifier(def->key));
	lookup->dimension = EdwMappingOfTarget(mappings, def->dimension);
	lookup->as_of = -1;
	open_match(opening);
	if (lookup->dimension && lookup->dimension->scd2)
		open_as_of(opening);
	else
		check_unique(opening);
	if (opening->target->columns[lookup->column].type ==
		getBaseType(get_atttype(def->dimension, EdwRequireColumn(opening->dimension, def->key))))
		lookup->cache = EdwMemberCacheCreate(lookup, opening->dimension);
	if (def->missing == EDW_MISSING_UNKNOWN)
		lookup->unknown = unknown_key(opening);
	relation_close(opening->dimension, NoLock);
}

/* After the table's own columns have been collected. */
void
EdwLookupsOpen(EdwTarget *target, EdwInputDesc *input, List *mappings)
{
	const EdwMappingDef *def = target->def;
	int			own = target->ncolumns;
	ListCell   *lc;

	target->lookups = palloc0(Max(list_length(def->lookups), 1) * sizeof(EdwLookup));
	foreach(lc, def->lookups)
	{
		Opening		opening = {target, input, &target->lookups[target->nlookups], NULL};
		int			i = 0;

		while (i < own && target->columns[i].lookup != foreach_current_index(lc))
			i++;
		if (i == own)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" of table %s does not exist",
							((EdwLookupDef *) lfirst(lc))->column, target->relation)));
		opening.lookup->column = i;
		target->nlookups++;
		open_lookup(&opening, lfirst(lc), mappings);
	}
}
