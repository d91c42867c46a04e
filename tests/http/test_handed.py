"""The socket of a connection, for who speaks a protocol of its own on it: environ["gunicorn.socket"].

What holds for it holds whether it is the connection's own descriptor, or carried: over TLS, or with bytes that came
early.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent import select, selectors, socket, ssl
from gevent.event import AsyncResult, Event

from greenhttp.errors import StreamClosed
from greenhttp.green.handed import still_open
from tests.http.client import Client
from tests.http.conftest import Serving
from tests.tls import certificates

ASK = b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
PLAIN = b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n"
HI = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"
App = Callable[[Any, Any], Any]


def answered(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"answered"]


class Secure(Client):
    """The same over TLS."""

    def __init__(self, address: Any) -> None:
        super().__init__(address)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=certificates.authority().authorities().decode())
        self.sock = context.wrap_socket(self.sock, server_hostname="shop.example")


@pytest.fixture(params=["plain", "early", "tls"])
def meet(request: pytest.FixtureRequest, serve: Any, tmp_path: Any) -> Callable[..., tuple[Serving, Client]]:
    """meet(app, **settings) -> a server, and a client that has asked, and in one case sent `early` at once."""

    def start(app: App, **settings: Any) -> tuple[Serving, Client]:
        if request.param == "tls":
            certfile, keyfile = certificates.leaf("shop.example").write(tmp_path)
            serving = serve(app, certfile=[certfile], keyfile=[keyfile], **settings)
            client: Client = Secure(serving.server.address)
            serving.clients.append(client)
        else:
            serving = serve(app, **settings)
            client = serving.connect()
        client.send(ASK + b"early" if request.param == "early" else ASK)
        if request.param != "early":
            client.send(b"early")
        return serving, client

    return start


def test_it_is_a_socket_and_the_server_forgets_the_connection(meet: Any) -> None:
    gone = Event()

    def app(environ: Any, start_response: Any) -> Any:
        sock = environ["gunicorn.socket"]
        sock.sendall(HI)
        assert sock.recv(2) == b"ea"
        data = bytearray(10)
        count = sock.recv_into(data)
        assert bytes(data[:count]) == b"rly"
        seen.append(sock.getpeername()[0])
        seen.append(sock.getsockname())
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        gone.wait()
        file = sock.makefile("rb")
        seen.append(file.readline())
        sock.sendall(b"bye")
        file.close()
        sock.close()
        raise StopIteration

    seen: list[Any] = []
    serving, client = meet(app, concurrency=1, request_timeout=0.05)
    serving.until(lambda: len(seen) == 2)
    assert seen == ["127.0.0.1", serving.server.address]
    assert [serving.count(name) for name in ("connections", "running", "switched", "pool_away")] == [0, 0, 0, 1]
    client.send(b"a line\n")
    gone.set()
    assert client.rest() == HI + b"bye"
    assert seen[2] == b"a line\n"
    serving.until(lambda: serving.count("pool_away") == 0)


def test_select_and_selectors_and_poll_see_what_came_early(meet: Any) -> None:
    seen = AsyncResult()

    def app(environ: Any, start_response: Any) -> Any:
        with environ["gunicorn.socket"] as sock:
            found = select.select([sock], [], [], 30)[0] == [sock]
            with selectors.DefaultSelector() as selector:
                selector.register(sock, selectors.EVENT_READ)
                found = found and len(selector.select(30)) == 1
            poll = select.poll()
            poll.register(sock, select.POLLIN)
            seen.set((found and len(poll.poll(30_000)) == 1, sock.recv(100)))
        return []

    _, client = meet(app)
    assert seen.get(timeout=60) == (True, b"early")
    assert client.rest() == b""


@pytest.mark.parametrize("how", ["returns", "raises StopIteration", "answers"])
def test_whatever_the_application_does_behind_it_no_answer_is_sent(meet: Any, how: str, caplog: Any) -> None:
    kept = []

    def app(environ: Any, start_response: Any) -> Any:
        kept.append(environ["gunicorn.socket"])
        kept[0].sendall(HI)
        if how == "raises StopIteration":
            raise StopIteration
        if how == "answers":
            start_response("200 OK", [("Content-Length", "5")])(b"wrong")
            return iter([b"this is no answer"])
        return []

    serving, client = meet(app)
    serving.until(lambda: kept and serving.count("pool_away") == 0)
    assert kept[0].recv(5) == b"early"
    kept[0].sendall(b"still open")
    kept[0].close()
    assert client.rest() == HI + b"still open"
    assert caplog.text == ""


def test_one_that_nobody_has_is_closed(meet: Any) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        environ["gunicorn.socket"].recv(5)
        return []

    with pytest.warns(ResourceWarning), gevent.Timeout(60):
        _, client = meet(app)
        assert client.rest() == b""


def test_an_end_in_one_direction_leaves_the_other(meet: Any) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        with environ["gunicorn.socket"] as sock:
            sock.shutdown(socket.SHUT_WR)
            told = b""
            while data := sock.recv(100):
                told += data
            heard.set(told)
        return []

    heard = AsyncResult()
    serving, client = meet(app)
    if not isinstance(client, Secure):
        assert client.rest() == b""
    client.send(b" and later")
    client.close()
    assert heard.get(timeout=60) == b"early and later"


def test_large_messages_go_both_ways_at_once(meet: Any) -> None:
    size = 3_000_000

    def app(environ: Any, start_response: Any) -> Any:
        with environ["gunicorn.socket"] as sock:
            sender = gevent.spawn(sock.sendall, b"s" * size)
            count = 0
            while count < size + 5:
                count += len(sock.recv(65536))
            sender.join()
        return []

    _, client = meet(app)
    sender = gevent.spawn(client.send, b"c" * size)
    assert client.rest() == b"s" * size
    sender.get()


def test_one_that_is_not_used_changes_nothing(serve: Any) -> None:
    kept = []

    def app(environ: Any, start_response: Any) -> Any:
        sock = environ["gunicorn.socket"]
        kept.append(sock)
        assert "not used" in repr(dict(environ)) and not hasattr(sock, "__len__") and sock is environ["gunicorn.socket"]
        return answered(environ, start_response)

    client = serve(app).connect()
    for _ in range(2):
        assert client.ask(ASK).content == b"answered"
    for sock in kept:
        with pytest.raises(StreamClosed):
            sock.recv(1)


def test_it_is_there_for_those_that_ask_for_a_protocol_alone(serve: Any) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        names = ("gunicorn.socket", "wsgi.websocket", "greenhttp.upgrade", "werkzeug.socket")
        start_response("200 OK", [])
        return [" ".join(name for name in names if name in environ).encode()]

    serving = serve(app, allow_upgrades="Echo")
    for upgrade, found in (
        (b"websocket", b"gunicorn.socket wsgi.websocket"),
        (b"h2c, WebSocket", b"gunicorn.socket wsgi.websocket"),
        (b"h2c, echo", b"gunicorn.socket greenhttp.upgrade"),
        (b"h2c", b""),
        (b"other", b""),
    ):
        assert serving.ask(ASK.replace(b"websocket", upgrade)).content == found
    assert serving.ask(ASK.replace(b"Connection: Upgrade\r\n", b"")).content == b""
    assert serving.ask(ASK.replace(b"HTTP/1.1", b"HTTP/1.0")).content == b""


def test_answers_to_earlier_requests_leave_first(serve: Any) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/x":
            with environ["gunicorn.socket"] as sock:
                sock.sendall(HI)
            return []
        return answered(environ, start_response)

    rest = serve(app).connect().send(PLAIN + ASK).rest()
    assert rest.startswith(b"HTTP/1.1 200 OK") and rest.endswith(b"answered" + HI)


def test_content_must_be_read_before(serve: Any) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        with pytest.raises(ValueError, match="must be read to its end"):
            environ["gunicorn.socket"].fileno()
        assert environ["wsgi.input"].read() == b"abc"
        with environ["gunicorn.socket"] as sock:
            sock.sendall(HI)
        return []

    client = serve(app).connect().send(ASK[:-2] + b"Content-Length: 3\r\n\r\nabc")
    assert client.rest() == HI


def test_an_application_that_fails_behind_it_is_logged(serve: Any, caplog: Any) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        with environ["gunicorn.socket"] as sock:
            sock.sendall(HI)
        raise ZeroDivisionError

    serving = serve(app)
    assert serving.connect().send(ASK).rest() == HI
    serving.until(lambda: "GET /x: ZeroDivisionError in the application" in caplog.text)


def test_a_client_that_is_nobody_elses_business_is_not_taken_to_have_gone(meet: Any) -> None:
    """What had come early makes the server look again and again whether the client is there; that ends."""
    go, called, seen = Event(), [], []

    def app(environ: Any, start_response: Any) -> Any:
        client = environ["greenhttp.disconnected"]()
        client.on_disconnect(lambda: called.append("gone"))
        client.cancel_on_disconnect = True
        go.wait()
        sock = environ["gunicorn.socket"]
        sock.sendall(HI)
        seen.append(client.wait(1))
        seen.append(bool(client))
        assert sock.recv(5) == b"early"
        sock.close()
        seen.append("end")
        return []

    serving, client = meet(app)
    serving.until(lambda: serving.count("running") == 1)
    gevent.idle()
    go.set()
    assert client.rest().startswith(HI)
    serving.until(lambda: serving.count("pool_running") == 0)
    assert (seen, called) == ([False, False, "end"], [])


def test_there_are_as_many_as_there_may_be_websockets(serve: Any, caplog: Any) -> None:
    raised: list[str] = []

    def app(environ: Any, start_response: Any) -> Any:
        try:
            sock = environ["gunicorn.socket"]
            sock.sendall(HI)
            sock.recv(1)
            sock.close()
        except StreamClosed as error:
            raised.append(str(error))
            start_response("200 OK", [])
        return []

    gc.collect()  # what other tests have left counts as well: it is this process's
    serving = serve(app, websocket_connections=still_open() + 2)
    first, second = (serving.connect().send(ASK) for _ in range(2))
    assert [client.sock.recv(4096) for client in (first, second)] == [HI] * 2
    for _ in range(2):
        answer = serving.ask(ASK)
        assert (answer.status, answer.get("Retry-After")) == (503, "10")
    assert len(raised) == 2
    assert first.send(b"x").rest() == b""
    third = serving.connect().send(ASK)
    assert third.sock.recv(4096) == HI
    for client in (second, third):
        client.close()
    serving.until(lambda: serving.count("pool_running") == 0)


def test_a_stop_does_not_wait_for_it_and_counts_it(serve: Any, caplog: Any) -> None:
    caplog.set_level("INFO")
    taken, over = Event(), Event()

    def app(environ: Any, start_response: Any) -> Any:
        with environ["gunicorn.socket"] as sock:
            sock.sendall(HI)
            taken.set()
            over.wait()
            sock.sendall(b"still open")
        return []

    serving = serve(app)
    client = serving.connect().send(ASK)
    assert taken.wait(60)
    assert serving.server.stop(10) is True
    assert "1 connections whose sockets applications have taken are still open" in caplog.text
    over.set()
    assert client.rest() == HI + b"still open"
