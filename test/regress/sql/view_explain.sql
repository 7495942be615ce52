-- explain_view: the whole of what is derived, and the predicate where the planner can push it down
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
CREATE SCHEMA dw;
CREATE TABLE dw.sales (id int PRIMARY KEY, day date, store int, amount numeric);
CREATE TABLE dw.store (id int PRIMARY KEY, "the city" text COLLATE "C");
CREATE MATERIALIZED VIEW dw.daily AS SELECT day, sum(amount) AS total FROM dw.sales GROUP BY day;
CREATE MATERIALIZED VIEW dw."City days" AS
	SELECT s.day, t."the city", count(*) AS n FROM dw.sales s LEFT JOIN dw.store t ON t.id = s.store GROUP BY 1, 2;
CREATE MATERIALIZED VIEW dw.top AS SELECT day, total FROM dw.daily ORDER BY total DESC LIMIT 3;
SELECT edw_stream.register_view('dw.daily', '{day}', options => '{"method": "partition"}');
SELECT edw_stream.register_view('dw."City days"', '{the city,day}', 'deferred', '{"method": "partition", "max_staleness": "2min"}');
SELECT edw_stream.register_view('dw.top', '{day}', options => '{"fallback": "full"}');

-- an empty view has no partition to show but the one of nulls
SELECT edw_stream.explain_view('dw.daily');
INSERT INTO dw.store VALUES (1, 'Lima');
INSERT INTO dw.sales VALUES (1, '2026-01-01', 1, 10), (2, '2026-01-02', 2, 20);
SELECT edw_stream.refresh_view('dw."City days"');
SET search_path = dw;
SET DateStyle = 'German';
SELECT edw_stream.explain_view('daily');
SELECT edw_stream.explain_view('"City days"');
SELECT edw_stream.explain_view('top');

SELECT * FROM dw.top ORDER BY 2 DESC;
DROP SCHEMA dw CASCADE;
