/*
 * mapping_lookup_check.c
 *		What map_table demands of lookups and their dimensions (see mapping_lookup.h).
 *
 * Runs as the caller of map_table, within his transaction, with the target locked; a dimension is
 * locked ACCESS SHARE. What can be checked here is not checked again when the stream runs, but for
 * what others may change meanwhile (apply/lookup.c).
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/sysattr.h"
#include "apply/expression.h"
#include "apply/key.h"
#include "catalog/mapping.h"
#include "catalog/mapping_lookup.h"
#include "catalog/mapping_target.h"
#include "catalog/options.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "catalog/stream.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "parser/parse_coerce.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* one lookup while it is checked */
typedef struct Check
{
	EdwLookupDef *lookup;
	Relation	rel;			/* the target */
	Relation	dimension;
	const EdwMappingDef *mapping;	/* of the dimension in this stream, NULL: none */
	List	   *columns;		/* EdwColumnExpression *, of the target's mapping */
} Check;

static bool
is_listed(List *names, const char *name)
{
	ListCell   *lc;

	foreach(lc, names)
		if (strcmp(lfirst(lc), name) == 0)
			return true;
	return false;
}

static const char *
expression_of(List *columns, const char *column)
{
	ListCell   *lc;

	foreach(lc, columns)
	{
		EdwColumnExpression *entry = lfirst(lc);

		if (strcmp(entry->column, column) == 0)
			return entry->expression;
	}
	return NULL;
}

static Form_pg_attribute
find_attribute(Relation rel, const char *column)
{
	return TupleDescAttr(RelationGetDescr(rel), EdwRequireColumn(rel, column) - 1);
}

/*
 * The target's column
 */

static void
check_column(Check *check, List *keys)
{
	const char *column = check->lookup->column;

	EdwMappingTargetCheckColumn(check->rel, column);
	if (is_listed(keys, column))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key column \"%s\" cannot be looked up", column),
				 errdetail("Keys tell rows apart before any table is read."),
				 errhint("Use the natural key's columns as keys.")));
	if (expression_of(check->columns, column) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("column \"%s\" is given both by columns and by lookups", column)));
}

/*
 * The dimension
 */

static void
check_privileges(Check *check, Oid owner)
{
	AclMode		needed = ACL_SELECT | (check->lookup->missing == EDW_MISSING_INFER ? ACL_INSERT : 0);
	Oid			relid = RelationGetRelid(check->dimension);

	if (pg_class_aclmask(relid, GetUserId(), needed, ACLMASK_ALL) != needed)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, RelationGetRelationName(check->dimension));
	if (pg_class_aclmask(relid, owner, needed, ACLMASK_ALL) != needed)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("the stream's owner \"%s\" may not use dimension %s",
						GetUserNameFromId(owner, false), check->lookup->dimension_name),
				 errhint("The stream's worker runs as that role: GRANT SELECT%s on the table to it.",
						 needed & ACL_INSERT ? ", INSERT" : "")));
}

static bool
is_kept_elsewhere(Oid dimension, const char *stream)
{
	Oid			types[] = {OIDOID, TEXTOID};
	Datum		args[2];

	args[0] = ObjectIdGetDatum(dimension);
	args[1] = CStringGetTextDatum(stream);
	return EdwCatalogExecute("SELECT FROM edw_stream.mapping"
							 " WHERE target::pg_catalog.oid OPERATOR(pg_catalog.=) $1"
							 " AND stream OPERATOR(pg_catalog.<>) $2", 2, types, args, NULL) > 0;
}

/* Who writes the dimension: what is missing can be made, or waited for, only in one order with it. */
static void
check_writer(Check *check, const char *stream)
{
	const EdwLookupDef *lookup = check->lookup;
	const char *option = lookup->repoint ? "repoint" : EdwMissingNames[lookup->missing];
	bool		needs_mapping = lookup->missing == EDW_MISSING_WAIT || lookup->repoint;

	if (needs_mapping && check->mapping == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" needs that stream \"%s\" maps dimension %s as well", option, stream,
						lookup->dimension_name),
				 errdetail("Nobody would notice when a member comes or changes."),
				 errhint("Map the dimension first.")));
	if (lookup->missing == EDW_MISSING_INFER && check->mapping == NULL &&
		is_kept_elsewhere(lookup->dimension, stream))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("members of dimension %s cannot be inferred by stream \"%s\"",
						lookup->dimension_name, stream),
				 errdetail("Another stream writes it, and two streams have no common order in which to write."),
				 errhint("List the topics of both in one stream, or use another value of \"missing\".")));
}

