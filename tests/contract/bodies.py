"""Entries for content and where it ends: rules 6 to 9, 11, 12 and 22, and the limits of bodies."""

from __future__ import annotations

from collections.abc import Iterator

from tests.contract.cases import CLOSED, HOST, KEPT, LINGERED, Case, Seen, accepted, head, refused, shown, text

END = b"0\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"


def sized(value: bytes, *fields: bytes, target: bytes = b"/", version: bytes = b"1.1") -> bytes:
    return head(b"POST " + target + b" HTTP/" + version, b"Content-Length: " + value, *fields)


def coded(content: bytes, *fields: bytes, target: bytes = b"/") -> bytes:
    """A request in chunks, which are given as they are sent."""
    return head(b"POST " + target + b" HTTP/1.1", b"Transfer-Encoding: chunked", *fields) + content


def seen_sized(value: str, body: str | None, *fields: tuple[str, str], target: str = "/") -> Seen:
    return Seen("POST", target, "a", (("Content-Length", value), *fields), body)


def seen_coded(body: str | None, *fields: tuple[str, str], target: str = "/") -> Seen:
    """Without Transfer-Encoding: it is undone by then, and whoever finds it undoes it again."""
    return Seen("POST", target, "a", fields, body)


def broken(rule: int, name: str, content: bytes, status: int = 400) -> Case:
    """The application sees the request; reading its content raises; what follows is not read as HTTP."""
    return Case(rule, name, coded(content), (status,), (seen_coded(None),), LINGERED)


def whole(rule: int, name: str, content: bytes, body: str) -> Case:
    return accepted(rule, name, coded(content), seen_coded(body))


def rule_6() -> Iterator[Case]:
    """Content-Length: 1 to 19 digits, one field, no sign, space or list, even of equal values: else 400."""
    for value in ("5", "05", "005", "0000000000000000005"):
        data = sized(value.encode()) + b"hello"
        yield accepted(6, f"Content-Length {value} is five", data, seen_sized(value, "hello"))
    for value in ("0", "00", "0000000000000000000"):
        yield accepted(6, f"Content-Length {value} is no content", sized(value.encode()), seen_sized(value, ""))
    for line in (b"Content-Length:5", b"content-length:  5\t ", b"CONTENT-LENGTH: 5"):
        data = head(b"POST / HTTP/1.1", line) + b"hello"
        seen = Seen("POST", "/", "a", ((text(line.partition(b":")[0]), "5"),), "hello")
        yield accepted(6, f"{shown(line)} is five", data, seen)
    for value in (
        b"", b" ", b"+5", b"-5", b"-0", b"+0", b"5 5", b"5,5", b"5, 5", b"5,", b",5", b"5;", b"5.0", b"0x5", b"0o5",
        b"5e0", b"1_000", b"five", b"\xb2", b"\xd9\xa5", b"\x8f5", b"5\xa0", b"\xa05", b"5\x85", b"\x0b5", b"5\x0c",
        b"5\0", b'"5"', b"5\r\n 5", b"5\r\n ", b"\r\n 5", b"\r\n\t5", b"5\n", b"5\r", b"00000000000000000005",
        b"99999999999999999999", b"18446744073709551621", b"-18446744073709551611", b"4294967301 ,5", b"5 chunked",
        b"inf",
    ):  # fmt: skip
        yield refused(6, f"Content-Length {shown(value)} is refused", sized(value) + b"hello")
    for second in (b"Content-Length: 5", b"Content-Length: 05", b"content-length: 6", b"Content-Length:"):
        yield refused(6, f"a second {shown(second)} is refused", sized(b"5", second) + b"hello")
    data = head(b"POST / HTTP/1.0", b"Content-Length: 5", b"Content-Length: 5") + b"hello"
    yield refused(6, "equal lengths on 1.0 are refused", data)
    yield refused(6, "a length beyond its limit is refused before it is read", sized(b"1001"), 413)
    for value in (b"9223372036854775807", b"9223372036854775808", b"9999999999999999999"):
        yield refused(6, f"a length of {text(value)} is refused before it is read", sized(value), 413)
    data = sized(b"%d" % len(SMUGGLED)) + SMUGGLED
    yield accepted(
        6, "a request within content of known length is content", data,
        seen_sized(str(len(SMUGGLED)), text(SMUGGLED)),
    )  # fmt: skip
    for count in range(5):
        yield Case(
            8, f"content that ends after {count} of 5 bytes is an error", sized(b"5") + b"hello"[:count],
            (400,), (seen_sized("5", None),), LINGERED, finished=True,
        )  # fmt: skip


