/*
 * derive.c
 *		For each relation in a view's query: which partitions does a change of it affect?
 *
 * Each occurrence of a relation is changed in turn. docs/views.md proves that the results together hold
 * all partitions that differ. Pure but for the catalogs.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "access/relation.h"
#include "access/sysattr.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/typcache.h"
#include "view/derive.h"
#include "view/derive_build.h"
#include "view/derive_relax.h"

typedef struct Occurrence
{
	Oid			relid;
	char		relkind;
	Bitmapset  *columns;		/* offset, as selectedCols */
} Occurrence;

typedef struct Derivation
{
	Query	   *query;			/* copy, with numbered occurrences */
	List	   *occurrences;	/* Occurrence * */
	int			nkeys;
	const AttrNumber *keys;
	Bitmapset  *wanted;			/* the keys */
	int		   *rank;			/* by number, from 1 */
} Derivation;

bool
EdwTypeIsExact(Oid type, Oid collation)
{
	Oid			base = getBaseType(type);
	TypeCacheEntry *entry = lookup_type_cache(base, TYPECACHE_BTREE_OPFAMILY);
	Oid			proc;

	/* its trailing blanks may differ when it has no length */
	if (base == BPCHAROID || !OidIsValid(entry->btree_opf))
		return false;
	proc = get_opfamily_proc(entry->btree_opf, entry->btree_opintype, entry->btree_opintype,
							 BTEQUALIMAGE_PROC);
	return OidIsValid(proc) &&
		DatumGetBool(OidFunctionCall1Coll(proc, collation, ObjectIdGetDatum(entry->btree_opintype)));
}

static bool number_occurrences(Node *node, List **occurrences);

static bool
number_in_query(Query *query, List **occurrences)
{
	ListCell   *lc;

	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);
		Occurrence *occurrence;

		if (rte->rtekind != RTE_RELATION)
			continue;
		occurrence = palloc(sizeof(Occurrence));
		occurrence->relid = rte->relid;
		occurrence->relkind = rte->relkind;
		occurrence->columns = EdwRteSelectedCols(query, rte);
		*occurrences = lappend(*occurrences, occurrence);
		EdwOccurrence(rte) = list_length(*occurrences);
	}
	return query_tree_walker(query, number_occurrences, occurrences, 0);
}

static bool
number_occurrences(Node *node, List **occurrences)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return number_in_query((Query *) node, occurrences);
	return expression_tree_walker(node, number_occurrences, occurrences);
}

static bool
reads_tables(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, reads_tables, context, QTW_EXAMINE_RTES_BEFORE);
	if (IsA(node, RangeTblEntry))
		return ((RangeTblEntry *) node)->rtekind == RTE_RELATION;
	return expression_tree_walker(node, reads_tables, context);
}

static EdwRelaxed *
relax_towards(const Derivation *derivation, int number)
{
	EdwRelaxing relaxing = {number, derivation->rank, NIL};

	return EdwRelax(&relaxing, derivation->query, derivation->wanted);
}

/*
 * Occurrences whose own columns give the keys come last: nobody then has to look at their old rows. Of the
 * others, those that are named first (facts, mostly) come later.
 */
static void
rank_occurrences(Derivation *derivation)
{
	int			n = list_length(derivation->occurrences);
	int		   *rank = palloc(sizeof(int) * (n + 1));

	derivation->rank = palloc0(sizeof(int) * (n + 1));
	for (int number = 1; number <= n; number++)
	{
		EdwRelaxed *relaxed = relax_towards(derivation, number);
		bool		alone = !relaxed->apart && !reads_tables((Node *) relaxed->query, NULL);

		rank[number] = alone ? n + number : n - number;
	}
	derivation->rank = rank;
}

static char *
relation_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), get_rel_name(relid));
}

static char *
unknown_key(const Derivation *derivation, const EdwRelaxed *relaxed, Oid relid)
{
	for (int i = 0; i < derivation->nkeys; i++)
	{
		const EdwColumn *column = &relaxed->columns[derivation->keys[i] - 1];

		if (column->known == EDW_UNKNOWN)
			return psprintf("When %s changes, it is not known for which values of \"%s\" the view changes. %s",
							relation_name(relid),
							get_tle_by_resno(derivation->query->targetList, derivation->keys[i])->resname,
							column->why);
	}
	return NULL;
}

/* SELECT DISTINCT of the keys, in their order */
static Query *
select_keys(const Derivation *derivation, Query *relaxed)
{
	Query	   *query = relaxed;
	List	   *targets = NIL;

	if (query->setOperations != NULL)
		query = EdwSelectAll(query);
	for (int i = 0; i < derivation->nkeys; i++)
	{
		TargetEntry *entry = copyObject(get_tle_by_resno(query->targetList, derivation->keys[i]));

		entry->resno = i + 1;
		targets = lappend(targets, entry);
	}
	query->targetList = targets;
	EdwMakeDistinct(query);
	return query;
}

