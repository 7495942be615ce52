# A restored dump comes up paused, and goes on where it was once it is started (G5).
use strict;
use warnings;

use EdwInbox;
use EdwNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = EdwNode->warehouse('restore');
inbox_stream($node, 's');
push_rows($node, 's', 1, 5);
has_rows($node, 's', 5, 'the original applies');

my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
PostgreSQL::Test::Utils::command_ok([ 'pg_dump', '-f', $dump, $node->connstr('postgres') ],
	'pg_dump works with workers running');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
PostgreSQL::Test::Utils::command_ok(
	[ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $node->connstr('restored') ],
	'the dump is restored');
my @there = (dbname => 'restored');
runs_not($node, 'a restored stream does not start by itself', @there);
is($node->safe_psql('restored', q{SELECT name, state, reason FROM edw_stream.streams}),
	's|paused|restored', 'and says why');
like($node->safe_psql('restored', q{SELECT hint FROM edw_stream.streams}), qr/edw_stream\.start/,
	'and what to do');
runs($node, 's/0', 'the original goes on');

push_rows($node, 's', 6, 8, @there);
$node->safe_psql('restored', q{SELECT edw_stream.start('s')});
runs($node, 's/0', 'start() starts it', @there);
has_rows($node, 's', 8, 'where the dump was taken', @there);
is($node->safe_psql('restored', q{SELECT inserted, duplicates FROM edw_stream.tables}), '8|0',
	'nothing was applied twice');

# into the very database that it came from, which then goes on from the dump, not from Kafka
$node->safe_psql('restored', q{DROP SCHEMA edw_stream CASCADE; DROP TABLE s});
PostgreSQL::Test::Utils::command_ok(
	[ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $node->connstr('restored') ],
	'the dump is restored once more');
$node->safe_psql('restored', q{SELECT edw_stream.start('s')});
PostgreSQL::Test::Utils::command_ok([ 'pg_dump', '-f', $dump, $node->connstr('restored') ],
	'and dumped while it is at home there');
$node->safe_psql('restored', q{DROP SCHEMA edw_stream CASCADE; DROP TABLE s});
PostgreSQL::Test::Utils::command_ok(
	[ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $node->connstr('restored') ],
	'restored into the database that was its home');
is($node->safe_psql('restored', q{SELECT name, state, reason FROM edw_stream.streams}),
	's|paused|restored', 'it is paused there too');
$node->safe_psql('restored', q{SELECT edw_stream.start('s')});
runs($node, 's/0', 'until it is started', @there);

# a restart changes nothing about who is at home where
$node->safe_psql('postgres', 'CREATE DATABASE again TEMPLATE restored');
$node->restart;
runs($node, 's/0', 'after a restart the one that was started runs', @there);
runs($node, 's/0', 'and the original');
runs_not($node, 'and the copy does not', dbname => 'again');

done_testing();
