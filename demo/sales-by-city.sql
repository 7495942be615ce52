-- A sale belongs to the city in which the customer lived when he ordered: the version that the fact refers to. Where he lives
-- now is in the current version of the same customer.
SELECT o.order_id, o.ordered_at, sold.name, sold.city AS "city at the sale", current.city AS "city now", sum(l.revenue) AS revenue
FROM fact_order o
	JOIN fact_order_line l USING (order_id)
	JOIN dim_customer sold ON sold.customer_key = o.customer_key
	JOIN dim_customer current ON current.customer_id = sold.customer_id AND current.is_current
WHERE sold.city <> current.city
GROUP BY o.order_id, sold.name, sold.city, current.city
ORDER BY o.ordered_at DESC LIMIT 5;

SELECT city, sum(revenue) FILTER (WHERE at_sale) AS "sold there", sum(revenue) FILTER (WHERE NOT at_sale) AS "by where customers live now"
FROM (
	SELECT c.city, l.revenue, true AS at_sale FROM fact_order_line l JOIN dim_customer c USING (customer_key)
	UNION ALL
	SELECT n.city, l.revenue, false FROM fact_order_line l JOIN dim_customer c USING (customer_key)
		JOIN dim_customer n ON n.customer_id = c.customer_id AND n.is_current) s
GROUP BY city ORDER BY city;
