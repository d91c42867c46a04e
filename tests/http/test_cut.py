"""A stop that cannot wait any longer: what its clients are told, what the log says, what the access log says."""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import os
import re
import time
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.event import Event

from greenhttp.errors import StreamClosed
from greenhttp.observe.cuts import MOST, Cut, listed
from greenhttp.process.board import Board
from greenhttp.process.places import of_application, own
from greenhttp.server import Server
from tests.foreign import collecting, in_compiled_code
from tests.http.apps import hello, post, request
from tests.http.client import Client
from tests.http.test_limits import get
from tests.log_lines import without_peer

SOON = 0.05  # seconds that a stop has here: whatever runs in these tests never ends by itself
HERE = re.escape(__file__)


class Inside:
    """An application that stays in a request until the server cuts it.

    Attributes:
        ended: what ended each.
    """

    def __init__(self) -> None:
        self.ended: list[type[BaseException]] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        if path == "/hello":
            return hello(environ, start_response)
        if path == "/stream":
            start_response("201 Created", [])
            return self.pieces()
        try:
            if path == "/read":
                environ["wsgi.input"].read()
            self.query()
        except BaseException as error:
            self.ended.append(type(error))
            raise
        raise AssertionError("it was not cut")

    def query(self) -> None:
        Event().wait()

    def pieces(self) -> Any:
        yield b"part"
        self.query()


@pytest.fixture
def log(caplog: Any) -> Any:
    """log(): (level, message) of all that was said, once the server has stopped."""
    caplog.set_level(logging.INFO, "greenhttp")
    return lambda: [(record.levelname, record.getMessage()) for record in caplog.records]


def run(serving: Any, *requests: bytes) -> list[Client]:
    """Clients whose requests run, each on a connection of its own, in this order."""
    clients = []
    for data in requests:
        before = serving.count("running")
        clients.append(serving.connect().send(data))
        serving.until(lambda before=before: serving.count("running") == before + 1)
    return clients


def told(client: Client, method: str = "GET") -> Any:
    """What a client that was cut is told, before the connection ends in good order."""
    answer = client.answer(method)
    assert client.ended()
    return answer


# ---- the client


@pytest.mark.parametrize("timeout", [SOON, 0])
def test_who_has_nothing_of_an_answer_gets_503(serve: Any, timeout: float) -> None:
    app = Inside()
    serving = serve(app, concurrency=2)
    first, second = run(serving, get("/wait"), post(b"hello", path=b"/read")[:-1])
    third = serving.connect().send(get("/queued"))
    serving.until(lambda: serving.count("queued"))
    assert serving.server.stop(timeout) is False
    for client, retry in (first, None), (second, None), (third, "10"):
        answer = told(client)
        assert (answer.status, answer.closes, answer.content) == (503, True, b"Service Unavailable\n")
        assert answer.get("Retry-After") == retry  # where nothing has been done yet
    serving.until(lambda: len(app.ended) == 2)
    assert app.ended == [gevent.GreenletExit] * 2 or StreamClosed not in app.ended


def test_who_has_a_head_sees_a_reset(serve: Any) -> None:
    serving = serve(Inside())
    (client,) = run(serving, get("/stream"))
    while b"part" not in client.data:
        client.data += client.sock.recv(65536)
    serving.server.stop(SOON)
    assert client.data.startswith(b"HTTP/1.1 201 ")
    assert client.was_reset()


def test_half_a_head_gets_no_answer(serve: Any) -> None:
    serving = serve(Inside())
    run(serving, get("/wait"))
    half = serving.connect().send(request()[:10])
    serving.until(lambda: serving.count("fresh"))
    serving.server.stop(SOON)
    assert half.was_reset()


def test_head_gets_no_content_and_json_is_for_who_wants_it(serve: Any) -> None:
    serving = serve(Inside(), concurrency=2)
    head, wants_json = run(serving, request(b"HEAD /wait HTTP/1.1"), request(b"GET / HTTP/1.1", b"Accept: text/plain"))
    queued = serving.connect().send(request(b"GET /queued HTTP/1.1", b"Accept: application/json"))
    queued_head = serving.connect().send(request(b"HEAD /queued HTTP/1.1"))
    serving.until(lambda: serving.count("queued") == 2)
    serving.server.stop(SOON)
    for client in head, queued_head:
        answer = told(client, "HEAD")
        assert (answer.status, answer.get("Content-Length"), answer.content) == (503, "20", b"")
    assert told(wants_json).content == b"Service Unavailable\n"
    assert json.loads(told(queued).content)["error"]["status"] == 503


