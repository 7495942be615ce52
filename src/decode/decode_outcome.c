/*
 * decode_outcome.c
 *		What a decoder made of a message, as JSON for people to read.
 *
 * Shared by decode_message() and by the entries for tests.
 */
#include "postgres.h"

#include "decode/decode_sql.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/lsyscache.h"

/* Append "name": and a string. */
void
EdwOutcomeText(StringInfo out, const char *name, const char *text)
{
	appendStringInfoString(out, out->data[out->len - 1] == '{' ? "" : ", ");
	escape_json(out, name);
	appendStringInfoString(out, ": ");
	if (text)
		escape_json(out, text);
	else
		appendStringInfoString(out, "null");
}

void
EdwOutcomeRaw(StringInfo out, const char *name, const char *text)
{
	appendStringInfoString(out, out->data[out->len - 1] == '{' ? "" : ", ");
	escape_json(out, name);
	appendStringInfo(out, ": %s", text);
}

static char *
datum_text(const EdwInputColumn *column, Datum value)
{
	Oid			output;
	bool		varlena;

	getTypeOutputInfo(column->type, &output, &varlena);
	return OidOutputFunctionCall(output, value);
}

static void
add_values(StringInfo out, const EdwInputDesc *desc, char **labels, const EdwChange *change)
{
	StringInfoData values;
	StringInfoData unavailable;
	StringInfoData old;

	initStringInfo(&values);
	initStringInfo(&unavailable);
	initStringInfo(&old);
	appendStringInfoChar(&values, '{');
	appendStringInfoChar(&old, '{');
	for (int i = 0; i < desc->ncolumns; i++)
	{
		if (change->presence[i] == EDW_PRESENT)
			EdwOutcomeText(&values, labels[i], change->nulls[i] ? NULL :
					 datum_text(&desc->columns[i], change->values[i]));
		else if (change->presence[i] == EDW_UNAVAILABLE)
		{
			appendStringInfoString(&unavailable, unavailable.len ? ", " : "");
			escape_json(&unavailable, labels[i]);
		}
		if (change->has_old && desc->columns[i].is_key)
			EdwOutcomeText(&old, labels[i], change->old_nulls[i] ? NULL :
					 datum_text(&desc->columns[i], change->old_values[i]));
	}
	appendStringInfoChar(&values, '}');
	appendStringInfoChar(&old, '}');
	EdwOutcomeRaw(out, "values", values.data);
	if (unavailable.len > 0)
		EdwOutcomeRaw(out, "unavailable", psprintf("[%s]", unavailable.data));
	if (change->has_old)
		EdwOutcomeRaw(out, "old", old.data);
}

static void
add_position(StringInfo out, const EdwChange *change)
{
	uint8		stored[EDW_EPOCH_BYTES + EDW_POSITION_MAX] = {0};
	char		words[1024];
	char	   *epochless;

	if (change->position.len == 0)
		return;
	memcpy(stored + EDW_EPOCH_BYTES, change->position.bytes, change->position.len);
	EdwPositionDescribe(stored, EDW_EPOCH_BYTES + change->position.len, words, sizeof(words));
	/* the epoch is the pipeline's */
	epochless = strstr(words, ", ");
	EdwOutcomeText(out, "position", epochless ? epochless + 2 : words);
}

static void
add_change(StringInfo out, const EdwInputDesc *desc, char **labels, const EdwChange *change)
{
	static const char *const ops[] = {"create", "update", "read", "delete", "tombstone", "truncate"};
	static const char *const snapshots[] = {NULL, "snapshot", "incremental"};

	EdwOutcomeText(out, "op", ops[change->op]);
	add_values(out, desc, labels, change);
	add_position(out, change);
	if (snapshots[change->snapshot])
		EdwOutcomeText(out, "snapshot", snapshots[change->snapshot]);
	if (change->key_departs)
		EdwOutcomeRaw(out, "key_departs", "true");
	if (change->key_arrives)
		EdwOutcomeRaw(out, "key_arrives", "true");
	if (change->txid[0])
		EdwOutcomeText(out, "txid", change->txid);
	if (change->total_order >= 0)
		EdwOutcomeRaw(out, "total_order", psprintf(INT64_FORMAT, change->total_order));
	if (change->source_ts_us)
		EdwOutcomeRaw(out, "source_ts_us", psprintf(INT64_FORMAT, change->source_ts_us));
	if (change->event_ts_us)
		EdwOutcomeRaw(out, "event_ts_us", psprintf(INT64_FORMAT, change->event_ts_us));
	if (change->identity)
		EdwOutcomeText(out, "identity", psprintf(UINT64_FORMAT, change->identity));
}

void
EdwOutcomeReason(StringInfo out, const EdwReason *reason)
{
	EdwOutcomeText(out, "reason", reason->code);
	if (reason->sqlerrcode)
		EdwOutcomeText(out, "sqlstate", unpack_sql_state(reason->sqlerrcode));
	EdwOutcomeText(out, "message", reason->detail);
	if (reason->hint[0])
		EdwOutcomeText(out, "hint", reason->hint);
}

static void
add_unmapped(StringInfo out, const EdwDecoder *decoder)
{
	StringInfoData names;
	ListCell   *lc;

	if (decoder->unmapped == NIL)
		return;
	initStringInfo(&names);
	foreach(lc, decoder->unmapped)
	{
		appendStringInfoString(&names, names.len ? ", " : "[");
		escape_json(&names, lfirst(lc));
	}
	appendStringInfoChar(&names, ']');
	EdwOutcomeRaw(out, "unmapped", names.data);
}

/* Decode a message and append the outcome as a JSON object. */
void
EdwOutcomeAppend(StringInfo out, EdwDecoder *decoder, EdwSqlSource *source,
			const EdwMessage *message, EdwChange *change, const EdwInputDesc *desc,
			char **labels)
{
	static const char *const results[] = {"event", "skip", "bad", "misconfigured"};
	EdwReason	reason;
	EdwDecodeResult result = decoder->ops->decode(decoder, &source->base, message,
												  change, &reason);

	appendStringInfoChar(out, '{');
	EdwOutcomeText(out, "result", results[result]);
	if (result == EDW_EVENT)
		add_change(out, desc, labels, change);
	else
		EdwOutcomeReason(out, &reason);
	add_unmapped(out, decoder);
	appendStringInfoChar(out, '}');
}
