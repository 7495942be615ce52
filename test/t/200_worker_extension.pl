# Workers follow the extension: created and dropped, committed and rolled back (G5).
use strict;
use warnings;

use EdwInbox;
use EdwNode;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = EdwNode->warehouse('extension', extension => 0,
	conf => "max_prepared_transactions = 5\n");

# created and rolled back: nothing starts
$node->safe_psql('postgres', q{BEGIN; CREATE EXTENSION edw_stream; ROLLBACK});
runs_not($node, 'CREATE EXTENSION rolled back: nothing starts');

$node->safe_psql('postgres', q{CREATE EXTENSION edw_stream});
inbox_stream($node, 's');
runs($node, 's/0', 'a stream that was started runs');
push_rows($node, 's', 1, 3);
has_rows($node, 's', 3, 'and applies what is pushed');

# dropped and rolled back: the drop is not blocked, the stream goes on
my $log = -s $node->logfile;
is($node->safe_psql('postgres', q{
		SET statement_timeout = '150s';
		BEGIN; DROP EXTENSION edw_stream; ROLLBACK; SELECT 1}),
	'1', 'a running worker does not block DROP EXTENSION');
runs($node, 's/0', 'DROP EXTENSION rolled back: the stream goes on');
push_rows($node, 's', 4, 5);
has_rows($node, 's', 5, 'and applies');

# the same by way of the schema, which gives no warning beforehand
$node->safe_psql('postgres', q{BEGIN; DROP SCHEMA edw_stream CASCADE; ROLLBACK});
push_rows($node, 's', 6, 6);
has_rows($node, 's', 6, 'DROP SCHEMA … CASCADE rolled back: the stream goes on');

# a subtransaction's drop
$node->safe_psql('postgres', q{
	BEGIN; SAVEPOINT a; DROP EXTENSION edw_stream; ROLLBACK TO a; COMMIT});
runs($node, 's/0', 'DROP EXTENSION rolled back to a savepoint: the stream goes on');
push_rows($node, 's', 7, 7);
has_rows($node, 's', 7, 'and applies');

# pushed while the drop is undecided: waits for the lock, then goes on
my $psql = $node->background_psql('postgres');
$psql->query_safe(q{SET client_min_messages = warning});
$psql->query_safe(q{BEGIN});
$psql->query_safe(q{DROP SCHEMA edw_stream CASCADE});
usleep(300_000);
$psql->query_safe(q{ROLLBACK});
$psql->quit;
push_rows($node, 's', 8, 8);
has_rows($node, 's', 8, 'a drop that was undecided for a while does no harm');
is(log_since($node, $log), '', 'nothing of this is an error');

# dropped, by each way there is
foreach my $drop ('DROP EXTENSION edw_stream', 'DROP SCHEMA edw_stream CASCADE',
	'DROP OWNED BY keeper CASCADE')
{
	$node->safe_psql('postgres', q{
		DROP EXTENSION IF EXISTS edw_stream CASCADE; DROP TABLE IF EXISTS s;
		DROP ROLE IF EXISTS keeper; CREATE ROLE keeper SUPERUSER LOGIN;
		SET ROLE keeper; CREATE EXTENSION edw_stream});
	inbox_stream($node, 's');
	runs($node, 's/0', "runs before $drop");
	$log = -s $node->logfile;
	$node->safe_psql('postgres', $drop);
	runs_not($node, "$drop: the workers end");
	is(log_since($node, $log), '', 'quietly');
}

# dropped and created in one transaction: the new extension knows no streams
$node->safe_psql('postgres', q{DROP TABLE IF EXISTS s; CREATE EXTENSION edw_stream});
inbox_stream($node, 's');
runs($node, 's/0', 'runs again');
$node->safe_psql('postgres', q{BEGIN; DROP EXTENSION edw_stream; CREATE EXTENSION edw_stream; COMMIT});
runs_not($node, 'dropped and created at once: the stream is gone');

# decided elsewhere: two-phase commit
$node->safe_psql('postgres', q{DROP TABLE s; DROP EXTENSION edw_stream});
$node->safe_psql('postgres', q{CREATE EXTENSION edw_stream});
inbox_stream($node, 's');
runs($node, 's/0', 'runs before PREPARE');
$node->safe_psql('postgres', q{BEGIN; SELECT edw_stream.pause('s'); PREPARE TRANSACTION 'p'});
push_rows($node, 's', 1, 1);
has_rows($node, 's', 1, 'a prepared pause has no effect yet');
$node->safe_psql('postgres', q{COMMIT PREPARED 'p'});
runs_not($node, 'COMMIT PREPARED of a pause ends the workers');

done_testing();
