/*
 * letters.h
 *		Dead letters as messages again: for retry_dead_letters(), and for events that waited for a member.
 */
#ifndef EDW_PIPELINE_LETTERS_H
#define EDW_PIPELINE_LETTERS_H

#include "pipeline/catalog_sql.h"
#include "pipeline/internal.h"

typedef struct EdwLetter
{
	int64		id;
	EdwMessage	message;
	int32		epoch;			/* 0: unknown */
	int			nheaders;
	EdwHeader  *headers;
} EdwLetter;

typedef struct EdwLetterOutcome
{
	const char *status;			/* "resolved", "superseded"; NULL: still dead */
	EdwDeadMark mark;			/* if still dead */
} EdwLetterOutcome;

/* what a query of letters yields, in the order in which they are to be applied */
#define EDW_LETTER_COLUMNS \
	"d.id, d.topic, d.partition, d.kafka_offset, pg_catalog.date_part('epoch', d.kafka_time)," \
	" d.key, d.value, coalesce(d.epoch, p.epoch, 1)" \
	" FROM edw_stream.dead_letter d LEFT JOIN edw_stream.partition_offset p" \
	" USING (stream, topic, partition)"
#define EDW_LETTER_ORDER \
	" ORDER BY d.topic COLLATE \"C\", d.partition, d.kafka_offset FOR UPDATE OF d"

/* Load letters, locked, with their headers, in the current memory context. */
extern EdwLetter *EdwLettersLoad(EdwStatement *select, Datum *args, const char *nulls, int *n);

/* A source that has only headers, those of the letter that is a message's native. */
extern EdwSource EdwLettersSource;

/*
 * Give a letter that was decoded into its topic's change its position, and what the mappings want to know of where it
 * came from.
 */
extern void EdwLetterPlace(EdwPipeline *pipeline, EdwTopic *topic, const EdwLetter *letter,
						   EdwFullPosition *position);

/* Write down what became of a letter. */
extern void EdwLetterRecord(const EdwLetter *letter, const EdwLetterOutcome *outcome);

/*
 * retry.c: apply a letter in a subtransaction that stays only if it was resolved. data_only: an ERROR that is not of the
 * letter's data is none of its outcomes, and is raised.
 */
extern void EdwLetterGuard(EdwPipeline *pipeline, EdwLetter *letter, EdwLetterOutcome *outcome,
						   bool data_only);

#endif							/* EDW_PIPELINE_LETTERS_H */
