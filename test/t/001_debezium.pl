# The tests' own ground: EdwDebezium brings a source's changes into Kafka, whole.
use strict;
use warnings;

use EdwDebezium;
use EdwKafka;
use PostgreSQL::Test::Utils;
use Test::More;

my $kafka = EdwKafka->shared;
my $source = EdwDebezium->source_node;
$source->safe_psql('postgres', <<'EOF');
CREATE TABLE orders (id int PRIMARY KEY, amount numeric(12,2));
INSERT INTO orders VALUES (1, 10.01);
EOF
my $debezium = EdwDebezium->start($kafka);
my $prefix = $debezium->stream($source, tables => ['public.orders'],
	config => { 'provide.transaction.metadata' => 'true' });
my $topic = "$prefix.public.orders";
$debezium->wait_for_topic($topic);

my $wait_for_end = sub {
	my ($end) = @_;
	my $give_up = time + 180;
	select(undef, undef, undef, 0.1) while $kafka->offsets($topic)->{0}[1] < $end && time < $give_up;
	return $kafka->offsets($topic)->{0}[1];
};

$source->safe_psql('postgres', 'UPDATE orders SET amount = 20.02');
is($wait_for_end->(2), 2, 'the snapshot and an update arrive');

# the connector goes on where it was
$debezium->stop;
$source->safe_psql('postgres', 'DELETE FROM orders');
$debezium->restart;
is($wait_for_end->(4), 4, 'a delete and its tombstone arrive after a restart');
$debezium->delete_connector($prefix);

done_testing();
