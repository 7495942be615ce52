/*
 * mapping_target.c
 *		Checks of a target table, and the columns that map_table adds to it.
 *
 * Runs as the caller of map_table, never as the extension's owner: what he may not do by
 * ALTER TABLE he may not do through map_table. Takes ShareUpdateExclusiveLock, which
 * keeps other calls for the same table out but no reader or writer, and more only
 * where a column must be added.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "apply/key.h"
#include "catalog/catalog.h"
#include "catalog/mapping_target.h"
#include "catalog/namespace.h"
#include "catalog/options.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "edw_stream.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

static const char *
relkind_hint(char relkind)
{
	switch (relkind)
	{
		case RELKIND_VIEW:
			return "Map the table that the view reads.";
		case RELKIND_MATVIEW:
			return "Map the tables that the materialized view is made from.";
		case RELKIND_FOREIGN_TABLE:
			return "Rows, offsets and all else are committed together here; map a table of this database.";
		default:
			return "Map a plain or partitioned table.";
	}
}

static void
check_kind(Relation rel)
{
	const char *name = RelationGetRelationName(rel);
	char		relkind = rel->rd_rel->relkind;

	if (relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table", name),
				 errdetail_relkind_not_supported(relkind),
				 errhint("%s", relkind_hint(relkind))));
	if (IsSystemRelation(rel) ||
		RelationGetNamespace(rel) == get_namespace_oid(EDW_SCHEMA, true))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" belongs to the system or to %s", name, EDW_EXTENSION_NAME),
				 errhint("Map a table of your own.")));
	if (rel->rd_rules != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("table \"%s\" has rules", name),
				 errdetail("MERGE does not work on tables with rules."),
				 errhint("Use triggers in place of rules.")));
	if (rel->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is a temporary table", name),
				 errdetail("Workers cannot see the temporary tables of a session."),
				 errhint("Map a permanent table.")));
	if (rel->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is an unlogged table", name),
				 errdetail("A crash empties it, but not the offsets that were committed with its rows."),
				 errhint("Use ALTER TABLE … SET LOGGED.")));
}

static void
check_privileges(Relation rel, const EdwStreamDef *stream, bool needs_truncate)
{
	Oid			relid = RelationGetRelid(rel);
	AclMode		needed = ACL_SELECT | ACL_INSERT | ACL_UPDATE | ACL_DELETE |
		(needs_truncate ? ACL_TRUNCATE : 0);

	if (!EdwOwnsRelation(relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, RelationGetRelationName(rel));
	if (pg_class_aclmask(relid, stream->owner, needed, ACLMASK_ALL) != needed)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("owner \"%s\" of stream \"%s\" may not write table \"%s\"",
						GetUserNameFromId(stream->owner, false), stream->name,
						RelationGetRelationName(rel)),
				 errhint("The stream's worker runs as that role: GRANT SELECT, INSERT, UPDATE, DELETE%s on the table to it.",
						 needs_truncate ? ", TRUNCATE" : "")));
}

Relation
EdwMappingTargetOpen(Oid relid, const EdwStreamDef *stream, bool needs_truncate)
{
	Relation	rel = try_relation_open(relid, ShareUpdateExclusiveLock);

	if (rel == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table with OID %u does not exist", relid)));
	check_kind(rel);
	check_privileges(rel, stream, needs_truncate);
	return rel;
}

/* Is the column there? ERROR if it is, but of another type. */
static bool
has_column(Relation rel, const char *column, Oid type)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(rel), column);
	Form_pg_attribute attr;

	if (attnum == InvalidAttrNumber)
		return false;
	attr = TupleDescAttr(RelationGetDescr(rel), attnum - 1);
	if (attr->atttypid != type || attr->attgenerated)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of table \"%s\" is not a plain column of type %s",
						column, RelationGetRelationName(rel), format_type_be(type)),
				 errdetail("The name is reserved for the extension."),
				 errhint("Rename the column; map_table adds its own.")));
	return true;
}

