/*
 * mapping.c
 *		Reads edw_stream.mapping.
 *
 * Runs inside the caller's transaction and takes no lock but those of its statement.
 * A mapping whose target was dropped is an ERROR here, of the class that stalls a
 * stream: its events must not be consumed as if nobody had wanted them.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/mapping.h"
#include "catalog/mapping_unknown.h"
#include "catalog/options.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "catalog/stream.h"
#include "compat.h"
#include "executor/spi.h"
#include "parser/parse_type.h"
#include "regex/regex.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

/* in the order of the enums in mapping.h */
const char *const EdwApplyModeNames[] = {"upsert", "append", "scd2", NULL};
const char *const EdwOnDeleteNames[] = {"delete", "soft", "ignore", "error", NULL};
const char *const EdwOnTruncateNames[] = {"error", "ignore", "apply", NULL};
const char *const EdwOnSchemaChangeNames[] = {"fail", "ignore", NULL};

enum
{
	COL_MAPPING_ID = 1, COL_STREAM, COL_TARGET, COL_TARGET_NAME, COL_TOPIC, COL_KEYS,
	COL_COLUMNS, COL_APPLY, COL_LOOKUPS, COL_FILTER, COL_SEQUENCE, COL_ON_DELETE, COL_ON_TRUNCATE,
	COL_ON_SCHEMA_CHANGE, COL_OPTIONS, COL_BARRIER, COL_KNOWN_FIELDS
};

static const char mappings_query[] =
"SELECT mapping_id, stream, target::pg_catalog.oid, target_name, topic, keys,"
" columns, apply, lookups, filter, sequence, on_delete, on_truncate,"
" on_schema_change, options, barrier, known_fields"
" FROM edw_stream.mapping WHERE stream OPERATOR(pg_catalog.=) $1"
" ORDER BY mapping_id";

static int
stored_choice(const char *text, const char *const *names)
{
	for (int i = 0; names[i] != NULL; i++)
	{
		if (strcmp(text, names[i]) == 0)
			return i;
	}
	elog(ERROR, "unexpected value \"%s\" in edw_stream.mapping", text);
}

static char *
column_text(HeapTuple tuple, int column)
{
	return SPI_getvalue(tuple, SPI_tuptable->tupdesc, column);
}

/* columns jsonb as a list of EdwColumnExpression */
List *
EdwColumnExpressionsParse(Jsonb *columns)
{
	JsonbIterator *it;
	JsonbValue	v;
	JsonbIteratorToken token;
	EdwColumnExpression *entry = NULL;
	List	   *list = NIL;

	if (!JB_ROOT_IS_OBJECT(columns))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("columns must be a JSON object"),
				 errhint("For example '{\"target_column\": \"upper(source_field)\"}'.")));
	it = JsonbIteratorInit(&columns->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			entry = palloc0(sizeof(EdwColumnExpression));
			entry->column = pnstrdup(v.val.string.val, v.val.string.len);
		}
		else if (token == WJB_VALUE)
		{
			if (v.type != jbvString)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("expression for column \"%s\" is not a string", entry->column),
						 errhint("Give the SQL expression as a JSON string, for example \"42\" or \"null\".")));
			entry->expression = pnstrdup(v.val.string.val, v.val.string.len);
			list = lappend(list, entry);
		}
	}
	return list;
}

/* options {"source_types": {"field": "type"}} as a list of EdwSourceType */
List *
EdwSourceTypesParse(Jsonb *options)
{
	char	   *text = EdwOptionText(options, "source_types");
	Jsonb	   *types;
	JsonbIterator *it;
	JsonbValue	v;
	JsonbIteratorToken token;
	EdwSourceType *entry = NULL;
	List	   *list = NIL;

	if (text == NULL)
		return NIL;
	if (text[0] != '{')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must be a JSON object", "source_types"),
				 errhint("For example '{\"source_types\": {\"amount\": \"numeric(12,2)\"}}'.")));
	types = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
	it = JsonbIteratorInit(&types->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			entry = palloc0(sizeof(EdwSourceType));
			entry->field = pnstrdup(v.val.string.val, v.val.string.len);
		}
		else if (token == WJB_VALUE)
		{
			if (v.type != jbvString)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("source type of field \"%s\" is not a string", entry->field),
						 errhint("Give a PostgreSQL type, for example \"numeric(12,2)\".")));
			EdwParseTypeString(pnstrdup(v.val.string.val, v.val.string.len),
							   &entry->type, &entry->typmod);
			list = lappend(list, entry);
		}
	}
	return list;
}

/* Is a mapping's target there? If not: false when that may be, else ERROR. */
static bool
check_target_exists(HeapTuple tuple, bool missing_ok)
{
	bool		isnull;
	Oid			target = DatumGetObjectId(SPI_getbinval(tuple, SPI_tuptable->tupdesc,
														COL_TARGET, &isnull));

	if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(target)))
		return true;
	if (missing_ok)
		return false;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("table %s, a target of stream \"%s\", was dropped",
					column_text(tuple, COL_TARGET_NAME), column_text(tuple, COL_STREAM)),
			 errhint("Create the table again and call edw_stream.map_table, which replaces the mapping, "
					 "or give it up with edw_stream.unmap_table('%s', %u).",
					 column_text(tuple, COL_STREAM), target)));
}

