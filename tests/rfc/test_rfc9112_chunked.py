"""RFC 9112 section 7.1: the chunked coding. Contract rules 2, 8 and 9."""

from __future__ import annotations

import pytest

from tests.wire.feeding import body_of, body_status_of

END = b"0\r\n\r\n"


def test_7_1_what_follows_the_body_is_left_alone() -> None:
    assert body_of(b"1\r\nx\r\n" + END + b"GET /") == (b"x", True, 5)


@pytest.mark.parametrize("size", [b"8000000000000000", b"ffffffffffffffff", b"FFFFFFFFFFFFFFFE"])
def test_7_1_a_chunk_size_beyond_63_bits_is_refused(size: bytes) -> None:
    assert body_status_of(size + b"\r\n", limit_request_body=2**63 - 1) == 400


@pytest.mark.parametrize("data", [b"5\r\nhello\r\n0\r\nX: y\r\n\r\n", b"5;a=b\r\nhello\r\n" + END])
def test_8_a_body_is_complete_only_with_its_very_last_byte(data: bytes) -> None:
    for size in range(len(data)):
        assert body_of(data[:size])[1] is False
    assert body_of(data) == (b"hello", True, 0)


def test_7_1_1_extensions_are_capped_over_the_whole_message() -> None:
    chunks = b"1;ab\r\nx\r\n" * 4
    assert body_status_of(chunks + END, limit_chunk_extensions=12) == 200
    assert body_status_of(chunks + END, limit_chunk_extensions=11) == 400
    assert body_status_of(b"1;a\r\n", limit_chunk_extensions=0) == 400


@pytest.mark.parametrize(
    "name",
    [b"Content-Length", b"Transfer-Encoding", b"TRANSFER-ENCODING", b"Host", b"Connection", b"Trailer", b"te",
     b"Upgrade"],
)  # fmt: skip
def test_9110_6_5_1_framing_and_routing_are_refused_in_trailers(name: bytes) -> None:
    assert body_status_of(b"0\r\n" + name + b": 5\r\n\r\n") == 400
    assert body_status_of(b"0\r\nX" + name + b": 5\r\n\r\n") == 200


@pytest.mark.parametrize("name", [b"Content-Type", b"Content-MD5", b"Authorization", b"Cookie", b"X-Forwarded-For"])
def test_9110_6_5_1_what_is_merged_into_nothing_may_be_a_trailer(name: bytes) -> None:
    """It says that a recipient must not merge a trailer whose definition does not permit that: none is."""
    assert body_status_of(b"0\r\n" + name + b": 5\r\n\r\n") == 200


def test_7_1_2_trailers_are_capped_in_bytes_and_number() -> None:
    assert body_status_of(b"0\r\nX: y\r\n\r\n", limit_trailers=6) == 200
    assert body_status_of(b"0\r\nX: y\r\n\r\n", limit_trailers=5) == 431
    assert body_status_of(b"0\r\n" + b"X:\r\n" * 100 + b"\r\n") == 200
    assert body_status_of(b"0\r\n" + b"X:\r\n" * 101 + b"\r\n") == 431


def test_9110_15_5_14_a_body_beyond_its_limit_is_refused_at_the_size_line() -> None:
    assert body_status_of(b"3\r\nabc\r\n" + END, limit_request_body=3) == 200
    assert body_status_of(b"4\r\n", limit_request_body=3) == 413
    assert body_status_of(b"2\r\nab\r\n2\r\n", limit_request_body=3) == 413
    assert body_status_of(b"7fffffffffffffff\r\n") == 413
