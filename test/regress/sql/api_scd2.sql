-- What map_table demands of a table of versions.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/raises.sql'
\set ECHO none
\i :include
\set ECHO all
CREATE SCHEMA api_scd2;
SET search_path = api_scd2, pg_catalog;
SELECT edw_stream.create_stream('api_scd2', NULL, '{c}', format => 'json');
CREATE TABLE good (sk bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id int NOT NULL, city text,
	valid_from date NOT NULL, valid_to date, is_current boolean NOT NULL, born date);
CREATE INDEX ON good (id);
CREATE TABLE plain (id int PRIMARY KEY, city text, valid_from date NOT NULL, valid_to date, is_current boolean);
CREATE TABLE no_default (sk bigint PRIMARY KEY, id int NOT NULL, valid_from date, valid_to date, is_current boolean);
CREATE INDEX ON no_default (id);
CREATE TABLE no_index (sk serial PRIMARY KEY, id int NOT NULL, valid_from date, valid_to date, is_current boolean);
CREATE TABLE other_types (sk serial PRIMARY KEY, id int NOT NULL, valid_from date, valid_to timestamp, is_current int);
CREATE INDEX ON other_types (id);
CREATE FUNCTION pg_temp.map(target text, options jsonb DEFAULT '{}', more text DEFAULT '') RETURNS SETOF text LANGUAGE sql AS $$
	SELECT pg_temp.raises(format('SELECT edw_stream.map_table(%L, %L, keys => %L, apply => %L, options => %L %s)',
		'api_scd2', 'api_scd2.' || target, '{id}', 'scd2', options, more)) $$;

SELECT pg_temp.raises($$SELECT edw_stream.map_table('api_scd2', 'good', apply => 'scd2')$$);
SELECT pg_temp.map('plain');
SELECT pg_temp.map('no_default');
SELECT pg_temp.map('no_index');
SELECT pg_temp.map('other_types');
SELECT pg_temp.map('good', '{"valid_from": "since"}');
SELECT pg_temp.map('good', '{"valid_from": null}');
SELECT pg_temp.map('good', '{"valid_from": "valid_to"}');
SELECT pg_temp.map('good', '{"current": "city"}');
SELECT pg_temp.map('good', '{"open_end": "never"}');
SELECT pg_temp.map('good', '{"track": "city"}');
SELECT pg_temp.map('good', '{"track": []}');
SELECT pg_temp.map('good', '{"track": [1]}');
SELECT pg_temp.map('good', '{"track": ["town"]}');
SELECT pg_temp.map('good', '{"track": ["id"]}');
SELECT pg_temp.map('good', '{"track": ["valid_to"]}');
SELECT pg_temp.map('good', '{"trak": ["city"]}');
SELECT pg_temp.map('good', '{}', $$, on_delete => 'soft'$$);
SELECT pg_temp.map('good', '{"valid_time": "born"}', $$, on_truncate => 'apply'$$);
SELECT pg_temp.map('good', '{"valid_time": "born"}', $$, on_truncate => 'apply'$$);
SELECT pg_temp.map('good', '{}', $$, columns => '{"valid_to": "now()"}'$$);
SELECT pg_temp.map('good', '{}', $$, columns => '{"city": "town"}', filter => 'id > 0'$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('api_scd2', 'plain', options => '{"track": ["city"]}')$$);

-- dates, a null as open end, no column for the current version, and a time of the event's own
SELECT edw_stream.unmap_table('api_scd2', 'good');
ALTER TABLE good DROP COLUMN is_current;
SELECT edw_stream.map_table('api_scd2', 'good', keys => '{id}', apply => 'scd2',
	options => '{"current": null, "open_end": null, "valid_time": "born", "track": ["city"]}');
SELECT edw_stream.push('api_scd2', 'c', '{"id":1}', '{"id":1,"city":"A","born":"2020-01-01"}'),
	edw_stream.push('api_scd2', 'c', '{"id":1}', '{"id":1,"city":"C","born":"2022-01-01"}'),
	edw_stream.push('api_scd2', 'c', '{"id":1}', '{"id":1,"city":"B","born":"2021-01-01"}');
CALL edw_stream.drain('api_scd2');
SELECT sk, id, city, valid_from, valid_to, born FROM good ORDER BY valid_from;
SELECT edw_stream.push('api_scd2', 'c', '{"id":1}', '{"id":1,"city":"B","born":"2020-06-01"}'),
	edw_stream.push('api_scd2', 'c', '{"id":1}', '{"id":1,"city":"D","born":"2022-01-01"}');
CALL edw_stream.drain('api_scd2');
SELECT sk, id, city, valid_from, valid_to, born FROM good ORDER BY valid_from;

-- a row that somebody else wrote is the oldest version of its key; one that lacks its beginning cannot be used
INSERT INTO good (id, city, valid_from, valid_to) VALUES (2, 'old', '-infinity', NULL);
SELECT edw_stream.push('api_scd2', 'c', '{"id":2}', '{"id":2,"city":"new","born":"2022-01-01"}');
CALL edw_stream.drain('api_scd2');
SELECT sk, id, city, valid_from, valid_to FROM good WHERE id = 2 ORDER BY valid_from;
SELECT edw_stream.drop_stream('api_scd2');
