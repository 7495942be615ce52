/*
 * envelope.h
 *		Debezium's envelope: where its fields are, and what they say.
 *
 * EdwEnvelopeWalk notes the fields of a message; the others ask for what they hold. All that
 * an envelope knows is of the message walked last, but for what it expects of the next.
 */
#ifndef EDW_ENVELOPE_H
#define EDW_ENVELOPE_H

#include "decode/row.h"

/* the fields of a message that is no plain row */
typedef enum EdwEnvelopeField
{
	ENV_BEFORE,
	ENV_AFTER,
	ENV_SOURCE,
	ENV_OP,
	ENV_TS_MS,
	ENV_TS_US,
	ENV_TS_NS,
	ENV_TRANSACTION,
	ENV_MESSAGE,
	ENV_DDL,
	ENV_TABLE_CHANGES,
	ENV_DATABASE_NAME,
	ENV_STATUS,
	ENV_DATA_COLLECTIONS,
	ENV_FIELDS
} EdwEnvelopeField;

typedef struct EdwEnvelope
{
	EdwJson    *json;
	EdwJson    *document;		/* MongoDB's rows, which come as text */
	EdwRowReader *row;
	EdwSourceBlock *source;
	EdwFieldSet *names;
	EdwFieldSet *transaction_names;
	bool		has_ts_ms_column;
	EdwJsonToken tokens[ENV_FIELDS];
	int			nothers;		/* fields of the message that are none of these */

	/* what EdwEnvelopeWalk read already, and what came of the row */
	bool		expected;		/* the last message was one */
	bool		row_read;
	bool		source_read;
	EdwDecodeResult row_result;
} EdwEnvelope;

/* In the current context. What is given stays the caller's. */
extern EdwEnvelope *EdwEnvelopeMake(EdwJson *json, EdwJson *document, EdwRowReader *row,
									EdwSourceBlock *source);

/* Does the message begin like something else than a row? Then it is looked at as a whole. */
extern bool EdwMayBeEnvelope(EdwEnvelope *e, EdwJsonToken root);

/* Note where the fields of the object at root are. False: it is not well-formed. */
extern bool EdwEnvelopeWalk(EdwEnvelope *e, EdwJsonToken root, EdwJsonToken end,
							EdwChange *change, EdwReason *reason, EdwJsonError *error);

/* Is it an envelope? */
extern bool EdwIsEnvelope(const EdwEnvelope *e);

/* Messages of Debezium's that are no rows and no envelopes (rule P1): which, or NULL. */
extern const char *EdwEnvelopeNotice(const EdwEnvelope *e);

/* The row of an event, by its op (rules P2, P6). *json is what the row was read from. */
extern EdwDecodeResult EdwEnvelopeReadRow(EdwEnvelope *e, EdwChange *change,
										  const EdwJson **json, EdwReason *reason);

/* transaction: {"id": …, "total_order": …, …} (rule P7) */
extern EdwDecodeResult EdwEnvelopeReadTransaction(EdwEnvelope *e, EdwChange *change,
												  EdwReason *reason);

/* The op of an envelope; false for one that there is not. */
extern bool EdwParseOp(const char *text, int len, EdwOp *op);

static inline bool
EdwEnvelopeHas(const EdwEnvelope *e, EdwEnvelopeField field)
{
	return e->tokens[field] != EDW_JSON_NO_TOKEN;
}

static inline bool
EdwEnvelopeHasObject(const EdwEnvelope *e, EdwEnvelopeField field)
{
	return EdwEnvelopeHas(e, field) && EdwJsonChar(e->json, e->tokens[field]) == '{';
}

#endif							/* EDW_ENVELOPE_H */
