"""wire/handshake.py: the values of a WebSocket's opening handshake, RFC 6455 section 4 and RFC 7692 section 7.1."""

from __future__ import annotations

import base64

import pytest

from greenhttp.errors import WireError
from greenhttp.wire.handshake import (
    Deflate,
    accept_key,
    agreed,
    choose_protocol,
    extensions,
    negotiate,
    tokens,
    valid_key,
)


def test_6455_1_3_the_example() -> None:
    assert valid_key("dGhlIHNhbXBsZSBub25jZQ==")
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize("size", range(40))
def test_6455_4_2_1_a_key_is_sixteen_bytes(size: int) -> None:
    assert valid_key(base64.b64encode(bytes(range(size))).decode()) == (size == 16)


@pytest.mark.parametrize(
    "key",
    ["", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ==\n", " dGhlIHNhbXBsZSBub25jZQ==",
     "dGhlIHNhbXBsZSBub25j-_==", "dGhlIHNhbXBsZSBub25jZ===", "dGhlIHNhbXBsZSBub25jZé=="],
)  # fmt: skip
def test_6455_4_2_1_what_is_no_key(key: str) -> None:
    assert not valid_key(key)


def test_6455_11_3_4_sub_protocols() -> None:
    assert tokens("chat, superchat") == ["chat", "superchat"]
    assert tokens(" ,chat\t,, v1.json,") == ["chat", "v1.json"]
    assert tokens("") == []
    for bad in ("a b", "chat;x", 'chat, "x"', "é", "chat, chat", "a/b"):
        with pytest.raises(WireError) as caught:
            tokens(bad)
        assert caught.value.status == 400


def test_a_sub_protocol_is_chosen_in_the_applications_order() -> None:
    assert choose_protocol(["b", "a", "c"], ["a", "b"]) == "a"
    assert choose_protocol(["c"], ["a", "b"]) is None
    assert choose_protocol([], ["a"]) is None


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("", []),
        ("foo", [("foo", [])]),
        ("foo; bar; baz=2", [("foo", [("bar", None), ("baz", "2")])]),
        ('foo;bar="2" , ,baz\t;x', [("foo", [("bar", "2")]), ("baz", [("x", None)])]),
        (r'foo; bar="a\b\c"', [("foo", [("bar", "abc")])]),
        ("foo ; bar = 2", [("foo", [("bar", "2")])]),
        (",foo,", [("foo", [])]),
    ],
)
def test_6455_9_1_extensions(value: str, wanted: object) -> None:
    assert extensions(value) == wanted


@pytest.mark.parametrize(
    "value",
    ["foo bar", "foo;", ";foo", "foo;;bar", "foo=1", "foo; bar=", 'foo; bar="', 'foo; bar="a b"', 'foo; bar=""',
     '"foo"', 'foo; "bar"', "foo; bar=1=2", "foo; bar=1 2", 'foo; bar="1"2', "foo, bar=1", "foo; =1", "é", "foo; bar=é",
     "foo; bar,;", 'foo; bar="a\\"', "foo\x01"],
)  # fmt: skip
def test_6455_9_1_malformed_extensions(value: str) -> None:
    with pytest.raises(WireError) as caught:
        extensions(value)
    assert caught.value.status == 400
    for mode in ("off", "shared", "takeover"):
        with pytest.raises(WireError):
            negotiate(value, mode)


PMD = "permessage-deflate"
SNO, CNO = "server_no_context_takeover", "client_no_context_takeover"
SBITS, CBITS = "server_max_window_bits", "client_max_window_bits"


