# A dump brings registered views back: registration, triggers and rows; what changes afterwards is followed. DROP EXTENSION
# leaves ordinary materialized views.
use strict;
use warnings;
use EdwNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = EdwNode->warehouse;
$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(original text custom parallel data);
$node->safe_psql('postgres', q{CREATE ROLE analyst LOGIN});
$node->safe_psql('original', q{
	CREATE EXTENSION edw_stream;
	CREATE SCHEMA "Data Warehouse" AUTHORIZATION analyst;
	GRANT EXECUTE ON ALL ROUTINES IN SCHEMA edw_stream TO analyst;
	SET ROLE analyst;
	SET search_path = "Data Warehouse";
	SET TimeZone = 'Asia/Tokyo';
	CREATE TABLE "Item" (id int PRIMARY KEY, class text);
	CREATE TABLE sale (id int, at timestamptz, item int REFERENCES "Item", qty int, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
	CREATE TABLE sale24 PARTITION OF sale FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
	CREATE TABLE sale25 PARTITION OF sale FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
	INSERT INTO "Item" SELECT i, 'class ' || i % 2 FROM generate_series(1, 4) i;
	INSERT INTO sale SELECT i, timestamptz '2024-12-01 20:00+00' + i * interval '11 hours', i % 4 + 1, i FROM generate_series(1, 200) i;
	CREATE MATERIALIZED VIEW by_day AS SELECT at::date AS day, class, count(*), sum(qty) AS qty, avg(qty) AS mean
		FROM sale s JOIN "Item" i ON i.id = s.item GROUP BY at::date, class;
	CREATE MATERIALIZED VIEW "By Class" AS SELECT class, sum(qty) AS qty FROM by_day GROUP BY class;
	CREATE MATERIALIZED VIEW later AS SELECT s.id, qty, class FROM sale s LEFT JOIN "Item" i ON i.id = s.item;
	SELECT edw_stream.register_view('by_day', '{day}');
	SELECT edw_stream.register_view('"By Class"', '{class}');
	SELECT edw_stream.register_view('later', '{id}', options => '{"method": "partition"}');
});

# rows that a view has too many or too few, for each registered view; computed with its own settings
sub wrong
{
	my ($db) = @_;
	my @wrong;
	for my $view (split /\n/, $node->safe_psql($db, q{SELECT view FROM edw_stream.view ORDER BY view::text}))
	{
		my $query = $node->safe_psql($db, qq{SELECT rtrim(pg_get_viewdef('$view'), ';')});
		push @wrong, "$view " . $node->safe_psql($db, qq{SET TimeZone = 'Asia/Tokyo'; WITH q AS ($query)
			SELECT count(*) FROM ((TABLE q EXCEPT ALL TABLE $view) UNION ALL (TABLE $view EXCEPT ALL TABLE q)) AS d});
	}
	return join ', ', @wrong;
}
my $none = '"Data Warehouse"."By Class" 0, "Data Warehouse".by_day 0, "Data Warehouse".later 0';

sub change
{
	my ($db) = @_;
	$node->safe_psql($db, q{SET ROLE analyst; SET search_path = "Data Warehouse";
		INSERT INTO sale VALUES (1000, '2025-05-05', 1, 5);
		UPDATE sale25 SET qty = qty + 1 WHERE id < 100;
		UPDATE "Item" SET class = 'renamed' WHERE id = 2;
		DELETE FROM sale WHERE id = 1;
		CREATE TABLE sale26 PARTITION OF sale FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
		INSERT INTO sale26 VALUES (2000, '2026-01-01', 3, 7)});
}
my $facts = q{SELECT string_agg(format('%s %s %s', view, partition_by, coalesce(reason, 'fresh')), ', ' ORDER BY view::text) FROM edw_stream.view};
my $triggers = q{SELECT string_agg(format('%s %s', tgrelid::regclass, n), ', ' ORDER BY tgrelid::regclass::text) FROM
	(SELECT tgrelid, count(*) AS n FROM pg_trigger JOIN pg_depend ON objid = pg_trigger.oid AND deptype = 'x'
		WHERE tgname LIKE 'edw_stream_view_%' AND tgenabled = 'A' GROUP BY 1) t};
my ($facts_are, $triggers_are) = map { $node->safe_psql('original', $_) } $facts, $triggers;
is($triggers_are, join(', ', map { "\"Data Warehouse\".$_ 4" } qw("Item" sale sale24 sale25)), 'all tables have triggers');
is(wrong('original'), $none, 'all views are fresh');

my $dir = $node->backup_dir;
mkdir $dir;
command_ok([ 'pg_dump', '-f', "$dir/text.sql", $node->connstr('original') ], 'dumped as text');
command_ok([ 'pg_dump', '-Fc', '-f', "$dir/custom.dump", $node->connstr('original') ], 'dumped as an archive');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/text.sql", $node->connstr('text') ], 'restored from text');
command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('custom'), "$dir/custom.dump" ], 'restored from an archive');
command_ok([ 'pg_restore', '--exit-on-error', '--jobs', '4', '-d', $node->connstr('parallel'), "$dir/custom.dump" ],
	'restored by four at once');

# a schema first, then its data, with the triggers there and switched off meanwhile; that fills no materialized view
command_ok([ 'pg_restore', '--exit-on-error', '--schema-only', '-d', $node->connstr('data'), "$dir/custom.dump" ],
	'restored without data');
command_ok([ 'pg_restore', '--exit-on-error', '--data-only', '--disable-triggers', '-d', $node->connstr('data'), "$dir/custom.dump" ],
	'… and the data after it');
$node->safe_psql('data', qq{REFRESH MATERIALIZED VIEW "Data Warehouse".$_}) for 'by_day', '"By Class"', 'later';

for my $db (qw(text custom parallel data))
{
	is($node->safe_psql($db, $facts), $facts_are, "$db: views are registered");
	is($node->safe_psql($db, $triggers), $triggers_are, "$db: triggers are there, and the extension's");
	is(wrong($db), $none, "$db: views are fresh");
	change($db);
	is(wrong($db), $none, "$db: and stay so");
	is($node->safe_psql($db, $facts), $facts_are, "$db: none is marked");
}

# the extension goes without CASCADE; views and tables stay
$node->safe_psql('text', 'DROP EXTENSION edw_stream');
is($node->safe_psql('text', q{SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'edw_stream%'}), '0', 'triggers go with the extension');
is($node->safe_psql('text', q{SELECT count(*) > 0 FROM "Data Warehouse".by_day}), 't', 'the views stay');
$node->safe_psql('text', q{INSERT INTO "Data Warehouse".sale VALUES (3000, '2025-05-05', 1, 5);
	REFRESH MATERIALIZED VIEW "Data Warehouse".by_day;
	DROP MATERIALIZED VIEW "Data Warehouse".by_day CASCADE; CREATE EXTENSION edw_stream});
is($node->safe_psql('text', q{SELECT count(*) FROM edw_stream.view}), '0', 'and it can be created again');

$node->stop;
done_testing();
