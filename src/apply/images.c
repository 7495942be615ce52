/*
 * images.c
 *		What a batch changes in one table, as rows before and after (see images.h).
 *
 * The keys are the batch's entries, which stand when it is applied; a truncate changes others as well, and is told as such. All memory is
 * that of the target's turn.
 */
#include "postgres.h"

#include "access/relation.h"
#include "apply/images.h"
#include "apply/merge_sql.h"
#include "apply/store.h"
#include "catalog/mapping_scd2.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#define KEYS_RELATION	"edw_image_keys"
#define BEFORE_RELATION	"edw_image_before"

/* told to the planner, which then probes the target's index (see rows.c) */
#define PLANNED_ROWS	10

struct EdwImages
{
	EdwBatch   *batch;
	EdwBatchTarget *bt;
	uint64		n;				/* the rows before: key and image */
	Datum	  (*rows)[2];
};

static const struct EdwWatch *
watch_of(const EdwBatch *batch, const EdwTarget *target)
{
	return batch->watch != NULL && batch->watch->target == target->relid ? batch->watch : NULL;
}

/* "key, image" of a row as jsonb; positions are left out: they change with every event */
static char *
image_columns(const EdwTarget *target, const char *alias)
{
	Relation	rel = relation_open(target->relid, AccessShareLock);
	List	   *key = EdwPrimaryKeyColumns(rel);
	StringInfoData sql;
	StringInfoData own;
	ListCell   *lc;

	initStringInfo(&sql);
	initStringInfo(&own);
	key = key != NIL ? key : target->def->keys;
	appendStringInfoString(&sql, key != NIL ? "pg_catalog.jsonb_build_object(" : "(NULL::pg_catalog.jsonb");
	foreach(lc, key)
		appendStringInfo(&sql, "%s%s, %s.%s", foreach_current_index(lc) > 0 ? ", " : "",
						 quote_literal_cstr(lfirst(lc)), alias, quote_identifier(lfirst(lc)));
	for (int i = 0; i < target->rel_desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(target->rel_desc, i);

		if (!att->attisdropped && strncmp(NameStr(att->attname), "_edw_seq", strlen("_edw_seq")) == 0)
			appendStringInfo(&own, "%s%s", own.len > 0 ? "," : "", NameStr(att->attname));
	}
	appendStringInfo(&sql, ") AS key, pg_catalog.to_jsonb(%s) OPERATOR(pg_catalog.-) '{%s}'::pg_catalog.text[] AS image",
					 alias, own.data);
	relation_close(rel, NoLock);
	return sql.data;
}

static void
put_keys(EdwStore *store, EdwBatchTarget *bt)
{
	const EdwTarget *target = bt->target;
	TupleDesc	desc = CreateTemplateTupleDesc(target->nkeys);
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS] = {false};

	for (int k = 0; k < target->nkeys; k++)
	{
		const EdwTargetColumn *column = &target->columns[target->keys[k]];

		TupleDescInitEntry(desc, k + 1, column->name, column->type, column->typmod, 0);
		TupleDescInitEntryCollation(desc, k + 1, column->collation);
	}
	EdwStoreBegin(store, KEYS_RELATION, desc, PLANNED_ROWS);
	for (int i = 0; i < bt->nentries; i++)
	{
		if (bt->entries[i]->live.values == NULL)
			continue;
		for (int k = 0; k < target->nkeys; k++)
			values[k] = bt->entries[i]->live.values[target->keys[k]];
		EdwStorePut(store, values, nulls);
	}
}

/* the rows of the keys: key, image */
static char *
images_sql(const EdwTarget *target)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT %s FROM " KEYS_RELATION " AS s JOIN %s AS t ON ",
					 image_columns(target, "t"), target->relation);
	EdwAppendKeyMatch(&sql, target);
	return sql.data;
}

