"""`host [":" port]`: what a Host field and the authority of a request target may hold (RFC 9110 7.2, RFC 3986 3.2).

Stricter than the grammar in two points: no comma (in a Host field it is a list of two, RFC 9112 3.2), and no IPvFuture
or zone identifier in brackets, which nobody routes by. Laxer in none.
"""

cdef enum:
    PLAIN = 1
    PERCENT = 2
    HEX = 4


cdef unsigned char KIND[256]


cdef bint is_ipv4(const unsigned char* p, Py_ssize_t size) noexcept nogil:
    """Four numbers 0-255 without leading zeros (dec-octet, RFC 3986 3.2.2)."""
    cdef Py_ssize_t i = 0, start
    cdef int octets = 0, value
    while True:
        start = i
        value = 0
        while i < size and i - start < 3 and c'0' <= p[i] <= c'9':
            value = value * 10 + (p[i] - c'0')
            i += 1
        if i == start or value > 255 or (p[start] == c'0' and i - start > 1):
            return False
        octets += 1
        if i == size:
            return octets == 4
        if p[i] != c'.' or octets == 4:
            return False
        i += 1


cdef bint is_ipv6(const unsigned char* p, Py_ssize_t size) noexcept nogil:
    """An IPv6address of RFC 3986 3.2.2: eight groups, or fewer around one `::`; the last two may be an IPv4 address."""
    cdef Py_ssize_t i = 0, start
    cdef int groups = 0
    cdef bint compressed = False
    if size >= 2 and p[0] == c':' and p[1] == c':':
        compressed = True
        i = 2
    while i < size:
        start = i
        while i < size and KIND[p[i]] & HEX:
            i += 1
        if i < size and p[i] == c'.':
            if not is_ipv4(p + start, size - start):
                return False
            groups += 2
            break
        if i == start or i - start > 4:
            return False
        groups += 1
        if i == size:
            break
        if p[i] != c':':
            return False
        i += 1
        if i == size:
            return False
        if p[i] == c':':
            if compressed:
                return False
            compressed = True
            i += 1
    return groups <= 7 if compressed else groups == 8


cdef bint parse_authority(const unsigned char* text, Py_ssize_t size, Authority* out) noexcept nogil:
    """Split and check `host [":" port]`; False when it is anything else (empty, user-info, path, list, bad port)."""
    cdef Py_ssize_t i = 0
    cdef int port = 0
    cdef unsigned char kind
    out.port = -1
    if size > 0 and text[0] == c'[':
        while i < size and text[i] != c']':
            i += 1
        if i == size or not is_ipv6(text + 1, i - 1):
            return False
        i += 1
    else:
        while i < size:
            kind = KIND[text[i]]
            if kind & PLAIN:
                i += 1
            elif kind & PERCENT and i + 2 < size and KIND[text[i + 1]] & KIND[text[i + 2]] & HEX:
                i += 3
            else:
                break
        if i == 0:
            return False
    out.name_size = i
    if i == size:
        return True
    if text[i] != c':':
        return False
    i += 1
    # `port = *DIGIT` (RFC 3986 3.2.3): "host:" is well formed and means the default port. More than five digits
    # cannot be a TCP port without leading zeros, which no client sends.
    if i == size:
        return True
    if size - i > 5:
        return False
    while i < size:
        if not c'0' <= text[i] <= c'9':
            return False
        port = port * 10 + (text[i] - c'0')
        i += 1
    out.port = port
    return port <= 65535


def is_authority(text: bytes) -> bool:
    """Whether the bytes are one well-formed `host [":" port]`."""
    cdef Authority out
    return parse_authority(text, len(text), &out)


cdef int fill() except -1:
    cdef int i
    for i in range(256):
        KIND[i] = 0
    # reg-name: unreserved and sub-delims without the comma; "_" belongs to unreserved (container names have it)
    for i in b"-._~!$&'()*+;=0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ":
        KIND[i] = PLAIN
    for i in b"0123456789abcdefABCDEF":
        KIND[i] |= HEX
    KIND[c'%'] = PERCENT
    return 0


fill()
