"""Clients of TLS that do what no honest one does: records as they are told, cut, doubled, broken, left out.

`Peer` is tlslite-ng, which can write any record under the keys of the connection. `Flight` is OpenSSL without a socket:
quick, so that thousands of handshakes can be cut in as many ways.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import hmac
import ssl
import struct
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from gevent import socket

from tests.answers import Answer, Incomplete, one

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it imports asyncore where there still is one
    pytest.importorskip("tlslite")
    from tlslite.api import HandshakeSettings, TLSConnection
    from tlslite.errors import TLSAbruptCloseError, TLSRemoteAlert
    from tlslite.messages import Message

NAME = "example.com"
VERSIONS = {"1.2": (3, 3), "1.3": (3, 4)}

# Content types, RFC 8446 5.1; 24 is the heartbeat's, RFC 6520.
CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, DATA, HEARTBEAT = 20, 21, 22, 23, 24
CLOSE_NOTIFY = b"\x01\x00"
NO_CERTIFICATE = b"\x01\x29"  # a warning of SSL 3
USER_CANCELED = b"\x01\x5a"
FATAL = b"\x02\x50"  # internal_error
# Handshake messages, RFC 8446 4: type, three bytes of length, content
KEY_UPDATE, KEY_UPDATE_ASKING = b"\x18\x00\x00\x01\x00", b"\x18\x00\x00\x01\x01"
HELLO_REQUEST = bytes(4)

DIGESTS = {0x1301: "sha256", 0x1302: "sha384"}  # of the cipher suites with AES in GCM, RFC 8446 B.4

# Alerts by number, RFC 8446 6
ALERTS = {
    0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 22: "record_overflow", 40: "handshake_failure",
    42: "bad_certificate", 47: "illegal_parameter", 50: "decode_error", 51: "decrypt_error", 70: "protocol_version",
    80: "internal_error", 100: "no_renegotiation", 109: "missing_extension", 112: "unrecognized_name",
    116: "certificate_required", 120: "no_application_protocol",
}  # fmt: skip


class Tap:
    """The socket below a Peer: counts what comes, and keeps what goes where it is told to."""

    def __init__(self, sock: Any) -> None:
        self.sock = sock
        self.kept: list[bytes] | None = None

    def send(self, data: bytes) -> int:
        if self.kept is None:
            self.sock.sendall(data)
        else:
            self.kept.append(bytes(data))
        return len(data)

    def sendall(self, data: bytes) -> None:
        self.send(data)

    def recv(self, size: int) -> bytes:
        return self.sock.recv(size)

    def close(self) -> None:
        """By its user only, not by what goes wrong in TLS."""

    def shutdown(self, how: int) -> None:
        pass


class Peer:
    """A connection of tlslite-ng. Methods suspend the calling green thread.

    Arguments:
        version: "1.2" or "1.3".
        record_size: the most bytes of a handshake message in one record.
        shake: whether the handshake is done at once.
    """

    def __init__(
        self, address: Any, version: str = "1.3", *, record_size: int = 2**14, shake: bool = True,
        receive_buffer: int | None = None,
    ) -> None:  # fmt: skip
        self.sock = socket.socket()
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.connect(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.tap = Tap(self.sock)
        self.tls = TLSConnection(self.tap)
        self.tls.ignoreAbruptClose = False
        self.tls.recordSize = record_size
        self.data = b""
        self.settings = HandshakeSettings()
        self.settings.minVersion = self.settings.maxVersion = VERSIONS[version]
        self.settings.eccCurves = ["x25519", "secp256r1"]
        self.settings.keyShares = ["x25519"]
        if shake:
            try:
                self.shake()
            except BaseException:
                self.sock.close()
                raise

    def shake(self) -> Peer:
        self.tls.handshakeClientCert(settings=self.settings, serverName=NAME)
        return self

    # ---- what goes out

    def record(self, data: bytes, kind: int = DATA) -> bytes:
        """One record under the keys of now, whatever its size, as it would go out; its number is used up."""
        self.tap.kept = []
        try:
            for _ in self.tls._recordLayer.sendRecord(Message(kind, bytearray(data))):
                pass
            return b"".join(self.tap.kept)
        finally:
            self.tap.kept = None

    def key_update(self, message: bytes = KEY_UPDATE) -> bytes:
        """The record; the next ones are under new keys. Of TLS 1.3 only."""
        sent = self.record(message, HANDSHAKE)
        session = self.tls.session
        session.cl_app_secret, session.sr_app_secret = self.tls._recordLayer.calcTLS1_3KeyUpdate_reciever(
            session.cipherSuite, session.cl_app_secret, session.sr_app_secret
        )
        return sent

    def key_updates(self, message: bytes) -> Iterator[bytes]:
        """Such records without end, not by tlslite-ng, which needs a third of a millisecond for one. Of TLS 1.3 only,
        behind an AES in GCM, and the first that is sent."""
        secret, digest = bytes(self.tls.session.cl_app_secret), DIGESTS[self.tls.session.cipherSuite]
        size = hashlib.new(digest).digest_size
        plain = message + bytes([HANDSHAKE])
        head = bytes([DATA, 3, 3]) + (len(plain) + 16).to_bytes(2, "big")

        def expanded(name: bytes, length: int) -> bytes:
            """HKDF-Expand-Label, RFC 8446 7.1, of at most one block."""
            label = length.to_bytes(2, "big") + bytes([6 + len(name)]) + b"tls13 " + name + b"\0"
            return hmac.digest(secret, label + b"\1", digest)[:length]

        while True:
            key = expanded(b"key", 32 if digest == "sha384" else 16)
            yield head + AESGCM(key).encrypt(expanded(b"iv", 12), plain, head)
            secret = expanded(b"traffic upd", size)

    def send(self, *raw: bytes) -> Peer:
        """These bytes as they are, in one piece."""
        self.sock.sendall(b"".join(raw))
        return self

    def offer(self, raw: bytes) -> Peer:
        """These bytes, or as many as the server takes before it ends the connection."""
        send_what_it_takes(self.sock, raw)
        return self

    def write(self, data: bytes) -> Peer:
        return self.send(self.record(data))

    # ---- what comes in

    def answer(self, method: str = "GET") -> Answer:
        while True:
            try:
                answer, self.data = one(self.data, method, ended=False)
                return answer
            except Incomplete:
                piece = bytes(self.tls.read(65536, 1))
            assert piece, f"the connection ended after {self.data!r}"
            self.data += piece

    def ask(self, data: bytes, method: str = "GET") -> Answer:
        return self.write(data).answer(method)

    def end(self) -> str:
        """How the connection ends, its data kept in `data`: the alert's name, "cut" for an end of TCP alone, "reset".
        """
        try:
            while piece := bytes(self.tls.read(65536, 1)):
                self.data += piece
        except TLSRemoteAlert as alert:  # also a close_notify that answers ours
            return ALERTS.get(alert.description, str(alert.description))
        except TLSAbruptCloseError:
            return "cut"
        except ConnectionError:
            return "reset"
        return "close_notify"

    # ---- ends

    def finish(self) -> Peer:
        """A FIN, without a close_notify."""
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def close(self) -> None:
        self.sock.close()


def send_what_it_takes(sock: Any, data: bytes) -> None:
    with contextlib.suppress(ConnectionError):
        sock.sendall(data)


def drained(sock: Any) -> bytes:
    """Every byte up to the end of TCP, not deciphered."""
    pieces = []
    with contextlib.suppress(ConnectionError):
        while piece := sock.recv(65536):
            pieces.append(piece)
    return b"".join(pieces)


def reset(sock: Any) -> None:
    """Go away with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@functools.cache
