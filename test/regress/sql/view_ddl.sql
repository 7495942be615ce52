-- What DDL does to registered views: borne where it can be, else refused or said so, never stale in silence.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/views.sql'
\set ECHO none
\i :include
\set ECHO all
CREATE SCHEMA vd;
SET search_path = vd;
CREATE FUNCTION pg_temp.check() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s %s', view, CASE pg_temp.wrong(view) WHEN 0 THEN 'fresh' ELSE 'WRONG' END),
		', ' ORDER BY view::text) FROM edw_stream.view $$;
CREATE VIEW state AS SELECT view, partition_by, reason, message FROM edw_stream.view ORDER BY view::text;
CREATE VIEW triggers AS
	SELECT tgrelid::regclass AS "table", count(*) FROM pg_trigger WHERE tgname LIKE 'edw_stream_view_%' AND tgenabled = 'A' GROUP BY 1 ORDER BY 1;

-- partitions: of another shape, new, attached, detached, dropped
CREATE TABLE sale (id int, day date, qty int) PARTITION BY RANGE (day);
CREATE TABLE sale20 PARTITION OF sale FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE sale21 (qty int, junk text, day date, id int);
ALTER TABLE sale21 DROP COLUMN junk;
ALTER TABLE sale ATTACH PARTITION sale21 FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
INSERT INTO sale SELECT i, date '2020-06-01' + i * 10, i FROM generate_series(1, 50) i;
CREATE MATERIALIZED VIEW by_day AS SELECT day, sum(qty) AS qty FROM sale GROUP BY day;
CREATE MATERIALIZED VIEW of21 AS SELECT day, sum(qty) AS qty FROM sale21 GROUP BY day;
CREATE INDEX ON by_day (day);
CREATE INDEX ON of21 (day);
SELECT edw_stream.register_view('of21', '{day}');
TABLE triggers;
SELECT edw_stream.register_view('by_day', '{day}');
TABLE triggers;
-- the partition or the parent may be written to, and views may read either
INSERT INTO sale VALUES (100, '2020-02-02', 1), (101, '2021-02-02', 1);
SELECT pg_temp.check();
INSERT INTO sale21 (id, day, qty) VALUES (102, '2021-02-03', 1);
SELECT pg_temp.check();
UPDATE sale SET day = day + interval '1 year' WHERE day BETWEEN '2020-11-01' AND '2020-12-15';
SELECT pg_temp.check();
SELECT refreshes FROM edw_stream.view_stat WHERE view = 'of21'::regclass \gset
DELETE FROM sale WHERE day < '2020-07-01';
SELECT pg_temp.check(), refreshes - :refreshes AS "of21 is not concerned" FROM edw_stream.view_stat WHERE view = 'of21'::regclass;
UPDATE sale20 SET qty = qty + 1;
TRUNCATE sale21;
SELECT pg_temp.check();
INSERT INTO sale SELECT i, date '2020-06-01' + i * 10, i FROM generate_series(1, 50) i;
TRUNCATE sale;
SELECT pg_temp.check();
INSERT INTO sale SELECT i, date '2020-06-01' + i * 10, i FROM generate_series(1, 50) i;

