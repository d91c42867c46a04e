"""Whether requests are lost while workers come and go: clients of several kinds, and what became of their requests.

    python -m tests.reload --reloads 100 --upgrades 20      the long run, `make reload-soak`

tests/system/test_reload.py is a short one of the same.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

APP = """
import os, time
VERSION = open("version.txt").read().strip()
def app(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        time.sleep(0.05)
    body = environ["wsgi.input"].read()
    answer = f"{VERSION} {environ['QUERY_STRING']} {len(body)}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [answer]
"""

# For programs with TLS: they look at their certificate every second, not every minute.
HOOK = """
from greenhttp.tls import renewal
renewal.EVERY = 1.0
"""

LOST, CROSSED, ANSWERED = "lost", "crossed", "answered"


class Client(threading.Thread):
    """Asks until it is told to stop.

    Arguments:
        trust: for TLS; None: it speaks plain HTTP.

    Attributes:
        outcomes: how many requests were answered, lost, or crossed the connection's end on the wire: sent on a kept
            connection that the server had just closed, not a byte of an answer received. Such a client has to ask again
            whatever the server does (RFC 9112 9.3.1, 9.5), so these are counted apart.
        versions: of the application that have answered.
        errors: what was lost, in words.
        shown: hashes of the certificates that it was shown. Every second connection begins without a session.
        connections, resumed: how many there were with TLS, and how many of them resumed a session.
    """

    keeps = True
    thinks = 0.0
    path = "/"

    def __init__(self, port: int, trust: ssl.SSLContext | None = None) -> None:
        super().__init__(daemon=True)
        self.port, self.trust = port, trust
        self.session: ssl.SSLSession | None = None
        self.shown: set[int] = set()
        self.resumed = self.connections = 0
        self.outcomes: Counter[str] = Counter()
        self.versions: set[str] = set()
        self.errors: list[str] = []
        self.done = threading.Event()
        self.sock: socket.socket | None = None
        self.used = 0

    def run(self) -> None:
        number = 0
        while not self.done.is_set():
            number += 1
            self.ask(number)
            if self.thinks:
                self.done.wait(self.thinks * (1 + number % 5))
        if self.sock is not None:
            self.sock.close()

    def ask(self, number: int) -> None:
        try:
            if self.sock is not None and self.thinks and self.ended():
                self.forget()
            if self.sock is None:
                self.sock = self.connected()
                self.used = 0
            got = b""
            try:
                self.sock.sendall(self.request(number))
                got = self.answer()
            except (ConnectionError, EOFError, ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
                partial = error.args[0] if type(error) is EOFError else b""
                self.forget()
                if self.used and not partial:
                    self.outcomes[CROSSED] += 1
                    return
                raise
        except (OSError, EOFError) as error:
            self.forget()
            self.outcomes[LOST] += 1
            self.errors.append(f"{type(self).__name__} request {number}: {error!r}")
            return
        head, _, body = got.partition(b"\r\n\r\n")
        words = body.decode().split()
        if not head.startswith(b"HTTP/1.1 200 ") or words[1:] != [str(number), str(len(self.body()))]:
            self.outcomes[LOST] += 1
            self.errors.append(f"{type(self).__name__} request {number}: {got[:200]!r}")
            self.forget()
            return
        self.outcomes[ANSWERED] += 1
        self.versions.add(words[0])
        self.used += 1
        if not self.keeps or b"connection: close" in head.lower():
            self.forget()

    def connected(self) -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        if self.trust is None:
            return plain
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connections += 1
        session = self.session if self.connections % 2 else None
        sock = self.trust.wrap_socket(plain, server_hostname="localhost", session=session)
        if sock.session_reused:
            self.resumed += 1
        else:
            self.shown.add(hash(sock.getpeercert(binary_form=True)))
        return sock

    def body(self) -> bytes:
        return b""

    def request(self, number: int) -> bytes:
        body = self.body()
        method = "POST" if body else "GET"
        close = "" if self.keeps else "Connection: close\r\n"
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        return f"{method} {self.path}?{number} HTTP/1.1\r\nHost: x\r\n{close}{length}\r\n".encode() + body

    def answer(self) -> bytes:
        """A whole answer; EOFError with what there was of it."""
        assert self.sock is not None
        got = b""
        while True:
            if (end := got.find(b"\r\n\r\n")) >= 0:
                length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", got[: end + 2])
                if length and len(got) >= end + 4 + int(length[1]):
                    return got
            try:
                piece = self.sock.recv(65536)
            except (ConnectionResetError, ssl.SSLEOFError):
                raise EOFError(got) from None
            if not piece:
                raise EOFError(got)
            got += piece

    def ended(self) -> bool:
        """Whether the server has closed the connection meanwhile."""
        assert self.sock is not None
        if not select.select([self.sock], [], [], 0)[0]:
            return False
        if not isinstance(self.sock, ssl.SSLSocket):
            return True
        self.sock.settimeout(0)  # what has come may be a ticket, and no end
        try:
            return not self.sock.recv(1)
        except ssl.SSLWantReadError:
            return False
        except OSError:
            return True
        finally:
            self.sock.settimeout(60)

    def forget(self) -> None:
        if self.sock is not None:
            if isinstance(self.sock, ssl.SSLSocket):
                self.session = self.sock.session or self.session
            self.sock.close()
            self.sock = None


class Busy(Client):
    """One request after the other on a kept connection."""


class Slow(Client):
    """The same, but the application takes its time."""

    path = "/slow"


class Thinking(Client):
    """Pauses between two requests, and looks for the end of the connection before it sends the next."""

    thinks = 0.01


class New(Client):
    """A connection for each request."""

    keeps = False


class Uploading(Client):
    """A body in each request, which may be on its way while the worker begins to drain."""

    def body(self) -> bytes:
        return b"x" * 200_000


KINDS = (Busy, Slow, Thinking, New, Uploading)


def children(pid: int, log: bool = False) -> list[int]:
    """Its workers that run; or the process that writes its log."""
    return called(pid, "greenhttp-log") if log else [child for child in _all(pid) if child not in called(pid)]


def called(pid: int, name: str = "greenhttp-") -> list[int]:
    """Its children that are no workers, by the beginning of their names."""
    return [child for child in _all(pid) if name_of(child).startswith(name)]


def _all(pid: int) -> list[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(child) for child in file.read().split()]
    except OSError:
        return []


def name_of(pid: int) -> str:
    """As top and pstree show it; "" of one that has gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


class Program:
    """The command as a process, and what it says.

    Arguments:
        before: called in the process before the command begins.
        secure: whether it serves TLS too, at a port of its own.

    Attributes:
        secure_port, trust: for clients that speak TLS.
    """

    def __init__(
        self, where: Path, *options: str, app: str = APP, fds: tuple[socket.socket, ...] = (),
        port: int = 0, before: Callable[[], None] | None = None, secure: bool = False, **environ: str,
    ) -> None:
        self.where = where
        (where / "web.py").write_text(app)
        self.version = 0
        self.bump()
        self.port = port
        if not port:
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.port = free.getsockname()[1]
        command = [sys.executable, "-m", "greenhttp", *options, "web:app"]
        if not {"-b", "--bind"} & set(options):
            command[3:3] = ["-b", f"{'http://' if secure else ''}127.0.0.1:{self.port}"]
        root = str(Path(__file__).parents[2])
        self.secure_port, self.trust = 0, None
        if secure:
            command[3:3] = ["-b", f"https://127.0.0.1:{self._have_certificate()}", "--certfile", "server.pem"]
            (where / "hook").mkdir()
            (where / "hook" / "sitecustomize.py").write_text(HOOK)
            root = f"{where / 'hook'}:{root}"
        clean = {n: v for n, v in os.environ.items() if not n.startswith(("GREENHTTP_", "PORT", "WEB_CONC"))}
        self.process = subprocess.Popen(
            command, cwd=where, stderr=subprocess.PIPE, text=True, env={**clean, "PYTHONPATH": root, **environ},
            pass_fds=[sock.fileno() for sock in fds], preexec_fn=before,
            start_new_session=True,  # a terminal would send it WINCH, which it then has to ignore
        )  # fmt: skip
        self.lines: list[str] = []
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self.changed:
                self.lines.append(line)
                self.changed.notify_all()

    def bump(self) -> None:
        """Another version of the application stands on disk from now on."""
        self.version += 1
        part = self.where / "version.part"
        part.write_text(f"v{self.version}")
        part.replace(self.where / "version.txt")

    def _have_certificate(self) -> int:
        """A port for TLS."""
        from tests.tls.certificates import authority

        with socket.create_server(("127.0.0.1", 0)) as free:
            self.secure_port = free.getsockname()[1]
        self.trust = ssl.create_default_context(cadata=authority().authorities().decode())
        self.renew()
        return self.secure_port

    def renew(self) -> bytes:
        """Another certificate stands on disk from now on; that certificate, DER."""
        from tests.tls.certificates import authority

        leaf = authority().leaf("localhost", "127.0.0.1")
        leaf.both(self.where / "server.pem")
        first, end, _ = leaf.chain.decode().partition("-----END CERTIFICATE-----")
        return ssl.PEM_cert_to_DER_cert(first + end)

    def clients(self, kinds: Iterable[type[Client]]) -> list[Client]:
        """One of each of these kinds, and with TLS another that speaks it."""
        plain = [kind(self.port) for kind in kinds]
        return plain + [kind(self.secure_port, self.trust) for kind in kinds] if self.trust is not None else plain

    def wait_for(self, text: str, since: int = 0, seconds: float = 120) -> int:
        """Until a line from the given one on has the text; the number of the next line."""
        until = time.monotonic() + seconds
        with self.changed:
            while True:
                for number, line in enumerate(self.lines[since:], since + 1):
                    if text in line:
                        return number
                left = until - time.monotonic()
                if left <= 0 or self.process.poll() is not None and not self.reader.is_alive():
                    raise AssertionError(f"{text!r} was not said in time:\n{''.join(self.lines[-60:])}")
                self.changed.wait(min(left, 1))

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit code. A process that does not end in time is killed, and that is an error."""
        self.send(number)
        try:
            return self.process.wait(60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            self.close()

    def end(self) -> None:
        """Kill it and its workers, if it still runs."""
        if self.process.poll() is None:
            for pid in [*children(self.process.pid), self.process.pid]:
                os.kill(pid, signal.SIGKILL)
            self.process.wait()
        self.close()

    def close(self) -> None:
        """Its last words are read; the process has ended."""
        self.reader.join(10)
        assert self.process.stderr is not None
        self.process.stderr.close()


def rounds(program: Program, reloads: int, upgrades: int, clients: list[Client], say=lambda line: None) -> None:
    """Reload and upgrade under the load of these clients, each time with another version on disk."""
    program.wait_for("HUP reloads")
    for client in clients:
        client.start()
    order = ["HUP"] * reloads
    for number in range(upgrades):  # spread over the reloads
        order.insert((number + 1) * len(order) // (upgrades + 1) if order else 0, "USR2")
    for number, name in enumerate(order, 1):
        here = len(program.lines)
        program.bump()
        if program.trust is not None:
            program.renew()
        program.send(getattr(signal, f"SIG{name}"))
        program.wait_for("has taken over", here)
        say(f"{number} of {len(order)}: {name}, {sum(c.outcomes[ANSWERED] for c in clients):,} answered")


def finish(clients: list[Client], least: int) -> None:
    """Let each kind have its least number of answers, then stop them all."""
    until = time.monotonic() + 120
    while time.monotonic() < until and any(client.outcomes[ANSWERED] < least for client in clients):
        time.sleep(0.05)
    for client in clients:
        client.done.set()
    for client in clients:
        client.join(90)


def table(clients: list[Client]) -> str:
    """What became of the requests, by kind of client."""
    lines = [
        f"{'client':15} {'answered':>10} {'lost':>6} {'crossed':>8} {'versions':>9} {'certificates':>13} {'resumed':>8}"
    ]
    for kind, secure in [(kind, secure) for secure in (False, True) for kind in KINDS]:
        mine = [client for client in clients if type(client) is kind and (client.trust is not None) is secure]
        if not mine:
            continue
        total: Counter[str] = sum((client.outcomes for client in mine), Counter())
        versions = set().union(*(client.versions for client in mine))
        name = kind.__name__.lower() + (" (TLS)" if secure else "")
        line = f"{name:15} {total[ANSWERED]:10,} {total[LOST]:6} {total[CROSSED]:8} {len(versions):9}"
        shown = set().union(*(client.shown for client in mine))
        lines.append(f"{line} {len(shown):13} {sum(client.resumed for client in mine):8,}" if secure else line)
    return "\n".join(lines)
