/*
 * position_sql.c
 *		SQL's way to look at a position: describe_position(), and the entry through
 *		which the property test calls position.c.
 */
#include "postgres.h"

#include "decode/position.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(edw_stream_describe_position);
PG_FUNCTION_INFO_V1(edw_stream_make_position);

/* describe_position(bytea) returns text */
Datum
edw_stream_describe_position(PG_FUNCTION_ARGS)
{
	bytea	   *stored = PG_GETARG_BYTEA_PP(0);
	char		words[1024];

	EdwPositionDescribe((const uint8 *) VARDATA_ANY(stored),
						(int) VARSIZE_ANY_EXHDR(stored), words, sizeof(words));
	/* any bytes may be given, and a textual position may hold any */
	if (!pg_verifymbstr(words, (int) strlen(words), true))
		for (char *p = words; *p; p++)
			if (IS_HIGHBIT_SET(*p))
				*p = '?';
	PG_RETURN_TEXT_P(cstring_to_text(words));
}

static uint64
uint_part(char **parts, int n, int i)
{
	return i < n && parts[i] ? strtou64(parts[i], NULL, 10) : 0;
}

static char *
text_part(char **parts, int n, int i)
{
	return i < n && parts[i] ? parts[i] : "";
}

static bool
build(EdwPosition *p, const char *kind, bool streamed, bool is_delete, char **s, int n)
{
#define U(i) uint_part(s, n, i)
#define T(i) text_part(s, n, i), (int) strlen(text_part(s, n, i))
	if (strcmp(kind, "postgresql") == 0)
		return EdwPositionPostgres(p, streamed, is_delete, U(0), U(1));
	if (strcmp(kind, "mysql") == 0)
		return EdwPositionMysql(p, streamed, is_delete, T(0), U(1), U(2));
	if (strcmp(kind, "sqlserver") == 0)
		return EdwPositionSqlServer(p, streamed, is_delete, T(0), T(1), U(2));
	if (strcmp(kind, "oracle") == 0)
		return EdwPositionOracle(p, streamed, is_delete, T(0), T(1), T(2), U(3));
	if (strcmp(kind, "mongodb") == 0)
		return EdwPositionMongo(p, streamed, is_delete, U(0), U(1), (int64) U(2));
	if (strcmp(kind, "number") == 0)
		return EdwPositionNumber(p, streamed, is_delete, T(0), (int64) U(1));
	if (strcmp(kind, "text") == 0)
		return EdwPositionText(p, streamed, is_delete, T(0), (int64) U(1));
	if (strcmp(kind, "offset") == 0)
		return EdwPositionOffset(p, streamed, is_delete, (int64) U(0));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown kind of position \"%s\"", kind)));
#undef U
#undef T
}

/*
 * make_position(kind, streamed, is_delete, parts text[]): the position without its
 * epoch; NULL when the parts make none. Not part of the SQL API: the property
 * test declares it for itself.
 */
Datum
edw_stream_make_position(PG_FUNCTION_ARGS)
{
	char	   *kind = text_to_cstring(PG_GETARG_TEXT_PP(0));
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(3);
	Datum	   *elements;
	bool	   *nulls;
	int			n;
	char	  **parts;
	EdwPosition p;
	bytea	   *result;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	parts = palloc0(sizeof(char *) * Max(n, 1));
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			parts[i] = TextDatumGetCString(elements[i]);

	if (!build(&p, kind, PG_GETARG_BOOL(1), PG_GETARG_BOOL(2), parts, n))
		PG_RETURN_NULL();
	result = palloc(VARHDRSZ + p.len);
	SET_VARSIZE(result, VARHDRSZ + p.len);
	memcpy(VARDATA(result), p.bytes, p.len);
	PG_RETURN_BYTEA_P(result);
}
