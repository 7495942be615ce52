"""A naive consumer: the rules of docs/semantics.md in their plainest form.

It takes messages one at a time and keeps rows, positions and tombstones in dictionaries. It
serves twice: against the oracle it proves that the generator makes nothing that the rules
cannot put right, and that the rules suffice; against the extension it tells
what a target must hold at any moment, not only in the end.
"""
from dataclasses import dataclass

from .messages import Writer
from .source import UNAVAILABLE

NOTHING = ()


@dataclass
class Entry:
    """What is known of one key."""
    row: dict = None        # None: there is no such row
    position: tuple = NOTHING
    txid: int = None        # that wrote it last
    surplus: int = 0        # rows of this key that this transaction displaced and that
                            # have not left yet (P3)
    # a lone tombstone deleted what stands at exactly this position: should Kafka bring that
    # very change again, it is applied again (O9)
    reopened: bool = False


class Partition:
    def __init__(self):
        self.epoch = 1
        self.streaming = False
        self.last_delete = None
        self.newest = 0             # source time
        self.committed = False      # a change with a last commit was seen in this epoch


class Target:
    def __init__(self, columns):
        self.columns = columns
        self.entries = {}
        self.barrier = NOTHING

    def rows(self):
        return {k: e.row for k, e in self.entries.items() if e.row is not None}


class Consumer:
    def __init__(self, profile, target_columns):
        self.p = profile
        self.targets = {name: Target([c.name for c in columns])
                        for name, columns in target_columns.items()}
        self.partitions = {}
        self.offsets = {}
        self.dead = 0

    def take(self, m):
        """Returns what became of it, for the trace."""
        where = (m.topic, m.partition)
        m.offset = self.offsets.get(where, 0)
        self.offsets[where] = m.offset + 1
        if m.kind in ('begin', 'end'):
            return 'mark'
        partition = self.partitions.setdefault(where, Partition())
        target = self.targets[m.event.table.name]
        if m.value is None:
            return self.tombstone(m, partition, target)
        partition.last_delete = m.key if m.event.op == 'd' else None
        return self.change(m, partition, target)

    # ------------------------------------------------------------------ order

    def position(self, m, partition):
        """O1, O2, O4, O5. None: Kafka's own order."""
        e = m.event
        if self.p.format == 'json':
            return (1, 1, m.partition, m.offset, 1)
        if e.snapshot == 'incremental':
            return None
        if not e.streamed():
            if partition.streaming:
                self.rise(partition)
            self.see(m, partition)
            return (partition.epoch, 0, 0, e.lsn, 1)
        if self.follows_unseen_snapshot(m, partition):
            self.rise(partition)
        self.see(m, partition)
        partition.streaming = True
        partition.committed |= e.last_commit is not None
        return (partition.epoch, 1, e.last_commit or 0, e.lsn, 0 if e.op == 'd' else 1)

    def follows_unseen_snapshot(self, m, partition):
        """
        The first transaction after a snapshot has no last commit. Where later ones were seen, and it
        is not one of them sent again, the snapshot put no row into this partition.
        """
        return m.event.last_commit is None and partition.committed and \
            Writer.source_ms(m.event) > partition.newest

    def rise(self, partition):
        partition.epoch += 1
        partition.streaming = partition.committed = False

    def see(self, m, partition):
        partition.newest = max(partition.newest, Writer.source_ms(m.event))

    def tombstone(self, m, partition, target):
        paired = partition.last_delete is not None and partition.last_delete == m.key
        partition.last_delete = None
        entry = target.entries.get(m.event.key)
        if self.p.on_delete == 'ignore' or paired or entry is None or entry.row is None:
            return 'unchanged'
        self.delete(entry)
        entry.reopened = True
        if self.p.format == 'json':
            entry.position, entry.reopened = self.position(m, partition), False
        return 'deleted'

    def delete(self, entry):
        entry.row = None

    def change(self, m, partition, target):
        position = self.position(m, partition)
        event = m.event
        if event.op == 't':
            return self.truncate(target, position)
        if event.op == 'd' and self.p.on_delete == 'ignore':
            return 'ignored'
        entry = target.entries.setdefault(event.key, Entry())
        if position is None:
            self.write(target, entry, event)
            return 'as Kafka has it'
        known = max(entry.position, target.barrier)
        if position < known or (position == known and not entry.reopened):
            return 'duplicate' if position == entry.position else 'stale'
        if entry.txid != event.txid:
            entry.surplus = 0
        entry.position, entry.txid, entry.reopened = position, event.txid, False
        if event.op == 'd':
            if entry.surplus > 0 and event.new_key:
                entry.surplus -= 1
                return 'left, another row of the key stays'
            self.delete(entry)
            return 'deleted'
        if event.op == 'c':
            if entry.row is not None and event.old_key:
                entry.surplus += 1
                self.write(target, Entry(), event, entry)
                return 'displaced'
        self.write(target, entry, event)
        return 'written'

    def truncate(self, target, position):
        if position <= target.barrier:
            return 'duplicate'
        target.barrier = position
        for entry in target.entries.values():
            if entry.position < position:
                entry.row, entry.surplus, entry.reopened = None, 0, False
        return 'truncated'

    # ----------------------------------------------------------------- values

    def write(self, target, old, event, into=None):
        """P5, P6: what is absent keeps its value."""
        row = dict(old.row) if old.row else {}
        for column in target.columns:
            if column not in event.after:
                row.setdefault(column, None)
            elif event.after[column] == UNAVAILABLE:
                if column not in row:
                    self.dead += 1
                    return
            else:
                row[column] = event.after[column]
        (into or old).row = row
