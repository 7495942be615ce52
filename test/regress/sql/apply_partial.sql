-- P5, P6: what an event leaves out.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/events.sql'
\set ECHO none
\i :include
\set ECHO all
CREATE SCHEMA ap_partial;
SET search_path = ap_partial, pg_catalog;
SELECT edw_stream.create_stream('ap_partial', NULL, '{doc}');
CREATE TABLE doc (id int PRIMARY KEY, title text DEFAULT 'untitled', body text, loaded serial);
SELECT edw_stream.map_table('ap_partial', 'doc', 'doc');
CREATE FUNCTION pg_temp.e(op text, fields jsonb, lsn bigint) RETURNS void LANGUAGE sql AS $$
	SELECT pg_temp.send('ap_partial', 'doc', op, fields, lsn) $$;
CREATE VIEW now AS SELECT id, title, body FROM doc ORDER BY id;

-- P6: an absent column keeps its value, a null writes one; a new row gets the default
SELECT pg_temp.e('c', '{"id":1,"title":"t1","body":"b1"}', 10), pg_temp.e('c', '{"id":2,"body":"b2"}', 11),
	pg_temp.e('c', '{"id":3,"title":null,"body":"b3"}', 12);
CALL edw_stream.drain('ap_partial');
TABLE now;
SELECT pg_temp.e('u', '{"id":1,"body":null}', 20), pg_temp.e('u', '{"id":2,"title":"t2"}', 21);
CALL edw_stream.drain('ap_partial');
TABLE now;
-- a column that no event gives is left to PostgreSQL: one value a row, none wasted on updates
SELECT count(DISTINCT loaded), max(loaded) FROM doc;

-- P5: an unchanged value keeps what is stored …
SELECT pg_temp.e('u', '{"id":1,"title":"t1a","body":"__debezium_unavailable_value"}', 30),
	pg_temp.e('u', '{"id":3,"title":"t3","body":"__debezium_unavailable_value"}', 31);
CALL edw_stream.drain('ap_partial');
TABLE now;
-- … or what an earlier event of the batch says, also if that one comes late
SELECT pg_temp.e('c', '{"id":4,"title":"t4","body":"b4"}', 40),
	pg_temp.e('u', '{"id":4,"title":"t4a","body":"__debezium_unavailable_value"}', 41),
	pg_temp.e('u', '{"id":5,"title":"t5a","body":"__debezium_unavailable_value"}', 43),
	pg_temp.e('c', '{"id":5,"title":"t5","body":"b5"}', 42);
CALL edw_stream.drain('ap_partial');
TABLE now;
-- … unless that is older than what is stored
SELECT pg_temp.e('u', '{"id":4,"title":"old","body":"old"}', 39),
	pg_temp.e('u', '{"id":4,"title":"t4b","body":"__debezium_unavailable_value"}', 50);
CALL edw_stream.drain('ap_partial');
TABLE now;
-- a row that was deleted in between keeps nothing
SELECT pg_temp.e('d', '{"id":5}', 60), pg_temp.e('c', '{"id":5,"body":"new"}', 61);
CALL edw_stream.drain('ap_partial');
TABLE now;

-- with no row to keep from: to the dead letters, all events of the row that were folded together
SELECT pg_temp.e('u', '{"id":8,"title":"x","body":"__debezium_unavailable_value"}', 70),
	pg_temp.e('u', '{"id":8,"title":"y","body":"__debezium_unavailable_value"}', 71),
	pg_temp.e('u', '{"id":1,"title":"fine","body":"b1"}', 72);
CALL edw_stream.drain('ap_partial');
TABLE now;
SELECT kafka_offset, reason, sqlstate, message FROM edw_stream.dead_letters WHERE stream = 'ap_partial' ORDER BY 1;
SELECT pg_temp.counts('doc');
