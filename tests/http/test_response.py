"""greenhttp/http/response.pyx with hosting.wsgi: what leaves. Numbers are rules of the wire contract."""

from __future__ import annotations

import contextlib
import io
from array import array
from functools import partial
from typing import Any

import pytest

from greenhttp.testing import exchange
from tests.answers import answers, only
from tests.http.apps import answering, hello, request, streaming
from tests.http.carriers import over_http1
from tests.http.conftest import Talk

GET = request()


class Pieces:
    """An iterable that counts how often it was closed."""

    def __init__(self, *pieces: Any) -> None:
        self.pieces = pieces
        self.closed = 0

    def __iter__(self) -> Any:
        for piece in self.pieces:
            if isinstance(piece, BaseException):
                raise piece
            yield piece

    def close(self) -> None:
        self.closed += 1


# ---- 16: nothing that would split an answer


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        ("200 OK\r\nX: y", []),
        ("200 OK\nX: y", []),
        ("200 O\x00K", []),
        ("2000 OK", []),
        ("20 OK", []),
        ("099 OK", []),
        ("600 OK", []),
        ("\u0662\u0660\u0660 OK", []),
        ("", []),
        (200, []),
        (b"200 OK", []),
        ("200 OK", [("A", "b\r\nInjected: yes")]),
        ("200 OK", [("A", "b\nInjected: yes")]),
        ("200 OK", [("A", "b\rInjected: yes")]),
        ("200 OK", [("A", "b\x00")]),
        ("200 OK", [("A\r\nInjected", "yes")]),
        ("200 OK", [("A:", "b")]),
        ("200 OK", [("A ", "b")]),
        ("200 OK", [("", "b")]),
        ("200 OK", [("A", "\u010d\u010ab")]),
        ("200 OK", [("\u0130A", "b")]),
        ("200 OK", [("A", b"b")]),
        ("200 OK", [(b"A", "b")]),
        ("200 OK", [("A", 1)]),
        ("200 OK", [("A",)]),
        ("200 OK", (("A", "b"),)),
        ("200 OK", [("Content-Length", "-1")]),
        ("200 OK", [("Content-Length", "1 ")]),
        ("200 OK", [("Content-Length", "1_0")]),
        ("200 OK", [("Content-Length", "\xb2")]),
        ("200 OK", [("Content-Length", "1"), ("Content-Length", "2")]),
    ],
)
def test_16_what_http_forbids_is_an_exception_and_a_500(status: Any, fields: Any, talk: Talk) -> None:
    raised: list[type[BaseException]] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            start_response(status, fields)
        except Exception as error:
            raised.append(type(error))
            raise
        return [b"content"]

    outcome = talk(app, GET, GET)
    assert outcome.statuses == [500, 500]
    assert b"njected" not in outcome.said and len(raised) == 2
    assert outcome.levels == ["error", "error"]


def test_16_an_application_that_swallows_the_exception_sends_nothing_of_it(talk: Talk) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        with contextlib.suppress(ValueError):
            start_response("200 OK", [("Good", "1"), ("Bad", "x\r\nInjected: yes")])
        return [b"content"]

    outcome = talk(app, GET)
    assert outcome.statuses == [500]
    assert b"Injected" not in outcome.said and b"Good" not in outcome.said


@pytest.mark.parametrize(
    ("status", "line"),
    [
        ("100 Continue", "100 Continue"),
        ("404 Nicht gefunden \xe4", "404 Nicht gefunden \xe4"),
        ("200  ", "200  "),
        # Without a reason: what frameworks send for the number, none where HTTP has none.
        ("200", "200 OK"),
        ("200 ", "200 OK"),
        ("413", "413 Content Too Large"),
        ("599", "599 "),
        ("299 ", "299 "),
    ],
)
def test_16_any_three_digits_from_100_to_599_will_do(status: str, line: str) -> None:
    outcome = exchange(answering([b""], status), [GET, GET])
    assert outcome.sent.count(b"HTTP/1.1 " + line.encode("latin-1") + b"\r\n") == 1 + (status[0] != "1")


# ---- 17: framing and persistence are the server's


# ---- 18: framing


