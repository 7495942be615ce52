/*
 * slots_read.c
 *		What others may know of the slots: for the status views, and the ends of partitions.
 *
 * Reads under the shared lock. A worker's counters and ends are written by that worker
 * alone, without the lock.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_database.h"
#include "common/hashfn.h"
#include "edw_stream.h"
#include "miscadmin.h"
#include "utils/syscache.h"
#include "worker/database.h"
#include "worker/shared.h"

static void
describe_slot(EdwSlot *slot, EdwSlotInfo *info)
{
	strlcpy(info->stream, slot->assignment.stream, sizeof(info->stream));
	info->worker = slot->assignment.worker;
	info->pid = slot->pid;
	info->state = pg_atomic_read_u32(&slot->counters.state);
	info->failures = slot->failures;
	info->restart_at = slot->restart_at;
	strlcpy(info->last_error, slot->counters.last_error, sizeof(info->last_error));
	info->counters = &slot->counters;
}

EdwSlotInfo *
EdwSlotsList(int *n)
{
	EdwSlotInfo *infos;

	*n = 0;
	if (!EdwSharedState)
		return NULL;
	infos = palloc0(sizeof(EdwSlotInfo) * EdwSharedState->nslots);
	LWLockAcquire(EdwSharedState->lock, LW_SHARED);
	for (int i = 0; i < EdwSharedState->nslots; i++)
	{
		EdwSlot    *slot = &EdwSharedState->slots[i];

		if (slot->in_use && slot->database == MyDatabaseId)
			describe_slot(slot, &infos[(*n)++]);
	}
	LWLockRelease(EdwSharedState->lock);
	return infos;
}

static int
count_free_slots(void)
{
	int			n = 0;

	LWLockAcquire(EdwSharedState->lock, LW_SHARED);
	for (int i = 0; i < EdwSharedState->nslots; i++)
	{
		if (!EdwSharedState->slots[i].in_use)
			n++;
	}
	LWLockRelease(EdwSharedState->lock);
	return n;
}

static bool
in_template_database(void)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(MyDatabaseId));
	bool		is_template = HeapTupleIsValid(tuple) &&
		((Form_pg_database) GETSTRUCT(tuple))->datistemplate;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return is_template;
}

const char *
EdwWorkersHeldReason(const char **hint)
{
	char	   *version = EdwExtensionVersion();

	*hint = NULL;
	if (!EdwSharedState)
	{
		*hint = "Add edw_stream to shared_preload_libraries and restart the server; until then CALL edw_stream.drain() and edw_stream.refresh_view() do the work.";
		return "The server was started without edw_stream in shared_preload_libraries.";
	}
	if (version && strcmp(version, EDW_VERSION) != 0)
	{
		*hint = "Run ALTER EXTENSION edw_stream UPDATE, or install the library that fits and restart the server.";
		return "The extension's version is not the library's, which is " EDW_VERSION ".";
	}
	if (in_template_database())
	{
		*hint = "Use ALTER DATABASE … IS_TEMPLATE false.";
		return "Streams do not run in a template database.";
	}
	if (pg_atomic_read_u32(&EdwSharedState->no_process))
	{
		*hint = "Raise max_worker_processes and restart the server.";
		return "No background worker process is free.";
	}
	if (count_free_slots() == 0)
	{
		*hint = "Raise edw_stream.max_workers and restart the server.";
		return "All slots of edw_stream.max_workers are taken.";
	}
	if (!EdwSharedState->launcher)
		return "The edw_stream launcher is not running.";
	return NULL;
}

static uint32
topic_hash(const char *topic)
{
	return DatumGetUInt32(hash_any((const unsigned char *) topic, strlen(topic)));
}

/* The entry of a partition; else, if wanted, the first free one; else NULL. */
static EdwPartitionEnd *
find_end(EdwWorkerCounters *counters, uint32 hash, int32 partition, bool or_free)
{
	for (int i = 0; i < EDW_SLOT_PARTITIONS; i++)
	{
		EdwPartitionEnd *entry = &counters->ends[i];

		if (pg_atomic_read_u32(&entry->used) == 0)
			return or_free ? entry : NULL;
		pg_read_barrier();
		if (entry->topic_hash == hash && entry->partition == partition)
			return entry;
	}
	return NULL;
}

void
EdwCountersSetEnd(const char *topic, int32 partition, int64 end_offset)
{
	uint32		hash = topic_hash(topic);
	EdwPartitionEnd *entry = find_end(EdwMyCounters(), hash, partition, true);

	if (!entry)
		return;
	pg_atomic_write_u64(&entry->end_offset, (uint64) end_offset);
	if (pg_atomic_read_u32(&entry->used) == 0)
	{
		entry->topic_hash = hash;
		entry->partition = partition;
		pg_write_barrier();
		pg_atomic_write_u32(&entry->used, 1);
	}
}

int64
EdwSlotsPartitionEnd(const char *stream, const char *topic, int32 partition)
{
	uint32		hash = topic_hash(topic);
	int64		end_offset = -1;

	if (!EdwSharedState)
		return -1;
	LWLockAcquire(EdwSharedState->lock, LW_SHARED);
	for (int i = 0; i < EdwSharedState->nslots; i++)
	{
		EdwSlot    *slot = &EdwSharedState->slots[i];
		EdwPartitionEnd *entry;

		if (!slot->in_use || slot->database != MyDatabaseId ||
			strcmp(slot->assignment.stream, stream) != 0)
			continue;
		entry = find_end(&slot->counters, hash, partition, false);
		if (entry)
			end_offset = Max(end_offset, (int64) pg_atomic_read_u64(&entry->end_offset));
	}
	LWLockRelease(EdwSharedState->lock);
	return end_offset;
}