def rule_7() -> Iterator[Case]:
    """Transfer-Encoding: only `chunked` (any case), once, on 1.1. With Content-Length: 400. A final coding other than
    chunked: 400; another coding before a final chunked: 501. On 1.0: 400. All of these close."""
    for value in ("chunked", "Chunked", "CHUNKED", "cHuNkEd"):
        data = head(b"POST / HTTP/1.1", f"Transfer-Encoding: \t{value} ".encode()) + END
        yield accepted(7, f"the coding {value} is chunked", data, seen_coded(""))
    for values, status in (
        ([b"gzip"], 400), ([b"identity"], 400), ([b"chunked, gzip"], 400), ([b"chunked", b"gzip"], 400),
        ([b"chunked, identity"], 400), ([b"gzip, chunked"], 501), ([b"gzip", b"chunked"], 501),
        ([b"identity, chunked"], 501), ([b"chunked, chunked"], 400), ([b"chunked", b"chunked"], 400),
        ([b"gzip, chunked, chunked"], 400), ([b"chunked, gzip, chunked"], 400), ([b""], 400), ([b",chunked"], 400),
        ([b"chunked,"], 400), ([b"chunked", b""], 400), ([b"chunked;q=1"], 400), ([b"chunked chunked"], 400),
        ([b"xchunked"], 400), ([b"x-chunked"], 400), ([b"chunke"], 400), ([b"chunkedx"], 400), ([b'"chunked"'], 400),
        ([b"'chunked'"], 400), ([b"(chunked)"], 400), ([b"\x0bchunked"], 400), ([b"\x0cchunked"], 400),
        ([b"\xa0chunked"], 400), ([b"chunked\x85"], 400), ([b"chunked\0"], 400), ([b"\r\n chunked"], 400),
        ([b"\r\n\tchunked"], 400), ([b"x\r\n chunked"], 400), ([b"chunked\r\n "], 400), ([b"chun\r\n ked"], 400),
        ([b"\nchunked"], 400), ([b"chunked\r"], 400), ([b"\xe2\x84\xaahunked"], 400), ([b"chun\xe2\x84\xaaed"], 400),
        ([b"chunked-"], 400), ([b"5"], 400), ([b"chunked=1"], 400), ([b"trailers"], 400),
        ([b"deflate;q=1, chunked"], 400),
    ):  # fmt: skip
        data = head(b"POST / HTTP/1.1", *[b"Transfer-Encoding: " + value for value in values]) + END
        what = "Transfer-Encoding " + " and ".join(map(shown, values))
        yield refused(7, f"{what} is {'not implemented' if status == 501 else 'refused'}", data, status)
    for value in (b"chunked", b"gzip", b"gzip, chunked", b"identity"):
        for lines in ([b"5", value], [value, b"5"]):
            fields = [(b"Content-Length: " if line == b"5" else b"Transfer-Encoding: ") + line for line in lines]
            name = f"{shown(fields[0])} with {shown(fields[1])} is refused"
            yield refused(7, name, head(b"POST / HTTP/1.1", *fields) + END)
        data = head(b"POST / HTTP/1.0", b"Transfer-Encoding: " + value, b"Connection: keep-alive") + END
        yield refused(7, f"the coding {text(value)} on 1.0 is refused", data)
    for line in (
        b"Transfer-Encoding : chunked", b"Transfer-Encoding\t: chunked", b" Transfer-Encoding: chunked",
        b"Transfer\xad-Encoding: chunked", b"Transfer Encoding: chunked", b"Transfer-Encoding\0: chunked",
        b"X: y\n Transfer-Encoding: chunked", b"X: y\rTransfer-Encoding: chunked", b"X: y\nTransfer-Encoding: chunked",
        b"Transfer-Encoding\r\n: chunked", b":Transfer-Encoding: chunked",
    ):  # fmt: skip
        yield refused(7, f"the disguise {shown(line)} is refused", head(b"POST / HTTP/1.1", line) + END)
    for name_ in (b"Transfer_Encoding", b"transfer_encoding"):
        data = head(b"POST / HTTP/1.1", name_ + b": chunked", b"Content-Length: 5") + END
        yield accepted(7, f"{text(name_)} frames nothing", data, seen_sized("5", text(END)))
    for name_ in ("XTransfer-Encoding", "Transfer-Encodin", "TransferEncoding", "Content-Transfer-Encoding", "TE"):
        data = head(b"POST / HTTP/1.1", f"{name_}: chunked".encode(), b"Content-Length: 5") + END
        seen = Seen("POST", "/", "a", ((name_, "chunked"), ("Content-Length", "5")), text(END))
        yield accepted(7, f"{name_} frames nothing", data, seen)


