-- Rules O3, O7: what carries no position of the source's is ordered by Kafka's offsets.
CREATE SCHEMA obo;
SET search_path = obo;
CREATE TABLE item (id int PRIMARY KEY, v text);
SELECT edw_stream.create_stream('obo', NULL, '{item}', format => 'json');
SELECT edw_stream.map_table('obo', 'item');
SELECT edw_stream.push('obo', 'item', '1', '{"id": 1, "v": "a"}');
SELECT edw_stream.push('obo', 'item', '1', '{"id": 1, "v": "b"}');
SELECT edw_stream.push('obo', 'item', '2', '{"id": 2, "v": "a"}');
SELECT edw_stream.push('obo', 'item', '2', NULL);
SELECT edw_stream.push('obo', 'item', '3', '{"id": 3, "v": "a"}');
CALL edw_stream.drain('obo');
SELECT id, v, edw_stream.describe_position(_edw_seq) FROM item ORDER BY id;

-- reading all of it again changes nothing: no row goes back, no deleted row returns
SELECT edw_stream.seek('obo', 'item', 0, 0);
CALL edw_stream.drain('obo');
SELECT id, v, edw_stream.describe_position(_edw_seq) FROM item ORDER BY id;
SELECT inserted, updated, deleted, duplicates, stale, folded FROM edw_stream.tables WHERE stream = 'obo';

-- a key that moves to a partition that was added: its offsets start over, its events do not
SELECT edw_stream.push('obo', 'item', '1', '{"id": 1, "v": "c"}', partition => 1);
SELECT edw_stream.push('obo', 'item', '2', '{"id": 2, "v": "c"}', partition => 1);
SELECT edw_stream.push('obo', 'item', '3', NULL, partition => 1);
SELECT edw_stream.push('obo', 'item', '4', '{"id": 4, "v": "c"}');
CALL edw_stream.drain('obo');
SELECT id, v, edw_stream.describe_position(_edw_seq) FROM item ORDER BY id;
SELECT partition, epoch FROM edw_stream.partitions WHERE stream = 'obo' ORDER BY 1;

SELECT edw_stream.drop_stream('obo');
DROP SCHEMA obo CASCADE;
