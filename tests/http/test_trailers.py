"""Trailers of a request (RFC 9110 6.5): kept apart, and given after the content."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest

from greenhttp.errors import BodyError
from greenhttp.green.transport import MemoryStream
from greenhttp.hosting.hooks import around
from greenhttp.hosting.wsgi import WSGI
from greenhttp.http.connection import State, connect_memory
from greenhttp.http.request import Headers
from greenhttp.testing import every_split, exchange, service_of
from tests.answers import answers
from tests.http.apps import post, post_chunked, request
from tests.http.carriers import Content, Message
from tests.http.test_exchange import converse, message

LINES = b"Content-Type: text/plain\r\nX-Sum:  a \r\nx-sum: b\r\n"
PAIRS = [("Content-Type", "text/plain"), ("X-Sum", "a"), ("x-sum", "b")]
SENT = post_chunked(b"abc", b"de", last=b"0\r\n" + LINES + b"\r\n")

Look = Callable[[Any], Any]


def both(look: Callable[[Any, Any, Any], Any], pieces: list[bytes], **settings: Any) -> tuple[list[Any], int]:
    """What `look(trailers, content, fields)` found, asked of a native handler and in WSGI, and how many were answered.

    `trailers` is a function: what the application finds at that moment.
    """
    found: list[Any] = []

    def handler(request: Any) -> str:
        found.append(look(lambda: request.trailers, request.body, request.headers))
        return ""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        fields = {name for name in environ if name.startswith(("HTTP_", "CONTENT_"))}
        found.append(look(lambda: environ["greenhttp.trailers"], environ["wsgi.input"], fields))
        start_response("200 OK", [])
        return []

    count = 0
    for each in (handler, app):
        outcome = exchange(each, pieces, **settings)
        assert outcome.log == []
        count += len(answers(outcome.sent))
    return found, count


READERS: dict[str, Look] = {
    "all": lambda body: body.read(),
    "in bits": lambda body: b"".join(iter(lambda: body.read(2), b"")),
    "what is there": lambda body: b"".join(body.iter()),
    "lines": lambda body: b"".join(body),
    "to the end exactly": lambda body: body.read(5) + body.read(1),
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_they_are_there_when_the_content_was_read_to_its_end(read: Look) -> None:
    def look(trailers: Any, body: Any, fields: Any) -> Any:
        early = trailers()
        assert (len(early), early.get("x-sum"), early.pairs, dict(early)) == (0, None, [], {})
        content = read(body)
        assert early.pairs == trailers().pairs  # what was asked for before shows them too
        return content, trailers().pairs

    for pieces in every_split(SENT):
        assert both(look, pieces) == ([(b"abcde", PAIRS)] * 2, 2)


def test_they_are_a_mapping_in_any_case_and_no_fields() -> None:
    def look(trailers: Any, body: Any, fields: Any) -> None:
        body.read()
        found = trailers()
        assert isinstance(found, Headers)
        assert dict(found) == {"content-type": "text/plain", "x-sum": "a, b"}
        assert (found["X-SUM"], found.get("content-TYPE"), found.get_all("x-Sum")) == ("a, b", "text/plain", ["a", "b"])
        assert ("x-sum" in found, "host" in found, 1 in found, found.get("host", "?")) == (True, False, False, "?")
        assert (found.keys(), found.values()) == (["content-type", "x-sum"], ["text/plain", "a, b"])
        assert found.items() == list(dict(found).items()) and list(found) == found.keys()
        assert repr(found) == f"Headers({PAIRS!r})"
        with pytest.raises(KeyError):
            found["host"]
        if isinstance(fields, Headers):
            assert "content-type" not in fields and "x-sum" not in fields
        else:
            assert "CONTENT_TYPE" not in fields and "HTTP_X_SUM" not in fields

    both(look, [SENT])


def test_content_that_nobody_read_has_none() -> None:
    kept: list[Any] = []

    def look(trailers: Any, body: Any, fields: Any) -> None:
        kept.append(trailers())

    # The rest is dropped after the answer, and the connection goes on.
    assert both(look, [SENT, SENT]) == ([None] * 4, 4)
    assert [trailers.pairs for trailers in kept] == [[]] * 4


def test_those_of_one_request_are_not_the_next_ones_and_can_be_kept() -> None:
    kept: list[Any] = []

    def look(trailers: Any, body: Any, fields: Any) -> None:
        kept.append(trailers())
        body.read()

    other = post_chunked(b"x", last=b"0\r\nOther: 1\r\n\r\n")
    both(look, [SENT + other + post_chunked(b"y") + SENT])
    assert [trailers.pairs for trailers in kept] == [PAIRS, [("Other", "1")], [], PAIRS] * 2


def test_what_breaks_off_in_them_raises_and_shows_none() -> None:
    def look(trailers: Any, body: Any, fields: Any) -> Any:
        try:
            return body.read()
        except BodyError:
            return trailers().pairs

    found: list[Any] = []

    def handler(request: Any) -> str:
        found.append(look(lambda: request.trailers, request.body, None))
        return ""

    for bad in (b"X : y\r\n\r\n", b"Host: a\r\n\r\n", b"", b"X: y\r\n"):
        exchange(handler, [post_chunked(b"abc", last=b"0\r\n" + LINES + bad)])
    assert found == [[]] * 4


@pytest.mark.parametrize("data", [request(), post(b"abc")], ids=["without content", "of known length"])
def test_what_is_not_chunked_has_none(data: bytes) -> None:
    found: list[Any] = []

    def handler(request: Any) -> str:
        request.body.read()
        found.append(request.trailers.pairs)
        return ""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        found.append("greenhttp.trailers" in environ)
        start_response("200 OK", [])
        return []

    exchange(handler, [data])
    exchange(app, [post_chunked(b"x") + data])
    assert found == [[], True, False]


def test_another_protocol_gives_those_it_has() -> None:
    class Followed(Content):
        def trailers(self) -> list[tuple[str, str]]:
            return PAIRS

    class Kind(Message):
        content = Followed

    found: list[Any] = []

    def handler(request: Any) -> str:
        found.append(request.trailers.pairs)
        request.body.read()
        found.append(request.trailers.pairs)
        return ""

    converse(handler, message(post_chunked(b"abc"), Kind))
    converse(handler, message(post_chunked(b"abc")))
    assert found == [[], PAIRS, [], []]


def test_a_hook_after_the_request_finds_them_as_in_gunicorn() -> None:
    found: list[Any] = []

    def before(worker: Any, req: Any) -> None:
        found.append(req.trailers)

    def after(worker: Any, req: Any, environ: Any, resp: Any) -> None:
        found.append(req.trailers)

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["wsgi.input"].read()
        start_response("200 OK", [])
        return []

    log: list[Any] = []
    with service_of(app, log, {}) as service:
        service.attach(WSGI(app, service.settings, around(None, before, after)))
        for data in (SENT, post(b"abc")):
            connection = connect_memory(service, MemoryStream([data]))
            while connection.state != State.CLOSED:
                gevent.idle()
    assert found == [[], [("CONTENT-TYPE", "text/plain"), ("X-SUM", "a"), ("X-SUM", "b")], [], []]
