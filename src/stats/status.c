/*
 * status.c
 *		SQL functions over shared memory, which the views are made from.
 *
 * Everybody may call them, because a view's functions run as the view's reader; so each
 * shows only the streams that the caller may see: his own (or of a role he is a member
 * of), or all for a member of pg_monitor. They read the slots without a lock:
 * numbers of one row may be a few microseconds apart.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "catalog/stream.h"
#include "compat.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "stats/histogram.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "worker/slots.h"

PG_FUNCTION_INFO_V1(edw_stream_worker_status);
PG_FUNCTION_INFO_V1(edw_stream_latency_status);
PG_FUNCTION_INFO_V1(edw_stream_workers_held);
PG_FUNCTION_INFO_V1(edw_stream_partition_end);
PG_FUNCTION_INFO_V1(edw_stream_home);

/* in the order of EdwWorkerState */
static const char *const state_names[] = {
	"free", "starting", "running", "idle", "backoff", "stalled"
};

static bool
may_see_owner(Oid caller, Oid owner)
{
	return has_privs_of_role(caller, owner) ||
		has_privs_of_role(caller, ROLE_PG_MONITOR);
}

/* The names (char *) of the streams that the caller may see, in the current context. */
static List *
visible_streams(void)
{
	MemoryContext caller = CurrentMemoryContext;
	EdwCatalogAccess access;
	List	   *names = NIL;

	EdwCatalogBegin(&access);
	SPI_connect();
	if (SPI_execute("SELECT name, owner::pg_catalog.oid FROM edw_stream.stream", true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the streams");
	MemoryContextSwitchTo(caller);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		bool		isnull;
		Oid			owner = DatumGetObjectId(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 2, &isnull));

		if (may_see_owner(access.saved_user, owner))
			names = lappend(names, SPI_getvalue(tuple, SPI_tuptable->tupdesc, 1));
	}
	SPI_finish();
	EdwCatalogEnd(&access);
	MemoryContextSwitchTo(caller);
	return names;
}

static bool
contains_name(List *names, const char *name)
{
	ListCell   *lc;

	foreach(lc, names)
	{
		if (strcmp(lfirst(lc), name) == 0)
			return true;
	}
	return false;
}

static Datum
counter(const pg_atomic_uint64 *value)
{
	return Int64GetDatum((int64) pg_atomic_read_u64(unconstify(pg_atomic_uint64 *, value)));
}

