"""green/arrival.pyx: connections that begin with a PROXY header, on their way to a handler or to HTTP.

Each test runs for both; what a header may be is tests/wire/test_proxy.py's.
"""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import socket
from gevent.event import Event

from greenhttp.http import preface
from greenhttp.server import Server
from greenhttp.testing import every_split
from tests import proxied as px
from tests.contract.process import shown as certificates_of
from tests.foreign import collecting, in_compiled_code
from tests.green.green import until

HTTP = "HTTP came instead of a PROXY header (proxy_protocol={}); turn the PROXY protocol on in the proxy"
ASK = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"  # to which a stream handler answers as well


def tell(stream: Any) -> None:
    request = stream.readuntil(b"\r\n\r\n")
    stream.write(f"{request == ASK} {stream.peer} {stream.proxied!r}".encode())


def answer(request: Any) -> str:
    return f"True {request.peer} {request.proxied!r}"


class Client:
    """Methods suspend one green thread. `name`: its own address."""

    def __init__(self, address: Any) -> None:
        self.sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self.sock.connect(address)
        if not isinstance(address, str):
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.name = self.sock.getsockname()
        self.who = "" if isinstance(address, str) else f"{self.name[0]}:{self.name[1]}"

    def rest(self) -> bytes:
        """Everything up to the end, also if that is a reset: of a stranger unread bytes may be left. Then it closes."""
        pieces = []
        with contextlib.suppress(ConnectionResetError):
            while piece := self.sock.recv(65536):
                pieces.append(piece)
        self.sock.close()
        return b"".join(pieces)

    def said(self) -> str:
        """The content of the answer."""
        return self.rest().rpartition(b"\r\n")[2].decode()

    def send(self, data: bytes) -> Client:
        self.sock.sendall(data)
        return self


class Serving:
    def __init__(self, server: Server, caplog: pytest.LogCaptureFixture) -> None:
        self.server, self.caplog = server, caplog
        self.clients: list[Client] = []

    def connect(self, data: bytes = b"") -> Client:
        self.clients.append(Client(self.server.address))
        return self.clients[-1].send(data)

    def count(self, name: str) -> int:
        return self.server.statistics()[name]

    def until(self, **counts: int) -> None:
        until(lambda: counts.items() <= self.server.statistics().items())

    def log(self, entries: int) -> list[tuple[str, str]]:
        until(lambda: len(self.caplog.records) >= entries)
        return [(record.levelname, record.getMessage()) for record in self.caplog.records]


Serve = Callable[..., Serving]