CREATE TABLE sale22 PARTITION OF sale FOR VALUES FROM ('2022-01-01') TO ('2023-01-01');
INSERT INTO sale22 VALUES (200, '2022-02-02', 1);
SELECT pg_temp.check();
CREATE TABLE sale23 (day date, qty int, id int);
INSERT INTO sale23 SELECT date '2023-01-01' + i, 1, i FROM generate_series(1, 5) i;
ALTER TABLE sale ATTACH PARTITION sale23 FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
SELECT pg_temp.check(), pg_temp.counts('by_day') IS NOT NULL;
INSERT INTO sale23 VALUES ('2023-03-03', 3, 3);
SELECT pg_temp.check();
ALTER TABLE sale DETACH PARTITION sale23;
SELECT pg_temp.check(), pg_temp.counts('by_day');
ALTER TABLE sale ATTACH PARTITION sale23 FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
ALTER TABLE sale DETACH PARTITION sale23 CONCURRENTLY;
SELECT pg_temp.check();
ALTER TABLE sale ATTACH PARTITION sale23 FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
SELECT pg_temp.check();
DROP TABLE sale23;
SELECT pg_temp.check();
ALTER TABLE sale DETACH PARTITION sale20;
SELECT pg_temp.check();
TABLE triggers;
ALTER TABLE sale ATTACH PARTITION sale20 FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
SELECT pg_temp.check();
-- partitions of partitions
CREATE TABLE sale30 (day date, qty int, id int) PARTITION BY LIST (day);
CREATE TABLE sale301 PARTITION OF sale30 DEFAULT;
INSERT INTO sale30 VALUES ('2030-01-01', 3, 3);
ALTER TABLE sale ATTACH PARTITION sale30 FOR VALUES FROM ('2030-01-01') TO ('2031-01-01');
SELECT pg_temp.check();
INSERT INTO sale301 VALUES ('2030-01-02', 3, 3);
INSERT INTO sale30 VALUES ('2030-01-02', 3, 3);
SELECT pg_temp.check();
ALTER TABLE sale DETACH PARTITION sale30;
SELECT pg_temp.check();
DROP TABLE sale30;
-- what cannot be followed is refused, and nothing is changed
CREATE UNLOGGED TABLE sale40 PARTITION OF sale FOR VALUES FROM ('2040-01-01') TO ('2041-01-01');
CREATE FOREIGN DATA WRAPPER vd_none;
CREATE SERVER vd_none FOREIGN DATA WRAPPER vd_none;
CREATE FOREIGN TABLE sale40 PARTITION OF sale FOR VALUES FROM ('2040-01-01') TO ('2041-01-01') SERVER vd_none;
ALTER TABLE sale20 SET UNLOGGED;
SELECT pg_temp.check();

-- inheritance
CREATE TABLE parent (id int, day date, qty int);
CREATE TABLE child (more text) INHERITS (parent);
INSERT INTO child VALUES (1, '2020-01-01', 1);
CREATE MATERIALIZED VIEW of_parent AS SELECT day, sum(qty) AS qty FROM parent GROUP BY day;
CREATE MATERIALIZED VIEW of_child AS SELECT day, more, qty FROM child;
CREATE INDEX ON of_parent (day);
CREATE INDEX ON of_child (day);
SELECT edw_stream.register_view('of_parent', '{day}'), edw_stream.register_view('of_child', '{day}');
INSERT INTO child VALUES (2, '2020-01-02', 2, 'more');
INSERT INTO parent VALUES (3, '2020-01-01', 3);
UPDATE parent SET qty = qty + 1;
SELECT pg_temp.check();
ALTER TABLE child NO INHERIT parent;
SELECT pg_temp.check();
UPDATE child SET qty = 7;
SELECT pg_temp.check();
ALTER TABLE child INHERIT parent;
SELECT pg_temp.check();
CREATE TABLE second () INHERITS (parent);
INSERT INTO second VALUES (5, '2020-01-05', 5);
SELECT pg_temp.check();
DROP TABLE second;
SELECT pg_temp.check();
CREATE TEMP TABLE third () INHERITS (parent);

-- our triggers: not dropped or renamed; disabled is said, enabled mended
DROP TRIGGER edw_stream_view_insert ON sale;
ALTER TRIGGER edw_stream_view_insert ON sale RENAME TO mine;
ALTER TABLE sale20 DISABLE TRIGGER ALL;
TABLE state;
INSERT INTO sale20 VALUES (300, '2020-07-07', 7);
ALTER TABLE sale20 ENABLE TRIGGER edw_stream_view_insert;
TABLE state;
ALTER TABLE sale20 ENABLE TRIGGER ALL;
TABLE state;
SELECT pg_temp.check();
ALTER TABLE sale20 ENABLE REPLICA TRIGGER edw_stream_view_delete;
SELECT view, reason FROM state WHERE reason IS NOT NULL;
ALTER TABLE sale20 ENABLE ALWAYS TRIGGER edw_stream_view_delete;
SELECT view, reason FROM state WHERE reason IS NOT NULL;
TABLE triggers;

