"""Views over the star, one function per shape.

Each returns (query, partition_by). Results are the same however they are computed: every order
is total, every ordered aggregate is ordered by what it collects, and floating point sums are exact.
"""
from .star import DAYS, FIRST_DAY, quote

# what delta can do
DELTA = ('count(*)', 'count({t}note)', 'sum({t}qty)', 'sum({t}amt)', 'avg({t}amt)', 'avg({t}qty)',
         'min({t}amt)', 'max({t}amt)', 'min({t}day)', 'max({t}note)', 'min({t}qty)', 'max({t}qty)',
         'count(*) FILTER (WHERE {t}qty > 3)', 'sum({t}amt) FILTER (WHERE {t}note = \'x\')',
         'max({t}qty) FILTER (WHERE {t}amt > 1)', 'avg({t}qty) FILTER (WHERE {t}note IS NULL)',
         'sum({t}qty * {t}amt)', 'sum(CASE WHEN {t}qty > 4 THEN {t}amt ELSE 0 END)',
         'sum({t}qty::smallint)', 'sum(coalesce({t}qty, 0)) - count(*)', 'round(avg({t}amt), 2)')
DELTA_SALE = ('sum({t}big)', 'avg({t}big)', 'sum({t}raw)', 'avg({t}raw)', 'count({t}raw)',
              'count(*) FILTER (WHERE {t}flag)', 'min({t}at)', 'max({t}price)')
# what it cannot
OTHER = ('count(DISTINCT {t}customer)', 'sum(DISTINCT {t}qty)', 'var_pop({t}qty)',
         'array_agg({t}qty ORDER BY {t}qty)', "string_agg({t}note, ',' ORDER BY {t}note)",
         'bool_and({t}qty > 0)', 'percentile_disc(0.5) WITHIN GROUP (ORDER BY {t}amt)')
OTHER_SALE = ('sum({t}price)', 'avg({t}price)', 'bool_or({t}flag)', 'count(DISTINCT {t}big)')

SHAPES = {}


def shape(must=True, needs=lambda star: True, key=True):
    """must: it has to be taken, not refused. key: partition_by is right; else only as a whole."""
    def register(function):
        function.must, function.needs, function.key = must, needs, key
        SHAPES[function.__name__] = function
        return function
    return register


def aggregates(rng, t='', fact='sale', most=4):
    pool = DELTA + (DELTA_SALE if fact == 'sale' else ())
    if rng.random() < 0.4:
        pool += OTHER + (OTHER_SALE if fact == 'sale' else ())
    chosen = rng.sample(pool, rng.randint(1, most))
    if rng.random() < 0.6 and 'count(*)' not in chosen:
        chosen.insert(0, 'count(*)')
    return ', '.join('%s AS a%d' % (a.format(t=t), i) for i, a in enumerate(chosen))


def where(rng, t='', word='WHERE'):
    condition = rng.choice(('', '', '', '{t}qty > 2', '{t}amt IS NOT NULL', "{t}note <> 'x'",
                            '({t}qty < 5 OR {t}amt > 5)', '{t}day <> %s' % quote(str(FIRST_DAY)),
                            "{t}day IS DISTINCT FROM '2024-03-01'"))
    return ' %s %s' % (word, condition.format(t=t)) if condition else ''


def having(rng):
    return rng.choice(('', '', '', ' HAVING count(*) > 1', ' HAVING sum(s.qty) > 3', ' HAVING max(s.amt) IS NOT NULL'))


# -------------------------------------------------------------------- one table

@shape()
def plain(rng, star):
    key = rng.choice((['day'], ['customer'], ['id'], ['day', 'product']))
    columns = rng.choice(('id, day, product, customer, amt', 'id, day, product, customer, upper(note) AS note, qty + 1 AS q',
                          'note, customer, id, product, day, raw, price, at'))
    return 'SELECT %s FROM sale%s' % (columns, where(rng)), key


