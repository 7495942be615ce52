-- What one commit holds: batches, source transactions, schema changes, positions of a stream.
CREATE SCHEMA pb;
SET search_path = pb;
\set VERBOSITY terse

CREATE TABLE item (id int PRIMARY KEY, v int);
CREATE TABLE line (id int PRIMARY KEY, v int);
CREATE VIEW batches AS SELECT stream, messages, incomplete_transactions FROM edw_stream.batch
	WHERE stream LIKE 'pb%' ORDER BY batch_id;

-- An event of a source transaction; order: its place in the transaction (total_order).
CREATE FUNCTION send(stream text, tab text, id int, tx text, ord int, op text DEFAULT 'c')
	RETURNS bigint LANGUAGE sql AS $$
	SELECT edw_stream.push(stream, 'db.public.' || tab, format('{"id":%s}', id), jsonb_build_object(
		'op', op, 'before', CASE WHEN op = 'd' THEN jsonb_build_object('id', id) END,
		'after', CASE WHEN op <> 'd' THEN jsonb_build_object('id', id, 'v', ord) END,
		'source', jsonb_build_object('connector', 'postgresql', 'name', 'db', 'db', 'src', 'schema', 'public',
			'table', tab, 'lsn', 1000 + ord, 'sequence', jsonb_build_array('1000', (1000 + ord)::text)::text,
			'snapshot', 'false', 'ts_ms', 1700000000000),
		'transaction', jsonb_build_object('id', tx, 'total_order', ord, 'data_collection_order', ord),
		'ts_ms', 1700000000000)::text) $$;
CREATE FUNCTION mark(stream text, tx text, status text, items int DEFAULT 0, lines int DEFAULT 0, others int DEFAULT 0)
	RETURNS bigint LANGUAGE sql AS $$
	SELECT edw_stream.push(stream, 'db.transaction', jsonb_build_object('id', tx)::text, jsonb_build_object(
		'status', status, 'id', tx, 'ts_ms', 1700000000000,
		'event_count', CASE status WHEN 'END' THEN items + lines + others END,
		'data_collections', CASE status WHEN 'END' THEN jsonb_build_array(
			jsonb_build_object('data_collection', 'public.item', 'event_count', items),
			jsonb_build_object('data_collection', 'public.line', 'event_count', lines),
			jsonb_build_object('data_collection', 'public.unmapped', 'event_count', others)) END)::text) $$;

-- Without a transaction topic: a full batch is cut where the source transaction changes (P7).
SELECT edw_stream.create_stream('pb_cut', NULL, '{db.public.item}', options => '{"batch_rows": 10}');
SELECT edw_stream.map_table('pb_cut', 'item', 'db.public.item');
SELECT count(send('pb_cut', 'item', i, CASE WHEN i <= 7 THEN 'a:1' WHEN i <= 15 THEN 'b:1' ELSE 'c:1' END, i))
	FROM generate_series(1, 18) i;
CALL edw_stream.drain('pb_cut');
SELECT messages FROM batches WHERE stream = 'pb_cut';
-- One transaction larger than a batch is committed whole; so are deletes with their tombstones.
SELECT count(send('pb_cut', 'item', i, 'd:1', i)) FROM generate_series(101, 125) i;
SELECT count(send('pb_cut', 'item', i, 'e:1', 1000 + i, 'd')), count(edw_stream.push('pb_cut', 'db.public.item', format('{"id":%s}', i), NULL))
	FROM generate_series(101, 112) i;
SELECT send('pb_cut', 'item', 200, 'f:1', 3000);
CALL edw_stream.drain('pb_cut');
SELECT messages FROM batches WHERE stream = 'pb_cut' OFFSET 2;
SELECT count(*) FROM item;
SELECT edw_stream.drop_stream('pb_cut');

-- With a transaction topic nothing of a source transaction is visible before all of it is.
TRUNCATE item;
ALTER TABLE item DROP COLUMN _edw_seq;
SELECT edw_stream.create_stream('pb_tx', NULL, '{db.public.item,db.public.line}',
	options => '{"transaction_topic": "db.transaction", "transaction_timeout": "1 hour"}');
SELECT edw_stream.map_table('pb_tx', 'item', 'db.public.item');
SELECT edw_stream.map_table('pb_tx', 'line', 'db.public.line');
SELECT mark('pb_tx', '7:100', 'BEGIN'), send('pb_tx', 'item', 1, '7:101', 1), send('pb_tx', 'line', 1, '7:102', 2),
	send('pb_tx', 'item', 2, '7:103', 3);
