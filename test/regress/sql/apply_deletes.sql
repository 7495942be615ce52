-- on_delete, on_truncate and filter.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/events.sql'
\set ECHO none
\i :include
\set ECHO all
CREATE SCHEMA ap_del;
SET search_path = ap_del, pg_catalog;
SELECT edw_stream.create_stream('ap_del', NULL, '{soft,ignored,trunc,filtered,log}');
CREATE FUNCTION pg_temp.e(topic text, op text, id int, v text, lsn bigint) RETURNS void LANGUAGE sql AS $$
	SELECT pg_temp.send('ap_del', topic, op,
		CASE op WHEN 'd' THEN jsonb_build_object('id', id) ELSE jsonb_build_object('id', id, 'v', v) END, lsn) $$;

-- soft: the row stays, marked, and comes back; what a batch inserts and deletes is there, too
CREATE TABLE soft (id int PRIMARY KEY, v text);
SELECT edw_stream.map_table('ap_del', 'soft', 'soft', on_delete => 'soft');
SELECT pg_temp.e('soft', 'c', 1, 'a', 1), pg_temp.e('soft', 'c', 2, 'b', 2);
CALL edw_stream.drain('ap_del');
SELECT pg_temp.e('soft', 'd', 1, NULL, 3), pg_temp.e('soft', 'c', 3, 'c', 4), pg_temp.e('soft', 'd', 3, NULL, 5),
	pg_temp.e('soft', 'u', 2, 'b2', 6), pg_temp.e('soft', 'd', 2, NULL, 7);
CALL edw_stream.drain('ap_del');
SELECT id, v, _edw_deleted FROM soft ORDER BY id;
SELECT pg_temp.e('soft', 'c', 1, 'again', 10), pg_temp.e('soft', 'u', 2, 'late', 6);
CALL edw_stream.drain('ap_del');
SELECT id, v, _edw_deleted FROM soft ORDER BY id;
SELECT pg_temp.counts('soft');

-- ignore
CREATE TABLE ignored (id int PRIMARY KEY, v text);
SELECT edw_stream.map_table('ap_del', 'ignored', 'ignored', on_delete => 'ignore', on_truncate => 'ignore');
SELECT pg_temp.e('ignored', 'c', 1, 'a', 1), pg_temp.e('ignored', 'd', 1, NULL, 2), pg_temp.e('ignored', 't', NULL, NULL, 3);
CALL edw_stream.drain('ap_del');
SELECT id, v FROM ignored;
SELECT pg_temp.counts('ignored');

-- P4: a truncate is a barrier: what is older goes and stays out, what is newer stays, in one batch and in several
CREATE TABLE trunc (id int PRIMARY KEY, v text);
SELECT edw_stream.map_table('ap_del', 'trunc', 'trunc', on_truncate => 'apply');
SELECT pg_temp.e('trunc', 'c', 1, 'old', 1), pg_temp.e('trunc', 'c', 2, 'newer', 9);
CALL edw_stream.drain('ap_del');
SELECT pg_temp.e('trunc', 'c', 3, 'old', 2), pg_temp.e('trunc', 'c', 4, 'newer', 6), pg_temp.e('trunc', 't', NULL, NULL, 5),
	pg_temp.e('trunc', 'c', 5, 'late', 4), pg_temp.e('trunc', 'c', 6, 'newer', 7);
CALL edw_stream.drain('ap_del');
SELECT id, v FROM trunc ORDER BY id;
SELECT pg_temp.e('trunc', 'c', 5, 'late', 4), pg_temp.e('trunc', 't', NULL, NULL, 5);
CALL edw_stream.drain('ap_del');
SELECT id, v FROM trunc ORDER BY id;
SELECT pg_temp.counts('trunc');

-- a filter: the target is the filtered source, whatever a row was before
CREATE TABLE filtered (id int PRIMARY KEY, v text);
SELECT edw_stream.map_table('ap_del', 'filtered', 'filtered', filter => $$v LIKE 'EU%'$$);
SELECT pg_temp.e('filtered', 'c', 1, 'EU', 1), pg_temp.e('filtered', 'c', 2, 'US', 2), pg_temp.e('filtered', 'c', 3, NULL, 3);
CALL edw_stream.drain('ap_del');
SELECT pg_temp.e('filtered', 'u', 1, 'US', 10), pg_temp.e('filtered', 'u', 2, 'EU2', 11);
CALL edw_stream.drain('ap_del');
SELECT pg_temp.e('filtered', 'u', 1, 'EU late', 9);
CALL edw_stream.drain('ap_del');
SELECT id, v FROM filtered ORDER BY id;
SELECT pg_temp.counts('filtered');

-- append: a row an event
CREATE TABLE log (id int, v text, at timestamptz DEFAULT '2026-01-01');
SELECT edw_stream.map_table('ap_del', 'log', 'log', apply => 'append');
SELECT pg_temp.e('log', 'c', 1, 'a', 1), pg_temp.e('log', 'u', 1, 'b', 2), pg_temp.e('log', 'd', 1, NULL, 3),
	pg_temp.e('log', 'u', 1, '__debezium_unavailable_value', 4);
CALL edw_stream.drain('ap_del');
SELECT id, v, at = '2026-01-01' AS dflt FROM log ORDER BY v;
SELECT pg_temp.counts('log');

-- error: the stream stalls and says why; nothing of the batch is applied
SELECT edw_stream.create_stream('ap_err', NULL, '{strict}');
CREATE TABLE strict (id int PRIMARY KEY, v text);
SELECT edw_stream.map_table('ap_err', 'strict', 'strict', on_delete => 'error');
SELECT pg_temp.send('ap_err', 'strict', 'c', '{"id":1,"v":"a"}', 1), pg_temp.send('ap_err', 'strict', 'd', '{"id":1}', 2);
CALL edw_stream.drain('ap_err');
SELECT state, reason, message FROM edw_stream.streams WHERE name = 'ap_err';
SELECT edw_stream.unmap_table('ap_err', 'strict');
SELECT edw_stream.map_table('ap_err', 'strict', 'strict');
-- start clears the stall
BEGIN;
SELECT edw_stream.start('ap_err');
SELECT edw_stream.pause('ap_err');
COMMIT;
CALL edw_stream.drain('ap_err');
SELECT id, v FROM strict;
SELECT pg_temp.send('ap_err', 'strict', 't', NULL, 3);
CALL edw_stream.drain('ap_err');
SELECT state, reason, message FROM edw_stream.streams WHERE name = 'ap_err';
