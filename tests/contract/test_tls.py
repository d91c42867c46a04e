"""The contract over TLS, by OpenSSL's functions and by SSLObject: each byte in a record of its own, and records and
handshakes that arrive in two parts, divided at every place."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import gevent
import gevent.socket
import pytest

from greenhttp import Request, Response, Server
from tests.answers import one
from tests.contract.process import shown
from tests.contract.running import WAYS, ServerProcess, over_tcp
from tests.contract.sending import ENTRIES
from tests.contract.test_reading import CASES, in_environ, judge
from tests.contract.test_sending import NEXT, all_wrong
from tests.contract.test_smuggling import CONTENT, HEADS, different

TOGETHER = 100  # connections at once


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess() as process:
        yield process


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["native", "wsgi"])
def test_what_is_read(server: ServerProcess, kind: str, way: str) -> None:
    cases = CASES if kind == "native" else CASES[::3]
    for case, outcome, seen in server.converse(f"{kind} {way}", cases):
        wanted = case.all_seen if kind == "native" else tuple(in_environ(each) for each in case.all_seen)
        assert tuple(seen) == tuple(wanted), case.name
        judge(case, outcome, list(case.all_seen), over_tcp=True)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["native", "wsgi"])
def test_what_is_sent(server: ServerProcess, kind: str, way: str) -> None:
    asked = [entry.request(i) + NEXT for i, entry in enumerate(ENTRIES)]
    outcomes = over_tcp(server.ports[f"{kind} answers {way}"], asked, secure=True)
    assert all_wrong(zip(ENTRIES, outcomes, strict=True)) == []


@pytest.mark.parametrize("way", WAYS)
def test_one_request_in_is_one_request_seen(server: ServerProcess, way: str) -> None:
    some = HEADS[::41]
    asked = [data + CONTENT + NEXT for data in some]
    assert different(some, over_tcp(server.ports[f"native {way}"], asked, secure=True)) == []


REQUEST = (
    b"POST /whole HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
)


class Divided:
    """A client that sends its hello, the end of its handshake and its request, each of them in two parts."""

    def __init__(self, address: tuple[str, int], version: ssl.TLSVersion) -> None:
        self.sock = gevent.socket.create_connection(address)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = version
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing)
        self.waiting = b""

    def go_on(self) -> None:
        """Make what is to be sent next."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        else:
            if self.tls.version() == "TLSv1.3" or not self.outgoing.pending:
                self.tls.write(REQUEST)
        self.waiting += self.outgoing.read()

    def send(self, size: int | None) -> None:
        piece, self.waiting = (self.waiting, b"") if size is None else (self.waiting[:size], self.waiting[size:])
        self.sock.sendall(piece)

    def take(self) -> None:
        self.incoming.write(self.sock.recv(65536))

    def answer(self) -> tuple[int, bytes]:
        got = b""
        while True:
            try:
                piece = self.tls.read(65536)
            except ssl.SSLWantReadError:
                if not (came := self.sock.recv(65536)):
                    raise AssertionError(f"an end without a goodbye behind {got!r}") from None
                self.incoming.write(came)
            except ssl.SSLZeroReturnError:
                break
            else:
                if not piece:
                    break
                got += piece
        self.sock.close()
        found, rest = one(got, "POST")
        assert rest == b""
        return found.status, found.content


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize("way", WAYS)
def test_two_parts_divided_at_every_place(way: str, version: ssl.TLSVersion) -> None:
    """Flight by flight: the hello, the end of the handshake (with TLS 1.3 the request behind it), the request."""

    def app(request: Request) -> Response:
        return Response(request.body.read())

    server = Server(app, bind="https://127.0.0.1:0", limit_request_body=1000)
    server.certificates = shown(way)
    server.start()
    try:
        for flight in range(2 if version == ssl.TLSVersion.TLSv1_3 else 3):
            at, done = 1, False
            while not done:
                clients = [Divided(server.address, version) for _ in range(TOGETHER)]
                places = range(at, at + TOGETHER)
                for turn in range(2 if version == ssl.TLSVersion.TLSv1_3 else 3):
                    for client in clients:
                        if turn:
                            client.take()
                        client.go_on()
                    if turn == flight:
                        done = places[-1] >= min(len(client.waiting) for client in clients)
                        for client, place in zip(clients, places, strict=True):
                            client.send(place)
                        gevent.idle()  # the server takes that, and waits for more
                        gevent.idle()
                    for client in clients:
                        client.send(None)
                assert {client.answer() for client in clients} == {(200, b"hello")}
                at += TOGETHER
    finally:
        server.stop(0)
