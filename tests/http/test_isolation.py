"""Nothing of one request reaches the next, on the same connection or another."""

from __future__ import annotations

import contextvars
import socket
from collections.abc import Callable
from typing import Any

import gevent
import pytest

from greenhttp.testing import exchange
from tests.answers import answers
from tests.http.apps import hello, request

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="clean")


class Own(Exception):
    """What a leftover time-out raises."""


def get(path: str) -> bytes:
    return request(f"GET {path} HTTP/1.1".encode())


def leave_timeout(kept: list[Any]) -> None:
    kept.append(gevent.Timeout.start_new(0.02, Own("leftover")))


def leave_bare_timeout(kept: list[Any]) -> None:
    kept.append(gevent.Timeout(0.02))
    kept[-1].start()


def leave_timeout_nobody_holds(kept: list[Any]) -> None:
    gevent.Timeout.start_new(0.02, Own("leftover"))


def leave_current(kept: list[Any]) -> None:
    thread = gevent.getcurrent()
    kept.append(thread)

    def attack() -> None:
        for act in (thread.kill, thread.switch, lambda: thread.throw(Own("late"))):
            act()

    gevent.spawn_later(0.01, attack)


def leave_callback_switch(kept: list[Any]) -> None:
    gevent.get_hub().loop.run_callback(gevent.getcurrent().switch, "stale")


def leave_callback_throw(kept: list[Any]) -> None:
    gevent.get_hub().loop.run_callback(gevent.getcurrent().throw, Own("stale"))


def leave_timer_switch(kept: list[Any]) -> None:
    timer = gevent.get_hub().loop.timer(0.01)
    timer.start(gevent.getcurrent().switch)
    kept.append(timer)


def leave_kill(kept: list[Any]) -> None:
    gevent.getcurrent().kill()


def leave_context(kept: list[Any]) -> None:
    VARIABLE.set("dirty")


LEAVERS = [
    leave_timeout,
    leave_bare_timeout,
    leave_timeout_nobody_holds,
    leave_current,
    leave_callback_switch,
    leave_callback_throw,
    leave_timer_switch,
    leave_kill,
    leave_context,
]


class Leaver:
    """`/leave` leaves something behind; `/wait` waits long enough for it to strike; anything else is quick."""

    def __init__(self, leave: Callable[[list[Any]], None]) -> None:
        self.leave = leave
        self.kept: list[Any] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        found = VARIABLE.get()
        if environ["PATH_INFO"] == "/leave":
            self.leave(self.kept)
        elif environ["PATH_INFO"] == "/wait":
            gevent.sleep(0.04)
            gevent.sleep(0.01)
        start_response("200 OK", [])
        return [found.encode()]


@pytest.mark.parametrize("leave", LEAVERS)
def test_the_next_request_of_the_same_connection_is_untouched(leave: Any) -> None:
    app = Leaver(leave)
    # One piece, so that all of it is done in one turn where that is possible; then each in its own.
    data = [get("/leave"), get("/"), get("/wait"), get("/leave"), get("/wait")]
    for pieces in ([b"".join(data)], data):
        outcome = exchange(app, pieces, keep_open=True)
        assert [(answer.status, answer.content) for answer in answers(outcome.sent)] == [(200, b"clean")] * 5
        assert outcome.log == []


@pytest.mark.parametrize("leave", LEAVERS)
def test_the_next_request_of_another_connection_is_untouched(serve: Any, leave: Any) -> None:
    serving = serve(Leaver(leave))
    for _ in range(3):
        assert serving.connect().ask(get("/leave")).status == 200
        waiting = [serving.connect().send(get("/wait")) for _ in range(3)]
        assert [client.answer().content for client in waiting] == [b"clean"] * 3


