/*
 * xact.h
 *		Beginning and ending transactions: in a worker, or within CALL drain().
 *
 * A worker is outside of any transaction between two of these; a session is always in
 * one, because SPI_commit opens the next at once. Work of the session runs in a
 * subtransaction, so that an ERROR caught there finds the nested SPI connections
 * unwound (SPI_rollback alone refuses to when one is open).
 */
#ifndef EDW_PIPELINE_XACT_H
#define EDW_PIPELINE_XACT_H

#include "utils/resowner.h"

typedef struct EdwXact
{
	bool		session;		/* within CALL drain(), or preview() */
	bool		nested;			/* within preview(): all are subtransactions of one that is rolled back */
	Oid			owner;			/* session: run as this role; InvalidOid: as whoever calls */

	/* kept by the functions below */
	bool		open;
	bool		in_subxact;
	MemoryContext caller_context;
	ResourceOwner caller_owner;
	Oid			saved_user;
	int			saved_security;
	int			guc_level;
} EdwXact;

/* Begin; the caller's memory context stays current. Pushes a snapshot. */
extern void EdwXactBegin(EdwXact *xact);

extern void EdwXactCommit(EdwXact *xact);

/* End without effect; also the way out after a caught ERROR. A no-op when none is open. */
extern void EdwXactAbort(EdwXact *xact);

#endif							/* EDW_PIPELINE_XACT_H */
