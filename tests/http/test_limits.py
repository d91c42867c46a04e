"""Every limit of the wire contract, and how requests queue for their turn."""

from __future__ import annotations

import _socket
import re
from typing import Any

import gevent
import pytest
from gevent.event import Event
from gevent.select import select

from greenhttp.testing import every_split, exchange
from tests.answers import only
from tests.http.apps import chunks, echo, hello, post, post_chunked, request


class Gate:
    """An application that waits at `/wait...` until it is opened; knows the paths it has served."""

    def __init__(self) -> None:
        self.opened = Event()
        self.paths: list[str] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.paths.append(environ["PATH_INFO"])
        if environ["PATH_INFO"].startswith("/wait"):
            self.opened.wait()
        return echo(environ, start_response)


def get(path: str, *fields: bytes) -> bytes:
    return request(f"GET {path} HTTP/1.1".encode(), *fields)


# ---- heads and bodies


LINE = {"limit_request_line": 64}
TARGET = b"GET /" + b"a" * 50 + b" HTTP/1.1"  # 64 bytes with its two spaces
assert len(TARGET) == 64
HEAD = {"limit_request_head": 256}
FIELDS = {"limit_request_fields": 3}


@pytest.mark.parametrize(
    ("data", "settings", "status"),
    [
        (request(TARGET), LINE, 200),
        (request(TARGET.replace(b"/", b"/b", 1)), LINE, 414),
        (request(b"GET /" + b"a" * 8192 + b" HTTP/1.1"), {}, 414),
        (request(b"GET / HTTP/1.1", b"A: " + b"x" * 200), HEAD, 200),
        (request(b"GET / HTTP/1.1", b"A: " + b"x" * 260), HEAD, 431),
        (request(b"GET / HTTP/1.1", *[b"A: xxxxxxxx"] * 30), HEAD, 431),
        (request(b"GET / HTTP/1.1", b"A: 1", b"B: 2"), FIELDS, 200),
        (request(b"GET / HTTP/1.1", b"A: 1", b"B: 2", b"C: 3"), FIELDS, 431),
        (request(b"GET / HTTP/1.1", *[b"A: 1"] * 100), {}, 431),
        (post(b"x" * 10), {"limit_request_body": 10}, 200),
        (post(b"x" * 11), {"limit_request_body": 10}, 413),
        (post_chunked(b"x" * 5, b"x" * 5), {"limit_request_body": 10}, 200),
        (post_chunked(b"x" * 5, b"x" * 6), {"limit_request_body": 10}, 413),
        (request(b"POST / HTTP/1.1", b"Content-Length: 9223372036854775807"), {}, 413),
        (post(b""), {"limit_request_body": 0}, 200),
        (post(b"x"), {"limit_request_body": 0}, 413),
        (post_chunked(b"x" * 5).replace(b"5\r", b"5;a=b\r"), {"limit_chunk_extensions": 10}, 200),
        (post_chunked(b"x" * 5).replace(b"5\r", b"5;a=" + b"b" * 20 + b"\r"), {"limit_chunk_extensions": 10}, 400),
        (post_chunked(b"x", b"y", b"z").replace(b"1\r", b"1;a=bbb\r"), {"limit_chunk_extensions": 10}, 400),
        (post_chunked(b"x", last=b"0\r\nA: b\r\n\r\n"), {"limit_trailers": 20}, 200),
        (post_chunked(b"x", last=b"0\r\nA: " + b"b" * 30 + b"\r\n\r\n"), {"limit_trailers": 20}, 431),
    ],
)
def test_beyond_a_limit_is_its_answer(data: bytes, settings: dict[str, Any], status: int) -> None:
    for pieces in every_split(data) if len(data) < 1000 else [[data]]:
        outcome = exchange(echo, [*pieces, request()], keep_open=True, **settings)
        if status == 200:
            assert outcome.sent.startswith(b"HTTP/1.1 200 ") and outcome.ended == "open"
        else:
            answer = only(outcome.sent)
            assert (answer.status, answer.closes, outcome.ended) == (status, True, "closed")


def test_413_comes_before_reading_when_the_length_says_so() -> None:
    called: list[int] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        called.append(1)
        return hello(environ, start_response)

    outcome = exchange(app, [post(b"x" * 11)[:-11]], keep_open=True, limit_request_body=10)
    assert only(outcome.sent).status == 413 and called == []


