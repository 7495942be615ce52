# What a change of one partition of a registered view reads: that partition of the base tables
# alone, by index and by partition pruning, through joins, UNION ALL, subqueries and views.
use strict;
use warnings;

use EdwNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = EdwNode->warehouse;
$node->safe_psql('postgres', <<'EOF');
CREATE TABLE shop (id int PRIMARY KEY, region text);
INSERT INTO shop SELECT i, 'r' || i % 5 FROM generate_series(0, 4999) AS i;
CREATE TABLE fact (id int, day int, shop int REFERENCES shop, amount int, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
SELECT format('CREATE TABLE fact_%s PARTITION OF fact FOR VALUES FROM (%s) TO (%s)', i, i * 100, i * 100 + 100)
	FROM generate_series(0, 9) AS i \gexec
CREATE INDEX fact_day ON fact (day);
CREATE INDEX fact_shop ON fact (shop);
INSERT INTO fact SELECT i, i / 50, i % 5000, i FROM generate_series(0, 49999) AS i;
CREATE TABLE old_fact (day int, amount int);
CREATE INDEX ON old_fact (day);
INSERT INTO old_fact SELECT i / 20, i FROM generate_series(0, 19999) AS i;
CREATE VIEW all_fact AS SELECT day, amount FROM fact UNION ALL SELECT day, amount FROM old_fact;
VACUUM ANALYZE;

CREATE MATERIALIZED VIEW grouped AS SELECT day, count(*) AS n, max(amount) AS most FROM fact GROUP BY day;
CREATE MATERIALIZED VIEW joined AS SELECT f.day, s.region, sum(f.amount) AS total
	FROM fact AS f JOIN shop AS s ON s.id = f.shop GROUP BY f.day, s.region;
CREATE MATERIALIZED VIEW united AS SELECT day, sum(amount) AS total FROM all_fact GROUP BY day;
CREATE MATERIALIZED VIEW nested AS SELECT q.day, q.n, s.region
	FROM (SELECT day, shop, count(*) AS n FROM fact GROUP BY day, shop) AS q JOIN shop AS s ON s.id = q.shop;
SELECT edw_stream.register_view(v, '{day}', options => '{"method": "partition"}')
	FROM unnest('{grouped,joined,united,nested}'::regclass[]) AS v;
ANALYZE;
EOF

# the plans of the queries that keep views fresh, after a statement
sub plans_of
{
	my ($statement) = @_;
	my @plans = $node->plans_of($statement, 'auto_explain.log_analyze' => 'on', 'auto_explain.log_timing' => 'off', enable_bitmapscan => 'off');
	return grep { /^query of a registered materialized view/ } @plans;
}

# relations that were read by the plans
sub read_by
{
	my %read = map { $_ => 1 } join("\n", @_) =~ /(?:Seq|Index|Index Only) Scan (?:Backward )?(?:using \w+ )?on (?:public\.)?(\w+)/g;
	return join ' ', sort keys %read;
}

my @plans = plans_of('UPDATE fact SET amount = amount + 1 WHERE id = 25850 AND day = 517;');
my $all = join "\n", @plans;
ok(@plans >= 8, 'each of the four views computes and reads its rows');
unlike($all, qr/Seq Scan on (?:fact|old_fact|grouped|joined|united|nested)/, 'no table is scanned whole');
is(read_by(grep { /\bon fact_/ } @plans), 'fact_5 old_fact shop',
	'of the fact only the partition is read that the day is in');
is(scalar(() = $all =~ /on fact_5/g), 4, '… once for each view');
like($all, qr/Index Cond: \(\(?(?:\w+\.)?day = (?:ANY \('\{517\}'::integer\[\]\)|517)\)/, '… by index on the day');

# a day that no row is in any more
@plans = plans_of('UPDATE fact SET day = 5 WHERE day = 999;');
is(read_by(grep { /\bon fact_/ } @plans), 'fact_0 fact_9 old_fact shop', 'a row that moves concerns two partitions');
is($node->safe_psql('postgres', 'SELECT count(*) FROM grouped WHERE day = 999'), 0, '… one of which is gone');

# a dimension's row: the days of its facts alone
@plans = plans_of(q{UPDATE shop SET region = 'elsewhere' WHERE id = 17;});
is($node->safe_psql('postgres', q{
	WITH query AS (SELECT f.day, s.region, sum(f.amount) FROM fact AS f JOIN shop AS s ON s.id = f.shop GROUP BY 1, 2)
	SELECT count(*) FROM ((TABLE joined EXCEPT ALL TABLE query) UNION ALL (TABLE query EXCEPT ALL TABLE joined)) AS d}),
	0, 'a change of a dimension reaches the view');
unlike(join("\n", @plans), qr/ on (?:grouped|united)/, '… and no view that does not read it');
unlike(join("\n", @plans), qr/Seq Scan on fact/, '… by the index on what joins it');

done_testing();
