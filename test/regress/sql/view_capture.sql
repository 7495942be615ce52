-- Whatever statement changes a table that a registered view reads, the view follows at commit.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/include/views.sql'
\set ECHO none
\i :include
\set ECHO all
CREATE SCHEMA vc;
SET search_path = vc;
CREATE FUNCTION pg_temp.check() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(format('%s %s', view, CASE pg_temp.wrong(view) WHEN 0 THEN 'fresh' ELSE 'WRONG' END),
		', ' ORDER BY view::text) FROM edw_stream.view $$;

CREATE TABLE sale (id int PRIMARY KEY, day date, item int, qty int, note text);
CREATE TABLE item (id int PRIMARY KEY, class text, remark text);
INSERT INTO item SELECT i, 'class ' || i % 3 FROM generate_series(1, 9) i;
INSERT INTO sale SELECT i, date '2024-01-01' + i % 10, i % 9 + 1, i FROM generate_series(1, 200) i;
CREATE MATERIALIZED VIEW by_day AS
	SELECT day, class, sum(qty) AS qty FROM sale s JOIN item i ON i.id = s.item GROUP BY day, class;
CREATE MATERIALIZED VIEW plain AS SELECT s.id, day, qty, class FROM sale s LEFT JOIN item i ON i.id = s.item;
CREATE INDEX ON by_day (day, class);
CREATE INDEX ON plain (day);
SELECT edw_stream.register_view('by_day', '{day}');
SELECT edw_stream.register_view('plain', '{day}');
SELECT pg_temp.check();

-- each kind of statement
INSERT INTO sale VALUES (1001, '2024-01-05', 1, 5), (1002, NULL, 2, 6);
SELECT pg_temp.check();
UPDATE sale SET day = day + 1 WHERE id < 5;
SELECT pg_temp.check();
DELETE FROM sale WHERE id % 7 = 0;
SELECT pg_temp.check();
COPY sale (id, day, item, qty) FROM stdin;
2001	2024-02-01	4	1
2002	2024-02-02	5	1
\.
SELECT pg_temp.check();
INSERT INTO sale VALUES (1001, '2024-01-06', 1, 7), (1003, '2024-03-03', 3, 3)
	ON CONFLICT (id) DO UPDATE SET day = excluded.day, qty = sale.qty + excluded.qty;
SELECT pg_temp.check();
MERGE INTO sale s USING (VALUES (1, 10), (2, -1), (3001, 3)) v (id, qty) ON v.id = s.id
	WHEN MATCHED AND v.qty < 0 THEN DELETE
	WHEN MATCHED THEN UPDATE SET qty = v.qty
	WHEN NOT MATCHED THEN INSERT VALUES (v.id, '2024-04-04', 4, v.qty);
SELECT pg_temp.check();
WITH gone AS (DELETE FROM sale WHERE id = 3 RETURNING *), moved AS (UPDATE sale SET qty = 0 WHERE id = 4 RETURNING id)
	INSERT INTO sale SELECT id + 5000, day, item, qty FROM gone WHERE EXISTS (SELECT FROM moved);
SELECT pg_temp.check();
UPDATE item SET class = 'other' WHERE id = 4;
SELECT pg_temp.check();
TRUNCATE sale;
SELECT pg_temp.check(), count(*) FROM by_day;

-- nothing that a view reads differs: nothing is done
INSERT INTO sale SELECT i, date '2024-01-01' + i % 10, i % 9 + 1, i FROM generate_series(1, 200) i;
SELECT sum(refreshes) AS refreshes FROM edw_stream.view_stat \gset
UPDATE sale SET note = 'n';
UPDATE sale SET qty = qty;
UPDATE item SET remark = 'r';
DELETE FROM sale WHERE false;
INSERT INTO sale SELECT FROM sale WHERE false;
SELECT sum(refreshes) - :refreshes AS refreshes FROM edw_stream.view_stat;

-- a transaction counts as a whole: once per commit, whatever it did in between
BEGIN;
INSERT INTO sale VALUES (4001, '2024-05-05', 1, 5);
UPDATE sale SET qty = 6 WHERE id = 4001;
UPDATE item SET class = 'renamed' WHERE id = 1;
DELETE FROM sale WHERE id = 4001;
COMMIT;
SELECT pg_temp.check(), sum(refreshes) - :refreshes AS refreshes FROM edw_stream.view_stat;

-- what a subtransaction did counts if it stays
BEGIN;
INSERT INTO sale VALUES (5001, '2024-06-01', 1, 1);
SAVEPOINT a;
INSERT INTO sale VALUES (5002, '2024-06-02', 1, 1);
SAVEPOINT b;
TRUNCATE sale;
ROLLBACK TO b;
INSERT INTO sale VALUES (5003, '2024-06-03', 1, 1);
RELEASE a;
SAVEPOINT c;
INSERT INTO sale VALUES (5004, '2024-06-04', 1, 1);
ROLLBACK TO c;
COMMIT;
SELECT pg_temp.check(), sum(refreshes) - :refreshes AS refreshes FROM edw_stream.view_stat;
SELECT day FROM by_day WHERE day > '2024-06-01' ORDER BY 1;
BEGIN;
SAVEPOINT a;
DELETE FROM sale;
ROLLBACK TO a;
COMMIT;
SELECT pg_temp.check(), sum(refreshes) - :refreshes AS refreshes FROM edw_stream.view_stat;
DO $$
BEGIN
	FOR i IN 1..200 LOOP
		BEGIN
			INSERT INTO sale VALUES (6000 + i, date '2024-07-01' + i % 3, i % 9 + 1, i);
			IF i % 3 = 0 THEN RAISE division_by_zero; END IF;
		EXCEPTION WHEN division_by_zero THEN NULL;
		END;
	END LOOP;
