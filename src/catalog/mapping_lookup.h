/*
 * mapping_lookup.h
 *		map_table's lookups: which column of the target gets which dimension's surrogate key.
 *
 * The stored form is the jsonb that map_table was given, completed: the dimension's qualified
 * name and its key column are always there.
 */
#ifndef EDW_CATALOG_MAPPING_LOOKUP_H
#define EDW_CATALOG_MAPPING_LOOKUP_H

#include "nodes/pg_list.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"

/* what becomes of an event whose member the dimension does not have */
typedef enum EdwMissing
{
	EDW_MISSING_QUARANTINE,		/* to the dead letters */
	EDW_MISSING_INFER,			/* the member is made in the same commit */
	EDW_MISSING_UNKNOWN,		/* the dimension's unknown member */
	EDW_MISSING_NULL,
	EDW_MISSING_WAIT			/* held until the member comes */
} EdwMissing;

extern const char *const EdwMissingNames[];

typedef struct EdwLookupDef
{
	char	   *column;			/* of the target */
	char	   *dimension_name; /* quoted, qualified */
	Oid			dimension;
	List	   *match;			/* EdwColumnExpression *: dimension column, expression over the event's fields */
	char	   *key;			/* the dimension's surrogate key column */
	char	   *as_of;			/* expression; NULL: the event's time at its source */
	EdwMissing	missing;
	const char *unknown;		/* EDW_MISSING_UNKNOWN: the unknown member's key */
	bool		repoint;
	int64		wait_limit_ms;
} EdwLookupDef;

/* the column that tells inferred members */
#define EDW_INFERRED_COLUMN	"is_inferred"

struct EdwMappingDef;

/*
 * Parse lookups as they are stored (a list of EdwLookupDef *). ERROR undefined_table when a dimension is
 * gone and missing_ok is false; else its OID is invalid.
 */
extern List *EdwLookupsParse(Jsonb *lookups, bool missing_ok);

/*
 * Check lookups as they were given against the target, the dimensions and the stream's other mappings (list of
 * EdwMappingDef *); returns what is to be stored. keys and columns are the mapping's.
 */
extern Jsonb *EdwLookupsCheck(Jsonb *given, Relation rel, List *keys, Jsonb *columns,
							  Oid owner, const char *stream, List *mappings);

/* Of these mappings that which has the table for its target, NULL: none. */
extern const struct EdwMappingDef *EdwMappingOfTarget(List *mappings, Oid target);

/* How many dimensions, one looking up the other, are below a mapping: 0 without lookups. */
extern int	EdwLookupLevel(List *mappings, const struct EdwMappingDef *def);

/*
 * The column of a mapping's target that holds the time of a lookup: the one whose expression as_of is, or that is
 * taken from the field of that name. NULL: there is none. as_of NULL: the event's time at the source.
 */
extern char *EdwLookupTimeColumn(List *columns, bool has_columns, const char *as_of);

/* Is the table looked up by a mapping that deals so with missing members? */
extern bool EdwIsLookedUp(List *mappings, Oid dimension, EdwMissing missing);

#endif							/* EDW_CATALOG_MAPPING_LOOKUP_H */
