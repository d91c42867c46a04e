"""RFC 9112 sections 2 and 3: how a request begins. Contract rules 2, 3, 5 and 13."""

from __future__ import annotations

import pytest

from greenhttp.wire.head import Form
from tests.wire.feeding import head_of, request, status_of


@pytest.mark.parametrize("empty", [0, 1, 2])
def test_2_2_up_to_two_empty_lines_before_the_request_line_are_skipped(empty: int) -> None:
    assert head_of(b"\r\n" * empty + request())["method"] == "GET"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\r\n\r\n\r\n" + request(), id="three empty lines"),
        pytest.param(b"\n" + request(), id="an empty line of LF"),
        pytest.param(b"\r\n\n" + request(), id="the second empty line of LF"),
        pytest.param(b"\r" + request(), id="CR before the method"),
        pytest.param(b" \r\n" + request(), id="a line of SP"),
        pytest.param(b"GET / HTTP/1.1\nHost: a\r\n\r\n", id="request line ends in LF"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\n\r\n", id="field line ends in LF"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n\n", id="head ends in LF"),
        pytest.param(b"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", id="request line ends in CR CRLF"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", id="field line ends in CR CRLF"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n\r\n", id="head ends in CR CRLF"),
        pytest.param(b"GET / HTTP/1.1\rHost: a\r\n\r\n", id="bare CR in the request line"),
        pytest.param(b"GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", id="bare CR in the target"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", id="bare CR in a field"),
        pytest.param(b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", id="NUL in the target"),
        pytest.param(b"G\0T / HTTP/1.1\r\nHost: a\r\n\r\n", id="NUL in the method"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\0\r\n\r\n", id="NUL in a value"),
        pytest.param(b"GET / HTTP/1.1\r\nHo\0st: a\r\n\r\n", id="NUL in a name"),
    ],
)
def test_2_2_a_line_ends_in_crlf_and_nothing_else(data: bytes) -> None:
    assert status_of(data) == 400


@pytest.mark.parametrize(
    ("line", "status"),
    [
        pytest.param(b"GET / HTTP/1.1", 200, id="one SP between the three parts"),
        pytest.param(b"GET  / HTTP/1.1", 400, id="two SP after the method"),
        pytest.param(b"GET /  HTTP/1.1", 400, id="two SP after the target"),
        pytest.param(b"GET\t/ HTTP/1.1", 400, id="HTAB after the method"),
        pytest.param(b"GET /\tHTTP/1.1", 400, id="HTAB after the target"),
        pytest.param(b" GET / HTTP/1.1", 400, id="SP before the method"),
        pytest.param(b"GET / HTTP/1.1 ", 400, id="SP after the version"),
        pytest.param(b"GET /a b HTTP/1.1", 400, id="SP in the target"),
        pytest.param(b"GET HTTP/1.1", 400, id="no target"),
        pytest.param(b"GET  HTTP/1.1", 400, id="an empty target"),
        pytest.param(b"GET /", 400, id="no version (HTTP/0.9)"),
        pytest.param(b"GET", 400, id="a method alone"),
        pytest.param(b"/ HTTP/1.1", 400, id="no method"),
        pytest.param(b"GET: / HTTP/1.1", 400, id="a colon in the method"),
        pytest.param(b"G\xc9T / HTTP/1.1", 400, id="obs-text in the method"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01", 400, id="a TLS hello"),
    ],
)
def test_3_a_request_line_is_method_sp_target_sp_version(line: bytes, status: int) -> None:
    assert status_of(request(line)) == status


@pytest.mark.parametrize(
    "method",
    [
        "GET",
        "HEAD",
        "POST",
        "PUT",
        "DELETE",
        "OPTIONS",
        "PATCH",
        "PROPFIND",
        "get",
        "M-SEARCH",
        "!#$%&'*+-.^_`|~09",
        "A" * 32,
    ],
)
def test_3_1_a_method_is_a_case_sensitive_token(method: str) -> None:
    assert head_of(request(method.encode() + b" / HTTP/1.1"))["method"] == method


@pytest.mark.parametrize("size", [33, 200])
def test_3_1_a_method_longer_than_32_bytes_is_answered_501(size: int) -> None:
    assert status_of(request(b"A" * size + b" / HTTP/1.1")) == 501


@pytest.mark.parametrize(
    ("version", "status"),
    [
        ("HTTP/1.1", 200),
        ("HTTP/1.0", 200),
        ("HTTP/1.2", 200),
        ("HTTP/1.9", 200),
        ("HTTP/2.0", 505),
        ("HTTP/0.9", 505),
        ("HTTP/3.1", 505),
        ("HTTP/9.9", 505),
        ("http/1.1", 400),
        ("HTTP/1", 400),
        ("HTTP/2", 400),
        ("HTTP/11.1", 400),
        ("HTTP/1.10", 400),
        ("HTTP/1.", 400),
        ("HTTP/.1", 400),
        ("HTTP/1,1", 400),
        ("HTTP/-1.1", 400),
        ("HTTP/+.1", 400),
        ("HTTP/x.1", 400),
        ("HTTP/1.x", 400),
        ("HTTPS/1.1", 400),
        ("HTTP 1.1", 400),
        ("ICY/1.1", 400),
    ],
)
def test_2_3_a_version_is_http_1_and_a_digit(version: str, status: int) -> None:
    assert status_of(request(b"GET / " + version.encode())) == status


@pytest.mark.parametrize(("version", "minor"), [("1.0", 0), ("1.1", 1), ("1.2", 1), ("1.9", 1)])
def test_9110_2_5_a_higher_minor_version_is_read_as_1_1(version: str, minor: int) -> None:
    head = head_of(request(b"GET / HTTP/" + version.encode()))
    assert (head["minor"], head["version"]) == (minor, f"HTTP/1.{minor}")


@pytest.mark.parametrize(
    ("target", "path", "query", "has_query", "plain"),
    [
        (b"/", "/", "", False, True),
        (b"/a/b", "/a/b", "", False, True),
        (b"/a?", "/a", "", True, True),
        (b"/a?b=c", "/a", "b=c", True, True),
        (b"/a?b?c", "/a", "b?c", True, True),
        (b"/a%20b", "/a%20b", "", False, False),
        (b"/a?b%20c", "/a", "b%20c", True, True),
        (b"//a", "//a", "", False, True),
        (b"/..;/a", "/..;/a", "", False, True),
        (b'/"<>\\^`{|}', '/"<>\\^`{|}', "", False, True),
        (b"/a?\xc3\xa9", "/a", "\xc3\xa9", True, True),
    ],
)
def test_3_2_1_origin_form_is_a_path_and_perhaps_a_query(
    target: bytes, path: str, query: str, has_query: bool, plain: bool
) -> None:
    head = head_of(request(b"GET " + target + b" HTTP/1.1"))
    assert head["form"] is Form.ORIGIN
    assert (head["target"], head["path"], head["query"]) == (target.decode("latin-1"), path, query)
    assert (head["has_query"], head["path_plain"]) == (has_query, plain)


@pytest.mark.parametrize(
    "target",
    [
        b"/a#b",
        b"/a?b#c",
        b"/#",
        b"/\x7f",
        b"/?\x7f",
        b"/?\x01",
        b"/\xc3\xa9",
        b"/\x80",
        b"a",
        b"a/b",
        b"?a",
        b"*",
        b"*a",
        b"//#",
    ],
)
def test_3_2_a_target_holds_visible_ascii_and_high_bytes_in_the_query_only(target: bytes) -> None:
    assert status_of(request(b"GET " + target + b" HTTP/1.1")) == 400


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("http://example.com", "/", ""),
        ("http://example.com/", "/", ""),
        ("http://example.com/a?b", "/a", "b"),
        ("http://example.com?b/c", "/", "b/c"),
        ("HTTP://EXAMPLE.com:80/a", "/a", ""),
    ],
)
def test_3_2_2_absolute_form_gives_the_path_and_replaces_host(target: str, path: str, query: str) -> None:
    head = head_of(request(f"GET {target} HTTP/1.1".encode()))
    assert head["form"] is Form.ABSOLUTE
    assert (head["target"], head["path"], head["query"]) == (target, path, query)
    assert head["host"] == target.split("//")[1].split("/")[0].split("?")[0]


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://a/", "a", 200),
        ("http://a/", "A", 200),
        ("http://a/", "a:80", 200),
        ("http://a:80/", "a", 200),
        ("http://a:/", "a:80", 200),
        ("https://a/", "a:443", 200),
        ("http://[::1]:80/", "[::1]", 200),
        ("http://a/", "b", 400),
        ("http://a/", "aa", 400),
        ("http://a/", "a:81", 400),
        ("http://a/", "a:443", 400),
        ("https://a/", "a:80", 400),
        ("http://a:1/", "a:2", 400),
    ],
)
def test_3_2_2_a_host_that_differs_from_the_target_is_refused(target: str, host: str, status: int) -> None:
    assert status_of(request(f"GET {target} HTTP/1.1".encode(), host=f"Host: {host}\r\n".encode())) == status


