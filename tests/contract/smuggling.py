"""Every combination of Content-Length and Transfer-Encoding: how each is spelled, repeated, ordered and folded.

What must come of it is decided by `framing`, from the stated rules, on the bytes as sent; nothing of the server is
asked. The content is five bytes which are also a whole body in chunks: whoever takes one framing for the other sees
another body, and whoever sees no framing at all takes the content for a request.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product

CONTENT = b"0\r\n\r\n"
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class Refused(Exception):
    """The status a head is to be refused with."""


def framing(data: bytes) -> int | None:
    """The length of the content, -1 for chunks, None for none; raises Refused. `data` is one head.

    Rules 2, 4, 6, 7 and 14, in the order in which bytes come: the first wrong line decides, then the head as a whole.
    """
    lines = data[:-4].split(b"\r\n")
    lengths, codings = [], []
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not TOKEN.fullmatch(name) or CONTROL.search(value.strip(b" \t")):
            raise Refused(400)  # also a folded line, and white space around a name
        value = value.strip(b" \t")
        if name.lower() == b"content-length":
            lengths.append(value)
            if len(lengths) > 1 or not re.fullmatch(rb"[0-9]{1,19}", value):
                raise Refused(400)
        if name.lower() == b"transfer-encoding":
            if lines[0].endswith(b"1.0"):
                raise Refused(400)
            codings += [coding.strip(b" \t").lower() for coding in value.split(b",")]
            if not all(TOKEN.fullmatch(coding) for coding in codings):
                raise Refused(400)
    if not codings:
        return int(lengths[0]) if lengths else None
    if lengths or codings[-1] != b"chunked" or codings.count(b"chunked") > 1:
        raise Refused(400)
    if len(codings) > 1:
        raise Refused(501)
    return -1


LENGTH_NAMES = (
    b"Content-Length", b"content-length", b"CONTENT-LENGTH", b"Content_Length", b"Content-Length ", b"Content-Length\t",
    b" Content-Length", b"\tContent-Length", b"X-Content-Length", b"Content-Length\0", b"Content\rLength",
    b"Content Length",
)  # fmt: skip
LENGTHS = (
    b" 5", b"5", b"\t5\t", b"  5  ", b" 05", b" 0", b"", b" +5", b" -5", b" 5,5", b" 5, 5", b" 5 5", b" 0x5", b" 5_0",
    b" 5;", b" 5.0", b" 1e1", b" 5\r\n ", b" 5\r\n\t", b"\r\n 5", b" 5\r\n 5", b" 5\n", b" 5\r", b"\n 5", b"\x0b5",
    b"\xa05", b" 5\x85", b" \xb2", b" 5\0", b" 00000000000000000005", b' "5"',
)  # fmt: skip
CODING_NAMES = (
    b"Transfer-Encoding", b"transfer-encoding", b"TRANSFER-ENCODING", b"Transfer_Encoding", b"Transfer-Encoding ",
    b"Transfer-Encoding\t", b" Transfer-Encoding", b"\tTransfer-Encoding", b"X-Transfer-Encoding",
    b"Transfer-Encoding\0", b"Transfer\rEncoding", b"Transfer Encoding", b"Transfer-Encoding\x0b",
)  # fmt: skip
CODINGS = (
    b" chunked", b"chunked", b"\tChUnKeD\t", b" CHUNKED  ", b" chunked, chunked", b" gzip, chunked", b" chunked, gzip",
    b" identity", b" gzip", b" identity, chunked", b" chunked,", b" ,chunked", b"", b" chunked;a=b", b' "chunked"',
    b" xchunked", b" chunkedx", b" chunked x", b" chunked\r\n ", b"\r\n chunked", b" x\r\n chunked", b" chunked\n",
    b" chunked\r", b"\nchunked", b"\x0bchunked", b"\x0cchunked", b"\xa0chunked", b" chunked\x85", b" chunked\0",
    b" chun\xe2\x84\xaaed", b" chunked, identity", b" gzip, chunked, gzip", b" chunk",
)  # fmt: skip


def heads() -> Iterator[bytes]:
    """Each name with each value alone; then pairs and threes of telling ones, in each order; on 1.0 and 1.1."""
    lengths = [name + b":" + value for name, value in product(LENGTH_NAMES, LENGTHS)]
    codings = [name + b":" + value for name, value in product(CODING_NAMES, CODINGS)]
    some_lengths = [
        *[b"Content-Length:" + value for value in LENGTHS[:12]],
        *[name + b": 5" for name in LENGTH_NAMES[1:]],
        *(b"Content-Length: 5\r\n ", b"Content-Length:\r\n 5", b"X: y\r\n Content-Length: 5"),
    ]
    some_codings = [
        *[b"Transfer-Encoding:" + value for value in CODINGS[:14]],
        *[name + b": chunked" for name in CODING_NAMES[1:]],
        *(
            b"Transfer-Encoding: chunked\r\n ",
            b"Transfer-Encoding:\r\n chunked",
            b"X: y\r\n Transfer-Encoding: chunked",
        ),
    ]
    few = some_lengths[:2] + some_codings[:2] + [b"Content-Length: 0", b"Transfer-Encoding: gzip", b"Content_Length: 0"]
    lines: list[tuple[bytes, ...]] = [(line,) for line in lengths + codings]
    lines += [(), *product(some_lengths, some_codings), *product(some_codings, some_lengths)]
    lines += [*product(some_lengths, some_lengths), *product(some_codings, some_codings), *product(few, few, few)]
    for version, fields in product((b"1.1", b"1.0"), lines):
        middle = (b"Connection: keep-alive",) if version == b"1.0" else (b"X: y",)
        yield b"\r\n".join((b"POST / HTTP/" + version, b"Host: a", *fields[:1], *middle, *fields[1:], b"", b""))
