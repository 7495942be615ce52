/*
 * types.h
 *		From a JSON value to a Datum (rules T1 to T3, P5).
 *
 * Two things meet here: the encoding, which says how the source's value was written
 * into JSON (EdwFieldType: from the message's own schema, else derived from the type
 * at the source and the connector's modes), and the codec, which says what Datum is
 * wanted (EdwCodec: the type of a column). A value is read into an EdwScalar by its
 * encoding and turned into a Datum by the codec, without loss or not at all.
 *
 * Nothing here depends on DateStyle, TimeZone, IntervalStyle, extra_float_digits or
 * lc_numeric.
 */
#ifndef EDW_TYPES_H
#define EDW_TYPES_H

#include "decode/decoder.h"
#include "decode/json.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/timestamp.h"

typedef enum EdwEncoding
{
	EDW_ENC_NATURAL,			/* as JSON says; strings hold a text form */
	EDW_ENC_FLOAT4,				/* numbers, or the strings NaN, Infinity, -Infinity */
	EDW_ENC_FLOAT8,
	EDW_ENC_DECIMAL,			/* base64 of the unscaled value; .scale */
	EDW_ENC_DECIMAL_UNKNOWN,	/* the same without a known scale (T1) */
	EDW_ENC_DECIMAL_ANY,		/* VariableScaleDecimal, a number, or text */
	EDW_ENC_DATE,				/* days, or ISO text */
	EDW_ENC_TIME,				/* .per_second, or ISO text */
	EDW_ENC_TIMESTAMP,			/* .per_second, or ISO text: without time zone */
	EDW_ENC_TIMESTAMPTZ,		/* the same with */
	EDW_ENC_TIMETZ,				/* ISO text */
	EDW_ENC_INTERVAL,			/* .per_second, or ISO text */
	EDW_ENC_BYTES,				/* .binary */
	EDW_ENC_BITS,				/* base64, little-endian; .length in bits */
	EDW_ENC_UUID,				/* text */
	EDW_ENC_JSON,				/* text that holds JSON */
	EDW_ENC_RAW_JSON,			/* the JSON value itself */
	EDW_ENC_ARRAY,				/* JSON array; .element */
	EDW_ENC_MAP,				/* JSON object of strings: hstore */
	EDW_ENC_GEOMETRY			/* struct with wkb and srid, or x and y */
} EdwEncoding;

typedef struct EdwFieldType
{
	EdwEncoding encoding;
	int64		per_second;		/* 0: a number cannot be understood */
	int			scale;
	int			length;			/* 0 unknown */
	EdwBinaryMode binary;
	const struct EdwFieldType *element; /* NULL: as the element type of the codec says */
} EdwFieldType;

/* what a wanted type is made by; the order matters to nothing */
typedef enum EdwTarget
{
	EDW_TO_INT,					/* int2, int4, int8 */
	EDW_TO_BOOL,
	EDW_TO_FLOAT4,
	EDW_TO_FLOAT8,
	EDW_TO_NUMERIC,
	EDW_TO_TEXT,
	EDW_TO_VARCHAR,
	EDW_TO_BPCHAR,
	EDW_TO_DATE,
	EDW_TO_TIME,
	EDW_TO_TIMETZ,
	EDW_TO_TIMESTAMP,
	EDW_TO_TIMESTAMPTZ,
	EDW_TO_INTERVAL,
	EDW_TO_BYTEA,
	EDW_TO_BIT,
	EDW_TO_JSON,				/* json and jsonb: by input function, from JSON text */
	EDW_TO_MONEY,
	EDW_TO_HSTORE,
	EDW_TO_ARRAY,
	EDW_TO_OTHER				/* by the type's input function, from text */
} EdwTarget;

typedef struct EdwCodec
{
	EdwTarget	target;
	Oid			type;			/* of the Datum; a domain's base type */
	int32		typmod;
	Oid			domain;			/* InvalidOid, or the domain to check */
	void	   *domain_extra;
	MemoryContext context;		/* where the codec lives */
	int64		int_min;
	int64		int_max;
	int			precision;		/* of numeric; -1 without typmod */
	int			scale;
	FmgrInfo	input;			/* JSON, HSTORE, OTHER, INTERVAL */
	Oid			typioparam;
	struct EdwCodec *element;	/* ARRAY */
	int16		typlen;			/* the element's */
	bool		typbyval;
	char		typalign;
} EdwCodec;

/* a value of the source's, read but not yet of a wanted type */
typedef enum EdwScalarKind
{
	EDW_SCALAR_BOOL,			/* number: 0 or 1 */
	EDW_SCALAR_NUMBER,			/* text: a JSON number */
	EDW_SCALAR_FLOAT,			/* real */
	EDW_SCALAR_INT_DECIMAL,		/* number and scale */
	EDW_SCALAR_TEXT,			/* text, in the server's encoding */
	EDW_SCALAR_DATE,			/* number: DateADT */
	EDW_SCALAR_TIME,			/* number: µs, maybe outside of a day */
	EDW_SCALAR_TIMETZ,			/* number, zone */
	EDW_SCALAR_TIMESTAMP,		/* number: Timestamp */
	EDW_SCALAR_TIMESTAMPTZ,		/* number: TimestampTz */
	EDW_SCALAR_INTERVAL,		/* number: µs */
	EDW_SCALAR_BYTES,			/* text: raw bytes */
	EDW_SCALAR_BITS,			/* text: of 0 and 1 */
	EDW_SCALAR_JSON				/* text: JSON, in UTF-8 */
} EdwScalarKind;

