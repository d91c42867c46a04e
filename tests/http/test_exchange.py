"""greenhttp/http/exchange.pyx and application.pyx: what every protocol can do with an answer, and with content."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent.event import Event

from greenhttp.errors import RequestTimeout, ResponseError, StreamTimeout, WireError
from greenhttp.green.transport import MemoryStream
from greenhttp.hosting.wsgi import WSGI
from greenhttp.http.application import PythonExchange
from greenhttp.testing import Record, exchange, service_of
from tests.http.apps import answering, post, post_chunked, request, streaming
from tests.http.carriers import Content, Message, over_messages
from tests.http.conftest import Talk

GET = request()


def converse(app: Any, *messages: Callable[[Any], Message], **settings: Any) -> tuple[list[Message], list[Record]]:
    """As over_messages, with messages that each test makes in its own way of a service."""
    log: list[Record] = []
    with service_of(app, log, settings) as service:
        made = [make(service) for make in messages]
        for message in made:
            message.begin()
        for message in made:
            message.finished.wait()
    assert [message.defects for message in made] == [[] for _ in made]
    return made, log


def message(data: bytes = GET, kind: type[Message] = Message) -> Callable[[Any], Message]:
    return lambda service: kind(service, MemoryStream(), data)


# ---- many at once


def test_requests_of_one_connection_run_at_once() -> None:
    opened, order = Event(), []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        order.append(environ["PATH_INFO"])
        if environ["PATH_INFO"] == "/waits":
            opened.wait()
        opened.set()
        order.append(environ["PATH_INFO"])
        start_response("200 OK", [])
        return [environ["PATH_INFO"].encode()]

    conversation = over_messages(app, request(b"GET /waits HTTP/1.1"), request(b"GET /opens HTTP/1.1"))
    assert conversation.contents == [b"/waits", b"/opens"]
    assert order == ["/waits", "/opens", "/opens", "/waits"]


def test_pieces_of_answers_take_turns() -> None:
    order: list[str] = []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        for n in range(3):
            order.append(environ["PATH_INFO"] + str(n))
            yield environ["PATH_INFO"].encode()

    conversation = over_messages(app, request(b"GET /a HTTP/1.1"), request(b"GET /b HTTP/1.1"))
    assert conversation.contents == [b"/a" * 3, b"/b" * 3]
    assert order == ["/a0", "/b0", "/a1", "/b1", "/a2", "/b2"]


def test_an_answer_that_is_cut_leaves_the_others_whole() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "4")])
        yield b"ab"
        if environ["PATH_INFO"] == "/bad":
            raise RuntimeError
        yield b"cd"

    conversation = over_messages(app, GET, request(b"GET /bad HTTP/1.1"), GET)
    assert (conversation.contents, conversation.cut) == ([b"abcd", b"abcd"], True)
    assert conversation.levels == ["error"]


@pytest.mark.parametrize("app", [answering([b"abc"], "200 OK", ("Content-Length", "5")),
                                 streaming(b"a", b"bc", fields=[("Content-Length", "5")])])  # fmt: skip
def test_an_answer_shorter_than_announced_is_never_whole(app: Any, talk: Talk) -> None:
    conversation = talk(app, GET)
    assert (conversation.answers, conversation.cut, conversation.levels) == ([], True, ["error"])
    assert "2 bytes short" in conversation.log[0].message


# ---- informational answers


def informing(*informed: tuple[Any, Any], then: str = "200 OK") -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        for status, fields in informed:
            start_response.inform(status, fields)
        start_response(then, [("Final", "1")])
        return [b"content"]

    return app


def test_informational_answers_come_before_the_final_one(talk: Talk) -> None:
    links = [("Link", "</a>; rel=preload"), ("Link", "</b>; rel=preload")]
    conversation = talk(informing(("103 Early Hints", links), ("102 Processing", [])), GET, GET)
    assert conversation.statuses == [103, 102, 200] * 2
    assert conversation.answers[0].fields == links and conversation.answers[1].fields == []
    assert [answer.content for answer in conversation.answers if answer.status == 200] == [b"content"] * 2
    assert conversation.log == []


def test_an_informational_answer_leaves_while_the_final_one_is_made(serve: Any) -> None:
    opened = Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response.inform("103 Early Hints", [("Link", "</a>")])
        opened.wait()
        start_response("200 OK", [])
        return []

    client = serve(app).connect().send(GET)
    assert client.answer().status == 103
    opened.set()
    assert client.answer().status == 200


def test_a_client_of_http_1_0_is_told_the_final_answer_alone() -> None:
    outcome = exchange(informing(("103 Early Hints", [])), [request(b"GET / HTTP/1.0")])
    assert outcome.sent.startswith(b"HTTP/1.1 200 ") and outcome.sent.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        ("200 OK", []),
        ("101 Switching Protocols", []),
        ("100 Continue", []),
        ("404", []),
        ("103\r\nInjected: yes", []),
        ("103 Early Hints", [("A", "b\r\nInjected: yes")]),
        ("103 Early Hints", [("A\n", "b")]),
    ],
)
def test_what_is_no_informational_answer_is_an_exception_and_nothing_of_it_leaves(
    status: str, fields: Any, talk: Talk
) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        with pytest.raises(ResponseError):
            start_response.inform(status, fields)
        start_response("204 No Content", [])
        return []

    conversation = talk(app, GET)
    assert conversation.statuses == [204]
    assert b"njected" not in conversation.said


def test_an_informational_answer_after_the_head_is_an_exception(talk: Talk) -> None:
    kept: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        kept.append(start_response)
        start_response("200 OK", [])(b"a")
        with pytest.raises(AssertionError):
            start_response.inform("103 Early Hints")
        return [b"b"]

    assert talk(app, GET).contents == [b"ab"]
    with pytest.raises(AssertionError):
        kept[0].inform("103 Early Hints")


# ---- trailers


def trailing(*content: bytes, fields: Any = (), trailers: Any = (("Sum", "1"), ("More", "a b"))) -> Any:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", list(fields))
        yield from content
        for name, value in trailers:
            start_response.add_trailer(name, value)

    return app


def test_trailers_follow_the_last_chunk() -> None:
    outcome = exchange(trailing(b"abc"), [GET * 2], keep_open=True)
    assert outcome.sent.count(b"3\r\nabc\r\n0\r\nSum: 1\r\nMore: a b\r\n\r\n") == 2
    assert (outcome.ended, outcome.log) == ("open", [])


def test_trailers_of_one_answer_are_not_the_next_ones() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        trailers = [("Sum", "1")] if environ["PATH_INFO"] == "/with" else []
        return trailing(b"abc", trailers=trailers)(environ, start_response)

    outcome = exchange(app, [request(b"GET /with HTTP/1.1") + GET], keep_open=True)
    assert outcome.sent.count(b"Sum: 1\r\n") == 1 and outcome.sent.endswith(b"3\r\nabc\r\n0\r\n\r\n")


def test_trailers_go_as_fields_where_there_are_no_chunks() -> None:
    (one,), log = converse(trailing(b"abc"), message())
    assert (one.trailers, one.state, log) == ([("Sum", "1"), ("More", "a b")], "whole", [])


def test_trailers_of_an_answer_that_another_replaces_are_not_that_ones(talk: Talk) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        start_response.add_trailer("Sum", "of the first")
        start_response("500 Oops", [], (ValueError, ValueError(), None))
        yield b"sorry"

    conversation = talk(app, GET)
    assert conversation.contents == [b"sorry"] and b"of the first" not in conversation.said


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_trailers_are_dropped_where_there_is_no_room_for_them(version: bytes) -> None:
    app = trailing(b"abc", fields=[("Content-Length", "3")] if version == b"1.1" else [])
    outcome = exchange(app, [request(b"GET / HTTP/" + version)])
    assert outcome.sent.endswith(b"\r\n\r\nabc") and outcome.log == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Content-Length", "3"), ("transfer-encoding", "chunked"), ("Connection", "close"), ("Trailer", "X"),
        ("Keep-Alive", "1"), ("A b", "c"), ("A", "b\r\nInjected: yes"),
    ],
)  # fmt: skip
def test_what_frames_a_message_is_no_trailer(name: str, value: str, talk: Talk) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        with pytest.raises(ResponseError):
            start_response.add_trailer(name, value)
        yield b"abc"

    conversation = talk(app, GET)
    assert conversation.contents == [b"abc"] and b"njected" not in conversation.said


def test_a_trailer_after_the_end_is_an_exception(talk: Talk) -> None:
    kept: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        kept.append(start_response)
        start_response("200 OK", [])
        return [b"abc"]

    assert talk(app, GET).contents == [b"abc"]
    with pytest.raises(AssertionError):
        kept[0].add_trailer("Sum", "1")


# ---- limits and time


@pytest.mark.parametrize("make", [post, post_chunked])
def test_content_beyond_the_limit_is_413(make: Any, talk: Talk) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["wsgi.input"].read()
        start_response("200 OK", [])
        return []

    assert talk(app, make(b"x" * 100), limit_request_body=100).statuses == [200]
    conversation = talk(app, make(b"x" * 101), limit_request_body=100)
    assert (conversation.statuses, conversation.levels) == ([413], ["info"])


def test_a_request_that_runs_too_long_is_503(talk: Talk) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        Event().wait()
        return []

    conversation = talk(app, GET, request_timeout=0.01)
    assert (conversation.statuses, conversation.levels) == ([503], ["error"])
    assert isinstance(conversation.log[0].error, RequestTimeout)


class Refused(Message):
    """Whose refusal opens the gate of those that run meanwhile."""

    gate: Event

    def started(self, status: int, fields: Any, length: int | None) -> None:
        super().started(status, fields, length)
        if status == 503:
            self.gate.set()


def test_without_a_green_thread_or_room_to_wait_for_one_it_is_503() -> None:
    class Gated(Refused):
        gate = Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        Gated.gate.wait()
        start_response("200 OK", [])
        return []

    made, _ = converse(app, *[message(kind=Gated)] * 3, concurrency=1, queue=1)
    assert [one.answers[0].status for one in made] == [200, 200, 503]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (StreamTimeout("silence"), 408),
        (WireError(400, "no such frame"), 400),
        (ConnectionResetError("gone"), 400),
    ],
)
@pytest.mark.parametrize("forgiving", [False, True])
def test_what_goes_wrong_with_content_is_the_protocols_to_say_and_answered(
    error: BaseException, status: int, forgiving: bool
) -> None:
    class Broken(Content):
        def receive(self, most: int) -> bytes:
            raise error

    class Failing(Message):
        content = Broken

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            environ["wsgi.input"].read()
        except OSError:
            if not forgiving:
                raise
        start_response("200 OK", [])
        return []

    (one,), log = converse(app, message(post(b"abc"), Failing))
    assert [answer.status for answer in one.answers] == [200 if forgiving else status]
    assert [record.level for record in log] == ([] if forgiving else ["info"])


# ---- the peer, and files


def test_a_client_that_has_gone_is_told_nothing_more() -> None:
    seen: list[bool] = []

    class Leaving(Message):
        def make_room(self) -> None:
            self.gone = True
            raise ConnectionResetError("gone")

    def handler(request: Any) -> Any:
        seen.append(request.gone)
        yield b"a"
        yield b"b"

    (one,), log = converse(handler, message(kind=Leaving))
    assert (one.state, one.answers[0].content, seen) == ("cut", b"a", [False])
    assert [record.level for record in log] == ["info"] and "disconnected" in log[0].message


def test_gone_is_what_the_protocol_says() -> None:
    class Leaving(Message):
        asked = 0

        def has_gone(self) -> bool:
            self.asked += 1
            return self.asked > 2  # once before it runs, once by the handler

    seen: list[Any] = []

    def handler(request: Any) -> str:
        seen.extend([request.gone, request.gone, request])
        return ""

    converse(handler, message(kind=Leaving))
    assert seen[:2] == [False, True]
    assert seen[2].gone is True  # once the request is over, there is nobody to tell


def test_a_file_that_shrinks_while_it_goes_out_cuts_the_answer(tmp_path: Any) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 300_000)

    class Shrinking(Message):
        def make_room(self) -> None:
            path.write_bytes(b"x" * 1000)

    (one,), log = converse(lambda request: path.open("rb"), message(kind=Shrinking))
    assert (one.state, len(one.answers[0].content)) == ("cut", 65536)
    assert [record.level for record in log] == ["error"]
    assert "file ended" in str(log[0].error)


def test_requests_are_counted_and_leave_no_phase_behind() -> None:
    log: list[Record] = []
    with service_of(lambda request: "", log, {}) as service:
        made = [Message(service, MemoryStream(), GET) for _ in range(5)]
        for one in made:
            one.begin()
        for one in made:
            one.finished.wait()
        gevent.sleep(0)
        found = service.statistics()
    assert (found["requests"], found["running"], found["queued"], found["pool_running"]) == (5, 0, 0, 0)


# ---- what a protocol written in Python may get wrong


@pytest.mark.parametrize(
    ("head", "status"),
    [(b"GET / HTTP/1.1\r\n\r\n", 400), (b"GET / HTTP/1.1\r\nHost: h\r\n", 400), (b"GET /\x00 HTTP/1.1\r\n\r\n", 400),
     (b"GET / HTTP/1.1\r\nHost: h\r\nA: " + b"x" * 200_000 + b"\r\n\r\n", 431)],
)  # fmt: skip
def test_a_head_that_is_refused_is_answered_and_leaves_nothing_behind(head: bytes, status: int) -> None:
    class Whole(Message):
        def __init__(self, service: Any, stream: MemoryStream, sent: bytes) -> None:
            super().__init__(service, stream, GET)
            PythonExchange.__init__(self, service, stream, head)

    asked: list[Any] = []
    log: list[Record] = []
    with service_of(lambda request: asked.append(request) or "", log, {}) as service:
        one = Whole(service, MemoryStream(), GET)
        one.begin()
        one.finished.wait()
        gevent.sleep(0)
        assert (service.statistics()["running"], service.statistics()["pool_running"]) == (0, 0)
    assert ([answer.status for answer in one.answers], one.state, asked) == ([status], "whole", [])
    assert [record.level for record in log] == ["info"]


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_a_request_turned_away_is_answered_as_over_http_1(method: bytes) -> None:
    class Gated(Refused):
        gate = Event()

    def handler(request: Any) -> str:
        Gated.gate.wait()
        return ""

    turned_away = message(request(method + b" / HTTP/1.1"), Gated)
    (_, one), _ = converse(handler, message(), turned_away, concurrency=1, queue=0)
    (answer,) = one.answers
    assert (answer.status, one.state) == (503, "whole")
    assert {"content-type", "retry-after", "date", "server", "content-length"} == answer.names
    assert answer.content == (b"" if method == b"HEAD" else b"Service Unavailable\n")


def test_an_error_of_the_carrier_itself_ends_the_exchange_once(defects: list[str]) -> None:
    class Deaf(Message):
        told_of: list[str] = []

        def started(self, status: int, fields: Any, length: int | None) -> None:
            raise MemoryError("started")

        def aborted(self) -> None:
            self.told_of.append("aborted")

    (one,), log = converse(lambda request: "content", message(kind=Deaf))
    assert one.told_of == ["aborted"]
    assert [record.level for record in log] == ["error"] and "AssertionError" in defects.pop()


@pytest.mark.parametrize("given", [None, "too much"])
def test_content_that_is_no_content_is_an_error_and_never_an_end(given: Any) -> None:
    class Wrong(Content):
        def receive(self, most: int) -> Any:
            return None if given is None else b"x" * (most + 1)

    class Given(Message):
        content = Wrong

    found: list[str] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        for _ in range(2):
            try:
                found.append(repr(environ["wsgi.input"].read(10)))
            except (TypeError, ValueError, OSError) as error:
                found.append(type(error).__name__)
        start_response("200 OK", [])
        return []

    converse(app, message(post_chunked(b"abc"), Given))
    assert found == ["TypeError" if given is None else "ValueError", "BodyError"]


def test_a_request_whose_client_went_while_it_was_queued_is_not_run() -> None:
    asked: list[Any] = []
    opened = Event()

    def handler(request: Any) -> str:
        asked.append(request.path)
        opened.wait()
        return ""

    log: list[Record] = []
    with service_of(handler, log, {"concurrency": 1, "queue": 1}) as service:
        first, second = (Message(service, MemoryStream(), request(b"GET /%d HTTP/1.1" % n)) for n in range(2))
        first.begin()
        second.begin()
        while not asked:
            gevent.sleep(0)
        second.gone = True
        opened.set()
        second.finished.wait()
    assert (asked, first.state, second.state) == (["/0"], "whole", "cut")


def test_the_bytes_of_a_file_that_is_cut_are_those_that_went_out(tmp_path: Any) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 300_000)
    sent: list[int] = []

    def after(environ: dict[str, Any]) -> Any:
        return lambda status, size, head: sent.append(size)

    class Shrinking(Message):
        def make_room(self) -> None:
            path.write_bytes(b"x")

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](path.open("rb"))

    log: list[Record] = []
    with service_of(app, log, {}) as service:
        values = service.settings
        service.attach(WSGI(app, values, after))
        one = Shrinking(service, MemoryStream(), GET)
        one.begin()
        one.finished.wait()
    assert (one.state, sent) == ("cut", [65536])
