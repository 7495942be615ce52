/*
 * merge_sql.c
 *		The text of the statements that apply a batch (see merge_sql.h).
 *
 * Pure: palloc in the current context, nothing else.
 */
#include "postgres.h"

#include "apply/merge_sql.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"

EdwShape *
EdwShapeMake(const EdwTarget *target)
{
	EdwShape   *shape = palloc0(sizeof(EdwShape));

	shape->target = target;
	shape->written = palloc(Max(target->ncolumns, 1) * sizeof(bool));
	shape->kept = palloc0(Max(target->ncolumns, 1) * sizeof(bool));
	for (int i = 0; i < target->ncolumns; i++)
		shape->written[i] = target->columns[i].attnum != 0;
	shape->upserts = true;
	shape->deletes = true;
	shape->bounded = target->nbounds > 0;
	return shape;
}

void
EdwAppendKeyMatch(StringInfo sql, const EdwTarget *target)
{
	for (int k = 0; k < target->nkeys; k++)
	{
		const EdwTargetColumn *column = &target->columns[target->keys[k]];

		appendStringInfo(sql, "%st.%s %s s.%s", k == 0 ? "" : " AND ",
						 column->quoted, column->equality, column->quoted);
	}
}

/* The key columns' operators for bounds are those of the type's default order, as its equality is. */
static void
append_bounds(StringInfo sql, const EdwTarget *target)
{
	for (int i = 0; i < target->nbounds; i++)
	{
		const EdwTargetColumn *column = &target->columns[target->bounds[i]];

		appendStringInfo(sql, "\n\tAND t.%s %s $%d AND t.%s %s $%d",
						 column->quoted, column->greater_equal, 2 * i + 1,
						 column->quoted, column->less_equal, 2 * i + 2);
	}
}

/* what an update sets a column to */
static void
append_new_value(StringInfo sql, const EdwShape *shape, int i, const char *otherwise)
{
	const char *name = shape->target->columns[i].quoted;

	if (shape->kept[i])
		appendStringInfo(sql, "CASE WHEN s." EDW_BATCH_KEEP "%d THEN %s ELSE s.%s END",
						 i, otherwise, name);
	else
		appendStringInfo(sql, "s.%s", name);
}

static void
append_update(StringInfo sql, const EdwShape *shape)
{
	const EdwTarget *target = shape->target;

	appendStringInfo(sql, "\nWHEN MATCHED AND s." EDW_BATCH_OP " OPERATOR(pg_catalog.=) 'u'"
					 " AND edw_stream.merge_guard(s." EDW_BATCH_ROW ", t.%s) THEN"
					 "\n\tUPDATE SET ", target->seq_column);
	for (int i = 0; i < target->ncolumns; i++)
	{
		const EdwTargetColumn *column = &target->columns[i];

		if (!shape->written[i] || column->is_key || column->always_identity)
			continue;
		appendStringInfo(sql, "%s = ", column->quoted);
		append_new_value(sql, shape, i, psprintf("t.%s", column->quoted));
		appendStringInfoString(sql, ", ");
	}
	if (target->deleted_attnum != 0)
		appendStringInfoString(sql, "_edw_deleted = s." EDW_BATCH_DELETED ", ");
	if (target->def->inferred)
		appendStringInfoString(sql, EDW_INFERRED_COLUMN " = false, ");
	appendStringInfo(sql, "%s = s." EDW_BATCH_SEQ, target->seq_column);
}

static void
append_delete(StringInfo sql, const EdwTarget *target)
{
	appendStringInfo(sql, "\nWHEN MATCHED AND s." EDW_BATCH_OP " OPERATOR(pg_catalog.=) 'd'"
					 " AND edw_stream.merge_guard(s." EDW_BATCH_ROW ", t.%s) THEN\n\t", target->seq_column);
	if (target->deleted_attnum == 0)
	{
		appendStringInfoString(sql, "DELETE");
		return;
	}
	appendStringInfoString(sql, "UPDATE SET ");
	for (int i = 0; i < target->ncolumns; i++)
		if (target->columns[i].audit)
			appendStringInfo(sql, "%s = s.%s, ", target->columns[i].quoted, target->columns[i].quoted);
	appendStringInfo(sql, "_edw_deleted = true, %s = s." EDW_BATCH_SEQ, target->seq_column);
}

/* (columns) and what goes into them */
static void
append_insert_lists(StringInfo sql, const EdwShape *shape, const char *before_values,
					const char *after_values)
{
	const EdwTarget *target = shape->target;
	StringInfoData values;

	initStringInfo(&values);
	appendStringInfoChar(sql, '(');
	for (int i = 0; i < target->ncolumns; i++)
	{
		if (!shape->written[i])
			continue;
		appendStringInfo(sql, "%s, ", target->columns[i].quoted);
		append_new_value(&values, shape, i, target->columns[i].dflt ? target->columns[i].dflt : "NULL");
		appendStringInfoString(&values, ", ");
	}
	if (target->deleted_attnum != 0)
	{
		appendStringInfoString(sql, "_edw_deleted, ");
		appendStringInfoString(&values, "s." EDW_BATCH_DELETED ", ");
	}
	if (target->def->inferred)
	{
		appendStringInfoString(sql, EDW_INFERRED_COLUMN ", ");
		appendStringInfoString(&values, "false, ");
	}
	appendStringInfo(sql, "%s)%s%ss." EDW_BATCH_SEQ "%s",
					 target->seq_column, before_values, values.data, after_values);
	pfree(values.data);
}

