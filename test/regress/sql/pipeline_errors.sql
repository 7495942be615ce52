-- What becomes of messages that cannot be applied (K6, K7, H1, H2).
CREATE SCHEMA pe;
SET search_path = pe;
\set VERBOSITY terse

CREATE TABLE item (id int PRIMARY KEY, qty int CHECK (qty >= 0), note text);
SELECT edw_stream.create_stream('pe', NULL, '{item}', 'json');
SELECT edw_stream.map_table('pe', 'item', 'item');

CREATE FUNCTION send(id int, qty text, note text DEFAULT 'n') RETURNS bigint LANGUAGE sql AS $$
	SELECT edw_stream.push('pe', 'item', format('{"id":%s}', id),
		format('{"id":%s,"qty":%s,"note":"%s"}', id, qty, note)) $$;
CREATE VIEW dead AS
	SELECT kafka_offset, stage, reason, sqlstate, message, attempts, status
	FROM edw_stream.dead_letter WHERE stream = 'pe' ORDER BY kafka_offset;

-- A violated constraint is traced to its message; the rest is applied in the same commit (K6).
SELECT count(send(i, CASE WHEN i IN (137, 600, 601) THEN '-1' ELSE '1' END)) FROM generate_series(1, 1000) i;
CALL edw_stream.drain('pe');
SELECT count(*), sum(qty) FROM item;
SELECT * FROM dead;
SELECT count(*) > 0 AS in_one_commit FROM edw_stream.batch WHERE stream = 'pe' AND dead = 2;
SELECT inserted, dead FROM edw_stream.table_stat JOIN edw_stream.mapping USING (mapping_id) WHERE stream = 'pe';

-- A later image of the whole row supersedes the dead letter of its key.
SELECT send(137, '5');
CALL edw_stream.drain('pe');
SELECT * FROM item WHERE id = 137;
SELECT * FROM dead;

-- A partial one waits with it: what it says builds on what is missing.
SELECT edw_stream.push('pe', 'item', '{"id":600}', '{"id":600,"qty":6}');
CALL edw_stream.drain('pe');
SELECT * FROM item WHERE id = 600;
SELECT * FROM dead;

-- Mended and retried, in their order; one that fails again stays with its new error.
ALTER TABLE item DROP CONSTRAINT item_qty_check;
SELECT * FROM edw_stream.retry_dead_letters('pe', reason => 'check_violation', kafka_offset => 599);
SELECT * FROM edw_stream.retry_dead_letters('pe', reason => 'key_waits');
ALTER TABLE item ADD CONSTRAINT item_small CHECK (qty <> -1) NOT VALID;
SELECT * FROM edw_stream.retry_dead_letters('pe');
SELECT * FROM item WHERE id IN (600, 601) ORDER BY id;
SELECT * FROM dead;

-- A delete supersedes too.
SELECT edw_stream.push('pe', 'item', '{"id":601}', NULL);
CALL edw_stream.drain('pe');
SELECT status, count(*) FROM dead GROUP BY status ORDER BY status;

-- A unique violation is tried again before it is anybody's fault (G1), then dead-lettered.
CREATE UNIQUE INDEX item_note ON item (note) WHERE note <> 'n';
SELECT send(2001, '1', 'same'), send(2002, '1', 'same'), send(2003, '1', 'other');
CALL edw_stream.drain('pe');
SELECT * FROM item WHERE id > 2000 ORDER BY id;
SELECT kafka_offset, reason, sqlstate FROM dead WHERE status = 'open';

-- A deferred constraint is checked while its message can still be found.
CREATE TABLE parent (id int PRIMARY KEY);
INSERT INTO parent VALUES (1);
CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
SELECT edw_stream.create_stream('pe_child', NULL, '{child}', 'json');
SELECT edw_stream.map_table('pe_child', 'child', 'child');
SELECT edw_stream.push('pe_child', 'child', NULL, format('{"id":%s,"parent":%s}', i, 1 + (i = 3)::int)) FROM generate_series(1, 4) i;
CALL edw_stream.drain('pe_child');
SELECT * FROM child ORDER BY id;
SELECT kafka_offset, stage, reason, message FROM edw_stream.dead_letter WHERE stream = 'pe_child';

-- An expression that fails for one event: known at once, at the mapping stage.
CREATE TABLE ratio (id int PRIMARY KEY, r int);
SELECT edw_stream.create_stream('pe_expr', NULL, '{ratio}', 'json');
SELECT edw_stream.map_table('pe_expr', 'ratio', 'ratio', columns => '{"r": "100 / n"}',
	options => '{"source_types": {"n": "int"}}');
SELECT edw_stream.push('pe_expr', 'ratio', NULL, format('{"id":%s,"n":%s}', i, i - 2)) FROM generate_series(1, 3) i;
CALL edw_stream.drain('pe_expr');
SELECT * FROM ratio ORDER BY id;
SELECT kafka_offset, stage, reason, sqlstate, message FROM edw_stream.dead_letter WHERE stream = 'pe_expr';

-- A key that is an expression waits like any other (K6).
CREATE TABLE keyed (id int PRIMARY KEY, a int CHECK (a > 0), b int);
SELECT edw_stream.create_stream('pe_keyed', NULL, '{keyed}', 'json');
SELECT edw_stream.map_table('pe_keyed', 'keyed', 'keyed', columns => '{"id": "n * 10", "a": "a", "b": "b"}',
	options => '{"source_types": {"n": "int"}}');
SELECT edw_stream.push('pe_keyed', 'keyed', NULL, m) FROM unnest(ARRAY['{"n":1,"a":0,"b":1}', '{"n":2,"a":1,"b":1}', '{"n":1,"b":2}']) m;
CALL edw_stream.drain('pe_keyed');
SELECT id, a, b FROM keyed;
SELECT kafka_offset, reason FROM edw_stream.dead_letter WHERE stream = 'pe_keyed' ORDER BY 1;

