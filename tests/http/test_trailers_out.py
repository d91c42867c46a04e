"""Trailers of answers (RFC 9110 6.5, 6.6.2; RFC 9112 7.1.2): behind chunks, announced, and only what may be there."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import gevent
import pytest

from greenhttp import Response, ResponseError
from greenhttp.green.transport import MemoryStream
from greenhttp.testing import exchange, service_of
from tests.http.apps import request
from tests.http.carriers import Message
from tests.http.conftest import Talk
from tests.system.process import needs

GET = request()

PIECES = [b"one", b"two", b"three"]
SUM = hashlib.sha256(b"".join(PIECES)).hexdigest()


def summed(req: Any) -> Response:
    """A checksum that is known when the content has gone."""
    digest = hashlib.sha256()

    def content() -> Any:
        for piece in PIECES:
            digest.update(piece)
            yield piece

    return Response(content(), trailers={"X-Sum": digest.hexdigest, "X-Count": "3"})


def summed_wsgi(environ: dict[str, Any], start_response: Any) -> Any:
    start_response("200 OK", [])
    digest = hashlib.sha256()
    start_response.add_trailer("X-Sum", digest.hexdigest)
    start_response.add_trailer("X-Count", None)
    for piece in PIECES:
        digest.update(piece)
        yield piece
    start_response.add_trailer("X-Count", "3")


@pytest.mark.parametrize("app", [summed, summed_wsgi])
def test_values_known_at_the_end_follow_the_content_and_are_announced(app: Any) -> None:
    outcome = exchange(app, [GET * 2], keep_open=True)
    assert outcome.sent.count(b"\r\nTrailer: X-Sum, X-Count\r\n") == 2
    assert outcome.sent.count(b"three\r\n0\r\nX-Sum: " + SUM.encode() + b"\r\nX-Count: 3\r\n\r\n") == 2
    assert (outcome.ended, outcome.log) == ("open", [])


def message_of(app: Any, data: bytes) -> Message:
    with service_of(app, [], {}) as service:
        message = Message(service, MemoryStream(), data)
        message.begin()
        message.finished.wait()
    return message


@pytest.mark.parametrize("app", [summed, summed_wsgi])
def test_another_protocol_is_given_them_as_fields(app: Any) -> None:
    one = message_of(app, GET)
    assert (one.trailers, one.state, one.defects) == ([("X-Sum", SUM), ("X-Count", "3")], "whole", [])


@pytest.mark.parametrize("body", ["text", b"bytes", {"a": 1}, ["list"], "", iter(())])
def test_content_of_known_size_goes_in_chunks_for_them(body: Any) -> None:
    outcome = exchange(lambda req: Response(body, trailers={"A": "b"}), [GET], keep_open=True)
    head, _, content = outcome.sent.partition(b"\r\n\r\n")
    assert b"\r\nTrailer: A" in head and b"Content-Length" not in head
    assert content.endswith(b"0\r\nA: b\r\n\r\n") and outcome.log == []


def test_a_file_goes_in_chunks_for_them(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789" * 20_000)

    def app(req: Any) -> Response:
        return Response(path.open("rb"), trailers={"A": "b"})

    outcome = exchange(app, [GET * 2], keep_open=True)
    content = b"30d40\r\n" + path.read_bytes() + b"\r\n0\r\nA: b\r\n\r\n"
    assert (outcome.sent.count(content), outcome.ended, outcome.log) == (2, "open", [])
    one = message_of(app, GET)
    assert (one.answers[0].content, one.trailers) == (path.read_bytes(), [("A", "b")])


@pytest.mark.parametrize("app", [summed, summed_wsgi])
def test_a_client_of_http_1_0_gets_the_content_alone(app: Any) -> None:
    outcome = exchange(app, [request(b"GET / HTTP/1.0")])
    assert outcome.sent.endswith(b"\r\n\r\nonetwothree") and b"railer" not in outcome.sent and outcome.log == []


def test_with_http_1_0_content_of_known_size_keeps_its_length() -> None:
    outcome = exchange(lambda req: Response("text", trailers={"A": "b"}), [request(b"GET / HTTP/1.0")])
    assert b"\r\nContent-Length: 4\r\n" in outcome.sent and outcome.sent.endswith(b"\r\n\r\ntext")


@pytest.mark.parametrize("app", [summed, summed_wsgi])
def test_head_has_none(app: Any) -> None:
    outcome = exchange(app, [request(b"HEAD / HTTP/1.1") + GET], keep_open=True)
    assert outcome.sent.count(b"Trailer: ") == 1 and outcome.log == []


def test_with_a_content_length_of_the_applications_they_are_dropped(talk: Talk) -> None:
    asked: list[str] = []

    def value() -> str:
        asked.append("")
        return "b"

    def app(req: Any) -> Response:
        return Response(iter([b"abc"]), headers={"Content-Length": "3"}, trailers={"A": value})

    conversation = talk(app, GET)
    assert (conversation.contents, conversation.log, asked) == ([b"abc"], [], [])
    assert conversation.only.get("Trailer") is None


def test_none_leaves_a_field_out(talk: Talk) -> None:
    one = message_of(lambda req: Response("x", trailers=[("A", None), ("B", lambda: None), ("C", "c")]), GET)
    assert one.trailers == [("C", "c")]


def test_an_empty_trailers_changes_nothing() -> None:
    outcome = exchange(lambda req: Response("x", trailers={}), [GET], keep_open=True)
    assert b"\r\nContent-Length: 1\r\n" in outcome.sent and b"Trailer" not in outcome.sent


def test_a_value_that_cannot_be_made_cuts_the_answer(talk: Talk) -> None:
    def value() -> str:
        raise ValueError("no sum")

    conversation = talk(lambda req: Response("x" * 10, trailers={"A": value}), GET)
    assert (conversation.answers, conversation.cut, conversation.levels) == ([], True, ["error"])


FORBIDDEN = [
    "Content-Length", "transfer-encoding", "Connection", "Trailer", "TE", "Host", "Upgrade", "Set-Cookie",
    "Content-Type", "Content-Encoding", "Content-Range", "Cache-Control", "WWW-Authenticate", "Location", "Date", "a b",
    "a,b", "",
]  # fmt: skip


@pytest.mark.parametrize("name", FORBIDDEN)
def test_what_must_be_known_before_the_content_is_refused_before_the_head(name: str, talk: Talk) -> None:
    conversation = talk(lambda req: Response("x", trailers=[(name, "b")]), GET, GET)
    assert (conversation.statuses, conversation.levels, conversation.cut) == ([500] * 2, ["error"] * 2, False)


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_wsgi_application_cannot_add_it_either(name: str, talk: Talk) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        with pytest.raises(ResponseError):
            start_response.add_trailer(name, "b")
        return [b"abc"]

    answer = talk(app, GET).only
    assert (answer.content, answer.framing, answer.get("Trailer")) == (b"abc", "length", None)


@pytest.mark.parametrize("value", [b"bytes", 7])
def test_a_value_is_text_or_a_function(value: Any, talk: Talk) -> None:
    conversation = talk(lambda req: Response("x", trailers={"A": value}), GET)
    assert (conversation.statuses, conversation.levels) == ([500], ["error"])


def test_what_was_not_announced_cannot_follow() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("Trailer", "B")])  # which the server says itself
        start_response.add_trailer("A", None)
        yield b"abc"
        start_response.add_trailer("a", "1")
        with pytest.raises(ResponseError, match="announced"):
            start_response.add_trailer("B", "2")

    one = message_of(app, GET)
    assert (one.trailers, one.state) == ([("a", "1")], "whole")


def test_what_is_added_before_the_head_is_announced_by_that() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        start_response.add_trailer("A", "1")
        return [b"abc"]

    outcome = exchange(app, [GET], keep_open=True)
    assert b"\r\nTrailer: A\r\n" in outcome.sent and outcome.sent.endswith(b"3\r\nabc\r\n0\r\nA: 1\r\n\r\n")


def test_announced_and_never_added_ends_as_usual() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        start_response.add_trailer("A", None)
        return [b"abc"]

    outcome = exchange(app, [GET], keep_open=True)
    assert outcome.sent.endswith(b"3\r\nabc\r\n0\r\n\r\n") and outcome.log == []


def test_an_answer_that_replaces_another_has_none_of_its_trailers(talk: Talk) -> None:
    from greenhttp import HTTPError

    def content() -> Any:
        raise HTTPError(404)
        yield b""

    conversation = talk(lambda req: Response(content(), trailers={"A": "b"}), GET)
    assert (conversation.only.status, conversation.only.get("Trailer")) == (404, None)


# ---- other people's clients


@needs("curl")
def test_curl_shows_them(serve: Any, tmp_path: Path) -> None:
    serving = serve(summed)
    shown = run(["curl", "-sS", "-D", str(tmp_path / "head"), "-o", str(tmp_path / "content"), url(serving)])
    assert shown == ""
    assert (tmp_path / "content").read_bytes() == b"onetwothree"
    lines = (tmp_path / "head").read_text().splitlines()
    assert lines[-2:] == [f"X-Sum: {SUM}", "X-Count: 3"] and "Trailer: X-Sum, X-Count" in lines


GO = """package main

