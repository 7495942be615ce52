/*
 * repoint.h
 *		Facts that refer to versions which change: the other side of lookups.
 *
 * When versions of a member change, facts that were looked up before may refer to a version that is not the one of
 * their time any more, or to a row that is gone. Used by scd2.c, in its SPI connection, after the versions have been
 * written.
 */
#ifndef EDW_APPLY_REPOINT_H
#define EDW_APPLY_REPOINT_H

#include "apply/scd2.h"

/* a column of a table of facts that holds keys of a dimension with versions */
typedef struct EdwReferrer
{
	char	   *relation;		/* of the facts: quoted, qualified */
	char	   *column;			/* quoted */
	char	   *key;			/* the dimension's column, quoted */
	Oid			key_type;
	char	   *as_of;			/* column of the facts with their time, quoted; NULL: facts stay where they are (no repoint) */
	char	   *otherwise;		/* SQL: what a fact gets when no version of its member is left */
} EdwReferrer;

/* The referrers of a target with versions, among its stream's mappings. Locks nothing; watches their tables. */
extern void EdwReferrersFind(EdwTarget *target, List *mappings);

/* Take facts of rows that were deleted, and those whose time is now in another version, to the right one. */
extern void EdwRepoint(EdwScd2 *scd2);

/* text only */
extern char *EdwRepointDroppedSql(const EdwTarget *target, const EdwReferrer *referrer);
extern char *EdwRepointSql(const EdwTarget *target, const EdwReferrer *referrer);

#endif							/* EDW_APPLY_REPOINT_H */
