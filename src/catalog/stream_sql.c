/*
 * stream_sql.c
 *		SQL functions that make, drop, start and pause streams.
 *
 * Everything is checked before the first row is written. The caller must be the stream's
 * owner or a member of it; only then is the table written, as the extension's owner.
 * Functions that change a stream lock its row first, so that two of them never work on
 * the same state; the launcher is told at commit.
 */
#include "postgres.h"

#include "catalog/connection.h"
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
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "worker/slots.h"

#define NAME_MAX_LEN		63
#define WORKERS_MAX			64

PG_FUNCTION_INFO_V1(edw_stream_create_stream);
PG_FUNCTION_INFO_V1(edw_stream_drop_stream);
PG_FUNCTION_INFO_V1(edw_stream_start);
PG_FUNCTION_INFO_V1(edw_stream_pause);

/* the arguments of create_stream, checked */
typedef struct NewStream
{
	char	   *name;
	char	   *server;			/* NULL: the inbox */
	Datum		topics_array;
	List	   *topics;
	char	   *format;
	char	   *start_at;		/* normalised: does not depend on the session's settings */
	int			workers;
	Jsonb	   *options_json;
	EdwStreamOptions options;
} NewStream;

/* the stream that a function is called for */
static char *
stream_argument(FunctionCallInfo fcinfo)
{
	EdwRequireArgument(fcinfo, 0, "stream");
	return text_to_cstring(PG_GETARG_TEXT_PP(0));
}

static void
check_stream_name(const char *name)
{
	size_t		len = strlen(name);
	size_t		valid = strspn(name, "abcdefghijklmnopqrstuvwxyz"
							   "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");

	if (len == 0 || len > NAME_MAX_LEN || valid != len || name[0] == '-' || name[0] == '.')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("invalid stream name \"%s\"", name),
				 errhint("A stream's name has 1 to %d ASCII letters, digits, underscores, hyphens and dots, "
						 "and does not begin with a hyphen or dot.", NAME_MAX_LEN)));
}

static void
check_format(const char *format)
{
	const char *names[EDW_FORMATS_MAX];
	int			n = 0;

	memset(names, 0, sizeof(names));
	if (EdwFindDecoder(format, names) != NULL)
		return;
	while (n < (int) lengthof(names) && names[n] != NULL)
		n++;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown format \"%s\"", format),
			 EdwHintNames(format, names, n)));
}

/* The text that is stored: a timestamp with its zone, so that any worker reads the same. */
static char *
normalise_start_at(const char *text)
{
	int64		ms;

	if (EdwParseStartAt(text, &ms) != EDW_START_TIMESTAMP)
		return pstrdup(text);
	return pstrdup(timestamptz_to_str((ms - (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) *
									   SECS_PER_DAY * 1000) * 1000));
}

/* rules between options and the other arguments */
static void
check_workers(const NewStream *stream)
{
	if (stream->workers < 1 || stream->workers > WORKERS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid number of workers %d", stream->workers),
				 errhint("It must be from 1 to %d.", WORKERS_MAX)));
	if (stream->workers > 1 && stream->server == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a stream from the embedded inbox has one worker"),
				 errhint("Use workers => 1.")));
	if (stream->workers > 1 && stream->options.transaction_topic != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a stream with a transaction topic has one worker"),
				 errdetail("A source transaction is committed whole by one worker."),
				 errhint("Use workers => 1, or leave out option \"%s\".", "transaction_topic")));
}

static void
check_transaction_topic(const NewStream *stream)
{
	const char *topic = stream->options.transaction_topic;
	ListCell   *lc;

	if (topic == NULL)
		return;
	EdwCheckTopicName(topic);
	foreach(lc, stream->topics)
	{
		if (strcmp(topic, lfirst(lc)) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("transaction topic \"%s\" is listed among the topics", topic),
					 errhint("Leave it out of the topics: the stream reads it by itself.")));
	}
}

