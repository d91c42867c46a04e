"""wire/forwarded.pyx: what proxies write. Whom to believe is tests/http/test_forwarded.py."""

from __future__ import annotations

import pytest

from greenhttp.wire.forwarded import elements, forwarded, node


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"", []),
        (b"a", [b"a"]),
        (b"a, b", [b"a", b"b"]),
        (b"a,b\t ,\tc", [b"a", b"b", b"c"]),
        (b",, a ,, b , ", [b"a", b"b"]),
        (b"a b, c", [b"a b", b"c"]),
        (b'"a, b"', [b'"a', b'b"']),
        (b"\xff, \x80", [b"\xff", b"\x80"]),
    ],
)
def test_a_list_is_split_at_its_commas(value: bytes, found: list[bytes]) -> None:
    assert elements(value) == found


NODES = [  # text, as X-Forwarded-For has it, as Forwarded has it
    (b"192.0.2.1", ("192.0.2.1", 0), ("192.0.2.1", 0)),
    (b"192.0.2.1:4711", ("192.0.2.1", 4711), ("192.0.2.1", 4711)),
    (b"192.0.2.1:0", ("192.0.2.1", 0), ("192.0.2.1", 0)),
    (b"192.0.2.1:00080", ("192.0.2.1", 80), ("192.0.2.1", 80)),
    (b"192.0.2.1:65536", None, None),
    (b"192.0.2.1:000080", None, None),
    (b"192.0.2.1:", None, None),
    (b"192.0.2.1:-1", None, None),
    (b"192.0.2.1:_p", None, ("192.0.2.1", 0)),
    (b"192.0.2.1:_", None, None),
    (b"192.0.2.1:_p:", None, None),
    (b"192.0.2", None, None),
    (b"192.0.2.256", None, None),
    (b"192.0.2.01", None, None),
    (b"192.0.2.1.", None, None),
    (b"192.0.2.1 ", None, None),
    (b"192.0.2.1/32", None, None),
    (b"0xc0000201", None, None),
    (b"3221225985", None, None),
    (b"2001:db8::1", ("2001:db8::1", 0), None),
    (b"[2001:DB8::1]", ("2001:DB8::1", 0), ("2001:DB8::1", 0)),
    (b"[2001:db8::1]:4711", ("2001:db8::1", 4711), ("2001:db8::1", 4711)),
    (b"[2001:db8::1]4711", None, None),
    (b"[2001:db8::1", None, None),
    (b"[]", None, None),
    (b"[192.0.2.1]", None, None),
    (b"::ffff:192.0.2.1", ("::ffff:192.0.2.1", 0), None),
    (b"::ffff:192.0.2.1:80", None, None),
    (b"fe80::1%eth0", ("fe80::1%eth0", 0), None),
    (b"[FE80::1%eth0.7]:4711", ("FE80::1%eth0.7", 4711), None),
    (b"fe80::1%2", ("fe80::1%2", 0), None),
    (b"fe80::1%" + b"a" * 15, ("fe80::1%" + "a" * 15, 0), None),
    (b"fe80::1%" + b"a" * 16, None, None),
    (b"fe80::1%", None, None),
    (b"[fe80::1%]", None, None),
    (b"fe80::1%eth0%1", None, None),
    (b"fe80::1%a/b", None, None),
    (b"fe80::1%\xe9", None, None),
    (b"fe80::1%25eth0]", None, None),
    (b"fe80::x%eth0", None, None),
    (b"2001:db8::1%eth0", None, None),
    (b"192.0.2.1%eth0", None, None),
    (b"unix:", ("unix", 0), None),
    (b"unix", ("unix", 0), None),
    (b"UNIX:", ("UNIX", 0), None),
    (b"unix:80", None, None),
    (b"unix:/run/a", None, None),
    (b"unix::", None, None),
    (b"unixes", None, None),
    (b"unknown", ("unknown", 0), ("unknown", 0)),
    (b"Unknown", ("Unknown", 0), ("Unknown", 0)),
    (b"unknown:80", ("unknown", 80), ("unknown", 80)),
    (b"unknowns", None, None),
    (b"_hidden", ("_hidden", 0), ("_hidden", 0)),
    (b"_a.b-c_1:80", ("_a.b-c_1", 80), ("_a.b-c_1", 80)),
    (b"_", None, None),
    (b"_a b", None, None),
    (b"_\xe9", None, None),
    (b"", None, None),
    (b"localhost", None, None),
    (b"shop.example", None, None),
    (b"\xd9\xa1.0.0.1", None, None),
    (b"192.0.2.1\x00", None, None),
]


