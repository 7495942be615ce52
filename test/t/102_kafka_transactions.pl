# Gaps are normal (K2), only committed transactions are read, and an open one that holds the end back is named (K5).
use strict;
use warnings;
use EdwKafka;
use EdwNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $kafka = EdwKafka->shared;
my $node = EdwNode->warehouse;
$node->create_kafka_server('k', $kafka, options => { 'topic.metadata.refresh.interval.ms' => 500 });
my $sql = sub { return $node->safe_psql('postgres', $_[0]) };
my $rows = sub { return map { { key => qq({"id":$_}), value => qq({"id":$_}) } } @_ };
my $ids = q{SELECT string_agg(id::text, ',' ORDER BY id) FROM t};

my $topic = $kafka->create_topic('tx');
$sql->(qq{CREATE TABLE t (id bigint PRIMARY KEY);
	SELECT edw_stream.create_stream('s', 'k', ARRAY['$topic'], 'json');
	SELECT edw_stream.map_table('s', 't', '$topic')});
$kafka->produce($topic, { transaction => 'commit' }, $rows->(1, 2));
$kafka->produce($topic, { transaction => 'abort' }, $rows->(3, 4));
$sql->(q{CALL edw_stream.drain('s')});
is($sql->($ids), '1,2', 'K5: an aborted transaction is not applied');
is($sql->(q{SELECT committed FROM edw_stream.partitions WHERE stream = 's'}), $kafka->offsets($topic)->{0}[1],
	'K2: caught up behind markers and aborted messages');

$sql->(q{SELECT edw_stream.start('s')});
$node->catch_up('s', 'K2: wait_for sees the end behind a gap');
my $open = $kafka->open_transaction($topic, {}, $rows->(5));
$kafka->produce($topic, $rows->(6));
$node->wait_until(q{SELECT last_error ~ 'offsets 6 to 7 of topic .* partition 0 wait for the end of a producer''s transaction'
	FROM edw_stream.streams WHERE name = 's'}, 't', 'K5: an open transaction is named as what holds the end back');
is($sql->($ids), '1,2', 'K5: nothing behind its begin is read');
$open->commit;
$node->wait_until($ids, '1,2,5,6', 'K5: its commit lets all of it through');
$node->wait_until(q{SELECT coalesce(last_error, '') FROM edw_stream.streams WHERE name = 's'}, '', 'K5: and is no longer named');

# K2: a compacted topic has gaps in the middle and at the end
my $compacted = $kafka->create_topic('compacted', config => { 'cleanup.policy' => 'compact', 'segment.bytes' => 1048576,
	'min.cleanable.dirty.ratio' => '0.01', 'max.compaction.lag.ms' => 100, 'segment.ms' => 100 });
$kafka->produce($compacted, $rows->(1, 1, 1, 2, 2, 3));
$kafka->produce($compacted, { transaction => 'abort' }, $rows->(9));
$sql->(qq{CREATE TABLE c (id bigint PRIMARY KEY);
	SELECT edw_stream.create_stream('c', 'k', ARRAY['$compacted'], 'json');
	SELECT edw_stream.map_table('c', 'c', '$compacted');
	SELECT edw_stream.start('c')});
$node->catch_up('c', 'K2: a compacted topic with an aborted end is caught up with');
is($sql->('SELECT string_agg(id::text, \',\' ORDER BY id) FROM c'), '1,2,3', 'and read');

$node->stop;
done_testing();
