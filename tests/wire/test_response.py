"""wire/response.pyx: a status and fields to bytes, framing, persistence (RFC 9112 6.3 and 9.3, RFC 9110 8.6)."""

from __future__ import annotations

import pytest

from greenhttp.errors import ResponseError
from greenhttp.wire.response import ResponseHead, Transfer

OWN = b"Server: greenhttp\r\nDate: now\r\n"
LARGEST = 1048576  # bytes of a whole head


def compose(status: str = "200 OK", *fields: tuple[str, str], **request: int) -> tuple[bytes, Transfer]:
    return ResponseHead().compose(status, fields, **request)


def test_a_head_as_it_goes_out() -> None:
    head, transfer = compose("200 OK", ("Content-Type", "text/plain"), ("X", ""), known=5)
    assert head == (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX: \r\n" + OWN + b"Content-Length: 5\r\n\r\n")
    assert transfer is Transfer.SIZED


@pytest.mark.parametrize(
    ("status", "request_", "length", "transfer"),
    [
        ("200 OK", {"known": 0}, b"0", Transfer.SIZED),
        ("200 OK", {"known": 9223372036854775807}, b"9223372036854775807", Transfer.SIZED),
        ("200 OK", {}, None, Transfer.CHUNKS),
        ("200 OK", {"minor": 0}, None, Transfer.UNTIL_CLOSE),
        ("200 OK", {"is_head": True, "known": 5}, None, Transfer.EMPTY),
        ("204 No Content", {"known": 0}, None, Transfer.EMPTY),
        ("205 Reset Content", {"known": 7}, b"0", Transfer.EMPTY),
        ("304 Not Modified", {"known": 0}, None, Transfer.EMPTY),
        ("101 Switching Protocols", {}, None, Transfer.EMPTY),
    ],
)
def test_framing(status: str, request_: dict[str, int], length: bytes | None, transfer: Transfer) -> None:
    head, found = compose(status, **request_)
    assert found is transfer
    assert (b"Transfer-Encoding: chunked\r\n" in head) == (transfer is Transfer.CHUNKS)
    assert [line[16:] for line in head.split(b"\r\n") if line.startswith(b"Content-Length: ")] == (
        [] if length is None else [length]
    )


@pytest.mark.parametrize(
    ("fields", "request_", "said", "persists"),
    [
        ([], {}, None, True),
        ([], {"keep_alive": False}, b"close", False),
        ([], {"minor": 0}, b"keep-alive", True),
        ([("Connection", "close")], {}, b"close", False),
        ([("connection", "x ,\tCLOSE , y")], {}, b"close", False),
        ([("Connection", "closed")], {}, None, True),
        ([("Connection", "keep-alive")], {"keep_alive": False}, b"close", False),
    ],
)
def test_the_server_says_whether_the_connection_persists(
    fields: list[tuple[str, str]], request_: dict[str, bool], said: bytes | None, persists: bool
) -> None:
    response = ResponseHead()
    head, _ = response.compose("200 OK", fields, known=1, **request_)
    lines = [line for line in head.split(b"\r\n") if line.lower().startswith(b"connection:")]
    assert lines == ([] if said is None else [b"Connection: " + said])
    assert response.keep_alive == persists


def test_a_date_and_a_server_of_the_application_replace_ours() -> None:
    head, _ = compose("200 OK", ("DATE", "then"), ("server", "mine"), known=0)
    assert head == b"HTTP/1.1 200 OK\r\nDATE: then\r\nserver: mine\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    "name", ["Transfer-Encoding", "keep-alive", "Proxy-Connection", "UPGRADE", "Trailer", "te", "Connection"]
)
def test_fields_about_the_connection_are_not_passed_on(name: str) -> None:
    assert compose("200 OK", (name, "x"), known=0) == compose(known=0)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", "1 to 18 digits"),
        ("1" * 19, "1 to 18 digits"),
        ("-1", "digits only"),
        ("1 ", "digits only"),
        ("0x1", "digits only"),
    ],
)
def test_a_content_length_is_a_number(value: str, problem: str) -> None:
    with pytest.raises(ResponseError, match=problem):
        compose("200 OK", ("Content-Length", value))


def test_a_content_length_said_twice_alike_is_said_once() -> None:
    head, transfer = compose("200 OK", ("Content-Length", "7"), ("content-length", "007"))
    assert (head.lower().count(b"content-length: 7\r\n"), transfer) == (1, Transfer.SIZED)
    with pytest.raises(ResponseError, match="differ"):
        compose("200 OK", ("Content-Length", "7"), ("Content-Length", "8"))


@pytest.mark.parametrize("size", [100, 300, 1000, 100_000, LARGEST - 300])
def test_a_head_may_grow(size: int) -> None:
    fields = [("A", "a" * 50), ("B", "b" * size), ("C", "c" * 200)]
    head, _ = compose("200 OK", *fields, known=0)
    lines = b"".join(f"{name}: {value}\r\n".encode() for name, value in fields)
    assert head == b"HTTP/1.1 200 OK\r\n" + lines + OWN + b"Content-Length: 0\r\n\r\n"


def test_a_head_beyond_all_reason_is_refused() -> None:
    with pytest.raises(ResponseError, match="more than 1048576 bytes"):
        compose("200 OK", ("A", "a" * LARGEST))


def test_starting_over_leaves_nothing_of_what_was_said_before() -> None:
    response = ResponseHead()
    response.compose("200 OK", [("Connection", "close"), ("Content-Length", "9"), ("Date", "then"), ("Server", "x")])
    assert (response.status, response.content_length, response.keep_alive) == (200, 9, False)
    assert response.compose("404 Not Found") == compose("404 Not Found")
    assert (response.status, response.content_length, response.keep_alive) == (404, -1, True)


def test_a_reason_may_be_missing_but_its_space_is_not() -> None:
    assert compose("299", known=0)[0].startswith(b"HTTP/1.1 299 \r\n")
