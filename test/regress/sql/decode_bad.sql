--
-- Bad input: every broken message has a named outcome, and none does harm (P1, P2, K6).
--
CREATE FUNCTION pg_temp.d(value text, key text DEFAULT '{"id":1}', columns jsonb DEFAULT '{"id": {"type": "int", "key": true}, "c": "text"}', modes jsonb DEFAULT NULL, format text DEFAULT 'debezium-json', headers jsonb DEFAULT NULL)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE d jsonb;
BEGIN
	d := edw_stream.decode_message(format, 't', key, value, headers, columns, modes);
	RETURN CASE WHEN d->>'result' = 'event' THEN (d->>'op') || ' ' || (d->>'values') || coalesce(' ' || (d->>'position'), '')
		ELSE upper(d->>'result') || ' ' || (d->>'reason') || coalesce(' ' || (d->>'sqlstate'), '') || ': ' || (d->>'message') END;
EXCEPTION WHEN OTHERS THEN
	RETURN 'ERROR ' || SQLSTATE || ' ' || SQLERRM;
END $$;
CREATE FUNCTION pg_temp.bytes(value bytea, key bytea DEFAULT '{"id":1}') RETURNS text LANGUAGE sql AS $$
	SELECT (d->>'result') || ' ' || coalesce(d->>'reason', d->>'values') FROM edw_stream.decode_message('debezium-json', 't', key, value, NULL, '{"id": {"type": "int", "key": true}, "c": "text"}') d $$;
-- an envelope around a row
CREATE FUNCTION pg_temp.e(op text, before text, after text, source text DEFAULT '{"connector":"postgresql","name":"x","db":"d","lsn":7,"sequence":"[\"5\",\"7\"]"}') RETURNS text LANGUAGE sql AS $$
	SELECT '{"before":' || before || ',"after":' || after || ',"source":' || source || ',"op":"' || op || '","ts_ms":1}' $$;

-- broken JSON: each cut of a good message, and more
SELECT pg_temp.d(pg_temp.e('c', 'null', '{"id":1,"c":"x"}'));
SELECT count(*) AS cuts, count(*) FILTER (WHERE pg_temp.d(left(m, n)) !~ '^BAD bad_json') AS wrong
FROM pg_temp.e('c', 'null', '{"id":1,"c":"x"}') m, generate_series(1, length(m) - 1) n;
SELECT replace(v, U&'\FEFF', '<BOM>') AS v, pg_temp.d(v) FROM unnest(ARRAY['', ' ', '{', '}', '[', '{}}', '{} {}', '{"id":1', '{"id":1,}', '{"id":1 "c":2}', '{"id" 1}', '{"id":}', '{id:1}', '{"id":1,"c":tru}', '{"id":1,"c":nul}', '{"id":1,"c":01}', '{"id":1,"c":1.}', '{"id":1,"c":-}', '{"id":1,"c":+1}',
	'{"id":1,"c":.5}', '{"id":1,"c":1e}', '{"id":1,"c":"x}', '{"id":1,"c":"\x"}', '{"id":1,"c":"\u12"}', '{"id":1,"c":"\ud800"}', '{"id":1,"c":"\udc00\ud800"}', '{"id":1,"c":"\ud800\u0041"}', '{"id":1,"c":"\u0000"}', '{"id":1,"c":"a\u0000b"}', E'{"id":1,"c":"\n"}',
	'{"id":1,"c":"x"y}', '{"id":1,"other":[1,2}', '{"id":1,"other":{"a":1,"b"}}', '{"id":1,"other":[1 2]}', '{"id":1,"other":[tru]}', '"x"', '1', 'true', '[1]', 'x', 'NaN', '{"id":1,"c":"ok"} x', '{"id":1,"c":"ok"},', E'\uFEFF{"id":1}']) v;
SELECT pg_temp.d('null'), pg_temp.d('{"schema":null,"payload":null}');
-- of duplicate keys the last counts, as in jsonb
SELECT pg_temp.d('{"id":1,"c":"a","c":"b"}'), pg_temp.d('{"id":1,"c":"a","c":null}');
-- names with escapes
SELECT pg_temp.d('{"\u0069d":1,"\u0063":"a"}', NULL), pg_temp.d('{"id":1,"\ud800":2}');

-- wrong UTF-8 anywhere: also in what is skipped
SELECT v, pg_temp.bytes(v) FROM unnest(ARRAY['{"id":1,"c":"\303\244"}', '{"id":1,"c":"\303"}', '{"id":1,"c":"\377"}', '{"id":1,"c":"\355\240\200"}', '{"id":1,"c":"\300\200"}', '{"id":1,"c":"\364\220\200\200"}', '{"id":1,"x":"\200"}', '{"id":1,"c":"a\000b"}', '\000', '{"id":1}\000', '\377\376{']::bytea[]) v;
SELECT pg_temp.bytes('{"id":1,"c":"x"}', '{"id":"\377"}'), pg_temp.bytes('{"id":1,"c":"x"}', '{"id":1');

