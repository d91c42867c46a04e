"""http/accept.py and what follows from it: errors are answered as JSON to those who prefer it (RFC 9110 12.5.1)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from gevent.event import Event

from greenhttp import HTTPError
from greenhttp.http.accept import prefers_json
from greenhttp.http.json_text import error_as_json
from greenhttp.testing import Outcome, exchange
from tests.answers import Answer, answers, only
from tests.http.apps import post, request
from tests.http.carriers import over_messages

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
JSON = b"Accept: application/json"
TEXT = b"Accept: text/html"
BAD_CHUNK = request(b"POST / HTTP/1.1", JSON, b"Transfer-Encoding: chunked", content=b"x\r\n")


@pytest.mark.parametrize(
    "accept",
    [
        "application/json",
        "APPLICATION/JSON",
        "application/json; charset=utf-8",
        "application/json;q=0.001",
        "application/json, */*;q=0.5",
        "text/html;q=0.5, application/json",
        "text/html;q=0.5,application/json ; q=0.6",
        "application/*",
        "application/*, text/*;q=0.9",
        "*/*;q=0.1, application/json;q=0.2",
        "text/*;q=0, */*;q=0.1, application/json;q=0.1",
        "application/json, text/javascript, */*; q=0.01",
        "application/json, text/plain, */*",  # axios
        "application/json;q=0.5, text/plain;q=0.5",
        "application/json, text/plain;q=1.0",
        "application/json;q=0, application/json;q=1",
        ", ,application/json,",
    ],
)
def test_who_prefers_json(accept: str) -> None:
    assert prefers_json(accept)


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        BROWSER,
        "text/html",
        "text/plain, application/json;q=0.9",
        "application/json, text/html",
        "application/json;q=0",
        "application/json;q=0, */*",
        "application/json;q=0.000, */*;q=0",
        "application/xml",
        "application/problem+json",
        "application/*, text/*",
        "application/*, */*",
        "application/json;q=2",
        "application/json;q=0.1234",
        "application/json;q=",
        "application/json;q=nan",
        "application/json;q=-1",
        "applicationjson",
        "json",
        "application/",
        "text/*, application/json;q=0.5",
        ";q=1",
    ],
)
def test_who_does_not(accept: str) -> None:
    assert not prefers_json(accept)


def test_an_endless_field_is_read_in_no_time() -> None:
    assert prefers_json("application/json;" + ";" * 60_000 + "," * 60_000)
    assert not prefers_json("application/json;q=" + "0" * 60_000)


def test_the_content_of_an_error() -> None:
    assert error_as_json(404, 'no "é"') == '{"error":{"status":404,"message":"no \\"é\\""}}\n'.encode()
    assert error_as_json(500, "a", "b") == b'{"error":{"status":500,"message":"a","traceback":"b"}}\n'
    assert json.loads(error_as_json(500, "\ud800"))["error"]["message"] == "\ud800"  # said, and nothing breaks


# ---- what the server itself answers


def said(answer: Answer) -> Any:
    """(status, message) of an error that was answered as JSON."""
    assert answer.get("Content-Type") == "application/json"
    error = json.loads(answer.content)["error"]
    assert error["status"] == answer.status
    return answer.status, error["message"]


def refusing(request: Any) -> Any:
    raise HTTPError(404, "no such pâge", {"X-A": "b"})


def broken(request: Any) -> Any:
    raise RuntimeError("secret")


def broken_wsgi(environ: Any, start_response: Any) -> Any:
    raise RuntimeError("secret")


def broken_generator(environ: Any, start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield b""
    raise RuntimeError("secret")


def reading(request: Any) -> Any:
    return request.body.read()


def reading_wsgi(environ: Any, start_response: Any) -> Any:
    content = environ["wsgi.input"].read()
    start_response("200 OK", [])
    return [content]


def get(*fields: bytes) -> bytes:
    return request(b"GET /x HTTP/1.1", *fields)


def test_an_http_error_is_json_for_who_prefers_it(talk: Any) -> None:
    first, second, third = talk(refusing, get(JSON), get(), get(TEXT)).answers
    assert said(first) == (404, "no such pâge")
    assert first.get("X-A") == "b"
    for other in (second, third):
        assert (other.content, other.get("Content-Type")) == ("no such pâge\n".encode(), "text/plain; charset=utf-8")


def test_several_fields_are_one_list(talk: Any) -> None:
    conversation = talk(broken, get(b"Accept: text/html;q=0.5", b"aCCEPT: application/json"))
    assert said(conversation.only) == (500, "Internal Server Error")


def test_an_http_error_in_a_generator_too(talk: Any) -> None:
    def handler(request: Any) -> Iterator[bytes]:
        raise HTTPError(403)
        yield b""

    assert said(talk(handler, get(JSON)).only) == (403, "Forbidden")


def test_an_http_error_with_a_type_of_its_own_stays_as_it_is() -> None:
    def handler(request: Any) -> Any:
        raise HTTPError(404, "<p>no", [("content-type", "text/html")])

    answer = only(exchange(handler, [get(JSON)]).sent)
    assert (answer.content, answer.get("Content-Type"), answer.get("Vary")) == (b"<p>no\n", "text/html", None)


@pytest.mark.parametrize(("status", "vary"), [(404, "Accept"), (410, "Accept"), (405, "Accept"), (403, None)])
@pytest.mark.parametrize("field", [JSON, TEXT])
def test_what_caches_keep_says_what_it_depends_on(status: int, vary: str | None, field: bytes) -> None:
    def handler(request: Any) -> Any:
        raise HTTPError(status)

    assert only(exchange(handler, [get(field)]).sent).get("Vary") == vary


def test_a_head_request_is_told_the_same_without_content() -> None:
    answer = only(exchange(refusing, [get(JSON).replace(b"GET", b"HEAD")]).sent, "HEAD")
    assert (answer.status, answer.content, answer.get("Content-Type")) == (404, b"", "application/json")


@pytest.mark.parametrize("app", [broken, broken_wsgi, broken_generator])
def test_a_500_is_json_and_still_says_nothing(talk: Any, app: Any) -> None:
    first, second = talk(app, get(JSON), get(TEXT)).answers
    assert said(first) == (500, "Internal Server Error")
    assert (second.content, second.get("Content-Type")) == (b"Internal Server Error\n", "text/plain")


@pytest.mark.parametrize("app", [broken, broken_wsgi, broken_generator])
def test_accept_of_one_request_is_not_that_of_the_next(app: Any) -> None:
    found = answers(exchange(app, [get(JSON) + get() + get(JSON), get()]).sent)
    assert [answer.get("Content-Type") for answer in found] == ["application/json", "text/plain"] * 2


def test_debug_shows_the_traceback_in_json_too() -> None:
    answer = only(exchange(broken, [get(JSON)], debug=True).sent)
    assert said(answer) == (500, "Internal Server Error")
    assert "RuntimeError: secret" in json.loads(answer.content)["error"]["traceback"]
    answer = only(exchange(broken, [get()], debug=True).sent)
    assert b"RuntimeError: secret" in answer.content
    assert answer.get("Content-Type") == "text/plain; charset=utf-8"


@pytest.mark.parametrize("app", [reading, reading_wsgi])
@pytest.mark.parametrize(
    ("data", "settings", "expected"),
    [
        ([post(b"hello", JSON)[:-1]], {}, (400, "Bad Request")),
        ([post(b"hello", JSON)], {"limit_request_body": 4}, (413, "Content Too Large")),
        ([BAD_CHUNK], {}, (400, "Bad Request")),
    ],
)
def test_content_that_is_refused(app: Any, data: list[bytes], settings: Any, expected: Any) -> None:
    assert said(only(exchange(app, data, **settings).sent)) == expected


@pytest.mark.parametrize("app", [reading, reading_wsgi])
def test_content_that_does_not_come(app: Any) -> None:
    outcome = exchange(app, [post(b"hello", JSON)[:-1]], keep_open=True, body_timeout=0.02)
    assert said(only(outcome.sent)) == (408, "Request Timeout")


def test_a_request_that_takes_too_long(talk: Any) -> None:
    def handler(request: Any) -> Any:
        gevent.sleep(30)

    assert said(talk(handler, get(JSON), request_timeout=0.02).only) == (503, "Service Unavailable")


def test_a_scheme_that_is_contradicted() -> None:
    fields = (JSON, b"X-Forwarded-Proto: https", b"X-Forwarded-Ssl: off")
    outcome = exchange(reading_wsgi, [get(*fields)], forwarded_allow_ips="*")
    assert said(only(outcome.sent)) == (400, "Bad Request")


def overloaded(field: bytes) -> list[Answer]:
    """One request runs until the others have been turned away."""
    turned_away = []

    def handler(request: Any) -> str:
        gevent.sleep(0)  # the others have their turn, and are turned away in it
        turned_away.append(request)
        return "ran"

    found = over_messages(handler, get(field), get(field), concurrency=1, queue=0).answers
    assert len(turned_away) == 1
    return [answer for answer in found if answer.status == 503]


def test_a_request_for_which_there_is_no_green_thread() -> None:
    (answer,) = overloaded(JSON)
    assert said(answer) == (503, "Service Unavailable")
    (answer,) = overloaded(TEXT)
    assert (answer.content, answer.get("Content-Type")) == (b"Service Unavailable\n", "text/plain")


@pytest.mark.parametrize("settings", [{"queue": 0}, {"queue_timeout": 0.02}], ids=str)
def test_a_request_that_cannot_be_served_on_a_real_connection(serve: Any, settings: Any) -> None:
    opened = Event()
    serving = serve(lambda request: str(opened.wait()), concurrency=1, **settings)
    first = serving.connect().send(get())
    serving.until(lambda: serving.count("running"))
    answer = serving.connect().ask(get(JSON))
    assert said(answer) == (503, "Service Unavailable")
    assert answer.closes and answer.get("Retry-After")
    head = serving.connect().ask(get(JSON).replace(b"GET", b"HEAD"), "HEAD")
    assert (head.status, head.content, head.get("Content-Type")) == (503, b"", "application/json")
    other = serving.connect().ask(get())
    assert (other.content, other.get("Content-Type")) == (b"Service Unavailable\n", "text/plain")
    opened.set()
    assert first.answer().content == b"True"


@pytest.mark.parametrize(
    "data",
    [
        b"GET /x HTTP/1.1\r\n" + JSON + b"\r\n\r\n",  # no Host
        b"GET /x HTTP/1.1\r\nHost: x\r\n" + JSON + b"\r\nbad\r\n\r\n",
        b"GET /x HTTP/3.0\r\nHost: x\r\n" + JSON + b"\r\n\r\n",
        request(b"GET /" + b"a" * 9000 + b" HTTP/1.1", JSON),
        request(b"TRACE /x HTTP/1.1", JSON),
    ],
)
def test_what_is_no_whole_head_is_answered_with_text(data: bytes) -> None:
    outcome: Outcome = exchange(refusing, [data])
    assert only(outcome.sent).get("Content-Type") == "text/plain"
    assert only(outcome.sent).status in (400, 414, 501, 505)
