# K8: what a worker holds of a backlog is bounded by configuration, however many partitions there are and however large
# the messages.
use strict;
use warnings;
use EdwKafka;
use EdwNode;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep time);

my $kafka = EdwKafka->shared;
my $node = EdwNode->warehouse('warehouse', conf => "edw_stream.fetch_memory = '8MB'\nedw_stream.batch_memory = '8MB'\n");
$node->create_kafka_server('k', $kafka);
my $sql = sub { return $node->safe_psql('postgres', $_[0]) };

my $partitions = 24;
my $topic = $kafka->create_topic('t', partitions => $partitions, config => { 'max.message.bytes' => 30_000_000 });
my $id = 0;
my $message = sub { my ($size, $partition) = @_;
	$id++;
	return { key => qq({"id":$id}), value => qq({"id":$id,"v":") . ('x' x $size) . '"}', partition => $partition } };
# 240 MB in messages of 1 MB, one of 20 MB between them, and 50,000 small ones
foreach my $round (1 .. 10)
{
	$kafka->produce($topic, { settings => { 'message.max.bytes' => 30_000_000 } },
		(map { $message->(1_000_000, $_) } 0 .. $partitions - 1),
		$round == 5 ? $message->(20_000_000, 7) : ());
}
$kafka->produce($topic, map { $message->(20, $_ % $partitions) } 1 .. 50_000);

$sql->(qq{CREATE TABLE t (id bigint PRIMARY KEY);
	SELECT edw_stream.create_stream('s', 'k', ARRAY['$topic'], 'json');
	SELECT edw_stream.map_table('s', 't', '$topic');
	SELECT edw_stream.start('s')});

my $peak = 0;
my $give_up = time() + $EdwNode::patience;
my $done = 0;
while (!$done && time() < $give_up)
{
	foreach my $pid ($node->worker_pids)
	{
		open my $status, '<', "/proc/$pid/status" or next;
		my ($anonymous) = join('', <$status>) =~ /RssAnon:\s+(\d+)/;
		$peak = $anonymous if defined $anonymous && $anonymous > $peak;
	}
	$done = $sql->('SELECT count(*) FROM t') == $id;
	usleep(5_000);
}
ok($done, "all $id messages are applied, that of 20 MB too");
note(sprintf 'peak of the worker\'s own memory: %d MB', $peak / 1024);
ok($peak > 0 && $peak < 150 * 1024, "K8: a worker's memory stays bounded: $peak kB");

$node->stop;
done_testing();
