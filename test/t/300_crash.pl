# While events flow, workers, the server and the broker are killed (kill -9) at random: in the
# end the targets equal the source (O1 … O9), an append target holds every message once,
# none lost and none twice (K1), and the outcomes add up (H1).
#
# EDW_CRASHES kills (20), EDW_CRASH_SEED the seed of it all (1).
use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use EdwKafka;
use EdwNode;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $kills = $ENV{EDW_CRASHES} || 20;
my $seed = $ENV{EDW_CRASH_SEED} || 1;
my $feed = dirname(abs_path(__FILE__)) . '/../crash/feed';
my $dir = PostgreSQL::Test::Utils::tempdir;
srand($seed);

# ---- a history, as files --------------------------------------------------------------
my $transactions = 150 * $kills;
my $profile = EdwKafka::command('', $feed, $dir, '--seed', $seed, '--transactions', $transactions,
	'--set', 'shifts=1', '--set', 'toast=1');
note "seed $seed: $profile";
my @tables = map { my ($name, $count) = split; { name => $name, count => $count } }
  split /\n/, slurp_file("$dir/tables");
my $messages = 0;
$messages += $_->{count} foreach @tables;

# ---- broker, warehouse, stream ----------------------------------------------------------
# every message is on disk, or at least with the operating system, before it is acknowledged
my $kafka = EdwKafka->start(properties => "log.flush.interval.messages=1\n");
my $node = EdwNode->warehouse('warehouse', conf => "restart_after_crash = on\n");
$node->create_kafka_server('k', $kafka);
$node->safe_psql('postgres', slurp_file("$dir/targets.sql"));
foreach my $table (@tables)
{
	$table->{topic} = $kafka->create_topic($table->{name}, partitions => 3);
}
my $topics = join ', ', map { "'$_->{topic}'" } @tables;
$node->safe_psql('postgres',
	"SELECT edw_stream.create_stream('s', 'k', ARRAY[$topics], workers => 2, options => '{\"batch_rows\": 40}')");
foreach my $table (@tables)
{
	$node->safe_psql('postgres', qq{
		SELECT edw_stream.map_table('s', '$table->{name}', '$table->{topic}');
		SELECT edw_stream.map_table('s', '$table->{name}_log', '$table->{topic}', apply => 'append',
			on_delete => 'ignore')});
}
$node->safe_psql('postgres', q{SELECT edw_stream.start('s')});

# ---- producers: a process per topic, fed bit by bit ---------------------------------------
# acks=all and idempotence: what a dying broker has acknowledged is there, once
foreach my $table (@tables)
{
	open $table->{frames}, '<:raw', "$dir/$table->{name}.frames" or die $!;
	$table->{chunks} = [ split /\n/, slurp_file("$dir/$table->{name}.chunks") ];
	$table->{sent} = 0;
	open $table->{producer}, '|-', 'sh', '-c', 'exec "$0" "$@" >/dev/null', $kafka->{tool},
	  $kafka->address, 'produce', $table->{topic}, 'plain', 'acks=all', 'enable.idempotence=true', 'message.timeout.ms=600000',
	  'linger.ms=5'
	  or die $!;
	binmode $table->{producer};
	$table->{producer}->autoflush(1);
}

# Send the next few messages of each topic. Returns whether there are more.
sub send_some
{
	my ($chunks) = @_;
	my $more = 0;
	foreach my $table (@tables)
	{
		for (1 .. $chunks)
		{
			my $end = shift @{ $table->{chunks} };
			last unless defined $end;
			read($table->{frames}, my $bytes, $end - $table->{sent}) == $end - $table->{sent}
			  or die 'short file';
			$table->{sent} = $end;
			print { $table->{producer} } $bytes or die "the producer of $table->{topic} is gone";
		}
		$more ||= @{ $table->{chunks} } > 0;
	}
	return $more;
}

# ---- kills -------------------------------------------------------------------------------------
# all that is committed; undef while the server is down
sub progress
{
	my ($out, $code);
	# psql may be gone before it has read its input
	eval {
		$code = $node->psql('postgres',
			q{SELECT coalesce(sum(next_offset), 0) FROM edw_stream.partition_offset},
			stdout => \$out, stderr => \my $err, timeout => 30);
	};
	return defined $code && $code == 0 && $out =~ /^\d+$/ ? $out : undef;
}

