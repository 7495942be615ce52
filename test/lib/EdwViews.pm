# EdwViews: registered materialized views, for tests of who refreshes them.
#
#	use EdwViews;
#	fresh($node, 'v', 'name of the test');          # waits until v is what its query returns, and says so
#	differs($node, 'v');                            # how many rows are wrong
#
# All take dbname => … as their last option.
package EdwViews;

use strict;
use warnings;

use Exporter 'import';

our @EXPORT = qw(fresh differs differs_sql refreshes refresher_pid);

# Rows that a view has too many or too few, as text: 1.0 is not 1.00.
sub differs_sql
{
	my ($node, $view, %o) = @_;
	my $query = $node->safe_psql($o{dbname} || 'postgres', "SELECT rtrim(pg_get_viewdef('$view'::regclass), ';')");
	return qq{WITH want AS (SELECT this_row::text FROM ($query) AS this_row),
		have AS (SELECT this_row::text FROM $view AS this_row)
		SELECT count(*) FROM ((TABLE want EXCEPT ALL TABLE have) UNION ALL (TABLE have EXCEPT ALL TABLE want)) AS d};
}

sub differs
{
	my ($node, $view, %o) = @_;
	return $node->safe_psql($o{dbname} || 'postgres', differs_sql($node, $view, %o));
}

# The server may be starting anew.
sub fresh
{
	my ($node, $view, $test, %o) = @_;
	$node->poll_query_until($o{dbname} || 'postgres', 'SELECT true');
	my $wrong = differs_sql($node, $view, %o);
	return $node->wait_until("SELECT state || ', ' || ($wrong) || ' wrong' FROM edw_stream.views WHERE view = '$view'::regclass",
		'fresh, 0 wrong', $test, %o);
}

sub refreshes
{
	my ($node, $view, %o) = @_;
	return $node->safe_psql($o{dbname} || 'postgres', "SELECT refreshes FROM edw_stream.views WHERE view = '$view'::regclass");
}

sub refresher_pid
{
	my ($node, %o) = @_;
	return $node->safe_psql($o{dbname} || 'postgres', q{SELECT pid FROM pg_stat_activity
		WHERE backend_type = 'edw_stream refresher' AND datname = current_database()});
}

1;
