-- What the warehouse holds: rows and a checksum per table, as compare-source.sql has them.
SELECT 'dim_customer, now' AS "table", count(*) AS rows, md5(string_agg(r::text, '|' ORDER BY r)) AS checksum FROM
	(SELECT customer_id, name, email_domain, city, since FROM dim_customer WHERE is_current) r
UNION ALL
SELECT 'dim_product', count(*), md5(string_agg(r::text, '|' ORDER BY r)) FROM
	(SELECT product_id, name, category, price FROM dim_product) r
UNION ALL
SELECT 'fact_order', count(*), md5(string_agg(r::text, '|' ORDER BY r)) FROM
	(SELECT order_id, customer_id, status, ordered_at, day FROM fact_order JOIN dim_customer USING (customer_key)
		JOIN dim_date USING (date_key)) r
UNION ALL
SELECT 'fact_order_line', count(*), md5(string_agg(r::text, '|' ORDER BY r)) FROM
	(SELECT order_id, line, customer_id, ordered_at, p.name, day, quantity, l.price, revenue FROM fact_order_line l
		JOIN dim_customer USING (customer_key) JOIN dim_product p USING (product_key) JOIN dim_date USING (date_key)) r
UNION ALL
SELECT 'the city of each sale', count(*), md5(string_agg(r::text, '|' ORDER BY r)) FROM
	(SELECT order_id, line, city FROM fact_order_line JOIN dim_customer USING (customer_key)
	WHERE ordered_at >= :'since' AND customer_id < 1000000) r
ORDER BY 1;
