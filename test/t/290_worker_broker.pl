# Workers of a real broker that goes away and comes back: honest state, soon stopped,
# in nobody's way (G5, H2).
use strict;
use warnings;

use EdwInbox;
use EdwKafka;
use EdwNode;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $kafka = EdwKafka->start;
my $topic = $kafka->create_topic('orders', partitions => 2);
my $node = EdwNode->warehouse('broker');
my $state = q{SELECT state FROM edw_stream.streams};

sub produce
{
	my (@ids) = @_;
	$kafka->produce($topic,
		map { { key => qq({"id":$_}), value => qq({"id":$_,"v":"x"}), partition => $_ % 2 } } @ids);
	return;
}

$node->create_kafka_server('k', $kafka);
produce(1 .. 4);
$node->safe_psql('postgres', qq{
	CREATE TABLE o (id int PRIMARY KEY, v text);
	SELECT edw_stream.create_stream('o', 'k', ARRAY['$topic'], 'json', workers => 2);
	SELECT edw_stream.map_table('o', 'o', '$topic');
	SELECT edw_stream.start('o')});
runs($node, 'o/0,o/1', 'two workers for two partitions');
has_rows($node, 'o', 4, 'all rows arrive');
$node->wait_until($state, 'idle', 'at the end of both partitions it is idle');
is($node->safe_psql('postgres',
		q{SELECT count(*) FROM edw_stream.worker_status() WHERE messages > 0}), '2', 'each worker had its share');

# the broker goes away while they are idle
$kafka->stop;
$node->wait_until($state, 'backoff', 'without its broker a stream is not idle');
my @pids = $node->worker_pids;
is(scalar @pids, 2, 'its workers wait');
is($node->safe_psql('postgres', q{CREATE DATABASE x}), '', 'other databases are created');
is($node->safe_psql('postgres', q{SET statement_timeout = '150s'; DROP DATABASE x}), '', 'and dropped');
my $begin = time();
$node->safe_psql('postgres', q{SELECT edw_stream.pause('o')});
EdwNode::wait_for_exit($_) foreach @pids;
my $took = time() - $begin;
cmp_ok($took, '<', 20, sprintf('pause ends them soon (%.2f s)', $took));
$node->safe_psql('postgres', q{SELECT edw_stream.start('o')});
$node->wait_until($state, 'backoff', 'started without a broker: it waits and says so');

$kafka->restart;
produce(5 .. 8);
has_rows($node, 'o', 8, 'the broker is back: it goes on');
$node->wait_until($state, 'idle', 'and is idle again');

# the number of workers changes: each partition has exactly one owner
$node->safe_psql('postgres', q{
	SELECT edw_stream.pause('o'); UPDATE edw_stream.stream SET workers = 1; SELECT edw_stream.start('o')});
runs($node, 'o/0', 'with one worker');
produce(9 .. 12);
has_rows($node, 'o', 12, 'it takes both partitions');

# the broker dies, and the server is stopped
$kafka->kill9;
$node->wait_until($state, 'backoff', 'a broker that died is missed');
$begin = time();
$node->stop('fast');
$took = time() - $begin;
cmp_ok($took, '<', 30, sprintf('the server stops without its broker (%.2f s)', $took));

done_testing();