-- nesting: 1,000 levels are too many, wherever they stand; 400 are not
SELECT n, pg_temp.d('{"id":1,"c":"x","deep":' || repeat('[', n) || repeat(']', n) || '}') AS skipped,
	left(pg_temp.d('{"id":1,"c":' || repeat('{"a":', n) || '1' || repeat('}', n) || '}', columns => '{"c": "jsonb"}'), 60) AS wanted,
	left(pg_temp.d('{"id":1,"c":"' || repeat('[', n) || repeat(']', n) || '"}', columns => '{"c": "jsonb"}'), 60) AS as_text
FROM unnest('{400, 1000, 100000}'::int[]) n;
SELECT pg_temp.d(repeat('[', 1000)), pg_temp.d(repeat('{"a":', 1000)), pg_temp.d('{"schema":' || repeat('{"items":', 1000) || '1' || repeat('}', 1000) || ',"payload":{"id":1}}');

-- 20 MB
SELECT left(pg_temp.d('{"id":1,"c":"x","big":"' || repeat('0123456789', 2000000) || '"}'), 60);
SELECT length(edw_stream.decode_message('debezium-json', 't', NULL, '{"c":"' || repeat('0123456789', 2000000) || '"}', NULL, '{"c": "text"}')->'values'->>'c');
SELECT left(pg_temp.d('{"id":1,"c":"' || repeat('0123456789', 2000000)), 60);
SELECT left(pg_temp.d('{"id":1,"c":"x","many":[' || repeat('1,', 5000000) || '1]}'), 60);
SELECT left(pg_temp.d('{' || string_agg('"f' || n || '":' || n, ',') || ',"id":1,"c":"x"}'), 60) FROM generate_series(1, 20000) n;

-- numbers and texts that do not fit
SELECT pg_temp.d('{"id":99999999999}', NULL), pg_temp.d('{"id":1}', '{"id":99999999999}'), pg_temp.d('{"id":1,"c":1}', columns => '{"c": "boolean[]"}');
SELECT pg_temp.d('{"id":1,"c":"' || repeat('x', 300) || '"}', columns => jsonb_build_object('c', 'int')), pg_temp.d('{"id":1,"' || repeat('ä', 200) || '":"y"}', columns => jsonb_build_object(repeat('ä', 200), 'int'));
SELECT pg_temp.d('{"id":1,"c":"' || repeat('x', n) || repeat('😀', 40) || '"}', columns => jsonb_build_object('c', 'int')) FROM generate_series(0, 3) n;

-- keys: the Kafka key first, then the row (P2)
SELECT pg_temp.d(pg_temp.e('d', '{"id":1,"c":null}', 'null')), pg_temp.d(pg_temp.e('d', '{"id":1,"c":null}', 'null'), NULL), pg_temp.d(pg_temp.e('d', 'null', 'null')), pg_temp.d(pg_temp.e('d', 'null', 'null'), NULL), pg_temp.d(pg_temp.e('d', '{"id":null,"c":"x"}', 'null'), NULL);
SELECT pg_temp.d(pg_temp.e('c', 'null', '{"c":"x"}'), NULL), pg_temp.d(pg_temp.e('c', 'null', '{"c":"x"}'), '{"other":1}'), pg_temp.d(pg_temp.e('d', '{"id":null}', 'null'), '{"other":1}'), pg_temp.d(pg_temp.e('u', 'null', '{"id":null,"c":"x"}'), NULL), pg_temp.d(pg_temp.e('c', 'null', '{"id":2,"c":"x"}'), '{"id":1}');
SELECT k, pg_temp.d('{"c":"x"}', k) AS int_key, pg_temp.d('{"c":"x"}', k, '{"id": {"type": "text", "key": true}, "c": "text"}') AS text_key, pg_temp.d('{"c":"x"}', k, '{"id": {"type": "text", "key": true}, "c": {"type": "text", "key": true}}') AS two_columns
FROM unnest(ARRAY['7', '"7"', 'abc', 'a b', '{"id":7}', '{"schema":{"type":"int32","optional":false},"payload":7}', '{"schema":{"type":"struct","fields":[{"type":"int32","field":"id"}]},"payload":{"id":7}}', '{"schema":null,"payload":{"id":7}}', 'null', '', '[7]', '{"id":7', '"x', '{"id":7}}', '{}']) k;
SELECT pg_temp.d(NULL), pg_temp.d(NULL, NULL), pg_temp.d(NULL, '{"other":1}'), pg_temp.d(NULL, NULL, '{"c": "text"}'), pg_temp.d(pg_temp.e('c', 'null', '{"c":"x"}'), NULL, '{"c": "text"}'), pg_temp.d(pg_temp.e('d', '{"c":"x"}', 'null'), NULL, '{"c": "text"}');
SELECT pg_temp.d(pg_temp.e('u', 'null', '{"id":1,"c":"__debezium_unavailable_value"}'), NULL, '{"id": {"type": "int", "key": true}, "c": {"type": "text", "key": true}}');

