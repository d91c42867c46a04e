"""One thread, generators as coroutines, and a scheduler of their own on `selectors`.

A connection's life reads from top to bottom again: wherever it has to wait, it yields what it waits for. The price is
that everything that may wait, and all that calls it, must be a generator too and be called with `yield from`, the
handler included: it cannot call a library that simply blocks.
"""

import contextlib
import heapq
import itertools
import selectors
import socket
import time
from collections import deque
from collections.abc import Generator
from typing import NamedTuple

from perf.models import tiny

ACCEPTS = 64
"""Connections accepted in a row before the others have their turn again."""
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Ready(NamedTuple):
    """Yielded to wait until the socket is readable or writable."""

    socket: socket.socket
    event: int


class Sleep(NamedTuple):
    """Yielded to wait for a time."""

    seconds: float


Coroutine = Generator[Ready | Sleep, None, None]


class Watch:
    """What the selector knows of a socket: which event is watched for, and the coroutine that waits for it, if any."""

    __slots__ = ("event", "waiter")

    def __init__(self, event: int, waiter: Coroutine):
        self.event, self.waiter = event, waiter


class Scheduler:
    def __init__(self):
        self.ready: deque[Coroutine] = deque()
        self.sleepers: list[tuple[float, int, Coroutine]] = []
        self.numbers = itertools.count()  # equal times are sorted by these, coroutines do not compare
        self.selector = selectors.DefaultSelector()
        self.watches: dict[int, Watch] = {}

    def start(self, coroutine: Coroutine) -> None:
        self.ready.append(coroutine)

    def run(self) -> None:
        while True:
            for _ in range(len(self.ready)):  # whoever is started meanwhile has its turn after the next poll
                self.step(self.ready.popleft())
            self.poll()

    def step(self, coroutine: Coroutine) -> None:
        """Let it run as far as it gets."""
        try:
            wish = next(coroutine)
        except StopIteration:
            return
        if isinstance(wish, Sleep):
            heapq.heappush(self.sleepers, (time.monotonic() + wish.seconds, next(self.numbers), coroutine))
        else:
            self.watch(wish, coroutine)

    def watch(self, wish: Ready, coroutine: Coroutine) -> None:
        """A watch stays in the selector when its event has come: most waits are for the same event once more."""
        descriptor = wish.socket.fileno()
        known = self.watches.get(descriptor)
        if known is None:
            known = self.watches[descriptor] = Watch(wish.event, coroutine)
            self.selector.register(descriptor, wish.event, known)
        elif known.event != wish.event:
            known.event = wish.event
            self.selector.modify(descriptor, wish.event, known)
        known.waiter = coroutine

    def forget(self, connection: socket.socket) -> None:
        """Before a socket is closed: its number will be another's soon."""
        if self.watches.pop(connection.fileno(), None):
            self.selector.unregister(connection)

    def poll(self) -> None:
        patience = None
        if self.ready:
            patience = 0.0
        elif self.sleepers:
            patience = max(0.0, self.sleepers[0][0] - time.monotonic())
        for key, _ in self.selector.select(patience):
            if key.data.waiter is not None:
                self.ready.append(key.data.waiter)
                key.data.waiter = None
            else:  # nobody waits for it now, as while a handler sleeps: it would be told again and again
                self.selector.unregister(key.fd)
                del self.watches[key.fd]
        now = time.monotonic()
        while self.sleepers and self.sleepers[0][0] <= now:
            self.ready.append(heapq.heappop(self.sleepers)[2])


# ---- the server, as coroutines


def handle(path: bytes) -> Generator[Sleep, None, bytes]:
    if path == b"/wait":
        yield Sleep(tiny.WAIT)
    return tiny.answer_to(path)


def send(connection: socket.socket, data: bytes) -> Generator[Ready, None, None]:
    """Tries first: an answer nearly always fits."""
    rest = memoryview(data)
    while True:
        with contextlib.suppress(BlockingIOError):
            rest = rest[connection.send(rest) :]
        if not rest:
            return
        yield Ready(connection, WRITE)


def receive(connection: socket.socket) -> Generator[Ready, None, bytes]:
    """Waits first: the next request is hardly ever there already."""
    while True:
        yield Ready(connection, READ)
        with contextlib.suppress(BlockingIOError):
            return connection.recv(tiny.RECEIVE)


def converse(scheduler: Scheduler, connection: socket.socket) -> Coroutine:
    """`tiny.converse` once more: the same lines, with `yield from` wherever one of them may wait."""
    buffer, keep = bytearray(), True
    try:
        while keep:
            try:
                while (request := tiny.take(buffer)) is None:
                    data = yield from receive(connection)
                    if not data:
                        return
                    buffer += data
                answer, keep = (yield from handle(request.path)), request.keep
            except tiny.BadRequest as error:
                answer, keep = error.answer, False
            yield from send(connection, answer)
    except OSError:
        pass  # the client has gone: nobody is left to be told
    finally:
        scheduler.forget(connection)
        connection.close()


def serve(scheduler: Scheduler, listener: socket.socket) -> Coroutine:
    while True:
        yield Ready(listener, READ)
        for _ in range(ACCEPTS):
            try:
                accepted, _ = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                break
            accepted.setblocking(False)
            scheduler.start(converse(scheduler, accepted))


def main() -> None:
    scheduler = Scheduler()
    scheduler.start(serve(scheduler, tiny.listen(tiny.port_from_arguments(), blocking=False)))
    scheduler.run()


if __name__ == "__main__":
    main()
