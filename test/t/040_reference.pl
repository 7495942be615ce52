# The examples of docs/reference.md run as they stand, in their order, in one database; and the
# page speaks of everything there is. So do those of README.md and docs/star-schema.md, each in a new database; what
# they show is what comes.
use strict;
use warnings;
use EdwKafka;
use EdwNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $page = slurp_file('docs/reference.md');
my $kafka = EdwKafka->shared;
my $node = EdwNode->warehouse;
my @topics = map { $kafka->create_topic($_) } ('orders', 'customers');
my $address = $kafka->address;

my $number = 0;
while ($page =~ /^```sql( kafka)?\n(.*?)^```$/msg)
{
	my ($wants_kafka, $sql) = ($1, $2);
	my $line = 1 + (substr($page, 0, $-[0]) =~ tr/\n//);
	my ($out, $err);

	$sql =~ s/kafka:9092/$address/g;
	$sql =~ s/shop\.public\.orders/$topics[0]/g;
	$sql =~ s/shop\.public\.customers/$topics[1]/g;
	my $result = $node->psql('postgres', $sql, stdout => \$out, stderr => \$err, on_error_stop => 1);
	is($result, 0, "the example in line $line runs") or diag($err);
	unlike($err, qr/WARNING/, "the example in line $line warns of nothing");
	$number++;

	# what the examples are about happens
	is($node->safe_psql('postgres', 'SELECT click_id, page FROM dw.clicks'), '1|/',
		'the worker applies what was pushed') if $sql =~ /edw_stream\.wait_for/;
	is($node->safe_psql('postgres', 'SELECT visitor_id, name, "Home Town" FROM dw.visitors'),
		'7|ADA LOVELACE|London', 'expressions make the columns') if $sql =~ /'visitors', '\{/;
	is($node->safe_psql('postgres', 'SELECT click_id FROM dw.clicks'), '2',
		'a null value deletes') if $sql =~ /-- a delete/;
	is($node->safe_psql('postgres', 'SELECT click_id, spent FROM dw.clicks ORDER BY 1'),
		"2|12.50\n3|123456789.00", 'the dead letter is applied at last') if $sql =~ /retry_dead_letters/;
}
cmp_ok($number, '>', 25, 'the page has its examples');

# The README's SQL, pasted into a new database; what only shows how it would look with a
# broker of one's own is marked as an example.
$node->safe_psql('postgres', 'DROP OWNED BY etl; DROP ROLE etl; CREATE DATABASE tutorial');
my $readme = slurp_file('README.md');
$number = 0;
while ($readme =~ /^```sql\n(.*?)^```$/msg)
{
	my $sql = $1;
	my $line = 1 + (substr($readme, 0, $-[0]) =~ tr/\n//);
	my ($out, $err);
	is($node->psql('tutorial', $sql, stdout => \$out, stderr => \$err, on_error_stop => 1), 0,
		"the README's SQL in line $line runs") or diag($err);
	is($err, '', "the README's SQL in line $line warns of nothing");
	like($out, qr/^1\|PAID\|9\.90\|epoch 1, /m, 'the tutorial shows the row as it is now') if $number == 0;
	like($out, qr/^2025-03-01\|books\|1\|20\.00\n2025-03-01\|games\|1\|5\.00\n2025-03-02\|games\|1\|7\.50$/m,
		'the registered view is fresh') if $sql =~ /register_view/;
	$number++;
}
cmp_ok($number, '>', 2, 'the README has its SQL');
foreach my $name (split /\n/, $node->safe_psql('postgres', q{SELECT name FROM pg_settings WHERE name LIKE 'edw\_stream.%'}))
{
	my ($short) = $name =~ /(\.\w+)$/;
	like($readme, qr/\Q$name\E|\Q$short\E/, "the README speaks of setting $name");
}

# The worked example of docs/star-schema.md, likewise, with what it shows.
$node->safe_psql('postgres', 'CREATE DATABASE star');
$node->safe_psql('postgres', q{ALTER DATABASE star SET timezone = 'UTC'});
my $star = slurp_file('docs/star-schema.md');
my $shown = 0;
while ($star =~ /^```sql\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?/msg)
{
	my ($sql, $text) = ($1, $2);
	my $line = 1 + (substr($star, 0, $-[0]) =~ tr/\n//);
	my ($out, $err);
	is($node->psql('star', $sql, stdout => \$out, stderr => \$err, on_error_stop => 1), 0,
		"the star's SQL in line $line runs") or diag($err);
	is($err, '', "the star's SQL in line $line warns of nothing");
	next unless defined $text;
	my $wanted = rows_shown($text);
	like($out, qr/(?:^|\n)\Q$wanted\E$/, "the star's SQL in line $line shows what comes");
	$shown++;
}
cmp_ok($shown, '>', 4, 'the star shows its results');

# The rows of psql's tables as psql -At prints them.
sub rows_shown
{
	my @rows;
	foreach my $line (split /\n/, shift)
	{
		if ($line =~ /^-[-+]*$/) { pop @rows; next; }		# below the heading
		next if $line eq '';
		push @rows, join '|', map { s/^\s+|\s+$//gr } split /\|/, $line, -1;
	}
	return join "\n", @rows;
}

# Nothing is left out.
foreach my $what (
	[ 'function', q{SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'edw_stream'::regnamespace} ],
	[ 'view', q{SELECT relname FROM pg_class WHERE relnamespace = 'edw_stream'::regnamespace AND relkind = 'v'} ],
	[ 'setting', q{SELECT name FROM pg_settings WHERE name LIKE 'edw\_stream.%'} ],
	[ 'wrapper', q{SELECT fdwname FROM pg_foreign_data_wrapper} ])
{
	my ($kind, $query) = @$what;
	foreach my $name (split /\n/, $node->safe_psql('postgres', $query))
	{
		like($page, qr/\b\Q$name\E\b/, "the reference speaks of $kind $name");
	}
}

$node->stop;
done_testing();
