/*
 * compat.h
 *		Everything that differs between PostgreSQL 15 and 18, and nothing else.
 *
 * No other file may test PG_VERSION_NUM. Each shim names the change it hides.
 */
#ifndef EDW_COMPAT_H
#define EDW_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "edw_stream needs PostgreSQL 15 or newer: MERGE came with 15"
#endif

#endif							/* EDW_COMPAT_H */