static EdwViewBase *
find_base(List **bases, const Occurrence *occurrence)
{
	EdwViewBase *base;
	ListCell   *lc;

	foreach(lc, *bases)
	{
		base = lfirst(lc);
		if (base->relid == occurrence->relid)
			return base;
	}
	base = palloc0(sizeof(EdwViewBase));
	base->relid = occurrence->relid;
	base->is_matview = occurrence->relkind == RELKIND_MATVIEW;
	*bases = lappend(*bases, base);
	return base;
}

/* from offset numbers to attribute numbers; a whole row is all of them */
static Bitmapset *
add_columns(Bitmapset *columns, const Occurrence *occurrence)
{
	Relation	rel = relation_open(occurrence->relid, NoLock);
	int			i = -1;

	while ((i = bms_next_member(occurrence->columns, i)) >= 0)
	{
		AttrNumber	attnum = i + FirstLowInvalidHeapAttributeNumber;

		if (attnum == InvalidAttrNumber)
			columns = bms_add_range(columns, 1, RelationGetNumberOfAttributes(rel));
		else if (attnum > 0)
			columns = bms_add_member(columns, attnum);
	}
	relation_close(rel, NoLock);
	return columns;
}

/* NULL: nothing ties the partitions to its changes, which concern all of them. */
static Query *
derive_occurrence(const Derivation *derivation, int number, Oid relid, char **why_not)
{
	EdwRelaxed *relaxed = relax_towards(derivation, number);

	*why_not = unknown_key(derivation, relaxed, relid);
	if (*why_not != NULL || relaxed->apart)
		return NULL;
	return select_keys(derivation, relaxed->query);
}

/*
 * One place where a relation is read. If it is read at a place that gives partitions, and at another one
 * that concerns all of them, or if no relation gives partitions at all, then there is nothing to be gained by them.
 */
static char *
derive_base(const Derivation *derivation, int number, EdwViewBase *base)
{
	char	   *why_not;
	Query	   *query = derive_occurrence(derivation, number, base->relid, &why_not);

	if (why_not != NULL)
		return why_not;
	if (query == NULL)
		base->all = true;
	else if (!list_member(base->affected, query))
		base->affected = lappend(base->affected, query);
	if (base->all && base->affected != NIL)
		return psprintf("Each change of %s concerns all partitions: it is read once more, where nothing ties its rows to one of them.",
						relation_name(base->relid));
	return NULL;
}

static bool
some_give_partitions(List *bases)
{
	ListCell   *lc;

	foreach(lc, bases)
		if (!((EdwViewBase *) lfirst(lc))->all)
			return true;
	return bases == NIL;
}

static void
concern_all(List *bases)
{
	ListCell   *lc;

	foreach(lc, bases)
	{
		EdwViewBase *base = lfirst(lc);

		base->all = true;
		base->affected = NIL;
	}
}

List *
EdwDeriveBases(Query *query, int nkeys, const AttrNumber *keys, char **why_not)
{
	Derivation	derivation = {0};
	List	   *bases = NIL;
	int			number = 0;
	ListCell   *lc;

	derivation.query = copyObject(query);
	derivation.nkeys = nkeys;
	derivation.keys = keys;
	for (int i = 0; i < nkeys; i++)
		derivation.wanted = bms_add_member(derivation.wanted, keys[i]);
	number_occurrences((Node *) derivation.query, &derivation.occurrences);

	*why_not = EdwDeriveUnsafe(query);
	if (*why_not == NULL)
		rank_occurrences(&derivation);
	foreach(lc, derivation.occurrences)
	{
		Occurrence *occurrence = lfirst(lc);
		EdwViewBase *base = find_base(&bases, occurrence);

		number++;
		base->columns = add_columns(base->columns, occurrence);
		if (*why_not == NULL)
			*why_not = derive_base(&derivation, number, base);
	}
	if (*why_not == NULL && !some_give_partitions(bases))
		*why_not = "Each change concerns all partitions: nothing ties the partition columns to the rows that change.";
	if (*why_not != NULL)
		concern_all(bases);
	return bases;
}

int
EdwDeriveGroups(const Query *query, AttrNumber **groups)
{
	int			n = 0;
	ListCell   *lc;

	*groups = NULL;
	if (query->setOperations != NULL || query->groupClause == NIL || query->groupingSets != NIL || query->hasTargetSRFs)
		return 0;
	*groups = palloc(sizeof(AttrNumber) * list_length(query->groupClause));
	foreach(lc, query->groupClause)
	{
		TargetEntry *entry = get_sortgroupclause_tle(lfirst_node(SortGroupClause, lc), query->targetList);

		if (entry->resjunk)
			return 0;
		(*groups)[n++] = entry->resno;
	}
	return n;
}
