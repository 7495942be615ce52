-- map_table refuses what is wrong at the call, says what would be right, and leaves nothing (H1)
\pset format unaligned
\pset tuples_only on
SET client_min_messages = warning;
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/raises.sql'
\set ECHO none
\i :include
\set ECHO all
CREATE SCHEMA dw;
CREATE TABLE dw.orders (id bigint PRIMARY KEY, status text, amount numeric(12,2),
	doubled numeric GENERATED ALWAYS AS (amount * 2) STORED, n int GENERATED ALWAYS AS IDENTITY);
SELECT edw_stream.create_stream('s', NULL, '{shop.public.orders,shop.public.customers,other.public.customers,^more\\.}');
SELECT edw_stream.create_stream('one', NULL, '{any.topic}', 'json');

-- stream and target
SELECT pg_temp.raises($$SELECT edw_stream.map_table(NULL, 'dw.orders')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', NULL)$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('on', 'dw.orders')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.nosuch')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 1)$$);
CREATE VIEW dw.orders_view AS SELECT * FROM dw.orders;
CREATE MATERIALIZED VIEW dw.orders_matview AS SELECT * FROM dw.orders;
CREATE FOREIGN DATA WRAPPER regress_other;
CREATE SERVER regress_other_server FOREIGN DATA WRAPPER regress_other;
CREATE FOREIGN TABLE dw.orders_foreign (id bigint) SERVER regress_other_server;
CREATE SEQUENCE dw.orders_sequence;
CREATE UNLOGGED TABLE dw.orders_unlogged (id bigint PRIMARY KEY);
CREATE TEMP TABLE orders_temp (id bigint PRIMARY KEY);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders_view')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders_matview')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders_foreign')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders_sequence')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders_pkey')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders_unlogged')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'orders_temp')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'edw_stream.inbox')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'pg_catalog.pg_class')$$);
CREATE TABLE dw.orders_ruled (id bigint PRIMARY KEY);
CREATE RULE nothing AS ON DELETE TO dw.orders_ruled DO INSTEAD NOTHING;
CREATE TABLE dw.orders_parted (id bigint PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE dw.orders_part PARTITION OF dw.orders_parted DEFAULT;
SELECT pg_temp.raises($$SELECT edw_stream.map_table('one', 'dw.orders_ruled')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('one', 'dw.orders_part')$$);
DROP FOREIGN DATA WRAPPER regress_other CASCADE;

-- topic
CREATE TABLE dw.customers (id bigint PRIMARY KEY);
CREATE TABLE dw.products (id bigint PRIMARY KEY);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.customers')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.products')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', 'shop.public.order')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', 'more or less')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('one', 'dw.orders', '^other')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', '^more(')$$);

-- keys
CREATE TABLE dw.nokey (a int, "Weird ""Key" text, j json, c text COLLATE "C");
SELECT pg_temp.raises($$SELECT edw_stream.map_table('one', 'dw.nokey')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('one', 'dw.nokey', keys => '{}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('one', 'dw.nokey', keys => '{b}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('one', 'dw.nokey', keys => ARRAY['weird "key'])$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('one', 'dw.nokey', keys => '{a,NULL}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('one', 'dw.nokey', keys => '{a,a}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('one', 'dw.nokey', keys => '{j}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('one', 'dw.nokey', keys => ARRAY['a', 'Weird "Key'])$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', keys => '{doubled}')$$);
-- an index that is partial, over an expression, or over more columns is none
CREATE UNIQUE INDEX ON dw.nokey (a) WHERE a > 0;
CREATE UNIQUE INDEX ON dw.nokey (abs(a));
CREATE UNIQUE INDEX ON dw.nokey (a, c);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('one', 'dw.nokey', keys => '{a}')$$);

-- columns
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', columns => '[]')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', columns => '{"statuss": "status"}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', columns => '{"STATUS": "status"}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', columns => '{"status": 5}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', columns => '{"doubled": "amount"}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', columns => '{"n": "1"}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', columns => '{"_edw_seq": "1"}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', columns => '{"status": "upper(status"}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', columns => '{"status": ""}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', columns => '{"status": "a; b"}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', columns => '{"status": "nosuchfunction(status)"}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', columns => '{"status": "(SELECT 1)"}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', columns => '{"status": "max(status)"}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', columns => '{"amount": "status::json"}')$$);

-- filter
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', filter => 'status =')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', filter => 'length(status)')$$);

