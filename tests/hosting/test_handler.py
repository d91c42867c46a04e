"""hosting/handler.pyx: what a native handler may return and raise, and what becomes of it."""

from __future__ import annotations

import gc
import gzip
import io
import logging
import os
import threading
import weakref
from collections import OrderedDict, defaultdict, namedtuple
from datetime import date
from http import HTTPStatus
from pathlib import Path
from typing import Any

import gevent
import pytest

from greenhttp import HTTPError, Response
from greenhttp.errors import BodyError
from greenhttp.testing import Client, Outcome, every_split, exchange
from tests.answers import Answer, answers, only
from tests.hosting.serving import TIMEOUT, Serving
from tests.http.apps import post, request

GET = request(b"GET /x HTTP/1.1")
HEAD = request(b"HEAD /x HTTP/1.1")
TEXT, BYTES, JSON = "text/plain; charset=utf-8", "application/octet-stream", "application/json"
WHOLE = bytes(range(256)) * 1024
WANTED = "return a Response, str, bytes, a dict or list (sent as JSON), an iterator of bytes or a file"
WANTED_BODY = "give str, bytes, a dict or list (sent as JSON), an iterator of bytes or a file"


def answer(result: Any, data: bytes = GET) -> Answer:
    """The answer to one request by a handler that returns `result`; nothing may be logged."""
    outcome = exchange(lambda request: result, [data])
    assert outcome.log == []
    return only(outcome.sent, data.partition(b" ")[0].decode())


def failure(handler: Any, data: bytes = GET) -> str:
    """What is logged of a handler that must lead to a 500, once."""
    outcome = exchange(handler, [data])
    assert only(outcome.sent).status == 500
    (record,) = outcome.log
    assert record.level == "error"
    return f"{record.message}: {record.error}"


class Content:
    """An iterator of bytes that counts its close(), and the pieces it was asked for."""

    def __init__(self, *pieces: Any, error: BaseException | None = None) -> None:
        self.pieces = iter(pieces)
        self.error = error
        self.asked = self.closed = 0
        self.over = threading.Event()

    def __iter__(self) -> Content:
        return self

    def __next__(self) -> Any:
        self.asked += 1
        for piece in self.pieces:
            return piece
        if self.error:
            raise self.error
        raise StopIteration

    def close(self) -> None:
        self.closed += 1
        self.over.set()


# ---- what is returned


class Text(str):
    pass


class Bytes(bytes):
    pass


@pytest.mark.parametrize(
    ("make", "content", "kind", "framing"),
    [
        (lambda: "é", "é".encode(), TEXT, "length"),
        (lambda: "", b"", TEXT, "length"),
        (lambda: Text("a"), b"a", TEXT, "length"),
        (lambda: b"\xff", b"\xff", BYTES, "length"),
        (lambda: Bytes(b"a"), b"a", BYTES, "length"),
        (lambda: bytearray(b"ab"), b"ab", BYTES, "length"),
        (lambda: memoryview(b"abcd")[::2], b"ac", BYTES, "length"),
        (lambda: b"x" * 100_000, b"x" * 100_000, BYTES, "length"),
        (lambda: {}, b"{}", JSON, "length"),
        (lambda: {"b": [1, 2.5, None, True], "a": "é"}, '{"b":[1,2.5,null,true],"a":"é"}'.encode(), JSON, "length"),
        (lambda: [], b"[]", JSON, "length"),
        (lambda: ["a", ("b", {})], b'["a",["b",{}]]', JSON, "length"),
        (lambda: OrderedDict(a=1), b'{"a":1}', JSON, "length"),
        (lambda: defaultdict(list, a=[]), b'{"a":[]}', JSON, "length"),
        (lambda: iter((b"a", Bytes(b"b"))), b"ab", BYTES, "chunked"),
        (lambda: iter([b"a", b"", b"b"]), b"ab", BYTES, "chunked"),
        (lambda: iter([bytearray(b"a"), memoryview(b"b c ")[::2]]), b"abc", BYTES, "chunked"),
        (lambda: (c for c in [b"", b"a"]), b"a", BYTES, "chunked"),
        (lambda: iter([]), b"", BYTES, "length"),
        (lambda: map(bytes, [[97], [98]]), b"ab", BYTES, "chunked"),
        (lambda: Content(b"a", b"b"), b"ab", BYTES, "chunked"),
        (lambda: io.BytesIO(b"x" * 150_000), b"x" * 150_000, BYTES, "chunked"),
    ],
)
def test_the_shapes_of_content(make: Any, content: bytes, kind: str, framing: str) -> None:
    for wrap in (lambda body: body, Response):
        for pieces in ([GET * 2], [GET, GET]):
            outcome = exchange(lambda request: wrap(make()), pieces)  # noqa: B023
            first, second = answers(outcome.sent)
            assert first == second
            assert (first.status, first.reason, first.content, first.framing) == (200, "OK", content, framing)
            assert (first.get("Content-Type"), outcome.log) == (kind, [])
    old = answer(make(), request(b"GET / HTTP/1.0"))
    assert (old.content, old.framing) == (content, "length" if framing == "length" else "close")
    assert answer(make(), HEAD).content == b""


