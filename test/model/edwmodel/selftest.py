"""The generator against the naive consumer: both wrong in the same way is unlikely.

Every rule of the consumer is also broken in turn, to see that the generator finds it: a
history that no broken consumer fails on proves nothing.
"""
import time

from .consumer import Consumer
from .delivery import Delivery
from .profile import Profile
from .source import Source


class NoGuard(Consumer):
    """O1"""
    def change(self, m, partition, target):
        entry = target.entries.get(m.event.key)
        if entry and m.event.op != 't':
            entry.position, target.barrier = (), ()
        return super().change(m, partition, target)


class LsnOnly(Consumer):
    """O2: source.lsn is not monotone in commit order"""
    def position(self, m, partition):
        position = super().position(m, partition)
        if position and m.event.streamed() and self.p.format != 'json':
            return position[:2] + (0,) + position[3:]
        return position


class NoEpoch(Consumer):
    """O4"""
    def position(self, m, partition):
        position = super().position(m, partition)
        return position and (1,) + position[1:]


class NoUnseenSnapshot(Consumer):
    """O4: what follows a snapshot that put no row into a partition is taken for older"""
    def follows_unseen_snapshot(self, m, partition):
        return False


class NoPhase(Consumer):
    """O5: a snapshot's row beats a streamed change by its higher lsn"""
    def position(self, m, partition):
        position = super().position(m, partition)
        return position and (position[0], 0) + position[2:]


class NoTombstones(Consumer):
    """O8"""
    def delete(self, entry):
        super().delete(entry)
        entry.position = ()


class NoPairs(Consumer):
    """O9: a tombstone after its own delete deletes whatever came since"""
    def tombstone(self, m, partition, target):
        partition.last_delete = None
        return super().tombstone(m, partition, target)


class NoLoneTombstones(Consumer):
    """O9"""
    def tombstone(self, m, partition, target):
        return super().tombstone(m, partition, target) if self.p.format == 'json' else ''


class NoReopening(Consumer):
    """O9: what a lone tombstone took can come again"""
    def tombstone(self, m, partition, target):
        result = super().tombstone(m, partition, target)
        if m.event.key in target.entries:
            target.entries[m.event.key].reopened = False
        return result


class NoSurplus(Consumer):
    """P3"""
    def change(self, m, partition, target):
        entry = target.entries.get(m.event.key)
        if entry:
            entry.surplus = 0
        return super().change(m, partition, target)


class NoBarrier(Consumer):
    """P4"""
    def truncate(self, target, position):
        if position <= target.barrier:
            return 'duplicate'
        result = super().truncate(target, position)
        for entry in target.entries.values():
            entry.position = entry.position if entry.row is not None else ()
        target.barrier = ()
        return result


class TruncateAll(Consumer):
    """P4: a truncate sent again takes what was written since"""
    def truncate(self, target, position):
        for entry in target.entries.values():
            entry.row = None
        return 'truncated'


class AbsentIsNull(Consumer):
    """P5, P6"""
    def write(self, target, old, event, into=None):
        entry = into or old
        entry.row = {c: event.after.get(c) for c in target.columns}


BROKEN = (NoGuard, LsnOnly, NoEpoch, NoUnseenSnapshot, NoPhase, NoTombstones, NoPairs,
          NoLoneTombstones, NoReopening, NoSurplus, NoBarrier, TruncateAll, AbsentIsNull)


def differs(profile, source, consumer_class):
    """None, or what the consumer got wrong, and the number of messages."""
    consumer = consumer_class(profile, source.target_columns)
    right = Consumer(profile, source.target_columns)
    count = 0
    for step in Delivery(profile, source.log).steps():
        if step == 'drain':
            for table, target in right.targets.items():
                if consumer.targets[table].rows() != target.rows():
                    return 'table %s' % table, count
            continue
        for message in step:
            right.take(message)
            if consumer_class is not Consumer:
                consumer.take(message)
            else:
                consumer = right
            count += 1
    if consumer.dead:
        return 'an unavailable value without a stored one', count
    for table, rows in source.oracle().items():
        if consumer.targets[table].rows() != rows:
            return 'table %s' % table, count
    return None, count


def self_test(options):
    failed, messages, started = 0, 0, time.monotonic()
    found = {c: [] for c in BROKEN}
    seeds = [options.seed] if options.seed is not None else \
        range(options.first, options.first + options.seeds)
    for seed in seeds:
        profile = Profile.of_seed(seed, options.overrides)
        if profile.on_delete == 'ignore':
            continue
        source = Source(profile).run()
        wrong, count = differs(profile, source, Consumer)
        messages += count
        if wrong:
            failed += 1
            print('not ok seed %d: %s\n  with %s' % (seed, wrong, profile))
        for broken in BROKEN:
            if len(found[broken]) < 3 and differs(profile, source, broken)[0]:
                found[broken].append(seed)
    print('%d seeds, %d failed; %d messages in %.0f s' % (
        len(seeds), failed, messages, time.monotonic() - started))
    for broken, by in found.items():
        print('  %-20s %-70s %s' % (broken.__name__, broken.__doc__,
                                    'seeds %s' % by if by else 'NOT FOUND'))
        failed += not by and len(seeds) >= 200
    return failed
