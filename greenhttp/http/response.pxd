from libc.stdint cimport int64_t

from greenhttp.http.exchange cimport Exchange
from greenhttp.http.request cimport Request
from greenhttp.http.service cimport Service
from greenhttp.wire.head cimport Head
from greenhttp.wire.response cimport ResponseHead

cdef dict REASONS               # status -> phrase

cdef class FileBody:
    cdef readonly object file
    cdef readonly int64_t offset
    cdef readonly int64_t size

cdef bytes bytes_of(object data)
cdef FileBody file_range(object file)

cdef class Delivery(ResponseHead):
    cdef Request request
    cdef Exchange exchange
    cdef Service service
    cdef object content         # list or tuple of bytes (see bytes_of), FileBody, or an iterable of them
    cdef object closer          # what the content comes from, if that has a close()
    cdef ResponseHead trailers  # what follows the content, or None
    cdef bint ended             # nothing can be added: it is complete, or it failed
    cdef bint complete          # all that the head promised is in the output
    cdef bint cut               # the application sent more than its Content-Length
    cdef int64_t left           # bytes of a SIZED answer still to come
    cdef int64_t sent           # bytes of content put into the output, its framing not counted

    cdef int bind(self, Request request) except -1
    cdef int start(self, int64_t known) except -1
    cdef int tell_id(self) except -1
    cdef int piece(self, object data) except -1
    cdef int end(self) except -1
    cdef int deliver(self) except -1
    cdef int finish_content(self) except -1
    cdef int send_content(self) except -1
    cdef int deliver_known(self, object pieces) except -1
    cdef int deliver_file(self, FileBody body) except -1
    cdef int deliver_iterable(self, object pieces) except -1

cdef bint head_wants_json(Head head) except -1
cdef bint wants_json(Request request) except -1
cdef Delivery plain(Request request, int status, bint as_json=*, str trace=*)
cdef bytes said(int status, bint as_json=*)
cdef str kind_of_said(bint as_json)
cdef ResponseHead refusing(Service service, int status, object retry_after, bint as_json, str id)
cdef bytes refusal(Service service, int status, object retry_after, bint as_json, str id)