@pytest.mark.parametrize(
    ("result", "name"),
    [
        (None, "None"),
        (0, "int"),
        (True, "bool"),
        (1.5, "float"),
        (object(), "object"),
        ({b"a"}, "set"),
        (frozenset(), "frozenset"),
    ],
    ids=repr,
)
def test_what_cannot_be_sent_is_a_500_and_the_log_says_what_to_return(result: Any, name: str) -> None:
    assert failure(lambda request: result) == (
        f"GET /x: TypeError in the application: the handler returned {name}; {WANTED}"
    )
    assert failure(lambda request: Response(result)) == (
        f"GET /x: TypeError in the application: the body of the Response is {name}; {WANTED_BODY}"
    )


@pytest.mark.parametrize("made", [lambda environ, start_response: [], exchange, print], ids=["wsgi", "own", "in C"])
def test_what_a_factory_returns_is_a_500_and_the_log_says_how_to_call_it(made: Any) -> None:
    assert failure(lambda request: made) == (
        f"GET /x: TypeError in the application: the handler returned {type(made).__name__}; {WANTED}."
        " If it is a factory, call it in APP: module:create(...)"
    )
    assert "factory" not in failure(lambda request: Response(made))


@pytest.mark.parametrize(
    ("result", "hint"),
    [
        (("no such page", 404), "For content with a status: return Response(body, 404)"),
        (("made", HTTPStatus.CREATED), "For content with a status: return Response(body, 201)"),
        (("made", 201, {"X-A": "b"}), "For content with a status: return Response(body, 201, headers)"),
        ((b"no", 404), "For content with a status: return Response(body, 404)"),
        (("a", {"X-A": "b"}), "For content with a status or headers: return Response(body, status, headers)"),
        (("a", "404 Not Found"), "For content with a status or headers: return Response(body, status, headers)"),
        ((b"a", Bytes(b"b")), "For bytes one after the other: Response(iter(...))"),
        ((), "For JSON: a list"),
        ((1, 2, 3, 4), "For JSON: a list"),
        (namedtuple("Point", "x y z w")(1, 2, 3, 4), "For JSON: a list"),
    ],
)
def test_a_tuple_is_a_500_and_the_log_says_what_to_write_instead(result: Any, hint: str) -> None:
    assert failure(lambda request: result) == (
        f"GET /x: TypeError in the application: the handler returned a tuple; {WANTED}. {hint}"
    )
    said = failure(lambda request: Response(result))
    assert f"the body of the Response is a tuple; {WANTED_BODY}. For " in said


def test_pieces_that_are_not_bytes() -> None:
    assert "content must be bytes, not str" in failure(lambda request: iter(["a"]))


# ---- JSON

CIRCLE: list[Any] = [[]]
CIRCLE[0].append(CIRCLE)
DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]

WITHOUT_FORM = [
    ([b"a", b"b"], TypeError, " at [0]: bytes have no form in JSON; decode them to str."
                              " To send bytes piece by piece, return Response(iter(...))"),
    ({"items": [{"price": float("nan")}]}, ValueError,
     " at ['items'][0]['price']: nan is no JSON number; give another number, a text or None"),
    ([1, -float("inf")], ValueError, " at [1]: -inf is no JSON number; give another number, a text or None"),
    ({"data": b"a"}, TypeError, " at ['data']: bytes have no form in JSON; decode them to str"),
    ({"é": {1, 2}}, TypeError, r" at ['\xe9']: set has no form in JSON; make a str, a number, a dict or a list of it"),
    ({"when": date(2000, 1, 1)}, TypeError,
     " at ['when']: datetime.date has no form in JSON; make a str, a number, a dict or a list of it"),
    ({b"a": 1}, TypeError, ": the key b'a' is bytes; the keys of JSON are texts: make a str of it"),
    ([{(1, 2): 1}], TypeError, " at [0]: the key (1, 2) is tuple; the keys of JSON are texts: make a str of it"),
    ([{float("inf"): 1}], ValueError, " at [0]: the key inf is no JSON number; make a str of it"),
    (CIRCLE, ValueError, " at [0][0]: this list contains itself; JSON has no form for that"),
    (DEEP, ValueError, ": it has more than 200 levels; give fewer"),
    (["a\ud800"], ValueError, " at [0]: a text with a lone surrogate has no form in UTF-8"),
    ([{"a\ud800": 1}], ValueError,
     r" at [0]: the key 'a\ud800' has a lone surrogate, which has no form in UTF-8"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "kind", "fault"), WITHOUT_FORM, ids=[str(n) for n in range(len(WITHOUT_FORM))])
