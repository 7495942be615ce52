"""What a seed tests, and which choices exclude each other."""
import random

POLICIES = ('null', 'unknown', 'infer', 'quarantine', 'wait')
TOPICS = ('customers', 'products', 'orders')


class Plan:
    def __init__(self, seed, overrides=()):
        rnd = self.rnd = random.Random(seed)
        self.seed = seed
        self.customers = rnd.randint(1, 4)
        self.products = rnd.randint(1, 3)
        self.orders = rnd.randint(1, 8)
        self.events = rnd.randint(5, 70)
        self.scd2 = rnd.random() < 0.75         # customers; products are SCD1 always
        self.policy = {'customer': rnd.choice(POLICIES), 'product': rnd.choice(POLICIES)}
        if rnd.random() < 0.4:
            self.policy['product'] = self.policy['customer']
        self.as_of = rnd.random() < 0.7         # given; else the time at the source
        self.repoint = rnd.random() < 0.6
        self.append = rnd.random() < 0.2
        self.composite = rnd.random() < 0.4     # the products' natural key
        self.uuid = rnd.random() < 0.2
        self.typed = rnd.random() < 0.5         # source_types are given
        self.delivery = {t: rnd.choice(('order', 'late', 'shuffled')) for t in TOPICS}
        self.between = rnd.choice(('mixed', 'mixed', 'facts first', 'dimensions first'))
        self.clock_errs = rnd.random() < 0.2
        self.same_times = rnd.choice((0.0, 0.1, 0.3))
        self.partial_dimensions = rnd.random() < 0.4
        self.partial_facts = rnd.random() < 0.4
        self.open_null = rnd.random() < 0.3
        self.current = rnd.random() < 0.7
        self.on_delete = {t: rnd.choice(('ignore', 'soft')) for t in ('customers', 'products')}
        self.batch_rows = rnd.choice((1, 3, 1000, 1000))
        self.drain = rnd.choice((1, 4, 12))     # most messages between two drains
        self.rewinds = rnd.choice((0.0, 0.0, 0.0, 0.05))    # seek() reads a topic again
        self.twin = rnd.random() < 0.2          # the orders go to a second table, too
        for name, value in overrides:
            setattr(self, name, value if isinstance(getattr(self, name), str) else eval(value))
        self.settle()

    def settle(self):
        if not self.scd2:
            self.as_of = self.repoint = False
        # an event that does not name the customer moves the stored time at the source all the same
        if self.repoint and not self.as_of:
            self.partial_facts = False
        # What becomes of a fact whose member is missing depends on what is in its batch
        # then: a drain is to be one batch.
        if {'null', 'unknown', 'quarantine'} & set(self.policy.values()):
            self.batch_rows = 1000
        # a value that is left out while the event that had it comes late is lost
        if self.append or self.delivery['orders'] != 'order':
            self.partial_facts = False
        if self.append:
            self.rewinds, self.twin = 0.0, False
        if self.partial_facts:
            self.batch_rows = 1000
        # whether a fact that lacks both waits or is dead nobody has said
        if set(self.policy.values()) == {'wait', 'quarantine'}:
            self.policy['product'] = self.policy['customer']
        # the uuid of an unknown member would have to be chosen
        if self.policy['customer'] == 'unknown':
            self.uuid = False
        # a delete that comes before its insert leaves no row, unless both are in one batch
        for topic in self.on_delete:
            if self.delivery[topic] != 'order':
                self.on_delete[topic] = 'ignore'

    @property
    def one_batch(self):
        """Is a drain one batch?"""
        return self.batch_rows == 1000

    def __repr__(self):
        return str({k: v for k, v in vars(self).items() if k != 'rnd'})
