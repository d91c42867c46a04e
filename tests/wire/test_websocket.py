"""wire/websocket.pyx: frames, messages and close codes. Names of tests say the sections of RFC 6455."""

from __future__ import annotations

import random
import sys
import tracemalloc
from typing import Any

import pytest

from greenhttp.testing import every_split
from greenhttp.wire.handshake import Deflate
from greenhttp.wire.websocket import Codec, Event, Opcode, closing, frame

TEXT, BINARY, CONTINUATION = Opcode.OP_TEXT, Opcode.OP_BINARY, Opcode.OP_CONTINUATION
PING, PONG, CLOSE = Opcode.OP_PING, Opcode.OP_PONG, Opcode.OP_CLOSE
MASK = b"\x37\xfa\x21\x3d"


def sent(opcode: int, payload: bytes = b"", **how: Any) -> bytes:
    """A frame of a client."""
    return frame(opcode, payload, **{"mask": MASK, **how})


def events(data: bytes, **settings: Any) -> list[tuple[str, Any]]:
    """All that comes of the data, the same for every split. Of a failure its code alone, CLOSE with its reason."""
    results = []
    for pieces in every_split(data):
        codec = Codec(**settings)
        found = [event for piece in pieces for event in codec.receive(piece)]
        results.append([(e.name, v[0] if e == Event.FAILED else v) for e, v in found])
    assert all(result == results[0] for result in results), "the split changed the result"
    return results[0]


def failure(data: bytes, **settings: Any) -> int:
    """The code of the failure in which the data ends, and which comes at its last byte."""
    *before, (name, code) = events(data, **settings)
    assert name == "FAILED"
    assert events(data[:-1], **settings) == before, "it could have failed sooner"
    assert events(data + sent(PING) + b"\xff", **settings) == [*before, (name, code)]
    return int(code)


# ---- 5.2: heads


def test_5_7_the_examples() -> None:
    assert events(bytes.fromhex("8185 37fa213d 7f9f4d5158")) == [("TEXT", "Hello")]
    assert events(bytes.fromhex("8105 48656c6c6f"), client=True) == [("TEXT", "Hello")]
    assert events(bytes.fromhex("010348656c 80026c6f"), client=True) == [("TEXT", "Hello")]
    assert events(bytes.fromhex("8905 48656c6c6f"), client=True) == [("PING", b"Hello")]
    assert events(bytes.fromhex("8a85 37fa213d 7f9f4d5158")) == [("PONG", b"Hello")]
    assert frame(BINARY, bytes(256))[:4] == bytes.fromhex("827e 0100")
    assert frame(BINARY, bytes(65536))[:10] == bytes.fromhex("827f 0000000000010000")


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 31, 63, 125, 126, 127, 255, 256])
def test_5_2_lengths(size: int) -> None:
    payload = random.Random(size).randbytes(size)
    assert events(sent(BINARY, payload)) == [("BINARY", payload)]
    assert events(frame(BINARY, payload), client=True) == [("BINARY", payload)]


@pytest.mark.parametrize("size", [65535, 65536, 70001, 1 << 20])
@pytest.mark.parametrize("piece", [1 << 21, 16384, 1001])
def test_5_2_long_lengths(size: int, piece: int) -> None:
    payload = random.Random(size).randbytes(size)
    codec, data = Codec(), sent(BINARY, payload) + sent(TEXT, b"x" * size)
    found = [event for i in range(0, len(data), piece) for event in codec.receive(data[i : i + piece])]
    assert found == [(Event.BINARY, payload), (Event.TEXT, "x" * size)]


@pytest.mark.parametrize("bits", [0x40, 0x20, 0x10, 0x70])
def test_5_2_reserved_bits(bits: int) -> None:
    assert failure(bytes((0x81 | bits,))) == 1002


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_5_2_reserved_opcodes(opcode: int) -> None:
    assert failure(bytes((0x80 | opcode,))) == 1002


