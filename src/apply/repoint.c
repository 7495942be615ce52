/*
 * repoint.c
 *		Facts that refer to versions which change (see repoint.h).
 *
 * Both statements read what has changed from a relation, as the others of a batch do, and find facts by an index on
 * their column. Facts are written by the stream's owner, in the batch's transaction. With several workers no other one looks up
 * the dimension meanwhile: its mapping's lock is exclusive while versions are written (apply.c).
 */
#include "postgres.h"

#include "apply/merge_sql.h"
#include "apply/repoint.h"
#include "apply/store.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#define CHANGED_RELATION	"edw_changed"

/* told to the planner, which then looks rows up one by one (see rows.c) */
#define PLANNED_ROWS	10

/*
 * Who refers to a target
 */

/* The column of the facts that shows their time: as_of itself, or what is made by the same expression. */
static char *
time_column(const EdwMappingDef *facts, const char *as_of)
{
	char	   *column = EdwLookupTimeColumn(facts->columns, facts->has_columns, as_of);

	return column && get_attnum(facts->target, column) != InvalidAttrNumber
		? pstrdup(quote_identifier(column)) : NULL;
}

static bool
is_known(const EdwTarget *target, const char *relation, const char *column)
{
	for (int i = 0; i < target->nreferrers; i++)
		if (strcmp(target->referrers[i].relation, relation) == 0 &&
			strcmp(target->referrers[i].column, column) == 0)
			return true;
	return false;
}

static void
add_referrer(EdwTarget *target, const EdwMappingDef *facts, const EdwLookupDef *lookup)
{
	char	   *name = get_rel_name(facts->target);
	AttrNumber	key = get_attnum(target->relid, lookup->key);
	AttrNumber	attnum = get_attnum(facts->target, lookup->column);
	const char *column = quote_identifier(lookup->column);
	EdwReferrer *referrer = &target->referrers[target->nreferrers];

	/* what has been dropped stalls the stream where its own topic is read */
	if (name == NULL || key == InvalidAttrNumber || attnum == InvalidAttrNumber)
		return;
	referrer->relation = quote_qualified_identifier(get_namespace_name(get_rel_namespace(facts->target)), name);
	referrer->column = pstrdup(column);
	if (is_known(target, referrer->relation, referrer->column))
		return;
	referrer->key = pstrdup(quote_identifier(lookup->key));
	referrer->key_type = getBaseType(get_atttype(target->relid, key));
	referrer->as_of = lookup->repoint ? time_column(facts, lookup->as_of) : NULL;
	referrer->otherwise = lookup->missing == EDW_MISSING_UNKNOWN ? quote_literal_cstr(lookup->unknown) : "NULL";
	referrer->otherwise = psprintf("%s::%s", referrer->otherwise,
								   format_type_be_qualified(get_atttype(facts->target, attnum)));
	EdwWatchRelation(facts->target);
	target->nreferrers++;
}

void
EdwReferrersFind(EdwTarget *target, List *mappings)
{
	int			n = 0;
	ListCell   *lc;
	ListCell   *l;

	foreach(lc, mappings)
		n += list_length(((EdwMappingDef *) lfirst(lc))->lookups);
	target->referrers = palloc0(Max(n, 1) * sizeof(EdwReferrer));
	foreach(lc, mappings)
	{
		const EdwMappingDef *facts = lfirst(lc);

		foreach(l, facts->lookups)
			if (((EdwLookupDef *) lfirst(l))->dimension == target->relid)
				add_referrer(target, facts, lfirst(l));
	}
}

/*
 * Statements
 */

/* The key of the version of s's member that is that of a time, as a lookup picks it (lookup_sql.c). */
static void
append_pick(StringInfo sql, const EdwTarget *target, const EdwReferrer *referrer, const char *at)
{
	const char *from = target->versioned->valid_from;

	appendStringInfo(sql, "LATERAL (SELECT t.%s AS k FROM %s AS t WHERE ", referrer->key, target->relation);
	EdwAppendKeyMatch(sql, target);
	appendStringInfo(sql, "\n\t\tORDER BY t.%s OPERATOR(pg_catalog.<=) %s DESC,"
					 " CASE WHEN t.%s OPERATOR(pg_catalog.<=) %s THEN t.%s END DESC, t.%s LIMIT 1) AS n",
					 from, at, from, at, from, from);
}

char *
EdwRepointDroppedSql(const EdwTarget *target, const EdwReferrer *referrer)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE %s AS f SET %s = coalesce(n.k, %s)\nFROM " CHANGED_RELATION " AS s LEFT JOIN ",
					 referrer->relation, referrer->column, referrer->otherwise);
	append_pick(&sql, target, referrer, "s._edw_from");
	appendStringInfo(&sql, " ON true\nWHERE f.%s = s._edw_key", referrer->column);
	return sql.data;
}

char *
EdwRepointSql(const EdwTarget *target, const EdwReferrer *referrer)
{
	const char *to = target->versioned->valid_to;
	StringInfoData sql;

	/* a fact's time can only have left a version that ends where something changed, or later */
	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE %s AS f SET %s = m.k\nFROM (SELECT f.ctid AS row, f.tableoid AS part, n.k"
					 "\n\tFROM " CHANGED_RELATION " AS s JOIN %s AS t ON ",
					 referrer->relation, referrer->column, target->relation);
	EdwAppendKeyMatch(&sql, target);
	appendStringInfo(&sql, " AND (t.%s OPERATOR(pg_catalog.>=) s._edw_from OR t.%s IS NULL)"
					 "\n\tJOIN %s AS f ON f.%s = t.%s AND f.%s OPERATOR(pg_catalog.>=) s._edw_from"
					 "\n\tCROSS JOIN ",
					 to, to, referrer->relation, referrer->column, referrer->key, referrer->as_of);
	append_pick(&sql, target, referrer, psprintf("f.%s", referrer->as_of));
	appendStringInfo(&sql, "\n\tWHERE n.k <> f.%s) AS m"
					 "\nWHERE f.ctid OPERATOR(pg_catalog.=) m.row AND f.tableoid OPERATOR(pg_catalog.=) m.part",
					 referrer->column);
	return sql.data;
}

