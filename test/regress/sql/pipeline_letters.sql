-- What becomes of dead letters, and of what is innocent of them (K6, K1, O1).
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/events.sql'
\set ECHO none
\i :include
\set ECHO all
CREATE SCHEMA pl;
SET search_path = pl;
CREATE FUNCTION letters(of text) RETURNS TABLE (o bigint, reason text, epoch int, attempts int, status text)
	LANGUAGE sql AS $$ SELECT kafka_offset, reason, epoch, attempts, status FROM edw_stream.dead_letter
	WHERE stream = of ORDER BY topic, kafka_offset $$;

-- What one of a topic's tables rejects is applied to none of them: a retry would append it twice.
CREATE TABLE item (id int PRIMARY KEY, body text);
CREATE TABLE item_log (id int, name text);
SELECT edw_stream.create_stream('pl_both', NULL, '{t}');
SELECT edw_stream.map_table('pl_both', 'item', 't');
SELECT edw_stream.map_table('pl_both', 'item_log', 't', apply => 'append');
SELECT pg_temp.send('pl_both', 't', 'u', '{"id":1,"name":"n","body":"__debezium_unavailable_value"}', 10);
SELECT pg_temp.send('pl_both', 't', 'c', '{"id":2,"name":"n","body":"b"}', 20);
CALL edw_stream.drain('pl_both');
SELECT id, name FROM item_log;
INSERT INTO item VALUES (1, 'mended');
SELECT * FROM edw_stream.retry_dead_letters('pl_both');
SELECT id, body FROM item ORDER BY id;
SELECT id, name FROM item_log ORDER BY id;
SELECT * FROM letters('pl_both');

-- A letter keeps the epoch it came in, unreadable or not: a retry takes nothing back (O1, O4).
CREATE TABLE price (id int PRIMARY KEY, v int CHECK (v <> 0));
SELECT edw_stream.create_stream('pl_epoch', NULL, '{t}');
SELECT edw_stream.map_table('pl_epoch', 'price', 't');
SELECT pg_temp.send('pl_epoch', 't', 'c', '{"id":1,"v":"x"}', 10), pg_temp.send('pl_epoch', 't', 'c', '{"id":2,"v":0}', 11);
CALL edw_stream.drain('pl_epoch');
SELECT edw_stream.bump_epoch('pl_epoch');
SELECT pg_temp.send('pl_epoch', 't', 'c', '{"id":1,"v":2}', 5);
CALL edw_stream.drain('pl_epoch');
UPDATE edw_stream.dead_letter SET value = convert_to(replace(convert_from(value, 'UTF8'), '"x"', '1'), 'UTF8') WHERE stream = 'pl_epoch';
SELECT * FROM letters('pl_epoch');
SELECT retried, resolved FROM edw_stream.retry_dead_letters('pl_epoch', kafka_offset => 0);
SELECT id, v FROM price;
SELECT * FROM letters('pl_epoch');

-- One that a seek() brought back and that is applied now is no letter any more; another opens again.
CREATE TABLE entry (id int, v int CHECK (v > 0));
SELECT edw_stream.create_stream('pl_seek', NULL, '{t}', 'json');
SELECT edw_stream.map_table('pl_seek', 'entry', 't', apply => 'append');
SELECT edw_stream.push('pl_seek', 't', NULL, m) FROM unnest(ARRAY['{"id":1,"v":0}', '{"id":2,"v":-1}']) m;
CALL edw_stream.drain('pl_seek');
ALTER TABLE entry DROP CONSTRAINT entry_v_check, ADD CHECK (v >= 0);
SELECT edw_stream.seek('pl_seek', 't', 0, 0);
CALL edw_stream.drain('pl_seek');
SELECT * FROM letters('pl_seek');
SELECT * FROM edw_stream.retry_dead_letters('pl_seek');
SELECT id, v FROM entry;

-- What is given up is discarded, just what the arguments choose; the rows that waited for it go on (K6).
CREATE TABLE part (id int PRIMARY KEY, body text, v int CHECK (v > 0));
SELECT edw_stream.create_stream('pl_discard', NULL, '{t,u}', 'json');
SELECT edw_stream.map_table('pl_discard', 'part', 't', on_schema_change => 'ignore');
SELECT edw_stream.push('pl_discard', 't', NULL, m) FROM unnest(ARRAY['{"id":1,"body":"b","v":1}', '{"id":1,"v":0}',
	'{"id":1,"body":"waits"}', '{"id":2,"v":0}', 'no JSON']) m;
CALL edw_stream.drain('pl_discard');
SELECT * FROM letters('pl_discard');
SELECT edw_stream.discard_dead_letters('pl_discard', topic => 'u'), edw_stream.discard_dead_letters('pl_discard', partition => 1),
	edw_stream.discard_dead_letters('pl_discard', kafka_offset => 0), edw_stream.discard_dead_letters('pl_discard', reason => 'key_waits', kafka_offset => 1);
