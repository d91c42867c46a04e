"""Who a request is from, by what scheme, to which host: what proxies say of it, and what strangers cannot.

In memory the other end of the connection is trusted, so there these fields are those of a proxy. Strangers come over a
socket. The bytes of both families are tests/wire/test_forwarded.py; secure_scheme_headers is test_origin.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from gevent import socket

from greenhttp.server import Server
from greenhttp.testing import exchange
from greenhttp.wire.forwarded import forwarded

KEYS = ("REMOTE_ADDR", "REMOTE_PORT", "wsgi.url_scheme", "HTTP_HOST", "SERVER_NAME", "SERVER_PORT")
TRUSTED = "10.0.0.0/8, 2001:db8:7::/48, unix"
CLIENT = "203.0.113.7"


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [json.dumps([environ.get(key) for key in KEYS]).encode()]


def native(request: Any) -> str:
    return json.dumps([request.peer, request.proxies, request.scheme, request.host])


def head(lines: list[bytes], host: bytes | None = b"x") -> bytes:
    start = b"GET / HTTP/1.0\r\n" if host is None else b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n"
    return start + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def answer(app: Any, lines: list[bytes], host: bytes | None = b"x", **settings: Any) -> Any:
    """What an application is told; a status if it is not asked."""
    settings.setdefault("forwarded_allow_ips", TRUSTED)
    sent = exchange(app, [head(lines, host)], keep_open=True, server_header="off", **settings).sent
    return content_of(sent)


def content_of(sent: bytes) -> Any:
    first, _, rest = sent.partition(b"\r\n")
    status = int(first.split()[1])
    return json.loads(rest.partition(b"\r\n\r\n")[2]) if status == 200 else status


def expect(
    lines: list[bytes], peer: Any = None, proxies: Any = ("unix",), scheme: str = "http", host: str | None = None,
    name: str = "localhost", port: str = "80", asked: bytes | None = b"x", **settings: Any,
) -> None:  # fmt: skip
    """Both applications are told that. `peer`: text, or text and port; None: nothing about it."""
    said = "x" if host is None else host
    told = ["", [], scheme, said] if peer is None else [[*peer], [*proxies], scheme, said]
    assert answer(native, lines, asked, **settings) == told
    address, number = ("", "") if peer is None else (peer[0], str(peer[1]))
    assert answer(wsgi, lines, asked, **settings) == [address, number, scheme, said, name, port]


def refused(lines: list[bytes], **settings: Any) -> None:
    assert (answer(native, lines, **settings), answer(wsgi, lines, **settings)) == (400, 400)


def xff(*values: bytes) -> list[bytes]:
    return [b"X-Forwarded-For: " + value for value in values]


# ---- X-Forwarded-For: the address

ADDRESSES: list[tuple[list[bytes], Any, tuple[str, ...]]] = [
    # chains of one, two and three
    (xff(b"203.0.113.7"), (CLIENT, 0), ("unix",)),
    (xff(b"203.0.113.7, 10.0.0.1"), (CLIENT, 0), ("10.0.0.1", "unix")),
    (xff(b"203.0.113.7, 10.0.0.1, 10.0.0.2"), (CLIENT, 0), ("10.0.0.1", "10.0.0.2", "unix")),
    # what the client wrote stands to its left
    (xff(b"192.0.2.1, 203.0.113.7"), (CLIENT, 0), ("unix",)),
    (xff(b"10.0.0.9, 203.0.113.7, 10.0.0.1"), (CLIENT, 0), ("10.0.0.1", "unix")),
    (xff(b"10.0.0.9, 203.0.113.7, 10.0.0.1, 10.0.0.2"), (CLIENT, 0), ("10.0.0.1", "10.0.0.2", "unix")),
    (xff(b"no address; at all, 203.0.113.7"), (CLIENT, 0), ("unix",)),
    (xff(b'", 203.0.113.7'), (CLIENT, 0), ("unix",)),
    (xff(b"\xff\xfe, 203.0.113.7"), (CLIENT, 0), ("unix",)),
    # several fields are one list
    (xff(b"192.0.2.1", b"203.0.113.7"), (CLIENT, 0), ("unix",)),
    (xff(b"203.0.113.7", b"10.0.0.1"), (CLIENT, 0), ("10.0.0.1", "unix")),
    (xff(b"192.0.2.1, 203.0.113.7", b"10.0.0.1", b"10.0.0.2"), (CLIENT, 0), ("10.0.0.1", "10.0.0.2", "unix")),
    ([b"x-forwarded-for: 192.0.2.1", b"X-FORWARDED-FOR: 203.0.113.7"], (CLIENT, 0), ("unix",)),
    # all are trusted: the leftmost
    (xff(b"10.0.0.3"), ("10.0.0.3", 0), ("unix",)),
    (xff(b"10.0.0.3, 10.0.0.1"), ("10.0.0.3", 0), ("10.0.0.1", "unix")),
    # empty elements are none
    (xff(b", 203.0.113.7 ,,\t, 10.0.0.1,"), (CLIENT, 0), ("10.0.0.1", "unix")),
    (xff(b"203.0.113.7", b"", b" , "), (CLIENT, 0), ("unix",)),
    (xff(b""), None, ()),
    (xff(b",,"), None, ()),
    # every form
    (xff(b"203.0.113.7:4711"), (CLIENT, 4711), ("unix",)),
    (xff(b"203.0.113.7:4711, 10.0.0.1:80"), (CLIENT, 4711), ("10.0.0.1", "unix")),
    (xff(b"2001:db8::1"), ("2001:db8::1", 0), ("unix",)),
    (xff(b"2001:DB8:0::0001"), ("2001:db8::1", 0), ("unix",)),
    (xff(b"[2001:db8::1]"), ("2001:db8::1", 0), ("unix",)),
    (xff(b"[2001:db8::1]:4711"), ("2001:db8::1", 4711), ("unix",)),
    (xff(b"203.0.113.7, 2001:db8:7::1, [2001:db8:7::2]:80"), (CLIENT, 0), ("2001:db8:7::1", "2001:db8:7::2", "unix")),
    (xff(b"::ffff:203.0.113.7"), (CLIENT, 0), ("unix",)),
    (xff(b"203.0.113.7, ::ffff:10.0.0.1"), (CLIENT, 0), ("10.0.0.1", "unix")),
    (xff(b"203.0.113.7, ::ffff:a00:1"), (CLIENT, 0), ("10.0.0.1", "unix")),
    (xff(b"[::ffff:203.0.113.7]:9"), (CLIENT, 9), ("unix",)),
    (xff(b"unknown"), ("unknown", 0), ("unix",)),
    (xff(b"203.0.113.7, unknown"), ("unknown", 0), ("unix",)),
    (xff(b"203.0.113.7, UNKNOWN:80"), ("unknown", 80), ("unix",)),
    (xff(b"203.0.113.7, _edge.a, 10.0.0.1"), ("_edge.a", 0), ("10.0.0.1", "unix")),
    # who came to a proxy over a UNIX socket
    (xff(b"203.0.113.7, unix:"), (CLIENT, 0), ("unix", "unix")),
    (xff(b"192.0.2.1, 203.0.113.7, UNIX, 10.0.0.1"), (CLIENT, 0), ("unix", "10.0.0.1", "unix")),
    (xff(b"unix:, 203.0.113.7"), (CLIENT, 0), ("unix",)),
    (xff(b"unix:"), ("unix", 0), ("unix",)),
    # who came to a proxy by an interface of that one
    (xff(b"fe80::1%eth0"), ("fe80::1%eth0", 0), ("unix",)),
    (xff(b"203.0.113.7, [FE80:0::1%2]:4711"), ("fe80::1%2", 4711), ("unix",)),
]


@pytest.mark.parametrize(("lines", "peer", "proxies"), ADDRESSES)
def test_the_rightmost_address_that_is_not_trusted_is_the_client(lines: Any, peer: Any, proxies: Any) -> None:
    expect(lines, peer, proxies)


@pytest.mark.parametrize("value", [
    b"shop.example", b"203.0.113.7:", b"203.0.113.7:65536", b"203.0.113.7:_p", b"203.0.113", b"[2001:db8::1", b"0x7f.1",
    b"2001:db8::1::", b"fe80::1%eth/0", b"unix:/run/a", b'"203.0.113.7"', b"203.0.113.7;10.0.0.1",
    b"203.0.113.7 10.0.0.1", b"\xff", b"for=203.0.113.7", b"_", b"203.0.113.7, x, 10.0.0.1", b"203.0.113.7, 10.0.0.1/8",
])  # fmt: skip
def test_what_has_to_be_looked_at_and_is_no_address_is_refused(value: bytes) -> None:
    refused(xff(value))


@pytest.mark.parametrize("written", [b"", b"192.0.2.9, ", b"192.0.2.9, unknown, _a, ", b"rubbish, "])
def test_whoever_connects_may_be_trusted_and_yet_what_a_client_has_written_is_not_believed(written: bytes) -> None:
    """A router whose address is not known appends; `*` is about who connects, and is no address in its list."""
    expect(xff(written + b"203.0.113.7"), (CLIENT, 0), forwarded_allow_ips="*")
    expect(xff(written + b"203.0.113.7, 10.0.0.1"), (CLIENT, 0), ("10.0.0.1", "unix"), forwarded_allow_ips="*,10.0.0.1")


def test_an_address_in_a_list_has_no_interface() -> None:
    """The entry is for whoever comes in by that interface; what a proxy writes does not say it."""
    for end in (b"", b"%lo", b"%1"):  # also if it says one, which is of another machine
        allowed = "fe80::1%lo, unix"
        expect(xff(b"203.0.113.7, fe80::1" + end), ("fe80::1" + end.decode(), 0), forwarded_allow_ips=allowed)
        chain = ("fe80::1" + end.decode(), "unix")
        expect(xff(b"203.0.113.7, fe80::1" + end), (CLIENT, 0), chain, forwarded_allow_ips="fe80::1, unix")


@pytest.mark.parametrize("allowed", ["*", "127.0.0.1, ::1"])
def test_a_unix_socket_of_a_proxy_is_passed_only_if_it_is_named(serve: Any, allowed: str) -> None:
    told = serve(native, forwarded_allow_ips=f"127.0.0.1, {allowed}").ask(head(xff(b"203.0.113.7, unix:"))).content
    assert json.loads(told) == [["unix", 0], ["127.0.0.1"], "http", "x"]


# ---- X-Forwarded-Proto, -Host and -Port: of the client's element

PROTO = b"X-Forwarded-Proto: "


@pytest.mark.parametrize(("lines", "scheme"), [
    ([PROTO + b"https", *xff(b"203.0.113.7")], "https"),
    ([PROTO + b"http", *xff(b"203.0.113.7")], "http"),
    ([PROTO + b"wss", *xff(b"203.0.113.7")], "https"),
    ([PROTO + b"ws", *xff(b"203.0.113.7")], "http"),
    ([PROTO + b"HTTPS", *xff(b"203.0.113.7")], "http"),                           # as gunicorn has it
    # as long as the list of addresses: that of the client
    ([PROTO + b"https, http", *xff(b"203.0.113.7, 10.0.0.1")], "https"),
    ([PROTO + b"http, https", *xff(b"203.0.113.7, 10.0.0.1")], "http"),
    ([PROTO + b"https, http", *xff(b"192.0.2.1, 203.0.113.7")], "http"),
    ([PROTO + b"https, http, https", *xff(b"192.0.2.1, 203.0.113.7, 10.0.0.1")], "http"),
    ([PROTO + b"https", PROTO + b"http", *xff(b"192.0.2.1", b"203.0.113.7")], "http"),
    ([PROTO + b"https,,http,", *xff(b",203.0.113.7, 10.0.0.1")], "https"),
    # of another length: what all say
    ([PROTO + b"https", *xff(b"203.0.113.7, 10.0.0.1")], "https"),
    ([PROTO + b"https, https", *xff(b"203.0.113.7")], "https"),
    ([PROTO + b"http, http"], "http"),
    ([PROTO + b"https", PROTO + b"https"], "https"),
])  # fmt: skip
def test_the_scheme_is_that_by_which_the_client_came(lines: list[bytes], scheme: str) -> None:
    for app, at in ((native, 2), (wsgi, 2)):
        assert answer(app, lines)[at] == scheme


@pytest.mark.parametrize("lines", [
    [PROTO + b"https, http"],
    [PROTO + b"https, http", *xff(b"203.0.113.7")],
    [PROTO + b"https, http, http", *xff(b"203.0.113.7, 10.0.0.1")],
    [PROTO + b"https", PROTO + b"http", *xff(b"203.0.113.7")],
    [PROTO + b"https, http", b"X-Forwarded-Ssl: off", *xff(b"203.0.113.7, 10.0.0.1")],
])  # fmt: skip
def test_a_list_of_schemes_of_which_nobody_knows_whose_they_are_is_refused(lines: list[bytes]) -> None:
    refused(lines)


HOST, PORT = b"X-Forwarded-Host: ", b"X-Forwarded-Port: "
HOSTS: list[tuple[list[bytes], dict[str, Any]]] = [
    ([HOST + b"shop.example"], {"host": "shop.example", "name": "shop.example"}),
    ([HOST + b"shop.example:8080"], {"host": "shop.example:8080", "name": "shop.example", "port": "8080"}),
    ([HOST + b"shop.example:80"], {"host": "shop.example:80", "name": "shop.example"}),
    ([HOST + b"shop.example:"], {"host": "shop.example", "name": "shop.example"}),
    ([HOST + b"[2001:db8::1]:81"], {"host": "[2001:db8::1]:81", "name": "[2001:db8::1]", "port": "81"}),
    ([HOST + b"shop.example", PROTO + b"https"],
     {"host": "shop.example", "name": "shop.example", "port": "443", "scheme": "https"}),
    ([HOST + b"shop.example", PORT + b"8080"], {"host": "shop.example:8080", "name": "shop.example", "port": "8080"}),
    ([HOST + b"shop.example", PORT + b"443", PROTO + b"https"],
     {"host": "shop.example", "name": "shop.example", "port": "443", "scheme": "https"}),
    ([HOST + b"shop.example:8080", PORT + b"443"],
     {"host": "shop.example:8080", "name": "shop.example", "port": "8080"}),
    # the port alone belongs to the host of the request
    ([PORT + b"8443", PROTO + b"https"], {"host": "x:8443", "name": "x", "port": "8443", "scheme": "https"}),
    ([PORT + b"443", PROTO + b"https"], {"host": "x", "name": "x", "port": "443", "scheme": "https"}),
    ([PORT + b"443"], {"host": "y:81", "name": "y", "port": "81", "asked": b"y:81"}),
    ([PORT + b"00443"], {"host": "x:443", "name": "x", "port": "443"}),
    # lists
    ([HOST + b"a.example, b.example", *xff(b"203.0.113.7, 10.0.0.1")],
     {"host": "a.example", "name": "a.example", "peer": (CLIENT, 0), "proxies": ("10.0.0.1", "unix")}),
    ([HOST + b"a.example, b.example", *xff(b"192.0.2.1, 203.0.113.7")],
     {"host": "b.example", "name": "b.example", "peer": (CLIENT, 0)}),
    ([HOST + b"a.example, a.example"], {"host": "a.example", "name": "a.example"}),
    ([PORT + b"81, 82", HOST + b"a", *xff(b"203.0.113.7, 10.0.0.1")],
     {"host": "a:81", "name": "a", "port": "81", "peer": (CLIENT, 0), "proxies": ("10.0.0.1", "unix")}),
    ([HOST], {}), ([PORT], {}), ([HOST + b","], {}),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "told"), HOSTS)
def test_host_and_port_are_believed_where_that_is_set(lines: list[bytes], told: dict[str, Any]) -> None:
    expect(lines, **told, forwarded_host=True)


@pytest.mark.parametrize(("lines", "told"), HOSTS)
def test_host_and_port_are_not_believed_by_default(lines: list[bytes], told: dict[str, Any]) -> None:
    """nginx passes on those of a client."""
    asked = told.get("asked", b"x")
    kept = {key: told[key] for key in ("peer", "proxies", "scheme") if key in told}
    expect(lines, **kept, asked=asked, host=asked.decode())


@pytest.mark.parametrize("lines", [
    [HOST + b"a@shop.example"], [HOST + b"shop.example/"], [HOST + b"a b"], [HOST + b"a:65536"], [HOST + b"\xff"],
    [HOST + b"a, b"], [HOST + b"a", HOST + b"b"], [HOST + b":80"], [PORT + b"0"], [PORT + b"65536"], [PORT + b"80a"],
    [PORT + b"+80"], [PORT + b"000080"], [PORT + b"80, 81"], [PORT + b"80 81"], [HOST + b"shop.example", PORT + b"x"],
])  # fmt: skip
def test_a_host_or_port_that_cannot_be_is_refused(lines: list[bytes]) -> None:
    refused(lines, forwarded_host=True)
    for app in (native, wsgi):
        assert answer(app, lines) != 400


def test_a_port_without_any_host_tells_nothing() -> None:
    assert answer(native, [PORT + b"8443"], None, forwarded_host=True)[3] == ""
    assert answer(wsgi, [PORT + b"8443"], None, forwarded_host=True)[3:] == [None, "localhost", "80"]
    assert answer(wsgi, [HOST + b"a"], None, forwarded_host=True)[3:] == ["a", "a", "80"]


def test_a_port_with_a_target_in_absolute_form_goes_with_its_host() -> None:
    data = b"GET http://y/ HTTP/1.1\r\nHost: y\r\nX-Forwarded-Port: 81\r\n\r\n"
    assert content_of(exchange(wsgi, [data], keep_open=True, forwarded_host=True).sent)[3:] == ["y:81", "y", "81"]


# ---- Forwarded


def fwd(*values: bytes) -> list[bytes]:
    return [b"Forwarded: " + value for value in values]


FORWARDED: list[tuple[list[bytes], dict[str, Any]]] = [
    (fwd(b"for=203.0.113.7"), {"peer": (CLIENT, 0)}),
    (fwd(b"for=203.0.113.7, for=10.0.0.1"), {"peer": (CLIENT, 0), "proxies": ("10.0.0.1", "unix")}),
    (fwd(b"for=203.0.113.7, for=10.0.0.1, for=10.0.0.2"),
     {"peer": (CLIENT, 0), "proxies": ("10.0.0.1", "10.0.0.2", "unix")}),
    (fwd(b"for=203.0.113.7", b"for=10.0.0.1"), {"peer": (CLIENT, 0), "proxies": ("10.0.0.1", "unix")}),
    (fwd(b"for=192.0.2.1;proto=https;host=evil, for=203.0.113.7;proto=http"), {"peer": (CLIENT, 0)}),
    (fwd(b"for=10.0.0.9;proto=https, for=203.0.113.7, for=10.0.0.1;proto=https;host=inner"),
     {"peer": (CLIENT, 0), "proxies": ("10.0.0.1", "unix")}),
    (fwd(b"FOR=203.0.113.7;PROTO=HTTPS;HOST=Shop.example"),
     {"peer": (CLIENT, 0), "scheme": "https", "host": "Shop.example", "name": "Shop.example", "port": "443"}),
    (fwd(b'for="203.0.113.7:4711";host="shop.example:8080"'),
     {"peer": (CLIENT, 4711), "host": "shop.example:8080", "name": "shop.example", "port": "8080"}),
    (fwd(b'for="[2001:db8::1]:4711"'), {"peer": ("2001:db8::1", 4711)}),
    (fwd(b'for="[2001:db8::1]"'), {"peer": ("2001:db8::1", 0)}),
    (fwd(b'for="[::ffff:203.0.113.7]"'), {"peer": (CLIENT, 0)}),
    (fwd(b'for=203.0.113.7, for="[::ffff:10.0.0.1]"'), {"peer": (CLIENT, 0), "proxies": ("10.0.0.1", "unix")}),
    (fwd(b'for=203.0.113.7, for="[2001:db8:7::1]:80"'), {"peer": (CLIENT, 0), "proxies": ("2001:db8:7::1", "unix")}),
    (fwd(b'for="\\2\\03.0.113.7";proto="\\https";host="\\a"'),
     {"peer": (CLIENT, 0), "scheme": "https", "host": "a", "name": "a", "port": "443"}),
    (fwd(b'for="203.0.113.7:_p"'), {"peer": (CLIENT, 0)}),
    (fwd(b"for=unknown"), {"peer": ("unknown", 0)}),
    (fwd(b"for=UNKNOWN"), {"peer": ("unknown", 0)}),
    (fwd(b'for="_a:80"'), {"peer": ("_a", 80)}),
    (fwd(b"for=203.0.113.7, for=_edge"), {"peer": ("_edge", 0)}),
    (fwd(b"for=203.0.113.7;proto=wss"), {"peer": (CLIENT, 0), "scheme": "https"}),
    (fwd(b"for=203.0.113.7;proto=ws"), {"peer": (CLIENT, 0)}),
    # an element without a name is somebody unknown
    (fwd(b"proto=https"), {"peer": ("unknown", 0), "scheme": "https"}),
    (fwd(b"for=203.0.113.7, by=10.0.0.1;proto=https"), {"peer": ("unknown", 0), "scheme": "https"}),
    (fwd(b"proto=https, for=10.0.0.1"),
     {"peer": ("unknown", 0), "scheme": "https", "proxies": ("10.0.0.1", "unix")}),
    # only the element that is looked at has to mean something
    (fwd(b"for=shop.example;proto=gopher;host=\"/\", for=203.0.113.7"), {"peer": (CLIENT, 0)}),
    (fwd(b', ,for="203.0.113.7";;x="y, for=1";secret=1 , '), {"peer": (CLIENT, 0)}),
    (fwd(b""), {}), (fwd(b" , ;"), {}),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "told"), FORWARDED)
def test_forwarded_is_walked_the_same_way(lines: list[bytes], told: dict[str, Any]) -> None:
    expect(lines, **told, forwarded_field="forwarded")


@pytest.mark.parametrize("value", [
    b"for", b'for="203.0.113.7', b"for=203.0.113.7:80", b"for=[::1]", b'for="::1"', b"for=203.0.113.7;for=10.0.0.1",
    b'for="unix:"', b'for="[fe80::1%eth0]"',
    b"for=203.0.113.7;x=1;X=2", b"for =203.0.113.7", b"203.0.113.7", b"for=\xff", b"for=shop.example", b'for=""',
    b"for=203.0.113.7;proto=gopher", b'for=203.0.113.7;proto=""', b'for=203.0.113.7;host="a b"',
    b'for=203.0.113.7;host=""', b'for="a, for=203.0.113.7', b"for=203.0.113.7, for=10.0.0.300",
])  # fmt: skip
def test_a_forwarded_field_that_cannot_be_is_refused(value: bytes) -> None:
    refused(fwd(value), forwarded_field="forwarded")


def test_a_quote_that_is_not_closed_takes_in_no_field_behind_it() -> None:
    """Joined by a comma the two would be one element, for="192.0.2.1, for="203... - or whatever the client wants."""
    refused(fwd(b'for="192.0.2.1', b'for=203.0.113.7"'), forwarded_field="forwarded")


# ---- one family


ALL = [
    *xff(b"192.0.2.66"), PROTO + b"https", b"X-Forwarded-Ssl: on", b"X-Forwarded-Protocol: ssl", HOST + b"evil.example",
    PORT + b"6666", *fwd(b'for="192.0.2.66:6666";proto=https;host=evil.example'), b"X-Real-IP: 192.0.2.66",
    b"X-Forwarded-Prefix: /evil", b"X-Request-Id: evil", b"X-Forwarded: for=192.0.2.66", b"X-Client-IP: 192.0.2.66",
]  # fmt: skip


def test_the_family_that_is_not_named_is_ignored_and_with_none_both_are() -> None:
    expect(ALL, None, forwarded_field="none", forwarded_host=True)
    expect([line for line in ALL if not line.startswith(b"X-Forw")], None, forwarded_host=True)
    expect([line for line in ALL if not line.startswith(b"Forw")], None, forwarded_field="forwarded")
    expect(fwd(b'"'), None)
    expect([PROTO + b"https", b"X-Forwarded-Ssl: off"], None, forwarded_field="forwarded")


# ---- strangers

STRANGERS: dict[str, list[bytes]] = {
    "plain": ALL,
    "any case": [line.partition(b":")[0].swapcase() + b":" + line.partition(b":")[2] for line in ALL],
    "no space": [line.replace(b": ", b":", 1) for line in ALL],
    "white space": [line.replace(b": ", b": \t  ", 1) + b" \t" for line in ALL],
    "twice": [*ALL, *ALL],
    "trusted addresses": [*xff(b"10.0.0.1, 10.0.0.2", b"10.0.0.3"), *fwd(b"for=10.0.0.1, for=10.0.0.2;proto=https")],
    "underscores": [line.partition(b":")[0].replace(b"-", b"_") + b":" + line.partition(b":")[2] for line in ALL],
    "empty": [line.partition(b":")[0] + b":" for line in ALL],
    "empty elements": [line.partition(b":")[0] + b": , ,,\t," for line in ALL],
    "lists": [line + b", a, b" for line in ALL],
    "obs-text": [line + b"\xff\x80\xa0\x85" for line in ALL],
    "open quotes": [line.partition(b":")[0] + b': for="' for line in ALL],
    "open escapes": [line.partition(b":")[0] + b': "\\' for line in ALL],
    "separators": [line.partition(b":")[0] + b": ;=;=,;,=" for line in ALL],
    "named as of the connection": [*ALL, b"Connection: X-Forwarded-For, X-Forwarded-Proto, Forwarded"],
    "long": xff(b"10.0.0.1," * (6 * 1024)),
    "long and empty": xff(b"," * 60 * 1024),
    "long and open": fwd(b'for="' + b"\\," * 30 * 1024),
    "long, of many parameters": fwd(b";".join(b"x%d=1" % i for i in range(6 * 1024))),
    "long and hidden": [*xff(b"_" * 30 * 1024), *fwd(b"for=" + b"_" * 30 * 1024)],
    "many": xff(b"192.0.2.66") * 80,
}


@pytest.fixture(scope="module")
def strangers() -> Iterator[dict[str, Any]]:
    """An application that trusts others than whom it is asked by, with everything set that believes somebody."""
    servers = {}
    for name, app in (("wsgi", wsgi), ("native", native)):
        for family in ("x-forwarded", "forwarded", "none"):
            server = Server(
                app, bind="127.0.0.1:0", forwarded_allow_ips=TRUSTED, forwarded_field=family, forwarded_host=True,
                log_level="critical", allow_headers="x_forwarded_for,x_forwarded_proto,x_forwarded_host",
            )  # fmt: skip
            server.start()
            servers[f"{name} {family}"] = server
    yield servers
    for server in servers.values():
        server.stop(0)


def said(server: Any, data: bytes) -> bytes:
    with gevent.Timeout(10), socket.create_connection(server.address) as peer:
        peer.sendall(data.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        received = b""
        while part := peer.recv(4096):
            received += part
        return received


@pytest.mark.parametrize("kind", STRANGERS)
def test_a_stranger_decides_nothing(strangers: dict[str, Any], kind: str) -> None:
    for name, server in strangers.items():
        told = content_of(said(server, head(STRANGERS[kind])))
        if name.startswith("wsgi"):
            told[1] = int(told[1]) > 0
            assert told == ["127.0.0.1", True, "http", "x", *map(str, server.address)]
        else:
            told[0][1] = told[0][1] > 0
            assert told == [["127.0.0.1", True], [], "http", "x"]


def proxied(lines: list[bytes], family: str, style: str, proxies: int) -> list[bytes]:
    """What arrives of a client's fields through that many proxies, each of which knows one family only."""
    values = [CLIENT.encode(), *[b"10.0.0.%d" % i for i in range(1, proxies)]]

    def passed(*names: bytes) -> list[bytes]:
        return [line for line in lines if line.partition(b":")[0].lower() not in names]

    if family == "forwarded":
        values = [b"for=" + value for value in values]
        values[0] += b";proto=https;host=shop.example"
        name = b"Forwarded"
    else:
        # The first one knows: it replaces what a client claims, and its word is passed on.
        lines = [
            *passed(b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port", b"x-forwarded-ssl",
                    b"x-forwarded-protocol"),
            PROTO + b"https", HOST + b"shop.example", PORT + b"443",
        ]  # fmt: skip
        name = b"X-Forwarded-For"
    for value in values:
        own = [line for line in lines if line.partition(b":")[0].lower() == name.lower()]
        if style == "a field each" or not own:
            lines = [*lines, name + b": " + value]
        elif style == "joined":
            before = b", ".join(line.partition(b":")[2].strip(b" \t") for line in own)
            lines = [*passed(name.lower()), name + b": " + before + b", " + value]
        else:  # to the last one of them
            lines = [line + b", " + value if line is own[-1] else line for line in lines]
    return lines


@pytest.mark.parametrize("style", ["a field each", "joined", "to the last"])
@pytest.mark.parametrize("family", ["x-forwarded", "forwarded"])
@pytest.mark.parametrize("kind", STRANGERS)
def test_behind_proxies_a_stranger_decides_nothing_either(kind: str, family: str, style: str) -> None:
    """It may spoil its own request with a Forwarded field that is malformed."""
    for proxies in (1, 2, 3):
        lines = proxied(STRANGERS[kind], family, style, proxies)
        settings: dict[str, Any] = {"forwarded_field": family, "forwarded_host": True, "limit_request_head": "80k"}
        settings["limit_request_fields"] = 200
        chain = [*[f"10.0.0.{i}" for i in range(1, proxies)], "unix"]
        told = [answer(app, lines, **settings) for app in (native, wsgi)]
        if told == [400, 400]:
            values = [line.partition(b":")[2].strip() for line in lines if line[:10].lower() == b"forwarded:"]
            assert family == "forwarded" and None in map(forwarded, values)
            continue
        assert told == [
            [[CLIENT, 0], chain, "https", "shop.example"],
            [CLIENT, "0", "https", "shop.example", "shop.example", "443"],
        ]
