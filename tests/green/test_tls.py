"""green/tls.pyx: TLS between a stream and its socket, the direct way and by SSLObject.

The peer is Python's ssl, driven by hand over a socket, so that records can be cut anywhere."""

from __future__ import annotations

import _ssl
import contextlib
import ctypes
import gc
import hashlib
import itertools
import os
import re
import signal
import ssl
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import gevent.ssl
import pytest
from gevent import socket, subprocess
from gevent.os import nb_read

from greenhttp.errors import StreamClosed, StreamTimeout, StreamTruncated, TLSError
from greenhttp.green import openssl, tls
from greenhttp.green.tls import Certificates, certificates_of
from greenhttp.green.transport import SocketStream, connect
from greenhttp.server import Server
from greenhttp.settings.values import Settings
from greenhttp.tls import material
from greenhttp.tls.agreed import TLSInfo
from tests.foreign import collecting, in_compiled_code
from tests.green.green import Background, turns, until
from tests.tls import certificates as made

DIRECT = pytest.mark.skipif(bool(openssl.reason()), reason=f"there is no direct way: {openssl.reason()}")
RECORD = 16384


@pytest.fixture(params=[pytest.param("direct", marks=DIRECT), "simple"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(tls, "force_simple", request.param == "simple")
    return str(request.param)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def context_for(directory: Path) -> Callable[..., ssl.SSLContext]:
    """context_for(*names, newest=None) -> a context for the server's side, a new one each time"""

    def context(*names: str, newest: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        found.load_cert_chain(*made.leaf(*names).write(directory, "server" + "-".join(names).replace("*", "_")))
        if newest is not None:
            found.maximum_version = newest
        return found

    return context


@pytest.fixture
def context(context_for: Callable[..., ssl.SSLContext]) -> ssl.SSLContext:
    return context_for()


def trusting(verify: bool = True, newest: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """A client's context."""
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    found.load_verify_locations(cadata=made.leaf().authority.decode())
    if not verify:
        found.check_hostname = False
        found.verify_mode = ssl.CERT_NONE
    if newest is not None:
        found.maximum_version = newest
    return found


class Peer:
    """A client, or a server, of which nothing is sent before it is said so. Methods suspend one green thread."""

    def __init__(
        self, address: Any, context: ssl.SSLContext | None = None, name: str | None = "localhost", *,
        sock: Any = None, session: Any = None, server: bool = False, buffer: int = 0, shake: bool = True,
    ) -> None:  # fmt: skip
        self.sock = sock
        if sock is None:
            self.sock = socket.socket(socket.AF_INET)
            if buffer:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            self.sock.connect(address)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if shake:
            self.start(context, name, session, server)

    def start(
        self, context: ssl.SSLContext | None = None, name: str | None = "localhost", session: Any = None,
        server: bool = False,
    ) -> None:  # fmt: skip
        self.begin(context, name, session, server)
        self.do(self.ssl.do_handshake)
        self.flush()

    def begin(
        self, context: ssl.SSLContext | None = None, name: str | None = "localhost", session: Any = None,
        server: bool = False,
    ) -> None:  # fmt: skip
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl = (context or trusting()).wrap_bio(
            self.incoming, self.outgoing, server_side=server, server_hostname=name, session=session
        )

    def flush(self, size: int | None = None) -> None:
        """Send what TLS wants sent, `size` bytes at a time."""
        data = self.outgoing.read()
        for at in range(0, len(data), size or len(data) or 1):
            self.sock.sendall(data[at : at + (size or len(data))])
            if size:
                turns(2)

    def do(self, call: Callable[..., Any], *arguments: Any, size: int | None = None) -> Any:
        while True:
            try:
                return call(*arguments)
            except ssl.SSLWantReadError:
                self.flush(size)
                data = self.sock.recv(65536)
                if data:
                    self.incoming.write(data)
                else:
                    self.incoming.write_eof()

    def record(self, data: bytes) -> bytes:
        """`data` encrypted, not sent."""
        self.ssl.write(data)
        return self.outgoing.read()

    def send(self, data: bytes) -> None:
        self.sock.sendall(self.record(data))

    def receive(self, size: int) -> bytes:
        """Exactly `size` bytes; fewer at the end, which is a goodbye: else SSLEOFError is raised."""
        pieces = []
        with contextlib.suppress(ssl.SSLZeroReturnError):
            while size and (piece := self.do(self.ssl.read, min(size, 65536))):
                pieces.append(piece)
                size -= len(piece)
        return b"".join(pieces)

    def rest(self) -> bytes:
        return self.receive(1 << 62)

    def goodbye(self) -> bytes:
        """Our close_notify, not sent."""
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLError):
            self.ssl.unwrap()
        return self.outgoing.read()

    def close(self) -> None:
        self.sock.close()


class Serving:
    """A server of stream handlers, its clients and what its handlers have raised."""

    def __init__(self, handler: Callable[..., object], certificates: Certificates, **settings: Any) -> None:
        self.errors: list[BaseException] = []
        self.layers: list[Any] = []
        self.handler = handler
        settings = {"bind": "127.0.0.1:0", "interface": "stream", **settings}
        self.server = Server(self.handle, **settings)
        self.server.certificates = certificates
        self.server.start()
        self.peers: list[Peer] = []

    def handle(self, stream: Any) -> None:
        self.layers.append(type(stream.layer).__name__)
        try:
            self.handler(stream)
        except BaseException as error:
            self.errors.append(error)
            raise

    def peer(self, *arguments: Any, **more: Any) -> Peer:
        self.peers.append(Peer(self.server.address, *arguments, **more))
        return self.peers[-1]

    def count(self, name: str) -> int:
        return self.server.statistics()[name]


Serve = Callable[..., Serving]


@pytest.fixture
def serve(context: ssl.SSLContext, way: str) -> Iterator[Serve]:
    """serve(handler, contexts=None) -> Serving"""
    started: list[Serving] = []

    def start(handler: Callable[..., object], contexts: Any = None, **settings: Any) -> Serving:
        certificates = contexts if isinstance(contexts, Certificates) else Certificates(contexts or [((), context)])
        assert certificates.way == way
        started.append(Serving(handler, certificates, **settings))
        return started[-1]

    yield start
    for serving in started:
        for peer in serving.peers:
            peer.close()
        serving.server.stop(0)
    gevent.idle()


def echo(stream: Any) -> None:
    while data := stream.read_some():
        stream.write(data)


def noise(size: int) -> bytes:
    return hashlib.shake_128(b"noise").digest(size)


# ---- records


def test_a_handshake_and_records_byte_by_byte(serve: Serve, way: str) -> None:
    serving = serve(echo)
    peer = serving.peer(shake=False)
    peer.begin()
    peer.do(peer.ssl.do_handshake, size=1)
    peer.flush(1)
    for byte in peer.record(b"hello"):
        peer.sock.sendall(bytes([byte]))
        turns(1)
    assert peer.receive(5) == b"hello"
    assert serving.layers == [{"direct": "DirectLayer", "simple": "SimpleLayer"}[way]]


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_two_records_split_anywhere(serve: Serve, newest: ssl.TLSVersion) -> None:
    peer = serve(echo).peer(trusting(newest=newest))
    size = 2 * len(serve(echo).peer(trusting(newest=newest)).record(b"one"))
    for at in range(1, size):
        data = peer.record(b"one") + peer.record(b"two")
        peer.sock.sendall(data[:at])
        turns(2)
        peer.sock.sendall(data[at:])
        assert peer.receive(6) == b"onetwo"


def test_many_records_in_one_segment_and_then_silence(serve: Serve) -> None:
    """Nobody waits for the system while decrypted bytes are there."""
    got = []

    def handler(stream: Any) -> None:
        while sum(map(len, got)) < 300_000:
            got.append(stream.read_some(1000))
        stream.write(b"all")

    peer = serve(handler).peer()
    data = noise(300_000)
    peer.sock.sendall(b"".join(peer.record(data[at : at + 3000]) for at in range(0, 300_000, 3000)))
    assert peer.receive(3) == b"all"
    assert b"".join(got) == data


def test_more_in_one_record_than_is_read(serve: Serve) -> None:
    def handler(stream: Any) -> None:
        for _ in range(RECORD):
            stream.write(stream.readexactly(1))

    peer = serve(handler).peer()
    peer.send(noise(RECORD))
    assert peer.rest() == noise(RECORD)


def test_lines_over_records(serve: Serve) -> None:
    peer = serve(lambda stream: [stream.write(line[::-1]) for line in stream]).peer()
    for piece in (b"a", b"bc\nde", b"f\n", b"\n"):
        peer.send(piece)
    peer.sock.sendall(peer.goodbye())
    assert peer.rest() == b"\ncba\nfed\n"


# ---- what is written


def test_a_slow_reader_holds_a_writer_up(serve: Serve, way: str) -> None:
    written = []

    def handler(stream: Any) -> None:
        for _ in range(200):
            stream.write(data)
            written.append(stream.unsent)

    data = noise(100_000)
    peer = serve(handler).peer(buffer=4096)
    seen = -1
    while seen != len(written):
        seen = len(written)
        turns(20)
    assert seen < 150  # the system's buffers, and no more
    assert max(written) < 65536 + 3 * RECORD + 1000
    assert hashlib.sha256(peer.rest()).digest() == hashlib.sha256(data * 200).digest()


SIZES = [0, 1, 100, 4096, 4097, 16383, 16384, 16385, 0, 40_000, 100_000, 1, 1, 49_152, 49_153]


def test_pieces_of_all_sizes_arrive_in_order(serve: Serve) -> None:
    pieces = [noise(size + number)[number:] for number, size in enumerate(SIZES)]

    def handler(stream: Any) -> None:
        stream.writelines(pieces)
        stream.flush()
        stream.writelines(reversed(pieces))

    assert serve(handler).peer().rest() == b"".join(pieces) + b"".join(reversed(pieces))


def test_small_pieces_share_a_record(serve: Serve) -> None:
    peer = serve(lambda stream: stream.writelines([b"x" * 5000, b"y" * 5000, b"z"])).peer()
    assert peer.do(peer.ssl.read, 65536) == b"x" * 5000 + b"y" * 5000 + b"z"


def test_a_file(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(noise(300_000))

    def handler(stream: Any) -> None:
        stream.write(b"before")
        with path.open("rb") as file:
            assert stream.sendfile(file, 10, 250_000) == 250_000
        stream.write(b"behind")

    assert serve(handler).peer().rest() == b"before" + noise(300_000)[10:250_010] + b"behind"


# ---- the end


def test_both_ends_say_goodbye(serve: Serve) -> None:
    seen = []
    serving = serve(lambda stream: seen.append(stream.read()))
    peer = serving.peer()
    peer.send(b"that is all")
    peer.sock.sendall(peer.goodbye())
    assert peer.rest() == b""
    assert peer.sock.recv(1) == b""
    assert seen == [b"that is all"]


@pytest.mark.parametrize("pending", [b"", b"x" * 70_000], ids=["nothing", "much"])
def test_after_our_goodbye_reading_goes_on(serve: Serve, pending: bytes) -> None:
    seen = []

    def handler(stream: Any) -> None:
        stream.write(b"our last")
        seen.append(stream.read_some(1))  # more has come, decrypted or not
        stream.shutdown()
        seen.append(stream.read())

    peer = serve(handler).peer()
    peer.sock.sendall(peer.record(b"1" + pending))
    assert peer.rest() == b"our last"
    peer.send(b"more")
    peer.sock.sendall(peer.goodbye())
    until(lambda: len(seen) == 2)
    assert seen == [b"1", pending + b"more"]


def test_a_write_behind_our_goodbye_is_refused_and_reading_goes_on(serve: Serve) -> None:
    seen = []

    def handler(stream: Any) -> None:
        stream.shutdown()
        with pytest.raises(BrokenPipeError):
            stream.write(b"late")
            stream.flush()
        socket.wait_read(stream.fileno())
        seen.append(stream.read_some())

    serving = serve(handler)
    peer = serving.peer()
    assert peer.rest() == b""
    peer.send(b"still here")
    until(lambda: seen or serving.errors)
    assert seen == [b"still here"]


def test_after_the_peers_goodbye_writing_goes_on(serve: Serve) -> None:
    def handler(stream: Any) -> None:
        assert stream.read() == b""
        stream.write(b"still " * 20_000)

    peer = serve(handler).peer()
    peer.sock.sendall(peer.goodbye())
    assert peer.rest() == b"still " * 20_000


def test_close_says_goodbye_and_abort_does_not(serve: Serve) -> None:
    peer = serve(lambda stream: stream.close()).peer()
    assert peer.rest() == b""
    peer = serve(lambda stream: stream.abort()).peer()
    with pytest.raises((ConnectionResetError, ssl.SSLEOFError)):
        peer.rest()


READS: dict[str, Callable[[Any], object]] = {
    "read": lambda stream: stream.read(),
    "read(n)": lambda stream: stream.read(100),
    "readexactly": lambda stream: stream.readexactly(100),
    "readline": lambda stream: [stream.readline(), stream.readline()],
    "readuntil": lambda stream: [stream.readuntil(b"\n"), stream.readuntil(b"\r\n")],
    "for": list,
}


@pytest.mark.parametrize("read", READS)
def test_an_end_without_a_goodbye_is_told_and_nothing_is_lost(serve: Serve, read: str) -> None:
    seen = []

    def handler(stream: Any) -> None:
        with pytest.raises(StreamTruncated, match="close_notify"):
            READS[read](stream)
        with pytest.raises(StreamTruncated):
            READS[read](stream)
        while stream.buffered:
            seen.append(stream.read_some())
        with pytest.raises(StreamTruncated):
            stream.read_some()
        stream.write(b"an answer")  # it may have been the goodbye alone that is missing

    serving = serve(handler)
    peer = serving.peer()
    peer.send(b"line\nand half")
    peer.sock.shutdown(socket.SHUT_WR)
    assert peer.rest() == b"an answer"
    assert serving.errors == []
    lines = read in ("readline", "readuntil", "for")
    assert b"".join(seen) == (b"and half" if lines else b"line\nand half")


def test_what_was_there_whole_needs_no_goodbye(serve: Serve) -> None:
    seen = []

    def handler(stream: Any) -> None:
        seen.append(stream.readexactly(4))
        seen.append(stream.readline())
        seen.append(stream.read(3))

    serving = serve(handler)
    peer = serving.peer()
    peer.send(b"fourline\nyes")
    peer.sock.shutdown(socket.SHUT_WR)
    assert peer.rest() == b""
    assert (seen, serving.errors) == ([b"four", b"line\n", b"yes"], [])


def test_http_takes_it_for_the_end(context: ssl.SSLContext) -> None:
    """Its messages are framed."""
    server = Server(lambda request: request.body.read().upper(), bind="127.0.0.1:0")
    server.certificates = Certificates([((), context)])
    server.start()
    peer = Peer(server.address)
    peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
    peer.sock.shutdown(socket.SHUT_WR)
    assert peer.rest().endswith(b"\r\n\r\nHELLO")
    peer.close()
    server.stop(0)


@pytest.mark.parametrize("behind", ["close_notify", "what cannot be decrypted"])
def test_an_end_in_the_segment_of_a_request_is_looked_at(context: ssl.SSLContext, behind: str) -> None:
    """The system says nothing more, for the socket stays open."""
    server = Server(lambda request: b"hello", bind="127.0.0.1:0", keepalive_timeout=60)
    server.certificates = Certificates([((), context)])
    server.start()
    peer = Peer(server.address)
    end = peer.goodbye if behind == "close_notify" else lambda: b"\x17\x03\x03\x00\x20" + b"x" * 32
    peer.sock.sendall(peer.record(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") + end())
    data = b""
    with gevent.Timeout(20), contextlib.suppress(ConnectionResetError):
        while piece := peer.sock.recv(65536):
            data += piece
    assert behind != "close_notify" or b"hello" in decrypted(peer, data)
    peer.close()
    server.stop(0)


def decrypted(peer: Peer, data: bytes) -> bytes:
    """What `peer` reads of it, up to where TLS says that more has to come, or that it is over."""
    peer.incoming.write(data)
    pieces = []
    with contextlib.suppress(ssl.SSLError):
        while piece := peer.ssl.read(65536):
            pieces.append(piece)
    return b"".join(pieces)


def test_a_broken_record_ends_the_connection(serve: Serve) -> None:
    serving = serve(echo)
    peer = serving.peer()
    peer.send(b"hello")
    assert peer.receive(5) == b"hello"
    data = bytearray(peer.record(b"hello"))
    data[-1] ^= 1
    peer.sock.sendall(data)
    with pytest.raises((ConnectionResetError, ssl.SSLError)):
        peer.rest()
    until(lambda: serving.errors)
    assert isinstance(serving.errors[0], TLSError)
    assert re.search("bad record mac|decryption failed", str(serving.errors[0]))


# ---- key updates, renegotiation


def test_key_updates_are_answered(serve: Serve) -> None:
    """Asked for by tlslite-ng, since Python's ssl cannot."""
    tlslite = pytest.importorskip("tlslite.api")
    serving = serve(echo)
    host, port = serving.server.address

    def talk() -> bytes:
        with socket.create_connection((host, port)) as sock:
            peer = tlslite.TLSConnection(sock)
            settings = tlslite.HandshakeSettings()
            settings.minVersion = (3, 4)
            peer.handshakeClientCert(settings=settings)
            got = b""
            for number in range(20):
                for _ in peer.send_keyupdate_request(number % 2):  # asking for one in turn, or not
                    pass
                peer.sendall(b"%02d" % number)
                got += bytes(peer.read(min=2, max=2))
            peer.close()
            return got

    assert Background(talk).result() == b"".join(b"%02d" % number for number in range(20))


def test_renegotiation_is_refused(serve: Serve) -> None:
    serving = serve(lambda stream: [stream.write(line) for line in stream])
    host, port = serving.server.address
    try:
        client = subprocess.Popen(
            ["openssl", "s_client", "-tls1_2", "-connect", f"{host}:{port}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    client.stdin.write(b"hello there\n")
    client.stdin.flush()
    said = b""
    while b"hello there" not in said:
        said += os_read(client.stdout)
    client.stdin.write(b"R\n")
    client.stdin.flush()
    while piece := os_read(client.stdout):
        said += piece
    client.wait()
    assert b"RENEGOTIATING" in said
    assert b"no renegotiation" in said


def os_read(file: Any) -> bytes:
    return nb_read(file.fileno(), 65536)  # type: ignore[no-any-return]


# ---- which certificate


def first(chain: bytes) -> str:
    """The first certificate of a chain."""
    end = "-----END CERTIFICATE-----\n"
    return chain.decode().partition(end)[0] + end


SHOWN = {
    "shop.example": ("shop.example",),
    "SHOP.example": ("shop.example",),
    "www.shop.example": ("*.shop.example",),
    "a.www.shop.example": ("localhost",),
    "elsewhere.example": ("localhost",),
    "exact.shop.example": ("exact.shop.example",),
    "localhost": ("localhost",),
    "": ("localhost",),
}


@pytest.mark.parametrize("name", SHOWN)
def test_the_name_that_a_client_asks_for_chooses(
    serve: Serve, context_for: Callable[..., ssl.SSLContext], name: str
) -> None:
    seen: list[TLSInfo] = []
    named = [("localhost",), ("*.shop.example",), ("shop.example",), ("exact.shop.example",)]
    contexts = [(names, context_for(*names)) for names in named]
    peer = serve(lambda stream: seen.append(stream.tls), contexts).peer(trusting(verify=False), name or None)
    assert peer.rest() == b""
    assert ssl.DER_cert_to_PEM_cert(peer.ssl.getpeercert(True)) == first(made.leaf(*SHOWN[name]).chain)
    assert seen[0].server_name == (name or None)


@in_compiled_code
def test_to_choose_makes_nothing_that_the_collector_counts(context_for: Callable[..., ssl.SSLContext]) -> None:
    """It happens in the middle of OpenSSL, where no other green thread may be let run."""
    certificates = Certificates([((), context_for()), (("shop.example", "*.shop.example"), context_for())])
    choosing = False
    with collecting(lambda: None, lambda: choosing) as hits:
        choosing = True
        certificates.chosen("Shop.Example")
        certificates.chosen("WWW.shop.example")
        certificates.chosen("else.example")
        choosing = False
    assert hits == []
    assert certificates.chosen("WWW.shop.Example") is certificates.contexts[1][1]


def test_what_was_agreed_on(serve: Serve, context: ssl.SSLContext, tmp_path: Path) -> None:
    seen = []

    def handler(stream: Any) -> None:
        seen.append(stream.tls)
        stream.close()
        assert stream.tls is None

    ours = trusting()
    context.set_alpn_protocols(["imap", "http/1.1"])
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=made.leaf().authority.decode())
    ours.set_alpn_protocols(["imap"])
    ours.load_cert_chain(made.client().both(tmp_path / "client.pem"))
    serving = serve(handler)
    peer = serving.peer(ours)
    assert peer.rest() == b""
    (told,) = seen
    assert told[:4] == ("TLSv1.3", peer.ssl.cipher()[0], peer.ssl.cipher()[2], "localhost")
    assert (told.alpn, told.resumed, told.verified) == ("imap", False, True)
    assert told.certificate.pem == first(made.client().chain)
    assert serving.errors == []
    assert serving.peer(trusting()).rest() == b""
    assert (seen[1].certificate, seen[1].verified) == (None, False)


# ---- tickets

KEYS = [bytes([number]) * 80 for number in range(3)]


@DIRECT
@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("keys", "resumed"), [([KEYS[0]], True), ([KEYS[1], KEYS[0]], True), ([KEYS[1]], False)],
    ids=["the same", "a newer one too", "only a newer one"],
)  # fmt: skip
def test_tickets_are_taken_by_whoever_has_their_key(
    serve: Serve, context_for: Callable[..., ssl.SSLContext], newest: Any, keys: list[bytes], resumed: bool
) -> None:
    seen = []

    def handler(stream: Any) -> None:
        seen.append(stream.tls.resumed)
        stream.write(b"hello")

    def serving(keys: list[bytes]) -> Serving:
        certificates = Certificates([((), context_for(newest=newest))])
        assert certificates.set_ticket_keys(keys) is True
        return serve(handler, certificates)

    ours = trusting()
    first = serving([KEYS[0]]).peer(ours)
    assert first.rest() == b"hello"
    assert first.ssl.session is not None
    again = serving(keys).peer(ours, session=first.ssl.session)
    assert again.rest() == b"hello"
    assert again.ssl.session_reused is resumed
    assert seen == [False, resumed]


@pytest.mark.parametrize(
    ("key", "error"), [(b"short", ValueError), ([b"k"] * 80, TypeError), ("k" * 80, TypeError), (80, TypeError)],
    ids=["short", "a list", "str", "int"],
)  # fmt: skip
def test_a_ticket_key_is_80_bytes(context: ssl.SSLContext, key: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        Certificates([((), context)]).set_ticket_keys([key])


@DIRECT
@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_ticket_keys_are_any_bytes(serve: Serve, context_for: Callable[..., ssl.SSLContext], kind: Any) -> None:
    ours, session = trusting(), None
    for keys in ([kind(KEYS[0])], [KEYS[0]]):
        certificates = Certificates([((), context_for())])
        certificates.set_ticket_keys(keys)
        peer = serve(lambda stream: stream.write(b"hello"), certificates).peer(ours, session=session)
        assert peer.rest() == b"hello"
        session = peer.ssl.session
    assert peer.ssl.session_reused
def verifying(context: ssl.SSLContext, authority: str, how: ssl.VerifyMode) -> Certificates:
    if how:
        context.load_verify_locations(cadata=authority)
    context.verify_mode = how
    certificates = Certificates([((), context)])
    certificates.set_ticket_keys(KEYS[:1])
    return certificates


@DIRECT
@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("rules", ["the same", "a certificate from now on", "another authority"])
def test_a_session_ends_with_the_rules_that_its_client_was_verified_by(
    serve: Serve, context_for: Callable[..., ssl.SSLContext], newest: Any, rules: str, tmp_path: Path
) -> None:
    """Whoever resumes is not verified again."""
    seen = []

    def handler(stream: Any) -> None:
        seen.append(stream.tls.resumed)
        stream.write(b"hello")

    ours, theirs = made.leaf().authority.decode(), made.other_authority().authorities().decode()
    before = {"a certificate from now on": ssl.CERT_NONE}.get(rules, ssl.CERT_REQUIRED)
    after = {"another authority": theirs}.get(rules, ours)
    client = trusting()
    if before:
        client.load_cert_chain(made.client().both(tmp_path / "client.pem"))
    first = serve(handler, verifying(context_for(newest=newest), ours, before)).peer(client)
    assert first.rest() == b"hello"
    serving = serve(handler, verifying(context_for(newest=newest), after, ssl.CERT_REQUIRED))
    again = serving.peer(shake=False)
    if rules == "the same":
        again.start(client, session=first.ssl.session)
        assert again.rest() == b"hello" and seen == [False, True]
        return
    with pytest.raises(ssl.SSLError, match="(?i)alert"):
        again.start(client, session=first.ssl.session)
        again.rest()
    assert seen == [False]


@DIRECT
def test_a_session_of_a_verified_client_is_not_prolonged(serve: Serve, context: ssl.SSLContext, tmp_path: Path) -> None:
    """With a new ticket for each connection its certificate could expire, and would do for ever."""
    certificates = verifying(context, made.leaf().authority.decode(), ssl.CERT_REQUIRED)
    client = trusting()
    client.load_cert_chain(made.client().both(tmp_path / "client.pem"))
    serving = serve(lambda stream: stream.write(b"hello"), certificates)
    first = serving.peer(client)
    assert first.rest() == b"hello"
    again = serving.peer(client, session=first.ssl.session)
    assert again.rest() == b"hello"
    assert again.ssl.session_reused and again.ssl.session == first.ssl.session


def test_contexts_by_name_verify_clients_alike(context_for: Callable[..., ssl.SSLContext]) -> None:
    """The first decides for all: a client of its would be served as one that the second has verified."""
    first, second = context_for(), context_for("shop.example")
    second.load_verify_locations(cadata=made.leaf().authority.decode())
    second.verify_mode = ssl.CERT_REQUIRED
    with pytest.raises(ValueError, match="must verify clients alike"):
        Certificates([(("localhost",), first), (("shop.example",), second)])


def test_no_session_is_kept_here(serve: Serve, context: ssl.SSLContext) -> None:
    """Of clients of TLS 1.2 that take no tickets, OpenSSL would keep 20,480."""
    client = trusting(newest=ssl.TLSVersion.TLSv1_2)
    client.options |= ssl.OP_NO_TICKET
    assert serve(lambda stream: stream.write(b"hello")).peer(client).rest() == b"hello"
    assert context.session_stats()["number"] == 0 or openssl.reason()


# ---- contexts that change


def on_name(*arguments: Any) -> None:
    pass


LATE: dict[str, Callable[[ssl.SSLContext, Path], object]] = {
    "sni_callback": lambda context, path: setattr(context, "sni_callback", on_name),
    "keylog_filename": lambda context, path: setattr(context, "keylog_filename", str(path)),
    "_msg_callback": lambda context, path: setattr(context, "_msg_callback", on_name),
}
if hasattr(ssl.SSLContext, "set_psk_server_callback"):
    LATE["psk"] = lambda context, path: context.set_psk_server_callback(lambda name: b"")


@pytest.mark.parametrize("kind", ["ssl", "gevent.ssl"])
def test_a_callback_of_either_kind_of_context_is_called(serve: Serve, tmp_path: Path, kind: str) -> None:
    """gevent's asks what it is called with for the connection, which SSLObject does not have."""
    called: list[Any] = []
    context = {"ssl": ssl, "gevent.ssl": gevent.ssl}[kind].SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*made.leaf().write(tmp_path))
    serving = serve(lambda stream: stream.write(b"hello"), Certificates([((), context)]))
    context.sni_callback = lambda connection, name, context: called.append((type(connection), name))
    assert serving.peer().rest() == b"hello"
    assert called == [(ssl.SSLObject, "localhost")]


@pytest.mark.parametrize("late", LATE)
@pytest.mark.parametrize("which", ["the only one", "the first", "another"])
def test_a_callback_that_is_set_while_it_serves(
    serve: Serve, context_for: Callable[..., ssl.SSLContext], tmp_path: Path, late: str, which: str, way: str
) -> None:
    contexts = [(("localhost",), context_for())]
    if which != "the only one":
        contexts.append((("shop.example",), context_for("shop.example")))
    certificates = Certificates(contexts)
    serving = serve(echo, certificates)
    before = serving.peer(trusting(verify=False), "shop.example")
    before.send(b"1")
    assert before.receive(1) == b"1"
    LATE[late](contexts[which == "another"][1], tmp_path / "keys")
    for name in ("shop.example", "localhost"):
        peer = serving.peer(trusting(verify=False), name)
        peer.send(b"2")
        assert peer.receive(1) == b"2"
        assert serving.layers[-1] == "SimpleLayer"
    if late == "keylog_filename":
        assert "TRAFFIC_SECRET" in (tmp_path / "keys").read_text()


@DIRECT
def test_a_callback_that_is_set_in_the_middle_of_a_hello(
    serve: Serve, context_for: Callable[..., ssl.SSLContext], tmp_path: Path, way: str
) -> None:
    contexts = [(("localhost",), context_for()), (("shop.example",), context_for("shop.example"))]
    serving = serve(echo, Certificates(contexts))
    peer = serving.peer(shake=False)
    peer.begin(trusting(verify=False), "shop.example")
    with pytest.raises(ssl.SSLWantReadError):
        peer.ssl.do_handshake()
    hello = peer.outgoing.read()
    peer.sock.sendall(hello[:100])
    until(lambda: serving.count("handshaking") == 1)
    turns()
    contexts[1][1].keylog_filename = str(tmp_path / "keys")
    peer.sock.sendall(hello[100:])
    peer.do(peer.ssl.do_handshake)
    peer.flush()
    peer.send(b"2")
    assert peer.receive(1) == b"2"
    assert serving.layers == ["SimpleLayer"]  # which way is asked when the first message is whole


@pytest.mark.parametrize("late", LATE)
@pytest.mark.parametrize("name", ["localhost", "shop.example"])
def test_a_callback_that_is_set_on_the_context_in_use(
    context_for: Callable[..., ssl.SSLContext], tmp_path: Path, late: str, name: str, way: str
) -> None:
    """In the middle of a handshake, behind the choice of a name: OpenSSL would call Python for a connection of which
    that knows nothing."""
    contexts = [(("localhost",), context_for()), (("shop.example",), context_for("shop.example"))]
    with pair() as (stream, sock):
        background = Background(stream.start_tls, contexts, server_side=True)
        peer = Peer(None, sock=sock, shake=False)
        peer.begin(trusting(verify=False), name)
        with pytest.raises(ssl.SSLWantReadError):
            peer.ssl.do_handshake()
        peer.flush()
        peer.incoming.write(sock.recv(65536))
        LATE[late](contexts[name == "shop.example"][1], tmp_path / "keys")
        peer.do(peer.ssl.do_handshake)
        peer.flush()
        until(lambda: background.ended)
        if way == "direct":
            assert isinstance(background.error, TLSError)
            assert "has got a callback" in str(background.error)
        else:
            assert background.error is None


def test_contexts_that_go_while_handshakes_are_under_way(
    serve: Serve, context_for: Callable[..., ssl.SSLContext], way: str
) -> None:
    """What OpenSSL calls back for, the choice of a protocol (ALPN) among it, must be there still."""

    def contexts() -> Certificates:
        found = [(("localhost",), context_for()), (("shop.example",), context_for("shop.example"))]
        for _, context in found:
            context.set_alpn_protocols(["imap"])
        return Certificates(found)

    serving = serve(echo, contexts())
    ours = trusting(verify=False)
    ours.set_alpn_protocols(["imap"])
    peers = [serving.peer(shake=False) for _ in range(10)]
    hellos = []
    for number, peer in enumerate(peers):
        peer.begin(ours, ("localhost", "shop.example", "else.example")[number % 3])
        with pytest.raises(ssl.SSLWantReadError):
            peer.ssl.do_handshake()
        hellos.append(peer.outgoing.read())
        peer.sock.sendall(hellos[-1][:100])
    until(lambda: serving.count("handshaking") == 10)
    turns()
    for _ in range(3):
        serving.server.renew(contexts())
        gc.collect()
    for peer, hello in zip(peers, hellos, strict=True):
        peer.sock.sendall(hello[100:])
    for peer in peers:
        peer.do(peer.ssl.do_handshake)
        peer.flush()
        peer.send(b"hello")
        assert peer.receive(5) == b"hello"
        assert peer.ssl.selected_alpn_protocol() == "imap"
    assert set(serving.layers) == {{"direct": "DirectLayer", "simple": "SimpleLayer"}[way]}


def shown(name: str, peer: Any) -> tuple[str, ...]:
    """Ask for a server; the names in the certificate that is shown."""
    client = Peer(None, trusting(verify=False), name, sock=peer)
    certificate = ssl.DER_cert_to_PEM_cert(client.ssl.getpeercert(True))
    return next(names for names in ((), ("shop.example",)) if certificate == first(made.leaf(*names).chain))


def test_two_at_once_that_share_contexts(context_for: Callable[..., ssl.SSLContext]) -> None:
    """STARTTLS with the same pairs: the end of one handshake takes no names from the other, nor does its start."""
    contexts = [(("localhost",), context_for()), (("shop.example",), context_for("shop.example"))]
    with pair() as (one, first_peer), pair() as (other, second_peer):
        shaking = gevent.spawn(one.start_tls, contexts, server_side=True)
        turns()
        later = gevent.spawn(other.start_tls, contexts, server_side=True)
        turns()
        assert shown("shop.example", second_peer) == ("shop.example",)
        later.get(timeout=10)
        del later
        gc.collect()
        assert shown("shop.example", first_peer) == ("shop.example",)
        shaking.get(timeout=10)


def test_each_listener_has_its_own_names(context_for: Callable[..., ssl.SSLContext]) -> None:
    """Two Certificates with the same first context and other names."""
    default, shop = context_for(), context_for("shop.example")
    both = Certificates([((), default), (("shop.example",), shop)])
    Certificates([((), default), (("other.example",), shop)])
    alone = Certificates([((), default)])
    for certificates, names in ((both, ("shop.example",)), (alone, ())):
        with pair() as (stream, peer):
            shaking = gevent.spawn(stream.start_tls, certificates, server_side=True)
            assert shown("shop.example", peer) == names
            shaking.get(timeout=10)
            assert stream.tls.server_name == "shop.example"


@DIRECT
def test_the_end_of_certificates_takes_no_ticket_keys(serve: Serve, context: ssl.SSLContext) -> None:
    certificates, others = Certificates([((), context)]), Certificates([((), context)])
    assert certificates.set_ticket_keys(KEYS[:1])
    assert others.set_ticket_keys(KEYS[:1])
    serving, ours = serve(lambda stream: stream.write(b"hello"), certificates), trusting()
    peer = serving.peer(ours)
    assert peer.rest() == b"hello"
    del others
    gc.collect()
    again = serving.peer(ours, session=peer.ssl.session)
    assert again.rest() == b"hello"
    assert again.ssl.session_reused


def test_certificates_that_share_a_context(serve: Serve, context_for: Callable[..., ssl.SSLContext]) -> None:
    """The end of one takes nothing from the other."""
    contexts = [(("localhost",), context_for()), (("shop.example",), context_for("shop.example"))]
    serving = serve(echo, Certificates(contexts))
    serving.server.renew(Certificates(contexts))
    Certificates(contexts[:1])
    gc.collect()
    peer = serving.peer(name="shop.example")  # and its certificate is verified
    peer.send(b"hello")
    assert peer.receive(5) == b"hello"


def material_of(directory: Path, keys: list[bytes], **leaves: Any) -> material.Material:
    """Of these certificates, each in a file called like it."""
    files = [leaf.write(directory, name)[0] for name, leaf in leaves.items()]
    return material.read(Settings(certfile=files), keys)


@DIRECT
def test_of_several_one_is_renewed_and_the_contexts_of_the_others_stay_in_use(serve: Serve, tmp_path: Path) -> None:
    """Handshakes under way end as they began; tickets are of the newest key, and those of the last are taken."""
    serving, ours = serve(echo), trusting()
    leaves = {"other": made.leaf("a.example"), "local": made.leaf(), "shop": made.leaf("shop.example")}
    server = serving.server
    server.renew(server.certificates_of(material_of(tmp_path, KEYS[:1], **leaves)))
    before = [context for _, context in server.certificates.contexts]
    names = ("localhost", "shop.example", "a.example")
    peers = [serving.peer(shake=False) for _ in names]
    hellos = []
    for peer, name in zip(peers, names, strict=True):
        peer.begin(ours, name)
        with pytest.raises(ssl.SSLWantReadError):
            peer.ssl.do_handshake()
        hello, sent = peer.outgoing.read(), None if name == "a.example" else 100  # the certificate has been chosen
        peer.sock.sendall(hello[:sent])
        hellos.append(b"" if sent is None else hello[sent:])
    old = serving.peer(trusting(newest=ssl.TLSVersion.TLSv1_2))
    until(lambda: serving.count("handshaking") == 3)
    turns()
    leaves["other"] = made.leaf("a.example", days=50)
    server.renew(server.certificates_of(material_of(tmp_path, KEYS[1::-1], **leaves)))
    after = [context for _, context in server.certificates.contexts]
    assert [one is two for one, two in zip(before, after, strict=True)] == [False, True, True]
    del before, after
    gc.collect()
    for peer, hello in zip(peers, hellos, strict=True):
        peer.sock.sendall(hello)
    for peer, leaf in zip(peers, (made.leaf(), made.leaf("shop.example"), made.leaf("a.example")), strict=True):
        peer.do(peer.ssl.do_handshake)
        peer.flush()
        assert ssl.DER_cert_to_PEM_cert(peer.ssl.getpeercert(True)) == first(leaf.chain)
        peer.send(b"hello")
        assert peer.receive(5) == b"hello"
    again = serving.peer(old.ssl.context, session=old.ssl.session)
    assert again.ssl.session_reused
    new = serving.peer(old.ssl.context)
    server.renew(server.certificates_of(material_of(tmp_path, KEYS[1:2], **leaves)))
    for session, reused in ((old.ssl.session, False), (again.ssl.session, True), (new.ssl.session, True)):
        assert serving.peer(old.ssl.context, session=session).ssl.session_reused is reused


def test_others_run_while_contexts_are_made_for_a_server_that_serves(serve: Serve, tmp_path: Path) -> None:
    serving, ran = serve(echo), []
    leaves = {name: made.leaf(f"{name}.example") for name in "abc"}
    given = material_of(tmp_path, KEYS, **leaves)

    def others() -> None:
        for _ in range(1000):
            ran.append(1)
            gevent.sleep(0)

    other = gevent.spawn(others)
    serving.server.certificates_of(given)
    assert len(ran) >= 6  # after each certificate was looked into, and each context made
    ran.clear()
    serving.server.certificates_of(given)
    assert not ran  # there is nothing to make
    other.kill()
    found: list[Any] = []
    later = material_of(tmp_path, KEYS, **{**leaves, "b": made.leaf("b.example", days=50)})

    def callback() -> None:
        try:
            found.append(serving.server.certificates_of(later))
        except BaseException as error:  # the hub must not wait
            found.append(error)

    gevent.get_hub().loop.run_callback(callback)
    until(lambda: found)
    assert isinstance(found[0], Certificates)
    ran.clear()
    idle = Server(echo, bind="127.0.0.1:0", interface="stream")
    gevent.spawn(ran.append, 1)
    idle.certificates_of(given)  # at a start nobody comes in between
    assert not ran


@pytest.mark.parametrize(
    ("contexts", "error"), [([], ValueError), ([(("a",), "no context")], TypeError)], ids=["none", "another"]
)
def test_what_certificates_are_made_of(contexts: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        Certificates(contexts)


def test_a_name_is_a_str(context: ssl.SSLContext) -> None:
    with pytest.raises(TypeError, match="a server's name is a str, not bytes"):
        Certificates([((b"localhost",), context)])


def test_wrong_certificates_for_starttls(context: ssl.SSLContext) -> None:
    with pair() as (stream, _peer):
        with pytest.raises(TypeError, match="SSLContext is needed, not str"):
            stream.start_tls([("a.example", "cert.pem")], server_side=True)
        gc.collect()


def test_a_client_verifies_no_certificate_without_a_name(context: ssl.SSLContext) -> None:
    """SSLObject takes any name for the right one if it is given none: whoever has a certificate could be between."""
    with pair() as (stream, peer):
        stream.write(b"STARTTLS\r\n")
        with pytest.raises(ValueError, match="give server_name"):
            stream.start_tls(trusting(), server_side=False)
        assert stream.unsent == 10  # nothing was sent, nothing is closed
        stream.flush()
        assert peer.recv(100) == b"STARTTLS\r\n"
        with pytest.raises(ValueError, match="greenhttp.tls.client makes one"):
            stream.start_tls(context, server_side=False, server_name="localhost")
        with pytest.raises(TypeError, match="SSLContext is needed, not str"):
            stream.start_tls("cert.pem", server_side=False, server_name="localhost")
        with pytest.raises(ValueError, match="greenhttp.tls.server makes one"):
            stream.start_tls(trusting(), server_side=True)


@pytest.mark.parametrize("tls", [True, "cert.pem", ("cert.pem",), None])
def test_what_shows_no_certificate(tls: Any) -> None:
    with pytest.raises(TypeError, match=r"SSLContext is needed, not \w+"):
        certificates_of(tls)


def test_a_servers_name_is_for_tls() -> None:
    with pytest.raises(TypeError, match="give tls=True as well"):
        connect("127.0.0.1:1", server_name="localhost")


def test_certificates_are_made_once(serve: Serve, context_for: Callable[..., ssl.SSLContext]) -> None:
    contexts = [(("localhost",), context_for()), (("shop.example",), context_for("shop.example"))]
    certificates = Certificates(contexts)
    with pytest.raises(RuntimeError, match="do not change"):
        certificates.__init__(contexts[1:])  # type: ignore[misc]
    peer = serve(echo, certificates).peer(name="localhost")
    peer.send(b"hello")
    assert peer.receive(5) == b"hello"


# ---- among others


def test_a_child_that_is_forked_says_no_goodbye(serve: Serve) -> None:
    def handler(stream: Any) -> None:
        stream.write(b"before ")
        stream.flush()
        pid = os.fork()
        if pid == 0:
            try:
                gevent.sleep(0)  # where the child lets go of what is the parent's
                gc.collect()
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        stream.write(b"behind")

    serving = serve(handler)
    assert serving.peer().rest() == b"before behind"
    assert serving.errors == []


# ---- STARTTLS


@contextlib.contextmanager
def pair() -> Iterator[tuple[SocketStream, Any]]:
    """A stream that has connected, and its peer's socket."""
    ours, theirs = socket.socketpair()
    stream = SocketStream(ours)
    try:
        yield stream, theirs
    finally:
        stream.abort()
        theirs.close()


@pytest.fixture
def plain(context: ssl.SSLContext) -> Iterator[Callable[..., Server]]:
    """plain(handler) -> a started server without TLS"""
    started = []

    def start(handler: Callable[..., object]) -> Server:
        server = Server(handler, bind="127.0.0.1:0", interface="stream")
        server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop(0)
    gevent.idle()


def at(server: Server) -> str:
    return f"{server.address[0]}:{server.address[1]}"


def test_starttls_between_two_of_ours(plain: Any, context: ssl.SSLContext, way: str) -> None:
    kinds = []

    def handler(stream: Any) -> None:
        assert stream.tls is None
        assert stream.readline() == b"STARTTLS\n"
        stream.write(b"go ahead\n")
        stream.start_tls(context)
        kinds.append(type(stream.layer).__name__)
        stream.write(stream.read() + stream.tls.server_name.encode())

    with connect(at(plain(handler))) as stream:
        stream.write(b"STARTTLS\n")
        assert stream.readline() == b"go ahead\n"
        stream.start_tls(trusting(), server_name="localhost")
        assert stream.tls.verified
        stream.write(b"secret ")
        stream.shutdown()
        assert stream.read() == b"secret localhost"
    assert kinds == [{"direct": "DirectLayer", "simple": "SimpleLayer"}[way]]


def test_the_side_can_be_said(context: ssl.SSLContext) -> None:
    with pair() as (stream, theirs):
        peer = Background(Peer, None, sock=theirs)
        stream.start_tls(context, server_side=True)
        stream.write(b"hello")
        assert peer.result().receive(5) == b"hello"


def test_output_before_it_leaves_in_plain(context: ssl.SSLContext) -> None:
    with pair() as (stream, theirs):
        stream.write(b"plain\n")
        started = Background(stream.start_tls, trusting(), server_name="localhost")
        assert theirs.recv(6) == b"plain\n"
        peer = Peer(None, context, None, sock=theirs, server=True)
        started.result()
        stream.write(b"hello")
        assert peer.receive(5) == b"hello"


@pytest.mark.parametrize("server", [False, True])
def test_what_came_before_the_handshake_is_never_taken_for_encrypted(
    context: ssl.SSLContext, server: bool
) -> None:
    """CVE-2011-0411."""
    with pair() as (stream, theirs):
        theirs.sendall(b"STARTTLS\nRSET\n")
        assert stream.readline() == b"STARTTLS\n"
        with pytest.raises(TLSError, match="sent more than it may"):
            stream.start_tls(context if server else trusting(), server_side=server, server_name="localhost")
        with pytest.raises(StreamClosed):
            stream.readline()
        assert theirs.recv(100) == b""


def test_the_log_says_why_a_handler_lost_its_peer(
    plain: Any, context: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "greenhttp")
    with socket.create_connection(plain(lambda stream: stream.start_tls(context)).address) as sock:
        sock.sendall(b"RSET\r\n")
        until(lambda: caplog.records)
    (record,) = caplog.records
    assert record.levelname == "INFO"
    why = "(wrong version number|packet length too long)"
    assert re.fullmatch(rf"127\.0\.0\.1:\d+: TLS failed: {why}", record.getMessage())


def test_what_still_lies_in_the_system_is_no_handshake(context: ssl.SSLContext) -> None:
    with pair() as (stream, theirs):
        theirs.sendall(b"RSET\n")
        with pytest.raises(TLSError):
            stream.start_tls(context, server_side=True)
        assert stream.closed


def test_nothing_gets_out_in_plain_while_a_handshake_goes_on(context: ssl.SSLContext) -> None:
    with pair() as (stream, theirs):
        started = Background(stream.start_tls, trusting(), server_name="localhost")
        peer = Peer(None, sock=theirs, shake=False)
        peer.begin(context, None, server=True)
        with pytest.raises(ssl.SSLWantReadError):
            peer.ssl.do_handshake()
        peer.incoming.write(theirs.recv(65536))
        stream.write(b"by another")
        for call in (stream.read_some, stream.flush, lambda: stream.write(b"x" * 100_000)):
            with pytest.raises(RuntimeError, match="another green thread"):
                call()
        turns()
        with pytest.raises(ssl.SSLWantReadError):
            peer.ssl.do_handshake()
        peer.flush()
        peer.do(peer.ssl.do_handshake)
        peer.flush()
        started.result()
        assert peer.receive(10) == b"by another"


# ---- foreign code in the middle, which the simple way calls


@contextlib.contextmanager
def client(context: ssl.SSLContext, ours: ssl.SSLContext | None = None) -> Iterator[tuple[SocketStream, Peer]]:
    """A stream that is a client, the simple way, and the server at its other end."""
    with pair() as (stream, sock):
        peer = Peer(None, sock=sock, shake=False)
        shaking = Background(stream.start_tls, ours or trusting(), server_name="localhost")
        peer.start(context, None, server=True)
        until(lambda: shaking.ended)
        assert shaking.error is None
        yield stream, peer


@in_compiled_code
def test_a_finalizer_that_aborts_in_the_middle_of_a_read(context: ssl.SSLContext) -> None:
    me = gevent.getcurrent()
    moment, hits, closed = 0, [me], 0
    while hits:
        with client(context) as (stream, peer):
            peer.send(b"hello")
            with collecting(stream.abort, lambda: gevent.getcurrent() is me, moment) as hits:
                try:
                    assert stream.read_some() == b"hello"
                except StreamClosed:
                    closed += 1
            del stream
        moment += 1
    assert closed


class Interrupt(Exception):
    """Raised by a signal's handler."""


class Signal:
    """A client's context. Once armed, OpenSSL's next record brings a signal; _ssl calls the handler when OpenSSL is
    through with it, before it says what came of it."""

    def __init__(self) -> None:
        self.context = trusting()
        self.set = _ssl._SSLContext._msg_callback.__set__
        self.set(self.context, lambda *arguments: None)
        self.act: Callable[[], object] = lambda: None
        # Nothing of it is Python: between its bytecodes the handler would be called.
        number = defaultdict(itertools.repeat(signal.SIGUSR1).__next__)
        self.come = ctypes.PyDLL(None)["raise"]
        self.come.argtypes = [type("Number", (), {"from_param": number.__getitem__})] * 6
        self.before = signal.signal(signal.SIGUSR1, self.handle)

    def handle(self, *arguments: object) -> None:
        self.set(self.context, None)
        self.act()

    def arm(self, act: Callable[[], object]) -> None:
        self.act = act
        self.set(self.context, self.come)


@pytest.fixture
def interrupting() -> Iterator[Signal]:
    made = Signal()
    yield made
    signal.signal(signal.SIGUSR1, made.before)


def interrupt() -> None:
    raise Interrupt


@pytest.mark.parametrize("data", [b"1", b"hello"])
def test_a_handler_that_raises_in_the_middle_costs_no_byte(
    context: ssl.SSLContext, interrupting: Signal, data: bytes
) -> None:
    with gevent.Timeout(10), client(context, interrupting.context) as (stream, peer):
        peer.send(b"tickets before")
        assert stream.readexactly(14) == b"tickets before"
        stream.write(data)
        interrupting.arm(interrupt)
        with pytest.raises(Interrupt):
            stream.flush()
        stream.flush()
        assert peer.receive(len(data)) == data
        peer.send(data)
        interrupting.arm(interrupt)
        with pytest.raises(Interrupt):
            stream.readexactly(len(data))
        assert stream.readexactly(len(data)) == data
        stream.write(b"end")
        closing = Background(stream.close)
        assert peer.rest() == b"end"
        until(lambda: closing.ended)


@pytest.mark.parametrize("act", ["abort", "close"])
@pytest.mark.parametrize("doing", ["read_some", "flush"])
def test_a_handler_that_closes_in_the_middle(
    context: ssl.SSLContext, interrupting: Signal, act: str, doing: str
) -> None:
    with gevent.Timeout(10), client(context, interrupting.context) as (stream, peer):
        peer.send(b"hello")
        stream.write(b"hello")
        interrupting.arm(getattr(stream, act))
        with pytest.raises(StreamClosed):
            getattr(stream, doing)()
        assert stream.closed


def test_output_is_sent_once_if_a_handler_waits_in_the_middle(context: ssl.SSLContext, interrupting: Signal) -> None:
    """What leaves by itself does so meanwhile."""
    with gevent.Timeout(10), client(context, interrupting.context) as (stream, peer):
        stream.write(b"hello")
        interrupting.arm(turns)
        stream.flush()
        stream.write(b"end")
        closing = Background(stream.close)
        assert peer.rest() == b"helloend"
        until(lambda: closing.ended)


def test_it_starts_once(context: ssl.SSLContext) -> None:
    with pair() as (stream, theirs):
        peer = Background(Peer, None, context, None, sock=theirs, server=True)
        stream.start_tls(trusting(), server_name="localhost")
        peer.result()
        with pytest.raises(RuntimeError, match="encrypted already"):
            stream.start_tls(trusting(), server_name="localhost")
        assert not stream.closed


def test_a_handshake_that_fails_closes_and_tells_the_peer(context: ssl.SSLContext) -> None:
    with pair() as (stream, theirs):
        peer = Background(Peer, None, context, None, sock=theirs, server=True)
        with pytest.raises(TLSError, match="not valid for 'elsewhere.example'"):
            stream.start_tls(trusting(), server_name="elsewhere.example")
        assert stream.closed
        if isinstance(peer.error, BaseException):
            raise peer.error
        with pytest.raises(ssl.SSLError, match="(?i)alert"):
            peer.result().rest()


def test_a_peer_that_says_nothing_is_given_up(context: ssl.SSLContext) -> None:
    with pair() as (stream, theirs):
        with pytest.raises(StreamTimeout):
            stream.start_tls(context, server_side=True, timeout=0.01)
        assert stream.closed


@pytest.mark.parametrize("how", ["killed", "closed", "aborted", "dropped"])
def test_an_end_in_the_middle_of_a_handshake(context: ssl.SSLContext, how: str) -> None:
    with pair() as (stream, theirs):
        started = Background(stream.start_tls, trusting(), server_name="localhost")
        assert theirs.recv(65536)[:1] == b"\x16"
        if how == "killed":
            started.greenlet.kill()
        elif how == "closed":
            with contextlib.suppress(RuntimeError):
                stream.close()
        elif how == "aborted":
            stream.abort()
        else:
            theirs.close()
        started.greenlet.join()
        assert isinstance(started.error, {"killed": gevent.GreenletExit}.get(how, ConnectionError))
        assert stream.closed
        with pytest.raises(StreamClosed):
            stream.write(b"plain")
            stream.flush()


def test_a_handler_that_is_over_while_another_shakes_hands(plain: Any, context: ssl.SSLContext) -> None:
    left = []

    def handler(stream: Any) -> None:
        left.append(Background(stream.start_tls, context))
        turns()  # it waits for its peer now
        stream.write(b"not in plain")

    server = plain(handler)
    with socket.create_connection(server.address) as sock, contextlib.suppress(ConnectionResetError):
        assert b"plain" not in sock.recv(100)
    until(lambda: left and left[0].ended)
    assert isinstance(left[0].error, StreamClosed)


# ---- connect


def test_connect_verifies_the_name_in_the_address(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    serving = serve(lambda stream: stream.write(b"hello"))
    port = serving.server.address[1]
    monkeypatch.setattr(tls, "trusting", trusting())
    with connect(f"localhost:{port}", tls=True, timeout=10) as stream:
        assert stream.read() == b"hello"
        assert stream.tls.server_name == "localhost"
    with connect(f"127.0.0.1:{port}", tls=trusting()) as stream:
        assert stream.read() == b"hello"
    with pytest.raises(TLSError, match="not valid for 'elsewhere.example'"):
        connect(f"127.0.0.1:{port}", tls=True, server_name="elsewhere.example")
    monkeypatch.setattr(tls, "trusting", None)
    with pytest.raises(TLSError, match="issuer certificate|self.signed"):
        connect(f"localhost:{port}", tls=True)
    assert tls.trusting is tls.client_context()
    with pytest.raises(ValueError, match="give server_name"):
        connect("unix:/nowhere", tls=True)
    with connect(f"localhost:{port}", tls=False) as stream:
        assert stream.tls is None


def test_connect_has_its_time_for_all_of_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        with pytest.raises(StreamTimeout):
            connect(f"{host}:{port}", tls=trusting(), timeout=0.05)
