-- What mappings may ask of an event besides its fields: $topic, $op, $source_ts …
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/events.sql'
\set raises :srcdir '/include/raises.sql'
\set ECHO none
\i :include
\i :raises
\set ECHO all
CREATE SCHEMA ap_meta;
SET search_path = ap_meta, pg_catalog;
SET timezone = 'UTC';
SELECT edw_stream.create_stream('ap_meta', NULL, '{orders,soft,flat}');

-- every name, bare and within expressions; what looks like one in strings, comments, quotes and identifiers is none
CREATE TABLE orders (id int PRIMARY KEY, v text, topic text, partition int, kafka_offset bigint, source_ts timestamptz,
	event_ts timestamptz, op text, pos bytea, batch bigint, mixed text, strings text, "a$op" text);
SELECT edw_stream.map_table('ap_meta', 'orders', 'orders', columns => $j${"v": "v", "topic": "$topic", "partition": "$partition",
	"kafka_offset": "$kafka_offset", "source_ts": "$source_ts", "event_ts": "$event_ts", "op": "$op", "pos": "$position",
	"batch": "$batch", "mixed": "$topic||':'||$partition||/* $nothing /* */ $op */'/'||$op -- $nothing",
	"strings": "'$op ''$op' || E'\\' $op' || U&'$op' || $x$ $op $x$ || $$ $op$$ || \"a$op\"", "a$op": "a$op"}$j$,
	filter => '$op <> ''u'' OR $kafka_offset < 100');
SELECT pg_temp.send('ap_meta', 'orders', 'c', '{"id":1,"v":"a","a$op":"f"}', 10, ts => 1700000000123);
SELECT pg_temp.send('ap_meta', 'orders', 'r', '{"id":2,"v":"b","a$op":"f"}', 11, snapshot => 'true', partition => 1);
CALL edw_stream.drain('ap_meta');
SELECT id, topic, partition, kafka_offset, source_ts, event_ts, op, pos = _edw_seq AS is_seq, mixed, strings, "a$op" FROM orders ORDER BY id;
-- the batch is that of the commit
SELECT o.id, b.messages, b.batch_id = o.batch AS found FROM orders o LEFT JOIN edw_stream.batches b ON b.batch_id = o.batch ORDER BY id;
SELECT pg_temp.send('ap_meta', 'orders', 'u', '{"id":1,"v":"c","a$op":"f"}', 20, ts => 1700000001000);
CALL edw_stream.drain('ap_meta');
SELECT id, v, kafka_offset, source_ts, op, edw_stream.describe_position(pos) FROM orders ORDER BY id;
SELECT count(DISTINCT batch) FROM orders;

-- nobody else is charged a number
SELECT count(*) FROM edw_stream.batches WHERE stream = 'ap_meta';

-- a field of the event that has such a name is not taken for it; unknown times are null
CREATE TABLE flat (id int PRIMARY KEY, op text, at timestamptz, told timestamptz, "$topic" text);
SELECT edw_stream.create_stream('ap_flat', NULL, '{flat}', format => 'json');
SELECT edw_stream.map_table('ap_flat', 'flat', 'flat', columns => '{"op": "$op || $topic", "at": "$source_ts", "told": "$event_ts"}');
SELECT edw_stream.push('ap_flat', 'flat', '{"id":1}', '{"id":1,"$op":"field","$topic":"field","$source_ts":"field"}');
CALL edw_stream.drain('ap_flat');
SELECT id, op, at, told FROM flat;
SELECT unmapped_fields FROM edw_stream.tables WHERE target = 'flat'::regclass;
SELECT edw_stream.unmap_table('ap_flat', 'flat');
SELECT edw_stream.map_table('ap_flat', 'flat', 'flat', on_schema_change => 'ignore');
SELECT edw_stream.push('ap_flat', 'flat', '{"id":1}', '{"id":1,"op":"op","$topic":"field"}');
CALL edw_stream.drain('ap_flat');
SELECT id, op, "$topic" FROM flat;

