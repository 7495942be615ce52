# K2: compaction leaves gaps in the middle of a log, and may drop a delete but keep its tombstone (O9). A stream
# that comes later reads over the gaps to the end, one that was there before does not miss the delete.
use strict;
use warnings;
use EdwKafka;
use EdwNode;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $kafka = EdwKafka->shared;
my $node = EdwNode->warehouse;
$node->create_kafka_server('k', $kafka);
my $sql = sub { return $node->safe_psql('postgres', $_[0]) };
my $json = JSON::PP->new->canonical;
my $topic = $kafka->create_topic('t', config => { 'cleanup.policy' => 'compact', 'segment.ms' => 100,
	'min.cleanable.dirty.ratio' => '0.001', 'min.compaction.lag.ms' => 0, 'max.compaction.lag.ms' => 200 });
my $lsn = 100;

# an event as Debezium's PostgreSQL connector sends it
sub event
{
	my ($op, $id, $v) = @_;
	my $row = { id => $id, v => $v };
	$lsn += 10;
	return { key => qq({"id":$id}), value => $json->encode({
			op => $op, before => $op eq 'd' ? { id => $id, v => undef } : undef, after => $op eq 'd' ? undef : $row,
			source => { connector => 'postgresql', name => 'n', db => 'src', schema => 'public', table => 't', txId => $lsn,
				ts_ms => 1700000000000, lsn => $lsn, sequence => qq(["@{[$lsn - 5]}","$lsn"]), snapshot => 'false' },
			ts_ms => 1700000000000 }) };
}

sub stream
{
	my ($name) = @_;
	$sql->(qq{CREATE TABLE $name (id bigint PRIMARY KEY, v text);
		SELECT edw_stream.create_stream('$name', 'k', ARRAY['$topic'], 'debezium-json');
		SELECT edw_stream.map_table('$name', '$name', '$topic')});
	return;
}

sub rows { my ($name) = @_; return $sql->("SELECT string_agg(id || v, ',' ORDER BY id) FROM $name"); }

# The messages that are left, "offset length …". An append after segment.ms closes the segment,
# and only closed ones are compacted; these are of a key of their own.
sub compacted
{
	my (@gone) = @_;
	my $give_up = time() + $EdwNode::patience;
	my %left;
	while (time() < $give_up)
	{
		$kafka->produce($topic, event('u', 1000, 'x'));
		usleep(300_000);
		%left = map { $_->[1] => $_->[2] } $kafka->read_topic($topic);
		last unless grep { exists $left{$_} } @gone;
	}
	return %left;
}

# offsets   0 … 2 create, 3 … 22 update key 1 and 2 by turns
$kafka->produce($topic, (map { event('c', $_, 'a') } 1 .. 3), map { event('u', 1 + $_ % 2, "b$_") } 0 .. 19);
stream('before');
$sql->(q{CALL edw_stream.drain('before')});
is(rows('before'), '1b18,2b19,3a', 'a stream has read the topic before compaction');

# 23 deletes key 3, 24 is its tombstone; 25 … 27 go on
$kafka->produce($topic, event('d', 3), { key => '{"id":3}', value => undef }, event('u', 2, 'c'), event('c', 4, 'd'),
	event('u', 4, 'e'));
my %left = compacted(0 .. 20, 22, 23, 26);
is(join(',', grep { exists $left{$_} } 0 .. 20, 22, 23, 26), '', 'Kafka has compacted the middle of the log');
is(join(',', grep { exists $left{$_} } 21, 25, 27), '21,25,27', '… but for the last of each key');
is($left{24}, -1, 'of key 3 only the tombstone is left');

$sql->(q{SELECT edw_stream.start('before')});
$node->catch_up('before', 'K2: the stream from before reads over the gap');
is(rows('before'), '1b18,2c,4e,1000x', 'O9: a tombstone whose delete is gone deletes the row');

stream('after');
$sql->(q{SELECT edw_stream.start('after')});
$node->catch_up('after', 'K2: one that starts later reads over all gaps');
is(rows('after'), '1b18,2c,4e,1000x', 'and has the same rows');
is($sql->(q{SELECT committed FROM edw_stream.partitions WHERE stream = 'after'}), $kafka->offsets($topic)->{0}[1],
	'K2: caught up means the end of the log');
is($sql->(q{SELECT max(lag) FROM edw_stream.streams}), '0', 'with no lag left');

# a key that comes back after its lone tombstone
$kafka->produce($topic, event('c', 3, 'again'));
$node->catch_up($_, 'O9: both go on') foreach qw(before after);
is(rows($_), '1b18,2c,3again,4e,1000x', "O9: a key comes back after its tombstone ($_)") foreach qw(before after);

# drain() and a start from its beginning end at the same rows
stream('drained');
$sql->(q{CALL edw_stream.drain('drained')});
is(rows('drained'), '1b18,2c,3again,4e,1000x', 'K2: drain() reads over the gaps too');
is($sql->('SELECT count(*) FROM edw_stream.dead_letters'), '0', 'no dead letters');

$node->stop;
done_testing();
