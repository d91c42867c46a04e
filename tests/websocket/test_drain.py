"""Deploys: a server that stops says so to every client, none sees a reset, and handlers that want to may say more."""

from __future__ import annotations

import time
from typing import Any

import gevent
import pytest

import greenhttp
from greenhttp.wire.websocket import Event

echo = greenhttp.websocket(lambda ws: [ws.send(each) for each in ws])


def test_every_client_gets_its_close_code_spread_over_the_linger(talking: Any) -> None:
    serving, connect = talking(echo)
    talks = [connect() for _ in range(30)]
    began = time.monotonic()
    stop = gevent.spawn(serving.server.stop, timeout=30, linger=0.4)
    whens = []

    def wait(talk: Any) -> None:
        assert talk.closed() == (1012, "")
        whens.append(time.monotonic() - began)
        assert talk.ended()

    gevent.joinall([gevent.spawn(wait, talk) for talk in talks], raise_error=True)
    assert stop.get() is True
    assert max(whens) - min(whens) > 0.2  # and not all at once


@pytest.mark.parametrize("code", [1001, 4000])
def test_without_a_linger_all_at_once_with_the_code_of_the_settings(talking: Any, code: int) -> None:
    serving, connect = talking(echo, websocket_close_code=code)
    talks = [connect() for _ in range(5)]
    stop = gevent.spawn(serving.server.stop, timeout=30)
    assert [talk.closed() for talk in talks] == [(code, "")] * 5
    assert all(talk.ended() for talk in talks)
    assert stop.get() is True


def test_a_handler_that_watches_closing_says_its_last_words(talking: Any) -> None:
    @greenhttp.websocket
    def handler(ws: Any) -> None:
        ws.closing.wait()
        ws.send("last words")
        ws.close(4001, "see you")

    serving, connect = talking(handler)
    talk = connect()
    serving.until(lambda: serving.count("switched") == 1)
    stop = gevent.spawn(serving.server.stop, timeout=30)
    assert talk.message() == "last words"
    assert talk.closed() == (4001, "see you")
    assert talk.ended()
    assert stop.get() is True


def test_it_is_closed_for_one_that_takes_too_long(talking: Any) -> None:
    @greenhttp.websocket
    def handler(ws: Any) -> None:
        assert not ws.closing.is_set()
        for message in ws:
            ws.send(message)

    serving, connect = talking(handler, websocket_drain_timeout=0.1)
    talk = connect()
    serving.until(lambda: serving.count("switched") == 1)
    stop = gevent.spawn(serving.server.stop, timeout=30)
    assert talk.send("still here").message() == "still here"
    assert talk.closed() == (1012, "")
    assert stop.get() is True


def test_idle_ones_in_on_message_style_are_closed_and_told(talking: Any) -> None:
    codes: list[Any] = []
    serving, connect = talking(
        lambda request: request.websocket(on_message=lambda *_: None, on_close=lambda ws: codes.append(ws.close_code))
    )
    talks = [connect() for _ in range(3)]
    stop = gevent.spawn(serving.server.stop, timeout=30)
    assert [talk.closed() for talk in talks] == [(1012, "")] * 3
    assert stop.get() is True
    assert codes == [1012] * 3


def test_a_stop_at_once_still_says_the_code(talking: Any, caplog: Any) -> None:
    serving, connect = talking(echo)
    talks = [connect() for _ in range(5)]
    serving.until(lambda: serving.count("switched") == 5)
    assert serving.server.stop(timeout=0) is False
    assert [talk.event() for talk in talks] == [(Event.CLOSE, (1012, ""))] * 5
    assert all(talk.ended() for talk in talks)
    assert "in the application" not in caplog.text


def test_a_handler_that_does_not_return_is_cut_and_listed(talking: Any, caplog: Any) -> None:
    @greenhttp.websocket
    def handler(ws: Any) -> None:
        gevent.sleep(1000)

    serving, connect = talking(handler)
    talk = connect("/forever")
    serving.until(lambda: serving.count("switched") == 1)
    stop = gevent.spawn(serving.server.stop, timeout=0.2)
    assert talk.closed() == (1012, "")
    assert talk.ended()
    assert stop.get() is False
    assert "GET /forever: running" in caplog.text


def test_who_asks_for_one_meanwhile_is_sent_elsewhere(talking: Any) -> None:
    from tests.websocket.client import asking

    go = gevent.event.Event()

    def handler(request: Any) -> Any:
        if request.path == "/late":
            go.wait()
        return echo(request)

    serving, connect = talking(handler)
    talk = connect()
    client = serving.connect().send(asking("/late"))
    serving.until(lambda: serving.count("running") == 1)
    stop = gevent.spawn(serving.server.stop, timeout=30)
    assert talk.closed() == (1012, "")
    go.set()
    assert client.answer().status == 503
    assert stop.get() is True
