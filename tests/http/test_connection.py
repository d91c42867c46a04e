"""greenhttp/http/connection.pyx: the life of one connection. Numbers are rules of the wire contract."""

from __future__ import annotations

from typing import Any

import gevent
import pytest
from gevent.event import Event

from greenhttp.errors import BodyError
from greenhttp.testing import every_split, exchange
from tests.answers import answers, only
from tests.http.apps import HOST, answering, chunks, echo, hello, post, post_chunked, request, streaming

DRAIN = 262144  # bytes of an unread body that are dropped to keep a connection


def statuses(data: bytes) -> list[int]:
    return [answer.status for answer in answers(data)]


# ---- pieces and pipelines


@pytest.mark.parametrize(
    ("data", "contents"),
    [
        pytest.param(request(b"GET /a HTTP/1.1"), [b"GET /a "], id="get"),
        pytest.param(post(b"hello"), [b"POST / hello"], id="length"),
        pytest.param(post_chunked(b"he", b"llo"), [b"POST / hello"], id="chunked"),
        pytest.param(
            post_chunked(b"one") + post(b"two") + request(b"GET /three HTTP/1.1"),
            [b"POST / one", b"POST / two", b"GET /three "],
            id="pipeline",
        ),
        pytest.param(b"\r\n" + post(b"a") + b"\r\n\r\n" + request(), [b"POST / a", b"GET / "], id="empty lines"),
    ],
)
@pytest.mark.parametrize("window", [None, 7])
def test_how_bytes_arrive_and_leave_makes_no_difference(data: bytes, contents: list[bytes], window: int | None) -> None:
    for pieces in every_split(data):
        outcome = exchange(echo, pieces, keep_open=True, window=window)
        assert [answer.content for answer in answers(outcome.sent)] == contents
        assert (outcome.ended, outcome.log) == ("open", [])


def test_pipelined_answers_come_in_order_and_leave_together() -> None:
    data = b"".join(request(b"GET /%d HTTP/1.1" % i) for i in range(16))
    outcome = exchange(hello, [data], keep_open=True)
    assert [answer.content for answer in answers(outcome.sent)] == [b"/%d" % i for i in range(16)]
    assert outcome.sends == 1


def test_a_long_pipeline_gives_others_a_turn_every_sixteen_answers() -> None:
    data = b"".join(request(b"GET /%d HTTP/1.1" % i) for i in range(100))
    outcome = exchange(hello, [data], keep_open=True)
    assert [answer.content for answer in answers(outcome.sent)] == [b"/%d" % i for i in range(100)]
    assert outcome.sends == 7


def test_a_pipeline_of_large_answers_is_sent_before_it_is_large() -> None:
    outcome = exchange(answering([b"x" * 40000]), [request() * 8], keep_open=True)
    assert len(answers(outcome.sent)) == 8
    assert outcome.sends >= 4


def test_streamed_answers_in_a_pipeline_are_in_order() -> None:
    outcome = exchange(streaming(b"a", b"b"), [request() * 20], keep_open=True)
    assert [answer.content for answer in answers(outcome.sent)] == [b"ab"] * 20


def test_a_request_in_the_middle_of_a_pipeline_can_wait() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        gevent.sleep(0.002)
        return hello(environ, start_response)

    outcome = exchange(app, [b"".join(request(b"GET /%d HTTP/1.1" % i) for i in range(3))], keep_open=True)
    assert [answer.content for answer in answers(outcome.sent)] == [b"/0", b"/1", b"/2"]


def test_a_request_that_comes_while_another_runs_waits_for_its_turn(serve: Any) -> None:
    opened, paths = Event(), []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        paths.append(environ["PATH_INFO"])
        if environ["PATH_INFO"] == "/wait":
            opened.wait()
        return hello(environ, start_response)

    serving = serve(app)
    client = serving.connect()
    assert client.ask(request()).status == 200
    client.send(request(b"GET /wait HTTP/1.1"))
    serving.until(lambda: serving.count("running"))
    client.send(request(b"GET /next HTTP/1.1"))
    held_up = serving.connect()  # what comes by another connection has been looked at after that
    assert held_up.ask(request(b"GET /other HTTP/1.1")).content == b"/other"
    assert paths == ["/", "/wait", "/other"]
    opened.set()
    assert [client.answer().content for _ in range(2)] == [b"/wait", b"/next"]


