"""What a client can make the server keep, or read: always a bound, and the bound is asserted.

The same against a process of its own, whose memory is looked at, in test_process.py; 10,000 connections of it in
`python -m perf reach heads`. That a head costs linear work however it is cut is held by tests/wire/test_head.py, by
counting the bytes examined.
"""

from __future__ import annotations

from typing import Any

import gevent
import pytest
from gevent.event import Event

from tests.http.apps import answering, echo, hello, post, request
from tests.http.client import Client
from tests.http.test_limits import Gate, get

MIB = 1 << 20
OFFERED = 1 << 30
# What leaves a client before it learns: what the server reads before it refuses, the 1 MiB (limit_linger) it reads
# while it lingers, and what the buffers of both systems hold.
TAKEN = 24 * MIB


def offer(client: Client, piece: bytes) -> int:
    """Send it again and again, up to a GiB, until the server ends the connection. How many bytes have left."""
    sent = 0
    piece *= max(1, 65536 // len(piece))
    try:
        while sent < OFFERED:
            client.sock.sendall(piece)
            sent += len(piece)
    except OSError:
        pass
    return sent


CHUNKED = request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked")
SMALL_BODY = {"limit_request_body": MIB}
ENDLESS = {
    "request line": (hello, b"GET /", b"a", {}, 414),
    "method": (hello, b"", b"A", {}, 414),
    "empty lines": (hello, b"", b"\r\n", {}, 400),
    "bytes that are no HTTP": (hello, b"", b"\x16\x03\x01\x02", {}, 400),
    "zeros": (hello, b"", b"\0", {}, 400),
    "one field": (hello, b"GET / HTTP/1.1\r\nHost: a\r\nA: ", b"b", {}, 431),
    "name of a field": (hello, b"GET / HTTP/1.1\r\nHost: a\r\n", b"b", {}, 431),
    "fields": (hello, b"GET / HTTP/1.1\r\nHost: a\r\n", b"A: b\r\n", {}, 431),
    "fields, though a million were allowed": (
        hello, b"GET / HTTP/1.1\r\nHost: a\r\n", b"A: b\r\n", {"limit_request_fields": 1_000_000}, 431
    ),
    "fields that are dropped": (hello, b"GET / HTTP/1.1\r\nHost: a\r\n", b"a_b: c\r\n", {}, 431),
    "chunk extension": (echo, CHUNKED + b"1;a=", b"b", {}, 400),
    "quoted chunk extension": (echo, CHUNKED + b'1;a="', b"b", {}, 400),
    "chunk extensions of one chunk": (echo, CHUNKED + b"1", b";a=b", {}, 400),
    "chunk extensions of many chunks": (echo, CHUNKED, b"1;a=b\r\nx\r\n", {}, 400),
    "chunk size": (echo, CHUNKED, b"0", {}, 400),
    "trailer": (echo, CHUNKED + b"0\r\nA: ", b"b", {}, 431),
    "trailers": (echo, CHUNKED + b"0\r\n", b"A: b\r\n", {}, 431),
    "content of 1-byte chunks": (echo, CHUNKED, b"1\r\nx\r\n", {"limit_request_body": 100_000}, 413),
    "content in one chunk": (echo, CHUNKED + b"40000000\r\n", b"x", SMALL_BODY, 413),
    "content in chunks": (echo, CHUNKED, b"10000\r\n" + b"x" * 65536 + b"\r\n", SMALL_BODY, 413),
    "content of known length": (
        echo, request(b"POST / HTTP/1.1", b"Content-Length: 1073741824"), b"x", SMALL_BODY, 413
    ),
    "content nobody reads": (hello, request(b"POST / HTTP/1.1", b"Content-Length: 1073741824"), b"x", {}, 200),
    "chunks nobody reads": (hello, CHUNKED, b"10000\r\n" + b"x" * 65536 + b"\r\n", SMALL_BODY, 200),
    "1-byte chunks nobody reads": (hello, CHUNKED, b"1\r\nx\r\n", SMALL_BODY, 200),
    "trailers nobody reads": (hello, CHUNKED + b"0\r\n", b"A: b\r\n", {}, 200),
    "what follows a refused request": (hello, b"GET /\r\n\r\n", request(), {}, 400),
    "what follows the last request": (
        answering([b"bye"], "200 OK", ("Connection", "close")), b"", request(), {}, 200
    ),
}  # fmt: skip


@pytest.mark.parametrize(("app", "begin", "more", "settings", "status"), ENDLESS.values(), ids=ENDLESS)
def test_a_gigabyte_is_offered_and_little_of_it_is_taken(
    serve: Any, app: Any, begin: bytes, more: bytes, settings: dict[str, Any], status: int
) -> None:
    serving = serve(app, header_timeout=0, body_timeout=0, linger_timeout=3600, limit_linger=MIB, **settings)
    client = serving.connect().send(begin)
    offering = gevent.spawn(offer, client, more)
    assert client.answer().status == status
    assert offering.get() < TAKEN
    serving.until(lambda: serving.count("connections") == 0)


def test_a_million_chunks_of_one_byte_are_content_like_any_other_and_others_are_served_meanwhile(serve: Any) -> None:
    count, got, others = 1_000_000, [], 0

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["REQUEST_METHOD"] == "POST":
            while data := environ["wsgi.input"].read(65536):
                got.append(len(data))
        return hello(environ, start_response)

    serving = serve(app)
    client, other = serving.connect(), serving.connect()
    sending = gevent.spawn(client.send, CHUNKED + b"1\r\nx\r\n" * count + b"0\r\n\r\n")
    while not client.data:
        assert other.ask(request()).status == 200
        others += 1
        with gevent.Timeout(0.001, False):
            client.data += client.sock.recv(65536)
    assert client.answer().status == 200
    sending.get()
    assert got == [65536] * (count // 65536) + [count % 65536]
    assert others > 10


# ---- what is sent ahead


def test_a_pipeline_whose_answers_are_never_read_stops_being_read(serve: Any) -> None:
    serving = serve(answering([b"x" * 1000]), write_timeout=0, write_min_rate=0)
    client = serving.connect(receive_buffer=4096)
    sending = gevent.spawn(client.sock.sendall, request() * 500_000)
    serving.until(lambda: serving.count("flushing"))
    (connection,) = serving.server._service.flushing.members()
    answered = serving.count("requests")
    assert connection.stream.buffered <= 65536
    assert connection.stream.unsent <= 65536 + 2000
    assert answered * 1000 < 16 * MIB  # what the system's buffers hold, and the 64 KiB
    for _ in range(100):
        assert serving.connect().ask(request()).status == 200
    assert serving.count("requests") == answered + 100
    assert not sending.ready()
    sending.kill()


@pytest.mark.parametrize("limit", [16 << 10, 64 << 10, 200_000])
def test_limit_pipeline_holds_though_heads_may_be_large(serve: Any, limit: int) -> None:
    gate = Gate()
    serving = serve(gate, limit_pipeline=limit, limit_request_head=4 * MIB)
    client = serving.connect().send(b"GET /wait HTTP/1.1\r\nHost: a\r\n")
    serving.until(lambda: serving.count("fresh"))
    filler = b"A: " + b"x" * 1_300_000 + b"\r\n"  # the buffer is 2 MiB then, with room for 700 KB of requests
    sending = gevent.spawn(client.send, filler + b"\r\n" + get("/next") * 50_000)
    serving.until(lambda: serving.count("running"))
    (connection,) = serving.server._service.running.members()
    assert connection.stream.buffered <= limit
    gate.opened.set()
    assert [client.answer().content for _ in range(1000)] == [b"GET /wait "] + [b"GET /next "] * 999
    sending.kill()


# ---- limit_buffers

BUFFERS = {"limit_buffers": MIB, "header_timeout": 0, "linger_timeout": 3600, "connections": 1000}


def unread(serving: Any) -> int:
    """Bytes that all connections hold and nobody has looked at to the end."""
    service = serving.server._service
    return sum(
        connection.stream.buffered
        for phase in (service.fresh, service.heading, service.queued, service.flushing)
        for connection in phase.members()
    )


def test_half_heads_of_63_kib_stay_within_limit_buffers_and_small_ones_are_let_live(serve: Any) -> None:
    serving = serve(hello, **BUFFERS)
    honest = [serving.connect().send(b"GET / HTTP/1.1\r\nHost: a\r\n") for _ in range(10)]
    serving.until(lambda: serving.count("fresh") == 10)
    half = b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"x" * (63 << 10)
    statuses = []

    def attack() -> None:
        client = serving.connect().send(half)
        statuses.append(client.answer().status)
        client.close()

    def here() -> int:
        return sum(member.stream.buffered == len(half) for member in serving.server._service.fresh.members())

    attackers = [gevent.spawn(attack) for _ in range(100)]
    most = 0
    while len(statuses) + here() < 100:
        most = max(most, unread(serving))
        gevent.sleep(0.001)
    assert MIB // 2 < unread(serving) <= MIB
    assert most <= MIB
    assert set(statuses) == {431}
    assert [client.ask(b"\r\n").status for client in honest] == [200] * 10
    gevent.killall(attackers)


def test_what_stalled_readers_have_sent_ahead_counts_too_and_they_go_first(serve: Any) -> None:
    big = b"x" * (4 * MIB)
    wait = Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/small":
            return hello(environ, start_response)
        start_response("200 OK", [])
        wait.wait()
        return [big]

    serving = serve(app, **BUFFERS, write_timeout=0, write_min_rate=0)
    honest = [serving.connect().send(b"GET /small HTTP/1.1\r\nHost: a\r\n") for _ in range(10)]
    serving.until(lambda: serving.count("fresh") == 10)
    # Each sends a head that makes its buffer large, and behind it as much as fits.
    ahead = request(b"GET /big HTTP/1.1", b"A: " + b"x" * (33 << 10)) + request() * 2000
    readers = [serving.connect(receive_buffer=4096) for _ in range(60)]
    sending = [gevent.spawn(reader.sock.sendall, ahead) for reader in readers]
    serving.until(lambda: serving.count("running") == 60)
    wait.set()
    serving.until(lambda: serving.count("running") == 0)
    assert 0 < serving.count("flushing") < 60
    assert unread(serving) <= MIB
    assert serving.count("fresh") == 10
    assert [client.ask(b"\r\n").status for client in honest] == [200] * 10
    gevent.killall(sending)


def test_refused_requests_hold_no_memory_while_they_linger(serve: Any) -> None:
    serving = serve(hello, **BUFFERS)
    clients = []
    for _ in range(50):
        client = serving.connect().send(b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"x" * (70 << 10))
        assert client.answer().status == 431
        clients.append(client)
    assert serving.count("lingering") == 50
    service = serving.server._service
    assert sum(connection.stream.buffered for connection in service.lingering.members()) == 0


def test_content_in_the_middle_of_a_pipeline_does_not_get_around_the_limits(serve: Any) -> None:
    serving = serve(echo, **SMALL_BODY)
    client = serving.connect()
    client.send(post(b"x" * 10) + post(b"y" * (MIB + 1)) + get("/never"))
    assert client.answer().content == b"POST / " + b"x" * 10
    answer = client.answer()
    assert (answer.status, answer.closes) == (413, True)
    assert client.rest() == b""
