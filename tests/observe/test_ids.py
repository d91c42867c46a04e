"""The ID of a request in the access log: the one that application, answer and error log know."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.http.apps import hello, post, request
from tests.http.test_limits import Gate, get

MADE = "[0-9a-f]{32}"
GIVES = b"X-Request-Id: given"


def native(request: Any) -> str:
    return str(request.id)


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [environ["greenhttp.request_id"].encode()]


@pytest.mark.parametrize("app", [native, wsgi])
@pytest.mark.parametrize("form", ["%(s)s %(id)s", "json"])
def test_an_entry_has_what_the_application_was_told(logged: Any, app: Any, form: str) -> None:
    serving = logged(app, form)
    told = [serving.ask(get("/", *fields)).content.decode() for fields in ((), (GIVES,), (b"X-Request-Id: a b",))]
    entries = serving.entries()
    ids = [json.loads(line)["request_id"] for line in entries] if form == "json" else [line[4:] for line in entries]
    assert ids == told and ids[1] == "given"
    assert re.fullmatch(MADE, ids[0]) and re.fullmatch(MADE, ids[2]) and ids[0] != ids[2]


def test_a_handler_that_does_not_ask_has_one_in_the_log(logged: Any) -> None:
    serving = logged(lambda request: "x", "%(s)s %(id)s")
    serving.ask(get("/"))
    (line,) = serving.entries()
    assert re.fullmatch(f"200 {MADE}", line)


def test_other_formats_make_none(logged: Any) -> None:
    serving = logged(lambda request: "x", "%(s)s %({x-request-id}i)s")
    serving.ask(get("/"))
    serving.ask(get("/", b"X-Request-Id: a b"))
    assert serving.entries() == ["200 -", "200 a b"], "the field is what came"
    serving = logged(wsgi, "combined")
    assert serving.ask(get("/")).status == 500, "no key in the environ"


def test_the_error_log_names_what_the_access_log_has(logged: Any, caplog: Any) -> None:
    def fails(request: Any) -> str:
        raise LookupError

    serving = logged(fails, "%(s)s %(id)s")
    serving.ask(get("/"))
    (line,) = serving.entries()
    status, _, id = line.partition(" ")
    assert status == "500" and caplog.records[0].request_id == id


@pytest.mark.parametrize(
    ("data", "settings", "status", "id"),
    [
        (b"GET /\r\n\r\n", {}, 400, MADE),
        (b"\x16\x03", {}, 400, MADE),
        (request(b"GET / HTTP/1.1", GIVES, *[b"A: b"] * 200), {}, 431, MADE),  # its head was not read to the end
        (post(b"x" * 11, GIVES), {"limit_request_body": 10}, 413, "given"),
        (request(b"GET / HTTP/1.1", b"X-Forwarded-Proto: https", b"X-Forwarded-Ssl: off", GIVES), {}, 400, "given"),
    ],
)
def test_refusals_have_one(logged: Any, data: bytes, settings: Any, status: int, id: str) -> None:
    serving = logged(hello, "%(s)s %(id)s", request_id_header="X-Request-Id", **settings)
    answer = serving.ask(data)
    (line,) = serving.entries()
    assert line == f"{status} {answer.get('X-Request-Id')}" and re.fullmatch(f"{status} {id}", line)


def test_who_finds_no_place_in_the_queue_has_its_own(logged: Any) -> None:
    gate = Gate()
    serving = logged(gate, "%(s)s %(id)s", concurrency=1, queue=0)
    first = serving.connect().send(get("/wait", b"X-Request-Id: first"))
    serving.until(lambda: serving.count("running"))
    serving.ask(get("/a", b"X-Request-Id: second"))
    gate.opened.set()
    first.answer()
    assert sorted(serving.entries()) == ["200 first", "503 second"]
