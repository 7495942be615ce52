-- Which of two events about one key wins, however they are cut into batches.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/events.sql'
\set ECHO none
\i :include
\set ECHO all
CREATE SCHEMA ap_order;
SET search_path = ap_order, pg_catalog;
SELECT edw_stream.create_stream('ap_order', NULL, '{item}');
CREATE TABLE item (id int PRIMARY KEY, v text);
SELECT edw_stream.map_table('ap_order', 'item', 'item');
CREATE FUNCTION pg_temp.e(op text, id int, v text, lsn bigint, partition int DEFAULT 0) RETURNS void LANGUAGE sql AS $$
	SELECT pg_temp.send('ap_order', 'item', op,
		CASE op WHEN 'd' THEN jsonb_build_object('id', id) ELSE jsonb_build_object('id', id, 'v', v) END,
		lsn, partition => partition) $$;
CREATE VIEW now AS SELECT id, v, edw_stream.describe_position(_edw_seq) FROM item ORDER BY id;

-- O10: one batch, several changes of a key
SELECT pg_temp.e('c', 1, 'one', 10), pg_temp.e('u', 1, 'two', 11), pg_temp.e('c', 2, 'x', 12),
	pg_temp.e('d', 2, NULL, 13), pg_temp.e('c', 3, 'gone', 14), pg_temp.e('d', 3, NULL, 15), pg_temp.e('c', 3, 'back', 16);
CALL edw_stream.drain('ap_order');
TABLE now;
SELECT pg_temp.counts('item');

-- O1: older and equal positions change nothing, alone …
SELECT pg_temp.e('u', 1, 'older', 10);
CALL edw_stream.drain('ap_order');
SELECT pg_temp.e('u', 1, 'equal', 11);
CALL edw_stream.drain('ap_order');
-- … and within one batch, before and after a newer one
SELECT pg_temp.e('u', 1, 'three', 21), pg_temp.e('u', 1, 'older', 20), pg_temp.e('u', 1, 'equal', 21);
CALL edw_stream.drain('ap_order');
TABLE now;
SELECT pg_temp.counts('item');

-- O7: a key in another partition
SELECT pg_temp.e('u', 1, 'four', 30, 1), pg_temp.e('u', 1, 'late', 29, 0);
CALL edw_stream.drain('ap_order');
TABLE now;

-- O8: a late older event does not bring a deleted row back; a newer insert does. Also where the
-- delete came first of all
SELECT pg_temp.e('d', 1, NULL, 40), pg_temp.e('d', 9, NULL, 41);
CALL edw_stream.drain('ap_order');
SELECT pg_temp.e('u', 1, 'late', 35), pg_temp.e('c', 9, 'late', 39), pg_temp.e('d', 9, NULL, 38);
CALL edw_stream.drain('ap_order');
TABLE now;
SELECT key, edw_stream.describe_position(position) FROM edw_stream.tombstone AS t
	JOIN edw_stream.mapping USING (mapping_id) WHERE target = 'item'::regclass ORDER BY key;
SELECT pg_temp.e('c', 1, 'again', 50);
CALL edw_stream.drain('ap_order');
TABLE now;

-- O9: a tombstone after its delete is nothing, alone it is a delete; the change that it deleted may come again
SELECT pg_temp.e('d', 3, NULL, 60), pg_temp.tombstone('ap_order', 'item', '{"id":3}');
CALL edw_stream.drain('ap_order');
SELECT pg_temp.tombstone('ap_order', 'item', '{"id":1}');
CALL edw_stream.drain('ap_order');
TABLE now;
SELECT pg_temp.e('u', 1, 'late', 49), pg_temp.e('c', 1, 'again', 50);
CALL edw_stream.drain('ap_order');
TABLE now;

-- O5: rows of an incremental snapshot have no position: Kafka's order, and the row keeps its own
SELECT pg_temp.send('ap_order', 'item', 'r', '{"id":1,"v":"read"}', NULL, NULL, snapshot => 'incremental'),
	pg_temp.send('ap_order', 'item', 'r', '{"id":7,"v":"read"}', NULL, NULL, snapshot => 'incremental');
CALL edw_stream.drain('ap_order');
TABLE now;
SELECT pg_temp.e('u', 1, 'older than the row', 45), pg_temp.e('u', 7, 'older than none', 5);
CALL edw_stream.drain('ap_order');
TABLE now;
SELECT pg_temp.counts('item');

-- O8 with several workers: a delete that meets nothing takes the mapping for itself, and counts once
-- (the inbox has one worker by itself; drain does the same as one of two)
SELECT edw_stream.create_stream('ap_two', NULL, '{two}');
UPDATE edw_stream.stream SET workers = 2 WHERE name = 'ap_two';
CREATE TABLE two (id int PRIMARY KEY, v text);
SELECT edw_stream.map_table('ap_two', 'two', 'two', on_truncate => 'apply');
SELECT pg_temp.send('ap_two', 'two', 'd', '{"id":1}', 10), pg_temp.send('ap_two', 'two', 'c', '{"id":2,"v":"two"}', 11);
CALL edw_stream.drain('ap_two');
SELECT pg_temp.send('ap_two', 'two', 'c', '{"id":1,"v":"late"}', 9, partition => 1), pg_temp.send('ap_two', 'two', 't', NULL, 12);
CALL edw_stream.drain('ap_two');
SELECT id, v FROM two;
SELECT pg_temp.counts('two');

-- O7: changes whose key another partition had in the same commit are counted (moved), besides what became
-- of them; not those of a key in one partition, nor those that come in a commit of their own
SELECT edw_stream.create_stream('ap_moved', NULL, '{moved}');
CREATE TABLE moved (id int PRIMARY KEY, v text);
SELECT edw_stream.map_table('ap_moved', 'moved', 'moved');
CREATE FUNCTION pg_temp.m(op text, id int, lsn bigint, partition int) RETURNS void LANGUAGE sql AS $$
	SELECT pg_temp.send('ap_moved', 'moved', op, CASE op WHEN 'd' THEN jsonb_build_object('id', id)
		ELSE jsonb_build_object('id', id, 'v', lsn) END, lsn, partition => partition) $$;
SELECT pg_temp.m('c', 1, 1, 0), pg_temp.m('u', 1, 2, 0), pg_temp.m('c', 2, 3, 1), pg_temp.m('u', 2, 4, 1);
CALL edw_stream.drain('ap_moved');
SELECT pg_temp.m('u', 1, 5, 1), pg_temp.m('u', 2, 6, 0);
CALL edw_stream.drain('ap_moved');
SELECT moved FROM edw_stream.tables WHERE stream = 'ap_moved';
SELECT pg_temp.m('u', 1, 12, 0), pg_temp.m('u', 1, 11, 1), pg_temp.m('d', 2, 13, 0), pg_temp.m('c', 2, 14, 1), pg_temp.m('u', 2, 15, 1);
CALL edw_stream.drain('ap_moved');
SELECT id, v, t.moved FROM moved, edw_stream.tables AS t WHERE stream = 'ap_moved' ORDER BY id;
SELECT pg_temp.counts('moved');
