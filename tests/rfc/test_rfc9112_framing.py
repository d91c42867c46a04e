"""RFC 9112 section 6: how long the body is, and RFC 9110 10.1.1. Contract rules 6, 7, 12 and 13."""

from __future__ import annotations

import pytest

from greenhttp.wire.head import Framing
from tests.wire.feeding import head_of, request


def framed(*lines: bytes, version: bytes = b"1.1", method: bytes = b"POST") -> tuple[Framing, int]:
    head = head_of(request(method + b" / HTTP/" + version, *lines))
    return head["framing"], head["content_length"]


@pytest.mark.parametrize(
    ("value", "length"),
    [
        ("0", 0),
        ("5", 5),
        ("  5\t", 5),
        ("005", 5),
        ("1234567890", 1234567890),
        ("9223372036854775807", 2**63 - 1),
        ("0000000000000000007", 7),
    ],
)
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_6_2_content_length_is_one_to_nineteen_digits(value: str, length: int, version: bytes) -> None:
    assert framed(b"Content-Length: " + value.encode(), version=version) == (Framing.LENGTH, length)


@pytest.mark.parametrize("value", [b"chunked", b"Chunked", b"CHUNKED", b" chunked\t"])
def test_6_1_transfer_encoding_is_chunked(value: bytes) -> None:
    assert framed(b"Transfer-Encoding:" + value) == (Framing.CHUNKED, -1)


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"POST", b"X"])
def test_9110_6_4_a_body_is_framed_alike_on_every_method(method: bytes) -> None:
    assert framed(b"Content-Length: 5", method=method) == (Framing.LENGTH, 5)
    assert framed(b"Transfer-Encoding: chunked", method=method) == (Framing.CHUNKED, -1)
    assert framed(method=method) == (Framing.NO_BODY, -1)


@pytest.mark.parametrize(
    ("version", "lines", "wants"),
    [
        (b"1.1", [b"Expect: 100-continue", b"Content-Length: 5"], True),
        (b"1.1", [b"Expect: 100-Continue", b"Transfer-Encoding: chunked"], True),
        (b"1.1", [b"Expect: 100-continue, 100-continue", b"Content-Length: 5"], True),
        (b"1.1", [b"Expect:", b"Content-Length: 5"], False),
        (b"1.1", [b"Content-Length: 5"], False),
        (b"1.1", [b"Expect: 100-continue"], False),
        (b"1.1", [b"Expect: 100-continue", b"Content-Length: 0"], False),
        (b"1.0", [b"Expect: 100-continue", b"Content-Length: 5"], False),
        (b"1.0", [b"Expect: something", b"Content-Length: 5"], False),
    ],
)
def test_9110_10_1_1_100_continue_waits_for_a_body_and_is_ignored_on_1_0(
    version: bytes, lines: list[bytes], wants: bool
) -> None:
    assert head_of(request(b"POST / HTTP/" + version, *lines))["wants_continue"] is wants
