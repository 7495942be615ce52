--
-- The forms that a message can have besides those recorded: flattened records, plain JSON,
-- schema envelopes of all kinds, other connectors' positions, sequences of the user's own
-- (P1, P3, O3, O4, O5, O6, O9, P7).
--
SET datestyle = 'ISO, YMD';
CREATE FUNCTION pg_temp.d(value text, key text DEFAULT '{"id":1}', headers jsonb DEFAULT NULL, modes jsonb DEFAULT NULL, format text DEFAULT 'debezium-json',
	columns jsonb DEFAULT '{"id": {"type": "int", "key": true}, "c": "text"}') RETURNS jsonb LANGUAGE sql AS $$
	SELECT edw_stream.decode_message(format, 't', key, value, headers, columns, modes) - 'identity' $$;

-- flattened by ExtractNewRecordState
SELECT pg_temp.d('{"id":1,"c":"x"}');
SELECT pg_temp.d('{"id":1,"c":"x","__deleted":"false"}');
SELECT pg_temp.d('{"id":1,"c":null,"__deleted":"true"}', NULL);
SELECT pg_temp.d('{"id":1,"c":null,"__deleted":true}');
SELECT pg_temp.d('{"id":1,"c":"x","__op":"u","__lsn":26867440,"__source_ts_ms":1795351154674,"__ts_ms":1795351154806}');
SELECT pg_temp.d('{"id":1,"c":"x","__op":"r","__source_lsn":26867440,"__source_snapshot":"first"}');
SELECT pg_temp.d('{"id":1,"c":"x","__op":"d","__source_sequence":"[\"26867440\",\"26867448\"]","__source_txId":755,"__source_connector":"postgresql","__source_name":"x","__source_db":"d"}');
SELECT pg_temp.d('{"id":1,"c":"x","__source_connector":"mysql","__source_file":"bin.000007","__source_pos":154,"__source_row":2,"__source_server_id":1}');
SELECT pg_temp.d('{"id":1,"c":"x","__op":"odd","__table":"orders","note":"unmapped"}');
SELECT pg_temp.d('{"id":1,"c":"x","__op":"c"}', columns => '{"id": {"type": "int", "key": true}, "__op": "text"}');
SELECT pg_temp.d(NULL);
-- plain JSON has no such fields
SELECT pg_temp.d('{"id":1,"c":"x","__deleted":"true","before":null,"after":{},"op":"d","source":{}}', format => 'json');
SELECT pg_temp.d(NULL, format => 'json');
SELECT pg_temp.d('{"schema":{"type":"struct","fields":[{"type":"int32","field":"id"},{"type":"int64","name":"org.apache.kafka.connect.data.Timestamp","field":"at"}]},"payload":{"id":1,"at":1767323045678}}', format => 'json', columns => '{"id": {"type": "int", "key": true}, "at": "timestamp"}');

-- schema envelopes: with white space, with the payload first, and what only looks like one
SELECT pg_temp.d(E' {\n "schema" : {"type":"struct","fields":[{"type":"int32","field":"id"},{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"},"field":"c"}]} ,\n "payload" : {"id":1,"c":"Jyk="} }\n');
SELECT pg_temp.d('{"payload":{"id":1,"c":"Jyk="},"schema":{"type":"struct","fields":[{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"3"},"field":"c"}]}}');
SELECT pg_temp.d('{"schema":"s","payload":"p","id":1}', columns => '{"id": {"type": "int", "key": true}, "schema": "text", "payload": "text"}');
SELECT pg_temp.d('{"schema":"s","payload":"p"}', columns => '{"id": {"type": "int", "key": true}, "schema": "text", "payload": "text"}');

-- one column in two types; several columns of a key
SELECT pg_temp.d('{"id":1,"c":"12"}', columns => '{"id": {"type": "int", "key": true}, "id2": {"type": "text", "name": "id"}, "c": "text", "c2": {"type": "int", "name": "c"}}');
SELECT pg_temp.d('{"a":1,"b":2,"c":3}', '{"b":2,"a":1}', columns => '{"a": {"type": "int", "key": true}, "b": {"type": "int", "key": true}, "c": "int"}');
-- absent is not null (P6)
SELECT pg_temp.d('{"id":1}') ->'values' AS absent, pg_temp.d('{"id":1,"c":null}')->'values' AS null;

