/*
 * images.h
 *		What a batch changes in one table, as rows before and after: for preview().
 *
 * Rows are read again by the batch's keys, before the table is written and after it, by the same user who writes them.
 */
#ifndef EDW_APPLY_IMAGES_H
#define EDW_APPLY_IMAGES_H

#include "apply/fold.h"

/* a row that changed; the jsonb values live until the callback returns */
typedef struct EdwImageChange
{
	const char *change;			/* "insert", "update", "delete", "truncate" */
	NullableDatum key;			/* of the row: its primary key, else the mapping's keys */
	NullableDatum before;
	NullableDatum after;
} EdwImageChange;

/* who wants to know; see EdwBatchWatch */
struct EdwWatch
{
	Oid			target;
	void		(*changed) (void *arg, const EdwImageChange *change);
	void	   *arg;
};

typedef struct EdwImages EdwImages;

/* The rows of the batch's keys as they are now. NULL: nobody wants to know of this table. */
extern EdwImages *EdwImagesTake(EdwBatch *batch, EdwBatchTarget *bt);

/* Tell what has become of them since. */
extern void EdwImagesCompare(EdwImages *images);

/* A statement that appends, so that it returns what EdwImagesAppended tells. */
extern char *EdwImagesAppendSql(EdwBatch *batch, const EdwTarget *target, char *sql);
extern void EdwImagesAppended(EdwBatch *batch, const EdwTarget *target);

#endif							/* EDW_APPLY_IMAGES_H */
