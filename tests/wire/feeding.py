"""Feed bytes to the wire every way they can arrive, and insist that it makes no difference."""

from __future__ import annotations

from typing import Any

from greenhttp.errors import WireError
from greenhttp.testing import every_split
from greenhttp.wire.body import ChunkedDecoder
from greenhttp.wire.head import Head

HOST = b"Host: example.com\r\n"


def request(line: bytes = b"GET / HTTP/1.1", *fields: bytes, host: bytes = HOST) -> bytes:
    """A head: the request line, a good Host unless told otherwise, and the field lines given without CRLF."""
    return line + b"\r\n" + host + b"".join(field + b"\r\n" for field in fields) + b"\r\n"


def snapshot(head: Head) -> dict[str, Any]:
    names = (
        "method target path query host version fields has_query path_plain form minor count framing content_length "
        "keep_alive wants_continue has_connection_upgrade head_size"
    )
    return {name: getattr(head, name) for name in names.split()}


def head_of(data: bytes, **settings: Any) -> dict[str, Any]:
    """What a Head makes of the data, the same for every split; raises what it raises.

    Everything must be taken: the empty line comes last, and a piece short of it is never enough.
    """
    results = []
    for pieces in every_split(data):
        head = Head(**settings)
        try:
            for piece in pieces[:-1]:
                assert head.feed(piece) == 0
            assert head.feed(pieces[-1]) == len(data)
            results.append(snapshot(head))
        except WireError as error:
            results.append({"error": (type(error), error.status, error.reason)})
    return agreed(results)


def body_of(data: bytes, **settings: Any) -> tuple[bytes, bool, int]:
    """The body, whether it ended, and how many bytes were behind it; the same for every split."""
    results = []
    for pieces in every_split(data):
        decoder = ChunkedDecoder(**settings)
        try:
            body = b"".join([decoder.feed(piece) for piece in pieces])
            results.append({"body": (body, decoder.done, decoder.leftover)})
        except WireError as error:
            results.append({"error": (type(error), error.status, error.reason)})
    return agreed(results)["body"]


def agreed(results: list[dict[str, Any]]) -> dict[str, Any]:
    first = results[0]
    assert all(result == first for result in results), "the split changed the result"
    if "error" in first:
        kind, status, reason = first["error"]
        raise kind(status, reason)
    return first


def status_of(data: bytes, **settings: Any) -> int:
    """The status a bad head is refused with, or 200 for a good one."""
    try:
        head_of(data, **settings)
    except WireError as error:
        return error.status
    return 200


def body_status_of(data: bytes, **settings: Any) -> int:
    """The status a bad body is refused with, 200 for a whole one, 0 for one that is not complete."""
    try:
        return 200 if body_of(data, **settings)[1] else 0
    except WireError as error:
        return error.status
