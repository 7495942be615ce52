/*
 * metadata.c
 *		$topic, $op … in expressions: their names in the text, and their values (see metadata.h).
 *
 * The text is scanned as PostgreSQL's lexer would: what stands in strings, quoted identifiers and
 * comments is left alone, and so is a $ within an identifier or before a digit.
 */
#include "postgres.h"

#include "apply/metadata.h"
#include "catalog/options.h"
#include "catalog/pg_type.h"
#include "common/int.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "parser/parser.h"
#include "pipeline/catalog_sql.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define EPOCH_DIFFERENCE_US \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

/* by EdwMetadata - 1 */
static const char *const names[] = {
	"$topic", "$partition", "$kafka_offset", "$source_ts", "$event_ts", "$op", "$position", "$batch"
};
static const Oid types[] = {
	TEXTOID, INT4OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, BYTEAOID, INT8OID
};

EdwMetadata
EdwMetadataFind(const char *name)
{
	StaticAssertStmt(lengthof(names) == EDW_METADATA_KINDS - 1 && lengthof(types) == lengthof(names),
					 "each kind has a name and a type");
	for (int i = 0; name[0] == '$' && i < (int) lengthof(names); i++)
		if (strcmp(name, names[i]) == 0)
			return i + 1;
	return EDW_METADATA_NONE;
}

Oid
EdwMetadataType(EdwMetadata metadata)
{
	return types[metadata - 1];
}

/*
 * The text of an expression
 */

static bool
begins_identifier(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || IS_HIGHBIT_SET(c);
}

static bool
continues_identifier(char c)
{
	return begins_identifier(c) || (c >= '0' && c <= '9') || c == '$';
}

/* Behind a quoted thing that begins at p; escapes: a backslash takes the next character along. */
static const char *
skip_quoted(const char *p, bool escapes)
{
	char		quote = *p++;

	for (; *p != '\0'; p++)
	{
		if (escapes && *p == '\\' && p[1] != '\0')
			p++;
		else if (*p == quote && *++p != quote)
			return p;
	}
	return p;
}

static const char *
skip_identifier(const char *p)
{
	const char *from = p;

	while (continues_identifier(*p))
		p++;

	/* E'…' */
	if (*p == '\'' && p - from == 1 && (*from == 'e' || *from == 'E'))
		return skip_quoted(p, true);
	return p;
}

static const char *
skip_block_comment(const char *p)
{
	int			depth = 0;

	for (; *p != '\0'; p++)
	{
		if (p[0] == '/' && p[1] == '*')
		{
			depth++;
			p++;
		}
		else if (p[0] == '*' && p[1] == '/')
		{
			p++;
			if (--depth == 0)
				return p + 1;
		}
	}
	return p;
}

/* Behind a dollar-quoted string that begins at p; p itself if none does. */
static const char *
skip_dollar_quoted(const char *p)
{
	const char *end = p + 1;
	const char *close;
	char	   *tag;

	while (continues_identifier(*end) && *end != '$')
		end++;
	if (*end != '$' || (p[1] >= '0' && p[1] <= '9'))
		return p;
	tag = pnstrdup(p, end + 1 - p);
	close = strstr(end + 1, tag);
	return close == NULL ? end + strlen(end) : close + strlen(tag);
}

/* Behind what stands at p and is no name of metadata. */
static const char *
skip_other(const char *p)
{
	if (begins_identifier(*p))
		return skip_identifier(p);
	if (*p == '\'' || *p == '"')
		return skip_quoted(p, *p == '\'' && !standard_conforming_strings);
	if (p[0] == '-' && p[1] == '-')
		return p + strcspn(p, "\r\n");
	if (p[0] == '/' && p[1] == '*')
		return skip_block_comment(p);
	if (*p == '$' && skip_dollar_quoted(p) != p)
		return skip_dollar_quoted(p);
	return p + 1;
}