def test_5_1_masks() -> None:
    assert failure(b"\x81\x05") == 1002
    assert failure(b"\x81\x85", client=True) == 1002
    assert events(sent(BINARY, b"abcdefgh", mask=bytes(4))) == [("BINARY", b"abcdefgh")]


@pytest.mark.parametrize("head", ["82fe 0000", "82fe 007d", "82ff 0000000000000000", "82ff 000000000000ffff"])
def test_5_2_a_length_has_no_more_bytes_than_it_needs(head: str) -> None:
    assert failure(bytes.fromhex(head)) == 1002


def test_5_2_a_length_has_63_bits() -> None:
    head = bytes.fromhex("82ff 8000000000000000")
    assert failure(head, max_frame=sys.maxsize, max_message=sys.maxsize) == 1002
    with_63 = bytes.fromhex("82ff 7fffffffffffffff")
    assert failure(with_63) == 1009
    assert events(with_63 + MASK + b"abc", max_frame=sys.maxsize, max_message=sys.maxsize) == []


# ---- 5.4: fragments, 5.5: control frames


def test_5_4_fragments_and_control_frames_between_them() -> None:
    data = (
        sent(TEXT, b"a", last=False) + sent(PING, b"1") + sent(CONTINUATION, "é€".encode()[:3], last=False)
        + sent(PONG) + sent(CONTINUATION, last=False) + sent(CONTINUATION, "é€".encode()[3:]) + sent(BINARY, b"z")
    )  # fmt: skip
    assert events(data) == [("PING", b"1"), ("PONG", b""), ("TEXT", "aé€"), ("BINARY", b"z")]


def test_5_4_empty_fragments() -> None:
    for opcode, empty in ((TEXT, ""), (BINARY, b"")):
        data = sent(opcode, last=False) + sent(CONTINUATION, last=False) + sent(CONTINUATION) + sent(opcode)
        assert events(data) == [(Event(opcode).name, empty)] * 2


def test_5_4_a_continuation_needs_a_beginning() -> None:
    assert failure(b"\x80") == 1002
    assert failure(sent(TEXT, b"a") + b"\x00") == 1002
    assert failure(sent(TEXT, b"a", last=False) + sent(CONTINUATION) + b"\x80") == 1002


def test_5_4_a_message_ends_before_the_next_begins() -> None:
    assert failure(sent(TEXT, b"a", last=False) + b"\x81") == 1002
    assert failure(sent(TEXT, last=False) + sent(PING) + b"\x02") == 1002


def test_5_5_control_frames_are_short_and_whole() -> None:
    longest = bytes(range(125))
    assert events(sent(PING, longest) + sent(PONG, longest)) == [("PING", longest), ("PONG", longest)]
    for opcode in (PING, PONG, CLOSE):
        assert failure(bytes((opcode,))) == 1002
        assert failure(bytes((0x80 | opcode, 0x80 | 126))) == 1002
        assert failure(bytes((0x80 | opcode, 0x80 | 127))) == 1002


# ---- 5.5.1, 7.4: closing

GOOD_CODES = [*range(1000, 1004), *range(1007, 1015), 3000, 3999, 4000, 4999]
BAD_CODES = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]


@pytest.mark.parametrize("code", GOOD_CODES)
def test_7_4_codes_that_may_be_sent(code: int) -> None:
    assert closing(code, "é") == code.to_bytes(2, "big") + "é".encode()
    assert events(sent(CLOSE, closing(code, "é"))) == [("CLOSE", (code, "é"))]


@pytest.mark.parametrize("code", BAD_CODES)
def test_7_4_codes_that_may_not_be_sent(code: int) -> None:
    assert failure(sent(CLOSE, code.to_bytes(2, "big"))) == 1002
    with pytest.raises(ValueError, match=f"the close code {code} may not be sent"):
        closing(code)


def test_7_1_5_without_a_code_it_is_1005() -> None:
    assert events(sent(CLOSE)) == [("CLOSE", (1005, ""))]


