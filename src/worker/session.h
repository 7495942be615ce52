/*
 * session.h
 *		What the sessions of our worker processes have in common.
 */
#ifndef EDW_WORKER_SESSION_H
#define EDW_WORKER_SESSION_H

#include "postgres.h"

/*
 * Pin what happens to be set for the role or the database and must not change what a process
 * of ours does. Outside of a transaction, once connected.
 */
extern void EdwSessionSetUp(const char *application_name, bool synchronous_commit);

/* From now on keep the last error in this process's slot, FATAL ones included. */
extern void EdwSessionNoteErrors(void);

/*
 * After an ERROR: is there nothing to work for any more? Aborts the transaction. Looks into the table, not a
 * cache.
 */
extern bool EdwSessionExtensionIsGone(void);

#endif							/* EDW_WORKER_SESSION_H */
