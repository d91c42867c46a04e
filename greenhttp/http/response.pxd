from libc.stdint cimport int64_t

from greenhttp.green.stream cimport Stream
from greenhttp.http.request cimport Request
from greenhttp.http.service cimport Service
from greenhttp.wire.head cimport Head
from greenhttp.wire.response cimport ResponseHead

cdef enum:
    DRAIN_BYTES = 262144        # of an unread body are read and dropped to keep a connection; beyond, it closes

cdef dict REASONS               # status -> phrase

cdef class FileBody:
    cdef readonly object file
    cdef readonly int64_t offset
    cdef readonly int64_t size

cdef FileBody file_range(object file)

cdef class Delivery(ResponseHead):
    cdef Request request
    cdef Stream stream
    cdef Service service
    cdef object content         # list or tuple of bytes, FileBody, or an iterable of bytes
    cdef object closer          # what the content comes from, if that has a close()
    cdef int transfer
    cdef bint ended             # nothing can be added: it is complete, or it failed
    cdef bint complete          # all that the head promised is in the stream's output
    cdef bint cut               # the application sent more than its Content-Length
    cdef int64_t left           # bytes of a SIZED answer still to come
    cdef int64_t sent           # bytes of content put into the stream, the framing of chunks not counted

    cdef int bind(self, Request request) except -1
    cdef int start(self, int64_t known) except -1
    cdef int piece(self, object data) except -1
    cdef int end(self) except -1
    cdef int deliver(self) except -1
    cdef int finish_content(self) except -1
    cdef int send_content(self) except -1
    cdef int deliver_known(self, object pieces) except -1
    cdef int deliver_file(self, FileBody body) except -1
    cdef int deliver_iterable(self, object pieces) except -1

cdef class App:
    cdef Delivery spare         # for the next request, or None

    cdef Delivery take_spare(self)
    cdef bint give_back(self, Delivery response) noexcept
    cdef object prepare(self, object name, object port)
    cdef Delivery respond(self, Request request)

cdef enum:
    NO_ANSWER = 499             # the status that observers are told where the connection ended before an answer

cdef class Observer:
    cdef void answered(self, Request request, int64_t began) noexcept
    cdef void refused(self, Stream stream, Head head, int status, int64_t sent) noexcept

cdef Delivery plain(Request request, int status, bytes text=*)
cdef bytes refusal(Service service, int status, object retry_after)
