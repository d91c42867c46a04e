"""What TLS costs a stream, both ways: 100 bytes there and back, Python's ssl on the other side in all of them."""

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import gevent

from greenhttp.green import tls
from greenhttp.green.transport import SocketStream
from perf.micro import best_of

DATA = b"x" * 100


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For the server's side, and for a client that verifies nothing. Needs trustme, as the tests do."""
    import trustme

    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trustme.CA().issue_cert("localhost").configure_cert(server)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    return server, client


class Client:
    """The other side: an SSLObject, by hand."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    def shake(self) -> None:
        hub = gevent.get_hub()
        readable = hub.loop.io(self.sock.fileno(), 1)
        try:
            self._shake(lambda: hub.wait(readable))
        finally:
            readable.close()

    def _shake(self, wait: Callable[[], object]) -> None:
        while True:
            try:
                self.ssl.do_handshake()
            except ssl.SSLWantReadError:
                self.sock.sendall(self.outgoing.read())
                wait()
                self.incoming.write(self.sock.recv(65536))
            else:
                self.sock.sendall(self.outgoing.read())
                return

    def send(self, data: bytes) -> None:
        self.ssl.write(data)
        self.sock.send(self.outgoing.read())

    def receive(self) -> None:
        while True:
            try:
                self.ssl.read(65536)
                return
            except ssl.SSLWantReadError:
                self.incoming.write(self.sock.recv(65536))


@contextlib.contextmanager
def pair(server: ssl.SSLContext, context: ssl.SSLContext) -> Iterator[tuple[SocketStream, Client]]:
    """A stream whose handshake is over, and its client."""
    ours, theirs = socket.socketpair()
    stream, client = SocketStream(ours), Client(theirs, context)
    shaking = gevent.spawn(client.shake)
    stream.start_tls(server, server_side=True)
    shaking.join()
    yield stream, client
    stream.abort()
    theirs.close()


def measure(simple: bool) -> Any:
    server, context = contexts()

    def handshakes(times: int) -> None:
        for _ in range(times):
            with pair(server, context):
                pass

    def echo(times: int) -> None:
        with pair(server, context) as (stream, client):
            for _ in range(times):
                client.send(DATA)
                stream.write(stream.read_some())
                stream.flush()
                client.receive()

    before, tls.force_simple = tls.force_simple, simple
    try:
        return best_of(handshakes, 50), best_of(echo, 5_000)
    finally:
        tls.force_simple = before


def run() -> list[tuple[str, float]]:
    direct, simple = measure(False), measure(True)
    return [
        ("a handshake, both sides, directly", direct[0]),
        ("a handshake, both sides, by SSLObject", simple[0]),
        ("100 bytes there and back, directly", direct[1]),
        ("100 bytes there and back, by SSLObject", simple[1]),
    ]
