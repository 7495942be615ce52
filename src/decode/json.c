/*
 * json.c
 *		The walk over a JSON document's tokens: what is not inlined in json.h.
 *
 * No PostgreSQL headers: the fuzzer builds this file alone with
 * json_simdjson.cpp.
 */
#include "decode/json.h"

/* one bit for every level: set where it is an object */
typedef struct Nesting
{
	uint64_t	is_object[EDW_JSON_MAX_DEPTH / 64];
	uint32_t	depth;
} Nesting;

/* Enter an object or array. False when that is too deep. */
static inline bool
push(Nesting *nesting, bool is_object)
{
	uint32_t	level = nesting->depth;

	if (level >= EDW_JSON_MAX_DEPTH)
		return false;
	if (is_object)
		nesting->is_object[level / 64] |= UINT64_C(1) << (level % 64);
	else
		nesting->is_object[level / 64] &= ~(UINT64_C(1) << (level % 64));
	nesting->depth++;
	return true;
}

static inline bool
in_object(const Nesting *nesting)
{
	uint32_t	level = nesting->depth - 1;

	return (nesting->is_object[level / 64] >> (level % 64)) & 1;
}

static inline bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

bool
EdwJsonIsLiteral(const char *text, size_t len)
{
	return (len == 4 && memcmp(text, "null", 4) == 0) ||
		(len == 4 && memcmp(text, "true", 4) == 0) ||
		(len == 5 && memcmp(text, "false", 5) == 0);
}

bool
EdwJsonIsNumber(const char *text, size_t len)
{
	const char *p = text;
	const char *end = text + len;

	if (p < end && *p == '-')
		p++;
	if (p >= end || !is_digit(*p))
		return false;
	if (*p == '0')
		p++;
	else
		while (p < end && is_digit(*p))
			p++;
	if (p < end && *p == '.')
	{
		p++;
		if (p >= end || !is_digit(*p))
			return false;
		while (p < end && is_digit(*p))
			p++;
	}
	if (p < end && (*p == 'e' || *p == 'E'))
	{
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		if (p >= end || !is_digit(*p))
			return false;
		while (p < end && is_digit(*p))
			p++;
	}
	return p == end;
}

/* Is the token a complete scalar? */
static bool
scalar_is_valid(const EdwJson *json, EdwJsonToken token)
{
	const char *text;
	size_t		len;

	if (EdwJsonChar(json, token) == '"')
		return true;
	if (token >= json->ntokens)
		return false;
	if (EdwJsonIsPlainScalar(json, token))
		return true;
	len = EdwJsonScalar(json, token, &text);
	return EdwJsonIsNumber(text, len) || EdwJsonIsLiteral(text, len);
}

/*
 * The states between tokens are where the code stands: a value is wanted at the
 * top of the loop, a value just ended at value_done.
 */
EdwJsonToken
EdwJsonSkipNested(const EdwJson *json, EdwJsonToken token, EdwJsonError *error)
{
	Nesting		nesting;

	nesting.depth = 0;
	for (;;)
	{
		char		c = EdwJsonChar(json, token);

		if (c == '{' || c == '[')
		{
			if (!push(&nesting, c == '{'))
			{
				*error = EDW_JSON_TOO_DEEP;
				return EDW_JSON_NO_TOKEN;
			}
			token++;
			if (EdwJsonChar(json, token) == (c == '{' ? '}' : ']'))
			{
				nesting.depth--;
				token++;
				goto value_done;
			}
			if (c == '{')
				goto want_key;
			continue;
		}
		if (!scalar_is_valid(json, token))
			break;
		token++;

value_done:
		if (nesting.depth == 0)
			return token;
		c = EdwJsonChar(json, token);
		if (c == (in_object(&nesting) ? '}' : ']'))
		{
			nesting.depth--;
			token++;
			goto value_done;
		}
		if (c != ',')
			break;
		token++;
		if (!in_object(&nesting))
			continue;

want_key:
		if (EdwJsonChar(json, token) != '"' || EdwJsonChar(json, token + 1) != ':')
			break;
		token += 2;
	}
	*error = EDW_JSON_BAD_SYNTAX;
	return EDW_JSON_NO_TOKEN;
}

