"""What an application says, as values, and what must leave: rules 16 to 21, decided here by an oracle of its own.

The same Said is served by a native handler and by a WSGI application; the path of a request is the index of its Said.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from greenhttp import Request, Response
from tests.contract.cases import ABORTED, CLOSED, KEPT

LIST, STREAM = "in one piece", "piece by piece"
BEFORE, AFTER = "before anything is out", "after the first piece"

REQUESTS = {  # what is asked, and whether the client would go on
    "GET on 1.1": ("GET", "1.1", (), True),
    "HEAD on 1.1": ("HEAD", "1.1", (), True),
    "GET on 1.1 with close": ("GET", "1.1", ("Connection: close",), False),
    "GET on 1.0": ("GET", "1.0", (), False),
    "GET on 1.0 with keep-alive": ("GET", "1.0", ("Connection: keep-alive",), True),
    "HEAD on 1.0 with keep-alive": ("HEAD", "1.0", ("Connection: keep-alive",), True),
}


@dataclass(frozen=True)
class Said:
    """What an application says to a request."""

    how: str = LIST
    status: str = "200 OK"
    fields: tuple[tuple[Any, Any], ...] = ()
    pieces: tuple[Any, ...] = (b"he", b"llo")
    raises: str = ""


class Left(NamedTuple):
    """What a client must get."""

    status: int
    framing: str  # of tests.answers: "none", "length", "chunked" or "close"
    length: str | None  # Content-Length
    content: bytes
    connection: str | None
    end: str
    whole: bool = True


def expected(said: Said, method: str, version: str, keeps: bool) -> Left:
    """Rules 18, 19 and 21: framing, content and persistence of an answer whose fields are good."""
    status = int(said.status[:3])
    content = b"".join(said.pieces)
    given = next((value for name, value in said.fields if name.lower() == "content-length"), None)
    keeps = keeps and not any("close" in value for name, value in said.fields if name.lower() == "connection")
    # Content-Length when known, else chunked on 1.1, else close on 1.0. None is invented for HEAD and 304; 204 carries
    # none even if the application set one; 205 has no content.
    without = method == "HEAD" or status in (204, 205, 304)
    length = "0" if status == 205 else None if status == 204 else given
    if without:
        framing, content = "none", b""
    elif given is not None or said.how == LIST:
        framing, length = "length", given or str(len(content))
    else:
        framing = "chunked" if version == "1.1" else "close"
        keeps = keeps and version == "1.1"
    if status == 205 and method != "HEAD":
        framing = "length"
    connection = "close" if not keeps else "keep-alive" if version == "1.0" else None
    # Content-Length is kept exactly: a short body closes the connection so that the client notices; excess is cut.
    short = framing == "length" and len(content) < int(length or 0)
    content = content[: int(length)] if framing == "length" and length else content
    return Left(status, framing, length, content, connection, KEPT if keeps and not short else CLOSED, not short)


@dataclass(frozen=True)
class Sent:
    """One entry: what is asked, what is said to it, what leaves."""

    rule: int
    name: str
    said: Said
    asked: str
    left: Left
    absent: tuple[str, ...] = ()  # bytes that must not be anywhere in what leaves

    def request(self, index: int) -> bytes:
        method, version, fields, _ = REQUESTS[self.asked]
        lines = [f"{method} /{index} HTTP/{version}", "Host: a", *fields]
        return "".join(line + "\r\n" for line in (*lines, "")).encode()


def framings() -> Iterator[Sent]:
    """Rules 18, 19 and 21: every status, size, kind of content and kind of request."""
    statuses = ("200 OK", "204 No Content", "205 Reset Content", "304 Not Modified", "404 Not Found")
    lengths = {"": (), "5": "5", "3": "3", "9": "9"}
    for status, length, closing, how, asked in itertools.product(
        statuses, lengths, (False, True), (LIST, STREAM), REQUESTS
    ):  # fmt: skip
        fields = [("Content-Length", length)] if length else []
        fields += [("Connection", "x, close")] if closing else []
        said = Said(how, status, tuple(fields))
        method, version, _, keeps = REQUESTS[asked]
        name = f"{status}{f' of length {length}' if length else ''} {how}{' that closes' if closing else ''} to {asked}"
        rule = 19 if int(status[:3]) in (204, 205, 304) or method == "HEAD" else 18
        yield Sent(rule, name, said, asked, expected(said, method, version, keeps))
    for pieces in ((), (b"",), (b"", b"")):
        for how in (LIST, STREAM):
            said = Said(how, pieces=pieces)
            left = Left(200, "length", "0", b"", None, KEPT)
            # A stream of nothing is known to be nothing when it ends.
            yield Sent(18, f"{len(pieces)} empty pieces {how} are content of length 0", said, "GET on 1.1", left)


FAILED = Left(500, "length", "22", b"Internal Server Error\n", None, KEPT)


def forbidden() -> Iterator[Sent]:
    """Rule 16: status is three digits 100-599; names are tokens; values hold no CR, LF or NUL: an app that tries gets
    an exception, the client a 500 and nothing is split."""
    for status in (
        "200 OK\r\nInjected: yes", "200 OK\nInjected: yes", "200 OK\rInjected", "200 O\0K", "2000 OK", "20 OK",
        "099 OK", "600 OK", "999 OK", "-200 OK", "+200 OK", "0x1 OK", "2_0 OK", "200OK", " 200 OK", "\xb2\xb00 OK",
        "\u0662\u0660\u0660 OK", "OK", "", "200 \u2713", "200 \x7f",
    ):  # fmt: skip
        for how in (LIST, STREAM):
            said = Said(how, status)
            yield Sent(16, f"the status {status!r} is forbidden {how}", said, "GET on 1.1", FAILED, ("njected",))
    for field in (
        ("X", "y\r\nInjected: yes"), ("X", "y\nInjected: yes"), ("X", "y\rInjected: yes"), ("X", "y\0"), ("X", "\r\n"),
        ("X", "y\r\n Injected"), ("X", "\x7f"), ("X", "\x01"), ("X", "\u010d\u010aInjected: yes"), ("X", "\u20ac"),
        ("X\r\nInjected", "yes"), ("X:", "y"), ("X ", "y"), (" X", "y"), ("", "y"), ("X\0", "y"), ("X(", "y"),
        ("X\xe9", "y"), ("\u0130X", "y"), ("X", b"y"), (b"X", "y"), ("X", 1), ("X", None),
        ("Content-Length", ""), ("Content-Length", "-1"), ("Content-Length", "+1"), ("Content-Length", "1 "),
        ("Content-Length", "1_0"), ("Content-Length", "0x1"), ("Content-Length", "\xb2"), ("Content-Length", "5, 5"),
        ("Content-Length", "99999999999999999999"), ("Content-Length", "5\r\nInjected: yes"),
        ("Transfer-Encoding", "chunked\r\nInjected: yes"), ("Connection", "close\r\nInjected: yes"),
    ):  # fmt: skip
        for how in (LIST, STREAM):
            said = Said(how, fields=(("Before", "njected"), field))
            yield Sent(16, f"the field {field!r} is forbidden {how}", said, "GET on 1.1", FAILED, ("njected",))
    said = Said(fields=(("Content-Length", "5"), ("Content-Length", "6")))
    yield Sent(16, "two lengths that differ are forbidden", said, "GET on 1.1", FAILED)


HOP_BY_HOP = (
    ("Transfer-Encoding", "chunked"), ("transfer-encoding", "gzip, chunked"), ("Connection", "keep-alive"),
    ("Connection", "upgrade"), ("CONNECTION", "x"), ("Keep-Alive", "timeout=5"), ("Proxy-Connection", "keep-alive"),
    ("Upgrade", "h2c"), ("TE", "trailers"), ("Trailer", "X"),
)  # fmt: skip


def hop_by_hop() -> Iterator[Sent]:
    """Rule 17: the app's Transfer-Encoding, Connection and other hop-by-hop fields do not reach the wire as given."""
    for field, how, asked in itertools.product(HOP_BY_HOP, (LIST, STREAM), REQUESTS):
        method, version, _, keeps = REQUESTS[asked]
        said = Said(how, fields=(field, ("X", "y")))
        left = expected(said, method, version, keeps)
        own = {f"Connection: {left.connection}", "Transfer-Encoding: chunked" if left.framing == "chunked" else ""}
        line = f"{field[0]}: {field[1]}"
        absent = () if line in own else (line,)
        yield Sent(17, f"{line} {how} to {asked} stays here", said, asked, left, absent)
    for value in ("close", "Close", "keep-alive, CLOSE", " close ", "x,close,y"):
        said = Said(fields=(("Connection", value),))
        left = Left(200, "length", "5", b"hello", "close", CLOSED)
        yield Sent(17, f"Connection: {value!r} of the application closes", said, "GET on 1.1", left)


