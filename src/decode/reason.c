/*
 * reason.c
 *		Why a message or a value is no good, in words that can always be shown.
 *
 * What a message contains never raises: the decoders fill in a reason and return. Excerpts of
 * the data are clipped, and made valid text again.
 */
#include "postgres.h"

#include "decode/row.h"
#include "mb/pg_wchar.h"

/* Excerpts of the data may be cut inside of a character: make text of it again. */
static void
clean_text(char *text)
{
	int			len = (int) strlen(text);

	while (len > 0)
	{
		int			n = pg_encoding_verifymbchar(GetDatabaseEncoding(), text, len);

		if (n < 1)
		{
			*text = '?';
			n = 1;
		}
		text += n;
		len -= n;
	}
}

void
EdwClipReason(EdwReason *reason)
{
	clean_text(reason->detail);
	clean_text(reason->hint);
}

/* Fill in the reason for a value that cannot be what is wanted. */
EdwDecodeResult
EdwBadValue(EdwReader *r, const char *code, int sqlerrcode, const char *format,...)
{
	EdwReason  *reason = r->reason;
	va_list		args;
	int			n;

	reason->code = code;
	reason->sqlerrcode = sqlerrcode;
	reason->hint[0] = '\0';
	n = snprintf(reason->detail, sizeof(reason->detail), "column \"%.80s\": ",
				 r->column ? r->column : "?");
	va_start(args, format);
	vsnprintf(reason->detail + n, sizeof(reason->detail) - n, format, args);
	va_end(args);
	EdwClipReason(reason);
	return EDW_BAD;
}

/* The reason for JSON that cannot be read. */
EdwDecodeResult
EdwBadJson(EdwReason *reason, EdwJsonError error, const char *what)
{
	static const struct
	{
		const char *code;
		int			sqlerrcode;
		const char *words;
	}			table[] = {
		[EDW_JSON_EMPTY] = {"bad_json", ERRCODE_INVALID_JSON_TEXT, "is empty"},
		[EDW_JSON_BAD_UTF8] = {"bad_encoding", ERRCODE_CHARACTER_NOT_IN_REPERTOIRE, "is not valid UTF-8"},
		[EDW_JSON_BAD_SYNTAX] = {"bad_json", ERRCODE_INVALID_JSON_TEXT, "is not valid JSON"},
		[EDW_JSON_TOO_DEEP] = {"json_depth", ERRCODE_PROGRAM_LIMIT_EXCEEDED, "is nested too deeply"},
		[EDW_JSON_TOO_LARGE] = {"json_size", ERRCODE_PROGRAM_LIMIT_EXCEEDED, "is too large"},
		[EDW_JSON_BAD_ESCAPE] = {"bad_json", ERRCODE_INVALID_JSON_TEXT, "has an invalid escape in a string"},
		[EDW_JSON_NUL] = {"nul_character", ERRCODE_UNTRANSLATABLE_CHARACTER, "has the character \\u0000, which text cannot hold"},
	};

	if (error == EDW_JSON_NO_MEMORY)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory"),
				 errdetail("Failed while reading a JSON message.")));
	reason->code = table[error].code;
	reason->sqlerrcode = table[error].sqlerrcode;
	reason->hint[0] = '\0';
	snprintf(reason->detail, sizeof(reason->detail), "%s %s", what, table[error].words);
	EdwClipReason(reason);
	return EDW_BAD;
}

EdwDecodeResult
EdwBadMessage(EdwReason *reason, const char *code, int sqlerrcode, const char *format,...)
{
	va_list		args;

	reason->code = code;
	reason->sqlerrcode = sqlerrcode;
	reason->hint[0] = '\0';
	va_start(args, format);
	vsnprintf(reason->detail, sizeof(reason->detail), format, args);
	va_end(args);
	EdwClipReason(reason);
	return EDW_BAD;
}

EdwDecodeResult
EdwSkipMessage(EdwReason *reason, const char *code, const char *words)
{
	reason->code = code;
	reason->sqlerrcode = 0;
	reason->hint[0] = '\0';
	strlcpy(reason->detail, words, sizeof(reason->detail));
	return EDW_SKIP;
}
