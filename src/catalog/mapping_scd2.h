/*
 * mapping_scd2.h
 *		map_table's options for apply => 'scd2', and what they demand of the target.
 */
#ifndef EDW_CATALOG_MAPPING_SCD2_H
#define EDW_CATALOG_MAPPING_SCD2_H

#include "nodes/pg_list.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"

/* how a target keeps history; names are the target's columns */
typedef struct EdwScd2Def
{
	List	   *track;			/* char *: their changes make versions; NIL: all but the keys */
	char	   *valid_from;
	char	   *valid_to;
	char	   *current;		/* NULL: none */
	bool		open_null;		/* valid_to of the current version is null, else infinity */
	char	   *valid_time;		/* a column that says since when; NULL: the source's time */
} EdwScd2Def;

/* names of these options, NULL at the end */
extern const char *const EdwScd2OptionNames[];

/* Parse and default them; what they name is not looked up. */
extern EdwScd2Def *EdwScd2OptionsParse(Jsonb *options);

/*
 * ERROR unless the table can hold versions: columns of fitting types, a primary key of its own
 * that no event gives, an index that begins with the keys.
 */
extern void EdwScd2CheckTarget(Relation rel, const EdwScd2Def *def, List *keys);

/* Is there a whole index that begins with these columns (char *), in any order? */
extern bool EdwHasIndexOn(Relation rel, List *columns);

/* The columns of the primary key (char *), NIL: none. */
extern List *EdwPrimaryKeyColumns(Relation rel);

#endif							/* EDW_CATALOG_MAPPING_SCD2_H */
