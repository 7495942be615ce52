-- Accumulating snapshots: several topics fill one row, each its columns, guarded by a position of their own (option group).
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/events.sql'
\set raises :srcdir '/include/raises.sql'
\set ECHO none
\i :include
\i :raises
\set ECHO all
CREATE SCHEMA ap_grp;
SET search_path = ap_grp, pg_catalog;
SELECT edw_stream.create_stream('ap_grp', NULL, '{orders,payments,shipments}');
CREATE TABLE fact_order (id int PRIMARY KEY, ordered text, amount int, paid text, shipped text DEFAULT 'not yet', carrier text);

-- what is refused
CREATE FUNCTION pg_temp.map(topic text, options text, more text DEFAULT '') RETURNS SETOF text LANGUAGE sql AS $$
	SELECT pg_temp.raises(format('SELECT edw_stream.map_table(%L, %L, %L, options => %L %s)',
		'ap_grp', 'ap_grp.fact_order', topic, options, more)) $$;
SELECT pg_temp.map('orders', '{"group": ""}');
SELECT pg_temp.map('orders', '{"group": "Shipping"}');
SELECT pg_temp.map('orders', '{"group": 7}');
SELECT pg_temp.map('orders', format('{"group": "%s"}', repeat('g', 55)));
SELECT pg_temp.map('orders', '{"groop": "g"}');
SELECT pg_temp.map('orders', '{"group": "g"}', $$, apply => 'append'$$);
SELECT pg_temp.map('orders', '{"group": "g"}', $$, on_delete => 'soft'$$);

-- orders make the row, and have no group; the others do
SELECT edw_stream.map_table('ap_grp', 'fact_order', 'orders', on_truncate => 'apply',
	columns => '{"ordered": "ordered", "amount": "amount"}');
SELECT edw_stream.map_table('ap_grp', 'fact_order', 'payments', on_truncate => 'apply', options => '{"group": "payment"}',
	columns => '{"paid": "paid"}');
SELECT pg_temp.map('shipments', '{"group": "shipping"}', $$, columns => '{"shipped": "shipped", "paid": "carrier"}'$$);
SELECT pg_temp.map('shipments', '{"group": "shipping"}', $$, columns => '{"_edw_seq_payment": "shipped"}'$$);
SELECT pg_temp.map('shipments', '{}', $$, columns => '{"paid": "shipped"}'$$);
SELECT edw_stream.map_table('ap_grp', 'fact_order', 'shipments', on_truncate => 'apply', options => '{"group": "shipping"}',
	columns => '{"shipped": "shipped", "carrier": "carrier"}');
SELECT attname FROM pg_attribute WHERE attrelid = 'fact_order'::regclass AND attnum > 6 ORDER BY attnum;
SELECT edw_stream.explain_table('ap_grp', 'fact_order');

CREATE FUNCTION pg_temp.e(topic text, op text, id int, fields jsonb, lsn bigint, header text DEFAULT NULL, before jsonb DEFAULT NULL) RETURNS void LANGUAGE sql AS $$
	SELECT pg_temp.send('ap_grp', topic, op, jsonb_build_object('id', id) || fields, lsn, header => header, before => before) $$;
CREATE VIEW now AS SELECT id, ordered, amount, paid, shipped, carrier, get_byte(_edw_seq, 21) AS "order",
	get_byte(_edw_seq_payment, 21) AS payment, get_byte(_edw_seq_shipping, 21) AS shipping FROM fact_order ORDER BY id;

-- each its own, whoever comes first; positions of different topics do not matter to each other
SELECT pg_temp.e('payments', 'c', 1, '{"paid":"monday"}', 90), pg_temp.e('orders', 'c', 1, '{"ordered":"sunday","amount":5}', 10),
	pg_temp.e('orders', 'c', 2, '{"ordered":"sunday","amount":6}', 11);
CALL edw_stream.drain('ap_grp');
SELECT pg_temp.e('shipments', 'c', 1, '{"shipped":"friday","carrier":"post"}', 20), pg_temp.e('shipments', 'u', 2, '{"shipped":"friday","carrier":"rail"}', 22),
	pg_temp.e('shipments', 'c', 2, '{"shipped":"monday","carrier":"rail"}', 21), pg_temp.e('shipments', 'c', 3, '{"shipped":"monday"}', 23);
CALL edw_stream.drain('ap_grp');
TABLE now;
-- stale and duplicate by the group's own position (O1)
SELECT pg_temp.e('payments', 'u', 1, '{"paid":"stale"}', 80), pg_temp.e('payments', 'u', 1, '{"paid":"dup"}', 90),
	pg_temp.e('shipments', 'u', 1, '{"shipped":"stale","carrier":"stale"}', 19), pg_temp.e('orders', 'u', 1, '{"ordered":"sunday","amount":7}', 12);
CALL edw_stream.drain('ap_grp');
TABLE now;
SELECT topic, inserted, updated, deleted, duplicates, stale, folded FROM edw_stream.tables WHERE stream = 'ap_grp' ORDER BY topic;

