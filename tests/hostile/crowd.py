"""Ten thousand connections at once, held by the test: plain sockets and one poll, with honest clients in between."""

from __future__ import annotations

import contextlib
import resource
import select
import socket

import pytest

from perf.tools import clients

SIZE = 10_000
DESCRIPTORS = SIZE + 500  # of this process and of the server's each
ASK_EVERY = 250  # calls on attackers' sockets; then every honest client gets its turn


def enough_descriptors() -> None:
    """Raise the soft limit of this process, and of those it starts, as far as a crowd needs; skip where it cannot."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        pytest.skip(f"a crowd needs {DESCRIPTORS:,} descriptors, and the hard limit is {hard:,}: ulimit -Hn")
    if soft != resource.RLIM_INFINITY and soft < DESCRIPTORS:
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))


class Honest:
    """Four kept connections and a new one each time; `answers` counts what was right, what is not raises."""

    def __init__(self, port: int) -> None:
        self._port, self._kept, self.answers = port, [clients.connect(port) for _ in range(4)], 0
        for client in self._kept:
            client.settimeout(60)  # far beyond what an answer takes on a busy machine

    def ask(self) -> None:
        new = clients.connect(self._port)
        new.settimeout(60)
        with new:
            for client in (*self._kept, new):
                path = f"/{self.answers}"
                assert clients.ask(client, path) == (200, path.encode())
                self.answers += 1

    def close(self) -> None:
        for client in self._kept:
            client.close()


class Crowd:
    """Attackers' sockets, and how each connection ended.

    Attributes:
        open: descriptor -> socket, of those whose end has not been seen.
        ends: descriptor -> status of the answer, or "closed" where there was none. The sockets stay open.
    """

    def __init__(self, port: int) -> None:
        self.honest, self._port, self._calls = Honest(port), port, 0
        self.open: dict[int, socket.socket] = {}
        self.ends: dict[int, str] = {}
        self._sockets: list[socket.socket] = []
        self._poll = select.epoll()

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for one in self._sockets:
            one.close()
        self._poll.close()
        self.honest.close()

    def connect(self) -> socket.socket:
        one = clients.connect(self._port)
        one.settimeout(60)
        self._sockets.append(one)
        self.open[one.fileno()] = one
        self._poll.register(one, select.EPOLLIN)
        return one

    def send(self, one: socket.socket, data: bytes) -> None:
        """All of it, unless the server has ended the connection. Now and then honest clients are served meanwhile."""
        with contextlib.suppress(OSError):  # its end is seen by `look`
            one.sendall(data)
        self._calls += 1
        if self._calls % ASK_EVERY == 0:
            self.honest.ask()

    def look(self, timeout: float = 0) -> None:
        """Note the ends that are there; wait up to `timeout` seconds for one."""
        for descriptor, _ in self._poll.poll(timeout, 1000):
            one = self.open.pop(descriptor)
            self._poll.unregister(one)
            try:
                line = one.recv(65536)[:12]
            except ConnectionResetError:
                line = b""
            assert not line or line.startswith(b"HTTP/1.1 "), line
            self.ends[descriptor] = line[9:].decode() or "closed"
