"""What --bind says: a text -> an Address. Nothing is opened.

An address that is none raises ConfigError that says why.
"""

from dataclasses import dataclass

from greenhttp.errors import ConfigError

DEFAULT_PORT = 8000
EXAMPLES = "give host:port, :port, [::]:port, unix:/path or fd://N"


@dataclass(frozen=True)
class Address:
    """Where to listen. `str()` gives the text that `parse_address` reads back.

    Attributes:
        kind: "tcp", "unix" or "fd".
        host: name or number, without brackets; "" for every IPv4 address ("tcp").
        port: 0 to 65535; 0 lets the system choose ("tcp").
        path: file name ("unix"); a leading @ stands for Linux's abstract names in what `bound_name` returns.
        fd: number of an inherited descriptor ("fd").
    """

    kind: str
    host: str = ""
    port: int = 0
    path: str = ""
    fd: int = -1

    def __str__(self) -> str:
        if self.kind == "unix":
            return f"unix:{self.path}"
        if self.kind == "fd":
            return f"fd://{self.fd}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """The address a text means.

    `host:port`, `host` (port 8000), `:port` (every IPv4 address), `[v6]:port`, `unix:path` and `unix:///path`,
    `fd://N`.

    Raises:
        ConfigError: it is none of these.
    """
    if text.startswith("unix:"):
        path = text[5:]
        if path.startswith("//"):
            path = path[2:]
        if not path or "\0" in path:
            raise ConfigError(f"bind: {text!r} has no file name; give unix:/path/to/socket")
        return Address("unix", path=path)
    if text.startswith("fd:"):
        number = text[3:].removeprefix("//")
        if not _is_number(number, 6):
            raise ConfigError(f"bind: {text!r} has no descriptor number; give a number like fd://3")
        return Address("fd", fd=int(number))
    rest = text.removeprefix("tcp://")
    if "/" in rest or not rest:
        raise ConfigError(f"bind: {text!r} is not an address; {EXAMPLES}")
    if rest.startswith("["):
        host, bracket, tail = rest[1:].partition("]")
        if not bracket or ":" not in host or tail[:1] not in ("", ":"):
            raise ConfigError(f"bind: {text!r} is not an IPv6 address with a port; give [::1]:8000")
        port = tail[1:] if tail else str(DEFAULT_PORT)
    elif rest.count(":") > 1:
        raise ConfigError(f"bind: {text!r} is ambiguous; write an IPv6 address in brackets, like [::1]:8000")
    else:
        host, colon, port = rest.partition(":")
        if not colon:
            if host.isdigit():
                raise ConfigError(f"bind: {text!r} is only a number; {port_advice(host)}")
            port = str(DEFAULT_PORT)
    if not _is_number(port, 5) or int(port) > 65535:
        raise ConfigError(f"bind: {text!r} has no port from 0 to 65535; {EXAMPLES}")
    if any(c.isspace() for c in host):
        raise ConfigError(f"bind: {text!r} has a space in the host; {EXAMPLES}")
    return Address("tcp", host=as_ipv4(host), port=int(port))


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
