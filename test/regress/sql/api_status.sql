-- what the views say while a worker runs (H1, H2)
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
CREATE FUNCTION pg_temp.until(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result boolean;
BEGIN
	FOR i IN 1 .. 3600 LOOP
		EXECUTE 'SELECT coalesce((' || query || '), false)' INTO result;
		IF result THEN RETURN 'seen'; END IF;
		PERFORM pg_sleep(0.05);
	END LOOP;
	RETURN 'never seen';
END $$;
CREATE SCHEMA dw;
CREATE TABLE dw.orders (id bigint PRIMARY KEY, status text);
SELECT edw_stream.create_stream('s', NULL, '{orders,others}', 'json');
SELECT edw_stream.map_table('s', 'dw.orders', on_schema_change => 'ignore');
-- what was not read yet is lag
SELECT edw_stream.push('s', 'orders', format('{"id": %s}', i), format('{"id": %s, "status": "new", "extra": 1}', i))
FROM generate_series(1, 3) i;
SELECT topic, partition, committed, end_offset, lag FROM edw_stream.partitions ORDER BY topic;
SELECT state, processes, lag, last_commit IS NULL FROM edw_stream.streams;

SELECT edw_stream.start('s');
SELECT edw_stream.wait_for('s', '3 min');
SELECT pg_temp.until($$SELECT state = 'idle' FROM edw_stream.streams$$);
SELECT state, reason, message, workers, processes, lag, last_commit > created_at, last_error FROM edw_stream.streams;
SELECT topic, partition, committed, end_offset, lag, last_change IS NOT NULL FROM edw_stream.partitions ORDER BY topic;
SELECT target, inserted, updated, dead, unmapped_fields, last_change IS NOT NULL FROM edw_stream.tables;
SELECT sum(messages), sum(changed_rows), bool_and(committed_at > now() - interval '1 hour'), min(worker) FROM edw_stream.batches;
-- a worker counts what it did, and how long events took from Kafka (here: from push) to the commit
SELECT worker, pid IS NOT NULL, state, failures, messages, dead, last_commit IS NOT NULL FROM edw_stream.worker_status();
SELECT stream, source_events, source_p50_ms, kafka_events, kafka_p50_ms <= kafka_p95_ms, kafka_p95_ms <= kafka_p99_ms,
	kafka_p99_ms <= kafka_max_ms, kafka_p50_ms > 0 FROM edw_stream.latency;

-- what no mapping takes is counted
SELECT edw_stream.push('s', 'others', '{"id": 1}', '{"id": 1}');
SELECT edw_stream.wait_for('s', '3 min');
SELECT * FROM edw_stream.skipped;

-- a worker is seen in pg_stat_activity
SELECT backend_type, application_name, usename = current_user FROM pg_stat_activity WHERE backend_type LIKE 'edw_stream worker%' AND datname = current_database();

SELECT edw_stream.pause('s');
SELECT pg_temp.until($$SELECT processes = 0 FROM edw_stream.streams$$);
SELECT state, reason, processes FROM edw_stream.streams;
-- a copy of the database has another home: there it is paused, and says why (G5)
UPDATE edw_stream.stream SET wanted_running = true, home = 'elsewhere';
SELECT state, reason, message, hint FROM edw_stream.streams;
-- a stall shows its words, and start clears it
UPDATE edw_stream.stream SET stalled = true, reason = 'r', message = 'm', hint = 'h', stalled_at = now();
SELECT state, reason, message, hint, stalled_at IS NOT NULL FROM edw_stream.streams;
SELECT edw_stream.start('s');
SELECT state IN ('starting', 'running', 'idle'), reason, message, hint, stalled_at FROM edw_stream.streams;
SELECT edw_stream.drop_stream('s');
SELECT pg_temp.until($$SELECT count(*) = 0 FROM edw_stream.worker_status()$$);
DROP SCHEMA dw CASCADE;