@pytest.fixture(params=["stream", "native"])
def serve(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[Serve]:
    """serve(**settings) -> Serving"""
    caplog.set_level(logging.INFO, "greenhttp")
    started: list[Serving] = []

    def start(
        bind: str = "127.0.0.1:0", proxy_protocol: str = "any", certificates: Any = None, **settings: Any
    ) -> Serving:
        app = tell if request.param == "stream" else answer
        settings = {"bind": bind, "proxy_protocol": proxy_protocol, "interface": request.param, **settings}
        server = Server(app, **settings)
        server.certificates = certificates
        server.start()
        started.append(Serving(server, caplog))
        return started[-1]

    with gevent.Timeout(30, AssertionError("the test did not come to an end")):
        yield start
        for serving in started:
            for client in serving.clients:
                client.sock.close()
            serving.server.stop(0)
        gevent.idle()


# ---- arrived


@pytest.mark.parametrize(
    ("header", "peer", "shown"),
    [
        (px.v1(), ("192.0.2.7", 4711), "<Proxied v1 TCP4 ('192.0.2.7', 4711)>"),
        (px.v1("2001:db8::7", 1, "::1"), ("2001:db8::7", 1), "<Proxied v1 TCP6 ('2001:db8::7', 1)>"),
        (px.v1("::ffff:192.0.2.7", 1, "::1"), ("192.0.2.7", 1), "<Proxied v1 TCP6 ('192.0.2.7', 1)>"),
        (px.v2("192.0.2.7", 5, px.tls(), crc=True), ("192.0.2.7", 5), "<Proxied v2 TCP4 ('192.0.2.7', 5)>"),
        (b"PROXY UNKNOWN\r\n", None, "<Proxied v1 UNKNOWN None>"),
        (px.block(0, b"", px.LOCAL), None, "<Proxied v2 LOCAL None>"),
        (px.block(px.UNIX, bytes(216)), None, "<Proxied v2 UNSPEC None>"),
    ],
)
def test_the_peer_is_whom_the_header_names(serve: Serve, header: bytes, peer: Any, shown: str) -> None:
    client = serve().connect(header + ASK)
    assert client.said() == f"True {peer or client.name} {shown}"


@pytest.mark.parametrize("header", [px.v1("1.2.3.4", 1, "1.2.3.5", 2), px.v2("1.2.3.4", 1)])
def test_a_header_may_come_in_any_pieces_and_the_request_with_it(serve: Serve, header: bytes) -> None:
    serving = serve()
    arriving = serving.server._service.arriving
    for pieces in every_split(header + ASK):
        if len(pieces) == 2 and len(pieces[0]) >= len(header):
            break  # behind it, it is the protocol's
        client = serving.connect()
        serving.until(arriving=1)
        received = 0
        for piece in pieces[: len(header) - 1][:-1]:
            client.send(piece)
            received += len(piece)
            (arrival,) = arriving.members()
            until(lambda: arrival.over or arrival.stream.buffered == received)  # noqa: B023
        client.send((header + ASK)[received:])
        assert client.said().startswith("True ('1.2.3.4', 1)"), pieces
        serving.until(connections=0)


def test_a_peer_that_is_named_over_a_unix_socket_is_shown_as_any_other(serve: Serve, tmp_path: Path) -> None:
    serving = serve(bind=f"unix:{tmp_path}/s", proxy_allow_from="unix")
    assert serving.connect(px.v1() + ASK).said().startswith("True ('192.0.2.7', 4711)")
    assert serving.connect(px.block(0, b"", px.LOCAL) + ASK).said().startswith("True  <Proxied v2 LOCAL None>")


# ---- closed unanswered


@pytest.mark.parametrize(
    ("wanted", "sent", "why"),
    [
        ("any", ASK, HTTP.format("any")),
        ("v1", b"POST / HTTP/1.1\r\n", HTTP.format("v1")),
        ("any", b"\x16\x03\x01\x02\x00", HTTP.format("any").replace("HTTP", "TLS")),
        ("v2", b"SSH-2.0-OpenSSH\r\n", HTTP.format("v2").replace("HTTP", "something else")),
        ("any", b"PRI * HTTP/2.0\r\n", HTTP.format("any").replace("HTTP", "HTTP/2", 1)),
        ("v1", px.v2(), "a PROXY header v2 came where v1 is expected (proxy_protocol); set both sides to the same"
         " version"),
        ("v2", px.v1(), "a PROXY header v1 came where v2 is expected (proxy_protocol); set both sides to the same"
         " version"),
        ("any", b"PROXY TCP4 1.2.3.04", "malformed PROXY header: it has an address that is no IPv4 address"),
        ("any", px.SIGNATURE + b"\x21\x11\xff\xff", "malformed PROXY header: it is larger than 4096 bytes"),
    ],
)  # fmt: skip
def test_what_is_no_such_header_is_closed_and_named(serve: Serve, wanted: str, sent: bytes, why: str) -> None:
    serving = serve(proxy_protocol=wanted)
    client = serving.connect(sent)
    assert client.rest() == b""
    assert serving.log(1) == [("WARNING", f"{client.who}: connection closed: {why}")]
    serving.until(connections=0)


def test_a_header_that_does_not_come_in_time_is_closed_unanswered(serve: Serve) -> None:
    serving = serve(proxy_timeout=0.05, header_timeout=60)
    silent, slow = serving.connect(), serving.connect(px.v1()[:-1])
    assert silent.rest() == slow.rest() == b""
    why = "connection closed: no whole PROXY header came within 0.05 s (proxy_timeout)"
    assert sorted(serving.log(2)) == sorted(("WARNING", f"{client.who}: {why}") for client in (silent, slow))
    arrived = serving.connect(px.v1())
    serving.until(arriving=0, connections=1)  # in another phase, with another time-out
    arrived.send(ASK)
    assert arrived.said().startswith("True ")


def test_who_leaves_in_the_middle_of_the_header_is_said_and_who_says_nothing_is_not(serve: Serve) -> None:
    serving = serve()
    looker, leaver, breaker = serving.connect(), serving.connect(px.v1()[:-2]), serving.connect(px.v2()[:20])
    serving.until(arriving=3, pool_ready=0)
    looker.sock.shutdown(socket.SHUT_WR)
    assert looker.rest() == b""
    names = leaver.who, breaker.who
    leaver.sock.shutdown(socket.SHUT_WR)
    assert leaver.rest() == b""
    breaker.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    breaker.sock.close()
    why = "the peer disconnected in the middle of its PROXY header"
    assert serving.log(2) == [("INFO", f"{name}: {why}") for name in names]
    serving.until(connections=0)


def test_peers_that_are_not_listed_are_closed_before_a_byte_of_theirs_is_read(serve: Serve) -> None:
    serving = serve(proxy_allow_from="10.0.0.0/8")
    client = serving.connect(px.v1() + ASK)
    assert client.rest() == b""
    why = "the peer is not listed in proxy_allow_from; add its address if it is your proxy"
    assert serving.log(1) == [("WARNING", f"{client.who}: connection closed: {why}")]
    assert (serving.count("connections"), serving.count("pool_started")) == (0, 0)


def test_a_peer_over_a_unix_socket_has_to_be_named(serve: Serve, tmp_path: Path) -> None:
    serving = serve(bind=f"unix:{tmp_path}/s")
    assert serving.connect(px.v1() + ASK).rest() == b""
    ((level, line),) = serving.log(1)
    assert level == "WARNING" and line.endswith(
        "connection closed: the peer is not listed in proxy_allow_from; add unix to the list"
    )


def test_floods_of_strangers_and_of_wrong_headers_are_counted_apart(serve: Serve) -> None:
    serving = serve(proxy_allow_from="127.0.0.1")
    clients = [serving.connect(ASK) for _ in range(20)]
    assert [client.rest() for client in clients] == [b""] * 20
    serving.server.stop(0)
    lines = [line for _, line in serving.log(6)]
    assert len(lines) == 6
    assert lines[-1].startswith("and 15 more connections closed before a request in the last second")


# ---- among others: places, stops, forks


def test_an_arrival_has_a_place_and_is_the_first_to_go(serve: Serve) -> None:
    serving = serve(connections=2)
    first, second = serving.connect(px.v1()[:10]), serving.connect(px.v1()[:10])
    serving.until(arriving=2, connections=2, pool_ready=0)
    third = serving.connect(px.v1() + ASK)
    assert third.said().startswith("True ")
    assert first.rest() == b""
    second.send(px.v1()[10:] + ASK)
    assert second.said().startswith("True ")
    serving.until(connections=0)
    assert serving.log(0) == []


def test_with_every_place_taken_by_what_has_arrived_a_newcomer_waits(serve: Serve) -> None:
    serving = serve(connections=1)
    first = serving.connect(px.v1() + ASK[:-1])
    serving.until(arriving=0, connections=1, pool_ready=0)
    if serving.server.interface == "native":
        serving.until(fresh=1)  # it has begun a head and no more: such a one goes, as ever
        assert serving.connect(px.v1() + ASK).said().startswith("True ")
        return
    second = serving.connect(px.v1() + ASK)
    (door,) = serving.server._doors
    until(lambda: door.paused)
    assert serving.count("connections") == 1
    first.send(ASK[-1:])
    assert first.said().startswith("True ") and second.said().startswith("True ")


def test_a_stop_closes_who_is_silent_and_answers_what_has_begun_to_arrive(serve: Serve) -> None:
    serving = serve(graceful_timeout=10)
    silent, begun, late = serving.connect(), serving.connect(px.v1()[:7]), serving.connect()
    serving.until(arriving=3, pool_ready=0)
    late.send(px.v1() + ASK)  # nobody has looked at it when the stop comes
    stopping = gevent.spawn(serving.server.stop)
    assert silent.rest() == b""
    begun.send(px.v1()[7:] + ASK)
    assert begun.said().startswith("True ") and late.said().startswith("True ")
    assert stopping.get() is True


def test_a_stop_at_once_cuts_what_is_arriving(serve: Serve) -> None:
    serving = serve()
    client = serving.connect(px.v1()[:7])
    serving.until(arriving=1, pool_ready=0)
    assert serving.server.stop(0) is False
    assert client.rest() == b""
    assert serving.log(0) == []


def test_a_forked_process_lets_go_of_what_is_arriving(serve: Serve) -> None:
    serving = serve()
    client = serving.connect(px.v1()[:7])
    serving.until(arriving=1, pool_ready=0)
    (arrival,) = serving.server._service.phases[0].members()
    descriptor = arrival.stream.fileno()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.fstat(descriptor)
        except OSError:
            os.write(writing, b"closed")
        os._exit(0)
    os.close(writing)
    assert os.read(reading, 10) == b"closed"
    os.close(reading)
    os.waitpid(child, 0)
    client.send(px.v1()[7:] + ASK)  # and here nothing has changed
    assert client.said().startswith("True ")


@pytest.mark.parametrize("what", ["cut", "retire"])
def test_what_arrives_while_a_stop_ends_one_after_the_other_is_ended_too(serve: Serve, what: str) -> None:
    """Foreign code may wait in the end of one of them; those behind it in the list have become connections then."""
    serving = serve()
    client = serving.connect(px.v1()[:7])
    serving.until(arriving=1, pool_ready=0)
    (arrival,) = serving.server._connections(serving.server._service)
    client.send(px.v1()[7:])
    serving.until(arriving=0, connections=1, pool_ready=0)
    getattr(arrival, what)()
    if what == "retire" and serving.server.interface == "stream":
        client.send(ASK)  # its handler runs: that is what a stop waits for
        assert client.said().startswith("True ")
    else:
        assert client.rest() == b""
    serving.until(connections=0)


@in_compiled_code
def test_the_time_of_one_that_is_being_closed_may_be_up(serve: Serve) -> None:
    """At each allocation of its end."""
    serving = serve(proxy_timeout=0.05)
    moments = 0
    while True:
        serving.connect(px.v1()[:7])
        serving.until(arriving=1, pool_ready=0)
        (arrival,) = serving.server._connections(serving.server._service)
        with collecting(lambda a=arrival: until(lambda: a.phase is None), lambda: True, moments) as hits:
            arrival.cut()
        serving.until(connections=0)
        if not hits:
            break
        moments += 1
    assert moments or "libuv" in type(gevent.get_hub().loop).__module__  # in which what is allocated there is not met


@pytest.mark.parametrize("sent", [px.v1() + ASK, ASK, px.v1()[:7]], ids=["whole", "wrong", "half"])
def test_a_child_that_is_forked_while_a_header_is_read_ends(
    serve: Serve, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a signal's handler, say."""
    children: list[int] = []
    parse = preface.parse

    def forking(*arguments: Any) -> Any:
        try:
            return parse(*arguments)
        finally:
            if not children:
                children.append(os.fork())

    monkeypatch.setattr(preface, "parse", forking)
    serving = serve()
    client = serving.connect(sent)
    until(lambda: bool(children))
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0
    if sent is ASK:
        assert client.rest() == b""
    else:
        assert client.send(b"" if len(sent) > 7 else px.v1()[7:] + ASK).said().startswith("True ")


def test_a_newcomer_comes_in_once_an_arrival_has_been_looked_at(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every place is taken by one that foreign code holds up, so that it cannot go; then it can."""
    gate, inside = Event(), Event()
    parse = preface.parse

    def held(data: bytes, *arguments: Any) -> Any:
        if data == px.v1()[:7] and not inside.is_set():
            inside.set()
            gate.wait()
        return parse(data, *arguments)

    monkeypatch.setattr(preface, "parse", held)
    serving = serve(connections=1, proxy_timeout=0)
    first = serving.connect(px.v1()[:7])
    inside.wait()
    second = serving.connect(px.v1() + ASK)
    (door,) = serving.server._doors
    until(lambda: door.paused)
    gate.set()
    assert second.said().startswith("True ")
    assert first.rest() == b""


def test_half_headers_go_before_smaller_input_of_others(serve: Serve) -> None:
    serving = serve(limit_buffers=140_000)
    if serving.server.interface == "stream":
        return  # whose handlers read at once
    half = px.SIGNATURE + bytes([0x21, 0x11, 0x0F, 0xF0]) + bytes(4000)
    for _ in range(50):
        serving.connect(half)
    serving.until(arriving=50, pool_ready=0)
    honest = [serving.connect(px.v1() + ASK[:20]) for _ in range(5)]
    serving.until(fresh=5, arriving=45, pool_ready=0)
    assert all(client.send(ASK[20:]).said().startswith("True ") for client in honest)
    lines = [message for _, message in serving.log(5)]
    assert all("connection closed: the unread input of all connections" in line for line in lines)


def test_without_the_protocol_nothing_is_known(serve: Serve) -> None:
    client = serve(proxy_protocol="off").connect(ASK)
    assert client.said() == f"True {client.name} None"


# ---- before a handshake


@pytest.mark.parametrize("way", ["direct", "simple"])
@pytest.mark.parametrize("header", [px.v1("1.2.3.4", 1, "1.2.3.5", 2), px.v2("1.2.3.4", 1)], ids=["v1", "v2"])
def test_a_header_comes_before_the_handshake_and_both_in_any_pieces(serve: Serve, header: bytes, way: str) -> None:
    serving = serve(certificates=certificates_of(way))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for cut in (0, 1, len(header) - 1, len(header), len(header) + 1, len(header) + 6, len(header) + 90):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing)
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        first = header + outgoing.read()
        client = serving.connect(first[:cut])
        serving.until(**({"arriving": 1} if cut < len(header) else {"handshaking": 1}))
        client.send(first[cut:])
        incoming.write(client.sock.recv(65536))
        tls.do_handshake()
        tls.write(ASK)
        client.send(outgoing.read())
        got = b""
        with contextlib.suppress(ssl.SSLZeroReturnError):
            while True:
                try:
                    piece = tls.read()
                except ssl.SSLWantReadError:
                    incoming.write(client.sock.recv(65536))
                else:
                    if not piece:
                        break
                    got += piece
        assert b"True ('1.2.3.4', 1) <Proxied v" in got
        serving.until(arriving=0, handshaking=0)


def test_a_handshake_without_a_header_is_closed_and_named(serve: Serve) -> None:
    serving = serve(certificates=certificates_of("direct"))
    client = serving.connect(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    assert client.rest() == b""
    (entry,) = serving.log(1)
    assert "TLS came instead of a PROXY header" in entry[1]


@pytest.mark.parametrize("header", [px.v1(), px.v2()], ids=["v1", "v2"])
def test_the_time_of_a_handshake_begins_behind_the_header(serve: Serve, header: bytes) -> None:
    serving = serve(certificates=certificates_of("direct"), tls_timeout=0.05, proxy_timeout=60)
    client = serving.connect(header + b"\x16\x03\x01")
    assert client.rest() == b""
    (entry,) = serving.log(1)
    assert entry[1].endswith("connection closed: no whole TLS handshake came within 0.05 s (tls_timeout)")