@pytest.mark.parametrize(
    "target",
    ["http://", "http:///a", "http://?a", "http://u@example.com/", "http://u:p@example.com/", "http://:80/",
     "http://a:b/", "http://a:65536/", "http://a,b/", "http:/a", "http:a", "ftp://example.com/", "//", "http://a/#b",
     "example.com:80", "http://a\\b/", "javascript:alert(1)"],
)  # fmt: skip
def test_3_2_2_a_malformed_absolute_form_is_refused(target: str) -> None:
    expected = 200 if target == "//" else 400
    assert status_of(request(f"GET {target} HTTP/1.1".encode())) == expected


def test_3_2_2_absolute_form_on_1_1_still_needs_host() -> None:
    assert status_of(request(b"GET http://a/ HTTP/1.1", host=b"")) == 400
    assert head_of(request(b"GET http://a/ HTTP/1.0", host=b""))["host"] == "a"


def test_3_2_3_authority_form_belongs_to_connect() -> None:
    head = head_of(request(b"CONNECT example.com:443 HTTP/1.1"), allow_connect=True)
    assert (head["form"], head["target"], head["path"]) == (Form.AUTHORITY, "example.com:443", "")


@pytest.mark.parametrize(
    "target", ["example.com", "/", "*", "http://example.com:443/", "u@example.com:443", ":443", "a:"]
)
def test_3_2_3_connect_takes_nothing_but_authority_form(target: str) -> None:
    assert status_of(request(f"CONNECT {target} HTTP/1.1".encode()), allow_connect=True) == 400


