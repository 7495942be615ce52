/*
 * mapping_scd2.c
 *		map_table's options for apply => 'scd2' (see mapping_scd2.h).
 *
 * Runs as the caller of map_table, within his transaction, with the target locked.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/mapping_scd2.h"
#include "catalog/options.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

const char *const EdwScd2OptionNames[] = {"track", "valid_from", "valid_to", "current", "open_end", "valid_time", NULL};

/*
 * Options
 */

static List *
track_option(Jsonb *options)
{
	JsonbValue	value;
	JsonbIterator *it;
	JsonbIteratorToken token;
	List	   *list = NIL;

	if (EdwOptionText(options, "track") == NULL)
		return NIL;
	getKeyJsonValueFromContainer(&options->root, "track", strlen("track"), &value);
	if (value.type == jbvBinary && JsonContainerIsArray(value.val.binary.data))
	{
		it = JsonbIteratorInit(value.val.binary.data);
		while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
		{
			if (token != WJB_ELEM)
				continue;
			if (value.type != jbvString)
			{
				list = NIL;
				break;
			}
			list = lappend(list, pnstrdup(value.val.string.val, value.val.string.len));
		}
	}
	if (list == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must be an array of column names", "track"),
				 errhint("For example '{\"track\": [\"city\", \"tier\"]}'; leave it out to track all columns.")));
	return list;
}

/* a column's name; a JSON null is none */
static char *
column_option(Jsonb *options, const char *name, char *dflt)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(&options->root, name, strlen(name), &value) == NULL)
		return dflt;
	return EdwOptionText(options, name);
}

static bool
open_null_option(Jsonb *options)
{
	JsonbValue	value;
	static const char *const choices[] = {"infinity"};

	if (getKeyJsonValueFromContainer(&options->root, "open_end", strlen("open_end"), &value) == NULL)
		return false;
	(void) EdwOptionChoice(options, "open_end", choices, lengthof(choices), 0);
	return value.type == jbvNull;
}

static char *
required_column(const char *name, char *column)
{
	if (column == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("option \"%s\" must not be null", name),
				 errhint("Give the name of a column of the table.")));
	return column;
}

EdwScd2Def *
EdwScd2OptionsParse(Jsonb *options)
{
	EdwScd2Def *def = palloc0(sizeof(EdwScd2Def));

	def->track = track_option(options);
	def->valid_from = required_column("valid_from", column_option(options, "valid_from", "valid_from"));
	def->valid_to = required_column("valid_to", column_option(options, "valid_to", "valid_to"));
	def->current = column_option(options, "current", "is_current");
	def->open_null = open_null_option(options);
	def->valid_time = column_option(options, "valid_time", NULL);
	if (def->valid_time != NULL && strcmp(def->valid_time, "source") == 0)
		def->valid_time = NULL;
	return def;
}

/*
 * The table
 */

static Form_pg_attribute
find_column(Relation rel, const char *option, const char *column)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(rel), column);

	if (attnum <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of table \"%s\" does not exist",
						column, RelationGetRelationName(rel)),
				 errdetail("Option \"%s\" names it.", option),
				 errhint("Add the column, or name another one with the option.")));
	return TupleDescAttr(RelationGetDescr(rel), attnum - 1);
}

static bool
is_time_type(Oid type)
{
	return type == TIMESTAMPTZOID || type == TIMESTAMPOID || type == DATEOID;
}

static void
check_interval_columns(Relation rel, const EdwScd2Def *def)
{
	Form_pg_attribute from = find_column(rel, "valid_from", def->valid_from);
	Form_pg_attribute to = find_column(rel, "valid_to", def->valid_to);

	if (!is_time_type(from->atttypid) || from->atttypid != to->atttypid || from->attnum == to->attnum)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("columns \"%s\" and \"%s\" of table \"%s\" cannot hold the interval of a version",
						def->valid_from, def->valid_to, RelationGetRelationName(rel)),
				 errhint("Both must be timestamptz, timestamp (in UTC) or date.")));
	if (def->open_null && to->attnotnull)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("column \"%s\" of table \"%s\" is NOT NULL, but null is to be its open end",
						def->valid_to, RelationGetRelationName(rel)),
				 errhint("Drop the constraint, or leave out option \"open_end\" for infinity.")));
	if (def->current != NULL &&
		find_column(rel, "current", def->current)->atttypid != BOOLOID)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of table \"%s\" is not boolean",
						def->current, RelationGetRelationName(rel)),
				 errhint("Option \"current\" names a boolean column, or is null if there is none.")));
}

