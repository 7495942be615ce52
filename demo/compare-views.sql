-- The registered views, and their own queries: rows that only one of the two has.
SELECT 'sales_by_day' AS view, (SELECT count(*) FROM sales_by_day) AS rows, count(*) AS different FROM (
	(TABLE sales_by_day EXCEPT ALL
	SELECT o.ordered_on, p.category, count(*), sum(l.quantity), sum(l.revenue)
	FROM fact_order_line l JOIN fact_order o USING (order_key) JOIN dim_product p USING (product_key) GROUP BY 1, 2)
	UNION ALL
	(SELECT o.ordered_on, p.category, count(*), sum(l.quantity), sum(l.revenue)
	FROM fact_order_line l JOIN fact_order o USING (order_key) JOIN dim_product p USING (product_key) GROUP BY 1, 2
	EXCEPT ALL TABLE sales_by_day)) d
UNION ALL
SELECT 'customer_value', (SELECT count(*) FROM customer_value), count(*) FROM (
	(TABLE customer_value EXCEPT ALL
	SELECT c.customer_key, c.name, c.city, count(DISTINCT o.order_key), coalesce(sum(l.revenue), 0), max(o.ordered_on)
	FROM dim_customer c LEFT JOIN fact_order o USING (customer_key) LEFT JOIN fact_order_line l USING (order_key) GROUP BY 1)
	UNION ALL
	(SELECT c.customer_key, c.name, c.city, count(DISTINCT o.order_key), coalesce(sum(l.revenue), 0), max(o.ordered_on)
	FROM dim_customer c LEFT JOIN fact_order o USING (customer_key) LEFT JOIN fact_order_line l USING (order_key) GROUP BY 1
	EXCEPT ALL TABLE customer_value)) d;
