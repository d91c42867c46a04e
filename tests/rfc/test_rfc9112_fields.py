"""RFC 9112 section 5 and RFC 9110 section 5: field lines. Contract rules 2, 4, 14 and 21."""

from __future__ import annotations

import pytest

from greenhttp.wire.head import Head
from tests.wire.feeding import head_of, request, status_of


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (b"A: b", ("A", "b")),
        (b"A:b", ("A", "b")),
        (b"A:", ("A", "")),
        (b"A: ", ("A", "")),
        (b"A: \t \t", ("A", "")),
        (b"A: \tb\t ", ("A", "b")),
        (b"A: b c", ("A", "b c")),
        (b"A: b\tc", ("A", "b\tc")),
        (b"A: b\t\t\t\t\t\t\t\tc", ("A", "b\t\t\t\t\t\t\t\tc")),
        (b"A: b:c", ("A", "b:c")),
        (b"A: \x80\xff", ("A", "\x80\xff")),
        (b"A: \xa0b\x85", ("A", "\xa0b\x85")),
        (b"!#$%&'*+-.^`|~09aZ: b", ("!#$%&'*+-.^`|~09aZ", "b")),
        (b"x-MiXeD: Q", ("x-MiXeD", "Q")),
    ],
)
def test_5_a_value_is_trimmed_of_sp_and_htab_only(line: bytes, field: tuple[str, str]) -> None:
    assert head_of(request(b"GET / HTTP/1.1", line))["fields"][1] == field


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b": b", id="an empty name"),
        pytest.param(b"A : b", id="SP before the colon"),
        pytest.param(b"A\t: b", id="HTAB before the colon"),
        pytest.param(b"A\x0b: b", id="VT before the colon"),
        pytest.param(b"A\xa0: b", id="NBSP before the colon"),
        pytest.param(b" A: b", id="SP before the name"),
        pytest.param(b"A B: c", id="SP in the name"),
        pytest.param(b"A", id="no colon"),
        pytest.param(b"A(b): c", id="a delimiter in the name"),
        pytest.param(b"A\x00b: c", id="NUL in the name"),
        pytest.param(b"A\x7fb: c", id="DEL in the name"),
        pytest.param(b"A\xe9: c", id="obs-text in the name"),
        pytest.param(b"Host\r: c", id="CR in the name"),
        pytest.param(b"A\rb: c", id="CR where a dash would be"),
    ],
)
def test_5_1_a_field_name_is_a_token_and_touches_its_colon(line: bytes) -> None:
    assert status_of(request(b"GET / HTTP/1.1", line)) == 400


@pytest.mark.parametrize("fold", [b"\r\n b", b"\r\n\tb", b"\r\n "])
def test_5_2_a_folded_line_is_refused(fold: bytes) -> None:
    assert status_of(request(b"GET / HTTP/1.1", b"A: a" + fold)) == 400
    assert status_of(b"GET / HTTP/1.1" + fold + b"\r\n" + request()) == 400


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
    ("version", "lines", "keep"),
    [
        (b"1.1", [], True),
        (b"1.1", [b"Connection: keep-alive"], True),
        (b"1.1", [b"Connection: close"], False),
        (b"1.1", [b"Connection: CLOSE"], False),
        (b"1.1", [b"Connection: keep-alive, close"], False),
        (b"1.1", [b"Connection: close, keep-alive"], False),
        (b"1.1", [b"Connection: a ,\t Close\t, b"], False),
        (b"1.1", [b"Connection: ,,close,"], False),
        (b"1.1", [b"Connection: close", b"Connection: keep-alive"], False),
        (b"1.1", [b"Connection: keep-alive", b"X: y", b"connection: close"], False),
        (b"1.1", [b"Connection: closed"], True),
        (b"1.1", [b"Connection: not-close"], True),
        (b"1.1", [b"Connection:"], True),
        (b"1.1", [b"X-Connection: close"], True),
        (b"1.0", [], False),
        (b"1.0", [b"Connection: keep-alive"], True),
        (b"1.0", [b"Connection: Keep-Alive"], True),
        (b"1.0", [b"Connection: keep-alive, close"], False),
        (b"1.0", [b"Connection: upgrade"], False),
        (b"1.0", [b"Keep-Alive: timeout=5"], False),
    ],
)
def test_9_3_close_anywhere_in_connection_wins_and_1_0_must_ask_to_keep(
    version: bytes, lines: list[bytes], keep: bool
) -> None:
    assert head_of(request(b"GET / HTTP/" + version, *lines))["keep_alive"] is keep


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
