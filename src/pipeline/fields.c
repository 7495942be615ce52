/*
 * fields.c
 *		on_schema_change: fields of the events that no column wants.
 *
 * The fields that a mapping's first event had beside its columns are accepted and recorded in
 * edw_stream.mapping.known_fields. One that comes later either stalls the stream, so
 * that nobody misses that a column was added at the source, or is recorded too. With the stall
 * it is recorded as well: who then starts the stream again has accepted it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "pipeline/catalog_sql.h"
#include "pipeline/internal.h"
#include "utils/array.h"
#include "utils/builtins.h"

static EdwStatement record_fields = {
	"UPDATE edw_stream.mapping SET known_fields = $2 WHERE mapping_id = $1",
	2, {INT4OID, TEXTARRAYOID}, NULL
};

static bool
is_known(const EdwMappingDef *def, const char *field)
{
	ListCell   *lc;

	foreach(lc, def->known_fields)
		if (strcmp(lfirst(lc), field) == 0)
			return true;
	return false;
}

/* Write a mapping's accepted fields, in the current transaction. */
static void
record(const EdwMappingDef *def)
{
	EdwSql		sql;
	Datum		args[2];
	Datum	   *elements;
	int			n = 0;
	ListCell   *lc;

	EdwSqlStart(&sql);
	elements = palloc(sizeof(Datum) * (list_length(def->known_fields) + 1));
	foreach(lc, def->known_fields)
		elements[n++] = CStringGetTextDatum(lfirst(lc));
	args[0] = Int32GetDatum(def->mapping_id);
	args[1] = PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT));
	(void) EdwSqlRun(&record_fields, args, NULL);
	EdwSqlFinish(&sql);
}

/* A mapping's definition is the pipeline's own copy, thrown away when the batch is. */
static void
accept(EdwPipeline *pipeline, EdwMappingDef *def, const char *field)
{
	MemoryContext old = MemoryContextSwitchTo(pipeline->definition_context);

	def->known_fields = lappend(def->known_fields, pstrdup(field));
	MemoryContextSwitchTo(old);
}

/* Look at the unmapped fields for one mapping; false: the stream stalls. */
static bool
check_mapping(EdwPipeline *pipeline, EdwMappingDef *def, EdwTopic *topic)
{
	bool		first = !def->fields_known;
	bool		grew = first;
	const char *refused = NULL;
	ListCell   *lc;

	foreach(lc, topic->decoder->unmapped)
	{
		const char *field = lfirst(lc);

		if (is_known(def, field))
			continue;
		if (!first && def->on_schema_change == EDW_SCHEMA_FAIL)
			refused = field;
		accept(pipeline, def, field);
		grew = true;
	}
	def->fields_known = true;
	if (refused != NULL)
	{
		EdwPipelineSetStall(pipeline, "schema_changed",
							"Add a column for it and map the table anew, or call edw_stream.start() to go on without it.",
							"topic \"%s\" has a new field \"%s\" that no column takes",
							topic->name, refused);
		pipeline->stall.record_fields = true;
		return false;
	}
	if (grew)
		record(def);
	return true;
}

/*
 * Called after an event whose decoder met a field for the first time, and after a topic's
 * first event.
 */
bool
EdwFieldsCheck(EdwPipeline *pipeline, EdwTopic *topic)
{
	bool		accepted = true;

	topic->unmapped_seen = list_length(topic->decoder->unmapped);
	topic->fields_recorded = true;
	for (int i = 0; i < topic->route->ntargets; i++)
		if (!check_mapping(pipeline, unconstify(EdwMappingDef *, topic->route->targets[i]->def), topic))
			accepted = false;
	return accepted;
}

/* Write what all mappings know by now, in the current transaction. */
void
EdwFieldsRecordAll(EdwPipeline *pipeline)
{
	ListCell   *lc;

	foreach(lc, pipeline->mappings)
	{
		EdwMappingDef *def = lfirst(lc);

		if (def->fields_known)
			record(def);
	}
}
