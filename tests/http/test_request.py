"""greenhttp/http/request.pyx with hosting.wsgi: what the application gets. Numbers are rules of the wire contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from greenhttp.testing import every_split, exchange
from tests.answers import only
from tests.http.apps import chunks, post, post_chunked, request
from tests.http.conftest import Talk

CONTENT = b"first line\nsecond\n\nlast without end"


def reading(read: Callable[[Any], Any]) -> tuple[Any, list[Any]]:
    """An application that reads its content so, and where it leaves what it got."""
    got: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        got.append(read(environ["wsgi.input"]))
        start_response("200 OK", [])
        return []

    return app, got


def in_bits(body: Any) -> bytes:
    bits = []
    while bit := body.read(3):
        assert len(bit) == 3 or body.read(1) == b""
        bits.append(bit)
    return b"".join(bits)


def mixed(body: Any) -> bytes:
    return body.read(2) + body.readline() + body.readline(3) + body.read(1) + body.read_some(2) + body.read()


def bounded_lines(body: Any) -> bytes:
    bits = []
    while bit := body.readline(4):
        assert len(bit) <= 4
        bits.append(bit)
    return b"".join(bits)


def whatever_is_there(body: Any) -> bytes:
    bits = []
    while bit := body.read_some():
        bits.append(bit)
    return b"".join(bits)


@pytest.mark.parametrize(
    "read",
    [
        lambda body: body.read(),
        lambda body: body.read(-1),
        lambda body: body.read(None),
        lambda body: body.read(10**9),
        lambda body: b"".join(body),
        lambda body: b"".join(body.readlines()),
        lambda body: b"".join([body.readline() for _ in range(10)]),
        in_bits,
        mixed,
        bounded_lines,
        whatever_is_there,
    ],
)
@pytest.mark.parametrize("make", [post, lambda content: post_chunked(content[:7], content[7:8], content[8:])])
def test_content_is_the_same_however_it_arrives_and_is_read(read: Any, make: Any, talk: Talk) -> None:
    for pieces in every_split(make(CONTENT)):
        app, got = reading(read)
        assert talk(app, pieces, request()).statuses == [200, 200]
        assert sorted(got) == [b"", CONTENT]


def test_lines_end_with_a_line_feed(talk: Talk) -> None:
    app, got = reading(lambda body: body.readlines())
    talk(app, post(CONTENT))
    assert got == [[b"first line\n", b"second\n", b"\n", b"last without end"]]


def test_readlines_stops_at_its_hint(talk: Talk) -> None:
    app, got = reading(lambda body: (body.readlines(12), body.readlines(0)))
    talk(app, post(CONTENT))
    assert got == [([b"first line\n", b"second\n"], [b"\n", b"last without end"])]


def test_an_end_stays_an_end(talk: Talk) -> None:
    app, got = reading(lambda body: [body.read(), body.read(), body.read(5), body.readline(), body.readlines()])
    for data in (post(b"abc"), post_chunked(b"abc")):
        talk(app, data)
    assert got == [[b"abc", b"", b"", b"", []]] * 2


def test_reading_nothing_reads_nothing(talk: Talk) -> None:
    app, got = reading(lambda body: [body.read(0), body.readline(0), body.read_some(0), body.read()])
    talk(app, post(b"abc"))
    assert got == [[b"", b"", b"", b"abc"]]


def test_a_large_body_is_read_whole(talk: Talk) -> None:
    content = bytes(range(256)) * 8192
    app, got = reading(lambda body: body.read())
    talk(app, post(content))
    talk(app, post_chunked(*[content[i : i + 9999] for i in range(0, len(content), 9999)]))
    assert got == [content, content]


def test_memory_grows_with_what_arrives_not_with_what_was_announced(talk: Talk) -> None:
    import tracemalloc

    app, got = reading(lambda body: body.read())
    data = request(b"POST / HTTP/1.1", b"Content-Length: 1000000000", content=b"x")
    tracemalloc.start()
    try:
        talk(app, data, body_timeout=0.01)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def environ_of(data: bytes, **settings: Any) -> dict[str, Any]:
    got: list[dict[str, Any]] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        got.append(dict(environ))
        start_response("200 OK", [])
        return []

    for pieces in every_split(data):
        assert only(exchange(app, pieces, **settings).sent).status == 200
    for environ in got:
        for key in ("wsgi.input", "wsgi.errors", "greenhttp.trailers"):  # of each request, or server, its own
            environ.pop(key, None)
    assert all(environ == got[0] for environ in got)
    return got[0]


# ---- 3 and 5: the target and Host


def test_3_the_host_of_an_absolute_target_replaces_host() -> None:
    environ = environ_of(b"GET http://Example.com:80/a?b HTTP/1.1\r\nHost: example.com\r\n\r\n")
    assert environ["HTTP_HOST"].lower() in ("example.com", "example.com:80")
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == ("/a", "b")


def test_3_an_absolute_target_on_1_0_gives_the_host() -> None:
    assert environ_of(b"GET http://a.example/ HTTP/1.0\r\n\r\n")["HTTP_HOST"] == "a.example"


def test_3_the_path_is_decoded_and_the_raw_target_kept() -> None:
    environ = environ_of(request(b"GET /a%20b%2Fc%zz%4?x=%20 HTTP/1.1"))
    assert environ["PATH_INFO"] == "/a b/c%zz%4"
    assert (environ["QUERY_STRING"], environ["RAW_URI"]) == ("x=%20", "/a%20b%2Fc%zz%4?x=%20")


def test_3_a_later_minor_version_is_1_1() -> None:
    assert environ_of(request(b"GET / HTTP/1.9"))["SERVER_PROTOCOL"] == "HTTP/1.1"


# ---- 9: trailers


def test_9_trailers_are_never_merged_into_fields() -> None:
    environ_before = environ_of(post_chunked(b"abc"))
    environ_after = environ_of(post_chunked(b"abc", last=b"0\r\nX-Trailer: 1\r\nUser-Agent: 2\r\n\r\n"))
    assert environ_before == environ_after


# ---- 14: fields in the environ


def test_14_names_with_underscores_and_proxy_are_dropped_and_logged_once() -> None:
    got: list[dict[str, Any]] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        got.append(environ)
        start_response("200 OK", [])
        return []

    data = request(b"GET / HTTP/1.1", b"X_Real_Ip: evil", b"X-Real-Ip: good", b"Proxy: http://evil/")
    outcome = exchange(app, [data * 3])
    assert [environ["HTTP_X_REAL_IP"] for environ in got] == ["good"] * 3
    assert all("HTTP_PROXY" not in environ for environ in got)
    assert [record.level for record in outcome.log] == ["warning"]


def test_14_both_can_be_allowed_by_name() -> None:
    data = request(b"GET / HTTP/1.1", b"X_Own: a", b"Proxy: b")
    environ = environ_of(data, allow_headers="x_own, proxy")
    assert (environ["HTTP_X_OWN"], environ["HTTP_PROXY"]) == ("a", "b")


@pytest.mark.parametrize("coding", [b"Transfer-Encoding: chunked", b"transfer-encoding:  CHUNKED "])
@pytest.mark.parametrize("more", [[], [b"Transfer_Encoding: gzip"]])
def test_7_a_coding_that_is_undone_is_not_shown(coding: bytes, more: list[bytes]) -> None:
    data = request(b"POST / HTTP/1.1", *more, coding, *more, b"A: b", content=chunks(b"abc"))
    environ = environ_of(data, allow_headers="transfer_encoding")
    assert "HTTP_TRANSFER_ENCODING" not in environ and "CONTENT_LENGTH" not in environ
    assert (environ["HTTP_A"], environ["wsgi.input_terminated"]) == ("b", True)


def test_14_repeated_fields_are_joined() -> None:
    lines = [b"A: 1", b"Cookie: a=1", b"A: 2", b"Accept: x", b"Cookie: b=2", b"A:", b"accept: y", b"Unknown-Name: z"]
    environ = environ_of(request(b"GET / HTTP/1.1", *lines))
    assert environ["HTTP_A"] == "1, 2, "
    assert environ["HTTP_COOKIE"] == "a=1; b=2"
    assert environ["HTTP_ACCEPT"] == "x, y"
    assert environ["HTTP_UNKNOWN_NAME"] == "z"


def test_14_nothing_of_one_environ_is_in_the_next() -> None:
    got: list[dict[str, Any]] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        got.append(dict(environ))
        environ["mine"] = environ["HTTP_COOKIE"] = environ["SCRIPT_NAME"] = "leaked"
        start_response("200 OK", [])
        return []

    exchange(app, [request(b"GET /?q HTTP/1.1", b"Cookie: a", b"Own: b") + post(b"c") + request()])
    first, second, third = got
    assert not {"HTTP_COOKIE", "HTTP_OWN", "mine"} & (set(second) | set(third))
    assert "CONTENT_LENGTH" in second and "CONTENT_LENGTH" not in third
    assert (first["QUERY_STRING"], second["QUERY_STRING"], third["SCRIPT_NAME"]) == ("q", "", "")


def test_content_type_and_length_have_no_prefix() -> None:
    environ = environ_of(request(b"POST / HTTP/1.1", b"Content-Type: a/b", b"Content-Length: 1", content=b"x"))
    assert (environ["CONTENT_TYPE"], environ["CONTENT_LENGTH"]) == ("a/b", "1")
    assert not {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"} & set(environ)


# ---- 1 and 2: bytes, not text


def test_1_latin_1_whitespace_is_kept() -> None:
    assert environ_of(request(b"GET / HTTP/1.1", b"A: \x85x\xa0"))["HTTP_A"] == "\x85x\xa0"