def rule_8_sizes() -> Iterator[Case]:
    """Chunk size: 1 to 16 hex digits, nothing else before `;` or CRLF. Exact CRLF after the size line and the data."""
    hello, ten = "hello", "0123456789"
    for content, body in (
        (END, ""), (b"5\r\nhello\r\n" + END, hello), (b"2\r\nhe\r\n3\r\nllo\r\n" + END, hello),
        (b"a\r\n0123456789\r\n" + END, ten), (b"A\r\n0123456789\r\n" + END, ten), (b"05\r\nhello\r\n" + END, hello),
        (b"0000000000000005\r\nhello\r\n" + END, hello), (b"5\r\nhello\r\n0000000000000000\r\n\r\n", hello),
        (b"00\r\n\r\n", ""), (b"2\r\n\r\n\r\n" + END, "\r\n"), (b"5\r\n0\r\n\r\n\r\n" + END, "0\r\n\r\n"),
        (b"%x\r\n%s\r\n%s" % (len(SMUGGLED), SMUGGLED, END), text(SMUGGLED)),
        (b"%08X\r\n%s\r\n%s" % (len(SMUGGLED), SMUGGLED, END), text(SMUGGLED)),
    ):  # fmt: skip
        name = f"the chunks {shown(content[:24])} are {len(body)} bytes of content, and the next request is behind them"
        yield whole(8, name, content, body)
    for size in (
        b"", b" 5", b"\t5", b"5 ", b"5\t", b"+5", b"-5", b"-0", b"0x5", b"0X5", b"x5", b"5h", b"5_", b"_5", b"0_5",
        b"g", b"5.0", b"5,5", b"5 5", b"\xb5", b"\xa05", b"5\xa0", b"5\x85", b"\x005", b"5\x0c",
        b"'5'", b'"5"', b"5:", b"5=", b"00000000000000005", b"00000000000000000", b"10000000000000005",
        b"8000000000000000", b"8000000000000005", b"ffffffffffffffff", b"FFFFFFFFFFFFFFFF", b"fffffffffffffffb",
        b"\xef\xbc\x95",
    ):  # fmt: skip
        yield broken(8, f"the chunk size {shown(size)} is refused", size + b"\r\nhello\r\n" + END)
    for size in (b"3e9", b"7fffffffffffffff", b"100000000", b"100000005"):
        content = size + b"\r\nhello\r\n" + END
        yield broken(8, f"the chunk size {text(size)} is too much before it is read", content, 413)
    for content in (b"1f4\r\n" + b"x" * 500 + b"\r\n1f5\r\n", b"3e8\r\n" + b"x" * 1000 + b"\r\n1\r\n"):
        yield broken(8, f"chunks {shown(content[:3])} and more that are too much together are refused", content, 413)


