"""A connection leaves HTTP for another protocol: what the client offers, and the 101 (RFC 9110 7.8, 15.2.2).

`h2c` is offered by some clients with any request (RFC 7540 3.2, which RFC 9113 has dropped): nothing here takes it up,
since nobody asks for it.
"""

from libc.string cimport memcpy

from greenhttp.green.stream cimport Stream
from greenhttp.http.body cimport Body
from greenhttp.http.exchange cimport Exchange
from greenhttp.http.service cimport Service
from greenhttp.wire.head cimport Head
from greenhttp.wire.response cimport ResponseHead

from greenlet import GreenletExit

from greenhttp.errors import ResponseError, StreamTimeout
from greenhttp.wire.names import KNOWN_NAMES


cdef int UPGRADE = KNOWN_NAMES.index("upgrade")


cdef list offered(Head head):
    """The protocols that the client would change to, as it spells them, the one it likes best first; [] for none.

    What stands in Upgrade counts only where Connection names it, and on HTTP/1.1 (RFC 9110 7.8).
    """
    cdef list found = []
    cdef int at
    if not head.has_connection_upgrade:
        return found
    at = head.find(UPGRADE)
    while at >= 0:
        for token in head.text(head.field[at].value, head.field[at].value_len).split(","):
            token = token.strip(" \t")
            if token:
                found.append(token)
        at = head.find(UPGRADE, at + 1)
    return found


cdef bint offers(Head head, str protocol) except -1:
    """Whether it would change to this one; the case of names does not matter (RFC 9110 7.8)."""
    if not head.has_connection_upgrade:
        return False
    wanted = protocol.lower()
    return any([token.lower() == wanted for token in offered(head)])


cdef int change(Exchange exchange, Head asked, Body content, str protocol, object fields) except -1:
    """Change the protocol of a connection: the 101 is in the output then, and leaves with what is written next.

    Arguments:
        asked, content: of the request.
        protocol: a token, as Upgrade says it.
        fields: pairs of name and value that the answer has beside Upgrade and Connection.

    Raises ResponseError where it cannot be, also for a protocol that the client has not offered, and TypeError; then
    nothing has happened.
    """
    cdef ResponseHead head = ResponseHead()
    cdef bytes line
    if not offers(asked, protocol):
        raise ResponseError(f"the client does not offer to change to {protocol!a:.80}")
    if not content.done or content.expecting:
        raise ResponseError("the content of the request must be read to its end before the protocol changes")
    head.begin("101 Switching Protocols")
    for name, value in fields:
        head.add(name, value)
    line = f"Upgrade: {protocol}\r\nConnection: Upgrade\r\n".encode("ascii")
    head.room(len(line))
    memcpy(head.data + head.size, <char*>line, len(line))
    head.size += len(line)
    head.close_block()
    return exchange.switch(head, asked, content)


cdef bint expected(Service service, Stream stream, object error, str what) except -1:
    """Whether a handler has raised `error` because its peer has gone, or because somebody wanted it to end."""
    if isinstance(error, (GreenletExit, StopIteration)):
        return True                         # the latter is how gunicorn is told that its socket was used
    if not (
        (stream.failed or stream.closed) and isinstance(error, (ConnectionError, StreamTimeout))
        or stream.at_end and isinstance(error, EOFError)
    ):
        return False
    how = f"{error}; its connection was aborted" if isinstance(error, StreamTimeout) \
        else f"the client disconnected ({type(error).__name__})"
    service.noise("disconnections", f"{what}: {how}")
    return True
