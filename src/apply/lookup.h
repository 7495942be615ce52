/*
 * lookup.h
 *		The surrogate keys of a batch's facts: map_table's lookups.
 *
 * lookup_target.c describes lookups as part of a target; lookup.c fills them in for the rows of a
 * batch; members.c asks for each member that the batch refers to once, and makes those that are missing and may be
 * inferred; lookup_sql.c has the statements. All run in the caller's transaction, as the stream's owner.
 */
#ifndef EDW_APPLY_LOOKUP_H
#define EDW_APPLY_LOOKUP_H

#include "apply/fold.h"
#include "apply/target.h"
#include "apply/tombstone.h"

/* the members that are asked for, as a relation: _edw_row, m0 …, _edw_as_of */
#define EDW_MEMBERS_RELATION	"edw_members"

/* a member that a batch refers to */
typedef struct EdwMember
{
	const uint8 *key;			/* canonical bytes: the natural key, then as_of if there are versions */
	int			key_len;
	int			natural_len;	/* of the natural key alone */
	uint32		natural_hash;
	uint32		hash;
	Datum	   *match;			/* the natural key */
	Datum		as_of;
	bool		found;
	bool		wanted;			/* by a row that is not stale */
	bool		isnull;			/* its surrogate key */
	Datum		surrogate;		/* in the type of the target's column */
} EdwMember;

/* member_cache.h */
typedef struct EdwMemberCache EdwMemberCache;

/* those of one lookup, in the batch's memory */
typedef struct EdwMembers
{
	EdwBatch   *batch;
	const EdwTarget *target;
	const EdwLookup *lookup;
	struct edw_members_hash *hash;
	EdwMember **members;		/* in order of first sight, until they are sorted */
	int			nmembers;
	int			size;
	int			nmissing;		/* by the last look-up */
	bool		sorted;			/* those that were not found in the cache come first, by key */
} EdwMembers;

/* lookup_target.c: how many hidden columns a mapping's lookups need; make them, after the table's columns */
extern int	EdwLookupHiddenColumns(const EdwMappingDef *def);
extern void EdwLookupsOpen(EdwTarget *target, EdwInputDesc *input, List *mappings);

/*
 * lookup.c. A lookup column is there if all is that its member is found by. Returns the presences of the
 * change's lookup columns, ored.
 */
extern uint8 EdwLookupsNotePresence(const EdwTarget *target, EdwFoldChange *c);

/*
 * Fill in the lookup columns of rows that are about to be written. Rows whose member is missing and that are to be put
 * aside are rejected and taken out of the arrays; returns how many are left.
 * alone: no other worker writes the dimensions meanwhile. *need_alone: that is needed, run the batch again so.
 */
extern int	EdwLookupsFill(EdwBatch *batch, EdwBatchTarget *bt, EdwEntry **rows,
						   EdwFoldChange **changes, int nrows, EdwTombstones *tombstones,
						   bool alone, bool *need_alone);

/* members.c */
extern EdwMembers *EdwMembersCreate(EdwBatch *batch, const EdwTarget *target, const EdwLookup *lookup, int guess);

/* The member that a row refers to; NULL when it refers to none: part of its key or as_of is null. */
extern EdwMember *EdwMembersFind(EdwMembers *members, const EdwFoldChange *c);

/* Look all of them up, and count those that are missing. */
extern void EdwMembersLookUp(EdwMembers *members);

/* Insert those that were not found and are wanted, and look them up. */
extern void EdwMembersInfer(EdwMembers *members);

/* lookup_sql.c: text only. first: for members that have no version that early, the first one */
extern char *EdwLookupSql(const EdwTarget *target, const EdwLookup *lookup, bool first);
extern char *EdwInferSql(const EdwLookup *lookup);

#endif							/* EDW_APPLY_LOOKUP_H */
