-- Deferred views: partitions are noted in the commit that changed them, merged, and worked off by refresh_view. A
-- max_staleness of a day keeps the refresher out of it.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/views.sql'
\set ECHO none
\i :include
\set ECHO all
CREATE SCHEMA pd;
SET search_path = pd;
CREATE TABLE fact (id int PRIMARY KEY, day date, n int);
INSERT INTO fact SELECT i, '2026-01-01'::date + i % 30, i FROM generate_series(1, 300) i;
CREATE MATERIALIZED VIEW by_day AS SELECT day, sum(n) AS n FROM fact GROUP BY day;
SELECT edw_stream.register_view('by_day', '{day}', 'deferred', '{"max_staleness": "1 day"}');
CREATE FUNCTION pending(of regclass) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT coalesce(keys::text, 'all') FROM edw_stream.view_pending WHERE view = of ORDER BY keys $$;
SELECT edw_stream.refresh_view('by_day');
SELECT pending('by_day');
SELECT state, pending, staleness FROM edw_stream.views WHERE view = 'by_day'::regclass;

-- each statement's partitions, once per commit
BEGIN;
UPDATE fact SET n = n + 1 WHERE day = '2026-01-03';
UPDATE fact SET n = n + 1 WHERE day = '2026-01-03';
UPDATE fact SET day = '2026-02-01' WHERE id = 1;
INSERT INTO fact VALUES (1001, NULL, 1);
SELECT pending('by_day');
COMMIT;
SELECT pending('by_day');
-- rolled back: nothing
BEGIN;
SAVEPOINT a;
UPDATE fact SET n = 0 WHERE day = '2026-01-05';
ROLLBACK TO a;
COMMIT;
DELETE FROM fact WHERE day = '2026-01-03' AND id > 50;
SELECT state, pending, staleness > '0', reason FROM edw_stream.views WHERE view = 'by_day'::regclass;
SELECT pg_temp.wrong('by_day');
-- whole: TRUNCATE and the like
BEGIN;
TRUNCATE fact;
COMMIT;
INSERT INTO fact SELECT i, '2026-01-01'::date + i % 30, i FROM generate_series(1, 300) i;
SELECT DISTINCT pending('by_day');
SELECT state, pending FROM edw_stream.views WHERE view = 'by_day'::regclass;
SELECT edw_stream.refresh_view('by_day');
SELECT pg_temp.wrong('by_day');
SELECT state, pending, staleness FROM edw_stream.views WHERE view = 'by_day'::regclass;

-- keys of any type are read back as they were, whatever the session's settings, and with several columns
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TYPE pair AS (a int, b text);
CREATE TABLE odd (id int PRIMARY KEY, t text, f float8, tz timestamptz, i interval, m mood, a uuid, n numeric, b bytea, p pair, c char(5), total int);
CREATE MATERIALIZED VIEW odd_view AS SELECT t, f, tz, i, m, a, n, b, p, c, sum(total) AS total FROM odd GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10;
SELECT edw_stream.register_view('odd_view', '{t,f,tz,i,m,a,n,b,p,c}', 'deferred', '{"max_staleness": "1 day"}');
SELECT edw_stream.refresh_view('odd_view');
SET extra_float_digits = -15;
SET datestyle = 'SQL, DMY';
SET timezone = 'America/St_Johns';
SET intervalstyle = 'sql_standard';
INSERT INTO odd VALUES
	(1, E'quote"\\{,}\n''', 0.1::float8 + 0.2, '2026-11-01 01:30:00.123456-02:30', '-1 year 2 days -3:04:05.6', 'sad', '0b5c1a52-0000-4000-8000-00000000000a', 1.50, '\x00ff', (1, 'x,"y"'), 'ab', 1),
	(2, NULL, 'NaN', 'infinity', NULL, NULL, '00000000-0000-0000-0000-000000000000', 'NaN', '', NULL, '', 2),
	(3, 'NULL', '-0', '-infinity', '0', 'ok', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 1e30, NULL, (NULL, NULL), NULL, 3),
	(4, '', 1e-300, '0044-03-15 BC', '178000000 years', 'ok', NULL, -0.00, '\x5c', (2, ''), 'abcde', 4);
RESET ALL;
SET client_min_messages = warning;
SET search_path = pd;
SELECT count(*) FROM pending('odd_view');
-- the refresher, from here on: it refreshes the partitions alone
CREATE FUNCTION hurry(of regclass) RETURNS void LANGUAGE sql AS $$
	UPDATE edw_stream.view SET options = '{"max_staleness": "100ms"}' WHERE view = of $$;
