/*
 * decode_test.c
 *		Entries into the decoders for tests and benchmarks.
 *
 * The install script declares none of these; the tests do, as superuser.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "decode/decode_sql.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(edw_stream_decode_messages);
PG_FUNCTION_INFO_V1(edw_stream_decode_benchmark);
PG_FUNCTION_INFO_V1(edw_stream_decode_transaction_mark);

/* An array of texts, NULL where one is null. */
static char **
text_array(ArrayType *array, int *n)
{
	Datum	   *elements;
	bool	   *nulls;
	char	  **texts;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, n);
	texts = palloc0(sizeof(char *) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
		if (!nulls[i])
			texts[i] = TextDatumGetCString(elements[i]);
	return texts;
}

/* The arguments of the two functions below: format, messages, columns. */
static EdwDecoder *
open_for_test(FunctionCallInfo fcinfo, int columns_arg, EdwDecoderConfig *config,
			  EdwChange *change, char ***labels)
{
	EdwDecoder *decoder;

	config->topic = "test";
	config->desc = EdwReadColumnsArg(PG_GETARG_JSONB_P(columns_arg), labels);
	decoder = EdwFindFormatArg(text_to_cstring(PG_GETARG_TEXT_PP(0)))->open(config);
	EdwChangeInit(change, config->desc);
	return decoder;
}

/*
 * decode_messages(format text, keys text[], values text[], columns jsonb): all by one
 * decoder, which learns from one for the next; an array of outcomes. For the tests;
 * declared nowhere.
 */
Datum
edw_stream_decode_messages(PG_FUNCTION_ARGS)
{
	EdwDecoderConfig config = {0};
	EdwSqlSource source = {.base.ops = &EdwSqlSourceOps};
	EdwChange	change;
	char	  **labels;
	EdwDecoder *decoder = open_for_test(fcinfo, 3, &config, &change, &labels);
	StringInfoData out;
	int			n;
	int			nkeys;
	char	  **keys = text_array(PG_GETARG_ARRAYTYPE_P(1), &nkeys);
	char	  **values = text_array(PG_GETARG_ARRAYTYPE_P(2), &n);

	initStringInfo(&out);
	for (int i = 0; i < Min(n, nkeys); i++)
	{
		EdwMessage	message = {.topic = "test", .timestamp_ms = -1, .native = &source};

		message.key = keys[i];
		message.key_len = keys[i] ? (int) strlen(keys[i]) : -1;
		message.value = values[i];
		message.value_len = values[i] ? (int) strlen(values[i]) : -1;
		appendStringInfoString(&out, i ? ", " : "[");
		EdwOutcomeAppend(&out, decoder, &source, &message, &change, config.desc, labels);
	}
	appendStringInfoString(&out, n > 0 ? "]" : "[]");
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data)));
}

/*
 * decode_benchmark(format text, n int, key text, value text, columns jsonb): decode the same
 * message n times; nanoseconds per message. For bench/ and whoever works on the
 * hot path; declared nowhere.
 */
Datum
edw_stream_decode_benchmark(PG_FUNCTION_ARGS)
{
	int			n = PG_GETARG_INT32(1);
	EdwDecoderConfig config = {0};
	EdwSqlSource source = {.base.ops = &EdwSqlSourceOps};
	EdwMessage	message = {.topic = "test", .timestamp_ms = -1, .native = &source};
	EdwChange	change;
	char	  **labels;
	EdwDecoder *decoder = open_for_test(fcinfo, 4, &config, &change, &labels);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "decode benchmark",
												  ALLOCSET_DEFAULT_SIZES);
	EdwReason	reason;
	instr_time	begin;
	instr_time	end;

	message.key = EdwMessageBytesArg(fcinfo, 2, &message.key_len);
	message.value = EdwMessageBytesArg(fcinfo, 3, &message.value_len);
	INSTR_TIME_SET_CURRENT(begin);
	for (int i = 0; i < n; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		EdwDecodeResult result = decoder->ops->decode(decoder, &source.base, &message,
													  &change, &reason);

		MemoryContextSwitchTo(old);
		if (result != EDW_EVENT)
			elog(ERROR, "message was not decoded: %s", reason.detail);
		if (i % 1000 == 999)
		{
			CHECK_FOR_INTERRUPTS();
			MemoryContextReset(context);
		}
	}
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, begin);
	PG_RETURN_FLOAT8(INSTR_TIME_GET_DOUBLE(end) * 1e9 / Max(n, 1));
}

/* decode_transaction_mark(value text) returns jsonb: for the tests. */
Datum
edw_stream_decode_transaction_mark(PG_FUNCTION_ARGS)
{
	EdwMessage	message = {.timestamp_ms = -1};
	EdwTransactionMark mark;
	EdwReason	reason;
	EdwDecodeResult result;
	StringInfoData out;
	StringInfoData collections;

	message.value = EdwMessageBytesArg(fcinfo, 0, &message.value_len);
	result = EdwDecodeTransactionMark(&message, &mark, &reason);
	initStringInfo(&out);
	initStringInfo(&collections);
	appendStringInfoChar(&out, '{');
	if (result != EDW_EVENT)
		EdwOutcomeReason(&out, &reason);
	else
	{
		EdwOutcomeText(&out, "mark", mark.is_end ? "END" : "BEGIN");
		EdwOutcomeText(&out, "txid", mark.txid);
		EdwOutcomeRaw(&out, "event_count", psprintf(INT64_FORMAT, mark.event_count));
		appendStringInfoChar(&collections, '{');
		for (int i = 0; i < mark.ncollections; i++)
			EdwOutcomeRaw(&collections, mark.collections[i].collection,
					psprintf(INT64_FORMAT, mark.collections[i].count));
		appendStringInfoChar(&collections, '}');
		EdwOutcomeRaw(&out, "collections", collections.data);
	}
	appendStringInfoChar(&out, '}');
	PG_RETURN_DATUM(DirectFunctionCall1(jsonb_in, CStringGetDatum(out.data)));
}
