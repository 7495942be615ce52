# Without the library, or with another version of it, streams wait and say why (G5, H2).
use strict;
use warnings;

use EdwInbox;
use EdwNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = EdwNode->warehouse('library');
inbox_stream($node, 's');
push_rows($node, 's', 1, 2);
has_rows($node, 's', 2, 'it runs');

# an extension that is newer than the library, as after a package was taken back
my $log = -s $node->logfile;
$node->safe_psql('postgres', q{
	UPDATE pg_extension SET extversion = '99.0' WHERE extname = 'edw_stream';
	SELECT edw_stream.start('s')});
$node->safe_psql('postgres', q{SELECT edw_stream.start('s')});
runs_not($node, 'an extension that does not fit the library: nothing runs');
is($node->safe_psql('postgres', q{SELECT state, reason FROM edw_stream.streams}), 'held|no_worker',
	'the view says that it is held');
like($node->safe_psql('postgres', q{SELECT message FROM edw_stream.streams}), qr/version/, 'and why');
$log = PostgreSQL::Test::Utils::slurp_file($node->logfile, $log);
my @said = $log =~ /streams of database \d+ do not run: its edw_stream extension is version 99\.0/g;
is(scalar @said, 1, 'the log says it once');
$node->safe_psql('postgres', q{
	UPDATE pg_extension SET extversion = '0.1' WHERE extname = 'edw_stream';
	SELECT edw_stream.start('s')});
runs($node, 's/0', 'versions that fit: it runs');

# not preloaded
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
$node->restart;
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'edw_stream%'}),
	'0', 'not preloaded: no processes');
is($node->safe_psql('postgres', q{SELECT state, reason FROM edw_stream.streams}), 'held|no_worker',
	'the view says that it is held');
like($node->safe_psql('postgres', q{SELECT message FROM edw_stream.streams}),
	qr/shared_preload_libraries/, 'and why');
push_rows($node, 's', 3, 5);
$node->safe_psql('postgres', q{CALL edw_stream.drain('s')});
is($node->safe_psql('postgres', 'SELECT count(*) FROM s'), '5', 'drain does the worker\'s job');
inbox_stream($node, 'other');
push_rows($node, 'other', 1, 1);
$node->safe_psql('postgres', q{CALL edw_stream.drain('other'); SELECT edw_stream.pause('other')});
is($node->safe_psql('postgres', 'SELECT count(*) FROM other'), '1', 'streams can be made and used');
$node->safe_psql('postgres', q{CREATE DATABASE d TEMPLATE postgres});
$node->safe_psql('postgres', q{DROP DATABASE d});
$node->safe_psql('postgres', q{BEGIN; DROP EXTENSION edw_stream; ROLLBACK});

# preloaded again, but the file is gone from a database that knows the extension
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'edw_stream'\n");
$node->restart;
push_rows($node, 's', 6, 6);
has_rows($node, 's', 6, 'preloaded again: it goes on');

done_testing();