@shape()
def star_of_all(rng, star):
    return 'SELECT * FROM %s' % rng.choice(('sale', 'refund')), [rng.choice(('day', 'product'))]


@shape()
def by_day(rng, star):
    fact = rng.choice(('sale', 'sale', 'refund'))
    return 'SELECT day, %s FROM %s s%s GROUP BY day%s' % (
        aggregates(rng, 's.', fact), fact, where(rng, 's.'), having(rng)), ['day']


@shape()
def by_two(rng, star):
    key = rng.choice((['day'], ['customer'], ['day', 'customer']))
    return 'SELECT customer, %s, day FROM sale s%s GROUP BY day, customer%s' % (
        aggregates(rng, 's.'), where(rng, 's.'), having(rng)), key


@shape()
def by_expression(rng, star):
    key = rng.choice(("date_trunc('month', day::timestamp)::date", 'extract(dow FROM day)', 'id % 5', "coalesce(store, '?')",
                      "CASE WHEN qty > 4 THEN 'many' WHEN qty IS NULL THEN NULL ELSE 'few' END", '-product', "day - 1"))
    return 'SELECT %s AS k, %s FROM sale s%s GROUP BY 1' % (key, aggregates(rng, 's.'), where(rng, 's.')), ['k']


@shape()
def by_local_day(rng, star):
    """The day of a timestamp: it depends on TimeZone, which is pinned."""
    return 'SELECT at::date AS d, product, %s FROM sale s GROUP BY 1, 2' % aggregates(rng, 's.'), ['d']


@shape()
def plain_local_day(rng, star):
    return "SELECT id, date_trunc('day', at) AS d, at::text AS shown, qty FROM sale", ['d']


@shape()
def whole_row(rng, star):
    return 'SELECT day, s::text AS r FROM sale s', ['day']


@shape()
def grouping_sets(rng, star):
    return 'SELECT day, customer, product, %s FROM sale s GROUP BY day, %s' % (
        aggregates(rng, 's.', most=2), rng.choice(('ROLLUP (customer, product)', 'GROUPING SETS ((customer), (product), ())',
                                                   'CUBE (customer, product)'))), ['day']


@shape()
def distinct(rng, star):
    return 'SELECT DISTINCT day, %s FROM sale%s' % (rng.choice(('product', 'product, customer', 'qty > 3 AS many')), where(rng)), ['day']


@shape(needs=lambda star: star.unique)
def distinct_on(rng, star):
    return 'SELECT DISTINCT ON (day) day, id, amt FROM sale ORDER BY day, amt DESC NULLS LAST, id', ['day']


@shape(needs=lambda star: star.unique)
def window(rng, star):
    over = rng.choice(('row_number() OVER w', 'rank() OVER w, sum(qty) OVER w', 'lag(amt) OVER w', 'count(*) OVER (PARTITION BY day, store)'))
    over = ', '.join('%s AS w%d' % (x, i) for i, x in enumerate(over.replace('w, ', 'w|').split('|')))
    return 'SELECT id, day, amt, %s FROM sale WINDOW w AS (PARTITION BY day ORDER BY amt, id)' % over, ['day']


@shape()
def window_over_groups(rng, star):
    return ('SELECT day, product, sum(amt) AS total, rank() OVER (PARTITION BY day ORDER BY sum(amt)) AS place '
            'FROM sale GROUP BY day, product'), ['day']


@shape()
def ordered(rng, star):
    return 'SELECT customer, %s FROM sale s GROUP BY customer ORDER BY count(*) DESC' % aggregates(rng, 's.'), ['customer']


@shape()
def set_returning(rng, star):
    if rng.random() < 0.5:
        return 'SELECT id, day, generate_series(1, qty) AS n FROM sale', ['day']
    return 'SELECT s.day, n, count(*) FROM sale s CROSS JOIN generate_series(1, 2) n GROUP BY 1, 2', ['day']


# -------------------------------------------------------------------- inner joins

