"""What the tests of green threads share: outcomes of green threads, peers, and turns of the loop."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import socket
import struct
import termios

import gevent
import gevent.socket

from greenhttp.green.acceptor import StreamAcceptor
from greenhttp.green.transport import MemoryStream, SocketStream, connect

__all__ = ["KINDS", "SOCKETS", "Background", "Peer", "held_by_kernel", "open_stream", "turn", "turns", "until"]


def turn() -> None:
    """Let the loop poll once, and everything that is ready run. gevent.sleep(0) need not poll."""
    timer = gevent.get_hub().loop.timer(0, priority=-2)  # after whatever else is due, also a pool's jobs
    try:
        gevent.get_hub().wait(timer)
    finally:
        timer.close()
    if type(gevent.get_hub().loop).__module__ == "gevent.libuv.loop":
        gevent.sleep(0)  # it has no priorities, but callbacks come after the watchers of a turn, in their order


def turns(count: int = 5) -> None:
    for _ in range(count):
        turn()


def until(condition) -> None:
    """Turns of the loop until `condition()` holds."""
    while not condition():
        turn()


class Background:
    """A function in a green thread of its own, and how it ended."""

    def __init__(self, function, *args, **kwargs) -> None:
        self.ended = False
        self.value = self.error = None
        self.greenlet = gevent.spawn(self._run, function, args, kwargs)

    def _run(self, function, args, kwargs) -> None:
        try:
            self.value = function(*args, **kwargs)
        except BaseException as error:
            self.error = error
        self.ended = True

    def interrupt(self, error: BaseException) -> None:
        """Raise `error` in it, in the hub as a timer would, and let it go on."""
        gevent.get_hub().loop.run_callback(self.greenlet.throw, error)
        self.greenlet.join()

    def result(self):
        """Wait for its end: what it returned; what it raised is raised."""
        self.greenlet.join()
        if self.error is not None:
            raise self.error
        return self.value


def held_by_kernel(fd: int) -> int:
    """Bytes that have arrived at a socket and were not received."""
    size = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, size)
    return size[0]


class Peer:
    """The other side of a stream: a socket of gevent, so that nothing of what is tested takes part."""

    def __init__(self, sock: socket.socket) -> None:
        family = sock.family
        self.sock = gevent.socket.socket(family, socket.SOCK_STREAM, 0, fileno=sock.detach())

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def feed(self, stream, pieces, end: bool) -> None:
        """Send `pieces`, each when the one before was received; then, with `end`, finish."""
        for piece in pieces:
            self.send(piece)
            until(lambda: stream.closed or not held_by_kernel(stream.fileno()))
        if end:
            self.finish()

    def finish(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def receive(self, size: int) -> bytes:
        """Exactly `size` bytes, fewer at the end."""
        pieces = []
        while size and (piece := self.sock.recv(min(size, 65536))):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def receive_all(self) -> bytes:
        return self.receive(1 << 62)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()


class MemoryPeer:
    """The other side of a MemoryStream."""

    def __init__(self, stream: MemoryStream) -> None:
        self.stream = stream

    def send(self, data: bytes) -> None:
        self.stream.send(data)

    def receive(self, size: int) -> bytes:
        until(lambda: self.stream.closed or len(self.stream.outgoing) >= size)
        data = bytes(self.stream.outgoing[:size])
        del self.stream.outgoing[:size]
        return data

    def receive_all(self) -> bytes:
        until(lambda: self.stream.closed or self.stream.hung_up)
        return self.receive(len(self.stream.outgoing))

    def close(self) -> None:
        pass


def listener(kind: str, directory: str) -> tuple[socket.socket, str]:
    if kind == "unix":
        # Relative to a directory that is current: temporary ones can be deeper than a UNIX address is long.
        sock, address = socket.socket(socket.AF_UNIX), "s"
        sock.bind(address)
        name = f"unix:{os.path.join('.', address)}"
    elif kind == "tcp6":
        sock = socket.socket(socket.AF_INET6)
        sock.bind(("::1", 0))
        name = f"[::1]:{sock.getsockname()[1]}"
    else:
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        name = f"127.0.0.1:{sock.getsockname()[1]}"
    sock.listen()
    sock.setblocking(False)
    return sock, name


SOCKETS = [
    "socketpair", "tcp4 accepted", "tcp4 connected", "tcp6 accepted", "tcp6 connected", "unix accepted",
    "unix connected",
]  # fmt: skip
KINDS = [*SOCKETS, "memory"]


@contextlib.contextmanager
def open_stream(kind: str, pieces=(), end: bool | None = None, small: bool = False):
    """A stream of some kind and its peer, which sends `pieces` one by one and, with `end`, finishes.

    `end` is true when there are pieces, unless told otherwise. `small`: less than 2 MB fit between the two.
    """
    end = bool(pieces) if end is None else end
    if kind == "memory":
        stream = MemoryStream(pieces, keep_open=not end, window=65536 if small else None)
        try:
            yield stream, MemoryPeer(stream)
        finally:
            stream.abort()
        return
    if kind == "socketpair":
        ours, theirs = socket.socketpair()
        stream = SocketStream(ours)
    else:
        where, side = kind.split()
        sock, name = listener(where, ".")
        try:
            if side == "connected":
                stream = connect(name)
                theirs = sock.accept()[0]
            else:
                accepted = []
                acceptor = StreamAcceptor(gevent.get_hub().loop, sock, print, accepted.append)
                acceptor.start()
                theirs = socket.socket(sock.family)
                theirs.connect(sock.getsockname())
                until(lambda: accepted)
                acceptor.stop()
                stream = accepted[0]
        finally:
            if where == "unix":
                os.unlink(sock.getsockname())
            sock.close()
    if small:
        # Not smaller: TCP crawls when a window is less than a segment, which is 64 KiB on the loopback.
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 262144)
        with socket.socket(fileno=os.dup(stream.fileno())) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 262144)
    peer = Peer(theirs)
    feeding = Background(peer.feed, stream, pieces, end) if pieces or end else None
    try:
        yield stream, peer
    finally:
        stream.abort()
        if feeding is not None:
            feeding.greenlet.kill()
        peer.close()
