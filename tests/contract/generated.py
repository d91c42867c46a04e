"""Requests made up at random, always the same ones: good ones from parts, and such with something wrong in them."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"PROPFIND", b"get", b"X-OWN")
TARGETS = (
    b"/", b"/a/b?c=d", b"/%61?", b"/a;b=c,d", b"//", b"http://a/b?c", b"HTTP://A:80", b"/?a?b/c", b"/*", b"/:@!$&'()",
)  # fmt: skip
VERSIONS = (b"HTTP/1.1",) * 6 + (b"HTTP/1.0",) * 2 + (b"HTTP/1.2",)
NAMES = (b"X", b"x-y", b"Accept", b"Cookie", b"!#$%&'*+-.^`|~", b"Content-Type", b"X_Y", b"Connection", b"Via", b"TE")
VALUES = (
    b"", b"y", b"a, b", b'"a\\"b"', b"a\tb", b"\xc3\xa9", b"\xa0", b":", b"close", b"keep-alive", b"chunked", b"5",
)  # fmt: skip
SPACES = (b"", b" ", b" ", b"\t", b"  ")
EXTENSIONS = (b"", b"", b"", b";a", b";a=b", b';a="b;c"', b";a;b=c", b';a="\\""', b"; a", b";a = b")

# What mutations put in: bytes and words that have divided parsers before.
WRONG = (
    b"\r", b"\n", b"\r\n", b"\n\r", b"\r\r\n", b"\0", b" ", b"\t", b"\x0b", b"\x0c", b"\x1c", b"\x7f", b"\x80", b"\x85",
    b"\xa0", b"\xff", b":", b";", b",", b"=", b'"', b"\\", b"_", b"-", b"+", b"0", b"5", b"a", b"0x", b"#", b"?", b"/",
    b"@", b"%", b"[", b"]", b"\r\n ", b"\r\n\t", b"\r\n\r\n", b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n", b"chunked", b", chunked", b"gzip, ", b"HTTP/1.0", b"HTTP/0.9",
    b"HTTP/2.0", b"GET / HTTP/1.1\r\n", b"X: y\r\n", b"0\r\n\r\n", b"1\r\nx\r\n", b"Expect: 100-continue\r\n",
    b"Upgrade: x\r\nConnection: upgrade\r\n",
)  # fmt: skip


def good(random: Random) -> bytes:
    """A request by the grammar of RFC 9112; Host fits the target."""
    lines = [b" ".join((random.choice(METHODS), random.choice(TARGETS), random.choice(VERSIONS)))]
    fields = [b"Host:" + random.choice(SPACES) + b"a"]
    for _ in range(random.randrange(4)):
        space = random.choice(SPACES), random.choice(SPACES)
        fields.append(random.choice(NAMES) + b":" + space[0] + random.choice(VALUES) + space[1])
    content = bytes(random.choices(b"abc\r\n0;: \0\xff", k=random.randrange(12)))
    framing = random.randrange(3)
    if framing == 1:
        name = random.choice((b"Content-Length: ", b"content-length:", b"Content-Length: 00"))
        fields.append(name + b"%d" % len(content))
    elif framing == 2 and not lines[0].endswith(b"1.0"):
        fields.append(random.choice((b"Transfer-Encoding: chunked", b"transfer-encoding:CHUNKED")))
        content = chunks(random, content)
    else:
        content = b""
    random.shuffle(fields)
    return b"\r\n".join([*lines, *fields, b"", content])


def chunks(random: Random, content: bytes) -> bytes:
    data = b""
    while content:
        size = random.randrange(1, len(content) + 1)
        digits = random.choice((b"%x", b"%X", b"0%x", b"%016x")) % size
        data += digits + random.choice(EXTENSIONS) + b"\r\n" + content[:size] + b"\r\n"
        content = content[size:]
    trailers = random.choice((b"", b"", b"X: y\r\n", b"X:\r\nY: z\r\n"))
    return data + random.choice((b"0", b"000")) + random.choice(EXTENSIONS) + b"\r\n" + trailers + b"\r\n"


def spoilt(random: Random, data: bytes) -> bytes:
    """With one or two mistakes in it: something put in, left out, replaced, or said twice."""
    for _ in range(random.choice((1, 1, 2))):
        at = random.randrange(len(data) + 1)
        to = min(len(data), at + random.choice((0, 0, 1, 1, 2, 8)))
        kind = random.randrange(4)
        if kind == 3:
            line = data[: data.find(b"\r\n", at) + 2][data.rfind(b"\r\n", 0, at) + 2 :]
            data = data[:at] + line + data[at:]
        else:
            data = data[:at] + (b"" if kind == 2 else random.choice(WRONG)) + data[to:]
    return data


def generated(count: int) -> Iterator[bytes]:
    """Good requests and spoilt ones by turns, each with another behind it."""
    random = Random(9112)
    for _ in range(count):
        data = good(random)
        behind = good(random)
        yield data + behind
        yield spoilt(random, data) + behind
        yield spoilt(random, data) + behind
