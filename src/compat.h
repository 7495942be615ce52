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

#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_foreign_server.h"
#include "parser/parse_relation.h"
#include "parser/parse_type.h"
#include "postmaster/bgworker.h"
#include "utils/acl.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM >= 160000
/* 16 moved the macros of varlena values out of postgres.h */
#include "varatt.h"
#endif

/* 18 put the mark of functions that do not return in front of their declaration */
#if PG_VERSION_NUM >= 180000
#define EDW_NORETURN	pg_noreturn
#else
#define EDW_NORETURN	pg_attribute_noreturn()
#endif

#if PG_VERSION_NUM >= 160000
/* 16 replaced the per-catalog privilege checks by object_ownercheck and object_aclcheck */
#define EdwOwnsDatabase(database, role)	object_ownercheck(DatabaseRelationId, (database), (role))
#define EdwOwnsExtension(extension, role)	object_ownercheck(ExtensionRelationId, (extension), (role))
#define EdwDatabaseAclCheck(database, role, mode) \
	object_aclcheck(DatabaseRelationId, (database), (role), (mode))
#define EdwOwnsRelation(relid, role)	object_ownercheck(RelationRelationId, (relid), (role))
#define EdwServerAclCheck(server, role, mode) \
	object_aclcheck(ForeignServerRelationId, (server), (role), (mode))
/* … and gave parseTypeString an error context in place of missing_ok */
#define EdwParseTypeString(text, type, typmod)	((void) parseTypeString((text), (type), (typmod), NULL))
#else
#define EdwOwnsDatabase(database, role)	pg_database_ownercheck((database), (role))
#define EdwOwnsExtension(extension, role)	pg_extension_ownercheck((extension), (role))
#define EdwDatabaseAclCheck(database, role, mode)	pg_database_aclcheck((database), (role), (mode))
#define EdwOwnsRelation(relid, role)	pg_class_ownercheck((relid), (role))
#define EdwServerAclCheck(server, role, mode)	pg_foreign_server_aclcheck((server), (role), (mode))
#define EdwParseTypeString(text, type, typmod)	parseTypeString((text), (type), (typmod), false)
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

#ifdef DATCONNLIMIT_INVALID_DB
#define EdwDatabaseIsInvalid(form)	database_is_invalid_form(form)
#else
/* 15.4 came with databases that an interrupted DROP DATABASE has left behind */
#define EdwDatabaseIsInvalid(form)	((void) (form), false)
#endif

/* 18 gave index_beginscan a place for instrumentation; use this where access/genam.h is included */
#if PG_VERSION_NUM >= 180000
#define EdwIndexBeginScan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, NULL, nkeys, 0)
#else
#define EdwIndexBeginScan(heap, index, snapshot, nkeys) \
	index_beginscan(heap, index, snapshot, nkeys, 0)
#endif

/* 18 took execute_once from ExecutorRun; use this where executor/executor.h is included */
#if PG_VERSION_NUM >= 180000
#define EdwExecutorRun(desc)	ExecutorRun((desc), ForwardScanDirection, 0)
#else
#define EdwExecutorRun(desc)	ExecutorRun((desc), ForwardScanDirection, 0, true)
#endif

/* 16 made an update tell which indexes it concerns: those that only summarize can be the only ones */
#if PG_VERSION_NUM >= 160000
#define EdwUpdateIndexes	TU_UpdateIndexes
#define EdwIndexInsert(relation, slot, estate) \
	ExecInsertIndexTuples((relation), (slot), (estate), false, false, NULL, NIL, false)
#define EdwIndexUpdate(relation, slot, estate, which) \
	((which) == TU_None ? NIL : \
	 ExecInsertIndexTuples((relation), (slot), (estate), true, false, NULL, NIL, \
						   (which) == TU_Summarizing))
#else
#define EdwUpdateIndexes	bool
#define EdwIndexInsert(relation, slot, estate) \
	ExecInsertIndexTuples((relation), (slot), (estate), false, false, NULL, NIL)
#define EdwIndexUpdate(relation, slot, estate, which) \
	(!(which) ? NIL : \
	 ExecInsertIndexTuples((relation), (slot), (estate), true, false, NULL, NIL))
#endif

#if PG_VERSION_NUM >= 180000
/* 18 refers to GROUP BY's expressions through a range table entry */
#define EdwGroupExprs(rte)	((rte)->rtekind == RTE_GROUP ? (rte)->groupexprs : NIL)
/* 18 has NOT NULL constraints that are not valid */
#define EdwColumnNotNull(desc, attnum) \
	(TupleDescCompactAttr((desc), (attnum) - 1)->attnullability == ATTNULLABLE_VALID)
#else
#define EdwGroupExprs(rte)	((void) (rte), NIL)
#define EdwColumnNotNull(desc, attnum)	(TupleDescAttr((desc), (attnum) - 1)->attnotnull)
#endif

/*
 * 16 moved what is checked of a range table entry, and which columns a query needs of it, into a list
 * of the query's own. The planner of 16 fails on relations that have no place in that list.
 */
#if PG_VERSION_NUM >= 160000
#define EdwCheckPermissions(query) \
	((void) ExecCheckPermissions((query)->rtable, (query)->rteperminfos, true))
