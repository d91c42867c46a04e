"""Reading on behind the last answer, so that a client in the middle of an upload gets it (wire contract, 22)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent import monkey

from greenhttp.server import Server
from tests.http.apps import hello, request
from tests.http.client import Client

UPLOAD = 24 << 20  # more than both ends hold, and many times what is dropped in one turn
PIECE = bytes(65536)


def some(environ: Any, start_response: Any) -> list[bytes]:
    environ["wsgi.input"].read(1000)
    return hello(environ, start_response)


def sized(app: Any) -> tuple[Any, bytes, Any]:
    return app, request(b"POST / HTTP/1.1", b"Content-Length: %d" % UPLOAD), [PIECE] * (UPLOAD // len(PIECE))


def chunked(app: Any) -> tuple[Any, bytes, Any]:
    chunk = b"%x\r\n%b\r\n" % (len(PIECE), PIECE)
    pieces = [chunk] * (UPLOAD // len(PIECE)) + [b"0\r\n\r\n"]
    return app, request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked"), pieces


CASES = {
    "refused": ((hello, request(b"POST / HTTP/1.1", b"Content-Length: %d" % (2 << 30)), [PIECE] * 400), 413),
    "not read": (sized(hello), 200),
    "read in part": (sized(some), 200),
    "chunks not read": (chunked(hello), 200),
    "chunks read in part": (chunked(some), 200),
}


@pytest.fixture
def server(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[Callable[..., Server]]:
    """server(app, **settings), over TCP or a UNIX socket."""
    started: list[Server] = []

    def start(app: Any, **settings: Any) -> Server:
        bind = f"unix:{tmp_path}/s" if request.param == "unix" else "127.0.0.1:0"
        started.append(Server(app, bind=bind, **settings))
        started[-1].start()
        return started[-1]

    yield start
    for each in started:
        each.stop(0)


@pytest.mark.parametrize("server", ["tcp", "unix"], indirect=True)
@pytest.mark.parametrize("case", CASES)
def test_who_looks_for_an_answer_behind_the_upload_gets_it(server: Any, case: str) -> None:
    (app, head, pieces), status = CASES[case]
    client = Client(server(app).address)
    client.send(head)
    for piece in pieces:
        client.send(piece)
    answer = client.answer()
    assert (answer.status, client.finish().rest()) == (status, b"")
    client.close()


def large(environ: Any, start_response: Any) -> list[bytes]:
    start_response("413 Content Too Large", [("Content-Type", "text/plain")])
    return [bytes(UPLOAD)]


def keeps(app: Any) -> tuple[Any, bytes, Any]:
    """Content that is dropped to keep the connection: less than 256 KiB, but more than the first packets have."""
    return app, request(b"POST / HTTP/1.1", b"Content-Length: %d" % (3 * len(PIECE))), [PIECE] * 3


@pytest.mark.parametrize("server", ["tcp", "unix"], indirect=True)
@pytest.mark.parametrize("case", [sized, chunked, keeps])
def test_an_answer_larger_than_all_buffers_does_not_wait_for_a_client_that_first_sends_everything(
    server: Any, case: Any
) -> None:
    app, head, pieces = case(large)
    started = server(app, write_timeout=3600, linger_timeout=3600)
    client = Client(started.address)
    client.send(head)
    for piece in pieces:
        client.send(piece)
    answer = client.answer()
    assert (answer.status, len(answer.content)) == (413, UPLOAD)
    if case is sized:
        assert client.finish().rest() == b""  # which was announced
    else:
        assert client.send(request()).answer().status == 413  # the connection was kept: nothing of it is lost
    client.close()


@pytest.mark.parametrize("fields", [(), (b"Content-Length: 100000",), (b"Transfer-Encoding: chunked",)])
def test_who_resets_while_an_answer_leaves_is_said_whether_it_uploads_or_not(
    serve: Any, fields: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    serving = serve(large)
    client = serving.connect().send(request(b"POST / HTTP/1.1" if fields else b"GET / HTTP/1.1", *fields))
    serving.until(lambda: serving.count("flushing") == 1)
    client.reset()
    serving.until(lambda: serving.count("connections") == 0)
    serving.until(lambda: bool(said(caplog, "while it was answered")))


def test_to_upload_is_not_to_be_slow_at_reading(serve: Any) -> None:
    """The answer cannot leave; as long as the client sends, the minimum rate is not judged."""
    serving = serve(large, write_timeout=3600, write_min_rate="1g", min_rate_after=1, linger_timeout=3600)
    client = serving.connect().send(request(b"POST / HTTP/1.1", b"Content-Length: %d" % (1 << 30)))
    serving.until(lambda: serving.count("flushing") == 1)
    until = time.monotonic() + 3  # rates are judged once a second
    while time.monotonic() < until:
        client.send(PIECE)
        gevent.sleep(0.01)
    assert serving.count("flushing") == 1
    serving.until(lambda: serving.count("connections") == 0)  # and now it is
    client.close()


def test_who_lingers_holds_no_green_thread(serve: Any) -> None:
    serving = serve(hello, concurrency=1)
    head = request(b"POST / HTTP/1.1", b"Content-Length: %d" % UPLOAD)
    clients = [serving.connect().send(head + PIECE) for _ in range(20)]
    serving.until(lambda: serving.count("lingering") == 20)
    assert serving.count("pool_running") == 0
    for client in clients:
        for _ in range(30):
            client.send(PIECE)
    assert serving.ask(request()).status == 200
    for client in clients:
        assert client.answer().status == 200


def flood(client: Client) -> gevent.Greenlet:
    """Send until the server has closed. An uploader that is faster than any bound in these tests."""

    def run() -> int:
        sent = 0
        try:
            while True:
                client.send(PIECE)
                sent += len(PIECE)
        except OSError:
            return sent

    return gevent.spawn(run)


def said(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if words in record.getMessage()]


def test_it_ends_at_limit_linger_and_says_so(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    serving = serve(hello, linger_timeout=3600, limit_linger=4 << 20)
    client = serving.connect()
    assert client.ask(b"bad\r\n").status == 400
    sent = flood(client).get()
    assert sent >= 4 << 20
    serving.until(lambda: serving.count("connections") == 0)
    (line,) = said(caplog, "limit_linger")
    assert "the connection was closed: it had sent " in line and "more than 4194304" in line


def test_it_ends_at_linger_timeout_for_who_sends_for_ever_and_says_so(
    serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    serving = serve(hello, linger_timeout=0.3)
    client = serving.connect()
    assert client.ask(b"bad\r\n").status == 400
    flood(client).get()
    serving.until(lambda: serving.count("connections") == 0)
    (line,) = said(caplog, "linger_timeout")
    assert line.endswith("the connection was closed: 0.3 s after its answer it still sent (linger_timeout)")


@pytest.mark.parametrize("phase", ["draining", "lingering"])
def test_silence_ends_it_before_linger_timeout(serve: Any, phase: str) -> None:
    """Both: a stop of the server waits for them."""
    service = serve(hello).server._service
    assert getattr(service, phase).duration == 5
    assert getattr(serve(hello, linger_timeout=1).server._service, phase).duration == 1


@pytest.mark.parametrize("case", ["refused", "chunks not read"])
def test_a_loop_that_stood_still_does_not_take_its_own_silence_for_that_of_the_client(serve: Any, case: str) -> None:
    (app, head, pieces), status = CASES[case]
    serving = serve(app)
    client = serving.connect()
    client.send(head)
    serving.until(lambda: serving.count("lingering") or serving.count("draining"))
    client.send(pieces[0])  # the system has it
    monkey.get_original("time", "sleep")(5.2)
    for piece in pieces[1:]:
        client.send(piece)
    answer = client.answer()
    assert (answer.status, client.finish().rest()) == (status, b"")


def test_silence_begins_anew_with_each_chunk_that_nobody_reads(serve: Any) -> None:
    serving = serve(hello)
    draining = serving.server._service.draining
    clients = [serving.connect() for _ in range(2)]
    for client in clients:
        client.send(request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked"))
        assert client.answer().status == 200
    first, second = serving.until(lambda: len(list(draining.members())) == 2) or draining.members()
    clients[0].send(b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
    serving.until(lambda: list(draining.members()) == [second, first])  # the order in which they would expire
    assert clients[0].ask(b"0\r\n\r\n" + request()).status == 200


def test_chunks_that_nobody_reads_and_that_do_not_end_do_at_linger_timeout(serve: Any) -> None:
    serving = serve(hello, linger_timeout=0.3)
    client = serving.connect().send(request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked"))
    assert client.answer().status == 200
    chunk = b"%x\r\n%b\r\n" % (len(PIECE), PIECE)
    with pytest.raises(OSError):
        while True:
            client.send(chunk)
    serving.until(lambda: serving.count("connections") == 0)


def test_of_one_that_says_nothing_more_nothing_is_said(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    serving = serve(hello, linger_timeout=0.1)
    client = serving.connect()
    assert client.ask(b"bad\r\n").status == 400
    serving.until(lambda: serving.count("connections") == 0)
    assert not said(caplog, "linger")


def test_of_too_many_the_one_that_has_lingered_longest_ends(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    serving = serve(hello, linger_timeout=3600, connections=80)
    clients = []
    for at in range(20):
        clients.append(serving.connect())
        assert clients[-1].ask(b"bad\r\n").status == 400
        serving.until(lambda at=at: serving.count("lingering") == at + 1)
    clients.append(serving.connect())
    assert clients[-1].ask(b"bad\r\n").status == 400
    serving.until(lambda: serving.count("connections") == 20)
    assert serving.count("lingering") == 20
    flood(clients[0]).get()  # it ends, being the one
    assert said(caplog, "more than 20 connections linger")
    for client in clients[1:]:
        client.send(PIECE)
    assert serving.count("lingering") == 20


def test_in_one_turn_no_more_is_dropped_of_one_than_its_share(serve: Any) -> None:
    """What a request of somebody else waits for at most: a mebibyte of all that linger, not all that they have sent."""
    serving = serve(hello, linger_timeout=3600)
    flooding = serving.connect()
    assert flooding.ask(b"bad\r\n").status == 400
    sender = flood(flooding)
    other = serving.connect()
    for _ in range(100):
        assert other.ask(request()).status == 200  # the flood does not keep the loop
    assert not sender.dead
    flooding.close()
    sender.get()


def test_the_time_of_what_nobody_reads_is_not_that_of_the_next_content(serve: Any) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/read":
            environ["wsgi.input"].read()
        return hello(environ, start_response)

    serving = serve(app, linger_timeout=0.3)
    client = serving.connect()
    client.send(request(b"POST / HTTP/1.1", b"Content-Length: 2000"))
    assert client.answer().status == 200
    serving.until(lambda: serving.count("draining"))
    client.send(bytes(2000) + request(b"POST /read HTTP/1.1", b"Content-Length: 5"))  # it is never idle
    serving.until(lambda: serving.count("body"))
    gevent.sleep(0.5)  # longer than reading on would have been allowed to
    client.send(b"whole")
    assert client.answer().status == 200
