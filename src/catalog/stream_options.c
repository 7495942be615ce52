/*
 * stream_options.c
 *		The options of a stream: names, defaults, limits.
 *
 * The one place that knows them. create_stream checks with the function that
 * the worker reads with, so that nothing is stored that cannot be read.
 */
#include "postgres.h"

#include "catalog/options.h"
#include "catalog/stream.h"
#include "edw_stream.h"

static const char *const option_names[] = {
	"decimal.handling.mode",
	"time.precision.mode",
	"binary.handling.mode",
	"interval.handling.mode",
	"unavailable.value.placeholder",
	"on_offset_lost",
	"transaction_topic",
	"transaction_timeout",
	"max_dead_share",
	"max_dead_window",
	"synchronous_commit",
	"batch_rows"
};

/* in the order of the enums in decode/decoder.h and catalog/stream.h */
static const char *const decimal_modes[] = {"precise", "string", "double"};
static const char *const time_modes[] = {
	"adaptive", "adaptive_time_microseconds", "connect", "isostring",
	"microseconds", "nanoseconds"
};
static const char *const binary_modes[] = {"bytes", "base64", "base64-url-safe", "hex"};
static const char *const interval_modes[] = {"numeric", "string"};
static const char *const lost_policies[] = {"error", "earliest", "latest"};

#define DEFAULT_UNAVAILABLE			"__debezium_unavailable_value"
#define DEFAULT_TRANSACTION_TIMEOUT	(60 * 1000)
#define DEFAULT_MAX_DEAD_SHARE		0.1
#define DEFAULT_MAX_DEAD_WINDOW		1000

static void
parse_modes(Jsonb *json, EdwConnectorModes *modes)
{
	modes->decimal = EdwOptionChoice(json, "decimal.handling.mode", decimal_modes,
									 lengthof(decimal_modes), EDW_DECIMAL_PRECISE);
	modes->time = EdwOptionChoice(json, "time.precision.mode", time_modes,
								  lengthof(time_modes), EDW_TIME_ADAPTIVE);
	modes->binary = EdwOptionChoice(json, "binary.handling.mode", binary_modes,
									lengthof(binary_modes), EDW_BINARY_BYTES);
	modes->interval = EdwOptionChoice(json, "interval.handling.mode", interval_modes,
									  lengthof(interval_modes), EDW_INTERVAL_NUMERIC);
	modes->unavailable = EdwOptionText(json, "unavailable.value.placeholder");
	if (modes->unavailable == NULL)
		modes->unavailable = pstrdup(DEFAULT_UNAVAILABLE);
	else if (modes->unavailable[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"%s\" must not be empty", "unavailable.value.placeholder")));
}

void
EdwStreamOptionsParse(Jsonb *json, EdwStreamOptions *options)
{
	EdwCheckOptionNames(json, option_names, lengthof(option_names), "stream option");

	parse_modes(json, &options->modes);
	options->on_offset_lost = EdwOptionChoice(json, "on_offset_lost", lost_policies,
											  lengthof(lost_policies), EDW_LOST_ERROR);
	options->transaction_topic = EdwOptionText(json, "transaction_topic");
	options->transaction_timeout_ms =
		(int) EdwOptionIntervalMs(json, "transaction_timeout", DEFAULT_TRANSACTION_TIMEOUT);
	options->max_dead_share = EdwOptionReal(json, "max_dead_share",
											DEFAULT_MAX_DEAD_SHARE, 0, 1);
	options->max_dead_window = (int) EdwOptionInt(json, "max_dead_window",
												  DEFAULT_MAX_DEAD_WINDOW, 1, 1000000);
	options->synchronous_commit = EdwOptionBool(json, "synchronous_commit", false);
	options->batch_rows = (int) EdwOptionInt(json, "batch_rows", EdwBatchRows, 1, 1000000);
}
