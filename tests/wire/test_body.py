"""wire/body.pyx: cost, reuse and the writing side. The rules themselves are in tests/rfc/test_rfc9112_chunked.py."""

from __future__ import annotations

import tracemalloc

import pytest

from greenhttp.errors import LimitError, WireError
from greenhttp.testing import every_split
from greenhttp.wire.body import FORBIDDEN_TRAILERS, ChunkedDecoder, chunk_head, last_chunk
from greenhttp.wire.head import KNOWN_NAMES


def test_a_hundred_thousand_tiny_chunks_keep_nothing() -> None:
    piece = b"1\r\nx\r\n" * 1000
    decoder = ChunkedDecoder()
    decoder.feed(piece)
    tracemalloc.start()
    try:
        for _ in range(100):
            assert decoder.feed(piece) == b"x" * 1000
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 10_000
    assert decoder.received == 101_000
    assert decoder.feed(last_chunk()) == b""
    assert decoder.done


def test_the_limit_holds_over_all_chunks_together() -> None:
    decoder = ChunkedDecoder(limit_request_body=10)
    assert decoder.feed(b"1\r\nx\r\n" * 10) == b"x" * 10
    with pytest.raises(LimitError, match="limit_request_body") as caught:
        decoder.feed(b"1\r\nx\r\n")
    assert caught.value.status == 413


def test_after_a_refusal_nothing_is_read_until_it_is_cleared() -> None:
    decoder = ChunkedDecoder()
    for data in (b"x", b"0\r\n\r\n", b""):
        with pytest.raises(WireError):
            decoder.feed(data)
    decoder.clear()
    assert decoder.feed(b"1\r\nx\r\n0\r\n\r\n") == b"x"
    assert decoder.done


def test_what_the_micro_benchmark_measures_is_whole_messages() -> None:
    message = b"5;a\r\nhello\r\n3\r\nyou\r\n0\r\nX: y\r\n\r\n"
    decoder = ChunkedDecoder()
    assert decoder._bench_decode(message, 7) == 7 * 8
    assert (decoder.done, decoder.received) == (True, 8)


def test_a_decoder_is_reused_without_a_trace_of_the_body_before() -> None:
    decoder = ChunkedDecoder(limit_request_body=5, limit_chunk_extensions=2, limit_trailers=4)
    for _ in range(3):
        assert decoder.feed(b"5;a\r\nhello\r\n0\r\nX:\r\n\r\nrest") == b"hello"
        assert (decoder.done, decoder.leftover, decoder.received) == (True, 4, 5)
        assert decoder.feed(b"more") == b""
        assert decoder.leftover == 8
        decoder.clear()
        assert (decoder.done, decoder.leftover, decoder.received) == (False, 0, 0)


def test_a_long_trailer_name_is_no_known_name_and_stays_within_bounds() -> None:
    decoder = ChunkedDecoder()
    decoder.feed(b"0\r\n" + b"content-length" * 100 + b": 5\r\n\r\n")
    assert decoder.done


def trailers_of(data: bytes, **limits: int) -> list[tuple[str, str]]:
    """What a decoder keeps apart, the same for every split."""
    found = []
    for pieces in every_split(data):
        decoder = ChunkedDecoder(**limits)
        for piece in pieces:
            assert decoder.trailers == []  # not before the body is complete
            decoder.feed(piece)
        assert decoder.done
        found.append(decoder.trailers)
    assert all(each == found[0] for each in found), "the split changed the trailers"
    return found[0]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (b"", []),
        (b"X: y\r\n", [("X", "y")]),
        (b"X:\r\n", [("X", "")]),
        (b"X:y:z\r\nX:z\r\nContent-Type:  a/b \t\r\n", [("X", "y:z"), ("X", "z"), ("Content-Type", "a/b")]),
        (b"x-checksum: \t a \x85\xa0\xff\x85\r\n", [("x-checksum", "a \x85\xa0\xff\x85")]),
        (b"X_Y: _\r\nProxy: p\r\n", [("X_Y", "_"), ("Proxy", "p")]),
    ],
)
def test_trailers_are_kept_as_they_were_sent(lines: bytes, expected: list[tuple[str, str]]) -> None:
    for content in (b"", b"5;a\r\nX: y\n\r\n"):
        assert trailers_of(content + b"0;b\r\n" + lines + b"\r\n") == expected


