"""What a stream costs that has no layer between it and its socket: each record that is given or taken, the system calls
of both ends included. green_tls has the same with TLS."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter_ns

from greenhttp.green.transport import SocketStream
from perf.micro import best_of

RECORDS = 200
REPEATS = 15
SIZES = 13, 16384


@contextmanager
def connection() -> Iterator[tuple[SocketStream, socket.socket]]:
    ours, raw = socket.socketpair()
    for end in (ours, raw):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    stream = SocketStream(ours)
    try:
        yield stream, raw
    finally:
        stream.close()
        raw.close()


def give(stream: SocketStream, raw: socket.socket, size: int, overhead: int) -> float:
    data, into, whole = bytes(size), bytearray(1 << 18), size + overhead

    def operation(times: int) -> None:
        for _ in range(times):
            stream.write(data)
            stream.flush()
            assert raw.recv_into(into) >= whole

    return best_of(operation, RECORDS, REPEATS)


def take(stream: SocketStream, raw: socket.socket, size: int, make: Callable[[int], bytes]) -> float:
    fastest = float("inf")
    for _ in range(REPEATS):
        records = [make(size) for _ in range(RECORDS)]
        began = perf_counter_ns()
        for record in records:
            raw.sendall(record)
            stream.readexactly(size)
        fastest = min(fastest, perf_counter_ns() - began)
    return fastest / RECORDS


def exchanged(
    way: str, stream: SocketStream, raw: socket.socket, make: Callable[[int], bytes] = bytes, overhead: int = 0
) -> list[tuple[str, float]]:
    """`make`: the record of so many bytes that the client sends. `overhead`: bytes of one that are not content."""
    found = []
    for size in SIZES:
        found.append((f"{way}: give {size:,} bytes, and the client's recv", give(stream, raw, size, overhead)))
        found.append((f"{way}: take {size:,} bytes, and the client's send", take(stream, raw, size, make)))
    return found


def run() -> list[tuple[str, float]]:
    with connection() as (stream, raw):
        return exchanged("plain", stream, raw)
