-- Members that were found before are found again, whatever has happened to their dimension's rows meanwhile (see member_cache.h).
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/events.sql'
\set ECHO none
\i :include
\set ECHO all
CREATE SCHEMA ap_again;
SET search_path = ap_again, public, pg_catalog;
CREATE TABLE dim_shop (shop_key int PRIMARY KEY, shop_id int NOT NULL, filler text, CONSTRAINT shop_id UNIQUE (shop_id));
CREATE TABLE sale (id int PRIMARY KEY, shop_key int);
SELECT edw_stream.create_stream('ap_again', NULL, '{sales}');
SELECT edw_stream.map_table('ap_again', 'sale', 'sales', lookups => '{
	"shop_key": {"dimension": "dim_shop", "match": {"shop_id": "shop_id"}, "missing": "null"}}');

-- sales of shops 1 to 3, each time under new ids
CREATE SEQUENCE pg_temp.n;
CREATE PROCEDURE pg_temp.sell() LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM sale;
	FOR shop IN 1 .. 3 LOOP
		PERFORM pg_temp.send('ap_again', 'sales', 'c', jsonb_build_object('id', nextval('n'), 'shop_id', shop), currval('n') * 10, currval('n')::int);
	END LOOP;
END $$;
CREATE VIEW sold AS SELECT shop_key FROM sale ORDER BY id;
INSERT INTO dim_shop SELECT 100 + i, i, repeat('x', 3000) FROM generate_series(1, 3) i;
CALL pg_temp.sell();
CALL edw_stream.drain('ap_again');
CALL pg_temp.sell();
CALL edw_stream.drain('ap_again');
TABLE sold;

-- another row is where a member was, and the member elsewhere
UPDATE dim_shop SET shop_key = 200 + shop_id;
CALL pg_temp.sell();
CALL edw_stream.drain('ap_again');
TABLE sold;
UPDATE dim_shop SET shop_id = -shop_id;
UPDATE dim_shop SET shop_id = 4 + shop_id;
CALL pg_temp.sell();
CALL edw_stream.drain('ap_again');
TABLE sold;

-- the page where it was is gone
CREATE TABLE filler AS SELECT 1000 + i AS shop_key, 1000 + i AS shop_id, repeat('y', 3000) AS filler FROM generate_series(1, 200) i;
DELETE FROM dim_shop;
INSERT INTO dim_shop TABLE filler;
INSERT INTO dim_shop SELECT 300 + i, i FROM generate_series(1, 3) i;
CALL pg_temp.sell();
CALL edw_stream.drain('ap_again');
TABLE sold;
DELETE FROM dim_shop;
VACUUM dim_shop;
INSERT INTO dim_shop SELECT 400 + i, i FROM generate_series(1, 2) i;
CALL pg_temp.sell();
CALL edw_stream.drain('ap_again');
TABLE sold;
TRUNCATE dim_shop;
CALL pg_temp.sell();
CALL edw_stream.drain('ap_again');
TABLE sold;

-- the column is another one
INSERT INTO dim_shop SELECT 500 + i, i FROM generate_series(1, 3) i;
CALL pg_temp.sell();
CALL edw_stream.drain('ap_again');
ALTER TABLE dim_shop ALTER shop_id TYPE bigint, ALTER shop_key TYPE bigint;
CALL pg_temp.sell();
CALL edw_stream.drain('ap_again');
TABLE sold;

SELECT edw_stream.drop_stream('ap_again');
DROP SCHEMA ap_again CASCADE;