def test_limit_request_body_of_a_chunked_body_raises_in_the_read() -> None:
    got: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"]
        got.append(body.read(10))
        body.read(1)
        return []

    exchange(app, [post_chunked(b"x" * 10, b"y" * 10)], limit_request_body=10)
    assert got == [b"x" * 10]


# ---- limit_pipeline


def test_limit_pipeline_bounds_what_is_read_ahead(serve: Any) -> None:
    gate = Gate()
    serving = serve(gate)
    client = serving.connect().send(get("/wait"))
    serving.until(lambda: serving.count("running"))
    sender = gevent.spawn(client.sock.sendall, get("/next") * 200_000)
    gevent.sleep(0.05)
    service = serving.server._service
    (connection,) = service.running.members()
    assert connection.stream.buffered <= 65536
    assert not sender.ready()  # the system's buffers are full, and it waits
    gate.opened.set()
    assert [client.answer().content for _ in range(100)] == [b"GET /wait "] + [b"GET /next "] * 99
    assert connection.stream.buffered <= 65536
    sender.kill()


# ---- limit_buffers


BUFFERS = {"limit_request_line": 1024, "limit_request_head": 20000, "limit_buffers": 21024, "limit_pipeline": 16384,
           "linger_timeout": 0.05}  # fmt: skip


@pytest.mark.parametrize("size", [3000, 7000, 12000], ids=["small", "half", "almost a chunk"])
def test_limit_buffers_refuses_the_largest_unfinished_head(serve: Any, size: int) -> None:
    serving = serve(hello, **BUFFERS)
    small = serving.connect().send(b"GET / HTTP/1.1\r\nHost: a\r\nA: ")
    serving.until(lambda: serving.count("fresh") == 1)
    clients = [serving.connect().send(b"GET / HTTP/1.1\r\nA: " + b"x" * size) for _ in range(10)]
    readable, _, _ = select([client.sock for client in clients], [], [])
    answer = next(client for client in clients if client.sock is readable[0]).answer()
    assert (answer.status, answer.closes) == (431, True)
    # None of the others goes for the sake of it, and the smallest least of all.
    serving.until(lambda: serving.count("connections") < 11)
    assert small.ask(b"x\r\n\r\n").status == 200


def test_limit_buffers_spares_the_small_head_that_was_one_too_many(serve: Any) -> None:
    serving = serve(hello, **BUFFERS)
    large = serving.connect().send(b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"x" * 12000)
    serving.until(lambda: serving.count("fresh") == 1)
    small = [serving.connect().send(b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"x" * 600) for _ in range(2)]
    answer = large.answer()
    assert (answer.status, answer.closes) == (431, True)
    assert [client.ask(b"x\r\n\r\n").status for client in small] == [200, 200]


def test_limit_buffers_does_not_count_what_is_not_there(serve: Any) -> None:
    serving = serve(hello, **BUFFERS)
    clients = [serving.connect() for _ in range(100)]
    for _ in range(2):
        for client in clients:
            assert client.ask(request()).status == 200
    assert serving.count("idle") == 100


# ---- concurrency, queue, queue_timeout


def test_concurrency_bounds_what_runs_and_the_rest_waits_in_order(serve: Any) -> None:
    gate = Gate()
    serving = serve(gate, concurrency=2)
    clients = [serving.connect() for _ in range(4)]
    for n, client in enumerate(clients):
        client.send(get(f"/wait/{n}"))
        serving.until(lambda n=n: serving.count("running") + serving.count("queued") == n + 1)
    assert (serving.count("running"), serving.count("queued")) == (2, 2)
    gate.opened.set()
    assert [client.answer().status for client in clients] == [200] * 4
    assert gate.paths == [f"/wait/{n}" for n in range(4)]
    assert serving.count("pool_started") == 2


def test_idle_connections_need_no_concurrency(serve: Any) -> None:
    serving = serve(hello, concurrency=1)
    clients = [serving.connect() for _ in range(20)]
    for _ in range(2):
        assert [client.ask(request()).status for client in clients] == [200] * 20
    assert serving.count("pool_started") == 1


