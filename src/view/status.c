/*
 * status.c
 *		What the view edw_stream.views asks of registered views beyond its tables.
 */
#include "postgres.h"

#include "fmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "view/definition.h"
#include "view/state.h"

PG_FUNCTION_INFO_V1(edw_stream_view_method);

/* Who looks how views are does not wait for those who alter them. */
static bool
lock_without_waiting(Oid view)
{
	ListCell   *lc;

	foreach(lc, lappend_oid(EdwViewBasesRecorded(view), view))
	{
		if (!ConditionalLockRelationOid(lfirst_oid(lc), AccessShareLock))
			return false;
	}
	return true;
}

/* view_method(view): how it is brought up to date; null when that cannot be known now */
Datum
edw_stream_view_method(PG_FUNCTION_ARGS)
{
	Oid			view = PG_GETARG_OID(0);
	const EdwViewDef *def = lock_without_waiting(view) ? EdwViewLoad(view) : NULL;

	if (def == NULL)
		PG_RETURN_NULL();
	switch (def->method)
	{
		case EDW_VIEW_DELTA:
			PG_RETURN_TEXT_P(cstring_to_text("delta"));
		case EDW_VIEW_PARTITION:
			PG_RETURN_TEXT_P(cstring_to_text("partition"));
		case EDW_VIEW_FULL:
			PG_RETURN_TEXT_P(cstring_to_text("full"));
	}
	PG_RETURN_NULL();
}
