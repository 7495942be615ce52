# A key stands in two partitions because the topic grew, and two workers read them at the same
# time: positions and tombstones, not luck, decide which change is the last (O1, O7, O8, O10).
#
# EDW_RACES histories (6).
use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use EdwKafka;
use EdwNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $feed = dirname(abs_path(__FILE__)) . '/../crash/feed';
my $kafka = EdwKafka->shared;
my $node = EdwNode->warehouse;
$node->create_kafka_server('k', $kafka);

foreach my $seed (1 .. ($ENV{EDW_RACES} || 6))
{
	my $dir = PostgreSQL::Test::Utils::tempdir;
	my $profile = EdwKafka::command('', $feed, $dir, '--seed', $seed, '--transactions', 200,
		map { ('--set', $_) } qw(grow=1 lag=1 partitions=2 keys=6 resnapshots=0));
	my @tables = map { my ($name) = split; $name } split /\n/, slurp_file("$dir/tables");
	my %topics = map { $_ => $kafka->create_topic($_, partitions => 4) } @tables;

	$node->safe_psql('postgres', "CREATE SCHEMA s$seed; SET search_path = s$seed;"
		  . slurp_file("$dir/targets.sql"));
	my $topics = join ', ', map { "'$topics{$_}'" } @tables;
	my $batch = (3, 20, 200)[ $seed % 3 ];
	$node->safe_psql('postgres', join ';',
		"SELECT edw_stream.create_stream('s$seed', 'k', ARRAY[$topics], workers => 3, "
		  . "options => '{\"batch_rows\": $batch}')",
		(map { "SELECT edw_stream.map_table('s$seed', 's$seed.$_', '$topics{$_}')" } @tables),
		"SELECT edw_stream.start('s$seed')");
	foreach my $table (@tables)
	{
		EdwKafka::command(slurp_file("$dir/$table.frames"), $kafka->{tool}, $kafka->address,
			'produce', $topics{$table}, 'plain', 'acks=all', 'enable.idempotence=true');
	}
	$node->catch_up("s$seed", "seed $seed catches up");
	foreach my $table (@tables)
	{
		my $columns = $node->safe_psql('postgres', qq{
			SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
			WHERE attrelid = 's$seed.expected_$table'::regclass AND attnum > 0});
		is($node->safe_psql('postgres', qq{
			SET search_path = s$seed;
			SELECT 'surplus', * FROM (SELECT $columns FROM $table EXCEPT ALL SELECT $columns FROM expected_$table) s
			UNION ALL
			SELECT 'missing', * FROM (SELECT $columns FROM expected_$table EXCEPT ALL SELECT $columns FROM $table) m
			LIMIT 10}), '', "seed $seed: $table equals the source ($profile)");
	}
	is($node->safe_psql('postgres', qq{
		SELECT count(*) FROM edw_stream.dead_letter WHERE stream = 's$seed'}), '0', 'no dead letters');
	$node->safe_psql('postgres', "SELECT edw_stream.drop_stream('s$seed')");
}
done_testing();
