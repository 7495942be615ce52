-- P3: primary keys that move within one source transaction.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/events.sql'
\set ECHO none
\i :include
\set ECHO all
CREATE SCHEMA ap_moves;
SET search_path = ap_moves, pg_catalog;
SELECT edw_stream.create_stream('ap_moves', NULL, '{item,code}');
CREATE TABLE item (id int PRIMARY KEY, v text);
SELECT edw_stream.map_table('ap_moves', 'item', 'item');
CREATE FUNCTION pg_temp.move(id int, new_id int, v text, lsn bigint, tx bigint) RETURNS void LANGUAGE sql AS $$
	SELECT pg_temp.move('ap_moves', 'item', jsonb_build_object('id', id),
		jsonb_build_object('id', new_id, 'v', v), lsn, tx) $$;
CREATE FUNCTION pg_temp.add(id int, v text, lsn bigint) RETURNS void LANGUAGE sql AS $$
	SELECT pg_temp.send('ap_moves', 'item', 'c', jsonb_build_object('id', id, 'v', v), lsn) $$;
CREATE VIEW now AS SELECT id, v FROM item ORDER BY id;

-- UPDATE … SET id = id + 1 of 1 and 2: 2 is displaced, then leaves
SELECT pg_temp.add(1, 'one', 10), pg_temp.add(2, 'two', 11);
CALL edw_stream.drain('ap_moves');
SELECT pg_temp.move(1, 2, 'one', 20, 15), pg_temp.move(2, 3, 'two', 21, 15);
CALL edw_stream.drain('ap_moves');
TABLE now;
-- delivered again it changes nothing
SELECT pg_temp.move(1, 2, 'one', 20, 15), pg_temp.move(2, 3, 'two', 21, 15);
CALL edw_stream.drain('ap_moves');
TABLE now;
-- the whole of it in one batch with what was before
SELECT pg_temp.add(11, 'one', 22), pg_temp.add(12, 'two', 23), pg_temp.move(11, 12, 'one', 30, 25), pg_temp.move(12, 13, 'two', 31, 25);
CALL edw_stream.drain('ap_moves');
TABLE now;
-- a commit in the midst: the row remembers that it displaced another one
SELECT pg_temp.move(2, 3, 'one', 40, 35);
CALL edw_stream.drain('ap_moves');
TABLE now;
SELECT pg_temp.move(3, 4, 'two', 41, 35);
CALL edw_stream.drain('ap_moves');
TABLE now;
-- a later transaction deletes the row that stayed
SELECT pg_temp.send('ap_moves', 'item', 'd', '{"id":3}', 50, 45);
CALL edw_stream.drain('ap_moves');
TABLE now;

-- 4 to 5 to 6: nothing was at 5 before, nothing is after; in one batch …
SELECT pg_temp.move(4, 5, 'two', 60, 55), pg_temp.move(5, 6, 'two', 61, 55);
CALL edw_stream.drain('ap_moves');
TABLE now;
-- … and in two
SELECT pg_temp.move(6, 7, 'two', 70, 65);
CALL edw_stream.drain('ap_moves');
SELECT pg_temp.move(7, 8, 'two', 71, 65);
CALL edw_stream.drain('ap_moves');
TABLE now;
-- two rows change places by way of a third
SELECT pg_temp.move(12, 99, 'one', 80, 75), pg_temp.move(13, 12, 'two', 81, 75), pg_temp.move(99, 13, 'one', 82, 75);
CALL edw_stream.drain('ap_moves');
TABLE now;
SELECT pg_temp.counts('item');

-- a key of the mapping's own: the old one stands in before
CREATE TABLE code (code text PRIMARY KEY, v text);
SELECT edw_stream.map_table('ap_moves', 'code', 'code', keys => '{code}');
SELECT pg_temp.send('ap_moves', 'code', 'c', '{"id":1,"code":"A","v":"one"}', 100),
	pg_temp.send('ap_moves', 'code', 'c', '{"id":2,"code":"B","v":"two"}', 101);
CALL edw_stream.drain('ap_moves');
SELECT pg_temp.send('ap_moves', 'code', 'u', '{"id":1,"code":"C","v":"moved"}', 110, 105, before => '{"id":1,"code":"A","v":"one"}');
CALL edw_stream.drain('ap_moves');
SELECT code, v FROM code ORDER BY code;
-- the two change codes, within one transaction with a deferred constraint
SELECT pg_temp.send('ap_moves', 'code', 'u', '{"id":1,"code":"B","v":"one"}', 120, 115, before => '{"id":1,"code":"C","v":"moved"}'),
	pg_temp.send('ap_moves', 'code', 'u', '{"id":2,"code":"C","v":"two"}', 121, 115, before => '{"id":2,"code":"B","v":"two"}');
CALL edw_stream.drain('ap_moves');
SELECT code, v FROM code ORDER BY code;
SELECT pg_temp.counts('code');
