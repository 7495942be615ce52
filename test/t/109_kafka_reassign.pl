# K1: whoever finds that the stored offsets moved assigns its partitions anew, also many times in a row, while
# librdkafka is still letting go of the assignment before. That must neither abort the server, nor lose or
# repeat anything.
use strict;
use warnings;
use Cwd qw(abs_path);
use EdwMock;
use EdwNode;
use File::Basename qw(dirname);
use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;

my $test = dirname(dirname(abs_path(__FILE__)));
my $mock = EdwMock->start(brokers => 2);
my $node = EdwNode->warehouse;
$node->create_kafka_server('k', $mock);
my $sql = sub { return $node->safe_psql('postgres', $_[0]) };
my ($rows, $partitions) = (1600, 8);
my $topic = $mock->create_topic('t', partitions => $partitions);
$mock->produce($topic, map { { key => qq({"id":$_}), value => qq({"id":$_}), partition => $_ % $partitions } } 1 .. $rows);

# the source alone, assigned as fast as a backend can
SKIP:
{
	my $library = PostgreSQL::Test::Utils::tempdir() . '/source_probe.so';
	chomp(my $include = `$ENV{PG_CONFIG} --includedir-server`);
	system_or_bail('gcc', '-shared', '-fPIC', '-O2', '-Wall', '-Wextra', '-Werror', "-I$test/../src", '-isystem', $include,
		'-o', $library, "$test/mock/source_probe.c");
	my ($code, undef, $err) = $node->psql('postgres', qq{
		LOAD 'edw_stream';
		CREATE FUNCTION source_reassign(text, text, int, int) RETURNS text AS '$library' LANGUAGE C STRICT});
	# since PostgreSQL 16 an extension's functions are seen from outside only if exported
	skip 'the library\'s symbols are hidden', 1 if $err =~ /undefined symbol/;
	my $out;
	$node->psql('postgres', qq{SELECT source_reassign('k', '$topic', $partitions, 5000)}, stdout => \$out);
	is($out, "$rows read, 0 gaps, 5000 assignments", 'K1: assigned anew in a row, a source loses and repeats nothing');
}
$node->wait_until('SELECT 1', '1', 'the server lives');

# psql, running while the test goes on
sub session
{
	my ($commands) = @_;
	my %session = (in => $commands, out => '', err => '');
	$session{run} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ],
		'<', \$session{in}, '>', \$session{out}, '2>', \$session{err});
	return \%session;
}

$sql->(qq{CREATE TABLE t (id bigint PRIMARY KEY);
	SELECT edw_stream.create_stream('s', 'k', ARRAY['$topic'], 'json', options => '{"batch_rows": 5}');
	SELECT edw_stream.map_table('s', 't', '$topic');
	SELECT edw_stream.start('s')});
$node->wait_until('SELECT count(*) FROM edw_stream.partitions', $partitions, 'a worker reads the topic');

# sessions drain beside it, while another takes partitions back to their begin
my ($worker) = $node->worker_pids;
my @sessions = map { session($_) } (("CALL edw_stream.drain('s');\n" x 5) x 2,
	join '', map { "SELECT edw_stream.seek('s', '$topic', " . $_ % $partitions . ", 0);\n" } 1 .. 1000);
$_->{run}->finish foreach @sessions;
is(join('', map { $_->{err} } @sessions), '', 'sessions drain and seek beside the worker');

$node->catch_up('s', 'the stream catches up');
is($sql->('SELECT count(*), min(id), max(id) FROM t'), "$rows|1|$rows", 'K1: nothing is lost');
is($sql->('SELECT inserted FROM edw_stream.tables'), $rows, 'K1: every row was inserted once');
is(($node->worker_pids)[0], $worker, 'by the worker of the beginning');
$node->wait_until('SELECT state FROM edw_stream.streams', 'idle', 'the stream has not stalled');
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC/, 'nothing aborted');
$node->stop;
done_testing();
