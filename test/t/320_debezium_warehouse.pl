# A real Debezium between two databases: whatever happens at the source, the warehouse ends
# up equal to it. By real messages: O2, O4, O5, P3, P5, P6, P7, T1 to T3, K1.
use strict;
use warnings;

use EdwDebezium;
use EdwKafka;
use EdwNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $kafka = EdwKafka->shared;
my $source = EdwDebezium->source_node;
my $debezium = EdwDebezium->start($kafka);
my $node = EdwNode->warehouse;

my $tables = <<'EOF';
CREATE TABLE orders (id bigint PRIMARY KEY, customer_id int, status text, amount numeric(12,2), at timestamptz);
CREATE TABLE doc (id int PRIMARY KEY, big text, n int);
CREATE TABLE kinds (id int PRIMARY KEY, num numeric, ts timestamp, tstz timestamptz, d date, t time, j jsonb, u uuid,
	b bytea, ia int[], ta text[], bo boolean, f4 real, f8 double precision, iv interval, ip inet, v varchar(20), c char(5));
EOF
$source->safe_psql('postgres', $tables . <<'EOF');
ALTER TABLE doc ALTER big SET STORAGE EXTERNAL;
-- its rows may pass each other within a transaction
CREATE TABLE place (id int NOT NULL UNIQUE DEFERRABLE INITIALLY DEFERRED, who text);
ALTER TABLE place REPLICA IDENTITY FULL;
CREATE TABLE signal (id text PRIMARY KEY, type text, data text);
INSERT INTO orders SELECT i, i % 7, 'NEW', i * 1.01, '2026-01-01' FROM generate_series(1, 200) i;
INSERT INTO doc SELECT i, repeat(md5(i::text), 400), i FROM generate_series(1, 20) i;
INSERT INTO place SELECT i, 'p' || i FROM generate_series(1, 5) i;
INSERT INTO kinds VALUES
	(1, 12345678901234567890.123456789, '2026-01-02 03:04:05.678901', '2026-01-02 03:04:05.678901+02', '1969-12-31', '03:04:05.678901',
	 '{"a": [1, null]}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '\x00ff', '{1,NULL,3}', '{"q\"x",NULL,""}', true, 1.5, 1e300,
	 '1 year 2 mons 3 days 04:05:06.7', '10.0.0.1/8', 'é😀', 'ab'),
	(2, -0.0001, 'infinity', '-infinity', '1582-10-15', '00:00', 'null', NULL, '', '{}', '{}', false, 'NaN', '-Infinity', '-1 mons', '::1', '', '');
EOF
$node->safe_psql('postgres', $tables . 'CREATE TABLE place (id int PRIMARY KEY, who text)');

my %config = (
	'provide.transaction.metadata' => 'true',
	'interval.handling.mode' => 'string',
	'message.key.columns' => 'public.place:id',
	'signal.data.collection' => 'public.signal',
	'incremental.snapshot.chunk.size' => '50');
my @mapped = qw(orders doc place kinds);
my @included = map { "public.$_" } @mapped, 'signal';
my $prefix = $debezium->stream($source, tables => \@included, schemas => 1, partitions => 2, config => \%config);
$debezium->wait_for_topic("$prefix.public.$_") foreach @mapped;
# the first transaction makes its topic
$source->safe_psql('postgres', q{UPDATE orders SET status = 'SEEN' WHERE id = 1});
$debezium->wait_for_topic("$prefix.transaction");

$node->create_kafka_server('k', $kafka);
my $topics = join ',', map { "$prefix.public.$_" } @mapped;
$node->safe_psql('postgres', qq{
	SELECT edw_stream.create_stream('s', 'k', '{$topics}', options => '{"transaction_topic": "$prefix.transaction", "batch_rows": 300}');
	SELECT edw_stream.map_table('s', t::regclass, topic => '$prefix.public.' || t) FROM unnest('{orders,doc,place,kinds}'::text[]) t;
	SELECT edw_stream.start('s')});

# The rows of a table, without what edw_stream adds to it.
sub digest
{
	my ($table) = @_;
	return "SELECT md5(coalesce(string_agg((to_jsonb(x) - '{_edw_seq}'::text[])::text, E'\\n' ORDER BY id), '')) FROM $table x";
}

sub is_equal
{
	my ($when) = @_;
	foreach my $table (@mapped)
	{
		next if $node->wait_until(digest($table), $source->safe_psql('postgres', digest($table)), "$table is equal: $when");
		diag(map { $_->safe_psql('postgres', "SELECT left(x::text, 300) FROM $table x ORDER BY id LIMIT 10") . "\n" } $source, $node);
	}
	return;
}