@pytest.mark.parametrize("leave", LEAVERS)
def test_with_one_green_thread_the_next_request_is_untouched(serve: Any, leave: Any) -> None:
    serving = serve(Leaver(leave), concurrency=1)
    clients = [serving.connect().send(get("/leave") + get("/wait"))]
    serving.until(lambda: serving.count("running"))
    clients.append(serving.connect().send(get("/wait")))
    assert [clients[0].answer().content, clients[0].answer().content, clients[1].answer().content] == [b"clean"] * 3


def test_with_the_context_of_the_thread_values_stay_with_the_green_thread_and_the_rest_is_untouched(serve: Any) -> None:
    app = Leaver(leave_context)
    data = [get("/"), get("/leave"), get("/"), get("/wait")]
    for pieces in ([b"".join(data)], data):
        outcome = exchange(app, pieces, keep_open=True, context="thread")
        assert [answer.content for answer in answers(outcome.sent)] == [b"clean", b"clean", b"dirty", b"dirty"]
    serving = serve(app, context="thread")
    serving.ask(get("/leave"))
    # A second green thread, since the first is busy: it has a context of its own, and those stay apart.
    waiting = serving.connect().send(get("/wait"))
    serving.until(lambda: serving.count("running"))
    assert serving.ask(get("/")).content == b"clean"
    assert waiting.answer().content == b"dirty"


def test_a_green_thread_that_nobody_holds_is_used_again(serve: Any) -> None:
    serving = serve(Leaver(leave_context))
    client = serving.connect()
    for n in range(30):
        assert client.ask(get("/leave" if n % 2 else "/")).content == b"clean"
        assert serving.ask(get("/wait" if n % 10 == 0 else "/")).content == b"clean"
    assert serving.count("pool_started") == 1


def test_a_green_thread_that_its_request_looked_at_is_used_again(serve: Any) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        with gevent.Timeout(5):
            gevent.getcurrent()
            gevent.sleep(0.001)
        return hello(environ, start_response)

    serving = serve(app)
    client = serving.connect()
    for _ in range(30):
        assert client.ask(request()).status == 200
    assert serving.count("pool_started") == 1


def test_a_green_thread_that_somebody_holds_is_not(serve: Any) -> None:
    held: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        held.append(gevent.getcurrent())
        return hello(environ, start_response)

    serving = serve(app)
    client = serving.connect()
    for _ in range(5):
        assert client.ask(request()).status == 200
    assert len(set(map(id, held))) == 5


def test_a_kill_of_a_running_request_ends_that_request_alone(serve: Any) -> None:
    inside: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/stuck":
            inside.append(gevent.getcurrent())
            gevent.sleep(3600)
        return hello(environ, start_response)

    serving = serve(app)
    client, other = serving.connect().send(get("/stuck") + get("/next")), serving.connect()
    serving.until(lambda: inside)
    inside[0].kill()
    assert (client.answer().status, client.answer().content) == (500, b"/next")
    assert other.ask(get("/other")).content == b"/other"


def test_each_request_has_the_address_of_its_own_client_whoever_comes_between(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append((environ["PATH_INFO"], environ["REMOTE_ADDR"]))
        return hello(environ, start_response)

    def connect(source: str) -> Any:
        client = serving.connect(source=source)
        client.ask(request(f"GET /{source} HTTP/1.1".encode()))
        return client

    serving = serve(app)
    one, two, _ = [connect(f"127.0.0.{n}") for n in (2, 3, 4)]
    seen.clear()
    plain = socket.inet_ntop

    def inet_ntop(*arguments: Any) -> str:
        text = plain(*arguments)
        if text == "127.0.0.2":  # as the collector would, if it ran here and a finalizer waited
            two.ask(request(b"GET /127.0.0.3 HTTP/1.1"))
        return text

    monkeypatch.setattr(socket, "inet_ntop", inet_ntop)
    one.ask(request(b"GET /127.0.0.2 HTTP/1.1"))
    two.ask(request(b"GET /127.0.0.3 HTTP/1.1"))
    assert len(seen) == 3
    assert all(path == f"/{address}" for path, address in seen)
