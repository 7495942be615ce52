-- What the modes wait with: in the server and with a snapshot of its own for each look,
-- so that waiting costs next to nothing and holds nothing up.

-- until the query gives true; when that was, Unix time
CREATE PROCEDURE wait_until(query text, seconds int, INOUT at float8) LANGUAGE plpgsql AS $$
DECLARE
	ends timestamptz := clock_timestamp() + seconds * interval '1 s';
	done boolean;
	stalled text;
BEGIN
	LOOP
		EXECUTE query INTO done;
		IF done THEN
			at := extract(epoch FROM clock_timestamp());
			RETURN;
		END IF;
		COMMIT;
		SELECT format('stream %s has stalled: %s', name, message) INTO stalled
		FROM edw_stream.stream s WHERE s.stalled;
		IF stalled IS NOT NULL THEN
			RAISE EXCEPTION '%', stalled;
		END IF;
		IF clock_timestamp() > ends THEN
			RAISE EXCEPTION 'not within % s: %', seconds, query;
		END IF;
		COMMIT;
		PERFORM pg_sleep(0.01);
		COMMIT;
	END LOOP;
END $$;
