"""greenhttp/server.py: how one process starts, drains and stops."""

from __future__ import annotations

import socket
from typing import Any

import gevent
import pytest
from gevent.event import Event

from greenhttp.errors import ConfigError
from greenhttp.server import Server
from greenhttp.settings.values import Settings
from tests.http.apps import echo, hello, post, request
from tests.http.client import Client
from tests.http.conftest import defects, not_for_ever, serve  # noqa: F401
from tests.http.test_limits import Gate, get


def stopping(serving: Any, timeout: float | None = 30, linger: float = 0.0) -> gevent.Greenlet:
    """`stop` in a green thread of its own, begun."""
    thread = gevent.spawn(serving.server.stop, timeout, linger)
    gevent.idle()
    return thread


def test_a_request_in_the_kernels_queue_is_answered(serve: Any) -> None:  # noqa: F811
    serving = serve(hello)
    gevent.idle()
    # A connection attempt does not suspend: the handshake is the kernel's, and the server has not looked yet.
    import socket as plain

    clients = []
    for n in range(5):
        sock = plain.create_connection(serving.server.address)
        sock.sendall(get(f"/{n}"))
        clients.append(sock)
    assert serving.count("connections") == 0
    assert serving.server.stop(30) is True
    for n, sock in enumerate(clients):
        with sock:
            data = b"".join(iter(lambda s=sock: s.recv(65536), b""))
            assert data.startswith(b"HTTP/1.1 200 ") and b"\r\nConnection: close\r\n" in data
            assert data.endswith(b"/%d" % n)


def test_idle_connections_are_closed_in_good_order(serve: Any) -> None:  # noqa: F811
    serving = serve(hello)
    clients = [serving.connect() for _ in range(3)]
    assert [client.ask(request()).status for client in clients[:2]] == [200, 200]
    serving.until(lambda: serving.count("fresh") == 1)
    assert serving.server.stop(30) is True
    assert [client.ended() for client in clients] == [True] * 3


def test_a_request_that_has_just_come_on_an_idle_connection_is_answered(serve: Any) -> None:  # noqa: F811
    serving = serve(hello)
    client = serving.connect()
    assert client.ask(request()).status == 200
    client.send(get("/last"))  # sent, and nothing has looked at it
    assert serving.server.stop(30) is True
    answer = client.answer()
    assert (answer.content, answer.closes) == (b"/last", True)
    assert client.ended()


def test_a_running_request_is_finished_and_its_answer_says_close(serve: Any) -> None:  # noqa: F811
    gate = Gate()
    serving = serve(gate)
    client = serving.connect().send(get("/wait"))
    serving.until(lambda: serving.count("running"))
    stop = stopping(serving)
    assert not stop.ready()
    gate.opened.set()
    answer = client.answer()
    assert (answer.content, answer.closes) == (b"GET /wait ", True)
    assert client.ended()
    assert stop.get() is True


def test_a_queued_request_is_answered_too(serve: Any) -> None:  # noqa: F811
    gate = Gate()
    serving = serve(gate, concurrency=1)
    clients = [serving.connect().send(get("/wait"))]
    serving.until(lambda: serving.count("running"))
    clients.append(serving.connect().send(get("/wait")))
    serving.until(lambda: serving.count("queued"))
    stop = stopping(serving)
    gate.opened.set()
    assert [client.answer().closes for client in clients] == [True, True]
    assert stop.get() is True


def test_a_body_that_is_still_coming_is_waited_for(serve: Any) -> None:  # noqa: F811
    serving = serve(echo)
    client = serving.connect().send(post(b"hello")[:-2])
    serving.until(lambda: serving.count("body"))
    stop = stopping(serving)
    answer = client.ask(b"lo")
    assert (answer.content, answer.closes) == (b"POST / hello", True)
    assert stop.get() is True


def test_half_a_head_is_waited_for(serve: Any) -> None:  # noqa: F811
    serving = serve(hello)
    client = serving.connect().send(request()[:10])
    serving.until(lambda: serving.count("fresh"))
    gevent.sleep(0.01)
    stop = stopping(serving)
    answer = client.ask(request()[10:])
    assert (answer.status, answer.closes) == (200, True)
    assert stop.get() is True


def begun(serve: Any) -> tuple[Any, Any, Event]:  # noqa: F811
    """A server, a client that has the first part of its answer, and the event that the second waits for."""
    ready = Event()

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        yield b"first "
        ready.wait()
        yield b"second"

    serving = serve(app, keepalive_timeout=3600)
    client = serving.connect().send(request())
    while b"first" not in client.data:
        client.data += client.sock.recv(65536)
    return serving, client, ready


