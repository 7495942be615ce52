"""Random histories: batches of SQL for one or two sessions, made without knowing the rows.

A batch is a list of (session, SQL); views are compared after it. Statements may fail, as long as
it is for what they do to the tables (see check.py).
"""
import json
from datetime import date, timedelta

from .star import COLUMNS, FIRST_DAY, DAYS, KEYS, SALE, STORES, TZ, quote

EPOCH = date(1970, 1, 1)
ACTIVE = ('sale', 'sale', 'sale', 'sale', 'product', 'product', 'customer', 'region', 'refund', 'refund', 'promo')


class History:
    def __init__(self, rng, star, views):
        self.rng, self.star, self.views = rng, star, views
        self.lsn = 1000
        self.extra = 0

    def batches(self, count):
        kinds = [(self.alone, 4), (self.transaction, 5), (self.savepoints, 3), (self.concurrent, 4),
                 (self.ddl, 2), (self.prepared, 0.7)]
        if self.star.streamed:
            kinds.append((self.stream, 6))
        return [self.rng.choices([k for k, _ in kinds], [w for _, w in kinds])[0]() for _ in range(count)]

    # ---------------------------------------------------------------- statements

    def statement(self):
        r = self.rng
        table = r.choice(ACTIVE)
        kinds = [(self.insert, 4), (self.update, 5), (self.delete, 3), (self.merge, 2), (self.copy, 1), (self.with_cte, 2),
                 (self.truncate, 0.3), (self.on_partition, 2 if self.star.names['sale'] else 0.2), (self.change_key, 1)]
        return r.choices([k for k, _ in kinds], [w for _, w in kinds])[0](table)

    def condition(self, table, t=''):
        r, s = self.rng, self.star
        choices = ['%sid = %s' % (t, s.value(table, 'id')), '%sid IN (%s)' % (t, ', '.join(s.value(table, 'id') for _ in range(4))),
                   '%sid %% 4 = %d' % (t, r.randrange(4)), '%sid < %s' % (t, s.value(table, 'id'))]
        if table in ('sale', 'refund'):
            choices += ['%sday = %s' % (t, s.day(0)), '%sday IS NULL' % t, '%sproduct = %s' % (t, s.key('product', 0)),
                        '%sday = %s AND %sqty > 3' % (t, s.day(0), t)]
        if r.random() < 0.04:
            return 'true'
        return r.choice(choices)

    def insert(self, table):
        s, r = self.star, self.rng
        many = r.choice((1, 1, 2, 5))
        rows = ', '.join('(%s)' % ', '.join(s.row(table)) for _ in range(many))
        end = ' ON CONFLICT DO NOTHING'
        if many == 1 and (table != 'sale' or s.unique) and r.random() < 0.5:
            column = self.column(table)
            end = ' ON CONFLICT (id) DO UPDATE SET %s = excluded.%s' % (column, column)
        return 'INSERT INTO %s (%s) VALUES %s%s' % (table, s.columns(table), rows, end)

    def column(self, table):
        return self.rng.choice([c for c in COLUMNS[table] if c != 'id'])

    def assignments(self, table):
        columns = {self.column(table) for _ in range(self.rng.choice((1, 1, 2, 3)))}
        out = []
        for c in sorted(columns):
            if c in ('qty', 'big') and self.rng.random() < 0.3:
                out.append('%s = %s + 1' % (c, c))
            elif self.rng.random() < 0.07:
                out.append('%s = %s' % (c, c))       # nothing changes
            else:
                out.append('%s = %s' % (c, self.star.value(table, c)))
        return ', '.join(out)

    def update(self, table):
        if table == 'sale' and self.rng.random() < 0.3:     # rows move between days, perhaps partitions
            return 'UPDATE sale SET day = %s WHERE %s' % (
                self.rng.choice((self.star.day(0), 'day + 1', 'day - 3')), self.condition(table))
        return 'UPDATE %s SET %s WHERE %s' % (table, self.assignments(table), self.condition(table))

    def delete(self, table):
        if table == 'refund' and self.rng.random() < 0.3:
            return 'DELETE FROM refund USING sale s WHERE refund.sale = s.id AND %s' % self.condition('sale', 's.')
        return 'DELETE FROM %s WHERE %s' % (table, self.condition(table))

    def merge(self, table):
        s, r = self.star, self.rng
        if table == 'sale' and s.kind == 'inherit':
            return self.update(table)
        keys = r.sample(range(1, KEYS[table] + 1), 3)
        rows = ', '.join('(%s)' % ', '.join(s.row(table, id=str(k))) for k in keys)
        columns = [c for c in s.orders[table] if c != 'id']
        typed = ', '.join('v.%s::%s' % (c, COLUMNS[table][c]) for c in s.orders[table])
        change = r.sample(columns, 2)
        return ('MERGE INTO %s t USING (VALUES %s) v(%s) ON t.id = v.id %sWHEN MATCHED THEN UPDATE SET %s '
                'WHEN NOT MATCHED THEN INSERT (%s) VALUES (%s)' % (
                    table, rows, s.columns(table),
                    r.choice(('', 'WHEN MATCHED AND t.id %% %d = 0 THEN DELETE ' % r.randint(2, 3))),
                    ', '.join('%s = v.%s::%s' % (c, c, COLUMNS[table][c]) for c in change), s.columns(table), typed))

    def copy(self, table):
        fields = []
        for _ in range(2):
            row = dict(zip(self.star.orders[table], self.star.row(table, id=str(self.rng.randint(100, 999)))))
            for c, v in row.items():
                if v == 'NULL' or v.startswith(('(', 'repeat')):
                    row[c] = ''
                else:
                    row[c] = v.split('::')[0].strip("'")
            fields.append(','.join(row[c] for c in self.star.orders[table]))
        return "COPY %s (%s) FROM PROGRAM $$printf -- '%s\\n'$$ (FORMAT csv)" % (table, self.star.columns(table), '\\n'.join(fields))

    def truncate(self, table):
        names = self.star.names['sale'] if table == 'sale' else []
        target = self.rng.choice(names + [table])
        return 'TRUNCATE %s%s' % (target, ' CASCADE' if self.star.cascade else '')

    def on_partition(self, table):
        """DML that names a partition or a child itself."""
        s, r = self.star, self.rng
        name = r.choice(s.names['sale'] or s.names['inherit'] or ['sale'])
        if r.random() < 0.4:
            given = {'id': str(r.randint(100, 999))} if not s.unique else {}
            return 'INSERT INTO %s (%s) VALUES (%s) ON CONFLICT DO NOTHING' % (name, s.columns('sale'), ', '.join(s.row('sale', **given)))
        if r.random() < 0.5:
            return 'UPDATE %s SET qty = qty + 1, note = %s WHERE %s' % (name, s.value('sale', 'note'), self.condition('sale'))
        return 'DELETE FROM %s%s WHERE %s' % (r.choice(('', 'ONLY ')), name, self.condition('sale'))

    def change_key(self, table):
        return 'UPDATE %s SET id = %s WHERE %s' % (
            table, self.rng.choice(('id + 100', 'abs(id - 100)', str(self.rng.randint(1, KEYS[table])))),
            'id = %s' % self.star.value(table, 'id'))

    def with_cte(self, table):
        s, r = self.star, self.rng
        return r.choice((
            lambda: 'WITH gone AS (DELETE FROM sale WHERE %s RETURNING *) INSERT INTO refund (id, sale, day, product, customer, qty, amt, note) '
            'SELECT id, NULL, day, product, customer, qty, amt, note FROM gone ON CONFLICT DO NOTHING' % self.condition('sale'),
            lambda: 'WITH p AS (UPDATE product SET category = %s WHERE %s RETURNING id) UPDATE sale SET qty = qty + 1 FROM p WHERE sale.product = p.id'
            % (s.value('product', 'category'), self.condition('product')),
            lambda: "WITH n AS (INSERT INTO product (id, category, brand) VALUES (%s, %s, 'new') ON CONFLICT (id) DO UPDATE SET category = "
            'excluded.category RETURNING id) DELETE FROM sale USING n WHERE sale.product = n.id AND sale.qty > 4'
            % (s.value('product', 'id'), s.value('product', 'category')),
            lambda: 'WITH a AS (UPDATE customer SET city = %s WHERE %s), b AS (DELETE FROM sale WHERE %s), c AS (UPDATE region SET name = %s) '
            'UPDATE refund SET amt = amt + 1 WHERE %s' % (s.value('customer', 'city'), self.condition('customer'), self.condition('sale'),
                                                         s.value('region', 'name'), self.condition('refund')),
        ))()

    # ---------------------------------------------------------------- batches

    def zone(self, session='a'):
        """What a session sets must not matter."""
        if self.rng.random() < 0.2:
            return [(session, 'SET TimeZone = %s' % quote(self.rng.choice(TZ)))]
        return []

    def alone(self):
        return self.zone() + [('a', self.statement()) for _ in range(self.rng.choice((1, 1, 2, 3)))]

    def end(self):
        return 'COMMIT' if self.rng.random() < 0.92 else 'ROLLBACK'

    def begin(self):
        return 'BEGIN' + self.rng.choice(('', '', '', ' ISOLATION LEVEL REPEATABLE READ', ' ISOLATION LEVEL SERIALIZABLE'))

    def transaction(self, session='a'):
        return [(session, self.begin())] + [(session, self.statement()) for _ in range(self.rng.randint(2, 6))] + [(session, self.end())]

    def savepoints(self, session='a'):
        out, open_ = [(session, self.begin())], []
        for i in range(self.rng.randint(4, 9)):
            choice = self.rng.random()
            if choice < 0.3:
                open_.append('s%d' % i)
                out.append((session, 'SAVEPOINT s%d' % i))
            elif choice < 0.45 and open_:
                out.append((session, 'ROLLBACK TO %s' % self.rng.choice(open_)))
                open_ = open_[:open_.index(out[-1][1].split()[-1]) + 1]
            elif choice < 0.55 and open_:
                out.append((session, 'RELEASE %s' % open_.pop()))
            elif choice < 0.65:
                out.append((session, "DO $do$ BEGIN %s; RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN NULL; END $do$" % self.statement()))
            else:
                out.append((session, self.statement()))
        return out + [(session, self.end())]

    def concurrent(self):
        scripts = [self.zone(s) + self.rng.choice((self.transaction, self.transaction, self.savepoints))(s) for s in 'ab']
        if self.star.streamed and self.rng.random() < 0.4:
            scripts[1] = self.stream('b')
        if self.rng.random() < 0.25:
            scripts[1] = [('b', self.by_hand())]
        out = []
        while any(scripts):
            script = self.rng.choice([s for s in scripts if s])
            out.append(script.pop(0))
        return out

    def prepared(self):
        out = [('a', 'BEGIN')] + [('a', self.statement()) for _ in range(2)] + [('a', "PREPARE TRANSACTION 'edw_%d'" % self.lsn)]
        self.lsn += 1
        return out + [('a', "COMMIT PREPARED 'edw_%d'" % (self.lsn - 1))]

    # ---------------------------------------------------------------- DDL and by hand

    def by_hand(self):
        view = self.rng.choice(self.views)
        return self.rng.choice(('REFRESH MATERIALIZED VIEW %s', 'REFRESH MATERIALIZED VIEW %s', "SELECT edw_stream.refresh_view('%s')")) % view.name

    def ddl(self):
        r, s = self.rng, self.star
        self.extra += 1
        table = r.choice(list(COLUMNS))
        view = r.choice(self.views)
        column = 'extra_%d' % self.extra
        choices = [
            [self.by_hand()], [self.by_hand()],
            ['ALTER TABLE %s ADD %s int DEFAULT %d' % (table, column, self.extra), self.statement(),
             'ALTER TABLE %s DROP COLUMN %s' % (table, column), self.statement()],
            ['ALTER TABLE %s RENAME COLUMN note TO remark' % t for t in ('product',)] + [self.delete('product')] +
            ['ALTER TABLE product RENAME COLUMN remark TO note'],
            ['ALTER TABLE %s RENAME TO renamed' % table, 'UPDATE renamed SET id = id WHERE id < 5', 'DELETE FROM renamed WHERE id = 2',
             'ALTER TABLE renamed RENAME TO %s' % table],
            ['VACUUM FULL %s' % table, self.statement()],
            ['VACUUM FULL %s' % view.name, self.statement()],
            ['VACUUM ANALYZE %s' % view.name, self.statement()],
            ['CREATE INDEX ON %s (%s)' % (view.name, view.keys[0]), self.statement()],
            ["SELECT edw_stream.unregister_view('%s')" % view.name, self.statement()] + self.register_again(view),
            ['BEGIN', self.statement(), "SELECT edw_stream.unregister_view('%s')" % view.name, self.statement()] + self.register_again(view)
            + [r.choice(('COMMIT', 'ROLLBACK'))],
            ["CREATE OR REPLACE VIEW sold_by_category AS SELECT p.category, s.day, count(*) AS n FROM sale s JOIN product p ON p.id = s.product "
             'WHERE s.qty > %d GROUP BY 1, 2' % r.randint(0, 3), self.statement()],
        ]
        if s.kind in ('range', 'range_key', 'hash', 'list'):
            name = s.names['sale'][0]
            bounds = {'hash': 'FOR VALUES WITH (MODULUS 3, REMAINDER 0)', 'list': "FOR VALUES IN ('n')"}.get(s.kind, s.range_bounds(0))
            one = ['ALTER TABLE sale DETACH PARTITION %s' % name, 'UPDATE %s SET qty = qty + 1 WHERE id %% 2 = 0' % name, self.statement(),
                   'DELETE FROM %s WHERE id = 3' % name, 'ALTER TABLE sale ATTACH PARTITION %s %s' % (name, bounds)]
            choices += [one, ['BEGIN'] + one + ['COMMIT'], one[:2] + one[4:], one]
        if s.kind == 'list':
            choices += [["CREATE TABLE sale_q%d PARTITION OF sale FOR VALUES IN ('q%d')" % (self.extra, self.extra),
                         "INSERT INTO sale_q%d (id, store, day, qty, product) VALUES (%d, 'q%d', %s, 3, %s)" % (
                             self.extra, self.extra, self.extra, s.day(), s.reference('product'))]] * 2
        if s.kind == 'inherit':
            choices += [['ALTER TABLE sale_c1 NO INHERIT sale', "UPDATE sale_c1 SET qty = 5 WHERE id % 3 = 0", self.statement(),
                         'ALTER TABLE sale_c1 INHERIT sale']] * 2
        if view.unique:
            choices.append(['REFRESH MATERIALIZED VIEW CONCURRENTLY %s' % view.name, self.statement()])
        return [('a', sql) for sql in r.choice(choices)]

    def register_again(self, view):
        """Under the TimeZone that views are compared with: it is pinned from the session."""
        return ['SET TimeZone = %s' % quote(self.star.zone), view.register(fallback=not (view.key and view.must)), self.statement()]

    # ---------------------------------------------------------------- through the stream

    def stream(self, session='a'):
        pushes = [self.push() for _ in range(self.rng.choice((1, 3, 8)))]
        out = [(session, 'SELECT ' + ', '.join(p)) for p in pushes]
        return out + [(session, "CALL edw_stream.drain('shop')")]

    def push(self):
        r = self.rng
        table = r.choice(self.star.streamed)
        key = r.randint(1, KEYS[table])
        choice = r.random()
        if choice < 0.03:
            return [self.message(table, None, 't')]
        if choice < 0.2:
            return [self.message(table, key, 'd')]
        if choice < 0.27:           # a key's update
            return [self.message(table, key, 'd'), self.message(table, r.randint(1, KEYS[table]), 'c')]
        return [self.message(table, key, r.choice('cu'))]

    def message(self, table, key, op):
        self.lsn += 10
        value = {'before': None, 'after': None, 'op': op, 'ts_ms': 1795351118540,
                 'source': {'version': '3.5.0.Final', 'connector': 'postgresql', 'name': 'shop', 'ts_ms': 1795351118540, 'snapshot': 'false',
                            'db': 'shop', 'sequence': '["%d","%d"]' % (self.lsn, self.lsn), 'schema': 'public', 'table': table,
                            'txId': self.lsn, 'lsn': self.lsn}}
        if op in 'cu':
            value['after'] = self.event_row(table, key)
        if op in 'd':
            value['before'] = {'id': key}
        return "edw_stream.push('shop', 'shop.%s', %s, %s)" % (
            table, 'NULL' if key is None else quote(json.dumps({'id': key})), quote(json.dumps(value, ensure_ascii=False)))

    def event_row(self, table, key):
        row = {}
        for column, kind in COLUMNS[table].items():
            text = self.star.value(table, column) if column != 'id' else str(key)
            if text.startswith('('):
                text = self.star.key(column)
            if text.startswith('repeat'):
                text = 'x' * 3000
            row[column] = self.json_value(text.split('::')[0].strip("'"), kind) if text != 'NULL' else None
        return row

    @staticmethod
    def json_value(text, kind):
        if kind == 'date':
            return (date.fromisoformat(text) - EPOCH).days
        if kind in ('int', 'bigint'):
            return int(text)
        if kind == 'float8':
            return float(text)
        if kind == 'boolean':
            return text == 'true'
        if kind == 'timestamptz':
            return text.replace(' ', 'T').replace('+00', 'Z')
        return text


def stream_setup(star):
    out = ["SELECT edw_stream.create_stream('shop', NULL, ARRAY[%s], options => '{\"decimal.handling.mode\": \"string\", \"max_dead_share\": 1}')"
           % ', '.join(quote('shop.' + t) for t in star.streamed)]
    for table in star.streamed:
        types = {c: k for c, k in COLUMNS[table].items()}
        out.append("SELECT edw_stream.map_table('shop', '%s', 'shop.%s', keys => '{id}', columns => '%s', on_truncate => 'apply', options => '%s')" % (
            table, table, json.dumps({c: c for c in types}), json.dumps({'source_types': types})))
    return out