/*
 * What has changed
 */

/* Columns: _edw_key, _edw_from, then the natural key's by name. */
static void
begin_changed(EdwStore *store, const EdwTarget *target, Oid key_type)
{
	TupleDesc	desc = CreateTemplateTupleDesc(target->nkeys + 2);

	TupleDescInitEntry(desc, 1, "_edw_key", key_type, -1, 0);
	TupleDescInitEntry(desc, 2, "_edw_from", target->versioned->time_type, -1, 0);
	for (int k = 0; k < target->nkeys; k++)
	{
		const EdwTargetColumn *column = &target->columns[target->keys[k]];

		TupleDescInitEntry(desc, k + 3, column->name, column->type, column->typmod, 0);
		TupleDescInitEntryCollation(desc, k + 3, column->collation);
	}
	EdwStoreBegin(store, CHANGED_RELATION, desc, PLANNED_ROWS);
}

static void
put_changed(EdwStore *store, const EdwTarget *target, const EdwHistory *history, Datum key, bool nokey,
			int64 from)
{
	Datum		values[INDEX_MAX_KEYS + 2];
	bool		nulls[INDEX_MAX_KEYS + 2] = {nokey};

	values[0] = key;
	values[1] = EdwVersionTimeDatum(target->versioned->time_type, from);
	for (int k = 0; k < target->nkeys; k++)
		values[k + 2] = history->entry->live.values[target->keys[k]];
	EdwStorePut(store, values, nulls);
}

/* Run a statement over what was put. */
static void
finish_changed(EdwStore *store, const char *sql)
{
	if (store->count > 0)
		SPI_execute(sql, false, 0);
	EdwStoreEnd(store);
}

static void
follow_dropped(EdwScd2 *scd2, int r)
{
	const EdwTarget *target = scd2->bt->target;
	const EdwReferrer *referrer = &target->referrers[r];
	EdwStore	store;

	begin_changed(&store, target, referrer->key_type);
	for (int h = 0; h < scd2->nhistories; h++)
	{
		const EdwHistory *history = &scd2->histories[h];

		for (int v = 0; v < history->timeline.nstored; v++)
			if (history->timeline.dropped[v] && !history->addresses[v].key_nulls[r])
				put_changed(&store, target, history, history->addresses[v].keys[r], false,
							history->timeline.stored[v].from);
	}
	finish_changed(&store, EdwRepointDroppedSql(target, referrer));
}

/*
 * Facts of a time after the end of a version refer to it until another begins. So what they refer to ends where the last
 * version before that time does, or at that time if it goes on until then.
 */
static int64
end_before(const EdwTimeline *timeline, int64 at)
{
	int64		end = at;

	for (int v = 0; v < timeline->nversions && timeline->versions[v].from < at; v++)
		end = Min(at, timeline->versions[v].to);
	return end;
}

/*
 * Since when another row may be that of a time; EDW_TIMELINE_OPEN: never. What comes before the first version
 * belongs to it, so that a first row which is not what it was concerns all of the past.
 */
static int64
changed_since(const EdwHistory *history)
{
	const EdwTimeline *timeline = &history->timeline;
	int64		since = EDW_TIMELINE_OPEN;

	for (int v = 0; v < timeline->nversions; v++)
	{
		const EdwTimelineVersion *version = &timeline->versions[v];
		bool		kept = version->stored >= 0 && timeline->stored[version->stored].from == version->from;

		if (kept)
			continue;
		if (v == 0)
			return PG_INT64_MIN;
		since = Min(since, version->from);
		if (version->stored >= 0)
			since = Min(since, timeline->stored[version->stored].from);
	}
	for (int v = 0; v < timeline->nstored; v++)
		if (timeline->dropped[v])
			since = v == 0 ? PG_INT64_MIN : Min(since, timeline->stored[v].from);
	return since == EDW_TIMELINE_OPEN ? since : end_before(timeline, since);
}

static void
follow_times(EdwScd2 *scd2, int r)
{
	const EdwTarget *target = scd2->bt->target;
	EdwStore	store;

	begin_changed(&store, target, target->referrers[r].key_type);
	for (int h = 0; h < scd2->nhistories; h++)
	{
		const EdwHistory *history = &scd2->histories[h];
		int64		since = changed_since(history);

		/* a new member has no facts */
		if (since != EDW_TIMELINE_OPEN && (history->timeline.nstored > 0 || history->inferred))
			put_changed(&store, target, history, (Datum) 0, true, since);
	}
	finish_changed(&store, EdwRepointSql(target, &target->referrers[r]));
}

void
EdwRepoint(EdwScd2 *scd2)
{
	const EdwTarget *target = scd2->bt->target;

	for (int r = 0; r < target->nreferrers; r++)
	{
		follow_dropped(scd2, r);
		if (target->referrers[r].as_of)
			follow_times(scd2, r);
	}
}