def test_3_2_4_an_asterisk_belongs_to_options() -> None:
    head = head_of(request(b"OPTIONS * HTTP/1.1"))
    assert (head["form"], head["path"]) == (Form.ASTERISK, "*")
    assert status_of(request(b"OPTIONS *? HTTP/1.1")) == 400
    assert status_of(request(b"OPTIONS ** HTTP/1.1")) == 400


@pytest.mark.parametrize("line", [b"CONNECT example.com:443 HTTP/1.1", b"TRACE / HTTP/1.1"])
def test_9110_9_3_connect_and_trace_are_501_unless_asked_for(line: bytes) -> None:
    assert status_of(request(line)) == 501
    assert status_of(request(line), allow_connect=True, allow_trace=True) == 200


@pytest.mark.parametrize(
    "host",
    ["a", "example.com", "EXAMPLE.com", "a:80", "a:0", "a:65535", "a:", "my_container:8000", "127.0.0.1",
     "127.0.0.1:80",
     "a%2Db", "[::1]", "[::1]:8000", "[::]", "[1:2:3:4:5:6:7:8]", "[1::8]", "[1:2:3:4:5:6:7::]", "[::ffff:1.2.3.4]",
     "[1:2:3:4:5:6:1.2.3.4]", "[2001:DB8::1]"],
)  # fmt: skip
def test_3_2_host_is_one_host_and_perhaps_a_port(host: str) -> None:
    assert head_of(request(host=f"Host: {host}\r\n".encode()))["host"] == host


@pytest.mark.parametrize(
    "host",
    ["", " ", ":80", "a b", "a,b", "a, b", "u@a", "u:p@a", "a/", "a/b", "a?b", "a#b", "http://a", "a:b", "a:80a",
     "a:+80",
     "a:-1", "a: 80", "a:65536", "a:99999", "a:000080", "a:80:80", "a%2", "a%", "a%gg", "a\\b", 'a"', "a<", "a\xe9",
     "a\tb", "[", "[]", "[::1", "::1", "[::1]a", "[::1]:", "[::1]:x", "[:1]", "[1:]", "[1]", "[1::2::3]", "[:::]",
     "[1:2:3:4:5:6:7]", "[1:2:3:4:5:6:7:8:9]", "[1:2:3:4:5:6:7:8::]", "[12345::]", "[g::]", "[::1.2.3]",
     "[::1.2.3.256]",
     "[::1.2.3.04]", "[::1.2.3.4.5]", "[1.2.3.4]", "[1:2:3:4:5:6:7:1.2.3.4]", "[fe80::1%25eth0]", "[v1.a]", "[[::1]]"],
)  # fmt: skip
def test_3_2_a_malformed_host_is_refused(host: str) -> None:
    expected = 200 if host == "[::1]:" else 400
    assert status_of(request(host=b"Host:" + host.encode("latin-1") + b"\r\n")) == expected
    assert status_of(request(b"GET / HTTP/1.0", host=b"Host:" + host.encode("latin-1") + b"\r\n")) == expected


@pytest.mark.parametrize(
    ("version", "host", "status"),
    [
        pytest.param(b"1.1", b"", 400, id="missing on 1.1"),
        pytest.param(b"1.2", b"", 400, id="missing on 1.2"),
        pytest.param(b"1.0", b"", 200, id="missing on 1.0"),
        pytest.param(b"1.1", b"Host: a\r\nHost: a\r\n", 400, id="twice on 1.1"),
        pytest.param(b"1.1", b"Host: a\r\nhost: b\r\n", 400, id="two different on 1.1"),
        pytest.param(b"1.0", b"Host: a\r\nHost: a\r\n", 400, id="twice on 1.0"),
    ],
)
def test_3_2_there_is_exactly_one_host_on_1_1_and_at_most_one_on_1_0(version: bytes, host: bytes, status: int) -> None:
    assert status_of(request(b"GET / HTTP/" + version, host=host)) == status
