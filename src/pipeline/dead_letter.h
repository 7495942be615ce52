/*
 * dead_letter.h
 *		edw_stream.dead_letter: messages that could not be applied (rule K6).
 */
#ifndef EDW_PIPELINE_DEAD_LETTER_H
#define EDW_PIPELINE_DEAD_LETTER_H

#include "source/source.h"

/* why a message is dead; strings live as long as the mark */
typedef struct EdwDeadMark
{
	const char *stage;			/* "decode", "map", "apply" */
	const char *reason;			/* short code */
	int			sqlerrcode;
	const char *message;
	const char *detail;			/* NULL: none */
	const char *hint;			/* NULL: none */
	int32		mapping_id;		/* 0: of no mapping in particular */
	int32		epoch;			/* of its position; 0 unknown */
	const char *row_key;		/* canonical key of its row; NULL unknown */
	int			row_key_len;
	bool		decodes;		/* it fails only where it is applied: its position counts, as that of others does */

	/* held rather than dead: for a member of a dimension, or behind another message of its row */
	bool		waits;
	Oid			waits_for;		/* the dimension; invalid: behind another */
	const char *member;			/* canonical natural key */
	int			member_len;
	int64		wait_limit_ms;
} EdwDeadMark;

struct EdwWait;

/* The message is to be held for a member, whose bytes stay the caller's. */
extern void EdwDeadMarkWait(EdwDeadMark *mark, const struct EdwWait *wait);

/* Free a mark whose strings were allocated one by one. */
extern void EdwDeadMarkFree(EdwDeadMark *mark);

/*
 * Store a message with its mark, in the current transaction. One that is there already
 * (it was delivered again) is opened again with the new mark.
 */
extern void EdwDeadLetterStore(const char *stream, EdwSource *source,
							   const EdwMessage *message, const EdwDeadMark *mark);

/* Resolve the open letter of a message that is read again; false: there is none. */
extern bool EdwDeadLetterClose(const char *stream, const char *topic, int32 partition,
							   int64 offset);

#endif							/* EDW_PIPELINE_DEAD_LETTER_H */
