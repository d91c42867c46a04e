"""What may happen to a WebSocket at an awkward moment: while it waits for a green thread, while the hub reads it."""

from __future__ import annotations

import contextvars
import gc
from typing import Any

import gevent
import pytest
from gevent import ssl
from gevent.event import Event as Flag

import greenhttp
from greenhttp.errors import ClientDisconnected
from greenhttp.websockets.groups import broadcast
from greenhttp.websockets.socket import WebSocket
from greenhttp.wire.websocket import Event, frame
from tests.tls import certificates
from tests.websocket.client import MASK, Talk, close, ping

PLAIN = b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"
PHASES = ("", "_full", "_pinged", "_choked", "_parting")


class Crowded:
    """One place for all, which a request to /hold takes until `go`. Other requests are for WebSockets in `on_message`
    style; what those are told is in `log`."""

    def __init__(self, talking: Any, **settings: Any) -> None:
        self.go, self.log = Flag(), []  # type: ignore[var-annotated]
        self.sockets: list[Any] = []
        self.serving, self.connect = talking(self.handler, concurrency=1, queue=5, **settings)

    def handler(self, request: Any) -> Any:
        if request.path == "/hold":
            self.go.wait()
            return "held"
        ws = request.websocket(on_message=self.said, on_close=lambda ws: self.log.append(ws.close_code))
        ws.join("crowd")
        self.sockets.append(ws)
        return None

    def said(self, ws: Any, message: str) -> None:
        self.log.append(message)

    def hold(self) -> Any:
        client = self.serving.connect().send(PLAIN)
        self.serving.until(lambda: self.serving.count("running") == 1)
        return client

    def phases(self) -> list[int]:
        return [self.serving.count(f"websocket{phase}") for phase in PHASES]


def test_a_message_that_waits_for_a_place_is_not_forgotten_when_output_stalls(talking: Any) -> None:
    crowded = Crowded(talking)
    serving = crowded.serving
    lazy = Talk(serving.connect(receive_buffer=4096))
    crowded.hold()
    lazy.send("here")
    serving.until(lambda: serving.count("pool_waiting") == 1)
    while broadcast("crowd", "x" * 50_000, slow="drop"):
        pass
    assert serving.count("pool_waiting") == 1
    crowded.go.set()
    serving.until(lambda: crowded.log)
    assert crowded.log == ["here"]
    assert crowded.phases() == [0, 0, 0, 1, 0]
    while lazy.message() != "over":
        broadcast("crowd", "over", slow="drop")
    serving.until(lambda: crowded.phases() == [1, 0, 0, 0, 0])


def test_a_message_that_waits_for_a_place_comes_though_it_is_closed(talking: Any) -> None:
    crowded = Crowded(talking)
    talk = crowded.connect()
    crowded.hold()
    talk.send("here")
    crowded.serving.until(lambda: crowded.serving.count("pool_waiting") == 1)
    crowded.sockets.pop().close(3000)
    assert talk.event() == (Event.CLOSE, (3000, ""))
    crowded.go.set()
    crowded.serving.until(lambda: crowded.log)
    assert crowded.log == ["here"]
    assert crowded.phases() == [0, 0, 0, 0, 1]
    talk.send(close(3000))
    assert talk.ended()
    crowded.serving.until(lambda: len(crowded.log) == 2)


def test_with_a_full_inbox_no_ping_ends_it_once_it_has_waited_for_a_place(talking: Any) -> None:
    crowded = Crowded(talking)
    serving, done = crowded.serving, Flag()
    crowded.said = lambda ws, message: done.wait()  # type: ignore[method-assign]
    talk = crowded.connect()
    crowded.hold()
    talk.send(*["x" * 1000] * 200)
    serving.until(lambda: serving.count("pool_waiting") == 1)
    gevent.idle()
    crowded.go.set()
    serving.until(lambda: serving.count("pool_waiting") == 0 and serving.count("pool_running") == 1)
    assert crowded.phases() == [0, 1, 0, 0, 0]
    done.set()
    serving.until(lambda: crowded.phases() == [1, 0, 0, 0, 0])


