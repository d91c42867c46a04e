"""settings/address.py: what --bind says, and what it cannot say."""

import pytest

from greenhttp.errors import ConfigError
from greenhttp.settings.address import Address, parse_address


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
    ],
)
def test_addresses_are_read_and_printed_so_that_they_can_be_read_again(text, address, printed):
    assert parse_address(text) == address
    assert str(address) == printed
    assert parse_address(printed) == address


@pytest.mark.parametrize(
    "text",
    ["", "h:", "h:x", "h:65536", "h:-1", "h:+1", "h:0x1", "h:99999999", "h:٣", "::1:80", "a:b:80", "[::1", "[::1]80",
     "[h]:80", "[]:80", "http://h:80", "h/x:80", "a b:80", "unix:", "unix://", "unix:a\0b", "fd://", "fd://x",
     "fd://-1", "fd:"],
)  # fmt: skip
def test_what_is_no_address(text):
    with pytest.raises(ConfigError, match="^bind: .*(give|brackets)"):
        parse_address(text)


def test_a_bare_number_is_told_how_to_become_a_port():
    with pytest.raises(ConfigError, match="give :8000 to listen on that port"):
        parse_address("8000")
