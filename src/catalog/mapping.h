/*
 * mapping.h
 *		The definition of a mapping: a row of edw_stream.mapping, parsed.
 *
 * A mapping says how the events of a topic become rows of a target. This is the
 * stored form; apply/target.h makes the executable one from it and the target's
 * present shape.
 */
#ifndef EDW_CATALOG_MAPPING_H
#define EDW_CATALOG_MAPPING_H

#include "catalog/mapping_group.h"
#include "catalog/mapping_lookup.h"
#include "catalog/mapping_scd2.h"

typedef enum EdwApplyMode { EDW_APPLY_UPSERT, EDW_APPLY_APPEND, EDW_APPLY_SCD2 } EdwApplyMode;
typedef enum EdwOnDelete { EDW_DELETE_DELETE, EDW_DELETE_SOFT, EDW_DELETE_IGNORE, EDW_DELETE_ERROR } EdwOnDelete;
typedef enum EdwOnTruncate { EDW_TRUNCATE_ERROR, EDW_TRUNCATE_IGNORE, EDW_TRUNCATE_APPLY } EdwOnTruncate;
typedef enum EdwOnSchemaChange { EDW_SCHEMA_FAIL, EDW_SCHEMA_IGNORE } EdwOnSchemaChange;

/* the names of the above in SQL, NULL at the end */
extern const char *const EdwApplyModeNames[];
extern const char *const EdwOnDeleteNames[];
extern const char *const EdwOnTruncateNames[];
extern const char *const EdwOnSchemaChangeNames[];

/* a target column that map_table's columns gives an expression for */
typedef struct EdwColumnExpression
{
	char	   *column;
	char	   *expression;
} EdwColumnExpression;

/* options {"source_types": {"field": "type"}} */
typedef struct EdwSourceType
{
	char	   *field;
	Oid			type;
	int32		typmod;
} EdwSourceType;

typedef struct EdwMappingDef
{
	int32		mapping_id;
	char	   *stream;
	Oid			target;
	char	   *topic;			/* a topic's name, or a regex that begins with ^ */
	List	   *keys;			/* char *: target columns; NIL only for append */
	bool		has_columns;	/* columns was given: only those, plus keys */
	List	   *columns;		/* EdwColumnExpression * */
	EdwApplyMode apply;
	char	   *filter;			/* NULL: none */
	char	   *sequence;		/* NULL: auto */
	EdwOnDelete on_delete;
	EdwOnTruncate on_truncate;
	EdwOnSchemaChange on_schema_change;
	List	   *source_types;	/* EdwSourceType * */
	EdwScd2Def *scd2;			/* NULL unless apply is scd2 */
	List	   *lookups;		/* EdwLookupDef * */
	bool		awaited;		/* a lookup of the stream's waits for members of the target */
	bool		inferred;		/* a lookup of the stream's makes members of the target */
	List	   *unknown_member; /* EdwColumnExpression *, whose expressions are values; NIL: none */
	char	   *group;			/* option group; NULL: none */
	uint8	   *barrier;		/* position of the last applied truncate, with epoch */
	int			barrier_len;	/* 0: none */
	List	   *known_fields;	/* char *: unmapped fields that were accepted */
	bool		fields_known;	/* false until the first event was applied */
} EdwMappingDef;

/*
 * All mappings of a stream, by mapping_id, in the current context. Needs a transaction. ERROR
 * undefined_table when a target was dropped.
 */
extern List *EdwMappingLoadAll(const char *stream);

/* The same without those whose target was dropped. */
extern List *EdwMappingLoadExisting(const char *stream);

/* Does the mapping take events of this topic? */
extern bool EdwMappingMatchesTopic(const EdwMappingDef *def, const char *topic);

/* Is pattern the topic's name, or a regex (^…) that it matches? */
extern bool EdwTopicMatches(const char *pattern, const char *topic);

/* map_table's columns and options.source_types, checked as far as they go without a target */
extern List *EdwColumnExpressionsParse(Jsonb *columns);
extern List *EdwSourceTypesParse(Jsonb *options);

#endif							/* EDW_CATALOG_MAPPING_H */
