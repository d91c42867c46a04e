"""Entries for request heads: rules 2 to 5, 10, 13 to 15 and 21, and the limits of heads."""

from __future__ import annotations

from collections.abc import Iterator

from tests.contract.cases import CLOSED, HOST, LINGERED, Case, Seen, accepted, head, refused, shown, text


def rule_2() -> Iterator[Case]:
    """A line ends in CRLF, nothing else. A bare LF, a bare CR or a NUL anywhere in a request line or field: 400 and
    close. Up to two empty lines before a request line are skipped."""
    places = {
        "an empty line before the request": b"%sGET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n",
        "the request line": b"GET / HTTP/1.1%sHost: a\r\nX: y\r\n\r\n",
        "the first field": b"GET / HTTP/1.1\r\nHost: a%sX: y\r\n\r\n",
        "the last field": b"GET / HTTP/1.1\r\nHost: a\r\nX: y%s\r\n",
        "the head": b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n%s",
    }
    for place, pattern in places.items():
        for end in (b"\n", b"\r", b"\r\r\n", b"\n\r", b"\0\r\n", b"\x0b", b"\x85"):
            yield refused(2, f"{place} that ends in {shown(end)} is refused", pattern % end)
    parts = {
        "a method": b"G%sT / HTTP/1.1\r\nHost: a\r\n\r\n",
        "a target": b"GET /%sa HTTP/1.1\r\nHost: a\r\n\r\n",
        "a query": b"GET /?%sa HTTP/1.1\r\nHost: a\r\n\r\n",
        "a version": b"GET / HTTP/%s1.1\r\nHost: a\r\n\r\n",
        "a Host": b"GET / HTTP/1.1\r\nHost: a%sa\r\n\r\n",
        "a name": b"GET / HTTP/1.1\r\nHost: a\r\nX%sX: y\r\n\r\n",
        "a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: y%sy\r\n\r\n",
    }
    for part, pattern in parts.items():
        for byte in (b"\0", b"\r", b"\n", b"\x01", b"\x0b", b"\x1f", b"\x7f"):
            yield refused(2, f"{shown(byte)} in {part} is refused", pattern % byte)
    for count in (1, 2):
        yield accepted(2, f"{count} empty lines before a request line are skipped", b"\r\n" * count + head())
    yield refused(2, "a third empty line before a request line is refused", b"\r\n" * 3 + head())
    yield refused(2, "a line of white space before a request line is refused", b" \r\n" + head())


def rule_3() -> Iterator[Case]:
    """The method is a token of at most 32 bytes (longer: 501), case-sensitive; one SP; target; one SP; `HTTP/1.` and a
    digit (1.2 and above are 1.1). Anything else 400; a well-formed other major version 505."""
    for method in ("HEAD", "POST", "PUT", "OPTIONS", "PATCH", "get", "M-SEARCH", "!#$%&'*+-.^_`|~09", "A" * 32):
        yield accepted(3, f"{method} is a method", head(f"{method} / HTTP/1.1".encode()), Seen(method))
    yield refused(3, "a method of 33 bytes is not implemented", head(b"A" * 33 + b" / HTTP/1.1"), 501)
    for line in (
        b"GET  / HTTP/1.1", b"GET /  HTTP/1.1", b"GET\t/ HTTP/1.1", b"GET /\tHTTP/1.1", b" GET / HTTP/1.1",
        b"\tGET / HTTP/1.1", b"GET / HTTP/1.1 ", b"GET / HTTP/1.1\t", b"GET /a b HTTP/1.1", b"GET HTTP/1.1",
        b"GET  HTTP/1.1", b"GET /", b"GET / ", b"GET", b"/ HTTP/1.1", b" / HTTP/1.1", b"GET: / HTTP/1.1",
        b"G(T / HTTP/1.1", b"G\xc9T / HTTP/1.1", b"GET / HTTP/1.1 HTTP/1.1", b"\x16\x03\x01\x02\x00\x01",
        b"GET / HTTP/1.1,", b"\xef\xbb\xbfGET / HTTP/1.1", b"PRI * HTTP/2.0 ",
    ):  # fmt: skip
        yield refused(3, f"{shown(line)} is no request line", head(line))
    for version in ("1.2", "1.9"):
        yield accepted(3, f"HTTP/{version} is read as 1.1", head(f"GET / HTTP/{version}".encode()))
    for version in ("HTTP/2.0", "HTTP/0.9", "HTTP/3.1", "HTTP/9.9"):
        yield refused(3, f"{version} is a version not supported", head(f"GET / {version}".encode()), 505)
    for version in (
        "http/1.1", "Http/1.1", "HTTP/1", "HTTP/2", "HTTP/11.1", "HTTP/1.10", "HTTP/01.1", "HTTP/1.", "HTTP/.1",
        "HTTP/1,1", "HTTP/-1.1", "HTTP/+1.1", "HTTP/1.+", "HTTP/x.1", "HTTP/1.x", "HTTPS/1.1", "HTTP 1.1", "ICY/1.1",
        "HTTP/\xb9.1", "HTTP/1.\xb9", "HTTP//1.1", "XHTTP/1.1",
    ):  # fmt: skip
        yield refused(3, f"{version!r} is no version", head(f"GET / {version}".encode("latin-1")))


