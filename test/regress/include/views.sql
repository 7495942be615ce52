-- What was written to a materialized view, for the view_* tests, which include this:
--     \getenv srcdir PG_ABS_SRCDIR
--     \set include :srcdir '/include/views.sql'
--     \set ECHO none
--     \i :include
--     \set ECHO all
\pset format unaligned
\pset tuples_only on
\set VERBOSITY terse
SET client_min_messages = warning;

CREATE TEMP TABLE seen (view regclass, place tid, writer text, line text);

-- remember which rows a view has, and who wrote them
CREATE FUNCTION pg_temp.look(view regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM seen WHERE seen.view = look.view;
	EXECUTE format('INSERT INTO seen SELECT %L, ctid, xmin, v::text FROM %s AS v', view, view);
END $$;

-- what changed since: rows written and gone, counted by place and xmin; and whether the view is what its query returns
CREATE FUNCTION pg_temp.changes(view regclass) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	written bigint;
	gone bigint;
	wrong bigint;
BEGIN
	EXECUTE format('SELECT count(*) FILTER (WHERE s.place IS NULL), count(*) FILTER (WHERE v.place IS NULL)
		FROM (SELECT ctid AS place, xmin::text AS writer, v::text AS line FROM %s AS v) AS v
			FULL JOIN (SELECT * FROM seen WHERE view = %L::regclass) AS s
				ON v.place = s.place AND v.writer = s.writer AND v.line = s.line', view, view)
		INTO written, gone;
	wrong := pg_temp.wrong(view);
	PERFORM pg_temp.look(view);
	RETURN format('%s written, %s gone', written, gone)
		|| CASE WHEN wrong > 0 THEN format(', %s WRONG', wrong) ELSE '' END;
END $$;

-- rows that a view has too many or too few, compared as text: 1.0 is not 1.00
CREATE FUNCTION pg_temp.wrong(view regclass) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	result bigint;
BEGIN
	EXECUTE format('WITH query AS (%s), want AS (SELECT q::text FROM query AS q), have AS (SELECT v::text FROM %s AS v)
		SELECT count(*) FROM ((TABLE want EXCEPT ALL TABLE have) UNION ALL (TABLE have EXCEPT ALL TABLE want)) AS d',
		rtrim(pg_get_viewdef(view), ';'), view) INTO result;
	RETURN result;
END $$;

-- the counts since this was last asked for
CREATE TEMP TABLE counted (view regclass, refreshes bigint, affected bigint, refreshed bigint, compared bigint,
	inserted bigint, updated bigint, deleted bigint);
CREATE FUNCTION pg_temp.counts(of regclass) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	SELECT format('%s affected, %s refreshed, %s compared, %s inserted, %s updated, %s deleted',
		s.affected - coalesce(c.affected, 0), s.refreshed - coalesce(c.refreshed, 0),
		s.compared - coalesce(c.compared, 0), s.inserted - coalesce(c.inserted, 0),
		s.updated - coalesce(c.updated, 0), s.deleted - coalesce(c.deleted, 0))
		INTO result
		FROM edw_stream.view_stat AS s LEFT JOIN counted AS c USING (view) WHERE s.view = of;
	DELETE FROM counted WHERE view = of;
	INSERT INTO counted SELECT view, refreshes, affected, refreshed, compared, inserted, updated, deleted
		FROM edw_stream.view_stat WHERE view = of;
	RETURN result;
END $$;