static void
append_column(StringInfo sql, const char *definition)
{
	appendStringInfo(sql, "%s ADD COLUMN %s", sql->data[sql->len - 1] == ' ' ? "" : ",", definition);
}

void
EdwMappingTargetAddColumns(Oid relid, const char *seq_column, bool soft_delete)
{
	Relation	rel = relation_open(relid, NoLock);
	bool		has_seq = has_column(rel, seq_column, BYTEAOID);
	bool		has_deleted = !soft_delete || has_column(rel, EDW_DELETED_COLUMN, BOOLOID);
	StringInfoData sql;

	if (rel->rd_rel->relispartition && !(has_seq && has_deleted))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is a partition and lacks the extension's columns",
						RelationGetRelationName(rel)),
				 errhint("Map the partitioned table: rows find their partition by themselves.")));

	initStringInfo(&sql);
	appendStringInfo(&sql, "ALTER TABLE %s ",
					 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
												RelationGetRelationName(rel)));
	relation_close(rel, NoLock);

	if (!has_seq)
		append_column(&sql, psprintf("%s pg_catalog.bytea", quote_identifier(seq_column)));
	if (!has_deleted)
		append_column(&sql, EDW_DELETED_COLUMN " pg_catalog.bool NOT NULL DEFAULT false");
	if (has_seq && has_deleted)
		return;

	SPI_connect();
	if (SPI_execute(sql.data, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not execute \"%s\"", sql.data);
	SPI_finish();
}

/* the names of a relation's columns, for hints */
static const char **
column_names(Relation rel, int *n)
{
	TupleDesc	desc = RelationGetDescr(rel);
	const char **names = palloc(sizeof(char *) * Max(desc->natts, 1));

	*n = 0;
	for (int i = 0; i < desc->natts; i++)
	{
		if (!TupleDescAttr(desc, i)->attisdropped)
			names[(*n)++] = NameStr(TupleDescAttr(desc, i)->attname);
	}
	return names;
}

AttrNumber
EdwRequireColumn(Relation rel, const char *column)
{
	AttrNumber	attnum = get_attnum(RelationGetRelid(rel), column);
	const char **names;
	int			n;

	if (attnum > 0)
		return attnum;
	names = column_names(rel, &n);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("column \"%s\" of table \"%s\" does not exist",
					column, RelationGetRelationName(rel)),
			 EdwHintNames(column, names, n)));
}

void
EdwMappingTargetCheckColumn(Relation rel, const char *column)
{
	Form_pg_attribute attr;

	if (strncmp(column, EDW_SEQ_COLUMN, strlen(EDW_SEQ_COLUMN)) == 0 || strcmp(column, EDW_DELETED_COLUMN) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("column \"%s\" is written by the extension itself", column),
				 errhint("Leave it out.")));
	attr = TupleDescAttr(RelationGetDescr(rel), EdwRequireColumn(rel, column) - 1);
	if (attr->attgenerated)
		ereport(ERROR,
				(errcode(ERRCODE_GENERATED_ALWAYS),
				 errmsg("column \"%s\" of table \"%s\" is a generated column",
						column, RelationGetRelationName(rel)),
				 errhint("Leave it out: PostgreSQL computes it.")));
	if (attr->attidentity == ATTRIBUTE_IDENTITY_ALWAYS)
		ereport(ERROR,
				(errcode(ERRCODE_GENERATED_ALWAYS),
				 errmsg("column \"%s\" of table \"%s\" is an identity column defined as GENERATED ALWAYS",
						column, RelationGetRelationName(rel)),
				 errhint("Leave it out, or use ALTER TABLE … ALTER COLUMN %s SET GENERATED BY DEFAULT.",
						 quote_identifier(column))));
}

/*
 * A key column may be GENERATED ALWAYS AS IDENTITY: its value comes from the source and
 * overrides the sequence.
 */
