/*
 * expression.c
 *		SQL expressions over an event's columns (see expression.h).
 *
 * The raw parse tree says which columns an expression wants before anything is
 * known of their types; once the decoder's row type stands, a parser hook turns
 * the same names into Vars of that row. Runs within a transaction; takes no locks
 * but those that parsing takes.
 */
#include "postgres.h"

#include "apply/expression.h"
#include "apply/metadata.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parser.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"

int
EdwPinSearchPath(void)
{
	int			level = NewGUCNestLevel();

	(void) set_config_option("search_path", "pg_catalog, pg_temp",
							 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return level;
}

void
EdwUnpinSearchPath(int level)
{
	AtEOXact_GUC(true, level);
}

static void
refuse(const char *expression, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_SYNTAX_ERROR),
			 errmsg("\"%s\" is not a plain expression over the event's columns", expression),
			 errdetail_internal("%s", detail)));
}

/* The one expression in the text; whatever makes it a query is refused. */
static Node *
parse_raw(const char *expression)
{
	List	   *parsed = raw_parser(expression, RAW_PARSE_PLPGSQL_EXPR);
	SelectStmt *select = castNode(SelectStmt, linitial_node(RawStmt, parsed)->stmt);
	ResTarget  *target;

	if (select->op != SETOP_NONE || select->distinctClause || select->fromClause ||
		select->whereClause || select->groupClause || select->havingClause ||
		select->windowClause || select->valuesLists || select->sortClause ||
		select->limitOffset || select->limitCount || select->lockingClause ||
		select->withClause || select->intoClause)
		refuse(expression, "It holds clauses of a query.");
	if (list_length(select->targetList) != 1)
		refuse(expression, "It must be exactly one expression.");
	target = linitial_node(ResTarget, select->targetList);
	if (target->name != NULL)
		refuse(expression, "It must not have a name.");
	return target->val;
}

typedef struct InputsContext
{
	const char *expression;
	List	   *names;
} InputsContext;

static bool
collect_inputs(Node *node, InputsContext *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubLink))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot use a subquery in \"%s\"", context->expression),
				 errdetail("Expressions see one event at a time.")));
	if (IsA(node, ColumnRef))
	{
		ColumnRef  *ref = (ColumnRef *) node;
		char	   *name;
		ListCell   *lc;

		if (list_length(ref->fields) != 1 || !IsA(linitial(ref->fields), String))
			ereport(ERROR,
					(errcode(ERRCODE_SYNTAX_ERROR),
					 errmsg("columns in \"%s\" must be given by their bare names", context->expression),
					 errhint("To take a field of a composite column, write (column).field.")));
		name = strVal(linitial(ref->fields));
		foreach(lc, context->names)
			if (strcmp(lfirst(lc), name) == 0)
				return false;
		context->names = lappend(context->names, name);
		return false;
	}
	return raw_expression_tree_walker(node, collect_inputs, context);
}

List *
EdwExpressionInputs(const char *expression)
{
	InputsContext context = {EdwMetadataQuote(expression), NIL};

	collect_inputs(parse_raw(context.expression), &context);
	return context.names;
}

char *
EdwExpressionField(const char *expression)
{
	Node	   *node = parse_raw(EdwMetadataQuote(expression));
	List	   *names = EdwExpressionInputs(expression);

	if (!IsA(node, ColumnRef) || EdwMetadataFind(linitial(names)) != EDW_METADATA_NONE)
		return NULL;
	return linitial(names);
}

/* parser hook: a bare name is a column of the row */
static Node *
resolve_column(ParseState *pstate, ColumnRef *ref)
{
	TupleDesc	desc = pstate->p_ref_hook_state;
	const char *name;

	if (list_length(ref->fields) != 1 || !IsA(linitial(ref->fields), String))
		return NULL;
	name = strVal(linitial(ref->fields));

	/* columns that are not meant for this target have no name */
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (strcmp(NameStr(att->attname), name) == 0)
			return (Node *) makeVar(1, i + 1, att->atttypid, att->atttypmod,
									att->attcollation, 0);
	}
	return NULL;
}

static bool
collect_vars(Node *node, Bitmapset **inputs)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		*inputs = bms_add_member(*inputs, ((Var *) node)->varattno - 1);
		return false;
	}
	return expression_tree_walker(node, collect_vars, inputs);
}

static Node *
transform(const char *expression, TupleDesc desc, Oid type, int32 typmod,
		  const char *what)
{
	ParseState *pstate = make_parsestate(NULL);
	Node	   *raw = parse_raw(expression);
	Node	   *expr;
	Node	   *coerced;

	pstate->p_sourcetext = expression;
	pstate->p_pre_columnref_hook = resolve_column;
	pstate->p_ref_hook_state = desc;
	expr = transformExpr(pstate, raw, EXPR_KIND_OTHER);
	if (pstate->p_hasAggs || pstate->p_hasWindowFuncs || pstate->p_hasTargetSRFs ||
		pstate->p_hasSubLinks || expression_returns_set(expr))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s cannot use subqueries, aggregates, window functions or set-returning functions", what),
				 errdetail("Expressions see one event at a time.")));

	coerced = coerce_to_target_type(pstate, expr, exprType(expr), type, typmod,
									COERCION_ASSIGNMENT, COERCE_IMPLICIT_CAST, -1);
	if (coerced == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("%s is of type %s but its expression is of type %s", what,
						format_type_be(type), format_type_be(exprType(expr))),
				 errhint("You will need to rewrite or cast the expression.")));
	assign_expr_collations(pstate, coerced);
	free_parsestate(pstate);
	return coerced;
}

typedef struct MakeContext
{
	const char *expression;
	const char *what;
} MakeContext;

/* Error context: a position is one in the expression, not in the caller's statement. */
static void
make_error_context(void *arg)
{
	MakeContext *context = arg;
	int			position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(context->expression);
	}
	errcontext("expression for %s", context->what);
}

void
EdwCheckExpression(const char *expression, const char *what)
{
	MakeContext context = {expression, what};
	ErrorContextCallback callback;

	callback.callback = make_error_context;
	callback.arg = &context;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	context.expression = EdwMetadataQuote(expression);
	(void) EdwExpressionInputs(context.expression);
	error_context_stack = callback.previous;
}

Expr *
EdwExpressionMake(const char *expression, TupleDesc desc, Oid type, int32 typmod,
				  const char *what, Bitmapset **inputs)
{
	int			level = EdwPinSearchPath();
	MakeContext context = {expression, what};
	ErrorContextCallback callback;
	Node	   *expr;
	Expr	   *planned;

	callback.callback = make_error_context;
	callback.arg = &context;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	context.expression = EdwMetadataQuote(expression);
	expr = transform(context.expression, desc, type, typmod, what);

	*inputs = NULL;
	collect_vars(expr, inputs);
	planned = expression_planner((Expr *) expr);
	error_context_stack = callback.previous;
	EdwUnpinSearchPath(level);
	return planned;
}
