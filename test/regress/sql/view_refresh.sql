-- Registered views: only affected partitions are computed, only rows that differ are written.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/views.sql'
\set ECHO none
\i :include
\set ECHO all
CREATE SCHEMA vr;
SET search_path = vr, pg_catalog;

-- 1,000 partitions, in each 3 categories
CREATE TABLE fact (id int PRIMARY KEY, day int, cat text, amount numeric);
CREATE INDEX ON fact (day);
INSERT INTO fact SELECT i, i % 1000, 'c' || i % 3, i % 7 FROM generate_series(0, 8999) AS i;
CREATE MATERIALIZED VIEW by_day AS SELECT day, cat, count(*) AS n, sum(amount) AS total FROM fact GROUP BY day, cat;
CREATE UNIQUE INDEX by_day_key ON by_day (day, cat);
COMMENT ON MATERIALIZED VIEW by_day IS 'by day';
ANALYZE by_day;
\pset tuples_only off
\d by_day
\pset tuples_only on
SELECT edw_stream.register_view('by_day', '{day}', options => '{"method": "partition"}');
SELECT pg_temp.look('by_day');
SELECT pg_temp.counts('by_day') IS NOT NULL;

-- one row of one partition: one row of the view
UPDATE fact SET amount = amount + 1 WHERE id = 17;
SELECT pg_temp.changes('by_day'), pg_temp.counts('by_day');
-- nothing that the view shows
UPDATE fact SET amount = amount WHERE day = 17;
SELECT pg_temp.changes('by_day'), pg_temp.counts('by_day');
-- two that level out
BEGIN;
UPDATE fact SET amount = amount + 5 WHERE id = 17;
UPDATE fact SET amount = amount - 5 WHERE id = 17;
COMMIT;
SELECT pg_temp.changes('by_day'), pg_temp.counts('by_day');
-- a row that moves between partitions (G2), one that appears, one that disappears with its partition
UPDATE fact SET day = 18 WHERE id = 17;
SELECT pg_temp.changes('by_day'), pg_temp.counts('by_day');
INSERT INTO fact VALUES (10001, 5000, 'c0', 1);
SELECT pg_temp.changes('by_day'), pg_temp.counts('by_day');
DELETE FROM fact WHERE id = 10001;
SELECT pg_temp.changes('by_day'), pg_temp.counts('by_day');
-- numeric 1.0 is not 1.00
UPDATE fact SET amount = amount::numeric(10, 2) WHERE id = 20;
SELECT pg_temp.changes('by_day'), pg_temp.counts('by_day');
-- NULL is a partition
INSERT INTO fact VALUES (10002, NULL, 'c0', 1), (10003, NULL, NULL, 2);
SELECT pg_temp.changes('by_day'), pg_temp.counts('by_day');
UPDATE fact SET day = 3 WHERE id = 10002;
SELECT pg_temp.changes('by_day'), pg_temp.counts('by_day');
DELETE FROM fact WHERE id >= 10002;
SELECT pg_temp.changes('by_day'), pg_temp.counts('by_day');
-- MERGE and COPY
MERGE INTO fact AS f USING (VALUES (30, 7), (31, 8), (20001, 9)) AS s (id, day) ON f.id = s.id
	WHEN MATCHED AND f.id = 31 THEN DELETE
	WHEN MATCHED THEN UPDATE SET day = s.day
	WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.day, 'c9', 1);
