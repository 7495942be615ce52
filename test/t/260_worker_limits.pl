# More streams than workers or processes: those that fit run, the others say why (H2).
use strict;
use warnings;

use EdwInbox;
use EdwNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = EdwNode->warehouse('limits', conf => "edw_stream.max_workers = 3\n");
my $states = q{SELECT string_agg(state, ',' ORDER BY state) FROM edw_stream.streams};
my $count = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'edw_stream worker'};

inbox_stream($node, "s$_") foreach 1 .. 5;
$node->wait_until($count, 3, 'as many run as there are slots');
$node->wait_until($states, 'held,held,idle,idle,idle', 'the others are held');
is($node->safe_psql('postgres', q{SELECT DISTINCT reason, message, hint LIKE '%edw_stream.max_workers%'
		FROM edw_stream.streams WHERE state = 'held'}),
	'no_worker|All slots of edw_stream.max_workers are taken.|t', 'and say why');
push_rows($node, "s$_", 1, 1) foreach 1 .. 5;

# a slot that gets free is used
my $running = $node->safe_psql('postgres', q{SELECT min(name) FROM edw_stream.streams WHERE state = 'idle'});
$node->safe_psql('postgres', "SELECT edw_stream.pause('$running')");
$node->wait_until($states, 'held,idle,idle,idle,paused', 'a slot that gets free is used');
$node->safe_psql('postgres', qq{SELECT edw_stream.drop_stream(name) FROM edw_stream.streams WHERE state <> 'held'});
$node->wait_until($states, 'idle', 'until nothing is held');

# a stream with more workers than there are slots: some partitions wait, visibly
unreachable_stream($node, 'wide', 4);
$node->wait_until($count, 3, 'what fits of a wide stream runs');
$node->wait_until(q{SELECT state FROM edw_stream.streams WHERE name = 'wide'}, 'backoff',
	'and it does not claim to run');

# slots enough, processes not
$node->append_conf('postgresql.conf', "edw_stream.max_workers = 20\nmax_worker_processes = 5\n");
my $log = -s $node->logfile;
$node->restart;
$node->wait_until(qq{$count AND application_name LIKE '%'}, 3, 'as many run as there are processes');
inbox_stream($node, "p$_") foreach 1 .. 3;
$node->wait_until(q{SELECT count(*) > 0 FROM edw_stream.streams
	WHERE state IN ('backoff', 'held') AND (message LIKE '%background worker process%')}, 't',
	'the others say why');
$node->safe_psql('postgres', q{SELECT edw_stream.pause(name) FROM edw_stream.streams WHERE name NOT LIKE 'p%'});
push_rows($node, "p$_", 1, 1) foreach 1 .. 3;
has_rows($node, "p$_", 1, "p$_ runs as soon as there is a process for it") foreach 1 .. 3;
$log = PostgreSQL::Test::Utils::slurp_file($node->logfile, $log);
like($log, qr/no background worker process is free for edw_stream/, 'the log says it');
my @said = $log =~ /no background worker process is free for edw_stream/g;
cmp_ok(scalar @said, '<', 20, 'not every second');

done_testing();
