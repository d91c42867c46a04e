"""Every time-out of the wire contract, over real sockets. What is asserted is order and outcome, never speed."""

from __future__ import annotations

import logging
from typing import Any

import gevent
import pytest
from gevent.event import Event

from greenhttp.errors import BodyTimeout, RequestTimeout
from tests.http.apps import answering, echo, hello, post, request
from tests.http.client import Client

BIG = 8 << 20  # more than the buffers of both ends hold


def trickle(client: Client, data: bytes) -> gevent.Greenlet:
    """Send `data` one byte after the other, often, for ever; ends when the connection does."""

    def run() -> None:
        try:
            for i in range(1 << 30):
                client.sock.send(data[i % len(data) :][:1])
                gevent.sleep(0.005)
        except OSError:
            pass

    return gevent.spawn(run)


@pytest.fixture
def green() -> Any:
    """green(function, *arguments): a green thread that ends with the test."""
    threads: list[gevent.Greenlet] = []

    def start(thread: gevent.Greenlet) -> gevent.Greenlet:
        threads.append(thread)
        return thread

    yield start
    gevent.killall(threads)


# ---- header_timeout


@pytest.mark.parametrize("before", [b"", request()], ids=["first", "later"])
def test_header_timeout_is_total_not_per_byte(serve: Any, green: Any, before: bytes) -> None:
    client = serve(hello, header_timeout=0.15).connect()
    if before:
        assert client.ask(before).status == 200
    client.send(b"GET / HTTP/1.1\r\nA: ")
    green(trickle(client, b"x"))
    answer = client.answer()
    assert (answer.status, answer.closes) == (408, True)


def test_header_timeout_counts_from_accept_for_the_first_request(serve: Any) -> None:
    serving = serve(hello, header_timeout=1, keepalive_timeout=0)
    early = serving.connect()
    gevent.sleep(0.1)
    late = serving.connect()
    late.send(b"G")
    early.send(b"G")  # begun at the same time, but accepted before
    order: list[str] = []
    waiting = [
        gevent.spawn(lambda c=c, n=n: (c.answer(), order.append(n))) for n, c in (("late", late), ("early", early))
    ]
    gevent.joinall(waiting)
    assert order == ["early", "late"]


def test_header_timeout_of_a_silent_newcomer_closes_without_an_answer(serve: Any) -> None:
    serving = serve(hello, header_timeout=0.05)
    client = serving.connect()
    assert client.ended()
    serving.until(lambda: serving.count("connections") == 0)


def test_header_timeout_does_not_count_between_requests(serve: Any) -> None:
    serving = serve(hello, header_timeout=0.05, keepalive_timeout=0)
    client = serving.connect()
    assert client.ask(request()).status == 200
    assert serving.connect().ended()  # one that came later has run out of time
    assert client.ask(request()).status == 200


def test_header_timeout_does_not_hit_requests_that_came_while_the_process_was_busy(serve: Any) -> None:
    import time

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/busy":
            clients[1].sock.send(request())
            clients[2].sock.send(request())
            time.sleep(0.25)  # holds the whole loop
        return hello(environ, start_response)

    serving = serve(app, header_timeout=0.1, keepalive_timeout=0)
    clients = [serving.connect() for _ in range(3)]
    assert clients[2].ask(request()).status == 200
    serving.until(lambda: serving.count("fresh") == 2)
    assert clients[0].ask(request(b"GET /busy HTTP/1.1")).status == 200
    assert clients[2].answer().status == 200
    assert clients[1].answer().status == 200


# ---- keepalive_timeout


def test_keepalive_timeout_closes_in_good_order(serve: Any) -> None:
    serving = serve(hello, keepalive_timeout=0.05)
    client = serving.connect()
    assert client.ask(request()).status == 200
    assert client.ended()
    serving.until(lambda: serving.count("connections") == 0)