def test_a_request_that_comes_while_an_answer_leaves_waits_for_its_end(serve: Any) -> None:
    content = b"x" * (8 << 20)  # more than the buffers of both ends hold

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [content] if environ["PATH_INFO"] == "/large" else [b"small"]

    serving = serve(app)
    client = serving.connect(receive_buffer=65536)
    assert client.ask(request()).content == b"small"
    client.send(request(b"GET /large HTTP/1.1"))
    serving.until(lambda: serving.count("flushing"))
    client.send(request())
    assert serving.ask(request()).content == b"small"
    assert serving.count("flushing") == 1
    assert client.answer().content == content
    assert client.answer().content == b"small"


def test_a_green_thread_left_behind_with_the_body_is_told_and_the_connection_ends(serve: Any) -> None:
    left: list[gevent.Greenlet] = []

    def read_on(body: Any) -> Any:
        try:
            return body.read()
        except BodyError as error:
            return error

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        left.append(gevent.spawn(read_on, environ["wsgi.input"]))
        gevent.sleep(0)  # it begins to read, and waits
        return hello(environ, start_response)

    client = serve(app).connect().send(post(b"hello")[:-2])
    assert client.answer().status == 200
    assert client.ended()
    (reader,) = left
    assert isinstance(reader.get(), BodyError)


def test_nothing_is_answered_when_nothing_was_sent() -> None:
    outcome = exchange(hello, [])
    assert (outcome.sent, outcome.ended, outcome.log) == (b"", "closed", [])


def test_half_a_head_is_no_request() -> None:
    outcome = exchange(hello, [request()[:-1]])
    assert (outcome.sent, outcome.ended) == (b"", "closed")


# ---- 10: after an error nothing more is read as HTTP


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"X" * 33 + b" / HTTP/1.1\r\n" + HOST + b"\r\n", 501),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (request(b"GET / HTTP/1.1", b"Content-Length: +1"), 400),
        (request(b"POST / HTTP/1.1", b"Transfer-Encoding: gzip, chunked"), 501),
        (request(b"POST / HTTP/1.1", b"Expect: other", b"Content-Length: 1"), 417),
        (request(b"CONNECT a:1 HTTP/1.1").replace(b"example.com", b"a:1"), 501),
        (request(b"TRACE / HTTP/1.1"), 501),
    ],
)
def test_10_an_error_is_answered_and_ends_the_connection(bad: bytes, status: int) -> None:
    for pieces in every_split(bad):
        outcome = exchange(hello, [*pieces, request(b"GET /after HTTP/1.1")], keep_open=True)
        answer = only(outcome.sent)
        assert (answer.status, answer.closes, outcome.ended) == (status, True, "closed")
        assert [record.level for record in outcome.log] == ["info"]


def test_10_answers_before_the_error_are_given() -> None:
    outcome = exchange(hello, [request() * 2 + b"NO\r\n\r\n" + request()], keep_open=True)
    assert statuses(outcome.sent) == [200, 200, 400]
    assert [answer.closes for answer in answers(outcome.sent)] == [False, False, True]
    assert (outcome.ended, outcome.sends) == ("closed", 1)


def test_10_an_error_names_no_byte_of_the_client() -> None:
    outcome = exchange(hello, [b"GET / HTTP/1.1\r\nSecret\x01: <script>\r\n\r\n"])
    assert b"ecret" not in outcome.sent and b"script" not in outcome.sent
    assert all("ecret" not in record.message for record in outcome.log)