def test_an_answer_whose_head_is_out_is_finished_and_its_connection_closed(serve: Any) -> None:  # noqa: F811
    serving, client, ready = begun(serve)
    stop = stopping(serving)
    ready.set()
    answer = client.answer()
    assert (answer.content, answer.closes) == (b"first second", False)  # it said otherwise before
    assert client.ended()
    assert stop.get() is True


def test_a_connection_stays_for_its_linger_when_its_answer_had_begun_before(serve: Any) -> None:  # noqa: F811
    serving, client, ready = begun(serve)
    stop = stopping(serving, 3600, 3600)
    ready.set()
    assert client.answer().closes is False
    assert client.ask(request()).closes is True
    assert client.ended()
    assert stop.get() is True


def test_a_single_idle_connection_stays_for_its_linger(serve: Any) -> None:  # noqa: F811
    serving = serve(hello, keepalive_timeout=3600)
    client = serving.connect()
    assert client.ask(request()).closes is False
    stop = stopping(serving, 3600, 3600)
    gevent.sleep(0.25)  # more than one step of those in which idle connections are closed
    assert client.ask(request()).closes is True
    assert stop.get() is True


def test_an_answer_that_is_read_slowly_is_finished(serve: Any) -> None:  # noqa: F811
    def app(environ: dict[str, Any], start_response: Any) -> Any:
        start_response("200 OK", [])
        return [b"x" * (8 << 20)]

    serving = serve(app)
    client = serving.connect(receive_buffer=4096).send(request())
    serving.until(lambda: serving.count("flushing"))
    stop = stopping(serving)
    assert not stop.ready()
    size = 0
    while data := client.sock.recv(1 << 20):
        size += len(data)
    assert size > 8 << 20
    assert stop.get() is True


def test_a_body_being_dropped_does_not_keep_the_server(serve: Any) -> None:  # noqa: F811
    serving = serve(hello, linger_timeout=0.1)
    client = serving.connect()
    assert client.ask(post(b"hello")[:-2]).status == 200
    serving.until(lambda: serving.count("draining"))
    assert serving.server.stop(30) is True
    assert client.ended()


def test_nobody_is_accepted_once_it_stops(serve: Any) -> None:  # noqa: F811
    gate = Gate()
    serving = serve(gate)
    address = serving.server.address
    client = serving.connect().send(get("/wait"))
    serving.until(lambda: serving.count("running"))
    stop = stopping(serving)
    with pytest.raises(ConnectionRefusedError):
        Client(address)
    gate.opened.set()
    assert client.answer().status == 200 and stop.get() is True


@pytest.mark.parametrize("timeout", [0, 0.05])
def test_beyond_its_timeout_it_cuts(serve: Any, timeout: float) -> None:  # noqa: F811
    ended: list[BaseException] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        try:
            Event().wait()
        except BaseException as error:
            ended.append(error)
            raise
        return []

    serving = serve(app)
    clients = [serving.connect().send(request()), serving.connect().send(request()[:10])]
    serving.until(lambda: serving.count("running") and serving.count("fresh"))
    if timeout == 0:
        gevent.sleep(0.01)
    assert serving.server.stop(timeout) is False
    assert clients[0].answer().status == 503 and clients[0].ended()
    assert clients[1].was_reset()
    serving.until(lambda: ended)
    assert isinstance(ended[0], BaseException)


def test_stop_is_for_anybody_and_for_any_number_of_times(serve: Any) -> None:  # noqa: F811
    gate = Gate()
    serving = serve(gate)
    server = serving.server
    client = serving.connect().send(get("/wait"))
    serving.until(lambda: serving.count("running"))
    stops = [stopping(serving) for _ in range(3)]
    forever = gevent.spawn(server.serve_forever)
    gate.opened.set()
    assert client.answer().closes
    assert [stop.get() for stop in stops] == [True] * 3
    forever.get()
    assert server.stop() is True and not server.started and server.statistics() == {}


def test_it_can_be_started_again() -> None:
    server = Server(hello, bind="127.0.0.1:0")
    for _ in range(3):
        server.start()
        server.start()
        client = Client(server.address)
        assert client.ask(request()).status == 200
        assert server.stop(30) is True
        assert client.ended()
        client.close()
    with pytest.raises(ConfigError):
        _ = server.address


def test_an_address_that_cannot_be_used_leaves_none_of_the_others_open(tmp_path: Any) -> None:
    free, taken = f"unix:{tmp_path / 'free'}", f"unix:{tmp_path / 'missing' / 'taken'}"
    server = Server(hello, bind=[free, taken])
    with pytest.raises(ConfigError, match="missing/taken: cannot listen"):
        server.start()
    assert (server.started, server.statistics(), list(tmp_path.iterdir())) == (False, {}, [])