END $$;
SELECT pg_temp.check();

-- more than work_mem holds, in several subtransactions
SET work_mem = 64;
BEGIN;
INSERT INTO sale SELECT 10000 + i, date '2024-08-01' + i % 5, i % 9 + 1, i FROM generate_series(1, 5000) i;
SAVEPOINT a;
UPDATE sale SET qty = qty + 1 WHERE id > 10000;
SAVEPOINT b;
DELETE FROM sale WHERE id > 14000;
COMMIT;
SELECT pg_temp.check();
RESET work_mem;

-- commits within a procedure, deferred triggers, cascades, PREPARE, and a transaction that calls itself read-only late
CREATE PROCEDURE fill() LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..3 LOOP
		INSERT INTO sale VALUES (20000 + i, '2024-09-01', 1, i);
		IF i = 2 THEN ROLLBACK; ELSE COMMIT; END IF;
	END LOOP;
END $$;
CALL fill();
SELECT pg_temp.check(), (SELECT sum(qty) FROM by_day WHERE day = '2024-09-01');
CREATE FUNCTION add_sale() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO sale VALUES (NEW.id + 30000, '2024-10-01', 1, 1);
	RETURN NULL;
END $$;
CREATE TABLE late (id int);
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION add_sale();
INSERT INTO late VALUES (1);
SELECT pg_temp.check(), (SELECT sum(qty) FROM by_day WHERE day = '2024-10-01');
ALTER TABLE sale ADD FOREIGN KEY (item) REFERENCES item ON DELETE CASCADE;
DELETE FROM item WHERE id = 9;
SELECT pg_temp.check();
BEGIN;
UPDATE sale SET qty = qty + 1 WHERE id = 1;
SET TRANSACTION READ ONLY;
COMMIT;
SELECT pg_temp.check();
BEGIN ISOLATION LEVEL SERIALIZABLE;
UPDATE sale SET qty = qty + 1 WHERE id = 1;
COMMIT;
SELECT pg_temp.check();
SET session_replication_role = replica;
UPDATE sale SET qty = qty + 1 WHERE id = 1;
RESET session_replication_role;
SELECT pg_temp.check();

-- the table gets columns, or is rewritten, after rows of it were captured
BEGIN;
UPDATE sale SET qty = qty + 1 WHERE id = 1;
ALTER TABLE sale ADD COLUMN extra int DEFAULT 3, DROP COLUMN note;
UPDATE sale SET qty = qty + 1, extra = 4 WHERE id = 3;
COMMIT;
SELECT pg_temp.check();
ALTER TABLE item ALTER COLUMN class SET STORAGE EXTERNAL;
UPDATE item SET class = repeat('long', 3000) WHERE id = 2;
BEGIN;
UPDATE item SET class = 'short' WHERE id = 2;
CLUSTER item USING item_pkey;
COMMIT;
SELECT pg_temp.check();

-- an error in the view's query is the COMMIT's, which names it
CREATE MATERIALIZED VIEW ratio AS SELECT day, sum(100 / nullif(qty, 0)) AS ratio, 100 / min(qty) AS r FROM sale WHERE qty <> 0 OR id = 77 GROUP BY day;
CREATE INDEX ON ratio (day);
SELECT edw_stream.register_view('ratio', '{day}');
\set VERBOSITY default
UPDATE sale SET qty = 0 WHERE id = 77;
INSERT INTO sale VALUES (77, '2027-01-01', 1, 0) ON CONFLICT (id) DO UPDATE SET qty = 0, day = '2027-01-01';
\set VERBOSITY terse
SELECT pg_temp.check();
SELECT edw_stream.unregister_view('ratio');
INSERT INTO sale VALUES (77, '2027-01-01', 1, 0) ON CONFLICT (id) DO UPDATE SET qty = 0, day = '2027-01-01';
SELECT pg_temp.check();

-- whoever writes needs no right on the view or its function
CREATE ROLE vc_writer;
GRANT USAGE ON SCHEMA vc TO vc_writer;
GRANT INSERT ON sale TO vc_writer;
SET ROLE vc_writer;
INSERT INTO vc.sale VALUES (40001, '2024-11-01', 1, 1);
RESET ROLE;
SELECT pg_temp.check(), (SELECT sum(qty) FROM by_day WHERE day = '2024-11-01');
-- … and nobody uses the function for a trigger of his own
CREATE TRIGGER mine AFTER INSERT ON late REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION edw_stream.view_changed();
INSERT INTO late VALUES (9);
SELECT edw_stream.view_changed();