def test_10_a_malformed_body_that_the_app_forgives_still_ends_the_connection() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            text = type(error).__name__.encode()
        start_response("200 OK", [])
        return [text]

    outcome = exchange(
        app, [request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", content=b"bad\r\n") + request()]
    )
    answer = only(outcome.sent)
    assert (answer.status, answer.content, answer.closes) == (200, b"BodyError", True)


# ---- 11: a body that the application did not read


@pytest.mark.parametrize("size", [1, 1000, 20000, DRAIN])
def test_11_an_unread_body_is_dropped_and_the_connection_goes_on(size: int) -> None:
    outcome = exchange(hello, [post(b"x" * size), request(b"GET /next HTTP/1.1")], keep_open=True)
    assert [answer.content for answer in answers(outcome.sent)] == [b"/", b"/next"]
    assert outcome.ended == "open"


def test_11_an_unread_body_beyond_the_bound_closes_and_says_so() -> None:
    outcome = exchange(hello, [post(b"x" * (DRAIN + 1)), request(b"GET /next HTTP/1.1")], keep_open=True)
    answer = only(outcome.sent)
    assert (answer.closes, outcome.ended) == (True, "closed")


@pytest.mark.parametrize("pieces", [1, 10])
def test_11_an_unread_chunked_body_is_dropped(pieces: int) -> None:
    outcome = exchange(hello, [post_chunked(*[b"x" * 1000] * pieces), request(b"GET /next HTTP/1.1")], keep_open=True)
    assert [answer.content for answer in answers(outcome.sent)] == [b"/", b"/next"]


def test_11_an_unread_chunked_body_is_dropped_to_its_end_because_no_close_was_announced() -> None:
    data = post_chunked(*[b"x" * 10000] * 200)
    outcome = exchange(hello, [data, request(b"GET /next HTTP/1.1")], keep_open=True)
    assert [(answer.content, answer.closes) for answer in answers(outcome.sent)] == [(b"/", False), (b"/next", False)]
    assert outcome.ended == "open"


def test_11_an_unread_chunked_body_beyond_the_limit_closes() -> None:
    data = post_chunked(*[b"x" * 10000] * 40)
    outcome = exchange(hello, [data, request(b"GET /next HTTP/1.1")], keep_open=True, limit_request_body=300_000)
    assert len(answers(outcome.sent)) == 1
    assert outcome.ended == "closed"


def test_11_an_unread_body_that_arrives_late_is_not_taken_for_a_request() -> None:
    data = post(request(b"GET /inner HTTP/1.1")) + request(b"GET /next HTTP/1.1")
    for pieces in every_split(data):
        outcome = exchange(hello, pieces, keep_open=True)
        assert [answer.content for answer in answers(outcome.sent)] == [b"/", b"/next"]


def test_11_a_malformed_unread_body_closes() -> None:
    data = request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", content=b"zz\r\n" + request(b"GET /no HTTP/1.1"))
    outcome = exchange(hello, [data], keep_open=True)
    assert len(answers(outcome.sent)) == 1
    assert outcome.ended == "closed"


def test_11_an_unread_body_that_never_comes_closes() -> None:
    outcome = exchange(hello, [post(b"hello")[:-2]], keep_open=True, linger_timeout=0.05)
    assert (len(answers(outcome.sent)), outcome.ended) == (1, "closed")


def test_11_a_body_read_in_part_is_dropped_for_the_rest() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [environ["wsgi.input"].read(3)]

    for pieces in every_split(post(b"abcdef") + post_chunked(b"abcd", b"ef") + post(b"xyz")):
        outcome = exchange(app, pieces, keep_open=True)
        assert [answer.content for answer in answers(outcome.sent)] == [b"abc", b"abc", b"xyz"]


@pytest.mark.parametrize("data", [post(b"hello"), post_chunked(b"hello")], ids=["length", "chunks"])
def test_11_without_lingering_an_unread_body_that_is_not_here_closes_at_once(data: bytes) -> None:
    outcome = exchange(hello, [data[:-2]], keep_open=True, linger_timeout=0)
    assert (len(answers(outcome.sent)), outcome.ended) == (1, "closed")


def test_11_a_body_that_was_dropped_can_no_longer_be_read() -> None:
    kept, said = [], []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if kept:
            with pytest.raises(BodyError) as caught:
                kept[0].read()
            said.append(caught.value.reason)
        kept.append(environ["wsgi.input"])
        return hello(environ, start_response)

    outcome = exchange(app, [post(b"hello") + request()], keep_open=True)
    assert statuses(outcome.sent) == [200, 200]
    assert said == ["the request is over: its body can no longer be read"]


# ---- 12: Expect: 100-continue

EXPECT = b"Expect: 100-continue"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"


def test_12_continue_goes_out_on_the_first_read() -> None:
    head = request(b"POST / HTTP/1.1", EXPECT, b"Content-Length: 5")
    outcome = exchange(echo, [head, b"hel", b"lo"], keep_open=True)
    assert outcome.sent.startswith(INTERIM)
    interim, answer = answers(outcome.sent)
    assert (answer.content, answer.closes, outcome.ended) == (b"POST / hello", False, "open")


def test_12_continue_does_not_go_out_before_the_first_read(serve: Any) -> None:
    ready = Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        ready.wait()
        return echo(environ, start_response)

    serving = serve(app)
    client = serving.connect().send(request(b"POST / HTTP/1.1", EXPECT, b"Content-Length: 5"))
    serving.until(lambda: serving.count("running"))
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.02):
        client.sock.recv(1)
    ready.set()
    assert client.answer().status == 100
    assert client.send(b"hello").answer().content == b"POST / hello"