def test_what_has_no_form_in_json_is_refused_and_the_place_is_said(value: Any, kind: Any, fault: str) -> None:
    start = f"GET /x: {kind.__name__} in the application: "
    assert failure(lambda request: value) == f"{start}the JSON that the handler returned{fault}"
    assert failure(lambda request: Response(value)) == f"{start}the JSON body of the Response{fault}"
    with pytest.raises(kind) as caught:
        Response.json(value)
    assert str(caught.value) == f"the value for Response.json{fault}"


@pytest.mark.parametrize(
    ("value", "content"),
    [({"a": "é"}, '{"a":"é"}'.encode()), ("text", b'"text"'), (None, b"null"), (1.5, b"1.5"), ((1, 2), b"[1,2]")],
)
def test_response_json(value: Any, content: bytes) -> None:
    got = answer(Response.json(value))
    assert (got.status, got.content, got.get("Content-Type"), got.framing) == (200, content, JSON, "length")
    got = answer(Response.json(value, 201, {"X-A": ["b", "c"]}))
    assert (got.status, [value for name, value in got.fields if name == "X-A"]) == (201, ["b", "c"])
    assert answer(Response.json(value, status="404 Not Here")).reason == "Not Here"


def test_response_json_keeps_the_content_type_that_it_is_given() -> None:
    given = [("content-TYPE", "application/problem+json")]
    got = answer(Response.json({}, 404, given))
    assert (got.get("Content-Type"), len(given)) == ("application/problem+json", 1)
    assert answer(Response({}, headers=given)).get("Content-Type") == "application/problem+json"


def test_response_json_is_made_at_once() -> None:
    value = {"a": 1}
    response = Response.json(value)
    value["a"] = 2
    assert (response.body, response.headers) == (b'{"a":1}', [("Content-Type", JSON)])


def test_response_json_makes_one_of_the_subclass() -> None:
    class Mine(Response):
        pass

    assert type(Mine.json([])) is Mine


def test_json_of_a_status_without_content_has_no_type() -> None:
    assert answer(Response({"a": 1}, 204)).names & {"content-type", "content-length"} == set()


def test_a_coroutine_function_is_no_handler() -> None:
    async def handler(request: Any) -> str:
        return "never"

    with pytest.warns(RuntimeWarning, match="never awaited"):
        said = failure(handler)
        gc.collect()
    assert f"the handler returned coroutine; {WANTED}. To run a coroutine: asyncio.run(...)" in said


def test_text_that_has_no_utf_8() -> None:
    assert "UnicodeEncodeError" in failure(lambda request: "\ud800")


def test_each_piece_is_sent_before_the_next_is_asked_for() -> None:
    second = threading.Event()

    def handler(request: Any) -> Any:
        yield b"one"
        while not second.is_set():
            gevent.sleep(0.001)
        yield b"two"

    with Serving(handler) as served, served.connect() as client:
        client.request("GET", "/")
        while client.file.readline() != b"\r\n":
            pass
        assert client.file.read(8) == b"3\r\none\r\n"
        second.set()
        assert client.file.read(13) == b"3\r\ntwo\r\n0\r\n\r\n"


def test_a_handler_answers_however_the_request_is_split() -> None:
    def handler(request: Any) -> str:
        return f"{request.method} {request.target} {request.headers['x-a']} {request.body.read()!r}"

    data = post(b"hello", b"X-A: b", path=b"/a?b=%20")
    for pieces in every_split(data + data):
        outcome = exchange(handler, pieces)
        assert [each.content for each in answers(outcome.sent)] == [b"POST /a?b=%20 b b'hello'"] * 2


