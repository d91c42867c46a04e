"""Workers fed by one multiplexer: an event loop reads and writes all connections, real threads run the requests.

A slow client costs the loop a buffer and no worker; a connection between requests costs no thread. A handler that waits
holds a worker, so there are as many waits side by side as workers. Each request is handed from the loop to a worker and
back: a queue there, a list and a wake-up pipe back, and twice a switch between threads that share one lock.

A connection has at most one request with the workers. What else it sends meanwhile waits in its buffer, up to a limit
beyond which the loop no longer reads it.
"""

import contextlib
import os
import queue
import selectors
import socket
import threading
import time
from collections import deque

from perf.models import tiny

THREADS = 64
STACK = 131072
AHEAD = 65536
"""Bytes that a connection may have sent ahead while its request is with the workers."""
ACCEPTS = 64
"""Connections accepted in a row before the others have their turn again."""
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Connection:
    __slots__ = ("answer", "buffer", "busy", "ended", "interest", "keep", "socket")

    def __init__(self, accepted: socket.socket):
        self.socket, self.buffer, self.interest = accepted, bytearray(), READ
        self.answer: memoryview | None = None  # what of the answer has not been sent yet
        self.busy = self.ended = False  # its request is with the workers; the client sends nothing more
        self.keep = True


class Multiplexer:
    def __init__(self, listener: socket.socket, threads: int = THREADS):
        self.listener, self.threads = listener, threads
        self.selector = selectors.DefaultSelector()
        self.requests: queue.SimpleQueue[tuple[Connection, bytes]] = queue.SimpleQueue()
        self.answers: deque[tuple[Connection, bytes]] = deque()
        self.wake_up, self.alarm = os.pipe()
        self.alarmed = False

    # ---- a worker's side

    def work(self) -> None:
        while True:
            connection, path = self.requests.get()
            answer = tiny.handle(path, time.sleep)
            self.answers.append((connection, answer))
            # One byte for many answers. The loop takes `alarmed` back before it looks at the answers: who still finds
            # it set has been in time. Two workers that both find it not set write a byte too many, which does no harm.
            if not self.alarmed:
                self.alarmed = True
                os.write(self.alarm, b"!")

    # ---- the loop's side

    def run(self) -> None:
        for _ in range(self.threads):
            threading.Thread(target=self.work, daemon=True).start()
        self.selector.register(self.listener, READ, None)
        self.selector.register(self.wake_up, READ, self.wake_up)
        while True:
            for key, events in self.selector.select():
                if key.data is None:
                    self.accept()
                elif key.data is self.wake_up:
                    self.deliver()
                elif events & WRITE:
                    self.guarded(self.send, key.data)
                else:
                    self.guarded(self.receive, key.data)

    def accept(self) -> None:
        for _ in range(ACCEPTS):
            try:
                accepted, _ = self.listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            accepted.setblocking(False)
            self.selector.register(accepted, READ, Connection(accepted))

    def guarded(self, step, connection: Connection) -> None:
        try:
            step(connection)
        except BlockingIOError:
            pass  # not ready after all
        except tiny.BadRequest as error:
            connection.keep = False
            self.start(connection, error.answer)
        except OSError:
            self.close(connection)

    def receive(self, connection: Connection) -> None:
        data = connection.socket.recv(tiny.RECEIVE)
        connection.buffer += data
        connection.ended = not data
        if not connection.busy:
            self.advance(connection)
        elif not data or len(connection.buffer) >= AHEAD:
            self.watch(connection, 0)

    def advance(self, connection: Connection) -> None:
        """The next request to the workers, if it is there."""
        if request := tiny.take(connection.buffer):
            connection.busy, connection.keep = True, request.keep
            self.requests.put((connection, request.path))
        elif connection.ended:
            self.close(connection)
        else:
            self.watch(connection, READ)

    def deliver(self) -> None:
        os.read(self.wake_up, 4096)
        self.alarmed = False
        while self.answers:
            connection, answer = self.answers.popleft()
            connection.busy = False
            self.start(connection, answer)

    def start(self, connection: Connection, answer: bytes) -> None:
        connection.answer = memoryview(answer)
        self.guarded(self.send, connection)

    def send(self, connection: Connection) -> None:
        with contextlib.suppress(BlockingIOError):
            connection.answer = connection.answer[connection.socket.send(connection.answer) :]
        if connection.answer:
            self.watch(connection, WRITE)
        elif connection.keep:
            self.advance(connection)
        else:
            self.close(connection)

    def watch(self, connection: Connection, interest: int) -> None:
        if interest == connection.interest:
            return
        if not interest:
            self.selector.unregister(connection.socket)
        elif connection.interest:
            self.selector.modify(connection.socket, interest, connection)
        else:
            self.selector.register(connection.socket, interest, connection)
        connection.interest = interest

    def close(self, connection: Connection) -> None:
        self.watch(connection, 0)
        connection.socket.close()


def main() -> None:
    threading.stack_size(STACK)
    Multiplexer(tiny.listen(tiny.port_from_arguments(), blocking=False)).run()


if __name__ == "__main__":
    main()
