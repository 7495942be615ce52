/*
 * stream.c
 *		Reads edw_stream.stream, and gives access to the extension's own tables.
 *
 * Nobody but the extension's owner may touch the tables. What C code needs from them
 * it reads and writes between EdwCatalogBegin and EdwCatalogEnd, as that owner, with
 * search_path pinned and every name in the statements qualified. No user-supplied
 * expression is ever evaluated between the two.
 *
 * All functions run inside the caller's transaction and take no lock but those of
 * their statements.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xlog.h"
#include "catalog/indexing.h"
#include "catalog/options.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "catalog/stream.h"
#include "commands/extension.h"
#include "commands/dbcommands.h"
#include "edw_stream.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* column numbers of the query in stream_query, from 1 */
enum
{
	COL_NAME = 1, COL_OWNER, COL_SERVER, COL_TOPICS, COL_FORMAT, COL_REGISTRY,
	COL_START_AT, COL_WORKERS, COL_OPTIONS, COL_WANTED_RUNNING, COL_STALLED,
	COL_REASON, COL_HINT, COL_MESSAGE
};

static const char stream_query[] =
"SELECT name, owner::pg_catalog.oid, server::pg_catalog.text, topics, format,"
" registry::pg_catalog.text, start_at, workers, options,"
" wanted_running AND home OPERATOR(pg_catalog.=) $2, stalled, reason, hint, message"
" FROM edw_stream.stream WHERE name OPERATOR(pg_catalog.=) $1";

/* the owner of the extension, InvalidOid when it is not installed here */
static Oid
extension_owner(void)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			owner = InvalidOid;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(EDW_EXTENSION_NAME));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		owner = ((Form_pg_extension) GETSTRUCT(tuple))->extowner;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return owner;
}

void
EdwCatalogBegin(EdwCatalogAccess *access)
{
	Oid			owner = extension_owner();

	if (!OidIsValid(owner))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"%s\" is not installed in database \"%s\"",
						EDW_EXTENSION_NAME, get_database_name(MyDatabaseId)),
				 errhint("Use CREATE EXTENSION %s.", EDW_EXTENSION_NAME)));

	GetUserIdAndSecContext(&access->saved_user, &access->saved_context);
	SetUserIdAndSecContext(owner, access->saved_context | SECURITY_LOCAL_USERID_CHANGE);
	access->guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp",
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

void
EdwCatalogEnd(EdwCatalogAccess *access)
{
	AtEOXact_GUC(true, access->guc_level);
	SetUserIdAndSecContext(access->saved_user, access->saved_context);
}

char *
EdwStreamHome(void)
{
	/* the extension's OID tells a dump that was restored into its own database */
	return psprintf(UINT64_FORMAT "/%u/%u", GetSystemIdentifier(), MyDatabaseId,
					get_extension_oid(EDW_EXTENSION_NAME, true));
}

EdwStartAt
EdwParseStartAt(const char *text, int64 *timestamp_ms)
{
	TimestampTz when;

	*timestamp_ms = 0;
	if (strcmp(text, "earliest") == 0)
		return EDW_START_EARLIEST;
	if (strcmp(text, "latest") == 0)
		return EDW_START_LATEST;

	/* a word is no timestamp: say what is possible, not what timestamptz thinks of it */
	if (strpbrk(text, "0123456789") == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid start_at \"%s\"", text),
				 errhint("Use 'earliest', 'latest', or a timestamp like '2026-01-31 12:00:00+00'.")));
	when = DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(text),
												   ObjectIdGetDatum(InvalidOid),
												   Int32GetDatum(-1)));
	if (TIMESTAMP_NOT_FINITE(when))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid start_at \"%s\"", text),
				 errhint("Use 'earliest' or 'latest' in place of an infinite time.")));
	*timestamp_ms = when / 1000 +
		(int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * 1000;
	if (*timestamp_ms < 0)
		*timestamp_ms = 0;
	return EDW_START_TIMESTAMP;
}

List *
EdwTextArrayToList(Datum array)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;
	List	   *list = NIL;

	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
		list = lappend(list, nulls[i] ? NULL : TextDatumGetCString(elements[i]));
	return list;
}

/* a column of the first row found, NULL for null */
static char *
result_text(int column)
{
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column);
}

static Datum
result_datum(int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column, isnull);
}