static void
put_worker(ReturnSetInfo *rsinfo, const EdwSlotInfo *slot)
{
	const EdwWorkerCounters *c = slot->counters;
	TimestampTz last_commit = DatumGetInt64(counter(&c->last_commit));
	Datum		values[16];
	bool		nulls[16] = {0};

	values[0] = CStringGetTextDatum(slot->stream);
	values[1] = Int32GetDatum(slot->worker);
	values[2] = Int32GetDatum(slot->pid);
	nulls[2] = slot->pid == 0;
	values[3] = CStringGetTextDatum(state_names[slot->state]);
	values[4] = Int32GetDatum(slot->failures);
	values[5] = TimestampTzGetDatum(slot->restart_at);
	nulls[5] = slot->restart_at == 0 || slot->state != EDW_WORKER_BACKOFF;
	values[6] = CStringGetTextDatum(slot->last_error);
	nulls[6] = slot->last_error[0] == '\0';
	values[7] = counter(&c->messages);
	values[8] = counter(&c->bytes);
	values[9] = counter(&c->batches);
	values[10] = counter(&c->dead);
	values[11] = counter(&c->retries);
	values[12] = TimestampTzGetDatum(last_commit);
	nulls[12] = last_commit == 0;
	values[13] = counter(&c->decode_us);
	values[14] = counter(&c->apply_us);
	values[15] = counter(&c->commit_us);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* worker_status(): one row per slot of this database */
Datum
edw_stream_worker_status(PG_FUNCTION_ARGS)
{
	List	   *visible = visible_streams();
	EdwSlotInfo *slots;
	int			n;

	InitMaterializedSRF(fcinfo, 0);
	slots = EdwSlotsList(&n);
	for (int i = 0; i < n; i++)
	{
		if (contains_name(visible, slots[i].stream))
			put_worker((ReturnSetInfo *) fcinfo->resultinfo, &slots[i]);
	}
	return (Datum) 0;
}

/* Three percentiles and the maximum of a histogram in ms, and how many were counted. */
static void
put_quantiles(const uint64 *counts, Datum *values, bool *nulls)
{
	static const double quantiles[] = {0.5, 0.95, 0.99, 1.0};
	int64		total = 0;

	for (int i = 0; i < EDW_LATENCY_BUCKETS; i++)
		total += counts[i];
	values[0] = Int64GetDatum(total);
	for (int i = 0; i < (int) lengthof(quantiles); i++)
	{
		nulls[i + 1] = total == 0;
		values[i + 1] = Float8GetDatum(EdwHistogramQuantile(counts, quantiles[i]) / 1000.0);
	}
}

static void
put_latency(ReturnSetInfo *rsinfo, const char *stream, const EdwSlotInfo *slots, int n)
{
	uint64		source[EDW_LATENCY_BUCKETS] = {0};
	uint64		kafka[EDW_LATENCY_BUCKETS] = {0};
	Datum		values[11];
	bool		nulls[11] = {0};

	for (int i = 0; i < n; i++)
	{
		if (strcmp(slots[i].stream, stream) != 0)
			continue;
		for (int b = 0; b < EDW_LATENCY_BUCKETS; b++)
		{
			source[b] += DatumGetInt64(counter(&slots[i].counters->source_latency[b]));
			kafka[b] += DatumGetInt64(counter(&slots[i].counters->kafka_latency[b]));
		}
	}
	values[0] = CStringGetTextDatum(stream);
	put_quantiles(source, &values[1], &nulls[1]);
	put_quantiles(kafka, &values[6], &nulls[6]);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* latency_status(): one row per stream, over all its workers */
Datum
edw_stream_latency_status(PG_FUNCTION_ARGS)
{
	List	   *visible = visible_streams();
	EdwSlotInfo *slots;
	int			n;
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, 0);
	slots = EdwSlotsList(&n);
	foreach(lc, visible)
		put_latency((ReturnSetInfo *) fcinfo->resultinfo, lfirst(lc), slots, n);
	return (Datum) 0;
}

/* workers_held(): why workers cannot run at all in this database, nulls when they can */
Datum
edw_stream_workers_held(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Datum		values[2] = {0};
	bool		nulls[2] = {true, true};
	const char *hint = NULL;
	const char *reason = EdwWorkersHeldReason(&hint);

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (reason != NULL)
	{
		values[0] = CStringGetTextDatum(reason);
		nulls[0] = false;
	}
	if (reason != NULL && hint != NULL)
	{
		values[1] = CStringGetTextDatum(hint);
		nulls[1] = false;
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/*
 * partition_end(stream, topic, partition): the end of a partition as its worker last saw
 * it; null when no worker did.
 */
Datum
edw_stream_partition_end(PG_FUNCTION_ARGS)
{
	char	   *stream = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int64		end;

	/* the streams that the caller may see, read once per statement */
	if (fcinfo->flinfo->fn_extra == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
		List	  **visible = palloc(sizeof(List *));

		*visible = visible_streams();
		fcinfo->flinfo->fn_extra = visible;
		MemoryContextSwitchTo(old);
	}
	if (!contains_name(*(List **) fcinfo->flinfo->fn_extra, stream))
		PG_RETURN_NULL();
	end = EdwSlotsPartitionEnd(stream, text_to_cstring(PG_GETARG_TEXT_PP(1)), PG_GETARG_INT32(2));
	if (end < 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(end);
}

/* home(): what start() notes, to tell this database from a copy of it (G5) */
Datum
edw_stream_home(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	PG_RETURN_TEXT_P(cstring_to_text(EdwStreamHome()));
}