# ---- files


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file.png"
    path.write_bytes(WHOLE)
    return path


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("offset", [0, 1, 100_000, len(WHOLE), len(WHOLE) + 5])
def test_a_regular_file_is_sent_from_where_it_stands_and_closed(file: Path, offset: int, method: str) -> None:
    opened: list[Any] = []

    def handler(request: Any) -> Any:
        opened.append(file.open("rb"))
        opened[-1].seek(offset)
        return opened[-1]

    with Serving(handler) as served, served.connect() as client:
        for _ in range(2):
            reply = client.get(method=method)
            assert (reply.status, reply["content-type"]) == (200, "image/png")
            if method == "GET":
                assert (reply.body, reply.framing) == (WHOLE[offset:], "length")
    assert [each.closed for each in opened] == [True, True]


def test_a_regular_file_is_not_read_into_this_process(file: Path) -> None:
    class Unread(io.FileIO):
        def read(self, *size: Any) -> Any:
            raise AssertionError("it was read")

        readall = readinto = read  # type: ignore[assignment]

    with io.FileIO(file) as plain:
        assert answer(plain).content == WHOLE
    with file.open("rb", buffering=0) as unbuffered, Unread(file) as unread:
        assert answer(unbuffered).content == WHOLE
        assert "it was read" in failure(lambda request: unread)  # a subclass may read other bytes than there are


@pytest.mark.parametrize(("name", "kind"), [("a.html", "text/html"), ("a.unknown-kind", BYTES), ("a", BYTES)])
def test_the_name_of_a_file_says_its_type(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"x")
    assert answer(path.open("rb")).get("Content-Type") == kind
    assert answer(Response(path.open("rb"), headers={"content-TYPE": "a/b"})).get("Content-Type") == "a/b"


class NoClose:
    name = 7  # as that of a pipe, which is its descriptor

    def __init__(self, data: bytes) -> None:
        self.read = io.BytesIO(data).read


def pipe() -> Any:
    reading, writing = os.pipe()
    os.write(writing, b"through a pipe")
    os.close(writing)
    return os.fdopen(reading, "rb")


@pytest.mark.parametrize(
    ("make", "content"),
    [
        (lambda: io.BytesIO(b"x" * 200_000), b"x" * 200_000),
        (lambda: io.BytesIO(b""), b""),
        (lambda: NoClose(b"no close, no fileno"), b"no close, no fileno"),
        (pipe, b"through a pipe"),
    ],
)
def test_what_is_no_regular_file_is_read_in_blocks_and_closed(make: Any, content: bytes) -> None:
    made = make()
    assert answer(made).content == content
    assert getattr(made, "closed", True)


