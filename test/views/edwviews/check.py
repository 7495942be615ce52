"""One plan against the extension: after every batch each view equals its query."""
import re
import time

from .sessions import Failed, Interleaver, PATIENCE, QueryError

# What statements may fail with for what they do to the tables, and transactions for each other.
EXPECTED = {'23502', '23503', '23505', '23514', '25P02', '40001', '40P01', '21000', '3B001', '42704', '42P01', '42703', '0A000',
            '55006', '25001', '27000', '42P16', '42809', '54000', '55000', '42P17'}
# … of these, those that only DDL and its rollback may cause
DDL_ONLY = {'42704', '42P01', '42703', '0A000', '55006', '25001', '42P16', '42809', '55000', '42P17'}


class Wrong(Exception):
    def __init__(self, message, view=None):
        super().__init__(message)
        self.view = view


class Check:
    def __init__(self, plan, sessions, tally=None, sabotage=None):
        self.plan, self.sessions = plan, sessions
        self.control = sessions['control']
        self.tally = tally if tally is not None else {}
        self.sabotage = sabotage
        self.registered = []
        self.batch = None
        self.done = []              # (session, SQL, error or None): what was run

    def run(self):
        self.control.query("SET TimeZone = '%s'" % self.plan.zone)
        for session in self.sessions.values():
            session.query('SET search_path = star')
        self.set_up()
        self.compare('after registration')
        if self.sabotage:
            for sql in self.sabotage:
                self.control.query(sql)
        for self.number, batch in enumerate(self.plan.batches):
            self.batch = batch
            self.run_batch(batch)
            self.compare('after batch %d' % self.number)

    def set_up(self):
        self.control.query('CREATE SCHEMA star')
        for sql in self.plan.setup:
            self.control.query(sql)
        for view in self.plan.views:
            if view.below and view.below not in [v.name for v in self.registered]:
                continue
            for sql in view.create():
                self.control.query(sql)
            self.register(view)
        self.names()

    def register(self, view):
        view.fallback = False
        try:
            self.control.query(view.register())
        except QueryError as e:
            if e.sqlstate != '0A000':
                raise
            if view.key and view.must:
                self.count(view, 'refused')
                raise Wrong('view %s (%s) is refused: %s' % (view.name, view.shape, e), view)
            self.control.query(view.register(fallback=True))
            view.fallback = True
        method = self.control.query("SELECT method FROM edw_stream.views WHERE view = '%s'::regclass" % view.name)[0][0]
        if not view.key and method != 'full':
            raise Wrong('view %s (%s) cannot be kept right by partitions, yet is taken' % (view.name, view.shape), view)
        self.count(view, method)
        self.registered.append(view)

    def count(self, view, what):
        self.tally.setdefault(view.shape, {}).setdefault(what, 0)
        self.tally[view.shape][what] += 1

    def names(self):
        """What views and their queries are called now: DDL may have renamed what they read."""
        rows = self.control.query("SELECT %s" % ', '.join(
            "pg_get_viewdef('%s'::regclass)" % v.name for v in self.registered)) if self.registered else [()]
        self.queries = [text.rstrip(';') for text in rows[0]]

    # ---------------------------------------------------------------- batches

    def run_batch(self, batch):
        users = {name: self.sessions[name] for name in dict.fromkeys(name for name, _ in batch)}
        self.concurrent = len(users) > 1
        self.ddl = any(re.match(r'(ALTER|CREATE|VACUUM|REFRESH|SELECT edw_stream\.(un)?re)', sql) for _, sql in batch)
        Interleaver(users, self.control, self.after).run(batch)
        if self.ddl:
            self.names()

    def after(self, name, sql, error):
        self.done.append((name, sql, error))
        if error:
            self.judge(sql, error)
        if self.concurrent and sql.startswith(('COMMIT', 'CALL')):
            self.compare_beside()

    def judge(self, sql, error):
        state, fields = error.sqlstate, error.fields
        if state not in EXPECTED or (state in DDL_ONLY and not self.ddl and not sql.startswith('COMMIT PREPARED')):
            raise Wrong('%s\nwhen: %s' % (error, sql))
        if re.match(r'v\d+$', fields.get('t', '')):
            raise Wrong('a view refuses its row: %s\nwhen: %s' % (error, sql))
        if state in ('40P01',) and not self.concurrent:
            raise Wrong('%s\nwhen: %s' % (error, sql))

    # ---------------------------------------------------------------- comparison

    def compare(self, when, deferred=True):
        views = [(v, q) for v, q in zip(self.registered, self.queries) if deferred or v.refresh == 'commit' and self.commits(v)]
        if not views:
            return
        if deferred and any(v.refresh == 'deferred' for v, _ in views):
            self.wait_for_refresher(when)
        # one statement, one snapshot: a reader never sees views and tables disagree
        sql = ' UNION ALL '.join(
            "SELECT '{0}', (SELECT count(*) FROM (SELECT stored_row::text FROM {0} stored_row EXCEPT ALL SELECT query_row::text FROM ({1}) query_row) e), "
            '(SELECT count(*) FROM (SELECT query_row::text FROM ({1}) query_row EXCEPT ALL SELECT stored_row::text FROM {0} stored_row) e)'.format(v.name, q) for v, q in views)
        for name, more, less in self.control.query(sql):
            if more != '0' or less != '0':
                view = next(v for v, _ in views if v.name == name)
                raise Wrong('%s: view %s (%s, %s) has %s rows that its query does not, and lacks %s\n%s' % (
                    when, name, view.shape, view.refresh, more, less, self.difference(view, dict((v.name, q) for v, q in views)[name])), view)

    def compare_beside(self):
        """While sessions run. Left out if one of them keeps readers off, which only TRUNCATE and REFRESH may."""
        self.control.query("SET lock_timeout = '50ms'")
        try:
            while True:
                try:
                    return self.compare('while sessions run', deferred=False)
                except QueryError as e:
                    if e.sqlstate != '55P03':
                        raise
                if self.readers_wait():
                    return
        finally:
            self.control.query('RESET lock_timeout')

    def readers_wait(self):
        held = self.control.query("SELECT pid, string_agg(DISTINCT relation::regclass::text, ', ') FROM pg_locks WHERE mode = 'AccessExclusiveLock' "
                                  "AND locktype = 'relation' AND pid IN (%s) GROUP BY pid" % ', '.join(str(s.pid) for s in self.sessions.values()))
        for pid, relations in held:
            name = next(n for n, s in self.sessions.items() if str(s.pid) == pid)
            if not any(re.search('TRUNCATE|REFRESH MATERIALIZED|edw_stream.drain', sql) for n, sql in self.batch if n == name):
                raise Wrong('session %s keeps readers off %s' % (name, relations))
        return bool(held)

    def commits(self, view):
        """Is all below it refreshed at commit, too?"""
        while view.below:
            view = next(v for v in self.registered if v.name == view.below)
            if view.refresh != 'commit':
                return False
        return True

    def difference(self, view, query):
        rows = self.control.query(
            "(SELECT 'stored', stored_row::text FROM {0} stored_row EXCEPT ALL SELECT 'stored', query_row::text FROM ({1}) query_row LIMIT 4) UNION ALL "
            "(SELECT 'query', query_row::text FROM ({1}) query_row EXCEPT ALL SELECT 'query', stored_row::text FROM {0} stored_row LIMIT 4)".format(view.name, query))
        return '\n'.join('    %-6s %s' % (side, text[:300]) for side, text in rows)

    def wait_for_refresher(self, when):
        until, pause = time.monotonic() + PATIENCE, 0.002
        while self.control.query('SELECT count(*) FROM edw_stream.view_pending')[0][0] != '0':
            if time.monotonic() > until:
                rows = self.control.query('SELECT v::text FROM edw_stream.views v')
                raise Wrong('%s: pending partitions are not worked off\n%s' % (when, rows))
            time.sleep(pause)
            pause = min(pause * 1.5, 0.05)

    # ---------------------------------------------------------------- end

    def tear_down(self):
        for session in self.sessions.values():
            if session.status != b'I':
                session.query('ROLLBACK')
            session.query("SET TimeZone = 'UTC'")
        for (gid,) in self.control.query('SELECT gid FROM pg_prepared_xacts WHERE database = current_database()'):
            self.control.query("ROLLBACK PREPARED '%s'" % gid)
        self.control.query("SELECT edw_stream.drop_stream(name) FROM edw_stream.stream")
        self.control.query('SET client_min_messages = error; DROP SCHEMA IF EXISTS star CASCADE')
        left = self.control.query('SELECT (SELECT count(*) FROM edw_stream.view), (SELECT count(*) FROM edw_stream.view_base), '
                                  '(SELECT count(*) FROM edw_stream.view_pending), (SELECT count(*) FROM edw_stream.view_group)')[0]
        if left != ('0',) * 4:
            raise Wrong('registrations outlive DROP SCHEMA: view, view_base, view_pending, view_group have %s rows' % (left,))


__all__ = ['Check', 'Failed', 'Wrong']
