"""A request: its head, and its body as something to read.

The body pulls: nothing of it is read before the application asks. A read waits in the green thread of the request, for
`body_timeout` at most while the client is silent, and no slower than `body_min_rate` on average. What goes wrong -
end of input before the end of the body, malformed chunks, too much, too slow - raises BodyError with the status to
answer with; it is never a short success.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport int64_t
from libc.string cimport memchr, memcpy

from greenhttp.green.stream cimport Stream
from greenhttp.http.forwarded cimport CONTRADICTED, Forwarded
from greenhttp.http.service cimport Service
from greenhttp.wire.body cimport ChunkedDecoder, Step
from greenhttp.wire.head cimport Framing, Head

from json import JSONDecodeError, loads
from urllib.parse import parse_qsl, unquote

from greenhttp.errors import BodyError, BodyTimeout, HTTPError, StreamClosed, StreamTimeout, WireError
from greenhttp.http.values import Values


cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(PyObject* o)

cdef enum:
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
        """The first read: from here on the client's silence counts; `100 Continue` goes out if it waits for that."""
        self.started = True
        self.stream.restart_pace(self.stream.in_end - self.stream.in_pos)
        if self.expecting:
            self.expecting = False
            # RFC 9110 10.1.1: not when content is already here, be it in the system's buffer; nor to nobody.
            if self.stream.in_end == self.stream.in_pos and self.stream.fill_now() < 0:
                self.stream.put(b"HTTP/1.1 100 Continue\r\n\r\n", 25)
        return 0

    cdef Py_ssize_t decode(self, char* into, Py_ssize_t size) except -1:
        """At least one byte of content, at most `size`; 0 at its end. May wait."""
        return 0

    cdef Py_ssize_t more(self, char* into, Py_ssize_t size) except -1:
        """As `decode`, with what goes wrong as a BodyError."""
        cdef Py_ssize_t moved
        if self.done:
            return 0
        if self.over or self.stream is None:
            raise BodyError(400, "the request is over: its body can no longer be read")
        if self.broken:
            raise BodyError(400, "the request body could not be read to its end")
        try:
            if not self.started:
                self.begin()
            if self.moved:
                # Before anything is taken: what interrupts the wait in it must not lose content.
                moved = self.moved
                self.moved = 0
                self.stream.share(moved)
                self.still_mine()
            return self.decode(into, size)
        except StreamTimeout:
            self.broken = True
            raise BodyTimeout(408, "the client did not send the request body in time") from None
        except WireError as error:
            self.broken = True
            raise BodyError(error.status, f"malformed request body: {error.reason}") from None
        except ConnectionError as error:
            self.still_mine()
            self.broken = True
            why = "it is not waited for" if self.stream.lost else "the client went away before the end of it"
            raise BodyError(400, f"the request body was not read to its end: {why} ({error})") from None

    cdef int still_mine(self) except -1:
        """After a wait: what is in the stream now may belong to the next request."""
        if self.over:
            raise BodyError(400, "the request is over: its body can no longer be read")
        return 0

    cdef int discard_now(self) except -1:
        """Drop what has arrived, without waiting: 1 when the body is at its end, 0 when more must come.

        It is not `done` by that: whoever kept it and reads now must not take what was dropped for an end.
        """
        return 1

    cdef void detach(self) noexcept:
        """The request is over: whoever kept the body can no longer touch the connection."""
        self.stream = None

    cdef bytes collect(self, Py_ssize_t size):
        """`size` bytes, fewer at the end. Memory grows with what arrives, not with what was asked for."""
        cdef Py_ssize_t got = 0, n, capacity
        cdef int64_t left = self.left()
        cdef bytes data, larger
        if self.ahead is not None:
            got = min(size, PyBytes_GET_SIZE(self.ahead) - self.ahead_at)
            left = left + got if left >= 0 else left
        elif self.done or size == 0:
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
                if self.done:
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
        if self.done or size <= 0:
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


cdef class LengthBody(Body):
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


cdef class ChunkedBody(Body):
    """A body in chunks (RFC 9112 7.1)."""

    cdef int64_t left(self) noexcept:
        return 0 if self.done else -1

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


