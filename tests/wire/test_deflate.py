"""wire/deflate.pyx in wire/websocket.pyx: permessage-deflate. Names of tests say the sections of RFC 7692."""

from __future__ import annotations

import random
import tracemalloc
import zlib
from itertools import product

import pytest

from greenhttp.wire import deflate
from greenhttp.wire.handshake import Deflate
from greenhttp.wire.websocket import Codec, Event, Opcode, closing, frame
from tests.wire.test_websocket import MASK, events, failure, sent

TEXT, BINARY, CONTINUATION, CLOSE = Opcode.OP_TEXT, Opcode.OP_BINARY, Opcode.OP_CONTINUATION, Opcode.OP_CLOSE
SHARED, TAKEOVER = Deflate(), Deflate(12, 12, True, True)


def other_end(agreed: Deflate) -> Deflate:
    return Deflate(agreed.in_bits, agreed.out_bits, agreed.in_takeover, agreed.out_takeover)


def deflated(data: bytes, *, mode: int = zlib.Z_SYNC_FLUSH) -> bytes:
    stream = zlib.compressobj(6, zlib.DEFLATED, -15)
    out = stream.compress(data) + stream.flush(mode)
    return out[:-4] if mode == zlib.Z_SYNC_FLUSH else out


def compressed(opcode: int, data: bytes) -> bytes:
    return sent(opcode, data, compressed=True)


def test_a_zlib_is_found() -> None:
    assert deflate.available()


def test_7_2_3_the_examples() -> None:
    for payload in ("f248cdc9c90700", "f348cdc9c9070000", "000500faff48656c6c6f00", "f24805000000ffffcac9c90700"):
        assert events(compressed(TEXT, bytes.fromhex(payload)), compression=SHARED) == [("TEXT", "Hello")]
    first, again = bytes.fromhex("f248cdc9c90700"), bytes.fromhex("f200110000")
    assert events(compressed(TEXT, first) + compressed(TEXT, again), compression=TAKEOVER) == [("TEXT", "Hello")] * 2
    assert events(compressed(BINARY, b"\0"), compression=SHARED) == [("BINARY", b"")]


def test_7_2_3_1_fragments_have_the_bit_once() -> None:
    payload = deflated(b"Hello, Hello, Hello")
    data = (
        sent(TEXT, payload[:3], compressed=True, last=False) + sent(Opcode.OP_PING, b"1")
        + sent(CONTINUATION, last=False) + sent(CONTINUATION, payload[3:])
    )  # fmt: skip
    assert events(data, compression=SHARED) == [("PING", b"1"), ("TEXT", "Hello, Hello, Hello")]
    first = sent(TEXT, payload[:3], compressed=True, last=False)
    assert failure(first + b"\xc0", compression=SHARED) == 1002
    for opcode in (Opcode.OP_PING, Opcode.OP_PONG, CLOSE):
        assert failure(bytes((0xC0 | opcode,)), compression=SHARED) == 1002
    assert failure(b"\xe1", compression=SHARED) == 1002


def test_messages_that_are_not_compressed_are_read_between_others() -> None:
    data = compressed(TEXT, deflated(b"one")) + sent(TEXT, b"two") + compressed(BINARY, deflated(b"three"))
    assert events(data, compression=SHARED) == [("TEXT", "one"), ("TEXT", "two"), ("BINARY", b"three")]


AGREEMENTS = [
    *[Deflate(out, into, a, b) for out, into, a, b in product((9, 12, 15), (9, 15), (False, True), (False, True))],
    Deflate(10, 8, True, True),
]


