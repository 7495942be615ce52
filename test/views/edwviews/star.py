"""A random star schema: two facts, dimensions, a snowflaked one, intervals to join with.

All values come from small sets, so that rows meet. Floating point values are multiples of a
quarter: their sums are exact in any order.
"""
from datetime import date, timedelta

FIRST_DAY = date(2024, 2, 26)       # two months, a leap day
DAYS = 8
TZ = ('UTC', 'America/New_York', 'Asia/Kolkata', 'Pacific/Auckland')

FACT_KINDS = ('plain', 'plain', 'plain', 'range', 'range_key', 'hash', 'list', 'nested', 'inherit')

SALE = {'id': 'bigint', 'day': 'date', 'at': 'timestamptz', 'product': 'int', 'customer': 'int',
        'store': 'text', 'qty': 'int', 'big': 'bigint', 'amt': 'numeric(12,2)', 'raw': 'numeric',
        'price': 'float8', 'flag': 'boolean', 'note': 'text'}
REFUND = {'id': 'bigint', 'sale': 'bigint', 'day': 'date', 'product': 'int', 'customer': 'int',
          'qty': 'int', 'amt': 'numeric(12,2)', 'note': 'text'}
PRODUCT = {'id': 'int', 'category': 'text', 'brand': 'text', 'cost': 'numeric(10,2)', 'note': 'text'}
CUSTOMER = {'id': 'int', 'city': 'text', 'region': 'int', 'since': 'date'}
REGION = {'id': 'int', 'name': 'text', 'zone': 'text'}
PROMO = {'id': 'int', 'product': 'int', 'first': 'date', 'last': 'date', 'pct': 'numeric(4,1)'}

COLUMNS = {'sale': SALE, 'refund': REFUND, 'product': PRODUCT, 'customer': CUSTOMER,
           'region': REGION, 'promo': PROMO}
KEYS = {'sale': 40, 'refund': 20, 'product': 8, 'customer': 6, 'region': 4, 'promo': 5}
STORES = ('n', 's', 'w')


def quote(text):
    return "'%s'" % text.replace("'", "''")