CREATE PROCEDURE await(of regclass, wanted text DEFAULT 'fresh') LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 3600 LOOP
		EXIT WHEN coalesce((SELECT state = wanted FROM edw_stream.views WHERE view = of), true);
		COMMIT;
		PERFORM pg_sleep(0.05);
	END LOOP;
END $$;
SELECT pg_temp.counts('odd_view') IS NOT NULL;
BEGIN;
SELECT hurry('odd_view');
UPDATE odd SET total = total + 1 WHERE id = 3;
COMMIT;
CALL await('odd_view');
SELECT pg_temp.wrong('odd_view'), pg_temp.counts('odd_view');
SELECT total FROM odd_view ORDER BY total;

-- a key that its type does not read any more costs a refresh of the whole view
SELECT pg_temp.counts('odd_view') IS NOT NULL;
BEGIN;
UPDATE odd SET total = total + 1 WHERE id IN (1, 3);
ALTER TYPE mood RENAME VALUE 'sad' TO 'blue';
COMMIT;
CALL await('odd_view');
SELECT pg_temp.wrong('odd_view');
UPDATE edw_stream.view SET options = '{"max_staleness": "1 day"}' WHERE view = 'odd_view'::regclass;
UPDATE odd SET total = total + 1 WHERE id IN (1, 3);
SELECT pg_temp.counts('odd_view') IS NOT NULL;
BEGIN;
ALTER TYPE mood RENAME VALUE 'blue' TO 'sad';
SELECT hurry('odd_view');
UPDATE odd SET total = total + 1 WHERE id = 2;
COMMIT;
CALL await('odd_view');
SELECT pg_temp.wrong('odd_view'), pg_temp.counts('odd_view');

-- what nobody works off is merged, and becomes one row for all when it is much
UPDATE edw_stream.view SET options = '{"max_staleness": "1 day"}', reason = 'refresh_failed', message = 'm', hint = 'h'
	WHERE view = 'by_day'::regclass;
SELECT state, reason, message, hint FROM edw_stream.views WHERE view = 'by_day'::regclass;
DO $$
BEGIN
	FOR i IN 1 .. 1100 LOOP
		UPDATE fact SET n = n + 1 WHERE id <= 10;
		COMMIT;
	END LOOP;
END $$;
SELECT count(*) < 4096 + 10, count(DISTINCT keys) FROM edw_stream.view_pending WHERE view = 'by_day'::regclass;
SELECT pending FROM edw_stream.views WHERE view = 'by_day'::regclass;
CREATE TABLE much (id int PRIMARY KEY, n int);
INSERT INTO much SELECT i, i FROM generate_series(1, 30000) i;
CREATE MATERIALIZED VIEW many AS SELECT id, sum(n) AS n FROM much GROUP BY id;
ANALYZE many;
SELECT edw_stream.register_view('many', '{id}', 'deferred', '{"max_staleness": "1 day"}');
SELECT edw_stream.refresh_view('many');
UPDATE much SET n = n + 1 WHERE id <= 11000;
SELECT count(*), count(DISTINCT keys) FROM edw_stream.view_pending WHERE view = 'many'::regclass;
UPDATE edw_stream.view SET reason = 'refresh_failed' WHERE view = 'many'::regclass;
UPDATE much SET n = n + 1 WHERE id BETWEEN 10000 AND 15000;
SELECT pending('many');
SELECT edw_stream.refresh_view('many');
SELECT pg_temp.wrong('many'), state, pending FROM edw_stream.views WHERE view = 'many'::regclass;
-- refresh_view mends it
SELECT edw_stream.refresh_view('by_day');
SELECT state, reason, message, hint, pending FROM edw_stream.views WHERE view = 'by_day'::regclass;
SELECT pg_temp.wrong('by_day');

-- a view that was forgotten leaves nothing
UPDATE fact SET n = n + 1 WHERE id <= 10;
SELECT edw_stream.unregister_view('by_day');
SELECT count(*) FROM edw_stream.view_pending WHERE view = 'by_day'::regclass;

-- whose views one sees
CREATE ROLE regress_view_owner;
CREATE ROLE regress_view_other;
CREATE ROLE regress_view_monitor IN ROLE pg_monitor;
ALTER MATERIALIZED VIEW odd_view OWNER TO regress_view_owner;
SET ROLE regress_view_owner;
SELECT view_name, owner, method FROM edw_stream.views;
SET ROLE regress_view_monitor;
SELECT view_name, owner FROM edw_stream.views ORDER BY 1;
SET ROLE regress_view_other;
SELECT view_name, owner FROM edw_stream.views ORDER BY 1;
RESET ROLE;
DROP SCHEMA pd CASCADE;
DROP ROLE regress_view_owner, regress_view_other, regress_view_monitor;