def test_one_that_is_over_and_finds_no_place_is_let_go(talking: Any) -> None:
    crowded = Crowded(talking, queue_timeout=0.1)
    serving = crowded.serving
    talk = crowded.connect()
    crowded.hold()
    talk.client.reset()
    serving.until(lambda: serving.count("pool_waiting") == 1)
    serving.until(lambda: serving.count("pool_waiting") == 0)
    serving.until(lambda: serving.count("connections") == 1)
    assert crowded.phases() == [0] * 5
    assert crowded.log == []
    crowded.go.set()


def test_a_handler_with_on_close_receives_all_that_had_come(talking: Any) -> None:
    go, log = Flag(), []

    def handler(request: Any) -> None:
        ws = request.websocket(on_close=lambda ws: log.append("closed"))
        go.wait()
        log.extend(ws)

    serving, connect = talking(handler)
    talk = connect().send("a", "b", close())
    assert talk.event() == (Event.CLOSE, (1000, ""))
    assert talk.ended()
    serving.until(lambda: log == ["closed"])
    go.set()
    serving.until(lambda: serving.count("connections") == 0)
    assert log == ["closed", "a", "b"]


def test_it_is_there_as_long_as_the_hub_reads_it(talking: Any) -> None:
    """The handler that the hub has switched to loses its client and returns: nobody else refers to its WebSocket."""
    alive: list[int] = []
    clients: list[Any] = []
    of_this = contextvars.ContextVar[Any]("of_this")

    def sockets() -> int:
        return sum(type(each) is WebSocket for each in gc.get_objects())

    class Looks:
        def __del__(self) -> None:
            alive.append(sockets())

    @greenhttp.websocket
    def handler(ws: Any) -> None:
        ws.join("alone")
        for _ in ws:
            clients.pop().reset()
            broadcast("alone", "which shows that it has gone")
        of_this.set(Looks())

    serving, connect = talking(handler)
    talk = connect()
    serving.until(lambda: serving.count("websocket") == 1)
    gc.collect()
    before = sockets()
    gc.disable()
    try:
        clients.append(talk.client)
        talk.send("go")
        serving.until(lambda: serving.count("connections") == 0)
    finally:
        gc.enable()
    assert alive == [before]


def test_a_stop_at_once_ends_what_is_called_at_the_end(talking: Any) -> None:
    begun, ends = Flag(), []

    def gone(ws: Any) -> None:
        begun.set()
        try:
            gevent.sleep(1000)
        finally:
            ends.append(ws.close_code)

    serving, connect = talking(lambda request: request.websocket(on_close=gone))
    connect().client.reset()
    begun.wait()
    assert serving.server.stop(timeout=0) is False
    serving.until(lambda: ends)
    assert ends == [1006]


def test_a_stop_at_once_tells_all_of_the_end(talking: Any) -> None:
    log: list[Any] = []
    go = Flag()

    def said(ws: Any, message: str) -> None:
        try:
            go.wait()
        finally:
            log.append(message)

    serving, connect = talking(
        lambda request: request.websocket(on_message=said, on_close=lambda ws: log.append(ws.close_code)), concurrency=1
    )
    talks = [connect() for _ in range(3)]
    talks[0].send("killed", "never")
    serving.until(lambda: serving.count("pool_running") == 1)
    talks[1].client.reset()
    serving.until(lambda: serving.count("pool_waiting") == 1)
    assert serving.server.stop(timeout=0) is False
    assert [talk.event() for talk in (talks[0], talks[2])] == [(Event.CLOSE, (1012, ""))] * 2
    serving.until(lambda: len(log) == 4)
    gevent.idle()
    assert log[0] == "killed"
    assert sorted(log[1:]) == [1006, 1012, 1012]


