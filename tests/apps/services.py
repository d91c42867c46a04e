"""Databases and caches as real servers: started on loopback, with all they keep in a directory of their own.

A superuser's processes may not be database servers, so there the servers run as `nobody`, who gets the directory.
None outlives the tests: the kernel ends it if they cannot, on Linux.
"""

import contextlib
import ctypes
import glob
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
import pymysql
import redis

PATIENCE = 120  # seconds for a server to come or to go; only a hang takes as long
PR_SET_PDEATHSIG = 1
UNPRIVILEGED = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def _end_with_the_tests():
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Service:
    """A server that can go away and come back at the same port, with the same data.

    `with Service() as service:`, which installs and starts it. What it says stands in `log`.

    Attributes:
        port: of 127.0.0.1.
        process: while it runs.
    """

    PROGRAMS = ()  # what must be there, the server first
    PLACES = ""  # where they may be beside the path, as a pattern
    AT_ONCE = signal.SIGTERM  # ends it without waiting for clients

    def __init__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="greenhttp-"))
        self.data = self.directory / "data"
        self.log = self.directory / "log"
        self.port, self.process, self.asked = 0, None, 0

    @classmethod
    def find(cls, program):
        """Its path, or None; the newest version where there are several."""
        beside = os.pathsep.join(sorted(glob.glob(cls.PLACES), reverse=True))
        return shutil.which(program) or shutil.which(program, path=f"{beside}{os.pathsep}/usr/sbin")

    @classmethod
    def missing(cls):
        """The first program that is not there, or None."""
        return next((program for program in cls.PROGRAMS if cls.find(program) is None), None)

    def install(self):
        """Make what the server needs in `data`."""

    def command(self):
        raise NotImplementedError

    def connect(self):
        """A connection from the outside. Raises while the server is not there."""
        raise NotImplementedError

    def count(self):
        """How many connections have been made, by the server's own account, this one included."""
        raise NotImplementedError

    def connections_made(self):
        """The same without those made to ask. Only differences mean something."""
        self.asked += 1
        return self.count() - self.asked

    def run(self, program, *arguments):
        """To its end, which must be a good one."""
        done = subprocess.run(
            [self.find(program), *arguments], cwd=self.directory, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=PATIENCE, check=False, **UNPRIVILEGED,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self):
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                self.command(), cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                preexec_fn=_end_with_the_tests, **UNPRIVILEGED,
            )  # fmt: skip
        until = time.monotonic() + PATIENCE
        while True:
            try:
                self.connect().close()
                return
            except (OSError, psycopg.OperationalError, pymysql.Error, redis.ConnectionError) as error:
                if self.process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"{self.PROGRAMS[0]} does not start: {self.log.read_text()}") from error
                time.sleep(0.02)  # no server tells whoever has not connected yet

    def stop(self):
        """Now, whoever is connected."""
        if self.process is not None:
            self.process.send_signal(self.AT_ONCE)
            self.process.wait(PATIENCE)
            self.process = None

    def __enter__(self):
        try:
            if UNPRIVILEGED:
                shutil.chown(self.directory, "nobody")
            self.install()
            for attempt in (1, 2, 3):
                self.port = free_port()
                try:
                    self.start()
                    return self
                except RuntimeError:  # somebody else may have got the port meanwhile
                    if attempt == 3:
                        raise
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop()
            if self.process is not None:
                self.process.kill()
                self.process.wait()
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)


class PostgreSQL(Service):
    PROGRAMS = ("postgres", "initdb")
    PLACES = "/usr/lib/postgresql/*/bin"
    AT_ONCE = signal.SIGQUIT  # its "immediate" shutdown: as if the machine had stopped

    def install(self):
        self.run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")

    def command(self):
        settings = {
            "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": 300, "fsync": "off",
            "shared_buffers": "16MB", "log_connections": "on", "lc_messages": "C",
        }  # fmt: skip
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [self.find("postgres"), "-D", self.data, "-p", str(self.port), *options]

    @property
    def url(self):
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def connect(self):
        return psycopg.connect(self.url, autocommit=True)

    def count(self):
        self.connect().close()
        return self.log.read_text().count("connection authorized")


class MariaDB(Service):
    PROGRAMS = ("mariadbd", "mariadb-install-db", "my_print_defaults")

    def install(self):
        self.run(
            "mariadb-install-db", "--no-defaults", f"--datadir={self.data}", "--auth-root-authentication-method=normal",
            "--skip-test-db",
        )  # fmt: skip

    def command(self):
        return [
            self.find("mariadbd"), "--no-defaults", f"--datadir={self.data}", f"--socket={self.directory}/socket",
            f"--pid-file={self.directory}/pid", "--bind-address=127.0.0.1", f"--port={self.port}",
            "--skip-name-resolve", "--max-connections=300", "--innodb-buffer-pool-size=16M",
            "--innodb-flush-log-at-trx-commit=0",
        ]  # fmt: skip

    @property
    def url(self):
        return f"mysql://root@127.0.0.1:{self.port}/mysql"

    def connect(self):
        return pymysql.connect(host="127.0.0.1", port=self.port, user="root", autocommit=True)

    def count(self):
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute("show global status like 'Connections'")
            return int(cursor.fetchone()[1])


class Redis(Service):
    PROGRAMS = ("redis-server",)

    def command(self):
        return [
            self.find("redis-server"), "--bind", "127.0.0.1", "--port", str(self.port), "--save", "",
            "--appendonly", "no", "--dir", self.directory,
        ]  # fmt: skip

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}/0"

    def connect(self):
        client = redis.Redis(port=self.port, single_connection_client=True)
        client.ping()
        return client

    def count(self):
        with self.connect() as client:
            return client.info("stats")["total_connections_received"]
