/*
 * merge_sql.h
 *		The text of the statements that apply a batch.
 *
 * Pure functions from a target and the shape of a batch to SQL; nothing is looked up or run
 * here. Everything is qualified, the operators of keys too, so that no search_path
 * changes a statement's meaning.
 */
#ifndef EDW_APPLY_MERGE_SQL_H
#define EDW_APPLY_MERGE_SQL_H

#include "apply/target.h"
#include "lib/stringinfo.h"

/* names of the batch as a relation, and of its own columns */
#define EDW_BATCH_RELATION	"edw_batch"
#define EDW_BATCH_ROW		"_edw_row"
#define EDW_BATCH_OP		"_edw_op"
#define EDW_BATCH_SEQ		"_edw_seq"
#define EDW_BATCH_DELETED	"_edw_deleted"	/* only if deletes are soft */
#define EDW_BATCH_KEEP		"_edw_keep_"

/* what a batch holds for a target; the arrays have an entry per column of the target */
typedef struct EdwShape
{
	const EdwTarget *target;
	bool	   *written;		/* some row gives a value; keys always */
	bool	   *kept;			/* some row gives none: has a keep flag */
	bool		upserts;
	bool		deletes;
	bool		bounded;		/* $1, $2 … are least and greatest of target->bounds */
} EdwShape;

/* All columns written, none kept, upserts and deletes: what a batch usually is. */
extern EdwShape *EdwShapeMake(const EdwTarget *target);

/* t.key = s.key AND … */
extern void EdwAppendKeyMatch(StringInfo sql, const EdwTarget *target);

extern char *EdwMergeSql(const EdwShape *shape);
extern char *EdwAppendSql(const EdwShape *shape);

/* the stored rows of a batch's keys: (row, _edw_seq[, _edw_deleted]); parameters as EdwMergeSql's, if bounded */
extern char *EdwStoredSql(const EdwTarget *target);

/* what a truncate at position $1 does; soft: $2 … are the audit columns' values, in their order */
extern char *EdwTruncateSql(const EdwTarget *target);

#endif							/* EDW_APPLY_MERGE_SQL_H */
