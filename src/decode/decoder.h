/*
 * decoder.h
 *		From a message's bytes to a change: the vtable of the formats.
 *
 * A decoder is opened once for a topic, with the columns that the topic's
 * mappings want, and then turns one message at a time into an EdwChange whose
 * values are typed Datums. It reads the bytes once.
 *
 * A decoder does not raise for what a message contains: such a message is
 * EDW_BAD with a reason, and the caller quarantines it. (It may raise for out
 * of memory and the like.) Type input functions of types that the decoder does
 * not read itself may raise; the decoder catches nothing: it calls them only
 * after it knows that a failure will reach the caller as an ERROR of class 22,
 * which the pipeline bisects.
 */
#ifndef EDW_DECODER_H
#define EDW_DECODER_H

#include "decode/position.h"
#include "nodes/pg_list.h"
#include "source/source.h"

/*
 * One column that somebody wants from a topic's events. The same name may be
 * wanted twice with two types; each is an entry of its own.
 */
typedef struct EdwInputColumn
{
	char	   *name;			/* the field's name in the event */
	Oid			type;			/* the Datum that is wanted */
	int32		typmod;

	/*
	 * The type at the source, where the message does not say it: from
	 * source_types, else that of the target column. Rules how a JSON value is
	 * read (the scale of a decimal, days or microseconds …). scale_known is
	 * false where a numeric's scale was not given by source_types.
	 */
	Oid			source_type;
	int32		source_typmod;
	bool		source_declared;	/* source_types named it */
	bool		is_key;			/* part of a mapping's key: wanted of deletes too */
	int			metadata;		/* EdwMetadata (apply/metadata.h); if not 0 no field: the decoder passes over it */
} EdwInputColumn;

typedef struct EdwInputDesc
{
	int			ncolumns;
	EdwInputColumn *columns;

	/*
	 * A key column does not stand in the Kafka key, so the old key of an
	 * update must be read from `before`. Filled in old_values if so.
	 */
	bool		want_old_key;

	uint32		metadata;		/* which kinds of it the columns hold, as bits */
} EdwInputDesc;

/* how the connector was configured, where the messages do not say it; from the stream's options */
typedef enum EdwDecimalMode { EDW_DECIMAL_PRECISE, EDW_DECIMAL_STRING, EDW_DECIMAL_DOUBLE } EdwDecimalMode;
typedef enum EdwTimeMode { EDW_TIME_ADAPTIVE, EDW_TIME_ADAPTIVE_MICROSECONDS, EDW_TIME_CONNECT, EDW_TIME_ISOSTRING, EDW_TIME_MICROSECONDS, EDW_TIME_NANOSECONDS } EdwTimeMode;
typedef enum EdwBinaryMode { EDW_BINARY_BYTES, EDW_BINARY_BASE64, EDW_BINARY_BASE64_URL_SAFE, EDW_BINARY_HEX } EdwBinaryMode;
typedef enum EdwIntervalMode { EDW_INTERVAL_NUMERIC, EDW_INTERVAL_STRING } EdwIntervalMode;

typedef struct EdwConnectorModes
{
	EdwDecimalMode decimal;		/* decimal.handling.mode */
	EdwTimeMode time;			/* time.precision.mode */
	EdwBinaryMode binary;		/* binary.handling.mode */
	EdwIntervalMode interval;	/* interval.handling.mode */
	const char *unavailable;	/* unavailable.value.placeholder */
} EdwConnectorModes;

typedef enum EdwOp
{
	EDW_OP_CREATE,				/* c, and a flattened or plain record */
	EDW_OP_UPDATE,				/* u */
	EDW_OP_READ,				/* r: a snapshot's row */
	EDW_OP_DELETE,				/* d */
	EDW_OP_TOMBSTONE,			/* a null value: rule O9 */
	EDW_OP_TRUNCATE				/* t: no key, no values */
} EdwOp;

/* what a value is; PRESENT with nulls[i] is a NULL of the source's */
typedef enum EdwPresence
{
	EDW_PRESENT = 0,
	EDW_ABSENT,					/* the event has no such field (P6) */
	EDW_UNAVAILABLE				/* unchanged TOAST: the placeholder (P5) */
} EdwPresence;

/* a transaction's id that is longer is cut: it is compared, not shown */
#define EDW_TXID_MAX	64

/*
 * A decoded message. The arrays have desc->ncolumns entries and belong to the
 * caller (EdwChangeInit); by-reference Datums are allocated in the memory context
 * that is current when decode is called. Everything else is overwritten by each
 * call.
 */
