"""What a stream over a socket costs: the system calls of both sides are in it."""

import socket

import gevent

from greenhttp.green.transport import SocketStream
from perf.micro import best_of

DATA = b"x" * 100


def _make(times: int) -> None:
    for _ in range(times):
        ours, theirs = socket.socketpair()
        SocketStream(ours).close()
        theirs.close()


def _pair(times: int) -> None:
    for _ in range(times):
        ours, theirs = socket.socketpair()
        ours.close()
        theirs.close()


def _echo(times: int) -> None:
    ours, theirs = socket.socketpair()
    stream = SocketStream(ours)
    for _ in range(times):
        theirs.send(DATA)
        stream.write(stream.read_some())
        stream.flush()
        theirs.recv(100)
    stream.close()
    theirs.close()


def _waiting_echo(times: int) -> None:
    """Two streams in one green thread would not wait; here the answer is sent by a callback, so each read suspends."""
    ours, theirs = socket.socketpair()
    stream = SocketStream(ours)
    later = gevent.get_hub().loop.run_callback
    for _ in range(times):
        later(theirs.send, DATA)
        stream.read_some()
    stream.close()
    theirs.close()


def _plain_echo(times: int) -> None:
    ours, theirs = socket.socketpair()
    for _ in range(times):
        theirs.send(DATA)
        ours.send(ours.recv(100))
        theirs.recv(100)
    ours.close()
    theirs.close()


def run() -> list[tuple[str, float]]:
    return [
        ("(a pair of sockets)", best_of(_pair, 2_000)),
        ("a pair of sockets, one made a stream", best_of(_make, 2_000)),
        ("(100 bytes there and back, plain sockets)", best_of(_plain_echo, 5_000)),
        ("100 bytes there and back through a stream", best_of(_echo, 5_000)),
        ("100 bytes that are waited for", best_of(_waiting_echo, 5_000)),
    ]