-- renames and moves are followed
CREATE SCHEMA vd2;
ALTER MATERIALIZED VIEW by_day RENAME COLUMN day TO sold;
ALTER MATERIALIZED VIEW by_day RENAME TO by_date;
ALTER MATERIALIZED VIEW by_date SET SCHEMA vd2;
ALTER TABLE sale RENAME COLUMN day TO sold;
ALTER TABLE sale RENAME TO sales;
ALTER TABLE sales SET SCHEMA vd2;
UPDATE sale21 SET qty = qty + 1;
SELECT pg_temp.check();
TABLE state;
ALTER TABLE vd2.by_date RENAME COLUMN sold TO day;
SELECT partition_by FROM state WHERE view = 'vd2.by_date'::regclass;

-- columns come and go, tables are rewritten
ALTER TABLE vd2.sales ADD COLUMN extra float DEFAULT random(), ALTER COLUMN id TYPE bigint;
INSERT INTO vd2.sales VALUES (400, '2020-08-08', 8, 8);
SELECT pg_temp.check();
ALTER TABLE vd2.sales DROP COLUMN extra;
INSERT INTO vd2.sales VALUES (401, '2020-08-08', 8);
SELECT pg_temp.check();

-- REFRESH by hand
REFRESH MATERIALIZED VIEW vd2.by_date;
UPDATE sale21 SET qty = qty + 1;
SELECT pg_temp.check();
CREATE UNIQUE INDEX ON vd2.by_date (day);
REFRESH MATERIALIZED VIEW CONCURRENTLY vd2.by_date;
UPDATE sale21 SET qty = qty + 1;
SELECT pg_temp.check();
BEGIN;
UPDATE sale21 SET qty = qty + 1;
REFRESH MATERIALIZED VIEW vd2.by_date;
UPDATE sale21 SET qty = qty + 1;
COMMIT;
SELECT pg_temp.check();
REFRESH MATERIALIZED VIEW vd2.by_date WITH NO DATA;
SELECT view, reason, message FROM state WHERE reason IS NOT NULL;
UPDATE sale21 SET qty = qty + 1;
REFRESH MATERIALIZED VIEW vd2.by_date;
SELECT view, reason, message FROM state WHERE reason IS NOT NULL;
SELECT pg_temp.check();
-- … in a session whose settings would give other results
CREATE TABLE click (id int, at timestamptz);
INSERT INTO click VALUES (1, '2024-01-01 23:30+00'), (2, '2024-01-02 00:30+00');
SET TimeZone = 'UTC';
CREATE MATERIALIZED VIEW clicks AS SELECT at::date AS day, count(*) FROM click GROUP BY at::date;
CREATE INDEX ON clicks (day);
SELECT edw_stream.register_view('clicks', '{day}');
SET TimeZone = 'Asia/Tokyo';
REFRESH MATERIALIZED VIEW clicks;
INSERT INTO click VALUES (3, '2024-01-03 00:30+00');
SELECT day, count FROM clicks ORDER BY day;
SET TimeZone = 'UTC';
-- … of a view that another one reads
CREATE MATERIALIZED VIEW lower_view AS SELECT id, sold AS day, qty FROM sale21;
CREATE MATERIALIZED VIEW upper_view AS SELECT day, sum(qty) AS qty FROM lower_view GROUP BY day;
CREATE INDEX ON upper_view (day);
SELECT edw_stream.register_view('upper_view', '{day}');
UPDATE sale21 SET qty = qty + 1;
REFRESH MATERIALIZED VIEW lower_view;
SELECT pg_temp.check();
REFRESH MATERIALIZED VIEW lower_view WITH NO DATA;

