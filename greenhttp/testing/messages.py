"""Requests and answers of the test client, as bytes: `written` makes the one, `read_answer` reads the other."""

from __future__ import annotations

import json as json_module
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from mimetypes import guess_type
from typing import IO, Any, TypeAlias, TypedDict
from urllib.parse import quote, urlencode

NOTHING: Any = object()  # no JSON: None is some
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 5.6.2
_ASCII = "".join(map(chr, range(0x21, 0x7F)))  # goes into a target as it is

File: TypeAlias = IO[bytes] | tuple[str, bytes] | tuple[str, bytes, str]
FormFields: TypeAlias = Mapping[str, Any] | Iterable[tuple[str, str | File]]  # of a mapping: or lists
Headers: TypeAlias = Mapping[str, str | Sequence[str]] | Iterable[tuple[str, str]]


class Sent(TypedDict, total=False):
    """What every method of the client takes by name; see Client.request."""

    headers: Headers
    json: Any
    form: FormFields
    content: str | bytes | IO[bytes] | Iterable[bytes]


# ---- what is sent


def written(method: str, target: str, headers: Headers, json: Any, form: Any, content: Any) -> Iterator[bytes]:
    """The bytes of a request, in the pieces in which they arrive."""
    if not _TOKEN.fullmatch(method):
        raise ValueError(f"{method!r} is no method; give one like GET")
    if not target.startswith("/") and target != "*" and "://" not in target:
        raise ValueError(f"{target!r} is no target; give a path that begins with /")
    if (json is not NOTHING) + (form is not None) + (content is not None) > 1:
        raise TypeError("give one of json, form and content")
    fields = [(name, value) for name, value in _pairs(headers, (list, tuple))]
    names = {name.lower() for name, _ in fields}

    def add(name: str, value: str) -> None:
        if name.lower() not in names:
            fields.append((name, value))

    add("Host", "localhost")
    if json is not NOTHING:
        content = json_module.dumps(json, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        add("Content-Type", "application/json")
    elif form is not None:
        kind, content = _form(list(_pairs(form, list)))
        add("Content-Type", kind)
    if isinstance(content, str):
        content = content.encode("utf-8")
    chunked = False
    if content is None:
        pieces = []
        if method in ("POST", "PUT", "PATCH"):
            add("Content-Length", "0")  # RFC 9110 8.6
    elif isinstance(content, (bytes, bytearray, memoryview)):
        pieces = [bytes(content)]
        if "transfer-encoding" not in names:
            add("Content-Length", str(len(pieces[0])))
    else:
        pieces = list(iter(lambda: content.read(65536), b"") if hasattr(content, "read") else content)
        for piece in pieces:
            if not isinstance(piece, bytes):
                raise TypeError(f"a piece of the content must be bytes, not {type(piece).__name__}")
        chunked = not names & {"content-length", "transfer-encoding"}
        if chunked:
            add("Transfer-Encoding", "chunked")
    head = f"{method} {quote(target, safe=_ASCII)} HTTP/1.1\r\n{''.join(map(_line, fields))}\r\n".encode("latin-1")
    if not chunked:
        yield from (head + b"".join(pieces[:1]), *pieces[1:])
        return
    yield head
    yield from (b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces if piece)
    yield b"0\r\n\r\n"


def _pairs(given: Any, several: Any) -> Iterator[tuple[str, Any]]:
    """(name, value) of pairs, or of a mapping, where a value of these types is several."""
    for name, value in given.items() if isinstance(given, Mapping) else given:
        yield from ((name, each) for each in value) if isinstance(value, several) else ((name, value),)


def _line(field: tuple[str, str]) -> str:
    name, value = field
    if not _TOKEN.fullmatch(name) or re.search(r"[\0\r\n]", value):
        raise ValueError(f"{name!r}: {value!r:.80} is no header that can be sent")
    return f"{name}: {value}\r\n"


def _form(pairs: list[tuple[str, Any]]) -> tuple[str, bytes]:
    """Type and content of a form."""
    if all(isinstance(value, str) for _, value in pairs):
        return "application/x-www-form-urlencoded", urlencode(pairs).encode("ascii")
    parts = []
    for name, value in pairs:
        head = f'Content-Disposition: form-data; name="{_quoted(name)}"'
        if isinstance(value, str):
            data = value.encode("utf-8")
        else:
            filename, data, kind = _file(value)
            head += f'; filename="{_quoted(filename)}"\r\nContent-Type: {kind}'
        parts.append(f"{head}\r\n\r\n".encode() + data + b"\r\n")
    whole = b"".join(parts)
    boundary = next(text for number in count() if (text := f"boundary-{number}").encode() not in whole)
    content = b"".join(b"--%s\r\n%s" % (boundary.encode(), part) for part in parts)
    return f"multipart/form-data; boundary={boundary}", content + b"--%s--\r\n" % boundary.encode()


def _file(value: Any) -> tuple[str, bytes, str]:
    """Name, content and type of a file in a form."""
    if hasattr(value, "read"):
        name = getattr(value, "name", "")
        value = (os.path.basename(name) if isinstance(name, str) and name else "file", value.read())
    if not isinstance(value, tuple) or len(value) not in (2, 3) or not isinstance(value[1], bytes):
        raise TypeError(f"a form has str, binary files, (name, bytes) and (name, bytes, type), not {value!r:.80}")
    kind = value[2] if len(value) == 3 else guess_type(value[0])[0]
    return value[0], value[1], kind or "application/octet-stream"


def _quoted(text: str) -> str:
    """As browsers write names in multipart forms (HTML, "multipart/form-data encoding algorithm")."""
    return text.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")


# ---- what comes back


class Fields(Mapping[str, str]):
    """The fields of an answer: names, in any case, to values.

    Fields of one name are joined with `, ` (RFC 9110 5.3); `get_all(name)` gives the values apart, which is the way to
    read Set-Cookie. `pairs` has every field as it was sent. Does not change.

    Arguments:
        pairs: (name, value) for each, in order.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self.pairs = list(pairs)

    def get_all(self, name: str) -> list[str]:
        """Every value of that name, in order; an empty list if there is none."""
        return [value for key, value in self.pairs if key.lower() == name.lower()]

    def __getitem__(self, name: str) -> str:
        values = self.get_all(name)
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name.lower() for name, _ in self.pairs))

    def __len__(self) -> int:
        return len({name.lower() for name, _ in self.pairs})

    def __repr__(self) -> str:
        return f"Fields({self.pairs!r})"


@dataclass
class Answer:
    """An answer, read to its end.

    Attributes:
        status: a number, such as 200.
        reason: the text behind it, such as "OK".
        headers: Fields: a mapping of names, in any case, to values; with get_all.
        content: bytes, put together from chunks.
    """

    status: int
    reason: str
    headers: Fields
    content: bytes

    @property
    def text(self) -> str:
        """The content as text, by the charset of its Content-Type; UTF-8 without one."""
        charset = re.search(r';\s*charset="?([\w.:-]+)', self.headers.get("Content-Type", ""), re.IGNORECASE)
        return self.content.decode(charset[1] if charset else "utf-8")

    def json(self) -> Any:
        """The content as JSON, whatever its type says. Raises ValueError if it is none."""
        return json_module.loads(self.content)


def read_answer(sent: bytes, method: str, ended: str) -> Answer:
    """The final answer in what the server sent."""
    while True:
        head, found, sent = sent.partition(b"\r\n\r\n")
        if not found:
            raise ConnectionError("the server ended the connection without an answer; `log` may say why")
        line, *lines = head.decode("latin-1").split("\r\n")
        _, status, reason = line.split(" ", 2)
        if int(status) >= 200:
            break
    fields = Fields((name, value.strip()) for name, _, value in (each.partition(":") for each in lines))
    content: bytes | None = sent
    if method == "HEAD" or int(status) in (204, 304):
        content = b""
    elif "Transfer-Encoding" in fields:
        content = _unchunked(sent)
    elif "Content-Length" in fields:
        content = sent if len(sent) == int(fields["Content-Length"]) else None
    if content is None or ended == "reset":
        raise ConnectionError(f"the server ended the connection within the answer {status}; `log` may say why")
    return Answer(int(status), reason, fields, content)


def _unchunked(data: bytes) -> bytes | None:
    """The content of chunks, as this server sends them; None if the end is missing."""
    pieces: list[bytes] = []
    at = 0
    while (end := data.find(b"\r\n", at)) >= 0:
        size = int(data[at:end], 16)
        if size == 0:
            return b"".join(pieces)  # what follows are trailers
        pieces.append(data[end + 2 : end + 2 + size])
        at = end + 4 + size
    return None
