/*
 * explain.c
 *		SQL function explain_view: what was derived from a registered view, as text.
 *
 * Queries are printed by PostgreSQL's own deparser. It knows no ephemeral named relations; they are shown as
 * tables of the name "captured_…".
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/options.h"
#include "catalog/pg_class.h"
#include "compat.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "view/definition.h"
#include "view/derive_build.h"
#include "view/execute.h"

PG_FUNCTION_INFO_V1(edw_stream_explain_view);

static const char *const method_names[] = {"delta", "partition", "full"};

/* "edw_captured_<oid>" as people know the table */
static char *
captured_name(const RangeTblEntry *rte)
{
	Oid			relid = strtoul(strrchr(rte->enrname, '_') + 1, NULL, 10);
	char	   *name = get_rel_name(relid);

	return psprintf("captured_%s", name ? name : psprintf("%u", relid));
}

static bool
show_captured(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, show_captured, context, QTW_EXAMINE_RTES_BEFORE);
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;

		if (rte->rtekind == RTE_NAMEDTUPLESTORE)
		{
			rte->rtekind = RTE_CTE;
			rte->ctename = captured_name(rte);
		}
		return false;
	}
	return expression_tree_walker(node, show_captured, context);
}

static void
append_query(StringInfo out, Query *query)
{
	Query	   *copy = copyObject(query);
	char	   *text;
	char	   *line;

	show_captured((Node *) copy, NULL);
	/* 15 keeps unused entries in a view's query, and names columns with their table because of them: do so always */
	if (list_length(copy->rtable) == 1 && linitial_node(RangeTblEntry, copy->rtable)->rtekind == RTE_CTE)
		copy->rtable = lappend(copy->rtable, EdwMakeUnusedRte());
	text = pg_get_querydef(copy, true);
	while ((line = strsep(&text, "\n")) != NULL)
		appendStringInfo(out, "\n    %s", line);
}

static char *
column_list(Relation view, int n, const AttrNumber *columns)
{
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < n; i++)
		appendStringInfo(&list, "%s%s", i > 0 ? ", " : "",
						 quote_identifier(NameStr(TupleDescAttr(RelationGetDescr(view), columns[i] - 1)->attname)));
	return list.data;
}

static char *
relation_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), get_rel_name(relid));
}

static void
append_base(StringInfo out, const EdwViewDef *def, const EdwViewBase *base)
{
	ListCell   *lc;

	appendStringInfo(out, "\nwhen %s changes: ", relation_name(base->relid));
	if (def->method == EDW_VIEW_DELTA)
	{
		appendStringInfoString(out, "groups of");
		append_query(out, EdwDeltaExplain(def, base->relid));
		return;
	}
	if (base->all)
	{
		appendStringInfoString(out, "everything");
		return;
	}
	appendStringInfoString(out, "partitions of");
	foreach(lc, base->affected)
		append_query(out, lfirst(lc));
}

/* The partition of some stored row as a key; nulls when the view is empty. */
static List **
sample_keys(const EdwViewDef *def, Relation view)
{
	List	  **keys = palloc(sizeof(List *) * def->nkeys);
	char	   *sql = psprintf("SELECT %s FROM %s ORDER BY 1 LIMIT 1", column_list(view, def->nkeys, def->keys), def->name);
	MemoryContext caller = CurrentMemoryContext;

	SPI_connect();
	if (SPI_execute(sql, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read %s", def->name);
	for (int i = 0; i < def->nkeys; i++)
	{
		Form_pg_attribute att = TupleDescAttr(RelationGetDescr(view), def->keys[i] - 1);
		MemoryContext spi = MemoryContextSwitchTo(caller);
		bool		isnull = true;
		Datum		value = 0;

		if (SPI_processed > 0)
			value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1, &isnull);
		if (!isnull)
			value = datumCopy(value, att->attbyval, att->attlen);
		keys[i] = list_make1(makeConst(att->atttypid, att->atttypmod, att->attcollation, att->attlen,
									   value, isnull, att->attbyval));
		MemoryContextSwitchTo(spi);
	}
	SPI_finish();
	return keys;
}

static void
append_definition(StringInfo out, const EdwViewDef *def, Relation view)
{
	ListCell   *lc;

	appendStringInfo(out, "view: %s by (%s)", def->name, column_list(view, def->nkeys, def->keys));
	if (def->refresh == EDW_REFRESH_COMMIT)
		appendStringInfoString(out, "\nrefresh: at commit");
	else
		appendStringInfo(out, "\nrefresh: deferred, at most " INT64_FORMAT " ms stale", def->max_staleness_ms);
	appendStringInfo(out, "\nmethod: %s", method_names[def->method]);
	if (def->method == EDW_VIEW_PARTITION)
		appendStringInfo(out, "\nnot by delta: %s", def->why_not_delta);
	else if (def->method == EDW_VIEW_FULL)
		appendStringInfo(out, "\nnot by partition: %s", def->why_not_delta);
	foreach(lc, def->bases)
		append_base(out, def, lfirst(lc));
	if (def->method == EDW_VIEW_FULL)
		return;
	if (def->method == EDW_VIEW_DELTA && EdwDeltaKept(def) > 0)
		appendStringInfo(out, "\nedw_stream.view_group keeps counts and sums that the view does not show: %d per group",
						 EdwDeltaKept(def));
	appendStringInfoString(out, "\na partition is");
	append_query(out, EdwViewQueryForKeys(def, sample_keys(def, view)));
}

Datum
edw_stream_explain_view(PG_FUNCTION_ARGS)
{
	StringInfoData out;
	EdwViewDef *def;
	EdwViewAccess access;
	Relation	view;
	Oid			relid;

	EdwRequireArgument(fcinfo, 0, "view");
	relid = PG_GETARG_OID(0);
	view = EdwRegisteredViewOpen(relid, AccessShareLock);
	def = EdwViewLoad(relid);

	/* names are qualified, constants as the view's queries have them */
	initStringInfo(&out);
	EdwViewEnter(def, &access);
	append_definition(&out, def, view);
	EdwViewLeave(&access);
	relation_close(view, NoLock);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}
