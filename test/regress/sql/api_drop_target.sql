-- a target that is dropped stalls its stream: its events are not consumed as if nobody wanted them (H1, H2)
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/raises.sql'
\set ECHO none
\i :include
\set ECHO all
CREATE SCHEMA dw;
CREATE TABLE dw.orders (id bigint PRIMARY KEY, status text);
CREATE TABLE dw.customers (id bigint PRIMARY KEY, name text);
SELECT edw_stream.create_stream('s', NULL, '{orders,customers}', 'json');
SELECT edw_stream.map_table('s', 'dw.orders'), edw_stream.map_table('s', 'dw.customers');
SELECT edw_stream.push('s', 'orders', '{"id": 1}', '{"id": 1, "status": "new"}');
CALL edw_stream.drain('s');
SELECT id, status FROM dw.orders;

DROP TABLE dw.orders;
SELECT target_name, dropped FROM edw_stream.tables ORDER BY target_name;
SELECT edw_stream.push('s', 'orders', '{"id": 2}', '{"id": 2, "status": "new"}');
-- a session that drains is told
\set VERBOSITY sqlstate
CALL edw_stream.drain('s');
\set VERBOSITY default
-- a worker stalls
SELECT edw_stream.start('s');
DO $$
BEGIN
	FOR i IN 1 .. 3600 LOOP
		EXIT WHEN EXISTS (SELECT FROM edw_stream.streams WHERE state = 'stalled');
		PERFORM pg_sleep(0.05);
	END LOOP;
END $$;
SELECT state, reason, message, regexp_replace(hint, '\d+', 'N') FROM edw_stream.streams;
SELECT topic, committed, end_offset, lag FROM edw_stream.partitions WHERE topic = 'orders';

-- other tables can be mapped all the same; the same name again replaces the mapping
CREATE TABLE dw.more_customers (id bigint PRIMARY KEY, name text);
SELECT edw_stream.map_table('s', 'dw.more_customers', 'customers');
CREATE TABLE dw.orders (id bigint PRIMARY KEY, status text);
SELECT edw_stream.map_table('s', 'dw.orders');
SELECT target_name, dropped FROM edw_stream.tables ORDER BY target_name;
SELECT edw_stream.start('s');
SELECT edw_stream.wait_for('s', '3 min');
SELECT id, status FROM dw.orders;
SELECT edw_stream.pause('s');

-- or it is given up, by its OID
DROP TABLE dw.more_customers;
SELECT format('SELECT edw_stream.unmap_table(%L, %s)', stream, target::oid) FROM edw_stream.tables WHERE dropped \gset unmap_
\set ECHO none
:unmap_format;
\set ECHO all
SELECT target_name, dropped FROM edw_stream.tables ORDER BY target_name;

SELECT edw_stream.drop_stream('s');
-- nothing is left of a dropped stream
SELECT (SELECT count(*) FROM edw_stream.stream), (SELECT count(*) FROM edw_stream.mapping),
	(SELECT count(*) FROM edw_stream.tombstone), (SELECT count(*) FROM edw_stream.inbox),
	(SELECT count(*) FROM edw_stream.inbox_partition), (SELECT count(*) FROM edw_stream.partition_offset),
	(SELECT count(*) FROM edw_stream.batch), (SELECT count(*) FROM edw_stream.table_stat),
	(SELECT count(*) FROM edw_stream.skip_stat), (SELECT count(*) FROM edw_stream.dead_letter);
DROP SCHEMA dw CASCADE;
