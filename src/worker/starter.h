/*
 * starter.h
 *		Starting processes for the launcher; its functions lower *wake_at to when there is
 *		more to do.
 */
#ifndef EDW_WORKER_STARTER_H
#define EDW_WORKER_STARTER_H

#include "datatype/timestamp.h"
#include "postmaster/bgworker.h"

/* False while the postmaster has no process to give: it is asked again every second. */
extern bool EdwProcessesAvailable(TimestampTz *wake_at);

/*
 * Fill in the rest of a process (name and argument are set) and register it. *handle is
 * replaced. False when max_worker_processes are in use.
 */
extern bool EdwProcessRegister(BackgroundWorker *process, const char *function,
							   const char *type, uint64 generation,
							   BackgroundWorkerHandle **handle);

/* Has a process that was registered ended? */
extern bool EdwProcessHasStopped(BackgroundWorkerHandle *handle);

/* Terminate workers that do not end when asked to; notice those that never started. */
extern void EdwWorkersTend(TimestampTz *wake_at);

/* Start a process for every slot that is due. */
extern void EdwWorkersStart(TimestampTz *wake_at);

#endif							/* EDW_WORKER_STARTER_H */
