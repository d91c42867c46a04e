"""10,000 connections that send their request head a byte a second, and what honest clients notice of them.

Once with the server's own time-outs, where it answers 408 or closes and the attackers come back at once; once with a
header time-out that lets them stay (greenhttp alone has that switch here).
"""

import select
import socket
import time

from perf.reach.figure import Figure
from perf.tools import clients, honest, procfs
from perf.tools.servers import Running, Server

CONNECTIONS = 10_000
SECONDS = 25
HEAD = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: " + b"a" * 400


class Trickler:
    """One attacker's connection, opened anew whenever the server ends it."""

    def __init__(self, port: int, poller: select.epoll, tricklers: dict[int, "Trickler"]):
        self._port, self._poller, self._tricklers = port, poller, tricklers
        self.ended, self.timed_out = 0, 0
        self._open()

    def _open(self) -> None:
        self._sent, self._socket = 0, socket.socket()
        self._socket.setblocking(False)
        self._socket.connect_ex(("127.0.0.1", self._port))
        self._tricklers[self._socket.fileno()] = self
        self._poller.register(self._socket, select.EPOLLIN)

    def send_one(self) -> None:
        try:
            self._sent += self._socket.send(HEAD[self._sent : self._sent + 1])
        except BlockingIOError:
            pass  # still connecting: the backlog is full
        except OSError:
            self.again()

    def readable(self) -> None:
        try:
            data = self._socket.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self.timed_out += data.startswith(b"HTTP/1.1 408")
        self.again()

    def again(self) -> None:
        self.ended += 1
        self.close()
        self._open()

    def close(self) -> None:
        self._tricklers.pop(self._socket.fileno(), None)
        self._socket.close()


def attack(running: Running, say, title: str) -> list[Figure]:
    for _ in range(20):
        client = clients.connect(running.port)
        clients.ask(client)
        client.close()
    procfs.reset_peak(running.pids())
    poller, tricklers = select.epoll(), {}
    crowd = []
    for number in range(CONNECTIONS):
        crowd.append(Trickler(running.port, poller, tricklers))
        if number % 200 == 199:
            time.sleep(0.01)  # 20,000 a second: the backlog is not what is measured
    try:
        stopwatch = honest.start(running.port, SECONDS - 1)
        began = time.monotonic()
        for share in clients.turns(crowd, SECONDS):
            for trickler in share:
                trickler.send_one()
            for descriptor, _ in poller.poll(0, 1000):
                if trickler := tricklers.get(descriptor):
                    trickler.readable()
            say(f"{title}, {SECONDS - (time.monotonic() - began):.0f} s left")
        honest_figures = honest.result(stopwatch)
        held = procfs.descriptors(running.pids())
        peak = procfs.peak_rss(running.pids())
    finally:
        for trickler in crowd:
            trickler.close()
        poller.close()
    return [
        Figure(f"{title}: peak RSS", peak / 1e6, "MB", below=100),
        Figure(f"{title}: honest clients' p99", honest_figures["p99"], "ms", below=50),
        Figure(f"{title}: honest clients' failures", honest_figures["failures"], at_most=0),
        Figure(f"{title}: honest clients' answers", honest_figures["answered"]),
        Figure(f"{title}: honest clients' p50", honest_figures["p50"], "ms"),
        Figure(f"{title}: honest clients' longest", honest_figures["max"], "ms"),
        Figure(f"{title}: 408 answers to the others", sum(trickler.timed_out for trickler in crowd)),
        Figure(f"{title}: their connections ended by the server", sum(trickler.ended for trickler in crowd)),
        Figure(f"{title}: descriptors the server holds at the end", held),
    ]


def run(server: Server, say) -> list[Figure]:
    with Running(server, "hello-10000") as running:
        figures = attack(running, say, "default time-outs")
    if server.name == "greenhttp":
        with Running(server, "hello-10000", extra=("--header-timeout", "300")) as running:
            figures += attack(running, say, "header time-out 300 s")
    return figures
