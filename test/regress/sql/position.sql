--
-- Positions as bytes: byte order is the source's order (O1, O2, O3, O6). For random
-- positions of every kind the order of the bytes is compared with the order of their parts,
-- as SQL sorts them.
--
CREATE FUNCTION pg_temp.make_position(kind text, streamed bool, is_delete bool, parts text[]) RETURNS bytea
	AS '$libdir/edw_stream', 'edw_stream_make_position' LANGUAGE C STRICT;
SELECT setseed(0.5);

-- numbers of 1 to n digits
CREATE FUNCTION pg_temp.digits(n int) RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT string_agg(floor(random() * 10)::int::text, '') FROM generate_series(1, 1 + floor(random() * n)::int)
$$;

-- neighbours in the source's order that are not in order, or equal without being the same
CREATE FUNCTION pg_temp.wrong(query text) RETURNS TABLE (n bigint, wrong bigint) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format($q$
		SELECT count(*), count(*) FILTER (WHERE p IS NULL OR p < before OR (p = before) IS DISTINCT FROM (k = k_before))
		FROM (SELECT p, k, lag(p) OVER w AS before, lag(k) OVER w AS k_before FROM (%s) s (k, p) WINDOW w AS (ORDER BY k)) w
		WHERE before IS NOT NULL $q$, query);
END $$;

-- PostgreSQL: the pair, null lowest (O2); lsn 0 stands for null
SELECT * FROM pg_temp.wrong($$
	SELECT ROW(a, b, d), pg_temp.make_position('postgresql', true, d = 0, ARRAY[a::text, b::text])
	FROM (SELECT CASE WHEN random() < 0.1 THEN 0 ELSE floor(random() * 1000) * 4294967296 + floor(random() * 3) END::numeric AS a,
		floor(random() * 1e15)::numeric AS b, floor(random() * 2)::int AS d FROM generate_series(1, 4000)) s $$);

-- MySQL: the file's suffix is a number (O3)
SELECT * FROM pg_temp.wrong($$
	SELECT ROW(f, pos, r), pg_temp.make_position('mysql', true, false, ARRAY['mysql-bin.' || CASE WHEN random() < 0.5 THEN lpad(f::text, 10, '0') ELSE f::text END, pos::text, r::text])
	FROM (SELECT floor(random() ^ 3 * 2000000)::numeric AS f, floor(random() * 4e9)::numeric AS pos, floor(random() * 300)::int AS r FROM generate_series(1, 4000)) s $$);

-- SQL Server: groups of hex digits, compared as numbers
SELECT * FROM pg_temp.wrong($$
	SELECT ROW(a, b, c, d, s), pg_temp.make_position('sqlserver', true, false,
		ARRAY[lpad(to_hex(a), 8, '0') || ':' || upper(lpad(to_hex(b), 8, '0')) || ':' || lpad(to_hex(c), 4, '0'),
			'00000000:' || lpad(to_hex(d), 8, '0') || ':0001', s::text])
	FROM (SELECT floor(random() * 20)::bigint AS a, floor(random() * 4e9)::bigint AS b, floor(random() * 65536)::bigint AS c,
		floor(random() * 4e9)::bigint AS d, floor(random() * 3)::int AS s FROM generate_series(1, 4000)) s $$);

-- Oracle: numbers of any length, then the record set and the sub-sequence
SELECT * FROM pg_temp.wrong($$
	SELECT ROW(c::numeric, s::numeric, r, ssn), pg_temp.make_position('oracle', true, false,
		ARRAY[c, s, ' 0x' || lpad(to_hex(r), 6, '0') || '.00047f4d.0010 ', ssn::text])
	FROM (SELECT pg_temp.digits(60) AS c, pg_temp.digits(30) AS s, floor(random() * 1e6)::int AS r, floor(random() * 10)::int AS ssn FROM generate_series(1, 4000)) s $$);
SELECT * FROM pg_temp.wrong($$
	SELECT ROW(s), pg_temp.make_position('oracle', true, false, ARRAY['1', '1', '0x' || s, '0'])
	FROM (SELECT lpad(to_hex(floor(random() * 100)::int), 4, '0') || CASE WHEN random() < 0.5 THEN '.' || lpad(to_hex(floor(random() * 1000)::int), 4, '0') ELSE '' END COLLATE "C" AS s
		FROM generate_series(1, 2000)) s $$);

-- MongoDB, with the Kafka offset as the last resort (O6)
SELECT * FROM pg_temp.wrong($$
	SELECT ROW(t, o, k), pg_temp.make_position('mongodb', true, false, ARRAY[t::text, o::text, k::text])
	FROM (SELECT floor(random() * 100)::bigint AS t, floor(random() * 3)::bigint AS o, floor(random() * 1e6)::bigint AS k FROM generate_series(1, 4000)) s $$);

