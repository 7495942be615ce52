-- The registered views, and their own queries: rows that only one of the two has.
SELECT 'sales_by_day' AS view, (SELECT count(*) FROM sales_by_day) AS rows, count(*) AS different FROM (
	WITH query AS (
		SELECT d.day, p.category, count(*), sum(l.quantity), sum(l.revenue)
		FROM fact_order_line l JOIN dim_date d USING (date_key) JOIN dim_product p USING (product_key) GROUP BY 1, 2)
	(TABLE sales_by_day EXCEPT ALL TABLE query) UNION ALL (TABLE query EXCEPT ALL TABLE sales_by_day)) d
UNION ALL
SELECT 'customer_value', (SELECT count(*) FROM customer_value), count(*) FROM (
	WITH query AS (
		SELECT c.customer_id, c.name, max(c.city) FILTER (WHERE c.is_current), count(DISTINCT o.order_id),
			coalesce(sum(l.revenue), 0), max(o.ordered_at)
		FROM dim_customer c LEFT JOIN fact_order o USING (customer_key) LEFT JOIN fact_order_line l USING (order_id)
		GROUP BY 1, 2)
	(TABLE customer_value EXCEPT ALL TABLE query) UNION ALL (TABLE query EXCEPT ALL TABLE customer_value)) d;