-- a delete of a group's event: its columns are null, the row stays; an older event does not fill them again (O8), a newer does
SELECT pg_temp.e('shipments', 'd', 1, '{}', 30), pg_temp.e('payments', 'd', 2, '{}', 91), pg_temp.e('payments', 'd', 4, '{}', 92);
CALL edw_stream.drain('ap_grp');
TABLE now;
SELECT pg_temp.e('shipments', 'u', 1, '{"shipped":"late","carrier":"late"}', 29), pg_temp.e('payments', 'c', 2, '{"paid":"late"}', 89);
CALL edw_stream.drain('ap_grp');
SELECT * FROM now WHERE id IN (1, 2);
-- … also where the row comes only after the delete, and where the row went and came back meanwhile
SELECT pg_temp.e('orders', 'c', 4, '{"ordered":"sunday","amount":8}', 13), pg_temp.e('orders', 'd', 1, '{}', 14);
CALL edw_stream.drain('ap_grp');
SELECT pg_temp.e('orders', 'c', 1, '{"ordered":"again","amount":9}', 15);
CALL edw_stream.drain('ap_grp');
SELECT * FROM now WHERE id IN (1, 4);
SELECT pg_temp.e('payments', 'c', 4, '{"paid":"late"}', 88), pg_temp.e('shipments', 'u', 1, '{"shipped":"late","carrier":"late"}', 28);
CALL edw_stream.drain('ap_grp');
SELECT * FROM now WHERE id IN (1, 4);
SELECT pg_temp.e('payments', 'c', 4, '{"paid":"newer"}', 93), pg_temp.e('shipments', 'u', 1, '{"shipped":"newer","carrier":"newer"}', 31);
CALL edw_stream.drain('ap_grp');
SELECT * FROM now WHERE id IN (1, 4);
-- a late event whose delete came before it: the row is there, as it would be in order
SELECT pg_temp.e('payments', 'd', 5, '{}', 95);
CALL edw_stream.drain('ap_grp');
SELECT pg_temp.e('payments', 'c', 5, '{"paid":"late"}', 94), pg_temp.e('payments', 'c', 6, '{"paid":"x"}', 96), pg_temp.e('payments', 'd', 6, '{}', 97);
CALL edw_stream.drain('ap_grp');
SELECT * FROM now WHERE id IN (5, 6);

-- P6: what the event leaves out stays; after a delete it is the default, as in a new row
SELECT pg_temp.e('shipments', 'u', 2, '{"carrier":"ship"}', 40), pg_temp.e('shipments', 'u', 1, '{"shipped":"x"}', 41), pg_temp.e('shipments', 'd', 1, '{}', 42),
	pg_temp.e('shipments', 'c', 1, '{"carrier":"air"}', 43);
CALL edw_stream.drain('ap_grp');
SELECT * FROM now WHERE id IN (1, 2);
SELECT pg_temp.e('shipments', 'd', 2, '{}', 44);
CALL edw_stream.drain('ap_grp');
SELECT pg_temp.e('shipments', 'c', 2, '{"carrier":"air"}', 45);
CALL edw_stream.drain('ap_grp');
SELECT * FROM now WHERE id = 2;
-- P5: an unchanged value is kept if the group has written the row; else there is nothing to keep, row or not
SELECT pg_temp.e('shipments', 'u', 2, '{"shipped":"x","carrier":"__debezium_unavailable_value"}', 46),
	pg_temp.e('shipments', 'u', 4, '{"shipped":"x","carrier":"__debezium_unavailable_value"}', 47),
	pg_temp.e('shipments', 'd', 3, '{}', 48), pg_temp.e('shipments', 'u', 3, '{"shipped":"x","carrier":"__debezium_unavailable_value"}', 49);
CALL edw_stream.drain('ap_grp');
SELECT * FROM now WHERE id IN (2, 3, 4);
SELECT topic, kafka_offset, reason FROM edw_stream.dead_letters WHERE stream = 'ap_grp' ORDER BY 1, 2;
SELECT edw_stream.discard_dead_letters('ap_grp');

-- P3: a key that moves takes the group's columns along
SELECT pg_temp.e('shipments', 'd', 2, '{}', 50, '__debezium.newkey'), pg_temp.e('shipments', 'c', 7, '{"shipped":"moved","carrier":"air"}', 50, '__debezium.oldkey');
SELECT pg_temp.e('payments', 'u', 7, '{"paid":"moved"}', 98, before => '{"id":4}');
CALL edw_stream.drain('ap_grp');
SELECT * FROM now WHERE id IN (2, 4, 7);
-- O9: a lone tombstone, and what it deleted once more
SELECT pg_temp.tombstone('ap_grp', 'shipments', '{"id":7}');
CALL edw_stream.drain('ap_grp');
SELECT * FROM now WHERE id = 7;
SELECT pg_temp.e('shipments', 'c', 7, '{"shipped":"older","carrier":"air"}', 39), pg_temp.e('shipments', 'c', 7, '{"shipped":"moved","carrier":"air"}', 50);
CALL edw_stream.drain('ap_grp');
SELECT * FROM now WHERE id = 7;
-- O5: without a position, after a delete
SELECT pg_temp.e('shipments', 'd', 7, '{}', 51);
CALL edw_stream.drain('ap_grp');
SELECT pg_temp.send('ap_grp', 'shipments', 'r', '{"id":7,"shipped":"snapshot","carrier":"sea"}', 0, snapshot => 'incremental');
CALL edw_stream.drain('ap_grp');
SELECT pg_temp.e('shipments', 'u', 7, '{"carrier":"road"}', 52);
CALL edw_stream.drain('ap_grp');
SELECT * FROM now WHERE id = 7;

