/*
 * row.h
 *		Row images and Kafka keys: JSON objects into a change's values.
 *
 * Shared by all formats in JSON. A row is read once, field by field in the order of the
 * message; what nobody wants is stepped over, and its name noted.
 */
#ifndef EDW_ROW_H
#define EDW_ROW_H

#include "decode/decoder.h"
#include "decode/schema.h"
#include "decode/source_block.h"
#include "decode/types.h"

/* tags of fields that mean something by themselves; a source block's field is
 * EDW_TAG_SOURCE plus its code */
#define EDW_TAG_SEQUENCE	1	/* the field that the user orders by (O3) */
#define EDW_TAG_DELETED		2	/* __deleted */
#define EDW_TAG_OP			3	/* __op */
#define EDW_TAG_EVENT_TIME	4	/* __ts_ms */
#define EDW_TAG_SOURCE		100

/* a wanted column, made ready */
typedef struct EdwRowColumn
{
	EdwCodec   *codec;
	EdwFieldType *natural;		/* how it is read without a schema */
	int			next;			/* the next one with the same name, -1 */
} EdwRowColumn;

/* what a walk over a row fills in */
typedef enum EdwRowMode
{
	EDW_ROW_ALL,				/* all columns into values */
	EDW_ROW_KEYS,				/* key columns into values: the before of a delete (P2) */
	EDW_ROW_OLD_KEYS			/* key columns into old_values */
} EdwRowMode;

typedef struct EdwRowReader
{
	EdwDecoder *decoder;		/* whose list of unmapped names is kept */
	const EdwInputDesc *desc;
	MemoryContext context;
	EdwReader  *reader;
	EdwRowColumn *columns;
	int			nkeys;
	int		   *keys;			/* columns that are keys */
	bool	   *claimed;		/* per column: the Kafka key gave its value */
	bool		any_claimed;
	EdwFieldSet *fields;		/* of row images: id is the first column */
	EdwFieldSet *key_fields;	/* of Kafka keys: id is the first key column */
	EdwSchemaCache *schemas;
	EdwSchemaCache *key_schemas;

	/* where the message's tagged fields are */
	EdwJsonToken sequence;
	EdwJsonToken deleted;
	EdwJsonToken op;
	EdwJsonToken event_time;
	EdwSourceBlock *source;		/* of a flattened record's metadata */
	bool		in_envelope;	/* such fields are the user's own */
} EdwRowReader;

/* plain: not Debezium's JSON. In the current context. */
extern EdwRowReader *EdwRowReaderMake(EdwDecoder *decoder, const EdwDecoderConfig *config,
									  const EdwConnectorModes *modes, bool plain,
									  EdwSourceBlock *source);

/* Begin a message: nothing claimed, every column absent. */
extern void EdwRowStart(EdwRowReader *row, EdwChange *change);

/* Forget a row that was read, but not the Kafka key: the message is something else. */
extern void EdwRowForget(EdwRowReader *row, EdwChange *change);

/* Read the object at token. *after is the token after it. */
extern EdwDecodeResult EdwRowRead(EdwRowReader *row, const EdwJson *json,
								  EdwJsonToken token, EdwRowMode mode, EdwChange *change,
								  EdwJsonToken *after, EdwReason *reason);

/* Take the key columns from the Kafka key, as far as it has them. */
extern EdwDecodeResult EdwRowReadKey(EdwRowReader *row, EdwJson *json,
									 const EdwMessage *message, EdwChange *change,
									 EdwReason *reason);

/* After the row: has every key column a value? */
extern EdwDecodeResult EdwRowCheckKey(EdwRowReader *row, const EdwMessage *message,
									  EdwChange *change, EdwReason *reason);

/* A delete keeps its key columns only (P2). */
extern void EdwRowKeepKeys(EdwRowReader *row, EdwChange *change);

/* The position that the user's sequence gives a change (O3). */
extern EdwDecodeResult EdwSequencePosition(const char *text, int len, int64 kafka_offset,
										   EdwChange *change, EdwReason *reason);

/* reason = code and words; returns EDW_BAD */
extern EdwDecodeResult EdwBadMessage(EdwReason *reason, const char *code, int sqlerrcode,
									 const char *format,...) pg_attribute_printf(4, 5);

/* reason = code; returns EDW_SKIP */
extern EdwDecodeResult EdwSkipMessage(EdwReason *reason, const char *code,
									  const char *words);

#endif							/* EDW_ROW_H */