SELECT pg_temp.changes('by_day'), pg_temp.counts('by_day');
COPY fact FROM stdin;
20002	40	c0	3
20003	41	c9	\N
\.
SELECT pg_temp.changes('by_day'), pg_temp.counts('by_day');
-- savepoints: what was rolled back concerns nobody
BEGIN;
UPDATE fact SET amount = 100 WHERE id = 50;
SAVEPOINT a;
UPDATE fact SET amount = 100 WHERE id = 51;
ROLLBACK TO a;
UPDATE fact SET amount = 100 WHERE id = 52;
SAVEPOINT b;
UPDATE fact SET amount = 100 WHERE id = 53;
RELEASE b;
COMMIT;
SELECT pg_temp.changes('by_day'), pg_temp.counts('by_day');
BEGIN;
UPDATE fact SET amount = 200;
ROLLBACK;
SELECT pg_temp.changes('by_day'), pg_temp.counts('by_day');
-- most of the view: computed at once, and only what differs is written
UPDATE fact SET amount = amount + 1 WHERE day < 900 AND cat = 'c1' OR day = 901;
SELECT pg_temp.changes('by_day'), pg_temp.counts('by_day');
-- REFRESH by hand before and after
REFRESH MATERIALIZED VIEW by_day;
SELECT pg_temp.look('by_day'), pg_temp.counts('by_day') IS NOT NULL;
UPDATE fact SET amount = amount + 1 WHERE id = 60;
SELECT pg_temp.changes('by_day'), pg_temp.counts('by_day');
REFRESH MATERIALIZED VIEW CONCURRENTLY by_day;
SELECT pg_temp.changes('by_day'), pg_temp.counts('by_day') IS NOT NULL;
UPDATE fact SET amount = amount + 1 WHERE id = 60;
SELECT pg_temp.changes('by_day'), pg_temp.counts('by_day');
BEGIN;
UPDATE fact SET amount = amount + 1 WHERE id = 60;
REFRESH MATERIALIZED VIEW by_day;
UPDATE fact SET amount = amount + 1 WHERE id = 61;
COMMIT;
SELECT pg_temp.wrong('by_day');
SELECT pg_temp.look('by_day'), pg_temp.counts('by_day') IS NOT NULL;
-- refresh_view: what nobody can notice (a function that is called immutable and is not) is found, and nothing else is written
CREATE TABLE odd_one AS SELECT 78 AS id;
CREATE FUNCTION scale(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
	'BEGIN RETURN CASE WHEN EXISTS (SELECT FROM vr.odd_one AS o WHERE o.id = i) THEN 0 ELSE i * 10 END; END';
CREATE MATERIALIZED VIEW scaled AS SELECT id, day, scale(id) AS scaled FROM fact;
CREATE UNIQUE INDEX ON scaled (id);
SELECT edw_stream.register_view('scaled', '{day}');
SELECT pg_temp.look('scaled'), pg_temp.counts('scaled') IS NOT NULL;
UPDATE odd_one SET id = 77;
SELECT pg_temp.wrong('scaled');
BEGIN;
UPDATE fact SET day = 4 WHERE id = 5;
SELECT edw_stream.refresh_view('scaled');
SELECT pg_temp.changes('scaled'), pg_temp.counts('scaled');
SELECT pg_temp.changes('by_day'), pg_temp.counts('by_day');
COMMIT;
SELECT pg_temp.changes('scaled'), pg_temp.counts('scaled');
SELECT pg_temp.changes('by_day'), pg_temp.counts('by_day');
-- TRUNCATE, and a table filled again
TRUNCATE fact;
SELECT pg_temp.changes('by_day'), pg_temp.counts('by_day');
INSERT INTO fact SELECT i, i % 1000, 'c' || i % 3, i % 7 FROM generate_series(0, 8999) AS i;
SELECT pg_temp.changes('by_day'), pg_temp.counts('by_day');
\pset tuples_only off
\d by_day
\pset tuples_only on
SELECT obj_description('by_day'::regclass);

-- several key columns of several types, NULLs in each; text that needs quoting
CREATE TABLE multi (region text, month date, shop int, amount numeric(10, 2));
INSERT INTO multi SELECT (ARRAY['a', '{b}', 'c,"d', NULL])[i % 4 + 1],
	CASE WHEN i % 5 > 0 THEN date '2024-01-01' + 31 * (i % 5) END, i % 3, i FROM generate_series(1, 600) AS i;
CREATE MATERIALIZED VIEW by_month AS SELECT region, month, shop, sum(amount) AS total, count(*) AS n
	FROM multi GROUP BY region, month, shop;
SELECT edw_stream.register_view('by_month', '{region,month}', options => '{"method": "partition"}');
SELECT pg_temp.look('by_month'), pg_temp.counts('by_month') IS NOT NULL;
UPDATE multi SET amount = 0 WHERE region = 'c,"d' AND month = '2024-02-01' AND shop = 1;
SELECT pg_temp.changes('by_month'), pg_temp.counts('by_month');
UPDATE multi SET amount = 1 WHERE region IS NULL AND month IS NULL AND shop = 1;
SELECT pg_temp.changes('by_month'), pg_temp.counts('by_month');
-- crossed: only the two partitions, not all four combinations
UPDATE multi SET amount = 2 WHERE (region = 'a' AND month = '2024-02-01' OR region = '{b}' AND month = '2024-03-03') AND shop = 0;
SELECT pg_temp.changes('by_month'), pg_temp.counts('by_month');
UPDATE multi SET region = NULL, month = '2024-03-03' WHERE region = '{b}' AND month IS NULL;
SELECT pg_temp.changes('by_month'), pg_temp.counts('by_month');

-- a plain select is a multiset
CREATE TABLE line (p int, what text);
INSERT INTO line SELECT i % 10, 'x' FROM generate_series(1, 60) AS i;
CREATE MATERIALIZED VIEW lines AS SELECT p, what FROM line WHERE what <> 'hidden';
CREATE INDEX ON lines (p);
SELECT edw_stream.register_view('lines', '{p}');
SELECT pg_temp.look('lines'), pg_temp.counts('lines') IS NOT NULL;
INSERT INTO line VALUES (1, 'x'), (1, 'x'), (2, NULL);
SELECT pg_temp.changes('lines'), pg_temp.counts('lines');
DELETE FROM line WHERE ctid IN (SELECT ctid FROM line WHERE p = 1 LIMIT 3);
SELECT pg_temp.changes('lines'), pg_temp.counts('lines');
UPDATE line SET what = 'y' WHERE ctid IN (SELECT ctid FROM line WHERE p = 3 LIMIT 2);
SELECT pg_temp.changes('lines'), pg_temp.counts('lines');
UPDATE line SET what = 'hidden' WHERE p = 3 AND what = 'y';
SELECT pg_temp.changes('lines'), pg_temp.counts('lines');
UPDATE line SET what = 'shown' WHERE what = 'hidden';
SELECT pg_temp.changes('lines'), pg_temp.counts('lines');
DELETE FROM line WHERE p = 4;
SELECT pg_temp.changes('lines'), pg_temp.counts('lines');

-- unique indexes: two rows swap their values, a row moves to another partition, an index on an expression and a partial one
CREATE TABLE item (id int PRIMARY KEY, p int, code text, live bool);
INSERT INTO item SELECT i, i % 4, 'k' || i, true FROM generate_series(1, 40) AS i;
CREATE MATERIALIZED VIEW items AS SELECT id, p, code, live FROM item;
CREATE UNIQUE INDEX items_id ON items (id);
CREATE UNIQUE INDEX items_code ON items (lower(code)) WHERE live;
CREATE INDEX ON items USING brin (p);
SELECT edw_stream.register_view('items', '{p}');
SELECT pg_temp.look('items'), pg_temp.counts('items') IS NOT NULL;
UPDATE item SET code = CASE id WHEN 1 THEN 'k2' ELSE 'k1' END WHERE id IN (1, 2);
SELECT pg_temp.changes('items'), pg_temp.counts('items');
UPDATE item SET id = CASE id WHEN 5 THEN 106 ELSE 105 END WHERE id IN (5, 6);
UPDATE item SET id = id - 100 WHERE id > 100;
SELECT pg_temp.changes('items'), pg_temp.counts('items');
UPDATE item SET p = (p + 1) % 4 WHERE id < 10;
SELECT pg_temp.changes('items'), pg_temp.counts('items');
SET enable_seqscan = off;
SELECT p FROM items WHERE id = 7;
SELECT id FROM items WHERE lower(code) = 'k1' AND live;
RESET enable_seqscan;
-- a duplicate is refused, and the statement's change with it
UPDATE item SET code = 'K3' WHERE id = 4;
SELECT code FROM item WHERE id = 4;
UPDATE item SET code = 'K3', live = false WHERE id = 4;
SELECT pg_temp.changes('items'), pg_temp.counts('items');

-- values out of line and compressed
CREATE TABLE doc (id int PRIMARY KEY, p int, body text);
ALTER TABLE doc ALTER body SET STORAGE EXTERNAL;
INSERT INTO doc SELECT i, i % 3, repeat(md5(i::text), 400) FROM generate_series(1, 9) AS i;
CREATE MATERIALIZED VIEW docs AS SELECT id, p, body, body || '!' AS loud FROM doc;
SELECT edw_stream.register_view('docs', '{p}');
SELECT pg_temp.look('docs'), pg_temp.counts('docs') IS NOT NULL;
UPDATE doc SET body = body WHERE p = 1;
SELECT pg_temp.changes('docs'), pg_temp.counts('docs');
UPDATE doc SET body = overlay(body PLACING 'X' FROM 9000) WHERE id = 4;
SELECT pg_temp.changes('docs'), pg_temp.counts('docs');
DELETE FROM doc WHERE id = 4;
VACUUM doc;
SELECT pg_temp.changes('docs'), pg_temp.counts('docs');

-- views on views, two levels, each with its own partitions; two views on one table in one transaction
CREATE TABLE sale (id int PRIMARY KEY, day int, shop int, amount int);
INSERT INTO sale SELECT i, i % 20, i % 5, i FROM generate_series(1, 400) AS i;
CREATE MATERIALIZED VIEW l1 AS SELECT day, shop, sum(amount) AS total FROM sale GROUP BY day, shop;
CREATE MATERIALIZED VIEW l2 AS SELECT shop, max(total) AS best FROM l1 GROUP BY shop;
CREATE MATERIALIZED VIEW l3 AS SELECT best % 2 AS odd, count(*) AS n FROM l2 GROUP BY best % 2;
CREATE MATERIALIZED VIEW other AS SELECT shop, count(*) AS n FROM sale GROUP BY shop;
SELECT edw_stream.register_view('l3', '{odd}', options => '{"method": "partition"}');
SELECT edw_stream.register_view('l1', '{day}', options => '{"method": "partition"}');
SELECT edw_stream.register_view('l2', '{shop}', options => '{"method": "partition"}');
SELECT edw_stream.register_view('other', '{shop}', options => '{"method": "partition"}');
SELECT pg_temp.look(v), pg_temp.counts(v) IS NOT NULL FROM unnest('{l1,l2,l3,other}'::regclass[]) AS v;
UPDATE sale SET amount = 100001 WHERE id = 7;
SELECT v, pg_temp.changes(v), pg_temp.counts(v) FROM unnest('{l1,l2,l3,other}'::regclass[]) AS v;
UPDATE sale SET amount = 2 WHERE id = 8;
SELECT v, pg_temp.changes(v), pg_temp.counts(v) FROM unnest('{l1,l2,l3,other}'::regclass[]) AS v;
BEGIN;
INSERT INTO sale VALUES (500, 21, 6, 9);
SAVEPOINT a;
SELECT edw_stream.refresh_view('l1');
SELECT v, pg_temp.wrong(v) FROM unnest('{l1,l2,l3,other}'::regclass[]) AS v;
ROLLBACK TO a;
COMMIT;
SELECT v, pg_temp.changes(v), pg_temp.counts(v) FROM unnest('{l1,l2,l3,other}'::regclass[]) AS v;
TRUNCATE sale;
SELECT v, pg_temp.changes(v), pg_temp.counts(v) FROM unnest('{l1,l2,l3,other}'::regclass[]) AS v;

-- MERGE moves rows between a table's partitions, with and without other actions
CREATE TABLE part (id int, day int, amount int) PARTITION BY RANGE (day);
CREATE TABLE part_0 PARTITION OF part FOR VALUES FROM (0) TO (10);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (10) TO (20);
INSERT INTO part SELECT i, i % 20, i FROM generate_series(1, 60) AS i;
CREATE MATERIALIZED VIEW parts AS SELECT day, sum(amount) AS total, max(amount) AS most FROM part GROUP BY day;
SELECT edw_stream.register_view('parts', '{day}', options => '{"method": "partition"}');
SELECT pg_temp.look('parts'), pg_temp.counts('parts') IS NOT NULL;
MERGE INTO part AS p USING (VALUES (1, 11), (12, 2), (3, 4)) AS s (id, day) ON p.id = s.id
	WHEN MATCHED THEN UPDATE SET day = s.day;
SELECT pg_temp.changes('parts'), pg_temp.counts('parts');
MERGE INTO part AS p USING (VALUES (1, 1), (100, 15)) AS s (id, day) ON p.id = s.id
	WHEN MATCHED THEN UPDATE SET day = s.day WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.day, 1000);
