/*
 * processes.h
 *		The entry points of our background processes, and how they are called.
 *
 * Launcher: no argument. Scout: bgw_extra holds its generation. Stream worker and
 * refresher: the argument is the slot, bgw_extra holds the slot's generation.
 */
#ifndef EDW_WORKER_PROCESSES_H
#define EDW_WORKER_PROCESSES_H

#define EDW_LAUNCHER_MAIN	"EdwLauncherMain"
#define EDW_SCOUT_MAIN		"EdwScoutMain"
#define EDW_WORKER_MAIN		"EdwStreamWorkerMain"
#define EDW_REFRESHER_MAIN	"EdwRefresherMain"

/* what pg_stat_activity calls them */
#define EDW_LAUNCHER_TYPE	"edw_stream launcher"
#define EDW_SCOUT_TYPE		"edw_stream scout"
#define EDW_WORKER_TYPE		"edw_stream worker"
#define EDW_REFRESHER_TYPE	"edw_stream refresher"

extern PGDLLEXPORT void EdwLauncherMain(Datum arg);
extern PGDLLEXPORT void EdwScoutMain(Datum arg);
extern PGDLLEXPORT void EdwStreamWorkerMain(Datum arg);
extern PGDLLEXPORT void EdwRefresherMain(Datum arg);

#endif							/* EDW_WORKER_PROCESSES_H */