def exceptions() -> Iterator[Sent]:
    """Rule 20: an exception before the head is out: a 500 with no internals in it. After: the connection is aborted, so
    that a truncated answer cannot look whole."""
    for how, status, asked in itertools.product((LIST, STREAM), ("200 OK", "204 No Content"), REQUESTS):
        method, version, _, keeps = REQUESTS[asked]
        left = FAILED if method == "GET" else FAILED._replace(framing="none", length=None, content=b"")
        connection = "close" if not keeps else "keep-alive" if version == "1.0" else None
        left = left._replace(connection=connection, end=KEPT if keeps else CLOSED)
        said = Said(how, status, (("Secret", "secret"),), raises=BEFORE)
        yield Sent(20, f"{status} that fails {how} {BEFORE} to {asked}", said, asked, left, ("ecret", "Boom", "Trace"))
    for length, asked in itertools.product(("", "5", "9"), REQUESTS):
        if REQUESTS[asked][0] == "HEAD":
            continue  # is whole with its head
        said = Said(STREAM, fields=(("Content-Length", length),) if length else (), raises=AFTER)
        left = Left(200, "", None, b"", None, ABORTED, False)
        name = f"content{f' of length {length}' if length else ''} that fails {AFTER} to {asked}"
        yield Sent(20, name, said, asked, left, ("ecret", "Boom", "0\r\n\r\n"))
    for bad in ("text", 1, None, [b"a"]):
        said = Said(STREAM, pieces=(bad,))
        yield Sent(20, f"content {bad!r} is an error", said, "GET on 1.1", FAILED)


