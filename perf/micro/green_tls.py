"""What TLS costs a stream: each record that is given or taken, the socket's system call included, and a handshake with
Python's client in the same process. "plain" is the same without TLS."""

import socket
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter_ns

import gevent

from greenhttp.green import tls
from greenhttp.green.transport import SocketStream
from perf.micro import best_of
from perf.tools import build

if line := build.missing_program("openssl", "openssl"):
    raise ImportError(line)

RECORDS = 200
REPEATS = 15
SIZES = 13, 16384


def _contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    with tempfile.TemporaryDirectory() as directory:
        server.load_cert_chain(*build.make_certificate(Path(directory)))
    return server, client


class Client:
    """Python's, over memory: `raw` is the other end of the stream's connection."""

    def __init__(self, context: ssl.SSLContext, raw: socket.socket):
        self.raw, self._in, self._out = raw, ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._in, self._out, server_hostname="localhost")

    def shake(self, stream: SocketStream, context: ssl.SSLContext) -> None:
        server = gevent.spawn(stream.start_tls, context, server_side=True)
        while True:
            try:
                self._object.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.raw.sendall(self._out.read())
                gevent.sleep(0)
                self._in.write(self.raw.recv(65536))
        self.raw.sendall(self._out.read())
        server.get()

    def record(self, size: int) -> bytes:
        self._object.write(bytes(size))
        return self._out.read()


@contextmanager
def _connection() -> Iterator[tuple[SocketStream, socket.socket]]:
    ours, raw = socket.socketpair()
    for end in (ours, raw):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    stream = SocketStream(ours)
    try:
        yield stream, raw
    finally:
        stream.close()
        raw.close()


def _give(stream: SocketStream, raw: socket.socket, size: int, overhead: int) -> float:
    data, into, whole = bytes(size), bytearray(1 << 18), size + overhead

    def operation(times: int) -> None:
        for _ in range(times):
            stream.write(data)
            stream.flush()
            assert raw.recv_into(into) >= whole

    return best_of(operation, RECORDS, REPEATS)


def _take(stream: SocketStream, raw: socket.socket, size: int, make) -> float:
    fastest = float("inf")
    for _ in range(REPEATS):
        records = [make(size) for _ in range(RECORDS)]
        began = perf_counter_ns()
        for record in records:
            raw.sendall(record)
            stream.readexactly(size)
        fastest = min(fastest, perf_counter_ns() - began)
    return fastest / RECORDS


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> float:
    def operation(times: int) -> None:
        for _ in range(times):
            with _connection() as (stream, raw):
                Client(client, raw).shake(stream, server)

    return best_of(operation, 20)


def run() -> list[tuple[str, float]]:
    server, client = _contexts()
    found = []
    for way in ("plain", "direct", "simple"):
        tls.force_simple = way == "simple"
        try:
            if way == "direct" and tls.Certificates([((), server)]).way != way:
                continue
            with _connection() as (stream, raw):
                make, overhead = bytes, 0
                if way != "plain":
                    made = Client(client, raw)
                    made.shake(stream, server)
                    make, overhead = made.record, 22  # head, kind and tag of a record (RFC 8446 5.2)
                for size in SIZES:
                    found.append(
                        (f"{way}: give {size:,} bytes, and the client's recv", _give(stream, raw, size, overhead))
                    )
                    found.append((f"{way}: take {size:,} bytes, and the client's send", _take(stream, raw, size, make)))
            if way != "plain":
                found.append(
                    (f"{way}: connect, a full handshake, close, and the client's part", _handshake(server, client))
                )
        finally:
            tls.force_simple = False
    return found
