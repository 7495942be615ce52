/*
 * derive_check.c
 *		What in a view's query stands in the way of keeping it fresh.
 *
 * Relations whose changes nobody sees are refused at once. Functions whose result is not a function of the
 * rows that they are given can only be kept fresh, as far as that goes, by computing the view anew whenever
 * anything changes.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/transam.h"
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "compat.h"
#include "edw_stream.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "view/derive.h"

static void
refuse_relation(Oid relid, const char *what, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("the view reads \"%s\", which is %s", get_rel_name(relid), what),
			 errdetail_internal("%s", detail),
			 errhint("Copy what is needed into a table, and let the view read that.")));
}

static void
check_relation(Oid relid)
{
	char		relkind = get_rel_relkind(relid);
	char		persistence = get_rel_persistence(relid);

	if (relkind == RELKIND_FOREIGN_TABLE)
		refuse_relation(relid, "a foreign table", "Nobody tells when its rows change.");
	if (relkind == RELKIND_SEQUENCE)
		refuse_relation(relid, "a sequence", "Nobody tells when it advances.");
	if (relid < FirstNormalObjectId || IsCatalogRelationOid(relid))
		refuse_relation(relid, "a system table", "Nobody tells when its rows change.");
	if (get_rel_namespace(relid) == get_namespace_oid(EDW_SCHEMA, true))
		refuse_relation(relid, "a table of " EDW_EXTENSION_NAME, "It changes with every commit of a stream.");
	if (persistence == RELPERSISTENCE_TEMP)
		refuse_relation(relid, "a temporary table", "Other sessions do not see its rows.");
	if (persistence == RELPERSISTENCE_UNLOGGED)
		refuse_relation(relid, "an unlogged table", "A crash empties it, but not the view.");
}

static bool
check_relations(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		if (((Query *) node)->rowMarks != NIL)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("the view locks the rows that it reads"),
					 errhint("Create it without FOR UPDATE or FOR SHARE.")));
		return query_tree_walker((Query *) node, check_relations, context, QTW_EXAMINE_RTES_BEFORE);
	}
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;
		ListCell   *lc;

		if (rte->rtekind != RTE_RELATION)
			return false;
		check_relation(rte->relid);
		foreach(lc, find_all_inheritors(rte->relid, AccessShareLock, NULL))
			check_relation(lfirst_oid(lc));
		return false;
	}
	return expression_tree_walker(node, check_relations, context);
}

void
EdwDeriveCheckRelations(Query *query)
{
	check_relations((Node *) query, NULL);
}

/*
 * Stable functions of PostgreSQL's own whose result changes by itself, or with the catalogs or the session.
 * The others depend on settings that are pinned (execute.h).
 */
static bool
is_unsteady(const char *name, int nargs)
{
	static const char *const prefixes[] = {
		"pg_", "has_", "current_", "inet_client", "inet_server", "txid_", "to_reg", "reg",
		"table_to_xml", "query_to_xml", "schema_to_xml", "database_to_xml", "cursor_to_xml"
	};
	static const char *const names[] = {
		"now", "transaction_timestamp", "statement_timestamp", "mxid_age", "session_user", "getpgusername",
		"version", "col_description", "obj_description", "shobj_description", "row_security_active",
		"format_type", "get_current_ts_config", "enum_first", "enum_last", "enum_range"
	};

	for (size_t i = 0; i < lengthof(prefixes); i++)
		if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	for (size_t i = 0; i < lengthof(names); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	/* of one argument: until today */
	return strcmp(name, "age") == 0 && nargs == 1;
}

static bool
check_function(Oid function, void *context)
{
	char	  **why = context;
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc form;
	char	   *name;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	form = (Form_pg_proc) GETSTRUCT(tuple);
	name = quote_qualified_identifier(get_namespace_name(form->pronamespace), NameStr(form->proname));
	if (form->provolatile == PROVOLATILE_VOLATILE)
		*why = psprintf("It calls function %s, which is volatile: it may return something else each time.", name);
	else if (form->provolatile == PROVOLATILE_STABLE && form->pronamespace != PG_CATALOG_NAMESPACE)
		*why = psprintf("It calls function %s, which is stable: it may read tables. "
						"A function that depends on its arguments alone can be declared IMMUTABLE.", name);
	else if (form->provolatile == PROVOLATILE_STABLE && is_unsteady(NameStr(form->proname), form->pronargs))
		*why = psprintf("It calls function %s, whose result changes without a change of any row.", name);
	ReleaseSysCache(tuple);
	return *why != NULL;
}

static bool
check_query(Query *query, char **why)
{
	ListCell   *lc;

	if (query->cteList != NIL)
		*why = "It has a recursive query.";
	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->securityQuals != NIL)
			*why = psprintf("Row-level security decides which rows of %s its owner sees.", get_rel_name(rte->relid));
		if (rte->rtekind == RTE_RELATION && rte->tablesample != NULL)
			*why = psprintf("It reads a sample of %s.", get_rel_name(rte->relid));
	}
	return *why != NULL;
}

static bool
check_node(Node *node, char **why)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return check_query((Query *) node, why) || query_tree_walker((Query *) node, check_node, why, 0);
	if (IsA(node, SQLValueFunction))
		*why = "It uses the current date, time, user or schema, which change without a change of any row.";
	else if (IsA(node, NextValueExpr))
		*why = "It draws from a sequence.";
	else if (IsA(node, Var) && ((Var *) node)->varattno < 0 &&
			 ((Var *) node)->varattno != TableOidAttributeNumber)
		*why = "It reads a system column, which may change without a change of the row.";
	if (*why != NULL || check_functions_in_node(node, check_function, why))
		return true;
	return expression_tree_walker(node, check_node, why);
}

char *
EdwDeriveUnsafe(Query *query)
{
	char	   *why = NULL;

	check_node((Node *) query, &why);
	return why;
}