@pytest.mark.parametrize("tls", [False, True])
def test_to_look_for_the_client_takes_no_message_away(talking: Any, tmp_path: Any, tls: bool) -> None:
    go, looks = Flag(), []

    @greenhttp.websocket
    def handler(ws: Any) -> None:
        go.wait()
        looks.append((ws.request.gone, bool(ws.request.disconnected)))
        for message in ws:
            ws.send(message)
        looks.append((ws.request.gone, bool(ws.request.disconnected)))

    settings: dict[str, Any] = {}
    if tls:
        certfile, keyfile = certificates.leaf("shop.example").write(tmp_path)
        settings = {"certfile": [certfile], "keyfile": [keyfile]}
    serving, connect = talking(handler, **settings)
    client = serving.connect()
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=certificates.authority().authorities().decode())
        client.sock = context.wrap_socket(client.sock, server_hostname="shop.example")
    talk = Talk(client)
    serving.until(lambda: serving.count("websocket") == 1)
    talk.send("one")
    go.set()  # the handler looks before the loop has polled: the message is still in the socket
    with gevent.Timeout(10, AssertionError("the message was not seen")):
        assert talk.message() == "one"
    assert looks == [(False, False)]
    talk.client.close()
    serving.until(lambda: len(looks) == 2)
    assert looks[1] == (True, True)


def test_who_wants_to_know_when_the_client_goes_is_told(talking: Any) -> None:
    told: list[str] = []

    def handler(request: Any) -> None:
        request.on_disconnect(lambda: told.append(request.path))
        ws = request.websocket()
        if request.path == "/ours":
            ws.close()
        request.disconnected.wait(30) if request.path != "/ours" else ended.wait()

    ended = Flag()
    serving, connect = talking(handler)
    connect("/lost").client.reset()
    serving.until(lambda: told == ["/lost"])
    connect("/closed").send(close())
    serving.until(lambda: told == ["/lost", "/closed"])
    ours = connect("/ours")
    assert ours.closed() == (1000, "")
    assert ours.ended()
    ended.set()
    serving.until(lambda: serving.count("connections") == 0)
    assert told == ["/lost", "/closed"]


def test_a_handler_is_cancelled_when_its_client_was_lost_not_when_it_was_closed(talking: Any, caplog: Any) -> None:
    go, log = Flag(), []

    @greenhttp.websocket
    def handler(ws: Any) -> None:
        try:
            go.wait()
        except ClientDisconnected:
            log.append("cancelled")
            raise
        log.append(ws.close_code)

    serving, connect = talking(handler, cancel_on_disconnect=True)
    lost, closed = connect(), connect()
    lost.client.reset()
    serving.until(lambda: serving.count("connections") == 1)
    assert closed.send(close()).event() == (Event.CLOSE, (1000, ""))
    assert closed.ended()
    gevent.idle()
    go.set()
    serving.until(lambda: serving.count("connections") == 0)
    assert log == ["cancelled", 1000]
    assert "in the application" not in caplog.text


@pytest.mark.parametrize("what", ["unfinished", "unreceived"])
def test_what_all_keep_of_messages_is_limited(talking: Any, caplog: Any, what: str) -> None:
    def message(size: int) -> bytes:
        return frame(2, b"x" * size, mask=MASK, last=what == "unreceived")

    serving, connect = talking(greenhttp.websocket(lambda ws: gevent.sleep(1000)), limit_buffers=1 << 20)
    for _ in range(3):  # what has gone counts no longer
        talks = [connect().send(message(60_000)) for _ in range(4)]
        large = connect().send(message(1_000_000))
        assert large.event() == (Event.CLOSE, (1013, ""))
        assert [talk.send(ping()).event() for talk in talks] == [(Event.PONG, b"")] * 4
        for talk in (*talks, large):
            talk.client.reset()
        serving.until(lambda: serving.count("websocket") == 0)
    serving.until(lambda: "closed with 1013: the unread input of all connections is larger than 1 MiB" in caplog.text)
