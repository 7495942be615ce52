-- A stream's batches into the fact table of views.sql, from the inbox.
SELECT edw_stream.create_stream('facts', NULL, '{facts}', format => 'json', options => '{"batch_rows": 20000, "synchronous_commit": true}');
SELECT edw_stream.map_table('facts', 'fact', 'facts', keys => '{id}');
CREATE TABLE drained (what text, kind text, ms float8);

-- n events as one batch: updates of rows in all days, or inserts into a day of their own
CREATE PROCEDURE push_updates(n int, round int) LANGUAGE sql AS $$
	SELECT count(edw_stream.push('facts', 'facts', json_build_object('id', id)::text,
		json_build_object('id', f.id, 'd', f.d, 'cat', f.cat, 'amt', f.amt + 1, 'note', f.note)::text))
	FROM unnest(batch_ids(n, (SELECT days FROM shape), round)) AS b(id) JOIN fact f USING (id)
$$;
CREATE PROCEDURE push_inserts(n int, round int) LANGUAGE sql AS $$
	SELECT count(edw_stream.push('facts', 'facts', json_build_object('id', id)::text,
		json_build_object('id', id, 'd', day, 'cat', i % 16, 'amt', i / 100.0, 'note', 'order ' || id)::text))
	FROM (SELECT max(id) AS last, max(d) + 1 AS day FROM fact) f, generate_series(1, n) i, LATERAL (SELECT last + i AS id) k
$$;
