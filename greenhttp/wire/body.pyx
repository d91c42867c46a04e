"""Chunked bodies: framing in, body bytes out (RFC 9112 7.1), and the two helpers that write chunks.

    while True:
        what = decoder.step(data, size, &consumed, &out, &out_len)
        data += consumed; size -= consumed
        if what == DATA:   use out[:out_len], which points into the data just given
        elif what == END:  the rest belongs to the next request
        else:              read more (MORE: nothing is left over)

One byte moves one state to the next, and no byte is looked at twice: a message may be split anywhere, and costs the
same. Body bytes are the exception, they are taken whole. Nothing is kept but counters, and trailers if there are any.

    SIZE -> [EXT_*] -> SIZE_LF -> BODY -> BODY_CR -> BODY_LF -> SIZE ...
    SIZE (0) -> [EXT_*] -> SIZE_LF -> TRAILER -> [NAME -> VALUE -> VALUE_LF -> TRAILER ...] -> END_LF -> FINISHED

A Content-Length body needs no decoder: whoever reads it counts down.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from greenhttp.wire.names cimport find_known, token_table

from greenhttp.errors import LimitError, WireError
from greenhttp.wire.names import KNOWN_NAMES

__all__ = ["ChunkedDecoder", "Step", "chunk_head", "last_chunk"]

cdef enum:
    MAX_DIGITS = 16
    # Far beyond what anybody sends; each costs a name lookup, which limit_trailers alone would let a client buy for
    # three bytes.
    MAX_TRAILERS = 100

cdef enum:                 # ChunkedDecoder.state
    SIZE                   # hex digits
    EXT_NAME_START         # after ";", bad white space allowed
    EXT_NAME
    EXT_NAME_SPACE         # bad white space after a name: "=" or ";" must follow
    EXT_VALUE_START        # after "=", bad white space allowed
    EXT_VALUE
    EXT_QUOTED             # in a quoted-string
    EXT_ESCAPED            # after a backslash in one
    EXT_QUOTED_END
    EXT_VALUE_SPACE        # bad white space after a value: ";" must follow
    SIZE_LF
    BODY
    BODY_CR
    BODY_LF
    TRAILER                # at the start of a line of the trailer section
    NAME
    VALUE
    VALUE_LF
    END_LF
    FINISHED
    REFUSED

cdef const unsigned char* TOKEN = token_table()
cdef unsigned char DIGIT[256]              # value of a hex digit, 255 for any other byte
cdef bint FORBIDDEN[256]                   # by index in KNOWN_NAMES

# RFC 9110 6.5.1: never in a trailer, whatever the sender thinks, since they say how the message is framed and where it
# goes: whoever merges trailers, behind us or in front, would read another message. All others are only kept apart.
FORBIDDEN_TRAILERS = ("content-length", "transfer-encoding", "trailer", "te", "connection", "host", "upgrade")


cdef inline bint is_text(unsigned char c) noexcept nogil:
    """HTAB, SP, VCHAR or obs-text (RFC 9110 5.5)."""
    return (c >= 0x20 and c != 0x7F) or c == c'\t'


cdef class ChunkedDecoder:
    """One chunked body, reusable.

    Arguments:
        limit_request_body: sum of all chunk sizes in bytes; beyond it 413, at the size line that passes it.
        limit_chunk_extensions: bytes of all chunk extensions of the message together; beyond it 400.
        limit_trailers: bytes of the trailer section, line ends included; beyond it 431.
    """

    def __init__(
        self,
        *,
        limit_request_body: int = 1 << 30,
        limit_chunk_extensions: int = 4096,
        limit_trailers: int = 8192,
    ):
        for limit in (limit_request_body, limit_chunk_extensions, limit_trailers):
            if limit < 0:
                raise ValueError(f"a limit of {limit} is below 0")
        self.limit_body = limit_request_body
        self.limit_extensions = limit_chunk_extensions
        self.limit_trailers = limit_trailers
        self.reset()

    cdef void reset(self) noexcept:
        """Ready for the next chunked body, with the same limits."""
        self.received = 0
        self.done = False
        self.state = SIZE
        self.digits = 0
        self.chunk = 0
        self.extension_bytes = self.trailer_bytes = 0
        self.count = 0
        self.section = None
        self.name_size = 0
        self.leftover = 0

    cdef int refuse(self, int status, str reason) except -1:
        self.state = REFUSED
        raise WireError(status, reason)

    cdef int beyond(self, int status, str setting, int64_t limit) except -1:
        self.state = REFUSED
        raise LimitError(status, setting, limit)

    cdef int step(
        self, const char* data, Py_ssize_t size, Py_ssize_t* consumed, const char** out, Py_ssize_t* out_len
    ) except -1:
        """Consume framing up to the next run of body bytes, which is given back with it: MORE, DATA or END.

        Called by the body reader with whatever bytes are there. Raises WireError or LimitError, once and for all.
        """
        cdef const unsigned char* p = <const unsigned char*> data
        cdef Py_ssize_t i = 0, kept_from = 0 if self.count else -1
        cdef int state = self.state
        cdef unsigned char c, digit
        out[0] = NULL
        out_len[0] = 0
        consumed[0] = 0
        if state == FINISHED:
            return Step.END
        if state == REFUSED:
            self.refuse(400, "bytes after a refused body")
        while i < size:
            c = p[i]
            if state == BODY:
                out[0] = data + i
                if <uint64_t> (size - i) < self.chunk:
                    out_len[0] = size - i
                    self.chunk -= <uint64_t> (size - i)
                    self.state = BODY
                else:
                    out_len[0] = <Py_ssize_t> self.chunk
                    self.chunk = 0
                    self.state = BODY_CR
                consumed[0] = i + out_len[0]
                return Step.DATA
            i += 1
            if state == SIZE:
                digit = DIGIT[c]
                if digit < 16:
                    self.digits += 1
                    if self.digits > MAX_DIGITS:
                        self.refuse(400, "more than 16 digits in a chunk size")
                    self.chunk = self.chunk << 4 | digit
                    continue
                if self.digits == 0:
                    self.refuse(400, "no chunk size")
                if c == c'\r':
                    state = SIZE_LF
                elif c == c';':
                    state = EXT_NAME_START
                    self.extension_byte()
                else:
                    self.refuse(400, "a malformed chunk size")
            elif state == SIZE_LF:
                if c != c'\n':
                    self.refuse(400, "a chunk size line that does not end in CRLF")
                if self.chunk > <uint64_t> 0x7FFFFFFFFFFFFFFF:
                    self.refuse(400, "a chunk size beyond 63 bits")
                if <int64_t> self.chunk > self.limit_body - self.received:
                    self.beyond(413, "limit_request_body", self.limit_body)
                self.received += <int64_t> self.chunk
                self.digits = 0
                state = BODY if self.chunk else TRAILER
            elif state == BODY_CR:
                if c != c'\r':
                    self.refuse(400, "a chunk longer than its size")
                state = BODY_LF
            elif state == BODY_LF:
                if c != c'\n':
                    self.refuse(400, "a chunk that does not end in CRLF")
                state = SIZE
            elif state < SIZE_LF:
                # Extensions (7.1.1): checked, because what is not understood the same by all gets requests in;
                # dropped, because nobody uses them. White space goes where the grammar has BWS, except before the
                # first ";" (contract rule 8).
                if c == c'\r':
                    if state != EXT_NAME and state != EXT_VALUE and state != EXT_QUOTED_END:
                        self.refuse(400, "a malformed chunk extension")
                    state = SIZE_LF
                else:
                    self.extension_byte()
                    state = extension_state(state, c)
                    if state == REFUSED:
                        self.refuse(400, "a malformed chunk extension")
            else:
                # The trailer section (7.1.2): field lines under the rules of a head.
                self.trailer_bytes += 1
                if state == END_LF:
                    if c != c'\n':
                        self.refuse(400, "a trailer section that does not end in CRLF")
                    if kept_from >= 0:
                        self.keep(p + kept_from, i - kept_from)
                    self.state = FINISHED
                    self.done = True
                    consumed[0] = i
                    return Step.END
                if state == TRAILER and c == c'\r':
                    state = END_LF
                    continue
                if self.trailer_bytes > self.limit_trailers:
                    self.beyond(431, "limit_trailers", self.limit_trailers)
                if state == VALUE:
                    if c == c'\r':
                        state = VALUE_LF
                    elif not is_text(c):
                        self.refuse(400, "a control byte in a trailer value")
                elif state == VALUE_LF:
                    if c != c'\n':
                        self.refuse(400, "a trailer line that does not end in CRLF")
                    state = TRAILER
                elif TOKEN[c]:
                    if state == TRAILER:
                        self.count += 1
                        if self.count > MAX_TRAILERS:
                            self.beyond(431, "limit_trailers", self.limit_trailers)
                        if kept_from < 0:
                            kept_from = i - 1
                        self.name_size = 0
                        state = NAME
                    if self.name_size < TRAILER_NAME_MAX:
                        self.name[self.name_size] = c
                    self.name_size += 1
                elif state == NAME and c == c':':
                    self.trailer_name()
                    state = VALUE
                else:
                    # Also a folded line and an empty name, as in a head.
                    self.refuse(400, "a malformed trailer name")
        if kept_from >= 0:
            self.keep(p + kept_from, size - kept_from)
        self.state = state
        consumed[0] = size
        return Step.MORE

    cdef int extension_byte(self) except -1:
        # Over the whole message: a cap per chunk would let a million small ones through.
        self.extension_bytes += 1
        if self.extension_bytes > self.limit_extensions:
            self.beyond(400, "limit_chunk_extensions", self.limit_extensions)
        return 0

    cdef int trailer_name(self) except -1:
        cdef int known = -1
        if self.name_size <= TRAILER_NAME_MAX:
            known = find_known(self.name, self.name_size)
        if known >= 0 and FORBIDDEN[known]:
            self.refuse(400, "a field that is forbidden in trailers")
        return 0

    cdef int keep(self, const unsigned char* p, Py_ssize_t size) except -1:
        """Bytes of the trailer section; at most those of limit_trailers come here, and none where it is empty."""
        if self.section is None:
            self.section = bytearray()
        self.section += p[:size]
        return 0

    cdef list fields(self):
        """(name, value) of each trailer once the body is complete, as spelled and in order (latin-1); before that none.
        """
        cdef list pairs = []
        if self.done and self.section is not None:
            # What it holds was checked as it came: lines that end in CRLF, each with a colon.
            for line in self.section.decode("latin-1").split("\r\n"):
                name, colon, value = line.partition(":")
                if colon:                   # else it is the empty line that ends them
                    pairs.append((name, value.strip(" \t")))
        return pairs

    # From here on: Python's view, for tests.

    @property
    def trailers(self) -> list[tuple[str, str]]:
        """Names as spelled and values, in the order received (latin-1); empty before the body is complete."""
        return self.fields()

    def feed(self, data: bytes) -> bytes:
        """Decode some bytes of the message: the body bytes in them. Those behind its end add up in `leftover`."""
        cdef const char* p = data
        cdef const char* out = NULL
        cdef Py_ssize_t size = len(data), consumed = 0, out_len = 0
        cdef int what
        cdef list runs = []
        while True:
            what = self.step(p, size, &consumed, &out, &out_len)
            p += consumed
            size -= consumed
            if what == Step.DATA:
                runs.append(out[:out_len])
            else:
                if what == Step.END:
                    self.leftover += size
                return b"".join(runs)

    def clear(self) -> None:
        """Forget this body and be ready for the next one."""
        self.reset()

    def _bench_decode(self, data: bytes, int n) -> int:
        """Decode one message n times: perf/micro measures this without the cost of a Python call."""
        cdef const char* p
        cdef const char* out = NULL
        cdef Py_ssize_t size, consumed = 0, out_len = 0
        cdef int _i
        cdef int64_t total = 0
        for _i in range(n):
            self.reset()
            p = data
            size = len(data)
            while self.step(p, size, &consumed, &out, &out_len) == Step.DATA:
                total += out_len
                p += consumed
                size -= consumed
        return total


cdef int extension_state(int state, unsigned char c) noexcept nogil:
    """Where one byte leads within `;name[=value]` (RFC 9112 7.1.1), CR excepted."""
    if state == EXT_QUOTED:
        # qdtext and quoted-pair, RFC 9110 5.6.4
        if c == c'"':
            return EXT_QUOTED_END
        if c == c'\\':
            return EXT_ESCAPED
        return EXT_QUOTED if is_text(c) else REFUSED
    if state == EXT_ESCAPED:
        return EXT_QUOTED if is_text(c) else REFUSED
    if TOKEN[c]:
        if state == EXT_NAME_START or state == EXT_NAME:
            return EXT_NAME
        if state == EXT_VALUE_START or state == EXT_VALUE:
            return EXT_VALUE
        return REFUSED
    if c == c' ' or c == c'\t':
        if state == EXT_NAME or state == EXT_NAME_SPACE:
            return EXT_NAME_SPACE
        if state == EXT_NAME_START or state == EXT_VALUE_START:
            return state
        return EXT_VALUE_SPACE
    if c == c'=':
        return EXT_VALUE_START if state == EXT_NAME or state == EXT_NAME_SPACE else REFUSED
    if c == c'"':
        return EXT_QUOTED if state == EXT_VALUE_START else REFUSED
    if c == c';':
        return REFUSED if state == EXT_NAME_START or state == EXT_VALUE_START else EXT_NAME_START
    return REFUSED


cdef char* put_chunk_head(char* p, size_t size) noexcept nogil:
    """Write `size` in hex and CRLF: at most CHUNK_HEAD_MAX bytes. The data and one more CRLF are the caller's.

    A size of 0 would end the body: callers skip empty pieces and end it with put_last_chunk().
    """
    cdef int shift = 0
    while shift < 60 and size >> (shift + 4):
        shift += 4
    while shift >= 0:
        p[0] = b"0123456789abcdef"[(size >> shift) & 15]
        p += 1
        shift -= 4
    p[0] = c'\r'
    p[1] = c'\n'
    return p + 2


cdef char* put_last_chunk(char* p) noexcept nogil:
    """Write the last chunk and the empty trailer section: LAST_CHUNK_SIZE bytes."""
    memcpy(p, b"0\r\n\r\n", LAST_CHUNK_SIZE)
    return p + LAST_CHUNK_SIZE


def chunk_head(size: int) -> bytes:
    """The size line of a chunk."""
    cdef char line[CHUNK_HEAD_MAX]
    cdef char* end = put_chunk_head(line, size)
    return line[:end - line]


def last_chunk() -> bytes:
    """What ends a chunked body without trailers."""
    cdef char line[LAST_CHUNK_SIZE]
    return line[:put_last_chunk(line) - line]


cdef int fill() except -1:
    cdef int i
    for i in range(256):
        DIGIT[i] = 255
        FORBIDDEN[i] = False
    for i in range(10):
        DIGIT[c'0' + i] = i
    for i in range(6):
        DIGIT[c'a' + i] = DIGIT[c'A' + i] = 10 + i
    for name in FORBIDDEN_TRAILERS:
        FORBIDDEN[KNOWN_NAMES.index(name)] = True
    return 0


fill()