@shape()
def day_category(rng, star):
    join = rng.choice(('sale s JOIN product p ON p.id = s.product', 'product p JOIN sale s ON s.product = p.id',
                       'sale s, product p'))
    rest = where(rng, 's.')
    if ',' in join:
        rest = ' WHERE p.id = s.product' + where(rng, 's.', 'AND')
    return 'SELECT s.day, p.category, %s FROM %s%s GROUP BY 1, 2%s' % (
        aggregates(rng, 's.'), join, rest, having(rng)), rng.choice((['day'], ['category'], ['day', 'category']))


@shape()
def joined_plain(rng, star):
    return ('SELECT s.id, s.day, p.category, p.brand, s.amt * p.cost AS worth FROM sale s JOIN product p ON p.id = s.product'
            + where(rng, 's.')), rng.choice((['day'], ['category'], ['category', 'day'], ['brand']))


@shape()
def snowflake(rng, star):
    return ('SELECT r.name, c.city, %s FROM sale s JOIN customer c ON c.id = s.customer JOIN region r ON r.id = c.region%s GROUP BY 1, 2'
            % (aggregates(rng, 's.'), where(rng, 's.'))), rng.choice((['name'], ['city'], ['name', 'city']))


@shape()
def three_dimensions(rng, star):
    return ('SELECT s.day, p.brand, r.zone, %s FROM sale s JOIN customer c ON c.id = s.customer JOIN region r ON r.id = c.region '
            'JOIN product p ON p.id = s.product GROUP BY 1, 2, 3' % aggregates(rng, 's.')), rng.choice((['day'], ['brand'], ['zone', 'day']))


@shape()
def key_of_expression_of_both(rng, star):
    return ("SELECT p.category || '/' || coalesce(s.store, '-') AS k, %s FROM sale s JOIN product p ON p.id = s.product GROUP BY 1"
            % aggregates(rng, 's.')), ['k']


@shape()
def interval_join(rng, star):
    return ('SELECT s.day, o.pct, %s FROM sale s JOIN promo o ON s.day BETWEEN o.first AND o.last AND s.product = o.product '
            'GROUP BY 1, 2' % aggregates(rng, 's.')), rng.choice((['day'], ['pct']))


@shape()
def self_join(rng, star):
    return ('SELECT a.day, count(*) AS n, sum(b.amt) AS later FROM sale a JOIN sale b ON b.customer = a.customer AND b.day = a.day + 1 '
            'GROUP BY a.day'), ['day']


@shape()
def self_join_of_dimension(rng, star):
    return ('SELECT x.category, %s FROM product x JOIN product y ON y.brand = x.brand JOIN sale s ON s.product = y.id GROUP BY 1'
            % aggregates(rng, 's.', most=2)), ['category']


@shape()
def two_facts(rng, star):
    return ('SELECT s.day, %s, count(f.id) AS refunds FROM sale s JOIN refund f ON f.customer = s.customer AND f.day = s.day GROUP BY s.day'
            % aggregates(rng, 's.', most=2)), ['day']


@shape()
def cross_join(rng, star):
    return ('SELECT r.name, s.day, sum(s.qty) AS n FROM sale s CROSS JOIN region r GROUP BY 1, 2'), rng.choice((['name'], ['day']))


@shape()
def using(rng, star):
    return ('SELECT day, product, count(*) AS n, min(s.amt) AS a, max(f.amt) AS b FROM sale s JOIN refund f USING (day, product) '
            'GROUP BY day, product'), rng.choice((['day'], ['product']))


# -------------------------------------------------------------------- outer joins

@shape()
def left_join(rng, star):
    return ('SELECT s.day, p.category, %s, count(p.id) AS known FROM sale s LEFT JOIN product p ON p.id = s.product%s%s GROUP BY 1, 2'
            % (aggregates(rng, 's.', most=3), rng.choice(('', " AND p.brand = 'acme'")), where(rng, 's.'))), \
        rng.choice((['day'], ['category'], ['day', 'category']))


