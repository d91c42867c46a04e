"""The same worlds on gevent's own loops and the system's own sockets: without the promise of replay.

`System` has the functions of world.c as far as a world uses them, over loopback; time is real, a tenth as long. What
only an interposed system can do - short calls, interrupted ones, a signal inside a call - does not happen here.
"""

import _socket
import contextlib
import os
import select
import signal
import struct
import time

from tests.sim.native import END, RESET

SCALE = 0.1  # of all that is counted in seconds
PUMP = 0.002  # seconds between two turns of the clients
RESETTING = struct.pack("ii", 1, 0)
NOT_CLOSED = "01", "08"  # ESTABLISHED, CLOSE_WAIT in /proc/net/tcp: with inode 0, one that waits to be accepted


class System:
    """Sockets of the system in place of those of world.c; see native.py for what each function is."""

    def __init__(self) -> None:
        self.clients: list[_socket.socket] = []
        self.unsent: list[bytearray] = []
        self.finishing: set[int] = set()
        self.done: set[int] = set()
        self.lazy: set[int] = set()
        self.listener: _socket.socket | None = None

    def _nothing(self, *_: object) -> int:
        return 0

    begin = end = chances = note = next_cork = digest = traced = calls = finding = spoil = _nothing
    client_consumed = _nothing

    def watched_count(self) -> int:
        """Nobody can tell; as many as there should be."""
        return self.open_count()

    def now(self) -> int:
        return time.monotonic_ns()

    def advance(self, by: int) -> None:
        """The application keeps the loop busy."""
        time.sleep(by / 1e9)

    def listen(self) -> _socket.socket:
        self.listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(1000)
        self.listener.setblocking(False)
        self.address = self.listener.getsockname()
        return self.listener

    def started(self) -> None:
        """The server has all that it needs when nobody is connected."""
        self.before = self._descriptors()

    def _descriptors(self) -> int:
        return len(os.listdir("/proc/self/fd")) - sum(sock.fileno() >= 0 for sock in self.clients)

    def open_count(self) -> int:
        """1, the listener, when no more is open than there was when the server had started."""
        return max(0, self._descriptors() - self.before + 1)

    def connect(self, family: int, most: int, lazy: int) -> int:
        sock = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF, max(most, 4096))
        with contextlib.suppress(OSError):  # nobody listens any more; reading says so
            sock.connect(self.address)
        sock.setblocking(False)
        number = len(self.clients)
        self.clients.append(sock)
        self.unsent.append(bytearray())
        if lazy:
            self.lazy.add(number)
        return number

    def client_send(self, number: int, data: bytes, size: int) -> int:
        self.unsent[number] += data
        return self._push(number)

    def _push(self, number: int) -> int:
        waiting = self.unsent[number]
        try:
            while waiting:
                del waiting[: self.clients[number].send(waiting)]
        except BlockingIOError:
            return 0
        except OSError:
            waiting.clear()
            return -1
        if number in self.finishing:
            self.finishing.discard(number)
            try:
                self.clients[number].shutdown(_socket.SHUT_WR)
            except OSError:
                return -1
        return 0

    def client_lazy(self, number: int, lazy: bool) -> None:
        (self.lazy.add if lazy else self.lazy.discard)(number)

    def client_finish(self, number: int) -> None:
        self.finishing.add(number)
        self._push(number)

    def client_reset(self, number: int) -> None:
        self.done.add(number)
        self.clients[number].setsockopt(_socket.SOL_SOCKET, _socket.SO_LINGER, RESETTING)
        self.clients[number].close()

    def client_take(self, number: int, into: object, size: int) -> int:
        try:
            n = self.clients[number].recv_into(into, size)
        except BlockingIOError:
            return 0
        except OSError:
            n = -1
        if n > 0:
            return n
        self.done.add(number)
        self.clients[number].close()
        return END if n == 0 else RESET

    def client_closed_at(self, number: int) -> int:
        """When the server ended it, as nearly as that can be known: now; 0: it has not."""
        if number in self.done:
            return self.now()
        look = select.poll()
        look.register(self.clients[number].fileno(), select.POLLRDHUP)
        return self.now() if look.poll(0) or self._orphaned(number) else 0

    def _orphaned(self, number: int) -> bool:
        """Whether the server's end belongs to no process: to a client that does not read, its FIN never gets."""
        try:
            port = self.clients[number].getsockname()[1]
            ends = f":{self.address[1]:04X}", f":{port:04X}"
            with open("/proc/net/tcp", encoding="ascii") as table:
                rows = [row.split() for row in table]
        except OSError:
            return False
        found = [(row[3], row[9]) for row in rows if row[1].endswith(ends[0]) and row[2].endswith(ends[1])]
        return all(inode == "0" and state not in NOT_CLOSED for state, inode in found)

    def arrivals(self, first: int, numbers: object, most: int) -> int:
        look = select.poll()
        known = {}
        for number, sock in enumerate(self.clients):
            if number in self.done:
                continue
            if self.unsent[number] or number in self.finishing:
                self._push(number)
            if number not in self.lazy:
                known[sock.fileno()] = number
                look.register(sock.fileno(), select.POLLIN)
        count = 0
        for fd, _ in look.poll(0):
            numbers[count] = known[fd]  # type: ignore[index]
            count += 1
        return count

    def signal(self, number: int, after: int) -> None:
        """Not inside a call, which only world.c can do: now, wherever the program is."""
        os.kill(os.getpid(), signal.SIGUSR1)