@pytest.mark.parametrize(
    ("content", "framing"),
    [
        ([], "length"),
        ([b""], "length"),
        ([b"abc"], "length"),
        ([b"a", b"", b"bc" * 5000], "length"),
        ((b"a", b"bc"), "length"),
        (Pieces(b"abc"), "chunked"),
        (Pieces(b"", b"a", b"", b"bc"), "chunked"),
    ],
)
def test_18_content_length_when_known_else_chunked(content: Any, framing: str, talk: Talk) -> None:
    answer = talk(answering(content), GET).only
    pieces = content.pieces if isinstance(content, Pieces) else content
    assert (answer.content, answer.framing) == (b"".join(pieces), framing)


def test_18_an_iterable_without_content_has_length_0(talk: Talk) -> None:
    for app in (streaming(), streaming(b"", b"")):
        answer = talk(app, GET).only
        assert (answer.framing, answer.get("Content-Length")) == ("length", "0")


def test_18_else_close_on_1_0() -> None:
    outcome = exchange(streaming(b"a", b"b"), [request(b"GET / HTTP/1.0")], keep_open=True)
    answer = only(outcome.sent)
    assert (answer.content, answer.framing, answer.closes, outcome.ended) == (b"ab", "close", True, "closed")


def test_18_a_length_of_the_application_frames_a_stream(talk: Talk) -> None:
    outcome = talk(streaming(b"a", b"bc", fields=[("content-LENGTH", "3")]), GET, GET)
    assert [(a.content, a.framing) for a in outcome.answers] == [(b"abc", "length")] * 2


@pytest.mark.parametrize("app", [answering([b"abc"], "200 OK", ("Content-Length", "5")),
                                 streaming(b"a", b"bc", fields=[("Content-Length", "5")])])  # fmt: skip
def test_18_a_short_body_closes_so_that_the_client_notices(app: Any) -> None:
    outcome = exchange(app, [GET * 2], keep_open=True)
    head, _, content = outcome.sent.partition(b"\r\n\r\n")
    assert b"Content-Length: 5" in head and content == b"abc"
    assert outcome.ended in ("closed", "reset")
    assert [record.level for record in outcome.log] == ["error"]
    assert "GET /" in outcome.log[0].message


@pytest.mark.parametrize("app", [answering([b"ab", b"cd"], "200 OK", ("Content-Length", "3")),
                                 answering([b"abcd"], "200 OK", ("Content-Length", "3")),
                                 streaming(b"ab", b"cd", b"ef", fields=[("Content-Length", "3")])])  # fmt: skip
def test_18_excess_is_cut_and_logged_once(app: Any, talk: Talk) -> None:
    outcome = talk(app, GET)
    assert (outcome.only.content, outcome.only.get("Content-Length")) == (b"abc", "3")
    assert outcome.levels == ["error"]


def test_18_an_excess_answer_leaves_the_position_known(talk: Talk) -> None:
    outcome = talk(answering([b"abcd"], "200 OK", ("Content-Length", "3")), GET, GET, GET)
    assert outcome.contents == [b"abc"] * 3


def test_18_the_write_callable(talk: Talk) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        write(b"a")
        write(b"")
        write(b"b")
        return [b"c"]

    outcome = talk(app, GET, GET)
    assert [(a.content, a.framing) for a in outcome.answers] == [(b"abc", "chunked")] * 2


class Array(bytearray):
    def __bytes__(self) -> bytes:
        return b"something else"


BUFFERS: dict[str, Any] = {  # pieces of b"abcd", made anew each time
    "bytearray": lambda: [bytearray(b"ab"), b"c", bytearray(b""), bytearray(b"d")],
    "a kind of bytearray": lambda: [Array(b"abcd")],
    "memoryview": lambda: [memoryview(b"ab"), memoryview(bytearray(b"cd"))],
    "every second byte": lambda: [memoryview(b"a b c d ")[::2]],
    "numbers": lambda: [memoryview(array("H", b"abcd"))],
    "two dimensions": lambda: [memoryview(b"abcd").cast("B", (2, 2))],
}