def rule_8_lines() -> Iterator[Case]:
    """A bare LF, a bare CR or a NUL anywhere in a chunk line or trailer: 400. The final `0`, trailers and CRLF are
    mandatory: end of file before them is an error that the read raises, never a short success."""
    places = {
        "the size line": b"5%shello\r\n0\r\n\r\n",
        "the data": b"5\r\nhello%s0\r\n\r\n",
        "the last chunk": b"5\r\nhello\r\n0%s\r\n",
        "an extension": b"5;a%shello\r\n0\r\n\r\n",
        "an extension's value": b"5;a=b%shello\r\n0\r\n\r\n",
        "a quoted extension": b'5;a="b"%shello\r\n0\r\n\r\n',
        "the last extension": b"5\r\nhello\r\n0;a%s\r\n",
        "a trailer": b"5\r\nhello\r\n0\r\nX: y%s\r\n",
    }
    for place, pattern in places.items():
        for end in (b"\n", b"\r", b"\r\r\n", b"\n\r", b"\0\r\n", b"\r\n\r\n" if place == "the data" else b"\x0b\r\n"):
            yield broken(8, f"{place} that ends in {shown(end)} is refused", pattern % end)
    for end in (b"\n", b"\rX", b"\r\r\n", b"\n\r", b"\0\r\n", b"\x0b"):
        yield broken(8, f"a body that ends in {shown(end)} is refused", b"5\r\nhello\r\n0\r\n" + end)
    for content in (b"5\r\nhelloX\r\n", b"5\r\nhello", b"5\r\nhell\r\n", b"4\r\nhello\r\n", b"6\r\nhello\r\n"):
        yield broken(8, f"{shown(content)} is more or less than its size", content + END)
    data = b"5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n"
    for count in range(len(data)):
        yield Case(
            8, f"chunks that end behind {shown(data[:count])} are an error", coded(data[:count]),
            (400,), (seen_coded(None),), LINGERED, finished=True,
        )  # fmt: skip


def rule_8_extensions() -> Iterator[Case]:
    """Extensions: token grammar checked, capped, dropped."""
    for extension in (
        b";a", b";a=b", b";a;b;c", b";a=b;c=d", b';a="b"', b';a=""', b';a="b c;=\\"\\\\";d', b";!#$%&'*+-.^_`|~09=x",
        b";a = b", b"; a ;b", b';\ta\t=\t"b"\t;\tc', b';a="\x80\xff"', b';a="\t"', b';a="0\\r\\n"', b";5", b";a=5",
    ):  # fmt: skip
        content = b"5" + extension + b"\r\nhello\r\n0" + extension + b"\r\n\r\n"
        yield whole(8, f"the extension {shown(extension)} is dropped", content, "hello")
    for extension in (
        b";", b";;", b";a;", b";;a", b";=", b";=b", b";a=", b";a=;b", b";a==b", b";a=b=c", b";a b", b";a=b c", b";a ",
        b";a=b ", b"; ", b';"a"', b';a="b', b';a="b\\"', b';a="b"c', b';a="b"=c', b';a=b"c"', b";a,b", b";a=(b)",
        b" ;a", b"\t;a", b";\xe9", b";a=\xe9", b';a="\x7f"', b';a="\x01"', b';a="\0"', b';a="\n"', b';a="\r"',
        b';a="\r\n"', b';a="\\\r\n"', b';a="\\\n"', b";a=\n5", b";a=b\n", b";\n", b";\nxx", b";a\rb", b";\r", b";a:b",
        b";a/b", b";{",
    ):  # fmt: skip
        content = b"5" + extension + b"\r\nhello\r\n" + END
        yield broken(8, f"the extension {shown(extension)} is refused", content)
    yield whole(8, "extensions as long as their limit are fine", b"5;" + b"a" * 39 + b"\r\nhello\r\n" + END, "hello")
    yield broken(8, "extensions of one byte more are refused", b"5;" + b"a" * 40 + b"\r\nhello\r\n" + END)
    yield broken(8, "a quoted extension without end is refused", b'5;a="' + b"b" * 40)
    each = b"1;" + b"a" * 9 + b"\r\nx\r\n"
    yield whole(8, "extensions of all chunks as long as their limit are fine", each * 4 + END, "xxxx")
    yield broken(8, "extensions of all chunks together have one limit", each * 5 + END)


