/*
 * mapping_sql.c
 *		SQL functions map_table and unmap_table.
 *
 * map_table checks all it is given, adds the extension's columns to the target as the caller, writes
 * the mapping as the extension's owner, and last makes the mapping executable just as the
 * worker will: what does not fit raises here, and nothing of it stays. Locks, in this
 * order: the stream's row, the target (see mapping_target.c).
 */
#include "postgres.h"

#include "access/relation.h"
#include "apply/target.h"
#include "catalog/mapping.h"
#include "catalog/mapping_target.h"
#include "catalog/mapping_unknown.h"
#include "catalog/options.h"
#include "catalog/pg_type.h"
#include "catalog/stream.h"
#include "catalog/stream_topics.h"
#include "edw_stream.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "worker/slots.h"

PG_FUNCTION_INFO_V1(edw_stream_map_table);
PG_FUNCTION_INFO_V1(edw_stream_unmap_table);

/* argument numbers of map_table */
enum
{
	ARG_STREAM, ARG_TARGET, ARG_TOPIC, ARG_KEYS, ARG_COLUMNS, ARG_APPLY, ARG_LOOKUPS,
	ARG_FILTER, ARG_SEQUENCE, ARG_ON_DELETE, ARG_ON_TRUNCATE, ARG_ON_SCHEMA_CHANGE,
	ARG_OPTIONS
};

/* the arguments of map_table, checked and normalised */
typedef struct NewMapping
{
	EdwStreamDef *stream;
	Oid			target;
	char	   *target_name;	/* quoted, qualified */
	char	   *topic;
	List	   *keys;
	Jsonb	   *columns;		/* NULL: not given */
	EdwApplyMode apply;
	Jsonb	   *lookups;
	char	   *filter;
	char	   *sequence;		/* NULL: auto */
	EdwOnDelete on_delete;
	EdwOnTruncate on_truncate;
	EdwOnSchemaChange on_schema_change;
	Jsonb	   *options;
} NewMapping;

static Jsonb *
jsonb_from_text(const char *text)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
}

/* a text argument; NULL when it is null */
static char *
text_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

/* an argument with a fixed set of values, of which the first is the default */
static int
choice_argument(FunctionCallInfo fcinfo, int n, const char *const *names, const char *what)
{
	char	   *given = text_argument(fcinfo, n);
	int			count = 0;

	while (names[count] != NULL)
		count++;
	return given == NULL ? 0 : EdwChoice(given, names, count, what);
}

static Jsonb *
lookups_argument(FunctionCallInfo fcinfo)
{
	Jsonb	   *lookups = PG_ARGISNULL(ARG_LOOKUPS) ? jsonb_from_text("{}") :
	PG_GETARG_JSONB_P(ARG_LOOKUPS);

	(void) EdwLookupsParse(lookups, false);
	return lookups;
}

/* 'auto' as NULL */
static char *
sequence_argument(FunctionCallInfo fcinfo)
{
	char	   *sequence = text_argument(fcinfo, ARG_SEQUENCE);

	if (sequence == NULL || strcmp(sequence, "auto") == 0)
		return NULL;
	if (sequence[0] == '\0' || strcmp(sequence, "header:") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid sequence \"%s\"", sequence),
				 errhint("Use 'auto', the name of a field of the event, or 'header:' and the name of a header.")));
	return sequence;
}

/*
 * The options as they are stored: type names are qualified, so that they mean the same
 * under any search_path.
 */
static Jsonb *
options_argument(FunctionCallInfo fcinfo, EdwApplyMode apply)
{
	const char *names[16] = {"source_types"};
	int			n = 1;
	Jsonb	   *options;
	List	   *types;
	StringInfoData text;
	ListCell   *lc;

	if (PG_ARGISNULL(ARG_OPTIONS))
		return jsonb_from_text("{}");
	options = PG_GETARG_JSONB_P(ARG_OPTIONS);
	if (apply != EDW_APPLY_APPEND)
		names[n++] = EDW_UNKNOWN_OPTION;
	if (apply == EDW_APPLY_UPSERT)
		names[n++] = "group";
	for (int i = 0; apply == EDW_APPLY_SCD2 && EdwScd2OptionNames[i] != NULL; i++)
		names[n++] = EdwScd2OptionNames[i];
	EdwCheckOptionNames(options, names, n, "mapping option");
	types = EdwSourceTypesParse(options);
	if (types == NIL)
		return options;

	initStringInfo(&text);
	foreach(lc, types)
	{
		EdwSourceType *type = lfirst(lc);

		appendStringInfoString(&text, text.len > 0 ? ", " : "{\"source_types\": {");
		escape_json(&text, type->field);
		appendStringInfoString(&text, ": ");
		escape_json(&text, format_type_extended(type->type, type->typmod,
												FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY));
	}
	appendStringInfoString(&text, "}}");
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(options),
											  JsonbPGetDatum(jsonb_from_text(text.data))));
}

