# EdwNode: a PostgreSQL::Test::Cluster that has edw_stream.
#
#	use EdwNode;
#	my $node = EdwNode->warehouse('warehouse');          # started, extension created
#	$node->create_kafka_server('k', $kafka);             # SERVER k with a USER MAPPING
#	$node->safe_psql('postgres', q{SELECT edw_stream.create_stream('s', 'k', …)});
#	$node->wait_until(q{SELECT count(*) FROM t}, 3);     # polls, and says what it got
#
# Outside of test/run it needs PG_REGRESS and PATH, which test/run sets.
package EdwNode;

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep time);

our @ISA = ('PostgreSQL::Test::Cluster');

# How long to wait for what must come, however slow the machine.
our $patience = $PostgreSQL::Test::Utils::timeout_default || 180;

# A node with edw_stream preloaded, started, with the extension in database postgres.
# Options: conf (text), extension => 0, start => 0, init => [ … ] for init().
sub warehouse
{
	my ($class, $name, %options) = @_;
	my $node = $class->new($name || 'warehouse');
	$node->init(@{ $options{init} || [] });
	$node->append_conf('postgresql.conf', <<EOF);
shared_preload_libraries = 'edw_stream'
max_worker_processes = 24
max_connections = 60
log_line_prefix = '%m [%p] %b %a: '
EOF
	$node->append_conf('postgresql.conf', $options{conf}) if $options{conf};
	return $node if exists $options{start} && !$options{start};
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION edw_stream')
	  unless exists $options{extension} && !$options{extension};
	return $node;
}

# A foreign server to a broker (an EdwKafka or an address) with a mapping for the user.
# Options: dbname, options (a hash of further server options), user ('CURRENT_USER').
sub create_kafka_server
{
	my ($node, $server, $kafka, %options) = @_;
	my %set = ('bootstrap.servers' => ref $kafka ? $kafka->address : $kafka,
		%{ $options{options} || {} });
	my $list = join ', ', map { qq{"$_" '$set{$_}'} } sort keys %set;
	my $user = $options{user} || 'CURRENT_USER';
	$node->safe_psql($options{dbname} || 'postgres', <<EOF);
CREATE SERVER $server FOREIGN DATA WRAPPER edw_kafka OPTIONS ($list);
CREATE USER MAPPING FOR $user SERVER $server;
EOF
	return;
}

# Wait until the query gives this; a test of its own. Options: dbname.
sub wait_until
{
	my ($node, $query, $expected, $name, %options) = @_;
	my $give_up = time() + $patience;
	my ($out, $err) = ('', '');
	while (time() < $give_up)
	{
		$out = $err = '';
		$node->psql($options{dbname} || 'postgres', $query, stdout => \$out, stderr => \$err);
		last if defined $out && $out eq $expected;
		usleep(50_000);
	}
	my $passed = is($out, $expected, $name || $query);
	diag($err) if !$passed && $err;
	return $passed;
}

# The plans of the statements that this SQL runs, as auto_explain logs them: query, newline, plan, each line but the first behind a tab.
# Settings are auto_explain's (log_nested_statements, for those inside functions) or any other's.
sub plans_of
{
	my ($node, $sql, %settings) = @_;
	my $from = -s $node->logfile;
	my %set = ('auto_explain.log_min_duration' => 0, %settings);

	$node->safe_psql('postgres', join('', "LOAD 'auto_explain';\n", map({ "SET $_ = $set{$_};\n" } sort keys %set), $sql));
	return slurp_file($node->logfile, $from) =~ /^.*? plan:\n\tQuery Text: (.*\n(?:\t.*\n)*)/mg;
}

# Wait until all that is in the stream's topics is applied; a test of its own.
sub catch_up
{
	my ($node, $stream, $name, %options) = @_;
	my $dbname = $options{dbname} || 'postgres';
	my $ok = $node->safe_psql($dbname, "SELECT edw_stream.wait_for('$stream', '$patience s')");
	my $passed = is($ok, 't', $name || "stream $stream catches up");
	diag($node->safe_psql($dbname, "SELECT * FROM edw_stream.streams")) unless $passed;
	return $passed;
}

# The pids of edw_stream's stream workers, in order.
sub worker_pids
{
	my ($node, $dbname) = @_;
	return split /\n/, $node->safe_psql($dbname || 'postgres',
		q{SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'edw_stream worker%' ORDER BY pid});
}

# Wait until a process is gone.
sub wait_for_exit
{
	my ($pid) = @_;
	my $give_up = time() + $patience;
	usleep(20_000) while kill(0, $pid) && time() < $give_up;
	return !kill(0, $pid);
}

# kill -9 of the whole server, as the power fails; it can be started again afterwards.
sub kill9_server
{
	my ($node) = @_;
	my $pid = $node->{_pid};
	$node->kill9;
	# orphans hold on to shared memory until they notice
	my $give_up = time() + $patience;
	usleep(20_000) while !orphans_gone($node) && time() < $give_up;
	# a dead postmaster that nobody has reaped yet counts as running for its successor
	$give_up = time() + 10;
	usleep(20_000) while kill(0, $pid) && time() < $give_up;
	unlink $node->data_dir . '/postmaster.pid' if kill(0, $pid);
	return;
}

sub orphans_gone
{
	my ($node) = @_;
	my $dir = $node->data_dir;
	foreach my $cwd (glob '/proc/[0-9]*/cwd')
	{
		my $target = readlink $cwd;
		return 0 if defined $target && $target eq $dir;
	}
	return 1;
}

1;
