"""Server-sent events: as text (WHATWG HTML, "Server-sent events"), as an answer, heartbeats, and how they end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from gevent.event import Event as Flag
from gevent.queue import Queue

import greenhttp
from greenhttp import Event, EventStream, HTTPError, Response
from greenhttp.errors import ClientDisconnected
from greenhttp.http.event_text import event_bytes
from greenhttp.testing import exchange
from tests.http.apps import request
from tests.http.conftest import Talk

GET = request()


def parsed(data: bytes) -> list[dict[str, str]]:
    """The events in a stream, by the rules of the standard (9.2.6), with the last event ID of each."""
    assert data.endswith(b"\n\n") or data == b""
    events, last_id = [], ""
    for block in data.decode().split("\n\n")[:-1]:
        kind, lines = "message", []
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                lines.append(value)
            elif name == "event":
                kind = value
            elif name == "id":
                last_id = value
        if lines:
            events.append({"type": kind, "data": "\n".join(lines), "id": last_id})
    return events


# ---- events as text


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ("a", "data: a\n\n"),
        ("", "data: \n\n"),
        (" a: b", "data:  a: b\n\n"),
        ("a\nb", "data: a\ndata: b\n\n"),
        ("a\rb\r\nc\n\nd\n", "data: a\ndata: b\ndata: c\ndata: \ndata: d\ndata: \n\n"),
        ("a\u2028b\x0bc\x85d", "data: a\u2028b\x0bc\x85d\n\n"),  # line ends for Python, not for the format
        ({"a": "x\ny"}, 'data: {"a":"x\\ny"}\n\n'),
        ([1, None], "data: [1,null]\n\n"),
        (Event("a", event="greeting", id="7", retry=1.5), "event: greeting\nid: 7\nretry: 1500\ndata: a\n\n"),
        (Event({"a": 1}), 'data: {"a":1}\n\n'),
        (Event(3), "data: 3\n\n"),
        (Event(False), "data: false\n\n"),
        (Event(""), "data: \n\n"),
        (Event(id=""), "id: \n\n"),
        (Event(id="9"), "id: 9\n\n"),
        (Event(retry=0), "retry: 0\n\n"),
        (Event("ä", event="ö", id="ü"), "event: ö\nid: ü\ndata: ä\n\n"),
    ],
)
def test_an_event_is_these_lines(item: Any, text: str) -> None:
    assert event_bytes(item) == text.encode()


@pytest.mark.parametrize("name", ["event", "id"])
@pytest.mark.parametrize("value", ["a\nb", "a\r", "\x00", "a\r\ndata: x"])
def test_names_and_ids_with_line_ends_or_nul_are_refused(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"the {name} of an Event"):
        Event("x", **{name: value})


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"event": b"a"}, TypeError), ({"id": 7}, TypeError), ({"retry": "1"}, TypeError), ({"retry": True}, TypeError),
        ({"retry": -1}, ValueError), ({"retry": float("nan")}, ValueError), ({"data": b"x"}, TypeError),
        ({"data": object()}, TypeError), ({"data": "\ud800"}, ValueError), ({"data": {"a": float("nan")}}, ValueError),
        ({}, ValueError),
    ],
)  # fmt: skip
def test_what_is_no_event_is_an_exception(given: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Event(**given)


@pytest.mark.parametrize("item", [b"bytes", 7, None, ("a", "b"), "\ud800"])
def test_a_generator_that_gives_something_else_is_an_error(item: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        event_bytes(item)


# ---- the answer


def three() -> Iterator[Any]:
    yield "one"
    yield {"two": 2}
    yield Event("three", id="3")


def native(req: Any) -> EventStream:
    return EventStream(three())


def wsgi(environ: dict[str, Any], start_response: Any) -> Any:
    return EventStream(three())(environ, start_response)


def wrapped(environ: dict[str, Any], start_response: Any) -> Any:
    """Behind middleware that iterates it."""
    return iter(list(EventStream(three())(environ, start_response)))


WAYS = [native, wsgi, wrapped]


@pytest.mark.parametrize("app", WAYS)
def test_the_events_are_the_content_and_the_fields_say_so(app: Any, talk: Talk) -> None:
    conversation = talk(app, GET, GET)
    for answer in conversation.answers:
        assert answer.status == 200
        assert answer.get("Content-Type") == "text/event-stream"
        assert "no-cache" in (answer.get("Cache-Control") or "") and answer.get("X-Accel-Buffering") == "no"
        assert [event["data"] for event in parsed(answer.content)] == ["one", '{"two":2}', "three"]
        assert parsed(answer.content)[-1]["id"] == "3"
    assert (len(conversation.answers), conversation.log, conversation.cut) == (2, [], False)


@pytest.mark.parametrize("app", [native, wsgi])
def test_each_event_is_one_chunk(app: Any) -> None:
    outcome = exchange(app, [GET], keep_open=True)
    assert b"\r\n\r\n3\r\n:\n\n\r\nb\r\ndata: one\n\n\r\n" in outcome.sent


@pytest.mark.parametrize("app", WAYS)
def test_head_and_http_1_0(app: Any) -> None:
    outcome = exchange(app, [request(b"HEAD / HTTP/1.1")], keep_open=True)
    assert outcome.sent.endswith(b"\r\n\r\n") and b"text/event-stream" in outcome.sent and outcome.log == []
    outcome = exchange(app, [request(b"GET / HTTP/1.0")])
    assert len(parsed(outcome.sent.partition(b"\r\n\r\n")[2])) == 3 and outcome.ended == "closed"


def test_retry_comes_first(talk: Talk) -> None:
    assert talk(lambda req: EventStream(three(), retry=2.5), GET).only.content.startswith(
        b"retry: 2500\n\ndata: one\n\n"
    )


def test_other_fields_and_a_response_around_it(talk: Talk) -> None:
    def app(req: Any) -> Response:
        stream = EventStream(three(), headers={"Access-Control-Allow-Origin": "*", "Cache-Control": "no-store"})
        return Response(stream, 200, {"X-Accel-Buffering": "yes", "Vary": "Cookie"})

    answer = talk(app, GET).only
    names = ("Access-Control-Allow-Origin", "Cache-Control", "X-Accel-Buffering", "Vary", "Content-Type")
    assert [answer.get(name) for name in names] == ["*", "no-store", "yes", "Cookie", "text/event-stream"]


@pytest.mark.parametrize(
    ("given", "seen"),
    [((), None), ((b"Last-Event-ID: 7",), "7"), ((b"last-event-id: a b",), "a b"), ((b"Last-Event-ID:",), None),
     (("Last-Event-ID: \u00fc\u20ac".encode(),), "\u00fc\u20ac"), ((b"Last-Event-ID: \xff",), "\ufffd")],
)  # fmt: skip
def test_a_function_is_called_with_the_last_event_id(given: Any, seen: str | None, talk: Talk) -> None:
    calls: list[Any] = []

    def after(last_event_id: str | None) -> Iterator[str]:
        calls.append(last_event_id)
        yield "next"

    stream = EventStream(after)
    for app in (lambda req: stream, lambda environ, start_response: stream(environ, start_response)):
        assert talk(app, request(b"GET / HTTP/1.1", *given)).only.content == b":\n\ndata: next\n\n"
    assert calls == [seen, seen]


def test_a_function_may_refuse_before_the_head_is_out(talk: Talk) -> None:
    def after(last_event_id: str | None) -> Any:
        raise HTTPError(403)

    assert talk(lambda req: EventStream(after), GET).statuses == [403]


@pytest.mark.parametrize("source", ["text", b"bytes", {"a": 1}, 7, None])
def test_what_is_no_source_is_refused(source: Any) -> None:
    with pytest.raises(TypeError, match="source of an EventStream"):
        EventStream(source)


@pytest.mark.parametrize("heartbeat", [0, -1, 0.0001, float("inf")])
def test_what_is_no_heartbeat_is_refused(heartbeat: Any) -> None:
    with pytest.raises(ValueError, match="heartbeat"):
        EventStream([], heartbeat=heartbeat)


@pytest.mark.parametrize("by_wsgi", [False, True])
def test_an_error_after_the_head_never_looks_like_an_end(by_wsgi: bool, talk: Talk) -> None:
    closed: list[bool] = []

    def failing() -> Iterator[str]:
        try:
            yield "one"
            raise LookupError("no more")
        finally:
            closed.append(True)

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        return EventStream(failing())(environ, start_response)

    conversation = talk(app if by_wsgi else lambda req: EventStream(failing()), GET)
    assert (conversation.cut, conversation.levels, closed) == (True, ["error"], [True])


def test_a_framework_that_passes_it_through_has_heartbeats(serve: Any) -> None:
    flask = pytest.importorskip("flask")
    app, waited = flask.Flask("events"), Flag()

    def ticks(last_event_id: str | None) -> Iterator[str]:
        yield f"after {last_event_id}"
        waited.wait()

    @app.route("/")
    def view() -> Any:
        stream = EventStream(ticks, heartbeat=0.02)
        return flask.Response(stream.events(flask.request.environ), headers=stream.headers, direct_passthrough=True)

    client = serve(app).connect().send(request(b"GET / HTTP/1.1", b"Last-Event-ID: 5"))
    head = lines_until(client, b"data: after 5\n\n\r\n")
    assert head.lower().count(b"content-type: text/event-stream") == 1 and head.lower().count(b"content-type") == 1
    lines_until(client, b"3\r\n:\n\n\r\n")
    waited.set()
    assert lines_until(client, b"0\r\n\r\n")


# ---- over sockets: heartbeats, clients that go, servers that stop


def lines_until(client: Any, text: bytes) -> bytes:
    while text not in client.data:
        piece = client.sock.recv(65536)
        assert piece, f"the connection ended after {client.data!r}"
        client.data += piece
    before, _, client.data = client.data.partition(text)
    return before + text


class Source:
    """A generator function whose events come from a queue, and what becomes of it."""

    def __init__(self) -> None:
        self.queue: Queue[Any] = Queue()
        self.ended = Flag()
        self.how: BaseException | None = None
        self.begun = 0

    def __call__(self, last_event_id: str | None) -> Iterator[Any]:
        self.begun += 1
        try:
            while True:
                yield self.queue.get()
        except BaseException as error:
            self.how = error
            raise
        finally:
            self.ended.set()

    def native(self, **options: Any) -> Any:
        return lambda req: EventStream(self, **options)

    def wsgi(self, **options: Any) -> Any:
        return lambda environ, start_response: EventStream(self, **options)(environ, start_response)


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.mark.parametrize("way", ["native", "wsgi"])
def test_the_head_leaves_before_the_first_event(way: str, serve: Any, source: Source) -> None:
    client = serve(getattr(source, way)()).connect().send(GET)
    assert b"text/event-stream" in lines_until(client, b":\n\n\r\n")
    source.queue.put("first")
    lines_until(client, b"data: first\n\n\r\n")


@pytest.mark.parametrize("way", ["native", "wsgi"])
def test_comments_leave_while_the_generator_waits_and_events_are_whole(way: str, serve: Any, source: Source) -> None:
    serving = serve(getattr(source, way)(heartbeat=0.02))
    client = serving.connect().send(GET)
    lines_until(client, b":\n\n\r\n")
    for n in range(3):
        for _ in range(3):
            lines_until(client, b"3\r\n:\n\n\r\n")
        source.queue.put(f"{n}")
        lines_until(client, b"9\r\ndata: %d\n\n\r\n" % n)


def test_a_heartbeat_costs_no_green_thread_and_no_timer_of_its_own(serve: Any, source: Source) -> None:
    serving = serve(source.native(heartbeat=30))
    clients = [serving.connect().send(GET) for _ in range(20)]
    for client in clients:
        lines_until(client, b":\n\n\r\n")
    streams = serving.server._service.event_streams
    assert (len(streams), list(streams.paces)) == (20, [30])
    assert serving.count("pool_size") == 20


@pytest.mark.parametrize("way", ["native", "wsgi"])
@pytest.mark.parametrize("heartbeat", [None, 3600])
def test_a_reset_ends_the_generator_where_it_waits(way: str, heartbeat: Any, serve: Any, source: Source) -> None:
    serving = serve(getattr(source, way)(heartbeat=heartbeat))
    client = serving.connect().send(GET)
    lines_until(client, b":\n\n\r\n")
    client.reset()
    assert source.ended.wait(60)
    assert isinstance(source.how, GeneratorExit)
    serving.until(lambda: serving.count("connections") == 0)


def test_a_reset_while_an_event_is_made_ends_the_generator_behind_it(serve: Any, source: Source, caplog: Any) -> None:
    caplog.set_level("INFO", "greenhttp")
    serving = serve(source.native(heartbeat=None))
    client = serving.connect().send(GET)
    lines_until(client, b":\n\n\r\n")
    client.reset()
    source.queue.put("reaches nobody")  # in the same turn
    assert source.ended.wait(60)
    serving.until(lambda: serving.count("connections") == 0)
    serving.server.stop(10)
    assert [record.levelname for record in caplog.records] == ["INFO"]


def test_cancel_on_disconnect_says_so_in_the_generator(serve: Any, source: Source) -> None:
    serving = serve(source.native(heartbeat=None), cancel_on_disconnect=True)
    client = serving.connect().send(GET)
    lines_until(client, b":\n\n\r\n")
    client.reset()
    assert source.ended.wait(60)
    assert isinstance(source.how, ClientDisconnected)


def test_a_generator_that_takes_no_notice_of_its_client_is_not_followed(serve: Any) -> None:
    stubborn_ended, waiting = Flag(), Flag()

    def stubborn(last_event_id: str | None) -> Iterator[str]:
        try:
            waiting.set()
            Flag().wait()
        except GeneratorExit:
            yield "reaches nobody"
        finally:
            stubborn_ended.set()

    serving = serve(lambda req: EventStream(stubborn, heartbeat=None))
    client = serving.connect().send(GET)
    waiting.wait()
    client.reset()
    assert stubborn_ended.wait(60)
    serving.until(lambda: serving.count("connections") == 0)


def test_a_client_that_has_closed_one_side_gets_its_events(serve: Any, source: Source) -> None:
    serving = serve(source.native(heartbeat=0.02))
    client = serving.connect().send(GET).finish()
    for _ in range(20):  # more than one look
        lines_until(client, b"3\r\n:\n\n\r\n")
    source.queue.put("still here")
    lines_until(client, b"data: still here\n\n\r\n")
    assert not source.ended.is_set()


# ---- they last


def test_an_open_stream_holds_no_place(serve: Any, source: Source) -> None:
    def app(req: Any) -> Any:
        return EventStream(source) if req.path == "/events" else "answered"

    serving = serve(app, concurrency=1, queue=0)
    streams = []
    for _ in range(5):
        streams.append(serving.connect().send(request(b"GET /events HTTP/1.1")))
        lines_until(streams[-1], b":\n\n\r\n")
        assert serving.ask(GET).content == b"answered"
    assert serving.count("pool_away") == 5
    for client in streams:
        client.reset()
    serving.until(lambda: serving.count("pool_away") == 0)
    assert serving.ask(GET).content == b"answered"


def test_beyond_websocket_connections_a_stream_holds_a_place(serve: Any, source: Source) -> None:
    serving = serve(source.native(), concurrency=1, queue=0, websocket_connections=1)
    first, second = [serving.connect().send(GET) for _ in range(2)]
    for client in (first, second):
        lines_until(client, b":\n\n\r\n")
    assert serving.count("pool_away") == 1
    assert serving.ask(GET).status == 503
    first.reset()
    serving.until(lambda: serving.count("pool_away") == 0)
    assert serving.ask(GET).status == 503
    second.reset()
    serving.until(lambda: serving.count("running") == 0)
    lines_until(serving.connect().send(GET), b":\n\n\r\n")


def test_the_next_request_on_its_connection_needs_a_place_again(serve: Any) -> None:
    end, busy, release = Flag(), Flag(), Flag()
    running: list[int] = []

    def events(last_event_id: str | None) -> Iterator[str]:
        end.wait()
        yield "x" * 10_000_000  # it waits for its client then, and nobody else refers to its green thread any more

    def app(req: Any) -> Any:
        if req.path == "/events":
            return EventStream(events)
        running.append(1)
        busy.set()
        release.wait()
        return f"{len(running)}"

    serving = serve(app, concurrency=1, queue=5)
    client = serving.connect().send(request(b"GET /events HTTP/1.1") + GET)  # the next one is there already
    lines_until(client, b":\n\n\r\n")
    other = serving.connect().send(GET)
    busy.wait()
    end.set()
    lines_until(client, b"0\r\n\r\n")
    serving.until(lambda: serving.count("queued") == 1)
    assert len(running) == 1
    release.set()
    assert other.answer().status == client.answer().status == 200


# ---- heartbeats find who went


def test_a_client_that_went_without_a_word_is_found_by_the_heartbeat(serve: Any, source: Source) -> None:
    serving = serve(source.native(heartbeat=0.02))
    client = serving.connect().send(GET)
    lines_until(client, b":\n\n\r\n")
    client.finish()  # closed, with what the server has sent unread: its system answers the next heartbeat with a reset
    client.close()
    assert source.ended.wait(60)
    assert isinstance(source.how, GeneratorExit)
    serving.until(lambda: serving.count("connections") == 0)


def test_a_client_that_takes_nothing_is_given_up_after_write_timeout(serve: Any, source: Source) -> None:
    serving = serve(source.native(heartbeat=0.02), write_timeout=0.5)
    client = serving.connect(receive_buffer=4096).send(GET)
    lines_until(client, b":\n\n\r\n")
    # What the system takes at once, and its client does not: the generator waits, and only heartbeats could notice.
    source.queue.put("x" * 60_000)
    assert source.ended.wait(60)
    assert isinstance(source.how, GeneratorExit)
    serving.until(lambda: serving.count("connections") == 0)


def test_without_heartbeats_none_leaves(serve: Any, source: Source) -> None:
    serving = serve(source.native(heartbeat=None))
    client = serving.connect().send(GET)
    lines_until(client, b":\n\n\r\n")
    assert list(serving.server._service.event_streams.paces) == [0]
    source.queue.put("x")
    assert lines_until(client, b"data: x\n\n\r\n").count(b":\n\n") == 0


@pytest.mark.parametrize("way", ["native", "wsgi"])
def test_when_the_server_stops_a_stream_ends_as_a_whole(way: str, serve: Any, source: Source) -> None:
    serving = serve(getattr(source, way)(heartbeat=30))
    client = serving.connect().send(GET)
    lines_until(client, b":\n\n\r\n")
    assert serving.server.stop(60) is True
    assert client.rest() == b"0\r\n\r\n"
    assert isinstance(source.how, GeneratorExit)


def test_streams_without_heartbeats_end_too(serve: Any, source: Source) -> None:
    serving = serve(source.native(heartbeat=None))
    client = serving.connect().send(GET)
    lines_until(client, b":\n\n\r\n")
    assert serving.server.stop(60) is True
    assert client.rest() == b"0\r\n\r\n"


def test_they_end_spread_over_the_linger_and_who_comes_meanwhile_ends_too(serve: Any, source: Source) -> None:
    serving = serve(source.native(heartbeat=30))
    clients = [serving.connect().send(GET) for _ in range(8)]
    for client in clients:
        lines_until(client, b":\n\n\r\n")
    stopping = gevent.spawn(serving.server.stop, 60, 0.8)
    first = clients[0].rest()
    left = serving.count("connections") if serving.server.started else 0
    assert first == b"0\r\n\r\n" and left > 0  # not all at once
    for client in clients[1:]:
        assert client.rest() == b"0\r\n\r\n"
    assert stopping.get(timeout=60) is True


def test_a_stream_that_is_sending_ends_behind_its_event(serve: Any) -> None:
    closed = Flag()

    def busy(last_event_id: str | None) -> Iterator[str]:
        try:
            while True:
                yield "x" * 100_000
        finally:
            closed.set()

    serving = serve(lambda req: EventStream(busy))
    client = serving.connect().send(GET)
    lines_until(client, b"data: ")
    stopping = gevent.spawn(serving.server.stop, 60)
    assert client.rest().endswith(b"\n\n\r\n0\r\n\r\n")
    assert stopping.get(timeout=60) is True and closed.is_set()


def test_a_generator_that_goes_on_after_its_end_is_not_followed(serve: Any) -> None:
    waiting = Flag()

    def stubborn(last_event_id: str | None) -> Iterator[str]:
        while True:
            try:
                waiting.set()
                Flag().wait()
            except GeneratorExit:
                yield "goodbye"
                return

    serving = serve(lambda req: EventStream(stubborn))
    client = serving.connect().send(GET)
    waiting.wait()
    assert serving.server.stop(60) is True
    assert client.rest().endswith(b"data: goodbye\n\n\r\n0\r\n\r\n")


def test_heartbeats_end_with_the_streams(serve: Any, source: Source) -> None:
    serving = serve(source.native(heartbeat=0.02))
    client = serving.connect().send(GET)
    lines_until(client, b":\n\n\r\n")
    streams = serving.server._service.event_streams
    assert (len(streams), list(streams.paces)) == (1, [0.02])
    client.reset()
    serving.until(lambda: (len(streams), list(streams.paces)) == (0, []))


def test_the_names_are_public() -> None:
    assert (greenhttp.EventStream, greenhttp.Event) == (EventStream, Event)