-- … nor puts one in the place of ours that does not call it always
CREATE TABLE planted (id int PRIMARY KEY, n int);
CREATE TRIGGER edw_stream_view_update AFTER UPDATE ON planted FOR EACH STATEMENT WHEN (false) EXECUTE FUNCTION edw_stream.view_changed();
CREATE MATERIALIZED VIEW of_planted AS SELECT id, n FROM planted;
CREATE INDEX ON of_planted (id);
SELECT edw_stream.register_view('of_planted', '{id}');
DROP TRIGGER edw_stream_view_update ON planted;
CREATE TRIGGER edw_stream_view_insert AFTER INSERT ON planted FOR EACH ROW EXECUTE FUNCTION edw_stream.view_changed();
SELECT edw_stream.register_view('of_planted', '{id}');
-- … while one like ours is taken for ours, and goes with the extension, too
DROP TRIGGER edw_stream_view_insert ON planted;
CREATE TRIGGER edw_stream_view_insert AFTER INSERT ON planted REFERENCING NEW TABLE AS n FOR EACH STATEMENT EXECUTE FUNCTION edw_stream.view_changed();
SELECT edw_stream.register_view('of_planted', '{id}');
SELECT tgname, deptype FROM pg_trigger t JOIN pg_depend d ON d.classid = 'pg_trigger'::regclass AND d.objid = t.oid AND d.refclassid = 'pg_extension'::regclass
	WHERE tgrelid = 'planted'::regclass ORDER BY 1;
SELECT edw_stream.unregister_view('of_planted');

-- a function that is called immutable and is not cannot change what views read, nor views, while they are brought up to date
CREATE FUNCTION tells(n int) RETURNS int LANGUAGE plpgsql AS $$BEGIN RETURN n; END$$;
CREATE FUNCTION lies(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$BEGIN RETURN (SELECT vc.tells(n)); END$$;
CREATE MATERIALIZED VIEW lying AS SELECT id, lies(n) AS n FROM (SELECT id, qty AS n FROM sale WHERE id = 1) s;
CREATE INDEX ON lying (id);
SELECT edw_stream.register_view('lying', '{id}');
CREATE OR REPLACE FUNCTION tells(n int) RETURNS int LANGUAGE plpgsql AS $$BEGIN UPDATE vc.sale SET qty = 5 WHERE id = 3; RETURN n; END$$;
UPDATE sale SET qty = qty + 1 WHERE id = 1;
CREATE OR REPLACE FUNCTION tells(n int) RETURNS int LANGUAGE plpgsql AS $$BEGIN ALTER TABLE vc.planted ADD m int; RETURN n; END$$;
UPDATE sale SET qty = qty + 1 WHERE id = 1;
CREATE OR REPLACE FUNCTION tells(n int) RETURNS int LANGUAGE plpgsql AS $$BEGIN PERFORM edw_stream.refresh_view('vc.lying'); RETURN n; END$$;
UPDATE sale SET qty = qty + 1 WHERE id = 1;
CREATE OR REPLACE FUNCTION tells(n int) RETURNS int LANGUAGE plpgsql AS $$BEGIN PERFORM edw_stream.unregister_view('vc.lying'); RETURN n; END$$;
UPDATE sale SET qty = qty + 1 WHERE id = 1;
-- it runs with the rights of the view's owner, whoever commits, and cannot leave them
CREATE ROLE vc_owner;
GRANT USAGE ON SCHEMA vc TO vc_owner;
GRANT SELECT ON sale TO vc_owner;
ALTER MATERIALIZED VIEW lying OWNER TO vc_owner;
CREATE OR REPLACE FUNCTION tells(n int) RETURNS int LANGUAGE plpgsql AS $$BEGIN RAISE WARNING 'as %, %', current_user, current_setting('search_path'); SET ROLE NONE; RETURN n; END$$;
UPDATE sale SET qty = qty + 1 WHERE id = 1;
DROP MATERIALIZED VIEW lying;
DROP TABLE planted CASCADE;
UPDATE sale SET qty = qty + 1 WHERE id = 1;
SELECT pg_temp.check();

-- … who needs no right on the view itself, by partition or by delta, but all on what it reads
SELECT view, edw_stream.view_method(view) FROM edw_stream.view ORDER BY view::text;
GRANT SELECT ON item TO vc_owner;
ALTER MATERIALIZED VIEW plain OWNER TO vc_owner;
ALTER MATERIALIZED VIEW by_day OWNER TO vc_owner;
REVOKE ALL ON plain, by_day FROM vc_owner;
UPDATE sale SET qty = qty + 1 WHERE id = 1;
SELECT pg_temp.check();
ALTER MATERIALIZED VIEW plain OWNER TO CURRENT_USER;
REVOKE SELECT ON item FROM vc_owner;
UPDATE sale SET qty = qty + 1 WHERE id = 1;
SELECT edw_stream.unregister_view('by_day'), edw_stream.unregister_view('plain');
SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'edw_stream%';
DROP SCHEMA vc CASCADE;
DROP ROLE vc_writer, vc_owner;
