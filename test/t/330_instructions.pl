# The hot path does not become slow unnoticed: how many instructions an event takes in the decoder, the
# fold and the apply, as counted by valgrind. That does not depend on how fast or how busy the machine is, and
# what does depend on its processor, finding JSON's structure, is left out. A limit that is
# passed wants a look at what became dear; raise it only for something that is worth it, and say so.
use strict;
use warnings;

use EdwNode;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'valgrind is not installed' if system('valgrind --version >/dev/null 2>&1') != 0;

my $events = 2000;
my $envelope_schema = join '', split /\n\s*/, q[{"type":"struct","fields":[
	{"type":"struct","fields":[ROW],"optional":true,"name":"shop.public.orders.Value","field":"before"},
	{"type":"struct","fields":[ROW],"optional":true,"name":"shop.public.orders.Value","field":"after"},
	{"type":"struct","fields":[
		{"type":"string","optional":false,"field":"version"},
		{"type":"string","optional":false,"field":"connector"},
		{"type":"string","optional":false,"field":"name"},
		{"type":"int64","optional":false,"field":"ts_ms"},
		{"type":"string","optional":true,"name":"io.debezium.data.Enum","version":1,"parameters":{"allowed":"true,first,first_in_data_collection,last_in_data_collection,last,false,incremental"},"default":"false","field":"snapshot"},
		{"type":"string","optional":false,"field":"db"},
		{"type":"string","optional":true,"field":"sequence"},
		{"type":"string","optional":false,"field":"schema"},
		{"type":"string","optional":false,"field":"table"},
		{"type":"int64","optional":true,"field":"txId"},
		{"type":"int64","optional":true,"field":"lsn"},
		{"type":"int64","optional":true,"field":"xmin"}],"optional":false,"name":"io.debezium.connector.postgresql.Source","version":1,"field":"source"},
	{"type":"string","optional":false,"field":"op"},
	{"type":"int64","optional":true,"field":"ts_ms"}],"optional":false,"name":"shop.public.orders.Envelope","version":2}];
my $row_schema = join ',', map { qq({$_}) } (
	'"type":"int64","optional":false,"field":"id"', '"type":"int64","optional":true,"field":"customer_id"',
	'"type":"int64","optional":true,"field":"product_id"', '"type":"string","optional":true,"field":"status"',
	'"type":"bytes","optional":true,"name":"org.apache.kafka.connect.data.Decimal","version":1,"parameters":{"scale":"2","connect.decimal.precision":"12"},"field":"amount"',
	'"type":"string","optional":true,"name":"io.debezium.time.ZonedTimestamp","version":1,"field":"updated_at"');
$envelope_schema =~ s/ROW/$row_schema/g;

my $node = EdwNode->warehouse('instructions', conf => "autovacuum = off\n");

# A stream over $events events: 60 % inserts, 30 % updates, 10 % deletes, at random keys.
sub make_stream
{
	my ($name, $before, $after) = @_;
	$node->safe_psql('postgres', qq{
		CREATE TABLE $name (id bigint PRIMARY KEY, customer_id bigint, product_id bigint, status text,
			amount numeric(12,2), updated_at timestamptz);
		SELECT edw_stream.create_stream('$name', NULL, '{$name}', options => '{"batch_rows": 500}');
		SELECT edw_stream.map_table('$name', '$name', options => '{"source_types": {"amount": "numeric(12,2)"}}');
		SELECT count(edw_stream.push('$name', '$name', format('{"id":%s}', id), format(
			'%s{"before":%s,"after":%s,"source":{"version":"3.5.0.Final","connector":"postgresql","name":"shop",'
			'"ts_ms":%s,"snapshot":"false","db":"shop","sequence":"[\\"%s\\",\\"%s\\"]","schema":"public","table":"orders",'
			'"txId":%s,"lsn":%s,"xmin":null},"transaction":null,"op":"%s","ts_ms":%s}%s', '$before',
			CASE WHEN op = 'd' THEN image ELSE 'null' END, CASE WHEN op = 'd' THEN 'null' ELSE image END,
			1767225600000 + i, 900000 + i, 900001 + i, 7000 + i / 4, 900001 + i, op, 1767225600100 + i, '$after')))
		FROM generate_series(1, $events) i,
			LATERAL (SELECT CASE WHEN i <= $events * 0.6 THEN 'c' WHEN i <= $events * 0.9 THEN 'u' ELSE 'd' END AS op) o,
			LATERAL (SELECT CASE op WHEN 'c' THEN i ELSE 1 + i * 7919 % ($events * 6 / 10) END AS id) k,
			LATERAL (SELECT format('{"id":%s,"customer_id":%s,"product_id":%s,"status":"%s","amount":"A%sQ=",'
				'"updated_at":"2026-01-02T03:04:05.%sZ"}', id, i * 37 % 50000, i * 11 % 1000,
				CASE i % 3 WHEN 0 THEN 'NEW' WHEN 1 THEN 'PAID' ELSE 'SHIPPED' END, chr(65 + i % 20), 100000 + i) AS image) r;
		CHECKPOINT});
	return;
}

# Instructions per event in each function, with all that it calls, while a stream is drained.
sub count_instructions
{
	my ($stream) = @_;
	my $out = "$PostgreSQL::Test::Utils::tmp_check/callgrind.$stream";
	my $log = '';
	my $report = '';
	my %cost;
	ok( IPC::Run::run(
			[   'valgrind', '--tool=callgrind', "--callgrind-out-file=$out", 'postgres', '--single', '-D',
				$node->data_dir, 'postgres' ],
			'<', \"CALL edw_stream.drain('$stream')\n", '>&', \$log),
		"$stream: drained under valgrind") or diag($log);
	IPC::Run::run([ 'callgrind_annotate', '--inclusive=yes', '--threshold=100', $out ], '>', \$report, '2>', \$log)
	  or diag($log);
	while ($report =~ /^\s*([\d,]+) \([^)]*\)\s+\S*:(\w+) \[\S*edw_stream\.so\]/mg)
	{
		my ($count, $function) = ($1, $2);
		$count =~ tr/,//d;
		$cost{$function} = $count / $events if ($cost{$function} || 0) < $count / $events;
	}
	return \%cost;
}

sub is_below
{
	my ($cost, $limit, $what) = @_;
	ok($cost > 0 && $cost <= $limit,
		sprintf('%s: %d instructions an event, at most %d', $what, $cost, $limit));
	return;
}

make_stream('plain', '', '');
make_stream('schema', qq({"schema":$envelope_schema,"payload":), '}');
$node->stop;
my $plain = count_instructions('plain');
my $schema = count_instructions('schema');

is_below($plain->{decode_json} - $plain->{EdwJsonLoad}, 10_800, 'decoding');
is_below($schema->{decode_json} - $schema->{EdwJsonLoad}, 10_800, 'decoding with a schema');
is_below($schema->{EdwJsonLoad}, 1.2 * $plain->{EdwJsonLoad}, 'not looking at a schema that was seen before');
is_below($plain->{EdwBatchAdd}, 1_500, 'folding');
is_below($plain->{EdwApplyBatch}, 26_000, 'applying');

# it was the real thing that was counted
$node->start;
is( $node->safe_psql('postgres', "SELECT stream, inserted + updated + deleted + folded + unchanged, dead FROM edw_stream.tables ORDER BY 1"),
	"plain|$events|0\nschema|$events|0", 'all events were applied');
is($node->safe_psql('postgres', 'SELECT count(*) FROM (TABLE plain EXCEPT TABLE schema) d'), '0', 'the same rows');
done_testing();
