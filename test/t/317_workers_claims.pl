# A batch that changes more keys than a claim has room for claims them all: another worker's delete of one of them, which
# meets no row yet, waits for it (O7, O8).
use strict;
use warnings;

use EdwKafka;
use EdwNode;
use PostgreSQL::Test::Utils;
use Test::More;

# keys of a batch: an event is a row of each table
my $tables = 64;
my $events = 600;

my $kafka = EdwKafka->shared;
my $node = EdwNode->warehouse;
$node->create_kafka_server('k', $kafka);

sub change
{
	my ($op, $lsn, $id, $partition) = @_;
	return { key => qq({"id":$id}), partition => $partition, value => sprintf(
			'{"before":%s,"after":%s,"source":{"connector":"postgresql","name":"n","db":"d","snapshot":"false",'
			  . '"sequence":"[\\"%d\\",\\"%d\\"]","lsn":%d,"txId":%d,"ts_ms":1795351118540,"schema":"public","table":"t"},'
			  . '"op":"%s","ts_ms":1795351118541}',
			$op eq 'd' ? qq({"id":$id}) : 'null', $op eq 'c' ? qq({"id":$id}) : 'null', $lsn, $lsn, $lsn, $lsn, $op) };
}

my $topic = $kafka->create_topic('claims', partitions => 2);
$node->safe_psql('postgres', qq{
	SELECT edw_stream.create_stream('claims', 'k', ARRAY['$topic'], workers => 2);
	DO 'BEGIN FOR i IN 1 .. $tables LOOP
		EXECUTE format(''CREATE TABLE claimed_%s (id bigint PRIMARY KEY)'', i);
		PERFORM edw_stream.map_table(''claims'', (''claimed_'' || i)::regclass, ''$topic'');
	END LOOP; END';
	CREATE FUNCTION hold_up() RETURNS trigger LANGUAGE plpgsql AS
		'BEGIN PERFORM pg_catalog.pg_advisory_xact_lock(CASE WHEN NEW.id < 1000 THEN 317 ELSE 318 END); RETURN NULL; END';
	CREATE TRIGGER hold_up AFTER INSERT ON claimed_1 FOR EACH ROW EXECUTE FUNCTION hold_up();
	SELECT edw_stream.start('claims')});

# a topic's first events are special: its fields are noted
$kafka->produce($topic, change('c', 50, 2, 0), change('c', 60, 3, 1));
$node->catch_up('claims');

sub is_held_up
{
	my ($lock, $what) = @_;
	$node->wait_until("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = $lock AND NOT granted", 1, $what);
	return;
}

# One worker is held up with a small batch while its next one gathers, and then with that one. It may have been taken before
# all of it was there: then once more.
my $largest = 0;
for (my $round = 1; $round <= 10 && $largest * $tables <= 32768; $round++)
{
	my $first = 1000 * $round + 1;
	my $deleted = $first + $events / 2;
	my $holder = $node->background_psql('postgres');

	$holder->query_safe('SELECT pg_advisory_lock(317), pg_advisory_lock(318)');
	$kafka->produce($topic, change('c', 100 * $first, 100 + $round, 0));
	is_held_up(317, 'a worker is held up');
	$kafka->produce($topic, map { change('c', 100 * $first + $_, $_, 0) } $first .. $first + $events - 1);
	sleep $round;
	$holder->query_safe('SELECT pg_advisory_unlock(317)');
	is_held_up(318, 'and again with many keys');
	$kafka->produce($topic, change('d', 200 * ($first + $events), $deleted, 1));
	$node->wait_until(qq{
		SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'edw_stream worker%' AND wait_event_type = 'Lock') = 2
			OR EXISTS (SELECT FROM edw_stream.partition_offset WHERE topic = '$topic' AND partition = 1 AND next_offset = $round + 1)},
		't', 'the other worker has met the delete');
	$holder->query_safe('SELECT pg_advisory_unlock(318)');
	$holder->quit;
	$node->catch_up('claims');
	$largest = $node->safe_psql('postgres', "SELECT max(messages) FROM edw_stream.batch WHERE stream = 'claims'");
	is( $node->safe_psql('postgres', "SELECT (SELECT count(*) FROM claimed_1 WHERE id BETWEEN $first AND $first + $events),
		(SELECT count(*) FROM claimed_1 WHERE id = $deleted), (SELECT count(*) FROM claimed_$tables WHERE id = $deleted)"),
		($events - 1) . '|0|0', "the delete has waited for a batch of at most $largest events");
}
cmp_ok($largest * $tables, '>', 32768, 'a batch had more keys than a claim has room for');
$node->safe_psql('postgres', q{SELECT edw_stream.drop_stream('claims')});
done_testing();
