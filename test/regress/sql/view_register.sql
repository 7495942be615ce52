-- register_view refuses what is wrong at the call, says what would be right, and leaves nothing (H1)
\pset format unaligned
\pset tuples_only on
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/raises.sql'
\set ECHO none
\i :include
\set ECHO all
CREATE SCHEMA dw;
CREATE TABLE dw.sales (id int PRIMARY KEY, day date, store int, amount numeric, doc json, tags text[]);
CREATE MATERIALIZED VIEW dw.daily AS
	SELECT day, store, sum(amount) AS total FROM dw.sales GROUP BY day, store;
CREATE MATERIALIZED VIEW dw.plain AS SELECT id, day, doc, tags, point(1, 2) AS p FROM dw.sales;

-- arguments
SELECT pg_temp.raises($$SELECT edw_stream.register_view(NULL, '{day}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.register_view('dw.daily', NULL)$$);
SELECT pg_temp.raises($$SELECT edw_stream.register_view('dw.daily', '{}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.register_view('dw.daily', '{{day}}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.register_view('dw.daily', '{day,NULL}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.register_view('dw.daily', '{day,day}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.register_view('dw.daily', '{dya}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.register_view('dw.daily', '{ctid}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.register_view('dw.daily', '{day}', 'later')$$);
SELECT pg_temp.raises($$SELECT edw_stream.register_view('dw.daily', '{day}', options => '[]')$$);
SELECT pg_temp.raises($$SELECT edw_stream.register_view('dw.daily', '{day}', options => '{"max_stalenes": "1s"}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.register_view('dw.daily', '{day}', options => '{"max_staleness": "1s"}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.register_view('dw.daily', '{day}', 'deferred', '{"max_staleness": "-1s"}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.register_view('dw.daily', '{day}', options => '{"fallback": "none"}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.register_view('dw.daily', '{day}', options => '{"method": "delta"}')$$);

-- the relation
CREATE VIEW dw.daily_view AS SELECT day FROM dw.sales;
SELECT pg_temp.raises($$SELECT edw_stream.register_view('dw.daily_view', '{day}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.register_view('dw.sales', '{day}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.register_view('dw.nosuch', '{day}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.register_view(1, '{day}')$$);
CREATE MATERIALIZED VIEW dw.empty AS SELECT day FROM dw.sales WITH NO DATA;
SELECT pg_temp.raises($$SELECT edw_stream.register_view('dw.empty', '{day}')$$);

-- partition columns must be of a type with equality, hashing and arrays
SELECT pg_temp.raises($$SELECT edw_stream.register_view('dw.plain', '{doc}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.register_view('dw.plain', '{tags}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.register_view('dw.plain', '{p}')$$);

-- what the view reads
CREATE FUNCTION pg_temp.try(query text, columns text[], options jsonb DEFAULT '{}') RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE 'CREATE MATERIALIZED VIEW dw.tried AS ' || query;
	RETURN QUERY SELECT pg_temp.raises(format('SELECT edw_stream.register_view(''dw.tried'', %L, options => %L)',
		columns, options));
	DROP MATERIALIZED VIEW dw.tried;
END $$;
CREATE FOREIGN DATA WRAPPER regress_view;
CREATE SERVER regress_view_server FOREIGN DATA WRAPPER regress_view;
CREATE TABLE dw.parted (day date) PARTITION BY LIST (day);
CREATE UNLOGGED TABLE dw.unlogged (day date);
CREATE SEQUENCE dw.seq;
SELECT pg_temp.try('SELECT relname FROM pg_catalog.pg_class', '{relname}');
SELECT pg_temp.try('SELECT table_name::text FROM information_schema.tables', '{table_name}', '{"fallback": "full"}');
SELECT pg_temp.try('SELECT day FROM dw.unlogged', '{day}');
SELECT pg_temp.try('SELECT last_value FROM dw.seq', '{last_value}');
SELECT pg_temp.try('SELECT name FROM edw_stream.stream', '{name}');
SELECT pg_temp.try('SELECT day FROM dw.sales FOR SHARE', '{day}');
CREATE MATERIALIZED VIEW dw.over_foreign AS SELECT day FROM dw.parted;
CREATE FOREIGN TABLE dw.part_foreign PARTITION OF dw.parted DEFAULT SERVER regress_view_server;
SELECT pg_temp.raises($$SELECT edw_stream.register_view('dw.over_foreign', '{day}')$$);

-- none of it left a trace
SELECT count(*) FROM edw_stream.view;
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'dw.sales'::regclass;

-- registered: an index (by delta, on the grouping columns), a row, triggers
SELECT edw_stream.register_view('dw.daily', '{day}');
SELECT view, view_name, partition_by, refresh, options, reason FROM edw_stream.view;
SELECT view, base FROM edw_stream.view_base;
SELECT view FROM edw_stream.view_stat;
SELECT count(*) > 0 FROM pg_trigger WHERE tgrelid = 'dw.sales'::regclass;
SELECT indexdef FROM pg_indexes WHERE tablename = 'daily';
SELECT pg_temp.raises($$SELECT edw_stream.register_view('dw.daily', '{store}')$$);

-- rows that changed between the last REFRESH and the registration are in the view
INSERT INTO dw.sales VALUES (1, '2026-01-01', 1, 10);
SELECT edw_stream.register_view('dw.plain', '{day}', 'deferred', '{"max_staleness": "1 min"}');
SELECT id, day FROM dw.plain;
SELECT view, refresh, options FROM edw_stream.view ORDER BY view::text;

-- an index that fits is taken as it is, in whatever order it has the columns
SELECT edw_stream.unregister_view('dw.daily');
DROP INDEX dw.daily_day_store_idx;
CREATE INDEX daily_both ON dw.daily (store, day, total);
SELECT edw_stream.register_view('dw.daily', '{day,store}', options => '{"method": "partition"}');
SELECT edw_stream.unregister_view('dw.daily');
DROP INDEX dw.daily_both;
CREATE INDEX daily_partial ON dw.daily (day) WHERE store = 1;
SELECT edw_stream.register_view('dw.daily', '{day}', options => '{"method": "partition"}');

-- unregistered: what is needed no more goes, the view stays
SELECT pg_temp.raises($$SELECT edw_stream.unregister_view(NULL)$$);
SELECT edw_stream.unregister_view('dw.daily');
SELECT count(*) > 0 FROM pg_trigger WHERE tgrelid = 'dw.sales'::regclass;
SELECT edw_stream.unregister_view('dw.plain');
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'dw.sales'::regclass;
SELECT pg_temp.raises($$SELECT edw_stream.unregister_view('dw.plain')$$);
SELECT pg_temp.raises($$SELECT edw_stream.explain_view('dw.plain')$$);
SELECT (SELECT count(*) FROM edw_stream.view), (SELECT count(*) FROM edw_stream.view_base),
	(SELECT count(*) FROM edw_stream.view_stat), (SELECT count(*) FROM edw_stream.view_pending);
SELECT * FROM dw.daily;
REFRESH MATERIALIZED VIEW dw.daily;

-- rolled back, a registration has done nothing
BEGIN;
SELECT edw_stream.register_view('dw.daily', '{day}');
ROLLBACK;
INSERT INTO dw.sales VALUES (2, '2026-01-02', 1, 10);
SELECT count(*) FROM edw_stream.view;
SELECT * FROM dw.daily ORDER BY day;

-- nor where nothing may be written
BEGIN READ ONLY;
SELECT pg_temp.raises($$SELECT edw_stream.register_view('dw.daily', '{day}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.unregister_view('dw.daily')$$);
SELECT pg_temp.raises($$SELECT edw_stream.refresh_view('dw.daily')$$);
ROLLBACK;

-- only the owner of the view may, and only with the right to put triggers on what it reads
CREATE ROLE regress_view_other;
GRANT USAGE ON SCHEMA dw, edw_stream TO regress_view_other;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA edw_stream TO regress_view_other;
GRANT SELECT ON ALL TABLES IN SCHEMA dw TO regress_view_other;
SET ROLE regress_view_other;
SELECT pg_temp.raises($$SELECT edw_stream.register_view('dw.daily', '{day}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.unregister_view('dw.daily')$$);
SELECT pg_temp.raises($$SELECT edw_stream.explain_view('dw.daily')$$);
RESET ROLE;
ALTER MATERIALIZED VIEW dw.plain OWNER TO regress_view_other;
SET ROLE regress_view_other;
SELECT pg_temp.raises($$SELECT edw_stream.register_view('dw.plain', '{day}')$$);
RESET ROLE;

SET client_min_messages = warning;
DROP SCHEMA dw CASCADE;
DROP SERVER regress_view_server CASCADE;
DROP FOREIGN DATA WRAPPER regress_view;
REVOKE ALL ON ALL ROUTINES IN SCHEMA edw_stream FROM regress_view_other;
REVOKE ALL ON SCHEMA edw_stream FROM regress_view_other;
DROP ROLE regress_view_other;
