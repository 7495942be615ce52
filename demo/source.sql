-- The shop: what the source database holds before anything is streamed.

CREATE TABLE customers (
	id bigint PRIMARY KEY,
	name text NOT NULL,
	email text,
	city text NOT NULL,
	since timestamptz NOT NULL
);

CREATE TABLE products (
	id bigint PRIMARY KEY,
	name text NOT NULL,
	category text NOT NULL,
	price numeric(10,2) NOT NULL
);

CREATE TABLE orders (
	id bigint PRIMARY KEY,
	customer_id bigint NOT NULL REFERENCES customers ON UPDATE CASCADE,
	status text NOT NULL,
	ordered_at timestamptz NOT NULL,
	ship_city text NOT NULL,			-- the customer's when he ordered: what the warehouse must find out by itself
	note text
);

-- each line tells of its order who ordered and when
CREATE TABLE order_lines (
	order_id bigint REFERENCES orders ON UPDATE CASCADE,
	line int,
	customer_id bigint NOT NULL REFERENCES customers ON UPDATE CASCADE,
	ordered_at timestamptz NOT NULL,
	product_id bigint NOT NULL REFERENCES products ON UPDATE CASCADE,
	quantity int NOT NULL,
	price numeric(10,2) NOT NULL,
	PRIMARY KEY (order_id, line)
);

CREATE SEQUENCE order_ids;
CREATE SEQUENCE customer_ids;

SELECT setseed(0.42);

INSERT INTO products
SELECT i, 'Product ' || i, (ARRAY['books', 'music', 'garden', 'kitchen'])[1 + i % 4], (random() * 200 + 1)::numeric(10,2)
FROM generate_series(1, 50) i;

INSERT INTO customers
SELECT nextval('customer_ids'), 'Customer ' || i, 'c' || i || '@example.org',
	(ARRAY['Oslo', 'Lima', 'Kyoto', 'Quito', 'Accra', 'Turin'])[1 + i % 6], now() - i * interval '1 hour'
FROM generate_series(1, 200) i;

-- one order of one to four lines
CREATE PROCEDURE place_order() LANGUAGE plpgsql AS $$
DECLARE
	new_id bigint := nextval('order_ids');
BEGIN
	INSERT INTO orders
	SELECT new_id, id, 'new', clock_timestamp(), city, CASE WHEN random() < 0.2 THEN 'Ring twice — «merci»' END
	FROM customers ORDER BY random() LIMIT 1;
	INSERT INTO order_lines
	SELECT new_id, row_number() OVER (), o.customer_id, o.ordered_at, p.id, 1 + (random() * 4)::int, p.price
	FROM (SELECT id, price FROM products ORDER BY random() LIMIT 1 + (random() * 3)::int) p, orders o WHERE o.id = new_id;
END $$;

-- one transaction of everyday business
CREATE PROCEDURE do_business() LANGUAGE plpgsql AS $$
DECLARE
	dice float8 := random();
	an_order bigint;
BEGIN
	SELECT id INTO an_order FROM orders OFFSET (random() * greatest((SELECT count(*) FROM orders) - 1, 0))::int LIMIT 1;
	IF dice < 0.45 OR an_order IS NULL THEN
		CALL place_order();
	ELSIF dice < 0.70 THEN
		UPDATE orders SET status = (ARRAY['paid', 'packed', 'shipped', 'delivered'])[1 + (random() * 3)::int]
		WHERE id = an_order;
	ELSIF dice < 0.78 THEN
		UPDATE order_lines SET quantity = quantity + 1 WHERE order_id = an_order;
	ELSIF dice < 0.86 THEN
		DELETE FROM order_lines WHERE order_id = an_order;
		DELETE FROM orders WHERE id = an_order;
	ELSIF dice < 0.91 THEN
		UPDATE products SET price = (price * 1.03)::numeric(10,2) WHERE id = 1 + (random() * 49)::int;
	ELSIF dice < 0.96 THEN
		UPDATE customers SET city = (ARRAY['Oslo', 'Lima', 'Kyoto', 'Quito', 'Accra', 'Turin'])[1 + (random() * 5)::int]
		WHERE id = 1 + (random() * 199)::int;
	ELSE
		INSERT INTO customers
		SELECT n, 'Customer ' || n, NULL, 'Oslo', clock_timestamp() FROM nextval('customer_ids') n;
	END IF;
END $$;

-- that many transactions; every fiftieth is rolled back and must leave no trace
CREATE PROCEDURE open_shop(transactions int, pause float8 DEFAULT 0) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. transactions LOOP
		CALL do_business();
		IF i % 50 = 0 THEN
			ROLLBACK;
		ELSE
			COMMIT;
		END IF;
		IF pause > 0 THEN
			PERFORM pg_sleep(pause);
		END IF;
	END LOOP;
END $$;

-- keys change too: a customer and all of an order get new numbers
CREATE PROCEDURE change_keys() LANGUAGE plpgsql AS $$
BEGIN
	UPDATE customers SET id = id + 1000000 WHERE id IN (SELECT customer_id FROM orders ORDER BY id LIMIT 3);
	UPDATE orders SET id = id + 1000000 WHERE id IN (SELECT id FROM orders ORDER BY id LIMIT 3);
	UPDATE order_lines SET line = line + 1 WHERE line >= 2 AND order_id >= 1000000 AND NOT EXISTS
		(SELECT FROM order_lines o WHERE o.order_id = order_lines.order_id AND o.line = order_lines.line + 1);
END $$;
