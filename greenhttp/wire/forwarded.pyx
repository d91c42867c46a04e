"""What proxies write of whoever was before them: bytes to values. Whom to believe is not decided here.

    X-Forwarded-For: 192.0.2.1, 10.0.0.7            a list; no standard says what is in it
    Forwarded: for=192.0.2.1;proto=https, for=_b    RFC 7239, read strictly

A list of the first kind is split at its commas, whatever is between them: an element that nobody needs may be anything.
Forwarded has quotes, and one that is never closed, or closed where nobody expects it, would take in the elements behind
it. So a field is either well formed from its first byte to its last, or refused as a whole. Laxer than the grammar in
one point: white space beside a semicolon, which many write, and which moves no element.

All of it takes time that is linear in the bytes, whatever they are.
"""

from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memchr, memcpy, memset

from greenhttp.wire.host cimport is_ipv4, is_ipv6
from greenhttp.wire.names cimport same_name, token_table
from greenhttp.wire.scan cimport trim

cdef enum:
    LONGEST_ZONE = 16           # with its `%`: as long as the name of an interface can be (IFNAMSIZ)

cdef const unsigned char* TOKEN = token_table()
cdef unsigned char HIDES[256]       # obfnode and obfport (RFC 7239 6.3): ALPHA, DIGIT, `.`, `_`, `-`
memset(HIDES, 0, 256)
cdef unsigned char _byte
for _byte in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-":
    HIDES[_byte] = 1


cdef inline uint32_t after_space(const unsigned char* p, uint32_t i, uint32_t end) noexcept nogil:
    while i < end and (p[i] == c' ' or p[i] == c'\t'):
        i += 1
    return i


cdef inline unsigned char parameter(const unsigned char* name, uint32_t size) noexcept nogil:
    """Which of the four it is; 0: another one."""
    if size == 3 and same_name(name, b"for", 3):
        return HAS_FOR
    if size == 5 and same_name(name, b"proto", 5):
        return HAS_PROTO
    if size == 4 and same_name(name, b"host", 4):
        return HAS_HOST
    return HAS_BY if size == 2 and same_name(name, b"by", 2) else 0


cdef class Hops:
    """The elements of one or more fields, in the order they were read."""

    def __cinit__(self):
        self.hop = self.few
        self.room = FEW_HOPS

    def __dealloc__(self):
        if self.hop != self.few:
            free(self.hop)

    cdef Hop* add(self) except NULL:
        cdef Hop* grown
        if self.count == self.room:
            if self.hop == self.few:
                grown = <Hop*>malloc(8 * FEW_HOPS * sizeof(Hop))
                if grown != NULL:
                    memcpy(grown, self.few, sizeof(self.few))
                    self.room = 8 * FEW_HOPS
            else:
                grown = <Hop*>realloc(self.hop, 2 * self.room * sizeof(Hop))
                if grown != NULL:
                    self.room *= 2
            if grown == NULL:
                raise MemoryError
            self.hop = grown
        memset(&self.hop[self.count], 0, sizeof(Hop))
        self.count += 1
        return &self.hop[self.count - 1]

    cdef int read_list(self, const char* base, uint32_t at, uint32_t size) except -1:
        cdef const char* comma
        cdef Py_ssize_t i = at, end = <Py_ssize_t>at + size, first, last
        cdef Hop* hop
        while i < end:
            comma = <const char*>memchr(base + i, c',', end - i)
            first = i
            last = end if comma == NULL else comma - base
            i = last + 1
            trim(<const unsigned char*>base, &first, &last)
            if last > first:
                hop = self.add()
                hop.has = HAS_FOR
                hop.node.at = <uint32_t>first
                hop.node.size = <uint32_t>(last - first)
        return 1

    cdef int read_forwarded(self, const char* base, uint32_t at, uint32_t size) except -1:
        cdef const unsigned char* p = <const unsigned char*>base
        cdef uint32_t i = at, end = at + size, start
        cdef Hop* hop = NULL
        cdef Span* span
        cdef Span name, value
        cdef unsigned char which
        cdef bint escaped
        cdef set others = None              # parameters of this element that are none of the four
        while True:
            i = after_space(p, i, end)
            if i == end:
                return 1
            if p[i] == c',':
                i += 1
                hop = NULL
                others = None
                continue
            if p[i] == c';':                # forwarded-pair may be missing (RFC 7239 4)
                i += 1
                continue
            start = i
            while i < end and TOKEN[p[i]]:
                i += 1
            name.at, name.size = start, i - start
            if name.size == 0 or i == end or p[i] != c'=':
                return 0
            i += 1
            escaped = False
            start = i
            if i < end and p[i] == c'"':
                i += 1
                start = i
                while i < end and p[i] != c'"':
                    if p[i] == c'\\':
                        escaped = True
                        i += 1
                        if i == end:
                            return 0
                    if (p[i] < 0x20 and p[i] != c'\t') or p[i] == 0x7F:
                        return 0
                    i += 1
                if i == end:
                    return 0
                value.at, value.size = start, i - start
                i += 1
            else:
                while i < end and TOKEN[p[i]]:
                    i += 1
                value.at, value.size = start, i - start
                if value.size == 0:
                    return 0
            i = after_space(p, i, end)
            if i < end and p[i] != c',' and p[i] != c';':
                return 0
            if hop == NULL:
                hop = self.add()
            which = parameter(p + name.at, name.size)
            if which == 0:
                if others is None:
                    others = set()
                key = base[name.at:name.at + name.size].lower()
                if key in others:
                    return 0                # once at most in an element (RFC 7239 4)
                others.add(key)
                continue
            if hop.has & which:
                return 0
            hop.has |= which
            if escaped:
                hop.escaped |= which
            if which != HAS_BY:
                span = &hop.node if which == HAS_FOR else &hop.proto if which == HAS_PROTO else &hop.host
                span[0] = value


