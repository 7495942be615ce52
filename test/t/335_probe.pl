# Rows that a batch's MERGE meets are found by probes of the unique index (apply/probe.c), whatever its columns are, and by an
# ordinary join where that cannot be: the table is the same, and each outcome is counted.
use strict;
use warnings;

use EdwNode;
use IPC::Run qw(start);
use Test::More;

my $probe = qr/^\tMerge on .*\n(?:\t  ->  Result .*\n)?\t +->  Custom Scan \(edw_feed\) .*\n(?!\t +->)/m;
my $join = qr/^\tMerge on .*\n(?:\t  Merge on .*\n)*\t  ->  (?:Nested Loop|Hash|Merge) .*Join/m;

my $node = EdwNode->warehouse('probe');
$node->safe_psql('postgres', 'CREATE TABLE sent (name text, at int, key jsonb, v text, PRIMARY KEY (name, at)); CREATE DOMAIN positive AS bigint CHECK (VALUE >= 0)');

# the plans of the MERGEs that applied what was waiting
sub drain
{
	my ($name) = @_;
	return grep { /^MERGE / } $node->plans_of("CALL edw_stream.drain('$name')", 'auto_explain.log_nested_statements' => 'on');
}

# A table with these columns; v and _edw_seq are added.
sub mapped_table
{
	my ($name, $columns, %o) = @_;
	my $keys = $o{keys} ? "keys => '$o{keys}', " : '';

	$node->safe_psql('postgres', qq{
		CREATE TABLE public.$name $columns;
		@{[$o{sql} // '']};
		SELECT edw_stream.create_stream('$name', NULL, '{$name}', 'json');
		SELECT edw_stream.map_table('$name', 'public.$name', '$name', $keys on_schema_change => 'ignore')});
	return;
}

# Batches of sizes around that of a window, of upserts and deletes of random keys: $key makes one of r.i, of which there are $n.
sub shape
{
	my ($name, $columns, $key, $n, $plan, %o) = @_;
	my ($at, @plans) = (0);

	mapped_table($name, $columns, %o);
	for my $rows (1, 31, 32, 33, 64, 200, 65, 1000, 7, 500)
	{
		$node->safe_psql('postgres', qq{
			SELECT setseed(0.$rows);
			INSERT INTO sent SELECT '$name', $at + o, $key, CASE WHEN random() < 0.8 THEN 'v' || $at + o END
				FROM (SELECT o, (random() * $n)::int AS i FROM generate_series(1, $rows) AS o OFFSET 0) AS r;
			SELECT count(edw_stream.push('$name', '$name', key::text,
				CASE WHEN v IS NOT NULL THEN (key || jsonb_build_object('v', v))::text END))
			FROM (SELECT * FROM sent WHERE name = '$name' AND at > $at ORDER BY at OFFSET 0) AS s});
		push @plans, drain($name);
		$at += $rows;
	}
	my $columns_of = $node->safe_psql('postgres', qq{SELECT string_agg('t.' || attname, ', ' ORDER BY attnum) FROM pg_attribute
		WHERE attrelid = 'public.$name'::regclass AND attnum > 0 AND attname NOT LIKE '\\_edw%'});
	my $wanted = qq{SELECT $columns_of FROM (SELECT DISTINCT ON (key) key, v FROM sent WHERE name = '$name' ORDER BY key, at DESC) AS l,
		jsonb_populate_record(NULL::public.$name, l.key || jsonb_build_object('v', l.v)) AS t WHERE l.v IS NOT NULL};
	my $there = "SELECT $columns_of FROM public.$name AS t";
	is($node->safe_psql('postgres', "SELECT count(*) FROM (($wanted EXCEPT ALL $there) UNION ALL ($there EXCEPT ALL $wanted)) AS d"), '0',
		"$name: the rows are right");
	cmp_ok($node->safe_psql('postgres', "SELECT least(updated, deleted, inserted) FROM edw_stream.tables WHERE stream = '$name'"), '>', 50,
		"$name: of each outcome");
	is(scalar(@plans), 10, "$name: a MERGE a batch");
	is(scalar(grep { $_ =~ $plan } @plans), 10, "$name: of the plan that there is to be") or diag($plans[-1]);
	return;
}

my $id = q{jsonb_build_object('id', r.i - 150)};
my $text = q{jsonb_build_object('k', left(md5(r.i::text), r.i % 7) || repeat('ab', r.i % 40) || r.i)};

shape('by_bigint', '(id bigint PRIMARY KEY, v text)', $id, 300, $probe);
shape('by_text', '(k text PRIMARY KEY, v text)', $text, 300, $probe);
shape('by_c', '(k text COLLATE "C" PRIMARY KEY, v text)', $text, 300, $probe);
shape('by_numeric', '(k numeric PRIMARY KEY, v text)', q{jsonb_build_object('k', round((r.i - 100) / 8.0, o % 2 + 3))}, 300, $probe);
shape('by_uuid', '(k uuid PRIMARY KEY, v text)', q{jsonb_build_object('k', md5(r.i::text)::uuid)}, 300, $probe);
shape('by_two', '(a int NOT NULL, b varchar(20) NOT NULL, v text)', q{jsonb_build_object('a', r.i % 20, 'b', 'b' || r.i / 20)}, 300, $probe,
	keys => '{a,b}', sql => 'CREATE UNIQUE INDEX ON public.by_two (b DESC, a) INCLUDE (v)');
shape('by_domain', '(k positive PRIMARY KEY, v text)', q{jsonb_build_object('k', r.i)}, 300, $probe);

# what cannot be probed
shape('deferred', '(id bigint PRIMARY KEY DEFERRABLE, v text)', $id, 300, $join, keys => '{id}');
shape('partitioned', '(id bigint PRIMARY KEY, v text) PARTITION BY HASH (id)', $id, 300, $join, sql => q{
	CREATE TABLE partitioned_0 PARTITION OF partitioned FOR VALUES WITH (MODULUS 2, REMAINDER 0);
	CREATE TABLE partitioned_1 PARTITION OF partitioned FOR VALUES WITH (MODULUS 2, REMAINDER 1)});

# An index that has one of the key's columns twice, and the other not at all, is not taken for one of the key: another row would be updated.
mapped_table('twice', '(a int NOT NULL, b int NOT NULL, v text)', keys => '{a,b}',
	sql => 'CREATE UNIQUE INDEX ON public.twice (a, b); CREATE UNIQUE INDEX ON public.twice (a, a)');
for my $b (2, 3)
{
	$node->safe_psql('postgres', qq{SELECT edw_stream.push('twice', 'twice', NULL, '{"a": 1, "b": $b, "v": "v$b"}')});
	drain('twice');
}
is($node->safe_psql('postgres', q{SELECT string_agg(b || v, ',') FROM public.twice}), '2v2', 'a row of another key is left alone');
is($node->safe_psql('postgres', q{SELECT dead FROM edw_stream.tables WHERE stream = 'twice'}), '1', 'and the event that it stands in the way of is put aside');

# Versions that an old snapshot keeps fill several pages of the index with one key; the last one is found. Others are around it.
mapped_table('versions', '(id bigint PRIMARY KEY, v text)', sql => 'CREATE INDEX ON public.versions (v)');
my $push = q{SELECT count(edw_stream.push('versions', 'versions', NULL, json_build_object('id', i, 'v', '%s ' || i)::text)) FROM generate_series(1, 100) AS i};
$node->safe_psql('postgres', sprintf($push, 'first'));
drain('versions');
my $reader = $node->background_psql('postgres');
$reader->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
$node->safe_psql('postgres', q{
DO $$
BEGIN
	FOR i IN 1 .. 6000 LOOP
		UPDATE public.versions SET v = 'version ' || i WHERE id IN (50, 51);
		COMMIT;
	END LOOP;
END $$});
cmp_ok($node->safe_psql('postgres', q{SELECT pg_relation_size('public.versions_pkey') / 8192}), '>', 6, 'versions fill pages of the index');
$node->safe_psql('postgres', sprintf($push, 'second'));
like((drain('versions'))[0], $probe, 'versions: of the plan that there is to be');
is($node->safe_psql('postgres', q{SELECT count(*), count(*) FILTER (WHERE v = 'second ' || id) FROM public.versions}), '100|100',
	'each row is found among its versions');
is($node->safe_psql('postgres', q{SELECT inserted, updated FROM edw_stream.tables WHERE stream = 'versions'}), '100|100', 'and updated');
$reader->query_safe('COMMIT');
$reader->quit;

# Keys far apart, each on a leaf page of its own, while somebody else's rows split pages of the index and VACUUM takes them away again.
mapped_table('far', '(k text PRIMARY KEY, v text)');
$node->safe_psql('postgres', q{
	CREATE TABLE far_wanted (i int PRIMARY KEY, v text);
	CREATE FUNCTION far_key(i int) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT repeat(md5(i::text), 6) $$});
my @far_plans;

# a batch that sets these rows, or deletes them
sub set_far
{
	my ($rows, $v) = @_;
	$node->safe_psql('postgres', qq{
		WITH chosen AS MATERIALIZED ($rows), noted AS (
			INSERT INTO far_wanted SELECT i, $v FROM chosen ON CONFLICT (i) DO UPDATE SET v = excluded.v RETURNING i, v)
		SELECT count(edw_stream.push('far', 'far', json_build_object('k', far_key(i))::text,
			CASE WHEN v IS NOT NULL THEN json_build_object('k', far_key(i), 'v', v)::text END)) FROM noted});
	push @far_plans, drain('far');
	return;
}

set_far('SELECT generate_series(1, 20000) AS i', q{'first'});
my $script = (q{INSERT INTO far SELECT far_key(i) || 'theirs', 'theirs' FROM generate_series(1, 20000) AS i;
	DELETE FROM far WHERE v = 'theirs'; VACUUM far;} x 8) . "\n\\q\n";
my ($rounds, $written) = (0, '');
my $writer = start([$node->installed_command('psql'), '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres')],
	'<', \$script, '>&', \$written);
while ($writer->pumpable || $rounds < 10)
{
	$writer->pump_nb if $writer->pumpable;
	$rounds++;
	set_far('SELECT DISTINCT 1 + (random() * 24000)::int AS i FROM generate_series(1, 500)', qq{CASE WHEN random() < 0.8 THEN 'round $rounds' END});
}
ok($writer->finish, "$rounds batches beside a writer") or diag($written);
is(scalar(grep { $_ =~ $probe } @far_plans), $rounds + 1, 'far: of the plan that there is to be');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM far_wanted AS w FULL JOIN far AS f ON f.k = far_key(w.i) WHERE w.v IS DISTINCT FROM f.v}), '0', 'far: the rows are right');
is($node->safe_psql('postgres', q{SELECT dead FROM edw_stream.tables WHERE stream = 'far'}), '0', 'far: all of them were applied');

# An index that is used is seen to be: nobody drops it as useless.
is($node->safe_psql('postgres', q{SELECT idx_scan >= inserted + updated + deleted AND idx_tup_read >= idx_tup_fetch AND idx_tup_fetch >= updated + deleted
	FROM pg_stat_user_indexes, edw_stream.tables WHERE indexrelname = 'by_bigint_pkey' AND stream = 'by_bigint'}), 't', 'probes are counted as scans of the index');

done_testing();