@pytest.mark.parametrize("queue", [0, 1, 3])
def test_beyond_the_queue_is_503_at_once(serve: Any, queue: int) -> None:
    gate = Gate()
    serving = serve(gate, concurrency=1, queue=queue, queue_timeout=3600)
    inside = [serving.connect() for _ in range(1 + queue)]
    for n, client in enumerate(inside):
        client.send(get("/wait"))
        serving.until(lambda n=n: serving.count("running") + serving.count("queued") == n + 1)
    answer = serving.connect().ask(get("/refused"))
    assert (answer.status, answer.closes, answer.content) == (503, True, b"Service Unavailable\n")
    assert re.fullmatch("[1-9][0-9]*", answer.get("Retry-After"))
    gate.opened.set()
    assert [client.answer().status for client in inside] == [200] * (1 + queue)
    assert gate.paths == ["/wait"] * (1 + queue)


def test_queue_timeout_is_503_with_retry_after(serve: Any) -> None:
    gate = Gate()
    serving = serve(gate, concurrency=1, queue_timeout=0.1)
    first = serving.connect().send(get("/wait"))
    serving.until(lambda: serving.count("running"))
    client = serving.connect()
    answer = client.ask(get("/late"))
    assert (answer.status, answer.closes, answer.get("Retry-After")) == (503, True, "1")
    assert client.rest() == b""
    gate.opened.set()
    assert first.answer().status == 200
    assert gate.paths == ["/wait"]


@pytest.mark.parametrize("again", [False, True], ids=["first request", "later request"])
def test_a_client_that_was_reset_in_the_queue_is_dropped_unserved(serve: Any, again: bool) -> None:
    gate = Gate()
    serving = serve(gate, concurrency=1, queue=2)
    gone = serving.connect()
    if again:
        gone.ask(get("/before"))
    first = serving.connect().send(get("/wait"))
    serving.until(lambda: serving.count("running"))
    gone.send(get("/gone"))
    stays = serving.connect().send(get("/stays"))
    serving.until(lambda: serving.count("queued") == 2)
    gone.reset()
    gevent.sleep(0.01)
    gate.opened.set()
    assert first.answer().status == stays.answer().status == 200
    assert "/gone" not in gate.paths
    serving.until(lambda: serving.count("connections") == 2)


@pytest.mark.parametrize("again", [False, True], ids=["first request", "later request"])
def test_a_client_that_only_finished_sending_is_served_from_the_queue(serve: Any, again: bool) -> None:
    gate = Gate()
    serving = serve(gate, concurrency=1)
    client = serving.connect()
    if again:
        client.ask(get("/before"))
    first = serving.connect().send(get("/wait"))
    serving.until(lambda: serving.count("running"))
    client.send(get("/half")).finish()
    serving.until(lambda: serving.count("queued"))
    gevent.sleep(0.01)
    gate.opened.set()
    assert first.answer().status == 200
    assert client.answer().content == b"GET /half "
    assert client.rest() == b""


def test_a_body_and_a_pipeline_wait_in_the_queue_too(serve: Any) -> None:
    gate = Gate()
    serving = serve(gate, concurrency=1)
    first = serving.connect().send(get("/wait"))
    serving.until(lambda: serving.count("running"))
    client = serving.connect().send(post(b"one") + get("/two") + post_chunked(b"three"))
    serving.until(lambda: serving.count("queued"))
    gate.opened.set()
    assert first.answer().status == 200
    assert [client.answer().content for _ in range(3)] == [b"POST / one", b"GET /two ", b"POST / three"]


def test_errors_are_answered_while_every_green_thread_is_busy(serve: Any) -> None:
    gate = Gate()
    serving = serve(gate, concurrency=1, queue=0)
    first = serving.connect().send(get("/wait"))
    serving.until(lambda: serving.count("running"))
    assert serving.connect().ask(b"bad\r\n").status == 400
    gate.opened.set()
    assert first.answer().status == 200


# ---- connections


def test_connections_those_that_never_completed_a_request_go_first(serve: Any) -> None:
    serving = serve(hello, connections=3)
    idle = serving.connect()
    assert idle.ask(request()).status == 200
    newcomers = [serving.connect(), serving.connect().send(b"GET / HT")]
    serving.until(lambda: serving.count("fresh") == 2)
    assert serving.connect().ask(request()).status == 200
    assert newcomers[0].ended()
    assert serving.connect().ask(request()).status == 200
    serving.until(lambda: serving.count("fresh") == 0)
    assert idle.ask(request()).status == 200


