"""From the log to what stands in the topics, and when it gets there.

What may happen on the way, and nothing else:
- a connector restarts: everything from an earlier change on is sent again, in order. What it
  had sent last may be missing in some partitions (it was under way). A snapshot is
  never sent again from the middle: it is taken anew, which the source makes.
- a topic gets more partitions: a key's later messages go elsewhere.
- partitions are read at different speeds.
- compaction takes a message when a later one of its key stands in the same partition, be it
  before or after somebody read it.
The result is a list of steps: lists of messages to push, with drains between them.
"""
import random
import zlib

from .messages import Writer, transaction_topic


class Delivery:
    def __init__(self, profile, log):
        self.p = profile
        self.log = log
        self.rng = random.Random('delivery %d' % profile.seed)
        self.writer = Writer(profile)
        self.sent = []          # Messages in the order they were sent
        self.restarts = 0

    # ---------------------------------------------------------------- sending

    def send_all(self):
        crashes = self.choose_crashes()
        grow_at = self.rng.randrange(len(self.log)) if self.p.grow and self.log else None
        partitions, generation, i = self.p.partitions, 0, 0
        chunks_sent = set()
        while i < len(self.log):
            if grow_at is not None and i >= grow_at:
                grow_at, generation = None, 1
                partitions += self.rng.choice((1, 2))
            # a chunk that was being read is read anew later, not sent again
            if i not in chunks_sent:
                self.send(self.log[i], partitions, generation)
            if self.log[i].snapshot == 'incremental':
                chunks_sent.add(i)
            i += 1
            if crashes and i == crashes[0]:
                crashes.pop(0)
                i = self.restart(i)

    def send(self, event, partitions, generation):
        for m in self.writer.messages(event):
            m.partition = self.partition(m, partitions)
            m.generation = generation
            m.resent = self.restarts
            self.sent.append(m)

    def choose_crashes(self):
        n = len(self.log)
        return sorted(self.rng.randrange(1, n + 1) for _ in range(self.p.rewinds)) if n else []

    def restart(self, i):
        """The connector dies before sending change i. Returns where it starts again."""
        low = i
        while low > 0 and (self.log[low - 1].streamed() or
                           self.log[low - 1].snapshot == 'incremental'):
            low -= 1            # never into or past a snapshot
        back = max(low, i - self.rng.choice((1, 3, 10, 40, 200)))
        if self.p.transaction_topic:
            while back > low and self.log[back].op != 'begin':
                back -= 1
        # the halves of a key's change are one log record
        while back > low and self.log[back].group and \
                self.log[back].group == self.log[back - 1].group:
            back -= 1
        if back < i:
            self.lose_tail(back)
            self.restarts += 1
        return back

    def lose_tail(self, back):
        """What was under way when the connector died did not reach every partition."""
        doubtful = self.rng.choice((0, 0, 2, 5))
        first = len(self.sent)
        while first > 0 and len(self.sent) - first < doubtful and \
                self.sent[first - 1].resent == self.restarts and \
                self.sent[first - 1].event.streamed() and \
                self.sent[first - 1].event.number >= back:
            first -= 1
        lost, kept = set(), []
        for m in self.sent[first:]:
            where = (m.topic, m.partition)
            if where in lost or self.rng.random() < 0.4:
                lost.add(where)
            else:
                kept.append(m)
        self.sent[first:] = kept

    def partition(self, m, partitions):
        if m.topic == transaction_topic(self.p):
            return 0
        if m.key is None:
            return 0            # a truncate: its topics have one partition (P4)
        return zlib.crc32(m.key.encode()) % partitions

    # ---------------------------------------------------------------- reading

    def steps(self):
        self.send_all()
        if self.p.compact:
            self.compact()
        sent = [m for m in self.sent if not m.gone]
        if self.p.lag:
            parts = [sent]
        else:
            # what an older partition holds is read before the new ones
            parts = [[m for m in sent if m.generation == g] for g in (0, 1)]
        steps = []
        for part in parts:
            steps += self.interleave(part)
            steps.append('drain')
        return steps

    def interleave(self, messages):
        """Push in stretches with drains between; with lag, each partition at its own pace."""
        order = messages
        if self.p.lag and not self.p.transaction_topic:
            order = self.lagging(messages)
        steps, i = [], 0
        size = max(1, len(order) // self.p.pushes)
        while i < len(order):
            n = self.rng.randrange(1, 2 * size + 1)
            steps += [order[i:i + n], 'drain']
            i += n
        return steps

    def lagging(self, messages):
        queues = {}
        for m in messages:
            queues.setdefault((m.topic, m.partition), []).append(m)
        names = sorted(queues)
        pace = {n: self.rng.choice((0.05, 0.3, 1, 5)) for n in names}
        order = []
        while names:
            name = self.rng.choices(names, [pace[n] for n in names])[0]
            n = self.rng.randrange(1, 8)
            order += queues[name][:n]
            del queues[name][:n]
            if not queues[name]:
                names.remove(name)
        return order

    # ------------------------------------------------------------- compaction

    def compact(self):
        """Up to some message of each partition only the last of each key is left."""
        queues = {}
        for m in self.sent:
            queues.setdefault((m.topic, m.partition), []).append(m)
        for name in sorted(queues):
            queue = queues[name]
            clean = queue[:self.rng.randrange(len(queue) + 1)]
            # the cleaner may have come before or behind the reader
            read = self.rng.randrange(len(clean) + 1)
            last = {m.key: i for i, m in enumerate(clean)}
            for i, m in enumerate(clean):
                if i >= read and m.key is not None and last[m.key] != i:
                    m.gone = True
