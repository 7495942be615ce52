/*
 * feed_scan.h
 *		Between the plan of a feed (feed_plan.c) and its execution (feed.c).
 */
#ifndef EDW_APPLY_FEED_SCAN_H
#define EDW_APPLY_FEED_SCAN_H

#include "apply/feed.h"
#include "nodes/extensible.h"

#define EDW_FEED_SCAN_NAME	"edw_feed"

/*
 * custom_private of a scan that is a join by key, as a list of numbers, since plans are copied. Of other scans it is empty.
 */
enum
{
	EDW_FEED_INDEX,				/* the index's Oid */
	EDW_FEED_OUTER,				/* are rows without a match rows of the join? */
	EDW_FEED_COLUMNS			/* from here on the feed's columns, as the index has them */
};

extern const CustomScanMethods EdwFeedScanMethods;

/* The feed that is being read, NULL: none. */
extern const EdwFeed *EdwFeedCurrent(void);

/* _PG_init: the planner's hooks. */
extern void EdwFeedPlanInit(void);

#endif							/* EDW_APPLY_FEED_SCAN_H */
