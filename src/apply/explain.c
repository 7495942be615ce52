/*
 * explain.c
 *		edw_stream.explain_table(stream, target): the statement that applies a batch.
 *
 * The usual one: with inserts, updates and deletes, in which every event gives all
 * columns. Columns and filters that are expressions are evaluated before, per event;
 * they are shown as comments.
 */
#include "postgres.h"

#include "apply/lookup.h"
#include "apply/merge_sql.h"
#include "apply/scd2.h"
#include "catalog/stream.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(edw_stream_explain_table);

static void
explain_lookups(StringInfo out, const EdwTarget *target)
{
	for (int l = 0; l < target->nlookups; l++)
	{
		const EdwLookup *lookup = &target->lookups[l];

		appendStringInfo(out, "-- s.%s: the members that the batch refers to\n%s;\n\n",
						 target->columns[lookup->column].quoted, EdwLookupSql(target, lookup, false));
		if (lookup->as_of >= 0)
			appendStringInfo(out, "-- of those that have no version that early\n%s;\n\n",
							 EdwLookupSql(target, lookup, true));
		if (lookup->def->missing == EDW_MISSING_INFER)
			appendStringInfo(out, "-- those that are missing\n%s;\n\n", EdwInferSql(lookup));
	}
}

static void
explain_mapping(StringInfo out, const EdwMappingDef *def, List *mappings)
{
	EdwShape   *shape = EdwShapeMake(EdwTargetDescribe(def, mappings));
	ListCell   *lc;

	/* a delete in a group arrives as an upsert of nulls (resolve.c) */
	shape->deletes = !shape->target->grouped;
	if (out->len > 0)
		appendStringInfoString(out, "\n\n");
	appendStringInfo(out, "-- topic: %s\n", def->topic);
	if (def->filter)
		appendStringInfo(out, "-- filter: %s\n", def->filter);
	foreach(lc, def->columns)
	{
		EdwColumnExpression *column = lfirst(lc);

		appendStringInfo(out, "-- s.%s: %s\n", quote_identifier(column->column), column->expression);
	}
	explain_lookups(out, shape->target);
	if (def->apply == EDW_APPLY_SCD2)
		appendStringInfoString(out, EdwVersionsExplain(shape->target));
	else
		appendStringInfoString(out, def->apply == EDW_APPLY_APPEND
							   ? EdwAppendSql(shape) : EdwMergeSql(shape));
}

Datum
edw_stream_explain_table(PG_FUNCTION_ARGS)
{
	char	   *stream = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Oid			target = PG_GETARG_OID(1);
	StringInfoData out;
	List	   *mappings;
	ListCell   *lc;

	EdwStreamCheckOwner(EdwStreamLoad(stream, false));
	initStringInfo(&out);
	mappings = EdwMappingLoadAll(stream);
	foreach(lc, mappings)
	{
		EdwMappingDef *def = lfirst(lc);

		if (def->target == target)
			explain_mapping(&out, def, mappings);
	}
	if (out.len == 0)
	{
		char	   *name = get_rel_name(target);

		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("table \"%s\" is not a target of stream \"%s\"",
						name ? name : psprintf("%u", target), stream),
				 errhint("The view edw_stream.tables lists the targets.")));
	}
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}
