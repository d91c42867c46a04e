"""Requests when foreign code waits, somebody interrupts, or green threads are left behind, at the worst moment."""

from __future__ import annotations

import contextlib
import contextvars
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event

from greenhttp.errors import BodyError, HTTPError
from greenhttp.green.pool import Worker
from greenhttp.observe.noise import Noise
from greenhttp.server import Server
from greenhttp.testing import exchange
from tests.answers import answers, only
from tests.foreign import collecting, in_compiled_code
from tests.green.green import Background
from tests.http.apps import chunks, hello, post, post_chunked, request

BAD = b"BAD\r\n\r\n"
BIG = b"x" * 6_000_000  # more than two sockets hold
VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="clean")


def all_places_are_free(serving: Any) -> None:
    """At rest, every green thread of the pool is idle, and nothing runs."""
    serving.until(lambda: not serving.count("pool_running"))
    assert serving.count("pool_size") == serving.count("pool_idle")
    assert serving.count("running") == serving.count("queued") == 0


# ---- a green thread of the pool that waits without a job


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    """What is said of a refusal waits, the first time: for a finalizer or a signal's handler that comes then."""
    return Held(monkeypatch)


class Held:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gate = Event()
        self.reports: list[str] = []

        def reporting(noise: Noise, kind: str, message: str, level: str = "info") -> None:
            self.reports.append(message)
            if len(self.reports) == 1:
                self.gate.wait()

        monkeypatch.setattr(Noise, "__call__", reporting)


def test_a_refusal_that_foreign_code_held_up_is_sent_and_no_place_is_lost(serve: Any, held: Held) -> None:
    serving = serve(hello, concurrency=1)
    victim = serving.connect().send(BAD)
    serving.until(lambda: held.reports)
    other = serving.connect().send(request())
    serving.until(lambda: serving.count("queued"))
    told = serving.server.statistics()
    assert (told["pool_size"], told["pool_idle"], told["pool_running"], told["running"]) == (1, 0, 1, 0)
    held.gate.set()
    assert victim.answer().status == 400
    assert other.answer().status == 200
    assert serving.ask(request()).status == 200
    victim.close()
    all_places_are_free(serving)


def test_nobody_goes_on_with_a_connection_that_somebody_is_busy_with(serve: Any, held: Held) -> None:
    serving = serve(hello, concurrency=4)
    victim = serving.connect()
    assert victim.ask(request()).status == 200  # so that the loop tells what it sends from here on
    victim.send(BAD)
    serving.until(lambda: held.reports)
    for _ in range(3):
        victim.send(BAD)
        assert serving.ask(request()).status == 200
    assert len(held.reports) == 1
    held.gate.set()
    assert only(victim.rest()).status == 400
    assert len(held.reports) == 1
    all_places_are_free(serving)


def test_a_server_that_stops_cuts_a_connection_that_somebody_is_busy_with_afterwards(serve: Any, held: Held) -> None:
    serving = serve(hello)
    victim = serving.connect().send(BAD)
    serving.until(lambda: held.reports)
    stopping = gevent.spawn(serving.server.stop, 0)
    gevent.idle()
    held.gate.set()
    stopping.join()
    assert serving.server.statistics() == {}
    with pytest.raises(ConnectionResetError):
        while victim.sock.recv(65536):
            pass
        raise ConnectionResetError  # it came to an end, one or the other


# Each a connection's input, and what it comes to.
SCRIPTS: dict[str, tuple[list[bytes], list[int]]] = {
    "one": ([request()], [200]),
    "pipelined": ([request() * 3], [200] * 3),
    "in pieces": ([request()[:20], request()[20:]], [200]),
    "bad": ([BAD], [400]),
    "good and bad": ([request() + BAD], [200, 400]),
    "content": ([post(b"abc"), post(b"abc")[:-1], b"c"], [200, 200]),
    "chunked": ([post_chunked(b"abc", b"de")], [200]),
    "unread": ([request(b"POST /unread HTTP/1.1", b"Content-Length: 4"), b"abcd" + request()], [200, 200]),
    "last": ([request(b"GET / HTTP/1.1", b"Connection: close")], [200]),
}


