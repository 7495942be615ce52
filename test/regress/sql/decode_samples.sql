--
-- Every message recorded from a real Debezium decodes to the right values or the
-- right named outcome (P1, P2, P3, P5, P6, O2, O5, O9, T1, T2, T3), and what they add up
-- to is what the source held at the end.
--
\getenv abs_srcdir PG_ABS_SRCDIR
\set samples :abs_srcdir '/../samples/'
SET timezone = 'America/Caracas';	-- must not matter (T2)
SET datestyle = 'German';
SET intervalstyle = 'iso_8601';
SET extra_float_digits = -3;

CREATE TEMP TABLE message AS
SELECT connector, file, (line->>'offset')::int AS kafka_offset, line->>'key' AS key, line->>'value' AS value,
	(SELECT jsonb_object_agg(h->>0, h->>1)
	 FROM jsonb_array_elements(CASE jsonb_typeof(line->'headers') WHEN 'array' THEN line->'headers' END) h) AS headers
FROM unnest(ARRAY['dbzs', 'dbzn']) AS connector,
	unnest(ARRAY['public.orders', 'public.types', 'public.full_ident', 'public.nopk', 'transaction', 'message']) AS file,
	regexp_split_to_table(rtrim(pg_read_file(:'samples' || connector || '.' || file || '.jsonl'), E'\n'), E'\n') AS l,
	CAST(l AS jsonb) AS line;

CREATE TEMP TABLE mapping (file text, columns jsonb);
INSERT INTO mapping VALUES
	('public.orders', '{"id": {"type": "bigint", "key": true}, "customer_id": "bigint", "product_id": "bigint", "status": "text",
		"amount": {"type": "numeric(14,4)", "source_type": "numeric(12,2)"}, "updated_at": "timestamptz", "note": "text"}'),
	('public.types', '{"id": {"type": "int", "key": true}, "num": "numeric", "num122": {"type": "numeric(12,2)", "source_type": "numeric(12,2)"},
		"ts": "timestamp", "tstz": "timestamptz", "d": "date", "t": "time", "ttz": "timetz", "j": "jsonb", "u": "uuid", "b": "bytea",
		"ia": "int[]", "ta": "text[]", "bo": "boolean", "f4": "real", "f8": "float8", "iv": "interval", "ip": "inet", "big": "text", "e": "text"}'),
	('public.full_ident', '{"id": {"type": "int", "key": true}, "a": "text", "big": "text"}'),
	('public.nopk', '{"a": {"type": "int", "key": true}, "b": "text"}'),
	('transaction', '{"id": "text"}'),
	('message', '{"id": "text"}');

CREATE TEMP TABLE decoded AS
SELECT connector, file, kafka_offset,
	edw_stream.decode_message('debezium-json', connector || '.' || file, key, value, headers, columns) AS d
FROM message JOIN mapping USING (file);

-- values in one line, long ones by length and hash
CREATE FUNCTION pg_temp.brief(d jsonb) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(k || '=' || CASE WHEN v IS NULL THEN 'NULL'
		WHEN length(v) > 60 THEN length(v) || ' chars ' || left(md5(v), 8) ELSE v END, ' ' ORDER BY o)
	FROM jsonb_each_text(d->'values') WITH ORDINALITY AS e (k, v, o)
$$;

-- nothing is bad; with and without schema the same is said, but for what only a schema tells
SELECT connector, d->>'result' AS result, d->>'reason' AS reason, count(*) FROM decoded GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
SELECT a.file, a.kafka_offset, a.d->'values'->'amount' AS with_schema, b.d->'values'->'amount' AS without
FROM decoded a JOIN decoded b USING (file, kafka_offset)
WHERE a.connector = 'dbzs' AND b.connector = 'dbzn'
	AND a.d - '{txid,identity,position,event_ts_us,source_ts_us}'::text[]
		IS DISTINCT FROM b.d - '{txid,identity,position,event_ts_us,source_ts_us}'::text[];

