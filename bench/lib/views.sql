-- What bench/run views runs, in edw_stream's server and in others: batches of changes, each a transaction, timed
-- with its commit. psql variables: rows, days.

CREATE TABLE fact (id bigint NOT NULL, d date NOT NULL, cat int NOT NULL, amt numeric(12,2) NOT NULL, note text NOT NULL);
INSERT INTO fact SELECT i, date '2022-01-01' + (i * :days / :rows)::int, hashint8(i) & 15, (i % 10000) / 100.0, 'order ' || i
	FROM generate_series(0::bigint, :rows - 1) i;
ALTER TABLE fact ADD PRIMARY KEY (id);
CREATE INDEX ON fact (d);
VACUUM ANALYZE fact;
CREATE TABLE shape (rows bigint, days int);
INSERT INTO shape VALUES (:rows, :days);
CREATE UNLOGGED TABLE took (what text, days int, changes int, ms float8);

-- ids of a batch: n rows, spread evenly over so many days, other rows and days in each round
CREATE FUNCTION batch_ids(n int, in_days int, round int) RETURNS bigint[] STABLE LANGUAGE sql AS $$
	SELECT array_agg((first_day + i % in_days) % days * (rows / days) + (i / in_days + round * 37) % (rows / days))
	FROM shape, generate_series(0, n - 1) i, LATERAL (SELECT CASE WHEN in_days = days THEN 0 ELSE round * 101 % days END AS first_day) f
$$;

-- rounds of a batch; after, a statement, is part of its transaction (a REFRESH)
CREATE PROCEDURE measure(what text, n int, in_days int, rounds int, after text DEFAULT NULL) LANGUAGE plpgsql AS $$
DECLARE
	ids bigint[];
	started timestamptz;
BEGIN
	FOR round IN 0 .. rounds LOOP		-- the first is not counted: caches, plans
		ids := batch_ids(n, in_days, round);
		COMMIT;
		started := clock_timestamp();
		UPDATE fact SET amt = amt + 1 WHERE id = ANY (ids);
		IF after IS NOT NULL THEN
			EXECUTE after;
		END IF;
		COMMIT;
		IF round > 0 THEN
			INSERT INTO took VALUES (what, in_days, n, extract(epoch FROM clock_timestamp() - started) * 1000);
		END IF;
		COMMIT;
	END LOOP;
END $$;

CREATE FUNCTION medians() RETURNS TABLE (what text, days int, changes int, ms numeric) LANGUAGE sql AS $$
	SELECT what, days, changes, round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)::numeric, 1) FROM took GROUP BY 1, 2, 3
$$;