-- Bad bytes of every kind die alone, with their reasons and their headers.
SELECT edw_stream.push('pe', 'item', '{"id":1}', '{"id":1,', '{"h": "v", "n": null}');
SELECT edw_stream.push('pe', 'item', NULL, '[]');
SELECT edw_stream.push('pe', 'item', NULL, '{"qty":1}');
SELECT edw_stream.push('pe', 'item', NULL, '{"id":null,"qty":1,"note":"x"}');
SELECT edw_stream.push('pe', 'item', NULL, '{"id":99999999999,"qty":1,"note":"x"}');
SELECT edw_stream.push('pe', 'item', NULL, '{"id":7,"qty":1,"note":"a\u0000b"}');
SELECT edw_stream.push('pe', 'item', NULL, repeat('[', 1000) || repeat(']', 1000));
SELECT send(1, '42');
CALL edw_stream.drain('pe');
SELECT qty FROM item WHERE id = 1;
SELECT kafka_offset, stage, reason, sqlstate, message, headers
	FROM edw_stream.dead_letter WHERE stream = 'pe' AND kafka_offset >= 1006 ORDER BY 1;

-- The breaker: a topic does not drain into quarantine, and nothing of the batch is committed.
CREATE TABLE strict (id int PRIMARY KEY, v int CHECK (v > 0));
SELECT edw_stream.create_stream('pe_breaker', NULL, '{strict}', 'json');
SELECT edw_stream.map_table('pe_breaker', 'strict', 'strict');
SELECT count(edw_stream.push('pe_breaker', 'strict', NULL, format('{"id":%s,"v":"x"}', i))) FROM generate_series(1, 100) i;
CALL edw_stream.drain('pe_breaker');
SELECT state, reason, hint IS NOT NULL AS hint FROM edw_stream.streams WHERE name = 'pe_breaker';
SELECT count(*) FROM edw_stream.dead_letter WHERE stream = 'pe_breaker';
SELECT next_offset FROM edw_stream.partition_offset WHERE stream = 'pe_breaker';
-- The same for rows that the table refuses.
SELECT edw_stream.create_stream('pe_breaker2', NULL, '{strict2}', 'json');
CREATE TABLE strict2 (LIKE strict INCLUDING ALL);
SELECT edw_stream.map_table('pe_breaker2', 'strict2', 'strict2');
SELECT count(edw_stream.push('pe_breaker2', 'strict2', NULL, format('{"id":%s,"v":0}', i))) FROM generate_series(1, 100) i;
CALL edw_stream.drain('pe_breaker2');
SELECT count(*) FROM edw_stream.dead_letter WHERE stream = 'pe_breaker2';

-- A missing privilege stalls with its reason; nothing goes to the dead letters (K7). It stays stalled until acted upon (H2).
CREATE ROLE pe_owner;
GRANT USAGE ON SCHEMA pe TO pe_owner;
GRANT CREATE ON SCHEMA pe TO pe_owner;
GRANT USAGE ON SCHEMA edw_stream TO pe_owner;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA edw_stream TO pe_owner;
SET ROLE pe_owner;
CREATE TABLE owned (id int PRIMARY KEY, v int);
SELECT edw_stream.create_stream('pe_grant', NULL, '{owned}', 'json');
SELECT edw_stream.map_table('pe_grant', 'owned', 'owned');
SELECT edw_stream.push('pe_grant', 'owned', NULL, '{"id":1,"v":1}');
RESET ROLE;
ALTER TABLE owned OWNER TO CURRENT_USER;
CALL edw_stream.drain('pe_grant');
SELECT state, reason FROM edw_stream.streams WHERE name = 'pe_grant';
SELECT count(*) FROM edw_stream.dead_letter WHERE stream = 'pe_grant';
GRANT ALL ON owned TO pe_owner;
CALL edw_stream.drain('pe_grant');
SELECT edw_stream.wait_for('pe_grant');
SET ROLE pe_owner;
SELECT edw_stream.seek('pe_grant', 'owned', 0, 0);
CALL edw_stream.drain('pe_grant');
RESET ROLE;
SELECT * FROM owned;

-- A target that is gone stalls as well.
DROP TABLE child;
SELECT edw_stream.push('pe_child', 'child', NULL, '{"id":9,"parent":1}');
CALL edw_stream.drain('pe_child');

-- An error in drain's own bookkeeping leaves the session in order.
SELECT edw_stream.unmap_table('pe_keyed', m.target) FROM edw_stream.mapping m WHERE stream = 'pe_keyed';
CREATE TABLE readonly (id int PRIMARY KEY);
SELECT edw_stream.map_table('pe_keyed', 'readonly', topic => (SELECT topics[1] FROM edw_stream.streams WHERE name = 'pe_keyed'));
SELECT edw_stream.push('pe_keyed', (SELECT topics[1] FROM edw_stream.streams WHERE name = 'pe_keyed'), NULL, '{"id":1}');
SET default_transaction_read_only = on;
CALL edw_stream.drain('pe_keyed');
SELECT 'the session goes on' AS state;
RESET default_transaction_read_only;
CALL edw_stream.drain('pe_keyed');

SELECT edw_stream.drop_stream(s) FROM unnest('{pe,pe_expr,pe_keyed,pe_child,pe_breaker,pe_breaker2,pe_grant}'::text[]) s;
\set VERBOSITY default
SET client_min_messages = warning;
DROP SCHEMA pe CASCADE;
DROP OWNED BY pe_owner;
DROP ROLE pe_owner;
