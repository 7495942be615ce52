-- which partitions a change of each relation affects, for all shapes of queries (docs/views.md)
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
\set ECHO none
-- registers a view of that query, and shows what register_view raises or explain_view says of changes
CREATE FUNCTION pg_temp.derive(query text, columns text[], options jsonb DEFAULT '{}')
	RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
	explained text;
BEGIN
	EXECUTE 'CREATE MATERIALIZED VIEW dw.v AS ' || query;
	BEGIN
		PERFORM edw_stream.register_view('dw.v', columns, options => options || '{"method": "partition"}');
		explained := split_part(edw_stream.explain_view('dw.v'), E'\na partition is', 1);
		RETURN NEXT substr(explained, strpos(explained, E'\nwhen') + 1);
		PERFORM edw_stream.unregister_view('dw.v');
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
		RETURN NEXT SQLSTATE || ': ' || SQLERRM;
		RETURN NEXT detail;
	END;
	DROP MATERIALIZED VIEW dw.v;
END $$;
\set ECHO all
CREATE SCHEMA dw;
CREATE TABLE dw.sales (id int PRIMARY KEY, day date, at timestamptz, store int, product int, amount numeric, tags text);
CREATE TABLE dw.store (id int PRIMARY KEY, city text, region int);
CREATE TABLE dw.region (id int PRIMARY KEY, name text);
CREATE TABLE dw.product (id int PRIMARY KEY, cat text, price numeric);