is_equal('the snapshot');

$source->safe_psql('postgres', <<'EOF');
BEGIN; UPDATE orders SET status = 'LOST', id = -id; DELETE FROM doc; ROLLBACK;
BEGIN;
UPDATE orders SET status = 'PAID', amount = amount + 0.01 WHERE id % 3 = 0;
DELETE FROM orders WHERE id % 10 = 0;
INSERT INTO orders VALUES (10, 1, 'AGAIN', 0.10, 'infinity');
UPDATE orders SET id = id + 1000 WHERE id BETWEEN 50 AND 60;
COMMIT;
UPDATE doc SET n = n + 1;
UPDATE doc SET big = 'short' WHERE id = 3;
UPDATE doc SET id = 100 WHERE id = 3;
UPDATE kinds SET num = 1e-20, iv = NULL, d = 'infinity' WHERE id = 1;
UPDATE kinds SET d = '-infinity' WHERE id = 2;
EOF
is_equal('changes, unchanged large values, a key that changes');

# keys that pass each other: "delete 1, create 2, delete 2, create 3 …"
$source->safe_psql('postgres', 'UPDATE place SET id = id + 1');
is_equal('a shift of all keys');
$source->safe_psql('postgres', q{
	BEGIN; UPDATE place SET id = 7 - id WHERE id IN (3, 4); COMMIT;
	BEGIN; UPDATE place SET id = 50 WHERE id = 2; UPDATE place SET id = 51 WHERE id = 50; UPDATE place SET who = 'moved' WHERE id = 51; COMMIT});
is_equal('an exchange of keys, a row that moves twice');

$node->safe_psql('postgres', 'ALTER TABLE orders ADD note text, ALTER amount TYPE numeric(14,4)');
$source->safe_psql('postgres', q{
	ALTER TABLE orders ADD note text;
	ALTER TABLE orders ALTER amount TYPE numeric(14,4);
	INSERT INTO orders VALUES (300, 1, 'NOTED', 1.2505, now(), 'a note')});
is_equal('a column that is added on both sides, a scale that grows');

$debezium->kill9;
$source->safe_psql('postgres', q{
	UPDATE orders SET status = 'WHILE AWAY' WHERE id < 30;
	DELETE FROM place WHERE id = 5});
$debezium->restart;
is_equal('a connector that was killed and sends some of it again');

# lost here on purpose, and brought back by an incremental snapshot, while changes go on
$node->safe_psql('postgres', 'DELETE FROM orders WHERE id BETWEEN 100 AND 150');
$source->safe_psql('postgres', q{
	INSERT INTO signal VALUES ('again', 'execute-snapshot', '{"type": "incremental", "data-collections": ["public.orders"]}');
	UPDATE orders SET status = 'DURING' WHERE id % 4 = 1});
is_equal('an incremental snapshot');

# Debezium 3.5 misreads such dates in a snapshot
$source->safe_psql('postgres', q{UPDATE kinds SET d = '2026-02-28'});
is_equal('finite dates');

# the slot is lost: a new snapshot into the same topics begins another epoch
$debezium->delete_connector($prefix);
$source->poll_query_until('postgres', q{SELECT bool_and(NOT active) FROM pg_replication_slots})
  or die 'the connector does not let go of its slot';
$source->safe_psql('postgres', q{
	SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots;
	UPDATE orders SET status = 'UNSEEN' WHERE id % 5 = 0;
	UPDATE doc SET big = big || '!', n = 0});
$debezium->stream($source, tables => \@included, schemas => 1, partitions => 2,
	config => { %config, 'topic.prefix' => $prefix });
is_equal('a new snapshot');
$source->safe_psql('postgres', q{
	UPDATE orders SET amount = -amount WHERE id % 2 = 0;
	DELETE FROM kinds WHERE id = 2});
is_equal('changes after the new snapshot');
$node->wait_until(q{SELECT count(DISTINCT epoch) FROM edw_stream.partitions WHERE topic LIKE '%.orders' AND epoch = 2}, 1,
	'the new snapshot is another epoch');

is($node->safe_psql('postgres', q{SELECT count(*) FROM edw_stream.dead_letter}), '0', 'nothing died');
$node->wait_until(q{SELECT state || coalesce(': ' || message, '') FROM edw_stream.streams}, 'idle', 'the stream is at the end');
is($node->safe_psql('postgres', q{SELECT count(*) FROM edw_stream.batches WHERE incomplete_transactions <> '{}'}), '0',
	'no source transaction was split');

done_testing();