def test_a_compressed_file_is_sent_as_it_reads(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.gz", "wb") as packed:
        packed.write(WHOLE)
    with gzip.open(tmp_path / "a.gz", "rb") as packed:
        assert answer(packed).content == WHOLE


def test_files_that_cannot_be_sent(file: Path) -> None:
    text, closed = file.open(encoding="latin-1"), file.open("rb")
    closed.close()
    assert "the file was opened as text; open it in binary mode" in failure(lambda request: text)
    assert "closed file" in failure(lambda request: closed)
    assert text.closed
    assert "opened as text" in failure(lambda request: io.StringIO("text"))


# ---- close()


def pieces_of(content: Content) -> Any:
    """A generator around `content`, which closes it."""
    try:
        while piece := next(content, None):  # `yield from` would close it too
            yield piece
    finally:
        content.close()


def closing(content: Content, **options: Any) -> Outcome:
    outcome = exchange(lambda request: Response(content, **options), [GET])
    assert content.closed == 1
    return outcome


@pytest.mark.parametrize("data", [GET, HEAD, request(b"GET / HTTP/1.0")])
@pytest.mark.parametrize("status", [200, 204, 304, 404])
def test_close_is_called_once(data: bytes, status: int) -> None:
    content = Content(b"a", b"b")
    outcome = exchange(lambda request: Response(content, status), [data])
    assert (content.closed, outcome.log) == (1, [])


def test_a_generator_is_closed_although_only_its_beginning_is_wanted() -> None:
    states = []

    def handler(request: Any) -> Any:
        try:
            yield b"a"
            yield b"b"
        finally:
            states.append("closed")

    assert only(exchange(handler, [HEAD]).sent, "HEAD").framing == "none"
    assert states == ["closed"]


@pytest.mark.parametrize("pieces", [(), (b"a",), (b"a", b"b")])
def test_close_is_called_once_when_the_iterator_raises(pieces: tuple[bytes, ...]) -> None:
    outcome = closing(Content(*pieces, error=RuntimeError("inside")))
    assert [record.message for record in outcome.log] == ["GET /x: RuntimeError in the application"]
    if pieces:
        assert outcome.ended == "reset"
        assert not outcome.sent.endswith(b"0\r\n\r\n")
    else:
        assert only(outcome.sent).status == 500


@pytest.mark.parametrize(
    "options",
    [{"status": 99}, {"status": 101}, {"status": "abc"}, {"status": None}, {"headers": [("a\n", "b")]},
     {"headers": [("Content-Length", "x")]}],
)  # fmt: skip
def test_close_is_called_once_when_the_head_is_refused(options: Any) -> None:
    content = Content(b"a")
    assert only(closing(content, **options).sent).status == 500
    assert content.asked == 0


def test_close_is_called_once_when_a_piece_is_not_bytes() -> None:
    assert only(closing(Content("a")).sent).status == 500
    assert closing(Content(b"a", "b")).ended == "reset"


def test_close_is_called_once_when_the_client_goes_away_in_the_middle() -> None:
    content = Content(*[b"x" * 10_000] * 10_000)
    with Serving(lambda request: pieces_of(content)) as served:
        client = served.connect()
        client.request("GET", "/")
        client.file.read(100)
        client.reset()
        assert content.over.wait(TIMEOUT)
    assert content.closed == 1
    assert content.asked < 10_000


def test_an_exception_in_close_is_logged_once_and_harms_nothing() -> None:
    class Bad(Content):
        def close(self) -> None:
            raise RuntimeError("inside")

    outcome = exchange(lambda request: Bad(b"whole"), [GET])
    assert only(outcome.sent).content == b"whole"
    assert [record.message for record in outcome.log] == ["GET /x: RuntimeError in close()"]


# ---- HTTPError


def raising(*arguments: Any, **more: Any) -> Any:
    def handler(request: Any) -> Any:
        raise HTTPError(*arguments, **more)

    return handler


@pytest.mark.parametrize("status", [404, HTTPStatus.NOT_FOUND])
def test_an_http_error_is_the_answer_and_is_not_logged(status: int) -> None:
    outcome = exchange(raising(status, "nö page", headers={"X-A": ["b", "c"]}), [GET, GET])
    for each in answers(outcome.sent):
        assert (each.status, each.reason, each.content) == (404, "Not Found", "nö page\n".encode())
        assert [value for name, value in each.fields if name == "X-A"] == ["b", "c"]
        assert each.get("Content-Type") == TEXT
        assert not each.closes
    assert outcome.log == []


def test_an_http_error_says_its_phrase_if_nothing_else_was_said() -> None:
    assert only(exchange(raising(405), [GET]).sent).content == b"Method Not Allowed\n"
    assert only(exchange(raising(499), [GET]).sent).content == b"Error\n"
    assert only(exchange(raising(405), [HEAD]).sent, "HEAD").content == b""


@pytest.mark.parametrize(
    ("status", "kind", "why"),
    [
        *[(status, "ValueError", f"is 400 to 599, not {status}; ") for status in (200, 399, 600, 777, 0, -404)],
        (HTTPStatus.OK, "ValueError", "is 400 to 599, not 200; "),
        ("404", "TypeError", "is a number, not str"),
        ("404 Not Found", "TypeError", "is a number, not str"),
        (None, "TypeError", "is a number, not NoneType"),
        (404.0, "TypeError", "is a number, not float"),
    ],
)
def test_an_http_error_that_is_none_is_a_500_and_the_log_says_why(status: Any, kind: str, why: str) -> None:
    def generating(request: Any) -> Any:
        raise HTTPError(status, "not so")
        yield b""

    for handler in (raising(status, "not so"), generating):
        outcome = exchange(handler, [GET])
        assert only(outcome.sent).status == 500
        (record,) = outcome.log
        assert record.message == f"GET /x: {kind} in the application"
        assert f"the status of an HTTPError {why}" in str(record.error)
        assert isinstance(record.error, Exception) and isinstance(record.error.__cause__, HTTPError)  # and where


def test_an_http_error_whose_fields_cannot_be_sent_is_a_500() -> None:
    assert "control character" in failure(raising(404, headers={"X-A": "b\r\nX-C: d"}))
    assert "a header must be a pair" in failure(raising(404, headers=["X-A"]))


def test_an_http_error_before_the_first_piece_of_a_generator_is_the_answer() -> None:
    def handler(request: Any) -> Any:
        if request.path == "/x":
            raise HTTPError(403, "not you", {"X-A": "b"})
        yield b""
        raise HTTPError(404)

    outcome = exchange(handler, [GET, request(b"GET /y HTTP/1.1")])
    first, second = answers(outcome.sent)
    assert (first.status, first.content, first.get("X-A"), first.get("Content-Type")) == (403, b"not you\n", "b", TEXT)
    assert (second.status, outcome.log) == (404, [])
    content = Content(error=HTTPError(410))
    outcome = closing(content, headers={"X-Lost": "yes", "Content-Length": "99"})
    assert (only(outcome.sent).status, only(outcome.sent).get("X-Lost")) == (410, None)


def test_an_http_error_in_the_middle_of_an_answer_aborts_it() -> None:
    outcome = closing(Content(b"begun", error=HTTPError(404)))
    assert (outcome.ended, outcome.sent.count(b"HTTP/1.1")) == ("reset", 1)
    assert not outcome.sent.endswith(b"0\r\n\r\n")
    assert [record.message for record in outcome.log] == ["GET /x: HTTPError in the application"]


def test_after_an_http_error_the_unread_body_is_not_the_next_request() -> None:
    data = post(GET, path=b"/posted")
    for pieces in every_split(data + GET):
        outcome = exchange(lambda r: raising(404)(r) if r.method == "POST" else "next", pieces)
        assert [each.status for each in answers(outcome.sent)] == [404, 200]


def test_other_exceptions_are_a_500_that_says_nothing() -> None:
    def handler(request: Any) -> Any:
        raise RuntimeError("secret")

    assert failure(handler) == "GET /x: RuntimeError in the application: secret"
    assert b"secret" not in exchange(handler, [GET]).sent


def test_a_body_error_that_passes_is_answered_with_its_status() -> None:
    outcome = exchange(lambda request: request.body.read(), [post(b"hello")[:-1]])
    assert only(outcome.sent).status == 400
    outcome = exchange(lambda request: request.body.read(), [post(b"hello")], limit_request_body=4)
    assert only(outcome.sent).status == 413
    assert [record.level for record in outcome.log] == ["info"]


def test_a_body_error_of_the_handlers_own_is_a_500() -> None:
    def handler(request: Any) -> Any:
        raise BodyError(400, "made up")

    assert "made up" in failure(handler)


# ---- Response: status


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (200, (200, "OK")),
        (404, (404, "Not Found")),
        (413, (413, "Content Too Large")),
        (299, (299, "")),
        (599, (599, "")),
        (HTTPStatus.OK, (200, "OK")),
        (HTTPStatus.CREATED, (201, "Created")),
        ("404 No Such Page", (404, "No Such Page")),
        ("404", (404, "Not Found")),
        ("200 ", (200, "OK")),
        ("299", (299, "")),
    ],
)
def test_a_status(status: Any, line: tuple[int, str]) -> None:
    got = answer(Response("a", status))
    assert (got.status, got.reason, got.content) == (*line, b"a")


