/*
 * target.h
 *		A mapping made executable: which input columns, which target columns, and
 *		how one becomes the other.
 *
 * Built from an EdwMappingDef and the target's present shape within a transaction, in
 * a memory context of its own; rebuilt when a relcache invalidation has
 * flagged the target (the callback only sets the flag; see apply/target.c).
 * Expressions (map_table's columns, filter) are evaluated here, per event, as the
 * stream's owner.
 */
#ifndef EDW_APPLY_TARGET_H
#define EDW_APPLY_TARGET_H

#include "catalog/mapping.h"
#include "decode/decoder.h"
#include "executor/executor.h"

/* one column of the target that the mapping writes */
typedef struct EdwTargetColumn
{
	char	   *name;
	AttrNumber	attnum;
	Oid			type;
	int32		typmod;
	int			input;			/* index into the topic's input columns, -1: has an expression */
	ExprState  *expression;		/* over the input columns, coerced to type, typmod */
	Bitmapset  *inputs;			/* the input columns that it depends on */
	char	   *dflt;			/* default expression's text, NULL: none (merge_sql) */
	bool		is_key;
} EdwTargetColumn;

typedef struct EdwTarget
{
	const EdwMappingDef *def;
	Oid			relid;
	char	   *relation;		/* quoted, qualified */
	int			ncolumns;
	EdwTargetColumn *columns;	/* in attnum order */
	int			nkeys;
	int		   *keys;			/* indexes into columns, in the order of def->keys */
	ExprState  *filter;			/* NULL: none */
	bool		has_seq;		/* always true once mapped: _edw_seq */
	AttrNumber	seq_attnum;
	AttrNumber	deleted_attnum; /* _edw_deleted for on_delete soft, else 0 */
	TupleDesc	row_desc;		/* of the rows that a batch hands to MERGE */
} EdwTarget;

/*
 * What a topic's events are decoded into and where they go: the union of the input columns
 * of all mappings that take the topic, and those mappings.
 */
typedef struct EdwRoute
{
	char	   *topic;
	EdwInputDesc input;
	int			ntargets;
	EdwTarget **targets;
} EdwRoute;

/*
 * Make the route of a topic from the stream's mappings (list of EdwMappingDef *). ntargets is 0
 * when no mapping takes the topic. Raises undefined_table, undefined_column … when a
 * target has changed so that its mapping does not fit any more.
 */
extern EdwRoute *EdwRouteBuild(const char *topic, List *mappings);

/* true when something a route was built from has changed since */
extern bool EdwRoutesAreStale(void);
extern void EdwRoutesMarkFresh(void);

/*
 * The names of the event's columns that an expression refers to (char *), and
 * a check that it parses over them with the given types. Used by map_table.
 */
extern List *EdwExpressionInputs(const char *expression);

#endif							/* EDW_APPLY_TARGET_H */
