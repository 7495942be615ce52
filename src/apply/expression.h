/*
 * expression.h
 *		SQL expressions over an event's columns (map_table's columns and filter).
 *
 * An expression names the event's columns by their bare names, and its metadata as $topic … (metadata.h). It may not hold a
 * subquery, an aggregate, a window function or a set-returning function. Names
 * of functions and types are looked up in pg_catalog alone unless they are
 * qualified, so that an expression means the same whoever runs the stream.
 */
#ifndef EDW_APPLY_EXPRESSION_H
#define EDW_APPLY_EXPRESSION_H

#include "access/tupdesc.h"
#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"
#include "nodes/primnodes.h"

/* The names of the event's columns that an expression refers to (char *), each once; metadata with its $. */
extern List *EdwExpressionInputs(const char *expression);

/* The field that an expression merely names; NULL: it does more. */
extern char *EdwExpressionField(const char *expression);

/* ERROR unless it is an expression; what names it in errors, as below. */
extern void EdwCheckExpression(const char *expression, const char *what);

/*
 * An expression over rows of desc, coerced to the type as an assignment is, planned; it
 * finds the row in ecxt_scantuple. *inputs gets the columns it depends
 * on, from 0. what names it in errors: column "x", filter.
 */
extern Expr *EdwExpressionMake(const char *expression, TupleDesc desc,
							   Oid type, int32 typmod, const char *what,
							   Bitmapset **inputs);

/* While these two enclose it, unqualified names mean pg_catalog's. */
extern int	EdwPinSearchPath(void);
extern void EdwUnpinSearchPath(int level);

#endif							/* EDW_APPLY_EXPRESSION_H */
