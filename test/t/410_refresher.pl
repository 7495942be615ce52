# Deferred views become fresh by themselves; what happens to the process, to one view or to the server strands
# nothing, and the process is in nobody's way (G3, G5).
use strict;
use warnings;

use EdwNode;
use EdwViews;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = EdwNode->warehouse('refresher', conf => "edw_stream.max_restart_delay = '200ms'\nrestart_after_crash = on\n");

$node->safe_psql('postgres', q{
	CREATE TABLE sale (id int PRIMARY KEY, day date, amount int);
	INSERT INTO sale SELECT i, '2026-01-01'::date + i % 10, i FROM generate_series(1, 100) i;
	CREATE MATERIALIZED VIEW by_day AS SELECT day, count(*) AS n, sum(amount) AS total FROM sale GROUP BY day;
	SELECT edw_stream.register_view('by_day', '{day}', 'deferred', '{"max_staleness": "200ms"}')});
fresh($node, 'by_day', 'a view that was just registered is fresh');
$node->wait_until(q{SELECT count(*) FROM edw_stream.view_pending}, 0, 'and nothing is pending');

# a change is refreshed without being asked for
my $refreshes = refreshes($node, 'by_day');
$node->safe_psql('postgres', q{UPDATE sale SET amount = amount + 1000 WHERE day = '2026-01-03'});
fresh($node, 'by_day', 'a change is refreshed');
cmp_ok(refreshes($node, 'by_day'), '>', $refreshes, 'by a refresh');
is($node->safe_psql('postgres', q{SELECT total > 10000 FROM by_day WHERE day = '2026-01-03'}), 't', 'which shows it');

# null, moved, vanished and new partitions
$node->safe_psql('postgres', q{
	UPDATE sale SET day = NULL WHERE id % 7 = 0;
	UPDATE sale SET day = '2027-01-01' WHERE day = '2026-01-05';
	INSERT INTO sale VALUES (1000, NULL, 5), (1001, 'infinity', 6);
	DELETE FROM sale WHERE day = '2026-01-01'});
fresh($node, 'by_day', 'so are null, moved, vanished and new partitions');
$node->safe_psql('postgres', q{TRUNCATE sale; INSERT INTO sale SELECT i, '2026-01-01'::date + i % 10, i FROM generate_series(1, 100) i});
fresh($node, 'by_day', 'so is a truncated table');

# rolled back: nothing is noted
$node->safe_psql('postgres', q{BEGIN; UPDATE sale SET amount = 0; ROLLBACK});
is($node->safe_psql('postgres', q{SELECT count(*) FROM edw_stream.view_pending}), '0', 'what is rolled back leaves nothing pending');

# a view that fails does not stop the others, and keeps what is pending
$node->safe_psql('postgres', q{
	CREATE MATERIALIZED VIEW quotient AS SELECT day, sum(1000 / (amount - 5000)) AS q FROM sale GROUP BY day;
	SELECT edw_stream.register_view('quotient', '{day}', 'deferred', '{"max_staleness": "100ms"}');
	UPDATE sale SET amount = 5000 WHERE id = 7});
$node->wait_until(q{SELECT state, reason, message, hint LIKE '%refresh_view%' FROM edw_stream.views WHERE view = 'quotient'::regclass},
	'failed|refresh_failed|division by zero|t', 'a view whose query fails says so');
$node->safe_psql('postgres', q{UPDATE sale SET amount = amount + 1 WHERE id <> 7});
fresh($node, 'by_day', 'the other view goes on');
is($node->safe_psql('postgres', q{SELECT state, staleness > '0' FROM edw_stream.views WHERE view = 'quotient'::regclass}),
	'failed|t', 'the one that failed keeps what is pending');
my ($out, $err);
$node->psql('postgres', q{SELECT edw_stream.refresh_view('quotient')}, stderr => \$err);
like($err, qr/division by zero/, 'refreshing it by hand fails while the cause is there');
$node->safe_psql('postgres', q{UPDATE sale SET amount = 1 WHERE id = 7; SELECT edw_stream.refresh_view('quotient')});
is($node->safe_psql('postgres', q{SELECT state, reason IS NULL, pending FROM edw_stream.views WHERE view = 'quotient'::regclass}),
	'fresh|t|0', 'and mends it when it is not');
is(differs($node, 'quotient'), '0', 'it is right at once');
$node->safe_psql('postgres', q{UPDATE sale SET amount = 2 WHERE id = 7});
fresh($node, 'quotient', 'and it is refreshed by itself again');

# a passing fault: somebody has locked what one view reads
$node->safe_psql('postgres', q{
	CREATE TABLE visit (id int PRIMARY KEY, day date);
	CREATE MATERIALIZED VIEW visits AS SELECT day, count(*) AS n FROM visit GROUP BY day;
	SELECT edw_stream.register_view('visits', '{day}', 'deferred', '{"max_staleness": "100ms"}')});
fresh($node, 'visits', 'another view');
my $locker = $node->background_psql('postgres');
$locker->query_safe(q{BEGIN; INSERT INTO visit SELECT i, '2026-01-01' FROM generate_series(1, 3) i; COMMIT; BEGIN; LOCK TABLE visit});
$node->wait_until(q{SELECT state, reason FROM edw_stream.views WHERE view = 'visits'::regclass}, 'pending|retrying',
	'a view that cannot be computed now is tried again');
