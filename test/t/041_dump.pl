# A dump brings streams, mappings, offsets, dead letters and the inbox back; the streams are
# paused, because a copy must not consume production topics by itself (G5).
use strict;
use warnings;
use EdwNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = EdwNode->warehouse;
$node->safe_psql('postgres', q{CREATE DATABASE original; CREATE DATABASE copy; CREATE ROLE etl LOGIN; CREATE ROLE analyst});
$node->safe_psql('original', q{
	CREATE EXTENSION edw_stream;
	GRANT EXECUTE ON ALL ROUTINES IN SCHEMA edw_stream TO etl;
	CREATE SCHEMA "Data Warehouse" AUTHORIZATION etl;
	SET ROLE etl;
	CREATE TABLE "Data Warehouse"."Orders" (id bigint PRIMARY KEY, status text);
	SELECT edw_stream.create_stream('s', NULL, '{orders}', 'json', options => '{"batch_rows": 77}');
	SELECT edw_stream.map_table('s', '"Data Warehouse"."Orders"', columns => '{"status": "upper(status)"}', on_delete => 'delete');
	SELECT edw_stream.push('s', 'orders', '{"id": 1}', '{"id": 1, "status": "new"}');
	SELECT edw_stream.push('s', 'orders', '{"id": 2}', '{"id": 2, "status": "new"}');
	SELECT edw_stream.push('s', 'orders', '{"id": 2}', NULL);
	SELECT edw_stream.push('s', 'orders', '{"id": 3}', 'broken');
	SELECT edw_stream.start('s');
});
ok($node->safe_psql('original', q{SELECT edw_stream.wait_for('s', '3 min')}) eq 't', 'the original is applied');
$node->safe_psql('original', q{SELECT edw_stream.pause('s')});
$node->wait_until(q{SELECT processes FROM edw_stream.streams}, '0', 'the worker is gone', dbname => 'original');
# one message more, which the copy will find unread
$node->safe_psql('original', q{SELECT edw_stream.push('s', 'orders', '{"id": 4}', '{"id": 4, "status": "late"}');
	UPDATE edw_stream.stream SET wanted_running = true});

my $dump = $node->backup_dir . '/original.dump';
mkdir $node->backup_dir;
command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('original') ], 'dumped');
command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('copy'), $dump ], 'restored');

is($node->safe_psql('copy', q{SELECT name, owner, options, state, reason FROM edw_stream.streams}),
	's|etl|{"batch_rows": 77}|paused|restored', 'the stream is there, its owner\'s, and paused');
is($node->safe_psql('copy', q{SELECT target, keys, columns, dropped FROM edw_stream.tables}),
	'"Data Warehouse"."Orders"|{id}|{"status": "upper(status)"}|f', 'so is the mapping');
is($node->safe_psql('copy', q{SELECT topic, partition, committed, end_offset, lag FROM edw_stream.partitions}),
	'orders|0|4|5|1', 'so are offsets and the inbox');
is($node->safe_psql('copy', q{SELECT kafka_offset, key, value, status FROM edw_stream.dead_letters}),
	'3|{"id": 3}|broken|open', 'so are dead letters');
is($node->safe_psql('copy', q{SELECT count(*) FROM edw_stream.tombstone}), '1', 'so are tombstones');
is($node->safe_psql('copy', q{SELECT has_function_privilege('etl', 'edw_stream.start(text)', 'EXECUTE'),
	has_function_privilege('analyst', 'edw_stream.start(text)', 'EXECUTE')}), 't|f', 'so are privileges');

# new rows get numbers of their own
$node->safe_psql('copy', q{
	SELECT edw_stream.push('s', 'orders', '{"id": 5}', 'broken too');
	CREATE TABLE another (id bigint PRIMARY KEY);
	ALTER TABLE another OWNER TO etl;
	SELECT edw_stream.map_table('s', 'another', 'orders');
	SELECT edw_stream.start('s')});
$node->catch_up('s', 'once started, the copy goes on where the dump was taken', dbname => 'copy');
is($node->safe_psql('copy', q{SELECT id, status FROM "Data Warehouse"."Orders" ORDER BY id}), "1|NEW\n4|LATE",
	'the copy has all');
is($node->safe_psql('copy', q{SELECT kafka_offset FROM edw_stream.dead_letters ORDER BY id}), "3\n5",
	'and its own dead letter');

$node->stop;
done_testing();