def test_connections_then_the_longest_idle(serve: Any) -> None:
    serving = serve(hello, connections=3)
    clients = [serving.connect() for _ in range(3)]
    for client in (clients[0], clients[1], clients[2], clients[0]):
        assert client.ask(request()).status == 200
    assert serving.connect().ask(request()).status == 200
    assert clients[1].ended()
    assert clients[2].ask(request()).status == clients[0].ask(request()).status == 200


def test_connections_none_idle_pauses_accepting_and_goes_on(serve: Any) -> None:
    gate = Gate()
    serving = serve(gate, connections=2)
    busy = [serving.connect().send(get("/wait")) for _ in range(2)]
    serving.until(lambda: serving.count("running") == 2)
    waiting = [serving.connect().send(get(f"/{n}")) for n in range(3)]
    gevent.sleep(0.02)
    assert serving.count("connections") == 2 and gate.paths == ["/wait"] * 2
    gate.opened.set()
    assert [client.answer().status for client in waiting] == [200] * 3
    assert [client.answer().status for client in busy] == [200] * 2


def test_connections_accepting_goes_on_when_one_ends(serve: Any) -> None:
    gate = Gate()
    serving = serve(gate, connections=1)
    busy = serving.connect().send(get("/wait", b"Connection: close"))
    serving.until(lambda: serving.count("running"))
    waiting = serving.connect().send(get("/next"))
    gevent.sleep(0.01)
    assert gate.paths == ["/wait"]
    gate.opened.set()
    assert busy.answer().closes
    assert waiting.answer().content == b"GET /next "


def test_connections_a_burst_beyond_the_limit_is_served_whole(serve: Any) -> None:
    serving = serve(hello, connections=4)
    clients = [serving.connect().send(get(f"/{n}")) for n in range(20)]
    assert [client.answer().content for client in clients] == [b"/%d" % n for n in range(20)]
    assert serving.count("connections") <= 4


def test_connections_one_that_has_just_sent_is_not_closed_for_another(serve: Any) -> None:
    serving = serve(hello, connections=1)
    first = serving.connect()
    assert first.ask(request()).status == 200
    first.send(get("/second"))  # nothing lets the server look before both are there
    other = serving.connect().send(get("/other"))
    assert first.answer().content == b"/second"
    assert other.answer().content == b"/other"


def test_chunks_smaller_than_their_frames_are_no_way_around_the_limit_of_a_body() -> None:
    data = request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", content=chunks(*[b"x"] * 11))
    assert only(exchange(echo, [data], limit_request_body=10).sent).status == 413


def at_once(serving: Any, paths: list[str]) -> list[Any]:
    """Connections with a request each, all of them there in the server's next turn: connecting blocks this thread."""
    found = []
    for path in paths:
        sock = _socket.socket()
        sock.connect(serving.server.address)
        sock.send(get(path))
        found.append(sock)
    return found


def test_connections_an_idle_one_goes_although_a_newcomer_runs_long(serve: Any) -> None:
    gate = Gate()
    serving = serve(gate, connections=3, keepalive_timeout=0)
    for client in [serving.connect() for _ in range(2)]:
        assert client.ask(get("/")).status == 200
    newcomers = at_once(serving, ["/wait", "/second"])  # the first takes the last place, and keeps it
    serving.until(lambda: "/second" in gate.paths)
    assert gate.paths.index("/wait") < gate.paths.index("/second")
    gate.opened.set()
    for newcomer in newcomers:
        newcomer.close()


def test_connections_stop_accepts_what_waits_although_idle_ones_have_to_go(serve: Any) -> None:
    serving = serve(hello, connections=10, keepalive_timeout=0)
    for client in [serving.connect() for _ in range(9)]:
        assert client.ask(get("/")).status == 200
    newcomers = at_once(serving, ["/"] * 5)
    assert serving.server.stop(20) is True
    for newcomer in newcomers:
        assert newcomer.recv(100).startswith(b"HTTP/1.1 200 ")
        newcomer.close()
