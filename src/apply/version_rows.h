/*
 * version_rows.h
 *		A table of versions' keys, versions and rows, as a relation that its statements read (see scd2.h).
 *
 * A feed (feed.h) of what the timeline made: nothing is copied.
 */
#ifndef EDW_APPLY_VERSION_ROWS_H
#define EDW_APPLY_VERSION_ROWS_H

#include "apply/feed.h"
#include "apply/scd2.h"

/*
 * The relation's name, and its columns: _edw_row (its number), _edw_tid and _edw_table (where the row of the target is), _edw_from, _edw_to,
 * _edw_current, _edw_seq, and those of the target.
 */
#define EDW_VERSIONS_RELATION	"edw_versions"

/* a key, a version of it, or a row that is to go */
typedef struct EdwVersionRow
{
	const EdwHistory *history;
	const EdwTimelineVersion *version;	/* NULL: just its key, or its row */
	EdwRowAddress *address;		/* NULL: a new row's */
} EdwVersionRow;

typedef struct EdwVersionRows
{
	EdwFeed		feed;			/* for EdwFeedExecute */
	const EdwScd2 *scd2;
	EdwVersionRow *rows;
	int			npointers;		/* columns of the target whose values are elsewhere */
	int		   *pointers;
} EdwVersionRows;

/* With room for so many rows, in the batch's memory. */
extern void EdwVersionRowsBegin(EdwVersionRows *rows, const EdwScd2 *scd2, int size);
extern void EdwVersionRowsPut(EdwVersionRows *rows, const EdwHistory *history,
							  const EdwTimelineVersion *version, EdwRowAddress *address);

#endif							/* EDW_APPLY_VERSION_ROWS_H */