SELECT mark('pb_tx', '7:110', 'END', items => 2, lines => 1, others => 4);
SELECT mark('pb_tx', '8:1', 'BEGIN'), mark('pb_tx', '8:2', 'END');
CALL edw_stream.drain('pb_tx');
SELECT (SELECT count(*) FROM item) AS items, (SELECT count(*) FROM line) AS lines;
SELECT messages, incomplete_transactions FROM batches WHERE stream = 'pb_tx';
-- One that stays incomplete is committed after a bounded time, and marked; what is complete does not wait.
SELECT mark('pb_tx', '9:1', 'BEGIN'), send('pb_tx', 'item', 3, '9:1', 1), mark('pb_tx', '9:1', 'END', items => 1, lines => 1);
CALL edw_stream.drain('pb_tx');
SELECT (SELECT count(*) FROM item) AS items, (SELECT count(*) FROM line) AS lines;
UPDATE edw_stream.inbox SET pushed_at = pushed_at - interval '2 hours' WHERE stream = 'pb_tx';
SELECT mark('pb_tx', '10:1', 'BEGIN'), send('pb_tx', 'line', 4, '10:1', 1), mark('pb_tx', '10:1', 'END', lines => 1);
CALL edw_stream.drain('pb_tx');
SELECT incomplete_transactions FROM batches WHERE stream = 'pb_tx' AND incomplete_transactions IS NOT NULL;
SELECT (SELECT count(*) FROM item) AS items, (SELECT count(*) FROM line) AS lines;
-- A stretch that is delivered again does not count twice, and holds nothing up.
SELECT mark('pb_tx', '11:1', 'BEGIN'), send('pb_tx', 'item', 5, '11:1', 1), send('pb_tx', 'item', 5, '11:1', 1);
SELECT send('pb_tx', 'line', 5, '11:1', 2), mark('pb_tx', '11:1', 'END', items => 1, lines => 1);
SELECT send('pb_tx', 'line', 5, '11:1', 2);
CALL edw_stream.drain('pb_tx');
SELECT count(*) FILTER (WHERE incomplete_transactions IS NOT NULL) AS incomplete FROM batches WHERE stream = 'pb_tx';
SELECT (SELECT count(*) FROM item) AS items, (SELECT count(*) FROM line) AS lines;
SELECT edw_stream.drop_stream('pb_tx');

-- A field that comes up later stalls the stream (on_schema_change fail) or is recorded (ignore).
CREATE TABLE wide (id int PRIMARY KEY);
CREATE TABLE wide2 (id int PRIMARY KEY);
SELECT edw_stream.create_stream('pb_fail', NULL, '{t}', 'json');
SELECT edw_stream.map_table('pb_fail', 'wide', 't');
SELECT edw_stream.create_stream('pb_ignore', NULL, '{t}', 'json');
SELECT edw_stream.map_table('pb_ignore', 'wide2', 't', on_schema_change => 'ignore');
SELECT edw_stream.push(s, 't', NULL, m) FROM unnest('{pb_fail,pb_ignore}'::text[]) s,
	unnest(ARRAY['{"id":1,"old":1}', '{"id":2,"old":1,"added":2}']) m;
CALL edw_stream.drain('pb_fail');
CALL edw_stream.drain('pb_ignore');
SELECT count(*) AS fail, (SELECT count(*) FROM wide2) AS ignore FROM wide;
SELECT stream, known_fields FROM edw_stream.mapping WHERE stream LIKE 'pb%' ORDER BY 1;
SELECT edw_stream.start('pb_fail');
SELECT edw_stream.wait_for('pb_fail', '180s');
SELECT edw_stream.pause('pb_fail');
SELECT count(*) FROM wide;

-- What no mapping takes is skipped and counted (H1).
SELECT edw_stream.create_stream('pb_skip', NULL, '{^pb_}', 'json');
CREATE TABLE pb_a (id int PRIMARY KEY);
SELECT edw_stream.map_table('pb_skip', 'pb_a', 'pb_a');
SELECT edw_stream.push('pb_skip', t, NULL, '{"id":1}') FROM unnest('{pb_a,pb_b,pb_b}'::text[]) t;
CALL edw_stream.drain('pb_skip');
SELECT topic, reason, messages FROM edw_stream.skip_stat WHERE stream = 'pb_skip';
-- start_at latest: for what stands there when the stream is new; partitions found later are read from their beginning (K4).
SELECT edw_stream.create_stream('pb_latest', NULL, '{t}', 'json', start_at => 'latest');
CREATE TABLE recent (id int PRIMARY KEY);
SELECT edw_stream.map_table('pb_latest', 'recent', 't');
SELECT edw_stream.push('pb_latest', 't', NULL, '{"id":1}');
CALL edw_stream.drain('pb_latest');
SELECT edw_stream.push('pb_latest', 't', NULL, '{"id":2}');
SELECT edw_stream.push('pb_latest', 't', NULL, '{"id":3}', partition => 4);
CALL edw_stream.drain('pb_latest');
SELECT id FROM recent ORDER BY id;
SELECT topic, partition, next_offset FROM edw_stream.partition_offset WHERE stream = 'pb_latest' ORDER BY 2;

