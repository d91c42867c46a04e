"""green/hello.pyx: a ClientHello in every division, and what is none (RFC 8446 4, 5.1)."""

from __future__ import annotations

import ssl

import pytest

from greenhttp.green.hello import look_at

MOST = 32768


def record(data: bytes, kind: int = 22, version: bytes = b"\3\1") -> bytes:
    return bytes([kind]) + version + len(data).to_bytes(2, "big") + data


def message(size: int, kind: int = 1) -> bytes:
    return bytes([kind]) + size.to_bytes(3, "big") + bytes(size)


def in_records(data: bytes, size: int) -> bytes:
    return b"".join(record(data[at : at + size]) for at in range(0, len(data), size))


def first_flight() -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="example.com")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 100, 16384])
def test_it_is_whole_with_its_last_byte(size: int) -> None:
    hello = in_records(first_flight()[5:], size)
    assert [look_at(hello[:at]) for at in range(len(hello))] == [False] * len(hello)
    assert look_at(hello) is True
    assert look_at(hello + record(b"\1", 20)) is True  # what comes behind it is not for us


@pytest.mark.parametrize("size", [0, 1, MOST - 4])
def test_of_any_size_that_is_allowed(size: int) -> None:
    assert look_at(in_records(message(size), 16384)) is True
    assert look_at(in_records(message(size), 16384)[:-1]) is False


# what comes -> the alert, and the words
WRONG = {
    record(message(MOST - 3)[:16384]): (47, "its ClientHello is longer than 32 KiB"),
    in_records(message(MOST - 3)[:4], 1): (47, "its ClientHello is longer than 32 KiB"),
    record(b"\1\xff\xff\xff"): (47, "its ClientHello is longer than 32 KiB"),
    in_records(message(20_000), 1)[:65538]: (47, "its ClientHello comes in too many records"),
    record(b""): (10, "a record of its ClientHello is empty"),
    record(b"\1") + record(b""): (10, "a record of its ClientHello is empty"),
    b"\x16\3\1\x40\1": (22, "a record of its ClientHello is too long"),
    b"\x16\2": (70, "this is no version of TLS"),
    b"\x16\xff\xff\xff\xff": (70, "this is no version of TLS"),
    record(b"\2"): (10, "its first message is no ClientHello"),
    record(message(38, 2)): (10, "its first message is no ClientHello"),
    record(b"\1\0") + b"\x14": (10, "something else came than its ClientHello"),
    record(b"\1\0") + record(b"\2\x50", 21): (10, "something else came than its ClientHello"),
}


@pytest.mark.parametrize(("data", "verdict"), WRONG.items(), ids=[str(number) for number in range(len(WRONG))])
def test_what_cannot_become_one_is_refused(data: bytes, verdict: tuple[int, str]) -> None:
    assert look_at(data) == verdict


def test_it_is_refused_as_soon_as_that_is_known() -> None:
    assert look_at(b"\x16\3\1\0\x64\1\0\x7f") is False
    assert look_at(b"\x16\3\1\0\x64\1\0\x7f\xfd") == (47, "its ClientHello is longer than 32 KiB")
    assert look_at(b"\x16\3\1\0\x64\1\0\x7f\xfc") is False