SELECT pg_temp.changes('parts'), pg_temp.counts('parts');
MERGE INTO part AS p USING (VALUES (1, 18), (100, 0)) AS s (id, day) ON p.id = s.id
	WHEN MATCHED AND s.id = 100 THEN DELETE WHEN MATCHED THEN UPDATE SET day = s.day;
SELECT pg_temp.changes('parts'), pg_temp.counts('parts');

-- the query runs as the view's owner; an ERROR names the view
CREATE TABLE ratio (p int, a int, b int);
INSERT INTO ratio VALUES (1, 1, 1);
CREATE MATERIALIZED VIEW ratios AS SELECT p, a / b AS r FROM ratio;
SELECT edw_stream.register_view('ratios', '{p}');
\set VERBOSITY default
INSERT INTO ratio VALUES (2, 1, 0);
\set VERBOSITY terse
SELECT pg_temp.wrong('ratios'), (SELECT count(*) FROM ratio);

-- a transaction of another isolation level sees the newest state when it ends
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO ratio VALUES (3, 6, 2);
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
INSERT INTO ratio VALUES (3, 8, 2);
COMMIT;
BEGIN;
INSERT INTO ratio VALUES (4, 8, 2);
SET TRANSACTION READ ONLY;
COMMIT;
TABLE ratios ORDER BY p, r;

-- a view without data waits for its REFRESH
REFRESH MATERIALIZED VIEW ratios WITH NO DATA;
INSERT INTO ratio VALUES (5, 10, 2);
SELECT relispopulated FROM pg_class WHERE oid = 'ratios'::regclass;
REFRESH MATERIALIZED VIEW ratios;
INSERT INTO ratio VALUES (6, 12, 2);
SELECT pg_temp.wrong('ratios');

-- the writes are counted as any other's
SELECT pg_stat_force_next_flush();
SELECT n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables WHERE relid = 'ratios'::regclass;

-- refresh_view is the owner's
SELECT edw_stream.refresh_view('ratio');
CREATE ROLE vr_other;
GRANT USAGE ON SCHEMA vr TO vr_other;
GRANT EXECUTE ON FUNCTION edw_stream.refresh_view TO vr_other;
SET ROLE vr_other;
SELECT edw_stream.refresh_view('ratios');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION edw_stream.refresh_view FROM vr_other;
DROP SCHEMA vr CASCADE;
DROP ROLE vr_other;