typedef struct EdwChange
{
	EdwOp		op;
	EdwPosition position;		/* without epoch; .len = 0: Kafka's order decides
								 * (lone tombstone, incremental snapshot, a delete
								 * without the user's sequence) */
	EdwSnapshotKind snapshot;
	uint64		identity;		/* hash of what names the source server: connector,
								 * name, database, server id (O4); 0 unknown */
	int64		source_ts_us;	/* when it happened at the source, Unix µs; 0 unknown */
	int64		event_ts_us;	/* when the connector saw it; 0 unknown */
	int64		kafka_ts_us;	/* when Kafka took it; 0 unknown. Set by the pipeline */

	/* P3: one half of a primary key's update */
	bool		key_departs;	/* d with header __debezium.newkey */
	bool		key_arrives;	/* c with header __debezium.oldkey */

	/* P7, up to the colon; "" when unknown. From transaction.id, else source.txId */
	char		txid[EDW_TXID_MAX];
	bool		in_transaction_block;	/* the message has a transaction block */
	int64		total_order;	/* of the transaction block, -1 unknown */

	Datum	   *values;
	bool	   *nulls;
	uint8	   *presence;		/* EdwPresence */

	/* the key columns as they were before an update, if want_old_key; has_old false
	 * when the event has no `before` */
	bool		has_old;
	Datum	   *old_values;
	bool	   *old_nulls;
} EdwChange;

typedef enum EdwDecodeResult
{
	EDW_EVENT,					/* change is filled in */
	EDW_SKIP,					/* understood and nothing to apply; reason says what (P1) */
	EDW_BAD,					/* not understood: quarantine with reason */
	EDW_MISCONFIGURED			/* no message of this kind can be understood until the
								 * mapping changes (T1): the stream stalls */
} EdwDecodeResult;

/*
 * Why a message was skipped or is bad. The code is one of a documented set
 * (decode/README.md) and ends in dead_letters.reason, the detail in .message.
 */
typedef struct EdwReason
{
	const char *code;			/* static: "bad_json", "no_key", "heartbeat" … */
	int			sqlerrcode;
	char		detail[256];	/* never holds more of the data than a column's name and a
								 * short excerpt */
	char		hint[256];
} EdwReason;

typedef struct EdwDecoder EdwDecoder;

typedef struct EdwDecoderConfig
{
	const char *topic;
	EdwInputDesc *desc;			/* kept by reference */
	EdwConnectorModes modes;
	const char *sequence;		/* NULL for auto, else a field or "header:name" (O3) */
} EdwDecoderConfig;

typedef struct EdwDecoderOps
{
	const char *format;			/* the name in create_stream(format => …) */

	/* Made in, and living as long as, the current memory context. */
	EdwDecoder *(*open) (const EdwDecoderConfig *config);

	EdwDecodeResult (*decode) (EdwDecoder *decoder, EdwSource *source,
							   const EdwMessage *message,
							   EdwChange *change, EdwReason *reason);
} EdwDecoderOps;

/* every decoder's struct begins with this */
struct EdwDecoder
{
	const EdwDecoderOps *ops;

	/*
	 * Names (char *) of fields of row images that no column wants, each once, in
	 * order of first sight: what on_schema_change and the tables view look at.
	 */
	List	   *unmapped;
};

extern const EdwDecoderOps EdwDebeziumJsonOps;	/* "debezium-json" */
extern const EdwDecoderOps EdwPlainJsonOps; /* "json" */

/*
 * The ops of a format, NULL if there is none. names, unless it is NULL, gets the names of
 * all formats, with a NULL after the last: at most EDW_FORMATS_MAX in all.
 */
#define EDW_FORMATS_MAX	16
extern const EdwDecoderOps *EdwFindDecoder(const char *format, const char **names);

/* Allocate a change's arrays for desc in the current context. */
extern void EdwChangeInit(EdwChange *change, const EdwInputDesc *desc);

/*
 * A message of Debezium's transaction topic (P7). Returns EDW_EVENT for BEGIN and END.
 */
typedef struct EdwTransactionMark
{
	bool		is_end;
	char		txid[EDW_TXID_MAX];
	int64		event_count;	/* END: of all collections */
	int			ncollections;	/* END: palloc'd */
	struct EdwCollectionCount
	{
		char	   *collection; /* "schema.table" */
		int64		count;
	}		   *collections;
} EdwTransactionMark;

extern EdwDecodeResult EdwDecodeTransactionMark(const EdwMessage *message,
												EdwTransactionMark *mark,
												EdwReason *reason);

#endif							/* EDW_DECODER_H */
