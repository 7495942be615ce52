/*
 * catalog_sql.c
 *		Running the pipeline's own statements over edw_stream's tables.
 */
#include "postgres.h"

#include "pipeline/catalog_sql.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

void
EdwSqlStart(EdwSql *sql)
{
	sql->caller = CurrentMemoryContext;
	EdwCatalogBegin(&sql->access);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

void
EdwSqlFinish(EdwSql *sql)
{
	SPI_finish();
	EdwCatalogEnd(&sql->access);
	MemoryContextSwitchTo(sql->caller);
}

static void
prepare(EdwStatement *statement)
{
	if (statement->plan == NULL)
	{
		SPIPlanPtr	plan = SPI_prepare(statement->text, statement->nargs, statement->types);

		if (plan == NULL)
			elog(ERROR, "could not prepare \"%s\": %s", statement->text,
				 SPI_result_code_string(SPI_result));
		if (SPI_keepplan(plan) != 0)
			elog(ERROR, "could not keep the plan of \"%s\"", statement->text);
		statement->plan = plan;
	}
}

static uint64
finish(EdwStatement *statement, int result)
{
	if (result < 0)
		elog(ERROR, "could not run \"%s\": %s", statement->text, SPI_result_code_string(result));
	return SPI_processed;
}

static uint64
execute(EdwStatement *statement, Datum *values, const char *nulls, bool read_only)
{
	prepare(statement);
	return finish(statement, SPI_execute_plan(statement->plan, values, nulls, read_only, 0));
}

uint64
EdwSqlRun(EdwStatement *statement, Datum *values, const char *nulls)
{
	return execute(statement, values, nulls, false);
}

uint64
EdwSqlLook(EdwStatement *statement, Datum *values)
{
	return execute(statement, values, NULL, true);
}

uint64
EdwSqlRunUnder(EdwStatement *statement, Datum *values, Snapshot snapshot)
{
	prepare(statement);
	return finish(statement, SPI_execute_snapshot(statement->plan, values, NULL, snapshot,
												  InvalidSnapshot, false, true, 0));
}

List *
EdwSqlFetchOids(EdwStatement *statement, Datum *values, Snapshot snapshot)
{
	EdwSql		sql;
	List	   *result = NIL;
	uint64		n;

	EdwSqlStart(&sql);
	n = snapshot == NULL ? EdwSqlRun(statement, values, NULL) : EdwSqlRunUnder(statement, values, snapshot);
	for (uint64 i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(sql.caller);
		bool		isnull;

		result = lappend_oid(result, DatumGetObjectId(EdwSqlGet(i, 1, &isnull)));
		MemoryContextSwitchTo(old);
	}
	EdwSqlFinish(&sql);
	return result;
}

Datum
EdwSqlGet(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

char *
EdwSqlGetText(EdwSql *sql, uint64 row, int column)
{
	char	   *value = SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);

	return value == NULL ? NULL : MemoryContextStrdup(sql->caller, value);
}

char *
EdwSqlGetBytes(EdwSql *sql, uint64 row, int column, int *len)
{
	bool		isnull;
	Datum		datum = EdwSqlGet(row, column, &isnull);
	bytea	   *bytes;
	char	   *copy;

	*len = -1;
	if (isnull)
		return NULL;
	bytes = DatumGetByteaPP(datum);
	*len = VARSIZE_ANY_EXHDR(bytes);
	copy = MemoryContextAlloc(sql->caller, *len + 1);
	memcpy(copy, VARDATA_ANY(bytes), *len);
	copy[*len] = '\0';
	return copy;
}

Datum
EdwBytesDatum(const void *bytes, int len)
{
	bytea	   *result = palloc(VARHDRSZ + len);

	SET_VARSIZE(result, VARHDRSZ + len);
	memcpy(VARDATA(result), bytes, len);
	return PointerGetDatum(result);
}

void
EdwSqlSetText(Datum *args, char *nulls, int i, const char *value)
{
	if (value != NULL)
		args[i] = CStringGetTextDatum(value);
	else
		nulls[i] = 'n';
}
