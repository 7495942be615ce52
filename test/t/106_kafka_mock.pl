# What brokers answer when something is wrong with them (K7): what passes is asked again and every message
# is applied once (K1); what does not pass stalls the stream with its reason and a hint (H2). The brokers are
# mocks, which say what a real one says once in a year.
use strict;
use warnings;
use EdwMock;
use EdwNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $mock = EdwMock->start(brokers => 2);
my $node = EdwNode->warehouse;
$node->create_kafka_server('k', $mock,
	options => { 'topic.metadata.refresh.interval.ms' => 500, 'socket.timeout.ms' => 2000 });
my $sql = sub { return $node->safe_psql('postgres', $_[0]) };
my $next = 1;
my @streams;

sub stream
{
	my ($name, $topic) = @_;
	$sql->(qq{CREATE TABLE $name (id bigint PRIMARY KEY);
		SELECT edw_stream.create_stream('$name', 'k', ARRAY['$topic'], 'json');
		SELECT edw_stream.map_table('$name', '$name', '$topic')});
	push @streams, $name;
	return;
}

# messages with new ids, to both partitions
sub produce
{
	my ($topic, $count) = @_;
	$mock->produce($topic, map { { key => qq({"id":$_}), value => qq({"id":$_}), partition => $_ % 2 } } $next .. $next + $count - 1);
	$next += $count;
	return;
}

sub state
{
	my ($name) = @_;
	return $sql->(qq{SELECT state FROM edw_stream.streams WHERE name = '$name'});
}

my $topic = $mock->create_topic('t', partitions => 2);
produce($topic, 10);
stream('s', $topic);
$sql->(q{SELECT edw_stream.start('s')});
$node->wait_until('SELECT count(*) FROM s', 10, 'messages arrive');
my ($pid) = $node->worker_pids;

# K7: errors that pass by themselves, three in a row from each broker, while messages come
foreach my $error (qw(NOT_LEADER_FOR_PARTITION LEADER_NOT_AVAILABLE UNKNOWN_LEADER_EPOCH FENCED_LEADER_EPOCH
	REQUEST_TIMED_OUT KAFKA_STORAGE_ERROR REPLICA_NOT_AVAILABLE NETWORK_EXCEPTION UNKNOWN_TOPIC_OR_PART UNKNOWN
	_TRANSPORT))
{
	$mock->fail('Fetch', $error, 3);
	produce($topic, 10);
	ok($mock->await('Fetch'), "K7: a fetch is repeated after $error");
	$node->wait_until('SELECT count(*) FROM s', $next - 1, '… and its messages arrive');
	isnt(state('s'), 'stalled', '… without a stall');
}

# answers that come too late are given up, and asked for again
$mock->delay('Fetch', 6000, 1);
produce($topic, 10);
ok($mock->await('Fetch'), 'fetches time out');
$node->wait_until('SELECT count(*) FROM s', $next - 1, 'K7: after a timeout the messages arrive');

# ends that cannot be learnt at once
foreach my $error (qw(NOT_LEADER_FOR_PARTITION UNKNOWN_LEADER_EPOCH REQUEST_TIMED_OUT KAFKA_STORAGE_ERROR _TRANSPORT))
{
	produce($topic, 2);
	$mock->fail('ListOffsets', $error, 2);
	$node->catch_up('s', "K7: wait_for() asks again after $error");
	is($sql->('SELECT count(*) FROM s'), $next - 1, '… and tells the truth');
}
ok($mock->await('ListOffsets'), 'all of them were answered so');

# a partition's leader moves, as brokers are restarted one after the other
foreach my $broker (1, 2, 1)
{
	$mock->ask('leader', $topic, $_, $broker) foreach 0, 1;
	produce($topic, 10);
	$node->wait_until('SELECT count(*) FROM s', $next - 1, "K7: the stream follows the leader to broker $broker");
	my $other = 3 - $broker;
	$mock->ask('down', $other);
	produce($topic, 10);
	$node->wait_until('SELECT count(*) FROM s', $next - 1, "… and goes on without broker $other");
	$mock->ask('up', $other);
}
$mock->ask('leader', $topic, 1, 2);

