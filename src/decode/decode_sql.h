/*
 * decode_sql.h
 *		What the SQL functions that decode a message share: their arguments and their outcome.
 */
#ifndef EDW_DECODE_SQL_H
#define EDW_DECODE_SQL_H

#include "decode/decoder.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/jsonb.h"

/* a source that has nothing but the headers of the message at hand */
typedef struct EdwSqlSource
{
	EdwSource	base;
	int			nheaders;
	EdwHeader  *headers;
} EdwSqlSource;

extern const EdwSourceOps EdwSqlSourceOps;

/* decode_sql.c: arguments */

/* The columns of an argument {"column": …}; *labels is what each is shown as. */
extern EdwInputDesc *EdwReadColumnsArg(Jsonb *columns, char ***labels);

/* The ops of a format, or an ERROR that names the formats. */
extern const EdwDecoderOps *EdwFindFormatArg(const char *format);

/* The bytes of a text or bytea argument, in UTF-8 if it is text; NULL for null. */
extern const char *EdwMessageBytesArg(FunctionCallInfo fcinfo, int arg, int *len);

/* decode_outcome.c: an outcome as JSON text */

/* Append "name": and a string, or JSON as it is, to the object that out ends in. */
extern void EdwOutcomeText(StringInfo out, const char *name, const char *text);
extern void EdwOutcomeRaw(StringInfo out, const char *name, const char *text);

/* Append why a message is no event. */
extern void EdwOutcomeReason(StringInfo out, const EdwReason *reason);

/* Decode a message and append the outcome as a JSON object. */
extern void EdwOutcomeAppend(StringInfo out, EdwDecoder *decoder, EdwSqlSource *source,
							 const EdwMessage *message, EdwChange *change,
							 const EdwInputDesc *desc, char **labels);

#endif							/* EDW_DECODE_SQL_H */
