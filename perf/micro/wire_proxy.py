"""What reading a PROXY header costs, a Python call included; once for a connection."""

import struct

from greenhttp.wire.proxy import parse
from perf.micro import best_of

LINE = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n"
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def block(tlvs: bytes = b"") -> bytes:
    addresses = bytes((192, 0, 2, 1, 192, 0, 2, 2)) + struct.pack("!HH", 56324, 443)
    return SIGNATURE + b"\x21\x11" + struct.pack("!H", len(addresses + tlvs)) + addresses + tlvs


def _read(header: bytes):
    def loop(times: int) -> None:
        for _ in range(times):
            parse(header)

    return loop


def run() -> list[tuple[str, float]]:
    authority = b"\x02\x00\x0fwww.example.com"
    unique = b"\x05\x00\x10" + bytes(16)
    tls = b"\x20\x00\x0f\x01\x00\x00\x00\x01\x21\x00\x07TLSv1.3"
    headers = {"version 1": LINE, "version 2": block(), "version 2, three TLVs": block(authority + unique + tls)}
    return [(label, best_of(_read(header), 200_000)) for label, header in headers.items()]