SELECT edw_stream.discard_dead_letters('pl_discard', 't', 0, 1, 'check_violation');
SELECT edw_stream.push('pl_discard', 't', NULL, '{"id":1,"v":3}'), edw_stream.push('pl_discard', 't', NULL, '{"id":2,"body":"waits"}');
CALL edw_stream.drain('pl_discard');
SELECT * FROM edw_stream.retry_dead_letters('pl_discard', reason => 'key_waits');
SELECT id, body, v FROM part ORDER BY id;
SELECT edw_stream.discard_dead_letters('pl_discard');
SELECT edw_stream.discard_dead_letters('pl_discard');
SELECT edw_stream.push('pl_discard', 't', NULL, '{"id":2,"v":2}');
CALL edw_stream.drain('pl_discard');
SELECT id, body, v FROM part ORDER BY id;
SELECT * FROM letters('pl_discard');
SELECT edw_stream.discard_dead_letters(NULL);
SELECT edw_stream.discard_dead_letters('pl_discord');

-- What a later event leaves alone it does not supersede: appended rows, and rows that no delete removes.
CREATE TABLE fact (id int PRIMARY KEY, v int CHECK (v > 0));
SELECT edw_stream.create_stream('pl_append', NULL, '{t}', 'json');
SELECT edw_stream.map_table('pl_append', 'fact', 't', apply => 'append', keys => '{id}');
CREATE TABLE kept (id int PRIMARY KEY, v int CHECK (v > 0));
SELECT edw_stream.create_stream('pl_kept', NULL, '{t}', 'json');
SELECT edw_stream.map_table('pl_kept', 'kept', 't', on_delete => 'ignore');
SELECT edw_stream.push('pl_append', 't', NULL, '{"id":1,"v":0}'), edw_stream.push('pl_kept', 't', '{"id":1}', '{"id":1,"v":0}');
CALL edw_stream.drain('pl_append');
CALL edw_stream.drain('pl_kept');
SELECT edw_stream.push('pl_append', 't', NULL, '{"id":1,"v":2}'), edw_stream.push('pl_kept', 't', '{"id":1}', NULL);
CALL edw_stream.drain('pl_append');
CALL edw_stream.drain('pl_kept');
SELECT 'append' AS what, * FROM letters('pl_append') UNION ALL SELECT 'kept', * FROM letters('pl_kept') ORDER BY 1;

-- The search for a poison message blames no row for a parent that stands further back in the batch,
-- be the constraint immediate or deferred.
CREATE TABLE parent (id int PRIMARY KEY, n int NOT NULL);
CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent, later int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
SELECT edw_stream.create_stream('pl_fk', NULL, '{a_child,b_parent}', 'json');
SELECT edw_stream.map_table('pl_fk', 'parent', 'b_parent');
SELECT edw_stream.map_table('pl_fk', 'child', 'a_child');
SELECT count(edw_stream.push('pl_fk', 'a_child', NULL, format('{"id":%1$s,"parent":%2$s,"later":%3$s}',
	i, CASE i WHEN 6 THEN 60 ELSE i END, CASE i WHEN 3 THEN 30 ELSE i END))) FROM generate_series(1, 7) i;
SELECT count(edw_stream.push('pl_fk', 'b_parent', NULL, format('{"id":%s,"n":%s}', i, CASE i WHEN 5 THEN 'null' ELSE '1' END))) FROM generate_series(1, 7) i;
CALL edw_stream.drain('pl_fk');
SELECT string_agg(id::text, ' ' ORDER BY id) FROM parent;
SELECT string_agg(id::text, ' ' ORDER BY id) FROM child;
SELECT topic, kafka_offset, reason FROM edw_stream.dead_letter WHERE stream = 'pl_fk' ORDER BY 1, 2;

-- Events that lack different columns of a wide table go one by one where one statement cannot hold them all.
DO $$ BEGIN
	EXECUTE (SELECT format('CREATE TABLE wide (id int PRIMARY KEY, %s)', string_agg('c' || i || ' int', ',')) FROM generate_series(1, 1500) i);
END $$;
SELECT edw_stream.create_stream('pl_wide', NULL, '{t}', 'json');
SELECT edw_stream.map_table('pl_wide', 'wide', 't');
SELECT count(edw_stream.push('pl_wide', 't', NULL, (SELECT jsonb_object_agg('c' || i, n) || jsonb_build_object('id', n)
	FROM generate_series(n, 1500, 2) i)::text)) FROM generate_series(1, 2) n;
CALL edw_stream.drain('pl_wide');
SELECT id, c1, c2, c1499, c1500 FROM wide ORDER BY id;
SELECT count(*) FROM letters('pl_wide');

SELECT edw_stream.drop_stream(name) FROM edw_stream.stream WHERE name LIKE 'pl\_%';
DROP SCHEMA pl CASCADE;
