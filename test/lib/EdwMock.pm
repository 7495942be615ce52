# EdwMock: a cluster of mock brokers, for answers that a real one gives seldom.
#
#	use EdwMock;
#	my $mock = EdwMock->start(brokers => 2);
#	my $topic = $mock->create_topic('orders', partitions => 2);
#	$mock->produce($topic, { key => '1', value => '{…}' });      # as EdwKafka's
#	$mock->ask('fail', 1, 'Fetch', 'NOT_LEADER_FOR_PARTITION', 3);
#	$mock->await('Fetch');               # until all that fails or is late has been asked for
#
# What can be asked stands in test/mock/kafka_mock.c. It knows no transactions, no
# settings of topics, and none of kafka_tool's admin actions. It needs no Java.
package EdwMock;

use strict;
use warnings;

use Cwd qw(abs_path);
use EdwKafka;
use File::Basename qw(dirname);
use IPC::Open2 ();
use Time::HiRes qw(time usleep);

our @ISA = ('EdwKafka');

my $lib = dirname(abs_path(__FILE__));
my @started;

sub start
{
	my ($class, %options) = @_;
	my $brokers = $options{brokers} || 1;
	my $self = bless { brokers => $brokers, owner => $$ }, $class;
	my $program = EdwKafka::command('', "$lib/ctool", 'kafka_mock');

	$self->{tool} = EdwKafka::command('', "$lib/ctool", 'kafka_tool');
	$self->{pid} = IPC::Open2::open2($self->{out}, $self->{in}, $program, $brokers);
	push @started, $self;
	$self->{address} = readline $self->{out};
	die 'the mock cluster did not start' unless $self->{address};
	chomp $self->{address};
	return $self;
}

# Give an order, return what the answer says besides "ok".
sub ask
{
	my ($self, @words) = @_;
	print { $self->{in} } "@words\n";
	$self->{in}->flush;
	my $answer = readline $self->{out};
	die "@words: " . ($answer // 'the mock cluster is gone') unless defined $answer && $answer =~ /^ok ?(.*)/;
	return $1;
}

# Partitions are led by brokers 1, 2, … in turn.
sub create_topic
{
	my ($self, $name, %options) = @_;
	my $topic = $options{literal} ? $name : $self->topic_name($name);
	my $partitions = $options{partitions} || 1;
	$self->ask('topic', $topic, $partitions);
	$self->ask('leader', $topic, $_, 1 + $_ % $self->{brokers}) foreach 0 .. $partitions - 1;
	return $topic;
}

# Let the next requests of a kind fail, at every broker.
sub fail
{
	my ($self, $api, $error, $count) = @_;
	$self->ask('fail', $_, $api, $error, $count) foreach 1 .. $self->{brokers};
	return;
}

# Let their answers come so much later.
sub delay
{
	my ($self, $api, $ms, $count) = @_;
	$self->ask('delay', $_, $api, $ms, $count) foreach 1 .. $self->{brokers};
	return;
}

# Wait until every request that is to fail or to be late has come; false if they do not.
sub await
{
	my ($self, $api, $patience) = @_;
	my $give_up = time() + ($patience || 180);
	while (time() < $give_up)
	{
		return 1 unless grep { $self->ask('left', $_, $api) } 1 .. $self->{brokers};
		usleep(20_000);
	}
	return 0;
}

# It ends with its input; the test's exit code stays.
END
{
	my $status = $?;
	foreach my $mock (grep { $_->{owner} == $$ } @started)
	{
		close $mock->{in};
		waitpid $mock->{pid}, 0;
	}
	$? = $status;
}

1;