def entries() -> list[Sent]:
    return [*framings(), *forbidden(), *hop_by_hop(), *exceptions()]


class Boom(Exception):
    """Raised by the applications here; nothing of it may leave."""


class Pieces:
    """Content that counts how often it is closed."""

    def __init__(self, said: Said, name: str) -> None:
        self.said = said
        self.name = name

    def __iter__(self) -> Iterator[Any]:
        if self.said.raises == BEFORE:
            raise Boom("secret")
        for piece in self.said.pieces:
            yield piece
            if self.said.raises == AFTER:
                raise Boom("secret")

    def close(self) -> None:
        closed[self.name] += 1


ENTRIES = entries()
closed: Counter[str] = Counter()


def said_to(target: str) -> Said:
    return Said() if target == "/next" else ENTRIES[int(target[1:])].said


def native_answers(request: Request) -> Any:
    """A native handler that says what the path asks for."""
    said = said_to(request.target)
    if said.how == STREAM:
        return Response(Pieces(said, request.target), said.status, list(said.fields))
    response = Response(b"".join(said.pieces), said.status, list(said.fields))
    if said.raises:
        raise Boom("secret")
    return response


def wsgi_answers(environ: dict[str, Any], start_response: Any) -> Any:
    """A WSGI application that says the same."""
    said = said_to(environ["RAW_URI"])
    content = Pieces(said, environ["RAW_URI"])
    try:
        start_response(said.status, list(said.fields))
    except Exception:
        content.close()  # nobody else knows of it
        raise
    if said.how == STREAM:
        return content
    if said.raises:
        raise Boom("secret")
    return list(said.pieces)
