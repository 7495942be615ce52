# Every history has a retention and prunes itself; what is younger or still needed stays (H3, O8).
use strict;
use warnings;

use EdwInbox;
use EdwNode;
use Test::More;

my $node = EdwNode->warehouse('retention');
inbox_stream($node, 's');
push_rows($node, 's', 1, 10);
has_rows($node, 's', 10, 'rows arrive');
$node->safe_psql('postgres', q{
	SELECT edw_stream.push('s', 's', '1', NULL);
	SELECT edw_stream.push('s', 's', '2', NULL);
	SELECT edw_stream.push('s', 's', NULL, 'not JSON');
	SELECT edw_stream.push('s', 's', NULL, 'nor this')});
ok($node->safe_psql('postgres', q{SELECT edw_stream.wait_for('s', '3 minutes')}) eq 't', 'all is read');
$node->safe_psql('postgres', q{SELECT edw_stream.pause('s')});
runs($node, '', 'the worker is gone');

# half of everything happened long ago; one dead letter that did is still open
$node->safe_psql('postgres', q{
	SELECT edw_stream.push('s', 's', '11', '{"id": 11, "v": "not read yet"}');
	UPDATE edw_stream.inbox SET pushed_at = now() - interval '2 days' WHERE kafka_offset < 5 OR kafka_offset = 14;
	UPDATE edw_stream.batch SET committed_at = now() - interval '2 days' WHERE batch_id = (SELECT min(batch_id) FROM edw_stream.batch);
	UPDATE edw_stream.tombstone SET deleted_at = now() - interval '8 days' WHERE key = (SELECT key FROM edw_stream.tombstone ORDER BY key LIMIT 1);
	UPDATE edw_stream.dead_letter SET first_seen = now() - interval '2 days', last_seen = now() - interval '2 days';
	SELECT edw_stream.discard_dead_letters('s', kafka_offset => 12);
	UPDATE edw_stream.dead_letter SET last_seen = now() - interval '2 days';
	CREATE TABLE before AS SELECT (SELECT min(batch_id) FROM edw_stream.batch) AS batch,
		(SELECT key FROM edw_stream.tombstone ORDER BY key LIMIT 1) AS tombstone;
	SELECT edw_stream.start('s')});
has_rows($node, 's', 9, 'what was not read yet is applied, however old');
$node->wait_until('SELECT count(*) FROM edw_stream.inbox WHERE kafka_offset < 5', 0, 'old messages of the inbox go');
$node->wait_until('SELECT count(*) FROM edw_stream.batch, before WHERE batch_id = batch', 0, 'old batches go');
$node->wait_until('SELECT count(*) FROM edw_stream.tombstone t, before b WHERE t.key = b.tombstone', 0, 'old tombstones go');
$node->wait_until(q{SELECT count(*) FROM edw_stream.dead_letter WHERE status = 'discarded'}, 0, 'old settled dead letters go');
is($node->safe_psql('postgres', q{SELECT min(kafka_offset) FROM edw_stream.inbox}), '5', 'younger messages stay');
is($node->safe_psql('postgres', q{SELECT count(*) FROM edw_stream.tombstone}), '1', 'a younger tombstone stays');
cmp_ok($node->safe_psql('postgres', q{SELECT count(*) FROM edw_stream.batch}), '>=', 1, 'younger batches stay');
is($node->safe_psql('postgres', q{SELECT string_agg(kafka_offset::text, ',') FROM edw_stream.dead_letters}), '13',
	'an open dead letter stays, however old');

done_testing();
