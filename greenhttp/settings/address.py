"""What --bind says: a text -> an Address. Nothing is opened.

An address that is none raises ConfigError that says why.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from greenhttp.errors import ConfigError

DEFAULT_PORT = 8000
SCHEMES = {"http": 80, "https": 443}  # and the port of a URL that names none
EXAMPLES = "give host:port, :port, [::]:port, unix:/path or fd://N, with https:// or http:// before it if you like"


@dataclass(frozen=True)
class Address:
    """Where to listen. `str()` gives the text that `parse_address` reads back.

    Attributes:
        kind: "tcp", "unix" or "fd".
        host: name or number, without brackets; "" for every IPv4 address ("tcp").
        port: 0 to 65535; 0 lets the system choose ("tcp").
        path: file name ("unix"); a leading @ stands for Linux's abstract names in what `bound_name` returns.
        fd: number of an inherited descriptor ("fd").
        scheme: "https" with TLS, "http" without; "": with TLS if there is a certificate, see `is_tls`.
    """

    kind: str
    host: str = ""
    port: int = 0
    path: str = ""
    fd: int = -1
    scheme: str = ""

    def __str__(self) -> str:
        before = f"{self.scheme}://" if self.scheme else ""
        if self.kind == "unix":
            return f"{before}unix:{self.path}"
        if self.kind == "fd":
            return f"{before}fd://{self.fd}"
        return f"{before}[{self.host}]:{self.port}" if ":" in self.host else f"{before}{self.host}:{self.port}"

    @property
    def place(self) -> "Address":
        """The same without a scheme: what a socket is bound to, whatever is spoken there."""
        return replace(self, scheme="") if self.scheme else self


def parse_address(text: str) -> Address:
    """The address a text means.

    `host:port`, `host` (port 8000), `:port` (every IPv4 address), `[v6]:port`, `unix:path` and `unix:///path`,
    `fd://N`; each of them after `https://` or `http://` too, and then `host` has port 443 or 80.

    Raises:
        ConfigError: it is none of these.
    """
    scheme, slashes, rest = text.partition("://")
    scheme = scheme.lower()
    if slashes and scheme in SCHEMES:
        return replace(_place(text, rest, SCHEMES[scheme]), scheme=scheme)
    return _place(text, text, DEFAULT_PORT)


def _place(text: str, rest: str, usual: int) -> Address:
    """The address that the rest means, a text without a scheme of HTTP's.

    Arguments:
        text: what was given, for messages.
        usual: the port of a host without one.
    """
    if rest.startswith("unix:"):
        path = rest[5:]
        if path.startswith("//"):
            path = path[2:]
        if not path or "\0" in path:
            raise ConfigError(f"bind: {text!r} has no file name; give unix:/path/to/socket")
        return Address("unix", path=path)
    if rest.startswith("fd:"):
        number = rest[3:].removeprefix("//")
        if not _is_number(number, 6):
            raise ConfigError(f"bind: {text!r} has no descriptor number; give a number like fd://3")
        return Address("fd", fd=int(number))
    rest = rest.removeprefix("tcp://")
    if "/" in rest or not rest:
        raise ConfigError(f"bind: {text!r} is not an address; {EXAMPLES}")
    if rest.startswith("["):
        host, bracket, tail = rest[1:].partition("]")
        if not bracket or ":" not in host or tail[:1] not in ("", ":"):
            raise ConfigError(f"bind: {text!r} is not an IPv6 address with a port; give [::1]:8000")
        port = tail[1:] if tail else str(usual)
    elif rest.count(":") > 1:
        raise ConfigError(f"bind: {text!r} is ambiguous; write an IPv6 address in brackets, like [::1]:8000")
    else:
        host, colon, port = rest.partition(":")
        if not colon:
            if host.isdigit():
                raise ConfigError(f"bind: {text!r} is only a number; {port_advice(host)}")
            port = str(usual)
    if not _is_number(port, 5) or int(port) > 65535:
        raise ConfigError(f"bind: {text!r} has no port from 0 to 65535; {EXAMPLES}")
    if any(c.isspace() for c in host):
        raise ConfigError(f"bind: {text!r} has a space in the host; {EXAMPLES}")
    return Address("tcp", host=as_ipv4(host), port=int(port))


def is_tls(address: Address, certified: bool) -> bool:
    """Whether TLS is spoken at this address.

    Arguments:
        certified: whether the server has a certificate.

    Raises:
        ConfigError: it is to be, and there is no certificate.
    """
    if address.scheme == "https" and not certified:
        raise ConfigError(f"bind: {address} needs a certificate; give --certfile (and --keyfile)")
    return certified and address.scheme != "http"


def check_tls(settings: Any, certified: bool, addresses: Iterable[Address]) -> None:
    """Nothing that asks for TLS may end in plain http, unnoticed.

    Arguments:
        settings: a settings.values.Settings, or anything with its attributes.
        certified: as for `is_tls`.
        addresses: where is listened.

    Raises:
        ConfigError: an address is to speak TLS, clients are to show certificates, or to be sent to https, and nobody
            speaks it.
    """
    spoken = [is_tls(address, certified) for address in addresses]
    if settings.https_redirect and not certified:
        raise ConfigError("https_redirect: there is no https without a certificate; give certfile too")
    if settings.cert_reqs == "required" and not any(spoken):
        why = "every address of bind begins with http://" if certified else "there is no certificate"
        raise ConfigError(f"cert_reqs: no client would be asked, since {why}; serve TLS, or leave cert_reqs out")


def as_ipv4(host: str) -> str:
    """An IPv4 address that is written as IPv6, as that IPv4 address; any other host as it is."""
    if ":" not in host:
        return host
    from ipaddress import IPv6Address  # only for this: it is no small module

    try:
        mapped = IPv6Address(host).ipv4_mapped
    except ValueError:
        return host
    return host if mapped is None else str(mapped)


def port_advice(number: str, quote: str = "") -> str:
    """What to give instead of a number alone."""
    if _is_number(number, 5) and int(number) <= 65535:
        return f"give {quote}:{number}{quote} to listen on that port"
    return f"ports go from 0 to 65535; {EXAMPLES}"


def _is_number(text: str, digits: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= digits