import ("fmt"; "io"; "net/http"; "os")

func main() {
	for i := 0; i < 2; i++ {
		answer, err := http.Get(os.Args[1])
		if err != nil { panic(err) }
		content, err := io.ReadAll(answer.Body)
		if err != nil { panic(err) }
		fmt.Println(string(content), answer.Trailer.Get("X-Sum"), answer.Trailer.Get("X-Count"))
	}
}
"""


@needs("go")
def test_go_has_them_in_its_map(serve: Any, tmp_path: Path) -> None:
    (tmp_path / "ask.go").write_text(GO)
    serving = serve(summed)
    said = run(["go", "run", str(tmp_path / "ask.go"), url(serving)])
    assert said == f"onetwothree {SUM} 3\n" * 2


def test_the_standard_librarys_client_reads_past_them(serve: Any) -> None:
    import http.client

    serving = serve(summed)
    contents: list[bytes] = []

    def ask() -> None:
        connection = http.client.HTTPConnection(*serving.server.address)
        for _ in range(2):
            connection.request("GET", "/")
            contents.append(connection.getresponse().read())
        connection.close()

    gevent.get_hub().threadpool.apply(ask)
    assert contents == [b"onetwothree"] * 2


def url(serving: Any) -> str:
    host, port = serving.server.address
    return f"http://{host}:{port}/"


def run(command: list[str]) -> str:
    """What a program says, while the server's loop goes on."""

    def call() -> str:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    said: str = gevent.get_hub().threadpool.apply(call)
    return said
