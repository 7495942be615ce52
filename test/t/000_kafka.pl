# The tests' own ground: what EdwKafka says of a broker is so.
use strict;
use warnings;

use EdwKafka;
use PostgreSQL::Test::Utils;
use Test::More;

my $kafka = EdwKafka->shared;
my $topic = $kafka->create_topic('bytes', partitions => 2);
my $read = sub {
	my ($topic) = @_;
	return EdwKafka::command('', 'kcat', '-b', $kafka->address, '-C', '-t', $topic, '-e', '-q',
		'-X', 'isolation.level=read_committed', '-f', '%p/%o [%k] %S [%s] {%h}\n');
};

# bytes arrive as they were sent: null, empty, NUL, broken UTF-8
is($kafka->produce($topic,
		{ key => 'k', value => "a\0b\xff", partition => 1, headers => [ [ 'h', 'v' ], [ 'n', undef ] ] },
		{ key => undef, value => '', partition => 0 },
		{ key => 'k', value => undef, partition => 0 }), 3, 'all are acknowledged');
is_deeply($kafka->offsets($topic), { 0 => [ 0, 2 ], 1 => [ 0, 1 ] }, 'each in its partition');
SKIP:
{
	skip 'kcat is not installed', 1 unless `sh -c 'command -v kcat'`;
	is(join("\n", sort split /\n/, $read->($topic)),
		"0/0 [] 0 [] {}\n0/1 [k] -1 [] {}\n1/0 [k] 4 [a\0b\xff] {h=v,n=NULL}",
		'bytes, nulls and headers arrive');
}

$kafka->add_partitions($topic, 3);
is_deeply($kafka->offsets($topic)->{2}, [ 0, 0 ], 'a topic grows');
$kafka->delete_records($topic, 0, 1);
is_deeply($kafka->offsets($topic)->{0}, [ 1, 2 ], 'records are deleted');

# transactions: an aborted one leaves a gap, an open one holds the end back
my $tx = $kafka->create_topic('tx');
$kafka->produce($tx, { transaction => 'abort' }, { key => 'a', value => '1' });
$kafka->produce($tx, { transaction => 'commit' }, { key => 'b', value => '2' });
my $open = $kafka->open_transaction($tx, {}, { key => 'c', value => '3' });
is_deeply($kafka->offsets($tx), { 0 => [ 0, 4 ] }, 'an open transaction holds the end back');
$open->commit;
is_deeply($kafka->offsets($tx), { 0 => [ 0, 6 ] }, 'and ends with a marker');

is($kafka->produce_samples($kafka->create_topic('orders'), 'dbzn.public.orders.jsonl'),
	scalar(my @lines = $kafka->samples('dbzn.public.orders.jsonl')), 'recorded messages are sent');

# a broker of one's own comes back with its address and data
my $own = EdwKafka->start;
my $address = $own->address;
my $kept = $own->create_topic('kept');
$own->produce($kept, { key => 'k', value => 'v' });
$own->kill9;
$own->restart;
is($own->address, $address, 'the same address');
is_deeply($own->offsets($kept), { 0 => [ 0, 1 ] }, 'the same data');
$own->stop;

done_testing();
