"""The field names a server meets every day, and how bytes become one of them.

A request head is parsed without making a Python object per field: a known name becomes an index into KNOWN_NAMES,
from which other layers keep ready-made tables (WSGI keys, for one). The lookup hashes four values of the name (size,
first, middle and last byte) instead of every byte: the comparison that follows decides anyway.
"""

from libc.stdint cimport int16_t, uint64_t
from libc.string cimport memcpy, memset

# The order of the first entries is that of the enum `Known` in names.pxd; the others stand in groups.
KNOWN_NAMES: tuple[str, ...] = (
    "host", "content-length", "transfer-encoding", "connection", "expect", "proxy", "upgrade",
    "content-type", "cookie", "keep-alive", "te", "trailer",
    "authorization", "proxy-authorization", "proxy-connection",
    "user-agent", "referer", "origin", "accept", "accept-encoding", "accept-language",
    "if-modified-since", "if-none-match", "if-match", "if-unmodified-since", "if-range", "range",
    "forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port",
    "x-real-ip", "x-request-id",
    "sec-websocket-key", "sec-websocket-version", "sec-websocket-protocol", "sec-websocket-extensions",
    "http2-settings",
    # RFC 9110, 9111, 9112 and other registered request fields
    "accept-charset", "cache-control", "pragma", "via", "max-forwards", "from", "date", "warning",
    "content-encoding", "content-language", "content-location", "content-range", "content-disposition",
    "content-digest", "repr-digest", "digest", "last-modified", "etag", "prefer", "depth", "destination",
    "overwrite", "if", "lock-token", "timeout", "idempotency-key", "alt-used", "early-data",
    "access-control-request-method", "access-control-request-headers", "access-control-request-private-network",
    # browsers
    "priority", "upgrade-insecure-requests", "dnt", "save-data", "purpose", "service-worker", "last-event-id",
    "device-memory", "downlink", "ect", "rtt", "viewport-width", "sec-gpc", "sec-purpose",
    "sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform", "sec-ch-ua-platform-version", "sec-ch-ua-arch",
    "sec-ch-ua-bitness", "sec-ch-ua-model", "sec-ch-ua-full-version", "sec-ch-ua-full-version-list",
    "sec-ch-prefers-color-scheme", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-user", "sec-fetch-dest",
    "sec-fetch-storage-access", "x-requested-with", "x-csrf-token", "x-csrftoken", "x-http-method-override",
    # proxies and tracing
    "x-forwarded", "x-forwarded-prefix", "x-forwarded-server", "x-forwarded-ssl", "x-forwarded-scheme",
    "x-forwarded-protocol", "x-client-ip", "x-correlation-id", "x-amzn-trace-id", "x-cloud-trace-context", "x-api-key",
    "x-scheme",
    "true-client-ip", "cdn-loop", "cf-connecting-ip", "cf-ipcountry", "cf-ray", "cf-visitor",
    "traceparent", "tracestate", "baggage", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled",
)


cdef enum:
    SLOTS = 1024           # about 8 times the names: nearly every lookup ends at the first slot
    LONGEST = 40           # a multiple of 8, so that names compare in words


cdef struct Entry:
    char text[LONGEST]
    char cases[LONGEST]    # 0x20 where `text` has a letter: the bit in which a name may differ from it
    int size


cdef Entry ENTRIES[256]
cdef int16_t SLOT[SLOTS]
cdef unsigned char TOKEN[256]
cdef unsigned char LOWER[256]


cdef const unsigned char* token_table() noexcept nogil:
    """256 entries: 0, or TOKEN_CHAR, with UNDERSCORE_CHAR for `_`."""
    return TOKEN


cdef const unsigned char* lower_table() noexcept nogil:
    """256 entries: A-Z to a-z, every other byte to itself (obs-text included: no locale, no latin-1 case)."""
    return LOWER


cdef inline unsigned int slot_of(const unsigned char* name, Py_ssize_t size) noexcept nogil:
    # | 0x20 folds case; for the bytes it would mix up otherwise the comparison says no.
    return (
        <unsigned int> size * 193
        + (name[0] | 0x20) * 5
        + (name[size >> 1] | 0x20) * 37
        + (name[size - 1] | 0x20) * 71
    ) & (SLOTS - 1)


cdef inline bint same_word(const unsigned char* name, const Entry* entry, Py_ssize_t at) noexcept nogil:
    cdef uint64_t a, b, cases
    memcpy(&a, name + at, 8)
    memcpy(&b, entry.text + at, 8)
    memcpy(&cases, entry.cases + at, 8)
    return (a ^ b) & ~cases == 0


cdef int find_known(const unsigned char* name, Py_ssize_t size) noexcept nogil:
    """The index of a name in KNOWN_NAMES whatever its case, or -1. What is found is a token: nobody need look again."""
    cdef unsigned int slot
    cdef int index
    cdef Py_ssize_t i
    cdef const Entry* entry
    if size <= 0 or size > LONGEST:
        return -1
    slot = slot_of(name, size)
    while True:
        index = SLOT[slot]
        if index < 0:
            return -1
        entry = &ENTRIES[index]
        if entry.size == size:
            if size < 8:
                i = 0
                while i < size and LOWER[name[i]] == <unsigned char> entry.text[i]:
                    i += 1
                if i == size:
                    return index
            elif same_word(name, entry, size - 8):      # where names of one family differ
                i = 0
                while i + 8 <= size and same_word(name, entry, i):
                    i += 8
                if i + 8 > size:
                    return index
        slot = (slot + 1) & (SLOTS - 1)


cdef bint same_name(const unsigned char* text, const char* lower, Py_ssize_t size) noexcept nogil:
    """Whether `size` bytes equal `lower` when A-Z are taken as a-z."""
    cdef Py_ssize_t i
    for i in range(size):
        if LOWER[text[i]] != <unsigned char> lower[i]:
            return False
    return True


def known_index(name: bytes) -> int:
    """The index of a field name in KNOWN_NAMES, in any case; -1 if it is not one of them."""
    return find_known(name, len(name))


cdef int fill() except -1:
    cdef int i, index
    cdef unsigned int slot
    cdef const unsigned char* p
    for i in range(256):
        LOWER[i] = i + 32 if 65 <= i <= 90 else i
        TOKEN[i] = 0
    for i in b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ":
        TOKEN[i] = TOKEN_CHAR
    TOKEN[c'_'] = TOKEN_CHAR | UNDERSCORE_CHAR
    for i in range(SLOTS):
        SLOT[i] = -1
    memset(ENTRIES, 0, sizeof(ENTRIES))
    for index, name in enumerate(KNOWN_NAMES):
        raw = name.encode("ascii")
        if len(raw) > LONGEST or index >= 256:
            raise AssertionError(name)
        p = raw
        memcpy(ENTRIES[index].text, p, len(raw))
        for i in range(len(raw)):
            ENTRIES[index].cases[i] = 0x20 if c'a' <= p[i] <= c'z' else 0
        ENTRIES[index].size = len(raw)
        slot = slot_of(p, len(raw))
        while SLOT[slot] >= 0:
            slot = (slot + 1) & (SLOTS - 1)
        SLOT[slot] = index
    return 0


fill()
