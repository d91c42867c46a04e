cimport cython
from libc.stdint cimport int64_t

from greenhttp.green.stream cimport Stream
from greenhttp.http.service cimport Service
from greenhttp.wire.body cimport ChunkedDecoder
from greenhttp.wire.head cimport Head

cdef class Body:
    cdef Stream stream
    cdef Service service
    cdef readonly bint done         # every byte of it was taken off the connection
    cdef readonly bint broken       # it ended early, was malformed or too slow: the position in the stream is unknown
    cdef bint expecting             # the client waits for `100 Continue`, or for the answer
    cdef bint started
    cdef bint over                  # the request is answered: only `discard_now` may go on
    cdef Py_ssize_t moved           # bytes handed out since the others had their turn
    cdef bytes ahead                # decoded, not yet handed out
    cdef Py_ssize_t ahead_at

    cdef int64_t left(self) noexcept
    cdef int begin(self) except -1
    cdef Py_ssize_t decode(self, char* into, Py_ssize_t size) except -1
    cdef Py_ssize_t more(self, char* into, Py_ssize_t size) except -1
    cdef int still_mine(self) except -1
    cdef int discard_now(self) except -1
    cdef void detach(self) noexcept
    cdef bytes collect(self, Py_ssize_t size)
    cdef int put_back(self, list pieces) except -1

cdef class LengthBody(Body):
    cdef int64_t remaining

cdef class ChunkedBody(Body):
    cdef ChunkedDecoder decoder


@cython.final
cdef class Headers:
    cdef Head head


@cython.final
cdef class Request:
    cdef Head head
    cdef readonly Body body
    cdef Stream stream
    cdef Service service
    cdef readonly str method
    cdef str sent_target            # as it was sent; made by whoever needs it first
    cdef object base                # what the application prepared for the address this came in by
    cdef bint input_taken
    cdef bint head_out              # the head of an answer is in the output
    cdef dict environ               # what a WSGI application was given, for the observer; None unless it asks
    cdef object answer              # the response.Delivery it is the head of, for the observer; None without one
    cdef bint over                  # answered: nothing more may be written
    # what a native handler has asked for, else None
    cdef str made_path
    cdef object made_query, made_json, made_form
    cdef Headers made_headers

    cdef Head known(self)
    cdef int keep(self) except -1
    cdef bint kept(self, Py_ssize_t known) noexcept
    cdef int take_input(self) except -1
    cdef str describe(self)

cdef Body NOTHING               # the body of a request that has none

cdef Request new_request(Service service, Stream stream, Head head, object base)