@pytest.mark.parametrize("make", BUFFERS.values(), ids=BUFFERS)
@pytest.mark.parametrize("how", ["list", "tuple", "iterator", "write", "write and iterator"])
def test_18_bytearray_and_memoryview_are_content_too(make: Any, how: str, talk: Talk) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        write = start_response("200 OK", [])
        pieces = make()
        if "write" in how:
            write(pieces.pop(0))
        if how == "write":
            for piece in pieces:
                write(piece)
            return []
        return {"list": list, "tuple": tuple}.get(how, iter)(pieces)

    conversation = talk(app, GET, GET)
    framing = "length" if how in ("list", "tuple") else "chunked"
    assert [(answer.content, answer.framing) for answer in conversation.answers] == [(b"abcd", framing)] * 2
    assert conversation.log == []


@pytest.mark.parametrize("size", [4, 100_000])
@pytest.mark.parametrize("how", ["iterator", "write"])
def test_18_what_becomes_of_a_buffer_afterwards_is_not_sent(how: str, size: int) -> None:
    """A bytearray that is filled again and again: each piece is what it was when it was given."""

    def pieces() -> Any:
        buffer = bytearray(size)
        for letter in b"abc":
            buffer[:] = bytes([letter]) * size
            yield buffer
            buffer[:] = b"x" * size
        buffer.clear()  # nobody holds it

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        write = start_response("200 OK", [])
        if how == "iterator":
            return pieces()
        for piece in pieces():
            write(piece)
        return []

    # A client that reads slowly: the pieces are still in the output when the buffer changes.
    outcome = exchange(app, [GET], window=1000)
    assert only(outcome.sent).content == b"a" * size + b"b" * size + b"c" * size
    assert outcome.log == []


def test_18_pieces_of_a_list_are_copied_and_not_held() -> None:
    kept = [bytearray(b"abc"), memoryview(b"de")]
    answer = only(exchange(answering(kept), [GET]).sent)
    assert (answer.content, answer.framing) == (b"abcde", "length")
    kept[0].clear()  # type: ignore[union-attr]  # BufferError if somebody held it


def test_18_a_view_that_was_released_is_an_error_before_anything_is_said(talk: Talk) -> None:
    view = memoryview(b"abc")
    view.release()
    outcome = talk(answering([view]), GET)
    assert (outcome.statuses, outcome.levels) == ([500], ["error"])


@pytest.mark.parametrize("content", [["text"], [1], [None], [array("B", b"a")], "text", b"a", bytearray(b"a"), None, 5])
def test_18_only_bytes_are_content(content: Any, talk: Talk) -> None:
    outcome = talk(answering(content), GET)
    assert (outcome.statuses, outcome.levels) == ([500], ["error"])


class File(io.BytesIO):
    """No regular file: it is read, not sent by the system."""


@pytest.mark.parametrize("regular", [True, False])
def test_18_a_file_is_sent(tmp_path: Any, regular: bool, talk: Talk) -> None:
    check_a_file(tmp_path, regular, talk)


@pytest.mark.parametrize("regular", [True, False])
def test_18_a_file_is_sent_to_a_slow_reader(tmp_path: Any, regular: bool) -> None:
    check_a_file(tmp_path, regular, partial(over_http1, window=10000))


def check_a_file(tmp_path: Any, regular: bool, talk: Talk) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789" * 20000)
    opened: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        opened.append(path.open("rb") if regular else File(path.read_bytes()))
        opened[-1].seek(5)
        return environ["wsgi.file_wrapper"](opened[-1])

    outcome = talk(app, GET, GET)
    assert outcome.contents == [path.read_bytes()[5:]] * 2
    assert outcome.answers[0].framing == ("length" if regular else "chunked")
    assert all(file.closed for file in opened)


# ---- 19: answers without content


@pytest.mark.parametrize("status", ["204 No Content", "100 Continue", "103 Early Hints", "199 "])
def test_19_1xx_and_204_carry_no_length_even_if_the_application_set_one(status: str, talk: Talk) -> None:
    app = answering([b"abc"], status, ("Content-Length", "3"), ("Transfer-Encoding", "chunked"))
    answer = talk(app, GET).only
    assert answer.names <= {"date", "server", "connection"} and answer.content == b""