static bool
is_regex(const char *topic)
{
	return topic[0] == '^';
}

/* what follows the last dot */
static const char *
last_component(const char *topic)
{
	const char *dot = strrchr(topic, '.');

	return dot ? dot + 1 : topic;
}

/* The topic when none is given: the only one, else the one that ends in the table's name. */
static char *
default_topic(const EdwStreamDef *stream, const char *table)
{
	char	   *found = NULL;
	int			matches = 0;
	ListCell   *lc;

	if (list_length(stream->topics) == 1 && !is_regex(linitial(stream->topics)))
		return linitial(stream->topics);
	foreach(lc, stream->topics)
	{
		char	   *topic = lfirst(lc);

		if (is_regex(topic) || strcmp(last_component(topic), table) != 0)
			continue;
		found = topic;
		matches++;
	}
	if (matches != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("cannot tell which topic of stream \"%s\" table \"%s\" is for",
						stream->name, table),
				 matches > 1 ? errdetail("Several topics end in its name.")
				 : errdetail("No topic ends in its name."),
				 errhint("Give topic => '…'.")));
	return found;
}

/* Is it a topic of the stream? A regex is when the stream has it, or topics that it may match. */
static bool
stream_has_topic(const EdwStreamDef *stream, const char *topic)
{
	ListCell   *lc;

	foreach(lc, stream->topics)
	{
		const char *listed = lfirst(lc);

		if (EdwTopicMatches(listed, topic))
			return true;
		if (is_regex(topic) && (is_regex(listed) || EdwTopicMatches(topic, listed)))
			return true;
	}
	return false;
}

static char *
topic_argument(FunctionCallInfo fcinfo, const EdwStreamDef *stream, const char *table)
{
	char	   *topic = text_argument(fcinfo, ARG_TOPIC);
	const char **names;
	int			n = 0;
	ListCell   *lc;

	if (topic == NULL)
		return default_topic(stream, table);
	if (!is_regex(topic))
		EdwCheckTopicName(topic);
	if (stream_has_topic(stream, topic))
		return topic;

	names = palloc(sizeof(char *) * list_length(stream->topics));
	foreach(lc, stream->topics)
		names[n++] = lfirst(lc);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("topic \"%s\" is not one of stream \"%s\"", topic, stream->name),
			 EdwHintNames(topic, names, n)));
}

static Jsonb *
columns_argument(FunctionCallInfo fcinfo, Relation rel)
{
	Jsonb	   *columns;
	ListCell   *lc;

	if (PG_ARGISNULL(ARG_COLUMNS))
		return NULL;
	columns = PG_GETARG_JSONB_P(ARG_COLUMNS);
	foreach(lc, EdwColumnExpressionsParse(columns))
	{
		EdwColumnExpression *entry = lfirst(lc);

		EdwMappingTargetCheckColumn(rel, entry->column);
		EdwCheckExpression(entry->expression, psprintf("column \"%s\"", entry->column));
	}
	return columns;
}

static char *
filter_argument(FunctionCallInfo fcinfo)
{
	char	   *filter = text_argument(fcinfo, ARG_FILTER);

	if (filter != NULL)
		EdwCheckExpression(filter, "filter");
	return filter;
}

static List *
keys_argument(FunctionCallInfo fcinfo)
{
	ArrayType  *keys;

	if (PG_ARGISNULL(ARG_KEYS))
		return NIL;
	keys = PG_GETARG_ARRAYTYPE_P(ARG_KEYS);
	if (ARR_NDIM(keys) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("keys must be a one-dimensional array with at least one column"),
				 errhint("Leave out keys to use the table's primary key.")));
	return EdwTextArrayToList(PointerGetDatum(keys));
}

