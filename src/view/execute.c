/*
 * execute.c
 *		Running a view's queries as its owner (see execute.h).
 *
 * Takes the locks that a stored query needs; they are kept to the end of the transaction. A
 * query is planned each time: the captured rows that it reads differ by orders of magnitude.
 */
#include "postgres.h"

#include "view/execute.h"

#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "compat.h"
#include "executor/execdesc.h"
#include "executor/executor.h"
#include "executor/tstoreReceiver.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "rewrite/rewriteHandler.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

/* what plans and error messages show as the statement's text */
#define QUERY_TEXT	"query of a registered materialized view"

/*
 * The planner is told of a part of the captured rows, so that it rather probes indexes with them: it
 * takes each probe for a read from disk, where in truth what was just written is in memory. Not so if
 * they are a good part of the table: then what they join is best read whole.
 */
#define TOLD_SHARE		0.1
#define TOLD_ROWS		10.0	/* at least */
#define GOOD_PART		0.1

/* settings that the results of stable functions, casts and output depend on */
static const char *const pinned[] = {
	"TimeZone", "timezone_abbreviations", "DateStyle", "IntervalStyle", "extra_float_digits",
	"lc_monetary", "lc_numeric", "lc_time", "bytea_output", "xmlbinary", "xmloption",
	"default_text_search_config", "quote_all_identifiers"
};

typedef struct EnrRows
{
	QueryEnvironment *environment;
	double		limit;			/* 0: none */
} EnrRows;

/* One line per setting. */
char *
EdwViewCurrentSettings(void)
{
	StringInfoData text;

	initStringInfo(&text);
	for (size_t i = 0; i < lengthof(pinned); i++)
		appendStringInfo(&text, "%s%s=%s", i == 0 ? "" : "\n", pinned[i],
						 GetConfigOption(pinned[i], false, false));
	return text.data;
}

static void
set_option(const char *name, const char *value)
{
	/* most sessions have the settings of the registration: comparing is cheaper than setting */
	if (strcmp(GetConfigOption(name, false, false), value) != 0)
		(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
								 true, 0, false);
}

static void
apply_settings(const char *settings)
{
	char	   *copy = pstrdup(settings);
	char	   *rest = copy;
	char	   *line;

	while ((line = strsep(&rest, "\n")) != NULL)
	{
		char	   *value = strchr(line, '=');

		if (value == NULL)
			elog(ERROR, "setting \"%s\" of a registered view has no value", line);
		*value++ = '\0';
		set_option(line, value);
	}
	pfree(copy);
}

void
EdwViewEnter(const EdwViewDef *def, EdwViewAccess *access)
{
	GetUserIdAndSecContext(&access->saved_user, &access->saved_context);
	SetUserIdAndSecContext(def->owner, access->saved_context | SECURITY_LOCAL_USERID_CHANGE |
						   SECURITY_RESTRICTED_OPERATION);
	access->guc_level = NewGUCNestLevel();
	set_option("search_path", "pg_catalog, pg_temp");
	set_option("row_security", "on");
	set_option("jit", "off");	/* each plan runs once: compiling it does not pay */
	apply_settings(def->settings);
}

void
EdwViewLeave(EdwViewAccess *access)
{
	AtEOXact_GUC(false, access->guc_level);
	SetUserIdAndSecContext(access->saved_user, access->saved_context);
}

/* Tell the planner how many captured rows there are. */
static bool
set_enr_rows(Node *node, void *context)
{
	EnrRows    *rows = context;

	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;

		if (rte->rtekind == RTE_NAMEDTUPLESTORE)
		{
			EphemeralNamedRelation enr = rows->environment == NULL ? NULL :
				get_ENR(rows->environment, rte->enrname);

			if (enr == NULL)
				elog(ERROR, "captured rows \"%s\" are missing", rte->enrname);
			rte->enrtuples = enr->md.enrtuples;
			if (rows->limit > 0)
				rte->enrtuples = Min(rte->enrtuples, rows->limit);
		}
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, set_enr_rows, context, QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, set_enr_rows, context);
}

static uint64
run(Query *query, QueryEnvironment *environment, Snapshot snapshot, double enr_rows,
	DestReceiver *dest, TupleDesc *desc)
{
	EnrRows		rows = {environment, enr_rows};
	PlannedStmt *plan;
	QueryDesc  *running;
	uint64		processed;

	AcquireRewriteLocks(query, true, false);
	(void) set_enr_rows((Node *) query, &rows);

	PushCopiedSnapshot(snapshot);
	UpdateActiveSnapshotCommandId();
	plan = pg_plan_query(query, QUERY_TEXT, CURSOR_OPT_PARALLEL_OK, NULL);
	running = CreateQueryDesc(plan, QUERY_TEXT, GetActiveSnapshot(), InvalidSnapshot, dest, NULL,
							  environment, 0);
	ExecutorStart(running, 0);
	EdwExecutorRun(running);
	ExecutorFinish(running);
	processed = running->estate->es_processed;
	if (desc != NULL)
		*desc = CreateTupleDescCopy(running->tupDesc);
	ExecutorEnd(running);
	FreeQueryDesc(running);
	PopActiveSnapshot();
	return processed;
}

uint64
EdwViewRun(Query *query, QueryEnvironment *environment, Snapshot snapshot, double enr_rows,
		   DestReceiver *dest)
{
	return run(query, environment, snapshot, enr_rows, dest, NULL);
}

Tuplestorestate *
EdwViewRunToStore(Query *query, QueryEnvironment *environment, Snapshot snapshot,
				  double enr_rows, TupleDesc *desc)
{
	Tuplestorestate *store = tuplestore_begin_heap(false, false, work_mem);
	DestReceiver *dest = CreateDestReceiver(DestTuplestore);

	SetTuplestoreDestReceiverParams(dest, store, CurrentMemoryContext, false, NULL, NULL);
	(void) run(query, environment, snapshot, enr_rows, dest, desc);
	dest->rDestroy(dest);
	return store;
}

double
EdwViewToldRows(Oid relid, double rows)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	double		stored;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relid);
	stored = ((Form_pg_class) GETSTRUCT(tuple))->reltuples; /* negative: unknown */
	ReleaseSysCache(tuple);
	if (stored >= 0 && rows > stored * GOOD_PART)
		return 0;
	return Max(rows * TOLD_SHARE, TOLD_ROWS);
}
