/*
 * member_cache.h
 *		Where the members that were looked up last are stored.
 *
 * It holds no surrogate key that could be out of date, but tuple ids by the hash of the member's natural key: what is there is read again, and
 * counts only if it is visible now, has that natural key and, of a dimension with versions, is that of the time that
 * is asked for. As there is one such row at most, that is exact whoever has changed the dimension meanwhile; all else is
 * a miss, and asked for in SQL. It saves the way through the executor and down the index.
 */
#ifndef EDW_APPLY_MEMBER_CACHE_H
#define EDW_APPLY_MEMBER_CACHE_H

#include "apply/lookup.h"
#include "storage/itemptr.h"
#include "utils/relcache.h"

/*
 * A cache in the current memory context, as long as the target lives; NULL if the dimension's rows cannot be read
 * like that: it is partitioned or has children, or is no plain table.
 */
extern EdwMemberCache *EdwMemberCacheCreate(const EdwLookup *lookup, Relation dimension);

/*
 * Find those of the lookup's members that are not found yet, where they were. Locks the dimension ACCESS SHARE until the
 * transaction ends and takes the snapshot that a statement would. Finds none if nothing is known yet, the
 * current user may not see all of the dimension, or it is not what it was.
 */
extern void EdwMemberCacheFind(EdwMemberCache *cache, EdwMembers *members);

/* A member was found here. */
extern void EdwMemberCacheNote(EdwMemberCache *cache, const EdwMember *member, ItemPointer tid);

#endif							/* EDW_APPLY_MEMBER_CACHE_H */
