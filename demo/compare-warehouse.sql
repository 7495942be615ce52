-- What the warehouse holds: rows and a checksum per table.
SELECT 'dim_customer' AS "table", count(*) AS rows, md5(string_agg(r::text, '|' ORDER BY r)) AS checksum FROM
	(SELECT customer_key, name, email_domain, city, since FROM dim_customer) r
UNION ALL
SELECT 'dim_product', count(*), md5(string_agg(r::text, '|' ORDER BY r)) FROM
	(SELECT product_key, name, category, price FROM dim_product) r
UNION ALL
SELECT 'fact_order', count(*), md5(string_agg(r::text, '|' ORDER BY r)) FROM
	(SELECT order_key, customer_key, status, ordered_at, ordered_on FROM fact_order) r
UNION ALL
SELECT 'fact_order_line', count(*), md5(string_agg(r::text, '|' ORDER BY r)) FROM
	(SELECT order_key, line, product_key, quantity, price, revenue FROM fact_order_line) r
ORDER BY 1;
