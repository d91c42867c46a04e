"""As much HTTP/1.1 as the models need, shared, so that nothing but the architecture tells them apart.

A request is a GET without content: a head, up to the blank line. Connections are kept until the client says `close`.
Bytes in, values out; only `listen` and `converse` know sockets. There are no deadlines, and of a head only the first
line and `Connection` are looked at: the models owe that to nobody, greenhttp, measured beside them, does it all.
"""

import contextlib
import gc
import socket
import sys
from collections.abc import Callable
from typing import NamedTuple

BACKLOG = 4096
RECEIVE = 8192
"""Bytes asked for in one receive: more than any head here, small enough to be held by each of thousands of threads."""
HEAD = 16384
"""Bytes of a head at most."""
WAIT = 0.05
"""Seconds that the handler of /wait waits."""
TURNS = 70_000
"""Of the loop that /cpu computes: 5 ms or so. The count is fixed, the time is the machine's."""


def _answer(status: str, body: bytes, *fields: str) -> bytes:
    lines = (f"HTTP/1.1 {status}", "Content-Type: text/plain", f"Content-Length: {len(body)}", *fields)
    return "\r\n".join((*lines, "", "")).encode() + body


HELLO = b"hello, world\n"
BIG = b"x" * 262144
BODIES = {b"/": HELLO, b"/wait": HELLO, b"/cpu": HELLO, b"/big": BIG}
ANSWERS = {path: _answer("200 OK", body) for path, body in BODIES.items()}
MISSING = _answer("404 Not Found", b"")


class Request(NamedTuple):
    path: bytes
    keep: bool
    """Whether another request may follow on this connection."""


class BadRequest(Exception):
    """Not what this HTTP understands. `answer` is what to send before closing."""

    def __init__(self, status: str):
        super().__init__(status)
        self.answer = _answer(status, b"", "Connection: close")


def take(buffer: bytearray) -> Request | None:
    """The first request in `buffer`, which is shortened by it; None while it is not there whole."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        if len(buffer) > HEAD:
            raise BadRequest("431 Request Header Fields Too Large")
        return None
    head = bytes(buffer[:end])
    del buffer[: end + 4]
    line, _, fields = head.partition(b"\r\n")
    words = line.split(b" ")
    if len(words) != 3 or words[2] != b"HTTP/1.1":
        raise BadRequest("400 Bad Request")
    if words[0] != b"GET":
        raise BadRequest("501 Not Implemented")
    return Request(words[1], b"connection: close" not in fields.lower())


def compute() -> int:
    total = 0
    for number in range(TURNS):
        total += number * number % 7
    return total


def answer_to(path: bytes) -> bytes:
    """Head and body for a path, all but the waiting. /cpu computes first."""
    if path == b"/cpu":
        compute()
    return ANSWERS.get(path, MISSING)


def handle(path: bytes, sleep: Callable[[float], object]) -> bytes:
    """The handler as one would write it: it waits where it stands. For architectures that can run such a one."""
    if path == b"/wait":
        sleep(WAIT)
    return answer_to(path)


def converse(connection: socket.socket, sleep: Callable[[float], object]) -> None:
    """A connection's whole life in plain code, to its end, for architectures in which receiving and sending may block.

    `connection` is any socket with `recv` and `sendall`, `sleep` what goes with it.
    """
    buffer, keep = bytearray(), True
    with connection, contextlib.suppress(OSError):  # the client has gone: nobody is left to be told
        while keep:
            try:
                while (request := take(buffer)) is None:
                    data = connection.recv(RECEIVE)
                    if not data:
                        return
                    buffer += data
                answer, keep = handle(request.path, sleep), request.keep
            except BadRequest as error:
                answer, keep = error.answer, False
            connection.sendall(answer)


def listen(port: int, blocking: bool = True) -> socket.socket:
    """A listening socket on 127.0.0.1. What it accepts inherits TCP_NODELAY: no setsockopt per connection."""
    listener = socket.create_server(("127.0.0.1", port), backlog=BACKLOG)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setblocking(blocking)
    return listener


def port_from_arguments() -> int:
    """The port, from the command line. The collector is set as greenhttp's command sets it, for all models alike."""
    if len(sys.argv) < 2 or not sys.argv[1].isdigit():
        sys.exit("usage: python -m perf.models.NAME PORT")
    gc.collect()
    gc.freeze()  # what was loaded at start is not looked at again
    gc.set_threshold(50_000, *gc.get_threshold()[1:])
    return int(sys.argv[1])