/* The match columns as a set of attribute numbers. */
static Bitmapset *
match_columns(Check *check)
{
	Bitmapset  *attnums = NULL;
	ListCell   *lc;

	foreach(lc, check->lookup->match)
	{
		EdwColumnExpression *entry = lfirst(lc);
		Form_pg_attribute att = find_attribute(check->dimension, entry->column);

		EdwKeyTypeCheck(att->atttypid, att->attcollation, entry->column);
		EdwCheckExpression(entry->expression, psprintf("lookup of column \"%s\"", check->lookup->column));
		attnums = bms_add_member(attnums, att->attnum);
	}
	return attnums;
}

static bool
is_natural_key(const Check *check)
{
	ListCell   *lc;

	if (list_length(check->mapping->keys) != list_length(check->lookup->match))
		return false;
	foreach(lc, check->lookup->match)
		if (!is_listed(check->mapping->keys, ((EdwColumnExpression *) lfirst(lc))->column))
			return false;
	return true;
}

static char *
join_names(List *names)
{
	StringInfoData text;
	ListCell   *lc;

	initStringInfo(&text);
	foreach(lc, names)
		appendStringInfo(&text, "%s%s", text.len > 0 ? ", " : "", quote_identifier(lfirst(lc)));
	return text.data;
}

/* One row, or the versions of one member, have a natural key. */
static void
check_match(Check *check)
{
	const EdwLookupDef *lookup = check->lookup;
	Bitmapset  *attnums = match_columns(check);
	bool		versioned = check->mapping != NULL && check->mapping->apply == EDW_APPLY_SCD2;

	if (check->mapping != NULL && check->mapping->apply == EDW_APPLY_APPEND)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("table %s, which events are appended to, is no dimension", lookup->dimension_name)));
	if ((versioned || lookup->missing == EDW_MISSING_WAIT ||
		 (check->mapping != NULL && lookup->missing == EDW_MISSING_INFER)) && !is_natural_key(check))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"match\" of column \"%s\" is not the natural key of dimension %s",
						lookup->column, lookup->dimension_name),
				 errhint("Match exactly the keys of its mapping: %s.", join_names(check->mapping->keys))));
	if (!versioned && !EdwHasUniqueIndex(check->dimension, attnums, lookup->missing == EDW_MISSING_INFER))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("dimension %s has no unique index over the columns that column \"%s\" is matched by",
						lookup->dimension_name, lookup->column),
				 errdetail("There must be one member for a natural key."),
				 errhint("Create the index, or map the dimension with apply => 'scd2' in this stream first.")));
	if (lookup->as_of == NULL)
		return;
	if (!versioned)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"as_of\" of column \"%s\" is for a dimension with versions", lookup->column),
				 errdetail("Dimension %s has one row for each member.", lookup->dimension_name),
				 errhint("Leave it out, or map the dimension with apply => 'scd2' in this stream first.")));
	EdwCheckExpression(lookup->as_of, psprintf("as_of of column \"%s\"", lookup->column));
}

/* The surrogate key: the column that was named, or the primary key's only one. */
static void
check_key(Check *check)
{
	EdwLookupDef *lookup = check->lookup;
	Form_pg_attribute from;
	Form_pg_attribute to = find_attribute(check->rel, lookup->column);

	if (lookup->key == NULL)
	{
		List	   *primary = EdwPrimaryKeyColumns(check->dimension);

		if (list_length(primary) != 1)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("cannot tell the surrogate key of dimension %s", lookup->dimension_name),
					 errdetail("It has no primary key of one column."),
					 errhint("Name the column with \"key\".")));
		lookup->key = linitial(primary);
	}
	from = find_attribute(check->dimension, lookup->key);
	if (!can_coerce_type(1, &from->atttypid, &to->atttypid, COERCION_ASSIGNMENT))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" is of type %s, but key \"%s\" of dimension %s is of type %s",
						lookup->column, format_type_be(to->atttypid), lookup->key,
						lookup->dimension_name, format_type_be(from->atttypid))));
}

