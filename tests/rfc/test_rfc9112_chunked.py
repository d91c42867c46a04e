"""RFC 9112 section 7.1: the chunked coding. Contract rules 2, 8 and 9."""

from __future__ import annotations

import pytest

from tests.wire.feeding import body_of, body_status_of

END = b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (END, b""),
        (b"5\r\nhello\r\n" + END, b"hello"),
        (b"5\r\nhello\r\n1\r\n!\r\n" + END, b"hello!"),
        (b"a\r\n0123456789\r\n" + END, b"0123456789"),
        (b"A\r\n0123456789\r\n" + END, b"0123456789"),
        (b"0000000000000001\r\nx\r\n" + END, b"x"),
        (b"2\r\n\r\n\r\n" + END, b"\r\n"),
        (b"5\r\n0\r\n\r\n\r\n" + END, b"0\r\n\r\n"),
        (b"1\r\nx\r\n0000000000000000\r\n\r\n", b"x"),
    ],
)
def test_7_1_a_body_is_the_data_of_its_chunks(data: bytes, body: bytes) -> None:
    assert body_of(data) == (body, True, 0)


def test_7_1_what_follows_the_body_is_left_alone() -> None:
    assert body_of(b"1\r\nx\r\n" + END + b"GET /") == (b"x", True, 5)


@pytest.mark.parametrize(
    "size",
    [b"", b" 1", b"1 ", b"1\t", b"+1", b"-1", b"0x1", b"1_0", b"1h", b"g", b"1.0", b"1,1", b"\xb9", b"\xa01", b"1\x00",
     b"1\x0b",
     b"00000000000000001", b"10000000000000001"],
)  # fmt: skip
def test_7_1_a_chunk_size_is_one_to_sixteen_hex_digits_and_nothing_else(size: bytes) -> None:
    assert body_status_of(size + b"\r\nx\r\n" + END) == 400


@pytest.mark.parametrize("size", [b"8000000000000000", b"ffffffffffffffff", b"FFFFFFFFFFFFFFFE"])
def test_7_1_a_chunk_size_beyond_63_bits_is_refused(size: bytes) -> None:
    assert body_status_of(size + b"\r\n", limit_request_body=2**63 - 1) == 400


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"1\nx\r\n" + END, id="size line ends in LF"),
        pytest.param(b"1\rx\r\n" + END, id="size line ends in CR"),
        pytest.param(b"1\r\r\nx\r\n" + END, id="size line ends in CR CRLF"),
        pytest.param(b"1\r\nx\n" + END, id="data ends in LF"),
        pytest.param(b"1\r\nx\r" + END, id="data ends in CR"),
        pytest.param(b"1\r\nx" + END, id="data without an end"),
        pytest.param(b"1\r\nxy\r\n" + END, id="data longer than its size"),
        pytest.param(b"2\r\nx\r\n" + END, id="data shorter than its size"),
        pytest.param(b"1\r\nx\r\n\r\n" + END, id="an empty line between chunks"),
        pytest.param(b"0\n\n", id="last chunk ends in LF"),
        pytest.param(b"0\r\n\n", id="trailer section ends in LF"),
        pytest.param(b"0\r\n\rX", id="trailer section ends in CR"),
        pytest.param(b"0\r\n\0\r\n", id="NUL in the trailer section"),
        pytest.param(b"1;a\nx\r\n" + END, id="extension ends in LF"),
        pytest.param(b"1;a\rb\r\nx\r\n" + END, id="bare CR in an extension"),
        pytest.param(b'1;a="\n"\r\nx\r\n' + END, id="LF in a quoted extension"),
        pytest.param(b'1;a="\r\n"\r\nx\r\n' + END, id="CRLF in a quoted extension"),
        pytest.param(b'1;a="\\\r\n"\r\nx\r\n' + END, id="an escaped CR in a quoted extension"),
        pytest.param(b"1;a=\0\r\nx\r\n" + END, id="NUL in an extension"),
    ],
)
def test_7_1_every_line_and_every_chunk_ends_in_exactly_crlf(data: bytes) -> None:
    assert body_status_of(data) == 400