static void
check_combinations(const NewMapping *mapping)
{
	if (mapping->apply == EDW_APPLY_APPEND && mapping->on_delete == EDW_DELETE_SOFT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("on_delete => 'soft' needs apply => 'upsert'"),
				 errdetail("An appended row has no key by which a delete could find it.")));
	if (mapping->apply == EDW_APPLY_SCD2 && mapping->on_delete == EDW_DELETE_SOFT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("on_delete => 'soft' needs apply => 'upsert'"),
				 errdetail("With scd2 a delete closes the current version, and no row goes."),
				 errhint("Leave out on_delete.")));
	if (mapping->apply == EDW_APPLY_SCD2 && JB_ROOT_COUNT(mapping->lookups) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("lookups are for facts, not for a table of versions"),
				 errhint("Keep the natural key in the dimension, and join in a view.")));
	if (EdwGroupOptionParse(mapping->options) != NULL && mapping->on_delete == EDW_DELETE_SOFT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("on_delete => 'soft' cannot go with option \"group\""),
				 errdetail("A row has one mark of being deleted, and several groups."),
				 errhint("Leave out on_delete: a delete sets the group's columns to null.")));
	if (mapping->apply == EDW_APPLY_SCD2 && mapping->on_truncate == EDW_TRUNCATE_APPLY &&
		EdwScd2OptionsParse(mapping->options)->valid_time != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("on_truncate => 'apply' needs valid_time \"source\""),
				 errdetail("A truncate has only the source's time, and no place among the times of a column."),
				 errhint("Use on_truncate => 'ignore' or 'error'.")));
}

/* A table has one writer: no other stream, and each event reaches it by one mapping. */
static void
check_not_mapped(const NewMapping *mapping)
{
	Oid			types[] = {OIDOID, TEXTOID};
	Datum		args[2];
	ListCell   *lc;

	args[0] = ObjectIdGetDatum(mapping->target);
	args[1] = CStringGetTextDatum(mapping->stream->name);
	if (EdwCatalogExecute("SELECT FROM edw_stream.mapping"
						  " WHERE target::pg_catalog.oid OPERATOR(pg_catalog.=) $1"
						  " AND stream OPERATOR(pg_catalog.<>) $2", 2, types, args, NULL) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("table %s is a target of another stream", mapping->target_name),
				 errdetail("Two streams have no common order in which to write it."),
				 errhint("List the topics of both in one stream, or unmap it there with edw_stream.unmap_table.")));

	foreach(lc, EdwMappingLoadExisting(mapping->stream->name))
	{
		EdwMappingDef *other = lfirst(lc);

		if (other->target == mapping->target &&
			(EdwTopicMatches(other->topic, mapping->topic) ||
			 EdwTopicMatches(mapping->topic, other->topic)))
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("topic \"%s\" is already mapped to table %s",
							mapping->topic, mapping->target_name),
					 errhint("To change the mapping, call edw_stream.unmap_table(%s, %s) first.",
							 quote_literal_cstr(mapping->stream->name),
							 quote_literal_cstr(mapping->target_name))));
	}
}

/* A mapping of a table that was dropped gives way to one of a table of the same name. */
static void
replace_dropped(const NewMapping *mapping)
{
	Oid			types[] = {TEXTOID, TEXTOID};
	Datum		args[2];

	args[0] = CStringGetTextDatum(mapping->stream->name);
	args[1] = CStringGetTextDatum(mapping->target_name);
	EdwCatalogExecute("DELETE FROM edw_stream.mapping m"
					  " WHERE stream OPERATOR(pg_catalog.=) $1"
					  " AND target_name OPERATOR(pg_catalog.=) $2"
					  " AND NOT EXISTS (SELECT FROM pg_catalog.pg_class c"
					  " WHERE c.oid OPERATOR(pg_catalog.=) m.target::pg_catalog.oid)",
					  2, types, args, NULL);
}

static Datum
text_array(List *list)
{
	Datum	   *elements = palloc(sizeof(Datum) * Max(list_length(list), 1));
	ListCell   *lc;

	foreach(lc, list)
		elements[foreach_current_index(lc)] = CStringGetTextDatum(lfirst(lc));
	return PointerGetDatum(construct_array(elements, list_length(list), TEXTOID, -1,
										   false, TYPALIGN_INT));
}