-- what a view is made of is replaced
CREATE TABLE item (id int PRIMARY KEY, price int);
CREATE TABLE price (id int PRIMARY KEY, price int);
INSERT INTO item SELECT i, i FROM generate_series(1, 5) i;
INSERT INTO price SELECT i, i * 10 FROM generate_series(1, 5) i;
CREATE VIEW prices AS SELECT id, price FROM item;
CREATE VIEW prices2 AS SELECT id, price FROM prices;
CREATE FUNCTION band(price int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT price / 2';
CREATE MATERIALIZED VIEW bands AS SELECT band(price) AS band, count(*) FROM prices2 GROUP BY band(price);
CREATE INDEX ON bands (band);
SELECT edw_stream.register_view('bands', '{band}');
UPDATE item SET price = price + 1;
SELECT pg_temp.check();
CREATE OR REPLACE VIEW prices AS SELECT id, price FROM price;
SELECT pg_temp.check(), sum(band) FROM bands;
UPDATE price SET price = price + 1;
SELECT pg_temp.check();
SELECT base FROM edw_stream.view_base WHERE view = 'bands'::regclass;
SELECT "table" FROM triggers WHERE "table" IN ('item'::regclass, 'price'::regclass);
CREATE OR REPLACE FUNCTION band(price int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT price / 3';
SELECT pg_temp.check(), sum(band) FROM bands;
CREATE OR REPLACE VIEW prices AS SELECT id, (random() * price)::int AS price FROM price;
CREATE OR REPLACE FUNCTION band(price int) RETURNS int VOLATILE LANGUAGE sql AS 'SELECT price / 3';
SELECT pg_temp.check(), sum(band) FROM bands;
-- row security that would hide rows from a view's owner
CREATE ROLE vd_owner;
GRANT ALL ON SCHEMA vd TO vd_owner;
GRANT SELECT ON price TO vd_owner;
CREATE MATERIALIZED VIEW owned AS SELECT price, count(*) FROM price GROUP BY price;
CREATE INDEX ON owned (price);
ALTER MATERIALIZED VIEW owned OWNER TO vd_owner;
SELECT edw_stream.register_view('owned', '{price}');
ALTER TABLE price ENABLE ROW LEVEL SECURITY;
INSERT INTO price VALUES (100, 5);
SELECT pg_temp.check();
DROP MATERIALIZED VIEW owned;
CREATE OR REPLACE TRIGGER edw_stream_view_insert AFTER INSERT ON price FOR EACH STATEMENT EXECUTE FUNCTION suppress_redundant_updates_trigger();
-- logical replication fires no statement triggers
SET client_min_messages = error;
CREATE SUBSCRIPTION vd_none CONNECTION 'dbname=none' PUBLICATION none WITH (connect = false, slot_name = NONE);
INSERT INTO pg_subscription_rel SELECT oid, 'item'::regclass, 'r', NULL FROM pg_subscription WHERE subname = 'vd_none';
CREATE MATERIALIZED VIEW subscribed AS SELECT price, count(*) FROM item GROUP BY price;
SELECT edw_stream.register_view('subscribed', '{price}');
DELETE FROM pg_subscription_rel;
SELECT edw_stream.register_view('subscribed', '{price}');
INSERT INTO pg_subscription_rel SELECT oid, 'item'::regclass, 'r', NULL FROM pg_subscription WHERE subname = 'vd_none';
ALTER SUBSCRIPTION vd_none SET (binary = true);
DROP SUBSCRIPTION vd_none;
SET client_min_messages = warning;
SELECT pg_temp.check();
SELECT edw_stream.unregister_view('subscribed');

-- dropped
DROP MATERIALIZED VIEW bands;
DROP TABLE click CASCADE;
SELECT edw_stream.unregister_view('of_child');
DROP SCHEMA vd2 CASCADE;
TABLE state;
TABLE triggers;
SELECT (SELECT count(*) FROM edw_stream.view_base b WHERE NOT EXISTS (SELECT FROM edw_stream.view v WHERE v.view = b.view)) AS bases,
	(SELECT count(*) FROM edw_stream.view_stat b WHERE NOT EXISTS (SELECT FROM edw_stream.view v WHERE v.view = b.view)) AS stats;
DROP SCHEMA vd CASCADE;
DROP ROLE vd_owner;
SELECT count(*) FROM edw_stream.view;
DROP SERVER vd_none;
DROP FOREIGN DATA WRAPPER vd_none;
