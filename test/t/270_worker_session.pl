# What a worker is: whose, with which settings, and how little it costs (G6, K8).
use strict;
use warnings;

use EdwInbox;
use EdwNode;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = EdwNode->warehouse('session', conf => "max_worker_processes = 40\n");
$node->safe_psql('postgres', q{
	CREATE ROLE loader LOGIN;
	GRANT USAGE ON SCHEMA edw_stream TO loader;
	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA edw_stream TO loader;
	GRANT ALL ON SCHEMA public TO loader;
	-- what is set for the owner must not change what a worker does
	ALTER ROLE loader SET search_path = public;
	ALTER ROLE loader SET statement_timeout = '1ms';
	ALTER ROLE loader SET default_transaction_read_only = on;
	ALTER ROLE loader SET default_transaction_isolation = 'serializable';
	ALTER ROLE loader SET session_replication_role = 'replica';
	ALTER ROLE loader SET DateStyle = 'SQL, DMY';
});
inbox_stream($node, 's', role => 'loader');
inbox_stream($node, 'safe', role => 'loader', options => '{"synchronous_commit": true}');
$node->safe_psql('postgres', q{
	SET ROLE loader;
	CREATE TABLE seen (stream text, setting text, value text);
	CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.seen
		SELECT TG_TABLE_NAME, n, pg_catalog.current_setting(n)
		FROM pg_catalog.unnest('{search_path,statement_timeout,session_replication_role,
			transaction_isolation,synchronous_commit,is_superuser,application_name,datestyle}'::text[]) n
		UNION ALL VALUES (TG_TABLE_NAME, 'session_user', session_user::text),
			(TG_TABLE_NAME, 'current_user', current_user::text);
		RETURN NEW;
	END $$;
	CREATE TRIGGER look BEFORE INSERT ON s FOR EACH ROW EXECUTE FUNCTION look();
	CREATE TRIGGER look BEFORE INSERT ON safe FOR EACH ROW EXECUTE FUNCTION look();
});
push_rows($node, 's', 1, 1);
push_rows($node, 'safe', 1, 1);
has_rows($node, 's', 1, 'a row arrives');
has_rows($node, 'safe', 1, 'and another');
my %expected = (
	search_path => '',
	statement_timeout => '0',
	session_replication_role => 'origin',
	transaction_isolation => 'read committed',
	synchronous_commit => 'off',
	is_superuser => 'off',
	application_name => 'edw_stream worker s/0',
	session_user => 'loader',
	current_user => 'loader');
foreach my $setting (sort keys %expected)
{
	is($node->safe_psql('postgres', "SELECT value FROM seen WHERE stream = 's' AND setting = '$setting'"),
		$expected{$setting}, "$setting of a worker");
}
is($node->safe_psql('postgres',
		q{SELECT value FROM seen WHERE stream = 'safe' AND setting = 'synchronous_commit'}),
	'on', 'synchronous_commit is an option of the stream');

# pg_stat_activity
$node->wait_until(q{
	SELECT usename, datname, backend_type, state, wait_event_type, xact_start IS NULL
	FROM pg_stat_activity WHERE application_name = 'edw_stream worker s/0'},
	'loader|postgres|edw_stream worker|idle|Extension|t', 'an idle worker as pg_stat_activity shows it');
is($node->safe_psql('postgres', q{
		SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
		WHERE a.backend_type LIKE 'edw_stream%' AND l.locktype <> 'virtualxid'}),
	'0', 'idle processes hold no locks');
is($node->safe_psql('postgres', q{
		SELECT datname IS NULL, wait_event_type FROM pg_stat_activity WHERE backend_type = 'edw_stream launcher'}),
	't|Extension', 'the launcher is of no database');

# an owner that may not connect, or not log in
$node->safe_psql('postgres', q{ALTER ROLE loader NOLOGIN; SELECT edw_stream.start('s')});
if ($node->safe_psql('postgres', q{SELECT current_setting('server_version_num')::int < 170000}) eq 't')
{
	runs_not($node, 'an owner without LOGIN: nothing runs');
	$node->wait_until(q{SELECT state, message LIKE '%LOGIN%' FROM edw_stream.streams WHERE name = 's'},
		'backoff|t', 'and the view says why');
	$node->safe_psql('postgres', q{ALTER ROLE loader LOGIN; SELECT edw_stream.start('s')});
}
push_rows($node, 's', 2, 2);
has_rows($node, 's', 2, 'it goes on');
$node->safe_psql('postgres', q{REVOKE CONNECT ON DATABASE postgres FROM PUBLIC; SELECT edw_stream.start('s')});
$node->wait_until(q{SELECT state, message LIKE '%CONNECT%' FROM edw_stream.streams WHERE name = 's'},
	'backoff|t', 'an owner without CONNECT: the view says why');
$node->safe_psql('postgres', q{GRANT CONNECT ON DATABASE postgres TO PUBLIC; SELECT edw_stream.start('s')});
push_rows($node, 's', 3, 3);
has_rows($node, 's', 3, 'it goes on');

# an owner without privileges on the target: stalled, with the reason (K7)
$node->safe_psql('postgres', q{ALTER TABLE s OWNER TO CURRENT_USER; REVOKE ALL ON s FROM loader});
push_rows($node, 's', 4, 4);
$node->wait_until(q{SELECT state FROM edw_stream.streams WHERE name = 's'}, 'stalled',
	'an owner without privileges on the target: stalled');
runs($node, 'safe/0', 'a stalled stream has no worker, the other one does');
$node->safe_psql('postgres', q{ALTER TABLE s OWNER TO loader; SELECT edw_stream.start('s')});
has_rows($node, 's', 4, 'start() after the cause is gone goes on');

# many idle streams cost nothing
inbox_stream($node, "idle$_") foreach 1 .. 25;
$node->wait_until(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'edw_stream worker' AND state = 'idle'},
	27, '27 streams run idle');
sleep(2);
my $before = cpu_ticks();
sleep(5);
my $used = cpu_ticks() - $before;
cmp_ok($used, '<=', 5, "27 idle workers and the launcher used $used ticks of 10 ms in 5 s");

done_testing();

# CPU time of all our processes, user and system
sub cpu_ticks
{
	my $ticks = 0;
	foreach my $pid (split /\n/, $node->safe_psql('postgres',
		q{SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'edw_stream%' AND backend_type <> 'edw_stream scout'}))
	{
		my @stat = split / /, (PostgreSQL::Test::Utils::slurp_file("/proc/$pid/stat") =~ s/.*\) //sr);
		$ticks += $stat[11] + $stat[12];
	}
	return $ticks;
}