@cython.final
cdef class Headers:
    """The fields of a request by name, in any case. Does not change, and can be kept after the request.

    A mapping of each name, in small letters, to its value; fields of one name are joined with `, `, cookies with `; `
    (RFC 9110 5.3). `get_all(name)` gives the values apart. Values are latin-1, as WSGI has them.
    """

    def __init__(self):
        raise TypeError("made by requests only")

    def __getitem__(self, str name not None):
        value = self.head.get(name)
        if value is None:
            raise KeyError(name)
        return value

    def get(self, str name not None, default=None):
        """The value of the field, or `default`."""
        return self.head.get(name, default)

    def get_all(self, str name not None):
        """The values of all fields of that name, in the order they came."""
        wanted = name.lower()
        return [value for key, value in self.head.fields if key.lower() == wanted]

    def __contains__(self, name):
        return isinstance(name, str) and self.head.get(name) is not None

    def _names(self):
        return list(dict.fromkeys([name.lower() for name, _ in self.head.fields]))

    def __iter__(self):
        return iter(self._names())

    def __len__(self):
        return len(self._names())

    def keys(self):
        """The names, in small letters, each once."""
        return self._names()

    def values(self):
        """The values, in the order of `keys`."""
        return [self.head.get(name) for name in self._names()]

    def items(self):
        """(name, value) for each name."""
        return [(name, self.head.get(name)) for name in self._names()]

    @property
    def pairs(self):
        """(name, value) of every field, as the client spelled them, in order."""
        return self.head.fields

    def __repr__(self):
        return f"Headers({self.pairs!r})"


def _no_number(text):
    raise ValueError(f"{text} is no JSON number")


cdef object read_json(Body body, int64_t announced, Py_ssize_t limit):
    if announced > limit:
        raise HTTPError(413, f"JSON content of more than {limit} bytes")
    data = body.read(limit + 1 if limit < UNLIMITED else limit)
    if len(data) > limit:
        raise HTTPError(413, f"JSON content of more than {limit} bytes")
    try:
        return loads(data, parse_constant=_no_number)
    except JSONDecodeError as error:
        raise HTTPError(400, f"the content is not JSON: {error}") from None
    except (ValueError, RecursionError):
        raise HTTPError(400, "the content is not JSON that can be read") from None


