"""What an entry of the contract's tables says, and how entries are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

KEPT = "kept"  # the next request is answered
CLOSED = "closed"  # in good order, as was said
LINGERED = "closed after lingering"  # no more is said, but what comes is still read, so that the answer arrives
ABORTED = "aborted"  # with a reset, so that a truncated answer cannot look whole

# Small, so that what is one too much is short enough to be tried in every split.
LIMITS = {
    "limit_request_line": 200,
    "limit_request_head": 600,
    "limit_request_fields": 12,
    "limit_request_body": 1000,
    "limit_chunk_extensions": 40,
    "limit_trailers": 40,
}

HOST = b"Host: a\r\n"

# Sent behind every entry that does not end the connection by itself: it is seen if, and only if, that is kept.
NEXT = b"GET /next HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"


class Seen(NamedTuple):
    """A request as the application saw it."""

    method: str = "GET"
    target: str = "/"
    host: str = "a"
    fields: tuple[tuple[str, str], ...] = ()  # all but Host
    body: str | None = ""  # latin-1; None: reading it raised, or it was not read


AFTER = Seen("GET", "/next", "a", (("Connection", "close"),))


@dataclass(frozen=True)
class Case:
    """One entry: what is sent, and what must come of it."""

    rule: int
    name: str
    data: bytes
    answers: tuple[int, ...]
    seen: tuple[Seen, ...]
    end: str = KEPT
    then: bytes = b""  # sent when `100 Continue` has come
    alone: bool = False  # NEXT is not sent, and the client waits for the end
    finished: bool = False  # the client sends a FIN behind the data, and no NEXT

    @property
    def all_answers(self) -> tuple[int, ...]:
        return (*self.answers, 200) if self.goes_on else self.answers

    @property
    def all_seen(self) -> tuple[Seen, ...]:
        return (*self.seen, AFTER) if self.goes_on else self.seen

    @property
    def goes_on(self) -> bool:
        return self.end == KEPT and not self.finished

    @property
    def behind(self) -> bytes:
        return b"" if self.alone or self.finished else NEXT


def head(line: bytes = b"GET / HTTP/1.1", *fields: bytes, host: bytes = HOST) -> bytes:
    """A head with a good Host unless told otherwise; the field lines without CRLF."""
    return line + b"\r\n" + host + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


def refused(rule: int, name: str, data: bytes, status: int = 400) -> Case:
    """The application sees nothing of it, and nothing behind it is read as HTTP."""
    return Case(rule, name, data, (status,), (), LINGERED)


def accepted(rule: int, name: str, data: bytes, seen: Seen = Seen()) -> Case:  # noqa: B008 - it cannot change
    """One request in, one request seen, and the connection goes on."""
    return Case(rule, name, data, (200,), (seen,))


def text(data: bytes) -> str:
    return data.decode("latin-1")


def shown(data: bytes) -> str:
    """Bytes as part of a sentence."""
    return repr(data)[1:]
