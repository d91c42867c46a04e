"""How a request becomes a WebSocket: the opening handshake (RFC 6455 4.2), and who may.

A browser lets any page open a WebSocket to any server, with the cookies of that server: only Origin tells whose page it
is. So another origin than the request's own is refused unless it is allowed. Programs send no Origin, and are let in.
"""

from greenhttp.http.body cimport Body
from greenhttp.http.exchange cimport Exchange
from greenhttp.http.upgrade cimport offers
from greenhttp.wire.head cimport Head
from greenhttp.websockets.socket cimport Conversations

from math import ceil

from greenhttp.errors import HTTPError, WireError
from greenhttp.wire.handshake import VERSION, accept_key, choose_protocol, negotiate, tokens, valid_key

cdef dict PORTS = {"http": ":80", "https": ":443"}


cdef str plain_origin(str origin):
    """An origin in small letters, without the port that its scheme has anyway (RFC 6454 6.2)."""
    cdef str scheme, colon, rest
    scheme, colon, rest = origin.lower().partition("://")
    return f"{scheme}{colon}{rest.removesuffix(PORTS.get(scheme, ' '))}"


cdef bint may_come(str origin, str own, object allowed) except -1:
    """Whether a page of that origin may open one. `own`: scheme and host of the request. `allowed`: others, `*` is any.
    """
    if "*" in allowed:
        return True
    origin = plain_origin(origin)
    if origin == "null":
        return "null" in allowed
    return origin == plain_origin(own) or origin in [plain_origin(each) for each in allowed]


cdef str only(Head head, str name):
    """The value of a field that may be there once; "" without it. Raises HTTPError."""
    values = [value for key, value in head.fields if key.lower() == name]
    if len(values) > 1:
        raise HTTPError(400, f"more than one {name}")
    return values[0] if values else ""


cdef int check_room(Exchange exchange, Py_ssize_t taken) except -1:
    """Raise HTTPError if there are as many conversations as there may be, or no more are begun. `taken`: those that are
    on sockets of applications."""
    cdef Conversations shared = exchange.service.websockets
    if shared.count + taken >= shared.limit or shared.draining:
        raise HTTPError(503, "", [("Retry-After", str(max(1, ceil(exchange.service.queued.duration))))])
    return 0


cdef object agreed(Exchange exchange, Head head, Body body, str own, object protocols, object origins):
    """What client and server agree on: the sub-protocol or None, what is agreed on for compression or None, and the
    fields of the answer. Raises HTTPError: the answer that such a request gets."""
    cdef Conversations shared = exchange.service.websockets
    cdef str key, protocol, answer
    if isinstance(protocols, str):
        raise TypeError("protocols is a list of names, not a str")
    if isinstance(origins, str):
        raise TypeError("origins is a list, not a str")     # a * in it would let all in
    if not offers(head, "websocket"):
        raise HTTPError(426, "This is a WebSocket", [("Upgrade", "websocket"), ("Sec-WebSocket-Version", VERSION)])
    if only(head, "sec-websocket-version") != VERSION:
        raise HTTPError(426, "Unknown version of WebSocket", [
            ("Upgrade", "websocket"), ("Sec-WebSocket-Version", VERSION),
        ])
    key = only(head, "sec-websocket-key")
    if head.method != "GET" or not valid_key(key) or not body.done:
        raise HTTPError(400, "No WebSocket handshake")
    origin = head.get("origin")
    if origin is not None and not may_come(origin, own, shared.origins if origins is None else list(origins)):
        raise HTTPError(403, "This origin is not allowed")
    check_room(exchange, 0)
    fields = [("Sec-WebSocket-Accept", accept_key(key))]
    try:
        protocol = choose_protocol(tokens(head.get("sec-websocket-protocol") or ""), list(protocols))
        answer, compression = negotiate(head.get("sec-websocket-extensions") or "", shared.compression)
    except WireError as error:
        raise HTTPError(400, error.reason) from None
    if protocol is not None:
        fields.append(("Sec-WebSocket-Protocol", protocol))
    if answer is not None:
        fields.append(("Sec-WebSocket-Extensions", answer))
    return protocol, compression, fields
