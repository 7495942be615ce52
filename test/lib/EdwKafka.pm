# EdwKafka: a real Kafka broker for TAP tests.
#
#	use EdwKafka;
#	my $kafka = EdwKafka->shared;       # the broker of this run of test/run (or one's own)
#	my $kafka = EdwKafka->start;        # one's own: stop, kill9 and restart are allowed
#
#	my $topic = $kafka->create_topic('orders', partitions => 2,
#		config => { 'cleanup.policy' => 'compact' });   # a name of this test's own
#	$kafka->produce($topic, { key => '{"id":1}', value => '{"op":…}' }, …);
#	$kafka->produce_samples($topic, 'dbzn.public.orders.jsonl');
#
# A message is a hash of key and value (bytes, or undef for null), partition (the key's
# hash decides without), headers ([[name, value], …]) and timestamp (milliseconds).
# Strings with wide characters are sent as UTF-8, others byte by byte.
#
# Everything started here ends with the test, however it ends.
package EdwKafka;

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(basename dirname);
use File::Temp ();
use IPC::Run ();
use JSON::PP ();

my $lib = dirname(abs_path(__FILE__));
my @started;
my $shared;
my $topics = 0;

# Run a command, return what it prints, die with what it complains about.
sub command
{
	my ($input, @command) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run(\@command, '<', \$input, '>', \$out, '2>', \$err)
	  or die "@command[0 .. ($#command > 4 ? 4 : $#command)] failed: $err$out";
	chomp $out;
	return $out;
}

# The broker that test/run started for all tests; outside of test/run, one of the
# calling test's own. It must not be stopped.
sub shared
{
	my ($class) = @_;
	return $shared if $shared;
	if (my $dir = $ENV{EDW_TEST_KAFKA})
	{
		open my $file, '<', "$dir/address" or die "no Kafka in $dir: $!";
		chomp(my $address = <$file>);
		$shared = bless { address => $address, dir => $dir, shared => 1 }, $class;
	}
	else
	{
		$shared = $class->start;
	}
	$shared->{tool} = command('', "$lib/ctool", 'kafka_tool');
	return $shared;
}

# A broker of the test's own. Options: heap ('512m'), properties (text to add to
# server.properties).
sub start
{
	my ($class, %options) = @_;
	my $dir = File::Temp::tempdir('edw_kafka.XXXXXX', TMPDIR => 1);
	my $self = bless { dir => $dir, heap => $options{heap} || '512m', pid => $$ }, $class;
	if ($options{properties})
	{
		open my $file, '>', "$dir/extra.properties" or die $!;
		print $file $options{properties};
		close $file;
	}
	push @started, $self;
	$self->restart;
	$self->{tool} = command('', "$lib/ctool", 'kafka_tool');
	return $self;
}

# Start again, with the same address and data.
sub restart
{
	my ($self) = @_;
	$self->own('restarted');
	local $ENV{EDW_KAFKA_HEAP} = $self->{heap};
	$self->{address} = command('', "$lib/kafka", 'start', $self->{dir});
	return;
}

sub stop
{
	my ($self) = @_;
	$self->own('stopped');
	command('', "$lib/kafka", 'stop', $self->{dir});
	return;
}

sub kill9
{
	my ($self) = @_;
	$self->own('killed');
	command('', "$lib/kafka", 'kill', $self->{dir});
	return;
}

# A port for a listener of one's own.
sub free_port
{
	return command('', "$lib/free_port");
}

sub own
{
	my ($self, $what) = @_;
	die "the shared broker must not be $what: use EdwKafka->start" if $self->{shared};
	return;
}

# host:port, as in bootstrap.servers
sub address { return $_[0]->{address}; }

# The whole log of the broker, to look at when something failed.
sub log
{
	my ($self) = @_;
	open my $file, '<', "$self->{dir}/log" or return '';
	local $/;
	return scalar <$file>;
}

# What kafka_tool prints for this action.
sub tool
{
	my ($self, @arguments) = @_;
	return command('', $self->{tool}, $self->{address}, @arguments);
}

# A name for a topic that no other test uses.
sub topic_name
{
	my ($self, $name) = @_;
	(my $test = basename($0)) =~ s/\.[^.]+$//;
	$topics++;
	return "$test.$$.$topics.$name";
}

# Create a topic with a name of its own, or (literal => 1) exactly this name. Options:
# partitions (1), config. Returns the name.
sub create_topic
{
	my ($self, $name, %options) = @_;
	my $topic = $options{literal} ? $name : $self->topic_name($name);
	my $config = $options{config} || {};
	$self->tool('create', $topic, $options{partitions} || 1,
		map { "$_=$config->{$_}" } sort keys %$config);
	return $topic;
}

sub delete_topic { my ($self, $topic) = @_; $self->tool('delete', $topic); return; }

# Let the topic grow to this many partitions.
sub add_partitions
{
	my ($self, $topic, $total) = @_;
	$self->tool('partitions', $topic, $total);
	return;
}

# Replace the topic's settings.
sub configure_topic
{
	my ($self, $topic, %config) = @_;
	$self->tool('config', $topic, map { "$_=$config{$_}" } sort keys %config);
	return;
}

