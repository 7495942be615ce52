# Every history has a retention and prunes itself; what is younger or still needed stays (H3, O8).
use strict;
use warnings;

use EdwInbox;
use EdwNode;
use Test::More;

my $node = EdwNode->warehouse('retention', conf => "autovacuum_naptime = 1\n");
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

# a stream that commits often keeps its youngest batches, whatever their age; others keep theirs
$node->safe_psql('postgres', q{SELECT edw_stream.pause('s')});
runs($node, '', 'the worker is gone again');
$node->safe_psql('postgres', q{
	INSERT INTO edw_stream.batch (batch_id, stream, worker, committed_at, messages, bytes, changed_rows, dead, decode_us, apply_us)
	SELECT CASE name WHEN 's' THEN -i ELSE -i - 1000000 END, name, 0, now(), 1, 1, 1, 0, 1, 1
	FROM (VALUES ('s', 110500), ('seldom', 10)) s(name, n), generate_series(1, n) i;
	SELECT edw_stream.start('s')});
$node->wait_until(q{SELECT count(*) FROM edw_stream.batch WHERE stream = 's'}, 100000, 'more batches than are kept go');
is($node->safe_psql('postgres', q{SELECT count(*) > 0 AND min(batch_id) > -100000 FROM edw_stream.batch WHERE stream = 's' }), 't',
	'the oldest of them');
is($node->safe_psql('postgres', q{SELECT count(*) FROM edw_stream.batch WHERE stream = 'seldom'}), '10',
	q{another stream's stay});

# An old snapshot lets the row of a partition fill pages, which VACUUM alone makes usable again. It must not wait for thousands of such
# snapshots: each ANALYZE is one.
inbox_stream($node, 'hot', start => 0);
my $vacuums = q{SELECT sum(autovacuum_count) FROM pg_stat_all_tables WHERE relid = 'edw_stream.partition_offset'::regclass};
my @pages;
for my $round (1 .. 8)
{
	my $reader = $node->background_psql('postgres');
	$reader->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
	my $before = $node->safe_psql('postgres', $vacuums);
	$node->safe_psql('postgres', join('', map { "SELECT edw_stream.push('hot', 'hot', NULL, '{\"id\": $_}');\nCALL edw_stream.drain('hot');\n" } 1 .. 150));
	push @pages, $node->safe_psql('postgres', q{SELECT pg_relation_size('edw_stream.partition_offset') / 8192});
	$reader->query_safe('COMMIT');
	$reader->quit;
	$node->wait_until("SELECT ($vacuums) > $before", 't', "offsets are vacuumed, round $round");
}
cmp_ok($pages[7], '<', 2 * $pages[0], "the table of offsets does not grow with each old snapshot: @pages pages");

done_testing();
