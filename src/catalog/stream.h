/*
 * stream.h
 *		The definition of a stream: a row of edw_stream.stream, parsed.
 */
#ifndef EDW_CATALOG_STREAM_H
#define EDW_CATALOG_STREAM_H

#include "datatype/timestamp.h"
#include "decode/decoder.h"
#include "source/source.h"
#include "utils/jsonb.h"

/* rule K3: what happens when the wanted offset is gone */
typedef enum EdwOffsetLostPolicy
{
	EDW_LOST_ERROR,				/* stall and name the lost range (default) */
	EDW_LOST_EARLIEST,
	EDW_LOST_LATEST
} EdwOffsetLostPolicy;

/* options jsonb of create_stream, parsed and defaulted (catalog/stream_options.c) */
typedef struct EdwStreamOptions
{
	EdwConnectorModes modes;	/* "decimal.handling.mode" … as the connector has them */
	EdwOffsetLostPolicy on_offset_lost; /* "on_offset_lost" */
	char	   *transaction_topic;	/* "transaction_topic", NULL: none (P7) */
	int			transaction_timeout_ms; /* "transaction_timeout", default 60 s */
	double		max_dead_share; /* "max_dead_share", default 0.1: the breaker (K6) */
	int			max_dead_window;	/* … measured over this many messages, default 1000 */
	bool		synchronous_commit; /* "synchronous_commit", default false */
	int			batch_rows;		/* "batch_rows", default edw_stream.batch_rows */
} EdwStreamOptions;

typedef struct EdwStreamDef
{
	char	   *name;
	Oid			owner;
	char	   *server;			/* NULL: the embedded inbox */
	List	   *topics;			/* char *, ^… is a regex; without the transaction topic */
	char	   *format;
	char	   *registry;		/* NULL: none */
	EdwStartAt	start_at;
	int64		start_timestamp_ms;
	int			workers;
	EdwStreamOptions options;
	bool		wanted_running; /* start() was called, here (see home) */
	bool		stalled;
	char	   *reason;			/* why it is stalled or held, NULL */
	char	   *message;		/* … in a sentence, NULL */
	char	   *hint;
} EdwStreamDef;

/*
 * Read a stream's definition into the current context. NULL if there is none
 * and missing_ok, else ERROR undefined_object with the nearest names. Needs a transaction.
 */
extern EdwStreamDef *EdwStreamLoad(const char *name, bool missing_ok);

/*
 * The same for a SQL call that changes the stream: must exist and be the caller's, and
 * its row is locked (row_lock: "FOR NO KEY UPDATE", "FOR UPDATE"; NULL: not locked).
 */
extern EdwStreamDef *EdwStreamLoadOwned(const char *name, const char *row_lock);

/* Check, parse and default create_stream's options, in the current context. */
extern void EdwStreamOptionsParse(Jsonb *json, EdwStreamOptions *options);

/* ERROR insufficient_privilege unless the current user is the owner (or a member, or superuser). */
extern void EdwStreamCheckOwner(const EdwStreamDef *def);

/*
 * Record that a stream has stalled, with why and what to do (H2); sticky until
 * start(), seek(), bump_epoch() or the like clears it. In the current transaction.
 * reason: a short code ("offset_lost"), message and hint: sentences.
 */
extern void EdwStreamSetStalled(const char *name, const char *reason,
								const char *message, const char *hint);

/* ERROR if the text is not 'earliest', 'latest' or a timestamp */
extern EdwStartAt EdwParseStartAt(const char *text, int64 *timestamp_ms);

/*
 * Run the statements between the two as the extension's owner, who alone may
 * write edw_stream's tables; search_path is pinned. Restored by an ERROR too (the
 * transaction's abort does it). They nest.
 */
typedef struct EdwCatalogAccess
{
	Oid			saved_user;
	int			saved_context;
	int			guc_level;
} EdwCatalogAccess;

extern void EdwCatalogBegin(EdwCatalogAccess *access);
extern void EdwCatalogEnd(EdwCatalogAccess *access);

/* One statement between the two; returns how many rows it touched. nulls as for SPI, or NULL. */
extern uint64 EdwCatalogExecute(const char *sql, int nargs, Oid *types, Datum *args,
								const char *nulls);

/* what start() writes to stream.home: system identifier, database and extension (G5) */
extern char *EdwStreamHome(void);

/* a text[] as a list of char *, NULL for null elements */
extern List *EdwTextArrayToList(Datum array);

#endif							/* EDW_CATALOG_STREAM_H */
