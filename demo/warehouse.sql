-- The warehouse: a star, and where it comes from. psql variables: server (the stream's
-- server as SQL, NULL for the embedded inbox).

CREATE TABLE dim_customer (
	customer_key bigint PRIMARY KEY,
	name text,
	email_domain text,
	city text,
	since date
);

CREATE TABLE dim_product (
	product_key bigint PRIMARY KEY,
	name text,
	category text,
	price numeric(10,2)
);

CREATE TABLE fact_order (
	order_key bigint PRIMARY KEY,
	customer_key bigint,
	status text,
	ordered_at timestamptz,
	ordered_on date
);

CREATE TABLE fact_order_line (
	order_key bigint,
	line int,
	product_key bigint,
	quantity int,
	price numeric(10,2),
	revenue numeric(14,2),
	PRIMARY KEY (order_key, line)
);

-- A source transaction is never seen by halves: its metadata is a topic of its own.
SELECT edw_stream.create_stream('shop', :server,
	ARRAY['shop.public.customers', 'shop.public.products', 'shop.public.orders', 'shop.public.order_lines'],
	options => '{"transaction_topic": "shop.transaction"}');

-- The events come without a schema, so the scale of a decimal has to be said.
SELECT edw_stream.map_table('shop', 'dim_customer', 'shop.public.customers', keys => ARRAY['customer_key'],
	columns => $${"customer_key": "id", "name": "name", "city": "upper(city)",
		"email_domain": "split_part(email, '@', 2)", "since": "(since AT TIME ZONE 'UTC')::date"}$$,
	options => '{"source_types": {"id": "bigint", "name": "text", "email": "text", "city": "text", "since": "timestamptz"}}');

SELECT edw_stream.map_table('shop', 'dim_product', 'shop.public.products', keys => ARRAY['product_key'],
	columns => '{"product_key": "id", "name": "name", "category": "category", "price": "price"}',
	options => '{"source_types": {"id": "bigint", "price": "numeric(10,2)"}}');

SELECT edw_stream.map_table('shop', 'fact_order', 'shop.public.orders', keys => ARRAY['order_key'],
	columns => $${"order_key": "id", "customer_key": "customer_id", "status": "status", "ordered_at": "ordered_at",
		"ordered_on": "(ordered_at AT TIME ZONE 'UTC')::date"}$$,
	options => '{"source_types": {"id": "bigint", "customer_id": "bigint", "status": "text", "ordered_at": "timestamptz"}}');

SELECT edw_stream.map_table('shop', 'fact_order_line', 'shop.public.order_lines', keys => ARRAY['order_key', 'line'],
	columns => '{"order_key": "order_id", "line": "line", "product_key": "product_id", "quantity": "quantity",
		"price": "price", "revenue": "quantity * price"}',
	options => '{"source_types": {"order_id": "bigint", "product_id": "bigint", "quantity": "int", "price": "numeric(10,2)"}}');

-- Two ordinary materialized views, fresh at every commit of the stream.
CREATE MATERIALIZED VIEW sales_by_day AS
	SELECT o.ordered_on, p.category, count(*) AS lines, sum(l.quantity) AS items, sum(l.revenue) AS revenue
	FROM fact_order_line l JOIN fact_order o USING (order_key) JOIN dim_product p USING (product_key)
	GROUP BY o.ordered_on, p.category;

CREATE MATERIALIZED VIEW customer_value AS
	SELECT c.customer_key, c.name, c.city, count(DISTINCT o.order_key) AS orders, coalesce(sum(l.revenue), 0) AS value,
		max(o.ordered_on) AS last_order
	FROM dim_customer c LEFT JOIN fact_order o USING (customer_key) LEFT JOIN fact_order_line l USING (order_key)
	GROUP BY c.customer_key;

SELECT edw_stream.register_view('sales_by_day', partition_by => '{ordered_on}');
SELECT edw_stream.register_view('customer_value', partition_by => '{customer_key}');