cdef bint parse_port(const unsigned char* p, uint32_t size, bint strict, int* out) noexcept nogil:
    cdef uint32_t i
    cdef int port = 0
    if strict and size > 1 and p[0] == c'_':
        for i in range(1, size):
            if not HIDES[p[i]]:
                return False
        return True
    if not 1 <= size <= 5:
        return False
    for i in range(size):
        if not c'0' <= p[i] <= c'9':
            return False
        port = port * 10 + (p[i] - c'0')
    out[0] = port
    return port <= 65535


cdef bint parse_ipv6(const unsigned char* p, uint32_t size, bint strict, uint32_t* zone) noexcept nogil:
    """Whether it is an IPv6 address. Not `strict`: a link-local one may have a zone (RFC 4007 11)."""
    cdef const unsigned char* mark = NULL
    cdef uint32_t i
    zone[0] = 0
    if not strict and size > 5 and same_name(p, b"fe80:", 5):
        mark = <const unsigned char*>memchr(p, c'%', size)
    if mark != NULL:
        zone[0] = size - <uint32_t>(mark - p)
        if not 2 <= zone[0] <= LONGEST_ZONE:
            return False
        for i in range(1, zone[0]):
            if not HIDES[mark[i]]:
                return False
    return is_ipv6(p, size - zone[0])


cdef void parse_node(const unsigned char* text, uint32_t size, bint strict, Node* out) noexcept nogil:
    """nodename [":" node-port] (RFC 7239 6).

    Not `strict`: IPv6 needs no brackets and may have a zone, a port is a number, and nginx writes `unix:`.
    """
    cdef uint32_t i = 0
    out.kind = MALFORMED
    out.at = 0
    out.zone = 0
    out.port = 0
    if size == 0:
        return
    if text[0] == c'[':
        while i < size and text[i] != c']':
            i += 1
        if i == size or not parse_ipv6(text + 1, i - 1, strict, &out.zone):
            return
        out.at, out.size = 1, i - 1
        out.kind = ADDRESS
        i += 1
    elif text[0] == c'_':
        while i < size and HIDES[text[i]]:
            i += 1
        if i == 1:
            return
        out.size = i
        out.kind = HIDDEN
    elif size >= 7 and same_name(text, b"unknown", 7):
        out.size = i = 7
        out.kind = UNKNOWN
    elif not strict and (size == 4 or size == 5 and text[4] == c':') and same_name(text, b"unix", 4):
        out.size = 4
        out.kind = LOCAL
        return
    else:
        while i < size and (c'0' <= text[i] <= c'9' or text[i] == c'.'):
            i += 1
        if is_ipv4(text, i):
            pass
        elif not strict and parse_ipv6(text, size, strict, &out.zone):
            i = size
        else:
            return
        out.size = i
        out.kind = ADDRESS
    if i < size and (text[i] != c':' or not parse_port(text + i + 1, size - i - 1, strict, &out.port)):
        out.kind = MALFORMED


cdef bytes unescaped(const char* text, uint32_t size):
    """What stands between quotes, without the backslashes of quoted-pairs (RFC 9110 5.6.4)."""
    cdef bytearray result = bytearray(size)
    cdef char* p = result
    cdef uint32_t i = 0
    cdef Py_ssize_t used = 0
    while i < size:
        if text[i] == c'\\':
            i += 1
        p[used] = text[i]
        used += 1
        i += 1
    return bytes(result[:used])


# From here on: Python's view, for tests.

def elements(value: bytes) -> list[bytes]:
    """The elements of a list that are not empty."""
    cdef Hops hops = Hops()
    cdef int i
    hops.read_list(value, 0, len(value))
    return [value[hops.hop[i].node.at:hops.hop[i].node.at + hops.hop[i].node.size] for i in range(hops.count)]


def forwarded(value: bytes) -> list[dict[str, bytes]] | None:
    """`for`, `proto` and `host` of each element of a Forwarded field that is not empty; None: it is malformed."""
    cdef Hops hops = Hops()
    cdef const char* p = value
    cdef Hop* hop
    cdef int i
    cdef list found = []
    if not hops.read_forwarded(p, 0, len(value)):
        return None
    for i in range(hops.count):
        hop = &hops.hop[i]
        element = {}
        if hop.has & HAS_FOR:
            element["for"] = unescaped(p + hop.node.at, hop.node.size)
        if hop.has & HAS_PROTO:
            element["proto"] = unescaped(p + hop.proto.at, hop.proto.size)
        if hop.has & HAS_HOST:
            element["host"] = unescaped(p + hop.host.at, hop.host.size)
        found.append(element)
    return found


def node(text: bytes, strict: bool = False) -> tuple[str, int] | None:
    """The name of a node, an IPv6 address without brackets, and its port, 0 for none; None: it is malformed."""
    cdef Node out
    parse_node(text, len(text), strict, &out)
    return None if out.kind == MALFORMED else (text[out.at:out.at + out.size].decode("ascii"), out.port)