def test_19_a_1xx_as_an_answer_ends_the_connection() -> None:
    outcome = exchange(answering([], "103 Early Hints"), [GET * 2], keep_open=True)
    answer = only(outcome.sent)
    assert (answer.closes, outcome.ended) == (True, "closed")


@pytest.mark.parametrize("length", [None, "3", "1000"])
def test_19_head_and_304_keep_a_length_and_invent_none(length: str | None, talk: Talk) -> None:
    fields = [("Content-Length", length)] if length else []
    data = request(b"HEAD / HTTP/1.1")
    for app in (
        answering([b"abc"], "200 OK", *fields),
        streaming(b"a", b"bc", fields=fields),
        streaming(fields=fields),
    ):
        outcome = talk(app, data, data)
        assert [answer.get("Content-Length") for answer in outcome.answers] == [length, length]
        assert (outcome.cut, outcome.log) == (False, [])
    outcome = talk(answering([b"abc"], "304 Not Modified", *fields), GET, GET)
    assert [answer.get("Content-Length") for answer in outcome.answers] == [length, length]


def test_19_205_says_length_0_whatever_the_application_says(talk: Talk) -> None:
    outcome = talk(answering([b"abc"], "205 Reset Content", ("Content-Length", "3")), GET, GET)
    assert [answer.get("Content-Length") for answer in outcome.answers] == ["0", "0"]


def test_19_date_and_server_always_and_on_errors() -> None:
    outcome = exchange(hello, [GET + b"bad\r\n"], server_header="mine/1")
    for answer in answers(outcome.sent):
        assert answer.get("Server") == "mine/1"
        date = answer.get("Date")
        assert date is not None and len(date) == 29 and date.endswith(" GMT")


def test_19_server_can_be_turned_off() -> None:
    outcome = exchange(hello, [GET + b"bad\r\n"], server_header="off")
    assert [answer.get("Server") for answer in answers(outcome.sent)] == [None, None]


def test_19_date_and_server_whatever_becomes_of_the_request(talk: Talk) -> None:
    for app in (hello, raising):
        answer = talk(app, GET, server_header="mine/1").only
        assert answer.get("Server") == "mine/1" and len(answer.get("Date") or "") == 29
        answer = talk(app, GET, server_header="off").only
        assert answer.get("Server") is None and len(answer.get("Date") or "") == 29


def test_19_date_and_server_of_the_application_stand_alone(talk: Talk) -> None:
    date = "Thu, 01 Jan 1970 00:00:00 GMT"
    answer = talk(answering([], "200 OK", ("date", date), ("SERVER", "app")), GET).only
    assert (answer.get("Date"), answer.get("Server")) == (date, "app")


# ---- 20: exceptions


class Boom(Exception):
    """Raised by applications here; its text must not leave."""


def raising(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    raise Boom("secret")


def raising_after_start_response(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Secret", "secret")])
    raise Boom("secret")


@pytest.mark.parametrize(
    "app",
    [
        raising,
        raising_after_start_response,
        answering(Pieces(Boom("secret"))),
        answering(Pieces(b"", Boom("secret"))),
        lambda environ, start_response: [b"no start_response"],
        lambda environ, start_response: (_ for _ in [b"no start_response"]),
        lambda environ, start_response: object(),
    ],
)
def test_20_an_exception_before_the_head_is_a_500_without_internals(app: Any, talk: Talk) -> None:
    outcome = talk(app, request(b"GET /path?secret=1 HTTP/1.1"), GET)
    assert outcome.statuses == [500, 500]
    assert b"ecret" not in outcome.said and b"Boom" not in outcome.said and b"Traceback" not in outcome.said
    assert not outcome.cut
    assert len(outcome.log) == 2
    assert "GET /path" in outcome.log[0].message
    assert outcome.log[0].error is not None


@pytest.mark.parametrize("fields", [[], [("Content-Length", "10")]])
def test_20_an_exception_after_the_head_aborts(fields: list[tuple[str, str]]) -> None:
    content = Pieces(b"part", Boom("secret"))
    outcome = exchange(answering(content, "200 OK", *fields), [GET * 2], keep_open=True)
    assert outcome.ended == "reset"
    assert outcome.sent.count(b"HTTP/1.1 ") <= 1 and not outcome.sent.endswith(b"0\r\n\r\n")
    assert b"500" not in outcome.sent
    assert [record.level for record in outcome.log] == ["error"] and isinstance(outcome.log[0].error, Boom)
    assert content.closed == 1


@pytest.mark.parametrize("fields", [[], [("Content-Length", "10")]])
def test_20_an_answer_that_fails_half_way_is_cut_and_nothing_is_added(fields: Any, talk: Talk) -> None:
    content = Pieces(b"part", Boom("secret"))
    outcome = talk(answering(content, "200 OK", *fields), GET)
    assert (outcome.answers, outcome.cut, content.closed) == ([], True, 1)
    assert b"500" not in outcome.said and b"ecret" not in outcome.said
    assert outcome.levels == ["error"] and isinstance(outcome.log[0].error, Boom)


def test_20_an_exception_after_write_aborts(talk: Talk) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])(b"part")
        raise Boom

    outcome = talk(app, GET)
    assert (outcome.answers, outcome.cut) == ([], True)