def test_keepalive_timeout_begins_anew_with_each_request(serve: Any) -> None:
    serving = serve(hello, keepalive_timeout=60)
    first, second = serving.connect(), serving.connect()
    for client in (first, second, first):
        assert client.ask(request()).status == 200
        serving.until(lambda: not serving.count("running"))
    # The order in a phase is the order of expiry; what expires is closed, other tests see that.
    waiting = [connection.stream.peer for connection in serving.server._service.idle.members()]
    assert waiting == [second.sock.getsockname(), first.sock.getsockname()]


def test_keepalive_timeout_does_not_count_while_a_request_runs(serve: Any) -> None:
    ready = Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/wait":
            ready.wait()
        return hello(environ, start_response)

    serving = serve(app, keepalive_timeout=0.05)
    client = serving.connect()
    client.ask(request())
    client.send(request(b"GET /wait HTTP/1.1"))
    other = serving.connect()
    other.ask(request())
    assert other.ended()
    ready.set()
    assert client.answer().status == 200


# ---- body_timeout, body_min_rate


def keeping(errors: list[BaseException]) -> Any:
    """An application that keeps what its read raises."""

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            return echo(environ, start_response)
        except Exception as error:
            errors.append(error)
            raise

    return app


def test_body_timeout_raises_in_the_read_and_answers_408(serve: Any) -> None:
    errors: list[BaseException] = []
    client = serve(keeping(errors), body_timeout=0.05).connect()
    answer = client.ask(post(b"hello")[:-1])
    assert (answer.status, answer.closes) == (408, True)
    assert isinstance(errors[0], BodyTimeout) and isinstance(errors[0], OSError)
    assert client.ended()


def test_body_timeout_is_about_silence(serve: Any, green: Any) -> None:
    serving = serve(echo, body_timeout=0.3, body_min_rate=0, header_timeout=0)
    speaking, silent = serving.connect(), serving.connect()
    silent.send(post(b"hello")[:-1])
    speaking.send(request(b"POST / HTTP/1.1", b"Content-Length: 1000"))
    green(trickle(speaking, b"x"))
    assert silent.answer().status == 408
    serving.until(lambda: serving.count("body") == 1)  # still there, and read from


def test_body_timeout_does_not_count_while_the_application_is_busy(serve: Any) -> None:
    ready = Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/busy":
            ready.wait()
        return echo(environ, start_response)

    serving = serve(app, body_timeout=0.05)
    client = serving.connect().send(post(b"hello", path=b"/busy")[:-5])
    assert serving.connect().ask(post(b"hello")[:-1]).status == 408
    client.send(b"hello")
    ready.set()
    assert client.answer().content == b"POST /busy hello"


def test_body_timeout_after_the_head_is_out_aborts(serve: Any) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        yield b"part"
        yield environ["wsgi.input"].read()

    client = serve(app, body_timeout=0.05).connect().send(post(b"hello")[:-1])
    assert client.was_reset()


def test_body_min_rate_ends_a_trickled_body(serve: Any, green: Any) -> None:
    serving = serve(echo, body_timeout=0, body_min_rate=100_000, min_rate_after=0.1)
    client = serving.connect().send(request(b"POST / HTTP/1.1", b"Content-Length: 1000000"))
    green(trickle(client, b"x"))
    answer = client.answer()
    assert (answer.status, answer.closes) == (408, True)


def test_body_min_rate_judges_only_after_its_grace(serve: Any, green: Any) -> None:
    serving = serve(echo, body_timeout=0.1, body_min_rate=1 << 30, min_rate_after=3600)
    client = serving.connect().send(post(b"hello")[:-1])
    assert serving.connect().ask(post(b"hello")[:-1]).status == 408
    del client


