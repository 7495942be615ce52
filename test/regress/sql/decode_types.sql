--
-- Every documented type of Debezium's, without loss or not at all (T1, T2, T3, P5).
--
SET timezone = 'America/Caracas';	-- must not matter (T2)
SET datestyle = 'ISO, YMD';
SET intervalstyle = 'postgres';

-- one value of one column: v(what is wanted, JSON of the value, JSON of its schema or NULL, options of the column, modes)
CREATE FUNCTION pg_temp.v(wanted text, value text, schema text DEFAULT NULL, source_type text DEFAULT NULL, modes jsonb DEFAULT NULL, format text DEFAULT 'debezium-json')
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	d jsonb;
	message text := '{"c":' || value || '}';
	columns jsonb := jsonb_build_object('c', jsonb_strip_nulls(jsonb_build_object('type', wanted, 'source_type', source_type)));
BEGIN
	IF schema IS NOT NULL THEN
		message := '{"schema":{"type":"struct","fields":[' || left(schema, -1) || ',"optional":true,"field":"c"}],"optional":false,"name":"x.Value"},"payload":' || message || '}';
	END IF;
	d := edw_stream.decode_message(format, 't', NULL, message, NULL, columns, modes);
	RETURN CASE WHEN d->>'result' <> 'event' THEN upper(d->>'result') || ' ' || (d->>'reason') || ' ' || (d->>'sqlstate')
		WHEN d ? 'unavailable' THEN 'UNAVAILABLE'
		ELSE coalesce(d->'values'->>'c', 'NULL') END;
EXCEPTION WHEN OTHERS THEN
	RETURN 'ERROR ' || SQLSTATE || ' ' || SQLERRM;