@cython.final
@cython.freelist(8)
cdef class Request:
    """One request, as a native handler sees it. What is not asked for is not made.

    Attributes:
        method: as sent; methods are case-sensitive (RFC 9110 9.1).
        body: the content, as a binary file that can be read once, forward: read, read_some, readline, readlines, iter.
    """

    def __init__(self):
        raise TypeError("made by connections only")

    @property
    def target(self):
        """The request target as it was sent (RFC 9112 3.2), a str of latin-1."""
        if self.sent_target is None:
            self.sent_target = self.known().target
        return self.sent_target

    @property
    def path(self):
        """The path, %-decoded as UTF-8; what is not UTF-8 becomes U+FFFD. Only `target` tells a `%2F` from a `/`."""
        cdef Head head = self.known()
        if self.made_path is None:
            text = head.text(head.path_at, head.path_len)
            self.made_path = text if head.path_plain else unquote(text, errors="replace")
        return self.made_path

    @property
    def query_string(self):
        """What follows the first `?` of the target, as sent."""
        return self.known().query

    @property
    def query(self):
        """The parameters in the target, as Values: a mapping of names to first values, with get_all."""
        cdef Head head = self.known()
        if self.made_query is None:
            text = head.base[head.query_at:head.query_at + head.query_len].decode("utf-8", "replace")
            self.made_query = Values(parse_qsl(text, keep_blank_values=True, errors="replace"))
        return self.made_query

    @property
    def headers(self):
        """The fields, as Headers: a mapping of names, in any case, to values."""
        cdef Headers headers
        if self.made_headers is None:
            headers = Headers.__new__(Headers)
            headers.head = self.known()
            self.made_headers = headers
        return self.made_headers

    @property
    def host(self):
        """The host that was asked for, with its port if one was given; "" if none was (HTTP/1.0)."""
        return self.known().host

    @property
    def version(self):
        """`HTTP/1.1` or `HTTP/1.0`."""
        return self.known().version

    @property
    def scheme(self):
        """`http`, or `https` where a proxy may say so (`forwarded_allow_ips`) and does (`secure_scheme_headers`).

        Raises HTTPError (400) if the fields that say it contradict each other.
        """
        cdef int secure = 0
        if type(self.base) is Forwarded:
            secure = (<Forwarded>self.base).secure(self.known(), self.stream)
            if secure == CONTRADICTED:
                raise HTTPError(400, "the fields that tell the scheme contradict each other")
        return "https" if secure else "http"

    @property
    def peer(self):
        """The other end of the connection: (host, port), or "" over a UNIX socket. Behind a proxy that is the proxy."""
        return self.stream.peer

    @property
    def gone(self):
        """Whether the client has gone, so that the answer to this request would reach nobody. Looks anew each time.

        True once the connection was reset, output of it was lost (a file that shrank), or the client has finished
        sending and all that it sent was read: content that is still to be read, or a request sent ahead, hides its end.
        A client that closes only its sending side and waits for the answer looks exactly the same (TCP has no sign to
        tell them by); such clients are rare. True as well once the request is over. Two system calls that take nothing
        and never wait, so ask now and then, not in an inner loop.
        """
        return self.over or self.stream.left()

    def json(self, *, Py_ssize_t limit=1048576):
        """The content as JSON (RFC 8259), whatever its type says; the same object each time.

        Arguments:
            limit: bytes of content at most.

        Raises HTTPError (400, or 413 beyond the limit) and what reading the body raises. A handler that lets them pass
        answers with their status.
        """
        if self.made_json is None:
            try:
                self.made_json = (read_json(self.body, self.body.left(), limit),)
            except HTTPError as error:
                self.made_json = error.with_traceback(None)
        if isinstance(self.made_json, HTTPError):
            raise HTTPError(self.made_json.status, self.made_json.text)
        return self.made_json[0]

    def form(self, *, Py_ssize_t limit=1048576):
        """The content as a form, urlencoded or multipart (RFC 7578); the same object each time.

        Arguments:
            limit: bytes of text fields together. Files go to temporary files and count against `limit_request_body`.

        Returns a Form: a mapping of names to first values, with get_all; `form.files` holds the uploads. Multipart
        needs the extra `greenhttp[form]`.

        Raises HTTPError (415 if it is no form, 413 beyond a limit, 400) and what reading the body raises.
        """
        if self.made_form is None:
            from greenhttp.http.form import read_form

            kind = self.known().get("content-type", "")
            try:
                self.made_form = read_form(kind, self.body, limit)
            except HTTPError as error:      # asked again, what is left of the content must not pass for the form
                self.made_form = error.with_traceback(None)
            except BaseException:
                if kind[:10].lower() == "multipart/":   # else it is all there again, to be read once more
                    self.made_form = HTTPError(400, "reading the form was interrupted: what is left of it is no form")
                raise
        if isinstance(self.made_form, HTTPError):
            raise HTTPError(self.made_form.status, self.made_form.text)
        return self.made_form

    def __repr__(self):
        return f"<Request {self.method} {self.target}>"

    cdef Head known(self):
        """Its head. A request that no application has kept gives it back; tools that look at all objects find it."""
        if self.head is None:
            raise RuntimeError("the request is over, and was not kept")
        return self.head

    cdef int keep(self) except -1:
        """From now on the head is the request's own: what is asked for can be made at any time."""
        self.head.own()
        return self.take_input()

    cdef bint kept(self, Py_ssize_t known) noexcept:
        """Whether somebody beyond `known` references will still look at it, after the answer."""
        return self.head.owned is not None and Py_REFCNT(<PyObject*>self) > known

    cdef int take_input(self) except -1:
        """The head has been made use of: its bytes leave the stream, the body is next. By whoever answers, once."""
        if not self.input_taken:
            self.input_taken = True
            self.stream.unpin(self.head.head_size)
        return 0

    cdef str describe(self):
        """Method and path, for the log. Without `keep`, the head's own bytes are gone once `take_input` was called."""
        cdef Head head = self.head
        if self.sent_target is None:
            if self.input_taken and head.owned is None:
                self.sent_target = ""
            else:
                self.sent_target = head.text(head.target_at, head.target_len)
        return f"{self.method} {self.sent_target.partition('?')[0]}"


cdef Request new_request(Service service, Stream stream, Head head, object base):
    cdef Request request = Request.__new__(Request)
    cdef Body body
    cdef ChunkedBody chunked
    request.service = service
    request.stream = stream
    request.head = head
    request.method = head.method
    request.base = base
    if head.framing == Framing.NO_BODY or head.content_length == 0:
        request.body = NOTHING
        return request
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
    body.service = service
    body.expecting = head.wants_continue
    request.body = body
    return request