static void
check_name(const char *expression, const char *at, const char *name)
{
	if (EdwMetadataFind(name) != EDW_METADATA_NONE)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("events have no metadata \"%s\"", name),
			 errposition(pg_mbstrlen_with_len(expression, at - expression) + 1),
			 EdwHintNames(name, names, lengthof(names))));
}

const char *
EdwMetadataQuote(const char *expression)
{
	StringInfoData out;
	const char *p = expression;

	if (strchr(expression, '$') == NULL)
		return expression;
	initStringInfo(&out);
	while (*p != '\0')
	{
		const char *end = skip_other(p);

		if (*p == '$' && end == p + 1 && begins_identifier(*end))
		{
			char	   *name;

			while (continues_identifier(*end))
				end++;
			name = pnstrdup(p, end - p);
			check_name(expression, p, name);
			appendStringInfo(&out, "\"%s\"", name);
		}
		else
			appendBinaryStringInfo(&out, p, end - p);
		p = end;
	}
	return out.data;
}

/*
 * Values
 */

/* A time in Unix µs; a null if it is unknown, or cannot be one. */
static Datum
time_value(int64 unix_us, bool *isnull)
{
	TimestampTz time;

	*isnull = unix_us == 0 || pg_sub_s64_overflow(unix_us, EPOCH_DIFFERENCE_US, &time) ||
		!IS_VALID_TIMESTAMP(time);
	return *isnull ? (Datum) 0 : TimestampTzGetDatum(time);
}

static const char *
op_name(EdwOp op)
{
	switch (op)
	{
		case EDW_OP_CREATE:
			return "c";
		case EDW_OP_UPDATE:
			return "u";
		case EDW_OP_READ:
			return "r";
		case EDW_OP_DELETE:
		case EDW_OP_TOMBSTONE:
			return "d";
		case EDW_OP_TRUNCATE:
			return "t";
	}
	return NULL;
}

static Datum
metadata_value(EdwMetadata metadata, const EdwChange *change, const EdwOrigin *origin, bool *isnull)
{
	*isnull = false;
	switch (metadata)
	{
		case EDW_METADATA_TOPIC:
			return CStringGetTextDatum(origin->topic);
		case EDW_METADATA_PARTITION:
			return Int32GetDatum(origin->partition);
		case EDW_METADATA_KAFKA_OFFSET:
			return Int64GetDatum(origin->offset);
		case EDW_METADATA_SOURCE_TS:
			return time_value(change->source_ts_us, isnull);
		case EDW_METADATA_EVENT_TS:
			return time_value(change->event_ts_us, isnull);
		case EDW_METADATA_OP:
			return CStringGetTextDatum(op_name(change->op));
		case EDW_METADATA_POSITION:
			*isnull = origin->position == NULL || origin->position->len == 0;
			return *isnull ? (Datum) 0 : EdwBytesDatum(origin->position->bytes, origin->position->len);
		case EDW_METADATA_BATCH:
			*isnull = origin->batch_id == 0;
			return Int64GetDatum(origin->batch_id);
		case EDW_METADATA_NONE:
		case EDW_METADATA_KINDS:
			break;
	}
	elog(ERROR, "unexpected metadata %d", (int) metadata);
}

void
EdwMetadataFillWanted(const EdwInputDesc *input, EdwChange *change, const EdwOrigin *origin)
{
	for (int i = 0; i < input->ncolumns; i++)
	{
		EdwMetadata metadata = input->columns[i].metadata;

		if (metadata == EDW_METADATA_NONE)
			continue;
		change->values[i] = metadata_value(metadata, change, origin, &change->nulls[i]);
		change->presence[i] = metadata == EDW_METADATA_POSITION && origin->position == NULL ?
			EDW_ABSENT : EDW_PRESENT;

		/* also where an old key is made from it */
		change->old_values[i] = change->values[i];
		change->old_nulls[i] = change->nulls[i];
	}
}
