-- create_stream refuses what is wrong at the call, says what would be right, and leaves nothing (H1)
\pset format unaligned
\pset tuples_only on
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/raises.sql'
\set ECHO none
\i :include
\set ECHO all

-- names
SELECT pg_temp.raises($$SELECT edw_stream.create_stream(NULL, NULL, '{a}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('', NULL, '{a}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('a b', NULL, '{a}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('.hidden', NULL, '{a}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream(repeat('n', 64), NULL, '{a}')$$);

-- servers: missing, of another wrapper, no privilege, no user mapping
CREATE FOREIGN DATA WRAPPER regress_other;
CREATE SERVER regress_other_server FOREIGN DATA WRAPPER regress_other;
CREATE SERVER regress_kafka FOREIGN DATA WRAPPER edw_kafka OPTIONS ("bootstrap.servers" '127.0.0.1:1');
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', 'regress_nosuch', '{a}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', 'regress_other_server', '{a}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', 'regress_kafka', '{a}')$$);
DROP SERVER regress_kafka;
DROP FOREIGN DATA WRAPPER regress_other CASCADE;

-- topics
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, NULL)$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{a,NULL}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{a,b,a}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{{a},{b}}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{"a b"}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{..}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, ARRAY[repeat('t', 250)])$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{^shop\\.(}')$$);

-- format and registry
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{a}', format => 'debezium_json')$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{a}', registry => 'r')$$);

-- start_at
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{a}', start_at => 'begin')$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{a}', start_at => '999999-01-01')$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{a}', start_at => 'infinity')$$);

-- workers
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{a}', workers => 0)$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{a}', workers => 65)$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{a}', workers => 2)$$);

-- options
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{a}', options => '[]')$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{a}', options => '{"on_ofset_lost": "error"}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{a}', options => '{"nothing like it": 1}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{a}', options => '{"decimal.handling.mode": "doubel"}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{a}', options => '{"time.precision.mode": 5}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{a}', options => '{"unavailable.value.placeholder": ""}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{a}', options => '{"transaction_timeout": "soon"}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{a}', options => '{"transaction_timeout": "-1 s"}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{a}', options => '{"max_dead_share": 1.5}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{a}', options => '{"max_dead_share": "NaN"}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{a}', options => '{"max_dead_window": 0}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{a}', options => '{"batch_rows": 1.5}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{a}', options => '{"batch_rows": "many"}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{a}', options => '{"synchronous_commit": "perhaps"}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{a}', options => '{"transaction_topic": "a"}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{a}', options => '{"transaction_topic": "no good"}')$$);

-- nothing of all this is there
SELECT count(*) FROM edw_stream.streams;

-- all that can be said, and defaults; nulls are the defaults
SELECT edw_stream.create_stream('s', NULL, '{a,^b\\.}', format => 'json', start_at => '2026-01-02 03:04:05+00',
	workers => 1, options => '{
		"decimal.handling.mode": "string", "time.precision.mode": "isostring",
		"binary.handling.mode": "base64-url-safe", "interval.handling.mode": "string",
		"unavailable.value.placeholder": "?", "on_offset_lost": "earliest",
		"transaction_topic": "t", "transaction_timeout": "5s",
		"max_dead_share": 0.5, "max_dead_window": 10, "synchronous_commit": true, "batch_rows": 7}');
SELECT edw_stream.create_stream('d', NULL, '{a}', format => NULL, start_at => NULL, workers => NULL, options => NULL);
SELECT name, owner = current_user, server, topics, format, registry,
	CASE WHEN start_at ~ '^\d' THEN start_at::timestamptz = '2026-01-02 03:04:05+00' END, start_at ~ '^\d' OR start_at = 'earliest',
	workers, state, reason, options
FROM edw_stream.streams ORDER BY name;
SELECT pg_temp.raises($$SELECT edw_stream.create_stream('s', NULL, '{a}')$$);

-- no stream, no target
SELECT pg_temp.raises($$SELECT edw_stream.start(NULL)$$);
SELECT pg_temp.raises($$SELECT edw_stream.pause(NULL)$$);
SELECT pg_temp.raises($$SELECT edw_stream.drop_stream(NULL)$$);
SELECT pg_temp.raises($$SELECT edw_stream.unmap_table(NULL, 'pg_class')$$);
SELECT pg_temp.raises($$SELECT edw_stream.unmap_table('s', NULL)$$);
-- a stream that is not there
SELECT pg_temp.raises($$SELECT edw_stream.start('ss')$$);
SELECT pg_temp.raises($$SELECT edw_stream.pause('quite another')$$);
SELECT pg_temp.raises($$SELECT edw_stream.drop_stream('dd')$$);
-- start wants something to feed
SELECT pg_temp.raises($$SELECT edw_stream.start('s')$$);

-- transactional: a rolled back call leaves nothing
BEGIN;
SELECT edw_stream.create_stream('r', NULL, '{a}');
SELECT edw_stream.drop_stream('d');
ROLLBACK;
SELECT name FROM edw_stream.streams ORDER BY name;
SELECT edw_stream.drop_stream('s'), edw_stream.drop_stream('d');
SELECT count(*) FROM edw_stream.streams;
