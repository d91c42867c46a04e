"""RFC 9112 section 5 and RFC 9110 section 5: field lines. Contract rules 2, 4, 14 and 21."""

from __future__ import annotations

import pytest

from greenhttp.wire.head import Head
from tests.wire.feeding import head_of, request, status_of


@pytest.mark.parametrize("position", [0, 1, 7, 8, 15, 20])
@pytest.mark.parametrize("bad", [b for b in range(0x20) if b not in (0x09, 0x0A)] + [0x7F], ids=hex)
def test_9110_5_5_a_control_byte_anywhere_in_a_value_is_refused(bad: int, position: int) -> None:
    value = bytearray(b"v" * 21)
    value[position] = bad
    head = Head()
    with pytest.raises(Exception, match="400"):
        head.feed(request(b"GET / HTTP/1.1", b"A: " + bytes(value)))


def test_9110_5_5_every_other_byte_is_kept_at_every_position() -> None:
    good = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
    for shift in range(1, 10):
        head = Head()
        head.feed(request(b"GET / HTTP/1.1", b"A: " + b"v" * shift + good))
        assert head.get("a") == "v" * shift + good.decode("latin-1")


@pytest.mark.parametrize(
    ("name", "lines", "value"),
    [
        pytest.param("Accept", [b"Accept: a", b"X: y", b"accept: b"], "a, b", id="joined with a comma"),
        pytest.param("COOKIE", [b"Cookie: a=1", b"cookie: b=2"], "a=1; b=2", id="cookies with a semicolon"),
        pytest.param("X", [b"X: a", b"x:", b"X: c"], "a, , c", id="empty values count"),
        pytest.param("X", [b"XX: a"], None, id="not a prefix"),
        pytest.param("content-type", [], None, id="absent"),
        pytest.param("X\u0142", [b"X: a"], None, id="a name that cannot be"),
    ],
)
def test_9110_5_3_repeated_fields_join(name: str, lines: list[bytes], value: str | None) -> None:
    head = Head()
    head.feed(request(b"GET / HTTP/1.1", *lines))
    assert head.get(name) == value
    assert head.get(name, "d") == ("d" if value is None else value)


@pytest.mark.parametrize("name", ["X_A", "_", "Content_Length", "a-b_c", "Proxy", "PROXY", "proxy"])
def test_rule_14_names_with_underscore_and_proxy_are_dropped_unless_allowed(name: str) -> None:
    data = request(b"GET / HTTP/1.1", name.encode() + b": 5", b"B: 6")
    dropped: set[str] = set()
    assert [field[0] for field in head_of(data, dropped=dropped)["fields"]] == ["Host", "B"]
    assert dropped == {name.lower()}
    allowed = head_of(data, allow_names=frozenset({name.lower()}), dropped=dropped)
    assert [field[0] for field in allowed["fields"]] == ["Host", name, "B"]
    assert allowed["content_length"] == -1


def test_rule_14_a_dropped_field_is_still_checked_and_counted() -> None:
    assert status_of(request(b"GET / HTTP/1.1", b"A_B: \x01")) == 400
    assert status_of(request(b"GET / HTTP/1.1", b"A_B: c"), limit_request_fields=1) == 431
    assert status_of(request(b"GET / HTTP/1.1", b"Proxy: c"), limit_request_fields=1) == 431


def test_rule_14_the_set_of_dropped_names_is_bounded() -> None:
    dropped: set[str] = set()
    for i in range(40):
        Head(dropped=dropped).feed(request(b"GET / HTTP/1.1", b"_%d: a" % i, b"_" * 65 + b": a"))
    assert len(dropped) == 32
    assert max(map(len, dropped)) <= 64


@pytest.mark.parametrize(
    ("version", "lines", "upgrade"),
    [
        (b"1.1", [b"Connection: Upgrade", b"Upgrade: websocket"], True),
        (b"1.1", [b"Connection: keep-alive, upgrade", b"Upgrade: websocket"], True),
        (b"1.1", [b"Upgrade: websocket"], False),
        (b"1.1", [b"Connection: upgraded", b"Upgrade: websocket"], False),
        (b"1.0", [b"Connection: upgrade", b"Upgrade: websocket"], False),
    ],
)
def test_9110_7_8_upgrade_counts_when_connection_names_it_and_never_on_1_0(
    version: bytes, lines: list[bytes], upgrade: bool
) -> None:
    assert head_of(request(b"GET / HTTP/" + version, *lines))["has_connection_upgrade"] is upgrade