FORBIDDEN = (
    b"Content-Length", b"Transfer-Encoding", b"TRANSFER-ENCODING", b"Host", b"Connection", b"Trailer", b"TE",
    b"Upgrade",
)  # fmt: skip
KEPT_APART = (
    b"Authorization", b"Cookie", b"Proxy-Authorization", b"X-Forwarded-For", b"Forwarded", b"Content-Type",
    b"Expect", b"Content-Encoding", b"Content-Range", b"Proxy", b"Keep-Alive", b"Cache-Control", b"Max-Forwards",
    b"Range",
)  # fmt: skip


def rule_9() -> Iterator[Case]:
    """Trailers: field rules and caps as above; framing names refused, the rest kept apart and given to the application
    after the content, never merged into headers."""
    for trailers in (
        b"X: y\r\n", b"X:\r\n", b"X: y\tz \xff\r\nZ:z\r\n", b"Server-Timing: a\r\n", b"X_Y: z\r\n", b"X:y\r\n" * 8,
    ):  # fmt: skip
        content = b"5\r\nhello\r\n0\r\n" + trailers + b"\r\n"
        yield whole(9, f"the trailers {shown(trailers)} are no fields", content, "hello")
    for name in FORBIDDEN:
        yield broken(9, f"{text(name)} in trailers is refused", b"0\r\n" + name + b": 5\r\n\r\n")
        good = b"0\r\nX" + name + b": 5\r\n\r\n"
        yield whole(9, f"X{text(name)} in trailers is another name", good, "")
    for name in KEPT_APART:
        yield whole(9, f"{text(name)} in trailers is kept apart", b"0\r\n" + name + b": 5\r\n\r\n", "")
    for trailer in (
        b": y\r\n", b"X : y\r\n", b"X\t: y\r\n", b"X\r\n", b"X y\r\n", b" X: y\r\n", b"\tX: y\r\n", b"X: y\r\n z\r\n",
        b"X: y\r\n\tz\r\n", b"X:\r\n y\r\n", b"X: \0\r\n", b"X: a\rb\r\n", b"X: a\nb\r\n", b"X\xe9: y\r\n",
        b"X: \x7f\r\n", b"X: \x01\r\n", b"X\0: y\r\n", b"X\n: y\r\n", b"X(: y\r\n", b"X: y\r\nHost : a\r\n",
    ):  # fmt: skip
        yield broken(9, f"the trailer {shown(trailer)} is refused", b"5\r\nhello\r\n0\r\n" + trailer + b"\r\n")
    limit = b"0\r\nX: " + b"y" * 33 + b"\r\n\r\n"  # 40 bytes with the CRLF that ends the section, which is not counted
    yield broken(9, "trailers longer than their limit are refused", limit.replace(b"y", b"yyyy", 1), 431)
    yield broken(9, "a trailer without end is refused", b"0\r\nX: " + b"y" * 80, 431)
    yield broken(9, "the name of a trailer without end is refused", b"0\r\n" + b"X" * 80, 431)
    yield whole(9, "trailers shorter than their limit are fine", limit, "")
    content = b"0\r\nX: y\r\n\r\n" + SMUGGLED
    yield Case(
        9, "what follows trailers is a request of its own", coded(content), (200, 200),
        (seen_coded(""), Seen(target="/smuggled")),
    )  # fmt: skip


