"""The content of a request: something to read, once, forward.

The body pulls: nothing of it is read before the application asks. A read waits in the green thread of the request, for
`body_timeout` at most while the client is silent, and no slower than `body_min_rate` on average. What goes wrong -
end of input before the end of the body, malformed chunks, too much, too slow - raises BodyError with the status to
answer with; it is never a short success.

    Body            what applications read; and the seam, which every protocol has its own way for
    StreamBody      HTTP/1: off the connection's stream, by length or in chunks
    PythonBody      from something written in Python
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from libc.string cimport memchr, memcpy

from greenhttp.green.stream cimport Stream
from greenhttp.http.service cimport Service
from greenhttp.wire.body cimport ChunkedDecoder, Step
from greenhttp.wire.head cimport Framing, Head

from greenhttp.errors import BodyError, BodyTimeout, LimitError, StreamClosed, StreamTimeout, WireError
from greenhttp.http.refusals import beyond
from greenhttp.http.store import Store, where

cdef enum:
    IN_MEMORY = 1048576         # bytes of content gathered that stay in memory
    PIECE = 8192                # what `readline` decodes ahead

cdef Py_ssize_t UNLIMITED = <Py_ssize_t>(<size_t>-1 >> 1)


cdef class Body:
    """The content of a request, as a binary file that can be read once, forward (PEP 3333 `wsgi.input`).

    The base class is the body of a request that has none.
    """

    cdef int64_t left(self) noexcept:
        """Bytes still to come, -1 if that is unknown."""
        return 0

    cdef int begin(self) except -1:
        """The first read: content is wanted now, and from here on the client's silence counts."""
        return 0

    cdef Py_ssize_t decode(self, char* into, Py_ssize_t size) except -1:
        """At least one byte of content, at most `size`; 0 at its end. May wait. Raises StreamTimeout, WireError,
        ConnectionError, or a BodyError of its own. Sets `done` with the last byte if it knows that, else at the end."""
        return 0

    cdef int give_turn(self, Py_ssize_t moved) except -1:
        """So many bytes came without a wait: others may want to go on. May wait."""
        return 0

    cdef list followed(self):
        """The trailers: (name, value) of the fields that came behind the content. Asked for at its end only."""
        return []

    cdef str why_short(self):
        """Why a body ends early when its connection broke."""
        return "the client went away before the end of it"

    cdef void detach(self) noexcept:
        """The request is over: whoever kept the body can no longer touch what it came by."""

    cdef Py_ssize_t more(self, char* into, Py_ssize_t size) except -1:
        """As `decode`, with what goes wrong as a BodyError."""
        cdef Py_ssize_t moved
        if self.done:
            return 0 if self.stored is None else self.recall(into, size)
        if self.over:
            raise BodyError(400, "the request is over: its body can no longer be read")
        if self.broken:
            raise BodyError(400, "the request body could not be read to its end")
        try:
            if not self.started:
                self.started = True
                self.begin()
            if self.moved:
                # Before anything is taken: what interrupts the wait in it must not lose content.
                moved = self.moved
                self.moved = 0
                self.give_turn(moved)
                self.still_mine()
            return self.decode(into, size)
        except StreamTimeout as error:
            self.broken = True
            raise BodyTimeout(408, f"the request body did not come in time: {error}") from None
        except LimitError as error:
            self.broken = True
            raise BodyError(error.status, beyond(error.reason, error.limit)) from None
        except WireError as error:
            self.broken = True
            raise BodyError(error.status, f"malformed request body: {error.reason}") from None
        except ConnectionError as error:
            self.still_mine()
            self.broken = True
            raise BodyError(400, f"the request body was not read to its end: {self.why_short()} ({error})") from None

    cdef int still_mine(self) except -1:
        """After a wait: what is in the stream now may belong to the next request."""
        if self.over:
            raise BodyError(400, "the request is over: its body can no longer be read")
        return 0

    cdef inline bint at_end(self) noexcept:
        """Whether there is no more of it than `ahead`."""
        return self.done and self.stored is None

    cdef int gather(self, int64_t limit) except -1:
        """Take all of it now, before the application is asked, into memory or a temporary file; `gathered` is its size.

        Raises BodyError: what reading raises, 413 beyond `limit`, 507 if the file cannot be written.
        """
        cdef Py_ssize_t most = <Py_ssize_t>min(limit, <int64_t>IN_MEMORY)
        cdef int64_t size
        cdef bytes data = self.collect(most + 1)
        cdef object store
        size = PyBytes_GET_SIZE(data)
        if size <= most:
            self.ahead = data if size else None
            self.ahead_at = 0
        else:
            store = Store()
            try:
                while size <= limit and data:
                    self.put_aside(store, data)
                    data = self.read_some()
                    size += PyBytes_GET_SIZE(data)
                if size > limit:
                    self.broken = True          # what follows it is not read
                    raise BodyError(413, beyond("gather_chunked", limit))
            except BaseException:
                store.close()
                raise
            self.stored = store
        self.gathered = f"{size}"
        return 0

    cdef int put_aside(self, object store, bytes data) except -1:
        try:
            store.write(data)
        except OSError as error:
            self.broken = True
            what = f"the content cannot be written to a temporary file{where()} (gather_chunked)"
            raise BodyError(507, f"{what}: {error}") from error
        return 0

    cdef Py_ssize_t recall(self, char* into, Py_ssize_t size) except -1:
        """As `decode`, of what was gathered in a file."""
        cdef bytes data
        if self.over:
            raise BodyError(400, "the request is over: its body can no longer be read")
        data = self.stored.read(size, self.stored_at)
        if not data:
            raise BodyError(500, "the temporary file that holds the request body has been cut")
        memcpy(into, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        self.stored_at += PyBytes_GET_SIZE(data)
        if self.stored_at == <int64_t>self.stored.size:
            self.release()
            self.stored = None
        return PyBytes_GET_SIZE(data)

    cdef int release(self) except -1:
        """Nobody reads the file any more. It stays known that there was one: what is left of it is no end."""
        self.stored.close()
        return 0

    cdef bytes collect(self, Py_ssize_t size):
        """`size` bytes, fewer at the end. Memory grows with what arrives, not with what was asked for."""
        cdef Py_ssize_t got = 0, n, capacity
        cdef int64_t left = self.left() if self.stored is None else <int64_t>self.stored.size - self.stored_at
        cdef bytes data, larger
        if self.ahead is not None:
            got = min(size, PyBytes_GET_SIZE(self.ahead) - self.ahead_at)
            left = left + got if left >= 0 else left
        elif size == 0 or self.at_end():
            return b""
        capacity = min(size, 65536)
        if 0 <= left < capacity:
            capacity = max(left, got, 1)
        capacity = max(capacity, got)
        data = PyBytes_FromStringAndSize(NULL, capacity)
        if got:
            memcpy(PyBytes_AS_STRING(data), PyBytes_AS_STRING(self.ahead) + self.ahead_at, got)
            self.ahead_at += got
            if self.ahead_at == PyBytes_GET_SIZE(self.ahead):
                self.ahead = None
        while got < size:
            if got == capacity:
                if self.at_end():
                    break
                capacity = min(size, capacity * 2)
                larger = PyBytes_FromStringAndSize(NULL, capacity)
                memcpy(PyBytes_AS_STRING(larger), PyBytes_AS_STRING(data), got)
                data = larger
            try:
                n = self.more(PyBytes_AS_STRING(data) + got, capacity - got)
            except BaseException:
                if got:                     # a gevent.Timeout, say: what came before it can still be read
                    self.ahead = PyBytes_FromStringAndSize(PyBytes_AS_STRING(data), got)
                    self.ahead_at = 0
                raise
            if n == 0:
                break
            got += n
        return data if got == capacity else PyBytes_FromStringAndSize(PyBytes_AS_STRING(data), got)

    def read(self, size=-1):
        """`size` bytes, fewer only at the end of the body; all of it if `size` is negative or None.

        Raises BodyError (an OSError) if the body ends early, is malformed, too large or too slow.
        """
        cdef Py_ssize_t n = -1 if size is None else size
        return self.collect(n if n >= 0 else UNLIMITED)

    def read_some(self, Py_ssize_t size=65536):
        """What is there, at least one byte and at most `size`; b"" at the end. Raises BodyError."""
        cdef bytes data
        cdef Py_ssize_t n
        if self.ahead is not None:
            return self.collect(min(size, PyBytes_GET_SIZE(self.ahead) - self.ahead_at))
        if size <= 0 or self.at_end():
            return b""
        data = PyBytes_FromStringAndSize(NULL, min(size, 65536))
        n = self.more(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        return data if n == PyBytes_GET_SIZE(data) else data[:n]

    def readline(self, size=-1):
        """One line with its line feed, at most `size` bytes of it; b"" at the end. Raises BodyError."""
        cdef Py_ssize_t limit = -1 if size is None else size
        cdef Py_ssize_t n, searched = 0
        cdef char* start
        cdef char* found
        cdef list pieces = []
        if limit == 0:
            return b""
        if limit < 0:
            limit = UNLIMITED
        while True:
            if self.ahead is None:
                try:
                    data = self.read_some(PIECE)
                except BaseException:
                    self.put_back(pieces)
                    raise
                if not data:
                    break
                self.ahead = data
                self.ahead_at = 0
            start = PyBytes_AS_STRING(self.ahead) + self.ahead_at
            n = min(PyBytes_GET_SIZE(self.ahead) - self.ahead_at, limit - searched)
            found = <char*>memchr(start, c'\n', n)
            if found != NULL:
                n = found - start + 1
            pieces.append(self.collect(n))
            searched += n
            if found != NULL or searched == limit:
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    cdef int put_back(self, list pieces) except -1:
        """What interrupts a read, a gevent.Timeout say, costs no content: it can still be read."""
        if self.ahead is not None:
            pieces.append(self.ahead[self.ahead_at:])
        if pieces:
            self.ahead = b"".join(pieces)
            self.ahead_at = 0
        return 0

    def readlines(self, hint=-1):
        """All lines, or as many as have `hint` bytes. Raises BodyError."""
        cdef list lines = []
        cdef Py_ssize_t size = 0, most = -1 if hint is None else hint
        try:
            for line in self:
                lines.append(line)
                size += len(line)
                if 0 < most <= size:
                    break
        except BaseException:
            self.put_back(lines)
            raise
        return lines

    def iter(self, Py_ssize_t size=65536):
        """The content in the pieces it comes in, at most `size` bytes each. Raises BodyError."""
        while True:
            data = self.read_some(size)
            if not data:
                return
            yield data

    def __iter__(self):
        return self

    def __next__(self):
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def close(self):
        """Nothing: the server owns the connection."""


cdef Body NOTHING = Body()
NOTHING.done = True


cdef class StreamBody(Body):
    """Content that comes by the connection's stream, between its request's head and whatever follows it."""

    cdef int begin(self) except -1:
        """As Body's; `100 Continue` goes out if the client waits for that."""
        if self.stream is None:
            raise BodyError(400, "no request has this body")    # made by somebody who found its type
        self.stream.restart_pace(self.stream.in_end - self.stream.in_pos)
        if self.expecting:
            self.expecting = False
            # RFC 9110 10.1.1: not when content is already here, be it in the system's buffer; nor to nobody.
            if self.stream.in_end == self.stream.in_pos and self.stream.fill_now() < 0:
                self.stream.put(b"HTTP/1.1 100 Continue\r\n\r\n", 25)
        return 0

    cdef int give_turn(self, Py_ssize_t moved) except -1:
        return self.stream.share(moved)

    cdef str why_short(self):
        return "it is not waited for" if self.stream.lost else Body.why_short(self)

    cdef void detach(self) noexcept:
        self.stream = None

    cdef int discard_now(self) except -1:
        """Drop what has arrived, without waiting: 1 when the body is at its end, 0 when more must come.

        It is not `done` by that: whoever kept it and reads now must not take what was dropped for an end.
        """
        raise NotImplementedError


cdef class LengthBody(StreamBody):
    """A body of Content-Length bytes."""

    cdef int64_t left(self) noexcept:
        return self.remaining

    cdef Py_ssize_t decode(self, char* into, Py_ssize_t size) except -1:
        cdef Stream stream = self.stream
        cdef Py_ssize_t n
        while True:
            n = stream.read_now(into, <Py_ssize_t>min(<int64_t>size, self.remaining))
            if n >= 0:
                break
            stream.wait_read()
            self.still_mine()
        if n == 0:
            self.broken = True
            raise BodyError(400, f"the request body ended {self.remaining} bytes early")
        self.remaining -= n
        if self.remaining == 0:
            self.done = True
        self.moved = n
        return n

    cdef int discard_now(self) except -1:
        cdef Py_ssize_t n
        cdef bint received = False
        while self.remaining:
            n = self.stream.in_end - self.stream.in_pos
            if n == 0:
                n = -1 if received else self.stream.fill_now()
                if n < 0:
                    return 0
                if n == 0:
                    raise BodyError(400, "the request body ended early")
                received = True             # once a call: a fast sender must not keep the hub
            n = <Py_ssize_t>min(<int64_t>n, self.remaining)
            self.stream.consume(n)
            self.remaining -= n
        return 1


cdef class ChunkedBody(StreamBody):
    """A body in chunks (RFC 9112 7.1)."""

    cdef int64_t left(self) noexcept:
        return 0 if self.done else -1

    cdef list followed(self):
        return self.decoder.fields()

    cdef Py_ssize_t decode(self, char* into, Py_ssize_t size) except -1:
        cdef Stream stream = self.stream
        cdef Py_ssize_t consumed, n
        cdef const char* out
        cdef int step
        while True:
            n = stream.in_end - stream.in_pos
            if n == 0:
                if stream.closed:
                    raise StreamClosed("the stream is closed")
                n = stream.fill_now()
                if n == 0:
                    self.broken = True
                    raise BodyError(400, "the request body ended before its last chunk")
                if n < 0:
                    stream.wait_read()
                    self.still_mine()
                continue
            # Given no more than fits, the decoder hands out no more than fits.
            step = self.decoder.step(stream.inbuf + stream.in_pos, min(n, size), &consumed, &out, &n)
            if step == Step.DATA:
                memcpy(into, out, n)
                stream.consume(consumed)
                self.moved = n
                return n
            stream.consume(consumed)
            if step == Step.END:
                self.done = True
                return 0

    cdef int discard_now(self) except -1:
        cdef Py_ssize_t consumed, n
        cdef const char* out
        cdef int step
        cdef bint received = False
        while True:
            n = self.stream.in_end - self.stream.in_pos
            if n == 0:
                n = -1 if received else self.stream.fill_now()
                if n < 0:
                    return 0
                if n == 0:
                    raise BodyError(400, "the request body ended early")
                received = True
                continue
            step = self.decoder.step(self.stream.inbuf + self.stream.in_pos, n, &consumed, &out, &n)
            self.stream.consume(consumed)
            if step == Step.END:
                return 1


cdef Body body_of(Service service, Stream stream, Head head):
    """The content that an HTTP/1 head announces (RFC 9112 6.3)."""
    cdef StreamBody body
    cdef ChunkedBody chunked
    if head.framing == Framing.NO_BODY or head.content_length == 0:
        return NOTHING
    if head.framing == Framing.LENGTH:
        body = LengthBody.__new__(LengthBody)
        (<LengthBody>body).remaining = head.content_length
    else:
        chunked = ChunkedBody.__new__(ChunkedBody)
        chunked.decoder = ChunkedDecoder(
            limit_request_body=service.limit_body,
            limit_chunk_extensions=service.limit_extensions,
            limit_trailers=service.limit_trailers,
        )
        body = chunked
    body.stream = stream
    body.expecting = head.wants_continue
    return body


cdef class PythonBody(Body):
    """PythonBody(length=None)\n--\n
    Content whose source is written in Python: subclass it, and give it `receive`.

    Arguments:
        length: bytes that will come, as announced; None: nobody knows.
    """

    def __init__(self, length=None):
        self.announced = -1 if length is None else length
        self.done = self.announced == 0
        self.limit = self.most = UNLIMITED

    def wanted(self):
        """The application reads for the first time."""

    def receive(self, most):
        """Bytes that came, at least one and at most `most`; b"" at the end. May wait.

        Raises StreamTimeout (too slow), WireError (malformed), ConnectionError (it ends early), BodyError.
        """
        raise NotImplementedError

    def trailers(self):
        """Pairs of name and value: the fields that came behind the content. Asked for at its end only."""
        return ()

    cdef int64_t left(self) noexcept:
        return self.announced

    cdef list followed(self):
        return list(self.trailers())

    cdef int begin(self) except -1:
        self.wanted()
        return 0

    cdef Py_ssize_t decode(self, char* into, Py_ssize_t size) except -1:
        cdef bytes data = self.receive(size)
        cdef Py_ssize_t n
        self.still_mine()
        if data is None:
            self.broken = True
            raise TypeError("receive() gave None where bytes were asked for")
        n = PyBytes_GET_SIZE(data)
        if n > size:
            self.broken = True
            raise ValueError(f"receive() gave {n} bytes where {size} at most were asked for")
        if n == 0:
            if self.announced > 0:
                self.broken = True
                raise BodyError(400, f"the request body ended {self.announced} bytes early")
            self.done = True
            return 0
        self.limit -= n
        if self.limit < 0:
            self.broken = True
            raise BodyError(413, beyond("limit_request_body", self.most))
        if self.announced >= 0:
            if n > self.announced:
                self.broken = True
                raise BodyError(400, f"the request body is {n - self.announced} bytes longer than was announced")
            self.announced -= n
            self.done = self.announced == 0
        memcpy(into, PyBytes_AS_STRING(data), n)
        return n
