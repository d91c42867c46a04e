"""Applications that do what none should: the answer of the contract, one log entry, and the next request unharmed.

What WSGI applications may return and say wrongly is in tests/hosting/test_wsgi.py, one table of simple mistakes; here
is what is meant to hurt, over both interfaces.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.event import Event

from greenhttp import HTTPError, Response
from tests.http.apps import request
from tests.log_lines import without_peer

# ---- objects that lie


def no(*arguments: Any, **keywords: Any) -> Any:
    raise RuntimeError("evil")


EVIL_NAMES = (
    "__len__ __iter__ __getitem__ __eq__ __contains__ __str__ __repr__ __format__ __add__ __bool__ "
    "encode lower upper strip split partition startswith isascii join replace"
)
EVIL = dict.fromkeys(EVIL_NAMES.split(), no)
EvilStr = type("EvilStr", (str,), {**EVIL, "__hash__": no})
EvilBytes = type("EvilBytes", (bytes,), {**EVIL, "__hash__": no, "__bytes__": no, "__buffer__": no})
EvilList = type("EvilList", (list,), {**EVIL, "__hash__": None})
EvilDict = type("EvilDict", (dict,), {**EVIL, "__hash__": None, "keys": no, "items": no, "get": no})


class LyingStr(str):
    """Whoever asks it is told of another text than it holds."""

    def __len__(self) -> int:
        return 1

    def __str__(self) -> str:
        return "lie\r\nX-Split: yes"

    def encode(self, *arguments: Any) -> bytes:
        return b"lie\r\nX-Split: yes"

    def lower(self) -> str:
        return "transfer-encoding"


class LyingBytes(bytes):
    def __len__(self) -> int:
        return 1 << 40

    def __bytes__(self) -> bytes:
        return b"HTTP/1.1 200 OK\r\n\r\nlie"


class LyingList(list[bytes]):
    def __len__(self) -> int:
        return 1 << 40

    def __iter__(self) -> Any:
        return iter([b"other"])


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Content:
    """An iterable with a close(), each doing what it is told."""

    def __init__(self, iterate: Callable[[], Any], close: Callable[[], Any]) -> None:
        self.__iter = iterate
        self.close = close

    def __iter__(self) -> Any:
        return self.__iter()


def recurse(*_: Any) -> Any:
    return deeper(0)  # not itself with `*_`: by that CPython 3.15.2 ends without any RecursionError


def deeper(depth: int) -> Any:
    return deeper(depth + 1)


def kill_itself(*arguments: Any) -> Any:
    gevent.getcurrent().kill()
    Event().wait()


def throw(error: BaseException) -> Any:
    raise error


# ---- what they come to: (status or None for a reset, content or None for any, word in the log or None for no entry)

FAILED = 500, b"Internal Server Error\n"
ABORTED = None, None


def before(head: Any, error: BaseException) -> Any:
    """A generator that raises before its first piece."""
    raise error
    yield head


def middle(error: BaseException) -> Any:
    yield b"half"
    raise error


def stubborn() -> Any:
    """A generator that does not end when it is told to."""
    try:
        yield b"xx"
    except GeneratorExit:
        yield b"more"


ERRORS: dict[str, Callable[[], BaseException]] = {
    "RuntimeError": lambda: RuntimeError("secret"),
    "Unprintable": Unprintable,
    "SystemExit": lambda: SystemExit("secret"),
    "KeyboardInterrupt": lambda: KeyboardInterrupt("secret"),
    "GreenletExit": lambda: gevent.GreenletExit("secret"),
    "RecursionError": lambda: RecursionError("secret"),
    "MemoryError": lambda: MemoryError("secret"),
    "ConnectionResetError": lambda: ConnectionResetError("secret"),
    "an error of many lines": lambda: RuntimeError("\r\n".join("secret" * 1000 for _ in range(100))),
}

# name: (content of the answer, made for each request; what comes of it)
CONTENTS: dict[str, tuple[Callable[[], Any], tuple[Any, Any], str | None]] = {
    "evil bytes": (lambda: [EvilBytes(b"real")], (200, b"real"), None),
    "lying bytes": (lambda: [LyingBytes(b"real")], (200, b"real"), None),
    "evil pieces": (lambda: iter([EvilBytes(b"real")]), (200, b"real"), None),
    "lying pieces": (lambda: iter([LyingBytes(b"real"), b"", LyingBytes(b"!")]), (200, b"real!"), None),
    "evil list": (lambda: EvilList([b"real"]), FAILED, "RuntimeError"),
    "lying list": (lambda: LyingList([b"real"]), (200, b"other"), None),
    "str in the middle": (lambda: iter([b"half", "str"]), ABORTED, "TypeError"),
    "None in the middle": (lambda: iter([b"half", None]), ABORTED, "TypeError"),
    "iterates over nothing": (lambda: Content(lambda: None, lambda: None), FAILED, "TypeError"),
    "no iter": (lambda: Content(no, lambda: None), FAILED, "RuntimeError"),
    "close raises": (lambda: Content(lambda: iter([b"x"]), no), (200, b"x"), "RuntimeError in close()"),
    "close exits": (
        lambda: Content(lambda: iter([b"x"]), lambda: throw(SystemExit())), (200, b"x"), "SystemExit in close()"
    ),
    "close is no function": (lambda: Content(lambda: iter([b"x"]), 5), (200, b"x"), "TypeError in close()"),
    "close recurses": (lambda: Content(lambda: iter([b"x"]), recurse), (200, b"x"), "RecursionError in close()"),
    "kills itself before": (lambda: Content(kill_itself, lambda: None), FAILED, "GreenletExit"),
    **{f"{name} before": (lambda make=make: before(b"", make()), FAILED, "in the app")
       for name, make in ERRORS.items()},
    **{f"{name} in the middle": (lambda make=make: middle(make()), ABORTED, "in the app")
       for name, make in ERRORS.items()},
}  # fmt: skip

LONG = "b" * 100_000_000
# name: (status, fields; what comes of it)
HEADS: dict[str, tuple[str, list[Any], tuple[Any, Any], str | None]] = {
    "evil status": (EvilStr("200 Fine"), [], (200, b"x"), None),
    "lying status": (LyingStr("200 Fine"), [], (200, b"x"), None),
    "evil value": ("200 OK", [("A", EvilStr("b"))], (200, b"x"), None),
    "lying value": ("200 OK", [("A", LyingStr("b"))], (200, b"x"), None),
    "lying name": ("200 OK", [(LyingStr("A"), "b")], (200, b"x"), None),
    "lying content length": ("200 OK", [("Content-Length", LyingStr("1"))], (200, b"x"), None),
    "100 MB in a value": ("200 OK", [("A", LONG)], FAILED, "ResponseError"),
    "100 MB in a name": ("200 OK", [(LONG, "b")], FAILED, "ResponseError"),
    "10 MB of status": ("200 " + LONG[:10_000_000], [], FAILED, "ResponseError"),
    "a million fields": ("200 OK", [("A", "b")] * 1_000_000, FAILED, "ResponseError"),
    "split by CR LF": ("200 OK", [("A", "b\r\n\r\nHTTP/1.1 200 OK")], FAILED, "ResponseError"),
    "split by LF": ("200 OK", [("A", "b\nX-Split: yes")], FAILED, "ResponseError"),
    "split by CR": ("200 OK", [("A", "b\rX-Split: yes")], FAILED, "ResponseError"),
    "split in a name": ("200 OK", [("A: b\r\nX-Split", "yes")], FAILED, "ResponseError"),
    "split in the status": ("200 OK\r\nX-Split: yes", [], FAILED, "ResponseError"),
    "split by U+010A": ("200 OK", [("A", "b\u010aX-Split: yes")], FAILED, "ResponseError"),
    "NUL": ("200 OK", [("A", "b\0")], FAILED, "ResponseError"),
    "framing of its own": (
        "200 OK", [("Transfer-Encoding", "gzip, chunked"), ("Connection", "keep-alive, X"), ("Keep-Alive", "9")],
        (200, b"x"), None,
    ),
    "too short a length": ("200 OK", [("Content-Length", "0")], (200, b""), "more content than Content-Length"),
    "two lengths": ("200 OK", [("Content-Length", "1"), ("Content-Length", "2")], FAILED, "ResponseError"),
    "a length with a sign": ("200 OK", [("Content-Length", "+1")], FAILED, "ResponseError"),
    "a length of 10 ** 30": ("200 OK", [("Content-Length", "1" + "0" * 30)], FAILED, "ResponseError"),
}  # fmt: skip


def as_wsgi(status: str, fields: list[Any], make: Callable[[], Any]) -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/good":
            start_response("200 OK", [])
            return [b"unharmed"]
        start_response(status, fields)
        return make()

    return app


def as_handler(status: str, fields: list[Any], make: Callable[[], Any]) -> Any:
    def handler(request: Any) -> Any:
        if request.path == "/good":
            return b"unharmed"
        made = make()
        return Response(iter(made) if isinstance(made, list) else made, status, fields)  # a list would be JSON

    return handler


KINDS = {"wsgi": as_wsgi, "native": as_handler}
GOOD, BAD = request(b"GET /good HTTP/1.1"), request(b"GET /bad?secret HTTP/1.1")


@pytest.fixture
def comes_to(serve: Any, caplog: Any, monkeypatch: Any) -> Any:
    """comes_to(app, (status, content), word): twice on a connection that was used before, while others are served."""
    # As under the command, which has a handler of its own: then a KeyboardInterrupt is an error like any other.
    monkeypatch.setattr("greenhttp.green.pool.getsignal", lambda number: None)
    caplog.set_level(logging.INFO, "greenhttp")

    def check(app: Any, expected: tuple[Any, Any], word: str | None) -> None:
        serving = serve(app)
        status, content = expected
        other = serving.connect()
        assert other.ask(GOOD).content == b"unharmed"
        for _ in range(2):
            client = serving.connect()
            assert client.ask(GOOD).content == b"unharmed"
            client.send(BAD)
            if status is None:
                assert client.was_reset()
            else:
                answer = client.answer()
                assert (answer.status, answer.content) == (status, content)
                assert answer.get("X-Split") is None and answer.get("Keep-Alive") is None
                assert client.ask(GOOD).content == b"unharmed"
            assert other.ask(GOOD).content == b"unharmed"
            serving.until(lambda: not serving.count("running"))
        gevent.idle()
        entries = [without_peer(record.getMessage()) for record in caplog.records]
        assert len(entries) == (0 if word is None else 2), entries
        for entry in entries:
            assert word in entry and entry.startswith("GET /bad: ") and "secret" not in entry and "\n" not in entry

    return check


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("make", "expected", "word"), CONTENTS.values(), ids=CONTENTS)
def test_content(comes_to: Any, kind: str, make: Any, expected: Any, word: str | None) -> None:
    comes_to(KINDS[kind]("200 OK", [], make), expected, word)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("status", "fields", "expected", "word"), HEADS.values(), ids=HEADS)
def test_heads(comes_to: Any, kind: str, status: str, fields: list[Any], expected: Any, word: str | None) -> None:
    comes_to(KINDS[kind](status, fields, lambda: [b"x"]), expected, word)


def good_or(bad: Callable[..., Any]) -> Any:
    """A native handler that does `bad(request)` at /bad."""

    def handler(request: Any) -> Any:
        return b"unharmed" if request.path == "/good" else bad(request)

    return handler


class EvilResponse(Response):
    """Its attributes are not what a Response's are."""

    body = property(no)
    status = property(no)
    headers = property(no)