/* The row that SPI has found, in the current context. */
static EdwStreamDef *
stream_from_result(void)
{
	EdwStreamDef *def = palloc0(sizeof(EdwStreamDef));
	bool		isnull;
	char	   *start_at = result_text(COL_START_AT);

	def->name = result_text(COL_NAME);
	def->owner = DatumGetObjectId(result_datum(COL_OWNER, &isnull));
	def->server = result_text(COL_SERVER);
	def->topics = EdwTextArrayToList(result_datum(COL_TOPICS, &isnull));
	def->format = result_text(COL_FORMAT);
	def->registry = result_text(COL_REGISTRY);
	def->start_at = EdwParseStartAt(start_at, &def->start_timestamp_ms);
	def->workers = DatumGetInt32(result_datum(COL_WORKERS, &isnull));
	EdwStreamOptionsParse(DatumGetJsonbP(result_datum(COL_OPTIONS, &isnull)), &def->options);
	def->wanted_running = DatumGetBool(result_datum(COL_WANTED_RUNNING, &isnull)) && !isnull;
	def->stalled = DatumGetBool(result_datum(COL_STALLED, &isnull));
	def->reason = result_text(COL_REASON);
	def->hint = result_text(COL_HINT);
	def->message = result_text(COL_MESSAGE);
	return def;
}

/* ERROR: there is no such stream; names the nearest of those that the caller may see */
static void
report_undefined_stream(const char *name, Oid caller)
{
	const char **names;
	const char *nearest;
	int			n = 0;

	if (SPI_execute("SELECT name, owner::pg_catalog.oid FROM edw_stream.stream", false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the streams");
	names = palloc0(sizeof(char *) * Max(SPI_processed, 1));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Oid			owner = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i],
														   SPI_tuptable->tupdesc, 2, &isnull));

		if (has_privs_of_role(caller, owner))
			names[n++] = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
	}
	nearest = EdwNearestName(name, names, n);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("stream \"%s\" does not exist", name),
			 nearest ? errhint("Perhaps you meant \"%s\".", nearest)
			 : errhint("The view edw_stream.streams lists your streams.")));
}

EdwStreamDef *
EdwStreamLoad(const char *name, bool missing_ok)
{
	MemoryContext caller = CurrentMemoryContext;
	EdwCatalogAccess access;
	EdwStreamDef *def = NULL;
	Oid			types[] = {TEXTOID, TEXTOID};
	Datum		args[2];

	args[0] = CStringGetTextDatum(name);
	args[1] = CStringGetTextDatum(EdwStreamHome());

	EdwCatalogBegin(&access);
	SPI_connect();
	if (SPI_execute_with_args(stream_query, 2, types, args, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read stream \"%s\"", name);
	if (SPI_processed == 1)
	{
		MemoryContext spi = MemoryContextSwitchTo(caller);

		def = stream_from_result();
		MemoryContextSwitchTo(spi);
	}
	else if (!missing_ok)
		report_undefined_stream(name, access.saved_user);
	SPI_finish();
	EdwCatalogEnd(&access);
	return def;
}

void
EdwStreamCheckOwner(const EdwStreamDef *def)
{
	if (!has_privs_of_role(GetUserId(), def->owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of stream \"%s\"", def->name)));
}

EdwStreamDef *
EdwStreamLoadOwned(const char *name, const char *row_lock)
{
	EdwStreamDef *def = EdwStreamLoad(name, false);

	EdwStreamCheckOwner(def);
	if (row_lock != NULL)
	{
		Oid			type = TEXTOID;
		Datum		arg = CStringGetTextDatum(name);

		/* whoever changed or dropped it meanwhile has committed when we have the lock */
		EdwCatalogExecute(psprintf("SELECT FROM edw_stream.stream"
								   " WHERE name OPERATOR(pg_catalog.=) $1 %s", row_lock),
						  1, &type, &arg, NULL);
		def = EdwStreamLoad(name, false);
		EdwStreamCheckOwner(def);
	}
	return def;
}

uint64
EdwCatalogExecute(const char *sql, int nargs, Oid *types, Datum *args, const char *nulls)
{
	EdwCatalogAccess access;
	uint64		processed;
	int			rc;

	EdwCatalogBegin(&access);
	SPI_connect();
	rc = SPI_execute_with_args(sql, nargs, types, args, nulls, false, 0);
	if (rc < 0)
		elog(ERROR, "could not execute \"%s\": %s", sql, SPI_result_code_string(rc));
	processed = SPI_processed;
	SPI_finish();
	EdwCatalogEnd(&access);
	return processed;
}

void
EdwStreamSetStalled(const char *name, const char *reason,
					const char *message, const char *hint)
{
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID};
	Datum		args[4] = {0};
	char		nulls[4];

	args[0] = CStringGetTextDatum(name);
	args[1] = CStringGetTextDatum(reason);
	if (message != NULL)
		args[2] = CStringGetTextDatum(message);
	if (hint != NULL && hint[0] != '\0')
		args[3] = CStringGetTextDatum(hint);
	for (int i = 0; i < 4; i++)
		nulls[i] = args[i] == (Datum) 0 ? 'n' : ' ';

	EdwCatalogExecute("UPDATE edw_stream.stream SET stalled = true, reason = $2,"
					  " message = $3, hint = $4, stalled_at = pg_catalog.clock_timestamp()"
					  " WHERE name OPERATOR(pg_catalog.=) $1",
					  4, types, args, nulls);
}
