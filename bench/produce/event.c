/*
 * event.c
 *		Formats changes. The columns are those of the benchmark's table, orders; day is the
 *		one on which the order was made, 2,000 orders each.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "event.h"

#define DAY_2026		20454	/* of 2026-01-01, from 1970 */
#define ORDERS_A_DAY	2000

/* parts of a schema as Kafka Connect's JsonConverter writes it */
#define FIELD(type, optional, name) "{\"type\":\"" type "\",\"optional\":" optional ",\"field\":\"" name "\"}"
#define ROW_SCHEMA(name) \
	"{\"type\":\"struct\",\"fields\":[" FIELD("int64", "false", "id") "," FIELD("int64", "true", "customer_id") "," \
	FIELD("int64", "true", "product_id") "," FIELD("string", "true", "status") "," \
	"{\"type\":\"bytes\",\"optional\":true,\"name\":\"org.apache.kafka.connect.data.Decimal\",\"version\":1," \
	"\"parameters\":{\"scale\":\"2\",\"connect.decimal.precision\":\"12\"},\"field\":\"amount\"}," \
	"{\"type\":\"string\",\"optional\":true,\"name\":\"io.debezium.time.ZonedTimestamp\",\"version\":1,\"field\":\"updated_at\"}]," \
	"\"optional\":true,\"name\":\"bench.public.orders.Value\",\"field\":\"" name "\"}"
#define SOURCE_SCHEMA \
	"{\"type\":\"struct\",\"fields\":[" FIELD("string", "false", "version") "," FIELD("string", "false", "connector") "," \
	FIELD("string", "false", "name") "," FIELD("int64", "false", "ts_ms") "," \
	"{\"type\":\"string\",\"optional\":true,\"name\":\"io.debezium.data.Enum\",\"version\":1,\"parameters\":{\"allowed\":" \
	"\"true,first,first_in_data_collection,last_in_data_collection,last,false,incremental\"},\"default\":\"false\",\"field\":\"snapshot\"}," \
	FIELD("string", "false", "db") "," FIELD("string", "true", "sequence") "," FIELD("int64", "true", "ts_us") "," \
	FIELD("int64", "true", "ts_ns") "," FIELD("string", "false", "schema") "," FIELD("string", "false", "table") "," \
	FIELD("int64", "true", "txId") "," FIELD("int64", "true", "lsn") "," FIELD("int64", "true", "xmin") "," \
	FIELD("string", "true", "origin") "," FIELD("int64", "true", "origin_lsn") \
	"],\"optional\":false,\"name\":\"io.debezium.connector.postgresql.Source\",\"version\":1,\"field\":\"source\"}"
#define TRANSACTION_SCHEMA \
	"{\"type\":\"struct\",\"fields\":[" FIELD("string", "false", "id") "," FIELD("int64", "false", "total_order") "," \
	FIELD("int64", "false", "data_collection_order") \
	"],\"optional\":true,\"name\":\"event.block\",\"version\":1,\"field\":\"transaction\"}"

static const char value_schema[] =
	"{\"schema\":{\"type\":\"struct\",\"fields\":[" ROW_SCHEMA("before") "," ROW_SCHEMA("after") "," SOURCE_SCHEMA ","
	TRANSACTION_SCHEMA "," FIELD("string", "false", "op") "," FIELD("int64", "true", "ts_ms") "," FIELD("int64", "true", "ts_us")
	"," FIELD("int64", "true", "ts_ns") "],\"optional\":false,\"name\":\"bench.public.orders.Envelope\",\"version\":2},\"payload\":";

static const char key_schema[] =
	"{\"schema\":{\"type\":\"struct\",\"fields\":[" FIELD("int64", "false", "id")
	"],\"optional\":false,\"name\":\"bench.public.orders.Key\"},\"payload\":";

/* room for any event of this form */
size_t
EventSize(const EventForm *form)
{
	return 2048 + (form->schema ? sizeof(value_schema) : 0) + (form->body ? strlen(form->body) : 0);
}

int
FormatKey(const EventForm *form, long id, char *out, size_t size)
{
	return snprintf(out, size, "%s{\"id\":%ld}%s", form->schema ? key_schema : "", id, form->schema ? "}" : "");
}

