"""The source: a shop's customers, products and orders, and how its messages arrive."""
import json
import time

START = 1700000000000       # ms


class Event:
    """A change. position: its place in the source; at: ms after START"""

    def __init__(self, table, op, key, position, at, fields, transaction, full=True):
        self.table = table
        self.op = op
        self.key = key
        self.position = position
        self.at = at
        self.fields = fields
        self.transaction = transaction
        self.full = full

    def __repr__(self):
        return '%d %s %s %s at %d %s' % (self.position, self.table, self.op, self.key, self.at,
                                         json.dumps(self.fields))

    def message(self):
        row = {name: iso(value) if name == 'ordered_at' and value is not None else value
               for name, value in self.fields.items()}
        row.update(self.key_fields())
        source = {'connector': 'postgresql', 'name': 'n', 'db': 'd', 'schema': 'public', 'table': self.table,
                  'txId': self.transaction, 'ts_ms': START + self.at, 'lsn': self.position,
                  'sequence': json.dumps([str(self.transaction), str(self.position)]), 'snapshot': 'false'}
        value = {'op': self.op, 'before': self.key_fields() if self.op == 'd' else None,
                 'after': row if self.op != 'd' else None, 'source': source, 'ts_ms': START + self.at}
        return json.dumps(self.key_fields()), json.dumps(value)

    def key_fields(self):
        if isinstance(self.key, tuple):
            return {'id': self.key[0], 'region': self.key[1]}
        return {'id': self.key}


def iso(ms):
    seconds, rest = divmod(START + ms, 1000)
    return time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds)) + '.%03dZ' % rest


class Shop:
    """Events in the order of the source. All within a minute: else what is late looks like a source that was replaced."""

    def __init__(self, plan):
        self.plan, self.rnd = plan, plan.rnd
        self.alive = {}             # (table, key) -> fields
        self.times = [1000]         # of customers' changes: orders are made at just these times, too
        self.log = []

    def run(self):
        rnd, at, transaction = self.rnd, 5000, 100
        for position in range(1000, 1000 + self.plan.events):
            if rnd.random() >= self.plan.same_times:
                at += rnd.randint(1, 600)
                transaction = position
            when = at
            if self.plan.clock_errs and rnd.random() < 0.15:
                when = rnd.randint(1000, 40000)
            table = rnd.choices(('customers', 'products', 'orders'), (35, 15, 50))[0]
            self.log.append(getattr(self, 'change_' + table)(position, when, transaction))
        return self.log

    def change(self, table, key, position, at, transaction, new, partial, deletes=0.2):
        """A change of a row: new(old fields or None) makes its fields, partial leaves some out."""
        old = self.alive.get((table, key))
        if old is not None and self.rnd.random() < deletes:
            del self.alive[table, key]
            return Event(table, 'd', key, position, at, {}, transaction)
        fields = self.alive[table, key] = new(old)
        given = partial(fields) if old is not None else fields
        return Event(table, 'c' if old is None else 'u', key, position, at, dict(given), transaction,
                     len(given) == len(fields))

    def change_customers(self, position, at, transaction):
        self.times.append(at)
        return self.change('customers', self.rnd.randint(1, self.plan.customers), position, at, transaction,
                           lambda old: {'city': self.rnd.choice('ABC'), 'phone': str(self.rnd.randint(1, 9))},
                           self.leave_out if self.plan.partial_dimensions else dict)

    def change_products(self, position, at, transaction):
        number = self.rnd.randint(1, self.plan.products)
        return self.change('products', self.product(number), position, at, transaction,
                           lambda old: {'name': self.rnd.choice('XYZ')}, dict)

    def product(self, number):
        return (number, 'EU' if number % 2 else 'US') if self.plan.composite else number

    def leave_out(self, fields):
        return {name: value for name, value in fields.items() if self.rnd.random() >= 0.2}

    def change_orders(self, position, at, transaction):
        rnd = self.rnd

        def new(old):
            # the last numbers are of nobody: their members never come
            fields = dict(old or {})
            if old is None or rnd.random() < 0.4:
                fields['customer_id'] = None if rnd.random() < 0.08 else rnd.randint(1, self.plan.customers + 1)
                fields['ordered_at'] = self.some_time(at)
            if old is None or rnd.random() < 0.4:
                number = rnd.randint(1, self.plan.products + 1)
                fields['product_id'] = None if rnd.random() < 0.08 else number
                if self.plan.composite:
                    fields['region'] = None if rnd.random() < 0.05 else 'eu' if number % 2 else 'us'
            fields['amount'] = rnd.randint(1, 99)
            fields['event'] = position
            return fields

        def partial(fields):
            left = dict(fields)
            for names in (('customer_id', 'ordered_at'), ('product_id', 'region'), ('amount',)):
                if rnd.random() < 0.3:
                    for name in names:
                        left.pop(name, None)
            return left
        return self.change('orders', rnd.randint(1, self.plan.orders), position, at, transaction, new,
                           partial if self.plan.partial_facts else dict, 0 if self.plan.append else 0.12)

    def some_time(self, at):
        dice = self.rnd.random()
        if dice < 0.05:
            return None
        if dice < 0.25:
            return self.rnd.choice(self.times) - self.rnd.choice((0, 0, 1))
        if dice < 0.5:
            return at
        return self.rnd.randint(0, at + 3000)


def deliver(plan, log):
    """The events as they arrive: each topic late or not, more than once, and the topics side by side."""
    rnd = plan.rnd
    queues = {topic: arrivals(plan, [e for e in log if e.table == topic]) for topic in plan.delivery}
    weight = {topic: 1 for topic in queues}
    if plan.between == 'facts first':
        weight['orders'] = 12
    elif plan.between == 'dimensions first':
        weight['customers'] = weight['products'] = 12
    result = []
    while any(queues.values()):
        topics = [t for t in queues if queues[t]]
        topic = rnd.choices(topics, [weight[t] * len(queues[t]) for t in topics])[0]
        result.append(queues[topic].pop(0))
    return result


def arrivals(plan, events):
    rnd = plan.rnd
    how = plan.delivery[events[0].table] if events else 'order'
    due = []
    for n, event in enumerate(events):
        late = rnd.randint(1, 12) if how == 'late' and rnd.random() < 0.3 else 0
        if how == 'shuffled':
            late = rnd.random() * 1000
        due.append((n + late, len(due), event))
        if rnd.random() < 0.15:
            due.append((n + late + rnd.choice((0, 0, rnd.randint(1, 10))), len(due), event))
    due.sort(key=lambda d: d[:2])
    return [event for _, _, event in due]
