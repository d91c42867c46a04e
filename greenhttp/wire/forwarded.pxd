from libc.stdint cimport uint32_t


cdef struct Span:
    # Offsets from the same base as those of wire.head.
    uint32_t at
    uint32_t size


cdef enum:                      # Hop.has and Hop.escaped
    HAS_FOR = 1
    HAS_BY = 2
    HAS_PROTO = 4
    HAS_HOST = 8


cdef struct Hop:
    # One element: what one proxy says of whoever was before it. Values without their quotes, still escaped.
    Span node
    Span proto
    Span host
    unsigned char has           # the parameters it has
    unsigned char escaped       # those with a backslash in their quotes


cdef enum:
    FEW_HOPS = 4                # so many need no memory of their own


cdef class Hops:
    cdef Hop* hop
    cdef int count
    cdef int room
    cdef Hop few[FEW_HOPS]

    cdef Hop* add(self) except NULL
    # The elements of a list that are not empty, as nodes.
    cdef int read_list(self, const char* base, uint32_t at, uint32_t size) except -1
    # The elements of a Forwarded field; 0: it is malformed.
    cdef int read_forwarded(self, const char* base, uint32_t at, uint32_t size) except -1


cdef enum:                      # Node.kind
    MALFORMED = 0
    ADDRESS = 1
    UNKNOWN = 2                 # `unknown`
    HIDDEN = 3                  # `_name`, which means something to whoever made it up
    LOCAL = 4                   # `unix:`: whoever came over a UNIX socket


cdef struct Node:
    int kind
    uint32_t at                 # the name, an IPv6 address without its brackets
    uint32_t size
    uint32_t zone               # bytes at its end that name an interface, `%eth0`
    int port                    # 0: none, or a hidden one


cdef void parse_node(const unsigned char* text, uint32_t size, bint strict, Node* out) noexcept nogil

cdef bytes unescaped(const char* text, uint32_t size)
