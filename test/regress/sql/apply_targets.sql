-- Tables as PostgreSQL has them: partitions, triggers, identity, RLS, constraints, no _edw_seq yet.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/events.sql'
\set ECHO none
\i :include
\set ECHO all
CREATE SCHEMA ap_tab;
SET search_path = ap_tab, pg_catalog;
SELECT edw_stream.create_stream('ap_tab', NULL, '{part,trig,ident,checked,loaded,owned}');
CREATE FUNCTION pg_temp.e(topic text, op text, fields jsonb, lsn bigint, key text[] DEFAULT '{id}') RETURNS void LANGUAGE sql AS $$
	SELECT pg_temp.send('ap_tab', topic, op, fields, lsn, key => key) $$;

-- partitioned by a key column: pruned by the batch's bounds
CREATE TABLE part (id int, day date, v text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
SELECT edw_stream.map_table('ap_tab', 'part', 'part', options => '{"source_types": {"day": "date"}}');
SELECT edw_stream.explain_table('ap_tab', 'part');
SELECT pg_temp.e('part', 'c', jsonb_build_object('id', i, 'day', '2026-01-01'::date + i - '1970-01-01', 'v', i), i, '{id,day}')
	FROM generate_series(1, 40, 13) AS i;
CALL edw_stream.drain('ap_tab');
SELECT pg_temp.e('part', 'u', jsonb_build_object('id', 14, 'day', '2026-01-15'::date - '1970-01-01', 'v', 'new'), 50, '{id,day}'),
	pg_temp.e('part', 'd', jsonb_build_object('id', 40, 'day', '2026-02-10'::date - '1970-01-01'), 51, '{id,day}');
CALL edw_stream.drain('ap_tab');
SELECT tableoid::regclass, id, v FROM part ORDER BY id;
-- … so that a batch touches the partitions of its range only, also where stored rows must be read first
CREATE TABLE touched (what text, partition text);
CREATE FUNCTION note_touched() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO ap_tab.touched SELECT NEW.v, l.relation::regclass FROM pg_catalog.pg_locks AS l
		WHERE l.pid = pg_catalog.pg_backend_pid() AND l.relation IN ('ap_tab.part_1'::regclass, 'ap_tab.part_2'::regclass);
	RETURN NEW;
END $$;
CREATE TRIGGER t AFTER UPDATE ON part FOR EACH ROW EXECUTE FUNCTION note_touched();
SELECT pg_temp.e('part', 'u', jsonb_build_object('id', 14, 'day', '2026-01-15'::date - '1970-01-01', 'v', 'whole row'), 60, '{id,day}');
CALL edw_stream.drain('ap_tab');
SELECT pg_temp.send('ap_tab', 'part', 'r', jsonb_build_object('id', 14, 'day', '2026-01-15'::date - '1970-01-01', 'v', 'read first'), 0,
	snapshot => 'incremental', key => '{id,day}');
CALL edw_stream.drain('ap_tab');
SELECT pg_temp.e('part', 'u', jsonb_build_object('id', 14, 'day', '2026-01-15'::date - '1970-01-01', 'v', 'both months'), 61, '{id,day}'),
	pg_temp.e('part', 'c', jsonb_build_object('id', 15, 'day', '2026-02-15'::date - '1970-01-01', 'v', 'new'), 62, '{id,day}');
CALL edw_stream.drain('ap_tab');
SELECT what, string_agg(DISTINCT partition, ' ' ORDER BY partition) FROM touched GROUP BY 1 ORDER BY 1;
DROP TRIGGER t ON part;

-- triggers fire, generated columns are computed
CREATE TABLE trig (id int PRIMARY KEY, v text, twice text GENERATED ALWAYS AS (v || v) STORED);
CREATE TABLE trig_log (what text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF TG_WHEN = 'BEFORE' AND TG_OP <> 'DELETE' THEN NEW.v := upper(NEW.v); END IF;
	IF TG_WHEN = 'AFTER' THEN
		INSERT INTO ap_tab.trig_log VALUES (TG_OP || ' ' || coalesce(CASE WHEN TG_OP <> 'DELETE' THEN NEW.v END, OLD.v));
	END IF;
	RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END $$;
CREATE TRIGGER b BEFORE INSERT OR UPDATE ON trig FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER a AFTER INSERT OR UPDATE OR DELETE ON trig FOR EACH ROW EXECUTE FUNCTION note();
SELECT edw_stream.map_table('ap_tab', 'trig', 'trig');
SELECT pg_temp.e('trig', 'c', '{"id":1,"v":"a"}', 1), pg_temp.e('trig', 'c', '{"id":2,"v":"b"}', 2);
CALL edw_stream.drain('ap_tab');
SELECT pg_temp.e('trig', 'u', '{"id":1,"v":"c"}', 3), pg_temp.e('trig', 'd', '{"id":2}', 4), pg_temp.e('trig', 'u', '{"id":1,"v":"stale"}', 1);
CALL edw_stream.drain('ap_tab');
SELECT id, v, twice FROM trig;
TABLE trig_log ORDER BY what;

-- a key that is an identity, a table that had rows before it was mapped
CREATE TABLE ident (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text);
INSERT INTO ident (v) VALUES ('was here'), ('was here, too');
SELECT edw_stream.map_table('ap_tab', 'ident', 'ident');
SELECT pg_temp.e('ident', 'c', '{"id":10,"v":"ten"}', 1), pg_temp.e('ident', 'u', '{"id":1,"v":"updated"}', 2), pg_temp.e('ident', 'd', '{"id":2}', 3);
CALL edw_stream.drain('ap_tab');
SELECT id, v FROM ident ORDER BY id;

-- constraints: the event that violates one goes to the dead letters, the others do not (K6)
CREATE TABLE checked (id int PRIMARY KEY, v int NOT NULL CHECK (v < 100), code text UNIQUE, ref int REFERENCES ident);
SELECT edw_stream.map_table('ap_tab', 'checked', 'checked');
SELECT pg_temp.e('checked', 'c', '{"id":1,"v":1,"code":"a","ref":1}', 1), pg_temp.e('checked', 'c', '{"id":2,"v":100,"code":"b","ref":1}', 2),
	pg_temp.e('checked', 'c', '{"id":3,"v":null,"code":"c","ref":1}', 3), pg_temp.e('checked', 'c', '{"id":4,"v":4,"code":"d","ref":99}', 4),
	pg_temp.e('checked', 'c', '{"id":6,"v":6,"code":"f","ref":10}', 6);
CALL edw_stream.drain('ap_tab');
SELECT id, v, code, ref FROM checked ORDER BY id;
SELECT kafka_offset, sqlstate, message FROM edw_stream.dead_letters WHERE stream = 'ap_tab' AND topic = 'checked' ORDER BY 1;

-- row-level security binds the stream's owner as PostgreSQL has it
CREATE ROLE regress_ap_owner;
GRANT USAGE ON SCHEMA ap_tab TO regress_ap_owner;
GRANT EXECUTE ON ALL ROUTINES IN SCHEMA edw_stream TO regress_ap_owner;
CREATE TABLE owned (id int PRIMARY KEY, v text);
ALTER TABLE owned OWNER TO regress_ap_owner;
ALTER TABLE owned ENABLE ROW LEVEL SECURITY;
ALTER TABLE owned FORCE ROW LEVEL SECURITY;
CREATE POLICY p ON owned USING (v <> 'hidden') WITH CHECK (v <> 'forbidden');
SET ROLE regress_ap_owner;
SELECT edw_stream.create_stream('ap_own', NULL, '{owned}');
SELECT edw_stream.map_table('ap_own', 'owned', 'owned');
RESET ROLE;
SELECT pg_temp.send('ap_own', 'owned', 'c', '{"id":1,"v":"seen"}', 1), pg_temp.send('ap_own', 'owned', 'c', '{"id":2,"v":"forbidden"}', 2);
SET ROLE regress_ap_owner;
CALL edw_stream.drain('ap_own');
SELECT id, v FROM owned;
SELECT state, reason, message FROM edw_stream.streams WHERE name = 'ap_own';
-- the guard is nobody's to call
SELECT edw_stream.merge_guard(0, NULL);
SELECT edw_stream.explain_table('ap_tab', 'trig');
RESET ROLE;
SELECT pg_temp.counts('owned'), pg_temp.counts('checked'), pg_temp.counts('ident'), pg_temp.counts('trig'), pg_temp.counts('part');
SELECT edw_stream.drop_stream('ap_own');
DROP OWNED BY regress_ap_owner;
DROP ROLE regress_ap_owner;
