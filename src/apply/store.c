/*
 * store.c
 *		Rows that a statement reads by a name (see store.h).
 */
#include "postgres.h"

#include "apply/store.h"
#include "executor/spi.h"
#include "miscadmin.h"

void
EdwStoreBegin(EdwStore *store, char *name, TupleDesc desc, double planned)
{
	memset(store, 0, sizeof(EdwStore));
	store->rows = tuplestore_begin_heap(false, false, work_mem);
	store->enr.md.name = name;
	store->enr.md.tupdesc = desc;
	store->enr.md.enrtype = ENR_NAMED_TUPLESTORE;
	store->enr.md.enrtuples = planned;
	store->enr.reldata = store->rows;
	SPI_register_relation(&store->enr);
}

void
EdwStorePut(EdwStore *store, Datum *values, bool *nulls)
{
	tuplestore_putvalues(store->rows, store->enr.md.tupdesc, values, nulls);
	store->count++;
}

void
EdwStoreEnd(EdwStore *store)
{
	SPI_unregister_relation(store->enr.md.name);
	tuplestore_end(store->rows);
}