/* a row of mappings_query, in the current context */
static EdwMappingDef *
mapping_from_tuple(HeapTuple tuple, bool missing_ok)
{
	TupleDesc	desc = SPI_tuptable->tupdesc;
	EdwMappingDef *def = palloc0(sizeof(EdwMappingDef));
	Datum		datum;
	bool		isnull;

	def->mapping_id = DatumGetInt32(SPI_getbinval(tuple, desc, COL_MAPPING_ID, &isnull));
	def->target = DatumGetObjectId(SPI_getbinval(tuple, desc, COL_TARGET, &isnull));
	def->stream = column_text(tuple, COL_STREAM);
	def->topic = column_text(tuple, COL_TOPIC);
	def->filter = column_text(tuple, COL_FILTER);
	def->sequence = column_text(tuple, COL_SEQUENCE);
	def->apply = stored_choice(column_text(tuple, COL_APPLY), EdwApplyModeNames);
	def->on_delete = stored_choice(column_text(tuple, COL_ON_DELETE), EdwOnDeleteNames);
	def->on_truncate = stored_choice(column_text(tuple, COL_ON_TRUNCATE), EdwOnTruncateNames);
	def->on_schema_change = stored_choice(column_text(tuple, COL_ON_SCHEMA_CHANGE),
										  EdwOnSchemaChangeNames);
	datum = SPI_getbinval(tuple, desc, COL_KEYS, &isnull);
	if (!isnull)
		def->keys = EdwTextArrayToList(datum);
	datum = SPI_getbinval(tuple, desc, COL_COLUMNS, &isnull);
	def->has_columns = !isnull;
	if (!isnull)
		def->columns = EdwColumnExpressionsParse(DatumGetJsonbP(datum));
	datum = SPI_getbinval(tuple, desc, COL_OPTIONS, &isnull);
	def->source_types = EdwSourceTypesParse(DatumGetJsonbP(datum));
	if (def->apply == EDW_APPLY_SCD2)
		def->scd2 = EdwScd2OptionsParse(DatumGetJsonbP(datum));
	def->group = EdwGroupOptionParse(DatumGetJsonbP(datum));
	def->unknown_member = EdwUnknownMemberParse(DatumGetJsonbP(datum));
	datum = SPI_getbinval(tuple, desc, COL_LOOKUPS, &isnull);
	def->lookups = EdwLookupsParse(DatumGetJsonbP(datum), missing_ok);
	datum = SPI_getbinval(tuple, desc, COL_BARRIER, &isnull);
	if (!isnull)
	{
		bytea	   *barrier = DatumGetByteaPP(datum);

		def->barrier_len = VARSIZE_ANY_EXHDR(barrier);
		def->barrier = palloc(def->barrier_len + 1);
		memcpy(def->barrier, VARDATA_ANY(barrier), def->barrier_len);
	}
	datum = SPI_getbinval(tuple, desc, COL_KNOWN_FIELDS, &isnull);
	def->fields_known = !isnull;
	if (!isnull)
		def->known_fields = EdwTextArrayToList(datum);
	return def;
}

static List *
load_mappings(const char *stream, bool skip_dropped)
{
	MemoryContext caller = CurrentMemoryContext;
	EdwCatalogAccess access;
	List	   *mappings = NIL;
	ListCell   *lc;
	Oid			type = TEXTOID;
	Datum		arg = CStringGetTextDatum(stream);

	EdwCatalogBegin(&access);
	SPI_connect();
	if (SPI_execute_with_args(mappings_query, 1, &type, &arg, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the mappings of stream \"%s\"", stream);
	MemoryContextSwitchTo(caller);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];

		if (check_target_exists(tuple, skip_dropped))
			mappings = lappend(mappings, mapping_from_tuple(tuple, skip_dropped));
	}
	SPI_finish();
	EdwCatalogEnd(&access);
	MemoryContextSwitchTo(caller);
	foreach(lc, mappings)
	{
		EdwMappingDef *def = lfirst(lc);

		def->inferred = EdwIsLookedUp(mappings, def->target, EDW_MISSING_INFER);
		def->awaited = EdwIsLookedUp(mappings, def->target, EDW_MISSING_WAIT);
	}
	return mappings;
}

List *
EdwMappingLoadAll(const char *stream)
{
	return load_mappings(stream, false);
}

List *
EdwMappingLoadExisting(const char *stream)
{
	return load_mappings(stream, true);
}

bool
EdwTopicMatches(const char *pattern, const char *topic)
{
	/* equal also as patterns: map_table builds the route of a regex itself */
	if (strcmp(pattern, topic) == 0)
		return true;
	if (pattern[0] != '^')
		return false;
	return RE_compile_and_execute(cstring_to_text(pattern), unconstify(char *, topic),
								  strlen(topic), REG_ADVANCED, C_COLLATION_OID, 0, NULL);
}

bool
EdwMappingMatchesTopic(const EdwMappingDef *def, const char *topic)
{
	return EdwTopicMatches(def->topic, topic);
}
