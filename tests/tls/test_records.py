"""Records as no honest client sends them: the server answers what is whole, refuses the rest, and forgets it.

The rules are RFC 8446 4.6.3, 5 and 6, and RFC 5246 6 and 7.2. Behind each test others are answered, nobody is still
connected, and the log has grown by a line at most: `unharmed`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import gevent
import pytest

from tests.http.apps import chunks, post, request
from tests.tls.peers import (
    ALERT,
    CHANGE_CIPHER_SPEC,
    CLOSE_NOTIFY,
    DATA,
    FATAL,
    HANDSHAKE,
    HEARTBEAT,
    KEY_UPDATE,
    KEY_UPDATE_ASKING,
    NO_CERTIFICATE,
    Flight,
    Peer,
    drained,
    reset,
    send_what_it_takes,
)  # fmt: skip
from tests.tls.running import HOUR, Servers

GET = request(b"GET /got HTTP/1.1")
POST = post(b"x" * 64, path=b"/posted")
BOUND = 30  # lines of the log about any number of peers: five of a kind in a second, and how many more there were
both = pytest.mark.parametrize("version", ["1.2", "1.3"])


def head_of(kind: int, length: int) -> bytes:
    return bytes([kind, 3, 3]) + length.to_bytes(2, "big")


def wire(kind: int, data: bytes) -> bytes:
    """A record that is not encrypted."""
    return head_of(kind, len(data)) + data


# ---- cut and gathered


def in_two(at: int) -> Callable[[Any, bytes], None]:
    """Sends bytes in two pieces, the second when the loop has found the first."""

    def send(sock: Any, data: bytes) -> None:
        sock.sendall(data[:at])
        gevent.sleep(0)
        gevent.sleep(0)
        sock.sendall(data[at:])

    return send


@both
def test_a_record_may_be_cut_anywhere(serve: Servers, version: str) -> None:
    serving = serve()
    client = serving.client(version)
    at, size = 1, 2
    while at < size:
        record = client.flight.seal(GET)
        size = len(record)
        in_two(at)(client.sock, record)
        assert client.answer().content == b"/got "
        at += 1
    serving.unharmed(0)


@both
def test_records_may_come_a_byte_at_a_time(serve: Servers, version: str) -> None:
    serving = serve()
    peer = serving.peer(version)
    for byte in peer.record(POST[:-1]) + peer.record(POST[-1:]) + peer.record(GET):
        peer.send(bytes([byte]))
        gevent.sleep(0)
    assert [peer.answer().content for _ in range(2)] == [b"/posted " + b"x" * 64, b"/got "]
    serving.unharmed(0)


@both
def test_a_handshake_may_be_cut_anywhere(serve: Servers, version: str) -> None:
    """Each flight in two: at each place of its heads and of its end, and at some in between."""
    serving = serve()
    size = len(Flight(version).hello)
    for at in (*range(1, 48), *range(48, size, 17), *range(size - 4, size)):
        client = serving.client(version, send=in_two(at))
        assert client.ask(GET).content == b"/got "
        client.close()
    serving.unharmed(0)


@both
def test_a_handshake_may_come_a_byte_at_a_time(serve: Servers, version: str) -> None:
    def trickle(sock: Any, data: bytes) -> None:
        for byte in data:
            sock.sendall(bytes([byte]))
            gevent.sleep(0)

    serving = serve()
    assert serving.client(version, send=trickle).ask(GET).content == b"/got "
    serving.unharmed(0)


@both
@pytest.mark.parametrize("size", [1, 7, 64])
def test_a_message_of_the_handshake_may_fill_many_records(serve: Servers, version: str, size: int) -> None:
    serving = serve()
    peer = serving.peer(version, record_size=size)
    assert peer.ask(GET).content == b"/got "
    serving.unharmed(0)


@both
def test_a_request_may_fill_many_records_and_many_come_in_one_segment(serve: Servers, version: str) -> None:
    serving = serve()
    peer = serving.peer(version)
    raw = b"".join(peer.record(bytes([byte])) for byte in POST + GET)
    raw += b"".join(peer.record(GET) for _ in range(20)) + peer.record(GET * 20)
    peer.send(raw)
    assert peer.answer().content == b"/posted " + b"x" * 64
    assert [peer.answer().content for _ in range(41)] == [b"/got "] * 41
    serving.unharmed(0)


@both
def test_a_minimum_rate_counts_what_has_come_of_a_record(serve: Servers, version: str) -> None:
    """Only the whole record can be read, but who sends it is not silent: 1,000 bytes a second are asked for."""
    serving = serve(body_timeout=0, body_min_rate=1000, min_rate_after=0.1)
    content = b"x" * 16000
    head, rest = post(content, path=b"/posted").split(b"\r\n\r\n")
    slow, silent = serving.peer(version), serving.peer(version)
    slow.write(head + b"\r\n\r\n")
    serving.until(lambda: serving.count("body"))
    raw = slow.record(rest)
    slow.send(raw[:-100])
    silent.write(head + b"\r\n\r\n")
    assert silent.answer().status == 408  # they have been judged
    slow.send(raw[-100:])
    assert slow.answer().content == b"/posted " + content


@both
def test_requests_may_come_with_the_end_of_the_handshake(serve: Servers, version: str) -> None:
    serving = serve()
    sock, flight = serving.half(version)
    sock.sendall(flight.hello)
    reply = b""
    while not reply:
        reply = flight.take(sock.recv(65536))
    if version == "1.3":  # in 1.2 the last word is the server's, and before it no client may send data
        reply += flight.seal(GET + GET)
    sock.sendall(reply)
    got = b""
    while version == "1.3" and got.count(b"/got ") < 2:
        got += flight.unseal(sock.recv(65536))
    while not flight.done:
        flight.take(sock.recv(65536))
    serving.unharmed(0)


@both
def test_the_largest_record_is_taken_and_so_is_a_large_body(serve: Servers, version: str) -> None:
    serving = serve()
    peer = serving.peer(version)
    content = bytes(range(256)) * 256
    data = post(content, path=b"/posted")
    peer.send(*(peer.record(data[at : at + 2**14]) for at in range(0, len(data), 2**14)))
    assert peer.answer().content == b"/posted " + content
    serving.unharmed(0)


# ---- spoilt


def doubled(peer: Peer) -> bytes:
    return peer.record(GET) * 2


def swapped(peer: Peer) -> bytes:
    first, second = peer.record(GET), peer.record(GET)
    return second + first


def left_out(peer: Peer) -> bytes:
    peer.record(GET)
    return peer.record(GET)


def spoilt_at(at: int) -> Callable[[Peer], bytes]:
    def spoil(peer: Peer) -> bytes:
        record = bytearray(peer.record(GET))
        record[at] ^= 1
        return bytes(record)

    return spoil


def cut_short(peer: Peer) -> bytes:
    """A record without its last byte, the length in its head set right."""
    return wire(DATA, peer.record(GET)[5:-1])


# name: (what is sent on a connection after its handshake; requests of it that may be answered). Which alert tells the
# client is OpenSSL's choice, and not the same for every version of it.
SPOILT: dict[str, tuple[Callable[[Peer], bytes], int]] = {
    "doubled": (doubled, 1),
    "in the wrong order": (swapped, 0),
    "one is left out": (left_out, 0),
    "a bit of the data": (spoilt_at(20), 0),
    "a bit of the MAC": (spoilt_at(-1), 0),
    "without its last byte": (cut_short, 0),
    "not encrypted": (lambda peer: wire(DATA, GET), 0),
    "shorter than a MAC": (lambda peer: wire(DATA, b"short"), 0),
    "nothing in it": (lambda peer: wire(DATA, b""), 0),
    "longer than any may be": (lambda peer: head_of(DATA, 2**14 + 257) + bytes(2**14 + 257), 0),
    "as long as the length can say": (lambda peer: head_of(DATA, 0xFFFF) + bytes(0xFFFF), 0),
    "more data than a record may have": (lambda peer: peer.record(GET + bytes(2**14)), 0),
    "of an unknown type": (lambda peer: peer.record(GET, 99), 0),
    "of an unknown type, not encrypted": (lambda peer: wire(99, GET), 0),
    "of version 2.0": (lambda peer: b"\x17\x02\x00" + peer.record(GET)[3:], 0),
    "plain HTTP": (lambda peer: GET, 0),
    "a change of the cipher": (lambda peer: wire(CHANGE_CIPHER_SPEC, b"\x01"), 0),
    "a thousand changes of the cipher": (lambda peer: wire(CHANGE_CIPHER_SPEC, b"\x01") * 1000, 0),
    "a heartbeat": (lambda peer: peer.record(b"\x01\x40\x00", HEARTBEAT), 0),
    "a Finished where data is expected": (lambda peer: peer.record(b"\x14\0\0\x20" + bytes(32), HANDSHAKE), 0),
    "a server's message": (lambda peer: peer.record(b"\x02\0\0\x26\x03\x03" + bytes(36), HANDSHAKE), 0),
    "a message without an end": (lambda peer: peer.record(b"\x18\xff\xff\xff" + bytes(1000), HANDSHAKE), 0),
    "an alert of one byte": (lambda peer: peer.record(b"\x02", ALERT), 0),
    "an alert of an unknown level": (lambda peer: peer.record(b"\x07\x50", ALERT), 0),
    "a fatal alert": (lambda peer: peer.record(FATAL, ALERT) + peer.record(GET), 0),
    "a thousand empty records": (lambda peer: b"".join(peer.record(b"") for _ in range(1000)), 0),
    "a thousand empty messages": (lambda peer: b"".join(peer.record(b"", HANDSHAKE) for _ in range(1000)), 0),
    "a thousand warnings": (lambda peer: b"".join(peer.record(NO_CERTIFICATE, ALERT) for _ in range(1000)), 0),
}  # fmt: skip


@both
@pytest.mark.parametrize(("make", "answers"), SPOILT.values(), ids=SPOILT)
def test_what_is_spoilt_ends_the_connection(
    serve: Servers, version: str, make: Callable[[Peer], bytes], answers: int
) -> None:
    serving = serve()
    peer = serving.peer(version)
    peer.offer(make(peer))
    assert peer.end() != "close_notify"  # the end must not look like one in good order
    assert peer.data.count(b"HTTP/1.1 ") <= answers
    assert len(serving.seen) <= answers
    serving.unharmed()


# ---- key updates


def test_keys_may_be_updated_between_any_two_records(serve: Servers) -> None:
    serving = serve()
    peer = serving.peer()
    for message in (KEY_UPDATE, KEY_UPDATE_ASKING) * 10:
        peer.send(peer.record(POST[:-9]), peer.key_update(message), peer.record(POST[-9:]))
        assert peer.answer().content == b"/posted " + b"x" * 64
    peer.send(*(peer.key_update() for _ in range(20)))
    assert peer.ask(GET).content == b"/got "
    serving.unharmed(0)


def test_an_update_that_is_none_ends_the_connection(serve: Servers) -> None:
    serving = serve()
    peer = serving.peer()
    peer.send(peer.record(KEY_UPDATE[:-1] + b"\x02", HANDSHAKE))
    assert peer.end() == "illegal_parameter"
    serving.unharmed()


def test_who_asks_for_updates_and_reads_no_reply_is_ended_before_they_fill_the_memory(serve: Servers) -> None:
    serving = serve(send_buffer=4096)
    peer = serving.peer(receive_buffer=4096)
    serving.until(lambda: serving.count("fresh") == 1)
    updates = peer.key_updates(KEY_UPDATE_ASKING)
    taken = 0
    with contextlib.suppress(ConnectionError):
        while taken < 20_000:  # of which each is answered with 27 bytes
            peer.send(*(next(updates) for _ in range(100)))
            taken += 100
            gevent.sleep(0)
    serving.until(lambda: serving.count("connections") == 1)  # by the server, for this one is still here
    serving.unharmed()


# ---- ends

CHUNKED = request(b"POST /posted HTTP/1.1", b"Transfer-Encoding: chunked", content=chunks(b"x" * 32, b"y" * 32))


@both
@pytest.mark.parametrize("goodbye", ["close_notify", "only a FIN"])
@pytest.mark.parametrize("data", [POST, CHUNKED], ids=["length", "chunked"])
def test_a_request_that_ends_early_is_never_taken_for_whole(
    serve: Servers, version: str, goodbye: str, data: bytes
) -> None:
    """Whoever cuts a connection can do it between two records, without a key; RFC 9112 9.8."""
    serving = serve()
    for end in (*range(0, len(data), 7), len(data) - 1):
        peer = serving.client(version)
        if end:
            peer.write(data[:end])
        peer.finish(notify=goodbye == "close_notify")
        if got := peer.rest():
            assert got.startswith(b"HTTP/1.1 400 "), got
        peer.close()
    assert not [it for it in serving.seen if isinstance(it[1], bytes)]
    assert {path for path, _ in serving.seen} == {"/posted"}  # the application has begun to read, and was told
    serving.unharmed(BOUND)


@both
@pytest.mark.parametrize("goodbye", ["close_notify", "only a FIN"])
@pytest.mark.parametrize("data", [GET, POST, CHUNKED, POST + GET], ids=["none", "length", "chunked", "two"])
def test_what_is_whole_by_its_framing_is_answered_whatever_the_end(
    serve: Servers, version: str, goodbye: str, data: bytes
) -> None:
    serving = serve()
    client = serving.client(version).write(data).finish(notify=goodbye == "close_notify")
    assert client.rest().count(b"HTTP/1.1 200 ") == 1 + (data == POST + GET)
    assert client.notified  # the server says that its own side ends here
    serving.unharmed(0)


@both
def test_what_comes_behind_close_notify_is_nobodys(serve: Servers, version: str) -> None:
    serving = serve()
    peer = serving.peer(version)
    peer.offer(peer.record(POST[:-9]) + peer.record(CLOSE_NOTIFY, ALERT) + peer.record(POST[-9:]) + peer.record(GET))
    peer.end()
    assert b"HTTP/1.1 200 " not in peer.data
    assert not [it for it in serving.seen if isinstance(it[1], bytes)]
    serving.unharmed()


@both
def test_close_notify_between_requests_ends_the_connection_in_good_order(serve: Servers, version: str) -> None:
    serving = serve()
    peer = serving.peer(version)
    assert peer.ask(GET).content == b"/got "
    peer.send(peer.record(CLOSE_NOTIFY, ALERT))
    assert peer.end() == "close_notify"
    serving.unharmed(0)


@both
def test_what_comes_behind_our_close_notify_is_dropped_without_a_reset(serve: Servers, version: str) -> None:
    """A client that still sends must be able to read the last answer."""
    serving = serve(linger_timeout=HOUR)
    client = serving.client(version)
    client.write(b"bad\r\n")
    serving.until(lambda: serving.count("lingering") == 1)
    for _ in range(20):
        client.write(GET * 20)
    client.sock.sendall(bytes(1000))  # no record at all
    gevent.sleep(0)
    assert client.rest().startswith(b"HTTP/1.1 400 ")
    assert client.notified
    assert not serving.seen
    assert serving.count("lingering") == 1
    client.finish(notify=False)
    serving.unharmed()


@both
def test_a_stream_handler_is_told_whether_the_end_is_the_peers_word(serve: Servers, version: str) -> None:
    """Nothing but the end tells it that it has all: RFC 8446 6.1."""
    told = []

    def handler(stream: Any) -> None:
        got = []
        try:
            while piece := stream.read(100):
                got.append(piece)
            told.append(b"".join(got))
        except EOFError as error:
            told.append(type(error).__name__)

    serving = serve(app=handler, interface="stream")
    for notify in (True, False):
        client = serving.client(version).write(b"words").finish(notify=notify)
        with contextlib.suppress(ConnectionError):
            client.rest()
        client.close()
    serving.until(lambda: len(told) == 2)
    assert told == [b"words", "StreamTruncated"]


# ---- handshakes that come to nothing


def nothing(sock: Any, flight: Flight) -> None:
    pass


def first_byte(sock: Any, flight: Flight) -> None:
    sock.sendall(flight.hello[:1])


def half_a_hello(sock: Any, flight: Flight) -> None:
    sock.sendall(flight.hello[: len(flight.hello) // 2])


def hello(sock: Any, flight: Flight) -> None:
    sock.sendall(flight.hello)


def reads_the_answer(sock: Any, flight: Flight) -> bytes:
    sock.sendall(flight.hello)
    reply = b""
    while not reply:
        reply = flight.take(sock.recv(65536))
    return reply


def half_an_end(sock: Any, flight: Flight) -> None:
    sock.sendall(reads_the_answer(sock, flight)[:-20])


def the_end(sock: Any, flight: Flight) -> None:
    sock.sendall(reads_the_answer(sock, flight))


STEPS = [nothing, first_byte, half_a_hello, hello, reads_the_answer, half_an_end, the_end]


@both
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_handshakes_may_be_given_up_at_each_step(serve: Servers, version: str, step: Any) -> None:
    serving = serve()
    for _ in range(20):
        for end in (lambda sock: sock.close(), reset):
            sock, flight = serving.half(version)
            step(sock, flight)
            end(sock)
    serving.unharmed(BOUND)


# name: what comes instead of a ClientHello or behind it
NO_HANDSHAKES = {
    "zeros": bytes(500),
    "a record of an unknown type": wire(99, bytes(100)),
    "data": wire(DATA, GET),
    "an alert": wire(ALERT, FATAL),
    "alerts": wire(ALERT, NO_CERTIFICATE) * 1000,
    "empty records": wire(HANDSHAKE, b"") * 1000,
    "changes of the cipher": wire(CHANGE_CIPHER_SPEC, b"\x01") * 1000,
    "a hello without an end": wire(HANDSHAKE, b"\x01\xff\xff\xff" + bytes(2**14 - 4)) * 20,
    "a hello of nothing": wire(HANDSHAKE, bytes([1, 0, 0, 0])),
    "a ServerHello": wire(HANDSHAKE, b"\x02\0\0\x26\x03\x03" + bytes(36)),
    "a KeyUpdate": wire(HANDSHAKE, KEY_UPDATE),
    "of SSL 2": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(40),
    "a record that is too long": head_of(HANDSHAKE, 2**14 + 1) + bytes(2**14 + 1),
}


@pytest.mark.parametrize("data", NO_HANDSHAKES.values(), ids=NO_HANDSHAKES)
@pytest.mark.parametrize("behind", ["at once", "behind a hello"])
def test_what_is_no_handshake_ends_the_connection(serve: Servers, data: bytes, behind: str) -> None:
    serving = serve()
    sock, flight = serving.half()
    send_what_it_takes(sock, (flight.hello if behind == "behind a hello" else b"") + data)
    drained(sock)  # it ends by itself
    serving.unharmed()
    (line,) = serving.log()
    assert line.startswith("127.0.0.1:") and "TLS" in line


@both
def test_a_hello_may_be_doubled_only_once_too_often(serve: Servers, version: str) -> None:
    serving = serve()
    sock, flight = serving.half(version)
    sock.sendall(flight.hello * 2)
    drained(sock)
    serving.unharmed()


def test_changes_of_the_cipher_in_a_handshake_are_few(serve: Servers) -> None:
    """RFC 8446 5: one may come between the hellos and Finished, and says nothing."""
    serving = serve()
    sock, flight = serving.half()
    sock.sendall(flight.hello + wire(CHANGE_CIPHER_SPEC, b"\x01"))
    reply = b""
    while not reply:
        reply = flight.take(sock.recv(65536))
    sock.sendall(reply + flight.seal(GET))
    got = b""
    while b"/got " not in got:
        got += flight.unseal(sock.recv(65536))
    serving.unharmed(0)
