"""What the log says of a refusal: which limit, with its value, or what was spoken in the place of HTTP/1.

Nothing of this reaches the wire: an answer says no more than its status.
"""

BEYOND = {  # setting -> what is beyond it
    "limit_request_line": "the request line is longer than {}",
    "limit_request_head": "the fields of the head are larger than {}",
    "limit_request_fields": "the head has more than {} fields",
    "limit_request_body": "the body is larger than {}",
    "limit_chunk_extensions": "the chunk extensions are longer than {}",
    "limit_trailers": "the trailers are larger than {}",
    "gather_chunked": "the chunked content is larger than {}",
    "limit_buffers": "the unread input of all connections is larger than {} and this one has the most",
}
COUNTED = ("limit_request_fields",)  # all others are sizes
SHOWN = 100  # bytes of what a client sent
UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))

PROXY_HEADER = "a PROXY header came to a plain port; give --proxy-protocol any, or turn it off in the proxy"
OTHERS = (  # how something else begins, and what it is
    (b"\x16\x03", "TLS spoken to a plain port; use http://, or a proxy that ends TLS"),
    (b"PRI * HTTP/2.0\r", "HTTP/2 spoken to a port for HTTP/1.1; use HTTP/1.1, in a proxy towards this server too"),
    (b"PROXY ", PROXY_HEADER),
    (b"\r\n\r\n\x00\r\nQUIT\n", PROXY_HEADER),
)


def beyond(setting: str, limit: int) -> str:
    """`the body is larger than 1 MiB (limit_request_body)`."""
    value = str(limit) if setting in COUNTED else size(limit)
    return f"{BEYOND[setting].format(value)} ({setting})"


def size(count: int) -> str:
    """Bytes for people, exactly: `1 MiB`, `1536 KiB`, `1000 bytes`."""
    for unit, name in UNITS:
        if count and count % unit == 0:
            return f"{count // unit} {name}"
    return "1 byte" if count == 1 else f"{count} bytes"


def other_protocol(data: bytes) -> str | None:
    """What a connection whose first bytes are these speaks, if that is not HTTP/1; None: nobody knows.

    The first byte of TLS is refused before the second has come; nothing of HTTP/1 begins with it.
    """
    if data == b"\x16":
        data = b"\x16\x03"
    return next((text for start, text in OTHERS if data.startswith(start)), None)


def shown(value: bytes) -> str:
    """What a client or a proxy sent, for a line of the log: quoted, in printable ASCII, not too long."""
    return ascii(value[:SHOWN].decode("latin-1")) + ("..." if len(value) > SHOWN else "")
