"""Which hosts are answered for: `allowed_hosts`."""

import re
from collections.abc import Iterable
from ipaddress import IPv6Address

LONGEST = 255  # bytes of a name (RFC 1035 2.3.4); the loop below takes time that is quadratic in it

_ABOVE = re.compile(rb"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")  # what may be before the `.suffix` of a name


class Hosts:
    """Names compared without upper and lower case, the port and one dot at the end; IPv6 addresses as addresses.

    Arguments:
        names: as checks.hosts keeps them.

    Attributes:
        any: whether all are allowed.
    """

    def __init__(self, names: Iterable[str]) -> None:
        every = [name.encode("ascii") for name in names]
        self.any = b"*" in every
        self._suffixes = {name for name in every if name.startswith(b".")}  # which stand for the name itself as well
        self._exact = {_address(name) if name.startswith(b"[") else name.removeprefix(b".") for name in every}

    def allow(self, host: bytes) -> bool:
        """Whether requests for that `host [":" port]`, as sent, are answered."""
        if host.startswith(b"["):
            try:
                return _address(host) in self._exact
            except ValueError:  # none that the head lets pass
                return False
        name = host.partition(b":")[0].lower().removesuffix(b".")
        if len(name) > LONGEST:
            return False
        if name in self._exact:
            return True
        at = name.find(b".")
        while at >= 0:
            if name[at:] in self._suffixes:
                # What is before a suffix is the client's choice: only what a host can be called.
                return _ABOVE.fullmatch(name, 0, at) is not None
            at = name.find(b".", at + 1)
        return False


def _address(host: bytes) -> bytes:
    """An IPv6 address in brackets as 16 bytes behind a bracket, which no name begins with."""
    return b"[" + IPv6Address(host[1 : host.index(b"]")].decode("ascii")).packed