def unverified(version: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    wanted = ssl.TLSVersion.TLSv1_3 if version == "1.3" else ssl.TLSVersion.TLSv1_2
    context.minimum_version = context.maximum_version = wanted
    return context


class Flight:
    """OpenSSL's client as a machine of bytes: `hello` is its first flight; `take` gives what answers a server's.

    Verifies nothing, since it is about bytes.
    """

    def __init__(self, version: str = "1.3", name: str = NAME) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = unverified(version).wrap_bio(self.incoming, self.outgoing, server_hostname=name)
        self.done = self.notified = False
        self.hello = self._go_on()

    def _go_on(self) -> bytes:
        try:
            self.tls.do_handshake()
            self.done = True
        except ssl.SSLWantReadError:
            pass
        return self.outgoing.read()

    def take(self, data: bytes) -> bytes:
        self.incoming.write(data)
        return self._go_on()

    def seal(self, data: bytes) -> bytes:
        self.tls.write(data)
        return self.outgoing.read()

    def unseal(self, data: bytes) -> bytes:
        """What is in them; `notified` if a close_notify is."""
        self.incoming.write(data)
        pieces = []
        with contextlib.suppress(ssl.SSLWantReadError):
            while piece := self._read():
                pieces.append(piece)
            self.notified = True
        return b"".join(pieces)

    def _read(self) -> bytes:
        try:
            return self.tls.read(65536)
        except ssl.SSLZeroReturnError:
            return b""

    def goodbye(self) -> bytes:
        """A close_notify."""
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLError):
            self.tls.unwrap()
        return self.outgoing.read()


def connect(address: Any) -> Any:
    sock = socket.create_connection(address)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class Client:
    """An honest client by OpenSSL: Flight over a socket.

    Arguments:
        send: how it sends bytes, of a socket and bytes; all at once by default.
    """

    def __init__(self, address: Any, version: str = "1.3", *, send: Any = None) -> None:
        self.sock = connect(address)
        self._send = send or (lambda sock, data: sock.sendall(data))
        self.flight = Flight(version)
        self.data = b""
        try:
            self._send(self.sock, self.flight.hello)
            while not self.flight.done:
                piece = self.sock.recv(65536)
                assert piece, "the connection ended in the handshake"
                if reply := self.flight.take(piece):
                    self._send(self.sock, reply)
        except BaseException:
            self.sock.close()
            raise

    def write(self, data: bytes) -> Client:
        self._send(self.sock, self.flight.seal(data))
        return self

    def answer(self, method: str = "GET") -> Answer:
        while True:
            try:
                answer, self.data = one(self.data, method, ended=False)
                return answer
            except Incomplete:
                piece = self.sock.recv(65536)
            assert piece, f"the connection ended after {self.data!r}"
            self.data += self.flight.unseal(piece)

    def ask(self, data: bytes, method: str = "GET") -> Answer:
        return self.write(data).answer(method)

    def finish(self, *, notify: bool) -> Client:
        """Nothing more will be sent: a FIN, and a close_notify before it or not."""
        if notify:
            self.sock.sendall(self.flight.goodbye())
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def rest(self) -> bytes:
        """Everything up to the end; ConnectionResetError if that is a reset."""
        while piece := self.sock.recv(65536):
            self.data += self.flight.unseal(piece)
        data, self.data = self.data, b""
        return data

    @property
    def notified(self) -> bool:
        """Whether the server has sent its close_notify."""
        return self.flight.notified

    def close(self) -> None:
        self.sock.close()