$node->safe_psql('postgres', q{UPDATE sale SET amount = amount + 1});
fresh($node, 'by_day', 'while it waits, others are refreshed');
$locker->query_safe(q{COMMIT});
$locker->quit;
fresh($node, 'visits', 'when it can be, it is');

# views on views, each with its own staleness; one that is refreshed at commit hears of it, too
$node->safe_psql('postgres', q{
	CREATE MATERIALIZED VIEW by_month AS SELECT date_trunc('month', day::timestamp) AS month, sum(total) AS total FROM by_day GROUP BY 1;
	SELECT edw_stream.register_view('by_month', '{month}', 'deferred', '{"max_staleness": "100ms"}');
	CREATE MATERIALIZED VIEW by_year AS SELECT date_trunc('year', month) AS year, sum(total) AS total FROM by_month GROUP BY 1;
	SELECT edw_stream.register_view('by_year', '{year}');
	UPDATE sale SET amount = amount + 1, day = day + 40});
fresh($node, $_, "$_ follows the view it reads") foreach ('by_day', 'by_month', 'by_year');

# the process is killed: the whole server starts over, and what was pending is refreshed
$node->safe_psql('postgres', q{
	CREATE MATERIALIZED VIEW lazy AS SELECT day, sum(amount) AS total FROM sale GROUP BY day;
	SELECT edw_stream.register_view('lazy', '{day}', 'deferred', '{"max_staleness": "3s"}')});
fresh($node, 'lazy', 'a lazy view');
$node->safe_psql('postgres', q{UPDATE sale SET amount = amount + 1 WHERE id < 50});
$node->wait_until(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'edw_stream refresher'}, 1, 'a process is there');
kill 9, refresher_pid($node);
fresh($node, $_, "$_ is fresh after kill -9 of the refresher") foreach ('lazy', 'by_day', 'by_month', 'by_year');
$node->safe_psql('postgres', q{UPDATE sale SET amount = amount + 1 WHERE id < 60});
$node->kill9_server;
$node->start;
fresh($node, $_, "$_ is fresh after kill -9 of the server") foreach ('lazy', 'by_day', 'by_month', 'by_year');
$node->safe_psql('postgres', q{UPDATE sale SET amount = amount + 1 WHERE id < 60});
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'edw_stream refresher'});
fresh($node, 'lazy', 'terminating it does no harm');
$node->safe_psql('postgres', q{UPDATE sale SET amount = amount + 1 WHERE id < 60});
$node->restart;
fresh($node, 'lazy', 'nor does a restart');

# one that is idle is in nobody's way, nor is one that is busy
foreach my $busy (0, 1)
{
	my $kind = $busy ? 'a busy' : 'an idle';
	$node->safe_psql('postgres', $busy ? q{UPDATE sale SET amount = amount + 1} : 'SELECT 1');
	$node->safe_psql('postgres', q{SET statement_timeout = '150s'; BEGIN; DROP EXTENSION edw_stream CASCADE; ROLLBACK});
	$node->safe_psql('postgres', q{CREATE DATABASE copy TEMPLATE postgres});
	pass("$kind refresher does not block DROP EXTENSION and CREATE DATABASE … TEMPLATE");
	$node->safe_psql('copy', q{UPDATE sale SET amount = amount + 7 WHERE id = 1});
	fresh($node, 'lazy', 'a copy of the database refreshes its own views', dbname => 'copy');
	$node->safe_psql('copy', q{UPDATE sale SET amount = amount + 7 WHERE id = 2});
	$node->safe_psql('postgres', q{DROP DATABASE copy});
	pass("$kind refresher does not block DROP DATABASE");
	fresh($node, 'lazy', 'the original goes on');
}

# what is pending is in the dump, and is refreshed where it is restored
$node->safe_psql('postgres', q{
	ALTER SYSTEM SET edw_stream.max_restart_delay = '1s';
	UPDATE edw_stream.view SET options = '{"max_staleness": "1 hour"}' WHERE view = 'lazy'::regclass;
	UPDATE sale SET amount = amount + 1 WHERE id < 50});
my $dump = $node->basedir . '/dump.sql';
command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', $dump ], 'a dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', $dump ], 'restored');
is($node->safe_psql('restored', q{SELECT refresh, state <> 'stale' FROM edw_stream.views WHERE view = 'lazy'::regclass}), 'deferred|t',
	'the registration is restored');
$node->safe_psql('restored', q{UPDATE edw_stream.view SET options = '{"max_staleness": "100ms"}' WHERE view = 'lazy'::regclass;
	UPDATE sale SET amount = amount + 1 WHERE id > 90});
fresh($node, 'lazy', 'and what is pending and what comes is refreshed', dbname => 'restored');

# without the library nobody refreshes; refresh_view does
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
$node->restart;
$node->safe_psql('postgres', q{UPDATE sale SET amount = amount + 1 WHERE id < 50});
is($node->safe_psql('postgres', q{SELECT state, reason, message LIKE '%shared_preload_libraries%', hint LIKE '%refresh_view%'
	FROM edw_stream.views WHERE view = 'by_day'::regclass}), 'pending|no_worker|t|t', 'not preloaded: the view says that it waits, and what to do');
$node->safe_psql('postgres', q{SELECT edw_stream.refresh_view('by_day')});
is($node->safe_psql('postgres', q{SELECT state, reason, pending FROM edw_stream.views WHERE view = 'by_day'::regclass}), 'fresh||0',
	'refresh_view works it off');
is(differs($node, 'by_day'), '0', 'and it is right');

done_testing();