@shape()
def right_join(rng, star):
    return ('SELECT p.category, p.brand, s.day, %s FROM sale s RIGHT JOIN product p ON p.id = s.product GROUP BY 1, 2, 3'
            % aggregates(rng, 's.', most=3)), rng.choice((['category'], ['brand'], ['day']))


@shape()
def dimension_without_facts(rng, star):
    return ('SELECT c.id, c.city, count(s.id) AS n, coalesce(sum(s.amt), 0) AS total FROM customer c LEFT JOIN sale s ON s.customer = c.id '
            'GROUP BY c.id'), rng.choice((['id'], ['city']))


@shape()
def full_join(rng, star):
    if rng.random() < 0.5:
        return ('SELECT day, count(s.id) AS sold, count(f.id) AS back, sum(f.amt) AS a FROM sale s FULL JOIN refund f USING (day) '
                'GROUP BY day'), ['day']
    return ('SELECT coalesce(s.product, f.product) AS product, s.id, f.id AS fid, s.day FROM sale s FULL JOIN refund f ON f.product = s.product '
            'AND f.customer = s.customer'), rng.choice((['product'], ['day'], ['id']))


@shape()
def outer_chain(rng, star):
    return ('SELECT r.name, c.city, s.day, %s FROM sale s LEFT JOIN customer c ON c.id = s.customer LEFT JOIN region r ON r.id = c.region '
            'GROUP BY 1, 2, 3' % aggregates(rng, 's.', most=2)), rng.choice((['name'], ['city'], ['day'], ['day', 'name']))


@shape()
def outer_nested(rng, star):
    return ('SELECT s.day, r.name, %s FROM sale s LEFT JOIN (customer c JOIN region r ON r.id = c.region) ON c.id = s.customer GROUP BY 1, 2'
            % aggregates(rng, 's.', most=2)), rng.choice((['name'], ['day']))


@shape()
def anti_join(rng, star):
    return 'SELECT s.id, s.day, s.product FROM sale s LEFT JOIN product p ON p.id = s.product WHERE p.id IS NULL', [rng.choice(('day', 'product'))]


@shape(must=False)
def not_exists(rng, star):
    return 'SELECT p.id, p.category FROM product p WHERE NOT EXISTS (SELECT FROM sale s WHERE s.product = p.id)', [rng.choice(('id', 'category'))]


@shape()
def coalesced_key(rng, star):
    return ("SELECT coalesce(p.category, 'none') AS category, %s FROM sale s LEFT JOIN product p ON p.id = s.product GROUP BY 1"
            % aggregates(rng, 's.')), ['category']


@shape()
def where_on_nullable(rng, star):
    return ("SELECT s.day, count(*) AS n FROM sale s LEFT JOIN product p ON p.id = s.product WHERE p.category IS DISTINCT FROM 'food' GROUP BY 1"), ['day']


# -------------------------------------------------------------------- subqueries

@shape()
def aggregated_twice(rng, star):
    return ('SELECT day, max(total) AS best, count(*) AS customers FROM (SELECT day, customer, sum(amt) AS total FROM sale%s '
            'GROUP BY day, customer) t GROUP BY day' % where(rng)), ['day']


@shape()
def cte(rng, star):
    return ('WITH t AS %s(SELECT day, product, sum(amt) AS total FROM sale GROUP BY 1, 2) '
            'SELECT t.day, p.category, sum(t.total) AS total FROM t JOIN product p ON p.id = t.product GROUP BY 1, 2'
            % rng.choice(('', 'MATERIALIZED ', 'NOT MATERIALIZED '))), rng.choice((['day'], ['category']))


@shape()
def over_view(rng, star):
    name = rng.choice(('sold', 'sold_by_category'))
    if name == 'sold':
        return 'SELECT day, category, %s FROM sold s GROUP BY 1, 2' % aggregates(rng, 's.', 'refund'), rng.choice((['day'], ['category']))
    return 'SELECT category, day, n FROM sold_by_category WHERE n > 1', ['day']