/* Four hexadecimal digits; -1 when they are not. */
static int
hex4(const char *p)
{
	int			value = 0;

	for (int i = 0; i < 4; i++)
	{
		char		c = p[i];

		value <<= 4;
		if (is_digit(c))
			value |= c - '0';
		else if (c >= 'a' && c <= 'f')
			value |= c - 'a' + 10;
		else if (c >= 'A' && c <= 'F')
			value |= c - 'A' + 10;
		else
			return -1;
	}
	return value;
}

static size_t
put_utf8(uint32_t c, char *dst)
{
	if (c < 0x80)
	{
		dst[0] = (char) c;
		return 1;
	}
	if (c < 0x800)
	{
		dst[0] = (char) (0xC0 | (c >> 6));
		dst[1] = (char) (0x80 | (c & 0x3F));
		return 2;
	}
	if (c < 0x10000)
	{
		dst[0] = (char) (0xE0 | (c >> 12));
		dst[1] = (char) (0x80 | ((c >> 6) & 0x3F));
		dst[2] = (char) (0x80 | (c & 0x3F));
		return 3;
	}
	dst[0] = (char) (0xF0 | (c >> 18));
	dst[1] = (char) (0x80 | ((c >> 12) & 0x3F));
	dst[2] = (char) (0x80 | ((c >> 6) & 0x3F));
	dst[3] = (char) (0x80 | (c & 0x3F));
	return 4;
}

/*
 * The character of a \u escape, p at its first digit; advances *p past it and,
 * for a pair of surrogates, past the second escape.
 */
static EdwJsonError
read_unicode(const char **p, const char *end, uint32_t *c)
{
	int			high;
	int			low;

	if (end - *p < 4 || (high = hex4(*p)) < 0)
		return EDW_JSON_BAD_ESCAPE;
	*p += 4;
	*c = (uint32_t) high;
	if (high == 0)
		return EDW_JSON_NUL;
	if (high < 0xD800 || high > 0xDFFF)
		return EDW_JSON_OK;
	if (high > 0xDBFF || end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u' ||
		(low = hex4(*p + 2)) < 0xDC00 || low > 0xDFFF)
		return EDW_JSON_BAD_ESCAPE;
	*p += 6;
	*c = 0x10000 + ((uint32_t) (high - 0xD800) << 10) + (uint32_t) (low - 0xDC00);
	return EDW_JSON_OK;
}

EdwJsonError
EdwJsonUnescape(const char *text, size_t len, char *dst, size_t *dst_len)
{
	const char *p = text;
	const char *end = text + len;
	char	   *out = dst;

	while (p < end)
	{
		const char *backslash = memchr(p, '\\', (size_t) (end - p));
		size_t		plain = (size_t) ((backslash ? backslash : end) - p);
		uint32_t	c;
		EdwJsonError error;

		memcpy(out, p, plain);
		out += plain;
		if (backslash == NULL)
			break;
		p = backslash + 1;
		if (p >= end)
			return EDW_JSON_BAD_ESCAPE;
		switch (*p++)
		{
			case '"':
				*out++ = '"';
				break;
			case '\\':
				*out++ = '\\';
				break;
			case '/':
				*out++ = '/';
				break;
			case 'b':
				*out++ = '\b';
				break;
			case 'f':
				*out++ = '\f';
				break;
			case 'n':
				*out++ = '\n';
				break;
			case 'r':
				*out++ = '\r';
				break;
			case 't':
				*out++ = '\t';
				break;
			case 'u':
				error = read_unicode(&p, end, &c);
				if (error != EDW_JSON_OK)
					return error;
				out += put_utf8(c, out);
				break;
			default:
				return EDW_JSON_BAD_ESCAPE;
		}
	}
	*dst_len = (size_t) (out - dst);
	return EDW_JSON_OK;
}