-- P4: a truncate empties what is older of its group, and nothing else; one without a group removes the rows
SELECT pg_temp.e('shipments', 'c', 8, '{"shipped":"newer","carrier":"sea"}', 70), pg_temp.e('shipments', 't', NULL, '{}', 60),
	pg_temp.e('shipments', 'u', 1, '{"shipped":"older","carrier":"sea"}', 59);
CALL edw_stream.drain('ap_grp');
TABLE now;
SELECT pg_temp.e('shipments', 'u', 1, '{"shipped":"older","carrier":"sea"}', 58), pg_temp.e('shipments', 'u', 2, '{"carrier":"sea"}', 61);
CALL edw_stream.drain('ap_grp');
SELECT * FROM now WHERE id IN (1, 2);
SELECT pg_temp.e('orders', 't', NULL, '{}', 99);
CALL edw_stream.drain('ap_grp');
SELECT count(*) FROM now;

-- a filter is a delete of the group's columns; what never passed makes no row
SELECT edw_stream.unmap_table('ap_grp', 'fact_order');
TRUNCATE fact_order;
SELECT edw_stream.map_table('ap_grp', 'fact_order', 'payments', options => '{"group": "payment"}', filter => $$paid <> 'no'$$,
	columns => '{"paid": "paid"}');
SELECT edw_stream.map_table('ap_grp', 'fact_order', 'shipments', options => '{"group": "shipping"}',
	columns => '{"shipped": "shipped", "carrier": "carrier"}');
SELECT pg_temp.e('payments', 'c', 1, '{"paid":"no"}', 200), pg_temp.e('payments', 'c', 2, '{"paid":"yes"}', 201), pg_temp.e('payments', 'u', 2, '{"paid":"no"}', 202),
	pg_temp.e('shipments', 'c', 3, '{"shipped":"x","carrier":"y"}', 200);
CALL edw_stream.drain('ap_grp');
SELECT pg_temp.e('payments', 'c', 3, '{"paid":"no"}', 203);
CALL edw_stream.drain('ap_grp');
SELECT id, paid, shipped, payment, shipping FROM now;
SELECT topic, inserted, updated, deleted, duplicates, stale, folded, filtered FROM edw_stream.tables WHERE stream = 'ap_grp' ORDER BY topic;

-- groups look up members, each its own; a delete leaves nothing to look up
CREATE TABLE dim_method (method_key int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, method text UNIQUE);
CREATE TABLE dim_carrier (carrier_key int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, carrier text UNIQUE, is_inferred boolean NOT NULL DEFAULT false);
INSERT INTO dim_method VALUES (-1, 'none'), (5, 'card');
CREATE TABLE fact_star (id int PRIMARY KEY, paid text, method_key int, shipped text, carrier_key int);
SELECT edw_stream.map_table('ap_grp', 'fact_star', 'payments', options => '{"group": "payment"}', columns => '{"paid": "paid"}',
	lookups => '{"method_key": {"dimension": "ap_grp.dim_method", "match": {"method": "method"}, "missing": "unknown", "unknown": -1}}');
SELECT edw_stream.map_table('ap_grp', 'fact_star', 'shipments', options => '{"group": "shipping"}', columns => '{"shipped": "shipped"}',
	lookups => '{"carrier_key": {"dimension": "ap_grp.dim_carrier", "match": {"carrier": "carrier"}, "missing": "infer"}}');
SELECT pg_temp.e('payments', 'c', 11, '{"paid":"x","method":"card"}', 300), pg_temp.e('payments', 'c', 12, '{"paid":"x","method":"cash"}', 301),
	pg_temp.e('shipments', 'c', 11, '{"shipped":"x","carrier":"post"}', 300), pg_temp.e('shipments', 'c', 12, '{"shipped":"x","carrier":"rail"}', 301);
CALL edw_stream.drain('ap_grp');
SELECT id, paid, method_key, shipped, carrier_key FROM fact_star ORDER BY id;
SELECT pg_temp.e('payments', 'd', 11, '{}', 302), pg_temp.e('shipments', 'u', 12, '{"shipped":"y","carrier":"post"}', 302), pg_temp.e('shipments', 'd', 11, '{}', 303);
CALL edw_stream.drain('ap_grp');
SELECT id, paid, method_key, shipped, carrier_key FROM fact_star ORDER BY id;
SELECT carrier_key, carrier, is_inferred FROM dim_carrier ORDER BY 1;
SELECT edw_stream.drop_stream('ap_grp');
DROP SCHEMA ap_grp CASCADE;
