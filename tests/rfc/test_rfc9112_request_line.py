"""RFC 9112 sections 2 and 3: how a request begins. Contract rules 2, 3, 5 and 13."""

from __future__ import annotations

import pytest

from greenhttp.wire.head import Form
from tests.wire.feeding import head_of, request, status_of


@pytest.mark.parametrize("empty", [0, 1, 2])
def test_2_2_up_to_two_empty_lines_before_the_request_line_are_skipped(empty: int) -> None:
    assert head_of(b"\r\n" * empty + request())["method"] == "GET"


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
