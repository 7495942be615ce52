# Where a stream begins (start_at), what it reads (several topics, regular expressions), and how
# partitions and topics that appear while it runs are found (K4).
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
my $row = sub { my ($id, $v, %more) = @_;
	return { key => qq({"id":$id}), value => qq({"id":$id,"v":"$v"}), %more } };

my $topic = $kafka->create_topic('t', partitions => 2);
my $hour = 3600_000;
my $now = int(time() * 1000);
$kafka->produce($topic,
	$row->(1, 'old', partition => 0, timestamp => $now - 3 * $hour),
	$row->(2, 'new', partition => 0, timestamp => $now - 1 * $hour),
	$row->(3, 'old', partition => 1, timestamp => $now - 3 * $hour));

# a stream that has never run, shown before it does: nothing stays, not even its partitions
$sql->(qq{CREATE TABLE shown (id bigint PRIMARY KEY, v text);
	SELECT edw_stream.create_stream('shown', 'k', ARRAY['$topic'], 'json');
	SELECT edw_stream.map_table('shown', 'shown', '$topic')});
is($sql->(q{SELECT string_agg(change || ' ' || (after ->> 'id') || ' ' || (after ->> 'v'), ', ' ORDER BY after ->> 'id') FROM edw_stream.preview('shown', 'shown')}),
	'insert 1 old, insert 2 new, insert 3 old', 'preview shows what stands in the topic');
is($sql->(q{SELECT count(*) FROM edw_stream.preview('shown', 'shown', 2)}), '2', '… or only so many events of it');
is($sql->(q{SELECT (SELECT count(*) FROM shown) + (SELECT count(*) FROM edw_stream.partition_offset WHERE stream = 'shown')}), '0', 'and nothing stays');
$sql->(q{SELECT edw_stream.drop_stream('shown')});

# each start_at in a stream of its own; drained, so that their offsets are resolved now
my $since = $sql->(qq{SELECT to_timestamp(($now - 2 * $hour) / 1000.0)});
foreach my $case ([ 'earliest', 'earliest', '1,2,3' ], [ 'latest', 'latest', '' ], [ 'since', $since, '2' ])
{
	my ($name, $start, $expected) = @$case;
	$sql->(qq{CREATE TABLE $name (id bigint PRIMARY KEY, v text);
		SELECT edw_stream.create_stream('$name', 'k', ARRAY['$topic'], 'json', start_at => '$start');
		SELECT edw_stream.map_table('$name', '$name', '$topic')});
	$sql->(qq{CALL edw_stream.drain('$name')});
	is($sql->("SELECT coalesce(string_agg(id::text, ',' ORDER BY id), '') FROM $name"), $expected,
		"start_at $name reads what it should");
}

# K4: a partition that appears while the worker runs is read from its beginning, whatever start_at says
$sql->(q{SELECT edw_stream.start('latest')});
$node->wait_until(q{SELECT state FROM edw_stream.streams WHERE name = 'latest'}, 'idle', 'the worker is idle');
$kafka->add_partitions($topic, 3);
$kafka->produce($topic, $row->(4, 'added', partition => 2));
$node->wait_until('SELECT string_agg(id::text, \',\' ORDER BY id) FROM latest', '4', 'K4: an added partition is read from its beginning');
$kafka->produce($topic, $row->(5, 'after', partition => 0));
$node->wait_until('SELECT string_agg(id::text, \',\' ORDER BY id) FROM latest', '4,5', 'K4: the other partitions go on');
$sql->(q{SELECT edw_stream.pause('latest')});

# several topics and a regular expression; Kafka's internal topics are left alone
my $prefix = $kafka->topic_name('shop');
my @listed = map { $kafka->create_topic("$prefix.$_", literal => 1) } qw(a b);
my $lone = $kafka->create_topic('lone');
$sql->(qq{CREATE TABLE many (id bigint PRIMARY KEY, v text);
	SELECT edw_stream.create_stream('many', 'k', ARRAY['$lone', '^$prefix'], 'json');
	SELECT edw_stream.map_table('many', 'many', '^.*');
	SELECT edw_stream.start('many')});
$kafka->produce($listed[0], $row->(10, 'a'));
$kafka->produce($listed[1], $row->(11, 'b'));
$kafka->produce($lone, $row->(12, 'lone'));
$node->wait_until(q{SELECT string_agg(v, ',' ORDER BY id) FROM many}, 'a,b,lone', 'several topics feed one table');
my $new = $kafka->create_topic("$prefix.c", literal => 1);
$kafka->produce($new, $row->(13, 'c'));
$node->wait_until(q{SELECT string_agg(v, ',' ORDER BY id) FROM many}, 'a,b,lone,c', 'K4: a new topic that the pattern matches is found');
is($sql->(q{SELECT count(*) FROM edw_stream.partitions WHERE stream = 'many' AND topic LIKE '\_\_%'}), '0',
	'internal topics are not read');
$sql->(q{SELECT edw_stream.pause('many')});

$node->stop;

done_testing();