def test_answers_before_it_in_a_pipeline_are_not_lost(serve: Any) -> None:
    serving = serve(Inside())
    (client,) = run(serving, get("/hello") + get("/hello") + get("/wait") + get("/behind"))
    serving.server.stop(SOON)
    assert [client.answer().status for _ in range(2)] == [200, 200]
    answer = client.answer()
    assert (answer.status, answer.closes) == (503, True)
    assert client.ended()


def test_content_that_nobody_has_read_does_not_take_the_answer_with_it(serve: Any) -> None:
    serving = serve(Inside(), concurrency=1)
    data = post(b"x" * 100_000, path=b"/wait")
    (running,) = run(serving, data)
    queued = serving.connect().send(data)
    serving.until(lambda: serving.count("queued"))
    serving.server.stop(SOON)
    assert told(running).status == told(queued).status == 503


def test_nobody_waits_for_a_client_that_does_not_read(tmp_path: Path) -> None:
    server = Server(Inside(), bind=f"unix:{tmp_path}/s")  # a buffer of this machine alone: full is full
    server.start()
    client = Client(server.address).send(get("/wait"))
    while not server.statistics()["running"]:
        gevent.sleep(0.001)
    (connection,) = server._connections(server._service)  # type: ignore[arg-type]
    for size in (60_000, 1000, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(connection.stream.fileno(), b"x" * size)  # behind its back
    assert server.stop(SOON) is False
    assert server.statistics() == {}
    assert client.rest().strip(b"x") == b""  # nothing that could be taken for an answer
    client.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


def test_a_client_that_has_gone_disturbs_nobody(serve: Any) -> None:
    serving = serve(Inside())
    gone, there = run(serving, get("/wait"), get("/wait"))
    gone.reset()
    gevent.idle()
    serving.server.stop(SOON)
    assert told(there).status == 503


def test_an_application_that_does_not_let_itself_be_ended_says_nothing_more(serve: Any) -> None:
    done = Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            Event().wait()
        except gevent.GreenletExit:
            done.set()
        start_response("200 OK", [])
        return [b"late"]

    serving = serve(app)
    (client,) = run(serving, get("/wait"))
    serving.server.stop(SOON)
    done.wait()
    assert told(client).status == 503


# ---- the log


def test_the_log_says_what_was_cut_for_how_long_and_where_it_is(log: Any) -> None:
    app = Inside()
    server = Server(app, bind="127.0.0.1:0", concurrency=3, graceful_timeout=SOON)
    board = Board(10)
    board.own()
    server.start(board=board)
    clients = []
    for number, path in enumerate(("/wait?secret=1", "/stream", "/read")):
        data = post(b"hello", path=path.encode())[:-1] if path == "/read" else get(path)
        clients.append(Client(server.address).send(data))
        while server.statistics()["running"] != number + 1:
            gevent.sleep(0.001)
        began = time.monotonic()
        while time.monotonic() == began:  # so that each is older than the next
            gevent.sleep(0.001)
    clients.append(Client(server.address).send(get("/queued?secret=2")))
    while not server.statistics()["queued"]:
        gevent.sleep(0.001)
    assert server.stop() is False
    ((level, message),) = log()
    lines, first = inspect.getsourcelines(Inside)
    lines = [line.strip() for line in lines]
    wait, read = first + lines.index("Event().wait()"), first + lines.index('environ["wsgi.input"].read()')
    head, *rest = message.split("\n")
    assert (level, head) == ("WARNING", f"4 requests cut: not finished within {SOON} s (graceful_timeout):")
    age = r"for \d+\.\d s"
    for line, wanted in zip(rest, [
        rf"GET /wait: running {age}, at {HERE}:{wait} in query\(\)",
        rf"GET /stream: running {age}, at {HERE}:{wait} in query\(\)",
        rf"POST /read: running {age}, waiting for its content, at {HERE}:{read} in __call__\(\)",
        rf"GET /queued: queued {age}",
    ], strict=True):  # fmt: skip
        assert re.fullmatch(wanted, without_peer(line.removeprefix("    "))), line
    for client in clients:
        client.close()


def test_without_a_board_nobody_knows_for_how_long(serve: Any, log: Any) -> None:
    serving = serve(Inside(), queue_timeout=0, concurrency=1)
    run(serving, get("/wait"))
    serving.connect().send(get("/queued"))
    serving.until(lambda: serving.count("queued"))
    serving.server.stop(SOON)
    ((_, message),) = log()
    _, running, queued = message.split("\n")
    assert re.fullmatch(rf"GET /wait: running, at {HERE}:\d+ in query\(\)", without_peer(running.strip()))
    assert without_peer(queued.strip()) == "GET /queued: queued"


def test_an_answer_that_its_client_has_not_read(serve: Any, log: Any) -> None:
    serving = serve(lambda request: b"x" * (8 << 20))
    serving.connect(receive_buffer=4096).send(get("/big"))
    serving.until(lambda: serving.count("flushing"))
    serving.server.stop(SOON)
    ((level, message),) = log()
    head, line = message.split("\n")
    assert (level, head) == ("WARNING", f"1 request cut: not finished within {SOON} s:")
    assert without_peer(line.strip()) == "the answer was not read to its end"


@pytest.mark.parametrize("kind", ["wsgi", "stream"])
def test_a_stop_at_once_is_what_was_ordered(serve: Any, log: Any, kind: str) -> None:
    serving = serve(Inside() if kind == "wsgi" else lambda stream: Event().wait(), interface=kind)
    run(serving, get("/wait"), get("/wait"))
    serving.server.stop(0)
    what = "2 requests" if kind == "wsgi" else "2 connections"
    assert log() == [("INFO", f"{what} cut: the server stops at once")]


def test_a_stop_that_is_interrupted(serve: Any, log: Any) -> None:
    serving = serve(Inside())
    (client,) = run(serving, get("/wait"))
    stop = gevent.spawn(serving.server.stop, 3600)
    serving.until(lambda: serving.server._stopping)
    stop.kill()
    assert log()[0][1].startswith("1 request cut: the stop was interrupted:\n")
    assert told(client).status == 503


@pytest.mark.parametrize("timeout", [SOON, 0])
def test_a_stop_that_cuts_no_request_says_nothing(serve: Any, log: Any, timeout: float) -> None:
    serving = serve(hello, linger_timeout=3600)
    serving.connect().send(request()[:10])
    bad = serving.connect().send(b"bad\r\n")
    assert bad.answer().status == 400
    serving.until(lambda: serving.count("lingering") and serving.count("fresh"))
    serving.server.stop(timeout)
    assert [level for level, _ in log()] == ["INFO"]  # the refusal


def test_connections_of_a_stream_handler(serve: Any, log: Any) -> None:
    def handler(stream: Any) -> None:
        if stream.readline() == b"read\n":
            stream.read()
        stream.write(b"x" * (8 << 20))

    serving = serve(handler, interface="stream")
    reads, writes = run(serving, b"read\n", b"write\n")
    serving.until(lambda: serving.count("writing"))
    serving.server.stop(SOON)
    assert reads.was_reset() and writes.was_reset()
    ((level, message),) = log()
    head, *lines = message.split("\n")
    assert (level, head) == ("WARNING", f"2 connections cut: not finished within {SOON} s:")
    said = sorted(re.sub(r":\d+ in", ": in", without_peer(line.strip())) for line in lines)
    assert said == [
        f"running, waiting for its peer to read, at {__file__}: in handler()",
        f"running, waiting for its peer to send, at {__file__}: in handler()",
    ]


def test_of_many_some_are_listed() -> None:
    cuts = [Cut("running", f"peer {age}", float(age), None, "") for age in range(MOST + 5)]
    lines = listed(cuts, "request", "cut: for a test").split("\n")
    assert lines[0] == "25 requests cut: for a test:"
    assert lines[1] == "    peer 24: running for 24.0 s"
    assert len(lines) == MOST + 2 and lines[-1] == "    and 5 more"


def test_a_place_is_the_application_s_innermost_line() -> None:
    """Not that of the library which it waits in."""
    seen = []
    green = gevent.spawn(gevent.sleep, 3600)
    other = gevent.spawn(lambda: Event().wait())
    gevent.idle()
    for each in green, other:
        seen.append(of_application(each.gr_frame))
        each.kill()
    assert re.fullmatch(r".*gevent.*:\d+ in \w+\(\)", seen[0])  # nothing of ours is there
    assert re.fullmatch(rf"{HERE}:\d+ in <lambda>\(\)", seen[1])
    assert of_application(None) == ""
    assert own(__file__) and not own(gevent.__file__) and not own(re.__file__) and not own("<string>")


# ---- foreign code in the middle of it


@in_compiled_code
def test_a_request_may_come_to_its_end_while_it_is_told_or_cut(serve: Any, monkeypatch: Any) -> None:
    """At each allocation of the cut, a finalizer waits until the requests that are to be cut have been answered."""
    moments, statuses = 0, set()
    cutting: list[bool] = []
    cut = Server._cut

    def watched(*args: Any) -> None:
        cutting.append(True)
        cut(*args)
        cutting.clear()

    monkeypatch.setattr(Server, "_cut", watched)
    while True:
        gate = Event()

        def app(environ: dict[str, Any], start_response: Any, gate: Event = gate) -> list[bytes]:
            gate.wait()
            return hello(environ, start_response)

        serving = serve(app, concurrency=2)
        clients = run(serving, get("/first"), get("/second"))
        clients.append(serving.connect().send(get("/queued")))
        serving.until(lambda serving=serving: serving.count("queued"))
        stop = gevent.spawn(serving.server.stop, 0)

        def let_go(gate: Event = gate) -> None:
            gate.set()
            for _ in range(6):
                gevent.idle()

        with collecting(let_go, lambda stop=stop: cutting and gevent.getcurrent() is stop, moments) as hits:
            stop.join()
        for client in clients:
            try:
                statuses.add(client.answer().status)  # whole, whichever it is
            except ConnectionResetError:
                assert hits, "a reset without a cause"
        assert serving.server.statistics() == {}
        if not hits:
            break
        moments += 1
    assert moments > 10 and statuses == {200, 503}


# ---- the access log


@pytest.mark.parametrize("timeout", [SOON, 0])
def test_the_access_log_tells_what_was_cut(serve: Any, path: Path, timeout: float) -> None:
    serving = serve(Inside(), concurrency=3, access_logfile=str(path), access_log_format="json")
    serving.ask(get("/hello"))
    clients = run(serving, get("/wait"), get("/stream"), post(b"hello", path=b"/read")[:-1])
    queued = serving.connect().send(get("/queued"))
    serving.until(lambda: serving.count("queued"))
    serving.server.stop(timeout)
    told(clients[0]), told(clients[2]), told(queued)
    entries = {entry["target"]: entry for entry in map(json.loads, path.read_text().splitlines())}
    assert len(entries) == 5
    keys = ("status", "bytes", "complete", "cut")
    assert {target: tuple(entry[key] for key in keys) for target, entry in entries.items()} == {
        "/hello": (200, 6, True, False),
        "/wait": (503, 20, True, True),
        "/stream": (201, 4, False, True),
        "/read": (503, 20, True, True),
        "/queued": (503, 20, True, True),
    }
    assert entries["/wait"]["duration"] > 0 and entries["/queued"]["duration"] is None


def test_an_atom_tells_it_in_a_text(serve: Any, path: Path) -> None:
    serving = serve(Inside(), access_logfile=str(path), access_log_format="%(U)s %(s)s %(b)s %(c)s")
    serving.ask(get("/hello"))
    run(serving, get("/stream"))
    serving.server.stop(SOON)
    assert path.read_text() == "/hello 200 6 -\n/stream 201 4 cut\n"


def test_a_client_that_could_not_be_told_has_499(serve: Any, path: Path) -> None:
    serving = serve(Inside(), access_logfile=str(path), access_log_format="%(U)s %(s)s %(c)s")
    (client,) = run(serving, get("/wait"))
    client.reset()
    gevent.idle()
    serving.server.stop(SOON)
    assert path.read_text() == "/wait 499 cut\n"


def test_a_client_that_leaves_by_itself_was_not_cut(serve: Any, path: Path) -> None:
    serving = serve(Inside(), access_logfile=str(path), access_log_format="%(U)s %(s)s %(c)s")
    (client,) = run(serving, post(b"hello", path=b"/read")[:-1])
    client.reset()
    serving.until(lambda: not serving.count("running"))
    serving.server.stop(SOON)
    assert path.read_text() == "/read 400 -\n"
