"""One request as this server, h11 and llhttp (by httptools) read it, in the same terms."""

from __future__ import annotations

from typing import Any, NamedTuple

import h11
import httptools

from greenhttp.errors import WireError
from greenhttp.wire.body import ChunkedDecoder
from greenhttp.wire.head import Framing, Head

REFUSED = "refused"
UNFINISHED = "unfinished"  # well formed so far, and more is needed

Fields = tuple[tuple[str, str], ...]


class Message(NamedTuple):
    """A whole request. `end` is where the next one begins."""

    method: str
    target: str
    fields: Fields
    body: bytes
    end: int


Reading = Message | str


def comparable(fields: list[tuple[str, str]]) -> Fields:
    """Names in small letters, values trimmed, those that rule 14 drops left out, the coding in small letters."""
    found = []
    for name, value in fields:
        name, value = name.lower(), value.strip(" \t")
        if "_" not in name and name != "proxy":
            found.append((name, value.lower() if name == "transfer-encoding" else value))
    return tuple(found)


def greenhttp(data: bytes) -> Reading:
    """This server's parsers, without the server."""
    head, decoder = Head(), ChunkedDecoder()
    try:
        at = head.feed(data)
        if not at:
            return UNFINISHED
        body = b""
        if head.framing == Framing.LENGTH:
            body = data[at : at + head.content_length]
            at += head.content_length
        elif head.framing == Framing.CHUNKED:
            body = decoder.feed(data[at:])
            at = len(data) - decoder.leftover if decoder.done else len(data) + 1
    except WireError:
        return REFUSED
    if at > len(data):
        return UNFINISHED
    return Message(str(head.method), head.target, comparable(head.fields), body, at)


def by_h11(data: bytes) -> Reading:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    body = b""
    try:
        connection.receive_data(data)
        request = connection.next_event()
        if request is h11.NEED_DATA:
            return UNFINISHED
        assert isinstance(request, h11.Request)
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if not isinstance(event, h11.Data):
                return UNFINISHED
            body += event.data
    except h11.RemoteProtocolError:
        return REFUSED
    fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers]
    end = len(data) - len(connection.trailing_data[0])
    return Message(request.method.decode("latin-1"), request.target.decode("latin-1"), comparable(fields), body, end)


class Told:
    """What llhttp tells of a request. Trailers come as fields behind the head."""

    def __init__(self) -> None:
        self.target = b""
        self.fields: list[tuple[str, str]] = []
        self.body = b""
        self.in_head = True
        self.complete = False

    def on_url(self, data: bytes) -> None:
        self.target += data

    def on_header(self, name: bytes, value: bytes | None) -> None:
        if self.in_head:
            self.fields.append((name.decode("latin-1"), (value or b"").decode("latin-1")))

    def on_headers_complete(self) -> None:
        self.in_head = False

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.complete = True


def by_llhttp(data: bytes) -> Reading:
    """Byte by byte, which tells where the request ends."""
    told = Told()
    parser: Any = httptools.HttpRequestParser(told)
    method = ""
    try:
        for at in range(len(data)):
            parser.feed_data(data[at : at + 1])
            if not told.in_head and not method:
                method = parser.get_method().decode("latin-1")
            if told.complete:
                break
    except httptools.HttpParserUpgrade:
        method = parser.get_method().decode("latin-1")
    except httptools.HttpParserError:
        return REFUSED
    if not told.complete:
        return UNFINISHED
    return Message(method, told.target.decode("latin-1"), comparable(told.fields), told.body, at + 1)
