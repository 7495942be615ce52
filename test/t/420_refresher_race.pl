# Writers of facts and dimensions, through a stream and through SQL, beside the refresher, which is terminated again and
# again and once killed: in the end every deferred view is what its query returns (G3).
use strict;
use warnings;

use EdwNode;
use EdwViews;
use Test::More;
use Time::HiRes qw(usleep);

my $rounds = 25;
my $node = EdwNode->warehouse('race', conf => "edw_stream.max_restart_delay = '100ms'\nrestart_after_crash = on\nautovacuum_naptime = '1s'\n");

$node->safe_psql('postgres', q{
	CREATE TABLE category (id int PRIMARY KEY, name text);
	CREATE TABLE product (id int PRIMARY KEY, category_id int, price int);
	CREATE TABLE sale (id int PRIMARY KEY, day date, product_id int, n int);
	INSERT INTO category SELECT i, 'c' || i % 3 FROM generate_series(1, 5) i;
	INSERT INTO product SELECT i, 1 + i % 5, i FROM generate_series(1, 20) i;
	INSERT INTO sale SELECT i, '2026-01-01'::date + i % 30, 1 + i % 25, i % 7 FROM generate_series(1, 2000) i;
	CREATE MATERIALIZED VIEW by_day AS SELECT day, count(*) AS sales, sum(n) AS n FROM sale GROUP BY day;
	CREATE MATERIALIZED VIEW by_category AS SELECT c.name, s.day, sum(s.n * p.price) AS total
		FROM sale s JOIN product p ON p.id = s.product_id JOIN category c ON c.id = p.category_id GROUP BY 1, 2;
	CREATE MATERIALIZED VIEW wide AS SELECT s.id, s.day, p.price, c.name
		FROM sale s LEFT JOIN product p ON p.id = s.product_id LEFT JOIN category c ON c.id = p.category_id;
	CREATE MATERIALIZED VIEW by_month AS SELECT date_trunc('month', day::timestamp) AS month, sum(sales) AS sales FROM by_day GROUP BY 1;
	SELECT edw_stream.register_view('by_day', '{day}', 'deferred', '{"max_staleness": "100ms"}');
	SELECT edw_stream.register_view('by_category', '{name,day}', 'deferred', '{"max_staleness": "100ms"}');
	SELECT edw_stream.register_view('wide', '{day}', 'deferred', '{"max_staleness": "300ms"}');
	SELECT edw_stream.register_view('by_month', '{month}', 'deferred', '{"max_staleness": "100ms"}');
	SELECT edw_stream.create_stream('s', NULL, '{sale}', 'json');
	SELECT edw_stream.map_table('s', 'sale');
	SELECT edw_stream.start('s')});
my @views = ('by_day', 'by_category', 'wide', 'by_month');
fresh($node, $_, "$_ is fresh") foreach @views;

# What a session does in one go: some transactions, of which some roll back, in both isolation levels.
my $writer = q{
	DO $$
	DECLARE r int;
	BEGIN
		FOR i IN 1 .. 12 LOOP
			r := floor(random() * 7);
			BEGIN
				IF r = 0 THEN UPDATE product SET category_id = 1 + floor(random() * 5) WHERE id = 1 + floor(random() * 20)::int;
				ELSIF r = 1 THEN UPDATE category SET name = 'c' || floor(random() * 3) WHERE id = 1 + floor(random() * 5)::int;
				ELSIF r = 2 THEN DELETE FROM sale WHERE id = floor(random() * 2500)::int;
				ELSIF r = 3 THEN INSERT INTO product VALUES (1 + floor(random() * 25), 1 + floor(random() * 5), floor(random() * 9)) ON CONFLICT DO NOTHING;
				ELSIF r = 4 THEN DELETE FROM product WHERE id = 1 + floor(random() * 25)::int;
				ELSE
					INSERT INTO sale VALUES (floor(random() * 2500), CASE WHEN random() < 0.9 THEN '2026-01-01'::date + floor(random() * 40)::int END,
						1 + floor(random() * 25), floor(random() * 7))
						ON CONFLICT (id) DO UPDATE SET day = EXCLUDED.day, product_id = EXCLUDED.product_id, n = EXCLUDED.n;
				END IF;
				IF random() < 0.1 THEN RAISE division_by_zero; END IF;
			EXCEPTION WHEN division_by_zero THEN NULL;
			END;
			IF random() < 0.3 THEN COMMIT; END IF;
		END LOOP;
	END $$};
my $pusher = q{SELECT count(edw_stream.push('s', 'sale', format('{"id": %s}', id),
		json_build_object('id', id, 'day', '2026-01-01'::date + floor(random() * 40)::int,
			'product_id', 1 + floor(random() * 25)::int, 'n', i)::text))
	FROM (SELECT i, floor(random() * 2500)::int AS id FROM generate_series(1, 20) i) x};

# Run by psql: a deadlock or a conflict of two writers is no failure of the test.
my @sessions = map { writer_session($_) } 0 .. 2;
for my $round (1 .. $rounds)
{
	print { $_->{in} } ($_->{number} == 1 ? $pusher : $writer) . ";\n" foreach @sessions;
	$_->{in}->flush foreach @sessions;
	usleep(100_000);
	$node->psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'edw_stream refresher'})
		if $round % 5 == 0;
	$node->psql('postgres', q{SELECT edw_stream.refresh_view('by_category')}) if $round % 7 == 0;
	$node->psql('postgres', q{REFRESH MATERIALIZED VIEW wide}) if $round % 8 == 0;
}
foreach my $session (@sessions)
{
	close $session->{in};
	waitpid $session->{pid}, 0;
}
$node->catch_up('s');
fresh($node, $_, "$_ is what its query returns") foreach @views;
is($node->safe_psql('postgres', q{SELECT count(*) FROM edw_stream.view_pending}), '0', 'nothing is pending');

# the same with a process that is killed while it works, and the server with it
@sessions = map { writer_session($_) } 0 .. 2;
print { $_->{in} } ($_->{number} == 1 ? $pusher : $writer) . ";\n" x 3 foreach @sessions;
$_->{in}->flush foreach @sessions;
$node->wait_until(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'edw_stream refresher'}, 1, 'the refresher works');
kill 9, refresher_pid($node);
foreach my $session (@sessions)
{
	close $session->{in};
	waitpid $session->{pid}, 0;
}
$node->poll_query_until('postgres', 'SELECT true');
$node->catch_up('s');
fresh($node, $_, "$_ is what its query returns after a crash") foreach @views;

done_testing();

sub writer_session
{
	my ($number) = @_;
	my $pid = open my $in, '|-', 'psql', '-X', '-q', '-d', $node->connstr('postgres'), '-o', '/dev/null';
	return { in => $in, pid => $pid, number => $number };
}
