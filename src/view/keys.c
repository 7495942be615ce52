/*
 * keys.c
 *		Partition keys gathered from queries (see keys.h).
 *
 * Keys are told apart by their images: two that are equal to their type alone stay two, which only
 * makes the list longer.
 */
#include "postgres.h"

#include "view/keys.h"

#include "access/htup_details.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "view/image.h"

/* entry of the set */
typedef struct Key
{
	NullableDatum *values;
	uint32		hash;
	char		status;
} Key;

struct EdwViewKeys
{
	DestReceiver receiver;		/* first: a pointer to it points to the set */
	MemoryContext context;
	int			ncolumns;
	FormData_pg_attribute *attrs;	/* the columns, as the view has them */
	struct keyset_hash *set;
	NullableDatum *probe;		/* the row at hand */
	bool		overflowed;
};

static uint32
hash_key(const EdwViewKeys *keys, const NullableDatum *values)
{
	uint64		hash = 0;

	for (int i = 0; i < keys->ncolumns; i++)
		hash = EdwImageHash(values[i].value, values[i].isnull, &keys->attrs[i], hash);
	return (uint32) hash;
}

static bool
keys_equal(const EdwViewKeys *keys, const NullableDatum *a, const NullableDatum *b)
{
	for (int i = 0; i < keys->ncolumns; i++)
		if (!EdwImageEqual(a[i].value, a[i].isnull, b[i].value, b[i].isnull, &keys->attrs[i]))
			return false;
	return true;
}

#define SH_PREFIX keyset
#define SH_ELEMENT_TYPE Key
#define SH_KEY_TYPE NullableDatum *
#define SH_KEY values
#define SH_STORE_HASH
#define SH_GET_HASH(table, entry) ((entry)->hash)
#define SH_HASH_KEY(table, key) hash_key((table)->private_data, (key))
#define SH_EQUAL(table, a, b) keys_equal((table)->private_data, (a), (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

static NullableDatum *
copy_key(const EdwViewKeys *keys, const NullableDatum *values)
{
	NullableDatum *copy = palloc(keys->ncolumns * sizeof(NullableDatum));

	for (int i = 0; i < keys->ncolumns; i++)
	{
		copy[i] = values[i];
		if (values[i].isnull)
			continue;
		/* a Const must not be a pointer into a toast table */
		copy[i].value = keys->attrs[i].attlen == -1 ?
			PointerGetDatum(PG_DETOAST_DATUM_COPY(values[i].value)) :
			datumCopy(values[i].value, keys->attrs[i].attbyval, keys->attrs[i].attlen);
	}
	return copy;
}

static bool
receive_key(TupleTableSlot *slot, DestReceiver *receiver)
{
	EdwViewKeys *keys = (EdwViewKeys *) receiver;
	MemoryContext old;
	Key		   *key;
	bool		found;

	if (keys->overflowed)
		return false;			/* the query may stop */
	slot_getallattrs(slot);
	for (int i = 0; i < keys->ncolumns; i++)
	{
		keys->probe[i].value = slot->tts_values[i];
		keys->probe[i].isnull = slot->tts_isnull[i];
	}
	old = MemoryContextSwitchTo(keys->context);
	key = keyset_insert(keys->set, keys->probe, &found);
	if (!found)
	{
		key->values = copy_key(keys, keys->probe);
		keys->overflowed = MemoryContextMemAllocated(keys->context, true) >
			maintenance_work_mem * (Size) 1024;
	}
	MemoryContextSwitchTo(old);
	return true;
}

static void
start_receiving(DestReceiver *receiver, int operation, TupleDesc desc)
{
	EdwViewKeys *keys = (EdwViewKeys *) receiver;

	(void) operation;
	if (desc->natts != keys->ncolumns)
		elog(ERROR, "query for partition keys has %d columns, not %d", desc->natts, keys->ncolumns);
}

static void
stop_receiving(DestReceiver *receiver)
{
	(void) receiver;
}

static void
look_up_column(Oid view, AttrNumber attnum, FormData_pg_attribute *attr)
{
	HeapTuple	tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(view), Int16GetDatum(attnum));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for column %d of materialized view %u", attnum, view);
	memcpy(attr, GETSTRUCT(tuple), ATTRIBUTE_FIXED_PART_SIZE);
	ReleaseSysCache(tuple);
}

EdwViewKeys *
EdwViewKeysCreate(const EdwViewDef *def)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "edw_stream partition keys",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	EdwViewKeys *keys = palloc0(sizeof(EdwViewKeys));
	keys->receiver.receiveSlot = receive_key;
	keys->receiver.rStartup = start_receiving;
	keys->receiver.rShutdown = stop_receiving;
	keys->receiver.rDestroy = stop_receiving;
	keys->receiver.mydest = DestNone;
	keys->context = context;
	keys->ncolumns = def->nkeys;
	keys->attrs = palloc(def->nkeys * sizeof(FormData_pg_attribute));
	for (int i = 0; i < def->nkeys; i++)
		look_up_column(def->relid, def->keys[i], &keys->attrs[i]);
	keys->probe = palloc(def->nkeys * sizeof(NullableDatum));
	keys->set = keyset_create(context, 64, keys);
	MemoryContextSwitchTo(old);
	return keys;
}

DestReceiver *
EdwViewKeysReceiver(EdwViewKeys *keys)
{
	return &keys->receiver;
}

uint64
EdwViewKeysCount(const EdwViewKeys *keys)
{
	return keys->set->members;
}

bool
EdwViewKeysOverflowed(const EdwViewKeys *keys)
{
	return keys->overflowed;
}

List	  **
EdwViewKeysLists(const EdwViewKeys *keys)
{
	List	  **lists = palloc0(keys->ncolumns * sizeof(List *));
	keyset_iterator iterator;
	Key		   *key;

	keyset_start_iterate(keys->set, &iterator);
	while ((key = keyset_iterate(keys->set, &iterator)) != NULL)
		for (int i = 0; i < keys->ncolumns; i++)
		{
			const FormData_pg_attribute *attr = &keys->attrs[i];

			lists[i] = lappend(lists[i],
							   makeConst(attr->atttypid, attr->atttypmod, attr->attcollation,
										 attr->attlen, key->values[i].value,
										 key->values[i].isnull, attr->attbyval));
		}
	return lists;
}