def test_body_min_rate_of_a_chunked_body_counts_its_chunk_lines(serve: Any, green: Any) -> None:
    serving = serve(echo, body_timeout=0, body_min_rate=100_000, min_rate_after=0.1)
    client = serving.connect().send(request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked"))
    green(trickle(client, b"1\r\nx\r\n"))
    assert client.answer().status == 408


# ---- write_timeout, write_min_rate


def known(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"x" * BIG]


class Streamed:
    """Content made piece by piece; says when it is closed."""

    def __init__(self) -> None:
        self.closed = Event()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        return self

    def __iter__(self) -> Any:
        for _ in range(BIG >> 16):
            yield b"x" * 65536

    def close(self) -> None:
        self.closed.set()


@pytest.mark.parametrize("app", [known, Streamed()], ids=["known", "streamed"])
def test_write_timeout_aborts_a_client_that_does_not_read(serve: Any, app: Any) -> None:
    serving = serve(app, write_timeout=0.1, write_min_rate=0)
    client = serving.connect(receive_buffer=4096).send(request())
    serving.until(lambda: serving.count("flushing") + serving.count("writing"))
    serving.until(lambda: serving.count("connections") == 0)
    assert client.was_reset()
    if isinstance(app, Streamed):
        assert app.closed.is_set()


@pytest.mark.parametrize("app", [known, Streamed()], ids=["known", "streamed"])
def test_write_min_rate_aborts_a_client_that_trickles_its_reading(serve: Any, green: Any, app: Any) -> None:
    serving = serve(app, write_timeout=0, write_min_rate=1 << 30, min_rate_after=0.1)
    client = serving.connect(receive_buffer=4096).send(request())

    def read() -> None:
        with pytest.raises(ConnectionResetError):
            while client.sock.recv(100):
                gevent.sleep(0.005)

    reader = green(gevent.spawn(read))
    serving.until(lambda: serving.count("connections") == 0)
    reader.get()


@pytest.mark.parametrize("app", [known, Streamed()], ids=["known", "streamed"])
def test_write_time_outs_see_what_the_client_takes_from_the_systems_buffer(serve: Any, app: Any) -> None:
    # Linux says that a socket can be written again once a third of megabytes has left: for long it looks like silence.
    serving = serve(app, write_timeout=0.2, write_min_rate=1000, min_rate_after=0.2)
    client = serving.connect().send(request())
    size = 0
    while size < BIG:
        size += len(client.sock.recv(100_000))
        gevent.sleep(0.02)


def test_write_time_outs_do_not_count_while_the_application_is_slow(serve: Any) -> None:
    ready = Event()

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        yield b"a"
        if environ["PATH_INFO"] == "/slow":
            ready.wait()
        else:
            yield b"x" * BIG
        yield b"b"

    serving = serve(app, write_timeout=0.1, write_min_rate=1 << 30, min_rate_after=0.05)
    slow = serving.connect().send(request(b"GET /slow HTTP/1.1"))
    other = serving.connect(receive_buffer=4096).send(request())
    serving.until(lambda: serving.count("connections") == 1)
    ready.set()
    assert slow.answer().content == b"ab"
    assert other.was_reset()


# ---- request_timeout


def stuck_in_here(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    if environ["PATH_INFO"] == "/stuck":
        Event().wait()
    return hello(environ, start_response)


def test_request_timeout_is_503_and_the_next_request_is_fine(serve: Any, caplog: Any) -> None:
    serving = serve(stuck_in_here, request_timeout=0.1)
    client = serving.connect().send(request(b"GET /stuck HTTP/1.1") + request(b"GET /next HTTP/1.1"))
    answer = client.answer()
    assert (answer.status, answer.content) == (503, b"Service Unavailable\n")
    assert client.answer().content == b"/next"
    assert serving.count("running") == 0
    serving.until(lambda: caplog.records)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR and "GET /stuck" in record.getMessage()
    assert "stuck_in_here" in caplog.text  # where


def test_request_timeout_is_raised_in_the_application_which_may_clean_up(serve: Any) -> None:
    seen: list[BaseException] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            Event().wait()
        except RequestTimeout as error:
            seen.append(error)
        return hello(environ, start_response)

    serving = serve(app, request_timeout=0.1)
    client = serving.connect()
    assert [client.ask(request(b"GET /%d HTTP/1.1" % i)).content for i in range(2)] == [b"/0", b"/1"]
    assert len(seen) == 2


def test_request_timeout_after_the_head_is_out_aborts(serve: Any) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        yield b"part"
        Event().wait()

    assert serve(app, request_timeout=0.1).connect().send(request()).was_reset()


def test_request_timeout_reaches_a_read_of_the_body_and_closes(serve: Any) -> None:
    serving = serve(echo, request_timeout=0.1, body_timeout=0)
    client = serving.connect()
    answer = client.ask(post(b"hello")[:-1])
    assert (answer.status, answer.closes) == (503, True)


def test_request_timeout_is_for_each_request_of_a_connection(serve: Any) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        gevent.sleep(0.05)
        return hello(environ, start_response)

    client = serve(app, request_timeout=5).connect()
    client.send(request() * 4)
    assert [client.answer().status for _ in range(4)] == [200] * 4


# ---- linger_timeout


def test_linger_timeout_ends_a_client_that_stays(serve: Any) -> None:
    serving = serve(hello, linger_timeout=0.1)
    client = serving.connect()
    assert client.ask(b"bad\r\n").status == 400
    assert client.rest() == b""  # the server has said all there is
    assert serving.count("lingering") == 1
    serving.until(lambda: serving.count("connections") == 0)


def test_linger_is_total_not_per_byte(serve: Any, green: Any) -> None:
    serving = serve(hello, linger_timeout=0.1)
    client = serving.connect()
    assert client.ask(b"bad\r\n").status == 400
    green(trickle(client, b"x"))
    serving.until(lambda: serving.count("connections") == 0)


def test_lingering_ends_as_soon_as_the_client_has_gone(serve: Any) -> None:
    serving = serve(hello, linger_timeout=3600)
    client = serving.connect()
    assert client.ask(b"bad\r\n").status == 400
    client.close()
    serving.until(lambda: serving.count("connections") == 0)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (request(b"POST / HTTP/1.1", b"Content-Length: 600000"), 413),
        (request(b"POST / HTTP/1.1", b"Content-Length: 600000", b"Content-Length: 600000"), 400),
        (request(b"POST / HTTP/1.1", b"Expect: x", b"Content-Length: 600000"), 417),
        (request(b"POST / HTTP/1.1", b"A: " + b"x" * 70000), 431),
        (request(b"CONNECT example.com:1 HTTP/1.1").replace(b"example.com\r\n", b"example.com:1\r\n"), 501),
    ],
)
def test_22_a_client_that_is_still_uploading_gets_the_answer_not_a_reset(serve: Any, head: bytes, status: int) -> None:
    client = serve(echo, limit_request_body=1000).connect()
    client.send(head)
    for _ in range(60):
        client.send(b"x" * 10000)
    answer = client.answer()
    assert (answer.status, answer.closes) == (status, True)
    assert client.rest() == b""


