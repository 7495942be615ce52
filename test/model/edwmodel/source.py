"""A PostgreSQL source database, simulated: tables, transactions, and the log of its changes.

Transactions are made in commit order. Their changes get log positions as a server with
concurrent sessions gives them: a change may stand before the commit of an earlier transaction
in the log unless both touch one row. The rows at the end are the oracle.
"""
import random
from dataclasses import dataclass, field

UNAVAILABLE = '__debezium_unavailable_value'
TEXTS = ('', 'plain', 'q"uote', "apo'strophe", 'back\\slash', 'tab\tnew\nline', 'é😀', 'null',
         '{"a": 1}', '\u2028', 'x' * 40)


@dataclass
class Column:
    name: str
    type: str               # bigint | text | boolean
    toast: bool = False
    dropped: bool = False


@dataclass
class Event:
    """One change in commit order, as a connector sees it."""
    table: object
    op: str                 # r c u d t, begin end
    key: tuple = None
    after: dict = None      # what the event holds of the new row
    before: dict = None     # what it holds of the old one: the key
    row: dict = None        # the whole row as it then was
    lsn: int = None
    last_commit: int = None
    txid: int = None
    order: int = 0
    table_order: int = 0
    group: int = 0          # changes that come from one log record
    new_key: tuple = None   # d of a key's change
    old_key: tuple = None   # c of a key's change
    snapshot: str = 'false'
    counts: dict = None     # of an end
    epoch: int = 1
    number: int = 0         # place in the log

    def streamed(self):
        return self.snapshot == 'false'

    def describe(self):
        extra = ''
        if self.new_key:
            extra = ' moves to %r' % (self.new_key,)
        if self.old_key:
            extra = ' moved from %r' % (self.old_key,)
        return '%s %s%s tx %s [%s, %s]%s%s' % (
            self.op, self.key, extra, self.txid, self.last_commit, self.lsn,
            '' if self.streamed() else ' snapshot ' + self.snapshot,
            '' if self.after is None else ' %r' % self.after)


@dataclass
class Row:
    values: dict            # of every column the table ever had, as a target has them
    long: set = field(default_factory=set)  # columns whose value is stored out of line


class Table:
    def __init__(self, number, profile, rng):
        self.name = 't%d' % number
        self.keys = ['id'] if not profile.composite else ['ka', 'kb']
        self.columns = [Column('id', 'bigint')] if not profile.composite else \
            [Column('ka', 'bigint'), Column('kb', 'text')]
        self.columns += [Column('v', 'text'), Column('n', 'bigint'), Column('b', 'boolean'),
                         Column('tx', 'bigint')]
        if profile.toast:
            self.columns.append(Column('big', 'text', toast=True))
        if profile.drop_column:
            self.columns.append(Column('gone', 'text'))
        self.later = Column('late', 'text') if profile.add_column else None
        self.rows = []      # in physical order
        self.rng = rng
        self.shiftable = profile.shifts or profile.duplicate_inserts

    def all_columns(self):
        return self.columns + ([self.later] if self.later else [])

    def key_of(self, row):
        return tuple(row.values[k] for k in self.keys)

    def taken(self):
        return {self.key_of(r) for r in self.rows}


