"""A client's connection: bytes out, answers in, and how it ends."""

import contextlib
import struct
import time

from gevent import Timeout, socket

from tests.answers import Incomplete, one

PATIENCE = 30.0  # seconds. Every limit of the servers is far below: what takes longer has outlived all of them
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close() aborts


class Unanswered(Exception):
    """The connection ended before a byte of the answer."""


class Truncated(Exception):
    """The connection ended in the middle of an answer."""


class Peer:
    """One connection. `window`: bytes of the receive buffer, the kernel's own choice without."""

    def __init__(self, port, window=None):
        self.sock = socket.socket()
        self.data = b""
        self.began = self._next = time.monotonic()
        self.sock.settimeout(PATIENCE)
        try:
            if window:
                # before connect, by which it is announced
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
            self.sock.connect(("127.0.0.1", port))
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            self.sock.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.sock.close()

    @property
    def age(self):
        return time.monotonic() - self.began

    def send(self, data):
        """Whether it could be sent: the server may have answered and closed already."""
        try:
            self.sock.sendall(data)
        except ConnectionError:
            return False
        return True

    def next_began(self):
        """When the server may have begun to wait for the next request: for the first one, before it was connected."""
        began, self._next = self._next, None
        return time.monotonic() if began is None else began

    def finish(self):
        """No more will be sent."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.sock.close()

    def receive(self):
        """What comes next; b"" at the end, however it came about."""
        try:
            return self.sock.recv(1 << 16)
        except ConnectionError:
            return b""

    def answer(self, method="GET"):
        """The next answer, interim ones too. Raises Unanswered, Truncated, AssertionError for what is not HTTP."""
        while True:
            try:
                found, self.data = one(self.data, method, ended=False)
                return found
            except Incomplete:
                more = self.receive()
            if not more:
                raise Truncated if self.data else Unanswered
            self.data += more

    def end(self):
        """How the server ends the connection: the status of its one answer, "cut" in the middle, or "closed"."""
        try:
            status = str(self.answer().status)
        except Unanswered:
            return "closed"
        except Truncated:
            return "cut"
        rest = self.data or self.receive()
        return status if not rest else f"{status} and more"


def outlives(call, *arguments):
    """What `call` returns, or "outlived" where the server let it go on for longer than every limit of it."""
    limit = Timeout(PATIENCE)
    limit.start()
    try:
        return call(*arguments)
    except Timeout as error:
        if error is not limit:
            raise
        return "outlived"
    except TimeoutError:
        return "outlived"
    finally:
        limit.close()
