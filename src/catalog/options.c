/*
 * options.c
 *		Reading options given as jsonb, with errors that help.
 *
 * Owns nothing and keeps nothing: every function looks into the jsonb that it is
 * given. All results are in the current memory context.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/options.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

/* varstr_levenshtein takes no longer strings */
#define LONGEST_COMPARED	255

void
EdwRequireArgument(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", name)));
}

const char *
EdwNearestName(const char *given, const char *const *names, int n)
{
	const char *nearest = NULL;
	int			given_len = strlen(given);
	int			best;

	if (given_len == 0 || given_len > LONGEST_COMPARED)
		return NULL;

	/* at most a third of the letters may differ, but always two */
	best = Max(2, given_len / 3) + 1;
	for (int i = 0; i < n; i++)
	{
		int			len = strlen(names[i]);
		int			distance;

		if (pg_strcasecmp(given, names[i]) == 0)
			return names[i];
		if (len > LONGEST_COMPARED)
			continue;
		distance = varstr_levenshtein_less_equal(given, given_len, names[i], len,
												 1, 1, 1, best - 1, true);
		if (distance < best && distance < Max(given_len, len))
		{
			best = distance;
			nearest = names[i];
		}
	}
	return nearest;
}

char *
EdwNameList(const char *const *names, int n)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < n; i++)
		appendStringInfo(&list, "%s\"%s\"", i > 0 ? ", " : "", names[i]);
	return list.data;
}

int
EdwHintNames(const char *given, const char *const *names, int n)
{
	const char *nearest = EdwNearestName(given, names, n);

	if (nearest != NULL)
		return errhint("Perhaps you meant \"%s\".", nearest);
	return errhint("Known are %s.", EdwNameList(names, n));
}

void
EdwCheckOptionNames(Jsonb *options, const char *const *names, int n,
					const char *what)
{
	JsonbIterator *it;
	JsonbValue	v;
	JsonbIteratorToken token;

	if (options == NULL)
		return;
	if (!JB_ROOT_IS_OBJECT(options))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%ss must be a JSON object", what),
				 errhint("For example '{\"%s\": …}'.", names[0])));

	it = JsonbIteratorInit(&options->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		char	   *key;
		bool		known = false;

		if (token != WJB_KEY)
			continue;
		key = pnstrdup(v.val.string.val, v.val.string.len);
		for (int i = 0; i < n && !known; i++)
			known = strcmp(key, names[i]) == 0;
		if (!known)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unknown %s \"%s\"", what, key),
					 EdwHintNames(key, names, n)));
	}
}

/* the value of a key; false when it is not there or null */
static bool
lookup_value(Jsonb *options, const char *name, JsonbValue *value)
{
	if (options == NULL || !JB_ROOT_IS_OBJECT(options))
		return false;
	if (getKeyJsonValueFromContainer(&options->root, name, strlen(name), value) == NULL)
		return false;
	return value->type != jbvNull;
}

static char *
value_text(JsonbValue *value)
{
	switch (value->type)
	{
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			return numeric_normalize(value->val.numeric);
		case jbvBool:
			return pstrdup(value->val.boolean ? "true" : "false");
		case jbvBinary:
			return JsonbToCString(NULL, value->val.binary.data, value->val.binary.len);
		default:
			elog(ERROR, "unexpected type %d of an option's value", (int) value->type);
	}
}

char *
EdwOptionText(Jsonb *options, const char *name)
{
	JsonbValue	value;

	if (!lookup_value(options, name, &value))
		return NULL;
	return value_text(&value);
}

int
EdwChoice(const char *given, const char *const *choices, int n, const char *what)
{
	for (int i = 0; i < n; i++)
	{
		if (strcmp(given, choices[i]) == 0)
			return i;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value \"%s\" for %s", given, what),
			 EdwNearestName(given, choices, n) != NULL
			 ? errdetail("Possible are %s.", EdwNameList(choices, n)) : 0,
			 EdwHintNames(given, choices, n)));
}

int
EdwOptionChoice(Jsonb *options, const char *name,
				const char *const *choices, int n, int dflt)
{
	char	   *given = EdwOptionText(options, name);

	if (given == NULL)
		return dflt;
	return EdwChoice(given, choices, n, psprintf("option \"%s\"", name));
}

bool
EdwOptionBool(Jsonb *options, const char *name, bool dflt)
{
	JsonbValue	value;
	bool		result;

	if (!lookup_value(options, name, &value))
		return dflt;
	if (value.type == jbvBool)
		return value.val.boolean;
	if (value.type != jbvString || !parse_bool(value_text(&value), &result))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value %s for option \"%s\"", value_text(&value), name),
				 errhint("It must be true or false.")));
	return result;
}

int64
EdwOptionInt(Jsonb *options, const char *name, int64 dflt, int64 min, int64 max)
{
	char	   *text = EdwOptionText(options, name);
	char	   *end;
	int64		result;

	if (text == NULL)
		return dflt;
	errno = 0;
	result = strtoll(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || result < min || result > max)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value %s for option \"%s\"", text, name),
				 errhint("It must be an integer from %lld to %lld.",
						 (long long) min, (long long) max)));
	return result;
}

double
EdwOptionReal(Jsonb *options, const char *name, double dflt, double min, double max)
{
	char	   *text = EdwOptionText(options, name);
	char	   *end;
	double		result;

	if (text == NULL)
		return dflt;
	errno = 0;
	result = strtod(text, &end);
	/* written so that NaN is out of range */
	if (errno != 0 || end == text || *end != '\0' || !(result >= min && result <= max))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value %s for option \"%s\"", text, name),
				 errhint("It must be a number from %g to %g.", min, max)));
	return result;
}

static void
interval_option_context(void *arg)
{
	errcontext("option \"%s\"", (const char *) arg);
}

int64
EdwOptionIntervalMs(Jsonb *options, const char *name, int64 dflt)
{
	char	   *text = EdwOptionText(options, name);
	ErrorContextCallback callback;
	Interval   *interval;
	double		ms;

	if (text == NULL)
		return dflt;

	callback.callback = interval_option_context;
	callback.arg = unconstify(char *, name);
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	interval = DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(text),
													 ObjectIdGetDatum(InvalidOid),
													 Int32GetDatum(-1)));
	error_context_stack = callback.previous;

	ms = interval->time / 1000.0 +
		(interval->day + 30.0 * interval->month) * 24.0 * 3600.0 * 1000.0;
	if (ms < 0 || ms > (double) PG_INT32_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value %s for option \"%s\"", text, name),
				 errhint("It must be an interval from 0 to 24 days.")));
	return (int64) ms;
}
