"""PROXY headers as proxies write them, made without greenhttp."""

from __future__ import annotations

import socket
import struct

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
LOCAL, PROXY = 0, 1
UNSPEC, TCP4, UDP4, TCP6, UDP6, UNIX = 0x00, 0x11, 0x12, 0x21, 0x22, 0x31
ALPN, AUTHORITY, CRC32C, NOOP, UNIQUE_ID, SSL, NETNS = 1, 2, 3, 4, 5, 0x20, 0x30


def v1(source: str = "192.0.2.7", port: int = 4711, to: str = "192.0.2.1", to_port: int = 80) -> bytes:
    kind = "TCP6" if ":" in source else "TCP4"
    return f"PROXY {kind} {source} {to} {port} {to_port}\r\n".encode()


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def tls(client: int = 1, verify: int = 1, **sub: bytes) -> bytes:
    """The TLV about TLS; `sub`: version, cn, cipher, signature, key."""
    kinds = {"version": 0x21, "cn": 0x22, "cipher": 0x23, "signature": 0x24, "key": 0x25}
    return tlv(SSL, struct.pack("!BI", client, verify) + b"".join(tlv(kinds[name], sub[name]) for name in sub))


def addresses(source: str = "192.0.2.7", port: int = 4711, to: str = "192.0.2.1", to_port: int = 80) -> bytes:
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    return socket.inet_pton(family, source) + socket.inet_pton(family, to) + struct.pack("!HH", port, to_port)


def block(family: int, body: bytes, command: int = PROXY, version: int = 2) -> bytes:
    return SIGNATURE + struct.pack("!BBH", version << 4 | command, family, len(body)) + body


def v2(source: str = "192.0.2.7", port: int = 4711, *tlvs: bytes, crc: bool = False) -> bytes:
    """With `crc`, a checksum behind the other TLVs."""
    to = "2001:db8::1" if ":" in source else "192.0.2.1"
    body = addresses(source, port, to) + b"".join(tlvs)
    family = TCP6 if ":" in source else TCP4
    if not crc:
        return block(family, body)
    whole = block(family, body + tlv(CRC32C, bytes(4)))
    return whole[:-4] + struct.pack("!I", crc32c(whole))


def crc32c(data: bytes) -> int:
    """Bit by bit, RFC 4960 appendix B."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 * (crc & 1)
    return crc ^ 0xFFFFFFFF