static void
check_not_there(const char *name)
{
	if (EdwStreamLoad(name, true) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("stream \"%s\" already exists", name)));
}

static void
check_new_stream(FunctionCallInfo fcinfo, NewStream *stream)
{
	ArrayType  *topics;

	EdwRequireArgument(fcinfo, 0, "name");
	EdwRequireArgument(fcinfo, 2, "topics");
	stream->name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	check_stream_name(stream->name);
	check_not_there(stream->name);

	stream->server = PG_ARGISNULL(1) ? NULL : pstrdup(NameStr(*PG_GETARG_NAME(1)));
	if (stream->server != NULL)
		EdwConnectionCheck(stream->server, EDW_KAFKA_WRAPPER, GetUserId());

	topics = PG_GETARG_ARRAYTYPE_P(2);
	if (ARR_NDIM(topics) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("topics must be a one-dimensional array")));
	stream->topics_array = PointerGetDatum(topics);
	stream->topics = EdwTextArrayToList(stream->topics_array);
	EdwCheckTopicList(stream->topics);

	stream->format = PG_ARGISNULL(3) ? "debezium-json" : text_to_cstring(PG_GETARG_TEXT_PP(3));
	check_format(stream->format);
	if (!PG_ARGISNULL(4))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("format \"%s\" does not use a schema registry", stream->format),
				 errhint("Leave out registry.")));
	stream->start_at = normalise_start_at(PG_ARGISNULL(5) ? "earliest" :
										  text_to_cstring(PG_GETARG_TEXT_PP(5)));
	stream->workers = PG_ARGISNULL(6) ? 1 : PG_GETARG_INT32(6);
	stream->options_json = PG_ARGISNULL(7) ?
		DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"))) :
		PG_GETARG_JSONB_P(7);
	EdwStreamOptionsParse(stream->options_json, &stream->options);
	check_workers(stream);
	check_transaction_topic(stream);
}

static void
insert_stream(const NewStream *stream)
{
	Oid			types[] = {TEXTOID, OIDOID, TEXTOID, TEXTARRAYOID, TEXTOID, TEXTOID,
	INT4OID, JSONBOID};
	Datum		args[8];
	char		nulls[] = "        ";

	args[0] = CStringGetTextDatum(stream->name);
	args[1] = ObjectIdGetDatum(GetUserId());
	args[2] = stream->server ? CStringGetTextDatum(stream->server) : (Datum) 0;
	nulls[2] = stream->server ? ' ' : 'n';
	args[3] = stream->topics_array;
	args[4] = CStringGetTextDatum(stream->format);
	args[5] = CStringGetTextDatum(stream->start_at);
	args[6] = Int32GetDatum(stream->workers);
	args[7] = JsonbPGetDatum(stream->options_json);
	EdwCatalogExecute("INSERT INTO edw_stream.stream"
					  " (name, owner, server, topics, format, start_at, workers, options)"
					  " VALUES ($1, $2::pg_catalog.regrole, $3, $4, $5, $6, $7, $8)",
					  lengthof(types), types, args, nulls);
}

/*
 * create_stream(name, server, topics, format, registry, start_at, workers, options).
 * The stream is paused, so that tables can be mapped before the first event comes.
 */
Datum
edw_stream_create_stream(PG_FUNCTION_ARGS)
{
	NewStream	stream = {0};

	check_new_stream(fcinfo, &stream);
	if (stream.server != NULL)
	{
		List	   *topics = list_copy(stream.topics);

		if (stream.options.transaction_topic != NULL)
			topics = lappend(topics, stream.options.transaction_topic);
		EdwCheckTopicsExist(stream.name, stream.server, topics);
	}
	insert_stream(&stream);
	EdwSignalStreamsChanged();
	PG_RETURN_VOID();
}

static uint64
execute_for_stream(const char *sql, const char *stream)
{
	Oid			type = TEXTOID;
	Datum		arg = CStringGetTextDatum(stream);

	return EdwCatalogExecute(sql, 1, &type, &arg, NULL);
}

