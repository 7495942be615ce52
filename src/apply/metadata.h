/*
 * metadata.h
 *		What expressions may name besides the event's fields: $topic, $op, $source_ts …
 *
 * In the text of an expression such a name stands bare, which PostgreSQL's lexer refuses; it is
 * read as the quoted identifier "$topic". In the decoder's row it is a column of its own that the
 * decoder passes over, and that whoever hands a change on fills in. A route that wants none
 * pays nothing.
 */
#ifndef EDW_APPLY_METADATA_H
#define EDW_APPLY_METADATA_H

#include "apply/batch.h"

/* EdwInputColumn.metadata */
typedef enum EdwMetadata
{
	EDW_METADATA_NONE = 0,		/* a field of the event */
	EDW_METADATA_TOPIC,
	EDW_METADATA_PARTITION,
	EDW_METADATA_KAFKA_OFFSET,
	EDW_METADATA_SOURCE_TS,
	EDW_METADATA_EVENT_TS,
	EDW_METADATA_OP,
	EDW_METADATA_POSITION,
	EDW_METADATA_BATCH,
	EDW_METADATA_KINDS
} EdwMetadata;

/* what the change itself does not say of its event */
typedef struct EdwOrigin
{
	const char *topic;
	int32		partition;
	int64		offset;
	const EdwFullPosition *position;	/* NULL: its epoch is not known yet */
	int64		batch_id;		/* 0: none */
} EdwOrigin;

/* The expression with $name as "$name". ERROR undefined_column, with a position, for one that is not known. */
extern const char *EdwMetadataQuote(const char *expression);

/* NONE unless it is a name of metadata, with its $. */
extern EdwMetadata EdwMetadataFind(const char *name);

extern Oid	EdwMetadataType(EdwMetadata metadata);

static inline bool
EdwMetadataIsWanted(const EdwInputDesc *input, EdwMetadata metadata)
{
	return (input->metadata & (1 << metadata)) != 0;
}

/*
 * Fill the columns of metadata in, of the row and of the key before it; Datums in the current context.
 * After decoding, before anybody asks what the change holds.
 */
extern void EdwMetadataFillWanted(const EdwInputDesc *input, EdwChange *change, const EdwOrigin *origin);

static inline void
EdwMetadataFill(const EdwInputDesc *input, EdwChange *change, const EdwOrigin *origin)
{
	if (unlikely(input->metadata != 0))
		EdwMetadataFillWanted(input, change, origin);
}

#endif							/* EDW_APPLY_METADATA_H */
