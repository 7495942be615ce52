/*
 * mapping_lookup.c
 *		Parses lookups, and answers what they make of the stream's mappings (see mapping_lookup.h).
 *
 * Looks names up in the catalogs, within the caller's transaction; locks nothing.
 */
#include "postgres.h"

#include "apply/expression.h"
#include "catalog/mapping.h"
#include "catalog/mapping_lookup.h"
#include "catalog/namespace.h"
#include "catalog/options.h"
#include "utils/builtins.h"
#include "utils/varlena.h"

#define WAIT_LIMIT_MS	(INT64CONST(24) * 3600 * 1000)

/* in the order of EdwMissing */
const char *const EdwMissingNames[] = {"quarantine", "infer", "unknown", "null", "wait", NULL};

static const char *const option_names[] = {
	"dimension", "match", "key", "as_of", "missing", "unknown", "repoint", "wait_limit"
};

static Oid
find_dimension(const char *name, bool missing_ok)
{
	RangeVar   *relation = makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(name)));
	Oid			relid = RangeVarGetRelid(relation, NoLock, true);

	if (!OidIsValid(relid) && !missing_ok)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("dimension %s does not exist", name),
				 errhint("Create the table, or map the facts again with a lookup of another one.")));
	return relid;
}

/* an object of expressions that is an option's value */
static List *
match_option(Jsonb *options, const char *column)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(&options->root, "match", strlen("match"), &value) == NULL ||
		value.type != jbvBinary || !JsonContainerIsObject(value.val.binary.data) ||
		JsonContainerSize(value.val.binary.data) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("lookup of column \"%s\" needs \"match\"", column),
				 errhint("It says how a member is found: {\"match\": {\"dimension column\": \"expression over the event's fields\"}}.")));
	return EdwColumnExpressionsParse(JsonbValueToJsonb(&value));
}

static EdwLookupDef *
parse_lookup(char *column, Jsonb *options, bool missing_ok)
{
	EdwLookupDef *def = palloc0(sizeof(EdwLookupDef));

	EdwCheckOptionNames(options, option_names, lengthof(option_names), "lookup option");
	def->column = column;
	def->dimension_name = EdwOptionText(options, "dimension");
	if (def->dimension_name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("lookup of column \"%s\" needs \"dimension\"", column),
				 errhint("It names the table whose surrogate key the column gets.")));
	def->dimension = find_dimension(def->dimension_name, missing_ok);
	def->match = match_option(options, column);
	def->key = EdwOptionText(options, "key");
	def->as_of = EdwOptionText(options, "as_of");
	def->missing = EdwOptionChoice(options, "missing", EdwMissingNames,
								   lengthof(EdwMissingNames) - 1, EDW_MISSING_QUARANTINE);
	def->unknown = EdwOptionText(options, "unknown");
	def->repoint = EdwOptionBool(options, "repoint", false);
	def->wait_limit_ms = EdwOptionIntervalMs(options, "wait_limit", WAIT_LIMIT_MS);
	return def;
}

List *
EdwLookupsParse(Jsonb *lookups, bool missing_ok)
{
	JsonbIterator *it;
	JsonbValue	v;
	JsonbIteratorToken token;
	char	   *column = NULL;
	List	   *list = NIL;

	if (!JB_ROOT_IS_OBJECT(lookups))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("lookups must be a JSON object")));
	it = JsonbIteratorInit(&lookups->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			column = pnstrdup(v.val.string.val, v.val.string.len);
		else if (token == WJB_VALUE)
		{
			if (v.type != jbvBinary || !JsonContainerIsObject(v.val.binary.data))
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("lookup of column \"%s\" is not a JSON object", column),
						 errhint("For example '{\"customer_key\": {\"dimension\": \"dim_customer\", \"match\": {\"customer_id\": \"customer_id\"}}}'.")));
			list = lappend(list, parse_lookup(column, JsonbValueToJsonb(&v), missing_ok));
		}
	}
	return list;
}

const EdwMappingDef *
EdwMappingOfTarget(List *mappings, Oid target)
{
	ListCell   *lc;

	foreach(lc, mappings)
	{
		const EdwMappingDef *def = lfirst(lc);

		if (def->target == target)
			return def;
	}
	return NULL;
}

int
EdwLookupLevel(List *mappings, const EdwMappingDef *def)
{
	int			level = 0;
	ListCell   *lc;
	ListCell   *m;

	/* map_table has refused what goes in a circle */
	foreach(lc, def->lookups)
	{
		const EdwLookupDef *lookup = lfirst(lc);
		int			below = 0;

		foreach(m, mappings)
		{
			const EdwMappingDef *other = lfirst(m);

			if (other->target == lookup->dimension)
				below = Max(below, EdwLookupLevel(mappings, other));
		}
		level = Max(level, below + 1);
	}
	return level;
}

char *
EdwLookupTimeColumn(List *columns, bool has_columns, const char *as_of)
{
	const char *wanted = as_of ? as_of : "$source_ts";
	char	   *field = as_of ? EdwExpressionField(as_of) : NULL;
	ListCell   *lc;

	foreach(lc, columns)
	{
		EdwColumnExpression *entry = lfirst(lc);

		if (strcmp(entry->expression, wanted) == 0)
			return entry->column;
		if (field != NULL && strcmp(entry->column, field) == 0)
			field = NULL;		/* another value has its name */
	}
	return has_columns ? NULL : field;
}

bool
EdwIsLookedUp(List *mappings, Oid dimension, EdwMissing missing)
{
	ListCell   *lc;
	ListCell   *l;

	foreach(lc, mappings)
		foreach(l, ((const EdwMappingDef *) lfirst(lc))->lookups)
		{
			const EdwLookupDef *lookup = lfirst(l);

			if (lookup->dimension == dimension && lookup->missing == missing)
				return true;
		}
	return false;
}