/* columns that no event gives */
static bool
is_own(const EdwScd2Def *def, const char *column)
{
	return strcmp(column, def->valid_from) == 0 || strcmp(column, def->valid_to) == 0 ||
		(def->current != NULL && strcmp(column, def->current) == 0);
}

static void
check_tracked(Relation rel, const EdwScd2Def *def, List *keys)
{
	ListCell   *lc;

	foreach(lc, def->track)
	{
		char	   *column = lfirst(lc);
		bool		key = false;
		ListCell   *k;

		(void) find_column(rel, "track", column);
		foreach(k, keys)
			key |= strcmp(lfirst(k), column) == 0;
		if (key || is_own(def, column))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("column \"%s\" cannot be tracked", column),
					 errdetail("It is a key or tells when a version is valid.")));
	}
}

List *
EdwPrimaryKeyColumns(Relation rel)
{
	List	   *columns = NIL;
	HeapTuple	tuple;
	Form_pg_index index;

	list_free(RelationGetIndexList(rel));
	if (!OidIsValid(rel->rd_pkindex))
		return NIL;
	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(rel->rd_pkindex));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for index %u", rel->rd_pkindex);
	index = (Form_pg_index) GETSTRUCT(tuple);
	for (int i = 0; i < index->indnkeyatts; i++)
		columns = lappend(columns, get_attname(RelationGetRelid(rel), index->indkey.values[i], false));
	ReleaseSysCache(tuple);
	return columns;
}

static void
check_surrogate(Relation rel, const EdwScd2Def *def, List *keys)
{
	List	   *primary = EdwPrimaryKeyColumns(rel);
	bool		in_keys = true;
	ListCell   *lc;
	ListCell   *k;

	foreach(lc, primary)
	{
		char	   *column = lfirst(lc);
		Form_pg_attribute att = find_column(rel, "keys", column);
		bool		key = false;

		foreach(k, keys)
			key |= strcmp(lfirst(k), column) == 0;
		in_keys &= key;
		if (!key && !is_own(def, column) && !att->atthasdef && att->attidentity == '\0')
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
					 errmsg("primary key column \"%s\" of table \"%s\" has no default",
							column, RelationGetRelationName(rel)),
					 errdetail("Each version is a row with a surrogate key of its own, which no event gives."),
					 errhint("Use GENERATED BY DEFAULT AS IDENTITY, or a default such as gen_random_uuid().")));
	}
	if (primary == NIL || in_keys)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("table \"%s\" has no surrogate key", RelationGetRelationName(rel)),
				 errdetail("apply => 'scd2' keeps several rows of a natural key, one for each version."),
				 errhint("Give it a primary key such as \"customer_key bigint GENERATED BY DEFAULT AS IDENTITY\", "
						 "and the natural key's columns as keys.")));
}

/* Does the index begin with these columns, in any order? */
static bool
begins_with(Oid indexid, Oid relid, List *keys)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(indexid));
	Form_pg_index index;
	bool		result;
	ListCell   *lc;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for index %u", indexid);
	index = (Form_pg_index) GETSTRUCT(tuple);
	result = index->indisvalid && index->indnkeyatts >= list_length(keys) &&
		heap_attisnull(tuple, Anum_pg_index_indpred, NULL);
	foreach(lc, keys)
	{
		AttrNumber	attnum = get_attnum(relid, lfirst(lc));
		bool		found = false;

		for (int i = 0; result && i < list_length(keys); i++)
			found |= index->indkey.values[i] == attnum;
		result &= found;
	}
	ReleaseSysCache(tuple);
	return result;
}

bool
EdwHasIndexOn(Relation rel, List *columns)
{
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(rel))
		if (begins_with(lfirst_oid(lc), RelationGetRelid(rel), columns))
			return true;
	return false;
}

static void
check_index(Relation rel, const EdwScd2Def *def, List *keys)
{
	StringInfoData columns;
	ListCell   *lc;

	if (EdwHasIndexOn(rel, keys))
		return;

	initStringInfo(&columns);
	foreach(lc, keys)
		appendStringInfo(&columns, "%s, ", quote_identifier(lfirst(lc)));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
			 errmsg("table \"%s\" has no index that begins with its natural key",
					RelationGetRelationName(rel)),
			 errdetail("Versions are found by it: without the index each batch would read the whole table."),
			 errhint("CREATE UNIQUE INDEX ON %s (%s%s);",
					 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
												RelationGetRelationName(rel)),
					 columns.data, quote_identifier(def->valid_from))));
}

void
EdwScd2CheckTarget(Relation rel, const EdwScd2Def *def, List *keys)
{
	check_interval_columns(rel, def);
	check_tracked(rel, def, keys);
	check_surrogate(rel, def, keys);
	check_index(rel, def, keys);
}