def test_12_no_continue_when_content_has_come_by_the_first_read(serve: Any) -> None:
    ready = Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        ready.wait()
        return echo(environ, start_response)

    serving = serve(app)
    client = serving.connect().send(request(b"POST / HTTP/1.1", EXPECT, b"Content-Length: 5"))
    serving.until(lambda: serving.count("running"))
    client.send(b"hel")
    ready.set()
    serving.until(lambda: serving.count("body"))
    assert client.send(b"lo").answer().content == b"POST / hello"


def test_12_continue_goes_out_once() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"]
        start_response("200 OK", [])
        return [body.read(1), body.read(1), body.readline(), body.read()]

    head = request(b"POST / HTTP/1.1", EXPECT, b"Content-Length: 5")
    outcome = exchange(app, [head, *(bytes([c]) for c in b"hello")], keep_open=True)
    assert outcome.sent.count(INTERIM) == 1
    assert [answer.status for answer in answers(outcome.sent)] == [100, 200]


def test_12_no_continue_when_content_is_already_here() -> None:
    outcome = exchange(echo, [post(b"hello", EXPECT)], keep_open=True)
    assert only(outcome.sent).content == b"POST / hello"
    outcome = exchange(
        echo, [request(b"POST / HTTP/1.1", EXPECT, b"Content-Length: 5") + b"h", b"ello"], keep_open=True
    )
    assert only(outcome.sent).content == b"POST / hello"


def test_12_chunked_content_is_expected_too() -> None:
    head = request(b"POST / HTTP/1.1", EXPECT, b"Transfer-Encoding: chunked")
    outcome = exchange(echo, [head, chunks(b"hello")], keep_open=True)
    assert [answer.status for answer in answers(outcome.sent)] == [100, 200]


def test_12_an_answer_without_reading_closes_and_never_drains() -> None:
    head = request(b"POST / HTTP/1.1", EXPECT, b"Content-Length: 5")
    outcome = exchange(hello, [head, request(b"GET /next HTTP/1.1")], keep_open=True)
    answer = only(outcome.sent)
    assert (answer.status, answer.closes, outcome.ended) == (200, True, "closed")


@pytest.mark.parametrize("app", [streaming(b"a", b"b"), streaming(), answering([b"a"], "204 No Content")])
def test_12_the_same_for_any_kind_of_answer(app: Any) -> None:
    head = request(b"POST / HTTP/1.1", EXPECT, b"Content-Length: 5")
    outcome = exchange(app, [head, request()], keep_open=True)
    answer = only(outcome.sent)
    assert (answer.closes, outcome.ended) == (True, "closed")


def test_12_an_exception_before_reading_closes() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        raise RuntimeError("no")

    outcome = exchange(app, [request(b"POST / HTTP/1.1", EXPECT, b"Content-Length: 5"), request()], keep_open=True)
    answer = only(outcome.sent)
    assert (answer.status, answer.closes, outcome.ended) == (500, True, "closed")


