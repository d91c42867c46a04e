"""settings/address.py: what --bind says, and what it cannot say."""

import pytest

from greenhttp.errors import ConfigError
from greenhttp.settings.address import Address, is_tls, parse_address


@pytest.mark.parametrize(
    ("text", "address", "printed"),
    [
        ("127.0.0.1:8000", Address("tcp", "127.0.0.1", 8000), "127.0.0.1:8000"),
        ("localhost:0", Address("tcp", "localhost", 0), "localhost:0"),
        ("localhost", Address("tcp", "localhost", 8000), "localhost:8000"),
        (":8000", Address("tcp", "", 8000), ":8000"),
        ("[::]:80", Address("tcp", "::", 80), "[::]:80"),
        ("[::1]", Address("tcp", "::1", 8000), "[::1]:8000"),
        ("[::ffff:10.0.0.1]:80", Address("tcp", "10.0.0.1", 80), "10.0.0.1:80"),
        ("[::FFFF:a00:1]:80", Address("tcp", "10.0.0.1", 80), "10.0.0.1:80"),
        ("tcp://h:65535", Address("tcp", "h", 65535), "h:65535"),
        ("unix:/run/x.sock", Address("unix", path="/run/x.sock"), "unix:/run/x.sock"),
        ("unix:///run/x.sock", Address("unix", path="/run/x.sock"), "unix:/run/x.sock"),
        ("unix:x.sock", Address("unix", path="x.sock"), "unix:x.sock"),
        ("fd://3", Address("fd", fd=3), "fd://3"),
        ("https://h:8443", Address("tcp", "h", 8443, scheme="https"), "https://h:8443"),
        ("HTTP://h:80", Address("tcp", "h", 80, scheme="http"), "http://h:80"),
        ("https://h", Address("tcp", "h", 443, scheme="https"), "https://h:443"),
        ("http://[::1]", Address("tcp", "::1", 80, scheme="http"), "http://[::1]:80"),
        ("https://:0", Address("tcp", "", 0, scheme="https"), "https://:0"),
        ("https://[::]:443", Address("tcp", "::", 443, scheme="https"), "https://[::]:443"),
        ("https://[::ffff:10.0.0.1]:1", Address("tcp", "10.0.0.1", 1, scheme="https"), "https://10.0.0.1:1"),
        ("https://unix:/x", Address("unix", path="/x", scheme="https"), "https://unix:/x"),
        ("http://unix:///x", Address("unix", path="/x", scheme="http"), "http://unix:/x"),
        ("https://fd://3", Address("fd", fd=3, scheme="https"), "https://fd://3"),
        ("http://fd:3", Address("fd", fd=3, scheme="http"), "http://fd://3"),
    ],
)
def test_addresses_are_read_and_printed_so_that_they_can_be_read_again(text, address, printed):
    assert parse_address(text) == address
    assert str(address) == printed
    assert parse_address(printed) == address


@pytest.mark.parametrize(
    "text",
    ["", "h:", "h:x", "h:65536", "h:-1", "h:+1", "h:0x1", "h:99999999", "h:٣", "::1:80", "a:b:80", "[::1", "[::1]80",
     "[h]:80", "[]:80", "ftp://h:80", "h/x:80", "http://", "https://h/", "https://h:x", "https://http://h", "https:h:1",
     "https://fd://x", "http://unix:", "https://h:443/x", "a b:80", "unix:", "unix://", "unix:a\0b", "fd://", "fd://x",
     "fd://-1", "fd:"],
)  # fmt: skip
def test_what_is_no_address(text):
    with pytest.raises(ConfigError, match="^bind: .*(give|brackets)"):
        parse_address(text)


def test_a_place_is_an_address_without_its_scheme():
    for text in ("h:80", "unix:/x", "fd://3"):
        assert parse_address(f"https://{text}").place == parse_address(f"http://{text}").place == parse_address(text)
        assert parse_address(f"https://{text}") != parse_address(f"http://{text}") != parse_address(text)


@pytest.mark.parametrize(
    ("text", "certified", "tls"),
    [("h:1", True, True), ("h:1", False, False), ("http://h:1", True, False), ("http://h:1", False, False),
     ("https://h:1", True, True), ("unix:/x", True, True), ("http://unix:/x", True, False), ("fd://3", True, True)],
)  # fmt: skip
def test_with_a_certificate_a_bare_address_is_tls(text, certified, tls):
    assert is_tls(parse_address(text), certified) is tls


def test_https_needs_a_certificate():
    with pytest.raises(ConfigError, match=r"^bind: https://h:1 needs a certificate; give --certfile "):
        is_tls(parse_address("https://h:1"), False)


def test_a_bare_number_is_told_how_to_become_a_port():
    with pytest.raises(ConfigError, match="give :8000 to listen on that port"):
        parse_address("8000")