static AttrNumber
check_key_column(Relation rel, const char *column)
{
	AttrNumber	attnum = EdwRequireColumn(rel, column);
	Form_pg_attribute attr = TupleDescAttr(RelationGetDescr(rel), attnum - 1);

	if (attr->attidentity != ATTRIBUTE_IDENTITY_ALWAYS)
		EdwMappingTargetCheckColumn(rel, column);
	EdwKeyTypeCheck(attr->atttypid, attr->attcollation, column);
	return attnum;
}

/* Is it a unique index over exactly the columns in attnums, whole and valid? immediate: not a deferrable constraint's. */
static bool
index_is_over(Oid indexid, Bitmapset *attnums, bool immediate)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(indexid));
	Form_pg_index index;
	bool		result;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for index %u", indexid);
	index = (Form_pg_index) GETSTRUCT(tuple);
	result = index->indisunique && index->indisvalid && (index->indimmediate || !immediate) &&
		index->indnkeyatts == bms_num_members(attnums) &&
		heap_attisnull(tuple, Anum_pg_index_indpred, NULL) &&
		heap_attisnull(tuple, Anum_pg_index_indexprs, NULL);
	for (int i = 0; result && i < index->indnkeyatts; i++)
		result = bms_is_member(index->indkey.values[i], attnums);
	ReleaseSysCache(tuple);
	return result;
}

bool
EdwHasUniqueIndex(Relation rel, Bitmapset *attnums, bool immediate)
{
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(rel))
	{
		if (index_is_over(lfirst_oid(lc), attnums, immediate))
			return true;
	}
	return false;
}

static void
require_unique_index(Relation rel, List *keys, Bitmapset *attnums, bool append)
{
	StringInfoData columns;
	ListCell   *lc;

	if (EdwHasUniqueIndex(rel, attnums, append))
		return;
	initStringInfo(&columns);
	foreach(lc, keys)
		appendStringInfo(&columns, "%s%s", columns.len > 0 ? ", " : "",
						 quote_identifier(lfirst(lc)));
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
			 errmsg("table \"%s\" has no unique index on (%s)",
					RelationGetRelationName(rel), columns.data),
			 append ? errdetail("It tells whether an event was appended before; that of a deferrable constraint cannot.")
			 : errdetail("Rows are found by their key: without the index each batch would read the whole table."),
			 errhint("CREATE UNIQUE INDEX ON %s (%s);",
					 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
												RelationGetRelationName(rel)),
					 columns.data)));
}

List *
EdwMappingTargetKeys(Relation rel, List *given, EdwApplyMode apply)
{
	bool		append = apply == EDW_APPLY_APPEND;
	List	   *keys = given != NIL || append ? given : EdwPrimaryKeyColumns(rel);
	Bitmapset  *attnums = NULL;
	ListCell   *lc;

	if (keys == NIL && append)
		return NIL;
	if (given == NIL && apply == EDW_APPLY_SCD2)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("apply => 'scd2' needs keys"),
				 errdetail("They are the natural key; the primary key of the table is that of a version."),
				 errhint("Give keys => ARRAY['column', …].")));
	if (keys == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("table \"%s\" has no primary key, and no keys are given",
						RelationGetRelationName(rel)),
				 errhint("Give keys => ARRAY['column', …] with a unique index over them, "
						 "or apply => 'append' to keep every event as a row.")));

	foreach(lc, keys)
	{
		char	   *column = lfirst(lc);
		AttrNumber	attnum;

		if (column == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("keys must not contain nulls")));
		attnum = check_key_column(rel, column);
		if (bms_is_member(attnum, attnums))
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("key column \"%s\" is listed twice", column)));
		attnums = bms_add_member(attnums, attnum);
	}
	if (apply != EDW_APPLY_SCD2)
		require_unique_index(rel, keys, attnums, append);
	return keys;
}
