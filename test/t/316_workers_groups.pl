# Three topics fill the rows of one table, each its columns, read by three workers at the same time: every group shows
# its newest event, no row is missing, and no event is blamed for another worker's row (O1, O8, G1).
#
# EDW_RACES histories (3).
use strict;
use warnings;

use EdwKafka;
use EdwNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $kafka = EdwKafka->shared;
my $node = EdwNode->warehouse;
my @groups = qw(ordering payment shipping);
my $keys = 2000;
$node->create_kafka_server('k', $kafka);

sub change
{
	my ($op, $position, $id, $partition) = @_;
	my $row = qq({"id":$id,"v":"$position"});
	return { key => qq({"id":$id}), partition => $partition, value => sprintf(
			'{"before":%s,"after":%s,"source":{"connector":"postgresql","name":"n","db":"d","snapshot":"false",'
			  . '"sequence":"[\\"%d\\",\\"%d\\"]","lsn":%d,"txId":%d,"ts_ms":1795351118540,"schema":"public","table":"t"},'
			  . '"op":"%s","ts_ms":1795351118541}',
			$op eq 'd' ? qq({"id":$id}) : 'null', $op eq 'd' ? 'null' : $row,
			$position, $position, $position, $position, $op) };
}

foreach my $seed (1 .. ($ENV{EDW_RACES} || 3))
{
	srand($seed);
	my %topics = map { $_ => $kafka->create_topic("$_$seed", partitions => 3) } @groups;
	my $topics = join ', ', map { "'$_'" } values %topics;

	# the first history has a mapping without a group, whose rows are never deleted
	my %columns = (ordering => 'ordered', payment => 'paid', shipping => 'shipped');
	$node->safe_psql('postgres', join ';',
		"CREATE TABLE fact$seed (id bigint PRIMARY KEY, ordered text, paid text, shipped text)",
		"SELECT edw_stream.create_stream('s$seed', 'k', ARRAY[$topics], workers => 3, options => '{\"batch_rows\": 300}')",
		map { my $group = $seed == 1 && $_ eq 'ordering' ? '{}' : qq({"group": "$_"});
			"SELECT edw_stream.map_table('s$seed', 'fact$seed', '$topics{$_}', columns => '{\"$columns{$_}\": \"v\"}', options => '$group')" } @groups);

	my (%newest, %made);
	foreach my $group (@groups)
	{
		my @events;
		foreach my $position (1 .. 3000)
		{
			my $id = 1 + int(rand($keys));
			my $live = ($newest{$group}{$id} // '') ne '';
			my $op = $live && rand() < 0.3 && !($seed == 1 && $group eq 'ordering') ? 'd' : $live ? 'u' : 'c';
			push @events, change($op, $position, $id, int(rand(3)));
			push @events, $events[ int(rand(@events)) ] if rand() < 0.1;
			$newest{$group}{$id} = $op eq 'd' ? '' : $position;
			$made{$id} = 1;
		}
		# a stretch of each partition arrives after what is newer
		@events = (@events[ 1000 .. 1999 ], @events[ 0 .. 999 ], @events[ 2000 .. $#events ]);
		$kafka->produce($topics{$group}, @events);
	}
	$node->safe_psql('postgres', "SELECT edw_stream.start('s$seed')");
	$node->catch_up("s$seed");

	my $wanted = join "\n", map { my $id = $_; join '|', $id, map { $newest{$_}{$id} // '' } @groups } sort { $a <=> $b } keys %made;
	is($node->safe_psql('postgres', "SELECT id, coalesce(ordered, ''), coalesce(paid, ''), coalesce(shipped, '') FROM fact$seed ORDER BY id"),
		$wanted, "history $seed: each group's columns are those of its newest event");
	is($node->safe_psql('postgres', "SELECT count(*) FROM edw_stream.dead_letters WHERE stream = 's$seed'"), '0',
		"history $seed: no event is dead");
	cmp_ok($node->safe_psql('postgres', "SELECT count(DISTINCT worker) FROM edw_stream.batch WHERE stream = 's$seed'"), '>', 1,
		"history $seed: several workers wrote");
	is($node->safe_psql('postgres', "SELECT sum(retries) FROM edw_stream.worker_status() WHERE stream = 's$seed'"), '0',
		"history $seed: … and did not run into each other");
	$node->safe_psql('postgres', "SELECT edw_stream.drop_stream('s$seed')");
}
done_testing();
