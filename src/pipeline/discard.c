/*
 * discard.c
 *		discard_dead_letters(): messages that are given up.
 *
 * Only the letters' status changes, in the caller's transaction; they stay readable for
 * edw_stream.history_retention. A row that waited for one (K6) goes on when none of its letters is open any
 * more: workers read the set of such rows again.
 */
#include "postgres.h"

#include "catalog/options.h"
#include "catalog/pg_type.h"
#include "catalog/stream.h"
#include "fmgr.h"
#include "pipeline/catalog_sql.h"
#include "utils/builtins.h"
#include "worker/slots.h"

PG_FUNCTION_INFO_V1(edw_stream_discard_dead_letters);

#define ARGS	5

static EdwStatement discard_letters = {
	"UPDATE edw_stream.dead_letter SET status = 'discarded', last_seen = now()"
	" WHERE stream = $1 AND status IN ('open', 'waiting') AND ($2 IS NULL OR topic = $2)"
	" AND ($3 IS NULL OR partition = $3) AND ($4 IS NULL OR kafka_offset = $4)"
	" AND ($5 IS NULL OR reason = $5)",
	ARGS, {TEXTOID, TEXTOID, INT4OID, INT8OID, TEXTOID}, NULL
};

Datum
edw_stream_discard_dead_letters(PG_FUNCTION_ARGS)
{
	EdwSql		sql;
	Datum		args[ARGS] = {0};
	char		nulls[ARGS + 1] = "     ";
	uint64		n;

	EdwRequireArgument(fcinfo, 0, "stream");
	for (int i = 0; i < ARGS; i++)
	{
		if (PG_ARGISNULL(i))
			nulls[i] = 'n';
		else
			args[i] = PG_GETARG_DATUM(i);
	}
	(void) EdwStreamLoadOwned(text_to_cstring(PG_GETARG_TEXT_PP(0)), NULL);
	EdwSqlStart(&sql);
	n = EdwSqlRun(&discard_letters, args, nulls);
	EdwSqlFinish(&sql);
	if (n > 0)
		EdwSignalStreamsChanged();
	PG_RETURN_INT64((int64) n);
}
