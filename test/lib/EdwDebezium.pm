# EdwDebezium: Kafka Connect with Debezium's PostgreSQL connector, for TAP tests.
#
#	use EdwDebezium;
#	my $source = EdwDebezium->source_node('source');    # wal_level = logical
#	my $debezium = EdwDebezium->start($kafka);
#	my $prefix = $debezium->stream($source, tables => ['public.orders'],
#		config => { 'provide.transaction.metadata' => 'true' });
#	# the topics are "$prefix.public.orders", "$prefix.transaction" …
#	$debezium->wait_for_topic("$prefix.public.orders");
#
# Options of stream: dbname ('postgres'), tables (all), schemas (0 | 1: with the schema
# envelope), slot, config (further settings of the connector; undef removes one).
package EdwDebezium;

use strict;
use warnings;

use Cwd qw(abs_path);
use EdwKafka;
use File::Basename qw(basename dirname);
use File::Temp ();
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(usleep time);

my $lib = dirname(abs_path(__FILE__));
my @started;
my $names = 0;

# A source database: started, with logical decoding, reachable over TCP.
sub source_node
{
	my ($class, $name, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name || 'source');
	$node->init(allows_streaming => 'logical');
	$node->append_conf('postgresql.conf', "listen_addresses = '127.0.0.1'\n"
		  . ($options{conf} || ''));
	$node->append_conf('pg_hba.conf', "host all all 127.0.0.1/32 trust\n"
		  . "host replication all 127.0.0.1/32 trust\n");
	$node->start;
	return $node;
}

# Kafka Connect beside this broker.
sub start
{
	my ($class, $kafka) = @_;
	my $dir = File::Temp::tempdir('edw_connect.XXXXXX', TMPDIR => 1);
	my $self = bless { dir => $dir, kafka => $kafka, pid => $$, connectors => {} }, $class;
	push @started, $self;
	$self->restart;
	return $self;
}

# Start again after stop or kill9; connectors go on where they were.
sub restart
{
	my ($self) = @_;
	EdwKafka::command('', "$lib/connect", 'start', $self->{dir}, $self->{kafka}->address);
	foreach my $name (sort keys %{ $self->{connectors} })
	{
		$self->create_connector($name, $self->{connectors}{$name});
	}
	return;
}

sub stop { my ($self) = @_; EdwKafka::command('', "$lib/connect", 'stop', $self->{dir}); return; }
sub kill9 { my ($self) = @_; EdwKafka::command('', "$lib/connect", 'kill', $self->{dir}); return; }

# Connect's log, to look at when something failed.
sub log
{
	my ($self) = @_;
	open my $file, '<', "$self->{dir}/log" or return '';
	local $/;
	return scalar <$file>;
}

sub create_connector
{
	my ($self, $name, $config) = @_;
	EdwKafka::command(JSON::PP->new->utf8->canonical->encode($config),
		"$lib/connect", 'create', $self->{dir}, $name);
	$self->{connectors}{$name} = $config;
	return;
}

sub delete_connector
{
	my ($self, $name) = @_;
	EdwKafka::command('', "$lib/connect", 'delete', $self->{dir}, $name);
	delete $self->{connectors}{$name};
	return;
}

# Stream a database's changes; returns the prefix of its topics (and the connector's name).
sub stream
{
	my ($self, $source, %options) = @_;
	(my $test = basename($0)) =~ s/\W+/_/g;
	my $name = lc "${test}_$$" . '_' . ++$names;
	my $config = {
		'connector.class' => 'io.debezium.connector.postgresql.PostgresConnector',
		'tasks.max' => '1',
		'plugin.name' => 'pgoutput',
		'database.hostname' => '127.0.0.1',
		'database.port' => '' . $source->port,
		'database.user' => (getpwuid($>))[0],
		'database.password' => 'unused',
		'database.dbname' => $options{dbname} || 'postgres',
		'topic.prefix' => $name,
		'slot.name' => $options{slot} || "slot_$name",
		'publication.name' => "pub_$name",
		'publication.autocreate.mode' => $options{tables} ? 'filtered' : 'all_tables',
		'poll.interval.ms' => '50',
		'topic.creation.default.partitions' => '' . ($options{partitions} || 1),
		'topic.creation.default.replication.factor' => '1',
		'key.converter' => 'org.apache.kafka.connect.json.JsonConverter',
		'value.converter' => 'org.apache.kafka.connect.json.JsonConverter',
		'key.converter.schemas.enable' => $options{schemas} ? 'true' : 'false',
		'value.converter.schemas.enable' => $options{schemas} ? 'true' : 'false',
		%{ $options{config} || {} },
	};
	$config->{'table.include.list'} = join ',', @{ $options{tables} } if $options{tables};
	delete $config->{$_} foreach grep { !defined $config->{$_} } keys %$config;
	$self->create_connector($name, $config);
	$self->wait_for_slot($source, $config->{'slot.name'});
	return $name;
}

# Wait until the connector reads the source's log.
sub wait_for_slot
{
	my ($self, $source, $slot) = @_;
	$source->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_replication_slots WHERE slot_name = '$slot' AND active")
	  or die "Debezium does not stream:\n" . substr($self->log, -4000);
	return;
}

# Wait until a topic exists: Connect creates it with its first message.
sub wait_for_topic
{
	my ($self, $topic) = @_;
	my $give_up = time() + ($PostgreSQL::Test::Utils::timeout_default || 180);
	while (time() < $give_up)
	{
		return if eval { $self->{kafka}->offsets($topic); 1 };
	}
	die "topic $topic does not come:\n" . substr($self->log, -4000);
}

END
{
	my $status = $?;
	foreach my $connect (grep { $_->{pid} == $$ } @started)
	{
		system("$lib/connect", 'remove', $connect->{dir});
	}
	$? = $status;
}

1;