def rule_3_targets() -> Iterator[Case]:
    """Target bytes are 0x21-0x7E, and 0x80-0xFF after the first `?`: origin-form; absolute-form (its host replaces
    `Host`; where both are there and differ: 400); `*` only with OPTIONS; authority-form only with CONNECT; no `#`."""
    for target in (
        b"/", b"/a/b", b"/a?", b"/a?b=c", b"/a?b?c", b"/%61%zz%", b"//a", b"/..;/a", b"/../a", b'/"<>\\^`{|}',
        b"/a?\xc3\xa9", b"/?\xff", b"/a:b@c", b"/*", b"//", b"/http://b/",
    ):  # fmt: skip
        data = head(b"GET " + target + b" HTTP/1.1")
        yield accepted(3, f"{shown(target)} is an origin-form and arrives as it is", data, Seen(target=text(target)))
    for target in (
        b"/a#b", b"/a?b#c", b"/#", b"#", b"/\xc3\xa9", b"/\x80", b"/\xa0?a", b"a", b"a/b", b"?a", b"*", b"*a", b"**",
        b"http://", b"http:///a", b"http://?a", b"http://u@a/", b"http://u:p@a/", b"http://:80/", b"http://a:b/",
        b"http://a:65536/", b"http://a,b/", b"http:/a", b"http:a", b"http//a", b"ftp://a/", b"https:/a", b"ws://a/",
        b"http://a/#b", b"a:80", b"http://a\\b/", b"javascript:alert(1)", b"http://a\xe9/", b"http://[::1/",
        b"http://[::1]a/", b"http://a:+80/", b"http://a:8 0/", b"http://a%zz/",
    ):  # fmt: skip
        yield refused(3, f"{shown(target)} is no target of GET", head(b"GET " + target + b" HTTP/1.1"))
    yield accepted(3, "an asterisk is a target of OPTIONS", head(b"OPTIONS * HTTP/1.1"), Seen("OPTIONS", "*"))
    yield refused(3, "an asterisk with more is no target of OPTIONS", head(b"OPTIONS *? HTTP/1.1"))
    for target, host, told in (
        ("http://a/", "a", "a"), ("http://A/b?c", "a", "A"), ("http://a", "a:80", "a"), ("http://a:80/", "a", "a:80"),
        ("http://a:/", "a:80", "a:"), ("https://a/", "a:443", "a"), ("HTTP://a/", "a", "a"), ("http://a?b", "a", "a"),
        ("http://[::1]:80/", "[::1]", "[::1]:80"), ("http://a:8080/", "A:8080", "a:8080"),
    ):  # fmt: skip
        data = head(f"GET {target} HTTP/1.1".encode(), host=f"Host: {host}\r\n".encode())
        yield accepted(3, f"the host of {target} replaces Host: {host}", data, Seen(target=target, host=told))
    for target, host in (
        ("http://a/", "b"), ("http://a/", "aa"), ("http://aa/", "a"), ("http://a/", "a:81"), ("http://a/", "a:443"),
        ("https://a/", "a:80"), ("https://a/", "a:8443"), ("http://a:1/", "a:2"), ("http://a./", "a"),
    ):  # fmt: skip
        data = head(f"GET {target} HTTP/1.1".encode(), host=f"Host: {host}\r\n".encode())
        yield refused(3, f"{target} with Host: {host} is refused", data)
    yield refused(3, "an absolute-form on 1.1 needs Host all the same", head(b"GET http://a/ HTTP/1.1", host=b""))
    yield Case(
        3, "an absolute-form on 1.0 gives the host", head(b"GET http://b/ HTTP/1.0", host=b""),
        (200,), (Seen(target="http://b/", host="b"),), CLOSED, alone=True,
    )  # fmt: skip