@pytest.mark.parametrize("status", [100, 101, 199, HTTPStatus.CONTINUE, "100 Continue", "101"])
def test_an_interim_status_is_refused(status: Any) -> None:
    assert "the status of a response is 200 to 599, not 1" in failure(lambda request: Response("a", status))


@pytest.mark.parametrize(
    "status", [0, 99, 600, 1000, -200, True, None, 404.5, "", "20", "OK", "600 No", "200 a\r\nX: y", "200 €", b"200 OK"]
)
def test_a_status_that_cannot_be(status: Any) -> None:
    failure(lambda request: Response("a", status))


@pytest.mark.parametrize("status", [204, 304, "204 Nothing Here"])
def test_what_has_no_content_says_nothing_about_it(status: Any) -> None:
    for body in ("a", iter([b"a"]), io.BytesIO(b"a"), b""):
        got = answer(Response(body, status, {"ETag": '"e"'}))
        assert (got.content, got.framing, got.get("ETag")) == (b"", "none", '"e"')
        assert not got.names & {"content-length", "transfer-encoding", "content-type"}
    given = answer(Response("", status, {"Content-Type": "a/b"}))
    assert given.get("Content-Type") == "a/b"


def test_205_has_a_length_of_zero() -> None:
    got = answer(Response("a", 205))
    assert (got.content, got.get("Content-Length")) == (b"", "0")