def test_12_no_continue_once_the_final_head_is_out() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        yield b"first "
        yield environ["wsgi.input"].read()

    head = request(b"POST / HTTP/1.1", EXPECT, b"Content-Length: 5")
    outcome = exchange(app, [head, b"hello"], keep_open=True)
    answer = only(outcome.sent)
    assert (answer.content, answer.closes, outcome.ended) == (b"first hello", True, "closed")


def test_12_continue_comes_behind_the_answers_before_it() -> None:
    head = request(b"POST / HTTP/1.1", EXPECT, b"Content-Length: 5")
    outcome = exchange(echo, [request() + head, b"hello"], keep_open=True)
    assert [answer.status for answer in answers(outcome.sent)] == [200, 100, 200]


def test_12_a_body_too_large_is_refused_without_continue() -> None:
    head = request(b"POST / HTTP/1.1", EXPECT, b"Content-Length: 50")
    outcome = exchange(echo, [head, b"x" * 50], keep_open=True, limit_request_body=49)
    answer = only(outcome.sent)
    assert (answer.status, answer.closes, outcome.ended) == (413, True, "closed")


# ---- 13: content on any method


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"PUT", b"X-OWN"])
def test_13_content_is_framed_alike_on_every_method(method: bytes) -> None:
    data = request(method + b" / HTTP/1.1", b"Content-Length: 5", content=b"hello")
    data += request(method + b" / HTTP/1.1", b"Transfer-Encoding: chunked", content=chunks(b"hello"))
    for app in (echo, hello):
        outcome = exchange(app, [data + request(b"GET /next HTTP/1.1")], keep_open=True)
        last = answers(outcome.sent, [method.decode(), method.decode(), "GET"])[2]
        assert last.content.strip().endswith(b"/next")


def test_13_connect_and_trace_reach_an_application_that_asks_for_them() -> None:
    allowed = {"allow_methods": "CONNECT, TRACE"}
    outcome = exchange(echo, [request(b"TRACE /t HTTP/1.1")], **allowed)
    assert only(outcome.sent).content == b"TRACE /t "
    outcome = exchange(echo, [b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"], **allowed)
    assert only(outcome.sent).status == 200


# ---- 21: persistence


def test_21_on_1_0_an_answer_of_unknown_length_ends_with_the_connection() -> None:
    data = request(b"GET / HTTP/1.0", b"Connection: keep-alive")
    outcome = exchange(streaming(b"a", b"b"), [data, data], keep_open=True)
    answer = only(outcome.sent)
    assert (answer.framing, answer.content, answer.closes, outcome.ended) == ("close", b"ab", True, "closed")


def test_21_a_client_that_has_finished_sending_is_answered() -> None:
    outcome = exchange(echo, [post(b"hello") + request(b"GET /2 HTTP/1.1")])
    assert [answer.content for answer in answers(outcome.sent)] == [b"POST / hello", b"GET /2 "]
    assert outcome.ended == "closed"


# ---- 8: the end of file inside a body


@pytest.mark.parametrize(
    "data",
    [
        post(b"hello")[:-1],
        request(b"POST / HTTP/1.1", b"Content-Length: 5"),
        post_chunked(b"hello", last=b""),
        post_chunked(b"hello", last=b"0\r\n"),
        post_chunked(b"hello", last=b"0\r\n\r"),
        post_chunked(b"hello", last=b"0\r\nA: b\r\n"),
    ],
)
@pytest.mark.parametrize("read", ["read", "read_all_sizes", "readline", "readlines", "iterate", "read_some"])
def test_8_end_of_file_before_the_end_of_a_body_is_never_a_short_success(data: bytes, read: str) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"]
        if read == "read_all_sizes":
            while body.read(2):
                pass
        elif read == "readline":
            while body.readline():
                pass
        elif read == "iterate":
            list(body)
        elif read == "read_some":
            while body.read_some():
                pass
        else:
            getattr(body, read)()
        start_response("200 OK", [])
        return [b"whole"]

    for pieces in every_split(data):
        outcome = exchange(app, pieces)
        answer = only(outcome.sent)
        assert (answer.status, answer.closes, outcome.ended) == (400, True, "closed")
