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

#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "postmaster/bgworker.h"
#include "utils/acl.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM >= 160000
/* 16 replaced the per-catalog privilege checks by object_ownercheck and object_aclcheck */
#define EdwOwnsDatabase(database, role)	object_ownercheck(DatabaseRelationId, (database), (role))
#define EdwOwnsExtension(extension, role)	object_ownercheck(ExtensionRelationId, (extension), (role))
#define EdwDatabaseAclCheck(database, role, mode) \
	object_aclcheck(DatabaseRelationId, (database), (role), (mode))
#else
#define EdwOwnsDatabase(database, role)	pg_database_ownercheck((database), (role))
#define EdwOwnsExtension(extension, role)	pg_extension_ownercheck((extension), (role))
#define EdwDatabaseAclCheck(database, role, mode)	pg_database_aclcheck((database), (role), (mode))
#endif

#if PG_VERSION_NUM >= 170000
/* 17 lets a background worker be a role without LOGIN, and extensions name their waits */
#define EDW_WORKER_CONNECT_FLAGS	BGWORKER_BYPASS_ROLELOGINCHECK
#define EDW_WORKER_NEEDS_LOGIN		false
#define EdwWaitEventNew(name)	WaitEventExtensionNew(name)
#else
#define EDW_WORKER_CONNECT_FLAGS	0
#define EDW_WORKER_NEEDS_LOGIN		true
#define EdwWaitEventNew(name)	((void) (name), PG_WAIT_EXTENSION)
#endif

#endif							/* EDW_COMPAT_H */