typedef struct EdwScalar
{
	EdwScalarKind kind;
	int64		number;
	int			scale;
	int32		zone;			/* seconds west of UTC, as in TimeTzADT */
	double		real;
	bool		is_float4;
	const char *text;			/* not NUL-terminated */
	int			len;
} EdwScalar;

/* an unchanged TOAST value in all its forms (P5), made once */
typedef struct EdwPlaceholder
{
	char	   *text;			/* UTF-8, as inside of a JSON string */
	int			len;
	char	   *base64;
	char	   *base64url;
	char	   *hex;
	char	   *uuid;
} EdwPlaceholder;

/*
 * What reading values needs. One per decoder. reason is filled in when a function
 * below returns something other than EDW_EVENT.
 */
typedef struct EdwReader
{
	const EdwJson *json;
	EdwJson    *inner;			/* for JSON inside of strings; made when needed */
	const EdwConnectorModes *modes;
	EdwPlaceholder placeholder;
	bool		server_is_utf8;
	bool		inside_value;	/* only a whole value can be the placeholder */
	StringInfoData scratch;		/* unescaped text, decoded bytes, texts in the making */
	StringInfoData scratch2;
	const char *column;			/* the one being read, for messages */
	EdwReason  *reason;
} EdwReader;

/* what numeric can hold before and after the decimal point */
#define EDW_NUMERIC_INTEGER_DIGITS	131072
#define EDW_NUMERIC_FRACTION_DIGITS	16383

/* types.c */
extern EdwReader *EdwReaderMake(const EdwConnectorModes *modes);
extern EdwCodec *EdwCodecMake(Oid type, int32 typmod);
extern EdwFieldType *EdwFieldTypeOfSource(Oid source_type, int32 source_typmod,
										  bool declared,
										  const EdwConnectorModes *modes, bool plain);
extern EdwDecodeResult EdwReadValue(EdwReader *r, const EdwFieldType *type,
									EdwCodec *codec, EdwJsonToken token,
									Datum *value, bool *isnull, uint8 *presence);
extern EdwDecodeResult EdwScalarToDatum(EdwReader *r, EdwCodec *codec, const EdwScalar *s,
										Datum *value);
extern void EdwReaderStart(EdwReader *r);

/* reason.c: fill in the reason and return EDW_BAD; see also row.h */
extern EdwDecodeResult EdwBadValue(EdwReader *r, const char *code, int sqlerrcode,
								   const char *format,...) pg_attribute_printf(4, 5);
extern EdwDecodeResult EdwBadJson(EdwReason *reason, EdwJsonError error, const char *what);
extern void EdwClipReason(EdwReason *reason);

/* types_scalar.c: encodings to scalars */
extern EdwDecodeResult EdwReadScalar(EdwReader *r, const EdwFieldType *type,
									 EdwJsonToken token, EdwScalar *s);
extern EdwDecodeResult EdwReadText(EdwReader *r, EdwJsonToken token, StringInfo scratch,
								   const char **text, int *len);
extern bool EdwDecodeBinary(EdwBinaryMode mode, const char *text, int len, StringInfo out);

/* types_unscaled.c */
extern EdwDecodeResult EdwScalarFromUnscaled(EdwReader *r, const uint8 *bytes, int nbytes,
											 int scale, EdwScalar *s);

/* types_number.c */
extern EdwDecodeResult EdwScalarToInt(EdwReader *r, const EdwCodec *codec,
									  const EdwScalar *s, Datum *value);
extern EdwDecodeResult EdwScalarToNumeric(EdwReader *r, const EdwCodec *codec,
										  const EdwScalar *s, Datum *value);
extern EdwDecodeResult EdwScalarToFloat(EdwReader *r, const EdwCodec *codec,
										const EdwScalar *s, Datum *value);
extern bool EdwParseFloat(const char *text, int len, bool is_float4, double *result);
extern bool EdwParseInt64(const char *text, int len, int64 *result);

/* types_time.c */
extern EdwDecodeResult EdwReadTemporal(EdwReader *r, const EdwFieldType *type,
									   const char *text, int len, bool is_number,
									   EdwScalar *s);
extern EdwDecodeResult EdwScalarToTemporal(EdwReader *r, EdwCodec *codec,
										   const EdwScalar *s, Datum *value);

/* types_text.c */
extern EdwDecodeResult EdwScalarToText(EdwReader *r, const EdwCodec *codec,
									   const EdwScalar *s, Datum *value);
extern void EdwScalarText(EdwReader *r, const EdwScalar *s, const char **text, int *len);
extern EdwDecodeResult EdwScalarByInput(EdwReader *r, EdwCodec *codec,
										const EdwScalar *s, Datum *value);

/* types_nested.c */
extern EdwDecodeResult EdwReadArray(EdwReader *r, const EdwFieldType *type,
									EdwCodec *codec, EdwJsonToken token, Datum *value,
									bool *isnull, uint8 *presence);
extern EdwDecodeResult EdwReadMap(EdwReader *r, const EdwFieldType *type, EdwCodec *codec,
								  EdwJsonToken token, Datum *value);
extern EdwDecodeResult EdwReadGeometry(EdwReader *r, EdwCodec *codec, EdwJsonToken token,
									   Datum *value);
extern EdwDecodeResult EdwReadVariableDecimal(EdwReader *r, EdwJsonToken token,
											  EdwScalar *s);
extern bool EdwIsPlaceholder(EdwReader *r, const EdwFieldType *type,
							 const EdwCodec *codec, EdwJsonToken token);

#endif							/* EDW_TYPES_H */
