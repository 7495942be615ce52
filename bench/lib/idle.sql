CREATE UNLOGGED TABLE first_row (label text, ms float8);

CREATE PROCEDURE make_stream(name text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TABLE %I (id bigint PRIMARY KEY, customer_id bigint, product_id bigint, status text,
		amount numeric(12,2), updated_at timestamptz)', name);
	PERFORM edw_stream.create_stream(name, 'k', ARRAY['bench.idle']);
	PERFORM edw_stream.map_table(name, name::regclass, options => '{"source_types": {"amount": "numeric(12,2)"}}');
END $$;

CREATE PROCEDURE make_idle(n int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. n LOOP
		CALL make_stream('idle' || i);
		PERFORM edw_stream.start('idle' || i);
		COMMIT;
	END LOOP;
END $$;

-- how long it takes from the commit of start() until a query finds a row
CREATE PROCEDURE first_rows(label text, n int) LANGUAGE plpgsql AS $$
DECLARE
	name text;
	started timestamptz;
	there boolean;
BEGIN
	FOR i IN 1 .. n LOOP
		name := label || i;
		CALL make_stream(name);
		COMMIT;
		PERFORM edw_stream.start(name);
		COMMIT;
		started := clock_timestamp();
		LOOP
			EXECUTE format('SELECT EXISTS (SELECT FROM %I)', name) INTO there;
			EXIT WHEN there;
			COMMIT;
			IF clock_timestamp() > started + interval '60 s' THEN
				RAISE EXCEPTION 'no row within a minute';
			END IF;
			PERFORM pg_sleep(0.001);
			COMMIT;
		END LOOP;
		INSERT INTO first_row VALUES (label, extract(epoch FROM clock_timestamp() - started) * 1000);
		PERFORM edw_stream.drop_stream(name);
		EXECUTE format('DROP TABLE %I', name);
		COMMIT;
	END LOOP;
END $$;