class Source:
    def __init__(self, profile):
        self.p = profile
        self.rng = random.Random('source %d' % profile.seed)
        self.tables = [Table(i, profile, self.rng) for i in range(profile.tables)]
        self.log = []               # Events, in the order a connector sends them
        self.target_columns = {t.name: list(t.all_columns()) for t in self.tables}
        self.lsn = 26866992 + 8 * self.rng.randrange(1000)
        self.txid = 700
        self.ends = []              # commit lsns
        self.touched = {}           # (table, key) -> commit lsn that touched it last
        self.last_commit = None     # what source.sequence tells as such
        self.epoch = 1
        self.snapshot_lsn = 0
        self.serial = 0

    # ---------------------------------------------------------------- values

    def value(self, column):
        self.serial += 1
        if column.name == 'tx':
            return self.txid
        if self.rng.random() < 0.15:
            return None
        if column.type == 'bigint':
            return self.rng.choice((0, -1, self.serial, 2**53 + 1, -2**63, 2**63 - 1))
        if column.type == 'boolean':
            return self.rng.random() < 0.5
        if column.toast:
            return ('long %d ' % self.serial) * (300 if self.rng.random() < 0.05 else 1)
        if self.rng.random() < 0.3:
            return self.rng.choice(TEXTS)
        return '%s %d' % (column.name, self.serial)

    def new_key(self, table):
        keys = [self.key(i) for i in range(self.p.keys)]
        taken = table.taken()
        free = [k for k in keys if k not in taken]
        return self.rng.choice(free) if free else None

    def key(self, i):
        return (i,) if not self.p.composite else (i // 2, 'kb"%d' % (i % 2))

    def new_row(self, table, key):
        row = Row(dict(zip(table.keys, key)))
        for c in table.all_columns():
            if c.name not in table.keys:
                row.values[c.name] = None
        for c in table.columns:
            if c.name not in table.keys and not c.dropped:
                row.values[c.name] = self.value(c)
        self.mark_long(table, row, [c.name for c in table.columns])
        return row

    def mark_long(self, table, row, names):
        for c in table.columns:
            if c.toast and c.name in names:
                if row.values[c.name] is None:
                    row.long.discard(c.name)
                else:
                    row.long.add(c.name)

    def image(self, table, row, unchanged=()):
        return {c.name: UNAVAILABLE if c.name in unchanged else row.values[c.name]
                for c in table.columns if not c.dropped}

    # ------------------------------------------------------------ statements

    def emit(self, events, table, op, key, group, **more):
        row = more.pop('row', None)
        events.append(Event(table, op, key, group=group,
                            row=dict(row.values) if row else None, **more))

    def group(self):
        self.serial += 1
        return self.serial

    def do_insert(self, table, events):
        group = None
        for _ in range(self.rng.choice((1, 1, 1, 3))):
            key = self.new_key(table)
            if key is None or not self.may_insert(table, key, events):
                return
            # several rows of one INSERT may share a log record
            group = group if group and self.rng.random() < 0.5 else self.group()
            row = self.new_row(table, key)
            table.rows.append(row)
            self.emit(events, table, 'c', key, group, after=self.image(table, row), row=row)

    def may_insert(self, table, key, events):
        return True

    def do_update(self, table, events):
        if not table.rows:
            return
        row = self.rng.choice(table.rows)
        names = [c for c in table.columns if c.name not in table.keys and not c.dropped]
        changed = self.rng.sample(names, self.rng.randrange(1, len(names) + 1))
        for c in changed:
            row.values[c.name] = self.value(c)
        row.values['tx'] = self.txid
        changed = {c.name for c in changed}
        unchanged = {n for n in row.long if n not in changed}
        self.mark_long(table, row, changed)
        self.emit(events, table, 'u', table.key_of(row), self.group(),
                  after=self.image(table, row, unchanged), row=row)

    def do_delete(self, table, events):
        if not table.rows:
            return
        row = self.rng.choice(table.rows)
        key = table.key_of(row)
        if self.made_here(table, key, events):
            return
        table.rows.remove(row)
        self.emit(events, table, 'd', key, self.group(), before=self.key_image(table, key))

    def made_here(self, table, key, events):
        """
        Did this transaction make the row, where whether there was one of its key before cannot
        be known: because the older partition is unread, or the delete was compacted away?
        """
        if not (self.p.compact or self.p.grow and self.p.lag):
            return False
        return any(e.table is table and e.key == key and e.op == 'c' for e in events)

    def key_image(self, table, key):
        image = {c.name: None for c in table.columns if not c.dropped}
        image.update(zip(table.keys, key))
        return image

    def move(self, table, row, key, events):
        """UPDATE of a row's key: d and c of one log record."""
        old, group = table.key_of(row), self.group()
        row.values.update(zip(table.keys, key))
        row.values['tx'] = self.txid
        for c in table.columns:
            if c.dropped:
                row.values[c.name] = None   # for a target the row of that key is new
            elif c.toast or c.name == 'n':
                row.values[c.name] = self.value(c)
        self.mark_long(table, row, [c.name for c in table.columns])
        self.emit(events, table, 'd', old, group, before=self.key_image(table, old),
                  new_key=key)
        self.emit(events, table, 'c', key, group, after=self.image(table, row),
                  old_key=old, row=row)

    def do_move(self, table, events):
        key = self.new_key(table)
        if not table.rows or key is None:
            return
        row = self.rng.choice(table.rows)
        if self.made_here(table, table.key_of(row), events):
            return
        self.move(table, row, key, events)

    def do_shift(self, table, events):
        """UPDATE … SET id = id + 1, under a deferred constraint, in any physical order."""
        rows = list(table.rows)
        order = self.rng.choice(('up', 'down', 'any'))
        rows.sort(key=table.key_of, reverse=order == 'down')
        if order == 'any':
            self.rng.shuffle(rows)
        if self.rng.random() < 0.5:
            rows = rows[:self.rng.randrange(1, len(rows) + 1)] if rows else rows
        first = {table.key_of(r) for r in rows}
        rest = {table.key_of(r) for r in table.rows} - first
        moved = {}
        for r in rows:
            key = table.key_of(r)
            moved[key] = (key[0] + 1,) + key[1:]
        if rest & set(moved.values()):
            return          # would violate the constraint
        for r in rows:
            self.move(table, r, moved[table.key_of(r)], events)

    def do_permute(self, table, events):
        """Swap or rotate the keys of some rows."""
        if len(table.rows) < 2:
            return
        rows = self.rng.sample(table.rows, self.rng.randrange(2, min(5, len(table.rows)) + 1))
        keys = [table.key_of(r) for r in rows]
        keys = keys[1:] + keys[:1]
        for row, key in zip(rows, keys):
            self.move(table, row, key, events)

    def do_replace(self, table, events):
        """Insert a second row of a key, then delete the first, in one transaction."""
        if not table.rows:
            return
        old = self.rng.choice(table.rows)
        key = table.key_of(old)
        row = self.new_row(table, key)
        table.rows.append(row)
        self.emit(events, table, 'c', key, self.group(), after=self.image(table, row), row=row)
        table.rows.remove(old)
        self.emit(events, table, 'd', key, self.group(), before=self.key_image(table, key))

    def do_truncate(self, table, events):
        group = self.group()
        for t in self.rng.choice(([table], self.tables)):
            t.rows.clear()
            self.emit(events, t, 't', None, group)

    def do_reinsert(self, table, events):
        if not table.rows:
            return
        row = self.rng.choice(table.rows)
        key = table.key_of(row)
        if self.made_here(table, key, events):
            return
        table.rows.remove(row)
        self.emit(events, table, 'd', key, self.group(), before=self.key_image(table, key))
        row = self.new_row(table, key)
        table.rows.append(row)
        self.emit(events, table, 'c', key, self.group(), after=self.image(table, row), row=row)

    # ---------------------------------------------------------- transactions

    def statements(self, seen):
        choices = [(self.do_insert, 6), (self.do_update, 8), (self.do_reinsert, 1)]
        if seen:
            # what leaves while no connector looks is never told to anyone: a new
            # snapshot shows what is, not what is gone
            choices += [(self.do_delete, 3), (self.do_move, 2)]
            if self.p.shifts:
                choices += [(self.do_shift, 2), (self.do_permute, 2)]
            if self.p.duplicate_inserts:
                choices += [(self.do_replace, 2)]
            if self.p.truncate:
                choices += [(self.do_truncate, 1)]
        return choices

    def transaction(self, seen=True):
        self.txid += 1
        saved = [[Row(dict(r.values), set(r.long)) for r in t.rows] for t in self.tables]
        events = []
        choices = self.statements(seen)
        for _ in range(self.rng.choice((1, 1, 2, 3, 5, 12))):
            f = self.rng.choices([c[0] for c in choices], [c[1] for c in choices])[0]
            f(self.rng.choice(self.tables), events)
        if self.rng.random() < 0.1:
            for t, rows in zip(self.tables, saved):
                t.rows = rows
            self.lsn += 8 * self.rng.randrange(1, 200)
            return
        self.commit(events, seen)

    def commit(self, events, seen):
        groups = []
        for e in events:
            if e.group not in groups:
                groups.append(e.group)
        self.lsn += 8 * (len(groups) * self.rng.randrange(2, 10) + self.rng.randrange(4, 60))
        end = self.lsn
        low = self.lowest_lsn(events)
        lsns = sorted(self.rng.sample(range(low, end, 8), len(groups)))
        if self.ends and lsns and low == self.ends[-1] and self.rng.random() < 0.3:
            lsns[0] = low       # the first record starts where the last commit ended
        lsn_of = dict(zip(groups, lsns))
        for e in events:
            e.lsn = lsn_of[e.group]
            self.touched[e.table.name, e.key] = end     # key None: the whole table
        if seen:
            self.publish(events, end)
        self.ends.append(end)
        if seen:
            self.last_commit = end

    def lowest_lsn(self, events):
        """A change stands after the commit that touched its row last."""
        low = self.ends[-1] if self.ends else self.snapshot_lsn
        if self.rng.random() < 0.5:
            earlier = self.ends[-4] if len(self.ends) > 3 else 0
            # the first transactions may have begun before the snapshot, which did not
            # see them and yet bears a higher lsn
            low = earlier or self.snapshot_lsn - 400
            seen = set()
            for e in events:
                low = max(low, self.touched.get((e.table.name, None), 0))
                if e.op == 't':
                    low = max([low] + self.ends[-1:])
                # With a deferred constraint a new row of a key need not wait for the
                # transaction that takes the old one away: in the log it may stand
                # before that, although it commits after it (O2).
                elif (e.op != 'c' or not e.table.shiftable) and \
                        (e.table.name, e.key) not in seen:
                    low = max(low, self.touched.get((e.table.name, e.key), 0))
                seen.add((e.table.name, e.key))
        return (low + 7) // 8 * 8

    def publish(self, events, end):
        counts = {}
        if events and self.p.transaction_topic:
            self.log.append(Event(None, 'begin', lsn=events[0].lsn, txid=self.txid,
                                  epoch=self.epoch))
        for order, e in enumerate(events, 1):
            counts[e.table.name] = counts.get(e.table.name, 0) + 1
            e.txid, e.order, e.table_order = self.txid, order, counts[e.table.name]
            e.last_commit, e.epoch = self.last_commit, self.epoch
            self.log.append(e)
        if events and self.p.transaction_topic:
            self.log.append(Event(None, 'end', lsn=end, txid=self.txid, counts=counts,
                                  epoch=self.epoch))

    # ------------------------------------------------------------- snapshots

    def snapshot(self, partial=False):
        self.lsn += 8 * self.rng.randrange(1, 50)
        self.snapshot_lsn = self.lsn
        self.last_commit = None     # the first transaction after a snapshot has none
        self.ends = []
        for t in self.tables:
            rows = sorted(t.rows, key=t.key_of)
            if partial:
                rows = rows[:self.rng.randrange(len(rows) + 1)]
            for i, row in enumerate(rows):
                kind = 'first_in_data_collection' if i == 0 else \
                    'last_in_data_collection' if i == len(rows) - 1 else 'true'
                self.log.append(Event(t, 'r', t.key_of(row), after=self.image(t, row),
                                      row=dict(row.values), lsn=self.lsn, txid=self.txid,
                                      snapshot=kind, epoch=self.epoch))

    def resnapshot(self):
        """The slot was lost: changes nobody told of, then a new snapshot."""
        for _ in range(self.rng.randrange(4)):
            self.transaction(seen=False)
        self.epoch += 1
        if self.rng.random() < 0.3:
            self.snapshot(partial=True)     # the first attempt broke off
            self.transaction(seen=False)
        self.snapshot()

    def incremental_snapshot(self):
        """A chunk: rows as they are at this point of the log, without a position."""
        table = self.rng.choice(self.tables)
        for row in table.rows[:self.rng.randrange(1, 6)]:
            self.log.append(Event(table, 'r', table.key_of(row), after=self.image(table, row),
                                  row=dict(row.values), snapshot='incremental', txid=self.txid,
                                  last_commit=self.rng.choice((None, self.last_commit)),
                                  epoch=self.epoch))

    # ------------------------------------------------------------------- all

    def run(self):
        n = self.p.transactions
        for t in self.tables:
            for _ in range(self.rng.randrange(self.p.keys)):
                key = self.new_key(t)
                if key is not None:
                    t.rows.append(self.new_row(t, key))
        if self.rng.random() < 0.2 and self.p.format != 'json':
            self.snapshot(partial=True)
            self.transaction(seen=False)
        self.snapshot()
        at = {}
        if self.p.add_column:
            at.setdefault(self.rng.randrange(n), []).append(self.add_column)
        if self.p.drop_column:
            at.setdefault(self.rng.randrange(n), []).append(self.drop_column)
        for _ in range(self.p.resnapshots):
            at.setdefault(self.rng.randrange(n), []).append(self.resnapshot)
        for i in range(n):
            for f in at.get(i, []):
                f()
            self.transaction()
            if self.p.incremental and self.rng.random() < 0.2:
                self.incremental_snapshot()
        for number, event in enumerate(self.log):
            event.number = number
        return self

    def add_column(self):
        for t in self.tables:
            t.columns.append(t.later)
            t.later = None

    def drop_column(self):
        for t in self.tables:
            for c in t.columns:
                c.dropped = c.dropped or c.name == 'gone'

    def oracle(self):
        """What each target must hold in the end: table name -> key -> values."""
        return {t.name: {t.key_of(r): r.values for r in t.rows} for t in self.tables}