/* the unscaled value as the fewest big-endian two's-complement bytes, in base64 */
static void
format_decimal(int64_t unscaled, char *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned char bytes[8];
	int			n = 1;

	while (n < 8 && (unscaled < -(INT64_C(1) << (8 * n - 1)) || unscaled >= (INT64_C(1) << (8 * n - 1))))
		n++;
	for (int i = 0; i < n; i++)
		bytes[i] = (unsigned char) (unscaled >> (8 * (n - 1 - i)));
	for (int i = 0; i < n; i += 3)
	{
		int			have = n - i < 3 ? n - i : 3;
		uint32_t	group = bytes[i] << 16 | (have > 1 ? bytes[i + 1] << 8 : 0) | (have > 2 ? bytes[i + 2] : 0);

		*out++ = digits[group >> 18];
		*out++ = digits[group >> 12 & 63];
		*out++ = have > 1 ? digits[group >> 6 & 63] : '=';
		*out++ = have > 2 ? digits[group & 63] : '=';
	}
	*out = '\0';
}

/* the columns that only some forms have */
static int
format_extra(const EventForm *form, long id, int64_t sent, char *out, size_t size)
{
	int			n = 0;

	if (form->stamped)
		n = snprintf(out, size, ",\"day\":%ld,\"sent_us\":%" PRId64, DAY_2026 + labs(id) / ORDERS_A_DAY, sent);
	if (form->body)
		n += snprintf(out + n, size - n, ",\"body\":\"%s\"", form->body);
	return n;
}

/* the images before and after */
static int
format_images(const EventForm *form, const Row *row, char op, long id, int64_t sent, char *out, size_t size)
{
	char		when[40],
				amount[16];
	int			n;

	if (op == 'd')
		return snprintf(out, size,
						"{\"before\":{\"id\":%ld,\"customer_id\":null,\"product_id\":null,\"status\":null,"
						"\"amount\":null,\"updated_at\":null%s},\"after\":null", id,
						form->stamped ? ",\"day\":null,\"sent_us\":null" : "");
	FormatTime(row->updated_at, when, sizeof(when));
	format_decimal(row->cents, amount);
	n = snprintf(out, size,
				 "{\"before\":null,\"after\":{\"id\":%ld,\"customer_id\":%d,\"product_id\":%d"
				 ",\"status\":\"%s\",\"amount\":\"%s\",\"updated_at\":\"%sZ\"",
				 id, row->customer_id, row->product_id, StatusName(row), amount, when);
	n += format_extra(form, id, sent, out + n, size - n);
	return n + snprintf(out + n, size - n, "}");
}

/*
 * Format the history's last change. A probe (an id below zero) is an insert of the same
 * values under a key of its own.
 */
int
FormatEvent(const EventForm *form, const History *h, char op, long id, int64_t sent,
			char *out, size_t size)
{
	static const Row no_row;
	const Row  *row = id > 0 ? &h->rows[id - 1] : &no_row;
	int64_t		ms = h->now / 1000;
	int			n = 0;

	if (form->schema)
	{
		n = sizeof(value_schema) - 1;
		memcpy(out, value_schema, n);
	}
	n += format_images(form, row, op, id, sent, out + n, size - n);
	n += snprintf(out + n, size - n,
				  ",\"source\":{\"version\":\"3.5.0.Final\",\"connector\":\"postgresql\",\"name\":\"bench\","
				  "\"ts_ms\":%" PRId64 ",\"snapshot\":\"false\",\"db\":\"shop\",\"sequence\":\"[\\\"%" PRId64
				  "\\\",\\\"%" PRId64 "\\\"]\",\"ts_us\":%" PRId64 ",\"ts_ns\":%" PRId64
				  ",\"schema\":\"public\",\"table\":\"orders\",\"txId\":%" PRId64 ",\"lsn\":%" PRId64
				  ",\"xmin\":null,\"origin\":null,\"origin_lsn\":null},\"transaction\":null,\"op\":\"%c\",\"ts_ms\":%" PRId64
				  ",\"ts_us\":%" PRId64 ",\"ts_ns\":%" PRId64 "}%s",
				  ms, h->commit_lsn, h->lsn, h->now, h->now * 1000, h->txid, h->lsn, op, ms + 3,
				  h->now + 3041, (h->now + 3041) * 1000 + 907, form->schema ? "}" : "");
	return n;
}