def rule_11() -> Iterator[Case]:
    """A response finished while the body is unread: drain, else close. A connection whose position is unknown is never
    reused."""
    value = str(len(SMUGGLED))
    seen = seen_sized(value, None, target="/unread")
    data = sized(value.encode(), target=b"/unread") + SMUGGLED
    yield accepted(11, "a request within unread content of known length is dropped with it", data, seen)
    content = b"%x\r\n%s\r\n%s" % (len(SMUGGLED), SMUGGLED, END)
    unread = seen_coded(None, target="/unread")
    yield accepted(11, "a request within unread chunks is dropped with them", coded(content, target=b"/unread"), unread)
    for bad in (b"zz\r\n", b"5\nhello\r\n" + END, b"5\r\nhello" + END, b"0\r\nX : y\r\n\r\n", b"\r\n"):
        data = coded(bad, target=b"/unread") + SMUGGLED
        yield Case(11, f"unread chunks like {shown(bad)} end the connection", data, (200,), (unread,), LINGERED)
    for data, seen in (
        (sized(b"5", target=b"/unread") + b"hell", seen_sized("5", None, target="/unread")),
        (coded(b"5\r\nhello\r\n", target=b"/unread"), unread),
    ):
        name = f"unread content that ends early ends the connection ({data[-2:]!r})"
        yield Case(11, name, data, (200,), (seen,), CLOSED, finished=True)


def rule_12() -> Iterator[Case]:
    """`100` goes out on the first body read; never when body bytes are already here. An app that answers without
    reading, no `100` sent: always close. An unknown expectation: 417. Ignored on 1.0."""
    expect = b"Expect: 100-continue"
    field = ("Expect", "100-continue")
    for head_, then, seen in (
        (sized(b"5", expect), b"hello", seen_sized("5", "hello", field)),
        (coded(b"", expect), b"5\r\nhello\r\n" + END, seen_coded("hello", field)),
        (sized(b"5", b"Expect: 100-CONTINUE"), b"hello", seen_sized("5", "hello", ("Expect", "100-CONTINUE"))),
    ):
        name = f"the client is told to continue when {seen.fields[0][0]} is read, {seen.fields[-1][1]}"
        yield Case(12, name, head_, (100, 200), (seen,), KEPT, then)
        unread = seen._replace(target="/unread", body=None)
        data = head_.replace(b" / ", b" /unread ")
        yield Case(12, f"{name}, and else the connection ends", data, (200,), (unread,), LINGERED)
    seen = seen_sized("0", "", field)
    yield accepted(12, "without content there is nothing to continue with", sized(b"0", expect), seen)
    yield accepted(12, "without a length neither", head(b"GET / HTTP/1.1", expect), Seen(fields=(field,)))
    for value in (
        b"200-ok", b"100-continue, other", b"100-continue;a", b"100", b"100-continued", b'"100-continue"', b"\xa0",
    ):  # fmt: skip
        data = sized(b"5", b"Expect: " + value) + b"hello"
        yield refused(12, f"the expectation {shown(value)} cannot be met", data, 417)
    for value in ("100-continue", "other"):
        data = sized(b"5", f"Expect: {value}".encode(), version=b"1.0") + b"hello"
        seen = seen_sized("5", "hello", ("Expect", value))
        yield Case(12, f"the expectation {value} is ignored on 1.0", data, (200,), (seen,), CLOSED, alone=True)
    yield refused(12, "content beyond its limit is not waited for", sized(b"1001", expect), 413)


def cases() -> Iterator[Case]:
    for rule in (
        rule_6, rule_7, rule_8_sizes, rule_8_lines, rule_8_extensions, rule_9, rule_11, rule_12
    ):  # fmt: skip
        yield from rule()
