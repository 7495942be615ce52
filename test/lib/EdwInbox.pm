# EdwInbox: streams of the embedded inbox for tests of what is around them.
#
#	use EdwInbox;
#	inbox_stream($node, 's');                       # table public.s, stream s, started
#	unreachable_stream($node, 'k', 2);              # two workers whose broker is not there
#	push_rows($node, 's', 1, 10);                   # ids 1 to 10
#	runs($node, 's/0', 'name of the test');         # waits until exactly these workers run
#	runs_not($node, 'name of the test');            # none does, and none comes up
#
# All take dbname => … as their last option.
package EdwInbox;

use strict;
use warnings;

use Exporter 'import';
use Time::HiRes qw(usleep);

our @EXPORT = qw(inbox_stream unreachable_stream push_rows has_rows runs runs_not workers_sql worker_pid log_since);

# Options: start => 0, options (jsonb), dbname, role.
sub inbox_stream
{
	my ($node, $name, %o) = @_;
	my $options = $o{options} || '{}';
	my $role = $o{role} ? "SET ROLE $o{role};" : '';
	my $start = exists $o{start} && !$o{start} ? '' : "SELECT edw_stream.start('$name');";
	$node->safe_psql($o{dbname} || 'postgres', qq{
		$role
		BEGIN;
		CREATE TABLE public.$name (id int PRIMARY KEY, v text);
		SELECT edw_stream.create_stream('$name', NULL, '{$name}', 'json',
			options => '$options');
		SELECT edw_stream.map_table('$name', 'public.$name', '$name');
		$start
		COMMIT;});
	return;
}

# A stream whose broker is not there: any number of workers, which are backing off. The SQL
# functions refuse to make it, so it is made while it still is one of the inbox.
sub unreachable_stream
{
	my ($node, $name, $workers) = @_;
	$node->create_kafka_server('nowhere', '127.0.0.1:9');
	inbox_stream($node, $name, start => 0);
	$node->safe_psql('postgres', qq{
		UPDATE edw_stream.stream SET server = 'nowhere', workers = $workers WHERE name = '$name';
		SELECT edw_stream.start('$name')});
	return;
}

sub push_rows
{
	my ($node, $name, $from, $to, %o) = @_;
	$node->safe_psql($o{dbname} || 'postgres', qq{
		SELECT count(edw_stream.push('$name', '$name', NULL,
			json_build_object('id', i, 'v', 'v' || i)::text))
		FROM generate_series($from, $to) i});
	return;
}

sub has_rows
{
	my ($node, $name, $count, $test, %o) = @_;
	return $node->wait_until("SELECT count(*) FROM public.$name", $count, $test, %o);
}

# The workers of a database, "s/0,s/1".
sub workers_sql
{
	return q{SELECT coalesce(string_agg(replace(application_name, 'edw_stream worker ', ''), ','
			ORDER BY application_name COLLATE "C"), '')
		FROM pg_stat_activity
		WHERE backend_type = 'edw_stream worker' AND datname = current_database()};
}

sub runs
{
	my ($node, $expected, $test, %o) = @_;
	return $node->wait_until(workers_sql(), $expected, $test, %o);
}

# Half a second is enough for a wrong start to show; a slow machine cannot make it fail.
sub runs_not
{
	my ($node, $test, %o) = @_;
	my $passed = runs($node, '', $test, %o);
	usleep(500_000);
	return runs($node, '', "$test, and it stays so", %o) && $passed;
}

sub worker_pid
{
	my ($node, $worker, %o) = @_;
	return $node->safe_psql($o{dbname} || 'postgres', qq{
		SELECT pid FROM pg_stat_activity
		WHERE application_name = 'edw_stream worker $worker' AND datname = current_database()});
}

# What processes of ours have logged as errors since an offset of the log.
sub log_since
{
	my ($node, $offset) = @_;
	my $log = PostgreSQL::Test::Utils::slurp_file($node->logfile, $offset || 0);
	return join "\n", grep { /edw_stream/ && /(?:WARNING|ERROR|FATAL|PANIC):/ } split /\n/, $log;
}

1;
