/*
 * arrived.c
 *		Which members a batch brought that events may be waiting for (see apply.h).
 */
#include "postgres.h"

#include "apply/apply.h"
#include "apply/fold.h"
#include "catalog/pg_type.h"
#include "pipeline/catalog_sql.h"
#include "utils/array.h"

static bool
brings_member(const EdwEntry *entry)
{
	for (const EdwFoldChange *c = &entry->live; c != NULL; c = c->next)
		if (c->op == 'u')
			return true;
	return false;
}

static EdwArrived *
arrived_at(const EdwBatchTarget *bt)
{
	EdwArrived *arrived = palloc(sizeof(EdwArrived));
	Datum	   *keys = palloc(Max(bt->nentries, 1) * sizeof(Datum));
	int			n = 0;

	for (int i = 0; i < bt->nentries; i++)
		if (brings_member(bt->entries[i]))
			keys[n++] = EdwBytesDatum(bt->entries[i]->key, bt->entries[i]->key_len);
	arrived->dimension = bt->target->relid;
	arrived->keys = PointerGetDatum(construct_array(keys, n, BYTEAOID, -1, false, TYPALIGN_INT));
	return arrived;
}

List *
EdwApplyArrived(const EdwBatch *batch)
{
	List	   *list = NIL;

	for (int i = 0; i < batch->ntargets; i++)
		if (batch->targets[i]->target->def->awaited && batch->targets[i]->nentries > 0)
			list = lappend(list, arrived_at(batch->targets[i]));
	return list;
}
