"""wire/proxy.pyx: the PROXY protocol's headers, proxy-protocol.txt of HAProxy. Names of tests say its sections."""

from __future__ import annotations

import struct

import pytest

from greenhttp.errors import WireError
from greenhttp.testing import every_split
from greenhttp.wire.proxy import LONGEST, Proxied, ProxiedTLS, parse
from tests import proxied as px

REST = b"GET / HTTP/1.1\r\n\r\n"


def outcome(pieces: list[bytes], **versions: bool) -> tuple[object, ...]:
    """What comes of bytes that arrive so; each time more have come, all of them are looked at, as a connection does."""
    data = b""
    for piece in pieces:
        data += piece
        try:
            found = parse(data, **versions)
        except WireError as error:
            return ("refused", error.status, error.reason)
        if found is not None:
            names = [name for name in dir(found) if name[0] != "_" and name != "tls"]
            tls = None if found.tls is None else [getattr(found.tls, n) for n in dir(found.tls) if n[0] != "_"]
            return ("whole", *[getattr(found, name) for name in names], tls)
    return ("wanting",)


def read(data: bytes, **versions: bool) -> Proxied:
    """The header, the same for every split, and as good with bytes of the client behind it."""
    ends = {repr(outcome(pieces, **versions)) for pieces in every_split(data)}
    assert len(ends) == 1
    assert ends == {repr(outcome([data + REST], **versions))}
    for size in range(len(data)):
        assert parse(data[:size], **versions) is None
    found = parse(data, **versions)
    assert found is not None and found.size == len(data)
    return found


def refused(data: bytes, **versions: bool) -> str:
    """Why: the same for every split."""
    ends = {outcome(pieces, **versions) for pieces in every_split(data)}
    assert len(ends) == 1, ends
    (end,) = ends
    assert end[0] == "refused", end
    return str(end[2])


# ---- version 1, section 2.1


@pytest.mark.parametrize(
    ("line", "source", "destination"),
    [
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n", ("192.0.2.7", 4711), ("192.0.2.1", 80)),
        (b"PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n", ("255.255.255.255", 65535), ("0.0.0.0", 0)),
        (b"PROXY TCP6 2001:db8::7 2001:DB8::1 1 443\r\n", ("2001:db8::7", 1), ("2001:db8::1", 443)),
        (b"PROXY TCP6 " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) + b" 65535 65535\r\n",
         (":".join(["ffff"] * 8), 65535), (":".join(["ffff"] * 8), 65535)),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 4711 80\r\n", ("192.0.2.7", 4711), ("::1", 80)),
    ],
)  # fmt: skip
def test_a_line_names_both_ends(line, source, destination):
    found = read(line)
    assert (found.source, found.destination) == (source, destination)
    assert (found.version, found.local, found.tls, found.tlvs) == (1, False, None, ())
    assert found.protocol == line.split()[1].decode()


