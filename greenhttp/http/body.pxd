from libc.stdint cimport int64_t

from greenhttp.green.stream cimport Stream
from greenhttp.http.service cimport Service
from greenhttp.wire.body cimport ChunkedDecoder
from greenhttp.wire.head cimport Head

cdef class Body:
    cdef readonly bint done         # every byte of it was taken from the peer
    cdef readonly bint broken       # it ended early, was malformed or too slow: what follows it cannot be known
    cdef bint expecting             # the client waits for `100 Continue`, or for the answer
    cdef bint started
    cdef bint over                  # the request is answered: nobody reads any more
    cdef Py_ssize_t moved           # bytes handed out since the others had their turn
    cdef bytes ahead                # decoded, not yet handed out
    cdef Py_ssize_t ahead_at
    cdef str gathered               # its size, where all of it came before the application was asked; else None
    cdef object stored              # what the rest of it was gathered in, a store.Store, or None
    cdef int64_t stored_at

    # the seam: what each protocol has its own way for
    cdef int64_t left(self) noexcept
    cdef int begin(self) except -1
    cdef Py_ssize_t decode(self, char* into, Py_ssize_t size) except -1
    cdef int give_turn(self, Py_ssize_t moved) except -1
    cdef list followed(self)
    cdef str why_short(self)
    cdef void detach(self) noexcept

    cdef Py_ssize_t more(self, char* into, Py_ssize_t size) except -1
    cdef int still_mine(self) except -1
    cdef bint at_end(self) noexcept
    cdef Py_ssize_t recall(self, char* into, Py_ssize_t size) except -1
    cdef int gather(self, int64_t limit) except -1
    cdef int put_aside(self, object store, bytes data) except -1
    cdef int release(self) except -1
    cdef bytes collect(self, Py_ssize_t size)
    cdef int put_back(self, list pieces) except -1

cdef class StreamBody(Body):
    cdef Stream stream

    cdef int discard_now(self) except -1

cdef class LengthBody(StreamBody):
    cdef int64_t remaining

cdef class ChunkedBody(StreamBody):
    cdef ChunkedDecoder decoder

cdef class PythonBody(Body):
    cdef int64_t announced          # bytes still to come, -1: unknown
    cdef int64_t limit              # bytes that may still come
    cdef int64_t most               # that might come at all

cdef Body NOTHING                   # the body of a request that has none
cdef Py_ssize_t UNLIMITED

cdef Body body_of(Service service, Stream stream, Head head)