static void
check_infer(Check *check)
{
	const EdwLookupDef *lookup = check->lookup;
	AttrNumber	attnum = get_attnum(RelationGetRelid(check->dimension), EDW_INFERRED_COLUMN);
	Form_pg_attribute key = find_attribute(check->dimension, lookup->key);

	if (attnum == InvalidAttrNumber ||
		TupleDescAttr(RelationGetDescr(check->dimension), attnum - 1)->atttypid != BOOLOID)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("dimension %s has no boolean column \"%s\"", lookup->dimension_name, EDW_INFERRED_COLUMN),
				 errdetail("It tells members that were made for a fact from those that the source has sent."),
				 errhint("ALTER TABLE %s ADD COLUMN %s boolean NOT NULL DEFAULT false;",
						 lookup->dimension_name, EDW_INFERRED_COLUMN)));
	if (check->mapping != NULL && expression_of(check->mapping->columns, EDW_INFERRED_COLUMN) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the mapping of dimension %s gives column \"%s\"", lookup->dimension_name, EDW_INFERRED_COLUMN),
				 errdetail("It tells members that were made for a fact from those that the source has sent.")));
	if (!key->atthasdef && key->attidentity == '\0' &&
		expression_of(lookup->match, lookup->key) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("key \"%s\" of dimension %s has no default", lookup->key, lookup->dimension_name),
				 errdetail("An inferred member needs a surrogate key, which no event gives."),
				 errhint("Use GENERATED BY DEFAULT AS IDENTITY, or a default such as gen_random_uuid().")));
}

/* The unknown member: that of the lookup, of the dimension's mapping, or -1. It must be there. */
static void
check_unknown(Check *check)
{
	EdwLookupDef *lookup = check->lookup;
	Form_pg_attribute key = find_attribute(check->dimension, lookup->key);
	char	   *sql;

	if (lookup->unknown == NULL && check->mapping != NULL)
		lookup->unknown = expression_of(check->mapping->unknown_member, lookup->key);
	if (lookup->unknown == NULL)
		lookup->unknown = "-1";
	sql = psprintf("SELECT FROM %s AS d WHERE d.%s OPERATOR(pg_catalog.=) %s::%s",
				   lookup->dimension_name, quote_identifier(lookup->key),
				   quote_literal_cstr(lookup->unknown), format_type_be_qualified(key->atttypid));
	SPI_connect();
	SPI_execute(sql, true, 1);
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("dimension %s has no member with key %s", lookup->dimension_name, lookup->unknown),
				 errhint("Map the dimension with options => '{\"unknown_member\": %s}', or insert the row and name its key with \"unknown\".",
						 lookup->unknown)));
	SPI_finish();
}

/* Facts are found again by the key they have, and their time tells which version they belong to. */
static void
check_repoint(Check *check, bool has_columns)
{
	const EdwLookupDef *lookup = check->lookup;
	char	   *column = EdwLookupTimeColumn(check->columns, has_columns, lookup->as_of);
	Form_pg_attribute from;
	Form_pg_attribute at;

	if (check->mapping->scd2 == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"repoint\" of column \"%s\" is for a dimension with versions", lookup->column),
				 errdetail("Dimension %s has one row for each member.", lookup->dimension_name),
				 errhint("Leave it out.")));
	if (column == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"repoint\" of column \"%s\" needs a column with the time of the facts", lookup->column),
				 errdetail("A version that comes late concerns the facts of its time."),
				 errhint("Give a column the expression %s.", lookup->as_of ? lookup->as_of : "$source_ts")));
	from = find_attribute(check->dimension, check->mapping->scd2->valid_from);
	at = find_attribute(check->rel, column);
	if (getBaseType(at->atttypid) != from->atttypid)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" is of type %s, but \"%s\" of dimension %s is of type %s",
						column, format_type_be(at->atttypid), check->mapping->scd2->valid_from,
						lookup->dimension_name, format_type_be(from->atttypid)),
				 errhint("\"repoint\" compares them: make them of one type.")));
	if (!EdwHasIndexOn(check->rel, list_make1(pstrdup(lookup->column))))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("table \"%s\" has no index that begins with column \"%s\"",
						RelationGetRelationName(check->rel), lookup->column),
				 errdetail("The facts of a member are found by it."),
				 errhint("CREATE INDEX ON %s (%s, %s);",
						 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(check->rel)),
													RelationGetRelationName(check->rel)),
						 quote_identifier(lookup->column), quote_identifier(column))));
}