-- envelopes that lack something; ops that there are not (P1)
SELECT pg_temp.d(pg_temp.e('c', 'null', 'null')), pg_temp.d(pg_temp.e('x', 'null', '{"id":1}')), pg_temp.d(pg_temp.e('', 'null', '{"id":1}')), pg_temp.d(pg_temp.e('m', 'null', 'null')), pg_temp.d(pg_temp.e('t', 'null', 'null'), NULL), pg_temp.d('{"before":null,"after":{"id":1,"c":"x"},"op":"c"}'), pg_temp.d('{"before":1,"after":2,"id":1,"c":"a row with odd columns"}');
-- messages of Debezium's own are recognised and skipped
SELECT pg_temp.d('{"ts_ms":1}', '{"serverName":"x"}'), pg_temp.d('{"schema":{"type":"struct","fields":[{"type":"int64","field":"ts_ms"}],"name":"io.debezium.connector.common.Heartbeat"},"payload":{"ts_ms":1}}', '{"serverName":"x"}', '{"ts_ms": "bigint"}'),
	pg_temp.d('{"source":{"connector":"mysql"},"ts_ms":1,"databaseName":"d","schemaName":null,"ddl":"CREATE TABLE …","tableChanges":[]}', '{"databaseName":"d"}', '{"c": "text"}'), pg_temp.d('{"status":"BEGIN","id":"1:2","event_count":null,"data_collections":null,"ts_ms":1}', '{"id":"1:2"}', '{"c": "text"}'),
	pg_temp.d(pg_temp.e('c', 'null', '{"id":"a","type":"b","data":"c"}', '{"connector":"postgresql","table":"debezium_signal"}'), NULL, '{"c": "text"}');
SELECT edw_stream.decode_message('debezium-json', '__debezium-heartbeat.x', NULL, '{"ts_ms":1}', NULL, '{}')->>'reason' AS reason;
SELECT pg_temp.d('{"ts_ms":1}', NULL, '{"ts_ms": "bigint"}'), pg_temp.d('{"ts_ms":1}', NULL, '{"ts_ms": "bigint"}', NULL, 'json');

-- arguments of decode_message
SELECT edw_stream.decode_message('avro?', 't', NULL, '{}', NULL, '{}');
SELECT edw_stream.decode_message('json', 't', NULL, '{}', NULL, '{"a": 1}');
SELECT edw_stream.decode_message('json', 't', NULL, '{}', NULL, '{"a": "nonsense"}');
SELECT edw_stream.decode_message('json', 't', NULL, '{}', NULL, '{"a": "record"}');
SELECT edw_stream.decode_message('json', 't', NULL, '{}', NULL, '[]');
SELECT edw_stream.decode_message('json', 't', NULL, '{}', NULL, NULL);
SELECT edw_stream.decode_message('json', 't', NULL, '{}', '[1]', '{}');
SELECT edw_stream.decode_message('json', 't', NULL, '{}', NULL, '{}', '{"time.precision.mode": "sometimes"}');
SELECT edw_stream.decode_message('json', 't', NULL, '{}', NULL, '{}', '{"time": "adaptive"}');

-- marks of transactions that are none (P7)
CREATE FUNCTION pg_temp.mark(value text) RETURNS jsonb AS '$libdir/edw_stream', 'edw_stream_decode_transaction_mark' LANGUAGE C;
SELECT v, pg_temp.mark(v) - '{message,sqlstate}'::text[] FROM unnest(ARRAY['', '{}', '[]', '{"status":"BEGIN"}', '{"status":"DONE","id":"1"}', '{"status":"END","id":"7:8","event_count":0,"data_collections":[]}', '{"status":"END","id":"24DA167-0C0C-11E8-8442-00059A3C7B00:19","event_count":2,"data_collections":[{"data_collection":"s.t","event_count":2}]}', '{"status":"END","id":"7","data_collections":[1]}', '{"status":"BEGIN","id":"7"} x', NULL]) v;