SELECT file, kafka_offset AS o, d->>'op' AS op, d->>'position' AS position, d->>'txid' AS txid, d->>'total_order' AS total,
	concat_ws(' ', d->>'snapshot', CASE WHEN d ? 'key_departs' THEN 'departs' END, CASE WHEN d ? 'key_arrives' THEN 'arrives' END) AS flags,
	d->>'unavailable' AS unavailable, d->>'unmapped' AS unmapped
FROM decoded WHERE connector = 'dbzs' AND d->>'result' = 'event' ORDER BY file, o;

\pset format unaligned
SELECT file, kafka_offset AS o, pg_temp.brief(d) AS values
FROM decoded WHERE connector = 'dbzs' AND d->>'result' = 'event' ORDER BY file, o;
\pset format aligned

-- one decoder for all messages of a file, which learns from each for the next, says the same
CREATE FUNCTION pg_temp.decode_messages(format text, keys text[], messages text[], columns jsonb) RETURNS jsonb
	AS '$libdir/edw_stream', 'edw_stream_decode_messages' LANGUAGE C;
SELECT connector, file, count(*) AS messages, count(*) FILTER (WHERE d - '{unmapped,key_departs,key_arrives}'::text[] IS DISTINCT FROM one - 'unmapped') AS different
FROM (SELECT connector, file, columns, array_agg(key ORDER BY kafka_offset) AS keys, array_agg(value ORDER BY kafka_offset) AS messages
		FROM message JOIN mapping USING (file) GROUP BY 1, 2, 3) f,
	jsonb_array_elements(pg_temp.decode_messages('debezium-json', keys, messages, columns)) WITH ORDINALITY AS o (one, n)
	JOIN LATERAL (SELECT d FROM decoded e WHERE e.connector = f.connector AND e.file = f.file AND e.kafka_offset = n - 1) e ON true
GROUP BY 1, 2 ORDER BY 1, 2;
-- even with and without schema in turn, and messages of all files mixed
SELECT count(*) AS messages, count(*) FILTER (WHERE one - 'unmapped' IS DISTINCT FROM alone - 'unmapped') AS different
FROM (SELECT array_agg(key ORDER BY o) AS keys, array_agg(value ORDER BY o) AS messages
		FROM (SELECT key, value, md5(file || connector || kafka_offset) AS o FROM message, generate_series(1, 3)) m) f,
	LATERAL (SELECT '{"id": "text", "a": "text", "b": "text", "e": "text", "status": "text", "ts": "timestamp", "ia": "int[]"}'::jsonb) c (columns),
	jsonb_array_elements(pg_temp.decode_messages('debezium-json', keys, messages, columns)) WITH ORDINALITY AS o (one, n),
	LATERAL (SELECT edw_stream.decode_message('debezium-json', 'test', keys[n], messages[n], NULL, columns)) a (alone);

-- one source, one identity
SELECT connector, count(DISTINCT d->>'identity') FROM decoded WHERE d ? 'identity' GROUP BY 1 ORDER BY 1;

-- what they add up to is what the source held: the last event of each key, truncates, and unchanged values kept
CREATE TEMP TABLE final AS
SELECT DISTINCT ON (connector, file, d->'values'->(CASE file WHEN 'public.nopk' THEN 'a' ELSE 'id' END))
	connector, file, d->>'op' AS op,
	d->'values' || coalesce((SELECT jsonb_object_agg(u, (SELECT p.d->'values'->u FROM decoded p
			WHERE p.connector = e.connector AND p.file = e.file AND p.kafka_offset < e.kafka_offset
				AND p.d->'values'->'id' = e.d->'values'->'id' AND p.d->'values' ? u
			ORDER BY p.kafka_offset DESC LIMIT 1))
		FROM jsonb_array_elements_text(e.d->'unavailable') u), '{}') AS row
