-- What the warehouse must hold, as the source sees it: rows and a checksum per table.
SELECT 'dim_customer' AS "table", count(*) AS rows, md5(string_agg(r::text, '|' ORDER BY r)) AS checksum FROM
	(SELECT id, name, split_part(email, '@', 2), upper(city), (since AT TIME ZONE 'UTC')::date FROM customers) r
UNION ALL
SELECT 'dim_product', count(*), md5(string_agg(r::text, '|' ORDER BY r)) FROM
	(SELECT id, name, category, price FROM products) r
UNION ALL
SELECT 'fact_order', count(*), md5(string_agg(r::text, '|' ORDER BY r)) FROM
	(SELECT id, customer_id, status, ordered_at, (ordered_at AT TIME ZONE 'UTC')::date FROM orders) r
UNION ALL
SELECT 'fact_order_line', count(*), md5(string_agg(r::text, '|' ORDER BY r)) FROM
	(SELECT order_id, line, product_id, quantity, price, (quantity * price)::numeric(14,2) FROM order_lines) r
ORDER BY 1;