sub wait_for_progress
{
	my ($before, $what) = @_;
	my $give_up = time() + $EdwNode::patience;
	while (time() < $give_up)
	{
		my $now = progress();
		return 1 if defined $now && ($now > $before || $now == $messages);
		# all that was sent may be applied already
		send_some(1) if defined $now;
		usleep(30_000);
	}
	diag("no progress after $what: " . (progress() // 'server down'));
	diag($node->safe_psql('postgres', 'SELECT * FROM edw_stream.streams'));
	diag(substr($kafka->log, -2000));
	return 0;
}

sub kill_worker
{
	my @pids = eval { $node->worker_pids };
	return 0 unless @pids;
	kill('KILL', $pids[ rand @pids ]) or return 0;
	# that makes the postmaster start all over: what follows is the work of new workers
	EdwNode::wait_for_exit($_) foreach @pids;
	return 1;
}

my %how = (
	worker => \&kill_worker,
	server => sub { $node->kill9_server; $node->start; return 1; },
	broker => sub { $kafka->kill9; usleep(rand 500_000); $kafka->restart; return 1; });
my %done = map { $_ => 0 } keys %how;
my @order = map { (qw(worker server worker broker server worker))[ $_ % 6 ] } 0 .. $kills - 1;
my $chunks_per_kill = 1 + int($messages / 20 / @tables / ($kills + 1));
my $ok = 1;
send_some(1);
wait_for_progress(0, 'the start');
foreach my $i (0 .. $#order)
{
	my $before = progress() // 0;
	# in small portions over a while, so that a kill meets every phase of a batch
	for (1 .. 4)
	{
		send_some(1 + int($chunks_per_kill / 5));
		usleep(rand 100_000);
	}
	my $what = $order[$i];
	my $started = time();
	$done{$what}++ if $how{$what}->();
	my $down = time() - $started;
	$before = progress() // $before;
	if (!wait_for_progress($before, "kill $i of a $what"))
	{
		$ok = 0;
		last;
	}
	note sprintf 'kill %d, a %s: %.1f s, and %.1f s until events flow', $i, $what, $down,
	  time() - $started - $down;
}
note join ', ', map { "$_ killed $done{$_} times" } sort keys %done;
ok($ok, "events flow again after each of $kills kills");

1 while send_some(10);
foreach my $table (@tables)
{
	ok(close($table->{producer}), "all messages of $table->{name} are acknowledged");
	my $offsets = $kafka->offsets($table->{topic});
	my $total = 0;
	$total += $_->[1] - $_->[0] foreach values %$offsets;
	is($total, $table->{count}, "and stand in Kafka once");
}

# ---- what came of it ------------------------------------------------------------------------------
$node->catch_up('s');
is($node->safe_psql('postgres', 'SELECT count(*) FROM edw_stream.stream WHERE stalled'), '0', 'not stalled');
is($node->safe_psql('postgres', 'SELECT count(*) FROM edw_stream.dead_letter'), '0', 'no dead letters');
foreach my $table (@tables)
{
	foreach my $kind ([ '', 'equals the source' ], [ '_log', 'has every message once' ])
	{
		my ($suffix, $name) = @$kind;
		my $t = "$table->{name}$suffix";
		my $columns = $node->safe_psql('postgres', qq{
			SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
			WHERE attrelid = 'expected_$t'::regclass AND attnum > 0});
		is($node->safe_psql('postgres', qq{
			SELECT 'surplus', * FROM (SELECT $columns FROM $t EXCEPT ALL SELECT $columns FROM expected_$t) s
			UNION ALL
			SELECT 'missing', * FROM (SELECT $columns FROM expected_$t EXCEPT ALL SELECT $columns FROM $t) m
			LIMIT 10}), '', "$t $name");
	}
	is($node->safe_psql('postgres', qq{
		SELECT DISTINCT sum(inserted + updated + deleted + truncated + duplicates + stale + unchanged
			+ folded + filtered + dead) FROM edw_stream.mapping JOIN edw_stream.table_stat USING (mapping_id)
		WHERE topic = '$table->{topic}' GROUP BY mapping_id}), $table->{count},
		"outcomes of $table->{name} add up to its messages");
}
$node->stop;
$kafka->stop;
done_testing();
