-- When a source starts over, and when it only looks like it (O4, O5, O9).
CREATE SCHEMA ep;
SET search_path = ep;
\set VERBOSITY terse

CREATE TABLE item (id int PRIMARY KEY, v text);
SELECT edw_stream.create_stream('ep', NULL, '{db.public.item}');
SELECT edw_stream.map_table('ep', 'item', 'db.public.item', on_schema_change => 'ignore');

-- An event as Debezium's PostgreSQL connector sends it; at: seconds after some moment.
CREATE FUNCTION send(op text, id int, v text, lsn bigint, at numeric, server text DEFAULT 'db')
	RETURNS void LANGUAGE sql AS $$
	SELECT edw_stream.push('ep', 'db.public.item', format('{"id":%s}', id), jsonb_build_object(
		'op', op,
		'before', CASE WHEN op IN ('u', 'd') THEN jsonb_build_object('id', id) END,
		'after', CASE WHEN op <> 'd' THEN jsonb_build_object('id', id, 'v', v) END,
		'source', jsonb_build_object('connector', 'postgresql', 'name', server, 'db', 'src',
			'schema', 'public', 'table', 'item', 'lsn', lsn,
			'sequence', jsonb_build_array(CASE WHEN op <> 'r' THEN lsn::text END, lsn::text)::text,
			'snapshot', CASE WHEN op = 'r' THEN 'true' ELSE 'false' END,
			'ts_ms', (1700000000000 + at * 1000)::bigint),
		'ts_ms', (1700000000000 + at * 1000)::bigint)::text) $$;
CREATE VIEW state AS
	SELECT epoch, streaming, max_position IS NOT NULL AS position, max_source_ts / 1000000 - 1700000000 AS at
	FROM edw_stream.partition_offset WHERE stream = 'ep';

-- A snapshot, then changes.
SELECT send('r', 1, 'snapshot', 100, 0), send('r', 2, 'snapshot', 100, 0);
SELECT send('u', 1, 'changed', 110, 1);
CALL edw_stream.drain('ep');
SELECT id, v, edw_stream.describe_position(_edw_seq) FROM item ORDER BY id;
SELECT * FROM state;

-- A snapshot row that is delivered once more takes nothing back and starts no epoch.
SELECT send('r', 1, 'snapshot', 100, 0);
CALL edw_stream.drain('ep');
SELECT id, v FROM item ORDER BY id;
SELECT * FROM state;

-- A new snapshot starts an epoch and wins over all before, whatever its position.
SELECT send('r', 1, 'second snapshot', 50, 200), send('r', 2, 'second snapshot', 50, 200);
CALL edw_stream.drain('ep');
SELECT id, v, edw_stream.describe_position(_edw_seq) FROM item ORDER BY id;
SELECT * FROM state;
SELECT send('u', 2, 'changed again', 60, 201);
CALL edw_stream.drain('ep');
SELECT id, v FROM item ORDER BY id;

-- Another server starts an epoch; what comes of the old one afterwards is stale.
SELECT send('u', 1, 'by the other server', 10, 300, 'db2');
SELECT send('u', 1, 'by the old server, late', 70, 201, 'db');
CALL edw_stream.drain('ep');
SELECT id, v FROM item ORDER BY id;
SELECT * FROM state;

-- A redelivered stretch has old positions and old times: stale, not a reason to stall.
SELECT send('u', 2, 'new', 20, 400, 'db2'), send('u', 2, 'old', 12, 301, 'db2');
CALL edw_stream.drain('ep');
SELECT id, v FROM item ORDER BY id;

-- A new snapshot that finds no row of this partition is told by the first transaction after it alone, which follows no
-- commit that the connector knows. Delivered once more it starts nothing.
CREATE TABLE pair (id int PRIMARY KEY, v text);
SELECT edw_stream.create_stream('ep_unseen', NULL, '{db.public.pair}');
SELECT edw_stream.map_table('ep_unseen', 'pair', 'db.public.pair', on_schema_change => 'ignore');
CREATE FUNCTION send_pair(op text, id int, v text, last_commit bigint, lsn bigint, at numeric)
	RETURNS void LANGUAGE sql AS $$
	SELECT edw_stream.push('ep_unseen', 'db.public.pair', format('{"id":%s}', id), jsonb_build_object(
		'op', op, 'before', CASE WHEN op = 'd' THEN jsonb_build_object('id', id) END,
		'after', CASE WHEN op <> 'd' THEN jsonb_build_object('id', id, 'v', v) END,
		'source', jsonb_build_object('connector', 'postgresql', 'name', 'db', 'db', 'src',
			'schema', 'public', 'table', 'pair', 'lsn', lsn,
			'sequence', jsonb_build_array(last_commit::text, lsn::text)::text,
			'snapshot', 'false', 'ts_ms', (1700000000000 + at * 1000)::bigint),
		'ts_ms', (1700000000000 + at * 1000)::bigint)::text) $$;