-- other connectors (O3)
CREATE FUNCTION pg_temp.e(source text, op text DEFAULT 'c', rest text DEFAULT '') RETURNS text LANGUAGE sql AS $$
	SELECT '{"before":null,"after":{"id":1,"c":"x"},"source":' || source || ',"op":"' || op || '","ts_ms":1767323045678' || rest || '}' $$;
SELECT s->>'connector' AS connector, pg_temp.d(pg_temp.e(s::text, CASE WHEN s->>'snapshot' IN ('first', 'incremental') THEN 'r' ELSE 'c' END)) - '{op,result,values,event_ts_us}'::text[] AS decoded FROM unnest(ARRAY[
	'{"connector":"mysql","name":"m","ts_ms":1767323045000,"snapshot":"false","db":"shop","table":"t","server_id":223344,"gtid":"24bc7850-2c16-11e6-a073-0242ac110002:23","file":"mysql-bin.000009","pos":154,"row":0,"thread":7}',
	'{"connector":"mariadb","name":"m","ts_ms":1767323045000,"snapshot":"false","db":"shop","table":"t","server_id":1,"gtid":"0-1-23","file":"mariadb-bin.000010","pos":99999999999,"row":3}',
	'{"connector":"mysql","name":"m","ts_ms":0,"snapshot":"first","db":"shop","table":"t","server_id":0,"gtid":null,"file":"mysql-bin.000003","pos":154,"row":0}',
	'{"connector":"sqlserver","name":"s","ts_ms":1767323045000,"snapshot":"false","db":"d","schema":"dbo","table":"t","change_lsn":"00000027:00000758:0003","commit_lsn":"00000027:00000758:0005","event_serial_no":2}',
	'{"connector":"sqlserver","name":"s","ts_ms":1767323045000,"snapshot":"first","db":"d","schema":"dbo","table":"t","change_lsn":null,"commit_lsn":"00000025:00000d98:00a2","event_serial_no":null}',
	'{"connector":"oracle","name":"o","ts_ms":1767323045000,"snapshot":"false","db":"ORCLPDB1","schema":"D","table":"T","txId":"6.28.807","scn":"2122185","commit_scn":"2122189","rs_id":"0x000064.00047f4d.0010","ssn":0}',
	'{"connector":"oracle","name":"o","ts_ms":1767323045000,"snapshot":"first","db":"ORCLPDB1","schema":"D","table":"T","txId":null,"scn":"2122184","commit_scn":null,"rs_id":null,"ssn":0}',
	'{"connector":"mongodb","name":"g","ts_ms":1558965508000,"snapshot":"false","db":"i","rs":"rs0","collection":"c","ord":31}',
	'{"connector":"postgresql","name":"p","ts_ms":1767323045000,"snapshot":"incremental","db":"d","sequence":"[null,null]","lsn":null,"txId":null}',
	'{"connector":"postgresql","name":"p","ts_ms":1767323045000,"snapshot":"false","db":"d","lsn":99,"txId":5}',
	'{"connector":"db2","name":"b","ts_ms":1767323045000,"snapshot":"false","db":"d"}',
	'{"connector":"mysql","name":"m","server_id":1,"file":"nonumber","pos":1,"row":0}']::jsonb[]) s;
