"""Informational answers (RFC 9110 15.2, RFC 8297): before the final one, and never in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event

from greenhttp import Response, ResponseError
from greenhttp.testing import exchange
from tests.http.apps import request
from tests.http.conftest import Talk
from tests.http.test_trailers_out import run, url
from tests.system.process import needs

GET = request()

STYLE = "</style.css>; rel=preload; as=style"
FONT = "<https://fonts.example>; rel=preconnect"
HINTS = [("Link", STYLE), ("Link", FONT)]


def native(req: Any) -> str:
    req.early_hints([STYLE, FONT])
    return "content"


def by_environ(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    environ["wsgi.early_hints"](HINTS)
    start_response("200 OK", [])
    return [b"content"]


def by_start_response(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("103 Early Hints", list(HINTS))
    start_response("200 OK", [])
    return [b"content"]


WAYS = [native, by_environ, by_start_response]


@pytest.mark.parametrize("app", WAYS)
def test_hints_come_before_the_answer_which_keeps_the_connection(app: Any, talk: Talk) -> None:
    conversation = talk(app, GET, GET)
    assert conversation.statuses == [103, 200] * 2
    assert conversation.answers[0].fields == HINTS
    assert (conversation.contents, conversation.log) == ([b"", b"content"] * 2, [])


@pytest.mark.parametrize("app", WAYS)
def test_a_client_of_http_1_0_gets_none(app: Any) -> None:
    outcome = exchange(app, [request(b"GET / HTTP/1.0")])
    assert outcome.sent.startswith(b"HTTP/1.1 200 ") and (outcome.sent.count(b"HTTP/1.1 "), outcome.log) == (1, [])


@pytest.mark.parametrize("app", WAYS)
def test_a_head_request_gets_them_too(app: Any, talk: Talk) -> None:
    assert talk(app, request(b"HEAD / HTTP/1.1")).statuses == [103, 200]


def test_they_leave_while_the_answer_is_made(serve: Any) -> None:
    opened = Event()

    def app(req: Any) -> str:
        req.early_hints(STYLE)
        opened.wait()
        return "content"

    client = serve(app).connect().send(GET)
    assert client.answer().fields == [("Link", STYLE)]
    opened.set()
    assert client.answer().content == b"content"


def test_one_link_several_and_none(talk: Talk) -> None:
    def app(req: Any) -> str:
        req.early_hints(STYLE)
        req.early_hints(iter([STYLE, FONT]))
        req.early_hints([])
        return ""

    conversation = talk(app, GET)
    assert [answer.fields for answer in conversation.answers[:-1]] == [[("Link", STYLE)], HINTS]


@pytest.mark.parametrize(
    ("link", "error"), [("</a>\r\nInjected: yes", ResponseError), ("</\u20ac>", ResponseError), (b"</a>", TypeError)]
)
def test_what_no_field_may_say_is_an_exception_and_nothing_of_it_leaves(
    link: Any, error: type[Exception], talk: Talk
) -> None:
    def app(req: Any) -> str:
        with pytest.raises(error):
            req.early_hints([STYLE, link])
        return ""

    conversation = talk(app, GET)
    assert conversation.statuses == [200] and b"njected" not in conversation.said


@pytest.mark.parametrize("pair", [("A\n", "b"), ("Link", "a\r\nInjected: yes"), ("Link", b"a\r\nInjected: yes")])
def test_the_environs_checks_its_fields_too(pair: Any, talk: Talk) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        with pytest.raises(ResponseError):
            environ["wsgi.early_hints"]([pair])
        start_response("204 No Content", [])
        return []

    assert talk(app, GET).statuses == [204]


def test_the_environs_takes_bytes_as_gunicorns_does(talk: Talk) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["wsgi.early_hints"]([(b"Link", STYLE.encode())])
        start_response("204 No Content", [])
        return []

    assert talk(app, GET).answers[0].fields == [("Link", STYLE)]


def test_once_the_answer_has_begun_a_hint_is_too_late(talk: Talk) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])(b"a")
        environ["wsgi.early_hints"](HINTS)
        return [b"b"]

    def generator(req: Any) -> Any:
        yield b"a"
        with pytest.raises(AssertionError):
            req.early_hints(STYLE)
        yield b"b"

    for each in (app, generator):
        conversation = talk(each, GET)
        assert (conversation.statuses, conversation.contents, conversation.log) == ([200], [b"ab"], [])


def test_after_the_request_nothing_can_be_said(talk: Talk) -> None:
    kept: list[Any] = []

    def app(req: Any) -> str:
        kept.append(req)
        return ""

    talk(app, GET)
    with pytest.raises(AssertionError):
        kept[0].early_hints(STYLE)


def test_another_green_thread_has_no_request_to_hint_at(talk: Talk) -> None:
    failures: list[str] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        def elsewhere() -> None:
            with pytest.raises(RuntimeError) as caught:
                environ["wsgi.early_hints"](HINTS)
            failures.append(str(caught.value))

        gevent.spawn(elsewhere).join()
        start_response("200 OK", [])
        return []

    assert talk(app, GET).statuses == [200]
    assert len(failures) == 1 and "green thread" in failures[0]


def test_hints_reach_the_request_whose_green_thread_calls(serve: Any) -> None:
    meet = [Event(), Event()]

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        n = int(environ["PATH_INFO"][1:])
        meet[n].set()
        meet[1 - n].wait()  # both are in the middle of the application now
        environ["wsgi.early_hints"]([("Link", f"<{n}>")])
        start_response("200 OK", [])
        return []

    serving = serve(app)
    clients = [serving.connect().send(request(b"GET /%d HTTP/1.1" % n)) for n in range(2)]
    assert [client.answer().fields for client in clients] == [[("Link", "<0>")], [("Link", "<1>")]]


# ---- an informational status is no final one


def without_a_final(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("103 Early Hints", list(HINTS))
    return [b"content"]


def in_pieces(environ: dict[str, Any], start_response: Any) -> Any:
    start_response("102 Processing", [])
    yield b"content"


@pytest.mark.parametrize("app", [without_a_final, in_pieces])
def test_an_informational_status_alone_is_an_error_and_the_connection_stays(app: Any, talk: Talk) -> None:
    conversation = talk(app, GET, GET)
    assert conversation.statuses[1::2] == [500, 500] and all(status < 200 for status in conversation.statuses[::2])
    assert (conversation.cut, conversation.levels) == (False, ["error", "error"])
    assert "final status" in str(conversation.log[0].error)


@pytest.mark.parametrize("status", ["100 Continue", "101 Switching Protocols"])
def test_100_and_101_are_the_servers_to_send(status: str, talk: Talk) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response(status, [])
        return []

    conversation = talk(app, GET, GET)
    assert (conversation.statuses, conversation.levels) == ([500, 500], ["error", "error"])
    assert "may send" in str(conversation.log[0].error)


@pytest.mark.parametrize("status", [100, 101, 103, "103 Early Hints"])
def test_a_response_of_a_handler_has_a_final_status(status: Any, talk: Talk) -> None:
    conversation = talk(lambda request: Response("", status), GET, GET)
    assert (conversation.statuses, conversation.levels, conversation.cut) == ([500] * 2, ["error"] * 2, False)


def test_after_a_final_start_response_an_informational_one_is_an_error(talk: Talk) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        with pytest.raises(AssertionError):
            start_response("103 Early Hints", list(HINTS))
        return [b"content"]

    conversation = talk(app, GET)
    assert (conversation.statuses, conversation.contents) == ([200], [b"content"])


# ---- other people's clients: http.client skips 100 alone, and takes a 103 for the answer (seen in CPython 3.11)

GO = """package main

