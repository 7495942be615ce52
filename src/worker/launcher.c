/*
 * launcher.c
 *		Finding the databases and keeping their workers running.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "worker/database.h"
#include "worker/launcher.h"
#include "worker/shared.h"

void
EdwWorkersInit(void)
{
	EdwSlotsInit();
	if (!process_shared_preload_libraries_in_progress)
		return;
	EdwNotifyInit();
	EdwDatabaseInit();
}
