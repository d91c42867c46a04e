"""RFC 9110 7.8: a connection leaves HTTP for another protocol, and what holds for it from then on."""

from __future__ import annotations

from typing import Any

import gevent
import pytest
from gevent.event import Event

from greenhttp import Response
from greenhttp.errors import ConfigError, ResponseError, StreamClosed
from greenhttp.settings.values import Settings

ASK = b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c, Echo\r\n\r\n"
SAID = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n"


@pytest.fixture
def serve(serve: Any) -> Any:
    return lambda app, **settings: serve(app, **{"allow_upgrades": "echo", **settings})


def echo(request: Any) -> None:
    stream = request.upgrade("echo")
    for line in stream:
        stream.write(line)


def test_what_comes_behind_the_head_belongs_to_the_new_protocol_and_the_end_is_a_regular_one(serve: Any) -> None:
    client = serve(echo).connect().send(ASK + b"one\n").send(b"two\n").finish()
    assert client.rest() == SAID + b"one\ntwo\n"


def test_a_handler_that_returns_ends_the_connection_while_the_client_still_sends(serve: Any) -> None:
    def once(request: Any) -> str:
        request.upgrade("echo").write(b"bye")
        return "this is no answer"

    serving = serve(once)
    client = serving.connect().send(ASK + b"x" * 100_000)
    assert client.rest() == SAID + b"bye"
    serving.until(lambda: serving.count("lingering") == 1)
    client.close()
    serving.until(lambda: serving.count("connections") == 0)


def test_a_handler_that_raises_resets_and_is_logged(serve: Any, caplog: Any) -> None:
    def broken(request: Any) -> None:
        stream = request.upgrade("echo")
        stream.flush()
        stream.readline()
        raise ZeroDivisionError

    client = serve(broken).connect().send(ASK)
    client.send(b"go\n")
    assert client.was_reset()
    gevent.sleep(0)
    assert "GET /x: ZeroDivisionError in the application" in caplog.text


@pytest.mark.parametrize("how", ["finish", "reset"])
def test_a_client_that_goes_is_no_error_of_the_application(serve: Any, caplog: Any, how: str) -> None:
    def reads(request: Any) -> None:
        request.upgrade("echo").readexactly(10)

    caplog.set_level("INFO")
    serving = serve(reads)
    client = serving.connect().send(ASK + b"half")
    serving.until(lambda: serving.count("switched") == 1)
    getattr(client, how)()
    serving.until(lambda: serving.count("connections") == 0)
    serving.until(lambda: "GET /x: the client disconnected" in caplog.text)
    assert "in the application" not in caplog.text


