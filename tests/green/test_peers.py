"""green/peers.pyx and settings/peers.py: whom a list of trusted peers means, in every form."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import socket as waiting

from greenhttp.errors import ConfigError
from greenhttp.green.peers import Peers
from greenhttp.server import Server
from greenhttp.settings.peers import Network, parse_network
from greenhttp.settings.values import Settings

FORMS = [  # entry, addresses in it, addresses that are not
    ("10.0.0.1", ["10.0.0.1", "::ffff:10.0.0.1", "::ffff:a00:1"], ["10.0.0.2", "10.0.0", "::10.0.0.1", "a00:1::"]),
    ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"], ["11.0.0.0", "9.255.255.255", "a00::"]),
    ("192.0.2.128/25", ["192.0.2.128", "192.0.2.255"], ["192.0.2.127", "192.0.3.128"]),
    ("192.0.2.4/31", ["192.0.2.4", "192.0.2.5"], ["192.0.2.6", "192.0.2.3"]),
    ("192.0.2.4/32", ["192.0.2.4"], ["192.0.2.5"]),
    ("128.0.0.0/1", ["128.0.0.0", "255.255.255.255"], ["127.255.255.255"]),
    ("0.0.0.0/0", ["0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"], ["::1", "::"]),
    ("::1", ["::1", "0:0:0:0:0:0:0:1"], ["::2", "127.0.0.1", "::ffff:127.0.0.1", "::ffff:0:1"]),
    ("::/0", ["::", "::1", "fe80::1", "ffff::"], ["127.0.0.1", "::ffff:127.0.0.1"]),
    ("fd00::/8", ["fd00::", "fdff:ffff::1"], ["fc00::", "fe00::"]),
    ("2001:db8::/33", ["2001:db8:7fff::"], ["2001:db8:8000::"]),
    ("2001:db8::/127", ["2001:db8::", "2001:db8::1"], ["2001:db8::2"]),
    ("2001:DB8::1/128", ["2001:db8::1"], ["2001:db8::"]),
    ("::ffff:10.0.0.1", ["10.0.0.1", "::ffff:10.0.0.1"], ["10.0.0.2"]),
    ("::ffff:10.0.0.0/104", ["10.0.0.0", "10.255.255.255", "::ffff:10.0.0.1"], ["11.0.0.0"]),
    ("::ffff:0:0/96", ["1.2.3.4", "::ffff:1.2.3.4"], ["::1", "::fffe:1.2.3.4"]),
    ("fe80::1%lo", [], ["fe80::1", "127.0.0.1"]),            # nobody says by which interface
    ("fe80::1%nowhere0", [], ["fe80::1"]),
    ("fe80::1%4294967295", [], ["fe80::1"]),
    ("fe80::1%4294967296", [], ["fe80::1"]),
    ("fe80::1%\u00b2", [], ["fe80::1"]),
    ("fe80::1%0", [], ["fe80::1"]),                          # no interface has that number
    ("fe80::/10%lo", [], ["fe80::1"]),
    ("fe80::/10", ["fe80::1", "febf::1"], ["fec0::1"]),
    ("unix", [], ["127.0.0.1", "::1", "0.0.0.0", "unix", ""]),
    ("*", ["127.0.0.1", "::1"], ["unix", "*", "", "localhost", "127.0.0.1 ", "fe80::1%lo"]),
]


@pytest.mark.parametrize(("entry", "inside", "outside"), FORMS)
def test_every_form(entry: str, inside: list[str], outside: list[str]) -> None:
    for entries in ([entry], ["203.0.113.9", entry, "2001:db8:ffff::9"]):
        peers = Peers(entries)
        assert [address for address in inside if address not in peers] == []
        assert [address for address in outside if address in peers] == []
        assert (peers.everybody, peers.local) == (entry == "*", entry == "unix")
    nobody = Peers([])
    assert not any(address in nobody for address in inside + outside)


@pytest.mark.parametrize("text", [
    "10.0.0.0/33", "::/129", "10.0.0", "10.0.0.1:80", "[::1]", "localhost", "-", "UNIX", "**",
    "10.0.0.01", "fe80::1%", "fe80::%lo/10", "fe80::1%a/64", "::1%lo", "10.0.0.1%lo", "10.*", "unix:/run/s",
])  # fmt: skip
def test_what_is_none_of_them_is_refused_with_what_to_do(text: str) -> None:
    with pytest.raises(ValueError, match=r"; give addresses like 10\.0\.0\.1, networks like .+, unix, or \*$"):
        parse_network(text)
    with pytest.raises(ConfigError, match="^forwarded_allow_ips: "):
        Settings(forwarded_allow_ips=[text])


@pytest.mark.parametrize(("text", "said"), [
    ("10.0.0.5/8", "'10.0.0.5/8' is not a network; give 10.0.0.0/8"),
    ("fe80::1/64", "'fe80::1/64' is not a network; give fe80::/64"),
    ("localhost", "'localhost' is not an address; names are not looked up; give addresses like"),
    ("10.0.0.1:80", "'10.0.0.1:80' is not an address; give addresses like"),
    ("off", "'off' is not an address; an empty list means nobody; give addresses like"),
])  # fmt: skip
def test_what_is_wrong_with_it_is_said(text: str, said: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_network(text)
    assert str(caught.value).startswith(said)


def test_a_network_is_its_bytes_bits_and_interface() -> None:
    assert parse_network("10.0.0.0/8") == Network(b"\n\0\0\0", 8)
    assert parse_network("fe80::1%eth0") == Network(b"\xfe\x80" + b"\0" * 13 + b"\x01", 128, "eth0")
    assert parse_network("::ffff:10.0.0.0/104") == Network(b"\n\0\0\0", 8)
    assert parse_network("unix") is parse_network("*") is None


def test_an_entry_given_as_ipv4_or_in_a_text_of_many_is_the_same() -> None:
    settings: Any = Settings(forwarded_allow_ips=" 10.0.0.1 , ::1,unix ")
    assert settings.forwarded_allow_ips == ("10.0.0.1", "::1", "unix")


# ---- peers that have connected


def scheme(request: Any) -> str:
    return request.scheme  # type: ignore[no-any-return]


def asked(address: Any, source: str | None = None, family: int = socket.AF_INET) -> str:
    """`https` if whoever asks is trusted."""
    with gevent.Timeout(10), waiting.socket(family) as peer:
        if source is not None:
            peer.bind((source, 0))
        peer.connect(address)
        peer.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n")
        received = b""
        while part := peer.recv(4096):
            received += part
    return received.rpartition(b"\n")[2].decode()


def served(bind: str, *lists: str) -> Iterator[tuple[str, Any]]:
    for trusted in lists:
        server = Server(scheme, bind=bind, forwarded_allow_ips=trusted)
        server.start()
        try:
            yield trusted, server.address
        finally:
            server.stop(0)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
        return True
    except OSError:
        return False


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")


def test_an_ipv4_peer() -> None:
    lists = {"127.0.0.1": "https", "127.0.0.2": "http", "127.0.0.0/8": "https", "::ffff:127.0.0.1": "https",
             "*": "https", "::1": "http", "unix": "http", "": "http", "::/0": "http"}  # fmt: skip
    assert {trusted: asked(address) for trusted, address in served("127.0.0.1:0", *lists)} == lists


@ipv6
def test_an_ipv6_peer() -> None:
    lists = {"::1": "https", "::2": "http", "::/0": "https", "*": "https", "127.0.0.1": "http", "0.0.0.0/0": "http",
             "unix": "http", "": "http", "::ffff:0:0/96": "http"}  # fmt: skip
    found = {trusted: asked(address, None, socket.AF_INET6) for trusted, address in served("[::1]:0", *lists)}
    assert found == lists


@ipv6
def test_an_ipv4_peer_of_a_listener_that_takes_both_is_one() -> None:
    lists = {"127.0.0.1": "https", "::ffff:127.0.0.0/104": "https", "::/0": "http", "::1": "http"}
    for trusted, expected in lists.items():
        with socket.socket(socket.AF_INET6) as both:
            both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            both.bind(("::", 0))
            both.listen()
            port = both.getsockname()[1]
            for _ in served(f"fd://{os.dup(both.fileno())}", trusted):
                assert asked(("127.0.0.1", port)) == expected, trusted


def test_a_peer_over_a_unix_socket(tmp_path: Path) -> None:
    lists = {"unix": "https", "*": "https", "10.0.0.1,unix": "https", "127.0.0.1,::1,::/0": "http", "": "http"}
    place = str(tmp_path / "s")
    found = {trusted: asked(place, None, socket.AF_UNIX) for trusted, _ in served(f"unix:{place}", *lists)}
    assert found == lists
    server = Server(scheme, bind=f"unix:{place}")
    server.start()
    assert asked(place, None, socket.AF_UNIX) == "https"  # in the default
    server.stop(0)


def link_local() -> list[tuple[str, str]]:
    """Addresses of this machine that need an interface, with its name."""
    try:
        rows = [line.split() for line in Path("/proc/net/if_inet6").read_text().splitlines()]
    except OSError:
        return []
    return [
        (socket.inet_ntop(socket.AF_INET6, bytes.fromhex(row[0])), row[5]) for row in rows if row[0].startswith("fe80")
    ]


@pytest.mark.skipif(not link_local(), reason="no interface with a link-local address here")
def test_a_peer_with_a_link_local_address_is_trusted_by_its_interface() -> None:
    address, name = link_local()[0]
    number = socket.if_nametoindex(name)
    lists = {f"{address}%{name}": "https", f"{address}%{number}": "https", f"{address}%lo": "http", address: "https",
             "fe80::/10": "https", f"fe80::/10%{name}": "https", "fe80::/10%lo": "http", f"{address}%0": "http",
             "fe80::dead%" + name: "http"}  # fmt: skip
    found = {}
    for trusted in lists:
        with socket.socket(socket.AF_INET6) as listening:
            listening.bind(("::", 0))
            listening.listen()
            port = listening.getsockname()[1]
            for _ in served(f"fd://{os.dup(listening.fileno())}", trusted):
                found[trusted] = asked((address, port, 0, number), None, socket.AF_INET6)
    assert found == lists
