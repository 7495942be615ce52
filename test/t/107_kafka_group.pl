# K1: the database's offsets are the ones that count. The group's offsets in Kafka follow them, for others to
# see, and are never read. Several workers share the partitions: p % workers.
use strict;
use warnings;
use EdwKafka;
use EdwNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $kafka = EdwKafka->shared;
my $node = EdwNode->warehouse;
$node->create_kafka_server('k', $kafka);
my $sql = sub { return $node->safe_psql('postgres', $_[0]) };
my $topic = $kafka->create_topic('t', partitions => 4);
my ($stream, $group) = ('shop', 'edw_stream-shop');
my ($next, %sent) = (1);

# messages with new ids, each to the partition of its rest
sub produce
{
	my ($count) = @_;
	my @ids = $next .. $next + $count - 1;
	$kafka->produce($topic, map { { key => qq({"id":$_}), value => qq({"id":$_}), partition => $_ % 4 } } @ids);
	$sent{$_ % 4}++ foreach @ids;
	$next += $count;
	return;
}

sub per_partition
{
	my (%of) = @_;
	return join ',', map { "$_:$of{$_}" } sort keys %of;
}

# the group's offsets in Kafka, polled: they are committed best effort, once a second
sub group_becomes
{
	my ($expected, $name) = @_;
	my $give_up = time() + $EdwNode::patience;
	my $is = '';
	while (time() < $give_up)
	{
		$is = per_partition(%{ $kafka->committed($group, $topic) });
		last if $is eq $expected;
		select undef, undef, undef, 0.2;
	}
	is($is, $expected, $name);
	return;
}

my $stored = q{SELECT string_agg(partition || ':' || committed, ',' ORDER BY partition) FROM edw_stream.partitions};

$sql->(qq{CREATE TABLE t (id bigint PRIMARY KEY);
	SELECT edw_stream.create_stream('$stream', 'k', ARRAY['$topic'], 'json', workers => 2, options => '{"batch_rows": 7}');
	SELECT edw_stream.map_table('$stream', 't', '$topic')});
produce(37);
$sql->("SELECT edw_stream.start('$stream')");
$node->catch_up($stream, 'two workers catch up');
produce(101);
$node->catch_up($stream, 'and again');
is($sql->('SELECT count(*), min(id), max(id) FROM t'), join('|', $next - 1, 1, $next - 1), 'together they read everything');
is($sql->(q{SELECT string_agg(worker || ':' || messages, ',' ORDER BY worker) FROM edw_stream.worker_status()}),
	'0:' . ($sent{0} + $sent{2}) . ',1:' . ($sent{1} + $sent{3}), 'each its own partitions: p % workers');
is($sql->(q{SELECT inserted, duplicates + unchanged + updated FROM edw_stream.tables}), ($next - 1) . '|0',
	'none of them what is the other\'s');
is($sql->($stored), per_partition(%sent), 'after wait_for() the ends are stored');
group_becomes(per_partition(%sent), 'K1: the group\'s offsets in Kafka become equal to them');

# somebody sets the group back and forth under the running stream
$kafka->commit_offset($group, $topic, 0, 0);
$kafka->commit_offset($group, $topic, 1, $sent{1} + 1000);
is($kafka->committed($group, $topic)->{0}, 0, 'the group\'s offsets are changed in Kafka');
produce(40);
$node->catch_up($stream, 'K1: the stream goes on');
is($sql->('SELECT count(*) FROM t'), $next - 1, 'K1: nothing is skipped');
group_becomes(per_partition(%sent), 'K1: the group\'s offsets are put right');

# and between two runs, where a consumer of Kafka's own kind would begin at them
$sql->("SELECT edw_stream.pause('$stream')");
$node->wait_until('SELECT count(*) FROM edw_stream.worker_status() WHERE pid IS NOT NULL', 0, 'the workers end');
produce(40);
$kafka->commit_offset($group, $topic, 2, 0);
$kafka->commit_offset($group, $topic, 3, $sent{3});
$sql->("SELECT edw_stream.start('$stream')");
$node->catch_up($stream, 'K1: a stream starts at its own offsets');
is($sql->('SELECT count(*) FROM t'), $next - 1, 'K1: nothing is skipped');
is($sql->(q{SELECT inserted, duplicates + unchanged + updated FROM edw_stream.tables}), ($next - 1) . '|0', 'K1: and nothing was read twice');
is($sql->($stored), per_partition(%sent), 'K1: the stored offsets are the ends');
group_becomes(per_partition(%sent), 'K1: and the group\'s again');

$node->stop;
done_testing();
