-- apply => 'append' with keys: the keys say which event it is, and no event is appended twice (O1, K1).
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/events.sql'
\set raises :srcdir '/include/raises.sql'
\set ECHO none
\i :include
\i :raises
\set ECHO all
CREATE SCHEMA ap_app;
SET search_path = ap_app, pg_catalog;

-- a unique index over exactly the keys, which can tell at once
SELECT edw_stream.create_stream('ap_app', NULL, '{sales,returns}');
CREATE TABLE bare (id int, topic text);
CREATE TABLE late (id int UNIQUE DEFERRABLE, topic text);
CREATE TABLE wide (id int, topic text, UNIQUE (id, topic));
SELECT pg_temp.raises(format($$SELECT edw_stream.map_table('ap_app', 'ap_app.%s', 'sales', keys => '{id}', apply => 'append')$$, t))
	FROM unnest('{bare,late,wide}'::text[]) AS t;

-- two topics into one table, an event known by where it stands in Kafka
CREATE TABLE fact (id int, v int, src_topic text, src_partition int, src_offset bigint, op text,
	PRIMARY KEY (src_topic, src_partition, src_offset));
SELECT edw_stream.map_table('ap_app', 'fact', '^(sales|returns)$', apply => 'append', keys => '{src_topic,src_partition,src_offset}',
	columns => '{"id": "id", "v": "v", "src_topic": "$topic", "src_partition": "$partition", "src_offset": "$kafka_offset", "op": "$op"}');
SELECT edw_stream.explain_table('ap_app', 'fact');
SELECT pg_temp.send('ap_app', 'sales', 'c', '{"id":1,"v":1}', 10), pg_temp.send('ap_app', 'sales', 'u', '{"id":1,"v":2}', 11),
	pg_temp.send('ap_app', 'sales', 'd', '{"id":1}', 12), pg_temp.send('ap_app', 'returns', 'c', '{"id":1,"v":-1}', 10),
	pg_temp.send('ap_app', 'sales', 'c', '{"id":2,"v":3}', 13, partition => 1);
CALL edw_stream.drain('ap_app');
SELECT id, v, src_topic, src_partition, src_offset, op FROM fact ORDER BY src_topic, src_partition, src_offset;
SELECT pg_temp.counts('fact');
-- seek() back brings them once more, with a new one: only that is appended
SELECT pg_temp.send('ap_app', 'sales', 'u', '{"id":1,"v":4}', 14);
SELECT edw_stream.seek('ap_app', 'sales', 0, 0);
CALL edw_stream.drain('ap_app');
SELECT id, v, src_topic, src_partition, src_offset, op FROM fact ORDER BY src_topic, src_partition, src_offset;
SELECT pg_temp.counts('fact');

-- what the connector delivers again has another offset: its position is the same, an epoch apart it is another
CREATE TABLE told (event bytea PRIMARY KEY, id int, v text);
SELECT edw_stream.create_stream('ap_told', NULL, '{t}');
SELECT edw_stream.map_table('ap_told', 'told', 't', apply => 'append', keys => '{event}', columns => '{"event": "$position", "id": "id", "v": "v"}');
SELECT pg_temp.send('ap_told', 't', 'c', '{"id":1,"v":"a"}', 10), pg_temp.send('ap_told', 't', 'u', '{"id":1,"v":"b"}', 11),
	pg_temp.send('ap_told', 't', 'c', '{"id":1,"v":"a"}', 10);
CALL edw_stream.drain('ap_told');
SELECT pg_temp.send('ap_told', 't', 'u', '{"id":1,"v":"b"}', 11), pg_temp.send('ap_told', 't', 'u', '{"id":1,"v":"c"}', 12);
CALL edw_stream.drain('ap_told');
SELECT id, v, edw_stream.describe_position(event) FROM told ORDER BY event;
SELECT pg_temp.counts('told');
SELECT edw_stream.bump_epoch('ap_told');
SELECT pg_temp.send('ap_told', 't', 'c', '{"id":1,"v":"restored"}', 10);
CALL edw_stream.drain('ap_told');
SELECT edw_stream.seek('ap_told', 't', 0, 0);
CALL edw_stream.drain('ap_told');
SELECT id, v, edw_stream.describe_position(event) FROM told ORDER BY event;
SELECT pg_temp.counts('told');
-- one without a position (O5) cannot be told apart from another: quarantined, not lost
SELECT pg_temp.send('ap_told', 't', 'r', '{"id":2,"v":"i"}', 0, snapshot => 'incremental');
CALL edw_stream.drain('ap_told');
SELECT reason, message FROM edw_stream.dead_letters WHERE stream = 'ap_told';

-- an id of the event's own, in a partitioned table; the first counts, in one batch and in several
CREATE TABLE click (day date, event_id uuid, page text, PRIMARY KEY (day, event_id)) PARTITION BY RANGE (day);
CREATE TABLE click_1 PARTITION OF click FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE click_2 PARTITION OF click DEFAULT;
SELECT edw_stream.create_stream('ap_click', NULL, '{t}', format => 'json');
SELECT edw_stream.map_table('ap_click', 'click', 't', apply => 'append', keys => '{day,event_id}', filter => $$page <> '/robots.txt'$$);
CREATE FUNCTION pg_temp.click(n int, day text, page text) RETURNS void LANGUAGE sql AS $$
	SELECT edw_stream.push('ap_click', 't', NULL, jsonb_build_object('day', day, 'event_id', '00000000-0000-0000-0000-' || lpad(n::text, 12, '0'), 'page', page)::text) $$;
SELECT pg_temp.click(3, '2026-01-03', '/first'), pg_temp.click(1, '2026-01-01', '/robots.txt'), pg_temp.click(3, '2026-01-03', '/second'),
	pg_temp.click(2, '2026-03-01', '/b'), pg_temp.click(1, '2026-01-01', '/a'), pg_temp.click(NULL, '2026-01-01', '/no-id');
CALL edw_stream.drain('ap_click');
SELECT pg_temp.click(3, '2026-01-03', '/third'), pg_temp.click(4, '2026-01-03', '/d'), pg_temp.click(2, '2026-03-01', '/b');
CALL edw_stream.drain('ap_click');
SELECT tableoid::regclass, right(event_id::text, 1) AS n, page FROM click ORDER BY event_id;
SELECT pg_temp.counts('click');
SELECT reason FROM edw_stream.dead_letters WHERE stream = 'ap_click';

-- a dead letter that seek() brought back and that was appended then is not appended again
CREATE TABLE entry (n bigint PRIMARY KEY, v int CHECK (v > 0));
SELECT edw_stream.create_stream('ap_entry', NULL, '{t}', format => 'json');
SELECT edw_stream.map_table('ap_entry', 'entry', 't', apply => 'append', keys => '{n}', columns => '{"n": "$kafka_offset", "v": "v"}');
SELECT edw_stream.push('ap_entry', 't', NULL, m) FROM unnest(ARRAY['{"v":1}', '{"v":0}', '{"v":2}']) m;
CALL edw_stream.drain('ap_entry');
TABLE entry;
ALTER TABLE entry DROP CONSTRAINT entry_v_check;
SELECT edw_stream.seek('ap_entry', 't', 0, 0);
CALL edw_stream.drain('ap_entry');
SELECT * FROM edw_stream.retry_dead_letters('ap_entry');
SELECT n, v FROM entry ORDER BY n;
SELECT pg_temp.counts('entry');

SELECT edw_stream.drop_stream(s) FROM unnest('{ap_app,ap_told,ap_click,ap_entry}'::text[]) AS s;
DROP SCHEMA ap_app CASCADE;