def test_5_5_1_a_payload_of_one_byte() -> None:
    for byte in (b"\x03", b"\x0f"):  # the second would be a good code with a zero behind it
        assert failure(sent(CLOSE, byte)) == 1002


def test_5_5_1_a_reason_is_utf8_and_has_at_most_123_bytes() -> None:
    assert events(sent(CLOSE, closing(1000, "x" * 123))) == [("CLOSE", (1000, "x" * 123))]
    assert failure(sent(CLOSE, b"\x03\xe8" + "é".encode()[:1])) == 1007
    with pytest.raises(ValueError, match="the reason has 124 bytes; a close frame has room for 123"):
        closing(1000, "x" * 122 + "é")


def test_5_5_1_nothing_is_read_behind_a_close() -> None:
    assert events(sent(CLOSE, closing(1001)) + sent(TEXT, b"x") + b"\xff") == [("CLOSE", (1001, ""))]
    inside = sent(TEXT, b"a", last=False) + sent(CLOSE)
    assert events(inside + sent(CONTINUATION, b"b")) == [("CLOSE", (1005, ""))]


# ---- 8.1: UTF-8, RFC 3629

BORDERS = "\0\x7f\x80\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff"
GOOD_TEXTS = ["a" * 40, "é", BORDERS, "aé" * 20, "€" * 15, "😀" * 9 + "a"]
BAD_TEXTS = [
    b"\x80", b"\xbf", b"\xc0", b"\xc1", b"\xc2\x41", b"\xe0\x9f", b"\xe0\xa0\x7f", b"\xed\xa0", b"\xef\xbf\xc0",
    b"\xf0\x8f", b"\xf0\x90\x80\x00", b"\xf4\x90", b"\xf5", b"\xff", b"\xe2\x28", b"\xe2\x82\x28",
]  # fmt: skip


@pytest.mark.parametrize("text", GOOD_TEXTS)
def test_8_1_good_text(text: str) -> None:
    payload = text.encode()
    assert events(sent(TEXT, payload)) == [("TEXT", text)]
    for cut in range(len(payload)):
        assert events(sent(TEXT, payload[:cut], last=False) + sent(CONTINUATION, payload[cut:])) == [("TEXT", text)]


@pytest.mark.parametrize("bad", BAD_TEXTS)
@pytest.mark.parametrize("before", ["", "abc", "a" * 31, "a" * 64, "é€"])
def test_8_1_it_fails_at_the_first_bad_byte(bad: bytes, before: str) -> None:
    text = before.encode() + bad
    whole = sent(TEXT, text + b"more and more")
    head = len(whole) - len(text) - 13
    assert events(whole) == [("FAILED", 1007)]
    assert failure(whole[: head + len(text)]) == 1007
    assert failure(sent(TEXT, text[:-1], last=False) + sent(CONTINUATION, bad[-1:] + b"x")[:7]) == 1007


