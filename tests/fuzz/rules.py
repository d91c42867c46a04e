"""The rules of HTTP/1 as this server keeps them, read a second time: slowly, by regular expressions and splitting.

An independent reading to compare the parsers with; it shares no code and no method with greenhttp/wire. Each function
takes all the bytes at once and returns what they mean, or None for bytes that are refused or not yet complete.
Sections are those of RFC 9112 unless said otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any

from greenhttp.wire.body import FORBIDDEN_TRAILERS
from greenhttp.wire.response import REASONS
from tests.proxied import crc32c

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # RFC 9110 5.6.2
TEXT = rb"[\t\x20-\x7e\x80-\xff]*"  # what a field value may hold, RFC 9110 5.5
QUOTED = rb'"(?:[\t\x20!#-\[\]-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'  # RFC 9110 5.6.4
EXTENSION = rb";[ \t]*" + TOKEN + rb"(?:[ \t]*=[ \t]*(?:" + TOKEN + rb"|" + QUOTED + rb"))?"  # 7.1.1

REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([\x21-\x7e\x80-\xff]+) HTTP/1\.([0-9])")
FIELD_LINE = re.compile(rb"(" + TOKEN + rb"):(" + TEXT + rb")")
ORIGIN = re.compile(rb"(/[\x21-\x7e]*?)(?:\?([\x21-\x7e\x80-\xff]*))?")
ABSOLUTE = re.compile(rb"(?i:(https?)://)([^/?]*)((?:/[\x21-\x7e]*?)?)(?:\?([\x21-\x7e\x80-\xff]*))?")
REG_NAME = rb"(?:[A-Za-z0-9\-._~!$&'()*+;=]|%[0-9A-Fa-f]{2})+"  # RFC 3986 3.2.2, without the comma
AUTHORITY = re.compile(rb"(" + REG_NAME + rb"|\[[0-9A-Fa-f:.]+\])(?::([0-9]{0,5}))?")
SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})((?:" + EXTENSION + rb"(?:[ \t]*" + EXTENSION + rb")*)?)\r\n")
TRAILER_LINE = re.compile(rb"(" + TOKEN + rb"):" + TEXT + rb"\r\n")

PAIR = rb"(" + TOKEN + rb")=(" + TOKEN + rb"|" + QUOTED + rb")"  # RFC 7239 4, with white space beside semicolons
ELEMENT = re.compile(rb"[ \t]*(?:" + PAIR + rb"[ \t]*)?(?:;[ \t]*(?:" + PAIR + rb"[ \t]*)?)*")
HIDDEN = rb"_[A-Za-z0-9._-]+"
NODE = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[0-9.]+|(?i:unknown)|" + HIDDEN + rb")(?::([0-9]{1,5}|" + HIDDEN + rb"))?")
ZONE = re.compile(rb"(\[?(?i:fe80):[0-9A-Fa-f:.]*)(%[A-Za-z0-9._-]{1,15})((?:\].*)?)", re.DOTALL)  # RFC 4007 11

BIGGEST = 2**63 - 1  # bytes of a body that can be counted
FORBIDDEN = {name.encode() for name in FORBIDDEN_TRAILERS}


@dataclass
class Request:
    """A head that is accepted. Attributes as those of wire.head.Head, the str ones as bytes."""

    method: bytes
    target: bytes
    path: bytes
    query: bytes
    host: bytes
    minor: int
    fields: list[tuple[bytes, bytes]]
    framing: int  # 0 none, 1 Content-Length, 2 chunked
    content_length: int
    keep_alive: bool
    wants_continue: bool
    head_size: int


def read_head(
    data: bytes,
    *,
    limit_request_line: int = 8192,
    limit_request_head: int = 65536,
    limit_request_fields: int = 100,
    allow_names: Collection[str] = (),
    allow_connect: bool = False,
    allow_trace: bool = False,
) -> Request | None:
    """The request head that the data begins with."""
    start = 0
    while start < 4 and data.startswith(b"\r\n", start):  # two empty lines at most, 2.2
        start += 2
    end = data.find(b"\r\n\r\n", start)
    if end < 0:
        return None
    first, *lines = data[start:end].split(b"\r\n")
    line = REQUEST_LINE.fullmatch(first)
    if line is None or len(first) > limit_request_line or len(line[1]) > 32:
        return None
    if len(lines) > limit_request_fields or sum(len(line) + 2 for line in lines) > limit_request_head:
        return None
    method, target, minor = line[1], line[2], min(int(line[3]), 1)
    if (method == b"CONNECT" and not allow_connect) or (method == b"TRACE" and not allow_trace):
        return None
    parts = read_target(method, target)
    matches = [FIELD_LINE.fullmatch(line) for line in lines]
    if parts is None or None in matches:
        return None
    fields = [(match[1], match[2].strip(b" \t")) for match in matches if match]

    def values(name: bytes) -> list[bytes]:
        return [value for key, value in fields if key.lower() == name]

    def elements(name: bytes) -> list[bytes]:
        return [part.strip(b" \t").lower() for value in values(name) for part in value.split(b",")]

    host = read_host(parts, values(b"host"), minor)
    length = read_length(values(b"content-length"))
    codings = elements(b"transfer-encoding")
    expected = {part for part in elements(b"expect") if part and minor}
    if host is None or length is None or not expected <= {b"100-continue"}:
        return None
    if codings and (codings != [b"chunked"] or minor == 0 or length >= 0):  # 6.1, 6.3
        return None
    options = elements(b"connection")
    passed = [field for field in fields if passes(field[0], allow_names)]
    return Request(
        method, target, parts["path"], parts["query"], host, minor, passed,
        framing=2 if codings else 1 if length >= 0 else 0,
        content_length=length,
        keep_alive=b"close" not in options and (minor == 1 or b"keep-alive" in options),
        wants_continue=bool(expected) and (bool(codings) or length > 0),
        head_size=end + 4,
    )  # fmt: skip


def read_target(method: bytes, target: bytes) -> dict[str, bytes] | None:
    """Path, query, scheme and authority of a request target (3.2)."""
    if b"#" in target:
        return None
    if method == b"CONNECT":
        authority = read_authority(target)
        return {"path": b"", "query": b""} if authority and authority[1] is not None else None
    if target == b"*" and method == b"OPTIONS":
        return {"path": b"*", "query": b""}
    if match := ORIGIN.fullmatch(target):
        return {"path": match[1], "query": match[2] or b""}
    match = ABSOLUTE.fullmatch(target)
    if match is None or read_authority(match[2]) is None:
        return None
    return {"path": match[3] or b"/", "query": match[4] or b"", "scheme": match[1].lower(), "authority": match[2]}


def read_authority(text: bytes) -> tuple[bytes, int | None] | None:
    """`host [":" port]`: the host, and the port unless it is absent or empty."""
    match = AUTHORITY.fullmatch(text)
    if match is None:
        return None
    if match[1].startswith(b"["):
        try:
            IPv6Address(match[1][1:-1].decode())
        except AddressValueError:
            return None
    port = int(match[2]) if match[2] else None
    return None if port is not None and port > 65535 else (match[1], port)


def read_host(parts: dict[str, bytes], hosts: list[bytes], minor: int) -> bytes | None:
    """The host asked for, empty if none; None if the Host fields are not what they must be (3.2)."""
    if len(hosts) > 1 or (minor == 1 and not hosts) or any(read_authority(host) is None for host in hosts):
        return None
    if "authority" not in parts:
        return hosts[0] if hosts else b""
    default = 443 if parts["scheme"] == b"https" else 80

    def normal(text: bytes) -> tuple[bytes, int]:
        name, port = read_authority(text) or (b"", None)
        return name.lower(), default if port is None else port

    if hosts and normal(hosts[0]) != normal(parts["authority"]):
        return None
    return parts["authority"]


def read_forwarded(text: bytes) -> list[dict[str, bytes]] | None:
    """`for`, `proto` and `host` of each element of a Forwarded field that has a parameter (RFC 7239 4)."""
    found = []
    parts = re.findall(rb"(?:" + QUOTED + rb'|[^",])+', text)
    if not re.fullmatch(rb"(?:" + ELEMENT.pattern + rb")(?:,(?:" + ELEMENT.pattern + rb"))*", text):
        return None
    for part in parts:
        pairs = [(name.lower().decode(), value) for name, value in re.findall(PAIR, part)]
        element = dict(pairs)
        if len(element) < len(pairs):
            return None
        for name, value in pairs:
            if value.startswith(b'"'):
                element[name] = re.sub(rb"(?s)\\(.)", rb"\1", value[1:-1])
        if pairs:
            found.append({name: value for name, value in element.items() if name in ("for", "proto", "host")})
    return found


def read_elements(text: bytes) -> list[bytes]:
    """The elements of a list without quotes that are not empty (RFC 9110 5.6.1)."""
    return [part for element in text.split(b",") if (part := element.strip(b" \t"))]


def read_node(text: bytes, strict: bool) -> tuple[str, int] | None:
    """What a proxy names (RFC 7239 6), and its port; not `strict`: as X-Forwarded-For has it."""
    if not strict and re.fullmatch(rb"(?i:unix):?", text):
        return text[:4].decode(), 0
    zone = None if strict else ZONE.fullmatch(text)  # taken out here, put back at the end
    if zone:
        text = zone[1] + zone[3]
    match = NODE.fullmatch(text)
    name, port = (match[1], match[2] or b"0") if match else (text, b"0")
    if not match and (strict or not re.fullmatch(rb"[0-9A-Fa-f:.]+", text)):
        return None
    if (port.startswith(b"_") and not strict) or (not port.startswith(b"_") and int(port) > 65535):
        return None
    try:
        if name.startswith(b"["):
            name = name[1:-1]
            IPv6Address(name.decode())
        elif re.fullmatch(rb"[0-9.]+", name):
            IPv4Address(name.decode())
        elif not match:
            IPv6Address(name.decode())
    except AddressValueError:
        return None
    if zone:
        name += zone[2]
    return name.decode(), 0 if port.startswith(b"_") else int(port)


def read_length(values: list[bytes]) -> int | None:
    """Content-Length, -1 if there is none; None if it is malformed or more than can be counted."""
    if not values:
        return -1
    if len(values) > 1 or not re.fullmatch(rb"[0-9]{1,19}", values[0]) or int(values[0]) > BIGGEST:
        return None
    return int(values[0])


def passes(name: bytes, allow_names: Collection[str]) -> bool:
    """Whether a field reaches the application."""
    lower = name.lower()
    return (b"_" not in lower and lower != b"proxy") or lower.decode() in allow_names


@dataclass
class Chunked:
    """What can be read of a chunked body: its content so far; size of the message and trailers if it is complete."""

    content: bytes
    size: int | None
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)


def read_chunked(
    data: bytes,
    *,
    limit_request_body: int = 1 << 30,
    limit_chunk_extensions: int = 4096,
    limit_trailers: int = 8192,
) -> Chunked:
    """The chunked body that the data begins with (7.1)."""
    content, at, announced, extensions = b"", 0, 0, 0
    while match := SIZE_LINE.match(data, at):
        size = int(match[1], 16)
        announced += size
        extensions += len(match[2])
        if announced > min(limit_request_body, BIGGEST) or extensions > limit_chunk_extensions:
            break
        at = match.end()
        if size == 0:
            return Chunked(content, *read_trailers(data, at, limit_trailers))
        content += data[at : at + size]
        at += size
        if data[at : at + 2] != b"\r\n":
            break
        at += 2
    return Chunked(content, None)


def read_trailers(data: bytes, at: int, limit: int) -> tuple[int | None, list[tuple[bytes, bytes]]]:
    """Where the trailer section ends (7.1.2), and what is in it."""
    start, found = at, []
    while match := TRAILER_LINE.match(data, at):
        at = match.end()
        found.append((match[1], match[0][len(match[1]) + 1 : -2].strip(b" \t")))
        if match[1].lower() in FORBIDDEN or len(found) > 100 or at - start > limit:
            return None, []
    return (at + 2, found) if data.startswith(b"\r\n", at) else (None, [])


@dataclass
class Message:
    """One request of a connection, and what there is of its content."""

    head: Request
    content: bytes
    whole: bool


def read_connection(data: bytes, head_limits: dict[str, Any], body_limits: dict[str, int]) -> list[Message]:
    """The requests up to the first that is refused, not whole, or the last one that the client wants answered."""
    found: list[Message] = []
    while head := read_head(data, **head_limits):
        data = data[head.head_size :]
        if head.framing == 2:
            body = read_chunked(data, **body_limits)
            content, size = body.content, body.size
        else:
            size = max(head.content_length, 0)
            content = data[:size]
        too_much = head.content_length > body_limits.get("limit_request_body", BIGGEST)
        whole = size is not None and size <= len(data) and not too_much
        found.append(Message(head, content, whole))
        if not whole or not head.keep_alive:
            break
        data = data[size:]
    return found


STATUS = re.compile(r"[1-5][0-9]{2}(?: [\t\x20-\x7e\x80-\xff]*)?")
NAME = re.compile(TOKEN.decode())
VALUE = re.compile(TEXT.decode("latin-1"))
NOT_PASSED_ON = {  # the server's own (RFC 9110 7.6.1)
    "connection", "content-length", "transfer-encoding", "keep-alive", "proxy-connection", "upgrade", "trailer", "te",
}  # fmt: skip
DATE, SERVER = b"Date: now\r\n", b"Server: test\r\n"


def write_head(
    status: str, fields: list[tuple[str, str]], *, is_head: bool, minor: int, keep_alive: bool, known: int
) -> tuple[bytes, int] | None:
    """The head of a response and what follows it, as wire.response.Transfer; None if it may not be sent."""
    if not STATUS.fullmatch(status) or not all(NAME.fullmatch(n) and VALUE.fullmatch(v) for n, v in fields):
        return None

    def values(name: str) -> list[str]:
        return [value for key, value in fields if key.lower() == name]

    lengths = values("content-length")
    if not all(re.fullmatch("[0-9]{1,18}", value) for value in lengths) or len({*map(int, lengths)}) > 1:
        return None
    length = int(lengths[0]) if lengths else None
    code = int(status[:3])
    end, transfer = [], 0  # EMPTY
    if code < 200 or code == 204:
        length = None
    elif code == 205:
        length = 0
    elif is_head or code == 304:
        pass
    elif length is not None or known >= 0:
        length, transfer = known if length is None else length, 1  # SIZED
    elif minor:
        end, transfer = ["Transfer-Encoding: chunked"], 2  # CHUNKS
    else:
        transfer = 3  # UNTIL_CLOSE
    if length is not None:
        end.append(f"Content-Length: {length}")
    options = [option.strip(" \t").lower() for value in values("connection") for option in value.split(",")]
    if not keep_alive or "close" in options or transfer == 3 or code < 200:
        end.append("Connection: close")
    elif not minor:
        end.append("Connection: keep-alive")
    reason = status[4:] or REASONS.get(code, "")
    lines = [f"HTTP/1.1 {code} {reason}"]
    lines += [f"{name}: {value}" for name, value in fields if name.lower() not in NOT_PASSED_ON]
    own = b"" if values("server") else SERVER
    own += b"" if values("date") else DATE
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1") + own + "".join(
        f"{line}\r\n" for line in [*end, ""]
    ).encode(), transfer


# The PROXY protocol, proxy-protocol.txt of HAProxy -------------------------------------------------------------------

PROXY_NUMBER = rb"(0|[1-9][0-9]{0,4})"
PROXY_LINE = re.compile(
    rb"PROXY (?:(TCP4) ([0-9.]{7,15}) ([0-9.]{7,15})|(TCP6) ([0-9A-Fa-f:.]{2,39}) ([0-9A-Fa-f:.]{2,39})) "
    + PROXY_NUMBER + rb" " + PROXY_NUMBER + rb"\r\n"
)  # fmt: skip
PROXY_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?\r\n")
PROXY_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
PROXY_ONCE = {1: "alpn", 2: "authority", 5: "unique_id", 0x30: "netns"}
PROXY_TLS = {0x21: "version", 0x22: "common_name", 0x23: "cipher", 0x24: "signature", 0x25: "key"}


@dataclass
class Proxied:
    """A PROXY header that is accepted. `values`: its TLVs by the names of wire.proxy.Proxied, TLS as a dict."""

    size: int
    version: int
    local: bool = False
    source: tuple[str, int] | None = None
    destination: tuple[str, int] | None = None
    values: dict[str, Any] = field(default_factory=dict)


def read_proxy(data: bytes) -> Proxied | None:
    """The PROXY header that the data begins with."""
    if data.startswith(PROXY_SIGNATURE):
        return _proxy_block(data)
    if line := PROXY_UNKNOWN.match(data):
        return Proxied(line.end(), 1) if line.end() <= 107 else None
    if (line := PROXY_LINE.match(data)) is None:
        return None
    kind, *ends = [text.decode() for text in line.groups() if text is not None]
    source, destination = (_proxy_address(kind, text) for text in ends[:2])
    ports = [int(text) for text in ends[2:]]
    if source is None or destination is None or max(ports) > 65535:
        return None
    return Proxied(line.end(), 1, False, (source, ports[0]), (destination, ports[1]))


def _proxy_address(kind: str, text: str) -> str | None:
    try:
        return _proxy_shown(IPv4Address(text) if kind == "TCP4" else IPv6Address(text))
    except AddressValueError:
        return None


def _proxy_shown(address: IPv4Address | IPv6Address) -> str:
    import socket

    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or socket.inet_ntop(socket.AF_INET6, address.packed))
    return str(address)


def _proxy_tlvs(data: bytes) -> list[tuple[int, bytes]] | None:
    found = []
    while data:
        if len(data) < 3 or len(data) < 3 + int.from_bytes(data[1:3], "big"):
            return None
        end = 3 + int.from_bytes(data[1:3], "big")
        found.append((data[0], data[3:end]))
        data = data[end:]
    return found


def _proxy_text(value: bytes) -> str:
    """Raises ValueError."""
    if len(value) > 255 or re.search(rb"[\0-\x1f\x7f]", value):
        raise ValueError
    return value.decode()


def _proxy_block(data: bytes) -> Proxied | None:
    if len(data) < 16 or data[12] not in (0x20, 0x21):
        return None
    size = 16 + int.from_bytes(data[14:16], "big")
    if size > 4096 or len(data) < size:
        return None
    made = Proxied(size, 2, data[12] == 0x20, values={"tlvs": ()})
    if made.local or data[13] == 0:
        return made
    needed = {0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}.get(data[13], 4096)
    body = data[16:size]
    tlvs = None if len(body) < needed else _proxy_tlvs(body[needed:])
    if tlvs is None:
        return None
    if data[13] in (0x11, 0x21):
        width, kind = (4, IPv4Address) if data[13] == 0x11 else (16, IPv6Address)
        shown = [_proxy_shown(kind(body[i : i + width])) for i in (0, width)]
        made.source = shown[0], int.from_bytes(body[2 * width : 2 * width + 2], "big")
        made.destination = shown[1], int.from_bytes(body[2 * width + 2 : 2 * width + 4], "big")
    known = [kind for kind, _ in tlvs if kind in (*PROXY_ONCE, 3, 0x20)]
    if len(known) != len(set(known)):
        return None
    at = 16 + needed
    try:
        for kind, value in tlvs:
            if kind == 3:
                zeroed = data[: at + 3] + bytes(4) + data[at + 7 : size]
                if len(value) != 4 or crc32c(zeroed) != int.from_bytes(value, "big"):
                    return None
            elif kind == 0x20:
                if (told := _proxy_tls(value)) is not None:
                    made.values["tls"] = told
            elif kind in PROXY_ONCE:
                if kind == 5 and len(value) > 128:
                    return None
                made.values[PROXY_ONCE[kind]] = value if kind in (1, 5) else _proxy_text(value)
            elif kind != 4:
                made.values["tlvs"] += ((kind, value),)
            at += 3 + len(value)
    except ValueError:
        return None
    return made


def _proxy_tls(value: bytes) -> dict[str, Any] | None:
    """Raises ValueError."""
    subs = _proxy_tlvs(value[5:])
    if len(value) < 5 or subs is None:
        raise ValueError
    subs = [(kind, text) for kind, text in subs if kind in PROXY_TLS]
    if len(subs) != len({kind for kind, _ in subs}):
        raise ValueError
    told = {PROXY_TLS[kind]: _proxy_text(text) for kind, text in subs}
    return {**told, "client": value[0], "verify": int.from_bytes(value[1:5], "big")} if value[0] & 1 else None