def rule_4() -> Iterator[Case]:
    """Field name: token, non-empty, nothing between it and the colon. A folded line: 400. Value: HTAB, SP, VCHAR,
    obs-text; trim SP and HTAB only."""
    for line, name, value in (
        (b"X: y", "X", "y"), (b"X:y", "X", "y"), (b"X:", "X", ""), (b"X: \t \t", "X", ""), (b"X: \ty\t ", "X", "y"),
        (b"X: y z", "X", "y z"), (b"X: y\tz", "X", "y\tz"), (b"X: y:z", "X", "y:z"), (b"X::", "X", ":"),
        (b"X: \xa0y\x85", "X", "\xa0y\x85"), (b"X: \x80\xff", "X", "\x80\xff"), (b"X: \xc3\xa9", "X", "\xc3\xa9"),
        (b"!#$%&'*+-.^`|~09aZ: y", "!#$%&'*+-.^`|~09aZ", "y"), (b"x-MiXeD: Q", "x-MiXeD", "Q"), (b'X: "', "X", '"'),
        (b"Xontent-Length: 5", "Xontent-Length", "5"), (b"Content-Lengths: 5", "Content-Lengths", "5"),
        (b"Content.Length: 5", "Content.Length", "5"), (b"ContentLength: 5", "ContentLength", "5"),
    ):  # fmt: skip
        data = head(b"GET / HTTP/1.1", line)
        yield accepted(4, f"the field {shown(line)} arrives trimmed", data, Seen(fields=((name, value),)))
    for line in (
        b": y", b" : y", b"X : y", b"X\t: y", b"X\xa0: y", b"X\x0b: y", b" X: y", b"\tX: y", b"X Y: z", b"X", b"X y",
        b"=", b"X(y): z", b"X@y: z", b"X/y: z", b'"X": y', b"X;y: z", b"X,Y: z", b"X\xe9: y", b"\xffX: y", b"{X}: y",
        b"X: y\r\n z", b"X: y\r\n\tz", b"X: y\r\n ", b"X:\r\n y", b"X: y\r\n  Z: z", b"Host : a", b"GET / HTTP/1.1",
    ):  # fmt: skip
        yield refused(4, f"the field {shown(line)} is refused", head(b"GET / HTTP/1.1", line))
    for fold in (b" X: y\r\n", b"\tX: y\r\n", b" \r\n"):
        data = b"GET / HTTP/1.1\r\n" + fold + HOST + b"\r\n"
        yield refused(4, f"a first field line {shown(fold)} is a fold and refused", data)


GOOD_HOSTS = (
    "example.com", "EXAMPLE.com", "a:80", "a:0", "a:65535", "a:", "my_container:8000", "127.0.0.1:80", "a%2Db",
    "[::1]", "[::1]:8000", "[::]", "[1:2:3:4:5:6:7:8]", "[1::8]", "[1:2:3:4:5:6:7::]", "[::ffff:1.2.3.4]",
    "[1:2:3:4:5:6:1.2.3.4]", "[2001:DB8::1]", "[::1]:", "a-b.c~d!$&'()*+;=",
)  # fmt: skip
BAD_HOSTS = (
    "", " ", ":80", "a b", "a,b", "a, b", "a,", "u@a", "u:p@a", "@a", "a/", "a/b", "a?b", "a#b", "http://a", "a:b",
    "a:80a", "a:+80", "a:-1", "a: 80", "a:65536", "a:99999", "a:000080", "a:80:80", "a%2", "a%", "a%gg", "a\\b", 'a"',
    "a<", "a\xe9", "a\tb", "[", "[]", "[::1", "::1", "[::1]a", "[::1]:x", "[:1]", "[1:]", "[1]", "[1::2::3]", "[:::]",
    "[1:2:3:4:5:6:7]", "[1:2:3:4:5:6:7:8:9]", "[1:2:3:4:5:6:7:8::]", "[12345::]", "[g::]", "[::1.2.3]", "[::1.2.3.256]",
    "[::1.2.3.04]", "[::1.2.3.4.5]", "[1.2.3.4]", "[1:2:3:4:5:6:7:1.2.3.4]", "[fe80::1%25eth0]", "[v1.a]", "[[::1]]",
)  # fmt: skip


