"""What TLS costs a stream: each record that is given or taken, the socket's system call included, and a handshake with
Python's client in the same process. green_layer has the same without TLS."""

import socket
import ssl
import tempfile
from pathlib import Path

import gevent

from greenhttp.green import tls
from greenhttp.green.transport import SocketStream
from perf.micro import best_of
from perf.micro.green_layer import connection, exchanged
from perf.tools import build

if line := build.missing_program("openssl", "openssl"):
    raise ImportError(line)

OVERHEAD = 22
"""Bytes of a record that are not content: head, kind and tag (RFC 8446 5.2)."""


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


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> float:
    def operation(times: int) -> None:
        for _ in range(times):
            with connection() as (stream, raw):
                Client(client, raw).shake(stream, server)

    return best_of(operation, 20)


def measured(way: str) -> list[tuple[str, float]]:
    """Of the direct or the simple way; nothing where that cannot be gone."""
    server, client = _contexts()
    tls.force_simple = way == "simple"
    try:
        if tls.Certificates([((), server)]).way != way:
            return []
        with connection() as (stream, raw):
            made = Client(client, raw)
            made.shake(stream, server)
            found = exchanged(way, stream, raw, made.record, OVERHEAD)
        shaken = f"{way}: connect, a full handshake, close, and the client's part"
        return [*found, (shaken, _handshake(server, client))]
    finally:
        tls.force_simple = False


def run() -> list[tuple[str, float]]:
    return measured("direct")
