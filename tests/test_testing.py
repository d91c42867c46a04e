"""greenhttp/testing: every_split, exchange and the client."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import gevent
import gevent.event
import pytest

from greenhttp import HTTPError, Request, RequestTimeout, Response
from greenhttp.errors import ConfigError
from greenhttp.testing import Client, Fields, every_split, exchange
from greenhttp.testing.messages import read_answer


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", [[]]),
        (b"a", [[b"a"]]),
        (b"abc", [[b"abc"], [b"a", b"b", b"c"], [b"a", b"bc"], [b"ab", b"c"]]),
    ],
)
def test_every_split_gives_whole_bytewise_and_every_cut(data: bytes, expected: list[list[bytes]]) -> None:
    assert list(every_split(data)) == expected


def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    content = environ["wsgi.input"].read()
    start_response("200 OK", [])
    return [content]


HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n"


def test_exchange_says_what_was_sent_and_how_it_ended() -> None:
    outcome = exchange(app, [HEAD, b"he", b"llo"])
    assert outcome.sent.startswith(b"HTTP/1.1 200 OK\r\n") and outcome.sent.endswith(b"\r\n\r\nhello")
    assert (outcome.ended, outcome.sends, outcome.log) == ("closed", 1, [])


@pytest.mark.parametrize("pieces", [[], [b"POST"], [HEAD + b"hello"]])
def test_exchange_ends_when_nothing_more_can_come(pieces: list[bytes]) -> None:
    assert exchange(app, pieces, keep_open=True).ended == "open"


def test_exchange_takes_settings_and_waits_for_time_outs() -> None:
    outcome = exchange(app, [HEAD], keep_open=True, body_timeout=0.02)
    assert outcome.sent.startswith(b"HTTP/1.1 408 ") and outcome.ended == "closed"
    with pytest.raises(ConfigError):
        exchange(app, [], no_such_setting=1)


def test_exchange_keeps_the_log_and_the_exception() -> None:
    def broken(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        yield b"part"
        raise KeyError("why")

    outcome = exchange(broken, [HEAD + b"hello"])
    (record,) = outcome.log
    assert outcome.ended == "reset"
    assert (record.level, type(record.error)) == ("error", KeyError) and "POST /" in record.message


def test_exchange_with_a_window_sends_in_as_many_turns() -> None:
    outcome = exchange(app, [HEAD + b"hello"], window=10)
    assert outcome.sends == -(-len(outcome.sent) // 10)


# ---- the client


def tell(request: Request) -> Any:
    """What came of a request."""
    return {
        "method": request.method,
        "target": request.target,
        "headers": request.headers.pairs,
        "content": request.body.read().decode("latin-1"),
    }


def tell_wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    told = {
        "method": environ["REQUEST_METHOD"],
        "target": environ["RAW_URI"],
        "headers": [
            (key.removeprefix("HTTP_").replace("_", "-"), value)
            for key, value in environ.items()
            if key.startswith("HTTP_") or key in ("CONTENT_TYPE", "CONTENT_LENGTH")
        ],
        "content": environ["wsgi.input"].read().decode("latin-1"),
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(told).encode()]


@pytest.fixture(params=[tell, tell_wsgi])
def told(request: pytest.FixtureRequest) -> Any:
    """told(method, target, **more): what the application was told."""

    def ask(method: str, target: str, **more: Any) -> Any:
        found = Client(request.param).request(method, target, **more).json()
        found["headers"] = {name.lower(): value for name, value in found["headers"]}
        return found

    return ask


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("app", [tell, tell_wsgi])
def test_each_method_has_its_name(method: str, app: Any) -> None:
    answer = getattr(Client(app), method.lower())("/a?b=c")
    found = answer.json()
    assert (answer.status, answer.reason, found["method"], found["target"]) == (200, "OK", method, "/a?b=c")
    assert (answer.headers["CONTENT-type"], found["content"]) == ("application/json", "")


def test_head_has_no_content() -> None:
    answer = Client(lambda request: Response("abc", headers={"X-A": request.method})).head("/")
    assert (answer.status, answer.content, answer.headers["x-a"]) == (200, b"", "HEAD")


def test_what_is_sent_without_content(told: Any) -> None:
    assert told("GET", "/")["headers"] == {"host": "localhost"}
    assert told("POST", "/")["headers"] == {"host": "localhost", "content-length": "0"}
    assert told("BREW", "/")["method"] == "BREW"
    assert told("GET", "/a b/é?c=d%20e&f=ü")["target"] == "/a%20b/%C3%A9?c=d%20e&f=%C3%BC"
    assert told("OPTIONS", "*")["target"] == "*"


def test_headers_that_are_sent(told: Any) -> None:
    given = {"X-A": "1", "host": "example.com", "X-B": ["2", "3"], "X-C": ("4",)}
    headers = told("GET", "/", headers=given)["headers"]
    assert (headers["x-a"], headers["host"]) == ("1", "example.com")
    assert headers["x-c"] == "4"
    assert headers["x-b"] in ("2, 3", "3")  # joined by WSGI; apart, the last one here, in pairs
    assert told("GET", "/", headers=[("Cookie", "a=b")])["headers"]["cookie"] == "a=b"


@pytest.mark.parametrize("value", [{"a": ["é", None]}, [], None, 1.5, "text"])
def test_json_is_sent(told: Any, value: Any) -> None:
    found = told("POST", "/", json=value)
    assert json.loads(found["content"].encode("latin-1")) == value
    assert found["headers"]["content-type"] == "application/json"
    assert told("POST", "/", json=value, headers={"Content-Type": "a/b"})["headers"]["content-type"] == "a/b"


@pytest.mark.parametrize(
    ("content", "sent"),
    [(b"a\xff", "a\xff"), ("é", "\xc3\xa9"), (b"", ""), (bytearray(b"ab"), "ab"), (memoryview(b"ab"), "ab")],
)
def test_content_of_known_length(told: Any, content: Any, sent: str) -> None:
    found = told("PUT", "/", content=content)
    assert (found["content"], found["headers"]["content-length"]) == (sent, str(len(sent)))
    assert "content-type" not in found["headers"]


LONG = b"a" * 70_000


@pytest.mark.parametrize(
    "make", [lambda: iter([LONG, b"", b"b"]), lambda: io.BytesIO(LONG + b"b"), lambda: [LONG, b"b"]]
)
def test_content_in_pieces(told: Any, make: Any) -> None:
    found = told("PUT", "/", content=make())
    assert (found["content"], "content-length" in found["headers"]) == ("a" * 70_000 + "b", False)  # in chunks
    found = told("PUT", "/", content=make(), headers={"Content-Length": "70001"})
    assert (found["content"], found["headers"]["content-length"]) == ("a" * 70_000 + "b", "70001")


def test_pieces_arrive_one_after_the_other() -> None:
    def handler(request: Request) -> Any:
        return [piece.decode() for piece in iter(lambda: request.body.read_some(100), b"")]

    assert Client(handler).post("/", content=iter([b"a", b"b", b"c"])).json() == ["a", "b", "c"]


def formed(request: Request) -> Any:
    form = request.form()
    files = [(name, each.filename, each.content_type, each.file.read().decode()) for name, each in form.files.pairs]
    return {"fields": form.pairs, "files": files, "type": request.headers["Content-Type"].partition(";")[0]}


def test_a_form() -> None:
    client = Client(formed)
    expected = {"fields": [["a", "1 é"], ["a", "2"], ["b", "&="]], "files": [],
                "type": "application/x-www-form-urlencoded"}  # fmt: skip
    assert client.post("/", form={"a": ["1 é", "2"], "b": "&="}).json() == expected
    assert client.post("/", form=[("a", "1 é"), ("a", "2"), ("b", "&=")]).json() == expected


def test_uploads_in_a_form(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"from a file")
    with (tmp_path / "a.txt").open("rb") as file:
        form = {"é": "ü\r\n--boundary-0", "f": [file, ("b.png", b"png")], "g": ('"c"', b"", "x/y")}
        found = Client(formed).post("/", form={**form, "h": io.BytesIO(b"z")}).json()
    assert (found["type"], found["fields"]) == ("multipart/form-data", [["é", "ü\r\n--boundary-0"]])
    assert found["files"] == [
        ["f", "a.txt", "text/plain", "from a file"], ["f", "b.png", "image/png", "png"], ["g", '"c"', "x/y", ""],
        ["h", "file", "application/octet-stream", "z"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda client: client.get("x"), ValueError, "begins with /"),
        (lambda client: client.request("GET /", "/"), ValueError, "no method"),
        (lambda client: client.get("/", headers={"X-A": "b\r\nX-C: d"}), ValueError, "no header"),
        (lambda client: client.get("/", headers={"X A": "b"}), ValueError, "no header"),
        (lambda client: client.get("/", headers={"X-A": "€"}), ValueError, "latin-1"),
        (lambda client: client.post("/", json={}, content=b""), TypeError, "one of json, form and content"),
        (lambda client: client.post("/", content=["a"]), TypeError, "must be bytes, not str"),
        (lambda client: client.post("/", json=b""), TypeError, "not JSON serializable"),
        (lambda client: client.post("/", form={"a": 1}), TypeError, "a form has str"),
        (lambda client: client.post("/", form={"a": ("b", "c")}), TypeError, "a form has str"),
    ],
)
def test_what_cannot_be_sent(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call(Client(tell))


def test_the_headers_of_an_answer() -> None:
    given = [("X-A", "1"), ("Set-Cookie", "a=b"), ("x-a", "2"), ("Set-Cookie", "c=d")]
    headers = Client(lambda request: Response("", headers=given), server_header="off").get("/").headers
    assert (headers["x-A"], headers.get("X-Nothing"), "X-NOTHING" in headers) == ("1, 2", None, False)
    assert (headers.get_all("set-cookie"), headers.get_all("x")) == (["a=b", "c=d"], [])
    assert [pair for pair in headers.pairs if pair in given] == given
    assert list(headers) == ["x-a", "set-cookie", "content-type", "date", "content-length"] and len(headers) == 5
    assert repr(Fields([("A", "b")])) == "Fields([('A', 'b')])"
    with pytest.raises(KeyError):
        headers["X-Nothing"]


@pytest.mark.parametrize(
    ("kind", "content", "text"),
    [
        ("text/plain; charset=latin-1", b"\xe9", "é"),
        ('text/plain; charset="ISO-8859-1"', b"\xe9", "é"),
        ("text/plain", "é".encode(), "é"),
        ("a/b; x=charset", b"a", "a"),
    ],
)
def test_the_text_of_an_answer(kind: str, content: bytes, text: str) -> None:
    assert Client(lambda request: Response(content, headers={"Content-Type": kind})).get("/").text == text


def test_answers_of_every_kind() -> None:
    def handler(request: Request) -> Any:
        match request.path:
            case "/none":
                return Response(status=204)
            case "/reason":
                return Response(b"a", "404 Not Here")
            case "/error":
                raise HTTPError(HTTPStatus.GONE, "gone")
            case "/stream":
                return (b"%d," % number for number in range(1000))
            case "/file":
                return open(__file__, "rb")
        return b"x" * 1_000_000

    with Client(handler) as client:
        assert (client.get("/none").status, client.get("/none").content) == (204, b"")
        assert (client.get("/reason").status, client.get("/reason").reason) == (404, "Not Here")
        assert client.get("/error").text == "gone\n"
        assert client.get("/error", headers={"Accept": "application/json"}).json()["error"]["status"] == 410
        assert client.get("/stream").content == b"".join(b"%d," % number for number in range(1000))
        assert client.get("/file").content == Path(__file__).read_bytes()
        assert len(client.post("/large", content=b"y" * 1_000_000).content) == 1_000_000  # which it does not read
        assert client.log == []


def test_informational_answers_are_passed_over() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response.inform("103 Early Hints", [("Link", "</a>")])
        start_response("200 OK", [])
        return [b"a"]

    answer = Client(app).get("/")
    assert (answer.status, answer.content, "Link" in answer.headers) == (200, b"a", False)


def test_trailers_are_passed_over() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"a"
        start_response.add_trailer("X-A", "b")

    assert Client(app).get("/").content == b"a"


# ---- errors of the application


def failing(request: Request) -> Any:
    raise KeyError("why")


def failing_wsgi(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
    start_response("200 OK", [])
    yield b"part"
    raise KeyError("why")


@pytest.mark.parametrize("app", [failing, failing_wsgi])
def test_an_exception_in_the_application_is_raised_with_its_traceback(app: Any) -> None:
    client = Client(app)
    with pytest.raises(KeyError) as caught:
        client.get("/")
    assert caught.traceback[-1].name == app.__name__
    assert [type(record.error) for record in client.log] == [KeyError]
    with pytest.raises(KeyError):
        client.get("/")


def test_an_exception_is_a_500_if_that_is_wanted() -> None:
    client = Client(failing, raise_errors=False)
    answer = client.get("/x")
    assert (answer.status, answer.text) == (500, "Internal Server Error\n")
    assert [record.message for record in client.log] == ["GET /x: KeyError in the application"]


def test_an_answer_that_was_cut_is_no_answer() -> None:
    with pytest.raises(ConnectionError, match="within the answer 200"):
        Client(failing_wsgi, raise_errors=False).get("/")
    short = Client(lambda request: Response(iter([b"a"]), headers={"Content-Length": "2"}))
    with pytest.raises(ConnectionError, match="within the answer 200"):
        short.get("/")
    assert "short of Content-Length" in short.log[0].message


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
def test_no_answer_at_all(sent: bytes) -> None:
    with pytest.raises(ConnectionError, match="without an answer"):
        read_answer(sent, "GET", "closed")


@pytest.mark.parametrize("sent", [b"", b"1\r\na\r\n", b"1\r\na\r\n0"])
def test_chunks_without_an_end(sent: bytes) -> None:
    with pytest.raises(ConnectionError, match="within the answer 200"):
        read_answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + sent, "GET", "closed")


def test_time_outs_are_those_of_the_settings() -> None:
    def handler(request: Request) -> Any:
        gevent.sleep(30)

    with pytest.raises(RequestTimeout):
        Client(handler, request_timeout=0.02).get("/")
    assert Client(handler, request_timeout=0.02, raise_errors=False).get("/").status == 503
    assert Client(tell, limit_request_body=3).put("/", content=b"long").status == 413


# ---- its life


def test_as_a_context_manager_it_keeps_one_server() -> None:
    held: list[int] = []

    def handler(request: Request) -> str:
        held.append(id(gevent.getcurrent()))
        return "a"

    with Client(handler) as client:
        assert [client.get("/").text for _ in range(3)] == ["a"] * 3
        assert len(set(held)) == 1  # one green thread has served all of them
        with pytest.raises(RuntimeError, match="entered already"), client:
            pass
        assert client.get("/").text == "a"
    assert client.get("/").text == "a"
    with client:
        assert client.get("/").text == "a"


def test_requests_side_by_side() -> None:
    both = gevent.event.Event()
    inside: list[str] = []

    def handler(request: Request) -> str:
        inside.append(request.path)
        if len(inside) == 2:
            both.set()
        return f"{both.wait(10)}{request.path}"

    with Client(handler) as client:
        calls = [gevent.spawn(client.get, path) for path in ("/a", "/b")]
        assert [call.get().text for call in calls] == ["True/a", "True/b"]


def test_a_client_that_waits_has_not_gone() -> None:
    def handler(request: Request) -> Any:
        gevent.sleep(0)
        return {"gone": request.gone, "read": request.body.read().decode(), "now": request.gone}

    assert Client(handler).post("/", content="ab").json() == {"gone": False, "read": "ab", "now": False}


def test_what_cannot_be_served_is_said_at_once() -> None:
    with pytest.raises(ConfigError, match="must be callable"):
        Client(5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no such setting"):
        Client(tell, no_such_setting=1)  # type: ignore[call-arg]


def test_nothing_is_left_behind() -> None:
    with Client(tell) as client:
        client.get("/")
        service = client._service
        assert service is not None
        gevent.sleep(0)
        assert service.statistics()["connections"] == 0


def test_importing_it_starts_no_event_loop() -> None:
    code = "import sys, greenhttp.testing; assert not {m for m in sys.modules if m.split('.')[0] == 'gevent'}"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
