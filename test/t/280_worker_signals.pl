# start, pause, push and drop act when they are committed, and soon; faults are backed off.
use strict;
use warnings;

use EdwInbox;
use EdwNode;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

my $node = EdwNode->warehouse('signals', conf => "edw_stream.max_restart_delay = '2s'\n");

# nothing at rollback
inbox_stream($node, 's', start => 0);
$node->safe_psql('postgres', q{BEGIN; SELECT edw_stream.start('s'); ROLLBACK});
runs_not($node, 'start rolled back does nothing');
$node->safe_psql('postgres', q{BEGIN; SAVEPOINT a; SELECT edw_stream.start('s'); ROLLBACK TO a; COMMIT});
runs_not($node, 'nor rolled back to a savepoint');
$node->safe_psql('postgres', q{BEGIN; SAVEPOINT a; SELECT edw_stream.start('s'); RELEASE a; COMMIT});
runs($node, 's/0', 'released and committed it starts');
my $pid = worker_pid($node, 's/0');
$node->safe_psql('postgres', q{BEGIN; SELECT edw_stream.pause('s'); ROLLBACK});
push_rows($node, 's', 1, 1);
has_rows($node, 's', 1, 'pause rolled back: it goes on');
is(worker_pid($node, 's/0'), $pid, 'in the same process');

# a push in a subtransaction wakes at commit
$node->safe_psql('postgres', q{
	BEGIN; SAVEPOINT a; SELECT edw_stream.push('s', 's', NULL, '{"id": 2}'); RELEASE a;
	SAVEPOINT b; SELECT edw_stream.push('s', 's', NULL, '{"id": 3}'); ROLLBACK TO b; COMMIT});
has_rows($node, 's', 2, 'a push is applied at commit, one that was rolled back is not');

# pause and start, many times
foreach my $i (1 .. 5)
{
	$node->safe_psql('postgres', q{SELECT edw_stream.pause('s')});
	$node->safe_psql('postgres', q{SELECT edw_stream.start('s')});
}
runs($node, 's/0', 'after pause and start in a row one worker runs');
push_rows($node, 's', 4, 4);
has_rows($node, 's', 3, 'and applies');
$node->safe_psql('postgres', q{SELECT edw_stream.start('s')});
runs($node, 's/0', 'start of what runs changes nothing');

# drop, and made again under the same name
$node->safe_psql('postgres', q{SELECT edw_stream.drop_stream('s')});
runs_not($node, 'drop_stream ends the worker');
$node->safe_psql('postgres', q{DROP TABLE s});
inbox_stream($node, 's');
runs($node, 's/0', 'made again under the same name');
$pid = worker_pid($node, 's/0');
$node->safe_psql('postgres', q{
	BEGIN; SELECT edw_stream.drop_stream('s'); DROP TABLE s; CREATE TABLE s (id int PRIMARY KEY, v text);
	SELECT edw_stream.create_stream('s', NULL, '{s}', 'json');
	SELECT edw_stream.map_table('s', 's', 's'); SELECT edw_stream.start('s'); COMMIT});
push_rows($node, 's', 5, 5);
has_rows($node, 's', 1, 'made anew in one transaction: it applies');
isnt(worker_pid($node, 's/0'), $pid, 'in a new process');

# a worker that is held up by a lock is ended all the same
my $psql = $node->background_psql('postgres');
$psql->query_safe(q{BEGIN});
$psql->query_safe(q{LOCK TABLE s});
push_rows($node, 's', 6, 6);
$node->wait_until(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'edw_stream worker'
	AND wait_event_type = 'Lock'}, 1, 'a worker waits for a lock on its target');
my $begin = time();
$node->safe_psql('postgres', q{SELECT edw_stream.pause('s')});
runs_not($node, 'pause ends it');
$psql->query_safe(q{ROLLBACK});
$psql->quit;
$node->safe_psql('postgres', q{SELECT edw_stream.start('s')});
has_rows($node, 's', 2, 'and start applies what it had begun');

# a worker that cannot even say what is wrong: started again with growing delays, visibly
my $log = -s $node->logfile;
$node->safe_psql('postgres', q{
	ALTER TABLE edw_stream.stream RENAME COLUMN hint TO misplaced;
	SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'edw_stream worker s/0'});
$node->wait_until(q{SELECT max(failures) >= 6 FROM edw_stream.worker_status()}, 't', 'failures are counted');
$node->wait_until(q{SELECT restart_at - now() BETWEEN '0.5 s' AND '2 s' FROM edw_stream.worker_status()
	WHERE state = 'backoff' AND pid IS NULL}, 't', 'the next start is put off, by max_restart_delay at most');
like($node->safe_psql('postgres', q{SELECT last_error FROM edw_stream.worker_status()}),
	qr/column .*hint.* does not exist/, 'and the error can be read in SQL');
$node->safe_psql('postgres', q{ALTER TABLE edw_stream.stream RENAME COLUMN misplaced TO hint});
push_rows($node, 's', 7, 7);
has_rows($node, 's', 3, 'when the cause is gone it goes on');
$node->wait_until(q{SELECT failures FROM edw_stream.worker_status()}, 0, 'and the failures are forgotten');
my @exits = PostgreSQL::Test::Utils::slurp_file($node->logfile, $log) =~ /edw_stream worker\" \(PID \d+\) exited with exit code 1/g;
cmp_ok(scalar @exits, '<', 60, 'it did not spin: ' . @exits . ' exits');

# the broker cannot be reached: backed off visibly, and stopped at once
unreachable_stream($node, 'k', 2);
runs($node, 'k/0,k/1,s/0', 'its workers run');
$node->wait_until(q{SELECT state FROM edw_stream.streams WHERE name = 'k'}, 'backoff',
	'a broker that cannot be reached: backoff');
is($node->safe_psql('postgres', q{SELECT message IS NOT NULL FROM edw_stream.streams WHERE name = 'k'}),
	't', 'with the error');
my %seen;
foreach my $i (1 .. 20)
{
	$seen{ $node->safe_psql('postgres', q{SELECT state FROM edw_stream.streams WHERE name = 'k'}) }++;
	usleep(50_000);
}
is(join(',', sort keys %seen), 'backoff', 'all the time: it never claims to be idle (H2)');
$pid = worker_pid($node, 'k/0');
$begin = time();
$node->safe_psql('postgres', q{SELECT edw_stream.pause('k')});
ok(EdwNode::wait_for_exit($pid), 'pause ends the worker');
cmp_ok(time() - $begin, '<', 20, sprintf('soon: %.2f s', time() - $begin));
$node->safe_psql('postgres', q{SELECT edw_stream.start('k')});
$node->wait_until(q{SELECT state FROM edw_stream.streams WHERE name = 'k'}, 'backoff', 'started again');
$begin = time();
$node->stop('fast');
cmp_ok(time() - $begin, '<', 30, sprintf('the server stops with the broker gone: %.2f s', time() - $begin));

done_testing();