@pytest.mark.parametrize("data", [b"5\r\nhello\r\n0\r\nX: y\r\n\r\n", b"5;a=b\r\nhello\r\n" + END])
def test_8_a_body_is_complete_only_with_its_very_last_byte(data: bytes) -> None:
    for size in range(len(data)):
        assert body_of(data[:size])[1] is False
    assert body_of(data) == (b"hello", True, 0)


@pytest.mark.parametrize(
    "extension",
    [b";a", b";a=b", b";a;b;c", b";a=b;c=d", b';a="b"', b';a=""', b';a="b c;=\\"\\\\";d', b";!#$%&'*+-.^_`|~09=x",
     b";a = b", b"; a ;b",
     b';\ta\t=\t"b"\t;\tc', b';a="\x80\xff"'],
)  # fmt: skip
def test_7_1_1_extensions_are_checked_and_dropped(extension: bytes) -> None:
    assert body_of(b"1" + extension + b"\r\nx\r\n0" + extension + b"\r\n\r\n") == (b"x", True, 0)


@pytest.mark.parametrize(
    "extension",
    [b";", b";;", b";a;", b";=", b";=b", b";a=", b";a=;b", b";a==b", b";a=b=c", b";a b", b";a=b c", b";a ", b";a=b ",
     b'; ', b';"a"',
     b';a="b', b';a="b"c', b';a="b"=c', b';a=b"c"', b";a,b", b";a=(b)", b" ;a", b";\xe9", b";a=\xe9", b';a="\x7f"',
     b';a="\x01"'],
)  # fmt: skip
def test_7_1_1_a_malformed_extension_is_refused(extension: bytes) -> None:
    assert body_status_of(b"1" + extension + b"\r\nx\r\n" + END) == 400


def test_7_1_1_extensions_are_capped_over_the_whole_message() -> None:
    chunks = b"1;ab\r\nx\r\n" * 4
    assert body_status_of(chunks + END, limit_chunk_extensions=12) == 200
    assert body_status_of(chunks + END, limit_chunk_extensions=11) == 400
    assert body_status_of(b"1;a\r\n", limit_chunk_extensions=0) == 400


@pytest.mark.parametrize(
    "trailers", [b"X: y\r\n", b"X:\r\n", b"X: a\tb \xff\r\nY:z\r\n", b"Server-Timing: a\r\n", b"X_Y: z\r\n"]
)
def test_7_1_2_trailers_are_checked_and_dropped(trailers: bytes) -> None:
    assert body_of(b"1\r\nx\r\n0\r\n" + trailers + b"\r\n") == (b"x", True, 0)


@pytest.mark.parametrize(
    "trailer",
    [b": y\r\n", b"X : y\r\n", b"X\r\n", b" X: y\r\n", b"X: y\r\n z\r\n", b"X: y\n", b"X: \0\r\n", b"X: a\rb\r\n",
     b"X\xe9: y\r\n", b"X: \x7f\r\n"],
)  # fmt: skip
def test_7_1_2_a_malformed_trailer_is_refused(trailer: bytes) -> None:
    assert body_status_of(b"0\r\n" + trailer + b"\r\n") == 400


@pytest.mark.parametrize(
    "name",
    [b"Content-Length", b"Transfer-Encoding", b"TRANSFER-ENCODING", b"Host", b"Connection", b"Trailer",
     b"Authorization", b"Cookie",
     b"X-Forwarded-For", b"Forwarded", b"Content-Type", b"Expect", b"Proxy"],
)  # fmt: skip
def test_9110_6_5_1_framing_routing_and_authentication_are_refused_in_trailers(name: bytes) -> None:
    assert body_status_of(b"0\r\n" + name + b": 5\r\n\r\n") == 400
    assert body_status_of(b"0\r\nX" + name + b": 5\r\n\r\n") == 200


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
