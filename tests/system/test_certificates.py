"""Certificates and the keys of tickets in real processes: renewed while they serve, the same in all workers."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import ssl
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.reload import ANSWERED, KINDS, LOST, Program, called, children, finish, rounds, table
from tests.system.test_supervisor import python_is_everybody_s, until
from tests.tls import certificates
from tests.tls.certificates import put

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the tests look at processes through /proc")

# It answers with its worker's number, and leaves a child behind at /fork, whose loop turns
APP = """
import os, time
def app(environ, start_response):
    if environ["PATH_INFO"] == "/fork" and os.fork() == 0:
        while not os.path.exists("go"):
            time.sleep(0.01)
        os._exit(0)
    answer = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(answer)))])
    return [answer]
"""

# For the processes of a test: files are looked at whenever the master wakes, ticket keys change when a file says so.
HOOK = """
import fcntl
import os
from greenhttp.tls import renewal, tickets
renewal.EVERY, tickets.MOST = 0.01, 2
look = tickets.TicketKeys.look
def looked(self, when):
    changed = look(self, when)
    if os.path.exists("rotate"):
        self.add(when)
        os.unlink("rotate")
        return True
    return changed
tickets.TicketKeys.look = looked
"""

CERTS = "greenhttp-certs"  # the process that may read them

# gunicorn's hook is asked again for what is new.
CONF = """
def ssl_context(config, default_ssl_context_factory):
    with open("asked", "a") as file:
        file.write(".")
    return default_ssl_context_factory()
