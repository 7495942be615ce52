/*
 * lookup_sql.c
 *		The text of the statements that look members up and infer them. Pure.
 */
#include "postgres.h"

#include "apply/lookup.h"
#include "utils/builtins.h"

static void
append_match(StringInfo sql, const EdwTarget *target, const EdwLookup *lookup)
{
	for (int i = 0; i < lookup->nmatch; i++)
		appendStringInfo(sql, "%sd.%s %s s.m%d", i == 0 ? "" : " AND ", lookup->match_quoted[i],
						 target->columns[lookup->match[i]].equality, i);
}

/* The key in the type of the target's column. */
static char *
surrogate(const EdwTarget *target, const EdwLookup *lookup)
{
	return psprintf("d.%s::%s", lookup->key,
					format_type_be_qualified(target->columns[lookup->column].type));
}

char *
EdwLookupSql(const EdwTarget *target, const EdwLookup *lookup, bool first)
{
	StringInfoData sql;
	const char *from;

	initStringInfo(&sql);
	if (lookup->as_of < 0)
	{
		appendStringInfo(&sql, "SELECT s._edw_row, %s, d.ctid\nFROM " EDW_MEMBERS_RELATION " AS s JOIN %s AS d ON ",
						 surrogate(target, lookup), lookup->relation);
		append_match(&sql, target, lookup);
		return sql.data;
	}
	from = quote_identifier(lookup->dimension->scd2->valid_from);
	appendStringInfo(&sql, "SELECT s._edw_row, v.k, v.ctid\nFROM " EDW_MEMBERS_RELATION " AS s CROSS JOIN LATERAL"
					 "\n\t(SELECT %s AS k, d.ctid FROM %s AS d WHERE ", surrogate(target, lookup), lookup->relation);
	append_match(&sql, target, lookup);
	if (first)
		appendStringInfo(&sql, "\n\tORDER BY d.%s LIMIT 1) AS v", from);
	else
		appendStringInfo(&sql, " AND d.%s OPERATOR(pg_catalog.<=) s._edw_as_of\n\tORDER BY d.%s DESC LIMIT 1) AS v",
						 from, from);
	return sql.data;
}

char *
EdwInferSql(const EdwLookup *lookup)
{
	StringInfoData columns;
	StringInfoData values;

	initStringInfo(&columns);
	initStringInfo(&values);
	for (int i = 0; i < lookup->nmatch; i++)
	{
		appendStringInfo(&columns, "%s, ", lookup->match_quoted[i]);
		appendStringInfo(&values, "s.m%d, ", i);
	}
	if (lookup->as_of < 0)
	{
		/* with the last comma cut off, the columns that the index is over */
		char	   *natural = pnstrdup(columns.data, columns.len - 2);

		return psprintf("INSERT INTO %s (%s" EDW_INFERRED_COLUMN ")\n\tSELECT %strue FROM "
						EDW_MEMBERS_RELATION " AS s\n\tON CONFLICT (%s) DO NOTHING",
						lookup->relation, columns.data, values.data, natural);
	}
	appendStringInfo(&columns, "%s, %s, ", quote_identifier(lookup->dimension->scd2->valid_from),
					 quote_identifier(lookup->dimension->scd2->valid_to));
	appendStringInfo(&values, "s._edw_as_of, %s, ", lookup->dimension->scd2->open_null ? "NULL" : "'infinity'");
	if (lookup->dimension->scd2->current)
	{
		appendStringInfo(&columns, "%s, ", quote_identifier(lookup->dimension->scd2->current));
		appendStringInfoString(&values, "true, ");
	}
	return psprintf("INSERT INTO %s (%s" EDW_INFERRED_COLUMN ")\n\tSELECT %strue FROM "
					EDW_MEMBERS_RELATION " AS s", lookup->relation, columns.data, values.data);
}