@pytest.mark.parametrize("rest", [b"", b" " + b"f" * 91, b" \xff\0"])
def test_an_unknown_protocol_names_nobody_whatever_follows(rest):
    found = read(b"PROXY UNKNOWN" + rest + b"\r\n")
    assert (found.source, found.destination, found.protocol) == (None, None, "UNKNOWN")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"GET / HTTP/1.1\r\n", "no PROXY header"),
        (b"proxy TCP4 192.0.2.7 192.0.2.1 1 1\r\n", "no PROXY header"),
        (b"PROXY  TCP4 192.0.2.7 192.0.2.1 1 1\r\n", "protocol"),
        (b"PROXY TCP5 192.0.2.7 192.0.2.1 1 1\r\n", "protocol"),
        (b"PROXY UDP4 192.0.2.7 192.0.2.1 1 1\r\n", "protocol"),
        (b"PROXY TCP44 192.0.2.7 192.0.2.1 1 1\r\n", "protocol"),
        (b"PROXY UNKNOWNS\r\n", "protocol"),
        (b"PROXY \r\n", "protocol"),
        (b"PROXY TCP4\r\n", "protocol"),
        (b"PROXY TCP4 192.0.2.07 192.0.2.1 1 1\r\n", "IPv4"),
        (b"PROXY TCP4 192.0.2.256 192.0.2.1 1 1\r\n", "IPv4"),
        (b"PROXY TCP4 192.0.2 192.0.2.1 1 1\r\n", "IPv4"),
        (b"PROXY TCP4 192.0.2.7  192.0.2.1 1 1\r\n", "IPv4"),
        (b"PROXY TCP4 192.0.2.7\t192.0.2.1 1 1\r\n", "IPv4"),
        (b"PROXY TCP4 ::1 ::1 1 1\r\n", "IPv4"),
        (b"PROXY TCP4 1111111111111111 192.0.2.1 1 1\r\n", "IPv4"),
        (b"PROXY TCP6 192.0.2.7 192.0.2.1 1 1\r\n", "IPv6"),
        (b"PROXY TCP6 fe80::1%eth0 ::1 1 1\r\n", "IPv6"),
        (b"PROXY TCP6 [::1] ::1 1 1\r\n", "IPv6"),
        (b"PROXY TCP6 1::2::3 ::1 1 1\r\n", "IPv6"),
        (b"PROXY TCP6 " + b"0" * 40 + b" ::1 1 1\r\n", "IPv6"),
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 01 1\r\n", "port"),
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 65536 1\r\n", "port"),
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 100000 1\r\n", "port"),
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 -1 1\r\n", "port"),
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 1 +1\r\n", "port"),
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 1  1\r\n", "port"),
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 1\r\n", "port"),
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 1 1 \r\n", "port"),
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 1 1\n", "port"),
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 1 1\rG", "CRLF"),
        (b"PROXY TCP4 192.0.2.7 192.0.2.1 1 1\r\r\n", "CRLF"),
        (b"PROXY UNKNOWN\n", "protocol"),
        (b"PROXY UNKNOWN x\n", "CRLF"),
        (b"PROXY UNKNOWN x\rx\r\n", "CRLF"),
        (b"PROXY UNKNOWN " + b"f" * 92 + b"\r\n", "107 bytes"),
    ],
)  # fmt: skip
def test_a_line_that_breaks_the_grammar_is_refused(line, why):
    assert why in refused(line)