# ---- Response: fields


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A": "1", "X-B": ["2", "3"]},
        {"X-A": ("1",), "X-B": ("2", "3")},
        [("X-A", "1"), ("X-B", "2"), ("X-B", "3")],
        (["X-A", "1"], ("X-B", "2"), ["X-B", "3"]),
        iter([("X-A", "1"), ("X-B", "2"), ("X-B", "3")]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_headers_are_a_mapping_or_pairs(headers: Any) -> None:
    response = Response("a", headers=headers)
    assert response.headers == [("X-A", "1"), ("X-B", "2"), ("X-B", "3")]
    assert [pair for pair in answer(response).fields if pair[0].startswith("X-")] == response.headers


def test_headers_can_be_changed_until_the_response_is_returned() -> None:
    given = [("X-A", "1")]
    response = Response("a", headers=given)
    response.headers.append(("X-B", "2"))
    assert given == [("X-A", "1")]
    response.body, response.status = "b", 202
    got = answer(response)
    assert (got.status, got.content, got.get("X-A"), got.get("X-B")) == (202, b"b", "1", "2")
    response.headers = {"X-C": "3"}
    assert answer(response).get("X-C") == "3"
    assert Response().headers == []
    empty = Response()
    empty.headers.append(("X-D", "4"))
    assert answer(empty).get("X-D") == "4"


@pytest.mark.parametrize("headers", ["X-A", ["X-A"], [("X-A",)], [("X-A", "1", "2")], [None], 7, [("X-A", "1"), 7]])
def test_headers_that_are_no_pairs_are_refused_at_once(headers: Any) -> None:
    with pytest.raises(TypeError):
        Response("a", headers=headers)


@pytest.mark.parametrize("character", [*map(chr, range(9)), *map(chr, range(10, 32)), "\x7f"])
def test_nothing_can_be_smuggled_into_the_head(character: str) -> None:
    for options in (
        {"headers": {"X-A": f"b{character}X-C: d"}},
        {"headers": {f"X-A{character}": "b"}},
        {"status": f"200 OK{character}X-C: d"},
    ):
        said = failure(lambda request: Response("a", **options))  # type: ignore[arg-type]  # noqa: B023
        assert "ResponseError" in said


@pytest.mark.parametrize("headers", [{"": "a"}, {"X A": "a"}, {"X:": "a"}, {"X-€": "a"}, {"X-A": "€"}, {"X-A\t": "a"}])
def test_fields_that_cannot_be(headers: Any) -> None:
    assert "ResponseError" in failure(lambda request: Response("a", headers=headers))


@pytest.mark.parametrize("headers", [{"X-A": 1}, {"X-A": None}, {"X-A": b"a"}, {1: "a"}, {b"X-A": "a"}, {"X-A": [1]}])
def test_fields_that_are_not_text(headers: Any) -> None:
    assert "field names and values must be str" in failure(lambda request: Response("a", headers=headers))


@pytest.mark.parametrize("name", ["Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade", "Trailer"])
def test_what_is_the_servers_is_not_passed_on(name: str) -> None:
    got = answer(Response("a", headers={name: "chunked"}))
    assert (got.get(name), got.content, got.framing) == (None, b"a", "length")


def test_connection_close_is_heard() -> None:
    outcome = exchange(lambda request: Response("a", headers={"Connection": "close"}), [GET * 2])
    assert only(outcome.sent).closes


def test_date_and_server_of_the_handler_stand() -> None:
    got = answer(Response("a", headers={"Date": "then", "Server": "mine"}))
    assert (got.get("Date"), got.get("Server")) == ("then", "mine")


# ---- Response: length


@pytest.mark.parametrize(
    "make", [lambda: b"abcd", lambda: iter([b"ab", b"cd"]), lambda: io.BytesIO(b"abcd")]
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_content_length_that_is_right(make: Any, method: str) -> None:
    got = answer(Response(make(), headers={"Content-Length": "4"}), GET if method == "GET" else HEAD)
    assert (got.get("Content-Length"), got.content) == ("4", b"abcd" if method == "GET" else b"")


@pytest.mark.parametrize("make", [lambda: b"abcd", lambda: iter([b"ab", b"cd"]), lambda: iter([b"abc", b"d", b"e"])])
def test_content_beyond_its_length_is_cut_and_logged(make: Any) -> None:
    outcome = exchange(lambda request: Response(make(), headers={"Content-Length": "3"}), [GET])
    assert only(outcome.sent).content == b"abc"
    assert [record.message for record in outcome.log] == ["GET /x: more content than Content-Length (3); cut"]


def test_an_iterator_is_asked_for_no_more_than_its_length() -> None:
    content = Content(b"abc", b"def", b"ghi")
    closing(content, headers={"Content-Length": "4"})
    assert content.asked == 2


@pytest.mark.parametrize(
    ("make", "missing"), [(lambda: b"ab", 2), (lambda: iter([b"a", b"bc"]), 1), (lambda: iter([]), 4)]
)
def test_content_short_of_its_length_closes_and_is_logged(make: Any, missing: int) -> None:
    outcome = exchange(lambda request: Response(make(), headers={"Content-Length": "4"}), [GET * 2])
    assert outcome.sent.count(b"HTTP/1.1 ") == 1
    assert outcome.ended == "closed"
    assert [record.message for record in outcome.log] == [
        f"GET /x: content ended {missing} bytes short of Content-Length"
    ]


@pytest.mark.parametrize("length", ["", "-1", "1.5", "a", "4, 4", "9" * 19])
def test_a_content_length_that_cannot_be(length: str) -> None:
    assert "Content-Length" in failure(lambda request: Response("abcd", headers={"Content-Length": length}))


# ---- Response: again and again


@pytest.mark.parametrize("body", ["text", b"bytes", bytearray(b"array"), ["a", "list"], {}, ""])
def test_a_response_can_be_returned_many_times(body: Any) -> None:
    response = Response(body, 203, {"X-A": "b"})
    before = list(response.headers)
    outcome = exchange(lambda request: response, [GET * 50, HEAD, GET * 50])
    found = answers(outcome.sent, ["GET"] * 50 + ["HEAD"] + ["GET"] * 50)
    assert len(found) == 101 and len({each.content for each in found}) == (1 if body == "" else 2)
    assert {each.get("X-A") for each in found} == {"b"}
    assert (response.headers, response.body, outcome.log) == (before, body, [])


def test_a_response_tells_what_it_is() -> None:
    assert repr(Response("a", 404)) == "Response(str, 404)"
    response = Response()
    assert (response.body, response.status, response.headers) == (b"", 200, [])


def test_nothing_of_an_answer_is_kept() -> None:
    class Kept:
        def __iter__(self) -> Any:
            yield b"a"

    gone = []

    def handler(request: Any) -> Any:
        content = Kept()
        gone.append(weakref.ref(content))
        return content

    exchange(handler, [GET * 3])
    gc.collect()
    assert [ref() for ref in gone] == [None] * 3


# ---- the connection beneath


def test_a_large_answer_to_a_slow_reader_holds_no_green_thread() -> None:
    for result in (b"x" * 5_000_000, ["x" * 4_999_996]):
        outcome = exchange(lambda request: result, [GET], window=100_000)  # noqa: B023
        assert len(only(outcome.sent).content) == 5_000_000


def test_a_handler_that_raises_after_the_client_has_gone_is_not_an_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "greenhttp")
    begun = threading.Event()

    def handler(request: Any) -> Any:
        begun.set()
        return request.body.read()

    with Serving(handler) as served:
        client = served.connect()
        client.request("POST", "/", "Content-Length: 10", body=b"half")
        assert begun.wait(TIMEOUT)
        client.reset()
    assert {record.levelname for record in caplog.records} == {"INFO"}


def test_a_status_that_is_none_says_where_headers_belong():
    with pytest.raises(TypeError, match="the status of a Response is a number or a text, not dict; headers come third"):
        Client(lambda request: Response("x", {"A": "b"})).get("/")


# ---- what is meant for streams


def of_lines(stream: Any) -> None:
    for line in stream:
        stream.write(line)


def of_blocks(stream: Any) -> None:
    while data := stream.read_some():
        stream.write(data)


def with_it(stream: Any) -> None:
    with stream:
        stream.write(b"x")


def by_hand(stream: Any) -> None:
    next(stream)


def with_time_out(conn: Any) -> None:
    conn.timeout = 60


USED = (
    "the handler uses its argument as a stream, but was given a request; if it is a stream handler, give --interface"
    " stream, or call serve_stream"
)


@pytest.mark.parametrize("handler", [of_lines, of_blocks, with_it, by_hand, with_time_out])
def test_the_first_failure_of_a_stream_handler_served_as_http_says_so(handler: Any) -> None:
    outcome = exchange(handler, [GET * 2])
    assert [each.status for each in answers(outcome.sent)] == [500, 500]
    said = [record.message for record in outcome.log]
    assert said[0] == f"GET /x: {USED}"
    assert [" in the application" in line for line in said] == [False, True, True]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda request: request.no_such_name,
        lambda request: request["read"],
        lambda request: setattr(request, "no_such_name", 1),
        lambda request: None.read(),  # type: ignore[attr-defined]
        lambda request: iter(3),  # type: ignore[call-overload]
        lambda request: request.method.write(b"x"),
    ],
)
def test_other_mistakes_are_not_taken_for_that(wrong: Any) -> None:
    outcome = exchange(wrong, [GET])
    (record,) = outcome.log
    assert record.message.endswith("Error in the application")