def rule_5() -> Iterator[Case]:
    """Host: exactly one on HTTP/1.1; missing, empty, duplicate, list, user-info, path, bad port: 400. `_` is allowed in
    it. On 1.0 it may be missing, not doubled."""
    for host in GOOD_HOSTS:
        yield accepted(5, f"Host: {host} is good", head(host=f"Host: {host}\r\n".encode()), Seen(host=host))
    for host in BAD_HOSTS:
        line = f"Host: {host}\r\n".encode("latin-1")
        yield refused(5, f"Host: {host!r} is refused", head(host=line))
        if host:  # the empty one is below
            yield refused(5, f"Host: {host!r} on 1.0 is refused", head(b"GET / HTTP/1.0", host=line))
    for version in (b"1.0", b"1.1"):
        line = b"GET / HTTP/" + version
        for second in (b"Host: a", b"Host: b", b"host: a", b"HOST:"):
            name = f"a second {shown(second)} on {text(version)} is refused"
            yield refused(5, name, head(line, second))
            yield refused(5, name + " also behind other fields", head(line, b"X: y", second))
        yield refused(5, f"an empty Host on {text(version)} is refused", head(line, host=b"Host:\r\n"))
    for version in (b"1.1", b"1.2"):
        yield refused(5, f"no Host on {text(version)} is refused", head(b"GET / HTTP/" + version, host=b""))
    yield Case(
        5, "no Host on 1.0 is fine", head(b"GET / HTTP/1.0", host=b""), (200,), (Seen(host=""),), CLOSED, alone=True
    )  # fmt: skip


def rule_10() -> Iterator[Case]:
    """After any parse error nothing more is read as HTTP from that connection: answer, close, lingering close."""
    bad = {
        "a line that is not HTTP": b"NO\r\n\r\n",
        "a bare line feed": b"GET / HTTP/1.1\nHost: a\n\n",
        "a doubled Host": head(b"GET / HTTP/1.1", b"Host: b"),
    }
    for what, data in bad.items():
        name = f"{what} behind two good requests is refused, and they are answered"
        yield Case(10, name, head() * 2 + data, (200, 200, 400), (Seen(), Seen()), LINGERED)


