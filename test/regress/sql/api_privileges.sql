-- whose stream it is: others neither see, change, start nor drop it (G6, H1)
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/raises.sql'
\set ECHO none
\i :include
\set ECHO all
CREATE ROLE regress_etl;
CREATE ROLE regress_other;
CREATE ROLE regress_member IN ROLE regress_etl;
CREATE ROLE regress_monitor IN ROLE pg_monitor;
CREATE SCHEMA dw;
GRANT USAGE ON SCHEMA dw TO PUBLIC;
GRANT CREATE ON SCHEMA dw TO regress_etl, regress_other;

-- who was granted nothing can make nothing
SET ROLE regress_etl;
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{a}')$$);
SELECT pg_temp.raises($$SELECT * FROM edw_stream.stream$$);
SELECT pg_temp.raises($$INSERT INTO edw_stream.inbox VALUES ('s', 'a', 0, 0)$$);
RESET ROLE;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA edw_stream TO regress_etl, regress_other, regress_member;

SET ROLE regress_etl;
SELECT edw_stream.create_stream('s', NULL, '{orders}', 'json');
CREATE TABLE dw.orders (id bigint PRIMARY KEY, status text);
SELECT edw_stream.map_table('s', 'dw.orders');
SELECT edw_stream.push('s', 'orders', '{"id": 1}', '{"id": 1, "status": "new"}');
SELECT edw_stream.push('s', 'orders', '{"id": 2}', '{"id": 2, broken');
RESET ROLE;
CREATE TABLE dw.admins (id bigint PRIMARY KEY);
CALL edw_stream.drain('s');

-- the owner, and who is a member of it, sees all
SET ROLE regress_member;
SELECT name, owner FROM edw_stream.streams;
SELECT stream, topic, committed, end_offset, lag FROM edw_stream.partitions;
SELECT stream, target, inserted, dead FROM edw_stream.tables;
SELECT stream, key, value, message IS NOT NULL, key_bytes IS NOT NULL FROM edw_stream.dead_letters;
SELECT stream, messages, dead FROM edw_stream.batches;
SELECT stream FROM edw_stream.latency;
SELECT edw_stream.pause('s');

-- who monitors sees all but what events hold
SET ROLE regress_monitor;
SELECT name, owner FROM edw_stream.streams;
SELECT stream, target, inserted, dead FROM edw_stream.tables;
SELECT stream, topic, kafka_offset, key, value, headers, message, detail, hint, key_bytes, value_bytes, reason IS NOT NULL FROM edw_stream.dead_letters;
SELECT pg_temp.raises($$SELECT edw_stream.start('s')$$);

-- others see nothing, and can do nothing
SET ROLE regress_other;
SELECT count(*) FROM edw_stream.streams;
SELECT count(*) FROM edw_stream.partitions;
SELECT count(*) FROM edw_stream.tables;
SELECT count(*) FROM edw_stream.dead_letters;
SELECT count(*) FROM edw_stream.skipped;
SELECT count(*) FROM edw_stream.batches;
SELECT count(*) FROM edw_stream.latency;
SELECT count(*) FROM edw_stream.worker_status();
SELECT edw_stream.partition_end('s', 'orders', 0);
CREATE TABLE dw.others (id bigint PRIMARY KEY);
SELECT pg_temp.raises($$SELECT edw_stream.start('s')$$);
SELECT pg_temp.raises($$SELECT edw_stream.pause('s')$$);
SELECT pg_temp.raises($$SELECT edw_stream.drop_stream('s')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.others', 'orders')$$);
SELECT pg_temp.raises($$SELECT edw_stream.unmap_table('s', 'dw.orders')$$);
SELECT pg_temp.raises($$SELECT edw_stream.push('s', 'orders', '', '')$$);
SELECT pg_temp.raises($$SELECT edw_stream.seek('s', 'orders', 0, 0)$$);
SELECT pg_temp.raises($$SELECT edw_stream.bump_epoch('s')$$);
SELECT pg_temp.raises($$SELECT edw_stream.wait_for('s')$$);
SELECT pg_temp.raises($$SELECT * FROM edw_stream.retry_dead_letters('s')$$);
SELECT pg_temp.raises($$SELECT edw_stream.discard_dead_letters('s')$$);
CALL edw_stream.drain('s');
-- a name of somebody else's stream is not proposed
SELECT pg_temp.raises($$SELECT edw_stream.start('ss')$$);

-- a stream does not reach tables that its owner could not write by himself
SET ROLE regress_etl;
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.admins', 'orders')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.others', 'orders')$$);
-- … nor through the hands of a superuser
RESET ROLE;
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.admins', 'orders')$$);
-- expressions are evaluated as the stream's owner, whoever drains it
SET ROLE regress_etl;
SELECT edw_stream.unmap_table('s', 'dw.orders');
SELECT edw_stream.map_table('s', 'dw.orders', columns => '{"status": "current_user::text"}');
RESET ROLE;
SELECT edw_stream.push('s', 'orders', '{"id": 3}', '{"id": 3, "status": "new"}');
CALL edw_stream.drain('s');
SELECT id, status FROM dw.orders ORDER BY id;

-- … and planned as him too, where a superuser maps a table for him: planning runs functions
SET ROLE regress_etl;
CREATE FUNCTION dw.planned() RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
	IF current_user <> 'regress_etl' THEN RAISE 'the owner''s function runs as %', current_user; END IF;
	RETURN 'planned';
END $$;
CREATE TABLE dw.first (id bigint PRIMARY KEY, status text);
CREATE TABLE dw.second (id bigint PRIMARY KEY);
SELECT edw_stream.map_table('s', 'dw.first', columns => '{"status": "dw.planned()"}', topic => 'orders');
RESET ROLE;
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.second', topic => 'orders')$$);
SELECT pg_temp.raises($$SELECT edw_stream.explain_table('s', 'dw.first')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.others', topic => 'orders')$$);

SELECT edw_stream.drop_stream('s');
DROP SCHEMA dw CASCADE;
REVOKE ALL ON ALL ROUTINES IN SCHEMA edw_stream FROM regress_etl, regress_other, regress_member;
DROP ROLE regress_etl, regress_other, regress_member, regress_monitor;
