"""Request.gone: what a handler can know of a client that has left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent import socket
from gevent.event import Event

from greenhttp.server import Server
from greenhttp.testing import exchange
from tests.answers import answers
from tests.http.apps import chunks, post, request


class Watching:
    """A handler that waits at `/wait` until it is told to look, looks, and answers with what it saw."""

    def __init__(self, look: Callable[[Any], Any] = lambda request: request.gone) -> None:
        self.look = look
        self.running, self.now, self.done = Event(), Event(), Event()
        self.seen: list[Any] = []
        self.request: Any = None

    def __call__(self, request: Any) -> str:
        self.request = request
        self.running.set()
        if request.path == "/wait":
            self.now.wait()
        self.seen.append(self.look(request))
        self.done.set()
        return "seen"

    def sees(self) -> Any:
        self.now.set()
        self.done.wait()
        return self.seen[-1]


def until_gone(request: Any) -> bool:
    """Wait for the news to arrive: a reset on the loopback is there at once, but the server's turn is not."""
    while not request.gone:
        gevent.sleep(0.001)
    return True


WAIT = request(b"GET /wait HTTP/1.1")


def test_a_client_that_waits_has_not_gone(serve: Any) -> None:
    watching = Watching()
    client = serve(watching).connect().send(WAIT)
    watching.running.wait()
    assert watching.sees() is False
    assert client.answer().content == b"seen"


@pytest.mark.parametrize("leave", ["close", "reset", "finish"])
def test_a_client_that_leaves_has_gone(serve: Any, leave: str) -> None:
    watching = Watching(until_gone)
    client = serve(watching).connect().send(WAIT)
    watching.running.wait()
    getattr(client, leave)()
    assert watching.sees() is True
    if leave == "finish":  # half-closed: it looks the same, and gets its answer all the same
        assert client.answer().content == b"seen"
        assert client.ended()


def test_it_is_noticed_over_a_unix_socket_too(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    watching = Watching(until_gone)
    server = Server(watching, bind="unix:s")
    server.start()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("s")
        client.sendall(WAIT)
        watching.running.wait()
    assert watching.sees() is True
    server.stop(10)


def test_content_that_is_still_to_be_read_hides_the_end_and_is_not_lost(serve: Any) -> None:
    watching = Watching(lambda request: [request.gone, request.body.read(), until_gone(request)])
    client = serve(watching).connect().send(post(b"hello", path=b"/wait")).finish()
    watching.running.wait()
    assert watching.sees() == [False, b"hello", True]
    assert client.answer().content == b"seen"


def test_a_reset_is_seen_although_content_is_unread(serve: Any) -> None:
    watching = Watching(until_gone)
    client = serve(watching).connect().send(post(b"x" * 100_000, path=b"/wait"))
    watching.running.wait()
    client.reset()
    assert watching.sees() is True


def test_a_request_sent_ahead_hides_the_end_and_is_not_lost(serve: Any) -> None:
    watching = Watching()
    client = serve(watching).connect().send(WAIT + request(b"GET /next HTTP/1.1")).finish()
    watching.running.wait()
    assert watching.sees() is False
    assert [client.answer().content for _ in range(2)] == [b"seen"] * 2
    assert client.ended()


def test_looking_takes_no_byte(serve: Any) -> None:
    watching = Watching(lambda request: [request.gone for _ in range(3)] + [request.body.read()])
    client = serve(watching).connect()
    client.send(request(b"POST /wait HTTP/1.1", b"Transfer-Encoding: chunked"))
    watching.running.wait()
    client.send(chunks(b"one", b"two"))
    assert watching.sees() == [False, False, False, b"onetwo"]
    assert client.answer().content == b"seen"
    assert client.ask(request()).content == b"seen"


def test_once_the_request_is_over_nobody_waits_for_its_answer(serve: Any) -> None:
    watching = Watching()
    client = serve(watching).connect()
    assert client.ask(request()).content == b"seen"
    assert watching.seen == [False]
    assert watching.request.gone is True  # though the client is there, and its connection is used again
    assert client.ask(request()).content == b"seen"


def test_in_memory_it_is_the_same() -> None:
    data = [post(b"hello"), request(), request()]
    watching = Watching(lambda request: (request.gone, request.body.read(), request.gone))
    outcome = exchange(watching, [b"".join(data)])
    assert [answer.content for answer in answers(outcome.sent, ["POST", "GET", "GET"])] == [b"seen"] * 3
    assert [seen[0] for seen in watching.seen] == [False, False, False]
    open_ended = Watching()
    exchange(open_ended, [request()], keep_open=True)
    assert open_ended.seen == [False]