FROM decoded e
WHERE d->>'result' = 'event' AND d->>'op' <> 'truncate'
	AND kafka_offset > coalesce((SELECT max(kafka_offset) FROM decoded t
		WHERE t.connector = e.connector AND t.file = e.file AND t.d->>'op' = 'truncate'), -1)
ORDER BY 1, 2, d->'values'->(CASE file WHEN 'public.nopk' THEN 'a' ELSE 'id' END), kafka_offset DESC;

\set source :samples 'source.sql'
\set ECHO none
\i :source
\set ECHO all
SELECT connector, f.*, CASE WHEN f = o THEN 'equal' END
FROM final JOIN public.orders o ON (row->>'id')::int = o.id,
	jsonb_populate_record(NULL::public.orders, row) f
WHERE file = 'public.orders' AND op NOT IN ('delete', 'tombstone') ORDER BY 1, 2;
-- known: precise mode sends no NaN for numeric, microseconds alone for an interval, and a time with time zone in UTC
UPDATE public.types SET num = NULL WHERE num = 'NaN';
UPDATE public.types SET iv = 'PT10303H5M6S' WHERE iv = 'P1Y2M3DT4H5M6S';
UPDATE public.types SET ttz = '07:00:00+00' WHERE ttz = '12:00:00+05';
SELECT connector, o.id, CASE WHEN to_jsonb(f) = to_jsonb(o) THEN 'equal' ELSE f::text END
FROM final JOIN public.types o ON (row->>'id')::int = o.id,
	jsonb_populate_record(NULL::public.types, row || jsonb_build_object('j', (row->>'j')::jsonb)) f
WHERE file = 'public.types' ORDER BY 1, 2;
SELECT count(*) FROM public.types;
SELECT file, connector, count(*) FILTER (WHERE op NOT IN ('delete', 'tombstone')) AS rows FROM final GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) FROM public.full_ident;
SELECT count(*) FROM public.nopk;
DROP TABLE public.orders, public.types, public.full_ident, public.nopk;

-- the old key of an update under REPLICA IDENTITY FULL
SELECT kafka_offset, edw_stream.decode_message('debezium-json', 't', NULL, value, NULL, '{"b": {"type": "text", "key": true}}', '{"want_old_key": true}')
	- '{identity,position,event_ts_us,source_ts_us,unmapped}'::text[]
FROM message WHERE connector = 'dbzs' AND file = 'public.nopk' AND value IS NOT NULL ORDER BY 1;

-- the transaction topic (P7): BEGIN and END have the same id, however they are written
CREATE FUNCTION pg_temp.decode_transaction_mark(value text) RETURNS jsonb
	AS '$libdir/edw_stream', 'edw_stream_decode_transaction_mark' LANGUAGE C;
SELECT connector, count(*) FILTER (WHERE m->>'mark' = 'BEGIN') AS begins, count(*) FILTER (WHERE m->>'mark' = 'END') AS ends,
	count(DISTINCT m->>'txid') AS transactions, sum((m->>'event_count')::int) AS events,
	count(*) FILTER (WHERE m ? 'reason') AS bad
FROM message, pg_temp.decode_transaction_mark(value) m WHERE file = 'transaction' GROUP BY 1 ORDER BY 1;
SELECT m FROM message, pg_temp.decode_transaction_mark(value) m
WHERE file = 'transaction' AND connector = 'dbzs' AND m->>'mark' = 'END' ORDER BY kafka_offset;
-- every transaction's count is that of the events that name it
SELECT count(*) AS disagree
FROM message, pg_temp.decode_transaction_mark(value) m, LATERAL (
	SELECT count(*) FROM decoded e WHERE e.connector = message.connector AND e.d->>'txid' = m->>'txid' AND e.d ? 'total_order') c (n)
WHERE file = 'transaction' AND m->>'mark' = 'END' AND n <> (m->>'event_count')::int
	AND NOT EXISTS (SELECT FROM message x WHERE x.file = 'message' AND x.value LIKE '%"id":"' || (m->>'txid') || ':%');
