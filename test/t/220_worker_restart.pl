# What ends without being asked comes back: workers, launcher, server (G5).
use strict;
use warnings;

use EdwInbox;
use EdwNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = EdwNode->warehouse('restart', conf => "restart_after_crash = on\n");
my $next = 1;

sub goes_on
{
	my ($test) = @_;
	push_rows($node, 's', $next, $next);
	has_rows($node, 's', $next, $test);
	$next++;
	return;
}

sub launcher
{
	return $node->safe_psql('postgres',
		q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'edw_stream launcher'});
}

inbox_stream($node, 's');
inbox_stream($node, 'paused', start => 0);
runs($node, 's/0', 'only what was started runs');
goes_on('it applies');

$node->restart;
runs($node, 's/0', 'server restart: it runs again');
goes_on('and applies');

# terminated: with a new process, after a while
my $pid = worker_pid($node, 's/0');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
goes_on('a worker that is terminated comes back');
isnt(worker_pid($node, 's/0'), $pid, 'as another process');

# cancelled: no harm
$pid = worker_pid($node, 's/0');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
goes_on('a worker that is cancelled goes on');

# killed: the postmaster starts all over
$pid = worker_pid($node, 's/0');
my $old = launcher();
kill 'KILL', $pid;
EdwNode::wait_for_exit($pid);
$node->wait_until(q{SELECT 1}, 1, 'the server is back after kill -9 of a worker');
goes_on('and so is the worker');
isnt(launcher(), $old, 'under a new launcher');

# the launcher ends: its workers do not care, and another comes
$old = launcher();
$pid = worker_pid($node, 's/0');
$node->safe_psql('postgres', "SELECT pg_terminate_backend($old)");
goes_on('without a launcher workers go on');
$node->wait_until(qq{SELECT count(*) FROM pg_stat_activity
	WHERE backend_type = 'edw_stream launcher' AND pid <> $old}, 1, 'another launcher comes');
is(worker_pid($node, 's/0'), $pid, 'and takes over the workers that there are');
$node->safe_psql('postgres', q{SELECT edw_stream.pause('s')});
runs_not($node, 'and can stop them');
$node->safe_psql('postgres', q{SELECT edw_stream.start('s')});
goes_on('and start them');

# power failure
$node->kill9_server;
$node->start;
goes_on('kill -9 of the server: it goes on after recovery');

# immediate shutdown while rows are on their way
push_rows($node, 's', $next, $next + 2999);
$next += 3000;
$node->stop('immediate');
$node->start;
has_rows($node, 's', $next - 1, 'what was pushed before an immediate shutdown arrives');
goes_on('and what comes after');

# configuration is read again by what runs
$node->append_conf('postgresql.conf', "log_min_duration_statement = 12345\nedw_stream.batch_rows = 77\n");
$pid = worker_pid($node, 's/0');
$node->reload;
goes_on('after a reload of the configuration');
is(worker_pid($node, 's/0'), $pid, 'the same process');

# a fast shutdown is fast
$node->stop('fast');
pass('a fast shutdown ends all of it');

done_testing();