def app(environ: dict[str, Any], start_response: Any) -> Any:
    if environ["PATH_INFO"] != "/unread":
        environ["wsgi.input"].read()
    start_response("200 OK", [])
    return iter([b"a", b"b"])


@in_compiled_code
@pytest.mark.parametrize("name", SCRIPTS)
def test_wherever_foreign_code_waits_every_request_is_answered_once(serve: Any, name: str) -> None:
    """At each allocation in the pool's green threads, one after the other; meanwhile the client sends the rest."""
    pieces, expected = SCRIPTS[name]
    moments = 0
    while True:
        serving = serve(app, concurrency=1)
        client = serving.connect()
        gate = Event()
        with collecting(gate.wait, lambda: isinstance(gevent.getcurrent(), Worker), moments) as hits:
            for piece in pieces:
                client.send(piece)
                for _ in range(3):
                    gevent.idle()
        gate.set()
        found = [client.answer().status for _ in expected]
        assert found == expected, f"moment {moments}"
        assert serving.ask(request()).status == 200
        client.close()
        all_places_are_free(serving)
        serving.server.stop(0)
        if not hits:
            break
        moments += 1
    assert moments > 3


@in_compiled_code
@pytest.mark.parametrize(
    "data", [request(), post(b"content"), post_chunked(b"con", b"tent")], ids=["get", "length", "coded"]
)
def test_a_connection_may_be_cut_wherever_foreign_code_runs(serve: Any, data: bytes) -> None:
    """At each allocation of a request in turn, also before its head has left the buffer."""
    moments = 0
    while True:
        serving = serve(app)
        client = serving.connect()
        done: list[Any] = []

        def busy() -> bool:
            running = gevent.getcurrent()
            return isinstance(running, Worker) and running.job is not None

        def cut(done: list[Any] = done) -> None:
            gevent.getcurrent().job.cut()  # as a server that stops does
            done.append(True)

        with collecting(cut, busy, moments) as hits:
            client.send(data * 3)
            serving.until(lambda done=done, client=client: done or len(answers_in(client)) == 3)
        for _ in range(3):
            assert serving.ask(request()).status == 200
        all_places_are_free(serving)
        serving.server.stop(0)
        if not hits:
            break
        moments += 1
    assert moments > 3


def answers_in(client: Any) -> list[Any]:
    """What has come so far, without waiting."""
    with gevent.Timeout(0.001, False), contextlib.suppress(ConnectionResetError):
        client.data += client.sock.recv(65536)
    return list(answers(client.data)) if client.data.endswith(b"0\r\n\r\n") else []


@in_compiled_code
@pytest.mark.parametrize(
    "data", [request(), request() + BAD, request(b"GET / HTTP/1.1", b"Connection: close") + b"more"]
)
def test_a_connection_that_is_cut_while_its_green_thread_is_held_up_is_no_more(serve: Any, data: bytes) -> None:
    """At each allocation in the pool's green threads: the server stops meanwhile, at once."""
    moments = 0
    while True:
        serving = serve(app)
        service = serving.server._service
        client = serving.connect()
        gate = Event()

        def stop(serving: Any = serving, gate: Event = gate) -> None:
            gevent.spawn(serving.server.stop, 0)
            with contextlib.suppress(gevent.GreenletExit):  # the stop's
                gate.wait()

        with collecting(stop, lambda: isinstance(gevent.getcurrent(), Worker), moments) as hits:
            client.send(data)
            for _ in range(4):
                gevent.idle()
        gate.set()
        for _ in range(4):
            gevent.idle()
        if not hits:
            break
        assert service.statistics()["connections"] == 0, f"moment {moments}"
        moments += 1
    assert moments > 3


