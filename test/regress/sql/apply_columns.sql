-- Which columns a mapping writes and what into: columns, expressions, filter, names.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/events.sql'
\set ECHO none
\i :include
\set ECHO all
CREATE SCHEMA ap_col;
SET search_path = ap_col, pg_catalog;
SELECT edw_stream.create_stream('ap_col', NULL, '{item}');
CREATE SCHEMA "Odd ""Schema";
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE "Odd ""Schema"."Or'ders" ("Id" int PRIMARY KEY, "select" varchar(5), "A B" numeric(10,2), "$1" positive,
	doubled int GENERATED ALWAYS AS ("Id" * 2) STORED, untouched text DEFAULT 'mine');
SELECT edw_stream.map_table('ap_col', '"Odd ""Schema"."Or''ders"', 'item', keys => '{Id}', columns => '{
	"Id": "id", "select": "upper(name) || ''!''", "A B": "cents / 100.0", "$1": "CASE WHEN name = ''none'' THEN NULL ELSE n END"}',
	options => '{"source_types": {"id": "int", "cents": "bigint", "n": "int"}}', filter => 'cents > 0');
SELECT edw_stream.explain_table('ap_col', '"Odd ""Schema"."Or''ders"');
CREATE FUNCTION pg_temp.e(op text, fields jsonb, lsn bigint) RETURNS void LANGUAGE sql AS $$
	SELECT pg_temp.send('ap_col', 'item', op, fields, lsn) $$;
CREATE VIEW now AS SELECT "Id", "select", "A B", "$1", doubled, untouched FROM "Odd ""Schema"."Or'ders" ORDER BY 1;

SELECT pg_temp.e('c', '{"id":1,"name":"abc","cents":1234,"n":1}', 1), pg_temp.e('c', '{"id":2,"name":"none","cents":5,"n":-5}', 2),
	pg_temp.e('c', '{"id":3,"name":"x","cents":0,"n":1}', 3), pg_temp.e('c', '{"id":4,"name":"y","cents":null,"n":1}', 4);
CALL edw_stream.drain('ap_col');
TABLE now;
-- what an expression needs and the event leaves out leaves the column as it is (P6)
SELECT pg_temp.e('u', '{"id":1,"cents":99,"n":7}', 10), pg_temp.e('u', '{"id":2,"name":"two"}', 11), pg_temp.e('d', '{"id":4}', 12);
CALL edw_stream.drain('ap_col');
TABLE now;
-- too long, a domain's check, a null key: dead letters, each alone; the rest goes on (K6)
SELECT pg_temp.e('u', '{"id":1,"name":"toolong","cents":99,"n":7}', 20), pg_temp.e('c', '{"id":5,"name":"five","cents":1,"n":-1}', 21),
	pg_temp.e('u', '{"id":2,"name":"fine","cents":7,"n":2}', 22), pg_temp.e('c', '{"id":null,"name":"k","cents":1,"n":1}', 23);
CALL edw_stream.drain('ap_col');
TABLE now;
SELECT kafka_offset, reason, sqlstate, message FROM edw_stream.dead_letters WHERE stream = 'ap_col' ORDER BY 1;
SELECT pg_temp.counts('"Odd ""Schema"."Or''ders"');

-- expressions see one event, and nothing else
CREATE TABLE bad (id int PRIMARY KEY, n int);
SELECT edw_stream.map_table('ap_col', 'bad', 'item', columns => '{"n": "(SELECT 1)"}');
SELECT edw_stream.map_table('ap_col', 'bad', 'item', columns => '{"n": "count(*)"}');
SELECT edw_stream.map_table('ap_col', 'bad', 'item', columns => '{"n": "row_number() OVER ()"}');
SELECT edw_stream.map_table('ap_col', 'bad', 'item', columns => '{"n": "generate_series(1, n)"}');
SELECT edw_stream.map_table('ap_col', 'bad', 'item', columns => '{"n": "n FROM pg_class"}');
SELECT edw_stream.map_table('ap_col', 'bad', 'item', columns => '{"n": "n, 1"}');
SELECT edw_stream.map_table('ap_col', 'bad', 'item', columns => '{"n": "x.n"}');
SELECT edw_stream.map_table('ap_col', 'bad', 'item', columns => '{"n": "n; DROP TABLE bad"}');
SELECT edw_stream.map_table('ap_col', 'bad', 'item', columns => '{"n": "no_such_function(n)"}');
SELECT edw_stream.map_table('ap_col', 'bad', 'item', filter => 'n');
SELECT count(*) FROM edw_stream.tables WHERE target = 'bad'::regclass;