-- errors name what was meant, and where
SELECT edw_stream.unmap_table('ap_flat', 'flat');
SELECT pg_temp.raises($$SELECT edw_stream.map_table('ap_flat', 'flat', columns => '{"op": "$topik"}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('ap_flat', 'flat', filter => '$source_time IS NULL')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('ap_flat', 'flat', columns => '{"op": "$op + 1"}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('ap_flat', 'flat', columns => '{"op": "$1"}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('ap_flat', 'flat', columns => '{"op": "lower($op"}')$$);
\set VERBOSITY default
SELECT edw_stream.map_table('ap_flat', 'flat', columns => '{"op": "$op || lower($wrong)"}');
SELECT edw_stream.map_table('ap_flat', 'flat', columns => '{"op": "$op || nofunction($topic)"}');
\set VERBOSITY terse

-- a soft delete writes the columns that are made of metadata alone, in one batch and in several, by replay too
CREATE TABLE soft (id int PRIMARY KEY, v text, op text, at timestamptz, both_of_them text, whole text);
SELECT edw_stream.map_table('ap_meta', 'soft', 'soft', on_delete => 'soft', on_truncate => 'apply',
	columns => '{"v": "v", "op": "$op", "at": "$source_ts", "both_of_them": "v || $op", "whole": "$topic || $op"}');
CREATE FUNCTION pg_temp.e(op text, id int, v text, lsn bigint) RETURNS void LANGUAGE sql AS $$
	SELECT pg_temp.send('ap_meta', 'soft', op,
		CASE op WHEN 'd' THEN jsonb_build_object('id', id) ELSE jsonb_strip_nulls(jsonb_build_object('id', id, 'v', v)) END,
		lsn, ts => 1700000000000 + lsn * 1000) $$;
SELECT pg_temp.e('c', 1, 'a', 1), pg_temp.e('c', 2, 'b', 2), pg_temp.e('c', 3, 'c', 3), pg_temp.e('c', 4, 'd', 4);
CALL edw_stream.drain('ap_meta');
SELECT pg_temp.e('d', 1, NULL, 11);
CALL edw_stream.drain('ap_meta');
-- a batch of a delete, and updates that lack columns; inserted and deleted at once; a late update is stale
SELECT pg_temp.e('d', 2, NULL, 12), pg_temp.e('u', 3, NULL, 13), pg_temp.e('c', 5, 'e', 14), pg_temp.e('d', 5, NULL, 15),
	pg_temp.e('u', 1, 'late', 5);
CALL edw_stream.drain('ap_meta');
SELECT id, v, op, at - '2023-11-14 22:13:20+00' AS at, both_of_them, whole, _edw_deleted AS deleted FROM soft ORDER BY id;
-- a row that is gone already tells of its last delete; one that comes back of what brought it
SELECT pg_temp.e('d', 1, NULL, 21), pg_temp.e('c', 2, 'again', 22);
CALL edw_stream.drain('ap_meta');
SELECT pg_temp.tombstone('ap_meta', 'soft', '{"id":2}');
CALL edw_stream.drain('ap_meta');
SELECT id, v, op, at - '2023-11-14 22:13:20+00' AS at, _edw_deleted AS deleted FROM soft ORDER BY id;
SELECT pg_temp.send('ap_meta', 'soft', 't', NULL, 30, ts => 1700000030000);
CALL edw_stream.drain('ap_meta');
SELECT id, v, op, at - '2023-11-14 22:13:20+00' AS at, whole, _edw_deleted AS deleted FROM soft ORDER BY id;
SELECT edw_stream.explain_table('ap_meta', 'soft');

-- G4: a version shows what the event that opened it says of itself, whatever comes when; it makes none, nor is it overwritten
CREATE TABLE dim (sk int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, id int NOT NULL, city text, phone text, op text, lsn text,
	valid_from timestamptz NOT NULL, valid_to timestamptz NOT NULL, is_current boolean NOT NULL);
CREATE INDEX ON dim (id);
SELECT edw_stream.create_stream('ap_dim', NULL, '{dim}');
SELECT edw_stream.map_table('ap_dim', 'dim', keys => '{id}', apply => 'scd2', options => '{"track": ["city"]}',
	columns => '{"city": "city", "phone": "phone", "op": "$op", "lsn": "edw_stream.describe_position($position)"}');
CREATE FUNCTION pg_temp.d(op text, city text, lsn bigint) RETURNS void LANGUAGE sql AS $$
	SELECT pg_temp.send('ap_dim', 'dim', op, CASE op WHEN 'd' THEN '{"id":1}' ELSE jsonb_build_object('id', 1, 'city', city, 'phone', lsn) END,
		lsn, ts => 1700000000000 + lsn * 1000) $$;
CREATE VIEW versions AS SELECT sk, city, phone, op, right(lsn, 4) AS lsn, to_char(valid_from, 'MI:SS') AS since, to_char(valid_to, 'MI:SS') AS until
	FROM dim ORDER BY valid_from;
SELECT pg_temp.d('c', 'Rome', 16), pg_temp.d('u', 'Rome', 18), pg_temp.d('u', 'Oslo', 20), pg_temp.d('d', NULL, 24);
CALL edw_stream.drain('ap_dim');
TABLE versions;
-- a late event between two of one version: the second opens one, and still knows what it was
SELECT pg_temp.d('u', 'Lima', 17);
CALL edw_stream.drain('ap_dim');
TABLE versions;
-- one that opened a version and does no more is remembered likewise
SELECT pg_temp.d('u', 'Oslo', 19);
CALL edw_stream.drain('ap_dim');
SELECT pg_temp.d('u', 'Kiel', 19), pg_temp.d('c', 'Rome', 16);
CALL edw_stream.drain('ap_dim');
TABLE versions;
SELECT kind, shown FROM edw_stream.scd2_event e JOIN edw_stream.mapping m USING (mapping_id) WHERE m.stream = 'ap_dim' ORDER BY position;
SELECT pg_temp.counts('dim');
-- unless it is tracked explicitly
SELECT edw_stream.unmap_table('ap_dim', 'dim');
TRUNCATE dim;
SELECT edw_stream.map_table('ap_dim', 'dim', keys => '{id}', apply => 'scd2', options => '{"track": ["op"]}',
	columns => '{"city": "city", "op": "$op", "lsn": "edw_stream.describe_position($position)"}');
SELECT pg_temp.d('c', 'Rome', 32), pg_temp.d('u', 'Rome', 33), pg_temp.d('u', 'Oslo', 34);
CALL edw_stream.drain('ap_dim');
TABLE versions;

-- a dead letter keeps what it was, but its batch
CREATE TABLE checked (id int PRIMARY KEY, v int CHECK (v > 0), kafka_offset bigint, pos bytea, batch bigint, src text);
SELECT edw_stream.create_stream('ap_letter', NULL, '{t}');
SELECT edw_stream.map_table('ap_letter', 'checked', 't', columns => '{"v": "v", "kafka_offset": "$kafka_offset", "pos": "$position",
	"batch": "$batch", "src": "$topic || $partition"}');
SELECT pg_temp.send('ap_letter', 't', 'c', '{"id":1,"v":1}', 10), pg_temp.send('ap_letter', 't', 'c', '{"id":2,"v":-2}', 20);
CALL edw_stream.drain('ap_letter');
ALTER TABLE checked DROP CONSTRAINT checked_v_check;
SELECT * FROM edw_stream.retry_dead_letters('ap_letter');
SELECT id, v, kafka_offset, pos = _edw_seq AS is_seq, batch IS NULL AS no_batch, src FROM checked ORDER BY id;
-- K6: with metadata an event still says all of its row, and supersedes
ALTER TABLE checked ADD CHECK (v < 100);
SELECT pg_temp.send('ap_letter', 't', 'u', '{"id":1,"v":100}', 30), pg_temp.send('ap_letter', 't', 'u', '{"id":2,"v":200}', 31);
CALL edw_stream.drain('ap_letter');
SELECT pg_temp.send('ap_letter', 't', 'u', '{"id":1,"v":5}', 40), pg_temp.send('ap_letter', 't', 'u', '{"id":2}', 41);
CALL edw_stream.drain('ap_letter');
SELECT kafka_offset, reason, status FROM edw_stream.dead_letters WHERE stream = 'ap_letter' ORDER BY 1;
SELECT id, v, kafka_offset FROM checked ORDER BY id;

-- an event that waited for a member keeps what it was; its batch is the one that brought the member, and wrote the row
CREATE TABLE dim_city (city_key int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, city text UNIQUE);
CREATE TABLE fact_visit (id int PRIMARY KEY, city_key int, src text, pos bytea, batch bigint);
SELECT edw_stream.create_stream('ap_wait', NULL, '{cities,visits}');
SELECT edw_stream.map_table('ap_wait', 'dim_city', 'cities', keys => '{city}', columns => '{}');
SELECT edw_stream.map_table('ap_wait', 'fact_visit', 'visits', columns => '{"src": "$topic || $kafka_offset || $op", "pos": "$position", "batch": "$batch"}',
	lookups => '{"city_key": {"dimension": "ap_meta.dim_city", "match": {"city": "city"}, "missing": "wait"}}');
SELECT pg_temp.send('ap_wait', 'visits', 'c', '{"id":1,"city":"Rome"}', 10), pg_temp.send('ap_wait', 'visits', 'u', '{"id":2,"city":"Rome"}', 11);
CALL edw_stream.drain('ap_wait');
SELECT count(*) FROM fact_visit;
SELECT pg_temp.send('ap_wait', 'cities', 'c', '{"city":"Rome"}', 5, key => '{city}');
CALL edw_stream.drain('ap_wait');
SELECT f.id, city_key, src, pos = _edw_seq AS is_seq, b.batch_id = (SELECT max(batch_id) FROM edw_stream.batches WHERE stream = 'ap_wait') AS last_batch
	FROM fact_visit f LEFT JOIN edw_stream.batches b ON b.batch_id = f.batch ORDER BY 1;

SELECT edw_stream.drop_stream(s) FROM unnest('{ap_meta,ap_flat,ap_letter,ap_dim,ap_wait}'::text[]) AS s;
DROP SCHEMA ap_meta CASCADE;
