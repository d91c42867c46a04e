"""Who is trusted: a text of `forwarded_allow_ips` or `proxy_allow_from` -> a Network, or a word.

    10.0.0.1  10.0.0.0/8  ::1  fd00::/8  fe80::1%eth0  ::ffff:10.0.0.1      a Network
    unix                                                                    whoever connects over a UNIX socket
    *                                                                       whoever connects; no address in a field

An IPv4 address that is written as IPv6 is that IPv4 address, for so are peers shown, logged and compared.
"""

from typing import NamedTuple

UNIX, EVERYBODY = "unix", "*"
MAPPED = b"\0" * 10 + b"\xff\xff"  # what an IPv4 address written as IPv6 begins with (RFC 4291 2.5.5.2)
_HOW = f"give addresses like 10.0.0.1, networks like 10.0.0.0/8, {UNIX}, or {EVERYBODY}"


class Network(NamedTuple):
    """Addresses that begin alike.

    Attributes:
        address: 4 or 16 bytes.
        bits: how many of them, from the first, an address must have in common with it.
        zone: name or number of the interface they must come in by, "" for any.
    """

    address: bytes
    bits: int
    zone: str = ""


def parse_network(text: str) -> Network | None:
    """The network that a text means; None: it is one of the two words.

    Raises ValueError("what is wrong; what to do").
    """
    from ipaddress import ip_address, ip_network  # only for this: it is no small module

    if text in (UNIX, EVERYBODY):
        return None
    host, percent, zone = text.partition("%")
    if percent and (not zone or "/" in zone or not host.lower().startswith("fe80:")):
        raise ValueError(f"{text!r}: only an address like fe80::1%eth0 has an interface; {_HOW}")
    try:
        network = ip_network(host, strict=False)
    except ValueError:
        raise ValueError(f"{text!r} is not an address; {_why_not(text)}{_HOW}") from None
    if network.network_address != ip_address(host.partition("/")[0]):
        raise ValueError(f"{text!r} is not a network; give {network}")
    address, bits = network.network_address.packed, network.prefixlen
    if address.startswith(MAPPED) and bits >= 96:
        address, bits = address[12:], bits - 96
    return Network(address, bits, zone)


def _why_not(text: str) -> str:
    if text.lower() in ("off", "no", "none", "false"):
        return "an empty list means nobody; "
    return "names are not looked up; " if text[:1].isalpha() and ":" not in text else ""