SELECT pg_temp.d(pg_temp.e('{"connector":"postgresql","lsn":1,"sequence":"[what]"}'))->>'reason' AS reason;
-- another server is another identity; another database of one MySQL server is not (O4)
SELECT count(DISTINCT edw_stream.decode_message('debezium-json', 't', '{"id":1}', pg_temp.e(s), NULL, '{"c": "text"}')->>'identity') AS identities
FROM unnest(ARRAY['{"connector":"mysql","name":"m","db":"a","server_id":1,"file":"bin.000001","pos":1}', '{"connector":"mysql","name":"m","db":"b","server_id":1,"file":"bin.000002","pos":1}']) s;
SELECT count(DISTINCT edw_stream.decode_message('debezium-json', 't', '{"id":1}', pg_temp.e(s), NULL, '{"c": "text"}')->>'identity') AS identities
FROM unnest(ARRAY['{"connector":"mysql","name":"m","db":"a","server_id":1,"file":"bin.000001","pos":1}', '{"connector":"mysql","name":"m","db":"a","server_id":2,"file":"bin.000001","pos":1}', '{"connector":"mysql","name":"m","db":"a","server_id":1,"file":"log.000001","pos":1}', '{"connector":"mysql","name":"n","db":"a","server_id":1,"file":"bin.000001","pos":1}']) s;
-- MongoDB's row comes as text
SELECT pg_temp.d('{"before":null,"after":"{\"_id\": 1, \"c\": \"x\", \"n\": 5}","source":{"connector":"mongodb","name":"g","ts_ms":1558965508000,"rs":"rs0","ord":3},"op":"c"}', '{"id":"1"}', columns => '{"id": {"type": "text", "key": true}, "c": "text", "n": "int"}');
SELECT pg_temp.d('{"before":null,"after":"[1]","source":{"connector":"mongodb"},"op":"c"}', '{"id":"1"}')->>'reason' AS reason;

-- transactions (P7): the part before the colon, for PostgreSQL's ids alone
SELECT id, pg_temp.d(pg_temp.e('{"connector":"postgresql","lsn":7,"txId":5}', rest => ',"transaction":{"id":' || id || ',"total_order":3,"data_collection_order":1}'))->>'txid' AS txid
FROM unnest('{"\"753:26868256\"", "\"24DA167-0C0C-11E8-8442-00059A3C7B00:19\"", "\"00000027:00000758:0005\"", "\"0-1-23\"", "\"file=mysql-bin.000003,pos=154\"", "null"}'::text[]) id;

-- both halves of a key's update are known by their headers (P3)
SELECT pg_temp.d('{"before":{"id":1},"after":null,"source":{"connector":"postgresql","lsn":7},"op":"d"}', headers => '{"x": "y", "__debezium.newkey": "{\"id\":2}"}');
SELECT pg_temp.d('{"before":null,"after":{"id":2},"source":{"connector":"postgresql","lsn":7},"op":"c"}', '{"id":2}', headers => '{"__debezium.oldkey": "{\"id\":1}"}');

-- the user's own sequence: a field or a header; numbers as numbers (O3, O6)
SELECT v, pg_temp.d('{"id":1,"seq":' || v || '}', modes => '{"sequence": "seq"}', format => 'json') - '{result,op,values,unmapped,sqlstate,message}'::text[] AS decoded
FROM unnest('{12, -1.50, 1e3, "\"12\"", "\"2026-01-02T03:04:05Z\"", "\"a\\u00e4\"", "null", true, "\"\""}'::text[]) v;
SELECT pg_temp.d('{"id":1}', modes => '{"sequence": "seq"}', format => 'json')->>'reason' AS reason, pg_temp.d(NULL, modes => '{"sequence": "seq"}', format => 'json') AS tombstone;
SELECT pg_temp.d('{"id":1}', modes => '{"sequence": "header:v"}', headers => '{"v": "17"}')->>'position' AS position, pg_temp.d('{"id":1}', modes => '{"sequence": "header:v"}')->>'reason' AS reason;
SELECT pg_temp.d('{"before":{"id":1,"seq":8},"after":{"id":1,"seq":9},"source":{"connector":"postgresql","lsn":7},"op":"u"}', modes => '{"sequence": "seq", "want_old_key": true}');
SELECT pg_temp.d('{"before":{"id":1,"seq":8},"after":null,"source":{"connector":"postgresql","lsn":7},"op":"d"}', modes => '{"sequence": "seq"}');
SELECT pg_temp.d('{"before":{"id":1,"seq":null},"after":null,"source":{"connector":"postgresql","lsn":7},"op":"d"}', modes => '{"sequence": "seq"}');

-- one decoder for messages of all forms in turn: what it expects is never what it says
CREATE FUNCTION pg_temp.decode_messages(format text, keys text[], messages text[], columns jsonb) RETURNS jsonb
	AS '$libdir/edw_stream', 'edw_stream_decode_messages' LANGUAGE C;
