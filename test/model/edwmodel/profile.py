"""What a seed tests: every choice that shapes a history, its delivery and the stream.

A profile follows from the seed alone, so that a seed reproduces. Any choice can be set
by hand (run --set name=value), which is how a failing seed is narrowed down.
Choices that cannot occur together in a real system, or whose outcome a real system leaves
open, exclude each other here, with the reason beside it.
"""
import random
from dataclasses import dataclass, fields


@dataclass
class Profile:
    seed: int
    # the source
    tables: int = 1
    transactions: int = 20
    keys: int = 8                   # distinct small keys: collisions are the point
    composite: bool = False         # a key of two columns
    shifts: bool = True             # deferred constraints: id = id + 1, permutations (P3)
    # Deferred constraints: insert the new row of a key, delete the old one. Never chosen: the
    # events do not tell which of the two goes, nor whether there was an old one, and
    # edw_stream takes the delete for the later's.
    duplicate_inserts: bool = False
    toast: bool = False             # P5
    truncate: bool = False          # P4
    resnapshots: int = 0            # O4
    incremental: bool = False       # O5
    add_column: bool = False        # P6
    drop_column: bool = False
    # the messages
    format: str = 'debezium'        # debezium | envelope | flattened | json
    lone_tombstones: bool = False   # flattened, deletes told by null values alone (O9)
    transaction_topic: bool = False  # P7
    # the delivery
    partitions: int = 1
    grow: bool = False              # O7: more partitions in the middle
    lag: bool = False               # partitions are read at different speeds
    rewinds: int = 0                # restarts of the connector
    compact: bool = False           # O9: deletes lost to compaction, their tombstones kept
    # the stream
    batch_rows: int = 7
    workers: int = 0                # 1: a background worker; 0: drained by the session
    pushes: int = 6                 # about how many times pushing is interrupted by a drain
    on_delete: str = 'delete'
    append: bool = True             # a second, append target on every topic

    @classmethod
    def of_seed(cls, seed, overrides=()):
        rng = random.Random('profile %d' % seed)
        p = cls(seed)
        p._choose_source(rng)
        p._choose_delivery(rng)
        for name, value in overrides:
            p.override(name, value)
        p._exclude()
        return p

    def _choose_source(self, rng):
        self.tables = rng.choice((1, 1, 2, 3))
        self.transactions = rng.choice((3, 10, 20, 40, 60))
        self.keys = rng.choice((2, 4, 8, 16))
        self.composite = rng.random() < 0.25
        self.shifts = rng.random() < 0.5
        self.toast = rng.random() < 0.4
        self.truncate = rng.random() < 0.25
        self.resnapshots = rng.choice((0, 0, 0, 1, 2))
        self.incremental = rng.random() < 0.25
        self.add_column = rng.random() < 0.3
        self.drop_column = rng.random() < 0.3
        self.format = rng.choice(('debezium', 'debezium', 'debezium', 'envelope',
                                  'flattened', 'json'))
        self.lone_tombstones = rng.random() < 0.4
        self.transaction_topic = rng.random() < 0.15

    def _choose_delivery(self, rng):
        self.partitions = rng.choice((1, 1, 2, 3))
        self.grow = rng.random() < 0.35
        self.lag = rng.random() < 0.4
        self.rewinds = rng.choice((0, 1, 2, 4))
        self.compact = rng.random() < 0.2
        self.batch_rows = rng.choice((1, 2, 3, 5, 10, 50, 1000))
        self.pushes = rng.choice((1, 3, 6, 12))
        self.workers = rng.choice((0,) * 12 + (1,))
        self.on_delete = rng.choice(('delete',) * 5 + ('soft', 'ignore'))

    def override(self, name, value):
        kinds = {f.name: f.type for f in fields(self)}
        if name not in kinds:
            raise SystemExit('model: no such choice: %s (there are: %s)'
                             % (name, ', '.join(sorted(kinds))))
        if kinds[name] in (bool, 'bool'):
            value = value in ('1', 'true', 'on', 'yes')
        elif kinds[name] in (int, 'int'):
            value = int(value)
        setattr(self, name, value)

    def _exclude(self):
        if self.format == 'json':
            # plain records have no position and no delete but the null value: only
            # what Kafka's own order decides can be right
            self.grow = self.lag = self.shifts = self.duplicate_inserts = False
            self.toast = self.truncate = self.incremental = self.transaction_topic = False
            self.rewinds = self.resnapshots = 0
            self.compact = False
        if self.format == 'flattened':
            # no truncate, no marks of a key's change, no transaction block
            self.truncate = self.transaction_topic = self.incremental = False
            self.shifts = self.duplicate_inserts = False
        else:
            self.lone_tombstones = False
        if self.truncate:
            # P4: in order on single-partition topics only
            self.partitions, self.grow = 1, False
        if self.resnapshots:
            # a key that changes partition around a new snapshot: the epoch is
            # told per partition
            self.grow = False
        if self.lone_tombstones:
            # such a delete is in order within its partition only, and a change that is
            # sent again after it finds no stored value to keep
            self.toast = False
            self.lag = self.lag and not self.grow
        if self.grow and self.lag:
            # A key stands in two partitions that are read in any order. What an event
            # leaves out is then lost with the older event that comes late (P5, P6), and
            # so is an order that only Kafka's offsets tell.
            self.toast = self.incremental = self.drop_column = False
            self.shifts = self.duplicate_inserts = False
        if self.compact:
            # compaction drops the values that later events leave out, and cannot
            # tell the two rows of one key within a transaction. A lone tombstone is in
            # order within its partition only.
            self.lag = self.lag and not self.grow
            self.toast = self.shifts = self.duplicate_inserts = False
            self.drop_column = self.transaction_topic = False
            self.append = False
        if self.shifts or self.duplicate_inserts or self.resnapshots:
            # what a dropped column of a moved or unseen row holds is nobody's business
            self.drop_column = False
        if self.transaction_topic:
            # an unfinished transaction stays in the older partitions, beyond any drain
            self.grow = False
        if self.on_delete == 'ignore':
            # the target then keeps what the source has forgotten: nothing to
            # compare with once keys are used again in ways of their own
            self.shifts = self.duplicate_inserts = self.truncate = False
            self.resnapshots, self.incremental, self.drop_column = 0, False, False
            self.compact = False
        if self.on_delete == 'soft':
            self.drop_column = False

        if self.transaction_topic:
            self.workers = 0

    def __str__(self):
        default = Profile(self.seed)
        return ' '.join('%s=%s' % (f.name, getattr(self, f.name)) for f in fields(self)
                        if getattr(self, f.name) != getattr(default, f.name))
