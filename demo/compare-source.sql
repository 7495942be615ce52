-- What the warehouse must hold, as the source sees it: rows and a checksum per table. Facts with their dimensions' natural
-- keys. psql variable: since, the time from which the stream has seen how customers moved.
SELECT 'dim_customer, now' AS "table", count(*) AS rows, md5(string_agg(r::text, '|' ORDER BY r)) AS checksum FROM
	(SELECT id, name, split_part(email, '@', 2), upper(city), (since AT TIME ZONE 'UTC')::date FROM customers) r
UNION ALL
SELECT 'dim_product', count(*), md5(string_agg(r::text, '|' ORDER BY r)) FROM
	(SELECT id, name, category, price FROM products) r
UNION ALL
SELECT 'fact_order', count(*), md5(string_agg(r::text, '|' ORDER BY r)) FROM
	(SELECT id, customer_id, status, ordered_at, (ordered_at AT TIME ZONE 'UTC')::date FROM orders) r
UNION ALL
SELECT 'fact_order_line', count(*), md5(string_agg(r::text, '|' ORDER BY r)) FROM
	(SELECT order_id, line, customer_id, ordered_at, p.name, (ordered_at AT TIME ZONE 'UTC')::date, quantity, l.price,
		(quantity * l.price)::numeric(14,2) FROM order_lines l JOIN products p ON p.id = l.product_id) r
UNION ALL
-- customers that got another number count as new ones: nobody has followed them under it when they ordered
SELECT 'the city of each sale', count(*), md5(string_agg(r::text, '|' ORDER BY r)) FROM
	(SELECT order_id, line, upper(ship_city) FROM order_lines l JOIN orders o ON o.id = l.order_id
	WHERE o.ordered_at >= :'since' AND l.customer_id < 1000000) r
ORDER BY 1;