# Remove all records before this offset, as retention would.
sub delete_records
{
	my ($self, $topic, $partition, $before) = @_;
	$self->tool('delete-records', $topic, $partition, $before);
	return;
}

# { partition => [low, end] } of a topic; end is where a read_committed reader ends
sub offsets
{
	my ($self, $topic) = @_;
	return { map { my ($p, $low, $high) = split; $p => [ $low, $high ] }
		  split /\n/, $self->tool('offsets', $topic) };
}

# { partition => offset } that a consumer group has committed; -1001 for none
sub committed
{
	my ($self, $group, $topic) = @_;
	return { map { my ($p, $offset) = split; $p => $offset }
		  split /\n/, $self->tool('committed', $group, $topic) };
}

# Change what a consumer group has committed.
sub commit_offset
{
	my ($self, $group, $topic, $partition, $offset) = @_;
	$self->tool('commit', $group, $topic, $partition, $offset);
	return;
}

# What is in a topic: [partition, offset, length of the value (-1 for null)] of each
# message, in the order of a partition.
sub read_topic
{
	my ($self, $topic) = @_;
	return map { [ split ] } split /\n/, $self->tool('read', $topic);
}

sub bytes
{
	my ($text) = @_;
	return undef unless defined $text;
	my $bytes = "$text";
	utf8::encode($bytes) if utf8::is_utf8($bytes);
	return $bytes;
}

sub length_of { return defined $_[0] ? length $_[0] : -1; }

# Messages in the form that kafka_tool reads.
sub frames
{
	my @messages = @_;
	my $input = '';
	foreach my $message (@messages)
	{
		my $key = bytes($message->{key});
		my $value = bytes($message->{value});
		my $headers = $message->{headers} || [];
		$input .= join(' ',
			defined $message->{partition} ? $message->{partition} : -1,
			length_of($key), length_of($value), scalar @$headers,
			int($message->{timestamp} || 0))
		  . "\n" . (defined $key ? $key : '') . (defined $value ? $value : '');
		foreach my $header (@$headers)
		{
			my ($name, $content) = map { bytes($_) } @$header;
			$input .= length($name) . ' ' . length_of($content) . "\n" . $name
			  . (defined $content ? $content : '');
		}
	}
	return $input;
}

# Produce messages and wait until the broker has them all. Before the messages may
# stand a hash { transaction => 'commit' | 'abort', settings => { … } }: recognised by
# having neither key nor value.
sub produce
{
	my ($self, $topic, @messages) = @_;
	my $options = {};
	if (@messages && !exists $messages[0]{key} && !exists $messages[0]{value})
	{
		$options = shift @messages;
	}
	my $settings = $options->{settings} || {};
	my @how = $options->{transaction}
	  ? ($options->{transaction}, "edw-test-$$-" . ++$topics) : ('plain');
	my $count = command(frames(@messages), $self->{tool}, $self->{address}, 'produce',
		$topic, @how, map { "$_=$settings->{$_}" } sort keys %$settings);
	die "produced $count of " . scalar(@messages) unless $count == @messages;
	return $count;
}

# The messages of a file of test/samples, as produce takes them.
sub samples
{
	my ($self, $name) = @_;
	my $path = -e $name ? $name : "$lib/../samples/$name";
	open my $file, '<', $path or die "$path: $!";
	my $json = JSON::PP->new->utf8;
	return map {
		my $line = $json->decode($_);
		{ partition => $line->{partition}, key => $line->{key}, value => $line->{value},
			headers => $line->{headers}, timestamp => $line->{timestamp}[1] };
	} <$file>;
}

# Produce the messages of a file of test/samples.
sub produce_samples
{
	my ($self, $topic, $name) = @_;
	return $self->produce($topic, $self->samples($name));
}

# Produce messages in a transaction that stays open. The result has commit, abort,
# and abandon (the producer dies; the broker aborts after its transaction timeout, which
# the option timeout_ms says).
sub open_transaction
{
	my ($self, $topic, $options, @messages) = @_;
	my $open = { in => frames(@messages) . "\nflush\n", out => '', err => '' };
	my @settings = $options->{timeout_ms} ? ("transaction.timeout.ms=$options->{timeout_ms}") : ();
	$open->{run} = IPC::Run::start(
		[ $self->{tool}, $self->{address}, 'produce', $topic, 'open',
			'edw-test-' . $$ . '-' . ++$topics, @settings ],
		'<', \$open->{in}, '>', \$open->{out}, '2>', \$open->{err});
	$open->{run}->pump until $open->{out} =~ /\n/ || !$open->{run}->pumpable;
	die "could not open a transaction: $open->{err}" unless $open->{out} =~ /\n/;
	return bless $open, 'EdwKafka::Transaction';
}

# The cleanup must not change the test's exit code.
END
{
	my $status = $?;
	foreach my $broker (grep { $_->{pid} == $$ } @started)
	{
		system("$lib/kafka", 'remove', $broker->{dir});
	}
	$? = $status;
}

package EdwKafka::Transaction;

sub end
{
	my ($self, $word) = @_;
	$self->{in} .= "$word\n" if $word;
	$self->{run}->finish or die "could not end the transaction: $self->{err}";
	return;
}

sub commit { return $_[0]->end('commit'); }
sub abort { return $_[0]->end('abort'); }
sub abandon { return $_[0]->end(''); }

1;
