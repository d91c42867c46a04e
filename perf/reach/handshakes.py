"""What honest clients of a TLS server notice of handshakes: a thousand that stall, and floods of new ones.

- stalled: 1,000 connections that send nothing, half a ClientHello, or one and then nothing more, a third each. Whom the
  server ends comes back at once.
- whole: one client makes handshake after handshake, each on a connection of its own, and goes.
- hellos: one process sends a ClientHello on connection after connection, reads no answer and goes. Such a client works
  a quarter of what the server does, so the server has no moment without a handshake to make.

Honest clients keep four connections that they made before. All are there before the stopwatch begins.
"""

import contextlib
import multiprocessing
import select
import socket
import ssl
import time

from perf.reach.figure import Figure
from perf.tools import clients, honest, procfs
from perf.tools.servers import Running, Server

STALLED = 1000
AT_ONCE = 200  # hellos that no answer has come to: below any backlog
SECONDS = 15


def hello() -> bytes:
    """The first flight of OpenSSL's client. A server cannot know that it has seen it before."""
    tls = clients.trusting().wrap_bio(ssl.MemoryBIO(), outgoing := ssl.MemoryBIO(), server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def opened(port: int) -> socket.socket:
    client = socket.socket()
    client.setblocking(False)
    client.connect_ex(("127.0.0.1", port))
    return client


class Crowd:
    """Connections that send their part, and are opened anew whenever the server ends them or, for `goes`, answers."""

    def __init__(self, port: int, parts: list[bytes], goes: bool):
        self._port, self._parts, self._goes = port, parts, goes
        self._poller, self._open, self.ended = select.epoll(), {}, 0
        for part in parts:
            self._begin(part)

    def _begin(self, part: bytes) -> None:
        client = opened(self._port)
        self._open[client.fileno()] = client, part
        self._poller.register(client, select.EPOLLOUT if part else select.EPOLLIN)

    def turn(self, timeout: float) -> None:
        for descriptor, events in self._poller.poll(timeout, 1000):
            client, part = self._open[descriptor]
            if events == select.EPOLLOUT:
                with contextlib.suppress(OSError):
                    client.send(part)
                self._poller.modify(client, select.EPOLLIN)
                continue
            try:
                over = self._goes or not client.recv(65536)
            except BlockingIOError:
                over = False
            except OSError:
                over = True
            if over:
                self.ended += 1
                del self._open[descriptor]
                client.close()
                self._begin(part)

    def close(self) -> None:
        for client, _ in self._open.values():
            client.close()
        self._poller.close()


def stalled(port: int) -> Crowd:
    whole = hello()
    parts = (b"", whole[: len(whole) // 2], whole)
    return Crowd(port, [parts[number % 3] for number in range(STALLED)], goes=False)


def hellos(port: int) -> Crowd:
    return Crowd(port, [hello()] * AT_ONCE, goes=True)


class Whole:
    """Handshake after handshake."""

    def __init__(self, port: int):
        self._port, self.ended = port, 0

    def turn(self, timeout: float) -> None:
        with contextlib.suppress(OSError), clients.connect(self._port, tls=True):
            self.ended += 1

    def close(self) -> None:
        pass


KINDS = {"stalled": stalled, "whole": Whole, "hellos": hellos}


def attack(kind: str, port: int, seconds: float, ended) -> None:
    """In a process of its own, as the stopwatch is. The kernel shares the core between them."""
    attacker = KINDS[kind](port)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        attacker.turn(0.01)
    attacker.close()
    ended.value = attacker.ended


def measured(running: Running, say, kind: str) -> list[Figure]:
    stopwatch = honest.start(running.port, SECONDS, tls=True)
    with clients.connect(running.port, tls=True) as client:  # its connections are made beside this one
        for _ in range(20):
            clients.ask(client)
            time.sleep(0.05)
    ended = multiprocessing.get_context("spawn").Value("L", 0)
    attacking = multiprocessing.get_context("spawn").Process(
        target=attack, args=(kind, running.port, SECONDS + 1, ended)
    )
    before = procfs.cpu(running.pids())
    began = time.monotonic()
    attacking.start()
    while stopwatch.poll() is None:
        say(f"{kind}, {SECONDS - (time.monotonic() - began):.0f} s left")
        time.sleep(0.2)
    used = procfs.cpu_ns(before, procfs.cpu(running.pids())) / 1e9 / (time.monotonic() - began)
    figures = honest.result(stopwatch)
    attacking.join(60)
    what = "connections that the server ended" if kind == "stalled" else "handshakes"
    return [
        Figure(f"{kind}: honest clients' p99", figures["p99"], "ms", below=50),
        Figure(f"{kind}: honest clients' failures", figures["failures"], at_most=0),
        Figure(f"{kind}: honest clients' answers", figures["answered"]),
        Figure(f"{kind}: honest clients' p50", figures["p50"], "ms"),
        Figure(f"{kind}: honest clients' longest", figures["max"], "ms"),
        Figure(f"{kind}: {what} a second", ended.value / (SECONDS + 1)),
        Figure(f"{kind}: of its core the server used", used * 100, "%"),
    ]


def run(server: Server, say) -> list[Figure]:
    figures = []
    for kind in KINDS:
        with Running(server, "tls-64") as running:
            figures += measured(running, say, kind)
    return figures
