"""The request head: bytes to a request line, fields and framing (RFC 9112 sections 2 to 6).

    head = Head()
    used = head.parse(data, size)     # 0: give me the same bytes again, with more behind them

How it reads. The caller keeps everything unread since the start of the head in one piece of memory and passes it again
when more came; the memory may have moved. `memchr` finds the next line end from where the last search stopped, and
each line is checked as soon as it is whole: a bad first line is answered before the rest arrives, and however the bytes
are split, each is searched once and parsed once (`examined` counts both). A line that is already too long is refused
without waiting for its end. The order of checks within a line never depends on how it arrived.

What it makes. Offsets, numbers and flags; no Python object per field. A known field name becomes its index in
KNOWN_NAMES (names.pyx). Fields that rule framing, routing and persistence are decided while passing by.

What it refuses is written beside each check. After a refusal the Head stays refusing until reset(): nothing more may
be read as HTTP from that connection.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memchr, memcmp

from greenhttp.wire.host cimport Authority, parse_authority
from greenhttp.wire.names cimport (
    KNOWN_CONNECTION,
    KNOWN_CONTENT_LENGTH,
    KNOWN_EXPECT,
    KNOWN_HOST,
    KNOWN_PROXY,
    KNOWN_TRANSFER_ENCODING,
    UNDERSCORE_CHAR,
    find_known,
    lower_table,
    same_name,
    token_table,
)
from greenhttp.wire.scan cimport clean_value, trim

from greenhttp.errors import LimitError, WireError
from greenhttp.wire.names import KNOWN_NAMES

__all__ = ["KNOWN_NAMES", "Form", "Framing", "Head"]

cdef enum:
    MAX_LIMIT = 1 << 30        # line + head + CRLFs stay below 2**32, so that offsets fit uint32
    MAX_METHOD = 32            # contract rule 3
    MAX_EMPTY_LINES = 2        # before a request line; RFC 9112 2.2 asks for at least one
    MAX_DROPPED = 32           # names remembered for the log, and the size of each: the peer chooses them
    MAX_DROPPED_NAME = 64

cdef enum:                     # Head.state
    BEFORE = 0                 # empty lines, then the request line
    FIELDS = 1
    COMPLETE = 2
    REFUSED = 3

cdef enum:                     # classes of request target bytes
    IN_PATH = 0
    NOT_IN_PATH = 1            # obs-text: only after the first "?"
    NOWHERE = 2                # controls, SP, DEL and "#"
    ESCAPE = 4                 # "%"

cdef unsigned char TARGET[256]
cdef const unsigned char* TOKEN = token_table()
cdef const unsigned char* LOWER = lower_table()

cdef str GET = "GET", HEAD = "HEAD", POST = "POST", PUT = "PUT", DELETE = "DELETE"
cdef str OPTIONS = "OPTIONS", PATCH = "PATCH", CONNECT = "CONNECT", TRACE = "TRACE"


cdef str method_name(const unsigned char* p, Py_ssize_t size):
    # One shared str for those of RFC 9110 and 5789: no allocation, and comparisons end at identity.
    if size == 3:
        if memcmp(p, b"GET", 3) == 0:
            return GET
        if memcmp(p, b"PUT", 3) == 0:
            return PUT
    elif size == 4:
        if memcmp(p, b"POST", 4) == 0:
            return POST
        if memcmp(p, b"HEAD", 4) == 0:
            return HEAD
    elif size == 5:
        if memcmp(p, b"PATCH", 5) == 0:
            return PATCH
        if memcmp(p, b"TRACE", 5) == 0:
            return TRACE
    elif size == 6:
        if memcmp(p, b"DELETE", 6) == 0:
            return DELETE
    elif size == 7:
        if memcmp(p, b"OPTIONS", 7) == 0:
            return OPTIONS
        if memcmp(p, b"CONNECT", 7) == 0:
            return CONNECT
    return (<const char*> p)[:size].decode("ascii")


cdef bint next_element(
    const unsigned char* p, Py_ssize_t size, Py_ssize_t* at, Py_ssize_t* start, Py_ssize_t* end
) noexcept nogil:
    """The next element of a comma list (RFC 9110 5.6.1), trimmed and perhaps empty; False after the last.

    For lists of plain tokens: it knows no quoted strings, so a comma in one splits it, and neither half is a token
    anybody waits for. `at` starts at 0 and is the only state.
    """
    if at[0] > size:
        return False
    start[0] = at[0]
    while at[0] < size and p[at[0]] != c',':
        at[0] += 1
    end[0] = at[0]
    at[0] += 1
    trim(p, start, end)
    return True


cdef bint is_token(const unsigned char* p, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        if not TOKEN[p[i]]:
            return False
    return size > 0


cdef class Head:
    """One request head, reusable.

    Arguments:
        limit_request_line: bytes of the request line without its CRLF; beyond it 414.
        limit_request_head: bytes of all field lines with their CRLFs; beyond it 431.
        limit_request_fields: number of field lines; beyond it 431.
        allow_names: lower-case names let through although they hold `_` or are `proxy`.
        allow_connect, allow_trace: let those methods through; otherwise they are answered with 501.
        dropped: a set that collects names of dropped fields (at most 32, of at most 64 bytes), to be logged once.

    Attributes are those of head.pxd. The str ones (`target`, `path`, `query`, `host`, `version`, `fields`, `get`) are
    made on demand and raise ValueError before the head is complete.
    """

    def __cinit__(self):
        self.field = NULL
        self.room = 0

    def __init__(
        self,
        *,
        limit_request_line: int = 8192,
        limit_request_head: int = 65536,
        limit_request_fields: int = 100,
        allow_names: frozenset = frozenset(),
        allow_connect: bool = False,
        allow_trace: bool = False,
        dropped: set | None = None,
    ):
        for limit in (limit_request_line, limit_request_head, limit_request_fields):
            if not 0 < limit <= MAX_LIMIT:
                raise ValueError(f"a limit of {limit} is outside 1 to {MAX_LIMIT}")
        self.limit_line = limit_request_line
        self.limit_head = limit_request_head
        self.limit_fields = limit_request_fields
        self.allow_names = allow_names
        self.allow_connect = allow_connect
        self.allow_trace = allow_trace
        self.dropped = set() if dropped is None else dropped
        self.reset()

    def __dealloc__(self):
        free(self.field)

    cdef void reset(self) noexcept:
        """Ready for the next head. The memory for fields stays."""
        self.base = NULL
        self.method = None
        self.target_at = self.target_len = self.path_at = self.path_len = 0
        self.query_at = self.query_len = self.host_at = self.host_len = 0
        self.has_query = False
        self.path_plain = True
        self.form = Form.ORIGIN
        self.minor = 1
        self.count = 0
        self.known[0] = self.known[1] = 0
        self.framing = Framing.NO_BODY
        self.content_length = -1
        self.keep_alive = self.wants_continue = self.has_connection_upgrade = False
        self.head_size = 0
        self.examined = 0
        self.state = BEFORE
        self.is_head = False
        self.empty_lines = self.seen = 0
        self.line_at = self.scanned = self.fields_at = 0
        self.authority_at = self.authority_len = 0
        self.https = False
        self.hosts = self.lengths = self.codings = self.chunked = 0
        self.last_is_chunked = False
        self.asked_close = self.asked_keep_alive = self.asked_upgrade = self.expects_continue = False
        self.owned = None
        self.fed = None

    cdef int refuse(self, int status, str reason) except -1:
        self.state = REFUSED
        raise WireError(status, reason)

    cdef int beyond(self, int status, str setting, int64_t limit) except -1:
        self.state = REFUSED
        raise LimitError(status, setting, limit)

    cdef Py_ssize_t parse(self, const char* data, Py_ssize_t size) except -1:
        """Go on with the head that starts at `data`. Called by whoever owns the buffer, after each read.

        Returns the bytes the head took (empty lines before it included), or 0 when it is not complete; the next call
        must pass the same bytes again with more behind them. Raises WireError or LimitError, once and for all.
        """
        cdef const unsigned char* p = <const unsigned char*> data
        cdef const unsigned char* found
        cdef Py_ssize_t end
        if self.state == COMPLETE:
            return self.head_size
        if self.state == REFUSED:
            self.refuse(400, "bytes after a refused head")
        self.base = data
        while True:
            if size <= <Py_ssize_t> self.scanned:
                return 0
            # Rule 10 in small: what does not begin like a request line (a TLS hello, say) need not be waited for.
            if self.state == BEFORE and not TOKEN[p[self.line_at]] and p[self.line_at] != c'\r':
                self.refuse(400, "no method at the start of the request line")
            found = <const unsigned char*> memchr(p + self.scanned, c'\n', size - self.scanned)
            if found == NULL:
                self.examined += size - self.scanned
                self.partial_line(p, size)
                self.scanned = <uint32_t> size
                return 0
            end = found - p
            self.examined += (end + 1 - self.scanned) + (end + 1 - self.line_at)
            if self.state == BEFORE:
                if end - self.line_at > <Py_ssize_t> self.limit_line + 1:
                    self.beyond(414, "limit_request_line", self.limit_line)
            elif end == self.line_at + 1 and p[self.line_at] == c'\r':
                self.finish(p)
                self.head_size = end + 1
                self.state = COMPLETE
                return self.head_size
            elif end + 1 - self.fields_at > <Py_ssize_t> self.limit_head:
                self.beyond(431, "limit_request_head", self.limit_head)
            # A line ends in CRLF, nothing else (stricter than RFC 9112 2.2, which lets a bare LF pass).
            if end == self.line_at or p[end - 1] != c'\r':
                self.refuse(400, "a line that does not end in CRLF")
            if self.state == FIELDS:
                self.field_line(p, self.line_at, <uint32_t> end - 1)
            elif end == self.line_at + 1:
                self.empty_lines += 1
                if self.empty_lines > MAX_EMPTY_LINES:
                    self.refuse(400, "empty lines instead of a request line")
            else:
                self.request_line(p, self.line_at, <uint32_t> end - 1)
                self.state = FIELDS
                self.fields_at = <uint32_t> end + 1
            self.line_at = self.scanned = <uint32_t> end + 1

    cdef int partial_line(self, const unsigned char* p, Py_ssize_t size) except -1:
        # One byte more than the limit may be the CR of a line, or of the empty line, that is just as long as allowed.
        if self.state == BEFORE:
            if size - self.line_at > <Py_ssize_t> self.limit_line + 1:
                self.beyond(414, "limit_request_line", self.limit_line)
        elif size - self.fields_at > <Py_ssize_t> self.limit_head + 1:
            self.beyond(431, "limit_request_head", self.limit_head)
        return 0

    cdef int request_line(self, const unsigned char* p, uint32_t start, uint32_t end) except -1:
        """method SP request-target SP HTTP-version (RFC 9112 3), from start to the CR at end."""
        cdef uint32_t i = start
        cdef const unsigned char* v
        while TOKEN[p[i]]:      # stops at the CR at the latest
            i += 1
        if i == start or p[i] != c' ':
            self.refuse(400, "no method in the request line")
        if i - start > MAX_METHOD:
            self.refuse(501, "a method longer than any known")
        # The version is the last eight bytes, after one SP.
        if end - i < 11:
            self.refuse(400, "no HTTP version in the request line")
        v = p + end - 9
        if memcmp(v, b" HTTP/", 6) != 0 or v[7] != c'.' or not c'0' <= v[6] <= c'9' or not c'0' <= v[8] <= c'9':
            self.refuse(400, "no HTTP version in the request line")
        if v[6] != c'1':
            self.refuse(505, "a major version other than 1")
        # A minor version above ours is read as our highest (RFC 9110 2.5).
        self.minor = 0 if v[8] == c'0' else 1
        self.method = method_name(p + start, i - start)
        self.is_head = self.method is HEAD
        # Nothing here tunnels or echoes requests back unless the application says so (RFC 9110 9.3.6, 9.3.8).
        if self.method is CONNECT:
            if not self.allow_connect:
                self.refuse(501, "CONNECT is not allowed")
        elif self.method is TRACE and not self.allow_trace:
            self.refuse(501, "TRACE is not allowed")
        return self.request_target(p, i + 1, end - 9)

    cdef int request_target(self, const unsigned char* p, uint32_t start, uint32_t end) except -1:
        """The four forms of RFC 9112 3.2, at least one byte long."""
        cdef uint32_t i = start
        cdef unsigned char classes = 0
        cdef Authority authority
        self.target_at = start
        self.target_len = end - start
        if self.method is CONNECT:
            # authority-form (3.2.3): the port is not optional
            if not parse_authority(p + start, end - start, &authority) or authority.port < 0:
                self.refuse(400, "CONNECT without host and port")
            self.form = Form.AUTHORITY
            self.path_at = self.query_at = end
            return 0
        if p[start] == c'/':
            self.form = Form.ORIGIN
        elif p[start] == c'*' and end - start == 1 and self.method is OPTIONS:
            self.form = Form.ASTERISK
        else:
            self.form = Form.ABSOLUTE
            if end - start > 7 and same_name(p + start, b"http://", 7):
                i = start + 7
            elif end - start > 8 and same_name(p + start, b"https://", 8):
                i = start + 8
                self.https = True
            else:
                self.refuse(400, "a request target of no known form")
            self.authority_at = i
            while i < end and p[i] != c'/' and p[i] != c'?':
                i += 1
            self.authority_len = i - self.authority_at
            if not parse_authority(p + self.authority_at, self.authority_len, &authority):
                self.refuse(400, "a malformed host in the request target")
        self.path_at = i
        while i < end and p[i] != c'?':
            classes |= TARGET[p[i]]
            i += 1
        self.path_len = i - self.path_at
        if classes & (NOT_IN_PATH | NOWHERE):
            self.refuse(400, "a forbidden byte in the request target")
        self.path_plain = not classes & ESCAPE
        if self.path_len == 0:
            # An absolute target without a path means "/" (RFC 9110 4.2.3); the slash before the authority serves.
            self.path_at = self.authority_at - 1
            self.path_len = 1
        if i < end:
            self.has_query = True
            i += 1
        self.query_at = i
        self.query_len = end - i
        while i < end:
            classes |= TARGET[p[i]]
            i += 1
        if classes & NOWHERE:
            self.refuse(400, "a forbidden byte in the request target")
        return 0

    cdef int field_line(self, const unsigned char* p, uint32_t start, uint32_t end) except -1:
        """field-name ":" OWS field-value OWS (RFC 9112 5), from start to the CR at end."""
        cdef uint32_t i
        cdef int known = -1
        cdef unsigned char kinds = 0
        cdef const unsigned char* colon
        cdef Py_ssize_t first, last
        cdef Field* f
        cdef void* grown
        cdef int room
        self.seen += 1
        if self.seen > <Py_ssize_t> self.limit_fields:
            self.beyond(431, "limit_request_fields", self.limit_fields)
        colon = <const unsigned char*> memchr(p + start, c':', end - start)
        if colon != NULL:
            known = find_known(p + start, colon - p - start)
        if known < 0:           # one of the table is a token, any other is looked at byte by byte
            i = start
            while TOKEN[p[i]]:  # stops at the CR at the latest
                kinds |= TOKEN[p[i]]
                i += 1
            if p + i != colon or i == start:
                # Also a folded line (5.2), white space before the colon (5.1) and an empty name: 400, never repaired.
                self.refuse(400, "a malformed field name")
        i = <uint32_t> (colon - p)
        if self.count == self.room:
            room = self.room * 2 if self.room else 16
            grown = realloc(self.field, room * sizeof(Field))
            if grown == NULL:
                self.state = REFUSED
                raise MemoryError()
            self.field = <Field*> grown
            self.room = room
        f = &self.field[self.count]
        first = i + 1
        last = end
        trim(p, &first, &last)
        f.name = start
        f.name_len = i - start
        f.value = <uint32_t> first
        f.value_len = <uint32_t> (last - first)
        f.known = known
        if not clean_value(p + first, last - first):
            self.refuse(400, "a control byte in a field value")
        if (kinds & UNDERSCORE_CHAR or known == KNOWN_PROXY) and self.drops(p + start, i - start):
            return 0
        self.count += 1
        if known >= 0:
            self.known[known >> 6] |= <uint64_t> 1 << (known & 63)
            if known < KNOWN_PROXY:
                self.special_field(p, f)
        return 0

    cdef bint drops(self, const unsigned char* name, Py_ssize_t size) except -1:
        """Rule 14: `_` collides with `-` in a WSGI environ; `Proxy` becomes HTTP_PROXY, which clients obey."""
        cdef str text
        if size > MAX_DROPPED_NAME and not self.allow_names:
            return True
        text = (<const char*> name)[:size].decode("ascii").lower()
        if text in self.allow_names:
            return False
        if size <= MAX_DROPPED_NAME and len(self.dropped) < MAX_DROPPED:
            self.dropped.add(text)
        return True

    cdef int special_field(self, const unsigned char* p, Field* f) except -1:
        """The fields a server acts on itself, read as they pass."""
        cdef Authority authority
        cdef const unsigned char* v = p + f.value
        cdef uint32_t i
        cdef uint64_t length = 0
        if f.known == KNOWN_HOST:
            # RFC 9112 3.2: one, and well formed; on every version.
            self.hosts += 1
            if self.hosts > 1:
                self.refuse(400, "more than one Host")
            if not parse_authority(v, f.value_len, &authority):
                self.refuse(400, "a malformed Host")
            self.host_at = f.value
            self.host_len = f.value_len
        elif f.known == KNOWN_CONNECTION:
            self.connection(v, f.value_len)
        elif f.known == KNOWN_CONTENT_LENGTH:
            # RFC 9110 8.6 would let equal repeated values pass; others may read them otherwise, so they do not.
            self.lengths += 1
            if self.lengths > 1:
                self.refuse(400, "more than one Content-Length")
            if not 1 <= f.value_len <= 19:
                self.refuse(400, "a malformed Content-Length")
            for i in range(f.value_len):
                if not c'0' <= v[i] <= c'9':
                    self.refuse(400, "a malformed Content-Length")
                length = length * 10 + (v[i] - c'0')
            # Nineteen nines fit 64 bits without a sign, but not the signed count: well formed, and beyond any limit.
            if length > <uint64_t> 0x7FFFFFFFFFFFFFFF:
                self.beyond(413, "limit_request_body", 0x7FFFFFFFFFFFFFFF)
            self.content_length = <int64_t> length
        elif f.known == KNOWN_TRANSFER_ENCODING:
            self.transfer_encoding(v, f.value_len)
        elif f.known == KNOWN_EXPECT:
            self.expect(v, f.value_len)
        return 0

    cdef int transfer_encoding(self, const unsigned char* p, Py_ssize_t size) except -1:
        """Collect the codings of one line; finish() judges the whole list (RFC 9112 6.1, 6.3)."""
        cdef Py_ssize_t at = 0, start = 0, end = 0
        if self.minor == 0:
            self.refuse(400, "Transfer-Encoding on HTTP/1.0")
        while next_element(p, size, &at, &start, &end):
            if not is_token(p + start, end - start):
                self.refuse(400, "a malformed Transfer-Encoding")
            self.codings += 1
            self.last_is_chunked = end - start == 7 and same_name(p + start, b"chunked", 7)
            self.chunked += self.last_is_chunked
        return 0

    cdef int expect(self, const unsigned char* p, Py_ssize_t size) except -1:
        """RFC 9110 10.1.1: 100-continue is the only expectation there is."""
        cdef Py_ssize_t at = 0, start = 0, end = 0
        if self.minor == 0:
            return 0
        while next_element(p, size, &at, &start, &end):
            if end - start == 12 and same_name(p + start, b"100-continue", 12):
                self.expects_continue = True
            elif end > start:
                self.refuse(417, "an unknown expectation")
        return 0

    cdef void connection(self, const unsigned char* p, Py_ssize_t size) noexcept:
        """Rule 21: options of every Connection line count; those unknown to us are none of our business."""
        cdef Py_ssize_t at = 0, start = 0, end = 0
        while next_element(p, size, &at, &start, &end):
            if end - start == 10 and same_name(p + start, b"keep-alive", 10):
                self.asked_keep_alive = True
            elif end - start == 5 and same_name(p + start, b"close", 5):
                self.asked_close = True
            elif end - start == 7 and same_name(p + start, b"upgrade", 7):
                self.asked_upgrade = True

    cdef int finish(self, const unsigned char* p) except -1:
        """What only the whole head can tell. Called at the empty line."""
        cdef Authority a, b
        cdef int default_port
        if self.hosts == 0 and self.minor == 1:
            self.refuse(400, "no Host")
        if self.authority_len:
            # RFC 9112 3.2.2 says the target's host wins silently. Two different ones are a routing attack more often
            # than a mistake, so they are refused.
            if self.hosts:
                parse_authority(p + self.host_at, self.host_len, &a)
                parse_authority(p + self.authority_at, self.authority_len, &b)
                default_port = 443 if self.https else 80
                if (
                    a.name_size != b.name_size
                    or not same_text(p + self.host_at, p + self.authority_at, a.name_size)
                    or (a.port if a.port >= 0 else default_port) != (b.port if b.port >= 0 else default_port)
                ):
                    self.refuse(400, "Host differs from the request target")
            self.host_at = self.authority_at
            self.host_len = self.authority_len
        if self.codings:
            # RFC 9112 6.3: with both, or without a final chunked, the end of the body is anybody's guess. There is
            # no way back from here to Content-Length.
            if self.lengths:
                self.refuse(400, "Transfer-Encoding with Content-Length")
            if not self.last_is_chunked:
                self.refuse(400, "a final transfer coding other than chunked")
            if self.chunked > 1:
                self.refuse(400, "chunked more than once")
            if self.codings > 1:
                self.refuse(501, "a transfer coding other than chunked")
            self.framing = Framing.CHUNKED
        elif self.lengths:
            self.framing = Framing.LENGTH
        self.keep_alive = not self.asked_close and (self.minor == 1 or self.asked_keep_alive)
        # Upgrade is ignored on HTTP/1.0 (RFC 9110 7.8); without content there is nothing to continue with (10.1.1).
        self.has_connection_upgrade = self.asked_upgrade and self.minor == 1
        self.wants_continue = self.expects_continue and (
            self.framing == Framing.CHUNKED or self.content_length > 0
        )
        return 0

    cdef int own(self) except -1:
        """Copy the head's bytes, so that values can still be made after the caller's buffer has moved on."""
        if self.owned is None:
            self.owned = self.base[:self.head_size]
            self.base = self.owned
        return 0

    cdef bytes refused_line(self, const char* data, Py_ssize_t size):
        """The request line, without its end, because of which this head was refused; None if not all of it has come.

        `data` is what was parsed. For the log: it is no longer than allowed, and beyond that nothing is known of it.
        """
        cdef const unsigned char* p = <const unsigned char*> data + self.line_at
        cdef const unsigned char* end
        if self.state != REFUSED or self.fields_at or size <= <Py_ssize_t> self.line_at or not TOKEN[p[0]]:
            return None
        end = <const unsigned char*> memchr(p, c'\n', size - self.line_at)
        if end == NULL:
            return None
        if end > p and (end - 1)[0] == c'\r':
            end -= 1
        return p[:end - p] if end - p <= <Py_ssize_t> self.limit_line else None

    cdef int find(self, int known, int start=0) noexcept nogil:
        cdef int i
        for i in range(start, self.count):
            if self.field[i].known == known:
                return i
        return -1

    cdef str text(self, uint32_t at, uint32_t size):
        return self.base[at:at + size].decode("latin-1")

    # From here on: Python's view, for tests and for what is not in a hurry.

    cdef int need_complete(self) except -1:
        if self.state != COMPLETE:
            raise ValueError("the head is not complete")
        return 0

    def feed(self, data: bytes) -> int:
        """Add bytes and parse: the size of the whole head once it is complete, else 0.

        Keeps everything fed since the start; what follows the head is the caller's to keep.
        """
        if self.state == COMPLETE:
            return self.head_size
        if self.fed is None:
            self.fed = bytearray()
        self.fed += data
        self.parse(self.fed, len(self.fed))
        if self.state == COMPLETE:
            self.own()
            self.fed = None
        return self.head_size

    def clear(self) -> None:
        """Forget this head and be ready for the next one."""
        self.reset()

    @property
    def target(self) -> str:
        """The request target as sent (latin-1)."""
        self.need_complete()
        return self.text(self.target_at, self.target_len)

    @property
    def path(self) -> str:
        """The target's path, still percent-encoded; `*` in asterisk-form, empty in authority-form."""
        self.need_complete()
        return self.text(self.path_at, self.path_len)

    @property
    def query(self) -> str:
        """What follows the first `?` (latin-1), or an empty str."""
        self.need_complete()
        return self.text(self.query_at, self.query_len)

    @property
    def host(self) -> str:
        """The host asked for, with its port if one was given; empty if none was (HTTP/1.0)."""
        self.need_complete()
        return self.text(self.host_at, self.host_len)

    @property
    def version(self) -> str:
        """`HTTP/1.0` or `HTTP/1.1`."""
        self.need_complete()
        return "HTTP/1.1" if self.minor else "HTTP/1.0"

    @property
    def fields(self) -> list[tuple[str, str]]:
        """Names as spelled and values, in the order received (latin-1)."""
        cdef int i
        self.need_complete()
        return [
            (
                self.text(self.field[i].name, self.field[i].name_len),
                self.text(self.field[i].value, self.field[i].value_len),
            )
            for i in range(self.count)
        ]

    def get(self, name: str, default: object = None) -> object:
        """The value of a field, in any case; several join with `, `, cookies with `; ` (RFC 9110 5.3, RFC 6265 5.4)."""
        cdef bytes lower = None
        cdef const char* wanted = NULL
        cdef Py_ssize_t size = len(name)
        cdef int i
        cdef Field* f
        cdef object first = None
        cdef list values = None
        self.need_complete()
        if not name.isascii():
            return default              # its small letters may be ASCII
        for i in range(self.count):
            f = &self.field[i]
            if f.name_len != size:
                continue
            if lower is None:
                lower = name.lower().encode("latin-1", "replace")
                wanted = lower
            if same_name(<const unsigned char*> self.base + f.name, wanted, size):
                value = self.text(f.value, f.value_len)
                if first is None:
                    first = value
                elif values is None:
                    values = [first, value]
                else:
                    values.append(value)
        if values is None:
            return default if first is None else first
        return ("; " if lower == b"cookie" else ", ").join(values)

    def _bench_parse(self, data: bytes, int n) -> int:
        """Parse one head n times: perf/micro measures this without the cost of a Python call."""
        cdef const char* p = data
        cdef Py_ssize_t size = len(data), used = 0
        cdef int _i
        for _i in range(n):
            self.reset()
            used = self.parse(p, size)
        self.own()
        return used


cdef bint same_text(const unsigned char* a, const unsigned char* b, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        if LOWER[a[i]] != LOWER[b[i]]:
            return False
    return True


cdef int fill() except -1:
    cdef int i
    for i in range(256):
        TARGET[i] = NOWHERE if i <= 0x20 or i == 0x7F else NOT_IN_PATH if i >= 0x80 else IN_PATH
    TARGET[c'#'] = NOWHERE     # a fragment never travels (RFC 9110 7.1)
    TARGET[c'%'] = ESCAPE
    return 0


fill()