@pytest.mark.parametrize(
    ("mode", "offer", "answer", "wanted"),
    [
        ("off", PMD, None, None),
        ("shared", "", None, None),
        ("shared", "x-webkit-deflate-frame", None, None),
        ("shared", "Permessage-Deflate", None, None),
        ("shared", PMD, f"{PMD}; {SNO}; {CNO}", Deflate(15, 15, False, False)),
        ("shared", f"{PMD}; {CBITS}", f"{PMD}; {SNO}; {CNO}", Deflate(15, 15, False, False)),
        ("shared", f"{PMD}; {SBITS}=10; {CBITS}=9", f"{PMD}; {SNO}; {CNO}; {SBITS}=10", Deflate(10, 15, False, False)),
        ("shared", f"{PMD}; {SNO}; {CNO}", f"{PMD}; {SNO}; {CNO}", Deflate(15, 15, False, False)),
        ("takeover", PMD, PMD, Deflate(12, 15, True, True)),
        ("takeover", f"{PMD}; {CBITS}", f"{PMD}; {CBITS}=12", Deflate(12, 12, True, True)),
        ("takeover", f'{PMD}; {CBITS}="10"', f"{PMD}; {CBITS}=10", Deflate(12, 10, True, True)),
        ("takeover", f"{PMD}; {CBITS}=8", f"{PMD}; {CBITS}=8", Deflate(12, 8, True, True)),
        ("takeover", f"{PMD}; {SBITS}=9", f"{PMD}; {SBITS}=9", Deflate(9, 15, True, True)),
        ("takeover", f"{PMD}; {SBITS}=15", f"{PMD}; {SBITS}=12", Deflate(12, 15, True, True)),
        ("takeover", f"{PMD}; {SNO}", f"{PMD}; {SNO}", Deflate(12, 15, False, True)),
        ("takeover", f"{PMD}; {CNO}; {CBITS}", f"{PMD}; {CNO}", Deflate(12, 15, True, False)),
        ("takeover", f"foo, {PMD}; unknown, {PMD}; {SNO}", f"{PMD}; {SNO}", Deflate(12, 15, False, True)),
        ("takeover", f"{PMD}; {SBITS}=8, {PMD}", PMD, Deflate(12, 15, True, True)),
    ],
)
def test_7692_7_1_offers(mode: str, offer: str, answer: str | None, wanted: Deflate | None) -> None:
    assert negotiate(offer, mode) == (answer, wanted)


@pytest.mark.parametrize(
    "parameters",
    [f"{SBITS}", f"{SBITS}=7", f"{SBITS}=16", f"{SBITS}=08", f"{SBITS}=8", f"{SBITS}=x", f"{CBITS}=7", f"{CBITS}=010",
     f"{SNO}=1", f"{CNO}=x", f"{SNO}; {SNO}", f"{CBITS}; {CBITS}=10", "unknown", "unknown=1"],
)  # fmt: skip
def test_7692_7_1_offers_that_are_declined(parameters: str) -> None:
    assert negotiate(f"{PMD}; {parameters}", "takeover") == (None, None)


def test_without_a_zlib_nothing_is_agreed_upon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("greenhttp.wire.handshake.available", lambda: False)
    assert negotiate(PMD, "takeover") == (None, None)


def test_7692_7_1_answers() -> None:
    assert agreed("") is None
    assert agreed(PMD) == Deflate(15, 15, True, True)
    assert agreed(f"{PMD}; {SNO}; {CNO}") == Deflate(15, 15, False, False)
    assert agreed(f"{PMD}; {SBITS}=10; {CBITS}=12") == Deflate(12, 10, True, True)
    for bad in (
        "foo",
        f"{PMD}, foo",
        f"{PMD}, {PMD}",
        *(f"{PMD}; {each}" for each in (CBITS, SBITS, "x", f"{CBITS}=8")),
    ):
        with pytest.raises(WireError):
            agreed(bad)


@pytest.mark.parametrize("mode", ["shared", "takeover"])
@pytest.mark.parametrize("offer", [PMD, f"{PMD}; {CBITS}", f"{PMD}; {SBITS}=10; {CBITS}=11; {SNO}", f"{PMD}; {CNO}"])
def test_both_ends_understand_the_answer_alike(mode: str, offer: str) -> None:
    answer, server = negotiate(offer, mode)
    assert answer and server
    client = agreed(answer)
    assert client
    assert client.in_takeover == server.out_takeover
    assert client.out_takeover == server.in_takeover
    assert client.in_bits >= server.out_bits
    assert server.in_bits >= client.out_bits
