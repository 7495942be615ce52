"""Events as the messages that Debezium 3.5's PostgreSQL connector sends.

Shapes as in test/samples. One event becomes one message, a delete two (its tombstone), and
with the transaction topic there are BEGIN and END besides.
"""
import json
from dataclasses import dataclass

PREFIX = 'model'
START_MS = 1795351118540
TYPES = {'bigint': 'int64', 'text': 'string', 'boolean': 'boolean'}


@dataclass
class Message:
    topic: str
    key: str            # None: null
    value: str
    headers: list
    event: object
    kind: str           # event | tombstone | begin | end
    partition: int = 0
    offset: int = None
    resent: int = 0     # by which restart of the connector
    generation: int = 0  # 1: sent when the topic had more partitions
    gone: bool = False  # taken by compaction before anybody read it


def topic_of(profile, table):
    return 'm%d.%s' % (profile.seed, table.name)


def transaction_topic(profile):
    return 'm%d.transaction' % profile.seed


def dumps(value):
    return json.dumps(value, separators=(',', ':'), ensure_ascii=False)


def lsn_text(lsn):
    return None if lsn is None else str(lsn)


class Writer:
    def __init__(self, profile):
        self.p = profile
        self.serial = 0

    def messages(self, event):
        if event.op in ('begin', 'end'):
            return [self.mark(event)]
        if self.p.format == 'json':
            return self.plain(event)
        if self.p.format == 'flattened':
            return self.flattened(event)
        topic, key = topic_of(self.p, event.table), self.key(event)
        out = [Message(topic, key, self.envelope(event), self.headers(event), event, 'event')]
        if event.op == 'd':
            out.append(Message(topic, key, None, self.headers(event), event, 'tombstone'))
        return out

    # ------------------------------------------------------------------ parts

    def key_object(self, event, key):
        return dict(zip(event.table.keys, key))

    def key(self, event, key=None):
        key = key or event.key
        if key is None:
            return None
        payload = self.key_object(event, key)
        if self.p.format == 'envelope':
            return dumps({'schema': self.row_schema(event, payload, 'Key', False),
                          'payload': payload})
        return dumps(payload)

    def headers(self, event):
        headers = []
        if event.new_key:
            headers.append(['__debezium.newkey', self.key(event, event.new_key)])
        if event.old_key:
            headers.append(['__debezium.oldkey', self.key(event, event.old_key)])
        if not event.streamed():
            return headers
        return headers + [['__debezium.context.connectorName', 'postgresql'],
                          ['__debezium.context.taskId', '0']]

    def source(self, event):
        self.serial += 1
        ms = self.source_ms(event)
        incremental = event.snapshot == 'incremental'
        return {'version': '3.5.0.Final', 'connector': 'postgresql', 'name': PREFIX,
                'ts_ms': ms, 'snapshot': event.snapshot, 'db': 'src',
                'sequence': dumps([lsn_text(event.last_commit), lsn_text(event.lsn)]),
                'ts_us': ms * 1000, 'ts_ns': ms * 1000000,
                'schema': 'public', 'table': event.table.name,
                'txId': None if incremental else event.txid, 'lsn': event.lsn,
                'xmin': None, 'origin': None, 'origin_lsn': None}

    @staticmethod
    def source_ms(event):
        """When its transaction committed, or its snapshot began: the same each time it is sent."""
        if event.snapshot not in ('false', 'incremental'):
            return START_MS + event.txid * 10 + 5       # after what was committed before
        return START_MS + event.txid * 10

    def transaction(self, event):
        if not self.p.transaction_topic or not event.streamed():
            return None
        return {'id': '%d:%d' % (event.txid, event.lsn), 'total_order': event.order,
                'data_collection_order': event.table_order}

    # ------------------------------------------------------------------ forms

    def envelope(self, event):
        payload = {'before': event.before, 'after': event.after,
                   'source': self.source(event), 'transaction': self.transaction(event),
                   'op': event.op, 'ts_ms': START_MS + 100000 + self.serial,
                   'ts_us': (START_MS + 100000 + self.serial) * 1000,
                   'ts_ns': (START_MS + 100000 + self.serial) * 1000000}
        if self.p.format != 'envelope':
            return dumps(payload)
        return dumps({'schema': self.schema(event), 'payload': payload})

    def flattened(self, event):
        """
        ExtractNewRecordState with delete.tombstone.handling.mode=rewrite-with-tombstone, or
        =tombstone.
        """
        topic, key = topic_of(self.p, event.table), self.key(event)
        if event.op == 'd' and self.p.lone_tombstones:
            return [Message(topic, key, None, self.headers(event), event, 'event')]
        row = dict(event.before if event.op == 'd' else event.after)
        row['__deleted'] = 'true' if event.op == 'd' else 'false'
        source = self.source(event)
        row.update({'__op': event.op, '__lsn': event.lsn, '__source_ts_ms': source['ts_ms'],
                    '__source_sequence': source['sequence'],
                    '__source_snapshot': event.snapshot, '__source_txId': source['txId']})
        out = [Message(topic, key, dumps(row), self.headers(event), event, 'event')]
        if event.op == 'd':
            out.append(Message(topic, key, None, self.headers(event), event, 'tombstone'))
        return out

    def plain(self, event):
        topic, key = topic_of(self.p, event.table), self.key(event)
        value = None if event.op == 'd' else dumps(event.after)
        return [Message(topic, key, value, [], event, 'event')]

    def mark(self, event):
        ms = START_MS + event.txid * 10
        value = {'status': event.op.upper(), 'id': '%d:%d' % (event.txid, event.lsn),
                 'event_count': None, 'data_collections': None, 'ts_ms': ms}
        if event.op == 'end':
            value['event_count'] = sum(event.counts.values())
            value['data_collections'] = [
                {'data_collection': 'public.' + name, 'event_count': n}
                for name, n in event.counts.items()]
        return Message(transaction_topic(self.p), dumps({'id': value['id']}), dumps(value), [],
                       event, event.op)

    # ---------------------------------------------------------------- schemas

    def row_schema(self, event, names, what, optional, field=None):
        types = {c.name: c.type for c in event.table.columns}
        schema = {'type': 'struct',
                  'fields': [{'type': TYPES[types[n]], 'optional': n not in event.table.keys,
                              'field': n} for n in names],
                  'optional': optional,
                  'name': '%s.public.%s.%s' % (PREFIX, event.table.name, what)}
        if field:
            schema['field'] = field
        return schema

    def schema(self, event):
        names = list(event.after or event.before or event.table.keys)
        text = [(n, 'string') for n in ('version', 'connector', 'name')]
        more = [('snapshot', 'string'), ('db', 'string'), ('sequence', 'string'),
                ('ts_us', 'int64'), ('ts_ns', 'int64'), ('schema', 'string'),
                ('table', 'string'), ('txId', 'int64'), ('lsn', 'int64'), ('xmin', 'int64'),
                ('origin', 'string'), ('origin_lsn', 'int64')]
        source = [{'type': t, 'optional': i > 3, 'field': n}
                  for i, (n, t) in enumerate(text + [('ts_ms', 'int64')] + more)]
        times = [{'type': 'int64', 'optional': True, 'field': n}
                 for n in ('ts_ms', 'ts_us', 'ts_ns')]
        transaction = [{'type': t, 'optional': False, 'field': n} for n, t in
                       (('id', 'string'), ('total_order', 'int64'),
                        ('data_collection_order', 'int64'))]
        return {'type': 'struct', 'optional': False, 'version': 2,
                'name': '%s.public.%s.Envelope' % (PREFIX, event.table.name),
                'fields': [
                    self.row_schema(event, names, 'Value', True, 'before'),
                    self.row_schema(event, names, 'Value', True, 'after'),
                    {'type': 'struct', 'fields': source, 'optional': False,
                     'name': 'io.debezium.connector.postgresql.Source', 'version': 1,
                     'field': 'source'},
                    {'type': 'struct', 'fields': transaction, 'optional': True,
                     'name': 'event.block', 'version': 1, 'field': 'transaction'},
                    {'type': 'string', 'optional': False, 'field': 'op'}] + times}