static void
insert_mapping(const NewMapping *m)
{
	Oid			types[] = {TEXTOID, OIDOID, TEXTOID, TEXTOID, TEXTARRAYOID, JSONBOID, TEXTOID,
	JSONBOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONBOID};
	Datum		args[lengthof(types)] = {0};
	char		nulls[lengthof(types)];

	args[0] = CStringGetTextDatum(m->stream->name);
	args[1] = ObjectIdGetDatum(m->target);
	args[2] = CStringGetTextDatum(m->target_name);
	args[3] = CStringGetTextDatum(m->topic);
	args[4] = m->keys ? text_array(m->keys) : (Datum) 0;
	args[5] = m->columns ? JsonbPGetDatum(m->columns) : (Datum) 0;
	args[6] = CStringGetTextDatum(EdwApplyModeNames[m->apply]);
	args[7] = JsonbPGetDatum(m->lookups);
	args[8] = m->filter ? CStringGetTextDatum(m->filter) : (Datum) 0;
	args[9] = m->sequence ? CStringGetTextDatum(m->sequence) : (Datum) 0;
	args[10] = CStringGetTextDatum(EdwOnDeleteNames[m->on_delete]);
	args[11] = CStringGetTextDatum(EdwOnTruncateNames[m->on_truncate]);
	args[12] = CStringGetTextDatum(EdwOnSchemaChangeNames[m->on_schema_change]);
	args[13] = JsonbPGetDatum(m->options);
	for (int i = 0; i < (int) lengthof(types); i++)
		nulls[i] = args[i] == (Datum) 0 ? 'n' : ' ';

	EdwCatalogExecute("INSERT INTO edw_stream.mapping"
					  " (stream, target, target_name, topic, keys, columns, apply, lookups, filter,"
					  " sequence, on_delete, on_truncate, on_schema_change, options)"
					  " VALUES ($1, $2::pg_catalog.regclass, $3, $4, $5, $6, $7, $8, $9,"
					  " $10, $11, $12, $13, $14)",
					  lengthof(types), types, args, nulls);
}

/*
 * Make the topic's route as the worker will: as the stream's owner, because planning an
 * expression may run functions, and other mappings of the topic are part of the route.
 * What an owner wrote must not run with the rights of an administrator who maps a table
 * for him.
 */
static void
try_route(const NewMapping *mapping)
{
	List	   *mappings = EdwMappingLoadExisting(mapping->stream->name);
	int			guc_level = NewGUCNestLevel();
	Oid			user;
	int			security;

	GetUserIdAndSecContext(&user, &security);
	if (user != mapping->stream->owner)
		SetUserIdAndSecContext(mapping->stream->owner,
							   security | SECURITY_LOCAL_USERID_CHANGE |
							   SECURITY_RESTRICTED_OPERATION);
	(void) EdwRouteBuild(mapping->topic, mappings);
	EdwGroupCheckColumns(mapping->target, mappings);
	AtEOXact_GUC(false, guc_level);
	SetUserIdAndSecContext(user, security);
}

/* When the table has all its columns, and before another mapping's lookup can ask for it. */
static void
insert_unknown_member(const NewMapping *mapping)
{
	Relation	rel = relation_open(mapping->target, NoLock);

	EdwUnknownMemberInsert(rel, EdwUnknownMemberParse(mapping->options));
	relation_close(rel, NoLock);
}

static void
check_new_mapping(FunctionCallInfo fcinfo, NewMapping *mapping)
{
	Relation	rel;

	mapping->apply = choice_argument(fcinfo, ARG_APPLY, EdwApplyModeNames, "apply");
	mapping->lookups = lookups_argument(fcinfo);
	mapping->sequence = sequence_argument(fcinfo);
	mapping->on_delete = choice_argument(fcinfo, ARG_ON_DELETE, EdwOnDeleteNames, "on_delete");
	mapping->on_truncate = choice_argument(fcinfo, ARG_ON_TRUNCATE, EdwOnTruncateNames, "on_truncate");
	mapping->on_schema_change = choice_argument(fcinfo, ARG_ON_SCHEMA_CHANGE,
												EdwOnSchemaChangeNames, "on_schema_change");
	mapping->options = options_argument(fcinfo, mapping->apply);
	check_combinations(mapping);

	rel = EdwMappingTargetOpen(mapping->target, mapping->stream,
							   mapping->on_truncate == EDW_TRUNCATE_APPLY);
	mapping->target_name =
		quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
								   RelationGetRelationName(rel));
	mapping->topic = topic_argument(fcinfo, mapping->stream, RelationGetRelationName(rel));
	check_not_mapped(mapping);
	mapping->keys = EdwMappingTargetKeys(rel, keys_argument(fcinfo), mapping->apply);
	if (mapping->apply == EDW_APPLY_SCD2)
		EdwScd2CheckTarget(rel, EdwScd2OptionsParse(mapping->options), mapping->keys);
	mapping->columns = columns_argument(fcinfo, rel);
	mapping->filter = filter_argument(fcinfo);
	mapping->lookups = EdwLookupsCheck(mapping->lookups, rel, mapping->keys, mapping->columns,
									   mapping->stream->owner, mapping->stream->name,
									   EdwMappingLoadExisting(mapping->stream->name));
	mapping->options = EdwUnknownMemberComplete(mapping->options, rel, mapping->keys, mapping->apply);
	/* the lock stays: ALTER TABLE wants no open reference */
	relation_close(rel, NoLock);
}