def test_who_is_refused_for_memory_is_not_answering_meanwhile(serve: Any, monkeypatch: Any) -> None:
    """Foreign code comes between the choice and the refusal, and lets the chosen client go on."""
    gate, go, inside, held = Event(), Event(), Event(), []
    report = Server._report

    def reporting(server: Server, level: str, message: str, error: BaseException | None = None) -> None:
        if "limit_buffers" in message and not held:
            held.append(message)
            gate.wait()
        report(server, level, message, error)

    monkeypatch.setattr(Server, "_report", reporting)

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [("Content-Length", "10")])
        write(b"first")
        inside.set()
        go.wait()
        return [b"later"]

    serving = serve(app, limit_buffers=73728)
    large = serving.connect().send(b"GET /large HTTP/1.1\r\nHost: x\r\nX: " + b"b" * 5000 + b"\r\nY: " + b"c" * 5000)
    serving.until(lambda: serving.count("fresh"))
    while not held:
        serving.connect().send(b"GET /small HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 3000)
        gevent.idle()
    large.send(b"\r\n\r\n")
    for _ in range(5):
        gevent.idle()
    gate.set()
    for _ in range(5):
        gevent.idle()
    go.set()
    answer = large.answer()  # either: the one or the other, and whole
    assert (answer.status, answer.content) in [(200, b"firstlater"), (431, b"Request Header Fields Too Large\n")]


# ---- output that was given up


def test_nothing_follows_on_a_connection_whose_output_was_given_up(serve: Any, tmp_path: Path, caplog: Any) -> None:
    caplog.set_level("INFO", "greenhttp")
    path = tmp_path / "file"
    path.write_bytes(b"A" * 20_000)

    def handler(request: Any) -> Any:
        if request.path == "/file":
            return path.open("rb")
        os.truncate(path, 100)
        request.body.read()
        return b"S" * 30_000

    serving = serve(handler)
    client = serving.connect()
    client.send(request(b"GET /file HTTP/1.1") + request(b"POST /next HTTP/1.1", b"Content-Length: 3"))
    data = b""  # who waits for content of /next has what was answered pushed out, and more than is there was promised
    try:
        while piece := client.sock.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    head, _, content = data.partition(b"\r\n\r\n")
    assert b"Content-Length: 20000" in head
    assert content == b"A" * len(content)
    assert len(content) < 20_000
    serving.until(lambda: not serving.count("connections"))
    serving.until(lambda: any("the file ended before all" in record.getMessage() for record in caplog.records))


@pytest.mark.parametrize("base", [Exception, BaseException])
@pytest.mark.parametrize("kind", ["handler", "stream"])
def test_a_signal_that_raises_while_a_connection_is_given_up_keeps_neither_it_nor_the_next(
    serve: Any, monkeypatch: Any, kind: str, base: Any
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, value, traceback: seen.append(kind))
    monkeypatch.setattr(gevent.get_hub(), "handle_error", lambda context, kind, *rest: seen.append(kind))

    class Struck(base):  # type: ignore[misc]
        """What a signal's handler raises."""

    def struck(noise: Noise, kind: str, message: str, level: str = "info") -> None:
        raise Struck

    monkeypatch.setattr(Noise, "__call__", struck)
    if kind == "stream":
        serving = serve(lambda stream: stream.write(BIG), interface="stream", write_timeout=0.05)
    else:
        serving = serve(lambda request: BIG, write_timeout=0.05)
    for count in (1, 2):  # the sweep goes on
        client = serving.connect(receive_buffer=4096)
        if kind == "handler":
            client.send(request())
        serving.until(lambda count=count: len(seen) == count)
        serving.until(lambda: not serving.count("connections"))
    assert seen == [Struck, Struck]


# ---- green threads that outlive their request


class Leave:
    """What an application does with `write` and the environ before it returns; `end` is called once it has."""

    def __init__(self) -> None:
        self.left: list[Background] = []
        self.serving: Any = None

    def begin(self, write: Any, environ: dict[str, Any]) -> None:
        """A green thread that is about to let others go first, and waits for nothing else, when its request ends."""
        self.left.append(Background(write, BIG))
        gevent.sleep(0)

    def end(self) -> None:
        self.serving.until(lambda: not self.serving.count("running"))


class Waiting(Leave):
    """One that waits for the client."""

    def begin(self, write: Any, environ: dict[str, Any]) -> None:
        self.left.append(Background(write, BIG))
        self.serving.until(lambda: self.serving.count("writing"))


class Killed(Waiting):
    """One that is killed when its request is over and not all of the answer has left."""

    def end(self) -> None:
        super().end()
        gevent.killall([each.greenlet for each in self.left])


class Both(Waiting):
    """One that waits for content besides one that waits for the client to read."""

    def begin(self, write: Any, environ: dict[str, Any]) -> None:
        super().begin(write, environ)
        self.left.append(Background(environ["wsgi.input"].read))
        gevent.sleep(0)


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("kind", [Leave, Waiting, Killed, Both])
def test_what_a_request_leaves_behind_does_not_hold_up_its_end(
    serve: Any, caplog: Any, kind: Callable[[], Leave], version: bytes
) -> None:
    """What was written leaves, and the connection goes on or ends in good order, without any time-out."""
    caplog.set_level("INFO", "greenhttp")
    leave = kind()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        write = start_response("200 OK", [])
        if environ["PATH_INFO"] == "/leave":
            leave.begin(write, environ)
        return []

    leave.serving = serving = serve(app, write_timeout=2, body_timeout=2, linger_timeout=60)
    client = serving.connect(receive_buffer=262144)  # TCP crawls when a window is less than a segment
    behind = request(b"GET /behind HTTP/1.1", b"Connection: close")
    if kind is Both:
        client.send(request(b"POST /leave HTTP/" + version, b"Content-Length: 5"))
    else:
        client.send(request(b"GET /leave HTTP/" + version) + behind)
    serving.until(lambda: leave.left)
    leave.end()  # nothing is read before
    answer = client.answer()
    assert (answer.status, answer.content) == (200, BIG)
    assert all(each.ended for each in leave.left)
    if kind is Both:
        client.send(b"hello" + behind)
    rest = client.rest()
    assert rest == b"" or only(rest).status == 200
    client.close()
    serving.until(lambda: not serving.count("connections"))
    all_places_are_free(serving)
    messages = [record.getMessage() for record in caplog.records]
    assert [message for message in messages if "slow" in message] == []
    told = [message for message in messages if "the handler left behind was still reading or writing" in message]
    assert len(told) == (kind is not Leave), messages
    assert [str(each.error) for each in leave.left if "over" not in str(each.error)] == []


@in_compiled_code
def test_what_a_request_leaves_behind_takes_nothing_of_the_next_wherever_it_is_held_up(serve: Any) -> None:
    """At each allocation of a read that is left behind, one after the other."""
    moments = went_on = 0
    while True:
        gate, left = Event(), []

        def app(environ: Any, start_response: Any, gate: Event = gate, left: list[Any] = left) -> list[bytes]:
            read = environ["wsgi.input"].read
            if environ["PATH_INFO"] == "/leave":
                left.append(gevent.spawn(collected, read))
                for _ in range(3):
                    gevent.sleep(0)
                start_response("200 OK", [])
                return []
            gate.set()
            for _ in range(3):
                gevent.sleep(0)
            start_response("200 OK", [])
            return [read()]

        def collected(read: Any, gate: Event = gate, moments: int = moments) -> Any:
            green = gevent.getcurrent()
            with collecting(gate.wait, lambda: gevent.getcurrent() is green, moments) as hits:
                try:
                    return bool(hits), read()
                except OSError:
                    return bool(hits), None

        serving = serve(app)
        client = serving.connect().send(request(b"POST /leave HTTP/1.1", b"Content-Length: 5"))
        assert client.answer().content == b""
        client.send(b"hello" + request(b"POST /next HTTP/1.1", b"Content-Length: 6", b"Connection: close"))
        for _ in range(3):
            gevent.idle()
        with contextlib.suppress(OSError):
            client.send(b"second")
        rest = client.rest()  # nothing where the read was seen to be in the middle
        assert rest == b"" or only(rest).content == b"second", f"moment {moments}"
        went_on += rest != b""
        gate.set()
        hit, found = left[0].get(timeout=30)
        assert found in (None, b"hello"), f"moment {moments}"
        serving.server.stop(0)
        if not hit:
            break
        moments += 1
    assert moments > went_on > 0


# ---- content


@pytest.mark.parametrize("method", ["readline", "readlines", "read", "read_some"])
@pytest.mark.parametrize("chunked", [False, True])
def test_an_interrupted_read_costs_no_content(serve: Any, method: str, chunked: bool) -> None:
    gate = Event()

    def handler(request: Any) -> str:
        got = []
        while True:
            try:
                with gevent.Timeout(0.01, gevent.Timeout):
                    piece = getattr(request.body, method)()
            except gevent.Timeout:
                gate.set()  # nothing more comes before
                continue
            if not piece:
                return repr("".join(b"".join(got).decode()))
            got += piece if method == "readlines" else [piece]

    serving = serve(handler)
    first, second = b"one\nhello ", b"you\n."
    client = serving.connect()
    if chunked:
        client.send(request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", content=chunks(first, last=b"")))
    else:
        client.send(request(b"POST / HTTP/1.1", b"Content-Length: %d" % len(first + second), content=first))
    gate.wait()
    client.send(chunks(second) if chunked else second)
    assert client.answer("POST").content == repr((first + second).decode()).encode()


@pytest.mark.parametrize("limit", [sys.maxsize - 1, sys.maxsize])
def test_the_largest_limit_is_as_good_as_any(limit: int) -> None:
    def handler(request: Any) -> str:
        if request.path == "/json":
            return repr(request.json(limit=limit))
        return repr(dict(request.form(limit=limit)))

    form = b"Content-Type: application/x-www-form-urlencoded"
    pieces = [
        post(b'{"a": 1}', path=b"/json"),
        request(b"POST /json HTTP/1.1", b"Transfer-Encoding: chunked", content=chunks(b"[1", b"]")),
        post(b"a=1", form, path=b"/form"),
        request(b"POST /form HTTP/1.1", form, b"Transfer-Encoding: chunked", content=chunks(b"b=", b"2")),
    ]
    outcome = exchange(handler, pieces)
    assert [answer.content for answer in answers(outcome.sent)] == [
        b"{'a': 1}", b"[1, 2]"[:2] + b"]", b"{'a': '1'}", b"{'b': '2'}",
    ]  # fmt: skip
    assert outcome.log == []


def test_the_largest_limit_is_as_good_as_any_for_files() -> None:
    pytest.importorskip("multipart")
    part = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b--\r\n'

    def handler(request: Any) -> str:
        return repr(dict(request.form(limit=sys.maxsize)))

    outcome = exchange(handler, [post(part, b"Content-Type: multipart/form-data; boundary=b")])
    assert only(outcome.sent).content == b"{'a': '1'}"


@pytest.mark.parametrize(
    ("kind", "content", "expected"),
    [
        (b"application/x-www-form-urlencoded", [b"a=1&", b"b=2"], b"{'a': '1', 'b': '2'}"),
        (b"multipart/form-data; boundary=b", [b"--b\r\nContent-", b"Disposition: form-data"], b"interrupted"),
    ],
)
def test_a_form_that_was_interrupted_is_read_again_where_nothing_of_it_is_lost(
    serve: Any, kind: bytes, content: list[bytes], expected: bytes
) -> None:
    interrupted = Event()

    def handler(request: Any) -> str:
        try:
            with gevent.Timeout(0.001):
                request.form()
        except gevent.Timeout:
            interrupted.set()
        try:
            return repr(dict(request.form()))
        except HTTPError as error:
            return str(error.text)

    client = serve(handler).connect()
    first, second = content
    length = b"Content-Length: %d" % len(first + second)
    client.send(request(b"POST / HTTP/1.1", b"Content-Type: " + kind, length) + first)
    interrupted.wait()
    client.send(second)
    assert expected in client.answer().content


# ---- context variables


@pytest.mark.parametrize("pipelined", [False, True])
def test_a_context_that_the_application_assigned_is_not_the_next_ones(serve: Any, pipelined: bool) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen = VARIABLE.get()
        VARIABLE.set("secret of " + environ["PATH_INFO"])
        if environ["PATH_INFO"] == "/alice":
            gevent.getcurrent().gr_context = contextvars.copy_context()
        start_response("200 OK", [])
        return [seen.encode()]

    serving = serve(app, concurrency=1)
    paths = [b"/alice", b"/bob", b"/alice", b"/alice", b"/carol"]
    heads = [request(b"GET " + path + b" HTTP/1.1") for path in paths]
    if pipelined:
        client = serving.connect().send(b"".join(heads))
        found = [client.answer().content for _ in heads]
    else:
        found = [serving.ask(head).content for head in heads]
    assert found == [b"clean"] * 5


def test_who_was_left_behind_in_a_body_that_its_request_read_to_the_end_is_told_so(serve: Any) -> None:
    found: list[Any] = []
    waits, come = Event(), Event()

    def left_behind(body: Any) -> None:
        waits.set()
        try:
            found.append(body.read(5))
        except BodyError as error:
            found.append(str(error))
        come.set()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        gevent.spawn(left_behind, environ["wsgi.input"])
        waits.wait()
        gevent.sleep(0)
        client.sock._sock.send(b"hello")  # without a switch: the loop has not looked when it is read here
        content = b""
        while len(content) < 5:
            content += environ["wsgi.input"].read_some()
        start_response("200 OK", [])
        return [content]

    serving = serve(app)
    client = serving.connect()
    client.send(request(b"POST / HTTP/1.1", b"Content-Length: 5"))
    assert client.answer().content == b"hello"
    come.wait()
    assert found == ["the request is over: its body can no longer be read"]


def test_a_body_that_no_request_has_is_an_error_and_no_crash() -> None:
    found: list[str] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        for kind in (type(environ["wsgi.input"]), *type(environ["wsgi.input"]).__mro__[1:-1]):
            with contextlib.suppress(TypeError):
                try:
                    found.append(repr(kind().read()))
                except BodyError as error:
                    found.append(str(error))
        start_response("200 OK", [])
        return []

    assert only(exchange(app, [post(b"abc")]).sent).status == 200
    assert found[0] == "no request has this body"


def test_a_body_that_came_too_slowly_ends_the_connection_even_if_the_application_forgives(serve: Any) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        with contextlib.suppress(OSError):
            environ["wsgi.input"].read()
        start_response("200 OK", [])
        return [b"forgiven"]

    serving = serve(app, body_timeout=0.05)
    client = serving.connect().send(request(b"POST / HTTP/1.1", b"Content-Length: 5", content=b"ab"))
    answer = client.answer()
    assert (answer.content, answer.closes) == (b"forgiven", True)
    client.send(b"cde" + request())
    assert client.ended()


@pytest.mark.parametrize("outcome", ["fails", "is cut"])
def test_the_time_of_a_request_is_over_with_the_application(
    serve: Any, monkeypatch: pytest.MonkeyPatch, outcome: str
) -> None:
    """What the log waits for afterwards, a finalizer say, is no longer the request's time."""
    gate, waits = Event(), Event()
    report = Server._report

    def reporting(server: Server, level: str, message: str, error: BaseException | None = None) -> None:
        if "/victim" in message:
            waits.set()
            gate.wait()
        report(server, level, message, error)

    monkeypatch.setattr(Server, "_report", reporting)

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/slow":
            Event().wait()
        if environ["PATH_INFO"] == "/victim" and outcome == "fails":
            raise RuntimeError
        start_response("200 OK", [("Content-Length", "3")])
        return [b"four"]  # one byte too many: that is logged, too

    serving = serve(app, request_timeout=0.05)
    victim = serving.connect().send(request(b"GET /victim HTTP/1.1"))
    waits.wait()
    assert serving.ask(request(b"GET /slow HTTP/1.1")).status == 503  # so its time is up, and the victim's was before
    gate.set()
    if outcome == "fails":
        assert victim.answer().status == 500
    victim.close()
    all_places_are_free(serving)
