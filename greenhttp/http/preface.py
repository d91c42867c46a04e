"""What comes before HTTP on a connection, for green.arrival: a PROXY header, or words for what was there instead."""

from collections.abc import Callable

from greenhttp.errors import WireError
from greenhttp.wire.proxy import Proxied, parse

OTHERS = (  # how something else begins, and what it is
    (b"PROXY ", "a PROXY header v1"),
    (b"\r\n\r\n\0\r\nQUIT\n", "a PROXY header v2"),
    (b"\x16\x03", "TLS"),
    (b"PRI * HTTP/2.0\r", "HTTP/2"),
)
WRONG_SCHEME = b"400 Bad Request: this port speaks TLS; use https:// instead of http://\n"
PLAIN = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n"
    b"Connection: close\r\n\r\n%s" % (len(WRONG_SCHEME), WRONG_SCHEME)
)
UNDECIDED = 32  # bytes that decide: no method is as long, and few clients send as many empty lines before it
METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"PATCH ", b"DELETE ", b"OPTIONS ", b"CONNECT ", b"TRACE ")


def preface_of(proxy_protocol: str) -> Callable[[bytes], Proxied | None] | None:
    """How to read what connections begin with, by the setting of that name; None: with nothing but HTTP.

    What it returns is called with all bytes that have come, and returns None while they are too few. It raises a
    WireError whose reason is for the log: what was found, and which setting asks for something else.
    """
    if proxy_protocol == "off":
        return None
    v1, v2 = proxy_protocol != "v2", proxy_protocol != "v1"

    def read(data: bytes) -> Proxied | None:
        try:
            return parse(data, v1, v2)
        except WireError as error:
            raise WireError(error.status, words(data, error.reason, v1, v2, proxy_protocol)) from None

    return read


def retort(data: bytes) -> tuple[bytes, str] | None:
    """What to answer on a connection that begins with something else than the handshake of TLS, and what to log. None:
    this may become HTTP, or not."""
    begun = data.lstrip(b"\r\n")
    if len(data) < UNDECIDED and any(method != begun and method.startswith(begun) for method in METHODS):
        return None
    if begun.startswith(METHODS):
        return PLAIN, "HTTP came to a TLS port; use https:// there, or bind an http:// address for it"
    found = next((name for start, name in OTHERS if data.startswith(start)), "something else")
    if found.startswith("a PROXY header"):
        return b"", f"{found} came before TLS; give --proxy-protocol, or turn it off in the proxy"
    return b"", f"{found} came to a TLS port"


def words(data: bytes, reason: str, v1: bool, v2: bool, wanted: str) -> str:
    """What is wrong with the bytes that a connection begins with, and what to do."""
    found = next((name for start, name in OTHERS if data.startswith(start)), None)
    if found is not None and found.startswith("a PROXY header"):
        if found.endswith("v1") and v1 or found.endswith("v2") and v2:
            return f"malformed PROXY header: {reason}"
        return f"{found} came where {wanted} is expected (proxy_protocol); set both sides to the same version"
    if found is None:
        found = "HTTP" if data.startswith(METHODS) else "something else"
    return f"{found} came instead of a PROXY header (proxy_protocol={wanted}); turn the PROXY protocol on in the proxy"