@pytest.mark.parametrize("kind", [SystemExit, GeneratorExit, StopIteration])
def test_20_an_exception_of_any_kind_ends_the_request_alone(kind: type[BaseException], talk: Talk) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/bad":
            raise kind
        return hello(environ, start_response)

    assert talk(app, request(b"GET /bad HTTP/1.1"), GET).statuses == [500, 200]


@pytest.mark.parametrize(
    ("pieces", "data"),
    [
        ([b"abc"], GET),
        ([], GET),
        ([b"a", Boom()], GET),
        ([Boom()], GET),
        ([b"abc"], request(b"HEAD / HTTP/1.1")),
        (["no bytes"], GET),
    ],
)
def test_20_close_is_called_once(pieces: list[Any], data: bytes, talk: Talk) -> None:
    content = Pieces(*pieces)
    talk(answering(content), data)
    assert content.closed == 1


def test_20_close_is_called_when_the_client_is_gone(serve: Any) -> None:
    class Endless(Pieces):
        def __iter__(self) -> Any:
            while True:
                yield b"x" * 65536

    content = Endless()
    serving = serve(answering(content))
    client = serving.connect(receive_buffer=4096).send(GET)
    serving.until(lambda: serving.count("writing"))
    client.reset()
    serving.until(lambda: serving.count("connections") == 0)
    assert content.closed == 1


def test_20_an_exception_in_close_is_logged_and_harms_nothing(talk: Talk) -> None:
    class Bad(Pieces):
        def close(self) -> None:
            raise Boom

    outcome = talk(answering(Bad(b"abc")), GET, GET)
    assert (outcome.contents, outcome.levels) == ([b"abc", b"abc"], ["error", "error"])


def test_20_start_response_with_exc_info_replaces_what_is_not_out(talk: Talk) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        import sys

        start_response("200 OK", [("First", "1")])
        try:
            raise Boom
        except Boom:
            start_response("503 Service Unavailable", [("Second", "2")], sys.exc_info())
        return [b"sorry"]

    answer = talk(app, GET).only
    assert (answer.status, answer.get("First"), answer.get("Second")) == (503, None, "2")


def test_20_start_response_twice_is_an_error(talk: Talk) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        start_response("200 OK", [])
        return []

    assert talk(app, GET).statuses == [500]


def test_20_what_is_kept_of_a_request_does_nothing_once_it_is_over(talk: Talk) -> None:
    kept: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/second":
            start, write, body = kept
            for late in (
                lambda: start("200 OK", []),
                lambda: write(b"late"),
                lambda: start("200 OK", [], (0, Boom(), 0)),
            ):
                with pytest.raises((AssertionError, Boom)):
                    late()
            with pytest.raises(OSError):
                body.read()
        else:
            kept.extend([start_response, start_response("200 OK", []), environ["wsgi.input"]])
            return [b"first"]
        start_response("200 OK", [])
        return [b"second"]

    first = request(b"POST / HTTP/1.1", b"Content-Length: 3", content=b"abc")
    assert talk(app, first, request(b"GET /second HTTP/1.1")).contents == [b"first", b"second"]