@shape(must=False)
def correlated(rng, star):
    return ('SELECT s.id, s.day, (SELECT c.city FROM customer c WHERE c.id = s.customer) AS city FROM sale s'), ['day']


@shape(must=False)
def exists_in(rng, star):
    return ('SELECT s.day, %s FROM sale s WHERE %s GROUP BY 1' % (aggregates(rng, 's.'), rng.choice((
        "EXISTS (SELECT FROM product p WHERE p.id = s.product AND p.category = 'food')",
        "s.product IN (SELECT id FROM product WHERE brand = 'acme')",
        'NOT EXISTS (SELECT FROM refund f WHERE f.sale = s.id)',
        's.customer NOT IN (SELECT id FROM customer WHERE id IS NOT NULL AND city = \'Oslo\')')))), ['day']


@shape(needs=lambda star: star.unique)
def lateral(rng, star):
    return ('SELECT c.id, c.city, t.id AS sale, t.amt FROM customer c %s JOIN LATERAL '
            '(SELECT s.id, s.amt FROM sale s WHERE s.customer = c.id ORDER BY s.amt DESC NULLS LAST, s.id LIMIT 2) t ON true'
            % rng.choice(('', 'LEFT'))), [rng.choice(('id', 'city'))]


# -------------------------------------------------------------------- set operations

@shape()
def union_all(rng, star):
    if rng.random() < 0.5:
        return ("SELECT id, day, product, amt, 'sale' AS kind FROM sale%s UNION ALL SELECT id, day, product, -amt, 'refund' FROM refund"
                % where(rng)), [rng.choice(('day', 'product', 'kind'))]
    return ('SELECT day, %s FROM (SELECT day, qty, amt, note, customer FROM sale UNION ALL SELECT day, -qty, -amt, note, customer FROM refund%s) s '
            'GROUP BY day' % (aggregates(rng, 's.', 'refund'), where(rng))), ['day']


@shape()
def union_of_groups(rng, star):
    return ('SELECT day, count(*) AS n FROM sale GROUP BY day UNION ALL SELECT day, -count(*) FROM refund GROUP BY day'), ['day']


@shape()
def union_joined(rng, star):
    return ('SELECT u.day, p.category, sum(u.amt) AS total FROM (SELECT day, product, amt FROM sale UNION ALL '
            'SELECT day, product, -amt FROM refund) u JOIN product p ON p.id = u.product GROUP BY 1, 2'), rng.choice((['day'], ['category']))


@shape()
def set_operation(rng, star):
    return ('SELECT day, customer FROM sale %s SELECT day, customer FROM refund' % rng.choice(
        ('UNION', 'INTERSECT', 'EXCEPT', 'INTERSECT ALL', 'EXCEPT ALL'))), ['day']


# -------------------------------------------------------------------- what is only right as a whole

@shape(key=False)
def window_across(rng, star):
    return 'SELECT day, sum(amt) AS total, rank() OVER (ORDER BY sum(amt) DESC) AS place FROM sale GROUP BY day', ['day']


@shape(key=False)
def limited(rng, star):
    return 'SELECT day, count(*) AS n FROM sale GROUP BY day ORDER BY count(*) DESC, day LIMIT 3', ['day']


@shape(key=False)
def above_the_partition(rng, star):
    return 'SELECT day, amt, amt * 100 / (SELECT nullif(sum(amt), 0) FROM sale) AS share FROM sale', ['day']


@shape(key=False)
def key_aggregated(rng, star):
    return 'SELECT customer, max(day) AS latest FROM sale GROUP BY customer', ['latest']


def on_view(rng, below):
    """A view on another registered one, which has (query, keys, name)."""
    key = below.keys[0]
    if rng.random() < 0.5:
        return 'SELECT %s, count(*) AS n FROM %s GROUP BY 1' % (key, below.name), [key]
    return 'SELECT v.%s, r.name AS other, count(*) AS n FROM %s v CROSS JOIN region r GROUP BY 1, 2' % (key, below.name), [key]