@pytest.mark.parametrize(
    "start", [b"G", b"PR0", b"PROXY T4", b"PROXY UNKNOWN\n", b"PROXY TCP4 .", b"PROXY TCP4 1..", b"PROXY TCP4 256",
              b"PROXY TCP4 01", b"PROXY TCP4 1.2.3.4.", b"PROXY TCP6 g", b"PROXY TCP4 1.2.3.4 1.2.3.4 01",
              b"PROXY TCP4 1.2.3.4 1.2.3.4 65536", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1 "],
)  # fmt: skip
def test_the_first_byte_that_cannot_belong_to_a_line_ends_it(start):
    for size in range(len(start)):
        assert parse(start[:size]) is None
    assert refused(start)


# ---- version 2, section 2.2


def test_a_block_names_both_ends():
    found = read(px.v2("192.0.2.7", 4711))
    assert (found.source, found.destination) == (("192.0.2.7", 4711), ("192.0.2.1", 80))
    assert (found.version, found.local, found.protocol) == (2, False, "TCP4")
    assert (found.authority, found.unique_id, found.alpn, found.netns, found.tls, found.tlvs) == (None,) * 5 + ((),)
    assert read(px.v2("2001:db8::7", 1)).source == ("2001:db8::7", 1)
    assert read(px.v2("2001:db8::7", 1)).protocol == "TCP6"
    assert read(px.v2("::ffff:192.0.2.7", 1)).source == ("192.0.2.7", 1)


@pytest.mark.parametrize(
    "header",
    [
        px.block(px.UNSPEC, b""),
        px.block(px.UNSPEC, b"what nobody\xff knows how to read"),
        px.block(px.UDP4, px.addresses()),
        px.block(px.UDP6, px.addresses("::1", 1, "::2")),
        px.block(px.UNIX, b"/run/a.sock".ljust(108, b"\0") + bytes(108)),
    ],
)
def test_addresses_that_are_no_stream_of_the_internet_name_nobody(header):
    found = read(header)
    assert (found.source, found.destination, found.local, found.protocol) == (None, None, False, "UNSPEC")


@pytest.mark.parametrize("family", [px.UNSPEC, px.TCP4, px.UNIX, 0x7F, 0xFF])
def test_a_local_connection_is_the_proxys_own_whatever_its_block_says(family):
    found = read(px.block(family, b"\x03\x00\x04wrong", px.LOCAL))
    assert (found.local, found.source, found.tlvs, found.protocol) == (True, None, (), "LOCAL")


def test_its_tlvs_are_told():
    sub = {"version": b"TLSv1.3", "cn": "müller".encode(), "cipher": b"TLS_AES_128_GCM_SHA256", "signature": b"SHA256"}
    tlvs = [
        px.tlv(px.ALPN, b"http/1.1"), px.tlv(px.AUTHORITY, "bücher.example".encode()), px.tlv(px.NOOP, b"xx"),
        px.tlv(px.UNIQUE_ID, bytes(range(128))), px.tls(3, 0, **sub, key=b"RSA2048"), px.tlv(px.NETNS, b"blue"),
        px.tlv(0xEA, b"\x01vpce-1"), px.tlv(0xEA, b""), px.tlv(px.NOOP, b""),
    ]  # fmt: skip
    for found in (read(px.v2("192.0.2.7", 1, *tlvs)), read(px.v2("192.0.2.7", 1, *tlvs, crc=True))):
        assert (found.alpn, found.authority, found.netns) == (b"http/1.1", "bücher.example", "blue")
        assert found.unique_id == bytes(range(128))
        assert found.tlvs == ((0xEA, b"\x01vpce-1"), (0xEA, b""))
        tls = found.tls
        assert isinstance(tls, ProxiedTLS)
        assert (tls.version, tls.common_name, tls.cipher) == ("TLSv1.3", "müller", "TLS_AES_128_GCM_SHA256")
        assert (tls.signature, tls.key, tls.client, tls.verify, tls.verified) == ("SHA256", "RSA2048", 3, 0, True)


@pytest.mark.parametrize(
    ("client", "verify", "spoken", "verified"),
    [(0, 0, False, False), (6, 0, False, False), (1, 0, True, False), (3, 0, True, True), (5, 0, True, True),
     (7, 19, True, False)],
)  # fmt: skip
def test_without_a_verified_certificate_nobody_is_verified(client, verify, spoken, verified):
    found = read(px.v2("192.0.2.7", 1, px.tls(client, verify, version=b"TLSv1.2")))
    assert (found.tls is not None) == spoken
    assert bool(found.tls and found.tls.verified) == verified


def test_unix_addresses_may_have_tlvs_too():
    found = read(px.block(px.UNIX, bytes(216) + px.tlv(px.UNIQUE_ID, b"7")))
    assert (found.source, found.unique_id) == (None, b"7")


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (px.SIGNATURE[:-1] + b"\r", "no PROXY header"),
        (b"\r\n\r\nGET / HTTP/1.1", "no PROXY header"),
        (px.block(px.TCP4, px.addresses(), version=1), "version"),
        (px.block(px.TCP4, px.addresses(), 2), "version"),
        (px.block(0x41, px.addresses()), "family"),
        (px.block(0x13, px.addresses()), "family"),
        (px.block(0x10, px.addresses()), "family"),
        (px.block(0x01, b""), "family"),
        (px.block(px.TCP4, px.addresses()[:-1]), "too short"),
        (px.block(px.TCP6, px.addresses()), "too short"),
        (px.block(px.UNIX, bytes(215)), "too short"),
        (px.v2("::1", 1, b"\x05"), "cut short"),
        (px.v2("::1", 1, b"\x05\x00"), "cut short"),
        (px.v2("::1", 1, b"\x05\x00\x02x"), "longer than the header"),
        (px.v2("::1", 1, px.tlv(px.UNIQUE_ID, bytes(129))), "128 bytes"),
        (px.v2("::1", 1, px.tlv(px.UNIQUE_ID, b"1"), px.tlv(px.UNIQUE_ID, b"1")), "0x05 comes twice"),
        (px.v2("::1", 1, px.tlv(px.AUTHORITY, b"a"), px.tlv(px.AUTHORITY, b"b")), "0x02 comes twice"),
        (px.v2("::1", 1, px.tls(), px.tls()), "0x20 comes twice"),
        (px.v2("::1", 1, px.tlv(px.AUTHORITY, b"a\r\nb")), "control"),
        (px.v2("::1", 1, px.tlv(px.AUTHORITY, b"a\0")), "control"),
        (px.v2("::1", 1, px.tlv(px.AUTHORITY, b"\xff")), "UTF-8"),
        (px.v2("::1", 1, px.tlv(px.AUTHORITY, b"a" * 256)), "255 bytes"),
        (px.v2("::1", 1, px.tlv(px.SSL, b"\x01\x00\x00\x00")), "TLS is cut short"),
        (px.v2("::1", 1, px.tlv(px.SSL, b"\x01\x00\x00\x00\x00\x21\x00\x05TLS")), "TLS is cut short"),
        (px.v2("::1", 1, px.tlv(px.SSL, b"\x01\x00\x00\x00\x00\x21\x00")), "TLS is cut short"),
        (px.v2("::1", 1, px.tlv(px.SSL, bytes(5) + px.tlv(0x22, b"a") + px.tlv(0x22, b"b"))), "0x22 comes twice"),
        (px.v2("::1", 1, px.tlv(px.CRC32C, bytes(4))), "checksum"),
        (px.v2("::1", 1, px.tlv(px.CRC32C, bytes(3))), "checksum"),
        (px.v2("192.0.2.7", 1, px.tlv(px.CRC32C, b"1234"), crc=True), "checksum"),
    ],
)
def test_a_block_that_breaks_the_rules_is_refused(header, why):
    assert why in refused(header)


