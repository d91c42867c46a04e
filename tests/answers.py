"""Read answers as a strict client does: what is not exactly HTTP/1.1 fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class Incomplete(Exception):
    """The bytes end in the middle of an answer."""


@dataclass
class Answer:
    status: int
    reason: str
    fields: list[tuple[str, str]]
    content: bytes
    framing: str  # "none", "length", "chunked" or "close"

    def get(self, name: str) -> str | None:
        """The value of a field; None if it is not there. Twice is an error."""
        found = [value for key, value in self.fields if key.lower() == name.lower()]
        assert len(found) < 2, f"{name} is there {len(found)} times"
        return found[0] if found else None

    @property
    def names(self) -> set[str]:
        return {name.lower() for name, _ in self.fields}

    @property
    def closes(self) -> bool:
        return self.get("Connection") == "close"


def one(data: bytes, method: str = "GET", *, ended: bool = True) -> tuple[Answer, bytes]:
    """The first answer, and what is behind it. `ended`: no more bytes will come."""
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        raise Incomplete(data)
    line, *lines = head.decode("latin-1").split("\r\n")
    version, status, reason = line.split(" ", 2)
    assert version == "HTTP/1.1" and len(status) == 3 and status.isascii() and status.isdigit(), line
    fields = []
    for field in lines:
        name, colon, value = field.partition(":")
        assert colon and name and name == name.strip() and "\r" not in field and "\n" not in field, field
        fields.append((name, value.strip()))
    answer = Answer(int(status), reason, fields, b"", "none")
    length, coding = answer.get("Content-Length"), answer.get("Transfer-Encoding")
    assert length is None or coding is None
    if method == "HEAD" or answer.status < 200 or answer.status in (204, 304):
        pass
    elif coding is not None:
        assert coding == "chunked"
        answer.framing = "chunked"
        answer.content, rest = unchunked(rest)
    elif length is not None:
        answer.framing = "length"
        if len(rest) < int(length):
            raise Incomplete(data)
        answer.content, rest = rest[: int(length)], rest[int(length) :]
    else:
        if not ended:
            raise Incomplete(data)
        answer.framing = "close"
        answer.content, rest = rest, b""
    return answer, rest


def unchunked(data: bytes) -> tuple[bytes, bytes]:
    """The content of chunks as this server sends them - no extensions, no trailers - and what is behind it."""
    content = b""
    while True:
        line, end, data = data.partition(b"\r\n")
        size = int(line, 16) if end else 0
        if not end or len(data) < size + 2:
            raise Incomplete(data)
        assert data[size : size + 2] == b"\r\n"
        content += data[:size]
        data = data[size + 2 :]
        if size == 0:
            return content, data


def answers(data: bytes, methods: Sequence[str] = ()) -> list[Answer]:
    """All answers in the bytes; nothing may be left over. An interim answer (1xx) belongs to the answer behind it."""
    found: list[Answer] = []
    turn = iter(methods)
    method = next(turn, "GET")
    while data:
        answer, data = one(data, method)
        found.append(answer)
        if answer.status >= 200:
            method = next(turn, "GET")
    return found


def only(data: bytes, method: str = "GET") -> Answer:
    """The one answer that the bytes are."""
    (answer,) = answers(data, [method])
    return answer