HANDLERS: dict[str, tuple[Callable[..., Any], tuple[Any, Any], str | None]] = {
    **{name: (lambda request, make=make: throw(make()), FAILED, "in the app") for name, make in ERRORS.items()},
    "recurses": (recurse, FAILED, "RecursionError"),
    "kills itself": (kill_itself, FAILED, "GreenletExit"),
    "kills itself in vain": (lambda request: gevent.getcurrent().kill() or b"done", (200, b"done"), None),
    "evil str": (lambda request: EvilStr("real"), FAILED, "RuntimeError"),
    "lying str": (lambda request: LyingStr("real"), (200, b"lie\r\nX-Split: yes"), None),  # content may be anything
    "evil bytes": (lambda request: EvilBytes(b"real"), FAILED, "RuntimeError"),
    "evil dict": (lambda request: EvilDict(), (200, b"{}"), None),
    "evil str in a list": (lambda request: [EvilStr("real")], (200, b'["real"]'), None),
    "bytes in a lying list": (lambda request: LyingList([b"real"]), FAILED, "TypeError"),
    "a key that is evil": (lambda request: {EvilBytes(b"a"): 1}, FAILED, "in the app"),
    "evil headers": (lambda request: Response(b"", 200, EvilDict(a="b")), FAILED, "RuntimeError"),
    "evil response": (lambda request: EvilResponse(b"real"), (200, b"real"), None),
    "a class": (lambda request: Response, FAILED, "TypeError"),
    "itself": (lambda request: request, FAILED, "TypeError"),
    "the content of the request": (lambda request: request.body, (200, b""), None),
    "an error that is none": (lambda request: throw(HTTPError(200)), FAILED, "ValueError"),
    "an error with evil fields": (
        lambda request: throw(HTTPError(404, "x", [("A", "b\r\nX-Split: yes")])), FAILED, "ResponseError"
    ),
    "a file that raises": (lambda request: type("File", (), {"read": no})(), FAILED, "RuntimeError"),
    "a file of str": (lambda request: type("File", (), {"read": lambda self, size: "str"})(), FAILED, "TypeError"),
    "a file whose name is evil": (
        lambda request: type("File", (), {"read": lambda self, size: b"", "name": property(no)})(),
        FAILED, "RuntimeError",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("bad", "expected", "word"), HANDLERS.values(), ids=HANDLERS)
def test_handlers(comes_to: Any, bad: Any, expected: Any, word: str | None) -> None:
    comes_to(good_or(bad), expected, word)


# ---- WSGI: what an application has in its hands


def good_wsgi_or(bad: Callable[..., Any]) -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/good":
            start_response("200 OK", [])
            return [b"unharmed"]
        return bad(environ, start_response)

    return app


def spoils_environ(environ: dict[str, Any], start_response: Any) -> Any:
    for key in list(environ):
        environ[key] = None
    environ["PATH_INFO"] = "/good"
    start_response("200 OK", [])
    environ.clear()
    return [b"done"]


def starts_twice(environ: dict[str, Any], start_response: Any) -> Any:
    start_response("200 OK", [])
    start_response("200 OK", [])
    return [b"done"]


def starts_for_itself(environ: dict[str, Any], start_response: Any) -> Any:
    write = start_response("200 OK", [("Content-Length", "4")])
    assert write is not None
    return start_response


def writes_and_raises(environ: dict[str, Any], start_response: Any) -> Any:
    start_response("200 OK", [])(b"half")
    raise RuntimeError("secret")


def writes_too_much(environ: dict[str, Any], start_response: Any) -> Any:
    write = start_response("200 OK", [("Content-Length", "4")])
    write(b"do")
    write(b"ne, and more")
    return [b"and more"]


def starts_over(environ: dict[str, Any], start_response: Any) -> Any:
    for n in range(10_000):
        try:
            raise RuntimeError("secret")
        except RuntimeError as error:
            start_response("200 OK", [("A", str(n))], (type(error), error, error.__traceback__))
    return [b"done"]


def changes_the_list(environ: dict[str, Any], start_response: Any) -> Any:
    fields = [("A", "b")]
    start_response("200 OK", fields)
    fields[:] = [("A", "b\r\nX-Split: yes")] * 10
    return [b"done"]


WSGI: dict[str, tuple[Callable[..., Any], tuple[Any, Any], str | None]] = {
    "spoils its environ": (spoils_environ, (200, b"done"), None),
    "never starts": (lambda environ, start_response: [b"x"], FAILED, "AssertionError"),
    "never starts, nothing to say": (lambda environ, start_response: [], FAILED, "AssertionError"),
    "never starts, in pieces": (lambda environ, start_response: iter([b"x"]), FAILED, "AssertionError"),
    "starts twice": (starts_twice, FAILED, "AssertionError"),
    "returns start_response": (starts_for_itself, FAILED, "TypeError"),
    "writes and raises": (writes_and_raises, ABORTED, "RuntimeError"),
    "writes too much": (writes_too_much, (200, b"done"), "more content than Content-Length"),
    "starts over ten thousand times": (starts_over, (200, b"done"), None),
    "changes the list of fields": (changes_the_list, (200, b"done"), None),
    "recurses": (recurse, FAILED, "RecursionError"),
    "kills itself": (kill_itself, FAILED, "GreenletExit"),
}


@pytest.mark.parametrize(("bad", "expected", "word"), WSGI.values(), ids=WSGI)
def test_wsgi(comes_to: Any, bad: Any, expected: Any, word: str | None) -> None:
    comes_to(good_wsgi_or(bad), expected, word)


def test_what_is_kept_of_a_request_cannot_reach_the_next_one(serve: Any) -> None:
    kept: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        for old, start, write, fields in kept:
            old["PATH_INFO"] = "/spoilt"
            fields.append(("X-Split", "yes"))
            for late in (
                lambda start=start: start("200 OK", [("X-Split", "yes")]),
                lambda start=start: start("200 OK", [], (KeyError, KeyError(), None)),  # PEP 3333: raised again
                lambda write=write: write(b"split"),
                lambda old=old: old["wsgi.input"].read(),
            ):
                with pytest.raises((AssertionError, OSError, KeyError)):
                    late()
        fields: list[Any] = []
        kept.append((environ, start_response, start_response("200 OK", fields), fields))
        return [environ["PATH_INFO"].encode()]

    client = serve(app).connect()
    for n in range(3):
        line = b"POST /%d HTTP/1.1" % n
        answer = client.ask(request(line, b"Content-Length: 5", content=b"hello"))
        assert (answer.content, answer.get("X-Split")) == (b"/%d" % n, None)


# ---- lengths, and clients that have gone


@pytest.mark.parametrize("kind", KINDS)
def test_content_short_of_its_length_ends_the_connection_and_is_logged_once(
    serve: Any, caplog: Any, kind: str
) -> None:
    serving = serve(KINDS[kind]("200 OK", [("Content-Length", "10")], lambda: iter([b"half"])))
    client = serving.connect().send(BAD)
    assert client.rest().endswith(b"\r\n\r\nhalf")
    assert serving.ask(GOOD).content == b"unharmed"
    gevent.idle()
    assert [without_peer(record.getMessage()) for record in caplog.records] == [
        "GET /bad: content ended 6 bytes short of Content-Length"
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("leave", ["reset", "close"])
def test_content_without_an_end_ends_with_its_client(serve: Any, caplog: Any, kind: str, leave: str) -> None:
    caplog.set_level(logging.INFO, "greenhttp")
    closed: list[int] = []

    def endless() -> Any:
        try:
            while True:
                yield b"x" * 1000
        finally:
            closed.append(1)

    serving = serve(KINDS[kind]("200 OK", [], endless))
    client = serving.connect().send(BAD)
    client.sock.recv(1)
    getattr(client, leave)()
    serving.until(lambda: closed)
    serving.until(lambda: serving.count("connections") == 0)
    gevent.idle()
    (record,) = caplog.records
    assert record.levelno == logging.INFO and "the client disconnected" in record.getMessage()
    assert closed == [1]
    assert serving.ask(GOOD).content == b"unharmed"


@pytest.mark.parametrize("kind", KINDS)
def test_content_without_an_end_does_not_keep_others_waiting(serve: Any, kind: str) -> None:
    def pieces() -> Any:
        while True:
            yield b"x" * 1000

    serving = serve(KINDS[kind]("200 OK", [], pieces))
    greedy = serving.connect().send(BAD)
    reading = gevent.spawn(lambda: [greedy.sock.recv(65536) for _ in range(1000)])
    for _ in range(20):
        assert serving.ask(GOOD).content == b"unharmed"
    reading.kill()


@pytest.mark.parametrize("kind", KINDS)
def test_a_generator_that_will_not_end_is_left_behind(serve: Any, caplog: Any, kind: str) -> None:
    # Its first piece is more than the Content-Length: it is closed there, and yields once more.
    serving = serve(KINDS[kind]("200 OK", [("Content-Length", "1")], stubborn))
    client = serving.connect()
    for _ in range(2):
        assert client.ask(BAD).content == b"x"
        assert client.ask(GOOD).content == b"unharmed"
    gevent.idle()
    entries = [without_peer(record.getMessage()) for record in caplog.records]
    said = ["GET /bad: more content than Content-Length (1); cut", "GET /bad: RuntimeError in close()"]
    assert entries == said * 2


# Where a request waits when somebody kills its green thread: what is sent, and what comes of it.
KILLED = {
    "in the application": (request(b"GET /wait HTTP/1.1"), 500),
    "for its content": (request(b"POST /read HTTP/1.1", b"Content-Length: 5"), 500),
    "in the middle of its answer": (request(b"GET /half HTTP/1.1"), None),
    "for a reader": (request(b"GET /large HTTP/1.1"), None),
}


@pytest.mark.parametrize(("data", "status"), KILLED.values(), ids=KILLED)
def test_a_kill_from_outside_ends_one_request_and_is_one_entry(
    serve: Any, caplog: Any, data: bytes, status: int | None
) -> None:
    threads: list[Any] = []
    closed: list[str] = []

    def pieces(path: str) -> Any:
        try:
            while True:
                yield b"x" * 100_000
                if path == "/half":
                    Event().wait()
        finally:
            closed.append(path)

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        if path == "/good":
            start_response("200 OK", [])
            return [b"unharmed"]
        threads.append(gevent.getcurrent())
        if path == "/wait":
            Event().wait()
        environ["wsgi.input"].read()
        start_response("200 OK", [])
        return pieces(path)

    serving = serve(app)
    client, other = serving.connect(receive_buffer=4096), serving.connect()
    assert client.ask(GOOD).content == other.ask(GOOD).content == b"unharmed"
    client.send(data)
    serving.until(lambda: threads)
    if b"/large" in data:
        serving.until(lambda: serving.count("writing"))
    gevent.idle()  # it waits now
    threads[0].kill()
    if status is None:
        assert client.was_reset()
        assert len(closed) == 1
    else:
        answer = client.answer()
        assert (answer.status, answer.content, answer.closes) == (500, b"Internal Server Error\n", False)
        assert client.ask((b"hello" if b"/read" in data else b"") + GOOD).content == b"unharmed"
    assert other.ask(GOOD).content == b"unharmed"
    serving.until(lambda: caplog.records)
    gevent.idle()
    (record,) = caplog.records
    path = data.split()[1].decode()
    assert path in record.getMessage() and "GreenletExit in the application" in record.getMessage()


def test_the_green_thread_of_a_killed_request_is_told_nothing_later(serve: Any) -> None:
    """A kill that comes when the request is over is meant for nobody."""
    threads: list[Any] = []

    def handler(request: Any) -> bytes:
        for thread in threads:
            thread.kill()
            thread.throw(RuntimeError("for somebody else"))
        threads.append(gevent.getcurrent())
        gevent.sleep(0)
        return b"unharmed"

    client = serve(handler).connect()
    for _ in range(5):
        assert client.ask(GOOD).content == b"unharmed"
