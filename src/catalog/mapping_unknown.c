/*
 * mapping_unknown.c
 *		The unknown member of a dimension (see mapping_unknown.h).
 *
 * Runs as the caller of map_table, within his transaction, with the dimension locked.
 */
#include "postgres.h"

#include "catalog/mapping_target.h"
#include "catalog/mapping_unknown.h"
#include "catalog/namespace.h"
#include "catalog/options.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* what a text column shows that must show something */
#define UNKNOWN_TEXT	"unknown"

List *
EdwUnknownMemberParse(Jsonb *options)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(&options->root, EDW_UNKNOWN_OPTION, strlen(EDW_UNKNOWN_OPTION),
									 &value) == NULL ||
		value.type != jbvBinary)
		return NIL;
	return EdwColumnExpressionsParse(JsonbValueToJsonb(&value));
}

static const char *
value_of(List *member, const char *column)
{
	ListCell   *lc;

	foreach(lc, member)
	{
		EdwColumnExpression *entry = lfirst(lc);

		if (strcmp(entry->column, column) == 0)
			return entry->expression;
	}
	return NULL;
}

static List *
add_value(List *member, const char *column, const char *value)
{
	EdwColumnExpression *entry = palloc0(sizeof(EdwColumnExpression));

	if (value_of(member, column) != NULL)
		return member;
	entry->column = pstrdup(column);
	entry->expression = pstrdup(value);
	return lappend(member, entry);
}

/* The option's object: values may be any JSON scalar, and are kept as text. */
static List *
object_values(Jsonb *object, Relation rel)
{
	JsonbIterator *it = JsonbIteratorInit(&object->root);
	JsonbValue	v;
	JsonbIteratorToken token;
	List	   *member = NIL;

	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		char	   *column;
		char	   *value;

		if (token != WJB_KEY)
			continue;
		column = pnstrdup(v.val.string.val, v.val.string.len);
		(void) EdwRequireColumn(rel, column);
		value = EdwOptionText(object, column);
		if (value != NULL)
			member = add_value(member, column, value);
	}
	return member;
}

static char *
surrogate_column(Relation rel)
{
	List	   *primary = EdwPrimaryKeyColumns(rel);

	if (list_length(primary) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("table \"%s\" has no primary key of one column for option \"%s\"",
						RelationGetRelationName(rel), EDW_UNKNOWN_OPTION),
				 errdetail("It is the surrogate key that facts refer to.")));
	return linitial(primary);
}

/* What a column that must have a value gets: the surrogate key's, as far as its type can hold that. */
static const char *
made_up_value(Form_pg_attribute att, const char *key)
{
	switch (getBaseType(att->atttypid))
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case NUMERICOID:
			return strspn(key, "-0123456789") == strlen(key) ? key : NULL;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			return UNKNOWN_TEXT;
		case BOOLOID:
			return "false";
		default:
			return NULL;
	}
}

static List *
add_required(List *member, Relation rel, const char *key)
{
	TupleDesc	desc = RelationGetDescr(rel);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);
		const char *value;

		if (att->attisdropped || !att->attnotnull || att->atthasdef || att->attidentity != '\0' ||
			value_of(member, NameStr(att->attname)) != NULL)
			continue;
		value = made_up_value(att, key);
		if (value == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_NOT_NULL_VIOLATION),
					 errmsg("the unknown member of table \"%s\" has no value for column \"%s\"",
							RelationGetRelationName(rel), NameStr(att->attname)),
					 errhint("Give it: '{\"%s\": {\"%s\": …}}'.", EDW_UNKNOWN_OPTION, NameStr(att->attname))));
		member = add_value(member, NameStr(att->attname), value);
	}
	return member;
}

/* It was always there and is there now. */
static List *
add_validity(List *member, const EdwScd2Def *scd2)
{
	member = add_value(member, scd2->valid_from, "-infinity");
	if (!scd2->open_null)
		member = add_value(member, scd2->valid_to, "infinity");
	if (scd2->current)
		member = add_value(member, scd2->current, "true");
	return member;
}

/* Natural keys that may be null get a value too: one that no event has. */
static List *
add_keys(List *member, Relation rel, List *keys, const char *key)
{
	ListCell   *lc;

	foreach(lc, keys)
	{
		AttrNumber	attnum = EdwRequireColumn(rel, lfirst(lc));
		const char *value = made_up_value(TupleDescAttr(RelationGetDescr(rel), attnum - 1), key);

		if (value != NULL)
			member = add_value(member, lfirst(lc), value);
	}
	return member;
}

static Jsonb *
with_member(Jsonb *options, List *member)
{
	StringInfoData text;
	ListCell   *lc;

	initStringInfo(&text);
	appendStringInfo(&text, "{\"%s\": {", EDW_UNKNOWN_OPTION);
	foreach(lc, member)
	{
		EdwColumnExpression *entry = lfirst(lc);

		if (foreach_current_index(lc) > 0)
			appendStringInfoString(&text, ", ");
		escape_json(&text, entry->column);
		appendStringInfoString(&text, ": ");
		escape_json(&text, entry->expression);
	}
	appendStringInfoString(&text, "}}");
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(options),
											  DirectFunctionCall1(jsonb_in, CStringGetDatum(text.data))));
}

Jsonb *
EdwUnknownMemberComplete(Jsonb *options, Relation rel, List *keys, EdwApplyMode apply)
{
	char	   *given = EdwOptionText(options, EDW_UNKNOWN_OPTION);
	char	   *surrogate;
	List	   *member = NIL;
	const char *key;

	if (given == NULL)
		return options;
	surrogate = surrogate_column(rel);
	if (given[0] == '{')
		member = object_values(DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(given))), rel);
	else
		member = add_value(NIL, surrogate, given);
	member = add_value(member, surrogate, "-1");
	key = value_of(member, surrogate);
	if (apply == EDW_APPLY_SCD2)
		member = add_validity(member, EdwScd2OptionsParse(options));
	member = add_keys(member, rel, keys, key);
	return with_member(options, add_required(member, rel, key));
}

void
EdwUnknownMemberInsert(Relation rel, List *member)
{
	StringInfoData columns;
	StringInfoData values;
	char	   *name = quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
												  RelationGetRelationName(rel));
	char	   *surrogate;
	ListCell   *lc;

	if (member == NIL)
		return;
	surrogate = surrogate_column(rel);
	initStringInfo(&columns);
	initStringInfo(&values);
	foreach(lc, member)
	{
		EdwColumnExpression *entry = lfirst(lc);

		appendStringInfo(&columns, "%s%s", columns.len > 0 ? ", " : "", quote_identifier(entry->column));
		appendStringInfo(&values, "%s%s", values.len > 0 ? ", " : "", quote_literal_cstr(entry->expression));
	}
	SPI_connect();
	if (SPI_execute(psprintf("INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s"
							 " WHERE NOT EXISTS (SELECT FROM %s AS t WHERE t.%s::pg_catalog.text OPERATOR(pg_catalog.=) %s)",
							 name, columns.data, values.data, name, quote_identifier(surrogate),
							 quote_literal_cstr(value_of(member, surrogate))), false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not insert the unknown member of table %s", name);
	SPI_finish();
}
