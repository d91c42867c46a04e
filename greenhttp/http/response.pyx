"""A response: a head and its content, into the stream.

What is known as a whole - a list of bytes, a file - goes into the stream's output and the green thread is done; the
rest of it leaves while the connection is parked. What an application makes piece by piece is sent piece by piece,
each one before the next is asked for (PEP 3333), and waits in the green thread for a slow reader.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from greenhttp.green.stream cimport FilePart
from greenhttp.http.request cimport Request
from greenhttp.http.service cimport Service
from greenhttp.wire.body cimport CHUNK_HEAD_MAX, LAST_CHUNK_SIZE, put_chunk_head, put_last_chunk
from greenhttp.wire.head cimport Head
from greenhttp.wire.response cimport ResponseHead, Transfer

import io
import os
import stat
import tempfile
from http import HTTPStatus


cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(PyObject* o)


cdef dict REASONS = {int(status): status.phrase for status in HTTPStatus}
# RFC 9110 names these differently from older editions that some Python versions follow.
REASONS[413] = "Content Too Large"
REASONS[414] = "URI Too Long"
REASONS[417] = "Expectation Failed"
REASONS[431] = "Request Header Fields Too Large"


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


cdef class Delivery(ResponseHead):
    """An answer on its way out: the head in the making, and the content. Made by `hosting`, sent by the connection."""

    cdef int bind(self, Request request) except -1:
        self.request = request
        self.stream = request.stream
        self.service = request.service
        return 0

    cdef int start(self, int64_t known) except -1:
        """Put the head into the output. `known`: the size of the content, -1 if it is not known."""
        cdef Service service = self.service
        cdef Request request = self.request
        cdef bytes date = service.date_line()
        # From here on nothing allocates: a green thread that was left behind may write too, and there is one head.
        if request.head_out:
            raise AssertionError("a head is out already")
        # A client that was not told to continue may or may not send its body: where the next request begins is unknown.
        cdef bint keep = request.head.keep_alive and not request.body.expecting and not request.body.broken
        if service.stopping and not (request.body.done and self.stream.in_end > self.stream.in_pos):
            keep = False                # the last answer; a request that is here already still gets its own
        if request.body.left() > DRAIN_BYTES:
            # What stays unread of it would not be drained; the close must have been announced by then (RFC 9112 9.6).
            # An application that still reads it all, while it answers, loses a connection it could have kept.
            keep = False
        self.transfer = self.frame(
            request.head.is_head, request.head.minor, keep, known,
            PyBytes_AS_STRING(date), PyBytes_GET_SIZE(date),
            PyBytes_AS_STRING(service.server), PyBytes_GET_SIZE(service.server),
        )
        request.body.expecting = False
        self.stream.put(self.data, self.size)
        request.head_out = True
        if service.observer is not None:
            request.answer = self
        self.left = self.content_length if self.transfer == Transfer.SIZED else 0
        return 0

    cdef int piece(self, object data) except -1:
        """Put some content into the output, framed. 0: nothing more is wanted."""
        cdef Py_ssize_t n
        cdef char* p
        if type(data) is not bytes:
            if not isinstance(data, bytes):
                raise TypeError(f"content must be bytes, not {type(data).__name__}")
            # What it holds, not what its __bytes__ says: its size was announced, and the head may be out.
            data = PyBytes_FromStringAndSize(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
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
            self.sent += n
            self.stream.put_object(data)
            return not self.cut
        if self.transfer == Transfer.CHUNKS:
            if n:
                self.sent += n
                try:
                    p = self.stream.reserve(CHUNK_HEAD_MAX)
                    self.stream.commit(put_chunk_head(p, n) - p)
                    self.stream.put_object(data)
                    self.stream.put(b"\r\n", 2)
                except BaseException:
                    self.stream.lost = True     # no memory: part of a chunk is out
                    raise
            return 1
        if self.transfer == Transfer.UNTIL_CLOSE:
            self.sent += n
            self.stream.put_object(data)
            return 1
        return 0

    cdef int end(self) except -1:
        """The content is at its end."""
        cdef char* p
        self.ended = self.complete = True       # first: whoever writes now is too late
        if self.transfer == Transfer.CHUNKS:
            p = self.stream.reserve(LAST_CHUNK_SIZE)
            self.stream.commit(put_last_chunk(p) - p)
        elif self.left:
            # The client must notice: the connection closes before what was promised has come.
            self.keep_alive = False
            self.service.report(
                "error", f"{self.request.describe()}: content ended {self.left} bytes short of Content-Length"
            )
        return 0

    cdef int deliver(self) except -1:
        """Send the content, the head with its first bytes; then close() what it came from, whatever happened."""
        if self.closer is None:
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
                raise TypeError(f"content must be bytes, not {type(data).__name__}")
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
                self.stream.put_file(part)
        return self.end()

    cdef int deliver_iterable(self, object pieces) except -1:
        cdef object data
        for data in pieces:
            if not self.request.head_out:
                if not isinstance(data, bytes):
                    raise TypeError(f"content must be bytes, not {type(data).__name__}")    # while a 500 is possible
                if PyBytes_GET_SIZE(data) == 0:
                    continue            # the head may change until there is something to send
                self.start(-1)
            if not self.piece(data):
                break
            self.stream.flush_all()
        if not self.request.head_out:
            self.start(0)
        return self.end()


cdef class App:
    """What a request is handed to. `hosting` has the kinds there are."""

    cdef Delivery take_spare(self):
        """One that was given back, to be bound again; or None."""
        cdef Delivery spare = self.spare
        self.spare = None
        return spare

    cdef bint give_back(self, Delivery response) noexcept:
        """The answer is over. Whether nobody else refers to `response`: then it has let go of everything, for reuse."""
        if Py_REFCNT(<PyObject*>response) != 1 or response.data != response.small:
            return False
        response.request = None
        response.stream = None
        response.content = None
        response.ended = response.complete = response.cut = False
        response.sent = 0
        self.spare = response
        return True

    cdef object prepare(self, object name, object port):
        """Whatever is worth making once for an address: `name` and `port` that requests come in by. Request.base."""
        return None

    cdef Delivery respond(self, Request request):
        """The response to a request; `deliver` sends its content. May block, may raise anything."""
        raise NotImplementedError


cdef class Observer:
    """Who is told of each answer, once. Decides nothing, must neither wait nor suspend."""

    cdef void answered(self, Request request, int64_t began) noexcept:
        """A request that was handed to the application is over. Its head is still there, and owns its bytes.

        `request.answer` is the response whose head went out: the application's or the server's own; None if the
        connection ended before there was one. `began`: `nanoseconds()` when the application was asked.
        """

    cdef void refused(self, Stream stream, Head head, int status, int64_t sent) noexcept:
        """A request that no application has seen was answered with `status`, or never: NO_ANSWER.

        `head` is what is known of it, from the request line on, and None if not even that is. `sent`: bytes of content.
        """


cdef bytes said(int status):
    """The content of an answer of the server itself, which says no more than its status."""
    return f"{REASONS.get(status, 'Error')}\n".encode("ascii")


cdef Delivery plain(Request request, int status, bytes text=None):
    """An answer of the server itself to a whole request; the text is the reason phrase unless given (UTF-8)."""
    cdef Delivery response = Delivery.__new__(Delivery)
    response.bind(request)
    response.begin(f"{status} {REASONS.get(status, 'Error')}")
    response.add("Content-Type", "text/plain" if text is None else "text/plain; charset=utf-8")
    if text is None:
        text = said(status)
    response.content = [text]
    return response


cdef bytes refusal(Service service, int status, object retry_after):
    """A whole answer for a request that is not one, or that cannot be served; the connection closes after it."""
    cdef ResponseHead head = ResponseHead()
    cdef bytes text = said(status)
    cdef bytes date = service.date_line()
    head.begin(f"{status} {REASONS.get(status, 'Error')}")
    head.add("Content-Type", "text/plain")
    if retry_after is not None:
        head.add("Retry-After", f"{retry_after}")
    head.frame(
        False, 1, False, len(text), PyBytes_AS_STRING(date), PyBytes_GET_SIZE(date),
        PyBytes_AS_STRING(service.server), PyBytes_GET_SIZE(service.server),
    )
    return head.data[:head.size] + text