def rule_13() -> Iterator[Case]:
    """A body on GET, HEAD, DELETE, OPTIONS is framed like any other. CONNECT and TRACE: 501."""
    for method in ("GET", "HEAD", "DELETE", "OPTIONS", "X-OWN"):
        line = f"{method} / HTTP/1.1".encode()
        data = head(line, b"Content-Length: 5") + b"hello"
        seen = Seen(method, "/", "a", (("Content-Length", "5"),), "hello")
        yield accepted(13, f"content of known length on {method} is content", data, seen)
        data = head(line, b"Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n"
        seen = Seen(method, "/", "a", (), "hello")
        yield accepted(13, f"content in chunks on {method} is content", data, seen)
    for line in (b"CONNECT a:80 HTTP/1.1", b"TRACE / HTTP/1.1", b"CONNECT / HTTP/1.1", b"CONNECT a HTTP/1.0"):
        yield refused(13, f"{text(line)} is not implemented", head(line), 501)


def rule_14() -> Iterator[Case]:
    """Names with `_` are dropped; `Proxy` is dropped. Duplicate fields join with `, `, `Cookie` with `; `."""
    for name in (b"X_Y", b"_", b"Content_Length", b"Transfer_Encoding", b"Host_", b"Proxy", b"PROXY", b"proxy"):
        data = head(b"GET / HTTP/1.1", name + b": chunked", b"Z: z")
        yield accepted(14, f"a field named {text(name)} is dropped", data, Seen(fields=(("Z", "z"),)))
    yield accepted(
        14, "a name that only begins like Proxy is kept", head(b"GET / HTTP/1.1", b"Proxy-X: y"),
        Seen(fields=(("Proxy-X", "y"),)),
    )  # fmt: skip
    yield refused(14, "a field to be dropped is checked all the same", head(b"GET / HTTP/1.1", b"X_Y: \x01"))
    for names in (("X", "x", "X"), ("Accept", "accept"), ("Cookie", "COOKIE", "cookie"), ("X-Forwarded-Server",) * 2):
        fields = tuple((name, f"v{i}") for i, name in enumerate(names))
        lines = [f"{name}: {value}".encode() for name, value in fields]
        data = head(b"GET / HTTP/1.1", *lines)
        yield accepted(14, f"fields named {', '.join(names)} arrive in order", data, Seen(fields=fields))


def rule_15() -> Iterator[Case]:
    """An upgrade that nobody offers is ignored (RFC 9110 7.8)."""
    for lines in (
        ("Connection: Upgrade", "Upgrade: websocket"), ("Upgrade: h2c",),
        ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"),
    ):  # fmt: skip
        fields = tuple((line.partition(": ")[0], line.partition(": ")[2]) for line in lines)
        data = head(b"GET / HTTP/1.1", *[line.encode() for line in lines])
        yield accepted(15, f"{'; '.join(lines)} is answered without an upgrade", data, Seen(fields=fields))


def rule_21() -> Iterator[Case]:
    """Request `Connection` is a case-insensitive list over all its lines; `close` anywhere wins. HTTP/1.0 keep-alive
    only when asked for."""
    for version, lines, keeps in (
        ("1.1", ["keep-alive"], True), ("1.1", [""], True), ("1.1", ["closed"], True), ("1.1", ["x-close"], True),
        ("1.1", ['"close"'], True), ("1.1", ["close;x"], True), ("1.1", ["close"], False), ("1.1", ["CLOSE"], False),
        ("1.1", ["keep-alive, close"], False), ("1.1", ["close, keep-alive"], False),
        ("1.1", ["a ,\t Close\t, b"], False), ("1.1", [",,close,"], False), ("1.1", ["close", "keep-alive"], False),
        ("1.1", ["keep-alive", "close"], False), ("1.2", ["close"], False), ("1.0", [], False),
        ("1.0", ["keep-alive"], True), ("1.0", ["Keep-Alive"], True), ("1.0", ["x, keep-alive"], True),
        ("1.0", ["keep-alive, close"], False), ("1.0", ["keep-alive", "close"], False), ("1.0", ["upgrade"], False),
    ):  # fmt: skip
        data = head(f"GET / HTTP/{version}".encode(), *[f"Connection: {line}".encode() for line in lines])
        seen = Seen(fields=tuple(("Connection", line.strip()) for line in lines))
        name = f"Connection: {' and '.join(lines) or 'nothing'} on {version} {'keeps' if keeps else 'closes'}"
        if keeps:
            yield accepted(21, name, data, seen)
        else:
            yield Case(21, name, data, (200,), (seen,), CLOSED, alone=True)
    seen = Seen(fields=(("X-Connection", "close"),))
    yield accepted(21, "X-Connection: close does not close", head(b"GET / HTTP/1.1", b"X-Connection: close"), seen)
    seen = Seen(fields=(("Keep-Alive", "timeout=5"),))
    data = head(b"GET / HTTP/1.0", b"Keep-Alive: timeout=5")
    yield Case(21, "Keep-Alive on 1.0 does not keep", data, (200,), (seen,), CLOSED, alone=True)
    data = head(b"GET / HTTP/1.1", b"Connection: close") + head(b"GET /smuggled HTTP/1.1")
    seen = Seen(fields=(("Connection", "close"),))
    yield Case(21, "what follows the last request is not served", data, (200,), (seen,), CLOSED, alone=True)


def limits() -> Iterator[Case]:
    """limit_request_line: 414. limit_request_head, limit_request_fields: 431."""
    line = b"GET /" + b"a" * 186 + b" HTTP/1.1"
    seen = Seen(target="/" + "a" * 186)
    yield accepted(3, "a request line as long as its limit is fine", head(line), seen)
    yield refused(3, "a request line of one byte more is too long", head(line.replace(b"/a", b"/aa")), 414)
    yield refused(3, "a request line without an end is refused before its end", b"GET /" + b"a" * 197, 414)
    value = b"y" * (600 - len(HOST) - 5)
    yield accepted(
        4, "fields as long as their limit are fine", head(b"GET / HTTP/1.1", b"X: " + value),
        Seen(fields=(("X", text(value)),)),
    )  # fmt: skip
    yield refused(4, "fields of one byte more are too long", head(b"GET / HTTP/1.1", b"X: y" + value), 431)
    yield accepted(
        4, "as many fields as allowed are fine", head(b"GET / HTTP/1.1", *[b"X: y"] * 11),
        Seen(fields=(("X", "y"),) * 11),
    )  # fmt: skip
    yield refused(4, "one field more is too many", head(b"GET / HTTP/1.1", *[b"X: y"] * 12), 431)
    yield refused(14, "fields to be dropped count", head(b"GET / HTTP/1.1", *[b"X_Y: y"] * 12), 431)


def cases() -> Iterator[Case]:
    for rule in (
        rule_2, rule_3, rule_3_targets, rule_4, rule_5, rule_10, rule_13, rule_14, rule_15, rule_21, limits
    ):  # fmt: skip
        yield from rule()
