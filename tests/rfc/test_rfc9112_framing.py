"""RFC 9112 section 6: how long the body is, and RFC 9110 10.1.1. Contract rules 6, 7, 12 and 13."""

from __future__ import annotations

import pytest

from greenhttp.wire.head import Framing
from tests.wire.feeding import head_of, request, status_of


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


@pytest.mark.parametrize(
    "value",
    ["", "+5", "-5", "-0", "5 5", "5,5", "5, 5", "5;", "5.0", "0x5", "5e0", "1_000", "five", "\xb2", "\x8f5", "5\xa0",
     "\xa05", "5\x85", '"5"', "00000000000000000005", "99999999999999999999"],
)  # fmt: skip
def test_6_2_any_other_content_length_is_refused(value: str) -> None:
    assert status_of(request(b"POST / HTTP/1.1", b"Content-Length: " + value.encode("latin-1"))) == 400


@pytest.mark.parametrize("value", [b"9223372036854775808", b"9999999999999999999"])
def test_6_2_nineteen_digits_beyond_63_bits_are_more_than_any_limit(value: bytes) -> None:
    assert status_of(request(b"POST / HTTP/1.1", b"Content-Length: " + value)) == 413


@pytest.mark.parametrize("second", [b"Content-Length: 5", b"content-length: 6", b"Content-Length:"])
def test_6_3_content_length_comes_once_even_if_equal(second: bytes) -> None:
    assert status_of(request(b"POST / HTTP/1.1", b"Content-Length: 5", second)) == 400


@pytest.mark.parametrize("value", [b"chunked", b"Chunked", b"CHUNKED", b" chunked\t"])
def test_6_1_transfer_encoding_is_chunked(value: bytes) -> None:
    assert framed(b"Transfer-Encoding:" + value) == (Framing.CHUNKED, -1)


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        pytest.param([b"gzip"], 400, id="final coding gzip"),
        pytest.param([b"identity"], 400, id="final coding identity"),
        pytest.param([b"chunked, gzip"], 400, id="chunked not final"),
        pytest.param([b"chunked", b"gzip"], 400, id="chunked not final over two lines"),
        pytest.param([b"chunked, identity"], 400, id="identity after chunked"),
        pytest.param([b"gzip, chunked"], 501, id="gzip before chunked"),
        pytest.param([b"gzip", b"chunked"], 501, id="gzip before chunked over two lines"),
        pytest.param([b"identity, chunked"], 501, id="identity before chunked"),
        pytest.param([b"chunked, chunked"], 400, id="chunked twice"),
        pytest.param([b"chunked", b"chunked"], 400, id="chunked twice over two lines"),
        pytest.param([b"gzip, chunked, chunked"], 400, id="chunked twice after gzip"),
        pytest.param([b""], 400, id="empty"),
        pytest.param([b",chunked"], 400, id="an empty element first"),
        pytest.param([b"chunked,"], 400, id="an empty element last"),
        pytest.param([b"chunked;q=1"], 400, id="a parameter"),
        pytest.param([b"chunked chunked"], 400, id="two words"),
        pytest.param([b"xchunked"], 400, id="a longer name"),
        pytest.param([b"chunke"], 400, id="a shorter name"),
        pytest.param([b'"chunked"'], 400, id="quoted"),
        pytest.param([b"\x0bchunked"], 400, id="VT before"),
        pytest.param([b"\xa0chunked"], 400, id="NBSP before"),
        pytest.param([b"chunked\x00"], 400, id="NUL after"),
    ],
)
def test_6_1_anything_but_chunked_once_is_refused(lines: list[bytes], status: int) -> None:
    assert status_of(request(b"POST / HTTP/1.1", *(b"Transfer-Encoding: " + line for line in lines))) == status


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("coding", [b"chunked", b"gzip, chunked", b"identity"])
def test_6_3_transfer_encoding_with_content_length_is_refused(order: int, coding: bytes) -> None:
    lines = [b"Content-Length: 5", b"Transfer-Encoding: " + coding][::order]
    assert status_of(request(b"POST / HTTP/1.1", *lines)) == 400


@pytest.mark.parametrize("coding", [b"chunked", b"gzip"])
def test_6_1_transfer_encoding_on_1_0_is_refused(coding: bytes) -> None:
    assert status_of(request(b"POST / HTTP/1.0", b"Transfer-Encoding: " + coding)) == 400


@pytest.mark.parametrize(
    "line", [b"Transfer-Encoding : chunked", b" Transfer-Encoding: chunked", b"Transfer\xad-Encoding: chunked"]
)
def test_6_1_a_disguised_transfer_encoding_is_no_name_at_all(line: bytes) -> None:
    assert status_of(request(b"POST / HTTP/1.1", line)) == 400


def test_6_1_transfer_underscore_encoding_is_dropped_and_frames_nothing() -> None:
    assert framed(b"Transfer_Encoding: chunked", b"Content-Length: 5") == (Framing.LENGTH, 5)


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


@pytest.mark.parametrize("value", [b"200-ok", b"100-continue, other", b"100-continue;a", b"100", b"100-continued"])
def test_9110_10_1_1_an_unknown_expectation_is_answered_417(value: bytes) -> None:
    assert status_of(request(b"POST / HTTP/1.1", b"Expect: " + value, b"Content-Length: 5")) == 417
