"""The response head: a status and fields to bytes, framing, and whether the connection persists (RFC 9112 6, 9.3).

    begin("200 OK"); add(name, value) ...; frame(...)           and `data[:size]` is what goes out over HTTP/1
    begin("103 Early Hints"); add ...; close_block()            an informational answer
    begin_trailers(); add ...; close_block()                    what follows the last chunk

Other protocols `measure` instead of framing, and walk the field lines as they stand (`fields`).

Each field is checked and copied while the application is still on the stack, so that it gets the exception for what
HTTP forbids and nothing of it reaches the peer; a name or status that was found good before is recognised. Framing and
persistence are decided here, last: what the application says about them is heard (`Content-Length`, `Connection:
close`) or dropped, never passed on.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from greenhttp.wire.names cimport token_table
from greenhttp.wire.scan cimport clean_value

from http import HTTPStatus

from greenhttp.errors import ResponseError


cdef extern from "Python.h":
    int PyUnicode_KIND(object text)
    void* PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    int PyUnicode_1BYTE_KIND
    PyObject* PyList_GET_ITEM(list items, Py_ssize_t at)

cdef enum:
    MAX_HEAD = 1048576          # bytes of a response head; a field larger than that is a slip, not a message

cdef enum:                      # what a field name means to the server
    PLAIN = 0                   # nothing
    DATE = 1
    SERVER = 2
    LENGTH = 3
    CONNECTION = 4
    OURS = 5                    # the server says this itself

cdef enum:
    SLOTS = 64                  # names remembered, each in the slot that its address gives, or in that one's neighbour
    LONGEST = 64                # bytes of a name, or of a status, that is worth it

cdef const unsigned char* TOKEN = token_table()

REASONS = {int(status): status.phrase for status in HTTPStatus}
# RFC 9110 names these differently from older editions that some Python versions follow.
REASONS[413] = "Content Too Large"
REASONS[414] = "URI Too Long"
REASONS[417] = "Expectation Failed"
REASONS[431] = "Request Header Fields Too Large"

# Applications pass the same few str objects again and again. One that was found good is good for ever, since a str does
# not change and, being kept here, no other object takes its address.
cdef object _nothing = object()         # what nobody can pass
cdef list checked_names = [_nothing] * SLOTS
cdef unsigned char checked_kinds[SLOTS]
cdef object checked_status = _nothing


cdef inline bint same(const unsigned char* text, const char* lower, Py_ssize_t size) noexcept:
    """Whether `text` is `lower` in any case. For letters and "-" only: 0x20 is the bit between the cases."""
    cdef Py_ssize_t i
    for i in range(size):
        if (text[i] | 0x20) != <unsigned char>lower[i]:
            return False
    return True


cdef inline int kind_of(const unsigned char* name, Py_ssize_t size) noexcept:
    if size == 4:
        return DATE if same(name, b"date", 4) else PLAIN
    if size == 6:
        return SERVER if same(name, b"server", 6) else PLAIN
    if size == 14:
        return LENGTH if same(name, b"content-length", 14) else PLAIN
    if size == 10:
        if same(name, b"connection", 10):
            return CONNECTION
        return OURS if same(name, b"keep-alive", 10) else PLAIN
    if (
        (size == 17 and same(name, b"transfer-encoding", 17))
        or (size == 16 and same(name, b"proxy-connection", 16))
        or (size == 7 and (same(name, b"upgrade", 7) or same(name, b"trailer", 7)))
        or (size == 2 and same(name, b"te", 2))
    ):
        return OURS
    return PLAIN


cdef int check_name(object name) except -1:
    """What the name means; it is remembered. Raises ResponseError, TypeError."""
    cdef const unsigned char* n
    cdef Py_ssize_t i, size
    cdef size_t slot
    cdef int kind
    if not isinstance(name, str):
        raise TypeError(f"field names and values must be str, not {type(name).__name__}")
    if PyUnicode_KIND(name) != PyUnicode_1BYTE_KIND:
        raise ResponseError(f"field name {name!a:.80} has characters beyond latin-1")
    n = <const unsigned char*>PyUnicode_DATA(name)
    size = PyUnicode_GET_LENGTH(name)
    if size == 0:
        raise ResponseError("a field name is empty")
    for i in range(size):
        if not TOKEN[n[i]]:
            raise ResponseError(f"field name {name!a:.80} is not a token")
    kind = kind_of(n, size)
    if type(name) is str and size <= LONGEST:
        slot = slot_of(name)
        checked_names[slot ^ 1] = checked_names[slot]       # two names of one address in turn would push each other out
        checked_kinds[slot ^ 1] = checked_kinds[slot]
        checked_names[slot] = name
        checked_kinds[slot] = kind
    return kind


cdef inline size_t slot_of(object name) noexcept:
    return (<size_t><PyObject*>name >> 4) % SLOTS


cdef inline int measured(ResponseHead head, bint is_head, int64_t known) noexcept:
    if head.status < 200 or head.status == 204:
        head.transfer = Transfer.EMPTY
        head.content_length = -1
    elif head.status == 205:
        head.transfer = Transfer.EMPTY
        head.content_length = 0
    elif is_head or head.status == 304:
        head.transfer = Transfer.EMPTY          # a Content-Length of the application stays, none is invented
    elif head.content_length >= 0:
        head.transfer = Transfer.SIZED
    elif known >= 0:
        head.content_length = known
        head.transfer = Transfer.SIZED
    else:
        head.transfer = Transfer.CHUNKS
    return head.transfer


cdef class ResponseHead:
    """The head of one response in the making. See the module for the order of calls."""

    def __cinit__(self):
        self.data = self.small
        self.capacity = SMALL_HEAD
        self.content_length = -1

    def __dealloc__(self):
        if self.data != self.small:
            free(self.data)

    cdef int room(self, Py_ssize_t size) except -1:
        cdef Py_ssize_t capacity = self.capacity
        cdef char* data
        if self.size + size <= capacity:
            return 0
        if self.size + size > MAX_HEAD:
            raise ResponseError(f"a response head of more than {MAX_HEAD} bytes")
        while capacity < self.size + size:
            capacity *= 2
        data = <char*>malloc(capacity)
        if data == NULL:
            raise MemoryError
        memcpy(data, self.data, self.size)
        if self.data != self.small:
            free(self.data)
        self.data = data
        self.capacity = capacity
        return 0

    cdef int begin(self, object status) except -1:
        """Start over with a status line from "NNN reason" (RFC 9112 4). Raises ResponseError, TypeError.

        Without a reason it is the one of HTTP for that number, if there is one.
        """
        global checked_status
        cdef const unsigned char* text
        cdef Py_ssize_t n
        cdef int code
        if status is not checked_status:
            if not isinstance(status, str):
                raise TypeError(f"the status must be a str like '200 OK', not {type(status).__name__}")
            if PyUnicode_KIND(status) != PyUnicode_1BYTE_KIND:
                raise ResponseError("the status has characters beyond latin-1")
            n = PyUnicode_GET_LENGTH(status)
            text = <const unsigned char*>PyUnicode_DATA(status)
            if (
                n < 3 or not c'1' <= text[0] <= c'5' or not c'0' <= text[1] <= c'9' or not c'0' <= text[2] <= c'9'
                or (n > 3 and text[3] != c' ')
            ):
                raise ResponseError(f"the status must be three digits, 100 to 599, space, reason; not {status!r:.80}")
            if not clean_value(text + 3, n - 3):
                raise ResponseError("the status has a control character in it")
            if n <= 4:
                # Whoever reads it, be it a person, expects the usual one. It may be missing, the space may not.
                code = (text[0] - c'0') * 100 + (text[1] - c'0') * 10 + (text[2] - c'0')
                status = f"{code} {REASONS.get(code, '')}"
            elif type(status) is str and n <= LONGEST:
                checked_status = status
        n = PyUnicode_GET_LENGTH(status)
        text = <const unsigned char*>PyUnicode_DATA(status)
        self.size = 0
        self.content_length = -1
        self.asked_close = self.has_date = self.has_server = False
        self.room(n + 12)
        memcpy(self.data, b"HTTP/1.1 ", 9)
        memcpy(self.data + 9, text, n)
        self.size = n + 9
        self.data[self.size] = c'\r'
        self.data[self.size + 1] = c'\n'
        self.size += 2
        self.status = (text[0] - c'0') * 100 + (text[1] - c'0') * 10 + (text[2] - c'0')
        return 0

    cdef int add(self, object name, object value) except -1:
        """Append one field, or hear what it says about framing. Raises ResponseError, TypeError."""
        cdef Py_ssize_t name_size, value_size, slot = slot_of(name)
        cdef const unsigned char* v
        cdef char* p
        cdef int kind
        if <PyObject*>name == PyList_GET_ITEM(checked_names, slot):
            kind = checked_kinds[slot]
        elif <PyObject*>name == PyList_GET_ITEM(checked_names, slot ^ 1):
            kind = checked_kinds[slot ^ 1]
        else:
            kind = check_name(name)
        if not isinstance(value, str):
            raise TypeError(f"field names and values must be str, not {type(value).__name__}")
        if PyUnicode_KIND(value) != PyUnicode_1BYTE_KIND:
            raise ResponseError(f"field {name!a:.80} has characters beyond latin-1")
        v = <const unsigned char*>PyUnicode_DATA(value)
        value_size = PyUnicode_GET_LENGTH(value)
        name_size = PyUnicode_GET_LENGTH(name)
        self.room(name_size + value_size + 4)
        if not clean_value(v, value_size):
            raise ResponseError(f"the value of field {name!a:.80} has a control character in it")
        if kind != PLAIN and self.heard(kind, v, value_size):
            return 0
        p = self.data + self.size
        memcpy(p, PyUnicode_DATA(name), name_size)
        p += name_size
        p[0] = c':'
        p[1] = c' '
        memcpy(p + 2, v, value_size)
        p += 2 + value_size
        p[0] = c'\r'
        p[1] = c'\n'
        self.size += name_size + value_size + 4
        return 0

    cdef int heard(self, int kind, const unsigned char* value, Py_ssize_t value_size) except -1:
        """1: the server says this itself, the field is not passed on (contract rules 17 and 18)."""
        cdef int64_t length = 0
        cdef Py_ssize_t i, start
        if kind == DATE:
            self.has_date = True
            return 0
        if kind == SERVER:
            self.has_server = True
            return 0
        if kind == LENGTH:
            if not 1 <= value_size <= 18:
                raise ResponseError("Content-Length must be 1 to 18 digits")
            for i in range(value_size):
                if not c'0' <= value[i] <= c'9':
                    raise ResponseError("Content-Length must be digits only")
                length = length * 10 + (value[i] - c'0')
            if self.content_length >= 0 and self.content_length != length:
                raise ResponseError("two Content-Length fields that differ")
            self.content_length = length
        elif kind == CONNECTION:
            start = 0
            for i in range(value_size + 1):
                if i == value_size or value[i] == c',':
                    while start < i and (value[start] == c' ' or value[start] == c'\t'):
                        start += 1
                    if i - start >= 5 and same(value + start, b"close", 5):
                        start += 5
                        while start < i and (value[start] == c' ' or value[start] == c'\t'):
                            start += 1
                        if start == i:
                            self.asked_close = True
                    start = i + 1
        return 1

    cdef int begin_trailers(self) noexcept:
        """Start over with fields alone: those that follow the content (RFC 9110 6.5)."""
        self.size = self.status = 0
        self.content_length = -1
        self.asked_close = self.has_date = self.has_server = False
        return 0

    cdef int close_block(self) except -1:
        """The empty line behind fields that say nothing of content."""
        self.room(2)
        self.data[self.size] = c'\r'
        self.data[self.size + 1] = c'\n'
        self.size += 2
        return 0

    cdef int measure(self, bint is_head, int64_t known) noexcept:
        """Decide what content follows the head: a Transfer, CHUNKS if its size is not known. Settles `content_length`.

        The same in every version of HTTP (RFC 9110 6.4.1, 8.6 and 15). Arguments as for `frame`.
        """
        return measured(self, is_head, known)

    cdef int frame(
        self, bint is_head, int minor, bint keep_alive, int64_t known, bytes date, bytes server
    ) except -1:
        """Decide framing and persistence and complete the head.

        Arguments:
            is_head, minor: of the request.
            keep_alive: the request and the server would let the connection persist.
            known: size of the content if it is known now, else -1.
            date, server: complete field lines, left out where the application has set its own.

        Sets `transfer` and `keep_alive`. RFC 9112 6.1-6.3 and 9.3.
        """
        cdef char digits[20]
        cdef int count = 0
        cdef int64_t rest
        cdef char* p
        cdef Py_ssize_t date_size = PyBytes_GET_SIZE(date), server_size = PyBytes_GET_SIZE(server)
        self.room(date_size + server_size + FRAMING_BYTES)
        p = self.data + self.size
        if not self.has_server and server_size:
            memcpy(p, PyBytes_AS_STRING(server), server_size)
            p += server_size
        if not self.has_date:
            memcpy(p, PyBytes_AS_STRING(date), date_size)
            p += date_size
        if measured(self, is_head, known) == Transfer.CHUNKS:
            if minor > 0:
                memcpy(p, b"Transfer-Encoding: chunked\r\n", 28)
                p += 28
            else:
                self.transfer = Transfer.UNTIL_CLOSE
        if self.content_length >= 0:
            memcpy(p, b"Content-Length: ", 16)
            p += 16
            rest = self.content_length
            while True:
                digits[count] = c'0' + <char>(rest % 10)
                count += 1
                rest //= 10
                if rest == 0:
                    break
            while count:
                count -= 1
                p[0] = digits[count]
                p += 1
            p[0] = c'\r'
            p[1] = c'\n'
            p += 2
        # A 1xx that an application sends as its answer is the last thing said on this connection.
        self.keep_alive = (
            keep_alive and not self.asked_close and self.transfer != Transfer.UNTIL_CLOSE and self.status >= 200
        )
        if not self.keep_alive:
            memcpy(p, b"Connection: close\r\n", 19)
            p += 19
        elif minor == 0:
            memcpy(p, b"Connection: keep-alive\r\n", 24)
            p += 24
        p[0] = c'\r'
        p[1] = c'\n'
        self.size = p + 2 - self.data
        return 0

    @property
    def fields(self):
        """(name, value) of each field added so far that is not the server's to say, in order."""
        lines = self.data[:self.size].decode("latin-1").split("\r\n")
        return [tuple(line.split(": ", 1)) for line in lines[1 if self.status else 0:] if line]

    # For tests: the same calls from Python.

    def compose(self, status, fields=(), *, bint is_head=False, int minor=1, bint keep_alive=True, known=-1,
                bytes date=b"Date: now\r\n", bytes server=b"Server: greenhttp\r\n"):
        """(head bytes, Transfer) for a status, fields and a request that was like this."""
        self.begin(status)
        for name, value in fields:
            self.add(name, value)
        self.frame(is_head, minor, keep_alive, known, date, server)
        return self.data[:self.size], Transfer(self.transfer)
