"""Request IDs: given by trusted peers or made, told to the application, sent back, and named in the log."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
from gevent.event import Event

from greenhttp import HTTPError, Response
from greenhttp.errors import ConfigError
from greenhttp.hosting import errors
from greenhttp.hosting.hooks import around
from greenhttp.server import Server
from greenhttp.settings.values import Settings
from tests.http.apps import HOST, hello, post, post_chunked, request
from tests.http.client import Client
from tests.http.test_limits import Gate, get
from tests.log_lines import without_peer

MADE = "[0-9a-f]{32}"
X = "X-Request-Id"


def native(request: Any) -> str:
    assert request.id == request.id
    return str(request.id)


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [environ.get("greenhttp.request_id", "-").encode()]


def asked(*fields: bytes) -> bytes:
    return request(b"GET / HTTP/1.1", *fields)


def made(text: str | bytes | None) -> bool:
    text = text.decode() if isinstance(text, bytes) else text
    return text is not None and re.fullmatch(MADE, text) is not None


ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/@:"
GIVEN = [
    b"a",
    b"7f3a",
    b"Root=1-67891233-abcdef012345678912345678",  # Amazon's
    b"f47ac10b-58cc-4372-a567-0e02b2c3d479",
    b"host/8a:4+c.d_e@f==",
    ALPHABET,
    b"x" * 128,
]
NOT_BELIEVED = [b"", b"x" * 129, b"a b", b"a,b", b'"a"', b"a\tb", b"a\\b", b"a;b", b"a]b", b"a%20b", b"\xe9", b"a\x80"]


@pytest.mark.parametrize("app", [native, wsgi])
@pytest.mark.parametrize("value", GIVEN)
def test_a_trusted_peer_gives_it(talk: Any, app: Any, value: bytes) -> None:
    assert talk(app, asked(b"x-request-ID:  " + value + b" ")).only.content == value


def test_each_character_of_the_alphabet_and_no_other(talk: Any) -> None:
    values = [b"a" + bytes([byte]) for byte in range(0x21, 0x7F)]
    contents = talk(native, *[asked(b"X-Request-Id: " + value) for value in values]).contents
    assert len(contents) == len(values)
    for value, content in zip(values, contents, strict=True):
        assert content == value if value[1] in ALPHABET else made(content)


@pytest.mark.parametrize("value", NOT_BELIEVED)
def test_one_that_cannot_be_believed_is_passed_over_and_never_refused(talk: Any, value: bytes) -> None:
    field = b"X-Request-Id: " + value
    assert made(talk(native, asked(field)).only.content)
    assert talk(wsgi, asked(field)).only.content == b"-"
    assert made(talk(wsgi, asked(field), request_id_header=X).only.content)


def test_two_are_none(talk: Any) -> None:
    fields = b"X-Request-Id: a", b"X-Request-Id: a"
    assert made(talk(native, asked(*fields)).only.content)
    assert talk(wsgi, asked(*fields)).only.content == b"-"


def test_each_request_has_another(talk: Any) -> None:
    contents = talk(native, *[asked()] * 20).contents
    assert len(set(contents)) == 20 and all(map(made, contents))


def test_the_field_itself_reaches_the_application_as_it_came(talk: Any) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [environ["HTTP_X_REQUEST_ID"].encode()]

    assert talk(app, asked(b"X-Request-Id: a b"), request_id_header=X).only.content == b"a b"


@pytest.mark.parametrize(
    ("allowed", "believed"), [("127.0.0.1", True), ("*", True), ("10.0.0.1,::1,unix", False), ("", False)]
)
def test_a_stranger_gives_none(serve: Any, allowed: str, believed: bool) -> None:
    field = b"X-Request-Id: mine"
    answer = serve(native, forwarded_allow_ips=allowed).ask(asked(field))
    assert answer.content == b"mine" if believed else made(answer.content)
    assert serve(wsgi, forwarded_allow_ips=allowed).ask(asked(field)).content == (b"mine" if believed else b"-")
    answer = serve(wsgi, forwarded_allow_ips=allowed, request_id_header=X).ask(asked(field))
    assert answer.content.decode() == answer.get(X)
    assert answer.content == b"mine" if believed else made(answer.content)


@pytest.mark.parametrize("name", ["X-Request-Id", "X-Correlation-Id", "Shop-Request"])  # known names, and another
def test_the_setting_names_the_field_both_ways(talk: Any, name: str) -> None:
    fields = [f"{each}: {each.lower()}".encode() for each in ("X-Request-Id", "X-Correlation-Id", "Shop-Request")]
    for app in (native, wsgi):
        answer = talk(app, asked(*fields), request_id_header=name).only
        assert answer.content == name.lower().encode()
        assert answer.get(name) == name.lower()
        assert len([each for each, _ in answer.fields if each.lower() in ("x-request-id", "shop-request")]) <= 1


def test_without_the_setting_nothing_is_sent(talk: Any) -> None:
    for app in (native, wsgi):
        for fields in ((), (b"X-Request-Id: a",)):
            assert X.lower() not in talk(app, asked(*fields)).only.names


# ---- sent back under every kind of answer


def failing(request: Any) -> str:
    raise LookupError("no such shelf")


def refusing(request: Any) -> str:
    raise HTTPError(404, "no such shelf")


def pieces(request: Any) -> Any:
    yield b"a"
    yield b"b"


def breaking(request: Any) -> Any:
    raise LookupError("before its first piece")
    yield b""


def reading(request: Any) -> bytes:
    return bytes(request.body.read())


def nothing(request: Any) -> Response:
    return Response(b"", 204)


def hinting(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response.inform("103 Early Hints", [("Link", "</a>")])
    start_response("200 OK", [])
    return [b"x"]


def writing(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])(b"x")
    return []


def second_thoughts(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [(X, "of the first")])
    start_response("500 No", [], (ValueError, ValueError(), None))
    return [b"x"]


CONTRADICTION = asked(b"X-Forwarded-Proto: https", b"X-Forwarded-Ssl: off", b"X-Request-Id: given")
GIVES = b"X-Request-Id: given"


@pytest.mark.parametrize(
    ("app", "data", "status", "settings"),
    [
        (native, asked(GIVES), 200, {}),
        (native, asked(GIVES).replace(b"GET", b"HEAD", 1), 200, {}),
        (native, asked(GIVES).replace(b"HTTP/1.1", b"HTTP/1.0", 1), 200, {}),
        (wsgi, asked(GIVES), 200, {}),
        (pieces, asked(GIVES), 200, {}),
        (writing, asked(GIVES), 200, {}),
        (nothing, asked(GIVES), 204, {}),
        (refusing, asked(GIVES), 404, {}),
        (failing, asked(GIVES), 500, {}),
        (breaking, asked(GIVES), 500, {}),
        (failing, asked(GIVES), 500, {"debug": True}),
        (second_thoughts, asked(GIVES), 500, {}),
        (hello, CONTRADICTION, 400, {}),
        (native, CONTRADICTION, 400, {}),
        (reading, post(b"x" * 11, GIVES), 413, {"limit_request_body": 10}),
        (hello, post(b"x" * 11, GIVES), 413, {"limit_request_body": 10}),
    ],
)  # fmt: skip
def test_every_answer_tells_it(talk: Any, app: Any, data: bytes, status: int, settings: Any) -> None:
    answer = talk(app, data, request_id_header=X, **settings).only
    assert (answer.status, answer.get(X)) == (status, "given")


def test_a_refused_chunked_request_that_is_gathered_tells_it(talk: Any) -> None:
    data = post_chunked(b"x" * 11).replace(HOST, HOST + GIVES + b"\r\n", 1)
    answer = talk(hello, data, request_id_header=X, limit_request_body=10, gather_chunked=100).only
    assert (answer.status, answer.get(X)) == (413, "given")


def test_an_early_hint_does_not_and_the_answer_behind_it_does(talk: Any) -> None:
    hint, answer = talk(hinting, asked(GIVES), request_id_header=X).answers
    assert (hint.status, hint.get(X)) == (103, None)
    assert (answer.status, answer.get(X)) == (200, "given")


@pytest.mark.parametrize("name", ["X-Request-Id", "x-request-id", "X-REQUEST-ID"])
def test_an_application_s_own_field_wins(talk: Any, name: str) -> None:
    def own(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [("A", X), (name, "own"), ("X-Request-Id-2", "b")])
        return [b"x"]

    def own_native(request: Any) -> Response:
        return Response("x", headers={"A": X, name: "own", "X-Request-Id-2": "b"})

    for app in (own, own_native):
        answer = talk(app, asked(GIVES), request_id_header=X).only
        assert [value for each, value in answer.fields if each.lower() == "x-request-id"] == ["own"]


def test_fields_that_look_like_it_do_not_hide_it(talk: Any) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 X-Request-Id: no", [("X-Request-Id-2", "b"), ("AX-Request-Id", "c"), ("C", "X-Request-Id")])
        return [b"x"]

    assert talk(app, asked(GIVES), request_id_header=X).only.get(X) == "given"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (request(b"GET / HTTP/1.1", *[b"A: b"] * 200), 431),
    ],
)
def test_a_refusal_of_what_is_no_request_has_a_new_one(serve: Any, data: bytes, status: int) -> None:
    answer = serve(hello, request_id_header=X).ask(data)
    assert answer.status == status and made(answer.get(X))
    assert X.lower() not in serve(hello).ask(data).names


def test_a_time_out_of_a_head_has_a_new_one(serve: Any) -> None:
    answer = serve(hello, request_id_header=X, header_timeout=0.05).ask(b"GET / HTTP/1.1\r\n")
    assert answer.status == 408 and made(answer.get(X))


def lines(caplog: Any) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_who_is_refused_by_a_full_queue_is_told_its_own(serve: Any, caplog: Any) -> None:
    caplog.set_level(logging.INFO, "greenhttp")
    gate = Gate()
    serving = serve(gate, concurrency=1, queue=0, request_id_header=X)
    inside = serving.connect().send(get("/wait"))
    serving.until(lambda: serving.count("running"))
    answer = serving.ask(request(b"GET /x HTTP/1.1", GIVES))
    assert (answer.status, answer.get(X)) == (503, "given")
    gate.opened.set()
    assert made(inside.answer().get(X))
    serving.until(lambda: caplog.records)
    (line,) = lines(caplog)
    assert " [given]: GET /x: refused with 503: " in line


def test_request_timeout_tells_it_in_answer_and_log(serve: Any, caplog: Any) -> None:
    def stays(request: Any) -> str:
        Event().wait()
        return ""

    serving = serve(stays, request_timeout=0.05, request_id_header=X)
    answer = serving.ask(asked(GIVES))
    assert (answer.status, answer.get(X)) == (503, "given")
    serving.until(lambda: caplog.records)
    assert " [given]: GET /: the request ran longer than 0.05 s (request_timeout)" in lines(caplog)[0]


def test_a_stop_that_cuts_tells_it_in_answer_and_log(serve: Any, caplog: Any) -> None:
    def stays(request: Any) -> str:
        Event().wait()
        return ""

    caplog.set_level(logging.INFO, "greenhttp")
    serving = serve(stays, request_id_header=X, concurrency=1)
    clients = [serving.connect().send(asked(b"X-Request-Id: first"))]
    serving.until(lambda: serving.count("running"))
    clients.append(serving.connect().send(asked(b"X-Request-Id: second")))
    serving.until(lambda: serving.count("queued"))
    serving.server.stop(0.05)
    answers = [client.answer() for client in clients]
    assert [(answer.status, answer.get(X)) for answer in answers] == [(503, "first"), (503, "second")]
    said = "\n".join(lines(caplog))
    assert re.search(r" \[first\]: GET /: running, at ", said) and re.search(r" \[second\]: GET /: queued for ", said)


# ---- in the log


def test_lines_of_a_request_with_an_id_name_it(talk: Any) -> None:
    assert [line.message for line in talk(failing, asked(GIVES)).log] == [
        "[given]: GET /: LookupError in the application"
    ]

    def asks(request: Any) -> str:
        request.id  # noqa: B018
        raise LookupError

    (line,) = talk(asks, asked()).log
    assert re.fullmatch(rf"\[{MADE}\]: GET /: LookupError in the application", line.message)


def test_lines_of_a_request_without_one_are_as_ever(talk: Any) -> None:
    for fields in ((), (b"X-Request-Id: a b",)):
        assert [line.message for line in talk(failing, asked(*fields)).log] == ["GET /: LookupError in the application"]


def test_answer_application_and_log_have_the_same(talk: Any) -> None:
    seen = []

    def app(request: Any) -> str:
        seen.append(request.id)
        raise LookupError

    talked = talk(app, asked(), request_id_header=X)
    assert talked.only.get(X) == seen[0]
    assert [line.message for line in talked.log] == [f"[{seen[0]}]: GET /: LookupError in the application"]


def test_a_record_of_the_log_has_it_apart(serve: Any, caplog: Any) -> None:
    serving = serve(failing, request_id_header=X)
    for data, method, said, id in (
        (asked(b"X-Request-Id: a:b/c"), "GET", "GET /", "a:b/c"),
        (request(b"GET /a:b HTTP/1.1", GIVES), "GET", None, "given"),  # such a path is not told from what follows
        (request(b"POST /x?y HTTP/1.1", GIVES), "POST", "POST /x", "given"),
    ):
        caplog.clear()
        serving.ask(data, method)
        serving.until(lambda: caplog.records)
        (record,) = caplog.records
        assert (record.request_id, record.request) == (id, said)
        assert re.fullmatch(r"127\.0\.0\.1:\d+", record.peer)
        assert record.getMessage().startswith(f"{record.peer} [{id}]: ")
    caplog.clear()
    plain = serve(failing)
    plain.ask(request(b"GET /[x]: HTTP/1.1"))
    serving.until(lambda: caplog.records)
    assert caplog.records[0].request_id is None, "a path is no ID"
    assert without_peer(caplog.records[0].getMessage()).startswith("GET /[x]:: LookupError")


def test_what_is_written_to_wsgi_errors_has_it(serve: Any, monkeypatch: Any) -> None:
    entries: list[Any] = []
    monkeypatch.setattr(errors, "sink", lambda source, text: entries.append((source, text)))

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["wsgi.errors"].write("odd\n")
        start_response("200 OK", [])
        return []

    serving = serve(app)
    serving.ask(asked(GIVES))
    serving.ask(asked())
    assert [(source.id, text) for source, text in entries] == [("given", "odd"), ("", "odd")]
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+", source.peer) for source, _ in entries)


def test_a_hook_that_fails_after_the_answer_names_it(caplog: Any) -> None:
    def fails(*_: Any) -> None:
        raise LookupError

    server = Server(hello, bind="127.0.0.1:0")
    server.hooks = around(None, None, fails)
    server.start()
    try:
        for fields in ((GIVES,), ()):
            client = Client(server.address)
            assert client.ask(asked(*fields)).status == 200
            client.close()
        said = [record.getMessage().removeprefix(record.peer) for record in caplog.records]
        assert said == [" [given]: GET /: post_request failed", ": GET /: post_request failed"]
        assert [record.request_id for record in caplog.records] == ["given", None]
        assert [record.request for record in caplog.records] == ["GET /"] * 2
        for record in caplog.records:
            assert re.fullmatch(r"127\.0\.0\.1:\d+", record.peer)
    finally:
        server.stop(0)


def test_a_hook_that_fails_lets_no_client_write_lines_of_the_log(caplog: Any) -> None:
    server = Server(hello, bind="127.0.0.1:0")
    server.hooks = around(None, None, lambda *_: 1 / 0)
    server.start()
    try:
        client = Client(server.address)
        assert client.ask(b"GET /%0AINFO%20a?b HTTP/1.1\r\nHost: x\r\n\r\n").status == 200
        client.close()
        (record,) = caplog.records
        assert record.getMessage() == f"{record.peer}: GET /%0AINFO%20a: post_request failed"
    finally:
        server.stop(0)


# ---- the environ


def test_a_request_with_many_fields_has_it_too(talk: Any) -> None:
    fields = [f"X-{n}: {n}".encode() for n in range(40)]
    assert talk(wsgi, asked(*fields, GIVES)).only.content == b"given"


def test_it_is_not_left_to_the_next_request(talk: Any) -> None:
    contents = talk(wsgi, asked(GIVES), asked(), asked(b"X-Request-Id: b"), asked()).contents
    assert contents == [b"given", b"-", b"b", b"-"]


# ---- the setting


@pytest.mark.parametrize("name", ["Content-Length", "connection", "Transfer-Encoding", "Date"])
def test_a_field_of_the_server_s_own_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"request_id_header: {name} is set by the server itself"):
        Settings(request_id_header=name)
