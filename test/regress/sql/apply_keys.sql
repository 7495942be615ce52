-- Equal keys are one key, in every type that can be one: folded in a batch, found by a delete, kept out
-- by a tombstone.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/events.sql'
\set ECHO none
\i :include
\set ECHO all
CREATE SCHEMA ap_key;
SET search_path = ap_key, pg_catalog;
SELECT edw_stream.create_stream('ap_key', NULL, '{^k[0-9]+$}', 'json');
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN posint AS int CHECK (VALUE > 0);
-- a value, and another way to write it
CREATE TABLE sample (n int GENERATED ALWAYS AS IDENTITY, type text, value jsonb, same jsonb);
INSERT INTO sample (type, value, same) VALUES
	('smallint', '-5', '-5'), ('int', '-2147483648', '-2147483648'), ('bigint', '9223372036854775807', '9223372036854775807'),
	('numeric', '1.50', '1.5'), ('numeric', '"NaN"', '"NaN"'), ('numeric', '0', '0.000'),
	('real', '1.5', '15e-1'), ('double precision', '"-0"', '0'), ('double precision', '-1e300', '-1e300'),
	('text', '""', '""'), ('text', '"a''b\"c"', '"a''b\"c"'), ('varchar(10)', '"Ü"', '"Ü"'), ('char(5)', '"ab"', '"ab   "'), ('name', '"n"', '"n"'),
	('uuid', '"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"', '"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"'),
	('boolean', 'true', 'true'), ('inet', '"10.0.0.1/32"', '"10.0.0.1"'), ('cidr', '"10.0.0.0/8"', '"10.0.0.0/8"'),
	('macaddr', '"08:00:2b:01:02:03"', '"08-00-2b-01-02-03"'), ('interval', '"1 mon"', '"30 days"'), ('timetz', '"12:00:00+02:00"', '"12:00:00+02"'),
	('mood', '"ok"', '"ok"'), ('posint', '4', '4');
SELECT format('CREATE TABLE k%s (id %s PRIMARY KEY, v text)', n, type) FROM sample ORDER BY n \gexec
SELECT count(edw_stream.map_table('ap_key', format('k%s', n)::regclass, format('k%s', n))) FROM sample;
CREATE FUNCTION pg_temp.put(which text, v text) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(edw_stream.push('ap_key', format('k%s', n), jsonb_build_object('id', x)::text,
		CASE WHEN v IS NOT NULL THEN jsonb_build_object('id', x, 'v', v)::text END))
	FROM ap_key.sample, LATERAL (SELECT CASE which WHEN 'value' THEN value ELSE same END AS x) AS chosen $$;
SELECT pg_temp.put('value', 'a') + pg_temp.put('same', 'b');
CALL edw_stream.drain('ap_key');
SELECT pg_temp.put('value', 'c');
CALL edw_stream.drain('ap_key');
SELECT pg_temp.put('same', NULL);
CALL edw_stream.drain('ap_key');
SELECT topic, kafka_offset, message FROM edw_stream.dead_letters WHERE stream = 'ap_key';
SELECT type, pg_temp.counts(format('k%s', n)::regclass) FROM sample ORDER BY n;
-- refused: equality is not that of bytes
CREATE COLLATION nd (provider = icu, locale = 'und', deterministic = false);
CREATE TABLE nope (a text COLLATE nd UNIQUE, b jsonb UNIQUE, c int[] UNIQUE);
SELECT edw_stream.map_table('ap_key', 'nope', 'k1', keys => '{a}');
SELECT edw_stream.map_table('ap_key', 'nope', 'k1', keys => '{b}');
SELECT edw_stream.map_table('ap_key', 'nope', 'k1', keys => '{c}');