def test_what_follows_the_message_is_no_trailer() -> None:
    decoder = ChunkedDecoder()
    for _ in range(2):
        decoder.feed(b"0\r\nX: y\r\n\r\nA: b\r\n\r\n")
        decoder.feed(b"C: d\r\n\r\n")
        assert decoder.trailers == [("X", "y")]
        decoder.clear()
        assert decoder.trailers == []


def test_trailers_are_kept_up_to_their_limits_and_not_beyond() -> None:
    lines = b"X:y\r\n" * 100
    # The CR and LF that end the section are not counted.
    assert trailers_of(b"0\r\n" + lines + b"\r\n", limit_trailers=len(lines)) == [("X", "y")] * 100
    for more in (b"X:y\r\n", b"X"):
        decoder = ChunkedDecoder()
        with pytest.raises(LimitError, match="limit_trailers"):
            decoder.feed(b"0\r\n" + lines + more)
        assert decoder.trailers == []


def test_a_body_without_trailers_keeps_nothing_of_its_end() -> None:
    decoders = [ChunkedDecoder() for _ in range(200)]
    tracemalloc.start()
    try:
        for decoder in decoders:
            decoder.feed(b"0\r\n\r\n")
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 5_000  # 56 bytes each would be a bytearray
    assert all(decoder.done for decoder in decoders)


def test_only_what_frames_and_routes_a_message_is_refused_in_trailers() -> None:
    """Rule 9 of the contract; RFC 9110 6.5.1."""
    assert set(FORBIDDEN_TRAILERS) == {
        "content-length", "transfer-encoding", "trailer", "te", "connection", "host", "upgrade",
    }  # fmt: skip


@pytest.mark.parametrize("name", FORBIDDEN_TRAILERS)
def test_every_forbidden_trailer_is_refused_in_any_case(name: str) -> None:
    assert name in KNOWN_NAMES
    for spelled in (name, name.upper(), name.title()):
        with pytest.raises(WireError, match="forbidden in trailers"):
            ChunkedDecoder().feed(b"0\r\n" + spelled.encode() + b":")


@pytest.mark.parametrize("limit", ["limit_request_body", "limit_chunk_extensions", "limit_trailers"])
def test_a_negative_limit_is_refused(limit: str) -> None:
    with pytest.raises(ValueError, match="below 0"):
        ChunkedDecoder(**{limit: -1})


@pytest.mark.parametrize("size", [1, 9, 10, 15, 16, 255, 256, 4095, 65536, 2**32 - 1, 2**32, 2**63 - 1, 2**64 - 1])
def test_a_chunk_head_is_the_size_in_hex_and_crlf(size: int) -> None:
    assert chunk_head(size) == b"%x\r\n" % size


def test_what_is_written_is_read_back() -> None:
    pieces = [b"a", b"b" * 16, b"\r\n0\r\n\r\n", b"c" * 70_000]
    message = b"".join(chunk_head(len(piece)) + piece + b"\r\n" for piece in pieces) + last_chunk()
    decoder = ChunkedDecoder()
    assert decoder.feed(message) == b"".join(pieces)
    assert decoder.done


def outcome(data: bytes, step: int) -> object:
    decoder = ChunkedDecoder()
    try:
        body = b"".join([decoder.feed(data[at : at + step]) for at in range(0, len(data), step)])
    except WireError as error:
        return error.status, error.reason
    return body, decoder.done, decoder.leftover


@pytest.mark.parametrize("byte", b'\r\n\0 \t:;=",_\\0afg\x7f\x80', ids=hex)
def test_one_wrong_byte_anywhere_leads_to_the_same_end_however_it_arrives(byte: int) -> None:
    data = b'5;a="b\\"c" ; d = e\r\nhello\r\n0a\r\n0123456789\r\n000;f\r\nX: y z\r\nContent-Len: 5\r\n\r\n'
    assert outcome(data, 1) == (b"hello0123456789", True, 0)
    for at in range(len(data)):
        for end in (at, at + 1):  # inserted, and replaced
            changed = data[:at] + bytes([byte]) + data[end:]
            assert outcome(changed, 1) == outcome(changed, 3) == outcome(changed, len(changed))
