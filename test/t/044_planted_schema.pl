# A schema edw_stream that somebody has made beforehand, with functions that the extension's
# views would call with their readers' rights, is not taken for the extension's (G6).
use strict;
use warnings;
use EdwNode;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = EdwNode->warehouse('planted', extension => 0);
$node->safe_psql('postgres', q{
	CREATE ROLE mallory;
	GRANT CREATE ON DATABASE postgres TO mallory;
	SET ROLE mallory;
	CREATE SCHEMA edw_stream;
	CREATE FUNCTION edw_stream.pg_has_role(regrole, text) RETURNS boolean LANGUAGE plpgsql
		AS $$ BEGIN RAISE 'planted function runs as %', current_user; END $$});
my ($code, $out, $err) = $node->psql('postgres', 'CREATE EXTENSION edw_stream');
isnt($code, 0, 'a schema of somebody else\'s is refused');
like($err, qr/schema "edw_stream" exists already and belongs to somebody else/, 'with the reason');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_extension WHERE extname = 'edw_stream'}), '0',
	'nothing is left of it');

$node->safe_psql('postgres', 'DROP OWNED BY mallory; CREATE SCHEMA edw_stream; CREATE EXTENSION edw_stream');
is($node->safe_psql('postgres', 'SELECT count(*) FROM edw_stream.streams'), '0', 'one\'s own will do');

$node->stop;
done_testing();
