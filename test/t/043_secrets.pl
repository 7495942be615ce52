# A secret of a user mapping reaches librdkafka and nothing else: no error, no log, no view, no
# other role, and pg_stat_activity no longer than the statement that sets it runs.
use strict;
use warnings;
use EdwKafka;
use EdwNode;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep time);

my $secret = 'hunter2' . int(rand(1e9));
my $kafka = EdwKafka->shared;
my $topic = $kafka->create_topic('orders');
# log_statement is the administrator's own business, and off by default
my $node = EdwNode->warehouse('warehouse', conf => "log_min_messages = debug1\nlog_statement = none\n");
my $address = $kafka->address;
my $everything = '';

# Run as psql does, remember all that came back.
sub run
{
	my ($sql) = @_;
	my ($out, $err) = ('', '');
	$node->psql('postgres', "\\set VERBOSITY verbose\n$sql", stdout => \$out, stderr => \$err);
	$everything .= "$out\n$err\n";
	return $err;
}

$node->safe_psql('postgres', qq{
	CREATE ROLE etl LOGIN; CREATE ROLE curious LOGIN;
	GRANT EXECUTE ON ALL ROUTINES IN SCHEMA edw_stream TO etl;
	CREATE TABLE orders (id bigint PRIMARY KEY); ALTER TABLE orders OWNER TO etl;
	CREATE SERVER k FOREIGN DATA WRAPPER edw_kafka OPTIONS ("bootstrap.servers" '$address');
	GRANT USAGE ON FOREIGN SERVER k TO etl});

# refused statements: neither the client nor the log is told the secret
like(run(qq{CREATE SERVER bad FOREIGN DATA WRAPPER edw_kafka
	OPTIONS ("bootstrap.servers" 'h:9092', "sasl.password" '$secret')}),
	qr/does not belong to a server.*CREATE USER MAPPING/s, 'a password is no option of a server');
like(run(qq{CREATE USER MAPPING FOR etl SERVER k OPTIONS ("sasl.passwrd" '$secret')}),
	qr/unknown option "sasl\.passwrd".*sasl\.password/s, 'a misspelt password');
like(run(qq{CREATE USER MAPPING FOR etl SERVER k OPTIONS ("sasl.password" '$secret', nonsense '1')}),
	qr/unknown option "nonsense"/, 'a password beside a misspelt option');

# a file as a secret: only for who may read the server's files
my $file = $node->basedir . '/password';
append_to_file($file, "$secret\n");
like(run(qq{SET ROLE etl; CREATE USER MAPPING FOR etl SERVER k OPTIONS ("sasl.password.file" '$file')}),
	qr/ERROR: +42501/, 'a role that may not read files gives none');

# a stream that works, then with a password that the broker does not want
$node->safe_psql('postgres', qq{
	CREATE USER MAPPING FOR etl SERVER k;
	SET ROLE etl;
	SELECT edw_stream.create_stream('s', 'k', '{$topic}', 'json');
	SELECT edw_stream.map_table('s', 'orders');
	SELECT edw_stream.start('s')});
$node->wait_until(q{SELECT state FROM edw_stream.streams}, 'idle', 'the stream runs');
is(run(qq{
	ALTER SERVER k OPTIONS (ADD "security.protocol" 'sasl_plaintext', ADD "sasl.mechanism" 'PLAIN', ADD debug 'security,broker');
	ALTER USER MAPPING FOR etl SERVER k OPTIONS (ADD "sasl.username" 'etl', ADD "sasl.password.file" '$file')}),
	'', 'the server wants a password now');
my $offset = -s $node->logfile;
run(q{SELECT edw_stream.pause('s')});
$node->wait_until(q{SELECT processes FROM edw_stream.streams}, '0', 'it is paused');
run(q{SELECT edw_stream.start('s')});
my $give_up = time() + 180;
my $log = '';
while (time() < $give_up && $log !~ /stream "s".*(sasl|auth|broker|connect|disconnect)/i)
{
	usleep(100_000);
	$log = slurp_file($node->logfile, $offset);
}
like($log, qr/stream "s"/, 'the worker complains of the broker');
run(qq{SELECT edw_stream.create_stream('t', 'k', '{$topic}')});
run(qq{SET statement_timeout = '2s'; SET ROLE etl; SELECT edw_stream.create_stream('t', 'k', '{$topic}')});

# nobody else sees it
run(qq{ALTER USER MAPPING FOR etl SERVER k OPTIONS (DROP "sasl.password.file", ADD "sasl.password" '$secret')});
is($node->safe_psql('postgres', q{SELECT umoptions FROM pg_user_mappings WHERE srvname = 'k'}) =~ /\Q$secret\E/ ? 1 : 0, 1,
	'the superuser sees the mapping\'s options: the test looks for the right thing');
run(q{SET ROLE curious; SELECT * FROM pg_user_mappings; SELECT * FROM edw_stream.streams; SELECT * FROM pg_stat_activity});
foreach my $view (qw(streams partitions tables dead_letters batches skipped latency))
{
	run("SELECT * FROM edw_stream.$view");
}
run('SELECT * FROM edw_stream.worker_status()');
run('SELECT * FROM edw_stream.stream');
run(q{SELECT * FROM pg_stat_activity WHERE pid <> pg_backend_pid()});
unlike($everything, qr/\Q$secret\E/, 'no answer holds the secret');
unlike(slurp_file($node->logfile), qr/\Q$secret\E/, 'nor does the log');

$node->safe_psql('postgres', q{SELECT edw_stream.drop_stream('s')});
$node->stop;
done_testing();
