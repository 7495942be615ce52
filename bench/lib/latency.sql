-- the reader: for so many seconds, how old the new rows are when a query returns them
CREATE UNLOGGED TABLE seen (us bigint);

CREATE PROCEDURE sample_latency(seconds int) LANGUAGE plpgsql AS $$
DECLARE
	ends timestamptz := clock_timestamp() + seconds * interval '1 s';
	last bigint := (SELECT min(id) FROM orders);
	first_unseen bigint;
	sent bigint[];
	now_us bigint;
BEGIN
	TRUNCATE seen;
	SET synchronous_commit = off;
	-- whatever the statistics say: by the primary key
	SET enable_seqscan = off;
	SET enable_bitmapscan = off;
	WHILE clock_timestamp() < ends LOOP
		SELECT array_agg(sent_us), min(id) INTO sent, first_unseen FROM orders WHERE id < last;
		now_us := extract(epoch FROM clock_timestamp()) * 1000000;
		IF first_unseen IS NOT NULL THEN
			last := first_unseen;
			INSERT INTO seen SELECT now_us - s FROM unnest(sent) s;
		END IF;
		COMMIT;
		PERFORM pg_sleep(0.001);
		COMMIT;
	END LOOP;
END $$;