/* an identity column that is always generated is written only because it is a key or was asked for */
static const char *
overriding(const EdwShape *shape)
{
	for (int i = 0; i < shape->target->ncolumns; i++)
		if (shape->written[i] && shape->target->columns[i].always_identity)
			return "\n\tOVERRIDING SYSTEM VALUE";
	return "";
}

char *
EdwMergeSql(const EdwShape *shape)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "MERGE INTO %s AS t\nUSING " EDW_BATCH_RELATION " AS s\nON ",
					 shape->target->relation);
	EdwAppendKeyMatch(&sql, shape->target);
	if (shape->bounded)
		append_bounds(&sql, shape->target);
	if (shape->upserts)
		append_update(&sql, shape);
	if (shape->deletes)
		append_delete(&sql, shape->target);
	if (shape->upserts)
	{
		appendStringInfoString(&sql, "\nWHEN NOT MATCHED AND s." EDW_BATCH_OP " OPERATOR(pg_catalog.=) 'u'"
							   " AND edw_stream.merge_guard(s." EDW_BATCH_ROW ", ''::pg_catalog.bytea) THEN"
							   "\n\tINSERT ");
		append_insert_lists(&sql, shape, psprintf("%s\n\tVALUES (", overriding(shape)), ")");
	}
	return sql.data;
}

char *
EdwAppendSql(const EdwShape *shape)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "INSERT INTO %s ", shape->target->relation);
	append_insert_lists(&sql, shape, psprintf("%s\n\tSELECT ", overriding(shape)),
						"\n\tFROM " EDW_BATCH_RELATION " AS s");
	for (int k = 0; k < shape->target->nkeys; k++)
		appendStringInfo(&sql, "%s%s", k == 0 ? "\n\tON CONFLICT (" : ", ",
						 shape->target->columns[shape->target->keys[k]].quoted);
	if (shape->target->nkeys > 0)
		appendStringInfoString(&sql, ") DO NOTHING");
	return sql.data;
}

char *
EdwStoredSql(const EdwTarget *target)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT s." EDW_BATCH_ROW ", t.%s%s FROM " EDW_BATCH_RELATION " AS s"
					 " JOIN %s AS t ON ",
					 target->seq_column, target->deleted_attnum != 0 ? ", t._edw_deleted" : "", target->relation);
	EdwAppendKeyMatch(&sql, target);
	append_bounds(&sql, target);
	return sql.data;
}

/* A group's columns become null; it is nothing to the others. */
static void
append_group_truncate(StringInfo sql, const EdwTarget *target)
{
	appendStringInfo(sql, "UPDATE %s AS t SET %s = $1", target->relation, target->seq_column);
	for (int i = 0; i < target->ncolumns; i++)
		if (target->columns[i].attnum != 0 && !target->columns[i].is_key && !target->columns[i].always_identity)
			appendStringInfo(sql, ", %s = NULL", target->columns[i].quoted);
}

/* A row that no event wrote is older than all, but not one that only groups have written so far. */
static void
append_no_group(StringInfo sql, const EdwTarget *target)
{
	AttrNumber	attnum = 0;

	while ((attnum = EdwGroupNextColumn(target->rel_desc, attnum)) != 0)
		appendStringInfo(sql, " AND t.%s IS NULL",
						 quote_identifier(NameStr(TupleDescAttr(target->rel_desc, attnum - 1)->attname)));
}

char *
EdwTruncateSql(const EdwTarget *target)
{
	StringInfoData sql;
	int			n = 1;

	initStringInfo(&sql);
	if (target->grouped)
		append_group_truncate(&sql, target);
	else if (target->deleted_attnum == 0)
		appendStringInfo(&sql, "DELETE FROM %s AS t", target->relation);
	else
	{
		appendStringInfo(&sql, "UPDATE %s AS t SET _edw_deleted = true, _edw_seq = $1", target->relation);
		for (int i = 0; i < target->ncolumns; i++)
			if (target->columns[i].audit)
				appendStringInfo(&sql, ", %s = $%d", target->columns[i].quoted, ++n);
	}
	if (target->grouped)
		appendStringInfo(&sql, "\nWHERE t.%s OPERATOR(pg_catalog.<) $1", target->seq_column);
	else
	{
		appendStringInfoString(&sql, "\nWHERE (t._edw_seq OPERATOR(pg_catalog.<) $1 OR t._edw_seq IS NULL");
		append_no_group(&sql, target);
		appendStringInfoChar(&sql, ')');
	}
	if (target->unknown_member)
		appendStringInfo(&sql, " AND %s", target->unknown_member);
	return sql.data;
}