import ("fmt"; "io"; "net/http"; "net/http/httptrace"; "net/textproto"; "os")

func main() {
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, fields textproto.MIMEHeader) error {
		fmt.Println(code, fields["Link"])
		return nil
	}}
	for i := 0; i < 2; i++ {
		ask, _ := http.NewRequest("GET", os.Args[1], nil)
		answer, err := http.DefaultClient.Do(ask.WithContext(httptrace.WithClientTrace(ask.Context(), trace)))
		if err != nil { panic(err) }
		content, _ := io.ReadAll(answer.Body)
		fmt.Println(answer.StatusCode, string(content))
	}
}
"""


@needs("go")
def test_go_sees_them(serve: Any, tmp_path: Path) -> None:
    (tmp_path / "ask.go").write_text(GO)
    said = run(["go", "run", str(tmp_path / "ask.go"), url(serve(by_environ))])
    assert said == f"103 [{STYLE} {FONT}]\n200 content\n" * 2


@needs("curl")
def test_curl_shows_them(serve: Any) -> None:
    said = run(["curl", "-sSi", url(serve(native))]).splitlines()
    assert said[:3] == ["HTTP/1.1 103 Early Hints", f"Link: {STYLE}", f"Link: {FONT}"]
    assert said[4] == "HTTP/1.1 200 OK" and said[-1] == "content"