class Star:
    def __init__(self, rng):
        self.rng = rng
        self.kind = rng.choice(FACT_KINDS)
        self.unique = self.kind in ('plain', 'hash')     # is sale.id unique over all rows?
        self.not_null = {'range_key': ('day',), 'list': ('store',), 'nested': ('store', 'day')}.get(self.kind, ())
        self.streamed = () if rng.random() < 0.3 else tuple(
            t for t in COLUMNS if t != 'promo' and (t != 'sale' or self.unique) and rng.random() < 0.7)
        # the stream would make dead letters of what foreign keys refuse; only cascades matter here
        self.cascade = rng.choice(('CASCADE', 'SET NULL')) if rng.random() < 0.4 else None
        self.generated = rng.random() < 0.3
        self.zone = rng.choice(TZ)
        self.names = {'sale': [], 'inherit': []}        # partitions of sale
        self.orders = {t: self.column_order(t) for t in COLUMNS}

    def column_order(self, table):
        names = list(COLUMNS[table])
        if self.rng.random() < 0.5:
            self.rng.shuffle(names)
        return names

    def day(self, null=0.1):
        if self.rng.random() < null:
            return 'NULL'
        return quote(str(FIRST_DAY + timedelta(self.rng.randrange(DAYS))))

    def key(self, table, null=0.1):
        if self.rng.random() < null:
            return 'NULL'
        return str(self.rng.randint(1, KEYS[table]))

    def reference(self, table):
        """A foreign key's value: of a row that is there, where that is enforced."""
        value = self.key(table)
        if self.cascade and value != 'NULL':
            return '(SELECT id FROM %s WHERE id = %s)' % (table, value)
        return value

    def value(self, table, column):
        r = self.rng
        if column == 'id':
            return str(r.randint(1, KEYS[table]))
        if column in ('day', 'first', 'last', 'since'):
            return self.day(0 if table == 'sale' and column in self.not_null else 0.1)
        if column == 'at':
            return 'NULL' if r.random() < 0.1 else quote('%s %02d:30:00+00' % (
                FIRST_DAY + timedelta(r.randrange(DAYS)), r.randrange(24)))
        if column in ('product', 'customer', 'region'):
            return self.reference(column)
        if column == 'sale':
            return self.key('sale', 0.3)
        if column == 'store':
            return 'NULL' if 'store' not in self.not_null and r.random() < 0.1 else quote(r.choice(STORES))
        if column == 'flag':
            return r.choice(('true', 'false', 'NULL'))
        if r.random() < 0.12:
            return 'NULL'
        return {
            'qty': lambda: str(r.randint(-1, 9)),
            'big': lambda: str(r.choice((1, -3, 7, 2 ** 40, -2 ** 40))),
            'amt': lambda: r.choice(('1.25', '0', '10.10', '-3.50', '99.99', '10', '7.77')),
            'raw': lambda: r.choice(('1', '1.5', '2.250', '-1.5', '100', '0.001', '0') if r.random() < 0.97
                                    else ("'NaN'::numeric", "'Infinity'::numeric", "'-Infinity'::numeric")),
            'price': lambda: str(r.randint(-8, 40) / 4),
            'cost': lambda: r.choice(('1.00', '2.50', '0.75')),
            'pct': lambda: r.choice(('5', '10', '12.5')),
            'category': lambda: quote(r.choice(('food', 'toys', 'Ärger', ''))),
            'brand': lambda: quote(r.choice(('acme', 'zeta'))),
            'city': lambda: quote(r.choice(('Oslo', 'Rome', 'Lima'))),
            'name': lambda: quote(r.choice(('north', 'south', 'east'))),
            'zone': lambda: quote(r.choice(('a', 'b'))),
            'note': lambda: r.choice((quote('x'), quote('y'), quote('long'), "repeat('0123456789abcdef', 300)")),
        }[column]()

    def row(self, table, **given):
        return [given.get(c) or self.value(table, c) for c in self.orders[table]]

    def columns(self, table):
        return ', '.join(self.orders[table])

    # ---------------------------------------------------------------- DDL

    def setup(self):
        out = []
        for table in ('region', 'customer', 'product', 'promo'):
            out += self.create(table, 'id')
        out += self.create_sale()
        out += self.create('refund', 'id')
        if self.cascade:
            for table, column, target in (('customer', 'region', 'region'), ('sale', 'product', 'product'),
                                          ('sale', 'customer', 'customer')):
                if table == 'sale' and self.kind == 'inherit':
                    continue        # children would not be checked
                out.append('ALTER TABLE %s ADD FOREIGN KEY (%s) REFERENCES %s ON DELETE %s ON UPDATE CASCADE'
                           % (table, column, target, self.cascade))
        for table in ('region', 'customer', 'product', 'promo', 'sale', 'refund'):
            rows = [self.row(table, id=str(i)) for i in range(1, KEYS[table] + 1) if self.rng.random() < 0.8]
            if rows and self.rng.random() < 0.93:
                out.append('INSERT INTO %s (%s) VALUES %s' % (
                    table, self.columns(table), ', '.join('(%s)' % ', '.join(r) for r in rows)))
        return out

    def create(self, table, key):
        columns = ['%s %s' % (c, COLUMNS[table][c]) for c in self.orders[table]]
        out, dropped = [], self.rng.random() < 0.3
        if dropped:
            columns.insert(self.rng.randrange(len(columns)), 'gone int DEFAULT 1')
        out.append('CREATE TABLE %s (%s, PRIMARY KEY (%s))' % (table, ', '.join(columns), key))
        if dropped:
            out.append('ALTER TABLE %s DROP COLUMN gone' % table)
        return out

    def sale_columns(self, order=None):
        columns = ['%s %s%s' % (c, SALE[c], ' NOT NULL' if c in self.not_null or c == 'id' else '')
                   for c in order or self.orders['sale']]
        if self.generated:
            columns.append('total numeric GENERATED ALWAYS AS (qty * amt) STORED')
        return ', '.join(columns)

    def partition(self, name, of, bounds, below=''):
        """Half of the partitions are tables of another shape that are attached."""
        self.names['sale'].append(name)
        if self.rng.random() < 0.5 or below:
            return ['CREATE TABLE %s PARTITION OF %s %s%s' % (name, of, bounds, below)]
        order = list(SALE)
        self.rng.shuffle(order)
        columns = self.sale_columns(order).split(', ')
        return ['CREATE TABLE %s (gone int, %s)' % (name, self.sale_columns(order)),
                'ALTER TABLE %s DROP COLUMN gone' % name,
                'ALTER TABLE %s ATTACH PARTITION %s %s' % (of, name, bounds)] if columns else []

    def range_bounds(self, i):
        """Three days a partition, and a default."""
        first = FIRST_DAY + timedelta(3 * i)
        return "FOR VALUES FROM ('%s') TO ('%s')" % (first, first + timedelta(3))

    def create_sale(self):
        create = 'CREATE TABLE sale (%s' % self.sale_columns()
        if self.kind == 'plain':
            return self.create_plain_sale(create)
        if self.kind == 'inherit':
            self.names['inherit'] = ['sale_c1']
            return [create + ')', 'CREATE TABLE sale_c1 (own int) INHERITS (sale)']
        if self.kind == 'hash':
            out = [create + ', PRIMARY KEY (id)) PARTITION BY HASH (id)']
            for i in range(3):
                out += self.partition('sale_p%d' % i, 'sale', 'FOR VALUES WITH (MODULUS 3, REMAINDER %d)' % i)
            return out
        if self.kind == 'list':
            out = [create + ', PRIMARY KEY (id, store)) PARTITION BY LIST (store)']
            for i, store in enumerate(STORES):
                out += self.partition('sale_p%d' % i, 'sale', "FOR VALUES IN ('%s')" % store)
            return out
        if self.kind == 'nested':
            out = [create + ') PARTITION BY LIST (store)']
            out += self.partition('sale_p0', 'sale', "FOR VALUES IN ('n')", ' PARTITION BY RANGE (day)')
            out += self.partition('sale_p0a', 'sale_p0', self.range_bounds(0))
            out += self.partition('sale_p0b', 'sale_p0', 'DEFAULT')
            return out + self.partition('sale_p1', 'sale', 'DEFAULT')
        key = ', PRIMARY KEY (id, day)' if self.kind == 'range_key' else ''
        out = [create + key + ') PARTITION BY RANGE (day)']
        for i in range(2):
            out += self.partition('sale_p%d' % i, 'sale', self.range_bounds(i))
        return out + self.partition('sale_rest', 'sale', 'DEFAULT')

    def create_plain_sale(self, create):
        out = [create + ', PRIMARY KEY (id))']
        if self.rng.random() < 0.3:
            out += ['ALTER TABLE sale DROP COLUMN note', 'ALTER TABLE sale ADD note text']
        return out
