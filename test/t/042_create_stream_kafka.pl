# create_stream asks the broker: a topic that does not exist, a broker that is away, and a server that
# the caller may not use are errors of the call, and nothing is half-created.
use strict;
use warnings;
use EdwKafka;
use EdwNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $kafka = EdwKafka->shared;
my $topic = $kafka->create_topic('orders');
my $node = EdwNode->warehouse;
$node->create_kafka_server('k', $kafka);
$node->create_kafka_server('away', '127.0.0.1:1');

# what a statement raises, by psql's verbose words
sub raises
{
	my ($sql, $pattern, $name) = @_;
	my ($out, $err);
	$node->psql('postgres', "\\set VERBOSITY verbose\n$sql", stdout => \$out, stderr => \$err);
	like($err, $pattern, $name);
	is($node->safe_psql('postgres', 'SELECT count(*) FROM edw_stream.streams'), '0', "$name: no stream is there");
	return;
}

raises(qq{SELECT edw_stream.create_stream('s', 'k', '{$topic,no.such.topic}')},
	qr/ERROR: +42704.*"no\.such\.topic".*does not exist/, 'a topic that does not exist');
raises(qq{SELECT edw_stream.create_stream('s', 'k', '{$topic}', options => '{"transaction_topic": "no.such.transactions"}')},
	qr/ERROR: +42704.*"no\.such\.transactions"/, 'a transaction topic that does not exist');

raises(qq{SELECT edw_stream.create_stream('s', 'away', '{$topic}')}, qr/ERROR: +08.*HINT/s, 'a broker that is away');
raises(qq{SET statement_timeout = '500ms'; SELECT edw_stream.create_stream('s', 'away', '{$topic}')},
	qr/ERROR: +57014/, 'the wait for a broker can be cancelled');

$node->safe_psql('postgres', q{CREATE ROLE etl LOGIN; GRANT EXECUTE ON ALL ROUTINES IN SCHEMA edw_stream TO etl});
raises(qq{SET ROLE etl; SELECT edw_stream.create_stream('s', 'k', '{$topic}')},
	qr/ERROR: +42501.*HINT: +GRANT USAGE/s, 'a server without USAGE');
$node->safe_psql('postgres', q{GRANT USAGE ON FOREIGN SERVER k TO etl});
raises(qq{SET ROLE etl; SELECT edw_stream.create_stream('s', 'k', '{$topic}')},
	qr/ERROR: +42704.*HINT: +Create one with CREATE USER MAPPING/s, 'a server without a user mapping');

# with all of it, it works, regular expressions too
$node->safe_psql('postgres', q{CREATE USER MAPPING FOR etl SERVER k});
$node->safe_psql('postgres', qq{SET ROLE etl; SELECT edw_stream.create_stream('s', 'k', '{$topic,^nothing.yet}')});
is($node->safe_psql('postgres', 'SELECT name, owner, server, state FROM edw_stream.streams'), 's|etl|k|paused',
	'a stream on Kafka, its maker\'s, paused');

$node->stop;
done_testing();
