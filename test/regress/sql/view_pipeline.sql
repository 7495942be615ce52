-- Registered views follow a stream in its own commits; an error of a view is put down to no message.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/views.sql'
\set ECHO none
\i :include
\set ECHO all
CREATE SCHEMA vp;
SET search_path = vp;
CREATE FUNCTION pg_temp.check() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s %s', view, CASE pg_temp.wrong(view) WHEN 0 THEN 'fresh' ELSE 'WRONG' END),
		', ' ORDER BY view::text) FROM edw_stream.view $$;

CREATE TABLE item (id int PRIMARY KEY, day date, qty int CHECK (qty >= 0));
CREATE MATERIALIZED VIEW by_day AS SELECT day, sum(qty) AS qty, sum(100 / nullif(qty, 7)) AS share FROM item GROUP BY day;
CREATE INDEX ON by_day (day);
SELECT edw_stream.register_view('by_day', '{day}');
SELECT edw_stream.create_stream('vp', NULL, '{item}', 'json');
SELECT edw_stream.map_table('vp', 'item', 'item', on_delete => 'delete');
CREATE FUNCTION send(id int, day date, qty int) RETURNS bigint LANGUAGE sql AS $$
	SELECT edw_stream.push('vp', 'item', format('{"id":%s}', id),
		CASE WHEN qty IS NOT NULL THEN format('{"id":%s,"day":"%s","qty":%s}', id, to_char(day, 'YYYY-MM-DD'), qty) END) $$;

-- once per batch
SELECT count(send(i, date '2024-01-01' + i % 10, i)) FROM generate_series(1, 500) i;
CALL edw_stream.drain('vp');
SELECT pg_temp.check(), pg_temp.counts('by_day');
SELECT count(send(i, date '2024-01-02', i)) FROM generate_series(1, 500, 100) i;
SELECT send(7, NULL, NULL);
CALL edw_stream.drain('vp');
SELECT pg_temp.check(), pg_temp.counts('by_day');

-- a poison message is found beside the view, which is not written for tries that are rolled back
SELECT refreshes FROM edw_stream.view_stat WHERE view = 'by_day'::regclass \gset
SELECT count(send(i, date '2024-01-03', CASE i WHEN 77 THEN -1 ELSE i END)) FROM generate_series(1, 100) i;
CALL edw_stream.drain('vp');
SELECT pg_temp.check(), refreshes - :refreshes AS refreshes FROM edw_stream.view_stat WHERE view = 'by_day'::regclass;
SELECT reason, message FROM edw_stream.dead_letters WHERE stream = 'vp';

-- a dead letter that is retried: the caller's commit brings the view up to date
ALTER TABLE item DROP CONSTRAINT item_qty_check;
SELECT resolved FROM edw_stream.retry_dead_letters('vp');
SELECT pg_temp.check(), (SELECT qty FROM item WHERE id = 77);

-- an error of the view stalls the stream, naming it; nothing is applied, no message is dead
SELECT send(1000, '2024-05-05', 5), send(1001, '2024-05-05', 0);
\set VERBOSITY default
CALL edw_stream.drain('vp');
\set VERBOSITY terse
SELECT state, reason, message, hint FROM edw_stream.streams WHERE name = 'vp';
SELECT count(*) FROM item WHERE id >= 1000;
SELECT count(*) FROM edw_stream.dead_letters WHERE stream = 'vp' AND status = 'open';
SELECT pg_temp.check();
-- unregistered it is in nobody's way, and registered again it is fresh
SELECT edw_stream.unregister_view('by_day');
SELECT edw_stream.seek('vp', 'item', 0, committed) FROM edw_stream.partitions WHERE stream = 'vp';
CALL edw_stream.drain('vp');
SELECT count(*) FROM item WHERE id >= 1000;
SELECT edw_stream.register_view('by_day', '{day}');
SELECT send(1001, '2024-05-05', 1);
CALL edw_stream.drain('vp');
SELECT edw_stream.register_view('by_day', '{day}');
SELECT pg_temp.check();

-- an error of the view on dead letters that are retried is the statement's
SELECT send(2000, '2024-06-06', 6);
ALTER TABLE item ADD CHECK (id <> 2000) NOT VALID;
CALL edw_stream.drain('vp');
SELECT edw_stream.unregister_view('by_day');
CREATE MATERIALIZED VIEW picky AS SELECT day, 1 / (min(id) - 2000) AS x FROM item WHERE id > 1000 AND day > '2024-06-01' GROUP BY day;
CREATE INDEX ON picky (day);
SELECT edw_stream.register_view('picky', '{day}');
ALTER TABLE item DROP CONSTRAINT item_id_check;
SELECT resolved FROM edw_stream.retry_dead_letters('vp');
SELECT status, reason FROM edw_stream.dead_letters WHERE stream = 'vp' AND reason = 'check_violation' ORDER BY id;

SELECT edw_stream.drop_stream('vp');
DROP SCHEMA vp CASCADE;
