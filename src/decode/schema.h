/*
 * schema.h
 *		The schemas that Kafka Connect's JsonConverter puts into every message.
 *
 * {"schema":{…},"payload":…} repeats the same schema in each message, six times as long as
 * the row. A message that begins with the very bytes of one seen before, from its
 * first brace to the beginning of the payload, needs only its payload read:
 * identical bytes mean the same schema, checked once. A few schemas are
 * remembered, because an ALTER TABLE or several tables in one topic make them
 * alternate.
 */
#ifndef EDW_SCHEMA_H
#define EDW_SCHEMA_H

#include "decode/fields.h"
#include "decode/types.h"

/* a field of the row image */
typedef struct EdwSchemaField
{
	char	   *name;
	int			len;
	EdwFieldType *type;
} EdwSchemaField;

typedef struct EdwSchema
{
	MemoryContext context;		/* holds all of it */
	char	   *name;			/* "" without */
	EdwFieldType *scalar;		/* of a payload that is no struct (keys), or NULL */
	List	   *fields;			/* EdwSchemaField *: of a struct, or of an envelope's after */
	char	   *prefix;			/* the bytes up to the payload; NULL if they cannot be used */
	int			prefix_len;
} EdwSchema;

#define EDW_SCHEMAS_KEPT	4

typedef struct EdwSchemaCache
{
	MemoryContext context;
	EdwSchema  *schemas[EDW_SCHEMAS_KEPT];	/* the last used first */
	EdwSchema  *applied;		/* the one whose types stand in the field set */
	bool		knew_prefix;	/* the last load read the payload alone */
} EdwSchemaCache;

extern EdwSchemaCache *EdwSchemaCacheMake(void);

/*
 * Load a message into json. *root is the token of what it carries: the payload
 * of {"schema":…,"payload":…}, else the message itself; *schema its schema or NULL.
 * What is in there is the caller's to walk: it is a whole message only if that value
 * ends at the token *end. If it does not, and knew_prefix is set, the message may be another
 * one with the same beginning: load it again with trust_prefix false.
 */
extern EdwJsonError EdwSchemaLoad(EdwSchemaCache *cache, EdwJson *json,
								  const char *text, int len, bool trust_prefix,
								  EdwJsonToken *root, EdwJsonToken *end,
								  EdwSchema **schema);

/* Let the fields of set have the types of schema (NULL: none). Cheap if they have. */
extern void EdwSchemaApply(EdwSchemaCache *cache, EdwSchema *schema, EdwFieldSet *set);

#endif							/* EDW_SCHEMA_H */
