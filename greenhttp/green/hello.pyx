"""Whether the first message of a TLS connection is here: a ClientHello, in as many records as its sender likes.

OpenSSL has some 40 KiB for a connection from its first byte on, and more for a message that says it is long. So it is
not asked before it can do its part of the handshake, and what nobody could use it never sees.
"""

# Of a ClientHello, the largest of clients, with keys that quantum computers cannot break and a session's ticket, have
# some 4 KiB.
cdef enum:
    HEAD = 5                    # of a record: type, version, length (RFC 8446 5.1)
    HANDSHAKE = 22
    CLIENT_HELLO = 1
    RECORD = 16384
    MOST = 32768
    MOST_IN_ALL = 65536         # with the heads of its records

cdef enum:                      # RFC 8446 6.2
    UNEXPECTED_MESSAGE = 10
    RECORD_OVERFLOW = 22
    ILLEGAL_PARAMETER = 47
    PROTOCOL_VERSION = 70


cdef Hello wrong(Verdict* verdict, unsigned char alert, const char* why) noexcept:
    verdict.alert = alert
    verdict.why = why
    return WRONG


cdef Hello look(const unsigned char* data, size_t size, Verdict* verdict) noexcept:
    """What the bytes are that a connection begins with."""
    cdef size_t at = 0, length, here, wanted = 0, got = 0, i
    cdef unsigned char head[4]
    while True:
        if at < size and data[at] != HANDSHAKE:
            return wrong(verdict, UNEXPECTED_MESSAGE, b"something else came than its ClientHello")
        if at + 1 < size and data[at + 1] != 3:
            return wrong(verdict, PROTOCOL_VERSION, b"this is no version of TLS")
        if at + HEAD > size:
            break
        length = data[at + 3] << 8 | data[at + 4]
        if length == 0:
            return wrong(verdict, UNEXPECTED_MESSAGE, b"a record of its ClientHello is empty")
        if length > RECORD:
            return wrong(verdict, RECORD_OVERFLOW, b"a record of its ClientHello is too long")
        at += HEAD
        here = min(length, size - at)
        i = 0
        while got + i < sizeof(head) and i < here:
            head[got + i] = data[at + i]
            i += 1
        got += here
        if got > 0 and head[0] != CLIENT_HELLO:
            return wrong(verdict, UNEXPECTED_MESSAGE, b"its first message is no ClientHello")
        if got >= sizeof(head):
            wanted = sizeof(head) + (head[1] << 16 | head[2] << 8 | head[3])
            if wanted > MOST:
                return wrong(verdict, ILLEGAL_PARAMETER, b"its ClientHello is longer than 32 KiB")
        if here < length:
            break
        if wanted and got >= wanted:
            return WHOLE
        at += length
    if size > MOST_IN_ALL:
        return wrong(verdict, ILLEGAL_PARAMETER, b"its ClientHello comes in too many records")
    return PART


def look_at(bytes data not None):
    """`look`, for tests: whether it is whole, or an alert and the words for it."""
    cdef Verdict verdict
    cdef Hello found = look(data, len(data), &verdict)
    return (verdict.alert, (<bytes>verdict.why).decode()) if found == WRONG else found == WHOLE
