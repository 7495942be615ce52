# A standby runs no streams; promoted it takes over (G5).
use strict;
use warnings;

use EdwInbox;
use EdwNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = EdwNode->warehouse('primary', init => [ allows_streaming => 1 ]);
inbox_stream($primary, 's');
push_rows($primary, 's', 1, 3);
has_rows($primary, 's', 3, 'the primary applies');

$primary->backup('base');
my $standby = EdwNode->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
push_rows($primary, 's', 4, 6);
has_rows($primary, 's', 6, 'and goes on');
has_rows($standby, 's', 6, 'the rows reach the standby');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'edw_stream%'}),
	'0', 'nothing of ours runs on a standby');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM edw_stream.streams}), '1',
	'its views can be read');
my ($code, $out, $err) = $standby->psql('postgres', q{SELECT edw_stream.pause('s')});
isnt($code, 0, 'what changes a stream is refused there');

$primary->stop('immediate');
$standby->promote;
runs($standby, 's/0', 'promoted, it runs the stream');
push_rows($standby, 's', 7, 9);
has_rows($standby, 's', 9, 'and goes on where the primary was');

done_testing();
