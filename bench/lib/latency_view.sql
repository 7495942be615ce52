-- one registered view: what came in and of which kind, by the day of the order
CREATE VIEW daily_now AS SELECT day, status, count(*) AS orders, sum(amount) AS amount FROM orders GROUP BY day, status;
CREATE MATERIALIZED VIEW daily AS SELECT day, status, count(*) AS orders, sum(amount) AS amount FROM orders GROUP BY day, status;
CREATE UNIQUE INDEX ON daily (day, status);
SELECT edw_stream.register_view('daily', '{day}');