@pytest.mark.parametrize(("text", "lax", "strict"), NODES)
def test_a_node_is_an_address_unknown_hidden_or_a_unix_socket(
    text: bytes, lax: tuple[str, int] | None, strict: tuple[str, int] | None
) -> None:
    assert node(text) == lax
    assert node(text, True) == strict


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"", []),
        (b" , ;, ", []),
        (b"for=a", [{"for": b"a"}]),
        (b'For="a"', [{"for": b"a"}]),
        (b"for=a, for=b,for=c", [{"for": b"a"}, {"for": b"b"}, {"for": b"c"}]),
        (b"for=a;proto=https;host=h;by=b", [{"for": b"a", "proto": b"https", "host": b"h"}]),
        (b";;for=a;;", [{"for": b"a"}]),
        (b"for=a ; proto=http", [{"for": b"a", "proto": b"http"}]),
        (b"by=b, x=y", [{}, {}]),
        (b'for="a, for=b";x=","', [{"for": b"a, for=b"}]),
        (b'for="\\"a\\\\\\b"', [{"for": b'"a\\b'}]),
        (b'for=""', [{"for": b""}]),
        (b'for="\xff\t"', [{"for": b"\xff\t"}]),
        (b"a=1;b=2, a=1", [{}, {}]),
    ],
)
def test_a_forwarded_field_that_is_well_formed(value: bytes, found: list[dict[str, bytes]]) -> None:
    assert forwarded(value) == found


@pytest.mark.parametrize(
    "value",
    [
        b"for", b"for=", b"=a", b"for =a", b"for= a", b'for="a', b'for="a\\"', b'for="a\\', b'"for"=a', b'for="a"b',
        b"for=a b", b"for=a=b", b"for=[::1]", b"for=192.0.2.1:80", b"for=a;for=b", b"FOR=a;proto=http;for=b",
        b"host=a;host=a", b"by=a;by=b", b"x=1;X=2", b"for=\xe9", b"\xe9=a", b'for="\x00"', b'for="\\\x7f"',
        b"for=a, b", b'for=a, for="b, for=c', b'for=a"b"', b"192.0.2.1", b"for=a,,;=", b"for\t=a",
    ],
)  # fmt: skip
def test_a_forwarded_field_is_refused_as_a_whole(value: bytes) -> None:
    assert forwarded(value) is None
    assert forwarded(b"for=a, " + value) is None
    if b'"' not in value:
        assert forwarded(value + b", for=a") is None


def test_long_lists_take_time_that_is_linear_in_them() -> None:
    """Quadratic, each of these would take minutes."""
    many = 200_000
    assert len(elements(b"a," * many)) == many
    assert elements(b"," * many + b"a") == [b"a"]
    assert elements(b" " * many + b"\t" * many) == []
    assert forwarded(b"," * many + b";" * many) == []
    assert len(forwarded(b"for=a," * many) or ()) == many
    assert forwarded(b";".join(b"x%d=1" % i for i in range(many))) == [{}]
    assert forwarded(b'for="' + b"\\a" * many + b'"') == [{"for": b"a" * many}]
    assert forwarded(b'for="' + b"," * many) is None
    assert node(b"_" * many) == ("_" * many, 0)
    assert node(b"fe80::%" + b"%" * many) is None and node(b"fe80:" * many + b"%a") is None
    assert node(b"1" * many) is None and node(b":" * many) is None and node(b"[" * many) is None