def test_what_it_says_of_itself(tmp_path: Any) -> None:
    server = Server(hello, bind=f"unix:{tmp_path / 's'}")
    assert repr(server) == f"<Server unix:{tmp_path / 's'} stopped>"
    server.start()
    assert repr(server) == f"<Server unix:{tmp_path / 's'} serving>"
    server.stop()
    assert repr(server) == f"<Server unix:{tmp_path / 's'} stopped>"


def test_log_entries_beyond_a_bound_are_counted_instead_of_kept(caplog: Any) -> None:
    server = Server(hello)
    for n in range(1003):  # none is written meanwhile: a green thread of its own does that
        server._report("warning", f"entry {n}")
    writer = server._log_writer
    assert writer is not None
    writer.join()
    lines = [record.getMessage() for record in caplog.records if record.name == "greenhttp"]
    assert lines[:1000] == [f"entry {n}" for n in range(1000)]
    assert lines[1000:] == ["3 log entries were dropped: they came faster than they could be written"]


def test_pipelined_requests_that_have_arrived_are_all_answered(serve: Any) -> None:  # noqa: F811
    gate = Gate()
    serving = serve(gate)
    client = serving.connect().send(get("/wait") + get("/second") + get("/third"))
    serving.until(lambda: serving.count("running"))
    stop = stopping(serving)
    gate.opened.set()
    found = [client.answer() for _ in range(3)]
    assert [answer.content for answer in found] == [b"GET /wait ", b"GET /second ", b"GET /third "]
    assert [answer.closes for answer in found] == [False, False, True]
    assert client.ended()
    assert stop.get() is True


async def _coroutine(request: Any) -> str:
    return ""


def _generator(stream: Any) -> Any:
    yield b""


def test_what_would_never_run_is_refused() -> None:
    with pytest.raises(ConfigError, match="a coroutine function"):
        Server(_coroutine)
    with pytest.raises(ConfigError, match="must not be a generator"):
        Server(_generator, interface="stream")


def test_stop_is_complete_although_a_listener_is_broken(serve: Any, caplog: Any) -> None:  # noqa: F811
    serving = serve(hello)
    client = serving.connect()
    assert client.ask(request()).status == 200
    ((sock, _),) = serving.server._listeners
    sock.shutdown(socket.SHUT_RDWR)
    assert serving.server.stop(10)
    assert client.ended() and not serving.server.started and sock.fileno() == -1
    assert [record.getMessage() for record in caplog.records if "is broken" in record.getMessage()] != []


@pytest.mark.parametrize("name", ["user", "pid", "preload", "reload", "max_requests", "warm_up", "chdir", "env"])
def test_what_only_the_command_can_do_is_refused_and_not_passed_over(name):
    with pytest.raises(ConfigError, match=f"^{name}: this setting works only with the greenhttp command"):
        Server(lambda environ, start_response: [], **{name: "nobody"})


# ---- settings that let everybody in

FORGED = "lets any client forge its address and scheme; name the proxies instead"
BY_HEADER = "lets any client forge its address by a PROXY header; name the proxies instead"


@pytest.mark.parametrize(("settings", "said"), [
    ({}, []),
    ({"forwarded_allow_ips": "10.0.0.0/8"}, []),
    ({"forwarded_allow_ips": "*"}, [f"forwarded_allow_ips: * {FORGED}"]),
    ({"forwarded_allow_ips": ["::1", "0.0.0.0/0"]}, [f"forwarded_allow_ips: 0.0.0.0/0 {FORGED}"]),
    ({"forwarded_allow_ips": "*", "forwarded_field": "none"}, []),
    ({"forwarded_allow_ips": "*", "interface": "stream"}, []),
    ({"proxy_allow_from": "*"}, []),
    ({"proxy_allow_from": "*", "proxy_protocol": "any"}, [f"proxy_allow_from: * {BY_HEADER}"]),
    ({"proxy_allow_from": "*", "proxy_protocol": "any", "interface": "stream"}, [f"proxy_allow_from: * {BY_HEADER}"]),
])  # fmt: skip
def test_a_list_that_lets_everybody_in_is_named_at_the_first_start(caplog: Any, settings: Any, said: Any) -> None:
    server = Server(hello, **{"bind": "127.0.0.1:0", "interface": "native", **settings})
    for _ in range(2):
        server.start()
        assert server.stop(30) is True
    found = [(r.levelname, r.getMessage()) for r in caplog.records if r.name == "greenhttp" and r.levelno > 20]
    assert found == [("WARNING", line) for line in said]


def test_it_is_not_named_where_settings_were_read_by_somebody_else(caplog: Any) -> None:
    server = Server(hello, Settings(bind="127.0.0.1:0", forwarded_allow_ips="*"))
    server.start()
    assert server.stop(30) is True
    assert [record for record in caplog.records if "forge" in record.getMessage()] == []
