/*
 * target.h
 *		A mapping made executable: which input columns, which target columns, and
 *		how one becomes the other.
 *
 * Built from an EdwMappingDef and the target's present shape within a transaction, in
 * a memory context of its own; rebuilt when a relcache invalidation has
 * flagged the target (the callback only sets the flag; see apply/watch.c).
 * Expressions (map_table's columns, filter) are made by apply/expression.c and
 * evaluated by apply/evaluate.c, per event, as the stream's owner.
 */
#ifndef EDW_APPLY_TARGET_H
#define EDW_APPLY_TARGET_H

#include "apply/expression.h"
#include "apply/key.h"
#include "apply/watch.h"
#include "catalog/mapping.h"
#include "decode/decoder.h"
#include "executor/executor.h"

/*
 * One column of the target that the mapping writes. type and typmod are those of the
 * value that is handed to MERGE: of a domain its base type, so that PostgreSQL checks the
 * domain when the value is assigned; and no typmod but numeric's, so that it checks lengths.
 */
typedef struct EdwTargetColumn
{
	char	   *name;
	char	   *quoted;			/* quote_identifier(name) */
	AttrNumber	attnum;
	Oid			type;
	int32		typmod;
	Oid			collation;
	int16		typlen;
	bool		typbyval;
	int			input;			/* index into the topic's input columns, -1: text says what it is */
	const char *text;			/* expression over the input columns; NULL with input -1: see lookup */
	int32		text_typmod;	/* what it is coerced to */
	int			lookup;			/* index into lookups whose result it is, else -1 */
	bool		source_time;	/* the event's time at its source, in type */
	Expr	   *planned;		/* expression over the input columns, coerced to type, typmod */
	ExprState  *expression;		/* the same, ready to run: see EdwRoutePrepare */
	Bitmapset  *inputs;			/* the input columns that it depends on */
	Expr	   *dflt_expr;		/* default, planned; NULL: none */
	char	   *dflt;			/* default expression's text, NULL: none (merge_sql) */
	bool		is_key;
	bool		audit;			/* not is_key, and made from the event's metadata alone */
	bool		always_identity;	/* GENERATED ALWAYS AS IDENTITY: only as key or by request */
	EdwKeyKind	key_kind;		/* if is_key */
	char	   *equality;		/* if is_key: OPERATOR(schema.=) */
	char	   *less_equal;		/* … and the others of its default order, NULL none */
	char	   *greater_equal;
} EdwTargetColumn;

/* what a target has besides, whose rows are versions (apply => 'scd2') */
typedef struct EdwVersioned
{
	bool	   *tracked;		/* per column: a change makes a version */
	bool	   *opening;		/* … not tracked: tells of the event that opened the version; NULL: none does */
	int			valid_time_input;	/* input column that says since when, -1: the source's time */
	int			valid_time;		/* the target's column that shows it, -1: none */
	Oid			time_type;		/* of valid_from and valid_to */
	char	   *valid_from;		/* quoted */
	char	   *valid_to;
	char	   *current;		/* NULL: none */
	bool		open_null;
} EdwVersioned;

/*
 * How one column gets the surrogate key of a dimension's member. What the member is found by are columns of
 * the target that are no column of the table (attnum 0): they are evaluated and folded like all
 * others, and never written.
 */
typedef struct EdwLookup
{
	const EdwLookupDef *def;
	int			column;			/* these are indexes into the target's columns */
	int			nmatch;
	int		   *match;			/* hidden columns, in the order of the dimension's columns in def->match */
	int			as_of;			/* hidden column, -1: the dimension has no versions */
	char	   *relation;		/* of the dimension: quoted, qualified */
	char	   *key;			/* quoted */
	char	  **match_quoted;	/* the dimension's columns */
	const EdwMappingDef *dimension; /* its mapping in this stream, NULL: none */
	Oid			time_type;		/* of valid_from, if there are versions */
	Datum		unknown;		/* EDW_MISSING_UNKNOWN: the member's key */
	struct EdwMemberCache *cache;	/* NULL: each batch asks for all of its members */
} EdwLookup;

