"""Request.disconnected and what hangs on it: a client that goes while its request runs, waits or is answered."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import gevent
import pytest
from gevent import ssl
from gevent.event import Event

from greenhttp.errors import ClientDisconnected
from greenhttp.green import tls as green_tls
from greenhttp.http.application import PythonExchange
from greenhttp.pywsgi import WSGIServer
from greenhttp.server import Server
from greenhttp.testing import service_of
from tests.answers import Answer
from tests.http.apps import post, request
from tests.http.carriers import Message
from tests.http.client import Client
from tests.log_lines import without_peer
from tests.tls import certificates

GET = request()
STILL = 0.3  # seconds in which a client that is there must not be taken for gone: more than two looks


class Handler:
    """Runs `does(request)` and keeps what that gives or raises."""

    def __init__(self, does: Callable[[Any], Any]) -> None:
        self.does = does
        self.running, self.done = Event(), Event()
        self.seen: list[Any] = []
        self.request: Any = None

    def __call__(self, request: Any) -> str:
        self.request = request
        try:
            self.running.set()
            self.seen.append(self.does(request))
            return "seen"
        except BaseException as error:
            self.seen.append(type(error))
            raise
        finally:
            self.done.set()

    @property
    def result(self) -> Any:
        self.done.wait()
        return self.seen[-1]


def waits(request: Any) -> Any:
    return request.disconnected.wait()


def waits_a_little(request: Any) -> Any:
    return request.disconnected.wait(STILL)


def for_ever(request: Any) -> None:
    Event().wait()


@pytest.fixture
def log(caplog: Any) -> Callable[[Any], list[tuple[str, str]]]:
    """log(serving): (level, message) of all that was said; stops the server."""
    caplog.set_level(logging.INFO, "greenhttp")

    def said(serving: Any) -> list[tuple[str, str]]:
        serving.server.stop(10)
        return [(record.levelname, record.getMessage()) for record in caplog.records]

    return said


# ---- what is seen


@pytest.mark.parametrize("data", [GET, request(b"HEAD / HTTP/1.1"), post(b"x" * 100_000), GET + request()])
@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_client_that_leaves_is_noticed_without_a_look(serve: Any, data: bytes, leave: str) -> None:
    if leave == "close" and len(data) > 2 * len(GET) - 1 and sys.platform != "linux":
        pytest.skip("behind unread bytes the end is seen on Linux alone")
    handler = Handler(waits)
    client = serve(handler).connect().send(data)
    handler.running.wait()
    getattr(client, leave)()
    assert handler.result is True


def test_a_client_that_left_before_it_was_asked_for(serve: Any) -> None:
    now = Event()
    handler = Handler(lambda request: [now.wait(), request.disconnected.wait()][1])
    client = serve(handler).connect().send(GET)
    handler.running.wait()
    client.reset()
    now.set()
    assert handler.result is True


def final(client: Client) -> list[Answer]:
    """The answers up to the final one."""
    found = [client.answer()]
    while found[-1].status < 200:
        found.append(client.answer())
    return found


def test_a_client_that_has_closed_one_side_has_not_gone_and_gets_its_answer(serve: Any) -> None:
    handler = Handler(waits_a_little)
    client = serve(handler).connect().send(GET).finish()
    assert [answer.status for answer in final(client)] == [100, 200]  # asked once, although looked at again and again
    assert handler.seen == [False]
    assert client.ended()


def test_one_that_has_closed_one_side_and_goes_then_has_gone(serve: Any) -> None:
    handler = Handler(waits)
    client = serve(handler).connect().send(GET).finish()
    assert client.answer().status == 100
    client.reset()
    assert handler.result is True


def test_a_client_of_http_1_0_is_sent_nothing_it_does_not_know(serve: Any) -> None:
    handler = Handler(waits_a_little)
    client = serve(handler).connect().send(b"GET / HTTP/1.0\r\n\r\n").finish()
    assert [answer.status for answer in final(client)] == [200]
    assert handler.seen == [False]


def test_a_client_of_http_1_0_that_resets_is_noticed(serve: Any) -> None:
    handler = Handler(waits)
    client = serve(handler).connect().send(b"GET / HTTP/1.0\r\n\r\n")
    handler.running.wait()
    client.reset()
    assert handler.result is True


@pytest.mark.parametrize("leave", ["close", "finish"])
def test_over_a_unix_socket_a_close_is_known_at_once(tmp_path: Any, monkeypatch: Any, leave: str) -> None:
    monkeypatch.chdir(tmp_path)
    handler = Handler(waits if leave == "close" else waits_a_little)
    server = Server(handler, bind="unix:s")
    server.start()
    client = Client("s").send(GET)
    handler.running.wait()
    getattr(client, leave)()
    assert handler.result is (leave == "close")
    client.close()
    server.stop(10)


@pytest.fixture(params=["direct", "simple"])
def secure(request: Any, monkeypatch: Any, tmp_path: Any) -> Callable[..., Any]:
    """secure(handler, data) -> client: a server over TLS, and a client that has sent this."""
    monkeypatch.setattr(green_tls, "force_simple", request.param == "simple")
    certfile, keyfile = certificates.leaf("shop.example").write(tmp_path)
    serve = request.getfixturevalue("serve")

    def start(handler: Any, data: bytes = GET) -> Any:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=certificates.authority().authorities().decode())
        client = serve(handler, certfile=[certfile], keyfile=[keyfile]).connect()
        client.sock = context.wrap_socket(client.sock, server_hostname="shop.example")
        return client.send(data)

    return start


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_over_tls_too(secure: Any, leave: str) -> None:
    handler = Handler(waits)
    client = secure(handler)
    handler.running.wait()
    getattr(client, leave)()
    assert handler.result is True


def test_over_tls_a_goodbye_alone_is_not_the_end(secure: Any) -> None:
    handler = Handler(lambda request: [request.disconnected.wait(STILL), request.disconnected.wait()])
    client = secure(handler)
    handler.running.wait()

    def goodbye() -> None:
        with suppress(OSError):
            client.sock.unwrap()

    parting = gevent.spawn(goodbye)
    handler.done.wait(2 * STILL)
    parting.kill()
    client.reset()
    assert handler.result == [False, True]


# ---- an event


def test_whoever_waits_elsewhere_goes_on_when_the_request_is_over(serve: Any) -> None:
    elsewhere: list[Any] = []

    def does(request: Any) -> None:
        elsewhere.append(gevent.spawn(request.disconnected.wait))
        gevent.idle()

    handler = Handler(does)
    client = serve(handler).connect()
    assert client.ask(GET).content == b"seen"
    assert elsewhere[0].get() is False
    gone = handler.request.disconnected
    client.reset()
    assert (bool(gone), gone.is_set(), gone.wait()) == (False, False, False)


def test_it_can_be_waited_for_beside_others(serve: Any) -> None:
    handler = Handler(lambda request: gevent.wait([request.disconnected, Event()], count=1) == [request.disconnected])
    client = serve(handler).connect().send(GET)
    handler.running.wait()
    client.reset()
    assert handler.result is True


def test_first_asked_for_when_the_request_is_over_it_is_false(serve: Any) -> None:
    handler = Handler(lambda request: None)
    client = serve(handler).connect()
    client.ask(GET)
    assert not handler.request.disconnected and handler.request.gone
    assert handler.request.disconnected.wait() is False


# ---- functions


def test_functions_are_called_once_each_in_a_green_thread_of_its_own(serve: Any, log: Any) -> None:
    called: list[Any] = []
    all_called = Event()

    def fails() -> None:
        raise ValueError("a defect")

    def does(request: Any) -> None:
        request.on_disconnect(fails)
        request.on_disconnect(lambda: called.append(gevent.getcurrent()))
        request.on_disconnect(lambda: (called.append(gevent.getcurrent()), all_called.set()))
        request.disconnected.wait()
        all_called.wait()
        late = Event()
        request.on_disconnect(late.set)
        late.wait()

    handler = Handler(does)
    serving = serve(handler)
    client = serving.connect().send(GET)
    handler.running.wait()
    client.reset()
    handler.done.wait()
    assert len(called) == len(set(called)) == 2
    errors = [message for level, message in log(serving) if level == "ERROR"]
    assert len(errors) == 1 and errors[0].endswith("GET /: ValueError in a function for on_disconnect")


def test_no_function_is_called_once_the_request_is_over(serve: Any) -> None:
    called: list[str] = []
    handler = Handler(lambda request: request.on_disconnect(lambda: called.append("before")) and None)
    serving = serve(handler)
    client = serving.connect()
    client.ask(GET)
    client.reset()
    serving.until(lambda: serving.count("connections") == 0)
    handler.request.on_disconnect(lambda: called.append("after"))
    gevent.idle()
    assert called == []
    with pytest.raises(TypeError):
        handler.request.on_disconnect("no function")


# ---- cancelled


def asks_for_it(request: Any) -> None:
    request.cancel_on_disconnect = True
    Event().wait()


@pytest.mark.parametrize(("does", "settings"), [(for_ever, {"cancel_on_disconnect": True}), (asks_for_it, {})])
@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_request_is_cancelled_where_it_waits(serve: Any, log: Any, does: Any, settings: Any, leave: str) -> None:
    handler = Handler(does)
    serving = serve(handler, **settings)
    client = serving.connect().send(GET)
    handler.running.wait()
    getattr(client, leave)()
    assert handler.result is ClientDisconnected
    assert [(level, without_peer(message)) for level, message in log(serving)] == [
        ("INFO", "GET /: the client disconnected; the request was cancelled")
    ]


def test_a_request_can_decline(serve: Any) -> None:
    def does(request: Any) -> Any:
        assert request.cancel_on_disconnect is True
        request.cancel_on_disconnect = False
        return waits(request)

    handler = Handler(does)
    client = serve(handler, cancel_on_disconnect=True).connect().send(GET)
    handler.running.wait()
    client.reset()
    assert handler.result is True


def test_whoever_raises_it_for_another_reason_has_a_defect(serve: Any, log: Any) -> None:
    def does(request: Any) -> None:
        raise ClientDisconnected("of another request")

    serving = serve(Handler(does))
    assert serving.ask(GET).status == 500
    assert [level for level, _ in log(serving)] == ["ERROR"]


def test_the_next_request_of_the_green_thread_is_never_the_one_that_is_cancelled(serve: Any) -> None:
    others: list[Any] = []
    started, now = Event(), Event()

    def does(request: Any) -> Any:
        if request.path == "/next":
            others.append(id(gevent.getcurrent()))
            started.set()
            now.wait()
            return "not disturbed"
        request.cancel_on_disconnect = True
        others.append(id(gevent.getcurrent()))
        with suppress(ClientDisconnected):
            request.disconnected.wait()
        return None

    handler = Handler(does)
    serving = serve(handler, concurrency=1, queue=5)
    client = serving.connect().send(GET)
    handler.running.wait()
    other = serving.connect().send(request(b"GET /next HTTP/1.1"))
    serving.until(lambda: serving.count("queued") == 1)
    client.reset()
    started.wait()
    gevent.idle()
    now.set()
    assert other.answer().content == b"seen"
    assert others[0] == others[1]
    assert handler.seen == [None, "not disturbed"]


# ---- answers that are being sent


class Pieces:
    """An answer in two pieces, the second of which never comes unless told to."""

    def __init__(self) -> None:
        self.next, self.waiting, self.done = Event(), Event(), Event()
        self.ended: list[Any] = []

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield b"first"
            self.waiting.set()
            self.next.wait()
            self.waiting.clear()
            yield b"second"
            self.waiting.set()
            Event().wait()
        except BaseException as error:
            self.ended.append(type(error))
            raise
        finally:
            self.done.set()

    def native(self, request: Any) -> Any:
        return iter(self)

    def wsgi(self, environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return iter(self)


@pytest.mark.parametrize("kind", ["native", "wsgi"])
def test_an_answer_that_waits_for_its_next_piece_is_told_at_once(serve: Any, log: Any, kind: str) -> None:
    pieces = Pieces()
    serving = serve(getattr(pieces, kind))
    client = serving.connect().send(GET)
    pieces.waiting.wait()
    client.reset()
    pieces.done.wait()
    assert pieces.ended == [ClientDisconnected]
    assert [level for level, _ in log(serving)] == ["INFO"]


def test_a_client_that_has_closed_is_told_by_what_it_answers_to_the_next_piece(serve: Any) -> None:
    pieces = Pieces()
    client = serve(pieces.native).connect().send(GET)
    pieces.waiting.wait()
    while b"first" not in client.data:
        client.data += client.sock.recv(65536)
    client.close()  # all was read, so it is a FIN
    assert not pieces.done.wait(STILL)
    pieces.next.set()
    pieces.done.wait()
    assert pieces.ended == [ClientDisconnected]


def test_an_answer_goes_on_to_a_client_that_has_closed_one_side(serve: Any) -> None:
    pieces = Pieces()
    client = serve(pieces.native).connect().send(GET)
    pieces.waiting.wait()
    client.finish()
    assert not pieces.done.wait(STILL)
    pieces.next.set()
    while b"second" not in client.data:
        client.data += client.sock.recv(65536)
    assert not pieces.done.wait(STILL)
    client.reset()
    pieces.done.wait()
    assert pieces.ended == [ClientDisconnected]


def test_what_a_close_does_behind_a_whole_answer_is_not_disturbed(serve: Any) -> None:
    closing, now, done = Event(), Event(), Event()
    undisturbed: list[bool] = []

    class Content:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"all"])

        def close(self) -> None:
            closing.set()
            try:
                now.wait()
                undisturbed.append(True)
            finally:
                done.set()

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Length", "3")])
        return Content()

    serving = serve(app, cancel_on_disconnect=True)
    client = serving.connect().send(GET)
    closing.wait()
    assert client.answer().content == b"all"
    client.reset()
    gevent.sleep(0.01)
    now.set()
    done.wait()
    assert undisturbed == [True]


# ---- waiting for a green thread


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_request_that_waits_for_a_green_thread_is_dropped(serve: Any, leave: str) -> None:
    now, running = Event(), Event()
    asked: list[str] = []

    def handler(request: Any) -> str:
        asked.append(request.path)
        running.set()
        now.wait()
        return "done"

    serving = serve(handler, concurrency=1, queue=5)
    first = serving.connect().send(GET)
    running.wait()
    second = serving.connect().send(request(b"GET /second HTTP/1.1"))
    serving.until(lambda: serving.count("queued") == 1)
    third = serving.connect().send(request(b"GET /third HTTP/1.1"))
    serving.until(lambda: serving.count("queued") == 2)
    getattr(second, leave)()
    if leave == "reset":
        serving.until(lambda: serving.count("queued") == 1)  # its place in the queue is free
    else:
        gevent.sleep(0.05)
    now.set()
    assert [client.answer().content for client in (first, third)] == [b"done"] * 2
    assert asked == ["/", "/third"]


# ---- WSGI, other doors, other protocols


class Application:
    def __init__(self) -> None:
        self.running, self.done = Event(), Event()
        self.seen: list[Any] = []

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        gone = environ["greenhttp.disconnected"]
        if environ["PATH_INFO"] == "/cancel":
            gone.cancel_on_disconnect = True
        gone.on_disconnect(lambda: self.seen.append("called"))

        def elsewhere() -> None:
            with pytest.raises(RuntimeError, match="in that of the request"):
                bool(gone)

        self.seen += [bool(gone), gone.wait(0)]
        gevent.spawn(elsewhere).get()
        other = gevent.spawn(gone().wait)
        self.running.set()
        try:
            self.seen.append(other.get())
        except ClientDisconnected:
            self.seen.append(other.get())
            raise
        finally:
            self.seen.append(bool(gone))
            self.done.set()
        start_response("200 OK", [])
        return []


@pytest.mark.parametrize("path", [b"/", b"/cancel"])
def test_a_wsgi_application_finds_it_in_the_environ(serve: Any, path: bytes) -> None:
    app = Application()
    client = serve(app).connect().send(request(b"GET %s HTTP/1.1" % path))
    app.running.wait()
    client.reset()
    app.done.wait()
    assert [each for each in app.seen if each != "called"] == [False, False, True, True]
    assert app.seen.count("called") == 1


def test_behind_gevents_name(serve: Any) -> None:
    app = Application()
    server = WSGIServer(("127.0.0.1", 0), app, log=None)
    server.start()
    client = Client(("127.0.0.1", server.server_port)).send(GET)
    app.running.wait()
    client.reset()
    app.done.wait()
    assert [each for each in app.seen if each != "called"] == [False, False, True, True]
    server.stop()


@pytest.mark.parametrize("told", [True, False])
def test_another_protocol_says_so_or_is_asked(told: bool) -> None:
    handler = Handler(waits)
    with service_of(handler, [], {}) as service:
        message = Message(service, _stream(), GET)
        message.begin()
        handler.running.wait()
        message.gone = True
        if told:
            message.notice()
            assert handler.request.disconnected
        assert handler.result is True
        message.finished.wait()
    assert isinstance(message, PythonExchange)


def _stream() -> Any:
    from greenhttp.green.transport import MemoryStream

    return MemoryStream()