/*
 * drop_stream(stream): everything that is the stream's goes; targets stay as they are. Waits
 * for a batch that is being applied, which then is the stream's last.
 */
Datum
edw_stream_drop_stream(PG_FUNCTION_ARGS)
{
	char	   *name = stream_argument(fcinfo);

	(void) EdwStreamLoadOwned(name, "FOR UPDATE");
	execute_for_stream("DELETE FROM edw_stream.tombstone USING edw_stream.mapping m"
					   " WHERE tombstone.mapping_id OPERATOR(pg_catalog.=) m.mapping_id"
					   " AND m.stream OPERATOR(pg_catalog.=) $1", name);
	execute_for_stream("DELETE FROM edw_stream.scd2_event USING edw_stream.mapping m"
					   " WHERE scd2_event.mapping_id OPERATOR(pg_catalog.=) m.mapping_id"
					   " AND m.stream OPERATOR(pg_catalog.=) $1", name);
	execute_for_stream("DELETE FROM edw_stream.inbox WHERE stream OPERATOR(pg_catalog.=) $1", name);
	execute_for_stream("DELETE FROM edw_stream.batch WHERE stream OPERATOR(pg_catalog.=) $1", name);
	/* what refers to the stream goes by ON DELETE CASCADE */
	execute_for_stream("DELETE FROM edw_stream.stream WHERE name OPERATOR(pg_catalog.=) $1", name);
	EdwSignalStreamsChanged();
	PG_RETURN_VOID();
}

static void
check_has_mapping(const char *name)
{
	if (execute_for_stream("SELECT FROM edw_stream.mapping"
						   " WHERE stream OPERATOR(pg_catalog.=) $1 LIMIT 1", name) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("stream \"%s\" has no mapping", name),
				 errdetail("Its events would be read and given to no table."),
				 errhint("Use edw_stream.map_table first.")));
}

/*
 * start(stream): run from now on, in this database of this cluster (G5). Clears a
 * stall; what a schema change brought is accepted (pipeline/fields.c recorded it).
 */
Datum
edw_stream_start(PG_FUNCTION_ARGS)
{
	char	   *name = stream_argument(fcinfo);
	Oid			types[] = {TEXTOID, TEXTOID};
	Datum		args[2];

	(void) EdwStreamLoadOwned(name, "FOR NO KEY UPDATE");
	check_has_mapping(name);
	args[0] = CStringGetTextDatum(name);
	args[1] = CStringGetTextDatum(EdwStreamHome());
	EdwCatalogExecute("UPDATE edw_stream.stream SET wanted_running = true, home = $2,"
					  " stalled = false, reason = NULL, message = NULL, hint = NULL,"
					  " stalled_at = NULL"
					  " WHERE name OPERATOR(pg_catalog.=) $1",
					  2, types, args, NULL);
	if (!EdwSlotsAvailable())
		ereport(WARNING,
				(errmsg("stream \"%s\" has no worker: library \"%s\" is not preloaded",
						name, EDW_EXTENSION_NAME),
				 errhint("Add it to shared_preload_libraries and restart the server, "
						 "or use CALL edw_stream.drain(%s).", quote_literal_cstr(name))));
	EdwSignalStreamsChanged();
	PG_RETURN_VOID();
}

/* pause(stream): stop after the batch that is being applied; a stall stays noted */
Datum
edw_stream_pause(PG_FUNCTION_ARGS)
{
	char	   *name = stream_argument(fcinfo);

	(void) EdwStreamLoadOwned(name, "FOR NO KEY UPDATE");
	execute_for_stream("UPDATE edw_stream.stream SET wanted_running = false"
					   " WHERE name OPERATOR(pg_catalog.=) $1", name);
	EdwSignalStreamsChanged();
	PG_RETURN_VOID();
}