-- from its own columns: no join is needed, nor is one that only looks something up
SELECT pg_temp.derive('SELECT day, sum(amount) FROM dw.sales GROUP BY day', '{day}');
SELECT pg_temp.derive('SELECT id, date_trunc(''month'', day) AS month FROM dw.sales WHERE amount > 0', '{month}');
SELECT pg_temp.derive('SELECT s.day, p.cat, sum(s.amount) FROM dw.sales s JOIN dw.product p ON p.id = s.product
	JOIN dw.store t ON t.id = s.store GROUP BY 1, 2', '{day}');
-- … but a join that filters is
SELECT pg_temp.derive('SELECT s.day, count(*) FROM dw.sales s JOIN dw.product p ON p.id = s.product
	JOIN dw.store t ON t.id = s.store WHERE p.cat = ''books'' GROUP BY 1', '{day}');
-- a snowflake: through the tables between
SELECT pg_temp.derive('SELECT s.day, r.name, count(*) FROM dw.sales s JOIN dw.store t ON t.id = s.store
	JOIN dw.region r ON r.id = t.region GROUP BY 1, 2', '{day}');
-- keys of a dimension, of two, of a dimension and the fact
SELECT pg_temp.derive('SELECT t.region, count(*) FROM dw.sales s JOIN dw.store t ON t.id = s.store GROUP BY 1', '{region}');
SELECT pg_temp.derive('SELECT t.region, p.cat FROM dw.sales s JOIN dw.store t ON t.id = s.store
	JOIN dw.product p ON p.id = s.product', '{cat,region}');
SELECT pg_temp.derive('SELECT s.day, t.city FROM dw.sales s JOIN dw.store t ON t.id = s.store', '{day,city}');
-- a table joined with itself: each occurrence
SELECT pg_temp.derive('SELECT a.day, count(*) FROM dw.sales a JOIN dw.sales b ON b.store = a.store AND b.id < a.id GROUP BY 1', '{day}');

-- outer joins
SELECT pg_temp.derive('SELECT s.day, t.city, count(*) FROM dw.sales s LEFT JOIN dw.store t ON t.id = s.store GROUP BY 1, 2', '{day}');
SELECT pg_temp.derive('SELECT t.city, count(*) FROM dw.sales s LEFT JOIN dw.store t ON t.id = s.store GROUP BY 1', '{city}');
SELECT pg_temp.derive('SELECT t.city, count(*) FROM dw.store t RIGHT JOIN dw.sales s ON t.id = s.store GROUP BY 1', '{city}');
SELECT pg_temp.derive('SELECT id, day, city FROM dw.sales FULL JOIN dw.store USING (id)', '{id}');
SELECT pg_temp.derive('SELECT t.city, p.cat FROM dw.sales s LEFT JOIN dw.store t ON t.id = s.store
	LEFT JOIN dw.product p ON p.id = s.product', '{city,cat}');
SELECT pg_temp.derive('SELECT s.day, s.id FROM dw.sales s LEFT JOIN dw.store t ON t.id = s.store WHERE t.id IS NULL', '{day}');
-- … one after the other: what has no match does not match further on, unless it is by a condition that nulls may meet
SELECT pg_temp.derive('SELECT s.day, r.name FROM dw.sales s LEFT JOIN dw.store t ON t.id = s.store
	LEFT JOIN dw.region r ON r.id = t.region', '{day}');
SELECT pg_temp.derive('SELECT s.day, r.name FROM dw.sales s LEFT JOIN dw.store t ON t.id = s.store
	LEFT JOIN dw.region r ON r.id = t.region', '{day,name}');
SELECT pg_temp.derive('SELECT s.day, r.name FROM dw.sales s LEFT JOIN dw.store t ON t.id = s.store
	LEFT JOIN dw.region r ON r.id IS NOT DISTINCT FROM t.region', '{day}');
SELECT pg_temp.derive('SELECT s.day, t.city FROM dw.sales s LEFT JOIN dw.store t ON t.id = s.store WHERE t.region > 3', '{day}');
SELECT pg_temp.derive('SELECT s.id, r.name FROM dw.sales s
	LEFT JOIN (dw.store t JOIN dw.region r ON r.id = t.region) ON t.id = s.store', '{name}');

-- subqueries, CTEs, views
CREATE VIEW dw.store_region AS SELECT t.id, t.city, r.name AS region FROM dw.store t JOIN dw.region r ON r.id = t.region;
SELECT pg_temp.derive('WITH s AS (SELECT store, day, sum(amount) AS a FROM dw.sales GROUP BY 1, 2)
	SELECT t.region, s.day, s.a FROM s JOIN dw.store_region t ON t.id = s.store WHERE s.a > 10', '{region}');
SELECT pg_temp.derive('WITH s AS (SELECT * FROM dw.sales), x AS (SELECT day FROM s), y AS (SELECT day FROM s WHERE store = 1)
	SELECT x.day, count(y.day) FROM x LEFT JOIN y USING (day) GROUP BY 1', '{day}');
-- the aggregate of another group is no obstacle: its group is tied to the rows
SELECT pg_temp.derive('SELECT s.day, s.id, x.total FROM dw.sales s
	JOIN (SELECT product, sum(amount) AS total FROM dw.sales GROUP BY product) x USING (product)', '{day}');
-- … but nothing ties it here
SELECT pg_temp.derive('SELECT s.day, s.id, x.total FROM dw.sales s, (SELECT sum(price) AS total FROM dw.product) x', '{day}');
SELECT pg_temp.derive('SELECT s.day, s.id FROM dw.sales s JOIN (SELECT max(price) AS top FROM dw.product) x ON s.amount > x.top', '{day}');
-- … by which partitions gain nothing here
SELECT pg_temp.derive('SELECT day, amount / (SELECT sum(amount) FROM dw.sales) AS share FROM dw.sales', '{day}');
SELECT pg_temp.derive('SELECT 1 AS one, x.a, y.b FROM (SELECT max(amount) AS a FROM dw.sales) x, (SELECT max(price) AS b FROM dw.product) y', '{one}');
SELECT pg_temp.derive('SELECT x.day, r.a FROM (VALUES (date ''2026-01-01'')) x (day), (SELECT max(amount) AS a FROM dw.sales) r', '{day}');
SELECT pg_temp.derive('SELECT s.day, p.cat FROM dw.sales s, LATERAL (SELECT cat FROM dw.product p WHERE p.id = s.product
	ORDER BY price LIMIT 1) p', '{day}');

-- subqueries in expressions
SELECT pg_temp.derive('SELECT day, id FROM dw.sales s WHERE EXISTS (SELECT FROM dw.product p WHERE p.id = s.product AND p.cat = ''a'')', '{day}');
SELECT pg_temp.derive('SELECT day, id FROM dw.sales WHERE product IN (SELECT id FROM dw.product WHERE cat = ''a'') AND store NOT IN (SELECT id FROM dw.store)', '{day}');
SELECT pg_temp.derive('SELECT day, (SELECT max(price) FROM dw.product p WHERE p.id = s.product) AS price FROM dw.sales s', '{day}');
SELECT pg_temp.derive('SELECT day, (SELECT max(price) FROM dw.product p WHERE p.id = s.product) AS price FROM dw.sales s', '{price}');
SELECT pg_temp.derive('SELECT day, count(*) FROM dw.sales s GROUP BY day HAVING count(*) > (SELECT count(*) FROM dw.product)', '{day}');
SELECT pg_temp.derive('SELECT s.day, t.city FROM dw.sales s LEFT JOIN dw.store t ON t.id = s.store AND t.id IN (SELECT id FROM dw.region)', '{day}');

-- set operations
SELECT pg_temp.derive('SELECT day, ''sale'' AS kind, amount FROM dw.sales UNION ALL SELECT NULL, cat, price FROM dw.product', '{day}');
SELECT pg_temp.derive('SELECT day, ''sale'' AS kind, amount FROM dw.sales UNION ALL SELECT NULL, cat, price FROM dw.product', '{kind}');
SELECT pg_temp.derive('SELECT id, store FROM dw.sales EXCEPT SELECT id, 1 FROM dw.store UNION SELECT id, product::bigint FROM dw.sales', '{id}');
SELECT pg_temp.derive('SELECT s.day, x.id FROM dw.sales s JOIN (SELECT id FROM dw.store UNION SELECT id FROM dw.product) x ON x.id = s.store', '{day}');

-- grouping sets, windows, DISTINCT, LIMIT, set-returning functions
SELECT pg_temp.derive('SELECT day, store, sum(amount) FROM dw.sales GROUP BY GROUPING SETS ((day, store), (day))', '{day}');
SELECT pg_temp.derive('SELECT day, store, sum(amount) FROM dw.sales GROUP BY ROLLUP (day, store)', '{day}');
SELECT pg_temp.derive('SELECT day, rank() OVER (PARTITION BY day, store ORDER BY amount) FROM dw.sales', '{day}');
SELECT pg_temp.derive('SELECT day, store, rank() OVER (PARTITION BY day, store ORDER BY amount) FROM dw.sales', '{store,day}');
SELECT pg_temp.derive('SELECT day, rank() OVER (PARTITION BY store ORDER BY amount) FROM dw.sales', '{day}');
SELECT pg_temp.derive('SELECT DISTINCT day, store FROM dw.sales', '{day}');
SELECT pg_temp.derive('SELECT DISTINCT ON (day) day, store FROM dw.sales ORDER BY day, amount', '{day}');
SELECT pg_temp.derive('SELECT DISTINCT ON (day) day, store FROM dw.sales ORDER BY day, amount', '{store}');
SELECT pg_temp.derive('SELECT day, sum(amount) FROM dw.sales GROUP BY day ORDER BY 2 DESC LIMIT 10', '{day}');
SELECT pg_temp.derive('SELECT 1 AS all, day, sum(amount) FROM dw.sales GROUP BY day ORDER BY 3 DESC LIMIT 10', '{all}');
SELECT pg_temp.derive('SELECT unnest(string_to_array(tags, '','')) AS tag, count(*) FROM dw.sales GROUP BY 1', '{tag}');
SELECT pg_temp.derive('SELECT unnest(string_to_array(tags, '','')) AS tag, generate_series(1, 2) AS n FROM dw.sales', '{tag}');
SELECT pg_temp.derive('SELECT s.day, t.tag FROM dw.sales s, unnest(string_to_array(tags, '','')) AS t (tag)', '{tag}');
SELECT pg_temp.derive('SELECT s.day, v.x FROM dw.sales s JOIN (VALUES (1, ''a''), (2, ''b'')) v (id, x) ON v.id = s.store', '{x}');

-- equal values that look different
SELECT pg_temp.derive('SELECT amount, count(*) FROM dw.sales GROUP BY amount', '{amount}');
SELECT pg_temp.derive('SELECT amount::text AS shown, count(*) FROM dw.sales GROUP BY amount', '{shown}');
SELECT pg_temp.derive('SELECT p.cat, x.n FROM (SELECT amount, count(*) AS n FROM dw.sales GROUP BY 1) x
	JOIN dw.product p ON p.price = x.amount', '{cat}');
SELECT pg_temp.derive('SELECT p.cat, x.n FROM (SELECT amount, count(*) AS n FROM dw.sales GROUP BY 1) x
	JOIN dw.product p ON p.cat = x.amount::text', '{cat}');

-- what is no function of the rows
SELECT pg_temp.derive('SELECT max(day) AS last FROM dw.sales GROUP BY store', '{last}');
SELECT pg_temp.derive('SELECT day, random() FROM dw.sales', '{day}');
SELECT pg_temp.derive('SELECT day FROM dw.sales WHERE day > current_date - 7', '{day}');
SELECT pg_temp.derive('SELECT day FROM dw.sales WHERE at > now() - interval ''1 day''', '{day}');
SELECT pg_temp.derive('SELECT day, age(at) FROM dw.sales', '{day}');
SELECT pg_temp.derive('SELECT day, tags::regclass FROM dw.sales', '{day}');
SELECT pg_temp.derive('SELECT date_trunc(''day'', at)::date AS d, to_char(at, ''TZ'') FROM dw.sales', '{d}');
CREATE FUNCTION dw.price_of(int) RETURNS numeric LANGUAGE sql STABLE AS 'SELECT price FROM dw.product WHERE id = $1';
SELECT pg_temp.derive('SELECT day, dw.price_of(product) FROM dw.sales', '{day}');
SELECT pg_temp.derive('SELECT day, tableoid::int AS part FROM dw.sales', '{day}');
SELECT pg_temp.derive('SELECT day, ctid AS place FROM dw.sales', '{day}');
SELECT pg_temp.derive('SELECT day FROM dw.sales TABLESAMPLE bernoulli (10) REPEATABLE (1)', '{day}');
SELECT pg_temp.derive('WITH RECURSIVE r AS (SELECT id FROM dw.sales UNION SELECT id / 2 FROM r WHERE id > 1) SELECT id FROM r', '{id}');
-- … unless all of it is computed anew
SELECT pg_temp.derive('SELECT day, sum(amount) FROM dw.sales GROUP BY day ORDER BY 2 DESC LIMIT 10', '{day}', '{"fallback": "full"}');
SELECT pg_temp.derive('WITH RECURSIVE r AS (SELECT id FROM dw.sales UNION SELECT id / 2 FROM r WHERE id > 1) SELECT id FROM r', '{id}', '{"fallback": "full"}');

-- partitioned tables, inheritance, columns that were dropped, other views
CREATE TABLE dw.parted (gone int, day date, amount numeric) PARTITION BY LIST (day);
ALTER TABLE dw.parted DROP COLUMN gone;
SELECT pg_temp.derive('SELECT p.day, t.id, sum(p.amount) FROM dw.parted p JOIN dw.store t ON t.id = p.amount GROUP BY 1, 2', '{id}');
CREATE MATERIALIZED VIEW dw.daily AS SELECT day, sum(amount) AS total FROM dw.sales GROUP BY day;
SELECT pg_temp.derive('SELECT date_trunc(''month'', day) AS month, sum(total) FROM dw.daily GROUP BY 1', '{month}');

-- row-level security of what is read counts for the view's owner
CREATE ROLE regress_view_reader;
GRANT USAGE, CREATE ON SCHEMA dw TO regress_view_reader;
GRANT ALL ON dw.sales TO regress_view_reader;
GRANT USAGE ON SCHEMA edw_stream TO regress_view_reader;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA edw_stream TO regress_view_reader;
ALTER TABLE dw.sales ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON dw.sales USING (store = 1);
SELECT pg_temp.derive('SELECT day FROM dw.sales', '{day}');
SET ROLE regress_view_reader;
SELECT pg_temp.derive('SELECT day FROM dw.sales', '{day}');
SELECT pg_temp.derive('SELECT day FROM dw.sales', '{day}', '{"fallback": "full"}');
RESET ROLE;

DROP SCHEMA dw CASCADE;
REVOKE ALL ON ALL ROUTINES IN SCHEMA edw_stream FROM regress_view_reader;
REVOKE ALL ON SCHEMA edw_stream FROM regress_view_reader;
DROP ROLE regress_view_reader;
