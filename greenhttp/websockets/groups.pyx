"""What is sent to many at once: framed, and compressed, once for all of them."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy

from greenhttp.wire.websocket cimport FRAME_HEAD_MAX, Opcode, frame_head
from greenhttp.websockets.socket cimport State, WebSocket, members_of

cdef enum:
    POLICY = 1008               # RFC 6455 7.4.1: for which there is no better code


cdef bytes framed(int opcode, bytes payload, bint compressed):
    cdef char head[FRAME_HEAD_MAX]
    cdef Py_ssize_t size = PyBytes_GET_SIZE(payload)
    cdef int n = frame_head(head, opcode, size, compressed, True)
    cdef bytes made = PyBytes_FromStringAndSize(NULL, n + size)
    memcpy(PyBytes_AS_STRING(made), head, n)
    memcpy(PyBytes_AS_STRING(made) + n, PyBytes_AS_STRING(payload), size)
    return made


def broadcast(str group not None, message, *, exclude=None, slow=None):
    """Send a message to all that have joined a group, in this process. Never waits.

    Arguments:
        message: as for WebSocket.send.
        exclude: a WebSocket that does not get it: the one it came from, say; None: nobody.
        slow: what becomes of one that has more than `websocket_backlog` unsent: "drop": it misses the message; "close":
            it is closed with 1008. None: `websocket_slow`.

    Returns to how many it is on its way. A group that nobody has joined is empty.
    """
    cdef WebSocket socket
    cdef dict ready = {}            # frames, by who can read them: see Codec.shared_window
    cdef bytes frame = None, smaller
    cdef int opcode = Opcode.OP_TEXT if isinstance(message, str) else Opcode.OP_BINARY, window, last = 0
    cdef Py_ssize_t count = 0
    cdef bint cuts
    cdef bytes payload = (<str>message).encode() if opcode == Opcode.OP_TEXT else bytes(memoryview(message))
    if slow is not None and slow != "drop" and slow != "close":
        raise ValueError(f"{slow!r} is not known; give drop or close")
    members = members_of(group)
    if members is None:
        return 0
    for socket in list(members):
        if socket is exclude or socket.state != State.OPEN:
            continue
        if socket.stream.pending() > socket.shared.backlog:
            cuts = socket.shared.cuts_slow if slow is None else slow == "close"
            if cuts:
                socket.part(POLICY, "too slow")
            continue
        window = socket.codec.shared_window()
        if frame is None or window != last or window < 0:
            last = window
            frame = ready.get(window)
            if frame is None:
                smaller = None if window == 0 else socket.codec.compress(payload)
                frame = framed(opcode, payload, False) if smaller is None else framed(opcode, smaller, True)
                if window >= 0:
                    ready[window] = frame
            if socket.state != State.OPEN:
                continue
        socket.put_whole(frame)
        count += 1
    return count
