"""One seed against the extension."""
import random
from collections import Counter
from json import dumps

from .consumer import Consumer
from .delivery import Delivery
from .messages import topic_of, transaction_topic
from .source import Source

FORMATS = {'debezium': 'debezium-json', 'envelope': 'debezium-json',
           'flattened': 'debezium-json', 'json': 'json'}


class Wrong(Exception):
    """Something is not as it must be. key: the key to trace, with its table."""

    def __init__(self, text, table=None, key=None):
        super().__init__(text)
        self.table, self.key = table, key


def literal(value):
    if value is None:
        return 'NULL'
    return "'" + str(value).replace("'", "''") + "'"


def bytea(text):
    return 'NULL' if text is None else "'\\x%s'" % text.encode().hex()


def as_text(value):
    """A value as PostgreSQL prints it."""
    if value is None:
        return None
    if isinstance(value, bool):
        return 't' if value else 'f'
    return str(value)


class Check:
    def __init__(self, profile, connection):
        self.p = profile
        self.db = connection
        self.source = Source(profile).run()
        self.delivery = Delivery(profile, self.source.log)
        self.model = Consumer(profile, self.source.target_columns)
        self.stream = 'm%d' % profile.seed
        self.delivered = []         # messages, and 'drain'
        self.pushed = Counter()     # topic -> messages

    # ------------------------------------------------------------------ set-up

    def upsert_target(self, table):
        return 'public."%s_%s"' % (self.stream, table)

    def append_target(self, table):
        return 'public."%s_%s_log"' % (self.stream, table)

    def options(self):
        options = ['"batch_rows": %d' % self.p.batch_rows]
        if self.p.transaction_topic:
            options.append('"transaction_topic": "%s", "transaction_timeout": "20s"' %
                           transaction_topic(self.p))
        return '{' + ', '.join(options) + '}'

    def set_up(self):
        tables = self.source.tables
        topics = ', '.join(literal(topic_of(self.p, t)) for t in tables)
        sql = ["SELECT edw_stream.create_stream(%s, NULL, ARRAY[%s], %s, workers => %d, "
               "options => %s)" % (
                   literal(self.stream), topics, literal(FORMATS[self.p.format]),
                   max(1, self.p.workers), literal(self.options()))]
        for t in tables:
            columns = self.source.target_columns[t.name]
            names = ', '.join('%s %s' % (c.name, c.type) for c in columns)
            sql.append('CREATE TABLE %s (%s, PRIMARY KEY (%s))' % (
                self.upsert_target(t.name), names, ', '.join(t.keys)))
            sql.append('SELECT edw_stream.map_table(%s, %s, %s, on_delete => %s, '
                       'on_truncate => %s)' % (
                           literal(self.stream), literal(self.upsert_target(t.name)),
                           literal(topic_of(self.p, t)), literal(self.p.on_delete),
                           literal('apply' if self.p.truncate else 'error')))
            if self.p.append:
                # an unavailable value has nothing to keep in an append target
                names = ', '.join('%s %s' % (c.name, c.type) for c in columns if not c.toast)
                sql.append('CREATE TABLE %s (%s)' % (self.append_target(t.name), names))
                sql.append("SELECT edw_stream.map_table(%s, %s, %s, apply => 'append', "
                           "on_delete => 'ignore', on_truncate => 'ignore')" % (
                               literal(self.stream), literal(self.append_target(t.name)),
                               literal(topic_of(self.p, t))))
        if self.p.workers:
            sql.append('SELECT edw_stream.start(%s)' % literal(self.stream))
        for statement in sql:
            self.db.query(statement)

    def tear_down(self):
        self.db.query('SELECT edw_stream.drop_stream(%s)' % literal(self.stream))
        for t in self.source.tables:
            self.db.query('DROP TABLE IF EXISTS %s, %s' % (
                self.upsert_target(t.name), self.append_target(t.name)))
        self.db.query('DELETE FROM edw_stream.inbox WHERE stream = %s' % literal(self.stream))

    # ----------------------------------------------------------------- running

    def run(self):
        self.set_up()
        for step in self.delivery.steps():
            if step == 'drain':
                self.drain()
            else:
                self.push(step)
        self.compare_with_oracle()
        self.compare_append()
        self.compare_counts()
        self.compare_transactions()

    def push(self, messages):
        for m in messages:
            m.outcome = self.model.take(m)
            self.delivered.append(m)
            self.pushed[m.topic] += 1
        if self.p.workers:
            self.push_each(messages)
        elif messages:
            self.push_all(messages)

    def push_each(self, messages):
        """As a user does, which wakes the workers."""
        statements = ['SELECT edw_stream.push(%s, %s, %s, %s, %s, %d)' % (
            literal(self.stream), literal(m.topic), literal(m.key), literal(m.value),
            literal(dumps(m.headers) if m.headers else None), m.partition) for m in messages]
        while statements:
            n = random.Random(len(statements)).choice((1, 5, 20))
            self.db.query('; '.join(statements[:n]))
            del statements[:n]

    def push_all(self, messages):
        rows, ends = [], {}
        for m in messages:
            ends[m.topic, m.partition] = m.offset + 1
            rows.append('(%s, %s, %d, %d, %s, %s, %s)' % (
                literal(self.stream), literal(m.topic), m.partition, m.offset, bytea(m.key),
                bytea(m.value), literal(dumps(m.headers) if m.headers else None)))
        partitions = ', '.join('(%s, %s, %d, %d)' % (literal(self.stream), literal(t), p, end)
                               for (t, p), end in ends.items())
        self.db.query(
            'INSERT INTO edw_stream.inbox (stream, topic, partition, kafka_offset, key, value, '
            'headers) VALUES %s; INSERT INTO edw_stream.inbox_partition VALUES %s '
            'ON CONFLICT (stream, topic, partition) DO UPDATE SET next_offset = '
            'EXCLUDED.next_offset' % (', '.join(rows), partitions))

    def drain(self):
        self.delivered.append('drain')
        if self.p.workers:
            done = self.db.query("SELECT edw_stream.wait_for(%s, '180s')" % literal(self.stream))
            if done != [('t',)]:
                raise Wrong('the workers do not catch up: %s' % self.db.query(
                    'SELECT * FROM edw_stream.streams WHERE stream = %s' % literal(self.stream)))
        else:
            self.db.query('CALL edw_stream.drain(%s)' % literal(self.stream))
        stalled = self.db.query('SELECT reason, message, hint FROM edw_stream.stream '
                                'WHERE name = %s AND stalled' % literal(self.stream))
        if stalled:
            raise Wrong('the stream stalled: %s' % ' | '.join(map(str, stalled[0])))
        dead = self.db.query(
            'SELECT topic, partition, kafka_offset, stage, reason, sqlstate, message '
            'FROM edw_stream.dead_letter WHERE stream = %s LIMIT 3' % literal(self.stream))
        if dead:
            raise Wrong('dead letters where there is nothing wrong: %s' % (dead,))
        self.compare_offsets()
        if not self.p.transaction_topic:
            # which part of an unfinished transaction is held is not told here
            self.compare_with_model()

    # --------------------------------------------------------------- comparing

    def compare_offsets(self):
        if self.p.transaction_topic:
            return
        stored = {(t, int(p)): int(o) for t, p, o in self.db.query(
            'SELECT topic, partition, next_offset FROM edw_stream.partition_offset '
            'WHERE stream = %s' % literal(self.stream))}
        for where, end in self.model.offsets.items():
            if stored.get(where) != end:
                raise Wrong('after a drain partition %s stands at %s, its end is %s' % (
                    where, stored.get(where), end))

    def stored(self, table):
        columns = self.source.target_columns[table]
        names = ', '.join(c.name for c in columns)
        where = ' WHERE NOT _edw_deleted' if self.p.on_delete == 'soft' else ''
        keys = [i for i, c in enumerate(columns) if c.name in self.keys(table)]
        return {tuple(row[i] for i in keys): row for row in self.db.query(
            'SELECT %s FROM %s%s' % (names, self.upsert_target(table), where))}

    def keys(self, table):
        return next(t.keys for t in self.source.tables if t.name == table)

    def compare(self, table, rows, whose):
        columns = self.source.target_columns[table]
        want = {tuple(as_text(k) for k in key):
                tuple(as_text(row[c.name]) for c in columns) for key, row in rows.items()}
        got = self.stored(table)
        if got == want:
            return
        originals = {tuple(as_text(k) for k in key): key
                     for key in list(rows) + list(self.model.targets[table].entries)}
        for key in list(want) + list(got):
            if got.get(key) != want.get(key):
                raise Wrong('table %s, key %s (columns %s)\n  stored   %s\n  %-8s %s' % (
                    table, key, ', '.join(c.name for c in columns), got.get(key), whose,
                    want.get(key)), table, originals.get(key, key))

    def compare_with_model(self):
        for table, target in self.model.targets.items():
            self.compare(table, target.rows(), 'expected')

    def compare_with_oracle(self):
        if self.p.on_delete == 'ignore':
            return
        for table, rows in self.source.oracle().items():
            self.compare(table, rows, 'source')

    def compare_append(self):
        """K1, O1: every message once, re-delivered ones as often as they came."""
        if not self.p.append:
            return
        for t in self.source.tables:
            columns = [c.name for c in self.source.target_columns[t.name] if not c.toast]
            want = Counter()
            for m in self.delivered:
                if m != 'drain' and m.kind == 'event' and m.event.table is t and \
                        m.event.after is not None:
                    want[tuple(as_text(m.event.after.get(c)) for c in columns)] += 1
            got = Counter(self.db.query('SELECT %s FROM %s' % (', '.join(columns),
                                                               self.append_target(t.name))))
            if got != want:
                raise Wrong('append target of %s\n  not expected %s\n  missing      %s' % (
                    t.name, dict(got - want), dict(want - got)))

    def compare_counts(self):
        """H1: every message has one outcome for every target."""
        for topic, target, count, detail in self.db.query(
                'SELECT m.topic, m.target::regclass, sum(inserted + updated + deleted + '
                'truncated + duplicates + stale + unchanged + folded + filtered + dead), '
                'array_agg(s) FROM edw_stream.mapping m JOIN edw_stream.table_stat s USING '
                '(mapping_id) WHERE m.stream = %s GROUP BY 1, 2' % literal(self.stream)):
            if int(count) != self.pushed[topic]:
                raise Wrong('outcomes of %s add up to %s, not to the %d messages: %s' % (
                    target, count, self.pushed[topic], detail))

    def compare_transactions(self):
        """P7: all of a source transaction was written by one transaction here."""
        incomplete = self.db.query(
            'SELECT batch_id, incomplete_transactions FROM edw_stream.batch WHERE stream = %s '
            'AND incomplete_transactions IS NOT NULL LIMIT 3' % literal(self.stream))
        if incomplete:
            raise Wrong('complete transactions were taken for incomplete: %s' % incomplete)
        if not (self.p.transaction_topic and self.p.append) or self.p.rewinds or \
                self.p.resnapshots or self.p.incremental:
            return
        logs = ' UNION ALL '.join('SELECT tx, xmin::text AS x FROM %s' %
                                  self.append_target(t.name) for t in self.source.tables)
        split = self.db.query('SELECT tx, count(DISTINCT x) FROM (%s) l WHERE tx > %d GROUP BY '
                              'tx HAVING count(DISTINCT x) > 1' % (logs, 700))
        streamed = {e.txid for e in self.source.log if e.op == 'begin'}
        split = [row for row in split if row[0] and int(row[0]) in streamed]
        if split:
            raise Wrong('source transactions split over several commits: %s' % split)