@pytest.mark.parametrize("half", [b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98"])
def test_8_1_text_does_not_end_in_the_middle_of_a_character(half: bytes) -> None:
    assert failure(sent(TEXT, b"abc" + half)) == 1007
    assert events(sent(TEXT, b"abc" + half, last=False)) == []
    assert failure(sent(TEXT, half, last=False) + sent(CONTINUATION)) == 1007


def test_binary_is_not_looked_at() -> None:
    data = sent(BINARY, b"\xff" * 9, last=False) + sent(CONTINUATION, b"\xfe")
    assert events(data) == [("BINARY", b"\xff" * 9 + b"\xfe")]


# ---- limits


def test_10_4_a_frame_and_a_message_have_limits() -> None:
    limits = {"max_frame": 200, "max_message": 300}
    assert events(sent(BINARY, bytes(200)), **limits) == [("BINARY", bytes(200))]
    assert failure(b"\x82\xfe\x00\xc9", **limits) == 1009
    assert failure(b"\x82\xb3", max_frame=50) == 1009
    part = sent(BINARY, bytes(200), last=False)
    assert events(part + sent(CONTINUATION, bytes(100)), **limits) == [("BINARY", bytes(300))]
    assert failure(part + b"\x80\xe5", **limits) == 1009
    assert events(part + sent(PING, bytes(125)), **limits) == [("PING", bytes(125))]  # control frames do not count


def test_memory_grows_with_what_arrives_and_not_with_what_is_announced() -> None:
    codec = Codec()
    head = sent(BINARY, bytes(1 << 20))[:14]
    tracemalloc.start()
    try:
        codec.receive(head)
        for _ in range(10):
            codec.receive(bytes(1000))
        kept, most = tracemalloc.get_traced_memory()
        assert kept < 30_000
        for _ in range(1000):
            codec.receive(bytes(1000))
        assert len(codec.receive(bytes((1 << 20) - 1_010_000))) == 1
        assert tracemalloc.get_traced_memory()[0] < 2000, "it keeps what it has delivered"
    finally:
        tracemalloc.stop()


def test_a_codec_is_small_and_keeps_nothing_between_two_messages() -> None:
    assert sys.getsizeof(Codec()) <= 128
    codec = Codec()
    data = sent(TEXT, b"x" * 5000, last=False) + sent(PING, b"y" * 100) + sent(CONTINUATION, b"z" * 5000)
    tracemalloc.start()
    try:
        for piece in (data, *(data[i : i + 7] for i in range(0, len(data), 7))):
            codec.receive(piece)
        assert tracemalloc.get_traced_memory()[0] < 1000
    finally:
        tracemalloc.stop()
    assert codec.is_idle


def test_what_is_given_up_in_the_middle_is_freed() -> None:
    tracemalloc.start()
    try:
        for _ in range(200):
            codec = Codec()
            codec.receive(sent(TEXT, b"x" * 5000, last=False) + sent(PING, b"y" * 100)[:50])
            assert not codec.is_idle
        del codec
        assert tracemalloc.get_traced_memory()[0] < 5000
    finally:
        tracemalloc.stop()


def test_idle_is_between_two_frames_and_messages() -> None:
    codec = Codec()
    data = sent(TEXT, b"ab", last=False) + sent(CONTINUATION, b"c")
    for i, byte in enumerate(data):
        assert codec.is_idle == (i == 0)
        codec.receive(bytes((byte,)))
    assert codec.is_idle


def test_a_message_is_no_longer_than_its_own_text() -> None:
    for size in (1, 600, 5000):
        codec, payload = Codec(), b"x" * size
        data = sent(BINARY, payload[:1], last=False) + sent(CONTINUATION, payload[1:])
        ((_, message),) = [event for i in range(0, len(data), 100) for event in codec.receive(data[i : i + 100])]
        assert message == payload
        assert sys.getsizeof(message) == sys.getsizeof(bytes(size))


# ---- the writing side


def test_frames_are_written_as_they_are_read() -> None:
    for opcode in (TEXT, BINARY, PING):
        for payload in (b"", b"x" * 125, b"x" * 100):
            assert events(frame(opcode, payload), client=True) == events(frame(opcode, payload, mask=MASK))
    assert frame(TEXT, b"a", last=False)[0] == 0x01
    assert frame(TEXT, b"a", compressed=True)[0] == 0xC1
    with pytest.raises(ValueError, match="a mask has four bytes"):
        frame(TEXT, b"a", mask=b"abc")


@pytest.mark.parametrize("size", range(1, 40))
def test_5_3_masks_at_every_offset(size: int) -> None:
    payload = random.Random(size).randbytes(size)
    masked = frame(BINARY, payload, mask=MASK)
    assert masked[6:] == bytes(byte ^ MASK[i % 4] for i, byte in enumerate(payload))
    assert events(masked) == [("BINARY", payload)]


def test_without_an_agreement_nothing_is_compressed() -> None:
    assert Codec().outgoing("aé" * 100) == (("aé" * 100).encode(), False)
    assert Codec().compression is None
    assert Codec(compression=Deflate()).outgoing(b"x" * 100)[1]