-- A lost offset stalls with the lost range, or is skipped and counted (K3).
DELETE FROM edw_stream.inbox WHERE stream = 'pb_latest' AND partition = 0;
SELECT edw_stream.push('pb_latest', 't', NULL, '{"id":5}');
SELECT edw_stream.seek('pb_latest', 't', 0, 0);
CALL edw_stream.drain('pb_latest');
SELECT state, reason FROM edw_stream.streams WHERE name = 'pb_latest';
UPDATE edw_stream.stream SET options = options || '{"on_offset_lost": "earliest"}' WHERE name = 'pb_latest';
SELECT edw_stream.seek('pb_latest', 't', 0, 0);
CALL edw_stream.drain('pb_latest');
SELECT id FROM recent ORDER BY id;
SELECT reason, messages FROM edw_stream.skip_stat WHERE stream = 'pb_latest';

-- push() counts offsets in its transaction, through rollbacks to savepoints; nothing is lost or given twice.
SELECT edw_stream.create_stream('pb_push', NULL, '{pb_push}', 'json');
CREATE TABLE pushed (id int PRIMARY KEY);
SELECT edw_stream.map_table('pb_push', 'pushed', 'pb_push');
BEGIN;
SELECT edw_stream.push('pb_push', 'pb_push', NULL, '{"id":1}');
SAVEPOINT a;
SELECT edw_stream.push('pb_push', 'pb_push', NULL, '{"id":2}'), edw_stream.push('pb_push', 'pb_push', NULL, '{"id":3}', partition => 1);
ROLLBACK TO a;
SELECT edw_stream.push('pb_push', 'pb_push', NULL, '{"id":4}', partition => 1);
RELEASE a;
SELECT edw_stream.push('pb_push', 'pb_push', NULL, '{"id":5}'), edw_stream.push('pb_push', 'pb_push', NULL, '{"id":6}', partition => 1);
COMMIT;
BEGIN;
SELECT edw_stream.push('pb_push', 'pb_push', NULL, '{"id":7}');
ROLLBACK;
SELECT edw_stream.push('pb_push', 'pb_push', NULL, '{"id":8}');
CALL edw_stream.drain('pb_push');
SELECT array_agg(id ORDER BY id) FROM pushed;
SELECT partition, kafka_offset FROM edw_stream.inbox WHERE stream = 'pb_push' ORDER BY 1, 2;

-- Bad input.
CALL edw_stream.drain(NULL);
CALL edw_stream.drain('nowhere');
BEGIN;
CALL edw_stream.drain('pb_skip');
ROLLBACK;
SELECT edw_stream.create_stream('pb_empty', NULL, '{t}', 'json');
CALL edw_stream.drain('pb_empty');
SELECT edw_stream.wait_for('nowhere');
SELECT edw_stream.wait_for('pb_skip', '-1s');
SELECT edw_stream.push('pb_skip', 'pb_a', NULL, '{"id":2}');
SELECT edw_stream.wait_for('pb_skip', '10ms');
SELECT edw_stream.push(NULL, 't', NULL, '{}');
SELECT edw_stream.push('pb_skip', NULL, NULL, '{}');
SELECT edw_stream.push('pb_skip', 'other', NULL, '{}');
SELECT edw_stream.push('pb_skip', 'pb_a', NULL, '{}', partition => -1);
SELECT edw_stream.push('pb_skip', 'pb_a', NULL, '{}', headers => '"x"');
SELECT edw_stream.seek('pb_skip', 'pb_a', 0, -1);
SELECT edw_stream.seek('pb_skip', 'pb_a', 7, 0);
SELECT edw_stream.seek('pb_skip', 'nothing', 0, 0);
-- … nor behind the end of the inbox, where it would swallow what comes next (H1)
SELECT edw_stream.seek('pb_skip', 'pb_a', 0, 1000000);
SELECT edw_stream.seek('pb_skip', 'pb_a', 0, (SELECT end_offset FROM edw_stream.partitions WHERE stream = 'pb_skip' AND topic = 'pb_a'));
SELECT * FROM edw_stream.retry_dead_letters(NULL);
SELECT * FROM edw_stream.retry_dead_letters('nowhere');
SELECT * FROM edw_stream.retry_dead_letters('pb_skip');

SELECT edw_stream.drop_stream(name) FROM edw_stream.streams WHERE name LIKE 'pb%';
\set VERBOSITY default
SET client_min_messages = warning;
DROP SCHEMA pb CASCADE;
