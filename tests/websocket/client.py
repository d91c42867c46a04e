"""A client of WebSockets that does what it is told, frame by frame, made of the codec's client end."""

from __future__ import annotations

import base64
from typing import Any

from greenhttp.wire.websocket import Codec, Event, closing, frame
from tests.http.client import Client

KEY = base64.b64encode(b"0123456789abcdef").decode()
ACCEPT = "BACScCJPNqyz+UBoqMH89VmURoA="
MASK = b"\x01\x02\x03\x04"


def asking(target: str = "/", *fields: str) -> bytes:
    """The request for a WebSocket."""
    lines = (
        f"GET {target} HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: websocket",
        f"Sec-WebSocket-Key: {KEY}", "Sec-WebSocket-Version: 13", *fields,
    )  # fmt: skip
    return "\r\n".join([*lines, "", ""]).encode()


def text(message: str) -> bytes:
    return frame(1, message.encode(), mask=MASK)


def binary(message: bytes) -> bytes:
    return frame(2, message, mask=MASK)


def ping(data: bytes = b"") -> bytes:
    return frame(9, data, mask=MASK)


def close(code: int | None = 1000, reason: str = "") -> bytes:
    return frame(8, b"" if code is None else closing(code, reason), mask=MASK)


class Talk:
    """A WebSocket's other end. Methods suspend the calling green thread.

    Attributes:
        client: the connection.
        fields: of the answer, by small names.
    """

    def __init__(self, client: Client, target: str = "/", *fields: str, ahead: bytes = b"") -> None:
        self.client = client
        self.codec = Codec(client=True)
        self.events: list[tuple[Event, Any]] = []
        client.send(asking(target, *fields) + ahead)
        while b"\r\n\r\n" not in client.data:
            piece = client.sock.recv(65536)
            assert piece, client.data
            client.data += piece
        head, _, rest = client.data.partition(b"\r\n\r\n")
        client.data = b""
        status, *lines = head.decode().split("\r\n")
        assert status == "HTTP/1.1 101 Switching Protocols", head + rest
        self.fields = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        assert self.fields["sec-websocket-accept"] == ACCEPT
        self.events += self.codec.receive(rest)

    def send(self, *frames: bytes | str) -> Talk:
        self.client.send(b"".join(text(each) if isinstance(each, str) else each for each in frames))
        return self

    def event(self) -> tuple[Event, Any] | None:
        """The next one; None at the end of the connection."""
        while not self.events:
            piece = self.client.sock.recv(65536)
            if not piece:
                return None
            self.events += self.codec.receive(piece)
        return self.events.pop(0)

    def message(self) -> Any:
        """The next message."""
        event = self.event()
        assert event is not None and event[0] in (Event.TEXT, Event.BINARY), event
        return event[1]

    def closed(self) -> tuple[int, str]:
        """Code and reason of the close frame that comes next; it is answered."""
        event = self.event()
        assert event is not None and event[0] == Event.CLOSE, event
        code, reason = event[1]
        self.send(close(None if code == 1005 else code))
        return code, reason

    def ended(self) -> bool:
        """Whether the server has closed in good order, with nothing more to say."""
        return self.event() is None
