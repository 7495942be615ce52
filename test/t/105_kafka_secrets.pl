# Secrets go from the user mapping, or from a file, to the broker and nowhere else. Wrong ones stall the stream and
# are not told to anybody.
use strict;
use warnings;
use EdwKafka;
use EdwNode;
use PostgreSQL::Test::Utils;
use Test::More;

my ($right, $wrong, $typo) = ('right-9f8e7d', 'wrong-1a2b3c', 'typo-4d5e6f');

# a broker with a second listener that wants a password
my $kafka = EdwKafka->start;
my $port = $kafka->free_port;
$kafka->stop;
my $properties = slurp_file("$kafka->{dir}/server.properties");
my ($listeners) = $properties =~ /^\s*listeners=(.*)$/m;
my ($map) = $properties =~ /^\s*listener\.security\.protocol\.map=(.*)$/m;
my ($advertised) = $properties =~ /^\s*advertised\.listeners=(.*)$/m;
append_to_file("$kafka->{dir}/server.properties", <<EOF);

listeners=$listeners,SECURE://127.0.0.1:$port
advertised.listeners=$advertised,SECURE://127.0.0.1:$port
listener.security.protocol.map=$map,SECURE:SASL_PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_etl="$right";
EOF
$kafka->restart;
my $topic = $kafka->create_topic('t');
$kafka->produce($topic, { key => '{"id":1}', value => '{"id":1}' });

my $node = EdwNode->warehouse('warehouse', conf => "log_statement = 'none'\nlog_min_messages = debug2\n");
my $sql = sub { return $node->safe_psql('postgres', $_[0]) };
my $file = PostgreSQL::Test::Utils::tempdir() . '/password';
append_to_file($file, "$right\n");
$sql->(qq{CREATE SERVER k FOREIGN DATA WRAPPER edw_kafka OPTIONS ("bootstrap.servers" '127.0.0.1:$port',
		"security.protocol" 'sasl_plaintext', "sasl.mechanism" 'PLAIN', debug 'security,broker');
	CREATE TABLE t (id bigint PRIMARY KEY)});
my $raises = sub {
	my ($statement) = @_;
	my ($out, $err);
	$node->psql('postgres', "\\set VERBOSITY verbose\n$statement", stdout => \$out, stderr => \$err);
	return $err;
};

# a refused statement stays out of the server's log
like($raises->(qq{CREATE USER MAPPING FOR CURRENT_USER SERVER k OPTIONS ("sasl.pasword" '$typo')}),
	qr/HV00D.*sasl\.password/s, 'a misspelt option is refused');

$sql->(qq{CREATE USER MAPPING FOR CURRENT_USER SERVER k OPTIONS ("sasl.username" 'etl', "sasl.password" '$wrong')});
my $error = $raises->(qq{SELECT edw_stream.create_stream('s', 'k', ARRAY['$topic'], 'json')});
like($error, qr/ERROR: +28000/, 'a wrong password is an error of create_stream');
unlike($error, qr/\Q$wrong\E/, 'which does not tell it');

$sql->(qq{ALTER USER MAPPING FOR CURRENT_USER SERVER k OPTIONS (DROP "sasl.password", ADD "sasl.password.file" '$file');
	SELECT edw_stream.create_stream('s', 'k', ARRAY['$topic'], 'json');
	SELECT edw_stream.map_table('s', 't', '$topic');
	SELECT edw_stream.start('s')});
$node->wait_until('SELECT count(*) FROM t', '1', 'a password from a file is taken');
$sql->(q{SELECT edw_stream.pause('s')});
$node->wait_until(q{SELECT count(*) FROM edw_stream.worker_status() WHERE pid IS NOT NULL}, '0', 'the worker ends');

$sql->(qq{ALTER USER MAPPING FOR CURRENT_USER SERVER k OPTIONS (DROP "sasl.password.file", ADD "sasl.password" '$wrong');
	SELECT edw_stream.start('s')});
$node->wait_until(q{SELECT state FROM edw_stream.streams}, 'stalled', 'a password that is wrong now stalls the stream');
my $told = $sql->('SELECT message, hint, last_error FROM edw_stream.streams');
like($told, qr/uthentication/, 'it says why');
unlike($told, qr/\Q$wrong\E/, 'and not with which password');

my $log = slurp_file($node->logfile);
like($log, qr/librdkafka: /, 'librdkafka\'s debug lines are in the log');
unlike($log, qr/\Q$_\E/, 'no secret is in the log') foreach $right, $wrong, $typo;

$node->stop;
done_testing();
