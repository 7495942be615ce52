-- Events as Debezium's PostgreSQL connector sends them, for the apply_* tests, which include this:
--     \getenv srcdir PG_ABS_SRCDIR
--     \set include :srcdir '/include/events.sql'
--     \set ECHO none
--     \i :include
--     \set ECHO all
-- In them lsn is the position, tx the transaction (the last commit's lsn before it).
\pset format unaligned
\pset tuples_only on
\set VERBOSITY terse
SET client_min_messages = warning;

-- fields: the row; of a delete its key. header: __debezium.newkey or __debezium.oldkey. ts: the source's time in ms
CREATE FUNCTION pg_temp.send(stream text, topic text, op text, fields jsonb, lsn bigint,
	tx bigint DEFAULT 1, header text DEFAULT NULL, before jsonb DEFAULT NULL, partition int DEFAULT 0,
	key text[] DEFAULT '{id}', snapshot text DEFAULT 'false', ts bigint DEFAULT 1700000000000)
	RETURNS void LANGUAGE sql AS $$
	SELECT edw_stream.push(stream, topic,
		CASE WHEN op <> 't' THEN (SELECT jsonb_object_agg(k, fields -> k) FROM unnest(key) AS k)::text END,
		jsonb_build_object('op', op,
			'before', CASE WHEN op = 'd' THEN fields ELSE before END,
			'after', CASE WHEN op NOT IN ('d', 't') THEN fields END,
			'source', jsonb_build_object('connector', 'postgresql', 'name', 'n', 'db', 'src',
				'schema', 'public', 'table', topic, 'txId', tx, 'ts_ms', ts,
				'lsn', lsn, 'sequence', jsonb_build_array(tx::text, lsn::text)::text,
				'snapshot', snapshot),
			'ts_ms', 1700000000000)::text,
		CASE WHEN header IS NOT NULL THEN jsonb_build_object(header, '{}') END, partition) $$;

-- a null value: after its delete, or alone
CREATE FUNCTION pg_temp.tombstone(stream text, topic text, fields jsonb)
	RETURNS void LANGUAGE sql AS $$
	SELECT edw_stream.push(stream, topic, fields::text, NULL) $$;

-- an update of a primary key: delete, tombstone, insert (P3)
CREATE FUNCTION pg_temp.move(stream text, topic text, old_row jsonb, new_row jsonb, lsn bigint, tx bigint)
	RETURNS void LANGUAGE sql AS $$
	SELECT pg_temp.send(stream, topic, 'd', jsonb_build_object('id', old_row -> 'id'), lsn, tx, '__debezium.newkey'),
		pg_temp.tombstone(stream, topic, jsonb_build_object('id', old_row -> 'id')),
		pg_temp.send(stream, topic, 'c', new_row, lsn, tx, '__debezium.oldkey') $$;

-- what became of a target's events so far, and how many they were
CREATE FUNCTION pg_temp.counts(of regclass) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(format('%s %s', n, what), ', ' ORDER BY ord) FILTER (WHERE n > 0), 'nothing')
		|| format('; %s events', sum(n))
	FROM edw_stream.tables AS t
		CROSS JOIN LATERAL (VALUES (1, 'inserted', inserted), (2, 'updated', updated), (3, 'deleted', deleted),
			(4, 'truncated', truncated), (5, 'duplicates', duplicates), (6, 'stale', stale),
			(7, 'unchanged', unchanged), (8, 'folded', folded), (9, 'filtered', filtered),
			(10, 'dead', dead)) AS o (ord, what, n)
	WHERE t.target = of $$;
