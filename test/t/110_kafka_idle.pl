# An idle stream lets its broker hold back empty answers for long, so that it hardly uses the CPU; yet a
# new message is there at once, in whichever partition, and a start is not kept waiting.
use strict;
use warnings;
use EdwKafka;
use EdwNode;
use List::Util qw(max);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $kafka = EdwKafka->shared;
my $partitions = 20;
my $topic = $kafka->create_topic('idle', partitions => $partitions);
my $node = EdwNode->warehouse;
$node->create_kafka_server('k', $kafka);
$node->safe_psql('postgres', q{CREATE SERVER fixed FOREIGN DATA WRAPPER edw_kafka OPTIONS ("bootstrap.servers" '}
	  . $kafka->address . q{', "fetch.wait.max.ms" '50'); CREATE USER MAPPING FOR CURRENT_USER SERVER fixed});

sub start_stream
{
	my ($name, $server) = @_;
	$node->safe_psql('postgres', qq{
		CREATE TABLE $name (id bigint PRIMARY KEY);
		SELECT edw_stream.create_stream('$name', '$server', ARRAY['$topic'], 'json');
		SELECT edw_stream.map_table('$name', '$name', '$topic');
		SELECT edw_stream.start('$name')});
	$node->wait_until("SELECT state FROM edw_stream.streams WHERE name = '$name'", 'idle', "$name is idle");
	return $node->safe_psql('postgres', "SELECT pid FROM edw_stream.worker_status() WHERE stream = '$name'");
}

# How often each thread of a process went to sleep so far, and how often per second the
# busiest one did within some seconds.
sub sleeps
{
	my ($pid) = @_;
	my %sleeps;
	for my $file (glob "/proc/$pid/task/*/status")
	{
		$sleeps{$file} = $1 if slurp_file($file) =~ /^voluntary_ctxt_switches:\s*(\d+)/m;
	}
	return %sleeps;
}

sub busiest_thread
{
	my ($pid) = @_;
	my %before = sleeps($pid);
	my $began = time;
	sleep 3;
	my %after = sleeps($pid);
	my $lasted = time - $began;
	return max map { ($after{$_} - ($before{$_} // 0)) / $lasted } keys %after;
}

# the first seconds after a start are not idle ones yet
sub becomes_lazier_than
{
	my ($pid, $limit) = @_;
	my $rate;
	for (1 .. 20)
	{
		$rate = busiest_thread($pid);
		last if $rate < $limit;
	}
	note sprintf '%.1f times a second', $rate;
	return $rate < $limit;
}

SKIP:
{
	skip 'needs /proc', 2 if !-r '/proc/self/task';
	my $pid = start_stream('lazy', 'k');
	ok(becomes_lazier_than($pid, 4), 'no thread of an idle stream wakes up more than four times a second');
	my $eager = start_stream('eager', 'fixed');
	sleep 4;
	cmp_ok(busiest_thread($eager), '>', 4, 'unless the server says how long fetches wait');
	$node->safe_psql('postgres', q{SELECT edw_stream.drop_stream('eager')});
}

# fetches that are long under way name every partition
my @took;
for my $partition (3, 11, 19)
{
	my $began = time;
	$kafka->produce($topic, { key => qq({"id":$partition}), value => qq({"id":$partition}), partition => $partition });
	$node->wait_until("SELECT count(*) FROM lazy WHERE id = $partition", '1', "a message of partition $partition arrives");
	push @took, time - $began;
	sleep 3.5;
}
note join ' ', map { sprintf '%.3f', $_ } @took;
@took = sort { $a <=> $b } @took;
cmp_ok($took[1], '<', 0.4, 'a message that comes while a stream is idle is there at once');
done_testing();
