-- One topic into several tables, several topics into one table: always in one commit (P7), and a dead letter is dead for all (K6).
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/events.sql'
\set ECHO none
\i :include
\set ECHO all
CREATE SCHEMA pt;
SET search_path = pt, pg_catalog;

-- an order is a dimension and a fact; its header is split in two; web and shop fill the same facts
SELECT edw_stream.create_stream('pt', NULL, '{web,shop,orders}', options => '{"batch_rows": 3}');
CREATE TABLE dim_order (id int PRIMARY KEY, status text, batch bigint);
CREATE TABLE fact_amount (event bytea PRIMARY KEY, id int, amount int CHECK (amount >= 0), batch bigint);
CREATE TABLE address (id int PRIMARY KEY, city text NOT NULL, batch bigint);
CREATE TABLE visit (src text, n bigint, page text, batch bigint, PRIMARY KEY (src, n));
SELECT edw_stream.map_table('pt', 'dim_order', 'orders', columns => '{"status": "status", "batch": "$batch"}');
SELECT edw_stream.map_table('pt', 'fact_amount', 'orders', apply => 'append', keys => '{event}',
	columns => '{"event": "$position", "id": "id", "amount": "amount", "batch": "$batch"}');
SELECT edw_stream.map_table('pt', 'address', 'orders', columns => '{"city": "city", "batch": "$batch"}');
SELECT edw_stream.map_table('pt', 'visit', 'web', apply => 'append', keys => '{src,n}',
	columns => '{"src": "$topic", "n": "$kafka_offset", "page": "page", "batch": "$batch"}');
SELECT edw_stream.map_table('pt', 'visit', 'shop', apply => 'append', keys => '{src,n}',
	columns => '{"src": "$topic", "n": "$kafka_offset", "page": "title", "batch": "$batch"}');
CREATE FUNCTION pg_temp.e(op text, id int, status text, amount int, city text, lsn bigint) RETURNS void LANGUAGE sql AS $$
	SELECT pg_temp.send('pt', 'orders', op, CASE op WHEN 'd' THEN jsonb_build_object('id', id) ELSE
		jsonb_build_object('id', id, 'status', status, 'amount', amount, 'city', city) END, lsn, tx => lsn) $$;
-- by how many transactions and batches the tables have what they have of an order
CREATE VIEW written AS WITH w AS (
		SELECT 'dim_order' AS what, id, xmin, batch FROM dim_order UNION ALL SELECT 'fact_amount', id, xmin, batch FROM fact_amount
		UNION ALL SELECT 'address', id, xmin, batch FROM address)
	SELECT id, count(*) AS rows, count(DISTINCT xmin::text) AS transactions, count(DISTINCT batch) AS batches,
		bool_and(EXISTS (SELECT FROM edw_stream.batches b WHERE b.batch_id = w.batch)) AS known FROM w GROUP BY id ORDER BY id;

SELECT pg_temp.e('c', i, 'new', i, 'city ' || i, 10 + i) FROM generate_series(1, 7) AS i;
SELECT pg_temp.send('pt', 'web', 'c', '{"id":1,"page":"/"}', 10), pg_temp.send('pt', 'shop', 'c', '{"id":1,"title":"door"}', 11);
CALL edw_stream.drain('pt');
TABLE written;
SELECT src, n, page FROM visit ORDER BY 1, 2;
SELECT count(DISTINCT batch) > 1 AS several_batches FROM dim_order;

-- an event that one of its tables cannot take, by a constraint or while its row is made, reaches none of them; what is around it all
SELECT pg_temp.e('u', 1, 'paid', 10, 'city 1', 31), pg_temp.e('u', 2, 'paid', -1, 'city 2', 32), pg_temp.e('u', 3, 'paid', 30, NULL, 33),
	pg_temp.e('u', 4, 'paid', 40, 'city 4', 34), pg_temp.e('d', 5, NULL, NULL, NULL, 35);
SELECT pg_temp.send('pt', 'orders', 'u', '{"id":6,"status":"paid","amount":"many","city":"city 6"}', 36, tx => 36);
CALL edw_stream.drain('pt');
SELECT id, d.status, (SELECT string_agg(amount::text, ' ' ORDER BY event) FROM fact_amount f WHERE f.id = o.id) AS amounts, a.city
	FROM generate_series(1, 7) AS o (id) LEFT JOIN dim_order d USING (id) LEFT JOIN address a USING (id) ORDER BY id;
SELECT topic, kafka_offset, reason, target FROM edw_stream.dead_letters WHERE stream = 'pt' ORDER BY 2;
-- mended, they reach all of them
ALTER TABLE fact_amount DROP CONSTRAINT fact_amount_amount_check;
ALTER TABLE address ALTER city DROP NOT NULL;
SELECT * FROM edw_stream.retry_dead_letters('pt');
SELECT id, d.status, (SELECT string_agg(amount::text, ' ' ORDER BY event) FROM fact_amount f WHERE f.id = o.id) AS amounts, a.city
	FROM generate_series(1, 7) AS o (id) LEFT JOIN dim_order d USING (id) LEFT JOIN address a USING (id) ORDER BY id;

-- back to the beginning: nothing changes, nothing is written twice
CREATE TABLE before AS SELECT (SELECT count(*) FROM fact_amount) AS amounts, (SELECT count(*) FROM visit) AS visits,
	(SELECT md5(string_agg(d::text, ',' ORDER BY id)) FROM dim_order d) AS orders;
SELECT edw_stream.seek('pt', 'orders', 0, 0), edw_stream.seek('pt', 'web', 0, 0), edw_stream.seek('pt', 'shop', 0, 0);
CALL edw_stream.drain('pt');
SELECT (SELECT count(*) FROM fact_amount) = amounts AS amounts, (SELECT count(*) FROM visit) = visits AS visits,
	(SELECT md5(string_agg(d::text, ',' ORDER BY id)) FROM dim_order d) = orders AS orders FROM before;
SELECT target, topic, inserted, updated, deleted, duplicates, stale, unchanged, dead FROM edw_stream.tables WHERE stream = 'pt' ORDER BY 1, 2;
SELECT edw_stream.drop_stream('pt');
DROP SCHEMA pt CASCADE;