@pytest.mark.parametrize("agreed", AGREEMENTS, ids=str)
def test_both_ends_understand_each_other(agreed: Deflate) -> None:
    server, client = Codec(compression=agreed), Codec(client=True, compression=other_end(agreed)._replace(
        out_bits=max(9, agreed.in_bits)))  # fmt: skip
    chance = random.Random(1)
    if agreed.in_bits == 8:
        client = Codec(client=True)  # zlib cannot write with so small a window
    for size in (0, 1, 15, 16, 63, 64, 200, 5000, 70_000, 300_000):
        for data in (b"x" * size, chance.randbytes(size), "aé€😀 ".encode() * (size // 11)):
            opcode = BINARY if data[1:2] != "é".encode()[:1] else TEXT
            want = (Event(opcode), data if opcode == BINARY else data.decode())
            payload, smaller = server.outgoing(data)
            if agreed.in_bits > 8:
                assert client.receive(frame(opcode, payload, compressed=smaller)) == [want]
            payload, smaller = client.outgoing(data)
            assert server.receive(frame(opcode, payload, mask=MASK, compressed=smaller)) == [want]


def test_7_1_1_without_takeover_no_message_refers_to_another_one() -> None:
    codec = Codec(compression=SHARED)
    payloads = [codec.outgoing(b"Hello, world! " * 9) for _ in range(3)]
    assert len(set(payloads)) == 1
    assert len({Codec(compression=SHARED).outgoing(b"Hello, world! " * 9) for _ in range(3)} | set(payloads)) == 1
    assert zlib.decompressobj(-15).decompress(payloads[0][0] + b"\0\0\xff\xff") == b"Hello, world! " * 9


def test_7_1_1_with_takeover_it_does() -> None:
    codec = Codec(compression=TAKEOVER)
    sizes = [len(codec.outgoing(random.Random(1).randbytes(500))[0]) for _ in range(2)]
    assert sizes[0] > 500 > 20 > sizes[1]


def test_7_1_2_windows_are_kept() -> None:
    noise = random.Random(1).randbytes(400)
    data = noise + bytes(700) + noise  # of which a window of 512 bytes knows nothing
    narrow, wide = (len(Codec(compression=Deflate(bits)).outgoing(data)[0]) for bits in (9, 15))
    assert narrow > 800 > 500 > wide
    payload, _ = Codec(compression=Deflate(9)).outgoing(data)
    assert zlib.decompressobj(-9).decompress(payload + b"\0\0\xff\xff") == data


def test_small_messages_and_those_that_do_not_become_smaller_go_out_as_they_are() -> None:
    shared, takeover = Codec(compression=SHARED), Codec(compression=TAKEOVER)
    assert shared.outgoing(b"x" * 63) == (b"x" * 63, False)
    assert shared.outgoing(b"x" * 64)[1]
    assert takeover.outgoing(b"x" * 15) == (b"x" * 15, False)
    assert takeover.outgoing(b"x" * 16)[1]
    noise = random.Random(1).randbytes(1000)
    assert shared.outgoing(noise) == (noise, False)
    assert takeover.outgoing(noise)[1]  # it is in the window now: the peer has to have it


# ---- what is refused


def test_it_fails_at_what_cannot_be_inflated() -> None:
    assert failure(compressed(TEXT, b"\x07")[:7], compression=SHARED) == 1007  # the block type that is reserved
    far = zlib.compressobj(6, zlib.DEFLATED, -15, zdict=b"Hello, world, and all that")
    assert events(
        compressed(TEXT, far.compress(b"Hello, world, and all that") + far.flush(zlib.Z_SYNC_FLUSH)), compression=SHARED
    ) == [("FAILED", 1007)]


@pytest.mark.parametrize("cut", range(1, 12))
def test_7_2_2_a_message_ends_between_two_blocks(cut: int) -> None:
    payload = deflated(b"Hello, Hello, and hello")
    assert events(compressed(TEXT, payload[:-cut]), compression=SHARED)[-1] == ("FAILED", 1007)
    assert failure(compressed(TEXT, b""), compression=SHARED) == 1007


def test_7_2_3_4_blocks_that_are_the_last() -> None:
    one = deflated(b"Hello", mode=zlib.Z_FINISH)
    assert events(compressed(TEXT, one * 3 + b"\0"), compression=SHARED) == [("TEXT", "Hello" * 3)]
    assert events(compressed(BINARY, b"\x03\x00" * 16 + b"\0"), compression=SHARED) == [("BINARY", b"")]
    assert failure(compressed(BINARY, b"\x03\x00" * 17), compression=SHARED) == 1007  # each costs time
    many = compressed(BINARY, b"\x03\x00" * 16 + b"\0")
    assert events(many * 2, compression=TAKEOVER) == [("BINARY", b"")] * 2
    later = zlib.compressobj(6, zlib.DEFLATED, -15, zdict=b"Hello, my window")
    refers = later.compress(b"Hello, my window") + later.flush(zlib.Z_SYNC_FLUSH)
    first = deflated(b"Hello, my window", mode=zlib.Z_FINISH)
    assert events(compressed(TEXT, first + refers[:-4]), compression=SHARED) == [("TEXT", "Hello, my window" * 2)]


def test_text_is_checked_as_it_is_inflated() -> None:
    payload = deflated(b"a" * 1000 + b"\xff" + random.Random(1).randbytes(5000))
    assert events(sent(TEXT, payload, compressed=True), compression=SHARED) == [("FAILED", 1007)]
    codec = Codec(compression=SHARED)
    assert codec.receive(sent(TEXT, payload, compressed=True)[:600])[0][0] == Event.FAILED
    assert events(compressed(TEXT, deflated(b"\xe2\x82")), compression=SHARED) == [("FAILED", 1007)]


def test_a_bomb_ends_at_the_limit() -> None:
    bomb = deflated(bytes(100 << 20))
    codec = Codec(compression=SHARED, max_message=1 << 20)
    tracemalloc.start()
    try:
        ((event, (code, reason)),) = codec.receive(sent(BINARY, bomb, compressed=True))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (event, code, reason) == (Event.FAILED, 1009, "a message of more than 1048576 bytes")
    assert most < 2 * len(bomb) + 3 * (1 << 20)


@pytest.mark.parametrize("agreed", [SHARED, TAKEOVER], ids=["shared", "takeover"])
def test_the_limit_counts_what_is_inflated(agreed: Deflate) -> None:
    exact, beyond = deflated(b"a" * 1000), deflated(b"a" * 1001)
    assert events(compressed(TEXT, exact), compression=agreed, max_message=1000) == [("TEXT", "a" * 1000)]
    assert events(compressed(TEXT, beyond), compression=agreed, max_message=1000) == [("FAILED", 1009)]
    noise = random.Random(1).randbytes(100)  # stored: more bytes on the wire than in the message
    larger = compressed(BINARY, deflated(noise))
    assert events(larger, compression=agreed, max_message=100) == [("BINARY", noise)]


# ---- what it costs


def test_without_takeover_sockets_have_no_state_of_their_own() -> None:
    codecs = [Codec(compression=SHARED) for _ in range(50)]
    first = codecs[0]
    payload, _ = first.outgoing(b"Hello " * 100)
    data = sent(BINARY, payload, compressed=True)
    first.receive(data)
    before = deflate.memory()
    for codec in codecs:
        assert codec.outgoing(b"Hello " * 100) == (payload, True)
        assert codec.receive(data) == [(Event.BINARY, b"Hello " * 100)]
    assert deflate.memory() == before


def test_messages_without_takeover_are_read_side_by_side() -> None:
    texts = [random.Random(i).randbytes(3000).hex().encode() for i in range(6)]
    codecs = [Codec(compression=SHARED) for _ in texts]
    frames = [sent(BINARY, deflated(text), compressed=True) for text in texts]
    before = deflate.memory()
    found = [[] for _ in texts]
    for at in range(0, max(map(len, frames)), 100):
        for codec, data, events_ in zip(codecs, frames, found, strict=True):
            events_ += codec.receive(data[at : at + 100])
    assert found == [[(Event.BINARY, text)] for text in texts]
    assert deflate.memory() <= before + 2 * 40_000, "inflaters are kept that nobody uses"


def test_with_takeover_state_is_made_when_it_is_needed_and_is_small() -> None:
    before = deflate.memory()
    server, client = Codec(compression=TAKEOVER), Codec(client=True, compression=TAKEOVER)
    assert deflate.memory() == before
    payload, smaller = server.outgoing(b"Hello " * 100)
    assert deflate.memory() - before < 40_000
    client.receive(frame(BINARY, payload, compressed=smaller))
    assert deflate.memory() - before < 52_000
    del server, client
    assert deflate.memory() == before


def test_an_inflater_comes_back_from_a_message_that_fails_or_is_given_up() -> None:
    half = sent(BINARY, deflated(random.Random(1).randbytes(5000)), compressed=True)[:3000]
    Codec(compression=SHARED).receive(half)
    before = deflate.memory()
    for end in (sent(TEXT, b"x"), sent(CLOSE, closing(1000)), b""):
        for _ in range(5):
            codec = Codec(compression=SHARED)
            codec.receive(half[: len(half) if end == b"" else 3000])
            codec.receive(end)
            del codec
    assert deflate.memory() <= before + 2 * 40_000
    good = sent(BINARY, deflated(b"Hello"), compressed=True)
    assert Codec(compression=SHARED).receive(good) == [(Event.BINARY, b"Hello")]


def test_windows_that_cannot_be_made_are_refused() -> None:
    for bits in ((8, 15), (16, 15), (15, 7), (15, 16)):
        with pytest.raises(ValueError, match="a window has 9 to 15 bits, 8 to 15 to receive"):
            deflate.Compression(*bits)
    for kind in (deflate.Inflater, deflate.Deflater):
        with pytest.raises(TypeError, match="made by a Compression only"):
            kind()
