"""A PostgreSQL server of the test's own, and a small client of its wire protocol."""
import os
import pwd
import shutil
import socket
import struct
import subprocess
import tempfile
import time

SETTINGS = """
listen_addresses = ''
shared_preload_libraries = 'edw_stream'
fsync = off
max_connections = 20
max_worker_processes = 8
shared_buffers = 64MB
autovacuum_naptime = 5s
log_checkpoints = off
log_line_prefix = '%m [%p] %a: '
"""


class QueryError(Exception):
    def __init__(self, fields):
        self.sqlstate = fields.get('C', '?????')
        text = '%s: %s' % (self.sqlstate, fields.get('M', ''))
        for name, code in (('DETAIL', 'D'), ('HINT', 'H'), ('CONTEXT', 'W')):
            if fields.get(code):
                text += '\n%s: %s' % (name, fields[code])
        super().__init__(text)


class Connection:
    """One session over a Unix socket, trusted. Simple queries only; values come as text."""

    def __init__(self, *where):
        self.where = where
        self.open(*where)

    def open(self, directory, port, database, user):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect('%s/.s.PGSQL.%d' % (directory, port))
        self.file = self.socket.makefile('rb', 1 << 16)
        body = struct.pack('!i', 196608) + b'user\0%s\0database\0%s\0\0' % (
            user.encode(), database.encode())
        self.socket.sendall(struct.pack('!i', len(body) + 4) + body)
        self.finish()

    def reconnect(self):
        """After a crash: the server is back soon."""
        for _ in range(1800):
            try:
                self.open(*self.where)
                return
            except (OSError, QueryError):
                time.sleep(0.1)
        raise SystemExit('model: the server does not come back')

    def query(self, sql):
        """The rows of the last statement, as tuples of str or None."""
        body = sql.encode() + b'\0'
        self.socket.sendall(b'Q' + struct.pack('!i', len(body) + 4) + body)
        return self.finish()

    def finish(self):
        rows, error = [], None
        while True:
            kind, body = self.receive()
            if kind == b'Z':
                break
            if kind == b'T':
                rows = []
            elif kind == b'D':
                rows.append(self.row(body))
            elif kind == b'E':
                error = QueryError(self.error_fields(body))
        if error:
            raise error
        return rows

    def receive(self):
        head = self.file.read(5)
        if len(head) < 5:
            raise ConnectionError('the server closed the connection')
        length = struct.unpack('!i', head[1:])[0]
        return head[:1], self.file.read(length - 4)

    @staticmethod
    def row(body):
        count, at, values = struct.unpack('!h', body[:2])[0], 2, []
        for _ in range(count):
            length = struct.unpack_from('!i', body, at)[0]
            at += 4
            if length < 0:
                values.append(None)
            else:
                values.append(body[at:at + length].decode())
                at += length
        return tuple(values)

    @staticmethod
    def error_fields(body):
        return {part[:1].decode(): part[1:].decode() for part in body.split(b'\0') if part}

    def close(self):
        try:
            self.socket.sendall(b'X' + struct.pack('!i', 4))
        finally:
            self.socket.close()


class Server:
    """A throwaway instance; PostgreSQL does not run as root."""

    def __init__(self, pg_config, keep=False, settings=()):
        self.bin = subprocess.check_output([pg_config, '--bindir'], text=True).strip()
        self.keep = keep
        self.port = 5432
        self.as_user = {}
        self.directory = tempfile.mkdtemp(prefix='edw-model-')
        if os.geteuid() == 0:
            user = self.unprivileged()
            self.as_user = {'user': user.pw_uid, 'group': user.pw_gid, 'extra_groups': []}
            os.chown(self.directory, user.pw_uid, user.pw_gid)
        self.data = self.directory + '/data'
        self.run('initdb', '-A', 'trust', '-U', 'postgres', '-E', 'UTF8', '--locale=C', '-N',
                 '-D', self.data)
        conf = self.data + '/postgresql.conf'
        with open(conf, 'a') as file:
            file.write(SETTINGS + "port = %d\nunix_socket_directories = '%s'\n" %
                       (self.port, self.directory) + ''.join(s + '\n' for s in settings))
        self.run('pg_ctl', '-D', self.data, '-l', self.directory + '/log', '-w', '-t', '180',
                 'start')

    @staticmethod
    def unprivileged():
        for name in ('postgres', 'nobody'):
            try:
                return pwd.getpwnam(name)
            except KeyError:
                pass
        raise SystemExit('model: there is no user to run PostgreSQL as')

    def run(self, program, *arguments):
        done = subprocess.run([self.bin + '/' + program, *arguments], cwd='/',
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, **self.as_user)
        if done.returncode:
            raise SystemExit('model: %s failed:\n%s%s' % (program, done.stdout, self.log_tail()))

    def log_tail(self):
        try:
            with open(self.directory + '/log', errors='replace') as log:
                return ''.join(log.readlines()[-15:])
        except OSError:
            return ''

    def connect(self, database='postgres'):
        return Connection(self.directory, self.port, database, 'postgres')

    def psql(self, database):
        return '%s/psql -h %s -p %d -U postgres %s' % (self.bin, self.directory, self.port,
                                                       database)

    def stop(self):
        if os.path.exists(self.data + '/postmaster.pid'):
            self.run('pg_ctl', '-D', self.data, '-m', 'immediate', '-w', 'stop')
        if not self.keep:
            shutil.rmtree(self.directory, ignore_errors=True)
