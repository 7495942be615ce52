/*
 * database.h
 *		Getting out of the way of DROP DATABASE and its like (rule G5).
 */
#ifndef EDW_WORKER_DATABASE_H
#define EDW_WORKER_DATABASE_H

/* Install the hooks. Only where there is shared memory. */
extern void EdwDatabaseInit(void);

/*
 * Ask our processes in a database to end, wait for that for a while, and start no new
 * ones until the current transaction is over.
 */
extern void EdwDatabaseBlock(Oid database);

/* Lift the blocks of this process; called at the end of each transaction. */
extern void EdwDatabaseUnblockMine(void);

/*
 * The version of the extension in this database, palloc'd; NULL if it is not there. From a
 * fresh snapshot, which a commit reaches a little earlier than the caches.
 */
extern char *EdwExtensionVersion(void);

#endif							/* EDW_WORKER_DATABASE_H */