CREATE TEMP TABLE form (n serial, key text, value text);
INSERT INTO form (key, value)
SELECT k, v FROM (VALUES ('{"id":1}', '{"id":1,"c":"x"}'), ('{"id":1}', '{"before":null,"after":{"id":1,"c":"y","__lsn":4},"source":{"connector":"postgresql","lsn":7},"op":"c"}'),
	('{"id":2}', '{"before":null,"after":{"c":"z","id":2},"source":{"connector":"postgresql","lsn":8},"op":"u"}'), ('{"id":2}', '{"before":{"id":2},"after":null,"source":{"connector":"postgresql","lsn":9},"op":"d"}'), ('{"id":2}', NULL),
	('{"id":3}', '{"after":{"id":1,"c":"odd"},"id":3,"c":"flat with a field after"}'), ('{"id":3}', '{"after":{"id":"not a number"},"id":3,"c":"flat"}'), ('{"id":3}', '{"source":{"lsn":1},"c":"flat","id":3}'),
	('{"id":4}', '{"before":null,"after":{"id":4,"c":"first"},"after":{"id":4},"source":{"connector":"postgresql","lsn":7},"op":"c"}'), ('{"id":4}', '{"op":"u","source":{"lsn":7},"after":{"id":4,"c":"other order"}}'),
	(NULL, '{"before":null,"after":{"id":"x","c":"bad"},"source":{"connector":"postgresql","lsn":7},"op":"c"}'), ('{"id":5}', '{"before":null,"after":{"id":5,"c":"broken"},"source":{"connector":"postgresql","lsn":7},"op":"c"'),
	('{"id":5}', '{"schema":{"type":"struct","fields":[{"type":"string","field":"c"}]},"payload":{"id":5,"c":"enveloped"}}'), ('{"id":5}', '{"schema":{"type":"struct","fields":[{"type":"string","field":"c"}]},"payload":{"id":5,"c":"broken"}'),
	('{"id":5}', '{"schema":{"type":"struct","fields":[{"type":"string","field":"c"}]},"payload":{"id":5,"c":"broken"}}}'), ('{"id":5}', '{"schema":{"type":"struct","fields":[{"type":"string","field":"c"}]},"payload":{"id":5,"c":"broken"},"x":1}'),
	('{"id":5}', '{"schema":{"type":"struct","fields":[{"type":"string","field":"c"}]},"payload":null}'), ('{"id":5}', '{"schema":{"type":"struct","fields":[{"type":"string","field":"c"}]},"payload":'),
	('{"id":6}', '{"schema":{"type":"struct","fields":[{"type":"bytes","field":"c"}]},"payload":{"id":6,"c":"3q2+7w=="}}'), ('{"id":7}', '{"id":7,"c":"3q2+7w=="}'), ('{"id":8}', '{"before":null,"after":null,"source":{"connector":"postgresql","lsn":7},"op":"t"}'), ('{"id":9}', '{"ts_ms":1}')) v (k, v);
-- every pair of them, so that each comes after each
CREATE TEMP TABLE pair AS
SELECT row_number() OVER (ORDER BY a.n, b.n, half) AS o, half, CASE half WHEN 1 THEN a.key ELSE b.key END AS key, CASE half WHEN 1 THEN a.value ELSE b.value END AS value
FROM form a, form b, generate_series(1, 2) half;
SELECT count(*) AS messages, count(*) FILTER (WHERE one - 'unmapped' IS DISTINCT FROM alone - 'unmapped') AS different
FROM (SELECT array_agg(key ORDER BY o) AS keys, array_agg(value ORDER BY o) AS messages FROM pair) f,
	LATERAL (SELECT '{"id": {"type": "int", "key": true}, "c": "text"}'::jsonb) c (columns),
	jsonb_array_elements(pg_temp.decode_messages('debezium-json', keys, messages, columns)) WITH ORDINALITY AS o (one, n),
	LATERAL (SELECT edw_stream.decode_message('debezium-json', 'test', keys[n], messages[n], NULL, columns)) a (alone);
SELECT n, d->>'result' AS result, d->>'op' AS op, d->'values' AS values, d->>'reason' AS reason, d->>'position' AS position
FROM form, edw_stream.decode_message('debezium-json', 'test', key, value, NULL, '{"id": {"type": "int", "key": true}, "c": "text"}') d ORDER BY n;