# all brokers away, and back; then far away
$mock->ask('down', -1);
$node->wait_until(q{SELECT state FROM edw_stream.streams WHERE name = 's'}, 'backoff', 'H2: without brokers the stream is not idle');
$mock->ask('up', -1);
produce($topic, 10);
$node->wait_until('SELECT count(*) FROM s', $next - 1, 'the brokers are back: it goes on');
$mock->ask('rtt', -1, 400);
produce($topic, 10);
$node->catch_up('s', 'distant brokers are read, and their ends are learnt');
$mock->ask('rtt', -1, 0);

is(($node->worker_pids)[0], $pid, 'all of that was survived by one worker');
is($sql->(q{SELECT inserted, updated + duplicates + stale + unchanged + folded + dead FROM edw_stream.tables WHERE stream = 's'}),
	($next - 1) . '|0', 'K1: every message was applied, and once');
$sql->(q{SELECT edw_stream.pause('s')});

# a stream that begins while its offsets cannot be learnt
foreach my $error (qw(UNKNOWN_LEADER_EPOCH KAFKA_STORAGE_ERROR))
{
	my $name = lc "begins_$error";
	stream($name, $topic);
	$mock->fail('ListOffsets', $error, 4);
	$sql->("SELECT edw_stream.start('$name')");
	$node->wait_until("SELECT count(*) FROM $name", $next - 1, "K7: a start is repeated after $error");
	$sql->("SELECT edw_stream.pause('$name')");
}

# what does not pass: rights that are missing, wherever the broker says so
my $stalled = q{SELECT state, reason, hint FROM edw_stream.streams WHERE name = };
my $reason = 'stalled|source_failed|Grant the Kafka user READ and DESCRIBE on the topic.';
stream('refused', $topic);
$sql->(q{SELECT edw_stream.start('refused')});
$node->wait_until('SELECT count(*) FROM refused', $next - 1, 'a stream runs');
$mock->ask('fail', 1, 'Fetch', 'TOPIC_AUTHORIZATION_FAILED', 1);
$node->wait_until("$stalled 'refused'", $reason, 'K7: a refused fetch stalls it, with reason and hint');
my ($code, undef, $err) = $node->psql('postgres', q{SELECT edw_stream.wait_for('refused', '180 s')});
like($err, qr/stream "refused" has stalled.*Topic authorization failed.*source_failed/s, 'H2: wait_for() says so');
produce($topic, 10);
$sql->(q{SELECT edw_stream.start('refused')});
$node->wait_until('SELECT count(*) FROM refused', $next - 1, 'H2: started again, it goes on where it was');
$mock->ask('topic-error', $topic, 'TOPIC_AUTHORIZATION_FAILED');
$node->wait_until("$stalled 'refused'", $reason, 'K7: so does a topic that is no longer shown');
$mock->ask('topic-error', $topic, 'NO_ERROR');

stream('never', $topic);
$mock->ask('fail', 1, 'ListOffsets', 'TOPIC_AUTHORIZATION_FAILED', 1);
$sql->(q{SELECT edw_stream.start('never')});
$node->wait_until("$stalled 'never'", $reason, 'K7: and offsets that are refused');
$sql->(q{SELECT edw_stream.start('never')});
$node->catch_up('never', 'H2: with the right granted it reads all');
is($sql->('SELECT count(*) FROM never'), $next - 1, '… from the beginning');

is($sql->(q{SELECT string_agg(format('%s %s', stream, inserted), ', ' ORDER BY stream), sum(updated + duplicates + stale + unchanged + folded + dead)
	FROM edw_stream.tables WHERE stream IN ('never', 'refused')}), "never @{[$next - 1]}, refused @{[$next - 1]}|0",
	'K1: of these too, every message was applied, and once');
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC/, 'nothing crashed');
$node->stop;
done_testing();
