/*
 * launcher.h
 *		The process that sees to it that every stream that should run does.
 */
#ifndef EDW_WORKER_LAUNCHER_H
#define EDW_WORKER_LAUNCHER_H

/*
 * Called from _PG_init. Preloaded: asks for shared memory, installs the hooks and registers
 * the launcher. Otherwise it does nothing but make EdwMyCounters() usable.
 */
extern void EdwWorkersInit(void);

#endif							/* EDW_WORKER_LAUNCHER_H */