"""

SOON = certificates.authority().leaf("localhost", "127.0.0.1", days=10)
GOOD = certificates.authority().leaf("localhost", "127.0.0.1")
BETTER = certificates.authority().leaf("localhost", "127.0.0.1")


@pytest.fixture
def start(tmp_path):
    """start(*options): the command with that application and its certificate; killed at the end."""
    programs = []
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(HOOK)

    def begin(*options: str, leaf=GOOD) -> Program:
        leaf.write(tmp_path)
        (tmp_path / "conf.py").write_text(CONF)
        path = f"{tmp_path / 'hook'}:{Path(__file__).parents[2]}:{os.environ.get('PYTHONPATH', '')}"
        program = Program(tmp_path, "--certfile", "server.pem", *options, app=APP, PYTHONPATH=path)
        programs.append(program)
        program.wait_for("Ctrl-C")
        if "-w" in options:
            many = int(options[options.index("-w") + 1])
            until(lambda: sum("serves, process" in line for line in program.lines) == many)
        return program

    yield begin
    while Client.opened:
        Client.opened.pop().close()
    (tmp_path / "go").touch()
    for program in programs:
        program.end()


def context(version=ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    made = ssl.create_default_context(cadata=certificates.authority().authorities().decode())
    made.minimum_version = made.maximum_version = version
    return made


class Client:
    """A kept connection.

    Attributes:
        shown: the certificate that it was shown, DER.
        resumed: whether the session is one that was resumed.
    """

    opened: list[Client] = []  # closed at the end of a test

    def __init__(self, program: Program, trust: ssl.SSLContext, session: ssl.SSLSession | None = None) -> None:
        plain = socket.create_connection(("127.0.0.1", program.port), timeout=30)
        self.sock = trust.wrap_socket(plain, server_hostname="localhost", session=session)
        self.opened.append(self)
        self.shown = self.sock.getpeercert(binary_form=True)
        self.resumed = self.sock.session_reused

    def ask(self, path: str = "/") -> int:
        """The worker that answers."""
        self.sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        got = b""
        while b"\r\n\r\n" not in got or got.endswith(b"\r\n\r\n"):
            data = self.sock.recv(4096)
            assert data, got
            got += data
        assert got.startswith(b"HTTP/1.1 200 "), got
        return int(got.rpartition(b"\n")[2])

    def close(self) -> None:
        self.sock.close()


def der(leaf) -> bytes:
    first, end, _ = leaf.chain.decode().partition("-----END CERTIFICATE-----")
    return ssl.PEM_cert_to_DER_cert(first + end)


def shown_by(program: Program, workers: set[int]) -> set[bytes]:
    """What new connections to each of these workers are shown."""
    found: dict[int, bytes] = {}
    trust = context()
    held = []
    while found.keys() < workers:
        client = Client(program, trust)
        found[client.ask()] = client.shown
        held.append(client)  # the next goes to another worker, which has fewer
        assert len(held) < 500
    for client in held:
        client.close()
    assert found.keys() == workers
    return set(found.values())


def newest(program: Program, many: int) -> set[int]:
    """The workers that have begun to serve last."""
    return {int(line.split()[-1]) for line in [line for line in program.lines if "serves, process" in line][-many:]}


def leaks(pids: list[int]) -> list[str]:
    """Where anybody could see a key: environments and arguments."""
    found = []
    for pid in pids:
        for name in ("environ", "cmdline"):
            text = Path(f"/proc/{pid}/{name}").read_bytes()
            found += [f"{name} of {pid}" for leaf in (SOON, GOOD, BETTER) if leaf.key.split(b"\n")[1] in text]
    return found


@pytest.mark.parametrize("option", [(), ("--preload",)])
def test_a_new_certificate_reaches_workers_that_go_on(start, tmp_path, option):
    program = start("-w", "2", "-c", "conf.py", *option, leaf=SOON)
    workers = newest(program, 2)
    warnings = [line for line in program.lines if "WARNING" in line]
    assert len(warnings) == 1 and "(server.pem) expires in 9 days" in warnings[0]  # not one for each worker
    (line,) = [line for line in program.lines if "certificate server.pem: for localhost, 127.0.0.1, issued by " in line]
    assert " INFO " in line or "valid until" in line
    assert any(f"https://127.0.0.1:{program.port}" in line for line in program.lines)
    trust, kept = context(), {}
    while kept.keys() < workers:
        client = Client(program, trust)
        kept[client.ask("/fork")] = client  # a child of the application's does not take what its parent is sent
    assert shown_by(program, workers) == {der(SOON)}
    GOOD.write(tmp_path)
    program.wait_for("INFO new certificates: localhost and 1 more until ")
    until(lambda: shown_by(program, workers) == {der(GOOD)})
    assert len((tmp_path / "asked").read_text()) == 4
    assert {client.ask() for client in kept.values()} == workers  # the same connections and processes
    put(tmp_path / "server.pem", BETTER.chain)  # half of a pair
    here = program.wait_for("cannot be read again, those from before stay in use: keyfile: ")
    assert shown_by(program, workers) == {der(GOOD)}
    if not option:  # with preload a broken pair is no reason to exec
        program.send(signal.SIGHUP)
        program.wait_for("has taken over", here)
        workers = newest(program, 2)
        assert shown_by(program, workers) == {der(GOOD)}
    BETTER.write(tmp_path)
    program.wait_for("INFO new certificates: ", here)
    until(lambda: shown_by(program, workers) == {der(BETTER)})
    assert leaks([program.process.pid, *workers]) == []
    (tmp_path / "go").touch()
    assert program.stop() == 0
    said = "".join(program.lines)
    assert "PRIVATE KEY" not in said and not any(leaf.key.decode().split("\n")[1] in said for leaf in (GOOD, BETTER))
    assert sum("WARNING" in line for line in program.lines) == 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_resumed_by_any_worker_until_its_key_has_gone(start, tmp_path, version):
    program = start("-w", "2")
    trust = context(version)
    first = Client(program, trust)
    giver = first.ask()
    session = first.sock.session

    def resumed(many: int = 2) -> dict[int, bool]:
        """By each of the workers that have begun to serve last."""
        found, held = {}, [first]
        while not found.keys() >= newest(program, many):
            client = Client(program, trust, session)
            found[client.ask()] = client.resumed
            if version is ssl.TLSVersion.TLSv1_3:  # each connection has a ticket for the next, RFC 8446 C.4
                assert client.sock.session.id != session.id
            held.append(client)
            assert len(held) < 500
        for client in held[1:]:
            client.close()
        return {pid: found[pid] for pid in newest(program, many)}  # others drain

    workers = newest(program, 2)
    assert giver in workers and resumed() == dict.fromkeys(workers, True)

    def rotated() -> None:
        (tmp_path / "rotate").touch()
        until(lambda: not (tmp_path / "rotate").exists())

    if version is ssl.TLSVersion.TLSv1_2:
        rotated()  # of two keys it is the older now
        assert resumed() == dict.fromkeys(workers, True)
        rotated()
        until(lambda: resumed() == dict.fromkeys(workers, False))
        assert newest(program, 2) == workers
    else:
        first.close()
        program.send(signal.SIGTTOU)  # one worker is quicker to replace
        until(lambda: len(children(program.process.pid)) == 1)
        program.send(signal.SIGUSR2)  # the key stays
        here = program.wait_for("has taken over")
        assert set(resumed(1).values()) == {True}
        for _ in range(2):  # as many as keys are kept
            program.send(signal.SIGHUP)
            here = program.wait_for("has taken over", here)
            assert set(resumed(1).values()) == {True}
        rotated()
        rotated()
        until(lambda: set(resumed(1).values()) == {False})
    assert program.stop() == 0


def test_one_process_alone_renews_too(start, tmp_path):
    program = start("-c", "conf.py", leaf=SOON)
    pid = program.process.pid
    kept = Client(program, context())
    assert kept.ask() == pid and kept.shown == der(SOON)
    assert sum("WARNING" in line and "expires in 9 days" in line for line in program.lines) == 1
    put(tmp_path / "server.pem", GOOD.chain)
    here = program.wait_for("cannot be read again, those from before stay in use: keyfile: ")
    GOOD.write(tmp_path)
    program.wait_for("INFO new certificates: localhost and 1 more until ", here)
    until(lambda: shown_by(program, {pid}) == {der(GOOD)})
    assert kept.ask() == pid and (tmp_path / "asked").read_text() == ".."
    program.send(signal.SIGHUP)  # without a terminal it is no reason to end
    assert kept.ask() == pid
    assert program.stop() == 0


def test_no_request_is_lost_while_certificates_change(tmp_path):
    program = Program(tmp_path, "-w", "2", "--max-requests", "2000", "--drain-linger", "1", secure=True)
    clients = [kind(program.secure_port, program.trust) for kind in KINDS]
    try:
        rounds(program, 1, 1, clients)
        finish(clients, 100)
    finally:
        code = program.stop()
    said = table(clients) + "".join(error for client in clients for error in client.errors)
    assert code == 0, said
    for client in clients:
        assert client.outcomes[LOST] == 0 and client.outcomes[ANSWERED] >= 100 and len(client.versions) >= 2, said
        if client.trust is not None and not client.keeps:
            assert len(client.shown) >= 2 and client.resumed >= client.connections // 2 - 2, said


@pytest.mark.skipif(os.geteuid() != 0 or not python_is_everybody_s(), reason="another user cannot run this Python")
def test_files_of_root_are_renewed_after_the_change_of_user(start, tmp_path):
    for place in (tmp_path, *tmp_path.parents[:2]):
        os.chmod(place, 0o755)
    program = start("-w", "1", "--user", "nobody")
    assert shown_by(program, newest(program, 1)) == {der(GOOD)}
    BETTER.write(tmp_path)
    here = program.wait_for("INFO new certificates: ")
    until(lambda: shown_by(program, newest(program, 1)) == {der(BETTER)})
    program.send(signal.SIGUSR2)
    here = program.wait_for("has taken over", here)
    assert len(called(program.process.pid, CERTS)) == 1
    GOOD.write(tmp_path)
    program.wait_for("INFO new certificates: ", here)
    until(lambda: shown_by(program, newest(program, 1)) == {der(GOOD)})
    (reader,) = called(program.process.pid, CERTS)
    assert program.stop() == 0
    until(lambda: not Path(f"/proc/{reader}").exists())


def test_a_terminal_that_is_closed_still_ends_it(tmp_path):
    ours, theirs = os.openpty()

    def has_terminal():
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    GOOD.write(tmp_path)
    (tmp_path / "web.py").write_text(APP)
    command = [sys.executable, "-m", "greenhttp", "-b", "127.0.0.1:0", "--certfile", "server.pem", "web:app"]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environ, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=has_terminal,
    ) as process:  # fmt: skip
        os.close(theirs)
        try:
            assert any("Ctrl-C" in line for line in process.stderr)
            process.send_signal(signal.SIGHUP)  # the terminal is there: the certificates are looked at
            put(tmp_path / "server.pem", b"")
            process.send_signal(signal.SIGHUP)
            assert any("cannot be read again" in line for line in process.stderr)
        finally:
            os.close(ours)
        try:
            assert process.wait(60) == 0
        finally:
            process.kill()