/* rte becomes one of a query whose list is to be infos */
#define EdwRteTakePermInfo(query, rte, infos) \
	((infos) = lappend((infos), copyObject(getRTEPermissionInfo((query)->rteperminfos, (rte)))), \
	 (rte)->perminfoindex = list_length(infos))
/* nothing is asked for: an entry that asks for nothing is none to 16, so ask for what is always granted */
#define EdwReadUnchecked(query, rte) \
	do \
	{ \
		RTEPermissionInfo *info_ = addRTEPermissionInfo(&(query)->rteperminfos, (rte)); \
\
		info_->requiredPerms = ACL_SELECT; \
		info_->checkAsUser = BOOTSTRAP_SUPERUSERID; \
	} while (0)
#define EdwQueryPermInfos(query)	((query)->rteperminfos)
#define EdwQuerySetPermInfos(query, infos)	((void) ((query)->rteperminfos = (infos)))
#define EdwRteSelectedCols(query, rte) \
	((rte)->perminfoindex == 0 ? NULL : \
	 list_nth_node(RTEPermissionInfo, (query)->rteperminfos, (rte)->perminfoindex - 1)->selectedCols)
#else
#define EdwCheckPermissions(query)	((void) ExecCheckRTPerms((query)->rtable, true))
#define EdwRteTakePermInfo(query, rte, infos)	((void) (query), (void) (rte), (void) (infos))
#define EdwReadUnchecked(query, rte)	((void) (query), (void) (rte))
#define EdwQueryPermInfos(query)	((void) (query), NIL)
#define EdwQuerySetPermInfos(query, infos)	((void) (query), (void) (infos))
#define EdwRteSelectedCols(query, rte)	((void) (query), (rte)->selectedCols)
#endif

/* … told Vars which outer joins may make them null, and flatten_join_alias_vars the planner's state */
#if PG_VERSION_NUM >= 160000
#define EdwVarForgetNulling(var)	((void) ((var)->varnullingrels = NULL))
#define EdwFlattenJoinAliases(query, node)	flatten_join_alias_vars(NULL, (query), (node))
#else
#define EdwVarForgetNulling(var)	((void) (var))
#define EdwFlattenJoinAliases(query, node)	flatten_join_alias_vars((query), (node))
#endif

/* 18 gave grouping expressions a range table entry: use this where optimizer/optimizer.h is included */
#if PG_VERSION_NUM >= 180000
#define EdwFlattenGroups(query, node)	flatten_group_exprs(NULL, (query), (node))
#define EdwForgetGroupRte(query)	((void) ((query)->hasGroupRTE = false))
#else
#define EdwFlattenGroups(query, node)	((void) (query), (node))
#define EdwForgetGroupRte(query)	((void) (query))
#endif

/* 18 has kinds of comparison where btree's strategies were, and minimal tuples with room in front of them */
#if PG_VERSION_NUM >= 180000
#define EdwComparison		CompareType
#define EDW_COMPARISON_GREATER	COMPARE_GT
#define EdwFormMinimalTuple(desc, values, nulls)	heap_form_minimal_tuple((desc), (values), (nulls), 0)
#else
#define EdwComparison		int16
#define EDW_COMPARISON_GREATER	BTGreaterStrategyNumber
#define EdwFormMinimalTuple(desc, values, nulls)	heap_form_minimal_tuple((desc), (values), (nulls))
#endif

/* 17 lets an index keep things between insertions, to be let go of in the end */
#if PG_VERSION_NUM >= 170000
#define EdwIndexInsertCleanup(index, info)	index_insert_cleanup((index), (info))
#else
#define EdwIndexInsertCleanup(index, info)	((void) 0)
#endif

/* 18 wants to know whether a relation is a result relation, as it is here; use this where executor/executor.h is included */
#if PG_VERSION_NUM >= 180000
#define EdwResultRelation(estate, rti)	ExecGetRangeTableRelation((estate), (rti), true)
#else
#define EdwResultRelation(estate, rti)	ExecGetRangeTableRelation((estate), (rti))
#endif

/* 16 has btree's searches know the table; use this where access/nbtree.h is included */
#if PG_VERSION_NUM >= 160000
#define EdwBtGetRoot(index, table)	_bt_getroot((index), (table), BT_READ)
#else
#define EdwBtGetRoot(index, table)	((void) (table), _bt_getroot((index), BT_READ))
#endif

/* 17 took old_snapshot_threshold away; use this where storage/bufmgr.h is included */
#if PG_VERSION_NUM >= 170000
#define EdwTestForOldSnapshot(snapshot, relation, page)	((void) 0)
#else
#define EdwTestForOldSnapshot(snapshot, relation, page)	TestForOldSnapshot((snapshot), (relation), (page))
#endif

/* 16 renamed relations' files; use this where storage/bufmgr.h and utils/rel.h are included */
#if PG_VERSION_NUM >= 160000
#define EdwReadRecentBuffer(relation, block, buffer) \
	ReadRecentBuffer((relation)->rd_locator, MAIN_FORKNUM, (block), (buffer))
#else
#define EdwReadRecentBuffer(relation, block, buffer) \
	ReadRecentBuffer((relation)->rd_node, MAIN_FORKNUM, (block), (buffer))
#endif

#endif							/* EDW_COMPAT_H */