@pytest.mark.parametrize(
    "head",
    [
        ASK.replace(b"Echo", b"other"),
        ASK.replace(b"Connection: Upgrade", b"X: y"),
        ASK.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Host: x", b"Host: x\r\nConnection: keep-alive"),
        b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_a_client_that_does_not_offer_it_is_told_what_to_offer(serve: Any, head: bytes) -> None:
    """RFC 9110 15.5.22."""
    client = serve(echo).connect()
    for _ in range(2):  # and may go on
        answer = client.ask(head)
        assert (answer.status, answer.get("Upgrade")) == (426, "echo") and ("Connection", "Upgrade") in answer.fields


def test_upgrade_is_the_servers_to_say_in_any_other_answer(serve: Any) -> None:
    handler = lambda request: Response("x", headers={"Upgrade": "echo", "Connection": "upgrade"})  # noqa: E731
    answer = serve(handler).ask(ASK)
    assert answer.status == 200 and not {"upgrade", "connection"} & answer.names


def test_names_of_protocols_are_compared_without_their_case(serve: Any) -> None:
    def handler(request: Any) -> None:
        request.upgrade("eCHO").write(b"hello")

    client = serve(handler, allow_upgrades="EChO").connect().send(ASK.replace(b"Echo", b"ECHo"))
    assert client.rest() == SAID.replace(b"echo", b"eCHO") + b"hello"


def test_what_is_said_first_may_be_heard_first(serve: Any) -> None:
    """The 101 leaves, though the handler waits for the client."""
    client = serve(echo).connect().send(ASK)
    assert client.sock.recv(len(SAID), 0x100) == SAID  # MSG_WAITALL
    assert client.send(b"one\n").finish().rest() == b"one\n"


@pytest.mark.parametrize("settings", [{"allow_upgrades": ()}, {"allow_upgrades": "other"}])
def test_what_is_not_allowed_is_the_handlers_fault(serve: Any, caplog: Any, settings: Any) -> None:
    serving = serve(echo, **settings)
    assert serving.ask(ASK).status == 500
    said = "'echo' is not one of allow_upgrades; start the server with --allow-upgrades echo"
    serving.until(lambda: said in caplog.text)


@pytest.mark.parametrize("name", ["h2c", "H2C", "HTTP2-Settings", "HTTP/2.0", "websocket", "a b", "a/b/c", ""])
def test_settings_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="allow_upgrades"):
        Settings(allow_upgrades=[name or "/"])


def test_h2c_is_never_taken_up_whatever_is_offered_beside_it(serve: Any) -> None:
    """RFC 9113 3.1: the upgrade of HTTP/1.1 to HTTP/2 was withdrawn."""
    head = b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
    head += b"Upgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n"
    assert serve(lambda request: "as ever").ask(head).content == b"as ever"


def test_content_is_read_before(serve: Any) -> None:
    def handler(request: Any) -> str:
        with pytest.raises(ResponseError, match="must be read to its end"):
            request.upgrade("echo")
        return "as ever"

    assert serve(handler).ask(ASK[:-2] + b"Content-Length: 3\r\n\r\nabc").content == b"as ever"


def test_a_wsgi_application_has_it_in_its_environ(serve: Any) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        stream = environ["greenhttp.upgrade"]("echo")
        stream.write(stream.readline())
        return []

    assert serve(app).connect().send(ASK + b"one\n").rest() == SAID + b"one\n"


@pytest.mark.parametrize("key", ["greenhttp.upgrade", "wsgi.websocket"])
def test_an_application_that_has_waited_is_asked_by_its_own_request(key: str, serve: Any) -> None:
    waits, go = Event(), Event()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        if environ["PATH_INFO"] == "/other":
            start_response("200 OK", [])
            return [b"other"]
        waits.set()
        go.wait()
        if key == "wsgi.websocket":
            environ[key].send("hello")
        else:
            environ[key]("echo").write(b"hello")
        return []

    key_field = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    asked = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo, websocket\r\n" + key_field + b"\r\n"
    serving = serve(app, websocket_close_timeout=0.05)
    client = serving.connect().send(asked)
    waits.wait()
    for _ in range(4):  # what others send lies where its head was
        others = b"Host: other\r\nOrigin: http://other\r\nX: " + b"x" * 400
        assert serving.ask(b"GET /other HTTP/1.1\r\n" + others + b"\r\n\r\n").content == b"other"
    go.set()
    answer = client.rest()
    assert answer.startswith(b"HTTP/1.1 101 ") and b"hello" in answer


def test_with_its_content_read_it_changes_and_only_once(serve: Any) -> None:
    seen = []

    def handler(request: Any) -> None:
        assert request.body.read() == b"abc"
        stream = request.upgrade("echo")
        with pytest.raises(ResponseError):
            request.upgrade("echo")
        seen.append(stream.readline())

    client = serve(handler).connect().send(ASK[:-2] + b"Content-Length: 3\r\n\r\nabcmore\n")
    assert client.rest() == SAID
    assert seen == [b"more\n"]


def test_it_gives_its_place_to_the_next_request_and_has_no_request_timeout(serve: Any) -> None:
    arrived, go = Event(), Event()

    def handler(request: Any) -> str:
        if request.path == "/x":
            stream = request.upgrade("echo")
            arrived.set()
            stream.readline()
            stream.write(b"still here")
        else:
            assert request.path == "/other"
            go.wait()
        return "other"

    serving = serve(handler, concurrency=1, queue=10, request_timeout=0.05)
    client = serving.connect().send(ASK)
    assert arrived.wait(10)
    assert serving.count("pool_away") == 1
    other = serving.connect().send(b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n")
    serving.until(lambda: serving.count("running") == 1)
    go.set()
    assert other.answer().content == b"other"
    gevent.sleep(0.2)  # far beyond request_timeout
    assert client.send(b"\n").rest() == SAID + b"still here"
    client.close()
    serving.until(lambda: serving.count("pool_away") == 0)
    assert serving.ask(b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n").content == b"other"


def test_a_request_that_waits_for_the_place_has_it_at_once(serve: Any) -> None:
    go = Event()

    def handler(request: Any) -> str:
        if request.path == "/x":
            go.wait()
            request.upgrade("echo").readline()
        return "other"

    serving = serve(handler, concurrency=1, queue=10)
    serving.connect().send(ASK)
    serving.until(lambda: serving.count("running") == 1)
    other = serving.connect().send(b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n")
    serving.until(lambda: serving.count("queued") == 1)
    go.set()
    assert other.answer().content == b"other"


def test_a_green_thread_left_behind_sends_nothing_any_more(serve: Any) -> None:
    go, caught = Event(), []

    def handler(request: Any) -> None:
        stream = request.upgrade("echo")

        def later() -> None:
            go.wait()
            try:
                stream.write(b"late")
            except StreamClosed as error:
                caught.append(error)

        gevent.spawn(later)
        stream.write(b"done")

    serving = serve(handler)
    client = serving.connect().send(ASK)
    assert client.rest() == SAID + b"done"
    go.set()
    client.close()
    serving.until(lambda: caught)


def test_a_stop_waits_for_it_then_cuts_it_and_says_so(serve: Any, caplog: Any) -> None:
    def native(request: Any) -> None:
        request.upgrade("echo").readline()

    serving = serve(native)
    client = serving.connect().send(ASK)
    serving.until(lambda: serving.count("switched") == 1)
    assert not serving.server.stop(timeout=0.05)
    assert "1 request cut: not finished within 0.05 s" in caplog.text
    assert "GET /x: running, waiting for its client to send, at " in caplog.text
    assert client.was_reset()


def test_the_access_log_has_one_line_with_101(serve: Any, tmp_path: Any) -> None:
    path = tmp_path / "access.log"
    serving = serve(echo, access_logfile=str(path), access_log_format="%(r)s %(s)s")
    serving.connect().send(ASK).finish().rest()
    serving.connect().send(ASK).reset()
    serving.until(lambda: serving.count("connections") == 0)
    serving.server.stop()
    assert path.read_text() == "GET /x HTTP/1.1 101\n" * 2
