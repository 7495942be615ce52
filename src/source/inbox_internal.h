/*
 * inbox_internal.h
 *		What the inbox's files share.
 */
#ifndef EDW_SOURCE_INBOX_INTERNAL_H
#define EDW_SOURCE_INBOX_INTERNAL_H

#include "catalog/stream.h"
#include "executor/spi.h"
#include "source/source.h"

/* what is known of an assigned partition */
typedef struct EdwInboxPartition
{
	const char *topic;			/* of topic_names */
	int32		partition;
	int64		next;			/* the next offset to read */
	int64		end;			/* as of the last look */
	int64		told_end;		/* REACHED_END was told for it */
	bool		checked;		/* next was compared with what is there (K3) */
	bool		lost;
} EdwInboxPartition;

typedef struct EdwInboxSource
{
	EdwSource	base;
	MemoryContext context;
	MemoryContext message_context;
	int			borrowed;		/* messages not released yet */
	char	   *stream;
	List	   *topics;			/* char *: the stream's */
	List	   *topic_names;	/* char *: messages point to them, so they stay */
	EdwInboxPartition *parts;
	int			nparts;
	int			turn;			/* which partition poll begins with */
	int			known;			/* partitions that list_partitions returned last */
	List	   *notices;		/* EdwSourceNotice * */
	EdwSourceNotice *told;
} EdwInboxSource;

/*
 * inbox_lookup.c: reading the tables. Begin and end as the extension's owner; a plan is prepared
 * at its first use and kept, and is not read-only: a fresh snapshot. The result is in SPI_tuptable.
 */
extern void EdwInboxBeginRead(EdwCatalogAccess *access);
extern void EdwInboxEndRead(EdwCatalogAccess *access);
extern void EdwInboxRun(SPIPlanPtr *plan, const char *query, int nargs, Oid *types,
						Datum *values);
extern Datum EdwInboxColumn(uint64 row, int number, bool *isnull);

/* All partitions that push() has made for the stream, into SPI_tuptable … */
extern void EdwInboxSelectEnds(EdwInboxSource *source);

/* … and from there: a partition's end, 0 when nothing was pushed yet; how many are the stream's. */
extern int64 EdwInboxFindEnd(const char *topic, int32 partition);
extern int	EdwInboxCountWanted(EdwInboxSource *source);

/* The first offset that is there; end when there is none. */
extern int64 EdwInboxSelectLow(EdwInboxSource *source, const char *topic, int32 partition,
							   int64 end);

/* inbox_lookup.c: the vtable's, see source.h */
extern EdwSourceResult EdwInboxListPartitions(EdwSource *base, List **partitions,
											  EdwSourceError *error);
extern EdwSourceResult EdwInboxEndOffsets(EdwSource *base, EdwPartitionPosition *positions,
										  int n, EdwSourceError *error);
extern EdwSourceResult EdwInboxStartOffsets(EdwSource *base, EdwStartAt start_at,
											int64 timestamp_ms, EdwPartitionPosition *positions,
											int n, EdwSourceError *error);

#endif							/* EDW_SOURCE_INBOX_INTERNAL_H */
