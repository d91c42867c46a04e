"""Run entries: against a server process over TCP, and against the server in memory."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

import gevent

from greenhttp.green.deadline import Sweep
from greenhttp.green.transport import MemoryStream
from greenhttp.hosting.interface import hosted
from greenhttp.http.connection import State, connect_memory
from greenhttp.http.service import Service
from greenhttp.settings.values import Settings
from tests.answers import Answer, Incomplete, one
from tests.contract.cases import ABORTED, CLOSED, LIMITS, LINGERED, Case, Seen
from tests.system.process import Process

TIMEOUT = 60  # seconds; only a hang takes as long
TOGETHER = 100  # connections open at once; a process may have 256 descriptors where it has fewest


class Outcome(NamedTuple):
    """What a connection came to."""

    sent: bytes
    end: str | None  # None: still open


def answers_of(sent: bytes, methods: Iterable[str]) -> list[Answer]:
    """The answers in the bytes of a whole connection; a last one that is not whole is left out."""
    found: list[Answer] = []
    turn = iter(methods)
    method = next(turn, "GET")
    try:
        while sent:
            answer, sent = one(sent, method)
            found.append(answer)
            if answer.status >= 200:
                method = next(turn, "GET")
    except Incomplete:
        pass
    return found


# ---- in memory


def in_memory(
    app: Callable[..., Any], conversations: Iterable[list[bytes]], *, finished: bool, window: int | None = None,
    **settings: Any,
) -> list[Outcome]:  # fmt: skip
    """Each conversation on a connection of its own, all of them with one server at once.

    All is real but the sockets, as in greenhttp.testing.exchange, which makes a server for each.
    """
    logged: list[str] = []
    values = Settings(**{**LIMITS, **settings}).resolved(1024)
    service = Service(values, 1 << 20, lambda level, message, error=None: logged.append(message))
    service.attach(hosted(app, values))
    service.pool.start()
    sweep = Sweep(service.pool.loop, service.phases)
    sweep.start()
    streams = [MemoryStream(pieces, keep_open=not finished, window=window) for pieces in conversations]
    connections = [connect_memory(service, stream) for stream in streams]

    def settled() -> bool:
        now = service.statistics()
        return not (now["pool_ready"] or now["running"] or now["pool_waiting"]) and all(
            connection.state == State.CLOSED
            or (stream.exhausted and connection.state in (State.HEAD, State.LINGER, State.DRAIN))
            for connection, stream in zip(connections, streams, strict=True)
        )

    try:
        while not settled():
            gevent.idle()
        return [
            Outcome(
                bytes(stream.outgoing),
                ABORTED if stream.reset else LINGERED if stream.hung_up
                else CLOSED if connection.state == State.CLOSED else None,
            )
            for connection, stream in zip(connections, streams, strict=True)
        ]  # fmt: skip
    finally:
        for connection in connections:
            if connection.state != State.CLOSED:
                connection.cut()
        sweep.stop()
        service.pool.stop()
        gevent.idle()


# ---- over TCP


class ServerProcess(Process):
    """A process with one server for each kind of application."""

    def __init__(self) -> None:
        super().__init__(str(Path(__file__).parents[2]), "-m", "tests.contract.process")
        self.ports: dict[str, int] = json.loads(self.stdout.readline() or "{}")

    def converse(self, kind: str, cases: Iterable[Case]) -> Iterator[tuple[Case, Outcome, list[Seen]]]:
        """What each entry came to and what the application saw of it, each on a connection of its own."""
        waiting = list(cases)
        while waiting:
            batch, waiting = waiting[:TOGETHER], waiting[TOGETHER:]
            with ExitStack() as stack:
                make = SecureClient if kind.endswith(WAYS) else Client
                clients = [stack.enter_context(make(self.ports[kind])) for _ in batch]
                for client, case in zip(clients, batch, strict=True):
                    client.start(case)
                ended = [client.outcome(case) for client, case in zip(clients, batch, strict=True)]
                seen = self.seen(kind)
                for client, case, outcome in zip(clients, batch, ended, strict=True):
                    yield case, outcome, seen.get(client.name, [])

    def seen(self, kind: str) -> dict[str, list[Seen]]:
        """Which requests came by which port of the client's, since it was last asked."""
        told = [b"GET /told HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"]
        (outcome,) = over_tcp(self.ports[kind], told, secure=kind.endswith(WAYS))
        (answer,) = answers_of(outcome.sent, ["GET"])
        found: dict[str, list[Seen]] = {}
        for name, method, target, host, fields, body in json.loads(answer.content):
            found.setdefault(name, []).append(Seen(method, target, host, tuple(map(tuple, fields)), body))
        return found


def over_tcp(port: int, requests: Iterable[bytes], secure: bool = False) -> Iterator[Outcome]:
    """What each came to, on a connection of its own."""
    make = SecureClient if secure else Client
    waiting = list(requests)
    while waiting:
        batch, waiting = waiting[:TOGETHER], waiting[TOGETHER:]
        with ExitStack() as stack:
            clients = [stack.enter_context(make(port)) for _ in batch]
            for client, request in zip(clients, batch, strict=True):
                client.send(request)
            yield from [client.rest() for client in clients]


class Client:
    """A connection over TCP."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self.name = str(self.sock.getsockname()[1])
        self.got = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def start(self, case: Case) -> None:
        self.send(case.data + (b"" if case.then else case.behind))
        if case.finished:
            self.finish()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def finish(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def receive(self) -> bytes:
        return self.sock.recv(65536)

    def outcome(self, case: Case) -> Outcome:
        if case.then:
            while not self.got.startswith(b"HTTP/1.1 100 ") and (piece := self.receive()):
                self.got += piece
            self.send(case.then + case.behind)
        return self.rest()

    def rest(self) -> Outcome:
        """Everything up to the end, and what kind of end that is."""
        try:
            while piece := self.receive():
                self.got += piece
        except (ConnectionResetError, ssl.SSLEOFError):  # an end without TLS's goodbye cannot look whole either
            return Outcome(self.got, ABORTED)
        return Outcome(self.got, CLOSED)


WAYS = ("direct", "simple")  # what the names of servers over TLS end with
RECORDS = 2000  # bytes that are sent in a record each; what follows those is one


class SecureClient(Client):
    """A connection over TLS; each byte it sends is a record."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = self.context.wrap_bio(self.incoming, self.outgoing)
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.sock.sendall(self.outgoing.read())
                self.incoming.write(self.sock.recv(65536))
            else:
                break
        self.sock.sendall(self.outgoing.read())

    def send(self, data: bytes) -> None:
        for at in range(min(len(data), RECORDS)):
            self.tls.write(data[at : at + 1])
        if len(data) > RECORDS:
            self.tls.write(data[RECORDS:])
        self.sock.sendall(self.outgoing.read())

    def finish(self) -> None:
        with suppress(ssl.SSLWantReadError):  # the server's goodbye comes behind its answer
            self.tls.unwrap()
        self.sock.sendall(self.outgoing.read())
        super().finish()

    def receive(self) -> bytes:
        while True:
            try:
                return self.tls.read(65536)
            except ssl.SSLWantReadError:
                if came := self.sock.recv(65536):
                    self.incoming.write(came)
                else:
                    self.incoming.write_eof()
            except ssl.SSLZeroReturnError:
                return b""
