/*
 * readable.c
 *		SQL function readable(bytea): bytes of a message as text that can be shown.
 *
 * A dead letter's key or value may hold anything; showing it must never fail.
 */
#include "postgres.h"

#include "edw_stream.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(edw_stream_readable);

/* the length of the character at s if it can stand in a text of this database, else 0 */
static int
showable_length(const unsigned char *s, int len)
{
	int			n;

	if (*s < 0x80)
		return *s == '\0' ? 0 : 1;
	/* other encodings would need a conversion that may fail: ASCII only there */
	if (GetDatabaseEncoding() != PG_UTF8)
		return 0;
	n = pg_encoding_verifymbchar(PG_UTF8, (const char *) s, len);
	return n > 0 ? n : 0;
}

/* Valid UTF-8 as it is, each other byte (and NUL) as \xNN. */
Datum
edw_stream_readable(PG_FUNCTION_ARGS)
{
	bytea	   *bytes = PG_GETARG_BYTEA_PP(0);
	const unsigned char *s = (const unsigned char *) VARDATA_ANY(bytes);
	const unsigned char *end = s + VARSIZE_ANY_EXHDR(bytes);
	StringInfoData out;

	initStringInfo(&out);
	while (s < end)
	{
		int			n = showable_length(s, end - s);

		if (n > 0)
			appendBinaryStringInfo(&out, (const char *) s, n);
		else
			appendStringInfo(&out, "\\x%02x", *s);
		s += Max(n, 1);
	}
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}
