-- the history as the source had it: each change a statement, each of its transactions one
CREATE PROCEDURE play() LANGUAGE plpgsql AS $$
DECLARE
	c record;
	transaction bytea;
BEGIN
	FOR c IN SELECT *, substring(seq FROM 1 FOR 8) AS commit_lsn FROM change ORDER BY n LOOP
		IF c.commit_lsn <> transaction THEN
			COMMIT;
		END IF;
		transaction := c.commit_lsn;
		IF c.op = 'c' THEN
			INSERT INTO orders VALUES (c.id, c.customer_id, c.product_id, c.status, c.amount, c.updated_at);
		ELSIF c.op = 'u' THEN
			UPDATE orders SET customer_id = c.customer_id, product_id = c.product_id, status = c.status,
				amount = c.amount, updated_at = c.updated_at WHERE id = c.id;
		ELSE
			DELETE FROM orders WHERE id = c.id;
		END IF;
	END LOOP;
END $$;