END $$;
-- the bytes of an unscaled number as Connect writes them
CREATE FUNCTION pg_temp.b64(bytes bytea) RETURNS text LANGUAGE sql AS $$ SELECT '"' || replace(encode(bytes, 'base64'), E'\n', '') || '"' $$;
\set decimal '''{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","version":1,"parameters":{"scale":"'''
\set variable '''{"type":"struct","fields":[{"type":"int32","optional":false,"field":"scale"},{"type":"bytes","optional":false,"field":"value"}],"name":"io.debezium.data.VariableScaleDecimal","version":1}'''
CREATE FUNCTION pg_temp.s(type text, name text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT '{"type":"' || type || '"' || coalesce(',"name":"' || name || '","version":1', '') || '}' $$;

--
-- T1: decimals
--
SELECT scale, bytes, pg_temp.v('numeric', pg_temp.b64(bytes), :decimal || scale || '"}}') AS numeric,
	pg_temp.v('text', pg_temp.b64(bytes), :decimal || scale || '"}}') AS text,
	pg_temp.v('numeric(12,2)', pg_temp.b64(bytes), :decimal || scale || '"}}') AS numeric_12_2,
	pg_temp.v('int', pg_temp.b64(bytes), :decimal || scale || '"}}') AS int
FROM (VALUES (2, '\x2729'::bytea), (2, '\xce'), (2, '\x00'), (2, '\xff'), (0, '\x80'), (0, '\x7f'), (0, '\x0080'), (4, '\x00e8d4a50fff'),
	(3, '\x01'), (3, '\xffff'), (5, '\x0f4240'), (2, '\x7fffffffffffffff'), (2, '\x8000000000000000'), (0, '\x008000000000000000'),
	(30, '\xff00000000000000000000000000000001'), (0, '\x00ffffffffffffffffffffffffffffffff'), (38, '\x01'), (-3, '\x0c'), (0, '\xffffffffffffffffffffffffff'),
	(0, '\xff8000000000000000'), (0, '\xffffffff80000000')) v (scale, bytes);
-- against PostgreSQL's own arithmetic: random lengths and scales
SELECT setseed(0.25);
SELECT count(*), count(*) FILTER (WHERE got IS DISTINCT FROM expected::text) AS wrong FROM (
	SELECT pg_temp.v('numeric', pg_temp.b64(decode(h, 'hex')), :decimal || scale || '"}}') AS got,
		round((n - CASE WHEN substr(h, 1, 1) >= '8' THEN power(256::numeric, length(h) / 2) ELSE 0 END) * ('1e-' || scale)::numeric, scale) AS expected
	FROM (SELECT *, (SELECT sum(('x' || lpad(substr(h, length(h) - 2 * i - 1, 2), 8, '0'))::bit(32)::int * power(256::numeric, i)) FROM generate_series(0, length(h) / 2 - 1) i) AS n
		FROM (SELECT left(md5(g::text) || md5((-g)::text), 2 * (1 + g % 32)) AS h, g / 32 AS scale FROM generate_series(0, 640) g) r) s) t;
-- bytes of no decimal
SELECT pg_temp.v('numeric', v, :decimal || '2"}}') FROM unnest('{"\"\"", "\"a\"", "\"!!!!\"", "\"Jyk\"", "\"Jyk=\"", "true", "[1]", "null", "\"Jyk=Jyk=\""}'::text[]) v;
-- longer than numeric can be
SELECT length(v), v ~ '^[0-9]*$' AS all_digits FROM pg_temp.v('numeric', pg_temp.b64(decode(repeat('7f', 54400), 'hex')), :decimal || '0"}}') v;
SELECT pg_temp.v('numeric', pg_temp.b64(decode(repeat('7f', 60000), 'hex')), :decimal || '0"}}');
-- VariableScaleDecimal tells its scale, with and without a schema
SELECT pg_temp.v('numeric', '{"scale":9,"value":"J+QbMka+ybFuOYEV"}', :variable), pg_temp.v('numeric', '{"value":"J+QbMka+ybFuOYEV","scale":9}'),
	pg_temp.v('numeric(20,2)', '{"scale":9,"value":"J+QbMka+ybFuOYEV"}'), pg_temp.v('numeric', '{"scale":9}'), pg_temp.v('numeric', '{"scale":-2,"value":"DA=="}');
-- modes string and double
SELECT v, pg_temp.v('numeric', v, pg_temp.s('string')) AS numeric, pg_temp.v('numeric(6,2)', v, NULL, NULL, '{"decimal.handling.mode": "string"}') AS numeric_6_2
FROM unnest('{"\"12.50\"", "\"-0.005\"", "\"9999.99\"", "\"10000\"", "\"NaN\"", "\"Infinity\"", "\"-Infinity\"", "\"1e3\"", "\"1.500000000000000000000000\"", "\"1e-200000\"", "\"x\"", "\"\"", "\"0e99999999\""}'::text[]) v;
SELECT v, pg_temp.v('numeric', v, pg_temp.s('double')) AS numeric, pg_temp.v('numeric(6,2)', v, NULL, NULL, '{"decimal.handling.mode": "double"}') AS numeric_6_2
FROM unnest('{12.5, -0.005, 1.0E10, 0.1, 1e-7, 123456.789}'::text[]) v;
-- a scale below zero, as PostgreSQL has it
SELECT pg_temp.v('numeric(3,-2)', '12300'), pg_temp.v('numeric(3,-2)', '12345'), pg_temp.v('numeric(3,-2)', '1234500');
-- without a schema the scale is unknown: the mapping fails, with a hint (T1)
SELECT edw_stream.decode_message('debezium-json', 't', NULL, '{"c":"Jyk="}', NULL, '{"c": "numeric(12,2)"}');
SELECT pg_temp.v('numeric(12,2)', '"Jyk="', NULL, 'numeric(12,2)'), pg_temp.v('numeric(12,2)', '"Jyk="', NULL, 'numeric'), pg_temp.v('numeric', '12.5'), pg_temp.v('text', '"Jyk="', NULL, 'numeric(8,3)');
-- money
SELECT pg_temp.v('money', '"Jyk="', :decimal || '2"}}'), pg_temp.v('money', '"Jyk="', :decimal || '3"}}'), pg_temp.v('money', '"J6g="', :decimal || '3"}}'),
	pg_temp.v('money', '"Jyk="'), pg_temp.v('money', '"1e30"', pg_temp.s('string'));

--
-- integers and floating point
--
SELECT v, pg_temp.v('smallint', v) AS smallint, pg_temp.v('int', v) AS int, pg_temp.v('bigint', v) AS bigint, pg_temp.v('text', v) AS text, pg_temp.v('boolean', v) AS boolean
FROM unnest('{0, -0, 1, -1, 32767, 32768, -32769, 2147483648, 9223372036854775807, 9223372036854775808, -9223372036854775808, -9223372036854775809, 1.0, 1.5, 1e2, 1E-2, 100e-2, 1e400, true, false, "\"12\"", "\"1.5\"", "\"x\"", "\"t\"", "[1]", "{}"}'::text[]) v;
SELECT v, pg_temp.v('real', v, pg_temp.s('float')) AS float_real, pg_temp.v('float8', v, pg_temp.s('float')) AS float_float8, pg_temp.v('float8', v, pg_temp.s('double')) AS double_float8,
	pg_temp.v('real', v, pg_temp.s('double')) AS double_real, pg_temp.v('int', v, pg_temp.s('double')) AS double_int, pg_temp.v('text', v, pg_temp.s('double')) AS double_text
FROM unnest('{0.1, 1.0, -0.0, 1.5, 1.0E10, 3.4028235E38, 1e39, 1e400, 1e-400, "\"NaN\"", "\"Infinity\"", "\"-Infinity\"", "\"x\"", true}'::text[]) v;
-- unsigned bigint, precise
SELECT pg_temp.v('numeric', pg_temp.b64('\x00ffffffffffffffff'), :decimal || '0"}}'), pg_temp.v('bigint', pg_temp.b64('\x00ffffffffffffffff'), :decimal || '0"}}');

--
-- T2: time
--
SELECT name, v, pg_temp.v('timestamp', v, pg_temp.s('int64', name)) AS timestamp, pg_temp.v('timestamptz', v, pg_temp.s('int64', name)) AS timestamptz,
	pg_temp.v('text', v, pg_temp.s('int64', name)) AS text, pg_temp.v('timestamp(3)', v, pg_temp.s('int64', name)) AS timestamp_3
FROM (VALUES ('io.debezium.time.Timestamp', '1767323045678'), ('org.apache.kafka.connect.data.Timestamp', '-1'), ('io.debezium.time.MicroTimestamp', '1767323045678901'),
	('io.debezium.time.MicroTimestamp', '-1'), ('io.debezium.time.MicroTimestamp', '0'), ('io.debezium.time.MicroTimestamp', '9223372036825200000'), ('io.debezium.time.MicroTimestamp', '-9223372036832400000'),
	('io.debezium.time.Timestamp', '9223372036825200'), ('io.debezium.time.Timestamp', '-9223372036832400'), ('io.debezium.time.NanoTimestamp', '9223372036854775807'), ('io.debezium.time.NanoTimestamp', '-9223372036854775808'),
	('io.debezium.time.NanoTimestamp', '1767323045678901000'), ('io.debezium.time.NanoTimestamp', '1767323045678901234'), ('io.debezium.time.MicroTimestamp', '9223372036854775807'), ('io.debezium.time.Timestamp', '9223372036854775807'),
	('io.debezium.time.MicroTimestamp', '-210866803200000000'), ('io.debezium.time.MicroTimestamp', '-210866803200000001'), ('io.debezium.time.MicroTimestamp', '1.5'), ('io.debezium.time.MicroTimestamp', 'true')) v (name, v);
SELECT v, pg_temp.v('timestamptz', v, pg_temp.s('string', 'io.debezium.time.ZonedTimestamp')) AS timestamptz, pg_temp.v('timestamp', v, pg_temp.s('string', 'io.debezium.time.ZonedTimestamp')) AS timestamp,
	pg_temp.v('text', v, pg_temp.s('string', 'io.debezium.time.ZonedTimestamp')) AS text, pg_temp.v('timestamptz(0)', v) AS timestamptz_0
FROM unnest('{2026-01-02T03:04:05.678901Z, 2026-01-02T03:04:05Z, 2026-01-02T03:04:05+02:00, 2026-01-02T03:04:05.1234567Z, 2026-01-02T03:04:05.1234560Z, infinity, -infinity, 2026-01-02 03:04:05, 2026-01-02, 2026-02-29T00:00:00Z, 2024-02-29T23:59:59.999999-12:30,
	0000-00-00 00:00:00, 0000-01-01T00:00:00Z, -4713-11-24T00:00:00Z, +12026-01-01T00:00:00Z, +294277-01-01T00:00:00Z, 2026-13-01T00:00:00Z, 2026-01-02T24:00:00Z, 2026-01-02T24:00:01Z, 2026-01-02T03:04Z, 2026-01-02T03:04:60Z, now, 02.01.2026, 2026-01-02T03:04:05Z+01, ""}'::text[]) t, LATERAL (SELECT '"' || t || '"') l (v);
SELECT v, pg_temp.v('date', v, pg_temp.s('int32', 'io.debezium.time.Date')) AS date, pg_temp.v('timestamp', v, pg_temp.s('int32', 'org.apache.kafka.connect.data.Date')) AS timestamp, pg_temp.v('text', v, NULL, 'date') AS text
FROM unnest('{0, 20455, -1, -719529, 2147483647, -2147472692, -2147472691, 3000000000, "\"2026-01-02\"", "\"2026-01-02Z\"", "\"-0043-03-15\"", "\"2026-02-30\"", 1.5}'::text[]) v;
SELECT name, v, pg_temp.v('time', v, pg_temp.s('int64', name)) AS time, pg_temp.v('time(3)', v, pg_temp.s('int64', name)) AS time_3, pg_temp.v('interval', v, pg_temp.s('int64', name)) AS interval, pg_temp.v('text', v, pg_temp.s('int64', name)) AS text
FROM (VALUES ('io.debezium.time.Time', '11045678'), ('org.apache.kafka.connect.data.Time', '0'), ('io.debezium.time.MicroTime', '11045678901'), ('io.debezium.time.MicroTime', '86400000000'), ('io.debezium.time.MicroTime', '86400000001'),
	('io.debezium.time.MicroTime', '-1'), ('io.debezium.time.NanoTime', '11045678901000'), ('io.debezium.time.NanoTime', '11045678901001'), ('io.debezium.time.IsoTime', '"03:04:05.678901Z"')) v (name, v);
SELECT v, pg_temp.v('timetz', v, pg_temp.s('string', 'io.debezium.time.ZonedTime')) AS timetz, pg_temp.v('time', v, pg_temp.s('string', 'io.debezium.time.ZonedTime')) AS time, pg_temp.v('text', v, pg_temp.s('string', 'io.debezium.time.ZonedTime')) AS text
FROM unnest('{07:00:00Z, 07:00Z, 12:00:00.5+05:00, 24:00:00Z, 25:00:00Z, 07:00:00.1234567Z, 07}'::text[]) t, LATERAL (SELECT '"' || t || '"') l (v);
SELECT name, v, pg_temp.v('interval', v, pg_temp.s('int64', name)) AS interval, pg_temp.v('text', v, pg_temp.s('int64', name)) AS text
FROM (VALUES ('io.debezium.time.MicroDuration', '37091106000000'), ('io.debezium.time.NanoDuration', '1500000'), ('io.debezium.time.NanoDuration', '1500001'), ('io.debezium.time.MicroDuration', '-1'),
	('io.debezium.time.Interval', '"P1Y2M3DT4H5M6.78S"'), ('io.debezium.time.Interval', '"P-1Y-2M3DT-4H"'), ('io.debezium.time.Interval', '"what"')) v (name, v);
SELECT pg_temp.v('int', '2026', pg_temp.s('int32', 'io.debezium.time.Year'));
-- without a schema time.precision.mode and the type at the source say what a number is
SELECT mode, pg_temp.v('timestamp', '1767323045678', NULL, 'timestamp(3)', m) AS ts3, pg_temp.v('timestamp', '1767323045678901', NULL, 'timestamp', m) AS ts6, pg_temp.v('timestamptz', '1767323045678', NULL, NULL, m) AS tz,
	pg_temp.v('time', '11045678', NULL, 'time(3)', m) AS time3, pg_temp.v('time', '11045678901', NULL, 'time', m) AS time6, pg_temp.v('date', '20455', NULL, NULL, m) AS date, pg_temp.v('timestamp', '"2026-01-02T03:04:05.678901"', NULL, NULL, m) AS iso
FROM unnest('{adaptive,adaptive_time_microseconds,connect,isostring,microseconds,nanoseconds}'::text[]) mode, LATERAL (SELECT jsonb_build_object('time.precision.mode', mode)) l (m);

--
-- T3: the rest
--
SELECT pg_temp.v('bytea', '"3q2+7w=="', pg_temp.s('bytes')), pg_temp.v('bytea', '"3q2+7w=="'), pg_temp.v('bytea', '"3q2-7w"', NULL, NULL, '{"binary.handling.mode": "base64-url-safe"}'),
	pg_temp.v('bytea', '"deadbeef"', NULL, NULL, '{"binary.handling.mode": "hex"}'), pg_temp.v('bytea', '"deadbee"', NULL, NULL, '{"binary.handling.mode": "hex"}'), pg_temp.v('bytea', '""', pg_temp.s('bytes')),
	pg_temp.v('text', '"3q2+7w=="', pg_temp.s('bytes')), pg_temp.v('bytea', '"deadbeef"', pg_temp.s('string'), NULL, '{"binary.handling.mode": "hex"}'), pg_temp.v('bytea', '1', pg_temp.s('bytes')), pg_temp.v('bytea', '"3q2\/"', pg_temp.s('bytes'));
\set bits '''{"type":"bytes","name":"io.debezium.data.Bits","version":1,"parameters":{"length":"'''
SELECT pg_temp.v('bit(12)', '"AQg="', :bits || '12"}}'), pg_temp.v('bit(12)', '"AQ=="', :bits || '12"}}'), pg_temp.v('bit(3)', '"CA=="', :bits || '3"}}'), pg_temp.v('bit', 'true'), pg_temp.v('bit(12)', '"AQg="'), pg_temp.v('varbit', '"AQg="', :bits || '2147483647"}}'),
	pg_temp.v('bit(8)', '"AQg="', :bits || '12"}}'), pg_temp.v('text', '"AQg="', :bits || '12"}}'), pg_temp.v('boolean', 'true', pg_temp.s('boolean'));
SELECT pg_temp.v('jsonb', '"{\"a\": [1, null, \"x\"]}"', pg_temp.s('string', 'io.debezium.data.Json')), pg_temp.v('json', '"{\"a\":  1}"'), pg_temp.v('jsonb', '"{\"a\": }"'), pg_temp.v('jsonb', '"\"\\u0000\""'), pg_temp.v('jsonb', '{"a": 1}'), pg_temp.v('text', '"{\"a\":  1}"', pg_temp.s('string', 'io.debezium.data.Json')), pg_temp.v('jsonb', '"1 2"'), pg_temp.v('jsonb', '""');
SELECT pg_temp.v('uuid', '"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"', pg_temp.s('string', 'io.debezium.data.Uuid')), pg_temp.v('uuid', '"x"'), pg_temp.v('inet', '"10.0.0.1/8"'), pg_temp.v('cidr', '"10.0.0.0/8"'), pg_temp.v('macaddr', '"08:00:2b:01:02:03"'),
	pg_temp.v('int4range', '"[1,10)"'), pg_temp.v('tstzrange', '"[\"2026-01-02 03:04:05+00\",)"', NULL, NULL), pg_temp.v('xml', '"<a>x</a>"'), pg_temp.v('point', '"(1,2)"'), pg_temp.v('oid', '4294967295');
CREATE TYPE mood AS ENUM ('ok', 'happy');
CREATE DOMAIN positive AS int CHECK (value > 0);
SELECT pg_temp.v('mood', '"happy"', '{"type":"string","name":"io.debezium.data.Enum","version":1,"parameters":{"allowed":"ok,happy"}}'), pg_temp.v('mood', '"sad"'), pg_temp.v('positive', '7'), pg_temp.v('positive', '-7');
-- texts: never cut
SELECT pg_temp.v('varchar(3)', '"abc"'), pg_temp.v('varchar(3)', '"abcd"'), pg_temp.v('varchar(3)', '"äöü"'), pg_temp.v('char(5)', '"ab"') || '|', pg_temp.v('char(3)', '"ab       "') || '|', pg_temp.v('char(3)', '"abcd"'), pg_temp.v('name', '"abc"'), pg_temp.v('varchar(3)', '12'), pg_temp.v('varchar', '"\u00e9\ud83d\ude00\\\/\b\f\n\r\t\""');
SELECT pg_temp.v('text', v) FROM unnest('{true, 1.50, "{\"a\": [1, 2]}", "[1, {}]", "\"\""}'::text[]) v;
-- arrays
\set array '''{"type":"array","items":'''
SELECT pg_temp.v('int[]', '[1, null, -3]', :array || '{"type":"int32","optional":true}}'), pg_temp.v('text[]', '["a,b", null, "null", "", "q\"u"]'), pg_temp.v('int[]', '[]'), pg_temp.v('int[]', '[1, "x"]'), pg_temp.v('int[]', '[[1], [2]]'), pg_temp.v('smallint[]', '[1, 70000]'),
	pg_temp.v('numeric[]', '["Jyk=", null]', :array || '{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","version":1,"parameters":{"scale":"2"},"optional":true}}'), pg_temp.v('timestamp[]', '[1767323045678901]', :array || '{"type":"int64","name":"io.debezium.time.MicroTimestamp","optional":true}}'),
	pg_temp.v('date[]', '[20455]'), pg_temp.v('uuid[]', '["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]'), pg_temp.v('bytea[]', '["3q2+7w=="]', :array || '{"type":"bytes","optional":true}}'), pg_temp.v('jsonb[]', '["{\"a\":1}"]'), pg_temp.v('int[]', '1'), pg_temp.v('text', '[1, null]', :array || '{"type":"int32"}}'), pg_temp.v('jsonb', '[1, null]', :array || '{"type":"int32"}}');
-- geometry: its struct, its WKB, or its coordinates
\set point '''{"x":1.5,"y":-2.0,"wkb":"AQEAAAAAAAAAAAD4PwAAAAAAAADA","srid":4326}'''
SELECT pg_temp.v(t, :point, '{"type":"struct","fields":[],"name":"io.debezium.data.geometry.Point","version":1}') FROM unnest('{point,bytea,text,jsonb,int}'::text[]) t;
-- MySQL's zero dates are null at the source where they can be; where not, they cannot be held
SELECT pg_temp.v('date', '"0000-00-00"'), pg_temp.v('timestamp', '"0000-00-00 00:00:00"'), pg_temp.v('date', 'null');

--
-- P5: an unchanged TOAST value in all its shapes; only an exactly equal whole value counts
--
SELECT pg_temp.v('text', '"__debezium_unavailable_value"'), pg_temp.v('text', '"__debezium_unavailable_value "'), pg_temp.v('text', '"X__debezium_unavailable_value"'), pg_temp.v('varchar(9)', '"__debezium_unavailable_value"'), pg_temp.v('jsonb', '"__debezium_unavailable_value"', pg_temp.s('string', 'io.debezium.data.Json')),
	pg_temp.v('bytea', '"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="', pg_temp.s('bytes')), pg_temp.v('bytea', '"5f5f646562657a69756d5f756e617661696c61626c655f76616c7565"', NULL, NULL, '{"binary.handling.mode": "hex"}'), pg_temp.v('text', '"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="'),
	pg_temp.v('text[]', '["__debezium_unavailable_value"]'), pg_temp.v('text[]', '["__debezium_unavailable_value", "x"]'), pg_temp.v('bytea[]', '["X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="]', :array || '{"type":"bytes"}}'), pg_temp.v('numeric', '"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="', :decimal || '2"}}');
SELECT pg_temp.v('int[]', '[95,95,100,101,98,101,122,105,117,109,95,117,110,97,118,97,105,108,97,98,108,101,95,118,97,108,117,101]'), pg_temp.v('bigint[]', '[95,95,100,101,98,101,122,105,117,109,95,117,110,97,118,97,105,108,97,98,108,101,95,118,97,108,117]'),
	pg_temp.v('uuid[]', '["' || md5_uuid || '"]'), pg_temp.v('uuid', '"' || md5_uuid || '"')
FROM (SELECT overlay(overlay(md5('__debezium_unavailable_value') PLACING '3' FROM 13) PLACING to_hex(8 + ('x' || substr(md5('__debezium_unavailable_value'), 17, 1))::bit(4)::int % 4) FROM 17)::uuid::text) u (md5_uuid);
SELECT pg_temp.v('text', '"gone"', NULL, NULL, '{"unavailable.value.placeholder": "gone"}'), pg_temp.v('text', '"__debezium_unavailable_value"', NULL, NULL, '{"unavailable.value.placeholder": "gone"}'), pg_temp.v('bytea', '"Z29uZQ=="', NULL, NULL, '{"unavailable.value.placeholder": "gone"}');

--
-- the format json: values mean what they look like
--
SELECT t, v, pg_temp.v(t, v, format => 'json') FROM (VALUES ('jsonb', '"foo"'), ('jsonb', '{"a":1}'), ('numeric(12,2)', '"12.50"'), ('numeric', '12.5'), ('timestamptz', '"2026-01-02T03:04:05+02:00"'), ('timestamptz', '1767323045678'), ('date', '20455'), ('interval', '"1 day"'), ('bit(3)', '"101"'), ('text[]', '["a"]'), ('boolean', '"yes"'), ('boolean', '1')) v (t, v);
SELECT pg_temp.v('timestamptz', '1767323045678', modes => '{"time.precision.mode": "connect"}', format => 'json');
DROP DOMAIN positive;
DROP TYPE mood;
