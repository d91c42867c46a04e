"""One thread and a state machine written by hand, on `selectors`.

Nothing here may wait, so everything that does in plain code is cut at that point and remembered: where a connection
stands is `state`, what the plain code would have kept in local variables are attributes, and a handler that waits is a
deadline in a heap whose second half is another function. The cheapest structure per connection, no switches and no
locks; a computation stops everybody.
"""

import enum
import heapq
import itertools
import selectors
import socket
import time

from perf.models import tiny

ACCEPTS = 64
"""Connections accepted in a row before the others have their turn again."""
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class State(enum.Enum):
    READING = "waits for a head to be complete"
    HANDLING = "the handler waits for its deadline"
    WRITING = "waits for the client to take the rest of an answer"
    CLOSED = "is over; an event that came in the same turn may still be its"


READING, HANDLING, WRITING, CLOSED = State
INTEREST = {READING: READ, WRITING: WRITE, CLOSED: 0}
"""What the selector watches for. HANDLING leaves it as it is, for nearly always READING is what follows."""


class Connection:
    __slots__ = ("answer", "buffer", "interest", "keep", "path", "socket", "state")

    def __init__(self, accepted: socket.socket):
        self.socket, self.buffer = accepted, bytearray()
        self.state, self.interest = READING, READ
        self.answer: memoryview | None = None  # what of it has not been sent yet
        self.path = b""
        self.keep = True


class Machine:
    def __init__(self, listener: socket.socket):
        self.listener = listener
        self.selector = selectors.DefaultSelector()
        self.deadlines: list[tuple[float, int, Connection]] = []
        self.numbers = itertools.count()  # between equal deadlines the older goes first, and connections do not compare

    def run(self) -> None:
        self.selector.register(self.listener, READ, None)
        while True:
            patience = max(0.0, self.deadlines[0][0] - time.monotonic()) if self.deadlines else None
            for key, _ in self.selector.select(patience):
                if key.data is None:
                    self.accept()
                else:
                    self.ready(key.data)
            now = time.monotonic()
            while self.deadlines and self.deadlines[0][0] <= now:
                self.expired(heapq.heappop(self.deadlines)[2])

    def accept(self) -> None:
        for _ in range(ACCEPTS):
            try:
                accepted, _ = self.listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            accepted.setblocking(False)
            self.selector.register(accepted, READ, Connection(accepted))

    # ---- what may happen to a connection. Each changes its state as far as it gets without waiting.

    def ready(self, connection: Connection) -> None:
        """It is readable or writable, whichever its state waits for."""
        try:
            if connection.state is READING:
                data = connection.socket.recv(tiny.RECEIVE)
                if not data:
                    self.enter(connection, CLOSED)
                    return
                connection.buffer += data
                self.requests(connection)
            elif connection.state is WRITING:
                if self.sent(connection):
                    self.answered(connection)
            elif connection.state is HANDLING:  # the client sends ahead: not to be told so again and again
                self.watch(connection, 0)
        except BlockingIOError:
            pass  # not ready after all
        except OSError:
            self.enter(connection, CLOSED)

    def expired(self, connection: Connection) -> None:
        """The handler's wait is over: its second half."""
        try:
            if self.answer(connection, tiny.answer_to(connection.path)):
                self.answered(connection)
        except OSError:
            self.enter(connection, CLOSED)

    # ---- the steps of a request

    def requests(self, connection: Connection) -> None:
        """Handle what is complete in the buffer. Returns where a request waits, in whatever sense, or none is left."""
        try:
            while request := tiny.take(connection.buffer):
                connection.path, connection.keep = request
                if request.path == b"/wait":
                    deadline = time.monotonic() + tiny.WAIT
                    heapq.heappush(self.deadlines, (deadline, next(self.numbers), connection))
                    self.enter(connection, HANDLING)
                    return
                if not self.answer(connection, tiny.answer_to(request.path)):
                    return
                if not request.keep:
                    self.enter(connection, CLOSED)
                    return
            self.enter(connection, READING)
        except tiny.BadRequest as error:
            connection.keep = False
            if self.answer(connection, error.answer):
                self.enter(connection, CLOSED)

    def answer(self, connection: Connection, answer: bytes) -> bool:
        """Send it, or what fits of it. False: the rest waits, in the state WRITING."""
        connection.answer = memoryview(answer)
        return self.sent(connection)

    def sent(self, connection: Connection) -> bool:
        try:
            size = connection.socket.send(connection.answer)
        except BlockingIOError:
            size = 0
        connection.answer = connection.answer[size:] if size < len(connection.answer) else None
        if connection.answer:
            self.enter(connection, WRITING)
        return not connection.answer

    def answered(self, connection: Connection) -> None:
        """An answer that had to wait has gone: on to what the client may have sent meanwhile."""
        if connection.keep:
            self.requests(connection)
        else:
            self.enter(connection, CLOSED)

    def enter(self, connection: Connection, state: State) -> None:
        """Into a state, and let the selector watch for what that state waits for."""
        connection.state = state
        self.watch(connection, INTEREST.get(state, connection.interest))
        if state is CLOSED:
            connection.socket.close()

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


def main() -> None:
    Machine(tiny.listen(tiny.port_from_arguments(), blocking=False)).run()


if __name__ == "__main__":
    main()
