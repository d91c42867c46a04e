"""10,000 connections that each send 63 KiB of a head and no more, on a server with its own limits: what does it hold of
the 645 MB, and what do honest clients notice?

All connections are there before the first sends. 100 more begin with a small head and finish it in the end: they must
be answered. The figure is the peak of resident memory beyond what there was before; greenhttp's bound is its
`limit_buffers` (256 MiB by default) and 32 MiB for the connections themselves, its buffers and the allocator.
"""

import contextlib
import select
import time

from perf.reach.figure import Figure
from perf.tools import clients, honest, procfs
from perf.tools.servers import Running, Server

CONNECTIONS = 10_000
SMALL = 100
RATE = 1000  # half heads a second: 65 MB/s
SECONDS = 15
HALF = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: " + b"a" * (63 << 10)
BOUND = (256 + 32) * 1.048576


class Crowd:
    """The attackers' sockets, and how the server ended which of them."""

    def __init__(self):
        self._poller, self._sockets = select.epoll(), []
        self.open, self.refused, self.closed = {}, 0, 0

    def connect(self, port: int):
        client = clients.connect(port)
        self._sockets.append(client)
        self.open[client.fileno()] = client
        self._poller.register(client, select.EPOLLIN)

    def send(self, client) -> None:
        with contextlib.suppress(OSError):  # refused meanwhile: `look` counts it
            client.sendall(HALF)

    def look(self) -> None:
        for descriptor, _ in self._poller.poll(0, 1000):
            client = self.open.pop(descriptor)
            self._poller.unregister(client)
            try:
                answer = client.recv(4096)
            except OSError:
                answer = b""
            self.refused += answer.startswith(b"HTTP/1.1 431")
            self.closed += not answer

    def close(self) -> None:
        self._poller.close()
        for client in self._sockets:
            client.close()


def finished(client) -> bool:
    """Whether a head that was begun long ago is answered once it is complete."""
    try:
        client.sendall(b"\r\n")
        return client.recv(4096).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def run(server: Server, say) -> list[Figure]:
    # Nothing but the memory is to end the heads.
    extra = ("--header-timeout", "300") if server.name == "greenhttp" else ()
    with Running(server, "hello-10000", extra=extra) as running:
        for _ in range(20):
            client = clients.connect(running.port)
            clients.ask(client)
            client.close()
        crowd, small = Crowd(), [clients.connect(running.port) for _ in range(SMALL)]
        try:
            for client in small:
                client.sendall(clients.get()[:-2])
            procfs.reset_peak(running.pids())
            before = procfs.rss(running.pids())
            say(f"opening {CONNECTIONS:,} connections")
            for _ in range(CONNECTIONS):
                crowd.connect(running.port)
            stopwatch = honest.start(running.port, SECONDS - 1)
            began = time.monotonic()
            for number, client in enumerate(list(crowd.open.values())):
                if number % 10 == 0:
                    time.sleep(max(0.0, began + number / RATE - time.monotonic()))
                    crowd.look()
                    say(f"half heads, {SECONDS - (time.monotonic() - began):.0f} s left")
                crowd.send(client)
            honest_figures = honest.result(stopwatch)
            for _ in range(CONNECTIONS // 1000 + 1):
                crowd.look()
            answered = sum(map(finished, small))
            peak = procfs.peak_rss(running.pids())
        finally:
            crowd.close()
            for client in small:
                client.close()
        return [
            Figure("peak RSS growth", (peak - before) / 1e6, "MB", below=BOUND),
            Figure("honest clients' p99", honest_figures["p99"], "ms", below=50),
            Figure("honest clients' failures", honest_figures["failures"], at_most=0),
            Figure("honest clients' answers", honest_figures["answered"]),
            Figure("honest clients' longest", honest_figures["max"], "ms"),
            Figure("small heads that were not answered when they were finished", SMALL - answered, at_most=0),
            Figure("half heads refused with 431", crowd.refused),
            Figure("half heads closed without an answer", crowd.closed),
            Figure("half heads kept", len(crowd.open)),
        ]
