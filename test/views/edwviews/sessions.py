"""Sessions whose statements run side by side, as deterministically as locks allow.

A statement is sent and either ends or is seen waiting for a lock; only then does the next one of another
session start. What a waiting session has to do next queues up behind.
"""
import os
import select
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'model'))

from edwmodel.server import Connection, QueryError      # noqa: E402

PATIENCE = 120      # seconds; only met when something hangs


class Session(Connection):
    def open(self, *where):
        super().open(*where)
        self.status = b'I'
        self.pid = int(self.query('SELECT pg_backend_pid()')[0][0])

    def receive(self):
        kind, body = super().receive()
        if kind == b'Z':
            self.status = body
        return kind, body

    @staticmethod
    def error_fields(body):
        fields = Connection.error_fields(body)
        Session.last_error = fields
        return fields

    def send(self, sql):
        body = sql.encode() + b'\0'
        self.socket.sendall(b'Q' + struct.pack('!i', len(body) + 4) + body)

    def answered(self, seconds):
        return bool(select.select([self.socket], [], [], seconds)[0])


class Failed(Exception):
    """A statement failed as none should."""


class Interleaver:
    """Runs (session, SQL) in order; calls after(session, sql, error) when one has ended."""

    def __init__(self, sessions, control, after):
        self.sessions, self.control, self.after = sessions, control, after
        self.busy = {}          # session name: the SQL it runs
        self.queues = {name: [] for name in sessions}

    def run(self, items):
        for name, sql in items:
            self.queues[name].append(sql)
            self.advance()
        self.drain()

    def advance(self):
        """Start what can start, and wait until every session is idle or waits for a lock."""
        progress = True
        while progress:
            progress = False
            for name in self.queues:
                if name not in self.busy and self.queues[name]:
                    self.busy[name] = self.queues[name].pop(0)
                    self.sessions[name].send(self.busy[name])
                if name in self.busy and self.settle(name):
                    progress = True

    def settle(self, name):
        """True: its statement has ended. False: it waits for a lock."""
        session, pause, until = self.sessions[name], 0.004, time.monotonic() + PATIENCE
        while not session.answered(pause):
            if len(self.queues) > 1 and self.waits_for_lock(session):
                return False
            if time.monotonic() > until:
                raise Failed('no answer for %d s: %s' % (PATIENCE, self.busy[name]))
            pause = min(pause * 2, 0.1)
        self.finish(name)
        return True

    def waits_for_lock(self, session):
        return self.control.query("SELECT cardinality(pg_blocking_pids(%d)) > 0" % session.pid)[0][0] == 't'

    def finish(self, name):
        session, sql, error = self.sessions[name], self.busy.pop(name), None
        try:
            session.finish()
        except QueryError as e:
            error = e
            error.fields = dict(Session.last_error)
        self.after(name, sql, error)

    def drain(self):
        """All is sent: wait for what still runs; who waits for an open transaction gets it ended."""
        until = time.monotonic() + PATIENCE
        while self.busy or any(self.queues.values()):
            before = len(self.busy) + sum(map(len, self.queues.values()))
            self.advance()
            if self.busy and before == len(self.busy) + sum(map(len, self.queues.values())):
                self.end_idle_transactions()
                time.sleep(0.005)
            if time.monotonic() > until:
                raise Failed('sessions wait for each other: %s' % self.busy)
        self.end_idle_transactions()

    def end_idle_transactions(self):
        for name, session in self.sessions.items():
            if name not in self.busy and not self.queues[name] and session.status != b'I':
                session.query('ROLLBACK')