static bool
reaches(List *mappings, Oid from, Oid target)
{
	ListCell   *lc;
	ListCell   *l;

	if (from == target)
		return true;
	foreach(lc, mappings)
	{
		const EdwMappingDef *def = lfirst(lc);

		if (def->target != from)
			continue;
		foreach(l, def->lookups)
			if (reaches(mappings, ((EdwLookupDef *) lfirst(l))->dimension, target))
				return true;
	}
	return false;
}

static void
check_dimension(Check *check, Oid owner, const char *stream, List *mappings, bool has_columns)
{
	EdwLookupDef *lookup = check->lookup;
	char		relkind = check->dimension->rd_rel->relkind;

	lookup->dimension_name =
		quote_qualified_identifier(get_namespace_name(RelationGetNamespace(check->dimension)),
								   RelationGetRelationName(check->dimension));
	if ((relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE &&
		 (relkind != RELKIND_MATVIEW || lookup->missing == EDW_MISSING_INFER)) ||
		check->dimension->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("%s cannot be a dimension", lookup->dimension_name),
				 errhint("A dimension is a permanent table, or a materialized view of which no member is inferred.")));
	if (reaches(mappings, lookup->dimension, RelationGetRelid(check->rel)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("lookup of column \"%s\" goes in a circle", lookup->column),
				 errdetail("Dimension %s looks up table \"%s\", or is it.",
						   lookup->dimension_name, RelationGetRelationName(check->rel))));
	check_privileges(check, owner);
	check_writer(check, stream);
	check_match(check);
	check_key(check);
	if (lookup->missing == EDW_MISSING_INFER)
		check_infer(check);
	if (lookup->missing == EDW_MISSING_UNKNOWN)
		check_unknown(check);
	if (lookup->repoint)
		check_repoint(check, has_columns);
}

/*
 * What is stored
 */

static void
append_member(StringInfo out, const char *name, const char *value)
{
	appendStringInfoString(out, ", ");
	escape_json(out, name);
	appendStringInfoString(out, ": ");
	escape_json(out, value);
}

static void
append_lookup(StringInfo out, const EdwLookupDef *lookup)
{
	ListCell   *lc;

	escape_json(out, lookup->column);
	appendStringInfoString(out, ": {\"dimension\": ");
	escape_json(out, lookup->dimension_name);
	append_member(out, "key", lookup->key);
	append_member(out, "missing", EdwMissingNames[lookup->missing]);
	if (lookup->as_of)
		append_member(out, "as_of", lookup->as_of);
	if (lookup->missing == EDW_MISSING_UNKNOWN)
		append_member(out, "unknown", lookup->unknown);
	if (lookup->missing == EDW_MISSING_WAIT)
		append_member(out, "wait_limit", psprintf(INT64_FORMAT " ms", lookup->wait_limit_ms));
	if (lookup->repoint)
		appendStringInfoString(out, ", \"repoint\": true");
	appendStringInfoString(out, ", \"match\": {");
	foreach(lc, lookup->match)
	{
		EdwColumnExpression *entry = lfirst(lc);

		if (foreach_current_index(lc) > 0)
			appendStringInfoString(out, ", ");
		escape_json(out, entry->column);
		appendStringInfoString(out, ": ");
		escape_json(out, entry->expression);
	}
	appendStringInfoString(out, "}}");
}

Jsonb *
EdwLookupsCheck(Jsonb *given, Relation rel, List *keys, Jsonb *columns, Oid owner,
				const char *stream, List *mappings)
{
	StringInfoData stored;
	ListCell   *lc;

	initStringInfo(&stored);
	appendStringInfoChar(&stored, '{');
	foreach(lc, EdwLookupsParse(given, false))
	{
		Check		check = {.lookup = lfirst(lc), .rel = rel};

		check.columns = columns ? EdwColumnExpressionsParse(columns) : NIL;
		check.mapping = EdwMappingOfTarget(mappings, check.lookup->dimension);
		check.dimension = relation_open(check.lookup->dimension, AccessShareLock);
		check_column(&check, keys);
		check_dimension(&check, owner, stream, mappings, columns != NULL);
		relation_close(check.dimension, NoLock);
		if (stored.len > 1)
			appendStringInfoString(&stored, ", ");
		append_lookup(&stored, check.lookup);
	}
	appendStringInfoChar(&stored, '}');
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(stored.data)));
}
