"""environ["wsgi.websocket"]: gevent-websocket's interface, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from greenhttp.hosting import gevents
from tests.http.conftest import *  # noqa: F403

KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
VERSION = b"Sec-WebSocket-Version: 13\r\n"
ASK = b"GET /chat HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + VERSION + KEY + b"\r\n"
SAID = b"HTTP/1.1 101 Switching Protocols\r\n"


def frame(opcode: int, payload: bytes) -> bytes:
    """From a client, masked with nothing."""
    assert len(payload) < 126
    return bytes([0x80 | opcode, 0x80 | len(payload), 0, 0, 0, 0]) + payload


def said(data: bytes) -> list[tuple[int, bytes]]:
    """The frames behind the 101."""
    head, _, rest = data.partition(b"\r\n\r\n")
    assert head.startswith(SAID.rstrip()), data
    frames = []
    while rest:
        assert rest[1] < 126
        frames.append((rest[0] & 15, rest[2 : 2 + rest[1]]))
        rest = rest[2 + rest[1] :]
    return frames


class Talk:
    """An application that does `talk(ws)`, and what it has met."""

    def __init__(self, talk: Any) -> None:
        self.talk = talk
        self.seen: list[Any] = []

    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        ws = environ["wsgi.websocket"]
        assert environ["wsgi.websocket_version"] == ws.version
        self.seen.append(ws)
        self.talk(ws, self.seen)
        return []


def test_messages_are_received_and_sent(serve: Any) -> None:
    def talk(ws: Any, seen: Any) -> None:
        while (message := ws.receive()) is not None:
            seen.append(message)
            ws.send(message)
        seen.append(ws.closed)
        with pytest.raises(OSError, match="already closed"):
            ws.receive()
        with pytest.raises(OSError, match="dead"):
            ws.send("x")
        ws.close()

    app = Talk(talk)
    serving = serve(app)
    client = serving.connect().send(ASK + frame(1, "é".encode()) + frame(2, b"\0"))
    serving.until(lambda: len(app.seen) == 3)  # what is sent behind the client's close frame reaches nobody
    client.send(frame(8, b"\x03\xe8"))
    assert said(client.rest()) == [(1, "é".encode()), (2, b"\0"), (8, b"\x03\xe8")]
    assert app.seen[1:] == ["é", bytearray(b"\0"), True]
    assert type(app.seen[2]) is bytearray


def test_what_is_text_and_what_is_not(serve: Any) -> None:
    def talk(ws: Any, seen: Any) -> None:
        ws.send("a")
        ws.send(b"b")
        ws.send(bytearray(b"c"))
        ws.send("d", binary=True)
        ws.send(b"e", binary=False)
        ws.send(5, binary=False)
        ws.send_frame("f", ws.OPCODE_PING)
        ws.close(4000, "bye")

    client = serve(Talk(talk)).connect().send(ASK + frame(8, b"\x0f\xa0"))
    assert said(client.rest()) == [
        (1, b"a"), (2, b"b"), (2, b"c"), (2, b"d"), (1, b"e"), (1, b"5"), (9, b"f"), (8, b"\x0f\xa0bye"),
    ]  # fmt: skip


def test_it_is_closed_when_the_application_returns_and_listed_until_then(serve: Any) -> None:
    listed = []

    def talk(ws: Any, seen: Any) -> None:
        ws.send("x")
        listed.append(ws.handler.active_client.ws is ws)
        listed.append(len(ws.handler.server.clients))

    app = Talk(talk)
    client = serve(app).connect().send(ASK + frame(8, b"\x03\xe8"))
    assert said(client.rest()) == [(1, b"x"), (8, b"\x03\xe8")]
    assert listed == [True, 1]
    assert gevents.ELSEWHERE.clients == {}
    assert app.seen[0].closed


def test_who_only_looks_at_it_answers_as_ever(serve: Any) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        ws = environ["wsgi.websocket"]
        seen.append((ws.path, ws.version, ws.origin, ws.protocol, ws.closed, repr(ws)))
        start_response("200 OK", [])
        return [b"as ever"]

    seen: list[Any] = []
    client = serve(app).connect()
    for _ in range(2):
        assert client.ask(ASK.replace(VERSION, VERSION + b"Origin: http://shop\r\n")).content == b"as ever"
    assert seen == [("/chat", "13", "http://shop", None, False, "<WebSocket /chat, not used>")] * 2


@pytest.mark.parametrize("kept", [False, True], ids=["it lets the error pass", "it catches the error, and answers"])
@pytest.mark.parametrize(
    ("change", "status"),
    [
        ((VERSION, b""), 426),
        ((b"13", b"8"), 426),
        ((KEY, b""), 400),
        ((KEY, KEY + b"Origin: http://elsewhere\r\n"), 403),
    ],
)
def test_what_may_not_be_is_answered_whatever_the_application_makes_of_it(
    serve: Any, caplog: Any, change: Any, status: int, kept: bool
) -> None:
    def app(environ: Any, start_response: Any) -> Any:
        try:
            environ["wsgi.websocket"].receive()
        except OSError:
            if not kept:
                raise
        start_response("200 OK", [("X-Mine", "1")])
        return iter([b"as ever"])

    caplog.set_level("INFO")
    serving = serve(app)
    client = serving.connect()
    answer = client.ask(ASK.replace(*change))
    assert answer.status == status and answer.get("X-Mine") is None
    if status == 426:
        assert (answer.get("Upgrade"), answer.get("Sec-WebSocket-Version")) == ("websocket", "13")
    serving.until(lambda: f"GET /chat: refused with {status}" in caplog.text)
    assert "Traceback" not in caplog.text


def test_where_gevent_websocket_is_installed_its_error_is_raised() -> None:
    exceptions = pytest.importorskip("geventwebsocket.exceptions")
    assert gevents.error_class() is exceptions.WebSocketError


def test_where_it_is_not_there_is_one_that_is_an_oserror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "geventwebsocket", None)
    monkeypatch.setitem(__import__("sys").modules, "geventwebsocket.exceptions", None)
    assert gevents.error_class() is gevents.WebSocketError


def test_a_failing_application_closes_with_1011(serve: Any) -> None:
    def talk(ws: Any, seen: Any) -> None:
        ws.send("x")
        raise ZeroDivisionError

    client = serve(Talk(talk)).connect().send(ASK + frame(8, b"\x03\xf3"))
    assert [code for code, _ in said(client.rest())] == [1, 8]