-- choices and options
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', apply => 'upsrt')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', apply => 'scd2')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', lookups => '{"a": {}}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', on_delete => 'hard')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', on_truncate => 'yes')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', on_schema_change => 'evolve')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', apply => 'append', on_delete => 'soft')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', sequence => '')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', sequence => 'header:')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', options => '{"sourcetypes": {}}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', options => '{"source_types": []}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', options => '{"source_types": {"amount": "numerik"}}')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders', options => '{"source_types": {"amount": 5}}')$$);

-- the extension's own columns under a wrong type
CREATE TABLE dw.taken (id int PRIMARY KEY, _edw_seq int);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('one', 'dw.taken')$$);

-- nothing of all this left anything: no mapping, no column
SELECT count(*) FROM edw_stream.tables;
SELECT attrelid::regclass, attname FROM pg_attribute
WHERE attname ~ '^_edw' AND attrelid::regclass::text ~ '^dw\.' AND NOT attisdropped;

-- what is right is taken: defaults, odd names, types made independent of search_path
SELECT edw_stream.map_table('s', 'dw.orders');
CREATE UNIQUE INDEX ON dw.nokey (a, "Weird ""Key");
CREATE TYPE dw.mood AS ENUM ('good');
SET search_path = dw, public;
SELECT edw_stream.map_table('one', 'nokey', keys => ARRAY['a', 'Weird "Key'],
	columns => '{"Weird \"Key": "upper(\"Odd Field\")"}', filter => 'a > 0', on_delete => 'soft',
	sequence => 'header:lsn', on_truncate => 'apply', on_schema_change => 'ignore',
	options => '{"source_types": {"tags": "varchar(3)[]", "m": "mood", "amount": "numeric(12,2)"}}');
RESET search_path;
-- … and again: columns are there by now
SELECT edw_stream.map_table('s', 'dw.customers', 'shop.public.customers');
SELECT edw_stream.map_table('s', 'dw.customers', '^more\.customers$');
SELECT stream, target, dropped, topic, keys, columns, apply, filter, sequence, on_delete, on_truncate, on_schema_change, options
FROM edw_stream.tables ORDER BY stream, target::text, topic;
SELECT attrelid::regclass, attname, atttypid::regtype, attnotnull FROM pg_attribute
WHERE attname ~ '^_edw' AND attrelid::regclass::text ~ '^dw\.' AND NOT attisdropped AND attrelid <> 'dw.taken'::regclass
ORDER BY attrelid::regclass::text, attnum;

-- twice is once too often: the same topic, one that a regular expression covers, another stream
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.orders')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('s', 'dw.customers', 'more.customers')$$);
SELECT pg_temp.raises($$SELECT edw_stream.map_table('one', 'dw.orders')$$);

-- unmap, and map anew; an append needs no key
SELECT pg_temp.raises($$SELECT edw_stream.unmap_table('one', 'dw.orders')$$);
SELECT edw_stream.unmap_table('s', 'dw.orders');
SELECT edw_stream.map_table('one', 'dw.orders', columns => '{"status": "status", "amount": "amount"}');
-- an identity column may be the key: its values come from the source
CREATE TABLE dw.identity (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
SELECT edw_stream.map_table('s', 'dw.identity', 'shop.public.orders');
SELECT edw_stream.unmap_table('s', 'dw.identity');
CREATE TABLE dw.log (at timestamptz DEFAULT now(), status text);
SELECT edw_stream.map_table('s', 'dw.log', 'shop.public.orders', apply => 'append');
SELECT target, topic, keys, apply FROM edw_stream.tables WHERE stream = 's' ORDER BY target::text, topic;

-- rolled back: neither mapping nor column
BEGIN;
CREATE TABLE dw.later (id int PRIMARY KEY);
SAVEPOINT before_map;
SELECT edw_stream.map_table('s', 'dw.later', 'shop.public.orders');
ROLLBACK TO before_map;
SELECT count(*) FROM pg_attribute WHERE attrelid = 'dw.later'::regclass AND attname ~ '^_edw';
ROLLBACK;

SELECT edw_stream.drop_stream('s'), edw_stream.drop_stream('one');
SELECT count(*) FROM edw_stream.tables;
-- the tables stay
SELECT count(*) FROM dw.orders;
DROP SCHEMA dw CASCADE;