/*
 * map_table(stream, target, topic, keys, columns, apply, lookups, filter, sequence,
 * on_delete, on_truncate, on_schema_change, options); a null is the default.
 */
Datum
edw_stream_map_table(PG_FUNCTION_ARGS)
{
	NewMapping	mapping = {0};

	EdwRequireArgument(fcinfo, ARG_STREAM, "stream");
	EdwRequireArgument(fcinfo, ARG_TARGET, "target");
	mapping.target = PG_GETARG_OID(ARG_TARGET);
	mapping.stream = EdwStreamLoadOwned(text_argument(fcinfo, ARG_STREAM), "FOR NO KEY UPDATE");
	check_new_mapping(fcinfo, &mapping);

	EdwMappingTargetAddColumns(mapping.target, EdwGroupSeqColumn(EdwGroupOptionParse(mapping.options)),
							   mapping.on_delete == EDW_DELETE_SOFT);
	insert_unknown_member(&mapping);
	replace_dropped(&mapping);
	insert_mapping(&mapping);
	try_route(&mapping);
	EdwSignalStreamsChanged();
	PG_RETURN_VOID();
}

static uint64
execute_for_mapping(const char *sql, const char *stream, Oid target)
{
	Oid			types[] = {TEXTOID, OIDOID};
	Datum		args[2];

	args[0] = CStringGetTextDatum(stream);
	args[1] = ObjectIdGetDatum(target);
	return EdwCatalogExecute(sql, 2, types, args, NULL);
}

/* unmap_table(stream, target): all mappings of the table; the table stays as it is */
Datum
edw_stream_unmap_table(PG_FUNCTION_ARGS)
{
	char	   *stream;
	Oid			target;
	char	   *name;

	EdwRequireArgument(fcinfo, 0, "stream");
	EdwRequireArgument(fcinfo, 1, "target");
	stream = text_to_cstring(PG_GETARG_TEXT_PP(0));
	target = PG_GETARG_OID(1);
	name = get_rel_name(target);

	(void) EdwStreamLoadOwned(stream, "FOR NO KEY UPDATE");
	execute_for_mapping("DELETE FROM edw_stream.tombstone t USING edw_stream.mapping m"
						" WHERE t.mapping_id OPERATOR(pg_catalog.=) m.mapping_id"
						" AND m.stream OPERATOR(pg_catalog.=) $1"
						" AND m.target::pg_catalog.oid OPERATOR(pg_catalog.=) $2", stream, target);
	execute_for_mapping("DELETE FROM edw_stream.scd2_event e USING edw_stream.mapping m"
						" WHERE e.mapping_id OPERATOR(pg_catalog.=) m.mapping_id"
						" AND m.stream OPERATOR(pg_catalog.=) $1"
						" AND m.target::pg_catalog.oid OPERATOR(pg_catalog.=) $2", stream, target);
	if (execute_for_mapping("DELETE FROM edw_stream.mapping"
							" WHERE stream OPERATOR(pg_catalog.=) $1"
							" AND target::pg_catalog.oid OPERATOR(pg_catalog.=) $2", stream, target) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("table \"%s\" is not a target of stream \"%s\"",
						name ? name : psprintf("%u", target), stream),
				 errhint("The view edw_stream.tables lists the targets.")));
	EdwSignalStreamsChanged();
	PG_RETURN_VOID();
}
