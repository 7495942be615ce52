/*
 * watch.c
 *		Which tables and functions the routes were built from, and whether they changed since.
 *
 * Invalidations come at any time, so the callbacks only set a flag; the pipeline then builds
 * its routes anew. Nothing is ever unregistered: PostgreSQL has no way to. The list belongs to
 * the process and lives in TopMemoryContext.
 */
#include "postgres.h"

#include "apply/watch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

/* tables that routes were built from; never shrinks but by a new set of routes */
static Oid *watched = NULL;
static int	nwatched = 0;
static int	watched_size = 0;
static bool watch_functions = false;
static bool stale = false;
static bool callbacks_registered = false;

static void
relation_changed(Datum arg pg_attribute_unused(), Oid relid)
{
	for (int i = 0; i < nwatched && !stale; i++)
		if (relid == InvalidOid || watched[i] == relid)
			stale = true;
}

/* A schema's tables are not told that it was renamed. */
static void
schema_changed(Datum arg pg_attribute_unused(), int cacheid pg_attribute_unused(),
			   uint32 hashvalue pg_attribute_unused())
{
	if (nwatched > 0)
		stale = true;
}

static void
function_changed(Datum arg pg_attribute_unused(), int cacheid pg_attribute_unused(),
				 uint32 hashvalue pg_attribute_unused())
{
	if (watch_functions)
		stale = true;
}

bool
EdwRoutesAreStale(void)
{
	return stale;
}

/* Call it before building the routes anew: what changes meanwhile is not missed. */
void
EdwRoutesMarkFresh(void)
{
	stale = false;
	nwatched = 0;
	watch_functions = false;
}

/* A route is made from this table. */
void
EdwWatchRelation(Oid relid)
{
	if (!callbacks_registered)
	{
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(PROCOID, function_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, schema_changed, (Datum) 0);
		callbacks_registered = true;
	}
	for (int i = 0; i < nwatched; i++)
		if (watched[i] == relid)
			return;
	if (nwatched == watched_size)
	{
		int			size = Max(16, watched_size * 2);

		watched = watched == NULL ? MemoryContextAlloc(TopMemoryContext, size * sizeof(Oid))
			: repalloc(watched, size * sizeof(Oid));
		watched_size = size;
	}
	watched[nwatched++] = relid;
}

/* A route has expressions: functions that they call may have been inlined. */
void
EdwWatchFunctions(void)
{
	watch_functions = true;
}

/* The table was found to differ from what a route was built from. */
void
EdwRoutesMarkStale(void)
{
	stale = true;
}