def test_22_the_last_answer_is_read_though_more_requests_were_sent(serve: Any) -> None:
    ready = Event()

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        ready.wait()
        start_response("200 OK", [("Connection", "close")])
        return [b"x" * 100000]

    serving = serve(app)
    client = serving.connect().send(request())
    serving.until(lambda: serving.count("running"))
    client.send(request() * 1000)
    ready.set()
    gevent.sleep(0.01)
    assert len(client.answer().content) == 100000
    assert client.rest() == b""


def test_no_timeouts_at_all_can_be_had(serve: Any) -> None:
    names = (
        "header_timeout keepalive_timeout body_timeout body_min_rate write_timeout write_min_rate request_timeout "
        "linger_timeout queue_timeout min_rate_after"
    )
    serving = serve(answering([b"fine"]), **dict.fromkeys(names.split(), 0))
    client = serving.connect()
    assert client.ask(post(b"hello")).content == b"fine"
    assert client.ask(b"bad\r\n").status == 400
    assert client.ended()


def test_body_timeout_does_not_hit_a_body_that_came_while_the_process_was_busy(serve: Any) -> None:
    import time

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/busy":
            client.sock.send(b"o")
            time.sleep(0.25)  # holds the whole loop
        return echo(environ, start_response)

    serving = serve(app, body_timeout=0.1)
    client = serving.connect().send(post(b"hello")[:-1])
    serving.until(lambda: serving.count("body"))
    assert serving.connect().ask(request(b"GET /busy HTTP/1.1")).status == 200
    assert client.answer().content == b"POST / hello"
