# Our processes are in nobody's way when databases are dropped, copied or moved (G5).
use strict;
use warnings;

use EdwInbox;
use EdwNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = EdwNode->warehouse('database', extension => 0);
my @here = (dbname => 'dw');

$node->safe_psql('postgres', 'CREATE DATABASE dw');
$node->safe_psql('dw', 'CREATE EXTENSION edw_stream');
inbox_stream($node, 's', @here);
runs($node, 's/0', 'runs in a database made later, without configuration', @here);

# another database: its DROP waits for every process to pass a barrier
$node->safe_psql('postgres', 'CREATE DATABASE another');
is($node->safe_psql('postgres', q{SET statement_timeout = '150s'; DROP DATABASE another; SELECT 1}),
	'1', 'DROP of another database is not held up');
runs($node, 's/0', 'and changes nothing', @here);

# a copy of this one
push_rows($node, 's', 1, 5, @here);
has_rows($node, 's', 5, 'rows arrive', @here);
my $log = -s $node->logfile;
$node->safe_psql('postgres', 'CREATE DATABASE copy TEMPLATE dw');
pass('CREATE DATABASE … TEMPLATE works with workers running');
runs($node, 's/0', 'they come back after it', @here);
is(log_since($node, $log), '', 'without an error');
runs_not($node, 'in the copy nothing starts', dbname => 'copy');
is($node->safe_psql('copy', q{SELECT state, reason FROM edw_stream.streams}), 'paused|restored',
	'the copy says why');
push_rows($node, 's', 6, 6, dbname => 'copy');
$node->safe_psql('copy', q{SELECT edw_stream.start('s')});
runs($node, 's/0', 'start() makes the copy a database of its own', dbname => 'copy');
has_rows($node, 's', 6, 'which goes on where it was', dbname => 'copy');
push_rows($node, 's', 6, 7, @here);
has_rows($node, 's', 7, 'and the original too', @here);

# renamed
$node->safe_psql('postgres', 'ALTER DATABASE copy RENAME TO copy2');
runs($node, 's/0', 'ALTER DATABASE … RENAME: they come back', dbname => 'copy2');

# moved to a tablespace and back
my $space = PostgreSQL::Test::Utils::tempdir();
$node->safe_psql('postgres', qq{CREATE TABLESPACE elsewhere LOCATION '$space'});
$node->safe_psql('postgres', 'ALTER DATABASE copy2 SET TABLESPACE elsewhere');
runs($node, 's/0', 'ALTER DATABASE … SET TABLESPACE: they come back', dbname => 'copy2');
push_rows($node, 's', 8, 8, dbname => 'copy2');
has_rows($node, 's', 7, 'and apply', dbname => 'copy2');

# not dropped after all: another session is in it
my $psql = $node->background_psql('copy2');
my ($code, $out, $err) = $node->psql('postgres', 'DROP DATABASE copy2');
isnt($code, 0, 'DROP DATABASE fails while a session is connected');
like($err, qr/being accessed by other users/, 'because of that');
like($err, qr/There is 1 other session/, 'and of nothing of ours');
runs($node, 's/0', 'then the workers come back', dbname => 'copy2');
$psql->quit;

# somebody who may not drop it cannot stop its workers
my @pids = $node->worker_pids('copy2');
$node->safe_psql('postgres', 'CREATE ROLE stranger LOGIN');
($code, $out, $err) = $node->psql('postgres', 'DROP DATABASE copy2',
	extra_params => [ '-U', 'stranger' ]);
like($err, qr/must be owner/, 'a stranger may not drop it');
is_deeply([ $node->worker_pids('copy2') ], \@pids, 'nor stop its workers by trying');

# no connections, template
$node->safe_psql('postgres', 'ALTER DATABASE copy2 ALLOW_CONNECTIONS false');
$node->wait_until(q{SELECT count(*) FROM pg_stat_activity
	WHERE datname = 'copy2' AND backend_type LIKE 'edw_stream%'}, 0, 'ALLOW_CONNECTIONS false: they end');
$node->safe_psql('postgres', 'ALTER DATABASE copy2 ALLOW_CONNECTIONS true');
runs($node, 's/0', '… true: they come back', dbname => 'copy2');
$node->safe_psql('postgres', 'ALTER DATABASE copy2 IS_TEMPLATE true');
runs_not($node, 'a template database runs no streams', dbname => 'copy2');
is($node->safe_psql('copy2', q{SELECT state, message FROM edw_stream.streams}),
	'held|Streams do not run in a template database.', 'and says so');
$node->safe_psql('postgres', 'ALTER DATABASE copy2 IS_TEMPLATE false');
runs($node, 's/0', 'until it is none', dbname => 'copy2');

# dropped, idle and at work
$log = -s $node->logfile;
$node->safe_psql('postgres', 'DROP DATABASE copy2');
pass('DROP DATABASE works with workers running');
push_rows($node, 's', 10, 20000, @here);
$node->safe_psql('postgres', 'DROP DATABASE dw');
pass('and with workers at work');
$node->wait_until(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'edw_stream worker'},
	0, 'nothing of ours is left');
is(log_since($node, $log) =~ /ERROR|PANIC/ ? 1 : 0, 0, 'without an error');

done_testing();
