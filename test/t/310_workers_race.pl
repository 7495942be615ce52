# A key stands in two partitions because the topic grew, and two workers read them at the same
# time: positions and tombstones, not luck, decide which change is the last (O1, O7, O8, O10).
#
# EDW_RACES histories (4).
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

# ---- one race, step by step: while a worker's insert is not yet committed, the other one meets the
# newer delete of that row, which it cannot see
sub change
{
	my ($op, $lsn, $id, $partition) = @_;
	my $image = qq({"id":$id,"v":"late"});
	return { key => qq({"id":$id}), partition => $partition, value => sprintf(
			'{"before":%s,"after":%s,"source":{"connector":"postgresql","name":"n","db":"d","snapshot":"false",'
			  . '"sequence":"[\\"%d\\",\\"%d\\"]","lsn":%d,"txId":%d,"ts_ms":1795351118540,"schema":"public","table":"t"},'
			  . '"op":"%s","ts_ms":1795351118541}',
			$op eq 'd' ? qq({"id":$id,"v":null}) : 'null', $op eq 'c' ? $image : 'null',
			$lsn, $lsn, $lsn, $lsn, $op) };
}

my $race = $kafka->create_topic('race', partitions => 2);
$node->safe_psql('postgres', qq{
	CREATE TABLE race (id bigint PRIMARY KEY, v text);
	CREATE FUNCTION hold_up() RETURNS trigger LANGUAGE plpgsql AS
		'BEGIN PERFORM pg_catalog.pg_advisory_xact_lock(310); RETURN NULL; END';
	CREATE TRIGGER hold_up AFTER INSERT ON race FOR EACH ROW EXECUTE FUNCTION hold_up();
	SELECT edw_stream.create_stream('race', 'k', ARRAY['$race'], workers => 2);
	SELECT edw_stream.map_table('race', 'race', '$race');
	SELECT edw_stream.start('race')});
# a topic's first events are special: its fields are noted
$kafka->produce($race, change('c', 50, 2, 0), change('c', 60, 3, 1));
$node->catch_up('race');
my $holder = $node->background_psql('postgres');
$holder->query_safe('SELECT pg_advisory_lock(310)');
$kafka->produce($race, change('c', 100, 1, 0));
$node->wait_until(q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 310 AND NOT granted},
	1, 'a worker is held up with a row that it has inserted');
$kafka->produce($race, change('d', 200, 1, 1));
$node->wait_until(qq{
	SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'edw_stream worker%' AND wait_event_type = 'Lock') = 2
		OR EXISTS (SELECT FROM edw_stream.partition_offset WHERE topic = '$race' AND partition = 1 AND next_offset = 2)},
	't', 'the other worker has met the delete')
  or diag($node->safe_psql('postgres', q{
	SELECT pid, backend_type, application_name, wait_event_type, wait_event, state, left(query, 60) FROM pg_stat_activity WHERE backend_type LIKE 'edw%';
	SELECT * FROM edw_stream.partitions; SELECT * FROM edw_stream.streams; SELECT * FROM pg_locks WHERE locktype = 'advisory'}));
$holder->query_safe('SELECT pg_advisory_unlock(310)');
$holder->quit;
$node->catch_up('race');
is($node->safe_psql('postgres', 'SELECT count(*) FROM race WHERE id = 1'), '0',
	'a delete that met no row waits for the older insert of another worker');
$node->safe_psql('postgres', q{SELECT edw_stream.drop_stream('race')});

# ---- many of them, at random --------------------------------------------------------------------
foreach my $seed (1 .. ($ENV{EDW_RACES} || 4))
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
