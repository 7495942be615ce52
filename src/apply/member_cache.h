/*
 * member_cache.h
 *		Where the members that were looked up last are stored.
 *
 * It holds no surrogate key that could be out of date, but each member's tuple id: what is there is read again, and
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
 * Between begin and end members can be found. Begin locks the dimension ACCESS SHARE until the transaction ends and
 * takes the snapshot that a statement would; false: there is nothing yet, the current user may not see all of it, or
 * it is not what it was: ask in SQL.
 */
extern bool EdwMemberCacheBegin(EdwMemberCache *cache);
extern bool EdwMemberCacheFind(EdwMemberCache *cache, const EdwTarget *target, EdwMember *member,
							   EdwBatch *batch);
extern void EdwMemberCacheEnd(EdwMemberCache *cache);

/* A member was found here. */
extern void EdwMemberCacheNote(EdwMemberCache *cache, const EdwMember *member, ItemPointer tid);

#endif							/* EDW_APPLY_MEMBER_CACHE_H */
