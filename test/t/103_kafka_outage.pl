# A broker that is away is a passing fault: told, survived, and no reason not to stop at once.
use strict;
use warnings;
use EdwKafka;
use EdwNode;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $kafka = EdwKafka->start;
my $node = EdwNode->warehouse;
$node->create_kafka_server('k', $kafka);
my $sql = sub { return $node->safe_psql('postgres', $_[0]) };
my $rows = sub { return map { { key => qq({"id":$_}), value => qq({"id":$_}) } } @_ };
my $topic = $kafka->create_topic('t');
$sql->(qq{CREATE TABLE t (id bigint PRIMARY KEY);
	SELECT edw_stream.create_stream('s', 'k', ARRAY['$topic'], 'json');
	SELECT edw_stream.map_table('s', 't', '$topic');
	SELECT edw_stream.start('s')});
$kafka->produce($topic, $rows->(1));
$node->wait_until('SELECT count(*) FROM t', '1', 'rows arrive');

$kafka->kill9;
$node->wait_until(q{SELECT last_error ~ 'Kafka cannot be reached' FROM edw_stream.streams}, 't', 'an outage is told');
isnt($sql->(q{SELECT state FROM edw_stream.streams}), 'stalled', 'and does not stall the stream');
my ($pid) = $node->worker_pids;
$kafka->restart;
$kafka->produce($topic, $rows->(2));
$node->wait_until('SELECT count(*) FROM t', '2', 'the stream goes on when the broker is back');
is(($node->worker_pids)[0], $pid, 'in the same worker');
$node->wait_until(q{SELECT coalesce(last_error, '') FROM edw_stream.streams}, '', 'the outage is over');


# stop with the broker gone, from idle and from the middle of an outage
$kafka->kill9;
$node->wait_until(q{SELECT last_error ~ 'Kafka cannot be reached' FROM edw_stream.streams}, 't', 'away again');
my $started = time();
$sql->(q{SELECT edw_stream.pause('s')});
ok(EdwNode::wait_for_exit($pid), 'a worker ends while the broker is away');
note(sprintf 'it took %.2f s', time() - $started);
my $log = slurp_file($node->logfile);
unlike($log, qr/terminated by signal|PANIC/, 'nothing crashed');
$node->stop;
done_testing();