def test_every_byte_that_is_changed_breaks_the_checksum():
    header = px.v2("192.0.2.7", 4711, px.tlv(px.UNIQUE_ID, b"0123"), crc=True)
    assert read(header).unique_id == b"0123"
    for at in range(16, 28):  # the addresses: elsewhere other rules may be broken first
        for bit in range(8):
            changed = header[:at] + bytes([header[at] ^ 1 << bit]) + header[at + 1 :]
            with pytest.raises(WireError, match="checksum"):
                parse(changed)


def test_a_length_beyond_the_bound_is_refused_before_its_bytes_have_come():
    start = px.SIGNATURE + b"\x21\x11"
    assert parse(start + struct.pack("!H", LONGEST - 16)) is None
    for size in (LONGEST - 15, 65535):
        assert "4096 bytes" in refused(start + struct.pack("!H", size))
    with pytest.raises(WireError, match="4096 bytes"):
        parse(start + b"\x10")
    assert read(px.block(px.TCP4, px.addresses() + px.tlv(0xE0, bytes(LONGEST - 31)))).size == LONGEST
    assert read(px.block(px.UNSPEC, bytes(64), px.LOCAL)).local
    assert "4096 bytes" in refused(px.block(px.UNSPEC, bytes(LONGEST - 15), px.LOCAL)[:20])


# ---- both


def test_only_the_version_that_is_expected_is_read():
    assert read(px.v1(), v2=False).version == 1
    assert read(px.v2(), v1=False).version == 2
    assert "no PROXY header" in refused(px.v1(), v1=False)
    assert "no PROXY header" in refused(px.v2(), v2=False)


def test_nothing_is_not_yet_a_header():
    assert parse(b"") is None
    with pytest.raises(TypeError):
        parse(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Proxied()
    with pytest.raises(TypeError):
        ProxiedTLS()
