"""WSGI applications that write, are interrupted or are looked at when their answer is over."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent.event import Event

from greenhttp import HTTPError, Request
from tests.answers import answers, only
from tests.http.apps import request
from tests.http.conftest import defects, not_for_ever, serve  # noqa: F401

EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
BEHIND = request(b"GET /behind HTTP/1.1", b"Connection: close")


class Content:
    """An iterator whose close() does something."""

    def __init__(self, pieces: list[bytes], close: Callable[[], Any]) -> None:
        self.pieces = iter(pieces)
        self.close = close

    def __iter__(self) -> Iterator[bytes]:
        return self.pieces


# ---- write() when the answer is over


@pytest.mark.parametrize("headers", [[], [("Content-Length", "5")], [("Content-Length", "50")]])
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("way", ["close", "left behind", "kept"])
def test_what_is_written_behind_the_end_of_an_answer_is_refused(
    serve: Any,  # noqa: F811
    way: str,
    version: bytes,
    headers: list[tuple[str, str]],
) -> None:
    errors: list[BaseException | None] = []
    closing, written = Event(), Event()

    def late(write: Any) -> None:
        try:
            write(EVIL)
        except AssertionError as error:
            errors.append(error)
        else:
            errors.append(None)
        written.set()

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/behind":
            if way == "kept":
                late(kept[0])  # on the same connection, while the next one is answered
            start_response("200 OK", [])
            return [b"second"]
        write = start_response("200 OK", headers)
        kept.append(write)
        if way == "close":
            return Content([b"hello"], lambda: late(write))
        if way == "left behind":
            gevent.spawn(lambda: (closing.wait(), late(write)))
            return Content([b"hello"], lambda: (closing.set(), written.wait()))
        return Content([b"hello"], lambda: None)

    kept: list[Any] = []
    serving = serve(app)
    client = serving.connect().send(request(b"GET / HTTP/" + version) + BEHIND)
    data = client.rest()
    assert b"evil" not in data
    assert data.count(b"HTTP/1.1 200 OK") == data.count(b"second") + 1
    if version == b"1.1" and headers != [("Content-Length", "50")]:
        assert [answer.content for answer in answers(data)] == [b"hello", b"second"]
    if way != "kept" or b"second" in data:
        assert [type(error) for error in errors] == [AssertionError]


def test_a_writer_that_is_held_up_does_not_write_into_the_next_answer(serve: Any) -> None:  # noqa: F811
    """It has begun before the end, and lets others go first in the middle."""
    left: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        write = start_response("200 OK", [])
        if environ["PATH_INFO"] == "/":

            def many() -> None:
                for _ in range(1000):
                    write(b"x" * 1000)

            left.append(gevent.spawn(lambda: pytest.raises(OSError, many)))
            gevent.sleep(0)
        else:
            gevent.sleep(0)
            gevent.sleep(0)
        return [b"end"]

    serving = serve(app)
    data = serving.connect().send(request() + request() + BEHIND).rest()
    found = answers(data)
    assert len(found) == data.count(b"HTTP/1.1")
    assert found[0].content == b"x" * (len(found[0].content) - 3) + b"end"
    for one in left:
        one.join()


# ---- Ctrl-C


@pytest.mark.parametrize("where", ["app", "next", "close"])
def test_ctrl_c_that_arrives_in_an_application_ends_the_program(serve: Any, where: str) -> None:  # noqa: F811
    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(100):  # its handler runs between two of these
            pass

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        if environ["PATH_INFO"] != "/interrupted":
            return [b"well"]
        if where == "app":
            interrupt()
        if where == "close":
            return Content([b"a"], interrupt)
        return (interrupt() or b"a" for _ in range(1))

    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    serving = serve(app)
    client = serving.connect().send(request(b"GET /interrupted HTTP/1.1"))
    with pytest.raises(KeyboardInterrupt):
        gevent.sleep(5)  # as the program's main green thread does
    assert client.answer().status == (200 if where == "close" else 500)
    assert serving.ask(request()).content == b"well"


# ---- what tools find that look at all objects


def test_a_request_that_nobody_kept_has_nothing_to_tell(serve: Any) -> None:  # noqa: F811
    kept: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        kept.append(start_response)
        start_response("200 OK", [])
        return [b"ok"]

    serving = serve(app)
    assert only(serving.connect().send(request(b"GET /?a=b HTTP/1.1", b"Connection: close")).rest()).content == b"ok"
    (found,) = [one for one in gc.get_referents(*kept) if type(one) is Request]
    for name in ("query", "query_string", "path", "target", "headers", "host", "version", "scheme"):
        try:
            getattr(found, name)
        except RuntimeError as error:
            assert "over" in str(error)
    for act in (found.json, found.form):
        with pytest.raises((HTTPError, RuntimeError)):
            act()
    assert "GET" in repr(found)
    assert found.method == "GET"
    assert found.gone


@pytest.mark.parametrize("data", [b"BAD\r\n\r\n", b""])
def test_start_response_is_refused_once_its_request_is_over(serve: Any, data: bytes) -> None:  # noqa: F811
    kept: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        kept.append(start_response)
        start_response("200 OK", [])
        return [b"ok"]

    serving = serve(app)
    client = serving.connect()
    assert client.ask(request()).content == b"ok"
    with pytest.raises(AssertionError):
        kept[0]("200 OK", [])
    with pytest.raises(AssertionError):
        kept[0](b"more")
    client.send(data).finish()
    assert [answer.status for answer in answers(client.rest())] == [400] * bool(data)
