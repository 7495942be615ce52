/*
 * derive_relax.h
 *		A query relaxed: shared by the files derive_*.c.
 *
 * Relaxed towards an occurrence of a relation, a query returns, among others, each row that a change of that
 * occurrence makes appear, vanish or differ; relaxed towards none, each row that it has before or after the
 * change. Of each row only the columns are right that are known; the others are null. docs/views.md proves both.
 */
#ifndef EDW_VIEW_DERIVE_RELAX_H
#define EDW_VIEW_DERIVE_RELAX_H

#include "nodes/parsenodes.h"

typedef enum EdwKnown
{
	EDW_UNKNOWN,				/* why says so */
	EDW_KNOWN_EQUAL,			/* up to the equality of its type: 1.0 may stand for 1.00 */
	EDW_KNOWN_EXACT
} EdwKnown;

typedef struct EdwColumn
{
	EdwKnown	known;
	const char *why;			/* a sentence */
} EdwColumn;

typedef struct EdwRelaxed
{
	Query	   *query;			/* the columns of the original, without junk */
	int			ncolumns;
	EdwColumn  *columns;
	bool		apart;			/* nothing ties the columns to the changed rows: then all rows may differ */
} EdwRelaxed;

/*
 * Towards which occurrence: each relation in the query has a number from 1. The changed occurrence stands
 * for its captured rows; those of lower rank for what they are and were, those of higher rank for what they are.
 */
typedef struct EdwRelaxing
{
	int			target;
	const int  *rank;			/* by number */
	List	   *reasons;		/* of markers, char * */
} EdwRelaxing;

/* wanted: columns that matter, from 1; NULL: all. */
extern EdwRelaxed *EdwRelax(EdwRelaxing *relaxing, Query *query, const Bitmapset *wanted);

/*
 * Occurrences carry their number through copies of the tree in a field that only CTEs use.
 */
#define EdwOccurrence(rte)	((rte)->ctelevelsup)

/* Is the occurrence with this number in the tree? */
extern bool EdwHasOccurrence(Node *node, int number);

/* An item of FROM as it stands in the relaxed query. */
typedef struct EdwItem
{
	RangeTblEntry *rte;			/* NULL: left out, its columns are unknown */
	bool		target;			/* the changed occurrence is in it */
	bool		apart;
	Bitmapset  *refers;			/* lateral: to these items */
	EdwColumn  *columns;		/* NULL: all are known exactly */
	const char *why;			/* why it is left out */
} EdwItem;

/*
 * A copy of an expression of a query with these items, where columns of nulled items are null, and what is not known
 * is a marker. depth: levels between the expression and the query.
 */
extern Node *EdwSubstitute(EdwRelaxing *relaxing, const EdwItem *items, const Bitmapset *nulled,
						   Node *node, int depth);

/* The same for a clause of a condition: NULL if it has a marker. */
extern Node *EdwSubstituteClause(EdwRelaxing *relaxing, const EdwItem *items,
								 const Bitmapset *nulled, Node *clause);

/* The reason of the first marker in a tree, NULL: there is none. */
extern const char *EdwFindMarker(const EdwRelaxing *relaxing, Node *node);

/* One way in which rows of a join tree come about: an inner join. */
typedef struct EdwVariant
{
	Bitmapset  *items;
	Bitmapset  *nulled;			/* items whose columns are null above */
	List	   *clauses;		/* ANDed */
} EdwVariant;

/* All the ways; NIL: too many. */
extern List *EdwJoinVariants(EdwRelaxing *relaxing, const EdwItem *items, List *perminfos, Node *jointree,
							 int target);

/* Items on a side of an outer join where their columns may become null. */
extern Bitmapset *EdwNullableItems(Node *jointree);

/*
 * Leave out of a variant what only looks something up; needed: items that must stay. target: 0, or the
 * item that must be tied to those of needed. False: it is not.
 */
extern bool EdwPruneVariant(EdwVariant *variant, const EdwItem *items, const Bitmapset *needed,
							int target);

/*
 * If the occurrence is in a subquery in an expression of this level, join that in FROM. False: it cannot be
 * told which rows it concerns.
 */
extern bool EdwJoinSublink(Query *query, int number);

#endif							/* EDW_VIEW_DERIVE_RELAX_H */