typedef struct EdwTarget
{
	const EdwMappingDef *def;
	Oid			relid;
	char	   *relation;		/* quoted, qualified */
	TupleDesc	rel_desc;		/* as it was when the target was built */
	int			ncolumns;
	EdwTargetColumn *columns;	/* in attnum order; then those that are not the table's */
	int			nlookups;
	EdwLookup  *lookups;
	int			level;			/* dimensions are applied before what looks them up: lower ones first */
	int			nreferrers;		/* facts that refer to its versions: see repoint.h */
	struct EdwReferrer *referrers;
	char	   *unknown_member; /* "t.key <> its key", NULL: there is none */
	int			nkeys;
	int		   *keys;			/* indexes into columns, in the order of def->keys */
	Expr	   *planned_filter; /* NULL: none */
	ExprState  *filter;
	Bitmapset  *filter_inputs;
	char	   *seq_column;		/* quoted: holds the position of what this mapping writes */
	bool		grouped;		/* … and that is not the whole row (option group) */
	bool		has_groups;		/* this mapping's or others' */
	AttrNumber	deleted_attnum; /* _edw_deleted for on_delete soft, else 0 */
	EdwVersioned *versioned;	/* apply => 'scd2', else NULL */

	/* key columns that are partition key columns as well (indexes into columns) */
	int			nbounds;
	int		   *bounds;

	/* scratch of the batch that has it now (apply/batch.c) */
	void	   *in_batch;
	uint64		batch_serial;
	int			last_entries;	/* how many the last one had: a guess for the next */
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

	/* what expressions over the input columns are run with: see EdwRoutePrepare */
	bool		has_expressions;
	TupleDesc	input_desc;
	MemoryContext run_context;
	uint64		run_serial;		/* of the batch that it was prepared for */
	ExprContext *econtext;
	TupleTableSlot *slot;
} EdwRoute;

/*
 * Make the route of a topic, in the current memory context, from the stream's mappings (list of EdwMappingDef *). ntargets is 0
 * when no mapping takes the topic. Raises undefined_table, undefined_column … when a
 * target has changed so that its mapping does not fit any more.
 */
extern EdwRoute *EdwRouteBuild(const char *topic, List *mappings);

/*
 * Make the route's expressions ready to run, afresh: what functions remember between calls lasts
 * for one batch. EdwRouteBuild does it once, batch.c for every batch.
 */
extern void EdwRoutePrepare(EdwRoute *route);

/*
 * One mapping's target by itself, without expressions: what statements are made from. mappings: all of its
 * stream.
 */
extern EdwTarget *EdwTargetDescribe(const EdwMappingDef *def, List *mappings);

/*
 * Inputs of a route: a field of the event in this type, or in the one that its mapping declares, its namesake in the
 * table has, else text. Returns its index.
 */
extern int	EdwWantField(EdwInputDesc *input, const EdwMappingDef *def, const char *field,
						 Oid type, int32 typmod, bool is_key);
extern int	EdwWantExpressionField(EdwInputDesc *input, const EdwMappingDef *def, TupleDesc desc,
								   const char *field, bool is_key);

/* Are there inputs, and are they all metadata of the event? */
extern bool EdwInputsAreMetadata(const EdwInputDesc *input, const Bitmapset *columns);

/* The field that an expression only gives another name, to be read as its column's type; NULL: there is none. */
extern const char *EdwRenamedField(const EdwMappingDef *def, TupleDesc desc, const char *expression);

/* Find the operators of the column type's default order. */
extern void EdwFindOperators(EdwTargetColumn *column);

/* ERROR unless the table still looks as it did when the target was built. */
extern void EdwTargetCheckFresh(EdwTarget *target);

#endif							/* EDW_APPLY_TARGET_H */
