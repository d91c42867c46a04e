"""A response: a head and its content, into an exchange.

What is known as a whole - a list of bytes, a file - goes into the output and the green thread is done; the rest of it
leaves while the connection is parked. What an application makes piece by piece is sent piece by piece, each one before
the next is asked for (PEP 3333), and waits in the green thread for a slow reader.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from libc.string cimport memchr

from greenhttp.green.stream cimport FilePart
from greenhttp.http.request cimport Request
from greenhttp.http.service cimport Service
from greenhttp.wire.head cimport Head
from greenhttp.wire.names cimport same_name
from greenhttp.wire.response cimport ResponseHead, Transfer

import io
import os
import stat
import tempfile

from greenhttp.errors import ResponseError
from greenhttp.http.accept import prefers_json
from greenhttp.http.json_text import error_as_json
from greenhttp.wire.response import REASONS as _reasons


cdef dict REASONS = _reasons


cdef bytes bytes_of(object data):
    """A piece of content as bytes: what it holds now, whatever its __bytes__ says or is made of it afterwards.

    Raises TypeError.
    """
    if isinstance(data, bytes):
        return PyBytes_FromStringAndSize(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
    if isinstance(data, (bytearray, memoryview)):
        return memoryview(data).tobytes()
    raise TypeError(f"content must be bytes, not {type(data).__name__}")


cdef class FileBody:
    """Content that is a range of a regular file, sent by the kernel without passing through this process.

    Arguments:
        file: an object with `fileno()`.
        offset, size: the range, in bytes.
    """

    def __init__(self, file, int64_t offset, int64_t size):
        self.file = file
        self.offset = offset
        self.size = size


cdef FileBody file_range(object file):
    """The rest of a regular file as a range of it, or None for any other kind of file.

    Having a descriptor is not enough: a GzipFile has one too, of a file with other bytes in it.
    """
    try:
        if isinstance(file, tempfile._TemporaryFileWrapper):
            file = file.file
        if type(getattr(file, "raw", file)) is not io.FileIO:
            return None
        if not file.readable():
            return None                 # sendfile would blame the connection
        status = os.fstat(file.fileno())
        # Files of procfs and sysfs have no blocks and lie about their size.
        if stat.S_ISREG(status.st_mode) and status.st_blocks:
            offset = file.tell()
            return FileBody(file, offset, max(0, status.st_size - offset))
    except Exception:
        pass                            # whatever it is, it can be read
    return None


cdef bint has_field(ResponseHead head, bytes name) noexcept:
    """Whether a field of that name, in small letters, is in the head so far."""
    cdef const char* p = head.data
    cdef const char* end = p + head.size
    cdef Py_ssize_t size = PyBytes_GET_SIZE(name)
    while True:
        p = <const char*>memchr(p, c"\n", end - p)         # the first line is that of the status
        if p == NULL:
            return False
        p += 1
        if end - p > size and p[size] == c":" and same_name(
            <const unsigned char*>p, PyBytes_AS_STRING(name), size
        ):
            return True


cdef class Delivery(ResponseHead):
    """An answer on its way out: the head in the making, and the content. Made by `hosting`, sent by an Exchange."""

    cdef int bind(self, Request request) except -1:
        self.request = request
        self.exchange = request.exchange
        self.service = request.exchange.service
        return 0

    cdef int start(self, int64_t known) except -1:
        """Put the head into the output. `known`: the size of the content, -1 if it is not known."""
        cdef Request request = self.request
        if self.service.id_name is not None:
            self.tell_id()
        self.service.date_line()        # made anew now, if that is due
        # From here on nothing allocates: a green thread that was left behind may write too, and there is one head.
        if request.head_out:
            raise AssertionError("the head of the answer was already sent")
        self.exchange.start(self, request.head, request.body, known)
        request.head_out = True
        if self.service.observer is not None:
            request.answer = self
        self.left = self.content_length if self.transfer == Transfer.SIZED else 0
        return 0

    cdef int tell_id(self) except -1:
        """Add the field with the ID of the request, unless the application has said one itself."""
        if self.status >= 200 and not has_field(self, self.service.origins.id_name):
            self.add(self.service.id_name, self.request.identify())
        return 0

    cdef int piece(self, object data) except -1:
        """Put some content into the output. 0: nothing more is wanted."""
        cdef Py_ssize_t n
        if type(data) is not bytes:
            data = bytes_of(data)
        if self.transfer == Transfer.EMPTY:
            return 0
        n = PyBytes_GET_SIZE(data)
        if self.transfer == Transfer.SIZED:
            if n > self.left:
                if not self.cut:
                    self.cut = True
                    self.service.report(
                        "error",
                        f"{self.request.describe()}: more content than Content-Length ({self.content_length}); cut",
                    )
                data = data[:self.left]
                n = <Py_ssize_t>self.left
            self.left -= n
        if n:
            self.sent += n
            self.exchange.piece(self, data)
        return not self.cut

    cdef int end(self) except -1:
        """The content is at its end."""
        cdef int64_t missing = self.left
        self.ended = self.complete = True       # first: whoever writes now is too late
        self.exchange.end(self, self.trailers, missing)
        if missing:
            self.service.report(
                "error", f"{self.request.describe()}: content ended {missing} bytes short of Content-Length"
            )
        return 0

    def inform(self, status, fields=()):
        """Send an informational answer, `103 Early Hints` say, before the final one (RFC 9110 15.2, RFC 8297).

        Arguments: as for start_response. Waits until it has left. Raises ResponseError, TypeError, AssertionError once
        a head is out, and what writing raises.
        """
        cdef ResponseHead head = ResponseHead()
        head.begin(status)
        if not 102 <= head.status <= 199:
            raise ResponseError(f"{head.status} is not an informational status that an application may send")
        for name, value in fields:
            head.add(name, value)
        if self.request is None or self.request.over or self.request.head_out:
            raise AssertionError("an informational answer must be sent before the final one")
        self.exchange.inform(head, self.request.head)
        self.exchange.flush()           # it is of use only while the final answer is being made

    def add_trailer(self, name, value):
        """Have this field follow the content, where there is room for it: in a response of unknown size (RFC 9110 6.5).

        Raises ResponseError for what frames a message, and TypeError.
        """
        cdef ResponseHead trailers = self.trailers
        cdef Py_ssize_t size
        if self.request is None or self.request.over or self.ended:
            raise AssertionError("the request is over; nothing can be added to its answer")
        if trailers is None:
            trailers = ResponseHead()
            trailers.begin_trailers()
        size = trailers.size
        trailers.add(name, value)
        if trailers.size == size:
            raise ResponseError(f"{name} cannot be a trailer: it says how the message is framed")
        self.trailers = trailers

    cdef int deliver(self) except -1:
        """Send the content, the head with its first bytes; then close() what it came from, whatever happened."""
        if self.closer is None:
            if type(self.content) is list:
                return self.deliver_known(self.content)
            return self.send_content()
        try:
            return self.send_content()
        finally:
            self.ended = True
            self.finish_content()

    cdef int finish_content(self) except -1:
        """Call close() of what the content came from, once (PEP 3333)."""
        cdef object closer = self.closer
        if closer is not None:
            self.closer = None
            try:
                closer.close()
            except BaseException as error:
                self.service.report("error", f"{self.request.describe()}: {type(error).__name__} in close()", error)
                self.service.pool.pass_on(error)
        return 0

    cdef int send_content(self) except -1:
        cdef object content = self.content
        if type(content) is list or type(content) is tuple:
            return self.deliver_known(content)
        if type(content) is FileBody:
            return self.deliver_file(<FileBody>content)
        return self.deliver_iterable(content)

    cdef int deliver_known(self, object pieces) except -1:
        cdef int64_t size = 0
        cdef object data
        for data in pieces:
            if not isinstance(data, bytes):
                return self.deliver_known([bytes_of(each) for each in pieces])
            size += PyBytes_GET_SIZE(data)
        if not self.request.head_out:
            self.start(size)
        for data in pieces:
            self.piece(data)
        return self.end()

    cdef int deliver_file(self, FileBody body) except -1:
        # Made first: it may fail, and then 500 can still be said.
        cdef FilePart part = FilePart(body.file.fileno(), body.offset, body.size)
        self.start(body.size)
        if self.transfer != Transfer.EMPTY:
            if self.transfer == Transfer.SIZED:
                part.left = min(part.left, self.left)
                self.left -= part.left
            if part.left:
                self.sent += part.left
                try:
                    self.exchange.file(self, part)
                except BaseException:
                    self.sent -= part.left
                    raise
        return self.end()

    cdef int deliver_iterable(self, object pieces) except -1:
        cdef object data
        for data in pieces:
            if not self.request.head_out:
                if not isinstance(data, bytes):
                    data = bytes_of(data)   # which may raise, while a 500 is possible
                if PyBytes_GET_SIZE(data) == 0:
                    continue            # the head may change until there is something to send
                self.start(-1)
            if not self.piece(data):
                break
            self.exchange.flush()
        if not self.request.head_out:
            self.start(0)
        return self.end()


cdef bytes said(int status, bint as_json=False):
    """The content of an answer of the server itself, which says no more than its status."""
    if as_json:
        return error_as_json(status, REASONS.get(status, "Error"))
    return f"{REASONS.get(status, 'Error')}\n".encode("ascii")


cdef str kind_of_said(bint as_json):
    return "application/json" if as_json else "text/plain"


cdef bint head_wants_json(Head head) except -1:
    """Whether a whole head says, by Accept, that its client prefers JSON to text (RFC 9110 12.5.1)."""
    cdef object accept = head.get("accept")
    return accept is not None and prefers_json(accept)


cdef bint wants_json(Request request) except -1:
    """The same of a request. Looked at only when an error is answered: everything else is made by the application."""
    if request.accept is not None:
        return prefers_json(request.accept)
    if request.head is None or request.input_taken and request.head.owned is None:
        return False                # its bytes are gone; where Accept was among them, it was kept
    return head_wants_json(request.head)


cdef Delivery plain(Request request, int status, bint as_json=False, str trace=None):
    """An answer of the server itself to a whole request: the reason phrase. `trace`: what to show for debugging."""
    cdef Delivery response = Delivery.__new__(Delivery)
    response.bind(request)
    response.begin(f"{status} {REASONS.get(status, 'Error')}")
    if trace is None:
        response.add("Content-Type", kind_of_said(as_json))
        response.content = [said(status, as_json)]
    elif as_json:
        response.add("Content-Type", "application/json")
        response.content = [error_as_json(status, REASONS.get(status, "Error"), trace)]
    else:
        response.add("Content-Type", "text/plain; charset=utf-8")
        response.content = [trace.encode("utf-8", "backslashreplace")]
    return response


cdef ResponseHead refusing(Service service, int status, object retry_after, bint as_json, str id):
    """The head of such an answer, not yet framed. `id`: of the request, None: it has none."""
    cdef ResponseHead head = ResponseHead()
    head.begin(f"{status} {REASONS.get(status, 'Error')}")
    head.add("Content-Type", kind_of_said(as_json))
    if retry_after is not None:
        head.add("Retry-After", f"{retry_after}")
    if id is not None and service.id_name is not None:
        head.add(service.id_name, id)
    return head


cdef bytes refusal(Service service, int status, object retry_after, bint as_json, str id):
    """A whole answer for a request that is not one, or that cannot be served; the connection closes after it."""
    cdef ResponseHead head = refusing(service, status, retry_after, as_json, id)
    cdef bytes text = said(status, as_json)
    cdef bytes date = service.date_line()
    head.frame(False, 1, False, len(text), date, service.server)
    return head.data[:head.size] + text