EdwImages *
EdwImagesTake(EdwBatch *batch, EdwBatchTarget *bt)
{
	EdwImages  *images;
	EdwStore	keys;
	MemoryContext context = CurrentMemoryContext;

	if (watch_of(batch, bt->target) == NULL || bt->target->def->apply == EDW_APPLY_APPEND)
		return NULL;
	images = palloc0(sizeof(EdwImages));
	images->batch = batch;
	images->bt = bt;
	SPI_connect();
	put_keys(&keys, bt);
	SPI_execute(images_sql(bt->target), false, 0);
	MemoryContextSwitchTo(context);
	images->n = SPI_processed;
	images->rows = palloc(sizeof(Datum[2]) * (images->n + 1));
	for (uint64 i = 0; i < images->n; i++)
	{
		bool		isnull;

		for (int c = 0; c < 2; c++)
			images->rows[i][c] =
				PointerGetDatum(PG_DETOAST_DATUM_COPY(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc,
																	c + 1, &isnull)));
	}
	EdwStoreEnd(&keys);
	SPI_finish();
	return images;
}

static void
put_before(EdwStore *store, const EdwImages *images)
{
	TupleDesc	desc = CreateTemplateTupleDesc(2);
	bool		nulls[2] = {false, false};

	TupleDescInitEntry(desc, 1, "key", JSONBOID, -1, 0);
	TupleDescInitEntry(desc, 2, "image", JSONBOID, -1, 0);
	EdwStoreBegin(store, BEFORE_RELATION, desc, images->n);
	for (uint64 i = 0; i < images->n; i++)
		EdwStorePut(store, images->rows[i], nulls);
}

/* Tell each row of a result: change, key, before, after. */
static void
tell(const struct EdwWatch *watch)
{
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		EdwImageChange change;
		NullableDatum *values[] = {&change.key, &change.before, &change.after};

		change.change = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		for (int c = 0; c < 3; c++)
			values[c]->value = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, c + 2,
											 &values[c]->isnull);
		watch->changed(watch->arg, &change);
	}
}

void
EdwImagesCompare(EdwImages *images)
{
	const struct EdwWatch *watch;
	const EdwImageChange truncated = {"truncate", {0, true}, {0, true}, {0, true}};
	EdwStore	keys;
	EdwStore	before;

	if (images == NULL)
		return;
	watch = watch_of(images->batch, images->bt->target);
	if (images->bt->truncated || images->bt->truncated_at != NULL)
		watch->changed(watch->arg, &truncated);
	SPI_connect();
	put_keys(&keys, images->bt);
	put_before(&before, images);
	SPI_execute(psprintf("SELECT CASE WHEN b.key IS NULL THEN 'insert' WHEN a.key IS NULL THEN 'delete' ELSE 'update' END,"
						 " coalesce(a.key, b.key), b.image, a.image"
						 "\nFROM " BEFORE_RELATION " AS b FULL JOIN (%s) AS a ON a.key OPERATOR(pg_catalog.=) b.key"
						 "\nWHERE a.image IS DISTINCT FROM b.image ORDER BY 2", images_sql(images->bt->target)),
				false, 0);
	tell(watch);
	EdwStoreEnd(&before);
	EdwStoreEnd(&keys);
	SPI_finish();
}

char *
EdwImagesAppendSql(EdwBatch *batch, const EdwTarget *target, char *sql)
{
	if (watch_of(batch, target) == NULL)
		return sql;
	return psprintf("WITH n AS (%s\n\tRETURNING *)"
					"\nSELECT 'insert', i.key, NULL::pg_catalog.jsonb, i.image FROM (SELECT %s FROM n) AS i",
					sql, image_columns(target, "n"));
}

void
EdwImagesAppended(EdwBatch *batch, const EdwTarget *target)
{
	const struct EdwWatch *watch = watch_of(batch, target);

	if (watch != NULL && target->def->apply == EDW_APPLY_APPEND)
		tell(watch);
}