-- a user's numbers: negative ones, fractions, exponents, any length
SELECT * FROM pg_temp.wrong($$
	SELECT ROW(t::numeric, k), pg_temp.make_position('number', true, false, ARRAY[t, k::text])
	FROM (SELECT CASE WHEN random() < 0.5 THEN '-' ELSE '' END || pg_temp.digits(CASE WHEN random() < 0.5 THEN 2 ELSE 50 END)
			|| CASE WHEN random() < 0.5 THEN '.' || pg_temp.digits(CASE WHEN random() < 0.5 THEN 2 ELSE 50 END) ELSE '' END
			|| CASE WHEN random() < 0.2 THEN 'e' || (floor(random() * 41) - 20)::int ELSE '' END AS t,
		floor(random() * 5)::int AS k FROM generate_series(1, 8000)) s $$);
-- however a number is written, it is the same one
SELECT count(DISTINCT pg_temp.make_position('number', true, false, ARRAY[t, '7'])) FROM unnest('{100,1e2,100.0,00100.00,+100,1000e-1,0.1e3}'::text[]) t;
SELECT count(DISTINCT pg_temp.make_position('number', true, false, ARRAY[t, '7'])) FROM unnest('{0,-0,0.0,000,0e5}'::text[]) t;

-- a user's texts, byte by byte; one that is the beginning of another comes first
SELECT * FROM pg_temp.wrong($$
	SELECT ROW(t, k), pg_temp.make_position('text', true, false, ARRAY[t, k::text])
	FROM (SELECT left(md5(floor(random() * 50)::text), 1 + floor(random() * 32)::int) COLLATE "C" AS t, floor(random() * 5)::int AS k FROM generate_series(1, 4000)) s $$);

SELECT * FROM pg_temp.wrong($$
	SELECT ROW(k), pg_temp.make_position('offset', true, false, ARRAY[k::text])
	FROM (SELECT floor(random() * 9e18)::bigint AS k FROM generate_series(1, 2000)) s $$);

-- within one epoch no snapshot row beats a streamed one (O5), whatever its numbers
SELECT pg_temp.make_position(kind, false, false, high) < pg_temp.make_position(kind, true, false, low) AS below
FROM (VALUES ('postgresql', '{999999,999999}'::text[], '{0,1}'::text[]), ('mysql', '{bin.999999,9,9}', '{bin.000001,1,0}')) v (kind, high, low);
-- the delete of a key's update comes before the insert with the same lsn (P3)
SELECT pg_temp.make_position('postgresql', true, true, '{5,7}') < pg_temp.make_position('postgresql', true, false, '{5,7}') AS below;

-- what is none, is none
SELECT kind, parts, pg_temp.make_position(kind, true, false, parts) IS NULL AS refused
FROM (VALUES ('mysql', '{mysql-bin,1,1}'::text[]), ('mysql', '{mysql-bin.1234567890123456789,1,1}'), ('sqlserver', '{00000027:00000758,0,0}'),
	('sqlserver', '{000000270:00000758:0005,0,0}'), ('sqlserver', '{0000002g:00000758:0005,0,0}'), ('oracle', '{12x,1,"",0}'),
	('oracle', '{1,"","",0}'), ('oracle', '{1,1,0x12.zz,0}'), ('number', '{12a,0}'), ('number', '{"",0}'), ('number', '{.,0}'), ('number', '{1e,0}'),
	('number', '{1e9999999999,0}'), ('number', '{--1,0}')) v (kind, parts);
SELECT pg_temp.make_position('text', true, false, ARRAY[repeat('x', 200), '0']) IS NULL AS refused;
SELECT pg_temp.make_position('oracle', true, false, ARRAY[repeat('9', 77), '1', '', '0']) IS NULL AS refused;

-- in words
SELECT kind, edw_stream.describe_position('\x00000003' || pg_temp.make_position(kind, streamed, is_delete, parts))
FROM (VALUES ('postgresql', true, false, '{26867440,26867896}'::text[]), ('postgresql', false, false, '{0,26866992}'), ('postgresql', true, true, '{26867728,26868016}'),
	('mysql', true, false, '{mysql-bin.000003,154,1}'), ('sqlserver', true, false, '{00000027:00000758:0005,00000027:00000758:0003,2}'),
	('sqlserver', false, false, '{00000027:00000758:0005,NULL,0}'), ('oracle', true, true, '{2868546,2868544," 0x000064.00047f4d.0010 ",0}'),
	('oracle', false, false, '{"",2868544,"",0}'), ('mongodb', true, false, '{1558965508,31,77}'), ('number', true, false, '{-12.50,9}'),
	('number', true, false, '{0,9}'), ('text', true, false, '{2026-01-02T03:04:05Z,12}'), ('offset', true, false, '{42}')) v (kind, streamed, is_delete, parts);
SELECT edw_stream.describe_position(p) FROM unnest(ARRAY['\x', '\x00', '\x0000000101', '\x00000001010100', '\x0000000101ff01', '\x00000001000001', '\x00000001010741', '\xdeadbeef0102030405']::bytea[]) p;
-- every beginning of a position is described, or named as none
SELECT count(edw_stream.describe_position(substr(p, 1, n)))
FROM (SELECT '\x00000001' || pg_temp.make_position('oracle', true, false, '{123456789,1234,0x1.2.3,1}') AS p) s, generate_series(0, 40) n;
