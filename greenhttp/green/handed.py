"""A connection as a socket object of gevent's, for libraries that speak a protocol of their own on it.

    plain, and nothing has come yet     the socket is the connection's own descriptor
    TLS, or bytes have come already     the socket is one end of a pair; two green threads carry what it sends and gets

So whatever can be done with a socket can be done with it - select, poll, selectors, makefile, dup -, and shows
bytes that were received before it was handed over, or decrypted, as any others. It belongs to whoever has it:
nothing else closes it, and the connection ends with it.
"""

import _socket
import os
from weakref import WeakSet

import gevent
from gevent import socket

from greenhttp.green.stream import Stream
from greenhttp.green.transport import SocketStream

__all__ = ["HandedSocket", "socket_of", "still_open"]

PIECE = 65536  # bytes carried at once
PARTING = 30  # seconds for what is unsent when the receiver of a socket has closed it
handed: "WeakSet[HandedSocket]" = WeakSet()


class HandedSocket(socket.socket):  # type: ignore[misc]  # gevent has no types
    """HandedSocket(fileno=...) - the socket of a connection that a server has handed over."""

    peer: tuple[object, ...] | str | None = None  # of the connection, where this is the end of a pair
    name: tuple[object, ...] | str = ""

    def __init__(self, fileno: int) -> None:
        super().__init__(fileno=fileno)
        handed.add(self)

    def getpeername(self) -> object:
        """The address of the client."""
        return super().getpeername() if self.peer is None else self.peer

    def getsockname(self) -> object:
        """The address that the client has connected to."""
        return super().getsockname() if self.peer is None else self.name

    def setsockopt(self, level: int, *option: object) -> None:
        """As of a socket; for a connection that is carried, options of TCP are as the server has set them."""
        if self.peer is None or level != _socket.IPPROTO_TCP:
            super().setsockopt(level, *option)


def still_open() -> int:
    """How many sockets that were handed over have not been closed."""
    return sum(sock.fileno() >= 0 for sock in list(handed))


def socket_of(stream: SocketStream) -> HandedSocket:
    """The socket for a connection that nothing else uses; `stream` is used up."""
    copy = os.dup(stream.fileno())
    if stream.tls is None and not stream.buffered:
        stream.close()
        return HandedSocket(copy)
    plain = _socket.socket(fileno=copy)  # the C class: a socket of gevent's would bring watchers
    try:
        return carried(stream, plain.getsockname())
    finally:
        plain.close()


def carried(stream: Stream, name: tuple[object, ...] | str) -> HandedSocket:
    """A socket whose bytes are those of `stream`. `name`: its address on this side."""
    ours, theirs = _socket.socketpair()
    sock = HandedSocket(theirs.detach())
    sock.peer, sock.name = stream.peer, name
    carrier = _Carrier(stream, socket.socket(fileno=ours.detach()))
    gevent.spawn(carrier.bring)
    gevent.spawn(carrier.take)
    return sock


class _Carrier:
    """What is between a stream and our end of a pair."""

    def __init__(self, stream: Stream, end: socket.socket) -> None:
        self.stream = stream
        self.end = end
        self.half = False  # one direction has ended

    def bring(self) -> None:
        """From the client to whoever has the other end."""
        try:
            while data := self.stream.read_some(PIECE):
                self.end.sendall(data)
            self.end.shutdown(_socket.SHUT_WR)
            self.finish(self.half)
        except OSError:  # one side has gone; the other one learns it from this
            self.give_up()

    def take(self) -> None:
        """From whoever has the other end to the client."""
        try:
            while data := self.end.recv(PIECE):
                self.stream.write(data)
            if self.half or self.closed():
                self.finish(True)
            else:
                self.stream.shutdown(timeout=PARTING)
                self.half = True
        except OSError:
            self.give_up()

    def finish(self, both: bool) -> None:
        self.half = True
        if both:
            self.stream.close(timeout=PARTING)
            self.end.close()

    def give_up(self) -> None:
        self.end.close()
        self.stream.abort()

    def closed(self) -> bool:
        """Whether the other end has been closed, and not for writing alone: no byte can be sent, not even none."""
        try:
            self.end.send(b"")
        except OSError:
            return True
        return False