SELECT send_pair('c', 1, 'first', NULL, 10, 1), send_pair('c', 2, 'first', 20, 30, 2), send_pair('d', 1, NULL, 40, 50, 3);
SELECT send_pair('c', 1, 'again', NULL, 60, 4), send_pair('u', 2, 'again', NULL, 61, 4);
CALL edw_stream.drain('ep_unseen');
SELECT id, v, edw_stream.describe_position(_edw_seq) FROM pair ORDER BY id;
SELECT send_pair('u', 2, 'later', 62, 70, 5), send_pair('c', 1, 'again', NULL, 60, 4), send_pair('u', 2, 'again', NULL, 61, 4);
CALL edw_stream.drain('ep_unseen');
SELECT id, v, edw_stream.describe_position(_edw_seq) FROM pair ORDER BY id;
-- over a minute younger it does not stall either; a connector without sequences starts nothing by itself
SELECT send_pair('u', 2, 'much later', NULL, 80, 500), send_pair('u', 2, 'last', NULL, 90, 600);
CALL edw_stream.drain('ep_unseen');
SELECT id, v, edw_stream.describe_position(_edw_seq) FROM pair ORDER BY id;
SELECT epoch FROM edw_stream.partition_offset WHERE stream = 'ep_unseen';
SELECT edw_stream.drop_stream('ep_unseen');

-- A position that jumps back though the change is younger stalls, and nothing of it is guessed.
SELECT send('u', 2, 'jumped', 5, 500, 'db2');
CALL edw_stream.drain('ep');
SELECT state, reason FROM edw_stream.streams WHERE name = 'ep';
SELECT next_offset FROM edw_stream.partition_offset WHERE stream = 'ep';
CALL edw_stream.drain('ep');
SELECT edw_stream.bump_epoch('ep');
SELECT * FROM state;
CALL edw_stream.drain('ep');
SELECT id, v, edw_stream.describe_position(_edw_seq) FROM item ORDER BY id;

-- Everything once more from the beginning ends in the same state.
CREATE TABLE before AS SELECT id, v FROM item;
SELECT edw_stream.seek('ep', 'db.public.item', 0, 0);
CALL edw_stream.drain('ep');
SELECT id, v FROM item EXCEPT SELECT id, v FROM before;
SELECT * FROM state;

-- A tombstone after its own delete does nothing; a lone one is a delete in Kafka's order (O9).
-- The pair is known across two batches.
SELECT send('d', 1, NULL, 600, 600, 'db2');
CALL edw_stream.drain('ep');
SELECT edw_stream.push('ep', 'db.public.item', '{"id":1}', NULL);
CALL edw_stream.drain('ep');
SELECT unchanged > 0 AS tombstone_was_nothing FROM edw_stream.tables WHERE stream = 'ep';
SELECT edw_stream.push('ep', 'db.public.item', '{"id":2}', NULL);
CALL edw_stream.drain('ep');
SELECT count(*) FROM item;
SELECT deleted FROM edw_stream.tables WHERE stream = 'ep';

-- Bad input.
SELECT edw_stream.bump_epoch('nowhere');
SELECT edw_stream.bump_epoch(NULL);
CREATE ROLE ep_other;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA edw_stream TO ep_other;
SET ROLE ep_other;
SELECT edw_stream.bump_epoch('ep');
SELECT edw_stream.seek('ep', 'db.public.item', 0, 0);
CALL edw_stream.drain('ep');
SELECT edw_stream.wait_for('ep');
SELECT edw_stream.push('ep', 'db.public.item', NULL, '{}');
SELECT * FROM edw_stream.retry_dead_letters('ep');
RESET ROLE;

SELECT edw_stream.drop_stream('ep');
\set VERBOSITY default
SET client_min_messages = warning;
DROP SCHEMA ep CASCADE;
DROP OWNED BY ep_other;
DROP ROLE ep_other;
