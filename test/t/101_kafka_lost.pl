# K3: what was lost from a topic before it was read stalls the stream with the exact range; a silent reset
# never happens, other policies are asked for by option.
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

sub stream
{
	my ($name, $topic, $options) = @_;
	$options ||= '{}';
	$sql->(qq{CREATE TABLE $name (id bigint PRIMARY KEY);
		SELECT edw_stream.create_stream('$name', 'k', ARRAY['$topic'], 'json', options => '$options');
		SELECT edw_stream.map_table('$name', '$name', '$topic')});
	return;
}

# records deleted by retention between two runs
my %stream = ('stalls' => '{}', 'goes_on' => '{"on_offset_lost": "earliest"}', 'jumps' => '{"on_offset_lost": "latest"}');
my $topic = $kafka->create_topic('retention');
$kafka->produce($topic, $rows->(1 .. 3));
foreach my $name (sort keys %stream)
{
	stream($name, $topic, $stream{$name});
	$sql->("CALL edw_stream.drain('$name')");
}
$kafka->produce($topic, $rows->(4 .. 9));
$kafka->delete_records($topic, 0, 6);
$sql->("SELECT edw_stream.start('$_')") foreach sort keys %stream;
$node->wait_until(q{SELECT state, reason FROM edw_stream.streams WHERE name = 'stalls'}, 'stalled|offset_lost',
	'K3: a lost offset stalls the stream');
like($sql->(q{SELECT message FROM edw_stream.streams WHERE name = 'stalls'}), qr/offsets 3 to 5 .*"\Q$topic\E" partition 0/,
	'K3: with the exact range');
is($sql->('SELECT max(id) FROM stalls'), '3', 'K3: and nothing behind the gap is applied');
$node->wait_until(q{SELECT string_agg(id::text, ',' ORDER BY id) FROM goes_on}, '1,2,3,7,8,9', 'policy earliest goes on behind the gap');
$kafka->produce($topic, $rows->(10));
$node->wait_until(q{SELECT max(id) FROM jumps}, '10', 'policy latest goes on with what is new');
$sql->(qq{SELECT edw_stream.seek('stalls', '$topic', 0, 6); SELECT edw_stream.start('stalls')});
$node->wait_until(q{SELECT string_agg(id::text, ',' ORDER BY id) FROM stalls}, '1,2,3,7,8,9,10', 'seek() resolves it');
$sql->("SELECT edw_stream.pause('$_')") foreach sort keys %stream;

# a topic that is deleted and created again while the stream is idle: its end is before the stored offset
my $renewed = $kafka->create_topic('renewed');
stream('renewed', $renewed);
$kafka->produce($renewed, $rows->(1 .. 5));
$sql->(q{SELECT edw_stream.start('renewed')});
$node->wait_until('SELECT count(*) FROM renewed', '5', 'rows arrive');
$sql->(q{SELECT edw_stream.pause('renewed')});
$node->wait_until(q{SELECT count(*) FROM edw_stream.worker_status() WHERE stream = 'renewed' AND pid IS NOT NULL}, '0', 'the worker ends');
$kafka->delete_topic($renewed);
$kafka->create_topic($renewed, literal => 1);
$kafka->produce($renewed, $rows->(6 .. 7));
$sql->(q{SELECT edw_stream.start('renewed')});
$node->wait_until(q{SELECT state, reason FROM edw_stream.streams WHERE name = 'renewed'}, 'stalled|offset_lost',
	'K3: a topic created again stalls the stream');
like($sql->(q{SELECT message FROM edw_stream.streams WHERE name = 'renewed'}), qr/offsets 2 to 4 .*ends at 2/, 'K3: with its end');

# a topic that is deleted under a running stream
my $gone = $kafka->create_topic('gone');
stream('gone', $gone);
$kafka->produce($gone, $rows->(1));
$sql->(q{SELECT edw_stream.start('gone')});
$node->wait_until('SELECT count(*) FROM gone', '1', 'rows arrive');
$kafka->delete_topic($gone);
$node->wait_until(q{SELECT state FROM edw_stream.streams WHERE name = 'gone'}, 'stalled', 'a deleted topic stalls the stream');
like($sql->(q{SELECT message FROM edw_stream.streams WHERE name = 'gone'}), qr/"\Q$gone\E" does not exist/, '… and says so');
$node->wait_until(q{SELECT count(*) FROM edw_stream.worker_status() WHERE stream = 'gone' AND pid IS NOT NULL}, '0',
	'the worker ends although librdkafka cannot let go of a deleted topic');

$node->stop;
done_testing();
